//! Blocks with an alpha channel: a colour packet, and an alpha packet as `BlockAdditional` (RFC 9559, 5.1.3.5.2.3).
//!
//! matroskamux does not write block additions. It receives both packets joined, with a trailer: the resulting
//! `SimpleBlock` is converted to a `BlockGroup` of the same length.

use crate::formats::{ebml, patch::number};
use std::collections::BTreeMap;

const SIMPLE_BLOCK: u64 = 0xa3;
const BLOCK_GROUP: u64 = 0xa0;
const BLOCK: u64 = 0xa1;
const BLOCK_ADDITIONS: u64 = 0x75a1;
const BLOCK_MORE: u64 = 0xa6;
const BLOCK_ADD_ID: u64 = 0xee;
const BLOCK_ADDITIONAL: u64 = 0xa5;
const REFERENCE_BLOCK: u64 = 0xfb;
const CLUSTER: u64 = 0x1f43_b675;
const TIMESTAMP: u64 = 0xe7;
const KEY: u8 = 0x80;
/// No encoder produces longer blocks.
const MAX_LENGTH: usize = 1 << 24;

/// Length of the trailer: sufficient for the overhead of a `BlockGroup` over a `SimpleBlock`.
const TRAILER: usize = 64;
/// Start of the trailer, followed by the sizes of both packets.
const MAGIC: &[u8; 16] = b"\0colour + alpha\0";

/// Joins both packets into one.
pub fn join(colour: &[u8], alpha: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(colour.len() + alpha.len() + TRAILER);
    joined.extend_from_slice(colour);
    joined.extend_from_slice(alpha);
    joined.extend_from_slice(MAGIC);
    for length in [colour.len(), alpha.len()] {
        joined.extend_from_slice(&(length as u64).to_be_bytes());
    }
    joined.resize(colour.len() + alpha.len() + TRAILER, 0);
    joined
}

/// Splits a packet that [`join`] has created.
fn split(joined: &[u8]) -> Option<(&[u8], &[u8])> {
    let (packets, trailer) = joined.split_at_checked(joined.len().checked_sub(TRAILER)?)?;
    let sizes = trailer.strip_prefix(MAGIC)?;
    let colour = usize::try_from(number(sizes, 0, 8)?).ok()?;
    let alpha = usize::try_from(number(sizes, 8, 8)?).ok()?;
    let packets = packets.split_at_checked(colour)?;
    (packets.1.len() == alpha).then_some(packets)
}

/// Finds blocks of tracks with alpha in the muxer's output, and converts them to groups.
#[derive(Debug, Default)]
pub struct Blocks {
    /// Timestamp of the last block of each track, by track number.
    tracks: BTreeMap<u64, Option<i64>>,
    cluster: i64,
    /// An incomplete block, and its total length.
    pending: Option<(Vec<u8>, usize)>,
}

/// What to do with some bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Followed {
    /// They do not belong to a block with alpha.
    Same,
    /// They belong to a block that is still incomplete.
    Withheld,
    /// They complete a block, which is returned as a whole.
    Whole(Vec<u8>),
}

impl Blocks {
    /// Registers a track whose blocks may have alpha.
    pub fn add(&mut self, track: u64) {
        self.tracks.insert(track, None);
    }

    /// Whether there is an incomplete block.
    pub fn are_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Processes the muxer's next bytes.
    pub fn follow(&mut self, bytes: &[u8]) -> Followed {
        if self.tracks.is_empty() {
            return Followed::Same;
        }
        if let Some((mut block, length)) = self.pending.take() {
            block.extend_from_slice(bytes);
            return self.complete(block, length);
        }
        match ebml::header(bytes, 0) {
            Some((CLUSTER, content, _)) => {
                let time = ebml::header(bytes, content);
                let time = time.filter(|(id, ..)| *id == TIMESTAMP);
                let time =
                    time.and_then(|(_, at, size)| number(bytes, at, usize::try_from(size?).ok()?));
                self.cluster = time.and_then(|time| i64::try_from(time).ok()).unwrap_or(0);
                Followed::Same
            }
            Some((SIMPLE_BLOCK, content, Some(size))) => {
                let length = usize::try_from(size)
                    .ok()
                    .and_then(|size| content.checked_add(size));
                let track = ebml::vint(bytes, content).map(|(track, _)| track);
                let length = length.filter(|length| *length <= MAX_LENGTH);
                match (length, track) {
                    (Some(length), Some(track)) if self.tracks.contains_key(&track) => {
                        self.complete(bytes.to_vec(), length)
                    }
                    _ => Followed::Same,
                }
            }
            _ => Followed::Same,
        }
    }

    fn complete(&mut self, block: Vec<u8>, length: usize) -> Followed {
        if block.len() < length {
            self.pending = Some((block, length));
            return Followed::Withheld;
        }
        let group = self.group(&block);
        Followed::Whole(group.unwrap_or(block))
    }

    /// A `BlockGroup` of the same length as this `SimpleBlock`; `None` if the block has no alpha.
    fn group(&mut self, block: &[u8]) -> Option<Vec<u8>> {
        let (_, content, _) = ebml::header(block, 0)?;
        let (track, at) = ebml::vint(block, content)?;
        let time = i16::from_be_bytes(*block.get(at..)?.first_chunk()?);
        let flags = *block.get(at + 2)?;
        let time = self.cluster + i64::from(time);
        let before = self.tracks.get_mut(&track)?.replace(time);
        let (colour, alpha) = split(block.get(at + 3..)?)?;
        let head = block.get(content..at + 2)?;
        let inner = [head, &[flags & !KEY], colour].concat();
        let additional = ebml::element(BLOCK_ADDITIONAL, alpha);
        let more = [ebml::element(BLOCK_ADD_ID, &[1]), additional].concat();
        let more = ebml::element(BLOCK_MORE, &more);
        let mut group = ebml::element(BLOCK, &inner);
        group.extend(ebml::element(BLOCK_ADDITIONS, &more));
        if flags & KEY == 0 {
            // Not a keyframe: it references the previous block.
            let reference = before.map_or(-1, |before| before - time);
            group.extend(ebml::element(REFERENCE_BLOCK, &signed(reference)));
        }
        (1..=8).find_map(|width| {
            let room = block.len().checked_sub(1 + width)?;
            let void = ebml::void(room.checked_sub(group.len())?)?;
            let size = ebml::size(room, width)?;
            Some([ebml::id(BLOCK_GROUP).as_slice(), &size, &group, &void].concat())
        })
    }
}

/// A signed integer in as few bytes as possible.
fn signed(value: i64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let fits = |bits: u32| value >> (bits - 1) == value >> 63;
    let width = (1..8).find(|width| fits(8 * width)).unwrap_or(8);
    bytes.into_iter().skip(8 - width as usize).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn simple_block(track: u8, time: i16, flags: u8, content: &[u8]) -> Vec<u8> {
        let head = [&[0x80 | track], time.to_be_bytes().as_slice(), &[flags]].concat();
        ebml::element(SIMPLE_BLOCK, &[&head, content].concat())
    }

    fn blocks() -> Blocks {
        let mut blocks = Blocks::default();
        blocks.add(2);
        blocks
    }

    #[test]
    fn a_block_with_alpha_becomes_a_block_group_of_the_same_length() {
        let mut blocks = blocks();
        let cluster = [0x1f, 0x43, 0xb6, 0x75, 0x83, 0xe7, 0x81, 100];
        assert_eq!(blocks.follow(&cluster), Followed::Same);
        let simple = simple_block(2, 5, KEY, &join(b"colour", b"alpha"));
        let (head, content) = simple.split_at(7);
        assert_eq!(blocks.follow(head), Followed::Withheld);
        let Followed::Whole(group) = blocks.follow(content) else {
            panic!("not whole");
        };
        let expected = [
            &[0xa0, 0x80 | 79, 0xa1, 0x8a, 0x82, 0, 5, 0],
            b"colour".as_slice(),
            &[0x75, 0xa1, 0x8c, 0xa6, 0x8a, 0xee, 0x81, 1, 0xa5, 0x85],
            b"alpha",
            &[0xec],
        ]
        .concat();
        assert_eq!(group.len(), simple.len());
        assert!(group.starts_with(&expected), "{group:x?}");
        // A delta frame is marked by its ReferenceBlock.
        let delta = simple_block(2, 45, 0, &join(b"c", b"a"));
        let Followed::Whole(group) = blocks.follow(&delta) else {
            panic!("not whole");
        };
        assert_eq!(group.len(), delta.len());
        assert!(group.windows(3).any(|bytes| bytes == [0xfb, 0x81, 0xd8]));
    }

    #[test]
    fn other_blocks_are_unchanged() {
        let mut blocks = blocks();
        let other = simple_block(1, 0, KEY, &join(b"colour", b"alpha"));
        assert_eq!(blocks.follow(&other), Followed::Same);
        let plain = simple_block(2, 0, KEY, b"no alpha");
        assert_eq!(blocks.follow(&plain), Followed::Whole(plain.clone()));
        assert_eq!(Blocks::default().follow(&other), Followed::Same);
    }

    #[test]
    fn signed_integers_are_short() {
        for (value, bytes) in [
            (-1, vec![0xff]),
            (-40, vec![0xd8]),
            (-300, vec![0xfe, 0xd4]),
        ] {
            assert_eq!(signed(value), bytes);
        }
        assert_eq!(signed(i64::MIN).len(), 8);
    }

    proptest! {
        #[test]
        fn lengths_do_not_change(
            colour in 0usize..70_000,
            alpha in 0usize..70_000,
            time in any::<i16>(),
            flags in any::<u8>(),
            wide in 1usize..=8,
        ) {
            let content = join(&vec![1; colour], &vec![2; alpha]);
            let head = [&[0x82], time.to_be_bytes().as_slice(), &[flags]].concat();
            let inner = [head, content].concat();
            prop_assume!(ebml::size(inner.len(), wide).is_some());
            let size = ebml::size(inner.len(), wide).unwrap();
            let block = [&[0xa3], size.as_slice(), &inner].concat();
            let Followed::Whole(group) = blocks().follow(&block) else {
                panic!("not whole");
            };
            prop_assert_eq!(group.len(), block.len());
            prop_assert_eq!(group[0], 0xa0);
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(writes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..9)) {
            let mut blocks = blocks();
            for write in writes {
                blocks.follow(&write);
            }
        }
    }
}
