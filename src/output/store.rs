//! The bytes of one recording at their offsets, and the blobs cut from them.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::disk::{DiskFile, GATHER};
use super::file::{self, Target};
use super::memory::MemoryChunks;
use super::spill;

/// A hole longer than this between two writes is taken for a mistake.
const LONGEST_GAP: u64 = 1 << 30;

/// The bytes of one recording, by their offset in it. Blobs are taken from the front.
///
/// Owned and called by one thread at a time (it is `Send`); it takes no lock and makes no
/// thread. Reading and writing files happens in the calls.
///
/// A blob never changes after [`Store::take`] has returned it. A write behind it to bytes that
/// it holds still reaches the file at `location`, if there is one, and nothing else.
///
/// The first write error is returned, once. From then on the recording is what could be written
/// before it: it can still be taken and patched, what would make it longer is dropped.
#[derive(Debug)]
pub struct Store {
    backing: Backing,
    max_memory: u64,
    temp_dir: Option<PathBuf>,
    /// Bytes that came, patches not counted twice.
    len: u64,
    taken: u64,
    /// Bytes from here on are the file's alone.
    blobs_end: Option<u64>,
    failed: bool,
    finished: bool,
}

/// Where the bytes are.
#[derive(Debug)]
enum Backing {
    /// `taken..len` in memory; `device` gets everything as it comes.
    Memory {
        pieces: MemoryChunks,
        device: Option<(File, PathBuf)>,
    },
    /// `taken..len` in an unlinked file that begins with the byte `start`.
    Spilled {
        disk: DiskFile,
        start: u64,
        device: Option<(File, PathBuf)>,
    },
    /// Everything in the file at `location`.
    File { disk: DiskFile, path: PathBuf },
}

impl Store {
    /// A store in memory. More than `max_memory` bytes (not counting those already taken) go to
    /// an unlinked file in `temp_dir`, else in `$TMPDIR`, else in /var/tmp, which is made only then.
    pub fn in_memory(max_memory: u64, temp_dir: Option<PathBuf>) -> Self {
        let backing = Backing::Memory {
            pieces: MemoryChunks::new(0),
            device: None,
        };
        Self::new(backing, max_memory, temp_dir)
    }

    /// A store in the file `path`: a new one in place of an older one, which is never truncated
    /// (blobs of the recording before may be mappings of it). `max_memory` and `temp_dir` matter
    /// for blobs that are taken before the end: larger ones are copied to a temporary file.
    ///
    /// A character device (/dev/null) is written to, and blobs are cut as in a store in memory.
    ///
    /// # Errors
    /// If `path` cannot be opened for writing; an older file is then as it was. The message
    /// names the path.
    pub fn in_file(
        path: impl AsRef<Path>,
        max_memory: u64,
        temp_dir: Option<PathBuf>,
    ) -> io::Result<Self> {
        let path = path.as_ref().to_path_buf();
        let backing = match file::open(&path)? {
            Target::File(file) => Backing::File {
                disk: DiskFile::new(file),
                path,
            },
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
            failed: false,
            finished: false,
        }
    }

    /// Length of the recording so far, in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether no byte has come yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bytes, from the front, have been taken as blobs.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Puts `buffer`'s bytes at offset `pos`: behind the last byte, over earlier ones, or both.
    /// A hole between the last byte and `pos` is filled with zeros.
    ///
    /// # Errors
    /// The first that a file gives; later calls then return `Ok` and make nothing longer. Also
    /// when `pos` is absurd, or the last blob has been taken.
    pub fn write(&mut self, pos: u64, buffer: gst::Buffer) -> io::Result<()> {
        if self.finished {
            return Err(io::Error::other("the recording's last blob has been taken"));
        }
        let size = buffer.size() as u64;
        if size == 0 {
            return Ok(());
        }
        if self.failed {
            // Best effort: a header completed at the end makes what there is more useful.
            let _ = self.patch(pos, &buffer, self.len);
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
            self.patch(pos, &buffer, len)?;
            if end > len {
                let tail = buffer
                    .copy_region(gst::BufferCopyFlags::MEMORY, (len - pos) as usize..)
                    .map_err(io::Error::other)?;
                self.append(tail)?;
            }
            return Ok(());
        }
        while self.len < pos {
            let hole = (pos - self.len).min(GATHER as u64) as usize;
            self.append(gst::Buffer::from_slice(vec![0; hole]))?;
        }
        self.append(buffer)
    }

    /// Writes to the file, if there is one, what was gathered for it. The owner calls it at least
    /// each half second of media, so that a killed process loses no more than that.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn flush(&mut self) -> io::Result<()> {
        let done = match &mut self.backing {
            Backing::File { disk, path } => disk.flush().map_err(|err| writing(path, err)),
            Backing::Memory { .. } | Backing::Spilled { .. } => Ok(()),
        };
        self.note(done)
    }

    /// The bytes not yet taken, as one buffer with `offset` and `offset_end` set; empty if there
    /// are none. `last` says that the recording ends with it: nothing can be written any more.
    ///
    /// A spilled blob, and the last one of a file if it is the whole recording or large, is a
    /// mapping of the file and costs neither memory nor reading.
    ///
    /// # Errors
    /// When the bytes cannot be written out or read back; they stay and can be taken again,
    /// as far as they were written.
    pub fn take(&mut self, last: bool) -> io::Result<gst::Buffer> {
        self.finished |= last;
        let flushed = match &mut self.backing {
            Backing::File { disk, path } => disk.flush().map_err(|err| writing(path, err)),
            Backing::Spilled { disk, .. } => disk
                .flush()
                .map_err(|err| spilling(self.temp_dir.as_deref(), err)),
            Backing::Memory { .. } => Ok(()),
        };
        self.note(flushed)?;
        let (from, to) = (self.taken, self.blobs_end.unwrap_or(self.len));
        let mut blob = match &mut self.backing {
            Backing::File { disk, path } => {
                let size = to - from;
                let blob = if last && (from == 0 || size > self.max_memory) {
                    // Some file systems have no mappings (FUSE).
                    disk.map(from, to)
                        .or_else(|err| match size <= self.max_memory {
                            true => disk.read(from, to),
                            false => Err(err),
                        })
                } else if size > self.max_memory {
                    spill::create(&spill::directory(self.temp_dir.as_deref()))
                        .and_then(|file| disk.copy_to(from, to, file))
                        .and_then(|mut copy| copy.map(0, size))
                } else {
                    disk.read(from, to)
                };
                blob.map_err(|err| reading(path, err))?
            }
            Backing::Spilled {
                disk,
                start,
                device,
            } => {
                let blob = disk
                    .map(from - *start, to - *start)
                    .map_err(|err| spilling(self.temp_dir.as_deref(), err))?;
                // The mapping alone keeps the file: its space is free again with the blob.
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
        let buffer = blob.make_mut();
        buffer.set_offset(from);
        buffer.set_offset_end(to);
        self.taken = to;
        Ok(blob)
    }

    /// Adds bytes at the end; `len` follows what could be stored.
    fn append(&mut self, buffer: gst::Buffer) -> io::Result<()> {
        let size = buffer.size() as u64;
        match &mut self.backing {
            Backing::File { disk, path } => {
                disk.append(buffer).map_err(|err| writing(path, err))?;
                self.len += size;
                return Ok(());
            }
            Backing::Spilled { disk, device, .. } => {
                let to_device = device.as_mut().map(|device| feed(device, &buffer));
                disk.append(buffer)
                    .map_err(|err| spilling(self.temp_dir.as_deref(), err))?;
                self.len += size;
                return to_device.unwrap_or(Ok(()));
            }
            Backing::Memory { pieces, device } => {
                let to_device = device.as_mut().map(|device| feed(device, &buffer));
                pieces.append(buffer)?;
                self.len = pieces.end();
                to_device.unwrap_or(Ok(()))?;
                if pieces.size() <= self.max_memory {
                    return Ok(());
                }
            }
        }
        self.spill()
    }

    /// Moves what is in memory to a new file. On an error it stays in memory.
    fn spill(&mut self) -> io::Result<()> {
        let Backing::Memory { pieces, device } = &mut self.backing else {
            return Ok(());
        };
        let directory = spill::directory(self.temp_dir.as_deref());
        let mut disk = DiskFile::new(spill::create(&directory)?);
        disk.write_vectored(&mut pieces.slices())
            .map_err(|err| spilling(Some(&directory), err))?;
        self.backing = Backing::Spilled {
            disk,
            start: self.taken,
            device: device.take(),
        };
        Ok(())
    }

    /// Overwrites what `buffer` covers of the bytes before `end`.
    fn patch(&mut self, pos: u64, buffer: &gst::Buffer, end: u64) -> io::Result<()> {
        let (disk, start) = match &mut self.backing {
            Backing::Memory { pieces, .. } => return pieces.patch(pos, buffer),
            Backing::Spilled { disk, start, .. } => (disk, *start),
            Backing::File { disk, .. } => (disk, 0),
        };
        let from = pos.max(start);
        let to = pos.saturating_add(buffer.size() as u64).min(end);
        if from >= to {
            return Ok(());
        }
        let mapped = buffer.map_readable().map_err(io::Error::other)?;
        let bytes = mapped.get((from - pos) as usize..(to - pos) as usize);
        disk.patch(from - start, bytes.unwrap_or_default())
            .map_err(|err| match &self.backing {
                Backing::File { path, .. } => writing(path, err),
                _ => spilling(self.temp_dir.as_deref(), err),
            })
    }

    /// Remembers an error, so that the recording ends where the bytes end.
    fn note(&mut self, done: io::Result<()>) -> io::Result<()> {
        let Err(err) = done else {
            return Ok(());
        };
        let written = match &self.backing {
            Backing::Memory { pieces, .. } => pieces.end(),
            Backing::Spilled { disk, start, .. } => start + disk.written(),
            Backing::File { disk, .. } => disk.written(),
        };
        self.len = written;
        self.failed = true;
        Err(err)
    }
}

/// Writes `buffer` to a device. Once it has failed it gets nothing more: see [`Store`].
fn feed((device, path): &mut (File, PathBuf), buffer: &gst::Buffer) -> io::Result<()> {
    let mapped = buffer.map_readable().map_err(io::Error::other)?;
    device.write_all(&mapped).map_err(|err| writing(path, err))
}

fn writing(path: &Path, err: io::Error) -> io::Error {
    let text = format!("cannot write to {}: {err}", path.display());
    io::Error::new(err.kind(), text)
}

fn reading(path: &Path, err: io::Error) -> io::Error {
    let text = format!("cannot cut a blob from {}: {err}", path.display());
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
#[cfg(test)]
mod tests;
