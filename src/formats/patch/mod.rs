//! Patches muxer output on the fly: fixes what muxers omit or get wrong.

mod ending;
mod head;
mod matroska;
mod mp4;
mod riff;
mod segment;
mod structure;

pub use ending::{Completion, Ending};
pub use matroska::join as join_alpha;
pub use structure::Unit;

use super::{
    bits::number,
    chapters::{Chapter, Reserve, Rewrite},
    codec_config::CodecConfig,
    delay::Delay,
    flac,
    hdr::HdrMetadata,
};
use crate::model::{Container, Orientation, timeline::Ns};
use ending::Tail;
use head::Head;
use segment::Segment;
use std::ops::Range;
use structure::{Structure, Syntax, Written as Follows};

/// What a container has to signal for a video track.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VideoTrack {
    /// Its packets are pairs of colour and alpha packets, joined by [`join_alpha`].
    pub alpha: bool,
    /// Orientation to signal.
    pub turn: Orientation,
    pub hdr: HdrMetadata,
    /// Offset of its timestamps from recorded time, in nanoseconds.
    pub decode_delay: u64,
    /// Codec configuration that the muxer does not write.
    pub codec_config: Option<CodecConfig>,
}

/// Output bytes.
#[derive(Debug)]
pub struct Written {
    pub buffer: gst::Buffer,
    /// The cluster or fragment that starts with them.
    pub unit: Option<Unit>,
    /// A timeslice ends with them: the recorded time at which the next one begins. (Only fragments are held back until
    /// that is known.)
    pub slice_end: Option<Ns>,
}

/// Patches the bytes of one recording. See `mp4.rs` and `matroska.rs` for details.
#[derive(Debug)]
pub struct Patch {
    delays: Vec<Delay>,
    video_tracks: Vec<VideoTrack>,
    kind: Kind,
    structure: Structure,
    /// Position of the next bytes according to the muxer.
    position: u64,
    /// Space reserved for chapters.
    chapters: ChapterSpace,
    /// Wall-clock time of recorded time 0, in nanoseconds since 1970.
    date: Option<i64>,
    /// The ending has been taken.
    ended: bool,
}

/// Space for chapters in a container's head.
#[derive(Debug, Default)]
struct ChapterSpace {
    /// Bytes to reserve; 0 for none.
    room: usize,
    /// The reserved space, once the head has been written.
    reserve: Option<Reserve>,
    /// From this muxer position on, output is shifted by this many bytes.
    moved: Option<(u64, u64)>,
}

impl ChapterSpace {
    /// By how much output at the muxer's `position` is shifted.
    fn shift(&self, position: u64) -> u64 {
        match self.moved {
            Some((from, by)) if position >= from => by,
            _ => 0,
        }
    }
}

#[derive(Debug)]
enum Kind {
    /// Only the first bytes may be modified.
    Head(Head),
    Mp4(Box<Mp4>),
    Matroska {
        /// The header has not been patched yet.
        header: bool,
        /// Tags have started: they are written at the end, element by element.
        tags: bool,
        /// Blocks with alpha.
        blocks: matroska::Blocks,
        segment: Option<Segment>,
    },
}

/// MP4: joins fragments, and then computes their positions.
#[derive(Debug, Default)]
struct Mp4 {
    fragmenter: mp4::Fragmenter,
    layout: mp4::Layout,
}

impl Patch {
    /// `delays` and `video_tracks` are what the container has to signal for the audio and the video tracks, both in the
    /// order of the muxer's pads.
    pub fn new(container: Container, delays: Vec<Delay>, video_tracks: Vec<VideoTrack>) -> Self {
        let kind = match container {
            Container::Mp4 => Kind::Mp4(Box::default()),
            Container::WebM | Container::Matroska => Kind::Matroska {
                header: true,
                tags: false,
                blocks: matroska::Blocks::default(),
                segment: None,
            },
            Container::Wav => Kind::Head(Head::Riff),
            Container::Flac => Kind::Head(Head::Flac {
                next: flac::MARKER.len() as u64,
            }),
            Container::Ogg => Kind::Head(Head::Ogg {
                pages: Default::default(),
                at: 0,
            }),
            Container::Mp3 => Kind::Head(Head::Id3),
        };
        let syntax = match container {
            Container::Mp4 => Some(Syntax::Mp4),
            Container::WebM | Container::Matroska => Some(Syntax::Matroska),
            _ => None,
        };
        Patch {
            delays,
            video_tracks,
            kind,
            structure: Structure::new(syntax),
            position: 0,
            chapters: ChapterSpace::default(),
            date: None,
            ended: false,
        }
    }

    /// Reserves `room` bytes for chapters in the head, unless the muxer did so. Call before the header is written.
    pub fn reserve_chapters(&mut self, room: usize) {
        self.chapters.room = room;
    }

    /// Sets the wall-clock time of recorded time 0, in nanoseconds since 1970.
    pub fn set_date(&mut self, date: i64) {
        self.date = Some(date);
    }

    /// Sets the pre-skip of Opus audio track `number`, for the header.
    pub fn set_pre_skip(&mut self, number: usize, samples: u16) {
        if let Some(delay) = self.delays.get_mut(number) {
            *delay = Delay::PreSkip(samples);
        }
    }

    /// Sets the codec configuration of video track `number`. No effect once the header has been written.
    pub fn set_codec_config(&mut self, number: usize, config: CodecConfig) {
        if let (0, Some(video_track)) = (self.position, self.video_tracks.get_mut(number)) {
            video_track.codec_config = Some(config);
        }
    }

    /// Sets the HDR metadata of video track `number`. No effect once the header has been written.
    pub fn set_hdr(&mut self, number: usize, hdr: HdrMetadata) {
        if let (0, Some(video_track)) = (self.position, self.video_tracks.get_mut(number)) {
            video_track.hdr = hdr;
        }
    }

    /// Sets the offset of the timestamps of video track `number` from recorded time, in nanoseconds. No effect once the
    /// header has been written.
    pub fn set_decode_delay(&mut self, number: usize, nanoseconds: u64) {
        if let (0, Some(video_track)) = (self.position, self.video_tracks.get_mut(number)) {
            video_track.decode_delay = nanoseconds;
        }
    }

    /// The muxer's caps, without `streamheader` if the header in the recording is patched.
    pub fn caps(&self, caps: &gst::CapsRef) -> gst::Caps {
        let mut caps = caps.to_owned();
        if matches!(self.kind, Kind::Mp4(_) | Kind::Matroska { .. })
            && let Some(structure) = caps.make_mut().structure_mut(0)
        {
            structure.remove_field("streamheader");
        }
        caps
    }

    /// The muxer seeks to `position`. Returns the corresponding position in the recording.
    pub fn seek(&mut self, position: u64) -> u64 {
        self.position = position;
        match &self.kind {
            Kind::Mp4(mp4) => mp4.layout.place(mp4.fragmenter.place(position)),
            _ => position + self.chapters.shift(position),
        }
    }

    /// Makes MP4 fragments end at timeslices of this duration; 0 for none.
    pub fn set_timeslice(&mut self, timeslice: Ns) {
        if let Kind::Mp4(mp4) = &mut self.kind {
            mp4.fragmenter.set_timeslice(timeslice);
        }
    }

    /// No more media comes for the track with this index.
    pub fn end_track(&mut self, index: usize) {
        if let Kind::Mp4(mp4) = &mut self.kind {
            mp4.fragmenter.end_track(index);
        }
    }

    /// Patches the muxer's next bytes, and returns them with the units that start with them. Media is never modified.
    /// `late`: offset of the timestamps of the track with this index from recorded time.
    ///
    /// `None`: the write is refused, since it would replace bytes of another length.
    pub fn bytes(
        &mut self,
        buffer: gst::Buffer,
        late: &dyn Fn(usize) -> Ns,
    ) -> Option<Vec<Written>> {
        let position = self.position;
        self.position += buffer.size() as u64;
        match &mut self.kind {
            Kind::Mp4(mp4) => {
                let writes = mp4.fragmenter.push(position, buffer, late);
                self.written(writes)
            }
            _ => self.written(vec![mp4::Write {
                position,
                buffer,
                slice_end: None,
            }]),
        }
    }

    /// Ends the pending MP4 fragments here, and returns them.
    pub fn end_fragments(&mut self) -> Vec<Written> {
        let writes = match &mut self.kind {
            Kind::Mp4(mp4) => mp4.fragmenter.end_fragments(),
            _ => Vec::new(),
        };
        self.written(writes).unwrap_or_default()
    }

    fn written(&mut self, writes: Vec<mp4::Write>) -> Option<Vec<Written>> {
        let mut written = Vec::with_capacity(writes.len());
        for write in writes {
            let mp4::Write {
                position,
                buffer,
                slice_end,
            } = write;
            let out = |buffer, unit| Written {
                buffer,
                unit,
                slice_end: None,
            };
            let end = position.saturating_add(buffer.size() as u64);
            let known = self.structure.end();
            let (unit, patched) = match self.structure.follow(position, &buffer) {
                Follows::Media => (None, self.patch_media(position, &buffer)),
                Follows::Structure(unit) => (unit, self.patch(position, &buffer)?),
                Follows::Again if end > known => return None,
                Follows::Again => (None, self.patch(position, &buffer)?),
            };
            match patched.unwrap_or(Patched::Same) {
                Patched::Same => written.push(out(buffer, unit)),
                Patched::Changed(bytes) => written.push(out(in_place_of(&buffer, bytes), unit)),
                Patched::Behind(bytes) => {
                    written.push(out(gst::Buffer::from_mut_slice(bytes), None));
                    written.push(out(buffer, unit));
                }
                Patched::Dropped => {}
            }
            if let (Some(_), Some(last)) = (slice_end, written.last_mut()) {
                last.slice_end = slice_end;
            }
        }
        Some(written)
    }

    /// Patches container structure at `position`: `Some(None)` if it is unchanged, `None` if the write is refused.
    fn patch(&mut self, position: u64, buffer: &gst::BufferRef) -> Option<Option<Patched>> {
        match &mut self.kind {
            Kind::Head(_) => self.patch_head_again(position, buffer),
            Kind::Mp4(mp4) => {
                let layout = &mut mp4.layout;
                let info = mp4::HeaderInfo {
                    delays: &self.delays,
                    video_tracks: &self.video_tracks,
                    date: self.date,
                    room: self.chapters.room,
                };
                let reserve = &mut self.chapters.reserve;
                let patched = map(buffer, |bytes| {
                    layout.patch(position, bytes, &info, reserve)
                });
                let size = match &patched {
                    Some(Patched::Changed(bytes)) => bytes.len(),
                    _ => buffer.size(),
                };
                let end = position + buffer.size() as u64;
                let fits = layout.fits(position, end, size as u64);
                fits.then_some(patched)
            }
            Kind::Matroska {
                header,
                tags,
                blocks,
                segment,
            } => Some(map(buffer, |bytes| {
                let fields = matroska::HeaderFields {
                    delays: &self.delays,
                    video_tracks: &self.video_tracks,
                };
                let patched = if *header && fields.is_needed() {
                    matroska::patch(bytes, &fields, blocks)
                } else {
                    None
                };
                *header &= patched.is_none();
                *tags |= matroska::begins_tags(bytes);
                if matroska::is_empty_block(bytes) {
                    return Some(Patched::Changed(matroska::voided(bytes)));
                }
                if let Some(patched) = of_block(blocks.follow(bytes)) {
                    return Some(patched);
                }
                let new = patched.as_deref().unwrap_or(bytes);
                let mut patched = matroska::patch_tags(new, *tags).or(patched);
                if segment.is_none() {
                    let mut head = patched.clone().unwrap_or_else(|| bytes.to_vec());
                    if let Some((found, reserve)) = Segment::begin(position, &mut head, self.date) {
                        *segment = Some(found);
                        self.chapters.reserve = reserve;
                        patched = Some(head);
                    }
                }
                patched.map(Patched::Changed)
            })),
        }
    }

    /// Patches bytes that are presumably media.
    fn patch_media(&mut self, position: u64, buffer: &gst::BufferRef) -> Option<Patched> {
        match &mut self.kind {
            Kind::Matroska { blocks, .. } if blocks.are_pending() => {
                map(buffer, |bytes| of_block(blocks.follow(bytes)))
            }
            _ => self.patch_head(position, buffer),
        }
    }

    /// Patches bytes that may belong to the head of a container without boxes or elements.
    fn patch_head(&mut self, position: u64, buffer: &gst::BufferRef) -> Option<Patched> {
        let Kind::Head(head) = &mut self.kind else {
            return None;
        };
        if head.is_over() {
            return None;
        }
        let (room, date) = (self.chapters.room, self.date);
        let changed = map(buffer, |bytes| head.follow(position, bytes, room, date))?;
        self.chapters.reserve = Some(changed.reserve);
        self.chapters.moved = changed.moved;
        changed.bytes.map(Patched::Changed)
    }

    /// The same for bytes that are rewritten. `None`: the write is refused, since it spans inserted bytes.
    fn patch_head_again(&self, position: u64, buffer: &gst::BufferRef) -> Option<Option<Patched>> {
        let end = position + buffer.size() as u64;
        match (&self.chapters.reserve, self.chapters.moved) {
            (Some(reserve), Some((from, _))) if position < from && end > from => {
                let again = map(buffer, |bytes| head::with_chunks(bytes, reserve));
                let whole = again.filter(|_| position == 0);
                whole.map(|bytes| Some(Patched::Changed(bytes)))
            }
            _ => Some(None),
        }
    }

    /// Range of the space for chapters in the head, once that has been written.
    pub fn reserve(&self) -> Option<Range<u64>> {
        let reserve = self.chapters.reserve.as_ref()?;
        Some(reserve.at()..reserve.end())
    }

    /// Writes as many of these chapters into the head as fit. `end`: recorded time so far.
    pub fn rewrite_chapters(&mut self, chapters: &[Chapter], end: Ns) -> Rewrite {
        let reserve = self.chapters.reserve.as_mut();
        reserve.map_or_else(Rewrite::default, |reserve| reserve.rewrite(chapters, end))
    }

    /// Whether chapters that do not fit into the head are appended at the end.
    pub fn appends_chapters(&self) -> bool {
        match &self.kind {
            Kind::Head(head) => head.rate().is_some(),
            Kind::Mp4(_) | Kind::Matroska { .. } => true,
        }
    }

    /// Takes the remaining work after the last bytes; call once. `chapters` is complete; the last one ends at `end`.
    pub fn take_ending(&mut self, chapters: Vec<Chapter>, end: Ns) -> Ending {
        if std::mem::replace(&mut self.ended, true) {
            return Ending::default();
        }
        let rewrite = self.rewrite_chapters(&chapters, end);
        let mut ending = Ending {
            patches: rewrite.patches,
            ..Ending::default()
        };
        let all_are_kept = rewrite.kept == chapters.len();
        let reserve = self.chapters.reserve.take();
        match &mut self.kind {
            Kind::Mp4(mp4) => ending.tail = Tail::Mp4(mp4.layout.take_ending(chapters)),
            Kind::Matroska { segment, .. } => match *segment {
                Some(segment) if !all_are_kept => {
                    ending.tail = Tail::Matroska(segment::Ending {
                        segment,
                        chapters,
                        reserve,
                    });
                }
                Some(segment) if chapters.is_empty() && reserve.is_some() => {
                    // The muxer's seek head refers to an empty element.
                    ending.patches.extend(segment.seek_entry(None));
                }
                _ => {}
            },
            Kind::Head(_) if all_are_kept => {}
            Kind::Head(head) => match head.rate() {
                Some(rate) => {
                    ending.tail = Tail::Riff(riff::Ending {
                        chapters,
                        rate,
                        reserve,
                    });
                }
                None => ending.lost_chapters = chapters.len() - rewrite.kept,
            },
        }
        ending
    }
}

/// What to do with bytes from the muxer.
#[derive(Debug, PartialEq, Eq)]
enum Patched {
    /// Write them unmodified.
    Same,
    /// Write these instead.
    Changed(Vec<u8>),
    /// Write these, then the original bytes.
    Behind(Vec<u8>),
    /// Drop them.
    Dropped,
}

/// What to do with the bytes of a block.
fn of_block(followed: matroska::Followed) -> Option<Patched> {
    match followed {
        matroska::Followed::Same => None,
        matroska::Followed::Withheld => Some(Patched::Dropped),
        matroska::Followed::Whole(block) => Some(Patched::Changed(block)),
    }
}

/// A buffer with these bytes and the timestamps and flags of `buffer`, which tell the writer where blobs may end.
fn in_place_of(buffer: &gst::BufferRef, bytes: Vec<u8>) -> gst::Buffer {
    let mut patched = gst::Buffer::from_mut_slice(bytes);
    if let Some(patched) = patched.get_mut() {
        let what = gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS;
        let _ = buffer.copy_into(patched, what, ..);
    }
    patched
}

/// Whether these bytes from mp4mux start a fragment.
pub fn begins_fragment(buffer: &gst::BufferRef) -> bool {
    let mut head = [0; 8];
    buffer.copy_to_slice(0, &mut head).is_ok() && head.ends_with(b"moof")
}

fn map<T>(buffer: &gst::BufferRef, patch: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
    // Headers are small; anything large is media.
    const MAX_BUFFER_SIZE: usize = 1 << 24;
    if buffer.size() > MAX_BUFFER_SIZE {
        return None;
    }
    patch(&buffer.map_readable().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes at `position`, and returns the size of the output, or `None` if the write is refused.
    fn write(patch: &mut Patch, position: u64, bytes: &[u8]) -> Option<usize> {
        patch.seek(position);
        let written = patch.bytes(gst::Buffer::from_slice(bytes.to_vec()), &|_| 0);
        written.map(|written| written.iter().map(|written| written.buffer.size()).sum())
    }

    #[test]
    fn a_rewrite_has_the_same_length() {
        gst::init().unwrap();
        let mut patch = Patch::new(Container::Mp4, Vec::new(), Vec::new());
        let moov = b"\0\0\0\x18moov\0\0\0\x10mvhd\0\0\0\0\0\0\0\0";
        let longer = b"\0\0\0\x19moov\0\0\0\x11mvhd\0\0\0\0\0\0\0\0\0";
        let shorter = b"\0\0\0\x17moov\0\0\0\x0fmvhd\0\0\0\0\0\0\0";
        let ftyp = b"\0\0\0\x08ftyp";
        let whole = [ftyp.as_slice(), moov].concat();
        // Includes the `free` box.
        assert_eq!(write(&mut patch, 0, &whole), Some(48));
        assert_eq!(
            write(&mut patch, 32, b"\0\0\0\x10moof\0\0\0\x08traf"),
            Some(16)
        );
        for (position, header) in [
            (8, longer.as_slice()),
            (8, shorter),
            (8, &moov[..20]),
            (12, &moov[4..]),
            (0, &[ftyp.as_slice(), longer].concat()),
            // Beyond the end.
            (40, moov),
        ] {
            assert_eq!(write(&mut patch, position, header), None, "{position}");
        }
        assert_eq!(write(&mut patch, 8, moov), Some(24));
        assert_eq!(write(&mut patch, 0, &whole), None, "without the room");
        assert_eq!(write(&mut patch, 0, ftyp), Some(8));
        assert_eq!(write(&mut patch, 48, b"\0\0\0\x08free"), Some(8));
        let mut patch = Patch::new(Container::Wav, Vec::new(), Vec::new());
        assert_eq!(write(&mut patch, 0, b"RIFF...."), Some(8));
        assert_eq!(write(&mut patch, 4, b"size"), Some(4));
        assert_eq!(write(&mut patch, 4, b"sizes"), None);
        assert_eq!(write(&mut patch, 8, b"data"), Some(4));
    }
}
