//! Packets of encoded audio that decode to silence, to fill gaps.
//!
//! Players that count samples (Chromium) ignore holes in audio timestamps, and play everything after a hole too
//! early. Holes are therefore filled, which also keeps muxers going that wait for each of their tracks.

use super::{
    bits::Bits,
    codec_string::codec_data,
    flac::FlacHeader,
    loas::{AAC_RATES, aac_rate},
    mp3::Mp3Header,
};
use crate::model::timeline::Ns;
use smallvec::{SmallVec, smallvec};

/// Data of a silent Opus frame (CELT's silence flag, RFC 6716, 4.3).
const OPUS_SILENCE: [u8; 2] = [0xff, 0xfe];
/// Fullband CELT configurations, and their samples per frame (RFC 6716, table 2).
const OPUS_FRAMES: [(u8, u32); 4] = [(31, 960), (30, 480), (29, 240), (28, 120)];
const OPUS_RATE: u32 = 48_000;

/// A packet of silence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    pub bytes: Vec<u8>,
    samples: u32,
}

/// Packets of silence for a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// By duration, longest first; never empty.
    packets: SmallVec<[Packet; 4]>,
    /// Samples per second.
    rate: u32,
}

impl Silence {
    /// Silence for a stream with these caps, whose most recent packet is `last`. `None` if it is not supported.
    pub fn of(caps: &gst::StructureRef, last: &[u8]) -> Option<Self> {
        match caps.name().as_str() {
            "audio/x-opus" => opus(caps, last),
            "audio/mpeg" if caps.get::<i32>("mpegversion").ok()? == 1 => {
                let header = Mp3Header::parse(last)?;
                Self::single(header.silence(), header.samples, header.rate)
            }
            "audio/mpeg" => aac(caps, last),
            "audio/x-flac" => flac(last),
            "audio/x-vorbis" => vorbis(caps),
            "audio/x-alaw" => companded(caps, 0xd5),
            "audio/x-mulaw" => companded(caps, 0xff),
            _ => None,
        }
    }

    fn single(bytes: Vec<u8>, samples: u32, rate: u32) -> Option<Self> {
        let packets = smallvec![Packet { bytes, samples }];
        (samples > 0 && rate > 0).then_some(Silence { packets, rate })
    }

    fn samples(&self, length: Ns) -> u64 {
        let samples = u128::from(length) * u128::from(self.rate) / 1_000_000_000;
        u64::try_from(samples).unwrap_or(u64::MAX)
    }

    fn length(&self, samples: u64) -> Ns {
        let length = u128::from(samples) * 1_000_000_000 / u128::from(self.rate);
        Ns::try_from(length).unwrap_or(Ns::MAX)
    }

    /// Duration of the longest packet.
    pub fn longest(&self) -> Ns {
        let first = self.packets.first();
        self.length(first.map_or(0, |packet| packet.samples.into()))
    }

    /// The packets that fill `length`, each with its start within it and its duration: as many as fit, and, if `whole`,
    /// one more if that is nearer to the end.
    pub fn fill(&self, length: Ns, whole: bool) -> impl Iterator<Item = (Ns, Ns, &Packet)> {
        let total = self.samples(length);
        let shortest = self.packets.last().map_or(0, |packet| packet.samples);
        let slack = if whole { u64::from(shortest) / 2 } else { 0 };
        let mut at = 0u64;
        std::iter::from_fn(move || {
            let left = total.saturating_sub(at).saturating_add(slack);
            let mut packets = self.packets.iter();
            let packet = packets.find(|packet| u64::from(packet.samples) <= left)?;
            let begin = self.length(at);
            at += u64::from(packet.samples);
            Some((begin, self.length(at) - begin, packet))
        })
    }
}

fn opus(caps: &gst::StructureRef, last: &[u8]) -> Option<Silence> {
    const STEREO: u8 = 4;
    let number = |field| caps.get::<i32>(field).ok();
    let family = number("channel-mapping-family").unwrap_or(0);
    let streams = match family {
        0 => 1,
        _ => usize::try_from(number("stream-count")?).ok()?,
    };
    let coupled = match family {
        0 => usize::from(last.first()? & STEREO != 0),
        _ => usize::try_from(number("coupled-count")?).ok()?,
    };
    let packets = OPUS_FRAMES.iter().map(|(config, samples)| {
        let mut bytes = Vec::new();
        for stream in 0..streams {
            bytes.push(config << 3 | if stream < coupled { STEREO } else { 0 });
            if stream + 1 < streams {
                // All but the last stream have a length field (RFC 6716, appendix B).
                bytes.push(OPUS_SILENCE.len() as u8);
            }
            bytes.extend(OPUS_SILENCE);
        }
        Packet {
            bytes,
            samples: *samples,
        }
    });
    (1..=255).contains(&streams).then(|| Silence {
        packets: packets.collect(),
        rate: OPUS_RATE,
    })
}

/// Decoder configuration of AAC.
struct AacConfig {
    rate: u32,
    /// Channel configuration (ISO/IEC 14496-3, table 1.19).
    channels: u32,
    samples: u32,
}

impl AacConfig {
    /// Parses an AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1).
    fn parse(config: &[u8]) -> Option<Self> {
        let mut bits = Bits::new(config);
        let mut object = bits.number(5)?;
        let mut rate = aac_rate(&mut bits)?;
        let channels = bits.number(4)?;
        if matches!(object, 5 | 29) {
            // SBR: the core configuration follows.
            let extended = aac_rate(&mut bits)?;
            object = bits.number(5)?;
            rate = rate.min(extended);
        }
        let samples = if bits.number(1)? == 1 { 960 } else { 1_024 };
        // Main, LC, LTP: their syntax elements are the same if they are empty.
        matches!(object, 1 | 2 | 4).then_some(AacConfig {
            rate,
            channels,
            samples,
        })
    }
}

/// Duration of each frame of raw AAC with these caps; depayloaders and aacparse do not set it.
pub fn aac_frame_duration(caps: &gst::StructureRef) -> Option<gst::ClockTime> {
    if caps.name() != "audio/mpeg" || caps.get::<&str>("stream-format").ok()? != "raw" {
        return None;
    }
    let config = AacConfig::parse(&codec_data(caps)?)?;
    let samples = u64::from(config.samples).saturating_mul(1_000_000_000);
    let duration = samples.checked_div(config.rate.into())?;
    Some(gst::ClockTime::from_nseconds(duration))
}

fn aac(caps: &gst::StructureRef, last: &[u8]) -> Option<Silence> {
    match caps.get::<&str>("stream-format").ok()? {
        "raw" => {
            let config = AacConfig::parse(&codec_data(caps)?)?;
            let block = raw_data_block(config.channels)?;
            Silence::single(block, config.samples, config.rate)
        }
        "adts" => {
            const HEADER: usize = 7;
            let [0xff, sync, third, fourth, ..] = last else {
                return None;
            };
            let rate = *AAC_RATES.get(usize::from(third >> 2 & 15))?;
            let block = raw_data_block(u32::from((third & 1) << 2 | fourth >> 6))?;
            let length = u32::try_from(HEADER + block.len()).ok()?;
            // No CRC; 13-bit length; buffer fullness is unspecified.
            let length = [
                (length >> 11) as u8,
                (length >> 3) as u8,
                (length << 5) as u8,
            ];
            let mut frame = vec![
                0xff,
                sync | 1,
                *third,
                fourth & 0xfc | length[0] & 3,
                length[1],
            ];
            frame.extend([length[2] | 0x1f, 0xfc]);
            frame.extend(block);
            Silence::single(frame, 1_024, rate)
        }
        _ => None,
    }
}

/// An AAC raw data block without scale factor bands in any channel (ISO/IEC 14496-3, 4.4.2).
fn raw_data_block(channels: u32) -> Option<Vec<u8>> {
    const SINGLE: u32 = 0;
    const PAIR: u32 = 1;
    const LOW: u32 = 3;
    const END: u32 = 7;
    let elements: &[u32] = match channels {
        1 => &[SINGLE],
        2 => &[PAIR],
        3 => &[SINGLE, PAIR],
        4 => &[SINGLE, PAIR, SINGLE],
        5 => &[SINGLE, PAIR, PAIR],
        6 => &[SINGLE, PAIR, PAIR, LOW],
        7 => &[SINGLE, PAIR, PAIR, PAIR, LOW],
        _ => return None,
    };
    let mut bits = Writer::default();
    let mut tags = [0; 4];
    for element in elements {
        bits.put(*element, 3);
        let tag = tags.get_mut(*element as usize)?;
        bits.put(*tag, 4);
        *tag += 1;
        if *element == PAIR {
            // Common window: long, sine, no bands, no prediction; no M/S; then per channel, global gain and no tools.
            bits.put(1, 1);
            bits.put(0, 11 + 2);
            bits.put(0, 2 * (8 + 3));
        } else {
            bits.put(0, 8 + 11 + 3);
        }
    }
    bits.put(END, 3);
    Some(bits.bytes)
}

/// Writes bits, most significant first.
#[derive(Debug, Default)]
struct Writer {
    bytes: Vec<u8>,
    used: u32,
}

impl Writer {
    fn put(&mut self, value: u32, bits: u32) {
        for bit in (0..bits).rev() {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((value >> bit & 1) as u8) << (7 - self.used % 8);
            }
            self.used += 1;
        }
    }
}

fn flac(last: &[u8]) -> Option<Silence> {
    let header = FlacHeader::read(last)?;
    let samples = u32::try_from(header.samples).ok()?;
    Silence::single(header.silence(last)?, samples, header.rate?)
}

/// A packet of mode 0 without a floor in any channel (Vorbis I, 4.3.2); all known encoders use the short window
/// for it.
fn vorbis(caps: &gst::StructureRef) -> Option<Silence> {
    const RATE: usize = 12;
    const SIZES: usize = 28;
    let headers = caps.get::<gst::Array>("streamheader").ok()?;
    let first = headers.iter().next()?.get::<gst::Buffer>().ok()?;
    let first = first.map_readable().ok()?;
    let rate = u32::from_le_bytes(*first.get(RATE..)?.first_chunk()?);
    let window = 1u32.checked_shl(u32::from(first.get(SIZES)? & 15))?;
    Silence::single(vec![0, 0], window / 2, rate)
}

/// 20 ms of A-law or µ-law, which have one byte per sample.
fn companded(caps: &gst::StructureRef, zero: u8) -> Option<Silence> {
    let number = |field| u32::try_from(caps.get::<i32>(field).ok()?).ok();
    let (rate, channels) = (number("rate")?, number("channels")?);
    let size = usize::try_from((rate / 50).checked_mul(channels)?).ok()?;
    Silence::single(vec![zero; size], rate / 50, rate)
}
