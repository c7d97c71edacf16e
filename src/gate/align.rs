//! Places audio buffers by timestamp: distinguishes missing buffers from timestamp jitter.
//!
//! Deviations of less than 40 ms, or for less than a second, are jitter: the samples are contiguous (the rule of
//! GstAudioStreamAlign). That rule alone would close every gap up to 40 ms and detect longer ones a second late. But a
//! gap is a forward step of the timestamps, and those after it continue from there, whereas jitter returns. So a buffer
//! after a step waits for the next one, which decides between the two.

use crate::model::{SampleGrid, timeline::Ns};

/// Timestamps may deviate this far from the sample count …
const ASTRAY: Ns = 40_000_000;
/// … and further for this long, before they are trusted.
const PATIENCE: Ns = 1_000_000_000;
/// Containers with millisecond timestamps cause steps up to this size by rounding alone.
const ROUNDING: Ns = 2_000_000;
/// Maximum deviation of timestamps derived from a sample count, including clock drift.
const EXACT: Ns = 100_000;
/// The observed jitter decays by nearly half in this time.
const MEMORY: Ns = 1_000_000_000;

/// Position of a buffer's first sample: sample number `first` of a contiguous run that starts at running time
/// `origin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    pub origin: Ns,
    pub first: u64,
}

#[derive(Debug, Clone, Copy)]
struct Arrival {
    stamp: Ns,
    samples: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Align {
    grid: SampleGrid,
    /// Expected position of the next sample.
    run: Option<Placed>,
    /// Position of the next sample according to the latest timestamp, and the samples since that timestamp.
    due: Ns,
    last: u64,
    /// Largest recent backward deviation of the timestamps.
    jitter: Ns,
    /// Timestamps have gone backwards: they are rounded or taken from a clock, not counted.
    rough: bool,
    astray: Option<Ns>,
    /// The buffer after a step, and the size of the step.
    waits: Option<(Arrival, Ns)>,
}

impl Align {
    /// An aligner at the start of audio on this grid.
    pub fn new(grid: SampleGrid) -> Self {
        Align {
            grid,
            run: None,
            due: 0,
            last: 0,
            jitter: 0,
            rough: false,
            astray: None,
            waits: None,
        }
    }

    /// Takes a buffer. Returns the position of the waiting buffer, if any, and that of this one unless it has to wait
    /// for the next.
    pub fn arrive(
        &mut self,
        stamp: Ns,
        samples: u64,
        discont: bool,
    ) -> (Option<Placed>, Option<Placed>) {
        let now = Arrival { stamp, samples };
        let before = self.waits.take().map(|(waited, step)| {
            let due = waited.stamp.saturating_add(self.grid.time(waited.samples));
            let back = due.saturating_sub(stamp);
            if !discont && back > step / 2 {
                self.note_jitter(back);
                self.continue_run(waited)
            } else {
                self.accept_gap(waited)
            }
        });
        let due = std::mem::replace(&mut self.due, stamp.saturating_add(self.grid.time(samples)));
        let last = std::mem::replace(&mut self.last, samples);
        if discont || self.run.is_none() {
            return (before, Some(self.begin(now)));
        }
        let tolerance = self.tolerance(last);
        let (ahead, back) = (stamp.saturating_sub(due), due.saturating_sub(stamp));
        self.forget(samples);
        if back > tolerance {
            self.note_jitter(back);
        } else if ahead > tolerance.max(self.jitter.saturating_mul(2)) {
            self.waits = Some((now, ahead));
            return (before, None);
        }
        (before, Some(self.continue_run(now)))
    }

    /// No further buffer will decide: returns the position of the waiting one.
    pub fn settle(&mut self) -> Option<Placed> {
        self.waits.take().map(|(waited, _)| self.accept_gap(waited))
    }

    /// Tolerance for rounding of the timestamps around a buffer.
    fn tolerance(&self, samples: u64) -> Ns {
        let (period, half) = (self.grid.time(1), self.grid.time(samples) / 2);
        if self.rough {
            half.clamp(period, ROUNDING.max(period))
        } else {
            half.clamp(period / 2 + 1_000, EXACT.max(period))
        }
    }

    fn note_jitter(&mut self, back: Ns) {
        self.rough = true;
        self.jitter = self.jitter.max(back.min(ASTRAY));
    }

    fn forget(&mut self, samples: u64) {
        let passed = self.grid.time(samples).min(MEMORY);
        let less = u128::from(self.jitter) * u128::from(passed) / u128::from(2 * MEMORY);
        self.jitter -= u64::try_from(less).unwrap_or(0).min(self.jitter);
    }

    /// Starts a new run at the buffer's timestamp.
    fn begin(&mut self, at: Arrival) -> Placed {
        self.astray = None;
        let placed = Placed {
            origin: at.stamp,
            first: 0,
        };
        self.run = Some(Placed {
            first: at.samples,
            ..placed
        });
        placed
    }

    /// Continues the run, unless its timestamps have deviated for too long.
    fn continue_run(&mut self, at: Arrival) -> Placed {
        let Some(run) = self.run else {
            return self.begin(at);
        };
        let counted = run.origin.saturating_add(self.grid.time(run.first));
        if at.stamp.abs_diff(counted) < ASTRAY {
            self.astray = None;
        } else if at.stamp.abs_diff(*self.astray.get_or_insert(at.stamp)) >= PATIENCE {
            self.jitter = 0;
            return self.begin(at);
        }
        self.run = Some(Placed {
            first: run.first.saturating_add(at.samples),
            ..run
        });
        run
    }

    /// Treats the step before this buffer as a gap.
    fn accept_gap(&mut self, at: Arrival) -> Placed {
        let Some(run) = self.run.filter(|_| self.rough) else {
            return self.begin(at);
        };
        // With rounded timestamps, the gap is taken as a whole number of buffers if possible.
        let counted = run.origin.saturating_add(self.grid.time(run.first));
        let size = self.grid.time(at.samples);
        let hole = at.stamp.saturating_sub(counted);
        let missing = hole.saturating_add(size / 2) / size.max(1);
        let off = hole.abs_diff(missing.saturating_mul(size));
        if missing == 0 || off > ROUNDING.min(size / 4) {
            return self.begin(at);
        }
        self.astray = None;
        let first = run.first.saturating_add(missing.saturating_mul(at.samples));
        self.run = Some(Placed {
            first: first.saturating_add(at.samples),
            ..run
        });
        Placed { first, ..run }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RATE: u32 = 48_000;

    /// Running time of each buffer's first sample, from the timestamps of 480-sample buffers.
    fn places(stamps: &[Ns]) -> Vec<Ns> {
        places_of(stamps.iter().map(|stamp| (*stamp, 480, false)))
    }

    fn places_of(arrivals: impl Iterator<Item = (Ns, u64, bool)>) -> Vec<Ns> {
        let grid = SampleGrid::new(RATE);
        let mut align = Align::new(grid);
        let mut placed = Vec::new();
        for (stamp, samples, discont) in arrivals {
            let (before, now) = align.arrive(stamp, samples, discont);
            placed.extend(before);
            placed.extend(now);
        }
        placed.extend(align.settle());
        let time = |p: &Placed| p.origin + grid.time(p.first);
        placed.iter().map(time).collect()
    }

    fn ms(times: &[f64]) -> Vec<Ns> {
        times.iter().map(|t| (t * 1e6) as Ns).collect()
    }

    #[test]
    fn a_missing_buffer_leaves_a_hole() {
        let stamps = ms(&[0.0, 10.0, 30.0, 40.0, 50.0, 80.0, 90.0, 120.0]);
        assert_eq!(places(&stamps), stamps);
    }

    #[test]
    fn a_timestamp_that_recovers_is_jitter() {
        let stamps = ms(&[0.0, 10.0, 35.0, 30.0, 40.0, 50.0]);
        let even = ms(&[0.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
        assert_eq!(places(&stamps), even);
    }

    #[test]
    fn continuous_jitter_is_ignored() {
        // Deviations in both directions are no gap and do not accumulate.
        let wobble = [0u64, 7, 2, 11, 0, 9, 4, 1, 12, 3];
        let stamps: Vec<Ns> = (0..500u64)
            .map(|n| n * 10_000_000 + wobble[(n * 7 % 10) as usize] * 1_000_000)
            .collect();
        for (n, place) in places(&stamps).into_iter().enumerate() {
            let even = n as u64 * 10_000_000;
            assert!(place.abs_diff(even) <= 14_000_000, "{n}: {place}");
        }
    }

    #[test]
    fn timestamps_off_for_a_second_are_accepted() {
        // Backwards by 100 ms from the hundredth buffer on.
        let stamps: Vec<Ns> = (0..400u64)
            .map(|n| 1_000_000_000 + n * 10_000_000 - if n < 100 { 0 } else { 100_000_000 })
            .collect();
        let placed = places(&stamps);
        assert_eq!(placed[150], stamps[150] + 100_000_000);
        assert_eq!(placed[210], stamps[210]);
    }

    #[test]
    fn a_slow_clock_is_followed_in_steps_within_the_jitter() {
        // A minute, 1000 ppm slow.
        let stamps: Vec<Ns> = (0..6000u64).map(|n| n * 10_010_000).collect();
        for (stamp, place) in stamps.iter().zip(places(&stamps)) {
            assert!(place.abs_diff(*stamp) < 42_000_000, "{place} for {stamp}");
        }
    }

    #[test]
    fn a_buffer_flagged_discont_is_a_discontinuity() {
        let arrivals = [
            (0, 480, false),
            (13_000_000, 480, true),
            (23_000_000, 480, false),
        ];
        assert_eq!(places_of(arrivals.into_iter()), [0, 13_000_000, 23_000_000]);
    }

    proptest! {
        #[test]
        fn audio_with_exact_timestamps_keeps_its_positions(
            sizes in prop::collection::vec(1u64..3000, 2..200),
            dropped in prop::collection::vec(prop::bool::weighted(0.2), 200),
            start in 0u64..10_000_000_000,
        ) {
            let grid = SampleGrid::new(RATE);
            let mut first = 0;
            let mut arrivals = Vec::new();
            for (samples, dropped) in sizes.iter().zip(dropped) {
                if !dropped {
                    arrivals.push((start + grid.time(first), *samples, false));
                }
                first += samples;
            }
            let placed = places_of(arrivals.iter().copied());
            prop_assert_eq!(placed.len(), arrivals.len());
            for ((stamp, ..), place) in arrivals.iter().zip(placed) {
                // Less than 0.1 ms may go undetected, but must not accumulate to 1 ms.
                prop_assert!(place.abs_diff(*stamp) <= 1_000_000, "{} {}", place, stamp);
            }
        }

        #[test]
        fn buffers_with_rounded_timestamps_stay_contiguous(
            samples in 240u64..2048,
            dropped in prop::collection::vec(prop::bool::weighted(0.2), 4..300),
            unit in prop::sample::select(vec![1u64, 11_111, 1_000_000]),
        ) {
            let grid = SampleGrid::new(RATE);
            let exact: Vec<Ns> = (0u64..)
                .zip(&dropped)
                .filter(|(_, dropped)| !**dropped)
                .map(|(n, _)| grid.time(n * samples))
                .collect();
            let stamps = exact.iter().map(|time| (time + unit / 2) / unit * unit);
            let placed = places_of(stamps.map(|stamp| (stamp, samples, false)));
            for (exact, place) in exact.iter().zip(placed) {
                prop_assert!(place.abs_diff(*exact) <= unit + 21_000, "{} {}", place, exact);
            }
        }

        #[test]
        fn every_buffer_is_placed_whatever_its_timestamp(
            arrivals in prop::collection::vec((any::<u64>(), 1u64..100_000, any::<bool>()), 0..100),
        ) {
            let placed = places_of_any(&arrivals);
            prop_assert_eq!(placed, arrivals.len());
        }
    }

    fn places_of_any(arrivals: &[(u64, u64, bool)]) -> usize {
        let mut align = Align::new(SampleGrid::new(RATE));
        let mut placed = 0;
        for (stamp, samples, discont) in arrivals {
            let (before, now) = align.arrive(*stamp, *samples, *discont);
            placed += usize::from(before.is_some()) + usize::from(now.is_some());
        }
        placed + usize::from(align.settle().is_some())
    }
}
