//! Every pair of container and codec that the table promises and this registry has: recorded with a pause,
//! and judged by programs that this project did not write.

mod common;

use common::judge::decode::{self, Sound};
use common::judge::{file, place, sync};
use common::take::{Recipe, Take, take};
use std::path::Path;
use std::process::Command;

/// Containers with their video and audio codecs, as the interface names them, and what ffprobe calls the
/// format.
const TABLE: &[(&str, &[&str], &[&str], &str)] = &[
    ("webm", &["vp8", "vp9", "av1"], &["opus", "vorbis"], "matroska,webm"),
    (
        "x-matroska",
        &["vp8", "vp9", "av1", "avc1", "avc3", "hvc1", "hev1"],
        &["opus", "vorbis", "flac", "pcm", "mp4a.40.2", "mp3"],
        "matroska,webm",
    ),
    (
        "mp4",
        &["avc1", "avc3", "hvc1", "hev1", "av1", "vp9"],
        &["mp4a.40.2", "opus", "mp3"],
        "mov,mp4,m4a,3gp,3g2,mj2",
    ),
    ("ogg", &["theora", "vp8"], &["opus", "vorbis", "flac"], "ogg"),
    ("wav", &[], &["pcm"], "wav"),
    ("flac", &[], &["flac"], "flac"),
    ("mpeg", &[], &["mp3"], "mp3"),
];

/// What ffprobe calls a codec.
fn ffmpeg_name(codec: &str) -> &str {
    match codec {
        "avc1" | "avc3" => "h264",
        "hvc1" | "hev1" => "hevc",
        "mp4a.40.2" => "aac",
        "pcm" => "pcm_s16le",
        same => same,
    }
}

/// How far the sound of a codec may lie from where it belongs, in nanoseconds.
fn sound_tolerance(container: &str, codec: &str) -> f64 {
    const SAMPLE: f64 = 1e9 / 48_000.0;
    match (container, codec) {
        (_, "opus" | "vorbis" | "flac" | "pcm") => SAMPLE,
        ("x-matroska" | "mp4", _) => 1e6,
        _ => 1e6,
    }
}

/// Sound without the containers' rounding of stamps: sample after sample from the first stamp on.
fn unbroken(sound: &Sound) -> Sound {
    Sound {
        rate: sound.rate,
        channels: sound.channels,
        samples: sound.samples.clone(),
        blocks: vec![(0, sound.blocks[0].1)],
    }
}

fn judge_sound(take: &Take, container: &str, codec: &str) -> Result<String, String> {
    let total = take.kept.total() as f64;
    let sound = decode::sound(&take.path, 0, Some(48_000))?;
    let holes = sound.holes(1.5e6);
    if !holes.is_empty() {
        return Err(format!("holes: {holes:?}"));
    }
    let plain = unbroken(&sound);
    let places = place::places(&plain, total + 3e9)?;
    let length = sound.len() as f64 * 1e9 / 48_000.0;
    let begins = plain.blocks[0].1;
    let worst = place::follows(&places, &take.kept, sound_tolerance(container, codec));
    let report = format!(
        "sound {worst:?} from {:.3} ms, ends {:+.3} ms",
        begins / 1e6,
        (begins + length - total) / 1e6
    );
    worst.map_err(|e| format!("{e}; {report}"))?;
    Ok(report)
}

fn judge_pictures(take: &Take) -> Result<(), String> {
    let pictures = sync::readable(&decode::pictures(&take.path, 0)?)?;
    sync::shows(&pictures, &take.kept, &take.sources, 1.1e6, 0).map(|_| ())
}

fn judge(take: &Take, container: &str, codecs: &[&str], format: &str) -> Result<String, String> {
    let probe = file::ffprobe(&take.path)?;
    let found = probe["format"]["format_name"].as_str().unwrap_or_default();
    if found != format {
        return Err(format!("ffprobe calls it {found}"));
    }
    let mut found = file::codecs(&take.path)?;
    found.sort();
    let mut expected: Vec<_> = codecs.iter().map(|codec| ffmpeg_name(codec)).collect();
    expected.sort_unstable();
    if found != expected {
        return Err(format!("ffprobe finds {found:?}"));
    }
    file::decodes_quietly(&take.path)?;
    let duration = file::duration(&take.path)?;
    let total = take.kept.total() as f64;
    let mut report = format!("duration {:+.3} ms", (duration - total) / 1e6);
    if (duration - total).abs() > 45e6 {
        return Err(report);
    }
    if codecs.iter().any(|codec| is_video(codec)) {
        judge_pictures(take)?;
    }
    if let Some(codec) = codecs.iter().find(|codec| !is_video(codec)) {
        report += ", ";
        report += &judge_sound(take, container, codec)?;
    }
    Ok(report)
}

fn is_video(codec: &str) -> bool {
    TABLE.iter().any(|row| row.1.contains(&codec))
}

fn is_supported(mime_type: &str) -> bool {
    use common::harness::Recorder;
    common::harness::make_recorder().supports(mime_type)
}

/// Records and judges every pair of a container.
fn container(name: &str) {
    let (container, videos, audios, format) = TABLE.iter().find(|row| row.0 == name).unwrap();
    let mut lists: Vec<Vec<&str>> = audios.iter().map(|audio| vec![*audio]).collect();
    for (n, video) in videos.iter().enumerate() {
        lists.push(vec![*video]);
        lists.push(vec![*video, audios[n % audios.len()]]);
    }
    let mut wrong = Vec::new();
    let mut recorded = 0;
    for codecs in lists {
        let video = codecs.iter().any(|codec| is_video(codec));
        let audio = codecs.iter().any(|codec| !is_video(codec));
        let kind = if video { "video" } else { "audio" };
        let mime_type = format!("{kind}/{container};codecs={}", codecs.join(","));
        if !is_supported(&mime_type) {
            println!("{mime_type}: not installed, not tested");
            continue;
        }
        recorded += 1;
        let take = take(&Recipe::new(&mime_type, audio, video));
        match judge(&take, container, &codecs, format) {
            Ok(report) => println!("{mime_type} -> {}: {report}", take.actual),
            Err(what) => {
                println!("{mime_type} -> {}: WRONG {what}", take.actual);
                wrong.push(format!("{mime_type}: {what}"));
            }
        }
    }
    assert!(recorded > 0, "nothing of {name} is installed");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn webm() {
    container("webm");
}

#[test]
fn matroska() {
    container("x-matroska");
}

#[test]
fn mp4() {
    container("mp4");
}

#[test]
fn ogg() {
    container("ogg");
}

#[test]
fn plain_sound() {
    for name in ["wav", "flac", "mpeg"] {
        container(name);
    }
}
