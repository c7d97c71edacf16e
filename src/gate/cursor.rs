//! The remaining part of the timeline for a track.

use crate::model::timeline::{Interval, Ns, Seam, Timeline};
use smallvec::SmallVec;

/// A track's own copy of the intervals it has not passed yet, so that the cost per buffer does not grow with the number
/// of cuts. It ends with the track's current part.
#[derive(Debug, Default)]
pub struct IntervalCursor {
    cursor: usize,
    ahead: SmallVec<[Interval; 4]>,
    part: usize,
    begin: Option<Seam>,
    end: Option<Seam>,
}

impl IntervalCursor {
    /// Copies changes of `timeline`.
    pub fn refresh(&mut self, timeline: &Timeline) {
        self.begin = timeline.begin_of_part(self.part);
        self.end = timeline.end_of_part(self.part);
        self.ahead.clear();
        let begin = self.begin.map_or(0, |seam| seam.running);
        let end = self.end.map(|seam| seam.running);
        for interval in timeline.intervals_from(self.cursor) {
            if end.is_some_and(|end| interval.start >= end) {
                break;
            }
            let start = interval.start.max(begin);
            let recorded = interval.recorded.saturating_add(start - interval.start);
            let reaches_over = end.filter(|end| interval.end.is_none_or(|other| other > *end));
            self.ahead.push(Interval {
                start,
                recorded,
                end: reaches_over.or(interval.end),
                ..interval
            });
        }
    }

    /// The interval the track is in or before; `None` while paused after the last one.
    pub fn current(&self) -> Option<&Interval> {
        self.ahead.first()
    }

    /// The current interval, if its start is resolved.
    pub fn resolved(&self) -> Option<Interval> {
        self.current().filter(|i| i.resolved).copied()
    }

    /// Index of the interval returned by [`IntervalCursor::current`].
    pub fn cursor(&self) -> usize {
        self.cursor
    }

    /// Advances past the current interval.
    pub fn leave(&mut self) {
        if !self.ahead.is_empty() {
            self.ahead.remove(0);
            self.cursor += 1;
        }
    }

    /// The first instant from which media is, or may be, recorded: the start of the current interval, or `safe_until`
    /// if none is known yet.
    pub fn next_start(&self, safe_until: Ns) -> Ns {
        self.current().map_or(safe_until, |i| i.start)
    }

    /// Index of the track's current part.
    pub fn part(&self) -> usize {
        self.part
    }

    /// End of the current part, once known.
    pub fn end_of_part(&self) -> Option<Seam> {
        self.end
    }

    /// Whether the current interval continues in the next part without a cut.
    pub fn ends_at_seam(&self) -> bool {
        let end = self.current().and_then(|interval| interval.end);
        end.is_some() && end == self.end.map(|seam| seam.running)
    }

    /// Whether the current interval continues from the previous part without a cut.
    pub fn begins_at_seam(&self) -> bool {
        let start = self.current().map(|interval| interval.start);
        start.is_some() && start == self.begin.map(|seam| seam.running)
    }

    /// Whether the track's part is complete: further input belongs to the next one.
    pub fn is_part_over(&self) -> bool {
        self.ahead.is_empty() && self.end.is_some()
    }

    /// Enters the next part, which begins before the track's position; returns the recorded time at which it begins.
    pub fn move_to_next_part(&mut self, timeline: &Timeline) -> Ns {
        self.part += 1;
        self.refresh(timeline);
        timeline.recorded_before(self.part)
    }

    /// Advances to the next part and returns the recorded time at which it begins.
    pub fn enter_next_part(&mut self, timeline: &Timeline) -> Ns {
        let begin = self.end.map_or(0, |seam| seam.running);
        self.part += 1;
        let intervals = timeline.intervals();
        self.cursor = intervals.partition_point(|i| i.end.is_some_and(|end| end <= begin));
        self.refresh(timeline);
        timeline.recorded_before(self.part)
    }
}
