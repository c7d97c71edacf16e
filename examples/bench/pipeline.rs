//! Pipelines from descriptions; encoders and muxers of the hand-made ones have the recorder's settings.

use anyhow::{Context, Result, bail};
use gst::prelude::*;
use gstmediarecorder::{
    formats::{Tuning, tune},
    model::VideoSize,
};

/// The recorder's settings of matroskamux and webmmux that affect performance.
pub const MUXER: &str = "min-index-interval=500000000";
/// For a sink that does not synchronise to a clock.
pub const NO_CLOCK: &str = "sync=false async=false";

pub fn launch(line: &str) -> Result<gst::Pipeline> {
    let element = gst::parse::launch(line).with_context(|| line.to_owned())?;
    element.downcast().ok().context("no pipeline")
}

pub fn element(pipeline: &gst::Pipeline, name: &str) -> Result<gst::Element> {
    pipeline.by_name(name).with_context(|| format!("no {name}"))
}

/// Plays to EOS.
pub fn run(pipeline: &gst::Pipeline) -> Result<()> {
    pipeline.set_state(gst::State::Playing)?;
    let ended = until_end(pipeline);
    pipeline.set_state(gst::State::Null)?;
    ended
}

fn until_end(pipeline: &gst::Pipeline) -> Result<()> {
    let bus = pipeline.bus().context("no bus")?;
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = bus
        .timed_pop_filtered(gst::ClockTime::from_seconds(600), &kinds)
        .context("no end within 600 s")?;
    match message.view() {
        gst::MessageView::Error(error) => bail!("{error:?}"),
        _ => Ok(()),
    }
}

/// The recorder's settings of a video encoder.
pub fn tune_video(encoder: &gst::Element, width: u32, height: u32) {
    tune_keys(encoder, width, height, 0);
}

/// The same with `pre-record-time`: a keyframe each half second.
pub fn tune_past(encoder: &gst::Element, width: u32, height: u32) {
    tune_keys(encoder, width, height, 500);
}

fn tune_keys(encoder: &gst::Element, width: u32, height: u32, key_interval_ms: u32) {
    let fps = 30.0;
    let size = VideoSize { width, height, fps };
    let tuning = Tuning {
        bits_per_second: size.suitable_rate(),
        width,
        height,
        fps,
        key_interval_ms,
        cores: cores(),
        ..Tuning::default()
    };
    tune(encoder, &tuning);
}

/// The recorder's settings of an audio encoder.
pub fn tune_audio(encoder: &gst::Element) {
    let tuning = Tuning {
        bits_per_second: 128_000,
        rate: 48_000,
        channels: 2,
        cores: cores(),
        ..Tuning::default()
    };
    tune(encoder, &tuning);
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get())
}
