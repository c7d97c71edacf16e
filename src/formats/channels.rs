//! Channel count, positions and order for encoders.

use super::registry;
use crate::model::Codec;
use gst::prelude::*;

/// Channel masks of the codecs' own layouts, by channel count.
///
/// Opus: RFC 7845, 5.1.1.2. FLAC: RFC 9639, 9.1.3. AAC: ISO/IEC 14496-3, table 1.19; its layout of four channels has
/// front and rear centre, so quadraphonic audio is encoded with five channels.
const LAYOUTS: [(i32, u64); 6] = [
    (3, 0x7),
    (4, 0x33),
    (5, 0x37),
    (6, SURROUND),
    (7, 0xd0f),
    (8, 0xc3f),
];
/// Front left, front right, front centre, LFE, rear left, rear right.
const SURROUND: u64 = 0x3f;
/// Seven channels as accepted by old versions of flacenc: side left and right are labelled rear.
const FLAC_SEVEN: u64 = 0x13f;
/// First version in which opusenc and flacenc order channels correctly.
const MENDED: [u32; 3] = [1, 26, 10];

/// How audio with this many channels is encoded: the channel count, and the positions if they change.
pub fn encoded_channels(codec: Codec, channels: i32) -> (i32, Option<gst::Bitmask>) {
    let layout = |channels: i32| {
        let known = LAYOUTS.iter().find(|(number, _)| *number == channels);
        (
            channels,
            known.map(|(_, places)| gst::Bitmask::new(*places)),
        )
    };
    match codec {
        Codec::Pcm => (channels, None),
        _ if channels <= 2 => (channels, None),
        Codec::Opus => layout(channels.min(8)),
        Codec::Flac if channels == 7 && !is_mended("flacenc") => {
            (7, Some(gst::Bitmask::new(FLAC_SEVEN)))
        }
        Codec::Flac => layout(channels.min(8)),
        Codec::Aac if takes(codec, 6) => layout(match channels {
            4 => 5,
            more => more.min(6),
        }),
        _ if takes(codec, channels) => (channels, None),
        // Stereo is playable everywhere, unlike whichever channel count an encoder happens to support.
        _ => (2, None),
    }
}

/// The encoders for `codec` that support this many channels, best first. With more than two, an encoder with rank NONE
/// is preferred to losing channels.
pub fn encoders_for(codec: Codec, channels: i32) -> Vec<gst::ElementFactory> {
    let best = registry::encoders(codec);
    if channels <= 2 {
        return best;
    }
    let wanted = gst::Caps::builder("audio/x-raw")
        .field("channels", channels)
        .build();
    let takes = |factory: &gst::ElementFactory| factory.can_sink_any_caps(&wanted);
    let fit = |all: Vec<gst::ElementFactory>| all.into_iter().filter(takes).collect::<Vec<_>>();
    match fit(best.clone()) {
        none if none.is_empty() => match fit(registry::all_encoders(codec)) {
            none if none.is_empty() => best,
            some => some,
        },
        some => some,
    }
}

/// Whether there is an encoder that supports this many channels.
fn takes(codec: Codec, channels: i32) -> bool {
    let wanted = gst::Caps::builder("audio/x-raw")
        .field("channels", channels)
        .build();
    let all = registry::all_encoders(codec);
    all.iter().any(|factory| factory.can_sink_any_caps(&wanted))
}

/// For each channel of the input of encoder `factory`, the index of the original channel that has to be there so that
/// all channels are in the right positions; `None` if the order is unchanged.
///
/// opusenc inverts libopus' channel mapping, which is wrong for those that are not their own inverse.
/// flacenc has an order of its own for seven and eight channels.
pub fn channel_order(factory: &str, channels: usize) -> Option<&'static [usize]> {
    let order: &[usize] = match (factory, channels) {
        ("opusenc", 5) => &[0, 1, 4, 2, 3],
        ("opusenc", 7) => &[0, 1, 4, 3, 5, 2, 6],
        ("opusenc", 8) => &[0, 1, 6, 7, 2, 3, 4, 5],
        ("flacenc", 7) => &[0, 1, 6, 4, 2, 3, 5],
        ("flacenc", 8) => &[0, 1, 4, 5, 2, 3, 6, 7],
        _ => return None,
    };
    (!is_mended(factory)).then_some(order)
}

/// Whether the version of this encoder's plugin orders channels correctly.
fn is_mended(factory: &str) -> bool {
    let version = gst::ElementFactory::find(factory)
        .and_then(|factory| factory.plugin())
        .map(|plugin| plugin.version());
    let version = version.unwrap_or_default();
    let numbers = version.split('.').map(|n| n.parse::<u32>().unwrap_or(0));
    numbers.collect::<Vec<_>>().as_slice() >= MENDED.as_slice()
}

/// Raw audio caps with channel positions: unpositioned channels get default positions, so that
/// they can be converted. `None` if they are positioned already, or there are too many.
pub fn with_places(caps: &gst::CapsRef) -> Option<gst::Caps> {
    let structure = caps.structure(0)?;
    let channels = structure.get::<i32>("channels").ok()?;
    let places = structure.get::<gst::Bitmask>("channel-mask").ok();
    if structure.name() != "audio/x-raw" || places.is_none_or(|places| places.0 != 0) {
        return None;
    }
    let mut caps = caps.to_owned();
    let fields = caps.make_mut();
    match channels {
        1 => fields.structure_mut(0)?.remove_field("channel-mask"),
        // The fallback has LFE as the third channel.
        3 => fields.set("channel-mask", gst::Bitmask::new(0x7)),
        2..=8 => {
            let places = gst_audio::AudioChannelPosition::fallback_mask(channels.unsigned_abs());
            fields.set("channel-mask", gst::Bitmask::new(places));
        }
        _ => return None,
    }
    Some(caps)
}

/// The channel count of unpositioned raw audio with more channels than there are positions.
pub fn lacks_places(caps: &gst::CapsRef) -> Option<usize> {
    let structure = caps.structure(0)?;
    let channels = structure.get::<i32>("channels").ok()?;
    let places = structure.get::<gst::Bitmask>("channel-mask").ok()?;
    let channels = usize::try_from(channels).ok()?;
    (structure.name() == "audio/x-raw" && places.0 == 0 && channels > 8).then_some(channels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_order_has_each_channel_once() {
        gst::init().unwrap();
        for factory in ["opusenc", "flacenc"] {
            for channels in 1..=8 {
                if let Some(order) = channel_order(factory, channels) {
                    let mut sorted = order.to_vec();
                    sorted.sort();
                    assert!(sorted.into_iter().eq(0..channels), "{factory} {channels}");
                }
            }
        }
    }

    #[test]
    fn channels_without_positions_get_some() {
        gst::init().unwrap();
        for (channels, places) in [(2, 0x3), (3, 0x7), (4, 0x33), (5, 0x37), (6, 0x3f)] {
            let text = format!("audio/x-raw,channels={channels},channel-mask=(bitmask)0");
            let caps = with_places(&text.parse::<gst::Caps>().unwrap()).unwrap();
            let mask = caps
                .structure(0)
                .unwrap()
                .get::<gst::Bitmask>("channel-mask");
            assert_eq!(mask.unwrap().0, places, "{channels}");
            assert_eq!(with_places(&caps), None);
        }
    }
}
