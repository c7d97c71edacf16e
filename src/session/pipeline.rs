//! The private pipeline of one recording.
//!
//! ```text
//! appsrc ! audioconvert ! audioresample ! capsfilter ! encoder ! parser ! capsfilter ─┐
//! appsrc ! videoconvert ! videoscale ! capsfilter ! encoder ! parser ! capsfilter ────┤ muxer ! bytes
//! appsrc ! parser ! capsfilter ───────────────────────────────────────────────────────┘
//! ```
//!
//! It has no clock and shares no bus with the application's pipeline: its errors, its EOS and
//! its slowness stay inside. Must not be dropped in one of its own threads.

mod chain;
mod container_end;

pub use {chain::Feed, container_end::ContainerEnd};

use super::{
    Settings,
    alpha_encoder::AlphaEncoder,
    chapters,
    diagnosis::{TrackPath, listen},
    encoding::FailedEncoders,
    lock,
    track::InFlight,
};
use crate::{
    formats::{self, Chapter, Ending, Missing, Patch, Plan, VideoTrack},
    model::{Container, Error, Kind, Orientation, timeline::Ns},
};
use chain::ChainBuilder;
use gst::prelude::*;
use std::{sync::Arc, time::Duration};

/// What the pipeline has to say. Called from its threads: must not block for long.
pub trait Listener: Send + Sync + 'static {
    /// What comes next belongs at this offset.
    fn seek(&self, position: u64);
    /// The muxer's caps are known: by now all tracks' are.
    fn caps(&self, caps: &gst::Caps);
    /// When the first recorded instant was, in nanoseconds since 1970.
    fn date(&self) -> Option<i64>;
    /// Bytes of the recording.
    fn bytes(&self, buffer: gst::Buffer, begins_unit: bool);
    /// A packet of this track has come to the muxer: so many bytes, which end at this recorded time.
    fn muxed(&self, track: usize, size: u64, end: Ns);
    /// All chapters, and where the last of them ends: no more can come.
    fn chapters(&self) -> (Vec<Chapter>, Ns);
    /// All has been written but for how it ends.
    fn end(&self, ending: Ending);
    /// An element has failed that is no encoder.
    fn error(&self, error: Error);
    /// An encoder has failed: this one.
    fn encoder_failed(&self, encoder: &gst::Element, error: Error);
    /// Plugins are missing.
    fn missing(&self, missing: Vec<Missing>);
    /// The encoder of a track has been made and tuned, it is in NULL.
    fn encoder(&self, track: usize, encoder: &gst::Element);
    /// A track that is copied goes through this encoder from now on, or through none.
    fn exchanged(&self, track: usize, encoder: Option<&gst::Element>);
    /// A track has ended at this recorded time: these caps have come on it, of which nothing can be made.
    fn track_ends(&self, track: usize, caps: &gst::Caps, at: Ns);
    /// Media of a track with these caps is left out: the next part has what follows.
    fn left_out(&self, track: usize, caps: &gst::Caps);
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
    pub queue_time: Ns,
    /// Whether its first buffer lacks the decode time.
    pub lacks_dts: bool,
    /// Upstream's tags.
    pub tags: Option<gst::TagList>,
    /// What its encoder has been given and has not come out of it.
    pub in_flight: Arc<InFlight>,
}

impl TrackMedia<'_> {
    /// Whether its pictures have to be turned to stand upright.
    pub fn is_turned(&self) -> bool {
        self.turn() != Orientation::default()
    }

    /// How its pictures have to be turned to stand upright.
    pub fn turn(&self) -> Orientation {
        let tags = self.tags.as_deref();
        tags.and_then(super::orientation::of_tags)
            .unwrap_or_default()
    }
}

/// What the head of the file is told that its tracks do not tell.
#[derive(Debug, Clone, Copy, Default)]
pub struct FileHead {
    /// Bytes that are set aside for chapters.
    pub chapters_room: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Pipeline {
    pipeline: gst::Pipeline,
    feeds: Vec<Feed>,
    end: ContainerEnd,
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

/// The factory of an element, or of the encoders that it is made of.
pub(super) fn factory_name(element: &gst::Element) -> Option<glib::GString> {
    let pair = element.downcast_ref::<AlphaEncoder>();
    let element = pair.and_then(AlphaEncoder::colour).unwrap_or(element);
    Some(element.factory()?.name())
}

impl Pipeline {
    /// Builds the chain of every track, tuned, without encoders that have `failed`; nothing runs yet.
    pub fn build(
        plan: &Plan,
        tracks: &[TrackMedia<'_>],
        settings: &Settings,
        head: FileHead,
        failed: &FailedEncoders,
        listener: &Arc<impl Listener>,
    ) -> Result<Self, Error> {
        let pipeline = gst::Pipeline::with_name("mediarecorder-session");
        // Without a clock nothing waits for a time.
        pipeline.use_clock(None::<&gst::Clock>);
        let end = ContainerEnd::build(&pipeline, plan, settings.timeslice, head, listener)?;
        let mut this = Pipeline {
            pipeline,
            feeds: Vec::new(),
            end,
        };
        for (index, track) in tracks.iter().enumerate() {
            let chains = ChainBuilder {
                pipeline: &this.pipeline,
                end: &this.end,
                plan,
                settings,
                failed,
                listener,
            };
            let feed = chains.build(index, track)?;
            this.feeds.push(feed);
        }
        if let Some(bus) = this.pipeline.bus() {
            let paths = paths(plan, tracks, &this.feeds);
            listen(&bus, plan.container, paths, listener);
        }
        let track = this.feeds.get(chapters::track_in_ogg(&plan.codecs));
        if let (Container::Ogg, Some(feed)) = (plan.container, track) {
            chapters::reserve_in_ogg(&feed.mux_pad, head.chapters_room);
        }
        let delays = this.feeds.iter().filter_map(|feed| feed.delay);
        let pictures = pictures(plan, tracks, &this.feeds);
        this.end.set_patch(delays.collect(), pictures);
        Ok(this)
    }

    /// Another encoder takes the place of that of a track, in the same file; it does not run yet, and has been given nothing.
    pub fn rebuild(
        &mut self,
        index: usize,
        track: TrackMedia<'_>,
        plan: &Plan,
        (settings, failed): (&Settings, &FailedEncoders),
        listener: &Arc<impl Listener>,
    ) -> Result<(), Error> {
        let chains = ChainBuilder {
            pipeline: &self.pipeline,
            end: &self.end,
            plan,
            settings,
            failed,
            listener,
        };
        let feed = self.feeds.get_mut(index);
        let feed = feed.ok_or_else(|| chain::no_track(track.name))?;
        chains.rebuild(feed, index, track)
    }

    /// The tracks, in their order.
    pub fn feeds(&self) -> &[Feed] {
        &self.feeds
    }

    /// The caps in front of the muxer, as far as they are known, in the order of the tracks.
    pub fn encoded_caps(&self) -> Vec<gst::Caps> {
        self.feeds
            .iter()
            .map_while(|feed| feed.mux_pad.current_caps())
            .collect()
    }

    /// Sets tags of the whole recording, where the container has a place for them.
    pub fn set_tags(&self, tags: &gst::TagList) {
        if let Some(setter) = self.end.muxer.dynamic_cast_ref::<gst::TagSetter>() {
            setter.merge_tags(tags, gst::TagMergeMode::Replace);
        }
    }

    /// Whether the container has a place for tags of the whole recording.
    pub fn takes_tags(&self) -> bool {
        self.end.muxer.is::<gst::TagSetter>()
    }

    /// Gives a track the tags of its upstream; before its first buffer.
    pub fn set_track_tags(feed: &Feed, tags: gst::TagList) {
        feed.appsrc.send_event(gst::event::Tag::new(tags));
    }

    /// What is left to be done with the bytes where the muxer has not come to its end: once.
    pub fn take_ending(&self, chapters: Vec<Chapter>, end: Ns) -> Ending {
        self.end.take_ending(chapters, end)
    }

    /// Has what there is of the fragments of MP4 written; FALSE if that takes longer than `patience`.
    pub fn end_fragments(&self, patience: Duration) -> bool {
        self.end.end_fragments(patience)
    }

    /// Works with what puts its bytes right. No lock is to be taken meanwhile.
    pub fn with_patch<R>(&self, work: impl FnOnce(&mut Patch) -> R) -> R {
        work(&mut lock(&self.end.patch))
    }

    /// Lets it run, but for the encoders.
    pub fn play(&self) -> Result<(), Error> {
        self.pipeline
            .set_state(gst::State::Playing)
            .map_err(|err| failed("it does not start", err))?;
        self.end.reserve_chapters();
        Ok(())
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

/// What the container is told of each video track.
fn pictures(plan: &Plan, tracks: &[TrackMedia<'_>], feeds: &[Feed]) -> Vec<VideoTrack> {
    let tracks = plan.codecs.iter().zip(tracks).zip(feeds);
    tracks
        .filter(|((codec, _), _)| codec.kind() == Kind::Video)
        .map(|((_, track), feed)| VideoTrack {
            turn: match feed.spec.copied {
                true => track.turn(),
                // It has been turned.
                false => Orientation::default(),
            },
            alpha: feed.spec.has_joined_alpha(),
            ..VideoTrack::default()
        })
        .collect()
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        if let Some(bus) = self.pipeline.bus() {
            bus.unset_sync_handler();
        }
        let _ = self.pipeline.set_state(gst::State::Null);
        self.end.close();
    }
}
