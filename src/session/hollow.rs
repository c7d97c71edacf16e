//! A track that ends before anything is known of it is taken out of the muxer.
//!
//! matroskamux 1.26 waits for the caps of every track before it writes its header, of those too that
//! have ended without any: it would keep a processor busy for ever, and write nothing of the others. oggmux
//! logs such a track as critical, which ends a process that asks for that.

use super::probe::{leave_out, probe};
use gst::prelude::*;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Counts the tracks that a muxer has.
pub type Tracks = Arc<AtomicUsize>;

/// Takes the track that `source` feeds out of `muxer` if it ends without caps, unless it is the last
/// of the `tracks` there.
pub fn take_out(muxer: &gst::Element, source: &gst::Pad, tracks: &Tracks) {
    tracks.fetch_add(1, Ordering::SeqCst);
    let (muxer, tracks) = (muxer.downgrade(), tracks.clone());
    probe(
        source,
        gst::PadProbeType::EVENT_DOWNSTREAM,
        move |source, info| {
            let ends = info
                .event()
                .is_some_and(|event| event.type_() == gst::EventType::Eos);
            let (Some(muxer), Some(sink)) = (muxer.upgrade(), source.peer()) else {
                return gst::PadProbeReturn::Ok;
            };
            if !ends || source.current_caps().is_some() || sink.current_caps().is_some() {
                return gst::PadProbeReturn::Ok;
            }
            let others = |left: usize| (left > 1).then(|| left - 1);
            if tracks
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, others)
                .is_err()
            {
                return gst::PadProbeReturn::Ok;
            }
            muxer.release_request_pad(&sink);
            // Nobody is left to hear it.
            leave_out(info)
        },
    );
}
