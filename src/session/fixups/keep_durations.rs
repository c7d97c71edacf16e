//! How long frames last, kept past parsers: where the frame rate varies they drop it (h264parse, h265parse, vp9parse
//! and av1parse up to 1.22), and the last frame would not last at all.

use crate::session::{probe::probe, timing::lock};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

/// Frames that may be in a parser at once, or come out of it in another order.
const MOST: usize = 64;

/// Has each frame last as long in front of the muxer, on `mux_pad`, as it did in front of its parser, on `parser`.
pub fn keep(parser: &gst::Pad, mux_pad: &gst::Pad) {
    let durations = Arc::new(Mutex::new(VecDeque::with_capacity(MOST)));
    let known = durations.clone();
    probe(parser, gst::PadProbeType::BUFFER, move |_, info| {
        let stamps = info
            .buffer()
            .map(|buffer| (buffer.pts(), buffer.duration()));
        if let Some((Some(pts), Some(duration))) = stamps {
            let mut durations = lock(&durations);
            if durations.len() == MOST {
                durations.pop_front();
            }
            durations.push_back((pts, duration));
        }
        gst::PadProbeReturn::Ok
    });
    probe(mux_pad, gst::PadProbeType::BUFFER, move |_, info| {
        let pts = info.buffer().and_then(|buffer| buffer.pts());
        let found = pts.and_then(|pts| {
            let mut known = lock(&known);
            let at = known.iter().position(|(of, _)| *of == pts)?;
            known.remove(at)
        });
        if let (Some((_, duration)), Some(buffer)) = (found, info.buffer_mut())
            && buffer.duration() != Some(duration)
        {
            buffer.make_mut().set_duration(duration);
        }
        gst::PadProbeReturn::Ok
    });
}
