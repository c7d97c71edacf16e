//! Size limits of parts. The end is forecast, so that all tracks enter the next part at the same instant.

use super::{Coordinator, SIZE_STEP, SPLIT_AHEAD};
use crate::{
    log::{CAT, time},
    model::{EndReason, timeline::Ns},
    session::{Session, part::Part, track::Track},
};
use std::sync::Arc;

impl Coordinator {
    /// Ends the current part where it reaches its size limit, and lets media in up to there. TRUE if tracks may
    /// advance, or have to end a part.
    pub(super) fn resolve_size(&mut self, session: &Arc<Session>, progress: Ns) -> bool {
        let Some(part) = session.part() else {
            return false;
        };
        let (settings, size) = (&session.settings, &part.size);
        // If the disk has no more space than has to stay free, the recording ends.
        let room = Some(part.room()).filter(|_| settings.ring.free > 0);
        let (Some((mut tracks, budget)), room) = (
            size.budget(settings.part_limit().or(room)),
            room.map_or(u64::MAX, |room| size.within(room)),
        ) else {
            return false;
        };
        for (bytes, track) in tracks.iter_mut().zip(&session.tracks) {
            bytes.has_ended = track.is_closed_for(part.number);
        }
        if self.sized != Some(part.number) {
            self.sized = Some(part.number);
            self.forecast.begin_part();
        }
        let used_up = self.forecast.full_at(&tracks, room);
        let full = self.forecast.full_at(&tracks, budget).min(used_up);
        let (on, begin, now, let_in) = session.timeline.read(|t| {
            let begin = t.recorded_before(part.number);
            let now = t.recorded_at(progress).saturating_sub(begin);
            (t.part(), begin, now, t.let_in())
        });
        if on != part.number {
            return true;
        }
        // A live track that has ended may be ahead of the clock.
        let ended = session.tracks.iter().zip(&tracks);
        let ended = ended.filter(|(_, bytes)| bytes.has_ended);
        let ended = ended.map(|(track, _)| track.fed(part.number));
        let passed = ended.filter(|at| *at < Ns::MAX / 2).max().unwrap_or(0);
        let at = begin.saturating_add(full.max(passed));
        let reached = tracks.iter().map(|track| track.reached).max().unwrap_or(0);
        let (consumed, step) = session.measured(&part, (full, reached), now);
        // Media may have arrived that is far ahead of the encoders.
        let now = now.min(consumed.saturating_add(step));
        if full <= now && full == used_up {
            session.stop_at(&part, at, let_in);
            return true;
        }
        if full <= now {
            // If no other part can follow, this one takes everything.
            return session.split_at(&part, at, let_in)
                || session.move_horizon(&part, (begin, Ns::MAX), (consumed, step));
        }
        if full < used_up
            && full <= now.saturating_add(SPLIT_AHEAD)
            && self.expected != Some(part.number)
        {
            self.expected = Some(part.number);
            session.prepare_next();
            if let Some(at) = session.timeline.read(|t| t.running_ahead(at)) {
                session.ask_for_key_frames_at(part.number, at);
            }
        }
        session.move_horizon(&part, (begin, full), (consumed, step))
    }
}

impl Session {
    /// Ends this part at recorded time `at`, or at the earliest instant after that which no media has passed.
    fn split_at(self: &Arc<Self>, part: &Part, at: Ns, let_in: Option<Ns>) -> bool {
        self.prepare_next();
        let asked = self.timeline.write(|t| {
            let earliest = self.now().min(let_in.unwrap_or(Ns::MAX));
            // While a resume waits for its start, nothing more goes into the part.
            let latest = t.pending().map_or(Ns::MAX, |(_, start)| start);
            let at = t.running_ahead(at).unwrap_or(latest).max(earliest);
            let at = at.min(latest);
            (t.part() == part.number && t.split(at)).then_some(at)
        });
        if let Some(at) = asked {
            let bytes = part.size.expected();
            let at = time(at);
            gst::info!(CAT, id = &part.label, "Maximum size at {at}: {bytes} bytes");
        }
        asked.is_some()
    }

    /// Ends the recording at recorded time `at`, or as soon after as possible, to keep the required disk space free.
    fn stop_at(&self, part: &Part, at: Ns, let_in: Option<Ns>) {
        let least = self.settings.ring.free;
        gst::info!(
            CAT,
            id = &part.label,
            "Ends: min-free-space is {least} bytes"
        );
        self.stop_because(EndReason::MinFreeSpace, |t| {
            let earliest = self.now().min(let_in.unwrap_or(Ns::MAX));
            t.running_ahead(at).unwrap_or(0).max(earliest)
        });
        self.timeline.write(|t| t.set_horizon(Ns::MAX));
    }

    /// Up to where the encoders have taken the media of this part, and how much more may go in before its size is
    /// forecast again: it is full at `full`, by what came out of the encoders up to `reached`. `now`: how far media
    /// has arrived.
    fn measured(&self, part: &Part, (full, reached): (Ns, Ns), now: Ns) -> (Ns, Ns) {
        let tracks = self.tracks.iter();
        let consumed = tracks.map(|track: &Track| track.consumed(part.number));
        let consumed = consumed.filter(|at| *at < Ns::MAX / 2).max().unwrap_or(now);
        // By no more than what has been measured.
        let step = (full.saturating_sub(consumed) / 4).min(reached);
        (consumed, step.max(SIZE_STEP))
    }

    /// Moves the horizon up to where the part may be full, `full` after `begin`, but by no more than a step.
    fn move_horizon(
        &self,
        part: &Part,
        (begin, full): (Ns, Ns),
        (consumed, step): (Ns, Ns),
    ) -> bool {
        let full = begin.saturating_add(full);
        let ahead = |step: Ns| {
            begin
                .saturating_add(consumed)
                .saturating_add(step)
                .min(full)
        };
        let (near, horizon) = (ahead(step / 2), ahead(step));
        self.timeline
            .write(|t| t.part() == part.number && t.move_horizon((near, horizon), full))
    }
}
