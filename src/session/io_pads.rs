//! The two ends of a recording's pipeline: where a track's media enters, and where the muxer's output leaves.

use super::{
    encoder_delay::EncoderDelays,
    panicked,
    pipeline::{Listener, TrackMedia},
    timing::{lock, try_lock},
};
use crate::{
    formats::{self, Patch, Written},
    log::CAT,
    model::Container,
};
use gst::prelude::*;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// How often to poll the order lock.
const LOOK: Duration = Duration::from_millis(1);

/// Creates the appsrc for a track; `need_data` is called when there is room in its queue.
pub fn appsrc(
    track: &TrackMedia<'_>,
    need_data: impl Fn() + Send + Sync + 'static,
) -> gst_app::AppSrc {
    let appsrc = gst_app::AppSrc::builder()
        .name(track.name)
        .caps(&track.caps)
        .format(gst::Format::Time)
        .max_bytes(0)
        .max_time(gst::ClockTime::from_nseconds(track.queue_time))
        .callbacks(
            gst_app::AppSrcCallbacks::builder()
                .need_data(move |_, _| need_data())
                .build(),
        )
        .build();
    // Wake up upstream when half of the queue is free again.
    appsrc.set_property("min-percent", 50u32);
    appsrc
}

/// Receives the muxer's output.
pub struct BytesOut {
    listener: Arc<dyn Listener>,
    muxer: glib::WeakRef<gst::Element>,
    patch: Arc<Mutex<Patch>>,
    delays: Arc<EncoderDelays>,
    /// Held from patching bytes until writing them, so that their order is kept.
    order: Mutex<()>,
}

impl std::fmt::Debug for BytesOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BytesOut").finish_non_exhaustive()
    }
}

impl BytesOut {
    pub fn new(
        listener: Arc<dyn Listener>,
        muxer: &gst::Element,
        patch: &Arc<Mutex<Patch>>,
        delays: &Arc<EncoderDelays>,
    ) -> Arc<Self> {
        Arc::new(BytesOut {
            listener,
            muxer: muxer.downgrade(),
            patch: patch.clone(),
            delays: delays.clone(),
            order: Mutex::default(),
        })
    }

    fn write(&self, buffer: gst::Buffer) {
        let _order = lock(&self.order);
        // The patch lock is held for this only.
        let late = |track| self.delays.of_decoding(track);
        let patched = lock(&self.patch).bytes(buffer, &late);
        match patched {
            Some(patched) => self.put(patched),
            None => gst::warning!(
                CAT,
                "Refused: the muxer's patch differs in length from what it replaces"
            ),
        }
    }

    fn put(&self, patched: Vec<Written>) {
        for Written {
            buffer,
            unit,
            slice_end,
        } in patched
        {
            if let Some(track) = unit.and_then(|unit| unit.track) {
                self.delays.begins(track);
            }
            let begin = unit.and_then(|_| buffer.pts());
            let buffer = self.delays.stamp(buffer);
            let next = self.listener.bytes(buffer, unit.is_some(), slice_end);
            // In the muxer's thread, before it looks at the next packet.
            if let (Some(begin), Some(next), Some(muxer)) = (begin, next, self.muxer.upgrade()) {
                // The first timeslice begins at 0 on all tracks, the others with the packets of one cluster.
                let late = if next.is_second {
                    self.delays.most()
                } else {
                    self.delays.least()
                };
                formats::end_cluster(&muxer, begin.nseconds(), next.at.saturating_add(late));
            }
        }
    }

    /// Ends the current MP4 fragments with what has arrived.
    pub fn end_fragments(&self) {
        let _order = lock(&self.order);
        let patched = lock(&self.patch).end_fragments();
        self.put(patched);
    }

    /// The same, but FALSE if other bytes take longer than `patience` to write.
    pub fn end_fragments_within(&self, patience: Duration) -> bool {
        let ended = self.between_writes(patience, || {
            let patched = lock(&self.patch).end_fragments();
            self.put(patched);
        });
        ended.is_some()
    }

    /// Accesses the patcher. Take no lock in `work`.
    pub fn with_patch<R>(&self, work: impl FnOnce(&mut Patch) -> R) -> R {
        work(&mut lock(&self.patch))
    }

    /// Runs `work`, in which the writer may be locked, while all patched bytes have been written; `None` if writing
    /// takes longer than `patience`.
    pub fn between_writes<R>(&self, patience: Duration, work: impl FnOnce() -> R) -> Option<R> {
        let end = Instant::now() + patience;
        loop {
            if let Some(_order) = try_lock(&self.order) {
                return Some(work());
            }
            if Instant::now() >= end {
                return None;
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// The pad downstream of the muxer. It has no parent element: an appsink would queue and signal each buffer in the
/// same thread. Output is ignored until media has `begun` to reach the muxer, as a header without media is not a
/// file.
pub fn bytes_pad(out: &Arc<BytesOut>, begun: &Arc<AtomicBool>, container: Container) -> gst::Pad {
    let begun = begun.clone();
    let has_fragments = container == Container::Mp4;
    let completes_header = AtomicBool::new(has_fragments);
    // Not earlier: the wall-clock time of the first instant is only known once media arrives.
    let dated = AtomicBool::new(false);
    let (taken, told) = (out.clone(), out.clone());
    gst::Pad::builder(gst::PadDirection::Sink)
        .name("bytes")
        .chain_function(move |pad, _, buffer| {
            if completes_header.load(Ordering::Relaxed) && formats::begins_fragment(&buffer) {
                completes_header.store(false, Ordering::Relaxed);
                if let Some(muxer) = pad.peer().and_then(|peer| peer.parent_element()) {
                    formats::complete_header(&muxer);
                }
            }
            if !begun.load(Ordering::Acquire) {
                return Ok(gst::FlowSuccess::Ok);
            }
            contain(&*taken.listener, || {
                if !dated.swap(true, Ordering::Relaxed)
                    && let Some(date) = taken.listener.date()
                {
                    lock(&taken.patch).set_date(date);
                }
                taken.write(buffer);
            });
            Ok(gst::FlowSuccess::Ok)
        })
        .event_function(move |_, _, event| {
            let BytesOut {
                listener, patch, ..
            } = &*told;
            contain(&**listener, || match event.view() {
                gst::EventView::Segment(segment) => {
                    if let Some(bytes) = segment.segment().downcast_ref::<gst::format::Bytes>() {
                        told.end_fragments();
                        let position = bytes.start().map_or(0, u64::from);
                        let position = lock(patch).seek(position);
                        listener.seek(position);
                    }
                }
                gst::EventView::Caps(caps) => {
                    let caps = lock(patch).caps(caps.caps());
                    listener.caps(&caps);
                }
                gst::EventView::Eos(_) => {
                    told.end_fragments();
                    let (chapters, end) = listener.chapters();
                    let ending = lock(patch).take_ending(chapters, end);
                    listener.end(ending);
                }
                _ => {}
            });
            true
        })
        .query_function(move |pad, parent, query| {
            // Muxers write duration and index only if downstream is seekable; for fragments, see
            // `complete_header`.
            if !has_fragments
                && let gst::QueryViewMut::Seeking(seeking) = query.view_mut()
                && seeking.format() == gst::Format::Bytes
            {
                seeking.set(true, gst::format::Bytes::ZERO, gst::format::Bytes::NONE);
                return true;
            }
            gst::Pad::query_default(pad, parent, query)
        })
        .build()
}

/// Calls code that must not unwind: a panic fails the recording.
fn contain(listener: &dyn Listener, run: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
        listener.error(panicked(&*panic));
    }
}
