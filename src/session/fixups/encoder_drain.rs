//! Encoders that are late: their last samples are got out of them, and no more than those.

use crate::formats::Delay;
use crate::session::{
    probe::{leave_out, probe},
    timing::lock,
};
use gst::prelude::*;
use std::sync::{Arc, Mutex};

/// Samples beyond the delay that an encoder is given at the end: it may keep a block and a half.
const PUSH: u64 = 2 * 1_152;

/// How much has gone into an encoder.
#[derive(Debug, Default)]
struct Fed {
    /// End of the media, in its stamps.
    end: Option<gst::ClockTime>,
    /// Packets from here on hold nothing of it.
    last: Option<gst::ClockTime>,
}

/// Where an encoder's last packet ends, once it is known.
#[derive(Debug, Clone, Default)]
pub struct End(Arc<Mutex<Fed>>);

/// Lets the container's account of an encoder's delay come true. The end is to be kept where packets reach the muxer,
/// too: see [`keep_end`].
pub fn account(encoder: &gst::Element, delay: Delay) -> Option<End> {
    let (sink, src) = (encoder.static_pad("sink")?, encoder.static_pad("src")?);
    let Delay::Samples(samples) = delay else {
        return None;
    };
    let end = End::default();
    push_out(&sink, &src, samples.into(), &end);
    Some(end)
}

/// Packets that reach `pad` end there: parsers (mpegaudioparse) give the last a whole packet's duration again.
pub fn keep_end(pad: &gst::Pad, end: End) {
    probe(pad, gst::PadProbeType::BUFFER, move |_, info| {
        let last = lock(&end.0).last;
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

/// Silence after the end pushes the last samples out; packets of nothing else are left out.
fn push_out(sink: &gst::Pad, src: &gst::Pad, delay: u64, end: &End) {
    let feeding = end.0.clone();
    let both = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    probe(sink, both, move |pad, info| {
        if let Some(buffer) = info.buffer() {
            if let (Some(pts), Some(duration)) = (buffer.pts(), buffer.duration()) {
                lock(&feeding).end = Some(pts + duration);
            }
        } else if let Some(gst::EventView::Eos(_)) = info.event().map(|event| event.view()) {
            let end = lock(&feeding).end;
            if let Some(end) = end
                && let Some(silence) = silence(pad, end, delay + PUSH)
            {
                lock(&feeding).last = Some(end + silence.1);
                // The encoder's own failure is told on the bus.
                let _ = pad.chain(silence.0);
            }
        }
        gst::PadProbeReturn::Ok
    });
    keep_end(src, end.clone());
}

/// So many samples of silence from `end` on for this pad, and how long they are but for [`PUSH`].
fn silence(
    pad: &gst::Pad,
    end: gst::ClockTime,
    samples: u64,
) -> Option<(gst::Buffer, gst::ClockTime)> {
    let info = gst_audio::AudioInfo::from_caps(pad.current_caps()?.as_ref()).ok()?;
    let time =
        |samples: u64| gst::ClockTime::SECOND.mul_div_round(samples, u64::from(info.rate()).max(1));
    let size = usize::try_from(samples).ok()? * usize::try_from(info.bpf()).ok()?;
    let mut bytes = vec![0; size];
    info.format_info().fill_silence(&mut bytes);
    let mut buffer = gst::Buffer::from_mut_slice(bytes);
    let fields = buffer.get_mut()?;
    fields.set_pts(end);
    fields.set_duration(time(samples)?);
    Some((buffer, time(samples.saturating_sub(PUSH))?))
}
