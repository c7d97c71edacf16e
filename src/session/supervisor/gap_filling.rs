//! Tracks that end, are missing, or hold up the others.

use super::Coordinator;
use crate::{
    log::{CAT, time},
    model::{
        absence::{Action, Completion, TrackView},
        timeline::Ns,
    },
    session::{Session, lock, track::Track},
};
use smallvec::SmallVec;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Interval for repeating a keyframe request.
const ASK_AGAIN: Duration = Duration::from_secs(1);

impl Coordinator {
    /// The tracks' state, as needed to detect missing ones.
    pub(super) fn views(&self, session: &Session) -> SmallVec<[TrackView; 4]> {
        let tracks = session.tracks.iter();
        tracks.map(|track| self.view(session, track)).collect()
    }

    fn view(&self, session: &Session, track: &Track) -> TrackView {
        if track.is_closed() {
            return TrackView::default();
        }
        let full = track.is_full();
        let arrived = track.arrived();
        let view = TrackView {
            live: track.is_live(),
            latency: track.latency(),
            encoded: track.is_encoded(),
            // Where the file cannot represent the gap, the next part can begin with the track's return.
            fillable: track.is_fillable() || session.settings.may_split,
            has_current_frame: track.has_current_frame(),
            // A track whose queue is full is not waited for.
            awaited: !track.is_ended() && track.caps().is_some() && !full,
            held_back: full && !track.is_live() || track.is_delayed(),
            came: track.came(),
            begun: track.first().is_some(),
            arrived,
            owed: 0,
        };
        if view.encoded && view.awaited {
            TrackView {
                owed: self.owed(session, arrived, track.latency_ns()),
                ..view
            }
        } else {
            view
        }
    }

    /// Whether a track is being filled now.
    pub(super) fn is_away(&self, track: usize) -> bool {
        self.away.contains(&track)
    }

    /// Recorded time by which an encoded track lags behind the others.
    fn owed(&self, session: &Session, arrived: Ns, latency: Ns) -> Ns {
        let progress = session.progress();
        let due = progress.saturating_sub(latency);
        let (owed, pending) = session.timeline.read(|t| {
            let owed = t.recorded_at(due).saturating_sub(t.recorded_at(arrived));
            (owed, t.pending())
        });
        // A cut that waits for its keyframe holds up all tracks, which therefore do not lag.
        let held_up = match (pending, self.waiting) {
            (Some(_), Some((_, since))) => progress.saturating_sub(since),
            _ => 0,
        };
        owed.max(held_up.min(due.saturating_sub(arrived)))
    }

    /// After `stop`: ends each track that is complete, or whose remaining media will not arrive.
    pub(super) fn complete_tracks(&self, session: &Session, since: Instant) {
        if session.timeline.read(|t| t.hold().is_some()) {
            // Resolve the end of the part first.
            return session.open_tracks().for_each(|(_, track)| track.advance());
        }
        let going_down = lock(&session.control).going_down;
        let now = self.begun.elapsed();
        let stopped = since.saturating_duration_since(self.begun);
        for (index, track) in session.open_tracks() {
            // Media from the pre-record buffer still arrives.
            if going_down && !track.is_kept() {
                track.finish(false);
                continue;
            }
            match self
                .absences
                .complete(now, stopped, index, &self.view(session, track))
            {
                Completion::MakeUp => track.finish(true),
                Completion::Await => track.advance(),
            }
        }
    }

    /// Ends the tracks whose pads have received EOS, where their media ends.
    pub(super) fn end_ended_tracks(&mut self, session: &Arc<Session>) {
        let tracks = session.open_tracks().filter(|(_, track)| track.is_ended());
        let ended: Vec<usize> = tracks.map(|(index, _)| index).collect();
        if ended.is_empty() {
            return;
        }
        // Media and EOS may have arrived since cuts were last resolved.
        self.resolve_cuts(session);
        self.resolve_splits(session);
        for track in ended.iter().filter_map(|index| session.tracks.get(*index)) {
            let (waits, hold) = session
                .timeline
                .read(|t| (t.pending().is_some(), t.hold().unwrap_or(Ns::MAX)));
            if track.arrived() > hold {
                // Resolve the end of the part first.
                continue;
            }
            if track.caps().is_some()
                && !(waits && session.open_tracks().any(|(_, t)| !t.is_ended()))
            {
                track.advance();
                track.finish(false);
            }
        }
    }

    /// Fills missing tracks, as far as the others wait for them.
    pub(super) fn fill_absent(&mut self, session: &Session) {
        let now = self.begun.elapsed();
        let actions = self
            .absences
            .poll(now, session.progress(), &self.views(session));
        self.away.clear();
        for action in actions {
            let (Action::Fill { track: index, .. } | Action::LeaveBehind { track: index }) = action;
            let Some(track) = session.tracks.get(index) else {
                continue;
            };
            match action {
                Action::LeaveBehind { .. } => self.leave_behind(session, track),
                Action::Fill { until, .. } => {
                    if track.is_connected() && !track.is_fillable() {
                        track.leave_part();
                        gst::info!(
                            CAT,
                            id = &session.label,
                            "Track {} is absent, and its gap cannot be filled: it leaves the part",
                            track.name()
                        );
                    }
                    if track.is_connected() || track.has_left_part() {
                        self.away.push(index);
                    }
                    gst::debug!(
                        CAT,
                        id = &session.label,
                        "Track {} is absent: filled until {}",
                        track.name(),
                        time(until)
                    );
                    track.fill(until);
                }
            }
        }
    }

    /// Requests keyframes, repeatedly, for tracks that have returned.
    pub(super) fn ask_for_returning(&mut self, session: &Session) {
        let now = Instant::now();
        let asked = self.asked_returning;
        if asked.is_some_and(|asked| now.saturating_duration_since(asked) < ASK_AGAIN) {
            return;
        }
        let tracks = session.open_tracks().map(|(_, track)| track);
        for track in tracks.filter(|track| track.lacks_key_frame()) {
            self.asked_returning = Some(now);
            session.ask_for_key_frame(track, track.arrived());
        }
    }

    /// Ends an encoded track that is missing and cannot be filled, since the muxer would wait for it, and no other part
    /// may begin.
    fn leave_behind(&self, session: &Session, track: &Track) {
        if !track.is_connected() {
            return;
        }
        session.warn(format!(
            "No data on {} for {} ms, unlike on other tracks, and this container has nothing to fill its track with: \
             it ends here, the others continue. In video/x-matroska or video/mp4, or in a new part (%d in location), it \
             could return. If its frames are that rare, increase max-queue-time.",
            track.name(),
            session.settings.patience().as_millis()
        ));
        track.finish(false);
    }
}
