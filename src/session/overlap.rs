//! Audio across a seam between two parts, so that it does not sound there: the encoder of the older part also gets the
//! audio that follows the part's end, and an encoder that takes time to settle also gets the audio that precedes its
//! part. Packets are trimmed to the part itself.
//!
//! Lock order: a leaf.

use super::{
    fixups::ChainSpec,
    probe::{leave_out, probe},
    timing::lock,
};
use crate::{
    formats::{self, Seam},
    log::{CAT, time},
    model::{Codec, timeline::Ns},
};
use gst::prelude::*;
use std::sync::Mutex;

/// The audio of one track around one part.
#[derive(Debug, Default)]
pub struct Overlap(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// The audio right before the part, in the format of its first audio.
    before: Vec<gst::Buffer>,
    /// By how much the encoder's timestamps are later than recorded time: the duration of the pre-roll.
    preroll: Ns,
    /// Recorded time at which the part's own audio ends, once known.
    end: Option<Ns>,
}

impl Overlap {
    /// The audio right before the part.
    pub fn set_before(&self, audio: Vec<gst::Buffer>) {
        lock(&self.0).before = audio;
    }

    /// The part's own audio ends at this recorded time; what follows only goes into the encoder.
    pub fn set_end(&self, end: Ns) {
        lock(&self.0).end = Some(end);
    }

    /// Whether audio at this recorded time is more than `length` after the part's end.
    pub fn is_beyond(&self, at: Ns, length: Ns) -> bool {
        lock(&self.0).end.is_some_and(|end| at >= end + length)
    }

    /// The end of the part's own audio as a timestamp of the encoder's input. `fed`: of all its input so far.
    pub fn end_of_input(&self, fed: gst::ClockTime) -> gst::ClockTime {
        let mut inner = lock(&self.0);
        let fed = fed.nseconds().saturating_sub(inner.preroll);
        let end = *inner.end.get_or_insert(fed);
        gst::ClockTime::from_nseconds(end + inner.preroll)
    }
}

/// Installs the pre-roll between `source`, which the track's audio comes out of, and its encoder.
pub fn give_preroll(source: &gst::Pad, spec: &ChainSpec) {
    let seam = spec.seam();
    if seam.before == 0 || spec.resumes {
        return;
    }
    let overlap = spec.overlap.clone();
    probe(source, gst::PadProbeType::BUFFER, move |pad, info| {
        let audio = std::mem::take(&mut lock(&overlap.0).before);
        let audio = whole_packets(pad, audio, seam).unwrap_or_default();
        if let Some((_, length)) = audio.last() {
            gst::debug!(CAT, obj = pad, "Pre-roll of {}", time(*length));
        }
        for (buffer, end) in audio {
            lock(&overlap.0).preroll = end;
            let pushed = pad.peer().map(|peer| peer.chain(buffer));
            if let Some(Err(err)) = pushed {
                drop(info.data.take());
                info.flow_res = Err(err);
                return gst::PadProbeReturn::Handled;
            }
        }
        let preroll = lock(&overlap.0).preroll;
        if let Some(buffer) = info.buffer_mut().filter(|_| preroll > 0) {
            let fields = buffer.make_mut();
            let later = gst::ClockTime::from_nseconds(preroll);
            fields.set_pts(fields.pts().map(|pts| pts + later));
        }
        gst::PadProbeReturn::Ok
    });
}

/// The end of this audio that fills as many whole packets as the pre-roll has, stamped from 0; each buffer with its end.
fn whole_packets(
    pad: &gst::Pad,
    audio: Vec<gst::Buffer>,
    Seam {
        before, preroll, ..
    }: Seam,
) -> Option<Vec<(gst::Buffer, Ns)>> {
    let info = formats::audio_info(pad.current_caps()?.as_ref())?;
    let (rate, bytes) = (u64::from(info.rate()), usize::try_from(info.bpf()).ok()?);
    let packet = usize::try_from(before).ok()?;
    let samples = |buffer: &gst::Buffer| buffer.size() / bytes.max(1);
    let all: usize = audio.iter().map(samples).sum();
    let wanted = usize::try_from(rate * preroll / 1_000_000_000).ok()?;
    let packets = wanted.div_ceil(packet).min(all / packet);
    let mut skip = all - packets * packet;
    let mut at = 0;
    let mut placed = Vec::new();
    for buffer in audio {
        let length = samples(&buffer);
        let skipped = skip.min(length);
        skip -= skipped;
        if skipped == length {
            continue;
        }
        let time = |samples: u64| samples.mul_div_round(1_000_000_000, rate);
        let begin = time(at)?;
        at += u64::try_from(length - skipped).ok()?;
        let end = time(at)?;
        let mut rest = gst_audio::audio_buffer_truncate(buffer, info.bpf(), skipped, None);
        let fields = rest.make_mut();
        fields.unset_flags(gst::BufferFlags::DISCONT | gst::BufferFlags::RESYNC);
        fields.set_pts(gst::ClockTime::from_nseconds(begin));
        fields.set_duration(gst::ClockTime::from_nseconds(end - begin));
        placed.push((rest, end));
    }
    Some(placed)
}

/// Trims the packets of `encoder` to the part, once its end is known.
pub fn trim(encoder: &gst::Element, spec: &ChainSpec) {
    let (Some(sink), Some(src)) = (encoder.static_pad("sink"), encoder.static_pad("src")) else {
        return;
    };
    if spec.seam() == Seam::default() {
        return;
    }
    let (overlap, delay, codec) = (spec.overlap.clone(), spec.drained_delay(), spec.codec);
    let sink = sink.downgrade();
    probe(&src, gst::PadProbeType::BUFFER, move |_, info| {
        let (preroll, end) = {
            let inner = lock(&overlap.0);
            (inner.preroll, inner.end)
        };
        if preroll == 0 && end.is_none() {
            return gst::PadProbeReturn::Ok;
        }
        let rate = sink.upgrade().and_then(|sink| sink.current_caps());
        let rate = rate.and_then(|caps| formats::audio_info(&caps));
        let rate = u64::from(rate.map_or(0, |info| info.rate())).max(1);
        let delay = u64::from(delay) * 1_000_000_000 / rate;
        let clip_rate = if codec == Codec::Opus { 48_000 } else { rate };
        let within = Within {
            preroll,
            end: end.map(|end| end + delay),
            rate: clip_rate,
        };
        if info.buffer_mut().is_none_or(|buffer| within.keep(buffer)) {
            gst::PadProbeReturn::Ok
        } else {
            leave_out(info)
        }
    });
}

/// Which packets belong to the part.
struct Within {
    preroll: Ns,
    /// End of its last packet, in recorded time.
    end: Option<Ns>,
    /// The rate in which clipped samples are counted.
    rate: u64,
}

impl Within {
    /// Stamps a packet with recorded time, and trims it; FALSE if it lies outside the part.
    fn keep(&self, buffer: &mut gst::Buffer) -> bool {
        let Some(pts) = buffer.pts().map(gst::ClockTime::nseconds) else {
            return true;
        };
        let length = buffer.duration().map_or(0, gst::ClockTime::nseconds);
        if pts + length / 2 < self.preroll {
            return false;
        }
        let begin = pts.saturating_sub(self.preroll);
        // Rounding must not leave a packet of a nanosecond.
        let sample = 1_000_000_000 / self.rate;
        if self.end.is_some_and(|end| begin + sample / 2 > end) {
            return false;
        }
        let beyond = self
            .end
            .map_or(0, |end| (begin + length).saturating_sub(end));
        if self.preroll == 0 && beyond == 0 {
            return true;
        }
        let fields = buffer.make_mut();
        fields.set_pts(gst::ClockTime::from_nseconds(begin));
        let preroll = gst::ClockTime::from_nseconds(self.preroll);
        fields.set_dts(fields.dts().map(|dts| dts.saturating_sub(preroll)));
        if beyond > 0 {
            fields.set_duration(gst::ClockTime::from_nseconds(length - beyond));
            self.clip(fields, beyond);
        }
        true
    }

    /// Tells muxers that samples at the end of a packet are not part of the audio.
    fn clip(&self, buffer: &mut gst::BufferRef, beyond: Ns) {
        let beyond = beyond.mul_div_round(self.rate, 1_000_000_000).unwrap_or(0);
        let samples = |value| match value {
            gst::GenericFormattedValue::Default(Some(samples)) => u64::from(samples),
            _ => 0,
        };
        let meta = buffer.meta_mut::<gst_audio::AudioClippingMeta>();
        let (start, end) = meta.map_or((0, 0), |meta| {
            let clipped = (samples(meta.start()), samples(meta.end()));
            let _ = meta.remove();
            clipped
        });
        gst_audio::AudioClippingMeta::add(
            buffer,
            gst::format::Default::from_u64(start),
            gst::format::Default::from_u64(end + beyond),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Ns = 1_000_000;

    /// A packet with this timestamp and duration in milliseconds after passing `within`: the same of it, and its
    /// clipped samples.
    fn kept(within: &Within, pts: u64, duration: u64) -> Option<(u64, u64, u64, u64)> {
        gst::init().unwrap();
        let mut buffer = gst::Buffer::new();
        let fields = buffer.get_mut().unwrap();
        fields.set_pts(gst::ClockTime::from_mseconds(pts));
        fields.set_duration(gst::ClockTime::from_mseconds(duration));
        let samples = gst::format::Default::from_u64;
        gst_audio::AudioClippingMeta::add(fields, samples(7), samples(1));
        if !within.keep(&mut buffer) {
            return None;
        }
        let meta = buffer.meta::<gst_audio::AudioClippingMeta>().unwrap();
        let number = |value| match value {
            gst::GenericFormattedValue::Default(Some(samples)) => u64::from(samples),
            value => panic!("{value:?}"),
        };
        let (pts, duration) = (buffer.pts().unwrap(), buffer.duration().unwrap());
        let clipped = (number(meta.start()), number(meta.end()));
        Some((pts.mseconds(), duration.mseconds(), clipped.0, clipped.1))
    }

    #[test]
    fn packets_are_trimmed_to_their_part() {
        let mut within = Within {
            preroll: 200 * MILLI,
            end: Some(100 * MILLI),
            rate: 48_000,
        };
        assert_eq!(kept(&within, 180, 20), None);
        assert_eq!(kept(&within, 200, 20), Some((0, 20, 7, 1)));
        assert_eq!(kept(&within, 280, 20), Some((80, 20, 7, 1)));
        assert_eq!(kept(&within, 285, 20), Some((85, 15, 7, 241)));
        assert_eq!(kept(&within, 300, 20), None);
        within.end = None;
        assert_eq!(kept(&within, 300, 20), Some((100, 20, 7, 1)));
    }

    /// A pad with these caps, and buffers of so many samples.
    fn audio(lengths: &[usize]) -> (gst::Pad, Vec<gst::Buffer>) {
        gst::init().unwrap();
        let pad = gst::Pad::new(gst::PadDirection::Src);
        pad.set_active(true).unwrap();
        let info = gst_audio::AudioInfo::builder(gst_audio::AudioFormat::S16le, 48_000, 1);
        let caps = info.build().unwrap().to_caps().unwrap();
        pad.push_event(gst::event::StreamStart::new("audio"));
        pad.push_event(gst::event::Caps::new(&caps));
        let buffers = lengths.iter();
        let buffers = buffers.map(|length| gst::Buffer::from_slice(vec![0; length * 2]));
        (pad, buffers.collect())
    }

    #[test]
    fn preroll_fills_whole_packets() {
        let sizes = |lengths: &[usize]| {
            let (pad, audio) = audio(lengths);
            let seam = Seam {
                before: 1_024,
                preroll: 200 * MILLI,
                after: 0,
            };
            let placed = whole_packets(&pad, audio, seam).unwrap();
            let stamps = placed.windows(2).all(|pair| {
                let begin = pair[1].0.pts().map(gst::ClockTime::nseconds);
                begin == Some(pair[0].1)
            });
            assert!(stamps);
            let sizes = placed.iter().map(|(buffer, _)| buffer.size() / 2);
            sizes.collect::<Vec<_>>()
        };
        // At least 200 ms, which are 9.4 packets.
        assert_eq!(sizes(&[5_000, 5_000, 5_000]), [240, 5_000, 5_000]);
        assert_eq!(sizes(&[20_000]), [10_240]);
        // No more than there is.
        assert_eq!(sizes(&[500, 600]), [424, 600]);
        assert_eq!(sizes(&[500, 500]), [0; 0]);
        assert_eq!(sizes(&[]), [0; 0]);
    }
}
