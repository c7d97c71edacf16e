//! Cuts at any instants, decided or not: recorded time never runs backwards, and nothing panics.
#![no_main]

use arbitrary::Arbitrary;
use gstmediarecorder::model::timeline::{Grid, Mapped, Timeline};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Step {
    Pause(u64),
    Resume(u64, bool),
    Stop(u64),
    Decide(u64, bool),
    Postpone(u64),
}

fuzz_target!(|input: (u64, bool, Vec<Step>, Vec<(u64, u64)>, u32)| {
    let (start, decided, steps, media, rate) = input;
    let mut timeline = Timeline::new(start, decided);
    for step in steps {
        match step {
            Step::Pause(at) => drop(timeline.pause(at)),
            Step::Resume(at, decided) => drop(timeline.resume(at, decided)),
            Step::Stop(at) => drop(timeline.stop(at)),
            Step::Decide(at, then) => drop(timeline.decide(at, then)),
            Step::Postpone(at) => timeline.postpone(at),
        }
    }
    let grid = Grid::new(rate.max(1));
    for (running, duration) in media {
        match timeline.map(running, duration) {
            Mapped::Keep {
                recorded,
                skip,
                duration: kept,
            } => {
                assert!(skip <= duration.max(1) && kept <= duration);
                assert_eq!(recorded, timeline.recorded_at(running + skip));
            }
            Mapped::Drop | Mapped::Undecided => {}
        }
        let _ = timeline.running_at(running);
        let sample = grid.nearest(running);
        let _ = (grid.before(running), grid.time(sample));
        for interval in timeline.intervals() {
            let _ = grid.place(interval, running);
        }
    }
    let _ = timeline.duration();
});
