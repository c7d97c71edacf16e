//! The two ends of a recording's pipeline: where a track's media goes in, and where the bytes come out.

use super::{
    pipeline::{Listener, TrackMedia},
    probe::probe,
    timing::lock,
};
use crate::formats::Patch;
use gst::prelude::*;
use std::sync::{Arc, Mutex};

/// What a track's media is given to.
pub fn appsrc(track: &TrackMedia<'_>, listener: &Arc<impl Listener>) -> gst_app::AppSrc {
    let hungry = Arc::downgrade(listener);
    let appsrc = gst_app::AppSrc::builder()
        .name(track.name)
        .caps(&track.caps)
        .format(gst::Format::Time)
        .max_bytes(0)
        .max_time(gst::ClockTime::from_nseconds(track.room))
        .callbacks(
            gst_app::AppSrcCallbacks::builder()
                .need_data(move |_, _| {
                    if let Some(listener) = hungry.upgrade() {
                        listener.hungry();
                    }
                })
                .build(),
        )
        .build();
    // Wake an upstream that waits when half of the queue is free again.
    appsrc.set_property("min-percent", 50u32);
    appsrc
}

/// What gives the muxer's bytes to the listener, patched.
pub fn appsink(listener: &Arc<impl Listener>, patch: &Arc<Mutex<Patch>>) -> gst_app::AppSink {
    let (samples, end) = (listener.clone(), listener.clone());
    let patched = patch.clone();
    let sink = gst_app::AppSink::builder()
        .name("bytes")
        .sync(false)
        .async_(false)
        .callbacks(
            gst_app::AppSinkCallbacks::builder()
                .new_sample(move |sink| {
                    let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                    if let Some(buffer) = sample.buffer_owned() {
                        let buffer = lock(&patched).bytes(buffer);
                        samples.bytes(buffer);
                    }
                    Ok(gst::FlowSuccess::Ok)
                })
                .eos(move |_| end.end())
                .build(),
        )
        .build();
    if let Some(pad) = sink.static_pad("sink") {
        answer_seeking(&pad);
        let listener = listener.clone();
        let patch = patch.clone();
        probe(&pad, gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            match info.event().map(|event| event.view()) {
                Some(gst::EventView::Segment(segment)) => {
                    if let Some(bytes) = segment.segment().downcast_ref::<gst::format::Bytes>() {
                        let position = bytes.start().map_or(0, u64::from);
                        let position = lock(&patch).seek(position);
                        listener.seek(position);
                    }
                }
                Some(gst::EventView::Caps(caps)) => listener.caps(&caps.caps_owned()),
                _ => {}
            }
            gst::PadProbeReturn::Ok
        });
    }
    sink
}

/// Muxers write duration and index only where they are told that they may go back.
fn answer_seeking(pad: &gst::Pad) {
    probe(pad, gst::PadProbeType::QUERY_DOWNSTREAM, |_, info| {
        if let Some(gst::QueryViewMut::Seeking(seeking)) =
            info.query_mut().map(|query| query.view_mut())
            && seeking.format() == gst::Format::Bytes
        {
            seeking.set(true, gst::format::Bytes::ZERO, gst::format::Bytes::NONE);
            return gst::PadProbeReturn::Handled;
        }
        gst::PadProbeReturn::Ok
    });
}
