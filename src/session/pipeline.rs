//! The private pipeline of one recording.
//!
//! ```text
//! appsrc ! audioconvert ! audioresample ! capsfilter ! encoder ! parser ! capsfilter ────────────┐
//! appsrc ! videoconvert ! videoflip ! videoscale ! capsfilter ! encoder ! parser ! capsfilter ───┤ muxer ! appsink
//! appsrc ! parser ! capsfilter ──────────────────────────────────────────────────────────────────┘
//! ```
//!
//! It has no clock and shares no bus with the application's pipeline: its errors, its EOS and
//! its slowness stay inside. Must not be dropped in one of its own threads.

use super::{
    Settings, decode_times::begin_at_zero, download, flac, header, keys, limit,
    mpeg4::call_it_mpeg4, opus, priming, probe::probe, slices, timing::lock, trial,
};
use crate::{
    formats::{self, Delay, Patch, Plan, Tuning},
    model::{Codec, Container, Error, Kind, Orientation, timeline::Ns},
};
use gst::prelude::*;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

/// What the pipeline has to say. Called from its threads: must not block for long.
pub trait Listener: Send + Sync + 'static {
    /// What comes next belongs at this offset.
    fn seek(&self, position: u64);
    /// The muxer's caps are known: by now all tracks' are.
    fn caps(&self, caps: &gst::Caps);
    /// Bytes of the recording.
    fn bytes(&self, buffer: gst::Buffer);
    /// All has been written.
    fn end(&self);
    /// An element has failed; `encoder` is its factory's name if it is an encoder.
    fn error(&self, encoder: Option<&str>, error: Error);
    /// Something has come out of every encoder that there would be another for.
    fn encoders_work(&self);
    /// The encoder of a track has been made and tuned, it is in NULL.
    fn encoder(&self, track: usize, encoder: &gst::Element);
    /// A queue has run low.
    fn hungry(&self);
}

/// A track as the pipeline gets it.
pub struct TrackMedia<'a> {
    /// Name of the pad.
    pub name: &'a str,
    /// What the gate gives.
    pub caps: gst::Caps,
    /// Media that may wait for its encoder.
    pub room: Ns,
    /// Whether its first buffer lacks the decode time.
    pub lacks_dts: bool,
    /// Upstream's tags.
    pub tags: Option<gst::TagList>,
}

impl TrackMedia<'_> {
    /// How its pictures have to be turned to stand upright.
    fn turn(&self) -> Orientation {
        let tags = self.tags.as_deref();
        tags.and_then(super::turn::of_tags).unwrap_or_default()
    }
}
/// How the names of encoders end, after that of the pad.
const ENCODER: &str = "-encoder";

/// See the module.
#[derive(Debug)]
pub struct Pipeline {
    pipeline: gst::Pipeline,
    feeds: Vec<Feed>,
    muxer: gst::Element,
    /// Encoders that there would be another for and that nothing has come out of.
    unproven: Arc<AtomicUsize>,
}

/// The beginning of a track, and its encoder if it has one.
#[derive(Debug, Clone)]
pub struct Feed {
    pub appsrc: gst_app::AppSrc,
    pub encoder: Option<gst::Element>,
    mux_pad: Option<gst::Pad>,
    /// Of sound.
    delay: Option<Delay>,
}

fn failed(what: &str, why: impl std::fmt::Display) -> Error {
    Error::unknown(format!(
        "Cannot build the recording's pipeline: {what}: {why}"
    ))
}

fn make(factory: &str, name: &str) -> Result<gst::Element, Error> {
    gst::ElementFactory::make(factory)
        .name(name)
        .build()
        .map_err(|_| {
            Error::not_supported(format!(
                "Cannot record: the GStreamer element {factory} is missing here; install {}",
                formats::package(factory)
            ))
        })
}

/// The container can say no more.
fn full(container: Container, most: u64) -> Error {
    Error::unknown(format!(
        "{} holds no more than {most} bytes of media, and that many are recorded: here the recording ends. \
         Longer ones go into audio/x-matroska;codecs=pcm, or smaller into audio/flac.",
        container.name()
    ))
}

impl Pipeline {
    /// Builds the chain of every track, tuned, without the encoders whose factories `failed_before` names;
    /// nothing runs yet.
    pub fn build(
        plan: &Plan,
        tracks: &[TrackMedia<'_>],
        settings: &Settings,
        failed_before: &[String],
        listener: &Arc<impl Listener>,
    ) -> Result<Self, Error> {
        let pipeline = gst::Pipeline::with_name("mediarecorder-session");
        // Without a clock nothing waits for a time.
        pipeline.use_clock(None::<&gst::Clock>);
        let muxer = formats::muxer(plan.container)?;
        let patch = Arc::new(Mutex::new(Patch::new(
            plan.container,
            Vec::new(),
            Vec::new(),
        )));
        let sink = appsink(listener, &patch);
        pipeline
            .add_many([&muxer, sink.upcast_ref()])
            .map_err(|err| failed("muxer", err))?;
        muxer.link(&sink).map_err(|err| failed("muxer", err))?;
        if let Some(bus) = pipeline.bus() {
            listen(&bus, listener);
        }
        let mut this = Pipeline {
            pipeline,
            feeds: Vec::new(),
            muxer,
            unproven: Arc::default(),
        };
        for (index, track) in tracks.iter().enumerate() {
            let made = MadeFor {
                index,
                tracks,
                settings,
                failed_before,
            };
            let feed = this.add_track(plan, track, &made, listener)?;
            this.feeds.push(feed);
        }
        if settings.timeslice > 0 {
            formats::set_timeslice(&this.muxer, plan.container, settings.timeslice);
            let pads = this.feeds.iter().zip(&plan.codecs);
            // Pictures first: with them a cluster is begun at a key frame where there is one.
            let lead = pads.min_by_key(|(_, codec)| codec.kind() != Kind::Video);
            if let (Some((feed, _)), true) = (
                lead,
                matches!(plan.container, Container::WebM | Container::Matroska),
            ) && let Some(pad) = &feed.mux_pad
            {
                slices::mark(pad, settings.timeslice);
            }
            if plan.container == Container::Mp4 {
                slices::divide(&this.muxer, settings.timeslice);
            }
        }
        // The order of the feeds is that of the muxer's pads.
        let sound = || this.feeds.iter().filter(|feed| feed.delay.is_some());
        let delays = sound().filter_map(|feed| feed.delay).collect();
        let copied = plan.copied.iter().zip(&plan.codecs).zip(tracks);
        let turns = copied
            .filter(|((_, codec), _)| codec.kind() == Kind::Video)
            .map(|((copied, _), track)| match copied {
                true => track.turn(),
                // It has been turned.
                false => Orientation::default(),
            });
        *lock(&patch) = Patch::new(plan.container, delays, turns.collect());
        for (number, feed) in sound().enumerate() {
            if let (Some(Delay::PreSkip(_)), Some(pad)) = (feed.delay, &feed.mux_pad) {
                let patch = Arc::downgrade(&patch);
                opus::stamp(pad, plan.container, move |samples| {
                    if let Some(patch) = patch.upgrade() {
                        lock(&patch).set_pre_skip(number, samples);
                    }
                });
            }
        }
        Ok(this)
    }

    /// Whether another encoder could still take the place of one.
    pub fn is_replaceable(&self) -> bool {
        self.unproven.load(Ordering::SeqCst) > 0
    }

    /// Tells the listener once something has come out of this encoder, and of all others of its kind.
    fn prove(&self, encoder: &gst::Element, listener: &Arc<impl Listener>) {
        let Some(pad) = encoder.static_pad("src") else {
            return;
        };
        self.unproven.fetch_add(1, Ordering::SeqCst);
        let (unproven, listener) = (self.unproven.clone(), Arc::downgrade(listener));
        probe(&pad, gst::PadProbeType::BUFFER, move |_, _| {
            if unproven.fetch_sub(1, Ordering::SeqCst) == 1
                && let Some(listener) = listener.upgrade()
            {
                listener.encoders_work();
            }
            gst::PadProbeReturn::Remove
        });
    }

    fn add_track(
        &self,
        plan: &Plan,
        track: &TrackMedia<'_>,
        made: &MadeFor<'_>,
        listener: &Arc<impl Listener>,
    ) -> Result<Feed, Error> {
        let (name, index, settings) = (track.name, made.index, made.settings);
        let codec = *plan
            .codecs
            .get(index)
            .ok_or_else(|| failed(name, "no codec"))?;
        let raw = formats::is_raw(&track.caps);
        let copied = plan.copied.get(index).copied().unwrap_or_default();
        let appsrc = appsrc(track, listener);
        if copied
            && (codec, plan.container) == (Codec::Aac, Container::Mp4)
            && let Some(pad) = appsrc.static_pad("src")
        {
            call_it_mpeg4(&pad);
        }
        if raw
            && codec.kind() == Kind::Video
            && let Some(pad) = appsrc.static_pad("src")
        {
            let listener = Arc::downgrade(listener);
            download::bring_over(&pad, name, move |error| {
                if let Some(listener) = listener.upgrade() {
                    listener.error(None, error);
                }
            });
        }
        let mut chain: Vec<gst::Element> = Vec::new();
        let mut encoder = None;
        let mut delay =
            (codec.kind() == Kind::Audio).then(|| formats::delay(codec, plan.container, None));
        if !copied {
            chain = front(codec, track)?;
            if let Some(filter) = chain.last() {
                keep_first_caps(filter);
            }
            if codec.kind() == Kind::Video
                && let Ok(flip) = make("videoflip", &format!("{name}-videoflip"))
            {
                super::turn::follow(&flip);
                if !raw {
                    // The gate turns raw pictures only, as their tags come.
                    flip.set_property_from_str("video-direction", track.turn().direction());
                }
                // In front of the scaler.
                chain.insert(1, flip);
            }
            if codec != Codec::Pcm {
                let (works, is_last) = encoder_that_works(codec, made, listener)?;
                if codec.kind() == Kind::Video {
                    let (interval, frames) = settings.key_interval();
                    keys::pace(&works, interval, frames);
                }
                if let (Some(delay), Some(factory)) = (&mut delay, works.factory()) {
                    *delay = formats::delay(codec, plan.container, Some(&factory.name()));
                    priming::account(&works, *delay);
                }
                if let Some(shown) = works.factory().and_then(|f| formats::shown_rate(&f.name())) {
                    header::show_frame_rate(&works, shown);
                }
                if !is_last {
                    self.prove(&works, listener);
                }
                chain.push(works.clone());
                encoder = Some(works);
            }
        }
        if let Some(parser) = plan.parser(index) {
            let parser = make(parser, &format!("{name}-parser"))?;
            if parser.has_property("config-interval") && !copied {
                parser.set_property_from_str("config-interval", "0");
            }
            if copied
                && plan.container == Container::Flac
                && let Some(pad) = parser.static_pad("src")
            {
                flac::count_anew(&pad);
            }
            chain.push(parser);
        }
        if let Some(caps) = plan.mux_caps(index) {
            let filter = make("capsfilter", &format!("{name}-encoded"))?;
            filter.set_property("caps", caps);
            if codec == Codec::H264
                && !copied
                && let Some(pad) = filter.static_pad("src")
            {
                header::keep_level(&pad);
            }
            chain.push(filter);
        }
        if copied
            && track.lacks_dts
            && let Some(factory) = formats::timestamper(codec, plan.container)
        {
            let timestamper = make(factory, &format!("{name}-timestamper"))?;
            if let Some(pad) = timestamper.static_pad("src") {
                begin_at_zero(&pad);
            }
            chain.push(timestamper);
        }
        self.link(&appsrc, &chain, raw || copied, track)?;
        let last = chain.last().unwrap_or(appsrc.upcast_ref());
        let template = formats::mux_pad_template(plan.container, codec.kind());
        let mux_pad = match self.muxer.static_pad(template) {
            Some(pad) => pad,
            None => self
                .muxer
                .request_pad_simple(template)
                .ok_or_else(|| failed(name, "the muxer takes no more tracks"))?,
        };
        last.static_pad("src")
            .ok_or_else(|| failed(name, "no src pad"))?
            .link(&mux_pad)
            .map_err(|err| {
                Error::not_supported(format!(
                    "{} cannot carry the track of {name} ({}): {err}",
                    plan.container.name(),
                    track.caps
                ))
            })?;
        if let Some(most) = limit::in_force(formats::most_bytes(plan.container)) {
            let listener = Arc::downgrade(listener);
            let container = plan.container;
            limit::watch(&mux_pad, most, move || {
                if let Some(listener) = listener.upgrade() {
                    listener.error(None, full(container, most));
                }
            });
        }
        Ok(Feed {
            appsrc,
            encoder,
            mux_pad: Some(mux_pad),
            delay,
        })
    }

    /// Links a track's elements; what is encoded but not to be kept is decoded first.
    fn link(
        &self,
        appsrc: &gst_app::AppSrc,
        chain: &[gst::Element],
        direct: bool,
        track: &TrackMedia<'_>,
    ) -> Result<(), Error> {
        let error = |err: glib::BoolError| failed(track.name, err);
        self.pipeline.add(appsrc).map_err(error)?;
        self.pipeline.add_many(chain).map_err(error)?;
        gst::Element::link_many(chain).map_err(error)?;
        let Some(first) = chain.first() else {
            return Ok(());
        };
        if direct {
            return appsrc.link(first).map_err(error);
        }
        let decoder = make("decodebin", &format!("{}-decoder", track.name))?;
        self.pipeline.add(&decoder).map_err(error)?;
        appsrc.link(&decoder).map_err(error)?;
        let next = first.downgrade();
        decoder.connect_pad_added(move |_, pad| {
            if let Some(sink) = next.upgrade().and_then(|next| next.static_pad("sink"))
                && !sink.is_linked()
            {
                // A failure shows as "not linked" on the bus.
                let _ = pad.link(&sink);
            }
        });
        Ok(())
    }

    /// The tracks, in their order.
    pub fn feeds(&self) -> &[Feed] {
        &self.feeds
    }

    /// The caps in front of the muxer, as far as they are known, in the order of the tracks.
    pub fn encoded_caps(&self) -> Vec<gst::Caps> {
        self.feeds
            .iter()
            .map_while(|feed| feed.mux_pad.as_ref()?.current_caps())
            .collect()
    }

    /// Sets tags of the whole recording, where the container has a place for them.
    pub fn set_tags(&self, tags: &gst::TagList) {
        if let Some(setter) = self.muxer.dynamic_cast_ref::<gst::TagSetter>() {
            setter.merge_tags(tags, gst::TagMergeMode::Replace);
        }
    }

    /// Whether the container has a place for tags of the whole recording.
    pub fn takes_tags(&self) -> bool {
        self.muxer.is::<gst::TagSetter>()
    }

    /// Gives a track the tags of its upstream; before its first buffer.
    pub fn set_track_tags(feed: &Feed, tags: gst::TagList) {
        feed.appsrc.send_event(gst::event::Tag::new(tags));
    }

    /// Lets it run.
    pub fn play(&self) -> Result<(), Error> {
        self.pipeline
            .set_state(gst::State::Playing)
            .map(|_| ())
            .map_err(|err| failed("it does not start", err))
    }

    /// Writes its graph to `GST_DEBUG_DUMP_DOT_DIR`.
    pub fn dump(&self, moment: &str) {
        self.pipeline.debug_to_dot_file_with_ts(
            gst::DebugGraphDetails::ALL,
            format!("mediarecorder-{moment}"),
        );
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        if let Some(bus) = self.pipeline.bus() {
            bus.unset_sync_handler();
        }
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// What stands between a track's raw media and its encoder.
fn front(codec: Codec, track: &TrackMedia<'_>) -> Result<Vec<gst::Element>, Error> {
    let steps = match codec.kind() {
        Kind::Audio => ["audioconvert", "audioresample"],
        Kind::Video => ["videoconvert", "videoscale"],
    };
    let name = track.name;
    let mut chain = Vec::new();
    for step in steps {
        chain.push(make(step, &format!("{name}-{step}"))?);
    }
    let filter = make("capsfilter", &format!("{name}-raw"))?;
    filter.set_property("caps", encoder_input(codec, track));
    chain.push(filter);
    Ok(chain)
}

/// For which track an encoder is made, and by what it is tuned.
struct MadeFor<'a> {
    index: usize,
    tracks: &'a [TrackMedia<'a>],
    settings: &'a Settings,
    /// Factories of those that have failed in this recording.
    failed_before: &'a [String],
}

/// The best encoder of `codec` that works, tuned, and whether it is the last that could be taken. Each that has
/// a next to pass it over for is tried, but for those that need nothing but a processor.
fn encoder_that_works(
    codec: Codec,
    made_for: &MadeFor<'_>,
    listener: &Arc<impl Listener>,
) -> Result<(gst::Element, bool), Error> {
    let MadeFor {
        index,
        tracks,
        settings,
        failed_before,
    } = *made_for;
    let kind = codec.kind();
    let track = tracks
        .get(index)
        .ok_or_else(|| failed("encoder", "no track"))?;
    let of_kind = tracks
        .iter()
        .filter(|track| formats::kind_of_caps(&track.caps) == Some(kind))
        .count();
    let tuning = tuning(track, of_kind, kind, settings);
    let mut factories = formats::encoders(codec);
    factories.retain(|factory| !failed_before.iter().any(|failed| *failed == factory.name()));
    let mut factories = factories.into_iter().peekable();
    let mut reason =
        Error::not_supported(format!("There is no encoder for {} here.", codec.name()));
    while let Some(factory) = factories.next() {
        let made = factory
            .create()
            .name(format!("{}{ENCODER}", track.name))
            .build();
        let encoder = match made {
            Ok(encoder) => encoder,
            Err(err) => {
                reason = failed(track.name, err);
                continue;
            }
        };
        formats::tune(&encoder, &tuning);
        listener.encoder(index, &encoder);
        let is_last = factories.peek().is_none();
        let safe = is_last || formats::needs_no_hardware(&factory.name());
        let raw = formats::is_raw(&track.caps).then_some(track.caps.as_ref());
        if safe || trial::works(&encoder, &front(codec, track)?, raw) {
            return Ok((encoder, is_last));
        }
    }
    Err(reason)
}

fn appsrc(track: &TrackMedia<'_>, listener: &Arc<impl Listener>) -> gst_app::AppSrc {
    let hungry = Arc::downgrade(listener);
    let appsrc = gst_app::AppSrc::builder()
        .name(track.name)
        .caps(&track.caps)
        .format(gst::Format::Time)
        .max_bytes(0)
        .max_time(gst::ClockTime::from_nseconds(track.room))
        .callbacks(
            gst_app::AppSrcCallbacks::builder()
                .need_data(move |_, _| {
                    if let Some(listener) = hungry.upgrade() {
                        listener.hungry();
                    }
                })
                .build(),
        )
        .build();
    // Wake an upstream that waits when half of the queue is free again.
    appsrc.set_property("min-percent", 50u32);
    appsrc
}

fn appsink(listener: &Arc<impl Listener>, patch: &Arc<Mutex<Patch>>) -> gst_app::AppSink {
    let (samples, end) = (listener.clone(), listener.clone());
    let patched = patch.clone();
    let sink = gst_app::AppSink::builder()
        .name("bytes")
        .sync(false)
        .async_(false)
        .callbacks(
            gst_app::AppSinkCallbacks::builder()
                .new_sample(move |sink| {
                    let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                    if let Some(buffer) = sample.buffer_owned() {
                        let buffer = lock(&patched).bytes(buffer);
                        samples.bytes(buffer);
                    }
                    Ok(gst::FlowSuccess::Ok)
                })
                .eos(move |_| end.end())
                .build(),
        )
        .build();
    if let Some(pad) = sink.static_pad("sink") {
        answer_seeking(&pad);
        let listener = listener.clone();
        let patch = patch.clone();
        probe(&pad, gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            match info.event().map(|event| event.view()) {
                Some(gst::EventView::Segment(segment)) => {
                    if let Some(bytes) = segment.segment().downcast_ref::<gst::format::Bytes>() {
                        let position = bytes.start().map_or(0, u64::from);
                        let position = lock(&patch).seek(position);
                        listener.seek(position);
                    }
                }
                Some(gst::EventView::Caps(caps)) => listener.caps(&caps.caps_owned()),
                _ => {}
            }
            gst::PadProbeReturn::Ok
        });
    }
    sink
}

/// Muxers write duration and index only where they are told that they may go back.
fn answer_seeking(pad: &gst::Pad) {
    probe(pad, gst::PadProbeType::QUERY_DOWNSTREAM, |_, info| {
        if let Some(gst::QueryViewMut::Seeking(seeking)) =
            info.query_mut().map(|query| query.view_mut())
            && seeking.format() == gst::Format::Bytes
        {
            seeking.set(true, gst::format::Bytes::ZERO, gst::format::Bytes::NONE);
            return gst::PadProbeReturn::Handled;
        }
        gst::PadProbeReturn::Ok
    });
}

/// The bus of the pipeline is the only truth about it. Nothing waits on it: messages are seen
/// as they are posted.
fn listen(bus: &gst::Bus, listener: &Arc<impl Listener>) {
    let listener = Arc::downgrade(listener);
    bus.set_sync_handler(move |_, message| {
        if let gst::MessageView::Error(error) = message.view()
            && let Some(listener) = listener.upgrade()
        {
            let who = error.src().map(|src| src.name().to_string());
            let failed = Error::unknown(format!(
                "Recording failed in {}: {}{}",
                who.unwrap_or_else(|| "the pipeline".into()),
                error.error(),
                error.debug().map(|d| format!(" ({d})")).unwrap_or_default()
            ));
            let encoder = error.src().and_then(encoder_around);
            listener.error(encoder.as_deref(), failed);
        }
        gst::BusSyncReply::Drop
    });
}

/// The factory of the encoder that is this, or that this is a part of.
fn encoder_around(object: &gst::Object) -> Option<glib::GString> {
    let mut around = Some(object.clone());
    while let Some(object) = around {
        if object.name().ends_with(ENCODER) {
            return Some(object.downcast_ref::<gst::Element>()?.factory()?.name());
        }
        around = object.parent();
    }
    None
}

/// Raw media as the encoder gets it to the end, whatever comes in later.
fn encoder_input(codec: Codec, track: &TrackMedia<'_>) -> gst::Caps {
    let caps = &track.caps;
    let mut wanted = formats::raw_caps(codec);
    let structure = wanted.make_mut();
    if let Some(info) = formats::video_info(caps) {
        let par = info.par();
        let wide = u64::from(info.width()) * u64::try_from(par.numer()).unwrap_or(1);
        let wide = wide / u64::try_from(par.denom()).unwrap_or(1).max(1);
        // Some encoders of AV1 take no others.
        let even = matches!(codec, Codec::H264 | Codec::H265 | Codec::Av1);
        let fit = |size: u64| {
            let size = size.clamp(16, 16_382);
            let size = if even { size & !1 } else { size };
            i32::try_from(size).unwrap_or(16)
        };
        let high = u64::from(info.height());
        let (wide, high) = match track.turn().is_sideways() {
            true => (high, wide),
            false => (wide, high),
        };
        structure.set("width", fit(wide));
        structure.set("height", fit(high));
        structure.set("pixel-aspect-ratio", gst::Fraction::new(1, 1));
    } else if let Some(info) = formats::audio_info(caps) {
        if codec == Codec::Pcm {
            structure.set("rate", i32::try_from(info.rate()).unwrap_or(48_000));
        }
        let channels = i32::try_from(info.channels()).unwrap_or(2);
        if codec == Codec::Pcm || channels <= 2 {
            structure.set("channels", channels);
        } else if puts_elsewhere(codec, channels) {
            structure.set("channels", 6i32);
            structure.set("channel-mask", gst::Bitmask::new(SURROUND));
        } else {
            // As many as there are or as everybody can play, but not any that is easy to make.
            let taken = takes_channels(codec, channels);
            structure.set("channels", if taken { channels } else { 2 });
        }
    }
    wanted
}

/// Left, right, centre, low frequencies, rear left, rear right.
const SURROUND: u64 = 0x3f;

/// Whether the encoder mistakes some of so many channels for others, as far as players hear it.
/// What opusenc and flacenc make of six is right.
fn puts_elsewhere(codec: Codec, channels: i32) -> bool {
    match codec {
        Codec::Opus => channels > 2,
        Codec::Flac => channels > 6,
        _ => false,
    }
}

/// Whether the encoder takes so many channels.
fn takes_channels(codec: Codec, channels: i32) -> bool {
    let wanted = gst::Caps::builder("audio/x-raw")
        .field("channels", channels)
        .build();
    formats::encoders(codec).first().is_some_and(|factory| {
        factory
            .static_pad_templates()
            .iter()
            .filter(|template| template.direction() == gst::PadDirection::Sink)
            .any(|template| template.caps().can_intersect(&wanted))
    })
}

/// What comes in later is converted to what came first: containers take new caps badly. What no
/// converter changes (frame rate, interlacing) is left at what it was at first.
fn keep_first_caps(filter: &gst::Element) {
    const NOT_CONVERTED: [&str; 6] = [
        "framerate",
        "max-framerate",
        "interlace-mode",
        "field-order",
        "multiview-mode",
        "multiview-flags",
    ];
    let Some(pad) = filter.static_pad("src") else {
        return;
    };
    let first = Mutex::new(None::<gst::Event>);
    let filter = filter.downgrade();
    probe(&pad, gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        let Some(gst::PadProbeData::Event(event)) = &mut info.data else {
            return gst::PadProbeReturn::Ok;
        };
        let gst::EventView::Caps(caps) = event.view() else {
            return gst::PadProbeReturn::Ok;
        };
        let mut first = super::timing::lock(&first);
        if let Some(first) = &*first {
            // An event that is dropped would be sent again with every buffer.
            *event = first.clone();
            return gst::PadProbeReturn::Ok;
        }
        let mut kept = caps.caps_owned();
        *first = Some(event.clone());
        drop(first);
        let video = kept.structure(0).is_some_and(|s| s.name() == "video/x-raw");
        if video && let Some(structure) = kept.make_mut().structure_mut(0) {
            structure.remove_fields(NOT_CONVERTED);
        }
        if let Some(filter) = filter.upgrade() {
            filter.set_property("caps", kept);
        }
        gst::PadProbeReturn::Ok
    });
}

fn tuning(track: &TrackMedia<'_>, of_kind: usize, kind: Kind, settings: &Settings) -> Tuning {
    // Encoded media that is to be decoded first has the same fields in its caps.
    let structure = track.caps.structure(0);
    let number = |field: &str| {
        let number = structure.and_then(|s| s.get::<i32>(field).ok());
        number.and_then(|number| u32::try_from(number).ok())
    };
    let fps = structure.and_then(|s| s.get::<gst::Fraction>("framerate").ok());
    Tuning {
        bits_per_second: settings.bitrates.per_track(kind, of_kind),
        width: number("width").unwrap_or(0),
        height: number("height").unwrap_or(0),
        fps: fps.map_or(0.0, |fps| {
            f64::from(fps.numer()) / f64::from(fps.denom().max(1))
        }),
        rate: number("rate").unwrap_or(0),
        channels: number("channels").unwrap_or(0),
        key_interval_ms: settings.key_interval_ms,
        key_interval_frames: settings.key_interval_frames,
        constant: settings.constant_bitrate && kind == Kind::Audio,
        cores: std::thread::available_parallelism().map_or(1, |cores| cores.get()),
    }
}
