//! Samples without content, which keep mp4mux going while a track stays away (`session/fixups/gaps.rs`), taken out of a
//! fragment: the sample before lasts longer.

use super::{
    boxes::{boxed, boxes, find},
    fragment::{Run, runs},
    samples::Tables,
};

/// What is left of a fragment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// All of it.
    All,
    /// This content of its `moof`.
    Some(Vec<u8>),
    /// Nothing.
    None,
}

/// The content of a `moof` without samples that have no content, in front of the same `mdat`. `None` if it is broken.
pub(super) fn without(moof: &[u8], header: &[u8]) -> Option<Left> {
    let Some((without, tracks)) = rebuilt(moof, header, 0)? else {
        return Some(Left::All);
    };
    if tracks == 0 {
        return Some(Left::None);
    }
    // What its data is counted from has come nearer, or gone further away.
    let moved = i64::try_from(without.len()).ok()? - i64::try_from(moof.len()).ok()?;
    let (moved, _) = rebuilt(moof, header, moved)??;
    Some(Left::Some(moved))
}

/// Tracks last until the end of those samples, too.
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

/// The content anew, with places of data `moved`, and how many tracks are left in it; `None` inside if all stays.
fn rebuilt(moof: &[u8], header: &[u8], moved: i64) -> Option<Option<(Vec<u8>, usize)>> {
    let mut new = Vec::with_capacity(moof.len());
    let (mut tracks, mut changed) = (0, false);
    for part in boxes(moof) {
        if part.name != b"traf" {
            new.extend_from_slice(moof.get(part.start..part.end)?);
            continue;
        }
        let traf = moof.get(part.content..part.end)?;
        let (_, mut runs) = runs(traf, header)?;
        changed |= take_out(&mut runs);
        if !runs.is_empty() {
            tracks += 1;
            new.extend_from_slice(&boxed(b"traf", &track(traf, &runs, moved)?)?);
        }
    }
    Some(changed.then_some((new, tracks)))
}

/// Takes samples without content out of the runs of a track, and runs that have no others; whether there were any.
fn take_out(runs: &mut Vec<Run>) -> bool {
    let mut kept = Vec::<Run>::new();
    let mut any = false;
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
            any = true;
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
    any
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
