//! Alpha with VP8 and VP9: every frame keeps its alpha channel, whatever happens to the recording.
//!
//! Colour and alpha of a frame show the same number, as columns that are bright or dark, opaque or translucent.

mod common;

use common::app::{App, DEADLINE, holds_within, temp_location};
use common::harness;
use common::judge::alpha::{HEIGHT, WIDTH, decode_with_ffmpeg, encode_with_ffmpeg, picture, shown};
use common::judge::parts;
use gst::prelude::*;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const FPS: usize = 30;
const SECOND: u64 = 1_000_000_000;
const MILLI: u64 = 1_000_000;

/// Tests the judges themselves with a file from another muxer.
#[test]
fn decoders_find_all_frames_of_another_muxer() {
    harness::init();
    for codec in ["vp8", "vp9"] {
        let (_directory, path) = temp_location("ffmpeg.webm");
        encode_with_ffmpeg(codec, &path);
        let numbers: Vec<u64> = (0..40).collect();
        assert_eq!(shown(&path, codec), numbers, "{codec}");
    }
}

/// A source of numbered frames in this format.
fn source(app: &App, how: &str, format: &str) -> gst::Pad {
    let caps = |format| {
        format!("video/x-raw,format={format},width={WIDTH},height={HEIGHT},framerate={FPS}/1")
    };
    let number = AtomicU64::new(0);
    let source = app.source(&format!(
        "videotestsrc {how} ! {} ! identity name=numbers ! videoconvert ! {}",
        caps("BGRA"),
        caps(format)
    ));
    let bin = source.parent_element().and_downcast::<gst::Bin>();
    let identity = bin.unwrap().by_name("numbers");
    let pad = identity.unwrap().static_pad("src").unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let bytes = picture(number.fetch_add(1, Ordering::SeqCst));
        let buffer = info.buffer_mut().unwrap();
        let mut numbered = gst::Buffer::from_slice(bytes);
        // Without metas: that of the old memory may have other strides.
        let what = gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS;
        let fields = numbered.get_mut().unwrap();
        buffer.copy_into(fields, what, ..).unwrap();
        *buffer = numbered;
        gst::PadProbeReturn::Ok
    });
    source
}

fn recorder(codec: &str, container: &str, path: &Path) -> App {
    let app = App::new(&format!("video/{container};codecs={codec}"), path);
    app.recorder.set_property_from_str("keep", "alpha");
    app.recorder
        .set_property("video-bits-per-second", 2_000_000u32);
    app
}

/// Entries of `stats` for the only track: its encoder, what has been converted, and how many frames were dropped.
fn track(app: &App) -> (String, Vec<String>, u64) {
    let stats = app.recorder.property::<gst::Structure>("stats");
    let tracks = stats.get::<gst::Array>("tracks").unwrap();
    let track = tracks.first().unwrap().get::<gst::Structure>().unwrap();
    let converted = track.get::<gst::Array>("converted").unwrap();
    let converted = converted.iter().map(|text| text.get().unwrap()).collect();
    (
        track.get("encoder").unwrap(),
        converted,
        track.get("dropped").unwrap(),
    )
}

/// Records 40 frames.
fn record(app: &App, format: &str) {
    app.recorder.set_property("autostart", true);
    source(app, "num-buffers=40", format)
        .link(&app.pad("video_%u"))
        .unwrap();
    app.set_state(gst::State::Playing);
    app.wait_for("stop", 1);
}

#[test]
fn alpha_is_kept_in_webm_and_matroska() {
    for (codec, container, format) in [
        ("vp8", "webm", "BGRA"),
        ("vp8", "x-matroska", "AYUV"),
        ("vp9", "webm", "A420"),
        ("vp9", "x-matroska", "ARGB64_LE"),
        ("vp9", "webm", "A420_10LE"),
    ] {
        let (_directory, path) = temp_location("alpha.webm");
        let app = recorder(codec, container, &path);
        record(&app, format);
        let numbers: Vec<u64> = (0..40).collect();
        assert_eq!(shown(&path, codec), numbers, "{codec} {container} {format}");
        let (encoder, converted, _) = track(&app);
        assert_eq!(encoder, format!("{codec}enc"));
        let expected: &[&str] = match format {
            "A420" => &[],
            // Players do not support alpha with more than 8 bits.
            "A420_10LE" => &["depth 10 to 8"],
            "ARGB64_LE" => &["depth 16 to 8", "chroma 4:4:4 to 4:2:0"],
            _ => &["chroma 4:4:4 to 4:2:0"],
        };
        assert_eq!(converted, expected, "{format}");
        assert_eq!(app.warnings(), Vec::<String>::new());
    }
}

#[test]
fn unsupported_alpha_is_reported_as_converted() {
    for (keep, mime_type) in [
        ("", "video/webm;codecs=vp8"),
        ("alpha", "video/mp4;codecs=vp9"),
    ] {
        let (_directory, path) = temp_location("opaque");
        let app = App::new(mime_type, &path);
        app.recorder.set_property_from_str("keep", keep);
        record(&app, "A420");
        assert_eq!(track(&app).1, ["alpha"], "{mime_type}");
    }
}

/// Decoding can start at each keyframe: both streams have one.
#[test]
fn keyframes_are_keyframes_of_colour_and_alpha() {
    let (_directory, path) = temp_location("keys.webm");
    for codec in ["vp8", "vp9"] {
        let app = recorder(codec, "webm", &path);
        app.recorder
            .set_property("video-key-frame-interval-duration", 300u32);
        // Only those that are requested.
        on_encoders(&app, |encoder, _| {
            encoder.set_property("keyframe-max-dist", 1_000i32)
        });
        record(&app, "BGRA");
        let keys = path.with_file_name("only-keys.webm");
        let copied = Command::new("ffmpeg")
            .args(["-v", "error", "-y", "-i"])
            .arg(&path)
            .args(["-c", "copy", "-bsf:v", "noise=drop=not(key)"])
            .arg(&keys)
            .status();
        assert!(copied.unwrap().success());
        let found = decode_with_ffmpeg(&keys, codec);
        let expected = [0, 9, 18, 27, 36].map(|number| (number, number));
        assert_eq!(found, expected, "{codec}");
    }
}

#[test]
fn alpha_is_kept_across_pauses_and_parts() {
    for codec in ["vp8", "vp9"] {
        let (_directory, path) = temp_location("part-%d.webm");
        let app = recorder(codec, "webm", &path);
        source(&app, "is-live=true", "BGRA")
            .link(&app.pad("video_%u"))
            .unwrap();
        app.set_state(gst::State::Playing);
        let rest = || app.wait_running_time(app.running_time() + 250 * MILLI);
        for action in [
            "start",
            "pause",
            "resume",
            "split-now",
            "pause",
            "split-now",
            "resume",
            "stop",
        ] {
            app.act(action);
            rest();
        }
        app.wait_for("stop", 1);
        let parts = parts::from_messages(&app);
        assert_eq!(parts.len(), 3, "{codec}");
        let mut numbers = Vec::new();
        for part in &parts {
            let found = shown(&part.path, codec);
            assert!(found.len() >= 5, "{codec}: {found:?}");
            numbers.extend(found);
        }
        // A frame that spans a seam or a pause is visible on both sides.
        assert!(numbers.is_sorted(), "{codec}: {numbers:?}");
        assert_eq!(app.warnings(), Vec::<String>::new());
    }
}

#[test]
fn pre_recorded_frames_keep_their_alpha() {
    let (_directory, path) = temp_location("past.webm");
    let app = recorder("vp8", "webm", &path);
    app.recorder.set_property("pre-record-time", 2 * SECOND);
    source(&app, "is-live=true", "BGRA")
        .link(&app.pad("video_%u"))
        .unwrap();
    app.set_state(gst::State::Playing);
    app.wait_running_time(1_200 * MILLI);
    app.act("start");
    app.wait_running_time(app.running_time() + 300 * MILLI);
    app.act("stop");
    app.wait_for("stop", 1);
    let numbers = shown(&path, "vp8");
    assert!(numbers.len() >= 30, "{numbers:?}");
    assert!(numbers.is_sorted(), "{numbers:?}");
    // Its encoder is not part of any recording, but what it converts is reported nevertheless.
    let (encoder, converted, _) = track(&app);
    assert_eq!(encoder, "vp8enc");
    assert_eq!(converted, ["chroma 4:4:4 to 4:2:0"]);
}

/// Calls `with` for each encoder that is set up, with the number of encoders before it.
fn on_encoders(app: &App, with: impl Fn(&gst::Element, u64) + Send + Sync + 'static) {
    let count = AtomicU64::new(0);
    app.recorder.connect("encoder-setup", false, move |values| {
        let encoder = values[2].get::<gst::Element>().unwrap();
        with(&encoder, count.fetch_add(1, Ordering::SeqCst));
        None
    });
}

#[test]
fn a_slow_encoder_drops_colour_and_alpha_together() {
    let (_directory, path) = temp_location("slow.webm");
    let app = recorder("vp8", "webm", &path);
    app.recorder.set_property("max-queue-time", 200 * MILLI);
    on_encoders(&app, move |encoder, number| {
        if number == 1 {
            let pad = encoder.static_pad("sink").unwrap();
            pad.add_probe(gst::PadProbeType::BUFFER, |_, _| {
                std::thread::sleep(Duration::from_millis(80));
                gst::PadProbeReturn::Ok
            });
        }
    });
    source(&app, "is-live=true", "BGRA")
        .link(&app.pad("video_%u"))
        .unwrap();
    app.set_state(gst::State::Playing);
    app.act("start");
    let dropped = || track(&app).2;
    assert!(
        holds_within(DEADLINE, || dropped() > 10),
        "no frame is dropped"
    );
    app.act("stop");
    app.wait_for("stop", 1);
    let numbers = shown(&path, "vp8");
    assert!(numbers.len() >= 3, "{numbers:?}");
}

/// Whichever of the two encoders fails, both are replaced, and no frame is lost.
#[test]
fn a_pair_of_encoders_is_replaced_as_one() {
    for broken in [0, 1] {
        let (_directory, path) = temp_location("replaced.webm");
        let app = recorder("vp8", "webm", &path);
        let set_up = Arc::new(AtomicU64::new(0));
        let seen = set_up.clone();
        on_encoders(&app, move |encoder, number| {
            seen.fetch_add(1, Ordering::SeqCst);
            if number != broken {
                return;
            }
            let (pad, frames) = (encoder.static_pad("sink").unwrap(), AtomicU64::new(0));
            let encoder = encoder.downgrade();
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
                if frames.fetch_add(1, Ordering::SeqCst) < 17 {
                    return gst::PadProbeReturn::Ok;
                }
                let encoder = encoder.upgrade().unwrap();
                gst::element_error!(encoder, gst::StreamError::Encode, ["broken on purpose"]);
                drop(info.data.take());
                info.flow_res = Err(gst::FlowError::Error);
                gst::PadProbeReturn::Handled
            });
        });
        record(&app, "BGRA");
        let numbers: Vec<u64> = (0..40).collect();
        assert_eq!(shown(&path, "vp8"), numbers, "encoder {broken}");
        assert_eq!(set_up.load(Ordering::SeqCst), 4);
        let warnings = app.warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("vp8enc"), "{warnings:?}");
    }
}
