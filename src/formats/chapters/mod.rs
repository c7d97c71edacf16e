//! Chapters as each container has them, in space that is reserved in its head and rewritten as they come.

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

/// Longer titles are cut in files, so that one of them does not take the space of all others.
pub const MAX_TITLE: usize = 1024;

/// A chapter, which lasts to the next one or to the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chapter {
    /// Recorded time of its first instant.
    pub start: Ns,
    /// What it is called; may be empty.
    pub title: String,
}

impl Chapter {
    /// The title as files have it: no more than `max` bytes of whole characters.
    pub(super) fn cut_title(&self, max: usize) -> &str {
        let mut end = self.title.len().min(max).min(MAX_TITLE);
        while !self.title.is_char_boundary(end) {
            end -= 1;
        }
        self.title.get(..end).unwrap_or_default()
    }

    /// Where it begins, in whole milliseconds.
    fn milliseconds(&self) -> u64 {
        to_milliseconds(self.start)
    }
}

/// Rounded to whole milliseconds.
pub fn to_milliseconds(time: Ns) -> u64 {
    time.saturating_add(500_000) / 1_000_000
}

/// How a container writes chapters.
#[derive(Debug)]
pub enum Syntax {
    /// An element `Chapters`, and `Void` behind it.
    Matroska,
    /// A box `chpl`, and `free` behind it.
    Mp4,
    /// A `LIST` with the date, chunks `cue ` and `LIST`, and `JUNK` behind them; places are counted in samples of this
    /// rate.
    Riff { rate: u32, date: Option<String> },
    /// Comments in a block of FLAC metadata, and a block of padding behind it.
    Flac { comments: Comments, is_last: bool },
    /// Comments in a packet of Ogg.
    Ogg(CommentPages),
    /// Frames of an ID3v2.4 tag, and its padding.
    Id3,
}

impl Syntax {
    /// These chapters, the last of which lasts until `end`, in exactly `room` bytes; `None` where that is too little.
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
