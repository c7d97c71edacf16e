//! The index of a fragmented MP4 (`mfra`, ISO 14496-12, 8.8.9), with its fragments where they are in the file.

use super::boxes::{boxed, boxes};
use crate::formats::patch::number;

/// Where a fragment of one track is.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) track: u64,
    pub(super) decode_time: u64,
    /// Where the muxer believes it to be.
    pub(super) muxer: u64,
    pub(super) file: u64,
}

/// The muxer's `mfra` with each fragment where it is in the file. What mp4mux 1.22 gets wrong in it: version 1,
/// which has wide fields, with narrow ones; and in the last entry of each track no place, for a
/// fragment that there may not even be. `places` are in the order of the file.
pub(super) fn mfra(old: &[u8], places: &[Place]) -> Option<Vec<u8>> {
    let content = old.get(8..)?;
    let mut new = Vec::new();
    for part in boxes(content).filter(|part| part.name == b"tfra") {
        let old = content.get(part.content..part.end)?;
        if let Some(fixed) = tfra(old, places) {
            new.extend_from_slice(&boxed(b"tfra", &fixed)?);
        }
    }
    // By its size, which stands at the end, the index is found.
    let size = u32::try_from(8 + new.len() + 16).ok()?.to_be_bytes();
    new.extend_from_slice(&boxed(b"mfro", &[&[0; 4], size.as_slice()].concat())?);
    boxed(b"mfra", &new)
}

fn tfra(tfra: &[u8], places: &[Place]) -> Option<Vec<u8>> {
    let track = number(tfra, 4, 4)?;
    let lengths = number(tfra, 8, 4)?;
    let numbers: u64 = [4, 2, 0].iter().map(|bit| (lengths >> bit & 3) + 1).sum();
    let numbers = usize::try_from(numbers).ok()?;
    let entries = usize::try_from(number(tfra, 12, 4)?).ok()?;
    let fits = |wide: &usize| {
        let size = entries.checked_mul(2 * wide + numbers);
        size.and_then(|size| size.checked_add(16)) == Some(tfra.len())
    };
    let wide = [8, 4].into_iter().find(fits)?;
    let mut count = 0u32;
    let mut list = Vec::new();
    for entry in tfra.get(16..)?.chunks_exact(2 * wide + numbers) {
        let time = number(entry, 0, wide)?;
        let place = match number(entry, wide, wide)? {
            0 => {
                let at = |place: &&Place| (place.track, place.decode_time) == (track, time);
                places.iter().find(at)
            }
            muxer => {
                let index = places.partition_point(|place| place.muxer < muxer);
                places.get(index).filter(|place| place.muxer == muxer)
            }
        };
        let Some(place) = place else {
            continue;
        };
        count += 1;
        list.extend_from_slice(&time.to_be_bytes());
        list.extend_from_slice(&place.file.to_be_bytes());
        list.extend_from_slice(entry.get(2 * wide..)?);
    }
    let mut new = vec![1, 0, 0, 0];
    new.extend_from_slice(tfra.get(4..12)?);
    new.extend_from_slice(&count.to_be_bytes());
    new.extend_from_slice(&list);
    Some(new)
}
