//! What upstream brings: buffers, caps, gaps and tags, through stamps and gate.

use super::{Flow, Inner, Item, Track};
use crate::{
    formats,
    gate::{Gate, GateOutput, Input, Loss},
    model::{
        Kind, Orientation,
        stamps::{Arrival, Decided, Stamp},
        timeline::{Ns, Placement, Timeline},
    },
    session::lock,
};
use std::sync::atomic::Ordering;

/// No frame is decoded so long before it is shown.
const MAX_LEAD: Ns = 10_000_000_000;

/// Live pictures that wait for their place as they came: capture pools have few.
const SCARCE: usize = 2;

impl Track {
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
        self.backpressure.wake();
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
            self.backpressure.warn(format!(
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
    pub(super) fn let_in(&self, inner: &mut Inner, input: Input, now: Option<Ns>) {
        let end = input.end();
        self.arrived.fetch_max(input.settled(), Ordering::SeqCst);
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
        let waiting = inner.gate.as_ref().map_or(0, Gate::waiting);
        let input = self.spared(inner, input, waiting);
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
    pub(super) fn settle_stamps(&self, inner: &mut Inner) {
        if inner.stamps.waiting() > 0 {
            let decided = inner.stamps.settle();
            self.take(inner, decided, None);
        }
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

    /// Tags from upstream: they go on in their place among the buffers.
    pub fn set_tags(&self, tags: gst::TagList) {
        let mut inner = lock(&self.inner);
        let part = inner.outlet().part;
        for outlet in inner.outlets.from(part).filter(|outlet| !outlet.closed) {
            outlet.feed.give(Item::Tags(tags.clone()));
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

    /// What is between intervals stays between them, see [`gate::VideoGate::keep_pauses`]. Behind its caps.
    pub fn keep_pauses(&self) {
        if let Some(Gate::Video(gate)) = &mut lock(&self.inner).gate {
            gate.keep_pauses();
        }
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
                    self.backpressure.warn(format!(
                        "{} is encoded: mute has no effect on it; mute it before its encoder.",
                        self.name
                    ));
                }
            }
            None => inner.mutes.push((at, muted)),
        }
    }

    /// The instant before which no cut can come any more.
    pub(super) fn safe_until(&self, end: Ns) -> Ns {
        self.safe_until_at(None, end)
    }

    fn safe_until_at(&self, now: Option<Ns>, end: Ns) -> Ns {
        if !self.any_live.load(Ordering::Relaxed) {
            return Ns::MAX;
        }
        // Without a clock cuts are made at the furthest that has arrived.
        now.or_else(|| self.clock.now()).unwrap_or(end)
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
