//! What an encoder's caps say and its container must not hear, or the encoder itself.

use crate::session::{probe::on_caps, timing::lock};
use gst::prelude::*;
use std::sync::{Arc, Mutex};

/// Shows an encoder another frame rate than there is, by `shown`, and the true one to what follows.
pub fn show_frame_rate(
    encoder: &gst::Element,
    shown: impl Fn(gst::Fraction) -> gst::Fraction + Send + Sync + 'static,
) {
    let (Some(sink), Some(src)) = (encoder.static_pad("sink"), encoder.static_pad("src")) else {
        return;
    };
    let there = Arc::new(Mutex::new(None::<gst::Fraction>));
    let hidden = there.clone();
    on_caps(&sink, move |caps| {
        let rate = caps.structure(0)?.get("framerate").ok()?;
        *lock(&hidden) = Some(rate);
        with_frame_rate(caps, shown(rate))
    });
    on_caps(&src, move |caps| with_frame_rate(caps, (*lock(&there))?));
}

fn with_frame_rate(caps: &gst::CapsRef, rate: gst::Fraction) -> Option<gst::Caps> {
    let mut caps = caps.to_owned();
    caps.make_mut().set("framerate", rate);
    Some(caps)
}

/// Keeps from the muxer that the level of H.264 has changed, which openh264enc lets happen with a new bit rate:
/// containers take no other header, and pictures do not depend on it.
pub fn keep_level(pad: &gst::Pad) {
    let first = Mutex::new(None::<gst::Caps>);
    on_caps(pad, move |caps| {
        let mut first = lock(&first);
        let Some(first) = &*first else {
            *first = Some(caps.to_owned());
            return None;
        };
        let same = without_level(first)? == without_level(caps)?;
        same.then(|| first.clone())
    });
}

/// The same caps with level 0 in `avcC` (ISO 14496-15, 5.3.3.1) and in its first sequence parameter set.
fn without_level(caps: &gst::CapsRef) -> Option<gst::Caps> {
    const LEVEL: usize = 3;
    /// Behind the set's length; its own first byte is the NAL unit's header.
    const SET_LEVEL: usize = 8 + LEVEL;
    let mut caps = caps.to_owned();
    let structure = caps.make_mut().structure_mut(0)?;
    let header = structure.get::<gst::Buffer>("codec_data").ok()?;
    let mut header = header.map_readable().ok()?.to_vec();
    for place in [LEVEL, SET_LEVEL] {
        *header.get_mut(place)? = 0;
    }
    structure.set("codec_data", gst::Buffer::from_mut_slice(header));
    structure.remove_field("level");
    Some(caps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_level_may_differ() {
        gst::init().unwrap();
        let caps = |level: &str, byte: u8, rest: u8| {
            let header = [
                1, 0x42, 0xc0, byte, 0xff, 0xe1, 0, 5, 0x67, 0x42, 0xc0, byte, rest, 1, 0, 1, 0x68,
            ];
            gst::Caps::builder("video/x-h264")
                .field("level", level)
                .field("codec_data", gst::Buffer::from_slice(header))
                .build()
        };
        let plain = without_level(&caps("3", 30, 0x8c));
        assert!(plain.is_some());
        assert_eq!(plain, without_level(&caps("5.1", 51, 0x8c)));
        assert_ne!(plain, without_level(&caps("3", 30, 0x8d)));
        assert_eq!(
            without_level(&gst::Caps::new_empty_simple("video/x-h264")),
            None
        );
    }
}
