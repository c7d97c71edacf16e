//! The matrix in docs/FORMATS.md of what is kept, cell by cell: what a cell names is found by a decoder, and what
//! it does not name is reported as converted.

mod common;

use common::app::temp_location;
use common::harness::{init, media};
use common::keeping::{ALL, record_keeping};
use gst::prelude::*;
use std::path::Path;
use std::process::Command;

const FRAMES: usize = 3;
const SIZE: (usize, usize) = (128, 96);
const DEPTHS: [u32; 3] = [8, 10, 12];
const CHROMA: [&str; 3] = ["4:2:0", "4:2:2", "4:4:4"];

/// A row of the table for the installed release.
struct Row {
    codec: String,
    /// For 8, 10 and 12 bits; RGB; alpha; fields.
    cells: Vec<String>,
}

/// The rows for the installed release; none if the page has no table for it.
fn rows() -> Vec<Row> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/FORMATS.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (major, minor, ..) = gst::version();
    let title = format!("GStreamer {major}.{minor}:\n\n");
    let Some((_, table)) = page.split_once(&title) else {
        return Vec::new();
    };
    let lines = table.lines().take_while(|line| line.starts_with('|'));
    let row = |line: &str| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let codec = cells.next().unwrap().to_owned();
        let cells = cells.map(str::to_owned).collect();
        Row { codec, cells }
    };
    lines.skip(2).map(row).collect()
}

/// A type with this codec.
fn type_of(codec: &str) -> &'static str {
    match codec {
        "VP8" => "video/webm;codecs=vp8",
        "VP9" => "video/webm;codecs=vp9",
        "AV1" => "video/x-matroska;codecs=av1",
        "H.264" => "video/x-matroska;codecs=avc1",
        "H.265" => "video/x-matroska;codecs=hvc1",
        "Theora" => "video/ogg;codecs=theora",
        "FFV1" => "video/x-matroska;codecs=ffv1",
        other => panic!("a type with {other}"),
    }
}

/// A format, in GStreamer's and FFmpeg's name.
type Format = (&'static str, &'static str);

fn yuv(depth: u32, chroma: &str) -> Format {
    match (depth, chroma) {
        (8, "4:2:0") => ("I420", "yuv420p"),
        (8, "4:2:2") => ("Y42B", "yuv422p"),
        (8, _) => ("Y444", "yuv444p"),
        (10, "4:2:0") => ("I420_10LE", "yuv420p10le"),
        (10, "4:2:2") => ("I422_10LE", "yuv422p10le"),
        (10, _) => ("Y444_10LE", "yuv444p10le"),
        (_, "4:2:0") => ("I420_12LE", "yuv420p12le"),
        (_, "4:2:2") => ("I422_12LE", "yuv422p12le"),
        _ => ("Y444_12LE", "yuv444p12le"),
    }
}

fn rgb(depth: u32) -> Format {
    match depth {
        8 => ("GBR", "gbrp"),
        10 => ("GBR_10LE", "gbrp10le"),
        _ => ("GBR_12LE", "gbrp12le"),
    }
}

fn alpha(depth: u32) -> Format {
    match depth {
        8 => ("A420", "yuva420p"),
        10 => ("A420_10LE", "yuva420p10le"),
        _ => ("GBRA_12LE", "gbrap12le"),
    }
}

fn source(format: &str, more: &str) -> String {
    let (width, height) = SIZE;
    // Colours, translucent if the format has alpha.
    format!(
        "videotestsrc num-buffers={FRAMES} pattern=smpte ! video/x-raw,format=AYUV,width={width},height={height},\
         framerate=25/1 ! alpha alpha=0.3 ! videoconvert ! video/x-raw,format={format}{more}"
    )
}

/// The source's output, without a recorder.
fn original(source: &str, path: &Path) -> Vec<u8> {
    let line = format!("{source} ! filesink location={}", path.display());
    let pipeline = gst::parse::launch(&line).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let bus = pipeline.bus().unwrap();
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(20), &ends);
    pipeline.set_state(gst::State::Null).unwrap();
    assert_eq!(end.expect("it ends").type_(), gst::MessageType::Eos);
    std::fs::read(path).unwrap()
}

/// The decoded video of a file, in its own format or, with alpha, in that of a decoder that supports it.
fn decoded(path: &Path, mime_type: &str, pixels: &str) -> Vec<u8> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error"]);
    if pixels.starts_with("yuva") && mime_type.contains("webm") {
        let decoder = if mime_type.ends_with("vp8") {
            "libvpx"
        } else {
            "libvpx-vp9"
        };
        command.args(["-c:v", decoder]);
    }
    command.arg("-i").arg(path);
    command.args([
        "-fps_mode",
        "passthrough",
        "-pix_fmt",
        pixels,
        "-f",
        "rawvideo",
        "-",
    ]);
    media::run(&mut command).0
}

/// A field of the first video frame, from ffprobe.
fn field(path: &Path, name: &str) -> String {
    let mut command = Command::new("ffprobe");
    command.args([
        "-v",
        "error",
        "-select_streams",
        "v:0",
        "-read_intervals",
        "%+#1",
    ]);
    command.args(["-show_entries", &format!("frame={name}"), "-of", "csv=p=0"]);
    let text = String::from_utf8(media::run(command.arg(path)).0).unwrap();
    text.lines()
        .next()
        .unwrap_or_default()
        .trim_end_matches(',')
        .to_owned()
}

/// Mean difference of samples, relative to 1.
fn off(found: &[u8], expected: &[u8], depth: u32) -> f64 {
    assert_eq!(found.len(), expected.len());
    let sum: f64 = match depth {
        8 => found
            .iter()
            .zip(expected)
            .map(|(a, b)| f64::from(a.abs_diff(*b)))
            .sum(),
        _ => {
            let value = |pair: &[u8]| u16::from_le_bytes([pair[0], pair[1]]);
            let pairs = found.chunks_exact(2).zip(expected.chunks_exact(2));
            2.0 * pairs
                .map(|(a, b)| f64::from(value(a).abs_diff(value(b))))
                .sum::<f64>()
        }
    };
    sum / expected.len() as f64 / f64::from((1u32 << depth) - 1)
}

/// Records a format that the cell names, and decodes it.
fn is_kept(codec: &str, (format, pixels): Format, depth: u32) {
    let mime_type = type_of(codec);
    let (directory, path) = temp_location("kept");
    let source = source(format, "");
    let converted = record_keeping(&source, mime_type, ALL, &path);
    assert_eq!(converted, Vec::<String>::new(), "{format} as {codec}");
    let is_beside = pixels.starts_with("yuva") && mime_type.contains("webm");
    let stored = field(&path, "pix_fmt");
    // FFV1 stores 8-bit RGB packed.
    let is_packed = pixels == "gbrp" && stored == "bgr0";
    assert!(
        is_beside || is_packed || stored == pixels,
        "{format} as {codec}: {stored}"
    );
    let expected = original(&source, &directory.path().join("original"));
    let found = decoded(&path, mime_type, pixels);
    assert_eq!(found.len(), expected.len(), "{format} as {codec}");
    if codec == "FFV1" {
        assert!(found == expected, "{format} as {codec} is not bit-exact");
    } else {
        let off = off(&found, &expected, depth);
        println!("{format} as {codec}: {off:.4} off");
        assert!(off < 0.02, "{format} as {codec}: {off} off");
    }
}

/// Records a format that the cell does not name.
fn is_converted(codec: &str, (format, _): Format, what: &str) {
    let (_directory, path) = temp_location("converted");
    let converted = record_keeping(&source(format, ""), type_of(codec), ALL, &path);
    assert!(
        converted.iter().any(|text| text.starts_with(what)),
        "{format} as {codec}: {converted:?}"
    );
}

fn cell_is_true(kept: bool, codec: &str, format: Format, depth: u32, what: &str) {
    if kept {
        is_kept(codec, format, depth)
    } else {
        is_converted(codec, format, what)
    }
}

fn fields_are_true(kept: bool, codec: &str) {
    let (_directory, path) = temp_location("fields");
    let more = ",interlace-mode=progressive ! capssetter caps=video/x-raw,interlace-mode=interleaved,field-order=top-field-first";
    let converted = record_keeping(&source("I420", more), type_of(codec), ALL, &path);
    let expected: &[&str] = if kept { &[] } else { &["interlaced"] };
    assert_eq!(converted, expected, "{codec}");
    let interlaced = field(&path, "interlaced_frame");
    assert_eq!(interlaced, u8::from(kept).to_string(), "{codec}");
}

fn is_true(row: &Row) {
    let codec = row.codec.as_str();
    let [depths @ .., rgbs, alphas, fields] = row.cells.as_slice() else {
        panic!("{codec} has too few cells");
    };
    assert_eq!(depths.len(), DEPTHS.len());
    for (depth, cell) in DEPTHS.into_iter().zip(depths) {
        for chroma in CHROMA {
            let what = if cell == "–" { "depth" } else { "chroma" };
            // 8 bits remain 8 bits: then only chroma is lost.
            cell_is_true(
                cell.contains(chroma),
                codec,
                yuv(depth, chroma),
                depth,
                what,
            );
        }
        let has = |cell: &str| cell.split(", ").any(|bits| bits == depth.to_string());
        if has(rgbs) {
            is_kept(codec, rgb(depth), depth);
        }
        let what = if alphas == "–" { "alpha" } else { "depth" };
        cell_is_true(has(alphas), codec, alpha(depth), depth, what);
    }
    fields_are_true(fields == "kept", codec);
}

/// Tests the row of this codec.
fn row_is_true(codec: &str) {
    init();
    let rows = rows();
    let (major, minor, ..) = gst::version();
    assert!(!rows.is_empty() || (major, minor) != (1, 22), "no rows");
    if rows.is_empty() {
        println!("The page has no table for {major}.{minor}");
        return;
    }
    let row = rows.iter().find(|row| row.codec == codec);
    is_true(row.expect("a row"));
}

#[test]
fn vp8() {
    row_is_true("VP8");
}

#[test]
fn vp9() {
    row_is_true("VP9");
}

#[test]
fn av1() {
    row_is_true("AV1");
}

#[test]
fn h264() {
    row_is_true("H.264");
}

#[test]
fn h265() {
    row_is_true("H.265");
}

#[test]
fn theora() {
    row_is_true("Theora");
}

#[test]
fn ffv1() {
    row_is_true("FFV1");
}
