//! Sample tables of a regular MP4 (ISO 14496-12, 8.6 to 8.7), collected from the fragments: about seven
//! bytes per sample.

use super::boxes::boxed;
use std::collections::BTreeMap;

/// A sample described by a fragment. Times are in the track's timescale.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sample {
    pub(super) decode_time: u64,
    /// Composition offset: presentation time minus decode time.
    pub(super) shift: i64,
    pub(super) duration: u32,
    pub(super) size: u32,
    /// Whether it is a sync sample.
    pub(super) sync: bool,
}

/// Run-length encoded values.
#[derive(Debug)]
struct Runs<T>(Vec<(u32, T)>);

impl<T> Default for Runs<T> {
    fn default() -> Self {
        Runs(Vec::new())
    }
}

impl<T: Copy + PartialEq> Runs<T> {
    fn push(&mut self, value: T) {
        match self.0.last_mut() {
            Some((count, last)) if *last == value && *count < u32::MAX => *count += 1,
            _ => self.0.push((1, value)),
        }
    }

    fn iter(&self) -> impl Iterator<Item = T> {
        let runs = self.0.iter();
        runs.flat_map(|(count, value)| std::iter::repeat_n(*value, *count as usize))
    }

    fn truncate(&mut self, length: usize) {
        let mut left = length;
        self.0.retain_mut(|(count, _)| {
            let kept = left.min(*count as usize);
            left -= kept;
            *count = kept as u32;
            kept > 0
        });
    }
}

/// Contiguous samples in the file.
#[derive(Debug, Clone, Copy)]
struct Chunk {
    at: u64,
    samples: u32,
    /// Sample description index.
    description: u32,
}

/// Presentation times of a track relative to the first decode time, in the track's timescale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    /// Decode time of the first sample.
    pub(super) origin: u64,
    /// Earliest presentation time.
    pub(super) begin: u64,
    /// Latest end of presentation.
    pub(super) end: u64,
}

/// The samples of one track.
#[derive(Debug, Default)]
pub(super) struct Table {
    sizes: Vec<u32>,
    /// Differences between successive decode times; the last sample's duration is not included.
    steps: Runs<u32>,
    /// Composition offsets.
    shifts: Runs<i32>,
    /// Numbers of the sync samples, from 1.
    syncs: Vec<u32>,
    chunks: Vec<Chunk>,
    /// Decode time of the first sample.
    origin: u64,
    /// Decode time and duration of the last sample.
    newest: (u64, u32),
}

impl Table {
    /// Starts a chunk at this file offset.
    pub(super) fn begin_chunk(&mut self, at: u64, description: u32) {
        self.chunks.push(Chunk {
            at,
            samples: 0,
            description,
        });
    }

    /// Adds a sample to the last chunk.
    pub(super) fn push(&mut self, sample: Sample) {
        let Some(chunk) = self.chunks.last_mut() else {
            return;
        };
        chunk.samples = chunk.samples.saturating_add(1);
        // `tfdt` overrides the sum of the earlier durations, but decode times never go backwards.
        let decode_time = if self.sizes.is_empty() {
            self.origin = sample.decode_time;
            sample.decode_time
        } else {
            let step = sample.decode_time.saturating_sub(self.newest.0);
            let step = u32::try_from(step).unwrap_or(u32::MAX);
            self.steps.push(step);
            self.newest.0 + u64::from(step)
        };
        let presented = i128::from(sample.decode_time) + i128::from(sample.shift);
        let shift = presented - i128::from(decode_time);
        let bounded = shift.clamp(i32::MIN.into(), i32::MAX.into());
        self.shifts.push(i32::try_from(bounded).unwrap_or_default());
        self.sizes.push(sample.size);
        if sample.sync {
            self.syncs.push(self.count());
        }
        self.newest = (decode_time, sample.duration);
    }

    /// Extends the last sample at least until this decode time.
    pub(super) fn extend(&mut self, end: u64) {
        let (begin, lasts) = &mut self.newest;
        if !self.sizes.is_empty() {
            let longer = end.saturating_sub(*begin).max(u64::from(*lasts));
            *lasts = u32::try_from(longer).unwrap_or(u32::MAX);
        }
    }

    /// Number of samples.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.sizes.len()).unwrap_or(u32::MAX)
    }

    /// The chunks, each with the sizes of its samples.
    fn chunks(&self) -> impl Iterator<Item = (&Chunk, &[u32])> {
        let mut first = 0;
        self.chunks.iter().map(move |chunk| {
            let next = first + chunk.samples as usize;
            let sizes = self.sizes.get(first..next).unwrap_or_default();
            first = next;
            (chunk, sizes)
        })
    }

    /// End of the last chunk that is complete within the first `length` bytes; 0 if there is none.
    fn whole_until(&self, length: u64) -> u64 {
        let ends = self.chunks().map(|(chunk, sizes)| {
            let size = sizes.iter().map(|size| u64::from(*size)).sum();
            chunk.at.saturating_add(size)
        });
        ends.filter(|end| *end <= length).max().unwrap_or(0)
    }

    /// Drops the samples beyond this file length.
    fn keep_until(&mut self, length: u64) {
        let mut kept = Vec::new();
        let mut samples = 0usize;
        for (chunk, sizes) in self.chunks() {
            let mut end = chunk.at;
            let inside = sizes.iter().take_while(|size| {
                end = end.saturating_add(u64::from(**size));
                end <= length
            });
            let inside = inside.count();
            samples += inside;
            if inside > 0 {
                kept.push(Chunk {
                    samples: inside as u32,
                    ..*chunk
                });
            }
            if inside < sizes.len() {
                break;
            }
        }
        if samples < self.sizes.len() {
            self.chunks = kept;
            self.truncate(samples);
        }
    }

    /// Keeps only this many samples from the start.
    fn truncate(&mut self, samples: usize) {
        let steps = samples.saturating_sub(1);
        let mut before = self.steps.iter();
        let decoded: u64 = before.by_ref().take(steps).map(u64::from).sum();
        let lasts = before.next().unwrap_or(self.newest.1);
        drop(before);
        self.newest = (self.origin + decoded, lasts);
        self.sizes.truncate(samples);
        self.steps.truncate(steps);
        self.shifts.truncate(samples);
        let left = self.count();
        self.syncs.retain(|number| *number <= left);
    }

    /// Sample durations, including the last. A video frame whose duration is rounded to 0 would never be presented, so
    /// it lasts one tick.
    fn durations(&self, video: bool) -> Runs<u32> {
        let mut all = Runs(self.steps.0.clone());
        if !self.sizes.is_empty() {
            all.push(self.newest.1.max(u32::from(video)));
        }
        all
    }

    /// Presentation times; `None` if there are no samples.
    pub(super) fn times(&self, video: bool) -> Option<Times> {
        let mut decoded = 0i64;
        let (mut begin, mut end) = (i64::MAX, i64::MIN);
        for (lasts, shift) in self.durations(video).iter().zip(self.shifts.iter()) {
            let presented = decoded.saturating_add(shift.into());
            begin = begin.min(presented);
            end = end.max(presented.saturating_add(lasts.into()));
            decoded = decoded.saturating_add(lasts.into());
        }
        let end = u64::try_from(end).ok()?;
        (!self.sizes.is_empty()).then(|| Times {
            origin: self.origin,
            begin: u64::try_from(begin).unwrap_or(0),
            end,
        })
    }

    /// Sum of the durations, in the track's timescale.
    pub(super) fn decoded(&self, video: bool) -> u64 {
        let durations = self.durations(video).0;
        let runs = durations.iter();
        runs.map(|(count, lasts)| u64::from(*count) * u64::from(*lasts))
            .sum()
    }

    /// The content of `stbl` after `stsd`. All audio samples are sync samples, which is the default without `stss`.
    pub(super) fn write(&self, video: bool) -> Option<Vec<u8>> {
        let mut new = Vec::with_capacity(self.sizes.len() * 4 + self.chunks.len() * 8 + 256);
        let mut add = |name, version, entries: List| {
            new.extend_from_slice(&boxed(name, &entries.full(version))?);
            Some(())
        };
        let durations = self.durations(video).0;
        let mut stts = List::default();
        for (count, lasts) in durations {
            stts.entry(&[count, lasts]);
        }
        add(b"stts", 0, stts)?;
        if self.shifts.0.iter().any(|(_, shift)| *shift != 0) {
            let negative = self.shifts.0.iter().any(|(_, shift)| *shift < 0);
            let mut ctts = List::default();
            for (count, shift) in &self.shifts.0 {
                ctts.entry(&[*count, shift.cast_unsigned()]);
            }
            add(b"ctts", u8::from(negative), ctts)?;
        }
        if video && self.syncs.len() < self.sizes.len() {
            let mut stss = List::default();
            for number in &self.syncs {
                stss.entry(&[*number]);
            }
            add(b"stss", 0, stss)?;
        }
        let chunks: Vec<&Chunk> = self.chunks.iter().filter(|c| c.samples > 0).collect();
        let mut stsc = List::default();
        let mut before = None;
        for (number, chunk) in (1u32..).zip(&chunks) {
            let now = (chunk.samples, chunk.description);
            if before.replace(now) != Some(now) {
                stsc.entry(&[number, chunk.samples, chunk.description]);
            }
        }
        add(b"stsc", 0, stsc)?;
        new.extend_from_slice(&boxed(b"stsz", &self.stsz())?);
        let mut places = List::default();
        let wide = chunks.iter().any(|chunk| u32::try_from(chunk.at).is_err());
        for chunk in chunks {
            if wide {
                places.entry(&[(chunk.at >> 32) as u32, chunk.at as u32]);
            } else {
                places.entry(&[chunk.at as u32]);
            }
        }
        let name = if wide { b"co64" } else { b"stco" };
        new.extend_from_slice(&boxed(name, &places.full(0))?);
        Some(new)
    }

    fn stsz(&self) -> Vec<u8> {
        let mut stsz = vec![0; 4];
        let first = self.sizes.first().copied().unwrap_or(0);
        let same = first > 0 && self.sizes.iter().all(|size| *size == first);
        stsz.extend_from_slice(&if same { first } else { 0 }.to_be_bytes());
        stsz.extend_from_slice(&self.count().to_be_bytes());
        if !same {
            stsz.extend(self.sizes.iter().flat_map(|size| size.to_be_bytes()));
        }
        stsz
    }
}

/// Entries of a full box that starts with their count.
#[derive(Default)]
struct List {
    count: u32,
    entries: Vec<u8>,
}

impl List {
    fn entry(&mut self, fields: &[u32]) {
        self.count += 1;
        for field in fields {
            self.entries.extend_from_slice(&field.to_be_bytes());
        }
    }

    fn full(self, version: u8) -> Vec<u8> {
        let mut content = vec![version, 0, 0, 0];
        content.extend_from_slice(&self.count.to_be_bytes());
        content.extend_from_slice(&self.entries);
        content
    }
}

/// Sample tables by track ID.
#[derive(Debug, Default)]
pub(super) struct Tables(BTreeMap<u32, Table>);

impl Tables {
    /// The table of a track; created if necessary.
    pub(super) fn of(&mut self, track: u32) -> &mut Table {
        self.0.entry(track).or_default()
    }

    /// The table of a track, if it exists.
    pub(super) fn get(&self, track: u32) -> Option<&Table> {
        self.0.get(&track)
    }

    /// End of the last fragment that is complete within the first `length` bytes; 0 if there is none.
    pub(super) fn whole_until(&self, length: u64) -> u64 {
        let ends = self.0.values().map(|table| table.whole_until(length));
        ends.max().unwrap_or(0)
    }

    /// Drops the samples beyond this file length.
    pub(super) fn keep_until(&mut self, length: u64) {
        for table in self.0.values_mut() {
            table.keep_until(length);
        }
    }

    /// Allocated bytes.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        let of = |table: &Table| {
            table.sizes.capacity() * size_of::<u32>()
                + table.steps.0.capacity() * size_of::<(u32, u32)>()
                + table.shifts.0.capacity() * size_of::<(u32, i32)>()
                + table.syncs.capacity() * size_of::<u32>()
                + table.chunks.capacity() * size_of::<Chunk>()
        };
        self.0.values().map(of).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::patch::{mp4::boxes::find, number};

    /// A sample of 100 bytes.
    fn sample(decode_time: u64, shift: i64, duration: u32) -> Sample {
        Sample {
            decode_time,
            shift,
            duration,
            size: 100,
            sync: decode_time.is_multiple_of(1_000),
        }
    }

    /// The 32-bit fields of this box, after version and flags; empty if there is no such box.
    fn numbers(table: &Table, name: &[u8; 4]) -> Vec<u64> {
        let all = table.write(true).unwrap();
        let content = find(&all, &[name]).unwrap_or_default();
        let places = (4..content.len()).step_by(4);
        places.map(|at| number(content, at, 4).unwrap()).collect()
    }

    #[test]
    fn repeated_warnings_are_posted_once() {
        let mut table = Table::default();
        for second in 0..3 {
            table.begin_chunk(1_000 + second * 5_000, 1);
            for n in 0..10 {
                table.push(sample(second * 1_000 + n * 100, 0, 100));
            }
        }
        assert_eq!(numbers(&table, b"stts"), [1, 30, 100]);
        assert_eq!(numbers(&table, b"ctts"), [0; 0]);
        assert_eq!(numbers(&table, b"stss"), [3, 1, 11, 21]);
        assert_eq!(numbers(&table, b"stsc"), [1, 1, 10, 1]);
        assert_eq!(numbers(&table, b"stsz"), [100, 30]);
        assert_eq!(numbers(&table, b"stco"), [3, 1_000, 6_000, 11_000]);
        let times = table.times(true).unwrap();
        assert_eq!((times.origin, times.begin, times.end), (0, 0, 3_000));
        let audio = table.write(false).unwrap();
        assert!(find(&audio, &[b"stss"]).is_none());
    }

    #[test]
    fn the_decode_time_of_a_fragment_takes_precedence() {
        let mut table = Table::default();
        table.begin_chunk(0, 1);
        // Later than the durations add up to, then earlier, then before the previous sample.
        for time in [5_000, 5_150, 5_230, 5_210, 5_330] {
            table.push(sample(time, 40, 100));
        }
        assert_eq!(
            numbers(&table, b"stts"),
            [4, 1, 150, 1, 80, 1, 0, 2, 100],
            "the last has its own"
        );
        assert_eq!(numbers(&table, b"ctts"), [3, 3, 40, 1, 20, 1, 40]);
        let times = table.times(true).unwrap();
        assert_eq!((times.origin, times.begin, times.end), (5_000, 40, 470));
        assert_eq!(table.decoded(true), 430);
    }

    #[test]
    fn a_last_frame_with_a_duration_that_rounds_to_zero_is_kept() {
        let mut table = Table::default();
        table.begin_chunk(0, 1);
        for (time, duration) in [(0, 100), (100, 100), (200, 0)] {
            table.push(sample(time, 40, duration));
        }
        assert_eq!(numbers(&table, b"stts"), [2, 2, 100, 1, 1]);
        let times = table.times(true).unwrap();
        assert_eq!((times.begin, times.end), (40, 241));
        assert_eq!(table.decoded(true), 201);
        // Audio ends exactly at its last sample.
        let times = table.times(false).unwrap();
        assert_eq!((times.end, table.decoded(false)), (240, 200));
    }

    #[test]
    fn with_b_frames_a_track_ends_with_its_latest_frame() {
        let mut table = Table::default();
        table.begin_chunk(0, 1);
        for (time, shift) in [(0, 200), (100, 500), (200, 200), (300, -100), (400, 0)] {
            table.push(sample(time, shift, 100));
        }
        let all = table.write(true).unwrap();
        let ctts = find(&all, &[b"ctts"]).unwrap();
        assert_eq!(ctts[0], 1, "signed");
        assert_eq!(numbers(&table, b"ctts")[8], u64::from((-100i32) as u32));
        let times = table.times(true).unwrap();
        assert_eq!((times.begin, times.end), (200, 700));
        assert_eq!(table.decoded(true), 500);
    }

    #[test]
    fn bytes_missing_from_the_file_are_not_indexed() {
        let table = || {
            let mut table = Table::default();
            for (at, from) in [(1_000, 0), (2_000, 1_000), (3_000, 2_000)] {
                table.begin_chunk(at, 1);
                for n in 0..4 {
                    table.push(sample(from + n * 250, 0, 250));
                }
            }
            table
        };
        assert_eq!(table().whole_until(u64::MAX), 3_400);
        assert_eq!(table().whole_until(3_399), 2_400);
        assert_eq!(table().whole_until(1_399), 0);
        for (length, samples, chunks) in [
            (u64::MAX, 12, 3),
            (3_400, 12, 3),
            (3_399, 11, 3),
            (3_100, 9, 3),
            (3_099, 8, 2),
            (2_000, 4, 1),
            (0, 0, 0),
        ] {
            let mut kept = table();
            kept.keep_until(length);
            assert_eq!(kept.count(), samples);
            assert_eq!(numbers(&kept, b"stco")[0], chunks, "{length}");
            let end = kept.times(true).map_or(0, |times| times.end);
            assert_eq!(end, u64::from(samples) * 250);
            assert_eq!(kept.decoded(true), end);
        }
    }

    #[test]
    fn offsets_beyond_4_gib_use_co64() {
        let mut table = Table::default();
        for at in [1_000, u64::from(u32::MAX), u64::from(u32::MAX) + 1] {
            assert!(numbers(&table, b"co64").is_empty());
            table.begin_chunk(at, 1);
            table.push(sample(0, 0, 1));
        }
        let places = [3, 0, 1_000, 0, u64::from(u32::MAX), 1, 0];
        assert_eq!(numbers(&table, b"co64"), places);
        assert!(numbers(&table, b"stco").is_empty());
    }
}
