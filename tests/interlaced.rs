//! Interlaced pictures: H.264 keeps their fields and says so, everything else gets whole pictures of them. Closed captions
//! that come with pictures are in H.264.

mod common;

use common::outer::{Outer, place_for};
use common::signal::feed::{Feed, Upstream};
use gst::prelude::*;
use gst_video::{VideoCaptionMeta, VideoCaptionType};
use std::path::Path;
use std::process::Command;

const WIDTH: usize = 160;
const FRAMES: u64 = 25;
/// Luma of the two fields, top and bottom.
const FIELDS: [u8; 2] = [180, 60];

/// Three bytes of CEA-708: two characters of CEA-608, field 1.
const CAPTION: [u8; 3] = [0xfc, 0xc8, 0xe9];

/// Records pictures whose fields differ, with captions; what `stats` says has been converted.
fn record(path: &Path, mime_type: &str, height: usize, order: &str) -> Vec<String> {
    let outer = Outer::new(mime_type, path);
    outer.recorder.set_property("autostart", true);
    let caps = gst::Caps::builder("video/x-raw")
        .field("format", "I420")
        .field("width", WIDTH as i32)
        .field("height", height as i32)
        .field("framerate", gst::Fraction::new(25, 1))
        .field("interlace-mode", "interleaved")
        .field("field-order", order)
        .build();
    let size = gst_video::VideoInfo::from_caps(&caps).unwrap().size();
    let feed = Feed::new(&outer.pad("video_%u"), &caps, Upstream::NotLive);
    outer.set_state(gst::State::Playing);
    for number in 0..FRAMES {
        // A part of it changes.
        let line = |field: u8| {
            [
                vec![field - number as u8; WIDTH / 4],
                vec![field; WIDTH * 3 / 4],
            ]
        };
        let luma = (0..height).flat_map(|at| line(FIELDS[at % 2]).concat());
        // The rest is chroma.
        let frame: Vec<u8> = luma.chain(std::iter::repeat(128)).take(size).collect();
        let mut buffer = gst::Buffer::from_slice(frame);
        let stamped = buffer.get_mut().unwrap();
        stamped.set_pts(gst::ClockTime::from_mseconds(40 * number));
        stamped.set_duration(gst::ClockTime::from_mseconds(40));
        VideoCaptionMeta::add(stamped, VideoCaptionType::Cea708Raw, &CAPTION);
        feed.push(buffer).expect("taken");
    }
    feed.end();
    outer.wait_for("stop", 1);
    assert_eq!(outer.warnings(), Vec::<String>::new());
    let stats = outer.recorder.property::<gst::Structure>("stats");
    let tracks = stats.get::<gst::Array>("tracks").unwrap();
    let track = tracks.first().unwrap().get::<gst::Structure>().unwrap();
    let converted = track.get::<gst::Array>("converted").unwrap();
    converted.iter().map(|text| text.get().unwrap()).collect()
}

/// The frames, as ffprobe tells of them.
fn frames(path: &Path) -> Vec<serde_json::Value> {
    let output = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-select_streams",
            "v:0",
            "-show_frames",
            "-of",
            "json",
        ])
        .arg(path)
        .output()
        .unwrap();
    let probe: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    probe["frames"].as_array().cloned().unwrap_or_default()
}

/// Luma of two lines in the middle of the last frame.
fn lines(path: &Path, height: usize) -> [u8; 2] {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(path)
        .args(["-pix_fmt", "gray", "-f", "rawvideo", "-"])
        .output()
        .unwrap();
    let last = output.stdout.len() - WIDTH * height;
    [0, 1].map(|line| output.stdout[last + (height / 4 * 2 + line) * WIDTH + WIDTH / 2])
}

fn has_captions(frame: &serde_json::Value) -> bool {
    let all = frame["side_data_list"].as_array().into_iter().flatten();
    let mut names = all.filter_map(|data| data["side_data_type"].as_str());
    names.any(|name| name.contains("Closed Captions"))
}

#[test]
fn h264_keeps_fields_and_captions() {
    for (mime_type, order) in [
        ("video/mp4;codecs=avc1", "top-field-first"),
        ("video/mp4;codecs=avc1", "bottom-field-first"),
        ("video/x-matroska;codecs=avc1", "top-field-first"),
    ] {
        let (_directory, path) = place_for("fields");
        assert_eq!(record(&path, mime_type, 120, order), Vec::<String>::new());
        let frames = frames(&path);
        assert_eq!(frames.len() as u64, FRAMES, "{mime_type}");
        for frame in &frames {
            assert_eq!(frame["interlaced_frame"], 1, "{mime_type}");
            let is_top_first = u8::from(order == "top-field-first");
            assert_eq!(frame["top_field_first"], is_top_first, "{mime_type}");
        }
        let captioned = frames.iter().filter(|frame| has_captions(frame));
        assert_eq!(captioned.count() as u64, FRAMES, "{mime_type}");
        let [top, bottom] = lines(&path, 120);
        assert!(
            top.abs_diff(FIELDS[0]) < 12 && bottom.abs_diff(FIELDS[1]) < 12,
            "{top} {bottom}"
        );
    }
}

#[test]
fn what_knows_no_fields_gets_whole_pictures() {
    for (mime_type, height) in [
        ("video/webm;codecs=vp8", 120),
        ("video/webm;codecs=vp9", 120),
        ("video/x-matroska;codecs=hvc1", 120),
        ("video/webm;codecs=av1", 120),
        // A profile without fields, and a height that fields of 4:2:0 cannot have.
        ("video/mp4;codecs=avc1.42e01e", 120),
        ("video/mp4;codecs=avc1", 90),
    ] {
        let (_directory, path) = place_for("whole");
        let converted = record(&path, mime_type, height, "top-field-first");
        assert_eq!(converted, ["interlaced"], "{mime_type}");
        let frames = frames(&path);
        assert_eq!(frames.len() as u64, FRAMES, "{mime_type}");
        assert!(
            frames.iter().all(|frame| frame["interlaced_frame"] == 0),
            "{mime_type}"
        );
        let [top, bottom] = lines(&path, height);
        assert!(top.abs_diff(bottom) < 12, "{mime_type}: {top} {bottom}");
    }
}

/// What is copied stays as it is.
#[test]
fn copied_hevc_keeps_its_captions() {
    let (_directory, path) = place_for("copied.mkv");
    // A prefix SEI with the captions, in front of each picture.
    let mut sei = vec![0, 0, 0, 1, 0x4e, 1, 4, 14, 0xb5, 0, 0x31];
    sei.extend_from_slice(b"GA94");
    sei.extend_from_slice(&[
        3, 0xc1, 0xff, CAPTION[0], CAPTION[1], CAPTION[2], 0xff, 0x80,
    ]);
    let outer = Outer::new("", &path);
    outer.recorder.set_property("autostart", true);
    let source = outer.source(
        "videotestsrc num-buffers=10 ! video/x-raw,width=160,height=120,framerate=25/1 \
         ! x265enc speed-preset=ultrafast option-string=log-level=none \
         ! h265parse ! video/x-h265,stream-format=byte-stream,alignment=au ! identity",
    );
    source.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let buffer = info.buffer_mut().unwrap().make_mut();
        let bytes = buffer.map_readable().unwrap().to_vec();
        // Behind what stands before the first slice.
        let starts = bytes.windows(5).enumerate();
        let mut slices = starts.filter(|(_, b)| b.starts_with(&[0, 0, 0, 1]) && b[4] >> 1 < 32);
        let slice = slices.next().map(|(at, _)| at);
        let slice = slice.or_else(|| {
            let starts = bytes.windows(4).enumerate();
            let mut slices = starts.filter(|(_, b)| b.starts_with(&[0, 0, 1]) && b[3] >> 1 < 32);
            slices.next().map(|(at, _)| at)
        });
        let (head, rest) = bytes.split_at(slice.expect("a slice"));
        buffer.remove_all_memory();
        buffer.append_memory(gst::Memory::from_slice([head, &sei, rest].concat()));
        gst::PadProbeReturn::Ok
    });
    source.link(&outer.pad("video_%u")).unwrap();
    outer.set_state(gst::State::Playing);
    outer.wait_for("stop", 1);
    let frames = frames(&path);
    assert_eq!(frames.len(), 10);
    assert!(frames.iter().all(has_captions), "{frames:?}");
}
