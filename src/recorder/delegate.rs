//! The recorder as its recordings see it: signals, key-unit requests, file names, tags.

use crate::{model::Error, session::SessionDelegate};
use gst::{prelude::*, subclass::prelude::*};

/// A weak reference to the recorder.
pub(super) struct Owner(pub(super) glib::WeakRef<super::MediaRecorder>);

impl Owner {
    fn pad(&self, name: &str) -> Option<(super::MediaRecorder, super::MediaRecorderPad)> {
        let recorder = self.0.upgrade()?;
        let pad = recorder.static_pad(name)?.downcast().ok()?;
        Some((recorder, pad))
    }
}

impl SessionDelegate for Owner {
    fn name(&self) -> String {
        let recorder = self.0.upgrade();
        recorder.map_or_else(String::new, |recorder| recorder.name().to_string())
    }

    fn encoder_setup(&self, pad: &str, encoder: &gst::Element) {
        if let Some((recorder, pad)) = self.pad(pad) {
            recorder.emit_by_name::<()>("encoder-setup", &[&pad, encoder]);
        }
    }

    fn request_key_frame(&self, pad: &str, running: u64) {
        if let Some((_, pad)) = self.pad(pad) {
            let running = pad.stream().upstream_time(running);
            let event = gst_video::UpstreamForceKeyUnitEvent::builder()
                .running_time(gst::ClockTime::from_nseconds(running))
                .all_headers(true)
                .build();
            pad.push_event(event);
        }
    }

    fn file_name(&self, part: u32) -> Result<Option<String>, Error> {
        let recorder = self.0.upgrade();
        recorder.map_or(Ok(None), |recorder| recorder.imp().file_name(part))
    }

    fn tags(&self, pad: &str) -> Option<gst::TagList> {
        self.pad(pad)?.1.stream().tags.clone()
    }

    fn finished(&self, session: u64) {
        if let Some(recorder) = self.0.upgrade() {
            for pad in recorder.imp().tracks() {
                pad.stream().keep_from(session);
            }
        }
    }
}
