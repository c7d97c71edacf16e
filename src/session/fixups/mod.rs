//! What GStreamer's elements get wrong, or leave undone, put right by pad probes and caps around them.
//!
//! [`TABLE`] has one row for each, in the order in which they are installed; each file beside it does the work of one
//! row, or of a few that belong together. A row goes when no supported version of GStreamer needs it any more:
//! `tests.rs` switches each off and looks whether the fault appears.

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

use super::alpha_encoder;
use super::pipeline::{ContainerEnd, Listener, TrackMedia, failed};
use crate::{
    formats::{self, Keep, Picture, Plan},
    gate::headroom,
    log::CAT,
    model::{Codec, Container, Error, Kind},
};
use gst::prelude::*;
use std::sync::{Arc, Weak, atomic::AtomicBool};

/// One fault, and what is done about it.
pub struct Fixup {
    pub name: &'static str,
    /// The factory of the element at fault, or of the elements.
    pub element: &'static str,
    /// Where they have the fault, as its proof in `tests/proofs.rs` shows it.
    pub versions: Versions,
    /// What they do wrong.
    pub report: &'static str,
    /// Whether a chain is one in which the fault could show.
    pub needed: fn(&ChainSpec) -> bool,
    /// Puts it right; the variant is the stage of the chain's building.
    pub install: Install,
}

/// Versions of GStreamer, major and minor, that have a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// Every one that is known.
    All,
    /// Those before this one.
    Before(u32, u32),
    /// This one and those after it.
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

/// Where in a chain a fixup goes. The stages are those of [`super::pipeline`], in their order.
pub enum Install {
    /// On the pad out of which media comes as the gate gives it.
    Source(fn(&gst::Pad, &ChainSpec)),
    /// Into the converters in front of an encoder: the first takes any raw media, the last is the capsfilter whose
    /// caps the encoder gets.
    Converters(fn(&mut Vec<gst::Element>, &ChainSpec, &TrackMedia<'_>) -> Result<(), Error>),
    /// Around an encoder that is in no pipeline yet.
    Encoder(fn(&gst::Element, &ChainSpec)),
    /// Behind a decoder that takes over in the middle of a track: on the pad to which its media comes, from this time on.
    Decoder(fn(&gst::Pad, gst::ClockTime)),
    /// Around a parser that is in no pipeline yet. The flag is set once another encoder's frames are among those that are
    /// copied.
    Parser(fn(&gst::Element, &ChainSpec, &Arc<AtomicBool>)),
    /// Between what is built of the chain and the muxer.
    Muxer(fn(&MuxerSite<'_>)),
}

/// What a track's chain is built for.
#[derive(Debug, Clone)]
pub struct ChainSpec {
    pub container: Container,
    pub codec: Codec,
    /// Whether media is stored as it comes.
    pub copied: bool,
    /// Whether a parser stands in front of the muxer.
    pub has_parser: bool,
    /// What the gate gives at first.
    pub caps: gst::Caps,
    /// What the encoder of raw video is given.
    pub picture: Option<Picture>,
    /// The encoder's factory, from [`Install::Encoder`] on.
    pub encoder: Option<glib::GString>,
    /// Whether it takes over in the middle of a track that has been copied, and that has its header.
    pub takes_over: bool,
    /// Whether an encoder goes on with what another has begun.
    pub resumes: bool,
    /// What the first encoder of the track was given, once that is known.
    pub form: Option<gst::Caps>,
    /// Whether the recording is of audio alone.
    pub audio_only: bool,
    /// Whether the track is the recording's first.
    pub is_first: bool,
}

impl ChainSpec {
    /// What the plan says of a track.
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
            picture: plan.picture(index, &track.caps, keep, track.is_turned()),
            encoder: None,
            takes_over: false,
            resumes: false,
            form: None,
            audio_only: plan.kind == Kind::Audio,
            is_first: index == 0,
        })
    }

    /// The track as the file has it.
    pub fn recorded(&self) -> formats::Recorded {
        formats::Recorded {
            codec: self.codec,
            copied: self.copied,
            first: self.caps.clone(),
        }
    }

    /// Whether raw media comes in.
    pub fn is_raw(&self) -> bool {
        formats::is_raw(&self.caps)
    }

    /// Whether packets come to the muxer as [`formats::join_alpha`] makes them.
    pub fn has_joined_alpha(&self) -> bool {
        let splits = self.picture.as_ref().is_some_and(|p| p.splits_alpha);
        match self.copied {
            true => alpha_encoder::are_joined(&self.caps),
            false => splits,
        }
    }

    /// How much later than recorded time media is stamped, in nanoseconds: where decode times may lie before 0 and the
    /// container can say so.
    pub fn headroom(&self) -> u64 {
        match self.copied && self.container == Container::Mp4 && self.is_reorderable() {
            true => headroom(&self.caps),
            false => 0,
        }
    }

    /// Whether the muxer can be told that nothing comes, so that it does not wait.
    pub fn takes_gaps(&self) -> bool {
        self.container != Container::Ogg || self.copied && self.codec == Codec::Theora
    }

    /// Whether frames may be decoded in another order than they are shown in.
    fn is_reorderable(&self) -> bool {
        matches!(self.codec, Codec::H264 | Codec::H265)
    }

    /// What the container has to be told of the delay of audio.
    pub fn delay(&self) -> Option<formats::Delay> {
        let delay = || formats::delay(self.codec, self.container, self.encoder.as_deref());
        (self.codec.kind() == Kind::Audio).then(delay)
    }

    /// Samples that the encoder adds in front, whether the container is told or not.
    pub fn encoder_delay(&self) -> u32 {
        let encoder = self.encoder.as_deref();
        encoder.map_or(0, formats::encoder_delay)
    }
}

/// The end of a track's chain, and the muxer's pad that it is about to be linked to.
pub struct MuxerSite<'a> {
    pub spec: &'a ChainSpec,
    /// Name of the track's pad.
    pub name: &'a str,
    /// Its number among the recording's tracks.
    pub index: usize,
    /// Its number among those of its kind.
    pub index_in_kind: usize,
    /// The pad that takes what is encoded.
    pub parser: &'a gst::Pad,
    /// The last pad in front of the muxer.
    pub out: &'a gst::Pad,
    pub mux_pad: &'a gst::Pad,
    pub end: &'a ContainerEnd,
    /// Hears of what cannot be recorded.
    pub listener: Weak<dyn Listener>,
}

/// What has to be installed in this chain at one stage, each noted in the log.
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

/// Whether the tests of this crate have left it on.
#[cfg(not(test))]
fn is_on(_name: &str) -> bool {
    true
}

/// Names of rows that are off, for the tests of this crate: separated by commas, in the environment.
#[cfg(test)]
pub const SWITCHED_OFF: &str = "MEDIARECORDER_TEST_FIXUPS_OFF";

#[cfg(test)]
fn is_on(name: &str) -> bool {
    let off = std::env::var(SWITCHED_OFF).unwrap_or_default();
    off.split(',').all(|off| off != name)
}
