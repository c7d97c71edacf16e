//! Killed at any moment, what was written plays up to shortly before.

mod common;

use common::harness::{Recorder, init, make_recorder};
use common::judge::{file, ordinary};
use common::killed::{keep_file, playable_duration};
use common::settings::{Rng, long, tenth};
use gst::prelude::*;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Tells the process that is to be killed what to record, and where to.
const WHAT: &str = "MEDIARECORDER_KILLED_TYPE";
const WHERE: &str = "MEDIARECORDER_KILLED_FILE";

/// Tells the process that is to be killed at its end where to record to.
const WHERE_AT_THE_END: &str = "MEDIARECORDER_KILLED_AT_THE_END_FILE";

/// Longest from key frame to key frame, in milliseconds.
const GOP: u32 = 500;
const TIMESLICE: u32 = 500;
/// In nanoseconds.
const SYNC_INTERVAL: u64 = 300_000_000;

/// Records until it is killed, and says on its way how far it is.
#[test]
fn records_until_it_is_killed() {
    let (Ok(what), Ok(path)) = (std::env::var(WHAT), std::env::var(WHERE)) else {
        return;
    };
    init();
    let pipeline = gst::Pipeline::new();
    let recorder = make_recorder();
    pipeline.add(&recorder).unwrap();
    let (way, mime_type) = what.split_once(' ').unwrap();
    recorder.set_property("mime-type", mime_type);
    recorder.set_property("video-key-frame-interval-duration", GOP);
    if way != "location" {
        let sync_interval = if way == "sync" { SYNC_INTERVAL } else { 0 };
        recorder.set_property("sync-interval", sync_interval);
    }
    if ["src", "timeslice"].contains(&way) {
        recorder.set_property("timeslice", TIMESLICE);
    }
    if way == "src" {
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
    let mut lines = vec![(
        "audiotestsrc is-live=true samplesperbuffer=480 ! audio/x-raw,rate=48000,channels=1 ! identity",
        "audio_%u",
    )];
    if mime_type.starts_with("video") {
        lines.push((
            "videotestsrc is-live=true ! video/x-raw,width=160,height=120,framerate=30/1 ! identity",
            "video_%u",
        ));
    }
    for (line, template) in lines {
        let source = gst::parse::bin_from_description(line, true).unwrap();
        pipeline.add(&source).unwrap();
        let pad = recorder.request_pad_simple(template).unwrap();
        source.static_pad("src").unwrap().link(&pad).unwrap();
    }
    pipeline.set_state(gst::State::Playing).unwrap();
    let started: Option<glib::Error> = recorder.emit_by_name("start", &[]);
    assert!(started.is_none(), "{started:?}");
    let limit = Instant::now() + Duration::from_secs(60);
    while Instant::now() < limit {
        std::thread::sleep(Duration::from_millis(10));
        let stats: gst::Structure = recorder.property("stats");
        println!("at {}", stats.get::<u64>("duration").unwrap());
    }
}

#[test]
fn what_was_written_before_a_kill_plays() {
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
fn what_was_synchronised_before_a_kill_plays() {
    kill(&[
        "sync video/webm",
        "sync video/mp4",
        "sync audio/wav",
        "sync audio/flac",
    ]);
}

#[test]
fn what_blobs_were_cut_from_before_a_kill_plays() {
    kill(&[
        "timeslice video/webm",
        "timeslice video/mp4",
        "timeslice video/x-matroska",
    ]);
}

/// Kills recordings, each time of another of these ways and types.
fn kill(types: &[&str]) {
    if std::env::var_os(WHAT).is_some() {
        return;
    }
    let mut chance = Rng::from_env();
    let folder = tempfile::tempdir().unwrap();
    let mut worst = vec![0.0f64; types.len()];
    // A handful of each.
    let rounds = if long() { 100 } else { types.len() };
    for round in 0..rounds {
        let what = types[round % types.len()];
        let path = folder.path().join(format!("{round}"));
        let path = path.to_str().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "records_until_it_is_killed", "--nocapture"])
            .env(WHAT, what)
            .env(WHERE, path)
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
        let lost = at as f64 / 1e9 - playable_duration(path, mime_type);
        eprintln!("{what}: killed at {at}, lost {lost:.3} s");
        worst[round % types.len()] = worst[round % types.len()].max(lost);
        // A second of media, and what the encoder has not yet ended.
        let most = 1.0 + f64::from(GOP) / 1e3;
        assert!(
            lost < most,
            "{what}: {lost} s are lost of {at} ns; {}",
            keep_file(path.as_ref())
        );
    }
    eprintln!("at the worst: {types:?} {worst:?}");
}

/// Its `sync-interval`, in nanoseconds.
const SYNC_AT_THE_END: &str = "MEDIARECORDER_KILLED_AT_THE_END_SYNC";

/// Ends a recording of much that is small, so that an MP4 has much to say at its end, and says when it begins to.
#[test]
fn ends_until_it_is_killed() {
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
            // Its end has come; what has been encoded until then is being written.
            gst::MessageView::Progress(_) => println!("ends"),
            gst::MessageView::Element(message)
                if message.structure().unwrap().name() == "mediarecorder-stop" =>
            {
                println!("over");
            }
            // A track that is left out, an encoder that is replaced: not what is to be tested here.
            gst::MessageView::Warning(warning) => println!("{:?}", warning.message()),
            gst::MessageView::Error(error) => panic!("{error:?}"),
            _ => {}
        }
    }
}

#[test]
fn an_mp4_that_is_killed_at_its_end_plays() {
    kill_at_the_end(0);
}

#[test]
fn an_mp4_that_is_killed_while_its_end_is_synchronised_plays() {
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
    // Fragmented still, and ordinary already.
    let mut found = [0; 2];
    for round in 0..tenth(100) {
        let path = folder.path().join(format!("{round}.mp4"));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "ends_until_it_is_killed", "--nocapture"])
            .env(WHERE_AT_THE_END, &path)
            .env(SYNC_AT_THE_END, sync_interval.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // At the end, or so much after it.
        let most = if sync_interval > 0 { 16_000 } else { 8_000 };
        let wait = Duration::from_micros(chance.below(most));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said = Vec::new();
        let ends = lines.by_ref().map_while(Result::ok).any(|line| {
            let ends = line.ends_with("ends");
            said.push(line);
            ends
        });
        assert!(ends, "it ended by itself: {said:?}");
        std::thread::sleep(wait);
        child.kill().unwrap();
        child.wait().unwrap();
        said.extend(lines.map_while(Result::ok));
        let over = said.iter().any(|line| line == "over");
        let bytes = std::fs::read(&path).unwrap();
        let is_ordinary = ordinary::seams(&bytes).is_ok();
        found[usize::from(is_ordinary)] += 1;
        let lost = 40.0 - playable_duration(path.to_str().unwrap(), "video/mp4");
        let what = |what: &str| {
            let kept = keep_file(&path);
            format!("killed after {wait:?}: {what}; it said {said:?}; {kept}")
        };
        // What waited in front of the encoders, which were fed as fast as they took it, has not been recorded yet.
        let most = if is_ordinary { 0.04 } else { 4.0 };
        assert!(lost < most, "{}", what(&format!("{lost} s are lost")));
        let is_over = is_ordinary || !over;
        assert!(is_over, "{}", what("it was over, and is no ordinary file"));
        if is_ordinary && let Err(error) = file::decodes_without_errors(&path) {
            panic!("{}", what(&error));
        }
        std::fs::remove_file(&path).unwrap();
    }
    println!(
        "{} killed before they were ordinary files, {} after that",
        found[0], found[1]
    );
}
