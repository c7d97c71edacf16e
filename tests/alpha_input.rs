//! Encoded input with alpha: alpha is copied if the container supports it, decoded if it is re-encoded, and
//! `converted` says where it is lost.

mod common;

use common::app::{App, temp_location};
use common::judge::alpha::{encode_with_ffmpeg, shown};
use common::judge::file;
use gst::prelude::*;
use std::path::Path;

/// Frames of the input.
const FRAMES: u64 = 40;

/// A recorder of a file with alpha, made by FFmpeg; `section` is inserted in front of it.
fn recorder(codec: &str, mime_type: &str, section: &str, path: &Path) -> App {
    let input = path.with_extension("input.webm");
    let app = App::new(mime_type, path);
    encode_with_ffmpeg(codec, &input);
    let line = format!(
        "filesrc location={} ! matroskademux ! video/x-{codec},codec-alpha=true ! {section} ! identity name=last",
        input.display()
    );
    // The demuxer's pad is linked later: until then, ghost pads would be created for unlinked pads.
    let bin = gst::parse::bin_from_description_with_name(&line, false, "").unwrap();
    let last = bin.by_name("last").unwrap().static_pad("src").unwrap();
    let from = gst::GhostPad::with_target(&last).unwrap();
    bin.add_pad(&from).unwrap();
    app.pipeline.add(&bin).unwrap();
    from.link(&app.pad("video_%u")).unwrap();
    app
}

fn record(app: &App) {
    app.recorder.set_property("autostart", true);
    app.set_state(gst::State::Playing);
    app.wait_for("stop", 1);
    assert_eq!(app.warnings(), Vec::<String>::new());
}

/// The encoder of the only track, and `converted` in `stats`.
fn track(app: &App) -> (String, Vec<String>) {
    let stats = app.recorder.property::<gst::Structure>("stats");
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
        let (_directory, path) = temp_location("copied");
        let app = recorder(codec, mime_type, "queue", &path);
        record(&app);
        let expected: Vec<u64> = (0..FRAMES).collect();
        assert_eq!(shown(&path, codec), expected, "{codec} {mime_type}");
        assert_eq!(track(&app), (String::new(), vec![]), "{codec} {mime_type}");
    }
}

#[test]
fn copied_alpha_is_reported_as_converted_if_unsupported() {
    for (codec, mime_type) in [("vp9", "video/mp4"), ("vp8", "video/ogg")] {
        let (_directory, path) = temp_location("opaque");
        let app = recorder(codec, mime_type, "queue", &path);
        record(&app);
        file::decodes_without_errors(&path).unwrap();
        assert_eq!(track(&app), (String::new(), vec!["alpha".to_owned()]));
    }
}

/// Decoded input has alpha, which is kept or not as for raw video.
#[test]
fn decoded_alpha_is_kept_on_request() {
    for (from, to) in [("vp8", "vp9"), ("vp9", "vp8")] {
        let mime_type = format!("video/webm;codecs={to}");
        let (_directory, path) = temp_location("kept");
        let app = recorder(from, &mime_type, "queue", &path);
        app.recorder.set_property_from_str("keep", "alpha");
        app.recorder
            .set_property("video-bits-per-second", 2_000_000u32);
        record(&app);
        let expected: Vec<u64> = (0..FRAMES).collect();
        assert_eq!(shown(&path, to), expected, "{from} to {to}");
        assert_eq!(track(&app), (format!("{to}enc"), vec![]));

        let (_directory, path) = temp_location("opaque");
        let app = recorder(from, &mime_type, "queue", &path);
        record(&app);
        assert_eq!(track(&app), (format!("{to}enc"), vec!["alpha".to_owned()]));
    }
}

/// The pre-record buffer holds plain bytes.
#[test]
fn pre_recorded_copied_alpha_is_kept() {
    for codec in ["vp8", "vp9"] {
        let (_directory, path) = temp_location("past");
        let live = "identity sync=true";
        let app = recorder(codec, "video/webm", live, &path);
        app.recorder
            .set_property("pre-record-time", 5_000_000_000u64);
        app.set_state(gst::State::Playing);
        app.wait_running_time(700_000_000);
        app.act("start");
        app.wait_for("stop", 1);
        let numbers = shown(&path, codec);
        let expected: Vec<u64> = (FRAMES - numbers.len() as u64..FRAMES).collect();
        assert_eq!(numbers, expected, "{codec}");
        assert!(numbers.len() >= 30, "{codec}: {numbers:?}");
        assert_eq!(track(&app), (String::new(), vec![]));
    }
}
