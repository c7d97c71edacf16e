//! Boundaries between the parts of a recording: instants shared by all tracks, like cuts, at which nothing is dropped.

use super::{Interval, Ns, Timeline};

/// The end of a part, and the start of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seam {
    /// Running time. While paused: the cut that began the pause.
    pub running: Ns,
    /// Recorded time in the whole recording.
    pub recorded: Ns,
}

impl Timeline {
    /// Limits the recorded time per part.
    pub fn with_max_size_time(mut self, max_size_time: Ns) -> Self {
        self.max_size_time = max_size_time;
        self
    }

    /// Limits the media each part accepts at first to `step`, since its end may be decided later: see
    /// [`Timeline::set_horizon`].
    pub fn with_horizon(mut self, step: Ns) -> Self {
        self.set_horizon(step);
        self.horizon_step = step;
        self
    }

    /// Index of the current part, from 0.
    pub fn part(&self) -> usize {
        self.seams.len()
    }

    /// The end of this part, once known.
    pub fn end_of_part(&self, part: usize) -> Option<Seam> {
        self.seams.get(part).copied()
    }

    /// The start of this part, `None` for the first and for future parts.
    pub fn begin_of_part(&self, part: usize) -> Option<Seam> {
        self.end_of_part(part.checked_sub(1)?)
    }

    /// Recorded time at which this part begins.
    pub fn recorded_before(&self, part: usize) -> Ns {
        self.begin_of_part(part).map_or(0, |seam| seam.recorded)
    }

    /// The part that contains a recorded time.
    pub fn part_at(&self, recorded: Ns) -> usize {
        self.seams.partition_point(|seam| seam.recorded <= recorded)
    }

    /// Running time of the first recorded instant of this part, once known.
    pub fn first_instant_of(&self, part: usize) -> Option<Ns> {
        if part == 0 {
            return self.intervals.first().map(|first| first.start);
        }
        let begin = self.begin_of_part(part)?;
        let mut later = self.intervals.iter();
        let first = later.find(|i| i.end.is_none_or(|end| end > begin.running))?;
        first.resolved.then(|| first.start.max(begin.running))
    }

    /// Recorded duration of a part so far; see [`Timeline::duration`].
    pub fn duration_of(&self, part: usize) -> Ns {
        let end = self.end_of_part(part).map(|seam| seam.recorded);
        end.unwrap_or_else(|| self.duration())
            .saturating_sub(self.recorded_before(part))
    }

    /// Ends the current part at `at`, or at a later instant to be set by [`Timeline::resolve_split`]. In a pause, that is
    /// the cut that began the pause. Before the start of an interval is resolved, the split waits for that. FALSE if
    /// nothing has been recorded in the part, a split is pending already, or the recording has ended.
    pub fn split(&mut self, at: Ns) -> bool {
        self.stopped.is_none() && self.split.is_none() && self.place_split(at)
    }

    /// Ends the part after the pending split at `at` or later, unless that split turns out to be no earlier: then they
    /// are one. FALSE if no split is pending.
    pub fn split_later(&mut self, at: Ns) -> bool {
        let is_later = self.split.is_some_and(|split| split < at);
        if is_later && self.stopped.is_none() {
            self.later_splits.push(at);
        }
        is_later && self.stopped.is_none()
    }

    /// See [`Timeline::split`]; no split is pending.
    fn place_split(&mut self, at: Ns) -> bool {
        if self.pending().is_some_and(|(_, start)| at > start) {
            if self.later_splits.last().is_none_or(|last| *last < at) {
                self.later_splits.push(at);
            }
            return true;
        }
        if let Some(limit) = self.end_by_size_time().filter(|limit| *limit < at) {
            self.split = Some(limit);
            self.later_splits.push(at);
            return true;
        }
        let Some((index, interval)) = self.interval_at(at) else {
            return false;
        };
        if interval.recorded_at(at) <= self.recorded_before(self.part()) {
            return false;
        }
        let is_last = index + 1 == self.intervals.len();
        let end = self.end_of(interval);
        let continues = !is_last || end < self.latest_end(interval) && self.stopped.is_none();
        self.split = (at < end || continues).then_some(at);
        self.split.is_some()
    }

    /// Places the splits that had to wait for the pending split, or for the start of an interval.
    pub(super) fn place_later_splits(&mut self) {
        for at in std::mem::take(&mut self.later_splits) {
            if self.split.is_some() {
                self.later_splits.push(at);
            } else {
                self.place_split(at);
            }
        }
    }

    /// The end of the interval at this running time.
    pub fn end_at(&self, running: Ns) -> Option<Ns> {
        let (_, interval) = self.interval_at(running)?;
        let end = self.end_of(interval);
        (end < Ns::MAX).then_some(end)
    }

    /// Running time from which on it is unknown to which part media belongs.
    pub fn hold(&self) -> Option<Ns> {
        let limit = self.end_by_size_time();
        let known = self.split.into_iter().chain(limit);
        known.chain(self.horizon()).min()
    }

    /// Sets the recorded time up to which the part accepts media; later media waits.
    pub fn set_horizon(&mut self, recorded: Ns) {
        self.horizon = Some(recorded);
        self.let_in = self.let_in.max(recorded);
    }

    /// Running time of the horizon, if it is before the end.
    pub fn horizon(&self) -> Option<Ns> {
        self.before_end(self.horizon?)
    }

    /// Running time up to which media may have passed, if the horizon has been before the end.
    pub fn let_in(&self) -> Option<Ns> {
        self.horizon?;
        self.before_end(self.let_in)
    }

    fn before_end(&self, recorded: Ns) -> Option<Ns> {
        let at = self.running_ahead(recorded)?;
        let last = self.intervals.last()?;
        (self.split.is_none() && at < self.end_of(last)).then_some(at)
    }

    /// Moves the horizon to recorded time `to` if there is none or it is before `near`, and back to `most` if it is
    /// after that. Returns whether it has moved.
    pub fn move_horizon(&mut self, (near, to): (Ns, Ns), most: Ns) -> bool {
        let before = self.horizon;
        let at = before.filter(|at| *at >= near).unwrap_or(to);
        self.set_horizon(at.min(most));
        self.horizon != before
    }

    /// Running time at which a recorded time is reached, if no other cut follows.
    pub fn running_ahead(&self, recorded: Ns) -> Option<Ns> {
        let resolved = self.resolved();
        let has_it = |i: &&Interval| i.recorded_end().is_none_or(|end| recorded < end);
        let last = resolved.last().filter(|_| self.pending().is_none());
        let interval = resolved.iter().find(has_it).or(last)?;
        let ahead = recorded.saturating_sub(interval.recorded);
        Some(interval.start.saturating_add(ahead))
    }

    /// The instant at or after which the part is to end, while unresolved.
    pub fn pending_split(&self) -> Option<Ns> {
        self.split
    }

    /// Running time at which the current part reaches its maximum recorded time.
    pub fn end_by_size_time(&self) -> Option<Ns> {
        let begun = self.recorded_before(self.part());
        let at = self.running_ahead(begun.saturating_add(self.max_size_time))?;
        let end = self.end_of(self.intervals.last()?);
        (self.split.is_none() && at < end).then_some(at)
    }

    /// Starts a split if the part has reached its maximum recorded time at `progress`.
    pub fn split_by_size_time(&mut self, progress: Ns) -> bool {
        self.split = self
            .split
            .or_else(|| self.end_by_size_time().filter(|at| *at <= progress));
        self.split.is_some()
    }

    /// The pending split does not happen before `at`.
    pub fn defer_split(&mut self, at: Ns) {
        if let Some(split) = &mut self.split {
            *split = at.max(*split);
        }
    }

    /// Resolves the pending split to `at` (not before it was requested, nor after the interval's end). `None` if
    /// nothing is recorded after it: then the part does not end, and is the last.
    pub fn resolve_split(&mut self, at: Ns) -> Option<Seam> {
        let asked = self.split.take()?;
        let (index, interval) = self.interval_at(asked)?;
        let end = self.end_of(interval);
        let at = at.max(asked).min(end);
        let is_last = index + 1 == self.intervals.len();
        if at >= end && is_last && (self.stopped.is_some() || at >= self.latest_end(interval)) {
            self.cancel_split();
            return None;
        }
        let seam = Seam {
            running: at,
            recorded: interval.recorded_at(at),
        };
        self.begin_part(seam);
        self.place_later_splits();
        Some(seam)
    }

    /// Resolves the pending split if it is in a pause. `None` if it is not.
    pub fn resolve_split_in_pause(&mut self) -> Option<Seam> {
        let asked = self.split?;
        let end = self.end_at(asked).filter(|end| *end <= asked)?;
        self.resolve_split(end)
    }

    /// Ends the current part at a recorded time that its tracks have already passed, even if the recording has been
    /// stopped since. `None` if nothing is recorded in the part before that, or after it.
    pub fn split_back(&mut self, recorded: Ns) -> Option<Seam> {
        let is_over = self.stopped.is_some() && recorded >= self.duration();
        if is_over || recorded <= self.recorded_before(self.part()) {
            return None;
        }
        let seam = Seam {
            running: self.running_at(recorded),
            recorded,
        };
        self.begin_part(seam);
        Some(seam)
    }

    fn begin_part(&mut self, seam: Seam) {
        self.seams.push(seam);
        let horizon = seam.recorded.saturating_add(self.horizon_step);
        self.horizon = self.horizon.map(|_| horizon);
        self.let_in = horizon;
    }

    /// Cancels the pending split.
    pub fn cancel_split(&mut self) {
        self.split = None;
        self.later_splits.clear();
        self.max_size_time = Ns::MAX;
        self.horizon = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_split_waits_for_its_instant() {
        let mut timeline = Timeline::new(100, true);
        assert!(!timeline.split(100), "nothing is recorded yet");
        assert!(timeline.split(110));
        assert!(!timeline.split(111), "they are one");
        assert_eq!(timeline.first_instant_of(1), None);
        assert_eq!(timeline.hold(), Some(110));
        timeline.defer_split(115);
        let seam = timeline.resolve_split(120).unwrap();
        assert_eq!((seam.running, seam.recorded), (120, 20));
        assert_eq!((timeline.part(), timeline.hold()), (1, None));
        assert!(!timeline.split(120), "nothing is recorded since");
        timeline.stop(150);
        assert_eq!((timeline.duration_of(0), timeline.duration_of(1)), (20, 30));
    }

    #[test]
    fn splits_before_the_same_frame_are_one() {
        let mut timeline = Timeline::new(100, true);
        assert!(!timeline.split_later(105), "none is pending");
        assert!(timeline.split(110));
        for at in [112, 130, 131, 155] {
            assert!(timeline.split_later(at));
        }
        assert!(!timeline.split_later(110), "it is the same");
        // Frames begin at 120, 140 and 160.
        assert_eq!(timeline.resolve_split(120).unwrap().running, 120);
        assert_eq!(timeline.pending_split(), Some(130));
        assert_eq!(timeline.hold(), Some(130));
        assert_eq!(timeline.resolve_split(140).unwrap().running, 140);
        assert_eq!(timeline.resolve_split(160).unwrap().running, 160);
        assert_eq!((timeline.pending_split(), timeline.part()), (None, 3));
    }

    #[test]
    fn a_part_ends_before_where_its_tracks_are() {
        let mut timeline = Timeline::new(100, true);
        timeline.pause(130);
        timeline.resume(200, true);
        assert_eq!(timeline.split_back(0), None, "the part would be empty");
        let seam = timeline.split_back(25).unwrap();
        assert_eq!((seam.running, seam.recorded), (125, 25));
        assert_eq!(timeline.split_back(25), None, "the part would be empty");
        assert_eq!(timeline.first_instant_of(1), Some(125));
        assert!(timeline.split(210));
        let seam = timeline.split_back(30).unwrap();
        assert_eq!((seam.running, timeline.pending_split()), (130, Some(210)));
        assert_eq!(timeline.resolve_split(211).unwrap().recorded, 41);
        timeline.stop(220);
        assert_eq!(
            timeline.split_back(50),
            None,
            "the next part would be empty"
        );
        assert_eq!(timeline.split_back(45).unwrap().running, 215);
        let durations = [0, 1, 2, 3, 4].map(|part| timeline.duration_of(part));
        assert_eq!(durations, [25, 5, 11, 4, 5]);
    }

    #[test]
    fn splits_within_and_after_a_pause() {
        let mut timeline = Timeline::new(100, true);
        assert!(timeline.split(120));
        timeline.pause(130);
        assert!(timeline.split_later(150));
        timeline.resume(200, true);
        assert!(timeline.split_later(220));
        let mut other = timeline.clone();
        // The first ends before the pause, so that the second comes with the resume.
        assert_eq!(timeline.resolve_split(125).unwrap().running, 125);
        assert_eq!(timeline.pending_split(), Some(150));
        let seam = timeline.resolve_split_in_pause().unwrap();
        assert_eq!(
            (seam.recorded, timeline.first_instant_of(2)),
            (30, Some(200))
        );
        assert_eq!(timeline.pending_split(), Some(220));
        // It ends with the pause: the second does nothing.
        assert_eq!(other.resolve_split(190).unwrap().running, 130);
        assert_eq!(other.pending_split(), Some(220));
        other.stop(210);
        assert_eq!(other.resolve_split(220), None);
        assert_eq!(other.part(), 1);
    }

    #[test]
    fn after_a_split_in_a_pause_the_next_part_begins_at_the_resume() {
        let mut timeline = Timeline::new(100, true);
        timeline.pause(130);
        assert!(timeline.split(150));
        assert_eq!(timeline.hold(), Some(150));
        assert_eq!(timeline.resolve_split_in_pause().unwrap().running, 130);
        assert!(!timeline.split(160), "they are one");
        assert_eq!(timeline.resolve_split_in_pause(), None);
        assert_eq!(timeline.end_of_part(0).unwrap().running, 130);
        assert_eq!(timeline.first_instant_of(1), None);
        timeline.resume(200, true);
        assert_eq!(timeline.first_instant_of(1), Some(200));
        timeline.stop(210);
        assert_eq!((timeline.duration_of(0), timeline.duration_of(1)), (30, 10));
    }

    #[test]
    fn splits_wait_until_the_start_is_resolved() {
        let mut timeline = Timeline::new(0, false);
        for at in [90, 110, 140, 155] {
            assert!(timeline.split(at));
        }
        assert_eq!((timeline.pending_split(), timeline.hold()), (None, None));
        timeline.pause(150);
        assert!(timeline.split(160));
        timeline.resume(200, true);
        assert!(timeline.split(230));
        assert!(timeline.split(250));
        timeline.resolve(100, false);
        assert_eq!(
            timeline.pending_split(),
            Some(110),
            "90 is before the start"
        );
        assert_eq!(timeline.resolve_split(120).unwrap().recorded, 20);
        assert_eq!(timeline.resolve_split(141).unwrap().recorded, 41);
        assert_eq!(timeline.resolve_split_in_pause().unwrap().recorded, 50);
        assert_eq!((timeline.pending_split(), timeline.part()), (None, 3));
        timeline.stop(260);
        timeline.resolve(240, true);
        assert_eq!(timeline.pending_split(), Some(250), "230 is in the pause");
        assert_eq!(timeline.resolve_split(252).unwrap().recorded, 62);
        assert_eq!(timeline.duration_of(4), 8);
    }

    #[test]
    fn splits_before_a_stop_are_not_lost() {
        let mut timeline = Timeline::new(100, true);
        assert!(timeline.split(110));
        assert!(timeline.split_later(130));
        timeline.stop(150);
        assert!(!timeline.split_later(140));
        assert_eq!(timeline.resolve_split(120).unwrap().running, 120);
        assert_eq!(timeline.resolve_split(140).unwrap().running, 140);
    }

    #[test]
    fn a_split_after_the_maximum_duration_of_a_part_comes_second() {
        let mut timeline = Timeline::new(0, false).with_max_size_time(50);
        assert!(timeline.split(160));
        timeline.pause(130);
        timeline.resume(150, true);
        timeline.resolve(100, true);
        assert_eq!(timeline.hold(), Some(160), "30 and 10 are no more than 50");
        assert_eq!(timeline.resolve_split(160).unwrap().recorded, 40);
        assert_eq!(timeline.hold(), Some(210));
        assert!(timeline.split(230));
        assert_eq!(timeline.pending_split(), Some(210));
        assert_eq!(timeline.resolve_split(210).unwrap().recorded, 90);
        assert_eq!(timeline.pending_split(), Some(230));
    }

    #[test]
    fn the_maximum_duration_is_reached_before_a_pause() {
        let mut timeline = Timeline::new(100, true).with_max_size_time(20);
        timeline.pause(150);
        timeline.resume(200, true);
        assert_eq!(timeline.hold(), Some(120));
        assert!(timeline.split_by_size_time(120));
        assert_eq!(timeline.resolve_split(120).unwrap().recorded, 20);
        assert_eq!(timeline.hold(), Some(140));
        assert!(timeline.split_by_size_time(200));
        assert_eq!(timeline.resolve_split(140).unwrap().recorded, 40);
        assert_eq!(timeline.hold(), Some(210));
    }

    #[test]
    fn a_pause_comes_between_a_split_and_its_instant() {
        let mut timeline = Timeline::new(100, true);
        assert!(timeline.split(120));
        timeline.pause(130);
        timeline.resume(200, true);
        let mut other = timeline.clone();
        let seam = timeline.resolve_split(125).unwrap();
        assert_eq!((seam.running, seam.recorded), (125, 25));
        let seam = other.resolve_split(190).unwrap();
        assert_eq!((seam.running, seam.recorded), (130, 30));
        assert_eq!(other.first_instant_of(1), Some(200));
    }

    #[test]
    fn nothing_is_recorded_after_the_end() {
        let mut timeline = Timeline::new(100, true);
        assert!(timeline.split(120));
        timeline.stop(130);
        assert_eq!(timeline.resolve_split(130), None);
        let mut timeline = Timeline::new(100, true).with_max_duration(25);
        assert!(timeline.split(120));
        assert_eq!(timeline.resolve_split(140), None);
        assert!(!timeline.split(126));
        // The limit was reached, but no frame has come since at which the next part could begin.
        let mut timeline = Timeline::new(100, true).with_max_size_time(50);
        timeline.stop(160);
        assert!(timeline.split_by_size_time(160));
        assert_eq!(timeline.resolve_split(160), None);
        assert!(!timeline.split_by_size_time(160));
        assert_eq!(timeline.hold(), None);
    }

    #[test]
    fn parts_do_not_exceed_their_limits() {
        let mut timeline = Timeline::new(100, true).with_max_size_time(50);
        timeline.pause(130);
        assert_eq!(timeline.hold(), None);
        timeline.resume(200, true);
        assert_eq!(timeline.hold(), Some(220));
        assert!(!timeline.split_by_size_time(219));
        assert!(timeline.split_by_size_time(220));
        let seam = timeline.resolve_split(223).unwrap();
        assert_eq!((seam.running, seam.recorded), (223, 53));
        assert_eq!(timeline.hold(), Some(273));
        timeline.stop(273);
        assert_eq!(timeline.hold(), None);
    }

    #[test]
    fn media_beyond_the_limit_waits_until_the_limit_moves() {
        let mut timeline = Timeline::new(100, true).with_horizon(50);
        assert_eq!(timeline.hold(), Some(150));
        timeline.set_horizon(80);
        assert_eq!(timeline.hold(), Some(180));
        assert!(!timeline.move_horizon((75, 90), 95));
        assert!(timeline.move_horizon((85, 90), 95));
        assert!(timeline.move_horizon((60, 70), 80));
        assert_eq!(timeline.hold(), Some(180));
        assert_eq!(timeline.let_in(), Some(190), "passed before that");
        assert!(timeline.split(170));
        assert_eq!(timeline.hold(), Some(170));
        timeline.resolve_split(175);
        assert_eq!(timeline.hold(), Some(225), "of the next part");
        timeline.pause(190);
        timeline.resume(300, true);
        assert_eq!(timeline.hold(), Some(335));
        timeline.stop(330);
        assert_eq!(timeline.hold(), None);
    }

    proptest! {
        #[test]
        fn every_recorded_instant_is_in_one_part(
            steps in prop::collection::vec((0u8..8, 1u64..50), 0..60),
            max_size_time in prop::sample::select(vec![7u64, 60, Ns::MAX]),
        ) {
            let mut timeline = Timeline::new(100, false).with_max_size_time(max_size_time);
            let mut now = 100;
            for (step, later) in steps {
                now += later;
                match step {
                    0 => { timeline.pause(now); }
                    1 => { timeline.resume(now, later % 2 == 0); }
                    2 => { let _ = timeline.split(now) || timeline.split_later(now); }
                    3 => { timeline.resolve_split(now); }
                    4 => timeline.defer_split(now),
                    5 => { timeline.resolve(now - later / 2, false); }
                    6 => { timeline.resolve_split_in_pause(); }
                    _ => while timeline.split_by_size_time(now) && timeline.hold().is_some_and(|at| at <= now) {
                        let hold = timeline.hold().unwrap_or(now);
                        timeline.resolve_split(hold);
                    },
                }
            }
            timeline.stop(now);
            while timeline.resolve(now, true).is_some() {}
            while timeline.resolve_split(now).is_some() {}
            let parts = 0..=timeline.part();
            let durations: Vec<Ns> = parts.clone().map(|part| timeline.duration_of(part)).collect();
            prop_assert_eq!(durations.iter().sum::<Ns>(), timeline.duration());
            prop_assert!(durations.iter().rev().skip(1).all(|duration| *duration > 0), "{:?}", durations);
        }
    }
}
