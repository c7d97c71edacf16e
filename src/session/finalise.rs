//! Finalises the file in steps: the media, what completes the file, and the activation of that. With `sync-interval`,
//! each step is on the disk before the next one begins, and all of it before the last events.

use super::{
    Session,
    part::Part,
    synchroniser::Unsynchronised,
    writer::{BlobOutlet, Writer},
};
use crate::{formats::Ending, model::Error};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Minimum time for synchronising, however short `stop-timeout` is.
const SYNC_PATIENCE: Duration = Duration::from_millis(100);

impl Session {
    /// Completes the file, once; later calls have nothing to do. Returns the error to report; what exists can be
    /// handed out all the same. Call it without a lock, in a thread that may block on the disk: for `patience` in
    /// each step, or without limit. `None`: the disk took longer.
    pub(super) fn finalise(
        &self,
        part: &Part,
        ending: Ending,
        patience: Option<Duration>,
    ) -> Option<Result<(), Error>> {
        // The drain has finished; allow as much time again.
        let deadline = Instant::now() + self.settings.stop_timeout.max(SYNC_PATIENCE);
        let cannot_write = |reason: std::io::Error| {
            Error::unknown(format!(
                "The end of the recording cannot be written: {reason}"
            ))
        };
        match self.writer_within(part, patience, |writer, _| writer.end_media(ending))? {
            Ok(true) => {}
            Ok(false) => return Some(Ok(())),
            Err(reason) => {
                // Incomplete already, so the result does not matter.
                let _ = synchronise(part, deadline);
                return Some(Err(cannot_write(reason)));
            }
        }
        let mut safe = synchronise(part, deadline);
        match self.writer_within(part, patience, |writer, _| writer.complete(safe.is_ok()))? {
            Ok(unchanged) => self.warn_of_incomplete(part, unchanged),
            Err(reason) => return Some(Err(cannot_write(reason))),
        }
        safe = safe.and_then(|()| synchronise(part, deadline));
        match self.writer_within(part, patience, |writer, _| writer.switch(safe.is_ok()))? {
            Ok(true) => safe = safe.and_then(|()| synchronise(part, deadline)),
            Ok(false) => {}
            Err(reason) => return Some(Err(cannot_write(reason))),
        }
        Some(safe.map_err(|reason| {
            part.progress.note_incomplete();
            self.unsynchronised(part, &reason)
        }))
    }

    /// Starts the thread that synchronises a part's file.
    pub(super) fn spawn_synchroniser(self: &Arc<Self>, part: &Arc<Part>) -> Result<(), Error> {
        let Some(synchroniser) = part.synchroniser() else {
            return Ok(());
        };
        synchroniser
            .spawn(Arc::downgrade(self), part)
            .map_err(|err| {
                Error::unknown(format!(
                    "The file cannot be synchronised: cannot create a thread: {err}"
                ))
            })
    }

    fn writer_within<R>(
        &self,
        part: &Part,
        patience: Option<Duration>,
        work: impl FnOnce(&mut Writer, &BlobOutlet<'_>) -> R,
    ) -> Option<R> {
        match patience {
            Some(patience) => self.with_writer_within(part, patience, work),
            None => Some(self.with_writer(part, work)),
        }
    }

    fn unsynchronised(&self, part: &Part, reason: &Unsynchronised) -> Error {
        let location = part.location().unwrap_or_default();
        let late = match reason {
            Unsynchronised::Late => format!(
                " within stop-timeout ({} ms)",
                self.settings.stop_timeout.as_millis()
            ),
            Unsynchronised::Failed(_) => String::new(),
        };
        Error::unknown(format!(
            "location \"{location}\" is complete, but could not be synchronised{late}, as requested by \
             sync-interval: {reason}. A power failure may still cause a loss."
        ))
    }
}

/// Returns once everything written is on the disk, if that was requested.
fn synchronise(part: &Part, deadline: Instant) -> Result<(), Unsynchronised> {
    match part.synchroniser() {
        Some(synchroniser) => synchroniser.sync(deadline),
        None => Ok(()),
    }
}
