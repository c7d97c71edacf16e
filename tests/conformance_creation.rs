//! Web platform tests, creation and bit rates: MediaRecorder-creation.https.html, MediaRecorder-bitrate.https.html
//! and MediaRecorder-detached-context.html. Tests whose names begin with `wpt` correspond to theirs, numbered in
//! their order.

mod common;

use common::harness::{Kind, Recorder, Rig, State, code, expect_error};
use gst::prelude::*;

const AUDIO: &str = "audio-bits-per-second";
const VIDEO: &str = "video-bits-per-second";
const TOTAL: &str = "bits-per-second";
/// The tolerance of the web platform tests, in bit/s, for a total.
const NEAR: u32 = 100_000;

/// The current values of (audio, video).
fn rates(rig: &Rig) -> (u32, u32) {
    (rig.recorder.number(AUDIO), rig.recorder.number(VIDEO))
}

#[track_caller]
fn assert_near(rate: u32, wanted: u32) {
    assert!(rate.abs_diff(wanted) <= NEAR, "{rate} is not near {wanted}");
}

#[track_caller]
fn assert_split(rig: &Rig, total: u32) {
    let (audio, video) = rates(rig);
    assert_ne!(audio, 0);
    assert_ne!(video, 0);
    assert_near(audio + video, total);
}

#[track_caller]
fn assert_created(rig: &Rig) {
    let (audio, video) = rates(rig);
    assert_eq!(rig.recorder.recording_state(), State::Inactive);
    assert_ne!(audio, 0);
    assert_ne!(video, 0);
    assert_eq!(rig.signals.len(), 0, "creation emits nothing");
}

#[test]
fn wpt01_created_on_a_live_video_pad() {
    assert_created(&Rig::live(0, 1).0);
}

#[test]
fn wpt02_created_on_a_live_audio_pad() {
    assert_created(&Rig::live(1, 0).0);
}

#[test]
fn wpt03_created_on_live_audio_and_video_pads() {
    assert_created(&Rig::live(1, 1).0);
}

#[test]
fn wpt04_no_options_gives_two_rates() {
    let rig = Rig::new();
    assert_created(&rig);
    assert_eq!(rates(&rig), (128_000, 2_500_000), "the documented defaults");
}

#[test]
fn wpt05_total_of_zero_still_gives_two_rates() {
    let rig = Rig::new();
    rig.recorder.set_property(TOTAL, 0u32);
    assert_split(&rig, 0);
}

#[test]
fn wpt06_only_audio_set_to_zero() {
    let rig = Rig::new();
    let before = rates(&rig);
    rig.recorder.set_property(AUDIO, 0u32);
    assert_eq!(rates(&rig), (0, before.1));
    assert_ne!(before.1, 0);
}

#[test]
fn wpt07_only_video_set_to_zero() {
    let rig = Rig::new();
    let before = rates(&rig);
    rig.recorder.set_property(VIDEO, 0u32);
    assert_eq!(rates(&rig), (before.0, 0));
    assert_ne!(before.0, 0);
}

#[test]
fn wpt08_total_of_zero_overrides_both() {
    let rig = Rig::new();
    rig.recorder.set_property(AUDIO, 100_000u32);
    rig.recorder.set_property(VIDEO, 1_000_000u32);
    rig.recorder.set_property(TOTAL, 0u32);
    assert_split(&rig, 0);
}

#[test]
fn wpt09_total_overrides_two_zeros() {
    let rig = Rig::new();
    rig.recorder.set_property(AUDIO, 0u32);
    rig.recorder.set_property(VIDEO, 0u32);
    rig.recorder.set_property(TOTAL, 2_000_000u32);
    assert_split(&rig, 2_000_000);
}

#[test]
fn wpt10_total_alone_is_split() {
    let rig = Rig::new();
    rig.recorder.set_property(TOTAL, 2_000_000u32);
    assert_split(&rig, 2_000_000);
    assert_eq!(rig.recorder.number(TOTAL), 2_000_000);
}

#[test]
fn wpt11_only_audio_rate() {
    let rig = Rig::new();
    let before = rates(&rig);
    rig.recorder.set_property(AUDIO, 100_000u32);
    assert_eq!(rates(&rig), (100_000, before.1));
}

#[test]
fn wpt12_only_video_rate() {
    let rig = Rig::new();
    let before = rates(&rig);
    rig.recorder.set_property(VIDEO, 1_000_000u32);
    assert_eq!(rates(&rig), (before.0, 1_000_000));
}

#[test]
fn wpt13_video_rate_with_audio_only_input() {
    let (rig, _tracks) = Rig::live(1, 0);
    rig.recorder.set_property(VIDEO, 1_000_000u32);
    let (audio, video) = rates(&rig);
    assert_eq!(video, 1_000_000);
    assert_ne!(audio, 0);
}

#[test]
fn wpt14_audio_rate_with_video_only_input() {
    let (rig, _tracks) = Rig::live(0, 1);
    rig.recorder.set_property(AUDIO, 100_000u32);
    let (audio, video) = rates(&rig);
    assert_eq!(audio, 100_000);
    assert_ne!(video, 0);
}

#[test]
fn wpt15_total_with_audio_only_input_before_start() {
    let (rig, _tracks) = Rig::live(1, 0);
    rig.recorder.set_property(TOTAL, 2_000_000u32);
    assert_split(&rig, 2_000_000);
}

#[test]
fn wpt16_total_with_video_only_input_before_start() {
    let (rig, _tracks) = Rig::live(0, 1);
    rig.recorder.set_property(TOTAL, 2_000_000u32);
    assert_split(&rig, 2_000_000);
}

/// Starts, and returns the rates right after that and once recording is active.
fn started(rig: &Rig) -> (u32, u32) {
    rig.recorder.start().expect("start");
    let at_once = rates(rig);
    rig.wait_event(Kind::Start, 1);
    assert_eq!(
        rates(rig),
        at_once,
        "on-start does not change the rates again"
    );
    at_once
}

#[test]
fn wpt17_start_leaves_default_rates() {
    let (rig, _tracks) = Rig::live(1, 1);
    let before = rates(&rig);
    assert_eq!(started(&rig), before);
}

#[test]
fn wpt18_start_leaves_rates_that_were_set() {
    let (rig, _tracks) = Rig::live(1, 1);
    rig.recorder.set_property(AUDIO, 100_000u32);
    rig.recorder.set_property(VIDEO, 1_000_000u32);
    assert_eq!(started(&rig), (100_000, 1_000_000));
}

#[test]
fn wpt19_start_leaves_a_total_split_over_audio_and_video() {
    let (rig, _tracks) = Rig::live(1, 1);
    rig.recorder.set_property(TOTAL, 2_000_000u32);
    let before = rates(&rig);
    assert_eq!(started(&rig), before);
}

/// Stops and asserts that the rates are `before` again: the redistribution lasts "until the end".
#[track_caller]
fn assert_given_back(rig: &Rig, before: (u32, u32)) {
    rig.recorder.stop().expect("stop");
    rig.wait_recording(1);
    assert_eq!(rates(rig), before);
}

#[test]
fn wpt20_total_goes_to_the_audio_of_an_audio_only_recording() {
    let (rig, _tracks) = Rig::live(1, 0);
    rig.recorder.set_property(TOTAL, 500_000u32);
    let before = rates(&rig);
    let (audio, video) = started(&rig);
    assert_near(audio, 500_000);
    assert_eq!(video, 0);
    assert_ne!(audio, before.0);
    assert_ne!(video, before.1);
    assert_given_back(&rig, before);
}

#[test]
fn wpt21_total_goes_to_the_video_of_a_video_only_recording() {
    let (rig, _tracks) = Rig::live(0, 1);
    rig.recorder.set_property(TOTAL, 2_000_000u32);
    let before = rates(&rig);
    let (audio, video) = started(&rig);
    assert_eq!(audio, 0);
    assert_near(video, 2_000_000);
    assert_ne!(audio, before.0);
    assert_ne!(video, before.1);
    assert_given_back(&rig, before);
}

#[test]
fn wpt28_element_below_paused_refuses_start() {
    let rig = Rig::new();
    let _track = rig.live_audio();
    for state in [gst::State::Null, gst::State::Ready] {
        rig.set_state(state);
        expect_error(rig.recorder.start(), code::NOT_SUPPORTED);
        assert_eq!(rig.recorder.recording_state(), State::Inactive);
    }
    assert_eq!(rig.signals.len(), 0, "a refused start emits nothing");
}

#[test]
fn a_default_video_rate_follows_the_size_and_a_written_one_does_not() {
    let (small, _tracks) = Rig::live(0, 1);
    let followed = small.recorder.number(VIDEO);
    assert!(
        0 < followed && followed < 2_500_000,
        "160x120 at 30 frames suits less than 720p30: {followed}"
    );

    let written = Rig::new();
    written.recorder.set_property(VIDEO, 2_500_000u32);
    let _track = written.live_video();
    written.play();
    assert_eq!(written.recorder.number(VIDEO), 2_500_000);
}
