//! The one timeline of a recording: intervals of running time that all tracks share.
//!
//! `start`, `pause`, `resume` and `stop` only write an instant here; each track reads it
//! when its own buffers pass. Nothing in here knows a clock, a lock or GStreamer.
//!
//! Two kinds of time, both in nanoseconds: *running time* as the tracks bring it, and
//! *recorded time*, which is running time less what was cut, 0 at the first recorded instant.

mod seams;

pub use seams::Seam;

/// Nanoseconds, of running time or of recorded time.
pub type Ns = u64;

const SECOND: i128 = 1_000_000_000;
/// Whole seconds are counted apart where 64 bits have to do: a fraction of one times any rate fits.
const NS_PER_S: u64 = 1_000_000_000;

/// A stretch of running time that is recorded, `[start, end)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// Running time of its first instant; only the requested one while not `resolved`.
    pub start: Ns,
    /// Running time of the cut that ends it, `None` while it is open.
    pub end: Option<Ns>,
    /// Recorded time of `start`. Meaningless while not `resolved`.
    pub recorded: Ns,
    /// FALSE while the start may still move to a later instant (the key frame of an encoded
    /// track, or autostart's earliest buffer), here or in an interval before this one.
    pub resolved: bool,
}

impl Interval {
    /// Recorded time of a running time inside this interval (clamped to it).
    pub fn recorded_at(&self, running: Ns) -> Ns {
        let running = running.clamp(self.start, self.end.unwrap_or(Ns::MAX));
        self.recorded.saturating_add(running - self.start)
    }

    /// Running time at which it has to end because `max_duration` is recorded then; none is known before its start is.
    fn latest_end(&self, max_duration: Ns) -> Ns {
        if !self.resolved {
            return Ns::MAX;
        }
        let room = max_duration.saturating_sub(self.recorded);
        self.start.saturating_add(room)
    }

    /// Ends it where `max_duration` is recorded, if it would end later.
    fn limit(&mut self, max_duration: Ns) {
        let latest = self.latest_end(max_duration);
        self.end = self.end.map(|end| end.min(latest));
    }

    /// Recorded time at which it ends, `None` while it is open.
    pub fn recorded_end(&self) -> Option<Ns> {
        self.end.map(|end| self.recorded_at(end))
    }
}

/// What becomes of a piece of media, see [`Timeline::map`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// Outside every interval, or after the end.
    Drop,
    /// From `skip` after its beginning it is recorded at `recorded`, for `duration`.
    Keep {
        recorded: Ns,
        skip: Ns,
        duration: Ns,
    },
    /// The interval it may belong to has no resolved start yet.
    Pending,
}

/// The list of cuts.
#[derive(Debug, Clone)]
pub struct Timeline {
    intervals: Vec<Interval>,
    /// Running time at which it was stopped.
    stopped: Option<Ns>,
    /// Recorded time beyond which nothing is recorded.
    max_duration: Ns,
    /// Where each part but the last ends.
    seams: Vec<Seam>,
    /// The part that is on ends here or later: where is not known yet.
    split: Option<Ns>,
    /// Recorded time of a part.
    max_size_time: Ns,
}

impl Timeline {
    /// A timeline whose first interval starts at `start`, or, if not `resolved`, at an instant
    /// not before `start` that [`Timeline::resolve`] will tell.
    pub fn new(start: Ns, resolved: bool) -> Self {
        let first = Interval {
            start,
            end: None,
            recorded: 0,
            resolved,
        };
        Timeline {
            intervals: vec![first],
            stopped: None,
            max_duration: Ns::MAX,
            seams: Vec::new(),
            split: None,
            max_size_time: Ns::MAX,
        }
    }

    /// Begins anew at `start`.
    pub fn begin(&mut self, start: Ns, resolved: bool) {
        *self = Timeline::new(start, resolved)
            .with_max_duration(self.max_duration)
            .with_max_size_time(self.max_size_time);
    }

    /// The same, with an end: no more than `max_duration` is recorded.
    pub fn with_max_duration(mut self, max_duration: Ns) -> Self {
        self.max_duration = max_duration;
        self
    }

    fn latest_end(&self, interval: &Interval) -> Ns {
        interval.latest_end(self.max_duration)
    }

    /// Running time at which `max_duration` is recorded, once the timeline is open there and `progress` has reached it.
    pub fn max_duration_reached(&self, progress: Ns) -> Option<Ns> {
        let last = self.intervals.last()?;
        let end = self.latest_end(last);
        let is_reached = self.stopped.is_none() && progress >= end;
        // Paused at that very instant, it is complete as well.
        (is_reached && last.end.is_none_or(|paused| paused == end)).then_some(end)
    }

    /// The intervals from number `first` on as gates apply them: an open one ends where `max_duration` is recorded.
    pub fn intervals_from(&self, first: usize) -> impl Iterator<Item = Interval> + '_ {
        let ahead = self.intervals.get(first..).unwrap_or_default();
        ahead.iter().map(|interval| {
            let latest = self.latest_end(interval);
            let end = interval.end.unwrap_or(Ns::MAX).min(latest);
            Interval {
                end: (end != Ns::MAX).then_some(end),
                ..*interval
            }
        })
    }

    /// The intervals so far, in order.
    pub fn intervals(&self) -> &[Interval] {
        &self.intervals
    }

    /// Ends the open interval at `at`, and gives back the cut as applied: never before the
    /// interval's own start. Without an open interval nothing changes.
    pub fn pause(&mut self, at: Ns) -> Ns {
        let latest = self.intervals.last().map(|last| self.latest_end(last));
        match self.intervals.last_mut() {
            Some(last) if last.end.is_none() => {
                let at = at.max(last.start).min(latest.unwrap_or(Ns::MAX));
                last.end = Some(at);
                at
            }
            Some(last) => last.end.unwrap_or(at),
            None => at,
        }
    }

    /// Opens the next interval at `at`, and gives back the cut as applied: never before the end
    /// of the interval before. Behind a stop there is none.
    pub fn resume(&mut self, at: Ns, resolved: bool) -> Ns {
        let Some(last) = self.intervals.last() else {
            return at;
        };
        let Some(end) = last.end.filter(|_| self.stopped.is_none()) else {
            return last.start;
        };
        let at = at.max(end);
        let next = Interval {
            start: at,
            end: None,
            recorded: last.recorded_at(end),
            resolved: resolved && last.resolved,
        };
        self.intervals.push(next);
        at
    }

    /// Ends the recording at `at`, and gives back the cut as applied. While paused, nothing is
    /// recorded up to it.
    pub fn stop(&mut self, at: Ns) -> Ns {
        let open = self.intervals.last().is_some_and(|last| last.end.is_none());
        let cut = self.pause(at);
        let at = if open { cut } else { at.max(cut) };
        *self.stopped.get_or_insert(at)
    }

    /// Whether nothing is recorded, and nothing waits for its start.
    pub fn is_paused(&self) -> bool {
        let last = self.intervals.last();
        last.is_some_and(|last| last.end.is_some()) && self.pending().is_none()
    }

    /// Whether [`Timeline::stop`] was called.
    pub fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// The running time of the stop.
    pub fn stopped_at(&self) -> Option<Ns> {
        self.stopped
    }

    /// The running time at which the last interval of a stopped timeline ends.
    pub fn end(&self) -> Option<Ns> {
        self.stopped?;
        self.intervals.last().and_then(|last| last.end)
    }

    /// Number and requested running time of the first interval that waits for its start.
    pub fn pending(&self) -> Option<(usize, Ns)> {
        let index = self.intervals.iter().rposition(|i| i.resolved);
        let index = index.map_or(0, |index| index + 1);
        self.intervals.get(index).map(|i| (index, i.start))
    }

    /// The first pending interval starts at `at` (clamped to the interval). Later ones follow
    /// suit as far as `then_resolved` says that they have nothing of their own to wait for.
    pub fn resolve(&mut self, at: Ns, then_resolved: bool) -> Option<Ns> {
        let (index, _) = self.pending()?;
        let max_duration = self.max_duration;
        let recorded = match index.checked_sub(1).and_then(|i| self.intervals.get(i)) {
            Some(before) => before.recorded_end().unwrap_or(before.recorded),
            None => 0,
        };
        let (first, later) = self.intervals.get_mut(index..)?.split_first_mut()?;
        first.start = at.clamp(first.start, first.end.unwrap_or(Ns::MAX));
        first.recorded = recorded;
        first.resolved = true;
        first.limit(max_duration);
        let applied = first.start;
        let mut before = *first;
        for interval in later {
            interval.recorded = before.recorded_end().unwrap_or(before.recorded);
            interval.resolved = then_resolved;
            if !then_resolved {
                break;
            }
            interval.limit(max_duration);
            before = *interval;
        }
        Some(applied)
    }

    /// The first pending interval will not start before `at`: nothing before it is needed.
    pub fn defer(&mut self, at: Ns) {
        let pending = self.pending().map(|(index, _)| index);
        if let Some(interval) = pending.and_then(|index| self.intervals.get_mut(index)) {
            let latest = interval.end.unwrap_or(Ns::MAX);
            interval.start = interval.start.max(at).min(latest.max(interval.start));
        }
    }

    /// The intervals of which it is known where they start. Nothing is in the others yet.
    fn resolved(&self) -> &[Interval] {
        let pending = self
            .pending()
            .map_or(self.intervals.len(), |(index, _)| index);
        self.intervals.get(..pending).unwrap_or_default()
    }

    /// Recorded time at a running time: what was cut before it is left out.
    pub fn recorded_at(&self, running: Ns) -> Ns {
        let after = self.resolved().partition_point(|i| i.start <= running);
        match after.checked_sub(1).and_then(|i| self.intervals.get(i)) {
            Some(interval) => interval.recorded_at(running),
            None => 0,
        }
    }

    /// Running time at which a recorded time was on the clock (of a cut: the end before it).
    pub fn running_at(&self, recorded: Ns) -> Ns {
        let after = self.intervals.partition_point(|i| i.recorded < recorded);
        match self.intervals.get(after.saturating_sub(1)) {
            Some(i) => {
                let running = i.start.saturating_add(recorded.saturating_sub(i.recorded));
                running.min(i.end.unwrap_or(Ns::MAX))
            }
            None => recorded,
        }
    }

    /// Recorded time in all, as far as the intervals have ended.
    pub fn duration(&self) -> Ns {
        match self.resolved().last() {
            Some(last) => last.recorded_end().unwrap_or(last.recorded),
            None => 0,
        }
    }

    /// What becomes of media from `running` on for `duration`: the first part of it that is
    /// recorded. The gates walk the intervals themselves; this is the rule that they keep.
    pub fn map(&self, running: Ns, duration: Ns) -> Placement {
        let until = running.saturating_add(duration.max(1));
        let first = self
            .intervals
            .partition_point(|i| i.end.is_some_and(|end| end <= running));
        for interval in self.intervals_from(first) {
            if interval.start >= until {
                break;
            }
            if interval
                .end
                .is_some_and(|end| end <= running.max(interval.start))
            {
                continue;
            }
            if !interval.resolved {
                return Placement::Pending;
            }
            let from = running.max(interval.start);
            let to = until.min(interval.end.unwrap_or(Ns::MAX));
            return Placement::Keep {
                recorded: interval.recorded_at(from),
                skip: from - running,
                duration: (to - from).min(duration),
            };
        }
        Placement::Drop
    }
}

/// The grid of samples of one audio rate in recorded time: sample `k` stands at `k / rate`.
///
/// Every cut is placed on it anew from exact nanoseconds, so rounding never adds up: however
/// many cuts there are, each kept sample lies within half a sample period of its exact place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    rate: u32,
}

impl Grid {
    /// The grid of `rate` samples a second (at least 1).
    pub fn new(rate: u32) -> Self {
        Grid { rate: rate.max(1) }
    }

    fn rate(&self) -> u64 {
        u64::from(self.rate)
    }

    /// The sample nearest to a recorded time: where an interval begins on the grid, and so where
    /// the one before it has ended.
    pub fn nearest(&self, recorded: Ns) -> u64 {
        let (seconds, rest) = (recorded / NS_PER_S, recorded % NS_PER_S);
        let in_rest = (2 * rest * self.rate() + NS_PER_S) / (2 * NS_PER_S);
        seconds.saturating_mul(self.rate()).saturating_add(in_rest)
    }

    /// How many samples begin before a time after the first of them.
    pub fn before(&self, time: Ns) -> u64 {
        let (seconds, rest) = (time / NS_PER_S, time % NS_PER_S);
        let in_rest = (rest * self.rate()).div_ceil(NS_PER_S);
        seconds.saturating_mul(self.rate()).saturating_add(in_rest)
    }

    /// Recorded time of a sample, rounded down to nanoseconds.
    pub fn time(&self, sample: u64) -> Ns {
        let (seconds, rest) = (sample / self.rate(), sample % self.rate());
        let of_rest = rest * NS_PER_S / self.rate();
        seconds.saturating_mul(NS_PER_S).saturating_add(of_rest)
    }

    /// The place on the grid of the source sample at running time `running`, were `interval`
    /// to go on for ever in both directions; negative if it lies before the recording.
    pub fn place(&self, interval: &Interval, running: Ns) -> i64 {
        let since = running.checked_sub(interval.start);
        if let Some(recorded) = since.and_then(|since| since.checked_add(interval.recorded)) {
            return i64::try_from(self.nearest(recorded)).unwrap_or(i64::MAX);
        }
        let exact =
            i128::from(running) - i128::from(interval.start) + i128::from(interval.recorded);
        let scaled = exact * i128::from(self.rate);
        let nearest = (2 * scaled + SECOND).div_euclid(2 * SECOND);
        i64::try_from(nearest).unwrap_or(if nearest < 0 { i64::MIN } else { i64::MAX })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_is_recorded_beyond_the_maximum_duration() {
        let mut timeline = Timeline::new(100, true).with_max_duration(30);
        assert_eq!(timeline.max_duration_reached(129), None);
        assert_eq!(timeline.pause(120), 120);
        assert_eq!(timeline.resume(200, true), 200);
        let end = timeline.intervals_from(1).next().and_then(|open| open.end);
        assert_eq!(end, Some(210));
        assert_eq!(
            timeline.map(205, 10),
            Placement::Keep {
                recorded: 25,
                skip: 0,
                duration: 5
            }
        );
        assert_eq!(timeline.map(210, 10), Placement::Drop);
        assert_eq!(timeline.max_duration_reached(210), Some(210));
        assert_eq!(timeline.stop(250), 210, "the call came late");
        assert_eq!(timeline.max_duration_reached(300), None);
        assert_eq!(timeline.duration(), 30);
    }

    #[test]
    fn a_pause_behind_the_maximum_duration_is_cut_there() {
        let mut timeline = Timeline::new(100, false).with_max_duration(30);
        assert_eq!(
            timeline.max_duration_reached(500),
            None,
            "its start is not known"
        );
        assert_eq!(timeline.pause(180), 180);
        assert_eq!(timeline.resolve(140, true), Some(140));
        assert_eq!(timeline.duration(), 30);
        assert_eq!(timeline.max_duration_reached(170), Some(170));
    }

    #[test]
    fn paused_is_what_records_nothing_and_waits_for_nothing() {
        let mut timeline = Timeline::new(1, false);
        timeline.pause(5);
        assert!(!timeline.is_paused(), "its start is not known yet");
        timeline.resolve(1, true);
        assert!(timeline.is_paused());
        timeline.resume(7, true);
        assert!(!timeline.is_paused());
    }

    #[test]
    fn nothing_is_in_an_interval_of_which_the_start_is_not_known() {
        let mut timeline = Timeline::new(0, true);
        timeline.pause(10);
        timeline.resume(20, false);
        assert_eq!(timeline.recorded_at(40), 10);
        timeline.stop(50);
        assert_eq!(timeline.duration(), 10);
        assert_eq!(timeline.recorded_at(50), 10);
        timeline.resolve(45, true);
        assert_eq!(timeline.duration(), 15);
    }

    #[test]
    fn nothing_is_resumed_behind_a_stop() {
        let mut timeline = Timeline::new(0, true);
        timeline.stop(10);
        timeline.resume(20, true);
        assert_eq!(timeline.end(), Some(10));
        assert_eq!(timeline.duration(), 10);
    }

    fn cut(steps: &[u64]) -> Timeline {
        let mut at = 5_000_000_123;
        let mut timeline = Timeline::new(at, true);
        for (number, step) in steps.iter().enumerate() {
            at += step;
            if number % 2 == 0 {
                timeline.pause(at);
            } else {
                timeline.resume(at, true);
            }
        }
        timeline
    }

    #[test]
    fn what_was_paused_is_missing_from_recorded_time() {
        let mut timeline = Timeline::new(100, true);
        assert_eq!(timeline.pause(150), 150);
        assert_eq!(timeline.resume(400, true), 400);
        assert_eq!(timeline.stop(450), 450);
        assert_eq!(timeline.duration(), 100);
        assert_eq!(timeline.recorded_at(149), 49);
        assert_eq!(timeline.recorded_at(300), 50);
        assert_eq!(timeline.recorded_at(425), 75);
        assert_eq!(timeline.running_at(75), 425);
        assert_eq!(timeline.end(), Some(450));
    }

    #[test]
    fn cuts_never_go_backwards() {
        let mut timeline = Timeline::new(100, true);
        assert_eq!(timeline.pause(90), 100);
        assert_eq!(timeline.resume(80, true), 100);
        assert_eq!(timeline.stop(70), 100);
        assert_eq!(timeline.duration(), 0);
        assert_eq!(timeline.map(100, 10), Placement::Drop);
    }

    #[test]
    fn a_piece_is_clipped_to_its_interval() {
        let mut timeline = Timeline::new(100, true);
        timeline.pause(150);
        timeline.resume(200, true);
        let keep = |recorded, skip, duration| Placement::Keep {
            recorded,
            skip,
            duration,
        };
        assert_eq!(timeline.map(90, 5), Placement::Drop);
        assert_eq!(timeline.map(90, 20), keep(0, 10, 10));
        assert_eq!(timeline.map(140, 20), keep(40, 0, 10));
        assert_eq!(timeline.map(160, 10), Placement::Drop);
        assert_eq!(timeline.map(190, 30), keep(50, 10, 20));
    }

    #[test]
    fn an_undecided_start_holds_what_comes_after_it_too() {
        let mut timeline = Timeline::new(100, false);
        assert_eq!(timeline.map(90, 10), Placement::Drop);
        assert_eq!(timeline.map(100, 10), Placement::Pending);
        timeline.pause(200);
        timeline.resume(300, true);
        assert_eq!(timeline.map(310, 10), Placement::Pending);
        assert_eq!(timeline.pending(), Some((0, 100)));
        assert_eq!(timeline.resolve(130, true), Some(130));
        assert_eq!(timeline.pending(), None);
        assert_eq!(timeline.recorded_at(310), 80);
    }

    #[test]
    fn a_start_that_is_never_decided_before_its_end_leaves_nothing() {
        let mut timeline = Timeline::new(100, false);
        timeline.pause(200);
        timeline.resume(300, false);
        assert_eq!(timeline.resolve(250, false), Some(200));
        assert_eq!(timeline.pending(), Some((1, 300)));
        assert_eq!(timeline.resolve(310, true), Some(310));
        assert_eq!(timeline.recorded_at(320), 10);
    }

    #[test]
    fn cuts_on_the_grid_are_exact() {
        let mut timeline = Timeline::new(1_000_000_000, true);
        timeline.pause(1_020_000_000);
        timeline.resume(3_000_000_000, true);
        let grid = Grid::new(48_000);
        let second = timeline.intervals()[1];
        assert_eq!(grid.nearest(second.recorded), 960);
        assert_eq!(grid.place(&second, 3_000_000_000), 960);
        assert_eq!(grid.place(&second, 2_999_979_166), 959);
        assert_eq!(grid.time(960), 20_000_000);
    }

    proptest! {
        #[test]
        fn the_grid_is_exact(time in any::<u64>(), small in 0u64..1 << 42, rate in any::<u32>(), start in any::<u64>()) {
            let (grid, wide) = (Grid::new(rate), i128::from(rate.max(1)));
            let whole = |exact: i128| u64::try_from(exact).unwrap_or(u64::MAX);
            for time in [time, small] {
                let scaled = i128::from(time) * wide;
                prop_assert_eq!(grid.nearest(time), whole((2 * scaled + SECOND) / (2 * SECOND)));
                prop_assert_eq!(grid.before(time), whole((scaled + SECOND - 1) / SECOND));
                prop_assert_eq!(grid.time(time), whole(i128::from(time) * SECOND / wide));
                let interval = Interval { start, end: None, recorded: small, resolved: true };
                let exact = i128::from(time) - i128::from(start) + i128::from(small);
                let exact = (2 * exact * wide + SECOND).div_euclid(2 * SECOND);
                let clamped = exact.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
                prop_assert_eq!(i128::from(grid.place(&interval, time)), clamped);
            }
        }

        #[test]
        fn recorded_time_is_monotone_and_kept_time_conserved(
            steps in prop::collection::vec(0u64..3_000_000_000, 1..40),
            samples in prop::collection::vec(0u64..60_000_000_000, 2..40),
        ) {
            let timeline = cut(&steps);
            let kept: u64 = steps.iter().step_by(2).sum();
            if steps.len() % 2 == 1 {
                prop_assert_eq!(timeline.duration(), kept);
            }
            let mut samples = samples;
            samples.sort_unstable();
            for pair in samples.windows(2) {
                let (a, b) = (timeline.recorded_at(pair[0]), timeline.recorded_at(pair[1]));
                prop_assert!(a <= b);
                prop_assert!(b - a <= pair[1] - pair[0]);
            }
        }

        #[test]
        fn pieces_of_any_size_keep_the_same_instants(
            steps in prop::collection::vec(1u64..3_000_000, 1..40),
            size in 1u64..2_000_000,
        ) {
            let mut timeline = cut(&steps);
            let end = timeline.stop(6_000_000_000);
            // Walk the source in pieces: what they keep must be exactly the recorded time.
            let (mut at, mut next) = (5_000_000_000u64, 0u64);
            while at < end {
                let mut piece = size.min(end - at);
                let mut from = at;
                while piece > 0 {
                    match timeline.map(from, piece) {
                        Placement::Keep { recorded, skip, duration } => {
                            prop_assert_eq!(recorded, next);
                            next += duration;
                            from += skip + duration;
                            piece -= skip + duration;
                        }
                        Placement::Drop => piece = 0,
                        Placement::Pending => prop_assert!(false),
                    }
                }
                at += size.min(end - at);
            }
            prop_assert_eq!(next, timeline.duration());
        }

        #[test]
        fn no_cut_moves_a_sample_by_more_than_half_a_period(
            steps in prop::collection::vec(0u64..2_000_000_000, 1..400),
            rate in prop::sample::select(vec![8_000u32, 44_100, 48_000, 96_000, 192_000]),
            at in 0u64..1_000_000_000,
        ) {
            let timeline = cut(&steps);
            let grid = Grid::new(rate);
            for interval in timeline.intervals() {
                let running = interval.start + at.min(interval.end.map_or(at, |e| e - interval.start));
                let place = grid.place(interval, running) as f64;
                let exact = interval.recorded_at(running) as f64 * f64::from(rate) / 1e9;
                prop_assert!((place - exact).abs() <= 0.5 + 1e-3, "{} {}", place, exact);
            }
            for pair in timeline.intervals().windows(2) {
                prop_assert_eq!(pair[0].recorded_end(), Some(pair[1].recorded));
            }
        }
    }
}
