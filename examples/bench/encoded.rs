//! Encoded tracks, copied into the recording.

use crate::{
    Way,
    pipeline::{MUXER, NO_CLOCK, element, launch, run},
    place::Place,
    sample::{Sample, Then, feed},
};
use anyhow::{Context, Result};
use gst::prelude::*;
use gstmediarecorder::MediaRecorder;
use std::{
    fs::File,
    io::Write,
    path::Path,
    sync::{Arc, Mutex},
};

/// The stream format that matroskamux requires from h264parse.
const PARSED: &str = "h264parse ! video/x-h264,stream-format=avc,alignment=au !";

/// A muxer of H.264 and of audio that passes through `parse_sound`, and their sources `v` and `a`.
pub fn by_hand(muxer: &str, parse_sound: &str) -> String {
    format!(
        "matroskamux name=m {MUXER} ! {muxer} appsrc name=v ! {PARSED} m.video_0 appsrc name=a ! {parse_sound} m.audio_0"
    )
}

/// A recorder of its sources `v` and `a`, into a Matroska file.
pub fn recorded(file: &Path) -> String {
    format!(
        "mediarecorder name=r autostart=true mime-type=video/x-matroska location={} \
         appsrc name=v ! r.video_0 appsrc name=a ! r.audio_0",
        file.display()
    )
}

/// How many seconds of a sample have this many bytes.
pub fn seconds_of(place: &Place, sample: Sample, bytes: f64) -> Result<u64> {
    let (video, audio) = sample.read(place)?;
    Ok((bytes / (video.bytes_per_second() + audio.bytes_per_second())).ceil() as u64)
}

/// Pushes both tracks to their ends.
fn play(pipeline: &gst::Pipeline, place: &Place, sample: Sample, seconds: u64) -> Result<()> {
    let (video, audio) = sample.read(place)?;
    feed(pipeline, "v", &video, seconds, Then::End)?;
    feed(pipeline, "a", &audio, seconds, Then::End)?;
    run(pipeline)
}

pub fn into_file(
    way: Way,
    place: &Place,
    sample: Sample,
    seconds: u64,
    parse_sound: &str,
) -> Result<()> {
    let file = place.recording();
    let line = match way {
        Way::Recorder => recorded(&file),
        Way::ByHand => by_hand(
            &format!("filesink location={}", file.display()),
            parse_sound,
        ),
    };
    play(&launch(&line)?, place, sample, seconds)
}

/// A recorder that synchronises its file, compared with one that does not.
pub fn synchronised(way: Way, place: &Place, sample: Sample, seconds: u64) -> Result<()> {
    let line = recorded(&place.recording());
    let line = match way {
        Way::Recorder => line.replace("name=r", "name=r sync-interval=100000000"),
        Way::ByHand => line,
    };
    play(&launch(&line)?, place, sample, seconds)
}

pub fn into_blobs(
    way: Way,
    place: &Place,
    sample: Sample,
    seconds: u64,
    parse_sound: &str,
) -> Result<()> {
    // Only to compare the contents of both.
    let file = if place.is_kept() {
        Some(Arc::new(Mutex::new(File::create(place.recording())?)))
    } else {
        None
    };
    let keep = move |bytes: &[u8]| {
        if let Some(file) = &file
            && let Ok(mut file) = file.lock()
        {
            // The comparison reports what is missing.
            let _ = file.write_all(bytes);
        }
    };
    match way {
        Way::Recorder => {
            let pipeline = launch(
                "mediarecorder name=r autostart=true mime-type=video/x-matroska timeslice=1000 \
                 appsrc name=v ! r.video_0 appsrc name=a ! r.audio_0",
            )?;
            let recorder: MediaRecorder = element(&pipeline, "r")?
                .downcast()
                .ok()
                .context("no recorder")?;
            let keeps = place.is_kept();
            recorder.connect_data_available(move |_, blob| {
                if keeps {
                    keep(blob.as_ref());
                }
            });
            play(&pipeline, place, sample, seconds)
        }
        Way::ByHand => {
            let pipeline = launch(&by_hand(&format!("appsink name=s {NO_CLOCK}"), parse_sound))?;
            let sink: gst_app::AppSink = element(&pipeline, "s")?
                .downcast()
                .ok()
                .context("no appsink")?;
            let keeps = place.is_kept();
            sink.set_callbacks(
                gst_app::AppSinkCallbacks::builder()
                    .new_sample(move |sink| {
                        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                        if keeps && let Some(buffer) = sample.buffer() {
                            keep(&buffer.map_readable().map_err(|_| gst::FlowError::Error)?);
                        }
                        Ok(gst::FlowSuccess::Ok)
                    })
                    .build(),
            );
            play(&pipeline, place, sample, seconds)
        }
    }
}
