//! Interlaced video: H.264 keeps and signals fields, for all other codecs it is deinterlaced. Closed captions of
//! the input are kept in H.264.

mod common;

use common::app::{App, temp_location};
use common::judge::file;
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

/// Line layout: `interlace-mode`, and `field-order`.
type Lines = (&'static str, Option<&'static str>);

const PROGRESSIVE: Lines = ("progressive", None);
const TOP_FIRST: Lines = ("interleaved", Some("top-field-first"));
const BOTTOM_FIRST: Lines = ("interleaved", Some("bottom-field-first"));

fn caps(height: usize, (mode, order): Lines) -> gst::Caps {
    gst::Caps::builder("video/x-raw")
        .field("format", "I420")
        .field("width", WIDTH as i32)
        .field("height", height as i32)
        .field("framerate", gst::Fraction::new(25, 1))
        .field("interlace-mode", mode)
        .field_if_some("field-order", order)
        .build()
}

/// A frame whose even and odd lines differ, with a caption.
fn picture(number: u64, height: usize, size: usize) -> gst::Buffer {
    // Part of it changes.
    let line = |field: u8| {
        [
            vec![field - (number % FRAMES) as u8; WIDTH / 4],
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
    buffer
}

/// Records this many frames of each kind, one after the other; returns `converted` in `stats`.
fn record(path: &Path, mime_type: &str, height: usize, all: &[Lines]) -> Vec<String> {
    let app = App::new(mime_type, path);
    app.recorder.set_property("autostart", true);
    let first = caps(height, all[0]);
    let size = gst_video::VideoInfo::from_caps(&first).unwrap().size();
    let feed = Feed::new(&app.pad("video_%u"), &first, Upstream::NotLive);
    app.set_state(gst::State::Playing);
    for (section, lines) in (0..).zip(all) {
        if section > 0 {
            feed.set_caps(&caps(height, *lines));
        }
        for number in section * FRAMES..(section + 1) * FRAMES {
            feed.push(picture(number, height, size)).expect("taken");
        }
    }
    feed.end();
    app.wait_for("stop", 1);
    assert_eq!(app.warnings(), Vec::<String>::new());
    let stats = app.recorder.property::<gst::Structure>("stats");
    let tracks = stats.get::<gst::Array>("tracks").unwrap();
    let track = tracks.first().unwrap().get::<gst::Structure>().unwrap();
    let converted = track.get::<gst::Array>("converted").unwrap();
    converted.iter().map(|text| text.get().unwrap()).collect()
}

/// The frames, as reported by ffprobe.
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

/// Luma of two lines in the middle of each frame.
fn lines(path: &Path, height: usize) -> Vec<[u8; 2]> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(path)
        .args(file::AS_STAMPED)
        .args(["-pix_fmt", "gray", "-f", "rawvideo", "-"])
        .output()
        .unwrap();
    let frames = output.stdout.chunks_exact(WIDTH * height);
    let of = |frame: &[u8]| [0, 1].map(|line| frame[(height / 4 * 2 + line) * WIDTH + WIDTH / 2]);
    frames.map(of).collect()
}

/// Whether both lines are unchanged. FFmpeg outputs grey in full range.
fn are_kept(lines: [u8; 2]) -> bool {
    let expected = FIELDS.map(|luma| ((u32::from(luma) - 16) * 255 / 219) as u8);
    (0..2).all(|line| lines[line].abs_diff(expected[line]) < 12)
}

/// Whether both lines are of one field, or interpolated.
fn are_whole([top, bottom]: [u8; 2]) -> bool {
    top.abs_diff(bottom) < 12
}

fn has_captions(frame: &serde_json::Value) -> bool {
    let all = frame["side_data_list"].as_array().into_iter().flatten();
    let mut names = all.filter_map(|data| data["side_data_type"].as_str());
    names.any(|name| name.contains("Closed Captions"))
}

#[test]
fn h264_keeps_fields_and_captions() {
    for (mime_type, order) in [
        ("video/mp4;codecs=avc1", TOP_FIRST),
        ("video/mp4;codecs=avc1", BOTTOM_FIRST),
        ("video/x-matroska;codecs=avc1", TOP_FIRST),
    ] {
        let (_directory, path) = temp_location("fields");
        assert_eq!(
            record(&path, mime_type, 120, &[order]),
            Vec::<String>::new()
        );
        let frames = frames(&path);
        assert_eq!(frames.len() as u64, FRAMES, "{mime_type}");
        for frame in &frames {
            assert_eq!(frame["interlaced_frame"], 1, "{mime_type}");
            let is_top_first = u8::from(order == TOP_FIRST);
            assert_eq!(frame["top_field_first"], is_top_first, "{mime_type}");
        }
        let captioned = frames.iter().filter(|frame| has_captions(frame));
        assert_eq!(captioned.count() as u64, FRAMES, "{mime_type}");
        let last = *lines(&path, 120).last().unwrap();
        assert!(are_kept(last), "{last:?}");
    }
}

#[test]
fn video_is_deinterlaced_for_codecs_without_fields() {
    for (mime_type, height) in [
        ("video/webm;codecs=vp8", 120),
        ("video/webm;codecs=vp9", 120),
        ("video/x-matroska;codecs=hvc1", 120),
        ("video/webm;codecs=av1", 120),
        // A profile without fields, and a height that 4:2:0 fields cannot have.
        ("video/mp4;codecs=avc1.42e01e", 120),
        ("video/mp4;codecs=avc1", 90),
    ] {
        let (_directory, path) = temp_location("whole");
        let converted = record(&path, mime_type, height, &[TOP_FIRST]);
        assert_eq!(converted, ["interlaced"], "{mime_type}");
        let frames = frames(&path);
        assert_eq!(frames.len() as u64, FRAMES, "{mime_type}");
        assert!(
            frames.iter().all(|frame| frame["interlaced_frame"] == 0),
            "{mime_type}"
        );
        let last = *lines(&path, height).last().unwrap();
        assert!(are_whole(last), "{mime_type}: {last:?}");
    }
}

/// Video that switches between interlaced and progressive while recording: frames for which the encoder was not
/// set up are deinterlaced, and no track ends.
#[test]
fn switching_between_interlaced_and_progressive_is_handled() {
    for mime_type in [
        "video/mp4;codecs=avc1",
        "video/x-matroska;codecs=avc1",
        "video/webm;codecs=vp8",
    ] {
        for all in [
            [PROGRESSIVE, TOP_FIRST, PROGRESSIVE],
            [TOP_FIRST, PROGRESSIVE, TOP_FIRST],
        ] {
            let (_directory, path) = temp_location("changing");
            let converted = record(&path, mime_type, 120, &all);
            let keeps_fields = all[0] == TOP_FIRST && mime_type.contains("avc1");
            let is_converted = all[2] == TOP_FIRST && !keeps_fields;
            let expected: &[&str] = if is_converted { &["interlaced"] } else { &[] };
            assert_eq!(converted, expected, "{mime_type} {all:?}");
            let shown = lines(&path, 120);
            assert_eq!(shown.len(), 3 * FRAMES as usize, "{mime_type} {all:?}");
            let sections = shown.chunks(FRAMES as usize).zip(all);
            for (number, (frames, lines)) in sections.enumerate() {
                let is_right = if lines == TOP_FIRST && !keeps_fields {
                    are_whole
                } else {
                    are_kept
                };
                let right = frames.iter().filter(|frame| is_right(**frame));
                let what = format!("{mime_type} {all:?}, section {number}: {frames:?}");
                assert_eq!(right.count(), frames.len(), "{what}");
            }
        }
    }
}

/// Copied streams are not modified.
#[test]
fn copied_hevc_keeps_its_captions() {
    let (_directory, path) = temp_location("copied.mkv");
    // A prefix SEI with the captions, before each frame.
    let mut sei = vec![0, 0, 0, 1, 0x4e, 1, 4, 14, 0xb5, 0, 0x31];
    sei.extend_from_slice(b"GA94");
    sei.extend_from_slice(&[
        3, 0xc1, 0xff, CAPTION[0], CAPTION[1], CAPTION[2], 0xff, 0x80,
    ]);
    let app = App::new("", &path);
    app.recorder.set_property("autostart", true);
    let source = app.source(
        "videotestsrc num-buffers=10 ! video/x-raw,width=160,height=120,framerate=25/1 \
         ! x265enc speed-preset=ultrafast option-string=log-level=none \
         ! h265parse ! video/x-h265,stream-format=byte-stream,alignment=au ! identity",
    );
    source.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let buffer = info.buffer_mut().unwrap().make_mut();
        let bytes = buffer.map_readable().unwrap().to_vec();
        // After the NAL units before the first slice.
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
    source.link(&app.pad("video_%u")).unwrap();
    app.set_state(gst::State::Playing);
    app.wait_for("stop", 1);
    let frames = frames(&path);
    assert_eq!(frames.len(), 10);
    assert!(frames.iter().all(has_captions), "{frames:?}");
}
