//! Keyframe requests for encoders that do not support force-key-unit events.

use super::set;
use gst::prelude::*;

/// How to request a keyframe from an encoder that ignores force-key-unit events: with settings that make every
/// frame a keyframe, applied for one frame.
#[derive(Debug)]
pub struct KeyRequest {
    /// The encoder's own keyframe interval in frames, until the first request.
    pub every: u32,
    force: Vec<(&'static str, String)>,
    release: Vec<(&'static str, String)>,
}

impl KeyRequest {
    /// Call before the frame that is to be a keyframe.
    pub fn force(&self, encoder: &gst::Element) {
        self.force.iter().for_each(|(n, v)| set(encoder, n, v));
    }

    /// Call before any other frame: from then on, there are keyframes on request only.
    pub fn release(&self, encoder: &gst::Element) {
        self.release.iter().for_each(|(n, v)| set(encoder, n, v));
    }
}

/// The settings that this configured encoder needs instead of force-key-unit events; `None` if it supports those.
///
/// av1enc supports them since GStreamer 1.26. libaom accepts new settings at any frame, and makes every frame a
/// keyframe while the minimum and the maximum keyframe distance are equal; the element's minimum is 0, and the maximum
/// must not be 0 at start.
pub fn key_request(encoder: &gst::Element) -> Option<KeyRequest> {
    if encoder.factory()?.name() != "av1enc" || gst::version() >= (1, 25, 0, 0) {
        return None;
    }
    let distance = encoder.property_value("keyframe-max-dist").get::<i32>();
    let every = distance.ok().and_then(|n| u32::try_from(n).ok())?.max(1);
    Some(KeyRequest {
        every,
        force: vec![
            ("keyframe-max-dist", "0".to_owned()),
            ("keyframe-mode", "auto".to_owned()),
        ],
        release: vec![
            ("keyframe-mode", "disabled".to_owned()),
            ("keyframe-max-dist", every.to_string()),
        ],
    })
}
