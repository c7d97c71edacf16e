//! A recorder that does nothing, behind a live source.

use crate::{
    Way,
    pipeline::{NO_CLOCK, element, launch},
    process::Part,
};
use anyhow::{Context, Result};
use gst::prelude::*;
use gstmediarecorder::MediaRecorder;
use std::time::Duration;

const MEASURED: Duration = Duration::from_secs(5);
/// What comes before is set-up.
const SETTLED: Duration = Duration::from_millis(500);

/// Inactive, or paused at the beginning of a recording; or a fakesink in its place.
pub fn behind_live(way: Way, paused: bool) -> Result<()> {
    let take = match way {
        Way::Recorder => "mediarecorder name=r".to_owned(),
        Way::ByHand => format!("fakesink {NO_CLOCK}"),
    };
    let pipeline = launch(&format!(
        "videotestsrc is-live=true pattern=black ! \
         video/x-raw,format=I420,width=1920,height=1080,framerate=60/1 ! {take}"
    ))?;
    pipeline.set_state(gst::State::Playing)?;
    if way == Way::Recorder && paused {
        let recorder: MediaRecorder = element(&pipeline, "r")?
            .downcast()
            .ok()
            .context("no recorder")?;
        recorder.start()?;
        recorder.pause()?;
    }
    std::thread::sleep(SETTLED);
    let part = Part::begin();
    std::thread::sleep(MEASURED);
    part.say();
    pipeline.set_state(gst::State::Null)?;
    Ok(())
}
