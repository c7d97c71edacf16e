//! Alpha of VP8 and VP9: every picture comes out with the alpha channel that it went in with, whatever happens to the recording.
//!
//! Colour and alpha of a picture show the same number, as columns that are bright or dark, opaque or translucent.

mod common;

use common::harness;
use common::judge::alpha::{HEIGHT, WIDTH, by_ffmpeg, file_of_ffmpeg, picture, shown};
use common::judge::parts;
use common::outer::{DEADLINE, Outer, place_for, until};
use gst::prelude::*;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const FPS: usize = 30;
const SECOND: u64 = 1_000_000_000;
const MILLI: u64 = 1_000_000;

/// The judges themselves, by a file that is not ours.
#[test]
fn decoders_find_all_frames_of_another_muxer() {
    harness::init();
    for codec in ["vp8", "vp9"] {
        let (_directory, path) = place_for("ffmpeg.webm");
        file_of_ffmpeg(codec, &path);
        let numbers: Vec<u64> = (0..40).collect();
        assert_eq!(shown(&path, codec), numbers, "{codec}");
    }
}

/// A source of numbered pictures in this format.
fn source(outer: &Outer, how: &str, format: &str) -> gst::Pad {
    let caps = |format| {
        format!("video/x-raw,format={format},width={WIDTH},height={HEIGHT},framerate={FPS}/1")
    };
    let number = AtomicU64::new(0);
    let source = outer.source(&format!(
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

fn recorder(codec: &str, container: &str, path: &Path) -> Outer {
    let outer = Outer::new(&format!("video/{container};codecs={codec}"), path);
    outer.recorder.set_property_from_str("keep", "alpha");
    outer
        .recorder
        .set_property("video-bits-per-second", 2_000_000u32);
    outer
}

/// What `stats` says of the only track: its encoder, what has been converted, and how many frames were dropped.
fn track(outer: &Outer) -> (String, Vec<String>, u64) {
    let stats = outer.recorder.property::<gst::Structure>("stats");
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

/// Records 40 pictures.
fn record(outer: &Outer, format: &str) {
    outer.recorder.set_property("autostart", true);
    source(outer, "num-buffers=40", format)
        .link(&outer.pad("video_%u"))
        .unwrap();
    outer.set_state(gst::State::Playing);
    outer.wait_for("stop", 1);
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
        let (_directory, path) = place_for("alpha.webm");
        let outer = recorder(codec, container, &path);
        record(&outer, format);
        let numbers: Vec<u64> = (0..40).collect();
        assert_eq!(shown(&path, codec), numbers, "{codec} {container} {format}");
        let (encoder, converted, _) = track(&outer);
        assert_eq!(encoder, format!("{codec}enc"));
        let due: &[&str] = match format {
            "A420" => &[],
            // Players know no alpha of more than 8 bits.
            "A420_10LE" => &["depth 10 to 8"],
            "ARGB64_LE" => &["depth 16 to 8", "chroma 4:4:4 to 4:2:0"],
            _ => &["chroma 4:4:4 to 4:2:0"],
        };
        assert_eq!(converted, due, "{format}");
        assert_eq!(outer.warnings(), Vec::<String>::new());
    }
}

#[test]
fn alpha_that_has_no_place_is_said_to_be_converted() {
    for (keep, mime_type) in [
        ("", "video/webm;codecs=vp8"),
        ("alpha", "video/mp4;codecs=vp9"),
    ] {
        let (_directory, path) = place_for("opaque");
        let outer = Outer::new(mime_type, &path);
        outer.recorder.set_property_from_str("keep", keep);
        record(&outer, "A420");
        assert_eq!(track(&outer).1, ["alpha"], "{mime_type}");
    }
}

/// A decoder can begin at each key frame: both have one.
#[test]
fn key_frames_are_key_frames_of_both() {
    let (_directory, path) = place_for("keys.webm");
    for codec in ["vp8", "vp9"] {
        let outer = recorder(codec, "webm", &path);
        outer
            .recorder
            .set_property("video-key-frame-interval-duration", 300u32);
        // None but those that are asked for.
        on_encoders(&outer, |encoder, _| {
            encoder.set_property("keyframe-max-dist", 1_000i32)
        });
        record(&outer, "BGRA");
        let keys = path.with_file_name("only-keys.webm");
        let copied = Command::new("ffmpeg")
            .args(["-v", "error", "-y", "-i"])
            .arg(&path)
            .args(["-c", "copy", "-bsf:v", "noise=drop=not(key)"])
            .arg(&keys)
            .status();
        assert!(copied.unwrap().success());
        let found = by_ffmpeg(&keys, codec);
        let due = [0, 9, 18, 27, 36].map(|number| (number, number));
        assert_eq!(found, due, "{codec}");
    }
}

#[test]
fn alpha_lasts_through_pauses_and_parts() {
    for codec in ["vp8", "vp9"] {
        let (_directory, path) = place_for("part-%d.webm");
        let outer = recorder(codec, "webm", &path);
        source(&outer, "is-live=true", "BGRA")
            .link(&outer.pad("video_%u"))
            .unwrap();
        outer.set_state(gst::State::Playing);
        let rest = || outer.wait_running(outer.running_time() + 250 * MILLI);
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
            outer.act(action);
            rest();
        }
        outer.wait_for("stop", 1);
        let parts = parts::told(&outer);
        assert_eq!(parts.len(), 3, "{codec}");
        let mut numbers = Vec::new();
        for part in &parts {
            let found = shown(&part.path, codec);
            assert!(found.len() >= 5, "{codec}: {found:?}");
            numbers.extend(found);
        }
        // A picture that a seam or a pause falls into is shown on both sides.
        assert!(numbers.is_sorted(), "{codec}: {numbers:?}");
        assert_eq!(outer.warnings(), Vec::<String>::new());
    }
}

#[test]
fn a_recording_that_begins_in_the_past_has_its_alpha() {
    let (_directory, path) = place_for("past.webm");
    let outer = recorder("vp8", "webm", &path);
    outer.recorder.set_property("pre-record-time", 2 * SECOND);
    source(&outer, "is-live=true", "BGRA")
        .link(&outer.pad("video_%u"))
        .unwrap();
    outer.set_state(gst::State::Playing);
    outer.wait_running(1_200 * MILLI);
    outer.act("start");
    outer.wait_running(outer.running_time() + 300 * MILLI);
    outer.act("stop");
    outer.wait_for("stop", 1);
    let numbers = shown(&path, "vp8");
    assert!(numbers.len() >= 30, "{numbers:?}");
    assert!(numbers.is_sorted(), "{numbers:?}");
    // Its encoder is in no recording, and what it converts is said all the same.
    let (encoder, converted, _) = track(&outer);
    assert_eq!(encoder, "vp8enc");
    assert_eq!(converted, ["chroma 4:4:4 to 4:2:0"]);
}

/// Calls `with` for each encoder that is set up, and how many there were before.
fn on_encoders(outer: &Outer, with: impl Fn(&gst::Element, u64) + Send + Sync + 'static) {
    let count = AtomicU64::new(0);
    outer
        .recorder
        .connect("encoder-setup", false, move |values| {
            let encoder = values[2].get::<gst::Element>().unwrap();
            with(&encoder, count.fetch_add(1, Ordering::SeqCst));
            None
        });
}

#[test]
fn a_slow_encoder_drops_colour_and_alpha_together() {
    let (_directory, path) = place_for("slow.webm");
    let outer = recorder("vp8", "webm", &path);
    outer.recorder.set_property("max-queue-time", 200 * MILLI);
    on_encoders(&outer, move |encoder, number| {
        if number == 1 {
            let pad = encoder.static_pad("sink").unwrap();
            pad.add_probe(gst::PadProbeType::BUFFER, |_, _| {
                std::thread::sleep(Duration::from_millis(80));
                gst::PadProbeReturn::Ok
            });
        }
    });
    source(&outer, "is-live=true", "BGRA")
        .link(&outer.pad("video_%u"))
        .unwrap();
    outer.set_state(gst::State::Playing);
    outer.act("start");
    let dropped = || track(&outer).2;
    assert!(until(DEADLINE, || dropped() > 10), "nothing is dropped");
    outer.act("stop");
    outer.wait_for("stop", 1);
    let numbers = shown(&path, "vp8");
    assert!(numbers.len() >= 3, "{numbers:?}");
}

/// Whichever of the two encoders fails, a pair takes over, and no picture is lost.
#[test]
fn a_pair_of_encoders_is_replaced_as_one() {
    for broken in [0, 1] {
        let (_directory, path) = place_for("replaced.webm");
        let outer = recorder("vp8", "webm", &path);
        let set_up = Arc::new(AtomicU64::new(0));
        let seen = set_up.clone();
        on_encoders(&outer, move |encoder, number| {
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
        record(&outer, "BGRA");
        let numbers: Vec<u64> = (0..40).collect();
        assert_eq!(shown(&path, "vp8"), numbers, "encoder {broken}");
        assert_eq!(set_up.load(Ordering::SeqCst), 4);
        let warnings = outer.warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("vp8enc"), "{warnings:?}");
    }
}
