//! `keep`: depth, chroma, alpha and pixel aspect ratio of raw video, if codec and container support them; and
//! `converted` in `stats`.

mod common;

use common::app::{App, temp_location};
use common::harness::{Recorder, code, expect_error, make_recorder, media};
use common::keeping::{ALL, record_keeping};
use gst::prelude::*;
use std::path::Path;
use std::process::Command;

/// The output of a command.
fn run(command: &mut Command) -> (String, String) {
    let (out, said) = media::run(command);
    (String::from_utf8(out).unwrap(), said)
}

/// A field of the video stream, from ffprobe.
fn field(path: &Path, name: &str) -> String {
    let (text, _) = run(Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0", "-of", "csv=p=0"])
        .args(["-show_entries", &format!("stream={name}")])
        .arg(path));
    text.trim().trim_end_matches(',').to_owned()
}

/// A checksum of each video frame, decoded by FFmpeg into this format.
fn sums(path: &Path, format: &str) -> Vec<String> {
    let (text, _) = run(Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(path)
        .args([
            "-map",
            "0:v:0",
            "-pix_fmt",
            format,
            "-fps_mode",
            "passthrough",
        ])
        .args(["-f", "framemd5", "-"]));
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| Some(line.rsplit(',').next()?.trim().to_owned()))
        .collect()
}

fn source(format: &str, more: &str) -> String {
    format!(
        "videotestsrc num-buffers=10 pattern=smpte ! \
         video/x-raw,format={format},width=128,height=96,framerate=30/1{more}"
    )
}

/// Input, type, what is kept, what FFmpeg finds, and `converted` in `stats`.
#[test]
fn depth_and_chroma_are_kept_if_the_codec_supports_them() {
    const H264: &str = "video/mp4;codecs=avc1";
    const H265: &str = "video/x-matroska;codecs=hvc1";
    const VP9: &str = "video/webm;codecs=vp9";
    const VP9_MP4: &str = "video/mp4;codecs=vp09";
    for (format, mime_type, keep, pixels, converted) in [
        ("I420", "video/webm", "", "yuv420p", vec![]),
        (
            "YUY2",
            "video/webm",
            ALL,
            "yuv420p",
            vec!["chroma 4:2:2 to 4:2:0"],
        ),
        ("P010_10LE", H264, "", "yuv420p", vec!["depth 10 to 8"]),
        ("P010_10LE", H264, "depth", "yuv420p10le", vec![]),
        ("P010_10LE", H265, "depth", "yuv420p10le", vec![]),
        ("P010_10LE", VP9, "depth", "yuv420p10le", vec![]),
        ("P010_10LE", VP9_MP4, "depth", "yuv420p10le", vec![]),
        (
            "P010_10LE",
            "video/webm;codecs=vp8",
            ALL,
            "yuv420p",
            vec!["depth 10 to 8"],
        ),
        ("Y444", H264, "", "yuv420p", vec!["chroma 4:4:4 to 4:2:0"]),
        ("Y444", H264, "chroma", "yuv444p", vec![]),
        ("BGRx", H264, "chroma", "yuv444p", vec![]),
        ("BGRx", VP9, "chroma", "yuv444p", vec![]),
        ("BGRA", VP9_MP4, "chroma", "yuv444p", vec!["alpha"]),
        (
            "YUY2",
            H264,
            "depth",
            "yuv420p",
            vec!["chroma 4:2:2 to 4:2:0"],
        ),
        ("YUY2", H264, "chroma", "yuv422p", vec![]),
        ("YUY2", H265, "chroma", "yuv422p", vec![]),
        (
            "YUY2",
            VP9,
            "depth+chroma",
            "yuv420p",
            vec!["chroma 4:2:2 to 4:2:0"],
        ),
        ("Y210", H264, "depth+chroma", "yuv422p10le", vec![]),
        ("Y210", VP9, "depth+chroma", "yuv422p10le", vec![]),
        (
            "Y444",
            "video/x-matroska;codecs=av1",
            "chroma",
            "yuv444p",
            vec![],
        ),
        ("Y42B", "video/webm;codecs=av1", "chroma", "yuv422p", vec![]),
        (
            "Y42B",
            "video/ogg;codecs=theora",
            "chroma",
            "yuv422p",
            vec![],
        ),
        ("I422_12LE", H265, "depth+chroma", "yuv422p12le", vec![]),
        ("Y444_12LE", VP9, "depth+chroma", "yuv444p12le", vec![]),
    ] {
        let name = if mime_type.contains("mp4") {
            "kept.mp4"
        } else {
            "kept.mkv"
        };
        let (_directory, path) = temp_location(name);
        let found = record_keeping(&source(format, ""), mime_type, keep, &path);
        assert_eq!(
            field(&path, "pix_fmt"),
            pixels,
            "{format} {mime_type} {keep}"
        );
        assert_eq!(found, converted, "{format} {mime_type} {keep}");
        assert_eq!(sums(&path, pixels).len(), 10, "{format} {mime_type} {keep}");
    }
}

/// A ramp of more than 256 levels still has them when decoded.
#[test]
fn ten_bits_are_ten_bits() {
    for (keep, least, most) in [("depth", 300, 1024), ("", 1, 256)] {
        let (_directory, path) = temp_location("ramp.mkv");
        // Every level of limited range, two lines each.
        let line = |level: u16| std::iter::repeat_n(level.to_le_bytes(), 128).flatten();
        let luma = (0..1_752u16).flat_map(|y| line(64 + y / 2));
        let chroma = std::iter::repeat_n(512u16.to_le_bytes(), 64 * 1_752).flatten();
        let frame: Vec<u8> = luma.chain(chroma).collect();
        let raw = path.with_extension("raw");
        std::fs::write(&raw, frame.repeat(3)).unwrap();
        let source = format!(
            "filesrc location={} ! rawvideoparse format=i420-10le width=128 height=1752 framerate=30/1",
            raw.display()
        );
        record_keeping(&source, "video/x-matroska;codecs=h264", keep, &path);
        let grey = Command::new("ffmpeg")
            .args(["-v", "error", "-i"])
            .arg(&path)
            .args([
                "-frames:v",
                "1",
                "-pix_fmt",
                "yuv420p10le",
                "-f",
                "rawvideo",
                "-",
            ])
            .output()
            .unwrap()
            .stdout;
        let luma = &grey[..128 * 1_752 * 2];
        let levels: std::collections::BTreeSet<u16> = luma
            .chunks_exact(2)
            .map(|two| u16::from_le_bytes([two[0], two[1]]))
            .collect();
        assert!(
            (least..=most).contains(&levels.len()),
            "{keep}: {}",
            levels.len()
        );
    }
}

#[test]
fn pq_and_hlg_keep_their_depth_by_default() {
    for colorimetry in ["bt2100-pq", "bt2100-hlg"] {
        let (_directory, path) = temp_location("hdr.mp4");
        let more = format!(",colorimetry={colorimetry}");
        let source = source("P010_10LE", &more);
        let converted = record_keeping(&source, "video/mp4;codecs=hvc1", "", &path);
        assert_eq!(field(&path, "pix_fmt"), "yuv420p10le");
        assert_eq!(converted, Vec::<String>::new());
        let transfer = if colorimetry.ends_with("pq") {
            "smpte2084"
        } else {
            "arib-std-b67"
        };
        assert_eq!(field(&path, "color_transfer"), transfer);
        assert_eq!(field(&path, "color_primaries"), "bt2020");
    }
}

#[test]
fn pixel_aspect_ratios_are_kept_in_every_container_of_video() {
    for (mime_type, name) in [
        ("video/webm;codecs=vp8", "wide.webm"),
        ("video/webm;codecs=vp9", "wide9.webm"),
        ("video/x-matroska;codecs=h264", "wide.mkv"),
        ("video/mp4;codecs=avc1", "wide.mp4"),
        ("video/mp4;codecs=vp09", "wide9.mp4"),
        ("video/ogg;codecs=theora", "wide.ogv"),
    ] {
        let source = source("I420", ",pixel-aspect-ratio=3/2");
        let (_directory, path) = temp_location(name);
        let converted = record_keeping(&source, mime_type, "pixel-aspect", &path);
        assert_eq!(converted, Vec::<String>::new(), "{name}");
        assert_eq!(field(&path, "width,height"), "128,96", "{name}");
        assert_eq!(field(&path, "sample_aspect_ratio"), "3:2", "{name}");
        let converted = record_keeping(&source, mime_type, "", &path);
        assert_eq!(converted, ["pixel-aspect 3:2 to 1:1"], "{name}");
        let width = field(&path, "width");
        assert_eq!(width, "192", "{name}");
    }
}

#[test]
fn a_profile_in_the_type_is_encoded() {
    for (mime_type, pixels) in [
        ("video/webm;codecs=vp09.02.10.10", "yuv420p10le"),
        ("video/webm;codecs=vp09.00.10.08", "yuv420p"),
        ("video/mp4;codecs=avc1.6e001f", "yuv420p10le"),
        ("video/mp4;codecs=avc1.7a001f", "yuv422p10le"),
        ("video/mp4;codecs=avc1.64001f", "yuv420p"),
        ("video/mp4;codecs=hvc1.2.4.L93.B0", "yuv420p10le"),
    ] {
        let (_directory, path) = temp_location("profile.mp4");
        record_keeping(&source("Y444_10LE", ""), mime_type, "", &path);
        assert_eq!(field(&path, "pix_fmt"), pixels, "{mime_type}");
    }
    let recorder = make_recorder();
    for (mime_type, supported) in [
        ("video/webm;codecs=vp09.02.10.10", true),
        ("video/mp4;codecs=avc1.6e001f", true),
        ("video/mp4;codecs=hvc1.2.4.L93.B0", true),
        // vp9enc does not accept 8-bit 4:2:2.
        ("video/webm;codecs=vp09.01.10.08.02", false),
    ] {
        assert_eq!(recorder.supports(mime_type), supported, "{mime_type}");
    }
}

#[test]
fn a_profile_that_no_encoder_supports_is_refused() {
    let (_directory, path) = temp_location("refused.webm");
    let app = App::new("video/webm;codecs=vp09.01.10.08.02", &path);
    let from = app.source(&source("I420", "").replace("num-buffers=10 ", "is-live=true "));
    from.link(&app.pad("video_%u")).unwrap();
    app.set_state(gst::State::Playing);
    let error = expect_error(app.recorder.start(), code::NOT_SUPPORTED);
    for part in ["vp09.01.10.08.02", "4:2:2", "8 bit"] {
        assert!(error.message().contains(part), "{error}");
    }
    app.set_state(gst::State::Null);
}

/// Everything is kept bit-exactly: the checksums are those of the input.
#[test]
fn ffv1_is_lossless() {
    for (format, pixels) in [
        ("BGRx", "bgr0"),
        ("RGB", "bgr0"),
        ("BGRA", "bgra"),
        ("I420", "yuv420p"),
        ("I420_10LE", "yuv420p10le"),
        ("P010_10LE", "yuv420p10le"),
        ("Y444", "yuv444p"),
        ("YUY2", "yuv422p"),
        ("A420", "yuva420p"),
        ("A420_10LE", "yuva420p10le"),
        ("A444_10LE", "yuva444p10le"),
        ("GBRA_10LE", "gbrap10le"),
        ("GBRA_12LE", "gbrap12le"),
    ] {
        let source = if format.starts_with('A') || format.starts_with("GBRA") {
            source(
                "AYUV",
                &format!(" ! alpha alpha=0.3 ! videoconvert ! video/x-raw,format={format}"),
            )
        } else {
            source(format, "")
        };
        let (directory, path) = temp_location("lossless.mkv");
        let raw = directory.path().join("raw.nut");
        let converted = record_keeping(&source, "video/x-matroska;codecs=ffv1", ALL, &path);
        assert_eq!(converted, Vec::<String>::new(), "{format}");
        assert_eq!(field(&path, "codec_name"), "ffv1");
        assert_eq!(field(&path, "pix_fmt"), pixels, "{format}");
        // Without the padding in place of alpha.
        let shown = if pixels == "bgr0" { "rgb24" } else { pixels };
        // The input, decoded by GStreamer alone.
        let line = format!(
            "{source} ! videoconvert ! video/x-raw,format={} ! filesink location={}",
            match pixels {
                "bgr0" => "BGRx",
                "bgra" => "BGRA",
                "yuv420p10le" => "I420_10LE",
                "yuv444p" => "Y444",
                "yuv422p" => "Y42B",
                "yuva420p" => "A420",
                "yuva420p10le" => "A420_10LE",
                "yuva444p10le" => "A444_10LE",
                "gbrap10le" => "GBRA_10LE",
                "gbrap12le" => "GBRA_12LE",
                _ => "I420",
            },
            raw.display()
        );
        let pipeline = gst::parse::launch(&line).unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let bus = pipeline.bus().unwrap();
        let end = [gst::MessageType::Eos, gst::MessageType::Error];
        bus.timed_pop_filtered(gst::ClockTime::from_seconds(20), &end)
            .unwrap();
        pipeline.set_state(gst::State::Null).unwrap();
        let (text, _) = run(Command::new("ffmpeg")
            .args(["-v", "error", "-f", "rawvideo", "-video_size", "128x96"])
            .args(["-pix_fmt", pixels, "-i"])
            .arg(&raw)
            .args(["-pix_fmt", shown, "-f", "framemd5", "-"]));
        let expected: Vec<String> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| Some(line.rsplit(',').next()?.trim().to_owned()))
            .collect();
        assert_eq!(expected.len(), 10, "{format}");
        assert_eq!(sums(&path, shown), expected, "{format}");
    }
}

/// Stereoscopic video is signalled, in containers that support it.
#[test]
fn stereoscopic_video_is_signalled_in_matroska() {
    for (mime_type, name) in [
        ("video/webm;codecs=vp8", "stereo.webm"),
        ("video/x-matroska;codecs=avc1", "stereo.mkv"),
    ] {
        for (mode, expected) in [("side-by-side", "left_right"), ("top-bottom", "top_bottom")] {
            let (_directory, path) = temp_location(name);
            let source = source(
                "I420",
                &format!(" ! capssetter caps=video/x-raw,multiview-mode={mode}"),
            );
            record_keeping(&source, mime_type, "", &path);
            let (text, _) = run(Command::new("ffprobe")
                .args(["-v", "error", "-of", "csv=p=0", "-show_entries"])
                .arg("stream_tags=stereo_mode")
                .arg(&path));
            assert_eq!(
                text.trim().trim_end_matches(','),
                expected,
                "{mime_type} {mode}"
            );
        }
    }
}

/// Rotated video keeps its chroma, although videoflip does not support every format of it.
#[test]
fn rotated_video_keeps_its_format() {
    for (mime_type, format, name, expected) in [
        ("video/mp4;codecs=avc1", "Y42B", "turned.mp4", "yuv422p"),
        (
            "video/x-matroska;codecs=avc1",
            "I420_10LE",
            "turned.mkv",
            "yuv420p10le",
        ),
    ] {
        let (_directory, path) = temp_location(name);
        let source = format!(
            "{} ! taginject tags=\"image-orientation=rotate-90\"",
            source(format, "")
        );
        let converted = record_keeping(&source, mime_type, ALL, &path);
        assert_eq!(converted, Vec::<String>::new(), "{format}");
        assert_eq!(
            field(&path, "width,height,pix_fmt"),
            format!("96,128,{expected}")
        );
    }
}
