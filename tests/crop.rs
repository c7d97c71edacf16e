//! Raw frames with a crop meta.

mod common;
mod inputs;

use common::app::App;
use gst::prelude::*;
use gst_video::VideoCropMeta;
use inputs::{FRAME, PICTURES, Source, luma, size, stamped};

/// A frame that is white right of column 80 and black left of it, cropped to `crop`.
fn frame(number: u64, crop: Option<(u32, u32, u32, u32)>) -> gst::Buffer {
    let info = size(160, 120);
    let mut bytes = vec![128u8; info.size()];
    for (at, pixel) in bytes[..160 * 120].iter_mut().enumerate() {
        *pixel = if at % 160 < 80 { 16 } else { 235 };
    }
    let buffer = gst::Buffer::from_mut_slice(bytes);
    let mut buffer = stamped(buffer, Some(number * FRAME), Some(FRAME));
    if let Some(crop) = crop {
        VideoCropMeta::add(buffer.make_mut(), crop);
    }
    buffer
}

#[test]
fn only_the_cropped_area_is_recorded() {
    common::app::init();
    for autostart in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("window.mkv");
        let app = App::new(PICTURES, &path);
        app.recorder.set_property("autostart", autostart);
        let caps = size(160, 120).to_caps().unwrap();
        let source = Source::new(&app.pad("video_%u"), &caps, None);
        app.set_state(gst::State::Playing);
        let right = Some((80, 20, 64, 64));
        source.push(frame(0, right));
        if !autostart {
            app.act("start");
        }
        for number in 1..10 {
            source.push(frame(number, right));
        }
        // Another area of the same size.
        for number in 10..20 {
            source.push(frame(number, Some((8, 0, 64, 64))));
        }
        source.end();
        app.wait_for("stop", 1);
        app.set_state(gst::State::Null);
        assert_eq!(app.warnings(), Vec::<String>::new());
        let frames = luma(&path, "null", (64, 64));
        assert!(frames.len() >= 19, "{}", frames.len());
        let mean = |picture: &Vec<u8>| {
            let sum: u64 = picture.iter().map(|pixel| u64::from(*pixel)).sum();
            sum / picture.len() as u64
        };
        let (first, last) = (mean(&frames[0]), mean(&frames[frames.len() - 1]));
        assert!(first > 220 && last < 30, "{first}, {last}");
    }
}

/// Encoders would read past the end of the memory.
#[test]
fn incomplete_frames_are_dropped_with_one_warning() {
    common::app::init();
    for (has_meta, is_cropped) in [(false, false), (true, false), (true, true), (false, true)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("short.mkv");
        let app = App::new(PICTURES, &path);
        app.recorder.set_property("autostart", true);
        let info = size(160, 120);
        let source = Source::new(&app.pad("video_%u"), &info.to_caps().unwrap(), None);
        app.set_state(gst::State::Playing);
        for number in 0..10 {
            let crop = is_cropped.then_some((80, 20, 64, 64));
            let mut buffer = frame(number, crop);
            let fields = buffer.make_mut();
            if has_meta {
                let flags = gst_video::VideoFrameFlags::empty();
                gst_video::VideoMeta::add(fields, flags, info.format(), 160, 120).unwrap();
            }
            if number % 2 == 1 {
                fields.set_size(160 * 60);
            }
            source.push(buffer);
        }
        source.end();
        app.wait_for("stop", 1);
        app.set_state(gst::State::Null);
        let warnings = app.warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("9600 bytes"), "{warnings:?}");
        let shown = if is_cropped { (64, 64) } else { (160, 120) };
        let frames = luma(&path, "null", shown);
        assert_eq!(frames.len(), 5);
    }
}
