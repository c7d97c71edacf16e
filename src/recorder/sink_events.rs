//! The sink pads' events, in upstream's streaming threads.

use super::{MediaRecorderPad, imp::MediaRecorder};
use crate::{formats, session::lock};
use gst::{prelude::*, subclass::prelude::*};

impl MediaRecorder {
    pub(super) fn sink_event(&self, pad: &MediaRecorderPad, event: gst::Event) -> bool {
        gst::log!(super::imp::CAT, obj = pad, "{event:?}");
        crate::fault::place("sink event");
        match event.view() {
            gst::EventView::Caps(caps) => self.caps_event(pad, caps.caps()),
            gst::EventView::Segment(segment) => return self.segment_event(pad, segment.segment()),
            gst::EventView::Gap(gap) => self.gap_event(pad, gap),
            gst::EventView::Tag(tag) => self.tag_event(pad, tag),
            gst::EventView::Toc(toc) => pad.stream().set_toc(Some(toc.toc().0)),
            gst::EventView::SinkMessage(message) => {
                // Fails only without a bus.
                let _ = self.obj().post_message(message.message());
            }
            gst::EventView::StreamStart(_) => self.stream_start_event(pad),
            gst::EventView::Eos(_) => {
                self.drain_framer(pad);
                self.end_of_stream(pad, event.seqnum());
            }
            gst::EventView::FlushStart(_) => self.flush_start_event(pad),
            gst::EventView::FlushStop(flush) => self.flush_stop_event(pad, flush),
            _ => return gst::Pad::event_default(pad, Some(&*self.obj()), event),
        }
        true
    }

    fn gap_event(&self, pad: &MediaRecorderPad, gap: &gst::event::Gap) {
        let (start, duration) = gap.get();
        let end = start.saturating_add(duration.unwrap_or(gst::ClockTime::ZERO));
        let (end, subscribers) = {
            let mut stream = pad.stream();
            (stream.gap(start, end, &self.clock), stream.subscribers())
        };
        if let Some(end) = end {
            self.clock.arrived(end);
            for subscriber in subscribers {
                subscriber.gap(end);
            }
        }
    }

    fn tag_event(&self, pad: &MediaRecorderPad, tag: &gst::event::Tag) {
        let (tags, subscribers) = {
            let mut stream = pad.stream();
            let tags = match &stream.tags {
                Some(tags) => tags.merge(tag.tag(), gst::TagMergeMode::Replace),
                None => tag.tag_owned(),
            };
            stream.tags = Some(tags.clone());
            (tags, stream.subscribers())
        };
        for subscriber in subscribers {
            subscriber.set_tags(&tags);
        }
    }

    fn stream_start_event(&self, pad: &MediaRecorderPad) {
        let _ = pad.end_asked();
        let (goes_on, subscribers) = {
            let mut stream = pad.stream();
            let goes_on = std::mem::take(&mut stream.eos);
            stream.tags = None;
            stream.set_toc(None);
            stream.live = None;
            (goes_on, stream.subscribers())
        };
        if goes_on {
            self.end_of_stream_is_over();
        }
        for subscriber in subscribers {
            subscriber.forget_tags();
        }
    }

    fn flush_start_event(&self, pad: &MediaRecorderPad) {
        let subscribers = {
            let mut stream = pad.stream();
            stream.flushing = true;
            stream.subscribers()
        };
        self.wake_held();
        for subscriber in subscribers {
            subscriber.set_flushing(true);
        }
    }

    fn flush_stop_event(&self, pad: &MediaRecorderPad, flush: &gst::event::FlushStop) {
        if flush.resets_time() {
            self.restart(pad, 0);
        }
        let (goes_on, subscribers) = {
            let mut stream = pad.stream();
            let goes_on = stream.eos;
            stream.flushed();
            if flush.resets_time() && stream.live != Some(true) {
                stream.restarted(&self.clock);
            }
            (goes_on, stream.subscribers())
        };
        if goes_on {
            self.end_of_stream_is_over();
        }
        let _ = pad.end_asked();
        if let Some(framer) = pad.framer() {
            let framing = pad.framing();
            framer.flush();
            drop(framing);
            self.end_if_asked(pad);
        }
        for subscriber in subscribers {
            subscriber.begin_anew();
            subscriber.lose();
            subscriber.set_flushing(false);
        }
    }

    fn caps_event(&self, pad: &MediaRecorderPad, caps: &gst::CapsRef) {
        // Other memory is downloaded after the gate.
        let sent = formats::without_unreadable(caps);
        let caps = formats::in_system_memory(&sent);
        let is_system = caps == sent;
        if pad.framer().is_some_and(|framer| !framer.fits(&caps)) {
            self.drain_framer(pad);
        }
        if pad.stream().set_caps(&caps, is_system) {
            self.follow_video_size();
        }
        let is_asked = pad.stream().live.is_some();
        if !is_asked {
            // Buffers that wait for the caps depend on the liveness, too.
            let _ = self.ask_upstream(pad);
        }
        // With a framer the caps are known at its first output frame.
        if pad.frame(&caps).is_none() && pad.stream().give_caps(&caps) {
            self.give_caps(pad);
        }
    }

    fn segment_event(&self, pad: &MediaRecorderPad, segment: &gst::Segment) -> bool {
        match segment.downcast_ref::<gst::ClockTime>() {
            Some(segment) => {
                self.drain_framer(pad);
                let subscribers = {
                    let mut stream = pad.stream();
                    let is_new = stream.set_segment(segment);
                    is_new.then(|| stream.subscribers())
                };
                for subscriber in subscribers.into_iter().flatten() {
                    subscriber.begin_anew();
                }
                // At another rate the audio caps differ.
                self.give_caps(pad);
                let backwards = {
                    let stream = pad.stream();
                    stream.cannot_be_turned().then(|| stream.subscribers())
                };
                for subscriber in backwards.into_iter().flatten() {
                    subscriber.refuse_backwards();
                }
                true
            }
            None => {
                gst::element_imp_error!(
                    self,
                    gst::StreamError::Format,
                    (
                        "{} needs a TIME segment, got {:?}",
                        pad.name(),
                        segment.format()
                    )
                );
                false
            }
        }
    }

    /// Handles EOS of a track.
    pub(super) fn end_of_stream(&self, pad: &MediaRecorderPad, seqnum: gst::Seqnum) {
        let subscribers = {
            let mut stream = pad.stream();
            stream.eos = true;
            stream.subscribers()
        };
        lock(&self.control).eos_seqnum = Some(seqnum);
        for subscriber in subscribers {
            subscriber.end_track();
        }
        self.check_end_of_stream();
    }

    /// Handles an out-of-band EOS: a frame pending in the framer still belongs to the track. If the streaming thread is
    /// in the framer, that thread ends the track when done.
    pub(super) fn end_when_framed(&self, pad: &MediaRecorderPad, seqnum: gst::Seqnum) {
        pad.ask_for_end(seqnum);
        self.end_if_asked(pad);
    }

    /// Call after releasing [`MediaRecorderPad::framing`].
    pub(super) fn end_if_asked(&self, pad: &MediaRecorderPad) {
        while pad.is_asked_to_end() {
            // Otherwise whoever holds the lock checks.
            let Some(framing) = pad.try_framing() else {
                return;
            };
            let asked = pad.end_asked();
            if asked.is_some() {
                self.drain_framing(pad);
            }
            drop(framing);
            if let Some(seqnum) = asked {
                self.end_of_stream(pad, seqnum);
            }
        }
    }

    /// Wakes the blocked threads, which check their pads again.
    pub(super) fn wake_held(&self) {
        drop(lock(&self.hold));
        self.held.notify_all();
    }
}
