//! How a track handles a change of caps while recording: the first applicable rung of a ladder.

use super::{
    caps::{codec_of_caps, is_raw},
    flac,
    parameter_sets::ParameterSets,
    registry::{can_decode, can_encode},
};
use crate::model::{Codec, Kind};

/// A rung of the ladder, best first. Starting a new part of the recording, where possible, ranks right after the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rung {
    /// Continue: decoders find the change in the stream itself, or the encoder's input is converted.
    AsIs,
    /// Decode and encode; a copied track is re-encoded to its original codec.
    Reencode,
    /// End the track: the file cannot represent the new media.
    End,
}

/// A track as it is stored in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Codec in the file.
    pub codec: Codec,
    /// Whether it was copied without re-encoding.
    pub copied: bool,
    /// The initial input caps.
    pub first: gst::Caps,
}

/// How `track` handles new caps `new`.
pub fn rung(track: &Recorded, new: &gst::CapsRef) -> Rung {
    if goes_on(track, new) {
        Rung::AsIs
    } else if can_reencode(track, new) {
        Rung::Reencode
    } else {
        Rung::End
    }
}

fn goes_on(track: &Recorded, new: &gst::CapsRef) -> bool {
    let first = &track.first;
    if !track.copied {
        // The converters or the decoder in the chain handle the change.
        return is_raw(first) == is_raw(new) && codec_of_caps(first) == codec_of_caps(new);
    }
    if is_raw(new) || codec_of_caps(new) != Some(track.codec) {
        return false;
    }
    match track.codec {
        // The frames carry the change: frame sizes, and parameter sets that are in band or can be inserted.
        Codec::Vp8 | Codec::Vp9 | Codec::Av1 | Codec::H264 | Codec::H265 => true,
        // Each packet signals mono or stereo, and decoders output the channels from the header.
        Codec::Opus => {
            let plain = |caps: &gst::CapsRef| channels(caps).is_none_or(|channels| channels <= 2);
            plain(first) && plain(new)
                || same(first, new, &["channels"]) && same_mapping(first, new)
        }
        Codec::Aac | Codec::Mp3 => {
            same(first, new, &["rate", "channels"]) && same_bytes(first, new, "codec_data")
        }
        Codec::Flac => {
            let depth = |caps: &gst::CapsRef| Some(stream_info(caps)?.depth);
            same(first, new, &["rate", "channels"])
                && depth(first)
                    .zip(depth(new))
                    .is_none_or(|(one, other)| one == other)
        }
        // The codebooks have to match those in the header.
        Codec::Vorbis | Codec::Theora => same_headers(first, new),
        // Each frame has its own size.
        Codec::Mjpeg => true,
        Codec::Ac3 | Codec::Pcma | Codec::Pcmu => same(first, new, &["rate", "channels"]),
        Codec::Ffv1 => {
            same(first, new, &["width", "height"]) && same_bytes(first, new, "codec_data")
        }
        Codec::Pcm => false,
    }
}

fn can_reencode(track: &Recorded, new: &gst::CapsRef) -> bool {
    if !is_raw(new) && !can_decode(new) {
        return false;
    }
    // An encoder generates its own codebooks.
    let header = matches!(track.codec, Codec::Vorbis | Codec::Theora);
    !track.copied || !header && can_encode(track.codec) && can_be_made(track)
}

/// Whether an encoder can match the track's header.
fn can_be_made(track: &Recorded) -> bool {
    let depth = match track.codec {
        Codec::Flac => stream_info(&track.first).map(|info| info.depth),
        _ => None,
    };
    depth.is_none_or(|depth| flac_format(depth).is_some())
}

/// Whether frames with caps `new` never reference frames with caps `old`, so that decoding has to wait for a keyframe.
pub fn begins_anew(old: &gst::CapsRef, new: &gst::CapsRef) -> bool {
    let name = |caps: &gst::CapsRef| caps.structure(0).map(|s| s.name().to_owned());
    name(old) != name(new) || !same(old, new, &["width", "height"]) || {
        let sets = |caps| parameter_sets(codec_of_caps(caps)?, caps);
        sets(old)
            .zip(sets(new))
            .is_some_and(|(old, new)| !old.are_same_sequence(&new))
    }
}

/// The parameter sets in caps.
pub fn parameter_sets(codec: Codec, caps: &gst::CapsRef) -> Option<ParameterSets> {
    ParameterSets::of_caps(codec, caps.structure(0)?)
}

/// Raw caps that match these encoded caps: the required encoder input for the same track.
pub fn decoded_form(codec: Codec, caps: &gst::CapsRef) -> gst::Caps {
    let name = match codec.kind() {
        Kind::Audio => "audio/x-raw",
        Kind::Video => "video/x-raw",
    };
    let mut raw = gst::Caps::new_empty_simple(name);
    let (form, Some(structure)) = (raw.make_mut(), caps.structure(0)) else {
        return raw;
    };
    let numbers = match codec.kind() {
        // The rate of Opus is always 48 kHz.
        Kind::Audio if codec == Codec::Opus => &["channels"][..],
        Kind::Audio => &["rate", "channels"],
        Kind::Video => &["width", "height"],
    };
    for field in numbers {
        if let Ok(number) = structure.get::<i32>(*field)
            && number > 0
        {
            form.set(*field, number);
        }
    }
    if codec.kind() == Kind::Video {
        let par = structure.get::<gst::Fraction>("pixel-aspect-ratio");
        form.set(
            "pixel-aspect-ratio",
            par.unwrap_or(gst::Fraction::new(1, 1)),
        );
    }
    if codec == Codec::Flac
        && let Some(format) = stream_info(caps).and_then(|info| flac_format(info.depth))
    {
        form.set("format", format);
    }
    raw
}

/// Maximum block size in samples, from STREAMINFO.
pub fn flac_block(caps: &gst::CapsRef) -> Option<u32> {
    Some(stream_info(caps)?.longest_block)
}

fn flac_format(depth: u8) -> Option<&'static str> {
    match depth {
        8 => Some("S8"),
        16 => Some("S16LE"),
        24 => Some("S24LE"),
        _ => None,
    }
}

fn channels(caps: &gst::CapsRef) -> Option<i32> {
    caps.structure(0)?.get("channels").ok()
}

/// Whether these integer fields are equal; a field that is missing on one side is ignored.
fn same(one: &gst::CapsRef, other: &gst::CapsRef, fields: &[&str]) -> bool {
    let number = |caps: &gst::CapsRef, field| caps.structure(0)?.get::<i32>(field).ok();
    fields.iter().all(|field| {
        number(one, *field)
            .zip(number(other, *field))
            .is_none_or(|(one, other)| one == other)
    })
}

fn same_mapping(one: &gst::CapsRef, other: &gst::CapsRef) -> bool {
    let mapping = |caps: &gst::CapsRef| {
        let structure = caps.structure(0)?;
        let list = structure.get::<gst::Array>("channel-mapping").ok()?;
        let places: Vec<i32> = list.iter().filter_map(|place| place.get().ok()).collect();
        Some(places)
    };
    same(
        one,
        other,
        &["channel-mapping-family", "stream-count", "coupled-count"],
    ) && mapping(one) == mapping(other)
}

fn bytes(buffer: &gst::Buffer) -> Vec<u8> {
    let readable = buffer.map_readable();
    readable.map_or_else(|_| Vec::new(), |bytes| bytes.to_vec())
}

/// Whether the header fields are equal, if both exist; one may lack optional data at the end.
fn same_bytes(one: &gst::CapsRef, other: &gst::CapsRef, field: &str) -> bool {
    let header = |caps: &gst::CapsRef| {
        let header = caps.structure(0)?.get::<gst::Buffer>(field).ok()?;
        Some(bytes(&header))
    };
    header(one)
        .zip(header(other))
        .is_none_or(|(one, other)| one.starts_with(&other) || other.starts_with(&one))
}

fn headers(caps: &gst::CapsRef) -> Vec<Vec<u8>> {
    let list = caps
        .structure(0)
        .and_then(|s| s.get::<gst::Array>("streamheader").ok());
    let list = list.unwrap_or_else(|| gst::Array::new(Vec::<gst::Buffer>::new()));
    let buffers = list
        .iter()
        .filter_map(|value| value.get::<gst::Buffer>().ok());
    buffers.map(|buffer| bytes(&buffer)).collect()
}

/// Whether the stream headers are equal except for the comments, or one side has none.
pub fn same_headers(one: &gst::CapsRef, other: &gst::CapsRef) -> bool {
    const COMMENTS: [u8; 2] = [3, 0x81];
    let without = |caps: &gst::CapsRef| {
        let mut headers = headers(caps);
        headers.retain(|header| !header.first().is_some_and(|kind| COMMENTS.contains(kind)));
        headers
    };
    let (one, other) = (without(one), without(other));
    one.is_empty() || other.is_empty() || one == other
}

/// Fields of FLAC's STREAMINFO block (RFC 9639, 8.2).
struct StreamInfo {
    longest_block: u32,
    depth: u8,
}

fn stream_info(caps: &gst::CapsRef) -> Option<StreamInfo> {
    let headers = headers(caps);
    let first = headers.first()?;
    let at = first
        .windows(flac::MARKER.len())
        .position(|four| four == flac::MARKER)?
        + flac::MARKER.len();
    let info = first.get(at + flac::BLOCK_HEADER..)?;
    let (high, low) = (info.get(12)?, info.get(13)?);
    Some(StreamInfo {
        longest_block: u32::from(*info.get(2)?) << 8 | u32::from(*info.get(3)?),
        depth: ((high & 1) << 4 | low >> 4) + 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::encoded_caps;

    fn track(codec: Codec, copied: bool, first: &str) -> Recorded {
        gst::init().unwrap();
        let first = first.parse().unwrap();
        Recorded {
            codec,
            copied,
            first,
        }
    }

    /// The whole ladder: how a track is recorded and its initial caps, the new caps, and the resulting rung.
    #[test]
    fn every_caps_change_is_handled() {
        use Codec::*;
        use Rung::*;
        gst::init().unwrap();
        const RAW_VIDEO: &str = "video/x-raw,format=I420,width=320,height=240";
        const RAW_AUDIO: &str = "audio/x-raw,format=S16LE,rate=48000,channels=2";
        const AVC: &str = "video/x-h264,stream-format=avc,alignment=au,width=320,height=240";
        const HVC: &str = "video/x-h265,stream-format=hvc1,alignment=au,width=320,height=240";
        const AAC: &str = "audio/mpeg,mpegversion=4,stream-format=raw,rate=48000,channels=2,codec_data=(buffer)1190";
        const MP3: &str = "audio/mpeg,mpegversion=1,layer=3,rate=48000,channels=2";
        const OPUS: &str = "audio/x-opus,channel-mapping-family=0,channels=2";
        const SURROUND: &str = "audio/x-opus,channel-mapping-family=1,channels=6,stream-count=4,\
                                coupled-count=2,channel-mapping=<0,4,1,2,3,5>";
        const VORBIS: &str = "audio/x-vorbis,streamheader=<(buffer)0101,(buffer)0302,(buffer)0503>";
        for (codec, copied, first, new, due) in [
            // Converted in front of the encoder.
            (
                Vp8,
                false,
                RAW_VIDEO,
                "video/x-raw,format=NV12,width=640,height=480",
                AsIs,
            ),
            (
                Opus,
                false,
                RAW_AUDIO,
                "audio/x-raw,format=F32LE,rate=8000,channels=1",
                AsIs,
            ),
            // Raw and encoded media on the same pad.
            (Vp8, false, RAW_VIDEO, AVC, Reencode),
            (Opus, false, RAW_AUDIO, AAC, Reencode),
            (Vorbis, false, RAW_AUDIO, AAC, Reencode),
            (H264, true, AVC, RAW_VIDEO, Reencode),
            (Aac, true, AAC, RAW_AUDIO, Reencode),
            (Vorbis, true, VORBIS, RAW_AUDIO, End),
            // Transcoded.
            (
                Vp8,
                false,
                AVC,
                "video/x-h264,stream-format=avc,width=640,height=480",
                AsIs,
            ),
            (Vp8, false, AVC, HVC, Reencode),
            (Vp8, false, AVC, RAW_VIDEO, Reencode),
            // In band.
            (
                H264,
                true,
                AVC,
                "video/x-h264,stream-format=avc,width=640,height=480",
                AsIs,
            ),
            (
                H264,
                true,
                AVC,
                "video/x-h264,stream-format=avc3,width=320,height=240",
                AsIs,
            ),
            (
                H265,
                true,
                HVC,
                "video/x-h265,stream-format=hev1,width=640,height=480",
                AsIs,
            ),
            (
                Vp8,
                true,
                "video/x-vp8,width=320",
                "video/x-vp8,width=640",
                AsIs,
            ),
            (
                Vp9,
                true,
                "video/x-vp9,width=320",
                "video/x-vp9,width=640,profile=(string)2",
                AsIs,
            ),
            (
                Av1,
                true,
                "video/x-av1,width=320",
                "video/x-av1,width=640",
                AsIs,
            ),
            // Another codec.
            (H264, true, AVC, HVC, Reencode),
            (H265, true, HVC, "video/x-vp8", Reencode),
            (Vp8, true, "video/x-vp8", AVC, Reencode),
            (Opus, true, OPUS, AAC, Reencode),
            (Aac, true, AAC, MP3, Reencode),
            // Opus packets signal stereo, and nothing else.
            (
                Opus,
                true,
                OPUS,
                "audio/x-opus,channel-mapping-family=0,channels=1",
                AsIs,
            ),
            (Opus, true, OPUS, SURROUND, Reencode),
            (Opus, true, SURROUND, SURROUND, AsIs),
            (Opus, true, SURROUND, OPUS, Reencode),
            // Rates, channels, configurations.
            (
                Aac,
                true,
                AAC,
                "audio/mpeg,mpegversion=4,stream-format=raw,rate=44100,channels=2",
                Reencode,
            ),
            (
                Aac,
                true,
                AAC,
                "audio/mpeg,mpegversion=4,stream-format=raw,codec_data=(buffer)2b11",
                Reencode,
            ),
            (
                Aac,
                true,
                AAC,
                "audio/mpeg,mpegversion=2,stream-format=adts,rate=48000,channels=2",
                AsIs,
            ),
            (
                Mp3,
                true,
                MP3,
                "audio/mpeg,mpegversion=1,layer=3,rate=44100,channels=2",
                Reencode,
            ),
            (Mp3, true, MP3, MP3, AsIs),
            (
                Flac,
                true,
                "audio/x-flac,rate=48000,channels=2",
                "audio/x-flac,rate=48000,channels=1",
                Reencode,
            ),
            // Codebooks.
            (
                Vorbis,
                true,
                VORBIS,
                "audio/x-vorbis,streamheader=<(buffer)0101,(buffer)0309,(buffer)0503>",
                AsIs,
            ),
            (
                Vorbis,
                true,
                VORBIS,
                "audio/x-vorbis,streamheader=<(buffer)0101,(buffer)0302,(buffer)0504>",
                End,
            ),
            (Theora, true, "video/x-theora", AVC, End),
            // There is no decoder.
            (H264, true, AVC, "video/x-nobody-knows", End),
            (Vp8, false, RAW_VIDEO, "video/x-nobody-knows", End),
        ] {
            let new: gst::Caps = new.parse().unwrap();
            let track = track(codec, copied, first);
            assert_eq!(rung(&track, &new), due, "{track:?}\n{new}");
        }
    }

    #[test]
    fn returning_to_the_first_caps_needs_no_conversion() {
        gst::init().unwrap();
        for codec in Codec::ALL {
            if codec != Codec::Pcm {
                let caps = encoded_caps(codec);
                let track = track(codec, true, &caps.to_string());
                assert_eq!(rung(&track, &caps), Rung::AsIs, "{codec:?}");
            }
        }
    }

    #[test]
    fn flac_frames_match_their_header() {
        gst::init().unwrap();
        let header = "7f464c414301000002".to_owned() + "664c6143" + "00000022";
        // Block size 4096, frames of any size, 44.1 kHz, 2 channels, 24 bits.
        let header = header + "10001000" + "000000000000" + "0ac44370" + "00000000";
        let caps: gst::Caps =
            format!("audio/x-flac,rate=44100,channels=2,streamheader=<(buffer){header}>")
                .parse()
                .unwrap();
        assert_eq!(flac_block(&caps), Some(4_096));
        let form = decoded_form(Codec::Flac, &caps);
        let expected: gst::Caps = "audio/x-raw,rate=44100,channels=2,format=S24LE"
            .parse()
            .unwrap();
        assert_eq!(form, expected);
    }
}
