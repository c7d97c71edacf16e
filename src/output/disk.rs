//! A file that a recording is written to: gathered vectored writes, patches, reading back.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::FileExt;

use memmap2::{Mmap, MmapOptions};

/// So many bytes are gathered before they are written: few system calls, and little is lost when
/// the process is killed between two flushes.
pub(super) const GATHER: usize = 64 * 1024;

type Mapped = gst::MappedBuffer<gst::buffer::Readable>;

/// An append-only file with patches. Owned by one thread.
///
/// Appended buffers are held, mapped, until [`GATHER`] bytes have come, and then written without
/// a copy. An error loses what was not yet written; [`DiskFile::written`] says what was.
#[derive(Debug)]
pub(super) struct DiskFile {
    /// Its cursor is always at `written`.
    file: File,
    written: u64,
    pending: Vec<Mapped>,
    pending_bytes: usize,
}

impl DiskFile {
    /// `file` is empty, or its content is to be overwritten from the start.
    pub(super) fn new(file: File) -> Self {
        Self {
            file,
            written: 0,
            pending: Vec::new(),
            pending_bytes: 0,
        }
    }

    /// Bytes that are in the file.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Adds `buffer` at the end, now or with one of the next calls.
    pub(super) fn append(&mut self, buffer: gst::Buffer) -> io::Result<()> {
        if buffer.size() == 0 {
            return Ok(());
        }
        let mapped = buffer
            .into_mapped_buffer_readable()
            .map_err(|_| io::Error::other("a buffer cannot be read"))?;
        self.pending_bytes += mapped.size();
        self.pending.push(mapped);
        if self.pending_bytes >= GATHER {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes what was gathered. After an error nothing is pending any more.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let pending = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        let mut slices: Vec<_> = pending
            .iter()
            .map(|piece| IoSlice::new(piece.as_slice()))
            .collect();
        self.write_vectored(&mut slices)
    }

    /// Writes `slices` at the end, behind what was gathered before.
    pub(super) fn write_vectored(&mut self, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        if !self.pending.is_empty() {
            self.flush()?;
        }
        let mut rest = slices;
        // An empty slice at the front would read as "nothing could be written".
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match self.file.write_vectored(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.written += count as u64;
                    IoSlice::advance_slices(&mut rest, count);
                }
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(err),
            }
        }
        Ok(())
    }

    /// Overwrites bytes that were appended before; `pos + bytes.len()` is not beyond their end.
    pub(super) fn patch(&mut self, pos: u64, bytes: &[u8]) -> io::Result<()> {
        self.flush()?;
        self.file.write_all_at(bytes, pos)
    }

    /// Leaves out what lies behind the first `len` bytes, written or not. No mapping reaches so far.
    pub(super) fn truncate(&mut self, len: u64) -> io::Result<()> {
        use std::io::{Seek, SeekFrom};
        self.flush()?;
        if len >= self.written {
            return Ok(());
        }
        self.file.set_len(len)?;
        self.file.seek(SeekFrom::Start(len))?;
        self.written = len;
        Ok(())
    }

    /// Bytes `from..to` in memory of their own.
    pub(super) fn read(&mut self, from: u64, to: u64) -> io::Result<gst::Buffer> {
        self.flush()?;
        read(&self.file, from, to)
    }

    /// Bytes `from..to` as a mapping of the file, which is not read for it. The caller writes to
    /// that range no more.
    pub(super) fn map(&mut self, from: u64, to: u64) -> io::Result<gst::Buffer> {
        self.flush()?;
        let to = to.min(self.written);
        if from >= to {
            return Ok(gst::Buffer::new());
        }
        let len = usize::try_from(to - from).map_err(io::Error::other)?;
        // SAFETY: a mapping is sound as long as nobody changes or shortens the file behind it.
        // This process does not: `from..to` lies in the file (`to <= written`, and [`DiskFile::truncate`]
        // only leaves out what is beyond every mapping), callers give up the range (see above), a file is only ever created
        // anew by this crate (`file::open` makes a new inode in place of an older one, and
        // `spill::create` makes one without a name), and the mapping is read-only. A spill file
        // cannot be reached by anyone else. A file at `location` can, by a process that opens
        // it for writing while a blob of it lives; that is the same trust that every reader of a
        // mapped file, such as a shared library's loader, has to place in the file's owner.
        let map = unsafe { MmapOptions::new().offset(from).len(len).map(&self.file)? };
        Ok(gst::Buffer::from_slice(MappedFile(map)))
    }

    /// Bytes `from..to` copied to the file `to_file`, without passing through this process'
    /// memory where the kernel can.
    pub(super) fn copy_to(&mut self, from: u64, to: u64, to_file: File) -> io::Result<DiskFile> {
        use std::io::{Read, Seek, SeekFrom};
        self.flush()?;
        // A second handle would share the cursor: it is put back afterwards.
        let mut source = &self.file;
        source.seek(SeekFrom::Start(from))?;
        let mut target = DiskFile::new(to_file);
        let copied = io::copy(&mut source.take(to - from), &mut target.file);
        (&self.file).seek(SeekFrom::Start(self.written))?;
        target.written = copied?;
        if target.written != to - from {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(target)
    }
}

/// Bytes `from..to` of `file` in memory of their own.
pub(super) fn read(file: &File, from: u64, to: u64) -> io::Result<gst::Buffer> {
    let len = usize::try_from(to.saturating_sub(from)).map_err(io::Error::other)?;
    if len == 0 {
        return Ok(gst::Buffer::new());
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(io::Error::other)?;
    bytes.resize(len, 0);
    file.read_exact_at(&mut bytes, from)?;
    Ok(gst::Buffer::from_slice(bytes))
}

/// A mapping as a buffer's memory.
struct MappedFile(Mmap);

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
