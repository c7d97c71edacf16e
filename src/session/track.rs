//! One track of one recording: from a pad's buffers through the gate to the encoder.
//!
//! Lock order: `inner` alone. It is held while buffers go into the appsrc, so that the track's
//! thread and the supervisor's fillers stay in order; appsrc does not block here, it only
//! queues, and its callbacks take nothing but `Backpressure`.

mod feed;
mod in_file;
mod in_flight;
mod outlet;

use super::{
    backpressure::Backpressure,
    frame_dropper,
    timing::{RunningTime, SharedTimeline, lock},
};
use crate::{
    formats,
    gate::{self, Gate, GateOutput, Input, IntervalCursor, Loss, Piece},
    model::{
        Kind, Orientation,
        stamps::{Arrival, Decided, Stamp, Stamps},
        timeline::{Ns, Placement, Timeline},
    },
};
use feed::{Feed, Item};
pub use in_file::Asked;
use in_file::InFile;
pub use in_flight::{InFlight, rounding};
use outlet::{Outlet, Outlets};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// A track holds no more bytes than this, however little time that is.
pub(super) const MAX_BYTES: u64 = 256 << 20;

/// Less media than this is no queue.
const QUEUE: Ns = 100_000_000;

/// No frame is decoded so long before it is shown.
const MAX_LEAD: Ns = 10_000_000_000;

/// Live pictures that wait for their place as they came: capture pools have few.
const SCARCE: usize = 2;

/// What waits for the pipeline may be so much longer than what waits for the encoder.
const BACKLOG_GRACE: Ns = 1_000_000_000;

/// So much of what can be held back waits at the most: more would only grow cold in the caches.
const HELD_BACK: Ns = 250_000_000;

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

#[derive(Debug)]
struct Inner {
    /// The newest caps.
    caps: Option<gst::Caps>,
    /// Those of the first media.
    first_caps: Option<gst::Caps>,
    gate: Option<Gate>,
    stamps: Stamps<Input>,
    cursor: IntervalCursor,
    /// The end of the last interval, once that is known for good.
    end: Option<Ns>,
    seen: u64,
    /// The running time from which on it is not known to which part media belongs.
    hold: Option<Ns>,
    /// Recorded time at which the part begins that the track is in.
    begin: Ns,
    outlets: Outlets,
    /// How it is in the file of that.
    in_file: InFile,
    /// The caps that have been given on last.
    given: Option<gst::Caps>,
    first: Option<Ns>,
    /// Whether what was given on last has no decode time.
    lacks_dts: bool,
    counts: TrackStats,
    /// How far the track had come when a buffer was let in last.
    let_in: Ns,
    /// What waited for the encoder when that was looked at, and how far media had been given on then.
    looked: Option<(Ns, Ns)>,
    /// Changes of `mute` before the caps were known.
    mutes: Vec<(Ns, bool)>,
    /// How its frames have to be turned, before the caps are known.
    turn: Option<Orientation>,
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
    room: Arc<Backpressure>,
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
pub struct Shared {
    pub clock: Arc<RunningTime>,
    pub timeline: Arc<SharedTimeline>,
    pub room: Arc<Backpressure>,
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
    pub fn new(spec: &TrackSpec, shared: &Shared) -> Self {
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
            room: shared.room.clone(),
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

    /// Whether its intervals have to begin at a key frame: of what is decoded, the first alone.
    pub fn is_keyed(&self) -> bool {
        if self.begins_decoded.load(Ordering::SeqCst) {
            let pending = self.timeline.read(|t| t.pending());
            return pending.is_some_and(|(interval, _)| interval == 0);
        }
        matches!(&lock(&self.inner).gate, Some(Gate::Encoded(gate)) if gate.is_keyed())
    }

    /// Its media is decoded in front of it, and can be only from a key frame on.
    pub fn begin_decoded(&self, keyed: bool) {
        self.begins_decoded.store(keyed, Ordering::SeqCst);
    }

    /// A flush begins, or ends.
    pub fn set_flushing(&self, flushing: bool) {
        self.flushing.store(flushing, Ordering::Release);
        self.room.wake();
    }

    /// Whether a buffer of it must not wait for room.
    pub fn need_not_wait(&self) -> bool {
        self.is_closed() || self.flushing.load(Ordering::Acquire)
    }

    /// The newest buffer that passed before the recording began: part of it may belong to it,
    /// or it is the picture on show.
    pub fn replay(&self, input: Input) {
        let mut inner = lock(&self.inner);
        inner.refresh(&self.timeline);
        let Inner { gate, cursor, .. } = &mut *inner;
        if let Some(gate) = gate {
            // Nothing can leave: no cut is resolved yet.
            gate.push(input, cursor, 0, &mut GateOutput::new());
        }
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

    /// Whether what waits for the pipeline comes without decode times.
    pub fn lacks_dts(&self, part: usize) -> bool {
        let mut inner = lock(&self.inner);
        let waits = inner.outlets.of(part).feed.lacks_dts();
        waits.unwrap_or(inner.lacks_dts)
    }

    /// The first frame of raw video from running time `from` on that waits.
    pub fn frame(&self, from: Ns) -> Option<Ns> {
        let inner = lock(&self.inner);
        inner.gate.as_ref().and_then(|gate| gate.frame(from))
    }

    /// The latest running time of encoded media that has come.
    pub fn newest(&self) -> Option<Ns> {
        lock(&self.inner).gate.as_ref().and_then(Gate::newest)
    }

    /// The first key frame from running time `from` on that waits, among what has arrived until
    /// the second time.
    pub fn key_frame(&self, from: Ns) -> (Option<Ns>, Ns) {
        let inner = lock(&self.inner);
        let key_frame = match self.begins_decoded.load(Ordering::SeqCst) {
            true => inner.first.map(|first| first.max(from)),
            false => inner.gate.as_ref().and_then(|gate| gate.key_frame(from)),
        };
        (key_frame, self.arrived())
    }

    /// No key frame comes: the next interval begins with whatever frame does.
    pub fn begin_anywhere(&self) {
        if let Some(gate) = &mut lock(&self.inner).gate {
            gate.begin_anywhere();
        }
    }

    /// New caps on the pad.
    pub fn set_caps(&self, caps: &gst::Caps) -> Result<(), glib::BoolError> {
        let mut inner = lock(&self.inner);
        if inner.caps.as_ref() == Some(caps) {
            return Ok(());
        }
        // What waits came with the caps before.
        self.settle_stamps(&mut inner);
        let before = inner.caps.clone();
        match &mut inner.gate {
            Some(gate) => {
                gate.set_caps(caps)?;
                if before.is_some_and(|before| formats::begins_anew(&before, caps)) {
                    gate.lose(Loss::Upstream);
                }
            }
            gate => *gate = Some(gate_for(caps)?),
        }
        if self.was_raw()
            && let Some(Gate::Encoded(gate)) = &mut inner.gate
        {
            gate.cut_frames();
        }
        // Capture pools have few buffers.
        let scarce = self.is_live() && self.kind == Kind::Video && formats::is_raw(caps);
        inner.outlets.set_scarce(scarce);
        let Inner { gate, turn, .. } = &mut *inner;
        if let (Some(Gate::Video(gate)), Some(turn)) = (gate, turn.take()) {
            gate.set_orientation(turn);
        }
        for (at, muted) in std::mem::take(&mut inner.mutes) {
            self.mute_locked(&mut inner, at, muted);
        }
        inner.in_file.set_caps(caps);
        inner.caps = Some(caps.clone());
        if inner.first.is_none() {
            inner.first_caps = Some(caps.clone());
        }
        drop(inner);
        self.room.wake();
        Ok(())
    }

    /// A buffer from upstream. `for_another` says that what waits does so for another track, not
    /// for the encoder. `now`: the clock's running time, if it has been read already.
    pub fn push(&self, input: Input, for_another: bool, now: Option<Ns>) -> Flow {
        if self.is_closed() {
            return Flow::Done;
        }
        let mut inner = lock(&self.inner);
        self.came.fetch_add(1, Ordering::Relaxed);
        if for_another {
            inner.outlet().dropper.wait_for_another();
        }
        if self.is_kept() {
            self.let_in(&mut inner, input, None);
            self.finish_if_complete(&mut inner);
            return match self.is_closed() {
                true => Flow::Done,
                false => Flow::More,
            };
        }
        // What is not live may have waited since.
        let now = now.filter(|_| self.is_live());
        let stamp = stamp_of(&input);
        let arrival = Arrival {
            now,
            latency: self.latency.load(Ordering::Relaxed),
        };
        if now.is_none() && inner.stamps.is_fresh() {
            let begin = |t: &Timeline| t.intervals().last().map_or(0, |i| i.start);
            inner.stamps.begin_at(self.timeline.read(begin));
        }
        match inner.stamps.plain(stamp, arrival) {
            Some(running) => self.let_in(&mut inner, Input { running, ..input }, now),
            None => {
                let waiting = inner.stamps.waiting();
                let input = self.spared(&inner, input, waiting);
                let decided = inner.stamps.push(stamp, arrival, input);
                self.take(&mut inner, decided, now);
            }
        }
        self.finish_if_complete(&mut inner);
        match self.is_closed() {
            true => Flow::Done,
            false => Flow::More,
        }
    }

    /// What is known of stamps that waited.
    fn take(&self, inner: &mut Inner, decided: Decided<Input>, now: Option<Ns>) {
        if let Some(by) = decided.shifted {
            let (much, way) = (
                by.unsigned_abs() / 1_000_000,
                if by < 0 { "ahead of" } else { "behind" },
            );
            self.room.warn(format!(
                "The stamps of {} were {much} ms {way} the time at which they came: they are shifted by that from \
                 here on.",
                self.name
            ));
        }
        for input in decided.too_early {
            self.leave_out_one(inner, &input);
        }
        for (running, input) in decided.placed {
            self.let_in(inner, Input { running, ..input }, now);
        }
    }

    /// There was no room for a buffer in front of its decoder.
    pub fn drop_one(&self, input: &Input) {
        self.leave_out_one(&mut lock(&self.inner), input);
    }

    /// A buffer whose place is known goes through the gate.
    fn let_in(&self, inner: &mut Inner, input: Input, now: Option<Ns>) {
        let end = input.end();
        self.arrived.fetch_max(input.settled(), Ordering::SeqCst);
        if inner.first.is_none() {
            inner.first = Some(input.running);
            self.room.wake();
        }
        if self.is_live() && self.is_too_slow(inner) {
            return self.leave_out_one(inner, &input);
        }
        let safe_until = self.safe_until_at(now, end);
        inner.in_file.note_media(input.running);
        self.split_if_needed(inner);
        inner.refresh(&self.timeline);
        if inner.hold.is_some_and(|hold| end > hold) {
            self.room.wake();
        }
        let waiting = inner.gate.as_ref().map_or(0, Gate::waiting);
        let input = self.spared(inner, input, waiting);
        let mut out = GateOutput::new();
        let until = inner.hold.unwrap_or(Ns::MAX).min(safe_until);
        let Inner { gate, cursor, .. } = &mut *inner;
        if let Some(gate) = gate {
            gate.push(input, cursor, until, &mut out);
            if cursor.current().is_some_and(|interval| !interval.resolved) {
                self.room.wake();
            }
        }
        inner.feed_all(out);
        if inner.cursor.is_part_over() {
            inner.advance(safe_until, &self.timeline);
        }
        self.tell_next_part(inner);
    }

    /// Ends the part where what comes needs another, or as soon after as no track has gone on further.
    fn split_if_needed(&self, inner: &mut Inner) {
        let Some((at, is_alone)) = inner.in_file.split() else {
            return;
        };
        let is_split = self.timeline.write(|timeline| {
            let now = match self.clock.now() {
                Some(now) if self.any_live.load(Ordering::SeqCst) => now,
                _ => self.clock.furthest(),
            };
            let begin = timeline.begin_of_part(timeline.part());
            timeline.split(if is_alone { at } else { at.max(now) })
                || timeline.pending_split().is_some_and(|split| split >= at)
                || timeline.is_stopped()
                || begin.is_some_and(|begin| begin.running >= at)
        });
        if is_split {
            inner.in_file.is_split();
            self.room.wake();
        }
    }

    /// The pipeline of the part that the track is in is connected when there is media for it.
    fn tell_next_part(&self, inner: &mut Inner) {
        let outlet = inner.outlet();
        if outlet.part > 0 && outlet.feed.is_backlog() {
            self.room.wake();
        }
    }

    /// There is no room for a buffer.
    fn leave_out_one(&self, inner: &mut Inner, input: &Input) {
        if self.timeline.read(|t| t.map(input.running, 0)) != Placement::Drop {
            inner.counts.dropped += 1;
        }
        if let Some(gate) = &mut inner.gate {
            gate.lose(Loss::TooSlow);
        }
    }

    /// Behind `waiting` others a live picture waits as a copy, so that upstream's pool does not run dry.
    fn spared(&self, inner: &Inner, input: Input, waiting: usize) -> Input {
        if waiting < SCARCE || !self.has_live_pictures(inner) {
            return input;
        }
        let copy = input.buffer.copy_deep();
        Input {
            buffer: copy.unwrap_or_else(|_| input.buffer.clone()),
            ..input
        }
    }

    /// Nothing will come that could tell where what waits belongs.
    fn settle_stamps(&self, inner: &mut Inner) {
        if inner.stamps.waiting() > 0 {
            let decided = inner.stamps.settle();
            self.take(inner, decided, None);
        }
    }

    /// Tags from upstream: they go on in their place among the buffers.
    pub fn set_tags(&self, tags: gst::TagList) {
        let mut inner = lock(&self.inner);
        let part = inner.outlet().part;
        for outlet in inner.outlets.from(part).filter(|outlet| !outlet.closed) {
            outlet.feed.give(Item::Tags(tags.clone()));
        }
    }

    /// Buffers of upstream did not get here: what is encoded goes on at the next key frame.
    pub fn lose(&self) {
        if let Some(gate) = &mut lock(&self.inner).gate {
            gate.lose(Loss::Upstream);
        }
    }

    /// Another piece of the stream begins, behind a flush or in another segment.
    pub fn begin_anew(&self) {
        let mut inner = lock(&self.inner);
        self.settle_stamps(&mut inner);
        inner.stamps.begin_anew();
    }

    /// Whether it carries encoded media, as far as is known.
    pub fn is_encoded(&self) -> bool {
        matches!(&lock(&self.inner).gate, Some(Gate::Encoded(_)))
    }

    /// Whether there is silence that can stand in for encoded audio that does not come.
    pub fn has_silence(&self) -> bool {
        matches!(&lock(&self.inner).gate, Some(Gate::Encoded(gate)) if gate.has_silence())
    }

    /// Whether it is back after frames were lost, and waits for a key frame.
    pub fn lacks_key_frame(&self) -> bool {
        matches!(&lock(&self.inner).gate, Some(Gate::Encoded(gate)) if gate.lacks_key_frame())
    }

    /// Whether the muxer can be told that nothing comes on it.
    pub fn takes_gaps(&self) -> bool {
        self.takes_gaps.load(Ordering::Relaxed)
    }

    /// Notes whether it can.
    pub fn set_takes_gaps(&self, takes_gaps: bool) {
        self.takes_gaps.store(takes_gaps, Ordering::Relaxed);
    }

    /// Notes that a key frame is asked for the start of this interval; FALSE if it was before.
    pub fn ask_once(&self, interval: usize) -> bool {
        self.asked.swap(interval + 1, Ordering::SeqCst) != interval + 1
    }

    /// Notes that a key frame is asked for the end of this part; FALSE if it was before.
    pub fn ask_once_behind(&self, part: usize) -> bool {
        self.asked_behind.swap(part + 1, Ordering::SeqCst) != part + 1
    }

    /// A key frame may be asked for once more.
    pub fn ask_again(&self) {
        self.asked.store(0, Ordering::SeqCst);
        self.asked_behind.store(0, Ordering::SeqCst);
    }

    /// The instant before which no cut can come any more.
    fn safe_until(&self, end: Ns) -> Ns {
        self.safe_until_at(None, end)
    }

    fn safe_until_at(&self, now: Option<Ns>, end: Ns) -> Ns {
        if !self.any_live.load(Ordering::Relaxed) {
            return Ns::MAX;
        }
        // Without a clock cuts are made at the furthest that has arrived.
        now.or_else(|| self.clock.now()).unwrap_or(end)
    }

    /// Whether a picture has to be left out, because as many as may wait do.
    fn is_too_slow(&self, inner: &mut Inner) -> bool {
        let outlet = inner.outlet();
        let (dropper, fed) = (outlet.dropper.clone(), outlet.fed.load(Ordering::Relaxed));
        if let Some(at_most) = inner.waits_at_most(fed)
            && at_most < self.queue_limit / 8
            && !dropper.has_waited_for_another()
        {
            self.waited.store(at_most, Ordering::Relaxed);
            return false;
        }
        let waiting = inner.waiting();
        inner.looked = Some((waiting, fed));
        self.waited.store(waiting, Ordering::Relaxed);
        let pictures = matches!(inner.gate, Some(Gate::Video(_)));
        let most = match pictures {
            true => self.queue_limit,
            // Sound is small, and waits in the muxer for the pictures that wait.
            false => self.queue_limit.saturating_mul(8),
        };
        // What waits may do so for another track, of which nothing has come (yet).
        if inner.outlet().feed.is_backlog() {
            dropper.wait_for_another();
        }
        let most = match dropper.is_for_another(waiting, most) && most > 0 {
            // It waited for the other tracks, whose absence is noticed only after so long.
            true => most.saturating_add(BACKLOG_GRACE),
            false => most,
        };
        if waiting >= QUEUE && inner.bytes() >= MAX_BYTES {
            dropper.warn(&self.name, waiting, &self.room);
            return true;
        }
        let now = self.arrived();
        let thin = pictures && now.saturating_sub(inner.let_in) < dropper.worth();
        if most > 0 && (waiting >= most || thin) {
            dropper.warn(&self.name, waiting, &self.room);
            return true;
        }
        inner.let_in = now;
        false
    }

    /// Whether so much waited when a live track's buffer came last that some might be left out.
    pub fn is_behind(&self) -> bool {
        self.is_live() && self.waited.load(Ordering::Relaxed) >= self.queue_limit / 8
    }

    /// Whether the encoder or the muxer has nothing of this track to work on.
    pub fn is_starving(&self) -> bool {
        !self.is_closed() && lock(&self.inner).waiting() == 0
    }

    /// Media that may wait for the encoder.
    pub fn room(&self) -> Ns {
        self.room_locked(&lock(&self.inner))
    }

    fn room_locked(&self, inner: &Inner) -> Ns {
        // What is encoded is small, and may have to be put in order behind the queue.
        match self.is_live() || matches!(inner.gate, Some(Gate::Encoded(_))) {
            true => self.queue_limit.max(1),
            false => self.queue_limit.clamp(1, HELD_BACK),
        }
    }

    /// Whether as much waits, here or for the encoder, as may.
    pub fn is_full(&self) -> bool {
        let mut inner = lock(&self.inner);
        // What is held in the gate waits as well.
        let arrived = self.arrived();
        let held = inner.hold.map_or(0, |hold| arrived.saturating_sub(hold));
        let waiting = inner.waiting().saturating_add(held);
        let room = self.room_locked(&inner);
        if waiting >= QUEUE && inner.bytes() >= MAX_BYTES {
            return true;
        }
        if waiting < room {
            self.wider.store(0, Ordering::Relaxed);
        }
        waiting >= room.saturating_add(self.wider.load(Ordering::Relaxed))
    }

    /// Lets as much again wait, until there is room anyway.
    pub fn widen(&self) {
        self.wider.fetch_add(self.room(), Ordering::Relaxed);
    }

    /// Black or silence from the running time on that `at` gives, or not any more. It is asked with the track held:
    /// nothing from behind that instant has left.
    pub fn mute(&self, at: impl FnOnce() -> Ns, muted: bool) {
        let mut inner = lock(&self.inner);
        self.mute_locked(&mut inner, at(), muted);
    }

    fn mute_locked(&self, inner: &mut Inner, at: Ns, muted: bool) {
        match &mut inner.gate {
            Some(gate) => {
                if !gate.mute(at, muted) && muted {
                    self.room.warn(format!(
                        "{} is encoded: mute has no effect on it; mute it before its encoder.",
                        self.name
                    ));
                }
            }
            None => inner.mutes.push((at, muted)),
        }
    }

    /// What is between intervals stays between them, see [`gate::VideoGate::keep_pauses`]. Behind its caps.
    pub fn keep_pauses(&self) {
        if let Some(Gate::Video(gate)) = &mut lock(&self.inner).gate {
            gate.keep_pauses();
        }
    }

    /// Pictures to come have to be turned so.
    pub fn set_orientation(&self, turn: Orientation) {
        let mut inner = lock(&self.inner);
        match &mut inner.gate {
            Some(Gate::Video(gate)) => gate.set_orientation(turn),
            Some(_) => {}
            None => inner.turn = Some(turn),
        }
    }

    /// Whether a picture is on show that can be shown on.
    pub fn shows_picture(&self) -> bool {
        matches!(&lock(&self.inner).gate, Some(Gate::Video(gate)) if gate.shows_picture())
    }

    /// Upstream says that nothing will come before `end`.
    pub fn gap(&self, end: Ns) {
        let end = {
            let mut inner = lock(&self.inner);
            self.came.fetch_add(1, Ordering::Relaxed);
            self.settle_stamps(&mut inner);
            inner.stamps.gap(end)
        };
        self.arrived.fetch_max(end, Ordering::SeqCst);
        let until = self.safe_until(end).min(end);
        self.fill(until);
        self.finish_if_complete(&mut lock(&self.inner));
    }

    /// EOS on the pad: what there is is all there will be.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.room.wake();
    }

    /// Lets out what new cuts allow, and ends the track if it has all it needs.
    pub fn advance(&self) {
        let mut inner = lock(&self.inner);
        // The clock first: a cut that is not seen behind it is later.
        let safe_until = self.safe_until(self.arrived());
        let over = self.timeline.read(|t| t.is_stopped()) || self.is_ended();
        self.split_if_needed(&mut inner);
        inner.refresh(&self.timeline);
        if over && !self.is_live() {
            self.settle_stamps(&mut inner);
        }
        let safe_until = if over { Ns::MAX } else { safe_until };
        inner.advance(safe_until, &self.timeline);
        self.finish_if_complete(&mut inner);
        self.tell_next_part(&mut inner);
    }

    /// Makes up what is missing before running time `until`.
    pub fn fill(&self, until: Ns) {
        let mut inner = lock(&self.inner);
        inner.refresh(&self.timeline);
        inner.fill(until, &self.timeline);
        self.tell_next_part(&mut inner);
    }

    /// Ends the track at the last cut, with what is missing made up; or, if not `whole`, as far
    /// as it has arrived.
    pub fn finish(&self, whole: bool) {
        self.finish_locked(&mut lock(&self.inner), whole);
    }

    /// Once all that was captured before the last cut has arrived, the track is complete.
    fn finish_if_complete(&self, inner: &mut Inner) {
        inner.refresh(&self.timeline);
        let end = inner.end;
        let is_last = inner.cursor.end_of_part().is_none();
        let behind = || is_last && inner.gate.is_some() && inner.cursor.current().is_none();
        if end.is_some_and(|end| self.arrived() >= end || behind()) {
            self.finish_locked(inner, true);
        }
    }

    fn finish_locked(&self, inner: &mut Inner, whole: bool) {
        if self.is_closed() {
            return;
        }
        self.settle_stamps(inner);
        inner.refresh(&self.timeline);
        let arrived = self.arrived();
        // In one go: a cut in between would be in the one and not in the other.
        let (until, end) = self.timeline.read(|t| {
            inner.cursor.refresh(t);
            let until = match t.end() {
                Some(end) if whole => end,
                Some(end) => end.min(arrived),
                None => arrived,
            };
            (until, t.recorded_at(until))
        });
        if let Some(gate) = &mut inner.gate {
            gate.settle();
        }
        match whole {
            true => inner.fill(until, &self.timeline),
            false => inner.advance(Ns::MAX, &self.timeline),
        }
        let mut out = GateOutput::new();
        if let Some(gate) = &mut inner.gate {
            gate.finish(end, &mut out);
        }
        inner.feed_all(out);
        self.close(inner);
    }

    /// Nothing more of this track: it never came, or the recording has failed.
    pub fn leave_out(&self) {
        self.close(&mut lock(&self.inner));
    }

    /// Nothing more of it goes into this part, whose pipeline takes nothing more.
    pub fn leave_out_of(&self, part: usize) {
        lock(&self.inner).outlets.of(part).close();
        self.room.wake();
    }

    /// This part is over, and its pipeline no more.
    pub fn forget_part(&self, part: usize) {
        let mut inner = lock(&self.inner);
        let on = inner.cursor.part();
        inner.outlets.remove(part, on);
    }

    fn close(&self, inner: &mut Inner) {
        inner.outlets.close();
        self.closed.store(true, Ordering::Release);
        self.room.wake();
    }

    /// What the encoder of a part has been given and has not come out of it.
    pub fn in_flight(&self, part: usize) -> Arc<InFlight> {
        self.feed(part, |feed| feed.in_flight().clone())
    }

    /// The encoder is there: gives it what has waited.
    pub fn connect(&self, part: usize, appsrc: gst_app::AppSrc) {
        let Some(caps) = self.caps_of(part) else {
            return;
        };
        let mut inner = lock(&self.inner);
        self.drop_frames(&mut inner, part, &appsrc);
        let outlet = inner.outlets.of(part);
        outlet.feed.connect(appsrc, &caps);
        if outlet.closed {
            outlet.feed.close();
        }
        // Looked at behind what it is given first.
        inner.looked = None;
    }

    /// Another encoder takes over: gives it what is in flight, audio from recorded time `from` on.
    pub fn reconnect(&self, part: usize, appsrc: gst_app::AppSrc, from: Option<Ns>) {
        let mut inner = lock(&self.inner);
        inner.outlets.of(part).dropper.begin_anew();
        self.drop_frames(&mut inner, part, &appsrc);
        inner.looked = None;
        inner.outlets.of(part).feed.reconnect(appsrc, from);
    }

    /// Leaves frames out in front of an encoder that is too slow.
    fn drop_frames(&self, inner: &mut Inner, part: usize, appsrc: &gst_app::AppSrc) {
        if self.has_live_pictures(inner) {
            let outlet = inner.outlets.of(part);
            let counts = frame_dropper::Counts {
                fed: outlet.fed.clone(),
                in_flight: outlet.feed.in_flight().clone(),
            };
            let name = self.name.clone();
            frame_dropper::keep(appsrc, &outlet.dropper, counts, &self.room, name);
        }
    }

    /// Capture pools have few buffers.
    fn has_live_pictures(&self, inner: &Inner) -> bool {
        self.is_live() && matches!(inner.gate, Some(Gate::Video(_)))
    }

    /// From now on buffers wait for [`Track::flush_batch`].
    pub fn start_batching(&self, part: usize) {
        self.feed(part, Feed::start_batching);
    }

    /// Gives on what has been batched, if anything has.
    pub fn flush_batch(&self, part: usize) -> bool {
        self.feed(part, Feed::flush_batch)
    }

    fn feed<R>(&self, part: usize, work: impl FnOnce(&mut Feed) -> R) -> R {
        work(&mut lock(&self.inner).outlets.of(part).feed)
    }
}

/// A gate for media with these caps, which it passes on.
fn gate_for(caps: &gst::CapsRef) -> Result<Gate, glib::BoolError> {
    let mut gate = Gate::new(caps)?;
    if let Gate::Encoded(_) = gate {
        gate.set_caps(caps)?;
    }
    Ok(gate)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Where a buffer says that it belongs.
pub fn stamp_of(input: &Input) -> Stamp {
    let lead = match (input.buffer.pts(), input.buffer.dts()) {
        (Some(pts), Some(dts)) => pts.saturating_sub(dts).nseconds(),
        _ => 0,
    };
    Stamp {
        running: input.running,
        duration: input.duration.unwrap_or(0),
        // Decode times that are further off mean nothing.
        lead: if lead < MAX_LEAD { lead } else { 0 },
    }
}

impl Inner {
    /// How many bytes the track holds.
    fn bytes(&self) -> u64 {
        let gate = self.gate.as_ref().map_or(0, Gate::waiting_bytes);
        gate.saturating_add(self.outlets.bytes())
    }

    fn refresh(&mut self, timeline: &SharedTimeline) {
        let Inner {
            cursor,
            end,
            seen,
            hold,
            ..
        } = self;
        let news = timeline.news(*seen, |timeline| {
            cursor.refresh(timeline);
            *hold = timeline.hold();
            let is_known = timeline.pending().is_none() && hold.is_none();
            *end = timeline.end().filter(|_| is_known);
        });
        if let Some((now, ())) = news {
            *seen = now;
        }
    }

    /// Of sound, of which all has a length: no more waits for the encoder than did, and what was given on since.
    /// That takes no lock of appsrc, at which its thread may be.
    fn waits_at_most(&self, fed: Ns) -> Option<Ns> {
        match (&self.gate, self.looked) {
            (Some(Gate::Audio(_)), Some((waited, then))) if self.is_connected() => {
                Some(waited.saturating_add(fed.saturating_sub(then)))
            }
            _ => None,
        }
    }

    /// The way into the part that the track is in.
    fn outlet(&mut self) -> &mut Outlet {
        self.outlets.of(self.cursor.part())
    }

    /// Whether the part that the track is in has its pipeline, and more to come.
    fn is_connected(&self) -> bool {
        let outlet = self.outlets.find(self.cursor.part());
        outlet.is_some_and(|outlet| outlet.feed.is_connected())
    }

    /// Media that waits for the encoders.
    fn waiting(&mut self) -> Ns {
        let part = self.cursor.part();
        let on = self.outlets.of(part).feed.waiting();
        on.saturating_add(self.outlets.waiting_before(part))
    }

    /// Goes on to the next part, if the track has all of the one that it is in.
    fn enter_next_part(&mut self, timeline: &SharedTimeline) -> bool {
        let Some(end) = self.cursor.end_of_part() else {
            return false;
        };
        let Some(gate) = self.gate.as_mut().filter(|_| self.cursor.is_part_over()) else {
            return false;
        };
        let mut out = GateOutput::new();
        gate.end_part(end.recorded, &mut out);
        self.feed_all(out);
        let part = self.cursor.part();
        self.outlets.of(part).close();
        self.begin = timeline.read(|timeline| self.cursor.enter_next_part(timeline));
        self.outlets.forget_before(self.cursor.part());
        if let Some(gate) = &mut self.gate {
            gate.begin_part(self.begin);
        }
        self.looked = None;
        true
    }

    /// Makes up what is missing before running time `until`, in as many parts as that reaches into.
    fn fill(&mut self, until: Ns, timeline: &SharedTimeline) {
        let until = self.hold.unwrap_or(Ns::MAX).min(until);
        loop {
            let mut out = GateOutput::new();
            let Inner { gate, cursor, .. } = &mut *self;
            if let Some(gate) = gate {
                gate.fill(cursor, until, &mut out);
            }
            self.feed_all(out);
            if !self.enter_next_part(timeline) {
                return;
            }
        }
    }

    /// Lets out what `safe_until` allows, in as many parts as that reaches into.
    fn advance(&mut self, safe_until: Ns, timeline: &SharedTimeline) {
        let safe_until = self.hold.unwrap_or(Ns::MAX).min(safe_until);
        loop {
            self.advance_gate(safe_until);
            if !self.enter_next_part(timeline) {
                return;
            }
        }
    }

    /// Lets out what `safe_until` allows.
    fn advance_gate(&mut self, safe_until: Ns) {
        let mut out = GateOutput::new();
        let Inner { gate, cursor, .. } = self;
        if let Some(gate) = gate {
            gate.advance(cursor, safe_until, &mut out);
        }
        self.feed_all(out);
    }

    fn feed_all(&mut self, out: GateOutput) {
        self.counts.encoded += out.inputs();
        let is_encoded = matches!(self.gate, Some(Gate::Encoded(_)));
        let outlet = self.outlets.of(self.cursor.part());
        for piece in out {
            match piece {
                Piece::Buffer(buffer) => {
                    self.lacks_dts = buffer.dts().is_none();
                    if outlet.caps.is_none() && is_encoded {
                        outlet.caps = self.given.clone();
                    }
                    outlet.give(buffer);
                }
                Piece::Caps(caps) => {
                    self.given = Some(caps.clone());
                    outlet.headroom = gate::headroom(&caps);
                    outlet.feed.give(Item::Caps(caps));
                }
                Piece::Turn(turn) => outlet.feed.give(Item::Turn(turn)),
                Piece::Gap(until) => outlet.feed.give(Item::Gap(until)),
            }
        }
    }
}

#[cfg(test)]
mod tests;
