//! Corrects colorimetry that codecs, containers and converters get wrong.
//!
//! - Chromium plays a file as limited range if primaries or transfer function are unknown, and vp9enc
//!   writes no matrix in that case.
//! - videoconvert 1.22 does not convert full to limited range if the matrix stays the same.
//! - qtdemux 1.22 reads full range from a `colr` box as limited range.

use crate::session::{
    pipeline::make,
    probe::{change_caps, on_caps, probe},
};
use crate::{formats, model::Error};
use gst::prelude::*;
use gst_video::{
    VideoColorMatrix as Matrix, VideoColorPrimaries as Primaries, VideoColorRange as Range,
    VideoColorimetry, VideoTransferFunction as Transfer,
};

/// Completes the colorimetry in raw video caps with the values that usually accompany its matrix.
pub fn complete(pad: &gst::Pad) {
    on_caps(pad, |caps| {
        let caps = caps.to_owned();
        let given = formats::video_info(&caps)?.colorimetry();
        let whole = completed(&given);
        (whole != given).then(|| with_colorimetry(caps, &whole))
    });
}

fn with_colorimetry(mut caps: gst::Caps, colorimetry: &VideoColorimetry) -> gst::Caps {
    caps.make_mut().set("colorimetry", colorimetry.to_string());
    caps
}

/// The colorimetry with unknown primaries and transfer function set to those usual for its matrix.
fn completed(given: &VideoColorimetry) -> VideoColorimetry {
    let usual = match (given.matrix(), given.range()) {
        (Matrix::Bt709, _) => (Primaries::Bt709, Transfer::Bt709),
        // JFIF: the matrix of BT.601 over sRGB's primaries.
        (Matrix::Bt601, Range::Range0_255) => (Primaries::Bt709, Transfer::Srgb),
        (Matrix::Bt601, _) => (Primaries::Smpte170m, Transfer::Bt601),
        (Matrix::Bt2020, _) => (Primaries::Bt2020, Transfer::Bt202012),
        _ => return *given,
    };
    let primaries = match given.primaries() {
        Primaries::Unknown => usual.0,
        known => known,
    };
    let transfer = match given.transfer() {
        Transfer::Unknown => usual.1,
        known => known,
    };
    VideoColorimetry::new(given.range(), given.matrix(), transfer, primaries)
}

/// A converter from full range, and a capsfilter that forces RGB between it and the conversion to limited range.
pub fn range_converter(track: &str) -> Result<[gst::Element; 2], Error> {
    let converter = make("videoconvert", &format!("{track}-range"))?;
    let filter = make("capsfilter", &format!("{track}-range-filter"))?;
    let Some(pad) = converter.static_pad("sink") else {
        return Ok([converter, filter]);
    };
    let to_set = filter.downgrade();
    // Set the filter before the converter negotiates.
    on_caps(&pad, move |caps| {
        let info = formats::video_info(caps)?;
        let colorimetry = info.colorimetry();
        let is_full =
            colorimetry.range() == Range::Range0_255 && colorimetry.matrix() != Matrix::Rgb;
        let allowed = if is_full {
            gst::Caps::builder("video/x-raw")
                .field("format", if info.has_alpha() { "BGRA" } else { "BGRx" })
                .build()
        } else {
            gst::Caps::new_any()
        };
        if let Some(filter) = to_set.upgrade() {
            filter.set_property("caps", allowed);
        }
        None
    });
    Ok([converter, filter])
}

/// Removes full-range colorimetry from mp4mux's caps, and so from the `colr` box. H.264 and H.265 parameter sets signal
/// it, and are read correctly.
pub fn keep_full_range_from_colr(mux_pad: &gst::Pad) {
    probe(mux_pad, gst::PadProbeType::EVENT_DOWNSTREAM, |_, info| {
        change_caps(info, |caps| {
            let structure = caps.structure(0)?;
            let colorimetry = structure.get::<&str>("colorimetry").ok()?;
            let colorimetry = colorimetry.parse::<VideoColorimetry>().ok()?;
            if colorimetry.range() != Range::Range0_255 {
                return None;
            }
            let mut caps = caps.to_owned();
            caps.make_mut()
                .structure_mut(0)?
                .remove_field("colorimetry");
            Some(caps)
        });
        gst::PadProbeReturn::Ok
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_colorimetry_follows_from_the_matrix() {
        gst::init().unwrap();
        for (given, whole) in [
            ("1:4:0:0", "1:4:7:1"),
            ("2:4:0:0", "2:4:16:4"),
            ("2:3:0:0", "2:3:5:1"),
            ("2:6:0:7", "2:6:11:7"),
            ("1:4:5:1", "1:4:5:1"),
            ("1:1:7:1", "1:1:7:1"),
            ("2:0:0:0", "2:0:0:0"),
        ] {
            let colorimetry = given.parse::<VideoColorimetry>().unwrap();
            let wanted = whole.parse::<VideoColorimetry>().unwrap();
            assert_eq!(completed(&colorimetry), wanted, "{given}");
        }
    }
}
