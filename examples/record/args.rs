//! The command line: options, how they configure the recorder, and what they imply.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use gst::prelude::*;

use crate::script::PauseRange;
use crate::units;

/// Records a microphone and a camera, test sources, or another file into a file.
#[derive(Debug, Parser)]
#[command(
    name = "record",
    after_help = "Keys while recording: space = pause or resume, m = mark (a chapter), c = chunk now, \
                  n = next part (with --split or --keep), q, Enter or Ctrl-C = stop.\n\
                  With --pre-record the space bar begins.\n\
                  Without a terminal, --duration, Ctrl-C or SIGTERM ends the recording, and \
                  SIGUSR1 begins it with --pre-record."
)]
pub struct Args {
    /// List the capture devices and exit
    #[arg(long)]
    pub list: bool,

    /// Record the first microphone whose name contains NAME
    #[arg(long, value_name = "NAME", conflicts_with_all = ["no_audio", "test"])]
    pub audio: Option<String>,

    /// Record the first camera whose name contains NAME
    #[arg(long, value_name = "NAME", conflicts_with_all = ["no_video", "test"])]
    pub video: Option<String>,

    /// Record no audio
    #[arg(long, conflicts_with = "no_video")]
    pub no_audio: bool,

    /// Record no video
    #[arg(long)]
    pub no_video: bool,

    /// Record a test picture and a ticking test tone instead of devices
    #[arg(long)]
    pub test: bool,

    /// Re-record INPUT, a file or URI, as fast as possible
    #[arg(long, short, value_name = "INPUT",
        conflicts_with_all = ["audio", "video", "test", "duration", "pause_at"])]
    pub input: Option<String>,

    /// Type of the recording, such as video/webm;codecs="vp8,opus"
    /// [default: that of FILE's extension, else WebM]
    #[arg(long, value_name = "TYPE")]
    pub format: Option<String>,

    /// Where to write [default: recording-YYYYmmdd-HHMMSS.webm]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Deliver a chunk for every MS milliseconds of recorded time
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u32).range(1..))]
    pub timeslice: Option<u32>,

    /// Stop after SECONDS of recorded time (pauses do not count)
    #[arg(long, value_name = "SECONDS", value_parser = positive_seconds)]
    pub duration: Option<Duration>,

    /// Pause from A to B, in seconds since the start (pauses count); may be given again
    #[arg(long, value_name = "A..B")]
    pub pause_at: Vec<PauseRange>,

    /// Wait for a key, and then record the TIME before it, too: 30s, 2m
    #[arg(long, value_name = "TIME", value_parser = units::duration, conflicts_with = "input")]
    pub pre_record: Option<Duration>,

    /// Continue in the next file after TIME of recorded time: 10m, 1h. The files are numbered
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub split: Option<Duration>,

    /// Delete the oldest of these files so that they never exceed SIZE in total: 20G
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    pub keep: Option<u64>,
}

impl Args {
    pub fn wants_audio(&self) -> bool {
        !self.no_audio
    }

    /// A type for audio only implies that no camera is recorded, unless one was named.
    pub fn wants_video(&self) -> bool {
        !self.no_video && (self.video.is_some() || !self.sound_only_type())
    }

    /// Whether there will be more than one file.
    pub fn wants_parts(&self) -> bool {
        self.split.is_some() || self.keep.is_some()
    }

    fn sound_only_type(&self) -> bool {
        match (&self.format, &self.output) {
            (Some(format), _) => container(format).starts_with("audio/"),
            (None, Some(output)) => matches!(
                extension(output).as_deref(),
                Some("wav" | "flac" | "mp3" | "opus" | "oga" | "mka" | "m4a" | "weba")
            ),
            (None, None) => false,
        }
    }

    /// Sets `mime-type` and `location`.
    ///
    /// With a file name but no type, `mime-type` stays empty: the element then chooses by the extension.
    pub fn apply_type_and_location(&self, recorder: &gst::Element, has_video: bool) -> Result<()> {
        let default = if has_video {
            "video/webm"
        } else {
            "audio/webm"
        };
        let format = match (&self.format, &self.output) {
            (Some(format), _) => format.as_str(),
            (None, Some(output)) if extension(output).is_some() => "",
            (None, _) => default,
        };
        let output = match &self.output {
            Some(output) => output.clone(),
            None => default_output(if format.is_empty() { default } else { format })?,
        };
        let location = output
            .to_str()
            .context("the file name has to be valid UTF-8")?;
        recorder.set_property("mime-type", format);
        if self.wants_parts() {
            recorder.set_property("location", numbered(location));
        } else {
            recorder.set_property("location", location);
        }
        Ok(())
    }

    /// Sets the other options: blobs, parts, the past.
    pub fn apply_options(&self, recorder: &gst::Element) {
        if let Some(timeslice) = self.timeslice {
            recorder.set_property("timeslice", timeslice);
        }
        if let Some(split) = self.split {
            recorder.set_property("max-size-time", nanoseconds(split));
        }
        if let Some(keep) = self.keep {
            recorder.set_property("max-total-bytes", keep);
        }
        if let Some(past) = self.pre_record {
            recorder.set_property("pre-record-time", nanoseconds(past));
        }
    }
}

/// A generated name in the current directory, with the local time.
fn default_output(mime_type: &str) -> Result<PathBuf> {
    let now = glib::DateTime::now_local().context("the local time is not known")?;
    let stamp = now.format("%Y%m%d-%H%M%S").context("no local time")?;
    Ok(PathBuf::from(format!(
        "recording-{stamp}.{}",
        extension_for(mime_type)
    )))
}

/// `take-%03d.webm` for `take.webm`; a name with a placeholder for the number is not changed.
fn numbered(location: &str) -> String {
    if location.contains('%') {
        return location.to_owned();
    }
    let path = Path::new(location);
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push("-%03d");
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name).display().to_string()
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn extension_for(mime_type: &str) -> &'static str {
    match container(mime_type).as_str() {
        "video/x-matroska" => "mkv",
        "audio/x-matroska" => "mka",
        "video/mp4" => "mp4",
        "audio/mp4" => "m4a",
        "video/ogg" => "ogv",
        "audio/ogg" => "ogg",
        "audio/wav" => "wav",
        "audio/flac" => "flac",
        "audio/mpeg" => "mp3",
        _ => "webm",
    }
}

/// `video/webm` from `Video/WebM; codecs="vp8,opus"`.
fn container(mime_type: &str) -> String {
    let container = mime_type.split(';').next().unwrap_or_default();
    container.trim().to_ascii_lowercase()
}

fn extension(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}

fn positive_seconds(text: &str) -> Result<Duration, String> {
    match crate::script::seconds(text)? {
        Duration::ZERO => Err("has to be more than 0 seconds".into()),
        duration => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(std::iter::once("record").chain(line.split_whitespace()))
    }

    #[test]
    fn the_options_are_consistent() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    #[test]
    fn a_scripted_line_is_read() {
        let args = parse("--test --duration 3 --pause-at 1..2 --pause-at 2.5..2.75 -o a.webm")
            .expect("a good line");
        assert!(args.test && args.wants_audio() && args.wants_video());
        assert_eq!(args.duration, Some(Duration::from_secs(3)));
        assert_eq!(args.pause_at.len(), 2);
        assert_eq!(args.pause_at[1].from, Duration::from_millis(2500));
        assert_eq!(args.pause_at[1].to, Duration::from_millis(2750));
    }

    #[test]
    fn wrong_lines_are_refused() {
        for line in [
            "--no-audio --no-video",
            "--audio mic --no-audio",
            "--audio mic --test",
            "--input a.wav --test",
            "--input a.wav --pause-at 1..2",
            "--timeslice 0",
            "--timeslice soon",
            "--duration 0",
            "--duration -1",
            "--duration NaN",
            "--duration 1e300",
            "--pause-at 2..1",
            "--pause-at 2",
            "--pause-at 1..",
            "--pre-record 0s",
            "--pre-record 30s --input a.wav",
            "--split never",
            "--keep 20GB",
        ] {
            assert!(parse(line).is_err(), "{line} was taken");
        }
    }

    #[test]
    fn parts_get_numbers() {
        let args = parse("--split 10m --keep 20G --pre-record 30s").expect("a good line");
        assert!(args.wants_parts() && !parse("").expect("a good line").wants_parts());
        assert_eq!(args.split, Some(Duration::from_secs(600)));
        assert_eq!(args.pre_record, Some(Duration::from_secs(30)));
        assert_eq!(args.keep, Some(20_000_000_000));
        for (given, used) in [
            ("take.webm", "take-%03d.webm"),
            ("a.b/take", "a.b/take-%03d"),
            ("take %d.mp4", "take %d.mp4"),
        ] {
            assert_eq!(numbered(given), used);
        }
    }

    #[test]
    fn audio_only_types_need_no_camera() {
        for line in [
            "--format audio/wav",
            "--format Audio/WebM;codecs=opus",
            "-o a.WAV",
            "--no-video",
        ] {
            assert!(!parse(line).expect(line).wants_video(), "{line}");
        }
        for line in ["", "--format video/webm -o a.wav", "-o a.webm", "-o a"] {
            assert!(parse(line).expect(line).wants_video(), "{line}");
        }
        let named = parse("--format audio/wav --video cam").expect("a good line");
        assert!(named.wants_video());
    }

    #[test]
    fn the_default_name_fits_the_type() {
        let name = default_output("audio/wav;codecs=pcm").expect("a name");
        let name = name.to_str().expect("UTF-8");
        assert!(name.starts_with("recording-") && name.ends_with(".wav"));
        assert_eq!(name.len(), "recording-YYYYmmdd-HHMMSS.wav".len());
        assert_eq!(extension_for("VIDEO/X-MATROSKA"), "mkv");
        assert_eq!(extension_for(""), "webm");
    }
}
