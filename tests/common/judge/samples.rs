//! Verifies numbered samples: every sample of a lossless recording.

use super::decode::DecodedAudio;
use super::kept::Kept;
use super::{Verdict, seconds};
use crate::common::signal::counted::{self, Reading};
use crate::common::signal::tag::SampleClock;
use std::ops::Range;

/// The content of a run of recorded samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Consecutive samples of the source, from this number on.
    Source(u64),
    Silence,
    Corrupt,
}

/// A maximal run of recorded samples with the same content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioSpan {
    pub recorded: Range<u64>,
    pub content: Content,
}

impl AudioSpan {
    pub fn len(&self) -> u64 {
        self.recorded.end - self.recorded.start
    }

    pub fn is_empty(&self) -> bool {
        self.recorded.is_empty()
    }
}

/// Reads decoded numbered samples.
pub fn spans(audio: &DecodedAudio) -> Vec<AudioSpan> {
    let mut spans: Vec<AudioSpan> = Vec::new();
    for (frame, at) in audio.samples.chunks_exact(audio.channels).zip(0u64..) {
        let reading = counted::read(frame);
        if let Some(last) = spans.last_mut() {
            let goes_on = match (last.content, reading) {
                (Content::Source(first), Reading::Index(index)) => index == first + last.len(),
                (Content::Silence, Reading::Silence) | (Content::Corrupt, Reading::Corrupt) => true,
                _ => false,
            };
            if goes_on {
                last.recorded.end = at + 1;
                continue;
            }
        }
        spans.push(AudioSpan {
            recorded: at..at + 1,
            content: match reading {
                Reading::Index(index) => Content::Source(index),
                Reading::Silence => Content::Silence,
                Reading::Corrupt => Content::Corrupt,
            },
        });
    }
    spans
}

/// How accurate a recording is, in samples.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exactness {
    /// Largest deviation of any sample from its exact recorded time.
    pub worst_place: f64,
    /// Largest distance of a sample's time from the interval that it was recorded in.
    pub worst_intrusion: f64,
    /// Recorded samples, minus the total recorded time.
    pub surplus: f64,
}

/// Half a sample, plus the rounding of timestamps to whole nanoseconds.
const HALF: f64 = 0.52;

/// Judges that the recording holds what was kept, and nothing else.
///
/// - One unbroken run of the source for each interval: nothing lost, doubled or put in.
/// - A sample that was captured at t, in the interval that begins at running time a and recorded
///   time r, lies within half a sample of r + (t - a).
/// - No sample from inside a pause. A sample stands for the whole period around its slot, and
///   slots and samples each have half a sample of their own, so up to one sample over an edge is
///   the grid, not a leak.
/// - As many samples as the grid has in the total recorded time, so no drift.
pub fn check_continuous(
    audio: &DecodedAudio,
    kept: &Kept,
    clock: &SampleClock,
) -> Verdict<Exactness> {
    let found = spans(audio);
    let rate = f64::from(audio.rate);
    let in_samples = |time: f64| time * rate / 1e9;
    let intervals: Vec<_> = (0..kept.intervals.len())
        .filter(|n| kept.intervals[*n].0 < kept.intervals[*n].1)
        .collect();
    let mut exactness = Exactness::default();

    for (number, span) in intervals.iter().zip(&found) {
        let (from, to) = kept.intervals[*number];
        let begins = kept.interval_start(*number) as f64;
        let says = format!(
            "interval {number} ({} to {}), recorded from {}: {span:?}",
            seconds(from as f64),
            seconds(to as f64),
            seconds(begins)
        );
        let Content::Source(first) = span.content else {
            return Err(format!("not of the source: {says}"));
        };
        for (slot, index) in [
            (span.recorded.start, first),
            (span.recorded.end - 1, first + span.len() - 1),
        ] {
            let time = clock.time_of(index);
            let exact = begins + (time - from as f64);
            let place = slot as f64 - in_samples(exact);
            if place.abs() > exactness.worst_place.abs() {
                exactness.worst_place = place;
            }
            if place.abs() > HALF {
                return Err(format!("sample {index} is {place:.3} samples off: {says}"));
            }
            // Before the interval, or after its end, which is exclusive.
            let intrusion = in_samples((from as f64 - time).max(time - to as f64));
            exactness.worst_intrusion = exactness.worst_intrusion.max(intrusion);
            if intrusion > 2.0 * HALF {
                return Err(format!(
                    "sample {index} is {intrusion:.3} samples into a pause: {says}"
                ));
            }
        }
    }
    if found.len() != intervals.len() {
        let at = found.len().min(intervals.len());
        return Err(format!(
            "{} runs of audio for {} intervals; around the first difference: {:?}",
            found.len(),
            intervals.len(),
            &found[at.saturating_sub(2)..found.len().min(at + 3)]
        ));
    }
    exactness.surplus = audio.len() as f64 - in_samples(kept.total() as f64);
    if exactness.surplus.abs() > HALF {
        return Err(format!(
            "{} samples for {}: {:.3} too many",
            audio.len(),
            seconds(kept.total() as f64),
            exactness.surplus
        ));
    }
    Ok(exactness)
}
