//! Containers: their muxers, required parsers, and output caps.

use super::{codecs::row_of, registry::package};
use crate::model::{Codec, Container, Error, Kind};

/// The muxer for `container`. flacenc's output already is a FLAC file, including header updates, and an MP3 file
/// consists of frames after a tag and an Info frame: for these two, the "muxer" is a pass-through element.
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

/// Creates and configures a muxer for `container`.
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
        // Fragments of single samples, which are joined downstream of the muxer: see `patch/mp4/fragmenter.rs`.
        Container::Mp4 => &[("fragment-duration", "1"), ("fragment-mode", "dash-or-mss")],
        Container::WebM | Container::Matroska => &[
            ("writing-app", "gst-plugin-mediarecorder"),
            // 500 ms; by default, there is an index entry for each audio packet: a sixth of the file.
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

/// The container's limit for media, in bytes; `None` if unlimited.
///
/// WAV sizes are 32 bits, and the size of the RIFF chunk includes headers and tags (Multimedia Programming
/// Interface and Data Specifications 1.0, 1991), for which one mebibyte is reserved.
pub fn most_bytes(container: Container) -> Option<u64> {
    match container {
        Container::Wav => Some(u64::from(u32::MAX) - (1 << 20)),
        _ => None,
    }
}

/// Upper bound for what is appended at the end of a file: a constant, and a number of bytes per packet.
pub fn index_bytes(container: Container) -> (u64, u64) {
    match container {
        Container::Mp4 => (4096, 16),
        Container::WebM | Container::Matroska => (2048, 2),
        Container::Wav | Container::Flac | Container::Mp3 | Container::Ogg => (1024, 0),
    }
}

/// Makes the muxer finish its current unit at least every `timeslice` nanoseconds of media, where a property allows it.
pub fn set_timeslice(muxer: &gst::Element, container: Container, timeslice: u64) {
    match container {
        Container::Ogg => {
            let delay = timeslice.clamp(1, 500_000_000);
            super::encoder::set(muxer, "max-page-delay", &delay.to_string());
        }
        // Otherwise a cluster that starts just before the end of a timeslice would extend beyond it.
        Container::WebM | Container::Matroska => {
            let cluster = timeslice.saturating_add(100_000_000);
            let cluster = cluster.clamp(SHORTEST_CLUSTER, LONGEST_CLUSTER);
            super::encoder::set(muxer, "min-cluster-duration", &cluster.to_string());
        }
        _ => {}
    }
}

/// Makes mp4mux rewrite its header at the end, although its output claims not to be seekable, so that mp4mux keeps no
/// fragment index, which would have an entry per sample. Call once muxing has started.
pub fn complete_header(muxer: &gst::Element) {
    super::encoder::set(muxer, "fragment-mode", "dash-or-mss");
}

/// matroskamux's own minimum, and the maximum that timeslices may require.
const SHORTEST_CLUSTER: u64 = 500_000_000;
const LONGEST_CLUSTER: u64 = 5_000_000_000;
/// A unit that ends this much later than a timeslice still ends with it, since timestamps are rounded.
pub const ROUNDING: u64 = 500_000;

/// Role of clusters or fragments in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Units {
    /// There are none.
    #[default]
    None,
    /// A player accepts any part of the stream, but should start at the beginning of a unit.
    Open,
    /// An incomplete unit is unusable.
    Closed,
}

/// The role of units in a container with these caps.
pub fn units(caps: &gst::CapsRef) -> Units {
    match caps.structure(0).map(|structure| structure.name().as_str()) {
        Some("video/quicktime") => Units::Closed,
        Some(name) if name.ends_with("webm") || name.ends_with("x-matroska") => Units::Open,
        _ => Units::None,
    }
}

/// Name template of the muxer's sink pad for a track of `kind`: a request pad, or the always pad `sink`.
pub fn mux_pad_template(container: Container, kind: Kind) -> &'static str {
    match (container.takes_many(), kind) {
        (false, _) => "sink",
        (true, Kind::Audio) => "audio_%u",
        (true, Kind::Video) => "video_%u",
    }
}

/// Caps of a blob, without fields that are only known later. `kind` is Video if there is any video track.
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

/// The element required between the encoder (or encoded input) and the muxer, if any.
pub fn parser(codec: Codec, container: Container) -> Option<&'static str> {
    row_of(codec).parser(container)
}

/// The element that generates decode times if upstream has none (as with Matroska), for containers that need
/// them. `None` if none is needed or installed.
pub fn timestamper(codec: Codec, container: Container) -> Option<&'static str> {
    let factory = row_of(codec).timestamper?;
    (container == Container::Mp4 && super::registry::creatable(factory)).then_some(factory)
}

/// Caps for the parser's output: the one of the codec's stream formats that the muxer expects. `None` without a choice.
pub fn mux_caps(codec: Codec, container: Container) -> Option<gst::Caps> {
    let row = row_of(codec);
    // Without a parser, the format cannot change.
    let form = row.parser(container).and(row.form)?;
    let mut caps = super::caps::encoded_caps(codec);
    let structure = caps.make_mut().structure_mut(0)?;
    for (field, value) in form {
        structure.set(*field, *value);
    }
    if (codec, container) == (Codec::Aac, Container::Matroska) {
        // ADTS may be labelled MPEG-2, which has a codec ID in Matroska but not in mp4mux.
        structure.set("mpegversion", gst::List::new([4i32, 2]));
    }
    Some(caps)
}
