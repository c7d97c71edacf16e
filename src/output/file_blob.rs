//! A blob in the file at `location`: read or copied when requested.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::disk::read;
use super::file::OpenFile;
use super::platform::{read_exact_at, write_all_at};
use super::spill::{self, UnlinkedFile};

/// Bytes and their offset in the recording.
pub(super) type Edit = (u64, Vec<u8>);

/// What was overwritten in the file under an unread blob, oldest first; `None` if unknown.
type Overwritten = Mutex<Option<Vec<Edit>>>;

/// The bytes `from..to` of a recording, most of which are still in a file that may grow and be patched. Later patches
/// do not affect the blob.
#[derive(Debug)]
pub struct FileBlob {
    pub(super) file: Arc<OpenFile>,
    pub(super) path: PathBuf,
    pub(super) from: u64,
    /// End of the part in the file.
    pub(super) end: u64,
    /// Bytes after that which could not be written.
    pub(super) tail: Option<gst::Buffer>,
    /// Patches that could not be written.
    pub(super) unwritten: Vec<Edit>,
    pub(super) overwritten: Arc<Overwritten>,
    pub(super) max_memory: u64,
    pub(super) temp_dir: Option<PathBuf>,
}

impl FileBlob {
    /// Offset of its first byte in the recording.
    pub fn offset(&self) -> u64 {
        self.from
    }

    /// Offset after its last byte.
    pub fn offset_end(&self) -> u64 {
        self.end + self.tail.as_ref().map_or(0, |tail| tail.size() as u64)
    }

    /// Its bytes: in memory up to `max-memory`, else in a separate file that shares the extents of the recording's file
    /// if the file system supports it, and otherwise is a copy in `temp-dir`. Blocks on the disk.
    ///
    /// # Errors
    /// If they cannot be read, or there is no space for them. The message names the place.
    pub fn into_buffer(self) -> io::Result<gst::Buffer> {
        let size = self.end - self.from;
        let mut buffer = if size <= self.max_memory {
            self.in_memory()
        } else {
            self.in_own_file()
        }?;
        if let Some(tail) = self.tail {
            buffer.append(tail);
        }
        Ok(buffer)
    }

    fn in_memory(&self) -> io::Result<gst::Buffer> {
        if self.from == self.end {
            return Ok(gst::Buffer::new());
        }
        let mut bytes = read(&self.file, self.from, self.end).map_err(|err| self.reading(err))?;
        for (at, edit) in self.edits()? {
            let at = (at - self.from) as usize;
            if let Some(place) = bytes.get_mut(at..at + edit.len()) {
                place.copy_from_slice(&edit);
            }
        }
        Ok(gst::Buffer::from_slice(bytes))
    }

    fn in_own_file(&self) -> io::Result<gst::Buffer> {
        let (own, start) = match self.path.parent().and_then(|to| clone(&self.file, to)) {
            Some(clone) => (clone, self.from),
            None => {
                let directory = spill::directory(self.temp_dir.as_deref());
                let copied = copy(&self.file, self.from, self.end, &directory);
                let copied = copied.map_err(|err| {
                    let text = format!("cannot create a copy in {}: {err}", directory.display());
                    io::Error::new(err.kind(), text)
                });
                (copied?, 0)
            }
        };
        for (at, edit) in self.edits()? {
            write_all_at(&own, &edit, at - self.from + start).map_err(|err| self.reading(err))?;
        }
        own.map(start, start + self.end - self.from)
            .map_err(|err| self.reading(err))
    }

    /// The edits that turn the file's bytes into the blob's, in order. Call after reading the bytes.
    fn edits(&self) -> io::Result<Vec<Edit>> {
        let overwritten = self
            .overwritten
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .ok_or_else(|| self.reading(io::Error::other("it has been patched in the meantime")))?;
        let edits = overwritten.into_iter().rev();
        let edits = edits.chain(self.unwritten.iter().cloned());
        Ok(edits
            .filter_map(|edit| clip(edit, self.from, self.end))
            .collect())
    }

    fn reading(&self, err: io::Error) -> io::Error {
        let text = format!("{} cannot be read: {err}", self.path.display());
        io::Error::new(err.kind(), text)
    }
}

/// The unread blobs of a file.
#[derive(Debug, Default)]
pub(super) struct UnreadBlobs(Vec<(u64, u64, Weak<Overwritten>)>);

impl UnreadBlobs {
    /// Adds a blob with the bytes `from..end`.
    pub(super) fn add(&mut self, from: u64, end: u64) -> Arc<Overwritten> {
        self.0.retain(|(.., blob)| blob.strong_count() > 0);
        let overwritten = Arc::new(Mutex::new(Some(Vec::new())));
        self.0.push((from, end, Arc::downgrade(&overwritten)));
        overwritten
    }

    /// Runs `patch`, which overwrites `from..to` of `file`, and first saves the overwritten bytes for the blobs with
    /// them.
    pub(super) fn preserve<R>(
        &self,
        file: &File,
        from: u64,
        to: u64,
        patch: impl FnOnce() -> R,
    ) -> R {
        let blobs: Vec<_> = self
            .0
            .iter()
            .filter(|(start, end, _)| from < *end && *start < to)
            .filter_map(|(start, end, blob)| Some((*start, *end, blob.upgrade()?)))
            .collect();
        // Locked across the write, so that a concurrent reader finds either the old bytes or their saved copy.
        let mut locked = Vec::new();
        for (start, end, blob) in &blobs {
            let mut list = blob.lock().unwrap_or_else(PoisonError::into_inner);
            let (from, to) = (from.max(*start), to.min(*end));
            match (list.as_mut(), read(file, from, to)) {
                (Some(list), Ok(old)) => list.push((from, old)),
                _ => *list = None,
            }
            locked.push(list);
        }
        patch()
    }
}

/// The part of an edit in `from..to`.
fn clip((at, mut bytes): Edit, from: u64, to: u64) -> Option<Edit> {
    let start = from.max(at);
    let end = to.min(at + bytes.len() as u64);
    if start >= end {
        return None;
    }
    bytes.truncate((end - at) as usize);
    Some((start, bytes.split_off((start - at) as usize)))
}

/// A separate file in `directory` that shares all extents of `file`, if the file system supports it.
#[cfg(target_os = "linux")]
fn clone(file: &File, directory: &Path) -> Option<UnlinkedFile> {
    let directory = if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    };
    let own = spill::create(directory).ok()?;
    rustix::fs::ioctl_ficlone(&*own, file).ok()?;
    Some(own)
}

#[cfg(not(target_os = "linux"))]
fn clone(_file: &File, _directory: &Path) -> Option<UnlinkedFile> {
    None
}

/// Copies the bytes `from..to` of `file` to an unlinked file in `directory`.
fn copy(file: &File, from: u64, to: u64, directory: &Path) -> io::Result<UnlinkedFile> {
    let own = spill::create(directory)?;
    allocate(&own, to - from)?;
    let mut at = from;
    while at < to {
        // In the kernel, if supported.
        match copy_range(file, at, &own, at - from, to - at) {
            Some(count) => at += count,
            None => break,
        }
    }
    const STEP: usize = 1 << 18;
    let mut bytes = vec![0; STEP.min((to - at) as usize)];
    while at < to {
        let count = bytes.len().min((to - at) as usize);
        let step = bytes.get_mut(..count).unwrap_or_default();
        read_exact_at(file, step, at)?;
        write_all_at(&own, step, at - from)?;
        at += count as u64;
    }
    Ok(own)
}

/// Allocates `size` bytes up front: fails before copying if there is no space.
#[cfg(target_os = "linux")]
fn allocate(file: &File, size: u64) -> io::Result<()> {
    use rustix::{fs::FallocateFlags, io::Errno};
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, size) {
        Err(err @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => Err(err.into()),
        // Not supported by some file systems: there, the copy itself may fail.
        _ => Ok(()),
    }
}

#[cfg(not(target_os = "linux"))]
fn allocate(_file: &File, _size: u64) -> io::Result<()> {
    Ok(())
}

/// Copies up to `size` bytes in the kernel; returns the count, or `None` if unsupported.
#[cfg(target_os = "linux")]
fn copy_range(from: &File, mut at: u64, to: &File, mut to_at: u64, size: u64) -> Option<u64> {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let done = rustix::fs::copy_file_range(from, Some(&mut at), to, Some(&mut to_at), size);
    done.ok()
        .filter(|count| *count > 0)
        .map(|count| count as u64)
}

#[cfg(not(target_os = "linux"))]
fn copy_range(_from: &File, _at: u64, _to: &File, _to_at: u64, _size: u64) -> Option<u64> {
    None
}
