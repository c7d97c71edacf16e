//! Top-level data of a Matroska Segment (RFC 9559): its date, and the positions of its chapters.

use super::{Completion, number};
use crate::formats::{
    chapters::{Chapter, Reserve, Syntax, chapters_element},
    ebml::{CHAPTERS, Part, SEGMENT, children, elements, void},
};

const SEEK_HEAD: u64 = 0x114d_9b74;
const SEEK: u64 = 0x4dbb;
const SEEK_ID: u64 = 0x53ab;
const INFO: u64 = 0x1549_a966;
const DATE_UTC: u64 = 0x4461;
/// A Seek element for the chapters, up to the eight bytes of the position.
const SEEK_CHAPTERS: [u8; 20] = [
    0x4d, 0xbb, 0x01, 0, 0, 0, 0, 0, 0, 18, 0x53, 0xab, 0x84, 0x10, 0x43, 0xa7, 0x70, 0x53, 0xac,
    0x88,
];
/// DateUTC counts nanoseconds from 2001.
const EPOCH: i64 = 978_307_200_000_000_000;

/// Offsets in a file with one Segment.
#[derive(Debug, Clone, Copy)]
pub struct Segment {
    /// Offset of its size field of eight bytes.
    size_at: u64,
    /// Origin of positions within it.
    begin: u64,
    /// Offset of the Seek element for the chapters.
    seek_at: Option<u64>,
}

impl Segment {
    /// Parses the start of a Segment that the muxer writes at `position`. Its Chapters element becomes the reserve; its
    /// date is set to `date`, in nanoseconds since 1970.
    pub fn begin(
        position: u64,
        bytes: &mut [u8],
        date: Option<i64>,
    ) -> Option<(Self, Option<Reserve>)> {
        let segment = elements(bytes).find(|element| element.id == SEGMENT)?;
        let parts: Vec<_> = children(bytes, &segment).collect();
        let part = |id| parts.iter().find(|part| part.id == id);
        let seek = part(SEEK_HEAD).and_then(|seek_head| {
            let mut entries = children(bytes, seek_head).filter(|entry| entry.id == SEEK);
            entries.find(|entry| names_chapters(bytes, entry))
        });
        let seek = seek.filter(|seek| seek.end - seek.start == SEEK_CHAPTERS.len() + 8);
        let this = Segment {
            size_at: position + segment.content.checked_sub(8)? as u64,
            begin: position + segment.content as u64,
            seek_at: seek.map(|seek| position + seek.start as u64),
        };
        let dated = part(INFO).and_then(|info| {
            let mut fields = children(bytes, info);
            fields.find(|field| field.id == DATE_UTC)
        });
        let chapters = part(CHAPTERS).map(|chapters| chapters.start..chapters.end);
        if let (Some(date), Some(field)) = (date, dated)
            && let Some(place) = bytes.get_mut(field.content..field.end)
            && place.len() == 8
        {
            place.copy_from_slice(&date.saturating_sub(EPOCH).to_be_bytes());
        }
        let reserve = chapters.and_then(|place| {
            let at = position + place.start as u64;
            let reserve = Reserve::new(Syntax::Matroska, at, place.len())?;
            bytes.get_mut(place)?.copy_from_slice(reserve.bytes());
            Some(reserve)
        });
        Some((this, reserve))
    }

    /// The Seek element for chapters at offset `at`, or a Void element in its place.
    pub fn seek_entry(&self, at: Option<u64>) -> Option<(u64, Vec<u8>)> {
        let entry = match at {
            Some(at) => {
                let place = at.checked_sub(self.begin)?;
                [&SEEK_CHAPTERS[..], &place.to_be_bytes()].concat()
            }
            None => void(SEEK_CHAPTERS.len() + 8)?,
        };
        Some((self.seek_at?, entry))
    }
}

fn names_chapters(bytes: &[u8], entry: &Part) -> bool {
    let id = children(bytes, entry).find(|field| field.id == SEEK_ID);
    id.and_then(|id| number(bytes, id.content, id.end - id.content)) == Some(CHAPTERS)
}

/// Chapters to append at the end.
#[derive(Debug)]
pub struct Ending {
    pub(super) segment: Segment,
    pub(super) chapters: Vec<Chapter>,
    /// Space in the head, to be cleared then.
    pub(super) reserve: Option<Reserve>,
}

impl Ending {
    /// Lowest offset that is overwritten.
    pub fn head(&self) -> u64 {
        self.segment.size_at
    }

    /// Completes a file of `length` bytes.
    pub fn complete(&mut self, length: u64) -> Option<Completion> {
        let chapters = chapters_element(&self.chapters);
        let size = length.checked_add(chapters.len() as u64)?;
        let size = size.checked_sub(self.segment.begin)?;
        // An eight-byte size: the first byte is the length marker.
        let size = (size | 1 << 56).to_be_bytes().to_vec();
        let mut patches = vec![(self.segment.size_at, size)];
        patches.extend(self.segment.seek_entry(Some(length)));
        if let Some(reserve) = &mut self.reserve {
            patches.extend(reserve.rewrite(&[], 0).patches);
        }
        Some(Completion::new(chapters, patches))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_segment_header_gets_a_date() {
        let seek = [&SEEK_CHAPTERS[..], &[0xff; 8]].concat();
        let info = [&[0x44, 0x61, 0x88][..], &[1; 8]].concat();
        let mut head = vec![
            0x18, 0x53, 0x80, 0x67, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        ];
        head.extend([0x11, 0x4d, 0x9b, 0x74, 0x80 | 28]);
        head.extend(&seek);
        head.extend([0x15, 0x49, 0xa9, 0x66, 0x80 | 11]);
        head.extend(&info);
        head.extend([0x10, 0x43, 0xa7, 0x70, 0xc0, 0, 1, 2]);
        let whole = head.clone();
        let (segment, reserve) = Segment::begin(40, &mut head, Some(EPOCH + 5)).unwrap();
        let reserve = reserve.unwrap();
        assert_eq!((segment.size_at, segment.begin), (44, 52));
        assert_eq!(segment.seek_at, Some(57));
        assert_eq!(reserve.at(), 40 + head.len() as u64 - 8);
        assert_eq!(head[head.len() - 8..], [0xec, 0x86, 0, 0, 0, 0, 0, 0]);
        assert_eq!(head[head.len() - 16..head.len() - 8], 5u64.to_be_bytes());
        let (at, entry) = segment.seek_entry(Some(100)).unwrap();
        assert_eq!((at, entry.len()), (57, 28));
        assert_eq!(entry[20..], 48u64.to_be_bytes());
        for length in 0..whole.len() {
            let _ = Segment::begin(0, &mut whole[..length].to_vec(), Some(0));
            let _ = Segment::begin(0, &mut whole[length..].to_vec(), None);
        }
    }
}
