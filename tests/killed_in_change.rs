//! Killed while an encoder is replaced, or while the recording switches to `fallback-location`: everything up to
//! shortly before is playable.

mod common;

use common::disk::SmallFilesystem;
use common::failing_encoder::fail_at;
use common::harness::{init, make_recorder};
use common::killed::{keep, readable};
use common::settings::{Rng, long};
use gst::prelude::*;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Pass to the process that will be killed what to record, and where to.
const TYPE: &str = "MEDIARECORDER_CHANGE_TYPE";
const LOCATION: &str = "MEDIARECORDER_CHANGE_LOCATION";
/// Where to continue if its disk fails; without it, an encoder fails.
const FALLBACK: &str = "MEDIARECORDER_CHANGE_FALLBACK";

/// Maximum keyframe interval in milliseconds.
const GOP: u32 = 500;
/// The frame at which the encoder fails.
const BREAKS: u64 = 80;

const TYPES: [&str; 3] = ["video/webm", "video/mp4", "video/x-matroska"];

/// More than the header of a file, with its space for chapters. A truncated one has no media yet.
const HEAD: u64 = 70_000;

/// Each type twice, or a hundred recordings.
fn rounds() -> usize {
    if long() { 100 } else { 2 * TYPES.len() }
}

/// Makes the first video encoder fail, and prints when.
fn break_one(recorder: &gst::Element) {
    let made = AtomicU64::new(0);
    recorder.connect("encoder-setup", false, move |values| {
        let pad = values[1].get::<gst::Pad>().unwrap();
        let encoder = values[2].get::<gst::Element>().unwrap();
        if !pad.name().starts_with("video") || made.fetch_add(1, Ordering::SeqCst) > 0 {
            return None;
        }
        fail_at(&encoder, BREAKS, || println!("changes"));
        None
    });
}

/// Records until killed; prints its progress, and when the change starts.
#[test]
fn records_until_killed() {
    let (Ok(mime_type), Ok(location)) = (std::env::var(TYPE), std::env::var(LOCATION)) else {
        return;
    };
    init();
    let pipeline = gst::Pipeline::new();
    let recorder = make_recorder();
    pipeline.add(&recorder).unwrap();
    recorder.set_property("mime-type", &mime_type);
    recorder.set_property("video-key-frame-interval-duration", GOP);
    recorder.set_property("location", &location);
    match std::env::var(FALLBACK) {
        Ok(fallback) => recorder.set_property("fallback-location", fallback),
        Err(_) => break_one(&recorder),
    }
    for (line, template) in [
        (
            "audiotestsrc is-live=true samplesperbuffer=480 ! audio/x-raw,rate=48000,channels=1 ! identity",
            "audio_%u",
        ),
        (
            "videotestsrc is-live=true pattern=snow ! video/x-raw,width=160,height=120,framerate=30/1 ! identity",
            "video_%u",
        ),
    ] {
        let source = gst::parse::bin_from_description(line, true).unwrap();
        pipeline.add(&source).unwrap();
        let pad = recorder.request_pad_simple(template).unwrap();
        source.static_pad("src").unwrap().link(&pad).unwrap();
    }
    pipeline.set_state(gst::State::Playing).unwrap();
    let started: Option<glib::Error> = recorder.emit_by_name("start", &[]);
    assert!(started.is_none(), "{started:?}");
    let (bus, limit) = (
        pipeline.bus().unwrap(),
        Instant::now() + Duration::from_secs(60),
    );
    while Instant::now() < limit {
        if let Some(message) = bus.timed_pop(gst::ClockTime::from_mseconds(5)) {
            match message.view() {
                gst::MessageView::Warning(warning) => println!("warning {:?}", warning.error()),
                gst::MessageView::Error(error) => panic!("{error:?}"),
                _ => {}
            }
        }
        let stats: gst::Structure = recorder.property("stats");
        println!("at {}", stats.get::<u64>("duration").unwrap());
    }
}

/// Kills a recording some time after the change has started (as `starts` determines), and returns its recorded
/// time.
fn kill(
    mime_type: &str,
    location: &Path,
    fallback: Option<&Path>,
    (starts, wait): (impl Fn(&str) -> bool, Duration),
) -> (u64, Vec<String>) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "records_until_killed", "--nocapture"])
        .env(TYPE, mime_type)
        .env(LOCATION, location)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if let Some(fallback) = fallback {
        child.env(FALLBACK, fallback);
    }
    let mut child = child.spawn().unwrap();
    let (mut at, mut output, mut end) = (0, Vec::new(), None);
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if let Some(now) = line.strip_prefix("at ") {
            at = now.parse().unwrap();
        } else {
            if end.is_none() && starts(&line) {
                end = Some(Instant::now() + wait);
            }
            output.push(line);
        }
        if end.is_some_and(|end| Instant::now() >= end) {
            child.kill().unwrap();
            break;
        }
    }
    child.wait().unwrap();
    assert!(end.is_some(), "it exited by itself: {output:?}");
    (at, output)
}

#[test]
fn an_encoder_exchange() {
    if std::env::var_os(TYPE).is_some() {
        return;
    }
    let mut chance = Rng::from_env();
    let folder = tempfile::tempdir().unwrap();
    let mut worst = 0.0f64;
    for round in 0..rounds() {
        let mime_type = TYPES[round % TYPES.len()];
        let path = folder.path().join(format!("{round}"));
        let wait = Duration::from_micros(chance.below(150_000));
        let starts = |line: &str| line.ends_with("changes");
        let (at, output) = kill(mime_type, &path, None, (starts, wait));
        let lost = at as f64 / 1e9 - readable(&path, mime_type);
        worst = worst.max(lost);
        let most = 1.0 + f64::from(GOP) / 1e3;
        assert!(
            lost < most,
            "{mime_type}, killed at {at}, {wait:?} after the failure: {lost} s are lost; {output:?}; {}",
            keep(&path)
        );
    }
    println!("at the worst {worst:.3} s");
}

#[test]
fn a_starting_fallback() {
    if std::env::var_os(TYPE).is_some() {
        return;
    }
    let mut chance = Rng::from_env();
    let folder = tempfile::tempdir().unwrap();
    let mut worst = 0.0f64;
    let mut begun = 0;
    for round in 0..rounds() {
        let Some(disk) = SmallFilesystem::mount("size=500k") else {
            return;
        };
        let mime_type = TYPES[round % TYPES.len()];
        let path = disk.path().join("location");
        let fallback = folder.path().join(format!("{round}"));
        // The warning is posted when the next part is requested.
        let starts = |line: &str| line.starts_with("warning") && line.contains("fallback");
        let wait = Duration::from_micros(chance.below(1_500_000));
        let (at, output) = kill(mime_type, &path, Some(&fallback), (starts, wait));
        let first = readable(&path, mime_type);
        let has_media = std::fs::metadata(&fallback).is_ok_and(|file| file.len() > HEAD);
        let second = if has_media {
            readable(&fallback, mime_type)
        } else {
            0.0
        };
        begun += usize::from(second > 0.0);
        let lost = at as f64 / 1e9 - first - second;
        worst = worst.max(lost);
        // Media that the disk did not store is lost with the process, up to a fragment and its frames.
        let most = 2.0 * (1.0 + f64::from(GOP) / 1e3);
        assert!(
            lost < most,
            "{mime_type}, killed at {at}, {wait:?} after the warning: {first} and {second} s; {output:?}; {}, {}",
            keep(&path),
            keep(&fallback)
        );
    }
    println!("at most {worst:.3} s; {begun} had started the next part");
}
