//! A recording of a process that is killed at any moment plays up to shortly before that.

mod common;

use common::harness::{Recorder, init, make_recorder};
use common::judge::{file, ordinary};
use common::killed::{keep, logged, readable};
use common::settings::{Rng, long, tenth};
use gst::prelude::*;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Output and MIME type of the recording in the process to be killed, and its file.
const WHAT: &str = "MEDIARECORDER_KILLED_TYPE";
const WHERE: &str = "MEDIARECORDER_KILLED_FILE";

/// The same for a process to be killed while it finalises, and its `sync-interval` in nanoseconds.
const WHERE_AT_THE_END: &str = "MEDIARECORDER_KILLED_AT_THE_END_FILE";
const SYNC_AT_THE_END: &str = "MEDIARECORDER_KILLED_AT_THE_END_SYNC";

/// Maximum keyframe interval, in milliseconds.
const GOP: u32 = 500;
const TIMESLICE: u32 = 500;
/// In nanoseconds.
const SYNC_INTERVAL: u64 = 300_000_000;

/// Records until the process is killed, and prints the recorded time meanwhile.
#[test]
fn records_until_killed() {
    let (Ok(what), Ok(path)) = (std::env::var(WHAT), std::env::var(WHERE)) else {
        return;
    };
    init();
    let pipeline = gst::Pipeline::new();
    let recorder = make_recorder();
    pipeline.add(&recorder).unwrap();
    let (output, mime_type) = what.split_once(' ').unwrap();
    recorder.set_property("mime-type", mime_type);
    recorder.set_property("video-key-frame-interval-duration", GOP);
    if output == "sync" {
        recorder.set_property("sync-interval", SYNC_INTERVAL);
    }
    if ["src", "timeslice"].contains(&output) {
        recorder.set_property("timeslice", TIMESLICE);
    }
    if output == "src" {
        let sink = gst::ElementFactory::make("filesink")
            .property("location", &path)
            .property_from_str("buffer-mode", "unbuffered")
            .build()
            .unwrap();
        pipeline.add(&sink).unwrap();
        recorder.link(&sink).unwrap();
    } else {
        recorder.set_property("location", &path);
    }
    let mut sources = vec![(
        "audiotestsrc is-live=true samplesperbuffer=480 ! audio/x-raw,rate=48000,channels=1 ! identity",
        "audio_%u",
    )];
    if mime_type.starts_with("video") {
        sources.push((
            "videotestsrc is-live=true ! video/x-raw,width=160,height=120,framerate=30/1 ! identity",
            "video_%u",
        ));
    }
    for (source, template) in sources {
        let source = gst::parse::bin_from_description(source, true).unwrap();
        pipeline.add(&source).unwrap();
        let pad = recorder.request_pad_simple(template).unwrap();
        source.static_pad("src").unwrap().link(&pad).unwrap();
    }
    pipeline.set_state(gst::State::Playing).unwrap();
    let error: Option<glib::Error> = recorder.emit_by_name("start", &[]);
    assert!(error.is_none(), "{error:?}");
    let limit = Instant::now() + Duration::from_secs(60);
    while Instant::now() < limit {
        std::thread::sleep(Duration::from_millis(10));
        let stats: gst::Structure = recorder.property("stats");
        println!("at {}", stats.get::<u64>("duration").unwrap());
    }
}

#[test]
fn a_killed_recording_plays() {
    kill(&[
        "location video/webm",
        "location video/mp4",
        "location audio/ogg",
        "location audio/wav",
        "src video/webm",
        "src video/mp4",
    ]);
}

#[test]
fn a_killed_recording_with_sync_interval_plays() {
    kill(&[
        "sync video/webm",
        "sync video/mp4",
        "sync audio/wav",
        "sync audio/flac",
    ]);
}

#[test]
fn a_killed_recording_with_timeslices_plays() {
    kill(&[
        "timeslice video/webm",
        "timeslice video/mp4",
        "timeslice video/x-matroska",
    ]);
}

/// Kills recordings, of these outputs and types in turn.
fn kill(types: &[&str]) {
    if std::env::var_os(WHAT).is_some() {
        return;
    }
    let mut chance = Rng::from_env();
    let folder = tempfile::tempdir().unwrap();
    let mut worst = vec![0.0f64; types.len()];
    let rounds = if long() { 100 } else { types.len() };
    for round in 0..rounds {
        let what = types[round % types.len()];
        let path = folder.path().join(format!("{round}"));
        let mut child = Command::new(std::env::current_exe().unwrap());
        let mut child = logged(&mut child, &path)
            .args(["--exact", "records_until_killed", "--nocapture"])
            .env(WHAT, what)
            .env(WHERE, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let until = 2_500_000_000 + chance.below(2_500_000_000);
        let mut at = 0;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some(n) = line.strip_prefix("at ") {
                at = n.parse::<u64>().unwrap();
                if at >= until {
                    child.kill().unwrap();
                    break;
                }
            }
        }
        child.wait().unwrap();
        assert!(at >= until, "{what} ended by itself at {at}");
        let (_, mime_type) = what.split_once(' ').unwrap();
        let lost = at as f64 / 1e9 - readable(&path, mime_type);
        eprintln!("{what}: killed at {at}, lost {lost:.3} s");
        worst[round % types.len()] = worst[round % types.len()].max(lost);
        // A fragment or cluster, and what the encoder still holds.
        let limit = 1.0 + f64::from(GOP) / 1e3;
        assert!(
            lost < limit,
            "{what}: {lost} s are lost of {at} ns; {}",
            keep(&path)
        );
    }
    eprintln!("maximum loss: {types:?} {worst:?}");
}

/// Records many small samples, so that converting the MP4 takes time, and prints when it begins to finalise.
#[test]
fn finalises_until_killed() {
    let Ok(path) = std::env::var(WHERE_AT_THE_END) else {
        return;
    };
    init();
    let line = "mediarecorder name=rec autostart=true video-bits-per-second=100000 audio-bits-per-second=32000 \
         mime-type=\"video/mp4;codecs=avc1,opus\" \
         videotestsrc num-buffers=1200 pattern=black ! video/x-raw,width=64,height=48,framerate=30/1 ! rec. \
         audiotestsrc num-buffers=4000 samplesperbuffer=480 ! audio/x-raw,rate=48000,channels=1 ! rec.";
    let pipeline = gst::parse::launch(line).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let recorder = pipeline.by_name("rec").unwrap();
    recorder.set_property("location", &path);
    let sync_interval = std::env::var(SYNC_AT_THE_END).unwrap();
    recorder.set_property_from_str("sync-interval", &sync_interval);
    pipeline.set_state(gst::State::Playing).unwrap();
    let bus = pipeline.bus().unwrap();
    while let Some(message) = bus.timed_pop(gst::ClockTime::from_seconds(60)) {
        match message.view() {
            // All tracks have ended; encoders and muxer still drain.
            gst::MessageView::Progress(_) => println!("ends"),
            gst::MessageView::Element(message)
                if message.structure().unwrap().name() == "mediarecorder-stop" =>
            {
                println!("over");
            }
            // A track that is omitted, or an encoder that is replaced, under load.
            gst::MessageView::Warning(warning) => println!("{:?}", warning.message()),
            gst::MessageView::Error(error) => panic!("{error:?}"),
            _ => {}
        }
    }
}

#[test]
fn an_mp4_killed_while_finalising_plays() {
    kill_at_the_end(0);
}

#[test]
fn a_synchronised_mp4_killed_while_finalising_plays() {
    kill_at_the_end(SYNC_INTERVAL);
}

fn kill_at_the_end(sync_interval: u64) {
    if std::env::var_os(WHERE_AT_THE_END).is_some() {
        return;
    }
    if !make_recorder().supports("video/mp4;codecs=avc1,opus") {
        return println!("not installed, not tested");
    }
    let mut chance = Rng::from_env();
    let folder = tempfile::tempdir().unwrap();
    // Killed while still fragmented, and when already an ordinary file.
    let mut found = [0; 2];
    for round in 0..tenth(100) {
        let path = folder.path().join(format!("{round}.mp4"));
        let limit = if sync_interval > 0 { 16_000 } else { 8_000 };
        let wait = Duration::from_micros(chance.below(limit));
        let is_ordinary = kill_one_at_the_end(&path, sync_interval, wait);
        found[usize::from(is_ordinary)] += 1;
        std::fs::remove_file(&path).unwrap();
    }
    println!(
        "{} killed before they were ordinary files, {} after that",
        found[0], found[1]
    );
}

/// Kills a recording this long after it has begun to finalise. Returns whether it had become an ordinary file.
fn kill_one_at_the_end(path: &Path, sync_interval: u64, wait: Duration) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap());
    let mut child = logged(&mut child, path)
        .args(["--exact", "finalises_until_killed", "--nocapture"])
        .env(WHERE_AT_THE_END, path)
        .env(SYNC_AT_THE_END, sync_interval.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut printed = Vec::new();
    let ends = lines.by_ref().map_while(Result::ok).any(|line| {
        let ends = line.ends_with("ends");
        printed.push(line);
        ends
    });
    assert!(ends, "it ended by itself: {printed:?}");
    std::thread::sleep(wait);
    child.kill().unwrap();
    child.wait().unwrap();
    printed.extend(lines.map_while(Result::ok));
    let over = printed.iter().any(|line| line == "over");
    let bytes = std::fs::read(path).unwrap();
    let is_ordinary = ordinary::seams(&bytes).is_ok();
    let lost = 40.0 - readable(path, "video/mp4");
    let what = |what: &str| {
        let kept = keep(path);
        format!("killed after {wait:?}: {what}; it printed {printed:?}; {kept}")
    };
    // Input is as fast as the encoders: what is queued in front of them is not recorded yet.
    let limit = if is_ordinary { 0.04 } else { 4.0 };
    assert!(lost < limit, "{}", what(&format!("{lost} s are lost")));
    let is_over = is_ordinary || !over;
    assert!(is_over, "{}", what("it was over, and is no ordinary file"));
    if is_ordinary && let Err(error) = file::decodes_without_errors(path) {
        panic!("{}", what(&error));
    }
    is_ordinary
}
