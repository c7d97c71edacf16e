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

/// Converts a `GError` of the recorder to its typed error.
fn typed(error: &glib::Error) -> Error {
    let code = error.kind::<ErrorCode>().unwrap_or(ErrorCode::Unknown);
    Error::new(code, error.message())
}

/// Construction and tracks.
impl MediaRecorder {
    /// Creates a recorder without tracks, with default properties.
    ///
    /// GStreamer has to be initialized. The plugin need not be registered: registration is only needed to create the
    /// element by name. (Do not mix this crate and an installed plugin in one process: a GType is registered once.)
    pub fn new() -> Self {
        glib::Object::new()
    }

    /// Adds an audio track; `None` while that is not possible. Adding a track ends the current recording, see
    /// [`ErrorCode::InvalidModification`].
    pub fn add_audio_track(&self) -> Option<MediaRecorderPad> {
        self.request_pad_simple("audio_%u")?.downcast().ok()
    }

    /// Adds a video track, like [`MediaRecorder::add_audio_track`].
    pub fn add_video_track(&self) -> Option<MediaRecorderPad> {
        self.request_pad_simple("video_%u")?.downcast().ok()
    }

    /// Whether `mime_type` can be recorded with the installed GStreamer plugins (W3C `isTypeSupported`).
    pub fn is_type_supported(mime_type: &str) -> bool {
        crate::formats::is_type_supported(mime_type)
    }
}

/// The actions. They can be called from any thread and return at once. [`MediaRecorder::recorder_state`] is up to date
/// on return; the events follow.
impl MediaRecorder {
    /// Starts a recording at this instant of capture time.
    ///
    /// # Errors
    /// InvalidState during a recording. NotSupported if every track is at EOS, below PAUSED, or if the type cannot be
    /// recorded or cannot contain a track. Unknown if `location` cannot be opened for writing.
    pub fn start(&self) -> Result<(), Error> {
        self.imp().act(Command::Start)
    }

    /// Pauses: drops what is captured from now on. No effect if already paused.
    ///
    /// # Errors
    /// InvalidState while inactive.
    pub fn pause(&self) -> Result<(), Error> {
        self.imp().act(Command::Pause)
    }

    /// Resumes: records what is captured from now on. No effect if not paused.
    ///
    /// # Errors
    /// InvalidState while inactive.
    pub fn resume(&self) -> Result<(), Error> {
        self.imp().act(Command::Resume)
    }

    /// Stops the recording at this instant of capture time. Media captured before is still encoded: the file and the
    /// last blob are complete at [`MediaRecorder::connect_stop`].
    ///
    /// # Errors
    /// InvalidState while inactive (as in MDN).
    pub fn stop(&self) -> Result<(), Error> {
        self.imp().act(Command::Stop)
    }

    /// Emits a blob of the data recorded so far.
    ///
    /// # Errors
    /// InvalidState while inactive.
    pub fn request_data(&self) -> Result<(), Error> {
        self.imp().act(Command::RequestData)
    }

    /// Ends the current part and continues in the next without a gap. Each part is a separate file, reported by
    /// [`MediaRecorder::connect_part`] once complete. While paused, the next part begins at the resume. No effect if
    /// nothing has been recorded since the last split.
    ///
    /// # Errors
    /// InvalidState while inactive. NotSupported if splitting is impossible: `location` has no `%d`, or the `src` pad
    /// is linked.
    pub fn split_now(&self) -> Result<(), Error> {
        self.imp().act(Command::SplitNow)
    }

    /// Adds a chapter with this title at the current instant. While paused it is placed at the cut; before the start is
    /// resolved, at the beginning. `title` may be empty.
    ///
    /// # Errors
    /// InvalidState while inactive.
    pub fn mark(&self, title: &str) -> Result<(), Error> {
        self.imp().mark(title)
    }

    /// The recording state (W3C `state`; `state` alone is that of the element).
    pub fn recorder_state(&self) -> RecorderState {
        self.imp().recorder_state()
    }
}

/// The events. Handlers run in order in a thread of the recorder, with no lock held: they may call anything, and may
/// block without stalling the recording. [`MediaRecorder::events`] provides the same events to asynchronous code.
impl MediaRecorder {
    /// The recording has started; [`MediaRecorder::mime_type`] is the actual type.
    pub fn connect_start(&self, f: impl Fn(&Self) + Send + Sync + 'static) -> SignalHandlerId {
        self.connect_plain("on-start", f)
    }

    /// The recording was paused.
    pub fn connect_pause(&self, f: impl Fn(&Self) + Send + Sync + 'static) -> SignalHandlerId {
        self.connect_plain("on-pause", f)
    }

    /// The recording was resumed.
    pub fn connect_resume(&self, f: impl Fn(&Self) + Send + Sync + 'static) -> SignalHandlerId {
        self.connect_plain("on-resume", f)
    }

    /// A chunk of the recording: every `timeslice`, at `request_data`, and at the end.
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

    /// The recording has failed; the data so far follows as the last blob.
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

    /// A part has ended and its file is complete. A recording that is never split has one part.
    pub fn connect_part(&self, f: impl Fn(&Self, Part) + Send + Sync + 'static) -> SignalHandlerId {
        self.connect_closure(
            "on-part",
            false,
            glib::closure!(move |this: Self, part: gst::Structure| f(&this, Part::of(&part))),
        )
    }

    /// A mark has been placed in the recording.
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

    /// An encoder was created and configured for a track, and is in NULL: set its properties here. Emitted for every
    /// encoder that is tried.
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

    /// Names the file of each part by its number in the recording, from 0. `None` falls back to
    /// [`MediaRecorder::location`], which then needs no `%d`. Called from a thread of the recorder before the part's
    /// first byte; its media waits until the handler returns. An unusable name or a panic posts a WARNING, and the file
    /// is named by `location` if that has a `%d`. Otherwise the recording ends with an error, or
    /// [`MediaRecorder::start`] fails.
    pub fn connect_format_location(
        &self,
        f: impl Fn(&Self, u32) -> Option<PathBuf> + Send + Sync + 'static,
    ) -> SignalHandlerId {
        self.connect("format-location", false, move |values| {
            let this = values.first().and_then(|this| this.get::<Self>().ok());
            let part = values.get(1).and_then(|part| part.get::<u32>().ok());
            let named = this.zip(part).and_then(|(this, part)| {
                let named = catch_unwind(AssertUnwindSafe(|| f(&this, part)));
                // An empty name is never valid.
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
    /// Mutes the track from this instant on (records silence or black), or unmutes it.
    pub fn set_muted(&self, muted: bool) {
        self.set_property("mute", muted);
    }
}
