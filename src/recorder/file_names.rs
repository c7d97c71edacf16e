//! `format-location`: the application names the file of each part.

use super::imp::MediaRecorder;
use crate::model::{Error, State};
use glib::{signal::signal_has_handler_pending, subclass::SignalId};
use gst::{prelude::*, subclass::prelude::*};
use std::{path::PathBuf, thread};

const SIGNAL: &str = "format-location";

impl MediaRecorder {
    /// Whether the application has connected a handler.
    pub(super) fn names_files(&self) -> bool {
        let obj = self.obj();
        SignalId::lookup(SIGNAL, obj.type_())
            .is_some_and(|signal| signal_has_handler_pending(&*obj, signal, None, false))
    }

    /// Asks the application for the name of this part's file; `None` if it has none. Call without a lock, from a thread
    /// of the recorder.
    pub(super) fn file_name(&self, part: u32) -> Result<Option<String>, Error> {
        if !self.names_files() {
            return Ok(None);
        }
        let answer = self
            .obj()
            .emit_by_name_with_values(SIGNAL, &[part.to_value()]);
        // glib requires UTF-8 in a String.
        let path = answer.and_then(|answer| answer.get::<Option<PathBuf>>().ok().flatten());
        let Some(path) = path else {
            return Ok(None);
        };
        match path.to_str().filter(|path| !path.is_empty()) {
            Some(path) => Ok(Some(path.to_owned())),
            None => Err(Error::not_supported(format!(
                "format-location returned \"{}\" for part {part}, which is not a valid file name; return a path in \
                 UTF-8, or NULL to use location",
                path.display()
            ))),
        }
    }

    /// The name of the first part; from any thread, without a lock. `None` if no recording can start.
    pub(super) fn name_of_first(&self) -> Result<Option<String>, Error> {
        if !self.names_files() || self.state() != State::Inactive {
            return Ok(None);
        }
        let recorder = self.obj().clone();
        let asking = thread::Builder::new()
            .name("mediarecorder-name".into())
            .spawn(move || recorder.imp().file_name(0))
            .map_err(|err| Error::unknown(format!("start: cannot create a thread: {err}")))?;
        let failed = || Error::unknown("start: a handler of format-location has failed");
        asking.join().map_err(|_| failed())?
    }
}
