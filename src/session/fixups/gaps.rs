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
use std::sync::Mutex;

/// What tells that nothing comes before this recorded time: a GAP event, which parsers and codecs pass on in its place.
pub fn event(until: Ns) -> gst::Event {
    gst::event::Gap::new(gst::ClockTime::from_nseconds(until), None)
}

/// Frames of a constant rate that have left a pad.
#[derive(Debug, Default)]
struct Frames {
    length: Option<gst::ClockTime>,
    end: Option<gst::ClockTime>,
}

/// Has buffers without content leave `source`, which feeds a muxer, for the gaps that are told there: stamped `headroom`
/// nanoseconds later than recorded time, and one for each frame where the muxer's container counts `frames`.
pub fn stand_in(source: &gst::Pad, headroom: Ns, counts_frames: bool) {
    let frames = Mutex::new(Frames::default());
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    probe(source, kinds, move |pad, info| {
        if let Some(buffer) = info.buffer() {
            if counts_frames && let Some(pts) = buffer.pts() {
                let mut frames = lock(&frames);
                frames.length = buffer.duration().or(frames.length);
                frames.end = Some(pts + frames.length.unwrap_or_default());
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
            let begins = match counts_frames {
                true => lock(&frames).missing(at),
                false => vec![(at, gst::ClockTime::ZERO)],
            };
            for (pts, duration) in begins {
                // Errors of the muxer are on its bus.
                let _ = pad.push(nothing(pts, duration));
            }
        }
        leave_out(info)
    });
}

/// The position at a running time in the segment that has left a pad.
fn running_time(pad: &gst::Pad, running: gst::ClockTime) -> Option<gst::ClockTime> {
    let segment = pad.sticky_event::<gst::event::Segment>(0)?;
    let segment = segment.segment().downcast_ref::<gst::ClockTime>()?;
    segment.position_from_running_time(running)
}

impl Frames {
    /// Those before `until` that have not come.
    fn missing(&mut self, until: gst::ClockTime) -> Vec<(gst::ClockTime, gst::ClockTime)> {
        let (Some(length), Some(end)) = (self.length.filter(|l| !l.is_zero()), self.end) else {
            return Vec::new();
        };
        let begins = std::iter::successors(Some(end), |at| Some(*at + length));
        begins
            .take_while(|at| *at + length <= until)
            .map(|at| (at, length))
            .collect()
    }
}

/// A buffer without content, which is no key frame.
fn nothing(pts: gst::ClockTime, duration: gst::ClockTime) -> gst::Buffer {
    let mut buffer = gst::Buffer::new();
    if let Some(fields) = buffer.get_mut() {
        fields.set_pts(pts);
        fields.set_dts(pts);
        fields.set_duration(duration);
        fields.set_flags(gst::BufferFlags::DELTA_UNIT);
    }
    buffer
}
