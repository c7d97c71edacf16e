//! The remaining work after a recording's last media has been written.

use super::{mp4, riff, segment};

/// See the module.
#[derive(Debug, Default)]
pub struct Ending {
    /// Overwrites at these offsets, in this order.
    pub(super) patches: Vec<(u64, Vec<u8>)>,
    pub(super) tail: Tail,
    /// Number of chapters that fit neither into the head nor at the end.
    pub(super) lost_chapters: usize,
}

/// What to append to the file.
#[derive(Debug, Default)]
pub(super) enum Tail {
    #[default]
    None,
    Mp4(mp4::Ending),
    Matroska(segment::Ending),
    Riff(riff::Ending),
}

/// Completes a file, in this order.
#[derive(Debug)]
pub struct Completion {
    /// Bytes to append.
    pub appended: gst::Buffer,
    /// Overwrites at these offsets, once `appended` has been written completely.
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
    /// Overwrites to apply before anything else; returned once.
    pub fn take_patches(&mut self) -> impl Iterator<Item = (u64, gst::Buffer)> + use<> {
        let patches = std::mem::take(&mut self.patches).into_iter();
        patches.map(|(at, bytes)| (at, gst::Buffer::from_mut_slice(bytes)))
    }

    /// Number of chapters for which the container has no space.
    pub fn lost_chapters(&self) -> usize {
        self.lost_chapters
    }

    /// Describes a file whose completion has failed.
    pub fn purpose(&self) -> &'static str {
        match self.tail {
            Tail::Mp4(_) => "stays a fragmented MP4, which some players cannot seek in",
            _ => "lacks some of its chapters",
        }
    }

    /// A fragment index to append if the output stays fragmented.
    pub fn take_index(&mut self) -> Option<gst::Buffer> {
        match &mut self.tail {
            Tail::Mp4(ending) => ending.take_index(),
            _ => None,
        }
    }

    /// Lowest offset that [`Completion::patches`] overwrite. `None` if there is nothing to complete.
    pub fn head(&self) -> Option<u64> {
        match &self.tail {
            Tail::None => None,
            Tail::Mp4(ending) => ending.head(),
            Tail::Matroska(ending) => Some(ending.head()),
            Tail::Riff(_) => Some(0),
        }
    }

    /// End of the last fragment that is complete within the first `length` bytes; 0 if there is none.
    pub fn whole_until(&self, length: u64) -> u64 {
        match &self.tail {
            Tail::Mp4(ending) => ending.whole_until(length),
            _ => 0,
        }
    }

    /// Completes a file of `length` bytes.
    pub fn complete(&mut self, length: u64) -> Option<Completion> {
        match &mut self.tail {
            Tail::None => None,
            Tail::Mp4(ending) => ending.ordinary(length),
            Tail::Matroska(ending) => ending.complete(length),
            Tail::Riff(ending) => ending.complete(length),
        }
    }
}
