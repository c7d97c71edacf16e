//! The private pipeline of one recording.
//!
//! ```text
//! appsrc ! audioconvert ! audioresample ! capsfilter ! encoder ! parser ! capsfilter ─┐
//! appsrc ! videoconvert ! videoscale ! capsfilter ! encoder ! parser ! capsfilter ────┤ muxer ! bytes
//! appsrc ! parser ! capsfilter ───────────────────────────────────────────────────────┘
//! ```
//!
//! It has no clock, and shares no bus with the application's pipeline: its errors, EOS and delays stay internal. Must
//! not be dropped in one of its own threads.

mod chain;
mod container_end;

pub use {chain::Feed, container_end::ContainerEnd};

use super::{
    Settings,
    alpha_encoder::AlphaEncoder,
    chapters,
    diagnosis::{TrackPath, listen},
    encoding::FailedEncoders,
    io_pads::BytesOut,
    overlap::Overlap,
    track::InFlight,
    writer::NextCluster,
};
use crate::{
    formats::{self, Chapter, Ending, Missing, Plan, VideoTrack},
    model::{Container, Error, Kind, Orientation, timeline::Ns},
};
use chain::ChainBuilder;
use gst::prelude::*;
use std::{sync::Arc, time::Duration};

/// Receives the pipeline's events. Called from its threads; must not block for long.
pub trait Listener: Send + Sync + 'static {
    /// The next bytes go to this offset.
    fn seek(&self, position: u64);
    /// The muxer's caps are known, and therefore those of all tracks.
    fn caps(&self, caps: &gst::Caps);
    /// Wall-clock time of the first recorded instant, in nanoseconds since 1970.
    fn date(&self) -> Option<i64>;
    /// Output of the muxer: whether it begins a cluster or fragment, and the recorded time of the timeslice that begins
    /// behind it, if that is known. Returns where the next timeslice has to begin with a cluster.
    fn bytes(
        &self,
        buffer: gst::Buffer,
        begins_unit: bool,
        slice_end: Option<Ns>,
    ) -> Option<NextCluster>;
    /// A packet of this track has reached the muxer: its size, and the recorded time at which it ends.
    fn muxed(&self, track: usize, size: u64, end: Ns);
    /// All chapters, and where the last one ends. No more are accepted.
    fn chapters(&self) -> (Vec<Chapter>, Ns);
    /// All media has been written; finalising remains.
    fn end(&self, ending: Ending);
    /// An element that is not an encoder has failed.
    fn error(&self, error: Error);
    /// An encoder has failed.
    fn encoder_failed(&self, encoder: &gst::Element, error: Error);
    /// Plugins are missing.
    fn missing(&self, missing: Vec<Missing>);
    /// A track's encoder has been created and configured; it is in NULL.
    fn encoder(&self, track: usize, encoder: &gst::Element);
    /// A copied track is encoded by this encoder from now on, or copied again.
    fn exchanged(&self, track: usize, encoder: Option<&gst::Element>);
    /// A track has ended at this recorded time because of these caps, which cannot be recorded.
    fn track_ends(&self, track: usize, caps: &gst::Caps, at: Ns);
    /// Media of a track with these caps is dropped until the next part, which can hold it.
    fn left_out(&self, track: usize, caps: &gst::Caps);
    /// A queue has run low.
    fn need_data(&self);
}

/// A track's media as the pipeline needs it.
pub struct TrackMedia<'a> {
    /// Name of the pad.
    pub name: &'a str,
    /// The gate's output caps.
    pub caps: gst::Caps,
    /// The bitrate of its encoder.
    pub bits_per_second: u32,
    /// Maximum media queued for its encoder.
    pub queue_time: Ns,
    /// Whether its first buffer has no DTS.
    pub lacks_dts: bool,
    /// Upstream's tags.
    pub tags: Option<gst::TagList>,
    /// Media that was pushed to its encoder and has not come out yet.
    pub in_flight: Arc<InFlight>,
    /// The audio around its part.
    pub overlap: Arc<Overlap>,
}

impl TrackMedia<'_> {
    /// Whether its frames have to be rotated.
    pub fn is_turned(&self) -> bool {
        self.turn() != Orientation::default()
    }

    /// The rotation that its frames need.
    pub fn turn(&self) -> Orientation {
        let tags = self.tags.as_deref();
        tags.and_then(super::orientation::of_tags)
            .unwrap_or_default()
    }
}

/// Header data that does not come from the tracks.
#[derive(Debug, Clone, Copy, Default)]
pub struct FileHead {
    /// Bytes reserved for chapters.
    pub chapters_room: usize,
}

/// See the module documentation.
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
                "Cannot record: the GStreamer element {factory} is missing; install {}",
                formats::package(factory)
            ))
        })
}

/// The factory of an element; for an [`AlphaEncoder`], that of its colour encoder.
pub(super) fn factory_name(element: &gst::Element) -> Option<glib::GString> {
    let pair = element.downcast_ref::<AlphaEncoder>();
    let element = pair.and_then(AlphaEncoder::colour).unwrap_or(element);
    Some(element.factory()?.name())
}

impl Pipeline {
    /// Builds and configures the chains of all tracks, excluding encoders that have `failed`. Nothing runs yet.
    pub fn build(
        plan: &Plan,
        tracks: &[TrackMedia<'_>],
        settings: &Settings,
        head: FileHead,
        failed: &FailedEncoders,
        listener: &Arc<impl Listener>,
    ) -> Result<Self, Error> {
        let pipeline = gst::Pipeline::with_name("mediarecorder-session");
        // Without a clock, no element synchronises to one.
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
        let video_tracks = video_tracks(plan, tracks, &this.feeds);
        this.end.set_patch(delays.collect(), video_tracks);
        Ok(this)
    }

    /// Replaces the encoder of a track, within the same file. The new one does not run yet, and has no input.
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

    /// The tracks, in order.
    pub fn feeds(&self) -> &[Feed] {
        &self.feeds
    }

    /// The caps of the muxer's sink pads, as far as they are known, in the order of the tracks.
    pub fn encoded_caps(&self) -> Vec<gst::Caps> {
        self.feeds
            .iter()
            .map_while(|feed| feed.mux_pad.current_caps())
            .collect()
    }

    /// Sets global tags, if the container supports them.
    pub fn set_tags(&self, tags: &gst::TagList) {
        if let Some(setter) = self.end.muxer.dynamic_cast_ref::<gst::TagSetter>() {
            setter.merge_tags(tags, gst::TagMergeMode::Replace);
        }
    }

    /// Whether the container supports global tags.
    pub fn takes_tags(&self) -> bool {
        self.end.muxer.is::<gst::TagSetter>()
    }

    /// Sends a track the tags of its upstream. Call it before the first buffer.
    pub fn set_track_tags(feed: &Feed, tags: gst::TagList) {
        feed.appsrc.send_event(gst::event::Tag::new(tags));
    }

    /// What remains to be done if the muxer has not finished its file. Returns it once.
    pub fn take_ending(&self, chapters: Vec<Chapter>, end: Ns) -> Ending {
        self.end.take_ending(chapters, end)
    }

    /// Writes out the current MP4 fragments; FALSE if that takes longer than `patience`.
    pub fn end_fragments(&self, patience: Duration) -> bool {
        self.end.end_fragments(patience)
    }

    /// The output of the muxer's bytes.
    pub fn out(&self) -> &Arc<BytesOut> {
        self.end.out()
    }

    /// Sets everything except the encoders to PLAYING.
    pub fn play(&self) -> Result<(), Error> {
        self.pipeline
            .set_state(gst::State::Playing)
            .map_err(|err| failed("it does not start", err))?;
        self.end.reserve_chapters();
        Ok(())
    }

    /// Dumps its graph to `GST_DEBUG_DUMP_DOT_DIR`.
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

/// The container's metadata of each video track.
fn video_tracks(plan: &Plan, tracks: &[TrackMedia<'_>], feeds: &[Feed]) -> Vec<VideoTrack> {
    let tracks = plan.codecs.iter().zip(tracks).zip(feeds);
    tracks
        .filter(|((codec, _), _)| codec.kind() == Kind::Video)
        .map(|((_, track), feed)| VideoTrack {
            turn: if feed.spec.copied {
                track.turn()
            } else {
                // It has already been rotated.
                Orientation::default()
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
