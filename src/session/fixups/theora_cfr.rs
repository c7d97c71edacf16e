//! Converts video to the constant frame rate that Theora in Ogg requires: a packet has no timestamp of its own there,
//! but is one frame later than the previous packet (Theora specification, A.2.3), and readers count packets.
//!
//! Every frame is therefore aligned to the frame grid, and a duration beyond one frame is filled with empty packets,
//! which repeat the previous frame (Theora specification, 7). This covers variable frame rates, cuts, and dropped
//! frames.

use crate::session::{
    probe::{change_caps, leave_out, probe},
    timing::lock,
};
use gst::prelude::*;
use std::{
    collections::VecDeque,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

/// Longest run of repeated frames: a granule position counts frames since the last keyframe in 15 bits.
const MAX_HOLE_FRAMES: u64 = 30_000;

/// Frame rate to assume if none is known.
const USUAL: i32 = 30;
/// Upper bound for the rate that replaces a variable one, whatever `max-framerate` allows.
const HIGHEST: i32 = 60;

/// Replaces a variable frame rate with a constant one in the caps that `first` and everything downstream of it see,
/// since theoraenc does not start with a variable rate. `first` has to accept any raw video.
pub fn assume_rate(first: &gst::Element) {
    let Some(pad) = first.static_pad("sink") else {
        return;
    };
    let kinds = gst::PadProbeType::EVENT_DOWNSTREAM | gst::PadProbeType::QUERY_DOWNSTREAM;
    probe(&pad, kinds, |pad, info| {
        change_caps(info, |caps| {
            let mut constant = caps.to_owned();
            constant.make_mut().set("framerate", rate(caps));
            Some(constant)
        });
        // Elements downstream would reject a variable rate.
        if let Some(gst::QueryViewMut::Caps(query)) = info.query_mut().map(|q| q.view_mut()) {
            let all = pad.pad_template_caps();
            let caps = query.filter().map(|filter| all.intersect(filter));
            query.set_result(&caps.unwrap_or(all));
            return gst::PadProbeReturn::Handled;
        }
        gst::PadProbeReturn::Ok
    });
}

/// The frame rate in the caps, else their maximum rate, else the default.
pub fn rate(caps: &gst::CapsRef) -> gst::Fraction {
    let structure = caps.structure(0);
    let field = |name| {
        let rate = structure.and_then(|s| s.get::<gst::Fraction>(name).ok());
        rate.filter(|rate| rate.numer() > 0 && rate.denom() > 0)
    };
    let most = || field("max-framerate").map(|most| most.min(HIGHEST.into()));
    field("framerate")
        .or_else(most)
        .unwrap_or_else(|| USUAL.into())
}

/// Positions of a track's frames, in units of frames.
#[derive(Debug, Default)]
pub(super) struct Grid {
    /// Numerator and denominator; `None` until known.
    rate: Option<(u64, u64)>,
    /// Earliest position for the next frame.
    next: u64,
    /// Frames inside the encoder.
    pub(super) encoding: VecDeque<Range<u64>>,
    /// Number of frames written.
    written: u64,
    /// Set while a frame and its repeats are being pushed.
    pub(super) passing: bool,
}

impl Grid {
    pub(super) fn set_rate(&mut self, caps: &gst::CapsRef) {
        let structure = caps.structure(0);
        let rate = structure.and_then(|s| s.get::<gst::Fraction>("framerate").ok());
        self.rate = rate.and_then(|rate| {
            let numer = u64::try_from(rate.numer()).ok().filter(|n| *n > 0)?;
            Some((numer, u64::try_from(rate.denom()).ok().filter(|n| *n > 0)?))
        });
    }

    /// The frame whose start is nearest to a recorded time.
    fn nearest(&self, time: gst::ClockTime) -> Option<u64> {
        let (numer, denom) = self.rate?;
        time.nseconds()
            .mul_div_round(numer, denom.checked_mul(SECOND)?)
    }

    fn time(&self, frame: u64) -> Option<gst::ClockTime> {
        let (numer, denom) = self.rate?;
        let nanoseconds = frame.mul_div_round(denom.checked_mul(SECOND)?, numer)?;
        Some(gst::ClockTime::from_nseconds(nanoseconds))
    }

    /// Aligns a buffer to the grid; false if there is no free position for it.
    pub(super) fn place(&mut self, buffer: &mut gst::BufferRef) -> bool {
        let Some(pts) = buffer.pts() else {
            return true;
        };
        let until = pts + buffer.duration().unwrap_or_default();
        let (Some(begin), Some(end)) = (self.nearest(pts), self.nearest(until)) else {
            return true;
        };
        let begin = begin.max(self.next);
        if end <= begin {
            return false;
        }
        self.next = end;
        buffer.set_pts(self.time(begin));
        self.encoding.push_back(begin..end);
        true
    }

    /// Copies of the buffer for each of these frames.
    pub(super) fn repeated(&self, buffer: &gst::Buffer, frames: Range<u64>) -> Vec<gst::Buffer> {
        let end = frames.end.min(frames.start.saturating_add(MAX_HOLE_FRAMES));
        let at = |frame| {
            let mut copy = buffer.clone();
            let fields = copy.make_mut();
            fields.set_pts(self.time(frame));
            fields.set_duration(self.time(1));
            copy
        };
        (frames.start..end).map(at).collect()
    }

    /// Empty packets that repeat the previous frame until `frame`.
    fn repeat(&mut self, frame: u64) -> Vec<gst::Buffer> {
        let missing = self.written..frame;
        self.written = self.written.max(frame);
        if missing.end.saturating_sub(missing.start) > MAX_HOLE_FRAMES {
            return Vec::new();
        }
        let packet = |frame| {
            let mut packet = gst::Buffer::new();
            if let Some(fields) = packet.get_mut() {
                fields.set_pts(self.time(frame));
                fields.set_duration(self.time(1));
                fields.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
            packet
        };
        missing.map(packet).collect()
    }
}

const SECOND: u64 = 1_000_000_000;

/// Counts the frames of an encoder with a constant frame rate.
///
/// `resumes`: another encoder wrote the track up to this encoder's first frame.
pub fn count(encoder: &gst::Element, resumes: bool) {
    let (Some(sink), Some(src)) = (encoder.static_pad("sink"), encoder.static_pad("src")) else {
        return;
    };
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    let grid = Arc::new(Mutex::new(Grid::default()));
    let first = AtomicBool::new(resumes);
    let coming = grid.clone();
    probe(&sink, kinds, move |_, info| {
        if let Some(gst::EventView::Caps(caps)) = info.event().map(|event| event.view()) {
            lock(&coming).set_rate(caps.caps());
        }
        let placed = info
            .buffer_mut()
            .is_none_or(|buffer| lock(&coming).place(buffer.make_mut()));
        if placed {
            gst::PadProbeReturn::Ok
        } else {
            leave_out(info)
        }
    });
    probe(&src, gst::PadProbeType::BUFFER, move |pad, info| {
        let packets = {
            let mut grid = lock(&grid);
            let Some(frame) = info.buffer() else {
                return gst::PadProbeReturn::Ok;
            };
            if grid.passing || frame.flags().contains(gst::BufferFlags::HEADER) {
                return gst::PadProbeReturn::Ok;
            }
            let Some(frames) = grid.encoding.pop_front() else {
                return gst::PadProbeReturn::Ok;
            };
            grid.passing = true;
            if first.swap(false, Ordering::SeqCst) {
                grid.written = frames.start;
            }
            // Fills the gap left by dropped frames.
            let mut packets = grid.repeat(frames.start);
            packets.extend(info.take_buffer());
            grid.written = frames.start + 1;
            packets.extend(grid.repeat(frames.end));
            packets
        };
        info.flow_res = packets
            .into_iter()
            .try_fold(gst::FlowSuccess::Ok, |_, packet| pad.push(packet));
        lock(&grid).passing = false;
        gst::PadProbeReturn::Handled
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_frame_rates_get_a_value() {
        gst::init().unwrap();
        let caps = |fields: &str| format!("video/x-raw{fields}").parse::<gst::Caps>().unwrap();
        for (fields, numer, denom) in [
            (", framerate=30000/1001", 30_000, 1_001),
            (", framerate=0/1", 30, 1),
            ("", 30, 1),
            (", framerate=0/1, max-framerate=15/1", 15, 1),
            (", framerate=0/1, max-framerate=240/1", 60, 1),
        ] {
            let expected = gst::Fraction::new(numer, denom);
            assert_eq!(rate(&caps(fields)), expected, "{fields}");
        }
    }

    #[test]
    fn frames_of_any_length_are_on_the_grid() {
        gst::init().unwrap();
        let mut grid = Grid::default();
        let caps = gst::Caps::builder("video/x-raw")
            .field("framerate", gst::Fraction::new(30, 1))
            .build();
        grid.set_rate(&caps);
        let mut at = 0;
        let mut placed = Vec::new();
        for lasts in [8, 17, 40, 100, 250, 8, 61] {
            let mut buffer = gst::Buffer::new();
            let fields = buffer.get_mut().unwrap();
            fields.set_pts(gst::ClockTime::from_mseconds(at));
            fields.set_duration(gst::ClockTime::from_mseconds(lasts));
            at += lasts;
            if grid.place(fields) {
                let frames = grid.encoding.pop_front().unwrap();
                assert_eq!(fields.pts(), grid.time(frames.start));
                placed.push(frames);
            }
        }
        assert_eq!(placed, [0..1, 1..2, 2..5, 5..12, 12..13, 13..15]);
        grid.written = 3;
        let packets = grid.repeat(5);
        let stamps: Vec<_> = packets
            .iter()
            .map(|p| p.pts().unwrap().mseconds())
            .collect();
        assert_eq!(stamps, [100, 133]);
        assert!(packets.iter().all(|packet| packet.size() == 0));
        assert!(grid.repeat(5).is_empty());
        assert!(grid.repeat(u64::MAX).is_empty());
    }
}
