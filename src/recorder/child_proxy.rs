//! GstChildProxy: the pads are the element's children.

use super::MediaRecorder;
use gst::prelude::*;

pub fn by_name(recorder: &MediaRecorder, name: &str) -> Option<glib::Object> {
    let mut pads = recorder.pads().into_iter();
    pads.find(|pad| pad.name() == name).map(|pad| pad.upcast())
}

pub fn by_index(recorder: &MediaRecorder, index: u32) -> Option<glib::Object> {
    let index = usize::try_from(index).ok()?;
    recorder
        .pads()
        .into_iter()
        .nth(index)
        .map(|pad| pad.upcast())
}
