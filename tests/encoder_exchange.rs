//! Encoders that fail or hang while recording: another one takes over in the same file. Every frame is visible
//! once, audio stays in sync, and there is one warning about it.

mod common;

use common::harness::media;
use common::judge::{decode, file, gstreamer, position, sync};
use common::settings::Rng;
use common::take::{Recipe, Take, take_with};
use gst::prelude::*;
use std::path::Path;
use std::process::Command;
use std::sync::{
    Arc, Condvar, Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

/// How an encoder fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It posts an error and refuses input.
    Error,
    /// It refuses input without an error.
    Silent,
    /// It accepts all input, but has no more output.
    Swallows,
    /// A call into it does not return.
    Blocks,
}

/// An encoder that fails at one of its buffers.
#[derive(Debug, Clone, Copy)]
struct Failure {
    kind: &'static str,
    /// Index of the track's encoder, from 0.
    encoder: usize,
    /// Its first buffer is number 0; EOS counts as one if there are fewer.
    buffer: u64,
    fault: Fault,
}

fn failure(kind: &'static str, buffer: u64, fault: Fault) -> Failure {
    Failure {
        kind,
        encoder: 0,
        buffer,
        fault,
    }
}

/// Releases hanging threads when dropped.
#[derive(Default)]
struct Stuck(Arc<(Mutex<bool>, Condvar)>);

impl Stuck {
    fn wait(at: &(Mutex<bool>, Condvar)) {
        let (free, freed) = at;
        let limit = Duration::from_secs(120);
        drop(freed.wait_timeout_while(free.lock().unwrap(), limit, |free| !*free));
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

/// The result of a recording whose encoders failed.
struct Outcome {
    take: Take,
    /// Recorded times of the media with which encoders failed.
    joints: Vec<u64>,
    /// Factories of the encoders of each track, in the order in which they were set up.
    tried: Vec<(String, String)>,
    _stuck: Stuck,
}

/// Makes a recording in which encoders fail.
fn record(recipe: &Recipe, failures: &[Failure]) -> Outcome {
    let stuck = Stuck::default();
    let joints = Arc::<Mutex<Vec<u64>>>::default();
    let tried = Arc::<Mutex<Vec<(String, String)>>>::default();
    let (failures, at) = (failures.to_vec(), stuck.0.clone());
    let (noted, seen) = (joints.clone(), tried.clone());
    let take = take_with(
        recipe,
        move |recorder| {
            recorder.connect("encoder-setup", false, move |values| {
                let pad = values[1].get::<gst::Pad>().unwrap().name().to_string();
                let encoder = values[2].get::<gst::Element>().unwrap();
                let mut seen = seen.lock().unwrap();
                let number = seen.iter().filter(|(of, _)| *of == pad).count();
                let factory = encoder.factory().unwrap().name().to_string();
                seen.push((pad.clone(), factory));
                let mut failures = failures.iter();
                if let Some(failure) =
                    failures.find(|f| pad.starts_with(f.kind) && f.encoder == number)
                {
                    break_down(&encoder, *failure, (at.clone(), noted.clone()));
                }
                None
            });
        },
        |_, _| (),
    );
    Outcome {
        take,
        joints: joints.lock().unwrap().clone(),
        tried: tried.lock().unwrap().clone(),
        _stuck: stuck,
    }
}

type Notes = (Arc<(Mutex<bool>, Condvar)>, Arc<Mutex<Vec<u64>>>);

fn break_down(encoder: &gst::Element, failure: Failure, (stuck, joints): Notes) {
    let (count, newest) = (AtomicU64::new(0), AtomicU64::new(0));
    let broken = AtomicBool::new(false);
    let encoder_of = encoder.downgrade();
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    let sink = encoder.static_pad("sink").unwrap();
    sink.add_probe(kinds, move |_, info| {
        let is_end = match &info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => {
                newest.store(buffer.pts().unwrap().nseconds(), Ordering::SeqCst);
                false
            }
            Some(gst::PadProbeData::Event(event)) if event.type_() == gst::EventType::Eos => true,
            _ => return gst::PadProbeReturn::Ok,
        };
        let number = count.fetch_add(1, Ordering::SeqCst);
        if number < failure.buffer && !is_end {
            return gst::PadProbeReturn::Ok;
        }
        if !broken.swap(true, Ordering::SeqCst) {
            joints.lock().unwrap().push(newest.load(Ordering::SeqCst));
            match failure.fault {
                Fault::Error => {
                    let encoder = encoder_of.upgrade().unwrap();
                    gst::element_error!(encoder, gst::StreamError::Encode, ["broken on purpose"]);
                }
                Fault::Blocks => Stuck::wait(&stuck),
                Fault::Silent | Fault::Swallows => {}
            }
        }
        drop(info.data.take());
        info.flow_res = match failure.fault {
            Fault::Swallows => Ok(gst::FlowSuccess::Ok),
            _ => Err(gst::FlowError::Error),
        };
        gst::PadProbeReturn::Handled
    });
}

impl Outcome {
    /// Factories of the encoders of a kind of track, in the order in which they were set up.
    fn of_kind(&self, kind: &str) -> Vec<&str> {
        let tried = self.tried.iter().filter(|(pad, _)| pad.starts_with(kind));
        tried.map(|(_, factory)| factory.as_str()).collect()
    }

    /// That everything has been recorded, according to FFmpeg and GStreamer, that there is a warning for each
    /// failure, and that `stats` has the last encoder.
    fn assert_whole(&self, recipe: &Recipe, failures: &[Failure]) {
        let what = format!("{} {failures:?}", recipe.mime_type);
        let take = &self.take;
        assert_eq!(self.joints.len(), failures.len(), "{what}");
        assert_eq!(
            take.warnings.len(),
            failures.len(),
            "{what}: {:?}",
            take.warnings
        );
        for warning in &take.warnings {
            assert!(warning.contains("is replaced by"), "{what}: {warning}");
        }
        for (pad, encoder) in &take.encoders {
            let kind = pad.split('_').next().unwrap();
            assert_eq!(self.of_kind(kind).last(), Some(&encoder.as_str()), "{what}");
        }
        file::decodes_without_errors(&take.path).unwrap_or_else(|err| panic!("{what}: {err}"));
        if recipe.mime_type.contains("flac") {
            let numbers = flac_frames(&take.path);
            let counted = (0..numbers.len() as u8).collect::<Vec<_>>();
            assert_eq!(numbers, counted, "{what}: FFmpeg 7 uses frame numbers");
        }
        if recipe.video {
            let (width, height) = (recipe.size.0 as usize, recipe.size.1 as usize);
            for (judge, frames) in [
                ("FFmpeg", decode::video(&take.path, 0)),
                ("GStreamer", gstreamer::video(&take.path, width, height)),
            ] {
                let frames = frames.unwrap_or_else(|err| panic!("{what}, {judge}: {err}"));
                let frames = sync::frame_times(&frames);
                let frames = frames.unwrap_or_else(|err| panic!("{what}, {judge}: {err}"));
                let shown = sync::check_frames(&frames, &take.kept, &take.sources, 1.1e6, 0);
                shown.unwrap_or_else(|err| panic!("{what}, {judge}: {err}"));
                let mut once: Vec<u64> = frames.iter().map(|(_, source)| *source as u64).collect();
                once.dedup();
                assert_eq!(
                    once.len(),
                    frames.len(),
                    "{what}, {judge}: a frame is visible twice"
                );
            }
        }
        if recipe.audio {
            // GStreamer 1.22 plays the encoder delay.
            let has_delay = ["mp4a", "mp3"]
                .iter()
                .any(|codec| recipe.mime_type.contains(codec));
            let off = if has_delay { 35e6 } else { 1.1e6 };
            // A bare stream cannot signal it.
            let of_ffmpeg = if recipe.mime_type.starts_with("audio/mpeg") {
                off
            } else {
                1.1e6
            };
            for (judge, audio, off) in [
                (
                    "FFmpeg",
                    decode::audio(&take.path, 0, Some(48_000)),
                    of_ffmpeg,
                ),
                ("GStreamer", gstreamer::audio(&take.path), off),
            ] {
                let audio = audio.unwrap_or_else(|err| panic!("{what}, {judge}: {err}"));
                let length = audio.len() as f64 / 48_000.0;
                let expected = take.kept.total() as f64 / 1e9;
                assert!(
                    (length - expected).abs() < 0.05,
                    "{what}, {judge}: {length} s, expected {expected}"
                );
                let mut places = position::find(&audio, 5e9).unwrap();
                // Windows that span the exchange are from two encoders.
                places.retain(|place| self.is_away_from_joints(place.recorded));
                let worst = position::check(&places, &take.kept, off);
                worst.unwrap_or_else(|err| panic!("{what}, {judge}: {err}"));
            }
        }
    }

    fn is_away_from_joints(&self, recorded: f64) -> bool {
        // Samples before the first one are encoder delay.
        let near = |joint: &u64| (recorded - *joint as f64).abs() < 0.16e9;
        recorded >= 0.1e9 && !self.joints.iter().any(near)
    }
}

/// The frame numbers in the headers of a short FLAC stream.
fn flac_frames(path: &Path) -> Vec<u8> {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args([
        "-v",
        "error",
        "-select_streams",
        "a",
        "-show_packets",
        "-show_data",
    ]);
    let (listed, _) = media::run(ffprobe.arg(path));
    let listed = String::from_utf8_lossy(&listed);
    // As in `00000000: fff8 5a88 0037`: two bytes of a sync code, two of format, and the number.
    let starts = listed
        .lines()
        .filter_map(|line| line.strip_prefix("00000000: "));
    let numbers = starts.filter_map(|line| line.get(10..12));
    numbers
        .map(|number| u8::from_str_radix(number, 16).unwrap())
        .collect()
}

fn check(recipe: &Recipe, failures: &[Failure]) -> Outcome {
    let outcome = record(recipe, failures);
    outcome.assert_whole(recipe, failures);
    outcome
}

/// Types, their kinds of track, and the maximum duration of a recording.
const TYPES: [(&str, &[&str]); 12] = [
    ("video/webm;codecs=vp8,opus", &["video", "audio"]),
    ("video/webm;codecs=vp9,vorbis", &["video"]),
    ("video/webm;codecs=av1,opus", &["video"]),
    ("video/x-matroska;codecs=avc1,flac", &["video", "audio"]),
    (
        "video/x-matroska;codecs=hvc1,mp4a.40.2",
        &["video", "audio"],
    ),
    ("video/mp4;codecs=avc1,mp4a.40.2", &["video", "audio"]),
    ("video/mp4;codecs=hvc1,opus", &["video", "audio"]),
    ("video/mp4;codecs=vp9,mp3", &["video", "audio"]),
    ("video/ogg;codecs=theora,opus", &["video", "audio"]),
    ("audio/ogg;codecs=flac", &["audio"]),
    ("audio/flac;codecs=flac", &["audio"]),
    ("audio/mpeg;codecs=mp3", &["audio"]),
];

fn recipe(mime_type: &str) -> Recipe {
    let (audio, video) = (
        mime_type.contains(',') || mime_type.starts_with("audio"),
        mime_type.starts_with("video"),
    );
    Recipe::new(mime_type, audio, video).with("video-bits-per-second", 1_000_000)
}

fn is_here(mime_type: &str) -> bool {
    let here = common::harness::Recorder::supports(&common::harness::make_recorder(), mime_type);
    if !here {
        println!("{mime_type}: not installed, not tested");
    }
    here
}

#[test]
fn an_encoder_that_fails_while_recording() {
    for (mime_type, kinds) in TYPES {
        for kind in kinds.iter().filter(|_| is_here(mime_type)) {
            let buffer = if *kind == "video" { 25 } else { 90 };
            check(&recipe(mime_type), &[failure(kind, buffer, Fault::Error)]);
        }
    }
}

/// It fails before any output, or after all of it.
#[test]
fn an_encoder_that_fails_at_its_start_or_end() {
    for mime_type in [
        "video/webm;codecs=vp8,opus",
        "video/mp4;codecs=avc1,mp4a.40.2",
    ] {
        for (kind, buffer) in [
            ("video", 0),
            ("audio", 0),
            ("video", u64::MAX),
            ("audio", u64::MAX),
        ] {
            if is_here(mime_type) {
                check(&recipe(mime_type), &[failure(kind, buffer, Fault::Error)]);
            }
        }
    }
}

#[test]
fn an_encoder_that_fails_without_an_error_or_hangs() {
    for (mime_type, kind) in [
        ("video/webm;codecs=vp8,opus", "video"),
        ("video/x-matroska;codecs=avc1,opus", "video"),
        ("audio/webm;codecs=opus", "audio"),
    ] {
        for fault in [Fault::Silent, Fault::Blocks] {
            if is_here(mime_type) {
                check(&recipe(mime_type), &[failure(kind, 20, fault)]);
            }
        }
    }
}

/// An encoder without output is detected once it has more input than any encoder holds, or at the end.
#[test]
fn an_encoder_without_output() {
    for buffer in [5, 50] {
        let recipe = recipe("video/webm;codecs=vp8").lasting(4 * SECOND);
        check(&recipe, &[failure("video", buffer, Fault::Swallows)]);
    }
}

#[test]
fn the_next_encoder_of_the_codec_takes_over_then_a_fresh_one_once() {
    let mime_type = "video/mp4;codecs=avc1,mp4a.40.2";
    if !is_here(mime_type) {
        return;
    }
    let second = Failure {
        encoder: 1,
        ..failure("video", 10, Fault::Error)
    };
    let failures = [failure("video", 15, Fault::Error), second];
    let outcome = check(&recipe(mime_type), &failures);
    let tried = outcome.of_kind("video");
    assert_eq!(tried.len(), 3);
    assert_ne!(tried[0], tried[1]);
    // There is no third kind here.
    assert_eq!(tried[1], tried[2]);
}

#[test]
fn audio_and_video_encoders_fail_at_the_same_time() {
    for mime_type in [
        "video/webm;codecs=vp8,vorbis",
        "video/x-matroska;codecs=avc1,opus",
    ] {
        let failures = [
            failure("video", 30, Fault::Error),
            failure("audio", 100, Fault::Error),
        ];
        if is_here(mime_type) {
            let mut recipe = recipe(mime_type);
            recipe.audio = !mime_type.contains("vorbis");
            let failures = if recipe.audio {
                &failures[..]
            } else {
                &failures[..1]
            };
            check(&recipe, failures);
        }
    }
}

/// Blobs of a timeslice, concatenated, are the file.
#[test]
fn blobs_continue_across_an_exchange() {
    for mime_type in [
        "video/webm;codecs=vp8,opus",
        "video/mp4;codecs=avc1,mp4a.40.2",
    ] {
        if !is_here(mime_type) {
            continue;
        }
        let recipe = recipe(mime_type).with("timeslice", 500);
        let outcome = check(&recipe, &[failure("video", 20, Fault::Error)]);
        let blobs: Vec<u8> = outcome
            .take
            .blobs
            .iter()
            .flat_map(|blob| blob.bytes.clone())
            .collect();
        assert!(outcome.take.blobs.len() >= 4);
        let path = outcome.take.path.with_extension("blobs");
        std::fs::write(&path, &blobs).unwrap();
        file::decodes_without_errors(&path).unwrap();
        let frames = decode::video(&path, 0).unwrap();
        let frames = sync::frame_times(&frames).unwrap();
        let take = &outcome.take;
        sync::check_frames(&frames, &take.kept, &take.sources, 1.1e6, 0).unwrap();
    }
}

/// Whether there is more than one encoder for this kind of track.
fn has_another(mime_type: &str, kind: &str) -> bool {
    let (_, codecs) = mime_type.split_once("codecs=").unwrap();
    let codec = match kind {
        "video" => codecs.split(',').next(),
        _ => codecs.split(',').next_back(),
    };
    let caps = match codec.unwrap() {
        "avc1" => "video/x-h264",
        "mp4a.40.2" => "audio/mpeg,mpegversion=4",
        _ => return false,
    };
    let factories = gst::ElementFactory::factories_with_type(
        gst::ElementFactoryType::ENCODER,
        gst::Rank::MARGINAL,
    );
    let caps = caps.parse::<gst::Caps>().unwrap();
    let makers = factories
        .iter()
        .filter(|factory| factory.can_src_any_caps(&caps));
    makers.count() > 1
}

/// Before the pause of a recording with a past, and after it.
const BEFORE: u64 = 65;
const AFTER: u64 = 80;

/// The encoder of the past feeds a recording that started with it.
fn check_past(mime_type: &str, buffer: u64, fault: Fault) {
    if !is_here(mime_type) {
        return;
    }
    let recipe = Recipe {
        from: 2 * SECOND,
        calls: vec![(SECOND * 23 / 10, "pause"), (SECOND * 5 / 2, "resume")],
        until: match fault {
            Fault::Swallows => 5 * SECOND,
            _ => SECOND * 18 / 5,
        },
        ..recipe(mime_type)
    };
    let recipe = recipe
        .with("pre-record-time", SECOND)
        .with("max-queue-time", SECOND)
        // SVT-AV1 4.2 smears blocks of the frames' numbers at 1 Mbit/s.
        .with("video-bits-per-second", 4_000_000);
    check(&recipe, &[failure("video", buffer, fault)]);
}

#[test]
fn an_encoder_of_the_past_fails_while_a_recording_reads_it() {
    for (mime_type, buffer, fault) in [
        ("video/webm;codecs=vp8,opus", BEFORE, Fault::Error),
        ("video/webm;codecs=vp8,opus", AFTER, Fault::Silent),
        ("video/webm;codecs=vp8,opus", AFTER, Fault::Blocks),
        ("video/webm;codecs=vp8,opus", BEFORE, Fault::Swallows),
        ("video/x-matroska;codecs=avc1,flac", AFTER, Fault::Error),
        ("video/mp4;codecs=avc1,mp4a.40.2", BEFORE, Fault::Error),
        ("video/mp4;codecs=hvc1,opus", AFTER, Fault::Error),
    ] {
        check_past(mime_type, buffer, fault);
    }
}

/// From GStreamer 1.24 on, another AV1 encoder takes over, with another sequence header and lookahead.
#[test]
fn an_av1_encoder_of_the_past_fails_while_a_recording_reads_it() {
    for (mime_type, buffer) in [
        ("video/webm;codecs=av1,opus", AFTER),
        ("video/mp4;codecs=av1,opus", BEFORE),
    ] {
        check_past(mime_type, buffer, Fault::Error);
    }
}

/// The next encoder's audio is contiguous with that of the first, however little output that had.
#[test]
fn an_opus_encoder_that_fails_within_its_first_packets() {
    let mime_type = "video/ogg;codecs=theora,opus";
    for buffer in 1..5 {
        if is_here(mime_type) {
            check(
                &recipe(mime_type),
                &[failure("audio", buffer, Fault::Error)],
            );
        }
    }
}

/// Random frames and faults.
#[test]
fn encoders_that_fail_at_random_frames() {
    if !common::settings::long() {
        return;
    }
    let mut chance = Rng::from_env();
    let count = 500;
    for number in 0..count {
        let (mime_type, kinds) = TYPES[chance.below(TYPES.len() as u64) as usize];
        let kind = kinds[chance.below(kinds.len() as u64) as usize];
        let most = if kind == "video" { 60 } else { 200 };
        let fault =
            [Fault::Error, Fault::Silent, Fault::Error, Fault::Blocks][chance.below(4) as usize];
        let first = failure(kind, chance.below(most), fault);
        let mut failures = vec![first];
        // If there is no other encoder, a new instance of the same one is the last resort.
        if chance.below(4) == 0 && first.buffer < most / 3 && has_another(mime_type, kind) {
            failures.push(Failure {
                encoder: 1,
                ..failure(kind, chance.below(most / 3), Fault::Error)
            });
        }
        println!("{number}: {mime_type} {failures:?}");
        if is_here(mime_type) {
            check(&recipe(mime_type), &failures);
        }
    }
}
