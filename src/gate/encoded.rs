//! Encoded media: passed through from a keyframe on, restamped with recorded time.
//!
//! Buffers arrive in decode order, which differs from presentation order with B-frames. Where both are the same, buffer
//! order is kept even if timestamps repeat or jump back by up to a second, as with a network clock. The output must
//! decode without the cut media: nothing from before a keyframe is kept after it, and after a cut, no frame that may
//! refer to the cut media.

mod headers;
mod stamper;
mod waiting;

pub use stamper::headroom;

use super::{GateOutput, Input, IntervalCursor, Loss, stand_in::StandIn, video::LATEST_FIRST};
use crate::{
    formats::{self, EntryPoint, FrameFormat},
    model::timeline::{Interval, Ns},
};
use headers::Headers;
use stamper::{STEP, Stamper, may_reorder};
use std::collections::VecDeque;
use waiting::{Waiting, is_delta, is_hidden};

/// A loss of this length makes the following frames useless until the next keyframe. Decoders conceal the loss of a
/// single frame.
const OUTAGE: Ns = 1_000_000_000;
/// A stream without a keyframe for this long may never have one (intra refresh): it is recorded as is, since the other
/// tracks and the muxer wait for it.
pub const KEY_FRAME_LIMIT: Ns = 10_000_000_000;
/// Whether a recording can begin with this frame of the given `format`.
pub fn is_entry_point(frame: &gst::BufferRef, format: Option<FrameFormat>) -> bool {
    !is_hidden(frame) && formats::entry_point(format, frame) != EntryPoint::No
}

/// See the module.
#[derive(Debug)]
pub struct EncodedGate {
    /// Whether it has to begin at a keyframe (video).
    keyed: bool,
    /// Whether presentation order may differ from decode order with the codec.
    may_reorder: bool,
    /// Whether presentation order is decode order: always with the codec, or by the stream's parameter sets.
    in_order: bool,
    /// Frame format used to find frame types, if keyed.
    format: Option<FrameFormat>,
    headers: Headers,
    inbox: VecDeque<Waiting>,
    /// Media is missing before the next buffer.
    lost: Option<Loss>,
    /// Caps for the next input buffer, and for the next output buffer.
    new_caps: Option<gst::Caps>,
    due_caps: Option<gst::Caps>,
    /// The last output caps.
    sent_caps: Option<gst::Caps>,
    /// Recorded time at which the part begins; timestamps are relative to it.
    begin: Ns,
    /// The interval whose keyframe has been output, and that frame's running time.
    entered: Option<(usize, Ns)>,
    /// The interval, and the running time in it, since which frames are dropped until a keyframe.
    keyless: Option<(usize, Ns)>,
    /// The next interval may begin with any frame.
    begins_anywhere: bool,
    stamper: Stamper,
    /// For streams in presentation order: the latest running time received.
    latest: Ns,
    /// The latest running time received of any stream.
    newest: Ns,
    /// Media has been output.
    begun: bool,
    /// Media was dropped here, and no keyframe has followed yet.
    broken: bool,
    /// Buffers dropped here: dependent on lost ones, empty, or covered by filled silence.
    dropped: u64,
    stand_in: StandIn,
    /// The stream is back after an outage with lost frames, and no keyframe has arrived since.
    lacks_key: bool,
    /// See [`EncodedGate::cut_frames`].
    cuts_frames: bool,
}

impl EncodedGate {
    /// A gate at recorded time 0 for media with these caps.
    pub fn new(caps: &gst::StructureRef) -> Self {
        let name = caps.name().as_str();
        let mut gate = EncodedGate {
            keyed: !name.starts_with("audio/"),
            may_reorder: false,
            in_order: true,
            format: None,
            headers: Headers::new(caps),
            inbox: VecDeque::new(),
            lost: None,
            new_caps: None,
            due_caps: None,
            sent_caps: None,
            begin: 0,
            entered: None,
            keyless: None,
            begins_anywhere: false,
            stamper: Stamper::new(),
            latest: 0,
            newest: 0,
            begun: false,
            broken: false,
            dropped: 0,
            stand_in: StandIn::new(caps),
            lacks_key: false,
            cuts_frames: false,
        };
        gate.read_format(caps);
        gate
    }

    fn read_format(&mut self, caps: &gst::StructureRef) {
        self.format = FrameFormat::of(caps);
        self.may_reorder = may_reorder(caps.name().as_str());
        let by_caps = self.format.and_then(|f| f.presentation_order_of_caps(caps));
        self.in_order = by_caps.unwrap_or(!self.may_reorder);
    }

    /// Shortens a frame that spans a cut, and starts the first frame at 0, as for raw video.
    pub fn cut_frames(&mut self) {
        self.cuts_frames = true;
    }

    /// Whether it has to begin at a keyframe.
    pub fn is_keyed(&self) -> bool {
        self.keyed
    }

    /// Sets new caps in mid-stream.
    pub(super) fn set_caps(&mut self, caps: &gst::CapsRef) {
        if let Some(structure) = caps.structure(0) {
            // Queued frames have the previous caps.
            let is_first = !self.begun && self.inbox.is_empty();
            self.headers.set_caps(structure, is_first);
            self.read_format(structure);
        }
        self.new_caps = Some(caps.to_owned());
    }

    /// Takes a buffer if it is a header packet, and not media.
    pub fn take_header(&mut self, buffer: &gst::Buffer) -> bool {
        self.headers.take_packet(buffer, self.begun)
    }

    pub(super) fn push(&mut self, mut input: Input) {
        if self.take_header(&input.buffer) {
            return;
        }
        // No audio codec has empty packets; parsers and muxers fail on them.
        if !self.keyed && input.buffer.size() == 0 {
            self.dropped += 1;
            return;
        }
        self.read_order(&input.buffer);
        if self.in_order {
            self.latest = self.latest.max(input.running);
            input.running = self.latest;
        }
        let is_discont = input.buffer.flags().contains(gst::BufferFlags::DISCONT);
        let behind = input.running.saturating_sub(self.newest);
        // The start may still be pending.
        let has_begun = self.begun || !self.inbox.is_empty();
        if self.keyed && is_discont && has_begun && behind > OUTAGE {
            self.lost.get_or_insert(Loss::Upstream);
            self.lacks_key = true;
        }
        self.newest = self.newest.max(input.running);
        let after_loss = self.lost.take();
        let caps = self.new_caps.take();
        self.inbox.push_back(Waiting {
            input,
            after_loss,
            caps,
            in_order: self.in_order,
            may_reorder: self.may_reorder,
            format: self.format,
            entry_point: None.into(),
        });
    }

    /// Reads the presentation order from parameter sets in band.
    fn read_order(&mut self, frame: &gst::BufferRef) {
        let Some(format) = self.format.filter(|_| self.may_reorder && !is_delta(frame)) else {
            return;
        };
        let Ok(frame) = frame.map_readable() else {
            return;
        };
        self.in_order = format.presentation_order(&frame).unwrap_or(self.in_order);
    }

    /// Media is missing after the last pushed buffer: frames that depend on it are useless.
    pub(super) fn lose(&mut self, why: Loss) {
        self.lost = Some(why);
    }

    pub(super) fn key_frame(&self, from: Ns) -> Option<Ns> {
        let mut waiting = self.inbox.iter();
        waiting
            .find(|waiting| self.keyed && waiting.input.running >= from && waiting.is_beginning())
            .map(|waiting| waiting.input.running)
    }

    /// The latest running time received.
    pub(super) fn newest(&self) -> Ns {
        self.newest
    }

    /// Starts the next part, which has to decode without the previous ones.
    pub(super) fn begin_part(&mut self, begin: Ns) {
        self.stand_in.begin_part(begin.saturating_sub(self.begin));
        self.begin = begin;
        self.entered = None;
        self.keyless = None;
        self.stamper = Stamper::new();
        self.begun = false;
        self.headers.begin_part();
        self.due_caps = self.due_caps.take().or(self.sent_caps.take());
    }

    /// No keyframe will arrive: the next interval may begin with any frame.
    pub fn begin_anywhere(&mut self) {
        self.begins_anywhere = true;
    }

    pub(super) fn advance(
        &mut self,
        cursor: &mut IntervalCursor,
        safe_until: Ns,
        out: &mut GateOutput,
    ) {
        while !cursor.is_part_over()
            && let Some(waiting) = self.inbox.front()
        {
            let input = &waiting.input;
            let Some(interval) = cursor.resolved() else {
                if input.running >= cursor.next_start(safe_until).min(safe_until) {
                    return;
                }
                self.take();
                continue;
            };
            let is_behind = |end| {
                if cursor.ends_at_seam() {
                    self.is_of_next_part(waiting, end)
                } else {
                    self.is_behind_cut(waiting, end)
                }
            };
            if interval.end.is_some_and(is_behind) {
                cursor.leave();
                continue;
            }
            if self.place(input) >= safe_until || self.cuts_frames && input.end() > safe_until {
                return;
            }
            let Some(mut waiting) = self.take() else {
                return;
            };
            if self.is_wanted(&mut waiting, &interval, cursor) {
                self.emit(waiting, &interval, out);
            }
        }
    }

    fn emit(&mut self, mut waiting: Waiting, interval: &Interval, out: &mut GateOutput) {
        let input = &mut waiting.input;
        let late = input.running.saturating_sub(interval.start);
        if self.cuts_frames && !self.begun && late <= LATEST_FIRST {
            // The first frame is extended backwards to the start, as for raw video.
            input.running -= late;
            input.duration = input.duration.map(|duration| duration + late);
        }
        if let Some(end) = interval.end.filter(|_| self.cuts_frames) {
            let longest = end.saturating_sub(input.running);
            input.duration = input.duration.map(|duration| duration.min(longest));
        }
        let recorded = self.stamped(interval, waiting.input.running);
        let flags = waiting.input.buffer.flags();
        // The first buffer of another stream has the flag, too.
        let is_loss = flags.contains(gst::BufferFlags::DISCONT) && self.due_caps.is_none();
        let recorded = self.stand_in.come_back(recorded, is_loss, out);
        if let Some(caps) = self.due_caps.take() {
            if let Some(caps) = caps.structure(0) {
                self.stand_in.set_caps(caps);
            }
            self.sent_caps = Some(caps.clone());
            out.caps(caps);
        }
        let stamped = self.stamper.stamp(waiting, recorded);
        self.stand_in
            .note(recorded.max(self.stamper.latest()), &stamped);
        self.begun = true;
        for header in self.headers.take(&stamped) {
            out.push(header);
        }
        out.count_input();
        out.push(stamped);
    }

    /// Recorded time within the part of a running time in an interval.
    fn stamped(&self, interval: &Interval, running: Ns) -> Ns {
        let since = running.saturating_sub(interval.start);
        let recorded = interval.recorded.saturating_add(since);
        recorded.saturating_sub(self.begin)
    }

    /// Advances to running time `until`, before which no more media is expected, and fills what is missing.
    pub(super) fn fill(&mut self, cursor: &mut IntervalCursor, until: Ns, out: &mut GateOutput) {
        self.advance(cursor, until, out);
        while let Some(interval) = cursor.resolved()
            && self.inbox.is_empty()
            && !cursor.is_part_over()
        {
            let to = interval.end.map_or(until, |end| end.min(until));
            if to > interval.start {
                self.stand_in.fill(self.stamped(&interval, to), out);
            }
            if interval.end.is_none_or(|end| end > until) {
                break;
            }
            cursor.leave();
        }
    }

    /// Whether the stream is back after frames were lost, and waits for a keyframe.
    pub fn lacks_key_frame(&self) -> bool {
        self.lacks_key
    }

    /// Whether the codec has silence to fill gaps with.
    pub fn has_silence(&self) -> bool {
        self.stand_in.has_silence()
    }

    /// Recorded time filled so far.
    pub(super) fn filled(&self) -> Ns {
        self.stand_in.filled()
    }

    /// The position that decides which part a buffer belongs to: the start of a frame, the middle of an audio packet.
    fn place(&self, input: &Input) -> Ns {
        let half = input.duration.map_or(0, |duration| duration / 2);
        let half = if self.keyed { 0 } else { half };
        input.running.saturating_add(half)
    }

    pub(super) fn comes_out_at(&self) -> Option<Ns> {
        let input = &self.inbox.front()?.input;
        Some(if self.cuts_frames {
            input.end()
        } else {
            self.place(input)
        })
    }

    /// Whether none of it is recorded before a cut. A frame shorter than a container can represent does not count.
    fn is_behind_cut(&self, waiting: &Waiting, end: Ns) -> bool {
        let shortest = if self.keyed { STEP } else { 1 };
        waiting.input.running.saturating_add(shortest) > end
    }

    /// Whether the next part begins with it, where the part ends at `end`: a keyframe, unless there is none.
    fn is_of_next_part(&self, waiting: &Waiting, end: Ns) -> bool {
        if !self.keyed {
            return self.place(&waiting.input) > end;
        }
        let behind = waiting.input.running.checked_sub(end);
        behind.is_some_and(|behind| {
            waiting.is_beginning() || self.begins_anywhere || behind > KEY_FRAME_LIMIT
        })
    }

    fn take(&mut self) -> Option<Waiting> {
        let mut waiting = self.inbox.pop_front()?;
        self.due_caps = waiting.caps.take().or(self.due_caps.take());
        if let Some(why) = waiting.after_loss {
            self.entered = None;
            self.broken = why == Loss::TooSlow;
        }
        Some(waiting)
    }

    /// Whether a buffer that begins before the interval's end can be decoded in it.
    fn is_wanted(
        &mut self,
        waiting: &mut Waiting,
        interval: &Interval,
        cursor: &IntervalCursor,
    ) -> bool {
        let number = cursor.cursor();
        let running = waiting.input.running;
        if !self.keyed {
            // The previous part leaves packets that begin before the boundary to this one.
            if running < interval.start && !cursor.begins_at_seam() {
                return false;
            }
            let length = waiting.input.duration.unwrap_or(0);
            let covered = self
                .stand_in
                .covers(self.stamped(interval, running), length);
            self.dropped += u64::from(covered);
            return !covered;
        }
        if running < interval.start {
            return false;
        }
        if let Some((_, key)) = self.entered.filter(|(entered, _)| *entered == number) {
            waiting.flag(false);
            // Leading pictures refer to frames before the keyframe.
            return running >= key;
        }
        let begins = waiting.is_beginning();
        if !begins && !self.has_waited_for_key(number, running) {
            self.dropped += u64::from(self.broken);
            return false;
        }
        waiting.flag(begins);
        self.lacks_key = false;
        self.entered = Some((number, running));
        self.keyless = None;
        self.begins_anywhere = false;
        self.broken = false;
        true
    }

    /// Whether the wait for a keyframe has timed out.
    fn has_waited_for_key(&mut self, interval: usize, running: Ns) -> bool {
        let known = self.keyless.filter(|(of, _)| *of == interval);
        let (_, since) = *self.keyless.insert(known.unwrap_or((interval, running)));
        self.begins_anywhere || running.saturating_sub(since) > KEY_FRAME_LIMIT
    }

    pub(super) fn waiting(&self) -> usize {
        self.inbox.len()
    }

    pub(super) fn waiting_bytes(&self) -> u64 {
        let sizes = self
            .inbox
            .iter()
            .map(|waiting| waiting.input.buffer.size() as u64);
        sizes.sum()
    }

    /// Buffers of the recording dropped here: dependent on lost ones, empty, or covered by filled silence.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}
