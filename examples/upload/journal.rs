//! A journal of the upload next to the file: one JSON object per line, each flushed to disk before the next piece
//! is sent.

use crate::args::Destination;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Entry {
    Upload {
        bucket: String,
        key: String,
        part_size: u64,
        id: String,
    },
    Piece(Piece),
}

/// A piece that the server has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// From 0.
    pub index: usize,
    pub size: u64,
    /// MD5 of its bytes, in hexadecimal.
    pub md5: String,
    /// Its ETag.
    pub etag: String,
}

/// See the module.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    to: Destination,
    pub part_size: u64,
    /// The server's upload ID.
    pub id: String,
    pub pieces: BTreeMap<usize, Piece>,
}

impl Journal {
    /// The path of a file's journal.
    pub fn path_of(file: &Path) -> PathBuf {
        let mut name = file.as_os_str().to_owned();
        name.push(".upload");
        name.into()
    }

    /// Starts one, replacing an older one.
    pub fn create(file: &Path, to: &Destination, part_size: u64, id: String) -> Result<Self> {
        let path = Self::path_of(file);
        let opened = OpenOptions::new().append(true).create(true).open(&path);
        let mut journal = Journal {
            file: opened
                .with_context(|| format!("the journal {} cannot be written", path.display()))?,
            path,
            to: to.clone(),
            part_size,
            id: String::new(),
            pieces: BTreeMap::new(),
        };
        journal.restart(id)?;
        Ok(journal)
    }

    /// Reads one; a truncated last line is ignored.
    pub fn open(file: &Path, to: &Destination) -> Result<Self> {
        let path = Self::path_of(file);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("--resume: the journal {} cannot be read", path.display()))?;
        let mut entries = text.split_inclusive('\n').map_while(|line| {
            let line = line.strip_suffix('\n')?;
            Some((line.len() + 1, serde_json::from_str(line).ok()?))
        });
        let Some((
            mut length,
            Entry::Upload {
                bucket,
                key,
                part_size,
                id,
            },
        )) = entries.next()
        else {
            bail!("--resume: {} has no upload: record again", path.display());
        };
        if (&bucket, &key) != (&to.bucket, &to.key) {
            bail!(
                "--resume: {} is for an upload to s3://{bucket}/{key}",
                path.display()
            );
        }
        let mut pieces = BTreeMap::new();
        for (line, entry) in entries {
            length += line;
            if let Entry::Piece(piece) = entry {
                pieces.insert(piece.index, piece);
            }
        }
        let file = OpenOptions::new().append(true).open(&path)?;
        file.set_len(length as u64)?;
        Ok(Journal {
            path,
            file,
            to: to.clone(),
            part_size,
            id,
            pieces,
        })
    }

    /// Adds a piece.
    pub fn add(&mut self, piece: Piece) -> Result<()> {
        self.write(&Entry::Piece(piece.clone()))?;
        self.pieces.insert(piece.index, piece);
        Ok(())
    }

    fn write(&mut self, entry: &Entry) -> Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        self.file
            .write_all(&line)
            .and_then(|()| self.file.sync_data())
            .with_context(|| format!("the journal {} cannot be written", self.path.display()))
    }

    /// Invalidates it: the server requires a new upload.
    pub fn restart(&mut self, id: String) -> Result<()> {
        self.file.set_len(0)?;
        self.pieces.clear();
        self.id = id.clone();
        self.write(&Entry::Upload {
            bucket: self.to.bucket.clone(),
            key: self.to.key.clone(),
            part_size: self.part_size,
            id,
        })
    }

    /// The upload is complete.
    pub fn remove(self) -> Result<()> {
        std::fs::remove_file(&self.path)
            .with_context(|| format!("{} cannot be deleted", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(index: usize) -> Piece {
        Piece {
            index,
            size: 5,
            md5: "00".into(),
            etag: "\"00\"".into(),
        }
    }

    #[test]
    fn complete_lines_are_read_and_a_torn_line_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.webm");
        let to: Destination = "s3://bucket/key".parse().expect("a destination");
        let mut journal = Journal::create(&file, &to, 7, "id".into()).expect("created");
        journal.add(piece(1)).expect("added");
        journal.add(piece(2)).expect("added");
        drop(journal);
        let path = Journal::path_of(&file);
        let whole = std::fs::read(&path).expect("read");
        std::fs::write(&path, &whole[..whole.len() - 3]).expect("torn");

        let mut read = Journal::open(&file, &to).expect("opened");
        assert_eq!((read.id.as_str(), read.part_size), ("id", 7));
        assert_eq!(read.pieces.into_values().collect::<Vec<_>>(), [piece(1)]);
        read = Journal::open(&file, &to).expect("opened again");
        read.add(piece(3)).expect("added");
        let read = Journal::open(&file, &to).expect("opened");
        assert_eq!(read.pieces.into_keys().collect::<Vec<_>>(), [1, 3]);

        let other = "s3://bucket/other".parse().expect("a destination");
        assert!(Journal::open(&file, &other).is_err());
    }
}
