//! Moves media that has been pushed into a part to the next one, which begins before it: an encoder of the part has lost
//! what it held.

use super::{InFlight, Inner, Item, Outlets, Track};
use crate::{
    formats,
    gate::{self, Gate},
    model::{
        Kind, SampleGrid,
        timeline::{Ns, Seam},
    },
    session::{SharedTimeline, lock},
};
use std::sync::MutexGuard;

/// A track that is locked, so that its part can end before what has been pushed into that.
pub struct LockedTrack<'a>(MutexGuard<'a, Inner>);

impl Track {
    /// Locks the track.
    pub fn lock(&self) -> LockedTrack<'_> {
        LockedTrack(lock(&self.inner))
    }

    /// Recorded time in this part, from the first buffer that has not left for the encoder on.
    pub fn first_unsent(&self, part: usize) -> Option<Ns> {
        self.in_flight(part).first_unsent()
    }
}

impl LockedTrack<'_> {
    /// Whether this part can end at `end`, in its recorded time.
    pub fn can_move(&mut self, part: usize, end: Ns) -> bool {
        let inner = &mut *self.0;
        let is_raw = !matches!(inner.gate, Some(Gate::Encoded(_)));
        let outlet = inner.outlets.of(part);
        let is_before = outlet.fed() < end;
        is_before || is_raw && inner.cursor.part() == part && !outlet.feed.is_backlog()
    }

    /// The part ends at `seam`. What has been pushed into it from `from` on, in its recorded time, is moved to the
    /// next one, where it has the timestamps of that.
    pub fn move_back(&mut self, seam: Seam, from: Ns, timeline: &SharedTimeline) {
        let inner = &mut *self.0;
        let (part, begin) = (inner.cursor.part(), inner.begin);
        let end = seam.recorded.saturating_sub(begin);
        let outlet = inner.outlets.of(part);
        if outlet.fed() < end {
            // It enters the next part as usual.
            return;
        }
        outlet.feed.flush_batch();
        let in_flight = outlet.feed.in_flight().clone();
        inner.begin = timeline.read(|timeline| inner.cursor.move_to_next_part(timeline));
        if let Some(gate) = &mut inner.gate {
            gate.move_to_part(inner.begin);
        }
        let is_audio = matches!(inner.gate, Some(Gate::Audio(_)));
        inner
            .outlets
            .end_early(part, end, is_audio.then(|| in_flight.audio_before(end)));
        inner
            .outlets
            .refill(part + 1, &in_flight, (begin, seam.recorded), from);
        inner.looked = None;
    }
}

impl Outlets {
    /// Gives the next part what is in flight in the one before, which began and ends at these recorded times.
    fn refill(&mut self, part: usize, in_flight: &InFlight, seams: (Ns, Ns), from: Ns) {
        let outlet = self.of(part);
        // The track may have ended.
        let is_closed = outlet.closed;
        outlet.reopen();
        let mut grid = None;
        for item in in_flight.pushed_from(from) {
            match item {
                Item::Buffer(buffer) => outlet.give(restamped(buffer, seams, grid)),
                Item::Caps(caps) => {
                    grid = grid_of(&caps);
                    outlet.headroom = gate::headroom(&caps);
                    outlet.caps.get_or_insert_with(|| caps.clone());
                    outlet.feed.give(Item::Caps(caps));
                }
                other => outlet.feed.give(other),
            }
        }
        if is_closed {
            outlet.close();
        }
    }
}

fn grid_of(caps: &gst::CapsRef) -> Option<SampleGrid> {
    let audio = formats::kind_of_caps(caps) == Some(Kind::Audio);
    let info = formats::audio_info(caps).filter(|_| audio);
    info.map(|info| SampleGrid::new(info.rate()))
}

/// A buffer of the part that began at the first of these recorded times, for the one that begins at the second; audio
/// on this grid.
fn restamped(
    mut buffer: gst::Buffer,
    (before, begin): (Ns, Ns),
    grid: Option<SampleGrid>,
) -> gst::Buffer {
    let fields = buffer.make_mut();
    let stamp = fields.pts().map_or(0, gst::ClockTime::nseconds);
    let length = fields.duration().map_or(0, gst::ClockTime::nseconds);
    let time = gst::ClockTime::from_nseconds;
    fields.unset_flags(gst::BufferFlags::DISCONT | gst::BufferFlags::RESYNC);
    let (pts, end) = match grid {
        Some(grid) => {
            let skipped = grid.nearest(begin) - grid.nearest(before);
            let samples = grid.nearest(length);
            let first = grid.nearest(stamp).saturating_sub(skipped);
            if first == 0 {
                fields.set_flags(gst::BufferFlags::DISCONT);
            }
            fields.set_offset(first);
            fields.set_offset_end(first + samples);
            (grid.time(first), grid.time(first + samples))
        }
        None => {
            let skipped = begin - before;
            let end = stamp.saturating_add(length);
            (stamp.saturating_sub(skipped), end.saturating_sub(skipped))
        }
    };
    fields.set_pts(time(pts));
    fields.set_duration(time(end.saturating_sub(pts)));
    buffer
}
