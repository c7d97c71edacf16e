//! Makes matroskamux flag keyframes, and only those.
//!
//! Up to GStreamer 1.26 at least, a frame whose duration deviates from the frame rate is written as a BlockGroup
//! with a BlockDuration and without a ReferenceBlock, which makes it a keyframe (RFC 9559, 10.2). Players
//! do not need the durations of video frames. DefaultDuration, from the frame rate, remains in the header.

use crate::session::probe::probe;
use gst::prelude::*;

/// The muxer pad's property that enables durations.
const DURATIONS: &str = "frame-duration";

/// Disables block durations on `mux_pad`; the header keeps its default duration.
pub fn keep(mux_pad: &gst::Pad) {
    if mux_pad.find_property(DURATIONS).is_none() {
        return;
    }
    probe(mux_pad, gst::PadProbeType::BUFFER, |pad, _| {
        // The header has the frame rate by now.
        pad.set_property(DURATIONS, false);
        gst::PadProbeReturn::Remove
    });
}
