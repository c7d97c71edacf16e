//! [`Part`], [`Mark`] and [`RecordedInterval`]: details of a finished part, a mark and a recorded interval, for Rust
//! applications.

use std::path::PathBuf;

/// A finished part of a recording, in its own file. A recording that is never split has one part, number 0.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part {
    /// Part number, from 0.
    pub number: u32,
    /// The file, if any.
    pub location: Option<PathBuf>,
    /// The actual type; empty if nothing could be recorded.
    pub mime_type: String,
    /// Recorded time of its start.
    pub timecode: gst::ClockTime,
    /// Recorded duration.
    pub duration: gst::ClockTime,
    /// Size in bytes.
    pub size: u64,
    /// FALSE after a disk error: the file may lack data that the blobs have.
    pub is_whole: bool,
    /// Running time of its start.
    pub running_time: gst::ClockTime,
}

impl Part {
    /// Parses the structure of `on-part` and of the message `mediarecorder-part`.
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

/// A chapter mark set by the application.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mark {
    /// Chapter title; may be empty.
    pub title: String,
    /// Its recorded time.
    pub timecode: gst::ClockTime,
    /// Number of its part, from 0.
    pub part: u32,
    /// Recorded time in its part.
    pub part_timecode: gst::ClockTime,
    /// Running time; of the cut for a mark set while paused.
    pub running_time: gst::ClockTime,
}

impl Mark {
    /// Parses the structure of `on-mark` and of the message `mediarecorder-mark`.
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

/// An interval that was recorded without a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordedInterval {
    /// Running time of its start.
    pub running_time: gst::ClockTime,
    /// Recorded time of its start.
    pub recorded_time: gst::ClockTime,
    /// Duration so far.
    pub duration: gst::ClockTime,
    /// Wall-clock time of its start, in nanoseconds since 1970: from upstream's `GstReferenceTimestampMeta` if present,
    /// else from the system clock.
    pub utc: i64,
}

impl RecordedInterval {
    /// Parses the `intervals` of `stats` or of the message `mediarecorder-stop`.
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
