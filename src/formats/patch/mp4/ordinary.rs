//! An ordinary MP4 out of a fragmented one, behind its media: one `moov` that names every sample.
//!
//! While it grows a file is `ftyp free moov (moof mdat)*`. At its end `free{moov}` is appended, with the texts of
//! chapters in front of that `moov`; then the 16 bytes of
//! the first `free` become the head of an `mdat` that reaches from there to the new `moov`, over the old one and all
//! fragments: first its length, where `free` has content that nobody reads, then, with one write of eight aligned
//! bytes, length field and name. Whichever of these writes is the last to arrive, the file is one or the other.

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

/// Length of the box in front of `moov` that becomes the head of `mdat`.
pub(super) const ROOM: u64 = 16;
/// Units of recorded time in a second.
const NANOSECONDS: u32 = 1_000_000_000;
/// Movie timescales beyond this are not used, though edits would then end exactly.
const MAX_TIMESCALE: u32 = 100_000_000;

/// What is left to be done with a recording's bytes when its last media has come.
#[derive(Debug, Default)]
pub struct Ending {
    /// The fragments' index, as it goes into a file that stays fragmented.
    pub(super) index: Option<Vec<u8>>,
    /// Where the box is that becomes the head of `mdat`.
    pub(super) room: Option<u64>,
    /// The content of the `moov` in front.
    pub(super) header: Vec<u8>,
    pub(super) tables: Tables,
    pub(super) chapters: Vec<Chapter>,
}

impl Ending {
    /// The fragments' index, for bytes that stay fragments: goes behind the last.
    pub fn take_index(&mut self) -> Option<gst::Buffer> {
        self.index.take().map(gst::Buffer::from_mut_slice)
    }

    /// Where bytes are that [`Completion::patches`] change, the first of them. `None` where nothing can be made ordinary.
    pub fn head(&self) -> Option<u64> {
        self.room.filter(|_| !self.header.is_empty())
    }

    /// Where the last fragment ends that lies as a whole within the first `length` bytes; 0 if none does.
    pub fn whole_until(&self, length: u64) -> u64 {
        self.tables.whole_until(length)
    }

    /// What makes an ordinary file of the first `length` bytes, and all media in them.
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

/// The box that becomes the head of `mdat`, and what has to stand in front of it so that it is aligned, if it comes
/// behind `position` bytes.
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

/// A track of the fragmented file's header.
struct Track<'a> {
    number: u32,
    trak: &'a [u8],
    table: Option<&'a Table>,
    /// Of its samples.
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

    /// What is shown of it; `before` is the fragmented movie's timescale, `movie` the ordinary one's.
    fn shown(&self, before: u32, movie: u32) -> Option<Shown> {
        let times = self.times?;
        let begin = Begin::of(self.trak);
        Some(Shown::new(begin, times, self.timescale, before, movie))
    }
}

/// Of `mvhd` and `mdhd`.
pub(super) fn timescale(times: &[u8]) -> Option<u32> {
    let at = if *times.first()? == 1 { 20 } else { 12 };
    u32::try_from(number(times, at, 4)?)
        .ok()
        .filter(|scale| *scale > 0)
}

/// The movie's timescale: one in which every track's samples, of audio first, end at a whole number.
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

/// The tracks of a fragmented file's header.
fn tracks<'a>(header: &'a [u8], tables: &'a Tables) -> Option<Vec<Track<'a>>> {
    let traks = boxes(header).filter(|part| part.name == b"trak");
    let tracks = traks.map(|part| Track::new(header.get(part.content..part.end)?, tables));
    tracks.collect()
}

/// How long an ordinary file is.
fn duration(header: &[u8], tables: &Tables) -> Option<Ns> {
    let before = timescale(find(header, &[b"mvhd"])?)?;
    let tracks = tracks(header, tables)?;
    let movie = movie_timescale(&tracks);
    let shown = tracks.iter().filter_map(|track| track.shown(before, movie));
    let lasts = shown.map(|shown| shown.total()).max();
    Some(rescale(lasts.unwrap_or(0), movie, NANOSECONDS))
}

/// The content of an ordinary file's `moov`, by that of a fragmented one's and the samples.
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

/// The content of a track's `trak`, and how long it is, in the movie's timescale.
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

/// `mvhd`, `tkhd` or `mdhd` with this duration, and timescale: all begin with two dates, `between` more bytes, and
/// the duration; these are twice as wide in version 1 (8.2.2, 8.3.2, 8.4.2).
fn with_times(
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
