//! Converts a fragmented MP4 to a regular one by appending one `moov` with all samples.
//!
//! While recording, a file is `ftyp free moov (moof mdat)*`. At the end, `free{moov}` is appended, with the samples of
//! the chapter track in front of that `moov`. Then the 16 bytes of the first `free` become the header of an `mdat` that
//! spans everything up to the new `moov`, including the old one and all fragments: first its 64-bit length, which is in
//! the content of the `free` box, and then, in a single write of eight aligned bytes, size field and type. The file is
//! valid in one form or the other after any number of these writes.

use super::{
    boxes::{BOX_HEADER, boxed, boxes, find},
    edits::{Begin, Shown, rescale},
    samples::{Table, Tables, Times},
    text_track::{self, TextTrack},
};
use crate::formats::{
    chapters::Chapter,
    patch::{Completion, number},
};
use crate::model::timeline::Ns;

/// Length of the placeholder box in front of `moov` that becomes the `mdat` header.
pub(super) const ROOM: u64 = 16;
/// Timescale of recorded time.
const NANOSECONDS: u32 = 1_000_000_000;
/// Maximum movie timescale, even if edits then do not end exactly.
const MAX_TIMESCALE: u32 = 100_000_000;

/// The remaining work after the last media has been written.
#[derive(Debug, Default)]
pub struct Ending {
    /// The fragment index, for a file that stays fragmented.
    pub(super) index: Option<Vec<u8>>,
    /// Offset of the placeholder box that becomes the `mdat` header.
    pub(super) room: Option<u64>,
    /// Content of the `moov` at the start.
    pub(super) header: Vec<u8>,
    pub(super) tables: Tables,
    pub(super) chapters: Vec<Chapter>,
}

impl Ending {
    /// The fragment index to append if the output stays fragmented.
    pub fn take_index(&mut self) -> Option<gst::Buffer> {
        self.index.take().map(gst::Buffer::from_mut_slice)
    }

    /// Lowest offset that [`Completion::patches`] overwrite. `None` if no conversion is possible.
    pub fn head(&self) -> Option<u64> {
        self.room.filter(|_| !self.header.is_empty())
    }

    /// End of the last fragment that is complete within the first `length` bytes; 0 if there is none.
    pub fn whole_until(&self, length: u64) -> u64 {
        self.tables.whole_until(length)
    }

    /// Converts the first `length` bytes, with all media in them, to a regular file.
    pub fn ordinary(&mut self, length: u64) -> Option<Completion> {
        let room = self.head()?;
        self.tables.keep_until(length);
        let (header, tables) = (&self.header, &self.tables);
        let text = match self.chapters.as_slice() {
            [] => None,
            chapters => TextTrack::new(
                chapters,
                duration(header, tables)?,
                length + BOX_HEADER as u64,
            ),
        };
        let moov = moov(header, tables, &self.chapters, text.as_ref())?;
        let moov = boxed(b"moov", &moov)?;
        let texts = text.map_or_else(Vec::new, |text| text.samples);
        let appended = boxed(b"free", &[&texts[..], &moov].concat())?;
        let before = (appended.len() - moov.len()) as u64;
        let media = length.checked_add(before)?.checked_sub(room)?;
        let switch = [1u32.to_be_bytes(), *b"mdat"].concat();
        let patches = vec![(room + 8, media.to_be_bytes().to_vec()), (room, switch)];
        Some(Completion::new(appended, patches))
    }
}

/// The placeholder box that becomes the `mdat` header at the end, with filler in front for alignment, if it follows
/// `position` bytes. Also returns its offset.
pub(super) fn room(position: u64) -> Option<(Vec<u8>, u64)> {
    let odd = position % 8;
    let mut bytes = Vec::new();
    if odd > 0 {
        let filler = usize::try_from(8 - odd).ok()?;
        bytes = boxed(b"free", &vec![0; filler])?;
    }
    let at = position + bytes.len() as u64;
    bytes.extend_from_slice(&boxed(b"free", &[0; ROOM as usize - 8])?);
    Some((bytes, at))
}

/// A track in the header of the fragmented file.
struct Track<'a> {
    number: u32,
    trak: &'a [u8],
    table: Option<&'a Table>,
    /// Presentation times of its samples.
    times: Option<Times>,
    timescale: u32,
    video: bool,
}

impl<'a> Track<'a> {
    fn new(trak: &'a [u8], tables: &'a Tables) -> Option<Self> {
        let tkhd = find(trak, &[b"tkhd"])?;
        let at = if *tkhd.first()? == 1 { 20 } else { 12 };
        let number = u32::try_from(number(tkhd, at, 4)?).ok()?;
        let table = tables.get(number).filter(|table| table.count() > 0);
        let video = find(trak, &[b"mdia", b"hdlr"])?.get(8..12)? == b"vide";
        Some(Track {
            number,
            trak,
            table,
            times: table.and_then(|table| table.times(video)),
            timescale: timescale(find(trak, &[b"mdia", b"mdhd"])?)?,
            video,
        })
    }

    /// Its presentation; `before` and `movie` are the timescales of the fragmented and the regular movie.
    fn shown(&self, before: u32, movie: u32) -> Option<Shown> {
        let times = self.times?;
        let begin = Begin::of(self.trak);
        Some(Shown::new(begin, times, self.timescale, before, movie))
    }
}

/// Timescale in an `mvhd` or `mdhd`.
pub(super) fn timescale(times: &[u8]) -> Option<u32> {
    let at = if *times.first()? == 1 { 20 } else { 12 };
    u32::try_from(number(times, at, 4)?)
        .ok()
        .filter(|scale| *scale > 0)
}

/// Movie timescale in which all tracks end at whole ticks, with audio tracks taking precedence.
fn movie_timescale(tracks: &[Track<'_>]) -> u32 {
    let by_kind = |video| {
        let tracks = tracks.iter().filter(move |track| track.video == video);
        tracks.map(|track| track.timescale)
    };
    let gcd = |mut a: u32, mut b: u32| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    by_kind(false)
        .chain(by_kind(true))
        .fold(1, |common, scale| {
            let least = (common / gcd(common, scale)).checked_mul(scale);
            least
                .filter(|least| *least <= MAX_TIMESCALE)
                .unwrap_or(common)
        })
}

/// The tracks in the header of a fragmented file.
fn tracks<'a>(header: &'a [u8], tables: &'a Tables) -> Option<Vec<Track<'a>>> {
    let traks = boxes(header).filter(|part| part.name == b"trak");
    let tracks = traks.map(|part| Track::new(header.get(part.content..part.end)?, tables));
    tracks.collect()
}

/// Duration of the regular file.
fn duration(header: &[u8], tables: &Tables) -> Option<Ns> {
    let before = timescale(find(header, &[b"mvhd"])?)?;
    let tracks = tracks(header, tables)?;
    let movie = movie_timescale(&tracks);
    let shown = tracks.iter().filter_map(|track| track.shown(before, movie));
    let lasts = shown.map(|shown| shown.total()).max();
    Some(rescale(lasts.unwrap_or(0), movie, NANOSECONDS))
}

/// The content of a regular file's `moov`, from the fragmented file's header and the sample tables.
pub(super) fn moov(
    header: &[u8],
    tables: &Tables,
    chapters: &[Chapter],
    text: Option<&TextTrack>,
) -> Option<Vec<u8>> {
    let mvhd = find(header, &[b"mvhd"])?;
    let tracks = tracks(header, tables)?;
    let (before, movie) = (timescale(mvhd)?, movie_timescale(&tracks));
    let number = tracks.iter().map(|track| track.number).max();
    let number = number.unwrap_or(0).checked_add(1)?;
    let mut longest = 0;
    let mut traks = Vec::new();
    for track in &tracks {
        let (mut trak, lasts) = trak(track, before, movie)?;
        longest = longest.max(lasts);
        if text.is_some() {
            trak = text_track::with_reference(&trak, number)?;
        }
        traks.push(boxed(b"trak", &trak)?);
    }
    if let Some(text) = text {
        traks.push(text.trak(number, movie)?);
    }
    let mut mvhd = with_times(mvhd, 4, Some(movie), longest)?;
    if text.is_some() {
        let next = number.checked_add(1)?.to_be_bytes();
        *mvhd.last_chunk_mut()? = next;
    }
    let mut new = boxed(b"mvhd", &mvhd)?;
    new.extend(traks.concat());
    for part in boxes(header) {
        match part.name {
            // There are no fragments any more.
            b"mvhd" | b"trak" | b"mvex" => {}
            b"udta" if text.is_some() => {}
            _ => new.extend_from_slice(header.get(part.start..part.end)?),
        }
    }
    if text.is_some() {
        new.extend(text_track::udta(header, chapters)?);
    }
    Some(new)
}

/// The content of a track's `trak`, and its duration in the movie timescale.
fn trak(track: &Track<'_>, before: u32, movie: u32) -> Option<(Vec<u8>, u64)> {
    let shown = track.shown(before, movie);
    let lasts = shown.map_or(0, |shown| shown.total());
    let decoded = track.table.map_or(0, |table| table.decoded(track.video));
    let media = track.times.map_or(0, |times| times.end).max(decoded);
    let mut new = Vec::new();
    for part in boxes(track.trak) {
        let old = track.trak.get(part.content..part.end)?;
        match part.name {
            b"tkhd" => {
                new.extend(boxed(b"tkhd", &with_times(old, 8, None, lasts)?)?);
                if let Some(shown) = shown {
                    new.extend(shown.edts(rescale(media, track.timescale, movie))?);
                }
            }
            b"edts" => {}
            b"mdia" => new.extend(boxed(b"mdia", &mdia(old, track, media)?)?),
            _ => new.extend_from_slice(track.trak.get(part.start..part.end)?),
        }
    }
    Some((new, lasts))
}

fn mdia(old: &[u8], track: &Track<'_>, lasts: u64) -> Option<Vec<u8>> {
    let mut new = Vec::new();
    for part in boxes(old) {
        let content = old.get(part.content..part.end)?;
        match part.name {
            b"mdhd" => new.extend(boxed(b"mdhd", &with_times(content, 4, None, lasts)?)?),
            b"minf" => new.extend(boxed(b"minf", &minf(content, track)?)?),
            _ => new.extend_from_slice(old.get(part.start..part.end)?),
        }
    }
    Some(new)
}

fn minf(old: &[u8], track: &Track<'_>) -> Option<Vec<u8>> {
    let mut new = Vec::new();
    for part in boxes(old) {
        if part.name != b"stbl" {
            new.extend_from_slice(old.get(part.start..part.end)?);
            continue;
        }
        let stbl = old.get(part.content..part.end)?;
        let stsd = boxes(stbl).find(|part| part.name == b"stsd")?;
        let mut content = stbl.get(stsd.start..stsd.end)?.to_vec();
        let none = Table::default();
        content.append(&mut track.table.unwrap_or(&none).write(track.video)?);
        new.append(&mut boxed(b"stbl", &content)?);
    }
    Some(new)
}

/// `mvhd`, `tkhd` or `mdhd` with this duration and timescale. All start with two dates, `between` more bytes, and the
/// duration; dates and duration are 64-bit in version 1 (8.2.2, 8.3.2, 8.4.2).
pub(super) fn with_times(
    old: &[u8],
    between: usize,
    timescale: Option<u32>,
    duration: u64,
) -> Option<Vec<u8>> {
    let version = *old.first()?;
    let wide = if version == 1 { 8 } else { 4 };
    let narrow = version == 0 && duration < u64::from(u32::MAX);
    let mut new = vec![u8::from(!narrow)];
    new.extend_from_slice(old.get(1..4)?);
    for date in [number(old, 4, wide)?, number(old, 4 + wide, wide)?] {
        if narrow {
            new.extend_from_slice(&(date as u32).to_be_bytes());
        } else {
            new.extend_from_slice(&date.to_be_bytes());
        }
    }
    let at = 4 + 2 * wide;
    match timescale {
        Some(timescale) => new.extend_from_slice(&timescale.to_be_bytes()),
        None => new.extend_from_slice(old.get(at..at + between)?),
    }
    if narrow {
        new.extend_from_slice(&(duration as u32).to_be_bytes());
    } else {
        new.extend_from_slice(&duration.to_be_bytes());
    }
    new.extend_from_slice(old.get(at + between + wide..)?);
    Some(new)
}

#[cfg(test)]
mod tests;
