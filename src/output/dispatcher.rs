//! The recorder's event thread: emits the events of one recording after the other, in order, with no lock held.
//!
//! A handler may do anything, including block: events wait, recording continues. The thread starts with the first event
//! and exits half a second after the last.
//!
//! Lock order: the queue is the only lock, and it is never held while an event is emitted.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

/// How long an idle thread waits for the next event.
const LINGER: Duration = Duration::from_millis(500);

type Emit<E> = dyn Fn(E) + Send + Sync;

/// Dispatches the events of all recordings of one element.
pub struct Dispatcher<E> {
    shared: Arc<Shared<E>>,
}

struct Shared<E> {
    emit: Box<Emit<E>>,
    queue: Mutex<Queue<E>>,
    changed: Condvar,
}

struct Queue<E> {
    lanes: VecDeque<Lane<E>>,
    next_lane: u64,
    thread: Option<ThreadId>,
    busy: Option<u64>,
}

struct Lane<E> {
    id: u64,
    next_slot: u64,
    slots: VecDeque<(u64, Option<E>)>,
    closed: bool,
}

impl<E> Shared<E> {
    fn lock(&self) -> MutexGuard<'_, Queue<E>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E: Send + 'static> Dispatcher<E> {
    /// A dispatcher whose thread calls `emit`.
    pub fn new(emit: impl Fn(E) + Send + Sync + 'static) -> Self {
        Dispatcher {
            shared: Arc::new(Shared {
                emit: Box::new(emit),
                queue: Mutex::new(Queue {
                    lanes: VecDeque::new(),
                    next_lane: 0,
                    thread: None,
                    busy: None,
                }),
                changed: Condvar::new(),
            }),
        }
    }

    /// Opens a lane for a new recording: its events follow those of all lanes opened before.
    pub fn open(&self) -> Events<E> {
        Events::in_new_lane(&self.shared, |lanes| lanes.len())
    }

    /// Whether the caller runs in an event handler.
    pub fn is_current_thread(&self) -> bool {
        self.shared.lock().thread == Some(thread::current().id())
    }

    /// Waits until every event of every lane, closed or open, has been handled, for at most `timeout`; FALSE on
    /// timeout.
    pub fn wait_until_idle(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut queue = self.shared.lock();
        while !queue.lanes.is_empty() || queue.busy.is_some() {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                return false;
            };
            queue = match self.shared.changed.wait_timeout(queue, left) {
                Ok((queue, _)) => queue,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        true
    }
}

/// The events of one recording.
pub struct Events<E: Send + 'static> {
    shared: Arc<Shared<E>>,
    lane: u64,
}

impl<E: Send + 'static> Events<E> {
    /// Opens a lane directly after this one, before those of all later recordings.
    pub fn open_next(&self) -> Events<E> {
        Self::in_new_lane(&self.shared, |lanes| {
            let own = lanes.iter().position(|lane| lane.id == self.lane);
            own.map_or(0, |own| own + 1)
        })
    }

    /// Opens a lane at the index that `place` returns.
    fn in_new_lane(
        shared: &Arc<Shared<E>>,
        place: impl FnOnce(&VecDeque<Lane<E>>) -> usize,
    ) -> Self {
        let mut queue = shared.lock();
        let id = queue.next_lane;
        queue.next_lane += 1;
        let at = place(&queue.lanes);
        let lane = Lane {
            id,
            next_slot: 0,
            slots: VecDeque::new(),
            closed: false,
        };
        queue.lanes.insert(at, lane);
        drop(queue);
        Events {
            shared: shared.clone(),
            lane: id,
        }
    }
}

/// A reserved position in the order of events, filled later.
#[derive(Debug)]
pub struct Slot(u64);

impl<E: Send + 'static> Events<E> {
    /// Reserves a position: later events of this recording wait for [`Events::fill`].
    pub fn reserve(&self) -> Slot {
        self.add(None)
    }

    /// Fills a reserved position, or, with `None`, releases it.
    pub fn fill(&self, slot: Slot, event: Option<E>) {
        let mut queue = self.shared.lock();
        if let Some(lane) = queue.lanes.iter_mut().find(|lane| lane.id == self.lane)
            && let Some(at) = lane.slots.iter().position(|(id, _)| *id == slot.0)
        {
            match event {
                Some(event) => {
                    if let Some(place) = lane.slots.get_mut(at) {
                        place.1 = Some(event);
                    }
                }
                None => {
                    lane.slots.remove(at);
                }
            }
        }
        self.wake(queue);
    }

    /// Appends an event.
    pub fn push(&self, event: E) {
        self.add(Some(event));
    }

    /// Closes the lane: pending events are still emitted, then the next recording's.
    pub fn close(&self) {
        let mut queue = self.shared.lock();
        if let Some(lane) = queue.lanes.iter_mut().find(|lane| lane.id == self.lane) {
            lane.closed = true;
        }
        self.wake(queue);
    }

    fn add(&self, event: Option<E>) -> Slot {
        let mut queue = self.shared.lock();
        let mut slot = Slot(u64::MAX);
        if let Some(lane) = queue.lanes.iter_mut().find(|lane| lane.id == self.lane) {
            slot = Slot(lane.next_slot);
            lane.next_slot += 1;
            lane.slots.push_back((slot.0, event));
        }
        self.wake(queue);
        slot
    }

    fn wake(&self, mut queue: MutexGuard<'_, Queue<E>>) {
        self.shared.changed.notify_all();
        if queue.thread.is_some() || !queue.has_work() {
            return;
        }
        let shared = self.shared.clone();
        let spawned = thread::Builder::new()
            .name("mediarecorder:events".into())
            .spawn(move || run(&shared));
        // Without a thread the events wait for the next successful spawn.
        queue.thread = spawned.ok().map(|handle| handle.thread().id());
    }
}

impl<E: Send + 'static> Drop for Events<E> {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        if let Some(lane) = queue.lanes.iter_mut().find(|lane| lane.id == self.lane) {
            lane.closed = true;
            lane.slots.retain(|(_, event)| event.is_some());
        }
        // Even an empty lane has to be removed: others wait behind it.
        self.wake(queue);
    }
}

impl<E> Queue<E> {
    fn has_work(&self) -> bool {
        self.lanes
            .front()
            .is_some_and(|lane| match lane.slots.front() {
                Some((_, event)) => event.is_some(),
                None => lane.closed,
            })
    }

    /// The next event and its lane; removes finished lanes.
    fn next(&mut self) -> Option<(u64, E)> {
        loop {
            let lane = self.lanes.front_mut()?;
            match lane.slots.front() {
                Some((_, Some(_))) => {
                    let id = lane.id;
                    return lane.slots.pop_front()?.1.map(|event| (id, event));
                }
                Some((_, None)) => return None,
                None if lane.closed => {
                    self.lanes.pop_front();
                }
                None => return None,
            }
        }
    }
}

fn run<E>(shared: &Shared<E>) {
    let mut queue = shared.lock();
    loop {
        if let Some((lane, event)) = queue.next() {
            queue.busy = Some(lane);
            drop(queue);
            // Panics are the emitter's to handle; the following events are emitted anyway.
            let _ = catch_unwind(AssertUnwindSafe(|| (shared.emit)(event)));
            queue = shared.lock();
            queue.busy = None;
            continue;
        }
        shared.changed.notify_all();
        let (woken, timeout) = match shared.changed.wait_timeout(queue, LINGER) {
            Ok(result) => result,
            Err(poisoned) => poisoned.into_inner(),
        };
        queue = woken;
        if timeout.timed_out() && !queue.has_work() {
            queue.thread = None;
            return;
        }
    }
}

#[cfg(test)]
mod tests;
