//! Encoders that fail on purpose.

use gst::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};

/// Makes the encoder post an error at this buffer, after calling `failing`, and refuse all later ones.
pub fn fail_at(encoder: &gst::Element, buffer: u64, failing: impl Fn() + Send + Sync + 'static) {
    let (count, encoder_of) = (AtomicU64::new(0), encoder.downgrade());
    let sink = encoder.static_pad("sink").unwrap();
    sink.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        if number < buffer {
            return gst::PadProbeReturn::Ok;
        }
        if number == buffer {
            failing();
            let encoder = encoder_of.upgrade().unwrap();
            gst::element_error!(encoder, gst::StreamError::Encode, ["broken on purpose"]);
        }
        drop(info.data.take());
        info.flow_res = Err(gst::FlowError::Error);
        gst::PadProbeReturn::Handled
    });
}
