//! Turns panics into failures of the recording.

use super::Session;
use crate::model::Error;
use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

impl Session {
    /// Runs a callback that must not unwind: a panic fails the recording.
    pub(crate) fn contain(&self, run: impl FnOnce(&Self)) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(self))) {
            self.fail(panicked(&*panic));
        }
    }
}

/// The error of a recording that has panicked.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Error {
    let what = panic_text(panic);
    Error::unknown(format!("The recorder has failed: {what}"))
}

/// The message of a panic.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it panicked".into())
}
