//! Runs work that may never return in a thread of its own.

use std::{sync::mpsc, thread, time::Duration};

/// Work in a thread of its own, and its result.
#[derive(Debug)]
pub struct Job<R>(mpsc::Receiver<R>);

/// How far a job is.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress<R> {
    Done(R),
    Running,
    /// It has panicked, or there was no thread for it.
    Failed,
}

impl<R: Send + 'static> Job<R> {
    pub fn start(work: impl FnOnce() -> R + Send + 'static) -> Self {
        let (done, is_done) = mpsc::channel();
        apart(move || {
            // The receiver may be gone.
            let _ = done.send(work());
        });
        Job(is_done)
    }

    /// Waits for the result, but not longer than `patience`.
    pub fn wait(&self, patience: Duration) -> Progress<R> {
        match self.0.recv_timeout(patience) {
            Ok(result) => Progress::Done(result),
            Err(mpsc::RecvTimeoutError::Timeout) => Progress::Running,
            Err(mpsc::RecvTimeoutError::Disconnected) => Progress::Failed,
        }
    }
}

/// Returns the result of `work`, unless that takes longer than `patience` or panics. `work` then continues, and what
/// it holds is released when it returns, if ever.
pub fn within<R: Send + 'static>(
    patience: Duration,
    work: impl FnOnce() -> R + Send + 'static,
) -> Option<R> {
    match Job::start(work).wait(patience) {
        Progress::Done(result) => Some(result),
        Progress::Running | Progress::Failed => None,
    }
}

/// Runs `work` in a thread that nobody waits for.
pub fn apart(work: impl FnOnce() + Send + 'static) {
    let spawned = thread::Builder::new()
        .name("mediarecorder-aside".into())
        .spawn(work);
    if let Err(err) = spawned {
        gst::warning!(crate::log::CAT, "Cannot create a thread: {err}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_awaited_up_to_its_timeout() {
        assert_eq!(within(Duration::from_secs(60), || 7), Some(7));
        let (_never, waits) = mpsc::channel::<()>();
        assert_eq!(
            within(Duration::from_millis(20), move || waits.recv()),
            None
        );
    }

    #[test]
    fn a_job_goes_on_while_nobody_waits() {
        let (go, waits) = mpsc::channel::<()>();
        let job = Job::start(move || waits.recv().is_ok());
        assert_eq!(job.wait(Duration::from_millis(20)), Progress::Running);
        go.send(()).unwrap();
        assert_eq!(job.wait(Duration::from_secs(60)), Progress::Done(true));
        let panics = Job::start(|| assert!(std::hint::black_box(false), "on purpose"));
        assert_eq!(panics.wait(Duration::from_secs(60)), Progress::Failed);
    }
}
