//! Matroska (RFC 9559): CodecDelay for each audio track whose encoder is late.
//!
//! matroskamux knows it for Opus alone, where it has been told another for the sake of its stamps
//! (see `session/opus.rs`). But it gives every audio track that has no title the name `Audio`, and a
//! default duration: either element is as long as the one that is missing.

use super::{number, structure::element};
use crate::formats::delay::{Delay, OPUS_PRE_SKIP, opus_length};

const SEGMENT: u64 = 0x1853_8067;
const TRACKS: u64 = 0x1654_ae6b;
const TRACK_ENTRY: u64 = 0xae;
const TRACK_TYPE: u64 = 0x83;
const AUDIO: u64 = 0xe1;
const SAMPLING_FREQUENCY: u64 = 0xb5;
const NAME: u64 = 0x536e;
const DEFAULT_DURATION: u64 = 0x23_e383;
const CODEC_DELAY: u64 = 0x56aa;
const CODEC_PRIVATE: u64 = 0x63a2;

/// The bytes with the delays in them, if they are the header; `None` if not.
pub fn patch(bytes: &[u8], delays: &[Delay]) -> Option<Vec<u8>> {
    let tracks = elements(bytes).find_map(|element| match element.id {
        TRACKS => Some(element),
        SEGMENT => inside(bytes, &element).find(|inner| inner.id == TRACKS),
        _ => None,
    })?;
    let mut new = bytes.to_vec();
    let mut delays = delays.iter();
    for entry in inside(bytes, &tracks).filter(|element| element.id == TRACK_ENTRY) {
        let field = |id| inside(bytes, &entry).find(|element| element.id == id);
        let value = |element: Part| number(bytes, element.content, element.end - element.content);
        if field(TRACK_TYPE).and_then(value) != Some(2) {
            continue;
        }
        let samples = match delays.next() {
            Some(Delay::Samples(samples)) => samples,
            Some(Delay::PreSkip(samples)) => {
                if let (Some(delay), Some(private)) = (field(CODEC_DELAY), field(CODEC_PRIVATE)) {
                    tell_pre_skip(&mut new, &delay, &private, *samples);
                }
                continue;
            }
            _ => continue,
        };
        let rate = field(AUDIO)
            .and_then(|audio| inside(bytes, &audio).find(|e| e.id == SAMPLING_FREQUENCY));
        let name = field(NAME).filter(|e| bytes.get(e.content..e.end) == Some(b"Audio".as_slice()));
        if let Some(rate) = rate.and_then(|e| float(bytes.get(e.content..e.end)?))
            && let Some(place) = name.or_else(|| field(DEFAULT_DURATION))
            && let Some(place) = new.get_mut(place.start..place.end)
        {
            let nanoseconds = (f64::from(*samples) * 1e9 / rate).round() as u64;
            fill(place, nanoseconds);
        }
    }
    Some(new)
}

/// Opus' delay as its header and as Matroska tells it; 0 is what they tell already.
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

/// A CodecDelay over all of `place`, if it fits.
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

/// An element: its identifier, where it begins, and where its content is.
struct Part {
    id: u64,
    start: usize,
    content: usize,
    end: usize,
}

fn inside<'a>(bytes: &'a [u8], element: &Part) -> impl Iterator<Item = Part> + use<'a> {
    let base = element.content;
    let content = bytes.get(base..element.end).unwrap_or_default();
    elements(content).map(move |part| Part {
        id: part.id,
        start: part.start + base,
        content: part.content + base,
        end: part.end + base,
    })
}

/// The elements in `bytes`; one that goes on beyond them, or whose size is unknown, ends there.
fn elements(bytes: &[u8]) -> impl Iterator<Item = Part> + use<'_> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let (id, content, size) = element(bytes, start)?;
        let end = match size.and_then(|size| usize::try_from(size).ok()) {
            Some(size) => content.saturating_add(size).min(bytes.len()),
            None => bytes.len(),
        };
        let part = Part {
            id,
            start,
            content,
            end,
        };
        start = end;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with an audio track: type, rate, and an element for `filling`.
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
    fn the_delay_stands_where_the_name_was() {
        for filling in [
            [0x53, 0x6e, 0x85, b'A', b'u', b'd', b'i', b'o'],
            [0x23, 0xe3, 0x83, 0x84, 1, 2, 3, 4],
        ] {
            let old = header(&filling);
            let new = patch(&old, &[Delay::Samples(1_588)]).unwrap();
            // 1588 samples are 33 083 333 ns.
            let expected = header(&[0x56, 0xaa, 0x85, 0, 0x01, 0xf8, 0xcf, 0xc5]);
            assert_eq!(new, expected);
            assert_eq!(patch(&old, &[Delay::None]), Some(old));
        }
        let titled = header(&[0x53, 0x6e, 0x85, b'R', b'a', b'd', b'i', b'o']);
        assert_eq!(patch(&titled, &[Delay::Samples(9)]), Some(titled));
    }

    #[test]
    fn the_pre_skip_stands_where_its_stand_in_was() {
        let opus = |samples: u16, nanoseconds: u32| {
            let mut filling = vec![0x63, 0xa2, 0x80 | 19];
            filling.extend_from_slice(b"OpusHead\x01\x02");
            filling.extend_from_slice(&samples.to_le_bytes());
            filling.extend_from_slice(&[0x80, 0xbb, 0, 0, 0, 0, 0, 0x56, 0xaa, 0x83]);
            filling.extend_from_slice(&nanoseconds.to_be_bytes()[1..]);
            header(&filling)
        };
        let old = opus(4, 83_333);
        let new = patch(&old, &[Delay::PreSkip(312)]).unwrap();
        assert_eq!(new, opus(312, 6_500_000));
        assert_eq!(patch(&old, &[Delay::PreSkip(0)]), Some(old));
    }

    #[test]
    fn what_is_no_header_is_left_alone() {
        let whole = header(&[0x53, 0x6e, 0x85, b'A', b'u', b'd', b'i', b'o']);
        for length in 0..whole.len() {
            let _ = patch(&whole[..length], &[Delay::Samples(1_588)]);
            let _ = patch(&whole[length..], &[Delay::Samples(1_588)]);
        }
        assert_eq!(patch(&[0x1f, 0x43, 0xb6, 0x75, 0x82, 0, 0], &[]), None);
        assert_eq!(patch(&[], &[]), None);
    }
}
