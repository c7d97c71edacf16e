//! How long the recorder's chain functions block upstream with `sync-interval`, in pairs with a recorder without it: on
//! the disk of the system's directory for temporary files (`TMPDIR`), and with each `fdatasync` delayed by strace.

use crate::{
    Way,
    figures::quantile,
    place::Place,
    process::ask_under,
    push::pad_into,
    sample::{Sample, Track},
};
use anyhow::{Context, Result, anyhow};
use gst::prelude::*;
use gstmediarecorder::MediaRecorder;
use serde_json::{Value, json};
use std::{
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

/// The child's work.
pub const WORK: &str = "chain-times";

/// 15 MB/s: enough for a disk to be busy.
const SAMPLE: Sample = Sample::Large;
const TRACKS: [&str; 2] = ["video", "audio"];
const FIGURES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("max", 1.0)];

/// Makes a disk slow.
const SLOW: &[&str] = &[
    "strace",
    "-f",
    "-qq",
    "--seccomp-bpf",
    "-o",
    "/dev/null",
    "-e",
    "trace=fdatasync",
    "-e",
    "inject=fdatasync:delay_enter=2s",
];

/// Prints the table, and returns its figures. `seconds` of live media in each run.
pub fn report(pairs: usize, seconds: u64, place: &Place) -> Result<Value> {
    SAMPLE.make(place)?;
    println!(
        "| disk | track | µs | sync-interval of 1 s | without | ratio | quartiles of the ratio |"
    );
    println!("|---|---|---|---|---|---|---|");
    let mut rows = Vec::new();
    for (disk, starter) in [("this one", &[][..]), ("each fdatasync takes 2 s", SLOW)] {
        let run = |way| ask_under(starter, place, WORK, way, seconds);
        // The first run, which loads plugins, does not count.
        run(Way::ByHand)?;
        let mut runs = Vec::new();
        for _ in 0..pairs {
            runs.push((run(Way::Recorder)?, run(Way::ByHand)?));
        }
        for track in TRACKS {
            for (name, share) in FIGURES {
                rows.push(row(&runs, (disk, track, name), share)?);
            }
        }
    }
    Ok(json!(rows))
}

/// A row of the table: this quantile of the times of a track.
fn row(runs: &[(Value, Value)], names: (&str, &str, &str), share: f64) -> Result<Value> {
    let (disk, track, name) = names;
    let of = |run: &Value| {
        let times = run[track].as_array().context("no times")?;
        let times: Vec<f64> = times.iter().filter_map(Value::as_f64).collect();
        Ok::<_, anyhow::Error>(quantile(&times, share))
    };
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for pair in runs {
        with.push(of(&pair.0)?);
        without.push(of(&pair.1)?);
    }
    let ratios: Vec<f64> = with.iter().zip(&without).map(|(a, b)| a / b).collect();
    let [low, middle, high] = [0.25, 0.5, 0.75].map(|share| quantile(&ratios, share));
    let (a, b) = (quantile(&with, 0.5), quantile(&without, 0.5));
    println!(
        "| {disk} | {track} | {name} | {a:.0} | {b:.0} | {middle:.2} | {low:.2} to {high:.2} |"
    );
    Ok(json!({
        "disk": disk, "track": track, "figure": name, "with": a, "without": b, "ratio": middle,
        "quartiles": [low, high], "runs": { "with": with, "without": without },
    }))
}

/// Records live media, and prints how long each buffer blocked upstream. `Way::Recorder`: with `sync-interval`.
pub fn record(way: Way, place: &Place, seconds: u64) -> Result<()> {
    let sync_interval = match way {
        Way::Recorder => gst::ClockTime::SECOND,
        Way::ByHand => gst::ClockTime::ZERO,
    };
    let recorder = MediaRecorder::builder()
        .mime_type("video/x-matroska")
        .location(place.recording())
        .sync_interval(sync_interval)
        .stop_timeout(gst::ClockTime::from_seconds(60))
        .build();
    let pipeline = gst::Pipeline::new();
    pipeline.add(&recorder)?;
    let (stopped, stops) = mpsc::channel();
    recorder.connect_stop(move |_| {
        let _ = stopped.send(());
    });
    pipeline.set_state(gst::State::Playing)?;
    let (video, audio) = SAMPLE.read(place)?;
    let mut feeders = Vec::new();
    for (name, track) in TRACKS.into_iter().zip([video, audio]) {
        let caps = track.caps().to_string();
        let pad = pad_into(recorder.upcast_ref(), &format!("{name}_0"), &caps)?;
        feeders.push((name, pad, track));
    }
    recorder.start()?;
    let begin = pipeline.current_running_time().context("no clock")?;
    let begun = Instant::now();
    let feeders: Vec<_> = feeders
        .into_iter()
        .map(|(name, pad, track)| {
            (
                name,
                thread::spawn(move || feed(&pad, &track, seconds, begin, begun)),
            )
        })
        .collect();
    let mut times = serde_json::Map::new();
    for (name, feeder) in feeders {
        let all = feeder.join().map_err(|_| anyhow!("{name}: panicked"))??;
        times.insert(name.to_owned(), json!(all));
    }
    recorder.stop()?;
    stops
        .recv_timeout(Duration::from_secs(60))
        .context("no on-stop")?;
    pipeline.set_state(gst::State::Null)?;
    println!("{}", Value::Object(times));
    Ok(())
}

/// Pushes each buffer when it is due, and returns how long each push took, in microseconds.
fn feed(
    pad: &gst::Pad,
    track: &Arc<Track>,
    seconds: u64,
    begin: gst::ClockTime,
    begun: Instant,
) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for mut buffer in track.buffers(seconds) {
        let at = buffer.pts().context("no timestamp")?;
        let due = begun + Duration::from_nanos(at.nseconds());
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let stamped = buffer.make_mut();
        stamped.set_pts(begin + at);
        stamped.set_dts(begin + at);
        let before = Instant::now();
        pad.push(buffer)?;
        times.push(before.elapsed().as_secs_f64() * 1e6);
    }
    Ok(times)
}
