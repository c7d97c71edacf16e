//! Timestamps of encoded media in its part: in decode order, distinct, and never before 0.

use super::waiting::Waiting;
use crate::model::timeline::Ns;

/// Minimum distance of decode times that would collide at a cut: containers resolve about half of that.
pub const STEP: Ns = 1_000_000;
/// Timestamps closer than this are the same one, rounded.
const SAME: Ns = 100_000;
/// Maximum reorder depth.
const REORDERED: usize = 16;
/// Codecs whose presentation order is always their decode order.
const IN_ORDER: [&str; 5] = [
    "video/x-raw",
    "video/x-vp8",
    "video/x-vp9",
    "video/x-av1",
    "video/x-theora",
];
/// Offset of the timestamps of reordered frames from recorded time: the first ones are decoded before it begins.
const HEADROOM: Ns = 10_000_000_000;
/// `GST_BUFFER_OFFSET_NONE`.
const NO_OFFSET: u64 = u64::MAX;

fn signed(time: Ns) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

/// Whether presentation order may differ from decode order with this codec.
pub fn may_reorder(name: &str) -> bool {
    name.starts_with("video/") && !IN_ORDER.contains(&name)
}

/// Offset of the output timestamps from recorded time for these caps, in nanoseconds.
pub fn headroom(caps: &gst::CapsRef) -> Ns {
    match caps.structure(0) {
        Some(structure) if may_reorder(structure.name().as_str()) => HEADROOM,
        _ => 0,
    }
}

/// See the module.
#[derive(Debug)]
pub struct Stamper {
    /// Recorded decode time of the last frame; before 0 there is only headroom.
    last_dts: Option<i64>,
    /// For streams in presentation order: the latest recorded time.
    last_in_order: Option<Ns>,
    /// For streams with reordering: recorded times of the last frames.
    recent: Box<[Ns; REORDERED]>,
}

impl Stamper {
    /// At the beginning of a part.
    pub fn new() -> Self {
        Stamper {
            last_dts: None,
            last_in_order: None,
            recent: Box::new([Ns::MAX; REORDERED]),
        }
    }

    /// The latest recorded time of a stream in presentation order.
    pub fn latest(&self) -> Ns {
        self.last_in_order.unwrap_or(0)
    }

    /// A presentation time that differs from those of the last frames: parsers treat frames with the same one as a
    /// single frame. Frames with decode times are distinct already.
    fn apart(&mut self, recorded: Ns, is_apart: bool) -> Ns {
        if is_apart {
            return recorded;
        }
        let mut place = recorded;
        while self.recent.iter().any(|at| at.abs_diff(place) < SAME) {
            place = place.saturating_add(STEP);
        }
        self.recent.rotate_right(1);
        if let Some(newest) = self.recent.first_mut() {
            *newest = place;
        }
        place
    }

    /// The buffer with timestamps, at the `recorded` time in its part or as soon after it as possible.
    pub fn stamp(&mut self, waiting: Waiting, mut recorded: Ns) -> gst::Buffer {
        let Waiting {
            input,
            in_order,
            may_reorder,
            ..
        } = waiting;
        let hidden = gst::BufferFlags::DECODE_ONLY;
        if in_order && !input.buffer.flags().contains(hidden) {
            let step = input.duration.map_or(STEP, |duration| duration.min(STEP));
            let least = self
                .last_in_order
                .map_or(0, |last| last.saturating_add(step));
            recorded = recorded.max(least);
            self.last_in_order = Some(recorded);
        }
        let mut buffer = input.buffer;
        let stamped = buffer.make_mut();
        stamped.set_duration(input.duration.map(gst::ClockTime::from_nseconds));
        let lead = match (stamped.pts(), stamped.dts()) {
            (Some(pts), Some(dts)) => Some(pts.nseconds().saturating_sub(dts.nseconds())),
            _ => None,
        };
        let headroom = if may_reorder { HEADROOM } else { 0 };
        let dts = lead.map(|lead| {
            // Where there is no space before a cut, decode times are packed closely after it.
            let first = signed(headroom).saturating_neg();
            let least = self
                .last_dts
                .map_or(first, |last| last.saturating_add(STEP.cast_signed()));
            signed(recorded)
                .saturating_sub(signed(lead))
                .max(least)
                .max(first)
        });
        // Frames with the same presentation time, or one before the last decode time, stay in order.
        let recorded = dts.map_or(recorded, |dts| {
            recorded.max(u64::try_from(dts).unwrap_or(0))
        });
        let recorded = self.apart(recorded, in_order || dts.is_some());
        self.last_dts = dts.or(self.last_dts);
        let time = |at: Ns| gst::ClockTime::from_nseconds(at.saturating_add(headroom));
        stamped.set_pts(time(recorded));
        stamped.set_dts(
            dts.map(|dts| gst::ClockTime::from_nseconds(headroom.saturating_add_signed(dts))),
        );
        stamped.set_offset(NO_OFFSET);
        stamped.set_offset_end(NO_OFFSET);
        buffer
    }
}
