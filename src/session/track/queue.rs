//! How much of a track may wait, and what becomes of more.

use super::{Inner, Track};
use crate::{
    gate::Gate,
    model::{
        queue::{self, Level, Media, Queue, WhenFull},
        timeline::Ns,
    },
    session::lock,
};
use std::sync::atomic::Ordering;

impl Track {
    /// The limit of what may wait.
    fn queue(&self, inner: &Inner) -> Queue {
        let media = match inner.gate {
            Some(Gate::Video(_)) => Media::RawVideo,
            Some(Gate::Encoded(_)) => Media::Encoded,
            Some(Gate::Audio(_)) | None => Media::RawAudio,
        };
        Queue::new(media, self.is_live(), self.queue_limit)
    }

    /// Whether a buffer that upstream brings live has to be dropped, because as much waits as may.
    pub(super) fn must_drop(&self, inner: &mut Inner) -> bool {
        let queue = self.queue(inner);
        if queue.when_full == WhenFull::Block {
            return false;
        }
        let outlet = inner.outlet();
        let (dropper, fed) = (outlet.dropper.clone(), outlet.fed.load(Ordering::Relaxed));
        if let Some(at_most) = inner.waits_at_most(fed)
            && at_most < self.queue_limit / 8
            && !dropper.has_waited_for_another()
        {
            self.waited.store(at_most, Ordering::Relaxed);
            return false;
        }
        let level = inner.level();
        inner.looked = Some((level.time, fed));
        self.waited.store(level.time, Ordering::Relaxed);
        // What waits may do so for another track, of which nothing has come (yet).
        if inner.outlet().feed.is_backlog() {
            dropper.wait_for_another();
        }
        let grace = match dropper.is_for_another(level.time, queue.drop_time()) {
            true => queue::GRACE,
            false => 0,
        };
        let now = self.arrived();
        let thin = queue.when_full == WhenFull::DropEvenly
            && now.saturating_sub(inner.let_in) < dropper.worth();
        if queue.overflows(level, grace) || thin {
            dropper.warn(&self.name, level.time, &self.backpressure);
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
    pub fn queue_time(&self) -> Ns {
        self.queue(&lock(&self.inner)).time
    }

    /// Whether as much waits, here or for the encoder, as may.
    pub fn is_full(&self) -> bool {
        let mut inner = lock(&self.inner);
        // What is held in the gate waits as well.
        let arrived = self.arrived();
        let held = inner.hold.map_or(0, |hold| arrived.saturating_sub(hold));
        let mut level = inner.level();
        level.time = level.time.saturating_add(held);
        let queue = self.queue(&inner);
        if level.time < queue.time {
            self.wider.store(0, Ordering::Relaxed);
        }
        queue.is_full(level, self.wider.load(Ordering::Relaxed))
    }

    /// Lets as much again wait, until there is room anyway.
    pub fn widen(&self) {
        self.wider.fetch_add(self.queue_time(), Ordering::Relaxed);
    }

    /// A flush begins, or ends.
    pub fn set_flushing(&self, flushing: bool) {
        self.flushing.store(flushing, Ordering::Release);
        self.backpressure.wake();
    }

    /// Whether a buffer of it must not wait for room.
    pub fn need_not_wait(&self) -> bool {
        self.is_closed() || self.flushing.load(Ordering::Acquire)
    }

    /// Capture pools have few buffers.
    pub(super) fn has_live_pictures(&self, inner: &Inner) -> bool {
        self.is_live() && matches!(inner.gate, Some(Gate::Video(_)))
    }
}

impl Inner {
    /// What waits, in the gate and for the encoders.
    fn level(&mut self) -> Level {
        let time = self.waiting();
        let bytes = match time < queue::MIN_TIME {
            true => 0,
            false => self.bytes(),
        };
        Level { time, bytes }
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> u64 {
        let in_gate = self.gate.as_ref().map_or(0, Gate::waiting_bytes);
        in_gate.saturating_add(self.outlets.bytes())
    }

    /// Of sound, of which all has a length: no more waits for the encoder than did, and what was given on since.
    /// That takes no lock of appsrc, at which its thread may be.
    pub(super) fn waits_at_most(&self, fed: Ns) -> Option<Ns> {
        match (&self.gate, self.looked) {
            (Some(Gate::Audio(_)), Some((waited, then))) if self.is_connected() => {
                Some(waited.saturating_add(fed.saturating_sub(then)))
            }
            _ => None,
        }
    }

    /// Media that waits for the encoders.
    pub(super) fn waiting(&mut self) -> Ns {
        let part = self.cursor.part();
        let on = self.outlets.of(part).feed.waiting();
        on.saturating_add(self.outlets.waiting_before(part))
    }
}
