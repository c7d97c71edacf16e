//! Drains the encoder delay: pushes the last samples out of an encoder. Packets beyond them are dropped in
//! `overlap.rs`.

use crate::{
    formats::{self, DRAIN},
    session::{
        overlap::Overlap,
        probe::{is_eos, probe},
        timing::lock,
    },
};
use gst::prelude::*;
use std::sync::{Arc, Mutex};

/// Pushes silence at EOS to flush out the last `delay` samples, as far as no audio beyond them has.
pub fn push_out(encoder: &gst::Element, delay: u32, overlap: Arc<Overlap>) {
    let Some(sink) = encoder.static_pad("sink") else {
        return;
    };
    let fed = Mutex::new(None::<gst::ClockTime>);
    let both = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    probe(&sink, both, move |pad, info| {
        if let Some(buffer) = info.buffer() {
            if let (Some(pts), Some(duration)) = (buffer.pts(), buffer.duration()) {
                *lock(&fed) = Some(pts + duration);
            }
            return gst::PadProbeReturn::Ok;
        }
        // The silence comes by here, too.
        let fed = *lock(&fed);
        if let Some(fed) = fed.filter(|_| is_eos(info)) {
            let beyond = fed.saturating_sub(overlap.end_of_input(fed));
            let missing = u64::from(delay + DRAIN).saturating_sub(samples(pad, beyond));
            if let Some(silence) = silence(pad, fed, missing).filter(|_| missing > 0) {
                // The encoder posts its own errors on the bus.
                let _ = pad.chain(silence);
            }
        }
        gst::PadProbeReturn::Ok
    });
}

/// How many samples of this pad's format last so long.
fn samples(pad: &gst::Pad, length: gst::ClockTime) -> u64 {
    let rate = pad
        .current_caps()
        .and_then(|caps| formats::audio_info(&caps));
    let rate = rate.map_or(0, |info| u64::from(info.rate()));
    let samples = length.nseconds().mul_div_floor(rate, 1_000_000_000);
    samples.unwrap_or(0)
}

/// A buffer with `samples` of silence at `at` in the format of this pad.
pub fn silence(pad: &gst::Pad, at: gst::ClockTime, samples: u64) -> Option<gst::Buffer> {
    let info = gst_audio::AudioInfo::from_caps(pad.current_caps()?.as_ref()).ok()?;
    let rate = u64::from(info.rate());
    let size = usize::try_from(samples).ok()? * usize::try_from(info.bpf()).ok()?;
    let mut bytes = vec![0; size];
    info.format_info().fill_silence(&mut bytes);
    let mut buffer = gst::Buffer::from_mut_slice(bytes);
    let fields = buffer.get_mut()?;
    fields.set_pts(at);
    fields.set_duration(length(samples, rate));
    Some(buffer)
}

fn length(samples: u64, rate: u64) -> gst::ClockTime {
    let length = gst::ClockTime::SECOND.mul_div_round(samples, rate.max(1));
    length.unwrap_or(gst::ClockTime::ZERO)
}
