//! Drains the encoder delay: pushes the last samples out of an encoder, and drops packets beyond them.

use crate::session::{
    probe::{leave_out, probe},
    timing::lock,
};
use gst::prelude::*;
use std::sync::{Arc, Mutex};

/// Silence beyond the delay that is pushed at the end, in samples: an encoder may hold back one and a half blocks.
const PUSH: u64 = 2 * 1_152;

/// Progress of an encoder's input.
#[derive(Debug, Default)]
struct Fed {
    /// End of the media, as a buffer timestamp.
    end: Option<gst::ClockTime>,
    /// Packets from this timestamp on contain padding only.
    last: Option<gst::ClockTime>,
}

/// Pushes silence at EOS to flush out the last `delay` samples, and drops packets that contain nothing but silence.
pub fn push_out(encoder: &gst::Element, delay: u32) {
    let (Some(sink), Some(src)) = (encoder.static_pad("sink"), encoder.static_pad("src")) else {
        return;
    };
    let delay = u64::from(delay);
    let fed = Arc::new(Mutex::new(Fed::default()));
    let feeding = fed.clone();
    let both = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    probe(&sink, both, move |pad, info| {
        if let Some(buffer) = info.buffer() {
            if let (Some(pts), Some(duration)) = (buffer.pts(), buffer.duration()) {
                lock(&feeding).end = Some(pts + duration);
            }
        } else if let Some(gst::EventView::Eos(_)) = info.event().map(|event| event.view()) {
            let end = lock(&feeding).end;
            if let Some(end) = end
                && let Some((silence, rate)) = silence(pad, end, delay + PUSH)
            {
                lock(&feeding).last = Some(end + length(delay, rate));
                // The encoder posts its own errors on the bus.
                let _ = pad.chain(silence);
            }
        }
        gst::PadProbeReturn::Ok
    });
    probe(&src, gst::PadProbeType::BUFFER, move |_, info| {
        let last = lock(&fed).last;
        let pts = info.buffer().and_then(|buffer| buffer.pts());
        if let (Some(pts), Some(last)) = (pts, last) {
            let left = last.saturating_sub(pts);
            if left.is_zero() {
                return leave_out(info);
            }
            if let Some(buffer) = info.buffer_mut()
                && buffer.duration().is_some_and(|duration| duration > left)
            {
                buffer.make_mut().set_duration(left);
            }
        }
        gst::PadProbeReturn::Ok
    });
}

/// A buffer with `samples` of silence at `at` in the format of this pad, and the sample rate.
pub fn silence(pad: &gst::Pad, at: gst::ClockTime, samples: u64) -> Option<(gst::Buffer, u64)> {
    let info = gst_audio::AudioInfo::from_caps(pad.current_caps()?.as_ref()).ok()?;
    let rate = u64::from(info.rate());
    let size = usize::try_from(samples).ok()? * usize::try_from(info.bpf()).ok()?;
    let mut bytes = vec![0; size];
    info.format_info().fill_silence(&mut bytes);
    let mut buffer = gst::Buffer::from_mut_slice(bytes);
    let fields = buffer.get_mut()?;
    fields.set_pts(at);
    fields.set_duration(length(samples, rate));
    Some((buffer, rate))
}

fn length(samples: u64, rate: u64) -> gst::ClockTime {
    let length = gst::ClockTime::SECOND.mul_div_round(samples, rate.max(1));
    length.unwrap_or(gst::ClockTime::ZERO)
}
