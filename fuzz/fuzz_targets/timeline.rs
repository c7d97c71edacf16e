//! Cuts at any instants, resolved or not: recorded time never runs backwards, and nothing panics.
#![no_main]

use arbitrary::Arbitrary;
use gstmediarecorder::model::{
    SampleGrid,
    timeline::{Placement, Timeline},
};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Step {
    Pause(u64),
    Resume(u64, bool),
    Stop(u64),
    Resolve(u64, bool),
    Defer(u64),
}

fuzz_target!(|input: (u64, bool, Vec<Step>, Vec<(u64, u64)>, u32)| {
    let (start, resolved, steps, media, rate) = input;
    let mut timeline = Timeline::new(start, resolved);
    for step in steps {
        match step {
            Step::Pause(at) => drop(timeline.pause(at)),
            Step::Resume(at, resolved) => drop(timeline.resume(at, resolved)),
            Step::Stop(at) => drop(timeline.stop(at)),
            Step::Resolve(at, then) => drop(timeline.resolve(at, then)),
            Step::Defer(at) => timeline.defer(at),
        }
    }
    let grid = SampleGrid::new(rate.max(1));
    for (running, duration) in media {
        match timeline.map(running, duration) {
            Placement::Keep {
                recorded,
                skip,
                duration: kept,
            } => {
                assert!(skip <= duration.max(1) && kept <= duration);
                assert_eq!(recorded, timeline.recorded_at(running + skip));
            }
            Placement::Drop | Placement::Pending => {}
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
