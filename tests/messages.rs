//! Messages about input that cannot be recorded: which pad, which caps, and what would work.

mod common;

use common::harness::{BusMessage, DEADLINE, Kind, Rig, make_recorder};
use gst::prelude::*;

/// An upstream pad that is linked whatever its caps.
fn upstream(recorder: &gst::Element, template: &str) -> gst::Pad {
    let sink = recorder.request_pad_simple(template).unwrap();
    let source = gst::Pad::builder(gst::PadDirection::Src).build();
    source.set_active(true).unwrap();
    source.link(&sink).unwrap();
    source.push_event(gst::event::StreamStart::new("upstream"));
    source
}

fn warnings(rig: &Rig) -> Vec<String> {
    let all = rig.bus.all().into_iter();
    all.filter_map(|message| match message {
        BusMessage::Warning { error, .. } => Some(error.message().to_owned()),
        _ => None,
    })
    .collect()
}

#[track_caller]
fn assert_has(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    for bare in ["not-negotiated", "Internal data stream error", "gstbasesrc"] {
        assert!(!text.contains(bare), "{text}");
    }
}

#[test]
fn refused_caps_suggest_elements_to_insert() {
    for (template, caps, words) in [
        (
            "audio_%u",
            "application/x-rtp,media=(string)audio,clock-rate=48000,encoding-name=(string)OPUS,payload=96",
            &["rtpjitterbuffer ! rtpopusdepay"][..],
        ),
        (
            "video_%u",
            "application/x-rtp,media=(string)video,clock-rate=90000,encoding-name=(string)H264,payload=96",
            &["rtpjitterbuffer ! rtph264depay"],
        ),
        (
            "video_%u",
            "application/x-rtp,media=(string)video,clock-rate=90000,encoding-name=(string)UNHEARD-OF",
            &["rtpjitterbuffer ! rtp"],
        ),
        (
            "video_%u",
            "video/mpegts,systemstream=true,packetsize=188",
            &["tsdemux"],
        ),
        (
            "audio_%u",
            "video/x-raw,format=I420,width=64,height=48,framerate=25/1",
            &["video_%u"],
        ),
        (
            "video_%u",
            "audio/x-opus,rate=48000,channels=2",
            &["audio_%u"],
        ),
        ("audio_%u", "text/x-raw,format=utf8", &["audio or video"]),
    ] {
        let rig = Rig::new();
        let source = upstream(&rig.recorder, template);
        rig.set_state(gst::State::Playing);
        let caps: gst::Caps = caps.parse().unwrap();
        let known = caps.structure(0).unwrap().name().to_string();
        source.push_event(gst::event::Caps::new(&caps));
        // Like sticky events, which are sent again with each buffer.
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        source.push_event(gst::event::Segment::new(&segment));
        for _ in 0..3 {
            let pushed = source.push(gst::Buffer::from_slice([0; 8]));
            assert_eq!(pushed, Err(gst::FlowError::NotNegotiated));
        }
        rig.bus.wait("a warning", |all| !all.is_empty());
        let output = warnings(&rig);
        assert_eq!(output.len(), 1, "once: {output:?}");
        assert_has(&output[0], words);
        assert_has(&output[0], &[&template.replace("%u", "0"), &known]);
    }
}

#[test]
fn a_caps_query_posts_nothing() {
    let rig = Rig::new();
    let source = upstream(&rig.recorder, "audio_%u");
    rig.set_state(gst::State::Playing);
    let sink = source.peer().unwrap();
    assert!(!sink.query_accept_caps(&"video/mpegts".parse().unwrap()));
    assert_eq!(warnings(&rig), Vec::<String>::new());
}

#[test]
fn a_missing_decoder_is_requested() {
    let recorder = make_recorder();
    let bus = gst::Bus::new();
    recorder.set_bus(Some(&bus));
    let source = upstream(&recorder, "audio_%u");
    recorder.set_state(gst::State::Paused).unwrap();
    let caps = gst::Caps::new_empty_simple("audio/x-unheard-of");
    source.push_event(gst::event::Caps::new(&caps));
    let deadline = gst::ClockTime::from_seconds(DEADLINE.as_secs());
    let kinds = [gst::MessageType::Element, gst::MessageType::Warning];
    let missing = bus.timed_pop_filtered(deadline, &kinds).expect("a message");
    let fields = missing.structure().expect("an element message");
    assert_eq!(fields.name(), "missing-plugin");
    assert_eq!(fields.get::<&str>("type"), Ok("decoder"));
    let warning = bus.timed_pop_filtered(deadline, &kinds).expect("a warning");
    let gst::MessageView::Warning(warning) = warning.view() else {
        panic!("{warning:?}");
    };
    let words = ["audio_0", "audio/x-unheard-of", "decoder"];
    assert_has(warning.error().message(), &words);
    recorder.set_state(gst::State::Null).unwrap();
}

/// Records buffers with these bytes and returns the error.
fn error_of(mime: &str, template: &str, caps: &str, bytes: &'static [u8]) -> String {
    let rig = Rig::new();
    rig.recorder.set_property("mime-type", mime);
    let source = upstream(&rig.recorder, template);
    rig.set_state(gst::State::Playing);
    source.push_event(gst::event::Caps::new(&caps.parse().unwrap()));
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    source.push_event(gst::event::Segment::new(&segment));
    let error = rig
        .recorder
        .emit_by_name::<Option<glib::Error>>("start", &[]);
    assert_eq!(error, None, "{caps}");
    for n in 0..5u64 {
        let mut buffer = gst::Buffer::from_slice(bytes);
        let fields = buffer.get_mut().unwrap();
        fields.set_pts(n * gst::ClockTime::from_mseconds(20));
        fields.set_duration(gst::ClockTime::from_mseconds(20));
        let _ = source.push(buffer);
    }
    source.push_event(gst::event::Eos::new());
    rig.wait_event(Kind::Stop, 1);
    let error = rig.wait_event(Kind::Error, 1).error.expect("an error");
    error.message().to_owned()
}

#[test]
fn pipeline_failures_name_track_and_caps_and_suggest_a_fix() {
    /// Not media, except that the first video frames have keyframe headers.
    const ANY: &[u8] = &[0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0];
    const VP8: &[u8] = &[0x10, 0, 0, 0x9d, 0x01, 0x2a, 8, 0, 8, 0];
    const VP9: &[u8] = &[0x82, 0x49, 0x83, 0x42, 0, 0, 0, 0];
    for (mime, template, caps, words) in [
        (
            "video/webm",
            "video_%u",
            "video/x-vp8",
            &["WebM", "width"][..],
        ),
        (
            "video/webm",
            "video_%u",
            "video/x-vp8,width=8,height=8",
            &["WebM", "16"],
        ),
        (
            "audio/ogg",
            "audio_%u",
            "audio/x-vorbis,rate=48000,channels=2",
            &["Ogg", "streamheader"],
        ),
        (
            "audio/webm",
            "audio_%u",
            "audio/x-vorbis,rate=48000,channels=2",
            &["WebM", "streamheader"],
        ),
        (
            "audio/mp4",
            "audio_%u",
            "audio/mpeg,mpegversion=4,stream-format=raw,rate=48000,channels=2",
            &["MP4"],
        ),
        (
            "audio/x-matroska",
            "audio_%u",
            "audio/mpeg,mpegversion=4,stream-format=raw",
            &["Matroska"],
        ),
        (
            "audio/ogg",
            "audio_%u",
            "audio/x-opus,channels=6",
            &["Ogg", "channel-mapping"],
        ),
        (
            "video/mp4",
            "video_%u",
            "video/x-vp9,width=64,height=48",
            &["MP4"],
        ),
        (
            "video/webm;codecs=vp8",
            "video_%u",
            "video/x-vp9,width=64,height=48",
            &["mime-type"],
        ),
        (
            "audio/webm;codecs=opus",
            "audio_%u",
            "audio/x-vorbis,rate=48000,channels=2",
            &["mime-type"],
        ),
    ] {
        let name = caps.split(',').next().unwrap();
        let bytes = match name {
            "video/x-vp8" => VP8,
            "video/x-vp9" => VP9,
            _ => ANY,
        };
        let error = error_of(mime, template, caps, bytes);
        eprintln!("{mime} {caps}: {error}");
        assert_has(&error, &[&template.replace("%u", "0"), name]);
        assert_has(&error, words);
    }
}
