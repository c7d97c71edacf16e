//! Web platform tests, types: MediaRecorder-mimetype.html. Tests whose names begin with `wpt` correspond to
//! theirs, numbered in their order.

mod common;

use common::harness::log::{check_recording, kinds};
use common::harness::media::{assert_plays, probe};
use common::harness::{Event, Kind, Recorder, Rig, State, code, expect_error, make_recorder};
use common::types;
use gst::prelude::*;
use std::time::Duration;

/// The types of the web platform tests, for both kinds of container.
const CONTAINERS: [&str; 4] = ["mp4", "ogg", "webm", "x-matroska"];
const AUDIO_CODECS: [&str; 3] = ["opus", "vorbis", "mp4a.40.2"];
const VIDEO_CODECS: [&str; 10] = [
    "vp8",
    "vp9",
    "av1",
    "avc1",
    "avc1.64001E",
    "avc3.64001E",
    "hvc1",
    "hvc1.1.6.L123.00",
    "hev1",
    "hev1.1.6.L123.00",
];
/// Supported by no recorder.
const NONSENSE: [&str; 5] = [
    "audio/banana",
    "video/pineapple",
    "video/invalid",
    "video/webm;codecs=banana",
    "audio/webm;codecs=vp8",
];
/// Supported by this version on any installation with the required plugins.
const ALWAYS: [&str; 9] = [
    "video/webm",
    "audio/webm",
    "video/webm;codecs=vp8",
    "video/webm;codecs=opus",
    "video/webm;codecs=vp8,opus",
    "video/webm; codecs=\"vp8, opus\"",
    "VIDEO/WebM;codecs=VP8,Opus",
    "audio/webm;codecs=opus",
    "audio/wav",
];

/// The whole table of types.
fn table() -> Vec<String> {
    let mut types = Vec::new();
    for container in CONTAINERS {
        types.push(format!("audio/{container}"));
        types.push(format!("video/{container}"));
        for audio in AUDIO_CODECS {
            types.push(format!("audio/{container};codecs={audio}"));
            types.push(format!("video/{container};codecs={audio}"));
        }
        for video in VIDEO_CODECS {
            types.push(format!("video/{container};codecs={video}"));
        }
        for video in ["vp8", "vp9", "av1", "avc1.64001E", "hvc1.1.6.L123.00"] {
            for audio in ["opus", "vorbis", "mp4a.40.2"] {
                types.push(format!("video/{container};codecs={video},{audio}"));
            }
        }
    }
    types.extend(["audio/wav", "audio/mpeg"].map(str::to_owned));
    types.extend(ALWAYS.map(str::to_owned));
    types.extend(NONSENSE.map(str::to_owned));
    types
}

/// Whether a type names a video codec, or a video container without any codec.
fn takes_video(mime: &str) -> bool {
    let mime = mime.to_ascii_lowercase();
    mime.starts_with("video/")
        && (!mime.contains("codecs") || VIDEO_CODECS.iter().any(|c| mime.contains(&c[..3])))
}

/// Whether a type names an audio codec, or a container without any codec.
fn takes_audio(mime: &str) -> bool {
    let mime = mime.to_ascii_lowercase();
    !mime.contains("codecs") || AUDIO_CODECS.iter().any(|c| mime.contains(c))
}

/// A running rig with the tracks that a type is for.
fn rig_for(mime: &str) -> Rig {
    let (audio, video) = (takes_audio(mime), takes_video(mime));
    Rig::live(audio.into(), video.into()).0
}

/// Briefly records the given type and asserts that the recording starts, ends and has the type's container.
#[track_caller]
fn assert_records(rig: &Rig, mime: &str) -> Vec<Event> {
    eprintln!("type {mime:?}");
    rig.recorder.set_property("mime-type", mime);
    // Until it starts, which happens in its own thread.
    assert_eq!(rig.recorder.mime_type(), mime, "as it was requested");
    rig.recorder
        .start()
        .unwrap_or_else(|e| panic!("{mime} is supported, but start: {e}"));
    let actual = rig.wait_event(Kind::Start, 1).mime_type;
    // Audio only may be called audio/… if video/… was requested.
    let container = |mime: &str| {
        let essence = mime.split(';').next().unwrap_or("").to_ascii_lowercase();
        essence.split('/').nth(1).unwrap_or("").trim().to_owned()
    };
    assert_eq!(
        container(&actual),
        container(mime),
        "{mime} resulted in {actual}"
    );
    rig.recorder.stop().expect("stop");
    let events = rig.wait_recording(1);
    assert!(!kinds(&events).contains(&Kind::Error), "{mime}: {events:?}");
    check_recording(&events);
    assert_eq!(rig.recorder.mime_type(), mime, "requested again");
    events
}

/// Asserts that a type is refused with an error that names it.
#[track_caller]
fn assert_refused(rig: &Rig, mime: &str) {
    rig.recorder.set_property("mime-type", mime);
    let error = expect_error(rig.recorder.start(), code::NOT_SUPPORTED);
    assert!(
        error.message().contains(mime),
        "the message names {mime}: {error}"
    );
    assert_eq!(rig.recorder.recording_state(), State::Inactive);
    assert_eq!(rig.signals.len(), 0, "a refused start emits nothing");
}

#[test]
fn wpt22_to_24_no_type_reads_empty() {
    for (audio, video) in [(1, 0), (0, 1), (1, 1)] {
        let (rig, _tracks) = Rig::live(audio, video);
        assert_eq!(rig.recorder.mime_type(), "");
    }
}

#[test]
fn wpt25_nonsense_is_not_supported() {
    let (rig, _tracks) = Rig::live(1, 1);
    for mime in NONSENSE {
        assert!(!rig.recorder.supports(mime), "{mime}");
        assert_refused(&rig, mime);
    }
}

#[test]
fn wpt26_types_of_this_version_are_supported() {
    let rig = Rig::new();
    for mime in ALWAYS {
        assert!(rig.recorder.supports(mime), "{mime}");
    }
    assert!(rig.recorder.supports(""), "no type leaves the choice open");
}

#[test]
fn wpt26_table_supported_starts_and_reads_verbatim_unsupported_is_refused() {
    let asked = make_recorder();
    let (refusing, _tracks) = Rig::live(1, 1);
    for mime in table() {
        asked.set_property("mime-type", &mime);
        assert_eq!(asked.mime_type(), mime, "verbatim");
        if asked.supports(&mime) {
            assert_records(&rig_for(&mime), &mime);
        } else {
            assert_refused(&refusing, &mime);
        }
    }
}

/// The same for more types, including unusual spellings and invalid types; `formats_missing` does it without some
/// encoders.
#[test]
fn types_in_any_spelling_are_supported_exactly_if_they_start() {
    let all = types::table().len();
    let supported = types::check_supported_types_start();
    println!("{} of {all} supported", supported.len());
    assert!(all >= 200 && all - supported.len() > 50, "{all}");
    // With Debian's plugins installed, as in CI, every valid type is supported.
    assert!(supported.len() > 100, "{supported:?}");
}

/// FLAC, which is not in the table of the web platform tests.
#[test]
fn types_with_flac_start_if_supported_and_are_refused_otherwise() {
    let asked = make_recorder();
    let (refusing, _tracks) = Rig::live(1, 1);
    for mime in [
        "audio/flac",
        "audio/ogg;codecs=flac",
        "audio/x-matroska;codecs=flac",
        "audio/webm;codecs=flac",
    ] {
        if asked.supports(mime) {
            assert_records(&Rig::live(1, 0).0, mime);
        } else {
            assert_refused(&refusing, mime);
        }
    }
    assert!(!asked.supports("audio/webm;codecs=flac"));
}

#[test]
fn wpt27_types_with_audio_record_an_audio_only_source() {
    let asked = make_recorder();
    for mime in table() {
        if asked.supports(&mime) && takes_audio(&mime) {
            let (rig, _tracks) = Rig::live(1, 0);
            assert_records(&rig, &mime);
        }
    }
}

#[test]
fn wpt27_video_types_record_a_video_only_source() {
    let asked = make_recorder();
    for mime in table() {
        if asked.supports(&mime) && takes_video(&mime) {
            let (rig, _tracks) = Rig::live(0, 1);
            assert_records(&rig, &mime);
        }
    }
}

#[test]
fn wpt27_video_webm_without_codecs_records_audio_only() {
    let (rig, tracks) = Rig::live(1, 0);
    rig.recorder.set_property("mime-type", "video/webm");
    rig.recorder.start().expect("start");
    rig.wait_event(Kind::Start, 1);
    tracks[0].wait_buffers(20);
    rig.recorder.stop().expect("stop");
    let (bytes, _) = check_recording(&rig.wait_recording(1));
    let path = rig.save("sound.webm", &bytes);
    assert_plays(&path);
    assert_eq!(
        probe(&path).streams,
        [("audio".to_owned(), "opus".to_owned())]
    );
}

#[test]
fn a_kind_without_a_codec_in_the_list_gets_the_containers_default() {
    let (rig, tracks) = Rig::live(1, 1);
    rig.recorder
        .set_property("mime-type", "video/webm;codecs=vp8");
    rig.recorder.start().expect("start");
    rig.wait_event(Kind::Start, 1);
    tracks[1].wait_buffers(5);
    rig.recorder.stop().expect("stop");
    let (bytes, _) = check_recording(&rig.wait_recording(1));
    let media = probe(&rig.save("both.webm", &bytes));
    assert_eq!(media.codecs("video"), ["vp8"]);
    assert_eq!(media.codecs("audio"), ["opus"]);
}

/// Starts with no type requested and returns the event with the actual type.
fn started(audio: usize, video: usize) -> (Rig, Event) {
    let (rig, _tracks) = Rig::live(audio, video);
    rig.recorder.start().expect("start");
    let event = rig.wait_event(Kind::Start, 1);
    (rig, event)
}

#[test]
fn wpt29a_type_is_known_from_on_start_until_inactive() {
    for (audio, video) in [(1, 0), (0, 1), (1, 1)] {
        let (rig, start) = started(audio, video);
        assert!(!start.mime_type.is_empty());
        assert_eq!(rig.recorder.mime_type(), start.mime_type);
        let message = rig.messages.wait("the message of start", |m| !m.is_empty());
        assert_eq!(
            message[0].string("mime-type").as_deref(),
            Some(start.mime_type.as_str())
        );
        rig.recorder.stop().expect("stop");
        assert_eq!(rig.recorder.mime_type(), "", "the requested one again");
    }
}

#[test]
fn wpt29a_type_reads_as_requested_until_on_start() {
    // A track without caps delays on-start.
    let (rig, _tracks) = Rig::live(1, 0);
    rig.recorder.set_property(
        "max-queue-time",
        gst::ClockTime::from_seconds(60).nseconds(),
    );
    let _absent = rig.recorder.request_pad_simple("audio_%u").expect("a pad");
    rig.recorder.start().expect("start");
    assert_eq!(rig.recorder.mime_type(), "");
    rig.signals.nothing_within(Duration::from_millis(500));
    assert_eq!(rig.recorder.mime_type(), "");
}

#[test]
fn wpt29b_on_start_is_emitted_once() {
    for (audio, video) in [(1, 0), (0, 1), (1, 1)] {
        let (rig, _) = started(audio, video);
        rig.signals.nothing_within(Duration::from_secs(1));
    }
}

/// `^[a-z]+\/[a-z]+;[ ]*codecs=[^,]+(,[^,]+)?$`, and the number of codecs.
fn codecs_of(mime: &str, kind: &str) -> usize {
    let (essence, parameters) = mime.split_once(';').expect("type and codecs");
    let (top, sub) = essence.split_once('/').expect("type/subtype");
    assert_eq!(top, kind, "{mime}");
    assert!(
        !sub.is_empty() && sub.bytes().all(|b| b.is_ascii_lowercase()),
        "{mime}"
    );
    let list = parameters
        .trim_start_matches(' ')
        .strip_prefix("codecs=")
        .unwrap_or_else(|| panic!("codecs in {mime}"));
    let codecs: Vec<_> = list.split(',').collect();
    assert!(codecs.iter().all(|c| !c.is_empty()), "{mime}");
    codecs.len()
}

#[test]
fn wpt29c_type_of_an_audio_recording() {
    assert_eq!(codecs_of(&started(1, 0).1.mime_type, "audio"), 1);
}

#[test]
fn wpt29c_type_of_a_video_recording() {
    assert_eq!(codecs_of(&started(0, 1).1.mime_type, "video"), 1);
}

#[test]
fn wpt29c_type_of_an_audio_and_video_recording() {
    assert_eq!(codecs_of(&started(1, 1).1.mime_type, "video"), 2);
}

#[test]
fn the_blobs_caps_are_the_containers() {
    for (mime, caps) in [("audio/webm", "audio/webm"), ("audio/wav", "audio/x-wav")] {
        let (rig, _tracks) = Rig::live(1, 0);
        let events = assert_records(&rig, mime);
        let sample = events
            .iter()
            .find_map(|e| e.sample.clone())
            .expect("a blob");
        let actual = sample.caps().expect("a blob has caps").to_owned();
        let name = actual.structure(0).map(|s| s.name().to_string());
        assert_eq!(name.as_deref(), Some(caps), "{mime}");
    }
}
