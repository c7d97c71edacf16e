//! Drops frames evenly while an encoder is too slow, and as few as possible.
//!
//! Frames are queued unchanged, so an encoder that only stalls for a moment loses none. A frame may be dropped only
//! when the encoder is about to get it, and more than half of `max-queue-time` is queued behind it. The amount
//! dropped is the excess over that half, but at once no more than twice what the encoder needs for a frame. So gaps
//! grow smoothly with the queue level, and settle at the encoder's own rate.
//!
//! Lock order: `state` is a leaf.

use super::{
    backpressure::Backpressure,
    probe::{leave_out, probe},
    timing::lock,
    track::InFlight,
};
use crate::model::timeline::Ns;
use gst::prelude::*;
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Number of frames that determine the encoder's speed.
const KNOWN: usize = 4;

/// See the module documentation.
#[derive(Debug)]
pub struct FrameDropper {
    max_queue_time: Ns,
    /// `for_another` may be set.
    has_waited: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When the queue was last waiting for another track, if it has not caught up since.
    for_another: Option<Instant>,
    /// The last frame that the encoder got, and when.
    last: Option<(Ns, Instant)>,
    /// How long it took for each of the last frames.
    busy: [Duration; KNOWN],
    /// Current minimum distance between frames.
    spacing: Ns,
    /// When a frame was last dropped.
    dropped: Option<Instant>,
    /// Accepted frames that were dropped.
    passed_over: u64,
}

impl FrameDropper {
    /// Creates a dropper without history.
    pub fn new(max_queue_time: Ns) -> Self {
        FrameDropper {
            max_queue_time,
            has_waited: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// The queue is waiting for another track, or for the encoder to be created. After that, it gets `max-queue-time`
    /// to catch up.
    pub fn wait_for_another(&self) {
        let mut state = lock(&self.state);
        state.for_another = Some(Instant::now());
        self.has_waited.store(true, Ordering::SeqCst);
    }

    /// Whether the queue may have been waiting for another track.
    pub fn has_waited_for_another(&self) -> bool {
        self.has_waited.load(Ordering::SeqCst)
    }

    /// Whether the queue, with `waiting` of at most `most`, may still be full because of another track.
    pub fn is_for_another(&self, waiting: Ns, most: Ns) -> bool {
        let mut state = lock(&self.state);
        self.look(&mut state, waiting >= most / 2, Instant::now())
    }

    fn look(&self, state: &mut State, much: bool, now: Instant) -> bool {
        let patience = Duration::from_nanos(self.max_queue_time);
        let is_young = |since: &Instant| now.saturating_duration_since(*since) < patience;
        state.for_another = state.for_another.filter(is_young).filter(|_| much);
        self.has_waited
            .store(state.for_another.is_some(), Ordering::SeqCst);
        state.for_another.is_some()
    }

    /// Minimum distance between frames for accepting another: half of `spacing`, which leaves the encoder a choice.
    pub fn worth(&self) -> Ns {
        lock(&self.state).spacing / 2
    }

    /// Whether the encoder should get the frame at `at` now, with `waiting` media queued from there on.
    fn takes(&self, at: Ns, waiting: Ns, may_be_left_out: bool, now: Instant) -> bool {
        let mut state = lock(&self.state);
        let half = self.max_queue_time / 2;
        let for_another = self.look(&mut state, waiting >= half, now);
        state.spacing = if for_another || self.max_queue_time == 0 {
            0
        } else {
            waiting.saturating_sub(half).min(state.at_once(now))
        };
        if may_be_left_out
            && let Some((last, _)) = state.last
            && at.saturating_sub(last) < state.spacing
        {
            state.passed_over += 1;
            return false;
        }
        // With a low queue level, the encoder may have been idle before.
        state.note(at, now, waiting >= half / 2);
        true
    }

    /// Warns that frames of the track `name` are being dropped, with `waiting` media queued.
    pub fn warn(&self, name: &str, waiting: Ns, backpressure: &Backpressure) {
        if self.is_news(Instant::now()) {
            backpressure.warn(format!(
                "The encoder of {name} is too slow: {} ms of media are queued. Frames are dropped until it has \
                 caught up.",
                waiting / 1_000_000
            ));
        }
    }

    /// Whether to warn: once per episode. An episode is not over just because the queue runs empty in between.
    fn is_news(&self, now: Instant) -> bool {
        let last = lock(&self.state).dropped.replace(now);
        let quiet = Duration::from_nanos(self.max_queue_time.saturating_mul(2));
        last.is_none_or(|last| now.saturating_duration_since(last) > quiet)
    }

    /// Number of accepted frames that were dropped.
    pub fn passed_over(&self) -> u64 {
        lock(&self.state).passed_over
    }

    /// Resets it for another encoder.
    pub fn begin_anew(&self) {
        let mut state = lock(&self.state);
        *state = State {
            dropped: state.dropped,
            ..State::default()
        };
    }
}

/// The counters of an encoder's queue.
pub struct Counts {
    /// Recorded time up to which media has been pushed to its appsrc.
    pub fed: Arc<AtomicU64>,
    pub in_flight: Arc<InFlight>,
}

/// Drops frames that leave `appsrc` for an encoder that is too slow.
pub fn keep(
    appsrc: &gst_app::AppSrc,
    dropper: &Arc<FrameDropper>,
    Counts { fed, in_flight }: Counts,
    backpressure: &Arc<Backpressure>,
    name: String,
) {
    let Some(pad) = appsrc.static_pad("src") else {
        return;
    };
    let (dropper, backpressure) = (dropper.clone(), backpressure.clone());
    probe(&pad, gst::PadProbeType::BUFFER, move |_, info| {
        let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data else {
            return gst::PadProbeReturn::Ok;
        };
        let Some(at) = buffer.pts() else {
            return gst::PadProbeReturn::Ok;
        };
        let droppable = buffer.flags().contains(gst::BufferFlags::DROPPABLE);
        let waiting = fed.load(Ordering::Relaxed).saturating_sub(at.nseconds());
        if !dropper.takes(at.nseconds(), waiting, droppable, Instant::now()) {
            in_flight.dropped(at.nseconds());
            dropper.warn(&name, waiting, &backpressure);
            return leave_out(info);
        }
        if droppable {
            buffer.make_mut().unset_flags(gst::BufferFlags::DROPPABLE);
        }
        gst::PadProbeReturn::Ok
    });
}

impl State {
    fn note(&mut self, at: Ns, now: Instant, was_busy: bool) {
        let last = self.last.replace((at, now));
        let [_, older, old, recent] = self.busy;
        let newest = match last {
            Some((_, before)) if was_busy => now.saturating_duration_since(before),
            _ => Duration::ZERO,
        };
        self.busy = [older, old, recent, newest];
    }

    /// Twice the encoding time of a frame. The longest of the last ones is ignored, since it may have been a stall.
    fn at_once(&self, now: Instant) -> Ns {
        let latest = self.last.map_or(Duration::ZERO, |(_, before)| {
            now.saturating_duration_since(before)
        });
        let known = || self.busy.iter().copied().chain([latest]);
        let longest = known().max().unwrap_or_default();
        let usual = known().sum::<Duration>().saturating_sub(longest) / KNOWN as u32;
        u64::try_from(usual.as_nanos() * 2).unwrap_or(Ns::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    const MS: Ns = 1_000_000;
    const FRAME: Ns = 33 * MS;
    const MOST: Ns = 2000 * MS;

    /// Pushes a frame every 33 ms for `length` into an encoder that takes `busy` for each. Returns the frames that it
    /// got.
    fn run(length: Ns, busy: impl Fn(Ns) -> Ns) -> Vec<Ns> {
        let dropper = FrameDropper::new(MOST);
        let began = Instant::now();
        let mut waiting = VecDeque::new();
        let (mut free_at, mut let_in) = (0, 0);
        let mut got = Vec::new();
        for now in (0..length).step_by(MS as usize) {
            if now % FRAME == 0 {
                let span = now - waiting.front().copied().unwrap_or(now);
                let full = span >= MOST;
                if !full && (now == 0 || now - let_in >= dropper.worth()) {
                    waiting.push_back(now);
                    let_in = now;
                }
            }
            while now >= free_at
                && let Some(at) = waiting.pop_front()
            {
                let wall = began + Duration::from_nanos(now);
                if dropper.takes(at, let_in + FRAME - at, true, wall) {
                    got.push(at);
                    free_at = now + busy(now);
                }
            }
        }
        got
    }

    fn longest_gap(got: &[Ns]) -> Ns {
        let gaps = got.windows(2).map(|pair| pair[1] - pair[0]);
        gaps.max().unwrap()
    }

    #[test]
    fn gaps_are_no_longer_than_the_encoders_lookahead() {
        for busy in [40, 66, 100, 133, 250, 400, 700] {
            let busy = busy * MS;
            let got = run(60_000 * MS, |_| busy);
            let longest = longest_gap(&got);
            assert!(
                longest <= 2 * busy + FRAME,
                "{} ms between frames of {} ms",
                longest / MS,
                busy / MS
            );
            // And the encoder is never idle.
            let could = 60_000 * MS / busy;
            assert!(
                got.len() as u64 + 3 > could.min(60_000 * MS / FRAME),
                "{busy}"
            );
        }
    }

    #[test]
    fn an_encoder_that_is_fast_enough_loses_nothing() {
        let got = run(10_000 * MS, |_| 30 * MS);
        assert_eq!(longest_gap(&got), FRAME);
    }

    #[test]
    fn a_short_stall_drops_no_frame() {
        let halts = |now| match now / MS {
            3000..3040 => 1500 * MS,
            _ => 10 * MS,
        };
        let got = run(10_000 * MS, halts);
        assert_eq!(longest_gap(&got), FRAME);
    }

    #[test]
    fn media_queued_for_another_track_is_kept() {
        let dropper = FrameDropper::new(MOST);
        dropper.wait_for_another();
        let began = Instant::now();
        let took = |n: Ns, waiting| {
            let now = began + Duration::from_millis(100 * n);
            dropper.takes(n * FRAME, waiting, true, now)
        };
        assert!((0..18).all(|n| took(n, MOST)));
        // By now the backlog should have been worked off.
        assert!(!(20..30).all(|n| took(n, MOST)));
    }

    #[test]
    fn one_warning_while_it_lasts() {
        let dropper = FrameDropper::new(MOST);
        let began = Instant::now();
        assert!(dropper.is_news(began));
        assert!(!dropper.is_news(began + Duration::from_secs(3)));
        assert!(!dropper.is_news(began + Duration::from_secs(6)));
        assert!(dropper.is_news(began + Duration::from_secs(11)));
    }
}
