//! What is done once for the recording, not per part. Any part's supervisor may do it.

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

/// See the module documentation.
pub struct Coordinator {
    pub(super) begun: Instant,
    /// Which tracks are missing.
    pub(super) absences: Absences,
    /// The tracks that are currently being filled.
    pub(super) away: SmallVec<[usize; 4]>,
    /// When a keyframe was last requested from a track that has returned.
    pub(super) asked_returning: Option<Instant>,
    pub(super) earliest_known: bool,
    pub(super) warned_key_frame: bool,
    /// How often the keyframe request for an interval has been repeated.
    pub(super) asked_again: u64,
    /// The interval that waits for its keyframe, and the running time since which it does.
    pub(super) waiting: Option<(usize, Ns)>,
    /// The running time since which the end of a part waits for a keyframe, and how often that request has been
    /// repeated.
    pub(super) split_since: Option<Ns>,
    pub(super) split_asked_again: u64,
    /// The part whose end has been prepared.
    pub(super) expected: Option<usize>,
    /// The size forecast, and the part that it is for.
    pub(super) forecast: Forecast,
    pub(super) sized: Option<usize>,
    /// How many buffers have arrived from the pre-record buffer, and when the last one did.
    kept: u64,
    pub(super) kept_came: Instant,
    /// Tracks whose end has been logged.
    logged_closed: Vec<bool>,
}

impl Coordinator {
    pub fn new(tracks: usize, begin: Begin, settings: &Settings) -> Self {
        Coordinator {
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
            logged_closed: vec![false; tracks],
        }
    }

    /// Makes the decisions that precede building a part.
    pub(super) fn decide(&mut self, session: &Arc<Session>, stopped: Option<Instant>) {
        for message in session.backpressure.warnings() {
            session.warn(message);
        }
        self.watch_arrivals(session, stopped.is_some());
        self.resolve_cuts(session);
        self.resolve_splits(session);
        session.stop_at_max_duration(session.progress());
    }

    /// Fills gaps, and ends tracks that are complete.
    pub(super) fn complete(&mut self, session: &Arc<Session>, stopped: Option<Instant>) {
        match stopped {
            Some(since) => self.complete_tracks(session, since),
            None => {
                self.fill_absent(session);
                self.ask_for_returning(session);
            }
        }
        self.end_ended_tracks(session);
        self.log_closed(session);
    }

    fn watch_arrivals(&mut self, session: &Session, stopped: bool) {
        // A track that the recorder itself blocks is not missing.
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

    /// Logs which tracks have ended.
    pub(super) fn log_closed(&mut self, session: &Session) {
        for (told, track) in self.logged_closed.iter_mut().zip(&session.tracks) {
            if track.is_closed() && !std::mem::replace(told, true) {
                let counts = track.stats();
                gst::debug!(
                    CAT,
                    id = &session.label,
                    "Track {} has ended: {} buffers received, {} encoded, {} dropped, {} filled",
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
    /// How far the recording has advanced: clock time if any track is live, else the furthest track.
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
        if self.any_live() {
            Duration::from_nanos(self.most_latency()) + LIVE_GRACE
        } else {
            GRACE
        }
    }

    pub(super) fn most_latency(&self) -> Ns {
        let latency = self.tracks.iter().map(Track::latency_ns).max();
        latency.unwrap_or(0)
    }

    /// Whether no more media to record will arrive.
    pub(super) fn is_complete(&self) -> bool {
        let control = lock(&self.control);
        let stopped = control.stopped;
        control.going_down || stopped.is_some_and(|since| since.elapsed() > self.grace())
    }

    /// Logs, at the end, which tracks have ended.
    pub(super) fn end_log(&self) {
        if let Some(mut coordinator) = try_lock(&self.coordinator) {
            coordinator.log_closed(self);
        }
    }

    /// Emits a warning among the events of the current part.
    pub(in crate::session) fn warn(&self, message: String) {
        if let Some(part) = self.part() {
            part.events.push(Event::Warning { message });
        }
    }

    /// Emits the resumes up to this interval, whose starts are known now.
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
