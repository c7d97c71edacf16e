//! Input from upstream: buffers, caps, gaps and tags, on their way through timestamp checks and the gate.

use super::{Flow, Inner, Item, Track};
use crate::{
    formats,
    gate::{Gate, GateOutput, Input, Loss},
    model::{
        Orientation,
        stamps::{Arrival, Decided, Stamp},
        timeline::{Ns, Placement, Timeline},
    },
    session::lock,
};
use std::sync::atomic::Ordering;

/// A PTS is less than this ahead of its DTS.
const MAX_LEAD: Ns = 10_000_000_000;

impl Track {
    /// New caps on the pad.
    pub fn set_caps(&self, caps: &gst::Caps) -> Result<(), glib::BoolError> {
        let mut inner = lock(&self.inner);
        if inner.caps.as_ref() == Some(caps) {
            return Ok(());
        }
        // Buffers that still wait belong to the previous caps.
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
        self.copies.set_wanted(self.has_live_frames(&inner));
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
        self.backpressure.wake();
        Ok(())
    }

    /// Handles a buffer from upstream. With `for_another`, the queue waits for another track, not for the encoder.
    /// `now` is the clock's running time, if it has been read already.
    pub fn push(&self, input: Input, for_another: bool, now: Option<Ns>) -> Flow {
        if self.is_closed() {
            return Flow::Done;
        }
        let mut inner = lock(&self.inner);
        self.came.fetch_add(1, Ordering::Relaxed);
        if for_another {
            inner.outlet().dropper.wait_for_another();
        }
        // Without a timestamp, a header packet does not say when the track begins.
        let unstamped = input.buffer.pts().is_none();
        if let Some(Gate::Encoded(gate)) = inner.gate.as_mut().filter(|_| unstamped)
            && gate.take_header(&input.buffer)
        {
            return Flow::More;
        }
        if self.is_kept() {
            self.let_in(&mut inner, input, None);
            self.finish_if_complete(&mut inner);
            return if self.is_closed() {
                Flow::Done
            } else {
                Flow::More
            };
        }
        // Media that is not live may have been blocked since `now` was read.
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
                let input = self.spared(input, || inner.stamps.waiting());
                let decided = inner.stamps.push(stamp, arrival, input);
                self.take(&mut inner, decided, now);
            }
        }
        self.finish_if_complete(&mut inner);
        if self.is_closed() {
            Flow::Done
        } else {
            Flow::More
        }
    }

    /// Handles buffers whose running times have been decided.
    fn take(&self, inner: &mut Inner, decided: Decided<Input>, now: Option<Ns>) {
        if let Some(by) = decided.shifted {
            let (much, way) = (
                by.unsigned_abs() / 1_000_000,
                if by < 0 { "ahead of" } else { "behind" },
            );
            self.backpressure.warn(format!(
                "The timestamps of {} were {much} ms {way} their time of arrival: they are shifted by that from here \
                 on.",
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

    /// Drops a buffer for which there was no room in front of its decoder.
    pub fn drop_one(&self, input: &Input) {
        self.leave_out_one(&mut lock(&self.inner), input);
    }

    /// Sends a buffer whose running time is final through the gate.
    pub(super) fn let_in(&self, inner: &mut Inner, input: Input, now: Option<Ns>) {
        let end = input.end();
        self.arrived.fetch_max(input.settled(), Ordering::SeqCst);
        inner.furthest = inner.furthest.max(end);
        if inner.first.is_none() {
            inner.first = Some(input.running);
            self.backpressure.wake();
        }
        if self.must_drop(inner) {
            return self.leave_out_one(inner, &input);
        }
        let safe_until = self.safe_until_at(now, end);
        inner.in_file.note_media(input.running);
        self.split_if_needed(inner);
        inner.refresh(&self.timeline);
        if inner.hold.is_some_and(|hold| end > hold) {
            self.backpressure.wake();
        }
        let input = self.spared(input, || inner.gate.as_ref().map_or(0, Gate::waiting));
        let mut out = GateOutput::new();
        let until = inner.hold.unwrap_or(Ns::MAX).min(safe_until);
        let Inner { gate, cursor, .. } = &mut *inner;
        if let Some(gate) = gate {
            gate.push(input, cursor, until, &mut out);
            if cursor.current().is_some_and(|interval| !interval.resolved) {
                self.backpressure.wake();
            }
        }
        inner.feed_all(out);
        if inner.cursor.is_part_over() {
            inner.advance(safe_until, &self.timeline);
        }
        self.tell_next_part(inner);
    }

    /// Drops a buffer for which there is no room.
    fn leave_out_one(&self, inner: &mut Inner, input: &Input) {
        if self.timeline.read(|t| t.map(input.running, 0)) != Placement::Drop {
            inner.counts.dropped += 1;
        }
        if let Some(gate) = &mut inner.gate {
            gate.lose(Loss::TooSlow);
        }
    }

    /// With many others `waiting`, upstream gets a live frame back at once.
    fn spared(&self, input: Input, waiting: impl FnOnce() -> usize) -> Input {
        let buffer = self.copies.spare(input.buffer, waiting);
        Input { buffer, ..input }
    }

    /// Settles buffers whose running time is undecided: no more input will decide it.
    pub(super) fn settle_stamps(&self, inner: &mut Inner) {
        if inner.stamps.waiting() > 0 {
            let decided = inner.stamps.settle();
            self.take(inner, decided, None);
        }
    }

    /// Replays the newest buffer from before the recording began: part of it may be recorded, or it is the current
    /// frame.
    pub fn replay(&self, input: Input) {
        let mut inner = lock(&self.inner);
        inner.refresh(&self.timeline);
        let Inner { gate, cursor, .. } = &mut *inner;
        if let Some(gate) = gate {
            // Nothing can leave, since no cut is resolved yet.
            gate.push(input, cursor, 0, &mut GateOutput::new());
        }
    }

    /// A GAP event: no media before `end`.
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

    /// Upstream buffers were lost: encoded media resumes at the next keyframe.
    pub fn lose(&self) {
        if let Some(gate) = &mut lock(&self.inner).gate {
            gate.lose(Loss::Upstream);
        }
    }

    /// A new run of timestamps begins, after a flush or with a new segment.
    pub fn begin_anew(&self) {
        let mut inner = lock(&self.inner);
        self.settle_stamps(&mut inner);
        inner.stamps.begin_anew();
    }

    /// Tags from upstream, kept in order with the buffers.
    pub fn set_tags(&self, tags: gst::TagList) {
        let mut inner = lock(&self.inner);
        let part = inner.outlet().part;
        for outlet in inner.outlets.from(part).filter(|outlet| !outlet.closed) {
            outlet.feed.give(Item::Tags(tags.clone()));
        }
    }

    /// Sets the orientation of the frames that follow.
    pub fn set_orientation(&self, turn: Orientation) {
        let mut inner = lock(&self.inner);
        match &mut inner.gate {
            Some(Gate::Video(gate)) => gate.set_orientation(turn),
            Some(_) => {}
            None => inner.turn = Some(turn),
        }
    }

    /// Keeps the pauses between intervals, see [`gate::VideoGate::keep_pauses`]. Call it after the caps are set.
    pub fn keep_pauses(&self) {
        if let Some(Gate::Video(gate)) = &mut lock(&self.inner).gate {
            gate.keep_pauses();
        }
    }

    /// Mutes (black or silence) or unmutes from the running time that `at` returns. `at` is called with the track
    /// locked, so that nothing after that instant has left.
    pub fn mute(&self, at: impl FnOnce() -> Ns, muted: bool) {
        let mut inner = lock(&self.inner);
        self.mute_locked(&mut inner, at(), muted);
    }

    fn mute_locked(&self, inner: &mut Inner, at: Ns, muted: bool) {
        match &mut inner.gate {
            Some(gate) => {
                if !gate.mute(at, muted) && muted {
                    self.backpressure.warn(format!(
                        "{} is encoded: mute has no effect on it; mute it upstream of its encoder.",
                        self.name
                    ));
                }
            }
            None => inner.mutes.push((at, muted)),
        }
    }

    /// Running time before which no more cuts can come.
    pub(super) fn safe_until(&self, end: Ns) -> Ns {
        self.safe_until_at(None, end)
    }

    fn safe_until_at(&self, now: Option<Ns>, end: Ns) -> Ns {
        if !self.any_live.load(Ordering::Relaxed) {
            return Ns::MAX;
        }
        // Without a clock, cuts are made at the furthest running time that has arrived.
        now.or_else(|| self.clock.now()).unwrap_or(end)
    }
}

/// Creates a gate for media with these caps, and lets it forward them.
fn gate_for(caps: &gst::CapsRef) -> Result<Gate, glib::BoolError> {
    let mut gate = Gate::new(caps)?;
    if let Gate::Encoded(_) = gate {
        gate.set_caps(caps)?;
    }
    Ok(gate)
}

/// The timestamps of a buffer.
pub fn stamp_of(input: &Input) -> Stamp {
    let lead = match (input.buffer.pts(), input.buffer.dts()) {
        (Some(pts), Some(dts)) => pts.saturating_sub(dts).nseconds(),
        _ => 0,
    };
    Stamp {
        running: input.running,
        duration: input.duration.unwrap_or(0),
        // A larger distance between PTS and DTS is not plausible.
        lead: if lead < MAX_LEAD { lead } else { 0 },
    }
}
