//! Listens to a track's first picture for what its decoder has to know.

use super::probe::{on_caps, probe};
use crate::{formats::Decoder, model::Codec};
use gst::prelude::*;
use std::sync::{Arc, OnceLock};

/// `told` hears it before the element of `pad` gets the picture that comes first, if that tells.
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

/// Puts it into the caps that leave `parser`, where muxers look for it: by then the first picture has come.
pub fn tell_by_caps(parser: &gst::Element, codec: Codec) {
    let (Some(sink), Some(src)) = (parser.static_pad("sink"), parser.static_pad("src")) else {
        return;
    };
    let told = Arc::new(OnceLock::new());
    let heard = told.clone();
    listen(&sink, codec, move |decoder| {
        let _ = told.set(decoder);
    });
    on_caps(&src, move |caps| {
        let lacks = !caps.structure(0)?.has_field("codec_data");
        let decoder = heard.get().filter(|_| lacks)?;
        Some(decoder.add_to(caps.to_owned()))
    });
}
