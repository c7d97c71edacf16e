//! Adjusts the timestamps of Opus packets to the container.
//!
//! The first samples out of an Opus decoder, the pre-skip (RFC 7845, 4.2), have to be discarded.
//! opusenc stamps packets with presentation times. MP4 counts from the first decoded sample, and
//! so does Matroska, where timestamps are later than the audio by CodecDelay (RFC 9559, 12.4).

use super::MuxerSite;
use crate::session::{
    probe::{change_caps, probe},
    timing::lock,
};
use crate::{
    formats::{OPUS_PRE_SKIP, opus_length as length},
    model::Container,
};
use std::sync::{Arc, Mutex};

/// The pre-skip in the caps for matroskamux, in samples.
///
/// matroskamux interleaves packets by timestamp and only then adds the pre-skip, which breaks the order relative to
/// video; and it clamps timestamps within the pre-skip to 0. A pre-skip close to 0 avoids both. Its CodecDelay has the
/// same width as that of the real pre-skip, which replaces it later: see `formats/patch/matroska.rs`.
const STAND_IN: u16 = 4;
/// CodecDelay values, in nanoseconds, that take as many bytes as the placeholder's.
const SAME_WIDTH: std::ops::Range<u64> = 1 << 16..1 << 24;
/// matroskamux rounds timestamps to this, in nanoseconds.
const UNIT: u64 = 1_000_000;
/// The durations of whole packets are multiples of this, in nanoseconds.
const SHORTEST: u64 = 2_500_000;

/// Stamps packets as the container requires, and passes the pre-skip to the header patch: timestamps are later than the
/// audio by it, and matroskamux does not write it.
pub fn stamp(site: &MuxerSite<'_>) {
    let (patch, number) = (Arc::downgrade(&site.end.patch), site.index_in_kind);
    let late = site.end.note_delay(site.index);
    let report = move |samples: u16| {
        if let Some(patch) = patch.upgrade() {
            lock(&patch).set_pre_skip(number, samples);
        }
        late(length(samples.into()));
    };
    match site.spec.container {
        Container::Mp4 => stamp_for_mp4(site.mux_pad, report),
        Container::WebM | Container::Matroska => stamp_for_matroska(site.mux_pad, report),
        _ => {}
    }
}

/// Keeps packets at their full duration; an edit list skips the pre-skip.
fn stamp_for_mp4(pad: &gst::Pad, report: impl Fn(u16) + Send + Sync + 'static) {
    let state = Mutex::new((gst::ClockTime::ZERO, true));
    probe(pad, caps_and_buffers(), move |_, info| {
        if let Some(gst::EventView::Caps(caps)) = info.event().map(|event| event.view()) {
            if let Some(samples) = headers(caps.caps()).as_deref().and_then(pre_skip) {
                lock(&state).0 = gst::ClockTime::from_nseconds(length(samples.into()));
                report(samples);
            }
        } else if let Some(buffer) = info.buffer_mut() {
            let (skip, first) = &mut *lock(&state);
            let buffer = buffer.make_mut();
            // mp4mux would take decode times without the pre-skip for reordering.
            buffer.set_dts(gst::ClockTime::NONE);
            if std::mem::take(first) {
                buffer.set_duration(buffer.duration().map(|duration| duration + *skip));
            } else {
                buffer.set_pts(buffer.pts().map(|pts| pts + *skip));
            }
        }
        gst::PadProbeReturn::Ok
    });
}

fn stamp_for_matroska(pad: &gst::Pad, report: impl Fn(u16) + Send + Sync + 'static) {
    let skip = Mutex::new(None::<u64>);
    probe(pad, caps_and_buffers(), move |_, info| {
        change_caps(info, |caps| {
            let (samples, caps) = stand_in(caps)?;
            *lock(&skip) = Some(length(samples.into()));
            report(samples);
            Some(caps)
        });
        if let Some(buffer) = info.buffer_mut()
            && let Some(skip) = *lock(&skip)
        {
            stamp_block(buffer.make_mut(), skip);
        }
        gst::PadProbeReturn::Ok
    });
}

fn caps_and_buffers() -> gst::PadProbeType {
    gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM
}

/// Caps with the placeholder, and the real pre-skip, if the replacement is needed.
fn stand_in(caps: &gst::CapsRef) -> Option<(u16, gst::Caps)> {
    let mut headers = headers(caps)?;
    let samples = pre_skip(&headers).filter(|n| SAME_WIDTH.contains(&length((*n).into())))?;
    let first = headers.first_mut()?.make_mut();
    first
        .copy_from_slice(OPUS_PRE_SKIP.start, &STAND_IN.to_le_bytes())
        .ok()?;
    let mut caps = caps.to_owned();
    caps.make_mut()
        .set("streamheader", gst::Array::new(headers));
    Some((samples, caps))
}

/// Sets a timestamp that is correct once the muxer has added the placeholder.
fn stamp_block(buffer: &mut gst::BufferRef, skip: u64) {
    let clipped = clipped(buffer);
    let Some(pts) = buffer.pts() else {
        return;
    };
    let block = (pts.nseconds() + skip).saturating_sub(clipped);
    // Rounded here, since the muxer sorts blocks before it rounds.
    let block = (block + UNIT / 2) / UNIT * UNIT;
    let stamp = gst::ClockTime::from_nseconds(block.saturating_sub(length(STAND_IN.into())));
    buffer.set_pts(stamp);
    buffer.set_dts(gst::ClockTime::NONE);
    if let Some(duration) = buffer.duration().map(gst::ClockTime::nseconds)
        && !duration.is_multiple_of(SHORTEST)
        && (duration + clipped).is_multiple_of(SHORTEST)
    {
        buffer.set_duration(gst::ClockTime::from_nseconds(duration + clipped));
    }
}

/// Nanoseconds clipped from the start of a packet.
fn clipped(buffer: &gst::BufferRef) -> u64 {
    let meta = buffer.meta::<gst_audio::AudioClippingMeta>();
    match meta.map(|meta| meta.start()) {
        Some(gst::GenericFormattedValue::Default(Some(samples))) => length(u64::from(samples)),
        Some(gst::GenericFormattedValue::Time(Some(time))) => time.nseconds(),
        _ => 0,
    }
}

fn headers(caps: &gst::CapsRef) -> Option<Vec<gst::Buffer>> {
    let list = caps.structure(0)?.get::<gst::Array>("streamheader").ok()?;
    list.iter().map(|value| value.get().ok()).collect()
}

/// The pre-skip in OpusHead, in samples at 48 kHz.
fn pre_skip(headers: &[gst::Buffer]) -> Option<u16> {
    let header = headers.first()?.map_readable().ok()?;
    Some(u16::from_le_bytes(
        *header.get(OPUS_PRE_SKIP)?.first_chunk()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(pts: u64, duration: u64, clipped: Option<u64>) -> (u64, u64) {
        gst::init().unwrap();
        let mut buffer = gst::Buffer::new();
        let fields = buffer.get_mut().unwrap();
        fields.set_pts(gst::ClockTime::from_nseconds(pts));
        fields.set_duration(gst::ClockTime::from_nseconds(duration));
        if let Some(samples) = clipped {
            let samples = gst::format::Default::from_u64(samples);
            gst_audio::AudioClippingMeta::add(fields, samples, gst::format::Default::ZERO);
        }
        stamp_block(fields, 6_500_000);
        let stamp = fields.pts().unwrap().nseconds();
        (stamp, fields.duration().unwrap().nseconds())
    }

    #[test]
    fn a_block_is_later_than_its_audio_by_the_pre_skip() {
        let muxer_adds = length(STAND_IN.into());
        // The first packet of opusenc, clipped by the pre-skip, and the next one.
        assert_eq!(block(0, 13_500_000, Some(312)), (0, 20_000_000));
        let (stamp, duration) = block(13_500_000, 20_000_000, None);
        assert_eq!((stamp + muxer_adds, duration), (20_000_000, 20_000_000));
        // Joined mid-stream, at a timestamp that matroskamux alone would clamp to 0.
        let (stamp, _) = block(5_500_000, 20_000_000, None);
        assert_eq!(stamp + muxer_adds, 12_000_000);
    }

    #[test]
    fn caps_keep_everything_but_the_pre_skip() {
        gst::init().unwrap();
        let caps = |samples: u16| {
            let mut header = *b"OpusHead\x01\x02\0\0\x80\xbb\0\0\0\0\0";
            header[OPUS_PRE_SKIP].copy_from_slice(&samples.to_le_bytes());
            let headers = [header.to_vec(), b"OpusTags".to_vec()].map(gst::Buffer::from_slice);
            gst::Caps::builder("audio/x-opus")
                .field("channels", 2)
                .field("streamheader", gst::Array::new(headers))
                .build()
        };
        assert_eq!(stand_in(&caps(312)), Some((312, caps(STAND_IN))));
        // A pre-skip of another width is left to the muxer.
        assert_eq!(stand_in(&caps(0)), None);
        assert_eq!(stand_in(&caps(3_840)), None);
        assert_eq!(stand_in(&gst::Caps::new_empty_simple("audio/x-opus")), None);
    }
}
