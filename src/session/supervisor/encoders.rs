//! Replaces encoders that fail or hang, within the same file.

use super::Supervisor;
use crate::{
    log::CAT,
    model::Error,
    session::{
        Event,
        encoding::{self, FailedEncoders},
        lock,
        pipeline::{Feed, Pipeline, factory_name},
        remedies,
        track::Track,
    },
};

impl Supervisor {
    /// Starts the encoders of a pipeline that has no input yet. Those that fail to start are replaced.
    pub(super) fn start_encoders(&mut self) -> Result<(), Error> {
        let Some(pipeline) = &self.pipeline else {
            return Ok(());
        };
        let encoders = pipeline.feeds().iter().map(|feed| feed.monitor.encoder());
        let encoders: Vec<_> = encoders.collect();
        for (index, encoder) in encoders.into_iter().enumerate() {
            if let Some(encoder) = encoder
                && let Err(error) =
                    encoding::start(&encoder, self.session.settings.encoder_patience())
            {
                let error = self.reason(&encoder).unwrap_or(error);
                let replaced = self.replace_encoder(index, error);
                let replaced = replaced.inspect_err(|_| self.end_tail(index))?;
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
        let (now, patience) = (
            self.begun.elapsed(),
            self.session.settings.encoder_patience(),
        );
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
                failed.push((index, remedies::hang(patience)));
            }
        }
        for (index, error) in failed {
            let replaced = self.replace_encoder(index, error);
            let message = replaced.or_else(|error| {
                let result = self.go_on_in_new_part(index, error);
                // Not earlier: until then, the muxer lets no other track get ahead.
                self.end_tail(index);
                result
            })?;
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
        if let Some(pipeline) = &self.pipeline {
            pipeline.dump("encoder-failed");
        }
        let old = self.encoder_of(index).as_ref().and_then(factory_name);
        let Some(spec) = self.feed(index).map(Feed::next_spec) else {
            return Err(error);
        };
        let name = self.track_at(index).map_or("a track", Track::name);
        let (name, failed) = (name.to_owned(), (old.clone(), error.clone()));
        // It is not used meanwhile: `rebuild` is passed the encoders that have failed.
        let mut remedies = std::mem::take(&mut self.remedies);
        let replaced = remedies.replace(&name, failed, &spec, |failed| {
            let rebuilt = self.rebuild(index, failed);
            rebuilt.map_err(|error| {
                let factory = self.encoder_of(index).as_ref().and_then(factory_name);
                (factory, error)
            })
        });
        self.remedies = remedies;
        match replaced {
            Ok(remedy) => {
                let new = self.encoder_of(index).as_ref().and_then(factory_name);
                let names = (old.as_deref(), new.as_deref());
                let warning = remedies::warning(&name, names, remedy, &error);
                Ok(format!(
                    "{warning} in the same file; its pending input is encoded again."
                ))
            }
            Err(error) => Err(self.no_encoder(index, old.as_deref(), &error)),
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
        if !session.settings.may_split || !feed.monitor.has_output() {
            return Err(error);
        }
        feed.monitor.abandon();
        let what = if self.begin_next_part_at_loss(index) {
            ", where the pending input of that encoder is encoded again"
        } else if self.begin_next_part() {
            part.progress.note_incomplete();
            "; the pending input of that encoder is lost"
        } else {
            return Err(error);
        };
        track.leave_out_of(part.number);
        Ok(format!(
            "{error} The recording continues in a new part{what}."
        ))
    }

    /// The muxer continues without this track.
    fn end_tail(&self, index: usize) {
        if let Some(feed) = self.feed(index) {
            feed.end_tail();
        }
    }

    fn feed(&self, index: usize) -> Option<&Feed> {
        self.pipeline.as_ref()?.feeds().get(index)
    }

    fn encoder_of(&self, index: usize) -> Option<gst::Element> {
        self.feed(index)?.monitor.encoder()
    }

    /// Rebuilds the chain in front of a track's parser, and replays what is in flight.
    fn rebuild(&mut self, index: usize, failed: &FailedEncoders) -> Result<(), Error> {
        let (session, patience) = (
            self.session.clone(),
            self.session.settings.encoder_patience(),
        );
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
        pipeline.rebuild(index, media, &plan, (settings, failed), &pipeline_events)?;
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

    fn no_encoder(&self, index: usize, factory: Option<&str>, error: &Error) -> Error {
        let track = self.track_at(index).map_or("a track", Track::name);
        Error::unknown(format!(
            "The encoder of {track} ({}) has failed, and no other one can continue: {error} The data so far is \
             delivered. Set another codec in mime-type, or install another encoder.",
            factory.unwrap_or("none")
        ))
    }
}
