//! Preserves frame durations across parsers.
//!
//! Video parsers set durations from the frame rate, or none if it is unknown or variable; audio parsers set the
//! duration of a whole frame. In containers, the duration of the last frame depends on this alone.

use crate::session::{probe::probe, timing::lock};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

/// Maximum number of frames in flight: the longest encoder lookahead is 250.
const MAX_FRAMES: usize = 300;
/// Maximum deviation between timestamps of the same frame, in nanoseconds: encoders round them.
const ROUNDING: u64 = 1_000_000;

/// Running times and durations of frames in flight, in nanoseconds.
#[derive(Default)]
struct Lengths {
    frames: VecDeque<(u64, u64)>,
}

impl Lengths {
    fn note(&mut self, at: u64, length: u64) {
        if self.frames.len() >= MAX_FRAMES {
            self.frames.pop_front();
        }
        self.frames.push_back((at, length));
    }

    /// Removes and returns the duration of the frame at `at`.
    fn take(&mut self, at: u64) -> Option<u64> {
        let nearest = self.frames.iter().enumerate();
        let (index, (stands, _)) = nearest.min_by_key(|(_, (stands, _))| stands.abs_diff(at))?;
        if stands.abs_diff(at) > ROUNDING {
            return None;
        }
        self.frames.remove(index).map(|(_, length)| length)
    }
}

/// Restores, on `out`, the durations that frames had on `entry`.
pub fn keep(entry: &gst::Pad, out: &gst::Pad) {
    let lengths = Arc::<Mutex<Lengths>>::default();
    let noted = lengths.clone();
    on_frames(entry, move |at, buffer| {
        if let Some(duration) = buffer.duration() {
            lock(&noted).note(at, duration.nseconds());
        }
    });
    on_frames(out, move |at, buffer| {
        let length = lock(&lengths).take(at).map(gst::ClockTime::from_nseconds);
        if length.is_some() && length != buffer.duration() {
            buffer.make_mut().set_duration(length);
        }
    });
}

/// Calls `work` with the running time of each buffer that passes `pad`.
fn on_frames(pad: &gst::Pad, work: impl Fn(u64, &mut gst::Buffer) + Send + Sync + 'static) {
    let segment = Mutex::new(gst::FormattedSegment::<gst::ClockTime>::new());
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    probe(pad, kinds, move |_, info| {
        match &mut info.data {
            Some(gst::PadProbeData::Event(event)) => {
                if let gst::EventView::Segment(new) = event.view()
                    && let Some(time) = new.segment().downcast_ref::<gst::ClockTime>()
                {
                    *lock(&segment) = time.clone();
                }
            }
            Some(gst::PadProbeData::Buffer(buffer)) => {
                let at = buffer.pts();
                if let Some(at) = at.and_then(|at| lock(&segment).to_running_time(at)) {
                    work(at.nseconds(), buffer);
                }
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_found_by_time_in_any_order() {
        let mut lengths = Lengths::default();
        for frame in 0..3 {
            lengths.note(frame * 40_000_000, 10 + frame);
        }
        assert_eq!(lengths.take(80_000_000), Some(12));
        assert_eq!(lengths.take(80_000_000), None, "once");
        assert_eq!(lengths.take(40_900_000), Some(11));
        for frame in 0..1_000 {
            lengths.note(frame * 40_000_000, frame);
        }
        assert_eq!(lengths.frames.len(), MAX_FRAMES);
    }
}
