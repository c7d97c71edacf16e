//! Encoded media that comes live is given on some buffers at a time, by the supervisor: threads that are woken for
//! several at once, and find each other's data in the caches, need less of the processor than those that are woken
//! for each.

use super::{Supervisor, TICK};
use crate::{model::timeline::Ns, session::track::Track};
use std::{
    thread,
    time::{Duration, Instant},
};

/// So long it may be gathered at the most …
const MOST: Duration = Duration::from_millis(200);
/// … and no longer than this part of a timeslice, or of what may wait.
const PART: u32 = 8;
/// Media that was let go for `request-data` has so long to get through the muxer.
const THROUGH: Duration = Duration::from_millis(5);

impl Supervisor {
    /// The recording runs: from now on its media is gathered, if all of it comes live and goes into the file as it is,
    /// and nobody wants the bytes at once.
    pub(super) fn gather(&mut self) {
        let session = &self.session;
        let sent = session.src.as_ref().is_some_and(|src| src.is_linked());
        let copied = session
            .tracks
            .iter()
            .all(|track| track.is_live() && track.is_encoded());
        if copied && !sent && self.gathers_for() >= TICK {
            session.tracks.iter().for_each(Track::gather);
            self.let_go = Some(Instant::now());
        }
    }

    fn gathers_for(&self) -> Duration {
        let settings = &self.session.settings;
        let part = |whole: Ns| match whole {
            0 => MOST,
            whole => Duration::from_nanos(whole) / PART,
        };
        MOST.min(part(settings.timeslice))
            .min(part(settings.max_queue_time))
    }

    /// Gives on what has been gathered for long enough, or is asked for, or is the last.
    pub(super) fn let_go(&mut self, asked: bool, stopped: bool) {
        let Some(last) = self.let_go else {
            return;
        };
        // A tick may come a little early.
        if !asked && !stopped && last.elapsed() + TICK / 2 < self.gathers_for() {
            return;
        }
        self.let_go = Some(Instant::now());
        let mut any = false;
        for track in &self.session.tracks {
            any |= track.let_go();
        }
        if any && asked {
            thread::sleep(THROUGH);
        }
    }
}
