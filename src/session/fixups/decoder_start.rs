//! Aligns a decoder's output to its first packet.
//!
//! Vorbis and AAC decoders output nothing for their first packet, and Opus decoders drop its start. Where the file has
//! no timestamps (WAV, FLAC, MP3), all audio after it would be too early, so silence fills the gap.

use super::encoder_drain::silence;
use crate::session::probe::probe;
use gst::prelude::*;

/// Maximum length to fill: a larger gap is in the stream itself.
const LONGEST: gst::ClockTime = gst::ClockTime::from_seconds(1);
/// Minimum length to fill, since timestamps are rounded.
const SHORTEST: gst::ClockTime = gst::ClockTime::from_mseconds(1);

/// Pushes silence from `from` on before the first audio buffer on `pad`.
pub fn fill(pad: &gst::Pad, from: gst::ClockTime) {
    probe(pad, gst::PadProbeType::BUFFER, move |pad, info| {
        let pts = info.buffer().and_then(|buffer| buffer.pts());
        let missing = pts.map_or(gst::ClockTime::ZERO, |pts| pts.saturating_sub(from));
        let rate = || pad.current_caps()?.structure(0)?.get::<i32>("rate").ok();
        if (SHORTEST..=LONGEST).contains(&missing)
            && let Some(rate) = rate().and_then(|rate| u64::try_from(rate).ok())
            && let Some(samples) = rate.mul_div_round(missing.nseconds(), 1_000_000_000)
            && let Some(silence) = silence(pad, from, samples)
        {
            // On failure, the next buffer fails as well.
            let _ = pad.chain(silence);
        }
        gst::PadProbeReturn::Remove
    });
}
