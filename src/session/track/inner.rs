//! The state of a track, behind its lock.

use super::{InFile, Item, Outlet, Outlets, TrackStats};
use crate::{
    gate::{self, Gate, GateOutput, Input, IntervalCursor, Piece},
    model::{Orientation, stamps::Stamps, timeline::Ns},
    session::SharedTimeline,
};

#[derive(Debug)]
pub(super) struct Inner {
    /// The newest caps.
    pub(super) caps: Option<gst::Caps>,
    /// The caps of the first media.
    pub(super) first_caps: Option<gst::Caps>,
    pub(super) gate: Option<Gate>,
    pub(super) stamps: Stamps<Input>,
    pub(super) cursor: IntervalCursor,
    /// End of the last interval, once it is final.
    pub(super) end: Option<Ns>,
    pub(super) seen: u64,
    /// Running time from which on it is not yet known to which part media belongs.
    pub(super) hold: Option<Ns>,
    /// Recorded time at which the current part begins.
    pub(super) begin: Ns,
    pub(super) outlets: Outlets,
    /// How the track is recorded in that part's file.
    pub(super) in_file: InFile,
    /// The caps that were last pushed.
    pub(super) given: Option<gst::Caps>,
    pub(super) first: Option<Ns>,
    /// Running time at which its furthest buffer ends.
    pub(super) furthest: Ns,
    /// Whether the last buffer pushed has no DTS.
    pub(super) lacks_dts: bool,
    pub(super) counts: TrackStats,
    /// Running time the track had reached when it last accepted a buffer.
    pub(super) let_in: Ns,
    /// The queue level when it was last measured, and the recorded time pushed by then.
    pub(super) looked: Option<(Ns, Ns)>,
    /// Changes of `mute` before the caps were known.
    pub(super) mutes: Vec<(Ns, bool)>,
    /// Orientation set before the caps were known.
    pub(super) turn: Option<Orientation>,
}

impl Inner {
    pub(super) fn refresh(&mut self, timeline: &SharedTimeline) {
        let Inner {
            cursor,
            end,
            seen,
            hold,
            ..
        } = self;
        let news = timeline.news(*seen, |timeline| {
            cursor.refresh(timeline);
            *hold = timeline.hold();
            let is_known = timeline.pending().is_none() && hold.is_none();
            *end = timeline.end().filter(|_| is_known);
        });
        if let Some((now, ())) = news {
            *seen = now;
        }
    }

    /// The outlet into the current part.
    pub(super) fn outlet(&mut self) -> &mut Outlet {
        self.outlets.of(self.cursor.part())
    }

    /// Whether the current part has a pipeline that still accepts media.
    pub(super) fn is_connected(&self) -> bool {
        let outlet = self.outlets.find(self.cursor.part());
        outlet.is_some_and(|outlet| outlet.feed.is_connected())
    }

    /// Enters the next part if the current one is complete. Returns whether it did.
    pub(super) fn enter_next_part(&mut self, timeline: &SharedTimeline) -> bool {
        let Some(end) = self.cursor.end_of_part() else {
            return false;
        };
        let Some(gate) = self.gate.as_mut().filter(|_| self.cursor.is_part_over()) else {
            return false;
        };
        let mut out = GateOutput::new();
        gate.end_part(end.recorded, &mut out);
        self.feed_all(out);
        let part = self.cursor.part();
        self.begin = timeline.read(|timeline| self.cursor.enter_next_part(timeline));
        let is_audio = matches!(self.gate, Some(Gate::Audio(_)));
        if is_audio && self.cursor.begins_at_seam() {
            self.outlets.overlap(part);
        } else {
            self.outlets.close_before(self.cursor.part());
        }
        self.outlets.forget_before(self.cursor.part());
        if let Some(gate) = &mut self.gate {
            gate.begin_part(self.begin);
        }
        self.looked = None;
        if self.in_file.has_left_part() {
            self.outlet().close();
        }
        true
    }

    /// Fills gaps before running time `until`, across parts if needed.
    pub(super) fn fill(&mut self, until: Ns, timeline: &SharedTimeline) {
        let until = self.hold.unwrap_or(Ns::MAX).min(until);
        loop {
            let mut out = GateOutput::new();
            let Inner { gate, cursor, .. } = &mut *self;
            if let Some(gate) = gate {
                gate.fill(cursor, until, &mut out);
            }
            self.feed_all(out);
            if !self.enter_next_part(timeline) {
                return self.end_overlap_at_pause();
            }
        }
    }

    /// At a pause, no audio follows that an older part's encoder could get.
    fn end_overlap_at_pause(&mut self) {
        if self.cursor.current().is_none() {
            self.outlets.close_before(self.cursor.part());
        }
    }

    /// Releases what `safe_until` allows, across parts if needed.
    pub(super) fn advance(&mut self, safe_until: Ns, timeline: &SharedTimeline) {
        let safe_until = self.hold.unwrap_or(Ns::MAX).min(safe_until);
        loop {
            self.advance_gate(safe_until);
            if !self.enter_next_part(timeline) {
                return self.end_overlap_at_pause();
            }
        }
    }

    /// Releases what `safe_until` allows.
    pub(super) fn advance_gate(&mut self, safe_until: Ns) {
        let mut out = GateOutput::new();
        let Inner { gate, cursor, .. } = self;
        if let Some(gate) = gate {
            gate.advance(cursor, safe_until, &mut out);
        }
        self.feed_all(out);
    }

    pub(super) fn feed_all(&mut self, out: GateOutput) {
        self.counts.encoded += out.inputs();
        let is_encoded = matches!(self.gate, Some(Gate::Encoded(_)));
        let part = self.cursor.part();
        for piece in out {
            match piece {
                Piece::Buffer(buffer) => {
                    self.lacks_dts = buffer.dts().is_none();
                    self.outlets.overlap_with(&buffer);
                    let outlet = self.outlets.of(part);
                    if outlet.caps.is_none() && is_encoded {
                        outlet.caps = self.given.clone();
                    }
                    outlet.give(buffer);
                }
                Piece::Caps(caps) => {
                    if self.given.as_ref() != Some(&caps) {
                        self.outlets.close_before(part);
                    }
                    self.given = Some(caps.clone());
                    let outlet = self.outlets.of(part);
                    outlet.headroom = gate::headroom(&caps);
                    outlet.feed.give(Item::Caps(caps));
                }
                Piece::Turn(turn) => self.outlets.of(part).feed.give(Item::Turn(turn)),
                Piece::Gap(until) => self.outlets.of(part).feed.give(Item::Gap(until)),
            }
        }
    }
}
