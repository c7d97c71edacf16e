//! Where a buffer belongs in running time, and how much of it lies in its segment.

use super::{Media, Stream};
use crate::{gate::Input, model::timeline::Ns, session::RunningTime};

/// Running time beyond this (73 years) is a broken stamp.
const FURTHEST: Ns = Ns::MAX / 8;
/// A buffer that says it is longer does not know how long it is.
const LONGEST: gst::ClockTime = gst::ClockTime::from_seconds(86_400);

/// A segment that goes back by more begins anew.
const REWOUND: i64 = 100_000_000;

impl Stream {
    /// The caps as they are in running time: in a segment of another rate, sound has so many
    /// more or fewer samples in a second.
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
        // A cast that saturates; no rate at all would divide by it.
        (scaled.round() as u64).max(1)
    }

    /// A length of stream time, in running time.
    fn in_time(&self, length: gst::ClockTime) -> Ns {
        let rate = self.segment.rate().abs();
        if (rate - 1.0).abs() <= f64::EPSILON || rate <= 0.0 {
            return length.nseconds();
        }
        (length.nseconds() as f64 / rate) as Ns
    }

    /// If this buffer begins a segment that sets running time back: to what.
    pub fn goes_back_to(&mut self, buffer: &gst::BufferRef) -> Option<Ns> {
        if !std::mem::take(&mut self.fresh) || self.live == Some(true) {
            return None;
        }
        let pts = buffer.pts().or(buffer.dts())?;
        let plain = self.segment.to_running_time(pts)?.nseconds();
        let running = plain.saturating_add_signed(self.shift);
        let back = i64::try_from(self.end)
            .ok()?
            .saturating_sub(i64::try_from(running).ok()?);
        (back > REWOUND).then_some(plain)
    }

    /// Places a buffer in running time; `None` if it lies outside the segment, or cannot be recorded.
    pub fn place(&mut self, buffer: gst::Buffer, clock: &RunningTime) -> Option<Input> {
        if self.cannot_be_turned() {
            return None;
        }
        // Encoders read beyond the end of a picture that is not whole.
        if let Media::Picture { size, .. } = self.media
            && buffer.size() < size
            && buffer.meta::<gst_video::VideoMeta>().is_none()
        {
            return None;
        }
        let reasonable = |duration: &gst::ClockTime| *duration < LONGEST;
        let duration = self.duration(&buffer).filter(reasonable);
        let Some(pts) = buffer.pts().or(buffer.dts()) else {
            return Some(self.place_unstamped(buffer, clock));
        };
        let end = duration.map(|duration| pts.saturating_add(duration));
        let (start, stop) = self.segment.clip(pts, end)?;
        let start = start.unwrap_or(pts);
        let inside = self.running_time(start, stop)?;
        let whole = start <= pts && stop >= end;
        let (buffer, plain, duration) = match self.media {
            _ if whole => (buffer, inside.nseconds(), duration),
            // Sound is cut to the segment, to the sample.
            Media::Sound { rate, bytes } => {
                let segment = self.segment.upcast_ref();
                let part = gst_audio::audio_buffer_clip(buffer, segment, rate, bytes)?;
                let start = part.pts().unwrap_or(start);
                let duration = self.duration(&part);
                let end = duration.map(|duration| start.saturating_add(duration));
                let plain = self.running_time(start, end)?.nseconds();
                (part, plain, duration)
            }
            // A picture is shown as long as it reaches into it.
            Media::Picture { .. } => {
                let shown = stop.and_then(|stop| stop.checked_sub(start)).or(duration);
                (buffer, inside.nseconds(), shown)
            }
            Media::Encoded => {
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

    /// Whether it is played backwards.
    fn is_backwards(&self) -> bool {
        self.segment.rate() < 0.0
    }

    /// Whether it is played backwards and cannot be recorded so.
    pub fn cannot_be_turned(&self) -> bool {
        self.is_backwards() && self.caps.is_some() && matches!(self.media, Media::Encoded)
    }

    /// When media from `start` to `end` begins to be heard or seen: backwards, with its end.
    fn running_time(
        &self,
        start: gst::ClockTime,
        end: Option<gst::ClockTime>,
    ) -> Option<gst::ClockTime> {
        let first = match self.is_backwards() {
            true => end.unwrap_or(start),
            false => start,
        };
        self.segment.to_running_time(first)
    }

    /// Without stamps, live media is taken to be captured as it comes, other media to follow.
    fn place_unstamped(&self, buffer: gst::Buffer, clock: &RunningTime) -> Input {
        let duration = self.duration(&buffer).filter(|length| *length < LONGEST);
        let duration = duration.map(|length| self.in_time(length));
        let now = clock.now().filter(|_| self.live == Some(true));
        let running = match (now, self.media) {
            (Some(now), Media::Sound { .. }) => now.saturating_sub(duration.unwrap_or(0)),
            (Some(now), _) => now,
            (None, _) => self.end,
        };
        Input {
            buffer,
            running,
            duration,
        }
    }

    /// Running time as recordings count it. When a new base time has moved live media, what was
    /// already on its way still goes by the old one: the shift that lets it go on is right.
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

    /// How long a buffer lasts in stream time: of raw audio the count of samples tells, of which
    /// stamps are roundings.
    fn duration(&self, buffer: &gst::BufferRef) -> Option<gst::ClockTime> {
        let (rate, bytes) = match self.media {
            Media::Sound { rate, bytes } => (rate, bytes),
            // Without a length of its own it has the one that its caps give it.
            Media::Picture { frame, .. } => {
                let own = buffer.duration().filter(|length| !length.is_zero());
                return own.or(frame).or(buffer.duration());
            }
            Media::Encoded => return buffer.duration(),
        };
        let samples = buffer.size() as u64 / u64::from(bytes);
        let exact = samples.saturating_mul(1_000_000_000) / u64::from(rate);
        let exact = gst::ClockTime::from_nseconds(exact);
        let rounded = |stamp: &gst::ClockTime| stamp.absdiff(exact).nseconds() <= 1;
        Some(buffer.duration().filter(rounded).unwrap_or(exact))
    }

    /// Upstream has nothing between these positions in the segment: the running time up to which.
    pub fn gap(
        &mut self,
        start: gst::ClockTime,
        end: gst::ClockTime,
        clock: &RunningTime,
    ) -> Option<Ns> {
        let last = if self.is_backwards() { start } else { end };
        let plain = self.segment.to_running_time(last)?.nseconds();
        let running = self.shifted(plain, clock);
        if running > FURTHEST {
            return None;
        }
        self.end = self.end.max(running);
        Some(running)
    }

    /// Upstream's chapters in running time, as far as the segment reaches them. One that is on when it begins, begins
    /// there.
    pub fn chapters(&self) -> Vec<(Ns, String)> {
        let begin = self.segment.start();
        let time = begin.and_then(|begin| self.segment.to_stream_time(begin));
        let (Some(begin), Some(time), false) = (begin, time, self.is_backwards()) else {
            return Vec::new();
        };
        let on = self.toc.iter().rposition(|(start, _)| *start <= time);
        let chapters = self.toc.iter().skip(on.unwrap_or(0));
        let chapters = chapters.filter_map(|(start, title)| {
            let position = match *start <= time {
                true => begin,
                false => self.segment.position_from_stream_time(*start)?,
            };
            let plain = self.segment.to_running_time(position)?.nseconds();
            Some((plain.saturating_add_signed(self.shift), title.clone()))
        });
        chapters.collect()
    }

    /// Where a buffer that has been placed is in the stream.
    pub fn stream_time(&self, input: &Input) -> Option<gst::ClockTime> {
        self.segment.to_stream_time(input.buffer.pts()?)
    }

    /// A running time of recordings as upstream counts it.
    pub fn upstream_time(&self, running: Ns) -> Ns {
        running.saturating_add_signed(self.shift.saturating_neg())
    }
}

/// The samples of a buffer from the last to the first; `bytes` are those of one of all channels.
fn reversed(mut buffer: gst::Buffer, bytes: u32) -> Option<gst::Buffer> {
    let meta = buffer.meta::<gst_audio::AudioMeta>();
    // Or each plane by itself.
    let planes = meta.map(|meta| {
        let width = bytes / meta.info().channels().max(1);
        let planes = meta.offsets().iter().copied();
        (planes.collect::<Vec<_>>(), meta.samples(), width)
    });
    let fields = buffer.make_mut();
    let mut map = fields.map_writable().ok()?;
    let turn = |samples: &mut [u8], width: u32| {
        samples.reverse();
        // And the bytes of each as they were.
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
