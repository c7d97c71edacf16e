//! `TrackEntry` of a video track (RFC 9559, 5.1.4.1), with what matroskamux does not write, at the length it has.
//!
//! matroskamux gives each master element a size of eight bytes: shorter ones leave room for more elements.

use super::{Part, element};

const NAME: u64 = 0x536e;
const VIDEO: u64 = 0xe0;
const ALPHA_MODE: u64 = 0x53c0;
const COLOUR: u64 = 0x55b0;
const VOID: u8 = 0xec;

/// What is added to a `TrackEntry`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Additions {
    /// `BlockAdditional`s are an alpha channel.
    pub alpha: bool,
}

/// An element, and those inside it.
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

/// The entry with what is to be added, as long as it was; `None` where there is nothing to add, or no room.
pub fn with_additions(entry: &[u8], additions: &Additions) -> Option<Vec<u8>> {
    if *additions == Additions::default() {
        return None;
    }
    let whole = super::elements(entry).next()?;
    let mut root = Element::read(entry, &whole, true)?;
    let video = root.master(VIDEO)?;
    if additions.alpha {
        video.set(ALPHA_MODE, vec![1]);
    }
    root.fit(entry.len()).or_else(|| {
        // A name that says what the track's type says.
        root.remove(NAME, b"Video");
        root.fit(entry.len())
    })
}

impl Element {
    fn read(bytes: &[u8], part: &Part, is_master: bool) -> Option<Self> {
        let content = match is_master {
            true => {
                let inner = super::inside(bytes, part);
                let inner = inner.map(|inner| {
                    let is_master = matches!(inner.id, VIDEO | COLOUR);
                    Self::read(bytes, &inner, is_master)
                });
                Content::Master(inner.collect::<Option<_>>()?)
            }
            false => Content::Bytes(bytes.get(part.content..part.end)?.to_vec()),
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

    /// The master element of this kind inside it.
    fn master(&mut self, id: u64) -> Option<&mut Element> {
        self.inner()?.iter_mut().find(|element| element.id == id)
    }

    /// Puts an element into it, in the place of one of the same kind.
    fn set(&mut self, id: u64, bytes: Vec<u8>) {
        let content = Content::Bytes(bytes);
        if let Some(inner) = self.inner() {
            inner.retain(|element| element.id != id);
            inner.push(Element { id, content });
        }
    }

    /// Takes the element out whose text this is, but for padding.
    fn remove(&mut self, id: u64, text: &[u8]) {
        let is_it = |element: &Element| match &element.content {
            Content::Bytes(bytes) => bytes.split(|byte| *byte == 0).next() == Some(text),
            Content::Master(_) => false,
        };
        if let Some(inner) = self.inner() {
            inner.retain(|element| element.id != id || !is_it(element));
        }
    }

    fn content(&self) -> Vec<u8> {
        match &self.content {
            Content::Bytes(bytes) => bytes.clone(),
            Content::Master(inner) => inner.iter().flat_map(Element::write).collect(),
        }
    }

    fn write(&self) -> Vec<u8> {
        element::with_id(self.id, &self.content())
    }

    /// The element in so many bytes: with an element at its end that readers pass over.
    fn fit(&self, length: usize) -> Option<Vec<u8>> {
        let content = self.content();
        let id = element::id(self.id);
        (1..=8).find_map(|width| {
            let room = length.checked_sub(id.len() + width)?;
            let rest = room.checked_sub(content.len())?;
            let void = element::void(VOID, rest)?;
            let size = element::size(room, width)?;
            Some([id.as_slice(), &size, &content, &void].concat())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry as matroskamux writes it, with a name and what else there is of video.
    fn entry(name: &str, more: &[u8]) -> Vec<u8> {
        let long = |id: u64, content: &[u8]| {
            let size = element::size(content.len(), 8).unwrap();
            [element::id(id).as_slice(), &size, content].concat()
        };
        let video = [&[0xb0, 0x81, 64, 0xba, 0x81, 48], more].concat();
        let name = element::with_id(NAME, name.as_bytes());
        let inner = [&[0xd7, 0x81, 1, 0x83, 0x81, 1], name.as_slice(), &long(VIDEO, &video)];
        long(0xae, &inner.concat())
    }

    const ALPHA: Additions = Additions { alpha: true };

    #[test]
    fn additions_fit_into_what_long_sizes_leave() {
        let old = entry("Video\0", &[]);
        let new = with_additions(&old, &ALPHA).unwrap();
        assert_eq!(new.len(), old.len());
        let video = [0xe0, 0x8a, 0xb0, 0x81, 64, 0xba, 0x81, 48, 0x53, 0xc0, 0x81, 1];
        assert!(new.windows(video.len()).any(|bytes| bytes == video));
        assert!(new.windows(5).any(|bytes| bytes == b"Video"));
        assert_eq!(with_additions(&new, &ALPHA).unwrap().len(), old.len());
        assert_eq!(with_additions(&old, &Additions::default()), None);
    }

    #[test]
    fn what_is_no_entry_is_left_alone() {
        let whole = entry("Video", &[0x55, 0xb0, 0x83, 0x55, 0xb9, 0x80]);
        for length in 0..whole.len() {
            for bytes in [&whole[..length], &whole[length..]] {
                if let Some(new) = with_additions(bytes, &ALPHA) {
                    assert_eq!(new.len(), bytes.len());
                }
            }
        }
    }
}
