//! Makes clusters begin with timeslices, so that each blob can be appended to a player's buffer. (For fragments, see
//! `formats/patch/mp4/fragmenter.rs`.)

use super::{key_units, probe::probe, timing::lock};
use crate::model::timeline::Ns;
use std::sync::Mutex;

/// Makes the muxer begin a cluster with the first buffer of each `timeslice` on this pad of the muxer.
///
/// The event stays in the muxer: no encoder gets a keyframe request. `late`: by how much timestamps on this pad are
/// later than recorded time. `has_others`: the cluster may begin with another track's packet, from after the previous
/// buffer on this pad.
pub fn mark(
    pad: &gst::Pad,
    timeslice: Ns,
    has_others: bool,
    late: impl Fn() -> Ns + Send + Sync + 'static,
) {
    // Start of the next timeslice, and timestamp of the previous buffer.
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
