//! Maps a buffer to running time and clips it to its segment.

use super::{Incomplete, JUMP, Media, Stream};
use crate::{
    formats::{FlacHeader, opus_packet_duration},
    gate::Input,
    model::{stamps::LONGEST_HOLE, timeline::Ns},
    session::RunningTime,
};

/// Running time beyond this (73 years) is invalid.
const FURTHEST: Ns = Ns::MAX / 8;
/// A longer duration is invalid.
const LONGEST: gst::ClockTime = gst::ClockTime::from_seconds(86_400);

/// A segment that goes back by more restarts running time.
const REWOUND: i64 = 100_000_000;

impl Stream {
    /// The caps in running time: at another segment rate, audio has proportionally more or fewer samples per second.
    pub fn caps_in_time(&self) -> Option<gst::Caps> {
        let mut caps = self.given.clone()?;
        if let Media::Sound { rate, .. } = self.media
            && let Ok(in_time) = i32::try_from(self.rate_in_time(rate))
            && i32::try_from(rate) != Ok(in_time)
        {
            caps.make_mut().set("rate", in_time);
        }
        Some(caps)
    }

    fn rate_in_time(&self, rate: u32) -> u64 {
        let scaled = f64::from(rate) * self.segment.rate().abs();
        // The cast saturates; a rate of 0 would be a division by zero.
        (scaled.round() as u64).max(1)
    }

    /// Converts a duration from stream time to running time.
    fn in_time(&self, length: gst::ClockTime) -> Ns {
        let rate = self.segment.rate().abs();
        if (rate - 1.0).abs() <= f64::EPSILON || rate <= 0.0 {
            return length.nseconds();
        }
        (length.nseconds() as f64 / rate) as Ns
    }

    /// The new running time, if this buffer begins a segment that resets it.
    pub fn goes_back_to(&mut self, buffer: &gst::BufferRef) -> Option<Ns> {
        if !self.fresh || self.live == Some(true) {
            return None;
        }
        let pts = buffer.pts().or(buffer.dts())?;
        // Media from before the start: edit lists, priming.
        let start = self.segment.start().filter(|_| !self.is_backwards());
        let inside = start.map_or(pts, |start| pts.max(start));
        let plain = self.segment.to_running_time(inside)?.nseconds();
        self.fresh = false;
        let running = plain.saturating_add_signed(self.shift);
        let back = i64::try_from(self.end)
            .ok()?
            .saturating_sub(i64::try_from(running).ok()?);
        (back > REWOUND).then_some(plain)
    }

    /// Maps a buffer to running time; `None` if it lies outside the segment, or cannot be recorded.
    pub fn place(&mut self, buffer: gst::Buffer, clock: &RunningTime) -> Option<Input> {
        if self.cannot_be_turned() {
            return None;
        }
        if let Media::Video { layout, .. } = self.media
            && !layout.is_complete(&buffer, self.crops)
        {
            if matches!(self.incomplete, Incomplete::None) {
                self.incomplete = Incomplete::Found(layout.describe(&buffer));
            }
            return None;
        }
        let reasonable = |duration: &gst::ClockTime| *duration < LONGEST;
        let duration = self.duration(&buffer).filter(reasonable);
        let Some(pts) = buffer.pts().or(buffer.dts()) else {
            return Some(self.place_unstamped(buffer, clock));
        };
        self.is_stamped = true;
        let end = duration.map(|duration| pts.saturating_add(duration));
        let (start, stop) = self.segment.clip(pts, end)?;
        let start = start.unwrap_or(pts);
        let inside = self.running_time(start, stop)?;
        let whole = start <= pts && stop >= end;
        let (buffer, plain, duration) = match self.media {
            _ if whole => (buffer, inside.nseconds(), duration),
            // Audio is clipped to the segment, to the sample.
            Media::Sound { rate, bytes } => {
                let segment = self.segment.upcast_ref();
                let part = gst_audio::audio_buffer_clip(buffer, segment, rate, bytes)?;
                let start = part.pts().unwrap_or(start);
                let duration = self.duration(&part);
                let end = duration.map(|duration| start.saturating_add(duration));
                let plain = self.running_time(start, end)?.nseconds();
                (part, plain, duration)
            }
            // A frame lasts until the end of the segment at most.
            Media::Video { .. } => {
                let shown = stop.and_then(|stop| stop.checked_sub(start)).or(duration);
                (buffer, inside.nseconds(), shown)
            }
            Media::Encoded | Media::Aac { .. } | Media::Flac { .. } | Media::Opus => {
                let before = self.in_time(start.saturating_sub(pts));
                (buffer, inside.nseconds().saturating_sub(before), duration)
            }
        };
        let running = self.shifted(plain, clock);
        if running > FURTHEST {
            return None;
        }
        let buffer = match self.media {
            Media::Sound { bytes, .. } if self.is_backwards() => reversed(buffer, bytes)?,
            _ => buffer,
        };
        Some(Input {
            buffer,
            running,
            duration: duration.map(|duration| self.in_time(duration)),
        })
    }

    /// Whether playback is in reverse.
    fn is_backwards(&self) -> bool {
        self.segment.rate() < 0.0
    }

    /// Whether playback is in reverse and cannot be recorded.
    pub fn cannot_be_turned(&self) -> bool {
        self.is_backwards() && self.caps.is_some() && self.media.is_encoded()
    }

    /// Running time of the start of media from `start` to `end`; in reverse playback that is its end.
    fn running_time(
        &self,
        start: gst::ClockTime,
        end: Option<gst::ClockTime>,
    ) -> Option<gst::ClockTime> {
        let first = if self.is_backwards() {
            end.unwrap_or(start)
        } else {
            start
        };
        self.segment.to_running_time(first)
    }

    /// Without timestamps, live media is placed at its arrival, other media after the previous buffer. So is live encoded
    /// media among other buffers with timestamps: parsers remove a timestamp that repeats, as when a network delivers
    /// late frames at once. After a gap, that is at its arrival less the latency.
    fn place_unstamped(&self, buffer: gst::Buffer, clock: &RunningTime) -> Input {
        let duration = self.duration(&buffer).filter(|length| *length < LONGEST);
        let duration = duration.map(|length| self.in_time(length));
        let now = clock.now().filter(|_| self.live == Some(true));
        let follows = self.is_stamped && self.media.is_encoded();
        let upstream = self.upstream.filter(|_| follows);
        let latency = upstream.map_or(0, |(_, latency)| {
            Ns::try_from(latency.as_nanos()).unwrap_or(Ns::MAX)
        });
        let captured = now.map(|now| match self.media {
            Media::Sound { .. } => {
                now.saturating_sub(latency.saturating_add(duration.unwrap_or(0)))
            }
            _ => now.saturating_sub(latency),
        });
        // After a gap, a plausible one, the previous buffer is the one that ended it.
        let end = self.jumped.filter(|end| now.is_some_and(|now| *end <= now));
        let end = end.unwrap_or(self.end);
        let running = match captured {
            Some(at) if !follows || at.saturating_sub(end) > JUMP => at,
            _ => end,
        };
        Input {
            buffer,
            running,
            duration,
        }
    }

    /// Running time including the recorder's offset. If a new base time has moved live media, buffers already in flight
    /// still use the old one: the offset that keeps them continuous applies.
    fn shifted(&mut self, plain: Ns, clock: &RunningTime) -> Ns {
        let by_old = plain.saturating_add_signed(self.shift);
        if self.live != Some(true) || self.shift == clock.live_shift() {
            return by_old;
        }
        let by_new = plain.saturating_add_signed(clock.live_shift());
        let is_first = self.end == 0;
        if is_first || by_new.abs_diff(self.end) <= by_old.abs_diff(self.end) {
            self.shift = clock.live_shift();
            return by_new;
        }
        by_old
    }

    /// Duration of a buffer in stream time; for raw audio and FLAC from the sample count, since timestamps are rounded,
    /// and flacparse gives a shorter last frame the duration of the others.
    fn duration(&self, buffer: &gst::BufferRef) -> Option<gst::ClockTime> {
        let (samples, rate) = match self.media {
            Media::Sound { rate, bytes } => (buffer.size() as u64 / u64::from(bytes), rate),
            Media::Flac { rate } => {
                let header = buffer.map_readable().ok();
                let header = header.and_then(|frame| FlacHeader::read(&frame));
                let Some(header) = header else {
                    return buffer.duration();
                };
                (header.samples, header.rate.unwrap_or(rate))
            }
            // Without a duration of its own, the frame rate of the caps applies.
            Media::Video { frame, .. } => {
                let own = buffer.duration().filter(|length| !length.is_zero());
                return own.or(frame).or(buffer.duration());
            }
            Media::Aac { frame } => return buffer.duration().or(Some(frame)),
            Media::Opus => return buffer.duration().or_else(|| opus_duration(buffer)),
            Media::Encoded => return buffer.duration(),
        };
        let exact = samples.saturating_mul(1_000_000_000) / u64::from(rate);
        let exact = gst::ClockTime::from_nseconds(exact);
        let rounded = |stamp: &gst::ClockTime| stamp.absdiff(exact).nseconds() <= 1;
        Some(buffer.duration().filter(rounded).unwrap_or(exact))
    }

    /// Handles a GAP between these segment positions; returns the running time of its end.
    pub fn gap(
        &mut self,
        start: gst::ClockTime,
        end: gst::ClockTime,
        clock: &RunningTime,
    ) -> Option<Ns> {
        let last = if self.is_backwards() { start } else { end };
        let plain = self.segment.to_running_time(last)?.nseconds();
        let running = self.shifted(plain, clock);
        let is_implausible = self.end > 0 && running > self.end.saturating_add(LONGEST_HOLE);
        if running > FURTHEST || is_implausible {
            return None;
        }
        self.end = self.end.max(running);
        Some(running)
    }

    /// Upstream's chapters in the segment, in running time. A chapter already in progress begins with the segment.
    pub fn chapters(&self) -> Vec<(Ns, String)> {
        let begin = self.segment.start();
        let time = begin.and_then(|begin| self.segment.to_stream_time(begin));
        let (Some(begin), Some(time), false) = (begin, time, self.is_backwards()) else {
            return Vec::new();
        };
        let on = self.toc.iter().rposition(|(start, _)| *start <= time);
        let chapters = self.toc.iter().skip(on.unwrap_or(0));
        let chapters = chapters.filter_map(|(start, title)| {
            let position = if *start <= time {
                begin
            } else {
                self.segment.position_from_stream_time(*start)?
            };
            let plain = self.segment.to_running_time(position)?.nseconds();
            Some((plain.saturating_add_signed(self.shift), title.clone()))
        });
        chapters.collect()
    }

    /// Stream time of a buffer that has been placed.
    pub fn stream_time(&self, input: &Input) -> Option<gst::ClockTime> {
        self.segment.to_stream_time(input.buffer.pts()?)
    }

    /// Converts a running time of the recordings to upstream's.
    pub fn upstream_time(&self, running: Ns) -> Ns {
        running.saturating_add_signed(self.shift.saturating_neg())
    }
}

/// Duration of an Opus packet: depayloaders do not set it.
fn opus_duration(packet: &gst::BufferRef) -> Option<gst::ClockTime> {
    let packet = packet.map_readable().ok()?;
    opus_packet_duration(&packet).map(gst::ClockTime::from_nseconds)
}

/// Reverses the samples of a buffer; `bytes` is the size of one sample over all channels.
fn reversed(mut buffer: gst::Buffer, bytes: u32) -> Option<gst::Buffer> {
    let meta = buffer.meta::<gst_audio::AudioMeta>();
    // Planar: each plane separately.
    let planes = meta.map(|meta| {
        let width = bytes / meta.info().channels().max(1);
        let planes = meta.offsets().iter().copied();
        (planes.collect::<Vec<_>>(), meta.samples(), width)
    });
    let fields = buffer.make_mut();
    let mut map = fields.map_writable().ok()?;
    let turn = |samples: &mut [u8], width: u32| {
        samples.reverse();
        // Restores the byte order within each sample.
        let width = usize::try_from(width).unwrap_or(1).max(1);
        samples.chunks_exact_mut(width).for_each(<[u8]>::reverse);
    };
    match planes {
        None => {
            let whole = map.len() - map.len() % usize::try_from(bytes).ok()?.max(1);
            turn(map.get_mut(..whole)?, bytes);
        }
        Some((planes, samples, width)) => {
            let length = samples.checked_mul(usize::try_from(width).ok()?)?;
            for plane in planes {
                turn(map.get_mut(plane..plane.checked_add(length)?)?, width);
            }
        }
    }
    drop(map);
    Some(buffer)
}
