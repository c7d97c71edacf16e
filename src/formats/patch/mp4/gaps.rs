//! Removes empty samples, which keep mp4mux from waiting for a track during a gap (`session/fixups/gaps.rs`), from a
//! fragment: the previous sample is extended instead.

use super::{
    boxes::{boxed, boxes, find},
    fragment::{Run, runs},
    samples::Tables,
};

/// What remains of a fragment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// All of it.
    All,
    /// This `moof` content.
    Some(Vec<u8>),
    /// Nothing.
    None,
}

/// The content of a `moof` without its empty samples, for the unchanged `mdat`. `None` if it is broken.
pub(super) fn without(moof: &[u8], header: &[u8]) -> Option<Left> {
    let mut tracks = Vec::new();
    for part in boxes(moof).filter(|part| part.name == b"traf") {
        let (_, runs) = runs(moof.get(part.content..part.end)?, header)?;
        tracks.push(runs);
    }
    let mut samples = tracks.iter().flatten().flat_map(|run| &run.samples);
    if samples.all(|(sample, _)| sample.size > 0) {
        return Some(Left::All);
    }
    tracks.iter_mut().for_each(take_out);
    if tracks.iter().all(Vec::is_empty) {
        return Some(Left::None);
    }
    // Data offsets change with the length of the `moof`.
    let length = rebuilt(moof, &tracks, 0)?.len();
    let moved = i64::try_from(length).ok()? - i64::try_from(moof.len()).ok()?;
    Some(Left::Some(rebuilt(moof, &tracks, moved)?))
}

/// Extends tracks to the end of their empty samples.
pub(super) fn extend(moof: &[u8], header: &[u8], tables: &mut Tables) -> Option<()> {
    for part in boxes(moof).filter(|part| part.name == b"traf") {
        let (track, runs) = runs(moof.get(part.content..part.end)?, header)?;
        let last = runs.iter().filter_map(|run| run.samples.last()).next_back();
        if let Some((last, _)) = last {
            let end = last.decode_time.checked_add(last.duration.into())?;
            tables.of(track).extend(end);
        }
    }
    Some(())
}

/// Rebuilds the content with these runs, and with data offsets changed by `moved`.
fn rebuilt(moof: &[u8], tracks: &[Vec<Run>], moved: i64) -> Option<Vec<u8>> {
    let mut new = Vec::with_capacity(moof.len());
    let mut tracks = tracks.iter();
    for part in boxes(moof) {
        if part.name != b"traf" {
            new.extend_from_slice(moof.get(part.start..part.end)?);
            continue;
        }
        let runs = tracks.next()?;
        if !runs.is_empty() {
            let traf = moof.get(part.content..part.end)?;
            new.extend_from_slice(&boxed(b"traf", &track(traf, runs, moved)?)?);
        }
    }
    Some(new)
}

/// Removes empty samples from the runs of a track, and runs that only consist of them.
fn take_out(runs: &mut Vec<Run>) {
    let mut kept = Vec::<Run>::new();
    for run in runs.drain(..) {
        let mut left = Run {
            samples: Vec::new(),
            ..run
        };
        for (sample, flags) in run.samples {
            if sample.size > 0 {
                left.samples.push((sample, flags));
                continue;
            }
            let before = kept.last_mut().map(|run| &mut run.samples);
            let before = left.samples.last_mut().or_else(|| before?.last_mut());
            if let Some((before, _)) = before {
                before.duration = before.duration.saturating_add(sample.duration);
            }
        }
        if !left.samples.is_empty() {
            kept.push(left);
        }
    }
    *runs = kept;
}

/// The content of a `traf` with these runs.
fn track(traf: &[u8], runs: &[Run], moved: i64) -> Option<Vec<u8>> {
    let first = runs.first()?.samples.first()?.0.decode_time;
    let mut new = boxed(b"tfhd", find(traf, &[b"tfhd"])?)?;
    let time = [&[1, 0, 0, 0], first.to_be_bytes().as_slice()].concat();
    new.extend_from_slice(&boxed(b"tfdt", &time)?);
    for run in runs {
        new.extend_from_slice(&boxed(b"trun", &run.content(moved)?)?);
    }
    Some(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `moof` of a track with samples of these durations and sizes.
    fn moof(samples: &[(u32, u32)]) -> Vec<u8> {
        let mut trun = vec![0, 0, 3, 1];
        trun.extend((samples.len() as u32).to_be_bytes());
        trun.extend(200u32.to_be_bytes());
        for (duration, size) in samples {
            trun.extend([duration.to_be_bytes(), size.to_be_bytes()].concat());
        }
        let tfhd = boxed(b"tfhd", &[0, 0, 0, 0, 0, 0, 0, 1]).unwrap();
        let tfdt = boxed(b"tfdt", &[0, 0, 0, 0, 0, 0, 0, 100]).unwrap();
        let traf = [tfhd, tfdt, boxed(b"trun", &trun).unwrap()].concat();
        boxed(b"traf", &traf).unwrap()
    }

    /// Decode time, duration and size of each sample, and the data offset.
    fn read(moof: &[u8]) -> (Vec<(u64, u32, u32)>, Option<i32>) {
        let traf = boxes(moof).find(|part| part.name == b"traf").unwrap();
        let (track, runs) = runs(&moof[traf.content..traf.end], &[]).unwrap();
        assert_eq!((track, runs.len()), (1, 1));
        let samples = runs[0].samples.iter();
        let samples = samples.map(|(sample, _)| (sample.decode_time, sample.duration, sample.size));
        (samples.collect(), runs[0].place)
    }

    #[test]
    fn empty_samples_are_removed_and_extend_the_previous_one() {
        let old = moof(&[(5, 0), (10, 7), (20, 0), (30, 0), (40, 9)]);
        let Some(Left::Some(new)) = without(&old, &[]) else {
            panic!();
        };
        let (samples, place) = read(&new);
        assert_eq!(samples, [(105, 60, 7), (165, 40, 9)]);
        let moved = new.len() as i32 - old.len() as i32;
        assert_eq!(place, Some(200 + moved));
    }

    #[test]
    fn other_headers_are_unchanged() {
        assert_eq!(without(&moof(&[(10, 7), (20, 8)]), &[]), Some(Left::All));
        assert_eq!(without(&moof(&[(10, 0), (20, 0)]), &[]), Some(Left::None));
        let whole = moof(&[(10, 0), (20, 8)]);
        for end in 0..whole.len() {
            let _ = without(&whole[..end], &[]);
        }
    }
}
