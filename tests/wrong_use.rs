//! Misuse: the documented error with a helpful message, the state unchanged, and nothing recorded lost.

mod common;

use common::harness::feed::advance_all;
use common::harness::log::{check_recording, kinds, recordings};
use common::harness::media::{assert_plays, sound};
use common::harness::{
    BusMessage, Kind, PushTrack, QUIET, Recorder, Rig, State, assert_error, code, expect_error,
    make_recorder,
};
use gst::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

const SECOND: gst::ClockTime = gst::ClockTime::SECOND;

/// Asserts that an error's message contains each of `words`, in any case.
#[track_caller]
fn assert_mentions(error: &glib::Error, words: &[&str]) {
    let message = error.message().to_lowercase();
    for word in words {
        assert!(
            message.contains(&word.to_lowercase()),
            "the message should contain {word:?}: {message:?}"
        );
    }
}

/// Asserts that the refused calls so far only returned errors: no event, no message on the bus.
#[track_caller]
fn assert_only_returned(rig: &Rig) {
    rig.signals.nothing_within(QUIET);
    assert_eq!(rig.signals.len(), 0);
    assert_eq!(rig.messages.len(), 0);
    rig.assert_quiet_bus();
}

#[test]
fn actions_that_need_a_recording_report_that() {
    let (rig, _tracks) = Rig::live(1, 1);
    for action in ["pause", "resume", "stop", "request-data"] {
        let error = expect_error(rig.recorder.act(action), code::INVALID_STATE);
        assert_mentions(&error, &[action, "start"]);
        assert_eq!(rig.recorder.recording_state(), State::Inactive);
    }
    assert_only_returned(&rig);
}

#[test]
fn start_while_recording_or_paused_loses_nothing() {
    let rig = Rig::new();
    rig.recorder.set_property("mime-type", "audio/wav");
    rig.play();
    let audio = rig.feed_audio();
    rig.recorder.start().expect("start");
    audio.advance(SECOND);
    let error = expect_error(rig.recorder.start(), code::INVALID_STATE);
    assert_mentions(&error, &["start", "recording", "stop"]);
    assert_eq!(rig.recorder.recording_state(), State::Recording);
    rig.recorder.pause().expect("pause");
    let error = expect_error(rig.recorder.start(), code::INVALID_STATE);
    assert_mentions(&error, &["start", "paused", "stop"]);
    assert_eq!(rig.recorder.recording_state(), State::Paused);
    audio.advance(SECOND);
    rig.recorder.resume().expect("resume");
    audio.advance(SECOND);
    rig.recorder.stop().expect("stop");

    let events = rig.wait_recording(1);
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
    let (bytes, _) = check_recording(&events);
    assert_eq!(sound(&rig.save("all.wav", &bytes), 0).len(), 96_000);
}

#[test]
fn start_without_pads_suggests_what_to_link() {
    let rig = Rig::new();
    rig.play();
    let error = expect_error(rig.recorder.start(), code::NOT_SUPPORTED);
    assert_mentions(&error, &["start", "pad", "audio_%u", "video_%u"]);
    assert_eq!(rig.recorder.recording_state(), State::Inactive);
    assert_only_returned(&rig);
}

#[test]
fn start_with_ended_pads_reports_that() {
    let (rig, tracks) = Rig::live(1, 0);
    tracks[0].end();
    tracks[0].wait_ended();
    let error = expect_error(rig.recorder.start(), code::NOT_SUPPORTED);
    assert_mentions(&error, &["start", "ended"]);
    assert_eq!(rig.signals.len(), 0);
}

#[test]
fn every_action_below_paused_is_refused() {
    let rig = Rig::new();
    let _track = rig.live_audio();
    for state in [gst::State::Null, gst::State::Ready] {
        rig.set_state(state);
        let error = expect_error(rig.recorder.start(), code::NOT_SUPPORTED);
        assert_mentions(&error, &["start", "PAUSED"]);
        for action in ["pause", "resume", "stop", "request-data"] {
            expect_error(rig.recorder.act(action), code::INVALID_STATE);
        }
    }
    assert_only_returned(&rig);
}

#[test]
fn start_with_an_unsupported_type_names_it() {
    let (rig, _tracks) = Rig::live(1, 1);
    for mime in [
        "video/pineapple",
        "video/webm;codecs=banana",
        "video",
        "/",
        ";;;",
        "video/webm;codecs=",
        "video/webm;codecs=\"vp8",
        "video/webm;codecs=vp8,vp8,opus,opus,,",
        "text/plain",
        "video/webm/again",
        "vidéo/wébm",
        "%s%n",
    ] {
        if rig.recorder.supports(mime) {
            // A parser as lenient as the draft's may accept an odd list; then start has to accept it as well.
            continue;
        }
        rig.recorder.set_property("mime-type", mime);
        let error = expect_error(rig.recorder.start(), code::NOT_SUPPORTED);
        // A message may escape quotes and unusual characters.
        if mime.bytes().all(|b| b.is_ascii() && b != b'"') {
            assert_mentions(&error, &[mime]);
        }
        assert_eq!(rig.recorder.recording_state(), State::Inactive);
    }
    assert!(!rig.recorder.supports("video/pineapple"));
    assert!(!rig.recorder.supports("video/webm;codecs=banana"));
    assert_only_returned(&rig);
}

#[test]
fn is_type_supported_accepts_any_text() {
    let recorder = make_recorder();
    let long = format!("video/webm;codecs={}", "vp8,".repeat(100_000));
    for text in ["/", ";", "=", "\"", " ", "\u{1}", "a/b;c=d;e", "💥/💥"] {
        assert!(!recorder.supports(text), "{text:?}");
    }
    // The results do not matter here, only that the call returns.
    let _ = recorder.supports(&long);
    let null = None::<String>.to_value();
    let answer = recorder.emit_by_name_with_values("is-type-supported", &[null]);
    assert!(answer.is_some(), "NULL gets an answer as well");
}

#[test]
fn start_with_a_track_that_the_type_does_not_support_names_both() {
    let (rig, _tracks) = Rig::live(0, 1);
    for mime in ["audio/wav", "audio/webm", "audio/webm;codecs=opus"] {
        rig.recorder.set_property("mime-type", mime);
        let error = expect_error(rig.recorder.start(), code::NOT_SUPPORTED);
        assert_mentions(&error, &[mime, "video"]);
        assert_eq!(rig.recorder.recording_state(), State::Inactive);
    }
    assert_only_returned(&rig);
}

#[test]
fn an_unsupported_track_is_refused_once_its_caps_are_known() {
    let rig = Rig::new();
    rig.recorder.set_property("mime-type", "audio/wav");
    rig.play();
    let audio = rig.feed_audio();
    audio.advance(SECOND / 10);
    let late = rig.recorder.request_pad_simple("video_%u").expect("a pad");
    // Whether a pad of this template receives video may be assumed, or waited for.
    match rig.recorder.start() {
        Err(error) => assert_error(&error, code::NOT_SUPPORTED),
        Ok(()) => {
            late.send_event(gst::event::StreamStart::new("late"));
            let caps = gst::Caps::builder("video/x-raw")
                .field("format", "I420")
                .field("width", 160i32)
                .field("height", 120i32)
                .field("framerate", gst::Fraction::new(25, 1))
                .build();
            late.send_event(gst::event::Caps::new(&caps));
            audio.advance(SECOND);
            let error = rig.wait_event(Kind::Error, 1).error.expect("a GError");
            assert_error(&error, code::NOT_SUPPORTED);
            check_recording(&rig.wait_recording(1));
        }
    }
    assert_eq!(rig.recorder.recording_state(), State::Inactive);
}

#[test]
fn both_key_frame_options_are_not_supported() {
    let (rig, tracks) = Rig::live(0, 1);
    let (duration, count) = (
        "video-key-frame-interval-duration",
        "video-key-frame-interval-count",
    );
    rig.recorder.set_property(duration, 1000u32);
    rig.recorder.set_property(count, 30u32);
    let error = expect_error(rig.recorder.start(), code::NOT_SUPPORTED);
    assert_mentions(&error, &[duration, count]);
    assert_only_returned(&rig);

    rig.recorder.set_property(count, 0u32);
    rig.recorder.start().expect("one of them alone");
    rig.wait_event(Kind::Start, 1);
    tracks[0].wait_buffers(5);
    rig.recorder.stop().expect("stop");
    check_recording(&rig.wait_recording(1));
}

#[test]
fn unusable_locations_are_refused_before_anything_is_written() {
    let (rig, _tracks) = Rig::live(1, 0);
    let missing = rig.path("not/here/x.webm");
    rig.recorder.set_property("location", &missing);
    let error = expect_error(rig.recorder.start(), code::UNKNOWN);
    assert_mentions(&error, &[&missing]);
    let pattern = rig.path("%s.webm");
    rig.recorder.set_property("location", &pattern);
    let error = expect_error(rig.recorder.start(), code::NOT_SUPPORTED);
    assert_mentions(&error, &[&pattern, "%05d"]);
    assert_eq!(rig.recorder.recording_state(), State::Inactive);
    assert_only_returned(&rig);
}

#[test]
fn a_location_that_is_not_utf8_is_refused_without_harm() {
    let (rig, _tracks) = Rig::live(1, 0);
    rig.recorder.start().expect("start");
    let mut value = glib::Value::from_type(glib::Type::STRING);
    // SAFETY: a value of this type, and a static string, as in C.
    unsafe {
        let value = glib::translate::ToGlibPtrMut::to_glib_none_mut(&mut value).0;
        glib::gobject_ffi::g_value_set_string(value, c"/tmp/caf\xe9.webm".as_ptr());
    }
    rig.recorder.set_property_from_value("location", &value);
    rig.wait_event(Kind::Start, 1);
    rig.recorder.stop().expect("stop");
    assert_eq!(
        kinds(&rig.wait_recording(1)),
        [Kind::Start, Kind::Data, Kind::Stop]
    );
    let error = expect_error(rig.recorder.start(), code::NOT_SUPPORTED);
    assert_mentions(&error, &["location", "UTF-8"]);
    let path = rig.path("caf\u{e9}.webm");
    rig.recorder.set_property("location", &path);
    rig.recorder.start().expect("start");
    rig.recorder.stop().expect("stop");
    rig.wait_recording(2);
    assert!(std::path::Path::new(&path).exists());
}

#[test]
fn a_pad_requested_while_recording_is_named_and_nothing_is_lost() {
    let rig = Rig::new();
    rig.recorder.set_property("mime-type", "audio/wav");
    rig.play();
    let audio = rig.feed_audio();
    rig.recorder.start().expect("start");
    audio.advance(SECOND);
    let _new = rig.recorder.request_pad_simple("audio_%u").expect("a pad");
    let events = rig.wait_recording(1);
    let error = events[1].error.clone().expect("on-error");
    assert_error(&error, code::INVALID_MODIFICATION);
    assert_mentions(&error, &["audio_1"]);
    assert_eq!(rig.recorder.recording_state(), State::Inactive);
    let (bytes, _) = check_recording(&events);
    let path = rig.save("before.wav", &bytes);
    assert_eq!(sound(&path, 0).len(), 48_000, "all before the new pad");
    rig.bus.wait("a warning", |all| {
        all.iter().any(|m| matches!(m, BusMessage::Warning { .. }))
    });
}

#[test]
fn a_pad_released_while_recording_is_named_and_nothing_is_lost() {
    let rig = Rig::new();
    rig.play();
    let (audio, video) = (rig.feed_audio(), rig.feed_video());
    rig.recorder.start().expect("start");
    advance_all(&[&audio, &video], SECOND);
    rig.recorder.release_request_pad(&video.pad);
    let events = rig.wait_recording(1);
    let error = events[1].error.clone().expect("on-error");
    assert_error(&error, code::INVALID_MODIFICATION);
    assert_mentions(&error, &["video_0"]);
    let (bytes, recorded) = check_recording(&events);
    assert_eq!(recorded, SECOND);
    let path = rig.save("before.webm", &bytes);
    assert_plays(&path);
    assert_eq!(common::harness::media::frames(&path), 25);

    // All other tracks continue.
    rig.recorder.start().expect("start");
    audio.advance(SECOND);
    rig.recorder.stop().expect("stop");
    assert_eq!(check_recording(&rig.wait_recording(2)).1, SECOND);
}

#[test]
fn a_pad_released_after_its_end_is_no_error() {
    let (rig, tracks) = Rig::live(1, 1);
    rig.recorder.start().expect("start");
    rig.wait_event(Kind::Start, 1);
    tracks[1].wait_buffers(5);
    tracks[0].end();
    tracks[0].wait_ended();
    tracks[0].remove(&rig.recorder);
    tracks[1].wait_buffers(5);
    assert_eq!(rig.recorder.recording_state(), State::Recording);
    rig.recorder.stop().expect("stop");
    let events = rig.wait_recording(1);
    assert_eq!(kinds(&events), [Kind::Start, Kind::Data, Kind::Stop]);
}

#[test]
fn buffers_without_timestamps_or_with_odd_sizes_do_no_harm() {
    let rig = Rig::new();
    rig.play();
    let good = rig.feed_audio();
    let odd = PushTrack::of_caps(
        &rig.recorder,
        "audio_%u",
        gst::Caps::builder("audio/x-raw")
            .field("format", "S16LE")
            .field("layout", "interleaved")
            .field("rate", 48_000i32)
            .field("channels", 1i32)
            .build(),
    );
    rig.recorder.start().expect("start");
    for size in [0, 1, 3, 960] {
        // No timestamp, and sizes that are not a multiple of the sample size.
        odd.push(gst::Buffer::from_mut_slice(vec![0u8; size]));
    }
    advance_all(&[&good], SECOND);
    odd.wait_taken();
    // Ended by the recorder or by the test: complete in both cases.
    if let Err(error) = rig.recorder.stop() {
        assert_error(&error, code::INVALID_STATE);
    }
    let (bytes, _) = check_recording(&rig.wait_recording(1));
    assert_plays(&rig.save("odd.webm", &bytes));
}

#[test]
fn unknown_pad_templates_give_no_pad() {
    let recorder = make_recorder();
    assert!(recorder.request_pad_simple("subtitle_%u").is_none());
    assert!(recorder.sink_pads().is_empty());
}

#[test]
fn properties_changed_while_recording_apply_to_the_next_one() {
    let (rig, tracks) = Rig::live(1, 0);
    rig.recorder.start().expect("start");
    let actual = rig.wait_event(Kind::Start, 1).mime_type;
    rig.recorder.set_property("mime-type", "audio/wav");
    rig.recorder.set_property("timeslice", 10u32);
    tracks[0].wait_buffers(20);
    rig.recorder.stop().expect("stop");
    let events = rig.wait_recording(1);
    assert_eq!(kinds(&events), [Kind::Start, Kind::Data, Kind::Stop]);
    assert!(actual.contains("webm"), "{actual}");

    rig.recorder.start().expect("start");
    let next = rig.wait_event(Kind::Start, 2).mime_type;
    assert!(next.starts_with("audio/wav"), "{next}");
}

#[test]
fn every_recording_is_complete_with_actions_from_many_threads() {
    let (rig, tracks) = Rig::live(1, 0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seed in 0..4usize {
            let (recorder, done) = (&rig.recorder, &done);
            scope.spawn(move || {
                let actions = ["start", "pause", "resume", "request-data", "stop"];
                let mut n = seed;
                while !done.load(Ordering::SeqCst) {
                    n = n
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let action = actions[(n >> 33) % actions.len()];
                    if let Err(error) = recorder.act(action) {
                        assert_error(&error, code::INVALID_STATE);
                    }
                    // Limits the rate of calls: more would only add empty recordings.
                    std::thread::sleep(std::time::Duration::from_millis(15));
                }
            });
        }
        tracks[0].wait_buffers(150);
        done.store(true, Ordering::SeqCst);
    });
    rig.set_state(gst::State::Null);
    assert_eq!(rig.recorder.recording_state(), State::Inactive);
    let events = rig.signals.wait("the last recording's end", |events| {
        events.last().is_some_and(|e| e.kind == Kind::Stop)
    });
    rig.signals.nothing_within(QUIET);
    for recording in recordings(&events) {
        check_recording(&recording);
        assert!(!kinds(&recording).contains(&Kind::Error), "{recording:?}");
    }
    rig.assert_quiet_bus();
}
