//! Raw video: every frame lasts until the next, or until the cut.
//!
//! A frame is output only when its end is known, so that one that spans a cut is shortened to it. The frame that is
//! current when an interval begins is repeated at its start.

use super::{GateOutput, Input, IntervalCursor, Mutes, fill};
use crate::model::{
    Orientation,
    timeline::{Interval, Ns},
};
use gst_video::VideoInfo;
use std::{collections::VecDeque, sync::Arc};

/// A shorter frame is dropped in favour of the next: encoders and containers with millisecond resolution could not
/// separate the two.
const SHORTEST: Ns = 1_000_000;
/// The first frame is extended backwards by up to this much; before that the video is black.
pub(super) const LATEST_FIRST: Ns = 200_000_000;
/// `GST_BUFFER_OFFSET_NONE`.
const NO_OFFSET: u64 = u64::MAX;

/// Frame format.
#[derive(Debug)]
struct Format {
    caps: gst::Caps,
    info: VideoInfo,
    /// Orientation of the frames.
    turn: Orientation,
    black: std::sync::OnceLock<Option<gst::Buffer>>,
}

impl Format {
    fn new(caps: &gst::CapsRef, turn: Orientation) -> Result<Self, glib::BoolError> {
        Ok(Format {
            turn,
            caps: caps.to_owned(),
            info: VideoInfo::from_caps(caps)?,
            black: std::sync::OnceLock::new(),
        })
    }
}

#[derive(Debug, Clone)]
struct Frame {
    buffer: gst::Buffer,
    format: Arc<Format>,
    /// Sequence number of the input frame, from 1; 0 for generated black.
    number: u64,
}

impl Frame {
    /// A black frame of the same format.
    fn black(format: &Arc<Format>, number: u64) -> Option<Self> {
        let black = format.black.get_or_init(|| fill::black(&format.info).ok());
        Some(Frame {
            buffer: black.clone()?,
            format: format.clone(),
            number,
        })
    }
}

#[derive(Debug)]
struct Shown {
    frame: Frame,
    recorded: Ns,
    /// Whether it fills a gap.
    filler: bool,
}

/// See the module.
#[derive(Debug)]
pub struct VideoGate {
    /// The input format.
    incoming: Arc<Format>,
    /// The format last output.
    last_sent_format: Option<Arc<Format>>,
    inbox: VecDeque<(Ns, Frame)>,
    /// The latest frame, for the next interval.
    current_frame: Option<Frame>,
    /// The frame to output once its end is known.
    shown: Option<Shown>,
    /// Recorded time at which the part begins; timestamps are relative to it.
    begin: Ns,
    /// The interval whose first frame has been set.
    entered: Option<usize>,
    /// Number of frames received, and of the latest one output.
    came: u64,
    gone: u64,
    dropped: u64,
    filled: Ns,
    /// See [`VideoGate::keep_pauses`].
    keeps_pauses: bool,
    pub(super) mutes: Mutes,
}

impl VideoGate {
    /// A gate at recorded time 0.
    pub fn new(caps: &gst::CapsRef) -> Result<Self, glib::BoolError> {
        Ok(VideoGate {
            incoming: Arc::new(Format::new(caps, Orientation::default())?),
            last_sent_format: None,
            inbox: VecDeque::new(),
            current_frame: None,
            shown: None,
            begin: 0,
            entered: None,
            came: 0,
            gone: 0,
            dropped: 0,
            filled: 0,
            keeps_pauses: false,
            mutes: Mutes::default(),
        })
    }

    /// Keeps the gaps between intervals: the current frame ends with its interval, and the first frame is not extended
    /// backwards.
    pub fn keep_pauses(&mut self) {
        self.keeps_pauses = true;
    }

    /// Sets the caps of the following frames.
    pub fn set_caps(&mut self, caps: &gst::CapsRef) -> Result<(), glib::BoolError> {
        self.incoming = Arc::new(Format::new(caps, self.incoming.turn)?);
        Ok(())
    }

    /// Sets the orientation of the following frames.
    pub fn set_orientation(&mut self, turn: Orientation) {
        let caps = self.incoming.caps.clone();
        if turn != self.incoming.turn
            && let Ok(format) = Format::new(&caps, turn)
        {
            self.incoming = Arc::new(format);
        }
    }

    /// Whether there is a frame to repeat.
    pub fn has_current_frame(&self) -> bool {
        self.current_frame.is_some()
    }

    pub(super) fn push(&mut self, input: Input) {
        self.came += 1;
        let frame = Frame {
            buffer: input.buffer,
            format: self.incoming.clone(),
            number: self.came,
        };
        self.inbox.push_back((input.running, frame));
    }

    pub(super) fn advance(
        &mut self,
        cursor: &mut IntervalCursor,
        safe_until: Ns,
        out: &mut GateOutput,
    ) {
        while !cursor.is_part_over()
            && let Some(running) = self.first_waiting()
        {
            // A frame from before a mute change may still arrive until one from after it has. Cuts before it come first.
            let next = self.mutes.next();
            let end = cursor.resolved().and_then(|interval| interval.end);
            if next
                .is_some_and(|at| at <= running.min(safe_until) && end.is_none_or(|end| at < end))
            {
                self.change_mute(cursor, out);
                continue;
            }
            let Some(interval) = cursor.resolved() else {
                if running >= cursor.next_start(safe_until).min(safe_until) {
                    return;
                }
                self.current_frame = self.inbox.pop_front().map(|(_, frame)| frame);
                continue;
            };
            if interval.end.is_some_and(|end| running >= end) {
                // An interval without a frame of its own repeats the previous one.
                self.enter(cursor, out);
                self.leave(cursor, out);
                continue;
            }
            if running >= safe_until {
                return;
            }
            let Some((running, frame)) = self.inbox.pop_front() else {
                return;
            };
            if running < interval.start {
                self.current_frame = Some(frame);
                continue;
            }
            if self.is_late(&interval, running) {
                self.dropped += 1;
                continue;
            }
            if running > interval.start {
                if self.current_frame.is_none()
                    && running - interval.start > LATEST_FIRST
                    && !self.keeps_pauses
                {
                    self.current_frame = Frame::black(&frame.format, 0);
                }
                self.enter(cursor, out);
            }
            let stands = self.keeps_pauses && self.current_frame.is_none();
            let first = self.entered != Some(cursor.cursor()) && !stands;
            self.entered = Some(cursor.cursor());
            let recorded = if first {
                interval.recorded
            } else {
                interval.recorded_at(running)
            };
            self.current_frame = Some(frame.clone());
            self.show(frame, recorded, false, out);
        }
    }

    /// Whether a newer frame is already current.
    fn is_late(&self, interval: &Interval, running: Ns) -> bool {
        let recorded = interval.recorded_at(running);
        let shown = self.shown.as_ref().filter(|shown| !shown.filler);
        shown.is_some_and(|shown| recorded < shown.recorded)
    }

    /// Splits the current frame at the next change of `mute`.
    fn change_mute(&mut self, cursor: &IntervalCursor, out: &mut GateOutput) {
        let Some(at) = self.mutes.next() else {
            return;
        };
        let inside = cursor
            .resolved()
            .filter(|interval| at >= interval.start && interval.end.is_none_or(|end| at < end));
        if inside.is_some_and(|interval| at > interval.start) {
            self.enter(cursor, out);
        }
        self.mutes.pass(at);
        if let (Some(interval), Some(current_frame)) = (inside, self.current_frame.clone()) {
            self.entered = Some(cursor.cursor());
            self.show(current_frame, interval.recorded_at(at), false, out);
        }
    }

    /// Repeats the current frame at the start of the current interval.
    fn enter(&mut self, cursor: &IntervalCursor, out: &mut GateOutput) {
        if let (Some(interval), Some(current_frame)) = (cursor.resolved(), &self.current_frame)
            && self.entered != Some(cursor.cursor())
        {
            self.entered = Some(cursor.cursor());
            self.show(current_frame.clone(), interval.recorded, false, out);
        }
    }

    /// Makes `frame` the current frame from `recorded` on, or black if the track is muted.
    fn show(&mut self, frame: Frame, recorded: Ns, filler: bool, out: &mut GateOutput) {
        let frame = if self.mutes.is_muted() {
            Frame::black(&frame.format, frame.number).unwrap_or(frame)
        } else {
            frame
        };
        let recorded = match self.shown.take() {
            Some(shown) if recorded < shown.recorded.saturating_add(SHORTEST) => shown.recorded,
            Some(shown) => {
                self.emit(shown, recorded, out);
                recorded
            }
            None => recorded,
        };
        self.shown = Some(Shown {
            frame,
            recorded,
            filler,
        });
    }

    fn emit(&mut self, shown: Shown, end: Ns, out: &mut GateOutput) {
        let Shown {
            frame:
                Frame {
                    mut buffer,
                    format,
                    number,
                },
            recorded,
            filler,
        } = shown;
        let last_sent_format = self.last_sent_format.as_ref();
        if last_sent_format.is_none_or(|last_sent_format| !Arc::ptr_eq(last_sent_format, &format)) {
            if last_sent_format.map_or(Orientation::default(), |last_sent_format| {
                last_sent_format.turn
            }) != format.turn
            {
                out.turn(format.turn);
            }
            if last_sent_format.is_none_or(|last_sent_format| last_sent_format.caps != format.caps)
            {
                out.caps(format.caps.clone());
            }
            self.last_sent_format = Some(format);
        }
        let mut counts = false;
        if number > self.gone {
            self.gone = number;
            out.count_input();
            counts = true;
        }
        let duration = end.saturating_sub(recorded);
        if filler {
            self.filled += duration;
        }
        let stamped = buffer.make_mut();
        let recorded = recorded.saturating_sub(self.begin);
        stamped.set_pts(gst::ClockTime::from_nseconds(recorded));
        stamped.set_dts(gst::ClockTime::NONE);
        stamped.set_duration(gst::ClockTime::from_nseconds(duration));
        stamped.set_offset(NO_OFFSET);
        stamped.set_offset_end(NO_OFFSET);
        stamped.unset_flags(gst::BufferFlags::DISCONT | gst::BufferFlags::RESYNC);
        // Lets the frame dropper drop it when the encoder cannot keep up.
        if counts {
            stamped.set_flags(gst::BufferFlags::DROPPABLE)
        } else {
            stamped.unset_flags(gst::BufferFlags::DROPPABLE)
        }
        out.push(buffer);
    }

    pub(super) fn fill(&mut self, cursor: &mut IntervalCursor, until: Ns, out: &mut GateOutput) {
        self.advance(cursor, until, out);
        while !cursor.is_part_over() {
            // Cuts first: a mute change has no effect in an interval that has been left.
            let end = cursor.resolved().and_then(|interval| interval.end);
            let next = self.mutes.next().filter(|at| *at <= until);
            if next.is_some_and(|at| end.is_none_or(|end| at < end)) {
                self.change_mute(cursor, out);
                continue;
            }
            let Some(interval) = cursor.resolved().filter(|i| until >= i.start) else {
                return;
            };
            if self.current_frame.is_none() {
                self.current_frame = Frame::black(&self.incoming, 0);
            }
            self.enter(cursor, out);
            let now = interval.recorded_at(until);
            if let (Some(current_frame), Some(shown)) = (&self.current_frame, &self.shown)
                && now >= shown.recorded.saturating_add(SHORTEST)
            {
                let again = current_frame.clone();
                self.show(again, now, true, out);
            }
            match interval.end {
                Some(end) if until >= end => self.leave(cursor, out),
                _ => return,
            }
        }
    }

    /// Advances past the current interval.
    fn leave(&mut self, cursor: &mut IntervalCursor, out: &mut GateOutput) {
        let end = cursor
            .resolved()
            .and_then(|interval| interval.recorded_end());
        if let Some(end) = end
            && self.keeps_pauses
            && let Some(shown) = self.shown.take_if(|shown| shown.recorded < end)
        {
            self.emit(shown, end, out);
        }
        cursor.leave();
    }

    pub(super) fn finish(&mut self, end: Ns, out: &mut GateOutput) {
        self.inbox.clear();
        self.end_part(end, out);
    }

    pub(super) fn begin_part(&mut self, begin: Ns) {
        self.begin = begin;
        self.entered = None;
        self.last_sent_format = None;
    }

    pub(super) fn move_to_part(&mut self, begin: Ns) {
        self.begin = begin;
    }

    pub(super) fn frame(&self, from: Ns) -> Option<Ns> {
        let mut waiting = self.inbox.iter().map(|(running, _)| *running);
        waiting.find(|running| *running >= from)
    }

    pub(super) fn end_part(&mut self, end: Ns, out: &mut GateOutput) {
        let Some(shown) = self.shown.take() else {
            return;
        };
        // A last frame of zero duration is kept.
        let end = if end <= shown.recorded && !shown.filler {
            shown.recorded.saturating_add(SHORTEST)
        } else {
            end
        };
        if end > shown.recorded {
            self.emit(shown, end, out);
        }
    }

    /// Running time of the first queued frame.
    pub(super) fn first_waiting(&self) -> Option<Ns> {
        self.inbox.front().map(|(running, _)| *running)
    }

    /// Frames dropped because a newer one was already current.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(super) fn waiting(&self) -> usize {
        self.inbox.len()
    }

    pub(super) fn waiting_bytes(&self) -> u64 {
        let sizes = self
            .inbox
            .iter()
            .map(|(_, frame)| frame.buffer.size() as u64);
        sizes.sum()
    }

    pub(super) fn filled(&self) -> Ns {
        self.filled
    }
}

#[cfg(test)]
mod tests;
