//! Records audio and video into a file, with a pause of one second.
//!
//! ```text
//! cargo run --release --example pause -- FILE [MIME-TYPE]
//! ```

use anyhow::{Context, Result, bail};
use gst::prelude::*;
use gstmediarecorder::{Error, ErrorCode, Event, MediaRecorder};
use std::time::Duration;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (path, mime_type) = match arguments.as_slice() {
        [path] => (path, ""),
        [path, mime_type] => (path, mime_type.as_str()),
        _ => bail!("usage: pause FILE [MIME-TYPE]"),
    };
    gst::init()?;
    let recorder = MediaRecorder::builder()
        .location(path)
        .mime_type(mime_type)
        .build();
    let pipeline = pipeline(&recorder)?;
    pipeline.set_state(gst::State::Playing)?;
    pipeline.state(gst::ClockTime::from_seconds(5)).0?;
    let done = glib::MainContext::default().block_on(record(&recorder));
    pipeline.set_state(gst::State::Null)?;
    done
}

/// Adds live test sources and links them to the recorder.
fn pipeline(recorder: &MediaRecorder) -> Result<gst::Pipeline> {
    let pipeline = gst::Pipeline::new();
    pipeline.add(recorder)?;
    let tracks = [
        ("audiotestsrc", recorder.add_audio_track()),
        ("videotestsrc", recorder.add_video_track()),
    ];
    for (factory, track) in tracks {
        let source = gst::ElementFactory::make(factory)
            .property("is-live", true)
            .build()?;
        pipeline.add(&source)?;
        let pad = source.static_pad("src").context("a source has a pad")?;
        pad.link(&track.context("the recorder has request pads")?)?;
    }
    Ok(pipeline)
}

/// What an error means to the user.
fn explain(error: Error) -> anyhow::Error {
    match error.code() {
        ErrorCode::NotSupported => anyhow::Error::new(error).context("Not possible here"),
        _ => anyhow::Error::new(error).context("Failed"),
    }
}

async fn record(recorder: &MediaRecorder) -> Result<()> {
    let mut events = recorder.events();
    recorder.start().map_err(explain)?;
    let mut failure = None;
    while let Some(event) = events.next().await {
        match event {
            Event::Start => {
                println!("Recording {}", recorder.mime_type());
                glib::timeout_future(Duration::from_secs(1)).await;
                recorder.pause().map_err(explain)?;
            }
            Event::Pause => {
                println!("Paused");
                glib::timeout_future(Duration::from_secs(1)).await;
                recorder.resume().map_err(explain)?;
            }
            Event::Resume => {
                println!("Going on");
                glib::timeout_future(Duration::from_secs(1)).await;
                recorder.stop().map_err(explain)?;
            }
            // What was recorded so far is still saved: on-stop follows.
            Event::Error(error) => failure = Some(error),
            Event::Stop => break,
            _ => {}
        }
    }
    let stats = recorder.stats();
    println!("Saved {} bytes, {}", stats.bytes, stats.duration);
    failure.map_or(Ok(()), |error| Err(explain(error)))
}
