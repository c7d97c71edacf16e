//! Replaces encoders that fail or hang, within the same file.

use super::Supervisor;
use crate::{
    log::CAT,
    model::Error,
    session::{
        Event,
        encoding::{self, candidates},
        lock,
        pipeline::{Pipeline, factory_name},
        track::Track,
    },
};
use std::time::Duration;

/// Minimum patience with an encoder, however short `max-queue-time` is: the machine may be busy.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);

/// How to replace an encoder, best first. If neither is possible, the recording goes on in a new part, or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    /// The next best encoder of the codec.
    Next,
    /// A new instance of the encoder that failed, once.
    Fresh,
}

impl Supervisor {
    fn encoder_patience(&self) -> Duration {
        self.session.settings.patience().max(LEAST_PATIENCE)
    }

    /// Starts the encoders of a pipeline that has no input yet. Those that fail to start are replaced.
    pub(super) fn start_encoders(&mut self) -> Result<(), Error> {
        let Some(pipeline) = &self.pipeline else {
            return Ok(());
        };
        let encoders = pipeline.feeds().iter().map(|feed| feed.monitor.encoder());
        let encoders: Vec<_> = encoders.collect();
        for (index, encoder) in encoders.into_iter().enumerate() {
            if let Some(encoder) = encoder
                && let Err(error) = encoding::start(&encoder, self.encoder_patience())
            {
                let error = self.reason(&encoder).unwrap_or(error);
                let replaced = self.replace_encoder(index, error)?;
                gst::warning!(CAT, id = &self.session.label, "{replaced}");
            }
        }
        Ok(())
    }

    /// The error that an encoder posted, if any.
    fn reason(&self, encoder: &gst::Element) -> Option<Error> {
        let control = lock(&self.part.control);
        let mut said = control.failed_encoders.iter();
        let said = said.find(|(failed, _)| failed == encoder);
        said.map(|(_, error)| error.clone())
    }

    /// Replaces encoders that have failed or hang. Returns an error if that is possible neither in this file nor in a
    /// new part.
    pub(super) fn look_after_encoders(&mut self) -> Result<(), Error> {
        let Some(pipeline) = &self.pipeline else {
            return Ok(());
        };
        let (now, patience) = (self.begun.elapsed(), self.encoder_patience());
        let said = std::mem::take(&mut lock(&self.part.control).failed_encoders);
        let mut failed = Vec::new();
        for (index, feed) in pipeline.feeds().iter().enumerate() {
            let hangs = feed.monitor.hangs(now, patience);
            let Some(encoder) = feed.monitor.encoder() else {
                continue;
            };
            if let Some((_, error)) = said.iter().find(|(failed, _)| *failed == encoder) {
                failed.push((index, error.clone()));
            } else if hangs {
                let text = format!(
                    "it hangs: nothing has come out of it for {} ms while it held input",
                    patience.as_millis()
                );
                failed.push((index, Error::unknown(text)));
            }
        }
        for (index, error) in failed {
            let replaced = self.replace_encoder(index, error);
            let message = replaced.or_else(|error| self.go_on_in_new_part(index, error))?;
            gst::warning!(CAT, id = &self.session.label, "{message}");
            self.part.events.push(Event::Warning { message });
        }
        Ok(())
    }

    fn track_at(&self, index: usize) -> Option<&Track> {
        let name = self.pipeline_events.as_ref()?.names.get(index)?;
        self.session.track_named(name)
    }

    /// Replaces this track's encoder within the same file, and replays what is in flight. Returns the message to
    /// report.
    fn replace_encoder(&mut self, index: usize, error: Error) -> Result<String, Error> {
        let mut error = error;
        if let Some(pipeline) = &self.pipeline {
            pipeline.dump("encoder-failed");
        }
        let old = self.encoder_of(index).as_ref().and_then(factory_name);
        let mut failed = old.clone();
        let mut has_next = true;
        loop {
            if let Some(failed) = failed.take() {
                self.failed.add(failed);
            }
            let Some(remedy) = self.remedy(index, old.as_deref(), has_next) else {
                let feed = self
                    .pipeline
                    .as_ref()
                    .and_then(|all| all.feeds().get(index));
                feed.inspect(|feed| feed.end_tail());
                return Err(self.no_encoder(index, old.as_deref(), &error));
            };
            match self.rebuild(index) {
                Ok(()) => return Ok(self.replacement(index, old.as_deref(), remedy, &error)),
                Err(next) => {
                    failed = self.encoder_of(index).as_ref().and_then(factory_name);
                    // Otherwise none of those available works.
                    has_next &= failed.is_some();
                    error = next;
                }
            }
        }
    }

    /// Ends the part, as one of its tracks has no encoder any more. Returns the message to report, or `error` if no part
    /// may begin, or if the encoders of this part have not encoded anything of the track either.
    fn go_on_in_new_part(&self, index: usize, error: Error) -> Result<String, Error> {
        let (session, part) = (&self.session, &self.part);
        let feeds = self.pipeline.as_ref().map(Pipeline::feeds);
        let feed = feeds.and_then(|feeds| feeds.get(index));
        let (Some(feed), Some(track)) = (feed, self.track_at(index)) else {
            return Err(error);
        };
        if !session.settings.may_split || !feed.monitor.has_output() || !self.begin_next_part() {
            return Err(error);
        }
        feed.monitor.abandon();
        track.leave_out_of(part.number);
        part.progress.note_incomplete();
        Ok(format!(
            "{error} The recording goes on in a new part; what that encoder had been given is lost."
        ))
    }

    fn encoder_of(&self, index: usize) -> Option<gst::Element> {
        let pipeline = self.pipeline.as_ref()?;
        pipeline.feeds().get(index)?.monitor.encoder()
    }

    /// How an encoder of the factory `old` can be replaced.
    fn remedy(&mut self, index: usize, old: Option<&str>, has_next: bool) -> Option<Remedy> {
        let spec = self.pipeline.as_ref()?.feeds().get(index)?.next_spec();
        let caps = self.track_at(index)?.caps_of(self.part.number)?;
        if has_next && !candidates(&spec, &caps, &self.failed).is_empty() {
            return Some(Remedy::Next);
        }
        let old = old.filter(|_| !self.refreshed.contains(&index))?;
        self.refreshed.push(index);
        self.failed.forgive(old);
        Some(Remedy::Fresh)
    }

    /// Rebuilds the chain in front of a track's parser, and replays what is in flight.
    fn rebuild(&mut self, index: usize) -> Result<(), Error> {
        let (session, patience) = (self.session.clone(), self.encoder_patience());
        let settings = &session.settings;
        let pipeline_events = self.pipeline_events.clone();
        let (Some(pipeline_events), Some(plan)) = (pipeline_events, self.plan.clone()) else {
            return Ok(());
        };
        let tracks = pipeline_events
            .names
            .iter()
            .filter_map(|name| session.track_named(name));
        let tracks: Vec<&Track> = tracks.collect();
        let Some(track) = tracks.get(index) else {
            return Ok(());
        };
        let (Some(media), Some(pipeline)) = (self.media(track, &tracks), &mut self.pipeline) else {
            return Ok(());
        };
        let bits_per_second = media.bits_per_second;
        pipeline.rebuild(
            index,
            media,
            &plan,
            (settings, &self.failed),
            &pipeline_events,
        )?;
        let Some(feed) = pipeline.feeds().get(index) else {
            return Ok(());
        };
        let encoder = feed.monitor.encoder();
        if let Some(encoder) = &encoder {
            encoding::start(encoder, patience)?;
        }
        feed.start()?;
        if let Some(tags) =
            session.head_tags(track, encoder.is_some(), pipeline.takes_tags(), &plan)
        {
            Pipeline::set_track_tags(feed, tags);
        }
        if let Some(encoder) = &encoder {
            pipeline_events.set_running(index, Some(encoder));
            pipeline_events.set_name(index, Some(encoder));
            if feed.bits_per_second != bits_per_second {
                session.apply_bitrates(|of| of == track.kind());
            }
        }
        track.reconnect(
            self.part.number,
            feed.appsrc.clone(),
            feed.monitor.restart_at(),
        );
        Ok(())
    }

    fn replacement(
        &self,
        index: usize,
        old: Option<&str>,
        remedy: Remedy,
        error: &Error,
    ) -> String {
        let track = self.track_at(index).map_or("a track", Track::name);
        let new = self.encoder_of(index).as_ref().and_then(factory_name);
        let (old, new) = (old.unwrap_or("unknown"), new.unwrap_or("another".into()));
        let new = match remedy {
            Remedy::Next => new.to_string(),
            Remedy::Fresh => format!("a fresh {new}"),
        };
        format!(
            "The encoder of {track} ({old}) has failed: {error} It is replaced by {new} in the same file; what it had been \
             given is encoded again."
        )
    }

    fn no_encoder(&self, index: usize, factory: Option<&str>, error: &Error) -> Error {
        let track = self.track_at(index).map_or("a track", Track::name);
        Error::unknown(format!(
            "The encoder of {track} ({}) has failed, and there is no other that could go on: {error} What was recorded until \
             then is delivered. Ask for another codec in mime-type, or install another encoder.",
            factory.unwrap_or("none")
        ))
    }
}
