//! Encodes raw video and hands out the packets: a track's chain as in a recording's pipeline, but without a muxer.
//!
//! ```text
//! appsrc ! videoconvert ! videoscale ! capsfilter ! encoder ! parser ! capsfilter ! packets
//! ```
//!
//! Must not be dropped in one of its own threads.

use super::{
    Settings, aside,
    encoder_monitor::{EncoderMonitor, Report},
    encoding::{self, FailedEncoders, MadeFor, encoder_around, set_up_encoder, upright_front},
    exchange,
    fixups::{self, ChainSpec},
    io_pads::appsrc,
    panicked,
    pipeline::{TrackMedia, factory_name, failed, make},
    remedies::{self, Failed, Remedies},
    system_memory,
    timing::lock,
    track::Track,
};
use crate::{
    formats::{self, Plan},
    gate::Input,
    model::{Error, timeline::Ns},
};
use gst::prelude::*;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    time::Duration,
};

/// Receives the packets. Called from the chain's threads; must not block for long.
pub trait PacketSink: Send + Sync + 'static {
    /// Caps of the packets that follow.
    fn caps(&self, caps: &gst::Caps);
    /// A packet, in running time.
    fn packet(&self, packet: Input);
    /// EOS.
    fn end(&self);
    /// An element has failed: this encoder, or another one.
    fn error(&self, encoder: Option<&gst::Element>, error: Error);
    /// The queue has run low.
    fn need_data(&self);
    /// Whether the frame at running time `at`, which follows the one at `before`, has to be a keyframe.
    fn begins(&self, before: Ns, at: Ns) -> bool;
    /// An encoder has been created and configured; it is in NULL.
    fn encoder(&self, encoder: &gst::Element);
}

/// What to build a chain for.
pub struct ChainRequest<'a> {
    /// The plan of the recordings, and the index of this track.
    pub plan: Plan,
    pub index: usize,
    /// The track whose media goes in.
    pub track: &'a Track,
    /// Caps of the raw frames.
    pub caps: gst::Caps,
    pub bits_per_second: u32,
    pub tags: Option<gst::TagList>,
    pub settings: &'a Settings,
}

impl ChainRequest<'_> {
    fn media(&self) -> TrackMedia<'_> {
        TrackMedia {
            name: self.track.name(),
            caps: self.caps.clone(),
            bits_per_second: self.bits_per_second,
            queue_time: self.track.queue_time(),
            lacks_dts: false,
            tags: self.tags.clone(),
            in_flight: self.track.in_flight(0),
            overlap: Arc::default(),
        }
    }
}

/// See the module documentation.
#[derive(Debug)]
pub struct EncoderChain {
    spec: ChainSpec,
    monitor: Arc<EncoderMonitor>,
    running: Option<Running>,
    /// The track's media has gone into an encoder.
    is_connected: bool,
}

/// The pipeline with one encoder, and the pad behind it.
#[derive(Debug)]
struct Running {
    pipeline: gst::Pipeline,
    appsrc: gst_app::AppSrc,
    packets: gst::Pad,
}

impl EncoderChain {
    /// A chain without an encoder.
    ///
    /// # Errors
    /// If the plan does not encode the track.
    pub fn new(request: &ChainRequest<'_>) -> Result<Self, Error> {
        let media = request.media();
        let spec = ChainSpec::of(&request.plan, request.index, &media, request.settings.keep)?;
        Ok(EncoderChain {
            monitor: EncoderMonitor::new(
                (spec.codec, spec.container),
                spec.headroom(),
                media.in_flight,
            ),
            spec,
            running: None,
            is_connected: false,
        })
    }

    /// Replaces an encoder that has failed, or that could not be started; returns the warning, to which more may be
    /// added.
    ///
    /// # Errors
    /// If there is none that works.
    pub fn replace(
        &mut self,
        request: &ChainRequest<'_>,
        failed: Failed,
        remedies: &mut Remedies,
        sink: &Arc<impl PacketSink>,
    ) -> Result<String, Error> {
        let (name, (old, error)) = (request.track.name(), failed.clone());
        let spec = ChainSpec {
            resumes: self.monitor.has_output(),
            ..self.spec.clone()
        };
        let remedy = remedies.replace(name, failed, &spec, |failed| {
            self.start(request, failed, sink)
        })?;
        let new = self.encoder_name();
        let names = (old.as_deref(), new.as_deref());
        Ok(remedies::warning(name, names, remedy, &error))
    }

    /// Starts the best encoder that has not failed, in place of the one before, and lets the track's media in: what
    /// the one before had not put out yet comes first.
    ///
    /// # Errors
    /// If it does not start. None runs then.
    pub fn start(
        &mut self,
        request: &ChainRequest<'_>,
        failed_before: &FailedEncoders,
        sink: &Arc<impl PacketSink>,
    ) -> Result<(), Failed> {
        let form = self.monitor.form();
        self.monitor.abandon();
        self.abandon();
        self.spec = ChainSpec {
            form: form.or(self.spec.form.take()),
            resumes: self.monitor.has_output(),
            encoder: None,
            ..self.spec.clone()
        };
        let started = self.run(request, failed_before, sink);
        started.map_err(|error| {
            let encoder = self.monitor.encoder();
            self.abandon();
            (encoder.as_ref().and_then(factory_name), error)
        })
    }

    fn run(
        &mut self,
        request: &ChainRequest<'_>,
        failed_before: &FailedEncoders,
        sink: &Arc<impl PacketSink>,
    ) -> Result<(), Error> {
        let media = request.media();
        let name = media.name;
        let pipeline = gst::Pipeline::with_name("mediarecorder-past");
        pipeline.use_clock(None::<&gst::Clock>);
        let need_data = Arc::downgrade(sink);
        let appsrc = appsrc(&media, move || {
            if let Some(sink) = need_data.upgrade() {
                sink.need_data();
            }
        });
        let running = self.running.insert(Running {
            pipeline: pipeline.clone(),
            appsrc: appsrc.clone(),
            packets: packet_pad(sink),
        });
        let packets = running.packets.clone();
        let (chain, encoder) = self.elements((request, &media), &appsrc, failed_before, sink)?;
        let error = |err: glib::BoolError| failed(name, err);
        encoder.set_locked_state(true);
        pipeline.add_many(&chain).map_err(error)?;
        exchange::link_all(&chain).map_err(error)?;
        let last = chain.last().and_then(|last| last.static_pad("src"));
        let last = last.ok_or_else(|| failed(name, "no src pad"))?;
        if let Some(entry) = encoder.static_pad("sink") {
            fixups::keep_durations(&entry, &last);
        }
        last.link_full(&packets, gst::PadLinkCheck::empty())
            .map_err(|err| failed(name, err))?;
        packets.set_active(true).map_err(error)?;
        if let Some(bus) = pipeline.bus() {
            listen(&bus, name, sink);
        }
        pipeline
            .set_state(gst::State::Playing)
            .map_err(|err| failed("it does not start", err))?;
        encoding::start(&encoder, request.settings.encoder_patience())?;
        if std::mem::replace(&mut self.is_connected, true) {
            request.track.reconnect(0, appsrc, None);
        } else {
            request.track.connect(0, appsrc);
        }
        Ok(())
    }

    /// Drains the encoder; [`PacketSink::end`] follows. Frames pushed from now on wait for the next
    /// [`EncoderChain::start`].
    pub fn drain(&self) {
        if let Some(running) = &self.running {
            let _ = running.appsrc.end_of_stream();
        }
    }

    /// Takes the encoder out, which may hang, and drops what still comes out of it.
    fn abandon(&mut self) {
        let Some(running) = self.running.take() else {
            return;
        };
        if let Some(bus) = running.pipeline.bus() {
            bus.unset_sync_handler();
        }
        if let Some(last) = running.packets.peer() {
            let _ = last.unlink(&running.packets);
        }
        aside::apart(move || drop(running));
    }

    /// Whether the encoder hangs. `now` has to advance between calls.
    pub fn hangs(&self, now: Duration, patience: Duration) -> bool {
        self.monitor.hangs(now, patience)
    }

    /// Whether this is its encoder.
    pub fn has_encoder(&self, encoder: &gst::Element) -> bool {
        self.monitor.encoder().as_ref() == Some(encoder)
    }

    /// Factory name of the encoder.
    pub fn encoder_name(&self) -> Option<glib::GString> {
        factory_name(&self.monitor.encoder()?)
    }

    /// What is converted of frames with these caps.
    pub fn converted(&self, caps: &gst::CapsRef) -> Vec<String> {
        let info = formats::video_info(caps);
        let both = self.spec.video_input.as_ref().zip(info);
        both.map_or_else(Vec::new, |(video_input, info)| video_input.converted(&info))
    }

    /// Sets the encoder's bitrate.
    pub fn set_bits_per_second(&self, rate: u32) {
        if let Some(encoder) = self.monitor.encoder() {
            formats::set_bits_per_second(&encoder, rate);
        }
    }

    /// The elements in order, and the encoder among them.
    fn elements(
        &mut self,
        (request, media): (&ChainRequest<'_>, &TrackMedia<'_>),
        appsrc: &gst_app::AppSrc,
        failed_before: &FailedEncoders,
        sink: &Arc<impl PacketSink>,
    ) -> Result<(Vec<gst::Element>, gst::Element), Error> {
        let (name, plan) = (media.name, &request.plan);
        if let Some(pad) = appsrc.static_pad("src") {
            fixups::on_source(&pad, &self.spec);
            let failed = Arc::downgrade(sink);
            system_memory::bring_over(&pad, name, move |error| {
                if let Some(sink) = failed.upgrade() {
                    sink.error(None, error);
                }
            });
            self.monitor.watch_source(&pad);
        }
        let mut chain = vec![appsrc.clone().upcast()];
        chain.extend(upright_front(&self.spec, media)?);
        let key_at = Arc::downgrade(sink);
        let made_for = MadeFor {
            track: media,
            spec: &self.spec,
            settings: request.settings,
            failed: failed_before,
            key_at: Some(Arc::new(move |before, at| {
                let sink = key_at.upgrade();
                sink.is_some_and(|sink| sink.begins(before.nseconds(), at.nseconds()))
            })),
        };
        let encoder = set_up_encoder(&made_for, |encoder| sink.encoder(encoder))?;
        self.spec.encoder = factory_name(&encoder);
        if let Some(entry) = chain.last().and_then(|last| last.static_pad("src")) {
            let delay = self.spec.encoder_delay();
            self.monitor.watch(&entry, &encoder, delay, report(sink));
        }
        chain.push(encoder.clone());
        if let Some(parser) = plan.parser(request.index) {
            let parser = make(parser, &format!("{name}-parser"))?;
            if parser.has_property("config-interval") {
                parser.set_property_from_str("config-interval", "0");
            }
            fixups::on_parser(&parser, &self.spec, &Arc::default());
            chain.push(parser);
        }
        if let Some(caps) = plan.mux_caps(request.index) {
            let filter = make("capsfilter", &format!("{name}-encoded"))?;
            filter.set_property("caps", caps);
            chain.push(filter);
        }
        Ok((chain, encoder))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(bus) = self.pipeline.bus() {
            bus.unset_sync_handler();
        }
        let _ = self.pipeline.set_state(gst::State::Null);
        let _ = self.packets.set_active(false);
    }
}

/// Forwards encoder failures to the sink.
fn report(sink: &Arc<impl PacketSink>) -> Report {
    let sink = Arc::downgrade(sink);
    Arc::new(move |encoder, error| {
        if let Some(sink) = sink.upgrade() {
            sink.error(Some(encoder), error);
        }
    })
}

/// The pad after the last element. It has no parent element.
fn packet_pad(sink: &Arc<impl PacketSink>) -> gst::Pad {
    // The sink owns the chain, so references to it must be weak.
    let (packets, events) = (Arc::downgrade(sink), Arc::downgrade(sink));
    let segment = Arc::new(Mutex::new(gst::FormattedSegment::<gst::ClockTime>::new()));
    let places = segment.clone();
    gst::Pad::builder(gst::PadDirection::Sink)
        .name("packets")
        .chain_function(move |_, _, buffer| {
            if let Some(packets) = packets.upgrade() {
                contain(&*packets, || {
                    let segment = lock(&places).clone();
                    if let Some(packet) = placed(buffer, &segment) {
                        packets.packet(packet);
                    }
                });
            }
            Ok(gst::FlowSuccess::Ok)
        })
        .event_function(move |_, _, event| {
            if let Some(events) = events.upgrade() {
                contain(&*events, || match event.view() {
                    gst::EventView::Segment(new) => {
                        if let Some(time) = new.segment().downcast_ref::<gst::ClockTime>() {
                            *lock(&segment) = time.clone();
                        }
                    }
                    gst::EventView::Caps(caps) => events.caps(&caps.caps_owned()),
                    gst::EventView::Eos(_) => events.end(),
                    _ => {}
                });
            }
            true
        })
        .build()
}

/// Converts a packet to running time: encoders may use another segment.
fn placed(packet: gst::Buffer, segment: &gst::FormattedSegment<gst::ClockTime>) -> Option<Input> {
    let running = segment.to_running_time(packet.pts()?)?.nseconds();
    let duration = packet.duration().map(|duration| duration.nseconds());
    Some(Input {
        buffer: packet,
        running,
        duration,
    })
}

fn listen(bus: &gst::Bus, name: &str, sink: &Arc<impl PacketSink>) {
    let (sink, name) = (Arc::downgrade(sink), name.to_owned());
    bus.set_sync_handler(move |_, message| {
        if let gst::MessageView::Error(error) = message.view()
            && let Some(sink) = sink.upgrade()
        {
            let encoder = error.src().and_then(encoder_around);
            let source = error
                .src()
                .map_or(name.clone(), |source| source.name().to_string());
            let what = error.error();
            let what = what.message().trim_end_matches('.');
            sink.error(
                encoder.as_ref(),
                Error::unknown(format!("{source}: {what}.")),
            );
        }
        gst::BusSyncReply::Drop
    });
}

/// Calls code that must not unwind: a panic becomes a failure of the chain.
fn contain(sink: &impl PacketSink, run: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
        sink.error(None, panicked(&*panic));
    }
}
