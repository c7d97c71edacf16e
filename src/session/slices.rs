//! Clusters that begin where timeslices do, so that a blob can be appended to a player's buffer.

use super::{probe::probe, timing::lock};
use crate::model::timeline::Ns;
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
        let event = gst_video::DownstreamForceKeyUnitEvent::builder()
            .timestamp(pts)
            .stream_time(pts)
            .running_time(pts)
            .all_headers(false)
            .build();
        // The muxer takes it, or does not know it.
        pad.send_event(event);
        gst::PadProbeReturn::Ok
    });
}
