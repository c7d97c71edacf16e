//! What a decoder has to know of a track and muxers do not tell it, or not truly.

use super::{
    av1,
    codec_string::{codec_data, vp9_level},
};
use crate::model::Codec;

/// What goes into a container's header by the codec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodecConfig {
    /// The content of `av1C`.
    Av1(Vec<u8>),
    /// The level, times ten, in `vpcC`.
    Vp9 { level: u8 },
}

impl CodecConfig {
    /// The configuration to write for a track with these caps in front of the muxer.
    pub fn of(codec: Codec, caps: &gst::CapsRef) -> Option<Self> {
        let structure = caps.structure(0)?;
        match codec {
            Codec::Av1 => codec_data(structure).map(CodecConfig::Av1),
            Codec::Vp9 => {
                let level = u8::try_from(vp9_level(structure)?).ok()?;
                Some(CodecConfig::Vp9 { level })
            }
            _ => None,
        }
    }
}

/// AV1's record, from the track's first frame.
pub fn av1_record(picture: &[u8]) -> Option<gst::Buffer> {
    av1::configuration(picture).map(gst::Buffer::from_slice)
}

/// Caps of AV1 with this record, as parsers of other codecs put it there; `None` if they say the same already.
pub fn with_av1_record(caps: &gst::CapsRef, record: &gst::Buffer) -> Option<gst::Caps> {
    let known = codec_data(caps.structure(0)?);
    let right = record.map_readable().ok()?;
    // The OBUs behind these may be others.
    if known.is_some_and(|known| known.get(..4) == right.get(..4)) {
        return None;
    }
    let mut caps = caps.to_owned();
    caps.make_mut().set("codec_data", record);
    Some(caps)
}
