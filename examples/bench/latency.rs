//! The latency of `start` and `stop`.

use crate::{
    Way, encoded,
    figures::{head, quantile, row},
    pipeline::{element, launch, run, tune_video},
    place::Place,
    process::ask,
    sample::{Sample, Then, feed},
};
use anyhow::{Context, Result};
use gst::prelude::*;
use gstmediarecorder::MediaRecorder;
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

/// Work of child processes.
pub const LIVE: &str = "latency-live";
pub const ENCODER: &str = "latency-encoder";
pub const LENGTH: &str = "latency-length";

const LONGEST: Duration = Duration::from_secs(60);
const SIZE: (u32, u32) = (1280, 720);
/// Milliseconds.
const FRAME: f64 = 1_000.0 / 30.0;

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Prints the table and returns its figures; `times` runs of each, and `minutes` of media in the long recording.
pub fn report(times: usize, minutes: u64, place: &Place) -> Result<Value> {
    Sample::Light.make(place)?;
    let count = times as u64;
    let live = ask(place, LIVE, Way::Recorder, count)?;
    let own = ask(place, ENCODER, Way::ByHand, count)?;
    let values = |from: &Value, name: &str| -> Result<Vec<f64>> {
        let values = from[name].as_array().context("no such figures")?;
        Ok(values.iter().filter_map(Value::as_f64).collect())
    };
    let upstream = live["upstream_ms"].as_f64().context("no latency")?;
    let own = values(&own, "first_frame_ms")?;
    let first = values(&live, "first_frame_ms")?;
    let beyond: Vec<f64> = first.iter().map(|ms| ms - quantile(&own, 0.5)).collect();
    let stop = values(&live, "stop_ms")?;
    let stop_beyond: Vec<f64> = stop.iter().map(|ms| ms - upstream - FRAME).collect();
    head();
    let mut rows = vec![
        row(
            "live 720p30 VP8 and Opus: `start` blocks",
            "ms",
            &values(&live, "start_ms")?,
        ),
        row(
            "… the first in a process",
            "ms",
            &values(&live, "cold_start_ms")?,
        ),
        row("… `start` to first encoded frame", "ms", &first),
        row(
            "the encoder's own first frame, without a recorder",
            "ms",
            &own,
        ),
        row(
            "… `start` to first encoded frame, less that (a frame is 33.33)",
            "ms",
            &beyond,
        ),
        row("… `stop` to on-stop after 1 s", "ms", &stop),
        row(
            &format!("… less upstream's latency ({upstream:.1}) and one frame"),
            "ms",
            &stop_beyond,
        ),
    ];
    for minutes in [1, minutes] {
        let mut stops = Vec::new();
        for _ in 0..times {
            let said = ask(place, LENGTH, Way::Recorder, minutes)?;
            stops.push(said["stop_ms"].as_f64().context("no time")?);
        }
        let name = format!(
            "copied H.264 and Opus, into a file: `stop` to on-stop after {minutes} min of media"
        );
        rows.push(row(&name, "ms", &stops));
    }
    Ok(json!(rows))
}

/// Records live video and audio this many times for a second.
pub fn live(place: &Place, times: u64) -> Result<()> {
    let (width, height) = SIZE;
    let pipeline = launch(&format!(
        "mediarecorder name=r mime-type=video/webm;codecs=vp8,opus location={} \
         videotestsrc is-live=true horizontal-speed=3 ! \
         video/x-raw,format=I420,width={width},height={height},framerate=30/1 ! r.video_0 \
         audiotestsrc is-live=true wave=pink-noise samplesperbuffer=480 ! \
         audio/x-raw,format=S16LE,rate=48000,channels=2 ! r.audio_0",
        place.recording().display()
    ))?;
    let recorder = recorder(&pipeline)?;
    let (stopped, stops) = mpsc::channel();
    recorder.connect_stop(move |_| {
        let _ = stopped.send(Instant::now());
    });
    let (came, first_frames) = mpsc::channel();
    let came = Arc::new(Mutex::new(came));
    recorder.connect_encoder_setup(move |_, pad, encoder| {
        if let (true, Some(src)) = (pad.name().starts_with("video"), encoder.static_pad("src")) {
            let came = came.clone();
            src.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                if let Ok(came) = came.lock() {
                    let _ = came.send(Instant::now());
                }
                gst::PadProbeReturn::Remove
            });
        }
    });
    pipeline.set_state(gst::State::Playing)?;
    std::thread::sleep(Duration::from_millis(500));
    let mut query = gst::query::Latency::new();
    pipeline.query(&mut query);
    let upstream = query.result().1;
    let (mut blocks, mut frames, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    // One more, which loads the codecs.
    for number in 0..=times {
        // Anywhere between two frames.
        std::thread::sleep(Duration::from_millis(100 + number * 7 % 34));
        let begun = Instant::now();
        recorder.start()?;
        blocks.push(ms(begun.elapsed()));
        let frame = first_frames.recv_timeout(LONGEST).context("no frame")?;
        frames.push(ms(frame - begun));
        std::thread::sleep(
            Duration::from_millis(1_000 + number * 11 % 34).saturating_sub(begun.elapsed()),
        );
        let begun = Instant::now();
        recorder.stop()?;
        let stop = stops.recv_timeout(LONGEST).context("no on-stop")?;
        ends.push(ms(stop - begun));
    }
    pipeline.set_state(gst::State::Null)?;
    let (cold, warm) = blocks.split_at(1);
    println!(
        "{}",
        json!({
            "start_ms": warm, "cold_start_ms": cold, "first_frame_ms": frames[1..], "stop_ms": ends[1..],
            "upstream_ms": upstream.nseconds() as f64 / 1e6,
        })
    );
    Ok(())
}

/// From caps to the first encoded frame in an encoder alone, this many times.
pub fn encoder(times: u64) -> Result<()> {
    let mut own = Vec::new();
    for _ in 0..=times {
        let (width, height) = SIZE;
        let pipeline = launch(&format!(
            "videotestsrc num-buffers=2 ! video/x-raw,format=I420,width={width},height={height},framerate=30/1 ! \
             vp8enc name=v ! fakesink async=false"
        ))?;
        let encoder = element(&pipeline, "v")?;
        tune_video(&encoder, width, height);
        let (caps, frames) = (mpsc::channel(), mpsc::channel());
        let (sink, src) = (encoder.static_pad("sink"), encoder.static_pad("src"));
        let begun = caps.0;
        sink.context("no pad")?
            .add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
                if info
                    .event()
                    .is_some_and(|event| event.type_() == gst::EventType::Caps)
                {
                    let _ = begun.send(Instant::now());
                }
                gst::PadProbeReturn::Ok
            });
        let came = frames.0;
        src.context("no pad")?
            .add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                let _ = came.send(Instant::now());
                gst::PadProbeReturn::Remove
            });
        run(&pipeline)?;
        own.push(ms(frames.1.recv()? - caps.1.recv()?));
    }
    println!("{}", json!({ "first_frame_ms": own[1..] }));
    Ok(())
}

/// Records this many minutes as fast as possible, then stops.
pub fn length(place: &Place, minutes: u64) -> Result<()> {
    let pipeline = launch(&encoded::recorded(&place.recording()))?;
    let recorder = recorder(&pipeline)?;
    let (stopped, stops) = mpsc::channel();
    recorder.connect_stop(move |_| {
        let _ = stopped.send(Instant::now());
    });
    let (video, audio) = Sample::Light.read(place)?;
    let (taken, all) = mpsc::channel();
    feed(
        &pipeline,
        "v",
        &video,
        minutes * 60,
        Then::Tell(taken.clone()),
    )?;
    feed(&pipeline, "a", &audio, minutes * 60, Then::Tell(taken))?;
    pipeline.set_state(gst::State::Playing)?;
    for _ in 0..2 {
        all.recv_timeout(10 * LONGEST)
            .context("not all was taken")?;
    }
    // Queued media is not the subject here.
    std::thread::sleep(Duration::from_millis(300));
    let begun = Instant::now();
    recorder.stop()?;
    let stop = stops.recv_timeout(LONGEST).context("no on-stop")?;
    println!("{}", json!({ "stop_ms": ms(stop - begun) }));
    pipeline.set_state(gst::State::Null)?;
    Ok(())
}

fn recorder(pipeline: &gst::Pipeline) -> Result<MediaRecorder> {
    element(pipeline, "r")?
        .downcast()
        .ok()
        .context("no recorder")
}
