//! The configuration of a session.

use super::{RunningTime, TrackSpec, event::Event};
use crate::{
    formats::Keep,
    model::{Error, timeline::Ns},
    output::{Events, Ring, RingLimits, RingPlace, SrcOutput},
};
use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

/// The settings of a recording, as they were at `start`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The requested MIME type.
    pub mime_type: String,
    /// File of the first part, with its number filled in.
    pub location: Option<String>,
    /// Name pattern for the file of each part.
    pub pattern: Option<String>,
    /// Name pattern once `pattern` has failed.
    pub fallback: Option<String>,
    /// Recorded time per blob, 0 = a single blob at the end.
    pub timeslice: Ns,
    /// Which properties of raw video to keep.
    pub keep: Keep,
    /// `audio-bitrate-mode` constant.
    pub constant_bitrate: bool,
    /// Maximum time between keyframes, 0 = the default.
    pub key_interval_ms: u32,
    /// Maximum frames between keyframes, 0 = the default.
    pub key_interval_frames: u32,
    /// Beyond this, queued bytes go to a temporary file.
    pub max_memory: u64,
    /// Directory of the temporary file.
    pub temp_dir: Option<PathBuf>,
    /// Maximum queued media per track.
    pub max_queue_time: Ns,
    /// Recorded time after which the recording ends, 0 = no limit.
    pub max_duration: Ns,
    /// Recorded time after which to split, 0 = no splitting by time.
    pub max_size_time: Ns,
    /// Size after which to split, in bytes, 0 = no splitting by size.
    pub max_size_bytes: u64,
    /// Whether the recording may be split into parts.
    pub may_split: bool,
    /// Limits for the number and total size of files.
    pub ring: RingLimits,
    /// Maximum duration of the drain.
    pub stop_timeout: Duration,
    /// Interval at which the file is synchronised to the disk, 0 = never.
    pub sync_interval: Ns,
    /// Global tags.
    pub tags: Option<gst::TagList>,
}

/// Default keyframe interval: players seek, and cuts and fragments begin, at keyframes.
const KEY_INTERVAL: gst::ClockTime = gst::ClockTime::from_seconds(2);

/// Used if `max-queue-time` sets no limit.
const PATIENCE: Duration = Duration::from_secs(2);

/// Minimum patience with an encoder, however short `max-queue-time` is: the machine may be busy.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);

impl Settings {
    /// How long to wait for missing media: `max-queue-time`, or 2 s if that sets no limit (0 or the maximum).
    pub(crate) fn patience(&self) -> Duration {
        match self.max_queue_time {
            0 | Ns::MAX => PATIENCE,
            time => Duration::from_nanos(time),
        }
    }

    /// The same in nanoseconds.
    pub(crate) fn patience_ns(&self) -> Ns {
        u64::try_from(self.patience().as_nanos()).unwrap_or(Ns::MAX)
    }

    /// How long an encoder may make no progress before it counts as hung.
    pub(crate) fn encoder_patience(&self) -> Duration {
        self.patience().max(LEAST_PATIENCE)
    }

    /// Maximum queued media per track. Practically unlimited if `max-queue-time` sets no limit.
    pub(crate) fn queue_limit(&self) -> Ns {
        match self.max_queue_time {
            0 => Ns::MAX / 4,
            time => time.min(Ns::MAX / 4),
        }
    }

    /// Size limit of a part in bytes, if any.
    pub(super) fn part_limit(&self) -> Option<u64> {
        // Half of the ring, so that there is room for the next part before the previous one is deleted.
        let limits = [self.max_size_bytes, self.ring.bytes / 2];
        limits.into_iter().filter(|most| *most > 0).min()
    }

    /// Whether the sizes of parts have to be forecast.
    pub(super) fn limits_bytes(&self) -> bool {
        self.part_limit().is_some() || self.ring.free > 0
    }

    /// A place for a file in the recorder's ring. Without limits, the file still counts for later recordings.
    pub(super) fn place_in(&self, ring: &Arc<Ring>) -> RingPlace {
        RingPlace::new(ring.clone(), self.ring)
    }

    /// Maximum time and maximum frames (0 = unlimited) between keyframes.
    pub(super) fn key_interval(&self) -> (Option<gst::ClockTime>, u32) {
        let interval = match (self.key_interval_ms, self.key_interval_frames) {
            (0, 0) => Some(KEY_INTERVAL),
            (0, _) => None,
            (milliseconds, _) => Some(gst::ClockTime::from_mseconds(milliseconds.into())),
        };
        (interval, self.key_interval_frames)
    }
}

/// What the session calls in its owner.
pub trait SessionDelegate: Send + Sync + 'static {
    /// The owner's name, for the log.
    fn name(&self) -> String;
    /// An encoder is about to be used for this pad's track; it is in NULL.
    fn encoder_setup(&self, pad: &str, encoder: &gst::Element);
    /// Requests a keyframe from upstream of this pad, at a running time.
    fn request_key_frame(&self, pad: &str, running: Ns);
    /// The tags that upstream has sent on this pad.
    fn tags(&self, pad: &str) -> Option<gst::TagList>;
    /// The application's name for the file of this part (`format-location`); `None` to use `pattern`. Runs
    /// application code: call it without a lock, in a thread that may block.
    ///
    /// # Errors
    /// If the answer is not a valid name.
    fn file_name(&self, part: u32) -> Result<Option<String>, Error>;
    /// The session is finished, and its events are queued.
    fn finished(&self, session: u64);
}

/// When the recording begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// Immediately.
    Now,
    /// At the earliest buffer of any track.
    EarliestBuffer,
}

/// Everything a session is created from.
pub struct SessionConfig {
    /// Its number.
    pub id: u64,
    /// Its settings.
    pub settings: Settings,
    /// Its tracks.
    pub tracks: Vec<TrackSpec>,
    /// The pipeline's running time.
    pub clock: Arc<RunningTime>,
    /// Its events.
    pub events: Events<Event>,
    /// The `src` pad.
    pub src: Arc<SrcOutput>,
    /// Its owner.
    pub delegate: Arc<dyn SessionDelegate>,
    /// Number of files begun so far.
    pub numbers: Arc<AtomicU32>,
    /// The recorder's ring of files.
    pub ring: Arc<Ring>,
    /// The first file to use if `location` cannot be opened.
    pub fallback: Option<String>,
}
