//! What is in a channel stays in that channel.

mod common;
mod inputs;

use common::judge::decode;
use inputs::*;

const LENGTH: u64 = SECOND;
const RATE: u64 = 48_000;

/// Records what `sample` says of each channel, and gives what each is decoded to, from -1 to 1.
fn recorded(
    mime: &str,
    channels: usize,
    mask: u64,
    sample: impl Fn(usize, u64) -> f64,
) -> Vec<Vec<f64>> {
    recorded_as(mime, (channels, channels), mask, sample)
}

/// The same, for a recording that has another number of channels.
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
    let source = Source::new(&take.outer.pad("audio_%u"), &caps, None);
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
    take.decodes_quietly();
    let decoded = decode::sound(&take.path, 0, None).unwrap();
    assert_eq!(decoded.channels, stored, "{mime}");
    let channel = |channel: usize| {
        let samples = decoded.samples.iter().skip(channel).step_by(stored);
        samples.map(|s| f64::from(*s) / 2f64.powi(31)).collect()
    };
    (0..stored).map(channel).collect()
}

/// Places that GStreamer, WAV and ffmpeg have in the same order.
const LAYOUTS: [(usize, u64); 5] = [(2, 0x3), (4, 0x33), (6, 0x3f), (8, 0xc3f), (5, 0x37)];

#[test]
fn every_channel_of_wav_and_flac_has_its_own() {
    for mime in [WAV, "audio/x-matroska;codecs=flac"] {
        for (channels, mask) in LAYOUTS.into_iter().chain([(4, 0)]) {
            // FLAC knows no channels without places; eight are made six, since flacenc has an order of
            // its own for them that nobody but flacdec knows.
            if (mask == 0 || channels == 8) && mime != WAV {
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

/// What is loudest in each channel: a tone of so many hundreds of hertz.
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

/// opusenc puts the channels of 5.0 and 7.1 into each other's places: they go as 5.1.
#[test]
fn channels_of_opus_are_where_they_were() {
    let mime = "audio/x-matroska;codecs=opus";
    // Left, right, centre, (low,) rear left, rear right: the low one is heard below 120 Hz only.
    for (mask, given, due) in [
        (0x37, &[3, 5, 7, 9, 11][..], [3, 5, 7, 0, 9, 11]),
        (0x3f, &[3, 5, 7, 1, 9, 11], [3, 5, 7, 1, 9, 11]),
        (0xc3f, &[3, 5, 7, 1, 9, 11, 9, 11], [3, 5, 7, 1, 9, 11]),
    ] {
        let decoded = recorded_as(mime, (given.len(), 6), mask, |channel, at| {
            let turn = std::f64::consts::TAU * (given[channel] * 100 * at as usize) as f64;
            (turn / RATE as f64).sin() / 4.0
        });
        for (channel, (tone, due)) in tones(&decoded).into_iter().zip(due).enumerate() {
            // Nothing of its own is in a low channel that there was not.
            assert!(
                tone == due || due == 0,
                "channel {channel} of {mask:x}: {tone}"
            );
        }
    }
}
