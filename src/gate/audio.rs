//! Raw audio: cut to the sample, gaps filled with silence, timestamps derived from a sample count.

use super::{
    GateOutput, Input, IntervalCursor, Mutes,
    align::{Align, Placed},
    fill::Silence,
};
use crate::model::{
    SampleGrid,
    timeline::{Interval, Ns},
};
use gst_audio::AudioInfo;
use std::{collections::VecDeque, sync::Arc};

/// Sample format.
#[derive(Debug)]
struct Format {
    caps: gst::Caps,
    info: AudioInfo,
    grid: SampleGrid,
}

/// Caps with a higher rate are rejected: a second of silence would exhaust memory.
const HIGHEST_RATE: u32 = 10_000_000;

impl Format {
    fn new(caps: &gst::CapsRef) -> Result<Self, glib::BoolError> {
        let info = AudioInfo::from_caps(caps)?;
        if info.rate() == 0 || info.bpf() == 0 {
            return Err(glib::bool_error!("raw audio without rate or channels"));
        }
        if info.rate() > HIGHEST_RATE {
            return Err(glib::bool_error!(
                "the audio rate {} is out of range",
                info.rate()
            ));
        }
        Ok(Format {
            caps: caps.to_owned(),
            grid: SampleGrid::new(info.rate()),
            info,
        })
    }

    /// Number of samples in a buffer; 0 if its layout is unknown.
    fn samples(&self, buffer: &gst::BufferRef) -> u64 {
        // Only the meta has the plane length of planar audio.
        let meta = buffer.meta::<gst_audio::AudioMeta>();
        let planes = self.info.layout() == gst_audio::AudioLayout::NonInterleaved;
        match meta {
            Some(meta) if is_alike(meta.info(), &self.info) => meta.samples() as u64,
            // GStreamer's own elements reject these.
            Some(_) => 0,
            None if planes => 0,
            None => (buffer.size() / self.info.bpf() as usize) as u64,
        }
    }
}

/// Whether two formats have the same sample layout in memory.
fn is_alike(one: &AudioInfo, other: &AudioInfo) -> bool {
    let planes = one.layout() == gst_audio::AudioLayout::NonInterleaved;
    let same = (one.format(), one.channels()) == (other.format(), other.channels());
    one.layout() == other.layout() && (same || !planes)
}

/// A buffer whose first sample is number `first` of a contiguous run that starts at running time `origin`.
#[derive(Debug)]
struct Chunk {
    /// None once all of it has been output.
    buffer: Option<gst::Buffer>,
    format: Arc<Format>,
    origin: Ns,
    first: u64,
    samples: u64,
    /// Part of it has been output.
    counted: bool,
    /// It has been split.
    split: bool,
}

impl Chunk {
    fn at(self, place: Placed) -> Self {
        Chunk {
            origin: place.origin,
            first: place.first,
            ..self
        }
    }

    /// Running time of its first sample.
    fn start(&self) -> Ns {
        self.origin
            .saturating_add(self.format.grid.time(self.first))
    }

    /// A sub-buffer of `samples` samples after `skip`.
    fn part(&self, skip: u64, samples: u64) -> Option<gst::Buffer> {
        let (skip, samples) = (usize::try_from(skip).ok()?, usize::try_from(samples).ok()?);
        let bytes_per_frame = self.format.info.bpf() as usize;
        let buffer = self.buffer.as_ref()?;
        if buffer.meta::<gst_audio::AudioMeta>().is_some() {
            let bytes_per_frame = self.format.info.bpf();
            let whole = buffer.clone();
            return Some(gst_audio::audio_buffer_truncate(
                whole,
                bytes_per_frame,
                skip,
                Some(samples),
            ));
        }
        let bytes = skip.checked_mul(bytes_per_frame)?
            ..skip.checked_add(samples)?.checked_mul(bytes_per_frame)?;
        buffer.copy_region(gst::BufferCopyFlags::MEMORY, bytes).ok()
    }

    fn skip(&mut self, samples: u64) {
        let samples = samples.min(self.samples);
        self.first += samples;
        self.samples -= samples;
        self.split = true;
        if self.samples > 0
            && let Some(rest) = self.part(samples, self.samples)
        {
            self.buffer = Some(rest);
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct AudioGate {
    /// The input format.
    incoming: Arc<Format>,
    /// The output format, and whether its caps have been pushed.
    format: Arc<Format>,
    said: bool,
    align: Align,
    inbox: VecDeque<Chunk>,
    /// The buffer that `align` cannot place yet.
    unplaced: Option<Chunk>,
    /// Samples output so far, i.e. the grid position of the next one.
    written: u64,
    /// Recorded time at which the part begins; timestamps are relative to it.
    begin: Ns,
    /// A fragment of less than a millisecond and its samples: see [`Self::send_part`].
    splinter: Option<(gst::Buffer, u64)>,
    silence: Silence,
    filled: Ns,
    pub(super) mutes: Mutes,
}

impl AudioGate {
    /// A gate at recorded time 0.
    pub fn new(caps: &gst::CapsRef) -> Result<Self, glib::BoolError> {
        let format = Arc::new(Format::new(caps)?);
        Ok(AudioGate {
            align: Align::new(format.grid),
            incoming: format.clone(),
            format,
            said: false,
            inbox: VecDeque::new(),
            unplaced: None,
            written: 0,
            begin: 0,
            splinter: None,
            silence: Silence::default(),
            filled: 0,
            mutes: Mutes::default(),
        })
    }

    /// Sets the caps of the following buffers.
    pub fn set_caps(&mut self, caps: &gst::CapsRef) -> Result<(), glib::BoolError> {
        let format = Format::new(caps)?;
        self.settle();
        self.align = Align::new(format.grid);
        self.incoming = Arc::new(format);
        Ok(())
    }

    pub(super) fn push(&mut self, input: Input) {
        let samples = self.incoming.samples(&input.buffer);
        if samples == 0 {
            return;
        }
        let discont = input
            .buffer
            .flags()
            .intersects(gst::BufferFlags::DISCONT | gst::BufferFlags::RESYNC);
        let chunk = Chunk {
            buffer: Some(input.buffer),
            format: self.incoming.clone(),
            origin: input.running,
            first: 0,
            samples,
            counted: false,
            split: false,
        };
        let (before, now) = self.align.arrive(input.running, samples, discont);
        if let Some((place, waited)) = before.zip(self.unplaced.take()) {
            self.inbox.push_back(waited.at(place));
        }
        match now {
            Some(place) => self.inbox.push_back(chunk.at(place)),
            None => self.unplaced = Some(chunk),
        }
    }

    /// Places the buffer that waits for a later one.
    pub(super) fn settle(&mut self) {
        if let Some((place, waited)) = self.align.settle().zip(self.unplaced.take()) {
            self.inbox.push_back(waited.at(place));
        }
    }

    pub(super) fn advance(
        &mut self,
        cursor: &mut IntervalCursor,
        safe_until: Ns,
        out: &mut GateOutput,
    ) {
        while !cursor.is_part_over()
            && let Some(mut chunk) = self.inbox.pop_front()
        {
            self.let_through(&mut chunk, cursor, safe_until, out);
            if chunk.samples > 0 {
                self.inbox.push_front(chunk);
                break;
            }
        }
    }

    /// Outputs the resolved samples of `chunk`; the rest stays in it.
    fn let_through(
        &mut self,
        chunk: &mut Chunk,
        cursor: &mut IntervalCursor,
        safe_until: Ns,
        out: &mut GateOutput,
    ) {
        let grid = chunk.format.grid;
        self.change_format(&chunk.format, out);
        while chunk.samples > 0 && !cursor.is_part_over() {
            let Some(interval) = cursor.resolved() else {
                // Samples before the next start, wherever that is, are not recorded.
                let from = samples_before(chunk, cursor.next_start(safe_until).min(safe_until));
                if from > 0 {
                    chunk.skip(from);
                }
                return;
            };
            let zero = grid.place(&interval, chunk.origin);
            let place = zero.saturating_add_unsigned(chunk.first);
            let begin = grid.nearest(interval.recorded);
            let place = match u64::try_from(place) {
                Ok(place) if place >= begin => place,
                _ => {
                    let early = i128::from(begin) - i128::from(place);
                    chunk.skip(u64::try_from(early).unwrap_or(u64::MAX));
                    continue;
                }
            };
            let end = interval.recorded_end().map(|end| grid.nearest(end));
            if let Some(end) = end
                && place >= end
            {
                // Nothing before the cut will arrive any more.
                self.fill_to(end, out);
                cursor.leave();
                continue;
            }
            // Grid position of a cut or a change of `mute` at this instant.
            let boundary = |at: Ns| grid.nearest(interval.recorded_at(at));
            while let Some(change) = self.mutes.next()
                && boundary(change) <= place
            {
                self.mutes.pass(change);
            }
            let until = boundary(safe_until)
                .min(self.mutes.next().map_or(u64::MAX, boundary))
                .min(end.unwrap_or(u64::MAX));
            let keep = until.saturating_sub(place).min(chunk.samples);
            if keep == 0 {
                return;
            }
            if !std::mem::replace(&mut chunk.counted, true) {
                out.count_input();
            }
            if self.mutes.is_muted() {
                let filled = self.filled;
                self.fill_to(place.saturating_add(keep), out);
                self.filled = filled;
                chunk.skip(keep);
            } else {
                self.emit(chunk, place, keep, out);
            }
        }
    }

    /// Continues the sample count at the new rate.
    fn change_format(&mut self, format: &Arc<Format>, out: &mut GateOutput) {
        if Arc::ptr_eq(format, &self.format) {
            return;
        }
        self.finish(out);
        self.written = format.grid.nearest(self.format.grid.time(self.written));
        self.silence = Silence::default();
        self.format = format.clone();
        self.said = false;
    }

    /// Outputs the first `samples` samples of `chunk`, which are at `place` on the grid.
    fn emit(&mut self, chunk: &mut Chunk, place: u64, samples: u64, out: &mut GateOutput) {
        let late = self.written.saturating_sub(place).min(samples);
        if late > 0 {
            chunk.skip(late);
        }
        let samples = samples - late;
        if samples == 0 {
            return;
        }
        self.fill_to(place + late, out);
        let is_part = chunk.split || samples < chunk.samples;
        let buffer = if samples == chunk.samples {
            chunk.samples = 0;
            chunk.buffer.take()
        } else {
            let part = chunk.part(0, samples);
            chunk.skip(samples);
            part
        };
        match buffer {
            Some(buffer) if is_part => self.send_part(buffer, samples, out),
            Some(buffer) => self.send(buffer, samples, out),
            None => {}
        }
    }

    /// Outputs a buffer that was split at a cut or at the safe instant. A fragment of less than a millisecond is held
    /// back and joined to the next buffer: Matroska stores each buffer of PCM as a block, and both would have the same
    /// timestamp.
    fn send_part(&mut self, buffer: gst::Buffer, samples: u64, out: &mut GateOutput) {
        let waiting = self.splinter.as_ref().map_or(0, |(_, samples)| *samples);
        let is_long = (waiting + samples) * 1000 >= u64::from(self.format.info.rate());
        // Planar buffers cannot be concatenated.
        if is_long || buffer.meta::<gst_audio::AudioMeta>().is_some() {
            self.send(buffer, samples, out);
            return;
        }
        let buffer = self.behind_splinter(buffer);
        self.splinter = Some((buffer, waiting + samples));
        self.written += samples;
    }

    /// The buffer with the held fragment prepended.
    fn behind_splinter(&mut self, buffer: gst::Buffer) -> gst::Buffer {
        match self.splinter.take() {
            Some((mut splinter, _)) => {
                splinter.append(buffer);
                splinter
            }
            None => buffer,
        }
    }

    /// End of the track or part: outputs the held fragment.
    pub(super) fn finish(&mut self, out: &mut GateOutput) {
        if let Some((buffer, samples)) = self.splinter.take() {
            self.written -= samples;
            self.send(buffer, samples, out);
        }
    }

    pub(super) fn begin_part(&mut self, begin: Ns) {
        self.begin = begin;
        self.said = false;
    }

    pub(super) fn move_to_part(&mut self, begin: Ns) {
        self.begin = begin;
    }

    /// Stamps a buffer with the next grid position and outputs it.
    fn send(&mut self, buffer: gst::Buffer, samples: u64, out: &mut GateOutput) {
        let waiting = self.splinter.as_ref().map_or(0, |(_, samples)| *samples);
        let mut buffer = self.behind_splinter(buffer);
        let samples = waiting + samples;
        self.written -= waiting;
        if !std::mem::replace(&mut self.said, true) {
            out.caps(self.format.caps.clone());
        }
        let grid = self.format.grid;
        let first = self.written.saturating_sub(grid.nearest(self.begin));
        let pts = grid.time(first);
        let end = grid.time(first + samples);
        let stamped = buffer.make_mut();
        stamped.set_pts(gst::ClockTime::from_nseconds(pts));
        stamped.set_dts(gst::ClockTime::NONE);
        stamped.set_duration(gst::ClockTime::from_nseconds(end - pts));
        stamped.set_offset(first);
        stamped.set_offset_end(first + samples);
        if first == 0 {
            stamped.set_flags(gst::BufferFlags::DISCONT);
        } else {
            stamped.unset_flags(gst::BufferFlags::DISCONT | gst::BufferFlags::RESYNC);
        }
        self.written += samples;
        out.push(buffer);
    }

    fn fill_to(&mut self, place: u64, out: &mut GateOutput) {
        while self.written < place {
            let format = self.format.clone();
            let missing = place - self.written;
            let Some((buffer, samples)) = self.silence.take(&format.info, missing) else {
                return;
            };
            self.filled += format.grid.time(samples);
            self.send(buffer, samples, out);
        }
    }

    pub(super) fn fill(&mut self, cursor: &mut IntervalCursor, until: Ns, out: &mut GateOutput) {
        self.settle();
        self.advance(cursor, until, out);
        while let Some(interval) = cursor.resolved() {
            self.fill_to(self.place_of(&interval, until), out);
            match interval.end {
                Some(end) if until >= end => cursor.leave(),
                _ => break,
            }
        }
        self.finish(out);
    }

    /// Grid position of an instant, clamped to the interval.
    fn place_of(&self, interval: &Interval, running: Ns) -> u64 {
        self.format.grid.nearest(interval.recorded_at(running))
    }

    pub(super) fn comes_out_at(&self) -> Option<Ns> {
        self.inbox.front().map(Chunk::start)
    }

    pub(super) fn waiting(&self) -> usize {
        self.inbox.len() + usize::from(self.unplaced.is_some())
    }

    pub(super) fn waiting_bytes(&self) -> u64 {
        let sizes = self
            .inbox
            .iter()
            .filter_map(|chunk| Some(chunk.buffer.as_ref()?.size() as u64));
        sizes.sum()
    }

    pub(super) fn filled(&self) -> Ns {
        self.filled
    }
}

/// Number of samples of the chunk that start before a running time.
fn samples_before(chunk: &Chunk, running: Ns) -> u64 {
    match running.checked_sub(chunk.origin) {
        Some(since) => chunk
            .format
            .grid
            .before(since)
            .saturating_sub(chunk.first)
            .min(chunk.samples),
        None => 0,
    }
}

#[cfg(test)]
mod tests;
