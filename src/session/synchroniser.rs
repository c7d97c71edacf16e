//! Synchronises the file at `location` to the disk, in its own thread: after the first media, at each
//! `sync-interval`, and when the recording ends. A disk that is slow or does not respond blocks no other thread.

use super::{Session, lock, part::Part};
use crate::{model::Error, output::SyncFile};
use std::{
    fmt, io,
    sync::{Arc, Condvar, Mutex, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

/// Minimum interval between rounds.
const MIN_INTERVAL: Duration = Duration::from_millis(10);

/// Timeout while there is nothing to do but wait for news.
const LONG: Duration = Duration::from_secs(3600);

/// Why a file may not be on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unsynchronised {
    /// The disk did not respond in time.
    Late,
    /// The disk has failed. A retry would not write earlier data again.
    Failed(String),
}

impl fmt::Display for Unsynchronised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late => f.write_str("the disk is too slow, or does not respond"),
            Self::Failed(reason) => f.write_str(reason),
        }
    }
}

/// Requests to the thread.
#[derive(Debug, Default)]
struct State {
    /// Media has been written.
    begun: bool,
    /// How often [`Synchroniser::sync`] has been called, and up to which call it is done.
    asked: u64,
    served: u64,
    failed: Option<String>,
    over: bool,
}

/// The thread's next task.
#[derive(Debug, PartialEq, Eq)]
enum Task {
    /// Synchronise, for the calls up to this number.
    Asked(u64),
    /// The interval has elapsed.
    Round,
    /// The recording has ended.
    End,
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Synchroniser {
    interval: Duration,
    /// Taken by the thread.
    file: Mutex<Option<SyncFile>>,
    state: Mutex<State>,
    news: Condvar,
}

impl Synchroniser {
    pub(super) fn new(file: SyncFile, interval: Duration) -> Self {
        Synchroniser {
            interval: interval.max(MIN_INTERVAL),
            file: Mutex::new(Some(file)),
            state: Mutex::default(),
            news: Condvar::new(),
        }
    }

    /// Starts its thread.
    pub(super) fn spawn(
        self: &Arc<Self>,
        session: Weak<Session>,
        part: &Arc<Part>,
    ) -> io::Result<()> {
        let Some(file) = lock(&self.file).take() else {
            return Ok(());
        };
        let (synchroniser, part) = (self.clone(), part.clone());
        thread::Builder::new()
            .name("mediarecorder-sync".into())
            .spawn(move || synchroniser.run(file, &session, &part))
            .map(drop)
    }

    /// Media has been written, and the container's header before it: the first round is due.
    pub(super) fn begin(&self) {
        lock(&self.state).begun = true;
        self.news.notify_all();
    }

    /// Returns once everything written so far is on the disk, or at `deadline`. Call it without a lock.
    pub(super) fn sync(&self, deadline: Instant) -> Result<(), Unsynchronised> {
        let mut state = lock(&self.state);
        state.asked += 1;
        let number = state.asked;
        self.news.notify_all();
        loop {
            if let Some(reason) = &state.failed {
                return Err(Unsynchronised::Failed(reason.clone()));
            }
            if state.served >= number {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || state.over {
                return Err(Unsynchronised::Late);
            }
            state = self
                .news
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Stops synchronising.
    pub(super) fn end(&self) {
        lock(&self.state).over = true;
        self.news.notify_all();
    }

    fn run(&self, mut file: SyncFile, session: &Weak<Session>, part: &Part) {
        let mut next = None;
        loop {
            match self.next_task(next) {
                Task::End => return,
                Task::Asked(number) => {
                    let failed = file.sync().err().map(|err| err.to_string());
                    let mut state = lock(&self.state);
                    state.served = number;
                    state.failed = state.failed.take().or(failed);
                    self.news.notify_all();
                }
                Task::Round => {
                    let Some(session) = session.upgrade() else {
                        return;
                    };
                    // A round that takes longer than the interval is followed by the next immediately.
                    next = Instant::now().checked_add(self.interval);
                    session.contain(|session| self.round(session, part, &mut file));
                }
            }
        }
    }

    /// Waits for a task. `next`: when the next round is due, once there has been one.
    fn next_task(&self, next: Option<Instant>) -> Task {
        let mut state = lock(&self.state);
        loop {
            let left = next.map(|next| next.saturating_duration_since(Instant::now()));
            let due = left.is_none_or(|left| left.is_zero());
            if state.over {
                return Task::End;
            }
            if state.served < state.asked {
                return Task::Asked(state.asked);
            }
            if state.begun && due && state.failed.is_none() {
                return Task::Round;
            }
            let wait = left.filter(|left| !left.is_zero()).unwrap_or(LONG);
            let waited = self.news.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Flushes what has been written, synchronises it, and then writes the patches that had to wait for that.
    fn round(&self, session: &Session, part: &Part, file: &mut SyncFile) {
        let patches = match session.with_writer(part, |writer, _| writer.begin_round()) {
            Ok(Some(patches)) => patches,
            Ok(None) => return,
            Err(err) => return session.fail_to_write(part, &err),
        };
        if let Err(err) = file.sync() {
            let reason = err.to_string();
            part.progress.note_incomplete();
            let error = format!(
                "The recording is not protected from a power failure as requested by sync-interval: {reason}"
            );
            session.fail_disk(part, Error::unknown(error));
            lock(&self.state).failed = Some(reason);
            return self.news.notify_all();
        }
        if let Err(err) = session.with_writer(part, |writer, _| writer.write_patches(patches)) {
            session.fail_to_write(part, &err);
        }
    }
}
