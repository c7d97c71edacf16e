//! HDR metadata as stored in containers: mastering display (SMPTE ST 2086) and content light level (CTA-861.3).

use gst_video::{
    VideoColorimetry, VideoContentLightLevel, VideoMasteringDisplayInfo, VideoTransferFunction,
};

/// Whether video is PQ or HLG.
pub fn is_hdr(colorimetry: &VideoColorimetry) -> bool {
    matches!(
        colorimetry.transfer(),
        VideoTransferFunction::Smpte2084 | VideoTransferFunction::AribStdB67
    )
}

/// Whether the caps explicitly have a transfer function other than PQ and HLG.
fn is_sdr(caps: &gst::CapsRef) -> bool {
    let colorimetry = caps
        .structure(0)
        .and_then(|s| s.get::<&str>("colorimetry").ok());
    let colorimetry = colorimetry.and_then(|text| text.parse::<VideoColorimetry>().ok());
    colorimetry.is_some_and(|colorimetry| !is_hdr(&colorimetry))
}

/// Chromaticity coordinates are in units of 1/50000.
const CHROMATICITY: f64 = 50_000.0;
/// Luminance is in units of 1/10000 cd/m².
const LUMINANCE: f64 = 10_000.0;

/// See the module. The values are integers in the units used in caps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HdrMetadata {
    mastering: Option<MasteringDisplay>,
    light: Option<ContentLight>,
}

/// The display on which the video was mastered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MasteringDisplay {
    /// x and y of red, green, blue and white point.
    pub points: [(u16, u16); 4],
    pub max_luminance: u32,
    pub min_luminance: u32,
}

/// Content light level, in cd/m².
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentLight {
    /// MaxCLL: brightest pixel.
    pub max: u16,
    /// MaxFALL: highest frame average.
    pub max_average: u16,
}

impl HdrMetadata {
    /// The metadata in caps; empty if the video has been converted to SDR.
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

    /// SDR caps without leftover HDR metadata; `None` if there is none.
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
    /// Content of an `mdcv` box (ISO 14496-12, 12.1.8).
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

    /// Coordinates of red, green, blue and white point, and maximum and minimum luminance in cd/m², in the order of
    /// Matroska's `MasteringMetadata` (RFC 9559, 5.1.4.1.28.30).
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
    /// Content of a `clli` box (ISO 14496-12, 12.1.9).
    pub fn clli(&self) -> Vec<u8> {
        [self.max.to_be_bytes(), self.max_average.to_be_bytes()].concat()
    }
}
