//! Synthetic frames, each of uniform brightness, through synthetic timelines.

use super::super::Piece;
use super::*;
use crate::model::timeline::Timeline;
use gst_video::VideoFormat;
use proptest::prelude::*;

const MS: Ns = 1_000_000;
const SECOND: Ns = 1_000_000_000;
/// Minimum brightness of a frame; black is darker.
const BRIGHT: u8 = 40;

fn caps(width: u32) -> gst::Caps {
    gst::init().unwrap();
    let info = VideoInfo::builder(VideoFormat::I420, width, 16).build();
    info.unwrap().to_caps().unwrap()
}

fn frame(number: u8, running: Ns) -> Input {
    Input {
        buffer: gst::Buffer::from_slice(vec![BRIGHT + number; 16 * 16 * 3 / 2]),
        running,
        duration: None,
    }
}

/// A gate, its timeline and its output.
struct Bench {
    gate: VideoGate,
    timeline: Timeline,
    cursor: IntervalCursor,
    /// Number of the frame (`None` is black), start, end.
    seen: Vec<(Option<u8>, Ns, Ns)>,
    caps: Vec<(usize, gst::Caps)>,
}

impl Bench {
    fn new(timeline: Timeline) -> Self {
        let mut bench = Bench {
            gate: VideoGate::new(&caps(16)).unwrap(),
            timeline,
            cursor: IntervalCursor::default(),
            seen: Vec::new(),
            caps: Vec::new(),
        };
        bench.cursor.refresh(&bench.timeline);
        bench
    }

    fn cut(&mut self, change: impl FnOnce(&mut Timeline)) {
        change(&mut self.timeline);
        self.cursor.refresh(&self.timeline);
    }

    fn push(&mut self, input: Input, safe_until: Ns) {
        let mut out = GateOutput::new();
        self.gate.push(input);
        self.gate.advance(&mut self.cursor, safe_until, &mut out);
        self.take(out);
    }

    fn fill(&mut self, until: Ns) {
        let mut out = GateOutput::new();
        self.gate.fill(&mut self.cursor, until, &mut out);
        self.take(out);
    }

    /// Stops, and returns the output with repeated frames merged.
    fn stop(&mut self, at: Ns) -> Vec<(Option<u8>, Ns, Ns)> {
        self.cut(|t| {
            t.stop(at);
        });
        self.fill(at);
        let mut out = GateOutput::new();
        self.gate.finish(self.timeline.duration(), &mut out);
        self.take(out);
        let mut joined: Vec<(Option<u8>, Ns, Ns)> = Vec::new();
        for (number, from, to) in &self.seen {
            match joined.last_mut() {
                Some(last) if last.0 == *number => last.2 = *to,
                _ => joined.push((*number, *from, *to)),
            }
        }
        joined
    }

    /// Checks that frames are contiguous.
    fn take(&mut self, out: GateOutput) {
        for piece in out {
            let buffer = match piece {
                Piece::Buffer(buffer) => buffer,
                Piece::Caps(caps) => {
                    self.caps.push((self.seen.len(), caps));
                    continue;
                }
                Piece::Turn(_) | Piece::Gap(_) => continue,
            };
            let from = buffer.pts().unwrap().nseconds();
            let to = from + buffer.duration().unwrap().nseconds();
            let due = self.seen.last().map_or(0, |last| last.2);
            assert_eq!(from, due, "{:?}", self.seen);
            assert!(to > from);
            let brightness = buffer.map_readable().unwrap()[0];
            self.seen.push((brightness.checked_sub(BRIGHT), from, to));
            assert!(!self.caps.is_empty(), "a frame before its caps");
        }
    }
}

#[test]
fn a_frame_lasts_until_the_next_one_and_is_shortened_to_a_cut() {
    let mut bench = Bench::new(Timeline::new(15 * MS, true));
    for n in 0..6u8 {
        bench.push(frame(n, u64::from(n) * 40 * MS), Ns::MAX);
    }
    // The first frame is current at the start, the fifth at the stop.
    let seen = bench.stop(170 * MS);
    let expected = [
        (Some(0), 0, 25 * MS),
        (Some(1), 25 * MS, 65 * MS),
        (Some(2), 65 * MS, 105 * MS),
        (Some(3), 105 * MS, 145 * MS),
        (Some(4), 145 * MS, 155 * MS),
    ];
    assert_eq!(seen[..4], expected[..4]);
}

#[test]
fn a_late_video_track_begins_black() {
    let mut bench = Bench::new(Timeline::new(0, true));
    bench.push(frame(1, 5 * SECOND), Ns::MAX);
    let seen = bench.stop(6 * SECOND);
    assert_eq!(
        seen,
        [(None, 0, 5 * SECOND), (Some(1), 5 * SECOND, 6 * SECOND)]
    );
}

#[test]
fn the_first_frame_is_extended_back_to_the_start() {
    let mut bench = Bench::new(Timeline::new(0, true));
    bench.push(frame(1, 33 * MS), Ns::MAX);
    assert_eq!(bench.stop(SECOND), [(Some(1), 0, SECOND)]);
}

#[test]
fn a_video_track_that_never_arrives_is_black_to_the_end() {
    let mut bench = Bench::new(Timeline::new(0, true));
    for until in 1..9 {
        bench.fill(until * 300 * MS);
    }
    assert_eq!(bench.stop(3 * SECOND), [(None, 0, 3 * SECOND)]);
    assert!(bench.seen.len() > 5, "the others do not wait");
}

#[test]
fn a_track_that_stalls_repeats_its_last_frame() {
    let mut bench = Bench::new(Timeline::new(0, true));
    bench.push(frame(1, 0), 0);
    bench.push(frame(2, 40 * MS), 80 * MS);
    for until in 1..9 {
        bench.fill(until * 300 * MS);
    }
    let seen = bench.stop(3 * SECOND);
    assert_eq!(
        seen,
        [(Some(1), 0, 40 * MS), (Some(2), 40 * MS, 3 * SECOND)]
    );
    assert!(bench.gate.filled() > 2 * SECOND);
}

#[test]
fn video_is_black_exactly_while_muted() {
    let mut bench = Bench::new(Timeline::new(0, true));
    bench.gate.mutes.set(50 * MS, true);
    bench.gate.mutes.set(130 * MS, false);
    for n in 0..5u8 {
        bench.push(frame(n, u64::from(n) * 40 * MS), Ns::MAX);
    }
    let seen = bench.stop(200 * MS);
    let expected = [
        (Some(0), 0, 40 * MS),
        (Some(1), 40 * MS, 50 * MS),
        (None, 50 * MS, 130 * MS),
        (Some(3), 130 * MS, 160 * MS),
        (Some(4), 160 * MS, 200 * MS),
    ];
    assert_eq!(seen, expected);
}

/// Slow video, such as that of a screen.
#[test]
fn an_interval_without_a_frame_of_its_own_is_muted_as_it_was_then() {
    for muted in [true, false] {
        let mut timeline = Timeline::new(0, true);
        timeline.pause(600 * MS);
        timeline.resume(1_300 * MS, true);
        timeline.pause(1_700 * MS);
        let mut bench = Bench::new(timeline);
        bench.gate.mutes.set(1_200 * MS, muted);
        bench.gate.mutes.set(1_800 * MS, !muted);
        bench.push(frame(1, 0), Ns::MAX);
        bench.push(frame(2, 2_000 * MS), Ns::MAX);
        let seen = bench.stop(2_100 * MS);
        let expected = if muted {
            vec![(Some(1), 0, 600 * MS), (None, 600 * MS, SECOND)]
        } else {
            vec![(Some(1), 0, SECOND)]
        };
        assert_eq!(seen, expected);
    }
}

#[test]
fn a_late_frame_from_before_the_mute_is_not_muted() {
    let mut bench = Bench::new(Timeline::new(0, true));
    bench.push(frame(1, 0), 100 * MS);
    bench.gate.mutes.set(100 * MS, true);
    bench.push(frame(2, 40 * MS), 140 * MS);
    bench.push(frame(3, 80 * MS), 180 * MS);
    bench.push(frame(4, 120 * MS), 220 * MS);
    let seen = bench.stop(300 * MS);
    assert_eq!(seen[2], (Some(3), 80 * MS, 100 * MS));
    assert_eq!(seen[3], (None, 100 * MS, 300 * MS));
}

#[test]
fn each_frame_has_its_own_caps_and_is_not_lost_when_they_change() {
    let mut bench = Bench::new(Timeline::new(0, true));
    bench.push(frame(1, 0), 0);
    bench.push(frame(2, 40 * MS), 0);
    bench.gate.set_caps(&caps(8)).unwrap();
    bench.push(frame(3, 80 * MS), 0);
    bench.fill(120 * MS);
    let seen = bench.stop(120 * MS);
    assert_eq!(seen.len(), 3);
    assert_eq!(bench.caps, [(0, caps(16)), (2, caps(8))]);
}

#[test]
fn a_frame_that_arrives_too_late_is_dropped() {
    let mut bench = Bench::new(Timeline::new(0, true));
    for (number, at) in [(1, 0), (2, 80), (3, 40), (4, 120)] {
        bench.push(frame(number, at * MS), Ns::MAX);
    }
    let seen = bench.stop(160 * MS);
    let numbers: Vec<_> = seen.iter().map(|s| s.0).collect();
    assert_eq!(numbers, [Some(1), Some(2), Some(4)]);
    assert_eq!(bench.gate.dropped(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// For any cuts, frame times and latencies: at each recorded time, the current frame is the one that was current
    /// when it was captured.
    #[test]
    fn at_every_instant_the_right_frame_is_on_show(
        steps in prop::collection::vec(2 * MS..60 * MS, 1..60),
        cuts in prop::collection::vec(2 * MS..200 * MS, 0..12),
        latency in 0u64..100 * MS,
        probes in prop::collection::vec(any::<prop::sample::Index>(), 30),
    ) {
        let start = 10 * MS;
        let mut frames = vec![0];
        for step in steps {
            frames.push(frames.last().unwrap() + step);
        }
        let mut happenings: Vec<(Ns, Option<usize>)> = Vec::new();
        let mut at = start;
        for step in cuts {
            at += step;
            happenings.push((at, None));
        }
        let stop = at + 50 * MS;
        happenings.extend(frames.iter().enumerate().map(|(n, at)| (at + latency, Some(n))));
        happenings.sort();
        let mut bench = Bench::new(Timeline::new(start, true));
        let mut recording = true;
        for (now, happening) in happenings {
            match happening {
                _ if now >= stop => break,
                None => {
                    bench.cut(|t| {
                        if recording {
t.pause(now)
} else {
t.resume(now, true)
};
                    });
                    recording = !recording;
                }
                Some(n) => bench.push(frame((n % 200) as u8, frames[n]), now),
            }
        }
        bench.stop(stop);
        let arrived: Vec<_> = frames.iter().filter(|at| **at + latency < stop).collect();
        let duration = bench.timeline.duration();
        prop_assert_eq!(bench.seen.last().map_or(0, |last| last.2), duration);
        prop_assume!(duration > 0 && !arrived.is_empty());
        for probe in probes {
            let recorded = probe.index(usize::try_from(duration).unwrap()) as u64;
            let shown = bench.seen.iter().find(|s| recorded < s.2).unwrap();
            // A frame shorter than a millisecond is dropped.
            let due = |recorded: Ns| {
                let interval = bench.timeline.intervals().iter()
                    .rfind(|i| i.recorded <= recorded && i.end.unwrap() > i.start).unwrap();
                let running = interval.start + (recorded - interval.recorded);
                let before = arrived.partition_point(|at| **at <= running);
                Some((before.saturating_sub(1) % 200) as u8)
            };
            let (now, soon) = (due(recorded), due(recorded + SHORTEST));
            // A cut in between adds another candidate.
            let cuts = bench.timeline.intervals().iter().map(|i| i.recorded);
            let mut cuts = cuts.filter(|cut| (recorded..=recorded + SHORTEST).contains(cut));
            let at_a_cut = |cut: Ns| [cut.saturating_sub(1), cut].iter().any(|at| shown.0 == due(*at));
            let fits = shown.0 == now || shown.0 == soon || cuts.any(at_a_cut);
            prop_assert!(fits, "{} shows {:?} for {:?}", recorded, shown, now);
        }
    }
}
