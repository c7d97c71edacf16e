//! The chain of one track: from where its media goes in to the muxer's pad.

use super::{ContainerEnd, Listener, TrackMedia, factory_name, failed, make};
use crate::{
    formats::{self, Delay, Plan, Recorded},
    model::{Codec, Container, Error, Kind},
    session::{
        Settings,
        caps_ladder::{self, Watched},
        container_limit, encoder_delay,
        encoding::{MadeFor, front, set_up_encoder},
        exchange::{self, Section},
        fixups::{self, ChainSpec, MuxerSite},
        io_pads::appsrc,
        orientation,
        probe::probe,
        system_memory,
    },
};
use gst::prelude::*;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// The beginning of a track, and its encoder if it has one.
#[derive(Debug, Clone)]
pub struct Feed {
    pub appsrc: gst_app::AppSrc,
    pub encoder: Option<gst::Element>,
    /// Whether the muxer can be told that nothing comes.
    pub takes_gaps: bool,
    pub(super) mux_pad: gst::Pad,
    /// Of audio.
    pub(super) delay: Option<Delay>,
    /// What its encoder is given, of raw video.
    pub picture: Option<formats::Picture>,
}

/// Builds the chains of one recording.
pub struct ChainBuilder<'a, L> {
    pub pipeline: &'a gst::Pipeline,
    pub end: &'a ContainerEnd,
    pub plan: &'a Plan,
    pub settings: &'a Settings,
    /// Factories of encoders that have failed in this recording.
    pub failed_before: &'a [String],
    /// Encoders that there would be another for and that nothing has come out of.
    pub unproven: &'a Arc<AtomicUsize>,
    pub listener: &'a Arc<L>,
}

/// A chain as far as it is built.
struct Chain {
    spec: ChainSpec,
    appsrc: gst_app::AppSrc,
    /// Its src pad.
    source: gst::Pad,
    /// What follows, but for a decoder.
    elements: Vec<gst::Element>,
    encoder: Option<gst::Element>,
    /// See [`fixups::Install::Parser`].
    is_mixed: Arc<AtomicBool>,
}

impl<L: Listener> ChainBuilder<'_, L> {
    /// The chain of a track, linked to the muxer; nothing runs yet.
    pub fn build(&self, index: usize, track: &TrackMedia<'_>) -> Result<Feed, Error> {
        let spec = self.spec(index, track)?;
        let mut chain = self.source(spec, track)?;
        if !chain.spec.copied {
            self.add_encoder(&mut chain, index, track)?;
        }
        self.add_parser(&mut chain, index, track)?;
        let (behind, out) = self.add_to_pipeline(&chain, track.name)?;
        let mux_pad = self
            .end
            .mux_pad(chain.spec.codec.kind())
            .ok_or_else(|| failed(track.name, "the muxer takes no more tracks"))?;
        self.set_up_mux_pad(&chain, (index, track.name), &out, &mux_pad);
        out.link(&mux_pad).map_err(|err| {
            Error::not_supported(format!(
                "{} cannot carry the track of {} ({}): {err}",
                self.plan.container.name(),
                track.name,
                track.caps
            ))
        })?;
        let downstream = behind.unwrap_or_else(|| mux_pad.clone());
        let section = Section::new(&chain.source, &downstream, Vec::new());
        caps_ladder::watch(
            &chain.source,
            section,
            self.watched(&chain, index, track, &mux_pad),
        );
        Ok(Feed {
            delay: chain.spec.delay(),
            takes_gaps: chain.spec.takes_gaps(),
            picture: chain.spec.picture,
            appsrc: chain.appsrc,
            encoder: chain.encoder,
            mux_pad,
        })
    }

    fn spec(&self, index: usize, track: &TrackMedia<'_>) -> Result<ChainSpec, Error> {
        let codec = self.plan.codecs.get(index);
        Ok(ChainSpec {
            container: self.plan.container,
            codec: *codec.ok_or_else(|| failed(track.name, "no codec"))?,
            copied: self.plan.copied.get(index).copied().unwrap_or_default(),
            has_parser: self.plan.parser(index).is_some(),
            caps: track.caps.clone(),
            picture: self.plan.picture(index, &track.caps, self.settings.keep),
            encoder: None,
            takes_over: false,
            audio_only: self.plan.kind == Kind::Audio,
            is_first: index == 0,
        })
    }

    fn source(&self, spec: ChainSpec, track: &TrackMedia<'_>) -> Result<Chain, Error> {
        let need_data = Arc::downgrade(self.listener);
        let appsrc = appsrc(track, move || {
            if let Some(listener) = need_data.upgrade() {
                listener.need_data();
            }
        });
        let source = appsrc
            .static_pad("src")
            .ok_or_else(|| failed(track.name, "no src pad"))?;
        fixups::on_source(&source, &spec);
        if spec.is_raw() && spec.codec.kind() == Kind::Video {
            let listener = Arc::downgrade(self.listener);
            system_memory::bring_over(&source, track.name, move |error| {
                if let Some(listener) = listener.upgrade() {
                    listener.error(None, error);
                }
            });
        }
        Ok(Chain {
            spec,
            appsrc,
            source,
            elements: Vec::new(),
            encoder: None,
            is_mixed: Arc::default(),
        })
    }

    /// Converters, and the encoder unless the codec is raw media itself.
    fn add_encoder(
        &self,
        chain: &mut Chain,
        index: usize,
        track: &TrackMedia<'_>,
    ) -> Result<(), Error> {
        let spec = &chain.spec;
        let mut elements = front(spec, track)?;
        if spec.codec.kind() == Kind::Video
            && let Ok(flip) = make("videoflip", &format!("{}-videoflip", track.name))
        {
            orientation::follow(&flip);
            // In front of the scaler.
            elements.insert(1, flip);
        }
        if spec.codec != Codec::Pcm {
            let made_for = MadeFor {
                track,
                spec,
                settings: self.settings,
                failed_before: self.failed_before,
                key_at: None,
            };
            let made = |encoder: &gst::Element| self.listener.encoder(index, encoder);
            let (encoder, is_last) = set_up_encoder(&made_for, made)?;
            if !is_last {
                self.prove(&encoder);
            }
            chain.spec.encoder = factory_name(&encoder);
            elements.push(encoder.clone());
            chain.encoder = Some(encoder);
        }
        chain.elements = elements;
        Ok(())
    }

    /// Tells the listener once something has come out of this encoder, and of all others of its kind.
    fn prove(&self, encoder: &gst::Element) {
        let Some(pad) = encoder.static_pad("src") else {
            return;
        };
        self.unproven.fetch_add(1, Ordering::SeqCst);
        let (unproven, listener) = (self.unproven.clone(), Arc::downgrade(self.listener));
        probe(&pad, gst::PadProbeType::BUFFER, move |_, _| {
            if unproven.fetch_sub(1, Ordering::SeqCst) == 1
                && let Some(listener) = listener.upgrade()
            {
                listener.encoders_work();
            }
            gst::PadProbeReturn::Remove
        });
    }

    /// What gives encoded media the form that the muxer wants.
    fn add_parser(
        &self,
        chain: &mut Chain,
        index: usize,
        track: &TrackMedia<'_>,
    ) -> Result<(), Error> {
        let Chain { spec, elements, .. } = chain;
        if let Some(parser) = self.plan.parser(index) {
            let parser = make(parser, &format!("{}-parser", track.name))?;
            if parser.has_property("config-interval") && !spec.copied {
                parser.set_property_from_str("config-interval", "0");
            }
            fixups::on_parser(&parser, spec, &chain.is_mixed);
            elements.push(parser);
        }
        if let Some(caps) = self.plan.mux_caps(index) {
            let filter = make("capsfilter", &format!("{}-encoded", track.name))?;
            filter.set_property("caps", caps);
            elements.push(filter);
        }
        if spec.copied
            && track.lacks_dts
            && let Some(factory) = formats::timestamper(spec.codec, spec.container)
        {
            elements.push(make(factory, &format!("{}-timestamper", track.name))?);
        }
        Ok(())
    }

    /// Puts the chain into the pipeline. Returns its first pad, in front of which a decoder and an encoder may have to go, unless
    /// that is the muxer's; and the last pad.
    fn add_to_pipeline(
        &self,
        chain: &Chain,
        name: &str,
    ) -> Result<(Option<gst::Pad>, gst::Pad), Error> {
        let mut row = vec![chain.appsrc.clone().upcast()];
        row.extend(chain.elements.iter().cloned());
        let error = |err: glib::BoolError| failed(name, err);
        self.pipeline.add_many(&row).map_err(error)?;
        exchange::link_all(&row).map_err(error)?;
        let behind = chain.elements.first();
        let behind = behind.and_then(|first| first.static_pad("sink"));
        let out = match chain.elements.last() {
            Some(last) => last.static_pad("src"),
            None => Some(chain.source.clone()),
        };
        let out = out.ok_or_else(|| failed(name, "no src pad"))?;
        Ok((behind, out))
    }

    fn set_up_mux_pad(
        &self,
        chain: &Chain,
        (index, name): (usize, &str),
        out: &gst::Pad,
        mux_pad: &gst::Pad,
    ) {
        let spec = &chain.spec;
        let kind = spec.codec.kind();
        let before = self.plan.codecs.iter().take(index);
        self.end.begin_with(mux_pad);
        if self.leads(index) {
            // Opus is stamped later only behind this.
            let is_late = !matches!(spec.delay(), Some(Delay::PreSkip(_)));
            let has_others = self.plan.codecs.len() > 1;
            self.end.align_clusters(mux_pad, is_late, has_others);
        }
        let listener: Arc<dyn Listener> = self.listener.clone();
        fixups::on_muxer(&MuxerSite {
            spec,
            name,
            index,
            index_in_kind: before.filter(|codec| codec.kind() == kind).count(),
            source: &chain.source,
            encoder: chain.encoder.as_ref(),
            out,
            mux_pad,
            end: self.end,
            listener: Arc::downgrade(&listener),
        });
        let is_stamped_late = !matches!(spec.delay(), None | Some(Delay::PreSkip(_)));
        if is_stamped_late && spec.encoder_delay() > 0 {
            encoder_delay::listen(mux_pad, spec.encoder_delay(), self.end.note_delay(index));
        }
        if let Some(most) = container_limit::in_force(formats::most_bytes(spec.container)) {
            let (listener, container) = (Arc::downgrade(self.listener), spec.container);
            container_limit::watch(mux_pad, most, move || {
                if let Some(listener) = listener.upgrade() {
                    listener.error(None, full(container, most));
                }
            });
        }
    }

    /// Whether clusters begin with buffers of this track. Video first: with it a cluster is begun at a key frame where there is
    /// one.
    fn leads(&self, index: usize) -> bool {
        let is_video = |codec: &Codec| codec.kind() == Kind::Video;
        let first = self.plan.codecs.iter().position(is_video);
        index == first.unwrap_or(0)
    }

    fn watched(
        &self,
        chain: &Chain,
        index: usize,
        track: &TrackMedia<'_>,
        mux_pad: &gst::Pad,
    ) -> Watched<L> {
        let spec = &chain.spec;
        Watched {
            recorded: Recorded {
                codec: spec.codec,
                copied: spec.copied,
                first: track.caps.clone(),
            },
            spec: spec.clone(),
            index,
            name: track.name.to_owned(),
            bits_per_second: track.bits_per_second,
            room: track.room,
            headroom: spec.headroom(),
            settings: self.settings.clone(),
            failed_before: self.failed_before.to_vec(),
            is_mixed: chain.is_mixed.clone(),
            mux_pad: mux_pad.downgrade(),
            listener: Arc::downgrade(self.listener),
        }
    }
}

/// The container can say no more.
fn full(container: Container, most: u64) -> Error {
    Error::unknown(format!(
        "{} holds no more than {most} bytes of media, and that many are recorded: here the recording ends. \
         Longer ones go into audio/x-matroska;codecs=pcm, or smaller into audio/flac.",
        container.name()
    ))
}
