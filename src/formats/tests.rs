//! Tests the tables with the installed plugins: every supported type can be recorded, and ffprobe confirms it.

use std::path::Path;
use std::process::Command;

use gst::prelude::*;

use super::{registry::encoders, *};
use crate::model::{Codec, Container, ErrorCode, Kind, MimeType};

fn track(kind: Kind) -> TrackInput {
    TrackInput {
        kind,
        encoded: None,
    }
}

fn encoded(codec: Codec) -> TrackInput {
    TrackInput {
        kind: codec.kind(),
        encoded: Some(codec),
    }
}

const AUDIO: Kind = Kind::Audio;
const VIDEO: Kind = Kind::Video;

/// Every type with one container and at most one codec string of each kind.
fn types() -> Vec<String> {
    let video = [
        "vp8",
        "vp9",
        "vp09.00.10.08",
        "av1",
        "av01.0.04M.08",
        "avc1",
        "avc1.64001E",
        "avc3.42E01E",
        "hvc1.1.6.L123.00",
        "hev1",
        "theora",
        "banana",
    ];
    let audio = [
        "opus",
        "vorbis",
        "flac",
        "pcm",
        "mp4a.40.2",
        "mp3",
        "banana",
    ];
    let mut types = vec!["audio/banana".to_owned(), "video/pineapple".to_owned()];
    for container in ["webm", "x-matroska", "mp4", "ogg", "wav", "flac", "mpeg"] {
        types.push(format!("audio/{container}"));
        types.push(format!("video/{container}"));
        for a in audio {
            types.push(format!("audio/{container};codecs={a}"));
            types.push(format!("video/{container};codecs={a}"));
        }
        for v in video {
            types.push(format!("audio/{container};codecs={v}"));
            types.push(format!("video/{container};codecs=\"{v}\""));
            for a in audio {
                types.push(format!("video/{container}; codecs={v}, {a}"));
            }
        }
    }
    types
}

#[test]
fn only_supported_formats_are_selected() {
    gst::init().unwrap();
    let types = types();
    assert!(types.len() > 200);
    let mut supported = 0;
    for text in &types {
        let asked = MimeType::parse(text);
        let is = is_type_supported(text);
        supported += u32::from(is);
        let kinds = match asked.as_ref().map(|asked| (asked.kind, asked.codecs.len())) {
            Ok((AUDIO, _)) => vec![AUDIO],
            // MediaRecorder-mimetype.html in the web platform tests: video containers support audio alone, too.
            Ok((VIDEO, 0)) => vec![VIDEO, AUDIO],
            Ok((VIDEO, _)) => asked
                .unwrap()
                .codecs
                .iter()
                .map(|c| c.codec.kind())
                .collect(),
            Err(_) => vec![AUDIO],
        };
        for kind in kinds {
            match choose(text, None, &[track(kind)]) {
                Ok(plan) => {
                    assert!(is, "{text}: chosen but not supported: {plan:?}");
                    let actual = plan.mime_type(&[]);
                    assert!(is_type_supported(&actual), "{text} -> {actual}");
                }
                Err(Refusal { error, .. }) => {
                    assert!(!is, "{text}: supported but {error}");
                    assert_eq!(error.code(), ErrorCode::NotSupported);
                }
            }
        }
    }
    // With Debian's plugins installed, as in CI, most of the table is supported.
    assert!(supported > 60, "only {supported} types supported");
}

#[test]
fn without_a_type_the_tracks_determine_it() {
    gst::init().unwrap();
    let chosen = |location, tracks: &[TrackInput]| {
        let plan = choose("", location, tracks).unwrap();
        (plan.mime_type(&[]), plan.copied)
    };
    for (location, tracks, expected, copied) in [
        (
            None,
            vec![track(VIDEO), track(AUDIO)],
            "video/webm;codecs=vp8,opus",
            vec![false, false],
        ),
        (
            None,
            vec![track(AUDIO), track(VIDEO)],
            "video/webm;codecs=vp8,opus",
            vec![false, false],
        ),
        (
            None,
            vec![track(AUDIO)],
            "audio/webm;codecs=opus",
            vec![false],
        ),
        (
            None,
            vec![track(VIDEO); 2],
            "video/webm;codecs=vp8",
            vec![false; 2],
        ),
        (
            Some("x.txt"),
            vec![track(AUDIO)],
            "audio/webm;codecs=opus",
            vec![false],
        ),
        (
            Some("a/x%d.MP4"),
            vec![track(VIDEO), track(AUDIO)],
            "video/mp4;codecs=avc1,mp4a.40.2",
            vec![false; 2],
        ),
        (
            Some("x.ogg"),
            vec![track(AUDIO)],
            "audio/ogg;codecs=opus",
            vec![false],
        ),
        (
            Some("x.wav"),
            vec![track(AUDIO)],
            "audio/wav;codecs=pcm",
            vec![false],
        ),
        (
            Some("x.mp3"),
            vec![track(AUDIO)],
            "audio/mpeg;codecs=mp3",
            vec![false],
        ),
        (
            None,
            vec![encoded(Codec::H264), track(AUDIO)],
            "video/mp4;codecs=avc1,mp4a.40.2",
            vec![true, false],
        ),
        (
            None,
            vec![encoded(Codec::H264), encoded(Codec::Opus)],
            "video/x-matroska;codecs=avc1,opus",
            vec![true; 2],
        ),
        (
            None,
            vec![encoded(Codec::Vp9), track(AUDIO)],
            "video/webm;codecs=vp9,opus",
            vec![true, false],
        ),
        (
            None,
            vec![encoded(Codec::Theora), encoded(Codec::Vorbis)],
            "video/ogg;codecs=theora,vorbis",
            vec![true; 2],
        ),
        (
            None,
            vec![encoded(Codec::Flac)],
            "audio/flac;codecs=flac",
            vec![true],
        ),
        (
            None,
            vec![encoded(Codec::Flac), track(VIDEO)],
            "video/x-matroska;codecs=vp8,flac",
            vec![true, false],
        ),
        (
            None,
            vec![encoded(Codec::Mp3)],
            "audio/mpeg;codecs=mp3",
            vec![true],
        ),
        (
            None,
            vec![encoded(Codec::Aac)],
            "audio/mp4;codecs=mp4a.40.2",
            vec![true],
        ),
        (
            Some("x.mkv"),
            vec![encoded(Codec::H264), track(AUDIO)],
            "video/x-matroska;codecs=avc1,opus",
            vec![true, false],
        ),
        (
            Some("x.mp4"),
            vec![encoded(Codec::Vp8)],
            "video/mp4;codecs=avc1",
            vec![false],
        ),
    ] {
        let found = chosen(location, &tracks);
        assert_eq!(
            found,
            (expected.to_owned(), copied),
            "{location:?} {tracks:?}"
        );
    }
    // The input's codec is kept if the type allows it, and only then.
    let plan = choose("video/x-matroska", None, &[encoded(Codec::H265)]).unwrap();
    assert_eq!((plan.codecs, plan.copied), (vec![Codec::H265], vec![true]));
    let plan = choose("video/webm;codecs=vp8", None, &[encoded(Codec::Vp9)]).unwrap();
    assert_eq!((plan.codecs, plan.copied), (vec![Codec::Vp8], vec![false]));
}

#[test]
fn errors_suggest_what_would_work() {
    gst::init().unwrap();
    for (text, location, tracks, advice) in [
        ("", None, vec![], "link a source"),
        ("audio/webm", None, vec![track(VIDEO)], "use video/webm"),
        ("audio/wav", None, vec![track(VIDEO)], "use video/webm"),
        (
            "audio/wav",
            None,
            vec![track(AUDIO); 2],
            "use video/x-matroska",
        ),
        (
            "",
            Some("x.flac"),
            vec![track(AUDIO), track(VIDEO)],
            "use video/x-matroska",
        ),
        (
            "",
            None,
            vec![encoded(Codec::Theora), encoded(Codec::H264)],
            "set a mime-type",
        ),
        (
            "video/webm;codecs=avc1",
            None,
            vec![track(VIDEO)],
            "takes vp8",
        ),
    ] {
        let error = choose(text, location, &tracks).unwrap_err().error;
        assert_eq!(error.code(), ErrorCode::NotSupported);
        assert!(error.message().contains(advice), "{error}");
    }
}

/// A hand-built recording of about a second of test media according to `plan`, and the caps in front of the
/// muxer.
fn record(plan: &Plan, encoder: Option<&gst::ElementFactory>, path: &Path) -> Vec<gst::Caps> {
    let pipeline = gst::Pipeline::new();
    let mux = muxer(plan.container).unwrap();
    let sink = gst::ElementFactory::make("filesink")
        .property("location", path.to_str().unwrap())
        .build()
        .unwrap();
    pipeline.add_many([&mux, &sink]).unwrap();
    mux.link(&sink).unwrap();
    let mut pads = Vec::new();
    for (index, codec) in plan.codecs.iter().enumerate() {
        let source = match codec.kind() {
            AUDIO => {
                "audiotestsrc num-buffers=100 samplesperbuffer=480 wave=ticks
                 ! audio/x-raw,rate=44100,channels=2 ! audioconvert ! audioresample"
            }
            VIDEO if *codec == Codec::Av1 => {
                "videotestsrc num-buffers=30 ! video/x-raw,width=162,height=122,framerate=30/1
                 ! videoconvert ! videoscale"
            }
            VIDEO => {
                "videotestsrc num-buffers=30 ! video/x-raw,width=161,height=121,framerate=30/1
                 ! videoconvert ! videoscale"
            }
        };
        let source = gst::parse::bin_from_description(source, true).unwrap();
        let mut chain: Vec<gst::Element> = vec![source.upcast(), filter(raw_caps(*codec))];
        let factory = encoder
            .cloned()
            .or_else(|| encoders(*codec).into_iter().next());
        if let Some(factory) = factory.filter(|_| *codec != Codec::Pcm) {
            let encoder = factory.create().build().unwrap();
            tune(&encoder, &tuning(*codec));
            chain.push(encoder);
        }
        if plan.copied[index] {
            // A possible input format that the muxer does not support, if there is one.
            let form = match codec {
                Codec::H264 => "video/x-h264,stream-format=byte-stream",
                Codec::H265 => "video/x-h265,stream-format=byte-stream",
                // voaacenc's ADTS is labelled MPEG-2, which MP4 does not support.
                Codec::Aac if plan.container == Container::Matroska => {
                    "audio/mpeg,mpegversion=4,stream-format=adts"
                }
                _ => "ANY",
            };
            chain.push(filter(form.parse().unwrap()));
        }
        if let Some(parser) = plan.parser(index) {
            chain.push(gst::ElementFactory::make(parser).build().unwrap());
        }
        if let Some(caps) = plan.mux_caps(index) {
            chain.push(filter(caps));
        }
        chain.push(gst::ElementFactory::make("queue").build().unwrap());
        pipeline.add_many(&chain).unwrap();
        gst::Element::link_many(&chain).unwrap();
        let template = mux_pad_template(plan.container, codec.kind());
        let pad = mux
            .static_pad(template)
            .or_else(|| mux.request_pad_simple(template));
        let pad = pad.unwrap();
        chain
            .last()
            .unwrap()
            .static_pad("src")
            .unwrap()
            .link(&pad)
            .unwrap();
        pads.push(pad);
    }
    pipeline.set_state(gst::State::Playing).unwrap();
    let bus = pipeline.bus().unwrap();
    let end = bus.timed_pop_filtered(
        gst::ClockTime::from_seconds(60),
        &[gst::MessageType::Eos, gst::MessageType::Error],
    );
    let caps = pads
        .iter()
        .map(|pad| pad.current_caps().unwrap_or_else(gst::Caps::new_empty));
    let caps = caps.collect();
    pipeline.set_state(gst::State::Null).unwrap();
    let end = end.unwrap_or_else(|| panic!("{plan:?}: no end within a minute"));
    assert!(
        matches!(end.view(), gst::MessageView::Eos(_)),
        "{plan:?} {encoder:?}: {end:?}"
    );
    caps
}

fn filter(caps: gst::Caps) -> gst::Element {
    let filter = gst::ElementFactory::make("capsfilter");
    filter.property("caps", caps).build().unwrap()
}

fn tuning(codec: Codec) -> Tuning {
    match codec.kind() {
        AUDIO => Tuning {
            bits_per_second: 96_000,
            rate: 44_100,
            channels: 2,
            ..Tuning::default()
        },
        VIDEO => Tuning {
            bits_per_second: 500_000,
            width: 160,
            height: 120,
            fps: 30.0,
            ..Tuning::default()
        },
    }
}

/// What ffprobe reports for each stream.
fn probe(path: &Path) -> Vec<serde_json::Value> {
    let output = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-of",
            "json",
            "-show_streams",
            "-count_packets",
        ])
        .arg(path)
        .output()
        .expect("ffprobe");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    report["streams"].as_array().cloned().unwrap_or_default()
}

fn ffmpeg_name(codec: Codec) -> &'static str {
    match codec {
        Codec::H265 => "hevc",
        Codec::Pcm => "pcm_s16le",
        Codec::Aac => "aac",
        other => match other.text() {
            "avc1" => "h264",
            text => text,
        },
    }
}

fn check(plan: &Plan, encoder: Option<&gst::ElementFactory>) -> Vec<gst::Caps> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("recording");
    let caps = record(plan, encoder, &path);
    let streams = probe(&path);
    let found: Vec<_> = streams
        .iter()
        .map(|s| s["codec_name"].as_str().unwrap())
        .collect();
    let expected: Vec<_> = plan
        .codecs
        .iter()
        .map(|codec| ffmpeg_name(*codec))
        .collect();
    assert_eq!(found, expected, "{plan:?} {encoder:?}");
    for (stream, codec) in streams.iter().zip(&plan.codecs) {
        let packets: u32 = stream["nb_read_packets"].as_str().unwrap().parse().unwrap();
        let least = if codec.kind() == VIDEO { 30 } else { 1 };
        assert!(packets >= least, "{plan:?} {encoder:?}: {packets} packets");
    }
    caps
}

#[test]
fn ffprobe_finds_every_codec_in_every_container() {
    gst::init().unwrap();
    for container in Container::ALL {
        for kind in [VIDEO, AUDIO] {
            for codec in container.codecs(kind) {
                let text = format!("{};codecs={}", container.essence(kind), codec.text());
                if !is_type_supported(&text) {
                    eprintln!("{text}: not installed, not tested");
                    continue;
                }
                let plan = choose(&text, None, &[track(kind)]).unwrap();
                let caps = check(&plan, None);
                let actual = plan.mime_type(&caps);
                eprintln!("{text} -> {actual}");
                assert!(is_type_supported(&actual), "{text} -> {actual}");
            }
        }
    }
}

#[test]
fn audio_and_video_share_a_total() {
    gst::init().unwrap();
    for text in ["video/webm", "video/x-matroska", "video/mp4", "video/ogg"] {
        let plan = choose(text, None, &[track(VIDEO), track(AUDIO)]).unwrap();
        let caps = check(&plan, None);
        let actual = plan.mime_type(&caps);
        assert!(is_type_supported(&actual), "{text} -> {actual}");
        assert_eq!(actual.split(',').count(), 2);
    }
}

#[test]
fn encoded_input_is_copied() {
    gst::init().unwrap();
    for (text, codecs) in [
        ("", &[Codec::H264, Codec::Aac][..]),
        ("", &[Codec::H265]),
        ("", &[Codec::Vp9, Codec::Vorbis]),
        ("", &[Codec::Theora, Codec::Vorbis]),
        ("", &[Codec::Flac]),
        ("", &[Codec::Mp3]),
        ("video/x-matroska", &[Codec::H264, Codec::Aac]),
        ("video/mp4", &[Codec::Av1, Codec::Opus]),
    ] {
        if !codecs.iter().all(|codec| can_encode(*codec)) {
            eprintln!("{codecs:?}: not installed, not tested");
            continue;
        }
        let tracks: Vec<_> = codecs.iter().map(|codec| encoded(*codec)).collect();
        let plan = choose(text, None, &tracks).unwrap();
        assert!(plan.copied.iter().all(|copied| *copied), "{plan:?}");
        check(&plan, None);
    }
}

#[test]
fn the_requested_h264_profile_and_sample_entry_are_kept() {
    gst::init().unwrap();
    for (text, start) in [
        ("video/mp4;codecs=avc1.42E01E", "video/mp4;codecs=avc1.42"),
        ("video/mp4;codecs=avc1.4D401E", "video/mp4;codecs=avc1.4D"),
        ("video/mp4;codecs=avc3.42E01E", "video/mp4;codecs=avc3.42"),
        ("video/mp4;codecs=hev1", "video/mp4;codecs=hev1."),
    ] {
        if !is_type_supported(text) {
            eprintln!("{text}: not installed, not tested");
            continue;
        }
        let plan = choose(text, None, &[track(VIDEO)]).unwrap();
        let actual = plan.mime_type(&check(&plan, None));
        assert!(actual.starts_with(start), "{text} -> {actual}");
    }
}

/// Runs `source`, converted to `caps`, through the encoder, and expects no error.
fn runs(source: &str, caps: gst::Caps, encoder: gst::Element, what: &str) {
    let source = gst::parse::bin_from_description(source, true).unwrap();
    let sink = gst::ElementFactory::make("fakesink").build().unwrap();
    let chain = [source.upcast(), filter(caps), encoder, sink];
    let pipeline = gst::Pipeline::new();
    pipeline.add_many(&chain).unwrap();
    gst::Element::link_many(&chain).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let end = pipeline.bus().unwrap().timed_pop_filtered(
        gst::ClockTime::from_seconds(60),
        &[gst::MessageType::Eos, gst::MessageType::Error],
    );
    pipeline.set_state(gst::State::Null).unwrap();
    let end = end.unwrap_or_else(|| panic!("{what}: no end within a minute"));
    assert!(
        matches!(end.view(), gst::MessageView::Eos(_)),
        "{what}: {end:?}"
    );
}

#[test]
fn every_encoder_starts_with_any_rate() {
    gst::init().unwrap();
    for codec in Codec::ALL {
        let container = Container::ALL.into_iter().find(|c| c.takes(codec)).unwrap();
        for factory in encoders(codec) {
            for (bits_per_second, constant) in [(0, false), (1, true), (u32::MAX, false)] {
                let encoder = factory.create().build().unwrap();
                let tuning = Tuning {
                    bits_per_second,
                    constant,
                    ..tuning(codec)
                };
                tune(&encoder, &tuning);
                let source = match codec.kind() {
                    // More than one FLAC block: otherwise flacenc 1.22 may send its segment before its caps.
                    AUDIO => {
                        "audiotestsrc num-buffers=6 ! audio/x-raw,rate=44100,channels=2
                         ! audioconvert ! audioresample"
                    }
                    VIDEO => "videotestsrc num-buffers=3 ! videoconvert ! videoscale",
                };
                let what = format!("{} {tuning:?}", factory.name());
                runs(source, raw_caps(codec), encoder, &what);
            }
            let kind = codec.kind();
            let text = format!("{};codecs={}", container.essence(kind), codec.text());
            let plan = choose(&text, None, &[track(kind)]).unwrap();
            check(&plan, Some(&factory));
        }
    }
}

#[test]
fn a_rate_may_change_while_an_encoder_runs() {
    gst::init().unwrap();
    for codec in Codec::ALL {
        for factory in encoders(codec) {
            let encoder = factory.create().build().unwrap();
            tune(&encoder, &tuning(codec));
            let pad = encoder.static_pad("sink").unwrap();
            let changed = encoder.downgrade();
            let seen = std::sync::atomic::AtomicU32::new(0);
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                let seen = seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if let (Some(encoder), true) = (changed.upgrade(), seen % 4 == 3) {
                    set_bits_per_second(&encoder, [0, 40_000, 3_000_000][seen as usize / 4 % 3]);
                }
                gst::PadProbeReturn::Ok
            });
            let source = match codec.kind() {
                AUDIO => {
                    "audiotestsrc num-buffers=20 ! audio/x-raw,rate=44100,channels=2
                     ! audioconvert ! audioresample"
                }
                VIDEO => "videotestsrc num-buffers=20 ! videoconvert ! videoscale",
            };
            runs(source, raw_caps(codec), encoder, &factory.name());
        }
    }
}

#[test]
fn key_frames_come_at_least_every_two_seconds() {
    let at = |key_interval_ms, key_interval_frames, fps| {
        let tuning = Tuning {
            key_interval_ms,
            key_interval_frames,
            fps,
            ..Tuning::default()
        };
        tuning.key_frames()
    };
    assert_eq!(at(0, 0, 30.0), 60);
    assert_eq!(at(0, 0, 0.0), 60);
    assert_eq!(at(0, 0, f64::NAN), 60);
    assert_eq!(at(0, 0, 29.97), 60);
    assert_eq!(at(1_000, 0, 25.0), 25);
    assert_eq!(at(1, 0, 25.0), 1);
    assert_eq!(at(0, 100, 25.0), 100);
    assert_eq!(at(u32::MAX, 0, 1_000.0), u32::MAX);
}

#[test]
fn vorbis_starts_with_any_audio() {
    gst::init().unwrap();
    if !creatable("vorbisenc") {
        return;
    }
    for rate in [
        8_000, 12_000, 16_000, 24_000, 32_000, 44_100, 48_000, 96_000,
    ] {
        for channels in [1, 2, 3, 6, 8] {
            for bits_per_second in [0, 1_000_000] {
                let encoder = gst::ElementFactory::make("vorbisenc").build().unwrap();
                let tuning = Tuning {
                    bits_per_second,
                    rate,
                    channels,
                    ..Tuning::default()
                };
                tune(&encoder, &tuning);
                let source = format!(
                    "audiotestsrc num-buffers=1 ! audio/x-raw,rate={rate},channels={channels}
                     ! audioconvert"
                );
                runs(
                    &source,
                    gst::Caps::new_any(),
                    encoder,
                    &format!("{tuning:?}"),
                );
            }
        }
    }
}
