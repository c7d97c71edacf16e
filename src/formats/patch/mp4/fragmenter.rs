//! Joins the single-sample fragments that mp4mux writes, so that a fragment can end at any sample: at a timeslice, at
//! a keyframe, or when data is requested. mp4mux itself only writes a fragment once it has the configured duration.

mod joined;

use super::fragment::runs;
use crate::formats::{
    boxes::{self, BOX_HEADER, boxes, find},
    patch::number,
};
use crate::model::timeline::Ns;
use joined::Fragment;

const SECOND: u64 = 1_000_000_000;
/// Maximum duration of a fragment within a timeslice, and so the most that is lost if the process is killed.
const MAX_FRAGMENT: Ns = SECOND;
/// A fragment that ends this much later than a timeslice still ends with it, since timestamps are rounded.
const ROUNDING: Ns = 500_000;
/// A fragment that is this long past its limit belongs to a track that has ended.
const MAX_IDLE: Ns = SECOND;
/// Maximum size of a fragment.
const MAX_BYTES: u64 = 1 << 30;

/// Bytes, and the position at which mp4mux would have written them, had it written the joined fragments.
pub type Write = (u64, gst::Buffer);

/// See the module.
#[derive(Debug, Default)]
pub struct Fragmenter {
    /// 0 for none.
    timeslice: Ns,
    tracks: Vec<Track>,
    /// Position of the first fragment, which is the same before and after joining.
    begin: Option<u64>,
    /// Position of the next output.
    position: u64,
    /// Position of the muxer's next write.
    muxer: u64,
    incoming: Option<Incoming>,
    fragments: u32,
    /// The muxer's output cannot be parsed any more, and is passed through.
    gave_up: bool,
}

/// A track in the header.
#[derive(Debug)]
struct Track {
    number: u32,
    timescale: u32,
    is_video: bool,
    /// Recorded time of decode time 0, once known from buffer timestamps.
    base: Option<i64>,
    longest: Ns,
    open: Option<Fragment>,
}

/// A fragment from mp4mux that arrives buffer by buffer.
#[derive(Debug)]
struct Incoming {
    fragment: Fragment,
    /// Remaining bytes of media; `None` before the `mdat` header.
    missing: Option<u64>,
    /// Timestamp of its first sample, including the track's offset from recorded time.
    stamp: Option<Ns>,
}

impl Fragmenter {
    /// Ends fragments at timeslices of this duration.
    pub fn set_timeslice(&mut self, timeslice: Ns) {
        self.timeslice = timeslice;
    }

    /// Output position for the muxer's bytes at `position`.
    pub fn place(&self, position: u64) -> u64 {
        match self.begin {
            Some(begin) if position >= begin => {
                position.saturating_sub(self.muxer.saturating_sub(self.position))
            }
            _ => position,
        }
    }

    /// Processes the muxer's next bytes, and returns what to write now. `late`: offset of the timestamps of the track
    /// with this index from recorded time.
    pub fn push(
        &mut self,
        position: u64,
        buffer: gst::Buffer,
        late: &dyn Fn(usize) -> Ns,
    ) -> Vec<Write> {
        if position < self.muxer {
            return vec![(self.place(position), buffer)];
        }
        self.muxer = position.saturating_add(buffer.size() as u64);
        if self.gave_up {
            return vec![(self.advance(buffer.size()), buffer)];
        }
        match self.incoming.take() {
            Some(incoming) => self.media(incoming, buffer, late),
            None => self.structure(position, buffer),
        }
    }

    /// Ends all pending fragments with the samples so far.
    pub fn end_fragments(&mut self) -> Vec<Write> {
        let mut writes = Vec::new();
        for index in 0..self.tracks.len() {
            self.close(index, &mut writes);
        }
        writes
    }

    fn advance(&mut self, size: usize) -> u64 {
        let at = self.position;
        self.position = at.saturating_add(size as u64);
        at
    }

    fn structure(&mut self, position: u64, buffer: gst::Buffer) -> Vec<Write> {
        let Ok(bytes) = buffer.map_readable() else {
            return self.give_up(buffer);
        };
        match boxes::header(&bytes) {
            Some((b"moof", _)) => {
                let fragment = Fragment::parse(&bytes);
                drop(bytes);
                if self.begin.is_none() {
                    self.begin = Some(position);
                    self.position = position;
                }
                let Some(fragment) = fragment.filter(|f| self.index_of(f.track).is_some()) else {
                    return self.give_up(buffer);
                };
                self.incoming = Some(Incoming {
                    fragment,
                    missing: None,
                    stamp: None,
                });
                Vec::new()
            }
            Some((b"mfra", _)) => {
                drop(bytes);
                let mut writes = self.end_fragments();
                writes.push((self.advance(buffer.size()), buffer));
                writes
            }
            _ if self.begin.is_none() => {
                self.learn(&bytes);
                drop(bytes);
                vec![(position, buffer)]
            }
            // The content of an empty `mdat`.
            _ if bytes.is_empty() => Vec::new(),
            _ => {
                drop(bytes);
                self.give_up(buffer)
            }
        }
    }

    fn media(
        &mut self,
        mut incoming: Incoming,
        buffer: gst::Buffer,
        late: &dyn Fn(usize) -> Ns,
    ) -> Vec<Write> {
        match &mut incoming.missing {
            None => {
                let Some(size) = media_size(&buffer) else {
                    return self.give_up(buffer);
                };
                incoming.missing = Some(size);
            }
            Some(missing) => {
                let Some(left) = missing.checked_sub(buffer.size() as u64) else {
                    return self.give_up(buffer);
                };
                *missing = left;
                let stamp = buffer.dts_or_pts().map(gst::ClockTime::nseconds);
                incoming.stamp = incoming.stamp.or(stamp);
                incoming.fragment.media.push(buffer);
            }
        }
        if incoming.missing != Some(0) {
            self.incoming = Some(incoming);
            return Vec::new();
        }
        self.add(incoming, late)
    }

    fn add(&mut self, incoming: Incoming, late: &dyn Fn(usize) -> Ns) -> Vec<Write> {
        let Incoming {
            fragment, stamp, ..
        } = incoming;
        let mut writes = Vec::new();
        let Some(index) = self.index_of(fragment.track) else {
            return writes;
        };
        let Some(track) = self.tracks.get_mut(index) else {
            return writes;
        };
        let (begin, end) = track.place(&fragment, stamp, late(index));
        let ends_open = track.open.as_ref().is_some_and(|open| {
            (track.is_video && fragment.begins_with_key_frame())
                || end > open.limit
                || open.size.saturating_add(fragment.size) > MAX_BYTES
        });
        let idle = |open: &Fragment| open.limit.saturating_add(MAX_IDLE) <= begin;
        for number in 0..self.tracks.len() {
            let open = self
                .tracks
                .get(number)
                .and_then(|track| track.open.as_ref());
            if (number == index && ends_open) || open.is_some_and(idle) {
                self.close(number, &mut writes);
            }
        }
        let timeslice = self.timeslice;
        if let Some(track) = self.tracks.get_mut(index) {
            match &mut track.open {
                Some(open) => open.append(fragment),
                None => {
                    let mut fragment = fragment;
                    fragment.limit = limit(begin, track.longest, timeslice);
                    track.open = Some(fragment);
                }
            }
        }
        writes
    }

    fn close(&mut self, index: usize, writes: &mut Vec<Write>) {
        let open = self
            .tracks
            .get_mut(index)
            .and_then(|track| track.open.take());
        let Some(open) = open else {
            return;
        };
        let number = self.fragments.saturating_add(1);
        let Some(head) = open.head(number) else {
            return;
        };
        self.fragments = number;
        let head = head.into_iter().map(gst::Buffer::from_mut_slice);
        for buffer in head.chain(open.media) {
            writes.push((self.advance(buffer.size()), buffer));
        }
    }

    /// Writes the pending fragments, and these bytes unmodified: the file may be usable up to them.
    fn give_up(&mut self, buffer: gst::Buffer) -> Vec<Write> {
        self.gave_up = true;
        let mut writes = self.end_fragments();
        writes.push((self.advance(buffer.size()), buffer));
        writes
    }

    fn index_of(&self, number: u32) -> Option<usize> {
        self.tracks.iter().position(|track| track.number == number)
    }

    /// Reads the tracks, if these bytes contain the header.
    fn learn(&mut self, bytes: &[u8]) {
        let moov = find(bytes, &[b"moov"]).unwrap_or_default();
        for part in boxes(moov).filter(|part| part.name == b"trak") {
            let trak = moov.get(part.content..part.end).unwrap_or_default();
            self.tracks.extend(Track::parse(trak));
        }
    }
}

impl Track {
    fn parse(trak: &[u8]) -> Option<Self> {
        let tkhd = find(trak, &[b"tkhd"])?;
        let at = if *tkhd.first()? == 1 { 20 } else { 12 };
        let mdhd = find(trak, &[b"mdia", b"mdhd"])?;
        let timescale = super::ordinary::timescale(mdhd)?;
        Some(Track {
            number: u32::try_from(number(tkhd, at, 4)?).ok()?,
            timescale,
            is_video: find(trak, &[b"mdia", b"hdlr"])?.get(8..12)? == b"vide",
            base: None,
            longest: 0,
            open: None,
        })
    }

    /// Recorded start and end time of a fragment.
    fn place(&mut self, fragment: &Fragment, stamp: Option<Ns>, late: Ns) -> (Ns, Ns) {
        let time = |ticks: u64| {
            let time = u128::from(ticks) * u128::from(SECOND) / u128::from(self.timescale.max(1));
            i64::try_from(time).unwrap_or(i64::MAX)
        };
        let (begin, end) = fragment.times();
        if let (None, Some(stamp)) = (self.base, stamp) {
            self.base = Some(stamp.cast_signed().saturating_sub(time(begin)));
        }
        let offset = self.base.unwrap_or(0).saturating_sub(late.cast_signed());
        let placed = |ticks| u64::try_from(time(ticks).saturating_add(offset)).unwrap_or(0);
        let (begin, end) = (placed(begin), placed(end));
        self.longest = self.longest.max(end - begin);
        (begin, end)
    }
}

/// Latest end, in recorded time, of a fragment that starts at `from`: the end of a `timeslice` or of an equal part of
/// one, but late enough for a sample of duration `sample`.
fn limit(from: Ns, sample: Ns, timeslice: Ns) -> Ns {
    if timeslice == 0 {
        return from.saturating_add(MAX_FRAGMENT);
    }
    let slice = u128::from(timeslice);
    let parts = u128::from(timeslice.div_ceil(MAX_FRAGMENT));
    let least = u128::from(from) + u128::from(sample.saturating_sub(ROUNDING));
    let number = (least * parts).div_ceil(slice);
    // Not the end of the previous fragment.
    let number = number.max(u128::from(from) * parts / slice + 1);
    let end = u64::try_from(number * slice / parts).unwrap_or(u64::MAX);
    end.saturating_add(ROUNDING)
}

/// Size of the media in an `mdat`, from its header.
fn media_size(buffer: &gst::BufferRef) -> Option<u64> {
    let bytes = buffer.map_readable().ok()?;
    let (name, size) = boxes::header(&bytes)?;
    // mp4mux 1.22 leaves the size of an empty `mdat` at 0.
    let size = size.max(bytes.len() as u64);
    let is_head = name == b"mdat" && bytes.len() >= BOX_HEADER;
    is_head.then(|| size - bytes.len() as u64)
}

#[cfg(test)]
mod tests;
