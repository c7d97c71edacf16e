//! Cuts, and ends of parts, that have to wait: for the earliest buffer, or for a frame.

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
    /// Decides the starts that had to wait, as far as that is possible now.
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

    /// Autostart: the earliest buffer of all tracks, once each has one or is not to be waited for.
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

    /// Where the pending interval can begin, `None` if that is not known yet.
    pub(super) fn start_of_interval(
        &mut self,
        session: &Session,
        index: usize,
        requested: Ns,
    ) -> Option<Ns> {
        let first = self.waiting_since(index, requested);
        // Read before the tracks: what arrives behind an end that is not known yet may be a key
        // frame in front of it.
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
        let progress = match session.clock.now() {
            Some(now) if session.any_live() => now.saturating_sub(session.most_latency()),
            _ => arrived,
        };
        let most = session.settings.patience_ns().max(LONGEST_PICTURE);
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

    /// Ends parts where they have as much as they may, and where splits have been asked for, as far as it is known
    /// at which frame that is.
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
                // What is not of the next part goes on.
                changed |= session.timeline.read(|t| t.pending_split()) != Some(asked);
                break;
            };
            session.resolve_split(at);
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

    /// The next part is made ready shortly before the one that is on has as much recorded time as it may.
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

    /// Where the part ends that is to end at `asked`, or as soon as it can behind that; `None` while that is not known.
    fn split_instant(&mut self, session: &Session, asked: Ns, progress: Ns) -> Option<Ns> {
        // Read before the tracks, see `start_of_interval`.
        let end = session
            .timeline
            .read(|t| t.end_at(asked))
            .unwrap_or(Ns::MAX);
        // The encoder of the past may take long to begin: whether it makes key frames is known then.
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
        // First, for what comes meanwhile may be the frame.
        let arrived = track.arrived();
        let complete = track.is_ended() || session.is_complete();
        if let Some(frame) = track.frame(asked) {
            return Some(if frame < latest { frame } else { asked });
        }
        // What is live comes with the clock, on a busy machine a little later; another is waited for as long as any that
        // stays away.
        let patience = match session.clock.now() {
            Some(_) if track.is_live() => track.latency_ns().saturating_add(LATE_FRAME),
            _ => session.settings.patience_ns(),
        };
        let stays_away = progress >= latest.saturating_add(patience);
        (complete || stays_away || arrived >= latest).then_some(asked)
    }

    /// The same where packets of a track with key frames are copied: it is the next of those.
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
        // The frames that have come are not of the next part; nor, where they come live, is what other tracks have had
        // for long.
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
