//! What is done for a recording as a whole, whichever of its parts are there: whose supervisor comes by does it.

use super::{GRACE, LIVE_GRACE};
use crate::{
    log::{CAT, time},
    model::{
        absence::{Absences, Patience},
        forecast::Forecast,
        timeline::Ns,
    },
    session::{Begin, Event, Session, Settings, lock, track::Track, try_lock},
};
use smallvec::SmallVec;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// See the module.
pub struct Front {
    pub(super) begun: Instant,
    /// Which tracks stay away.
    pub(super) absences: Absences,
    /// Those for which something stands in.
    pub(super) away: SmallVec<[usize; 4]>,
    /// When a key frame was last asked for of one that is back.
    pub(super) asked_returning: Option<Instant>,
    pub(super) earliest_known: bool,
    pub(super) warned_key_frame: bool,
    /// How often the key frame of an interval has been asked for again.
    pub(super) asked_again: u64,
    /// The interval that waits for its key frame, and since which running time.
    pub(super) waiting: Option<(usize, Ns)>,
    /// Since which running time the end of a part waits for a key frame, and how often that has been asked for again.
    pub(super) split_since: Option<Ns>,
    pub(super) split_asked_again: u64,
    /// The part whose end has been prepared for.
    pub(super) expected: Option<usize>,
    /// How many bytes parts will have, and the part that this is of.
    pub(super) forecast: Forecast,
    pub(super) sized: Option<usize>,
    /// How many buffers have come out of the past, and when one did last.
    kept: u64,
    pub(super) kept_came: Instant,
    /// Tracks of which the log knows that they have ended.
    told_closed: Vec<bool>,
}

impl Front {
    pub fn new(tracks: usize, begin: Begin, settings: &Settings) -> Self {
        Front {
            begun: Instant::now(),
            absences: Absences::new(tracks, Patience::new(settings.patience())),
            away: SmallVec::new(),
            asked_returning: None,
            earliest_known: begin == Begin::Now,
            warned_key_frame: false,
            asked_again: 0,
            waiting: None,
            split_since: None,
            split_asked_again: 0,
            expected: None,
            forecast: Forecast::new(tracks),
            sized: None,
            kept: 0,
            kept_came: Instant::now(),
            told_closed: vec![false; tracks],
        }
    }

    /// What can be decided, before parts are built.
    pub(super) fn decide(&mut self, session: &Arc<Session>, stopped: Option<Instant>) {
        for message in session.backpressure.warnings() {
            session.warn(message);
        }
        self.watch_arrivals(session, stopped.is_some());
        self.settle_cuts(session);
        self.settle_splits(session);
        session.stop_at_max_duration(session.progress());
    }

    /// What is missing is made up, and what has ended ends.
    pub(super) fn complete(&mut self, session: &Arc<Session>, stopped: Option<Instant>) {
        match stopped {
            Some(since) => self.complete_tracks(session, since),
            None => {
                self.fill_absent(session);
                self.ask_for_returning(session);
            }
        }
        self.end_ended_tracks(session);
        self.tell_closed(session);
    }

    fn watch_arrivals(&mut self, session: &Session, stopped: bool) {
        // What the recorder itself holds does not stay away.
        let held = session.clock.holds() && !session.any_live() && !stopped;
        let now = self.begun.elapsed();
        let views = self.views(session);
        self.absences.watch(now, &views, held);
        let kept = session.tracks.iter().filter(|track| track.is_kept());
        let kept = kept.map(Track::came).sum();
        if std::mem::replace(&mut self.kept, kept) != kept {
            self.kept_came = Instant::now();
        }
    }

    /// Logs which tracks have had their end.
    pub(super) fn tell_closed(&mut self, session: &Session) {
        for (told, track) in self.told_closed.iter_mut().zip(&session.tracks) {
            if track.is_closed() && !std::mem::replace(told, true) {
                let counts = track.stats();
                gst::debug!(
                    CAT,
                    id = &session.label,
                    "Track {} has ended: {} buffers came, {} encoded, {} left out, {} filled",
                    track.name(),
                    counts.buffers(),
                    counts.encoded,
                    counts.dropped,
                    time(counts.filled)
                );
            }
        }
    }
}

impl Session {
    /// How far the recording has come: the clock where it drives, else the furthest track.
    pub(super) fn progress(&self) -> Ns {
        match self.clock.now() {
            Some(now) if self.any_live() => now,
            _ => {
                let arrived = self.tracks.iter().map(Track::arrived);
                arrived.max().unwrap_or(0)
            }
        }
    }

    pub(super) fn open_tracks(&self) -> impl Iterator<Item = (usize, &Track)> {
        let tracks = self.tracks.iter().enumerate();
        tracks.filter(|(_, track)| !track.is_closed())
    }

    /// How long to wait for a track after `stop`.
    pub(super) fn grace(&self) -> Duration {
        match self.any_live() {
            true => Duration::from_nanos(self.most_latency()) + LIVE_GRACE,
            false => GRACE,
        }
    }

    pub(super) fn most_latency(&self) -> Ns {
        let latency = self.tracks.iter().map(Track::latency_ns).max();
        latency.unwrap_or(0)
    }

    /// Whether nothing more will arrive that is recorded.
    pub(super) fn is_complete(&self) -> bool {
        let control = lock(&self.control);
        let stopped = control.stopped;
        control.going_down || stopped.is_some_and(|since| since.elapsed() > self.grace())
    }

    /// Logs, at the end, which tracks have had theirs.
    pub(super) fn end_log(&self) {
        if let Some(mut front) = try_lock(&self.front) {
            front.tell_closed(self);
        }
    }

    /// Something that the user should know, among the events of the part that is on.
    pub(in crate::session) fn warn(&self, message: String) {
        if let Some(part) = self.part() {
            part.events.push(Event::Warning { message });
        }
    }

    /// The resumes up to this interval have their instants.
    pub(super) fn announce_resume(&self, interval: usize) {
        for part in self.parts() {
            let mut control = lock(&part.control);
            let waiting = std::mem::take(&mut control.resumes);
            let (known, waiting): (Vec<_>, Vec<_>) = waiting
                .into_iter()
                .partition(|(index, _)| *index <= interval);
            control.resumes = waiting;
            drop(control);
            for (index, slot) in known {
                let start = self
                    .timeline
                    .read(|t| t.intervals().get(index).map(|i| i.start));
                let event = start.map(|running_time| Event::Resume { running_time });
                part.events.fill(slot, event);
            }
        }
    }
}
