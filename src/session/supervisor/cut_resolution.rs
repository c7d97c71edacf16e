//! IntervalCursor that have to wait: for the earliest buffer, or for a key frame.

use super::{KEY_FRAME_AGAIN, KEY_FRAME_PATIENCE, LONGEST_PICTURE, Supervisor};
use crate::{
    gate::KEY_FRAME_LIMIT,
    log::{CAT, time},
    model::timeline::Ns,
    session::{Event, lock, track::Track},
};

impl Supervisor {
    /// Decides the starts that had to wait, as far as that is possible now.
    pub(super) fn settle_cuts(&mut self) {
        if !self.earliest_known && !self.settle_earliest() {
            return;
        }
        let mut changed = false;
        while let Some((index, requested)) = self.session.timeline.read(|t| t.pending()) {
            self.session.ask_for_key_frames();
            let Some(at) = self.start_of_interval(index, requested) else {
                break;
            };
            self.session.timeline.write(|t| t.resolve(at, false));
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
    pub(super) fn settle_earliest(&mut self) -> bool {
        let firsts: Vec<_> = self.open_tracks().map(|(_, t)| t.first()).collect();
        let Some(earliest) = firsts.iter().flatten().min().copied() else {
            return false;
        };
        let patience = self.session.settings.patience();
        let stopped = self.session.timeline.read(|t| t.is_stopped());
        if firsts.iter().any(Option::is_none) && !stopped && self.begun.elapsed() < patience {
            return false;
        }
        self.session.timeline.write(|t| t.defer(earliest));
        gst::info!(
            CAT,
            id = &self.session.label,
            "The earliest buffer is at running time {}",
            time(earliest)
        );
        self.earliest_known = true;
        true
    }

    /// Where the pending interval can begin, `None` if that is not known yet.
    pub(super) fn start_of_interval(&mut self, index: usize, requested: Ns) -> Option<Ns> {
        let first = self.waiting_since(index, requested);
        // Read before the tracks: what arrives behind an end that is not known yet may be a key
        // frame in front of it.
        let end = self
            .session
            .timeline
            .read(|t| t.intervals().get(index).and_then(|i| i.end));
        let mut keyed = Vec::new();
        for (index, track) in self.open_tracks() {
            if track.caps().is_none() && !track.is_ended() {
                return None;
            }
            if track.is_keyed() {
                let silent = track.is_ended() || self.is_away(index);
                let (key_frame, arrived) = track.key_frame(requested);
                // One that has ended without a key frame will not bring one, and one that is away begins at one when it is
                // back.
                if key_frame.is_some() || !silent {
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
            Some(now) if self.session.any_live() => now.saturating_sub(self.most_latency()),
            _ => arrived,
        };
        let most = self.session.settings.patience_ns().max(LONGEST_PICTURE);
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
        let waited = progress.saturating_sub(first);
        if waited > KEY_FRAME_LIMIT.max(self.session.settings.max_queue_time) {
            self.session.events.push(Event::Warning {
                message: format!(
                    "No key frame has come on {name} for {} ms: recording begins without one, and its pictures are \
                     whole only from the next one on.",
                    waited / 1_000_000
                ),
            });
            for (_, track) in self.open_tracks() {
                track.begin_anywhere();
            }
            return Some(requested);
        }
        if held_too_long {
            self.session.timeline.write(|t| t.defer(progress - most));
        }
        if waited / KEY_FRAME_AGAIN > self.asked_again {
            self.asked_again = waited / KEY_FRAME_AGAIN;
            for (_, track) in self.open_tracks() {
                track.ask_again();
            }
        }
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
    pub(super) fn waiting_since(&mut self, interval: usize, requested: Ns) -> Ns {
        match self.waiting {
            Some((waiting, since)) if waiting == interval => since,
            _ => {
                self.waiting = Some((interval, requested));
                self.warned_key_frame = false;
                self.asked_again = 0;
                requested
            }
        }
    }

    pub(super) fn most_latency(&self) -> Ns {
        let latency = self.session.tracks.iter().map(Track::latency).max();
        u64::try_from(latency.unwrap_or_default().as_nanos()).unwrap_or(0)
    }

    pub(super) fn announce_resume(&self, interval: usize) {
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
}
