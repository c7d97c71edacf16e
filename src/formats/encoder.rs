//! Encoder configuration: one row per encoder, for its bit rate and for sufficient speed with live input.

mod key_request;
mod properties;
mod rows;
mod tuning;

pub(super) use properties::set;
pub use {key_request::key_request, tuning::Tuning};

use crate::model::Codec;
use gst::prelude::*;
use properties::set_number;
use rows::{ROWS, Rate, V4L2, row};
use tuning::USUAL_FPS;

/// Whether this is a known software encoder.
pub fn needs_no_hardware(name: &str) -> bool {
    ROWS.iter().any(|row| row.name == name)
}

/// Whether an encoder with this name outputs frames in presentation order: all encoders in the table do; for unknown
/// H.264 or H.265 encoders it is not certain.
pub fn keeps_order(codec: Codec, name: &str) -> bool {
    !matches!(codec, Codec::H264 | Codec::H265) || rows::is_known(name)
}

/// Whether an encoder with this name supports interlaced video.
pub fn encodes_interlaced(name: &str) -> bool {
    rows::row_of(name).is_some_and(|row| row.interlaced.is_some())
}

/// The frame rate to set in the input caps of an encoder with this name, if the real one causes problems.
///
/// av1enc up to GStreamer 1.22 rounds timestamps down to whole frames: two frames get the same one, and libaom produces
/// twice the bit rate, assuming twice the frame rate. With a variable rate in the caps, its timebase is 90 kHz.
/// x265enc does not start with a variable rate.
pub fn shown_rate(name: &str) -> Option<fn(gst::Fraction) -> gst::Fraction> {
    match name {
        "av1enc" => Some(|_| gst::Fraction::new(0, 1)),
        "x265enc" => Some(|rate| match rate.numer() {
            0 => gst::Fraction::new(USUAL_FPS as i32, 1),
            _ => rate,
        }),
        _ => None,
    }
}

/// Configures an encoder that has not been started for `tuning`, as far as it has the properties.
/// An unknown encoder keeps its defaults except for bit rate and keyframe interval.
pub fn tune(encoder: &gst::Element, tuning: &Tuning) {
    if let Some(row) = row(encoder) {
        for (property, value) in row.fixed {
            set(encoder, property, value);
        }
        let mode = if tuning.constant {
            row.constant
        } else {
            row.variable
        };
        for (property, value) in mode {
            set(encoder, property, value);
        }
        if let (true, Some(property)) = (tuning.interlaced, row.interlaced) {
            set(encoder, property, "true");
        }
        for property in row.spinning_threads {
            set_number(encoder, property, tuning.spinning_threads());
        }
        for property in row.threads {
            set_number(encoder, property, tuning.threads());
        }
        if let Some(speed) = &row.speed {
            let load = tuning.load();
            let step = speed.steps.iter().find(|(most, _)| load <= *most);
            if let Some((_, value)) = step.or(speed.steps.last()) {
                set(encoder, speed.property, value);
            }
        }
    }
    let key: &[&str] = match row(encoder) {
        Some(row) => row.key,
        None => &[
            "key-int-max",
            "gop-size",
            "keyframe-max-dist",
            "keyframe-period",
            "max-keyframe-interval",
        ],
    };
    for property in key {
        set_number(encoder, property, tuning.key_frames().into());
    }
    if row(encoder).is_some_and(|row| row.rate.property == V4L2) {
        set_control(encoder, "video_gop_size", tuning.key_frames());
    }
    set_rate(encoder, tuning.bits_per_second, Some(tuning));
}

/// Sets the bit rate of an encoder, before it is started or, if it supports that, while it is running. The rate is
/// clamped to its range.
pub fn set_bits_per_second(encoder: &gst::Element, bits_per_second: u32) {
    set_rate(encoder, bits_per_second, None);
}

fn set_rate(encoder: &gst::Element, bits_per_second: u32, tuning: Option<&Tuning>) {
    let Some(rate) = row(encoder).map(|row| row.rate).or_else(|| guess(encoder)) else {
        return;
    };
    let mut bits_per_second = bits_per_second.clamp(rate.least, rate.most);
    match rate.property {
        "" => return,
        V4L2 => return set_control(encoder, "video_bitrate", bits_per_second),
        _ => (),
    }
    if let Some(factory) = encoder.factory() {
        bits_per_second = match factory.name().as_str() {
            "vorbisenc" => match vorbis_rate(bits_per_second, tuning) {
                Some(bits_per_second) => bits_per_second,
                None => return,
            },
            "lamemp3enc" => mp3_rate(bits_per_second, tuning),
            _ => bits_per_second,
        };
    }
    let units = bits_per_second.saturating_add(rate.unit / 2) / rate.unit;
    set_number(encoder, rate.property, units.max(1).into());
}

/// libvorbis does not start with a bit rate for which it has no mode: returns the nearest supported one, or `None` if
/// this format only supports quality settings. The rate is only read at start.
fn vorbis_rate(bits_per_second: u32, tuning: Option<&Tuning>) -> Option<u32> {
    /// Maximum of vorbisenc's property.
    const MAX_BITRATE: u32 = 250_000;
    let tuning = tuning?;
    // Per channel: mono, stereo, more channels.
    let ([mono, pair, group], most) = match tuning.rate {
        0..9_000 => ([8_000, 6_000, 8_000], 40_000),
        9_000..15_000 => ([12_000, 8_000, 12_000], 48_000),
        15_000..19_000 => ([16_000, 12_000, 16_000], 96_000),
        19_000..26_000 => ([16_000, 16_000, 16_000], 80_000),
        26_000..40_000 => ([32_000, 20_000, 32_000], 160_000),
        40_000..=50_000 if tuning.channels == 6 => ([32_000, 24_000, 16_000], 240_000),
        40_000..=50_000 => ([32_000, 24_000, 32_000], 240_000),
        _ => return None,
    };
    let channels = tuning.channels.clamp(1, 255);
    let least = match channels {
        1 => mono,
        2 => pair,
        _ => group,
    };
    let (least, most) = (least * channels, MAX_BITRATE.min(most * channels));
    (least <= most).then(|| bits_per_second.clamp(least, most))
}

/// The nearest bit rate of layer III; constant rates have to be one of these.
fn mp3_rate(bits_per_second: u32, tuning: Option<&Tuning>) -> u32 {
    const MPEG1: [u32; 14] = [
        32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320,
    ];
    const MPEG2: [u32; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let low = tuning.is_some_and(|tuning| (1..32_000).contains(&tuning.rate));
    let rates = if low { MPEG2 } else { MPEG1 };
    let nearest = rates
        .iter()
        .map(|kilobits| kilobits * 1_000)
        .min_by_key(|rate| rate.abs_diff(bits_per_second));
    nearest.unwrap_or(bits_per_second)
}

/// The bit-rate property of an encoder without a row, with the unit guessed from its blurb.
fn guess(encoder: &gst::Element) -> Option<Rate> {
    let names = ["bitrate", "target-bitrate"];
    names.into_iter().find_map(|property| {
        let blurb = encoder.find_property(property)?;
        let blurb = blurb.blurb().unwrap_or_default().to_ascii_lowercase();
        let kilo = ["kbit", "kbps", "kb/s", "kilobit"];
        let unit = if kilo.iter().any(|kilo| blurb.contains(kilo)) {
            1_000
        } else {
            1
        };
        Some(Rate::of(property, unit))
    })
}

fn set_control(encoder: &gst::Element, control: &str, value: u32) {
    let Some(pspec) = encoder.find_property(V4L2) else {
        return;
    };
    if pspec.value_type() != gst::Structure::static_type() {
        return;
    }
    let mut controls = encoder
        .property::<Option<gst::Structure>>(V4L2)
        .unwrap_or_else(|| gst::Structure::new_empty("controls"));
    controls.set(control, i32::try_from(value).unwrap_or(i32::MAX));
    encoder.set_property(V4L2, controls);
}
