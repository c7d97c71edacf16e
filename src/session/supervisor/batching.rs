//! Encoded live media is pushed in batches, by the supervisor. Threads that wake up once for several buffers, and
//! find each other's data in the caches, use less CPU than threads that wake up for each.

use super::{Supervisor, TICK};
use crate::{formats::Plan, model::timeline::Ns, session::track::Track};
use std::{
    thread,
    time::{Duration, Instant},
};

/// Maximum time to batch …
const MAX_BATCH_TIME: Duration = Duration::from_millis(200);
/// … and maximum fraction of a timeslice, or of the queue limit.
const TIMESLICE_FRACTION: u32 = 8;
/// How long the last packet may take through the muxer.
const FLUSH_TIME: Duration = Duration::from_millis(5);
/// Maximum wait for media that was flushed for `request-data`.
const MAX_FLUSH_TIME: Duration = Duration::from_millis(100);

/// State of the batches of a part.
pub(super) struct Batch {
    /// When the last batch was flushed.
    at: Instant,
    /// Whether it had any buffers.
    any: bool,
}

impl Supervisor {
    /// The recording is running: starts batching if all media is live and copied, and no one needs the bytes
    /// immediately.
    pub(super) fn start_batching(&mut self) {
        let session = &self.session;
        let sent = session.src.is_linked();
        let live = session.tracks.iter().all(Track::is_live);
        let copied = self.plan.as_ref().is_some_and(Plan::copies_all);
        if live && copied && !sent && self.batch_time() >= TICK {
            let part = self.part.number;
            let tracks = session.tracks.iter();
            tracks.for_each(|track| track.start_batching(part));
            self.batch = Some(Batch {
                at: Instant::now(),
                any: true,
            });
        }
    }

    /// Whether anything is batched, as far as is known.
    pub(super) fn has_batch(&self) -> bool {
        self.batch.as_ref().is_some_and(|batch| batch.any)
    }

    fn batch_time(&self) -> Duration {
        let settings = &self.session.settings;
        let part = |whole: Ns| match whole {
            0 => MAX_BATCH_TIME,
            whole => Duration::from_nanos(whole) / TIMESLICE_FRACTION,
        };
        MAX_BATCH_TIME
            .min(part(settings.timeslice))
            .min(part(settings.patience_ns()))
    }

    /// Flushes the batch if it is old enough, is requested, or is the last.
    pub(super) fn flush_batch(&mut self, asked: bool, stopped: bool) {
        let Some(last) = &self.batch else {
            return;
        };
        // A tick may be a little early.
        if !asked && !stopped && last.at.elapsed() + TICK / 2 < self.batch_time() {
            return;
        }
        let mut any = false;
        for track in &self.session.tracks {
            any |= track.flush_batch(self.part.number);
        }
        let at = Instant::now();
        self.batch = Some(Batch { at, any });
        // The media may have been pushed just before this.
        if asked {
            self.wait_until_muxed(at);
        }
    }

    /// Waits until the muxer has consumed what it can of the media pushed by `since`, which is all media of at least
    /// one track.
    fn wait_until_muxed(&self, since: Instant) {
        let starves = || self.session.tracks.iter().any(Track::is_starving);
        while !starves() && !self.all_closed() && since.elapsed() < MAX_FLUSH_TIME {
            thread::sleep(FLUSH_TIME / 5);
        }
        thread::sleep(FLUSH_TIME);
    }
}
