//! One track of one recording: from a pad's buffers through the gate to the encoder.
//!
//! Lock order: `inner` alone. It is held while buffers go into the appsrc, so that the track's
//! thread and the supervisor's fillers stay in order; appsrc does not block here, it only
//! queues, and its callbacks take nothing but `Backpressure`.

mod encoding;
mod ending;
mod feed;
mod in_file;
mod in_flight;
mod inner;
mod intake;
mod key_frames;
mod outlet;
mod queue;

use super::{
    backpressure::Backpressure,
    timing::{RunningTime, SharedTimeline, lock},
};
use crate::{
    gate::{Gate, IntervalCursor},
    model::{Kind, stamps::Stamps, timeline::Ns},
};
use feed::{Feed, Item};
pub use in_file::Asked;
use in_file::InFile;
pub use in_flight::{InFlight, rounding};
use inner::Inner;
pub use intake::stamp_of;
use outlet::{Outlet, Outlets};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Where a track's media comes from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// Its pad: as it comes, if it comes live.
    Pad,
    /// The past, where all that it brings has its right place, in a thread that can wait.
    Past {
        /// Whether it came raw, and has been encoded there: known by the time it comes.
        was_raw: Arc<AtomicBool>,
    },
}

/// What `start` knows of a track.
#[derive(Debug)]
pub struct TrackSpec {
    /// Name of its pad.
    pub name: String,
    /// What it is a track of.
    pub kind: Kind,
    /// Whether upstream is live (LATENCY).
    pub live: bool,
    /// Upstream's latency.
    pub latency: Duration,
    /// Where its media comes from.
    pub origin: Origin,
}

/// Whether the pad goes on giving buffers to a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Yes.
    More,
    /// The track needs nothing any more.
    Done,
}

/// Figures for `stats`.
#[derive(Debug, Clone, Copy, Default)]
pub struct TrackStats {
    /// Buffers from upstream that have gone to the encoder, or into the file as they are.
    pub encoded: u64,
    /// Those of the recording's that were left out because the encoder was too slow.
    pub dropped: u64,
    /// Recorded time that was made up.
    pub filled: Ns,
    /// What has been added to its stamps, in nanoseconds, since they could not be right.
    pub shifted: i64,
}

impl TrackStats {
    /// Buffers from upstream that belong to the recording.
    pub fn buffers(&self) -> u64 {
        self.encoded + self.dropped
    }
}

/// See the module.
#[derive(Debug)]
pub struct Track {
    name: String,
    kind: Kind,
    origin: Origin,
    live: AtomicBool,
    any_live: Arc<AtomicBool>,
    /// Upstream's latency, in nanoseconds.
    latency: AtomicU64,
    /// Buffers that have come, whatever has become of them.
    came: AtomicU64,
    queue_limit: Ns,
    clock: Arc<RunningTime>,
    timeline: Arc<SharedTimeline>,
    backpressure: Arc<Backpressure>,
    arrived: AtomicU64,
    /// What waited when the last buffer came.
    waited: AtomicU64,
    /// Whether the muxer can be told that nothing comes on it.
    takes_gaps: AtomicBool,
    closed: AtomicBool,
    flushing: AtomicBool,
    /// So much more may wait than there is room for: another track has starved for long.
    wider: AtomicU64,
    /// EOS on the pad.
    ended: AtomicBool,
    /// It is decoded, and nothing comes out before a key frame.
    begins_decoded: AtomicBool,
    /// The interval, counted from 1, for which a key frame was last asked.
    asked: AtomicUsize,
    /// The same for the end of a part.
    asked_behind: AtomicUsize,
    inner: Mutex<Inner>,
}

/// What all tracks of a recording have in common.
#[derive(Debug, Clone)]
pub struct TrackContext {
    pub clock: Arc<RunningTime>,
    pub timeline: Arc<SharedTimeline>,
    pub backpressure: Arc<Backpressure>,
    /// Media that may wait.
    pub queue_limit: Ns,
    /// How far stamps may be off the clock.
    pub patience: Ns,
    /// Whether any track is live: then cuts are made at the clock's time.
    pub any_live: Arc<AtomicBool>,
    /// What is asked for, where the recording may go on in another part.
    pub may_split: Option<Asked>,
}

impl Track {
    /// A track that waits for its first buffer.
    pub fn new(spec: &TrackSpec, shared: &TrackContext) -> Self {
        Track {
            name: spec.name.clone(),
            kind: spec.kind,
            origin: spec.origin.clone(),
            live: AtomicBool::new(spec.live && matches!(spec.origin, Origin::Pad)),
            any_live: shared.any_live.clone(),
            latency: AtomicU64::new(nanoseconds(spec.latency)),
            came: AtomicU64::new(0),
            queue_limit: shared.queue_limit,
            clock: shared.clock.clone(),
            timeline: shared.timeline.clone(),
            backpressure: shared.backpressure.clone(),
            arrived: AtomicU64::new(0),
            waited: AtomicU64::new(0),
            takes_gaps: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            flushing: AtomicBool::new(false),
            wider: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            begins_decoded: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
            asked_behind: AtomicUsize::new(0),
            inner: Mutex::new(Inner {
                caps: None,
                first_caps: None,
                gate: None,
                stamps: Stamps::new(shared.patience),
                cursor: IntervalCursor::default(),
                end: None,
                seen: u64::MAX,
                hold: None,
                begin: 0,
                outlets: Outlets::new(shared.queue_limit),
                in_file: InFile::new(shared.may_split.clone()),
                given: None,
                first: None,
                lacks_dts: false,
                counts: TrackStats::default(),
                let_in: 0,
                looked: None,
                mutes: Vec::new(),
                turn: None,
            }),
        }
    }

    /// Name of the pad.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is a track of.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether its media comes out of the past.
    pub fn is_kept(&self) -> bool {
        matches!(self.origin, Origin::Past { .. })
    }

    /// Whether its media came raw and has been encoded on its way here.
    pub fn was_raw(&self) -> bool {
        match &self.origin {
            Origin::Pad => false,
            Origin::Past { was_raw } => was_raw.load(Ordering::Relaxed),
        }
    }

    /// Whether its media comes live, as far as is known: it cannot wait then.
    pub fn is_live(&self) -> bool {
        self.live.load(Ordering::Relaxed)
    }

    /// Upstream's latency.
    pub fn latency(&self) -> Duration {
        Duration::from_nanos(self.latency.load(Ordering::Relaxed))
    }

    /// The same in nanoseconds.
    pub fn latency_ns(&self) -> Ns {
        self.latency.load(Ordering::Relaxed)
    }

    /// Whether the part that it is in has its pipeline, and more to come.
    pub fn is_connected(&self) -> bool {
        lock(&self.inner).is_connected()
    }

    /// What upstream is like, when that is asked anew.
    pub fn set_upstream(&self, live: bool, latency: Duration) {
        self.latency.store(nanoseconds(latency), Ordering::Relaxed);
        self.live.store(live && !self.is_kept(), Ordering::Relaxed);
        self.any_live.fetch_or(live, Ordering::SeqCst);
        let mut inner = lock(&self.inner);
        let scarce = self.has_live_pictures(&inner);
        inner.outlets.set_scarce(scarce);
    }

    /// How many buffers have come, whatever has become of them.
    pub fn came(&self) -> u64 {
        self.came.load(Ordering::Relaxed)
    }

    /// What is added to its stamps.
    pub fn shift(&self) -> i64 {
        lock(&self.inner).stamps.shift()
    }

    /// Whether it needs nothing from upstream any more.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Whether its pad has had EOS.
    pub fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Recorded time, of this part, up to which media has been given on, as far as that tells its length.
    pub fn fed(&self, part: usize) -> Ns {
        self.progress_of(part).load(Ordering::Relaxed)
    }

    /// The same, to be read without the track.
    pub fn progress_of(&self, part: usize) -> Arc<AtomicU64> {
        lock(&self.inner).outlets.of(part).fed.clone()
    }

    /// Whether this part gets nothing from it any more.
    pub fn is_closed_for(&self, part: usize) -> bool {
        lock(&self.inner).outlets.of(part).closed
    }

    /// Whether this part gets nothing from it at all.
    pub fn is_absent_from(&self, part: usize) -> bool {
        self.is_closed_for(part) && !self.has_media_for(part)
    }

    /// Whether this part has got anything from it.
    pub fn has_media_for(&self, part: usize) -> bool {
        self.feed(part, |feed| feed.has_media())
    }

    /// Running time that has arrived.
    pub fn arrived(&self) -> Ns {
        self.arrived.load(Ordering::SeqCst)
    }

    /// Running time of the first buffer.
    pub fn first(&self) -> Option<Ns> {
        lock(&self.inner).first
    }

    /// The caps that it came with.
    pub fn caps(&self) -> Option<gst::Caps> {
        lock(&self.inner).first_caps.clone()
    }

    /// The caps of what came last.
    pub fn newest_caps(&self) -> Option<gst::Caps> {
        lock(&self.inner).caps.clone()
    }

    /// What it is at the beginning of this part, as far as is known.
    pub fn caps_of(&self, part: usize) -> Option<gst::Caps> {
        let inner = lock(&self.inner);
        let begun = inner
            .outlets
            .find(part)
            .and_then(|outlet| outlet.caps.clone());
        match part {
            0 => inner.first_caps.clone(),
            _ => begun.or_else(|| inner.caps.clone()),
        }
    }

    /// Figures for `stats`.
    pub fn stats(&self) -> TrackStats {
        let inner = lock(&self.inner);
        // What refers to a frame that was left out is lost with it.
        let left_out = inner.gate.as_ref().map_or(0, Gate::left_out);
        let passed_over = inner.outlets.passed_over();
        TrackStats {
            filled: inner.counts.filled + inner.gate.as_ref().map_or(0, Gate::filled),
            encoded: inner.counts.encoded.saturating_sub(passed_over),
            dropped: inner.counts.dropped + left_out + passed_over,
            shifted: inner.stamps.shift(),
        }
    }

    /// Whether it carries encoded media, as far as is known.
    pub fn is_encoded(&self) -> bool {
        matches!(&lock(&self.inner).gate, Some(Gate::Encoded(_)))
    }

    /// Whether there is silence that can stand in for encoded audio that does not come.
    pub fn has_silence(&self) -> bool {
        matches!(&lock(&self.inner).gate, Some(Gate::Encoded(gate)) if gate.has_silence())
    }

    /// Whether a picture is on show that can be shown on.
    pub fn shows_picture(&self) -> bool {
        matches!(&lock(&self.inner).gate, Some(Gate::Video(gate)) if gate.shows_picture())
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
