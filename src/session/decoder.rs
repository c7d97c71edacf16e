//! Listens to a track's first picture for what its decoder has to know.

use super::probe::probe;
use crate::{formats::Decoder, model::Codec};
use gst::prelude::*;

/// `told` hears it before the muxer gets the picture that comes first to `pad` of its, if that tells.
pub fn listen(pad: &gst::Pad, codec: Codec, told: impl Fn(Decoder) + Send + Sync + 'static) {
    probe(pad, gst::PadProbeType::BUFFER, move |pad, info| {
        if let Some(caps) = pad.current_caps()
            && let Some(picture) = info.buffer().and_then(|buffer| buffer.map_readable().ok())
            && let Some(decoder) = Decoder::of(codec, &caps, &picture)
        {
            told(decoder);
        }
        gst::PadProbeReturn::Remove
    });
}
