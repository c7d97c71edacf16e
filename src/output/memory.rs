//! Bytes in memory as ordered pieces, patched without modifying shared buffers.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

type Mapped = gst::MappedBuffer<gst::buffer::Readable>;

/// Smaller buffers are merged by a copy: an encoder's packet of 200 bytes may hold an allocation of 4000, and thousands
/// of them would exceed `max-memory` by far.
const SHARE_FROM: usize = 4096;
/// Small buffers are copied into pieces up to this size.
const CHUNK: usize = 64 * 1024;

/// A contiguous run of bytes.
#[derive(Debug)]
enum Piece {
    /// The muxer's own buffer, shared: never written to.
    Shared(Mapped),
    /// Copied bytes.
    Own(Vec<u8>),
}

impl Piece {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Shared(mapped) => mapped.as_slice(),
            Self::Own(bytes) => bytes,
        }
    }

    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn into_buffer(self) -> gst::Buffer {
        match self {
            // A new buffer with the same memory, without the muxer's timestamps and metas.
            Self::Shared(mapped) => {
                let buffer = mapped.into_buffer();
                buffer
                    .copy_region(gst::BufferCopyFlags::MEMORY, ..)
                    .unwrap_or(buffer)
            }
            Self::Own(bytes) => gst::Buffer::from_slice(bytes),
        }
    }
}

/// The bytes `start..end()` of a recording in memory. Owned by one thread.
#[derive(Debug)]
pub(super) struct MemoryChunks {
    start: u64,
    end: u64,
    /// Sorted by the offset of their first byte in the recording; none is empty.
    pieces: VecDeque<(u64, Piece)>,
}

impl MemoryChunks {
    /// Creates an empty list; the first byte will be at `start`.
    pub(super) fn new(start: u64) -> Self {
        Self {
            start,
            end: start,
            pieces: VecDeque::new(),
        }
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn size(&self) -> u64 {
        self.end - self.start
    }

    /// Appends `buffer`.
    pub(super) fn append(&mut self, buffer: gst::Buffer) -> io::Result<()> {
        let size = buffer.size();
        if size == 0 {
            return Ok(());
        }
        // Mapping several memories would merge them by a copy anyway.
        let share = buffer.n_memory() == 1
            && size >= SHARE_FROM
            && buffer.peek_memory(0).maxsize() / 2 <= size;
        let mapped = map(buffer)?;
        if share {
            self.pieces.push_back((self.end, Piece::Shared(mapped)));
        } else {
            match self.pieces.back_mut() {
                Some((_, Piece::Own(bytes))) if bytes.len() + size <= CHUNK => {
                    bytes.extend_from_slice(&mapped);
                }
                _ => {
                    let own = Piece::Own(mapped.to_vec());
                    self.pieces.push_back((self.end, own));
                }
            }
        }
        self.end += size as u64;
        Ok(())
    }

    /// Overwrites bytes; those outside `start..end()` are ignored.
    pub(super) fn patch(&mut self, pos: u64, patch: &[u8]) -> io::Result<()> {
        let from = pos.max(self.start);
        let to = pos.saturating_add(patch.len() as u64).min(self.end);
        let mut at = from;
        while at < to {
            // The piece that contains `at`: the last that begins at or before it.
            let index = self
                .pieces
                .partition_point(|(begin, _)| *begin <= at)
                .saturating_sub(1);
            let Some((begin, piece)) = self.pieces.get_mut(index) else {
                break;
            };
            let inside = (at - *begin) as usize;
            let count = (piece.len() - inside).min((to - at) as usize);
            let skip = (at - pos) as usize;
            let Some(new) = patch.get(skip..skip + count) else {
                break;
            };
            match piece {
                Piece::Own(bytes) => {
                    if let Some(old) = bytes.get_mut(inside..inside + count) {
                        old.copy_from_slice(new);
                    }
                }
                Piece::Shared(_) => self.split(index, inside, new.to_vec())?,
            }
            at += count as u64;
        }
        Ok(())
    }

    /// Replaces part of a shared piece, at `inside`, with `new` by splitting the piece around it.
    fn split(&mut self, index: usize, inside: usize, new: Vec<u8>) -> io::Result<()> {
        let Some((begin, Piece::Shared(mapped))) = self.pieces.get(index) else {
            return Ok(());
        };
        let begin = *begin;
        let after = inside + new.len();
        let part = |from: usize, to: usize| -> io::Result<Option<(u64, Piece)>> {
            if from == to {
                return Ok(None);
            }
            let part = mapped
                .buffer()
                .copy_region(gst::BufferCopyFlags::MEMORY, from..to)
                .map_err(io::Error::other)?;
            Ok(Some((begin + from as u64, Piece::Shared(map(part)?))))
        };
        let (front, back) = (part(0, inside)?, part(after, mapped.size())?);
        let middle = (begin + inside as u64, Piece::Own(new));
        self.pieces.remove(index);
        for piece in [back, Some(middle), front].into_iter().flatten() {
            self.pieces.insert(index, piece);
        }
        Ok(())
    }

    /// The bytes, as slices for a vectored write.
    pub(super) fn slices(&self) -> Vec<IoSlice<'_>> {
        self.pieces
            .iter()
            .map(|(_, piece)| IoSlice::new(piece.as_slice()))
            .collect()
    }

    /// All bytes as one buffer with one memory: shared if there is one piece, else copied.
    pub(super) fn into_buffer(mut self) -> io::Result<gst::Buffer> {
        if self.pieces.len() <= 1 {
            return Ok(self
                .pieces
                .pop_front()
                .map_or_else(gst::Buffer::new, |(_, piece)| piece.into_buffer()));
        }
        let size = usize::try_from(self.size()).map_err(io::Error::other)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(size).map_err(io::Error::other)?;
        // Freed one by one, so that there are never two copies of everything.
        for (_, piece) in self.pieces {
            bytes.extend_from_slice(piece.as_slice());
        }
        Ok(gst::Buffer::from_slice(bytes))
    }
}

fn map(buffer: gst::Buffer) -> io::Result<Mapped> {
    buffer
        .into_mapped_buffer_readable()
        .map_err(|_| io::Error::other("a buffer cannot be read"))
}
