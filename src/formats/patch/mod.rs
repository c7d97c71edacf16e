//! What muxers leave out or get wrong, put right in their bytes as these pass.

mod matroska;
mod mp4;

pub use mp4::{Ending, Ordinary, fragment_track};

use super::{codec_config::CodecConfig, delay::Delay};
use crate::model::{Container, Orientation};

/// What a container is told of a video track.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pictures {
    /// How they have to be shown turned.
    pub turn: Orientation,
    /// What their decoder has to know, where the muxer does not tell it.
    pub codec_config: Option<CodecConfig>,
}

/// Puts the bytes of one recording right. See `mp4.rs` and `matroska.rs` for what that is.
#[derive(Debug)]
pub struct Patch {
    delays: Vec<Delay>,
    pictures: Vec<Pictures>,
    kind: Kind,
    /// Where the muxer believes the next bytes to belong.
    position: u64,
}

#[derive(Debug)]
enum Kind {
    Nothing,
    Mp4(mp4::Layout),
    /// Until the first cluster has begun.
    Matroska,
}

impl Patch {
    /// For a recording whose audio tracks have these delays, and whose video tracks have to be shown
    /// turned so; each in the order of the muxer's pads.
    pub fn new(container: Container, delays: Vec<Delay>, turns: Vec<Orientation>) -> Self {
        let pictures = turns.into_iter().map(|turn| Pictures {
            turn,
            codec_config: None,
        });
        let pictures = pictures.collect();
        let delayed = delays.iter().any(|delay| *delay != Delay::None);
        let kind = match container {
            Container::Mp4 => Kind::Mp4(mp4::Layout::default()),
            Container::WebM | Container::Matroska if delayed => Kind::Matroska,
            _ => Kind::Nothing,
        };
        Patch {
            delays,
            pictures,
            kind,
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

    /// The muxer's next bytes, as they go into the recording: in one buffer, in two, or in none.
    pub fn bytes(&mut self, buffer: gst::Buffer) -> impl Iterator<Item = gst::Buffer> + use<> {
        let position = self.position;
        self.position += buffer.size() as u64;
        let patched = match &mut self.kind {
            Kind::Nothing => None,
            Kind::Mp4(layout) => {
                layout.patch_buffer(position, &buffer, &self.delays, &self.pictures)
            }
            Kind::Matroska => {
                let patched = map(&buffer, |bytes| matroska::patch(bytes, &self.delays));
                if patched.is_some() {
                    self.kind = Kind::Nothing;
                }
                patched.map(Patched::Changed)
            }
        };
        let (before, buffer) = match patched.unwrap_or(Patched::Same) {
            Patched::Same => (None, Some(buffer)),
            Patched::Changed(bytes) => (None, Some(in_place_of(&buffer, bytes))),
            Patched::Behind(bytes) => (Some(gst::Buffer::from_mut_slice(bytes)), Some(buffer)),
            Patched::Withheld => (None, None),
        };
        before.into_iter().chain(buffer)
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
