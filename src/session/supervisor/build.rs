//! Builds the pipeline once the tracks' caps are known, and announces the start of the recording.

use super::{Supervisor, pipeline_events::PipelineEvents};
use crate::{
    formats::{self, Plan, TrackInput},
    log::CAT,
    model::{Error, Kind, phase::Phase},
    session::{
        Conversion, Event, chapters, container_limit, lock,
        pipeline::{Feed, FileHead, Pipeline, TrackMedia, factory_name},
        track::Track,
    },
};
use std::sync::{Arc, atomic::AtomicBool};

impl Supervisor {
    /// Leaves out a track without media for which the others no longer wait.
    pub(super) fn leave_out_absent(&self, track: usize) {
        let Some(track) = self.session.tracks.get(track) else {
            return;
        };
        if !track.is_ended() {
            self.session.warn(format!(
                "No data on {}: it is left out of this recording.",
                track.name()
            ));
        }
        track.leave_out();
    }

    /// Whether a track has anything for this part. (Silence and black frames cannot replace encoded media.)
    pub(super) fn is_known(&self, track: &Track) -> bool {
        let part = self.part.number;
        let has_media = track.caps().is_some() && (!track.is_encoded() || track.first().is_some());
        // A track that ended earlier is not in this part.
        has_media && (part == 0 || !track.is_absent_from(part))
    }

    /// Builds the pipeline for the tracks whose caps are known. FALSE if all of them have just ended before this part.
    pub(super) fn build(&mut self) -> Result<bool, Error> {
        let session = &self.session;
        let (ready, tracks): (Vec<usize>, Vec<&Track>) = session
            .tracks
            .iter()
            .enumerate()
            .filter(|(_, track)| self.is_known(track))
            .unzip();
        if ready.is_empty() {
            return Ok(false);
        }
        let bitrates = session.bitrates();
        let media: Vec<TrackMedia<'_>> = tracks
            .iter()
            .filter_map(|track| self.media(track, &tracks))
            .collect();
        let settings = &session.settings;
        let inputs: Vec<TrackInput> = media
            .iter()
            .map(|track| TrackInput {
                kind: formats::kind_of_caps(&track.caps).unwrap_or(Kind::Video),
                encoded: formats::copied_codec(
                    &track.caps,
                    &settings.mime_type,
                    settings.location.as_deref(),
                ),
            })
            .collect();
        let plan = formats::choose(&settings.mime_type, settings.location.as_deref(), &inputs);
        let plan = plan.map_err(|refusal| {
            self.part.events.push(Event::Missing(refusal.missing));
            refusal.error
        })?;
        let names: Vec<String> = media.iter().map(|track| track.name.to_owned()).collect();
        let pipeline_events = Arc::new(PipelineEvents {
            session: session.clone(),
            part: self.part.clone(),
            names,
            begun: AtomicBool::new(false),
            has_media: AtomicBool::new(false),
        });
        let limit = container_limit::in_force(formats::most_bytes(plan.container));
        let limit = limit.filter(|_| settings.may_split);
        let index = formats::index_bytes(plan.container);
        self.part.size.set_container(index, limit);
        let patchable = settings.location.is_some() || session.src.seekable();
        let head = FileHead {
            chapters_room: chapters::room(
                plan.container,
                patchable,
                settings.timeslice > 0,
                settings.part_limit(),
            ),
        };
        self.chapters_written = 0;
        let pipeline = Pipeline::build(
            &plan,
            &media,
            settings,
            head,
            self.remedies.failed(),
            &pipeline_events,
        )?;
        if let Some(tags) = &settings.tags {
            pipeline.set_tags(tags);
        }
        pipeline.play()?;
        drop(media);
        self.pipeline = Some(pipeline);
        self.plan = Some(plan);
        self.pipeline_events = Some(pipeline_events);
        self.start_encoders()?;
        self.set_up_feeds(&ready);
        if self.session.bitrates() != bitrates {
            // They were set after the encoders were created, but before they were registered.
            self.session.apply_bitrates(|_| true);
        }
        self.in_pipeline = ready;
        Ok(true)
    }

    /// A track's media as the pipeline needs it.
    pub(super) fn media<'a>(
        &self,
        track: &'a Track,
        tracks: &[&'a Track],
    ) -> Option<TrackMedia<'a>> {
        let (session, part) = (&self.session, self.part.number);
        let of_kind = tracks.iter().filter(|other| other.kind() == track.kind());
        Some(TrackMedia {
            name: track.name(),
            caps: track.caps_of(part)?,
            bits_per_second: session.bitrates().per_track(track.kind(), of_kind.count()),
            queue_time: track.queue_time(),
            lacks_dts: track.lacks_dts(part),
            tags: session.tags_of(track),
            in_flight: track.in_flight(part),
            overlap: track.overlap(part),
        })
    }

    /// Sets the tracks' tags, and registers their encoders.
    fn set_up_feeds(&self, ready: &[usize]) {
        let session = &self.session;
        let (Some(pipeline), Some(plan), Some(pipeline_events)) =
            (&self.pipeline, &self.plan, &self.pipeline_events)
        else {
            return;
        };
        pipeline.dump("start");
        let tracks = ready.iter().filter_map(|index| session.tracks.get(*index));
        for (number, (track, feed)) in tracks.zip(pipeline.feeds()).enumerate() {
            let encoder = feed.monitor.encoder();
            let tags = session.head_tags(track, encoder.is_some(), pipeline.takes_tags(), plan);
            if let Some(tags) = tags {
                Pipeline::set_track_tags(feed, tags);
            }
            if let Some(encoder) = &encoder {
                if let Some(video_input) = &feed.video_input {
                    session.set_conversion(track.name(), Conversion::Encoder(video_input.clone()));
                }
                pipeline_events.set_running(number, Some(encoder));
            } else if feed.loses_alpha() {
                let lost = vec!["alpha".to_owned()];
                session.set_conversion(track.name(), Conversion::Known(lost));
            }
            let way = encoder.as_ref().and_then(factory_name);
            let way = way.map_or_else(
                || "is copied".to_owned(),
                |factory| format!("goes through {factory}"),
            );
            gst::info!(
                CAT,
                id = &session.label,
                "Track {} {way} into {}",
                track.name(),
                plan.container.name()
            );
        }
    }

    /// The part has begun: opens its file, and pushes the tracks' media into the pipeline.
    pub(super) fn connect(&mut self) -> Result<Phase, Error> {
        let part = self.part.number;
        let tracks = self.in_pipeline.iter();
        let tracks = tracks.filter_map(|index| self.session.tracks.get(*index));
        let feeds = self.pipeline.iter().flat_map(Pipeline::feeds);
        let is_another = |track: &Track, feed: &Feed| {
            let caps = track.caps_of(part);
            track.is_encoded() && caps.is_some_and(|caps| caps != feed.recorded().first)
        };
        let mut built = tracks.zip(feeds);
        if part > 0
            && built.any(|(track, feed)| track.is_absent_from(part) || is_another(track, feed))
        {
            // The track has ended since the pipeline was built, and would be in it without media; or its caps have
            // changed.
            lock(&self.part.encoders).clear();
            self.pipeline = None;
            return Ok(Phase::Waiting);
        }
        self.open_file();
        let Some(pipeline) = &self.pipeline else {
            return Ok(Phase::Waiting);
        };
        let session = &self.session;
        let tracks = self.in_pipeline.iter();
        let tracks = tracks.filter_map(|index| session.tracks.get(*index));
        let tracks: Vec<&Track> = tracks.collect();
        let encoders = tracks.iter().zip(pipeline.feeds());
        let encoders = encoders.filter_map(|(track, feed)| {
            let factory = factory_name(&feed.monitor.encoder()?)?;
            Some((track.name().to_owned(), factory.to_string()))
        });
        let encoders: Vec<_> = encoders.collect();
        let mut names = lock(&session.encoder_names);
        // The encoders of the pre-record buffer are in no recording pipeline.
        names.retain(|(pad, _)| {
            let was_raw = session.track_named(pad).is_some_and(Track::was_raw);
            was_raw && encoders.iter().all(|(name, _)| name != pad)
        });
        names.extend(encoders);
        drop(names);
        for (track, feed) in tracks.iter().zip(pipeline.feeds()) {
            track.set_takes_gaps(feed.takes_gaps);
            track.set_overlap(feed.overlap());
            track.connect(part, feed.appsrc.clone());
        }
        session.backpressure.wake();
        if part > 0 {
            self.start_batching();
        }
        Ok(Phase::Recording)
    }

    /// Emits `on-start`, once the actual MIME type is known and the first bytes have been written.
    pub(super) fn announce(&mut self) {
        self.announced = true;
        self.announce_start(self.likely_type());
        self.start_batching();
    }

    /// Notes the actual MIME type of a part without `on-start`, once the muxer has set its caps.
    pub(super) fn note_type(&self) {
        let mut known = lock(&self.part.mime_type);
        if self.announced && known.is_none() {
            *known = Some(self.likely_type());
            *lock(&self.session.mime_type) = known.clone();
        }
    }

    /// The container's caps, as far as they are known without its muxer.
    pub(super) fn likely_caps(&self) -> Option<gst::Caps> {
        match &self.plan {
            Some(plan) => Some(plan.caps()),
            None => self.expected_plan().map(|plan| plan.caps()),
        }
    }

    /// The plan if all tracks were raw.
    fn expected_plan(&self) -> Option<Plan> {
        let tracks = self.session.tracks.iter();
        let inputs: Vec<_> = tracks
            .map(|track| TrackInput {
                kind: track.kind(),
                encoded: None,
            })
            .collect();
        let settings = &self.session.settings;
        formats::choose(&settings.mime_type, settings.location.as_deref(), &inputs).ok()
    }

    /// The actual MIME type, as far as it is known now.
    pub(super) fn likely_type(&self) -> String {
        let settings = &self.session.settings;
        match (&self.plan, &self.pipeline) {
            (Some(plan), Some(pipeline)) => plan.mime_type(&pipeline.encoded_caps()),
            _ => {
                let plan = self.expected_plan();
                plan.map_or_else(|| settings.mime_type.clone(), |plan| plan.mime_type(&[]))
            }
        }
    }

    pub(super) fn announce_start(&self, mime_type: String) {
        let session = &self.session;
        let Some(slot) = lock(&self.part.control).start.take() else {
            return;
        };
        *lock(&session.mime_type) = Some(mime_type.clone());
        *lock(&self.part.mime_type) = Some(mime_type.clone());
        let start = session
            .timeline
            .read(|t| t.intervals().first().map(|interval| interval.start));
        let event = Event::Start {
            session: self.session.id(),
            running_time: start.unwrap_or(0),
            mime_type,
            location: session.settings.location.clone(),
        };
        self.part.events.fill(slot, Some(event));
    }
}
