//! What a recording should contain, computed from its cuts.

/// The recorded intervals of running time, in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub intervals: Vec<(u64, u64)>,
}

impl Kept {
    /// From the events of one recording, in order: name (`start`, `pause`, `resume`, `stop`; others are ignored)
    /// and running time.
    pub fn from_cuts<'a>(cuts: impl IntoIterator<Item = (&'a str, u64)>) -> Self {
        let mut intervals = Vec::new();
        let mut open = None;
        for (name, time) in cuts {
            match name {
                "start" => {
                    assert!(open.is_none() && intervals.is_empty(), "a second start");
                    open = Some(time);
                }
                "resume" => {
                    assert!(open.is_none(), "a resume while recording");
                    open = Some(time);
                }
                "pause" => {
                    intervals.push((open.take().expect("a pause while recording"), time));
                }
                "stop" => intervals.extend(open.take().map(|from| (from, time))),
                _ => (),
            }
        }
        assert!(open.is_none(), "the recording has not stopped");
        let ordered =
            intervals.iter().all(|(a, b)| a <= b) && intervals.windows(2).all(|w| w[0].1 <= w[1].0);
        assert!(ordered, "cuts out of order: {intervals:?}");
        Self { intervals }
    }

    /// Recorded time in nanoseconds at which interval `number` starts.
    pub fn interval_start(&self, number: usize) -> u64 {
        self.intervals[..number].iter().map(|(a, b)| b - a).sum()
    }

    /// The recording's duration in nanoseconds.
    pub fn total(&self) -> u64 {
        self.interval_start(self.intervals.len())
    }

    /// Recorded times of all cuts within the recording.
    pub fn cuts(&self) -> Vec<u64> {
        (1..self.intervals.len())
            .map(|n| self.interval_start(n))
            .collect()
    }

    /// Running time at a recorded time, the later one at a cut; extrapolated beyond the end.
    pub fn source_at(&self, recorded: f64) -> f64 {
        let mut begins = 0.0;
        let mut source = recorded;
        for (a, b) in &self.intervals {
            source = *a as f64 + recorded - begins;
            begins += (b - a) as f64;
            if recorded < begins {
                break;
            }
        }
        source
    }

    /// TRUE if a cut is within `reach` nanoseconds of the recorded time.
    pub fn near_cut(&self, recorded: f64, reach: f64) -> bool {
        self.cuts()
            .iter()
            .any(|seam| (*seam as f64 - recorded).abs() <= reach)
    }
}
