//! Cuts are exact: the recorded media is identified instant by instant.

mod common;

use common::app::{App, DEADLINE, SMALL, STEREO, holds_within, script, temp_location};
use common::judge::kept::Kept;
use common::judge::{decode, samples, sync, whole};
use common::signal::feed::{Feed, Upstream};
use common::signal::{AudioSignal, counted, frame, noise, sample_time, tag};
use gst::prelude::*;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const SECOND: u64 = 1_000_000_000;
const MILLI: u64 = 1_000_000;
/// One frame of the video here, 30 per second.
const FRAME: u64 = SECOND / 30;
/// Time between source and recorder in the tests under a test clock.
const LATENCY: u64 = 200 * MILLI;

/// Pseudo-random, the same in every run.
struct Dice(u64);

impl Dice {
    /// One of `from..to`.
    fn roll(&mut self, from: u64, to: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        from + (self.0 >> 33) % (to - from)
    }
}

/// Verifies a recording of numbered samples, and prints how exact it is.
fn judge_wav(path: &Path, kept: &Kept, clock: &tag::SampleClock) -> samples::Exactness {
    let exactness = whole::wav(path, kept, clock).unwrap();
    println!("{} intervals: {exactness:?}", kept.intervals.len());
    exactness
}

/// Verifies a recording of noise and tagged frames, and prints how exact it is.
fn judge_webm(path: &Path, kept: &Kept, sources: &[u64], left_out: usize) {
    let found = whole::webm(path, kept, sources, left_out).unwrap();
    println!("{} intervals: {found:?}", kept.intervals.len());
}

// Live, under the system clock.

/// Starts, pauses and resumes `pauses` times and stops, with random intervals from `length`, and verifies that the
/// reported cuts are the calls.
fn drive_live(app: &App, pauses: usize, length: (u64, u64), gap: (u64, u64)) -> Kept {
    let mut dice = Dice(pauses as u64);
    let mut called = vec![("start", app.act("start"))];
    let rest = |dice: &mut Dice, (from, to): (u64, u64)| {
        app.wait_running_time(app.running_time() + dice.roll(from, to));
    };
    for _ in 0..pauses {
        rest(&mut dice, length);
        called.push(("pause", app.act("pause")));
        rest(&mut dice, gap);
        called.push(("resume", app.act("resume")));
    }
    rest(&mut dice, length);
    called.push(("stop", app.act("stop")));
    app.wait_for("stop", 1);

    let cuts = app.cuts();
    let names: Vec<_> = cuts.iter().map(|(name, _)| name.as_str()).collect();
    let expected: Vec<_> = called.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, expected);
    for ((name, cut), (_, (before, after))) in cuts.iter().zip(&called) {
        // The time between before and after is spent in the calling thread.
        assert!(
            cut + MILLI >= *before && *cut <= after + MILLI,
            "{name} at {cut}, called between {before} and {after}"
        );
    }
    app.kept()
}

fn live_wav(pauses: usize, length: (u64, u64), gap: (u64, u64)) {
    let (_directory, path) = temp_location("live.wav");
    let app = App::new("audio/wav", &path);
    let source = app.source(&format!(
        "audiotestsrc is-live=true samplesperbuffer=480 ! {STEREO}"
    ));
    let clock = tag::audio(&source, AudioSignal::Counted, 48000);
    source.link(&app.pad("audio_%u")).unwrap();
    app.set_state(gst::State::Playing);
    assert!(holds_within(DEADLINE, || clock.has_started()));
    let kept = drive_live(&app, pauses, length, gap);
    assert!(!app.has_eos(), "a stop is not the end of the pipeline");
    app.set_state(gst::State::Null);
    judge_wav(&path, &kept, &clock);
}

#[test]
fn wav_live_3_pauses() {
    live_wav(3, (100 * MILLI, 400 * MILLI), (50 * MILLI, 300 * MILLI));
}

#[test]
fn wav_live_200_pauses() {
    live_wav(200, (5 * MILLI, 25 * MILLI), (2 * MILLI, 20 * MILLI));
}

fn live_webm(pauses: usize, length: (u64, u64), gap: (u64, u64)) {
    let (_directory, path) = temp_location("live.webm");
    let app = App::new("video/webm;codecs=\"vp8,opus\"", &path);
    let (_clock, log) = app.live();
    let kept = drive_live(&app, pauses, length, gap);
    app.set_state(gst::State::Null);
    let log = log.lock().unwrap();
    judge_webm(&path, &kept, &log, log.len() / 10);
}

#[test]
fn webm_live_3_pauses() {
    live_webm(3, (500 * MILLI, 1000 * MILLI), (100 * MILLI, 500 * MILLI));
}

#[test]
fn webm_live_60_pauses() {
    live_webm(60, (80 * MILLI, 150 * MILLI), (20 * MILLI, 100 * MILLI));
}

// Not live, as fast as possible.

/// Start, `pauses` pauses and stop, each a random number of buffers after the previous one; and the number of
/// buffers to make.
fn roll_steps(pauses: usize, (least, most): (u64, u64)) -> (Vec<(usize, &'static str)>, usize) {
    let mut dice = Dice(pauses as u64 + 7);
    let mut at = 3;
    let mut steps = vec![(at, "start")];
    for _ in 0..pauses {
        for action in ["pause", "resume"] {
            at += dice.roll(least, most) as usize;
            steps.push((at, action));
        }
    }
    at += dice.roll(least, most) as usize;
    steps.push((at, "stop"));
    (steps, at + 20)
}

fn fast_wav(pauses: usize, format: &str, rate: u32, samples: u32) {
    let (_directory, path) = temp_location("fast.wav");
    let app = App::new("audio/wav", &path);
    let (steps, buffers) = roll_steps(pauses, (1, 6));
    let source = app.source(&format!(
        "audiotestsrc num-buffers={buffers} samplesperbuffer={samples} ! \
         audio/x-raw,format={format},rate={rate},layout=interleaved"
    ));
    let clock = tag::audio(&source, AudioSignal::Counted, rate);
    let done = script(&source, &app.recorder, steps);
    source.link(&app.pad("audio_%u")).unwrap();
    app.set_state(gst::State::Playing);
    app.wait_for("stop", 1);
    app.wait_eos();
    app.set_state(gst::State::Null);
    // One track: the largest running time that has arrived is exactly where the next buffer starts.
    let expected: Vec<_> = done
        .lock()
        .unwrap()
        .iter()
        .map(|(action, pts)| (action.to_string(), *pts))
        .collect();
    assert_eq!(app.cuts(), expected);
    let exactness = judge_wav(&path, &app.kept(), &clock);
    if (SECOND * u64::from(samples)).is_multiple_of(u64::from(rate)) {
        // Cuts are on sample boundaries: then there must be no deviation.
        assert!(exactness.worst_place.abs() < 0.001, "{exactness:?}");
        assert!(exactness.worst_intrusion < 0.001, "{exactness:?}");
    }
}

#[test]
fn wav_as_fast_as_possible_3_pauses() {
    fast_wav(3, "S16LE,channels=2", 48000, 480);
}

#[test]
fn wav_as_fast_as_possible_200_pauses() {
    fast_wav(200, "S16LE,channels=2", 48000, 480);
}

#[test]
fn wav_as_fast_as_possible_200_pauses_between_samples() {
    // 331 samples at 44100 Hz are not an integer number of nanoseconds.
    fast_wav(200, "S16LE,channels=2", 44100, 331);
}

/// Lets `pad` run at most 20 ms ahead of `other` until that has ended, so that the cuts, which are at the largest
/// running time that has arrived on either, are where the calls are to within about a frame.
fn hold_beside(pad: &gst::Pad, other: &gst::Pad) {
    let reached = Arc::new(AtomicU64::new(0));
    let seen = reached.clone();
    let mask = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    other.add_probe(mask, move |_, probe| {
        if let Some(pts) = probe.buffer().and_then(|b| b.pts()) {
            seen.store(pts.nseconds(), Ordering::Relaxed);
        } else if probe
            .event()
            .is_some_and(|e| e.type_() == gst::EventType::Eos)
        {
            seen.store(u64::MAX, Ordering::Relaxed);
        }
        gst::PadProbeReturn::Ok
    });
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, probe| {
        let pts = probe.buffer().and_then(|b| b.pts()).unwrap().nseconds();
        let due = pts.saturating_sub(20 * MILLI);
        holds_within(DEADLINE, || reached.load(Ordering::Relaxed) >= due);
        gst::PadProbeReturn::Ok
    });
}

#[test]
fn wav_of_32_bits_as_fast_as_possible_40_pauses_between_samples() {
    fast_wav(40, "S32LE,channels=1", 44100, 331);
}

fn fast_webm(pauses: usize, buffers: (u64, u64)) {
    let (_directory, path) = temp_location("fast.webm");
    let app = App::new("video/webm;codecs=\"vp8,opus\"", &path);
    let (steps, buffers) = roll_steps(pauses, buffers);
    let frames = buffers / 3 + 2;
    let audio = app.source(&format!(
        "audiotestsrc num-buffers={buffers} samplesperbuffer=480 ! {STEREO}"
    ));
    tag::audio(&audio, AudioSignal::Noise, 48000);
    let video = app.source(&format!("videotestsrc num-buffers={frames} ! {SMALL}"));
    let log = tag::video(&video);
    hold_beside(&video, &audio);
    script(&audio, &app.recorder, steps);
    audio.link(&app.pad("audio_%u")).unwrap();
    video.link(&app.pad("video_%u")).unwrap();
    app.set_state(gst::State::Playing);
    app.wait_for("stop", 1);
    app.wait_eos();
    app.set_state(gst::State::Null);
    // A non-live source is blocked, and nothing is lost.
    judge_webm(&path, &app.kept(), &log.lock().unwrap(), 0);
}

#[test]
fn webm_as_fast_as_possible_3_pauses() {
    fast_webm(3, (30, 80));
}

#[test]
fn webm_as_fast_as_possible_60_pauses() {
    fast_webm(60, (12, 18));
}

// Under a test clock, with latency between source and recorder.

/// An event at an instant of the test clock.
#[derive(Clone, Copy, Debug)]
enum Happening {
    /// Samples `first..first + count` arrive.
    Samples(u64, u64),
    /// The frame with this time arrives.
    Picture(u64),
    Call(&'static str),
}

/// Everything that arrives until `end`, `LATENCY` after its capture, and the calls, in order.
fn happenings(calls: &[(u64, &'static str)], end: u64, frames: bool) -> Vec<(u64, Happening)> {
    let mut list: Vec<_> = calls
        .iter()
        .map(|(at, action)| (*at, Happening::Call(action)))
        .collect();
    let mut first = 0;
    for count in [480, 7, 1024, 441, 960, 1].into_iter().cycle() {
        let captured = sample_time(first + count, 48000);
        if captured > end {
            break;
        }
        list.push((captured + LATENCY, Happening::Samples(first, count)));
        first += count;
    }
    if frames {
        list.extend(frame_times(end).map(|at| (at + FRAME + LATENCY, Happening::Picture(at))));
    }
    list.sort_by_key(|(at, _)| *at);
    list
}

fn frame_times(end: u64) -> impl Iterator<Item = u64> {
    (0..).map(|n| n * SECOND / 30).take_while(move |t| *t < end)
}

/// Records under a test clock; the calls have to be the cuts, exactly.
fn under_test_clock(
    path: &Path,
    mime: &str,
    audio: AudioSignal,
    video: bool,
    calls: &[(u64, &'static str)],
) -> Kept {
    let app = App::new(mime, path);
    // Time passes as fast as the machine permits: no encoder has to keep up with it.
    app.recorder.set_property("max-queue-time", 3600 * SECOND);
    let clock = gst_check::TestClock::new();
    app.pipeline.use_clock(Some(&clock));
    let live = Upstream::Live(gst::ClockTime::from_nseconds(LATENCY));
    let audio_info = gst_audio::AudioInfo::builder(gst_audio::AudioFormat::S16le, 48000, 2)
        .build()
        .unwrap();
    let video_info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, 320, 240)
        .fps(gst::Fraction::new(30, 1))
        .build()
        .unwrap();
    let samples = Feed::new(&app.pad("audio_%u"), &audio_info.to_caps().unwrap(), live);
    let frames =
        video.then(|| Feed::new(&app.pad("video_%u"), &video_info.to_caps().unwrap(), live));
    app.set_state(gst::State::Playing);
    let end = calls.last().unwrap().0 + SECOND / 10;
    for (at, happening) in happenings(calls, end, video) {
        clock.set_time(gst::ClockTime::from_nseconds(at));
        match (happening, &frames) {
            (Happening::Samples(first, count), _) => {
                let buffer = match audio {
                    AudioSignal::Counted => counted::buffer(&audio_info, first, count),
                    AudioSignal::Noise => noise::buffer(&audio_info, first, count),
                };
                samples.push(buffer).unwrap();
            }
            (Happening::Picture(time), Some(frames)) => {
                let buffer = frame::buffer(&video_info, time, FRAME);
                frames.push(buffer).unwrap();
            }
            (Happening::Picture(_), None) => unreachable!("no frames are made"),
            (Happening::Call(action), _) => {
                app.act(action);
            }
        }
    }
    app.wait_for("stop", 1);
    app.set_state(gst::State::Null);
    let expected: Vec<_> = calls
        .iter()
        .map(|(at, action)| (action.to_string(), *at))
        .collect();
    assert_eq!(app.cuts(), expected, "cuts are the calls");
    assert_eq!(app.warnings(), Vec::<String>::new());
    app.kept()
}

/// Calls at multiples of `unit` nanoseconds: from half a second on, `pauses` pauses, with random intervals and
/// gaps from `lengths` in milliseconds.
fn roll_calls(pauses: usize, unit: u64, lengths: (u64, u64)) -> Vec<(u64, &'static str)> {
    let mut dice = Dice(pauses as u64 + unit);
    let mut at = 500 * MILLI;
    let mut calls = vec![(at / unit * unit, "start")];
    let mut next = |action| {
        at += dice.roll(lengths.0 * MILLI, lengths.1 * MILLI);
        (at / unit * unit, action)
    };
    for _ in 0..pauses {
        calls.push(next("pause"));
        calls.push(next("resume"));
    }
    calls.push(next("stop"));
    calls
}

fn test_clock_wav(pauses: usize, unit: u64, lengths: (u64, u64)) {
    let (_directory, path) = temp_location("latency.wav");
    let calls = roll_calls(pauses, unit, lengths);
    let kept = under_test_clock(&path, "audio/wav", AudioSignal::Counted, false, &calls);
    let exactness = judge_wav(&path, &kept, &tag::SampleClock::from_zero(48000));
    if unit.is_multiple_of(MILLI) {
        assert!(exactness.worst_place.abs() < 0.001, "{exactness:?}");
        assert!(exactness.worst_intrusion < 0.001, "{exactness:?}");
    }
}

#[test]
fn wav_with_latency_3_pauses_on_samples() {
    test_clock_wav(3, MILLI, (50, 700));
}

#[test]
fn wav_with_latency_3_pauses_anywhere() {
    test_clock_wav(3, 1, (50, 700));
}

#[test]
fn wav_with_latency_200_pauses_on_samples() {
    test_clock_wav(200, MILLI, (1, 60));
}

#[test]
fn wav_with_latency_200_pauses_anywhere() {
    test_clock_wav(200, 1, (1, 60));
}

#[test]
fn wav_paused_and_resumed_at_the_same_instant_has_no_gap() {
    let (_directory, path) = temp_location("nothing.wav");
    let calls = [
        (500 * MILLI, "start"),
        (700 * MILLI, "pause"),
        (700 * MILLI, "resume"),
        (900 * MILLI, "stop"),
    ];
    under_test_clock(&path, "audio/wav", AudioSignal::Counted, false, &calls);
    let spans = samples::spans(&decode::audio(&path, 0, None).unwrap());
    let whole = samples::AudioSpan {
        recorded: 0..400 * 48,
        content: samples::Content::Source(500 * 48),
    };
    assert_eq!(spans, [whole]);
}

#[test]
fn wav_stopped_while_paused_ends_at_the_pause() {
    let (_directory, path) = temp_location("paused.wav");
    let calls = [
        (500 * MILLI, "start"),
        (700 * MILLI, "pause"),
        (900 * MILLI, "stop"),
    ];
    let kept = under_test_clock(&path, "audio/wav", AudioSignal::Counted, false, &calls);
    assert_eq!(kept.total(), 200 * MILLI);
    judge_wav(&path, &kept, &tag::SampleClock::from_zero(48000));
}

fn test_clock_webm(pauses: usize, lengths: (u64, u64)) {
    let (_directory, path) = temp_location("latency.webm");
    let calls = roll_calls(pauses, 1, lengths);
    let mime = "video/webm;codecs=\"vp8,opus\"";
    let kept = under_test_clock(&path, mime, AudioSignal::Noise, true, &calls);
    let end = calls.last().unwrap().0 + SECOND;
    let sources: Vec<_> = frame_times(end).collect();
    judge_webm(&path, &kept, &sources, 0);
}

#[test]
fn webm_with_latency_3_pauses() {
    test_clock_webm(3, (200, 900));
}

#[test]
fn webm_with_latency_60_pauses() {
    test_clock_webm(60, (60, 160));
}

/// One frame, with a cut in its middle on both sides: it is shortened, and the one visible at the resume starts at
/// the first instant.
#[test]
fn a_frame_that_spans_a_cut_is_shortened() {
    let (_directory, path) = temp_location("spans.webm");
    // Frames are at 0, 33.3, 66.7, 100 … ms. Visible at the start: 500; at the pause: 800 (for 10 ms); at the
    // resume: 1000 (from its 20th ms on).
    let calls = [
        (510 * MILLI, "start"),
        (810 * MILLI, "pause"),
        (1020 * MILLI, "resume"),
        (1500 * MILLI, "stop"),
    ];
    let mime = "video/webm;codecs=\"vp8,opus\"";
    let kept = under_test_clock(&path, mime, AudioSignal::Noise, true, &calls);
    let frames = sync::frame_times(&decode::video(&path, 0).unwrap()).unwrap();
    let shown: Vec<_> = frames
        .iter()
        .map(|(recorded, source)| ((recorded / 1e6).round(), (source / 1e6).round()))
        .collect();
    assert_eq!(shown[..2], [(0.0, 500.0), (23.0, 533.0)]);
    let cut = shown
        .iter()
        .position(|(_, source)| *source == 1000.0)
        .unwrap();
    assert_eq!(
        shown[cut - 1..cut + 2],
        [(290.0, 800.0), (300.0, 1000.0), (313.0, 1033.0)]
    );
    let sources: Vec<_> = frame_times(2 * SECOND).collect();
    judge_webm(&path, &kept, &sources, 0);
}
