//! Which pictures are left out while an encoder is too slow: as many as it takes, evenly.
//!
//! Pictures wait for the encoder as they came, so that one that only halts for a while costs nothing. Only
//! what the encoder would begin with while more than half of `max-queue-time` waits behind it may be passed
//! over: as much media as that half is exceeded by, but at once no more than twice what the encoder needs for a
//! picture. So the gaps grow with what waits from the first one on, and settle at the encoder's own pace.
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

/// So many pictures tell what the encoder needs for one.
const KNOWN: usize = 4;

/// See the module.
#[derive(Debug)]
pub struct FrameDropper {
    max_queue_time: Ns,
    /// `for_another` may be set.
    has_waited: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When what waits did so for another track, if it has not been worked off since.
    for_another: Option<Instant>,
    /// The picture that the encoder has got last, and when.
    last: Option<(Ns, Instant)>,
    /// How long it was busy with each of the last ones.
    busy: [Duration; KNOWN],
    /// Least media from picture to picture now.
    spacing: Ns,
    /// When one was left out last.
    left_out: Option<Instant>,
    /// Pictures passed over that had been let in.
    passed_over: u64,
}

impl FrameDropper {
    /// Nothing has come yet.
    pub fn new(max_queue_time: Ns) -> Self {
        FrameDropper {
            max_queue_time,
            has_waited: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// What waits does so for another track, or for the encoder to be made. When that is over, it is given as
    /// long as may wait to be worked off.
    pub fn wait_for_another(&self) {
        let mut state = lock(&self.state);
        state.for_another = Some(Instant::now());
        self.has_waited.store(true, Ordering::SeqCst);
    }

    /// Whether what waits may have done so for another track.
    pub fn has_waited_for_another(&self) -> bool {
        self.has_waited.load(Ordering::SeqCst)
    }

    /// So much waits for the encoder of what may: whether it may yet do so for another track.
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

    /// Least media from one picture to the next that is worth letting in: half of what the encoder wants, so
    /// that it has a choice.
    pub fn worth(&self) -> Ns {
        lock(&self.state).spacing / 2
    }

    /// The encoder could have the picture at `at` now, with `waiting` media from there on waiting. Whether it is
    /// to have it.
    fn takes(&self, at: Ns, waiting: Ns, may_be_left_out: bool, now: Instant) -> bool {
        let mut state = lock(&self.state);
        let half = self.max_queue_time / 2;
        let for_another = self.look(&mut state, waiting >= half, now);
        state.spacing = match for_another || self.max_queue_time == 0 {
            true => 0,
            false => waiting.saturating_sub(half).min(state.at_once(now)),
        };
        if may_be_left_out
            && let Some((last, _)) = state.last
            && at.saturating_sub(last) < state.spacing
        {
            state.passed_over += 1;
            return false;
        }
        // With little behind it the encoder may have had nothing to do before.
        state.note(at, now, waiting >= half / 2);
        true
    }

    /// Something of the track `name` has been left out, while so much waited.
    pub fn warn(&self, name: &str, waiting: Ns, backpressure: &Backpressure) {
        if self.is_news(Instant::now()) {
            backpressure.warn(format!(
                "The encoder of {name} is too slow: {} ms of media wait for it, so some is left out until \
                 it has caught up.",
                waiting / 1_000_000
            ));
        }
    }

    /// Whether to warn. Once as long as it goes on; a queue that runs empty in
    /// between ends nothing.
    fn is_news(&self, now: Instant) -> bool {
        let last = lock(&self.state).left_out.replace(now);
        let quiet = Duration::from_nanos(self.max_queue_time.saturating_mul(2));
        last.is_none_or(|last| now.saturating_duration_since(last) > quiet)
    }

    /// Pictures that were let in and yet left out.
    pub fn passed_over(&self) -> u64 {
        lock(&self.state).passed_over
    }

    /// Another encoder gets everything from the beginning.
    pub fn begin_anew(&self) {
        let mut state = lock(&self.state);
        *state = State {
            left_out: state.left_out,
            ..State::default()
        };
    }
}

/// What waits for an encoder.
pub struct Counts {
    /// Recorded time up to which media has been given to its appsrc.
    pub fed: Arc<AtomicU64>,
    pub in_flight: Arc<InFlight>,
}

/// Passes over pictures that leave `appsrc` for an encoder that is too slow.
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
            in_flight.left_out(at.nseconds());
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

    /// Twice what a picture takes, the longest of the last ones not counted: it may have been a halt.
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

    /// Pictures each 33 ms for `length` into an encoder that is busy with each for as long as `busy` says;
    /// those that it has got.
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
    fn gaps_are_no_longer_than_the_encoder_makes_them() {
        for busy in [40, 66, 100, 133, 250, 400, 700] {
            let busy = busy * MS;
            let got = run(60_000 * MS, |_| busy);
            let longest = longest_gap(&got);
            assert!(
                longest <= 2 * busy + FRAME,
                "{} ms between pictures of {} ms",
                longest / MS,
                busy / MS
            );
            // And it is never idle.
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
    fn a_halt_costs_nothing_that_can_be_caught_up_with() {
        let halts = |now| match now / MS {
            3000..3040 => 1500 * MS,
            _ => 10 * MS,
        };
        let got = run(10_000 * MS, halts);
        assert_eq!(longest_gap(&got), FRAME);
    }

    #[test]
    fn what_waited_for_another_track_is_kept() {
        let dropper = FrameDropper::new(MOST);
        dropper.wait_for_another();
        let began = Instant::now();
        let took = |n: Ns, waiting| {
            let now = began + Duration::from_millis(100 * n);
            dropper.takes(n * FRAME, waiting, true, now)
        };
        assert!((0..18).all(|n| took(n, MOST)));
        // By now it would have been worked off.
        assert!(!(20..30).all(|n| took(n, MOST)));
    }

    #[test]
    fn one_warning_as_long_as_it_goes_on() {
        let dropper = FrameDropper::new(MOST);
        let began = Instant::now();
        assert!(dropper.is_news(began));
        assert!(!dropper.is_news(began + Duration::from_secs(3)));
        assert!(!dropper.is_news(began + Duration::from_secs(6)));
        assert!(dropper.is_news(began + Duration::from_secs(11)));
    }
}
