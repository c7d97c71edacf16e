//! Hides caps fields from encoders that mishandle them.

use crate::session::{probe::on_caps, timing::lock};
use gst::prelude::*;
use std::sync::{Arc, Mutex};

/// Replaces the frame rate with `shown` of it in the encoder's input caps, and restores it in the output caps.
pub fn show_frame_rate(
    encoder: &gst::Element,
    shown: impl Fn(gst::Fraction) -> gst::Fraction + Send + Sync + 'static,
) {
    let (Some(sink), Some(src)) = (encoder.static_pad("sink"), encoder.static_pad("src")) else {
        return;
    };
    let there = Arc::new(Mutex::new(None::<gst::Fraction>));
    let hidden = there.clone();
    on_caps(&sink, move |caps| {
        let rate = caps.structure(0)?.get("framerate").ok()?;
        *lock(&hidden) = Some(rate);
        with_frame_rate(caps, shown(rate))
    });
    on_caps(&src, move |caps| with_frame_rate(caps, (*lock(&there))?));
}

fn with_frame_rate(caps: &gst::CapsRef, rate: gst::Fraction) -> Option<gst::Caps> {
    let mut caps = caps.to_owned();
    caps.make_mut().set("framerate", rate);
    Some(caps)
}
