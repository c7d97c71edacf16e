//! MP4 (ISO 14496-12): patches mp4mux's output on the fly, and converts it to a regular (unfragmented) file at the end.
//!
//! The header changes its length, a placeholder `free` box is inserted in front of it, and filler is inserted in front
//! of some fragments: so all later offsets change. The fragment index is rebuilt.

mod edits;
mod fragment;
mod fragmenter;
mod gaps;
mod header;
mod index;
mod ordinary;
mod samples;
mod text_track;

pub use fragmenter::{Fragmenter, Write};
pub use ordinary::Ending;

use super::{Patched, Unit, VideoTrack, number};
use crate::formats::{
    boxes::{self, BOX_HEADER, boxed, boxes, find},
    chapters::{Chapter, Reserve, Syntax},
    delay::Delay,
};
use gaps::Left;
use std::ops::Range;

/// A write within one page of the file is atomic with regard to the process being killed.
const PAGE: u64 = 4096;
/// An empty `mdat`.
const MDAT: &[u8; 8] = b"\0\0\0\x08mdat";
/// Maximum length of an `mdat` header.
const MDAT_HEAD: u64 = 16;

/// Header data that the muxer does not know.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeaderInfo<'a> {
    /// Of the audio tracks, in order.
    pub delays: &'a [Delay],
    /// Of the video tracks, in order.
    pub video_tracks: &'a [VideoTrack],
    /// Wall-clock time of recorded time 0, in nanoseconds since 1970.
    pub date: Option<i64>,
    /// Bytes to reserve for chapters.
    pub room: usize,
}

/// Offsets in the file, and its samples.
#[derive(Debug, Default)]
pub struct Layout {
    /// Position of the first `moov` according to the muxer.
    moov: Option<Range<u64>>,
    /// Its length in the file.
    written: u64,
    /// Bytes inserted in front of it.
    inserted: u64,
    /// Current shift of everything after it, in bytes.
    moved: i64,
    fragments: Vec<index::Place>,
    /// Data for the end of the recording.
    ending: Ending,
}

impl Layout {
    /// File offset of the muxer's next bytes at `position`.
    pub fn place(&self, position: u64) -> u64 {
        match &self.moov {
            Some(moov) if position >= moov.end => position.saturating_add_signed(self.moved),
            Some(moov) if position >= moov.start => position + self.inserted,
            Some(_) => position,
            // The placeholder box is after the bytes written so far.
            None => position + self.inserted,
        }
    }

    /// Whether `size` bytes may replace the muxer's bytes from `from` to `to`: not if they are a rewritten header that
    /// is incomplete or has another length.
    pub fn fits(&self, from: u64, to: u64, size: u64) -> bool {
        match &self.moov {
            Some(moov) if from < moov.end && to > moov.start => {
                // The bytes before it include the placeholder box.
                let before = self.place(moov.start).saturating_sub(self.place(from));
                to == moov.end && from <= moov.start && size == before + self.written
            }
            _ => true,
        }
    }

    /// Patches container structure at `position`; `None` if it is unchanged.
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
                // mp4mux leaves the size of an empty `mdat` at 0, which means "until the end of the file" (4.2.2).
                Some(Patched::Changed(MDAT.to_vec()))
            }
            (Some((b"mfra", length)), Some(true)) if length == bytes.len() as u64 => {
                Some(Patched::Dropped)
            }
            _ => None,
        }
    }

    /// Takes the data for the end, with all chapters; call once.
    pub fn take_ending(&mut self, chapters: Vec<Chapter>) -> Ending {
        let mut ending = std::mem::take(&mut self.ending);
        let places = std::mem::take(&mut self.fragments);
        ending.index = index::mfra(&places).filter(|_| !places.is_empty());
        ending.chapters = chapters;
        ending
    }

    /// Patches the start of the file, and inserts the placeholder box in front of the header.
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
                // Its offset is set below.
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

    /// Patches the header as rewritten at the end.
    fn again(
        &mut self,
        bytes: &[u8],
        info: &HeaderInfo<'_>,
        reserve: Option<&Reserve>,
    ) -> Option<Patched> {
        let header = header::moov(find(bytes, &[b"moov"])?, info)?;
        let (content, _) = header::with_reserve(&header, reserve)?;
        let new = boxed(b"moov", &content)?;
        // It is the right one for the end even if it does not fit into its place.
        self.ending.header = header;
        Some(Patched::Changed(new))
    }

    /// Patches the head of a fragment: removes the empty samples that represent gaps, and moves the head into one page
    /// with the `mdat` header, if a page is large enough.
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

    /// Registers the fragment with this `moof` content, and returns the filler to insert in front of it, if any.
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
        // The muxer wrote a broken fragment; the samples parsed so far are in the tables.
        let _ = fragment::read(moof, place, header, tables);
        boxed(b"free", &vec![0; filler.checked_sub(8)?])
    }
}

/// Length of a box at `place` that moves the following `length` bytes into one page; 0 for none.
fn filler(place: u64, length: u64) -> u64 {
    // Minimum size of a box.
    const LEAST: u64 = 8;
    let fits = |filler: &u64| (place + filler) % PAGE + length <= PAGE;
    let left = PAGE - place % PAGE;
    let mut fillers = [0, left, LEAST, left + PAGE].into_iter();
    let found = fillers.find(|filler| (*filler == 0 || *filler >= LEAST) && fits(filler));
    found.unwrap_or(0)
}

/// The fragment that starts with these bytes, with its first track.
pub fn fragment(bytes: &[u8]) -> Option<Unit> {
    boxes(bytes).next().filter(|first| first.name == b"moof")?;
    let track = find(bytes, &[b"moof", b"traf", b"tfhd"]).and_then(|tfhd| number(tfhd, 4, 4));
    Some(Unit {
        track: track.and_then(|track| usize::try_from(track).ok()),
    })
}

#[cfg(test)]
mod tests;
