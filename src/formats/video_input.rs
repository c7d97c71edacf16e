//! Properties of raw video that are preserved: bit depth, chroma subsampling, alpha, pixel aspect ratio, interlacing.

use super::encoder::{encodes_interlaced, needs_no_hardware};
use super::hdr::is_hdr;
use super::registry::encoders;
use crate::model::{Chroma, Codec, Container, Profile};
use gst::prelude::*;
use gst_video::{VideoFormat, VideoFormatFlags, VideoFormatInfo, VideoInfo, VideoInterlaceMode};

/// Properties of raw video to preserve where the codec and the container support them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keep {
    pub depth: bool,
    pub chroma: bool,
    pub alpha: bool,
    pub pixel_aspect: bool,
}

/// Requirements for a track's video format.
#[derive(Debug, Clone, Copy, Default)]
pub struct VideoInputRequest {
    pub keep: Keep,
    /// The profile in the MIME type.
    pub profile: Option<Profile>,
    /// Whether the video is to be rotated upright.
    pub is_turned: bool,
    /// The profile in the MIME type does not support interlaced video.
    pub is_progressive: bool,
}

/// Sample format of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sampling {
    /// Bits per component.
    depth: u32,
    chroma: Chroma,
    alpha: bool,
    rgb: bool,
}

impl Sampling {
    /// The format that all players and encoders support.
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

    fn of_format(format: VideoFormat) -> Self {
        Self::of(&VideoFormatInfo::from_format(format))
    }

    /// Whether this format does not exceed `most`.
    fn is_within(&self, most: &Self) -> bool {
        self.depth <= most.depth
            && self.chroma <= most.chroma
            && (most.alpha || !self.alpha)
            && self.rgb == most.rgb
    }
}

/// Format of an encoder's input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoInput {
    /// Allowed formats.
    pub formats: Vec<VideoFormat>,
    /// Whether the pixel aspect ratio is preserved.
    pub keeps_pixel_aspect: bool,
    /// Whether alpha is encoded by a second encoder.
    pub splits_alpha: bool,
    /// Whether interlaced video is encoded as such; otherwise it is deinterlaced.
    pub keeps_fields: bool,
    sampling: Sampling,
}

/// The element that rotates video. It supports fewer formats than videoconvert.
const TURNER: &str = "videoflip";

/// Input formats of the encoders for `codec`, preferred encoders first; with rotation, only those for which it is
/// lossless.
fn accepted(codec: Codec, is_turned: bool) -> Vec<VideoFormat> {
    let turner = gst::ElementFactory::find(TURNER).filter(|_| is_turned);
    let turned = turner.map(|factory| {
        let formats = formats_of(&factory).into_iter();
        formats.map(Sampling::of_format).collect::<Vec<_>>()
    });
    let turns = |format: &VideoFormat| {
        let sampling = Sampling::of_format(*format);
        turned
            .as_ref()
            .is_none_or(|all| all.iter().any(|most| sampling.is_within(most)))
    };
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

/// Formats that an encoder accepts in system memory.
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

/// Codecs without alpha for which WebM and Matroska can store a second encoder's packets as `BlockAdditional`.
///
/// FFmpeg and Chromium support alpha only with 8-bit 4:2:0, and would show anything else opaque.
pub fn alpha_codecs() -> [Codec; 2] {
    [Codec::Vp8, Codec::Vp9]
}

/// Whether this container stores a second packet with the alpha channel of each frame of this codec.
pub fn stores_alpha(codec: Codec, container: Container) -> bool {
    let has_additions = matches!(container, Container::WebM | Container::Matroska);
    has_additions && alpha_codecs().contains(&codec)
}

/// Selects the encoder's input format for this video, according to `keep` or to a named profile.
///
/// Of the formats that installed encoders support, this is the best one that does not exceed the input, by alpha, then
/// depth, then chroma.
pub fn video_input(
    (codec, container): (Codec, Container),
    info: &VideoInfo,
    request: VideoInputRequest,
) -> VideoInput {
    let VideoInputRequest {
        keep,
        profile,
        is_turned,
        ..
    } = request;
    let input = Sampling::of(&info.format_info());
    let is_lossless = codec == Codec::Ffv1;
    let keeps_fields = keeps_fields(codec, info, &request);
    if keep.alpha && input.alpha && stores_alpha(codec, container) {
        return VideoInput {
            formats: vec![VideoFormat::A420],
            keeps_pixel_aspect: keep.pixel_aspect,
            splits_alpha: true,
            keeps_fields,
            sampling: Sampling {
                alpha: true,
                ..Sampling::PLAIN
            },
        };
    }
    let wanted = Sampling {
        depth: match profile {
            Some(profile) => profile.depth,
            // 8 bits would cause banding.
            None if keep.depth || is_hdr(&info.colorimetry()) => input.depth,
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
    let plain = VideoInput {
        formats: vec![VideoFormat::I420, VideoFormat::Nv12],
        keeps_pixel_aspect,
        splits_alpha: false,
        keeps_fields,
        sampling: Sampling::PLAIN,
    };
    if wanted == Sampling::PLAIN && !is_lossless {
        return plain;
    }
    let takes = accepted(codec, is_turned).into_iter();
    let candidates = takes.map(|format| (format, Sampling::of_format(format)));
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
        Some(best) => VideoInput {
            formats: candidates
                .iter()
                .filter(|(_, sampling)| *sampling == best)
                .map(|(format, _)| *format)
                .collect(),
            keeps_pixel_aspect,
            splits_alpha: false,
            keeps_fields,
            sampling: best,
        },
        None => plain,
    }
}

/// Whether to encode this video as interlaced.
fn keeps_fields(codec: Codec, info: &VideoInfo, request: &VideoInputRequest) -> bool {
    // Each field needs whole chroma blocks.
    let fits =
        info.interlace_mode() == VideoInterlaceMode::Interleaved && info.height().is_multiple_of(4);
    let can_encode = || {
        encoders(codec)
            .iter()
            .any(|factory| encodes_interlaced(&factory.name()))
    };
    codec == Codec::H264 && fits && !request.is_turned && !request.is_progressive && can_encode()
}

/// Whether an installed encoder supports the profile.
pub fn can_encode_profile(codec: Codec, profile: Profile) -> bool {
    if (profile.depth, profile.chroma) == (8, Chroma::Subsampled) {
        return true;
    }
    accepted(codec, false).into_iter().any(|format| {
        let sampling = Sampling::of_format(format);
        let same = (sampling.depth, sampling.chroma) == (profile.depth, profile.chroma);
        same && !sampling.rgb
    })
}

impl VideoInput {
    /// Whether an encoder accepts this format.
    pub fn suits(&self, factory: &gst::ElementFactory) -> bool {
        if self.keeps_fields && !encodes_interlaced(&factory.name()) {
            return false;
        }
        if self.splits_alpha {
            // Packets of the two encoders are only paired reliably if both are synchronous: otherwise a late one looks
            // like a lost one.
            return needs_no_hardware(&factory.name());
        }
        let plain = self.sampling == Sampling::PLAIN;
        plain || formats_of(factory).iter().any(|f| self.formats.contains(f))
    }

    /// What is lost in conversion from this input, as in `stats`.
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
        if info.is_interlaced() && !self.keeps_fields {
            all.push("interlaced".to_owned());
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

    /// Input and codec; the encoder's input with nothing and with everything preserved; and what is converted in the
    /// latter case.
    #[test]
    fn preserved_properties_depend_on_input_and_codec() {
        use Codec::*;
        use VideoFormat as F;
        gst::init().unwrap();
        for (input, codec, kept, converted) in [
            (F::I420, Vp8, F::I420, vec![]),
            (F::Y444, Vp8, F::I420, vec!["chroma 4:4:4 to 4:2:0"]),
            (F::P01010le, Vp8, F::I420, vec!["depth 10 to 8"]),
            // 8-bit 4:2:2 is not converted to 10 bits.
            (F::Yuy2, Vp9, F::I420, vec!["chroma 4:2:2 to 4:2:0"]),
            (F::Yuy2, H264, F::Y42b, vec![]),
            (F::Y444, Vp9, F::Y444, vec![]),
            (F::Bgrx, Vp9, F::Y444, vec![]),
            (F::Bgra, Vp9, F::Y444, vec!["alpha"]),
            (F::P01010le, Vp9, F::I42010le, vec![]),
            (F::I42210le, Vp9, F::I42210le, vec![]),
            (F::P01010le, H264, F::I42010le, vec![]),
            (F::Y44412le, H264, F::Y44410le, vec!["depth 12 to 10"]),
            (F::Y44412le, H265, F::Y44412le, vec![]),
            (F::Argb64, Vp9, F::Y44412le, vec!["depth 16 to 12", "alpha"]),
        ] {
            let info = info(input);
            let codec = (codec, Container::Mp4);
            let video_input = video_input(
                codec,
                &info,
                VideoInputRequest {
                    keep: ALL,
                    ..Default::default()
                },
            );
            assert!(
                video_input.formats.contains(&kept),
                "{input} {codec:?}: {video_input:?}"
            );
            assert_eq!(video_input.converted(&info), converted, "{input} {codec:?}");
            let plain = super::video_input(codec, &info, VideoInputRequest::default());
            assert_eq!(plain.formats, [F::I420, F::Nv12], "{input} {codec:?}");
        }
    }

    /// What the installed encoders support for a codec, as a row of docs/FORMATS.md.
    fn row(codec: Codec) -> String {
        let formats = accepted(codec, false);
        let flags = |format: &VideoFormat| VideoFormatInfo::from_format(*format).flags();
        let coloured = formats
            .iter()
            .filter(|format| !flags(format).contains(VideoFormatFlags::GRAY));
        let all: Vec<Sampling> = coloured
            .map(|format| Sampling::of_format(*format))
            .collect();
        let list = |texts: Vec<String>| {
            if texts.is_empty() {
                "–".to_owned()
            } else {
                texts.join(", ")
            }
        };
        let of_depth = |depth: u32| {
            let chroma = [Chroma::Subsampled, Chroma::Half, Chroma::Full];
            let made = chroma.into_iter().filter(|chroma| {
                let plain = Sampling {
                    depth,
                    chroma: *chroma,
                    alpha: false,
                    rgb: false,
                };
                all.contains(&plain)
            });
            list(made.map(|chroma| chroma.name().to_owned()).collect())
        };
        let depths = |which: &dyn Fn(&Sampling) -> bool| {
            let mut depths: Vec<u32> = all.iter().filter(|s| which(s)).map(|s| s.depth).collect();
            depths.sort_unstable();
            depths.dedup();
            list(depths.iter().map(u32::to_string).collect())
        };
        let alpha = if alpha_codecs().contains(&codec) {
            "8".to_owned()
        } else {
            depths(&|sampling| sampling.alpha)
        };
        let fields = encoders(codec)
            .iter()
            .any(|factory| encodes_interlaced(&factory.name()));
        format!(
            "| {} | {} | {} | {} | {} | {alpha} | {} |",
            codec.name(),
            of_depth(8),
            of_depth(10),
            of_depth(12),
            depths(&|sampling| sampling.rgb),
            if fields { "kept" } else { "–" }
        )
    }

    /// With a release that has no table there, the rows are only printed.
    #[test]
    fn the_page_documents_what_is_kept() {
        use Codec::*;
        gst::init().unwrap();
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/FORMATS.md");
        let page = std::fs::read_to_string(page).unwrap();
        let (major, minor, ..) = gst::version();
        let release = format!("GStreamer {major}.{minor}:");
        println!("{release}");
        let table = page.split_once(&release).map(|(_, rest)| rest.trim_start());
        let table = table.map(|rest| rest.split("\n\n").next().unwrap_or_default());
        let rows = [Vp8, Vp9, Av1, H264, H265, Theora, Ffv1].map(row);
        rows.iter().for_each(|row| println!("{row}"));
        assert!(table.is_some() || (major, minor) != (1, 22));
        if let Some(table) = table {
            let missing: Vec<_> = rows.iter().filter(|row| !table.contains(*row)).collect();
            assert!(missing.is_empty(), "docs/FORMATS.md lacks {missing:#?}");
        }
    }

    #[test]
    fn hdr_keeps_its_depth_by_default() {
        gst::init().unwrap();
        for (colorimetry, depth) in [("bt2100-pq", 10), ("bt2100-hlg", 10), ("bt2020", 8)] {
            let colorimetry = colorimetry.parse().unwrap();
            let info = VideoInfo::builder(VideoFormat::P01010le, 320, 240)
                .colorimetry(&colorimetry)
                .build()
                .unwrap();
            let codec = (Codec::H265, Container::Mp4);
            let video_input = video_input(codec, &info, VideoInputRequest::default());
            assert_eq!(video_input.sampling.depth, depth, "{colorimetry:?}");
        }
    }

    #[test]
    fn a_profile_determines_depth_and_chroma() {
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
                let video_input = video_input(
                    (codec, Container::Mp4),
                    &info(VideoFormat::Y44412le),
                    VideoInputRequest {
                        profile: Some(profile),
                        ..Default::default()
                    },
                );
                assert_eq!(
                    (video_input.sampling.depth, video_input.sampling.chroma),
                    (depth, chroma)
                );
            }
        }
    }
}
