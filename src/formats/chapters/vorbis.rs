//! Vorbis comments (<https://xiph.org/vorbis/doc/v-comment.html>) with chapters as `CHAPTERxxx`
//! (<https://wiki.xiph.org/Chapter_Extension>), in FLAC metadata and in Ogg packets.

use super::Chapter;
use crate::formats::flac;

/// Chapter numbers have three digits.
const MAX_CHAPTERS: usize = 1000;

/// A comment list, with the codec's framing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comments {
    /// Bytes before the list.
    prefix: Vec<u8>,
    /// The vendor string, with its length field.
    vendor: Vec<u8>,
    count: u32,
    /// The comments, with their length fields.
    entries: Vec<u8>,
    /// Bytes after the list.
    suffix: Vec<u8>,
}

fn little(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(field.try_into().ok()?))
}

impl Comments {
    /// Parses a packet with `prefix` bytes before its comment list and `suffix` bytes after it.
    /// `None` if it is not a valid list.
    pub fn parse(packet: &[u8], prefix: usize, suffix: usize) -> Option<Self> {
        let string = |at: usize| {
            let length = usize::try_from(little(packet, at)?).ok()?;
            let end = at.checked_add(4)?.checked_add(length)?;
            (end <= packet.len()).then_some(end)
        };
        let vendor_end = string(prefix)?;
        let count = little(packet, vendor_end)?;
        let begin = vendor_end.checked_add(4)?;
        let mut end = begin;
        for _ in 0..count {
            end = string(end)?;
        }
        Some(Comments {
            prefix: packet.get(..prefix)?.to_vec(),
            vendor: packet.get(prefix..vendor_end)?.to_vec(),
            count,
            entries: packet.get(begin..end)?.to_vec(),
            suffix: packet.get(end..end.checked_add(suffix)?)?.to_vec(),
        })
    }

    /// The packet with these chapters, without padding.
    pub fn with_chapters(&self, chapters: &[Chapter]) -> Option<Vec<u8>> {
        if chapters.len() > MAX_CHAPTERS {
            return None;
        }
        let added = u32::try_from(2 * chapters.len()).ok()?;
        let count = self.count.checked_add(added)?;
        let mut packet = [&self.prefix[..], &self.vendor, &count.to_le_bytes()].concat();
        packet.extend_from_slice(&self.entries);
        for (number, chapter) in chapters.iter().enumerate() {
            let ms = chapter.milliseconds();
            let (s, ms) = (ms / 1000, ms % 1000);
            let (m, s) = (s / 60, s % 60);
            let (h, m) = (m / 60, m % 60);
            let title = chapter.cut_title(usize::MAX);
            for comment in [
                format!("CHAPTER{number:03}={h:02}:{m:02}:{s:02}.{ms:03}"),
                format!("CHAPTER{number:03}NAME={title}"),
            ] {
                let length = u32::try_from(comment.len()).ok()?;
                packet.extend_from_slice(&length.to_le_bytes());
                packet.extend_from_slice(comment.as_bytes());
            }
        }
        packet.extend_from_slice(&self.suffix);
        Some(packet)
    }
}

/// A comment block and a padding block, `room` bytes in total. `is_last`: no metadata blocks follow.
pub(super) fn encode_flac(
    comments: &Comments,
    is_last: bool,
    chapters: &[Chapter],
    room: usize,
) -> Option<Vec<u8>> {
    let mut bytes = flac::comment_block(&comments.with_chapters(chapters)?)?;
    let padding = room.checked_sub(bytes.len())?;
    bytes.extend(flac::padding_block(padding, is_last)?);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(comments: &[&str]) -> Vec<u8> {
        let mut packet = b"OpusTags\x04\0\0\0maker".to_vec();
        packet.truncate(16);
        packet.extend((comments.len() as u32).to_le_bytes());
        for comment in comments {
            packet.extend((comment.len() as u32).to_le_bytes());
            packet.extend(comment.as_bytes());
        }
        packet
    }

    #[test]
    fn chapters_are_appended_to_existing_metadata() {
        let comments = Comments::parse(&packet(&["TITLE=a"]), 8, 0).unwrap();
        let chapter = Chapter {
            start: 3_723_004_499_999,
            title: "\u{e9}".into(),
        };
        let expected = packet(&[
            "TITLE=a",
            "CHAPTER000=01:02:03.004",
            "CHAPTER000NAME=\u{e9}",
        ]);
        assert_eq!(comments.with_chapters(&[chapter]), Some(expected));
    }

    #[test]
    fn codec_data_after_the_comments_is_preserved() {
        let framed = [&packet(&["A=b"]), &[1u8][..]].concat();
        let comments = Comments::parse(&framed, 8, 1).unwrap();
        assert_eq!(comments.with_chapters(&[]), Some(framed.clone()));
        assert_eq!(Comments::parse(&framed[..framed.len() - 1], 8, 1), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..80), prefix in 0usize..10
        ) {
            if let Some(comments) = Comments::parse(&bytes, prefix, 0) {
                let again = comments.with_chapters(&[]).unwrap();
                prop_assert!(bytes.starts_with(&again));
            }
        }
    }
}
