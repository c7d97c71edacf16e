//! Verifies the parts of a recording as if they were one file.

use super::decode::{self, DecodedAudio, DecodedVideo};
use super::{Verdict, file};
use crate::common::app::App;
use std::path::PathBuf;

/// A part, as reported by `mediarecorder-part`.
#[derive(Clone, Debug)]
pub struct Part {
    pub number: u32,
    pub path: PathBuf,
    pub timecode: u64,
    pub duration: u64,
    pub running_time: u64,
    pub size: u64,
    pub whole: bool,
}

/// The parts reported so far, in order.
pub fn from_messages(app: &App) -> Vec<Part> {
    let events = app.events();
    let parts = events.iter().filter(|event| event.name == "part");
    parts
        .map(|event| {
            let fields = &event.fields;
            let time = |name| fields.get::<u64>(name).unwrap();
            Part {
                number: fields.get("part").unwrap(),
                path: fields
                    .get::<Option<String>>("location")
                    .unwrap()
                    .unwrap_or_default()
                    .into(),
                timecode: time("timecode"),
                duration: time("duration"),
                running_time: event.running_time,
                size: time("size"),
                whole: fields.get("whole").unwrap(),
            }
        })
        .collect()
}

/// Verifies that numbers, times and sizes of a recording's parts are contiguous, and that each file starts at 0
/// and has the reported duration.
pub fn check_contiguous(parts: &[Part], duration: u64, tolerance: f64) -> Verdict<()> {
    let mut timecode = 0;
    for (part, number) in parts.iter().zip(0..) {
        let says = format!("part {number}: {part:?}");
        if part.number != number || part.timecode != timecode || !part.whole {
            return Err(format!("not at {timecode}, or incomplete: {says}"));
        }
        timecode += part.duration;
        if part.path.as_os_str().is_empty() {
            continue;
        }
        let length = std::fs::metadata(&part.path)
            .map_err(|err| format!("{err}: {says}"))?
            .len();
        if length != part.size {
            return Err(format!("{length} bytes: {says}"));
        }
        let lasts = file::duration(&part.path)?;
        if (lasts - part.duration as f64).abs() > tolerance {
            return Err(format!("lasts {lasts}: {says}"));
        }
        // WAV has no timestamps.
        let starts = file::starts(&part.path).unwrap_or_default();
        if starts.iter().any(|start| start.abs() > tolerance) {
            return Err(format!("starts at {starts:?}: {says}"));
        }
    }
    if timecode == duration {
        Ok(())
    } else {
        Err(format!("{timecode} in all, not {duration}"))
    }
}

/// The audio of all parts, concatenated.
pub fn audio(parts: &[Part], rate: Option<u32>) -> Verdict<DecodedAudio> {
    let mut all: Option<DecodedAudio> = None;
    for part in parts {
        let next = decode::audio(&part.path, 0, rate).map_err(|err| format!("{part:?}: {err}"))?;
        match &mut all {
            None => all = Some(next),
            Some(all) => {
                let before = all.len();
                let blocks = next.blocks.iter();
                all.blocks.extend(
                    blocks.map(|(first, time)| (before + first, time + part.timecode as f64)),
                );
                all.samples.extend(next.samples);
            }
        }
    }
    all.ok_or_else(|| "no parts".into())
}

/// The frames of all parts, concatenated, in recorded time.
pub fn video(parts: &[Part]) -> Verdict<DecodedVideo> {
    let mut all: Option<DecodedVideo> = None;
    for part in parts {
        let mut next = decode::video(&part.path, 0).map_err(|err| format!("{part:?}: {err}"))?;
        for picture in &mut next.frames {
            picture.recorded += part.timecode as f64;
        }
        match &mut all {
            None => all = Some(next),
            Some(all) => all.frames.extend(next.frames),
        }
    }
    all.ok_or_else(|| "no parts".into())
}
