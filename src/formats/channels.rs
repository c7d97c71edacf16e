//! How many channels an encoder is given.

use super::registry;
use crate::model::Codec;

/// Left, right, centre, low frequencies, rear left, rear right.
const SURROUND: u64 = 0x3f;

/// What sound of so many channels is encoded as: how many, and which they are if not those that come.
pub fn encoded_channels(codec: Codec, channels: i32) -> (i32, Option<gst::Bitmask>) {
    if codec == Codec::Pcm || channels <= 2 {
        (channels, None)
    } else if puts_elsewhere(codec, channels) {
        (6, Some(gst::Bitmask::new(SURROUND)))
    } else if takes(codec, channels) {
        (channels, None)
    } else {
        // What everybody can play, not any number that is easy to make.
        (2, None)
    }
}

/// Whether the encoder mistakes some of so many channels for others, as far as players hear it.
/// What opusenc and flacenc make of six is right.
fn puts_elsewhere(codec: Codec, channels: i32) -> bool {
    match codec {
        Codec::Opus => channels > 2,
        Codec::Flac => channels > 6,
        _ => false,
    }
}

/// Whether the best encoder takes so many channels.
fn takes(codec: Codec, channels: i32) -> bool {
    let wanted = gst::Caps::builder("audio/x-raw")
        .field("channels", channels)
        .build();
    registry::encoders(codec).first().is_some_and(|factory| {
        factory
            .static_pad_templates()
            .iter()
            .filter(|template| template.direction() == gst::PadDirection::Sink)
            .any(|template| template.caps().can_intersect(&wanted))
    })
}
