//! Workarounds for bugs and omissions in GStreamer elements, implemented as pad probes and caps around them.
//!
//! [`TABLE`] has one row per workaround, in installation order; each file in this module implements one row, or a few
//! related ones. A row is removed once no supported version of GStreamer needs it: `tests.rs` disables each row in turn
//! and checks whether the bug still shows.

mod av1;
mod caps_once;
mod caps_overrides;
mod channel_order;
mod channel_positions;
pub(super) mod clipping;
mod codec_config;
mod colorimetry;
mod decode_times;
mod decoder_start;
mod durations;
mod empty_tracks;
mod encoder_drain;
mod flac;
mod gaps;
mod keep_payload;
mod key_marks;
mod mp3_file;
mod mpeg4;
mod muxer_caps;
mod ogg_ends;
mod ogg_pages;
mod opus;
mod opus_header;
mod table;
#[cfg(test)]
mod tests;
mod theora_cfr;
mod vp8_in_ogg;

pub use durations::keep as keep_durations;
pub use empty_tracks::TrackCount;
pub use gaps::{event as gap, pass as pass_gaps};
pub use muxer_caps::accept_all;
pub use table::TABLE;

use super::pipeline::{ContainerEnd, Listener, TrackMedia, failed};
use super::{alpha_encoder, alpha_input, overlap::Overlap};
use crate::{
    formats::{self, Keep, Plan, VideoInput},
    gate::headroom,
    log::CAT,
    model::{Codec, Container, Error, Kind},
};
use gst::prelude::*;
use std::sync::{Arc, Weak, atomic::AtomicBool};

/// One bug, and its workaround.
pub struct Fixup {
    pub name: &'static str,
    /// Factory name of the faulty element, or several separated by commas.
    pub element: &'static str,
    /// The versions that have the bug, as demonstrated by its proof in `tests/proofs.rs`.
    pub versions: Versions,
    /// What the element does wrong.
    pub report: &'static str,
    /// Whether a chain may be affected.
    pub needed: fn(&ChainSpec) -> bool,
    /// Installs the workaround; the variant names the stage of chain construction.
    pub install: Install,
}

/// Versions of GStreamer (major, minor) that have a bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// All known versions.
    All,
    /// Versions older than this one.
    Before(u32, u32),
    /// This version and newer ones.
    From(u32, u32),
}

#[cfg(test)]
impl Versions {
    fn contain(self, version: (u32, u32)) -> bool {
        match self {
            Versions::All => true,
            Versions::Before(major, minor) => version < (major, minor),
            Versions::From(major, minor) => version >= (major, minor),
        }
    }
}

/// Where in a chain a fixup is installed. The stages are those of [`super::pipeline`], in the same order.
pub enum Install {
    /// On the appsrc's src pad, where media arrives from the gate.
    Source(fn(&gst::Pad, &ChainSpec)),
    /// Among the converters in front of an encoder: the first one accepts any raw media, the last one is the capsfilter
    /// that sets the encoder's input caps.
    Converters(fn(&mut Vec<gst::Element>, &ChainSpec, &TrackMedia<'_>) -> Result<(), Error>),
    /// Around an encoder that is not in a pipeline yet.
    Encoder(fn(&gst::Element, &ChainSpec)),
    /// Downstream of a decoder that takes over in the middle of a track: on its downstream pad, with the start time.
    Decoder(fn(&gst::Pad, gst::ClockTime)),
    /// Around a parser that is not in a pipeline yet. The flag is set once frames of another encoder have been mixed
    /// into the copied stream.
    Parser(fn(&gst::Element, &ChainSpec, &Arc<AtomicBool>)),
    /// Between the rest of the chain and the muxer.
    Muxer(fn(&MuxerSite<'_>)),
}

/// Describes the chain to be built for a track.
#[derive(Debug, Clone)]
pub struct ChainSpec {
    pub container: Container,
    pub codec: Codec,
    /// Whether the stream is remuxed without re-encoding.
    pub copied: bool,
    /// Whether there is a parser in front of the muxer.
    pub has_parser: bool,
    /// Initial caps at the gate's output.
    pub caps: gst::Caps,
    /// Format of the raw video encoder's input.
    pub video_input: Option<VideoInput>,
    /// Factory name of the encoder; set from [`Install::Encoder`] on.
    pub encoder: Option<glib::GString>,
    /// Whether this encoder takes over in the middle of a copied track, whose header has already been written.
    pub takes_over: bool,
    /// Whether this encoder continues a track that another encoder started.
    pub resumes: bool,
    /// Input caps of the track's first encoder, once known.
    pub form: Option<gst::Caps>,
    /// The audio around its part.
    pub overlap: Arc<Overlap>,
    /// Whether the recording has audio tracks only.
    pub audio_only: bool,
    /// Whether this is the first track of the recording.
    pub is_first: bool,
    /// Whether this is the only track of the recording.
    pub is_only: bool,
}

impl ChainSpec {
    /// Derives the spec of a track from the plan.
    pub fn of(
        plan: &Plan,
        index: usize,
        track: &TrackMedia<'_>,
        keep: Keep,
    ) -> Result<Self, Error> {
        let codec = plan.codecs.get(index);
        Ok(ChainSpec {
            container: plan.container,
            codec: *codec.ok_or_else(|| failed(track.name, "no codec"))?,
            copied: plan.copied.get(index).copied().unwrap_or_default(),
            has_parser: plan.parser(index).is_some(),
            caps: track.caps.clone(),
            video_input: plan.video_input(index, &track.caps, keep, track.is_turned()),
            encoder: None,
            takes_over: false,
            resumes: false,
            form: None,
            overlap: track.overlap.clone(),
            audio_only: plan.kind == Kind::Audio,
            is_first: index == 0,
            is_only: plan.codecs.len() == 1,
        })
    }

    /// The track as it is stored in the file.
    pub fn recorded(&self) -> formats::Recorded {
        formats::Recorded {
            codec: self.codec,
            copied: self.copied,
            first: self.caps.clone(),
        }
    }

    /// Whether the input is raw media.
    pub fn is_raw(&self) -> bool {
        formats::is_raw(&self.caps)
    }

    /// Whether the muxer receives packets in the form that [`formats::join_alpha`] produces.
    pub fn has_joined_alpha(&self) -> bool {
        let splits = self.video_input.as_ref().is_some_and(|p| p.splits_alpha);
        if self.copied {
            alpha_encoder::are_joined(&self.caps) || self.joins_alpha()
        } else {
            splits
        }
    }

    /// Whether copied packets have alpha that the container stores.
    pub fn joins_alpha(&self) -> bool {
        self.copies_alpha() && formats::stores_alpha(self.codec, self.container)
    }

    /// Whether copied packets have alpha that the container does not store.
    pub fn loses_alpha(&self) -> bool {
        self.copies_alpha() && !self.joins_alpha()
    }

    fn copies_alpha(&self) -> bool {
        self.copied && alpha_input::has_alpha(&self.caps)
    }

    /// Offset of the timestamps from recorded time, in nanoseconds. Nonzero where decode times may be negative and the
    /// container can express that.
    pub fn headroom(&self) -> u64 {
        if self.copied && self.container == Container::Mp4 && self.is_reorderable() {
            headroom(&self.caps)
        } else {
            0
        }
    }

    /// Whether the muxer can be notified of gaps, so that it does not wait for this track.
    pub fn takes_gaps(&self) -> bool {
        self.container != Container::Ogg || self.copied && self.codec == Codec::Theora
    }

    /// Whether decode order may differ from presentation order.
    fn is_reorderable(&self) -> bool {
        matches!(self.codec, Codec::H264 | Codec::H265)
    }

    /// The audio delay that has to be signalled in the container.
    pub fn delay(&self) -> Option<formats::Delay> {
        let delay = || formats::delay(self.codec, self.container, self.encoder.as_deref());
        (self.codec.kind() == Kind::Audio).then(delay)
    }

    /// Encoder delay, in samples, that has to be drained at the end.
    pub fn drained_delay(&self) -> u32 {
        match self.delay() {
            // Its packets are stamped like the copied packets before them.
            Some(_) if self.takes_over => self.encoder_delay(),
            Some(formats::Delay::Samples(samples)) => samples,
            _ => 0,
        }
    }

    /// What the encoder needs from beyond its part.
    pub fn seam(&self) -> formats::Seam {
        if self.copied {
            return formats::Seam::default();
        }
        formats::seam(self.codec, self.encoder.as_deref())
    }

    /// Encoder delay in samples, whether or not the container signals it.
    pub fn encoder_delay(&self) -> u32 {
        let encoder = self.encoder.as_deref();
        encoder.map_or(0, formats::encoder_delay)
    }
}

/// The end of a track's chain, and the muxer pad that it is about to be linked to.
pub struct MuxerSite<'a> {
    pub spec: &'a ChainSpec,
    /// Name of the track's sink pad.
    pub name: &'a str,
    /// Index of the track in the recording.
    pub index: usize,
    /// Index among the tracks of the same kind.
    pub index_in_kind: usize,
    /// The sink pad that receives encoded media.
    pub parser: &'a gst::Pad,
    /// The last src pad in front of the muxer.
    pub out: &'a gst::Pad,
    pub mux_pad: &'a gst::Pad,
    pub end: &'a ContainerEnd,
    /// Is notified of media that cannot be recorded.
    pub listener: Weak<dyn Listener>,
}

/// The fixups to install in this chain at one stage; each one is logged.
fn needed<F>(spec: &ChainSpec, at_stage: impl Fn(&Install) -> Option<F>) -> Vec<F> {
    let rows = TABLE.iter().filter_map(|fixup| {
        let install = at_stage(&fixup.install)?;
        let needed = (fixup.needed)(spec) && is_on(fixup.name);
        let Fixup {
            name,
            element,
            versions,
            report,
            ..
        } = fixup;
        needed.then(|| {
            gst::log!(CAT, "Fixup {name}: {element} ({versions:?}) {report}");
            install
        })
    });
    rows.collect()
}

/// [`Install::Source`].
pub fn on_source(pad: &gst::Pad, spec: &ChainSpec) {
    for install in needed(spec, |install| match install {
        Install::Source(install) => Some(*install),
        _ => None,
    }) {
        install(pad, spec);
    }
}

/// [`Install::Converters`].
pub fn on_converters(
    chain: &mut Vec<gst::Element>,
    spec: &ChainSpec,
    track: &TrackMedia<'_>,
) -> Result<(), Error> {
    for install in needed(spec, |install| match install {
        Install::Converters(install) => Some(*install),
        _ => None,
    }) {
        install(chain, spec, track)?;
    }
    Ok(())
}

/// [`Install::Encoder`].
pub fn on_encoder(encoder: &gst::Element, spec: &ChainSpec) {
    for install in needed(spec, |install| match install {
        Install::Encoder(install) => Some(*install),
        _ => None,
    }) {
        install(encoder, spec);
    }
}

/// [`Install::Decoder`].
pub fn on_decoder(next: &gst::Pad, from: gst::ClockTime, spec: &ChainSpec) {
    for install in needed(spec, |install| match install {
        Install::Decoder(install) => Some(*install),
        _ => None,
    }) {
        install(next, from);
    }
}

/// [`Install::Parser`].
pub fn on_parser(parser: &gst::Element, spec: &ChainSpec, is_mixed: &Arc<AtomicBool>) {
    for install in needed(spec, |install| match install {
        Install::Parser(install) => Some(*install),
        _ => None,
    }) {
        install(parser, spec, is_mixed);
    }
}

/// [`Install::Muxer`].
pub fn on_muxer(site: &MuxerSite<'_>) {
    for install in needed(site.spec, |install| match install {
        Install::Muxer(install) => Some(*install),
        _ => None,
    }) {
        install(site);
    }
}

/// Whether the row is enabled; only this crate's tests can disable one.
#[cfg(not(test))]
fn is_on(_name: &str) -> bool {
    true
}

/// Environment variable with the names of disabled rows, separated by commas; for this crate's tests only.
#[cfg(test)]
pub const SWITCHED_OFF: &str = "MEDIARECORDER_TEST_FIXUPS_OFF";

#[cfg(test)]
fn is_on(name: &str) -> bool {
    let off = std::env::var(SWITCHED_OFF).unwrap_or_default();
    off.split(',').all(|off| off != name)
}
