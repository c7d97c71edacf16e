//! Compares picture and sound, and pictures with what should be on show.

use super::decode::{DecodedFrame, DecodedVideo};
use super::kept::Kept;
use super::position::{HALF_WINDOW, Position};
use super::{Verdict, seconds};

/// How far picture and sound of a recording are apart.
#[derive(Clone, Copy, Debug)]
pub struct Offset {
    /// Source time of the sound less that of the picture shown with it, in nanoseconds: the furthest.
    pub furthest: f64,
    /// Recorded time of that.
    pub at: f64,
    /// Pictures compared.
    pub compared: usize,
}

/// Every picture's recorded and source time.
pub fn frame_times(pictures: &DecodedVideo) -> Verdict<Vec<(f64, f64)>> {
    if let Some(pair) = pictures
        .frames
        .windows(2)
        .find(|w| w[0].recorded > w[1].recorded)
    {
        return Err(format!("stamps of pictures go back: {pair:?}"));
    }
    pictures
        .frames
        .iter()
        .map(|DecodedFrame { recorded, source }| {
            let source = source
                .ok_or_else(|| format!("the picture at {} cannot be read", seconds(*recorded)))?;
            Ok((*recorded, source as f64))
        })
        .collect()
}

/// The furthest that the pictures are from the sound that is heard as each appears.
///
/// Where a cut goes through the window of sound, the nearest whole windows on both sides count, and
/// the picture has to belong to one of them.
pub fn av_offset_max(pictures: &[(f64, f64)], places: &[Position]) -> Verdict<Offset> {
    let heard: Vec<(f64, f64)> = places
        .iter()
        .filter_map(|p| Some((p.recorded, p.source?)))
        .collect();
    let mut worst = Offset {
        furthest: 0.0,
        at: 0.0,
        compared: 0,
    };
    // A window stands for the time close to it only.
    let reach = 3.0 * HALF_WINDOW;
    for (recorded, shown) in pictures {
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
    // Half of them at least: otherwise this says little.
    if worst.compared * 2 < pictures.len() || worst.compared == 0 {
        return Err(format!(
            "only {} of {} pictures have sound to compare with",
            worst.compared,
            pictures.len()
        ));
    }
    Ok(worst)
}

/// A picture that should be on show.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedFrame {
    /// Recorded times in nanoseconds, from and to.
    pub from: f64,
    pub to: f64,
    /// Its own stamp.
    pub source: u64,
}

/// What should be on show: at each recorded time the last of `sources` not later than the source time
/// there. A picture that is on show on both sides of a cut appears once.
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

/// Judges what is on show all along: the pictures captured (`sources`: their stamps, rising), each
/// from the recorded time that the cuts give it until the next.
///
/// `tolerance` is how far, in nanoseconds, the stamps of the container may be off; a picture that would be
/// on show for less may be absent. `left_out` is how many others may be. Gives how many are.
pub fn check_frames(
    pictures: &[(f64, f64)],
    kept: &Kept,
    sources: &[u64],
    tolerance: f64,
    left_out: usize,
) -> Verdict<usize> {
    // Pictures say microseconds.
    const SAME: f64 = 1000.0;
    // One that would be on show for less than a millisecond gives way to the next, which takes its
    // place; the container's own rounding comes on top.
    const GIVES_WAY: f64 = 1e6;
    let mut shown = pictures.to_vec();
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
            "the picture of {} is on show from {}, due was {:?}; missing before: {:?}",
            seconds(*source),
            seconds(*recorded),
            found,
            &missing[..missing.len().min(5)]
        ));
    }
    missing.extend(expected.filter(|due| due.to - due.from > tolerance));
    if missing.len() > left_out {
        return Err(format!(
            "{} pictures not shown, the first: {:?}",
            missing.len(),
            missing[0]
        ));
    }
    Ok(missing.len())
}
