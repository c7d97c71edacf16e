//! Matroska (RFC 9559): sets CodecDelay for audio tracks with an encoder delay, adds missing elements to video tracks,
//! and restores the text of tags.
//!
//! matroskamux only writes CodecDelay for Opus, where its caps have a placeholder because of the timestamps
//! (see `session/fixups/opus.rs`). But it gives every audio track without a title the Name `Audio` and a
//! DefaultDuration: either of these elements has the same length as the missing one, and is replaced by it.

mod alpha;
mod track_entry;

pub use alpha::{Blocks, Followed, join};

use super::{VideoTrack, number};
use crate::formats::{
    delay::{Delay, OPUS_PRE_SKIP, opus_length},
    ebml::{self, Part, SEGMENT, VOID, children, elements, id},
};
use track_entry::Additions;

const TAGS: u64 = 0x1254_c367;
const TAG: u64 = 0x7373;
const SIMPLE_TAG: u64 = 0x67c8;
const TAG_STRING: u64 = 0x4487;
const SIMPLE_BLOCK: u64 = 0xa3;
const BLOCK_GROUP: u64 = 0xa0;
const BLOCK: u64 = 0xa1;
const TRACKS: u64 = 0x1654_ae6b;
const TRACK_ENTRY: u64 = 0xae;
const TRACK_NUMBER: u64 = 0xd7;
const TRACK_TYPE: u64 = 0x83;
const AUDIO: u64 = 0xe1;
const SAMPLING_FREQUENCY: u64 = 0xb5;
const NAME: u64 = 0x536e;
const DEFAULT_DURATION: u64 = 0x23_e383;
const CODEC_DELAY: u64 = 0x56aa;
const CODEC_PRIVATE: u64 = 0x63a2;

/// What the header has to signal for the tracks, in the order of the muxer's pads.
pub struct HeaderFields<'a> {
    pub delays: &'a [Delay],
    pub video_tracks: &'a [VideoTrack],
}

impl HeaderFields<'_> {
    /// Whether there is anything to signal.
    pub fn is_needed(&self) -> bool {
        let delayed = self.delays.iter().any(|delay| *delay != Delay::None);
        delayed
            || self
                .video_tracks
                .iter()
                .any(|track| additions(track) != Additions::default())
    }
}

fn additions(track: &VideoTrack) -> Additions {
    Additions {
        alpha: track.alpha,
        hdr: track.hdr,
        turn: track.turn,
    }
}

/// Patches the bytes if they contain the header; `None` if not. Tracks with alpha are added to `blocks`.
pub fn patch(bytes: &[u8], fields: &HeaderFields<'_>, blocks: &mut Blocks) -> Option<Vec<u8>> {
    let tracks = elements(bytes).find_map(|element| match element.id {
        TRACKS => Some(element),
        SEGMENT => children(bytes, &element).find(|inner| inner.id == TRACKS),
        _ => None,
    })?;
    let mut new = bytes.to_vec();
    let (mut delays, mut video_tracks) = (fields.delays.iter(), fields.video_tracks.iter());
    for entry in children(bytes, &tracks).filter(|element| element.id == TRACK_ENTRY) {
        let field = |id| children(bytes, &entry).find(|element| element.id == id);
        let value = |element: Part| number(bytes, element.content, element.end - element.content);
        match field(TRACK_TYPE).and_then(value) {
            Some(1) => {
                let Some(video) = video_tracks.next() else {
                    continue;
                };
                let whole = bytes.get(entry.start..entry.end);
                let changed =
                    whole.and_then(|whole| track_entry::with_additions(whole, &additions(video)));
                if let (Some(changed), Some(place)) = (changed, new.get_mut(entry.start..entry.end))
                {
                    place.copy_from_slice(&changed);
                }
                if let (true, Some(track)) = (video.alpha, field(TRACK_NUMBER).and_then(value)) {
                    blocks.add(track);
                }
            }
            Some(2) => tell_delay(bytes, &mut new, &entry, delays.next()),
            _ => {}
        }
    }
    Some(new)
}

/// Sets the delay in an audio track's entry.
fn tell_delay(bytes: &[u8], new: &mut [u8], entry: &Part, delay: Option<&Delay>) {
    let field = |id| children(bytes, entry).find(|element| element.id == id);
    let samples = match delay {
        Some(Delay::Samples(samples)) => samples,
        Some(Delay::PreSkip(samples)) => {
            if let (Some(delay), Some(private)) = (field(CODEC_DELAY), field(CODEC_PRIVATE)) {
                tell_pre_skip(new, &delay, &private, *samples);
            }
            return;
        }
        _ => return,
    };
    let rate =
        field(AUDIO).and_then(|audio| children(bytes, &audio).find(|e| e.id == SAMPLING_FREQUENCY));
    let name = field(NAME).filter(|e| bytes.get(e.content..e.end) == Some(b"Audio".as_slice()));
    if let Some(rate) = rate.and_then(|e| float(bytes.get(e.content..e.end)?))
        && let Some(place) = name.or_else(|| field(DEFAULT_DURATION))
        && let Some(place) = new.get_mut(place.start..place.end)
    {
        let nanoseconds = (f64::from(*samples) * 1e9 / rate).round() as u64;
        fill(place, nanoseconds);
    }
}

/// Restores the text of tags if the bytes are tags, alone or in the header; `None` if they are not, or need no change.
/// matroskamux 1.22 writes text with blanks as GStreamer serialises values: quoted and with backslash escapes.
///
/// `in_tags`: the Tags element has started in an earlier buffer.
pub fn patch_tags(bytes: &[u8], in_tags: bool) -> Option<Vec<u8>> {
    let first = elements(bytes).next()?;
    if in_tags && first.id == TAG_STRING {
        let plain = unserialised(bytes.get(first.content..first.end)?)?;
        let mut new = bytes.to_vec();
        pad(new.get_mut(first.content..first.end)?, &plain);
        return Some(new);
    }
    if first.id != SEGMENT && first.id != TAGS {
        return None;
    }
    let mut new = bytes.to_vec();
    let mut changed = false;
    let found = elements(bytes).filter(|element| matches!(element.id, SEGMENT | TAGS));
    let inner = |element: &Part, id| {
        let parts = children(bytes, element).filter(move |part| part.id == id);
        parts.collect::<Vec<_>>()
    };
    let all = found.flat_map(|element| match element.id {
        TAGS => vec![element],
        _ => inner(&element, TAGS),
    });
    let tags = all.flat_map(|tags| inner(&tags, TAG));
    let simple = tags.flat_map(|tag| inner(&tag, SIMPLE_TAG));
    for text in simple.flat_map(|tag| inner(&tag, TAG_STRING)) {
        let content = bytes.get(text.content..text.end);
        if let Some(plain) = content.and_then(unserialised)
            && let Some(place) = new.get_mut(text.content..text.end)
        {
            pad(place, &plain);
            changed = true;
        }
    }
    changed.then_some(new)
}

/// Whether these bytes start the Tags element.
pub fn begins_tags(bytes: &[u8]) -> bool {
    bytes.starts_with(&(TAGS as u32).to_be_bytes())
}

/// Whether these bytes are an empty block, which keeps matroskamux from waiting for a track during a gap
/// (`session/fixups/gaps.rs`).
pub fn is_empty_block(bytes: &[u8]) -> bool {
    // Track number in one byte, timestamp, flags (RFC 9559, 10.1).
    const HEAD: u64 = 4;
    match ebml::header(bytes, 0) {
        Some((SIMPLE_BLOCK, _, size)) => size == Some(HEAD),
        Some((BLOCK_GROUP, mut at, Some(_))) => {
            // The Block is the last child; its content is in the next buffer.
            while let Some((id, content, Some(size))) = ebml::header(bytes, at) {
                if id == BLOCK {
                    return size == HEAD;
                }
                at = content.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
            }
            false
        }
        _ => false,
    }
}

/// Turns an element with a one-byte ID into a Void element (RFC 8794, 11.3.2).
pub fn voided(bytes: &[u8]) -> Vec<u8> {
    [&id(VOID), bytes.get(1..).unwrap_or_default()].concat()
}

/// Overwrites a longer text, and pads the rest with zeros (RFC 8794, 7.4).
fn pad(place: &mut [u8], text: &[u8]) {
    let padded = text.iter().copied().chain(std::iter::repeat(0));
    place
        .iter_mut()
        .zip(padded)
        .for_each(|(to, from)| *to = from);
}

/// The text that `gst_value_serialize` has quoted; `None` if it is not quoted.
fn unserialised(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|byte| *byte != 0)? + 1;
    let inside = text.get(..end)?.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let mut plain = Vec::with_capacity(inside.len());
    let mut rest = inside;
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'\\' {
            plain.push(*first);
            continue;
        }
        // Three octal digits, or a literal byte.
        let digit = |at: usize| behind.get(at).filter(|byte| (b'0'..=b'7').contains(*byte));
        match (digit(0), digit(1), digit(2)) {
            (Some(a), Some(b), Some(c)) => {
                let [a, b, c] = [a, b, c].map(|digit| u32::from(digit - b'0'));
                plain.push((a << 6 | b << 3 | c) as u8);
                rest = behind.get(3..)?;
            }
            _ => {
                let (byte, behind) = behind.split_first()?;
                plain.push(*byte);
                rest = behind;
            }
        }
    }
    (!plain.is_empty()).then_some(plain)
}

/// Sets the Opus pre-skip in CodecPrivate and CodecDelay; 0 means that both are right already.
fn tell_pre_skip(bytes: &mut [u8], delay: &Part, private: &Part, samples: u16) {
    let header = bytes.get_mut(private.content..private.end);
    if samples > 0
        && let Some(header) = header.filter(|header| header.starts_with(b"OpusHead"))
        && let Some(skip) = header.get_mut(OPUS_PRE_SKIP)
    {
        skip.copy_from_slice(&samples.to_le_bytes());
        if let Some(place) = bytes.get_mut(delay.start..delay.end) {
            fill(place, opus_length(samples.into()));
        }
    }
}

/// Fills `place` with a CodecDelay element, if the value fits.
fn fill(place: &mut [u8], nanoseconds: u64) {
    let Some(width) = place
        .len()
        .checked_sub(3)
        .filter(|width| (1..=8).contains(width))
    else {
        return;
    };
    if nanoseconds.leading_zeros() as usize / 8 < 8 - width {
        return;
    }
    let id = (CODEC_DELAY as u16).to_be_bytes();
    let value = nanoseconds.to_be_bytes();
    let value = value.iter().skip(8 - width);
    let all = id.iter().chain(std::iter::once(&0x80)).chain(value);
    for (to, from) in place.iter_mut().zip(all) {
        *to = *from;
    }
    if let Some(size) = place.get_mut(2) {
        *size |= width as u8;
    }
}

fn float(content: &[u8]) -> Option<f64> {
    let rate = match content.len() {
        4 => f64::from(f32::from_be_bytes(*content.first_chunk()?)),
        _ => f64::from_be_bytes(*content.first_chunk()?),
    };
    (rate.is_finite() && rate >= 1.0).then_some(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(bytes: &[u8], delay: Delay) -> Option<Vec<u8>> {
        let fields = HeaderFields {
            delays: &[delay],
            video_tracks: &[],
        };
        patch(bytes, &fields, &mut Blocks::default())
    }

    #[test]
    fn only_empty_blocks_become_void() {
        let simple = [0xa3, 0x84, 0x81, 0, 5, 0];
        assert!(is_empty_block(&simple));
        assert_eq!(voided(&simple), [0xec, 0x84, 0x81, 0, 5, 0]);
        let group = [0xa0, 0x89, 0x9b, 0x81, 7, 0xa1, 0x84, 0x81, 0, 5, 0];
        assert!(is_empty_block(&group));
        let others: [&[u8]; 6] = [
            // Their content is in the next buffer.
            &[0xa3, 0x85, 0x81, 0, 5, 0],
            &[0xa0, 0x8a, 0x9b, 0x81, 7, 0xa1, 0x85, 0x81, 0, 5, 0],
            &[0xa0, 0x83, 0x9b, 0x81, 7],
            &[0xec, 0x84, 0x81, 0, 5, 0],
            &[0xa3],
            &[],
        ];
        for other in others {
            assert!(!is_empty_block(other), "{other:?}");
        }
    }

    /// A header with an audio track: type, rate, and a `filling` element.
    fn header(filling: &[u8]) -> Vec<u8> {
        let mut entry = vec![0x83, 0x81, 2];
        entry.extend_from_slice(filling);
        entry.extend_from_slice(&[0xe1, 0x8a, 0xb5, 0x88]);
        entry.extend_from_slice(&48_000f64.to_be_bytes());
        let mut tracks = vec![0xae, 0x80 | entry.len() as u8];
        tracks.extend(entry);
        let mut all = vec![0x18, 0x53, 0x80, 0x67, 0x01];
        all.extend_from_slice(&[0xff; 7]);
        all.extend_from_slice(&[0x16, 0x54, 0xae, 0x6b, 0x80 | tracks.len() as u8]);
        all.extend(tracks);
        all
    }

    #[test]
    fn the_codec_delay_replaces_the_name() {
        for filling in [
            [0x53, 0x6e, 0x85, b'A', b'u', b'd', b'i', b'o'],
            [0x23, 0xe3, 0x83, 0x84, 1, 2, 3, 4],
        ] {
            let old = header(&filling);
            let new = patched(&old, Delay::Samples(1_588)).unwrap();
            // 1588 samples are 33 083 333 ns.
            let expected = header(&[0x56, 0xaa, 0x85, 0, 0x01, 0xf8, 0xcf, 0xc5]);
            assert_eq!(new, expected);
            assert_eq!(patched(&old, Delay::None), Some(old));
        }
        let titled = header(&[0x53, 0x6e, 0x85, b'R', b'a', b'd', b'i', b'o']);
        assert_eq!(patched(&titled, Delay::Samples(9)), Some(titled));
    }

    #[test]
    fn the_pre_skip_replaces_its_placeholder() {
        let opus = |samples: u16, nanoseconds: u32| {
            let mut filling = vec![0x63, 0xa2, 0x80 | 19];
            filling.extend_from_slice(b"OpusHead\x01\x02");
            filling.extend_from_slice(&samples.to_le_bytes());
            filling.extend_from_slice(&[0x80, 0xbb, 0, 0, 0, 0, 0, 0x56, 0xaa, 0x83]);
            filling.extend_from_slice(&nanoseconds.to_be_bytes()[1..]);
            header(&filling)
        };
        let old = opus(4, 83_333);
        let new = patched(&old, Delay::PreSkip(312)).unwrap();
        assert_eq!(new, opus(312, 6_500_000));
        assert_eq!(patched(&old, Delay::PreSkip(0)), Some(old));
    }

    #[test]
    fn the_text_of_tags_is_unchanged() {
        let tag = |text: &[u8]| {
            let string = [&[0x44, 0x87, 0x80 | text.len() as u8], text].concat();
            let simple = [&[0x67, 0xc8, 0x80 | string.len() as u8], string.as_slice()].concat();
            let tag = [&[0x73, 0x73, 0x80 | simple.len() as u8], simple.as_slice()].concat();
            [
                &[0x12, 0x54, 0xc3, 0x67, 0x80 | tag.len() as u8],
                tag.as_slice(),
            ]
            .concat()
        };
        let escaped = tag(b"\"My\\ \\\"S\\303\\266ng\\\"\"\0");
        let plain = tag("My \"S\u{f6}ng\"\0\0\0\0\0\0\0\0\0\0\0\0".as_bytes());
        assert_eq!(patch_tags(&escaped, false), Some(plain));
        assert_eq!(patch_tags(&tag(b"MySong\0"), false), None);
        for length in 0..escaped.len() {
            let _ = patch_tags(&escaped[..length], length % 2 == 0);
        }
        assert_eq!(patch_tags(&header(&[]), false), None);
    }

    #[test]
    fn other_bytes_than_headers_are_unchanged() {
        let whole = header(&[0x53, 0x6e, 0x85, b'A', b'u', b'd', b'i', b'o']);
        for length in 0..whole.len() {
            let _ = patched(&whole[..length], Delay::Samples(1_588));
            let _ = patched(&whole[length..], Delay::Samples(1_588));
        }
        assert_eq!(
            patched(&[0x1f, 0x43, 0xb6, 0x75, 0x82, 0, 0], Delay::None),
            None
        );
        assert_eq!(patched(&[], Delay::None), None);
    }
}
