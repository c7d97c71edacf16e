//! A file as seen by ffprobe, which is independent of this project.

use std::path::Path;
use std::process::Command;

/// The properties of a media file that tests check.
#[derive(Debug)]
pub struct Probe {
    /// Of the container, in seconds.
    pub duration: f64,
    /// `video:vp8`, `audio:opus`, …, sorted.
    pub streams: Vec<String>,
}

/// Panics with ffprobe's error message if the file is incomplete.
pub fn probe(file: &Path) -> Probe {
    let entries = "format=duration:stream=codec_type,codec_name";
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-of", "json", "-show_entries", entries])
        .arg(file)
        .output()
        .expect("ffprobe runs (Debian package ffmpeg)");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaints.trim().is_empty(),
        "ffprobe of {}: {complaints}",
        file.display()
    );
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let duration = answer["format"]["duration"]
        .as_str()
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or_else(|| panic!("{} has no duration: {answer}", file.display()));
    let mut streams: Vec<String> = answer["streams"]
        .as_array()
        .expect("streams")
        .iter()
        .map(|stream| {
            let text = |key: &str| stream[key].as_str().unwrap_or("?").to_owned();
            format!("{}:{}", text("codec_type"), text("codec_name"))
        })
        .collect();
    streams.sort();
    Probe { duration, streams }
}

/// Asserts streams, and a duration to within `tolerance` seconds.
#[track_caller]
pub fn assert_media(file: &Path, streams: &[&str], duration: f64, tolerance: f64) {
    let probe = probe(file);
    let file = file.display();
    assert_eq!(probe.streams, streams, "streams of {file}");
    assert!(
        (probe.duration - duration).abs() <= tolerance,
        "{file} lasts {} s, not {duration} s ± {tolerance} s",
        probe.duration
    );
}
