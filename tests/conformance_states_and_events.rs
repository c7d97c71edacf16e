//! Web platform tests, states and errors of a recorder with constant tracks: from
//! MediaRecorder-events-and-exceptions.html, MediaRecorder-error.html, MediaRecorder-pause-resume.html and
//! MediaRecorder-stop.html. Tests whose names begin with `wpt` correspond to theirs, numbered in their order.

mod common;

use common::harness::log::{check_recording, kinds};
use common::harness::{Event, Kind, QUIET, Recorder, Rig, State, code, expect_error};
use gst::prelude::*;

/// The types with which the cases of MediaRecorder-stop.html are run, and matching tracks.
const VARIANTS: [(&str, usize, usize); 9] = [
    ("", 1, 1),
    ("", 1, 0),
    ("", 0, 1),
    ("video/webm", 1, 1),
    ("video/webm;codecs=vp8", 0, 1),
    ("video/webm;codecs=vp8,opus", 1, 1),
    ("video/webm;codecs=opus", 1, 0),
    ("audio/webm;codecs=opus", 1, 0),
    ("audio/wav", 1, 0),
];

/// A running rig for each variant, one after the other.
fn for_each_variant(situation: impl Fn(&Rig)) {
    for (mime, audio, video) in VARIANTS {
        eprintln!("variant {mime:?} with {audio} audio and {video} video");
        let (rig, _tracks) = Rig::live(audio, video);
        rig.recorder.set_property("mime-type", mime);
        situation(&rig);
    }
}

/// The states seen by the handlers, in order.
fn states(events: &[Event]) -> Vec<State> {
    events.iter().map(|e| e.state).collect()
}

#[test]
fn wpt30_stop_of_a_never_started_recorder_is_invalid_state() {
    let (rig, _tracks) = Rig::live(1, 1);
    expect_error(rig.recorder.stop(), code::INVALID_STATE);
    assert_eq!(rig.recorder.recording_state(), State::Inactive);
    rig.signals.nothing_within(QUIET);
    assert_eq!(rig.messages.len(), 0, "nothing is posted");
}

#[track_caller]
fn assert_actions_refused(rig: &Rig) {
    for action in ["pause", "resume", "request-data"] {
        expect_error(rig.recorder.act(action), code::INVALID_STATE);
        assert_eq!(rig.recorder.recording_state(), State::Inactive);
    }
}

#[test]
fn wpt31_pause_resume_request_data_while_inactive_are_invalid_state() {
    let (rig, _tracks) = Rig::live(1, 1);
    assert_actions_refused(&rig);
    rig.recorder.start().expect("start");
    rig.recorder.stop().expect("stop");
    assert_actions_refused(&rig);
    rig.wait_recording(1);
    assert_actions_refused(&rig);
    rig.signals.nothing_within(QUIET);
}

#[test]
fn wpt33_start_while_recording_is_invalid_state_and_recording_continues() {
    let (rig, tracks) = Rig::live(1, 1);
    rig.recorder.start().expect("start");
    expect_error(rig.recorder.start(), code::INVALID_STATE);
    assert_eq!(rig.recorder.recording_state(), State::Recording);
    rig.wait_event(Kind::Start, 1);
    expect_error(rig.recorder.start(), code::INVALID_STATE);
    tracks[0].wait_buffers(20);
    rig.recorder.stop().expect("stop");
    let events = rig.wait_recording(1);
    assert_eq!(kinds(&events), [Kind::Start, Kind::Data, Kind::Stop]);
    assert!(!check_recording(&events).0.is_empty());
}

#[test]
fn wpt34_full_sequence_each_from_the_previous_handler() {
    let (rig, _tracks) = Rig::live(1, 1);
    rig.on(Kind::Start, |r| r.pause().expect("pause"));
    rig.on(Kind::Pause, |r| r.resume().expect("resume"));
    rig.on(Kind::Resume, |r| r.stop().expect("stop"));
    rig.recorder.start().expect("start");
    rig.wait_event(Kind::Stop, 1);
    rig.signals.nothing_within(QUIET);

    let events = rig.signals.all();
    assert_eq!(
        kinds(&events),
        [
            Kind::Start,
            Kind::Pause,
            Kind::Resume,
            Kind::Data,
            Kind::Stop
        ]
    );
    assert_eq!(
        states(&events),
        [
            State::Recording,
            State::Paused,
            State::Recording,
            State::Inactive,
            State::Inactive
        ]
    );
    assert!(!events[3].bytes.is_empty(), "the last blob holds the file");
}

#[test]
fn wpt35_pause_is_paused_on_return_and_a_second_one_does_nothing() {
    let (rig, _tracks) = Rig::live(1, 1);
    rig.recorder.start().expect("start");
    rig.wait_event(Kind::Start, 1);
    rig.recorder.pause().expect("pause");
    assert_eq!(rig.recorder.recording_state(), State::Paused);
    rig.recorder.pause().expect("a second pause is no error");
    assert_eq!(rig.recorder.recording_state(), State::Paused);
    rig.wait_event(Kind::Pause, 1);
    rig.signals.nothing_within(QUIET);
    assert_eq!(rig.signals.kinds(), [Kind::Start, Kind::Pause]);
}

#[test]
fn wpt36_resume_is_recording_on_return_and_a_second_one_does_nothing() {
    let (rig, _tracks) = Rig::live(1, 1);
    rig.recorder.start().expect("start");
    rig.recorder.resume().expect("resume without a pause");
    assert_eq!(rig.recorder.recording_state(), State::Recording);
    rig.recorder.pause().expect("pause");
    rig.recorder.resume().expect("resume");
    assert_eq!(rig.recorder.recording_state(), State::Recording);
    rig.recorder.resume().expect("a second resume is no error");
    assert_eq!(rig.recorder.recording_state(), State::Recording);
    rig.wait_event(Kind::Resume, 1);
    rig.signals.nothing_within(QUIET);
    assert_eq!(
        rig.signals.kinds(),
        [Kind::Start, Kind::Pause, Kind::Resume]
    );
}

#[test]
fn wpt37_stop_while_paused_then_start_again() {
    let (rig, tracks) = Rig::live(1, 1);
    rig.recorder.start().expect("start");
    rig.wait_event(Kind::Start, 1);
    tracks[0].wait_buffers(10);
    rig.recorder.pause().expect("pause");
    rig.wait_event(Kind::Pause, 1);
    rig.recorder.stop().expect("stop");
    assert_eq!(rig.recorder.recording_state(), State::Inactive);
    rig.wait_recording(1);
    rig.recorder.start().expect("start again");
    assert_eq!(rig.recorder.recording_state(), State::Recording);
    rig.wait_event(Kind::Start, 2);
    assert_eq!(
        rig.signals.kinds(),
        [
            Kind::Start,
            Kind::Pause,
            Kind::Data,
            Kind::Stop,
            Kind::Start
        ]
    );
}

#[test]
fn wpt44_stop_is_inactive_on_return() {
    for_each_variant(|rig| {
        rig.recorder.start().expect("start");
        rig.wait_event(Kind::Start, 1);
        rig.recorder.stop().expect("stop");
        assert_eq!(rig.recorder.recording_state(), State::Inactive);
        let events = rig.wait_recording(1);
        assert_eq!(kinds(&events), [Kind::Start, Kind::Data, Kind::Stop]);
        assert_eq!(events[1].state, State::Inactive);
        assert_eq!(events[2].state, State::Inactive);
        rig.signals.nothing_within(QUIET);
    });
}

#[test]
fn wpt45_stop_right_after_start_still_emits_on_start_first() {
    for_each_variant(|rig| {
        rig.recorder.start().expect("start");
        rig.recorder.stop().expect("stop");
        assert_eq!(rig.recorder.recording_state(), State::Inactive);
        let events = rig.wait_recording(1);
        assert_eq!(kinds(&events), [Kind::Start, Kind::Data, Kind::Stop]);
        check_recording(&events);
        rig.signals.nothing_within(QUIET);
    });
}

#[test]
fn wpt46_stop_of_a_new_recorder_emits_nothing() {
    for_each_variant(|rig| {
        expect_error(rig.recorder.stop(), code::INVALID_STATE);
        rig.signals.nothing_within(QUIET);
        assert_eq!(rig.signals.len(), 0);
    });
}

#[test]
fn wpt47_stop_of_a_stopped_recorder_emits_no_second_on_stop() {
    for_each_variant(|rig| {
        rig.recorder.start().expect("start");
        rig.recorder.stop().expect("stop");
        expect_error(rig.recorder.stop(), code::INVALID_STATE);
        rig.wait_recording(1);
        expect_error(rig.recorder.stop(), code::INVALID_STATE);
        rig.signals.nothing_within(QUIET);
        assert_eq!(
            rig.signals.kinds(),
            [Kind::Start, Kind::Data, Kind::Stop],
            "one recording, one end"
        );
    });
}

#[test]
fn wpt49_timeslice_zero_and_stop_after_the_first_blob() {
    for_each_variant(|rig| {
        rig.recorder.set_property("timeslice", 0u32);
        rig.recorder.start().expect("start");
        rig.wait_event(Kind::Start, 1);
        // With timeslice 0 no blob is emitted by itself here: the first one is requested.
        rig.recorder.request_data().expect("request-data");
        rig.wait_event(Kind::Data, 1);
        rig.recorder.stop().expect("stop");
        let events = rig.wait_recording(1);
        assert_eq!(
            kinds(&events),
            [Kind::Start, Kind::Data, Kind::Data, Kind::Stop]
        );
        check_recording(&events);
    });
}

#[test]
fn signals_and_messages_agree() {
    let (rig, _tracks) = Rig::live(1, 1);
    for action in ["start", "pause", "resume", "request-data", "stop"] {
        rig.recorder.act(action).expect(action);
    }
    let events = rig.wait_recording(1);
    rig.messages.wait("the message of stop", |m| {
        m.last().is_some_and(|e| e.kind == Kind::Stop)
    });
    assert_eq!(rig.messages.kinds(), kinds(&events));
    rig.assert_quiet_bus();
}
