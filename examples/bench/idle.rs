//! An inactive recorder with live sources.

use crate::{
    Way,
    pipeline::{NO_CLOCK, element, launch, tune_past},
    process::Part,
};
use anyhow::{Context, Result};
use gst::prelude::*;
use gstmediarecorder::MediaRecorder;
use std::time::Duration;

const MEASURED: Duration = Duration::from_secs(5);
/// Everything before is set-up.
const SETTLED: Duration = Duration::from_millis(500);

/// Inactive, or paused at the start of a recording; or replaced by a fakesink.
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

/// How long the past is measured …
const PAST_MEASURED: Duration = Duration::from_secs(10);
/// … and the set-up before.
const PAST_SETTLED: Duration = Duration::from_secs(2);

/// Keeps 30 s of 1280x720 at 30 frames per second and raw audio; or only runs the video encoder.
pub fn keeping_the_past(way: Way) -> Result<()> {
    // VP8 is BT.601 by definition: from another matrix the recorder would convert every frame.
    let video = "videotestsrc is-live=true pattern=smpte horizontal-speed=3 ! \
                 video/x-raw,format=I420,width=1280,height=720,framerate=30/1,colorimetry=bt601 !";
    let audio = "audiotestsrc is-live=true wave=pink-noise samplesperbuffer=480 ! \
                 audio/x-raw,format=S16LE,rate=48000,channels=2 !";
    let pipeline = match way {
        Way::Recorder => launch(&format!(
            "mediarecorder name=r mime-type=video/webm;codecs=vp8,opus pre-record-time=30000000000 \
             {video} r.video_0 {audio} r.audio_0"
        ))?,
        Way::ByHand => {
            let pipeline = launch(&format!(
                "{video} queue ! videoconvert ! videoscale ! vp8enc name=v ! fakesink {NO_CLOCK} \
                 {audio} fakesink {NO_CLOCK}"
            ))?;
            tune_past(&element(&pipeline, "v")?, 1280, 720);
            pipeline
        }
    };
    pipeline.set_state(gst::State::Playing)?;
    std::thread::sleep(PAST_SETTLED);
    let part = Part::begin();
    std::thread::sleep(PAST_MEASURED);
    part.say();
    pipeline.set_state(gst::State::Null)?;
    Ok(())
}
