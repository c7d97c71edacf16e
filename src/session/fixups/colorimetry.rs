//! Colours that codecs, containers and converters get wrong by themselves.
//!
//! - Players take a file as limited range where primaries or transfer function are unknown (Chromium), and vp9enc
//!   writes no matrix then.
//! - videoconvert 1.22 does not convert full to limited range where the matrix stays the same.
//! - qtdemux 1.22 reads full range from a `colr` box as limited.

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

/// Fills in what the caps of raw video leave open of its colours, as the rest of them suggests.
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

/// The same with the primaries and the transfer function that usually go with its matrix.
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

/// What full range has to pass on its way to limited range: a converter, and a filter that lets it out as RGB.
pub fn range_converter(track: &str) -> Result<[gst::Element; 2], Error> {
    let converter = make("videoconvert", &format!("{track}-range"))?;
    let filter = make("capsfilter", &format!("{track}-range-filter"))?;
    let Some(pad) = converter.static_pad("sink") else {
        return Ok([converter, filter]);
    };
    let to_set = filter.downgrade();
    // Before the converter negotiates.
    on_caps(&pad, move |caps| {
        let info = formats::video_info(caps)?;
        let colorimetry = info.colorimetry();
        let is_full =
            colorimetry.range() == Range::Range0_255 && colorimetry.matrix() != Matrix::Rgb;
        let allowed = match is_full {
            true => gst::Caps::builder("video/x-raw")
                .field("format", if info.has_alpha() { "BGRA" } else { "BGRx" })
                .build(),
            false => gst::Caps::new_any(),
        };
        if let Some(filter) = to_set.upgrade() {
            filter.set_property("caps", allowed);
        }
        None
    });
    Ok([converter, filter])
}

/// Keeps full range out of MP4's `colr` box: the parameter sets of H.264 and H.265 say it, and are read right.
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
    fn what_is_unknown_of_colours_follows_from_the_matrix() {
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
