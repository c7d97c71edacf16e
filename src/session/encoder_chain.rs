//! Encodes raw video and hands out the packets: a track's chain as in a recording's pipeline, but without a muxer.
//!
//! ```text
//! appsrc ! videoconvert ! videoscale ! capsfilter ! encoder ! parser ! capsfilter ! packets
//! ```
//!
//! Must not be dropped in one of its own threads.

use super::{
    Settings, aside,
    encoding::{FailedEncoders, MadeFor, encoder_around, set_up_encoder, upright_front},
    exchange,
    fixups::{self, ChainSpec},
    io_pads::appsrc,
    panicked,
    pipeline::{TrackMedia, factory_name, failed, make},
    probe::probe,
    system_memory,
    timing::lock,
    track::Track,
};
use crate::{
    formats::{self, Picture, Plan},
    gate::Input,
    model::{Error, timeline::Ns},
};
use gst::prelude::*;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

/// Receives the packets. Called from the chain's threads; must not block for long.
pub trait PacketSink: Send + Sync + 'static {
    /// Caps of the packets that follow.
    fn caps(&self, caps: &gst::Caps);
    /// A packet, in running time.
    fn packet(&self, packet: Input);
    /// EOS.
    fn end(&self);
    /// The chain has failed; `encoder` is the encoder's factory name if that has failed.
    fn error(&self, encoder: Option<&str>, error: Error);
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
    pub plan: &'a Plan,
    pub index: usize,
    /// Name of the pad.
    pub name: &'a str,
    /// Caps of the raw frames.
    pub caps: gst::Caps,
    pub bits_per_second: u32,
    /// Maximum media queued for the encoder.
    pub queue_time: Ns,
    pub tags: Option<gst::TagList>,
    pub settings: &'a Settings,
    /// Factories of encoders that have failed.
    pub failed_before: &'a FailedEncoders,
}

/// See the module documentation.
#[derive(Debug)]
pub struct EncoderChain {
    pipeline: gst::Pipeline,
    appsrc: gst_app::AppSrc,
    encoder: gst::Element,
    /// The encoder's input.
    picture: Option<Picture>,
    packets: gst::Pad,
    /// Number of buffers that have left the appsrc.
    given: Arc<AtomicU64>,
}

impl EncoderChain {
    /// Builds the chain and sets it to PLAYING.
    pub fn build(spec: &ChainRequest<'_>, sink: &Arc<impl PacketSink>) -> Result<Self, Error> {
        let name = spec.name;
        let track = TrackMedia {
            name,
            caps: spec.caps.clone(),
            bits_per_second: spec.bits_per_second,
            queue_time: spec.queue_time,
            lacks_dts: false,
            tags: spec.tags.clone(),
            in_flight: Arc::default(),
            overlap: Arc::default(),
        };
        let pipeline = gst::Pipeline::with_name("mediarecorder-past");
        pipeline.use_clock(None::<&gst::Clock>);
        let need_data = Arc::downgrade(sink);
        let appsrc = appsrc(&track, move || {
            if let Some(sink) = need_data.upgrade() {
                sink.need_data();
            }
        });
        let (chain, encoder, picture) = elements(spec, &track, &appsrc, sink)?;
        let error = |err: glib::BoolError| failed(name, err);
        pipeline.add_many(&chain).map_err(error)?;
        exchange::link_all(&chain).map_err(error)?;
        let last = chain.last().and_then(|last| last.static_pad("src"));
        let last = last.ok_or_else(|| failed(name, "no src pad"))?;
        if let Some(entry) = encoder.static_pad("sink") {
            fixups::keep_durations(&entry, &last);
        }
        let packets = packet_pad(sink);
        last.link_full(&packets, gst::PadLinkCheck::empty())
            .map_err(|err| failed(name, err))?;
        packets.set_active(true).map_err(error)?;
        if let Some(bus) = pipeline.bus() {
            listen(&bus, name, sink);
        }
        let this = EncoderChain {
            pipeline,
            appsrc,
            encoder,
            picture,
            packets,
            given: Arc::default(),
        };
        this.pipeline
            .set_state(gst::State::Playing)
            .map_err(|err| failed("it does not start", err))?;
        Ok(this)
    }

    /// Connects the track, whose media goes in from now on.
    pub fn connect(&self, track: &Track) {
        // There is no replacement encoder to replay this to.
        if let Some(pad) = self.appsrc.static_pad("src") {
            let (in_flight, given) = (track.in_flight(0), self.given.clone());
            probe(&pad, gst::PadProbeType::BUFFER, move |_, _| {
                given.fetch_add(1, Ordering::Relaxed);
                in_flight.sent(true);
                gst::PadProbeReturn::Ok
            });
        }
        track.connect(0, self.appsrc.clone());
    }

    /// While media is queued, the number of buffers consumed so far. If that does not change, the encoder is busy
    /// with one.
    pub fn busy_with(&self) -> Option<u64> {
        let waits = self.appsrc.current_level_buffers() > 0;
        waits.then(|| self.given.load(Ordering::Relaxed))
    }

    /// Shuts it down in a separate thread, as an encoder that hangs may never stop.
    pub fn abandon(self) {
        aside::apart(move || drop(self));
    }

    /// Factory name of the encoder.
    pub fn encoder_name(&self) -> Option<String> {
        Some(factory_name(&self.encoder)?.to_string())
    }

    /// What is converted of frames with these caps.
    pub fn converted(&self, caps: &gst::CapsRef) -> Vec<String> {
        let info = formats::video_info(caps);
        let both = self.picture.as_ref().zip(info);
        both.map_or_else(Vec::new, |(picture, info)| picture.converted(&info))
    }

    /// Sets the encoder's bitrate.
    pub fn set_bits_per_second(&self, rate: u32) {
        formats::set_bits_per_second(&self.encoder, rate);
    }
}

impl Drop for EncoderChain {
    fn drop(&mut self) {
        if let Some(bus) = self.pipeline.bus() {
            bus.unset_sync_handler();
        }
        let _ = self.pipeline.set_state(gst::State::Null);
        let _ = self.packets.set_active(false);
    }
}

/// The elements in order, the encoder among them, and its input.
fn elements(
    request: &ChainRequest<'_>,
    track: &TrackMedia<'_>,
    appsrc: &gst_app::AppSrc,
    sink: &Arc<impl PacketSink>,
) -> Result<(Vec<gst::Element>, gst::Element, Option<Picture>), Error> {
    let ChainRequest {
        name, plan, index, ..
    } = *request;
    let mut spec = ChainSpec::of(plan, index, track, request.settings.keep)?;
    if let Some(pad) = appsrc.static_pad("src") {
        fixups::on_source(&pad, &spec);
        let failed = Arc::downgrade(sink);
        system_memory::bring_over(&pad, name, move |error| {
            if let Some(sink) = failed.upgrade() {
                sink.error(None, error);
            }
        });
    }
    let mut chain = vec![appsrc.clone().upcast()];
    chain.extend(upright_front(&spec, track)?);
    let key_at = Arc::downgrade(sink);
    let made_for = MadeFor {
        track,
        spec: &spec,
        settings: request.settings,
        failed: request.failed_before,
        key_at: Some(Arc::new(move |before, at| {
            let sink = key_at.upgrade();
            sink.is_some_and(|sink| sink.begins(before.nseconds(), at.nseconds()))
        })),
    };
    let encoder = set_up_encoder(&made_for, |encoder| sink.encoder(encoder))?;
    spec.encoder = factory_name(&encoder);
    chain.push(encoder.clone());
    if let Some(parser) = plan.parser(index) {
        let parser = make(parser, &format!("{name}-parser"))?;
        if parser.has_property("config-interval") {
            parser.set_property_from_str("config-interval", "0");
        }
        fixups::on_parser(&parser, &spec, &Arc::default());
        chain.push(parser);
    }
    if let Some(caps) = plan.mux_caps(index) {
        let filter = make("capsfilter", &format!("{name}-encoded"))?;
        filter.set_property("caps", caps);
        chain.push(filter);
    }
    Ok((chain, encoder, spec.picture))
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
            let encoder = encoder.as_ref().and_then(factory_name);
            let what = format!("the encoder of {name} has failed: {}", error.error());
            sink.error(encoder.as_deref(), Error::unknown(what));
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
