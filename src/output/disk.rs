//! A recording's file: batched vectored writes, and patches.

use std::fs::File;
use std::io::{self, IoSlice, Seek, SeekFrom};
use std::ops::Deref;
use std::sync::Arc;

use super::memory::MemoryChunks;
use super::platform;

/// Batch size in bytes: few system calls, and little is lost if the process is killed between two flushes.
pub(super) const GATHER: u64 = 64 * 1024;

type Mapped = gst::MappedBuffer<gst::buffer::Readable>;

/// An append-only file with patches. Owned by one thread. `F` is the file's handle.
///
/// Appended buffers are held, mapped, until [`GATHER`] bytes are pending, and then written without a copy. After the
/// first error the file is no longer appended to: pending and later buffers are kept in memory as its tail.
#[derive(Debug)]
pub(super) struct DiskFile<F> {
    /// Its cursor is always at `written`. Shared with blobs, which read from it at their own offsets.
    file: Arc<F>,
    written: u64,
    pending: Vec<Mapped>,
    pending_bytes: u64,
    tail: Option<MemoryChunks>,
}

impl<F: Deref<Target = File>> DiskFile<F> {
    /// `file` is empty, or will be overwritten from the start.
    pub(super) fn new(file: F) -> Self {
        Self {
            file: Arc::new(file),
            written: 0,
            pending: Vec::new(),
            pending_bytes: 0,
            tail: None,
        }
    }

    /// Bytes written to the file.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Total bytes: written, pending, or in the tail.
    pub(super) fn len(&self) -> u64 {
        match &self.tail {
            Some(tail) => tail.end(),
            None => self.written + self.pending_bytes,
        }
    }

    /// The file itself, for later readers.
    pub(super) fn file(&self) -> &Arc<F> {
        &self.file
    }

    /// The tail bytes since the last call.
    pub(super) fn take_tail(&mut self) -> io::Result<Option<gst::Buffer>> {
        let Some(tail) = &mut self.tail else {
            return Ok(None);
        };
        let next = MemoryChunks::new(tail.end());
        std::mem::replace(tail, next).into_buffer().map(Some)
    }

    /// Appends `buffer`; it may be written by a later call. It is kept even on error.
    pub(super) fn append(&mut self, buffer: gst::Buffer) -> io::Result<()> {
        if let Some(tail) = &mut self.tail {
            return tail.append(buffer);
        }
        if buffer.size() == 0 {
            return Ok(());
        }
        let mapped = buffer
            .into_mapped_buffer_readable()
            .map_err(|_| io::Error::other("a buffer cannot be read"))?;
        self.pending_bytes += mapped.size() as u64;
        self.pending.push(mapped);
        if self.pending_bytes >= GATHER {
            self.flush()?;
        }
        Ok(())
    }

    /// Stops appending to the file: later buffers go to the tail.
    pub(super) fn refuse(&mut self) -> io::Result<()> {
        self.flush()?;
        self.tail
            .get_or_insert_with(|| MemoryChunks::new(self.written));
        Ok(())
    }

    /// Whether the file is still appended to.
    pub(super) fn takes_more(&self) -> bool {
        self.tail.is_none()
    }

    /// Writes the pending buffers. On error the rest of them becomes the tail.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut slices: Vec<_> = self
            .pending
            .iter()
            .map(|piece| IoSlice::new(piece.as_slice()))
            .collect();
        let mut count = 0;
        let done = write_vectored(&self.file, self.written, &mut slices, &mut count);
        self.written += count;
        if done.is_err() {
            self.tail = Some(self.unwritten(count));
        }
        self.pending.clear();
        self.pending_bytes = 0;
        done
    }

    /// The pending bytes after the first `skip`.
    fn unwritten(&mut self, skip: u64) -> MemoryChunks {
        let mut unwritten = MemoryChunks::new(self.written);
        let mut skip = skip as usize;
        for piece in self.pending.drain(..) {
            if skip >= piece.size() {
                skip -= piece.size();
                continue;
            }
            let rest = piece
                .into_buffer()
                .copy_region(gst::BufferCopyFlags::MEMORY, std::mem::take(&mut skip)..)
                .map_err(io::Error::other)
                .and_then(|rest| unwritten.append(rest));
            if rest.is_err() {
                break;
            }
        }
        unwritten
    }

    /// Writes `slices` as the first bytes.
    pub(super) fn begin(&mut self, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        write_vectored(&self.file, 0, slices, &mut self.written)
    }

    /// Overwrites existing bytes; `pos + bytes.len()` is not beyond their end.
    pub(super) fn patch(&mut self, pos: u64, bytes: &[u8]) -> io::Result<()> {
        let flushed = self.flush();
        if let Some(tail) = &mut self.tail {
            tail.patch(pos, bytes)?;
        }
        let in_file = self.written.saturating_sub(pos);
        let in_file = bytes
            .len()
            .min(usize::try_from(in_file).unwrap_or(usize::MAX));
        let patched = match bytes.get(..in_file) {
            Some(bytes) if !bytes.is_empty() => platform::write_all_at(&self.file, bytes, pos),
            _ => Ok(()),
        };
        flushed.and(patched)
    }

    /// Appends `buffer` to the file at once. On error nothing of it is kept, neither in the file nor in the tail.
    pub(super) fn append_whole(&mut self, buffer: &gst::Buffer) -> io::Result<()> {
        self.flush()?;
        if self.tail.is_some() {
            return Err(io::Error::other("the file is closed for writing"));
        }
        let mapped = buffer.map_readable().map_err(io::Error::other)?;
        let mut count = 0;
        let mut slices = [IoSlice::new(&mapped)];
        match write_vectored(&self.file, self.written, &mut slices, &mut count) {
            Ok(()) => self.written += count,
            Err(err) => {
                self.shorten(self.written)?;
                return Err(err);
            }
        }
        Ok(())
    }

    /// Truncates the file to `len` bytes, and keeps the rest in memory.
    pub(super) fn take_back(&mut self, len: u64) -> io::Result<()> {
        if len >= self.written {
            return Ok(());
        }
        let mut tail = MemoryChunks::new(len);
        tail.append(gst::Buffer::from_mut_slice(read(
            &self.file,
            len,
            self.written,
        )?))?;
        if let Some(rest) = self.take_tail()? {
            tail.append(rest)?;
        }
        self.tail = Some(tail);
        self.written = len;
        self.shorten(len)
    }

    fn shorten(&self, len: u64) -> io::Result<()> {
        let mut file: &File = &self.file;
        file.set_len(len)?;
        file.seek(SeekFrom::Start(len)).map(drop)
    }
}

/// Writes all of `slices` at `pos`, where the cursor of `file` is; `count` is advanced by the bytes written.
fn write_vectored(
    file: &File,
    mut pos: u64,
    slices: &mut [IoSlice<'_>],
    count: &mut u64,
) -> io::Result<()> {
    let mut rest = slices;
    // Otherwise an empty slice at the front would cause a WriteZero error.
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match platform::write_vectored_at(file, rest, pos) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                *count += written as u64;
                pos += written as u64;
                IoSlice::advance_slices(&mut rest, written);
            }
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    Ok(())
}

/// Reads bytes `from..to` of `file` into memory.
pub(super) fn read(file: &File, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let len = usize::try_from(to.saturating_sub(from)).map_err(io::Error::other)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(io::Error::other)?;
    bytes.resize(len, 0);
    platform::read_exact_at(file, &mut bytes, from)?;
    Ok(bytes)
}
