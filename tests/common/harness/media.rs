//! Checks of recorded bytes by tools outside of this project: ffprobe, ffmpeg, mkvinfo.

use crate::common::judge::file::AS_STAMPED;
use std::process::Command;

/// What ffprobe reports about a file.
#[derive(Debug, Clone)]
pub struct Media {
    pub format: String,
    /// In seconds, if the file has a duration.
    pub duration: Option<f64>,
    /// In seconds.
    pub start: f64,
    /// (`audio` or `video`, codec), in file order.
    pub streams: Vec<(String, String)>,
}

impl Media {
    /// The codecs of one kind of stream.
    pub fn codecs(&self, kind: &str) -> Vec<&str> {
        self.streams
            .iter()
            .filter(|(k, _)| k == kind)
            .map(|(_, codec)| codec.as_str())
            .collect()
    }
}

/// Runs `command` and returns (stdout, stderr); panics if it fails.
#[track_caller]
pub fn run(command: &mut Command) -> (Vec<u8>, String) {
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?} does not run: {e}"));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{errors}",
        output.status,
        String::from_utf8_lossy(&output.stdout)
    );
    (output.stdout, errors)
}

/// What ffmpeg decodes from `path`, starting at `second`, as `format`, and its error output.
#[track_caller]
pub fn decoded_from(path: &str, second: f64, format: &str) -> (Vec<u8>, String) {
    run(Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-ss", &second.to_string()])
        .args(["-i", path, "-f", format, "-"]))
}

/// Seconds and title of each chapter.
#[track_caller]
pub fn chapters(path: &str) -> Vec<(f64, String)> {
    let (json, _) =
        run(Command::new("ffprobe").args(["-v", "error", "-of", "json", "-show_chapters", path]));
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    let chapters = json["chapters"].as_array().expect("chapters");
    let chapters = chapters.iter().map(|chapter| {
        let start = chapter["start_time"].as_str().expect("a time");
        let title = chapter["tags"]["title"].as_str().unwrap_or_default();
        (start.parse().expect("a number"), title.to_owned())
    });
    chapters.collect()
}

/// Reads `path` with ffprobe.
#[track_caller]
pub fn probe(path: &str) -> Media {
    let (json, _) = run(Command::new("ffprobe")
        .args(["-v", "error", "-of", "json"])
        .args(["-show_format", "-show_streams", path]));
    let json: serde_json::Value = serde_json::from_slice(&json).expect("ffprobe writes JSON");
    let format = &json["format"];
    let seconds = |name: &str| format[name].as_str().and_then(|s| s.parse::<f64>().ok());
    Media {
        format: format["format_name"].as_str().unwrap_or("").to_owned(),
        duration: seconds("duration"),
        start: seconds("start_time").unwrap_or(0.0),
        streams: json["streams"]
            .as_array()
            .expect("streams")
            .iter()
            .map(|stream| {
                let field = |name: &str| stream[name].as_str().unwrap_or("").to_owned();
                (field("codec_type"), field("codec_name"))
            })
            .collect(),
    }
}

/// Asserts that ffmpeg decodes all of `path` without errors or warnings.
#[track_caller]
pub fn assert_plays(path: &str) {
    let (_, errors) = run(Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-i", path])
        .args(["-map", "0"])
        .args(AS_STAMPED)
        .args(["-f", "null", "-"]));
    assert_eq!(errors, "", "ffmpeg decodes {path} without errors");
}

/// The decoded audio of stream `n` as 48 kHz mono.
#[track_caller]
pub fn sound(path: &str, n: usize) -> Vec<i16> {
    let (bytes, _) = run(Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-i", path])
        .args(["-map", &format!("0:a:{n}")])
        .args(["-f", "s16le", "-ac", "1", "-ar", "48000", "-"]));
    bytes
        .as_chunks::<2>()
        .0
        .iter()
        .map(|pair| i16::from_le_bytes(*pair))
        .collect()
}

/// The number of video frames that `path` decodes to.
#[track_caller]
pub fn frames(path: &str) -> usize {
    let (json, _) = run(Command::new("ffprobe")
        .args(["-v", "error", "-of", "json", "-count_frames"])
        .args(["-select_streams", "v:0", "-show_streams", path]));
    let json: serde_json::Value = serde_json::from_slice(&json).expect("ffprobe writes JSON");
    json["streams"][0]["nb_read_frames"]
        .as_str()
        .and_then(|n| n.parse().ok())
        .expect("a count of frames")
}

/// Asserts that ffprobe reads a duration within `tolerance` seconds of `seconds`.
#[track_caller]
pub fn assert_lasts(path: &str, seconds: f64, tolerance: f64) {
    let duration = probe(path).duration;
    let near = duration.is_some_and(|d| (d - seconds).abs() <= tolerance);
    assert!(near, "{path} lasts {duration:?} s, not {seconds} s");
}

/// Asserts that a Matroska file has its duration and its seek index.
#[track_caller]
pub fn assert_finalised(path: &str) {
    let (text, _) = run(Command::new("mkvinfo").args(["--ui-language", "en_US", "-a", path]));
    let text = String::from_utf8_lossy(&text);
    let has = |name: &str| {
        text.lines()
            .any(|line| line.trim_start_matches(['|', ' ', '+']).starts_with(name))
    };
    assert!(has("Duration:"), "{path} has no duration:\n{text}");
    assert!(has("Cues"), "{path} has no cues:\n{text}");
    assert!(has("Cue point"), "{path} has empty cues:\n{text}");
}
