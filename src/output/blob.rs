//! A blob as cut from the store: its bytes, or their location.

use super::file_blob::FileBlob;
use std::io;

/// The bytes of a blob.
#[derive(Debug)]
pub enum BlobBytes {
    /// In memory or mapped, with `offset` and `offset_end` set.
    Ready(gst::Buffer),
    /// In the file at `location`: read only when requested.
    InFile(FileBlob),
}

impl BlobBytes {
    /// An empty blob at `offset`.
    pub fn empty(offset: u64) -> Self {
        Self::Ready(stamped(gst::Buffer::new(), offset, offset))
    }

    /// Offset of its first byte in the recording.
    pub fn offset(&self) -> u64 {
        match self {
            Self::Ready(buffer) => buffer.offset(),
            Self::InFile(blob) => blob.offset(),
        }
    }

    /// Number of bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Ready(buffer) => buffer.size() as u64,
            Self::InFile(blob) => blob.offset_end() - blob.offset(),
        }
    }

    /// The bytes, with `offset` and `offset_end` set. May block on the disk. If they cannot be read, or there is no
    /// space for them, the buffer is empty and the error has the reason; the file still has the bytes.
    pub fn into_buffer(self) -> (gst::Buffer, Option<io::Error>) {
        let blob = match self {
            Self::Ready(buffer) => return (buffer, None),
            Self::InFile(blob) => blob,
        };
        let (from, to) = (blob.offset(), blob.offset_end());
        match blob.into_buffer() {
            Ok(buffer) => (stamped(buffer, from, to), None),
            Err(err) => (stamped(gst::Buffer::new(), from, to), Some(err)),
        }
    }
}

/// Marks the buffer as the bytes `from..to` of the recording.
pub(super) fn stamped(mut buffer: gst::Buffer, from: u64, to: u64) -> gst::Buffer {
    let fields = buffer.make_mut();
    fields.set_offset(from);
    fields.set_offset_end(to);
    buffer
}
