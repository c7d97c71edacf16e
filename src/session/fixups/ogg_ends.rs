//! Lets oggmux write the last packets of a track.
//!
//! oggmux completes a page before it turns to another track, and chooses the track whose next packet has the earliest
//! timestamp. If that is the last packet of its track, but the page of another one is not complete, it takes the first
//! track for ended: it never writes that packet, nor the page that it would be in. A last packet with timestamp 0 follows
//! its predecessor at once. That is not visible in the file, since oggmux counts samples and frames, except at holes.

use super::{MuxerSite, ogg_pages::JITTER};
use crate::{
    model::timeline::Ns,
    session::{
        probe::{is_eos, probe},
        timing::lock,
    },
};
use gst::prelude::*;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

/// By how much timestamps may differ from the count of samples or frames before they count as a hole.
const TOLERANCE: &str = "max-tolerance";
/// A packet this far behind the last one of another track comes after it: the length of a page, and more.
const AHEAD: Ns = 2_000_000_000;

/// Holds each packet back until the next one, or EOS, has arrived, and gives the last one timestamp 0.
pub fn move_last(site: &MuxerSite<'_>) {
    let is_last = Arc::new(AtomicBool::new(false));
    hold_back(site.out, is_last.clone());
    let muxer = site.end.muxer.downgrade();
    // The fixups in front of this one see the true timestamps.
    probe(site.mux_pad, gst::PadProbeType::BUFFER, move |_, info| {
        let (Some(muxer), Some(buffer)) = (muxer.upgrade(), info.buffer_mut()) else {
            return gst::PadProbeReturn::Ok;
        };
        let Some(pts) = buffer.pts().map(gst::ClockTime::nseconds) else {
            return gst::PadProbeReturn::Ok;
        };
        let tolerance: Ns = muxer.property(TOLERANCE);
        if is_last.load(Ordering::Relaxed) {
            let buffer = buffer.make_mut();
            buffer.set_pts(gst::ClockTime::ZERO);
            buffer.set_dts(None);
            muxer.set_property(TOLERANCE, tolerance.max(pts.saturating_add(1)));
        } else if tolerance > JITTER && pts > tolerance.saturating_add(AHEAD) {
            muxer.set_property(TOLERANCE, JITTER);
        }
        gst::PadProbeReturn::Ok
    });
}

/// Holds the latest buffer that leaves `out` back. `is_last` is set once it is the last one.
fn hold_back(out: &gst::Pad, is_last: Arc<AtomicBool>) {
    let held = Mutex::new(None::<gst::Buffer>);
    let kinds = gst::PadProbeType::BUFFER
        | gst::PadProbeType::EVENT_DOWNSTREAM
        | gst::PadProbeType::EVENT_FLUSH;
    probe(out, kinds, move |out, info| {
        if let Some(gst::PadProbeData::Buffer(_)) = &info.data {
            let newest = info.take_buffer();
            let Some(before) = std::mem::replace(&mut *lock(&held), newest) else {
                return gst::PadProbeReturn::Handled;
            };
            info.data = Some(gst::PadProbeData::Buffer(before));
            return gst::PadProbeReturn::Ok;
        }
        let Some(event) = info.event() else {
            return gst::PadProbeReturn::Ok;
        };
        let is_flush = event.type_() == gst::EventType::FlushStop;
        let newest = lock(&held).take_if(|_| is_flush || event.is_serialized());
        is_last.store(is_eos(info), Ordering::Relaxed);
        if let Some(newest) = newest.filter(|_| !is_flush)
            && let Some(peer) = out.peer()
        {
            // If it fails, so does the event.
            let _ = peer.chain(newest);
        }
        gst::PadProbeReturn::Ok
    });
}
