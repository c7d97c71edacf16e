//! Positions of raw audio samples in recorded time.

use super::timeline::{Interval, Ns};

const SECOND: i128 = 1_000_000_000;
/// Whole seconds are computed separately to fit in 64 bits: a fraction of one times any rate does.
const NS_PER_S: u64 = 1_000_000_000;

/// The sample grid of one audio rate in recorded time: sample `k` is at `k / rate`.
///
/// Every cut is rounded from exact nanoseconds, so errors never accumulate: for any number of cuts, each kept sample is
/// within half a sample period of its exact position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleGrid {
    rate: u32,
}

impl SampleGrid {
    /// The grid of `rate` samples a second (at least 1).
    pub fn new(rate: u32) -> Self {
        SampleGrid { rate: rate.max(1) }
    }

    fn rate(&self) -> u64 {
        u64::from(self.rate)
    }

    /// The sample nearest to a recorded time: where an interval begins on the grid, and where the previous one ends.
    pub fn nearest(&self, recorded: Ns) -> u64 {
        let (seconds, rest) = (recorded / NS_PER_S, recorded % NS_PER_S);
        let in_rest = (2 * rest * self.rate() + NS_PER_S) / (2 * NS_PER_S);
        seconds.saturating_mul(self.rate()).saturating_add(in_rest)
    }

    /// Number of samples that begin within `time` from the first.
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

    /// Grid position of the source sample at running time `running`, as if `interval` extended infinitely in both
    /// directions; negative if it is before the recording.
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
    use crate::model::timeline::Timeline;
    use proptest::prelude::*;

    #[test]
    fn cuts_on_sample_positions_are_exact() {
        let mut timeline = Timeline::new(1_000_000_000, true);
        timeline.pause(1_020_000_000);
        timeline.resume(3_000_000_000, true);
        let grid = SampleGrid::new(48_000);
        let second = timeline.intervals()[1];
        assert_eq!(grid.nearest(second.recorded), 960);
        assert_eq!(grid.place(&second, 3_000_000_000), 960);
        assert_eq!(grid.place(&second, 2_999_979_166), 959);
        assert_eq!(grid.time(960), 20_000_000);
    }

    proptest! {
        #[test]
        fn sample_positions_are_exact(time in any::<u64>(), small in 0u64..1 << 42, rate in any::<u32>(), start in any::<u64>()) {
            let (grid, wide) = (SampleGrid::new(rate), i128::from(rate.max(1)));
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
    }
}
