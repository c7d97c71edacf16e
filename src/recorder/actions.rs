//! The actions, autostart, and everything that ends a recording.

use super::{guard::guarded, imp::MediaRecorder};
use crate::{
    formats::Refusal,
    model::{Command, Effect, Error, State},
    session::{Begin, lock},
};
use gst::subclass::prelude::*;
use std::{sync::atomic::Ordering, time::Duration};

impl MediaRecorder {
    /// Runs an action; `state` is up to date on return.
    pub(super) fn act(&self, command: Command) -> Result<(), Error> {
        self.act_with(command, "")
    }

    /// Adds a mark at the current instant.
    pub(super) fn mark(&self, title: &str) -> Result<(), Error> {
        self.act_with(Command::Mark, title)
    }

    fn act_with(&self, command: Command, title: &str) -> Result<(), Error> {
        let done = self.try_to_act(command, title);
        if let Err(error) = &done {
            gst::info!(super::imp::CAT, imp = self, "{command:?} refused: {error}");
        }
        done
    }

    /// `title` is the title of a mark.
    fn try_to_act(&self, command: Command, title: &str) -> Result<(), Error> {
        crate::fault::place("action");
        let upstreams = match command {
            Command::Start => self.upstreams(),
            _ => Vec::new(),
        };
        let named = match command {
            Command::Start => self.name_of_first()?,
            _ => None,
        };
        let acting = lock(&self.acting);
        let effect = self.state().apply(command)?;
        self.follow_base_time();
        gst::info!(super::imp::CAT, imp = self, "{command:?} {effect}");
        let before = self.readings();
        let current = lock(&self.control).current.clone();
        let events = match (effect, current) {
            (Effect::Nothing, _) => return Ok(()),
            (Effect::To(State::Recording), None) => match self.begin(Begin::Now, &upstreams, named)
            {
                Ok(events) => events,
                Err(refusal) => {
                    drop(acting);
                    self.post_missing(&refusal.missing);
                    return Err(refusal.error);
                }
            },
            (Effect::To(state), Some(session)) => {
                let events = session.hold_events().ok_or_else(|| just_ended(command))?;
                let done = match state {
                    State::Recording => session.resume(),
                    State::Paused => session.pause(),
                    State::Inactive => session.stop(),
                };
                if !done {
                    return Err(just_ended(command));
                }
                self.set_state_value(state);
                events
            }
            (Effect::Part, Some(session)) => {
                self.can_split("split-now", session.pattern())?;
                if !session.split_now() {
                    return Err(just_ended(command));
                }
                drop(acting);
                self.ask_for_key_frames();
                return Ok(());
            }
            (Effect::Blob | Effect::Mark, Some(session)) => {
                let done = match effect {
                    Effect::Mark => session.mark(title),
                    _ => session.request_data(),
                };
                return if done {
                    Ok(())
                } else {
                    Err(just_ended(command))
                };
            }
            (_, None) => return Ok(()),
        };
        drop(acting);
        self.ask_for_key_frames();
        self.notify_state(&before);
        drop(events);
        Ok(())
    }

    /// Makes the current recording request the keyframes it needs now.
    fn ask_for_key_frames(&self) {
        let current = lock(&self.control).current.clone();
        if let Some(session) = current {
            session.ask_for_key_frames();
        }
    }

    /// Sets `state`; the caller notifies, without holding a lock.
    pub(super) fn set_state_value(&self, state: State) {
        let mut control = lock(&self.control);
        control.state = state;
        if state == State::Inactive {
            control.current = None;
            control.actual = None;
            drop(control);
            lock(&self.values).bitrates.end();
        }
    }

    /// Handles a recording that ended on its own: sets `state` to inactive.
    pub(super) fn session_ended(&self, id: u64) {
        let acting = lock(&self.acting);
        let current = lock(&self.control).current.as_ref().map(|s| s.id());
        if current != Some(id) {
            return;
        }
        let before = self.readings();
        self.set_state_value(State::Inactive);
        drop(acting);
        self.notify_state(&before);
    }

    /// `autostart`: starts a recording at the first buffer, in that buffer's streaming thread. First buffers of other
    /// pads block here until the recording takes them.
    pub(super) fn autostart(&self) {
        let upstreams = self.upstreams();
        let named = self.name_of_first();
        let acting = lock(&self.acting);
        if !self.armed.load(Ordering::SeqCst) {
            return;
        }
        let before = self.readings();
        let mut missing = Vec::new();
        let begun = match self.state() {
            State::Inactive => guarded(|| {
                let begun = named.map_err(Refusal::from);
                let begun =
                    begun.and_then(|named| self.begin(Begin::EarliestBuffer, &upstreams, named));
                begun.map_err(|refusal| {
                    missing = refusal.missing;
                    refusal.error
                })
            }),
            State::Recording | State::Paused => {
                self.armed.store(false, Ordering::SeqCst);
                return;
            }
        };
        self.armed.store(false, Ordering::SeqCst);
        match begun {
            Ok(events) => {
                let mut control = lock(&self.control);
                control.autostarted = control.current.as_ref().map(|s| s.id());
                drop(control);
                drop(acting);
                self.notify_state(&before);
                drop(events);
            }
            Err(error) => {
                drop(acting);
                self.post_missing(&missing);
                gst::element_imp_error!(self, gst::LibraryError::Failed, ("{}", error.message()));
            }
        }
    }

    /// Fails the current recording because a track was added or removed.
    pub(super) fn tracks_modified(&self, what: String) {
        let current = lock(&self.control).current.clone();
        if let Some(session) = current {
            session.tracks_modified(Error::invalid_modification(what));
        }
    }

    /// PAUSED→READY: ends the current recording and waits for its completion.
    pub(super) fn go_down(&self) {
        {
            let mut hold = lock(&self.hold);
            hold.playing = false;
            hold.down = true;
        }
        self.held.notify_all();
        self.armed.store(false, Ordering::SeqCst);
        // Once locked, no action is in progress and no recording can start any more.
        let acting = lock(&self.acting);
        let (sessions, current) = {
            let control = lock(&self.control);
            (control.sessions.clone(), control.current.clone())
        };
        // A thread that has acted and is about to notify may be waiting for this.
        for session in &sessions {
            session.release_events();
        }
        let before = self.readings();
        let is_on = current.is_some();
        let events = current.and_then(|session| session.hold_events());
        for session in &sessions {
            session.go_down();
        }
        self.finish_past();
        if is_on {
            self.set_state_value(State::Inactive);
        }
        drop(acting);
        if is_on {
            self.notify_state(&before);
        }
        drop(events);
        if sessions.iter().any(|session| session.is_current_thread()) {
            return;
        }
        let timeout = Duration::from_nanos(lock(&self.values).stop_timeout);
        for session in &sessions {
            let drain = session.settings().stop_timeout * 2 + Duration::from_secs(1);
            if !session.wait(drain) {
                gst::warning!(super::imp::CAT, imp = self, "A recording does not end.");
            }
        }
        if let Some(dispatcher) = self.dispatcher.get()
            && !dispatcher.is_current_thread()
            && !dispatcher.wait_until_idle(timeout)
        {
            gst::warning!(super::imp::CAT, imp = self, "A handler takes its time.");
        }
    }
}

/// The recording has ended, but `state` is not notified before its final events.
pub(super) fn just_ended(command: Command) -> Error {
    Error::invalid_state(format!(
        "{command:?}: the recording has just ended, see on-error and on-stop; start begins the \
         next one"
    ))
}
