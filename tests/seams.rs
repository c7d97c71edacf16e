//! Concatenated parts compared with the source: lossless audio is equal to the sample, and lossy audio has no more error
//! at a seam than elsewhere. At the start of a part, Opus and Vorbis may have the error of the start of a recording.

mod common;

use common::harness::{Recorder, Rig, make_recorder};
use common::judge::decode;
use common::settings::{Rng, long, skipped};
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

/// Mono audio of this length in samples.
fn source(signal: Signal, length: u64) -> Vec<i16> {
    let mut chance = Rng::new(7);
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

/// Records `samples` in parts of `part` nanoseconds (0: in one).
fn record(mime_type: &str, extension: &str, samples: &[i16], part: u64) -> Vec<Part> {
    let rig = Rig::new();
    rig.recorder.set_property("mime-type", mime_type);
    let pattern = rig.path(&format!("%d.{extension}"));
    rig.recorder.set_property("location", &pattern);
    rig.recorder.set_property("max-size-time", part);
    let log = Arc::<Mutex<Vec<(String, u64, u64)>>>::default();
    let parts = log.clone();
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
    feed.wait_taken();
    rig.recorder.stop().unwrap();
    rig.wait_recording(1);
    rig.assert_quiet_bus();
    let on_grid = |time: u64| (time * RATE + SECOND / 2) / SECOND;
    let parts = std::mem::take(&mut *log.lock().unwrap());
    parts
        .into_iter()
        .map(|(path, timecode, duration)| Part {
            begin: on_grid(timecode) as usize,
            end: on_grid(timecode + duration) as usize,
            audio: decode::audio(Path::new(&path), 0, Some(48_000)).unwrap(),
        })
        .collect()
}

/// A part: its range of samples in the recording, and its decoded audio.
struct Part {
    begin: usize,
    end: usize,
    audio: decode::DecodedAudio,
}

impl Part {
    /// The decoded samples of the part, without the `early` ones that precede it. At most `may_lack` may be missing.
    fn samples(&self, early: usize, may_lack: usize) -> Vec<i16> {
        let frames = self.audio.samples.chunks_exact(self.audio.channels);
        let mut samples: Vec<i16> = frames
            .skip(early)
            .map(|frame| (frame[0] >> 16) as i16)
            .collect();
        let length = self.end - self.begin;
        assert!(
            samples.len() + may_lack >= length,
            "{} of {length} samples",
            samples.len()
        );
        samples.resize(length, 0);
        samples
    }

    /// Decoded samples that precede the part, by timestamps, which Matroska rounds to milliseconds.
    fn early(&self) -> usize {
        let early = -self.audio.time_of(0) * RATE as f64 / 1e9;
        early.round().max(0.0) as usize
    }

    /// The same to the sample: where the decoded audio matches the source best.
    fn early_to_the_sample(&self, source: &[i16]) -> usize {
        let by_stamps = self.early();
        let window = 4 * WINDOW..8 * WINDOW;
        let off = |early: &usize| {
            let samples = self.samples(*early, 2 * WINDOW);
            error(
                &source[self.begin..][window.clone()],
                &samples[window.clone()],
            )
        };
        let millisecond = (RATE / 1000) as usize;
        let near = by_stamps.saturating_sub(millisecond)..=by_stamps + millisecond;
        if by_stamps == 0 {
            return 0;
        }
        near.min_by(|a, b| off(a).total_cmp(&off(b))).unwrap()
    }
}

/// Error relative to the source, in dB.
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
        let decoded: Vec<_> = parts.iter().map(|part| part.samples(0, 0)).collect();
        assert!(
            decoded.concat() == samples,
            "{mime_type} differs from its source"
        );
    }
}

/// Errors in dB around seams, each averaged over all seams.
#[derive(Debug)]
struct AtSeams {
    last_5_ms: f64,
    last_20_ms: f64,
    first_5_ms: f64,
    first_20_ms: f64,
}

impl AtSeams {
    fn measure(source: &[i16], decoded: &[i16], seams: &[usize]) -> Self {
        let mean = |from: i64, to: i64| {
            let errors = seams.iter().map(|seam| {
                let at = |offset: i64| (*seam as i64 + offset) as usize;
                error(&source[at(from)..at(to)], &decoded[at(from)..at(to)])
            });
            errors.sum::<f64>() / seams.len() as f64
        };
        let (short, long) = (WINDOW as i64 / 4, WINDOW as i64);
        AtSeams {
            last_5_ms: mean(-short, 0),
            last_20_ms: mean(-long, 0),
            first_5_ms: mean(0, short),
            first_20_ms: mean(0, long),
        }
    }
}

/// Mean and maximum error of the windows that are not near a seam.
fn elsewhere(source: &[i16], decoded: &[i16], seams: &[usize]) -> (f64, f64) {
    let last = source.len() - 5 * WINDOW;
    let windows = source.chunks(WINDOW).zip(decoded.chunks(WINDOW));
    let errors: Vec<f64> = (0..)
        .zip(windows)
        .filter(|(n, _)| {
            let middle = n * WINDOW + WINDOW / 2;
            let is_far = |seam: &usize| seam.abs_diff(middle) > 5 * WINDOW;
            middle > 5 * WINDOW && middle < last && seams.iter().all(is_far)
        })
        .map(|(_, (a, b))| error(a, b))
        .collect();
    let worst = errors.iter().copied().max_by(f64::total_cmp).unwrap();
    (errors.iter().sum::<f64>() / errors.len() as f64, worst)
}

/// The mean error in the first 5 and 20 ms of recordings that start where these parts do.
fn beginnings(kind: (&str, &str), source: &[i16], seams: &[usize]) -> (f64, f64) {
    let errors = seams.iter().map(|seam| {
        let samples = &source[*seam..][..10 * WINDOW];
        let whole = &record(kind.0, kind.1, samples, 0)[0];
        let decoded = whole.samples(whole.early(), WINDOW);
        let of = |length: usize| error(&samples[..length], &decoded[..length]);
        (of(WINDOW / 4), of(WINDOW))
    });
    let (short, long): (Vec<f64>, Vec<f64>) = errors.unzip();
    let mean = |of: Vec<f64>| of.iter().sum::<f64>() / of.len() as f64;
    (mean(short), mean(long))
}

/// A lossy codec in a container.
struct Lossy {
    mime_type: &'static str,
    extension: &'static str,
    /// Its first packet has to stand alone, whatever the encoder got before it.
    begins_anew: bool,
}

const fn lossy(mime_type: &'static str, extension: &'static str, begins_anew: bool) -> Lossy {
    Lossy {
        mime_type,
        extension,
        begins_anew,
    }
}

const AAC: [Lossy; 2] = [
    lossy("audio/mp4;codecs=mp4a.40.2", "m4a", false),
    lossy("audio/x-matroska;codecs=mp4a.40.2", "mka", false),
];

const OTHERS: [Lossy; 9] = [
    lossy("audio/webm;codecs=opus", "webm", true),
    lossy("audio/ogg;codecs=opus", "ogg", true),
    lossy("audio/x-matroska;codecs=opus", "mka", true),
    lossy("audio/mp4;codecs=opus", "m4a", true),
    lossy("audio/ogg;codecs=vorbis", "ogg", true),
    lossy("audio/webm;codecs=vorbis", "webm", true),
    lossy("audio/mpeg", "mp3", false),
    lossy("audio/mp4;codecs=mp3", "m4a", false),
    lossy("audio/x-matroska;codecs=mp3", "mka", false),
];

/// Asserts that the error at seams is no more than elsewhere.
fn assert_seams(
    Lossy {
        mime_type,
        extension,
        begins_anew,
    }: &Lossy,
    signal: Signal,
) {
    let samples = source(signal, RATE * parts_of(4));
    let parts = record(mime_type, extension, &samples, 700_011_000);
    let early = parts[0].early_to_the_sample(&samples);
    let last = parts.len() - 1;
    let lacks = |n: usize| if n == last { WINDOW } else { 0 };
    let decoded = (0..).zip(&parts);
    let decoded = decoded.map(|(n, part)| part.samples(early, lacks(n)));
    let decoded = decoded.collect::<Vec<_>>().concat();
    let seams: Vec<usize> = parts[1..].iter().map(|part| part.begin).collect();
    assert!(seams.len() >= 5, "{mime_type}: {} seams", seams.len());
    let at = AtSeams::measure(&samples, &decoded, &seams);
    let (mean, worst) = elsewhere(&samples, &decoded, &seams);
    println!("{mime_type} {signal:?}: {mean:.1} dB elsewhere, at most {worst:.1}; {at:.1?}");
    assert!(
        mean < -5.0,
        "{mime_type} {signal:?} is out of place: {mean} dB"
    );
    let first = if *begins_anew && signal == Signal::Tone {
        // A few are enough: they are compared with recordings of the same samples.
        let few = &seams[..3];
        let begun = beginnings((mime_type, extension), &samples, few);
        let at = AtSeams::measure(&samples, &decoded, few);
        println!("{mime_type}: {begun:.1?} dB where a recording begins; {at:.1?}");
        assert!(
            at.first_5_ms <= begun.0 + 1.0 && at.first_20_ms <= begun.1 + 1.0,
            "{mime_type}: {at:?}, where a recording begins {begun:?}"
        );
        f64::MAX
    } else {
        mean
    };
    assert!(
        at.last_5_ms <= mean + 1.0
            && at.last_20_ms <= mean + 1.0
            && at.first_5_ms <= first + 1.0
            && at.first_20_ms <= first + 1.0,
        "{mime_type} {signal:?}: {at:?}, {mean} elsewhere"
    );
}

fn assert_all_seams(all: &[Lossy]) {
    for kind in all {
        if !make_recorder().supports(kind.mime_type) {
            skipped(&format!("seams in {}: not installed", kind.mime_type));
            continue;
        }
        for signal in [Signal::Noise, Signal::Tone] {
            assert_seams(kind, signal);
        }
    }
}

#[test]
fn lossy_audio_has_no_more_error_at_a_seam() {
    assert_all_seams(&OTHERS);
}

/// With every AAC encoder that the recorder may use: each is tried where those before it are not installed.
#[test]
fn aac_has_no_more_error_at_a_seam() {
    assert_all_seams(&AAC);
    for encoder in ["voaacenc", "fdkaacenc"] {
        if let Some(encoder) = gst::ElementFactory::find(encoder) {
            encoder.set_rank(gst::Rank::NONE);
        }
    }
    println!("without the first encoders:");
    assert_all_seams(&AAC);
}

/// The part prepared after the last one never begins, and that is no failure.
#[test]
fn a_recording_that_ends_exactly_with_a_part() {
    for round in 0..40 {
        let samples = vec![0; (RATE * 3 / 10) as usize];
        let part = 100_000_000 + round % 3;
        let parts = record("audio/wav", "wav", &samples, part);
        let last = parts.last().unwrap();
        assert_eq!(last.end, samples.len(), "round {round}");
    }
}
