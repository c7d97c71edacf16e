//! Where the threads of a recording wait for each other: for room in a queue, or for work.

use super::timing::lock;
use std::{
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Backpressure {
    news: Mutex<News>,
    /// Wakes the supervisors.
    changed: Condvar,
    queue: Mutex<()>,
    /// Wakes upstream threads that wait for room.
    freed: Condvar,
    waiting: AtomicUsize,
    /// How often these have been woken.
    woken: AtomicU64,
    /// Nobody has to wait any more.
    open: AtomicBool,
}

#[derive(Debug, Default)]
struct News {
    /// How often there has been news.
    count: u64,
    warnings: Vec<String>,
}

impl Backpressure {
    /// The state has changed: wakes every waiting thread.
    pub fn wake(&self) {
        lock(&self.news).count += 1;
        self.changed.notify_all();
        self.free();
    }

    /// There may be room again: wakes upstream threads.
    pub fn free(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            let queue = lock(&self.queue);
            self.woken.fetch_add(1, Ordering::SeqCst);
            drop(queue);
            self.freed.notify_all();
        }
    }

    /// Queues a warning for the supervisor.
    pub fn warn(&self, message: String) {
        lock(&self.news).warnings.push(message);
        self.wake();
    }

    /// The warnings since the last call.
    pub fn warnings(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.news).warnings)
    }

    /// Permanently releases all waiting threads.
    pub fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Whether nobody has to wait.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::SeqCst)
    }

    /// Waits while `wait` returns a timeout, until woken or for that long each time. `wait` is called without a lock
    /// held.
    pub fn wait_while(&self, mut wait: impl FnMut() -> Option<Duration>) {
        if wait().is_none() {
            return;
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        loop {
            let woken = self.woken.load(Ordering::SeqCst);
            let Some(patience) = wait() else {
                break;
            };
            let queue = lock(&self.queue);
            if self.woken.load(Ordering::SeqCst) == woken {
                drop(
                    self.freed
                        .wait_timeout(queue, patience)
                        .unwrap_or_else(PoisonError::into_inner),
                );
            }
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    /// Waits up to `timeout` for news after `seen`.
    pub fn wait_for_news(&self, seen: &mut u64, timeout: Duration) {
        let mut news = lock(&self.news);
        if news.count == *seen {
            news = self
                .changed
                .wait_timeout(news, timeout)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        *seen = news.count;
    }
}
