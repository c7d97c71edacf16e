//! Chapters in each container, in space that is reserved in its head and rewritten whenever a chapter is added.

mod id3;
mod matroska;
mod mp4;
mod ogg;
mod reserve;
mod riff;
mod vorbis;

pub use matroska::chapters_element;
pub use mp4::{MAX_CHPL, chpl};
pub use ogg::{CommentPages, Progress as PageProgress, padded_comments};
pub use reserve::{Reserve, Rewrite};
pub use riff::chunks as riff_chunks;
pub use vorbis::Comments;

use crate::model::timeline::Ns;

/// Longer titles are truncated in files, so that one title cannot use up all the space.
pub const MAX_TITLE: usize = 1024;

/// A chapter, which lasts until the next one or the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chapter {
    /// Recorded time of its start.
    pub start: Ns,
    /// Title; may be empty.
    pub title: String,
}

impl Chapter {
    /// The title as written to files: truncated to `max` bytes at a character boundary.
    pub(super) fn cut_title(&self, max: usize) -> &str {
        let mut end = self.title.len().min(max).min(MAX_TITLE);
        while !self.title.is_char_boundary(end) {
            end -= 1;
        }
        self.title.get(..end).unwrap_or_default()
    }

    /// Start time, rounded to milliseconds.
    fn milliseconds(&self) -> u64 {
        to_milliseconds(self.start)
    }
}

/// Rounds to milliseconds.
pub fn to_milliseconds(time: Ns) -> u64 {
    time.saturating_add(500_000) / 1_000_000
}

/// How a container stores chapters.
#[derive(Debug)]
pub enum Syntax {
    /// A `Chapters` element, followed by `Void`.
    Matroska,
    /// A `chpl` box, followed by `free`.
    Mp4,
    /// A `LIST` chunk with the date, chunks `cue ` and `LIST`, then `JUNK`; positions are in samples at this rate.
    Riff { rate: u32, date: Option<String> },
    /// A FLAC metadata block with comments, followed by a padding block.
    Flac { comments: Comments, is_last: bool },
    /// A comment packet in Ogg.
    Ogg(CommentPages),
    /// Frames of an ID3v2.4 tag, followed by its padding.
    Id3,
}

impl Syntax {
    /// Encodes the chapters, the last of which ends at `end`, in exactly `room` bytes; `None` if that is too small.
    fn encode(&self, chapters: &[Chapter], end: Ns, room: usize) -> Option<Vec<u8>> {
        let bytes = match self {
            Syntax::Matroska => matroska::encode(chapters, room),
            Syntax::Mp4 => mp4::encode(chapters, room),
            Syntax::Riff { rate, date } => riff::encode(chapters, *rate, date.as_deref(), room),
            Syntax::Flac { comments, is_last } => {
                vorbis::encode_flac(comments, *is_last, chapters, room)
            }
            Syntax::Ogg(pages) => pages.encode(chapters),
            Syntax::Id3 => id3::encode(chapters, end, room),
        };
        bytes.filter(|bytes| bytes.len() == room)
    }
}
