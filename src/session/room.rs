//! Where threads of a recording wait for each other: for room in a queue, for work to do.

use super::timing::lock;
use std::{
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// How often a waiting upstream looks again by itself: other tracks' hunger has no signal.
const LOOK: Duration = Duration::from_millis(10);

/// See the module.
#[derive(Debug, Default)]
pub struct Room {
    news: Mutex<News>,
    /// For the supervisor.
    told: Condvar,
    queue: Mutex<()>,
    /// For upstreams that wait for room.
    freed: Condvar,
    waiting: AtomicUsize,
    /// Nobody has to wait any more.
    open: AtomicBool,
}

#[derive(Debug, Default)]
struct News {
    some: bool,
    warnings: Vec<String>,
}

impl Room {
    /// Something has changed: everybody looks again.
    pub fn wake(&self) {
        lock(&self.news).some = true;
        self.told.notify_all();
        self.free();
    }

    /// There may be room again.
    pub fn free(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            drop(lock(&self.queue));
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

    /// Waits as long as `wait` says so; it is asked without a lock held.
    pub fn wait_while(&self, mut wait: impl FnMut() -> bool) {
        if !wait() {
            return;
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        while wait() {
            let queue = lock(&self.queue);
            drop(
                self.freed
                    .wait_timeout(queue, LOOK)
                    .unwrap_or_else(PoisonError::into_inner),
            );
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    /// Waits for news, for `timeout` at the most.
    pub fn wait_for_news(&self, timeout: Duration) {
        let mut news = lock(&self.news);
        if !news.some {
            news = self
                .told
                .wait_timeout(news, timeout)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        news.some = false;
    }
}
