//! One track of one recording: buffers go from its pad through the gate to the encoder.
//!
//! Lock order: `inner` is the track's only lock. It is held while buffers are pushed into the appsrc, which keeps
//! the track's streaming thread and the supervisor's gap filling in order. appsrc only queues here, it never blocks,
//! and its callbacks use nothing but `Backpressure`.

mod encoding;
mod ending;
mod feed;
mod frame_copies;
mod in_file;
mod in_flight;
mod inner;
mod intake;
mod key_frames;
mod move_back;
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
use frame_copies::FrameCopies;
pub use in_file::Asked;
use in_file::InFile;
pub use in_flight::{InFlight, head, rounding};
use inner::Inner;
pub use intake::stamp_of;
pub use move_back::LockedTrack;
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
    /// Its pad, live if upstream is.
    Pad,
    /// The pre-record buffer: every buffer already has its final running time, and the pushing thread may block.
    Past {
        /// Whether the media was raw and has been encoded for the store. Set before the first buffer.
        was_raw: Arc<AtomicBool>,
    },
}

/// What `start` knows about a track.
#[derive(Debug)]
pub struct TrackSpec {
    /// Name of its pad.
    pub name: String,
    /// Its media kind.
    pub kind: Kind,
    /// Whether upstream is live (LATENCY query).
    pub live: bool,
    /// Upstream's latency.
    pub latency: Duration,
    /// Where its media comes from.
    pub origin: Origin,
}

/// Whether the pad should keep pushing buffers into a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Keep pushing.
    More,
    /// The track is complete.
    Done,
}

/// Figures for `stats`.
#[derive(Debug, Clone, Copy, Default)]
pub struct TrackStats {
    /// Buffers from upstream that went to the encoder, or were copied into the file.
    pub encoded: u64,
    /// Buffers inside the recording that were dropped because the encoder was too slow.
    pub dropped: u64,
    /// Recorded time that upstream did not deliver, and that was filled.
    pub filled: Ns,
    /// Offset added to timestamps to correct them, in nanoseconds.
    pub shifted: i64,
}

impl TrackStats {
    /// Buffers from upstream that belong to the recording.
    pub fn buffers(&self) -> u64 {
        self.encoded + self.dropped
    }
}

/// See the module documentation.
#[derive(Debug)]
pub struct Track {
    name: String,
    kind: Kind,
    origin: Origin,
    live: AtomicBool,
    any_live: Arc<AtomicBool>,
    /// Upstream's latency, in nanoseconds.
    latency: AtomicU64,
    /// Buffers received so far, including dropped ones.
    came: AtomicU64,
    queue_limit: Ns,
    clock: Arc<RunningTime>,
    timeline: Arc<SharedTimeline>,
    backpressure: Arc<Backpressure>,
    arrived: AtomicU64,
    /// Queue level when the last buffer arrived.
    waited: AtomicU64,
    /// Whether the muxer accepts gaps on this track.
    takes_gaps: AtomicBool,
    closed: AtomicBool,
    flushing: AtomicBool,
    /// Extra queue time beyond the limit, granted because another track starved for long.
    wider: AtomicU64,
    /// EOS received on the pad.
    ended: AtomicBool,
    /// Frames before its end are still in the pre-record encoder.
    is_delayed: AtomicBool,
    /// The track is decoded first, so no output precedes a keyframe.
    begins_decoded: AtomicBool,
    /// The interval, counted from 1, for whose start a keyframe was last requested.
    asked: AtomicUsize,
    /// The same for the part, counted from 1, for whose end one was requested.
    asked_behind: AtomicUsize,
    copies: Arc<FrameCopies>,
    inner: Mutex<Inner>,
}

/// What all tracks of a recording share.
#[derive(Debug, Clone)]
pub struct TrackContext {
    pub clock: Arc<RunningTime>,
    pub timeline: Arc<SharedTimeline>,
    pub backpressure: Arc<Backpressure>,
    /// Limit of queued media.
    pub queue_limit: Ns,
    /// How far timestamps may deviate from the clock.
    pub patience: Ns,
    /// Whether any track is live. If so, cuts are made at clock time.
    pub any_live: Arc<AtomicBool>,
    /// The requested format, if the recording may be split into parts.
    pub may_split: Option<Asked>,
}

impl Track {
    /// Creates a track that waits for its first buffer.
    pub fn new(spec: &TrackSpec, shared: &TrackContext) -> Self {
        let copies = Arc::<FrameCopies>::default();
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
            is_delayed: AtomicBool::new(false),
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
                outlets: Outlets::new(shared.queue_limit, copies.clone()),
                in_file: InFile::new(shared.may_split.clone()),
                given: None,
                first: None,
                furthest: 0,
                lacks_dts: false,
                counts: TrackStats::default(),
                let_in: 0,
                looked: None,
                mutes: Vec::new(),
                turn: None,
            }),
            copies,
        }
    }

    /// Name of the pad.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its media kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether its media comes from the pre-record buffer.
    pub fn is_kept(&self) -> bool {
        matches!(self.origin, Origin::Past { .. })
    }

    /// Whether its media was raw and has been encoded for the pre-record buffer.
    pub fn was_raw(&self) -> bool {
        match &self.origin {
            Origin::Pad => false,
            Origin::Past { was_raw } => was_raw.load(Ordering::Relaxed),
        }
    }

    /// Whether frames before its end are still in the pre-record encoder.
    pub fn is_delayed(&self) -> bool {
        self.is_delayed.load(Ordering::Relaxed)
    }

    /// Sets whether frames before its end are still in the pre-record encoder.
    pub fn set_delayed(&self, is_delayed: bool) {
        self.is_delayed.store(is_delayed, Ordering::Relaxed);
    }

    /// Whether its media is live, as far as is known. Live media cannot be blocked.
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

    /// Whether the current part has a pipeline that still accepts media.
    pub fn is_connected(&self) -> bool {
        lock(&self.inner).is_connected()
    }

    /// Updates upstream's liveness and latency after a new query.
    pub fn set_upstream(&self, live: bool, latency: Duration) {
        self.latency.store(nanoseconds(latency), Ordering::Relaxed);
        self.live.store(live && !self.is_kept(), Ordering::Relaxed);
        self.any_live.fetch_or(live, Ordering::SeqCst);
        let inner = lock(&self.inner);
        self.copies.set_wanted(self.has_live_frames(&inner));
    }

    /// Number of buffers received so far, including dropped ones.
    pub fn came(&self) -> u64 {
        self.came.load(Ordering::Relaxed)
    }

    /// Offset added to its timestamps, in nanoseconds.
    pub fn shift(&self) -> i64 {
        lock(&self.inner).stamps.shift()
    }

    /// Whether it needs no more media from upstream.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Whether its pad has received EOS.
    pub fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Recorded time, within this part, up to which media has been pushed. Only buffers with a duration advance it.
    pub fn fed(&self, part: usize) -> Ns {
        self.progress_of(part).load(Ordering::Relaxed)
    }

    /// The same, readable without locking the track.
    pub fn progress_of(&self, part: usize) -> Arc<AtomicU64> {
        lock(&self.inner).outlets.of(part).fed.clone()
    }

    /// Recorded time, within this part, up to which its encoder has taken its media: if it has taken everything, up to
    /// the next buffer that the gate does not let out, or all that has arrived. Live media counts as soon as it arrives,
    /// as it never blocks.
    pub fn consumed(&self, part: usize) -> Ns {
        let mut inner = lock(&self.inner);
        let outlet = inner.outlets.of(part);
        let waiting = if self.is_live() {
            0
        } else {
            outlet.feed.waiting()
        };
        let taken = outlet.fed().saturating_sub(waiting);
        if waiting > 0 {
            return taken;
        }
        let next = inner.gate.as_ref().and_then(Gate::comes_out_at);
        let next = next.unwrap_or(self.arrived());
        let next = self
            .timeline
            .read(|t| t.recorded_at(next).saturating_sub(t.recorded_before(part)));
        taken.max(next)
    }

    /// Whether this part gets no more media from the track.
    pub fn is_closed_for(&self, part: usize) -> bool {
        lock(&self.inner).outlets.of(part).closed
    }

    /// Whether this part gets no media from the track at all.
    pub fn is_absent_from(&self, part: usize) -> bool {
        self.is_closed_for(part) && !self.has_media_for(part)
    }

    /// Whether this part has had any media from the track.
    pub fn has_media_for(&self, part: usize) -> bool {
        self.feed(part, |feed| feed.has_media())
    }

    /// Running time up to which media has arrived.
    pub fn arrived(&self) -> Ns {
        self.arrived.load(Ordering::SeqCst)
    }

    /// Running time of the first buffer.
    pub fn first(&self) -> Option<Ns> {
        lock(&self.inner).first
    }

    /// The caps of its first media.
    pub fn caps(&self) -> Option<gst::Caps> {
        lock(&self.inner).first_caps.clone()
    }

    /// The newest caps.
    pub fn newest_caps(&self) -> Option<gst::Caps> {
        lock(&self.inner).caps.clone()
    }

    /// Its caps at the start of this part, as far as is known.
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
        // Frames that depend on a dropped frame are dropped with it.
        let dropped = inner.gate.as_ref().map_or(0, Gate::dropped);
        let passed_over = inner.outlets.passed_over();
        TrackStats {
            filled: inner.counts.filled + inner.gate.as_ref().map_or(0, Gate::filled),
            encoded: inner.counts.encoded.saturating_sub(passed_over),
            dropped: inner.counts.dropped + dropped + passed_over,
            shifted: inner.stamps.shift(),
        }
    }

    /// Whether its media is encoded, as far as is known.
    pub fn is_encoded(&self) -> bool {
        matches!(&lock(&self.inner).gate, Some(Gate::Encoded(_)))
    }

    /// Whether encoded silence is available to fill gaps in encoded audio.
    pub fn has_silence(&self) -> bool {
        matches!(&lock(&self.inner).gate, Some(Gate::Encoded(gate)) if gate.has_silence())
    }

    /// Whether its gaps can be filled in the file of its part.
    pub fn is_fillable(&self) -> bool {
        !self.is_encoded() || self.takes_gaps() || self.has_silence()
    }

    /// Whether there is a current frame that can be repeated.
    pub fn has_current_frame(&self) -> bool {
        matches!(&lock(&self.inner).gate, Some(Gate::Video(gate)) if gate.has_current_frame())
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
