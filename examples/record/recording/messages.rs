//! Bus messages, and the status line.

use std::time::{Duration, Instant};

use gst::prelude::*;

use super::{Phase, Recording};
use crate::live_line::{Screen, Status, level_of, size, time};

impl Recording<'_> {
    pub(super) fn handle(&mut self, message: &gst::Message, screen: &mut Screen) {
        match message.view() {
            gst::MessageView::Element(element) => {
                if let Some(structure) = element.structure() {
                    self.handle_element(structure, screen);
                }
            }
            gst::MessageView::Error(_) => {
                let why = failure_of(message).unwrap_or_default();
                screen.note(&format!("error: {why}"));
                self.fail(&why);
                // Everything recorded until then is kept.
                if !matches!(self.phase, Phase::Stopping(_)) {
                    self.request_stop(screen);
                }
            }
            gst::MessageView::Warning(warning) => {
                screen.note(&format!("warning: {}", warning.error().message()));
            }
            gst::MessageView::Latency(_) => {
                let _ = self.pipeline.recalculate_latency();
            }
            gst::MessageView::ClockLost(_) => {
                // The clock's device has disappeared: a new clock is selected on the way back to PLAYING.
                let _ = self.pipeline.set_state(gst::State::Paused);
                let _ = self.pipeline.set_state(gst::State::Playing);
            }
            _ => {}
        }
    }

    /// The recorder's events, and the input level.
    fn handle_element(&mut self, structure: &gst::StructureRef, screen: &mut Screen) {
        let number = |field| structure.get::<u64>(field).unwrap_or(0);
        let text = |field| structure.get::<String>(field).unwrap_or_default();
        match structure.name().as_str() {
            "level" => self.level = level_of(structure).or(self.level),
            "mediarecorder-start" => {
                self.phase = match self.phase {
                    Phase::Waiting(_) => Phase::Running,
                    later => later,
                };
                // The exact cut; the call started slightly earlier.
                self.started = gst::ClockTime::from_nseconds(number("running-time"));
                let location = text("location");
                screen.note(&format!("recording {location} ({})", text("mime-type")));
                self.outcome.location = Some(location.into());
            }
            // In a terminal the status line shows these.
            "mediarecorder-pause" if !screen.is_live() => screen.note("paused"),
            "mediarecorder-resume" if !screen.is_live() => screen.note("resumed"),
            "mediarecorder-data-available" => {
                self.outcome.chunks += 1;
                if self.tell_chunks {
                    screen.note(&format!(
                        "chunk {}: {}, {} from {}",
                        self.outcome.chunks,
                        size(number("size")),
                        time(Duration::from_nanos(number("duration"))),
                        time(Duration::from_nanos(number("timecode"))),
                    ));
                }
            }
            "mediarecorder-mark" => screen.note(&format!(
                "{} at {}",
                text("title"),
                time(Duration::from_nanos(number("timecode"))),
            )),
            "mediarecorder-part" => {
                self.outcome.parts += 1;
                self.outcome.bytes = number("size");
                if self.has_parts {
                    screen.note(&format!(
                        "{}: {}, {}",
                        text("location"),
                        size(number("size")),
                        time(Duration::from_nanos(number("duration"))),
                    ));
                }
            }
            "mediarecorder-error" => {
                let why = structure.get::<glib::Error>("error");
                self.fail(why.as_ref().map_or("unknown", |error| error.message()));
                if self.phase == Phase::Running {
                    self.phase = Phase::Stopping(Instant::now());
                }
            }
            "mediarecorder-stop" => {
                if let Ok(location) = structure.get::<String>("location") {
                    self.outcome.location = Some(location.into());
                }
                self.phase = Phase::Done;
            }
            _ => {}
        }
    }

    pub(super) fn draw(&self, screen: &mut Screen) {
        if matches!(self.phase, Phase::Waiting(_) | Phase::Done) || !screen.is_live() {
            return;
        }
        let stats: gst::Structure = self.recorder.property("stats");
        let number = |field: &str| stats.get::<u64>(field).unwrap_or(0);
        let [time_field, bytes_field] = match self.phase {
            Phase::Armed => ["pre-recorded", "pre-recorded-bytes"],
            _ => ["duration", "bytes"],
        };
        let (recorded, bytes) = (
            Duration::from_nanos(number(time_field)),
            number(bytes_field),
        );
        if self.from_file {
            let message = format!("{}  {:>9}", time(recorded), size(bytes));
            let all = self.recorder.query_duration::<gst::ClockTime>();
            screen
                .progress()
                .show(recorded, all.map(Duration::from), message);
            return;
        }
        let state = self.state();
        let line = Status {
            state: match self.phase {
                Phase::Armed => "armed",
                _ => &state,
            },
            recorded,
            bytes,
            level: self.level,
            keys: self.keys.is_some(),
        }
        .line();
        screen.draw(&line);
    }
}

/// `alsasrc0: Device is being used by another application.`
pub(super) fn failure_of(message: &gst::Message) -> Option<String> {
    let gst::MessageView::Error(error) = message.view() else {
        return None;
    };
    let text = error.error().message().to_owned();
    Some(match message.src() {
        Some(source) => format!("{}: {text}", source.name()),
        None => text,
    })
}
