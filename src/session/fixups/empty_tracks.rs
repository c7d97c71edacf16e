//! Removes a track from the muxer if it ends without caps.
//!
//! matroskamux 1.26 waits for the caps of every track before it writes its header, even of tracks that ended without
//! any: it would busy-wait for ever, and write nothing of the other tracks. oggmux may lose the other tracks as well,
//! and logs a track without media as critical, which is fatal if the process asks for that.

use super::MuxerSite;
use crate::model::Container;
use crate::session::probe::{is_eos, leave_out, probe};
use gst::prelude::*;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// Number of tracks in a muxer.
pub type TrackCount = Arc<AtomicUsize>;

/// Sends EOS again: when a pad is removed, GstCollectPads does not check whether all remaining pads are EOS.
fn let_end(muxer: &gst::Element) {
    if muxer.is::<gst_base::Aggregator>() {
        return;
    }
    let has_ended = |pad: &gst::Pad| {
        // An EOS that is being handled is complete once the stream lock is free.
        drop(pad.stream_lock());
        pad.pad_flags().contains(gst::PadFlags::EOS)
    };
    let sinks = muxer.sink_pads();
    let Some(sink) = sinks.first().filter(|_| sinks.iter().all(has_ended)) else {
        return;
    };
    let is_through = muxer.src_pads().iter().any(has_ended);
    if !is_through && let Some(start) = sink.sticky_event::<gst::event::StreamStart>(0) {
        // STREAM_START clears EOS; without it the pad would reject the event.
        sink.send_event(gst::Event::from(start));
        sink.send_event(gst::event::Eos::new());
    }
}

/// Removes a track from its muxer if it ends without caps (in Ogg, without media), unless it is the last one left.
pub fn take_out(site: &MuxerSite<'_>) {
    let (source, container) = (site.out, site.spec.container);
    let (muxer, tracks) = (&site.end.muxer, &site.end.tracks);
    tracks.fetch_add(1, Ordering::SeqCst);
    let came = Arc::new(AtomicBool::new(false));
    let comes = came.clone();
    probe(source, gst::PadProbeType::BUFFER, move |_, _| {
        comes.store(true, Ordering::SeqCst);
        gst::PadProbeReturn::Remove
    });
    let known = move || container != Container::Ogg || came.load(Ordering::SeqCst);
    let (muxer, tracks) = (muxer.downgrade(), tracks.clone());
    probe(
        source,
        gst::PadProbeType::EVENT_DOWNSTREAM,
        move |source, info| {
            let (Some(muxer), Some(sink)) = (muxer.upgrade(), source.peer()) else {
                return gst::PadProbeReturn::Ok;
            };
            if !is_eos(info) || sink.has_current_caps() && known() {
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
            let_end(&muxer);
            // The peer pad is gone.
            leave_out(info)
        },
    );
}
