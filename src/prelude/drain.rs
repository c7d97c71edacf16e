//! When to drain an encoder: a recording that ends waits for frames in it, and no more input arrives. An encoder with a
//! lookahead would keep them.

use crate::model::timeline::Ns;
use std::{collections::BTreeMap, time::Duration};

/// How long nothing may go into an encoder or come out of it before it is drained.
const IDLE: Duration = Duration::from_millis(200);

/// How far an encoder is, in running time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncoderProgress {
    /// Start of the first frame that has not come out.
    pub first: Ns,
    /// End of the last frame pushed into it.
    pub fed: Ns,
}

impl EncoderProgress {
    /// Whether it holds frames of a recording that ends at `end`, and has all of them.
    fn holds_last_frames(self, end: Ns) -> bool {
        self.first < end && end <= self.fed
    }
}

/// The encoders that hold the last frames of a recording, by track.
#[derive(Debug, Default)]
pub struct IdleEncoders(BTreeMap<u64, (EncoderProgress, Duration)>);

impl IdleEncoders {
    /// Polls an encoder: `progress` is `None` if it holds no frames, `ends` are those of the recordings that end.
    /// Returns whether to drain it.
    pub fn poll(
        &mut self,
        track: u64,
        progress: Option<EncoderProgress>,
        mut ends: impl Iterator<Item = Ns>,
        now: Duration,
    ) -> bool {
        let waits = progress.filter(|at| ends.any(|end| at.holds_last_frames(end)));
        let Some(progress) = waits else {
            self.0.remove(&track);
            return false;
        };
        let (known, since) = self.0.entry(track).or_insert((progress, now));
        if *known != progress {
            (*known, *since) = (progress, now);
        }
        let is_idle = now.saturating_sub(*since) >= IDLE;
        if is_idle {
            self.0.remove(&track);
        }
        is_idle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn polls(progress: impl Fn(u64) -> Option<(Ns, Ns)>, end: Option<Ns>) -> Option<u64> {
        let mut encoders = IdleEncoders::default();
        (0..20).find(|tick| {
            let progress = progress(*tick).map(|(first, fed)| EncoderProgress { first, fed });
            let now = Duration::from_millis(100 * tick);
            encoders.poll(1, progress, end.into_iter(), now)
        })
    }

    #[test]
    fn an_encoder_that_holds_the_last_frames_is_drained() {
        assert_eq!(polls(|_| Some((90, 100)), Some(100)), Some(2));
        assert_eq!(
            polls(|tick| Some((90 + tick.min(5), 100)), Some(100)),
            Some(7)
        );
    }

    #[test]
    fn others_are_not() {
        // Frames arrive, or come out.
        assert_eq!(polls(|tick| Some((90, 100 + tick)), Some(100)), None);
        assert_eq!(polls(|tick| Some((90 + tick, 200)), Some(180)), None);
        // No recording ends, or it needs none of those frames, or more.
        assert_eq!(polls(|_| Some((90, 100)), None), None);
        assert_eq!(polls(|_| Some((90, 100)), Some(90)), None);
        assert_eq!(polls(|_| Some((90, 100)), Some(101)), None);
        assert_eq!(polls(|_| None, Some(100)), None);
    }
}
