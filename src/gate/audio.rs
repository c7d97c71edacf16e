//! Raw audio: cut to the sample, holes filled with silence, stamped from a running count.

use super::{Cuts, Input, Mutes, Out, fill::Silence};
use crate::model::timeline::{Grid, Ns};
use gst_audio::{AudioInfo, AudioStreamAlign};
use std::collections::VecDeque;

/// Stamps may be this far off the running count before they are believed.
const ALIGNMENT: gst::ClockTime = gst::ClockTime::from_mseconds(40);
/// … and that for this long.
const DISCONT_WAIT: gst::ClockTime = gst::ClockTime::from_seconds(1);

/// Samples that follow each other without a break: sample `n` is at `origin + n / rate`.
#[derive(Debug, Clone, Copy)]
struct Run {
    origin: Ns,
    next: u64,
}

/// A buffer of `samples` samples, the first of which is number `first` of the run.
#[derive(Debug)]
struct Chunk {
    buffer: gst::Buffer,
    origin: Ns,
    first: u64,
    samples: u64,
}

impl Chunk {
    fn skip(&mut self, samples: u64, bytes_per_frame: usize) {
        let samples = samples.min(self.samples);
        self.first += samples;
        self.samples -= samples;
        let from = usize::try_from(samples)
            .unwrap_or(usize::MAX)
            .saturating_mul(bytes_per_frame)
            .min(self.buffer.size());
        if let Ok(rest) = self
            .buffer
            .copy_region(gst::BufferCopyFlags::MEMORY, from..)
        {
            self.buffer = rest;
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct AudioGate {
    info: AudioInfo,
    grid: Grid,
    align: AudioStreamAlign,
    run: Option<Run>,
    inbox: VecDeque<Chunk>,
    /// Samples let out so far, so the place of the next one on the grid.
    written: u64,
    silence: Silence,
    filled: Ns,
    pub(super) mutes: Mutes,
}

impl AudioGate {
    /// A gate at recorded time 0.
    pub fn new(info: AudioInfo) -> Result<Self, glib::BoolError> {
        if info.rate() == 0 || info.bpf() == 0 {
            return Err(glib::bool_error!("raw audio without rate or channels"));
        }
        let rate = i32::try_from(info.rate())
            .map_err(|_| glib::bool_error!("a rate of {} is absurd", info.rate()))?;
        Ok(AudioGate {
            grid: Grid::new(info.rate()),
            align: AudioStreamAlign::new(rate, ALIGNMENT, DISCONT_WAIT),
            run: None,
            inbox: VecDeque::new(),
            written: 0,
            silence: Silence::default(),
            filled: 0,
            mutes: Mutes::default(),
            info,
        })
    }

    /// New caps: the count goes on, in samples of the new rate.
    pub fn set_info(&mut self, info: AudioInfo) -> Result<(), glib::BoolError> {
        let fresh = AudioGate::new(info)?;
        *self = AudioGate {
            written: fresh.grid.nearest(self.grid.time(self.written)),
            filled: self.filled,
            mutes: std::mem::take(&mut self.mutes),
            ..fresh
        };
        Ok(())
    }

    fn bytes_per_frame(&self) -> usize {
        self.info.bpf() as usize
    }

    pub(super) fn push(&mut self, input: Input) {
        let samples = (input.buffer.size() / self.bytes_per_frame()) as u64;
        let Ok(count) = u32::try_from(samples) else {
            return;
        };
        if count == 0 {
            return;
        }
        let discont = self.run.is_none()
            || input
                .buffer
                .flags()
                .intersects(gst::BufferFlags::DISCONT | gst::BufferFlags::RESYNC);
        let running = gst::ClockTime::from_nseconds(input.running);
        let (discont, ..) = self.align.process(discont, running, count);
        let (origin, first) = match self.run {
            Some(run) if !discont => (run.origin, run.next),
            _ => (input.running, 0),
        };
        self.run = Some(Run {
            origin,
            next: first + samples,
        });
        self.inbox.push_back(Chunk {
            buffer: input.buffer,
            origin,
            first,
            samples,
        });
    }

    pub(super) fn advance(&mut self, cuts: &mut Cuts, horizon: Ns, out: &mut Out) {
        while let Some(mut chunk) = self.inbox.pop_front() {
            self.let_through(&mut chunk, cuts, horizon, out);
            if chunk.samples > 0 {
                self.inbox.push_front(chunk);
                break;
            }
        }
    }

    /// Takes from `chunk` what is decided: what stays in it has to wait.
    fn let_through(&mut self, chunk: &mut Chunk, cuts: &mut Cuts, horizon: Ns, out: &mut Out) {
        let bytes_per_frame = self.bytes_per_frame();
        while chunk.samples > 0 {
            let Some(interval) = cuts.decided() else {
                // Nothing before the start that is still to come will be recorded.
                let from = self.samples_before(chunk, cuts.next_start(horizon).min(horizon));
                if from > 0 {
                    chunk.skip(from, bytes_per_frame);
                }
                return;
            };
            let zero = self.grid.place(&interval, chunk.origin);
            let place = zero.saturating_add_unsigned(chunk.first);
            let begin = self.grid.nearest(interval.recorded);
            let end = interval.recorded_end().map(|end| self.grid.nearest(end));
            let place = match u64::try_from(place) {
                Ok(place) if place >= begin => place,
                _ => {
                    let early = i128::from(begin) - i128::from(place);
                    let before = u64::try_from(early).unwrap_or(0).min(chunk.samples);
                    chunk.skip(before, bytes_per_frame);
                    continue;
                }
            };
            if let Some(end) = end
                && place >= end
            {
                cuts.leave();
                continue;
            }
            while let Some(change) = self.mutes.next()
                && self.samples_before(chunk, change) == 0
            {
                self.mutes.pass(change);
            }
            let known = horizon.min(self.mutes.next().unwrap_or(Ns::MAX));
            let known = self.samples_before(chunk, known);
            let keep = known.min(end.map_or(u64::MAX, |end| end - place));
            if keep == 0 {
                return;
            }
            if self.mutes.is_muted() {
                let filled = self.filled;
                self.fill_to(place + keep, out);
                self.filled = filled;
                chunk.skip(keep, bytes_per_frame);
            } else {
                self.emit(chunk, place, keep, out);
            }
        }
    }

    /// How many samples of the chunk lie before a running time.
    fn samples_before(&self, chunk: &Chunk, running: Ns) -> u64 {
        match running.checked_sub(chunk.origin) {
            Some(since) => self
                .grid
                .before(since)
                .saturating_sub(chunk.first)
                .min(chunk.samples),
            None => 0,
        }
    }

    /// Lets out the first `samples` samples of `chunk`, which stand at `place` on the grid.
    fn emit(&mut self, chunk: &mut Chunk, place: u64, samples: u64, out: &mut Out) {
        let bytes_per_frame = self.bytes_per_frame();
        let late = self.written.saturating_sub(place).min(samples);
        if late > 0 {
            chunk.skip(late, bytes_per_frame);
        }
        let samples = samples - late;
        if samples == 0 {
            return;
        }
        let place = place + late;
        self.fill_to(place, out);
        let mut buffer = if samples == chunk.samples {
            chunk.samples = 0;
            std::mem::take(&mut chunk.buffer)
        } else {
            let bytes = usize::try_from(samples).unwrap_or(usize::MAX) * bytes_per_frame;
            let part = chunk.buffer.copy_region(
                gst::BufferCopyFlags::MEMORY,
                ..bytes.min(chunk.buffer.size()),
            );
            chunk.skip(samples, bytes_per_frame);
            match part {
                Ok(part) => part,
                Err(_) => return,
            }
        };
        self.stamp(buffer.make_mut(), samples);
        out.push(buffer);
    }

    /// Gives a buffer the next place on the grid.
    fn stamp(&mut self, buffer: &mut gst::BufferRef, samples: u64) {
        let pts = self.grid.time(self.written);
        let end = self.grid.time(self.written + samples);
        buffer.set_pts(gst::ClockTime::from_nseconds(pts));
        buffer.set_dts(gst::ClockTime::NONE);
        buffer.set_duration(gst::ClockTime::from_nseconds(end - pts));
        buffer.set_offset(self.written);
        buffer.set_offset_end(self.written + samples);
        if self.written == 0 {
            buffer.set_flags(gst::BufferFlags::DISCONT);
        } else {
            buffer.unset_flags(gst::BufferFlags::DISCONT | gst::BufferFlags::RESYNC);
        }
        self.written += samples;
    }

    fn fill_to(&mut self, place: u64, out: &mut Out) {
        while self.written < place {
            let Some((mut buffer, samples)) = self.silence.take(&self.info, place - self.written)
            else {
                return;
            };
            self.filled += self.grid.time(samples);
            self.stamp(buffer.make_mut(), samples);
            out.push(buffer);
        }
    }

    pub(super) fn fill(&mut self, cuts: &mut Cuts, until: Ns, out: &mut Out) {
        self.advance(cuts, until, out);
        while let Some(interval) = cuts.decided() {
            let to = self
                .grid
                .nearest(interval.recorded_at(until.max(interval.start)));
            self.fill_to(to, out);
            match interval.end {
                Some(end) if until >= end => cuts.leave(),
                _ => return,
            }
        }
    }

    pub(super) fn first_waiting(&self) -> Option<Ns> {
        self.inbox
            .front()
            .map(|chunk| chunk.origin.saturating_add(self.grid.time(chunk.first)))
    }

    pub(super) fn filled(&self) -> Ns {
        self.filled
    }
}
