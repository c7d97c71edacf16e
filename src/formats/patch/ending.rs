//! What is left to be done with a recording's bytes when its last media has come.

use super::{mp4, riff, segment};

/// See the module.
#[derive(Debug, Default)]
pub struct Ending {
    /// Go over what is there, each at its offset, in this order.
    pub(super) patches: Vec<(u64, Vec<u8>)>,
    pub(super) tail: Tail,
    /// Chapters for which there is no room, here or at the end.
    pub(super) lost_chapters: usize,
}

/// What comes behind the last byte.
#[derive(Debug, Default)]
pub(super) enum Tail {
    #[default]
    None,
    Mp4(mp4::Ending),
    Matroska(segment::Ending),
    Riff(riff::Ending),
}

/// What completes a file, in this order.
#[derive(Debug)]
pub struct Completion {
    /// Goes behind the last byte.
    pub appended: gst::Buffer,
    /// Go over what is there, each at its offset, once that has been written as a whole.
    pub patches: Vec<(u64, gst::Buffer)>,
}

impl Completion {
    pub(super) fn new(appended: Vec<u8>, patches: Vec<(u64, Vec<u8>)>) -> Self {
        let patches = patches.into_iter();
        Completion {
            appended: gst::Buffer::from_mut_slice(appended),
            patches: patches
                .map(|(at, bytes)| (at, gst::Buffer::from_mut_slice(bytes)))
                .collect(),
        }
    }
}

impl Ending {
    /// Bytes that go over what is there before anything else is done: once.
    pub fn take_patches(&mut self) -> impl Iterator<Item = (u64, gst::Buffer)> + use<> {
        let patches = std::mem::take(&mut self.patches).into_iter();
        patches.map(|(at, bytes)| (at, gst::Buffer::from_mut_slice(bytes)))
    }

    /// Chapters for which the container has no room.
    pub fn lost_chapters(&self) -> usize {
        self.lost_chapters
    }

    /// What a file lacks whose completion has failed.
    pub fn purpose(&self) -> &'static str {
        match self.tail {
            Tail::Mp4(_) => "stays a fragmented MP4, which some players cannot seek in",
            _ => "lacks some of its chapters",
        }
    }

    /// An index of fragments, for bytes that stay fragments: goes behind the last.
    pub fn take_index(&mut self) -> Option<gst::Buffer> {
        match &mut self.tail {
            Tail::Mp4(ending) => ending.take_index(),
            _ => None,
        }
    }

    /// Where bytes are that [`Completion::patches`] change, the first of them. `None` where nothing is to be completed.
    pub fn head(&self) -> Option<u64> {
        match &self.tail {
            Tail::None => None,
            Tail::Mp4(ending) => ending.head(),
            Tail::Matroska(ending) => Some(ending.head()),
            Tail::Riff(_) => Some(0),
        }
    }

    /// Where the last fragment ends that lies as a whole within the first `length` bytes; 0 if none does.
    pub fn whole_until(&self, length: u64) -> u64 {
        match &self.tail {
            Tail::Mp4(ending) => ending.whole_until(length),
            _ => 0,
        }
    }

    /// What completes a file of `length` bytes.
    pub fn complete(&mut self, length: u64) -> Option<Completion> {
        match &mut self.tail {
            Tail::None => None,
            Tail::Mp4(ending) => ending.ordinary(length),
            Tail::Matroska(ending) => ending.complete(length),
            Tail::Riff(ending) => ending.complete(length),
        }
    }
}
