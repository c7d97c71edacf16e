//! WAV: appends chunks for chapters that do not fit into the head.

use super::Completion;
use crate::formats::chapters::{Chapter, Reserve, riff_chunks};

/// Offset of the RIFF size, which excludes the first 8 bytes of the file.
const SIZE_AT: u64 = 4;
const BEFORE_SIZE: u64 = 8;

/// Chapters to append at the end.
#[derive(Debug)]
pub struct Ending {
    pub(super) chapters: Vec<Chapter>,
    pub(super) rate: u32,
    /// Space in the head, to be cleared then.
    pub(super) reserve: Option<Reserve>,
}

impl Ending {
    /// Completes a file of `length` bytes.
    pub fn complete(&mut self, length: u64) -> Option<Completion> {
        let chunks = riff_chunks(&self.chapters, self.rate)?;
        // Chunks are aligned to even offsets.
        let filler = vec![0; usize::from(length % 2 == 1)];
        let appended = [filler, chunks].concat();
        let size = length.checked_add(appended.len() as u64)?;
        let size = u32::try_from(size.checked_sub(BEFORE_SIZE)?).ok()?;
        let mut patches = vec![(SIZE_AT, size.to_le_bytes().to_vec())];
        if let Some(reserve) = &mut self.reserve {
            patches.extend(reserve.rewrite(&[], 0).patches);
        }
        Some(Completion::new(appended, patches))
    }
}
