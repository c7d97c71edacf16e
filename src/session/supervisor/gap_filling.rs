//! Tracks that end, stay away, or owe something to the others.

use super::{GRACE, LIVE_GRACE, LONG_GRACE, LONGEST_PICTURE, Supervisor};
use crate::{
    log::{CAT, time},
    model::timeline::Ns,
    session::{Event, lock, track::Track},
};
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

    /// After `stop`: ends each track that has all it needs, or whose rest will not come.
    pub(super) fn complete_tracks(&self, since: Instant) {
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

    /// Makes up what raw tracks that stay away owe to the others.
    pub(super) fn fill_absent(&self) {
        let most = self.session.settings.patience_ns();
        let progress = self.progress();
        let grace = match self.session.any_live() {
            true => GRACE,
            false => LONG_GRACE,
        };
        for (index, track) in self.open_tracks() {
            // Nobody waits for one of which as much waits as may.
            if track.is_ended() || track.caps().is_none() || track.is_full() {
                continue;
            }
            let arrived = track.arrived();
            let latency = u64::try_from(track.latency().as_nanos()).unwrap_or(0);
            let mut behind = progress.saturating_sub(arrived).saturating_sub(latency);
            let quiet = self.quiet(index);
            if track.is_live() && track.first().is_some() {
                // One that comes late comes all the same.
                behind = behind.min(u64::try_from(quiet.as_nanos()).unwrap_or(Ns::MAX));
            }
            let patience = match track.shows_picture() {
                true => most.min(LONGEST_PICTURE),
                false => most,
            };
            if behind <= patience || !(track.is_live() || quiet > grace) {
                continue;
            }
            if track.is_encoded() {
                let (owed, pending) = self.session.timeline.read(|t| {
                    let due = t.recorded_at(progress.saturating_sub(latency));
                    (due.saturating_sub(t.recorded_at(arrived)), t.pending())
                });
                // A cut that waits for its key frame holds up all the others, and nothing is owed meanwhile.
                let held_up = match (pending, self.waiting) {
                    (Some(_), Some((_, since))) => behind.min(progress.saturating_sub(since)),
                    _ => 0,
                };
                let absent =
                    !track.is_live() || self.absence(index) > self.session.settings.patience();
                if owed.max(held_up) > most && absent {
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
                let until = progress.saturating_sub(latency);
                let until = match track.first() {
                    Some(_) => until.min(arrived.saturating_add(behind)),
                    None => until,
                };
                track.fill(until.saturating_sub(patience / 2));
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
