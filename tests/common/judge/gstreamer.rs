//! A recording as decoded by GStreamer's own demuxers, parsers and decoders, with its timestamps.

use super::Verdict;
use super::decode::{DecodedAudio, DecodedFrame, DecodedVideo};
use gst::prelude::*;
use std::path::Path;

/// Runs `decodebin` and the elements after it; passes on each buffer with its timestamp in nanoseconds.
fn decoded(file: &Path, line: &str, mut each: impl FnMut(&[u8], f64)) -> Verdict<()> {
    super::super::app::init();
    let line = format!("filesrc name=in ! decodebin ! {line} ! appsink name=out sync=false");
    let pipeline = gst::parse::launch(&line).map_err(|err| format!("{line}: {err}"))?;
    let pipeline = pipeline.downcast::<gst::Pipeline>().expect("a pipeline");
    // avdec_h265 in 1.26 occasionally loses frames with several threads.
    pipeline.connect_deep_element_added(|_, _, element| {
        if element.has_property("max-threads") {
            element.set_property_from_str("max-threads", "1");
        }
    });
    let source = pipeline.by_name("in").expect("named so");
    source.set_property("location", file.to_str().expect("a plain path"));
    let sink = pipeline.by_name("out").expect("named so");
    let sink = sink.downcast::<gst_app::AppSink>().expect("an appsink");
    let _ = pipeline.set_state(gst::State::Playing);
    let patience = gst::ClockTime::from_seconds(30);
    while let Some(sample) = sink.try_pull_sample(patience) {
        let (Some(buffer), Some(segment)) = (sample.buffer(), sample.segment()) else {
            continue;
        };
        let segment = segment.downcast_ref::<gst::ClockTime>();
        let time = segment.and_then(|segment| segment.to_stream_time(buffer.pts()?));
        let bytes = buffer.map_readable().map_err(|err| err.to_string())?;
        each(&bytes, time.map_or(f64::NAN, |time| time.nseconds() as f64));
    }
    let at_end = sink.is_eos();
    let bus = pipeline.bus().expect("a pipeline has a bus");
    let said = bus.pop_filtered(&[gst::MessageType::Error]);
    pipeline
        .set_state(gst::State::Null)
        .map_err(|err| err.to_string())?;
    match said {
        Some(message) => Err(format!("{}: {message:?}", file.display())),
        None if !at_end => Err(format!("{}: no EOS", file.display())),
        None => Ok(()),
    }
}

/// Decodes the video of `file`, scaled to this size, and reads every frame's time.
pub fn video(file: &Path, width: usize, height: usize) -> Verdict<DecodedVideo> {
    let mut frames = Vec::new();
    let line = format!(
        "videoconvert ! videoscale add-borders=false ! \
         video/x-raw,format=GRAY8,width={width},height={height},pixel-aspect-ratio=1/1"
    );
    decoded(file, &line, |grey, recorded| {
        let source = crate::common::signal::frame::read(grey, width, height);
        frames.push(DecodedFrame { recorded, source });
    })?;
    Ok(DecodedVideo {
        width,
        height,
        frames,
    })
}

/// Decodes the audio of `file` at 48 kHz in stereo.
pub fn audio(file: &Path) -> Verdict<DecodedAudio> {
    let mut audio = DecodedAudio {
        rate: 48_000,
        channels: 2,
        samples: Vec::new(),
        blocks: Vec::new(),
    };
    let line = "audioconvert ! audioresample ! audio/x-raw,format=S32LE,rate=48000,channels=2,layout=interleaved";
    decoded(file, line, |bytes, time| {
        audio.blocks.push((audio.len(), time));
        let samples = bytes.chunks_exact(4);
        audio
            .samples
            .extend(samples.map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]])));
    })?;
    if audio.is_empty() {
        Err(format!("no audio in {}", file.display()))
    } else {
        Ok(audio)
    }
}
