//! Recording to `location`: names, errors, state changes while recording, and `autostart`.

mod common;

use common::harness::feed::advance_all;
use common::harness::log::{check_recording, kinds};
use common::harness::media::{assert_finalised, assert_lasts, assert_plays, frames, probe, sound};
use common::harness::{
    BusMessage, Kind, QUIET, Recorder, Rig, State, code, expect_error, holds_within, wait_for,
};
use common::signal::feed::{Feed, Upstream};
use gst::prelude::*;
use std::path::Path;
use std::sync::Mutex;

const SECOND: gst::ClockTime = gst::ClockTime::SECOND;

fn read(path: &str) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Records half a second of live input as the `n`th recording and returns its bytes.
#[track_caller]
fn record(rig: &Rig, tracks: &[common::harness::Track], n: usize) -> Vec<u8> {
    rig.recorder.start().expect("start");
    rig.wait_event(Kind::Start, n);
    tracks[0].wait_buffers(15);
    rig.recorder.stop().expect("stop");
    check_recording(&rig.wait_recording(n)).0
}

#[test]
fn the_file_equals_the_blob_and_is_complete() {
    let (rig, tracks) = Rig::live(1, 1);
    let path = rig.path("one.webm");
    rig.recorder.set_property("location", &path);
    let bytes = record(&rig, &tracks, 1);
    assert!(read(&path) == bytes, "the file equals the blob");
    assert_plays(&path);
    assert_finalised(&path);
}

#[test]
fn the_file_is_complete_with_a_timeslice() {
    let rig = Rig::new();
    let path = rig.path("sliced.webm");
    rig.recorder.set_property("location", &path);
    rig.recorder.set_property("timeslice", 250u32);
    rig.play();
    let (audio, video) = (rig.feed_audio(), rig.feed_video());
    rig.recorder.start().expect("start");
    advance_all(&[&audio, &video], SECOND * 2);
    rig.recorder.stop().expect("stop");
    let (bytes, _) = check_recording(&rig.wait_recording(1));
    assert_eq!(read(&path).len(), bytes.len(), "the same layout");
    assert_plays(&path);
    assert_lasts(&path, 2.0, 0.05);
    assert_finalised(&path);
}

#[test]
fn a_number_in_the_name_counts_recordings_from_zero() {
    for (pattern, names) in [
        (
            "take-%05d.webm",
            ["take-00000.webm", "take-00001.webm", "take-00002.webm"],
        ),
        ("t%d.webm", ["t0.webm", "t1.webm", "t2.webm"]),
        (
            "100%%-%d%%d.webm",
            ["100%-0%d.webm", "100%-1%d.webm", "100%-2%d.webm"],
        ),
    ] {
        let (rig, tracks) = Rig::live(1, 0);
        rig.recorder.set_property("location", rig.path(pattern));
        for (index, name) in names.iter().enumerate() {
            let bytes = record(&rig, &tracks, index + 1);
            assert!(read(&rig.path(name)) == bytes, "{name}");
            let stats = rig.recorder.property::<gst::Structure>("stats");
            assert_eq!(stats.get::<String>("location"), Ok(rig.path(name)));
        }
        let files = rig.folder.path().read_dir().expect("the folder").count();
        assert_eq!(files, names.len());
        let starts: Vec<_> = rig
            .messages
            .wait("three starts", |m| {
                m.iter().filter(|e| e.kind == Kind::Start).count() == 3
            })
            .into_iter()
            .filter(|m| m.kind == Kind::Start)
            .map(|m| m.string("location").expect("a location"))
            .collect();
        assert_eq!(starts, names.map(|name| rig.path(name)));
    }
}

#[test]
fn any_other_percent_sign_is_not_supported() {
    let (rig, _tracks) = Rig::live(1, 0);
    for name in [
        "%s.webm",
        "%x.webm",
        "%5d.webm",
        "%.webm",
        "%%%.webm",
        "%d-%d.webm",
        "%05d%s.webm",
        "a%",
    ] {
        let path = rig.path(name);
        rig.recorder.set_property("location", &path);
        let error = expect_error(rig.recorder.start(), code::NOT_SUPPORTED);
        assert!(error.message().contains(&path), "names it: {error}");
        assert!(
            error.message().contains("%d"),
            "suggests what works: {error}"
        );
        assert_eq!(rig.recorder.recording_state(), State::Inactive);
    }
    assert_eq!(rig.signals.len(), 0);
    let files = rig.folder.path().read_dir().expect("the folder").count();
    assert_eq!(files, 0, "nothing is written");
}

#[test]
fn a_location_that_cannot_be_opened_is_unknown_and_leaves_the_recorder_inactive() {
    let (rig, tracks) = Rig::live(1, 0);
    let folder = rig.path("");
    for path in [rig.path("no/such/folder/x.webm"), folder] {
        rig.recorder.set_property("location", &path);
        let error = expect_error(rig.recorder.start(), code::UNKNOWN);
        assert!(error.message().contains(&path), "names it: {error}");
        assert_eq!(rig.recorder.recording_state(), State::Inactive);
    }
    rig.signals.nothing_within(QUIET);
    rig.assert_quiet_bus();

    // The same recorder works as soon as the location does.
    let path = rig.path("x.webm");
    rig.recorder.set_property("location", &path);
    let bytes = record(&rig, &tracks, 1);
    assert!(read(&path) == bytes);
}

#[test]
fn a_second_recording_replaces_the_file() {
    let (rig, tracks) = Rig::live(1, 0);
    let path = rig.save("same.webm", &[0x55; 1_000_000]);
    rig.recorder.set_property("location", &path);
    for n in 1..=2 {
        let bytes = record(&rig, &tracks, n);
        assert!(read(&path) == bytes, "recording {n} alone");
        assert_plays(&path);
    }
}

#[test]
fn a_refused_start_does_not_touch_an_older_file() {
    let (rig, _tracks) = Rig::live(0, 1);
    let path = rig.save("old.webm", b"older");
    rig.recorder.set_property("location", &path);
    rig.recorder.set_property("mime-type", "audio/wav");
    expect_error(rig.recorder.start(), code::NOT_SUPPORTED);
    assert_eq!(read(&path), b"older");
}

#[test]
fn location_set_while_recording_applies_to_the_next_one() {
    let (rig, tracks) = Rig::live(1, 0);
    let (first, second) = (rig.path("first.webm"), rig.path("second.webm"));
    rig.recorder.set_property("location", &first);
    rig.recorder.start().expect("start");
    rig.wait_event(Kind::Start, 1);
    rig.recorder.set_property("location", &second);
    tracks[0].wait_buffers(10);
    rig.recorder.stop().expect("stop");
    rig.wait_recording(1);
    assert_plays(&first);
    assert!(!Path::new(&second).exists());
    record(&rig, &tracks, 2);
    assert_plays(&second);
}

#[test]
fn the_extension_chooses_the_container() {
    for (name, format, codec) in [("x.wav", "wav", "pcm"), ("x.webm", "webm", "opus")] {
        let (rig, tracks) = Rig::live(1, 0);
        let path = rig.path(name);
        rig.recorder.set_property("location", &path);
        record(&rig, &tracks, 1);
        let media = probe(&path);
        assert!(media.format.contains(format), "{name}: {}", media.format);
        assert!(media.codecs("audio")[0].starts_with(codec), "{media:?}");
    }
}

/// Holds as soon as the state change has returned: nothing waits here.
#[track_caller]
fn assert_complete_now(rig: &Rig, path: &str, order: &[Kind]) {
    let events = rig.signals.all();
    assert_eq!(kinds(&events), order, "when the state change returned");
    assert_eq!(rig.recorder.recording_state(), State::Inactive);
    let (bytes, _) = check_recording(&events);
    assert!(read(path) == bytes, "the file is complete");
    assert_eq!(rig.messages.kinds(), order, "on the bus too");
    assert_plays(path);
    assert_finalised(path);
}

#[test]
fn shutdown_while_recording_completes_file_blobs_and_events() {
    for down in [gst::State::Null, gst::State::Ready] {
        let (rig, tracks) = Rig::live(1, 1);
        let path = rig.path("down.webm");
        rig.recorder.set_property("location", &path);
        rig.recorder.start().expect("start");
        rig.wait_event(Kind::Start, 1);
        tracks[1].wait_buffers(20);
        rig.set_state(down);
        assert_complete_now(&rig, &path, &[Kind::Start, Kind::Data, Kind::Stop]);
        assert!(frames(&path) >= 15, "{} frames", frames(&path));
    }
}

#[test]
fn shutdown_while_paused_completes_file_blobs_and_events() {
    for down in [gst::State::Null, gst::State::Ready] {
        let (rig, tracks) = Rig::live(1, 1);
        let path = rig.path("down.webm");
        rig.recorder.set_property("location", &path);
        rig.recorder.start().expect("start");
        rig.wait_event(Kind::Start, 1);
        tracks[1].wait_buffers(20);
        rig.recorder.pause().expect("pause");
        tracks[1].wait_buffers(5);
        rig.set_state(down);
        assert_complete_now(
            &rig,
            &path,
            &[Kind::Start, Kind::Pause, Kind::Data, Kind::Stop],
        );
    }
}

#[test]
fn shutdown_right_after_start_still_ends_the_recording() {
    let (rig, _tracks) = Rig::live(1, 1);
    rig.recorder.start().expect("start");
    rig.set_state(gst::State::Null);
    let events = rig.signals.all();
    assert_eq!(kinds(&events), [Kind::Start, Kind::Data, Kind::Stop]);
    check_recording(&events);
}

#[test]
fn shutdown_keeps_all_media_that_has_arrived() {
    let rig = Rig::new();
    let path = rig.path("down.wav");
    rig.recorder.set_property("location", &path);
    rig.play();
    let audio = rig.feed_audio();
    rig.recorder.start().expect("start");
    audio.advance(SECOND);
    rig.set_state(gst::State::Null);
    assert_eq!(sound(&path, 0).len(), 48_000);
    assert_eq!(check_recording(&rig.signals.all()).1, SECOND);
}

#[test]
fn a_recorder_records_again_after_shutdown() {
    let (rig, tracks) = Rig::live(1, 1);
    rig.recorder.start().expect("start");
    rig.set_state(gst::State::Null);
    rig.play();
    tracks[0].wait_buffers(2);
    let bytes = record(&rig, &tracks, 2);
    let path = rig.save("again.webm", &bytes);
    assert_plays(&path);
    assert_finalised(&path);
}

#[test]
fn autostart_records_all_of_non_live_input() {
    let rig = Rig::new();
    let path = rig.path("auto.webm");
    rig.recorder.set_property("location", &path);
    rig.recorder.set_property("autostart", true);
    let _tracks = [rig.file_audio(200), rig.file_video(60)];
    rig.set_state(gst::State::Playing);
    rig.bus.wait("EOS", |all| {
        all.iter().any(|m| matches!(m, BusMessage::Eos))
    });
    let events = rig.wait_recording(1);
    assert_eq!(kinds(&events), [Kind::Start, Kind::Data, Kind::Stop]);
    let (bytes, recorded) = check_recording(&events);
    assert_eq!(recorded, SECOND * 2);
    assert!(read(&path) == bytes);
    assert_plays(&path);
    assert_finalised(&path);
    assert_lasts(&path, 2.0, 0.05);
    assert_eq!(frames(&path), 60);
    rig.signals.nothing_within(QUIET);
}

#[test]
fn in_paused_non_live_input_blocks_at_its_first_buffer() {
    let rig = Rig::new();
    rig.recorder.set_property("autostart", true);
    let tracks = [rig.file_audio(100), rig.file_video(30)];
    rig.set_state(gst::State::Paused);
    wait_for("a first buffer on each pad", || {
        tracks.iter().all(|t| received(t) > 0)
    });
    assert!(
        !holds_within(QUIET, || tracks.iter().any(|t| received(t) > 1)),
        "a second buffer arrived in PAUSED"
    );
    rig.set_state(gst::State::Playing);
    let (_, recorded) = check_recording(&rig.wait_recording(1));
    assert_eq!(recorded, SECOND, "nothing is lost");
}

fn received(track: &common::harness::Track) -> u64 {
    track.received.load(std::sync::atomic::Ordering::SeqCst)
}

#[test]
fn autostart_records_live_input_until_it_is_stopped() {
    let rig = Rig::new();
    let path = rig.path("auto.webm");
    rig.recorder.set_property("location", &path);
    rig.recorder.set_property("autostart", true);
    let tracks = [rig.live_audio(), rig.live_video()];
    rig.play();
    rig.wait_event(Kind::Start, 1);
    tracks[1].wait_buffers(15);
    rig.recorder.stop().expect("stop");
    rig.wait_recording(1);
    assert_plays(&path);
    tracks[1].wait_buffers(10);
    assert_eq!(rig.recorder.recording_state(), State::Inactive, "once");
}

#[test]
fn ready_to_paused_arms_autostart_again() {
    let rig = Rig::new();
    rig.recorder
        .set_property("location", rig.path("auto-%d.webm"));
    rig.recorder.set_property("autostart", true);
    let _tracks = [rig.file_audio(50), rig.file_video(15)];
    for n in 1..=2 {
        rig.set_state(gst::State::Playing);
        rig.wait_recording(n);
        rig.set_state(gst::State::Ready);
        let path = rig.path(&format!("auto-{}.webm", n - 1));
        assert_plays(&path);
        assert_lasts(&path, 0.5, 0.05);
    }
}

#[test]
fn autostart_accepts_live_buffers_during_the_state_change() {
    let rig = Rig::new();
    rig.recorder.set_property("autostart", true);
    rig.set_state(gst::State::Ready);
    let [early, late] = ["audio_0", "audio_1"].map(|name| {
        let pad = rig.recorder.request_pad_simple(name);
        pad.expect("a pad")
    });
    let taken = Mutex::new(None);
    // The second pad is activated after the first one, which receives a buffer meanwhile. SAFETY: the pad is in no
    // state in which the function could be in use.
    unsafe {
        late.set_activatemode_function(move |_, _, _, active| {
            let mut taken = taken.lock().expect("no panic");
            if active && taken.is_none() {
                let caps = "audio/x-raw,format=S16LE,layout=interleaved,rate=48000,channels=1";
                let caps: gst::Caps = caps.parse().expect("caps");
                let source = Feed::new(&early, &caps, Upstream::Live(gst::ClockTime::ZERO));
                let mut buffer = gst::Buffer::from_mut_slice(vec![0; 960]);
                let stamped = buffer.get_mut().expect("a new buffer");
                stamped.set_pts(gst::ClockTime::ZERO);
                *taken = Some(source.push(buffer));
            }
            Ok(())
        });
    }
    rig.set_state(gst::State::Playing);
    assert_eq!(rig.recorder.recording_state(), State::Recording);
    rig.assert_no_bus_error();
    rig.recorder.stop().expect("stop");
    rig.wait_recording(1);
}

/// A file with two seconds of audio and video.
fn generated(rig: &Rig, name: &str) -> String {
    let path = rig.path(name);
    common::harness::media::run(
        std::process::Command::new("ffmpeg")
            .args(["-nostdin", "-v", "error", "-f", "lavfi", "-i"])
            .arg("testsrc=size=160x120:rate=25:duration=2")
            .args(["-f", "lavfi", "-i", "sine=sample_rate=48000:duration=2"])
            .args(["-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-c:a", "pcm_s16le"])
            .arg(&path),
    );
    path
}

#[test]
fn autostart_records_the_late_pads_of_uridecodebin() {
    let rig = Rig::new();
    let source = generated(&rig, "source.avi");
    let path = rig.path("auto.webm");
    rig.recorder.set_property("location", &path);
    rig.recorder.set_property("autostart", true);
    let decoder = gst::ElementFactory::make("uridecodebin")
        .property("uri", format!("file://{source}"))
        .build()
        .expect("uridecodebin");
    rig.pipeline.add(&decoder).expect("added");
    let recorder = rig.recorder.downgrade();
    decoder.connect_pad_added(move |_, pad| {
        let Some(recorder) = recorder.upgrade() else {
            return;
        };
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let audio = caps
            .structure(0)
            .is_some_and(|s| s.name().starts_with("audio/"));
        let template = if audio { "audio_%u" } else { "video_%u" };
        let sink = recorder.request_pad_simple(template).expect("a late pad");
        pad.link(&sink).expect("linked");
    });
    rig.pipeline
        .set_state(gst::State::Playing)
        .expect("PLAYING");
    // Not for EOS on the bus: in 1.22, a bin that contains uridecodebin sometimes drops it.
    let events = rig.wait_recording(1);
    rig.assert_no_bus_error();
    assert_eq!(kinds(&events), [Kind::Start, Kind::Data, Kind::Stop]);
    assert_plays(&path);
    assert_finalised(&path);
    assert_lasts(&path, 2.0, 0.1);
    assert_eq!(frames(&path), 50);
    assert_eq!(probe(&path).codecs("audio"), ["opus"]);
}

#[test]
fn the_file_grows_while_recording() {
    let (rig, _tracks) = Rig::live(1, 1);
    let path = rig.path("grows.webm");
    rig.recorder.set_property("location", &path);
    rig.recorder.start().expect("start");
    let size = || std::fs::metadata(&path).map(|m| m.len()).unwrap_or(0);
    wait_for("a first part of the file", || size() > 0);
    let first = size();
    wait_for("more of the file", || size() > first);
    assert_eq!(rig.recorder.recording_state(), State::Recording);
}
