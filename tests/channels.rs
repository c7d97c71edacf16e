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
    assert_eq!(decoded.channels, channels, "{mime}");
    let channel = |channel: usize| {
        let samples = decoded.samples.iter().skip(channel).step_by(channels);
        samples.map(|s| f64::from(*s) / 2f64.powi(31)).collect()
    };
    (0..channels).map(channel).collect()
}

/// Places that GStreamer, WAV and ffmpeg have in the same order.
const LAYOUTS: [(usize, u64); 5] = [(2, 0x3), (4, 0x33), (6, 0x3f), (8, 0xc3f), (5, 0x37)];

#[test]
fn every_channel_of_wav_and_flac_has_its_own() {
    for mime in [WAV, "audio/x-matroska;codecs=flac"] {
        for (channels, mask) in LAYOUTS.into_iter().chain([(4, 0)]) {
            // FLAC knows no channels without places; of eight, flacenc makes an order of its own that
            // nobody but flacdec knows.
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
