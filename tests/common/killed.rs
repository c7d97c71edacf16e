//! What a killed process has left in its file.
#![allow(dead_code)]

use super::harness::media;
use std::path::Path;
use std::process::Command;

/// Recorded time in seconds that can be read out of `path`.
pub fn playable_duration(path: &str, mime_type: &str) -> f64 {
    if mime_type == "audio/wav" {
        // As players do that do not believe the size in the header: all that there is.
        let bytes = std::fs::read(path).unwrap();
        let data = bytes.windows(4).position(|name| name == b"data").unwrap();
        let size = bytes.len().saturating_sub(data + 8);
        let output = Command::new("ffmpeg")
            .args(["-nostdin", "-v", "error", "-ignore_length", "1", "-i", path])
            .args(["-f", "null", "-"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        return size as f64 / 2.0 / 48_000.0;
    }
    let ends = ["a:0", "v:0"].map(|stream| {
        let (out, _) = media::run(
            Command::new("ffprobe")
                .args(["-v", "quiet", "-select_streams", stream])
                .args(["-show_entries", "frame=pts_time", "-of", "csv=p=0", path]),
        );
        let times = String::from_utf8_lossy(&out).into_owned();
        let times = times
            .lines()
            .filter_map(|l| l.trim_matches(',').parse().ok());
        times.fold(None, |most: Option<f64>, t| {
            Some(most.map_or(t, |m| m.max(t)))
        })
    });
    let all = if mime_type.starts_with("video") {
        &ends[..]
    } else {
        &ends[..1]
    };
    all.iter()
        .map(|end| end.unwrap_or(0.0))
        .fold(f64::MAX, f64::min)
}

/// Keeps a file that a test fails of, and says where.
pub fn keep_file(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().display();
    let kept = std::env::temp_dir().join(format!("lost-{}-{name}", std::process::id()));
    match std::fs::copy(path, &kept) {
        Ok(_) => format!("the file is {}", kept.display()),
        Err(error) => format!("the file cannot be kept: {error}"),
    }
}
