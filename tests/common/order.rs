//! A model of the order in which a recorder may emit events.
#![allow(dead_code)]

use gst::prelude::*;
use std::sync::{Arc, Mutex};

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Start,
    Pause,
    Resume,
    Data {
        offset: u64,
        end: u64,
        pts: u64,
        duration: u64,
    },
    Error,
    Stop,
}

/// The valid order of events, over consecutive recordings.
#[derive(Default)]
pub struct OrderModel {
    /// A recording is active.
    pub recording: bool,
    paused: bool,
    failed: bool,
    blobs: Vec<(u64, u64, u64)>,
    last_was_data: bool,
    blobs_after_error: u32,
    /// Recordings that have ended.
    pub recordings: u64,
}

impl OrderModel {
    /// Checks the next event.
    pub fn accept(&mut self, seen: &Event) -> Result<(), String> {
        let check = |holds: bool, what: &str| {
            if holds {
                Ok(())
            } else {
                Err(format!("{seen:?}: {what}"))
            }
        };
        let was_data = std::mem::take(&mut self.last_was_data);
        check(
            self.recording != (*seen == Event::Start),
            "on-start first, and only once",
        )?;
        check(
            !self.failed || matches!(seen, Event::Data { .. } | Event::Stop),
            "after an error, only the last blob and the end",
        )?;
        match seen {
            Event::Start => {
                *self = OrderModel {
                    recording: true,
                    recordings: self.recordings,
                    ..OrderModel::default()
                }
            }
            Event::Pause => {
                check(!self.paused, "paused twice")?;
                self.paused = true;
            }
            Event::Resume => {
                check(self.paused, "resumed without a pause")?;
                self.paused = false;
            }
            Event::Data {
                offset,
                end,
                pts,
                duration,
            } => {
                let (_, end_before, time) = self.blobs.last().copied().unwrap_or_default();
                check(*offset == end_before, "blobs are contiguous in bytes")?;
                check(*end >= *offset, "no blob ends before it starts")?;
                check(*pts == time, "blobs are contiguous in time")?;
                self.blobs.push((*offset, *end, pts + duration));
                self.last_was_data = true;
                self.blobs_after_error += u32::from(self.failed);
                check(self.blobs_after_error <= 1, "one blob after an error")?;
            }
            Event::Error => self.failed = true,
            Event::Stop => {
                check(was_data, "a blob right before the end")?;
                self.recording = false;
                self.failed = false;
                self.recordings += 1;
            }
        }
        Ok(())
    }
}

impl OrderModel {
    /// The state after these events, or what is wrong with them.
    pub fn of(seen: &[Event]) -> Result<Self, String> {
        let mut model = OrderModel::default();
        for (index, event) in seen.iter().enumerate() {
            if let Err(what) = model.accept(event) {
                let around = &seen[index.saturating_sub(12)..(index + 3).min(seen.len())];
                return Err(format!("event {index}: {what}; around it: {around:#?}"));
            }
        }
        Ok(model)
    }
}

/// Records the events of a recorder.
pub fn record_events(recorder: &gst::Element) -> Arc<Mutex<Vec<Event>>> {
    let all = Arc::<Mutex<Vec<Event>>>::default();
    for (signal, what) in [
        ("on-start", Event::Start),
        ("on-pause", Event::Pause),
        ("on-resume", Event::Resume),
        ("on-error", Event::Error),
        ("on-stop", Event::Stop),
    ] {
        let all = all.clone();
        recorder.connect(signal, false, move |_| {
            all.lock().unwrap().push(what.clone());
            None
        });
    }
    let seen = all.clone();
    recorder.connect("on-data-available", false, move |args| {
        let sample: gst::Sample = args[1].get().unwrap();
        let buffer = sample.buffer().unwrap();
        seen.lock().unwrap().push(Event::Data {
            offset: buffer.offset(),
            end: buffer.offset_end(),
            pts: buffer.pts().unwrap().nseconds(),
            duration: buffer.duration().unwrap().nseconds(),
        });
        None
    });
    all
}
