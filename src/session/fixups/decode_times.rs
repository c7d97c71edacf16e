//! Decode times that were made up, moved to where a recording has room for them.
//!
//! A timestamper lets decode times begin before 0 and moves the segment to make that possible.
//! mp4mux takes that for a delay of the whole track. Here the first ones crowd together behind 0.

use crate::session::{probe::probe, timing::lock};
use std::sync::Mutex;

/// Decode times are at least so far apart, in nanoseconds: as far as containers tell.
const STEP: u64 = 1_000_000;

#[derive(Default)]
struct Track {
    segment: gst::FormattedSegment<gst::ClockTime>,
    last: Option<u64>,
}

impl Track {
    /// Running time, 0 for what is before it.
    fn running(&self, stamp: Option<gst::ClockTime>) -> Option<u64> {
        match self.segment.to_running_time_full(stamp?)? {
            gst::Signed::Positive(running) => Some(running.nseconds()),
            gst::Signed::Negative(_) => Some(0),
        }
    }

    fn stamp(&mut self, buffer: &mut gst::BufferRef) {
        let Some(pts) = self.running(buffer.pts()) else {
            return;
        };
        let least = self.last.map_or(0, |last| last.saturating_add(STEP));
        let dts = self.running(buffer.dts()).unwrap_or(pts);
        let dts = dts.max(least).min(pts);
        self.last = Some(dts);
        buffer.set_pts(gst::ClockTime::from_nseconds(pts));
        buffer.set_dts(gst::ClockTime::from_nseconds(dts));
    }
}

/// Has what leaves `pad` be stamped in running time, with no decode time before 0.
pub fn begin_at_zero(pad: &gst::Pad) {
    let track = Mutex::new(Track::default());
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    probe(pad, kinds, move |_, info| {
        match &mut info.data {
            Some(gst::PadProbeData::Event(event)) => {
                if let gst::EventView::Segment(segment) = event.view()
                    && let Some(time) = segment.segment().downcast_ref::<gst::ClockTime>()
                {
                    lock(&track).segment = time.clone();
                    let plain = gst::FormattedSegment::<gst::ClockTime>::new();
                    let seqnum = event.seqnum();
                    *event = gst::event::Segment::builder(&plain).seqnum(seqnum).build();
                }
            }
            Some(gst::PadProbeData::Buffer(buffer)) => lock(&track).stamp(buffer.make_mut()),
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decode_times_rise_and_never_pass_the_presentation() {
        gst::init().unwrap();
        let mut track = Track::default();
        track.segment.set_start(gst::ClockTime::from_mseconds(80));
        let stamps = [(80, 0), (240, 40), (160, 80), (120, 120), (200, 160)];
        let stamped = stamps.map(|(pts, dts)| {
            let mut buffer = gst::Buffer::new();
            let fields = buffer.make_mut();
            fields.set_pts(gst::ClockTime::from_mseconds(pts));
            fields.set_dts(gst::ClockTime::from_mseconds(dts));
            track.stamp(fields);
            let ms = |time: Option<gst::ClockTime>| time.unwrap().mseconds();
            (ms(buffer.pts()), ms(buffer.dts()))
        });
        assert_eq!(stamped, [(0, 0), (160, 1), (80, 2), (40, 40), (120, 80)]);
    }
}
