//! Each channel of the input is in the right channel of the recording.

mod common;
mod inputs;

use common::judge::decode;
use gst::prelude::*;
use inputs::*;

const LENGTH: u64 = SECOND;
const RATE: u64 = 48_000;

/// Records `sample` of each channel, and returns what each is decoded to, from -1 to 1.
fn recorded(
    mime: &str,
    channels: usize,
    mask: u64,
    sample: impl Fn(usize, u64) -> f64,
) -> Vec<Vec<f64>> {
    recorded_as(mime, (channels, channels), mask, sample)
}

/// The same, for a recording with another number of channels.
fn recorded_as(
    mime: &str,
    (channels, stored): (usize, usize),
    mask: u64,
    sample: impl Fn(usize, u64) -> f64,
) -> Vec<Vec<f64>> {
    let take = Take::new(mime);
    let caps: gst::Caps = format!(
        "audio/x-raw,format=S16LE,rate={RATE},layout=interleaved,channels={channels},\
         channel-mask=(bitmask)0x{mask:x}"
    )
    .parse()
    .unwrap();
    let source = Source::new(&take.app.pad("audio_%u"), &caps, None);
    take.roll();
    source.introduce();
    for n in 0..LENGTH / (20 * MILLI) {
        let samples = n * 960..(n + 1) * 960;
        let values = samples.flat_map(|at| (0..channels).map(move |channel| (channel, at)));
        let bytes: Vec<u8> = values
            .flat_map(|(channel, at)| ((sample(channel, at) * 32_767.0) as i16).to_le_bytes())
            .collect();
        let buffer = gst::Buffer::from_mut_slice(bytes);
        source.push(stamped(buffer, Some(n * 20 * MILLI), Some(20 * MILLI)));
    }
    source.end();
    take.wrap();
    take.decodes_without_errors();
    let decoded = decode::audio(&take.path, 0, None).unwrap();
    assert_eq!(decoded.channels, stored, "{mime}");
    let channel = |channel: usize| {
        let samples = decoded.samples.iter().skip(channel).step_by(stored);
        samples.map(|s| f64::from(*s) / 2f64.powi(31)).collect()
    };
    (0..stored).map(channel).collect()
}

/// Channel positions that GStreamer, WAV and ffmpeg have in the same order.
const LAYOUTS: [(usize, u64); 5] = [(2, 0x3), (4, 0x33), (6, 0x3f), (8, 0xc3f), (5, 0x37)];

#[test]
fn every_channel_of_wav_and_flac_is_kept() {
    for mime in [WAV, "audio/x-matroska;codecs=flac"] {
        for (channels, mask) in LAYOUTS
            .into_iter()
            .chain([(7, 0xd0f), (4, 0), (6, 0), (8, 0)])
        {
            // For seven channels, the older flacenc only supports rear channels, not side channels only.
            if channels == 7 && mime != WAV {
                continue;
            }
            let level = |channel: usize| (channel + 1) as f64 / 20.0;
            let decoded = recorded(mime, channels, mask, |channel, _| level(channel));
            for (channel, samples) in decoded.iter().enumerate() {
                assert_eq!(samples.len() as u64, LENGTH * 48 / MILLI);
                let off = samples.iter().find(|s| (**s - level(channel)).abs() > 1e-3);
                assert_eq!(
                    off, None,
                    "channel {channel} of {channels} ({mask:x}) in {mime}"
                );
            }
        }
    }
}

/// The loudest tone in each channel, in hundreds of hertz.
fn tones(decoded: &[Vec<f64>]) -> Vec<usize> {
    let strength = |samples: &[f64], tone: usize| {
        let turn = |at: usize| std::f64::consts::TAU * (tone * 100 * at) as f64 / RATE as f64;
        let (mut x, mut y) = (0.0, 0.0);
        for (at, sample) in samples.iter().enumerate() {
            x += sample * turn(at).cos();
            y += sample * turn(at).sin();
        }
        x.hypot(y)
    };
    let loudest = |samples: &Vec<f64>| {
        let middle = &samples[samples.len() / 4..samples.len() / 2];
        (1..=20)
            .max_by(|a, b| strength(middle, *a).total_cmp(&strength(middle, *b)))
            .unwrap()
    };
    decoded.iter().map(loudest).collect()
}

/// Left, right, centre, LFE, rear, sides: tones in hundreds of hertz, by the positions of a channel mask.
const TONES: [(u64, usize); 9] = [
    (0x1, 3),
    (0x2, 5),
    (0x4, 7),
    (0x8, 1),
    (0x10, 9),
    (0x20, 11),
    (0x100, 13),
    (0x400, 15),
    (0x800, 17),
];

/// The tones of a channel mask's channels, in the order of GStreamer and ffmpeg.
fn tones_of(mask: u64) -> Vec<usize> {
    let there = TONES.into_iter().filter(|(place, _)| mask & place != 0);
    there.map(|(_, tone)| tone).collect()
}

/// The tone decoded from each channel, when each input channel had its own.
fn events(mime: &str, mask: u64, given: &[usize], stored: usize) -> Vec<usize> {
    let decoded = recorded_as(mime, (given.len(), stored), mask, |channel, at| {
        let turn = std::f64::consts::TAU * (given[channel] * 100 * at as usize) as f64;
        (turn / RATE as f64).sin() / 8.0
    });
    tones(&decoded)
}

#[test]
fn every_channel_of_a_lossy_codec_is_in_its_position() {
    for mime in [
        "audio/x-matroska;codecs=opus",
        "audio/webm;codecs=vorbis",
        "audio/ogg;codecs=opus",
    ] {
        for mask in [0x7, 0x33, 0x37, 0x3f, 0xd0f, 0xc3f] {
            let given = tones_of(mask);
            assert_eq!(
                events(mime, mask, &given, given.len()),
                given,
                "{mask:x} in {mime}"
            );
        }
    }
    // The installed AAC encoder does not support more.
    let mime = "audio/x-matroska;codecs=mp4a.40.2";
    for mask in [0x7, 0x37, 0x3f] {
        let given = tones_of(mask);
        assert_eq!(
            events(mime, mask, &given, given.len()),
            given,
            "{mask:x} in {mime}"
        );
    }
}

/// Audio interfaces with many inputs have unpositioned channels.
#[test]
fn unpositioned_channels_are_kept() {
    for mime in [
        "audio/webm;codecs=opus",
        "audio/webm;codecs=vorbis",
        "audio/x-matroska;codecs=flac",
        "audio/x-matroska;codecs=mp4a.40.2",
    ] {
        for (channels, mask) in [(2, 0x3), (5, 0x37), (6, 0x3f)] {
            let given = tones_of(mask);
            assert_eq!(
                events(mime, 0, &given, channels),
                given,
                "{channels} in {mime}"
            );
        }
    }
}

/// Channels that a codec does not support are mixed down, and none is lost.
#[test]
fn more_channels_than_a_codec_supports_are_mixed_down() {
    let given: Vec<usize> = (1..=12).collect();
    for mime in ["audio/webm;codecs=opus", "audio/x-matroska;codecs=mp3"] {
        let decoded = recorded_as(mime, (12, 2), 0, |channel, at| {
            let turn = std::f64::consts::TAU * (given[channel] * 100 * at as usize) as f64;
            if channel == 10 {
                (turn / RATE as f64).sin() / 2.0
            } else {
                0.0
            }
        });
        assert_eq!(tones(&decoded), [11, 11], "{mime}");
    }
}

/// The metadata of planar audio names the positions, too.
#[test]
fn unpositioned_planar_channels_are_kept() {
    for mime in ["audio/webm;codecs=opus", "audio/x-matroska;codecs=flac"] {
        let take = Take::new(mime);
        let source = take.app.source(
            "audiotestsrc freq=300 num-buffers=50 ! audio/x-raw,format=F32LE,rate=48000,channels=2,\
             layout=non-interleaved,channel-mask=(bitmask)0",
        );
        source.link(&take.app.pad("audio_%u")).unwrap();
        take.app.recorder.set_property("autostart", true);
        take.app.set_state(gst::State::Playing);
        take.wrap();
        take.decodes_without_errors();
        let decoded = decode::audio(&take.path, 0, None).unwrap();
        assert_eq!(decoded.channels, 2, "{mime}");
        for channel in 0..2 {
            let samples = decoded.samples.iter().skip(channel).step_by(2);
            let samples: Vec<_> = samples.copied().collect();
            let middle = &samples[samples.len() / 4..samples.len() / 2];
            let rises = middle.windows(2).filter(|two| two[0] < 0 && two[1] >= 0);
            let found = rises.count() as f64 * 48_000.0 / middle.len() as f64;
            assert!((found - 300.0).abs() < 10.0, "{mime}: {found} Hz");
        }
    }
}

/// GStreamer's converter crashes with more than 63.
#[test]
fn more_channels_than_gstreamer_converts_are_refused() {
    let recorder = common::harness::make_recorder();
    let pad = recorder.request_pad_simple("audio_%u").unwrap();
    for (channels, accepted) in [(63, true), (64, false), (128, false)] {
        let caps = format!(
            "audio/x-raw,format=S16LE,rate=48000,layout=interleaved,channels={channels},\
             channel-mask=(bitmask)0"
        );
        let caps = caps.parse::<gst::Caps>().unwrap();
        assert_eq!(pad.query_accept_caps(&caps), accepted, "{channels}");
    }
}
