//! The index of a fragmented MP4 (`mfra`, ISO 14496-12, 8.8.9).

use crate::formats::boxes::{BOX_HEADER, boxed};

/// Position of a fragment of one track.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) track: u32,
    pub(super) decode_time: u64,
    pub(super) file: u64,
}

/// The `mfra` for fragments that start with a sync sample, in file order.
pub(super) fn mfra(places: &[Place]) -> Option<Vec<u8>> {
    let mut tracks: Vec<u32> = places.iter().map(|place| place.track).collect();
    tracks.sort_unstable();
    tracks.dedup();
    let mut content = Vec::new();
    for track in tracks {
        let places = || places.iter().filter(|place| place.track == track);
        let count = u32::try_from(places().count()).ok()?;
        // Version 1 has 64-bit times and offsets; traf, trun and sample numbers have one byte each.
        let head = [1 << 24, track, 0, count];
        let mut tfra: Vec<u8> = head.into_iter().flat_map(u32::to_be_bytes).collect();
        for place in places() {
            let entry = [place.decode_time, place.file];
            tfra.extend(entry.into_iter().flat_map(u64::to_be_bytes));
            // The first traf, trun and sample.
            tfra.extend([1, 1, 1]);
        }
        content.extend(boxed(b"tfra", &tfra)?);
    }
    // Readers find the index by its size, which is at the end of the file.
    let size = u32::try_from(BOX_HEADER + content.len() + 2 * BOX_HEADER).ok()?;
    content.extend(boxed(b"mfro", &[[0; 4], size.to_be_bytes()].concat())?);
    boxed(b"mfra", &content)
}
