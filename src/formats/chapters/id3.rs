//! Chapters in ID3v2.4 (ID3v2 Chapter Frame Addendum 1.0): a `CHAP` frame for each, and `CTOC` frames that list them.

use super::{Chapter, to_milliseconds};
use crate::{formats::mp3::id3_frame, model::timeline::Ns};

/// A `CTOC` frame has one byte for the number of entries.
const MAX_ENTRIES: usize = 255;
/// Byte offsets are not used.
const NO_OFFSET: [u8; 4] = [0xff; 4];
/// FFmpeg parses the size of an embedded frame as in ID3v2.3, and fails at 128 bytes or more, text encoding included.
const MAX_TITLE: usize = 126;
const TOP_LEVEL: u8 = 2;
const ORDERED: u8 = 1;

/// A `CTOC` frame: it refers to elements by zero-terminated IDs.
fn list(name: &str, flags: u8, entries: &[String]) -> Vec<u8> {
    let count = u8::try_from(entries.len()).unwrap_or(u8::MAX);
    let mut content = [name.as_bytes(), &[0, flags, count]].concat();
    for entry in entries {
        content.extend_from_slice(entry.as_bytes());
        content.push(0);
    }
    id3_frame(b"CTOC", &content)
}

fn lists(names: &[String]) -> Option<Vec<u8>> {
    if names.len() <= MAX_ENTRIES {
        return Some(list("toc", TOP_LEVEL | ORDERED, names));
    }
    let parts = names.chunks(MAX_ENTRIES).enumerate();
    let parts: Vec<_> = parts
        .map(|(number, names)| (format!("toc{number}"), names))
        .collect();
    let of_parts: Vec<_> = parts.iter().map(|(name, _)| name.clone()).collect();
    if of_parts.len() > MAX_ENTRIES {
        return None;
    }
    let mut all = list("toc", TOP_LEVEL | ORDERED, &of_parts);
    for (name, names) in parts {
        all.extend(list(&name, ORDERED, names));
    }
    Some(all)
}

/// Encodes the chapters, the last of which ends at `end`, in `room` bytes.
pub(super) fn encode(chapters: &[Chapter], end: Ns, room: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let names: Vec<_> = (0..chapters.len()).map(|n| format!("ch{n}")).collect();
    if !chapters.is_empty() {
        bytes = lists(&names)?;
    }
    let starts = chapters.iter().map(Chapter::milliseconds);
    let ends = starts.clone().skip(1).chain([to_milliseconds(end)]);
    for (((chapter, name), start), end) in chapters.iter().zip(&names).zip(starts).zip(ends) {
        let mut content = [name.as_bytes(), &[0]].concat();
        for time in [start, end.max(start)] {
            content.extend_from_slice(&u32::try_from(time).ok()?.to_be_bytes());
        }
        content.extend_from_slice(&NO_OFFSET);
        content.extend_from_slice(&NO_OFFSET);
        // UTF-8.
        let title = [&[3], chapter.cut_title(MAX_TITLE).as_bytes()].concat();
        content.extend(id3_frame(b"TIT2", &title));
        bytes.extend(id3_frame(b"CHAP", &content));
    }
    if bytes.len() > room {
        return None;
    }
    bytes.resize(room, 0);
    Some(bytes)
}
