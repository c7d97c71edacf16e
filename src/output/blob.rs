//! A blob as it is cut: its bytes, or where they are.

use super::file_blob::FileBlob;
use std::io;

/// The bytes of a blob.
#[derive(Debug)]
pub enum BlobBytes {
    /// At hand, with `offset` and `offset_end` set.
    Ready(gst::Buffer),
    /// In the file at `location`: they cost nothing before somebody wants them.
    InFile(FileBlob),
}

impl BlobBytes {
    /// No bytes, at `offset`.
    pub fn empty(offset: u64) -> Self {
        Self::Ready(stamped(gst::Buffer::new(), offset, offset))
    }

    /// Where its first byte is in the recording.
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

    /// The bytes, with `offset` and `offset_end` set. May have to wait for a disk. Where they cannot be had, because
    /// they cannot be read or there is no room for them, there are none, and the error has the reason: the file has them.
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

/// The buffer, which is the bytes `from..to` of the recording.
pub(super) fn stamped(mut buffer: gst::Buffer, from: u64, to: u64) -> gst::Buffer {
    let fields = buffer.make_mut();
    fields.set_offset(from);
    fields.set_offset_end(to);
    buffer
}
