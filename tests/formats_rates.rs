//! Bit rates: what each installed encoder produces for the requested rate, before and after a change.

mod common;

use common::harness::Recorder;
use common::judge::file;
use common::take::{Recipe, Take, take, take_with};
use gst::prelude::*;
use std::process::Command;
use std::sync::Mutex;

const SECOND: u64 = 1_000_000_000;

/// The registry is that of the whole process: one encoder at a time is ranked first.
static RANKS: Mutex<()> = Mutex::new(());

/// Encoders that change their rate while running; the others keep their initial rate.
const FOLLOWS: &[&str] = &[
    "vp8enc",
    "vp9enc",
    "av1enc",
    "x264enc",
    "openh264enc",
    "x265enc",
    "theoraenc",
    "opusenc",
];

/// Runs `work` while the encoder `name` has the highest rank of its codec.
fn with_encoder<R>(name: &str, work: impl FnOnce() -> R) -> Option<R> {
    let _turn = RANKS
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    common::app::init();
    let Some(factory) = gst::ElementFactory::find(name) else {
        println!("{name}: not installed, not tested");
        return None;
    };
    let rank = factory.rank();
    factory.set_rank(gst::Rank::PRIMARY + 10_000);
    let done = work();
    factory.set_rank(rank);
    Some(done)
}

fn seconds(short: u64) -> u64 {
    match std::env::var_os("MEDIARECORDER_LONG") {
        Some(_) => 20,
        None => short,
    }
}

/// Timestamp in seconds and size in bits of each packet, without container overhead.
fn packets(take: &Take) -> Vec<(f64, f64)> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-of", "csv=p=0"])
        .args(["-show_entries", "packet=pts_time,size"])
        .arg(&take.path)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter_map(|line| {
            // Lines of side data are empty; Ogg's first pages have no timestamp.
            let (time, size) = line.split_once(',')?;
            let size: f64 = size.trim_end_matches(',').parse().ok()?;
            Some((time.parse().unwrap_or(0.0), size * 8.0))
        })
        .collect()
}

fn recipe(mime_type: &str, bits: u32, constant: bool, seconds: u64) -> Recipe {
    let video = mime_type.starts_with("video");
    let (kind, mode) = match video {
        true => ("video-bits-per-second", "variable"),
        false if constant => ("audio-bits-per-second", "constant"),
        false => ("audio-bits-per-second", "variable"),
    };
    let mut recipe = Recipe::new(mime_type, !video, video)
        .with(kind, bits)
        .with("audio-bitrate-mode", mode)
        // Media that waits for the encoder is encoded at its newest rate.
        .with("max-queue-time", 100_000_000)
        .lasting(seconds * SECOND);
    recipe.size = (640, 360);
    // Noise over a moving pattern, which no encoder can compress well.
    recipe.textured = 1;
    recipe
}

/// How far the rate of a recording by `encoder` is off, relative to the requested rate.
fn off(encoder: &str, mime_type: &str, bits: u32, constant: bool, seconds: u64) -> Option<f64> {
    let take = with_encoder(encoder, || {
        take(&recipe(mime_type, bits, constant, seconds))
    })?;
    assert_eq!(take.encoders[0].1, encoder);
    file::decodes_without_errors(&take.path).unwrap();
    let sent: f64 = packets(&take).iter().map(|packet| packet.1).sum();
    let rate = sent * 1e9 / take.kept.total() as f64;
    let whole = std::fs::metadata(&take.path).unwrap().len() as f64 * 8e9;
    let off = rate / f64::from(bits) - 1.0;
    println!(
        "{encoder}, {} bit/s{}: {:+.1} % in packets, {:+.1} % of the file",
        bits,
        if constant { ", constant" } else { "" },
        off * 100.0,
        (whole / take.kept.total() as f64 / f64::from(bits) - 1.0) * 100.0,
    );
    Some(off)
}

/// Verifies the requested rate.
fn judge_rate(encoder: &str, mime_type: &str) {
    let cases: &[(u32, bool)] = if mime_type.starts_with("video") {
        &[(2_000_000, false)]
    } else {
        &[(96_000, false), (96_000, true)]
    };
    for (bits, constant) in cases {
        if let Some(off) = off(encoder, mime_type, *bits, *constant, seconds(5)) {
            assert!(off.abs() <= 0.15, "{encoder}, constant {constant}: {off}");
        }
    }
}

/// Verifies a rate that is lowered in the middle.
fn judge_change(encoder: &str, mime_type: &str) {
    // For slow ones, this is not worth the time.
    let slow = ["vp9enc", "av1enc", "x265enc", "theoraenc"].contains(&encoder);
    if slow && std::env::var_os("MEDIARECORDER_LONG").is_none() {
        println!("{encoder}: only with MEDIARECORDER_LONG");
        return;
    }
    let half = seconds(8) / 2;
    let (property, before, after) = if mime_type.starts_with("video") {
        ("video-bits-per-second", 2_500_000, 800_000)
    } else {
        ("audio-bits-per-second", 160_000, 64_000)
    };
    let recipe = recipe(mime_type, before, true, 2 * half);
    let changes = recipe.from + half * SECOND;
    let taken = with_encoder(encoder, || {
        take_with(
            &recipe,
            |_| (),
            |recorder, at| {
                if at >= changes && recorder.number(property) != after {
                    recorder.set_property(property, after);
                }
            },
        )
    });
    let Some(take) = taken else {
        return;
    };
    assert_eq!(take.encoders[0].1, encoder);
    file::decodes_without_errors(&take.path).unwrap();
    let (half, all) = (half as f64, packets(&take));
    let rate = |from: f64, to: f64| {
        let part = all.iter().filter(|(time, _)| (from..to).contains(time));
        part.map(|packet| packet.1).sum::<f64>() / (to - from)
    };
    // The rate after the change needs some time to settle.
    let (first, second) = (rate(0.0, half), rate(1.5 * half, 2.0 * half));
    println!("{encoder}: {first:.0} of {before}, then {second:.0} of {after} bit/s");
    let fell = second < first * 0.6;
    assert_eq!(
        fell,
        FOLLOWS.contains(&encoder),
        "{encoder}: {first} bit/s, then {second}"
    );
}

/// Two tests for each encoder, with a type that it is used for.
macro_rules! encoders {
    ($($name:ident: $mime_type:literal;)*) => {$(
        mod $name {
            #[test]
            fn meets_the_requested_rate() {
                super::judge_rate(stringify!($name), $mime_type);
            }

            #[test]
            fn follows_a_change() {
                super::judge_change(stringify!($name), $mime_type);
            }
        }
    )*};
}

encoders! {
    vp8enc: "video/webm;codecs=vp8";
    vp9enc: "video/webm;codecs=vp9";
    av1enc: "video/webm;codecs=av1";
    svtav1enc: "video/webm;codecs=av1";
    x264enc: "video/x-matroska;codecs=avc1";
    openh264enc: "video/x-matroska;codecs=avc1";
    x265enc: "video/x-matroska;codecs=hvc1";
    theoraenc: "video/ogg;codecs=theora";
    opusenc: "audio/webm;codecs=opus";
    vorbisenc: "audio/webm;codecs=vorbis";
    fdkaacenc: "audio/x-matroska;codecs=mp4a.40.2";
    voaacenc: "audio/x-matroska;codecs=mp4a.40.2";
    avenc_aac: "audio/x-matroska;codecs=mp4a.40.2";
    lamemp3enc: "audio/mpeg;codecs=mp3";
}
