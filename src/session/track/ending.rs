//! How far a track may advance, into the next part and up to its end.

use super::{Inner, Track};
use crate::{gate::GateOutput, model::timeline::Ns, session::lock};
use std::sync::atomic::Ordering;

impl Track {
    /// EOS on the pad: no more media will arrive.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.backpressure.wake();
    }

    /// Releases what new cuts allow, and finishes the track once it is complete.
    pub fn advance(&self) {
        let mut inner = lock(&self.inner);
        // Read the clock first: any cut not seen after that is later than this reading.
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

    /// Fills gaps before running time `until`.
    pub fn fill(&self, until: Ns) {
        let mut inner = lock(&self.inner);
        inner.refresh(&self.timeline);
        inner.fill(until, &self.timeline);
        self.tell_next_part(&mut inner);
    }

    /// Ends the track at the last cut and fills gaps up to it; if not `whole`, ends it where its media ends.
    pub fn finish(&self, whole: bool) {
        self.finish_locked(&mut lock(&self.inner), whole);
    }

    /// Ends the part where the media needs a new one, or at the earliest instant after that which no track has
    /// passed.
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

    /// Finishes the track once everything captured before the last cut has arrived.
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
        // Read both under one lock, so that no cut can come between them.
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
        inner.advance(Ns::MAX, &self.timeline);
        if whole {
            inner.fill(until, &self.timeline);
        }
        let mut out = GateOutput::new();
        if let Some(gate) = &mut inner.gate {
            gate.finish(end, &mut out);
        }
        inner.feed_all(out);
        self.close(inner);
    }

    /// Ends the track at once: no media ever came, or the recording has failed.
    pub fn leave_out(&self) {
        self.close(&mut lock(&self.inner));
    }

    /// Sends no more of it into this part, whose pipeline accepts nothing more.
    pub fn leave_out_of(&self, part: usize) {
        lock(&self.inner).outlets.of(part).close();
        self.backpressure.wake();
    }

    /// Ends it in its current part; it resumes in the next one, which begins when its media returns.
    pub fn leave_part(&self) {
        let mut inner = lock(&self.inner);
        inner.in_file.leave_part();
        inner.outlet().close();
        self.backpressure.wake();
    }

    /// Whether it has left its current part, and its media has not returned.
    pub fn has_left_part(&self) -> bool {
        lock(&self.inner).in_file.has_left_part()
    }

    /// The part is finished and its pipeline has been taken down.
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

    /// Wakes the supervisor when there is media for the current part, so that it connects the part's pipeline.
    pub(super) fn tell_next_part(&self, inner: &mut Inner) {
        let outlet = inner.outlet();
        if outlet.part > 0 && outlet.feed.is_backlog() {
            self.backpressure.wake();
        }
    }
}
