//! The events of a recording, in the order in which they are emitted.

use crate::{
    formats::Missing,
    model::{end_reason::EndReason, error::Error, timeline::Ns},
    output::BlobBytes,
};
use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// A continuous interval of recorded time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordedInterval {
    /// Running time at its start.
    pub running_time: Ns,
    /// Recorded time at its start.
    pub recorded_time: Ns,
    /// Its duration; up to the newest media if it has not ended.
    pub duration: Ns,
    /// Wall-clock time at its start, in nanoseconds since 1970.
    pub utc: i64,
}

/// A finished part of a recording: a file of its own.
#[derive(Debug, Clone)]
pub struct FinishedPart {
    /// Its number, from 0.
    pub number: u32,
    /// Its file.
    pub location: Option<String>,
    /// Its actual MIME type.
    pub mime_type: String,
    /// Recorded time at its start.
    pub timecode: Ns,
    /// Its duration in recorded time.
    pub duration: Ns,
    /// Its size in bytes.
    pub size: u64,
    /// FALSE if its file may be incomplete because of a disk failure.
    pub whole: bool,
    /// Running time at its start.
    pub running_time: Ns,
}

/// An instant marked by the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Its title; may be empty.
    pub title: String,
    /// Its recorded time.
    pub timecode: Ns,
    /// The part that it is in.
    pub part: u32,
    /// The same, relative to the start of that part.
    pub part_timecode: Ns,
    /// Its running time.
    pub running_time: Ns,
}

/// A recording that has ended.
#[derive(Debug)]
pub struct Stopped {
    /// Its number.
    pub session: u64,
    /// Why it has ended.
    pub reason: EndReason,
    /// What was recorded.
    pub intervals: Vec<RecordedInterval>,
    /// Running time at its end.
    pub running_time: Ns,
    /// The file of its last part.
    pub location: Option<String>,
    /// Its duration in recorded time.
    pub duration: Ns,
    /// Bytes of the parts that have been reported.
    pub reported: Arc<AtomicU64>,
}

impl Stopped {
    /// Its size in bytes, over all parts. Known when this is emitted: until then, earlier parts may not be complete.
    pub fn size(&self) -> u64 {
        self.reported.load(Ordering::SeqCst)
    }
}

/// An event of one recording. `running_time` is that of the cut, or, for events that are not cuts, the furthest
/// recorded.
#[derive(Debug)]
pub enum Event {
    /// The recording has begun; all tracks and the MIME type are known.
    Start {
        session: u64,
        running_time: Ns,
        mime_type: String,
        location: Option<String>,
    },
    /// It was paused.
    Pause { running_time: Ns },
    /// It has been resumed.
    Resume { running_time: Ns },
    /// A problem that does not end the recording.
    Warning { message: String },
    /// Missing plugins, for an installer.
    Missing(Vec<Missing>),
    /// The end has been reached; captured media is being encoded and written.
    Finalising,
    /// The recording with this number has ended, if it had not before.
    Ended { session: u64 },
    /// Why it has failed.
    Error {
        session: u64,
        running_time: Ns,
        error: Error,
    },
    /// A blob. Its type is "" if that was not known when it was cut off; then `on-start` has it.
    Data {
        session: u64,
        running_time: Ns,
        part: u32,
        blob: Blob,
    },
    /// The position of a mark is known.
    Mark(Mark),
    /// A part has ended, and its file is complete.
    Part(FinishedPart),
    /// The last event.
    Stop(Stopped),
}

/// A blob to be handed out.
#[derive(Debug)]
pub struct Blob {
    pub bytes: BlobBytes,
    /// The container's caps.
    pub caps: Option<gst::Caps>,
    /// Recorded time at its start.
    pub timecode: Ns,
    /// Its duration in recorded time.
    pub duration: Ns,
    /// The actual MIME type.
    pub mime_type: String,
}

impl Blob {
    /// Converts it into the sample for applications. May have to read from the disk; see [`BlobBytes::into_buffer`]
    /// for the error.
    pub fn into_sample(self) -> (gst::Sample, Option<io::Error>) {
        let (mut bytes, error) = self.bytes.into_buffer();
        let stamped = bytes.make_mut();
        // u64::MAX is `GST_CLOCK_TIME_NONE`.
        let time = |ns: Ns| gst::ClockTime::from_nseconds(ns.min(Ns::MAX - 1));
        stamped.set_pts(time(self.timecode));
        stamped.set_duration(time(self.duration));
        // Caps only have the container, so each blob carries the full MIME type.
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

/// For the log: signal names, without the bytes.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Start {
                mime_type,
                location,
                ..
            } => {
                let place = location.as_deref().unwrap_or("no file");
                write!(f, "on-start: {mime_type}, to {place}")
            }
            Event::Pause { .. } => f.write_str("on-pause"),
            Event::Resume { .. } => f.write_str("on-resume"),
            Event::Warning { message } => write!(f, "warning: {message}"),
            Event::Missing(missing) => write!(f, "not installed: {missing:?}"),
            Event::Finalising => f.write_str("progress: finalising"),
            Event::Ended { session } => write!(f, "recording {session} has ended"),
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
            Event::Stop(stopped) => {
                let (size, reason) = (stopped.size(), stopped.reason.as_str());
                write!(f, "on-stop: {size} bytes in all, {reason}")
            }
        }
    }
}
