//! Which stamps of a track are to be believed, and how far the others are off.
//!
//! A stream's stamps may be wrong by themselves (one buffer of a jitter buffer's), or from somewhere on (a camera's
//! clock that was set, a source that counts from 0 although it begins late). Which of them it is only what comes next
//! can tell, so a buffer whose stamp is out of the ordinary waits for that:
//!
//! - one whose stamp is off while its neighbours' are not takes its place between them;
//! - stamps that go on from a step are believed, where they can be;
//! - where they cannot, since they run further ahead of the clock than may wait, lag further behind it than others
//!   would wait for, or step back behind what is over, they are shifted once, so that they stand at their arrival less
//!   the latency.
//!
//! Pure: time comes in as an argument. All stamps are running time.

use super::timeline::Ns;
use smallvec::SmallVec;
use std::collections::VecDeque;

/// A live stamp ahead of the clock and of the one before it by no more than this is nothing out of the ordinary.
const LIVE_STEP: Ns = 100_000_000;
/// Without a clock to compare them with, stamps have to step further to be doubted; and no stream's stamps go back
/// further because of its frames' order or a network's clock.
const STEP: Ns = 1_000_000_000;
/// Stamps that lag or step back have so long to catch up, as after a stall of the network.
const CATCH_UP: Ns = 500_000_000;
/// No more buffers than this wait for a decision.
const MOST_WAITING: usize = 1024;
/// No hole is longer (six hours): beyond it, stamps are broken.
pub const LONGEST_HOLE: Ns = 6 * 3_600_000_000_000;

/// Timestamp and duration of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Its first instant.
    pub running: Ns,
    /// Its length, 0 if it does not say.
    pub duration: Ns,
    /// How far it is ahead of its decode time: stamps go back as far.
    pub lead: Ns,
}

impl Stamp {
    fn end(&self) -> Ns {
        self.running.saturating_add(self.duration)
    }

    /// What grows from buffer to buffer.
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

/// Arrival time of a buffer, and what follows from it for its timestamp.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// The clock's running time, of a live stream; `None` otherwise, or without a clock.
    pub now: Option<Ns>,
    /// How late a live stream is.
    pub latency: Ns,
}

/// What has been decided.
#[derive(Debug)]
pub struct Decided<T> {
    /// Buffers that have their place, in order: its running time, and whose it is.
    pub placed: SmallVec<[(Ns, T); 2]>,
    /// All stamps from the first of `placed` on have been shifted by this much.
    pub shifted: Option<i64>,
    /// Those that are too far ahead to wait, and not to be recorded.
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

/// What is the matter with the stamps that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// They are ahead, but could be.
    Ahead,
    /// They are further ahead of the clock than may wait, or of what came before than any stream means.
    TooFar,
    /// They step back.
    Back,
    /// They lag behind the clock.
    Late,
}

impl Doubt {
    /// Whether one stamp is off in the direction of the other.
    fn is_like(self, other: Doubt) -> bool {
        let ahead = |doubt| matches!(doubt, Doubt::Ahead | Doubt::TooFar);
        // What steps back and lags is both.
        ahead(self) == ahead(other) && !(self == Doubt::Back && other == Doubt::Late)
    }
}

#[derive(Debug)]
struct Waiting<T> {
    /// As it came.
    stamp: Stamp,
    arrival: Arrival,
    item: T,
}

/// The newest that has its place.
#[derive(Debug, Clone, Copy)]
struct Last {
    order: Ns,
    end: Ns,
    /// Whether it has a duration, so that the next is expected at its end.
    measured: bool,
}

/// The stamps of one track, with whatever they belong to.
#[derive(Debug)]
pub struct Stamps<T> {
    /// Media may be so far ahead of the clock, or behind it beyond the latency.
    limit: Ns,
    shift: i64,
    last: Option<Last>,
    /// Where what is recorded begins, for the first stamp of all.
    begin: Option<Ns>,
    /// The clock's running time when a buffer came last that was not plain.
    now: Option<Ns>,
    /// So much has come too early that nothing is taken until half of it is over.
    full: bool,
    doubt: Doubt,
    waiting: VecDeque<Waiting<T>>,
}

fn difference(to: Ns, from: Ns) -> i64 {
    let by = i128::from(to) - i128::from(from);
    by.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

impl<T> Stamps<T> {
    /// For a stream whose media may wait for `limit`.
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

    /// What is added to stamps.
    pub fn shift(&self) -> i64 {
        self.shift
    }

    /// How many buffers wait for a decision.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether no stamp has come yet, and none waits, with which others could be compared.
    pub fn is_fresh(&self) -> bool {
        self.last.is_none() && self.begin.is_none()
    }

    /// What is recorded begins at this running time.
    pub fn begin_at(&mut self, running: Ns) {
        self.begin = Some(running);
    }

    /// The place of a buffer, if its timestamp is plausible and nothing waits.
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
            // What is not live may go back, too: what has been recorded stays.
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

    /// Where what is recorded has come to.
    fn over(&self) -> Ns {
        self.last.map_or(self.begin.unwrap_or(0), |last| last.end)
    }

    /// A buffer of which [`Stamps::plain`] does not know the place.
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
                // A step that nothing stands against: the stamps after it go on from there.
                Some(_) if goes_on && self.doubt == Doubt::Ahead => self.believe(&mut decided),
                Some(_) if goes_on && matches!(self.doubt, Doubt::Late | Doubt::Back) => {
                    return self.wait_to_catch_up(stamp, arrival, item, decided);
                }
                Some(_) if goes_on => self.resolve(&mut decided),
                // They have caught up, or the clock has.
                None if goes_on && self.doubt == Doubt::Late => self.believe(&mut decided),
                None if is_behind && self.doubt != Doubt::Back => self.believe(&mut decided),
                // It alone was wrong.
                _ => self.mend(Some(moved.running), &mut decided),
            }
            return self.push_next(stamp, arrival, item, decided);
        }
        self.push_next(stamp, arrival, item, decided)
    }

    /// The same, when nothing waits.
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
            // Whatever is as far ahead as may be would soon be too far again.
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

    /// Whether what came before has run ahead as far as may wait: then this is no step, but a source that is too fast.
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
            // So many at once are what a stall has held up.
            self.accept(first, &mut decided);
        }
        decided
    }

    /// What waits is where its stamps say.
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

    /// The one that waits takes the place between its neighbours. Of several none is alone.
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
            match last.measured {
                true => begin,
                false => begin.saturating_add(room / 2),
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

    /// What waits is not alone in its doubt.
    fn resolve(&mut self, decided: &mut Decided<T>) {
        match self.doubt {
            Doubt::Ahead => self.believe(decided),
            // So far it may be what a stall has held up, if it goes on from what was before.
            Doubt::Late | Doubt::Back if self.last.is_some() => self.believe(decided),
            Doubt::Late | Doubt::TooFar | Doubt::Back => self.realign(decided),
        }
    }

    /// From what waits on, stamps are shifted to where they arrive.
    fn realign(&mut self, decided: &mut Decided<T>) {
        let over = self.over();
        let Some(first) = self.waiting.front() else {
            return;
        };
        let first_order = first.stamp.moved(self.shift).order();
        // The buffer that arrived soonest after its timestamp is the best measure.
        let least = self.waiting.iter().filter_map(|waiting| {
            let arrived = waiting.arrival.now?.saturating_sub(waiting.arrival.latency);
            let stamp = waiting.stamp.moved(self.shift);
            Some(difference(arrived, stamp.running))
        });
        let least = least.min();
        let go_on = difference(over, first_order);
        let by = match self.doubt {
            // What stands behind what is over then is crowded there.
            Doubt::Late | Doubt::Back => least.unwrap_or(go_on),
            Doubt::Ahead | Doubt::TooFar => least.unwrap_or(go_on).max(go_on),
        };
        self.shift = self.shift.saturating_add(by);
        decided.shifted = Some(decided.shifted.unwrap_or(0).saturating_add(by));
        self.believe(decided);
    }

    /// Nothing will come that could tell: decides what waits.
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

    /// Nothing comes before running time `until`, as counted by the stream: the rest goes on from there. To be called
    /// when nothing waits.
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

    /// Another piece of the stream begins, and its stamps may be anywhere. To be called when nothing waits.
    pub fn begin_anew(&mut self) {
        if let Some(last) = self.last.take() {
            self.begin = Some(last.end);
        }
    }
}

#[cfg(test)]
mod tests;
