//! Checks a recording with third-party programs.

use gst::prelude::*;
use std::{path::Path, process::Command};

/// The values of these entries as printed by ffprobe: one line per stream, packet or frame.
pub fn ffprobe(path: &Path, entries: &str) -> Result<Vec<String>, String> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-of", "csv=p=0", "-show_entries", entries])
        .arg(path)
        .output()
        .expect("ffprobe");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() || text.trim().is_empty() {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        let why = why.lines().next().unwrap_or("nothing is in it");
        let name = path.to_string_lossy();
        return Err(format!("ffprobe: {}", why.replace(&*name, "the file")));
    }
    let lines = text.lines().map(|line| line.trim_matches(',').to_owned());
    Ok(lines.filter(|line| !line.is_empty()).collect())
}

/// The first line that ffprobe prints, as a number.
pub fn number(path: &Path, entry: &str) -> Result<f64, String> {
    let lines = ffprobe(path, entry)?;
    let first = lines.first().ok_or("nothing is in it")?;
    first.parse().map_err(|_| format!("{entry} is {first:?}"))
}

/// Fails if a number deviates from the expected one by more than the tolerance.
pub fn near(what: &str, is: f64, should: f64, tolerance: f64) -> Result<(), String> {
    if (is - should).abs() <= tolerance {
        Ok(())
    } else {
        Err(format!("{what} is {is:.3} and should be {should:.3}"))
    }
}

/// Fails unless the recording's duration matches.
pub fn lasts(path: &Path, seconds: f64, tolerance: f64) -> Result<(), String> {
    let is = number(path, "format=duration")?;
    near("the duration in seconds", is, seconds, tolerance)
}

/// The output of ffmpeg with these arguments, which select a stream and a raw format.
pub fn decoded(path: &Path, arguments: &[&str]) -> Result<Vec<u8>, String> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(path)
        .args(arguments)
        .arg("-")
        .output()
        .expect("ffmpeg");
    if output.status.success() && !output.stdout.is_empty() {
        Ok(output.stdout)
    } else {
        Err("ffmpeg decodes nothing".to_owned())
    }
}

/// Audio samples decoded by ffmpeg.
pub fn samples(path: &Path, channels: usize) -> Result<Vec<i16>, String> {
    let channels = channels.to_string();
    let bytes = decoded(path, &["-f", "s16le", "-ac", &channels, "-map", "0:a"])?;
    let pairs = bytes.chunks_exact(2);
    Ok(pairs.map(|b| i16::from_le_bytes([b[0], b[1]])).collect())
}

/// Mean of all luma samples decoded by ffmpeg, without conversion.
pub fn mean_luma(path: &Path) -> Result<f64, String> {
    let luma = decoded(
        path,
        &["-f", "rawvideo", "-vf", "extractplanes=y", "-map", "0:v"],
    )?;
    Ok(luma.iter().map(|y| f64::from(*y)).sum::<f64>() / luma.len() as f64)
}

/// Presentation time of the first frame in seconds, according to FFmpeg.
pub fn first_time(path: &Path) -> Result<f64, String> {
    number(path, "frame=pts_time")
}

/// Fails unless exactly one of the channels has audio.
pub fn only_channel(path: &Path, (channels, heard): (usize, usize)) -> Result<(), String> {
    let samples = samples(path, channels)?;
    let loudness = |channel: usize| {
        let of_channel = samples.iter().skip(channel).step_by(channels);
        of_channel.map(|sample| sample.unsigned_abs()).max()
    };
    let loud = (0..channels).filter(|channel| loudness(*channel) > Some(5_000));
    let loud: Vec<_> = loud.collect();
    if loud == [heard] {
        Ok(())
    } else {
        Err(format!("channels {loud:?} are heard instead of {heard}"))
    }
}

/// Fails unless a tone of `count` samples lasts to its final ten milliseconds; a block of silence may follow.
pub fn sounds_to_the_end(path: &Path, count: usize) -> Result<(), String> {
    let samples = samples(path, 1)?;
    let end = samples.get(count - 480..count);
    let end = end.ok_or_else(|| format!("{} samples of {count} are there", samples.len()))?;
    if end.iter().map(|sample| sample.unsigned_abs()).max() > Some(10_000) {
        Ok(())
    } else {
        Err("the end is silent".to_owned())
    }
}

/// The output of mkvinfo.
pub fn mkvinfo(path: &Path) -> Result<String, String> {
    let output = Command::new("mkvinfo").arg(path).output();
    let output = output.expect("mkvinfo");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Plays a file with GStreamer through these elements to its end, and calls `see` with each sample from the sink.
fn play(path: &Path, elements: &str, see: impl Fn(&gst::Sample) + Send) -> Result<(), String> {
    let line = format!(
        "filesrc location={} ! {elements} ! appsink name=out sync=false",
        path.display()
    );
    let pipeline = gst::parse::launch(&line).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let sink = pipeline.by_name("out").and_downcast::<gst_app::AppSink>();
    let sink = sink.unwrap();
    let _ = pipeline.set_state(gst::State::Playing);
    let mut count = 0;
    while let Some(sample) = sink.try_pull_sample(gst::ClockTime::from_seconds(10)) {
        see(&sample);
        count += 1;
    }
    let _ = pipeline.set_state(gst::State::Null);
    match count {
        0 => Err("GStreamer plays nothing".to_owned()),
        _ => Ok(()),
    }
}

/// The colorimetry that GStreamer reads from an H.264 file.
pub fn demuxed_colorimetry(path: &Path) -> Result<String, String> {
    let seen = std::sync::Mutex::new(String::new());
    play(path, "qtdemux ! h264parse", |sample| {
        let structure = sample.caps().and_then(|caps| caps.structure(0));
        let colorimetry = structure.and_then(|s| s.get::<String>("colorimetry").ok());
        *seen.lock().unwrap() = colorimetry.unwrap_or_default();
    })?;
    Ok(seen.into_inner().unwrap())
}

/// Number of keyframes that GStreamer finds in a Matroska file.
pub fn demuxed_key_frames(path: &Path) -> Result<f64, String> {
    let count = std::sync::Mutex::new(0.0);
    play(path, "matroskademux", |sample| {
        let flags = sample.buffer().map(|buffer| buffer.flags());
        if flags.is_some_and(|flags| !flags.contains(gst::BufferFlags::DELTA_UNIT)) {
            *count.lock().unwrap() += 1.0;
        }
    })?;
    Ok(count.into_inner().unwrap())
}

/// Start time in seconds of each buffer that GStreamer reads through these elements.
pub fn demuxed_times(path: &Path, elements: &str) -> Result<Vec<f64>, String> {
    let times = std::sync::Mutex::new(Vec::new());
    play(path, elements, |sample| {
        let pts = sample.buffer().and_then(|buffer| buffer.pts());
        let seconds = pts.map(|pts| pts.nseconds() as f64 / 1e9);
        times.lock().unwrap().extend(seconds);
    })?;
    Ok(times.into_inner().unwrap())
}
