//! A summary of the file, from GStreamer's discoverer, independent of the recorder.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use gst::prelude::*;
use gst_pbutils::prelude::*;

use crate::live_line::{size, time};
use crate::recording::Outcome;

/// Prints the location and the contents of the recording on standard output.
pub fn print(location: &Path, outcome: &Outcome) {
    // `println!` would panic if the terminal has been closed, and the recording is complete.
    let _ = write(&mut std::io::stdout().lock(), location, outcome);
}

fn write(out: &mut impl Write, location: &Path, outcome: &Outcome) -> std::io::Result<()> {
    writeln!(out, "{} ({})", location.display(), size(outcome.bytes))?;
    if !outcome.paused.is_zero() {
        writeln!(out, "    paused    {} (not recorded)", time(outcome.paused))?;
    }
    if outcome.chunks > 1 {
        writeln!(out, "    chunks    {}", outcome.chunks)?;
    }
    if outcome.parts > 1 {
        writeln!(
            out,
            "    parts     {} (this is the last one)",
            outcome.parts
        )?;
    }
    match contents(location) {
        Ok(lines) => lines
            .iter()
            .try_for_each(|line| writeln!(out, "    {line}")),
        // The file exists nevertheless: a missing demuxer is not a failure of the recording.
        Err(error) => writeln!(out, "    its contents cannot be read: {error:#}"),
    }
}

fn contents(location: &Path) -> Result<Vec<String>> {
    let path = std::path::absolute(location)?;
    let uri = glib::filename_to_uri(&path, None)?;
    let discoverer = gst_pbutils::Discoverer::new(gst::ClockTime::from_seconds(10))?;
    let info = discoverer.discover_uri(&uri)?;

    let duration = info.duration().context("no duration")?;
    let mut lines = vec![format!("duration  {}", time(duration.into()))];
    if let Some(container) = info.stream_info() {
        lines.push(format!("container {}", description(&container)));
    }
    for video in info.video_streams() {
        let rate = video.framerate();
        let rate = f64::from(rate.numer()) / f64::from(rate.denom().max(1));
        // 0 is a variable rate, which WebM does not signal.
        let rate = if rate > 0.0 {
            format!(", {rate:.0} frames/s")
        } else {
            String::new()
        };
        lines.push(format!(
            "video     {}, {}x{}{rate}",
            description(video.upcast_ref()),
            video.width(),
            video.height(),
        ));
    }
    for audio in info.audio_streams() {
        lines.push(format!(
            "audio     {}, {} Hz, {} channels",
            description(audio.upcast_ref()),
            audio.sample_rate(),
            audio.channels(),
        ));
    }
    if let Some(toc) = info.toc() {
        lines.extend(toc.entries().iter().flat_map(chapters));
    }
    Ok(lines)
}

/// Chapters, as the container has them: within an edition, or without.
fn chapters(entry: &gst::TocEntry) -> Vec<String> {
    if entry.entry_type() != gst::TocEntryType::Chapter {
        return entry.sub_entries().iter().flat_map(chapters).collect();
    }
    let start = entry.start_stop_times().map_or(0, |(start, _)| start);
    let at = std::time::Duration::from_nanos(u64::try_from(start).unwrap_or(0));
    let tags = entry.tags();
    let title = tags
        .as_ref()
        .and_then(|tags| tags.get::<gst::tags::Title>());
    let title = title.as_ref().map_or("", |title| title.get());
    vec![format!("chapter   {} {title}", time(at))]
}

fn description(stream: &gst_pbutils::DiscovererStreamInfo) -> String {
    stream.caps().map_or_else(
        || "unknown".into(),
        |caps| gst_pbutils::pb_utils_get_codec_description(&caps).to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wav_is_described() {
        gst::init().expect("GStreamer");
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("one second.wav");
        let pipeline = gst::parse::launch(&format!(
            "audiotestsrc num-buffers=100 samplesperbuffer=480 \
             ! audio/x-raw,format=S16LE,rate=48000,channels=1 ! wavenc ! filesink location={:?}",
            path.display().to_string()
        ))
        .expect("a pipeline");
        pipeline.set_state(gst::State::Playing).expect("PLAYING");
        let end = pipeline.bus().expect("a bus").timed_pop_filtered(
            gst::ClockTime::from_seconds(10),
            &[gst::MessageType::Eos, gst::MessageType::Error],
        );
        pipeline.set_state(gst::State::Null).expect("NULL");
        assert_eq!(
            end.map(|message| message.type_()),
            Some(gst::MessageType::Eos)
        );
        let lines = contents(&path).expect("contents").join("\n");
        for part in ["0:00:01.0", "48000 Hz", "1 channels"] {
            assert!(lines.contains(part), "{part} is not in {lines}");
        }
    }

    #[test]
    fn a_missing_file_is_an_error() {
        gst::init().expect("GStreamer");
        assert!(contents(Path::new("/nonexistent/file.webm")).is_err());
    }
}
