//! A buffer of encoded media that waits in the gate, with the properties of its stream at its arrival.

use super::super::{Input, Loss};
use crate::formats::{self, EntryPoint, FrameFormat};
use std::cell::Cell;

/// See the module.
#[derive(Debug)]
pub struct Waiting {
    pub input: Input,
    /// Why media is missing before it.
    pub after_loss: Option<Loss>,
    /// Caps that change with this buffer.
    pub caps: Option<gst::Caps>,
    /// Whether its stream is in presentation order.
    pub in_order: bool,
    /// Whether the timestamps of its codec get [`HEADROOM`].
    pub may_reorder: bool,
    /// Frame format used to find the frame type.
    pub format: Option<FrameFormat>,
    /// Its entry-point type, once parsed.
    pub entry_point: Cell<Option<EntryPoint>>,
}

impl Waiting {
    /// Its entry-point type; parsed on first use.
    pub fn entry_point(&self) -> EntryPoint {
        if let Some(known) = self.entry_point.get() {
            return known;
        }
        let found = formats::entry_point(self.format, &self.input.buffer);
        self.entry_point.set(Some(found));
        found
    }

    pub fn is_delta(&self) -> bool {
        is_delta(&self.input.buffer)
    }

    /// Whether a recording can begin with it.
    pub fn is_beginning(&self) -> bool {
        !is_hidden(&self.input.buffer) && self.entry_point() != EntryPoint::No
    }

    /// Corrects DELTA_UNIT if upstream marks it as a keyframe, or if it `begins` an interval.
    pub fn flag(&mut self, begins: bool) {
        let is_delta = self.is_delta();
        if begins && is_delta {
            let buffer = self.input.buffer.make_mut();
            buffer.unset_flags(gst::BufferFlags::DELTA_UNIT);
        } else if !begins && !is_delta && self.entry_point() == EntryPoint::No {
            let buffer = self.input.buffer.make_mut();
            buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
        }
    }
}

pub fn is_delta(frame: &gst::BufferRef) -> bool {
    frame.flags().contains(gst::BufferFlags::DELTA_UNIT)
}

pub fn is_hidden(frame: &gst::BufferRef) -> bool {
    frame.flags().contains(gst::BufferFlags::DECODE_ONLY)
}
