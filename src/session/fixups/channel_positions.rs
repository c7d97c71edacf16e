//! audioconvert never gives positions to channels that have none, as those of an interface with many inputs.

use crate::{formats, session::probe::on_caps};
use gst::prelude::*;

/// Gives what comes to `convert`, at first with these caps, the positions that so many channels usually have. More than
/// there are positions for it mixes evenly.
pub fn give(convert: &gst::Element, caps: &gst::Caps) {
    if let Some(pad) = convert.static_pad("sink") {
        on_caps(&pad, formats::with_places);
    }
    if let Some(channels) = formats::lacks_places(caps) {
        let row = || gst::Array::new(vec![1.0 / channels as f32; channels]);
        convert.set_property("mix-matrix", gst::Array::new([row(), row()]));
    }
}
