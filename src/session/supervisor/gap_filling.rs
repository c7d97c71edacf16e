//! Tracks that end, stay away, or owe something to the others.

use super::{GRACE, LIVE_GRACE, Supervisor};
use crate::{
    formats,
    log::{CAT, time},
    model::{
        Error,
        absence::{Action, Completion, TrackView},
        timeline::Ns,
    },
    session::{Event, lock, track::Track},
};
use smallvec::SmallVec;
use std::time::{Duration, Instant};

impl Supervisor {
    /// How long to wait for a track after `stop`.
    pub(super) fn grace(&self) -> Duration {
        let latency = self.session.tracks.iter().map(Track::latency).max();
        match self.session.any_live() {
            true => latency.unwrap_or_default() + LIVE_GRACE,
            false => GRACE,
        }
    }

    /// The tracks as far as it matters who stays away.
    pub(super) fn views(&self) -> SmallVec<[TrackView; 4]> {
        let tracks = self.session.tracks.iter();
        tracks.map(|track| self.view(track)).collect()
    }

    fn view(&self, track: &Track) -> TrackView {
        if track.is_closed() {
            return TrackView::default();
        }
        let full = track.is_full();
        let arrived = track.arrived();
        let view = TrackView {
            live: track.is_live(),
            latency: track.latency(),
            encoded: track.is_encoded(),
            shows_picture: track.shows_picture(),
            // Nobody waits for one of which as much waits as may.
            awaited: !track.is_ended() && track.caps().is_some() && !full,
            held_back: full && !track.is_live(),
            came: track.came(),
            begun: track.first().is_some(),
            arrived,
            owed: 0,
        };
        match view.encoded && view.awaited {
            true => TrackView {
                owed: self.owed(arrived, view.latency),
                ..view
            },
            false => view,
        }
    }

    /// Recorded time that an encoded track owes to the others.
    fn owed(&self, arrived: Ns, latency: Duration) -> Ns {
        let progress = self.progress();
        let due = progress.saturating_sub(u64::try_from(latency.as_nanos()).unwrap_or(0));
        let (owed, pending) = self.session.timeline.read(|t| {
            let owed = t.recorded_at(due).saturating_sub(t.recorded_at(arrived));
            (owed, t.pending())
        });
        // A cut that waits for its key frame holds up all the others, and nothing is owed meanwhile.
        let held_up = match (pending, self.waiting) {
            (Some(_), Some((_, since))) => progress.saturating_sub(since),
            _ => 0,
        };
        owed.max(held_up.min(due.saturating_sub(arrived)))
    }

    /// After `stop`: ends each track that has all it needs, or whose rest will not come.
    pub(super) fn complete_tracks(&self, since: Instant) {
        let going_down = lock(&self.session.control).going_down;
        let now = self.begun.elapsed();
        let stopped = since.saturating_duration_since(self.begun);
        for (index, track) in self.open_tracks() {
            // What the past has of it is on its way all the same.
            if going_down && !track.is_kept() {
                track.finish(false);
                continue;
            }
            match self
                .absences
                .complete(now, stopped, index, &self.view(track))
            {
                Completion::MakeUp => track.finish(true),
                Completion::Await => track.advance(),
            }
        }
    }

    /// Tracks whose pads have had EOS end where they are.
    pub(super) fn end_ended_tracks(&mut self) {
        let tracks = self.open_tracks().filter(|(_, track)| track.is_ended());
        let ended: Vec<usize> = tracks.map(|(index, _)| index).collect();
        if ended.is_empty() {
            return;
        }
        // All of them may have come, and ended, since cuts were looked at last.
        self.settle_cuts();
        let session = &self.session;
        for track in ended.iter().filter_map(|index| session.tracks.get(*index)) {
            let waits = session.timeline.read(|t| t.pending().is_some());
            if track.caps().is_some() && !(waits && self.open_tracks().any(|(_, t)| !t.is_ended()))
            {
                track.advance();
                track.finish(false);
            }
        }
    }

    /// Tracks that have gone on as something of which nothing can be made end there; gives an error if there is no
    /// other.
    pub(super) fn end_unusable_tracks(&mut self) -> Option<Error> {
        let session = self.session.clone();
        let ended = std::mem::take(&mut lock(&session.control).ended_by_caps);
        let mut error = None;
        for (name, caps, at) in ended {
            let Some(track) = session.tracks.iter().find(|track| *track.name() == name) else {
                continue;
            };
            track.leave_out();
            let media = caps.structure(0).map_or("nothing", |s| s.name().as_str());
            let why = match formats::can_decode(&caps) || formats::is_raw(&caps) {
                true => "the headers of its track cannot be made anew",
                false => "nothing here decodes it",
            };
            let what = format!("{name} goes on as other {media}, and {why}");
            gst::warning!(CAT, id = &session.label, "{what}: {caps}");
            let mut others = session.tracks.iter().filter(|other| *other.name() != name);
            if others.all(|other| other.is_closed() && other.fed() <= at) {
                error = Some(Error::not_supported(format!(
                    "{what}: the recording ends here. Record Opus, AAC, VP8 or H.264, which can go on."
                )));
            } else {
                let message = format!("{what}: its track ends here, the others go on.");
                session.events.push(Event::Warning { message });
            }
        }
        error
    }

    /// Makes up what raw tracks that stay away owe to the others.
    pub(super) fn fill_absent(&self) {
        let now = self.begun.elapsed();
        let actions = self.absences.poll(now, self.progress(), &self.views());
        for action in actions {
            let (Action::Fill { track: index, .. } | Action::LeaveBehind { track: index }) = action;
            let Some(track) = self.session.tracks.get(index) else {
                continue;
            };
            match action {
                Action::LeaveBehind { .. } => self.leave_behind(track),
                Action::Fill { until, .. } => {
                    gst::debug!(
                        CAT,
                        id = &self.session.label,
                        "Track {} stays away: filled until {}",
                        track.name(),
                        time(until)
                    );
                    track.fill(until);
                }
            }
        }
    }

    /// An encoded track has stopped coming: nothing can stand in for it, and the muxer would wait.
    pub(super) fn leave_behind(&self, track: &Track) {
        if self.pipeline.is_none() {
            return;
        }
        self.session.events.push(Event::Warning {
            message: format!(
                "Nothing has come on {} for {} ms while something has on others: its track ends here, the others \
                 go on. If it brings frames so rarely, set max-queue-time higher.",
                track.name(),
                self.session.settings.patience().as_millis()
            ),
        });
        track.finish(false);
    }
}
