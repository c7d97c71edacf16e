//! Clusters and fragments that begin where timeslices do, so that a blob can be appended to a player's buffer.

use super::{encoder_delay::Heard, key_units, probe::probe, timing::lock};
use crate::{
    formats::{fragment, set_fragment},
    model::timeline::Ns,
};
use gst::prelude::*;
use std::sync::{Arc, Mutex};

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

/// Has mp4mux end the fragments of each track with the last sample before the end of a `timeslice`, by when its sound
/// is `heard`.
///
/// How long a fragment may be it reads when it begins one, which is right after it has pushed the one before of
/// the same track, in the same thread: there it is told what is left of the timeslice. For the first of sound alone it
/// has to be told when it is known how late that is: see [`begin`].
pub fn divide(muxer: &gst::Element, timeslice: Ns, heard: &Arc<Heard>) {
    let Some(pad) = muxer.static_pad("src") else {
        return;
    };
    let (muxer, heard) = (muxer.downgrade(), heard.clone());
    let pushed = Mutex::new(Pushed::default());
    probe(&pad, gst::PadProbeType::BUFFER, move |_, info| {
        let Some(buffer) = info.buffer() else {
            return gst::PadProbeReturn::Ok;
        };
        let (Some(pts), Some(duration)) = (buffer.pts(), buffer.duration()) else {
            return gst::PadProbeReturn::Ok;
        };
        let mut pushed = lock(&pushed);
        let (number, track) = heard.fragment();
        if pushed.number != number {
            *pushed = Pushed {
                number,
                ..Pushed::default()
            };
        }
        pushed.end = pushed.end.max((pts + duration).nseconds());
        pushed.longest = pushed.longest.max(duration.nseconds());
        let late = track.map_or(0, |track| heard.of(track));
        let (end, longest) = (pushed.end.saturating_sub(late), pushed.longest);
        drop(pushed);
        if let Some(muxer) = muxer.upgrade() {
            set_fragment(&muxer, fragment(end, longest, timeslice));
        }
        gst::PadProbeReturn::Ok
    });
}

/// What is being pushed of a fragment.
#[derive(Debug, Default)]
struct Pushed {
    /// How many there were before.
    number: u64,
    end: Ns,
    /// Its longest sample.
    longest: Ns,
}

/// Has mp4mux end its first fragments with the first `timeslice`, if all tracks are so `late`.
pub fn begin(muxer: &gst::Element, timeslice: Ns, late: Ns) {
    let lasts = fragment(0, 0, timeslice) + late.div_ceil(1_000_000);
    set_fragment(muxer, lasts);
}
