//! Encoded media that comes live is given on some buffers at a time, by the supervisor: threads that are woken for
//! several at once, and find each other's data in the caches, need less of the processor than those that are woken
//! for each.

use super::{Supervisor, TICK};
use crate::{formats::Plan, model::timeline::Ns, session::track::Track};
use std::{
    thread,
    time::{Duration, Instant},
};

/// So long it may be batched at the most …
const MAX_BATCH_TIME: Duration = Duration::from_millis(200);
/// … and no longer than this part of a timeslice, or of what may wait.
const TIMESLICE_FRACTION: u32 = 8;
/// The last packet has so long to get through the muxer.
const FLUSH_TIME: Duration = Duration::from_millis(5);
/// Media that was let go for `request-data` is not waited for longer than this.
const MAX_FLUSH_TIME: Duration = Duration::from_millis(100);

/// What a recording's supervisor knows of what it gathers.
pub(super) struct Batch {
    /// When it was let go last.
    at: Instant,
    /// Whether there was any then.
    any: bool,
}

impl Supervisor {
    /// The recording runs: from now on its media is batched, if all of it comes live and goes into the file as it is,
    /// and nobody wants the bytes at once.
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

    /// Whether something is batched, as far as is known.
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

    /// Gives on what has been batched for long enough, or is asked for, or is the last.
    pub(super) fn flush_batch(&mut self, asked: bool, stopped: bool) {
        let Some(last) = &self.batch else {
            return;
        };
        // A tick may come a little early.
        if !asked && !stopped && last.at.elapsed() + TICK / 2 < self.batch_time() {
            return;
        }
        let mut any = false;
        for track in &self.session.tracks {
            any |= track.flush_batch(self.part.number);
        }
        let at = Instant::now();
        self.batch = Some(Batch { at, any });
        // It may have been let go just before that.
        if asked {
            self.wait_until_muxed(at);
        }
    }

    /// Waits until the muxer has taken what it can of what there was at `since`: all of some track.
    fn wait_until_muxed(&self, since: Instant) {
        let starves = || self.session.tracks.iter().any(Track::is_starving);
        while !starves() && !self.all_closed() && since.elapsed() < MAX_FLUSH_TIME {
            thread::sleep(FLUSH_TIME / 5);
        }
        thread::sleep(FLUSH_TIME);
    }
}
