//! Comments in Ogg (RFC 3533): the comment packet is padded before it reaches the muxer, and its pages are later
//! rewritten with new checksums.

use super::{Chapter, Comments};
use crate::formats::flac;

/// Size of a page header without its segment table.
const PAGE_HEAD: usize = 27;
const CHECKSUM: std::ops::Range<usize> = 22..26;
/// Header flag: the page starts with a continued packet.
const CONTINUED: u8 = 1;

/// Number of bytes before and after the comment list in a codec's comment packet.
fn frame_of(packet: &[u8]) -> Option<(usize, usize)> {
    const FRAMES: [(&[u8], usize, usize); 4] = [
        (b"OpusTags", 8, 0),
        // The framing bit.
        (b"\x03vorbis", 7, 1),
        (b"\x81theora", 7, 0),
        (b"OVP80\x02 ", 7, 0),
    ];
    let known = FRAMES.iter().find(|(magic, ..)| packet.starts_with(magic));
    match known {
        Some((_, prefix, suffix)) => Some((*prefix, *suffix)),
        None => packet
            .first()
            .filter(|first| flac::has_comments(**first))
            .map(|_| (flac::BLOCK_HEADER, 0)),
    }
}

/// Adds `room` bytes of padding to a comment packet; `None` for any other packet.
pub fn padded_comments(packet: &[u8], room: usize) -> Option<Vec<u8>> {
    let (prefix, suffix) = frame_of(packet)?;
    let comments = Comments::parse(packet, prefix, suffix)?;
    let mut padded = comments.with_chapters(&[])?;
    padded.resize(padded.len().checked_add(room)?, 0);
    if prefix != flac::BLOCK_HEADER {
        return Some(padded);
    }
    // A metadata block starts with its size; its last-block flag is kept.
    let mut block = flac::comment_block(padded.get(prefix..)?)?;
    *block.first_mut()? = *padded.first()?;
    Some(block)
}

/// The pages that contain a padded comment packet, from its first page to its last.
#[derive(Debug, Default)]
pub struct CommentPages {
    /// The pages, concatenated.
    bytes: Vec<u8>,
    /// Offset of each page.
    pages: Vec<usize>,
    comments: Option<Comments>,
    /// Size of the packet.
    length: usize,
}

/// Progress of the search for a comment packet.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// Not found in these pages.
    None,
    /// The packet continues in the next page.
    More,
    /// The packet is complete.
    Whole,
}

struct Page<'a> {
    bytes: &'a [u8],
    continued: bool,
    serial: &'a [u8],
    segments: &'a [u8],
    body: &'a [u8],
}

impl<'a> Page<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let head = bytes
            .get(..PAGE_HEAD)
            .filter(|head| head.starts_with(b"OggS"))?;
        let count = usize::from(*head.get(26)?);
        let body = PAGE_HEAD + count;
        let segments = bytes.get(PAGE_HEAD..body)?;
        let length: usize = segments.iter().map(|length| usize::from(*length)).sum();
        Some(Page {
            bytes: bytes.get(..body + length)?,
            continued: head.get(5)? & CONTINUED != 0,
            serial: head.get(14..18)?,
            segments,
            body: bytes.get(body..body + length)?,
        })
    }

    /// Size of the first packet in this page, and whether it ends here.
    fn first_packet(&self) -> (usize, bool) {
        let whole = self.segments.iter().position(|length| *length < 255);
        let of_it = self
            .segments
            .iter()
            .take(whole.map_or(usize::MAX, |at| at + 1));
        let length = of_it.map(|length| usize::from(*length)).sum();
        (length, whole.is_some())
    }
}

impl CommentPages {
    /// Processes the muxer's next page. `padding`: minimum padding of the packet to find.
    pub fn add(&mut self, page: &[u8], padding: usize) -> Progress {
        let Some(page) = Page::parse(page).filter(|parsed| parsed.bytes.len() == page.len()) else {
            return self.give_up();
        };
        let begins = !page.continued && frame_of(page.body).is_some();
        let goes_on = page.continued
            && Page::parse(&self.bytes).is_some_and(|first| first.serial == page.serial);
        if begins {
            *self = CommentPages::default();
        } else if !goes_on {
            return self.give_up();
        }
        self.pages.push(self.bytes.len());
        self.bytes.extend_from_slice(page.bytes);
        let (length, ends) = page.first_packet();
        self.length += length;
        if !ends {
            return Progress::More;
        }
        match self.read(padding) {
            Some(comments) => {
                self.comments = Some(comments);
                Progress::Whole
            }
            None => self.give_up(),
        }
    }

    fn give_up(&mut self) -> Progress {
        *self = CommentPages::default();
        Progress::None
    }

    /// Total size of the pages.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    fn read(&self, padding: usize) -> Option<Comments> {
        let mut packet = Vec::new();
        for start in &self.pages {
            packet.extend_from_slice(Page::parse(self.bytes.get(*start..)?)?.body);
        }
        let packet = packet.get(..self.length)?;
        let (prefix, suffix) = frame_of(packet)?;
        let comments = Comments::parse(packet, prefix, suffix)?;
        let plain = comments.with_chapters(&[])?;
        (self.length.checked_sub(plain.len())? >= padding).then_some(comments)
    }

    /// The pages with these chapters.
    pub(super) fn encode(&self, chapters: &[Chapter]) -> Option<Vec<u8>> {
        let mut packet = self.comments.as_ref()?.with_chapters(chapters)?;
        if packet.len() > self.length {
            return None;
        }
        packet.resize(self.length, 0);
        let mut bytes = self.bytes.clone();
        let mut rest = packet.as_slice();
        for start in &self.pages {
            let old = Page::parse(self.bytes.get(*start..)?)?;
            let (length, page_length) = (old.first_packet().0, old.bytes.len());
            let body = page_length - old.body.len();
            let page = bytes.get_mut(*start..*start + page_length)?;
            let (now, later) = rest.split_at_checked(length)?;
            page.get_mut(body..body + length)?.copy_from_slice(now);
            rest = later;
            page.get_mut(CHECKSUM)?.fill(0);
            let checksum = crc32(page).to_le_bytes();
            page.get_mut(CHECKSUM)?.copy_from_slice(&checksum);
        }
        Some(bytes)
    }
}

/// Ogg's CRC: not reflected, initial value 0.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut n = 0;
        while n < 256 {
            let mut crc = (n as u32) << 24;
            let mut bit = 0;
            while bit < 8 {
                crc = (crc << 1) ^ if crc >> 31 == 0 { 0 } else { 0x04c1_1db7 };
                bit += 1;
            }
            table[n] = crc;
            n += 1;
        }
        table
    };
    bytes.iter().fold(0, |crc, byte| {
        let at = usize::from((crc >> 24) as u8 ^ byte);
        crc << 8 ^ TABLE.get(at).copied().unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(serial: u8, continued: bool, body: &[u8], ends: bool) -> Vec<u8> {
        let mut segments = vec![255; body.len() / 255];
        if ends {
            segments.push((body.len() % 255) as u8);
        }
        let mut page = b"OggS\0".to_vec();
        page.push(u8::from(continued));
        page.extend([0; 8]);
        page.extend([serial, 0, 0, 0]);
        page.extend([0; 8]);
        page.push(segments.len() as u8);
        page.extend(segments);
        page.extend(body);
        let checksum = crc32(&page).to_le_bytes();
        page[CHECKSUM].copy_from_slice(&checksum);
        page
    }

    #[test]
    fn checksums_match_ogg() {
        // CRC-32/MPEG-2 in the CRC catalogue has an initial value of all ones; this is CRC-32/CKSUM without its final
        // steps.
        assert_eq!(crc32(b"123456789"), 0x89a1_897f);
    }

    #[test]
    fn a_packet_across_two_pages_is_rewritten_in_both() {
        let plain = b"OpusTags\0\0\0\0\0\0\0\0";
        let padded = padded_comments(plain, 600).unwrap();
        let head = page(7, false, b"OpusHead", true);
        let pages = [
            page(7, false, &padded[..510], false),
            page(7, true, &padded[510..], true),
        ];
        let mut found = CommentPages::default();
        assert_eq!(found.add(&head, 600), Progress::None);
        assert_eq!(found.add(&pages[0], 600), Progress::More);
        assert_eq!(found.add(&page(8, true, b"", true), 600), Progress::None);
        assert_eq!(found.add(&pages[0], 600), Progress::More);
        assert_eq!(found.add(&pages[1], 600), Progress::Whole);
        assert_eq!(found.encode(&[]), Some(pages.concat()));
        let chapter = Chapter {
            start: 0,
            title: "x".repeat(530),
        };
        let new = found.encode(std::slice::from_ref(&chapter)).unwrap();
        let mut again = CommentPages::default();
        let at = pages[0].len();
        assert_eq!(again.add(&new[..at], 0), Progress::More);
        assert_eq!(again.add(&new[at..], 0), Progress::Whole);
        assert_eq!(found.encode(&[chapter.clone(), chapter]), None);
        assert_eq!(
            CommentPages::default().add(&pages[0][..9], 0),
            Progress::None
        );
    }

    #[test]
    fn each_codec_has_its_comments_in_a_separate_packet() {
        let list = b"\x01\0\0\0v\0\0\0\0";
        for (head, tail) in [
            (&b"OpusTags"[..], &b""[..]),
            (b"\x03vorbis", b"\x01"),
            (b"\x81theora", b""),
            (b"OVP80\x02 ", b""),
        ] {
            let packet = [head, list, tail].concat();
            let padded = padded_comments(&packet, 3).unwrap();
            assert_eq!(padded, [&packet[..], &[0, 0, 0]].concat());
        }
        let flac = [&b"\x84\0\0\x09"[..], list].concat();
        let padded = padded_comments(&flac, 3).unwrap();
        assert_eq!(padded, [&b"\x84\0\0\x0c"[..], list, &[0, 0, 0]].concat());
        assert_eq!(padded_comments(b"OpusHead", 3), None);
    }
}
