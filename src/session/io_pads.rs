//! The two ends of a recording's pipeline: where a track's media goes in, and where the bytes come out.

use super::{
    encoder_delay::Heard,
    panicked,
    pipeline::{Listener, TrackMedia},
    timing::lock,
};
use crate::{formats::Patch, log::CAT};
use gst::prelude::*;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

/// What a track's media is given to; `need_data` hears when there is room in its queue.
pub fn appsrc(
    track: &TrackMedia<'_>,
    need_data: impl Fn() + Send + Sync + 'static,
) -> gst_app::AppSrc {
    let appsrc = gst_app::AppSrc::builder()
        .name(track.name)
        .caps(&track.caps)
        .format(gst::Format::Time)
        .max_bytes(0)
        .max_time(gst::ClockTime::from_nseconds(track.room))
        .callbacks(
            gst_app::AppSrcCallbacks::builder()
                .need_data(move |_, _| need_data())
                .build(),
        )
        .build();
    // Wake an upstream that waits when half of the queue is free again.
    appsrc.set_property("min-percent", 50u32);
    appsrc
}

/// The pad behind the muxer. It is no element's: an appsink would queue each buffer and signal it, in the
/// thread that takes it out again. Until media has `begun` to come to the muxer nothing is taken: a header of nothing is
/// no file.
pub fn bytes_pad(
    listener: &Arc<impl Listener>,
    patch: &Arc<Mutex<Patch>>,
    heard: &Arc<Heard>,
    begun: &Arc<AtomicBool>,
) -> gst::Pad {
    let begun = begun.clone();
    // Not before: what tells the time of the first instant comes with its media.
    let dated = AtomicBool::new(false);
    let (bytes, patched, heard) = (listener.clone(), patch.clone(), heard.clone());
    let (told, sought) = (listener.clone(), patch.clone());
    gst::Pad::builder(gst::PadDirection::Sink)
        .name("bytes")
        .chain_function(move |_, _, buffer| {
            if !begun.load(Ordering::Acquire) {
                return Ok(gst::FlowSuccess::Ok);
            }
            contain(&*bytes, || {
                if !dated.swap(true, Ordering::Relaxed)
                    && let Some(date) = bytes.date()
                {
                    lock(&patched).set_date(date);
                }
                // Its own lock, held no longer than that.
                let patched = lock(&patched).bytes(buffer);
                let Some(patched) = patched else {
                    gst::warning!(
                        CAT,
                        "Refused of the muxer: a patch of another length than what it replaces"
                    );
                    return;
                };
                for (buffer, unit) in patched {
                    if let Some(track) = unit.and_then(|unit| unit.track) {
                        heard.begins(track);
                    }
                    bytes.bytes(heard.stamp(buffer), unit.is_some());
                }
            });
            Ok(gst::FlowSuccess::Ok)
        })
        .event_function(move |_, _, event| {
            contain(&*told, || match event.view() {
                gst::EventView::Segment(segment) => {
                    if let Some(bytes) = segment.segment().downcast_ref::<gst::format::Bytes>() {
                        let position = bytes.start().map_or(0, u64::from);
                        let position = lock(&sought).seek(position);
                        told.seek(position);
                    }
                }
                gst::EventView::Caps(caps) => {
                    let caps = lock(&sought).caps(caps.caps());
                    told.caps(&caps);
                }
                gst::EventView::Eos(_) => {
                    let (chapters, end) = told.chapters();
                    let ending = lock(&sought).take_ending(chapters, end);
                    told.end(ending);
                }
                _ => {}
            });
            true
        })
        .query_function(|pad, parent, query| {
            // Muxers write duration and index only where they are told that they may go back.
            if let gst::QueryViewMut::Seeking(seeking) = query.view_mut()
                && seeking.format() == gst::Format::Bytes
            {
                seeking.set(true, gst::format::Bytes::ZERO, gst::format::Bytes::NONE);
                return true;
            }
            gst::Pad::query_default(pad, parent, query)
        })
        .build()
}

/// Calls what must not unwind: a panic fails the recording.
fn contain(listener: &impl Listener, run: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
        listener.error(panicked(&*panic));
    }
}
