//! What a recording has to say, in the order it is said.

use crate::{
    formats::Missing,
    model::{end_reason::EndReason, error::Error, timeline::Ns},
    output::BlobBytes,
};
use std::{fmt, io};

/// A stretch of time that was recorded without a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordedInterval {
    /// Running time of its first instant.
    pub running_time: Ns,
    /// Recorded time of its first instant.
    pub recorded_time: Ns,
    /// How long it is; up to what has arrived while it goes on.
    pub duration: Ns,
    /// Wall-clock time of its first instant, nanoseconds since 1970.
    pub utc: i64,
}

/// A part of a recording that is over: a file of its own.
#[derive(Debug, Clone)]
pub struct FinishedPart {
    /// Its number, from 0.
    pub number: u32,
    /// Where its file is.
    pub location: Option<String>,
    /// Its actual type.
    pub mime_type: String,
    /// Recorded time of its first instant.
    pub timecode: Ns,
    /// Recorded time in it.
    pub duration: Ns,
    /// Bytes in it.
    pub size: u64,
    /// FALSE where its file may lack something, because the disk has failed.
    pub whole: bool,
    /// Running time of its first instant.
    pub running_time: Ns,
}

/// An instant that the application has named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// What it is called; may be empty.
    pub title: String,
    /// Its recorded time.
    pub timecode: Ns,
    /// The part that it is in.
    pub part: u32,
    /// The same, counted from where that begins.
    pub part_timecode: Ns,
    /// Its running time.
    pub running_time: Ns,
}

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
    /// Bytes. The type is "" where it was not known yet when they were cut off: `on-start` tells it.
    Data {
        session: u64,
        running_time: Ns,
        part: u32,
        blob: Blob,
    },
    /// A mark has its place.
    Mark(Mark),
    /// A part is over, and its file whole.
    Part(FinishedPart),
    /// The last one.
    Stop {
        session: u64,
        reason: EndReason,
        intervals: Vec<RecordedInterval>,
        running_time: Ns,
        location: Option<String>,
        duration: Ns,
        size: u64,
    },
}

/// A blob on its way out.
#[derive(Debug)]
pub struct Blob {
    pub bytes: BlobBytes,
    /// The container's.
    pub caps: Option<gst::Caps>,
    /// Recorded time of its first media.
    pub timecode: Ns,
    /// Recorded time that is in it.
    pub duration: Ns,
    /// The actual type.
    pub mime_type: String,
}

impl Blob {
    /// The sample that applications get. May have to wait for a disk; see [`BlobBytes::into_buffer`] for the error.
    pub fn into_sample(self) -> (gst::Sample, Option<io::Error>) {
        let (mut bytes, error) = self.bytes.into_buffer();
        let stamped = bytes.make_mut();
        // u64::MAX would be no time at all.
        let time = |ns: Ns| gst::ClockTime::from_nseconds(ns.min(Ns::MAX - 1));
        stamped.set_pts(time(self.timecode));
        stamped.set_duration(time(self.duration));
        // Caps know the container only: the whole type goes with each blob.
        let info = gst::Structure::builder("mediarecorder-blob")
            .field("mime-type", self.mime_type)
            .build();
        let mut sample = gst::Sample::builder().buffer(&bytes).info(info);
        if let Some(caps) = &self.caps {
            sample = sample.caps(caps);
        }
        (sample.build(), error)
    }
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
            Event::Data { blob, .. } => {
                write!(f, "on-data-available: {} bytes", blob.bytes.size())
            }
            Event::Mark(mark) => {
                write!(f, "on-mark: \"{}\" at {} ns", mark.title, mark.timecode)
            }
            Event::Part(part) => {
                write!(f, "on-part: {}, {} bytes", part.number, part.size)
            }
            Event::Stop { reason, size, .. } => {
                write!(f, "on-stop: {size} bytes in all, {}", reason.as_str())
            }
        }
    }
}
