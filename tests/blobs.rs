//! Blobs: when they are emitted, what they report, and that together they are the recording.

mod common;

use common::harness::feed::{PushTrack, advance_all, sample_at};
use common::harness::log::{check_recording, kinds, sample_bytes};
use common::harness::media::{assert_lasts, assert_plays, frames, probe, sound};
use common::harness::{DEADLINE, Event, Kind, QUIET, Recorder, Rig, holds_within};
use gst::prelude::*;

const SECOND: gst::ClockTime = gst::ClockTime::SECOND;

/// A rig in PLAYING with one pushed audio and one pushed video track.
fn fed() -> (Rig, PushTrack, PushTrack) {
    let rig = Rig::new();
    rig.play();
    let (audio, video) = (rig.feed_audio(), rig.feed_video());
    (rig, audio, video)
}

/// The blobs among some events.
fn blobs(events: &[Event]) -> Vec<&Event> {
    events.iter().filter(|e| e.kind == Kind::Data).collect()
}

fn duration(blob: &Event) -> gst::ClockTime {
    blob.buffer().duration().expect("a blob has a duration")
}

#[test]
fn timeslice_counts_recorded_time_only() {
    const SLICE: u32 = 500;
    let (rig, audio, video) = fed();
    rig.recorder.set_property("timeslice", SLICE);
    let go = |seconds: u64| advance_all(&[&audio, &video], SECOND * seconds);
    rig.recorder.start().expect("start");
    go(1);
    rig.recorder.pause().expect("pause");
    go(3);
    rig.recorder.resume().expect("resume");
    go(2);
    // Everything left by then is in the single blob at the end.
    rig.wait_event(Kind::Data, 5);
    rig.recorder.stop().expect("stop");

    let events = rig.wait_recording(1);
    let (bytes, recorded) = check_recording(&events);
    assert_eq!(recorded, SECOND * 3, "the blobs' durations add up");
    let blobs = blobs(&events);
    assert!(
        (5..=8).contains(&blobs.len()),
        "3 s in slices of half a second: {}",
        blobs.len()
    );
    let slice = gst::ClockTime::from_mseconds(SLICE.into());
    for blob in &blobs[..blobs.len() - 1] {
        let lasts = duration(blob);
        assert!(
            lasts + slice / 5 >= slice && lasts <= slice + slice / 2,
            "a blob of {lasts}"
        );
        assert!(!blob.bytes.is_empty());
    }

    let path = rig.save("sliced.webm", &bytes);
    assert_plays(&path);
    assert_eq!(frames(&path), 75);
    let decoded = sound(&path, 0).len() as f64 / 48_000.0;
    assert!((decoded - 3.0).abs() < 0.05, "{decoded} s of audio");
}

#[test]
fn timeslice_in_a_live_recording() {
    let (rig, _tracks) = Rig::live(1, 1);
    rig.recorder.set_property("timeslice", 200u32);
    rig.recorder.start().expect("start");
    rig.wait_event(Kind::Data, 5);
    rig.recorder.stop().expect("stop");
    let (bytes, recorded) = check_recording(&rig.wait_recording(1));
    assert!(recorded >= SECOND * 9 / 10, "{recorded} in five slices");
    let path = rig.save("live.webm", &bytes);
    assert_plays(&path);
    let seconds = recorded.nseconds() as f64 / 1e9;
    let decoded = sound(&path, 0).len() as f64 / 48_000.0;
    assert!((decoded - seconds).abs() < 0.05, "{decoded} of {seconds} s");
}

#[test]
fn the_smallest_timeslice_still_gives_contiguous_blobs() {
    let (rig, audio, video) = fed();
    rig.recorder.set_property("timeslice", 1u32);
    rig.recorder.start().expect("start");
    advance_all(&[&audio, &video], SECOND);
    rig.wait_event(Kind::Data, 20);
    rig.recorder.stop().expect("stop");
    let (bytes, recorded) = check_recording(&rig.wait_recording(1));
    assert_eq!(recorded, SECOND);
    assert_plays(&rig.save("fine.webm", &bytes));
}

#[test]
fn without_timeslice_there_is_one_blob_at_the_end() {
    let (rig, audio, video) = fed();
    rig.recorder.start().expect("start");
    advance_all(&[&audio, &video], SECOND * 2);
    rig.wait_event(Kind::Start, 1);
    rig.signals.nothing_within(QUIET);
    rig.recorder.stop().expect("stop");
    let events = rig.wait_recording(1);
    assert_eq!(kinds(&events), [Kind::Start, Kind::Data, Kind::Stop]);
    let (bytes, recorded) = check_recording(&events);
    assert_eq!(recorded, SECOND * 2);
    let path = rig.save("whole.webm", &bytes);
    assert_plays(&path);
    assert_lasts(&path, 2.0, 0.05);
    common::harness::media::assert_finalised(&path);
}

#[test]
fn request_data_emits_a_blob_immediately_while_recording_or_paused() {
    let (rig, audio, video) = fed();
    rig.recorder.start().expect("start");
    advance_all(&[&audio, &video], SECOND);
    rig.wait_event(Kind::Start, 1);
    rig.recorder.request_data().expect("while recording");
    rig.wait_event(Kind::Data, 1);
    rig.recorder.pause().expect("pause");
    rig.wait_event(Kind::Pause, 1);
    // Nothing is recorded between these two: the second blob is empty.
    rig.recorder.request_data().expect("while paused");
    rig.recorder.request_data().expect("while paused, again");
    rig.wait_event(Kind::Data, 3);
    rig.recorder.resume().expect("resume");
    advance_all(&[&audio, &video], SECOND);
    rig.recorder.stop().expect("stop");

    let events = rig.wait_recording(1);
    assert_eq!(
        kinds(&events),
        [
            Kind::Start,
            Kind::Data,
            Kind::Pause,
            Kind::Data,
            Kind::Data,
            Kind::Resume,
            Kind::Data,
            Kind::Stop
        ]
    );
    let (bytes, recorded) = check_recording(&events);
    assert_eq!(recorded, SECOND * 2);
    let path = rig.save("requested.webm", &bytes);
    assert_plays(&path);
    assert_eq!(frames(&path), 50);
}

/// What has been recorded, however little, is in the requested blob, and is playable.
#[test]
fn request_data_ends_the_fragments_of_mp4() {
    let (rig, audio, video) = fed();
    rig.recorder.set_property("mime-type", "video/mp4");
    rig.recorder.start().expect("start");
    let (mut bytes, mut number) = (Vec::new(), 0);
    let (mut had, mut fed) = (gst::ClockTime::ZERO, gst::ClockTime::ZERO);
    let step = SECOND * 2 / 5;
    for paused in [false, false, true] {
        advance_all(&[&audio, &video], step);
        fed += step;
        if paused {
            rig.recorder.pause().expect("pause");
            rig.wait_event(Kind::Pause, 1);
        }
        // The gate and the muxer hold a frame each, and the encoder of audio its delay.
        let least = fed - gst::ClockTime::from_mseconds(150);
        let covers = holds_within(DEADLINE, || {
            number += 1;
            rig.recorder.request_data().expect("request-data");
            let blob = rig.wait_event(Kind::Data, number);
            bytes.extend_from_slice(&blob.bytes);
            had += duration(&blob);
            had >= least
        });
        assert!(covers, "{had} of {fed}");
        let path = rig.save("requested.mp4", &bytes);
        assert_plays(&path);
        let seen = frames(&path) as u64 * 40;
        assert!(seen + 150 >= fed.mseconds(), "{seen} ms of {fed}");
    }
    rig.recorder.resume().expect("resume");
    advance_all(&[&audio, &video], SECOND);
    rig.recorder.stop().expect("stop");
    let (bytes, recorded) = check_recording(&rig.wait_recording(1));
    assert_eq!(recorded, fed + SECOND);
    let path = rig.save("requested.mp4", &bytes);
    assert_plays(&path);
    assert_eq!(frames(&path) as u64 * 40, recorded.mseconds());
}

#[test]
fn request_data_may_emit_an_empty_blob() {
    let (rig, audio, video) = fed();
    rig.recorder.start().expect("start");
    advance_all(&[&audio, &video], SECOND);
    rig.wait_event(Kind::Start, 1);
    for n in 1..=20 {
        rig.recorder.request_data().expect("request-data");
        rig.wait_event(Kind::Data, n);
    }
    rig.recorder.stop().expect("stop");
    let (bytes, recorded) = check_recording(&rig.wait_recording(1));
    assert_eq!(recorded, SECOND);
    assert_plays(&rig.save("empty.webm", &bytes));
}

#[test]
fn blobs_never_change_after_they_are_emitted() {
    for mime in ["video/webm", "audio/wav"] {
        let rig = Rig::new();
        rig.recorder.set_property("mime-type", mime);
        rig.recorder.set_property("timeslice", 300u32);
        rig.play();
        let audio = rig.feed_audio();
        rig.recorder.start().expect("start");
        audio.advance(SECOND * 2);
        rig.wait_event(Kind::Data, 4);
        rig.recorder.stop().expect("stop");
        let events = rig.wait_recording(1);
        for blob in blobs(&events) {
            let now = sample_bytes(blob.sample.as_ref().expect("a sample"));
            assert!(now == blob.bytes, "a blob of {mime} has changed");
        }
    }
}

#[test]
fn blob_messages_carry_the_signals_sample_only_on_request() {
    for asked in [false, true] {
        let (rig, audio, video) = fed();
        rig.recorder.set_property("timeslice", 300u32);
        rig.recorder.set_property("blob-messages", asked);
        rig.recorder.start().expect("start");
        advance_all(&[&audio, &video], SECOND);
        rig.wait_event(Kind::Data, 2);
        rig.recorder.stop().expect("stop");
        let events = rig.wait_recording(1);
        let messages = rig.messages.wait("the message of stop", |m| {
            m.last().is_some_and(|e| e.kind == Kind::Stop)
        });
        let reported = blobs(&messages);
        assert_eq!(reported.len(), blobs(&events).len());
        for (message, signal) in reported.into_iter().zip(blobs(&events)) {
            let buffer = signal.buffer();
            assert_eq!(message.time("size"), signal.bytes.len() as u64);
            assert_eq!(message.time("offset"), buffer.offset());
            let pts = buffer.pts().expect("a timecode").nseconds();
            assert_eq!(message.time("timecode"), pts);
            assert_eq!(message.time("duration"), duration(signal).nseconds());
            assert_eq!(message.sample.is_some(), asked);
            if asked {
                assert!(message.bytes == signal.bytes, "the same bytes");
            }
        }
    }
}

#[test]
fn consecutive_recordings_are_complete_and_start_at_zero() {
    let (rig, audio, video) = fed();
    for n in 1..=3 {
        // Media between the recordings is in none of them.
        advance_all(&[&audio, &video], SECOND / 5);
        rig.recorder.start().expect("start");
        advance_all(&[&audio, &video], SECOND);
        rig.recorder.stop().expect("stop");
        let (bytes, recorded) = check_recording(&rig.wait_recording(n));
        assert_eq!(recorded, SECOND);
        let path = rig.save(&format!("{n}.webm"), &bytes);
        assert_plays(&path);
        assert_lasts(&path, 1.0, 0.05);
        let media = probe(&path);
        assert!(media.start.abs() < 0.02, "starts at {}", media.start);
        assert_eq!(frames(&path), 25);
        common::harness::media::assert_finalised(&path);
    }
}

/// The pushed samples in an interval given in tenths of a second.
fn tenths(from: u64, to: u64) -> impl Iterator<Item = i16> {
    (from * 4800..to * 4800).map(sample_at)
}

#[test]
fn wav_holds_every_sample_between_the_cuts_and_no_other() {
    let rig = Rig::new();
    rig.recorder.set_property("mime-type", "audio/wav");
    rig.play();
    let audio = rig.feed_audio();
    let mut at = 0;
    let mut expected = Vec::new();
    for (action, tenths_before) in [
        ("start", 3),
        ("pause", 7),
        ("resume", 4),
        ("pause", 2),
        ("resume", 1),
        ("stop", 9),
    ] {
        audio.advance(SECOND / 10 * tenths_before);
        if matches!(action, "pause" | "stop") {
            expected.extend(tenths(at, at + tenths_before));
        }
        at += tenths_before;
        rig.recorder.act(action).expect(action);
    }
    // Media after the stop is in no file.
    audio.advance(SECOND / 2);

    let (bytes, recorded) = check_recording(&rig.wait_recording(1));
    assert_eq!(recorded, SECOND / 10 * 18);
    let path = rig.save("exact.wav", &bytes);
    let actual = sound(&path, 0);
    assert_eq!(actual.len(), expected.len());
    assert!(actual == expected, "sample for sample");
    assert_lasts(&path, 1.8, 0.001);
}

#[test]
fn bytes_beyond_max_memory_are_in_an_unlinked_file() {
    let rig = Rig::new();
    let folder = tempfile::tempdir().expect("a folder");
    rig.recorder.set_property("mime-type", "audio/wav");
    rig.recorder.set_property("max-memory", 4096u64);
    rig.recorder
        .set_property("temp-dir", folder.path().to_str().expect("a path"));
    rig.play();
    let audio = rig.feed_audio();
    rig.recorder.start().expect("start");
    audio.advance(SECOND * 3);
    rig.recorder.stop().expect("stop");
    let events = rig.wait_recording(1);
    let left = std::fs::read_dir(folder.path())
        .expect("the folder")
        .count();
    assert_eq!(left, 0, "temp-dir has no visible files");
    let (bytes, _) = check_recording(&events);
    let expected: Vec<i16> = tenths(0, 30).collect();
    assert!(sound(&rig.save("spilled.wav", &bytes), 0) == expected);
    let last = blobs(&events).pop().expect("a blob").sample.clone();
    drop(rig);
    assert!(
        sample_bytes(&last.expect("a sample")) == bytes,
        "a blob outlives its recorder"
    );
}

#[test]
fn stats_count_blobs_and_bytes() {
    let (rig, audio, video) = fed();
    rig.recorder.set_property("timeslice", 250u32);
    rig.recorder.start().expect("start");
    advance_all(&[&audio, &video], SECOND);
    rig.wait_event(Kind::Data, 2);
    rig.recorder.stop().expect("stop");
    let events = rig.wait_recording(1);
    let (bytes, _) = check_recording(&events);
    assert_eq!(rig.recorder.stat("bytes"), bytes.len() as u64);
    assert_eq!(rig.recorder.stat("blobs"), blobs(&events).len() as u64);
    assert_eq!(rig.recorder.stat("duration"), SECOND.nseconds());
    assert_eq!(rig.recorder.stat("paused-duration"), 0);
    let stats = rig.recorder.property::<gst::Structure>("stats");
    assert_eq!(stats.name(), "application/x-mediarecorder-stats");
    let tracks = stats.get::<gst::Array>("tracks").expect("tracks");
    let mut pads = Vec::new();
    for track in tracks.iter() {
        let track = track.get::<gst::Structure>().expect("a structure");
        pads.push(track.get::<String>("pad").expect("pad"));
        assert!(!track.get::<String>("encoder").expect("encoder").is_empty());
        assert!(track.get::<u64>("buffers").expect("buffers") > 0);
        assert!(track.get::<u64>("encoded").expect("encoded") > 0);
        assert_eq!(track.get::<u64>("dropped"), Ok(0));
        assert_eq!(track.get::<u64>("filled"), Ok(0));
    }
    pads.sort();
    assert_eq!(pads, ["audio_0", "video_0"]);
}

/// The type of a blob: the name of its caps, and the matching MIME type.
fn types(event: &Event) -> (String, String) {
    let sample = event.sample.as_ref().expect("a sample");
    let caps = sample
        .caps()
        .and_then(|caps| Some(caps.structure(0)?.name().to_string()));
    let info = sample
        .info()
        .and_then(|info| info.get::<String>("mime-type").ok());
    (caps.unwrap_or_default(), info.unwrap_or_default())
}

#[test]
fn bytes_can_be_requested_from_on_start() {
    for (mime_type, audio, video) in [
        ("video/webm;codecs=vp8,opus", 1, 1),
        ("video/mp4;codecs=avc1,mp4a.40.2", 1, 1),
        ("audio/ogg;codecs=opus", 1, 0),
        ("audio/wav", 1, 0),
        ("audio/flac", 1, 0),
        ("audio/mpeg", 1, 0),
    ] {
        let (rig, _tracks) = Rig::live(audio, video);
        rig.recorder.set_property("mime-type", mime_type);
        rig.on(Kind::Start, |recorder| {
            recorder.act("request-data").expect("it records");
        });
        rig.recorder.start().expect("start");
        let asked = rig.wait_event(Kind::Data, 1);
        assert!(!asked.bytes.is_empty(), "{mime_type}");
        rig.recorder.stop().expect("stop");
        check_recording(&rig.wait_recording(1));
    }
}

#[test]
fn a_blob_requested_before_its_type_is_known_has_the_type() {
    let (rig, _tracks) = Rig::live(1, 1);
    let mime_type = "video/mp4;codecs=avc1,mp4a.40.2";
    rig.recorder.set_property("mime-type", mime_type);
    rig.recorder.start().expect("start");
    rig.recorder.request_data().expect("request-data");
    let asked = rig.wait_event(Kind::Data, 1);
    rig.recorder.stop().expect("stop");
    let events = rig.wait_recording(1);
    assert_eq!(events[0].kind, Kind::Start);
    let actual = &events[0].mime_type;
    assert!(
        actual.contains("avc1.") && actual.contains("mp4a.40.2"),
        "{actual}"
    );
    assert_eq!(
        types(&asked),
        ("video/quicktime".to_owned(), actual.clone())
    );
}

#[test]
fn the_blob_of_an_empty_recording_has_caps_and_type() {
    for (mime_type, caps) in [
        ("", "video/webm"),
        ("audio/ogg;codecs=opus", "audio/ogg"),
        ("video/mp4", "video/quicktime"),
    ] {
        let rig = Rig::new();
        rig.recorder.set_property("mime-type", mime_type);
        // Caps pushed earlier would arrive with the first buffer only.
        rig.play();
        let silent = rig.feed_audio();
        let dark = (!mime_type.starts_with("audio")).then(|| rig.feed_video());
        [Some(&silent), dark.as_ref()]
            .into_iter()
            .flatten()
            .for_each(PushTrack::wait_taken);
        rig.recorder.start().expect("start");
        rig.recorder.stop().expect("stop");
        let events = rig.wait_recording(1);
        let blob = blobs(&events)[0];
        let (found, of_blob) = types(blob);
        assert_eq!(found, caps, "{mime_type}");
        let essence = format!("{caps};codecs=").replace("quicktime", "mp4");
        assert!(of_blob.starts_with(&essence), "{mime_type}: {of_blob}");
    }
}
