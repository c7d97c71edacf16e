//! Encoders of the past that fail, hang, or are slow to start.

mod common;

use common::app::{DEADLINE, holds_within};
use common::failing_encoder::fail_at;
use common::judge::{decode, file, sync, whole};
use common::past::{PreRecorder, kept};
use gst::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;
const MILLI: u64 = 1_000_000;
/// Maximum keyframe interval of raw video.
const KEYS: u64 = SECOND / 2;
const FRAME: u64 = SECOND / 30;
const WEBM: &str = "video/webm;codecs=\"vp8,opus\"";

/// Calls this with the first video encoder.
fn on_encoder(recorder: &gst::Element, work: impl Fn(&gst::Element) + Send + Sync + 'static) {
    let is_done = AtomicBool::new(false);
    recorder.connect("encoder-setup", false, move |values| {
        let pad = values[1].get::<gst::Pad>().unwrap();
        let encoder = values[2].get::<gst::Element>().unwrap();
        if pad.name().starts_with("video") && !is_done.swap(true, Ordering::SeqCst) {
            work(&encoder);
        }
        None
    });
}

#[test]
fn a_hanging_encoder_posts_a_warning_and_start_returns() {
    let mut bench = PreRecorder::new(WEBM, "webm", SECOND);
    let recorder = &bench.app.recorder;
    recorder.set_property("max-queue-time", 500 * MILLI);
    let gate = Arc::new((Mutex::new(true), Condvar::new()));
    let shut = gate.clone();
    on_encoder(recorder, move |encoder| {
        let shut = shut.clone();
        let pad = encoder.static_pad("sink").unwrap();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            let (closed, opened) = &*shut;
            let closed = closed.lock().unwrap();
            drop(opened.wait_while(closed, |closed| *closed).unwrap());
            gst::PadProbeReturn::Ok
        });
    });
    bench.noise();
    bench.raw_video();
    bench.play();
    assert!(holds_within(DEADLINE, || {
        let warnings = bench.app.warnings();
        warnings.iter().any(|warning| warning.contains("hangs"))
    }));
    let (before, _) = bench.start();
    bench.rest(SECOND);
    bench.app.act("stop");
    let stop = bench.stopped(1).remove(0);
    *gate.0.lock().unwrap() = false;
    gate.1.notify_all();
    bench.app.set_state(gst::State::Null);
    // Nothing from before the hang; after it there may be a past again.
    let kept = kept(&stop);
    assert!(
        kept.intervals[0].0 + SECOND + KEYS + FRAME >= before,
        "{kept:?}"
    );
    whole::webm(&bench.path(0, "webm"), &kept, &bench.sources(), 2).unwrap();
}

/// It is replaced, and the recording that reads its output continues: no frame is lost.
#[test]
fn an_encoder_that_fails_while_recording_posts_a_warning() {
    for (mime_type, extension) in [(WEBM, "webm"), ("video/ogg;codecs=\"theora,opus\"", "ogv")] {
        let past = 1200 * MILLI;
        let mut bench = PreRecorder::new(mime_type, extension, past);
        // After 3 s.
        on_encoder(&bench.app.recorder, |encoder| fail_at(encoder, 90, || ()));
        bench.noise();
        bench.raw_video();
        bench.play();
        bench.rest(2315 * MILLI);
        let called = bench.start();
        bench.rest(1500 * MILLI);
        bench.app.act("stop");
        let stop = bench.stopped(1).remove(0);
        // Recorded media is also past for the next recording.
        let again = bench.save();
        let saved = bench.stopped(2).remove(1);
        bench.app.set_state(gst::State::Null);
        let reason = stop.fields.get::<String>("reason").unwrap();
        assert_eq!(reason, "stop", "{mime_type}");
        let warnings = bench.app.warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("is replaced by"), "{warnings:?}");
        for (number, stop, (_, after)) in [(0, stop, called), (1, saved, again)] {
            let kept = kept(&stop);
            let begin = kept.intervals[0].0;
            assert!(begin + past <= after, "{mime_type}: {kept:?}");
            let path = bench.path(number, extension);
            let frames = sync::frame_times(&decode::video(&path, 0).unwrap()).unwrap();
            // Theora counts frames.
            let tolerance = if extension == "ogv" {
                FRAME as f64
            } else {
                whole::WEBM
            };
            sync::check_frames(&frames, &kept, &bench.sources(), tolerance, 0)
                .unwrap_or_else(|err| panic!("{mime_type} {number}: {err}"));
            file::decodes_without_errors(&path).unwrap();
        }
    }
}

/// Without a recording, nothing is kept from before the failure.
#[test]
fn an_encoder_that_fails_while_inactive_empties_the_past() {
    let mut bench = PreRecorder::new(WEBM, "webm", 3 * SECOND);
    on_encoder(&bench.app.recorder, |encoder| fail_at(encoder, 45, || ()));
    bench.noise();
    bench.raw_video();
    bench.play();
    assert!(holds_within(DEADLINE, || !bench.app.warnings().is_empty()));
    let failed = bench.app.running_time();
    bench.rest(800 * MILLI);
    bench.save();
    let stop = bench.stopped(1).remove(0);
    bench.app.set_state(gst::State::Null);
    let warnings = bench.app.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let kept = kept(&stop);
    // The frame visible then may be kept again.
    assert!(kept.intervals[0].0 + 300 * MILLI >= failed, "{kept:?}");
    assert!(kept.total() >= 500 * MILLI, "{kept:?}");
    bench.judge_webm(0, &stop);
}

/// The recording starts before any output of the past's encoder.
#[test]
fn an_encoder_that_is_slow_to_start_loses_no_frame() {
    let mut bench = PreRecorder::new(WEBM, "webm", SECOND);
    let recorder = &bench.app.recorder;
    recorder.set_property("max-queue-time", 10 * SECOND);
    on_encoder(recorder, |_| {
        std::thread::sleep(Duration::from_millis(1200));
    });
    bench.noise();
    bench.raw_video();
    bench.play();
    bench.rest(100 * MILLI);
    bench.start();
    bench.rest(1500 * MILLI);
    bench.app.act("stop");
    let stop = bench.stopped(1).remove(0);
    bench.app.set_state(gst::State::Null);
    assert_eq!(bench.app.warnings(), Vec::<String>::new());
    let path = bench.path(0, "webm");
    let frames = sync::frame_times(&decode::video(&path, 0).unwrap()).unwrap();
    // The first frame arrived slightly before the audio, or after it.
    sync::check_frames(&frames, &kept(&stop), &bench.sources(), FRAME as f64, 1).unwrap();
    file::decodes_without_errors(&path).unwrap();
}

/// Parts that end before any output of the encoder are complete nevertheless, and so is the last one, which has
/// reached its limit but no keyframe for another one.
#[test]
fn an_encoder_that_is_slow_to_start_loses_no_frame_of_a_part() {
    for sleeps_inside in [false, true] {
        let mut bench = PreRecorder::new(WEBM, "webm", SECOND);
        let recorder = &bench.app.recorder;
        recorder.set_property("max-queue-time", 10 * SECOND);
        recorder.set_property("max-size-time", 300 * MILLI);
        on_encoder(recorder, move |encoder| {
            let sleep = || std::thread::sleep(Duration::from_millis(1200));
            if !sleeps_inside {
                return sleep();
            }
            let pad = encoder.static_pad("sink").unwrap();
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                sleep();
                gst::PadProbeReturn::Remove
            });
        });
        bench.noise();
        bench.raw_video();
        bench.play();
        let (_, kept) = bench.record(100 * MILLI, 2315 * MILLI);
        assert_eq!(bench.app.warnings(), Vec::<String>::new());
        // The first frame arrived slightly before the audio, or after it: then it is visible from the start.
        let late = bench.sources()[0].saturating_sub(kept.intervals[0].0);
        // Raw video has a keyframe each half second.
        bench.judge_parts(&kept, 4, FRAME.max(late));
    }
}

/// Frames from before and after the cut that arrive only once the recording has started: it waits for no later
/// keyframe.
#[test]
fn a_track_without_data_so_far_starts_at_the_cut() {
    let past = 200 * MILLI;
    let mut bench = PreRecorder::new(WEBM, "webm", past);
    bench.noise();
    bench.raw_video();
    let gate = Arc::new((Mutex::new(true), Condvar::new()));
    let shut = gate.clone();
    let pad = bench.app.recorder.static_pad("video_0").unwrap();
    pad.peer()
        .unwrap()
        .add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            let (closed, opened) = &*shut;
            let closed = closed.lock().unwrap();
            drop(opened.wait_while(closed, |closed| *closed).unwrap());
            gst::PadProbeReturn::Remove
        });
    bench.play();
    bench.rest(500 * MILLI);
    bench.start();
    *gate.0.lock().unwrap() = false;
    gate.1.notify_all();
    bench.rest(SECOND);
    bench.app.act("stop");
    let stop = bench.stopped(1).remove(0);
    bench.app.set_state(gst::State::Null);
    let path = bench.path(0, "webm");
    let frames = sync::frame_times(&decode::video(&path, 0).unwrap()).unwrap();
    sync::check_frames(&frames, &kept(&stop), &bench.sources(), FRAME as f64, 1).unwrap();
    file::decodes_without_errors(&path).unwrap();
}

/// Frames held by an encoder with a lookahead when a recording ends are output even if no more input arrives; the
/// next recording continues with a restarted encoder.
#[test]
fn an_encoder_with_a_lookahead_holds_back_no_frame_of_a_recording() {
    let mut bench = PreRecorder::new(WEBM, "webm", SECOND);
    let recorder = &bench.app.recorder;
    recorder.connect("encoder-setup", false, |values| {
        let encoder = values[2].get::<gst::Element>().unwrap();
        if encoder.factory().unwrap().name() == "vp8enc" {
            encoder.set_property("lag-in-frames", 20i32);
        }
        None
    });
    bench.noise();
    bench.raw_video();
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let passed = Arc::<Mutex<Vec<u64>>>::default();
    let (shut, log) = (gate.clone(), passed.clone());
    let pad = bench.app.recorder.static_pad("video_0").unwrap();
    pad.peer()
        .unwrap()
        .add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let (closed, opened) = &*shut;
            let closed = closed.lock().unwrap();
            let _open = opened.wait_while(closed, |closed| *closed).unwrap();
            let pts = info.buffer().unwrap().pts().unwrap();
            log.lock().unwrap().push(pts.nseconds());
            gst::PadProbeReturn::Ok
        });
    bench.play();
    bench.rest(2515 * MILLI);
    bench.start();
    bench.rest(SECOND);
    bench.app.act("stop");
    *gate.0.lock().unwrap() = true;
    let first = bench.stopped(1).remove(0);
    let before = passed.lock().unwrap().clone();
    *gate.0.lock().unwrap() = false;
    gate.1.notify_all();
    bench.rest(2515 * MILLI);
    bench.save();
    let second = bench.stopped(2).remove(1);
    bench.app.set_state(gst::State::Null);
    assert_eq!(bench.app.warnings(), Vec::<String>::new());
    // A frame that arrives late is not in the recording.
    let passed = passed.lock().unwrap().clone();
    for (number, (stop, sources)) in [(first, before), (second, passed)].iter().enumerate() {
        whole::webm(&bench.path(number, "webm"), &kept(stop), sources, 0).unwrap();
    }
}
