//! MIME types as applications write them, correct or not, and what has to hold for each: `is-type-supported` is
//! true exactly if `start` succeeds.

use super::harness::{Recorder, State, code, expect_error, make_recorder};
use gst::prelude::*;
use std::collections::HashSet;

/// Containers with their video and audio codecs.
const CONTAINERS: [(&str, &[&str], &[&str]); 7] = [
    ("webm", &["vp8", "vp9", "av1"], &["opus", "vorbis"]),
    (
        "x-matroska",
        &["vp8", "vp9", "av1", "avc1", "hvc1"],
        &["opus", "vorbis", "flac", "pcm", "mp4a.40.2", "mp3"],
    ),
    (
        "mp4",
        &["avc1", "hvc1", "av1", "vp9"],
        &["mp4a.40.2", "opus", "mp3"],
    ),
    ("ogg", &["theora", "vp8"], &["opus", "vorbis", "flac"]),
    ("wav", &[], &["pcm"]),
    ("flac", &[], &["flac"]),
    ("mpeg", &[], &["mp3"]),
];
const VIDEO_CODECS: [&str; 6] = ["vp8", "vp9", "av1", "avc1", "hvc1", "theora"];
const AUDIO_CODECS: [&str; 6] = ["opus", "vorbis", "flac", "pcm", "mp4a.40.2", "mp3"];

/// Other spellings of a type, and the plain, equivalent one.
const WRITINGS: [(&str, &str); 59] = [
    // Names with profiles and levels, as browsers write them.
    ("video/webm;codecs=vp8.0", "video/webm;codecs=vp8"),
    ("video/webm;codecs=vp9.0,opus", "video/webm;codecs=vp9,opus"),
    ("video/webm;codecs=vp08.00.41.08", "video/webm;codecs=vp8"),
    ("video/webm;codecs=vp09.00.10.08", "video/webm;codecs=vp9"),
    (
        "video/webm;codecs=vp09.00.51.08.01.01.01.01.00,opus",
        "video/webm;codecs=vp9,opus",
    ),
    ("video/webm;codecs=av01.0.04M.08", "video/webm;codecs=av1"),
    (
        "video/webm;codecs=\"av01.0.19M.08,opus\"",
        "video/webm;codecs=av1,opus",
    ),
    ("video/mp4;codecs=vp09.00.10.08", "video/mp4;codecs=vp9"),
    (
        "video/mp4;codecs=av01.0.04M.08,opus",
        "video/mp4;codecs=av1,opus",
    ),
    ("video/mp4;codecs=avc1.42E01E", "video/mp4;codecs=avc1"),
    ("video/mp4;codecs=avc1.42e01e", "video/mp4;codecs=avc1"),
    ("video/mp4;codecs=avc1.66.30", "video/mp4;codecs=avc1"),
    ("video/mp4;codecs=avc3", "video/mp4;codecs=avc1"),
    ("video/mp4;codecs=avc3.4D401F", "video/mp4;codecs=avc1"),
    (
        "video/mp4;codecs=\"avc1.64001E, mp4a.40.2\"",
        "video/mp4;codecs=avc1,mp4a.40.2",
    ),
    (
        "video/mp4;codecs=\"avc1.640028,opus\"",
        "video/mp4;codecs=avc1,opus",
    ),
    ("video/mp4;codecs=h264", "video/mp4;codecs=avc1"),
    ("video/mp4;codecs=hevc", "video/mp4;codecs=hvc1"),
    ("video/mp4;codecs=H265", "video/mp4;codecs=hvc1"),
    ("video/mp4;codecs=hev1", "video/mp4;codecs=hvc1"),
    ("video/mp4;codecs=hvc1.1.6.L93.B0", "video/mp4;codecs=hvc1"),
    (
        "video/mp4;codecs=hev1.1.6.L123.00,mp4a.40.2",
        "video/mp4;codecs=hvc1,mp4a.40.2",
    ),
    (
        "video/x-matroska;codecs=avc1.42E01E,opus",
        "video/x-matroska;codecs=avc1,opus",
    ),
    ("audio/mp4;codecs=mp4a.40.02", "audio/mp4;codecs=mp4a.40.2"),
    ("audio/mp4;codecs=mp4a.67", "audio/mp4;codecs=mp4a.40.2"),
    ("audio/mp4;codecs=mp4a.6B", "audio/mp4;codecs=mp3"),
    ("audio/mp4;codecs=mp4a.40.34", "audio/mp4;codecs=mp3"),
    // Other names of containers.
    ("video/matroska", "video/x-matroska"),
    ("audio/matroska;codecs=pcm", "audio/x-matroska;codecs=pcm"),
    ("audio/wave", "audio/wav"),
    ("audio/x-wav", "audio/wav"),
    ("audio/vnd.wave;codecs=1", "audio/wav;codecs=pcm"),
    ("audio/x-flac", "audio/flac"),
    ("audio/mp3", "audio/mpeg"),
    // Unusual case.
    ("VIDEO/WEBM", "video/webm"),
    ("Video/WebM;Codecs=VP8", "video/webm;codecs=vp8"),
    ("VIDEO/WEBM;CODECS=VP9,OPUS", "video/webm;codecs=vp9,opus"),
    (
        "video/MP4;codecs=AVC1.64001e,MP4A.40.2",
        "video/mp4;codecs=avc1,mp4a.40.2",
    ),
    ("audio/Ogg;codecs=Vorbis", "audio/ogg;codecs=vorbis"),
    (
        "video/OGG;codecs=\"Theora,Opus\"",
        "video/ogg;codecs=theora,opus",
    ),
    ("AUDIO/MPEG;CODECS=MP3", "audio/mpeg;codecs=mp3"),
    // Quotes, whitespace, and another order.
    ("video/webm;codecs=\"vp8\"", "video/webm;codecs=vp8"),
    ("video/webm;codecs='vp9,opus'", "video/webm;codecs=vp9,opus"),
    (
        "video/webm;codecs=\"opus,vp8\"",
        "video/webm;codecs=vp8,opus",
    ),
    (
        "video/webm;codecs=vorbis, vp9",
        "video/webm;codecs=vp9,vorbis",
    ),
    (
        "video/webm; codecs=\"vp8, opus\"",
        "video/webm;codecs=vp8,opus",
    ),
    (
        " video/webm ; codecs = \" vp8 , opus \" ",
        "video/webm;codecs=vp8,opus",
    ),
    (
        "\tvideo/mp4\t;\tcodecs='avc1,\topus'\t",
        "video/mp4;codecs=avc1,opus",
    ),
    ("video/ogg ;codecs= theora", "video/ogg;codecs=theora"),
    ("  audio/wav  ", "audio/wav"),
    // Empty parameters, unknown parameters, and a repeated one.
    ("video/webm;", "video/webm"),
    ("video/webm;codecs=", "video/webm"),
    ("video/webm;codecs=\"\"", "video/webm"),
    ("audio/webm; codecs=' '", "audio/webm"),
    ("audio/mpeg;rate=44100", "audio/mpeg"),
    ("video/webm;foo=\"a;b\";codecs=vp8", "video/webm;codecs=vp8"),
    ("video/ogg;;codecs=theora;x", "video/ogg;codecs=theora"),
    ("video/webm;codecs=vp8;codecs=vp9", "video/webm;codecs=vp8"),
    (
        "video/webm;codecs=opus;codecs=banana",
        "video/webm;codecs=opus",
    ),
];

/// Never a type that can be recorded.
const JUNK: [&str; 62] = [
    " ",
    ";",
    "/",
    "video",
    "audio/",
    "/webm",
    "webm",
    "vp8",
    "video/*",
    "*/*",
    "video//webm",
    "video/webm/",
    "video/webm,codecs=vp8",
    "video\\webm",
    "video /webm",
    "audio/banana",
    "video/pineapple",
    "video/invalid",
    "text/webm",
    "image/gif",
    "application/ogg",
    "video/wav",
    "video/mpeg",
    "video/flac",
    "video/quicktime",
    "vidéo/webm",
    "видео/webm",
    "video/webm\u{200b}",
    "video/webm;codecs=banana",
    "video/webm;codecs=,",
    "video/webm;codecs=vp8,",
    "video/webm;codecs=,vp8",
    "video/webm;codecs=vp8,,opus",
    "video/webm;codecs=vp8 opus",
    "video/webm;codecs=vp 8",
    "video/webm;codecs=\"vp8",
    "video/webm;codecs=vp8\"",
    "video/webm;codecs='vp8\"",
    "video/webm;codecs=\"\"vp8\"\"",
    "video/webm;codecs=vp8,vp9",
    "video/webm;codecs=vp8,vp8",
    "video/webm;codecs=opus,vorbis",
    "video/webm;codecs=vp8,opus,banana",
    "video/webm;codecs=vp8.1",
    "video/webm;codecs=vp09.00",
    "video/webm;codecs=vp09.09.10.08",
    "video/webm;codecs=av01.9.04M.08",
    "video/webm;codecs=av01.0.04X.08",
    "audio/webm;codecs=vp8",
    "audio/webm;codecs=opus,vp8",
    "audio/ogg;codecs=theora",
    "video/mp4;codecs=avc1.",
    "video/mp4;codecs=avc1.42E0",
    "video/mp4;codecs=avc1.zzzzzz",
    "video/mp4;codecs=avc1.00001E",
    "video/mp4;codecs=hvc1.1.6",
    "video/mp4;codecs=hvc1.1.6.X93",
    "video/mp4;codecs=mp4a.40.5",
    "video/mp4;codecs=mp4a",
    "audio/wav;codecs=2",
    "audio/mpeg;codecs=mp2",
    "video/webm;codecs=\u{fffd}vp8",
];

/// A type, and what is known about it whatever is installed.
#[derive(Clone, Debug)]
pub struct Type {
    pub text: String,
    /// Its plain spelling; `None` if no installation can record it.
    pub plain: Option<String>,
}

/// The whole table without duplicates.
pub fn table() -> Vec<Type> {
    let same = |text: String| (text.clone(), Some(text));
    let mut list = vec![same(String::new())];
    for (container, videos, audios) in CONTAINERS {
        for kind in ["audio", "video"] {
            // In containers without video there are no video types, so some of these are invalid.
            let known = (kind == "audio" || !videos.is_empty()).then_some(());
            let of = |text: String| (text.clone(), known.map(|()| text));
            list.push(of(format!("{kind}/{container}")));
            for audio in AUDIO_CODECS {
                let text = format!("{kind}/{container};codecs={audio}");
                list.push(of(text));
                if !audios.contains(&audio) {
                    list.last_mut().expect("just pushed").1 = None;
                }
            }
        }
        for video in VIDEO_CODECS {
            let takes = videos.contains(&video);
            let text = format!("video/{container};codecs={video}");
            list.push((text.clone(), takes.then_some(text)));
            // If the container has no video, one pair is enough.
            for audio in AUDIO_CODECS
                .iter()
                .take(if videos.is_empty() { 1 } else { 6 })
            {
                let takes = takes && audios.contains(audio);
                let text = format!("video/{container};codecs={video},{audio}");
                list.push((text.clone(), takes.then_some(text)));
            }
        }
    }
    list.extend(WRITINGS.map(|(text, plain)| (text.to_owned(), Some(plain.to_owned()))));
    list.extend(JUNK.map(|text| (text.to_owned(), None)));
    let mut seen = HashSet::new();
    list.retain(|(text, _)| seen.insert(text.clone()));
    let types = list.into_iter().map(|(text, plain)| Type { text, plain });
    types.collect()
}

/// A recorder in PAUSED with live tracks that have not received media yet.
struct Stage {
    pipeline: gst::Pipeline,
    recorder: gst::Element,
}

impl Stage {
    fn new(audio: bool, video: bool) -> Self {
        let mut line = "mediarecorder name=rec".to_owned();
        if audio {
            line += " audiotestsrc is-live=true ! rec.audio_0";
        }
        if video {
            line += " videotestsrc is-live=true ! video/x-raw,width=64,height=48 ! rec.video_0";
        }
        let pipeline = gst::parse::launch(&line).expect("a pipeline");
        let pipeline = pipeline.downcast::<gst::Pipeline>().expect("a pipeline");
        let recorder = pipeline.by_name("rec").expect("the recorder");
        pipeline.set_state(gst::State::Paused).expect("PAUSED");
        Stage { pipeline, recorder }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// The kinds of track that a type is for: those of its codecs, otherwise that of the container. For an invalid
/// type, audio, which any container supports.
fn kinds(plain: Option<&str>) -> (bool, bool) {
    let plain = plain.unwrap_or_default();
    let codecs = plain.split_once("codecs=").map(|(_, codecs)| codecs);
    let has = |list: &[&str]| codecs.is_some_and(|c| c.split(',').any(|c| list.contains(&c)));
    let video = has(&VIDEO_CODECS) || codecs.is_none() && plain.starts_with("video/");
    (has(&AUDIO_CODECS) || codecs.is_none(), video)
}

/// Asserts for every type of the table that `start` succeeds exactly if `is-type-supported` is true, whatever the
/// spelling, and that invalid types are not supported. Returns the supported types.
pub fn check_supported_types_start() -> Vec<Type> {
    let asked = make_recorder();
    let stages = [(true, false), (false, true), (true, true)];
    let stages = stages.map(|kinds| (kinds, Stage::new(kinds.0, kinds.1)));
    let mut table = table();
    table.retain(|Type { text, plain }| {
        let supported = asked.supports(text);
        let same = plain.as_ref().is_some_and(|plain| asked.supports(plain));
        assert_eq!(supported, same, "{text:?}, which is {plain:?}");
        let wanted = kinds(plain.as_deref());
        let (_, stage) = stages.iter().find(|s| s.0 == wanted).expect("a stage");
        let recorder = &stage.recorder;
        recorder.set_property("mime-type", text);
        // Before start: after on-start, which follows soon, it is the actual type.
        assert_eq!(recorder.mime_type(), *text, "verbatim");
        let started = recorder.start();
        assert_eq!(started.is_ok(), supported, "{text:?}: {started:?}");
        if supported {
            assert_eq!(recorder.recording_state(), State::Recording, "{text:?}");
            recorder.stop().expect("stop");
        } else {
            expect_error(started, code::NOT_SUPPORTED);
        }
        assert_eq!(recorder.recording_state(), State::Inactive, "{text:?}");
        supported
    });
    table
}
