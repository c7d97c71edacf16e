//! The sink pads' data flow, in upstream's streaming threads.

use super::{
    MediaRecorderPad, crop::cropped, framer::Piece, imp::MediaRecorder, subscriber::Subscriber,
    upstream::Upstream,
};
use crate::{
    formats,
    session::{Flow, lock},
};
use gst::{prelude::*, subclass::prelude::*};
use std::sync::{PoisonError, atomic::Ordering};

impl MediaRecorder {
    pub(super) fn request_pad(
        &self,
        template: &gst::PadTemplate,
        name: Option<&str>,
    ) -> Option<gst::Pad> {
        let name = self.pad_name(template, name)?;
        let pad = gst::PadBuilder::<MediaRecorderPad>::from_template(template)
            .name(&name)
            .chain_function(|pad, parent, buffer| {
                MediaRecorder::catch_panic_pad_function(
                    parent,
                    || Err(gst::FlowError::Error),
                    // Even then upstream must not be affected.
                    |recorder| {
                        let go_on = Ok(gst::FlowSuccess::Ok);
                        recorder.contain(go_on, || recorder.chain(pad, buffer))
                    },
                )
            })
            .event_function(|pad, parent, event| {
                MediaRecorder::catch_panic_pad_function(
                    parent,
                    || false,
                    |recorder| recorder.contain(true, || recorder.sink_event(pad, event)),
                )
            })
            .query_function(|pad, parent, query| {
                MediaRecorder::catch_panic_pad_function(
                    parent,
                    || false,
                    |recorder| recorder.contain(false, || recorder.sink_query(pad, query)),
                )
            })
            // Input ends here: `src` is a separate stream, and may be blocked.
            .iterate_internal_links_function(|_, _| gst::Iterator::from_vec(Vec::new()))
            .build();
        // Shares the running-time base of the other pads.
        pad.join(self.epoch.load(Ordering::SeqCst), &self.clock);
        let obj = self.obj();
        if obj.current_state() >= gst::State::Paused
            && let Err(err) = pad.set_active(true)
        {
            gst::error!(
                super::imp::CAT,
                imp = self,
                "{name} does not become active: {err}"
            );
        }
        obj.add_pad(&pad).ok()?;
        obj.set_element_flags(gst::ElementFlags::SINK);
        obj.child_added(&pad, &name);
        self.keep_past_of(&pad);
        self.tracks_modified(format!(
            "The pad {name} was requested while a recording is on: its tracks cannot change. The \
             new pad works from the next recording on; request pads before start."
        ));
        Some(pad.upcast())
    }

    /// The requested name, or the next free one.
    fn pad_name(&self, template: &gst::PadTemplate, name: Option<&str>) -> Option<String> {
        let (kind, index) = match template.name_template().starts_with("audio") {
            true => ("audio_", 0),
            false => ("video_", 1),
        };
        let obj = self.obj();
        if let Some(number) = name.and_then(|name| name.strip_prefix(kind)?.parse::<u32>().ok()) {
            let mut control = lock(&self.control);
            if let Some(next) = control.next_pad.get_mut(index) {
                *next = (*next).max(number.saturating_add(1));
            }
            drop(control);
            let name = format!("{kind}{number}");
            return obj.static_pad(&name).is_none().then_some(name);
        }
        loop {
            let mut control = lock(&self.control);
            let next = control.next_pad.get_mut(index)?;
            let name = format!("{kind}{next}");
            *next = next.checked_add(1)?;
            drop(control);
            if obj.static_pad(&name).is_none() {
                return Some(name);
            }
        }
    }

    pub(super) fn release_sink_pad(&self, pad: &gst::Pad) {
        let Some(pad) = pad.downcast_ref::<MediaRecorderPad>() else {
            return;
        };
        let name = pad.name();
        let (ended, subscribers) = {
            let mut stream = pad.stream();
            stream.flushing = true;
            stream.released = true;
            (stream.eos, stream.subscribers())
        };
        for subscriber in &subscribers {
            subscriber.set_flushing(true);
        }
        self.let_go();
        if !ended {
            self.tracks_modified(format!(
                "The pad {name} was released while a recording is on, before its track had ended: \
                 the tracks cannot change. Send EOS to a track that ends early."
            ));
        }
        for subscriber in subscribers {
            subscriber.end_track();
        }
        self.forget_past_of(pad);
        let obj = self.obj();
        // Deactivation unblocks a thread that waits in the pad.
        let _ = pad.set_active(false);
        obj.child_removed(pad, &name);
        let _ = obj.remove_pad(pad);
        if obj.num_sink_pads() == 0 && obj.current_state() >= gst::State::Paused {
            self.last_pad_gone();
        }
        self.follow_video_size();
        self.check_end_of_stream();
    }

    /// In PLAYING, the removal of the last pad counts as EOS.
    fn last_pad_gone(&self) {
        let playing = lock(&self.hold).playing;
        if playing {
            let mut control = lock(&self.control);
            control.eos_seqnum.get_or_insert_with(gst::Seqnum::next);
        } else {
            self.be_sink_of_pads();
        }
    }

    fn chain(
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
                drop(stream);
                for subscriber in subscribers {
                    subscriber.lose();
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
            let stream_time = match !subscribers.is_empty() && pad.has_active_control_bindings() {
                true => stream.stream_time(&input),
                false => None,
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
        for taker in subscribers {
            give(taker, input.clone());
        }
        if let Some(taker) = last {
            give(taker, input);
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
    fn ask_upstream(&self, pad: &MediaRecorderPad) -> bool {
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
    fn restart(&self, pad: &MediaRecorderPad, to: u64) {
        if pad.next_epoch() > self.epoch.load(Ordering::SeqCst) {
            self.epoch.fetch_add(1, Ordering::SeqCst);
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

    fn sink_event(&self, pad: &MediaRecorderPad, event: gst::Event) -> bool {
        gst::log!(super::imp::CAT, obj = pad, "{event:?}");
        crate::fault::place("sink event");
        match event.view() {
            gst::EventView::Caps(caps) => self.caps_event(pad, caps.caps()),
            gst::EventView::Segment(segment) => self.segment_event(pad, segment.segment()),
            gst::EventView::Gap(gap) => {
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
                true
            }
            gst::EventView::Tag(tag) => {
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
                true
            }
            gst::EventView::Toc(toc) => {
                pad.stream().set_toc(Some(toc.toc().0));
                true
            }
            gst::EventView::SinkMessage(message) => {
                // Fails only without a bus.
                let _ = self.obj().post_message(message.message());
                true
            }
            gst::EventView::StreamStart(_) => {
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
                true
            }
            gst::EventView::Eos(_) => {
                self.drain_framer(pad);
                self.end_of_stream(pad, event.seqnum());
                true
            }
            gst::EventView::FlushStart(_) => {
                let subscribers = {
                    let mut stream = pad.stream();
                    stream.flushing = true;
                    stream.subscribers()
                };
                self.let_go();
                for subscriber in subscribers {
                    subscriber.set_flushing(true);
                }
                true
            }
            gst::EventView::FlushStop(flush) => {
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
                true
            }
            _ => gst::Pad::event_default(pad, Some(&*self.obj()), event),
        }
    }

    /// Wakes the blocked threads, which check their pads again.
    fn let_go(&self) {
        drop(lock(&self.hold));
        self.held.notify_all();
    }

    fn caps_event(&self, pad: &MediaRecorderPad, caps: &gst::CapsRef) -> bool {
        // Other memory is downloaded after the gate.
        let caps = formats::in_system_memory(&formats::without_unreadable(caps));
        if pad.stream().set_caps(&caps) {
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
        true
    }

    fn give_caps(&self, pad: &MediaRecorderPad) {
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
    fn drain_framer(&self, pad: &MediaRecorderPad) {
        let framing = pad.framing();
        self.drain_framing(pad);
        drop(framing);
        self.end_if_asked(pad);
    }

    fn drain_framing(&self, pad: &MediaRecorderPad) {
        if let Some(framer) = pad.framer() {
            // No upstream to return the flow to.
            let _ = self.give(pad, framer.drain());
        }
    }

    /// Handles an out-of-band EOS: a frame pending in the framer still belongs to the track. If the streaming thread is
    /// in the framer, that thread ends the track when done.
    pub(super) fn end_when_framed(&self, pad: &MediaRecorderPad, seqnum: gst::Seqnum) {
        pad.ask_for_end(seqnum);
        self.end_if_asked(pad);
    }

    /// Call after releasing [`MediaRecorderPad::framing`].
    fn end_if_asked(&self, pad: &MediaRecorderPad) {
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
                        "{} needs a segment in TIME, this one is in {:?}",
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
}
