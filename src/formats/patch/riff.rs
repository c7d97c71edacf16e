//! WAV: chunks of chapters at the end, for those that have no room in the head.

use super::Completion;
use crate::formats::chapters::{Chapter, Reserve, riff_chunks};

/// Where the size of the file is, less the 8 bytes that end with it.
const SIZE_AT: u64 = 4;
const BEFORE_SIZE: u64 = 8;

/// Chapters that go behind the last byte.
#[derive(Debug)]
pub struct Ending {
    pub(super) chapters: Vec<Chapter>,
    pub(super) rate: u32,
    /// What has to be emptied then.
    pub(super) reserve: Option<Reserve>,
}

impl Ending {
    /// What completes a file of `length` bytes.
    pub fn complete(&mut self, length: u64) -> Option<Completion> {
        let chunks = riff_chunks(&self.chapters, self.rate)?;
        // A chunk begins at an even byte.
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
