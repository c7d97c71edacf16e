//! Verifies A/V sync, and which frame is visible at which time.

use super::decode::{DecodedFrame, DecodedVideo};
use super::kept::Kept;
use super::position::{HALF_WINDOW, Position};
use super::{Verdict, seconds};

/// A/V offset of a recording.
#[derive(Clone, Copy, Debug)]
pub struct Offset {
    /// Source time of the audio minus that of the visible frame, in nanoseconds: the largest.
    pub furthest: f64,
    /// Its recorded time.
    pub at: f64,
    /// Number of frames compared.
    pub compared: usize,
}

/// Recorded and source time of every frame.
pub fn frame_times(frames: &DecodedVideo) -> Verdict<Vec<(f64, f64)>> {
    if let Some(pair) = frames
        .frames
        .windows(2)
        .find(|w| w[0].recorded > w[1].recorded)
    {
        return Err(format!("frame timestamps go backwards: {pair:?}"));
    }
    frames
        .frames
        .iter()
        .map(|DecodedFrame { recorded, source }| {
            let source = source.ok_or_else(|| {
                format!(
                    "the time in the frame at {} cannot be read",
                    seconds(*recorded)
                )
            })?;
            Ok((*recorded, source as f64))
        })
        .collect()
}

/// The largest offset between a frame and the audio at the time it appears.
///
/// If a cut is within the audio window, the nearest complete windows on both sides are considered, and the frame
/// has to match one of them.
pub fn av_offset_max(frames: &[(f64, f64)], places: &[Position]) -> Verdict<Offset> {
    let heard: Vec<(f64, f64)> = places
        .iter()
        .filter_map(|p| Some((p.recorded, p.source?)))
        .collect();
    let mut worst = Offset {
        furthest: 0.0,
        at: 0.0,
        compared: 0,
    };
    // A window only represents the time close to it.
    let reach = 3.0 * HALF_WINDOW;
    for (recorded, shown) in frames {
        let after = heard.partition_point(|h| h.0 - HALF_WINDOW < *recorded);
        let before = heard.partition_point(|h| h.0 + HALF_WINDOW <= *recorded);
        let offset = [before.checked_sub(1), Some(after)]
            .into_iter()
            .flatten()
            .filter_map(|n| heard.get(n))
            .filter(|h| (h.0 - recorded).abs() <= reach)
            .map(|h| h.1 + (recorded - h.0) - shown)
            .min_by(|a, b| a.abs().total_cmp(&b.abs()));
        if let Some(offset) = offset {
            worst.compared += 1;
            if offset.abs() > worst.furthest.abs() {
                worst.furthest = offset;
                worst.at = *recorded;
            }
        }
    }
    // At least half of them; otherwise the result means little.
    if worst.compared * 2 < frames.len() || worst.compared == 0 {
        return Err(format!(
            "only {} of {} frames have audio to compare with",
            worst.compared,
            frames.len()
        ));
    }
    Ok(worst)
}

/// A frame that should be visible.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedFrame {
    /// From and to, in recorded time, in nanoseconds.
    pub from: f64,
    pub to: f64,
    /// Its own timestamp.
    pub source: u64,
}

/// The frames that should be visible: at each recorded time, the last of `sources` that is not later than the
/// source time. A frame visible on both sides of a cut appears once.
pub fn expected_frames(kept: &Kept, sources: &[u64]) -> Vec<ExpectedFrame> {
    let mut list: Vec<ExpectedFrame> = Vec::new();
    let mut show = |from: f64, source| {
        match list.last_mut() {
            Some(last) if last.source == source => return,
            Some(last) => last.to = from,
            None => (),
        }
        let to = kept.total() as f64;
        list.push(ExpectedFrame { from, to, source });
    };
    for (number, (from, to)) in kept.intervals.iter().enumerate() {
        let begins = kept.interval_start(number) as f64;
        let next = sources.partition_point(|s| s <= from);
        if next > 0 && from < to {
            show(begins, sources[next - 1]);
        }
        for source in sources[next..].iter().take_while(|s| *s < to) {
            show(begins + (source - from) as f64, *source);
        }
    }
    list
}

/// Verifies the visible frames: each captured frame (`sources`: their ascending timestamps) is visible from the
/// recorded time given by the cuts, until the next one.
///
/// `tolerance` is how inaccurate the container's timestamps may be, in nanoseconds; a frame that would be visible
/// for less may be missing. `left_out` is how many others may be missing. Returns how many are.
pub fn check_frames(
    frames: &[(f64, f64)],
    kept: &Kept,
    sources: &[u64],
    tolerance: f64,
    left_out: usize,
) -> Verdict<usize> {
    // Frames show microseconds.
    const SAME: f64 = 1000.0;
    // A frame that would be visible for less than a millisecond is replaced by the next one; the container's
    // rounding is added.
    const GIVES_WAY: f64 = 1e6;
    let mut shown = frames.to_vec();
    shown.dedup_by(|b, a| (a.1 - b.1).abs() <= SAME);
    let mut missing = Vec::new();
    let mut expected = expected_frames(kept, sources).into_iter();
    for (recorded, source) in &shown {
        let found = expected.by_ref().find(|due| {
            let found = (due.source as f64 - source).abs() <= SAME;
            if !found && due.to - due.from > tolerance {
                missing.push(*due);
            }
            found
        });
        if let Some(found) = found
            && (found.from - recorded).abs() <= tolerance + GIVES_WAY
        {
            continue;
        }
        return Err(format!(
            "the frame of {} is visible from {}, expected {:?}; missing before: {:?}",
            seconds(*source),
            seconds(*recorded),
            found,
            &missing[..missing.len().min(5)]
        ));
    }
    missing.extend(expected.filter(|due| due.to - due.from > tolerance));
    if missing.len() > left_out {
        return Err(format!(
            "{} frames missing, the first: {:?}",
            missing.len(),
            missing[0]
        ));
    }
    Ok(missing.len())
}
