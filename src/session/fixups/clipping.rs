//! Converts audio clipping metas from time to samples: matroskamux, oggmux and opusdec abort on the time format.

use crate::session::probe::probe;
use gst::prelude::*;

/// Converts the metas of buffers that leave `source` to samples at this rate.
pub fn count_in_samples(source: &gst::Pad, rate: u64) {
    probe(source, gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(buffer) = info.buffer_mut()
            && let Some(meta) = buffer.meta::<gst_audio::AudioClippingMeta>()
        {
            let (start, end) = (meta.start(), meta.end());
            if !matches!(start, gst::GenericFormattedValue::Default(_)) {
                convert(buffer.make_mut(), start, end, rate);
            }
        }
        gst::PadProbeReturn::Ok
    });
}

fn convert(
    buffer: &mut gst::BufferRef,
    start: gst::GenericFormattedValue,
    end: gst::GenericFormattedValue,
    rate: u64,
) {
    while let Some(meta) = buffer.meta_mut::<gst_audio::AudioClippingMeta>() {
        if meta.remove().is_err() {
            break;
        }
    }
    let samples = |clipped| match clipped {
        gst::GenericFormattedValue::Time(Some(time)) => {
            time.nseconds().mul_div_round(rate, 1_000_000_000)
        }
        _ => None,
    };
    if let (Some(start), Some(end)) = (samples(start), samples(end)) {
        let count = gst::format::Default::from_u64;
        gst_audio::AudioClippingMeta::add(buffer, count(start), count(end));
    }
}
