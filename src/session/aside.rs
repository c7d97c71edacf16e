//! Runs work that may never return in a thread of its own.

use std::{sync::mpsc, thread, time::Duration};

/// Work in a thread of its own, and its result.
#[derive(Debug)]
pub struct Job<R>(mpsc::Receiver<R>);

impl<R: Send + 'static> Job<R> {
    pub fn start(work: impl FnOnce() -> R + Send + 'static) -> Self {
        let (done, is_done) = mpsc::channel();
        apart(move || {
            // The receiver may be gone.
            let _ = done.send(work());
        });
        Job(is_done)
    }

    /// Its result, if that comes within `patience`. A job that is still running is put into `slot`, one that has
    /// panicked or got no thread is not.
    pub fn finish_within(self, patience: Duration, slot: &mut Option<Self>) -> Option<R> {
        let result = self.0.recv_timeout(patience);
        if let Err(mpsc::RecvTimeoutError::Timeout) = result {
            *slot = Some(self);
        }
        result.ok()
    }
}

/// Returns the result of `work`, unless that takes longer than `patience` or panics. `work` then continues, and what
/// it holds is released when it returns, if ever.
pub fn within<R: Send + 'static>(
    patience: Duration,
    work: impl FnOnce() -> R + Send + 'static,
) -> Option<R> {
    Job::start(work).finish_within(patience, &mut None)
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
        let (job, mut slot) = (Job::start(move || waits.recv().is_ok()), None);
        assert_eq!(
            job.finish_within(Duration::from_millis(20), &mut slot),
            None
        );
        let job = slot.take().unwrap();
        go.send(()).unwrap();
        assert_eq!(
            job.finish_within(Duration::from_secs(60), &mut slot),
            Some(true)
        );
        assert!(slot.is_none());
        let panics = Job::start(|| assert!(std::hint::black_box(false), "on purpose"));
        let mut slot = None;
        assert_eq!(
            panics.finish_within(Duration::from_secs(60), &mut slot),
            None
        );
        assert!(slot.is_none());
    }
}
