//! `chpl`, the chapter list introduced by Nero and supported by most other players.

use super::Chapter;
use crate::formats::boxes::{BOX_HEADER, boxed};

/// It has one byte for the number of chapters, and one for the length of each title.
pub const MAX_CHPL: usize = 255;
/// Times are in units of 100 ns.
const UNIT: u64 = 100;

/// The box with these chapters; `None` if there are too many.
pub fn chpl(chapters: &[Chapter]) -> Option<Vec<u8>> {
    // Version 1, no flags, reserved.
    let mut content = vec![1, 0, 0, 0, 0, 0, 0, 0];
    content.push(u8::try_from(chapters.len()).ok()?);
    for chapter in chapters {
        let title = chapter.cut_title(usize::from(u8::MAX));
        content.extend_from_slice(&(chapter.start / UNIT).to_be_bytes());
        content.push(u8::try_from(title.len()).ok()?);
        content.extend_from_slice(title.as_bytes());
    }
    boxed(b"chpl", &content)
}

/// Encodes the chapters in `room` bytes.
pub(super) fn encode(chapters: &[Chapter], room: usize) -> Option<Vec<u8>> {
    let mut bytes = match chapters {
        [] => Vec::new(),
        chapters => chpl(chapters)?,
    };
    match room.checked_sub(bytes.len())? {
        0 => {}
        rest => {
            let filler = rest.checked_sub(BOX_HEADER)?;
            bytes.extend(boxed(b"free", &vec![0; filler])?);
        }
    }
    Some(bytes)
}
