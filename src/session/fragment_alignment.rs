//! Clusters that begin where timeslices do, so that a blob can be appended to a player's buffer. (Fragments: see
//! `formats/patch/mp4/fragmenter.rs`.)

use super::{key_units, probe::probe, timing::lock};
use crate::model::timeline::Ns;
use std::sync::Mutex;

/// Has the muxer begin a cluster with the first buffer of each `timeslice` on this pad of its.
///
/// The event stays with the muxer: no encoder is asked for a key frame. `late`: how much later the stamps on this
/// pad are than the timeslices count. `has_others`: the cluster may begin with a packet of another track, from behind
/// the buffer before on this one.
pub fn mark(
    pad: &gst::Pad,
    timeslice: Ns,
    has_others: bool,
    late: impl Fn() -> Ns + Send + Sync + 'static,
) {
    // Where the next begins, and where the buffer before stood.
    let state = Mutex::new((timeslice, 0));
    probe(pad, gst::PadProbeType::BUFFER, move |pad, info| {
        let Some(pts) = info.buffer().and_then(|buffer| buffer.pts()) else {
            return gst::PadProbeReturn::Ok;
        };
        let at = pts.nseconds().saturating_sub(late());
        let mut state = lock(&state);
        let (next, before) = &mut *state;
        let before = std::mem::replace(before, at);
        let begins = if has_others { before } else { at };
        if begins < *next {
            return gst::PadProbeReturn::Ok;
        }
        *next = at.saturating_add(timeslice);
        drop(state);
        key_units::ask(pad, pts);
        gst::PadProbeReturn::Ok
    });
}
