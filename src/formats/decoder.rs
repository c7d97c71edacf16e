//! What a decoder has to know of a track and muxers do not tell it, or not truly.

use super::{av1, codec_string::vp9_level};
use crate::model::{Codec, Container};

/// What goes into a container's header by the codec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoder {
    /// The content of `av1C`.
    Av1(Vec<u8>),
    /// The level, times ten, in `vpcC`.
    Vp9 { level: u8 },
}

impl Decoder {
    /// Whether tracks of `codec` in `container` have anything to tell.
    pub fn is_needed(codec: Codec, container: Container) -> bool {
        container == Container::Mp4 && matches!(codec, Codec::Av1 | Codec::Vp9)
    }

    /// What is to be told of a track with these caps that begins with `picture`, in whole.
    pub fn of(codec: Codec, caps: &gst::CapsRef, picture: &[u8]) -> Option<Self> {
        match codec {
            Codec::Av1 => av1::configuration(picture).map(Decoder::Av1),
            Codec::Vp9 => {
                let level = vp9_level(caps.structure(0)?)?;
                let level = u8::try_from(level).ok()?;
                Some(Decoder::Vp9 { level })
            }
            _ => None,
        }
    }

    /// Caps that tell it too, as parsers of other codecs put it there.
    pub fn add_to(&self, mut caps: gst::Caps) -> gst::Caps {
        if let Decoder::Av1(record) = self {
            let record = gst::Buffer::from_slice(record.clone());
            caps.make_mut().set("codec_data", record);
        }
        caps
    }
}
