//! Contains panics: a panic in any entry point ends the recording with an error, not the process or the pipeline.

use super::imp::MediaRecorder;
use crate::{
    model::Error,
    session::{lock, panic_text, panicked},
};
use glib::subclass::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs code that must not unwind into C, and turns a panic into an error.
pub(super) fn guarded<R>(run: impl FnOnce() -> Result<R, Error>) -> Result<R, Error> {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err(Error::unknown("The recorder has failed (it panicked).")))
}

impl MediaRecorder {
    /// Runs an entry point. If it panics, all active recordings fail and the caller gets `otherwise`.
    pub(super) fn contain<R>(&self, otherwise: R, run: impl FnOnce() -> R) -> R {
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
            let what = panic_text(&*panic);
            gst::error!(super::imp::CAT, imp = self, "Panicked: {what}");
            let sessions = lock(&self.control).sessions.clone();
            for session in sessions {
                session.fail(panicked(&*panic));
            }
            otherwise
        })
    }
}
