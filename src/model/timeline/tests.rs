//! Cuts in any order, with media of any size.

use super::*;
use crate::model::SampleGrid;
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
fn a_pause_after_the_maximum_duration_is_cut_there() {
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
fn a_recording_is_paused_if_no_interval_is_open_or_pending() {
    let mut timeline = Timeline::new(1, false);
    timeline.pause(5);
    assert!(!timeline.is_paused(), "its start is not known yet");
    timeline.resolve(1, true);
    assert!(timeline.is_paused());
    timeline.resume(7, true);
    assert!(!timeline.is_paused());
}

#[test]
fn nothing_is_recorded_before_the_start_is_resolved() {
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
fn nothing_is_resumed_after_a_stop() {
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
fn pauses_are_removed_from_recorded_time() {
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
fn a_buffer_is_clipped_to_its_interval() {
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
fn an_unresolved_start_holds_later_cuts_too() {
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
fn a_start_unresolved_at_the_end_records_nothing() {
    let mut timeline = Timeline::new(100, false);
    timeline.pause(200);
    timeline.resume(300, false);
    assert_eq!(timeline.resolve(250, false), Some(200));
    assert_eq!(timeline.pending(), Some((1, 300)));
    assert_eq!(timeline.resolve(310, true), Some(310));
    assert_eq!(timeline.recorded_at(320), 10);
}

proptest! {
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
    fn the_size_of_buffers_does_not_change_what_is_kept(
        steps in prop::collection::vec(1u64..3_000_000, 1..40),
        size in 1u64..2_000_000,
    ) {
        let mut timeline = cut(&steps);
        let end = timeline.stop(6_000_000_000);
        // Walk the source in pieces: what is kept must be exactly the recorded time.
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
    fn no_cut_moves_a_sample_by_more_than_half_a_sample(
        steps in prop::collection::vec(0u64..2_000_000_000, 1..400),
        rate in prop::sample::select(vec![8_000u32, 44_100, 48_000, 96_000, 192_000]),
        at in 0u64..1_000_000_000,
    ) {
        let timeline = cut(&steps);
        let grid = SampleGrid::new(rate);
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
