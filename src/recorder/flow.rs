//! The sink pads' data flow, in upstream's streaming threads.

use super::{
    MediaRecorderPad, crop::cropped, framer::Piece, imp::MediaRecorder, subscriber::Subscriber,
    upstream::Upstream,
};
use crate::session::{Flow, lock};
use gst::{prelude::*, subclass::prelude::*};
use std::sync::{PoisonError, atomic::Ordering};

impl MediaRecorder {
    pub(super) fn chain(
        &self,
        pad: &MediaRecorderPad,
        buffer: gst::Buffer,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        crate::fault::place("chain");
        if self.clock.holds() {
            self.hold(pad)?;
        }
        // First, so that an autostarted recording has the right caps.
        let buffer = self.crop(pad, buffer);
        if self.armed.load(Ordering::Acquire) {
            self.autostart();
        }
        self.follow_base_time();
        match pad.framer() {
            Some(framer) => {
                pad.stream().flows()?;
                let given = {
                    let _framing = pad.framing();
                    self.give(pad, framer.push(buffer))
                };
                self.end_if_asked(pad);
                given
            }
            None => self.give_buffer(pad, buffer),
        }
    }

    /// Passes a framer's output to the recordings.
    fn give(
        &self,
        pad: &MediaRecorderPad,
        pieces: Vec<Piece>,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        for piece in pieces {
            match piece {
                Piece::Caps(caps) => {
                    if pad.stream().give_caps(&caps) {
                        self.give_caps(pad);
                    }
                }
                Piece::Buffer(buffer) => {
                    self.give_buffer(pad, buffer)?;
                }
            }
        }
        Ok(gst::FlowSuccess::Ok)
    }

    fn give_buffer(
        &self,
        pad: &MediaRecorderPad,
        buffer: gst::Buffer,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let (input, mut subscribers, now, stream_time, chapters) = {
            let mut stream = pad.stream();
            stream.flows()?;
            if stream.live.is_none() {
                drop(stream);
                let live = self.ask_upstream(pad);
                stream = pad.stream();
                stream.flows()?;
                stream.live = Some(live);
                self.clock.add_source(live);
            }
            if let Some(to) = stream.goes_back_to(&buffer) {
                self.restart(pad, to);
                stream.restarted(&self.clock);
            }
            let Some(mut input) = stream.place(buffer, &self.clock) else {
                // Outside the segment, but later frames may depend on it.
                let subscribers = stream.subscribers();
                let incomplete = stream.incomplete_frame();
                drop(stream);
                for subscriber in subscribers {
                    subscriber.lose();
                }
                if let Some(frame) = incomplete {
                    gst::element_imp_warning!(
                        self,
                        gst::StreamError::Format,
                        ("Pad {} drops incomplete frames: {frame}.", pad.name())
                    );
                }
                return Ok(gst::FlowSuccess::Ok);
            };
            // Before a cut can miss it, see `SharedTimeline`.
            stream.arrive(&mut input, &self.clock);
            self.clock.reference().note(&input.buffer, input.running);
            // Read the clock before a track checks for new cuts, see `SharedTimeline`.
            let is_asked = stream.live == Some(true) && stream.is_taken();
            let now = is_asked.then(|| self.clock.now()).flatten();
            let subscribers = stream.pass(&input, now);
            let stream_time = if !subscribers.is_empty() && pad.has_active_control_bindings() {
                stream.stream_time(&input)
            } else {
                None
            };
            (input, subscribers, now, stream_time, stream.new_chapters())
        };
        if let Some(chapters) = chapters {
            self.give_chapters(pad, chapters);
        }
        if let Some(stream_time) = stream_time {
            pad.follow_control(stream_time, input.running);
        }
        let give = |subscriber: Subscriber, input| {
            if subscriber.push(input, now) == Flow::Done {
                pad.stream().unsubscribe(&subscriber);
            }
        };
        // The last one gets the buffer itself, to be stamped without a copy.
        let last = subscribers.pop();
        for subscriber in subscribers {
            give(subscriber, input.clone());
        }
        if let Some(subscriber) = last {
            give(subscriber, input);
        }
        Ok(gst::FlowSuccess::Ok)
    }

    /// Crops a raw frame, which changes its caps.
    fn crop(&self, pad: &MediaRecorderPad, buffer: gst::Buffer) -> gst::Buffer {
        let has_crop = buffer.meta::<gst_video::VideoCropMeta>().is_some();
        let mut stream = pad.stream();
        if !has_crop && !stream.crops {
            return buffer;
        }
        let Some(whole) = stream.caps.clone() else {
            return buffer;
        };
        let part = cropped(&buffer, &whole);
        stream.crops = part.is_some();
        let (buffer, caps) = part.unwrap_or((buffer, whole));
        let is_new = stream.give_caps(&caps);
        drop(stream);
        if is_new {
            self.give_caps(pad);
        }
        buffer
    }

    /// Queries the liveness of a pad's upstream and passes it to its recordings. Calls out of the element: call without
    /// a lock.
    pub(super) fn ask_upstream(&self, pad: &MediaRecorderPad) -> bool {
        let upstream = Upstream::of(pad.upcast_ref());
        let subscribers = {
            let mut stream = pad.stream();
            stream.upstream = Some((upstream.live, upstream.latency));
            stream.subscribers()
        };
        for subscriber in subscribers {
            subscriber.set_upstream(upstream.live, upstream.latency);
        }
        upstream.live
    }

    /// The latency has changed: every pad queries its upstream again at the next buffer.
    pub(super) fn latency_changed(&self) {
        for pad in self.tracks() {
            pad.stream().live = None;
        }
    }

    /// Applies a base time that was set on the element itself, or changed in PLAYING.
    pub(super) fn follow_base_time(&self) {
        if let Some(base) = self.obj().base_time() {
            self.clock.rebase(base);
        }
    }

    /// A pad's running time has been reset. The first pad to be reset determines where running time continues.
    pub(super) fn restart(&self, pad: &MediaRecorderPad, to: u64) {
        // Held until it has been restarted: another pad may be reset at the same time.
        let mut epoch = lock(&self.epoch);
        if pad.next_epoch() > *epoch {
            *epoch += 1;
            self.clock.restart(to);
        }
    }

    /// In PAUSED, blocks non-live input until PLAYING, like a prerolling sink.
    fn hold(&self, pad: &MediaRecorderPad) -> Result<(), gst::FlowError> {
        let live = Upstream::of(pad.upcast_ref()).live;
        let mut hold = lock(&self.hold);
        while !hold.playing && !live {
            if hold.down || pad.stream().flushing {
                return Err(gst::FlowError::Flushing);
            }
            hold = self.held.wait(hold).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    pub(super) fn give_caps(&self, pad: &MediaRecorderPad) {
        let (caps, subscribers) = {
            let stream = pad.stream();
            (stream.caps_in_time(), stream.subscribers())
        };
        for subscriber in subscribers {
            if let Some(caps) = &caps {
                subscriber.set_caps(caps);
            }
        }
        self.renew_past();
    }

    /// Drains the framer: its partial frame belongs to the stream, or segment, that ends.
    pub(super) fn drain_framer(&self, pad: &MediaRecorderPad) {
        let framing = pad.framing();
        self.drain_framing(pad);
        drop(framing);
        self.end_if_asked(pad);
    }

    pub(super) fn drain_framing(&self, pad: &MediaRecorderPad) {
        if let Some(framer) = pad.framer() {
            // No upstream to return the flow to.
            let _ = self.give(pad, framer.drain());
        }
    }
}
