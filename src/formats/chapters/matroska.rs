//! Matroska's `Chapters` (RFC 9559, 5.1.7), with the elements that WebM allows.

use super::Chapter;

const CHAPTERS: &[u8] = &[0x10, 0x43, 0xa7, 0x70];
const EDITION_ENTRY: &[u8] = &[0x45, 0xb9];
const CHAPTER_ATOM: &[u8] = &[0xb6];
const CHAPTER_UID: &[u8] = &[0x73, 0xc4];
const CHAPTER_TIME_START: &[u8] = &[0x91];
const CHAPTER_DISPLAY: &[u8] = &[0x80];
const CHAP_STRING: &[u8] = &[0x85];
const CHAP_LANGUAGE: &[u8] = &[0x43, 0x7c];
const VOID: u8 = 0xec;
/// No language is known.
const UNDETERMINED: &[u8] = b"und";

/// An element with a size field of four bytes.
fn element(id: &[u8], content: &[u8]) -> Option<Vec<u8>> {
    let size = u32::try_from(content.len())
        .ok()
        .filter(|size| *size < (1 << 28) - 1)?;
    Some([id, &(size | 1 << 28).to_be_bytes(), content].concat())
}

/// One whose content has less than 127 bytes.
fn short(id: &[u8], content: &[u8]) -> Vec<u8> {
    let size = u8::try_from(content.len()).unwrap_or(u8::MAX);
    [id, &[0x80 | size], content].concat()
}

/// All of them in one edition.
pub(super) fn chapters(chapters: &[Chapter]) -> Option<Vec<u8>> {
    let mut atoms = Vec::new();
    let mut next = 0;
    for (number, chapter) in (1u32..).zip(chapters) {
        // FFmpeg shows only the first of chapters that start together.
        let start = chapter.start.max(next);
        next = start.saturating_add(1);
        let display = [
            element(CHAP_STRING, chapter.cut_title(usize::MAX).as_bytes())?,
            short(CHAP_LANGUAGE, UNDETERMINED),
        ];
        let atom = [
            short(CHAPTER_UID, &number.to_be_bytes()),
            short(CHAPTER_TIME_START, &start.to_be_bytes()),
            element(CHAPTER_DISPLAY, &display.concat())?,
        ];
        atoms.extend(element(CHAPTER_ATOM, &atom.concat())?);
    }
    element(CHAPTERS, &element(EDITION_ENTRY, &atoms)?)
}

/// These chapters in `room` bytes.
pub(super) fn encode(all: &[Chapter], room: usize) -> Option<Vec<u8>> {
    let mut bytes = match all {
        [] => Vec::new(),
        all => chapters(all)?,
    };
    let rest = room.checked_sub(bytes.len())?;
    bytes.extend(void(rest)?);
    Some(bytes)
}

/// An element of `length` bytes that nobody reads; `None` for a single byte, which is none.
pub(crate) fn void(length: usize) -> Option<Vec<u8>> {
    let mut bytes = match length {
        0 => return Some(Vec::new()),
        1 => return None,
        2..=127 => vec![VOID, 0x80 | u8::try_from(length - 2).ok()?],
        _ => {
            let size = u32::try_from(length - 5).ok()?;
            [&[VOID][..], &(size | 1 << 28).to_be_bytes()].concat()
        }
    };
    bytes.resize(length, 0);
    Some(bytes)
}
