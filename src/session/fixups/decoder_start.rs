//! What a decoder gives begins where its packets do.
//!
//! Decoders of Vorbis and AAC give nothing for their first packet, and those of Opus leave out its beginning. Where the file
//! has no stamps (WAV, FLAC, MP3), all that follows would be heard too early: silence stands there.

use super::encoder_drain::silence;
use crate::session::probe::probe;
use gst::prelude::*;

/// No more is filled: stamps that are further off are a stream's own.
const LONGEST: gst::ClockTime = gst::ClockTime::from_seconds(1);
/// Stamps are rounded.
const SHORTEST: gst::ClockTime = gst::ClockTime::from_mseconds(1);

/// Puts silence in front of the first audio that comes to `pad`, back to `from`.
pub fn fill(pad: &gst::Pad, from: gst::ClockTime) {
    probe(pad, gst::PadProbeType::BUFFER, move |pad, info| {
        let pts = info.buffer().and_then(|buffer| buffer.pts());
        let missing = pts.map_or(gst::ClockTime::ZERO, |pts| pts.saturating_sub(from));
        let rate = || pad.current_caps()?.structure(0)?.get::<i32>("rate").ok();
        if (SHORTEST..=LONGEST).contains(&missing)
            && let Some(rate) = rate().and_then(|rate| u64::try_from(rate).ok())
            && let Some(samples) = rate.mul_div_round(missing.nseconds(), 1_000_000_000)
            && let Some((silence, _)) = silence(pad, from, samples)
        {
            // A failure shows with the next buffer.
            let _ = pad.chain(silence);
        }
        gst::PadProbeReturn::Remove
    });
}
