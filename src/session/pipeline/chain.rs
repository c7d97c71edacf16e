//! The chain of one track: from its appsrc to the muxer's pad.

use super::{ContainerEnd, Listener, TrackMedia, factory_name, failed, make};
use crate::{
    formats::{self, Delay, Plan, Recorded},
    model::{Codec, Container, Error, Kind, timeline::Ns},
    session::{
        Settings, alpha_input, aside,
        caps_ladder::{self, Watched},
        container_limit, diagnosis, encoder_delay,
        encoder_monitor::EncoderMonitor,
        encoding::{self, FailedEncoders, MadeFor, set_up_encoder, upright_front},
        exchange::{self, Section},
        fixups::{self, ChainSpec, MuxerSite},
        io_pads::appsrc,
        overlap,
        probe::probe,
        system_memory,
    },
};
use gst::prelude::*;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// A track's chain in the pipeline.
#[derive(Debug, Clone)]
pub struct Feed {
    pub appsrc: gst_app::AppSrc,
    /// Whether the muxer can be notified of gaps.
    pub takes_gaps: bool,
    pub monitor: Arc<EncoderMonitor>,
    pub(super) mux_pad: gst::Pad,
    /// For audio tracks.
    pub(super) delay: Option<Delay>,
    /// Input format of the encoder, for raw video.
    pub video_input: Option<formats::VideoInput>,
    pub(super) spec: ChainSpec,
    /// The sink pad that the head's output is linked to.
    takes: gst::Pad,
    /// Elements of the head.
    head: Vec<gst::Element>,
    is_mixed: Arc<AtomicBool>,
    /// Bit rate that the encoder was configured for.
    pub bits_per_second: u32,
}

impl Feed {
    /// The spec for an encoder that takes over now.
    pub fn next_spec(&self) -> ChainSpec {
        ChainSpec {
            resumes: self.monitor.has_output(),
            ..self.spec.clone()
        }
    }

    /// How much audio from after the part's end its encoder needs.
    pub fn overlap(&self) -> Ns {
        let form = self.monitor.form().or_else(|| Some(self.spec.caps.clone()));
        let info = form.and_then(|caps| formats::audio_info(&caps));
        let rate = info.map_or(0, |info| u64::from(info.rate())).max(1);
        u64::from(self.spec.seam().after) * 1_000_000_000 / rate
    }

    /// The track as it is stored in the file.
    pub fn recorded(&self) -> Recorded {
        self.spec.recorded()
    }

    /// Whether the alpha of copied packets is lost.
    pub fn loses_alpha(&self) -> bool {
        self.spec.loses_alpha()
    }

    /// Sends EOS after the head, so that the muxer continues without this track.
    pub fn end_tail(&self) {
        let takes = self.takes.clone();
        // A thread blocked downstream of the encoder holds the pad's stream lock.
        aside::apart(move || {
            takes.send_event(gst::event::Eos::new());
        });
    }

    /// Syncs the head to the state of the pipeline; its encoder is already running.
    pub fn start(&self) -> Result<(), Error> {
        for element in self.head.iter().rev() {
            element
                .sync_state_with_parent()
                .map_err(|err| failed(&element.name(), err))?;
        }
        Ok(())
    }
}

/// Name suffixes of the elements downstream of a chain's head.
const TAIL: [&str; 3] = ["-parser", "-encoded", "-timestamper"];

pub(super) fn no_track(name: &str) -> Error {
    failed(name, "it is not a track of this recording")
}

/// Whether an element with this name is part of the track's head.
fn is_of_head(name: &str, track: &str) -> bool {
    let is_tail = |rest| TAIL.contains(&rest);
    diagnosis::is_of_track(name, track) && !name.strip_prefix(track).is_some_and(is_tail)
}

/// Builds the chains of one recording.
pub struct ChainBuilder<'a, L> {
    pub pipeline: &'a gst::Pipeline,
    pub end: &'a ContainerEnd,
    pub plan: &'a Plan,
    pub settings: &'a Settings,
    pub failed: &'a FailedEncoders,
    pub listener: &'a Arc<L>,
}

/// The part of a chain upstream of the parser, which is replaced when an encoder takes over.
struct Head {
    spec: ChainSpec,
    appsrc: gst_app::AppSrc,
    /// The appsrc's src pad.
    source: gst::Pad,
    /// The elements after it, except for a decoder.
    elements: Vec<gst::Element>,
    encoder: Option<gst::Element>,
    monitor: Arc<EncoderMonitor>,
    /// See [`fixups::Install::Parser`].
    is_mixed: Arc<AtomicBool>,
}

impl<L: Listener> ChainBuilder<'_, L> {
    /// Builds a track's chain and links it to the muxer; no element is started.
    pub fn build(&self, index: usize, track: &TrackMedia<'_>) -> Result<Feed, Error> {
        let spec = ChainSpec::of(self.plan, index, track, self.settings.keep)?;
        let monitor = EncoderMonitor::new(
            (spec.codec, spec.container),
            spec.headroom(),
            track.in_flight.clone(),
        );
        let head = self.head((spec, monitor, Arc::default()), index, track)?;
        let tail = self.parser(&head, index, track)?;
        let error = |err: glib::BoolError| failed(track.name, err);
        self.pipeline.add_many(&tail).map_err(error)?;
        exchange::link_all(&tail).map_err(error)?;
        let mux_pad = self
            .end
            .mux_pad(head.spec.codec.kind())
            .ok_or_else(|| failed(track.name, "the muxer does not accept more tracks"))?;
        let takes = tail.first().and_then(|first| first.static_pad("sink"));
        let out = tail.last().and_then(|last| last.static_pad("src"));
        let no_pad = || failed(track.name, "no pad");
        let (takes, out) = takes.zip(out).ok_or_else(no_pad)?;
        self.set_up_mux_pad(&head, (index, track.name), (&takes, &out), &mux_pad);
        self.link_to_muxer(&out, &mux_pad, track)?;
        let elements = self.link_head(&head, (index, track), &takes, &mux_pad)?;
        Ok(Feed {
            delay: head.spec.delay(),
            takes_gaps: head.spec.takes_gaps(),
            video_input: head.spec.video_input.clone(),
            appsrc: head.appsrc,
            monitor: head.monitor,
            mux_pad,
            spec: head.spec,
            takes,
            head: elements,
            is_mixed: head.is_mixed,
            bits_per_second: track.bits_per_second,
        })
    }

    /// Replaces the head of a chain in the pipeline, whatever the threads of the old one are doing.
    pub fn rebuild(
        &self,
        feed: &mut Feed,
        index: usize,
        track: TrackMedia<'_>,
    ) -> Result<(), Error> {
        let form = feed.monitor.form();
        feed.monitor.abandon();
        let has_begun = feed.monitor.has_output();
        let form = form.or(feed.spec.form.take());
        self.take_out(feed, track.name);
        feed.spec = ChainSpec {
            form: form.filter(|_| !feed.spec.copied),
            resumes: has_begun,
            encoder: None,
            ..feed.spec.clone()
        };
        // The bit rate affects the encoder's headers.
        let track = TrackMedia {
            bits_per_second: feed.bits_per_second,
            ..track
        };
        feed.is_mixed.store(has_begun, Ordering::SeqCst);
        let of_track = (
            feed.spec.clone(),
            feed.monitor.clone(),
            feed.is_mixed.clone(),
        );
        let head = self.head(of_track, index, &track)?;
        feed.head = self.link_head(&head, (index, &track), &feed.takes, &feed.mux_pad)?;
        feed.appsrc = head.appsrc;
        Ok(())
    }

    /// Removes the head from the pipeline and its bus. One of its elements may never reach NULL.
    fn take_out(&self, feed: &mut Feed, name: &str) {
        let mut elements = std::mem::take(&mut feed.head);
        // Elements inserted after a change of caps.
        let mut found = self.pipeline.children();
        found.retain(|element| is_of_head(&element.name(), name) && !elements.contains(element));
        // `children` lists the newest first.
        found.reverse();
        elements.extend(found);
        if let Some(last) = feed.takes.peer() {
            let _ = last.unlink(&feed.takes);
        }
        for element in &elements {
            let _ = self.pipeline.remove(element);
        }
        aside::apart(move || {
            // Encoders first, since that may unblock threads waiting inside them.
            for element in elements.iter().rev() {
                let _ = element.set_state(gst::State::Null);
            }
        });
    }

    /// From the appsrc to the encoder.
    fn head(
        &self,
        (spec, monitor, is_mixed): (ChainSpec, Arc<EncoderMonitor>, Arc<AtomicBool>),
        index: usize,
        track: &TrackMedia<'_>,
    ) -> Result<Head, Error> {
        let mut head = self.source((spec, monitor, is_mixed), track)?;
        if !head.spec.copied {
            self.add_encoder(&mut head, index, track)?;
        }
        Ok(head)
    }

    fn source(
        &self,
        (spec, monitor, is_mixed): (ChainSpec, Arc<EncoderMonitor>, Arc<AtomicBool>),
        track: &TrackMedia<'_>,
    ) -> Result<Head, Error> {
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
        if spec.joins_alpha() {
            alpha_input::join(&source);
        }
        if spec.is_raw() && spec.codec.kind() == Kind::Video {
            let listener = Arc::downgrade(self.listener);
            system_memory::bring_over(&source, track.name, move |error| {
                if let Some(listener) = listener.upgrade() {
                    listener.error(error);
                }
            });
        }
        // Copied and PCM samples pass no encoder, so none are in flight.
        monitor.set_copied(spec.copied || spec.codec == Codec::Pcm);
        monitor.watch_source(&source);
        Ok(Head {
            spec,
            appsrc,
            source,
            elements: Vec::new(),
            encoder: None,
            monitor,
            is_mixed,
        })
    }

    /// Adds the converters, and the encoder unless the codec is PCM.
    fn add_encoder(
        &self,
        head: &mut Head,
        index: usize,
        track: &TrackMedia<'_>,
    ) -> Result<(), Error> {
        let spec = &head.spec;
        let mut elements = upright_front(spec, track)?;
        if spec.codec != Codec::Pcm {
            let made_for = MadeFor {
                track,
                spec,
                settings: self.settings,
                failed: self.failed,
                key_at: None,
            };
            let made = |encoder: &gst::Element| self.listener.encoder(index, encoder);
            let encoder = set_up_encoder(&made_for, made)?;
            head.spec.encoder = factory_name(&encoder);
            overlap::give_preroll(&head.source, &head.spec);
            if let Some(entry) = elements.last().and_then(|last| last.static_pad("src")) {
                let report = encoding::report(self.listener);
                let delay = head.spec.encoder_delay();
                head.monitor.watch(&entry, &encoder, delay, report);
            }
            // Started separately, since that may fail or hang.
            encoder.set_locked_state(true);
            elements.push(encoder.clone());
            head.encoder = Some(encoder);
        }
        head.elements = elements;
        Ok(())
    }

    /// The elements that convert encoded media to the format that the muxer expects.
    fn parser(
        &self,
        head: &Head,
        index: usize,
        track: &TrackMedia<'_>,
    ) -> Result<Vec<gst::Element>, Error> {
        let spec = &head.spec;
        let mut elements = Vec::new();
        if let Some(parser) = self.plan.parser(index) {
            let parser = make(parser, &format!("{}-parser", track.name))?;
            if parser.has_property("config-interval") && !spec.copied {
                parser.set_property_from_str("config-interval", "0");
            }
            elements.push(parser);
        }
        let caps = self.plan.mux_caps(index);
        if caps.is_some() || elements.is_empty() {
            // Provides a pad in front of the muxer that stays when the head is replaced.
            let filter = make("capsfilter", &format!("{}-encoded", track.name))?;
            if let (None, Some(pad)) = (&caps, filter.static_pad("sink")) {
                // On the muxer's pad, unsupported caps are completed, or refused with a reason.
                fixups::accept_all(&pad);
            }
            filter.set_property("caps", caps.unwrap_or_else(gst::Caps::new_any));
            elements.push(filter);
        }
        if let Some(first) = elements.first() {
            fixups::on_parser(first, spec, &head.is_mixed);
        }
        if spec.copied
            && track.lacks_dts
            && let Some(factory) = formats::timestamper(spec.codec, spec.container)
        {
            let timestamper = make(factory, &format!("{}-timestamper", track.name))?;
            fixups::pass_gaps(&timestamper);
            elements.push(timestamper);
        }
        Ok(elements)
    }

    fn link_to_muxer(
        &self,
        out: &gst::Pad,
        mux_pad: &gst::Pad,
        track: &TrackMedia<'_>,
    ) -> Result<(), Error> {
        let linked = out.link(mux_pad).map(|_| ());
        linked.map_err(|err| {
            Error::not_supported(format!(
                "{} cannot carry the track of {} ({}): {err}",
                self.plan.container.name(),
                track.name,
                track.caps
            ))
        })
    }

    /// Adds a head to the pipeline, and links it to the sink pad downstream. Returns its elements.
    fn link_head(
        &self,
        head: &Head,
        (index, track): (usize, &TrackMedia<'_>),
        takes: &gst::Pad,
        mux_pad: &gst::Pad,
    ) -> Result<Vec<gst::Element>, Error> {
        let name = track.name;
        // If the previous part of the recording copied this track, its format may have changed to one that this
        // container does not support.
        let decoder = if head.spec.copied || head.spec.is_raw() {
            None
        } else {
            Some(make("decodebin", &format!("{name}-decoder"))?)
        };
        let mut row = vec![head.appsrc.clone().upcast()];
        row.extend(decoder.iter().chain(&head.elements).cloned());
        let error = |err: glib::BoolError| failed(name, err);
        self.pipeline.add_many(&row).map_err(error)?;
        exchange::link_all(&row).map_err(error)?;
        if let Some(last) = row.last() {
            exchange::link(last, takes).map_err(error)?;
        }
        let first = head.elements.first();
        let behind = first.and_then(|first| first.static_pad("sink"));
        let behind = behind.unwrap_or_else(|| takes.clone());
        let section = Section::new(&head.source, &behind, decoder.into_iter().collect());
        let watched = self.watched(head, index, track, mux_pad);
        caps_ladder::watch(&head.source, section, watched);
        Ok(row)
    }

    fn set_up_mux_pad(
        &self,
        chain: &Head,
        (index, name): (usize, &str),
        (parser, out): (&gst::Pad, &gst::Pad),
        mux_pad: &gst::Pad,
    ) {
        let spec = &chain.spec;
        let kind = spec.codec.kind();
        let before = self.plan.codecs.iter().take(index);
        self.end.begin_with(mux_pad);
        self.end.watch_end(mux_pad, index);
        let listener: Arc<dyn Listener> = self.listener.clone();
        fixups::on_muxer(&MuxerSite {
            spec,
            name,
            index,
            index_in_kind: before.filter(|codec| codec.kind() == kind).count(),
            parser,
            out,
            mux_pad,
            end: self.end,
            listener: Arc::downgrade(&listener),
        });
        let is_stamped_late = !matches!(spec.delay(), None | Some(Delay::PreSkip(_)));
        if is_stamped_late && spec.encoder_delay() > 0 {
            encoder_delay::listen(mux_pad, spec.encoder_delay(), self.end.note_delay(index));
        }
        let most = container_limit::in_force(formats::most_bytes(spec.container));
        let splits = self.settings.may_split && most.is_some();
        if splits || self.settings.limits_bytes() {
            self.count_bytes(mux_pad, index, spec.headroom());
        }
        if let Some(most) = most {
            let (listener, container) = (Arc::downgrade(self.listener), spec.container);
            container_limit::watch(mux_pad, most, move || {
                if let Some(listener) = listener.upgrade() {
                    listener.error(full(container, most));
                }
            });
        }
    }

    /// Reports what the muxer receives; `late`: offset of the timestamps from recorded time.
    fn count_bytes(&self, mux_pad: &gst::Pad, index: usize, late: u64) {
        let listener = Arc::downgrade(self.listener);
        probe(mux_pad, gst::PadProbeType::BUFFER, move |pad, info| {
            if let (Some(buffer), Some(listener)) = (info.buffer(), listener.upgrade()) {
                let end = buffer
                    .pts()
                    .map(|pts| pts + buffer.duration().unwrap_or_default());
                // Video encoders offset their timestamps and segment.
                let segment = pad.sticky_event::<gst::event::Segment>(0);
                let running = segment.and_then(|event| {
                    let segment = event.segment().downcast_ref::<gst::ClockTime>()?;
                    segment.to_running_time(end?)
                });
                let end = running.map_or(0, |end| end.nseconds());
                listener.muxed(index, buffer.size() as u64, end.saturating_sub(late));
            }
            gst::PadProbeReturn::Ok
        });
    }

    fn watched(
        &self,
        chain: &Head,
        index: usize,
        track: &TrackMedia<'_>,
        mux_pad: &gst::Pad,
    ) -> Watched<L> {
        let spec = &chain.spec;
        Watched {
            recorded: spec.recorded(),
            spec: spec.clone(),
            index,
            name: track.name.to_owned(),
            bits_per_second: track.bits_per_second,
            queue_time: track.queue_time,
            settings: self.settings.clone(),
            failed: self.failed.clone(),
            monitor: chain.monitor.clone(),
            is_mixed: chain.is_mixed.clone(),
            mux_pad: mux_pad.downgrade(),
            listener: Arc::downgrade(self.listener),
        }
    }
}

/// The container's size limit is reached.
fn full(container: Container, most: u64) -> Error {
    Error::unknown(format!(
        "{} is limited to {most} bytes of media, which have been recorded: the recording ends. Use \
         audio/x-matroska;codecs=pcm for longer recordings, or audio/flac for smaller ones.",
        container.name()
    ))
}
