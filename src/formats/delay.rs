//! Encoder delay per encoder.

use crate::model::{Codec, Container};

/// Bytes of the pre-skip in OpusHead, little endian (RFC 7845, 5.1).
pub const OPUS_PRE_SKIP: std::ops::Range<usize> = 10..12;

/// Samples beyond its delay that push the last ones out of an encoder: it may hold back one and a half packets.
pub const DRAIN: u32 = 2 * 1_152;

/// Duration of Opus samples (at 48 kHz) in nanoseconds.
pub fn opus_length(samples: u64) -> u64 {
    samples.saturating_mul(1_000_000) / 48
}

/// How much earlier audio most encoders get that need it to settle, in nanoseconds.
pub const PREROLL: u64 = 200_000_000;

/// The most earlier audio that any encoder gets.
pub const MAX_PREROLL: u64 = 2_000_000_000;

/// How much earlier audio this encoder gets if it needs that to settle, in nanoseconds.
pub fn preroll(factory: &str) -> u64 {
    match factory {
        // Its rate control begins coarsely: on noise, with 5 dB more error than later, 4 dB after 200 ms, and 0.4 dB
        // after 2 s.
        "avenc_aac" => MAX_PREROLL,
        _ => PREROLL,
    }
}

/// What an encoder needs from beyond its part, so that the part sounds there as it does elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seam {
    /// Samples of a packet, if audio from before the part has to precede it: whole packets of it, which a decoder can
    /// do without.
    pub before: u32,
    /// How much of it, in nanoseconds.
    pub preroll: u64,
    /// Samples from after the part's end.
    pub after: u32,
}

/// What this encoder needs from beyond its part. Lossless codecs need nothing.
pub fn seam(codec: Codec, factory: Option<&str>) -> Seam {
    let delay = factory.map_or(0, encoder_delay);
    match codec {
        // The longest packet, and the lookahead.
        Codec::Opus => Seam {
            after: 4_800,
            ..Seam::default()
        },
        // Two long blocks.
        Codec::Vorbis => Seam {
            after: 4_096,
            ..Seam::default()
        },
        Codec::Aac => Seam {
            before: 1_024,
            preroll: factory.map_or(PREROLL, preroll),
            after: delay + DRAIN,
        },
        Codec::Mp3 => Seam {
            after: delay + DRAIN,
            ..Seam::default()
        },
        _ => Seam::default(),
    }
}

/// How the encoder delay of a track is signalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delay {
    /// Timestamps account for it.
    #[default]
    None,
    /// The container has to signal this many samples.
    Samples(u32),
    /// Opus pre-skip, in samples at 48 kHz; 0 until the caps of the track are known.
    PreSkip(u16),
}

/// Delay in samples from the encoder's input to the output of a decoder that does not
/// compensate for it, as measured; 0 for encoders that compensate for it themselves.
pub fn encoder_delay(factory: &str) -> u32 {
    match factory {
        "voaacenc" => 1_600,
        "avenc_aac" => 1_024,
        // As documented by the library.
        "fdkaacenc" => 2_048,
        // Encoder plus decoder delay.
        "lamemp3enc" => 1_105,
        _ => 0,
    }
}

/// What the container has to signal for a track that is encoded by `factory`, or copied.
pub fn delay(codec: Codec, container: Container, factory: Option<&str>) -> Delay {
    match (codec, container) {
        (Codec::Opus, Container::WebM | Container::Matroska) => Delay::PreSkip(0),
        (Codec::Opus, Container::Mp4) if factory.is_some() => Delay::PreSkip(0),
        (Codec::Aac | Codec::Mp3, Container::Mp4 | Container::Matroska)
        | (Codec::Mp3, Container::Mp3) => match factory.map_or(0, encoder_delay) {
            0 => Delay::None,
            samples => Delay::Samples(samples),
        },
        _ => Delay::None,
    }
}
