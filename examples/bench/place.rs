//! The directory that a bench and its children share: encoded samples, and what is recorded.

use anyhow::Result;
use std::path::{Path, PathBuf};

/// See the module.
pub struct Place {
    dir: PathBuf,
    keep: bool,
    /// Removes it in the end; the children have none.
    _owned: Option<tempfile::TempDir>,
}

impl Place {
    /// A new one, in the system's place for temporary files (`TMPDIR`).
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

    /// The parent's.
    pub fn at(dir: &Path, keep: bool) -> Self {
        Self {
            dir: dir.to_owned(),
            keep,
            _owned: None,
        }
    }

    /// Keeps what the runs record from now on; each still replaces the last.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    pub fn is_kept(&self) -> bool {
        self.keep
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where an encoded sample is.
    pub fn sample(&self, name: &str) -> PathBuf {
        self.dir.join(name).with_extension("mkv")
    }

    /// What a run records.
    pub fn recording(&self) -> PathBuf {
        self.dir.join("out/recording")
    }

    /// What it records if it records many.
    pub fn one_of_many(&self, number: u64) -> PathBuf {
        self.dir.join(format!("out/recording-{number}"))
    }

    /// Removes what the last run has recorded.
    pub fn clear(&self) -> Result<()> {
        for entry in std::fs::read_dir(self.dir.join("out"))? {
            std::fs::remove_file(entry?.path())?;
        }
        Ok(())
    }
}
