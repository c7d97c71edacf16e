//! What players of HDR are told of the display on which pictures were graded, and of how bright they are: SMPTE ST 2086 and
//! CTA-861.3, as containers write it.

use gst_video::{
    VideoColorimetry, VideoContentLightLevel, VideoMasteringDisplayInfo, VideoTransferFunction,
};

/// Whether pictures are PQ or HLG.
pub fn is_hdr(colorimetry: &VideoColorimetry) -> bool {
    matches!(
        colorimetry.transfer(),
        VideoTransferFunction::Smpte2084 | VideoTransferFunction::AribStdB67
    )
}

/// Whether caps say that pictures are neither PQ nor HLG.
fn is_sdr(caps: &gst::CapsRef) -> bool {
    let colorimetry = caps
        .structure(0)
        .and_then(|s| s.get::<&str>("colorimetry").ok());
    let colorimetry = colorimetry.and_then(|text| text.parse::<VideoColorimetry>().ok());
    colorimetry.is_some_and(|colorimetry| !is_hdr(&colorimetry))
}

/// Steps of a chromaticity coordinate from 0 to 1.
const CHROMATICITY: f64 = 50_000.0;
/// Steps of a candela per square metre.
const LUMINANCE: f64 = 10_000.0;

/// See the module. Caps have it in whole steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HdrMetadata {
    mastering: Option<MasteringDisplay>,
    light: Option<ContentLight>,
}

/// The display on which pictures were graded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MasteringDisplay {
    /// x and y of red, green, blue and white.
    pub points: [(u16, u16); 4],
    pub max_luminance: u32,
    pub min_luminance: u32,
}

/// How bright pictures are, in candelas per square metre.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentLight {
    /// The brightest pixel.
    pub max: u16,
    /// The brightest picture, on average.
    pub max_average: u16,
}

impl HdrMetadata {
    /// What caps tell; nothing where pictures have been converted to what is no HDR.
    pub fn of_caps(caps: &gst::CapsRef) -> Self {
        if is_sdr(caps) {
            return Self::default();
        }
        let mastering = VideoMasteringDisplayInfo::from_caps(caps).ok();
        let light = VideoContentLightLevel::from_caps(caps).ok();
        let steps = |value: f32| (f64::from(value) * CHROMATICITY).round() as u16;
        let mastering = mastering.map(|display| {
            let [red, green, blue] = display.display_primaries();
            let points = [red, green, blue, display.white_point()];
            MasteringDisplay {
                points: points.map(|point| (steps(point.x()), steps(point.y()))),
                max_luminance: display.max_display_mastering_luminance(),
                min_luminance: display.min_display_mastering_luminance(),
            }
        });
        let light = light.map(|light| ContentLight {
            max: light.max_content_light_level(),
            max_average: light.max_frame_average_light_level(),
        });
        HdrMetadata { mastering, light }
    }

    /// Caps of SDR without what they tell of HDR; `None` where they tell nothing.
    pub fn without_stray(caps: &gst::CapsRef) -> Option<gst::Caps> {
        const FIELDS: [&str; 2] = ["mastering-display-info", "content-light-level"];
        let structure = caps.structure(0)?;
        if !is_sdr(caps) || !FIELDS.iter().any(|field| structure.has_field(*field)) {
            return None;
        }
        let mut caps = caps.to_owned();
        caps.make_mut().structure_mut(0)?.remove_fields(FIELDS);
        Some(caps)
    }

    pub fn mastering(&self) -> Option<MasteringDisplay> {
        self.mastering
    }

    pub fn light(&self) -> Option<ContentLight> {
        self.light
    }
}

impl MasteringDisplay {
    /// The content of an `mdcv` box (ISO 14496-12, 12.1.8).
    pub fn mdcv(&self) -> Vec<u8> {
        let [red, green, blue, white] = self.points;
        let points = [green, blue, red, white]
            .into_iter()
            .flat_map(|(x, y)| [x, y]);
        let mut content: Vec<u8> = points.flat_map(u16::to_be_bytes).collect();
        content.extend(self.max_luminance.to_be_bytes());
        content.extend(self.min_luminance.to_be_bytes());
        content
    }

    /// Coordinates of red, green, blue and white, and the greatest and the least luminance in candelas per square metre: in the
    /// order of Matroska's `MasteringMetadata` (RFC 9559, 5.1.4.1.28.30).
    pub fn values(&self) -> [f64; 10] {
        let [red, green, blue, white] = self.points;
        let at = |steps: u16| f64::from(steps) / CHROMATICITY;
        let luminance = |steps: u32| f64::from(steps) / LUMINANCE;
        [
            at(red.0),
            at(red.1),
            at(green.0),
            at(green.1),
            at(blue.0),
            at(blue.1),
            at(white.0),
            at(white.1),
            luminance(self.max_luminance),
            luminance(self.min_luminance),
        ]
    }
}

impl ContentLight {
    /// The content of a `clli` box (ISO 14496-12, 12.1.9).
    pub fn clli(&self) -> Vec<u8> {
        [self.max.to_be_bytes(), self.max_average.to_be_bytes()].concat()
    }
}
