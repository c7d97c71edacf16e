//! HDR10: mastering display and content light level are in the file as in the caps.

mod common;

use common::app::{App, temp_location};
use common::harness::media;
use common::judge::file;
use gst::prelude::*;
use std::path::Path;
use std::process::Command;

const MASTERING: &str = "35400:14600:8500:39850:6550:2300:15635:16450:10000000:50";
const LIGHT: &str = "1000:400";

/// Records `source` to its end.
fn record(source: &str, mime_type: &str, path: &Path) {
    let app = App::new(mime_type, path);
    app.recorder.set_property("autostart", true);
    let from = app.source(source);
    from.link(&app.pad("video_%u")).unwrap();
    app.set_state(gst::State::Playing);
    app.wait_for("stop", 1);
    assert_eq!(app.warnings(), Vec::<String>::new());
    file::decodes_without_errors(path).unwrap();
}

/// Frames in PQ or another colorimetry, with HDR10 metadata.
fn source(colorimetry: &str) -> String {
    source_of(colorimetry, 128, 96)
}

/// The same with this size.
fn source_of(colorimetry: &str, width: u32, height: u32) -> String {
    format!(
        "videotestsrc num-buffers=5 ! video/x-raw,width={width},height={height},framerate=30/1,format=I420_10LE,\
         colorimetry={colorimetry} ! capssetter join=true caps=\"video/x-raw,\
         mastering-display-info=(string)\\\"{MASTERING}\\\",content-light-level=(string)\\\"{LIGHT}\\\"\""
    )
}

/// A value of the stream's side data, as read by FFmpeg.
fn reported(path: &Path) -> Vec<(String, f64)> {
    let output = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-select_streams",
            "v:0",
            "-show_streams",
            "-of",
            "json",
        ])
        .arg(path)
        .output()
        .unwrap();
    let probe: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let side_data = probe["streams"][0]["side_data_list"].as_array().cloned();
    let number = |value: &serde_json::Value| match value.as_str() {
        None => value.as_f64(),
        Some(text) => {
            let (over, under) = text.split_once('/')?;
            Some(over.parse::<f64>().ok()? / under.parse::<f64>().ok()?)
        }
    };
    let fields = side_data.into_iter().flatten().flat_map(|data| {
        let fields = data.as_object().unwrap().clone();
        fields
            .into_iter()
            .filter_map(|(name, value)| Some((name, number(&value)?)))
    });
    fields.collect()
}

/// Asserts that all of it is in the file.
fn assert_has_hdr(path: &Path, what: &str) {
    let found = reported(path);
    for (name, expected) in [
        ("red_x", 0.708),
        ("red_y", 0.292),
        ("green_x", 0.17),
        ("green_y", 0.797),
        ("blue_x", 0.131),
        ("blue_y", 0.046),
        ("white_point_x", 0.3127),
        ("white_point_y", 0.329),
        ("max_luminance", 1_000.0),
        ("min_luminance", 0.005),
        ("max_content", 1_000.0),
        ("max_average", 400.0),
    ] {
        let value = found.iter().find(|(field, _)| field == name);
        let is_right =
            value.is_some_and(|(_, value)| (value - expected).abs() < 1e-6 * expected.max(1.0));
        assert!(is_right, "{what}: {name} is {value:?} in {found:?}");
    }
}

#[test]
fn raw_hdr10_metadata_is_in_mp4_and_matroska() {
    for mime_type in [
        "video/mp4;codecs=hvc1",
        "video/mp4;codecs=avc1",
        "video/mp4;codecs=vp09",
        "video/x-matroska;codecs=hvc1",
        "video/webm;codecs=vp9",
    ] {
        let (_directory, path) = temp_location("hdr");
        record(&source("bt2100-pq"), mime_type, &path);
        assert_has_hdr(&path, mime_type);
    }
}

/// As in a playlist of films.
#[test]
fn hdr10_metadata_that_changes_ends_nothing() {
    for mime_type in ["video/webm;codecs=vp8", "video/mp4;codecs=hvc1"] {
        let (_directory, path) = temp_location("hdr");
        let first = source("bt2100-pq");
        let second = first.replace(LIGHT, "1200:300");
        assert_ne!(first, second);
        let both = format!("concat name=c {first} ! c. {second} ! c. c. ! queue");
        record(&both, mime_type, &path);
        let frames = media::frames(path.to_str().unwrap());
        assert_eq!(frames, 10, "{mime_type}");
    }
}

#[test]
fn copied_hdr10_metadata_is_in_mp4_and_matroska() {
    for mime_type in ["video/mp4", "video/x-matroska"] {
        let (_directory, path) = temp_location("copied");
        let encoded = format!(
            "{} ! x265enc speed-preset=ultrafast option-string=log-level=none",
            source("bt2100-pq")
        );
        record(&encoded, mime_type, &path);
        assert_has_hdr(&path, mime_type);
    }
}

/// Whatever the size of the muxer's own elements.
#[test]
fn hdr10_metadata_of_any_video_size_is_in_matroska() {
    for (width, height) in [(128, 96), (320, 96), (320, 288)] {
        for mime_type in ["video/webm;codecs=vp9", "video/x-matroska;codecs=vp9"] {
            let (_directory, path) = temp_location("size");
            record(&source_of("bt2100-pq", width, height), mime_type, &path);
            assert_has_hdr(&path, &format!("{mime_type} {width}x{height}"));
        }
    }
}

/// Video converted to SDR is not signalled as HDR.
#[test]
fn converted_video_has_no_hdr10_metadata() {
    let (_directory, path) = temp_location("converted.webm");
    record(&source("bt2100-pq"), "video/webm;codecs=vp8", &path);
    assert_eq!(reported(&path), []);
}
