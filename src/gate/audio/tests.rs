//! Synthetic audio, in which sample `n` has the value `n + 1`, through synthetic timelines.

use super::super::Piece;
use super::*;
use crate::model::timeline::Timeline;
use gst_audio::AudioFormat;
use proptest::prelude::*;

const MS: Ns = 1_000_000;
const SECOND: Ns = 1_000_000_000;

fn caps(rate: u32) -> gst::Caps {
    gst::init().unwrap();
    let info = AudioInfo::builder(AudioFormat::S32le, rate, 1).build();
    info.unwrap().to_caps().unwrap()
}

/// Samples `first..first + samples`, the first of which is at `running`.
fn audio(first: u64, samples: u64, running: Ns) -> Input {
    let bytes: Vec<u8> = (first..first + samples)
        .flat_map(|n| (n as i32 + 1).to_le_bytes())
        .collect();
    Input {
        buffer: gst::Buffer::from_slice(bytes),
        running,
        duration: None,
    }
}

/// A gate, its timeline and its output.
struct Bench {
    gate: AudioGate,
    timeline: Timeline,
    cursor: IntervalCursor,
    grid: SampleGrid,
    output: Vec<i32>,
    caps: Vec<(usize, gst::Caps)>,
}

impl Bench {
    fn new(rate: u32, timeline: Timeline) -> Self {
        let mut bench = Bench {
            gate: AudioGate::new(&caps(rate)).unwrap(),
            timeline,
            cursor: IntervalCursor::default(),
            grid: SampleGrid::new(rate),
            output: Vec::new(),
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

    /// Checks that offsets are contiguous and match the timestamps.
    fn take(&mut self, out: GateOutput) {
        for piece in out {
            let buffer = match piece {
                Piece::Buffer(buffer) => buffer,
                Piece::Caps(caps) => {
                    let info = AudioInfo::from_caps(&caps).unwrap();
                    self.caps.push((self.output.len(), caps));
                    let grid = SampleGrid::new(info.rate());
                    let so_far = grid.nearest(self.grid.time(self.output.len() as u64));
                    self.output.resize(so_far as usize, i32::MIN);
                    self.grid = grid;
                    continue;
                }
                Piece::Turn(_) | Piece::Gap(_) => continue,
            };
            let at = self.output.len() as u64;
            let map = buffer.map_readable().unwrap();
            let samples = map
                .as_chunks::<4>()
                .0
                .iter()
                .map(|b| i32::from_le_bytes(*b));
            self.output.extend(samples);
            let end = self.output.len() as u64;
            assert_eq!((buffer.offset(), buffer.offset_end()), (at, end));
            let (from, to) = (self.grid.time(at), self.grid.time(end));
            assert_eq!(buffer.pts().unwrap().nseconds(), from);
            assert_eq!(buffer.duration().unwrap().nseconds(), to - from);
            assert!(!self.caps.is_empty(), "a buffer before its caps");
        }
    }

    /// The output as runs of consecutive samples or of silence: first sample and length.
    fn runs(&self) -> Vec<(i32, usize)> {
        let mut runs: Vec<(i32, usize)> = Vec::new();
        for sample in &self.output {
            match runs.last_mut() {
                Some((0, length)) if *sample == 0 => *length += 1,
                Some((first, length)) if *first > 0 && *sample == *first + *length as i32 => {
                    *length += 1;
                }
                _ => runs.push((*sample, 1)),
            }
        }
        runs
    }
}

#[test]
fn nothing_leaves_before_it_is_safe() {
    let mut bench = Bench::new(48_000, Timeline::new(0, true));
    bench.push(audio(0, 480, 0), 5 * MS);
    assert_eq!(bench.output.len(), 240);
    bench.cut(|t| {
        t.pause(5 * MS);
    });
    bench.push(audio(480, 480, 10 * MS), SECOND);
    assert_eq!(bench.runs(), [(1, 240)]);
}

/// With live buffers that arrive when they begin, only a fraction is safe at first, and cuts may fall close to a
/// buffer's edge: Matroska has the same whole-millisecond timestamp for such a fragment and for what follows.
#[test]
fn cuts_leave_no_tiny_buffers() {
    let mut bench = Bench::new(48_000, Timeline::new(0, true));
    let mut stamps = Vec::new();
    for n in 0..20 {
        let mut out = GateOutput::new();
        let from = 10 * MS * n;
        if n == 7 {
            // A fragment of this buffer, and one of the buffer three later.
            bench.cut(|t| {
                t.pause(from + MS / 10);
                t.resume(from + 39 * MS + 9 * MS / 10, true);
            });
        }
        bench.gate.push(audio(480 * n, 480, from));
        // Alternately early and late in the buffer.
        let after = if n % 2 == 0 { MS / 5 } else { 98 * MS / 10 };
        bench
            .gate
            .advance(&mut bench.cursor, from + after, &mut out);
        stamps.extend(out.into_iter().filter_map(|piece| match piece {
            Piece::Buffer(buffer) => buffer.pts(),
            _ => None,
        }));
    }
    let apart = |pair: &[gst::ClockTime]| (pair[1] - pair[0]).nseconds() >= MS;
    assert!(stamps.windows(2).all(apart), "{stamps:?}");
    assert!(stamps.len() >= 16, "{stamps:?}");
    let written = bench.gate.written - bench.gate.splinter.as_ref().map_or(0, |(_, n)| *n);
    let due = bench.grid.time(written);
    let end = stamps.last().unwrap().nseconds();
    assert!(end < due && due <= end + 10 * MS + MS, "{end} of {due}");
}

#[test]
fn a_missing_buffer_is_filled_with_silence_of_its_length() {
    let mut bench = Bench::new(48_000, Timeline::new(0, true));
    for n in [0, 1, 3, 4, 5] {
        bench.push(audio(n * 480, 480, n * 10 * MS), Ns::MAX);
    }
    assert_eq!(bench.runs(), [(1, 960), (0, 480), (1441, 1440)]);
    assert_eq!(bench.gate.filled(), 10 * MS);
}

#[test]
fn a_gap_across_the_last_cut_is_filled_up_to_the_cut() {
    let mut timeline = Timeline::new(0, true);
    timeline.stop(35 * MS);
    let mut bench = Bench::new(48_000, timeline);
    // The third and the fourth are lost; the next one is after the cut.
    for n in [0, 1, 4, 5] {
        bench.push(audio(n * 480, 480, n * 10 * MS), Ns::MAX);
    }
    bench.fill(35 * MS);
    assert_eq!(bench.runs(), [(1, 960), (0, 720)]);
}

#[test]
fn a_late_audio_track_begins_with_silence() {
    let mut bench = Bench::new(8_000, Timeline::new(SECOND, true));
    bench.push(audio(0, 80, 4 * SECOND), Ns::MAX);
    assert_eq!(bench.runs(), [(0, 24_000), (1, 80)]);
}

#[test]
fn an_audio_track_that_never_arrives_is_silent_to_the_end() {
    let mut timeline = Timeline::new(SECOND, true);
    timeline.pause(2 * SECOND);
    timeline.resume(5 * SECOND, true);
    timeline.stop(6 * SECOND);
    let mut bench = Bench::new(8_000, timeline);
    for until in (0..12).map(|n| n * 700 * MS) {
        bench.fill(until);
    }
    assert_eq!(bench.runs(), [(0, 16_000)]);
    assert_eq!(bench.gate.filled(), 2 * SECOND);
}

#[test]
fn late_media_that_was_filled_is_not_duplicated() {
    let mut bench = Bench::new(8_000, Timeline::new(0, true));
    bench.fill(SECOND);
    bench.push(audio(0, 8_000, 500 * MS), Ns::MAX);
    assert_eq!(bench.runs(), [(0, 8_000), (4_001, 4_000)]);
}

#[test]
fn queued_audio_is_kept_when_caps_change() {
    let mut bench = Bench::new(48_000, Timeline::new(0, true));
    bench.push(audio(0, 48_000, 0), 0);
    assert_eq!(bench.output.len(), 0);
    bench.gate.set_caps(&caps(8_000)).unwrap();
    bench.push(audio(0, 8_000, SECOND), 500 * MS);
    assert_eq!(bench.runs(), [(1, 24_000)]);
    bench.push(audio(8_000, 8_000, 2 * SECOND), 3 * SECOND);
    let (at, second) = bench.caps[1].clone();
    assert_eq!((at, second), (48_000, caps(8_000)));
    // The count continues at one second, in samples of the new rate.
    assert_eq!(bench.output.len(), 3 * 8_000);
    assert_eq!(&bench.output[8_000..8_003], [1, 2, 3]);
}

#[test]
fn planes_of_each_channel_are_cut_alike() {
    gst::init().unwrap();
    let info = AudioInfo::builder(AudioFormat::S32le, 8_000, 2)
        .layout(gst_audio::AudioLayout::NonInterleaved)
        .build()
        .unwrap();
    let mut gate = AudioGate::new(&info.to_caps().unwrap()).unwrap();
    let bytes: Vec<u8> = (0..160i32).flat_map(|n| n.to_le_bytes()).collect();
    let mut buffer = gst::Buffer::from_slice(bytes);
    gst_audio::AudioMeta::add(buffer.get_mut().unwrap(), &info, 80, &[]).unwrap();
    let mut timeline = Timeline::new(2 * MS, true);
    timeline.stop(5 * MS);
    let mut cursor = IntervalCursor::default();
    cursor.refresh(&timeline);
    gate.push(Input {
        buffer,
        running: 0,
        duration: None,
    });
    let mut out = GateOutput::new();
    gate.advance(&mut cursor, Ns::MAX, &mut out);
    gate.fill(&mut cursor, 10 * MS, &mut out);
    let buffers: Vec<_> = out
        .into_iter()
        .filter_map(|piece| match piece {
            Piece::Buffer(buffer) => Some(buffer),
            Piece::Caps(_) | Piece::Turn(_) | Piece::Gap(_) => None,
        })
        .collect();
    assert_eq!(buffers.len(), 1);
    let meta = buffers[0].meta::<gst_audio::AudioMeta>().unwrap();
    assert_eq!(meta.samples(), 24);
    let map = buffers[0].map_readable().unwrap();
    let first = |channel: usize| {
        let at = meta.offsets()[channel];
        i32::from_le_bytes(map[at..at + 4].try_into().unwrap())
    };
    assert_eq!((first(0), first(1)), (16, 96));
}

#[test]
fn planes_are_filled_and_unmappable_ones_skipped() {
    gst::init().unwrap();
    let info = AudioInfo::builder(AudioFormat::S16le, 8_000, 2)
        .layout(gst_audio::AudioLayout::NonInterleaved)
        .build()
        .unwrap();
    let other = AudioInfo::builder(AudioFormat::S16le, 8_000, 2)
        .build()
        .unwrap();
    let mut gate = AudioGate::new(&info.to_caps().unwrap()).unwrap();
    let mut cursor = IntervalCursor::default();
    cursor.refresh(&Timeline::new(0, true));
    let mut out = GateOutput::new();
    for (running, described) in [(0, None), (10 * MS, Some(&other)), (20 * MS, Some(&info))] {
        let mut buffer = gst::Buffer::from_slice(vec![1u8; 80 * 4]);
        if let Some(described) = described {
            gst_audio::AudioMeta::add(buffer.get_mut().unwrap(), described, 80, &[]).unwrap();
        }
        gate.push(Input {
            buffer,
            running,
            duration: None,
        });
        gate.advance(&mut cursor, Ns::MAX, &mut out);
    }
    gate.fill(&mut cursor, 40 * MS, &mut out);
    let lengths: Vec<(usize, bool)> = out
        .into_iter()
        .filter_map(|piece| match piece {
            Piece::Buffer(buffer) => {
                let meta = buffer.meta::<gst_audio::AudioMeta>().expect("a meta");
                assert_eq!(meta.info().layout(), info.layout());
                Some((meta.samples(), buffer.map_readable().unwrap()[0] == 1))
            }
            Piece::Caps(_) | Piece::Turn(_) | Piece::Gap(_) => None,
        })
        .collect();
    let of = |loud: bool| -> usize {
        let these = lengths.iter().filter(|(_, l)| *l == loud);
        these.map(|(samples, _)| samples).sum()
    };
    assert_eq!((of(true), of(false)), (80, 240), "{lengths:?}");
}

/// An event at a clock time.
#[derive(Debug, Clone, Copy)]
enum Happening {
    Cut,
    Mute,
    /// Samples `first..first + samples` arrive.
    Sound(u64, u64),
}

/// Increasing running times with these steps.
fn instants(start: Ns, steps: &[Ns]) -> Vec<Ns> {
    let mut at = start;
    let rising = steps.iter().map(|step| {
        at += step;
        at
    });
    rising.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// For any cuts, mute changes, buffer sizes and latencies: each grid position holds exactly its own sample, or
    /// silence where muted.
    #[test]
    fn every_kept_sample_is_on_the_grid(
        rate in prop::sample::select(vec![8_000u32, 44_100, 48_000]),
        cuts in prop::collection::vec(1u64..60 * MS, 0..20),
        mutes in prop::collection::vec(1u64..150 * MS, 0..8),
        sizes in prop::collection::vec(1u64..900, 1..20),
        latency in 0u64..100 * MS,
        origin in 0u64..10 * MS,
    ) {
        let grid = SampleGrid::new(rate);
        let start = 30 * MS;
        let mut happenings = Vec::new();
        let cuts = instants(start, &cuts);
        happenings.extend(cuts.iter().map(|at| (*at, Happening::Cut)));
        let mutes = instants(0, &mutes);
        happenings.extend(mutes.iter().map(|at| (*at, Happening::Mute)));
        let stop = cuts.last().copied().unwrap_or(start) + 20 * MS;
        let mut first = 0;
        for samples in sizes.iter().cycle() {
            let at = origin + grid.time(first);
            if at > stop {
                break;
            }
            let arrives = origin + grid.time(first + samples) + latency;
            happenings.push((arrives, Happening::Sound(first, *samples)));
            first += samples;
        }
        happenings.sort_by_key(|(at, _)| *at);

        let mut bench = Bench::new(rate, Timeline::new(start, true));
        let (mut recording, mut muted) = (true, false);
        for (now, happening) in happenings {
            match happening {
                Happening::Cut => {
                    bench.cut(|t| {
                        if recording {
t.pause(now)
} else {
t.resume(now, true)
};
                    });
                    recording = !recording;
                }
                Happening::Mute => {
                    muted = !muted;
                    bench.gate.mutes.set(now, muted);
                }
                Happening::Sound(first, samples) => {
                    let running = origin + grid.time(first);
                    if now >= stop && !bench.timeline.is_stopped() {
                        bench.cut(|t| {
                            t.stop(stop);
                        });
                    }
                    bench.push(audio(first, samples, running), now);
                }
            }
        }
        if !bench.timeline.is_stopped() {
            bench.cut(|t| {
                t.stop(stop);
            });
        }
        bench.fill(stop);

        let mut expected = Vec::new();
        for interval in bench.timeline.intervals() {
            let begin = grid.nearest(interval.recorded);
            let end = grid.nearest(interval.recorded_end().unwrap());
            let zero = grid.place(interval, origin);
            let mute_places: Vec<_> = mutes
                .iter()
                .map(|at| grid.nearest(interval.recorded_at(*at)))
                .collect();
            for place in begin..end {
                let muted = mute_places.iter().filter(|at| **at <= place).count() % 2 == 1;
                let source = i64::try_from(place).unwrap() - zero;
                expected.push(if muted || source < 0 { 0 } else { source as i32 + 1 });
            }
        }
        prop_assert_eq!(bench.output.len() as u64, grid.nearest(bench.timeline.duration()));
        for (place, (output, expected)) in bench.output.iter().zip(&expected).enumerate() {
            // The stop may be past the last buffer.
            prop_assert!(output == expected, "place {}: {} for {}", place, output, expected);
        }
    }

    /// A fifth of the buffers is missing, which only the timestamps show.
    #[test]
    fn audio_with_gaps_keeps_its_positions(
        kept in prop::collection::vec(prop::bool::weighted(0.8), 2..100),
        samples in 2u64..2_000,
        rate in prop::sample::select(vec![8_000u32, 44_100, 48_000, 192_000]),
    ) {
        let grid = SampleGrid::new(rate);
        let mut bench = Bench::new(rate, Timeline::new(0, true));
        for (n, _) in (0u64..).zip(&kept).filter(|(_, kept)| **kept) {
            bench.push(audio(n * samples, samples, grid.time(n * samples)), Ns::MAX);
        }
        let all = samples * kept.len() as u64;
        let end = grid.time(all) + 1;
        bench.cut(|t| {
            t.stop(end);
        });
        bench.fill(end);
        prop_assert_eq!(bench.output.len() as u64, all);
        for (n, output) in (0u64..).zip(&bench.output) {
            let present = kept[(n / samples) as usize];
            prop_assert_eq!(*output, if present { n as i32 + 1 } else { 0 }, "sample {}", n);
        }
    }

    /// No sample is output at or after the safe instant, for any input.
    #[test]
    fn nothing_beyond_the_safe_time_is_output(
        pushes in prop::collection::vec((1u64..3_000, 0u64..100 * MS), 1..40),
    ) {
        let grid = SampleGrid::new(48_000);
        let mut bench = Bench::new(48_000, Timeline::new(0, true));
        let (mut first, mut safe_until) = (0, 0);
        for (samples, step) in pushes {
            safe_until += step;
            bench.push(audio(first, samples, grid.time(first)), safe_until);
            first += samples;
            let (out, safe) = (bench.output.len() as u64, grid.nearest(safe_until).min(first));
            prop_assert!(out <= safe && safe < out + 96, "{} of {}", out, safe);
        }
    }
}
