//! The timeline of a recording: intervals of running time shared by all tracks.
//!
//! `start`, `pause`, `resume` and `stop` only record an instant here; each track applies it when its own buffers pass.
//! Nothing in here knows a clock, a lock or GStreamer.
//!
//! Two kinds of time, both in nanoseconds: *running time* of the tracks, and *recorded time*, which is running time
//! less what was cut, 0 at the first recorded instant.

mod seams;

pub use seams::Seam;

/// Nanoseconds, of running time or of recorded time.
pub type Ns = u64;

/// A recorded interval of running time, `[start, end)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// Running time of its start; while not `resolved`, the requested one.
    pub start: Ns,
    /// Running time of the cut that ends it, `None` while it is open.
    pub end: Option<Ns>,
    /// Recorded time of `start`. Invalid while not `resolved`.
    pub recorded: Ns,
    /// FALSE while the start may still move to a later instant (the keyframe of an encoded track, or autostart's
    /// earliest buffer), here or in an earlier interval.
    pub resolved: bool,
}

impl Interval {
    /// Recorded time of a running time inside this interval (clamped to it).
    pub fn recorded_at(&self, running: Ns) -> Ns {
        let running = running.clamp(self.start, self.end.unwrap_or(Ns::MAX));
        self.recorded.saturating_add(running - self.start)
    }

    /// Running time at which `max_duration` is reached and it has to end; none is known before its start is resolved.
    fn latest_end(&self, max_duration: Ns) -> Ns {
        if !self.resolved {
            return Ns::MAX;
        }
        let room = max_duration.saturating_sub(self.recorded);
        self.start.saturating_add(room)
    }

    /// Limits its end to the instant at which `max_duration` is reached.
    fn limit(&mut self, max_duration: Ns) {
        let latest = self.latest_end(max_duration);
        self.end = self.end.map(|end| end.min(latest));
    }

    /// Recorded time of its end, `None` while it is open.
    pub fn recorded_end(&self) -> Option<Ns> {
        self.end.map(|end| self.recorded_at(end))
    }
}

/// The result of [`Timeline::map`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// Outside every interval, or after the end.
    Drop,
    /// From `skip` after its start it is recorded at `recorded`, for `duration`.
    Keep {
        recorded: Ns,
        skip: Ns,
        duration: Ns,
    },
    /// It may belong to an interval whose start is not resolved yet.
    Pending,
}

/// The list of cuts.
#[derive(Debug, Clone)]
pub struct Timeline {
    intervals: Vec<Interval>,
    /// Running time of the stop.
    stopped: Option<Ns>,
    /// Maximum recorded time.
    max_duration: Ns,
    /// The end of each part but the last.
    seams: Vec<Seam>,
    /// The current part ends here or later: not resolved yet.
    split: Option<Ns>,
    /// Splits that were requested after that, or before the start of their interval is resolved; in order.
    later_splits: Vec<Ns>,
    /// Maximum recorded time per part.
    max_size_time: Ns,
    /// Recorded time up to which the current part accepts media, if limited.
    horizon: Option<Ns>,
    /// The furthest that has been, in the current part: media up to there may have passed.
    let_in: Ns,
    /// The initial horizon of a new part, relative to its start.
    horizon_step: Ns,
}

impl Timeline {
    /// A timeline whose first interval starts at `start`, or, if not `resolved`, at an instant not before `start`, to
    /// be set by [`Timeline::resolve`].
    pub fn new(start: Ns, resolved: bool) -> Self {
        let first = Interval {
            start,
            end: None,
            recorded: 0,
            resolved,
        };
        Timeline {
            intervals: vec![first],
            stopped: None,
            max_duration: Ns::MAX,
            seams: Vec::new(),
            split: None,
            later_splits: Vec::new(),
            max_size_time: Ns::MAX,
            horizon: None,
            let_in: 0,
            horizon_step: 0,
        }
    }

    /// Restarts the timeline at `start`.
    pub fn begin(&mut self, start: Ns, resolved: bool) {
        *self = Timeline {
            max_duration: self.max_duration,
            max_size_time: self.max_size_time,
            horizon: self.horizon,
            let_in: self.let_in,
            horizon_step: self.horizon_step,
            ..Timeline::new(start, resolved)
        };
    }

    /// Restarts the timeline in the past: with past intervals, each with its end, and the open one.
    pub fn begin_with(&mut self, past: impl IntoIterator<Item = (Ns, Option<Ns>)>) {
        self.stopped = None;
        self.intervals.clear();
        let mut recorded = 0;
        for (start, end) in past {
            let interval = Interval {
                start,
                end,
                recorded,
                resolved: true,
            };
            recorded = interval.recorded_end().unwrap_or(recorded);
            self.intervals.push(interval);
        }
    }

    /// Applies the cuts of `recording`, but continues after its end; recorded time equals running time here.
    ///
    /// `from` is the index of the interval that was open when the recording began, and `of` its index in the recording.
    pub fn follow(&mut self, from: usize, recording: &Timeline, of: usize) {
        let Some(first) = self.intervals.get(from).map(|interval| interval.start) else {
            return;
        };
        self.intervals.truncate(from);
        let followed = recording.intervals.get(of..).unwrap_or_default();
        for (number, interval) in followed.iter().enumerate() {
            let start = if number == 0 { first } else { interval.start };
            self.open(start);
            if let Some(last) = self.intervals.last_mut() {
                last.end = interval.end;
            }
        }
        let Some(stopped) = recording.stopped else {
            return;
        };
        match self.intervals.last_mut() {
            Some(last) if last.end == Some(stopped) => last.end = None,
            _ => self.open(stopped),
        }
    }

    /// Continues at `now`, or later, if the last interval has ended.
    pub fn go_on(&mut self, now: Ns) {
        let end = self.intervals.last().and_then(|last| last.end);
        if let Some(end) = end {
            self.open(now.max(end));
        }
    }

    /// Opens an interval in which recorded time equals running time.
    fn open(&mut self, start: Ns) {
        self.intervals.push(Interval {
            start,
            end: None,
            recorded: start,
            resolved: true,
        });
    }

    /// Limits the recording to `max_duration`.
    pub fn with_max_duration(mut self, max_duration: Ns) -> Self {
        self.max_duration = max_duration;
        self
    }

    fn latest_end(&self, interval: &Interval) -> Ns {
        interval.latest_end(self.max_duration)
    }

    /// The end of an interval, as far as known.
    fn end_of(&self, interval: &Interval) -> Ns {
        let latest = self.latest_end(interval);
        interval.end.unwrap_or(Ns::MAX).min(latest)
    }

    /// Running time at which `max_duration` is reached, once `progress` has reached it in an open interval.
    pub fn max_duration_reached(&self, progress: Ns) -> Option<Ns> {
        let last = self.intervals.last()?;
        let end = self.latest_end(last);
        let is_reached = self.stopped.is_none() && progress >= end;
        // A recording paused at that very instant is complete, too.
        (is_reached && last.end.is_none_or(|paused| paused == end)).then_some(end)
    }

    /// The intervals from index `first` on as applied by gates: an open one ends where `max_duration` is reached.
    pub fn intervals_from(&self, first: usize) -> impl Iterator<Item = Interval> + '_ {
        let ahead = self.intervals.get(first..).unwrap_or_default();
        ahead.iter().map(|interval| {
            let end = self.end_of(interval);
            Interval {
                end: (end != Ns::MAX).then_some(end),
                ..*interval
            }
        })
    }

    /// The intervals so far, in order.
    pub fn intervals(&self) -> &[Interval] {
        &self.intervals
    }

    /// Ends the open interval at `at`, and returns the cut as applied: never before the interval's own start. No effect
    /// without an open interval.
    pub fn pause(&mut self, at: Ns) -> Ns {
        let latest = self.intervals.last().map(|last| self.latest_end(last));
        match self.intervals.last_mut() {
            Some(last) if last.end.is_none() => {
                let at = at.max(last.start).min(latest.unwrap_or(Ns::MAX));
                last.end = Some(at);
                at
            }
            Some(last) => last.end.unwrap_or(at),
            None => at,
        }
    }

    /// Opens the next interval at `at`, and returns the cut as applied: never before the end of the previous interval.
    /// No effect after a stop.
    pub fn resume(&mut self, at: Ns, resolved: bool) -> Ns {
        let Some(last) = self.intervals.last() else {
            return at;
        };
        let Some(end) = last.end.filter(|_| self.stopped.is_none()) else {
            return last.start;
        };
        let at = at.max(end);
        let next = Interval {
            start: at,
            end: None,
            recorded: last.recorded_at(end),
            resolved: resolved && last.resolved,
        };
        self.intervals.push(next);
        at
    }

    /// Ends the recording at `at`, and returns the cut as applied. While paused, nothing is recorded up to it.
    pub fn stop(&mut self, at: Ns) -> Ns {
        let open = self.intervals.last().is_some_and(|last| last.end.is_none());
        let cut = self.pause(at);
        let at = if open { cut } else { at.max(cut) };
        *self.stopped.get_or_insert(at)
    }

    /// Whether nothing is recorded, and no interval waits for its start.
    pub fn is_paused(&self) -> bool {
        let last = self.intervals.last();
        last.is_some_and(|last| last.end.is_some()) && self.pending().is_none()
    }

    /// Whether [`Timeline::stop`] was called.
    pub fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// The running time of the stop.
    pub fn stopped_at(&self) -> Option<Ns> {
        self.stopped
    }

    /// Running time of the end of the last interval, once stopped.
    pub fn end(&self) -> Option<Ns> {
        self.stopped?;
        self.intervals.last().and_then(|last| last.end)
    }

    /// Index and requested running time of the first unresolved interval.
    pub fn pending(&self) -> Option<(usize, Ns)> {
        let index = self.intervals.iter().rposition(|i| i.resolved);
        let index = index.map_or(0, |index| index + 1);
        self.intervals.get(index).map(|i| (index, i.start))
    }

    /// Resolves the first pending interval to start at `at` (clamped to the interval). Later ones are resolved, too,
    /// while
    /// `then_resolved` is true: they have nothing of their own to wait for.
    pub fn resolve(&mut self, at: Ns, then_resolved: bool) -> Option<Ns> {
        let (index, _) = self.pending()?;
        let max_duration = self.max_duration;
        let recorded = match index.checked_sub(1).and_then(|i| self.intervals.get(i)) {
            Some(before) => before.recorded_end().unwrap_or(before.recorded),
            None => 0,
        };
        let (first, later) = self.intervals.get_mut(index..)?.split_first_mut()?;
        first.start = at.clamp(first.start, first.end.unwrap_or(Ns::MAX));
        first.recorded = recorded;
        first.resolved = true;
        first.limit(max_duration);
        let applied = first.start;
        let mut before = *first;
        for interval in later {
            interval.recorded = before.recorded_end().unwrap_or(before.recorded);
            interval.resolved = then_resolved;
            if !then_resolved {
                break;
            }
            interval.limit(max_duration);
            before = *interval;
        }
        if self.split.is_none() {
            self.place_later_splits();
        }
        Some(applied)
    }

    /// The first pending interval does not start before `at`: earlier media is not needed.
    pub fn defer(&mut self, at: Ns) {
        let pending = self.pending().map(|(index, _)| index);
        if let Some(interval) = pending.and_then(|index| self.intervals.get_mut(index)) {
            let latest = interval.end.unwrap_or(Ns::MAX);
            interval.start = interval.start.max(at).min(latest.max(interval.start));
        }
    }

    /// The intervals with a resolved start. The others have no media yet.
    fn resolved(&self) -> &[Interval] {
        let pending = self
            .pending()
            .map_or(self.intervals.len(), |(index, _)| index);
        self.intervals.get(..pending).unwrap_or_default()
    }

    /// The last interval that starts at or before a running time, and its index.
    fn interval_at(&self, running: Ns) -> Option<(usize, &Interval)> {
        let after = self.resolved().partition_point(|i| i.start <= running);
        let index = after.checked_sub(1)?;
        Some((index, self.intervals.get(index)?))
    }

    /// Recorded time at a running time, without the time cut before it.
    pub fn recorded_at(&self, running: Ns) -> Ns {
        self.interval_at(running)
            .map_or(0, |(_, interval)| interval.recorded_at(running))
    }

    /// Running time of a recorded time (at a cut: the end before it).
    pub fn running_at(&self, recorded: Ns) -> Ns {
        let after = self.intervals.partition_point(|i| i.recorded < recorded);
        match self.intervals.get(after.saturating_sub(1)) {
            Some(i) => {
                let running = i.start.saturating_add(recorded.saturating_sub(i.recorded));
                running.min(i.end.unwrap_or(Ns::MAX))
            }
            None => recorded,
        }
    }

    /// Total recorded time of the intervals that have ended.
    pub fn duration(&self) -> Ns {
        match self.resolved().last() {
            Some(last) => last.recorded_end().unwrap_or(last.recorded),
            None => 0,
        }
    }

    /// Maps media from `running` on for `duration`: its first recorded part. The gates walk the intervals themselves;
    /// this is the reference for them.
    pub fn map(&self, running: Ns, duration: Ns) -> Placement {
        let until = running.saturating_add(duration.max(1));
        let first = self
            .intervals
            .partition_point(|i| i.end.is_some_and(|end| end <= running));
        for interval in self.intervals_from(first) {
            if interval.start >= until {
                break;
            }
            if interval
                .end
                .is_some_and(|end| end <= running.max(interval.start))
            {
                continue;
            }
            if !interval.resolved {
                return Placement::Pending;
            }
            let from = running.max(interval.start);
            let to = until.min(interval.end.unwrap_or(Ns::MAX));
            return Placement::Keep {
                recorded: interval.recorded_at(from),
                skip: from - running,
                duration: (to - from).min(duration),
            };
        }
        Placement::Drop
    }
}

#[cfg(test)]
mod tests;
