//! Recordings that start before the call: the pre-recorded media is verified instant by instant.

mod common;

use common::app::{DEADLINE, holds_within};
use common::judge::{decode, file, sync, whole};
use common::past::{PreRecorder, begins, kept};
use common::settings::{Rng, tenth};
use common::take::{Recipe, take};
use gst::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const SECOND: u64 = 1_000_000_000;
const MILLI: u64 = 1_000_000;
/// Maximum keyframe interval of raw video.
const KEYS: u64 = SECOND / 2;
/// Its frame duration.
const FRAME: u64 = SECOND / 30;

#[test]
fn audio_starts_at_the_requested_sample() {
    let past = 700 * MILLI;
    let mut bench = PreRecorder::new("audio/wav", "wav", past);
    bench.counted();
    bench.play();
    bench.rest(SECOND);
    let mut chance = Rng::from_env();
    let triggers = tenth(60);
    let mut calls = Vec::new();
    for _ in 0..triggers {
        bench.rest(chance.below(200) * MILLI);
        calls.push(bench.start());
        // Some in one go.
        bench.rest(chance.below(3) * 20 * MILLI);
        bench.app.act("stop");
    }
    let stops = bench.stopped(calls.len());
    let begins = begins(&bench.app);
    bench.app.set_state(gst::State::Null);
    for (number, ((before, after), begin)) in calls.iter().zip(begins).enumerate() {
        assert!(
            begin + past + MILLI >= *before && begin + past <= after + MILLI,
            "{number}: begins at {begin}, called between {before} and {after}"
        );
        let kept = kept(&stops[number]);
        assert_eq!(kept.intervals[0].0, begin);
        assert!(kept.total() >= past, "{kept:?}");
        whole::wav(&bench.path(number, "wav"), &kept, bench.clock()).unwrap();
    }
}

#[test]
fn a_recording_is_not_longer_than_the_past() {
    let mut bench = PreRecorder::new("audio/wav", "wav", 3600 * SECOND);
    bench.counted();
    bench.play();
    bench.rest(300 * MILLI);
    bench.start();
    bench.app.act("stop");
    let stop = &bench.stopped(1)[0];
    let kept = kept(stop);
    assert!(kept.intervals[0].0 < 100 * MILLI, "{kept:?}");
    bench.app.set_state(gst::State::Null);
    whole::wav(&bench.path(0, "wav"), &kept, bench.clock()).unwrap();
}

#[test]
fn raw_video_starts_at_the_keyframe_before_and_pauses_exactly() {
    let past = 1200 * MILLI;
    let mut bench = PreRecorder::new("video/webm;codecs=\"vp8,opus\"", "webm", past);
    bench.noise();
    bench.raw_video();
    bench.play();
    bench.rest(2515 * MILLI);
    let (before, after) = bench.start();
    let mut calls = Vec::new();
    for _ in 0..2 {
        bench.rest(250 * MILLI);
        calls.push(("pause", bench.app.act("pause")));
        bench.rest(170 * MILLI);
        calls.push(("resume", bench.app.act("resume")));
    }
    bench.rest(300 * MILLI);
    calls.push(("stop", bench.app.act("stop")));
    let stop = bench.stopped(1).remove(0);
    // A saved past is also past for the next recording, and a pause is not recorded.
    bench.start();
    bench.app.act("stop");
    let again = bench.stopped(2).remove(1);
    bench.app.set_state(gst::State::Null);
    let cuts = bench.app.cuts();
    let begin = cuts[0].1;
    assert!(
        begin + past <= after && begin + past + KEYS + FRAME >= before,
        "begins at {begin}, called at {before}"
    );
    for ((name, cut), (called, (before, after))) in cuts[1..].iter().zip(&calls) {
        assert_eq!(name, called);
        assert!(
            cut + MILLI >= *before && *cut <= after + MILLI,
            "{name} at {cut}, called between {before} and {after}"
        );
    }
    bench.judge_webm(0, &stop);
    bench.judge_webm(1, &again);
    let (first, second) = (kept(&stop), kept(&again));
    assert!(second.intervals.len() > 1, "{second:?}");
    assert!(
        second.intervals[1..]
            .iter()
            .zip(&first.intervals[1..])
            .all(|(a, b)| a.0 == b.0)
            || second.intervals.len() < first.intervals.len(),
        "{second:?} behind {first:?}"
    );
}

#[test]
fn encoded_video_starts_at_its_own_keyframe() {
    let past = 1500 * MILLI;
    let mut bench = PreRecorder::new("video/webm;codecs=\"vp8,opus\"", "webm", past);
    bench.noise();
    bench.camera();
    bench.play();
    let ((before, after), kept) = bench.record(3015 * MILLI, 400 * MILLI);
    let begin = kept.intervals[0].0;
    assert!(
        begin + past <= after && begin + past + SECOND + FRAME >= before,
        "begins at {begin}, called at {before}"
    );
    let keys = bench.keys.lock().unwrap().clone();
    // The call was at some instant between the two.
    let expected = [before, after].map(|call| keys.iter().rfind(|key| **key + past <= call));
    assert!(expected.contains(&Some(&begin)), "{begin}: {keys:?}");
    let sources = bench.sources();
    whole::webm(&bench.path(0, "webm"), &kept, &sources, 1).unwrap();
}

#[test]
fn overlapping_saves_from_a_file_are_complete() {
    let past = 2 * SECOND;
    let mut bench = PreRecorder::new("video/webm;codecs=\"vp8,opus\"", "webm", past);
    bench.app.recorder.set_property("max-memory", 0u64);
    bench.noise();
    bench.raw_video();
    bench.play();
    bench.rest(3 * SECOND);
    for _ in 0..3 {
        bench.start();
        bench.app.act("stop");
        bench.rest(30 * MILLI);
    }
    let stops = bench.stopped(3);
    bench.app.set_state(gst::State::Null);
    for (number, stop) in stops.iter().enumerate() {
        let kept = kept(stop);
        assert!(kept.total() >= past, "{kept:?}");
        bench.judge_webm(number, stop);
    }
    assert_eq!(bench.app.warnings(), Vec::<String>::new());
}

#[test]
fn stats_report_the_past_and_lowering_it_keeps_the_newest() {
    let mut bench = PreRecorder::new("audio/wav", "wav", 2 * SECOND);
    bench.counted();
    bench.play();
    bench.rest(2515 * MILLI);
    let reported = |name: &str| {
        let stats = bench.app.recorder.property::<gst::Structure>("stats");
        stats.get::<u64>(name).unwrap()
    };
    let time = reported("pre-recorded");
    assert!((1900 * MILLI..2500 * MILLI).contains(&time), "{time}");
    let bytes = reported("pre-recorded-bytes");
    assert!(bytes > 192_000 * 19 / 10, "{bytes}");
    bench
        .app
        .recorder
        .set_property("pre-record-time", 500 * MILLI);
    let time = reported("pre-recorded");
    assert!((400 * MILLI..SECOND).contains(&time), "{time}");
    let before = bench.app.act("start").0;
    bench.app.act("stop");
    let stop = bench.stopped(1).remove(0);
    let begin = kept(&stop).intervals[0].0;
    assert!(begin + 501 * MILLI >= before, "{begin} for {before}");
    // Nothing is kept any more.
    bench.app.recorder.set_property("pre-record-time", 0u64);
    assert_eq!(reported("pre-recorded-bytes"), 0);
    let (before, after) = bench.app.act("start");
    bench.rest(100 * MILLI);
    bench.app.act("stop");
    let stop = bench.stopped(2).remove(1);
    bench.app.set_state(gst::State::Null);
    let kept = kept(&stop);
    let begin = kept.intervals[0].0;
    assert!(begin + MILLI >= before && begin <= after + MILLI, "{begin}");
    whole::wav(&bench.path(1, "wav"), &kept, bench.clock()).unwrap();
}

#[test]
fn another_type_restarts_the_past_and_an_active_recording_continues() {
    let mut bench = PreRecorder::new("video/webm;codecs=\"vp8,opus\"", "webm", 2 * SECOND);
    bench.noise();
    bench.raw_video();
    bench.play();
    bench.rest(2700 * MILLI);
    bench.start();
    bench.rest(200 * MILLI);
    // The frame visible then is kept, too: the newest one received, or the one before it.
    let shown = bench.sources().iter().rev().nth(1).copied().unwrap();
    let changed = bench.app.running_time();
    bench
        .app
        .recorder
        .set_property("mime-type", "video/x-matroska;codecs=\"vp8,opus\"");
    bench.rest(SECOND);
    bench.app.act("stop");
    bench.start();
    bench.app.act("stop");
    let stops = bench.stopped(2);
    bench.app.set_state(gst::State::Null);
    bench.judge_webm(0, &stops[0]);
    let begin = kept(&stops[1]).intervals[0].0;
    assert!(
        begin >= shown && begin <= changed + SECOND,
        "{begin}, changed at {changed}"
    );
    let mime_type: String = bench
        .app
        .events()
        .iter()
        .rfind(|event| event.name == "start")
        .unwrap()
        .fields
        .get("mime-type")
        .unwrap();
    assert!(mime_type.starts_with("video/x-matroska"), "{mime_type}");
}

#[test]
fn shutdown_saves_what_has_arrived() {
    let past = 1500 * MILLI;
    let mut bench = PreRecorder::new("video/webm;codecs=\"vp8,opus\"", "webm", past);
    bench.noise();
    bench.raw_video();
    bench.play();
    bench.rest(2515 * MILLI);
    bench.start();
    bench.rest(300 * MILLI);
    bench.app.set_state(gst::State::Ready);
    let stop = bench.stopped(1).remove(0);
    assert_eq!(stop.fields.get::<String>("reason").unwrap(), "state-change");
    let kept = kept(&stop);
    assert!(kept.total() > past + 200 * MILLI, "{kept:?}");
    // Each track extends to its last media.
    let path = bench.path(0, "webm");
    let audio = decode::audio(&path, 0, Some(48_000)).unwrap();
    assert_eq!(audio.holes(1.5e6), []);
    let missing = kept.total() as f64 - audio.len() as f64 * 1e9 / 48e3;
    assert!(missing < 100e6, "{missing} of {kept:?}");
    let frames = sync::frame_times(&decode::video(&path, 0).unwrap()).unwrap();
    let (first, last) = (frames[0], frames[frames.len() - 1]);
    let begin = kept.intervals[0].0 as f64;
    assert!(
        first.0.abs() < 1.1e6 && (first.1 - begin).abs() < 1.1e6,
        "{first:?}"
    );
    assert!(kept.total() as f64 - last.0 < 200e6, "{last:?} of {kept:?}");
    file::decodes_without_errors(&path).unwrap();
}

#[test]
fn an_unsupported_type_posts_one_warning() {
    let mut bench = PreRecorder::new("video/webm;codecs=\"h264,opus\"", "webm", SECOND);
    bench.noise();
    bench.raw_video();
    bench.play();
    assert!(holds_within(DEADLINE, || !bench.app.warnings().is_empty()));
    bench.rest(300 * MILLI);
    let warnings = bench.app.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let error = bench
        .app
        .recorder
        .emit_by_name::<Option<glib::Error>>("start", &[]);
    assert!(error.is_some());
    // Supported input is kept from then on.
    bench
        .app
        .recorder
        .set_property("mime-type", "video/webm;codecs=\"vp8,opus\"");
    bench.rest(1500 * MILLI);
    bench.start();
    bench.app.act("stop");
    let stop = bench.stopped(1).remove(0);
    bench.app.set_state(gst::State::Null);
    assert!(kept(&stop).total() >= SECOND);
    bench.judge_webm(0, &stop);
}

#[test]
fn non_live_input_has_a_past_too() {
    // The media pushed before the call, by its timestamps, however fast it was.
    let recipe = Recipe {
        from: 4 * SECOND,
        calls: vec![(4 * SECOND + 500 * MILLI, "pause"), (5 * SECOND, "resume")],
        until: 5 * SECOND + 700 * MILLI,
        ..Recipe::new("video/webm;codecs=\"vp8,opus\"", true, true)
    };
    let past = 2 * SECOND;
    let take = take(&recipe.with("pre-record-time", past));
    let begin = take.kept.intervals[0].0;
    assert!(
        begin + past <= 4 * SECOND && begin + past + KEYS + FRAME >= 4 * SECOND - 2 * FRAME,
        "{:?}",
        take.kept
    );
    let found = whole::webm(&take.path, &take.kept, &take.sources, 0).unwrap();
    println!("{:?} {found:?}", take.kept);
    assert_eq!(take.warnings, Vec::<String>::new());
}

#[test]
fn the_past_continues_across_paused() {
    let past = 3 * SECOND;
    let mut bench = PreRecorder::new("video/webm;codecs=\"vp8,opus\"", "webm", past);
    bench.noise();
    bench.raw_video();
    bench.play();
    bench.rest(1500 * MILLI);
    bench.app.set_state(gst::State::Paused);
    bench.app.set_state(gst::State::Playing);
    bench.rest(1200 * MILLI);
    bench.start();
    bench.app.act("stop");
    let stop = bench.stopped(1).remove(0);
    bench.app.set_state(gst::State::Null);
    let kept = kept(&stop);
    assert!(kept.total() >= 2 * SECOND, "{kept:?}");
    let path = bench.path(0, "webm");
    decode::video(&path, 0).unwrap();
    file::decodes_without_errors(&path).unwrap();
    let reported = file::duration(&path).unwrap();
    assert!(
        (reported - kept.total() as f64).abs() < 60e6,
        "{reported} for {kept:?}"
    );
}

#[test]
fn the_past_keeps_mutes() {
    let past = 1500 * MILLI;
    let mut bench = PreRecorder::new("audio/wav", "wav", past);
    bench.counted();
    bench.play();
    bench.rest(800 * MILLI);
    let pad = bench.app.recorder.static_pad("audio_0").unwrap();
    let muted = bench.app.running_time();
    pad.set_property("mute", true);
    bench.rest(300 * MILLI);
    let unmuted = bench.app.running_time();
    pad.set_property("mute", false);
    bench.rest(900 * MILLI);
    bench.start();
    bench.app.act("stop");
    let stop = bench.stopped(1).remove(0);
    bench.app.set_state(gst::State::Null);
    let begin = kept(&stop).intervals[0].0;
    let audio = decode::audio(&bench.path(0, "wav"), 0, None).unwrap();
    let at = |time: u64| ((time - begin) * 48_000 / SECOND) as usize;
    let frames = audio.samples.chunks_exact(audio.channels).enumerate();
    let silent: Vec<usize> = frames
        .filter(|(_, frame)| frame.iter().all(|sample| *sample == 0))
        .map(|(at, _)| at)
        .collect();
    let (first, last) = (silent[0], silent[silent.len() - 1]);
    assert!(
        first.abs_diff(at(muted)) < 480 && last.abs_diff(at(unmuted)) < 480,
        "{first} to {last} for {} to {}",
        at(muted),
        at(unmuted)
    );
    assert!(silent.len() > (last - first) * 99 / 100, "{silent:?}");
}

#[test]
fn a_failing_encoder_posts_a_warning_and_start_returns() {
    let mut bench = PreRecorder::new("video/webm;codecs=\"vp8,opus\"", "webm", SECOND);
    bench.noise();
    bench.raw_video();
    // All encoders of the past fail; a recording's own do not.
    let recorder = bench.app.recorder.clone();
    let fails = Arc::new(AtomicBool::new(true));
    let failing = fails.clone();
    recorder.connect("encoder-setup", false, move |values| {
        let encoder = values[2].get::<gst::Element>().unwrap();
        if failing.load(Ordering::SeqCst) && encoder.name().starts_with("video") {
            let pad = encoder.static_pad("sink").unwrap();
            let element = encoder.downgrade();
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                let encoder = element.upgrade().unwrap();
                gst::element_error!(encoder, gst::StreamError::Encode, ("out of order"));
                gst::PadProbeReturn::Remove
            });
        }
        None
    });
    bench.play();
    assert!(holds_within(DEADLINE, || {
        let warnings = bench.app.warnings();
        warnings
            .iter()
            .any(|warning| warning.contains("Pre-recording is not possible"))
    }));
    fails.store(false, Ordering::SeqCst);
    let (before, _) = bench.start();
    bench.rest(SECOND);
    bench.app.act("stop");
    let stop = bench.stopped(1).remove(0);
    bench.app.set_state(gst::State::Null);
    assert!(kept(&stop).intervals[0].0 + MILLI >= before);
    bench.judge_webm(0, &stop);
}

#[test]
fn autostart_has_no_past() {
    let mut bench = PreRecorder::new("audio/wav", "wav", SECOND);
    bench.app.recorder.set_property("autostart", true);
    bench.counted();
    bench.play();
    bench.app.wait_for("start", 1);
    bench.rest(1200 * MILLI);
    bench.app.act("stop");
    bench.stopped(1);
    let (before, _) = bench.start();
    bench.app.act("stop");
    let stop = bench.stopped(2).remove(1);
    bench.app.set_state(gst::State::Null);
    assert!(kept(&stop).intervals[0].0 + MILLI >= before);
}
