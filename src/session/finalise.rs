//! The end of the file, step by step: the media, what completes it, and what puts that in force. With `sync-interval`
//! each step is on the disk before the next begins, and all of it before the last events.

use super::{
    LIVE_GRACE, Session, lock,
    synchroniser::Unsynchronised,
    track::Track,
    writer::{BlobOutlet, Writer},
};
use crate::{formats::Ending, model::Error};
use std::time::{Duration, Instant};

/// What synchronising has at the least, however long the drain took.
const SYNC_PATIENCE: Duration = Duration::from_millis(100);

impl Session {
    /// Completes what has been written: once, the later caller has nothing to do. The error that is to be told; what
    /// there is can be taken all the same. To be called without a lock, by who may wait for the disk for `patience` in
    /// each step, or for however long it takes; `None`: it has kept him longer.
    pub(super) fn finalise(
        &self,
        ending: Ending,
        patience: Option<Duration>,
    ) -> Option<Result<(), Error>> {
        let deadline = self.sync_deadline();
        let cannot_write = |reason: std::io::Error| {
            Error::unknown(format!(
                "The end of the recording cannot be written: {reason}"
            ))
        };
        match self.writer_within(patience, |writer, _| writer.end_media(ending))? {
            Ok(true) => {}
            Ok(false) => return Some(Ok(())),
            Err(reason) => {
                // Of no more than there is.
                let _ = self.synchronise(deadline);
                return Some(Err(cannot_write(reason)));
            }
        }
        let mut safe = self.synchronise(deadline);
        match self.writer_within(patience, |writer, _| writer.complete(safe.is_ok()))? {
            Ok(unchanged) => self.warn_of_incomplete(unchanged),
            Err(reason) => return Some(Err(cannot_write(reason))),
        }
        safe = safe.and_then(|()| self.synchronise(deadline));
        match self.writer_within(patience, |writer, _| writer.switch(safe.is_ok()))? {
            Ok(true) => safe = safe.and_then(|()| self.synchronise(deadline)),
            Ok(false) => {}
            Err(reason) => return Some(Err(cannot_write(reason))),
        }
        Some(safe.map_err(|reason| {
            self.progress.note_unsynchronised();
            self.unsynchronised(&reason)
        }))
    }

    /// Returns when what has been written is on the disk, where that was asked for.
    fn synchronise(&self, deadline: Instant) -> Result<(), Unsynchronised> {
        match &self.synchroniser {
            Some(synchroniser) => synchroniser.sync(deadline),
            None => Ok(()),
        }
    }

    /// Media has been written: the first of it is synchronised at once.
    pub(super) fn begin_synchronising(&self) {
        if let Some(synchroniser) = &self.synchroniser {
            synchroniser.begin();
        }
    }

    /// How long the drain may take from a stop on: `stop-timeout` counts from when the last of the tracks can have
    /// arrived.
    pub(super) fn drain_limit(&self) -> Duration {
        let latency = self.tracks.iter().map(Track::latency).max();
        self.settings.stop_timeout + latency.unwrap_or_default() + LIVE_GRACE
    }

    /// Until when synchronising may take: as long as the drain, which it belongs to; where nobody has called for the
    /// end, `stop-timeout` from now on.
    fn sync_deadline(&self) -> Instant {
        let now = Instant::now();
        match lock(&self.control).stopped {
            Some(since) => (since + self.drain_limit()).max(now + SYNC_PATIENCE),
            None => now + self.settings.stop_timeout.max(SYNC_PATIENCE),
        }
    }

    fn writer_within<R>(
        &self,
        patience: Option<Duration>,
        work: impl FnOnce(&mut Writer, &BlobOutlet<'_>) -> R,
    ) -> Option<R> {
        match patience {
            Some(patience) => self.with_writer_within(patience, work),
            None => Some(self.with_writer(work)),
        }
    }

    fn unsynchronised(&self, reason: &Unsynchronised) -> Error {
        let location = self.location().unwrap_or_default();
        let late = match reason {
            Unsynchronised::Late => format!(
                " within stop-timeout ({} ms)",
                self.settings.stop_timeout.as_millis()
            ),
            Unsynchronised::Failed(_) => String::new(),
        };
        Error::unknown(format!(
            "location \"{location}\" has all of the recording, but could not be synchronised{late}, as sync-interval \
             asks: {reason}. A power cut may still cost some of it."
        ))
    }
}
