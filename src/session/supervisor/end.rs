//! The end of a recording: what can be got out is, and the last events are said.

use super::{DISK_PATIENCE, Supervisor};
use crate::{
    formats::Ending,
    log::{CAT, time},
    model::{EndReason, Error},
    session::{Event, Part, lock, writer::FIRST_PART},
};
use std::sync::PoisonError;

impl Supervisor {
    /// After an error: what the encoders and the muxer still have is got out of them.
    pub(super) fn drain_after_error(&mut self, error: Error) -> Error {
        for track in &self.session.tracks {
            track.leave_out();
        }
        let Some(pipeline) = &self.pipeline else {
            return error;
        };
        pipeline.dump("error");
        let control = lock(&self.session.control);
        let timeout = self.session.settings.stop_timeout;
        // The muxer finishes its file even after an error, if it can.
        drop(
            self.session
                .done
                .wait_timeout_while(control, timeout, |control| !control.drained)
                .unwrap_or_else(PoisonError::into_inner),
        );
        error
    }

    /// The end, in order: the last blob, the last events, the pipeline's resources.
    pub(super) fn finish(&mut self, error: Option<Error>) {
        self.finalise();
        let session = self.session.clone();
        for track in &session.tracks {
            track.leave_out();
        }
        self.tell_closed();
        session.room.open();
        lock(&session.control).over = true;
        let mime_type = self.likely_type();
        session.contain(|_| {
            crate::fault::place("end");
            self.announce_start(mime_type);
        });
        let mut pipeline = self.pipeline.take();
        if let Some(pipeline) = &pipeline {
            pipeline.dump("stop");
        }
        let (chapters, chapters_end) = session.seal_chapters();
        let ending = pipeline
            .as_ref()
            .map(|pipeline| pipeline.take_ending(chapters, chapters_end));
        if ending
            .as_ref()
            .is_some_and(|ending| ending.lost_chapters() > 0)
        {
            session.warn_of_lost_chapters();
        }
        if lock(&session.control).drained {
            pipeline = None;
        }
        lock(&session.encoders).clear();
        self.announce_resume(usize::MAX);
        let requests = std::mem::take(&mut lock(&session.control).requests);
        for slot in requests {
            session.events.fill(slot, None);
        }
        for message in session.room.warnings() {
            session.events.push(Event::Warning { message });
        }
        // What failed on the way here counts too.
        let error = error.or_else(|| lock(&session.control).error.take());
        self.emit_final_events(error, ending.unwrap_or_default());
        self.release();
        // What did not drain may hold this thread for as long as an element of it is stuck; the
        // writer takes nothing of it any more.
        drop(pipeline);
    }

    /// Nothing more of it leaves through `src`: another recording may.
    pub(super) fn end_src(&self) {
        self.session.src.end(self.session.id);
    }

    /// Nobody waits for this recording any more.
    pub(super) fn release(&self) {
        let session = &self.session;
        session.close_decoders();
        session.events.close();
        lock(&session.control).finished = true;
        session.done.notify_all();
        session.delegate.finished(session.id);
    }

    /// A write has not returned: what is behind it cannot be got at.
    fn disk_is_stuck(&self) -> Error {
        let place = match self.session.location() {
            Some(location) => format!("location \"{location}\""),
            None => "The directory of temporary files".into(),
        };
        Error::unknown(format!(
            "{place} does not answer: a write there has not returned within stop-timeout ({} ms). What it \
             has taken before is there; no more can be delivered.",
            self.session.settings.stop_timeout.as_millis()
        ))
    }

    fn emit_final_events(&self, error: Option<Error>, ending: Ending) {
        let session = &self.session;
        let written = session.progress.frontier();
        let (duration, running_time) = session.timeline.read(|t| match (&error, t.stopped_at()) {
            (None, Some(stop)) => (t.duration(), stop),
            _ => (written, t.running_at(written)),
        });
        session.events.push(Event::Ended {
            session: session.id,
        });
        let say = |error| {
            session.events.push(Event::Error {
                session: session.id,
                running_time,
                error,
            });
        };
        let mut failed = error.is_some();
        let caps = self.likely_caps();
        // A disk that is busy just then is not stuck.
        let patience = session.settings.stop_timeout.max(DISK_PATIENCE);
        let ended = session.with_writer_within(patience, |writer, events| {
            if let Some(caps) = caps {
                writer.assume_caps(caps);
            }
            // An error in the last write comes before the blob that it has made short.
            let finalised = writer.finalise(ending);
            let finalised = finalised.map(|unchanged| session.warn_of_incomplete(unchanged));
            let error = error.or_else(|| {
                let reason = finalised.err()?;
                Some(Error::unknown(format!(
                    "The end of the recording cannot be written: {reason}"
                )))
            });
            if let Some(error) = error {
                failed = true;
                say(error);
            }
            writer.finish(duration, events, |error| {
                if !std::mem::replace(&mut failed, true) {
                    say(error);
                }
            });
        });
        if ended.is_none() {
            failed = true;
            say(self.disk_is_stuck());
            session.with_outlet(|events| session.progress.abandon(duration, events));
        }
        self.end_src();
        let (size, blobs) = session.progress.figures();
        gst::info!(
            CAT,
            id = &session.label,
            "Over after {:?}: {} recorded, {size} bytes in {blobs} blobs{}{}",
            self.begun.elapsed(),
            time(duration),
            if session.location().is_some() {
                ", in "
            } else {
                ""
            },
            session.location().unwrap_or_default()
        );
        let intervals = session.intervals();
        session.events.push(Event::Part(Part {
            number: FIRST_PART,
            location: session.settings.location.clone(),
            mime_type: session.mime_type().unwrap_or_default(),
            timecode: 0,
            duration,
            size,
            whole: session.progress.is_whole(),
            running_time: intervals.first().map_or(running_time, |i| i.running_time),
        }));
        let reason = match failed {
            true => EndReason::Error,
            false => lock(&session.control)
                .reason
                .unwrap_or(EndReason::EndOfStream),
        };
        session.events.push(Event::Stop {
            session: session.id,
            reason,
            intervals,
            running_time,
            location: session.settings.location.clone(),
            duration,
            size,
        });
    }
}
