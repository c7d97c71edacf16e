//! How much of a track may be queued, and what happens beyond that.

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
    /// The limits of its queue.
    fn queue(&self, inner: &Inner) -> Queue {
        let media = match inner.gate {
            Some(Gate::Video(_)) => Media::RawVideo,
            Some(Gate::Encoded(_)) => Media::Encoded,
            Some(Gate::Audio(_)) | None => Media::RawAudio,
        };
        Queue::new(media, self.is_live(), self.queue_limit)
    }

    /// Whether to drop a live buffer because the queue is full.
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
        // The queue may be waiting for another track that has no media yet.
        if inner.outlet().feed.is_backlog() {
            dropper.wait_for_another();
        }
        let grace = if dropper.is_for_another(level.time, queue.drop_time()) {
            queue::GRACE
        } else {
            0
        };
        let now = self.arrived();
        // The spacing is that of the last frame that the encoder took.
        let thin = queue.when_full == WhenFull::DropEvenly
            && level.time > 0
            && now.saturating_sub(inner.let_in) < dropper.worth();
        if queue.overflows(level, grace) || thin {
            dropper.warn(&self.name, level.time, &self.backpressure);
            return true;
        }
        inner.let_in = now;
        false
    }

    /// Whether the queue was so full at a live track's last buffer that frames might be dropped.
    pub fn is_behind(&self) -> bool {
        self.is_live() && self.waited.load(Ordering::Relaxed) >= self.queue_limit / 8
    }

    /// Whether the encoder or the muxer has no queued media of this track.
    pub fn is_starving(&self) -> bool {
        !self.is_closed() && lock(&self.inner).waiting() == 0
    }

    /// How much media may be queued for the encoder.
    pub fn queue_time(&self) -> Ns {
        self.queue(&lock(&self.inner)).time
    }

    /// Whether the queue is full, in the gate and in front of the encoder together.
    pub fn is_full(&self) -> bool {
        let mut inner = lock(&self.inner);
        inner.refresh(&self.timeline);
        // Media held in the gate counts, too, unless it is one long frame: the next may decide what becomes of it.
        let waits = inner.gate.as_ref().is_some_and(|gate| gate.waiting() > 1);
        let hold = inner.hold.filter(|_| waits);
        let held = hold.map_or(0, |hold| self.arrived().saturating_sub(hold));
        let mut level = inner.level();
        level.time = level.time.saturating_add(held);
        let queue = self.queue(&inner);
        if level.time < queue.time {
            self.wider.store(0, Ordering::Relaxed);
        }
        queue.is_full(level, self.wider.load(Ordering::Relaxed))
    }

    /// Raises the limit by one queue time, until the level is below the limit again.
    pub fn widen(&self) {
        self.wider.fetch_add(self.queue_time(), Ordering::Relaxed);
    }

    /// A flush begins or ends.
    pub fn set_flushing(&self, flushing: bool) {
        self.flushing.store(flushing, Ordering::Release);
        self.backpressure.wake();
    }

    /// Whether its buffers must not block for room.
    pub fn need_not_wait(&self) -> bool {
        self.is_closed() || self.flushing.load(Ordering::Acquire)
    }

    /// Whether it is live raw video: capture pools are small.
    pub(super) fn has_live_frames(&self, inner: &Inner) -> bool {
        self.is_live() && matches!(inner.gate, Some(Gate::Video(_)))
    }
}

impl Inner {
    /// Media queued in the gate and for the encoders.
    fn level(&mut self) -> Level {
        let time = self.waiting();
        let bytes = if time < queue::MIN_TIME {
            0
        } else {
            self.bytes()
        };
        Level { time, bytes }
    }

    /// Queued bytes.
    pub(super) fn bytes(&self) -> u64 {
        let in_gate = self.gate.as_ref().map_or(0, Gate::waiting_bytes);
        in_gate.saturating_add(self.outlets.bytes())
    }

    /// An upper bound of the queue level of audio, where every buffer has a duration: the last measured level plus
    /// what was pushed since. It avoids appsrc's lock, which appsrc's streaming thread may hold.
    pub(super) fn waits_at_most(&self, fed: Ns) -> Option<Ns> {
        match (&self.gate, self.looked) {
            (Some(Gate::Audio(_)), Some((waited, then))) if self.is_connected() => {
                Some(waited.saturating_add(fed.saturating_sub(then)))
            }
            _ => None,
        }
    }

    /// Media queued for the encoders.
    pub(super) fn waiting(&mut self) -> Ns {
        let part = self.cursor.part();
        let on = self.outlets.of(part).feed.waiting();
        on.saturating_add(self.outlets.waiting_before(part))
    }
}
