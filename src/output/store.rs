//! The bytes of one recording by offset, and the blobs cut from them.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::blob::{BlobBytes, stamped};
use super::disk::{DiskFile, GATHER};
use super::file::{self, OpenFile, Target};
use super::file_blob::{Edit, FileBlob, UnreadBlobs};
use super::memory::MemoryChunks;
use super::ring::{RingFile, RingPlace};
use super::spill::{self, UnlinkedFile};
use super::sync::SyncFile;

/// A larger gap between two writes is treated as an error.
const LONGEST_GAP: u64 = 1 << 30;

/// The bytes of one recording, by offset. Blobs are taken from the front.
///
/// Owned and called by one thread at a time (it is `Send`); it takes no lock and spawns no thread. File I/O happens in
/// the calls.
///
/// A blob never changes after [`Store::take`] has returned it. A later write to its bytes only reaches the file at
/// `location`, if there is one.
///
/// The first write error is returned, once. From then on what cannot be written to a file is kept in memory: pending
/// bytes, further ones up to `max_memory`, and patches.
#[derive(Debug)]
pub struct Store {
    backing: Backing,
    max_memory: u64,
    temp_dir: Option<PathBuf>,
    /// Length in bytes; patches do not count.
    len: u64,
    taken: u64,
    /// Bytes from here on are only in the file.
    blobs_end: Option<u64>,
    /// After an error: maximum length of the recording.
    grows_until: Option<u64>,
    finished: bool,
}

/// Where the bytes are stored.
#[derive(Debug)]
enum Backing {
    /// `taken..len` in memory; everything is also written to `device`.
    Memory {
        pieces: MemoryChunks,
        device: Option<(File, PathBuf)>,
    },
    /// `taken..len` in an unlinked file that begins with the byte `start`.
    Spilled {
        disk: DiskFile<UnlinkedFile>,
        start: u64,
        device: Option<(File, PathBuf)>,
    },
    /// Everything in the file at `location`.
    File(AtLocation),
}

/// The file at `location`.
#[derive(Debug)]
struct AtLocation {
    disk: DiskFile<OpenFile>,
    path: PathBuf,
    /// Its entry in the element's ring of files, if limited.
    ring: Option<RingFile>,
    /// Patches that could not be written.
    unwritten: Vec<Edit>,
    /// Deferred patches, if patches are deferred.
    waiting: Option<Vec<Edit>>,
    unread: UnreadBlobs,
    /// Its length when last synchronised, and whether it has been patched since.
    synchronised: u64,
    patched: bool,
}

impl Store {
    /// A store in memory. More than `max_memory` bytes (not counting those already taken) go to an unlinked file in
    /// `temp_dir`, else in `$TMPDIR`, else in /var/tmp, which is created only then.
    pub fn in_memory(max_memory: u64, temp_dir: Option<PathBuf>) -> Self {
        let backing = Backing::Memory {
            pieces: MemoryChunks::new(0),
            device: None,
        };
        Self::new(backing, max_memory, temp_dir)
    }

    /// A store in the file `path`: see [`file::open`]. `max_memory` and `temp_dir` apply to blobs: larger ones may be
    /// copied to a temporary file.
    ///
    /// A character device (/dev/null) is written to, and blobs are cut as with a store in memory.
    ///
    /// # Errors
    /// If `path` cannot be opened for writing; an existing file is then unchanged. The message names the path.
    pub fn in_file(
        path: impl AsRef<Path>,
        max_memory: u64,
        temp_dir: Option<PathBuf>,
    ) -> io::Result<Self> {
        Self::in_ring(path.as_ref(), max_memory, temp_dir, None)
    }

    /// Like [`Store::in_file`], with an entry in the element's ring of files.
    ///
    /// # Errors
    /// As [`Store::in_file`].
    pub fn in_ring(
        path: &Path,
        max_memory: u64,
        temp_dir: Option<PathBuf>,
        place: Option<RingPlace>,
    ) -> io::Result<Self> {
        let path = path.to_path_buf();
        let make_way = |new: &File| {
            if let Some(place) = &place {
                place.make_way(&path, new);
            }
        };
        let backing = match file::open(&path, &make_way)? {
            Target::File(file) => {
                let ring = place.map(|place| place.take(&path, &file)).transpose()?;
                Backing::File(AtLocation::new(file, path, ring))
            }
            Target::Device(file) => Backing::Memory {
                pieces: MemoryChunks::new(0),
                device: Some((file, path)),
            },
        };
        Ok(Self::new(backing, max_memory, temp_dir))
    }

    fn new(backing: Backing, max_memory: u64, temp_dir: Option<PathBuf>) -> Self {
        Self {
            backing,
            max_memory,
            temp_dir,
            len: 0,
            taken: 0,
            blobs_end: None,
            grows_until: None,
            finished: false,
        }
    }

    /// Length of the recording so far, in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether no byte has been written yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of bytes taken as blobs so far, from the front.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Writes `buffer` at offset `pos`: after the last byte, over earlier ones, or both. A gap between the last byte
    /// and
    /// `pos` is filled with zeros.
    ///
    /// # Errors
    /// The first error of a file; later calls then return `Ok`. Also if `pos` is out of range, or the last blob has
    /// been taken. been taken.
    pub fn write(&mut self, pos: u64, buffer: gst::Buffer) -> io::Result<()> {
        if self.finished {
            return Err(io::Error::other(
                "the last blob of the recording has already been taken",
            ));
        }
        let size = buffer.size() as u64;
        if size == 0 {
            return Ok(());
        }
        let end = pos
            .checked_add(size)
            .filter(|_| pos <= self.len.saturating_add(LONGEST_GAP))
            .ok_or_else(|| {
                let text = format!("a muxer's write at {pos} is too far from {}", self.len);
                io::Error::new(io::ErrorKind::InvalidInput, text)
            });
        let done = end.and_then(|end| self.write_checked(pos, end, buffer));
        self.note(done)
    }

    fn write_checked(&mut self, pos: u64, end: u64, buffer: gst::Buffer) -> io::Result<()> {
        let len = self.len;
        if pos < len {
            let patched = self.patch(pos, &buffer, len);
            if end > len {
                let tail = buffer
                    .copy_region(gst::BufferCopyFlags::MEMORY, (len - pos) as usize..)
                    .map_err(io::Error::other)?;
                let appended = self.append(tail);
                return patched.and(appended);
            }
            return patched;
        }
        while self.len < pos {
            let hole = (pos - self.len).min(GATHER) as usize;
            let before = self.len;
            self.append(gst::Buffer::from_slice(vec![0; hole]))?;
            if self.len == before {
                return Ok(());
            }
        }
        self.append(buffer)
    }

    /// Writes pending bytes to the file, if there is one. The owner calls it at least every half second of media, so
    /// that a killed process loses no more than that.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn flush(&mut self) -> io::Result<()> {
        let done = match &mut self.backing {
            Backing::File(file) => file.flush(),
            Backing::Memory { .. } | Backing::Spilled { .. } => Ok(()),
        };
        self.note(done)
    }

    /// Takes the bytes not yet taken, possibly none. `last`: the recording ends with them, and no more can be written.
    ///
    /// A spilled blob is a mapping of its file, and one in a file at `location` is only read when requested: neither
    /// costs memory or reads here.
    ///
    /// # Errors
    /// If the bytes cannot be written; they stay and can be taken again.
    pub fn take(&mut self, last: bool) -> io::Result<BlobBytes> {
        self.finished |= last;
        let flushed = match &mut self.backing {
            Backing::File(file) => file.flush(),
            Backing::Spilled { disk, .. } => disk
                .flush()
                .map_err(|err| spilling(self.temp_dir.as_deref(), err)),
            Backing::Memory { .. } => Ok(()),
        };
        self.note(flushed)?;
        let (from, to) = (self.taken, self.blobs_end.unwrap_or(self.len));
        let blob = match &mut self.backing {
            Backing::File(file) => {
                let blob = file.blob(from, to, self.max_memory, self.temp_dir.clone())?;
                self.taken = to;
                return Ok(BlobBytes::InFile(blob));
            }
            Backing::Spilled {
                disk,
                start,
                device,
            } => {
                let mut blob = disk
                    .file()
                    .map(from - *start, disk.written())
                    .map_err(|err| spilling(self.temp_dir.as_deref(), err))?;
                if let Some(tail) = disk.take_tail()? {
                    blob.append(tail);
                }
                // Only the mapping keeps the file: its space is freed with the blob.
                self.backing = Backing::Memory {
                    pieces: MemoryChunks::new(to),
                    device: device.take(),
                };
                blob
            }
            Backing::Memory { pieces, .. } => {
                std::mem::replace(pieces, MemoryChunks::new(to)).into_buffer()?
            }
        };
        self.taken = to;
        Ok(BlobBytes::Ready(stamped(blob, from, to)))
    }

    /// Appends bytes; `len` is advanced by what could be stored.
    fn append(&mut self, buffer: gst::Buffer) -> io::Result<()> {
        let size = buffer.size() as u64;
        if let Some(limit) = &mut self.grows_until
            && self.len + size > *limit
        {
            // Later bytes must not be stored at this offset.
            *limit = self.len;
            return Ok(());
        }
        match &mut self.backing {
            Backing::File(file) => {
                file.append(buffer)?;
                self.len += size;
            }
            Backing::Spilled { disk, device, .. } => {
                let to_device = feed(device, &buffer);
                disk.append(buffer)
                    .map_err(|err| spilling(self.temp_dir.as_deref(), err))?;
                to_device?;
                self.len += size;
            }
            Backing::Memory { pieces, device } => {
                let to_device = feed(device, &buffer);
                pieces.append(buffer)?;
                self.len = pieces.end();
                to_device?;
                if pieces.size() > self.max_memory && self.grows_until.is_none() {
                    self.spill()?;
                }
            }
        }
        Ok(())
    }

    /// Moves the bytes in memory to a new file. On error they stay in memory.
    fn spill(&mut self) -> io::Result<()> {
        let Backing::Memory { pieces, device } = &mut self.backing else {
            return Ok(());
        };
        let directory = spill::directory(self.temp_dir.as_deref());
        let mut disk = DiskFile::new(spill::create(&directory)?);
        disk.begin(&mut pieces.slices())
            .map_err(|err| spilling(Some(&directory), err))?;
        self.backing = Backing::Spilled {
            disk,
            start: self.taken,
            device: device.take(),
        };
        Ok(())
    }

    /// Overwrites the bytes before `end` that `buffer` covers.
    fn patch(&mut self, pos: u64, buffer: &gst::Buffer, end: u64) -> io::Result<()> {
        let start = match &self.backing {
            Backing::Spilled { start, .. } => *start,
            Backing::Memory { .. } | Backing::File(_) => 0,
        };
        let mapped = buffer.map_readable().map_err(io::Error::other)?;
        let (from, to) = (
            pos.max(start),
            pos.saturating_add(mapped.len() as u64).min(end),
        );
        if from >= to {
            return Ok(());
        }
        let bytes = mapped.get((from - pos) as usize..(to - pos) as usize);
        let bytes = bytes.unwrap_or_default();
        match &mut self.backing {
            Backing::Memory { pieces, .. } => pieces.patch(from, bytes),
            Backing::Spilled { disk, .. } => disk
                .patch(from - start, bytes)
                .map_err(|err| spilling(self.temp_dir.as_deref(), err)),
            Backing::File(file) => file.patch(from, bytes),
        }
    }

    /// Records an error: from then on bytes that a file rejects go to memory.
    fn note(&mut self, done: io::Result<()>) -> io::Result<()> {
        let Err(err) = done else {
            return Ok(());
        };
        self.len = match &mut self.backing {
            Backing::Memory { pieces, device } => {
                *device = None;
                pieces.end()
            }
            Backing::Spilled {
                disk,
                start,
                device,
            } => {
                *device = None;
                *start + disk.len()
            }
            Backing::File(file) => {
                file.patch_at_once();
                file.disk.len()
            }
        };
        if self.grows_until.is_some() {
            // Already reported.
            return Ok(());
        }
        self.grows_until = Some(self.len.saturating_add(self.max_memory));
        Err(err)
    }
}

impl AtLocation {
    fn new(file: OpenFile, path: PathBuf, ring: Option<RingFile>) -> Self {
        Self {
            disk: DiskFile::new(file),
            path,
            ring,
            unwritten: Vec::new(),
            waiting: None,
            unread: UnreadBlobs::default(),
            synchronised: 0,
            patched: false,
        }
    }

    fn append(&mut self, buffer: gst::Buffer) -> io::Result<()> {
        let grown = self.grow(buffer.size() as u64);
        if grown.is_err() {
            self.disk.refuse()?;
        }
        let done = self.disk.append(buffer);
        grown.and(done.map_err(|err| writing(&self.path, err)))
    }

    /// Called before the file grows by this many bytes.
    fn grow(&mut self, by: u64) -> io::Result<()> {
        match &mut self.ring {
            Some(ring) if self.disk.takes_more() => {
                ring.grow(by).map_err(|err| writing(&self.path, err))
            }
            _ => Ok(()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(ring) = &mut self.ring {
            ring.keep_free();
        }
        self.disk.flush().map_err(|err| writing(&self.path, err))
    }

    /// Overwrites bytes, now or later. Blobs get patches that the file rejects, too.
    fn patch(&mut self, pos: u64, bytes: &[u8]) -> io::Result<()> {
        if let Some(waiting) = &mut self.waiting {
            waiting.push((pos, bytes.to_vec()));
            return Ok(());
        }
        self.patch_now(pos, bytes)
    }

    fn patch_now(&mut self, pos: u64, bytes: &[u8]) -> io::Result<()> {
        self.patched = true;
        let file = self.disk.file().clone();
        let disk = &mut self.disk;
        let to = pos + bytes.len() as u64;
        let patched = self
            .unread
            .preserve(&file, pos, to, || disk.patch(pos, bytes));
        patched.map_err(|err| {
            self.unwritten.push((pos, bytes.to_vec()));
            writing(&self.path, err)
        })
    }

    /// A blob of the bytes `from..to`, which have been flushed.
    fn blob(
        &mut self,
        from: u64,
        to: u64,
        max_memory: u64,
        temp_dir: Option<PathBuf>,
    ) -> io::Result<FileBlob> {
        let tail = self.disk.take_tail()?;
        let end = self.disk.written().min(to).max(from);
        Ok(FileBlob {
            file: self.disk.file().clone(),
            path: self.path.clone(),
            from,
            end,
            tail,
            unwritten: self.later_patches(),
            overwritten: self.unread.add(from, end),
            max_memory,
            temp_dir,
        })
    }
}

/// Writes `buffer` to a device, if there is one.
fn feed(device: &mut Option<(File, PathBuf)>, buffer: &gst::Buffer) -> io::Result<()> {
    let Some((device, path)) = device else {
        return Ok(());
    };
    let mapped = buffer.map_readable().map_err(io::Error::other)?;
    device.write_all(&mapped).map_err(|err| writing(path, err))
}

fn writing(path: &Path, err: io::Error) -> io::Error {
    let text = format!("cannot write to {}: {err}", path.display());
    io::Error::new(err.kind(), text)
}

fn spilling(temp_dir: Option<&Path>, err: io::Error) -> io::Error {
    let text = format!(
        "cannot keep the recording in a temporary file in {}: {err}",
        spill::directory(temp_dir).display()
    );
    io::Error::new(err.kind(), text)
}

mod append;
mod rounds;
#[cfg(test)]
mod tests;
