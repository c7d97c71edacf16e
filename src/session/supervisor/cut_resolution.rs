//! Resolves starts and resumes that have to wait for the earliest buffer, or for a key frame.

use super::{Coordinator, KEY_FRAME_AGAIN, KEY_FRAME_PATIENCE, LONGEST_FRAME};
use crate::{
    gate::KEY_FRAME_LIMIT,
    log::{CAT, time},
    model::timeline::Ns,
    session::Session,
};
use std::sync::Arc;

impl Coordinator {
    /// Resolves pending starts, as far as possible.
    pub(super) fn resolve_cuts(&mut self, session: &Arc<Session>) {
        if !self.earliest_known && !self.resolve_earliest(session) {
            return;
        }
        let mut changed = false;
        while let Some((index, requested)) = session.timeline.read(|t| t.pending()) {
            session.ask_for_key_frames();
            let Some(at) = self.start_of_interval(session, index, requested) else {
                break;
            };
            session.timeline.write(|t| t.resolve(at, false));
            changed = true;
            gst::debug!(
                CAT,
                id = &session.label,
                "Interval {index} begins at running time {}, requested at {}",
                time(at),
                time(requested)
            );
            session.announce_resume(index);
        }
        if changed {
            for track in &session.tracks {
                track.advance();
            }
        }
    }

    /// Autostart: resolves to the earliest buffer of all tracks, once each has one or is no longer waited for.
    pub(super) fn resolve_earliest(&mut self, session: &Session) -> bool {
        let firsts: Vec<_> = session.open_tracks().map(|(_, t)| t.first()).collect();
        let Some(earliest) = firsts.iter().flatten().min().copied() else {
            return false;
        };
        let patience = session.settings.patience();
        let stopped = session.timeline.read(|t| t.is_stopped());
        if firsts.iter().any(Option::is_none) && !stopped && self.begun.elapsed() < patience {
            return false;
        }
        session.timeline.write(|t| t.defer(earliest));
        gst::info!(
            CAT,
            id = &session.label,
            "The earliest buffer is at running time {}",
            time(earliest)
        );
        self.earliest_known = true;
        true
    }

    /// Where the pending interval can begin; `None` if that is not known yet.
    pub(super) fn start_of_interval(
        &mut self,
        session: &Session,
        index: usize,
        requested: Ns,
    ) -> Option<Ns> {
        let first = self.waiting_since(index, requested);
        // Read this before the tracks: media that arrives after an unknown end may be a keyframe that precedes it.
        let end = session
            .timeline
            .read(|t| t.intervals().get(index).and_then(|i| i.end));
        let mut keyed = Vec::new();
        for (index, track) in session.open_tracks() {
            if track.caps().is_none() && !track.is_ended() {
                return None;
            }
            if track.is_keyed() {
                let silent = track.is_ended() || self.is_away(index);
                let (key_frame, arrived) = track.key_frame(requested);
                // A track that ended without a keyframe will not get one, and a missing track begins at one when it
                // returns.
                if key_frame.is_some() || !silent {
                    keyed.push((track.name(), key_frame, arrived));
                }
            }
        }
        let Some((name, _, arrived)) = keyed.iter().max_by_key(|(_, _, arrived)| *arrived) else {
            return Some(requested);
        };
        let (name, arrived) = ((*name).to_owned(), *arrived);
        // Live media arrives at clock speed, other media at any speed.
        let progress = match session.clock.now() {
            Some(now) if session.any_live() => now.saturating_sub(session.most_latency()),
            _ => arrived,
        };
        let most = session.settings.patience_ns().max(LONGEST_FRAME);
        let held_too_long = progress.saturating_sub(requested) > most;
        // Use the earliest keyframe, as each track has its own just after the requested time. Wait for other tracks
        // only as long as theirs could be earlier.
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
        if waited > KEY_FRAME_LIMIT.max(session.settings.max_queue_time) {
            session.warn(format!(
                "No keyframe on {name} for {} ms: recording begins without one, and its video is only complete from \
                 the next one on.",
                waited / 1_000_000
            ));
            for (_, track) in session.open_tracks() {
                track.begin_anywhere();
            }
            return Some(requested);
        }
        if held_too_long {
            session.timeline.write(|t| t.defer(progress - most));
        }
        self.ask_for_late_key_frame(session, &name, waited);
        None
    }

    /// Requests a key frame again and warns, as it takes too long.
    fn ask_for_late_key_frame(&mut self, session: &Session, track: &str, waited: Ns) {
        if waited / KEY_FRAME_AGAIN > self.asked_again {
            self.asked_again = waited / KEY_FRAME_AGAIN;
            for (_, track) in session.open_tracks() {
                track.ask_again();
            }
        }
        if waited > KEY_FRAME_PATIENCE && !self.warned_key_frame {
            self.warned_key_frame = true;
            session.warn(format!(
                "No keyframe on {track} for {} ms although one was requested: recording begins at the next one.",
                waited / 1_000_000
            ));
        }
    }

    /// The start originally requested for an interval, before it was deferred.
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
}
