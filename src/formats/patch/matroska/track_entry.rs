//! Adds elements that matroskamux does not write to the `TrackEntry` of a video track (RFC 9559, 5.1.4.1), without
//! changing its length.
//!
//! matroskamux writes master elements with eight-byte sizes: shortening these frees space for more elements, and a Void
//! element takes what is left of it.

use crate::{
    formats::{
        ebml::{self, Part},
        hdr::HdrMetadata,
    },
    model::Orientation,
};

const NAME: u64 = 0x536e;
const VIDEO: u64 = 0xe0;
const ALPHA_MODE: u64 = 0x53c0;
const COLOUR: u64 = 0x55b0;
const MAX_CLL: u64 = 0x55bc;
const MAX_FALL: u64 = 0x55bd;
const MASTERING_METADATA: u64 = 0x55d0;
/// The first of ten consecutive IDs.
const PRIMARY_R_CHROMATICITY_X: u64 = 0x55d1;
const PROJECTION: u64 = 0x7670;
const PROJECTION_TYPE: u64 = 0x7671;
const PROJECTION_POSE_YAW: u64 = 0x7673;
const PROJECTION_POSE_ROLL: u64 = 0x7675;

/// What to add to a `TrackEntry`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Additions {
    /// `BlockAdditional`s contain an alpha channel.
    pub alpha: bool,
    pub hdr: HdrMetadata,
    /// Orientation to signal.
    pub turn: Orientation,
}

/// An element with its children.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Element {
    id: u64,
    content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    Master(Vec<Element>),
    Bytes(Vec<u8>),
}

/// The entry with the additions and its original length; `None` if there is nothing to add, or no space.
pub fn with_additions(entry: &[u8], additions: &Additions) -> Option<Vec<u8>> {
    if *additions == Additions::default() {
        return None;
    }
    let whole = ebml::elements(entry).next()?;
    let mut root = Element::read(entry, &whole, true)?;
    let video = root.master(VIDEO)?;
    if additions.alpha {
        video.set_bytes(ALPHA_MODE, vec![1]);
    }
    if additions.turn != Orientation::default() {
        video.set(PROJECTION, projection(additions.turn));
    }
    video.set_hdr(&additions.hdr);
    root.fit(entry.len()).or_else(|| {
        // This name only repeats the track type.
        root.remove(NAME, b"Video");
        root.fit(entry.len())
    })
}

/// A rectangular projection. A yaw of 180 degrees is a horizontal flip (RFC 9559, 5.1.4.1.28.44), and comes first.
fn projection(turn: Orientation) -> Content {
    let element = |id, bytes: &[u8]| Element {
        id,
        content: Content::Bytes(bytes.to_vec()),
    };
    let degrees = |id, degrees: i16| element(id, &f32::from(degrees).to_be_bytes());
    let mut inner = vec![element(PROJECTION_TYPE, &[0])];
    if turn.is_mirrored() {
        inner.push(degrees(PROJECTION_POSE_YAW, 180));
    }
    if turn.counterclockwise() != 0 {
        inner.push(degrees(PROJECTION_POSE_ROLL, turn.counterclockwise()));
    }
    Content::Master(inner)
}

impl Element {
    fn read(bytes: &[u8], part: &Part, is_master: bool) -> Option<Self> {
        let content = if is_master {
            let inner = ebml::children(bytes, part);
            let inner = inner.map(|inner| {
                let is_master = matches!(inner.id, VIDEO | COLOUR);
                Self::read(bytes, &inner, is_master)
            });
            Content::Master(inner.collect::<Option<_>>()?)
        } else {
            Content::Bytes(bytes.get(part.content..part.end)?.to_vec())
        };
        let id = part.id;
        Some(Element { id, content })
    }

    fn inner(&mut self) -> Option<&mut Vec<Element>> {
        match &mut self.content {
            Content::Master(inner) => Some(inner),
            Content::Bytes(_) => None,
        }
    }

    /// The child master element with this ID.
    fn master(&mut self, id: u64) -> Option<&mut Element> {
        self.inner()?.iter_mut().find(|element| element.id == id)
    }

    /// Adds a child, or replaces one with the same ID.
    fn set_bytes(&mut self, id: u64, bytes: Vec<u8>) {
        self.set(id, Content::Bytes(bytes));
    }

    /// The same for any content.
    fn set(&mut self, id: u64, content: Content) {
        if let Some(inner) = self.inner() {
            inner.retain(|element| element.id != id);
            inner.push(Element { id, content });
        }
    }

    /// Sets HDR metadata in `Colour`. That of matroskamux 1.22 is wrong.
    fn set_hdr(&mut self, hdr: &HdrMetadata) {
        if *hdr == HdrMetadata::default() {
            return;
        }
        if self.master(COLOUR).is_none() {
            self.set(COLOUR, Content::Master(Vec::new()));
        }
        let Some(colour) = self.master(COLOUR) else {
            return;
        };
        if let Some(light) = hdr.light() {
            colour.set_bytes(MAX_CLL, light.max.to_be_bytes().to_vec());
            colour.set_bytes(MAX_FALL, light.max_average.to_be_bytes().to_vec());
        }
        if let Some(display) = hdr.mastering() {
            let values = (PRIMARY_R_CHROMATICITY_X..).zip(display.values());
            let values = values.map(|(id, value)| Element {
                id,
                content: Content::Bytes((value as f32).to_be_bytes().to_vec()),
            });
            colour.set(MASTERING_METADATA, Content::Master(values.collect()));
        }
    }

    /// Removes a child with this text, ignoring padding.
    fn remove(&mut self, id: u64, text: &[u8]) {
        let is_it = |element: &Element| match &element.content {
            Content::Bytes(bytes) => bytes.split(|byte| *byte == 0).next() == Some(text),
            Content::Master(_) => false,
        };
        if let Some(inner) = self.inner() {
            inner.retain(|element| element.id != id || !is_it(element));
        }
    }

    /// Encodes the content, with size fields as short as possible.
    fn content(&self) -> Vec<u8> {
        match &self.content {
            Content::Bytes(bytes) => bytes.clone(),
            Content::Master(inner) => inner.iter().flat_map(Element::write).collect(),
        }
    }

    fn write(&self) -> Vec<u8> {
        ebml::element(self.id, &self.content())
    }

    /// Encodes the element in `length` bytes: a Void element takes the rest, and a longer size field what is too short
    /// for one.
    fn fit(&self, length: usize) -> Option<Vec<u8>> {
        let (id, content) = (ebml::id(self.id), self.content());
        (1..=8).find_map(|width| {
            let size = length.checked_sub(id.len() + width)?;
            let void = ebml::void(size.checked_sub(content.len())?)?;
            let size = ebml::size(size, width)?;
            Some([id.as_slice(), &size, &content, &void].concat())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry as written by matroskamux, with a name and additional video elements.
    fn entry(name: &str, more: &[u8]) -> Vec<u8> {
        let long = |id: u64, content: &[u8]| {
            let size = ebml::size(content.len(), 8).unwrap();
            [ebml::id(id).as_slice(), &size, content].concat()
        };
        let video = [&[0xb0, 0x81, 64, 0xba, 0x81, 48], more].concat();
        let name = ebml::element(NAME, name.as_bytes());
        let inner = [
            &[0xd7, 0x81, 1, 0x83, 0x81, 1],
            name.as_slice(),
            &long(VIDEO, &video),
        ];
        long(0xae, &inner.concat())
    }

    fn alpha() -> Additions {
        Additions {
            alpha: true,
            ..Additions::default()
        }
    }

    #[test]
    fn additions_fit_into_the_space_of_long_sizes() {
        let old = entry("Video\0", &[]);
        let new = with_additions(&old, &alpha()).unwrap();
        assert_eq!(new.len(), old.len());
        let video = [
            0xe0, 0x8a, 0xb0, 0x81, 64, 0xba, 0x81, 48, 0x53, 0xc0, 0x81, 1,
        ];
        assert!(new.windows(12).any(|bytes| bytes == video), "{new:x?}");
        assert!(new.windows(5).any(|bytes| bytes == b"Video"));
        assert_eq!(with_additions(&new, &alpha()).unwrap().len(), old.len());
        assert_eq!(with_additions(&old, &Additions::default()), None);
    }

    /// Whatever the muxer writes, and wherever a size field needs one byte more.
    #[test]
    fn entries_of_any_length_take_additions() {
        for length in 0..300 {
            let old = entry(&"x".repeat(length), &[]);
            let new = with_additions(&old, &alpha()).unwrap();
            assert_eq!(new.len(), old.len(), "{length}");
            let whole = ebml::elements(&new).next().unwrap();
            assert_eq!(whole.end, new.len());
            let video = ebml::children(&new, &whole).find(|part| part.id == VIDEO);
            let inner = ebml::children(&new, &video.unwrap()).map(|part| part.id);
            let due = [0xb0, 0xba, ALPHA_MODE];
            assert_eq!(inner.collect::<Vec<_>>(), due, "{length}");
        }
    }

    #[test]
    fn elements_are_padded_to_any_sufficient_length() {
        for content in 0..300 {
            let element = Element {
                id: 0xae,
                content: Content::Bytes(vec![1; content]),
            };
            let least = element.write().len();
            for length in 0..least + 40 {
                let fitted = element.fit(length);
                assert_eq!(
                    fitted.map(|bytes| bytes.len()),
                    (length >= least).then_some(length)
                );
            }
        }
    }

    #[test]
    fn other_bytes_than_entries_are_unchanged() {
        let whole = entry("Video", &[0x55, 0xb0, 0x83, 0x55, 0xb9, 0x80]);
        for length in 0..whole.len() {
            for bytes in [&whole[..length], &whole[length..]] {
                if let Some(new) = with_additions(bytes, &alpha()) {
                    assert_eq!(new.len(), bytes.len());
                }
            }
        }
    }
}
