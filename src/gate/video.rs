//! Raw video: every frame is shown until the next, or until the cut.
//!
//! A frame leaves only when its end is known, so that one which spans a cut is shortened to it.
//! The frame on show when an interval begins is shown from its first instant on.

use super::{Cuts, Input, Mutes, Out, fill};
use crate::model::timeline::Ns;
use gst_video::VideoInfo;
use std::collections::VecDeque;

/// A frame that would be shown for less gives way to the one after it: encoders and containers
/// that count in milliseconds could not tell the two apart.
const SHORTEST: Ns = 1_000_000;
/// `GST_BUFFER_OFFSET_NONE`.
const NO_OFFSET: u64 = u64::MAX;

#[derive(Debug)]
struct Shown {
    buffer: gst::Buffer,
    recorded: Ns,
    /// Whether it stands in for frames that did not come.
    filler: bool,
}

/// See the module.
#[derive(Debug)]
pub struct VideoGate {
    info: VideoInfo,
    inbox: VecDeque<Input>,
    /// The newest frame, for the interval that comes next.
    on_show: Option<gst::Buffer>,
    /// What leaves when its end is known.
    shown: Option<Shown>,
    /// The interval whose first instant has its picture.
    entered: Option<usize>,
    filled: Ns,
    pub(super) mutes: Mutes,
    black: Option<gst::Buffer>,
}

impl VideoGate {
    /// A gate at recorded time 0.
    pub fn new(info: VideoInfo) -> Self {
        VideoGate {
            info,
            inbox: VecDeque::new(),
            on_show: None,
            shown: None,
            entered: None,
            filled: 0,
            mutes: Mutes::default(),
            black: None,
        }
    }

    /// New caps, for the frames to come.
    pub fn set_info(&mut self, info: VideoInfo) {
        self.info = info;
        self.black = None;
    }

    /// Whether a picture has come that can be shown on.
    pub fn shows_picture(&self) -> bool {
        self.on_show.is_some()
    }

    pub(super) fn push(&mut self, input: Input) {
        self.inbox.push_back(input);
    }

    pub(super) fn advance(&mut self, cuts: &mut Cuts, horizon: Ns, out: &mut Out) {
        loop {
            let next = self.inbox.front().map(|input| input.running);
            if let Some(at) = self.mutes.pass(horizon.min(next.unwrap_or(Ns::MAX))) {
                self.change_mute(at, cuts, out);
                continue;
            }
            let Some(running) = next else {
                return;
            };
            let Some(interval) = cuts.decided() else {
                if running >= cuts.next_start(horizon).min(horizon) {
                    return;
                }
                self.on_show = self.inbox.pop_front().map(|input| input.buffer);
                continue;
            };
            if interval.end.is_some_and(|end| running >= end) {
                // An interval that no frame fell into still shows the one before it.
                self.enter(cuts, out);
                cuts.leave();
                continue;
            }
            if running >= horizon {
                return;
            }
            let Some(input) = self.inbox.pop_front() else {
                return;
            };
            if running >= interval.start {
                if running > interval.start {
                    self.enter(cuts, out);
                }
                let first = self.entered != Some(cuts.cursor());
                self.entered = Some(cuts.cursor());
                let recorded = match first {
                    true => interval.recorded,
                    false => interval.recorded_at(running),
                };
                self.show(input.buffer.clone(), recorded, false, out);
            }
            self.on_show = Some(input.buffer);
        }
    }

    /// The picture on show turns black, or back.
    fn change_mute(&mut self, at: Ns, cuts: &Cuts, out: &mut Out) {
        if let (Some(interval), Some(on_show)) = (cuts.decided(), self.on_show.clone())
            && at >= interval.start
            && interval.end.is_none_or(|end| at < end)
        {
            self.enter(cuts, out);
            self.show(on_show, interval.recorded_at(at), false, out);
        }
    }

    fn black(&mut self) -> Option<gst::Buffer> {
        if self.black.is_none() {
            self.black = fill::black(&self.info).ok();
        }
        self.black.clone()
    }

    /// Shows at the first instant of the current interval what was on show before it.
    fn enter(&mut self, cuts: &Cuts, out: &mut Out) {
        if let (Some(interval), Some(on_show)) = (cuts.decided(), &self.on_show)
            && self.entered != Some(cuts.cursor())
        {
            self.entered = Some(cuts.cursor());
            self.show(on_show.clone(), interval.recorded, false, out);
        }
    }

    /// The picture from `recorded` on is `buffer`, or black if the track is muted.
    fn show(&mut self, buffer: gst::Buffer, recorded: Ns, filler: bool, out: &mut Out) {
        let buffer = match self.mutes.is_muted() {
            true => self.black().unwrap_or(buffer),
            false => buffer,
        };
        let recorded = match self.shown.take() {
            Some(shown) if recorded < shown.recorded + SHORTEST => shown.recorded,
            Some(shown) => {
                self.emit(shown, recorded, out);
                recorded
            }
            None => recorded,
        };
        self.shown = Some(Shown {
            buffer,
            recorded,
            filler,
        });
    }

    fn emit(&mut self, shown: Shown, end: Ns, out: &mut Out) {
        let Shown {
            mut buffer,
            recorded,
            filler,
        } = shown;
        let duration = end.saturating_sub(recorded);
        if filler {
            self.filled += duration;
        }
        let stamped = buffer.make_mut();
        stamped.set_pts(gst::ClockTime::from_nseconds(recorded));
        stamped.set_dts(gst::ClockTime::NONE);
        stamped.set_duration(gst::ClockTime::from_nseconds(duration));
        stamped.set_offset(NO_OFFSET);
        stamped.set_offset_end(NO_OFFSET);
        stamped.unset_flags(gst::BufferFlags::DISCONT | gst::BufferFlags::RESYNC);
        out.push(buffer);
    }

    pub(super) fn fill(&mut self, cuts: &mut Cuts, until: Ns, out: &mut Out) {
        self.advance(cuts, until, out);
        while let Some(interval) = cuts.decided() {
            if until < interval.start {
                return;
            }
            if self.on_show.is_none() {
                self.on_show = self.black();
            }
            self.enter(cuts, out);
            let now = interval.recorded_at(until);
            if let (Some(on_show), Some(shown)) = (&self.on_show, &self.shown)
                && now >= shown.recorded + SHORTEST
            {
                let again = on_show.clone();
                self.show(again, now, true, out);
            }
            match interval.end {
                Some(end) if until >= end => cuts.leave(),
                _ => return,
            }
        }
    }

    pub(super) fn finish(&mut self, end: Ns, out: &mut Out) {
        self.inbox.clear();
        if let Some(shown) = self.shown.take()
            && end > shown.recorded
        {
            self.emit(shown, end, out);
        }
    }

    pub(super) fn first_waiting(&self) -> Option<Ns> {
        self.inbox.front().map(|input| input.running)
    }

    pub(super) fn filled(&self) -> Ns {
        self.filled
    }
}
