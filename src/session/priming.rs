//! Encoders that are late: their last samples are got out of them, and no more than those.

use super::timing::lock;
use crate::formats::Delay;
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

/// Lets the container's account of an encoder's delay come true.
pub fn account(encoder: &gst::Element, delay: Delay) {
    let (Some(sink), Some(src)) = (encoder.static_pad("sink"), encoder.static_pad("src")) else {
        return;
    };
    match delay {
        Delay::None => {}
        Delay::Samples(samples) => push_out(&sink, &src, samples.into()),
        Delay::PreSkip => stamp_whole(&src),
    }
}

/// Silence after the end pushes the last samples out; packets of nothing else are left out.
fn push_out(sink: &gst::Pad, src: &gst::Pad, delay: u64) {
    let fed = Arc::new(Mutex::new(Fed::default()));
    let feeding = fed.clone();
    let both = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    sink.add_probe(both, move |pad, info| {
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
    src.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let last = lock(&fed).last;
        let pts = info.buffer().and_then(|buffer| buffer.pts());
        if let (Some(pts), Some(last)) = (pts, last) {
            let left = last.saturating_sub(pts);
            if left.is_zero() {
                // Taken and handled: to let 1.22 drop it makes it unref NULL.
                drop(info.data.take());
                return gst::PadProbeReturn::Handled;
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

/// opusenc takes the pre-skip out of the first packet's duration, as Ogg has it. In MP4 packets
/// are as long as they are, and the edit leaves out what has to be skipped.
fn stamp_whole(src: &gst::Pad) {
    let state = Mutex::new((gst::ClockTime::ZERO, true));
    let both = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    src.add_probe(both, move |_, info| {
        if let Some(gst::EventView::Caps(caps)) = info.event().map(|event| event.view()) {
            if let Some(skip) = caps.caps().structure(0).and_then(pre_skip) {
                lock(&state).0 = skip;
            }
        } else if let Some(buffer) = info.buffer_mut() {
            let (skip, first) = &mut *lock(&state);
            let buffer = buffer.make_mut();
            if std::mem::take(first) {
                buffer.set_duration(buffer.duration().map(|duration| duration + *skip));
            } else {
                buffer.set_pts(buffer.pts().map(|pts| pts + *skip));
            }
        }
        gst::PadProbeReturn::Ok
    });
}

/// The pre-skip that an Opus header tells (RFC 7845, 5.1), in samples at 48 kHz.
fn pre_skip(caps: &gst::StructureRef) -> Option<gst::ClockTime> {
    let headers = caps.get::<gst::Array>("streamheader").ok()?;
    let header = headers.first()?.get::<gst::Buffer>().ok()?;
    let header = header.map_readable().ok()?;
    let samples = u16::from_le_bytes(*header.get(10..12)?.first_chunk()?);
    gst::ClockTime::SECOND.mul_div_round(samples.into(), 48_000)
}
