//! Where pages of audio in Ogg begin: behind a hole, since readers count the packets of a page back from the time at its
//! end (GStreamer) or on from the end of the page before (FFmpeg: so the page behind the hole is two packets); and where a
//! timeslice does.
//!
//! oggmux ends a page in front of a packet that is no delta unit behind one that is. (So it does in front of one that is
//! a discontinuity, but then counts a page that is missing.)

use crate::{
    model::timeline::Ns,
    session::{probe::probe, timing::lock},
};
use gst::prelude::*;
use std::sync::Mutex;

/// Up to here oggmux takes a hole for jitter, and counts packets on (its `max-tolerance`).
const JITTER: Ns = 40_000_000;

#[derive(Debug, Default)]
struct Track {
    /// Where the last packet ended.
    end: Option<Ns>,
    /// Packets since the last hole.
    since_hole: Option<u32>,
    /// Where the next timeslice begins, if there are any.
    next_slice: Ns,
}

impl Track {
    /// Whether a page has to begin with this packet.
    fn begins_page(&mut self, pts: Ns, duration: Ns, timeslice: Ns) -> bool {
        let end = self.end.replace(pts.saturating_add(duration));
        let slice = timeslice > 0 && pts >= self.next_slice;
        if slice {
            self.next_slice = pts.saturating_add(timeslice);
        }
        let hole = end.is_some_and(|end| pts > end.saturating_add(JITTER));
        // The second packet of a page has to be a delta unit for the third to begin one.
        let since = self.since_hole.map(|since| since.saturating_add(1));
        self.since_hole = if hole { Some(0) } else { since };
        slice || hole || since == Some(2) || end.is_none()
    }
}

/// Has pages of the audio track on oggmux' `pad` begin where they have to.
pub fn divide(pad: &gst::Pad, timeslice: Ns) {
    let track = Mutex::new(Track {
        next_slice: timeslice,
        ..Track::default()
    });
    probe(pad, gst::PadProbeType::BUFFER, move |_, info| {
        let Some(buffer) = info.buffer_mut() else {
            return gst::PadProbeReturn::Ok;
        };
        let Some(pts) = buffer.pts().map(gst::ClockTime::nseconds) else {
            return gst::PadProbeReturn::Ok;
        };
        let duration = buffer.duration().map_or(0, gst::ClockTime::nseconds);
        let begins = lock(&track).begins_page(pts, duration, timeslice);
        let buffer = buffer.make_mut();
        buffer.unset_flags(gst::BufferFlags::DISCONT);
        if begins {
            buffer.unset_flags(gst::BufferFlags::DELTA_UNIT);
        } else {
            buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
        }
        gst::PadProbeReturn::Ok
    });
}

/// Has pages of audio alone, with any of which a reader can begin, not be flagged as if it could not.
pub fn unflag(muxer: &gst::Element) {
    let Some(pad) = muxer.static_pad("src") else {
        return;
    };
    probe(&pad, gst::PadProbeType::BUFFER, |_, info| {
        if let Some(buffer) = info.buffer_mut()
            && buffer.flags().contains(gst::BufferFlags::DELTA_UNIT)
        {
            let buffer = buffer.make_mut();
            buffer.unset_flags(gst::BufferFlags::DELTA_UNIT);
        }
        gst::PadProbeReturn::Ok
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_begin_behind_holes_and_with_timeslices() {
        const MS: Ns = 1_000_000;
        let mut track = Track {
            next_slice: 100 * MS,
            ..Track::default()
        };
        let stamps = [0, 20, 42, 60, 120, 140, 240, 260, 320, 340];
        let begins = stamps.map(|at| track.begins_page(at * MS, 20 * MS, 100 * MS));
        let begins: Vec<_> = stamps.iter().zip(begins).filter(|(_, b)| *b).collect();
        let begins: Vec<_> = begins.into_iter().map(|(at, _)| *at).collect();
        assert_eq!(begins, [0, 120, 240, 320, 340]);
        let mut unsliced = Track::default();
        let begins = [0, 20, 100, 120, 140].map(|at| unsliced.begins_page(at * MS, 20 * MS, 0));
        assert_eq!(begins, [true, false, true, false, true]);
    }
}
