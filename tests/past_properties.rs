//! How properties and states affect the past: which ones restart it, and which ones do not.

mod common;

use common::app::{DEADLINE, holds_within};
use common::judge::{decode, file, whole};
use common::past::{PreRecorder, kept};
use common::signal::tag;
use gst::prelude::*;
use std::sync::{Arc, Mutex};

const SECOND: u64 = 1_000_000_000;
const MILLI: u64 = 1_000_000;
const FRAME: u64 = SECOND / 30;
const WEBM: &str = "video/webm;codecs=\"vp8,opus\"";

/// How much of the past is kept, in nanoseconds.
fn pre_recorded(bench: &PreRecorder) -> u64 {
    let stats = bench.app.recorder.property::<gst::Structure>("stats");
    stats.get("pre-recorded").unwrap()
}

fn keeps_a_second(bench: &PreRecorder) {
    assert!(holds_within(DEADLINE, || pre_recorded(bench) > SECOND));
}

#[test]
fn only_a_change_of_the_encoders_output_restarts_it() {
    let mut bench = PreRecorder::new("", "webm", 30 * SECOND);
    bench.noise();
    bench.raw_video();
    bench.play();
    let recorder = bench.app.recorder.clone();
    let elsewhere = bench.directory.path().join("elsewhere-%d.webm");
    let matroska = bench.directory.path().join("other-%d.mkv");
    let changes = [
        ("location", elsewhere.to_str().unwrap(), false),
        ("timeslice", "500", false),
        ("max-size-time", "60000000000", false),
        ("video-bits-per-second", "400000", false),
        ("audio-bits-per-second", "64000", false),
        ("bits-per-second", "900000", false),
        ("pre-record-time", "20000000000", false),
        ("location", matroska.to_str().unwrap(), true),
        ("mime-type", WEBM, true),
        // Now the extension does not matter.
        ("location", elsewhere.to_str().unwrap(), false),
        ("keep", "depth", true),
        ("audio-bitrate-mode", "constant", true),
    ];
    for (property, value, is_anew) in changes {
        keeps_a_second(&bench);
        recorder.set_property_from_str(property, value);
        let kept = pre_recorded(&bench);
        assert_eq!(kept < SECOND / 2, is_anew, "{property}={value}: {kept}");
    }
    bench.app.set_state(gst::State::Null);
    assert_eq!(bench.app.warnings(), Vec::<String>::new());
}

#[test]
fn bit_rates_change_in_the_running_encoder() {
    let mut bench = PreRecorder::new(WEBM, "webm", 30 * SECOND);
    let encoders = Arc::<Mutex<Vec<gst::Element>>>::default();
    let made = encoders.clone();
    let recorder = bench.app.recorder.clone();
    recorder.connect("encoder-setup", false, move |values| {
        let encoder = values[2].get::<gst::Element>().unwrap();
        made.lock().unwrap().push(encoder);
        None
    });
    bench.noise();
    bench.raw_video();
    bench.play();
    keeps_a_second(&bench);
    recorder.set_property("video-bits-per-second", 400_000u32);
    // Raw audio needs no encoder while it waits.
    let encoders = std::mem::take(&mut *encoders.lock().unwrap());
    assert_eq!(encoders.len(), 1, "{encoders:?}");
    assert_eq!(encoders[0].property::<i32>("target-bitrate"), 400_000);
    drop(encoders);
    bench.app.set_state(gst::State::Null);
}

#[test]
fn it_can_be_saved_in_paused() {
    let past = SECOND;
    let mut bench = PreRecorder::new(WEBM, "webm", past);
    bench.noise();
    bench.raw_video();
    bench.play();
    bench.rest(1800 * MILLI);
    bench.app.set_state(gst::State::Paused);
    bench.save();
    let stop = bench.stopped(1).remove(0);
    bench.app.set_state(gst::State::Null);
    let kept = kept(&stop);
    assert!(kept.total() >= past, "{kept:?}");
    let path = bench.path(0, "webm");
    file::decodes_without_errors(&path).unwrap();
    let length = file::duration(&path).unwrap();
    assert!(
        (length - kept.total() as f64).abs() < 60e6,
        "{length} for {kept:?}"
    );
}

#[test]
fn pauses_of_a_recording_that_began_before_the_call_are_exact_to_the_sample() {
    let past = 700 * MILLI;
    let mut bench = PreRecorder::new("audio/wav", "wav", past);
    bench.counted();
    bench.play();
    bench.rest(SECOND);
    let (_, after) = bench.start();
    let mut calls = Vec::new();
    for _ in 0..3 {
        bench.rest(90 * MILLI);
        calls.push(bench.app.act("pause"));
        bench.rest(70 * MILLI);
        calls.push(bench.app.act("resume"));
    }
    bench.rest(90 * MILLI);
    bench.app.act("stop");
    let stop = bench.stopped(1).remove(0);
    bench.app.set_state(gst::State::Null);
    let kept = kept(&stop);
    assert!(kept.intervals[0].0 + past <= after + MILLI, "{kept:?}");
    let cuts = kept.intervals.iter().flat_map(|(from, to)| [*from, *to]);
    for (cut, (before, after)) in cuts.skip(1).zip(calls) {
        assert!(
            cut + MILLI >= before && cut <= after + MILLI,
            "{cut}, called between {before} and {after}"
        );
    }
    whole::wav(&bench.path(0, "wav"), &kept, bench.clock()).unwrap();
}

/// A track that was muted for a while is black during that time, and never else.
#[test]
fn a_muted_video_track_is_black_in_the_past() {
    let past = 2 * SECOND;
    let mut bench = PreRecorder::new(WEBM, "webm", past);
    bench.raw_video();
    let log: tag::FrameLog = bench.sources_log();
    bench.app.set_state(gst::State::Playing);
    assert!(holds_within(DEADLINE, || !log.lock().unwrap().is_empty()));
    bench.rest(800 * MILLI);
    let pad = bench.app.recorder.static_pad("video_0").unwrap();
    let muted = bench.app.running_time();
    pad.set_property("mute", true);
    bench.rest(400 * MILLI);
    let unmuted = bench.app.running_time();
    pad.set_property("mute", false);
    bench.rest(600 * MILLI);
    bench.save();
    let stop = bench.stopped(1).remove(0);
    bench.app.set_state(gst::State::Null);
    let begin = kept(&stop).intervals[0].0 as f64;
    let frames = decode::video(&bench.path(0, "webm"), 0).unwrap();
    let mut black = 0;
    for frame in &frames.frames {
        let at = begin + frame.recorded;
        let (from, to) = (muted as f64, unmuted as f64);
        let near = (at - from).abs().min((at - to).abs());
        // Black frames show no time.
        let is_black = frame.source.is_none();
        black += usize::from(is_black);
        if near > 2.0 * FRAME as f64 {
            assert_eq!(
                is_black,
                at > from && at < to,
                "at {at}: {muted} to {unmuted}"
            );
        }
    }
    assert!(black > 8, "{black} of {}", frames.frames.len());
}
