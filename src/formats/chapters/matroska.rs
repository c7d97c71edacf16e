//! Matroska's `Chapters` (RFC 9559, 5.1.7), restricted to the elements that WebM allows.

use super::Chapter;
use crate::formats::ebml::{CHAPTERS, element, void};

const EDITION_ENTRY: u64 = 0x45b9;
const CHAPTER_ATOM: u64 = 0xb6;
const CHAPTER_UID: u64 = 0x73c4;
const CHAPTER_TIME_START: u64 = 0x91;
const CHAPTER_DISPLAY: u64 = 0x80;
const CHAP_STRING: u64 = 0x85;
const CHAP_LANGUAGE: u64 = 0x437c;
/// Undetermined language.
const UNDETERMINED: &[u8] = b"und";

/// A `Chapters` element with all chapters in one edition.
pub fn chapters_element(chapters: &[Chapter]) -> Vec<u8> {
    let mut atoms = Vec::new();
    let mut next = 0;
    for (number, chapter) in (1u32..).zip(chapters) {
        // FFmpeg only reads the first of several chapters with the same start time.
        let start = chapter.start.max(next);
        next = start.saturating_add(1);
        let display = [
            element(CHAP_STRING, chapter.cut_title(usize::MAX).as_bytes()),
            element(CHAP_LANGUAGE, UNDETERMINED),
        ];
        let atom = [
            element(CHAPTER_UID, &number.to_be_bytes()),
            element(CHAPTER_TIME_START, &start.to_be_bytes()),
            element(CHAPTER_DISPLAY, &display.concat()),
        ];
        atoms.extend(element(CHAPTER_ATOM, &atom.concat()));
    }
    element(CHAPTERS, &element(EDITION_ENTRY, &atoms))
}

/// Encodes the chapters in `room` bytes.
pub(super) fn encode(all: &[Chapter], room: usize) -> Option<Vec<u8>> {
    let mut bytes = match all {
        [] => Vec::new(),
        all => chapters_element(all),
    };
    let rest = room.checked_sub(bytes.len())?;
    bytes.extend(void(rest)?);
    Some(bytes)
}
