//! What the installed plugins support; probed once, unless the registry changes.

use std::collections::HashMap;
use std::sync::Mutex;

use gst::prelude::*;
use once_cell::sync::Lazy;

use super::caps::{encoded_caps, is_raw, kind_of_caps};
use super::codecs::row_of;
use super::muxer::{muxer_factory, parser};
use crate::model::{Codec, Container, Kind};

/// Whether a factory can create elements, by name, with the registry cookie at the time of the attempt.
static TRIED: Lazy<Mutex<HashMap<String, (bool, u32)>>> = Lazy::new(Mutex::default);

/// Whether an element with this factory name exists and can be created. Hardware encoders may be registered without
/// the hardware, and trying to create them is slow: results are cached, failures until the registry changes.
pub fn creatable(factory: &str) -> bool {
    let cookie = gst::Registry::get().feature_list_cookie();
    if let Ok(tried) = TRIED.lock()
        && let Some((made, when)) = tried.get(factory)
        && (*made || *when == cookie)
    {
        return *made;
    }
    // Not under the lock: creating an element loads its plugin, which may run arbitrary code.
    let made = gst::ElementFactory::make(factory).build().is_ok();
    if let Ok(mut tried) = TRIED.lock() {
        // Loading the plugin may have changed the cookie.
        let cookie = gst::Registry::get().feature_list_cookie();
        tried.insert(factory.to_owned(), (made, cookie));
    }
    made
}

/// libav encoders are wrapped automatically, and most are experimental, or need hardware
/// that is not probed. These are useful as a last resort.
const LIBAV: [&str; 2] = ["avenc_aac", "avenc_ffv1"];

/// Encoders per codec according to their pad templates, and the registry cookie of that lookup.
type Makers = (u32, HashMap<Codec, Vec<gst::ElementFactory>>);

/// Searching the whole registry takes a significant part of a millisecond.
static MAKERS: Lazy<Mutex<Makers>> = Lazy::new(Mutex::default);

fn makers(codec: Codec) -> Vec<gst::ElementFactory> {
    let cookie = gst::Registry::get().feature_list_cookie();
    let Ok(mut known) = MAKERS.lock() else {
        return look_for(codec);
    };
    if known.0 != cookie {
        *known = (cookie, HashMap::new());
    }
    let of_codec = known.1.entry(codec);
    of_codec.or_insert_with(|| look_for(codec)).clone()
}

fn look_for(codec: Codec) -> Vec<gst::ElementFactory> {
    let wanted = encoded_caps(codec);
    let makes = |factory: &gst::ElementFactory| {
        factory.static_pad_templates().iter().any(|template| {
            template.direction() == gst::PadDirection::Src
                && !template.caps().is_any()
                && template.caps().can_intersect(&wanted)
        })
    };
    gst::ElementFactory::factories_with_type(gst::ElementFactoryType::ENCODER, gst::Rank::NONE)
        .into_iter()
        .filter(|factory| {
            let name = factory.name();
            (!name.starts_with("avenc_") || LIBAV.contains(&name.as_str())) && makes(factory)
        })
        .collect()
}

/// The encoders for `codec` that can be created, by rank; those with rank NONE only if
/// there are no others. Empty for PCM, which needs no encoder.
pub fn encoders(codec: Codec) -> Vec<gst::ElementFactory> {
    if codec == Codec::Pcm || codec.is_only_copied() {
        return Vec::new();
    }
    let mut found = all_encoders(codec);
    if found.iter().any(|factory| factory.rank() > gst::Rank::NONE) {
        found.retain(|factory| factory.rank() > gst::Rank::NONE);
    }
    found
}

/// The same, but always including encoders with rank NONE.
pub(super) fn all_encoders(codec: Codec) -> Vec<gst::ElementFactory> {
    let mut found = makers(codec);
    found.sort_by(|a, b| {
        b.rank()
            .cmp(&a.rank())
            .then_with(|| a.name().cmp(&b.name()))
    });
    found.retain(|factory| creatable(&factory.name()));
    found
}

/// Whether raw media can be encoded with `codec`, with the installed plugins.
pub fn can_encode(codec: Codec) -> bool {
    codec == Codec::Pcm || !encoders(codec).is_empty()
}

/// Sink template caps of the decoders that decodebin would use.
fn decoder_caps() -> impl Iterator<Item = gst::Caps> {
    let types = gst::ElementFactoryType::DECODER;
    let all = gst::ElementFactory::factories_with_type(types, gst::Rank::MARGINAL);
    all.into_iter()
        .flat_map(|factory| factory.static_pad_templates())
        .filter(|template| template.direction() == gst::PadDirection::Sink)
        .map(|template| template.caps())
        .filter(|caps| !caps.is_any())
}

/// Whether there is a decoder that decodebin would use for media with these caps.
pub fn can_decode(caps: &gst::CapsRef) -> bool {
    let caps = without_form(caps);
    decoder_caps().any(|taken| taken.can_intersect(&caps))
}

/// Encoded caps of this kind that decodebin's decoders accept.
pub fn decodable_caps(kind: Kind) -> gst::Caps {
    let mut all = gst::Caps::new_empty();
    for caps in decoder_caps() {
        for structure in caps.iter() {
            let one = gst::Caps::builder_full()
                .structure(structure.to_owned())
                .build();
            if kind_of_caps(&one) == Some(kind) && !is_raw(&one) {
                all.merge(one);
            }
        }
    }
    all
}

/// Caps without the fields that parsers can convert.
fn without_form(caps: &gst::CapsRef) -> gst::Caps {
    const FORM: [&str; 4] = ["stream-format", "alignment", "framed", "parsed"];
    let mut caps = caps.to_owned();
    if let Some(structure) = caps.make_mut().structure_mut(0) {
        structure.remove_fields(FORM);
    }
    caps
}

/// Whether media encoded with `codec` can be muxed into `container`, with the installed plugins.
pub fn can_mux(codec: Codec, container: Container) -> bool {
    container.takes(codec)
        && creatable(muxer_factory(container))
        && parser(codec, container).is_none_or(creatable)
}

/// An encoder and its Debian package, for error messages.
pub(super) fn encoder_package(codec: Codec) -> (&'static str, &'static str) {
    row_of(codec).encoder
}

/// The Debian package of a muxer, parser or converter, for error messages.
pub fn package(factory: &str) -> &'static str {
    match factory {
        "audioconvert" | "audioresample" | "videoconvert" | "videoscale" | "decodebin" => {
            "gstreamer1.0-plugins-base"
        }
        "h264timestamper" | "h265timestamper" => "gstreamer1.0-plugins-bad",
        "h264parse" | "h265parse" | "av1parse" | "vp9parse" => "gstreamer1.0-plugins-bad",
        "oggmux" => "gstreamer1.0-plugins-base",
        "identity" => "libgstreamer1.0-0",
        _ => "gstreamer1.0-plugins-good",
    }
}
