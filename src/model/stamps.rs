//! Decides which timestamps of a track to trust, and the offset of the others.
//!
//! A stream may have a single wrong timestamp (of one buffer from a jitter buffer), or wrong ones from some point on (a
//! camera's clock was set, a source counts from 0 although it starts late). Only the following buffers can tell these
//! cases apart, so a buffer with an implausible timestamp waits for them:
//!
//! - a buffer whose timestamp deviates while its neighbours' do not is placed between them;
//! - timestamps that continue after a step are trusted, if possible;
//! - if not, because they run ahead of the clock by more than may be queued, lag behind it by more than other tracks
//!   would wait, or step back before recorded media, they are shifted once, to their arrival time less the latency.
//!
//! Pure: time is an argument. All timestamps are running time.

use super::timeline::Ns;
use smallvec::SmallVec;
use std::collections::VecDeque;

/// A live timestamp ahead of the clock and of the previous one by no more than this is plausible.
const LIVE_STEP: Ns = 100_000_000;
/// Without a clock for comparison, only a larger step is implausible; and neither reordering nor a network's clock
/// moves timestamps back further than this.
const STEP: Ns = 1_000_000_000;
/// How long late or backward timestamps may take to catch up, as after a network stall.
const CATCH_UP: Ns = 500_000_000;
/// Maximum number of buffers waiting for a decision.
const MOST_WAITING: usize = 1024;
/// Maximum plausible gap (six hours): beyond it, timestamps are broken.
pub const LONGEST_HOLE: Ns = 6 * 3_600_000_000_000;

/// Timestamp and duration of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Running time of its start.
    pub running: Ns,
    /// Duration, 0 if unknown.
    pub duration: Ns,
    /// PTS less DTS: timestamps may go back by this much.
    pub lead: Ns,
}

impl Stamp {
    fn end(&self) -> Ns {
        self.running.saturating_add(self.duration)
    }

    /// Increases from buffer to buffer: running time less `lead`.
    fn order(&self) -> Ns {
        self.running.saturating_sub(self.lead)
    }

    fn moved(&self, by: i64) -> Self {
        let running = self.running.saturating_add_signed(by);
        Stamp { running, ..*self }
    }

    fn at(&self, running: Ns) -> Self {
        Stamp { running, ..*self }
    }
}

/// Arrival time of a buffer, and the latency to judge its timestamp with.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Running time of the clock, for a live stream; `None` otherwise, or without a clock.
    pub now: Option<Ns>,
    /// Latency of a live stream.
    pub latency: Ns,
}

/// The result of a decision.
#[derive(Debug)]
pub struct Decided<T> {
    /// Placed buffers in order: running time and item.
    pub placed: SmallVec<[(Ns, T); 2]>,
    /// Offset applied to all timestamps from the first of `placed` on.
    pub shifted: Option<i64>,
    /// Items too far ahead to be queued, which are dropped.
    pub too_early: SmallVec<[T; 1]>,
}

impl<T> Default for Decided<T> {
    fn default() -> Self {
        Decided {
            placed: SmallVec::new(),
            shifted: None,
            too_early: SmallVec::new(),
        }
    }
}

/// What is implausible about the waiting timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// Ahead, but possible.
    Ahead,
    /// Further ahead of the clock than may be queued, or of the previous buffer than any stream intends.
    TooFar,
    /// Backwards.
    Back,
    /// Behind the clock.
    Late,
}

impl Doubt {
    /// Whether both deviate in the same direction.
    fn is_like(self, other: Doubt) -> bool {
        let ahead = |doubt| matches!(doubt, Doubt::Ahead | Doubt::TooFar);
        // A backward timestamp may also be late.
        ahead(self) == ahead(other) && !(self == Doubt::Back && other == Doubt::Late)
    }
}

#[derive(Debug)]
struct Waiting<T> {
    /// As received.
    stamp: Stamp,
    arrival: Arrival,
    item: T,
}

/// The last placed buffer.
#[derive(Debug, Clone, Copy)]
struct Last {
    order: Ns,
    end: Ns,
    /// Whether it has a duration, so that the next is expected at its end.
    measured: bool,
}

/// The timestamps of one track, with their items.
#[derive(Debug)]
pub struct Stamps<T> {
    /// How far media may be ahead of the clock, or behind it beyond the latency.
    limit: Ns,
    shift: i64,
    last: Option<Last>,
    /// Running time at which the recording begins, for comparison with the first timestamp.
    begin: Option<Ns>,
    /// The clock's running time at the last implausible buffer.
    now: Option<Ns>,
    /// Too much has arrived early: everything is dropped until half of it has passed.
    full: bool,
    doubt: Doubt,
    waiting: VecDeque<Waiting<T>>,
}

fn difference(to: Ns, from: Ns) -> i64 {
    let by = i128::from(to) - i128::from(from);
    by.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

impl<T> Stamps<T> {
    /// For a stream whose media may be queued for `limit`.
    pub fn new(limit: Ns) -> Self {
        Stamps {
            limit,
            shift: 0,
            last: None,
            begin: None,
            now: None,
            full: false,
            doubt: Doubt::Ahead,
            waiting: VecDeque::new(),
        }
    }

    /// The offset added to timestamps.
    pub fn shift(&self) -> i64 {
        self.shift
    }

    /// Number of buffers waiting for a decision.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether there is no earlier timestamp to compare with.
    pub fn is_fresh(&self) -> bool {
        self.last.is_none() && self.begin.is_none()
    }

    /// Sets the running time at which the recording begins.
    pub fn begin_at(&mut self, running: Ns) {
        self.begin = Some(running);
    }

    /// The position of a buffer, if its timestamp is plausible and nothing waits.
    pub fn plain(&mut self, stamp: Stamp, arrival: Arrival) -> Option<Ns> {
        if !self.waiting.is_empty() || self.full {
            return None;
        }
        let stamp = stamp.moved(self.shift);
        match self.judge(&stamp, arrival) {
            None => {
                self.note(&stamp);
                Some(stamp.running)
            }
            Some(_) => None,
        }
    }

    fn note(&mut self, stamp: &Stamp) {
        let end = stamp.end().saturating_sub(stamp.lead);
        let (order, end) = match self.last {
            Some(last) => (stamp.order().max(last.order), end.max(last.end)),
            None => (stamp.order(), end),
        };
        self.last = Some(Last {
            order,
            end,
            measured: stamp.duration > 0,
        });
    }

    fn judge(&self, stamp: &Stamp, arrival: Arrival) -> Option<Doubt> {
        let ahead_of_last = |step| {
            self.last
                .is_some_and(|last| stamp.order() > last.end.saturating_add(step))
        };
        let Some(now) = arrival.now else {
            // A non-live stream may go back, too; recorded media is not changed.
            let over = self.over().saturating_add(LONGEST_HOLE);
            return match ahead_of_last(STEP) {
                _ if stamp.order() > over && !self.is_fresh() => Some(Doubt::TooFar),
                true => Some(Doubt::Ahead),
                false => None,
            };
        };
        if stamp.running > now.saturating_add(self.limit) {
            return Some(Doubt::TooFar);
        }
        if stamp.running > now.saturating_add(LIVE_STEP) && ahead_of_last(LIVE_STEP) {
            return Some(Doubt::Ahead);
        }
        if let Some(last) = self.last
            && stamp.order().saturating_add(STEP) < last.order
        {
            return Some(Doubt::Back);
        }
        let due = stamp.end().saturating_add(arrival.latency);
        (now > due.saturating_add(self.limit)).then_some(Doubt::Late)
    }

    /// End of the placed media.
    fn over(&self) -> Ns {
        self.last.map_or(self.begin.unwrap_or(0), |last| last.end)
    }

    /// Takes a buffer that [`Stamps::plain`] could not place.
    pub fn push(&mut self, stamp: Stamp, arrival: Arrival, item: T) -> Decided<T> {
        let mut decided = Decided::default();
        self.now = arrival.now;
        let moved = stamp.moved(self.shift);
        let doubt = self.judge(&moved, arrival);
        if let Some(newest) = self.waiting.back() {
            let newest = newest.stamp.moved(self.shift);
            let goes_on = moved.order().saturating_add(STEP / 2) >= newest.order();
            let is_behind = moved.order() >= newest.order();
            let alike = doubt.is_some_and(|doubt| self.doubt.is_like(doubt));
            let goes_on = goes_on && (alike || doubt.is_none());
            match doubt {
                // An undisputed step: the following timestamps continue after it.
                Some(_) if goes_on && self.doubt == Doubt::Ahead => self.believe(&mut decided),
                Some(_) if goes_on && matches!(self.doubt, Doubt::Late | Doubt::Back) => {
                    return self.wait_to_catch_up(stamp, arrival, item, decided);
                }
                Some(_) if goes_on => self.resolve(&mut decided),
                // The timestamps have caught up, or the clock has.
                None if goes_on && self.doubt == Doubt::Late => self.believe(&mut decided),
                None if is_behind && self.doubt != Doubt::Back => self.believe(&mut decided),
                // Only that one was wrong.
                _ => self.mend(Some(moved.running), &mut decided),
            }
            return self.push_next(stamp, arrival, item, decided);
        }
        self.push_next(stamp, arrival, item, decided)
    }

    /// Like [`Stamps::push`], when nothing waits.
    fn push_next(
        &mut self,
        stamp: Stamp,
        arrival: Arrival,
        item: T,
        mut decided: Decided<T>,
    ) -> Decided<T> {
        let moved = stamp.moved(self.shift);
        let was_full = self.full;
        self.full = was_full && self.is_full(arrival);
        match self.judge(&moved, arrival) {
            _ if self.full => decided.too_early.push(item),
            // A timestamp at the limit would soon be too far ahead again.
            Some(Doubt::Ahead | Doubt::TooFar) | None
                if was_full && moved.order() > self.over() =>
            {
                self.doubt = Doubt::TooFar;
                self.waiting.push_back(Waiting {
                    stamp,
                    arrival,
                    item,
                });
                self.realign(&mut decided);
            }
            None => {
                self.note(&moved);
                decided.placed.push((moved.running, item));
            }
            Some(Doubt::TooFar) if self.is_full(arrival) => {
                self.full = true;
                decided.too_early.push(item);
            }
            Some(doubt) => {
                self.doubt = doubt;
                self.waiting.push_back(Waiting {
                    stamp,
                    arrival,
                    item,
                });
            }
        }
        decided
    }

    /// Whether earlier media is ahead up to the limit: then this is not a step, but a source that is too fast.
    fn is_full(&self, arrival: Arrival) -> bool {
        let ahead = |now: Ns| {
            self.last
                .is_some_and(|last| last.end > now.saturating_add(self.limit / 2))
        };
        arrival.now.is_some_and(ahead)
    }

    fn wait_to_catch_up(
        &mut self,
        stamp: Stamp,
        arrival: Arrival,
        item: T,
        mut decided: Decided<T>,
    ) -> Decided<T> {
        self.waiting.push_back(Waiting {
            stamp,
            arrival,
            item,
        });
        let since = self.waiting.front().and_then(|first| first.arrival.now);
        let waited = arrival.now.zip(since);
        let waited = waited.map_or(Ns::MAX, |(now, since)| now.saturating_sub(since));
        if waited >= CATCH_UP {
            self.realign(&mut decided);
        } else if self.waiting.len() > MOST_WAITING
            && let Some(first) = self.waiting.pop_front()
        {
            // So many at once are the backlog of a stall.
            self.accept(first, &mut decided);
        }
        decided
    }

    /// Trusts the timestamps of the waiting buffers.
    fn believe(&mut self, decided: &mut Decided<T>) {
        for waiting in std::mem::take(&mut self.waiting) {
            self.accept(waiting, decided);
        }
    }

    fn accept(&mut self, waiting: Waiting<T>, decided: &mut Decided<T>) {
        let mut stamp = waiting.stamp.moved(self.shift);
        if decided.shifted.is_some() && stamp.order() < self.over() {
            stamp = stamp.at(self.over().saturating_add(stamp.lead));
            stamp.duration = 0;
        }
        let most = self
            .now
            .map_or(Ns::MAX, |now| now.saturating_add(self.limit));
        if stamp.running > most {
            return decided.too_early.push(waiting.item);
        }
        self.note(&stamp);
        decided.placed.push((stamp.running, waiting.item));
    }

    /// Places a single waiting buffer between its neighbours; several are resolved together.
    fn mend(&mut self, next: Option<Ns>, decided: &mut Decided<T>) {
        let single = self.waiting.len() == 1;
        let Some(first) = self.waiting.front() else {
            return;
        };
        if !single {
            return self.resolve(decided);
        }
        let stamp = first.stamp.moved(self.shift);
        let before = self.last.map(|last| {
            let begin = last.end.saturating_add(stamp.lead);
            let room = next.map_or(0, |next| next.saturating_sub(begin));
            if last.measured {
                begin
            } else {
                begin.saturating_add(room / 2)
            }
        });
        let arrived = first.arrival.now;
        let arrived = arrived.map(|now| now.saturating_sub(first.arrival.latency));
        let place = before.or(arrived).unwrap_or(stamp.running);
        let place = place.min(next.unwrap_or(Ns::MAX));
        if let Some(first) = self.waiting.pop_front() {
            self.note(&stamp.at(place));
            decided.placed.push((place, first.item));
        }
    }

    /// Resolves waiting buffers that deviate together.
    fn resolve(&mut self, decided: &mut Decided<T>) {
        match self.doubt {
            Doubt::Ahead => self.believe(decided),
            // So far it may be the backlog of a stall, if it continues from earlier media.
            Doubt::Late | Doubt::Back if self.last.is_some() => self.believe(decided),
            Doubt::Late | Doubt::TooFar | Doubt::Back => self.realign(decided),
        }
    }

    /// Shifts timestamps, from the waiting ones on, to their arrival time.
    fn realign(&mut self, decided: &mut Decided<T>) {
        let over = self.over();
        let Some(first) = self.waiting.front() else {
            return;
        };
        let first_order = first.stamp.moved(self.shift).order();
        // The buffer with the least delay after its timestamp is the best measure.
        let least = self.waiting.iter().filter_map(|waiting| {
            let arrived = waiting.arrival.now?.saturating_sub(waiting.arrival.latency);
            let stamp = waiting.stamp.moved(self.shift);
            Some(difference(arrived, stamp.running))
        });
        let least = least.min();
        let go_on = difference(over, first_order);
        let by = match self.doubt {
            // Buffers that then lie before the end of the placed media are collapsed to it.
            Doubt::Late | Doubt::Back => least.unwrap_or(go_on),
            Doubt::Ahead | Doubt::TooFar => least.unwrap_or(go_on).max(go_on),
        };
        self.shift = self.shift.saturating_add(by);
        decided.shifted = Some(decided.shifted.unwrap_or(0).saturating_add(by));
        self.believe(decided);
    }

    /// No further buffer will decide: resolves the waiting ones.
    pub fn settle(&mut self) -> Decided<T> {
        let mut decided = Decided::default();
        if self.waiting.is_empty() {
            return decided;
        }
        match self.doubt {
            Doubt::Ahead => self.believe(&mut decided),
            Doubt::Late => self.realign(&mut decided),
            Doubt::TooFar | Doubt::Back => self.mend(None, &mut decided),
        }
        decided
    }

    /// No media before running time `until`, as counted by the stream, which continues from there. Call when nothing
    /// waits.
    pub fn gap(&mut self, until: Ns) -> Ns {
        let until = until.saturating_add_signed(self.shift);
        let end = self.last.map_or(until, |last| last.end.max(until));
        let order = self.last.map_or(until, |last| last.order);
        self.last = Some(Last {
            order,
            end,
            measured: true,
        });
        until
    }

    /// A new segment of the stream begins, with arbitrary timestamps. Call when nothing waits.
    pub fn begin_anew(&mut self) {
        if let Some(last) = self.last.take() {
            self.begin = Some(last.end);
        }
    }
}

#[cfg(test)]
mod tests;
