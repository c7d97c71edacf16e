//! The directory shared by a benchmark and its child processes: encoded samples, and recordings.

use anyhow::Result;
use std::path::{Path, PathBuf};

/// See the module.
pub struct Place {
    dir: PathBuf,
    keep: bool,
    /// Removes it at the end; `None` in child processes.
    _owned: Option<tempfile::TempDir>,
}

impl Place {
    /// A new one, in the system's temporary directory (`TMPDIR`).
    pub fn new() -> Result<Self> {
        let owned = tempfile::Builder::new()
            .prefix("mediarecorder-bench")
            .tempdir()?;
        let dir = owned.path().to_owned();
        std::fs::create_dir(dir.join("out"))?;
        Ok(Self {
            dir,
            keep: false,
            _owned: Some(owned),
        })
    }

    /// The parent process'.
    pub fn at(dir: &Path, keep: bool) -> Self {
        Self {
            dir: dir.to_owned(),
            keep,
            _owned: None,
        }
    }

    /// Keeps the runs' recordings from now on; each still replaces the previous one.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    pub fn is_kept(&self) -> bool {
        self.keep
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The path of an encoded sample.
    pub fn sample(&self, name: &str) -> PathBuf {
        self.dir.join(name).with_extension("mkv")
    }

    /// The path of a run's recording.
    pub fn recording(&self) -> PathBuf {
        self.dir.join("out/recording")
    }

    /// The path of its recordings, if there are several.
    pub fn one_of_many(&self, number: u64) -> PathBuf {
        self.dir.join(format!("out/recording-{number}"))
    }

    /// Removes the last run's recordings.
    pub fn clear(&self) -> Result<()> {
        for entry in std::fs::read_dir(self.dir.join("out"))? {
            std::fs::remove_file(entry?.path())?;
        }
        Ok(())
    }
}
