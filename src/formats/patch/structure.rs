//! Separates container structure from media in a muxer's output by following the sizes of boxes and elements, never
//! by pattern matching, since a packet may contain any bytes.

use super::{mp4, number};
use crate::formats::ebml::{self, SEGMENT};

const CLUSTER: u64 = 0x1f43_b675;

/// Classification of a muxer's write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Media, or anything that cannot be distinguished from it.
    Media,
    /// Container structure, appended at the end.
    Structure(Option<Unit>),
    /// Overwrites earlier output.
    Again,
}

/// A cluster or a fragment starts: players can start there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    /// Number of its track, from 1, if it contains only one.
    pub track: Option<usize>,
}

/// Container syntax.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// Boxes (ISO 14496-12).
    Mp4,
    /// Elements (RFC 8794).
    Matroska,
}

/// Follows a muxer's writes.
#[derive(Debug)]
pub struct Structure {
    syntax: Option<Syntax>,
    /// Offset of the next box or element; `None` if it is not known any more.
    next: Option<u64>,
    /// End of the output so far.
    end: u64,
}

impl Structure {
    /// Starts with empty output; without a syntax, everything is media.
    pub fn new(syntax: Option<Syntax>) -> Self {
        Structure {
            syntax,
            next: syntax.map(|_| 0),
            end: 0,
        }
    }

    /// End of the output so far.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The muxer writes `buffer` at `position`.
    pub fn follow(&mut self, position: u64, buffer: &gst::BufferRef) -> Written {
        if position < self.end {
            return Written::Again;
        }
        self.end = position.saturating_add(buffer.size() as u64);
        let (Some(syntax), Some(next)) = (self.syntax, self.next) else {
            return Written::Media;
        };
        if position != next {
            // A box can only start where the previous one ended.
            self.next = Some(next).filter(|next| position < *next);
            return Written::Media;
        }
        let Ok(bytes) = buffer.map_readable() else {
            self.next = None;
            return Written::Media;
        };
        let ends = match syntax {
            Syntax::Mp4 => boxes_end(&bytes),
            Syntax::Matroska => elements_end(&bytes),
        };
        self.next = ends.and_then(|ends| position.checked_add(ends));
        Written::Structure(match syntax {
            Syntax::Mp4 => mp4::fragment(&bytes),
            Syntax::Matroska => cluster(&bytes),
        })
    }
}

/// End of the last box that starts in `bytes`, relative to their start; `None` if unknown.
fn boxes_end(bytes: &[u8]) -> Option<u64> {
    let mut at = 0;
    while at < bytes.len() as u64 {
        let start = usize::try_from(at).ok()?;
        let size = match number(bytes, start, 4)? {
            1 => number(bytes, start.checked_add(8)?, 8).filter(|size| *size >= 16)?,
            // mp4mux 1.22 writes this for empty samples.
            0 if bytes.get(start + 4..) == Some(b"mdat") => 8,
            size => Some(size).filter(|size| *size >= 8)?,
        };
        at = at.checked_add(size)?;
    }
    Some(at)
}

/// End of the last element that starts in `bytes`, relative to their start; `None` if unknown. The children of a
/// Segment, a Cluster, or an element of unknown size are followed one by one.
fn elements_end(bytes: &[u8]) -> Option<u64> {
    let mut at = 0;
    while at < bytes.len() as u64 {
        let (id, content, size) = ebml::header(bytes, usize::try_from(at).ok()?)?;
        let inside = matches!(id, SEGMENT | CLUSTER);
        let skipped = size.filter(|_| !inside).unwrap_or(0);
        at = (content as u64).checked_add(skipped)?;
    }
    Some(at)
}

/// The cluster that starts with these bytes.
fn cluster(bytes: &[u8]) -> Option<Unit> {
    let (id, ..) = ebml::header(bytes, 0)?;
    (id == CLUSTER).then_some(Unit { track: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(bytes: &[u8]) -> gst::Buffer {
        gst::Buffer::from_slice(bytes.to_vec())
    }

    /// Consecutive writes, and their classification.
    fn follow(syntax: Syntax, writes: &[&[u8]]) -> Vec<Written> {
        gst::init().unwrap();
        let mut structure = Structure::new(Some(syntax));
        let mut position = 0;
        writes
            .iter()
            .map(|write| {
                let written = structure.follow(position, &buffer(write));
                position += write.len() as u64;
                assert_eq!(structure.end(), position);
                written
            })
            .collect()
    }

    const NONE: Written = Written::Structure(None);

    #[test]
    fn media_in_boxes_is_not_parsed() {
        let moof = b"\0\0\0\x20moof\0\0\0\x18traf\0\0\0\x10tfhd\0\0\0\0\0\0\0\x02";
        let fragment = Written::Structure(Some(Unit { track: Some(2) }));
        let writes: [&[u8]; 9] = [
            b"\0\0\0\x0cftypiso5\0\0\0\x08moov",
            moof,
            b"\0\0\0\x30mdat",
            moof,
            b"\0\0\0\x08mfra",
            moof,
            b"\0\0\0\x01mdat\0\0\0\0\0\0\0\x30",
            moof,
            b"\0\0\0\x08mfra",
        ];
        let media = Written::Media;
        assert_eq!(
            follow(Syntax::Mp4, &writes),
            [
                NONE, fragment, NONE, media, media, fragment, NONE, media, NONE
            ]
        );
    }

    #[test]
    fn media_in_elements_is_not_parsed() {
        let unknown = [1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        let segment = [&[0x18, 0x53, 0x80, 0x67], unknown.as_slice()].concat();
        let cluster = [
            &[0x1f, 0x43, 0xb6, 0x75],
            unknown.as_slice(),
            &[0xe7, 0x81, 5],
        ]
        .concat();
        let block = [0xa3, 0x80 | (4 + 15), 0x81, 0, 0, 0x80];
        let group = [0xa0, 0x80 | (6 + 15), 0xa1, 0x80 | (4 + 15), 0x81, 0, 0, 0];
        let writes: [&[u8]; 9] = [
            &[0x1a, 0x45, 0xdf, 0xa3, 0x80],
            &segment,
            &cluster,
            &block,
            &cluster,
            &group,
            &cluster,
            &cluster,
            &[0x1c, 0x53, 0xbb, 0x6b, 0x80],
        ];
        let unit = Written::Structure(Some(Unit { track: None }));
        let media = Written::Media;
        assert_eq!(
            follow(Syntax::Matroska, &writes),
            [NONE, NONE, unit, NONE, media, NONE, media, unit, NONE]
        );
    }

    #[test]
    fn rewritten_or_unparsable_bytes_are_not_structure() {
        gst::init().unwrap();
        let mut structure = Structure::new(Some(Syntax::Mp4));
        let header = buffer(b"\0\0\0\x0cftypiso5");
        assert_eq!(structure.follow(0, &header), NONE);
        assert_eq!(structure.follow(0, &header), Written::Again);
        assert_eq!(structure.follow(4, &header), Written::Again);
        for broken in [
            b"\0\0\0\x07free".as_slice(),
            b"\0\0\0\0free",
            b"\0\0\0\0mdat\0",
            b"\0\0",
            b"\0\0\0\x01mdat",
        ] {
            let mut structure = Structure::new(Some(Syntax::Mp4));
            structure.follow(0, &buffer(broken));
            for position in [100, 112, 200] {
                assert_eq!(structure.follow(position, &header), Written::Media);
            }
        }
        let mut all_media = Structure::new(None);
        assert_eq!(all_media.follow(0, &header), Written::Media);
    }
}
