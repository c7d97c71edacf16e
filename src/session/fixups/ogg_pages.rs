//! Controls where Ogg audio pages start: after a hole, and at a timeslice. Readers derive packet times backwards from
//! the time at the end of the page (GStreamer) or forwards from the end of the previous page (FFmpeg, which is why the
//! page after a hole has two packets).
//!
//! oggmux starts a new page at a packet that is not a delta unit if the previous one is. (It does so at a
//! discontinuity, too, but then skips a page number.)

use crate::{
    model::timeline::Ns,
    session::{probe::probe, timing::lock},
};
use gst::prelude::*;
use std::sync::Mutex;

/// oggmux takes a hole up to this long for jitter, and counts packets contiguously (its `max-tolerance`).
pub(super) const JITTER: Ns = 40_000_000;

#[derive(Debug, Default)]
struct Track {
    /// End of the last packet.
    end: Option<Ns>,
    /// Packets since the last hole.
    since_hole: Option<u32>,
    /// Start of the next timeslice, if there are timeslices.
    next_slice: Ns,
}

impl Track {
    /// Whether this packet has to start a page.
    fn begins_page(&mut self, pts: Ns, duration: Ns, timeslice: Ns) -> bool {
        let end = self.end.replace(pts.saturating_add(duration));
        let slice = timeslice > 0 && pts >= self.next_slice;
        if slice {
            self.next_slice = pts.saturating_add(timeslice);
        }
        let hole = end.is_some_and(|end| pts > end.saturating_add(JITTER));
        // The second packet of a page has to be a delta unit so that the third can start a new page.
        let since = self.since_hole.map(|since| since.saturating_add(1));
        self.since_hole = if hole { Some(0) } else { since };
        slice || hole || since == Some(2) || end.is_none()
    }
}

/// Starts pages at holes and timeslices on the oggmux `pad` of an audio track.
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

/// Clears DELTA_UNIT on audio-only pages, since a reader can start at any of them.
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
    fn pages_begin_after_gaps_and_at_timeslices() {
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
