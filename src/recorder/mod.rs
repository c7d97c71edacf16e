//! The element `mediarecorder`.

mod actions;
mod api;
mod begin;
mod blob;
mod child_proxy;
mod crop;
mod delegate;
mod emit;
mod events;
mod file_names;
mod flow;
mod framer;
mod guard;
#[cfg(test)]
mod guard_tests;
mod imp;
mod pad;
mod part;
mod past;
mod properties;
mod queries;
mod rates;
mod readings;
mod refused_caps;
mod request_pads;
mod requirements;
mod settings;
mod signals;
mod sink_events;
mod stats;
mod subscriber;
mod toc;
mod upstream;

pub use blob::Blob;
pub use events::{Event, Events};
pub use pad::MediaRecorderPad;
pub use part::{Mark, Part, RecordedInterval};
pub use settings::{MediaRecorderBuilder, Stats, TrackStats};

use crate::model::State;
use gst::prelude::*;

glib::wrapper! {
    /// Records the streams on its sink pads, like a browser's MediaRecorder.
    pub struct MediaRecorder(ObjectSubclass<imp::MediaRecorder>)
        @extends gst::Element, gst::Object,
        @implements gst::ChildProxy, gst::TagSetter;
}

/// The state of a recorder (W3C `RecordingState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstMediaRecorderState")]
pub enum RecorderState {
    /// Nothing is being recorded.
    #[default]
    #[enum_value(name = "Inactive: nothing is being recorded", nick = "inactive")]
    Inactive,
    /// Input is being recorded.
    #[enum_value(name = "Recording: input is recorded", nick = "recording")]
    Recording,
    /// Recording is suspended; input is dropped.
    #[enum_value(name = "Paused: input is dropped", nick = "paused")]
    Paused,
}

impl From<State> for RecorderState {
    fn from(state: State) -> Self {
        match state {
            State::Inactive => RecorderState::Inactive,
            State::Recording => RecorderState::Recording,
            State::Paused => RecorderState::Paused,
        }
    }
}

/// Bit-rate mode of an audio encoder (W3C `BitrateMode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstMediaRecorderBitrateMode")]
pub enum BitrateMode {
    /// Constant bit rate.
    #[enum_value(name = "Constant: the bitrate does not change", nick = "constant")]
    Constant,
    /// Variable bit rate.
    #[default]
    #[enum_value(
        name = "Variable: the bitrate depends on the content",
        nick = "variable"
    )]
    Variable,
}

/// Properties of raw video to preserve where codec and container can; otherwise it is converted to 8-bit 4:2:0 with
/// square pixels.
#[glib::flags(name = "GstMediaRecorderKeep")]
pub enum Keep {
    /// Bits per component.
    #[flags_value(name = "Depth: bits per component", nick = "depth")]
    DEPTH = 1 << 0,
    /// Chroma subsampling.
    #[flags_value(name = "Chroma: its subsampling", nick = "chroma")]
    CHROMA = 1 << 1,
    /// The alpha channel.
    #[flags_value(name = "Alpha: transparency", nick = "alpha")]
    ALPHA = 1 << 2,
    /// The pixel aspect ratio.
    #[flags_value(name = "Pixel aspect: the pixel aspect ratio", nick = "pixel-aspect")]
    PIXEL_ASPECT = 1 << 3,
}

/// Registers the element.
pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    MediaRecorderPad::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
    RecorderState::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
    BitrateMode::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
    Keep::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
    gst::Element::register(
        Some(plugin),
        "mediarecorder",
        gst::Rank::NONE,
        MediaRecorder::static_type(),
    )
}
