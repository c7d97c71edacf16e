//! How a recording ends: by `stop`, by itself, or because of an error.

use super::{Session, lock};
use crate::{
    log::{CAT, time},
    model::{
        EndReason, Error,
        timeline::{Ns, Timeline},
    },
};
use std::{
    sync::PoisonError,
    time::{Duration, Instant},
};

impl Session {
    /// Ends the recording with what has been captured so far; FALSE if it has already failed or ended.
    ///
    /// A pending error about modified tracks is not reported any more (MediaRecorder-stop.html).
    pub fn stop(&self) -> bool {
        {
            let mut control = lock(&self.control);
            let told = control.stopped.is_some() && control.modified.is_none();
            if control.error.is_some() || told {
                return false;
            }
            control.modified = None;
            control.reason.get_or_insert(EndReason::Stop);
        }
        self.timeline.write(|timeline| timeline.stop(self.now()));
        self.stopped(false);
        true
    }

    /// Ends it at `max-duration`, once `progress` (running time) has reached that.
    pub(super) fn stop_at_max_duration(&self, progress: Ns) {
        if let Some(end) = self.timeline.read(|t| t.max_duration_reached(progress)) {
            self.stop_because(EndReason::MaxDuration, |_| end);
        }
    }

    /// Ends it for this reason, as `stop` does, at the running time that `at` returns. `at` is called with the
    /// timeline locked.
    pub(super) fn stop_because(&self, reason: EndReason, at: impl FnOnce(&Timeline) -> Ns) {
        {
            let mut control = lock(&self.control);
            if control.stopped.is_some() || control.error.is_some() {
                return;
            }
            control.reason = Some(reason);
        }
        self.timeline.write(|timeline| {
            let at = at(timeline);
            timeline.stop(at)
        });
        self.stopped(false);
    }

    /// The tracks have been modified, which ends the recording as `stop` does, but with an error.
    pub fn tracks_modified(&self, error: Error) {
        {
            let mut control = lock(&self.control);
            if control.stopped.is_some() {
                return;
            }
            control.modified = Some(error);
        }
        self.timeline.write(|timeline| timeline.stop(self.now()));
        self.stopped(false);
    }

    /// Ends the recording with what has arrived. PAUSED is left, so no more media will arrive.
    pub fn go_down(&self) {
        let stopped = lock(&self.control).stopped.is_some();
        if !stopped {
            self.timeline.write(|timeline| {
                timeline.stop(if self.any_live() {
                    self.clock.left_playing()
                } else {
                    self.clock.furthest()
                })
            });
        }
        self.drain_decoders();
        self.stopped(true);
    }

    pub(super) fn stopped(&self, going_down: bool) {
        let (at, recorded) = self.timeline.read(|t| (t.stopped_at(), t.duration()));
        gst::info!(
            CAT,
            id = &self.label,
            "Stopped at running time {}, {} recorded{}",
            time(at.unwrap_or_default()),
            time(recorded),
            if going_down {
                "; nothing more will come"
            } else {
                ""
            }
        );
        let mut control = lock(&self.control);
        control.stopped.get_or_insert_with(Instant::now);
        control.going_down |= going_down;
        if going_down {
            control.reason.get_or_insert(EndReason::StateChange);
        }
        drop(control);
        if going_down {
            self.backpressure.open();
        }
        self.backpressure.wake();
    }

    /// Ends the recording with an error. What has been recorded is delivered.
    pub fn fail(&self, error: Error) {
        gst::warning!(CAT, id = &self.label, "Fails: {error}");
        let mut control = lock(&self.control);
        if control.error.is_none() {
            control.error = Some(error);
        }
        drop(control);
        self.backpressure.open();
    }

    /// The error that its last part reports, unless that has failed itself: its tracks were modified, or it failed.
    pub(super) fn take_error(&self) -> Option<Error> {
        let mut control = lock(&self.control);
        let failure = control.error.take();
        control.modified.take().or(failure)
    }

    /// Whether its last events have been queued, or are being queued.
    pub fn is_over(&self) -> bool {
        lock(&self.control).over
    }

    /// Where it ends, once that is known.
    pub fn end(&self) -> Option<Ns> {
        self.timeline.read(Timeline::end)
    }

    /// Waits up to `timeout` until everything is done and all events are queued.
    pub fn wait(&self, timeout: Duration) -> bool {
        let control = lock(&self.control);
        let (control, _) = self
            .done
            .wait_timeout_while(control, timeout, |control| !control.finished)
            .unwrap_or_else(PoisonError::into_inner);
        control.finished
    }
}
