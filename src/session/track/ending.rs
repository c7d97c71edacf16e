//! How far a track may go, into the next part and to its end.

use super::{Inner, Track};
use crate::{gate::GateOutput, model::timeline::Ns, session::lock};
use std::sync::atomic::Ordering;

impl Track {
    /// EOS on the pad: what there is is all there will be.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.backpressure.wake();
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

    /// Ends the part where what comes needs another, or as soon after as no track has gone on further.
    pub(super) fn split_if_needed(&self, inner: &mut Inner) {
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
            self.backpressure.wake();
        }
    }

    /// Once all that was captured before the last cut has arrived, the track is complete.
    pub(super) fn finish_if_complete(&self, inner: &mut Inner) {
        inner.refresh(&self.timeline);
        let end = inner.end;
        let is_last = inner.cursor.end_of_part().is_none();
        let behind = || is_last && inner.gate.is_some() && inner.cursor.current().is_none();
        if end.is_some_and(|end| self.arrived() >= end || behind()) {
            self.finish_locked(inner, true);
        }
    }

    pub(super) fn finish_locked(&self, inner: &mut Inner, whole: bool) {
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
        self.backpressure.wake();
    }

    /// This part is over, and its pipeline no more.
    pub fn forget_part(&self, part: usize) {
        let mut inner = lock(&self.inner);
        let on = inner.cursor.part();
        inner.outlets.remove(part, on);
    }

    pub(super) fn close(&self, inner: &mut Inner) {
        inner.outlets.close();
        self.closed.store(true, Ordering::Release);
        self.backpressure.wake();
    }

    /// The pipeline of the part that the track is in is connected when there is media for it.
    pub(super) fn tell_next_part(&self, inner: &mut Inner) {
        let outlet = inner.outlet();
        if outlet.part > 0 && outlet.feed.is_backlog() {
            self.backpressure.wake();
        }
    }
}
