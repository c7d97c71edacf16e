//! Notifies muxers of gaps in a track with empty buffers, since they ignore GAP events and would wait for the track.
//! Players never see these buffers.
//!
//! mp4mux also takes the first buffer of a track for the start of the recording, however late it is: in MP4, an empty one
//! at recorded time 0 precedes it.
//!
//! In Matroska and MP4 the resulting blocks and samples are removed from the muxer's output (`formats/patch`); in Ogg
//! an empty packet is Theora's own way to repeat the previous frame.

use crate::{
    model::{Container, timeline::Ns},
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

/// A GAP event: nothing arrives before this recorded time. Parsers and codecs forward it in order.
pub fn event(until: Ns) -> gst::Event {
    gst::event::Gap::new(gst::ClockTime::from_nseconds(until), None)
}

/// A gap longer than this many frames is represented by a single buffer.
const MAX_FRAMES: u64 = 30_000;
/// A hole up to this long is timestamp jitter: frames are counted contiguously.
const MAX_JITTER: gst::ClockTime = gst::ClockTime::from_mseconds(100);

/// Frames of a constant frame rate that have left a pad.
#[derive(Debug, Default)]
struct Frames {
    length: Option<gst::ClockTime>,
    end: Option<gst::ClockTime>,
    /// Missing frames are being replaced by empty buffers.
    is_away: bool,
}

/// Replaces GAP events on `source`, which feeds a muxer, with empty buffers, stamped `headroom` nanoseconds later than
/// recorded time. In Ogg there is one buffer per missing frame.
pub fn stand_in(source: &gst::Pad, headroom: Ns, container: Container) {
    let counts_frames = container == Container::Ogg;
    let frames = Mutex::new(Frames::default());
    let has_begun = AtomicBool::new(container != Container::Mp4);
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    probe(source, kinds, move |pad, info| {
        if let Some(buffer) = info.buffer_mut() {
            if !has_begun.swap(true, Ordering::Relaxed) {
                begin_at_zero(pad, buffer, headroom);
            }
            // The empty buffers pass this probe, too.
            let is_frame = counts_frames && buffer.size() > 0;
            if let Some(pts) = buffer.pts().filter(|_| is_frame) {
                let missing = lock(&frames).come_back(pts);
                if missing.is_some() {
                    // Start a new page: FFmpeg does not count empty packets, and trusts the page's end position.
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
        // Before there are caps, the muxer has no track to fill.
        if let Some(at) = at.filter(|_| pad.has_current_caps()) {
            if !has_begun.swap(true, Ordering::Relaxed) {
                begin_at_zero(pad, &nothing(at, gst::ClockTime::ZERO), headroom);
            }
            let places = if counts_frames {
                lock(&frames).stay_away(at)
            } else {
                vec![(at, gst::ClockTime::ZERO)]
            };
            push(pad, places, counts_frames);
        }
        leave_out(info)
    });
}

/// Pushes an empty buffer at recorded time 0, if the first buffer of the track is later.
fn begin_at_zero(pad: &gst::Pad, first: &gst::BufferRef, headroom: Ns) {
    let zero = running_time(pad, gst::ClockTime::from_nseconds(headroom));
    let Some((zero, pts)) = zero.zip(first.pts()).filter(|(zero, pts)| zero < pts) else {
        return;
    };
    let mut buffer = nothing(zero, gst::ClockTime::ZERO);
    if let Some(fields) = buffer.get_mut() {
        // As long before its presentation as for the first one.
        let dts = first.dts().map(|dts| dts.saturating_sub(pts - zero));
        fields.set_dts(dts.or(Some(zero)));
    }
    let _ = pad.push(buffer);
}

/// Forwards gaps around `timestamper`, which holds back frames, and events until the next frame. It is drained first.
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

/// Drains a timestamper by sending a segment that differs from the current one in `position`, which nothing reads.
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

/// Pushes empty buffers with these timestamps and durations.
fn push(pad: &gst::Pad, places: Vec<(gst::ClockTime, gst::ClockTime)>, counts_frames: bool) {
    let last = places.len().saturating_sub(1);
    for (number, (pts, duration)) in places.into_iter().enumerate() {
        let mut buffer = nothing(pts, duration);
        // A granule position has only as many bits for the frames since the last keyframe as the keyframe interval
        // needs, so all but the last are marked as keyframes. After a delta unit, a keyframe starts a new page.
        let is_key = counts_frames && number < last;
        if let Some(fields) = buffer.get_mut().filter(|_| !is_key) {
            fields.set_flags(gst::BufferFlags::DELTA_UNIT);
        }
        // The muxer posts its errors on the bus.
        let _ = pad.push(buffer);
    }
}

/// Converts a running time to a position in the pad's current segment.
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

    /// The missing frames before `until`.
    fn stay_away(&mut self, until: gst::ClockTime) -> Vec<(gst::ClockTime, gst::ClockTime)> {
        self.is_away = true;
        let missing = self.missing(until);
        let end = missing.last().map(|(at, length)| *at + *length);
        self.end = end.or(self.end);
        missing
    }

    /// The missing frames before one at `pts`, after a gap or a hole. If all tracks are silent, there is no GAP event,
    /// only a hole.
    fn come_back(&mut self, pts: gst::ClockTime) -> Option<Vec<(gst::ClockTime, gst::ClockTime)>> {
        let was_away = std::mem::take(&mut self.is_away);
        let is_hole = |end| pts.saturating_sub(end) > MAX_JITTER;
        if !was_away && !self.end.is_some_and(is_hole) {
            return None;
        }
        // Timestamps are rounded.
        Some(self.missing(pts + self.length.unwrap_or_default() / 2))
    }

    /// The frames missing before `until`.
    fn missing(&self, until: gst::ClockTime) -> Vec<(gst::ClockTime, gst::ClockTime)> {
        let (Some(length), Some(end)) = (self.length.filter(|l| !l.is_zero()), self.end) else {
            return Vec::new();
        };
        let count = until.saturating_sub(end).nseconds() / length.nseconds();
        if count > MAX_FRAMES {
            // Timestamps may jump by days.
            return vec![(until - length, length)];
        }
        (0..count).map(|n| (end + length * n, length)).collect()
    }
}

/// An empty buffer.
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

    /// Frames of 40 ms, up to 400 ms.
    fn frames() -> Frames {
        let mut frames = Frames::default();
        frames.note(MS * 360, Some(MS * 40));
        frames
    }

    #[test]
    fn an_unsignalled_gap_is_counted_in_frames_and_jitter_is_not() {
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
    fn frames_lost_without_a_gap_event_are_counted_as_missing() {
        let mut frames = frames();
        assert_eq!(frames.stay_away(MS * 500).len(), 2);
        assert_eq!(frames.come_back(MS * 520), Some(vec![(MS * 480, MS * 40)]));
        frames.note(MS * 520, Some(MS * 40));
        assert_eq!(frames.come_back(MS * 560), None);
    }
}
