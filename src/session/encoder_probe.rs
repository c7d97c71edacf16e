//! Tests whether an encoder works, with a short piece of black or silence, before it gets any media.
//!
//! Hardware encoders are registered even where the hardware is missing, busy, or does not support the frame size.
//! They fail when opened, or at the first frame. Testing them here loses no media.

use super::aside;
use crate::formats;
use gst::prelude::*;
use std::time::Duration;

/// How long an encoder may take for its first output.
const PATIENCE: Duration = Duration::from_secs(3);
/// Samples of silence: more than any encoder's block.
const SAMPLES: usize = 16_384;
/// Number of frames: encoders may hold back one or two.
const FRAMES: u64 = 4;

/// Whether `encoder`, which has no parent and is in NULL, opens; and, if there is an `input`, whether it produces
/// output. `input` are raw caps, fixed except for what `front` converts. The encoder is back in NULL afterwards. One
/// that hangs does not work, and is abandoned.
pub fn works(
    encoder: &gst::Element,
    front: Vec<gst::Element>,
    input: Option<&gst::CapsRef>,
) -> bool {
    let (encoder, media) = (encoder.clone(), input.and_then(media));
    let works = aside::within(2 * PATIENCE, move || {
        let works = match media {
            None => encoder.set_state(gst::State::Ready).is_ok(),
            Some((caps, buffers)) => encodes(&encoder, &front, &caps, buffers).unwrap_or(false),
        };
        let _ = encoder.set_state(gst::State::Null);
        works
    });
    works.unwrap_or(false)
}

fn encodes(
    encoder: &gst::Element,
    front: &[gst::Element],
    caps: &gst::Caps,
    buffers: Vec<gst::Buffer>,
) -> Result<bool, glib::BoolError> {
    let pipeline = gst::Pipeline::new();
    pipeline.use_clock(None::<&gst::Clock>);
    let source = gst_app::AppSrc::builder()
        .caps(caps)
        .format(gst::Format::Time)
        .max_bytes(0)
        .build();
    let sink = gst_app::AppSink::builder().sync(false).build();
    pipeline.add(&source)?;
    pipeline.add(&sink)?;
    pipeline.add_many(front)?;
    pipeline.add(encoder)?;
    let mut last: gst::Element = source.clone().upcast();
    let sink_element: &gst::Element = sink.upcast_ref();
    for next in front.iter().chain([encoder, sink_element]) {
        last.link(next)?;
        last = next.clone();
    }
    let mut came = false;
    if pipeline.set_state(gst::State::Playing).is_ok() {
        for buffer in buffers {
            let _ = source.push_buffer(buffer);
        }
        let _ = source.end_of_stream();
        let patience = gst::ClockTime::from_nseconds(PATIENCE.as_nanos() as u64);
        came = sink.try_pull_sample(patience).is_some();
    }
    let _ = pipeline.set_state(gst::State::Null);
    for element in front.iter().chain([encoder]) {
        let _ = pipeline.remove(element);
    }
    Ok(came)
}

/// A short piece of black or silence with these raw caps.
fn media(caps: &gst::CapsRef) -> Option<(gst::Caps, Vec<gst::Buffer>)> {
    let stamped = |bytes: Vec<u8>, pts: gst::ClockTime, duration: gst::ClockTime| {
        let mut buffer = gst::Buffer::from_mut_slice(bytes);
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(pts);
            buffer.set_duration(duration);
        }
        buffer
    };
    if let Some(info) = formats::video_info(caps) {
        let frame = gst::ClockTime::SECOND / 30;
        let frames = (0..FRAMES).map(|n| stamped(vec![0; info.size()], frame * n, frame));
        return Some((info.to_caps().ok()?, frames.collect()));
    }
    let info = formats::audio_info(caps)?;
    let mut bytes = vec![0; SAMPLES * usize::try_from(info.bpf()).ok()?];
    info.format_info().fill_silence(&mut bytes);
    let duration =
        gst::ClockTime::SECOND.mul_div_round(SAMPLES as u64, u64::from(info.rate()).max(1))?;
    let silence = stamped(bytes, gst::ClockTime::ZERO, duration);
    Some((info.to_caps().ok()?, vec![silence]))
}
