//! FLAC frames out of the middle of a stream, in a file of their own.
//!
//! Each frame has its number in its header, from which players tell the time (RFC 9639, section 9.1):
//! they are counted anew from the file's beginning, without the pauses. Nothing else of them changes
//! but the checksums. When all are through, the file's head is told how many samples there are.

use crate::session::{
    probe::{leave_out, probe},
    timing::lock,
};
use gst::prelude::*;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

/// Where the head has the samples in the stream: 4 bits of this byte and the next 4 bytes.
const TOTAL_AT: usize = 21;
/// The longest that a number can be.
const LONGEST_NUMBER: usize = 7;

/// Says what comes out of an encoder before it ends with less than a block of sound.
///
/// flacenc says so with the first block that is full, but ends with a segment that comes before it: GStreamer warns of
/// such disorder, and a process may ask to be ended by that. What the encoder says itself comes after.
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
        } else if let Some(gst::EventView::Eos(_)) = info.event().map(|event| event.view())
            && fed.load(Ordering::SeqCst)
            && let Some(src) = src.upgrade().filter(|src| src.current_caps().is_none())
            && let Some(caps) = sink.current_caps().and_then(|caps| encoded(&caps))
        {
            src.push_event(gst::event::Caps::new(&caps));
        }
        gst::PadProbeReturn::Ok
    });
}

/// FLAC of the same rate and channels.
fn encoded(raw: &gst::CapsRef) -> Option<gst::Caps> {
    let raw = raw.structure(0)?;
    let number = |field| raw.get::<i32>(field).ok();
    let caps = gst::Caps::builder("audio/x-flac")
        .field("rate", number("rate")?)
        .field("channels", number("channels")?);
    Some(caps.build())
}

/// What a frame's header says.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    /// Frames are counted in samples, since they are not all of one length.
    by_samples: bool,
    /// Bytes of the number, which are at byte 4.
    number: usize,
    /// Bytes up to the checksum of the header.
    length: usize,
    /// Samples in the frame.
    samples: u64,
}

impl Header {
    fn read(frame: &[u8]) -> Option<Self> {
        let [0xff, sync, sizes, _, first, ..] = frame else {
            return None;
        };
        if sync & 0xfe != 0xf8 {
            return None;
        }
        let number = match first.leading_ones() {
            0 => 1,
            ones @ 2..=7 => ones as usize,
            _ => return None,
        };
        let mut at = 4 + number;
        let mut tail = |bytes: usize| {
            let value = frame.get(at..at + bytes)?;
            at += bytes;
            Some(
                value
                    .iter()
                    .fold(0u64, |all, byte| all << 8 | u64::from(*byte)),
            )
        };
        let samples = match sizes >> 4 {
            0 => return None,
            1 => 192,
            code @ 2..=5 => 576 << (code - 2),
            6 => tail(1)? + 1,
            7 => tail(2)? + 1,
            code => 256 << (code - 8),
        };
        match sizes & 15 {
            12 => tail(1)?,
            13 | 14 => tail(2)?,
            15 => return None,
            _ => 0,
        };
        // Both checksums are there.
        (frame.len() >= at + 3).then_some(Header {
            by_samples: sync & 1 == 1,
            number,
            length: at,
            samples,
        })
    }
}

/// A number as UTF-8 would have it, up to 36 bits.
fn coded(number: u64) -> Vec<u8> {
    if number < 0x80 {
        return vec![number as u8];
    }
    let bits = (64 - number.leading_zeros() as usize).min(36);
    // Each further byte holds 6 bits, and the first has one less for each.
    let more = (1..LONGEST_NUMBER)
        .find(|more| 6 * more + 6 - more >= bits)
        .unwrap_or(6);
    let mark = 0xffu8 << (7 - more);
    let part = |n: usize| (number >> (6 * n)) as u8;
    // Of seven bytes the first is all mark.
    let first = if more == 6 { mark } else { mark | part(more) };
    let rest = (0..more).rev().map(|n| 0x80 | part(n) & 0x3f);
    std::iter::once(first).chain(rest).collect()
}

fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc, _| {
            crc << 1 ^ if crc & 0x80 == 0 { 0 } else { 0x07 }
        })
    })
}

fn crc16(bytes: &[u8]) -> u16 {
    // Half a byte at a time, which is enough for what sound there can be.
    const TABLE: [u16; 16] = {
        let mut table = [0; 16];
        let mut n = 0;
        while n < 16 {
            let mut crc = (n as u16) << 12;
            let mut bit = 0;
            while bit < 4 {
                crc = (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x8005 };
                bit += 1;
            }
            table[n] = crc;
            n += 1;
        }
        table
    };
    let step = |crc: u16, half: u8| {
        let place = usize::from((crc >> 12) as u8 ^ half) & 15;
        crc << 4 ^ TABLE.get(place).copied().unwrap_or(0)
    };
    bytes
        .iter()
        .fold(0, |crc, byte| step(step(crc, byte >> 4), byte & 15))
}

/// Frames so far, and samples in them.
#[derive(Debug, Default)]
struct Count {
    frames: u64,
    samples: u64,
    /// The file's first bytes.
    head: Vec<u8>,
}

/// Which frames are counted anew.
#[derive(Debug, Clone)]
pub struct Counted {
    /// Those from when this is set, or all: decoders make up silence for numbers that are left out where other frames have
    /// been put among those of one stream.
    pub from: Option<Arc<AtomicBool>>,
    /// Whether the file tells its time by them, and by the samples that its head names.
    pub is_bare: bool,
}

impl Counted {
    fn has_begun(&self) -> bool {
        let from = self.from.as_ref();
        from.is_none_or(|from| from.load(Ordering::SeqCst))
    }
}

impl Count {
    /// The frame with the number that it has here; `None` for what is no frame.
    fn renumbered(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let header = Header::read(frame)?;
        let number = match header.by_samples {
            true => self.samples,
            false => self.frames,
        };
        self.frames += 1;
        self.samples += header.samples;
        let (before, body) = (
            frame.get(..4)?,
            frame.get(header.length + 1..frame.len() - 2)?,
        );
        let sizes = frame.get(4 + header.number..header.length)?;
        let mut bytes = [before, &coded(number), sizes].concat();
        bytes.push(crc8(&bytes));
        bytes.extend_from_slice(body);
        bytes.extend_from_slice(&crc16(&bytes).to_be_bytes());
        Some(bytes)
    }

    /// What the head has to say in the end, where it is.
    fn total(&self) -> Option<[u8; 5]> {
        let [b'f', b'L', b'a', b'C', ..] = *self.head else {
            return None;
        };
        let kept = self.head.get(TOTAL_AT)? & 0xf0;
        let [_, _, _, high, a, b, c, d] = self.samples.to_be_bytes();
        (self.samples < 1 << 36).then_some([kept | high & 0x0f, a, b, c, d])
    }
}

/// Numbers the frames that leave `pad` from 0 on.
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
                    // The head of what goes on here is none of this file's.
                    return match count.samples {
                        0 => gst::PadProbeReturn::Ok,
                        // An encoder that completes the head that it has written.
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
                }
                *buffer = renumbered;
            }
            Some(gst::PadProbeData::Event(event))
                if event.type_() == gst::EventType::Eos
                    && counted.is_bare
                    && counted.has_begun() =>
            {
                let total = std::mem::take(&mut *lock(&count)).total();
                // This pad has ended by now, what comes after it has not.
                if let (Some(total), Some(next)) = (total, pad.peer()) {
                    let mut segment = gst::FormattedSegment::<gst::format::Bytes>::new();
                    segment.set_start(gst::format::Bytes::from_u64(TOTAL_AT as u64));
                    next.send_event(gst::event::Segment::new(&segment));
                    // If it is not taken, the file lacks its length and nothing else.
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
    fn numbers_are_coded_as_utf8_would() {
        for number in [0, 0x7f, 0x80, 0x7ff, 0x800, 0xffff, 0x1_0000, 0x10_ffff] {
            let mut bytes = [0; 4];
            // What UTF-8 itself leaves out is not asked.
            let text = char::from_u32(number).unwrap().encode_utf8(&mut bytes);
            assert_eq!(coded(number.into()), text.as_bytes(), "{number:x}");
        }
        assert_eq!(coded((1 << 31) - 1), [0xfd, 0xbf, 0xbf, 0xbf, 0xbf, 0xbf]);
        assert_eq!(coded(1 << 31), [0xfe, 0x82, 0x80, 0x80, 0x80, 0x80, 0x80]);
        assert_eq!(
            coded((1 << 36) - 1),
            [0xfe, 0xbf, 0xbf, 0xbf, 0xbf, 0xbf, 0xbf]
        );
    }

    #[test]
    fn checksums_are_those_of_the_catalogue() {
        // CRC-8/SMBUS and CRC-16/UMTS of "123456789".
        assert_eq!(crc8(b"123456789"), 0xf4);
        assert_eq!(crc16(b"123456789"), 0xfee8);
    }

    #[test]
    fn what_is_no_frame_is_left_alone() {
        let mut count = Count::default();
        for bytes in [
            &b"fLaC"[..],
            &[],
            &[0xff, 0xf8],
            &[0xff, 0xf8, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert_eq!(count.renumbered(bytes), None, "{bytes:?}");
        }
        // Cut off in the header, wherever that is.
        let whole = [0xff, 0xf9, 0x7d, 0, 0xc2, 0x80, 1, 2, 3, 4, 5, 6, 7];
        for end in 0..12 {
            assert_eq!(count.renumbered(&whole[..end]), None, "{end}");
        }
        assert_eq!(count.frames, 0);
        assert!(count.renumbered(&whole).is_some());
        assert_eq!((count.frames, count.samples), (1, 0x0102 + 1));
    }
}
