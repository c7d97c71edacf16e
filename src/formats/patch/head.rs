//! Space for chapters in file heads without boxes or elements: WAV, FLAC, Ogg and MP3.

use super::number;
use crate::formats::{
    chapters::{CommentPages, Comments, PageProgress, Reserve, Syntax},
    flac,
    mp3::id3_length,
};

/// Parses the first bytes of a recording until the position for chapters is found.
#[derive(Debug)]
pub enum Head {
    /// RIFF chunks; the space is inserted before `data`.
    Riff,
    /// Metadata blocks; `next` is the offset of the next one.
    Flac { next: u64 },
    /// Pages; the space is padding in the comment packet.
    Ogg {
        pages: CommentPages,
        /// Offset of those pages.
        at: u64,
    },
    /// A tag with padding.
    Id3,
    /// Done.
    Over,
    /// Done, for WAV with this sample rate.
    RiffOver { rate: u32 },
}

/// A modified head.
#[derive(Debug)]
pub struct Changed {
    /// Replaces the input; `None` if unchanged.
    pub bytes: Option<Vec<u8>>,
    pub reserve: Reserve,
    /// From this muxer position on, output is shifted by this many bytes.
    pub moved: Option<(u64, u64)>,
}

impl Head {
    /// Parses the muxer's next bytes at `position`. `date`: wall-clock time of recorded time 0, in nanoseconds since
    /// 1970, for heads in which the muxer itself writes none.
    pub fn follow(
        &mut self,
        position: u64,
        bytes: &[u8],
        room: usize,
        date: Option<i64>,
    ) -> Option<Changed> {
        if let Head::Riff = self {
            let rate = riff_rate(bytes);
            *self = rate.map_or(Head::Over, |rate| Head::RiffOver { rate });
            return riff(bytes, rate?, room, date.and_then(iso_8601));
        }
        if room == 0 {
            *self = Head::Over;
        }
        let found = match self {
            Head::Flac { next } => match flac_head(position, bytes, room, next) {
                Ok(found) => found,
                Err(Over) => {
                    *self = Head::Over;
                    None
                }
            },
            Head::Ogg { pages, at } => ogg(position, bytes, room, pages, at),
            Head::Id3 => {
                *self = Head::Over;
                id3(bytes, room)
            }
            Head::Riff | Head::RiffOver { .. } | Head::Over => None,
        };
        if found.is_some() {
            *self = Head::Over;
        }
        found
    }

    /// Whether the search is over.
    pub fn is_over(&self) -> bool {
        matches!(self, Head::Over | Head::RiffOver { .. })
    }

    /// Sample rate for chapter positions, if the container supports chapters at the end.
    pub fn rate(&self) -> Option<u32> {
        match self {
            Head::RiffOver { rate } => Some(*rate),
            _ => None,
        }
    }
}

/// There is no position for chapters.
struct Over;

/// Offset of the chunk with this name.
fn chunk(bytes: &[u8], name: &[u8; 4]) -> Option<usize> {
    let mut at = 12;
    loop {
        let head = bytes.get(at..at + 8)?;
        if head.starts_with(name) {
            return Some(at);
        }
        let size = u32::from_le_bytes(*head.last_chunk()?);
        let size = usize::try_from(size).ok()?;
        at = at
            .checked_add(8)?
            .checked_add(size.checked_add(size % 2)?)?;
    }
}

fn riff_rate(bytes: &[u8]) -> Option<u32> {
    let format = chunk(bytes, b"fmt ").filter(|_| bytes.starts_with(b"RIFF"))?;
    let rate = bytes.get(format + 8 + 4..)?.first_chunk()?;
    Some(u32::from_le_bytes(*rate))
}

fn iso_8601(date: i64) -> Option<String> {
    let date = gst::DateTime::from_unix_epoch_utc(date / 1_000_000_000).ok()?;
    let text = date.to_iso8601_string().ok()?;
    Some(text.to_string())
}

fn riff(bytes: &[u8], rate: u32, room: usize, date: Option<String>) -> Option<Changed> {
    let data = chunk(bytes, b"data").filter(|_| room > 0)?;
    let reserve = Reserve::new(Syntax::Riff { rate, date }, data as u64, room)?;
    Some(Changed {
        bytes: Some(with_chunks(bytes, &reserve)?),
        moved: Some((data as u64, room as u64)),
        reserve,
    })
}

/// The head of a WAV file with the chunks of `reserve`, for the first write and for rewrites.
pub fn with_chunks(bytes: &[u8], reserve: &Reserve) -> Option<Vec<u8>> {
    let at = usize::try_from(reserve.at()).ok()?;
    let (front, back) = bytes.split_at_checked(at)?;
    let mut new = [front, reserve.bytes(), back].concat();
    let size = u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?);
    let size = size.checked_add(u32::try_from(reserve.bytes().len()).ok()?)?;
    new.get_mut(4..8)?.copy_from_slice(&size.to_le_bytes());
    Some(new)
}

fn flac_head(
    position: u64,
    bytes: &[u8],
    room: usize,
    next: &mut u64,
) -> Result<Option<Changed>, Over> {
    if position == 0 && !bytes.starts_with(flac::MARKER) {
        return Err(Over);
    }
    while let Some(at) = next
        .checked_sub(position)
        .and_then(|at| usize::try_from(at).ok())
    {
        let (Some(kind), Some(length)) = (bytes.get(at), number(bytes, at + 1, 3)) else {
            // It starts in the next bytes.
            return Ok(None);
        };
        let is_last = kind & flac::LAST_BLOCK != 0;
        let content = at + flac::BLOCK_HEADER;
        let end = content + usize::try_from(length).map_err(|_| Over)?;
        *next += (end - at) as u64;
        let (from, comments) = if flac::has_comments(*kind) {
            let block = bytes.get(content..end).ok_or(Over)?;
            (at, Comments::parse(block, 0, 0))
        } else if is_last {
            // There is no comment block yet.
            (end, Comments::parse(&[0; 8], 0, 0))
        } else {
            continue;
        };
        let comments = comments.ok_or(Over)?;
        let syntax = Syntax::Flac { comments, is_last };
        let room = end - from + room;
        let reserve = Reserve::new(syntax, position + from as u64, room).ok_or(Over)?;
        let mut front = bytes.get(..from).ok_or(Over)?.to_vec();
        if from > at
            && let Some(kind) = front.get_mut(at)
        {
            *kind &= !flac::LAST_BLOCK;
        }
        let back = bytes.get(end..).ok_or(Over)?;
        return Ok(Some(Changed {
            bytes: Some([&front, reserve.bytes(), back].concat()),
            moved: Some((position + end as u64, (room - (end - from)) as u64)),
            reserve,
        }));
    }
    Err(Over)
}

fn ogg(
    position: u64,
    bytes: &[u8],
    room: usize,
    pages: &mut CommentPages,
    at: &mut u64,
) -> Option<Changed> {
    let progress = pages.add(bytes, room);
    if pages.size() == bytes.len() {
        *at = position;
    }
    if progress != PageProgress::Whole {
        return None;
    }
    let size = pages.size();
    let syntax = Syntax::Ogg(std::mem::take(pages));
    Some(Changed {
        bytes: None,
        reserve: Reserve::new(syntax, *at, size)?,
        moved: None,
    })
}

fn id3(bytes: &[u8], room: usize) -> Option<Changed> {
    let at = id3_length(bytes)?.checked_sub(room)?;
    Some(Changed {
        bytes: None,
        reserve: Reserve::new(Syntax::Id3, at as u64, room)?,
        moved: None,
    })
}
