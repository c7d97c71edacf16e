//! Decode times of reordered video (B-frames).
//!
//! The first decode times are before recorded time 0, where GStreamer has no timestamps. The gate therefore adds a
//! headroom ([`crate::gate::headroom`]) to the timestamps of such streams, and an encoder or a timestamper moves its
//! segment. mp4mux takes either for a delay of the whole track.

use super::MuxerSite;
use crate::{
    gate,
    session::{probe::probe, timing::lock},
};
use std::sync::{Arc, Mutex};

/// Minimum distance between decode times, in nanoseconds: the resolution of the containers.
const STEP: i64 = 1_000_000;

fn signed(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(0)
}

/// Converts the timestamps of a track to recorded time.
struct Track {
    segment: gst::FormattedSegment<gst::ClockTime>,
    headroom: i64,
    last: Option<i64>,
}

impl Track {
    fn new(headroom: u64) -> Self {
        Track {
            segment: gst::FormattedSegment::new(),
            headroom: signed(headroom),
            last: None,
        }
    }

    fn recorded(&self, stamp: Option<gst::ClockTime>) -> Option<i64> {
        let running = match self.segment.to_running_time_full(stamp?)? {
            gst::Signed::Positive(running) => i64::try_from(running.nseconds()).ok()?,
            gst::Signed::Negative(before) => {
                i64::try_from(before.nseconds()).ok()?.checked_neg()?
            }
        };
        running.checked_sub(self.headroom)
    }

    /// Presentation and decode time of a frame in recorded time; the decode time is at least `earliest`.
    fn place(&mut self, buffer: &gst::BufferRef, earliest: i64) -> Option<(i64, i64)> {
        let pts = self.recorded(buffer.pts())?;
        let least = self.last.map_or(earliest, |last| last.saturating_add(STEP));
        let dts = self.recorded(buffer.dts()).unwrap_or(pts);
        let dts = dts.max(least).min(pts);
        self.last = Some(dts);
        Some((pts, dts))
    }
}

fn stamp(buffer: &mut gst::BufferRef, pts: i64, dts: i64) {
    let time = |time: i64| gst::ClockTime::from_nseconds(u64::try_from(time).unwrap_or(0));
    buffer.set_pts(time(pts));
    buffer.set_dts(time(dts));
}

/// Stamps the buffers that leave `pad` at recorded time plus `headroom` nanoseconds, whatever headroom the gate applies
/// for the current caps. Without headroom, the first decode times would be clamped to 0.
pub fn give_headroom(pad: &gst::Pad, headroom: u64) {
    let given = Arc::new(Mutex::new(None::<Track>));
    probe(
        pad,
        gst::PadProbeType::EVENT_DOWNSTREAM,
        move |pad, info| {
            let Some(gst::EventView::Caps(caps)) = info.event().map(|event| event.view()) else {
                return gst::PadProbeReturn::Ok;
            };
            let of_caps = gate::headroom(caps.caps());
            let mut track = lock(&given);
            match &mut *track {
                Some(track) => track.headroom = signed(of_caps),
                None if of_caps != headroom => {
                    *track = Some(Track::new(of_caps));
                    shift(pad, given.clone(), signed(headroom));
                }
                None => {}
            }
            gst::PadProbeReturn::Ok
        },
    );
}

/// Restamps the buffers that leave `pad` to recorded time plus `headroom`.
fn shift(pad: &gst::Pad, given: Arc<Mutex<Option<Track>>>, headroom: i64) {
    probe(pad, gst::PadProbeType::BUFFER, move |_, info| {
        let mut track = lock(&given);
        if let (Some(buffer), Some(track)) = (info.buffer_mut(), &mut *track)
            && track.headroom != headroom
        {
            let buffer = buffer.make_mut();
            let has_dts = buffer.dts().is_some();
            let earliest = headroom.saturating_neg();
            if let Some((pts, dts)) = track.place(buffer, earliest) {
                stamp(buffer, pts + headroom, dts + headroom);
                if !has_dts {
                    buffer.set_dts(gst::ClockTime::NONE);
                }
            }
        }
        gst::PadProbeReturn::Ok
    });
}

/// Makes decode times at the muxer start at 0: all timestamps are later than recorded time by the first frame's
/// composition offset, which an edit list compensates. The header patch receives that offset with the first frame.
pub fn begin_at_zero(site: &MuxerSite<'_>) {
    let (patch, number) = (Arc::downgrade(&site.end.patch), site.index_in_kind);
    let (delays, index) = (site.end.delays.clone(), site.index);
    let headroom = site.spec.headroom();
    move_to_zero(site.mux_pad, headroom, move |delay| {
        delays.set_reordered(index, delay);
        if let Some(patch) = patch.upgrade() {
            lock(&patch).set_decode_delay(number, delay);
        }
    });
}

/// Calls `report` with the offset of the timestamps on `pad` from recorded time, in nanoseconds.
fn move_to_zero(pad: &gst::Pad, headroom: u64, report: impl Fn(u64) + Send + Sync + 'static) {
    let track = Mutex::new((Track::new(headroom), None::<i64>));
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    probe(pad, kinds, move |_, info| {
        let (track, delay) = &mut *lock(&track);
        match &mut info.data {
            Some(gst::PadProbeData::Event(event)) => {
                if let gst::EventView::Segment(segment) = event.view()
                    && let Some(time) = segment.segment().downcast_ref::<gst::ClockTime>()
                {
                    track.segment = time.clone();
                    let plain = gst::FormattedSegment::<gst::ClockTime>::new();
                    let seqnum = event.seqnum();
                    *event = gst::event::Segment::builder(&plain).seqnum(seqnum).build();
                }
            }
            Some(gst::PadProbeData::Buffer(buffer)) => {
                let earliest = delay.map_or(i64::MIN, |delay: i64| -delay);
                if let Some((pts, dts)) = track.place(buffer, earliest) {
                    let delay = *delay.get_or_insert_with(|| {
                        let delay = dts.saturating_neg().max(0);
                        report(delay.unsigned_abs());
                        delay
                    });
                    stamp(buffer.make_mut(), pts + delay, dts + delay);
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

    /// B-frames as an encoder stamps them, in milliseconds.
    const STAMPS: [(u64, u64); 5] = [(80, 0), (240, 40), (160, 80), (120, 120), (200, 160)];

    fn placed(track: &mut Track, earliest: i64) -> Vec<(i64, i64)> {
        let stamps = STAMPS.map(|(pts, dts)| {
            let mut buffer = gst::Buffer::new();
            let fields = buffer.make_mut();
            fields.set_pts(gst::ClockTime::from_mseconds(pts));
            fields.set_dts(gst::ClockTime::from_mseconds(dts));
            let (pts, dts) = track.place(fields, earliest).unwrap();
            (pts / 1_000_000, dts / 1_000_000)
        });
        stamps.to_vec()
    }

    #[test]
    fn decode_times_increase_and_never_exceed_presentation_times() {
        gst::init().unwrap();
        let crowded = [(0, 0), (160, 1), (80, 2), (40, 40), (120, 80)];
        assert_eq!(placed(&mut Track::new(80_000_000), 0), crowded);
        let mut moved = Track::new(0);
        moved.segment.set_start(gst::ClockTime::from_mseconds(80));
        assert_eq!(placed(&mut moved, 0), crowded);
    }

    #[test]
    fn decode_times_keep_their_distance_before_0() {
        gst::init().unwrap();
        let kept = [(0, -80), (160, -40), (80, 0), (40, 40), (120, 80)];
        assert_eq!(placed(&mut Track::new(80_000_000), i64::MIN), kept);
    }
}
