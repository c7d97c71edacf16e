//! The typed Rust API: construction, tracks, actions, events.

use super::{Blob, Events, Mark, MediaRecorder, MediaRecorderPad, Part, RecorderState};
use crate::model::{Command, Error, ErrorCode};
use glib::SignalHandlerId;
use gst::{prelude::*, subclass::prelude::*};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
};

impl Default for MediaRecorder {
    fn default() -> Self {
        Self::new()
    }
}

/// The recorder's error that came as a `GError`.
fn typed(error: &glib::Error) -> Error {
    let code = error.kind::<ErrorCode>().unwrap_or(ErrorCode::Unknown);
    Error::new(code, error.message())
}

/// Making one, and its tracks.
impl MediaRecorder {
    /// A recorder without tracks, with every property at its default.
    ///
    /// GStreamer has to be initialized. The plugin need not be registered: that is only for
    /// those who make the element by its name. (Then not both from this crate and from an
    /// installed plugin in one process: a type has one owner.)
    pub fn new() -> Self {
        glib::Object::new()
    }

    /// A new track, for a source of sound to be linked to; `None` while that is not possible.
    /// A track more ends a recording that is on, see [`ErrorCode::InvalidModification`].
    pub fn add_audio_track(&self) -> Option<MediaRecorderPad> {
        self.request_pad_simple("audio_%u")?.downcast().ok()
    }

    /// A new track for a picture, as [`MediaRecorder::add_audio_track`].
    pub fn add_video_track(&self) -> Option<MediaRecorderPad> {
        self.request_pad_simple("video_%u")?.downcast().ok()
    }

    /// Whether `mime_type` can be recorded with the GStreamer plugins that are installed
    /// (W3C `isTypeSupported`).
    pub fn is_type_supported(mime_type: &str) -> bool {
        crate::formats::is_type_supported(mime_type)
    }
}

/// The actions. They may be called from any thread and return at once;
/// [`MediaRecorder::recorder_state`] has its new value on return, the events follow.
impl MediaRecorder {
    /// Begins a recording, at this instant of capture time.
    ///
    /// # Errors
    /// InvalidState while a recording is on. NotSupported without a track that goes on, below
    /// PAUSED, for a type that cannot be recorded or cannot carry a track. Unknown if
    /// `location` cannot be opened for writing.
    pub fn start(&self) -> Result<(), Error> {
        self.imp().act(Command::Start)
    }

    /// Leaves out what is captured from now on. Nothing if it is paused already.
    ///
    /// # Errors
    /// InvalidState while nothing is being recorded.
    pub fn pause(&self) -> Result<(), Error> {
        self.imp().act(Command::Pause)
    }

    /// Records again what is captured from now on. Nothing if it is not paused.
    ///
    /// # Errors
    /// InvalidState while nothing is being recorded.
    pub fn resume(&self) -> Result<(), Error> {
        self.imp().act(Command::Resume)
    }

    /// Ends the recording at this instant of capture time. What was captured before is still
    /// encoded: the file is whole, and the last blob there, at [`MediaRecorder::connect_stop`].
    ///
    /// # Errors
    /// InvalidState while nothing is being recorded (as MDN has it).
    pub fn stop(&self) -> Result<(), Error> {
        self.imp().act(Command::Stop)
    }

    /// Hands out a blob of what has been recorded so far.
    ///
    /// # Errors
    /// InvalidState while nothing is being recorded.
    pub fn request_data(&self) -> Result<(), Error> {
        self.imp().act(Command::RequestData)
    }

    /// Ends the part that is on, and goes on in the next without a seam: each part is a file of its own, which
    /// [`MediaRecorder::connect_part`] tells when it is whole. In a pause the next part begins at the resume. Nothing if
    /// nothing has been recorded since the last split.
    ///
    /// # Errors
    /// InvalidState while nothing is being recorded. NotSupported where no part may begin: `location` has no `%d`, or
    /// the `src` pad is linked.
    pub fn split_now(&self) -> Result<(), Error> {
        self.imp().act(Command::SplitNow)
    }

    /// Names this instant: there is a chapter of this title in the file. In a pause it is at the cut, and before it is
    /// known where the recording begins, at its begin. `title` may be empty.
    ///
    /// # Errors
    /// InvalidState while nothing is being recorded.
    pub fn mark(&self, title: &str) -> Result<(), Error> {
        self.imp().mark(title)
    }

    /// Whether a recording is on (W3C `state`; `state` alone is that of the element).
    pub fn recorder_state(&self) -> RecorderState {
        self.imp().recorder_state()
    }
}

/// The events. Handlers run in a thread of the recorder's own, in order, with no lock held:
/// they may call anything, and may block without stalling the recording.
/// [`MediaRecorder::events`] brings the same to asynchronous code.
impl MediaRecorder {
    /// The recording has begun; [`MediaRecorder::mime_type`] is the actual type.
    pub fn connect_start(&self, f: impl Fn(&Self) + Send + Sync + 'static) -> SignalHandlerId {
        self.connect_plain("on-start", f)
    }

    /// The recording was paused.
    pub fn connect_pause(&self, f: impl Fn(&Self) + Send + Sync + 'static) -> SignalHandlerId {
        self.connect_plain("on-pause", f)
    }

    /// The recording goes on.
    pub fn connect_resume(&self, f: impl Fn(&Self) + Send + Sync + 'static) -> SignalHandlerId {
        self.connect_plain("on-resume", f)
    }

    /// A piece of the recording: each `timeslice`, at `request_data`, and one at the end.
    pub fn connect_data_available(
        &self,
        f: impl Fn(&Self, Blob) + Send + Sync + 'static,
    ) -> SignalHandlerId {
        self.connect_closure(
            "on-data-available",
            false,
            glib::closure!(move |this: Self, sample: gst::Sample| f(&this, Blob::new(sample))),
        )
    }

    /// The recording cannot go on; what there is follows as the last blob.
    pub fn connect_error(
        &self,
        f: impl Fn(&Self, Error) + Send + Sync + 'static,
    ) -> SignalHandlerId {
        self.connect_closure(
            "on-error",
            false,
            glib::closure!(move |this: Self, error: glib::Error| f(&this, typed(&error))),
        )
    }

    /// A part of the recording is over, and its file whole. A recording that is never split has one.
    pub fn connect_part(&self, f: impl Fn(&Self, Part) + Send + Sync + 'static) -> SignalHandlerId {
        self.connect_closure(
            "on-part",
            false,
            glib::closure!(move |this: Self, part: gst::Structure| f(&this, Part::of(&part))),
        )
    }

    /// A mark has its place in the recording.
    pub fn connect_mark(&self, f: impl Fn(&Self, Mark) + Send + Sync + 'static) -> SignalHandlerId {
        self.connect_closure(
            "on-mark",
            false,
            glib::closure!(move |this: Self, mark: gst::Structure| f(&this, Mark::of(&mark))),
        )
    }

    /// The last event of a recording.
    pub fn connect_stop(&self, f: impl Fn(&Self) + Send + Sync + 'static) -> SignalHandlerId {
        self.connect_plain("on-stop", f)
    }

    /// An encoder was made for a track and tuned, and is in NULL: a place for settings of your
    /// own. Comes again for each encoder that is tried.
    pub fn connect_encoder_setup(
        &self,
        f: impl Fn(&Self, &MediaRecorderPad, &gst::Element) + Send + Sync + 'static,
    ) -> SignalHandlerId {
        self.connect_closure(
            "encoder-setup",
            false,
            glib::closure!(
                move |this: Self, pad: MediaRecorderPad, encoder: gst::Element| {
                    f(&this, &pad, &encoder)
                }
            ),
        )
    }

    /// Names the file of each part, by its number in the recording, from 0: `None` leaves that to
    /// [`MediaRecorder::location`], which needs no `%d` then. Called from a thread of the recorder's before the part's
    /// first byte; its media waits until it returns. A name that cannot be used, and a panic, are a WARNING, and the
    /// file is named by `location` if that has a `%d`; else the recording ends with an error (at
    /// [`MediaRecorder::start`]: is refused).
    pub fn connect_format_location(
        &self,
        f: impl Fn(&Self, u32) -> Option<PathBuf> + Send + Sync + 'static,
    ) -> SignalHandlerId {
        self.connect("format-location", false, move |values| {
            let this = values.first().and_then(|this| this.get::<Self>().ok());
            let part = values.get(1).and_then(|part| part.get::<u32>().ok());
            let named = this.zip(part).and_then(|(this, part)| {
                let named = catch_unwind(AssertUnwindSafe(|| f(&this, part)));
                // No file has an empty name.
                named.unwrap_or(Some(PathBuf::new()))
            });
            Some(named.to_value())
        })
    }

    /// All of these events from now on, as an asynchronous stream.
    pub fn events(&self) -> Events {
        Events::of(self)
    }

    fn connect_plain(
        &self,
        signal: &str,
        f: impl Fn(&Self) + Send + Sync + 'static,
    ) -> SignalHandlerId {
        self.connect_closure(signal, false, glib::closure!(move |this: Self| f(&this)))
    }
}

impl MediaRecorderPad {
    /// Records silence, or black, instead of this track while TRUE; from this instant on.
    pub fn set_muted(&self, muted: bool) {
        self.set_property("mute", muted);
    }
}
