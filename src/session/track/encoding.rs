//! The path from the gate into the pipeline of a part.

use super::{Feed, InFlight, Inner, Track};
use crate::{
    model::timeline::Ns,
    session::{frame_dropper, lock, overlap::Overlap},
};
use std::sync::{Arc, atomic::Ordering};

impl Track {
    /// Media that was pushed to the encoder of a part and has not come out yet.
    pub fn in_flight(&self, part: usize) -> Arc<InFlight> {
        self.feed(part, |feed| feed.in_flight().clone())
    }

    /// The audio around a part of it.
    pub fn overlap(&self, part: usize) -> Arc<Overlap> {
        self.feed(part, |feed| feed.overlap().clone())
    }

    /// Sets how much audio from after a part's end its encoder needs.
    pub fn set_overlap(&self, length: Ns) {
        lock(&self.inner).outlets.set_overlap(length);
    }

    /// The audio after this part's end has not arrived for long: its encoder does without.
    pub fn end_overlap(&self, part: usize) {
        if lock(&self.inner).outlets.end_overlap(part) {
            self.backpressure.wake();
        }
    }

    /// Connects the part's pipeline and pushes the backlog into it.
    pub fn connect(&self, part: usize, appsrc: gst_app::AppSrc) {
        let Some(caps) = self.caps_of(part) else {
            return;
        };
        let mut inner = lock(&self.inner);
        self.drop_frames(&mut inner, part, &appsrc);
        let outlet = inner.outlets.of(part);
        outlet.feed.connect(appsrc, &caps);
        if outlet.closed {
            outlet.feed.close();
        }
        // The queue level is only measured again once the backlog has been pushed.
        inner.looked = None;
    }

    /// Switches to another encoder and replays what is in flight; audio from recorded time `from` on.
    pub fn reconnect(&self, part: usize, appsrc: gst_app::AppSrc, from: Option<Ns>) {
        let mut inner = lock(&self.inner);
        inner.outlets.of(part).dropper.begin_anew();
        self.drop_frames(&mut inner, part, &appsrc);
        inner.looked = None;
        inner.outlets.of(part).feed.reconnect(appsrc, from);
    }

    /// Lets the frame dropper work in front of an encoder that is too slow.
    fn drop_frames(&self, inner: &mut Inner, part: usize, appsrc: &gst_app::AppSrc) {
        if self.has_live_frames(inner) {
            let outlet = inner.outlets.of(part);
            let counts = frame_dropper::Counts {
                fed: outlet.fed.clone(),
                in_flight: outlet.feed.in_flight().clone(),
            };
            let name = self.name.clone();
            frame_dropper::keep(appsrc, &outlet.dropper, counts, &self.backpressure, name);
        }
    }

    /// From now on, buffers are held until [`Track::flush_batch`].
    pub fn start_batching(&self, part: usize) {
        self.feed(part, Feed::start_batching);
    }

    /// Pushes the current batch. Returns whether there was one.
    pub fn flush_batch(&self, part: usize) -> bool {
        self.feed(part, Feed::flush_batch)
    }

    pub(super) fn feed<R>(&self, part: usize, work: impl FnOnce(&mut Feed) -> R) -> R {
        work(&mut lock(&self.inner).outlets.of(part).feed)
    }

    /// Whether the media queued for the pipeline has no DTS.
    pub fn lacks_dts(&self, part: usize) -> bool {
        let mut inner = lock(&self.inner);
        let waits = inner.outlets.of(part).feed.lacks_dts();
        waits.unwrap_or(inner.lacks_dts)
    }

    /// Whether the muxer accepts gaps on this track.
    pub fn takes_gaps(&self) -> bool {
        self.takes_gaps.load(Ordering::Relaxed)
    }

    /// Sets whether the muxer accepts gaps on this track.
    pub fn set_takes_gaps(&self, takes_gaps: bool) {
        self.takes_gaps.store(takes_gaps, Ordering::Relaxed);
    }
}
