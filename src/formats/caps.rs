//! Maps caps to codecs and back.

use super::{
    codecs::{codec_named, row_of},
    registry::{creatable, decodable_caps},
};
use crate::model::{Codec, Container, Kind};

/// The codec of encoded media; `None` for raw media and for codecs that no container supports here.
pub fn codec_of_caps(caps: &gst::CapsRef) -> Option<Codec> {
    let structure = caps.structure(0)?;
    match structure.name().as_str() {
        "audio/mpeg" => match structure.get::<i32>("mpegversion") {
            Ok(2 | 4) => Some(Codec::Aac),
            Ok(1) if structure.get::<i32>("layer").unwrap_or(3) == 3 => Some(Codec::Mp3),
            _ => None,
        },
        name => codec_named(name),
    }
}

/// Whether all packets of this format are intra coded.
pub fn is_intra_only(caps: &gst::CapsRef) -> bool {
    const VIDEO: [&str; 8] = [
        "video/x-prores",
        "video/x-dnxhd",
        "video/x-dv",
        "video/x-huffyuv",
        "video/x-ffvhuff",
        "video/x-cineform",
        "video/x-hap",
        "video/x-canopus",
    ];
    let name = caps.structure(0).map_or("", |s| s.name().as_str());
    !name.starts_with("video/") || VIDEO.contains(&name)
}

/// The sample rate for audio clipping metas; `None` if they do not apply.
pub fn clipping_rate(caps: &gst::CapsRef) -> Option<u64> {
    match codec_of_caps(caps)? {
        Codec::Opus => Some(48_000),
        codec if codec.kind() == Kind::Audio => {
            let rate = caps.structure(0)?.get::<i32>("rate").ok();
            rate.and_then(|rate| u64::try_from(rate).ok())
        }
        _ => None,
    }
}

/// Whether stream headers are sent once as separate buffers, flagged HEADER.
pub fn has_header_packets(caps: Option<&gst::Caps>) -> bool {
    let name = caps.and_then(|caps| caps.structure(0)).map(|s| s.name());
    name.is_some_and(|name| matches!(name.as_str(), "audio/x-vorbis" | "video/x-theora"))
}

/// Whether the media is raw.
pub fn is_raw(caps: &gst::CapsRef) -> bool {
    caps.structure(0)
        .is_some_and(|s| matches!(s.name().as_str(), "audio/x-raw" | "video/x-raw"))
}

/// Audio or video, raw or encoded.
pub fn kind_of_caps(caps: &gst::CapsRef) -> Option<Kind> {
    let name = caps.structure(0)?.name();
    match name.split_once('/')?.0 {
        "audio" => Some(Kind::Audio),
        "video" | "image" => Some(Kind::Video),
        _ => None,
    }
}

/// Parses raw video caps; `None` for other caps.
pub fn video_info(caps: &gst::CapsRef) -> Option<gst_video::VideoInfo> {
    // For other caps, the library logs an error.
    let named = caps.structure(0)?.name() == "video/x-raw";
    named
        .then(|| gst_video::VideoInfo::from_caps(caps).ok())
        .flatten()
}

/// Width, height and frame rate of video that will be encoded: raw video, or a codec that is decoded unless a type that
/// supports it is requested. `None` if the caps do not have them yet.
pub fn encoded_size(caps: &gst::CapsRef) -> Option<(u32, u32, f64)> {
    let fps = |numer: i32, denom: i32| f64::from(numer) / f64::from(denom.max(1));
    if let Some(info) = video_info(caps) {
        let rate = info.fps();
        return Some((info.width(), info.height(), fps(rate.numer(), rate.denom())));
    }
    if kind_of_caps(caps)? != Kind::Video
        || codec_of_caps(caps).is_some_and(|c| !c.is_only_copied())
    {
        return None;
    }
    let structure = caps.structure(0)?;
    let size = |field| u32::try_from(structure.get::<i32>(field).ok()?).ok();
    let rate = structure.get::<gst::Fraction>("framerate").ok();
    let rate = rate.map_or(0.0, |rate| fps(rate.numer(), rate.denom()));
    Some((size("width")?, size("height")?, rate))
}

/// Parses raw audio caps; `None` for other caps.
pub fn audio_info(caps: &gst::CapsRef) -> Option<gst_audio::AudioInfo> {
    let named = caps.structure(0)?.name() == "audio/x-raw";
    named
        .then(|| gst_audio::AudioInfo::from_caps(caps).ok())
        .flatten()
}

/// The most general caps of media encoded with `codec`; raw for PCM.
pub fn encoded_caps(codec: Codec) -> gst::Caps {
    let row = row_of(codec);
    let mut caps = gst::Structure::new_empty(row.media_type);
    for (field, value) in row.fields {
        caps.set(*field, *value);
    }
    gst::Caps::builder_full().structure(caps).build()
}

/// The most channels that audioconvert can convert. With more, GStreamer 1.22 crashes.
const MAX_CHANNELS: i32 = 63;

/// Caps of a sink pad of this kind: raw media, and encoded media that a container supports or that a decoder in this
/// registry can decode.
pub fn sink_caps(kind: Kind) -> gst::Caps {
    let mut all = match kind {
        Kind::Audio => {
            let channels = gst::IntRange::new(1, MAX_CHANNELS);
            let raw = gst::Caps::builder("audio/x-raw").field("channels", channels);
            raw.build()
        }
        Kind::Video => gst::Caps::new_empty_simple("video/x-raw"),
    };
    for codec in Codec::ALL {
        let home = Container::ALL.iter().any(|c| c.takes(codec));
        if codec.kind() == kind && codec != Codec::Pcm && home {
            all.merge(encoded_caps(codec));
        }
    }
    if kind == Kind::Audio {
        let mpeg2 = gst::Caps::builder("audio/mpeg").field("mpegversion", 2i32);
        all.merge(mpeg2.build());
        if creatable("mpegaudioparse") {
            // Demuxers leave it to the parser to find the layer.
            let mpeg1 = gst::Caps::builder("audio/mpeg").field("mpegversion", 1i32);
            all.merge(mpeg1.build());
        }
    } else {
        all.merge(super::mapped_caps());
    }
    all.merge(decodable_caps(kind));
    all
}

/// Raw caps for the input of an encoder for `codec` (or of the muxer, for PCM); the encoder's own
/// pad narrows them further.
///
/// Video is 8-bit 4:2:0, since other formats result in profiles that few players support.
/// Neither WebM nor MP4 supports sizes below 16.
pub fn raw_caps(codec: Codec) -> gst::Caps {
    const MAX_SIZE: i32 = 16_382;
    if codec.kind() == Kind::Video {
        let size = if has_even_sizes(codec) {
            gst::IntRange::with_step(16, MAX_SIZE, 2)
        } else {
            gst::IntRange::new(16, MAX_SIZE)
        };
        let colorimetry = (!carries_colorimetry(codec)).then_some("bt601");
        return gst::Caps::builder("video/x-raw")
            .field("format", gst::List::new(["I420", "NV12"]))
            .field("width", size)
            .field("height", size)
            .field_if_some("colorimetry", colorimetry)
            .build();
    }
    let caps = gst::Caps::builder("audio/x-raw").field("layout", "interleaved");
    match codec {
        // The lossless one of the rates that Opus supports.
        Codec::Opus => caps.field("rate", 48_000i32).build(),
        // The formats of wavenc, which matroskamux supports as well: audioconvert keeps the input's format
        // or selects the nearest.
        Codec::Pcm => {
            let formats = ["S16LE", "F32LE", "S24LE", "S32LE", "U8", "F64LE"];
            caps.field("format", gst::List::new(formats)).build()
        }
        _ => caps.build(),
    }
}

/// Whether the bitstream carries colorimetry.
pub fn carries_colorimetry(codec: Codec) -> bool {
    row_of(codec).carries_colorimetry
}

/// Whether width and height have to be even.
pub fn has_even_sizes(codec: Codec) -> bool {
    row_of(codec).has_even_sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_read_back_from_their_caps() {
        gst::init().unwrap();
        for codec in Codec::ALL {
            let caps = encoded_caps(codec);
            assert_eq!(kind_of_caps(&caps), Some(codec.kind()), "{codec:?}");
            let raw = codec == Codec::Pcm;
            assert_eq!(is_raw(&caps), raw);
            assert_eq!(codec_of_caps(&caps), (!raw).then_some(codec));
            assert!(sink_caps(codec.kind()).can_intersect(&caps));
            assert!(!raw_caps(codec).is_empty());
        }
        for (text, expected) in [
            (
                "audio/mpeg, mpegversion=2, stream-format=adts",
                Some(Codec::Aac),
            ),
            ("audio/mpeg, mpegversion=1, layer=2", None),
            ("audio/mpeg", None),
            ("image/jpeg", Some(Codec::Mjpeg)),
            ("image/png", None),
            ("EMPTY", None),
            ("ANY", None),
        ] {
            let caps: gst::Caps = text.parse().unwrap();
            assert_eq!(codec_of_caps(&caps), expected, "{text}");
        }
    }
}
