//! Reverse playback: recorded in the order in which it is played.

mod common;
mod inputs;

use common::harness::{assert_error, code};
use common::judge::decode;
use common::signal::counted;
use gst::prelude::*;
use inputs::*;

/// Two seconds, from the end to the start.
fn backwards(rate: f64) -> gst::FormattedSegment<gst::ClockTime> {
    let mut segment = gst::FormattedSegment::new();
    segment.set_rate(-rate);
    segment.set_start(gst::ClockTime::ZERO);
    segment.set_stop(gst::ClockTime::from_seconds(2));
    segment.set_position(gst::ClockTime::from_seconds(2));
    segment
}

/// The output of a player's decoders: the last buffer first, each with its content in forward order.
fn play(take: &Take, rate: f64, layout: gst_audio::AudioLayout) {
    let info = stereo(48_000);
    let planar = layout == gst_audio::AudioLayout::NonInterleaved;
    let reported = if planar {
        gst_audio::AudioInfo::builder(info.format(), 48_000, 2)
            .layout(layout)
            .build()
            .unwrap()
    } else {
        info
    };
    let audio = take.audio(&reported, None);
    let video = take.video(&small(), None);
    for source in [&audio, &video] {
        source.segment(&backwards(rate));
    }
    take.roll();
    for source in [&audio, &video] {
        source.introduce();
    }
    for n in (0..50).rev() {
        video.push(shot(&small(), n * FRAME));
        for part in (n * 4..n * 4 + 4).rev() {
            audio.push(if planar {
                in_planes(tick(part))
            } else {
                tick(part)
            });
        }
    }
    audio.end();
    video.end();
    take.wrap();
}

/// 480 samples of two channels, one channel after the other.
fn in_planes(buffer: gst::Buffer) -> gst::Buffer {
    let map = buffer.map_readable().unwrap();
    let channel = |from: usize| {
        map.chunks_exact(4)
            .flat_map(move |f| [f[from], f[from + 1]])
    };
    let bytes: Vec<u8> = channel(0).chain(channel(2)).collect();
    let mut planes = gst::Buffer::from_mut_slice(bytes);
    let fields = planes.get_mut().unwrap();
    fields.set_pts(buffer.pts());
    fields.set_duration(buffer.duration());
    let info = gst_audio::AudioInfo::builder(gst_audio::AudioFormat::S16le, 48_000, 2)
        .layout(gst_audio::AudioLayout::NonInterleaved)
        .build()
        .unwrap();
    gst_audio::AudioMeta::add(fields, &info, 480, &[]).unwrap();
    planes
}

fn assert_backwards(take: &Take) {
    take.decodes_without_errors();
    let audio = decode::audio(&take.path, 0, None).unwrap();
    assert_eq!(audio.len(), 96_000);
    for (n, frame) in audio.samples.chunks_exact(2).enumerate() {
        let expected = counted::Reading::Index(95_999 - n as u64);
        assert_eq!(counted::read(frame), expected, "sample {n}");
    }
    let seen = take.seen();
    let expected: Vec<_> = (0..50).map(|n| (n * 40, Some((49 - n) * 40))).collect();
    assert_eq!(seen, expected);
    assert!((take.length() - 2.0).abs() < 2e-3, "{}", take.length());
}

#[test]
fn audio_and_video_are_recorded_in_playback_order() {
    let take = Take::new(BOTH);
    play(&take, 1.0, gst_audio::AudioLayout::Interleaved);
    assert_backwards(&take);
}

#[test]
fn non_interleaved_audio_too() {
    let take = Take::new(BOTH);
    play(&take, 1.0, gst_audio::AudioLayout::NonInterleaved);
    assert_backwards(&take);
}

#[test]
fn twice_as_fast_takes_half_the_time() {
    let take = Take::new(BOTH);
    play(&take, 2.0, gst_audio::AudioLayout::Interleaved);
    take.decodes_without_errors();
    let expected: Vec<_> = (0..50).map(|n| (n * 20, Some((49 - n) * 40))).collect();
    assert_eq!(take.seen(), expected);
    assert!((take.length() - 1.0).abs() < 2e-3, "{}", take.length());
}

/// Encoded media cannot be stored in reverse order: there is an error, and everything before it is kept.
#[test]
fn encoded_media_backwards_is_not_supported() {
    let take = Take::new("video/webm");
    let line = "videotestsrc num-buffers=50 ! video/x-raw,width=160,height=120,framerate=25/1 ! \
                vp8enc deadline=1 ! appsink name=out sync=false";
    let pipeline = gst::parse::launch(line).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let sink = pipeline.by_name("out").unwrap();
    let sink = sink.downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let samples: Vec<_> = std::iter::from_fn(|| sink.pull_sample().ok()).collect();
    pipeline.set_state(gst::State::Null).unwrap();
    let caps = samples[0].caps_owned().unwrap();
    let source = Source::new(&take.app.pad("video_%u"), &caps, None);
    take.roll();
    source.introduce();
    for sample in &samples {
        source.push(sample.buffer_owned().unwrap());
    }
    source.segment(&backwards(1.0));
    for sample in &samples {
        source.push(sample.buffer_owned().unwrap());
    }
    take.app.wait_for("stop", 1);
    take.app.set_state(gst::State::Null);
    let heard = take.app.events();
    let error = heard.iter().find(|event| event.name == "error");
    let error: glib::Error = error.expect("an error").fields.get("error").unwrap();
    assert_error(&error, code::NOT_SUPPORTED);
    assert!(error.message().contains("negative rate"), "{error}");
    take.decodes_without_errors();
    assert_eq!(decode::video(&take.path, 0).unwrap().frames.len(), 50);
}
