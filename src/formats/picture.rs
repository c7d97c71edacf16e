//! Which properties of raw video are kept: depth, chroma subsampling, alpha, pixel aspect ratio.

use super::registry::encoders;
use crate::model::{Chroma, Codec, Profile};
use gst_video::{VideoFormat, VideoFormatFlags, VideoFormatInfo, VideoInfo, VideoTransferFunction};

/// Properties of raw video that are kept where codec and container can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keep {
    pub depth: bool,
    pub chroma: bool,
    pub alpha: bool,
    pub pixel_aspect: bool,
}

/// The samples of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sampling {
    /// Bits of a component.
    depth: u32,
    chroma: Chroma,
    alpha: bool,
    rgb: bool,
}

impl Sampling {
    /// What players and encoders take everywhere.
    const PLAIN: Self = Sampling {
        depth: 8,
        chroma: Chroma::Subsampled,
        alpha: false,
        rgb: false,
    };

    fn of(format: &VideoFormatInfo) -> Self {
        let rgb = format.flags().contains(VideoFormatFlags::RGB);
        let subsampling = |planes: &[u32]| planes.get(1).copied().unwrap_or(1);
        let (wide, high) = (subsampling(format.w_sub()), subsampling(format.h_sub()));
        let grey = format.flags().contains(VideoFormatFlags::GRAY);
        let chroma = match (wide, high) {
            _ if grey => Chroma::Subsampled,
            (0, 0) => Chroma::Full,
            (1, 0) => Chroma::Half,
            _ => Chroma::Subsampled,
        };
        Sampling {
            depth: format.depth().iter().copied().max().unwrap_or(8).max(8),
            chroma,
            alpha: format.flags().contains(VideoFormatFlags::ALPHA),
            rgb,
        }
    }

    /// Whether media of this kind holds no more than `most`.
    fn is_within(&self, most: &Self) -> bool {
        self.depth <= most.depth
            && self.chroma <= most.chroma
            && (most.alpha || !self.alpha)
            && self.rgb == most.rgb
    }
}

/// Frames as an encoder gets them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The formats that it may be given.
    pub formats: Vec<VideoFormat>,
    /// Whether the pixel aspect ratio stays what it is.
    pub keeps_pixel_aspect: bool,
    sampling: Sampling,
}

/// Bits of a component and subsampling of what is PQ or HLG: 8 bits would show bands.
fn is_hdr(info: &VideoInfo) -> bool {
    matches!(
        info.colorimetry().transfer(),
        VideoTransferFunction::Smpte2084 | VideoTransferFunction::AribStdB67
    )
}

/// Stands in front of every encoder, and takes not all that videoconvert does.
const TURNER: &str = "videoflip";

/// What encoders of `codec` are given, those of the best first.
fn accepted(codec: Codec) -> Vec<VideoFormat> {
    let turned = gst::ElementFactory::find(TURNER).map(|factory| formats_of(&factory));
    let turns = |format: &VideoFormat| turned.as_ref().is_none_or(|all| all.contains(format));
    let mut all = Vec::new();
    for factory in encoders(codec) {
        for format in formats_of(&factory) {
            if turns(&format) && !all.contains(&format) {
                all.push(format);
            }
        }
    }
    all
}

/// What an encoder takes in the system's memory.
fn formats_of(factory: &gst::ElementFactory) -> Vec<VideoFormat> {
    let templates = factory.static_pad_templates();
    let sinks = templates
        .iter()
        .filter(|template| template.direction() == gst::PadDirection::Sink);
    let mut all = Vec::new();
    for caps in sinks.map(|template| template.caps()) {
        for (structure, features) in caps.iter_with_features() {
            if structure.name() != "video/x-raw"
                || !features.contains(gst::CAPS_FEATURE_MEMORY_SYSTEM_MEMORY)
            {
                continue;
            }
            match structure.get::<gst::List>("format") {
                Ok(list) => all.extend(
                    list.iter()
                        .filter_map(|name| name.get::<&str>().ok())
                        .map(VideoFormat::from_string),
                ),
                Err(_) => all.extend(
                    structure
                        .get::<&str>("format")
                        .ok()
                        .map(VideoFormat::from_string),
                ),
            }
        }
    }
    all
}

/// How frames like these are encoded with `codec`: as `keep` says, or as a named profile does.
///
/// Of what the encoders here take it is the best that is no more than what comes: alpha, then depth, then chroma.
pub fn picture(codec: Codec, info: &VideoInfo, keep: Keep, profile: Option<Profile>) -> Picture {
    let input = Sampling::of(&info.format_info());
    let is_lossless = codec == Codec::Ffv1;
    let wanted = Sampling {
        depth: match profile {
            Some(profile) => profile.depth,
            None if keep.depth || is_hdr(info) => input.depth,
            None => 8,
        },
        chroma: match profile {
            Some(profile) => profile.chroma,
            None if keep.chroma => input.chroma,
            None => Chroma::Subsampled,
        },
        alpha: is_lossless && keep.alpha && input.alpha,
        rgb: is_lossless && keep.chroma && input.rgb,
    };
    let keeps_pixel_aspect = keep.pixel_aspect;
    let plain = Picture {
        formats: vec![VideoFormat::I420, VideoFormat::Nv12],
        keeps_pixel_aspect,
        sampling: Sampling::PLAIN,
    };
    if wanted == Sampling::PLAIN && !is_lossless {
        return plain;
    }
    let takes = accepted(codec);
    let of_format = |format: &VideoFormat| Sampling::of(&VideoFormatInfo::from_format(*format));
    let candidates = takes.iter().map(|format| (*format, of_format(format)));
    let candidates: Vec<_> = candidates
        .filter(|(format, sampling)| {
            let grey = VideoFormatInfo::from_format(*format).flags();
            !grey.contains(VideoFormatFlags::GRAY) && sampling.is_within(&wanted)
        })
        .collect();
    let best = candidates
        .iter()
        .map(|(_, sampling)| *sampling)
        .max_by_key(|sampling| (sampling.alpha, sampling.depth, sampling.chroma));
    match best {
        Some(best) => Picture {
            formats: candidates
                .iter()
                .filter(|(_, sampling)| *sampling == best)
                .map(|(format, _)| *format)
                .collect(),
            keeps_pixel_aspect,
            sampling: best,
        },
        None => plain,
    }
}

/// Whether an encoder here makes what a profile says.
pub fn can_encode_profile(codec: Codec, profile: Profile) -> bool {
    if (profile.depth, profile.chroma) == (8, Chroma::Subsampled) {
        return true;
    }
    accepted(codec).iter().any(|format| {
        let sampling = Sampling::of(&VideoFormatInfo::from_format(*format));
        let same = (sampling.depth, sampling.chroma) == (profile.depth, profile.chroma);
        same && !sampling.rgb
    })
}

impl Picture {
    /// Whether an encoder takes such frames.
    pub fn suits(&self, factory: &gst::ElementFactory) -> bool {
        let plain = self.sampling == Sampling::PLAIN;
        plain || formats_of(factory).iter().any(|f| self.formats.contains(f))
    }

    /// What has been converted of frames like these, as in `stats`.
    pub fn converted(&self, info: &VideoInfo) -> Vec<String> {
        let (input, output) = (Sampling::of(&info.format_info()), self.sampling);
        let mut all = Vec::new();
        if input.depth > output.depth {
            all.push(format!("depth {} to {}", input.depth, output.depth));
        }
        if input.chroma > output.chroma {
            let (from, to) = (input.chroma.name(), output.chroma.name());
            all.push(format!("chroma {from} to {to}"));
        }
        if input.alpha && !output.alpha {
            all.push("alpha".to_owned());
        }
        let par = info.par();
        if !self.keeps_pixel_aspect && par.numer() != par.denom() {
            all.push(format!(
                "pixel-aspect {}:{} to 1:1",
                par.numer(),
                par.denom()
            ));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(format: VideoFormat) -> VideoInfo {
        VideoInfo::builder(format, 320, 240).build().unwrap()
    }

    const ALL: Keep = Keep {
        depth: true,
        chroma: true,
        alpha: true,
        pixel_aspect: true,
    };

    /// Input and codec, what the encoder is given with nothing kept and with all of it, and what is then converted all
    /// the same.
    #[test]
    fn what_is_kept_follows_from_input_and_codec() {
        use Codec::*;
        use VideoFormat as F;
        gst::init().unwrap();
        for (input, codec, kept, converted) in [
            (F::I420, Vp8, F::I420, vec![]),
            (F::Y444, Vp8, F::I420, vec!["chroma 4:4:4 to 4:2:0"]),
            (F::P01010le, Vp8, F::I420, vec!["depth 10 to 8"]),
            // 8-bit 4:2:2 does not become 10 bit, and webcams stay what they are.
            (F::Yuy2, Vp9, F::I420, vec!["chroma 4:2:2 to 4:2:0"]),
            (F::Yuy2, H264, F::I420, vec!["chroma 4:2:2 to 4:2:0"]),
            (F::Y444, Vp9, F::Y444, vec![]),
            (F::Bgrx, Vp9, F::Y444, vec![]),
            (F::Bgra, Vp9, F::Y444, vec!["alpha"]),
            (F::P01010le, Vp9, F::I42010le, vec![]),
            (F::I42210le, Vp9, F::I42210le, vec![]),
            (F::P01010le, H264, F::I42010le, vec![]),
            (F::Y44412le, H264, F::Y44410le, vec!["depth 12 to 10"]),
            (F::Y44412le, H265, F::Y44412le, vec![]),
            (F::Argb64, Vp9, F::Y44412le, vec!["depth 16 to 12", "alpha"]),
            (F::I42010le, Av1, F::I420, vec!["depth 10 to 8"]),
        ] {
            let info = info(input);
            let picture = picture(codec, &info, ALL, None);
            assert!(
                picture.formats.contains(&kept),
                "{input} {codec:?}: {picture:?}"
            );
            assert_eq!(picture.converted(&info), converted, "{input} {codec:?}");
            let plain = super::picture(codec, &info, Keep::default(), None);
            assert_eq!(plain.formats, [F::I420, F::Nv12], "{input} {codec:?}");
        }
    }

    #[test]
    fn hdr_keeps_its_depth_unasked() {
        gst::init().unwrap();
        for (colorimetry, depth) in [("bt2100-pq", 10), ("bt2100-hlg", 10), ("bt2020", 8)] {
            let colorimetry = colorimetry.parse().unwrap();
            let info = VideoInfo::builder(VideoFormat::P01010le, 320, 240)
                .colorimetry(&colorimetry)
                .build()
                .unwrap();
            let picture = picture(Codec::H265, &info, Keep::default(), None);
            assert_eq!(picture.sampling.depth, depth, "{colorimetry:?}");
        }
    }

    #[test]
    fn a_profile_says_what_is_made() {
        gst::init().unwrap();
        for (codec, depth, chroma, made) in [
            (Codec::Vp9, 10, Chroma::Subsampled, true),
            (Codec::Vp9, 8, Chroma::Half, false),
            (Codec::Vp9, 8, Chroma::Full, true),
            (Codec::H264, 10, Chroma::Half, true),
            (Codec::H264, 12, Chroma::Full, false),
            (Codec::Vp8, 10, Chroma::Subsampled, false),
        ] {
            let profile = Profile { depth, chroma };
            assert_eq!(
                can_encode_profile(codec, profile),
                made,
                "{codec:?} {profile:?}"
            );
            if made {
                let picture = picture(
                    codec,
                    &info(VideoFormat::Y44412le),
                    Keep::default(),
                    Some(profile),
                );
                assert_eq!(
                    (picture.sampling.depth, picture.sampling.chroma),
                    (depth, chroma)
                );
            }
        }
    }
}
