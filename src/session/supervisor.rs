//! The thread of a session: decides cuts that have to wait, builds the pipeline, fills what
//! stays away, watches the drain, and takes everything down.

use super::{
    Begin, Event, Session, lock, panic_text,
    pipeline::{Listener, Pipeline, TrackMedia},
    track::Track,
};
use crate::{
    formats::{self, Plan, TrackInput},
    log::{CAT, time},
    model::{Error, Kind, timeline::Ns},
};
use gst::prelude::*;
use std::{
    io,
    sync::{Arc, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How often it looks for tracks that stay away.
const TICK: Duration = Duration::from_millis(100);
/// How often it looks while it drains.
const DRAIN_TICK: Duration = Duration::from_millis(10);
/// How late behind its latency a live track's last buffers may be.
const LIVE_GRACE: Duration = Duration::from_millis(500);
/// How long a non-live track may bring nothing before it counts as gone.
const GRACE: Duration = Duration::from_secs(1);
/// A source that has not brought a key frame for so long ignores the request.
const KEY_FRAME_PATIENCE: Ns = 2_000_000_000;
/// A picture is repeated after so long, so that sound does not wait for the next.
const LONGEST_PICTURE: Ns = 1_000_000_000;

/// Starts the supervisor.
pub fn spawn(session: Arc<Session>) -> io::Result<()> {
    thread::Builder::new()
        .name("mediarecorder".into())
        .spawn(move || {
            let _ = session.supervisor.set(thread::current().id());
            Supervisor::new(session).run();
        })
        .map(|_| ())
}

struct Supervisor {
    session: Arc<Session>,
    begun: Instant,
    /// When something last arrived on each track, and what.
    seen: Vec<(Ns, Instant)>,
    plan: Option<Plan>,
    /// Tracks in the pipeline, by their number in the session.
    connected: Vec<usize>,
    pipeline: Option<Pipeline>,
    earliest_known: bool,
    warned_key_frame: bool,
    /// The interval that waits for its key frame, and since which running time.
    waiting: Option<(usize, Ns)>,
    announced: bool,
    /// The end has been announced.
    finalising: bool,
    /// Tracks of which the log knows that they have ended.
    told_closed: Vec<bool>,
}

impl Supervisor {
    fn new(session: Arc<Session>) -> Self {
        let now = Instant::now();
        Supervisor {
            begun: now,
            seen: session.tracks.iter().map(|_| (0, now)).collect(),
            earliest_known: session.begin == Begin::Now,
            session,
            plan: None,
            connected: Vec::new(),
            pipeline: None,
            warned_key_frame: false,
            waiting: None,
            announced: false,
            finalising: false,
            told_closed: Vec::new(),
        }
    }

    fn run(mut self) {
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.supervise()));
        let error = caught.unwrap_or_else(|panic| {
            let what = panic_text(&*panic);
            let error = Error::unknown(format!("The recorder has failed: {what}"));
            Some(self.salvage(error))
        });
        self.finish(error);
    }

    /// Until the end, or the error that ends it.
    fn supervise(&mut self) -> Option<Error> {
        loop {
            crate::fault::place("supervisor");
            let (error, drained, stopped, caps) = {
                let control = lock(&self.session.control);
                (
                    control.error.clone(),
                    control.drained,
                    control.stopped,
                    control.caps,
                )
            };
            if let Some(error) = error {
                return Some(self.salvage(error));
            }
            if drained {
                return lock(&self.session.control).modified.take();
            }
            for message in self.session.room.warnings() {
                self.session.events.push(Event::Warning { message });
            }
            self.watch_arrivals();
            self.settle_cuts();
            if self.pipeline.is_none()
                && let Err(error) = self.build_if_ready(stopped)
            {
                return Some(error);
            }
            self.announce(caps);
            self.hand_out_requested();
            if stopped.is_some() || self.all_closed() {
                self.finalise();
            }
            match stopped {
                Some(since) => {
                    self.complete_tracks(since);
                    if since.elapsed() > self.drain_limit() {
                        return Some(Error::unknown(format!(
                            "The recording did not drain within stop-timeout ({} ms): an encoder \
                             or the disk is too slow; what was written until now is delivered.",
                            self.session.settings.stop_timeout.as_millis()
                        )));
                    }
                }
                None => self.fill_absent(),
            }
            self.end_ended_tracks();
            self.tell_closed();
            if self.pipeline.is_none() && self.all_closed() && self.with_caps().is_empty() {
                return lock(&self.session.control).modified.take();
            }
            let tick = if stopped.is_some() { DRAIN_TICK } else { TICK };
            self.session.room.wait_for_news(tick);
        }
    }

    /// `stop-timeout` counts from when the last of the tracks can have arrived.
    fn drain_limit(&self) -> Duration {
        let latency = self.session.tracks.iter().map(Track::latency).max();
        self.session.settings.stop_timeout + latency.unwrap_or_default() + LIVE_GRACE
    }

    /// Says once that the end has come.
    fn finalise(&mut self) {
        if !std::mem::replace(&mut self.finalising, true) {
            gst::debug!(CAT, id = &self.session.label, "Drains encoders and muxer");
            self.session.events.push(Event::Finalising);
        }
    }

    /// Logs which tracks have had their end.
    fn tell_closed(&mut self) {
        self.told_closed.resize(self.session.tracks.len(), false);
        for (told, track) in self.told_closed.iter_mut().zip(&self.session.tracks) {
            if track.is_closed() && !std::mem::replace(told, true) {
                let counts = track.counts();
                gst::debug!(
                    CAT,
                    id = &self.session.label,
                    "Track {} has ended: {} buffers came, {} encoded, {} left out, {} filled",
                    track.name(),
                    counts.buffers,
                    counts.encoded,
                    counts.dropped,
                    time(counts.filled)
                );
            }
        }
    }

    fn all_closed(&self) -> bool {
        self.session.tracks.iter().all(Track::is_closed)
    }

    fn watch_arrivals(&mut self) {
        for (seen, track) in self.seen.iter_mut().zip(&self.session.tracks) {
            let arrived = track.arrived();
            if arrived != seen.0 {
                *seen = (arrived, Instant::now());
            }
        }
    }

    fn open_tracks(&self) -> impl Iterator<Item = (usize, &Track)> {
        let tracks = self.session.tracks.iter().enumerate();
        tracks.filter(|(_, track)| !track.is_closed())
    }

    /// How far the recording has come: the clock where it drives, else the furthest track.
    fn progress(&self) -> Ns {
        match self.session.clock.now() {
            Some(now) if self.session.any_live => now,
            _ => {
                let arrived = self.session.tracks.iter().map(Track::arrived);
                arrived.max().unwrap_or(0)
            }
        }
    }

    /// Decides the starts that had to wait, as far as that is possible now.
    fn settle_cuts(&mut self) {
        if !self.earliest_known && !self.settle_earliest() {
            return;
        }
        let mut changed = false;
        while let Some((index, requested)) = self.session.timeline.read(|t| t.undecided()) {
            self.session.ask_for_key_frames();
            let Some(at) = self.start_of_interval(index, requested) else {
                break;
            };
            self.session.timeline.write(|t| t.decide(at, false));
            changed = true;
            gst::debug!(
                CAT,
                id = &self.session.label,
                "Interval {index} begins at running time {}, asked for at {}",
                time(at),
                time(requested)
            );
            self.announce_resume(index);
        }
        if changed {
            for track in &self.session.tracks {
                track.advance();
            }
        }
    }

    /// Autostart: the earliest buffer of all tracks, once each has one or is not to be waited for.
    fn settle_earliest(&mut self) -> bool {
        let firsts: Vec<_> = self.open_tracks().map(|(_, t)| t.first()).collect();
        let Some(earliest) = firsts.iter().flatten().min().copied() else {
            return false;
        };
        let patience = Duration::from_nanos(self.session.settings.max_queue_time);
        let stopped = self.session.timeline.read(|t| t.is_stopped());
        if firsts.iter().any(Option::is_none) && !stopped && self.begun.elapsed() < patience {
            return false;
        }
        self.session.timeline.write(|t| t.postpone(earliest));
        gst::info!(
            CAT,
            id = &self.session.label,
            "The earliest buffer is at running time {}",
            time(earliest)
        );
        self.earliest_known = true;
        true
    }

    /// Where the undecided interval can begin, `None` if that is not known yet.
    fn start_of_interval(&mut self, index: usize, requested: Ns) -> Option<Ns> {
        let first = self.waiting_since(index, requested);
        // Read before the tracks: what arrives behind an end that is not known yet may be a key
        // frame in front of it.
        let end = self
            .session
            .timeline
            .read(|t| t.intervals().get(index).and_then(|i| i.end));
        let mut keyed = Vec::new();
        for (_, track) in self.open_tracks() {
            if track.caps().is_none() && !track.is_ended() {
                return None;
            }
            if track.is_keyed() {
                let ended = track.is_ended();
                let (key_frame, arrived) = track.key_frame(requested);
                // One that has ended without a key frame will not bring one.
                if key_frame.is_some() || !ended {
                    keyed.push((track.name(), key_frame, arrived));
                }
            }
        }
        let Some((name, _, arrived)) = keyed.iter().max_by_key(|(_, _, arrived)| *arrived) else {
            return Some(requested);
        };
        let (name, arrived) = ((*name).to_owned(), *arrived);
        // What is live comes with the clock, the rest when it likes.
        let progress = match self.session.clock.now() {
            Some(now) if self.session.any_live => now.saturating_sub(self.most_latency()),
            _ => arrived,
        };
        let most = self.session.settings.max_queue_time.max(LONGEST_PICTURE);
        let held_too_long = progress.saturating_sub(requested) > most;
        // The earliest of them, since each track has its own just behind the instant asked for;
        // later ones are waited for only as long as they could be earlier.
        if let Some(earliest) = keyed
            .iter()
            .filter_map(|(_, key_frame, _)| *key_frame)
            .min()
        {
            let certain = keyed
                .iter()
                .all(|(_, key_frame, arrived)| key_frame.is_some() || *arrived > earliest);
            return (held_too_long || certain).then_some(earliest);
        }
        if let Some(end) = end
            && keyed.iter().all(|(_, _, arrived)| *arrived >= end)
        {
            return Some(end);
        }
        if held_too_long {
            self.session.timeline.write(|t| t.postpone(progress - most));
        }
        let waited = progress.saturating_sub(first);
        if waited > KEY_FRAME_PATIENCE && !self.warned_key_frame {
            self.warned_key_frame = true;
            self.session.events.push(Event::Warning {
                message: format!(
                    "No key frame has come on {name} for {} ms although one was requested: \
                     recording begins at the next one that comes.",
                    waited / 1_000_000
                ),
            });
        }
        None
    }

    /// The instant that was asked for as the start of an interval, before it was postponed.
    fn waiting_since(&mut self, interval: usize, requested: Ns) -> Ns {
        match self.waiting {
            Some((waiting, since)) if waiting == interval => since,
            _ => {
                self.waiting = Some((interval, requested));
                self.warned_key_frame = false;
                requested
            }
        }
    }

    fn most_latency(&self) -> Ns {
        let latency = self.session.tracks.iter().map(Track::latency).max();
        u64::try_from(latency.unwrap_or_default().as_nanos()).unwrap_or(0)
    }

    fn announce_resume(&self, interval: usize) {
        let mut control = lock(&self.session.control);
        let waiting = std::mem::take(&mut control.resumes);
        let (known, waiting): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|(index, _)| *index <= interval);
        control.resumes = waiting;
        drop(control);
        for (index, slot) in known {
            let start = self
                .session
                .timeline
                .read(|t| t.intervals().get(index).map(|i| i.start));
            let event = start.map(|running_time| Event::Resume { running_time });
            self.session.events.fill(slot, event);
        }
    }

    /// Builds the pipeline once the caps of all tracks are known; a track whose caps do not come
    /// is left out.
    fn build_if_ready(&mut self, stopped: Option<Instant>) -> Result<(), Error> {
        let patience = Duration::from_nanos(self.session.settings.max_queue_time);
        let mut missing = Vec::new();
        let mut known = false;
        for track in &self.session.tracks {
            let came = match track.is_encoded() {
                // Silence and black cannot stand in for it.
                true => track.first().is_some(),
                false => track.caps().is_some(),
            };
            match came {
                true => known = true,
                false if !track.is_closed() => missing.push(track),
                false => {}
            }
        }
        if !missing.is_empty() {
            let start = self
                .session
                .timeline
                .read(|t| t.intervals().first().map(|i| i.start));
            let ahead = self.progress().saturating_sub(start.unwrap_or(0));
            let waited = self.begun.elapsed() > patience
                && (self.session.any_live || ahead > self.session.settings.max_queue_time);
            let stopped = stopped.is_some_and(|since| since.elapsed() > self.grace());
            for track in missing {
                let give_up = known && waited || stopped || track.is_ended();
                if !give_up {
                    return Ok(());
                }
                if !track.is_ended() {
                    self.session.events.push(Event::Warning {
                        message: format!(
                            "Nothing has come on {}: it is left out of this recording.",
                            track.name()
                        ),
                    });
                }
                track.leave_out();
            }
        }
        let undecided = self.session.timeline.read(|t| t.undecided().is_some());
        if undecided && stopped.is_none() && !self.all_closed() {
            // Encoded tracks that bring no key frame are not known to be there.
            return Ok(());
        }
        match self.with_caps() {
            ready if ready.is_empty() => Ok(()),
            ready => self.build(ready),
        }
    }

    /// The tracks of which it is known what they are.
    fn with_caps(&self) -> Vec<usize> {
        let tracks = self.session.tracks.iter().enumerate();
        tracks
            .filter(|(_, track)| {
                track.caps().is_some() && (!track.is_encoded() || track.first().is_some())
            })
            .map(|(index, _)| index)
            .collect()
    }

    fn build(&mut self, ready: Vec<usize>) -> Result<(), Error> {
        let session = &self.session;
        let tracks: Vec<&Track> = ready
            .iter()
            .filter_map(|index| session.tracks.get(*index))
            .collect();
        let media: Vec<TrackMedia<'_>> = tracks
            .iter()
            .filter_map(|track| {
                Some(TrackMedia {
                    name: track.name(),
                    caps: track.caps()?,
                    lacks_dts: track.lacks_dts(),
                    tags: session.host.tags(track.name()),
                })
            })
            .collect();
        let inputs: Vec<TrackInput> = media
            .iter()
            .map(|track| TrackInput {
                kind: formats::kind_of_caps(&track.caps).unwrap_or(Kind::Video),
                encoded: formats::codec_of_caps(&track.caps),
            })
            .collect();
        let settings = &session.settings;
        let plan = formats::choose(&settings.mime_type, session.location(), &inputs)?;
        let names: Vec<String> = media.iter().map(|track| track.name.to_owned()).collect();
        let wires = Arc::new(Wires {
            session: session.clone(),
            names,
        });
        let pipeline = Pipeline::build(&plan, &media, settings, &wires)?;
        if let Some(tags) = &settings.tags {
            pipeline.set_tags(tags);
        }
        pipeline.play()?;
        pipeline.dump("start");
        for (track, feed) in tracks.iter().zip(pipeline.feeds()) {
            let of_track = session.host.tags(track.name());
            // Where the muxer has no place for them, the encoders may.
            let of_all = match pipeline.takes_tags() {
                true => None,
                false => settings.tags.clone(),
            };
            let tags = match (of_all, of_track) {
                (Some(all), Some(track)) => Some(all.merge(&track, gst::TagMergeMode::Keep)),
                (all, track) => all.or(track),
            };
            if let Some(tags) = tags {
                Pipeline::set_track_tags(feed, tags);
            }
            if let Some(encoder) = &feed.encoder {
                let name = track.name().to_owned();
                if let Some(factory) = encoder.factory() {
                    let names = (name.clone(), factory.name().to_string());
                    lock(&session.encoder_names).push(names);
                }
                lock(&session.encoders).push((name, encoder.clone()));
            }
            let encoder = feed.encoder.as_ref().and_then(|encoder| encoder.factory());
            let encoder = encoder.map(|factory| factory.name());
            gst::info!(
                CAT,
                id = &session.label,
                "Track {} goes through {} into {}",
                track.name(),
                encoder.as_deref().unwrap_or("no encoder"),
                plan.container.name()
            );
            track.connect(feed.appsrc.clone());
        }
        self.connected = ready;
        self.pipeline = Some(pipeline);
        self.plan = Some(plan);
        Ok(())
    }

    /// `on-start`, once the actual type is known.
    fn announce(&mut self, caps_known: bool) {
        if self.announced || self.session.timeline.read(|t| t.undecided().is_some()) {
            return;
        }
        let certain = self.plan.as_ref().is_some_and(Plan::is_type_certain);
        // Where nothing flows, nobody waits for ever.
        let patience = Duration::from_nanos(self.session.settings.max_queue_time);
        if caps_known || certain || self.begun.elapsed() > patience.max(GRACE) {
            self.announced = true;
            self.announce_start(self.likely_type());
        }
    }

    /// The actual type, as far as it can be told now.
    fn likely_type(&self) -> String {
        let settings = &self.session.settings;
        match (&self.plan, &self.pipeline) {
            (Some(plan), Some(pipeline)) => plan.mime_type(&pipeline.encoded_caps()),
            _ => {
                let kind = |track: &Track| match track.name().starts_with("audio") {
                    true => Kind::Audio,
                    false => Kind::Video,
                };
                let inputs: Vec<_> = self
                    .session
                    .tracks
                    .iter()
                    .map(|track| TrackInput {
                        kind: kind(track),
                        encoded: None,
                    })
                    .collect();
                formats::choose(&settings.mime_type, self.session.location(), &inputs)
                    .map_or_else(|_| settings.mime_type.clone(), |plan| plan.mime_type(&[]))
            }
        }
    }

    fn announce_start(&self, mime_type: String) {
        let session = &self.session;
        let Some(slot) = lock(&session.control).start.take() else {
            return;
        };
        *lock(&session.mime_type) = Some(mime_type.clone());
        session.with_writer(|writer, _| writer.set_mime_type(&mime_type));
        let start = session
            .timeline
            .read(|t| t.intervals().first().map(|interval| interval.start));
        let event = Event::Start {
            running_time: start.unwrap_or(0),
            mime_type,
            location: session.settings.location.clone(),
        };
        session.events.fill(slot, Some(event));
    }

    /// Blobs for `request-data`.
    fn hand_out_requested(&self) {
        while !lock(&self.session.control).requests.is_empty() {
            let taken = self.session.with_writer(|writer, blobs| {
                let frontier = writer.frontier();
                writer.take(frontier, blobs)
            });
            if let Err(err) = taken {
                return self.session.fail(Error::unknown(format!(
                    "request-data: the recording cannot be read back: {err}"
                )));
            }
        }
    }

    /// How long to wait for a track after `stop`.
    fn grace(&self) -> Duration {
        let latency = self.session.tracks.iter().map(Track::latency).max();
        match self.session.any_live {
            true => latency.unwrap_or_default() + LIVE_GRACE,
            false => GRACE,
        }
    }

    /// After `stop`: ends each track that has all it needs, or whose rest will not come.
    fn complete_tracks(&self, since: Instant) {
        let session = &self.session;
        let going_down = lock(&session.control).going_down;
        for (index, track) in self.open_tracks() {
            let quiet = self.seen.get(index).map_or(since, |seen| seen.1).max(since);
            let late = match track.is_live() {
                true => since.elapsed() > track.latency() + LIVE_GRACE,
                false => quiet.elapsed() > GRACE,
            };
            if going_down {
                track.finish(false);
            } else if late {
                track.finish(true);
            } else {
                track.advance();
            }
        }
    }

    /// Tracks whose pads have had EOS end where they are.
    fn end_ended_tracks(&self) {
        for (_, track) in self.open_tracks().filter(|(_, track)| track.is_ended()) {
            let waits = self.session.timeline.read(|t| t.undecided().is_some());
            if track.caps().is_some() && !(waits && self.open_tracks().any(|(_, t)| !t.is_ended()))
            {
                track.advance();
                track.finish(false);
            }
        }
    }

    /// Makes up what raw tracks that stay away owe to the others.
    fn fill_absent(&self) {
        let most = self.session.settings.max_queue_time;
        let progress = self.progress();
        for (index, track) in self.open_tracks() {
            if track.is_ended() || track.caps().is_none() {
                continue;
            }
            let arrived = track.arrived();
            let latency = u64::try_from(track.latency().as_nanos()).unwrap_or(0);
            let behind = progress.saturating_sub(arrived).saturating_sub(latency);
            let patience = match track.shows_picture() {
                true => most.min(LONGEST_PICTURE),
                false => most,
            };
            let quiet = self
                .seen
                .get(index)
                .is_none_or(|seen| seen.1.elapsed() > GRACE);
            if behind <= patience || !(track.is_live() || quiet) {
                continue;
            }
            if track.is_encoded() {
                let owed = self.session.timeline.read(|t| {
                    t.recorded_at(progress.saturating_sub(latency))
                        .saturating_sub(t.recorded_at(arrived))
                });
                if owed > most {
                    self.leave_behind(track);
                }
            } else {
                gst::debug!(
                    CAT,
                    id = &self.session.label,
                    "Track {} stays away: filled, it is {} behind",
                    track.name(),
                    time(behind)
                );
                track.fill(
                    progress
                        .saturating_sub(latency)
                        .saturating_sub(patience / 2),
                );
            }
        }
    }

    /// An encoded track has stopped coming: nothing can stand in for it, and the muxer would wait.
    fn leave_behind(&self, track: &Track) {
        if self.pipeline.is_none() || self.session.timeline.read(|t| t.undecided().is_some()) {
            return;
        }
        self.session.events.push(Event::Warning {
            message: format!(
                "Nothing more has come on {} for max-queue-time ({} ms): its track ends here, the \
                 others go on. If it brings frames so rarely, set max-queue-time higher.",
                track.name(),
                self.session.settings.max_queue_time / 1_000_000
            ),
        });
        track.finish(false);
    }

    /// After an error: what the encoders and the muxer still have is got out of them.
    fn salvage(&mut self, error: Error) -> Error {
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
    fn finish(&mut self, error: Option<Error>) {
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
        self.say_goodbye(error);
        session.events.close();
        lock(&session.control).finished = true;
        session.done.notify_all();
        session.host.finished(session.id);
        // What did not drain may hold this thread for as long as an element of it is stuck; the
        // writer takes nothing of it any more.
        drop(pipeline);
    }

    fn say_goodbye(&self, error: Option<Error>) {
        let session = &self.session;
        let written = session.with_writer(|writer, _| writer.frontier());
        let (duration, running_time) = session.timeline.read(|t| match (&error, t.stopped_at()) {
            (None, Some(stop)) => (t.duration(), stop),
            _ => (written, t.running_at(written)),
        });
        session.events.push(Event::Ended {
            session: session.id,
        });
        // An error in the last write comes before the blob that it has made short.
        let late = error
            .is_none()
            .then(|| session.with_writer(|w, _| w.flush().err()));
        let error = error.or_else(|| {
            late.flatten().map(|err| {
                Error::unknown(format!("The end of the recording cannot be written: {err}"))
            })
        });
        let failed = error.is_some();
        if let Some(error) = error {
            session.events.push(Event::Error {
                session: session.id,
                running_time,
                error,
            });
        }
        session.with_writer(|writer, events| writer.finish(duration, events));
        let (size, blobs) = session.with_writer(|writer, _| writer.figures());
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
        session.events.push(Event::Stop {
            session: session.id,
            failed,
            running_time,
            location: session.settings.location.clone(),
            duration,
            size,
        });
    }
}

/// What the pipeline says, brought to the session.
struct Wires {
    session: Arc<Session>,
    /// The pads of its tracks, in order.
    names: Vec<String>,
}

impl Listener for Wires {
    fn seek(&self, position: u64) {
        self.session.contain(|session| {
            crate::fault::place("seek");
            session.with_writer(|writer, _| writer.seek(position));
        });
    }

    fn caps(&self, caps: &gst::Caps) {
        self.session.contain(|session| {
            crate::fault::place("muxer caps");
            session.with_writer(|writer, _| writer.set_caps(caps));
            lock(&session.control).caps = true;
        });
        self.session.room.wake();
    }

    fn bytes(&self, buffer: gst::Buffer) {
        crate::fault::place("bytes");
        let written = self
            .session
            .with_writer(|writer, events| writer.write(buffer, events));
        if let Err(err) = written {
            let what = match self.session.location() {
                Some(location) => format!("location \"{location}\""),
                None => "The temporary file of the recording".into(),
            };
            self.session
                .fail(Error::unknown(format!("{what} cannot be written: {err}")));
        }
    }

    fn end(&self) {
        self.session.contain(|_| crate::fault::place("drained"));
        lock(&self.session.control).drained = true;
        self.session.done.notify_all();
        self.session.room.wake();
    }

    fn error(&self, error: Error) {
        self.session.fail(error);
    }

    fn encoder(&self, track: usize, encoder: &gst::Element) {
        crate::fault::place("encoder");
        if let Some(name) = self.names.get(track) {
            self.session.host.encoder_setup(name, encoder);
        }
    }

    fn hungry(&self) {
        self.session.room.free();
    }
}
