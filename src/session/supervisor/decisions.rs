//! Performs the next steps, as [`Phase`] decides them.

use super::{Asked, COMPLETING_GRACE, GRACE, Supervisor};
use crate::{
    model::{
        Error,
        phase::{Action, Limits, Phase, TrackView, View},
        timeline::Timeline,
    },
    session::track::Track,
};
use smallvec::SmallVec;

impl Supervisor {
    /// Does everything that can be done now. Returns the result of the part if it has ended.
    pub(super) fn go_on(&mut self, asked: &Asked) -> Option<Option<Error>> {
        loop {
            let tracks: SmallVec<[TrackView; 4]> = self.track_views();
            let view = self.view(asked, &tracks);
            let action = self.phase.next(&view, &self.limits())?;
            if let Some(end) = self.perform(action) {
                return Some(end);
            }
        }
    }

    fn perform(&mut self, action: Action) -> Option<Option<Error>> {
        match action {
            Action::LeaveOut(track) => self.leave_out_absent(track),
            Action::Build => match self.build() {
                Ok(true) => self.phase = Phase::Built,
                Ok(false) => {}
                Err(error) => return Some(Some(error)),
            },
            Action::Connect => match self.connect() {
                Ok(phase) => self.phase = phase,
                Err(error) => return Some(Some(error)),
            },
            Action::AnnounceStart => self.announce(),
            Action::Drain => self.drain(),
            Action::GiveUp => return Some(Some(self.drained_too_slowly())),
            Action::End => return Some(None),
        }
        None
    }

    fn track_views(&self) -> SmallVec<[TrackView; 4]> {
        let part = self.part.number;
        let view = |track: &Track| {
            let is_closed_for_part = track.is_closed_for(part);
            if self.is_connected() {
                // Nothing else is needed then.
                return TrackView {
                    is_closed_for_part,
                    ..TrackView::default()
                };
            }
            TrackView {
                is_known: self.is_known(track),
                is_in_encoder: track.was_raw(),
                has_ended: track.is_ended(),
                is_closed: track.is_closed(),
                is_closed_for_part,
            }
        };
        self.session.tracks.iter().map(view).collect()
    }

    fn view<'a>(&self, asked: &Asked, tracks: &'a [TrackView]) -> View<'a> {
        let session = &self.session;
        let (start, pending, is_paused) = session.timeline.read(|timeline| {
            let start = timeline.intervals().first().map(|interval| interval.start);
            (start, timeline.pending(), Timeline::is_paused(timeline))
        });
        let ended = asked.stopped.into_iter().chain(asked.ended).min();
        let (bytes, _) = self.part.progress.figures();
        View {
            tracks,
            is_first: self.part.number == 0,
            any_live: session.any_live(),
            start_is_pending: pending.is_some_and(|(interval, _)| interval == 0),
            cut_is_pending: pending.is_some(),
            is_paused,
            has_media: self.has_begun(),
            is_announced: self.announced,
            has_bytes: asked.caps && bytes > 0,
            is_drained: asked.drained,
            ahead: session.progress().saturating_sub(start.unwrap_or(0)),
            begun: self.begun.elapsed(),
            stopped: asked.stopped.map(|since| since.elapsed()),
            ended: ended.map(|since| since.max(self.kept_came).elapsed()),
            completing: asked.completing.map(|since| since.elapsed()),
        }
    }

    fn limits(&self) -> Limits {
        let session = &self.session;
        let patience = session.settings.patience();
        Limits {
            patience,
            grace: session.grace(),
            first_bytes: patience.max(GRACE),
            drain: self.drain_limit(),
            completing: session.settings.stop_timeout + COMPLETING_GRACE,
        }
    }

    fn drained_too_slowly(&self) -> Error {
        Error::unknown(format!(
            "The recording did not drain within stop-timeout ({} ms): an encoder or the disk is too slow; the data \
             so far is delivered.",
            self.session.settings.stop_timeout.as_millis()
        ))
    }
}
