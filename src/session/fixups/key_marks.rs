//! matroskamux marks key frames, and no others, as what they are.
//!
//! Up to GStreamer 1.26 at least, a frame that lasts for another time than the frame rate says goes into a block
//! with a duration and without a reference to another, which makes a key frame of it (RFC 9559, 10.2). Players
//! do not need the durations of video frames. What the header says by the frame rate stays.

use crate::session::probe::probe;
use gst::prelude::*;

/// The property of the muxer's pads by which it writes durations.
const DURATIONS: &str = "frame-duration";

/// Has no durations written of what comes to `mux_pad`, but for the one in the header.
pub fn keep(mux_pad: &gst::Pad) {
    if mux_pad.find_property(DURATIONS).is_none() {
        return;
    }
    probe(mux_pad, gst::PadProbeType::BUFFER, |pad, _| {
        // By now the header knows the frame rate.
        pad.set_property(DURATIONS, false);
        gst::PadProbeReturn::Remove
    });
}
