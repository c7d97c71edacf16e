//! Writes bare MP3 files: tags, an Info frame that is rewritten at the end, and the frames.
//!
//! xingmux writes no encoder delay and padding, and no tags.

use crate::{
    formats::{Mp3Header, Mp3Info, id3},
    session::{
        probe::{is_eos, probe},
        timing::lock,
    },
};
use gst::prelude::*;
use std::sync::{Arc, Mutex};

/// Limit for the seek index; when it is full, every other entry is removed and the interval doubles.
const MAX_PLACES: usize = 4_096;

#[derive(Debug, Default)]
struct File {
    /// Padding after the tags, in bytes.
    room: usize,
    tags: Option<gst::TagList>,
    first: Option<Mp3Header>,
    /// Size of the tags, and size of the file so far, in bytes.
    tag_size: u64,
    size: u64,
    frames: u32,
    varies: bool,
    /// Byte offsets of every `apart`th frame.
    places: Vec<u64>,
    apart: u32,
    /// End of the audio, as a buffer timestamp.
    end: gst::ClockTime,
    /// Set while this fixup pushes its own buffer.
    passing: bool,
}

impl File {
    fn add_tags(&mut self, new: gst::TagList) {
        let tags = match self.tags.take() {
            Some(tags) => tags.merge(&new, gst::TagMergeMode::Replace),
            None => new,
        };
        self.tags = Some(tags);
    }

    /// The tags and the Info frame, which precede the first frame.
    fn begin(&mut self, frame: &[u8], delay: u32) -> Option<gst::Buffer> {
        let first = Mp3Header::parse(frame)?;
        let none = gst::TagList::new();
        let tag = id3(self.tags.as_deref().unwrap_or(&none), self.room);
        self.first = Some(first);
        self.apart = 1;
        self.tag_size = tag.len() as u64;
        let info = Mp3Info {
            index: None,
            constant: true,
            gaps: (delay > 0).then_some((delay, 0)),
        };
        let info = info.frame(&first);
        self.size = info.len() as u64;
        Some(gst::Buffer::from_mut_slice([tag, info].concat()))
    }

    /// Registers a frame. Returns what precedes the first one, with `passing` set until the caller resets it.
    fn pass(&mut self, buffer: &gst::BufferRef, delay: u32) -> Option<gst::Buffer> {
        if self.passing {
            return None;
        }
        let frame = buffer.map_readable().ok()?;
        let head = match self.first {
            None => self.begin(&frame, delay),
            Some(_) => None,
        };
        self.note(buffer, &frame);
        self.passing = head.is_some();
        head
    }

    fn note(&mut self, buffer: &gst::BufferRef, frame: &[u8]) {
        if self.frames.is_multiple_of(self.apart.max(1)) {
            if self.places.len() >= MAX_PLACES {
                let mut keep = false;
                self.places.retain(|_| {
                    keep = !keep;
                    keep
                });
                self.apart = self.apart.saturating_mul(2);
            }
            if self.frames.is_multiple_of(self.apart.max(1)) {
                self.places.push(self.size);
            }
        }
        self.frames = self.frames.saturating_add(1);
        self.size += frame.len() as u64;
        if let (Some(first), Some(this)) = (&self.first, Mp3Header::parse(frame)) {
            self.varies |= !first.has_rate_of(&this);
        }
        if let (Some(pts), Some(duration)) = (buffer.pts(), buffer.duration()) {
            self.end = self.end.max(pts + duration);
        }
    }

    /// The final Info frame, and its offset.
    fn finish(&self, delay: u32) -> Option<(u64, gst::Buffer)> {
        let first = self.first?;
        let mut table = [0; 100];
        for (hundredth, entry) in table.iter_mut().enumerate() {
            let at = self.places.get(self.places.len() * hundredth / 100);
            let part = at.copied().unwrap_or(0) * 256 / self.size.max(1);
            *entry = u8::try_from(part).unwrap_or(u8::MAX);
        }
        let ends = self
            .end
            .nseconds()
            .mul_div_round(first.rate.into(), gst::ClockTime::SECOND.nseconds());
        let all = u64::from(self.frames) * u64::from(first.samples);
        let behind = all.saturating_sub(ends.unwrap_or(all));
        let info = Mp3Info {
            index: Some((
                self.frames,
                u32::try_from(self.size).unwrap_or(u32::MAX),
                table,
            )),
            constant: !self.varies,
            gaps: (delay > 0).then_some((delay, u32::try_from(behind).unwrap_or(0))),
        };
        Some((
            self.tag_size,
            gst::Buffer::from_mut_slice(info.frame(&first)),
        ))
    }
}

/// Writes a complete file around the frames that pass `muxer`, which is a pass-through. `delay`: encoder plus decoder
/// delay in samples, 0 if unknown. `room`: padding after the tags, in bytes.
pub fn write(muxer: &gst::Element, delay: u32, room: usize) {
    let (Some(sink), Some(src)) = (muxer.static_pad("sink"), muxer.static_pad("src")) else {
        return;
    };
    let file = Arc::new(Mutex::new(File {
        room,
        ..File::default()
    }));
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    let whole = file.clone();
    probe(&src, kinds, move |pad, info| {
        match &info.data {
            Some(gst::PadProbeData::Event(event)) => {
                if let gst::EventView::Tag(tag) = event.view() {
                    lock(&file).add_tags(tag.tag_owned());
                }
            }
            Some(gst::PadProbeData::Buffer(buffer)) => {
                let head = lock(&file).pass(buffer, delay);
                if let Some(head) = head {
                    // On failure, the push of the frame fails as well.
                    let _ = pad.push(head);
                    lock(&file).passing = false;
                }
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
    // On the sink pad: once EOS has passed the src pad, that accepts no more buffers.
    let src = src.downgrade();
    probe(
        &sink,
        gst::PadProbeType::EVENT_DOWNSTREAM,
        move |_, info| {
            if is_eos(info)
                && let Some(src) = src.upgrade()
            {
                let last = lock(&whole).finish(delay);
                if let Some((at, frame)) = last {
                    lock(&whole).passing = true;
                    let mut segment = gst::FormattedSegment::<gst::format::Bytes>::new();
                    segment.set_start(gst::format::Bytes::from_u64(at));
                    src.push_event(gst::event::Segment::new(&segment));
                    // The element that failed has posted the error.
                    let _ = src.push(frame);
                }
            }
            gst::PadProbeReturn::Ok
        },
    );
}
