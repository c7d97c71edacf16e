//! The bit-rate properties: which reading changes with which, and who is notified.

use super::{imp::MediaRecorder, properties};
use crate::{
    formats,
    model::{Bitrates, VideoSize},
    session::lock,
};
use gst::{prelude::*, subclass::prelude::*};

impl MediaRecorder {
    /// Handles a write to one of the bit-rate properties; `before` has the previous values.
    pub(super) fn rates_changed(&self, written: &str, before: &Bitrates) {
        let (bitrates, current) = {
            let current = lock(&self.control).current.clone();
            (lock(&self.values).bitrates.clone(), current)
        };
        if let Some(session) = current {
            // A default that has followed the tracks since the encoders were created does not apply to them.
            session.set_bitrates(&bitrates, |kind| {
                written.starts_with(kind.name()) || bitrates.of(kind) != before.of(kind)
            });
        }
        self.set_past_bitrates(&bitrates);
        for name in properties::RATES {
            if name != written {
                self.obj().notify(name);
            }
        }
    }

    /// Updates the default of `video-bits-per-second` from the tracks, until the property is set.
    pub(super) fn follow_video_size(&self) {
        let sizes: Vec<VideoSize> = self
            .tracks()
            .iter()
            .filter_map(|pad| {
                let caps = pad.stream().caps.clone()?;
                let (width, height, fps) = formats::encoded_size(&caps)?;
                Some(VideoSize { width, height, fps })
            })
            .collect();
        let (changed, bitrates) = {
            let mut values = lock(&self.values);
            let before = values.bitrates.video();
            values.bitrates.follow(&sizes);
            let changed = values.bitrates.video() != before;
            (changed, values.bitrates.clone())
        };
        if changed {
            self.set_past_bitrates(&bitrates);
            let current = lock(&self.control).current.clone();
            if let Some(session) = current {
                // Running encoders keep their initial size and bit rate.
                session.expect_bitrates(&bitrates);
            }
            self.obj().notify("video-bits-per-second");
        }
    }
}
