//! Detects an encoder that hangs: it has input and makes no progress.
//!
//! An encoder that only waits for more input does not hang: some have a lookahead of many frames, and input may be slow
//! or pause. It hangs if a call into it does not return, or if it has taken more input than it ever held before.

use super::timeline::Ns;
use std::time::Duration;

/// Maximum time counted between two polls. If polls are late, the process has been stopped, or the machine is so busy
/// that what is watched gets no processor either.
pub const MAX_STEP: Duration = Duration::from_millis(150);
/// Maximum lookahead of an encoder in buffers …
const LOOK_AHEAD: u64 = 64;
/// … and after its first output, beyond what it held then.
const MORE_THAN_BEFORE: u64 = 16;

/// Externally visible state of an encoder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EncoderView {
    /// Buffers pushed into it.
    pub inputs: u64,
    /// Buffers it has output.
    pub outputs: u64,
    /// Whether a thread is in it, with a buffer, EOS or a state change.
    pub inside: bool,
    /// Whether one of its threads is downstream, where it may wait for other tracks.
    pub downstream: bool,
    /// Duration of the input since its last output.
    pub swallowed: Ns,
    /// Number of input buffers since then.
    pub held: u64,
    /// The most buffers it held before an output, if there was one.
    pub most_held: Option<u64>,
    /// EOS has been pushed into it and not come out.
    pub draining: bool,
}

impl EncoderView {
    fn has_too_much(&self, patience: Duration) -> bool {
        let allowed = match self.most_held {
            Some(most) => most + MORE_THAN_BEFORE,
            None => LOOK_AHEAD,
        };
        let media = Duration::from_nanos(self.swallowed);
        self.held >= allowed && media >= patience
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Stall {
    last: Option<(Duration, EncoderView)>,
    /// How long a call has been blocked.
    stuck: Duration,
    /// How long there has been no output.
    silent: Duration,
}

impl Stall {
    /// Polls the encoder's state at time `now`; returns whether it has hung for `patience`.
    pub fn poll(&mut self, now: Duration, view: EncoderView, patience: Duration) -> bool {
        let Some((then, before)) = self.last.replace((now, view)) else {
            return false;
        };
        let step = now.saturating_sub(then).min(MAX_STEP);
        if view.downstream || view.outputs != before.outputs {
            self.stuck = Duration::ZERO;
            self.silent = Duration::ZERO;
            return false;
        }
        self.silent += step;
        let same_call = view.inputs == before.inputs && view.inside && before.inside;
        if same_call || view.draining && before.draining {
            self.stuck += step;
        } else {
            self.stuck = Duration::ZERO;
        }
        self.stuck >= patience || self.silent >= patience && view.has_too_much(patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(2);
    const FRAME: Ns = 33_000_000;
    const TICK: Duration = Duration::from_millis(100);

    /// Polls with each of these views, one tick apart; returns when the first hang is detected.
    fn hangs(views: impl IntoIterator<Item = EncoderView>) -> Option<Duration> {
        let mut stall = Stall::default();
        let mut looks = (0..).map(|n| TICK * n).zip(views);
        let found = looks.find(|(now, view)| stall.poll(*now, *view, PATIENCE));
        found.map(|(now, _)| now)
    }

    #[test]
    fn a_call_that_never_returns_is_abandoned() {
        let view = EncoderView {
            inputs: 7,
            outputs: 6,
            inside: true,
            held: 1,
            swallowed: FRAME,
            most_held: Some(1),
            ..EncoderView::default()
        };
        assert_eq!(hangs([view; 100]), Some(PATIENCE));
        let waits_for_others = EncoderView {
            downstream: true,
            ..view
        };
        assert_eq!(hangs([waits_for_others; 100]), None);
        // It takes one buffer after the other, in long calls.
        let slow = (0..100).map(|n| EncoderView {
            inputs: n / 15,
            ..view
        });
        assert_eq!(hangs(slow), None);
    }

    #[test]
    fn swallowed_input_is_a_stall() {
        // Three frames per tick.
        let swallows = |most_held| {
            (0..100).map(move |n| EncoderView {
                inputs: 100 + 3 * n,
                outputs: 90,
                held: 3 * n,
                swallowed: 3 * n * FRAME,
                most_held,
                ..EncoderView::default()
            })
        };
        let found = hangs(swallows(Some(2))).unwrap();
        assert!(
            (PATIENCE..PATIENCE + 3 * TICK).contains(&found),
            "{found:?}"
        );
        assert!(hangs(swallows(None)).is_some());
        assert!(hangs(swallows(Some(40))).unwrap() < 2 * PATIENCE);
    }

    #[test]
    fn lookahead_without_further_input_is_no_stall() {
        let waits = EncoderView {
            inputs: 50,
            held: 50,
            swallowed: 50 * FRAME,
            ..EncoderView::default()
        };
        assert_eq!(hangs([waits; 1_000]), None);
        let slideshow = (0..1_000).map(|n| EncoderView {
            inputs: n / 20,
            held: (n / 20).min(40),
            swallowed: (n / 20).min(40) * 2_000_000_000,
            ..EncoderView::default()
        });
        assert_eq!(hangs(slideshow), None);
    }

    #[test]
    fn a_drain_that_never_ends_times_out() {
        let view = EncoderView {
            draining: true,
            ..EncoderView::default()
        };
        assert_eq!(hangs([view; 100]), Some(PATIENCE));
        let drains = (0..100).map(|n| EncoderView {
            outputs: n / 10,
            ..view
        });
        assert_eq!(hangs(drains), None);
    }

    #[test]
    fn a_stopped_process_is_no_stall() {
        let view = EncoderView {
            inside: true,
            ..EncoderView::default()
        };
        let mut stall = Stall::default();
        assert!(!stall.poll(TICK, view, PATIENCE));
        assert!(!stall.poll(TICK + Duration::from_secs(3_600), view, PATIENCE));
    }

    #[test]
    fn a_busy_machine_is_no_stall() {
        let view = EncoderView {
            inside: true,
            ..EncoderView::default()
        };
        let mut stall = Stall::default();
        let mut found = (0..100).map(|n| 4 * TICK * n);
        let found = found.find(|now| stall.poll(*now, view, PATIENCE));
        assert!(found.unwrap() > 2 * PATIENCE, "{found:?}");
    }
}
