//! Clock and timeline as the threads of a recording share them.
//!
//! A cut takes effect between two buffers of every track: no buffer may see "now" after a cut
//! and still not see the cut. [`SharedTimeline`] is a sequence lock that gives just that for
//! the price of one atomic load per buffer.

use crate::model::timeline::{Ns, Timeline};
use gst::prelude::*;
use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// Locks a mutex whose data stay valid even if a thread panicked with it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The timeline of one recording.
#[derive(Debug, Default)]
pub struct SharedTimeline {
    /// Odd while a cut is being written.
    sequence: AtomicU64,
    timeline: Mutex<Timeline>,
}

impl SharedTimeline {
    /// Shares `timeline`.
    pub fn new(timeline: Timeline) -> Self {
        SharedTimeline {
            sequence: AtomicU64::new(0),
            timeline: Mutex::new(timeline),
        }
    }

    /// Writes to the timeline. Instants read inside `write` are after every horizon that a
    /// track has used without seeing the change.
    pub fn write<R>(&self, write: impl FnOnce(&mut Timeline) -> R) -> R {
        let mut timeline = lock(&self.timeline);
        self.sequence.fetch_add(1, Ordering::SeqCst);
        let result = write(&mut timeline);
        self.sequence.fetch_add(1, Ordering::SeqCst);
        result
    }

    /// Reads the timeline.
    pub fn read<R>(&self, read: impl FnOnce(&Timeline) -> R) -> R {
        read(&lock(&self.timeline))
    }

    /// If the timeline is not the one that was read at `seen`: reads it (waiting for a cut that
    /// is being written) and gives the new number to remember.
    pub fn news<R>(&self, seen: u64, read: impl FnOnce(&Timeline) -> R) -> Option<(u64, R)> {
        if self.sequence.load(Ordering::SeqCst) == seen {
            return None;
        }
        let timeline = lock(&self.timeline);
        let sequence = self.sequence.load(Ordering::SeqCst);
        Some((sequence, read(&timeline)))
    }
}

/// The running time of the pipeline, as capture knows it.
#[derive(Debug, Default)]
pub struct RunningTime {
    playing: Mutex<Option<Playing>>,
    /// Running time when PLAYING was left last.
    left: AtomicU64,
    /// Furthest running time that has arrived on any pad: the end of that buffer.
    furthest: AtomicU64,
    /// What has to be added to running time so that it goes on after it was set back.
    shift: AtomicU64,
}

#[derive(Debug)]
struct Playing {
    clock: gst::Clock,
    base: gst::ClockTime,
}

impl RunningTime {
    /// The pipeline is PLAYING with this clock from now on.
    pub fn play(&self, clock: gst::Clock, base: gst::ClockTime) {
        *lock(&self.playing) = Some(Playing { clock, base });
    }

    /// The pipeline leaves PLAYING.
    pub fn leave_playing(&self) {
        if let Some(now) = self.now() {
            self.left.store(now, Ordering::SeqCst);
        }
        *lock(&self.playing) = None;
    }

    /// Running time at which PLAYING was left last.
    pub fn left_playing(&self) -> Ns {
        self.left.load(Ordering::SeqCst)
    }

    /// The clock's running time, `None` without a clock or when not PLAYING.
    pub fn now(&self) -> Option<Ns> {
        let playing = lock(&self.playing);
        let playing = playing.as_ref()?;
        let running = playing.clock.time().saturating_sub(playing.base);
        Some(self.shifted(running.nseconds()))
    }

    /// The furthest running time that has arrived.
    pub fn furthest(&self) -> Ns {
        self.furthest.load(Ordering::SeqCst)
    }

    /// A buffer that ends at `end` has arrived.
    pub fn arrived(&self, end: Ns) {
        if end > self.furthest.load(Ordering::Relaxed) {
            self.furthest.fetch_max(end, Ordering::SeqCst);
        }
    }

    /// Running time as the timeline counts it.
    pub fn shifted(&self, running: Ns) -> Ns {
        running.saturating_add(self.shift.load(Ordering::Relaxed))
    }

    /// What [`RunningTime::shifted`] adds.
    pub fn shift(&self) -> Ns {
        self.shift.load(Ordering::SeqCst)
    }

    /// Running time begins at 0 again (a flush): it goes on from the furthest that arrived.
    pub fn restart(&self) {
        let go_on = self.furthest().max(self.left_playing());
        self.shift.store(go_on, Ordering::SeqCst);
    }

    /// Forgets everything, for a new READY→PAUSED.
    pub fn reset(&self) {
        *lock(&self.playing) = None;
        for value in [&self.left, &self.furthest, &self.shift] {
            value.store(0, Ordering::SeqCst);
        }
    }
}
