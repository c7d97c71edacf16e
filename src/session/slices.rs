//! Clusters and fragments that begin where timeslices do, so that a blob can be appended to a player's buffer.

use super::{keys, probe::probe, timing::lock};
use crate::{
    formats::{begins_unit, fragment, set_fragment},
    model::timeline::Ns,
};
use gst::prelude::*;
use std::sync::Mutex;

/// Has the muxer begin a cluster with the first buffer of each `timeslice` on this pad of its.
///
/// The event stays with the muxer: no encoder is asked for a key frame.
pub fn mark(pad: &gst::Pad, timeslice: Ns) {
    let next = Mutex::new(timeslice);
    probe(pad, gst::PadProbeType::BUFFER, move |pad, info| {
        let Some(pts) = info.buffer().and_then(|buffer| buffer.pts()) else {
            return gst::PadProbeReturn::Ok;
        };
        let mut next = lock(&next);
        if pts.nseconds() < *next {
            return gst::PadProbeReturn::Ok;
        }
        *next = (pts.nseconds() / timeslice + 1).saturating_mul(timeslice);
        drop(next);
        keys::ask(pad, pts);
        gst::PadProbeReturn::Ok
    });
}

/// Has mp4mux end the fragments of each track with the last sample before the end of a `timeslice`.
///
/// How long a fragment may be it reads when it begins one, which is right after it has pushed the one before of
/// the same track, in the same thread: there it is told what is left of the timeslice.
pub fn divide(muxer: &gst::Element, timeslice: Ns) {
    let Some(pad) = muxer.static_pad("src") else {
        return;
    };
    let muxer = muxer.downgrade();
    // End of the fragment that is being pushed, and its longest sample.
    let pushed = Mutex::new((0, 0));
    probe(&pad, gst::PadProbeType::BUFFER, move |_, info| {
        let Some(buffer) = info.buffer() else {
            return gst::PadProbeReturn::Ok;
        };
        let (end, longest) = {
            let mut pushed = lock(&pushed);
            match (buffer.pts(), buffer.duration()) {
                (Some(pts), Some(duration)) => {
                    pushed.0 = pushed.0.max((pts + duration).nseconds());
                    pushed.1 = pushed.1.max(duration.nseconds());
                }
                _ => {
                    if buffer.map_readable().is_ok_and(|map| begins_unit(&map)) {
                        *pushed = (0, 0);
                    }
                    return gst::PadProbeReturn::Ok;
                }
            }
            *pushed
        };
        if let Some(muxer) = muxer.upgrade() {
            set_fragment(&muxer, fragment(end, longest, timeslice));
        }
        gst::PadProbeReturn::Ok
    });
}
