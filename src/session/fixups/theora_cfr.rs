//! Pictures counted as Theora counts them: a packet has no time of its own there, it is one frame after the packet
//! before (Theora specification, A.2.3), and readers count.
//!
//! So every picture is put where its time is on the grid of the frame rate, and what it lasts beyond one frame is
//! written as packets without content, which repeat the picture before (Theora specification, 7). That holds for a
//! variable frame rate, across cuts, and where pictures were left out.

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

/// No more than this is written as repeated: it would not fit into a stamp, which counts from a key frame in 15 bits.
const MAX_HOLE_FRAMES: u64 = 30_000;

/// Frames per second where no rate is known.
const USUAL: i32 = 30;
/// No more are made of a variable rate, whatever upstream says that there may be.
const HIGHEST: i32 = 60;

/// Has `first`, which takes any raw pictures, and all behind it hear of a constant frame rate where there is a
/// variable one, with which theoraenc does not start.
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
        // Behind it nobody takes a variable rate.
        if let Some(gst::QueryViewMut::Caps(query)) = info.query_mut().map(|q| q.view_mut()) {
            let all = pad.pad_template_caps();
            let caps = query.filter().map(|filter| all.intersect(filter));
            query.set_result(&caps.unwrap_or(all));
            return gst::PadProbeReturn::Handled;
        }
        gst::PadProbeReturn::Ok
    });
}

/// The rate that caps name, or the most that they allow, or the usual one.
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

/// Where the pictures of a track are, in frames.
#[derive(Debug, Default)]
pub(super) struct Grid {
    /// Numerator and denominator; none is known yet.
    rate: Option<(u64, u64)>,
    /// Where the next picture may begin.
    next: u64,
    /// Pictures that the encoder has.
    pub(super) encoding: VecDeque<Range<u64>>,
    /// Frames that have been written.
    written: u64,
    /// A picture and what repeats it are on their way.
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

    /// The frame that begins nearest to a recorded time.
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

    /// Puts a picture on the grid; false if there is no place for it.
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

    /// The same picture in each of these frames.
    pub(super) fn repeated(&self, picture: &gst::Buffer, frames: Range<u64>) -> Vec<gst::Buffer> {
        let end = frames.end.min(frames.start.saturating_add(MAX_HOLE_FRAMES));
        let at = |frame| {
            let mut picture = picture.clone();
            let fields = picture.make_mut();
            fields.set_pts(self.time(frame));
            fields.set_duration(self.time(1));
            picture
        };
        (frames.start..end).map(at).collect()
    }

    /// Packets that repeat the picture before until `frame`.
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

/// Counts the frames of an encoder that knows its frame rate.
///
/// `resumes`: another encoder has written what is before its first picture.
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
        match placed {
            true => gst::PadProbeReturn::Ok,
            false => leave_out(info),
        }
    });
    probe(&src, gst::PadProbeType::BUFFER, move |pad, info| {
        let packets = {
            let mut grid = lock(&grid);
            let Some(picture) = info.buffer() else {
                return gst::PadProbeReturn::Ok;
            };
            if grid.passing || picture.flags().contains(gst::BufferFlags::HEADER) {
                return gst::PadProbeReturn::Ok;
            }
            let Some(frames) = grid.encoding.pop_front() else {
                return gst::PadProbeReturn::Ok;
            };
            grid.passing = true;
            if first.swap(false, Ordering::SeqCst) {
                grid.written = frames.start;
            }
            // Where pictures have been left out.
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
    fn what_is_variable_gets_a_rate() {
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
    fn pictures_of_any_length_are_on_the_grid() {
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
