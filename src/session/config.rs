//! What a session is made from.

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

/// What shapes a recording, as it was at `start`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The requested type.
    pub mime_type: String,
    /// Where the file of the first part goes, its number filled in.
    pub location: Option<String>,
    /// What names the file of each part.
    pub pattern: Option<String>,
    /// What names the files of parts when `pattern` has failed.
    pub fallback: Option<String>,
    /// Recorded time per blob, 0 = one at the end.
    pub timeslice: Ns,
    /// What of raw pictures is to be kept.
    pub keep: Keep,
    /// `audio-bitrate-mode` constant.
    pub constant_bitrate: bool,
    /// Most time between key frames, 0 = the default.
    pub key_interval_ms: u32,
    /// Most frames from key frame to key frame, 0 = the default.
    pub key_interval_frames: u32,
    /// Gathered bytes beyond it go to a temporary file.
    pub max_memory: u64,
    /// Where that is.
    pub temp_dir: Option<PathBuf>,
    /// Media that may wait, per track.
    pub max_queue_time: Ns,
    /// Recorded time after which the recording ends, 0 = none.
    pub max_duration: Ns,
    /// Recorded time of a part, 0 = no splitting by time.
    pub max_size_time: Ns,
    /// Bytes of a part, 0 = no splitting by size.
    pub max_size_bytes: u64,
    /// Whether another part may begin.
    pub may_split: bool,
    /// Files, and bytes, that there may be.
    pub ring: RingLimits,
    /// How long the drain may take.
    pub stop_timeout: Duration,
    /// The file is brought to the disk so often, 0 = never.
    pub sync_interval: Ns,
    /// Tags of the whole recording.
    pub tags: Option<gst::TagList>,
}

/// Players seek, and cuts and fragments begin, at key frames.
const KEY_INTERVAL: gst::ClockTime = gst::ClockTime::from_seconds(2);

/// `max-queue-time` where it sets no limit.
const PATIENCE: Duration = Duration::from_secs(2);

impl Settings {
    /// How long is waited for media that stays away: `max-queue-time`, or 2 s where that is 0 or the greatest there
    /// is, and sets no limit.
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

    /// Media that may wait, per track; more than can be counted where `max-queue-time` sets no limit.
    pub(crate) fn queue_limit(&self) -> Ns {
        match self.max_queue_time {
            0 => Ns::MAX / 4,
            time => time.min(Ns::MAX / 4),
        }
    }

    /// Bytes of a part, if there is a limit.
    pub(super) fn part_limit(&self) -> Option<u64> {
        // So that there is room for the next when the one before gives way.
        let limits = [self.max_size_bytes, self.ring.bytes / 2];
        limits.into_iter().filter(|most| *most > 0).min()
    }

    /// Whether it has to be foreseen how many bytes parts will have.
    pub(super) fn limits_bytes(&self) -> bool {
        self.part_limit().is_some() || self.ring.free > 0
    }

    /// A place for a file among those of the recorder. Where there are no limits it counts for later recordings.
    pub(super) fn place_in(&self, ring: &Arc<Ring>) -> RingPlace {
        RingPlace::new(ring.clone(), self.ring)
    }

    /// Most time and most frames (0: any number) from key frame to key frame.
    pub(super) fn key_interval(&self) -> (Option<gst::ClockTime>, u32) {
        let interval = match (self.key_interval_ms, self.key_interval_frames) {
            (0, 0) => Some(KEY_INTERVAL),
            (0, _) => None,
            (milliseconds, _) => Some(gst::ClockTime::from_mseconds(milliseconds.into())),
        };
        (interval, self.key_interval_frames)
    }
}

/// What the session asks of whoever has it.
pub trait SessionDelegate: Send + Sync + 'static {
    /// What it is called, for the log.
    fn name(&self) -> String;
    /// An encoder is about to be used for the track of this pad; it is in NULL.
    fn encoder_setup(&self, pad: &str, encoder: &gst::Element);
    /// Asks upstream of this pad for a key frame at a running time.
    fn request_key_frame(&self, pad: &str, running: Ns);
    /// Tags that upstream has sent on this pad.
    fn tags(&self, pad: &str) -> Option<gst::TagList>;
    /// What the application names the file of this part (`format-location`); `None` where it leaves that to `pattern`.
    /// Runs its code: to be called without a lock, by who may wait.
    ///
    /// # Errors
    /// When it has answered something that is no name.
    fn file_name(&self, part: u32) -> Result<Option<String>, Error>;
    /// The session has taken all it needs and its events are queued.
    fn finished(&self, session: u64);
}

/// When the recording begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// At the moment of the call.
    Now,
    /// At the earliest buffer of any track.
    EarliestBuffer,
}

/// Everything a session is made from.
pub struct SessionConfig {
    /// Its number.
    pub id: u64,
    /// What shapes it.
    pub settings: Settings,
    /// Its tracks.
    pub tracks: Vec<TrackSpec>,
    /// The pipeline's running time.
    pub clock: Arc<RunningTime>,
    /// Its events.
    pub events: Events<Event>,
    /// The `src` pad.
    pub src: Arc<SrcOutput>,
    /// Who has it.
    pub delegate: Arc<dyn SessionDelegate>,
    /// How many files have been begun.
    pub numbers: Arc<AtomicU32>,
    /// The files of the recorder.
    pub ring: Arc<Ring>,
    /// The first file, where `location` cannot be opened.
    pub fallback: Option<String>,
}
