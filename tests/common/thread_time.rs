//! How long a thread is blocked, independent of the machine's load.

use std::time::{Duration, Instant};

/// A point in time of the thread that called `now`.
#[derive(Clone, Copy, Debug)]
pub struct ThreadTime {
    at: Instant,
    /// Time that the thread has run, or waited for a CPU.
    awake: Duration,
}

impl ThreadTime {
    /// For the calling thread.
    pub fn now() -> Self {
        Self {
            at: Instant::now(),
            awake: ran() + waited_for_processor(),
        }
    }

    /// How long the calling thread, which called `now`, has been blocked since: waiting for another thread, a disk
    /// or a timer, but not for a CPU.
    pub fn blocked(&self) -> Duration {
        let now = Self::now();
        (now.at - self.at).saturating_sub(now.awake - self.awake)
    }
}

fn ran() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: it writes to `time`, which is valid, and nowhere else.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0, "threads have clocks");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The second figure of `schedstat`; zero if the kernel does not provide it.
fn waited_for_processor() -> Duration {
    let figures = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let waited = figures.split_whitespace().nth(1);
    Duration::from_nanos(waited.and_then(|ns| ns.parse().ok()).unwrap_or(0))
}
