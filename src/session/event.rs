//! What a recording has to say, in the order it is said.

use crate::{
    formats::Missing,
    model::{error::Error, timeline::Ns},
};
use std::fmt;

/// An event of one recording. `running_time` is that of the cut for the ones that are cuts, of
/// the others the furthest recorded.
#[derive(Debug)]
pub enum Event {
    /// It has begun; all tracks and the type are known.
    Start {
        session: u64,
        running_time: Ns,
        mime_type: String,
        location: Option<String>,
    },
    /// It was paused.
    Pause { running_time: Ns },
    /// It goes on.
    Resume { running_time: Ns },
    /// Something that the user should know and that ends nothing.
    Warning { message: String },
    /// What is not installed, for whoever installs plugins.
    Missing(Vec<Missing>),
    /// Its end has come: what was captured is encoded and written.
    Finalising,
    /// From here on the recording with this number is over, if it was not before.
    Ended { session: u64 },
    /// Why it is over.
    Error {
        session: u64,
        running_time: Ns,
        error: Error,
    },
    /// Bytes. The type is "" where it was not known yet when they were cut off: see [`typed`].
    Data {
        session: u64,
        running_time: Ns,
        mime_type: String,
        sample: gst::Sample,
    },
    /// The last one.
    Stop {
        session: u64,
        /// After an [`Event::Error`].
        failed: bool,
        running_time: Ns,
        location: Option<String>,
        duration: Ns,
        size: u64,
    },
}

/// The same blob with this type: caps know the container only, so the whole type goes with each.
pub fn typed(sample: &gst::SampleRef, mime_type: &str) -> gst::Sample {
    let info = gst::Structure::builder("mediarecorder-blob")
        .field("mime-type", mime_type)
        .build();
    let (buffer, caps) = (sample.buffer_owned(), sample.caps_owned());
    let mut typed = gst::Sample::builder().info(info);
    if let Some(buffer) = &buffer {
        typed = typed.buffer(buffer);
    }
    if let Some(caps) = &caps {
        typed = typed.caps(caps);
    }
    typed.build()
}

/// For the log: the signals by their names, without the bytes.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Start {
                mime_type,
                location,
                ..
            } => {
                let place = location.as_deref().unwrap_or("no file");
                write!(f, "on-start: {mime_type}, into {place}")
            }
            Event::Pause { .. } => f.write_str("on-pause"),
            Event::Resume { .. } => f.write_str("on-resume"),
            Event::Warning { message } => write!(f, "warning: {message}"),
            Event::Missing(missing) => write!(f, "not installed: {missing:?}"),
            Event::Finalising => f.write_str("progress: finalising"),
            Event::Ended { session } => write!(f, "recording {session} is over"),
            Event::Error { error, .. } => write!(f, "on-error: {error}"),
            Event::Data { sample, .. } => {
                let size = sample.buffer().map_or(0, gst::BufferRef::size);
                write!(f, "on-data-available: {size} bytes")
            }
            Event::Stop { failed, size, .. } => {
                let how = if *failed { ", after an error" } else { "" };
                write!(f, "on-stop: {size} bytes in all{how}")
            }
        }
    }
}
