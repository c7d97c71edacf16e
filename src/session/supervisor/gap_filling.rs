//! Tracks that end, stay away, or owe something to the others.

use super::{GRACE, LIVE_GRACE, LONG_GRACE, LONGEST_PICTURE, Supervisor};
use crate::{
    formats,
    log::{CAT, time},
    model::Error,
    session::{Event, lock, track::Track},
};
use std::time::{Duration, Instant};

impl Supervisor {
    /// How long to wait for a track after `stop`.
    pub(super) fn grace(&self) -> Duration {
        let latency = self.session.tracks.iter().map(Track::latency).max();
        match self.session.any_live {
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
        let most = self.session.settings.max_queue_time;
        let progress = self.progress();
        let grace = match self.session.any_live {
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
            let behind = progress.saturating_sub(arrived).saturating_sub(latency);
            let patience = match track.shows_picture() {
                true => most.min(LONGEST_PICTURE),
                false => most,
            };
            let quiet = self
                .seen
                .get(index)
                .is_none_or(|seen| seen.1.elapsed() > grace);
            if behind <= patience || !(track.is_live() || quiet) {
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
                if owed.max(held_up) > most {
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
    pub(super) fn leave_behind(&self, track: &Track) {
        if self.pipeline.is_none() {
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
}
