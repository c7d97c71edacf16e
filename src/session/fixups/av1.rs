//! Adds the AV1 configuration record to the caps: muxers expect it there, and av1parse does not provide it.

use crate::formats::{av1_record, with_av1_record};
use crate::session::probe::{on_caps, probe};
use gst::prelude::*;
use std::sync::{Arc, OnceLock};

/// Adds the record to the caps that leave `parser`. By then the first frame, which contains it, has arrived.
pub fn tell_by_caps(parser: &gst::Element) {
    let (Some(sink), Some(src)) = (parser.static_pad("sink"), parser.static_pad("src")) else {
        return;
    };
    let record_known = Arc::new(OnceLock::new());
    let known = record_known.clone();
    probe(&sink, gst::PadProbeType::BUFFER, move |_, info| {
        let frame = info.buffer().and_then(|buffer| buffer.map_readable().ok());
        let Some(record) = frame.and_then(|frame| av1_record(&frame)) else {
            return gst::PadProbeReturn::Ok;
        };
        let _ = record_known.set(record);
        gst::PadProbeReturn::Remove
    });
    on_caps(&src, move |caps| with_av1_record(caps, known.get()?));
}
