//! Scheduled pauses of `--pause-at`, and the recorded time so far. Pure.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Result, bail};

/// A pause, in time since the start of the recording, including pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PauseRange {
    pub from: Duration,
    pub to: Duration,
}

impl FromStr for PauseRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text
            .split_once("..")
            .ok_or("a pause is written A..B, in seconds, as in 1..2.5")?;
        let (from, to) = (seconds(from)?, seconds(to)?);
        if from >= to {
            return Err("a pause has to end after it begins".into());
        }
        Ok(Self { from, to })
    }
}

/// Seconds with an optional fraction.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text
        .trim()
        .parse()
        .map_err(|_| format!("{text:?} is not a number of seconds"))?;
    Duration::try_from_secs_f64(number).map_err(|_| format!("{text} seconds cannot be"))
}

/// A scheduled action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Pause,
    Resume,
}

/// The pauses in order; each step is returned once.
#[derive(Debug, Default)]
pub struct Script {
    /// The next one last.
    steps: Vec<(Duration, Step)>,
}

impl Script {
    pub fn new(pauses: &[PauseRange]) -> Result<Self> {
        let mut pauses = pauses.to_vec();
        pauses.sort_by_key(|pause| pause.from);
        for (a, b) in pauses.iter().zip(pauses.iter().skip(1)) {
            if b.from <= a.to {
                bail!(
                    "two pauses of --pause-at touch: one ends at {:?}, the next begins at {:?}",
                    a.to,
                    b.from
                );
            }
        }
        let steps = pauses
            .iter()
            .rev()
            .flat_map(|pause| [(pause.to, Step::Resume), (pause.from, Step::Pause)])
            .collect();
        Ok(Self { steps })
    }

    /// The next step if its time has come; to be called until None.
    pub fn due(&mut self, elapsed: Duration) -> Option<Step> {
        let &(at, step) = self.steps.last()?;
        if at > elapsed {
            return None;
        }
        self.steps.pop();
        Some(step)
    }
}

/// Recorded time by the times of the calls, which is where the recorder puts its cuts.
///
/// `stats` reports the media that has arrived, which lags behind, so it does not say when to call `stop`.
#[derive(Debug, Default)]
pub struct Stopwatch {
    paused_since: Option<Duration>,
    paused: Duration,
}

impl Stopwatch {
    pub fn pause(&mut self, elapsed: Duration) {
        self.paused_since.get_or_insert(elapsed);
    }

    pub fn resume(&mut self, elapsed: Duration) {
        if let Some(since) = self.paused_since.take() {
            self.paused += elapsed.saturating_sub(since);
        }
    }

    /// Time since the start minus all pauses, including the current one.
    pub fn recorded(&self, elapsed: Duration) -> Duration {
        self.paused_since
            .unwrap_or(elapsed)
            .saturating_sub(self.paused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn ranges_are_read() {
        let range: PauseRange = "1.5..2".parse().expect("a range");
        assert_eq!((range.from, range.to), (ms(1500), ms(2000)));
        for wrong in ["", "1", "1..", "..1", "2..1", "1..1", "a..b", "-1..1"] {
            assert!(wrong.parse::<PauseRange>().is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn steps_are_returned_in_order_once() {
        let ranges = ["3..4", "1..2"].map(|r| r.parse().expect("a range"));
        let mut script = Script::new(&ranges).expect("a script");
        assert_eq!(script.due(ms(999)), None);
        assert_eq!(script.due(ms(1000)), Some(Step::Pause));
        assert_eq!(script.due(ms(1500)), None);
        assert_eq!(script.due(ms(3500)), Some(Step::Resume));
        assert_eq!(script.due(ms(3500)), Some(Step::Pause));
        assert_eq!(script.due(ms(3500)), None);
        assert_eq!(script.due(ms(9000)), Some(Step::Resume));
        assert_eq!(script.due(ms(9000)), None);
    }

    #[test]
    fn touching_pauses_are_refused() {
        for pair in [["1..3", "2..4"], ["2..3", "1..2"], ["1..2", "1..2"]] {
            let ranges = pair.map(|r| r.parse().expect("a range"));
            assert!(Script::new(&ranges).is_err(), "{pair:?} was taken");
        }
    }

    #[test]
    fn the_stopwatch_excludes_pauses() {
        let mut watch = Stopwatch::default();
        assert_eq!(watch.recorded(ms(700)), ms(700));
        watch.pause(ms(1000));
        watch.pause(ms(1200)); // a second pause changes nothing
        assert_eq!(watch.recorded(ms(1900)), ms(1000));
        watch.resume(ms(2000));
        watch.resume(ms(2100)); // nor does a second resume
        assert_eq!(watch.recorded(ms(2500)), ms(1500));
        watch.pause(ms(3000));
        assert_eq!(watch.recorded(ms(9000)), ms(2000));
    }
}
