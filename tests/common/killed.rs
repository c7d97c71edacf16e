//! Reads the file that a killed process has left behind.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// Up to which recorded time, in seconds, every track of the file at `path` can be decoded.
pub fn readable(path: &Path, mime_type: &str) -> f64 {
    if mime_type == "audio/wav" {
        // Like players that do not trust the size in the header, read all data.
        let bytes = std::fs::read(path).unwrap();
        let data = bytes.windows(4).position(|name| name == b"data").unwrap();
        let size = bytes.len().saturating_sub(data + 8);
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-nostdin", "-v", "error", "-ignore_length", "1", "-i"]);
        decode(ffmpeg.arg(path).args(["-f", "null", "-"]), path);
        return size as f64 / 2.0 / 48_000.0;
    }
    let streams = if mime_type.starts_with("video") {
        &["a:0", "v:0"][..]
    } else {
        &["a:0"]
    };
    let ends = streams.iter().map(|stream| {
        let mut ffprobe = Command::new("ffprobe");
        ffprobe.args(["-v", "error", "-select_streams", stream]);
        ffprobe.args(["-show_entries", "frame=pts_time", "-of", "csv=p=0"]);
        let times = decode(ffprobe.arg(path), path);
        let times = times
            .lines()
            .filter_map(|l| l.trim_matches(',').parse().ok());
        times.fold(0.0, f64::max)
    });
    ends.fold(f64::MAX, f64::min)
}

/// Runs a command that decodes the file at `path`, and returns its output.
fn decode(command: &mut Command, path: &Path) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}: {errors}; {}",
        output.status,
        keep(path)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Copies a file that fails a test, and the log beside it if there is one, to target/tmp. Returns where to find it, and
/// what ffprobe reports about it.
pub fn keep(path: &Path) -> String {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let name = path.file_name().unwrap_or_default().display();
    let kept = folder.join(format!("lost-{}-{name}", std::process::id()));
    let copied = std::fs::create_dir_all(folder).and_then(|()| std::fs::copy(path, &kept));
    if let Err(error) = copied {
        return format!("the file cannot be kept: {error}");
    }
    let _ = std::fs::copy(log_of(path), log_of(&kept));
    let entries = "stream=index,codec_name,nb_read_packets,nb_read_frames,duration";
    let probed = Command::new("ffprobe")
        .args(["-v", "warning", "-of", "compact", "-count_packets"])
        .args(["-count_frames", "-show_entries", entries])
        .arg(&kept)
        .output();
    let reported = probed.map_or_else(
        |error| error.to_string(),
        |output| String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
    );
    format!("the file is {}: {reported}", kept.display())
}

/// Where the process that records to `path` writes its log, with [`logged`].
fn log_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".log");
    name.into()
}

/// Has a process that records to `path` log the recorder's decisions beside it, so that [`keep`] finds them.
pub fn logged<'a>(child: &'a mut Command, path: &Path) -> &'a mut Command {
    child
        .env("GST_DEBUG", "mediarecorder:5")
        .env("GST_DEBUG_NO_COLOR", "1")
        .env("GST_DEBUG_FILE", log_of(path))
}
