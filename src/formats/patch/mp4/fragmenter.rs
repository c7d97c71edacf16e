//! Joins the single-sample fragments that mp4mux writes, so that a fragment can end at any sample: at a timeslice, at
//! a keyframe, or when data is requested. mp4mux itself only writes a fragment once it has the configured duration.

mod joined;
mod slices;

use super::fragment::runs;
use crate::formats::boxes::{self, BOX_HEADER, boxes, find};
use crate::{log::CAT, model::timeline::Ns};
use joined::Fragment;
use slices::{Slices, Track};

const SECOND: u64 = 1_000_000_000;
/// Maximum duration of a fragment, and so the most that is lost if the process is killed.
const MAX_FRAGMENT: Ns = SECOND;
/// A fragment that is this long past its limit belongs to a track that has ended.
const MAX_IDLE: Ns = SECOND;

/// Bytes, and where they go.
#[derive(Debug)]
pub struct Write {
    /// The position at which mp4mux would have written them, had it written the joined fragments.
    pub position: u64,
    pub buffer: gst::Buffer,
    /// A timeslice ends with them: the recorded time at which the next one begins.
    pub slice_end: Option<Ns>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Fragmenter {
    tracks: Vec<Track>,
    slices: Slices,
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

/// A fragment from mp4mux that arrives buffer by buffer.
#[derive(Debug)]
struct Incoming {
    /// Index of its track.
    track: usize,
    fragment: Fragment,
    /// Its head as the muxer wrote it.
    head: Vec<gst::Buffer>,
    /// Remaining bytes of media; `None` before the `mdat` header.
    missing: Option<u64>,
    /// Timestamp of its first sample, including the track's offset from recorded time.
    stamp: Option<Ns>,
}

/// A complete fragment from mp4mux, with its place in recorded time.
#[derive(Debug)]
struct Placed {
    track: usize,
    begin: Ns,
    end: Ns,
    fragment: Fragment,
}

impl Fragmenter {
    /// Ends fragments at timeslices of this duration.
    pub fn set_timeslice(&mut self, timeslice: Ns) {
        self.slices = Slices::new(timeslice);
    }

    /// No more media comes for the track with this index, except for what the muxer still holds.
    pub fn end_track(&mut self, index: usize) {
        self.slices.end_track(index);
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
        let mut writes = Vec::new();
        if position < self.muxer {
            writes.push(Write {
                position: self.place(position),
                buffer,
                slice_end: None,
            });
            return writes;
        }
        self.muxer = position.saturating_add(buffer.size() as u64);
        if self.gave_up {
            self.write(buffer, &mut writes);
            return writes;
        }
        match self.incoming.take() {
            Some(incoming) => self.media(incoming, buffer, late, &mut writes),
            None => self.structure(position, buffer, &mut writes),
        }
        writes
    }

    /// Ends all pending fragments with the samples so far, those of a timeslice that has only begun included.
    pub fn end_fragments(&mut self) -> Vec<Write> {
        let mut writes = Vec::new();
        while self.slices.is_waiting() {
            self.next_slice(&mut writes);
        }
        self.close_all(&mut writes);
        writes
    }

    /// Writes a buffer behind all others.
    fn write(&mut self, buffer: gst::Buffer, writes: &mut Vec<Write>) {
        let position = self.position;
        self.position = position.saturating_add(buffer.size() as u64);
        writes.push(Write {
            position,
            buffer,
            slice_end: None,
        });
    }

    fn structure(&mut self, position: u64, buffer: gst::Buffer, writes: &mut Vec<Write>) {
        if self.begin.is_none() {
            self.position = position;
        }
        let Ok(bytes) = buffer.map_readable() else {
            return self.give_up([buffer], writes);
        };
        match boxes::header(&bytes) {
            Some((b"moof", _)) => {
                let fragment = Fragment::parse(&bytes);
                drop(bytes);
                self.begin.get_or_insert(position);
                let track = fragment.as_ref().and_then(|of| self.index_of(of.track));
                let (Some(fragment), Some(track)) = (fragment, track) else {
                    return self.give_up([buffer], writes);
                };
                self.incoming = Some(Incoming {
                    track,
                    fragment,
                    head: vec![buffer],
                    missing: None,
                    stamp: None,
                });
            }
            Some((b"mfra", _)) => {
                drop(bytes);
                writes.extend(self.end_fragments());
                self.write(buffer, writes);
            }
            _ if self.begin.is_none() => {
                self.learn(&bytes);
                drop(bytes);
                writes.push(Write {
                    position,
                    buffer,
                    slice_end: None,
                });
            }
            // The content of an empty `mdat`.
            _ if bytes.is_empty() => (),
            _ => {
                drop(bytes);
                self.give_up([buffer], writes);
            }
        }
    }

    fn media(
        &mut self,
        mut incoming: Incoming,
        buffer: gst::Buffer,
        late: &dyn Fn(usize) -> Ns,
        writes: &mut Vec<Write>,
    ) {
        let size = buffer.size() as u64;
        let missing = match incoming.missing {
            None => media_size(&buffer).filter(|size| *size == incoming.fragment.size),
            Some(missing) => missing.checked_sub(size),
        };
        if missing.is_none() {
            let Incoming { head, fragment, .. } = incoming;
            let all = head.into_iter().chain(fragment.media).chain([buffer]);
            return self.give_up(all, writes);
        }
        if incoming.missing.is_none() {
            incoming.head.push(buffer);
        } else {
            let stamp = buffer.dts_or_pts().map(gst::ClockTime::nseconds);
            incoming.stamp = incoming.stamp.or(stamp);
            incoming.fragment.media.push(buffer);
        }
        incoming.missing = missing;
        if missing != Some(0) {
            self.incoming = Some(incoming);
            return;
        }
        let Incoming {
            track,
            fragment,
            stamp,
            ..
        } = incoming;
        let Some(of_track) = self.tracks.get_mut(track) else {
            return;
        };
        let (begin, end) = of_track.place(&fragment, stamp, late(track));
        let placed = Placed {
            track,
            begin,
            end,
            fragment,
        };
        if let Some(placed) = self.slices.postpone(placed) {
            self.add(placed, writes);
        }
        while self.slices.is_complete(&self.tracks) {
            self.next_slice(writes);
        }
    }

    /// Ends the timeslice, and begins the next one with the samples that wait for it.
    fn next_slice(&mut self, writes: &mut Vec<Write>) {
        self.close_all(writes);
        let samples = self.slices.begin_next();
        // If all of it has been written because data was requested, it does not end once more.
        if let Some(last) = writes.last_mut() {
            last.slice_end = Some(self.slices.begin());
        }
        for placed in samples {
            self.add(placed, writes);
        }
    }

    /// Adds samples to the open fragment of their track, or to a new one.
    fn add(&mut self, placed: Placed, writes: &mut Vec<Write>) {
        let Placed {
            track: index,
            begin,
            end,
            mut fragment,
        } = placed;
        let idle = |open: &Fragment| open.limit.saturating_add(MAX_IDLE) <= begin;
        for number in 0..self.tracks.len() {
            let track = self.tracks.get(number);
            let ends = track.is_some_and(|track| {
                track.open.as_ref().is_some_and(|open| {
                    let is_key = track.is_video && fragment.begins_with_key_frame();
                    let ends = is_key
                        || !open.can_take(&fragment)
                        || self.slices.is_beyond(open.limit, begin, end);
                    (number == index && ends) || idle(open)
                })
            });
            if ends {
                self.close(number, writes);
            }
        }
        let limit = self.slices.limit(begin);
        if let Some(track) = self.tracks.get_mut(index) {
            match &mut track.open {
                Some(open) => open.append(fragment),
                None => {
                    fragment.limit = limit;
                    track.open = Some(fragment);
                }
            }
        }
    }

    fn close_all(&mut self, writes: &mut Vec<Write>) {
        for index in 0..self.tracks.len() {
            self.close(index, writes);
        }
    }

    fn close(&mut self, index: usize, writes: &mut Vec<Write>) {
        let track = self.tracks.get_mut(index);
        let Some(open) = track.and_then(|track| track.open.take()) else {
            return;
        };
        self.fragments = self.fragments.saturating_add(1);
        let head = open.head(self.fragments).map(gst::Buffer::from_mut_slice);
        for buffer in head.into_iter().chain(open.media) {
            self.write(buffer, writes);
        }
    }

    /// Writes the pending fragments, and these bytes and all later ones unmodified: none are lost.
    fn give_up(&mut self, buffers: impl IntoIterator<Item = gst::Buffer>, writes: &mut Vec<Write>) {
        gst::warning!(CAT, "Cannot join mp4mux' fragments: passes them through");
        self.gave_up = true;
        writes.extend(self.end_fragments());
        for buffer in buffers {
            self.write(buffer, writes);
        }
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
