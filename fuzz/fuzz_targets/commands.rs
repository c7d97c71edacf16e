//! Any sequence of actions, against the state that W3C and MDN say they lead to.
#![no_main]

use arbitrary::Arbitrary;
use gstmediarecorder::model::{Command, Effect, State, timeline::Timeline};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug, Clone, Copy)]
enum Does {
    Start,
    Pause,
    Resume,
    Stop,
    RequestData,
}

fuzz_target!(|does: Vec<(Does, u32)>| {
    let mut state = State::Inactive;
    // As one that is over: inactive.
    let mut timeline = Timeline::new(0, true);
    timeline.stop(0);
    let mut now = 0u64;
    for (does, later) in does {
        now += u64::from(later);
        let command = match does {
            Does::Start => Command::Start,
            Does::Pause => Command::Pause,
            Does::Resume => Command::Resume,
            Does::Stop => Command::Stop,
            Does::RequestData => Command::RequestData,
        };
        let allowed = match command {
            Command::Start => state == State::Inactive,
            _ => state != State::Inactive,
        };
        match state.apply(command) {
            Err(_) => assert!(!allowed, "{command:?} in {state:?} refused"),
            Ok(effect) => {
                assert!(allowed, "{command:?} in {state:?}: {effect:?}");
                if let Effect::To(next) = effect {
                    assert_ne!(next, state);
                    match (state, next) {
                        (State::Inactive, _) => timeline = Timeline::new(now, true),
                        (State::Paused, State::Recording) => drop(timeline.resume(now, true)),
                        (_, State::Paused) => drop(timeline.pause(now)),
                        _ => drop(timeline.stop(now)),
                    }
                    state = next;
                }
            }
        }
        // What is recorded is never more than what has passed, and cuts come in order.
        let intervals = timeline.intervals();
        for pair in intervals.windows(2) {
            assert!(pair[0].end.is_some_and(|end| end <= pair[1].start));
            assert_eq!(pair[0].recorded_end(), Some(pair[1].recorded));
        }
        if let Some(first) = intervals.first() {
            assert!(timeline.recorded_at(now) <= now - first.start);
        }
        assert_eq!(
            timeline.is_stopped() || intervals.is_empty(),
            state == State::Inactive
        );
    }
});
