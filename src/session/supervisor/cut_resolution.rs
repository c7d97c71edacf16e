//! Resolves cuts and ends of parts that have to wait for the earliest buffer, or for a frame.

use super::{
    FRAME_PATIENCE, Front, KEY_FRAME_AGAIN, KEY_FRAME_PATIENCE, LATE_FRAME, LONGEST_PICTURE,
    SPLIT_AHEAD,
};
use crate::{
    gate::KEY_FRAME_LIMIT,
    log::{CAT, time},
    model::{Kind, timeline::Ns},
    session::{Session, track::Track},
};
use std::sync::Arc;

impl Front {
    /// Resolves pending starts, as far as possible.
    pub(super) fn settle_cuts(&mut self, session: &Arc<Session>) {
        if !self.earliest_known && !self.settle_earliest(session) {
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
                "Interval {index} begins at running time {}, asked for at {}",
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
    pub(super) fn settle_earliest(&mut self, session: &Session) -> bool {
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
        let most = session.settings.patience_ns().max(LONGEST_PICTURE);
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
                    "No key frame has come on {name} for {} ms: recording begins without one, and its pictures are \
                     whole only from the next one on.",
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
        if waited / KEY_FRAME_AGAIN > self.asked_again {
            self.asked_again = waited / KEY_FRAME_AGAIN;
            for (_, track) in session.open_tracks() {
                track.ask_again();
            }
        }
        if waited > KEY_FRAME_PATIENCE && !self.warned_key_frame {
            self.warned_key_frame = true;
            session.warn(format!(
                "No key frame has come on {name} for {} ms although one was requested: \
                     recording begins at the next one that comes.",
                waited / 1_000_000
            ));
        }
        None
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

    /// Ends parts that have reached a limit, or whose split was requested, as far as it is known at which frame to
    /// end them.
    pub(super) fn settle_splits(&mut self, session: &Arc<Session>) {
        let mut changed = false;
        loop {
            let progress = match session.is_complete() {
                true => Ns::MAX,
                false => session.progress(),
            };
            self.expect_split(session, progress);
            session.split_by_size_time(progress);
            if session.timeline.read(|t| t.pending_split().is_none()) {
                changed |= self.settle_size(session, progress);
            }
            let Some(asked) = session.timeline.read(|t| t.pending_split()) else {
                break;
            };
            session.prepare_next();
            session.ask_for_key_frames();
            let Some(at) = self.split_instant(session, asked, progress) else {
                // Media before the next part can go on.
                changed |= session.timeline.read(|t| t.pending_split()) != Some(asked);
                break;
            };
            if !session.resolve_split(at) {
                break;
            }
            self.split_since = None;
            self.split_asked_again = 0;
            changed = true;
        }
        if changed {
            for track in &session.tracks {
                track.advance();
            }
        }
    }

    /// Prepares the next part shortly before the current one reaches its maximum duration.
    fn expect_split(&mut self, session: &Arc<Session>, progress: Ns) {
        let limit = session
            .timeline
            .read(|t| t.end_by_size_time().map(|at| (t.part(), at)));
        if let Some((part, at)) = limit
            && at <= progress.saturating_add(SPLIT_AHEAD)
            && self.expected != Some(part)
        {
            self.expected = Some(part);
            session.prepare_next();
            session.ask_for_key_frames_at(part, at);
        }
    }

    /// Where a part ends whose split was requested at `asked`, or as soon as possible after that; `None` if that is
    /// not known yet.
    fn split_instant(&mut self, session: &Session, asked: Ns, progress: Ns) -> Option<Ns> {
        // Read this before the tracks, see `start_of_interval`.
        let end = session
            .timeline
            .read(|t| t.end_at(asked))
            .unwrap_or(Ns::MAX);
        // The pre-record encoder may start slowly, and only then is it known whether it makes keyframes.
        let is_due = |track: &Track| {
            track.is_kept() && !track.is_closed() && !track.is_ended() && track.caps().is_none()
        };
        if session.tracks.iter().any(is_due) {
            return None;
        }
        let is_open = |track: &&Track| !track.is_closed() && track.caps().is_some();
        let open = || session.tracks.iter().filter(is_open);
        if let Some(track) = open().find(|track| track.is_keyed()) {
            return self.key_frame_split(session, track, (asked, end), progress);
        }
        let is_raw = |track: &&Track| track.kind() == Kind::Video && !track.is_encoded();
        let Some(track) = open().find(is_raw) else {
            return Some(asked);
        };
        let latest = asked.saturating_add(FRAME_PATIENCE).min(end);
        // Read this first, as the frame may arrive in between.
        let arrived = track.arrived();
        let complete = track.is_ended() || session.is_complete();
        if let Some(frame) = track.frame(asked) {
            return Some(if frame < latest { frame } else { asked });
        }
        // Live media arrives with the clock, a little later on a busy machine; other tracks get the patience for
        // missing tracks.
        let patience = match session.clock.now() {
            Some(_) if track.is_live() => track.latency_ns().saturating_add(LATE_FRAME),
            _ => session.settings.patience_ns(),
        };
        let stays_away = progress >= latest.saturating_add(patience);
        (complete || stays_away || arrived >= latest).then_some(asked)
    }

    /// The same for a copied track with keyframes: the part ends at the next keyframe.
    fn key_frame_split(
        &mut self,
        session: &Session,
        track: &Track,
        (asked, end): (Ns, Ns),
        progress: Ns,
    ) -> Option<Ns> {
        let since = *self.split_since.get_or_insert(asked);
        let (key_frame, arrived) = track.key_frame(asked);
        let ends = track.is_ended() || session.is_complete();
        if key_frame.is_some() || ends || arrived >= end {
            return key_frame
                .or(Some(end))
                .filter(|at| *at < Ns::MAX)
                .or(Some(asked));
        }
        let progress = progress.saturating_sub(session.most_latency());
        let waited = progress.saturating_sub(since);
        if waited > KEY_FRAME_LIMIT.max(session.settings.max_queue_time) {
            session.warn(format!(
                "No key frame has come on {} for {} ms: the next part begins without one, and its pictures are whole \
                 only from the next one on.",
                track.name(),
                waited / 1_000_000
            ));
            track.begin_anywhere();
            return Some(asked);
        }
        if waited / KEY_FRAME_AGAIN > self.split_asked_again {
            self.split_asked_again = waited / KEY_FRAME_AGAIN;
            track.ask_again();
        }
        // The frames that have arrived do not belong to the next part. With live sources, neither does media that
        // other tracks have had for long.
        let most = match track.is_live() {
            true => session.settings.patience_ns().max(LONGEST_PICTURE),
            false => Ns::MAX,
        };
        let next = track
            .newest()
            .map_or(asked, |newest| newest.saturating_add(1));
        let at = next.max(progress.saturating_sub(most)).min(end);
        session.timeline.write(|t| t.defer_split(at));
        None
    }
}
