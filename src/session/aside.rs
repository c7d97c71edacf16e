//! Runs work that may never return in a thread of its own.

use std::{sync::mpsc, thread, time::Duration};

/// Returns the result of `work`, unless that takes longer than `patience` or panics. `work` then continues, and what
/// it holds is released when it returns, if ever.
pub fn within<R: Send + 'static>(
    patience: Duration,
    work: impl FnOnce() -> R + Send + 'static,
) -> Option<R> {
    let (done, is_done) = mpsc::channel();
    apart(move || {
        // The receiver may be gone.
        let _ = done.send(work());
    });
    is_done.recv_timeout(patience).ok()
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
}
