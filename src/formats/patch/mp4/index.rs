//! The index of a fragmented MP4 (`mfra`, ISO 14496-12, 8.8.9).

use crate::formats::boxes::{BOX_HEADER, boxed};

/// Where a fragment of one track is.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) track: u32,
    pub(super) decode_time: u64,
    pub(super) file: u64,
}

/// The `mfra` of fragments with whose first sample decoding can begin, in the order of the file.
pub(super) fn mfra(places: &[Place]) -> Option<Vec<u8>> {
    let mut tracks: Vec<u32> = places.iter().map(|place| place.track).collect();
    tracks.sort_unstable();
    tracks.dedup();
    let mut content = Vec::new();
    for track in tracks {
        let places = || places.iter().filter(|place| place.track == track);
        let count = u32::try_from(places().count()).ok()?;
        // Version 1 has wide times and places; three numbers of one byte.
        let head = [1 << 24, track, 0, count];
        let mut tfra: Vec<u8> = head.into_iter().flat_map(u32::to_be_bytes).collect();
        for place in places() {
            let entry = [place.decode_time, place.file];
            tfra.extend(entry.into_iter().flat_map(u64::to_be_bytes));
            // Its first track, run and sample.
            tfra.extend([1, 1, 1]);
        }
        content.extend(boxed(b"tfra", &tfra)?);
    }
    // By its size, which stands at the end, the index is found.
    let size = u32::try_from(BOX_HEADER + content.len() + 2 * BOX_HEADER).ok()?;
    content.extend(boxed(b"mfro", &[[0; 4], size.to_be_bytes()].concat())?);
    boxed(b"mfra", &content)
}
