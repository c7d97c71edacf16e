//! Parts one after the other against the source: lossless audio to the sample, noise with no more error at a seam than the
//! codec makes elsewhere, tones with too little of it to be heard.

mod common;

use common::chance::{Chance, long, skipped};
use common::harness::{Recorder, Rig, make_recorder};
use common::judge::decode;
use gst::prelude::*;
use std::path::Path;
use std::sync::{Arc, Mutex};

const RATE: u64 = 48_000;
const SECOND: u64 = 1_000_000_000;
/// Samples in a window in which the error is measured: 20 ms.
const WINDOW: usize = 960;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Signal {
    Noise,
    Tone,
}

/// Mono sound of so many samples.
fn source(signal: Signal, length: u64) -> Vec<i16> {
    let mut chance = Chance::new(7);
    let tone = |n: u64| {
        let phase = n as f64 * 997.0 * std::f64::consts::TAU / RATE as f64;
        (phase.sin() * 8000.0) as i16
    };
    (0..length)
        .map(|n| match signal {
            Signal::Noise => chance.below(16_000) as i16 - 8_000,
            Signal::Tone => tone(n),
        })
        .collect()
}

/// Records `samples` in parts of `part` nanoseconds; what each part has when it is decoded, in order.
fn record(mime_type: &str, extension: &str, samples: &[i16], part: u64) -> Vec<Vec<i16>> {
    let rig = Rig::new();
    rig.recorder.set_property("mime-type", mime_type);
    let pattern = rig.path(&format!("%d.{extension}"));
    rig.recorder.set_property("location", &pattern);
    rig.recorder.set_property("max-size-time", part);
    let told = Arc::<Mutex<Vec<(String, u64, u64)>>>::default();
    let parts = told.clone();
    rig.recorder.connect("on-part", false, move |values| {
        let fields = values[1].get::<gst::Structure>().unwrap();
        let time = |name| fields.get::<u64>(name).unwrap();
        let location = fields.get::<String>("location").unwrap();
        let part = (location, time("timecode"), time("duration"));
        parts.lock().unwrap().push(part);
        None
    });
    rig.play();
    let feed = rig.feed_audio();
    rig.recorder.start().unwrap();
    feed.queue_media(gst::ClockTime::ZERO);
    for (n, chunk) in (0u64..).zip(samples.chunks(480)) {
        let bytes = chunk.iter().flat_map(|sample| sample.to_le_bytes());
        let mut buffer = gst::Buffer::from_mut_slice(bytes.collect::<Vec<_>>());
        let fields = buffer.get_mut().unwrap();
        fields.set_pts(gst::ClockTime::from_mseconds(10 * n));
        fields.set_duration(gst::ClockTime::from_mseconds(10));
        feed.push(buffer);
    }
    feed.settle();
    rig.recorder.stop().unwrap();
    rig.wait_recording(1);
    rig.assert_quiet_bus();
    let on_grid = |time: u64| (time * RATE + SECOND / 2) / SECOND;
    let parts = std::mem::take(&mut *told.lock().unwrap());
    parts
        .into_iter()
        .map(|(path, timecode, duration)| {
            let sound = decode::sound(Path::new(&path), 0, Some(48_000)).unwrap();
            let early = (-sound.time_of(0) * RATE as f64 / 1e9).round().max(0.0) as usize;
            let frames = sound.samples.chunks_exact(sound.channels).skip(early);
            let mut samples: Vec<i16> = frames.map(|frame| (frame[0] >> 16) as i16).collect();
            let length = on_grid(timecode + duration) - on_grid(timecode);
            let missing = length as i64 - samples.len() as i64;
            if missing > 1 {
                println!("{path}: {missing} samples are missing");
            }
            samples.resize(length as usize, 0);
            samples
        })
        .collect()
}

/// Error against the source in dB below it.
fn error(source: &[i16], decoded: &[i16]) -> f64 {
    let energy = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let signal = energy(&mut source.iter().map(|v| f64::from(*v)));
    let pairs = source.iter().zip(decoded);
    let noise = energy(&mut pairs.map(|(a, b)| f64::from(*a) - f64::from(*b)));
    10.0 * ((noise + 1.0) / (signal + 1.0)).log10()
}

fn parts_of(seconds: u64) -> u64 {
    if long() { seconds * 10 } else { seconds }
}

#[test]
fn lossless_audio_is_equal_to_the_sample() {
    let samples = source(Signal::Noise, RATE * parts_of(5));
    let all = [
        ("audio/wav", "wav"),
        ("audio/flac", "flac"),
        ("audio/x-matroska;codecs=flac", "mka"),
        ("audio/ogg;codecs=flac", "oga"),
    ];
    let count = if long() { all.len() } else { 2 };
    for (mime_type, extension) in all.into_iter().take(count) {
        if !make_recorder().supports(mime_type) {
            skipped(&format!("seams in {mime_type}: not installed"));
            continue;
        }
        let parts = record(mime_type, extension, &samples, 250_017_000);
        assert!(parts.len() >= 20, "{mime_type}: {} parts", parts.len());
        assert!(
            parts.concat() == samples,
            "{mime_type} is not what was recorded"
        );
    }
}

#[test]
fn lossy_audio_has_no_more_error_at_a_seam() {
    for (mime_type, extension) in [
        ("audio/mp4;codecs=mp4a.40.2", "m4a"), ("audio/webm;codecs=opus", "webm"),
        ("audio/ogg;codecs=vorbis", "ogg"),
        ("audio/mp4;codecs=mp4a.40.2", "m4a"),
        ("audio/mpeg", "mp3"),
    ] {
        if !make_recorder().supports(mime_type) {
            skipped(&format!("seams in {mime_type}: not installed"));
            continue;
        }
        for signal in [Signal::Noise, Signal::Tone] {
            let samples = source(signal, RATE * parts_of(4));
            let parts = record(mime_type, extension, &samples, 700_011_000);
            let decoded = parts.concat();
            let mut seams = Vec::new();
            let mut at = 0;
            for part in &parts[..parts.len() - 1] {
                at += part.len();
                seams.push(at);
            }
            let windows = samples.chunks(WINDOW).zip(decoded.chunks(WINDOW));
            let mut own: Vec<f64> = (0..)
                .zip(windows)
                .filter(|(n, _)| {
                    let middle = n * WINDOW + WINDOW / 2;
                    middle > 5 * WINDOW
                        && seams.iter().all(|seam| seam.abs_diff(middle) > 5 * WINDOW)
                })
                .map(|(_, (a, b))| error(a, b))
                .collect();
            own.sort_by(f64::total_cmp);
            let mean = |of: &dyn Fn(usize) -> (usize, usize)| {
                let errors = seams.iter().map(|seam| {
                    let (from, to) = of(*seam);
                    error(&samples[from..to], &decoded[from..to])
                });
                errors.sum::<f64>() / seams.len() as f64
            };
            let before = mean(&|seam| (seam - WINDOW, seam));
            let behind = mean(&|seam| (seam, seam + WINDOW));
            let elsewhere = own[own.len() / 2];
            println!(
                "{mime_type} {signal:?}: {:.1} dB elsewhere, {before:.1} in the last 20 ms, {behind:.1} in the first; {} seams",
                elsewhere,
                seams.len()
            );
            assert!(
                elsewhere < -5.0,
                "{mime_type} {signal:?} is out of place: {elsewhere} dB"
            );
            // A tone is what a codec is best at, and what a fresh encoder needs a little to learn: that stays below what
            // is to be heard.
            let most = match signal {
                Signal::Noise => elsewhere + 1.0,
                Signal::Tone => (elsewhere + 1.0).max(-32.0),
            };
            assert!(
                before <= most && behind <= most,
                "{mime_type} {signal:?}: {before} dB before a seam, {behind} behind it, {elsewhere} elsewhere"
            );
        }
    }
}
