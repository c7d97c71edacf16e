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
/// `tracks`: their number.
pub fn set_timeslice(muxer: &gst::Element, container: Container, timeslice: u64, tracks: usize) {
    match container {
        Container::Ogg => {
            // Pages are written in the order of their ends. If there are others, long ones would be behind media that
            // is later than their beginning.
            let most = if tracks > 1 { 1 } else { 500_000_000 };
            let delay = timeslice.clamp(1, most);
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

/// Makes matroskamux end the cluster that begins at `begin` with the last packet that begins before `end`, or earlier
/// if that is far away. Call it before the next packet is muxed.
pub fn end_cluster(muxer: &gst::Element, begin: u64, end: u64) {
    // matroskamux counts from the cluster's timestamp.
    let left = end.saturating_sub(begin - begin % MATROSKA_TICK);
    let left = left / left.div_ceil(LONGEST_CLUSTER).max(1);
    super::encoder::set(muxer, "max-cluster-duration", &left.max(1).to_string());
}

/// Makes mp4mux rewrite its header at the end, although its output claims not to be seekable, so that mp4mux keeps no
/// fragment index, which would have an entry per sample. Call once muxing has started.
pub fn complete_header(muxer: &gst::Element) {
    super::encoder::set(muxer, "fragment-mode", "dash-or-mss");
}

/// matroskamux's own minimum, and the maximum that timeslices may require.
const SHORTEST_CLUSTER: u64 = 500_000_000;
const LONGEST_CLUSTER: u64 = 5_000_000_000;
/// Unit of its timestamps.
const MATROSKA_TICK: u64 = 1_000_000;

/// What a player has to begin with, and should be the beginning of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Units {
    /// Any part of the stream will do.
    #[default]
    None,
    /// Any part of the stream will do, but a cluster is better.
    Clusters,
    /// An incomplete fragment is unusable.
    Fragments,
}

/// The units of a container with these caps.
pub fn units(caps: &gst::CapsRef) -> Units {
    match caps.structure(0).map(|structure| structure.name().as_str()) {
        Some("video/quicktime") => Units::Fragments,
        Some(name) if name.ends_with("webm") || name.ends_with("x-matroska") => Units::Clusters,
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
