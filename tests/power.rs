//! Power cuts: data that was not synchronised is lost, page by page at random, and the rest of the file is
//! playable.

mod common;

use common::disk::traced;
use common::harness::{DEADLINE, init, make_recorder};
use common::replay::{self, Operation, Syscall};
use common::settings::{Rng, long, skipped};
use gst::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Pass to the process whose writes are logged where to record to.
const WHERE: &str = "MEDIARECORDER_POWER_FOLDER";

/// The sync interval.
const INTERVAL: f64 = 1.0;
/// A fragment or cluster.
const UNIT: f64 = 1.0;
/// Keyframe interval.
const GOP: f64 = 0.5;

/// File and type.
const TYPES: [(&str, &str); 8] = [
    ("a.webm", "video/webm;codecs=vp8,opus"),
    ("a.mkv", "video/x-matroska;codecs=avc1,flac"),
    ("a.mp4", "video/mp4;codecs=avc1,mp4a.40.2"),
    ("a.ogv", "video/ogg;codecs=theora,vorbis"),
    ("a.ogg", "audio/ogg;codecs=opus"),
    ("a.wav", "audio/wav"),
    ("a.flac", "audio/flac"),
    ("a.mp3", "audio/mpeg"),
];

/// Duration of a recording in seconds.
fn length() -> f64 {
    if long() { 20.0 } else { 6.5 }
}

/// Whether recordings of this type have video.
fn streams(mime_type: &str) -> usize {
    if mime_type.starts_with("video") { 2 } else { 1 }
}

/// Records live input to a file of each type, all in parallel, and prints when each started.
#[test]
fn records_for_the_replay() {
    let Some(folder) = std::env::var_os(WHERE) else {
        return;
    };
    let folder = Path::new(&folder);
    init();
    let pipeline = gst::Pipeline::new();
    let mut recorders = Vec::new();
    for (name, mime_type) in TYPES {
        let recorder = make_recorder();
        if !recorder.emit_by_name::<bool>("is-type-supported", &[&mime_type]) {
            println!("{mime_type}: not installed, not tested");
            continue;
        }
        recorder.set_property("mime-type", mime_type);
        recorder.set_property("location", folder.join(name).to_str().unwrap());
        recorder.set_property("sync-interval", (INTERVAL * 1e9) as u64);
        recorder.set_property("video-key-frame-interval-duration", (GOP * 1e3) as u32);
        recorder.set_property("stop-timeout", 30_000_000_000u64);
        pipeline.add(&recorder).unwrap();
        let mut lines = vec![(
            "audiotestsrc is-live=true samplesperbuffer=480 wave=saw ! audio/x-raw,rate=48000,channels=1",
            "audio_%u",
        )];
        if streams(mime_type) == 2 {
            let video =
                "videotestsrc is-live=true ! video/x-raw,width=160,height=120,framerate=30/1";
            lines.push((video, "video_%u"));
        }
        for (line, template) in lines {
            let line = format!("{line} ! identity");
            let source = gst::parse::bin_from_description(&line, true).unwrap();
            pipeline.add(&source).unwrap();
            let pad = recorder.request_pad_simple(template).unwrap();
            source.static_pad("src").unwrap().link(&pad).unwrap();
        }
        recorders.push((name, recorder));
    }
    pipeline.set_state(gst::State::Playing).unwrap();
    for (_, recorder) in &recorders {
        let started: Option<glib::Error> = recorder.emit_by_name("start", &[]);
        assert!(started.is_none(), "{started:?}");
    }
    let most = (length() * 1e9) as u64;
    common::harness::wait_for("enough of each", || {
        recorders.iter().all(|(_, recorder)| {
            let stats: gst::Structure = recorder.property("stats");
            stats.get::<u64>("duration").unwrap() > most
        })
    });
    for (name, recorder) in &recorders {
        let stats: gst::Structure = recorder.property("stats");
        let intervals = stats.get::<gst::Array>("intervals").unwrap();
        let first = intervals[0].get::<gst::Structure>().unwrap();
        let begun = first.get::<i64>("utc").unwrap();
        std::fs::write(folder.join(name).with_extension("begun"), begun.to_string()).unwrap();
        let stopped: Option<glib::Error> = recorder.emit_by_name("stop", &[]);
        assert!(stopped.is_none(), "{stopped:?}");
    }
    let (mut left, end) = (recorders.len(), Instant::now() + DEADLINE);
    while left > 0 {
        let message = pipeline.bus().unwrap().timed_pop(gst::ClockTime::SECOND);
        assert!(Instant::now() < end, "they end");
        let structure = message.as_ref().and_then(|message| message.structure());
        match structure.map(|structure| (structure.name().as_str(), structure)) {
            Some(("mediarecorder-error", error)) => panic!("{error}"),
            Some(("mediarecorder-part", part)) => assert!(part.get::<bool>("whole").unwrap()),
            Some(("mediarecorder-stop", _)) => left -= 1,
            _ => {}
        }
    }
    pipeline.set_state(gst::State::Null).unwrap();
}

/// ffprobe's output for these entries of a file: nothing if it cannot read it.
fn list(path: &Path, options: &[&str], entries: &str) -> Vec<String> {
    let output = Command::new("timeout")
        .args(["120", "ffprobe", "-v", "quiet", "-of", "csv=p=0"])
        .args(options)
        .args(["-show_entries", entries])
        .arg(path)
        .output()
        .unwrap();
    // 124 is a timeout's, and more a signal's: no verdict on the file.
    let verdict = output.status.code().filter(|code| *code < 124);
    assert!(verdict.is_some(), "ffprobe: {:?}", output.status);
    let listed = String::from_utf8_lossy(&output.stdout);
    let lines = listed.lines().map(|line| line.trim_matches(',').to_owned());
    lines.filter(|_| output.status.success()).collect()
}

/// Up to when each stream of a file is playable without a gap, in seconds.
fn playable(path: &Path) -> BTreeMap<String, f64> {
    // Longer than any frame or packet.
    const HOLE: f64 = 0.25;
    let streams = list(path, &[], "stream=index").into_iter();
    let mut ends: BTreeMap<_, _> = streams.map(|stream| (stream, 0.0)).collect();
    for (stream, end) in &mut ends {
        let times = list(path, &["-select_streams", stream], "frame=pts_time");
        let times = times.iter().filter_map(|time| time.parse::<f64>().ok());
        let mut times: Vec<_> = times.collect();
        times.sort_by(f64::total_cmp);
        for time in times {
            if time > *end + HOLE {
                break;
            }
            *end = time;
        }
    }
    ends
}

/// The duration of the slowest sync, in seconds: from its start to the next call, at most.
fn slowest(calls: &[Syscall]) -> f64 {
    let syncs = calls
        .iter()
        .filter(|call| matches!(call.operation, Operation::Sync(_)));
    syncs.map(|call| call.lasts).fold(0.0, f64::max)
}

/// After which of the calls power is cut, each time: after the very last, among the last, where the file is
/// finalised, and anywhere after the first sync.
fn instants(first: usize, calls: usize, chance: &mut Rng) -> Vec<usize> {
    const LAST: usize = 16;
    let mut between = |from: usize| from + chance.below((calls - from) as u64) as usize;
    let mut instants: Vec<_> = (calls - 3..calls).collect();
    let rounds = if long() { 60 } else { 6 };
    while instants.len() < rounds {
        instants.push(between(first.max(calls.saturating_sub(LAST))));
        instants.push(between(first));
    }
    instants
}

/// Cuts the power while a file is written, and verifies what is left of it.
fn judge(folder: &Path, name: &str, mime_type: &str, log: &[Syscall], chance: &mut Rng) {
    let path = folder.join(name);
    let calls = replay::calls_on(log, &path);
    let begun: f64 = std::fs::read_to_string(path.with_extension("begun"))
        .unwrap()
        .parse()
        .unwrap();
    let syncs = |of: &Path| {
        let calls = log.iter().enumerate();
        let syncs = calls.filter(|(_, call)| matches!(call.operation, Operation::Sync(_)));
        let of_path = syncs.filter(|(_, call)| call.path == of);
        of_path.map(|(number, _)| number).collect::<Vec<_>>()
    };
    let of_file = syncs(&path);
    // The name is synchronised after the first bytes, and before all others.
    let named = |entry: &usize| of_file[0] < *entry && *entry < of_file[1];
    assert!(syncs(folder).iter().any(named), "{name} has its name");
    let is_sync = |call: &Syscall| matches!(call.operation, Operation::Sync(_));
    let first = calls.iter().position(is_sync).unwrap() + 1;
    let whole = std::fs::read(&path).unwrap();
    // In the end everything is on the disk, so that nothing is random.
    assert!(
        replay::after_power_cut(&calls, calls.len(), chance) == whole,
        "{name}"
    );
    let state_path = folder.join(format!("state-{name}"));
    let mut worst = 0.0f64;
    let instants = instants(first, calls.len(), chance);
    for count in &instants {
        let count = *count;
        let left = replay::after_power_cut(&calls, count, chance);
        std::fs::write(&state_path, &left).unwrap();
        let ends = playable(&state_path);
        let what = || {
            let _ = std::fs::copy(
                &state_path,
                std::env::temp_dir().join(format!("lost-{name}")),
            );
            format!(
                "{name}: {} bytes after {count} of {} calls: {ends:?}",
                left.len(),
                calls.len()
            )
        };
        assert_eq!(ends.len(), streams(mime_type), "{}", what());
        // The next call does not start earlier.
        let at = calls.get(count).map_or(f64::MAX, |call| call.at);
        let recorded = (at - begun / 1e9).min(length());
        let playable = ends.values().copied().fold(f64::MAX, f64::min);
        let lost = recorded - playable;
        worst = worst.max(lost);
        let most = INTERVAL + slowest(&calls) + UNIT + GOP;
        assert!(
            lost <= most,
            "{lost} s of {recorded} s are lost, {most} may be; {}",
            what()
        );
    }
    std::fs::remove_file(&state_path).unwrap();
    println!(
        "{name}: {} calls, of {} states none lost more than {worst:.2} s",
        calls.len(),
        instants.len()
    );
}

#[test]
fn synchronised_data_plays_after_a_power_cut() {
    if std::env::var_os(WHERE).is_some() {
        return;
    }
    let mut chance = Rng::from_env();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "records_for_the_replay"])
        .env(WHERE, &folder);
    let paths: Vec<_> = TYPES.iter().map(|(name, _)| folder.join(name)).collect();
    let mut traced_paths: Vec<&Path> = paths.iter().map(|path| path.as_path()).collect();
    traced_paths.push(&folder);
    let calls = "write,writev,pwrite64,fsync,fdatasync";
    let Some(log) = traced(&child, &traced_paths, calls) else {
        return skipped("power cuts: processes cannot be traced here");
    };
    let log = replay::parse(&log);
    let there = TYPES.iter().filter(|(name, _)| folder.join(name).exists());
    std::thread::scope(|scope| {
        for (name, mime_type) in there {
            let (mut chance, log, folder) = (chance.fork(), &log, &folder);
            scope.spawn(move || judge(folder, name, mime_type, log, &mut chance));
        }
    });
}
