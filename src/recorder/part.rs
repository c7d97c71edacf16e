//! [`Part`], [`Mark`] and [`RecordedInterval`]: what a finished part, a mark, and each recorded stretch of time tell a
//! Rust application.

use std::path::PathBuf;

/// A finished part of a recording: a file of its own. A recording that is never split has one, number 0.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part {
    /// Its number, from 0.
    pub number: u32,
    /// Its file, if there is one.
    pub location: Option<PathBuf>,
    /// Its actual type; empty where nothing could be recorded.
    pub mime_type: String,
    /// Recorded time of its first instant.
    pub timecode: gst::ClockTime,
    /// Recorded time in it.
    pub duration: gst::ClockTime,
    /// Bytes in it.
    pub size: u64,
    /// FALSE where a disk has failed: the file may lack something that the blobs have.
    pub is_whole: bool,
    /// Running time of its first instant.
    pub running_time: gst::ClockTime,
}

impl Part {
    /// What `on-part` and the message `mediarecorder-part` bring.
    pub(super) fn of(structure: &gst::StructureRef) -> Self {
        let word = |name| structure.get::<Option<String>>(name).ok().flatten();
        Part {
            number: structure.get("part").unwrap_or_default(),
            location: word("location").map(PathBuf::from),
            mime_type: word("mime-type").unwrap_or_default(),
            timecode: time(structure, "timecode"),
            duration: time(structure, "duration"),
            size: structure.get("size").unwrap_or_default(),
            is_whole: structure.get("whole").unwrap_or_default(),
            running_time: time(structure, "running-time"),
        }
    }
}

/// An instant of a recording that the application has named.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mark {
    /// What it is called; may be empty.
    pub title: String,
    /// Its recorded time.
    pub timecode: gst::ClockTime,
    /// Number of the part that it is in, from 0.
    pub part: u32,
    /// Its recorded time in that part.
    pub part_timecode: gst::ClockTime,
    /// Its running time: of a mark in a pause that of the cut.
    pub running_time: gst::ClockTime,
}

impl Mark {
    /// What `on-mark` and the message `mediarecorder-mark` bring.
    pub(super) fn of(structure: &gst::StructureRef) -> Self {
        let title = structure.get::<Option<String>>("title").ok().flatten();
        Mark {
            title: title.unwrap_or_default(),
            timecode: time(structure, "timecode"),
            part: structure.get("part").unwrap_or_default(),
            part_timecode: time(structure, "part-timecode"),
            running_time: time(structure, "running-time"),
        }
    }
}

/// A stretch of time that was recorded without a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordedInterval {
    /// Running time of its first instant.
    pub running_time: gst::ClockTime,
    /// Recorded time of its first instant.
    pub recorded_time: gst::ClockTime,
    /// How long it is, as far as it has come.
    pub duration: gst::ClockTime,
    /// Wall-clock time of its first instant, nanoseconds since 1970: from upstream's `GstReferenceTimestampMeta` where
    /// there is one, else from the system's clock.
    pub utc: i64,
}

impl RecordedInterval {
    /// The `intervals` of `stats` or of the message `mediarecorder-stop`.
    pub(super) fn all_of(structure: &gst::StructureRef) -> Vec<Self> {
        let Ok(array) = structure.get::<gst::Array>("intervals") else {
            return Vec::new();
        };
        let structures = array
            .iter()
            .filter_map(|value| value.get::<gst::Structure>().ok());
        structures
            .map(|interval| RecordedInterval {
                running_time: time(&interval, "running-time"),
                recorded_time: time(&interval, "recorded-time"),
                duration: time(&interval, "duration"),
                utc: interval.get("utc").unwrap_or_default(),
            })
            .collect()
    }
}

fn time(structure: &gst::StructureRef, name: &str) -> gst::ClockTime {
    gst::ClockTime::from_nseconds(structure.get(name).unwrap_or_default())
}
