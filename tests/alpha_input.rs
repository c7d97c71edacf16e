//! Encoded input with alpha: copied with it where the container has a place for it, decoded with it, and `converted` says
//! where it is lost.

mod common;

use common::judge::alpha::{file_of_ffmpeg, shown};
use common::judge::file;
use common::outer::{Outer, place_for};
use gst::prelude::*;
use std::path::Path;

/// Pictures of the input.
const FRAMES: u64 = 40;

/// A recorder of FFmpeg's file with alpha; `section` is what it passes in front of it.
fn recorder(codec: &str, mime_type: &str, section: &str, path: &Path) -> Outer {
    let input = path.with_extension("input.webm");
    let outer = Outer::new(mime_type, path);
    file_of_ffmpeg(codec, &input);
    let line = format!(
        "filesrc location={} ! matroskademux ! video/x-{codec},codec-alpha=true ! {section} ! identity name=last",
        input.display()
    );
    // The demuxer's pad is linked later: until then, ghost pads would be made for what waits for it.
    let bin = gst::parse::bin_from_description_with_name(&line, false, "").unwrap();
    let last = bin.by_name("last").unwrap().static_pad("src").unwrap();
    let from = gst::GhostPad::with_target(&last).unwrap();
    bin.add_pad(&from).unwrap();
    outer.pipeline.add(&bin).unwrap();
    from.link(&outer.pad("video_%u")).unwrap();
    outer
}

fn record(outer: &Outer) {
    outer.recorder.set_property("autostart", true);
    outer.set_state(gst::State::Playing);
    outer.wait_for("stop", 1);
    assert_eq!(outer.warnings(), Vec::<String>::new());
}

/// The encoder of the only track, and what `stats` says to be converted.
fn track(outer: &Outer) -> (String, Vec<String>) {
    let stats = outer.recorder.property::<gst::Structure>("stats");
    let tracks = stats.get::<gst::Array>("tracks").unwrap();
    let track = tracks.first().unwrap().get::<gst::Structure>().unwrap();
    let converted = track.get::<gst::Array>("converted").unwrap();
    let converted = converted.iter().map(|text| text.get().unwrap()).collect();
    (track.get("encoder").unwrap(), converted)
}

#[test]
fn copied_alpha_is_kept_in_webm_and_matroska() {
    for (codec, mime_type) in [
        ("vp8", "video/webm"),
        ("vp8", "video/x-matroska"),
        ("vp9", "video/webm;codecs=vp9"),
        ("vp9", "video/x-matroska"),
    ] {
        let (_directory, path) = place_for("copied");
        let outer = recorder(codec, mime_type, "queue", &path);
        record(&outer);
        let due: Vec<u64> = (0..FRAMES).collect();
        assert_eq!(shown(&path, codec), due, "{codec} {mime_type}");
        assert_eq!(
            track(&outer),
            (String::new(), vec![]),
            "{codec} {mime_type}"
        );
    }
}

#[test]
fn copied_alpha_without_a_place_is_said_to_be_converted() {
    for (codec, mime_type) in [("vp9", "video/mp4"), ("vp8", "video/ogg")] {
        let (_directory, path) = place_for("opaque");
        let outer = recorder(codec, mime_type, "queue", &path);
        record(&outer);
        file::decodes_quietly(&path).unwrap();
        assert_eq!(track(&outer), (String::new(), vec!["alpha".to_owned()]));
    }
}

/// What is decoded has its alpha, to be kept or not as raw video has it.
#[test]
fn decoded_alpha_is_kept_where_it_is_asked_for() {
    for (from, to) in [("vp8", "vp9"), ("vp9", "vp8")] {
        let mime_type = format!("video/webm;codecs={to}");
        let (_directory, path) = place_for("kept");
        let outer = recorder(from, &mime_type, "queue", &path);
        outer.recorder.set_property_from_str("keep", "alpha");
        outer
            .recorder
            .set_property("video-bits-per-second", 2_000_000u32);
        record(&outer);
        let due: Vec<u64> = (0..FRAMES).collect();
        assert_eq!(shown(&path, to), due, "{from} to {to}");
        assert_eq!(track(&outer), (format!("{to}enc"), vec![]));

        let (_directory, path) = place_for("opaque");
        let outer = recorder(from, &mime_type, "queue", &path);
        record(&outer);
        assert_eq!(
            track(&outer),
            (format!("{to}enc"), vec!["alpha".to_owned()])
        );
    }
}

/// The buffer of the past is bytes.
#[test]
fn copied_alpha_out_of_the_past_is_kept() {
    for codec in ["vp8", "vp9"] {
        let (_directory, path) = place_for("past");
        let live = "identity sync=true";
        let outer = recorder(codec, "video/webm", live, &path);
        outer
            .recorder
            .set_property("pre-record-time", 5_000_000_000u64);
        outer.set_state(gst::State::Playing);
        outer.wait_running(700_000_000);
        outer.act("start");
        outer.wait_for("stop", 1);
        let numbers = shown(&path, codec);
        let due: Vec<u64> = (FRAMES - numbers.len() as u64..FRAMES).collect();
        assert_eq!(numbers, due, "{codec}");
        assert!(numbers.len() >= 30, "{codec}: {numbers:?}");
        assert_eq!(track(&outer), (String::new(), vec![]));
    }
}
