//! How many samples late each encoder is.

use crate::model::{Codec, Container};

/// Where in an Opus header the pre-skip is, in little endian (RFC 7845, 5.1).
pub const OPUS_PRE_SKIP: std::ops::Range<usize> = 10..12;

/// Samples of Opus, which counts at 48 kHz, in nanoseconds.
pub fn opus_length(samples: u64) -> u64 {
    samples.saturating_mul(1_000_000) / 48
}

/// How the encoder delay of a track is signalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delay {
    /// Where their stamps say.
    #[default]
    None,
    /// So many samples, which the container has to signal.
    Samples(u32),
    /// Later by Opus' own pre-skip, in samples at 48 kHz; 0 until the track's caps are known.
    PreSkip(u16),
}

/// Samples between the input of an encoder and the output of a decoder that knows
/// nothing of the encoder, as measured; 0 for those that account for it themselves.
pub fn encoder_delay(factory: &str) -> u32 {
    match factory {
        "voaacenc" => 1_600,
        "avenc_aac" => 1_024,
        // As its library documents it.
        "fdkaacenc" => 2_048,
        // Encoder and decoder together.
        "lamemp3enc" => 1_105,
        _ => 0,
    }
}

/// What a container has to signal for a track that `factory` encodes, or that is copied.
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
