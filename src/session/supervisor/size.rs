//! Parts that have as many bytes as they may: foreseen, so that all tracks go on in the next part at one instant.

use super::{Front, SIZE_STEP, SPLIT_AHEAD};
use crate::{
    log::{CAT, time},
    model::timeline::Ns,
    session::{Session, part::Part, track::Track},
};
use std::sync::Arc;

impl Front {
    /// Ends the part that is on where it has as many bytes as it may, and lets it take media up to there. TRUE if tracks
    /// may go on, or have to end a part.
    pub(super) fn settle_size(&mut self, session: &Arc<Session>, progress: Ns) -> bool {
        let Some(part) = session.part() else {
            return false;
        };
        let limit = session.settings.part_limit();
        let Some((tracks, budget)) = part.size.budget(limit) else {
            return false;
        };
        if self.sized != Some(part.number) {
            self.sized = Some(part.number);
            self.forecast.begin_part();
        }
        let full = self.forecast.full_at(&tracks, budget);
        let (on, begin, now, horizon) = session.timeline.read(|t| {
            let begin = t.recorded_before(part.number);
            let now = t.recorded_at(progress).saturating_sub(begin);
            (t.part(), begin, now, t.horizon())
        });
        if on != part.number {
            return true;
        }
        let at = begin.saturating_add(full);
        if full <= now {
            return session.split_at(&part, at, horizon);
        }
        if full <= now.saturating_add(SPLIT_AHEAD) && self.expected != Some(part.number) {
            self.expected = Some(part.number);
            session.prepare_next();
            if let Some(at) = session.timeline.read(|t| t.running_ahead(at)) {
                session.ask_for_key_frames_at(part.number, at);
            }
        }
        session.move_horizon(&part, (begin, full))
    }
}

impl Session {
    /// Ends this part at recorded time `at`, or as soon after as nothing has gone into it that is behind.
    fn split_at(self: &Arc<Self>, part: &Part, at: Ns, horizon: Option<Ns>) -> bool {
        self.prepare_next();
        let asked = self.timeline.write(|t| {
            let earliest = self.now().min(horizon.unwrap_or(Ns::MAX));
            let at = t.running_ahead(at)?.max(earliest);
            (t.part() == part.number && t.split(at)).then_some(at)
        });
        if let Some(at) = asked {
            let bytes = part.size.expected();
            let at = time(at);
            gst::info!(CAT, id = &part.label, "Full at {at}: {bytes} bytes");
        }
        asked.is_some()
    }

    /// Lets the part take media up to where it may be full by then, `full` behind `begin`, but not too far ahead of what
    /// that is foreseen from.
    fn move_horizon(&self, part: &Part, (begin, full): (Ns, Ns)) -> bool {
        let fed = self
            .tracks
            .iter()
            .map(|track: &Track| track.fed(part.number));
        let fed = fed.filter(|fed| *fed < Ns::MAX / 2).max().unwrap_or(0);
        let step = (full.saturating_sub(fed) / 4).max(SIZE_STEP);
        let horizon = fed.saturating_add(step).min(full).saturating_add(begin);
        let near = fed.saturating_add(step / 2).min(full).saturating_add(begin);
        self.timeline.write(|t| {
            let moves = t.part() == part.number && !t.has_horizon_between(near, horizon);
            if moves {
                t.set_horizon(horizon);
            }
            moves
        })
    }
}
