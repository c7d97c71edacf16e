//! Timeslices: a sample belongs to the next one if it begins at least a timeslice after the first sample of this one,
//! of any track. So that all tracks are cut at the same time, it waits until each track has reached the next one.

use super::{Fragment, MAX_FRAGMENT, MAX_IDLE, Placed, SECOND};
use crate::formats::{
    boxes::find,
    patch::{mp4::ordinary, number},
};
use crate::model::timeline::Ns;

/// How long to wait for a track whose frames take long, and which has not ended.
const MAX_WAIT: Ns = 20 * SECOND;

/// A track in the header.
#[derive(Debug)]
pub struct Track {
    pub number: u32,
    pub is_video: bool,
    pub open: Option<Fragment>,
    timescale: u32,
    /// Recorded time of decode time 0, once known from buffer timestamps.
    base: Option<i64>,
    /// Recorded time at which its last sample ends.
    end: Ns,
}

impl Track {
    pub fn parse(trak: &[u8]) -> Option<Self> {
        let tkhd = find(trak, &[b"tkhd"])?;
        let at = if *tkhd.first()? == 1 { 20 } else { 12 };
        let mdhd = find(trak, &[b"mdia", b"mdhd"])?;
        let timescale = ordinary::timescale(mdhd)?;
        Some(Track {
            number: u32::try_from(number(tkhd, at, 4)?).ok()?,
            timescale,
            is_video: find(trak, &[b"mdia", b"hdlr"])?.get(8..12)? == b"vide",
            base: None,
            open: None,
            end: 0,
        })
    }

    /// Recorded start and end time of a fragment.
    pub fn place(&mut self, fragment: &Fragment, stamp: Option<Ns>, late: Ns) -> (Ns, Ns) {
        let time = |ticks: u64| {
            let time = u128::from(ticks) * u128::from(SECOND) / u128::from(self.timescale.max(1));
            i64::try_from(time).unwrap_or(i64::MAX)
        };
        let (begin, end) = fragment.times();
        if let (None, Some(stamp)) = (self.base, stamp) {
            self.base = Some(stamp.cast_signed().saturating_sub(time(begin)));
        }
        let offset = self.base.unwrap_or(0).saturating_sub(late.cast_signed());
        let placed = |ticks| u64::try_from(time(ticks).saturating_add(offset)).unwrap_or(0);
        let (begin, end) = (placed(begin), placed(end));
        self.end = end;
        (begin, end)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Slices {
    /// Duration; 0 for none.
    timeslice: Ns,
    /// Recorded time of the first sample of the current one.
    begin: Ns,
    /// Samples of later ones, in the order of the muxer.
    waiting: Vec<Placed>,
    /// Indices of the tracks that have ended.
    ended: Vec<usize>,
}

impl Slices {
    pub fn new(timeslice: Ns) -> Self {
        Slices {
            timeslice,
            ..Slices::default()
        }
    }

    pub fn end_track(&mut self, index: usize) {
        self.ended.push(index);
    }

    /// Keeps samples that belong to a later timeslice, and returns others.
    pub fn postpone(&mut self, placed: Placed) -> Option<Placed> {
        if self.timeslice == 0 || placed.begin < self.end() {
            return Some(placed);
        }
        self.waiting.push(placed);
        None
    }

    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether all tracks have reached the next timeslice, as far as they have not ended.
    pub fn is_complete(&self, tracks: &[Track]) -> bool {
        let Some(last) = self.waiting.iter().map(|placed| placed.begin).max() else {
            return false;
        };
        tracks.iter().enumerate().all(|(index, track)| {
            let patience = if self.ended.contains(&index) {
                MAX_IDLE
            } else {
                MAX_WAIT
            };
            self.waiting.iter().any(|placed| placed.track == index)
                || last >= track.end.saturating_add(patience)
        })
    }

    /// Begins the next timeslice with the first sample that waits, and returns its samples.
    pub fn begin_next(&mut self) -> Vec<Placed> {
        let Some(begin) = self.waiting.iter().map(|placed| placed.begin).min() else {
            return Vec::new();
        };
        self.begin = begin;
        let end = self.end();
        let (own, later) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|placed| placed.begin < end);
        self.waiting = later;
        own
    }

    /// Recorded time of the first sample of the current one.
    pub fn begin(&self) -> Ns {
        self.begin
    }

    /// Whether a sample with this start and end is beyond a fragment with this limit.
    pub fn is_beyond(&self, limit: Ns, begin: Ns, end: Ns) -> bool {
        match self.timeslice {
            0 => end > limit,
            _ => begin >= limit,
        }
    }

    /// Limit in recorded time of a fragment that begins at `from`: its end, or in a timeslice, which ends at any
    /// sample, the beginning of its last sample.
    pub fn limit(&self, from: Ns) -> Ns {
        if self.timeslice == 0 {
            return from.saturating_add(MAX_FRAGMENT);
        }
        // Equal parts of the timeslice.
        let parts = u128::from(self.timeslice.div_ceil(MAX_FRAGMENT));
        let slice = u128::from(self.timeslice);
        let part = u128::from(from.saturating_sub(self.begin)) * parts / slice + 1;
        let limit = u64::try_from((part * slice).div_ceil(parts)).unwrap_or(u64::MAX);
        self.begin.saturating_add(limit)
    }

    /// Samples that begin here or later belong to the next timeslice.
    fn end(&self) -> Ns {
        self.begin.saturating_add(self.timeslice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_always_after_the_start() {
        for from in [0, 1, 1_000_000, u64::MAX / 2] {
            for timeslice in [0, 1, 10_000_000, 1_300_000_000, u64::MAX] {
                let limit = Slices::new(timeslice).limit(from);
                assert!(limit > from, "{from} {timeslice}");
                assert!(limit - from <= MAX_FRAGMENT + 1, "{from} {timeslice}");
            }
        }
    }
}
