//! Resolves ends of parts that have to wait for a frame.

use super::{Coordinator, FRAME_PATIENCE, KEY_FRAME_AGAIN, LATE_FRAME, LONGEST_FRAME, SPLIT_AHEAD};
use crate::{
    gate::KEY_FRAME_LIMIT,
    model::{Kind, timeline::Ns},
    session::{Session, track::Track},
};
use std::sync::Arc;

impl Coordinator {
    /// Ends parts that have reached a limit, or whose split was requested, as far as it is known at which frame to
    /// end them.
    pub(super) fn resolve_splits(&mut self, session: &Arc<Session>) {
        let mut changed = false;
        loop {
            let progress = if session.is_complete() {
                Ns::MAX
            } else {
                session.progress()
            };
            self.expect_split(session, progress);
            changed |= session.split_by_size_time(progress);
            if session.timeline.read(|t| t.pending_split().is_none()) {
                changed |= self.resolve_size(session, progress);
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
        if end <= asked {
            // In a pause.
            return Some(end);
        }
        // The pre-record encoder may start slowly, and only then is it known whether it makes keyframes.
        let is_due = |track: &Track| {
            track.is_kept() && !track.is_closed() && !track.is_ended() && track.caps().is_none()
        };
        if session.tracks.iter().any(is_due) {
            return None;
        }
        let is_open = |track: &&Track| !track.is_closed() && track.caps().is_some();
        let open = || session.tracks.iter().filter(is_open);
        // A silent track begins at a keyframe when it returns, whatever the part.
        let patience = session.settings.patience_ns();
        let is_silent = |index: usize, track: &Track| {
            let longest = patience.saturating_add(track.latency_ns());
            // It may have returned since the last look.
            self.is_away(index) && track.arrived().saturating_add(longest) <= progress
        };
        let is_awaited = |(index, track): &(usize, &Track)| {
            let is_in_next = !track.has_left_part() && !session.begins_without_media();
            track.is_keyed() && (is_in_next || !is_silent(*index, track))
        };
        let awaited = session.open_tracks().find(is_awaited);
        if let Some((_, track)) = awaited {
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
            // If the track has ended, its last frames stay with their keyframe.
            let last = asked.max(track.furthest());
            return key_frame
                .or(Some(end))
                .filter(|at| *at < Ns::MAX)
                .or(Some(last));
        }
        let progress = progress.saturating_sub(session.most_latency());
        let waited = progress.saturating_sub(since);
        // What is not live ignores requests, but has keyframes sooner or later.
        if session.any_live() && waited > KEY_FRAME_LIMIT.max(session.settings.max_queue_time) {
            session.warn(format!(
                "No keyframe on {} for {} ms: the next part begins without one, and its video is only complete from \
                 the next one on.",
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
        let most = if track.is_live() {
            session.settings.patience_ns().max(LONGEST_FRAME)
        } else {
            Ns::MAX
        };
        let next = track
            .newest()
            .map_or(asked, |newest| newest.saturating_add(1));
        let at = next.max(progress.saturating_sub(most)).min(end);
        session.timeline.write(|t| t.defer_split(at));
        None
    }
}
