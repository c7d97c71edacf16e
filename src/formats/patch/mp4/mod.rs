//! MP4 (ISO 14496-12): mp4mux' bytes put right as they pass, and what makes an ordinary file of them at the end.
//!
//! The header becomes longer or shorter, a box of room comes in front of it, and some fragments get filler in front:
//! so all that follows moves. The index of the fragments is made anew.

mod edits;
mod fragment;
mod fragmenter;
mod gaps;
mod header;
mod index;
mod ordinary;
mod samples;
mod text_track;

pub use fragmenter::Fragmenter;
pub use ordinary::Ending;

use super::{Patched, Unit, VideoTrack, number};
use crate::formats::{
    boxes::{self, BOX_HEADER, boxed, boxes, find},
    chapters::{Chapter, Reserve, Syntax},
    delay::Delay,
};
use gaps::Left;
use std::ops::Range;

/// What is in one page of a file is there as a whole or not at all, wherever a process is killed.
const PAGE: u64 = 4096;
/// An `mdat` with nothing in it.
const MDAT: &[u8; 8] = b"\0\0\0\x08mdat";
/// Length of the head of `mdat`, at the most.
const MDAT_HEAD: u64 = 16;

/// What the header needs and the muxer does not know.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeaderInfo<'a> {
    /// Of the audio tracks, in their order.
    pub delays: &'a [Delay],
    /// Of the video tracks, in their order.
    pub pictures: &'a [VideoTrack],
    /// When the first recorded instant was, in nanoseconds since 1970.
    pub date: Option<i64>,
    /// Bytes that are to be set aside for chapters.
    pub room: usize,
}

/// Where things are in the file, and what is in it.
#[derive(Debug, Default)]
pub struct Layout {
    /// Where the header was first written, as the muxer counts.
    moov: Option<Range<u64>>,
    /// How long it is in the file.
    written: u64,
    /// Bytes in front of it that are not the muxer's.
    inserted: u64,
    /// Bytes by which all has moved that comes behind it, up to now.
    moved: i64,
    fragments: Vec<index::Place>,
    /// What is there for the end.
    ending: Ending,
}

impl Layout {
    /// Where the muxer's next bytes, which it believes to be at `position`, are in the file.
    pub fn place(&self, position: u64) -> u64 {
        match &self.moov {
            Some(moov) if position >= moov.end => position.saturating_add_signed(self.moved),
            Some(moov) if position >= moov.start => position + self.inserted,
            Some(_) => position,
            // The box of room is behind what has been written.
            None => position + self.inserted,
        }
    }

    /// Whether `size` bytes may stand in the file for those of the muxer's from `from` to `to`: not if they are a header
    /// that is written again and has another length, or is not whole.
    pub fn fits(&self, from: u64, to: u64, size: u64) -> bool {
        match &self.moov {
            Some(moov) if from < moov.end && to > moov.start => {
                // What is in front of it has the box of room behind it.
                let before = self.place(moov.start).saturating_sub(self.place(from));
                to == moov.end && from <= moov.start && size == before + self.written
            }
            _ => true,
        }
    }

    /// What goes into the file in place of the muxer's own bytes at `position`, which are no media; `None` for the same.
    pub fn patch(
        &mut self,
        position: u64,
        bytes: &[u8],
        info: &HeaderInfo<'_>,
        reserve: &mut Option<Reserve>,
    ) -> Option<Patched> {
        let behind = self.moov.as_ref().map(|moov| position >= moov.end);
        match (boxes::header(bytes), behind) {
            (Some((b"ftyp" | b"moov", _)), None) => self.begin(position, bytes, info, reserve),
            (Some((b"moov", _)), Some(false)) => self.again(bytes, info, reserve.as_ref()),
            (Some((b"moof", _)), Some(true)) => self.fragment(position, bytes),
            (Some((b"mdat", 0)), Some(true)) if bytes.len() == MDAT.len() => {
                // mp4mux says nothing of what has no bytes; 0 would be all until the end of the file (4.2.2).
                Some(Patched::Changed(MDAT.to_vec()))
            }
            (Some((b"mfra", length)), Some(true)) if length == bytes.len() as u64 => {
                Some(Patched::Dropped)
            }
            _ => None,
        }
    }

    /// What is there for the end, with all chapters: once.
    pub fn take_ending(&mut self, chapters: Vec<Chapter>) -> Ending {
        let mut ending = std::mem::take(&mut self.ending);
        let places = std::mem::take(&mut self.fragments);
        ending.index = index::mfra(&places).filter(|_| !places.is_empty());
        ending.chapters = chapters;
        ending
    }

    /// The file's first bytes, with a box of room in front of the header.
    fn begin(
        &mut self,
        position: u64,
        bytes: &[u8],
        info: &HeaderInfo<'_>,
        reserve: &mut Option<Reserve>,
    ) -> Option<Patched> {
        let place = self.place(position);
        let mut patched = Vec::with_capacity(bytes.len() + 128);
        let mut end = 0;
        for part in boxes(bytes) {
            end = part.end;
            let old = bytes.get(part.start..part.end)?;
            if part.name != b"moov" {
                patched.extend_from_slice(old);
            }
            if self.ending.room.is_none() {
                let (room, at) = ordinary::room(position + patched.len() as u64)?;
                self.ending.room = Some(at);
                self.inserted = room.len() as u64;
                patched.extend_from_slice(&room);
            }
            if part.name == b"moov" && self.moov.is_none() {
                let content = bytes.get(part.content..part.end)?;
                let header = header::moov(content, info)?;
                // Where it is becomes known below.
                let mut space = Reserve::new(Syntax::Mp4, 0, info.room).filter(|_| info.room > 0);
                let (content, at) = header::with_reserve(&header, space.as_ref())?;
                let new = boxed(b"moov", &content)?;
                if let Some(space) = &mut space {
                    space.shift(place + (patched.len() + BOX_HEADER + at) as u64);
                }
                *reserve = space;
                self.moov = Some(position + part.start as u64..position + part.end as u64);
                self.written = new.len() as u64;
                self.moved = self.inserted.cast_signed() + new.len() as i64 - old.len() as i64;
                patched.extend_from_slice(&new);
                self.ending.header = header;
            } else if part.name == b"moov" {
                patched.extend_from_slice(old);
            }
        }
        patched.extend_from_slice(bytes.get(end..)?);
        Some(Patched::Changed(patched))
    }

    /// The header as it is written again at the end.
    fn again(
        &mut self,
        bytes: &[u8],
        info: &HeaderInfo<'_>,
        reserve: Option<&Reserve>,
    ) -> Option<Patched> {
        let header = header::moov(find(bytes, &[b"moov"])?, info)?;
        let (content, _) = header::with_reserve(&header, reserve)?;
        let new = boxed(b"moov", &content)?;
        // Even one that does not fit where it was is right at the end.
        self.ending.header = header;
        Some(Patched::Changed(new))
    }

    /// The head of a fragment, in one page with that of its media if there is room for it in one, without what stands in
    /// for media that has not come.
    fn fragment(&mut self, position: u64, bytes: &[u8]) -> Option<Patched> {
        let moof = boxes(bytes).next()?;
        let content = bytes.get(moof.content..moof.end)?;
        match gaps::without(content, &self.ending.header).unwrap_or(Left::All) {
            Left::All => self.add(position, content).map(Patched::Behind),
            Left::Some(without) => {
                let (old, new) = (content.len() as i64, boxed(b"moof", &without)?);
                let filler = self.add(position, &without).unwrap_or_default();
                self.moved += without.len() as i64 - old;
                self.extend(content);
                let behind = bytes.get(moof.end..)?;
                Some(Patched::Changed([&filler[..], &new, behind].concat()))
            }
            Left::None => {
                self.extend(content);
                let mut free = bytes.to_vec();
                free.get_mut(moof.start + 4..moof.start + 8)?
                    .copy_from_slice(b"free");
                Some(Patched::Changed(free))
            }
        }
    }

    fn extend(&mut self, moof: &[u8]) {
        let Ending { header, tables, .. } = &mut self.ending;
        let _ = gaps::extend(moof, header, tables);
    }

    /// Notes the fragment whose `moof` has this content, and gives the filler that goes in front of it, if any does.
    fn add(&mut self, position: u64, moof: &[u8]) -> Option<Vec<u8>> {
        let length = moof.len() as u64 + 8;
        let filler = filler(self.place(position), length + MDAT_HEAD);
        let filler = usize::try_from(filler).ok()?;
        self.moved += filler as i64;
        let place = self.place(position);
        for traf in boxes(moof).filter(|part| part.name == b"traf") {
            let traf = moof.get(traf.content..traf.end)?;
            let Some((track, runs)) = fragment::runs(traf, &self.ending.header) else {
                continue;
            };
            let first = runs.iter().find_map(|run| run.samples.first());
            if let Some((first, _)) = first.filter(|(first, _)| first.sync) {
                self.fragments.push(index::Place {
                    track,
                    decode_time: first.decode_time,
                    file: place,
                });
            }
        }
        let Ending { header, tables, .. } = &mut self.ending;
        // What is broken was the muxer's: what could be read is in the tables.
        let _ = fragment::read(moof, place, header, tables);
        boxed(b"free", &vec![0; filler.checked_sub(8)?])
    }
}

/// How long a box has to be at `place` so that `length` bytes behind it are in one page; 0 for none.
fn filler(place: u64, length: u64) -> u64 {
    // Of a box.
    const LEAST: u64 = 8;
    let fits = |filler: &u64| (place + filler) % PAGE + length <= PAGE;
    let left = PAGE - place % PAGE;
    let mut fillers = [0, left, LEAST, left + PAGE].into_iter();
    let found = fillers.find(|filler| (*filler == 0 || *filler >= LEAST) && fits(filler));
    found.unwrap_or(0)
}

/// The fragment that begins with these bytes, with its track: the first, if it has more.
pub fn fragment(bytes: &[u8]) -> Option<Unit> {
    boxes(bytes).next().filter(|first| first.name == b"moof")?;
    let track = find(bytes, &[b"moof", b"traf", b"tfhd"]).and_then(|tfhd| number(tfhd, 4, 4));
    Some(Unit {
        track: track.and_then(|track| usize::try_from(track).ok()),
    })
}

#[cfg(test)]
mod tests;
