//! Where threads of a recording wait for each other: for room in a queue, for work to do.

use super::timing::lock;
use std::{
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// See the module.
#[derive(Debug, Default)]
pub struct Backpressure {
    news: Mutex<News>,
    /// For the supervisors.
    told: Condvar,
    queue: Mutex<()>,
    /// For upstreams that wait for room.
    freed: Condvar,
    waiting: AtomicUsize,
    /// How often they have been woken.
    woken: AtomicU64,
    /// Nobody has to wait any more.
    open: AtomicBool,
}

#[derive(Debug, Default)]
struct News {
    /// How often there were any.
    count: u64,
    warnings: Vec<String>,
}

impl Backpressure {
    /// Something has changed: everybody looks again.
    pub fn wake(&self) {
        lock(&self.news).count += 1;
        self.told.notify_all();
        self.free();
    }

    /// There may be room again.
    pub fn free(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            let queue = lock(&self.queue);
            self.woken.fetch_add(1, Ordering::SeqCst);
            drop(queue);
            self.freed.notify_all();
        }
    }

    /// Leaves a warning for the supervisor.
    pub fn warn(&self, message: String) {
        lock(&self.news).warnings.push(message);
        self.wake();
    }

    /// The warnings since the last call.
    pub fn warnings(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.news).warnings)
    }

    /// Lets everybody go, for good.
    pub fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Whether nobody has to wait.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::SeqCst)
    }

    /// Waits as long as `wait` says so: until woken, or for the time that it gives. It is asked without a lock
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

    /// Waits for news that have not been `seen`, for `timeout` at the most.
    pub fn wait_for_news(&self, seen: &mut u64, timeout: Duration) {
        let mut news = lock(&self.news);
        if news.count == *seen {
            news = self
                .told
                .wait_timeout(news, timeout)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        *seen = news.count;
    }
}
