//! All checks of a recording of the test signals.

use super::kept::Kept;
use super::{Verdict, decode, file, position, samples, seconds, sync};
use crate::common::signal::tag::SampleClock;
use std::path::Path;

/// Tolerance of WebM timestamps, which are whole milliseconds, and of the noise's positions.
pub const WEBM: f64 = 1.1e6;
/// One frame of the video, 30 per second.
pub const FRAME: f64 = 1e9 / 30.0;
/// One Opus frame, to which an encoder may round up the end.
const BLOCK: f64 = 20e6;

fn check(holds: bool, what: impl FnOnce() -> String) -> Verdict<()> {
    if holds { Ok(()) } else { Err(what()) }
}

/// Verifies a WAV with numbered samples.
pub fn wav(path: &Path, kept: &Kept, clock: &SampleClock) -> Verdict<samples::Exactness> {
    check(clock.discontinuities() == 0, || {
        "the source itself was not continuous".to_string()
    })?;
    let audio = decode::audio(path, 0, None)?;
    let exactness = samples::check_continuous(&audio, kept, clock)?;
    let said = file::duration(path)?;
    check((said - kept.total() as f64).abs() < 1e6, || {
        format!("duration in the header: {}", seconds(said))
    })?;
    file::decodes_without_errors(path)?;
    Ok(exactness)
}

/// How accurate a WebM is.
#[derive(Clone, Copy, Debug)]
pub struct Webm {
    /// Largest deviation of the audio from where the cuts put it, in nanoseconds.
    pub audio: f64,
    /// A/V offset.
    pub offset: sync::Offset,
    /// Missing frames.
    pub missing: usize,
}

/// Verifies a WebM with VP8 and Opus, of noise and tagged frames. `sources` are the timestamps of all captured
/// frames, `left_out` is how many of them a slow machine may have dropped.
pub fn webm(path: &Path, kept: &Kept, sources: &[u64], left_out: usize) -> Verdict<Webm> {
    let total = kept.total() as f64;
    let (Some(first), Some(last)) = (kept.intervals.first(), kept.intervals.last()) else {
        return Err("nothing kept".into());
    };
    let span = (first.0 as f64 - 1e9).max(0.0)..last.1 as f64 + 1e9;

    let audio = decode::audio(path, 0, Some(48000))?;
    let holes = audio.holes(1.5e6);
    check(holes.is_empty(), || format!("gaps in the audio: {holes:?}"))?;
    let begins = audio.time_of(0);
    check(begins.abs() < WEBM, || {
        format!("audio starts at {}", seconds(begins))
    })?;
    let length = audio.len() as f64 * 1e9 / f64::from(audio.rate);
    check(
        length > total - WEBM && length < total + BLOCK + WEBM,
        || format!("{} of audio for {}", seconds(length), seconds(total)),
    )?;
    let places = position::find_within(&audio, span)?;
    let worst = position::check(&places, kept, WEBM)?;

    let frames = sync::frame_times(&decode::video(path, 0)?)?;
    let begins = frames.first().ok_or("no frames")?.0;
    check(begins.abs() < WEBM, || {
        format!("video starts at {}", seconds(begins))
    })?;
    let missing = sync::check_frames(&frames, kept, sources, WEBM, left_out)?;
    let offset = sync::av_offset_max(&frames, &places)?;
    check(offset.furthest.abs() <= FRAME + WEBM, || {
        format!("A/V offset too large: {offset:?}")
    })?;

    let said = file::duration(path)?;
    check((said - total).abs() < FRAME + BLOCK, || {
        format!(
            "duration in the header: {}, expected {}",
            seconds(said),
            seconds(total)
        )
    })?;
    file::has_seek_index(path)?;
    let mut codecs = file::codecs(path)?;
    codecs.sort();
    check(codecs == ["opus", "vp8"], || format!("{codecs:?}"))?;
    file::decodes_without_errors(path)?;
    Ok(Webm {
        audio: worst,
        offset,
        missing,
    })
}
