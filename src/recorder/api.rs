//! The typed Rust API.

use super::{MediaRecorder, RecorderState};
use crate::model::{Command, Error};
use gst::{prelude::*, subclass::prelude::*};

impl Default for MediaRecorder {
    fn default() -> Self {
        Self::new()
    }
}

impl MediaRecorder {
    /// A recorder without tracks: request pads `audio_%u` and `video_%u`.
    pub fn new() -> Self {
        glib::Object::new()
    }

    /// Begins a recording, see the action signal `start`.
    pub fn start(&self) -> Result<(), Error> {
        self.imp().act(Command::Start)
    }

    /// Leaves out what is captured from now on, see the action signal `pause`.
    pub fn pause(&self) -> Result<(), Error> {
        self.imp().act(Command::Pause)
    }

    /// Records again what is captured from now on, see the action signal `resume`.
    pub fn resume(&self) -> Result<(), Error> {
        self.imp().act(Command::Resume)
    }

    /// Ends the recording, see the action signal `stop`.
    pub fn stop(&self) -> Result<(), Error> {
        self.imp().act(Command::Stop)
    }

    /// Hands out a blob now, see the action signal `request-data`.
    pub fn request_data(&self) -> Result<(), Error> {
        self.imp().act(Command::RequestData)
    }

    /// Whether a recording is on.
    pub fn recorder_state(&self) -> RecorderState {
        self.imp().recorder_state()
    }

    /// Whether `mime_type` can be recorded with the plugins that are installed.
    pub fn is_type_supported(mime_type: &str) -> bool {
        crate::formats::is_type_supported(mime_type)
    }

    /// The recording has begun.
    pub fn connect_start(
        &self,
        f: impl Fn(&Self) + Send + Sync + 'static,
    ) -> glib::SignalHandlerId {
        self.connect_closure(
            "on-start",
            false,
            glib::closure!(move |this: Self| f(&this)),
        )
    }

    /// The recording was paused.
    pub fn connect_pause(
        &self,
        f: impl Fn(&Self) + Send + Sync + 'static,
    ) -> glib::SignalHandlerId {
        self.connect_closure(
            "on-pause",
            false,
            glib::closure!(move |this: Self| f(&this)),
        )
    }

    /// The recording goes on.
    pub fn connect_resume(
        &self,
        f: impl Fn(&Self) + Send + Sync + 'static,
    ) -> glib::SignalHandlerId {
        self.connect_closure(
            "on-resume",
            false,
            glib::closure!(move |this: Self| f(&this)),
        )
    }

    /// A blob: the buffer's bytes, the container's caps.
    pub fn connect_data_available(
        &self,
        f: impl Fn(&Self, gst::Sample) + Send + Sync + 'static,
    ) -> glib::SignalHandlerId {
        self.connect_closure(
            "on-data-available",
            false,
            glib::closure!(move |this: Self, sample: gst::Sample| f(&this, sample)),
        )
    }

    /// The recording cannot go on; what there is follows as the last blob.
    pub fn connect_error(
        &self,
        f: impl Fn(&Self, glib::Error) + Send + Sync + 'static,
    ) -> glib::SignalHandlerId {
        self.connect_closure(
            "on-error",
            false,
            glib::closure!(move |this: Self, error: glib::Error| f(&this, error)),
        )
    }

    /// The last event of a recording.
    pub fn connect_stop(&self, f: impl Fn(&Self) + Send + Sync + 'static) -> glib::SignalHandlerId {
        self.connect_closure("on-stop", false, glib::closure!(move |this: Self| f(&this)))
    }
}
