//! Forwards the pipeline's events to the session.

use crate::{
    formats::{Chapter, Ending, Missing},
    model::{Error, timeline::Ns},
    session::{
        Event, Session,
        bitrates::RunningEncoder,
        lock,
        part::Part,
        pipeline::{Listener, factory_name},
        writer::NextCluster,
    },
};
use gst::prelude::*;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

/// Forwards the pipeline's events to the session.
pub(super) struct PipelineEvents {
    pub(super) session: Arc<Session>,
    pub(super) part: Arc<Part>,
    /// The pad names of its tracks, in order.
    pub(super) names: Vec<String>,
    /// Bytes have been written.
    pub(super) begun: AtomicBool,
    /// Media has been written.
    pub(super) has_media: AtomicBool,
}

impl PipelineEvents {
    /// Sets the encoder of a track, or none, for `stats`.
    pub(super) fn set_name(&self, track: usize, encoder: Option<&gst::Element>) {
        let Some(name) = self.names.get(track) else {
            return;
        };
        let mut names = lock(&self.session.encoder_names);
        names.retain(|(of, _)| of != name);
        let factory = encoder.and_then(factory_name);
        names.extend(factory.map(|factory| (name.clone(), factory.to_string())));
    }

    /// The same, for changes of the bit rate.
    pub(super) fn set_running(&self, track: usize, encoder: Option<&gst::Element>) {
        let session = &self.session;
        let kind = |name: &String| session.kind_of(name);
        let Some(of_track) = self.names.get(track).and_then(kind) else {
            return;
        };
        let names = self.names.iter().filter_map(kind);
        let of_kind = names.filter(|kind| *kind == of_track).count();
        let mut running = lock(&self.part.encoders);
        // Replaced encoders are no longer in a pipeline.
        running.retain(|encoder| encoder.element.parent().is_some());
        running.extend(encoder.map(|encoder| RunningEncoder {
            element: encoder.clone(),
            kind: of_track,
            of_kind,
        }));
    }
}

impl Listener for PipelineEvents {
    fn seek(&self, position: u64) {
        crate::fault::place("seek");
        self.session
            .with_writer(&self.part, |writer, _| writer.seek(position));
    }

    fn caps(&self, caps: &gst::Caps) {
        crate::fault::place("muxer caps");
        self.session
            .with_writer(&self.part, |writer, _| writer.set_caps(caps));
        lock(&self.part.control).caps = true;
        self.session.backpressure.wake();
    }

    fn date(&self) -> Option<i64> {
        let intervals = self.session.intervals();
        intervals.first().map(|interval| interval.utc)
    }

    fn bytes(
        &self,
        buffer: gst::Buffer,
        begins_unit: bool,
        slice_end: Option<Ns>,
    ) -> Option<NextCluster> {
        crate::fault::place("bytes");
        let (written, has_media, next_cluster) =
            self.session.with_writer(&self.part, |writer, events| {
                let written = writer.write(buffer, begins_unit, slice_end, events);
                (written, writer.has_media(), writer.next_cluster())
            });
        if let Err(err) = written {
            self.session.fail_to_write(&self.part, &err);
        }
        let (bytes, _) = self.part.progress.figures();
        self.part.size.note_written(bytes);
        if has_media
            && !self.has_media.swap(true, Ordering::SeqCst)
            && let Some(synchroniser) = self.part.synchroniser()
        {
            synchroniser.begin();
        }
        if !self.begun.swap(true, Ordering::SeqCst) {
            // `on-start` waits for this.
            self.session.backpressure.wake();
        }
        next_cluster
    }

    fn muxed(&self, track: usize, size: u64, end: Ns) {
        let name = self.names.get(track);
        let tracks = &self.session.tracks;
        let of_name = |name: &String| tracks.iter().position(|track| track.name() == name);
        if let Some(track) = name.and_then(of_name) {
            self.part.size.add_packet(track, size, end);
        }
    }

    fn chapters(&self) -> (Vec<Chapter>, Ns) {
        self.session.seal_chapters(&self.part)
    }

    fn end(&self, ending: Ending) {
        self.session.contain(|_| crate::fault::place("drained"));
        if ending.lost_chapters() > 0 {
            self.session.warn_of_lost_chapters();
        }
        lock(&self.part.control).completing = Some(Instant::now());
        // In this thread, which may block on the disk.
        if let Some(Err(error)) = self.session.finalise(&self.part, ending, None) {
            self.session.fail_part(&self.part, error);
        }
        lock(&self.part.control).drained = true;
        self.part.done.notify_all();
        self.session.backpressure.wake();
    }

    fn error(&self, error: Error) {
        self.session.fail_part(&self.part, error);
    }

    fn encoder_failed(&self, encoder: &gst::Element, error: Error) {
        let failed = (encoder.clone(), error);
        lock(&self.part.control).failed_encoders.push(failed);
        self.session.backpressure.wake();
    }

    fn missing(&self, missing: Vec<Missing>) {
        // Report only the first error, not its consequences.
        let first = lock(&self.part.control).error.is_none();
        if first && !missing.is_empty() {
            self.part.events.push(Event::Missing(missing));
        }
    }

    fn encoder(&self, track: usize, encoder: &gst::Element) {
        crate::fault::place("encoder");
        if let Some(name) = self.names.get(track) {
            self.session.delegate.encoder_setup(name, encoder);
        }
    }

    fn exchanged(&self, track: usize, encoder: Option<&gst::Element>) {
        self.set_running(track, encoder);
        self.set_name(track, encoder);
        let name = self.names.get(track);
        let kind = name.and_then(|name| self.session.kind_of(name));
        self.session.apply_bitrates(|of| Some(of) == kind);
    }

    fn track_ends(&self, track: usize, caps: &gst::Caps, at: Ns) {
        if let Some(name) = self.names.get(track) {
            let ended = (name.clone(), caps.clone(), at);
            lock(&self.part.control).ended_by_caps.push(ended);
            self.session.backpressure.wake();
        }
    }

    fn left_out(&self, track: usize, caps: &gst::Caps) {
        let media = caps.structure(0).map_or("nothing", |s| s.name().as_str());
        let message = format!(
            "{} has changed to other {media}, which this part cannot contain: its data is dropped until the next \
             part.",
            self.names.get(track).map_or("A track", String::as_str)
        );
        self.part.events.push(Event::Warning { message });
    }

    fn need_data(&self) {
        let session = &self.session;
        let is_held = || session.timeline.read(|t| t.horizon().is_some());
        if !session.any_live() && is_held() {
            // The encoder's demand moves the horizon.
            session.backpressure.wake();
        } else {
            session.backpressure.free();
        }
    }
}
