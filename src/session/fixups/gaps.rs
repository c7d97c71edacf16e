//! A track that stays away, told to a muxer that would wait for it, and takes no GAP event for an answer: a buffer without
//! content goes in its place, which players never see.
//!
//! In Matroska and MP4 what becomes of it is taken out of the muxer's bytes (`formats/patch`); in Ogg it is Theora's own
//! way to show a picture on.

use crate::{
    model::timeline::Ns,
    session::{
        probe::{leave_out, probe},
        timing::lock,
    },
};
use gst::prelude::*;
use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

/// What tells that nothing comes before this recorded time: a GAP event, which parsers and codecs pass on in its place.
pub fn event(until: Ns) -> gst::Event {
    gst::event::Gap::new(gst::ClockTime::from_nseconds(until), None)
}

/// A gap of more frames than these is told at once.
const MAX_FRAMES: u64 = 30_000;
/// A hole in what comes that is no longer than this is jitter of the stamps: frames are counted on.
const MAX_JITTER: gst::ClockTime = gst::ClockTime::from_mseconds(100);

/// Frames of a constant rate that have left a pad.
#[derive(Debug, Default)]
struct Frames {
    length: Option<gst::ClockTime>,
    end: Option<gst::ClockTime>,
    /// Others stand in for frames that do not come.
    is_away: bool,
}

/// Has buffers without content leave `source`, which feeds a muxer, for the gaps that are told there: stamped `headroom`
/// nanoseconds later than recorded time, and one for each frame where the muxer's container counts `frames`.
pub fn stand_in(source: &gst::Pad, headroom: Ns, counts_frames: bool) {
    let frames = Mutex::new(Frames::default());
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    probe(source, kinds, move |pad, info| {
        if let Some(buffer) = info.buffer_mut() {
            // What stands in passes here, too.
            let is_frame = counts_frames && buffer.size() > 0;
            if let Some(pts) = buffer.pts().filter(|_| is_frame) {
                let missing = lock(&frames).come_back(pts);
                if missing.is_some() {
                    // It begins a page: FFmpeg does not count what has no content, and believes the end of a page.
                    buffer.make_mut().unset_flags(gst::BufferFlags::DELTA_UNIT);
                }
                push(pad, missing.unwrap_or_default(), counts_frames);
                lock(&frames).note(pts, buffer.duration());
            }
            return gst::PadProbeReturn::Ok;
        }
        let Some(gst::EventView::Gap(gap)) = info.event().map(|event| event.view()) else {
            return gst::PadProbeReturn::Ok;
        };
        let (until, _) = gap.get();
        let at = running_time(pad, until + gst::ClockTime::from_nseconds(headroom));
        // Before it is known what comes there is nothing that it could stand in for.
        if let Some(at) = at.filter(|_| pad.has_current_caps()) {
            let places = match counts_frames {
                true => lock(&frames).stay_away(at),
                false => vec![(at, gst::ClockTime::ZERO)],
            };
            push(pad, places, counts_frames);
        }
        leave_out(info)
    });
}

/// Has gaps pass `timestamper`, which keeps frames back, and all events for the next frame: those that it has go first.
pub fn pass(timestamper: &gst::Element) {
    let (Some(sink), Some(source)) = (
        timestamper.static_pad("sink"),
        timestamper.static_pad("src"),
    ) else {
        return;
    };
    let source = source.downgrade();
    let is_drained = AtomicBool::new(false);
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    probe(&sink, kinds, move |pad, info| {
        if info.buffer().is_some() {
            is_drained.store(false, Ordering::Relaxed);
            return gst::PadProbeReturn::Ok;
        }
        let gap = info.event();
        let gap = gap.filter(|event| event.type_() == gst::EventType::Gap);
        let Some((gap, source)) = gap.cloned().zip(source.upgrade()) else {
            return gst::PadProbeReturn::Ok;
        };
        if !is_drained.swap(true, Ordering::Relaxed) {
            drain(pad);
        }
        source.push_event(gap);
        leave_out(info)
    });
}

/// Any other segment drains a timestamper: that of `pad` differs in what nobody reads.
fn drain(pad: &gst::Pad) {
    let Some(event) = pad.sticky_event::<gst::event::Segment>(0) else {
        return;
    };
    if let Some(segment) = event.segment().downcast_ref::<gst::ClockTime>() {
        let mut segment = segment.clone();
        let position = segment.position().unwrap_or_default();
        segment.set_position(position + gst::ClockTime::NSECOND);
        let event = gst::event::Segment::builder(&segment).seqnum(event.seqnum());
        pad.send_event(event.build());
    }
}

/// Has buffers without content leave `pad`, at these times and so long.
fn push(pad: &gst::Pad, places: Vec<(gst::ClockTime, gst::ClockTime)>, counts_frames: bool) {
    let last = places.len().saturating_sub(1);
    for (number, (pts, duration)) in places.into_iter().enumerate() {
        let mut buffer = nothing(pts, duration);
        // oggmux counts frames from the last key frame, in no more bits than the stream's own distance between these
        // needs: it is told that they are some. Behind a delta unit one begins a page.
        let is_key = counts_frames && number < last;
        if let Some(fields) = buffer.get_mut().filter(|_| !is_key) {
            fields.set_flags(gst::BufferFlags::DELTA_UNIT);
        }
        // Errors of the muxer are on its bus.
        let _ = pad.push(buffer);
    }
}

/// The position at a running time in the segment that has left a pad.
fn running_time(pad: &gst::Pad, running: gst::ClockTime) -> Option<gst::ClockTime> {
    let segment = pad.sticky_event::<gst::event::Segment>(0)?;
    let segment = segment.segment().downcast_ref::<gst::ClockTime>()?;
    segment.position_from_running_time(running)
}

impl Frames {
    fn note(&mut self, pts: gst::ClockTime, length: Option<gst::ClockTime>) {
        self.length = length.or(self.length);
        self.end = Some(pts + self.length.unwrap_or_default());
    }

    /// Those before `until` that have not come, and will not.
    fn stay_away(&mut self, until: gst::ClockTime) -> Vec<(gst::ClockTime, gst::ClockTime)> {
        self.is_away = true;
        let missing = self.missing(until);
        let end = missing.last().map(|(at, length)| *at + *length);
        self.end = end.or(self.end);
        missing
    }

    /// Those that are missing before one that comes at `pts`, behind a gap or a hole: where nothing comes on any track,
    /// nobody tells of a gap.
    fn come_back(&mut self, pts: gst::ClockTime) -> Option<Vec<(gst::ClockTime, gst::ClockTime)>> {
        let was_away = std::mem::take(&mut self.is_away);
        let is_hole = |end| pts.saturating_sub(end) > MAX_JITTER;
        if !was_away && !self.end.is_some_and(is_hole) {
            return None;
        }
        // Stamps are rounded.
        Some(self.missing(pts + self.length.unwrap_or_default() / 2))
    }

    /// Those before `until` that have not come.
    fn missing(&self, until: gst::ClockTime) -> Vec<(gst::ClockTime, gst::ClockTime)> {
        let (Some(length), Some(end)) = (self.length.filter(|l| !l.is_zero()), self.end) else {
            return Vec::new();
        };
        let count = until.saturating_sub(end).nseconds() / length.nseconds();
        if count > MAX_FRAMES {
            // Stamps may leap by days.
            return vec![(until - length, length)];
        }
        (0..count).map(|n| (end + length * n, length)).collect()
    }
}

/// A buffer without content.
fn nothing(pts: gst::ClockTime, duration: gst::ClockTime) -> gst::Buffer {
    let mut buffer = gst::Buffer::new();
    if let Some(fields) = buffer.get_mut() {
        fields.set_pts(pts);
        fields.set_dts(pts);
        fields.set_duration(duration);
    }
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: gst::ClockTime = gst::ClockTime::from_mseconds(1);

    /// Frames of 40 ms that have come until 400 ms.
    fn frames() -> Frames {
        let mut frames = Frames::default();
        frames.note(MS * 360, Some(MS * 40));
        frames
    }

    #[test]
    fn a_hole_of_which_nobody_tells_is_counted_as_frames_and_jitter_is_not() {
        assert_eq!(frames().come_back(MS * 400), None);
        assert_eq!(frames().come_back(MS * 495), None);
        let missing = frames().come_back(MS * 601).unwrap();
        assert_eq!(
            missing,
            (0..5u64)
                .map(|n| (MS * (400 + 40 * n), MS * 40))
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn behind_a_gap_the_frames_of_which_nobody_told_are_missing() {
        let mut frames = frames();
        assert_eq!(frames.stay_away(MS * 500).len(), 2);
        assert_eq!(frames.come_back(MS * 520), Some(vec![(MS * 480, MS * 40)]));
        frames.note(MS * 520, Some(MS * 40));
        assert_eq!(frames.come_back(MS * 560), None);
    }
}
