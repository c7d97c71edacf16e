//! Verifies noise: finds the source time of every window of a lossy recording.
//!
//! The signs of 256 values at 12 kHz are looked up in the source, which yields the position to within a third of a
//! millisecond; then the correlation at the full rate, with a parabola through its peak, yields a fraction of a
//! sample.

use super::decode::DecodedAudio;
use super::kept::Kept;
use super::{Verdict, seconds};
use crate::common::signal::noise;
use std::ops::Range;

/// The only supported rate: Opus decodes to it, others have to be resampled.
const RATE: u32 = 48_000;
/// Samples per coarse value.
const COARSE: usize = 4;
/// Coarse values in a window, and samples in it (21.3 ms).
const SIGNS: usize = 256;
const WINDOW: usize = SIGNS * COARSE;
/// Distance between windows: 10 ms.
const HOP: usize = 480;
/// Matching signs needed to accept a position without a search, and to accept one at all.
const SURE: u32 = 215;
const LIKELY: u32 = 190;
/// Minimum correlation of a match.
const TRUSTED: f32 = 0.8;
/// Windows below this RMS are silence.
const SILENT: f32 = 0.005;
/// Samples searched on both sides of a coarse position.
const REACH: i64 = 8;

/// Half a window in nanoseconds.
pub const HALF_WINDOW: f64 = WINDOW as f64 / 2.0 * 1e9 / RATE as f64;

/// One window of the recording.
#[derive(Clone, Copy, Debug)]
pub struct Position {
    /// Recorded time in nanoseconds of the window's centre.
    pub recorded: f64,
    /// Source time in nanoseconds of its content; `None` for silence, or if it has no single position, since it
    /// contains a cut.
    pub source: Option<f64>,
    /// Correlation with the source at that position.
    pub correlation: f32,
    pub silent: bool,
}

/// The signs of a window, the first in the lowest bit.
type Signs = [u64; SIGNS / 64];

/// A span of the source, prepared for lookups.
struct Index {
    /// Number of its first sample.
    begin: usize,
    wave: Vec<f32>,
    /// The signs of the 64 coarse values from each one.
    signs: Vec<u64>,
}

impl Index {
    /// For the noise in this span, in nanoseconds.
    fn new(span: &Range<f64>) -> Self {
        let sample = |time: f64| (time * f64::from(RATE) / 1e9) as usize;
        let begin = sample(span.start);
        let wave: Vec<f32> = (begin..sample(span.end) + 2 * WINDOW)
            .map(|n| noise::at(n as f64 * 1e9 / f64::from(RATE)))
            .collect();
        let signs = signs(&coarse(&wave));
        Self { begin, wave, signs }
    }

    /// The position in `places` whose signs match best, and the number of matches.
    fn best(&self, window: &Signs, places: Range<usize>) -> Option<(u32, usize)> {
        let end = places.end.min(self.signs.len().saturating_sub(SIGNS));
        let mut best = None;
        let mut most = 0;
        // Plain loops: tests are built without optimisation, and this runs millions of times.
        let mut place = places.start;
        while place < end {
            let agreement = (window[0] ^ self.signs[place]).count_zeros()
                + (window[1] ^ self.signs[place + 64]).count_zeros()
                + (window[2] ^ self.signs[place + 128]).count_zeros()
                + (window[3] ^ self.signs[place + 192]).count_zeros();
            if agreement > most {
                most = agreement;
                best = Some((agreement, place));
            }
            place += 1;
        }
        best
    }

    /// The coarse position of a window, searched near `guess` first.
    fn find(&self, window: &Signs, guess: Option<usize>) -> Option<usize> {
        let near = guess.and_then(|g| self.best(window, g.saturating_sub(3)..g + 4));
        match near {
            Some((agreement, place)) if agreement >= SURE => Some(place),
            _ => self
                .best(window, 0..self.signs.len())
                .filter(|(agreement, _)| *agreement >= LIKELY)
                .map(|(_, place)| place),
        }
    }

    /// Position in samples, with a fraction, and correlation.
    fn refine(&self, window: &[f32], coarse: usize) -> Option<(f64, f32)> {
        let middle = (coarse * COARSE) as i64;
        let norm = energy(window).sqrt();
        let correlation: Vec<f32> = (middle - REACH..=middle + REACH)
            .map(|place| {
                let Some(source) = usize::try_from(place)
                    .ok()
                    .and_then(|p| self.wave.get(p..p + window.len()))
                else {
                    return 0.0;
                };
                let product: f32 = source.iter().zip(window).map(|(a, b)| a * b).sum();
                product / (norm * energy(source).sqrt())
            })
            .collect();
        let best =
            (0..correlation.len()).max_by(|a, b| correlation[*a].total_cmp(&correlation[*b]))?;
        let (before, peak, after) = (
            f64::from(*correlation.get(best.wrapping_sub(1))?),
            f64::from(correlation[best]),
            f64::from(*correlation.get(best + 1)?),
        );
        let bend = before - 2.0 * peak + after;
        let fraction = if bend < 0.0 && before.min(after) > 0.0 {
            0.5 * (before - after) / bend
        } else {
            0.0
        };
        Some((
            (self.begin as i64 + middle - REACH + best as i64) as f64 + fraction,
            correlation[best],
        ))
    }
}

fn energy(wave: &[f32]) -> f32 {
    wave.iter().map(|v| v * v).sum()
}

fn coarse(wave: &[f32]) -> Vec<bool> {
    wave.chunks_exact(COARSE)
        .map(|c| c.iter().sum::<f32>() > 0.0)
        .collect()
}

/// The signs of the 64 values from each one, the first in the lowest bit.
fn signs(values: &[bool]) -> Vec<u64> {
    let mut word = 0;
    let mut words: Vec<u64> = values
        .iter()
        .rev()
        .map(|positive| {
            word = word << 1 | u64::from(*positive);
            word
        })
        .collect();
    words.reverse();
    words
}

/// Finds the position of every window of decoded noise, in a source of `horizon` nanoseconds.
pub fn find(audio: &DecodedAudio, horizon: f64) -> Verdict<Vec<Position>> {
    find_within(audio, 0.0..horizon)
}

/// The same, in this span of the source.
pub fn find_within(audio: &DecodedAudio, span: Range<f64>) -> Verdict<Vec<Position>> {
    if audio.rate != RATE {
        return Err(format!("noise is read at {RATE} Hz, not {}", audio.rate));
    }
    let index = Index::new(&span);
    let wave: Vec<f32> = audio
        .samples
        .chunks_exact(audio.channels)
        .map(|f| f.iter().map(|s| *s as f32).sum::<f32>() / (f.len() as f32 * 2_147_483_648.0))
        .collect();
    let mut places = Vec::new();
    let mut guess: Option<usize> = None;
    for start in (0..(wave.len() + 1).saturating_sub(WINDOW)).step_by(HOP) {
        let window = &wave[start..start + WINDOW];
        let half = (WINDOW / 2) as f64;
        let mut place = Position {
            recorded: audio.time_of(start as u64 + WINDOW as u64 / 2),
            source: None,
            correlation: 0.0,
            silent: (energy(window) / WINDOW as f32).sqrt() < SILENT,
        };
        if !place.silent {
            let bits = signs(&coarse(window));
            let words = [bits[0], bits[64], bits[128], bits[192]];
            guess = index.find(&words, guess.map(|g| g + HOP / COARSE));
            if let Some((at, correlation)) = guess.and_then(|g| index.refine(window, g)) {
                place.correlation = correlation;
                if correlation >= TRUSTED {
                    place.source = Some((at + half) * 1e9 / f64::from(RATE));
                }
            }
        }
        places.push(place);
    }
    Ok(places)
}

/// Verifies that all audio is where the cuts put it, to within `tolerance` nanoseconds, except in windows that
/// contain a cut (or its echo in the codec, one window long). Returns the largest deviation.
pub fn check(places: &[Position], kept: &Kept, tolerance: f64) -> Verdict<f64> {
    let mut worst = 0f64;
    let mut judged = 0;
    let total = kept.total() as f64;
    for place in places {
        // With this deviation, it may be from the other side of a cut.
        let reach = 1.5 * HALF_WINDOW + tolerance;
        if kept.near_cut(place.recorded, reach) || place.recorded + HALF_WINDOW > total {
            continue;
        }
        let due = kept.source_at(place.recorded);
        let Some(source) = place.source else {
            return Err(format!(
                "at {} recorded: expected {}, found {place:?}",
                seconds(place.recorded),
                seconds(due)
            ));
        };
        judged += 1;
        let distance = source - due;
        if distance.abs() > worst.abs() {
            worst = distance;
        }
        if distance.abs() > tolerance {
            return Err(format!(
                "at {} recorded: found {}, expected {}",
                seconds(place.recorded),
                seconds(source),
                seconds(due)
            ));
        }
    }
    if judged == 0 {
        return Err("no window to verify".to_string());
    }
    Ok(worst)
}
