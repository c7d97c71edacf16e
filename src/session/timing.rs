//! Clock and timeline, shared by the threads of a recording.
//!
//! A cut takes effect between two buffers of every track: no buffer may read a clock time after a cut without seeing
//! the cut. [`SharedTimeline`] is a sequence lock that guarantees this for one atomic load per buffer.

use super::wall_clock::ReferenceTime;
use crate::model::timeline::{Ns, Timeline};
use gst::prelude::*;
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Instant,
};

/// Locks a mutex whose data stays valid even if a thread panics while holding it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same without blocking; `None` if the mutex is locked.
pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// The timeline of one recording.
#[derive(Debug)]
pub struct SharedTimeline {
    /// Odd while a cut is being written.
    sequence: AtomicU64,
    timeline: Mutex<Timeline>,
    leads: Mutex<Option<Followed>>,
}

/// A follower of a timeline, see [`Timeline::follow`].
#[derive(Debug, Clone)]
struct Followed {
    by: Arc<SharedTimeline>,
    from: usize,
    of: usize,
}

impl SharedTimeline {
    /// Shares `timeline`.
    pub fn new(timeline: Timeline) -> Self {
        SharedTimeline {
            sequence: AtomicU64::new(0),
            timeline: Mutex::new(timeline),
            leads: Mutex::new(None),
        }
    }

    /// Makes `by` follow each cut, written at the same instant, until this timeline is stopped. `of` is the number of
    /// the open interval.
    pub fn lead(&self, by: Arc<SharedTimeline>, of: usize) {
        let from = by.read(|t| t.intervals().len()).saturating_sub(1);
        *lock(&self.leads) = Some(Followed { by, from, of });
    }

    /// Writes to the timeline. Clock times read inside `write` are later than any `safe_until` that a track has used
    /// without seeing the change.
    pub fn write<R>(&self, write: impl FnOnce(&mut Timeline) -> R) -> R {
        let leads = lock(&self.leads).clone();
        let Some(Followed { by, from, of }) = leads else {
            return self.write_alone(write);
        };
        by.write_alone(|follower| {
            self.write_alone(|timeline| {
                let result = write(timeline);
                // Another write may have stopped it.
                if lock(&self.leads).is_some() {
                    follower.follow(from, timeline, of);
                }
                if timeline.is_stopped() {
                    *lock(&self.leads) = None;
                }
                result
            })
        })
    }

    /// Ends [`lead`](Self::lead) where this timeline ends without having been stopped: its follower goes on, from `now`
    /// on if it is paused.
    pub fn stop_leading(&self, now: impl FnOnce() -> Ns) {
        let leads = lock(&self.leads).take();
        if let Some(Followed { by, .. }) = leads {
            by.write_alone(|follower| follower.go_on(now()));
        }
    }

    fn write_alone<R>(&self, write: impl FnOnce(&mut Timeline) -> R) -> R {
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

    /// If the timeline has changed since `seen`, reads it (waiting for a cut that is being written) and returns the
    /// new sequence number.
    pub fn news<R>(&self, seen: u64, read: impl FnOnce(&Timeline) -> R) -> Option<(u64, R)> {
        if self.sequence.load(Ordering::SeqCst) == seen {
            return None;
        }
        let timeline = lock(&self.timeline);
        let sequence = self.sequence.load(Ordering::SeqCst);
        Some((sequence, read(&timeline)))
    }
}

/// Running time may go back by less than this when PLAYING is reached again, since the pipeline and its elements read
/// the clock one after the other.
const SAME: i64 = 200_000_000;

fn signed(time: Ns) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

/// The running time of the pipeline, as used for recording.
///
/// It never jumps: a new base time, or a flush that resets running time, changes the offset added to incoming
/// timestamps, and recorded time continues.
#[derive(Debug)]
pub struct RunningTime {
    playing: Mutex<Option<Playing>>,
    /// Its base time, checked for every buffer; `NOT_PLAYING` if there is none.
    base: AtomicU64,
    /// Running time when PLAYING was last left.
    left: AtomicU64,
    /// Furthest running time that has arrived on any pad: the end of that buffer.
    furthest: AtomicU64,
    /// A running time far ahead of the others of its pad that only a single buffer has claimed; 0 if there is none.
    jumped: AtomicU64,
    /// Offset for live sources, which follow the clock.
    live_shift: AtomicI64,
    /// Offset for other sources, since running time was reset.
    shift: AtomicI64,
    /// Whether any source is live.
    live: AtomicBool,
    /// Whether sources that are not live are blocked in PAUSED.
    holds: AtomicBool,
    /// See [`RunningTime::reference`].
    reference: ReferenceTime,
}

/// No base time: `GST_CLOCK_TIME_NONE`.
const NOT_PLAYING: u64 = u64::MAX;

impl Default for RunningTime {
    fn default() -> Self {
        RunningTime {
            playing: Mutex::default(),
            base: AtomicU64::new(NOT_PLAYING),
            left: AtomicU64::default(),
            furthest: AtomicU64::default(),
            jumped: AtomicU64::default(),
            live_shift: AtomicI64::default(),
            shift: AtomicI64::default(),
            live: AtomicBool::default(),
            holds: AtomicBool::default(),
            reference: ReferenceTime::default(),
        }
    }
}

#[derive(Debug)]
struct Playing {
    clock: gst::Clock,
    base: gst::ClockTime,
    /// A reading of the clock, and when it was taken.
    seen: Option<(i64, Instant)>,
}

/// Interval after which the clock is compared with the system's monotonic clock …
const LOOK: i64 = 1_000_000_000;
/// … and the lead over that beyond which it counts as a jump. Smaller steps are filled.
const CLOCK_STEP: i64 = 600_000_000_000;

impl Playing {
    fn new(clock: gst::Clock, base: gst::ClockTime) -> Self {
        Playing {
            clock,
            base,
            seen: None,
        }
    }

    /// Running time from clock and base time alone; negative if the clock was set to before the base time.
    fn plain(&self) -> i64 {
        signed(self.clock.time().nseconds()).saturating_sub(signed(self.base.nseconds()))
    }

    /// How far the clock has jumped since the last reading, as a wall clock does when it is set.
    fn leap(&mut self, plain: i64) -> i64 {
        leap(&mut self.seen, plain, Instant::now)
    }
}

fn leap(seen: &mut Option<(i64, Instant)>, plain: i64, now: impl FnOnce() -> Instant) -> i64 {
    let Some((before, at)) = *seen else {
        *seen = Some((plain, now()));
        return 0;
    };
    let step = plain.saturating_sub(before);
    if (0..LOOK).contains(&step) {
        return 0;
    }
    let now = now();
    *seen = Some((plain, now));
    let passed =
        signed(u64::try_from(now.saturating_duration_since(at).as_nanos()).unwrap_or(Ns::MAX));
    // A clock that stands still for a while has not jumped.
    if step.saturating_sub(passed) > CLOCK_STEP || step < -LOOK {
        step.saturating_sub(passed)
    } else {
        0
    }
}

impl RunningTime {
    /// The pipeline is PLAYING with this clock from now on.
    pub fn play(&self, clock: gst::Clock, base: gst::ClockTime) {
        let playing = Playing::new(clock, base);
        let left = signed(self.left_playing());
        let now = playing.plain().saturating_add(self.live_shift());
        if left.saturating_sub(now) > SAME {
            self.live_shift.fetch_add(left - now, Ordering::SeqCst);
        }
        let mut now = lock(&self.playing);
        self.base.store(playing.base.nseconds(), Ordering::SeqCst);
        *now = Some(playing);
    }

    /// Sets a new base time. In PLAYING, running time continues from where it is.
    pub fn rebase(&self, base: gst::ClockTime) {
        let known = self.base.load(Ordering::SeqCst);
        if known == base.nseconds() || known == NOT_PLAYING {
            return;
        }
        let mut playing = lock(&self.playing);
        if let Some(playing) = playing.as_mut()
            && playing.base != base
        {
            let back = signed(base.nseconds()).saturating_sub(signed(playing.base.nseconds()));
            playing.base = base;
            playing.seen = None;
            self.base.store(base.nseconds(), Ordering::SeqCst);
            self.live_shift.fetch_add(back, Ordering::SeqCst);
        }
    }

    /// The pipeline leaves PLAYING.
    pub fn leave_playing(&self) {
        if let Some(now) = self.now() {
            self.left.store(now, Ordering::SeqCst);
        }
        self.not_playing();
    }

    fn not_playing(&self) {
        let mut playing = lock(&self.playing);
        self.base.store(NOT_PLAYING, Ordering::SeqCst);
        *playing = None;
    }

    /// Running time at which PLAYING was last left.
    pub fn left_playing(&self) -> Ns {
        self.left.load(Ordering::SeqCst)
    }

    /// The clock's running time, `None` without a clock or when not PLAYING.
    pub fn now(&self) -> Option<Ns> {
        let mut playing = lock(&self.playing);
        let playing = playing.as_mut()?;
        let plain = playing.plain();
        let leap = playing.leap(plain);
        if leap != 0 {
            self.live_shift.fetch_sub(leap, Ordering::SeqCst);
        }
        Some(u64::try_from(plain.saturating_add(self.live_shift())).unwrap_or(0))
    }

    /// Furthest running time that has arrived.
    pub fn furthest(&self) -> Ns {
        let furthest = self.furthest.load(Ordering::SeqCst);
        furthest.max(self.jumped.load(Ordering::SeqCst))
    }

    /// A buffer that ends at `end` has arrived, if its timestamp is right; `None` once that has been decided.
    pub fn jumped(&self, end: Option<Ns>) {
        self.jumped.store(end.unwrap_or(0), Ordering::SeqCst);
    }

    /// A buffer that ends at `end` has arrived.
    pub fn arrived(&self, end: Ns) {
        if end > self.furthest.load(Ordering::Relaxed) {
            self.furthest.fetch_max(end, Ordering::SeqCst);
        }
    }

    /// The offsets from upstream's reference timestamps.
    pub fn reference(&self) -> &ReferenceTime {
        &self.reference
    }

    /// Offset for the running time of live sources.
    pub fn live_shift(&self) -> i64 {
        self.live_shift.load(Ordering::SeqCst)
    }

    /// Offset for the running time of other sources, since their last [`RunningTime::restart`].
    pub fn shift(&self) -> i64 {
        self.shift.load(Ordering::SeqCst)
    }

    /// Sets whether sources that are not live are blocked in PAUSED.
    pub fn hold(&self, holds: bool) {
        self.holds.store(holds, Ordering::SeqCst);
    }

    /// Whether they are blocked.
    pub fn holds(&self) -> bool {
        self.holds.load(Ordering::SeqCst)
    }

    /// A source pushes its first buffer.
    pub fn add_source(&self, live: bool) {
        self.live.fetch_or(live, Ordering::SeqCst);
    }

    /// Running time has been reset to `to`: continues from the furthest that has arrived. Live sources have continued
    /// with the clock.
    pub fn restart(&self, to: Ns) {
        let go_on = if self.live.load(Ordering::SeqCst) {
            self.furthest().max(self.left_playing())
        } else {
            self.furthest()
        };
        let shift = signed(go_on).saturating_sub(signed(to));
        self.shift.store(shift, Ordering::SeqCst);
    }

    /// Forgets everything, for a new READY→PAUSED.
    pub fn reset(&self) {
        self.not_playing();
        for value in [&self.left, &self.furthest, &self.jumped] {
            value.store(0, Ordering::SeqCst);
        }
        for value in [&self.live_shift, &self.shift] {
            value.store(0, Ordering::SeqCst);
        }
        self.live.store(false, Ordering::SeqCst);
        self.reference.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn only_a_clock_that_is_set_jumps() {
        let begun = Instant::now();
        for (step, passed, leap_due) in [
            (SECOND / 50, 0, 0),
            (5 * SECOND, 5, 0),
            // No reading for an hour.
            (3_600 * SECOND, 3_600, 0),
            (60 * 86_400 * SECOND, 1, 60 * 86_400 - 1),
            (SECOND, 3_600, 0),
        ] {
            let mut seen = None;
            assert_eq!(leap(&mut seen, 10 * SECOND, || begun), 0);
            let later = begun + Duration::from_secs(passed);
            let found = leap(&mut seen, 10 * SECOND + step, || later);
            assert_eq!(found, leap_due * SECOND, "{step} in {passed} s");
        }
    }

    #[test]
    fn setting_the_clock_back_is_a_jump() {
        let begun = Instant::now();
        let mut seen = None;
        let hour = 3_600 * SECOND;
        assert_eq!(leap(&mut seen, 2 * hour, || begun), 0);
        assert_eq!(leap(&mut seen, hour, || begun), -hour);
        assert_eq!(leap(&mut seen, hour + SECOND / 2, || begun), 0);
    }
}
