//! Caps change while recording: audio and video are converted to the initial format, without a gap.

mod common;
mod inputs;

use common::judge::{decode, kept::Kept, position};
use common::signal::{frame, noise};
use gst::prelude::*;
use gst_audio::{AudioFormat, AudioInfo};
use gst_video::{VideoFormat, VideoInfo};
use inputs::*;

/// Noise in `info`'s rate for `length` from `from` on; the way to make each buffer.
fn hiss_for(audio: &Source, info: &AudioInfo, from: u64, length: u64) {
    let rate = u64::from(info.rate());
    let mut time = from;
    while time < from + length {
        let samples = rate / 50;
        let mut bytes = vec![0; samples as usize * info.bpf() as usize];
        noise::fill(info, time as f64, &mut bytes);
        let buffer = gst::Buffer::from_mut_slice(bytes);
        audio.push(stamped(buffer, Some(time), Some(20 * MILLI)));
        time += 20 * MILLI;
    }
}

fn sound_changes(mime: &str, tolerance: f64) {
    let take = Take::new(mime);
    common::app::init();
    let of = |format, rate, channels| AudioInfo::builder(format, rate, channels).build().unwrap();
    let surround = {
        use gst_audio::AudioChannelPosition::*;
        let places = [
            FrontLeft,
            FrontRight,
            FrontCenter,
            Lfe1,
            RearLeft,
            RearRight,
        ];
        let info = AudioInfo::builder(AudioFormat::F32le, 96_000, 6).positions(&places);
        info.build().unwrap()
    };
    let kinds = [
        of(AudioFormat::S16le, 48_000, 2),
        of(AudioFormat::F32le, 44_100, 2),
        of(AudioFormat::S16le, 32_000, 1),
        surround,
        of(AudioFormat::S16le, 48_000, 2),
    ];
    let audio = take.audio(&kinds[0], None);
    take.roll();
    for (n, info) in (0u64..).zip(&kinds) {
        if n > 0 {
            audio.caps(&info.to_caps().unwrap());
        }
        hiss_for(&audio, info, n * 600 * MILLI, 600 * MILLI);
    }
    audio.end();
    take.wrap();
    take.decodes_without_errors();
    let decoded = decode::audio(&take.path, 0, Some(48_000)).unwrap();
    let seconds = decoded.len() as f64 / 48_000.0;
    assert!((seconds - 3.0).abs() < 0.02, "{seconds}");
    // When caps change, a resampler may restart: that counts as a cut.
    let kept = Kept {
        intervals: (0..5)
            .map(|n| (n * 600 * MILLI, (n + 1) * 600 * MILLI))
            .collect(),
    };
    let places = position::find(&decoded, 5e9).unwrap();
    let verdict = position::check(&places, &kept, tolerance);
    println!("{verdict:?}");
    verdict.unwrap();
}

#[test]
fn rate_channels_and_format_of_audio_in_wav() {
    sound_changes(WAV, 1e6);
}

#[test]
fn rate_channels_and_format_of_audio_in_webm() {
    sound_changes("audio/webm;codecs=opus", 1.5e6);
}

#[test]
fn a_change_of_rate_with_latency_loses_nothing() {
    // Media that waits for its cut has the old caps.
    let take = Take::new(WAV);
    take.app
        .recorder
        .set_property("max-queue-time", 3600 * SECOND);
    let clock = gst_check::TestClock::new();
    take.app.pipeline.use_clock(Some(&clock));
    let first = stereo(48_000);
    let second = stereo(24_000);
    let audio = take.audio(&first, Some(0));
    take.app.set_state(gst::State::Playing);
    take.app.act("start");
    // All of it arrives before its time.
    for n in 0..50 {
        audio.push(hiss(&first, n * 960, 960));
    }
    audio.caps(&second.to_caps().unwrap());
    for n in 50..100 {
        audio.push(hiss(&second, n * 480, 480));
    }
    clock.set_time(gst::ClockTime::from_seconds(2));
    take.app.act("stop");
    take.wrap();
    let decoded = decode::audio(&take.path, 0, None).unwrap();
    assert_eq!(decoded.rate, 48_000);
    assert!(decoded.len().abs_diff(96_000) <= 1, "{}", decoded.len());
    let kept = Kept {
        intervals: vec![(0, SECOND), (SECOND, 2 * SECOND)],
    };
    let places = position::find(&decoded, 3e9).unwrap();
    position::check(&places, &kept, 1e6).unwrap();
}

fn of_format(format: VideoFormat, width: u32, height: u32, fps: i32) -> VideoInfo {
    VideoInfo::builder(format, width, height)
        .fps(gst::Fraction::new(fps, 1))
        .build()
        .unwrap()
}

fn picture_changes(mime: &str) {
    let take = Take::new(mime);
    let narrow = size(320, 240);
    let other_colours = VideoInfo::builder(VideoFormat::Nv12, 320, 240)
        .fps(gst::Fraction::new(25, 1))
        .colorimetry(&"bt709".parse().unwrap())
        .build()
        .unwrap();
    let kinds = [
        narrow.clone(),
        of_format(VideoFormat::I420, 640, 480, 25),
        of_format(VideoFormat::Nv12, 160, 120, 25),
        of_format(VideoFormat::Yv12, 320, 240, 50),
        other_colours,
        of_format(VideoFormat::Gray8, 320, 240, 10),
        // Another aspect ratio: with black borders.
        of_format(VideoFormat::I420, 640, 240, 25),
        narrow,
    ];
    let camera = take.video(&kinds[0], None);
    take.roll();
    for (n, info) in (0u64..).zip(&kinds) {
        if n > 0 {
            camera.caps(&info.to_caps().unwrap());
        }
        for frame in n * 10..n * 10 + 10 {
            camera.push(shot(info, frame * FRAME));
        }
    }
    camera.end();
    take.wrap();
    take.decodes_without_errors();
    let found = decode::video(&take.path, 0).unwrap();
    assert_eq!((found.width, found.height), (320, 240), "the first size");
    assert_eq!(found.frames.len(), 80);
    let within = luma(&take.path, "crop=320:120:0:60", (320, 120));
    let above = luma(&take.path, "crop=320:50:0:0", (320, 50));
    for (n, picture) in (0u64..).zip(&found.frames) {
        let time = n * FRAME;
        assert!(
            (picture.recorded - time as f64).abs() < 1e6,
            "{n}: {picture:?}"
        );
        if n / 10 == 6 {
            let wide = &within[n as usize];
            assert_eq!(frame::read(wide, 320, 120), Some(time), "picture {n}");
            assert!(above[n as usize].iter().all(|p| *p < 40), "border of {n}");
        } else {
            assert_eq!(picture.source, Some(time), "picture {n}");
        }
    }
}

#[test]
fn size_aspect_rate_format_and_colours_of_video_in_matroska() {
    picture_changes(PICTURES);
}

#[test]
fn size_aspect_rate_format_and_colours_of_h264_in_matroska() {
    picture_changes("video/x-matroska;codecs=avc1");
}

#[test]
fn size_aspect_rate_format_and_colours_of_video_in_webm() {
    picture_changes("video/webm;codecs=vp9");
}

#[test]
fn the_pixel_aspect_ratio() {
    let take = Take::new(PICTURES);
    let square = size(320, 240);
    let wide = VideoInfo::builder(VideoFormat::I420, 160, 240)
        .fps(gst::Fraction::new(25, 1))
        .par(gst::Fraction::new(2, 1))
        .build()
        .unwrap();
    let camera = take.video(&wide, None);
    take.roll();
    for frame in 0..20 {
        if frame == 10 {
            camera.caps(&square.to_caps().unwrap());
        }
        let info = if frame < 10 { &wide } else { &square };
        camera.push(shot(info, frame * FRAME));
    }
    camera.end();
    take.wrap();
    let found = decode::video(&take.path, 0).unwrap();
    assert_eq!((found.width, found.height), (320, 240));
    for (n, picture) in (0u64..).zip(&found.frames) {
        assert_eq!(picture.source, Some(n * FRAME), "picture {n}");
    }
}

/// A phone is held upright, or rotated while recording: the video is upright in the file, in the initial size.
#[test]
fn the_orientation_of_video() {
    // Per row: the orientation tag, and how ffmpeg undoes it.
    let level = [
        ("rotate-0", "null", (320, 240)),
        (
            "rotate-90",
            "crop=180:240:70:0,transpose=cclock",
            (240, 180),
        ),
        ("flip-rotate-0", "hflip", (320, 240)),
        ("rotate-0", "null", (320, 240)),
    ];
    let upright = [
        ("rotate-270", "transpose=clock", (320, 240)),
        ("rotate-0", "crop=240:180:0:70", (240, 180)),
        ("flip-rotate-270", "transpose=clock,hflip", (320, 240)),
        ("rotate-180", "crop=240:180:0:70,hflip,vflip", (240, 180)),
    ];
    // The last one, without rotation, is a new stream, without the tag.
    for (turns, size) in [(level, (320, 240)), (upright, (240, 320))] {
        let take = Take::new(PICTURES);
        let info = inputs::size(320, 240);
        let camera = take.video(&info, None);
        let turned = |to: &str| {
            let mut tags = gst::TagList::new();
            let value = tags.make_mut();
            value.add::<gst::tags::ImageOrientation>(&to, gst::TagMergeMode::Replace);
            camera.event(gst::event::Tag::new(tags));
        };
        take.app.set_state(gst::State::Playing);
        turned(turns[0].0);
        take.app.act("start");
        for n in 0..40 {
            let turn = turns[n as usize / 10].0;
            if n == 30 && turn == "rotate-0" {
                camera.event(gst::event::StreamStart::new("another"));
                camera.caps(&info.to_caps().unwrap());
                camera.segment(&gst::FormattedSegment::new());
            } else if n > 0 && n % 10 == 0 {
                turned(turn);
            }
            camera.push(shot(&info, n * FRAME));
        }
        camera.end();
        take.wrap();
        let found = decode::video(&take.path, 0).unwrap();
        assert_eq!((found.width, found.height), size);
        assert_eq!(found.frames.len(), 40);
        for (part, (turn, undo, (width, height))) in turns.iter().enumerate() {
            let undone = luma(&take.path, undo, (*width, *height));
            for (n, shown) in undone.iter().enumerate().skip(part * 10).take(10) {
                let read = frame::read(shown, *width, *height);
                assert_eq!(read, Some(n as u64 * FRAME), "picture {n}, {turn}");
            }
        }
    }
}
