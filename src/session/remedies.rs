//! Which encoder replaces one that has failed, and the warning about it.

use super::{
    encoding::{FailedEncoders, candidates},
    fixups::ChainSpec,
};
use crate::model::Error;
use std::time::Duration;

/// How to replace an encoder, best first. If neither is possible, the recording goes on in a new part, or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// The next best encoder of the codec.
    Next,
    /// A new instance of the encoder that failed, once.
    Fresh,
}

/// An encoder that has failed: its factory, if one was created at all, and why.
pub type Failed = (Option<glib::GString>, Error);

/// What has been tried to replace encoders that failed.
#[derive(Debug, Default)]
pub struct Remedies {
    failed: FailedEncoders,
    /// Tracks whose encoder has been replaced with a new one of the same kind.
    refreshed: Vec<String>,
}

impl Remedies {
    /// Factories that are not to be used again.
    pub fn failed(&self) -> &FailedEncoders {
        &self.failed
    }

    /// Replaces an encoder of a track that has `failed`: one after another is tried until one works. `spec` is for the
    /// encoder that takes over; `build` sets up the best one that has not failed.
    ///
    /// # Errors
    /// The last error if none works.
    pub fn replace(
        &mut self,
        track: &str,
        (old, mut error): Failed,
        spec: &ChainSpec,
        mut build: impl FnMut(&FailedEncoders) -> Result<(), Failed>,
    ) -> Result<Remedy, Error> {
        let mut failed = old.clone();
        let mut any_works = true;
        loop {
            if let Some(failed) = failed.take() {
                self.failed.add(failed);
            }
            let remedy = if any_works && !candidates(spec, &self.failed).is_empty() {
                Remedy::Next
            } else {
                let refreshed = self.refreshed.iter().any(|known| known == track);
                let Some(old) = old.as_deref().filter(|_| !refreshed) else {
                    return Err(error);
                };
                self.refreshed.push(track.to_owned());
                self.failed.forgive(old);
                Remedy::Fresh
            };
            match build(&self.failed) {
                Ok(()) => return Ok(remedy),
                Err((factory, next)) => {
                    // Otherwise none of those available works.
                    any_works &= factory.is_some();
                    failed = factory;
                    error = next;
                }
            }
        }
    }
}

/// An encoder hangs: no output for `patience`.
pub fn hang(patience: Duration) -> Error {
    let patience = patience.as_millis();
    Error::unknown(format!(
        "it hangs: no output for {patience} ms while it held input."
    ))
}

/// The warning that the encoder `old` of a track is replaced by `new`; more may follow.
pub fn warning(
    track: &str,
    (old, new): (Option<&str>, Option<&str>),
    remedy: Remedy,
    error: &Error,
) -> String {
    let (old, new) = (old.unwrap_or("unknown"), new.unwrap_or("another"));
    let fresh = match remedy {
        Remedy::Next => "",
        Remedy::Fresh => "a fresh ",
    };
    format!("The encoder of {track} ({old}) has failed: {error} It is replaced by {fresh}{new}")
}
