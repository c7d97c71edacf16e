//! audioconvert does not assign positions to unpositioned channels, such as those of a multi-channel audio interface.

use crate::{formats, session::probe::on_caps};
use gst::prelude::*;

/// Assigns the usual positions for the number of channels to the input of `convert`, whose initial caps are `caps`. If
/// there are more channels than positions, they are mixed in equal parts.
pub fn give(convert: &gst::Element, caps: &gst::Caps) {
    if let Some(pad) = convert.static_pad("sink") {
        on_caps(&pad, formats::with_places);
    }
    if let Some(channels) = formats::lacks_places(caps) {
        let row = || gst::Array::new(vec![1.0 / channels as f32; channels]);
        convert.set_property("mix-matrix", gst::Array::new([row(), row()]));
    }
}
