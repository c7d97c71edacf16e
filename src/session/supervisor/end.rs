//! The end of a part: drains what is left, and emits the last events.

use super::{DISK_PATIENCE, Supervisor, TICK};
use crate::{
    formats::Ending,
    log::{CAT, time},
    model::{EndReason, Error, timeline::Ns},
    session::{Event, FinishedPart, Stopped, lock, part::part_number},
};
use std::sync::{PoisonError, atomic::Ordering};

impl Supervisor {
    /// Waits until the part begins, unless it has. FALSE if it never will. Until then, the part before it ends the
    /// recording, whatever happens to this one.
    fn has_its_turn(&mut self) -> bool {
        let (session, part) = (self.session.clone(), self.part.clone());
        loop {
            if lock(&part.control).cancelled {
                return false;
            }
            if session.timeline.read(|t| t.part() >= part.number) {
                return true;
            }
            session.backpressure.wait_for_news(&mut self.seen, TICK);
        }
    }

    /// Drains what the encoders and the muxer still hold after an error.
    pub(super) fn drain_after_error(&mut self, error: Error) -> Error {
        if !self.has_its_turn() {
            return error;
        }
        self.leave_out_tracks();
        let Some(pipeline) = self.pipeline.as_ref().filter(|_| self.is_connected()) else {
            return error;
        };
        pipeline.dump("error");
        let control = lock(&self.part.control);
        let timeout = self.session.settings.stop_timeout;
        // The muxer finishes its file even after an error, if it can.
        drop(
            self.part
                .done
                .wait_timeout_while(control, timeout, |control| !control.drained)
                .unwrap_or_else(PoisonError::into_inner),
        );
        error
    }

    /// Closes the tracks for this part, or entirely if this is the last part. Returns whether it is.
    fn leave_out_tracks(&self) -> bool {
        let is_last = self.session.is_over_with(&self.part);
        for track in &self.session.tracks {
            if is_last {
                track.leave_out()
            } else {
                track.leave_out_of(self.part.number)
            }
        }
        is_last
    }

    /// Ends the part, in this order: the last blob, the last events, the pipeline's resources.
    pub(super) fn finish(&mut self, error: Option<Error>) {
        let session = self.session.clone();
        let part = self.part.clone();
        if !self.has_its_turn() {
            return self.release();
        }
        let is_last = self.leave_out_tracks();
        self.drain();
        if is_last {
            session.end_log();
            session.backpressure.open();
        }
        let mime_type = self.likely_type();
        session.contain(|_| {
            crate::fault::place("end");
            self.announce_start(mime_type.clone());
        });
        lock(&part.mime_type).get_or_insert(mime_type);
        let mut pipeline = self.pipeline.take();
        if let Some(pipeline) = &pipeline {
            pipeline.dump("stop");
        }
        let (chapters, chapters_end) = session.seal_chapters(&part);
        let ending = pipeline.as_ref().map(|pipeline| {
            pipeline.end_fragments(DISK_PATIENCE);
            pipeline.take_ending(chapters, chapters_end)
        });
        if ending
            .as_ref()
            .is_some_and(|ending| ending.lost_chapters() > 0)
        {
            session.warn_of_lost_chapters();
        }
        if lock(&part.control).drained {
            pipeline = None;
        }
        lock(&part.encoders).clear();
        if is_last {
            session.announce_resume(usize::MAX)
        } else {
            session.hand_on_resumes(&part)
        }
        let requests = {
            let mut control = lock(&part.control);
            control.over = true;
            std::mem::take(&mut control.requests)
        };
        for slot in requests {
            part.events.fill(slot, None);
        }
        for message in session.backpressure.warnings() {
            part.events.push(Event::Warning { message });
        }
        // Errors that occurred on the way here count, too.
        let error = error.or_else(|| {
            let own = lock(&part.control).error.take();
            own.or_else(|| is_last.then(|| session.take_error()).flatten())
        });
        self.emit_final_events(error, ending.unwrap_or_default(), is_last);
        self.release();
        // If the pipeline did not drain, this may block this thread for as long as an element is stuck. The writer
        // accepts nothing from it any more.
        drop(pipeline);
    }

    /// Ends the stream on `src`, so that another recording may use it.
    pub(super) fn end_src(&self) {
        self.session.src.end(self.session.id);
    }

    /// Removes this part and wakes whoever waits for it, or for the recording if this was the last part.
    pub(super) fn release(&self) {
        let session = &self.session;
        self.part.events.close();
        if let Some(synchroniser) = self.part.synchroniser() {
            synchroniser.end();
        }
        if session.forget_part(&self.part) {
            session.close_decoders();
            lock(&session.control).finished = true;
            session.done.notify_all();
            session.delegate.finished(session.id);
        }
    }

    /// A write has not returned: what is queued behind it cannot be delivered.
    fn disk_is_stuck(&self) -> Error {
        let place = match self.part.location() {
            Some(location) => format!("location \"{location}\""),
            None => "The directory of temporary files".into(),
        };
        Error::unknown(format!(
            "{place} does not respond: a write has not returned within stop-timeout ({} ms). Only what was written \
             before is delivered.",
            self.session.settings.stop_timeout.as_millis()
        ))
    }

    fn emit_final_events(&self, error: Option<Error>, ending: Ending, is_last: bool) {
        let session = &self.session;
        let part = &self.part;
        let number = part.number;
        let written = part.progress.frontier();
        let end = self.end(error.is_none(), written);
        let running_time = end.running_time;
        if is_last {
            part.events.push(Event::Ended {
                session: session.id,
            });
        }
        let say = |error: Error| {
            if is_last {
                part.events.push(Event::Error {
                    session: session.id,
                    running_time,
                    error,
                })
            } else {
                // The recording goes on.
                part.events.push(Event::Warning {
                    message: format!("Part {number} is incomplete: {error}"),
                })
            }
        };
        let mut failed = error.is_some();
        if number > 0 && !self.has_begun() {
            if let Some(error) = error {
                say(error);
            }
        } else {
            self.emit_last_blob(error, ending, end.duration, &mut failed, &say);
            self.end_src();
            self.emit_part(&end, failed && !is_last);
        }
        if is_last {
            self.emit_stop(&end, failed);
        }
    }

    /// Where the part ends: at its cut; where its media ends if there is none; at what has been `written` if it is
    /// incomplete.
    fn end(&self, is_whole: bool, written: Ns) -> End {
        let number = self.part.number;
        let tracks = self.session.tracks.iter();
        let fed = tracks.map(|track| track.fed(number));
        // Encoded media may have no durations.
        let fed = fed.filter(|fed| (1..Ns::MAX).contains(fed)).max();
        let media = fed.filter(|_| is_whole).unwrap_or(written);
        self.session.timeline.read(|t| {
            let begin = t.recorded_before(number);
            let seam = t.end_of_part(number).map(|seam| seam.running);
            let cut = seam.or(t.stopped_at()).filter(|_| is_whole);
            let (duration, running_time) = match cut {
                Some(cut) => (t.duration_of(number), cut),
                None => (media, t.running_at(begin.saturating_add(media))),
            };
            End {
                begin,
                begun: t.first_instant_of(number),
                duration,
                running_time,
            }
        })
    }

    fn emit_last_blob(
        &self,
        error: Option<Error>,
        ending: Ending,
        duration: Ns,
        failed: &mut bool,
        say: &dyn Fn(Error),
    ) {
        let session = &self.session;
        let part = &self.part;
        let caps = self.likely_caps();
        // A disk that happens to be busy is not stuck.
        let patience = session.settings.stop_timeout.max(DISK_PATIENCE);
        let finalised = session.finalise(part, ending, Some(patience));
        let ended = finalised.and_then(|finalised| {
            session.with_writer_within(part, patience, |writer, events| {
                if let Some(caps) = &caps {
                    writer.assume_caps(caps.clone());
                }
                // A write error is reported before the blob that it has truncated.
                if let Some(error) = error.or(finalised.err()) {
                    *failed = true;
                    say(error);
                }
                writer.finish(duration, events, |error| {
                    if !std::mem::replace(failed, true) {
                        say(error);
                    }
                });
            })
        });
        if ended.is_none() {
            *failed = true;
            say(self.disk_is_stuck());
            session.with_outlet(part, |events| {
                part.progress.abandon(duration, caps.as_ref(), events);
            });
        }
    }

    fn emit_part(&self, end: &End, failed: bool) {
        let part = &self.part;
        let (size, blobs) = part.progress.figures();
        gst::info!(
            CAT,
            id = &part.label,
            "Ended after {:?}: {} recorded, {size} bytes in {blobs} blobs{}{}",
            self.begun.elapsed(),
            time(end.duration),
            if part.location().is_some() {
                ", in "
            } else {
                ""
            },
            part.location().unwrap_or_default()
        );
        self.session.reported.fetch_add(size, Ordering::SeqCst);
        part.events.push(Event::Part(FinishedPart {
            number: part_number(part.number),
            location: part.location().map(str::to_owned),
            mime_type: part.mime_type().unwrap_or_default(),
            timecode: end.begin,
            duration: end.duration,
            size,
            // If the whole recording fails, its own error event reports that.
            whole: part.progress.is_whole() && !failed,
            running_time: end.begun.unwrap_or(end.running_time),
        }));
    }

    fn emit_stop(&self, end: &End, failed: bool) {
        let session = &self.session;
        let reason = if failed {
            EndReason::Error
        } else {
            lock(&session.control)
                .reason
                .unwrap_or(EndReason::EndOfStream)
        };
        self.part.events.push(Event::Stop(Stopped {
            session: session.id,
            reason,
            intervals: session.intervals(),
            running_time: end.running_time,
            location: session.location(),
            duration: end.begin.saturating_add(end.duration),
            reported: session.reported.clone(),
        }));
    }
}

/// Where a part ends.
struct End {
    /// Recorded time at which it begins.
    begin: Ns,
    /// Running time of its first instant, if anything was recorded.
    begun: Option<Ns>,
    /// Its duration in recorded time.
    duration: Ns,
    /// Running time of its end.
    running_time: Ns,
}
