//! The part of the timeline that a track still has before it.

use crate::model::timeline::{Interval, Ns, Timeline};
use smallvec::SmallVec;

/// A track's own copy of the intervals it has not left behind, so that a buffer costs the same
/// after ten thousand cuts as after none.
#[derive(Debug, Default)]
pub struct IntervalCursor {
    cursor: usize,
    ahead: SmallVec<[Interval; 4]>,
}

impl IntervalCursor {
    /// Copies what has changed in `timeline`.
    pub fn refresh(&mut self, timeline: &Timeline) {
        self.ahead.clear();
        self.ahead.extend(timeline.intervals_from(self.cursor));
    }

    /// The interval that the track is in or before; `None` while paused after the last one.
    pub fn current(&self) -> Option<&Interval> {
        self.ahead.first()
    }

    /// The same, if its start is resolved.
    pub fn resolved(&self) -> Option<Interval> {
        self.current().filter(|i| i.resolved).copied()
    }

    /// Number of the interval [`IntervalCursor::current`] gives.
    pub fn cursor(&self) -> usize {
        self.cursor
    }

    /// Leaves the current interval behind.
    pub fn leave(&mut self) {
        if !self.ahead.is_empty() {
            self.ahead.remove(0);
            self.cursor += 1;
        }
    }

    /// The first instant from which on media is (or may be) recorded: the start of the current
    /// interval, or `safe_until` if none is known yet.
    pub fn next_start(&self, safe_until: Ns) -> Ns {
        self.current().map_or(safe_until, |i| i.start)
    }
}
