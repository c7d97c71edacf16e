//! A registry without some encoders and muxers: the error of `start` says what would help, and so does the
//! missing-plugin message.

mod common;

use common::harness::{DEADLINE, Recorder, State, code, expect_error, make_recorder};
use common::types;
use gst::prelude::*;

/// Removes an element from this process' registry.
fn remove(name: &str) {
    let registry = gst::Registry::get();
    let feature = registry.lookup_feature(name);
    registry.remove_feature(&feature.unwrap_or_else(|| panic!("{name} is installed")));
}

/// A recorder with running audio and video, and its bus.
struct Stage {
    pipeline: gst::Pipeline,
    recorder: gst::Element,
    bus: gst::Bus,
}

impl Stage {
    fn new(sources: &str, autostart: bool, mime_type: &str) -> Self {
        let pipeline = gst::parse::launch(&format!("mediarecorder name=rec {sources}")).unwrap();
        let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
        let recorder = pipeline.by_name("rec").unwrap();
        recorder.set_property("mime-type", mime_type);
        recorder.set_property("autostart", autostart);
        let bus = pipeline.bus().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        Stage {
            pipeline,
            recorder,
            bus,
        }
    }

    /// Live audio and video with known caps.
    fn live(mime_type: &str) -> Self {
        let stage = Stage::new(
            "videotestsrc is-live=true ! video/x-raw,width=64,height=48,framerate=30/1 ! rec. \
             audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=1 ! rec.",
            false,
            mime_type,
        );
        for pad in stage.recorder.sink_pads() {
            common::harness::wait_for("caps", || pad.current_caps().is_some());
        }
        stage
    }

    /// The recorder's next missing-plugin message: type and detail.
    fn missing(&self) -> (String, gst::glib::SendValue) {
        let end = std::time::Instant::now() + DEADLINE;
        while std::time::Instant::now() < end {
            let message = self.bus.timed_pop_filtered(
                gst::ClockTime::from_mseconds(50),
                &[gst::MessageType::Element],
            );
            if let Some(message) = message
                && gst_pbutils::MissingPluginMessage::is(&message)
            {
                assert_eq!(message.src(), Some(self.recorder.upcast_ref()));
                let fields = message.structure().unwrap();
                let kind = fields.get::<String>("type").unwrap();
                return (kind, fields.value("detail").unwrap().clone());
            }
        }
        panic!("no missing-plugin message");
    }

    /// That there is no other one.
    fn no_more(&self) {
        while let Some(message) = self.bus.pop() {
            assert!(
                !gst_pbutils::MissingPluginMessage::is(&message),
                "{message:?}"
            );
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// A single test, since the registry is that of the whole process.
#[test]
fn missing_plugins_are_reported() {
    let recorder = make_recorder();
    // Before any element is created: created ones remain available.
    for name in [
        "vp8enc",
        "vp9enc",
        "lamemp3enc",
        "oggmux",
        "theoraenc",
        "avdec_dca",
        "dtsdec",
    ] {
        remove(name);
    }

    // An encoder.
    let stage = Stage::live("video/webm;codecs=vp8,opus");
    let error = expect_error(stage.recorder.start(), code::NOT_SUPPORTED);
    for part in ["vp8", "vp8enc", "gstreamer1.0-plugins-good"] {
        assert!(error.message().contains(part), "{error}");
    }
    assert_eq!(stage.recorder.recording_state(), State::Inactive);
    let (kind, detail) = stage.missing();
    assert_eq!(kind, "encoder");
    let caps = detail.get::<gst::Caps>().unwrap();
    assert_eq!(caps.structure(0).unwrap().name(), "video/x-vp8");
    stage.no_more();
    // Another type still works.
    stage
        .recorder
        .set_property("mime-type", "video/x-matroska;codecs=avc1,opus");
    stage.recorder.start().unwrap();
    stage.recorder.stop().unwrap();
    drop(stage);

    // A muxer and an encoder.
    let stage = Stage::live("video/ogg;codecs=theora,opus");
    let error = expect_error(stage.recorder.start(), code::NOT_SUPPORTED);
    for part in ["oggmux", "theoraenc", "gstreamer1.0-plugins-base"] {
        assert!(error.message().contains(part), "{error}");
    }
    let (kind, detail) = stage.missing();
    assert_eq!((&*kind, detail.get().unwrap()), ("element", "oggmux"));
    let (kind, detail) = stage.missing();
    assert_eq!(kind, "encoder");
    let caps = detail.get::<gst::Caps>().unwrap();
    assert_eq!(caps.structure(0).unwrap().name(), "video/x-theora");
    stage.no_more();
    drop(stage);

    // A decoder, of input that no container here supports.
    let stage = Stage::new(
        "audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=2 \
         ! capssetter join=false replace=true caps=audio/x-dts,rate=48000,channels=2,framed=true ! rec.",
        false,
        "audio/webm",
    );
    for pad in stage.recorder.sink_pads() {
        common::harness::wait_for("caps", || pad.current_caps().is_some());
    }
    let error = expect_error(stage.recorder.start(), code::NOT_SUPPORTED);
    for part in ["audio/x-dts", "audio_0", "decoder"] {
        assert!(error.message().contains(part), "{error}");
    }
    let (kind, detail) = stage.missing();
    assert_eq!(kind, "decoder");
    let caps = detail.get::<gst::Caps>().unwrap();
    assert_eq!(caps.structure(0).unwrap().name(), "audio/x-dts");
    stage.no_more();
    drop(stage);

    // With autostart no application calls `start`: the message, then an ERROR.
    let stage = Stage::new("audiotestsrc is-live=true ! rec.", true, "audio/mpeg");
    let (kind, detail) = stage.missing();
    assert_eq!(kind, "encoder");
    let caps = detail.get::<gst::Caps>().unwrap();
    assert_eq!(caps.structure(0).unwrap().get("mpegversion"), Ok(1));
    let error = stage.bus.timed_pop_filtered(
        gst::ClockTime::from_seconds(DEADLINE.as_secs()),
        &[gst::MessageType::Error],
    );
    let error = error.expect("an ERROR");
    let gst::MessageView::Error(error) = error.view() else {
        unreachable!("filtered");
    };
    assert!(error.error().message().contains("lamemp3enc"), "{error:?}");
    drop(stage);

    // `is-type-supported` and `start` agree, and neither requires what is missing.
    let supported = types::check_supported_types_start();
    println!("{} of {} supported", supported.len(), types::table().len());
    assert!(supported.len() > 50, "{supported:?}");
    for found in supported {
        let plain = found.plain.expect("it is supported");
        let (essence, codecs) = plain.split_once(";codecs=").unwrap_or((&plain, ""));
        let needs = codecs.split(',').chain([essence]).any(|part| {
            [
                "vp8",
                "vp9",
                "mp3",
                "theora",
                "audio/mpeg",
                "audio/ogg",
                "video/ogg",
            ]
            .contains(&part)
        });
        assert!(!needs, "{:?}", found.text);
    }
    assert!(!recorder.supports("video/webm;codecs=vp9") && !recorder.supports("audio/mpeg"));
}
