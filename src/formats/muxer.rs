//! Containers: what writes them, what has to stand in front, and what their bytes are called.

use super::{codecs::row_of, registry::package};
use crate::model::{Codec, Container, Error, Kind};

/// The element that writes `container`. What flacenc puts out is a FLAC file already, header
/// patch and all, and frames of MP3 are a file with what stands in front of them: there the muxer is an element that
/// changes nothing.
pub(super) fn muxer_factory(container: Container) -> &'static str {
    match container {
        Container::WebM => "webmmux",
        Container::Matroska => "matroskamux",
        Container::Mp4 => "mp4mux",
        Container::Ogg => "oggmux",
        Container::Wav => "wavenc",
        Container::Flac | Container::Mp3 => "identity",
    }
}

/// A new muxer for `container`, configured.
pub fn muxer(container: Container) -> Result<gst::Element, Error> {
    let factory = muxer_factory(container);
    let muxer = gst::ElementFactory::make(factory)
        .build()
        .map_err(|error| {
            Error::not_supported(format!(
                "{} cannot be written: {error}; install {} (element {factory})",
                container.name(),
                package(factory)
            ))
        })?;
    let settings: &[(&str, &str)] = match container {
        // Of single samples: they are joined behind the muxer, see `patch/mp4/fragmenter.rs`.
        Container::Mp4 => &[("fragment-duration", "1"), ("fragment-mode", "dash-or-mss")],
        Container::WebM | Container::Matroska => &[
            ("writing-app", "gst-plugin-mediarecorder"),
            // Half a second: else the index has an entry for each packet of sound, a sixth of the file.
            ("min-index-interval", "500000000"),
        ],
        Container::Flac | Container::Mp3 => &[("signal-handoffs", "false")],
        Container::Ogg | Container::Wav => &[],
    };
    for (property, value) in settings {
        super::encoder::set(&muxer, property, value);
    }
    Ok(muxer)
}

/// Bytes of media that the container can say it has, `None` for any number.
///
/// WAV: its sizes have 32 bits, and the outermost one counts headers and tags too (Multimedia Programming
/// Interface and Data Specifications 1.0, 1991), for which a mebibyte is left.
pub fn most_bytes(container: Container) -> Option<u64> {
    match container {
        Container::Wav => Some(u64::from(u32::MAX) - (1 << 20)),
        _ => None,
    }
}

/// What the end of a file adds to it at the most: so many bytes, and so many for each packet in it.
pub fn index_bytes(container: Container) -> (u64, u64) {
    match container {
        Container::Mp4 => (4096, 16),
        Container::WebM | Container::Matroska => (2048, 2),
        Container::Wav | Container::Flac | Container::Mp3 | Container::Ogg => (1024, 0),
    }
}

/// Has the muxer finish what it writes at least every `timeslice` nanoseconds of media, as far as it can
/// be told so by a property.
pub fn set_timeslice(muxer: &gst::Element, container: Container, timeslice: u64) {
    match container {
        Container::Ogg => {
            let delay = timeslice.clamp(1, 500_000_000);
            super::encoder::set(muxer, "max-page-delay", &delay.to_string());
        }
        // A cluster that begins by itself just before a timeslice ends would end it.
        Container::WebM | Container::Matroska => {
            let cluster = timeslice.saturating_add(100_000_000);
            let cluster = cluster.clamp(SHORTEST_CLUSTER, LONGEST_CLUSTER);
            super::encoder::set(muxer, "min-cluster-duration", &cluster.to_string());
        }
        _ => {}
    }
}

/// Has mp4mux write its header again at the end, though it was told that downstream cannot seek, for the sake of which it
/// keeps no index of the fragments: that would have an entry for every sample. To be called once it has begun.
pub fn complete_header(muxer: &gst::Element) {
    super::encoder::set(muxer, "fragment-mode", "dash-or-mss");
}

/// matroskamux' own least, and as long as clusters may become for the sake of timeslices.
const SHORTEST_CLUSTER: u64 = 500_000_000;
const LONGEST_CLUSTER: u64 = 5_000_000_000;
/// What ends so little after a timeslice ends with it: stamps are rounded.
pub const ROUNDING: u64 = 500_000;

/// What clusters or fragments are to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Units {
    /// It has none.
    #[default]
    None,
    /// Media may be appended to a player's buffer in any pieces, but begins well with one.
    Open,
    /// Media in a part of one is of no use without the rest.
    Closed,
}

/// What they are to the container with these caps.
pub fn units(caps: &gst::CapsRef) -> Units {
    match caps.structure(0).map(|structure| structure.name().as_str()) {
        Some("video/quicktime") => Units::Closed,
        Some(name) if name.ends_with("webm") || name.ends_with("x-matroska") => Units::Open,
        _ => Units::None,
    }
}

/// The template of the muxer's sink pad for a track of `kind`: a request pad, or `sink`, which is
/// always there.
pub fn mux_pad_template(container: Container, kind: Kind) -> &'static str {
    match (container.takes_many(), kind) {
        (false, _) => "sink",
        (true, Kind::Audio) => "audio_%u",
        (true, Kind::Video) => "video_%u",
    }
}

/// The caps of a blob, without what is known only later. `kind` is Video if any track is.
pub fn container_caps(container: Container, kind: Kind) -> gst::Caps {
    match container {
        Container::WebM | Container::Matroska | Container::Ogg => {
            gst::Caps::new_empty_simple(container.essence(kind))
        }
        Container::Mp4 => gst::Caps::builder("video/quicktime")
            .field("variant", "iso")
            .build(),
        Container::Wav => gst::Caps::new_empty_simple("audio/x-wav"),
        Container::Flac => gst::Caps::new_empty_simple("audio/x-flac"),
        Container::Mp3 => gst::Caps::builder("audio/mpeg")
            .field("mpegversion", 1i32)
            .field("layer", 3i32)
            .build(),
    }
}

/// The element that goes between encoder (or encoded input) and muxer, if there has to be one.
pub fn parser(codec: Codec, container: Container) -> Option<&'static str> {
    row_of(codec).parser(container)
}

/// The element that makes up decode times where upstream has none (Matroska has none to give), for
/// a container that counts in them. `None` if none is needed, or none is installed.
pub fn timestamper(codec: Codec, container: Container) -> Option<&'static str> {
    let factory = row_of(codec).timestamper?;
    (container == Container::Mp4 && super::registry::creatable(factory)).then_some(factory)
}

/// What has to come out of the parser: one of the forms that a codec has, the one that the muxer
/// wants. `None` where there is no choice.
pub fn mux_caps(codec: Codec, container: Container) -> Option<gst::Caps> {
    let row = row_of(codec);
    // Without a parser it stays as it is.
    let form = row.parser(container).and(row.form)?;
    let mut caps = super::caps::encoded_caps(codec);
    let structure = caps.make_mut().structure_mut(0)?;
    for (field, value) in form {
        structure.set(*field, *value);
    }
    if (codec, container) == (Codec::Aac, Container::Matroska) {
        // ADTS may call itself MPEG-2, which Matroska has a name for and MP4 has not here.
        structure.set("mpegversion", gst::List::new([4i32, 2]));
    }
    Some(caps)
}
