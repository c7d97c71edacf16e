//! What muxers leave out or get wrong, put right in their bytes as these pass.

mod matroska;
mod mp4;
mod structure;

pub use mp4::{Ending, Ordinary};
pub use structure::Unit;

use super::{codec_config::CodecConfig, delay::Delay};
use crate::model::{Container, Orientation};
use structure::{Structure, Syntax, Written};

/// What a container is told of a video track.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pictures {
    /// How they have to be shown turned.
    pub turn: Orientation,
    /// How much later than recorded time they are stamped, in nanoseconds.
    pub decode_delay: u64,
    /// What their decoder has to know, where the muxer does not tell it.
    pub codec_config: Option<CodecConfig>,
}

/// Puts the bytes of one recording right. See `mp4.rs` and `matroska.rs` for what that is.
#[derive(Debug)]
pub struct Patch {
    delays: Vec<Delay>,
    pictures: Vec<Pictures>,
    kind: Kind,
    structure: Structure,
    /// Where the muxer believes the next bytes to belong.
    position: u64,
}

#[derive(Debug)]
enum Kind {
    Nothing,
    Mp4(mp4::Layout),
    Matroska {
        /// Its header has yet to be put right.
        header: bool,
        /// Its tags have begun: they come at the end, element by element.
        tags: bool,
    },
}

impl Patch {
    /// For a recording whose audio tracks have these delays, and whose video tracks have to be shown
    /// turned so; each in the order of the muxer's pads.
    pub fn new(container: Container, delays: Vec<Delay>, turns: Vec<Orientation>) -> Self {
        let pictures = turns.into_iter().map(|turn| Pictures {
            turn,
            ..Pictures::default()
        });
        let pictures = pictures.collect();
        let delayed = delays.iter().any(|delay| *delay != Delay::None);
        let kind = match container {
            Container::Mp4 => Kind::Mp4(mp4::Layout::default()),
            Container::WebM | Container::Matroska => Kind::Matroska {
                header: delayed,
                tags: false,
            },
            _ => Kind::Nothing,
        };
        let syntax = match container {
            Container::Mp4 => Some(Syntax::Mp4),
            Container::WebM | Container::Matroska => Some(Syntax::Matroska),
            _ => None,
        };
        Patch {
            delays,
            pictures,
            kind,
            structure: Structure::new(syntax),
            position: 0,
        }
    }

    /// Opus packets of audio track `number` come with a pre-skip that the header has to tell.
    pub fn set_pre_skip(&mut self, number: usize, samples: u16) {
        if let Some(delay) = self.delays.get_mut(number) {
            *delay = Delay::PreSkip(samples);
        }
    }

    /// What the decoder of video track `number` has to know. Once the header has been written it is too late.
    pub fn set_codec_config(&mut self, number: usize, config: CodecConfig) {
        if let (0, Some(pictures)) = (self.position, self.pictures.get_mut(number)) {
            pictures.codec_config = Some(config);
        }
    }

    /// Video track `number` is stamped later than recorded time by so many nanoseconds. Once the header has been written
    /// it is too late.
    pub fn set_decode_delay(&mut self, number: usize, nanoseconds: u64) {
        if let (0, Some(pictures)) = (self.position, self.pictures.get_mut(number)) {
            pictures.decode_delay = nanoseconds;
        }
    }

    /// The muxer's caps, without the header as the muxer wrote it where that has been changed.
    pub fn caps(&self, caps: &gst::CapsRef) -> gst::Caps {
        let mut caps = caps.to_owned();
        if let Kind::Mp4(_) = self.kind
            && let Some(structure) = caps.make_mut().structure_mut(0)
        {
            structure.remove_field("streamheader");
        }
        caps
    }

    /// The muxer goes on at `position`: where that is in the recording.
    pub fn seek(&mut self, position: u64) -> u64 {
        self.position = position;
        match &self.kind {
            Kind::Mp4(layout) => layout.place(position),
            _ => position,
        }
    }

    /// The muxer's next bytes, as they go into the recording, in up to two buffers, and what begins with each. Media is
    /// never touched.
    ///
    /// `None`: they are refused, since they are to replace what is not as long as they are.
    pub fn bytes(
        &mut self,
        buffer: gst::Buffer,
    ) -> Option<impl Iterator<Item = (gst::Buffer, Option<Unit>)> + use<>> {
        let position = self.position;
        self.position += buffer.size() as u64;
        let end = self.structure.end();
        let (unit, patched) = match self.structure.follow(position, &buffer) {
            Written::Media => (None, None),
            Written::Structure(unit) => (unit, self.patch(position, &buffer)?),
            Written::Again if self.position > end => return None,
            Written::Again => (None, self.patch(position, &buffer)?),
        };
        let (before, buffer) = match patched.unwrap_or(Patched::Same) {
            Patched::Same => (None, Some(buffer)),
            Patched::Changed(bytes) => (None, Some(in_place_of(&buffer, bytes))),
            Patched::Behind(bytes) => (Some(gst::Buffer::from_mut_slice(bytes)), Some(buffer)),
            Patched::Withheld => (None, None),
        };
        let before = before.map(|before| (before, None));
        Some(
            before
                .into_iter()
                .chain(buffer.map(|buffer| (buffer, unit))),
        )
    }

    /// What becomes of the container's own bytes at `position`: `Some(None)` if they stay, `None` if they are refused.
    fn patch(&mut self, position: u64, buffer: &gst::BufferRef) -> Option<Option<Patched>> {
        match &mut self.kind {
            Kind::Nothing => Some(None),
            Kind::Mp4(layout) => {
                let patched = map(buffer, |bytes| {
                    layout.patch(position, bytes, &self.delays, &self.pictures)
                });
                let size = match &patched {
                    Some(Patched::Changed(bytes)) => bytes.len(),
                    _ => buffer.size(),
                };
                let fits = layout.fits(position, self.position, size as u64);
                fits.then_some(patched)
            }
            Kind::Matroska { header, tags } => Some(map(buffer, |bytes| {
                let patched = match header {
                    true => matroska::patch(bytes, &self.delays),
                    false => None,
                };
                *header &= patched.is_none();
                *tags |= matroska::begins_tags(bytes);
                if matroska::is_empty_block(bytes) {
                    return Some(Patched::Changed(matroska::void(bytes)));
                }
                let new = patched.as_deref().unwrap_or(bytes);
                let patched = matroska::patch_tags(new, *tags).or(patched);
                patched.map(Patched::Changed)
            })),
        }
    }

    /// What is left to be done when the last bytes have come: once.
    pub fn take_ending(&mut self) -> Ending {
        match &mut self.kind {
            Kind::Mp4(layout) => layout.take_ending(),
            _ => Ending::default(),
        }
    }
}

/// What becomes of some bytes of the muxer's.
#[derive(Debug, PartialEq, Eq)]
enum Patched {
    /// They go into the recording as they are.
    Same,
    /// These go in their place.
    Changed(Vec<u8>),
    /// They go as they are, behind these.
    Behind(Vec<u8>),
    /// They do not go there.
    Withheld,
}

/// These bytes, stamped and flagged as `buffer`, which tells the writer where blobs may end.
fn in_place_of(buffer: &gst::BufferRef, bytes: Vec<u8>) -> gst::Buffer {
    let mut patched = gst::Buffer::from_mut_slice(bytes);
    if let Some(patched) = patched.get_mut() {
        let what = gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS;
        let _ = buffer.copy_into(patched, what, ..);
    }
    patched
}

fn map<T>(buffer: &gst::BufferRef, patch: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
    // Headers are small; what is large is media.
    const MAX_BUFFER_SIZE: usize = 1 << 24;
    if buffer.size() > MAX_BUFFER_SIZE {
        return None;
    }
    patch(&buffer.map_readable().ok()?)
}

/// Big-endian number in the bytes from `at` on.
fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(length)?)?;
    Some(
        field
            .iter()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes at `position`; how many bytes came of it, or `None` where they were refused.
    fn write(patch: &mut Patch, position: u64, bytes: &[u8]) -> Option<usize> {
        patch.seek(position);
        let written = patch.bytes(gst::Buffer::from_slice(bytes.to_vec()));
        written.map(|written| written.map(|(buffer, _)| buffer.size()).sum())
    }

    #[test]
    fn what_is_written_again_has_the_same_length() {
        gst::init().unwrap();
        let mut patch = Patch::new(Container::Mp4, Vec::new(), Vec::new());
        let moov = b"\0\0\0\x18moov\0\0\0\x10mvhd\0\0\0\0\0\0\0\0";
        let longer = b"\0\0\0\x19moov\0\0\0\x11mvhd\0\0\0\0\0\0\0\0\0";
        let shorter = b"\0\0\0\x17moov\0\0\0\x0fmvhd\0\0\0\0\0\0\0";
        let ftyp = b"\0\0\0\x08ftyp";
        let whole = [ftyp.as_slice(), moov].concat();
        // With a box of room in it.
        assert_eq!(write(&mut patch, 0, &whole), Some(48));
        assert_eq!(
            write(&mut patch, 32, b"\0\0\0\x10moof\0\0\0\x08traf"),
            Some(16)
        );
        for (position, header) in [
            (8, longer.as_slice()),
            (8, shorter),
            (8, &moov[..20]),
            (12, &moov[4..]),
            (0, &[ftyp.as_slice(), longer].concat()),
            // Beyond the end.
            (40, moov),
        ] {
            assert_eq!(write(&mut patch, position, header), None, "{position}");
        }
        assert_eq!(write(&mut patch, 8, moov), Some(24));
        assert_eq!(write(&mut patch, 0, &whole), None, "without the room");
        assert_eq!(write(&mut patch, 0, ftyp), Some(8));
        assert_eq!(write(&mut patch, 48, b"\0\0\0\x08free"), Some(8));
        let mut patch = Patch::new(Container::Wav, Vec::new(), Vec::new());
        assert_eq!(write(&mut patch, 0, b"RIFF...."), Some(8));
        assert_eq!(write(&mut patch, 4, b"size"), Some(4));
        assert_eq!(write(&mut patch, 4, b"sizes"), None);
        assert_eq!(write(&mut patch, 8, b"data"), Some(4));
    }
}
