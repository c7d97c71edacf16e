//! [`Blob`]: a chunk of recorded bytes for Rust applications.

use crate::model::{Error, ErrorCode};
use std::{io, sync::OnceLock};

type Mapped = gst::buffer::MappedBuffer<gst::buffer::Readable>;

/// A chunk of a recording (W3C `Blob`). All blobs of a recording, concatenated in order, are the recording.
///
/// Cheap to clone and to send to other threads: the bytes are shared and immutable. A blob keeps its memory, or the
/// unlinked file it maps, until its last clone is dropped.
///
/// If there was no space for the bytes or they could not be read back, it is empty and a WARNING has been posted; the
/// file at `location` has them.
pub struct Blob {
    sample: gst::Sample,
    mapped: OnceLock<Option<Mapped>>,
}

impl Blob {
    /// Wraps the sample of `on-data-available` or of a bus message.
    pub fn new(sample: gst::Sample) -> Self {
        Blob {
            sample,
            mapped: OnceLock::new(),
        }
    }

    /// Number of bytes. May be 0.
    pub fn len(&self) -> usize {
        self.sample.buffer().map_or(0, |buffer| buffer.size())
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Recorded time of its first media; zero in the first blob (W3C `timecode`).
    pub fn timecode(&self) -> gst::ClockTime {
        let pts = self.sample.buffer().and_then(|buffer| buffer.pts());
        pts.unwrap_or_default()
    }

    /// Recorded time it contains.
    pub fn duration(&self) -> gst::ClockTime {
        let duration = self.sample.buffer().and_then(|buffer| buffer.duration());
        duration.unwrap_or_default()
    }

    /// Offset of its first byte in the recording.
    pub fn offset(&self) -> u64 {
        let buffer = self.sample.buffer();
        buffer.map_or(0, |buffer| buffer.offset())
    }

    /// The actual type of the recording, such as `video/webm;codecs="vp8,opus"`; empty if nothing could be recorded.
    pub fn mime_type(&self) -> &str {
        let info = self.sample.info();
        info.and_then(|info| info.get::<&str>("mime-type").ok())
            .unwrap_or_default()
    }

    /// The underlying sample: buffer and caps.
    pub fn sample(&self) -> &gst::Sample {
        &self.sample
    }

    /// Writes all bytes, one memory at a time.
    ///
    /// # Errors
    /// Errors of `target`; [`Error`] of code Unknown, inside the `io::Error`, if the memory cannot be mapped.
    pub fn write_to(&self, mut target: impl io::Write) -> io::Result<()> {
        let Some(buffer) = self.sample.buffer() else {
            return Ok(());
        };
        for memory in buffer.iter_memories() {
            let mapped = memory.map_readable().map_err(|err| {
                let text = format!("A blob's memory cannot be read: {err}");
                io::Error::other(Error::new(ErrorCode::Unknown, text))
            })?;
            target.write_all(&mapped)?;
        }
        Ok(())
    }
}

/// All bytes as one slice. A blob of several memories is merged by a copy on first use; [`Blob::write_to`] avoids that.
/// Empty if the allocation fails.
impl AsRef<[u8]> for Blob {
    fn as_ref(&self) -> &[u8] {
        let mapped = self.mapped.get_or_init(|| {
            let buffer = self.sample.buffer_owned()?;
            buffer.into_mapped_buffer_readable().ok()
        });
        mapped.as_ref().map_or(&[], |mapped| mapped.as_slice())
    }
}

impl Clone for Blob {
    fn clone(&self) -> Self {
        Blob::new(self.sample.clone())
    }
}

impl From<gst::Sample> for Blob {
    fn from(sample: gst::Sample) -> Self {
        Blob::new(sample)
    }
}

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blob")
            .field("len", &self.len())
            .field("offset", &self.offset())
            .field("timecode", &self.timecode())
            .field("duration", &self.duration())
            .field("mime_type", &self.mime_type())
            .finish_non_exhaustive()
    }
}
