//! Encoded media: kept as it is, beginning at a key frame, re-stamped with recorded time.

use super::{Cuts, Input, Out};
use crate::model::timeline::{Interval, Ns};
use std::collections::VecDeque;

/// See the module.
#[derive(Debug)]
pub struct EncodedGate {
    /// Whether it has to begin at a key frame (video).
    keyed: bool,
    inbox: VecDeque<Input>,
    /// The interval that a key frame has been let into.
    entered: Option<usize>,
}

impl EncodedGate {
    /// A gate at recorded time 0.
    pub fn new(keyed: bool) -> Self {
        EncodedGate {
            keyed,
            inbox: VecDeque::new(),
            entered: None,
        }
    }

    /// Whether it has to begin at a key frame.
    pub fn is_keyed(&self) -> bool {
        self.keyed
    }

    pub(super) fn push(&mut self, input: Input) {
        self.inbox.push_back(input);
    }

    fn is_key(input: &Input) -> bool {
        !input.buffer.flags().contains(gst::BufferFlags::DELTA_UNIT)
            && !input.buffer.flags().contains(gst::BufferFlags::HEADER)
    }

    pub(super) fn key_frame(&self, cuts: &Cuts) -> Option<Ns> {
        let interval = cuts.current().filter(|i| !i.decided && self.keyed)?;
        self.inbox
            .iter()
            .find(|input| Self::is_key(input) && input.running >= interval.start)
            .map(|input| input.running)
    }

    pub(super) fn advance(&mut self, cuts: &mut Cuts, horizon: Ns, out: &mut Out) {
        while let Some(input) = self.inbox.front() {
            let Some(interval) = cuts.decided() else {
                if input.running >= cuts.next_start(horizon).min(horizon) {
                    return;
                }
                self.inbox.pop_front();
                continue;
            };
            if interval.end.is_some_and(|end| input.running >= end) {
                cuts.leave();
                continue;
            }
            if input.running >= horizon {
                return;
            }
            let Some(input) = self.inbox.pop_front() else {
                return;
            };
            if input.running < interval.start {
                continue;
            }
            if self.keyed && self.entered != Some(cuts.cursor()) && !Self::is_key(&input) {
                continue;
            }
            self.entered = Some(cuts.cursor());
            out.push(Self::stamp(input, &interval));
        }
    }

    fn stamp(input: Input, interval: &Interval) -> gst::Buffer {
        let recorded = interval.recorded_at(input.running);
        let mut buffer = input.buffer;
        let stamped = buffer.make_mut();
        let behind = match (stamped.pts(), stamped.dts()) {
            (Some(pts), Some(dts)) => Some((pts.nseconds(), dts.nseconds())),
            _ => None,
        };
        stamped.set_pts(gst::ClockTime::from_nseconds(recorded));
        stamped.set_dts(behind.map(|(pts, dts)| {
            let recorded = recorded.saturating_add(dts.saturating_sub(pts));
            gst::ClockTime::from_nseconds(recorded.saturating_sub(pts.saturating_sub(dts)))
        }));
        buffer
    }

    pub(super) fn first_waiting(&self) -> Option<Ns> {
        self.inbox.front().map(|input| input.running)
    }
}
