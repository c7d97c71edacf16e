//! The private pipeline of one recording.
//!
//! ```text
//! appsrc ! audioconvert ! audioresample ! capsfilter ! encoder ! parser ! capsfilter ────────────┐
//! appsrc ! videoconvert ! videoflip ! videoscale ! capsfilter ! encoder ! parser ! capsfilter ───┤ muxer ! bytes
//! appsrc ! parser ! capsfilter ──────────────────────────────────────────────────────────────────┘
//! ```
//!
//! It has no clock and shares no bus with the application's pipeline: its errors, its EOS and
//! its slowness stay inside. Must not be dropped in one of its own threads.

use super::{
    Settings, caps_ladder, container_limit,
    diagnosis::{TrackPath, listen},
    encoder_delay::{self, Heard},
    encoding::{MadeFor, front, keep_first_caps, set_up_encoder},
    exchange::{self, Section},
    fixups::{
        av1, caps_once, clipping, colorimetry,
        decode_times::{begin_at_zero, give_headroom},
        durations, empty_tracks, encoder_drain, flac, gaps, keep_payload, mp3_file,
        mpeg4::call_it_mpeg4,
        muxer_caps, ogg_pages, opus, theora_cfr, vp8_in_ogg,
    },
    fragment_alignment,
    io_pads::{appsrc, bytes_pad},
    key_units,
    probe::{on_caps, probe},
    system_memory,
    timing::lock,
};
use crate::{
    formats::{self, CodecConfig, Delay, Ending, Missing, Patch, Plan, Recorded},
    gate::headroom,
    model::{Codec, Container, Error, Kind, Orientation, timeline::Ns},
};
use gst::prelude::*;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// What the pipeline has to say. Called from its threads: must not block for long.
pub trait Listener: Send + Sync + 'static {
    /// What comes next belongs at this offset.
    fn seek(&self, position: u64);
    /// The muxer's caps are known: by now all tracks' are.
    fn caps(&self, caps: &gst::Caps);
    /// Bytes of the recording.
    fn bytes(&self, buffer: gst::Buffer, begins_unit: bool);
    /// All has been written but for how it ends.
    fn end(&self, ending: Ending);
    /// An element has failed; `encoder` is its factory's name if it is an encoder.
    fn error(&self, encoder: Option<&str>, error: Error);
    /// Plugins are missing.
    fn missing(&self, missing: Vec<Missing>);
    /// Something has come out of every encoder that there would be another for.
    fn encoders_work(&self);
    /// The encoder of a track has been made and tuned, it is in NULL.
    fn encoder(&self, track: usize, encoder: &gst::Element);
    /// A track that is copied goes through this encoder from now on, or through none.
    fn exchanged(&self, track: usize, encoder: Option<&gst::Element>);
    /// A track has ended at this recorded time: these caps have come on it, of which nothing can be made.
    fn track_ends(&self, track: usize, caps: &gst::Caps, at: Ns);
    /// A queue has run low.
    fn need_data(&self);
}

/// A track as the pipeline gets it.
pub struct TrackMedia<'a> {
    /// Name of the pad.
    pub name: &'a str,
    /// What the gate gives.
    pub caps: gst::Caps,
    /// What its encoder is given.
    pub bits_per_second: u32,
    /// Media that may wait for its encoder.
    pub room: Ns,
    /// Whether its first buffer lacks the decode time.
    pub lacks_dts: bool,
    /// Upstream's tags.
    pub tags: Option<gst::TagList>,
}

impl TrackMedia<'_> {
    /// How its pictures have to be turned to stand upright.
    pub fn turn(&self) -> Orientation {
        let tags = self.tags.as_deref();
        tags.and_then(super::orientation::of_tags)
            .unwrap_or_default()
    }
}

/// See the module.
#[derive(Debug)]
pub struct Pipeline {
    pipeline: gst::Pipeline,
    feeds: Vec<Feed>,
    muxer: gst::Element,
    /// Where the muxer's bytes come out.
    bytes: gst::Pad,
    /// What they are put right by.
    patch: Arc<Mutex<Patch>>,
    /// Whether any media has come to the muxer.
    begun: Arc<AtomicBool>,
    /// How many tracks the muxer has, where that is counted.
    in_muxer: empty_tracks::Tracks,
    /// Encoders that there would be another for and that nothing has come out of.
    unproven: Arc<AtomicUsize>,
}

/// The beginning of a track, and its encoder if it has one.
#[derive(Debug, Clone)]
pub struct Feed {
    pub appsrc: gst_app::AppSrc,
    pub encoder: Option<gst::Element>,
    mux_pad: Option<gst::Pad>,
    /// Whether gaps in it do not hold up the muxer.
    pub takes_gaps: bool,
    /// Of sound.
    delay: Option<Delay>,
    /// Samples that its encoder adds in front, whether the container is told or not.
    added: u32,
    /// How much later than recorded time its stamps are in front of the muxer, in nanoseconds.
    headroom: Ns,
}

pub(super) fn failed(what: &str, why: impl std::fmt::Display) -> Error {
    Error::unknown(format!(
        "Cannot build the recording's pipeline: {what}: {why}"
    ))
}

pub(super) fn make(factory: &str, name: &str) -> Result<gst::Element, Error> {
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

pub(super) fn factory_name(element: &gst::Element) -> Option<glib::GString> {
    Some(element.factory()?.name())
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
        let heard = Arc::new(Heard::new(plan.codecs.len()));
        let begun = Arc::<AtomicBool>::default();
        let bytes = bytes_pad(listener, &patch, &heard, &begun);
        pipeline.add(&muxer).map_err(|err| failed("muxer", err))?;
        // Not in the pipeline, which is all that the checks would find.
        muxer
            .static_pad("src")
            .ok_or_else(|| failed("muxer", "no src pad"))?
            .link_full(&bytes, gst::PadLinkCheck::empty())
            .map_err(|err| failed("muxer", err))?;
        bytes.set_active(true).map_err(|err| failed("muxer", err))?;
        let mut this = Pipeline {
            pipeline,
            feeds: Vec::new(),
            muxer,
            bytes,
            patch: patch.clone(),
            begun,
            in_muxer: empty_tracks::Tracks::default(),
            unproven: Arc::default(),
        };
        for (index, track) in tracks.iter().enumerate() {
            let made = MadeFor {
                index,
                track,
                settings,
                failed_before,
            };
            let feed = this.add_track(plan, &made, listener)?;
            this.feeds.push(feed);
        }
        if let Some(bus) = this.pipeline.bus() {
            listen(
                &bus,
                plan.container,
                paths(plan, tracks, &this.feeds),
                listener,
            );
        }
        if plan.container == Container::Mp3 {
            let added = this.feeds.first().map_or(0, |feed| feed.added);
            mp3_file::write(&this.muxer, added);
        }
        if plan.container == Container::Ogg {
            let audio = this.feeds.iter().zip(&plan.codecs);
            let audio = audio.filter(|(_, codec)| codec.kind() == Kind::Audio);
            for pad in audio.filter_map(|(feed, _)| feed.mux_pad.as_ref()) {
                ogg_pages::divide(pad, settings.timeslice);
            }
            if plan.codecs.iter().all(|codec| codec.kind() == Kind::Audio) {
                ogg_pages::unflag(&this.muxer);
            }
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
                let heard = heard.clone();
                // Opus is stamped later only behind this.
                let later = !matches!(feed.delay, Some(Delay::PreSkip(_)));
                let others = plan.codecs.len() > 1;
                fragment_alignment::mark(pad, settings.timeslice, others, move || match later {
                    true => heard.least(),
                    false => 0,
                });
            }
            if plan.container == Container::Mp4 {
                fragment_alignment::divide(&this.muxer, settings.timeslice, &heard);
            }
        }
        // The order of the feeds is that of the muxer's pads.
        let delays = this.feeds.iter().filter_map(|feed| feed.delay).collect();
        let copied = plan.copied.iter().zip(&plan.codecs).zip(tracks);
        let turns = copied
            .filter(|((_, codec), _)| codec.kind() == Kind::Video)
            .map(|((copied, _), track)| match copied {
                true => track.turn(),
                // It has been turned.
                false => Orientation::default(),
            });
        *lock(&patch) = Patch::new(plan.container, delays, turns.collect());
        let sound = this.feeds.iter().enumerate();
        let sound = sound.filter(|(_, feed)| feed.delay.is_some());
        for (number, (track, feed)) in sound.enumerate() {
            let Some(pad) = &feed.mux_pad else {
                continue;
            };
            let (heard, muxer) = (heard.clone(), this.muxer.downgrade());
            let divided = plan.container == Container::Mp4 && settings.timeslice > 0;
            let timeslice = settings.timeslice;
            let late = move |nanoseconds| {
                heard.set(track, nanoseconds);
                if let (true, Some(muxer)) = (divided, muxer.upgrade()) {
                    fragment_alignment::begin(&muxer, timeslice, heard.least());
                }
            };
            if let Some(Delay::PreSkip(_)) = feed.delay {
                let patch = Arc::downgrade(&patch);
                opus::stamp(pad, plan.container, move |samples| {
                    if let Some(patch) = patch.upgrade() {
                        lock(&patch).set_pre_skip(number, samples);
                    }
                    late(formats::opus_length(samples.into()));
                });
            } else if feed.added > 0 {
                encoder_delay::listen(pad, feed.added, late);
            }
        }
        let seen = this.feeds.iter().zip(&plan.codecs).enumerate();
        let seen = seen.filter(|(_, (_, codec))| codec.kind() == Kind::Video);
        for (number, (track, (feed, codec))) in seen.enumerate() {
            if plan.container == Container::Mp4
                && let Some(pad) = &feed.mux_pad
            {
                if matches!(codec, Codec::H264 | Codec::H265) {
                    let (heard, patch) = (heard.clone(), Arc::downgrade(&patch));
                    begin_at_zero(pad, feed.headroom, move |delay| {
                        heard.set_reordered(track, delay);
                        if let Some(patch) = patch.upgrade() {
                            lock(&patch).set_decode_delay(number, delay);
                        }
                    });
                }
                let (patch, codec) = (Arc::downgrade(&patch), *codec);
                on_caps(pad, move |caps| {
                    let config = CodecConfig::of(codec, caps)?;
                    lock(&*patch.upgrade()?).set_codec_config(number, config);
                    None
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
        made: &MadeFor<'_>,
        listener: &Arc<impl Listener>,
    ) -> Result<Feed, Error> {
        let MadeFor {
            index,
            track,
            settings,
            ..
        } = *made;
        let name = track.name;
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
        if let Some(rate) = formats::clipping_rate(&track.caps)
            && let Some(pad) = appsrc.static_pad("src")
        {
            clipping::count_in_samples(&pad, rate);
        }
        if raw
            && codec.kind() == Kind::Video
            && let Some(pad) = appsrc.static_pad("src")
        {
            let listener = Arc::downgrade(listener);
            system_memory::bring_over(&pad, name, move |error| {
                if let Some(listener) = listener.upgrade() {
                    listener.error(None, error);
                }
            });
        }
        // In MP4 decode times begin at 0 behind the parser, which tells them.
        let has_edit_list = plan.container == Container::Mp4;
        let headroom = match copied && has_edit_list && matches!(codec, Codec::H264 | Codec::H265) {
            true => headroom(&track.caps),
            false => 0,
        };
        if let Some(pad) = appsrc.static_pad("src") {
            give_headroom(&pad, headroom);
        }
        let mut chain: Vec<gst::Element> = Vec::new();
        let mut encoder = None;
        if !copied {
            chain = front(codec, track)?;
            if let Some(filter) = chain.last() {
                keep_first_caps(filter);
            }
            if codec.kind() == Kind::Video
                && let Ok(flip) = make("videoflip", &format!("{name}-videoflip"))
            {
                super::orientation::follow(&flip);
                if !raw {
                    // The gate turns raw pictures only, as their tags come.
                    flip.set_property_from_str("video-direction", track.turn().direction());
                }
                // In front of the scaler.
                chain.insert(1, flip);
            }
            if (codec, plan.container) == (Codec::Vp8, Container::Ogg)
                && let (Some(first), Some(filter)) = (chain.first(), chain.last())
            {
                theora_cfr::assume_rate(first);
                vp8_in_ogg::repeat_frames(filter);
            }
            if codec != Codec::Pcm {
                let (works, is_last) = set_up_encoder(codec, made, listener)?;
                if codec == Codec::Theora {
                    if let Some(first) = chain.first() {
                        theora_cfr::assume_rate(first);
                    }
                    theora_cfr::count(&works);
                }
                if !is_last {
                    self.prove(&works, listener);
                }
                chain.push(works.clone());
                encoder = Some(works);
            }
        }
        let delay = (codec.kind() == Kind::Audio).then(|| {
            let factory = encoder.as_ref().and_then(factory_name);
            formats::delay(codec, plan.container, factory.as_deref())
        });
        let added = encoder.as_ref().and_then(factory_name);
        let added = added.map_or(0, |factory| formats::encoder_delay(&factory));
        if let (Some(encoder), Some(delay)) = (&encoder, delay) {
            encoder_drain::account(encoder, delay);
        }
        if let (Some(encoder), Codec::Flac) = (&encoder, codec) {
            flac::announce(encoder);
        }
        let is_mixed = Arc::<AtomicBool>::default();
        if let Some(parser) = plan.parser(index) {
            let parser = make(parser, &format!("{name}-parser"))?;
            if parser.has_property("config-interval") && !copied {
                parser.set_property_from_str("config-interval", "0");
            }
            if copied
                && codec == Codec::Flac
                && let Some(pad) = parser.static_pad("src")
            {
                let counted = match plan.container {
                    Container::Flac => flac::Counted::All,
                    _ => flac::Counted::From(is_mixed.clone()),
                };
                if let Some(pad) = appsrc.static_pad("src") {
                    flac::note_silence(&pad, is_mixed.clone());
                }
                flac::count_anew(&pad, counted);
            }
            if copied && codec == Codec::H264 {
                keep_payload::keep(&parser);
            }
            if codec == Codec::Av1 {
                av1::tell_by_caps(&parser);
            }
            chain.push(parser);
        }
        if let Some(caps) = plan.mux_caps(index) {
            let filter = make("capsfilter", &format!("{name}-encoded"))?;
            filter.set_property("caps", caps);
            chain.push(filter);
        }
        if copied
            && track.lacks_dts
            && let Some(factory) = formats::timestamper(codec, plan.container)
        {
            let timestamper = make(factory, &format!("{name}-timestamper"))?;
            chain.push(timestamper);
        }
        let takes = chain.first().and_then(|first| first.static_pad("sink"));
        // What is encoded but not to be kept is decoded first.
        let decoder = match raw || copied {
            true => None,
            false => Some(make("decodebin", &format!("{name}-decoder"))?),
        };
        let mut row = vec![appsrc.clone().upcast()];
        row.extend(decoder.iter().cloned().chain(chain));
        self.link(&row, name)?;
        let last = row.last().unwrap_or(appsrc.upcast_ref());
        let template = formats::mux_pad_template(plan.container, codec.kind());
        let mux_pad = match self.muxer.static_pad(template) {
            Some(pad) => pad,
            None => self
                .muxer
                .request_pad_simple(template)
                .ok_or_else(|| failed(name, "the muxer takes no more tracks"))?,
        };
        vet(&mux_pad, plan.container, codec, name, listener);
        self.begins_with(&mux_pad);
        if codec.kind() == Kind::Video {
            key_units::keep_marks(&mux_pad);
        }
        if plan.container == Container::Mp4 && matches!(codec, Codec::H264 | Codec::H265) {
            colorimetry::keep_full_range_from_colr(&mux_pad);
        }
        if (codec, plan.container) == (Codec::Vp8, Container::Ogg) {
            vp8_in_ogg::write_header(&mux_pad);
        }
        let in_band = match copied {
            true => caps_once::InBand::OnceChanged,
            false => caps_once::InBand::Always,
        };
        caps_once::keep_first(&mux_pad, codec, in_band);
        let source = last
            .static_pad("src")
            .ok_or_else(|| failed(name, "no src pad"))?;
        if plan.parser(index).is_some() {
            // Of raw frames some may be left out in front of the encoder; packets of sound are not its buffers.
            let entry = match (&encoder, codec.kind()) {
                (Some(encoder), Kind::Video) => encoder.static_pad("sink"),
                (Some(encoder), Kind::Audio) => encoder.static_pad("src"),
                (None, _) => appsrc.static_pad("src").filter(|_| copied),
            };
            if let Some(entry) = entry {
                durations::keep(&entry, &source);
            }
        }
        let counts_frames = plan.container == Container::Ogg;
        let takes_gaps = !counts_frames || copied && codec == Codec::Theora;
        if takes_gaps {
            gaps::stand_in(&source, headroom, counts_frames);
        }
        source.link(&mux_pad).map_err(|err| {
            Error::not_supported(format!(
                "{} cannot carry the track of {name} ({}): {err}",
                plan.container.name(),
                track.caps
            ))
        })?;
        if let Some(upstream) = appsrc.static_pad("src") {
            let section = decoder.into_iter().collect();
            let downstream = takes.unwrap_or_else(|| mux_pad.clone());
            let section = Section::new(&upstream, &downstream, section);
            let watched = caps_ladder::Watched {
                recorded: Recorded {
                    codec,
                    copied,
                    first: track.caps.clone(),
                },
                index,
                name: name.to_owned(),
                bits_per_second: track.bits_per_second,
                room: track.room,
                headroom,
                settings: settings.clone(),
                failed_before: made.failed_before.to_vec(),
                is_mixed,
                mux_pad: mux_pad.downgrade(),
                listener: Arc::downgrade(listener),
            };
            caps_ladder::watch(&upstream, section, watched);
        }
        if matches!(
            plan.container,
            Container::WebM | Container::Matroska | Container::Ogg
        ) {
            empty_tracks::take_out(&self.muxer, plan.container, &source, &self.in_muxer);
        }
        if let Some(most) = container_limit::in_force(formats::most_bytes(plan.container)) {
            let listener = Arc::downgrade(listener);
            let container = plan.container;
            container_limit::watch(&mux_pad, most, move || {
                if let Some(listener) = listener.upgrade() {
                    listener.error(None, full(container, most));
                }
            });
        }
        Ok(Feed {
            appsrc,
            encoder,
            mux_pad: Some(mux_pad),
            takes_gaps,
            delay,
            added,
            headroom,
        })
    }

    /// Notes that media has come to the muxer, on this pad of it.
    fn begins_with(&self, mux_pad: &gst::Pad) {
        let begun = self.begun.clone();
        probe(mux_pad, gst::PadProbeType::BUFFER, move |pad, _| {
            if !pad.has_current_caps() {
                return gst::PadProbeReturn::Ok;
            }
            begun.store(true, Ordering::Release);
            gst::PadProbeReturn::Remove
        });
    }

    /// Puts a track's elements into the pipeline and links them.
    fn link(&self, chain: &[gst::Element], name: &str) -> Result<(), Error> {
        let error = |err: glib::BoolError| failed(name, err);
        self.pipeline.add_many(chain).map_err(error)?;
        exchange::link_all(chain).map_err(error)
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

    /// What is left to be done with the bytes where the muxer has not come to its end: once.
    pub fn take_ending(&self) -> Ending {
        lock(&self.patch).take_ending()
    }

    /// Lets it run.
    pub fn play(&self) -> Result<(), Error> {
        self.pipeline
            .set_state(gst::State::Playing)
            .map(|_| ())
            .map_err(|err| failed("it does not start", err))
    }

    /// The factory of the encoder whose change of state has failed, if one has.
    pub fn failed_encoder(&self) -> Option<String> {
        let encoders = self.feeds.iter().filter_map(|feed| feed.encoder.as_ref());
        let mut failed = encoders.filter(|encoder| {
            let (result, _, _) = encoder.state(gst::ClockTime::ZERO);
            result.is_err()
        });
        failed.find_map(factory_name).map(|name| name.to_string())
    }

    /// Writes its graph to `GST_DEBUG_DUMP_DOT_DIR`.
    pub fn dump(&self, moment: &str) {
        self.pipeline.debug_to_dot_file_with_ts(
            gst::DebugGraphDetails::ALL,
            format!("mediarecorder-{moment}"),
        );
    }
}

fn paths(plan: &Plan, tracks: &[TrackMedia<'_>], feeds: &[Feed]) -> Vec<TrackPath> {
    let tracks = tracks.iter().zip(&plan.codecs).zip(feeds);
    tracks
        .map(|((track, codec), feed)| TrackPath {
            name: track.name.to_owned(),
            caps: track.caps.clone(),
            codec: *codec,
            begin: feed
                .appsrc
                .static_pad("src")
                .map(|pad| pad.downgrade())
                .unwrap_or_default(),
        })
        .collect()
}

/// Keeps from the muxer what it cannot read; caps that are none for it end the recording.
fn vet(
    mux_pad: &gst::Pad,
    container: Container,
    codec: Codec,
    name: &str,
    listener: &Arc<impl Listener>,
) {
    let (listener, name) = (Arc::downgrade(listener), name.to_owned());
    muxer_caps::vet(mux_pad, container, codec, move |caps, reason| {
        if let Some(listener) = listener.upgrade() {
            let error = Error::not_supported(format!(
                "{} cannot carry the track of {name} with the caps {caps}: {reason}.",
                container.name()
            ));
            listener.error(None, error);
        }
    });
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        if let Some(bus) = self.pipeline.bus() {
            bus.unset_sync_handler();
        }
        let _ = self.pipeline.set_state(gst::State::Null);
        let _ = self.bytes.set_active(false);
    }
}
