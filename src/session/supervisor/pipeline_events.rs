//! What the pipeline says, brought to the session.

use crate::{
    formats::{Chapter, Ending, Missing},
    model::{Error, timeline::Ns},
    session::{Event, Session, bitrates::RunningEncoder, lock, part::Part, pipeline::Listener},
};
use gst::prelude::*;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// What the pipeline says, brought to the session.
pub(super) struct PipelineEvents {
    pub(super) session: Arc<Session>,
    pub(super) part: Arc<Part>,
    /// The pads of its tracks, in order.
    pub(super) names: Vec<String>,
    /// Something has come out of every encoder that there would be another for.
    pub(super) proven: AtomicBool,
    /// Bytes have come.
    pub(super) begun: AtomicBool,
    /// The pipeline is to be replaced: what it still says does not count.
    pub(super) cut: AtomicBool,
}

impl PipelineEvents {
    fn is_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }

    /// Whether another pipeline can begin anew with all that this one was given.
    fn is_replaceable(&self) -> bool {
        let tracks = &self.session.tracks;
        !self.proven.load(Ordering::SeqCst)
            && !lock(&self.part.control).caps
            && tracks
                .iter()
                .all(|track| track.can_replay(self.part.number))
    }

    /// The recording ends where nothing more can be written.
    fn fail_if(&self, written: io::Result<()>) {
        if let Err(err) = written {
            let what = match self.part.location() {
                Some(location) => format!("location \"{location}\""),
                None => "The temporary file of the recording".into(),
            };
            let error = Error::unknown(format!("{what} cannot be written: {err}"));
            self.session.fail_part(&self.part, error);
        }
    }
}

impl Listener for PipelineEvents {
    fn seek(&self, position: u64) {
        if self.is_cut() {
            return;
        }
        crate::fault::place("seek");
        self.session
            .with_writer(&self.part, |writer, _| writer.seek(position));
    }

    fn caps(&self, caps: &gst::Caps) {
        if self.is_cut() {
            return;
        }
        crate::fault::place("muxer caps");
        self.session
            .with_writer(&self.part, |writer, _| writer.set_caps(caps));
        lock(&self.part.control).caps = true;
        self.session.room.wake();
    }

    fn date(&self) -> Option<i64> {
        let intervals = self.session.intervals();
        intervals.first().map(|interval| interval.utc)
    }

    fn bytes(&self, buffer: gst::Buffer, begins_unit: bool) {
        if self.is_cut() {
            return;
        }
        crate::fault::place("bytes");
        let written = self.session.with_writer(&self.part, |writer, events| {
            writer.write(buffer, begins_unit, events)
        });
        self.fail_if(written);
        if !self.begun.swap(true, Ordering::SeqCst) {
            // `on-start` waits for them.
            self.session.room.wake();
        }
    }

    fn chapters(&self) -> (Vec<Chapter>, Ns) {
        if self.is_cut() {
            return Default::default();
        }
        self.session.seal_chapters(&self.part)
    }

    fn end(&self, ending: Ending) {
        if self.is_cut() {
            return;
        }
        self.session.contain(|_| crate::fault::place("drained"));
        if ending.lost_chapters() > 0 {
            self.session.warn_of_lost_chapters();
        }
        // In this thread, which may wait for the disk.
        let written = self
            .session
            .with_writer(&self.part, |writer, _| writer.finalise(ending));
        let written =
            written.map(|unchanged| self.session.warn_of_incomplete(&self.part, unchanged));
        self.fail_if(written);
        lock(&self.part.control).drained = true;
        self.part.done.notify_all();
        self.session.room.wake();
    }

    fn error(&self, encoder: Option<&str>, error: Error) {
        if self.is_cut() {
            return;
        }
        match encoder.filter(|_| self.is_replaceable()) {
            Some(encoder) => {
                self.cut.store(true, Ordering::SeqCst);
                lock(&self.part.control).failed_encoder = Some((encoder.to_owned(), error));
                self.session.room.wake();
            }
            None => self.session.fail_part(&self.part, error),
        }
    }

    fn missing(&self, missing: Vec<Missing>) {
        // Of what fails because something else has, nobody is told.
        let first = lock(&self.part.control).error.is_none();
        if first && !self.is_cut() && !missing.is_empty() {
            self.part.events.push(Event::Missing(missing));
        }
    }

    fn encoders_work(&self) {
        self.proven.store(true, Ordering::SeqCst);
        for track in &self.session.tracks {
            track.forget(self.part.number);
        }
    }

    fn encoder(&self, track: usize, encoder: &gst::Element) {
        crate::fault::place("encoder");
        if let Some(name) = self.names.get(track) {
            self.session.delegate.encoder_setup(name, encoder);
        }
    }

    fn exchanged(&self, track: usize, encoder: Option<&gst::Element>) {
        let session = &self.session;
        let Some(name) = self.names.get(track) else {
            return;
        };
        let Some(kind) = session.kind_of(name) else {
            return;
        };
        {
            let mut names = lock(&session.encoder_names);
            names.retain(|(of, _)| of != name);
            let factory = encoder.and_then(|encoder| encoder.factory());
            names.extend(factory.map(|factory| (name.clone(), factory.name().to_string())));
        }
        let of_kind = self
            .names
            .iter()
            .filter(|other| session.kind_of(other) == Some(kind))
            .count();
        let mut running = lock(&self.part.encoders);
        // Those that were exchanged are in no pipeline any more.
        running.retain(|encoder| encoder.element.parent().is_some());
        running.extend(encoder.map(|encoder| RunningEncoder {
            element: encoder.clone(),
            kind,
            of_kind,
        }));
        drop(running);
        session.apply_bitrates(|of| of == kind);
    }

    fn track_ends(&self, track: usize, caps: &gst::Caps, at: Ns) {
        if let Some(name) = self.names.get(track) {
            let ended = (name.clone(), caps.clone(), at);
            lock(&self.part.control).ended_by_caps.push(ended);
            self.session.room.wake();
        }
    }

    fn need_data(&self) {
        self.session.room.free();
    }
}
