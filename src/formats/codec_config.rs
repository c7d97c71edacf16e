//! Codec configuration that muxers do not write, or write wrongly.

use super::{
    av1,
    codec_string::{codec_data, vp9_level},
};
use crate::model::Codec;

/// Codec-specific data in a container's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodecConfig {
    /// The content of `av1C`.
    Av1(Vec<u8>),
    /// The level in `vpcC`, times ten.
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

/// The AV1 configuration record, from the track's first frame.
pub fn av1_record(frame: &[u8]) -> Option<gst::Buffer> {
    av1::configuration(frame).map(gst::Buffer::from_slice)
}

/// AV1 caps with this record as `codec_data`; `None` if they have an equivalent one already.
pub fn with_av1_record(caps: &gst::CapsRef, record: &gst::Buffer) -> Option<gst::Caps> {
    let known = codec_data(caps.structure(0)?);
    let right = record.map_readable().ok()?;
    // configOBUs, after these bytes, may differ.
    if known.is_some_and(|known| known.get(..4) == right.get(..4)) {
        return None;
    }
    let mut caps = caps.to_owned();
    caps.make_mut().set("codec_data", record);
    Some(caps)
}
