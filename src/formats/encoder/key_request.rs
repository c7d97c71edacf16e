//! Key frames of encoders that know no key-unit requests.

use super::set;
use gst::prelude::*;

/// How an encoder that ignores key-unit requests is made to produce a key frame: settings that make one of every
/// frame, in force for one frame.
#[derive(Debug)]
pub struct KeyRequest {
    /// Frames from one key frame to the next that it makes by itself, until the first request.
    pub every: u32,
    force: Vec<(&'static str, String)>,
    release: Vec<(&'static str, String)>,
}

impl KeyRequest {
    /// Before the frame that is to be one.
    pub fn force(&self, encoder: &gst::Element) {
        self.force.iter().for_each(|(n, v)| set(encoder, n, v));
    }

    /// Before any other: those come when they are asked for only.
    pub fn release(&self, encoder: &gst::Element) {
        self.release.iter().for_each(|(n, v)| set(encoder, n, v));
    }
}

/// What this encoder, which has been tuned, needs in place of key-unit requests; `None` for those that know them.
///
/// av1enc knows them from GStreamer 1.26 on. libaom takes new settings with any frame, and makes each a key frame
/// while least and greatest distance are the same; the element's least is 0, and while it starts the
/// greatest may not be.
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
