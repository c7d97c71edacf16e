//! Web platform tests, tracks that end, are added and are removed: from MediaRecorder-error.html,
//! MediaRecorder-stop.html and MediaRecorder-events-and-exceptions.html. Tests whose names begin with `wpt`
//! correspond to theirs, numbered in their order.

mod common;

use common::harness::log::{check_recording, kinds};
use common::harness::{
    Event, Kind, QUIET, Recorder, Rig, State, Track, assert_error, code, expect_error,
};
use gst::prelude::*;
use std::time::{Duration, Instant};

/// As in conformance_states_and_events.rs.
const VARIANTS: [(&str, usize, usize); 7] = [
    ("", 1, 1),
    ("", 1, 0),
    ("", 0, 1),
    ("video/webm;codecs=vp8,opus", 1, 1),
    ("video/webm;codecs=vp8", 0, 1),
    ("audio/webm;codecs=opus", 1, 0),
    ("audio/wav", 1, 0),
];

fn for_each_variant(situation: impl Fn(&Rig, &[Track])) {
    for (mime, audio, video) in VARIANTS {
        eprintln!("variant {mime:?} with {audio} audio and {video} video");
        let (rig, tracks) = Rig::live(audio, video);
        rig.recorder.set_property("mime-type", mime);
        situation(&rig, &tracks);
    }
}

/// Starts and waits until recording is active.
fn begin(rig: &Rig) {
    rig.recorder.start().expect("start");
    rig.wait_event(Kind::Start, 1);
}

/// Asserts the events of a recording ended by a change of its tracks.
#[track_caller]
fn assert_modified(events: &[Event]) {
    assert_eq!(
        kinds(events),
        [Kind::Start, Kind::Error, Kind::Data, Kind::Stop]
    );
    assert_error(
        events[1].error.as_ref().expect("on-error has its error"),
        code::INVALID_MODIFICATION,
    );
    for event in &events[1..] {
        assert_eq!(event.state, State::Inactive, "in {event:?}");
    }
    check_recording(events);
}

#[test]
fn wpt32_no_pad_refuses_start_until_a_live_one_is_added() {
    let rig = Rig::new();
    rig.play();
    expect_error(rig.recorder.start(), code::NOT_SUPPORTED);
    assert_eq!(rig.recorder.recording_state(), State::Inactive);
    assert_eq!(rig.signals.len(), 0);

    let track = rig.live_audio();
    track.wait_buffers(1);
    begin(&rig);
    assert_eq!(rig.recorder.recording_state(), State::Recording);
}

#[test]
fn wpt32_only_ended_pads_refuse_start_until_a_live_one_is_added() {
    let (rig, tracks) = Rig::live(1, 1);
    for track in &tracks {
        track.end();
        track.wait_ended();
    }
    expect_error(rig.recorder.start(), code::NOT_SUPPORTED);
    assert_eq!(rig.signals.len(), 0);

    let track = rig.live_video();
    track.wait_buffers(1);
    begin(&rig);
    track.wait_buffers(5);
    rig.recorder.stop().expect("stop");
    assert!(!check_recording(&rig.wait_recording(1)).0.is_empty());
}

#[test]
fn wpt38_pad_added_while_recording_is_invalid_modification() {
    for add_video in [false, true] {
        let (rig, _tracks) = Rig::live(1, 1);
        begin(&rig);
        let asked = Instant::now();
        let _new = if add_video {
            rig.live_video()
        } else {
            rig.live_audio()
        };
        let error = rig.wait_event(Kind::Error, 1);
        assert!(error.at - asked < Duration::from_secs(2));
        assert_eq!(error.state, State::Inactive);
        assert_modified(&rig.wait_recording(1));
    }
}

#[test]
fn wpt38_pad_added_while_paused_is_invalid_modification_and_works_in_the_next_recording() {
    let (rig, _tracks) = Rig::live(1, 0);
    begin(&rig);
    rig.recorder.pause().expect("pause");
    rig.wait_event(Kind::Pause, 1);
    let new = rig.live_video();
    let events = rig.wait_recording(1);
    assert_eq!(
        kinds(&events),
        [
            Kind::Start,
            Kind::Pause,
            Kind::Error,
            Kind::Data,
            Kind::Stop
        ]
    );

    new.wait_buffers(1);
    rig.recorder.start().expect("start");
    rig.wait_event(Kind::Start, 2);
    new.wait_buffers(5);
    rig.recorder.stop().expect("stop");
    let (bytes, _) = check_recording(&rig.wait_recording(2));
    let media = common::harness::media::probe(&rig.save("second.webm", &bytes));
    assert_eq!(media.codecs("video"), ["vp8"]);
    assert_eq!(media.codecs("audio"), ["opus"]);
}

#[test]
fn wpt39_pad_removed_while_recording_is_invalid_modification() {
    for removed in 0..2 {
        let (rig, tracks) = Rig::live(1, 1);
        begin(&rig);
        tracks[1].wait_buffers(10);
        let asked = Instant::now();
        tracks[removed].remove(&rig.recorder);
        let error = rig.wait_event(Kind::Error, 1);
        assert!(error.at - asked < Duration::from_secs(2));
        let events = rig.wait_recording(1);
        assert_modified(&events);
        assert!(
            !check_recording(&events).0.is_empty(),
            "what was recorded is delivered"
        );
    }
}

#[test]
fn wpt40_audio_pad_removed_right_after_start() {
    let (rig, tracks) = Rig::live(1, 1);
    rig.recorder.start().expect("start");
    tracks[0].remove(&rig.recorder);
    assert_modified(&rig.wait_recording(1));
    rig.signals.nothing_within(QUIET);
}

#[test]
fn wpt41_stop_right_after_a_pad_is_removed() {
    let (rig, tracks) = Rig::live(1, 1);
    begin(&rig);
    tracks[0].remove(&rig.recorder);
    // There is no event loop: the removal may be handled first, whether or not the call could already see that
    // end.
    if let Err(error) = rig.recorder.stop() {
        assert_error(&error, code::INVALID_STATE);
    }
    let events = rig.wait_recording(1);
    if kinds(&events) != [Kind::Start, Kind::Data, Kind::Stop] {
        assert_modified(&events);
    }
    rig.signals.nothing_within(QUIET);
}

#[test]
fn wpt42_all_pads_end_and_stop_is_called() {
    let (rig, tracks) = Rig::live(1, 1);
    begin(&rig);
    for track in &tracks {
        track.end();
    }
    // Only refused if the ends were handled before the call.
    if let Err(error) = rig.recorder.stop() {
        assert_error(&error, code::INVALID_STATE);
    }
    let events = rig.wait_recording(1);
    assert_eq!(kinds(&events), [Kind::Start, Kind::Data, Kind::Stop]);
    rig.signals.nothing_within(QUIET);
}

#[test]
fn wpt43_the_only_pad_ends() {
    for_each_variant(|rig, tracks| {
        begin(rig);
        tracks[0].wait_buffers(5);
        assert_eq!(rig.recorder.recording_state(), State::Recording);
        for track in tracks {
            track.end();
        }
        let events = rig.wait_recording(1);
        assert_eq!(kinds(&events), [Kind::Start, Kind::Data, Kind::Stop]);
        for event in &events[1..] {
            assert_eq!(event.state, State::Inactive);
        }
        check_recording(&events);
        rig.signals.nothing_within(QUIET);
        assert_eq!(rig.recorder.recording_state(), State::Inactive);
    });
}

#[test]
fn wpt43_a_track_that_ends_leaves_the_others_recording() {
    let (rig, tracks) = Rig::live(1, 1);
    begin(&rig);
    tracks[0].end();
    tracks[0].wait_ended();
    tracks[1].wait_buffers(15);
    assert_eq!(rig.recorder.recording_state(), State::Recording);
    assert_eq!(rig.signals.kinds(), [Kind::Start]);
    tracks[1].end();
    let events = rig.wait_recording(1);
    assert_eq!(kinds(&events), [Kind::Start, Kind::Data, Kind::Stop]);
}

#[test]
fn wpt48_stop_after_all_pads_have_ended_emits_nothing() {
    for_each_variant(|rig, tracks| {
        begin(rig);
        for track in tracks {
            track.end();
        }
        rig.wait_recording(1);
        expect_error(rig.recorder.stop(), code::INVALID_STATE);
        rig.signals.nothing_within(QUIET);
        assert_eq!(rig.signals.kinds(), [Kind::Start, Kind::Data, Kind::Stop]);
    });
}
