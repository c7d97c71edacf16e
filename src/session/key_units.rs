//! Keyframes by recorded time: exact to the frame at any frame rate, including a variable one.

use super::{probe::probe, timing::lock};
use crate::formats;
use gst::prelude::*;
use std::sync::{Arc, Mutex};

/// Whether the frame at the second time, which follows the one at the first, has to be a keyframe.
pub type KeyAt = Arc<dyn Fn(gst::ClockTime, gst::ClockTime) -> bool + Send + Sync>;

/// Where the last keyframe was requested.
#[derive(Debug, Default)]
struct Last {
    pts: Option<gst::ClockTime>,
    /// The last frame, keyframe or not.
    frame: Option<gst::ClockTime>,
    frames: u32,
    /// Settings that make every frame a keyframe are still in force.
    forced: bool,
    /// The encoder's own interval has diverged from ours, and is off.
    off_count: bool,
}

/// Requests keyframes from `encoder`: for the first frame at least `interval` after the last keyframe, for the frame
/// number `frames` after it (0: unlimited), and for each frame that `also` selects.
pub fn pace(
    encoder: &gst::Element,
    interval: Option<gst::ClockTime>,
    frames: u32,
    also: Option<KeyAt>,
) {
    let Some(pad) = encoder.static_pad("sink") else {
        return;
    };
    let request = formats::key_request(encoder);
    let encoder = encoder.downgrade();
    let last = Mutex::new(Last::default());
    probe(&pad, gst::PadProbeType::BUFFER, move |pad, info| {
        let Some(pts) = info.buffer().and_then(|buffer| buffer.pts()) else {
            return gst::PadProbeReturn::Ok;
        };
        let mut last = lock(&last);
        last.frames = last.frames.saturating_add(1);
        // The first frame is a keyframe anyway.
        let begins = last.pts.is_none();
        let late = interval
            .zip(last.pts)
            .is_some_and(|(interval, last)| pts >= last + interval);
        let before = last.frame.replace(pts);
        let named = also
            .as_ref()
            .zip(before)
            .is_some_and(|(also, before)| also(before, pts));
        let due = late || named || frames > 0 && last.frames >= frames;
        let count = last.frames;
        if begins || due {
            last.pts = Some(pts);
            last.frames = 0;
        }
        if begins {
            return gst::PadProbeReturn::Ok;
        }
        let Some(request) = &request else {
            drop(last);
            if due {
                ask(pad, pts);
            }
            return gst::PadProbeReturn::Ok;
        };
        let forced = std::mem::take(&mut last.forced);
        let by_itself = !last.off_count && count == request.every;
        if due != by_itself {
            last.off_count = true;
            last.forced = due;
        }
        drop(last);
        // In the encoder's streaming thread, between two frames.
        if let Some(encoder) = encoder.upgrade() {
            if due && !by_itself {
                request.force(&encoder);
            } else if forced || by_itself && !due {
                request.release(&encoder);
            }
        }
        gst::PadProbeReturn::Ok
    });
}

/// Sends a force-key-unit event to the element of a sink pad. Elements that do not support it ignore it.
pub fn ask(pad: &gst::Pad, pts: gst::ClockTime) {
    let event = gst_video::DownstreamForceKeyUnitEvent::builder()
        .timestamp(pts)
        .stream_time(pts)
        .running_time(pts)
        .all_headers(false)
        .build();
    pad.send_event(event);
}
