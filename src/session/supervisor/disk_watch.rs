//! A disk that does not respond is one that has failed, if there is a fallback location.

use super::Supervisor;
use crate::model::stall::MAX_STEP;
use std::{
    io,
    time::{Duration, Instant},
};

/// Minimum patience with a disk, however short `max-queue-time` is: cheap ones pause at times.
const LEAST_PATIENCE: Duration = Duration::from_secs(2);

/// How long a write has not returned.
#[derive(Debug)]
pub(super) struct DiskWatch {
    bytes: u64,
    looked: Instant,
    stuck: Duration,
}

impl DiskWatch {
    pub(super) fn new() -> Self {
        DiskWatch {
            bytes: 0,
            looked: Instant::now(),
            stuck: Duration::ZERO,
        }
    }

    /// `bytes`: how many the writer has taken; `is_free`: it is not in a write.
    fn look(&mut self, now: Instant, bytes: u64, is_free: bool) -> Duration {
        let step = now.saturating_duration_since(self.looked).min(MAX_STEP);
        self.looked = now;
        if is_free || std::mem::replace(&mut self.bytes, bytes) != bytes {
            self.stuck = Duration::ZERO;
        } else {
            self.stuck += step;
        }
        self.stuck
    }
}

impl Supervisor {
    /// Continues at the fallback location if a write has not returned for too long.
    pub(super) fn look_after_disk(&mut self) {
        let (session, part) = (&self.session, &self.part);
        let may_fall_back = session.settings.fallback.is_some() && !session.has_fallen_back();
        if !may_fall_back || !session.is_growing(part) {
            return;
        }
        let (bytes, is_free) = (part.progress.figures().0, part.is_writer_free());
        let stuck = self.disk.look(Instant::now(), bytes, is_free);
        if stuck >= session.settings.patience().max(LEAST_PATIENCE) {
            let text = format!("a write has not returned for {} ms", stuck.as_millis());
            session.fail_to_write(part, &io::Error::new(io::ErrorKind::TimedOut, text));
        }
    }
}
