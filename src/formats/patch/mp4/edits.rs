//! Edit lists (`elst`, ISO 14496-12, 8.6.6): which part of a track's media is presented, and when.

use super::{
    boxes::{boxed, find},
    samples::Times,
};
use crate::formats::patch::number;

/// Converts `value` between timescales, rounded.
pub(super) fn rescale(value: u64, from: u32, to: u32) -> u64 {
    let (from, to) = (u128::from(from.max(1)), u128::from(to));
    let scaled = (u128::from(value) * to + from / 2) / from;
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// Start of a track's presentation in a fragmented file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Begin {
    /// Duration of the initial empty edit, in the movie timescale.
    pub(super) empty: u64,
    /// Media time of the first edit, in the track's timescale.
    pub(super) media_time: u64,
}

impl Begin {
    /// Parses the edit list of a `trak` with this content.
    pub(super) fn of(trak: &[u8]) -> Self {
        let mut begin = Begin::default();
        let elst = find(trak, &[b"edts", b"elst"]).unwrap_or_default();
        let wide = if elst.first() == Some(&1) { 8 } else { 4 };
        let entries = elst.get(8..).unwrap_or_default();
        for entry in entries.chunks_exact(2 * wide + 4) {
            let (Some(duration), Some(time)) = (number(entry, 0, wide), number(entry, wide, wide))
            else {
                break;
            };
            // A media time of -1 marks an empty edit.
            if time == u64::MAX >> (64 - 8 * wide) {
                begin.empty = begin.empty.saturating_add(duration);
                continue;
            }
            begin.media_time = time;
            break;
        }
        begin
    }
}

/// Presentation of a track in a regular file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shown {
    /// Duration of the initial empty edit, in the movie timescale.
    pub(super) empty: u64,
    /// Duration of the edit after it, in the movie timescale.
    pub(super) duration: u64,
    /// Media time at which that edit starts, in the track's timescale.
    pub(super) media_time: u64,
}

impl Shown {
    /// The edits for the samples at `times`, with the presentation of the fragmented file: up to the end of the last
    /// sample, and without priming. The timescales are those of the track, of the fragmented movie, and of the regular
    /// movie.
    pub(super) fn new(begin: Begin, times: Times, track: u32, before: u32, movie: u32) -> Self {
        let empty = rescale(begin.empty, before, movie);
        // `times` are relative to the first decode time, but the edit is on the timeline of the fragments.
        let first = i128::from(begin.media_time) - i128::from(times.origin);
        let late = i128::from(times.begin) - first;
        let (late, media_time) = match u64::try_from(late) {
            Ok(late) => (late, times.begin),
            Err(_) => (0, u64::try_from(first).unwrap_or(u64::MAX)),
        };
        Shown {
            empty: empty.saturating_add(rescale(late, track, movie)),
            duration: rescale(times.end.saturating_sub(media_time), track, movie),
            media_time,
        }
    }

    /// Duration of the track including empty edits, in the movie timescale.
    pub(super) fn total(&self) -> u64 {
        self.empty.saturating_add(self.duration)
    }

    /// The `edts` box; empty if redundant for media of duration `media` in the movie timescale.
    pub(super) fn edts(&self, media: u64) -> Option<Vec<u8>> {
        if (self.empty, self.media_time) == (0, 0) && self.duration == media {
            return Some(Vec::new());
        }
        let mut edits = vec![(self.duration, self.media_time)];
        if self.empty > 0 {
            edits.insert(0, (self.empty, u64::MAX));
        }
        // Media times are signed.
        let fits = |(duration, time): &(u64, u64)| {
            u32::try_from(*duration).is_ok() && (*time == u64::MAX || i32::try_from(*time).is_ok())
        };
        let wide = !edits.iter().all(fits);
        let mut elst = vec![u8::from(wide), 0, 0, 0];
        elst.extend_from_slice(&u32::try_from(edits.len()).ok()?.to_be_bytes());
        for (duration, time) in edits {
            if wide {
                elst.extend_from_slice(&duration.to_be_bytes());
                elst.extend_from_slice(&time.to_be_bytes());
            } else {
                elst.extend_from_slice(&(duration as u32).to_be_bytes());
                elst.extend_from_slice(&(time as u32).to_be_bytes());
            }
            // Media rate 1.
            elst.extend_from_slice(&[0, 1, 0, 0]);
        }
        boxed(b"edts", &boxed(b"elst", &elst)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(origin: u64, begin: u64, end: u64) -> Times {
        Times { origin, begin, end }
    }

    /// `trak` with an edit list of these 32-bit entries.
    fn trak(edits: &[(u32, u32)]) -> Vec<u8> {
        let mut elst = vec![0, 0, 0, 0, 0, 0, 0, edits.len() as u8];
        for (duration, time) in edits {
            elst.extend_from_slice(&duration.to_be_bytes());
            elst.extend_from_slice(&time.to_be_bytes());
            elst.extend_from_slice(&[0, 1, 0, 0]);
        }
        boxed(b"edts", &boxed(b"elst", &elst).unwrap()).unwrap()
    }

    #[test]
    fn priming_is_skipped_and_the_end_is_exact() {
        let begin = Begin::of(&trak(&[(0, 1_588)]));
        assert_eq!((begin.empty, begin.media_time), (0, 1_588));
        let shown = Shown::new(begin, times(0, 0, 97_588), 48_000, 3_000, 48_000);
        assert_eq!((shown.empty, shown.duration), (0, 96_000));
        assert_eq!(
            shown.edts(97_588),
            Some(trak(&[(96_000, 1_588)])),
            "the edit ends where the sound does"
        );
    }

    #[test]
    fn a_track_that_begins_later_is_presented_later() {
        let begin = Begin::of(&trak(&[(150, u32::MAX), (0, 0)]));
        assert_eq!((begin.empty, begin.media_time), (150, 0));
        // Frames that are decoded 2 of 30 frames before they are presented.
        let shown = Shown::new(begin, times(0, 200, 3_200), 3_000, 3_000, 48_000);
        assert_eq!(
            (shown.empty, shown.media_time, shown.duration),
            ((150 + 200) * 16, 200, 48_000)
        );
        assert_eq!(shown.total(), 5_600 + 48_000);
        // The first fragment does not start at decode time 0.
        let shown = Shown::new(Begin::default(), times(6_000, 0, 3_000), 3_000, 600, 3_000);
        assert_eq!(
            (shown.empty, shown.media_time, shown.duration),
            (6_000, 0, 3_000)
        );
    }

    #[test]
    fn no_entry_for_video_without_rotation() {
        let shown = Shown::new(Begin::of(&[]), times(0, 0, 3_000), 3_000, 3_000, 3_000);
        assert_eq!(shown.edts(3_000), Some(Vec::new()));
        assert_ne!(shown.edts(2_999), Some(Vec::new()));
    }

    #[test]
    fn entries_beyond_32_bits_are_64_bits_wide() {
        let shown = Shown {
            empty: 0,
            duration: 1 << 32,
            media_time: 312,
        };
        let edts = shown.edts(0).unwrap();
        let elst = find(&edts, &[b"edts", b"elst"]).unwrap();
        assert_eq!(elst[0], 1);
        assert_eq!(Begin::of(&edts).media_time, 312);
        assert_eq!(number(elst, 8, 8), Some(1 << 32));
    }
}
