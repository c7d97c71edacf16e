//! Renumbers FLAC frames that start in the middle of a stream.
//!
//! Each frame header has a frame or sample number, from which players derive the time (RFC 9639, section 9.1). Frames
//! are renumbered from the start of the file, without pauses; otherwise only the checksums change. At the end, the
//! total number of samples is written into STREAMINFO.

use crate::{
    formats::FlacHeader,
    session::{
        probe::{is_eos, leave_out, probe},
        timing::lock,
    },
};
use gst::prelude::*;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

/// Offset of the total number of samples in STREAMINFO: the low 4 bits of this byte and the next 4 bytes.
const TOTAL_AT: usize = 21;

/// Sends the caps of an encoder that ends with less than one block of audio.
///
/// flacenc sends caps with its first full block; without one, it sends a segment before the caps when it ends.
/// GStreamer warns about that order, and warnings may be configured as fatal. The encoder's own caps follow later.
pub fn announce(encoder: &gst::Element) {
    let (Some(sink), Some(src)) = (encoder.static_pad("sink"), encoder.static_pad("src")) else {
        return;
    };
    let src = src.downgrade();
    let fed = AtomicBool::new(false);
    let both = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    probe(&sink, both, move |sink, info| {
        if info.buffer().is_some() {
            fed.store(true, Ordering::SeqCst);
        } else if is_eos(info)
            && fed.load(Ordering::SeqCst)
            && let Some(src) = src.upgrade().filter(|src| src.current_caps().is_none())
            && let Some(caps) = sink.current_caps().and_then(|caps| encoded(&caps))
        {
            src.push_event(gst::event::Caps::new(&caps));
        }
        gst::PadProbeReturn::Ok
    });
}

/// FLAC caps with the same sample rate and channels.
fn encoded(raw: &gst::CapsRef) -> Option<gst::Caps> {
    let raw = raw.structure(0)?;
    let number = |field| raw.get::<i32>(field).ok();
    let caps = gst::Caps::builder("audio/x-flac")
        .field("rate", number("rate")?)
        .field("channels", number("channels")?);
    Some(caps.build())
}

/// Number of frames and samples so far.
#[derive(Debug, Default)]
struct Count {
    frames: u64,
    samples: u64,
    /// The first bytes of the file.
    head: Vec<u8>,
    /// Start and end of the last frame. (For the last one of a stream, which is shorter, parsers claim the usual length.)
    last: Option<(gst::ClockTime, gst::ClockTime)>,
}

/// Which frames are renumbered.
#[derive(Debug, Clone)]
pub struct Counted {
    /// Renumber once this flag is set, or always if `None`. Frames of another encoder among those of a copied stream
    /// leave jumps in the numbers, which decoders fill with silence.
    pub from: Option<Arc<AtomicBool>>,
    /// Whether the file's only timing is the frame numbers and the total number of samples (bare FLAC).
    pub is_bare: bool,
}

impl Counted {
    fn has_begun(&self) -> bool {
        let from = self.from.as_ref();
        from.is_none_or(|from| from.load(Ordering::SeqCst))
    }
}

impl Count {
    /// The frame with its new number; `None` if it is not a frame.
    fn renumbered(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let header = FlacHeader::read(frame)?;
        let number = if header.by_samples {
            self.samples
        } else {
            self.frames
        };
        self.frames += 1;
        self.samples += header.samples;
        header.renumbered(frame, number)
    }

    /// Moves a frame behind the previous one: if flacenc 1.26 starts in the middle of a track, it stamps its last frame
    /// as if the encoder had started at 0.
    fn place(&mut self, frame: &mut gst::BufferRef) {
        let (Some(pts), Some(length)) = (frame.pts(), frame.duration()) else {
            return;
        };
        let pts = match self.last {
            Some((begin, end)) if pts < begin => end,
            _ => pts,
        };
        frame.set_pts(pts);
        self.last = Some((pts, pts + length));
    }

    /// The bytes with the total number of samples, for STREAMINFO.
    fn total(&self) -> Option<[u8; 5]> {
        let [b'f', b'L', b'a', b'C', ..] = *self.head else {
            return None;
        };
        let kept = self.head.get(TOTAL_AT)? & 0xf0;
        let [_, _, _, high, a, b, c, d] = self.samples.to_be_bytes();
        (self.samples < 1 << 36).then_some([kept | high & 0x0f, a, b, c, d])
    }
}

/// Sets `is_mixed` once silence that fills a gap passes `pad`.
pub fn note_silence(pad: &gst::Pad, is_mixed: Arc<AtomicBool>) {
    probe(pad, gst::PadProbeType::BUFFER, move |_, info| {
        let flags = info.buffer().map(|buffer| buffer.flags());
        if flags.is_some_and(|flags| flags.contains(gst::BufferFlags::GAP)) {
            is_mixed.store(true, Ordering::SeqCst);
        }
        gst::PadProbeReturn::Ok
    });
}

/// Renumbers the frames that leave `pad`, from 0 on.
pub fn count_anew(pad: &gst::Pad, counted: Counted) {
    let count = Mutex::new(Count::default());
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    probe(pad, kinds, move |pad, info| {
        match &mut info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => {
                let Ok(map) = buffer.map_readable() else {
                    return gst::PadProbeReturn::Ok;
                };
                let mut count = lock(&count);
                let missing = (TOTAL_AT + 1)
                    .saturating_sub(count.head.len())
                    .min(map.len());
                count.head.extend(map.iter().take(missing));
                let Some(bytes) = count.renumbered(&map) else {
                    drop(map);
                    // A header from the middle of the stream does not belong in this file.
                    return match count.samples {
                        0 => gst::PadProbeReturn::Ok,
                        // The encoder rewrites its own header at the end.
                        _ if counted.is_bare && !counted.has_begun() => gst::PadProbeReturn::Ok,
                        _ => leave_out(info),
                    };
                };
                if !counted.has_begun() {
                    return gst::PadProbeReturn::Ok;
                }
                drop(map);
                let mut renumbered = gst::Buffer::from_mut_slice(bytes);
                let what = gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS;
                if let Some(fields) = renumbered.get_mut() {
                    let _ = buffer.copy_into(fields, what, ..);
                    count.place(fields);
                }
                *buffer = renumbered;
            }
            Some(gst::PadProbeData::Event(event))
                if event.type_() == gst::EventType::Eos
                    && counted.is_bare
                    && counted.has_begun() =>
            {
                let total = std::mem::take(&mut *lock(&count)).total();
                // This pad is EOS already, its peer is not.
                if let (Some(total), Some(next)) = (total, pad.peer()) {
                    let mut segment = gst::FormattedSegment::<gst::format::Bytes>::new();
                    segment.set_start(gst::format::Bytes::from_u64(TOTAL_AT as u64));
                    next.send_event(gst::event::Segment::new(&segment));
                    // Without it, the file only lacks its total length.
                    let _ = next.chain(gst::Buffer::from_mut_slice(total));
                }
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_stay_in_order() {
        gst::init().unwrap();
        let ms = gst::ClockTime::from_mseconds;
        let mut count = Count::default();
        for (pts, length, due) in [(1_728, 96, 1_728), (1_822, 96, 1_822), (1_344, 80, 1_918)] {
            let mut frame = gst::Buffer::new();
            let fields = frame.get_mut().unwrap();
            fields.set_pts(ms(pts));
            fields.set_duration(ms(length));
            count.place(fields);
            assert_eq!(frame.pts(), Some(ms(due)));
        }
    }

    #[test]
    fn other_bytes_than_frames_are_unchanged() {
        let mut count = Count::default();
        for bytes in [
            &b"fLaC"[..],
            &[],
            &[0xff, 0xf8],
            &[0xff, 0xf8, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert_eq!(count.renumbered(bytes), None, "{bytes:?}");
        }
        // Truncated anywhere in the header.
        let whole = [0xff, 0xf9, 0x7d, 0, 0xc2, 0x80, 1, 2, 3, 4, 5, 6, 7];
        for end in 0..12 {
            assert_eq!(count.renumbered(&whole[..end]), None, "{end}");
        }
        assert_eq!(count.frames, 0);
        assert!(count.renumbered(&whole).is_some());
        assert_eq!((count.frames, count.samples), (1, 0x0102 + 1));
    }
}
