//! Emits events as signals and bus messages, from the dispatcher's thread.

use super::{RecorderState, imp::MediaRecorder, stats::Latest};
use crate::{
    formats::Missing,
    model::{EndReason, Error, timeline::Ns},
    session::{Blob, Event, FinishedPart, Mark, RecordedInterval, Stopped, lock},
};
use glib::{signal::signal_has_handler_pending, subclass::SignalId};
use gst::{prelude::*, subclass::prelude::*};

/// Builds `mediarecorder-NAME`.
fn message(name: &str, running_time: Ns) -> gst::structure::Builder {
    gst::Structure::builder(format!("mediarecorder-{name}")).field("running-time", running_time)
}

/// The `intervals` of messages and of `stats`.
pub(super) fn interval_array(intervals: &[RecordedInterval]) -> gst::Array {
    let structures = intervals.iter().map(|interval| {
        gst::Structure::builder("interval")
            .field("running-time", interval.running_time)
            .field("recorded-time", interval.recorded_time)
            .field("duration", interval.duration)
            .field("utc", interval.utc)
            .build()
            .to_send_value()
    });
    gst::Array::from_values(structures)
}

impl MediaRecorder {
    fn post(&self, structure: gst::Structure) {
        let obj = self.obj();
        let message = gst::message::Element::builder(structure).src(&*obj);
        // Fails only without a bus.
        let _ = obj.post_message(message.build());
    }

    /// Posts PROGRESS for the end of a recording: START once, then COMPLETE or ERROR.
    fn post_progress(&self, progress: gst::ProgressType, text: &str) {
        let obj = self.obj();
        let message = gst::message::Progress::builder(progress, "finalise", text).src(&*obj);
        let _ = obj.post_message(message.build());
    }

    /// Posts missing-plugin messages, so that the application can offer installation. Calls out of the element: call
    /// without a lock.
    pub(super) fn post_missing(&self, missing: &[Missing]) {
        use gst_pbutils::MissingPluginMessage as Message;
        let obj = self.obj();
        for plugin in missing {
            let message = match plugin {
                Missing::Element(name) => Message::builder_for_element(name).src(&*obj).build(),
                Missing::Encoder(caps) => Message::builder_for_encoder(caps).src(&*obj).build(),
                Missing::Decoder(caps) => Message::builder_for_decoder(caps).src(&*obj).build(),
            };
            let _ = obj.post_message(message);
        }
    }

    /// Emits one event; no lock is held while the handlers run.
    pub(super) fn emit(&self, event: Event) {
        gst::debug!(super::imp::CAT, imp = self, "{event}");
        crate::fault::place("event");
        let obj = self.obj();
        match event {
            Event::Start {
                session,
                running_time,
                mime_type,
                location,
            } => {
                self.started(session, &mime_type);
                obj.emit_by_name::<()>("on-start", &[]);
                self.post(
                    message("start", running_time)
                        .field("mime-type", mime_type)
                        .field("location", location)
                        .build(),
                );
            }
            Event::Pause { running_time } => {
                obj.emit_by_name::<()>("on-pause", &[]);
                self.post(message("pause", running_time).build());
            }
            Event::Resume { running_time } => {
                obj.emit_by_name::<()>("on-resume", &[]);
                self.post(message("resume", running_time).build());
            }
            Event::Warning { message } => {
                gst::element_imp_warning!(self, gst::StreamError::Failed, ("{}", message));
            }
            Event::Missing(missing) => self.post_missing(&missing),
            Event::Finalising => {
                self.post_progress(gst::ProgressType::Start, "Finishing the recording")
            }
            Event::Ended { session } => self.session_ended(session),
            Event::Error {
                session,
                running_time,
                error,
            } => self.emit_error(session, running_time, error),
            Event::Data {
                session,
                running_time,
                part,
                mut blob,
            } => {
                if blob.mime_type.is_empty() {
                    // Known by now: `on-start` has been emitted.
                    blob.mime_type = self.actual_type(session).unwrap_or_default();
                }
                self.emit_data(running_time, part, blob);
            }
            Event::Mark(mark) => self.emit_mark(mark),
            Event::Part(part) => self.emit_part(part),
            Event::Stop(stopped) => self.emit_stop(stopped),
        }
    }

    fn emit_stop(&self, stopped: Stopped) {
        let size = stopped.size();
        self.remember(stopped.session);
        self.obj().emit_by_name::<()>("on-stop", &[]);
        self.post(
            message("stop", stopped.running_time)
                .field("location", stopped.location)
                .field("duration", stopped.duration)
                .field("size", size)
                .field("reason", stopped.reason.as_str())
                .field("intervals", interval_array(&stopped.intervals))
                .build(),
        );
        if stopped.reason == EndReason::Error {
            self.post_progress(gst::ProgressType::Error, "The recording has failed");
        } else {
            self.post_progress(gst::ProgressType::Complete, "The recording is whole");
        }
        self.check_end_of_stream();
    }

    /// Makes `mime-type` return the actual type, unless the recording has ended already.
    fn started(&self, session: u64, mime_type: &str) {
        let changed = {
            let mut control = lock(&self.control);
            let current = control.current.as_ref().map(|current| current.id());
            let is_current = current == Some(session);
            if is_current {
                control.actual = Some(mime_type.to_owned());
            }
            is_current
        };
        if changed {
            self.obj().notify("mime-type");
        }
    }

    fn emit_mark(&self, mark: Mark) {
        let structure = message("mark", mark.running_time)
            .field("title", mark.title)
            .field("timecode", mark.timecode)
            .field("part", mark.part)
            .field("part-timecode", mark.part_timecode)
            .build();
        self.obj().emit_by_name::<()>("on-mark", &[&structure]);
        self.post(structure);
    }

    fn emit_part(&self, part: FinishedPart) {
        let structure = message("part", part.running_time)
            .field("part", part.number)
            .field("location", part.location)
            .field("mime-type", part.mime_type)
            .field("timecode", part.timecode)
            .field("duration", part.duration)
            .field("size", part.size)
            .field("whole", part.whole)
            .build();
        self.obj().emit_by_name::<()>("on-part", &[&structure]);
        self.post(structure);
    }

    /// The actual type of a recording, once known.
    fn actual_type(&self, session: u64) -> Option<String> {
        let session = {
            let control = lock(&self.control);
            let mut sessions = control.sessions.iter();
            sessions.find(|other| other.id() == session).cloned()
        };
        session?.mime_type()
    }

    fn emit_data(&self, running_time: Ns, part: u32, blob: Blob) {
        let obj = self.obj();
        let mut message = message("data-available", running_time)
            .field("size", blob.bytes.size())
            .field("offset", blob.bytes.offset())
            .field("timecode", blob.timecode)
            .field("duration", blob.duration)
            .field("mime-type", &blob.mime_type)
            .field("part", part);
        // Avoids reading or copying bytes from the file if no one receives them.
        let in_message = lock(&self.values).blob_messages;
        let listens = SignalId::lookup("on-data-available", obj.type_())
            .is_none_or(|signal| signal_has_handler_pending(&*obj, signal, None, false));
        if in_message || listens {
            let (sample, error) = blob.into_sample();
            if let Some(error) = error {
                gst::element_imp_warning!(
                    self,
                    gst::ResourceError::Read,
                    ("A blob has no bytes, but the file has them: {}", error)
                );
            }
            if listens {
                obj.emit_by_name::<()>("on-data-available", &[&sample]);
            }
            if in_message {
                message = message.field("sample", &sample);
            }
        }
        self.post(message.build());
    }

    fn emit_error(&self, session: u64, running_time: Ns, error: Error) {
        let autostarted = lock(&self.control).autostarted == Some(session);
        let text = error.message().to_owned();
        let error = glib::Error::from(error);
        self.obj().emit_by_name::<()>("on-error", &[&error]);
        self.post(
            message("error", running_time)
                .field("error", &error)
                .build(),
        );
        if autostarted {
            gst::element_imp_error!(self, gst::StreamError::Failed, ("{}", text));
        } else {
            gst::element_imp_warning!(self, gst::StreamError::Failed, ("{}", text));
        }
    }

    /// Keeps the figures of an ended recording for `stats`.
    fn remember(&self, id: u64) {
        let mut control = lock(&self.control);
        let Some(at) = control.sessions.iter().position(|s| s.id() == id) else {
            return;
        };
        let session = control.sessions.remove(at);
        if control.current.is_none() {
            control.latest = Some(Latest::of(&session));
        }
        drop(control);
        // Drop it without a lock: it may be the last reference.
        drop(session);
    }

    /// Posts EOS once every track is at EOS and nothing is being recorded.
    pub(super) fn check_end_of_stream(&self) {
        let pads = self.tracks();
        if !pads.iter().all(|pad| pad.stream().eos) {
            return;
        }
        let seqnum = {
            let mut control = lock(&self.control);
            let Some(seqnum) = control.eos_seqnum else {
                return;
            };
            if !control.sessions.is_empty() {
                return;
            }
            let playing = lock(&self.hold).playing;
            let post = playing && !std::mem::replace(&mut control.eos_posted, playing);
            post.then_some(seqnum)
        };
        self.output.eos();
        if let Some(seqnum) = seqnum {
            let obj = self.obj();
            let message = gst::message::Eos::builder().src(&*obj).seqnum(seqnum);
            let _ = obj.post_message(message.build());
        }
        // After that: the pipeline checks the EOS of its sinks when one is posted.
        self.be_sink_of_pads();
    }

    /// A track continues after EOS: the next EOS is posted again.
    pub(super) fn end_of_stream_is_over(&self) {
        lock(&self.control).eos_posted = false;
    }

    /// Clears the SINK flag without a sink pad, so that the pipeline does not wait for its EOS. Call in PAUSED or
    /// PLAYING, without a lock.
    pub(super) fn be_sink_of_pads(&self) {
        let obj = self.obj();
        match obj.num_sink_pads() {
            0 => obj.unset_element_flags(gst::ElementFlags::SINK),
            _ => obj.set_element_flags(gst::ElementFlags::SINK),
        }
    }

    /// The state as seen by applications.
    pub(super) fn recorder_state(&self) -> RecorderState {
        self.state().into()
    }
}
