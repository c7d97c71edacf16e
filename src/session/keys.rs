//! Key frames by the recording's own time: exact to the frame at any frame rate, a variable one too.

use super::{probe::probe, timing::lock};
use gst::prelude::*;
use std::sync::Mutex;

/// Where the last key frame was asked for.
#[derive(Debug, Default)]
struct Last {
    pts: Option<gst::ClockTime>,
    frames: u32,
}

/// Asks `encoder` for a key frame with the first frame that begins `interval` or more after the last
/// one, and with each that has `frames` frames from it (0: no matter how many).
pub fn pace(encoder: &gst::Element, interval: Option<gst::ClockTime>, frames: u32) {
    let Some(pad) = encoder.static_pad("sink") else {
        return;
    };
    let last = Mutex::new(Last::default());
    probe(&pad, gst::PadProbeType::BUFFER, move |pad, info| {
        let Some(pts) = info.buffer().and_then(|buffer| buffer.pts()) else {
            return gst::PadProbeReturn::Ok;
        };
        let mut last = lock(&last);
        last.frames = last.frames.saturating_add(1);
        // The first is one anyway.
        let begins = last.pts.is_none();
        let late = interval
            .zip(last.pts)
            .is_some_and(|(interval, last)| pts >= last + interval);
        if begins || late || frames > 0 && last.frames >= frames {
            *last = Last {
                pts: Some(pts),
                frames: 0,
            };
        } else {
            return gst::PadProbeReturn::Ok;
        }
        drop(last);
        if !begins {
            let event = gst_video::DownstreamForceKeyUnitEvent::builder()
                .timestamp(pts)
                .stream_time(pts)
                .running_time(pts)
                .all_headers(false)
                .build();
            pad.send_event(event);
        }
        gst::PadProbeReturn::Ok
    });
}
