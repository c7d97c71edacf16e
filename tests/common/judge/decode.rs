//! A recording as decoded by ffmpeg, with its timestamps.

use super::Verdict;
use std::path::Path;
use std::process::{Command, Output};

/// Decoder timeout in seconds.
const DEADLINE: &str = "120";

/// Decoded audio, channels interleaved, each sample widened to 32 bits.
#[derive(Debug)]
pub struct DecodedAudio {
    pub rate: u32,
    pub channels: usize,
    pub samples: Vec<i32>,
    /// Decoded blocks: first sample (of all channels), recorded time in nanoseconds.
    pub blocks: Vec<(u64, f64)>,
}

impl DecodedAudio {
    /// Samples per channel.
    pub fn len(&self) -> u64 {
        (self.samples.len() / self.channels.max(1)) as u64
    }

    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Recorded time in nanoseconds of a sample.
    pub fn time_of(&self, sample: u64) -> f64 {
        let block = self.blocks.partition_point(|b| b.0 <= sample);
        let (first, time) = self.blocks[block.saturating_sub(1)];
        time + (sample as f64 - first as f64) * 1e9 / f64::from(self.rate)
    }

    /// Where timestamps and sample count deviate by more than `tolerance` nanoseconds: recorded time and size of
    /// each gap (or overlap, if negative).
    pub fn holes(&self, tolerance: f64) -> Vec<(f64, f64)> {
        self.blocks
            .windows(2)
            .filter_map(|pair| {
                let due = pair[0].1 + (pair[1].0 - pair[0].0) as f64 * 1e9 / f64::from(self.rate);
                let width = pair[1].1 - due;
                (width.abs() > tolerance).then_some((due, width))
            })
            .collect()
    }
}

/// One decoded frame.
#[derive(Debug)]
pub struct DecodedFrame {
    /// Recorded time in nanoseconds.
    pub recorded: f64,
    /// The time in nanoseconds that the frame shows, if it can be read.
    pub source: Option<u64>,
}

/// Decoded frames in order.
#[derive(Debug)]
pub struct DecodedVideo {
    pub width: usize,
    pub height: usize,
    pub frames: Vec<DecodedFrame>,
}

fn ffmpeg(file: &Path, arguments: &[&str]) -> Verdict<Output> {
    let output = Command::new("timeout")
        .args([DEADLINE, "ffmpeg", "-hide_banner", "-nostdin", "-nostats"])
        // Original timestamps, not shifted to 0.
        .args(["-v", "info", "-copyts", "-i"])
        .arg(file)
        .args(arguments)
        .arg("pipe:1")
        .output()
        .map_err(|e| format!("ffmpeg does not run: {e}"))?;
    if output.status.success() {
        Ok(output)
    } else {
        Err(format!(
            "ffmpeg on {}: {}\n{}",
            file.display(),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ))
    }
}

/// The value after `key` in a line of ffmpeg's `showinfo`: `n:   0 pts:      0 pts_time:0`.
fn field<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let start = line.find(&format!(" {key}:"))? + key.len() + 2;
    line[start..].split_whitespace().next()
}

fn number<T: std::str::FromStr>(line: &str, key: &str) -> Verdict<T> {
    field(line, key)
        .and_then(|v| v.parse().ok())
        .ok_or_else(|| format!("no {key} in {line:?}"))
}

/// Decodes audio track `track` of `file`, at its own rate or resampled to `rate`.
pub fn audio(file: &Path, track: usize, rate: Option<u32>) -> Verdict<DecodedAudio> {
    let map = format!("0:a:{track}");
    let filter = match rate {
        Some(rate) => format!("aresample={rate},ashowinfo"),
        None => "ashowinfo".to_string(),
    };
    let output = ffmpeg(file, &["-map", &map, "-af", &filter, "-f", "s32le"])?;
    let log = String::from_utf8_lossy(&output.stderr);
    let mut audio = DecodedAudio {
        rate: 0,
        channels: 0,
        samples: output
            .stdout
            .chunks_exact(4)
            .map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect(),
        blocks: Vec::new(),
    };
    let mut first = 0u64;
    for line in log
        .lines()
        .filter(|l| l.contains("_ashowinfo_") && l.contains(" n:"))
    {
        audio.rate = number(line, "rate")?;
        audio.channels = number(line, "channels")?;
        // Inside the filter graph, audio timestamps are in samples.
        let pts: i64 = number(line, "pts")?;
        let time = pts as f64 * 1e9 / f64::from(audio.rate);
        audio.blocks.push((first, time));
        first += number::<u64>(line, "nb_samples")?;
    }
    if audio.blocks.is_empty() {
        return Err(format!("no audio in {}:\n{log}", file.display()));
    }
    if first != audio.len() {
        return Err(format!("{first} samples announced, {} read", audio.len()));
    }
    Ok(audio)
}

/// Decodes video track `track` of `file` and reads every frame's time.
pub fn video(file: &Path, track: usize) -> Verdict<DecodedVideo> {
    let map = format!("0:v:{track}");
    let output = ffmpeg(
        file,
        &[
            "-map",
            &map,
            "-vf",
            "showinfo",
            "-fps_mode",
            "passthrough",
            "-pix_fmt",
            "gray",
            "-f",
            "rawvideo",
        ],
    )?;
    let log = String::from_utf8_lossy(&output.stderr);
    let mut base = None;
    let mut size = None;
    let mut times = Vec::new();
    for line in log.lines().filter(|l| l.contains("_showinfo_")) {
        if line.contains("config in") {
            base = field(line, "time_base")
                .unwrap_or_default()
                .trim_end_matches(',')
                .split_once('/')
                .and_then(|(n, d)| Some(n.parse::<f64>().ok()? / d.parse::<f64>().ok()?));
        } else if line.contains(" n:") {
            let pts: i64 = number(line, "pts")?;
            times.push(pts as f64 * 1e9 * base.ok_or("no time base before the first frame")?);
            if size.is_none() {
                size = field(line, "s")
                    .and_then(|s| s.split_once('x'))
                    .and_then(|(w, h)| Some((w.parse::<usize>().ok()?, h.parse::<usize>().ok()?)));
            }
        }
    }
    let (width, height) = size.ok_or_else(|| format!("no video in {}:\n{log}", file.display()))?;
    let video = output.stdout.chunks_exact(width * height);
    if video.len() != times.len() {
        return Err(format!(
            "{} frames announced, {} read",
            times.len(),
            video.len()
        ));
    }
    let frames = video
        .zip(times)
        .map(|(grey, recorded)| DecodedFrame {
            recorded,
            source: crate::common::signal::frame::read(grey, width, height),
        })
        .collect();
    Ok(DecodedVideo {
        width,
        height,
        frames,
    })
}
