//! Encoded media that comes live is given on some buffers at a time, by the supervisor: threads that are woken for
//! several at once, and find each other's data in the caches, need less of the processor than those that are woken
//! for each.

use super::{Supervisor, TICK};
use crate::{formats::Plan, model::timeline::Ns, session::track::Track};
use std::{
    thread,
    time::{Duration, Instant},
};

/// So long it may be gathered at the most …
const MOST: Duration = Duration::from_millis(200);
/// … and no longer than this part of a timeslice, or of what may wait.
const PART: u32 = 8;
/// The last packet has so long to get through the muxer.
const THROUGH: Duration = Duration::from_millis(5);
/// Media that was let go for `request-data` is not waited for longer than this.
const THROUGH_AT_MOST: Duration = Duration::from_millis(100);

/// What a recording's supervisor knows of what it gathers.
pub(super) struct Gathered {
    /// When it was let go last.
    at: Instant,
    /// Whether there was any then.
    any: bool,
}

impl Supervisor {
    /// The recording runs: from now on its media is gathered, if all of it comes live and goes into the file as it is,
    /// and nobody wants the bytes at once.
    pub(super) fn gather(&mut self) {
        let session = &self.session;
        let sent = session.src.is_linked();
        let live = session.tracks.iter().all(Track::is_live);
        let copied = self.plan.as_ref().is_some_and(Plan::copies_all);
        if live && copied && !sent && self.gathers_for() >= TICK {
            session.tracks.iter().for_each(Track::gather);
            self.gathered = Some(Gathered {
                at: Instant::now(),
                any: true,
            });
        }
    }

    /// Whether something is gathered, as far as is known.
    pub(super) fn has_gathered(&self) -> bool {
        self.gathered.as_ref().is_some_and(|gathered| gathered.any)
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
        let Some(last) = &self.gathered else {
            return;
        };
        // A tick may come a little early.
        if !asked && !stopped && last.at.elapsed() + TICK / 2 < self.gathers_for() {
            return;
        }
        let mut any = false;
        for track in &self.session.tracks {
            any |= track.let_go();
        }
        let at = Instant::now();
        self.gathered = Some(Gathered { at, any });
        // It may have been let go just before that.
        if asked {
            self.wait_until_through(at);
        }
    }

    /// Waits until the muxer has taken what it can of what there was at `since`: all of some track.
    fn wait_until_through(&self, since: Instant) {
        let starves = || self.session.tracks.iter().any(Track::is_starving);
        while !starves() && !self.all_closed() && since.elapsed() < THROUGH_AT_MOST {
            thread::sleep(THROUGH / 5);
        }
        thread::sleep(THROUGH);
    }
}
