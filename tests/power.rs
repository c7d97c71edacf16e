//! A power cut loses any page that has not been synchronised, at random. The rest of the file plays.

mod common;

use common::disk::traced;
use common::harness::{DEADLINE, init, make_recorder};
use common::killed::keep;
use common::replay::{self, Operation, Syscall};
use common::settings::{Rng, long, skipped};
use gst::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Instant, SystemTime};

/// Where the process whose writes are logged records to: a file of each type, or parts.
const WHERE: &str = "MEDIARECORDER_POWER_FOLDER";
const WHERE_PARTS: &str = "MEDIARECORDER_POWER_PARTS";

/// `sync-interval`, in seconds.
const INTERVAL: f64 = 1.0;
/// Maximum duration of a fragment or cluster.
const UNIT: f64 = 1.0;
/// Keyframe interval.
const GOP: f64 = 0.5;
/// `max-size-time` of the parts.
const PART: f64 = 1.5;

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

/// Location and type of the parts.
const PARTS: (&str, &str) = ("part-%d.mp4", "video/mp4;codecs=avc1,mp4a.40.2");

/// Duration of the recordings, in seconds.
fn length() -> f64 {
    if long() { 20.0 } else { 6.5 }
}

/// Number of streams in recordings of this type.
fn streams(mime_type: &str) -> usize {
    if mime_type.starts_with("video") { 2 } else { 1 }
}

/// A recorder of live input that synchronises its file. `None` if the type is not supported here.
fn recorder(pipeline: &gst::Pipeline, mime_type: &str, path: &Path) -> Option<gst::Element> {
    let recorder = make_recorder();
    if !recorder.emit_by_name::<bool>("is-type-supported", &[&mime_type]) {
        println!("{mime_type}: not installed, not tested");
        return None;
    }
    recorder.set_property("mime-type", mime_type);
    recorder.set_property("location", path.to_str().unwrap());
    recorder.set_property("sync-interval", (INTERVAL * 1e9) as u64);
    recorder.set_property("video-key-frame-interval-duration", (GOP * 1e3) as u32);
    recorder.set_property("stop-timeout", 30_000_000_000u64);
    pipeline.add(&recorder).unwrap();
    let mut sources = vec![(
        "audiotestsrc is-live=true samplesperbuffer=480 wave=saw ! audio/x-raw,rate=48000,channels=1",
        "audio_%u",
    )];
    if streams(mime_type) == 2 {
        let video = "videotestsrc is-live=true ! video/x-raw,width=160,height=120,framerate=30/1";
        sources.push((video, "video_%u"));
    }
    for (source, template) in sources {
        let source = gst::parse::bin_from_description(&format!("{source} ! identity"), true);
        let source = source.unwrap();
        pipeline.add(&source).unwrap();
        let pad = recorder.request_pad_simple(template).unwrap();
        source.static_pad("src").unwrap().link(&pad).unwrap();
    }
    Some(recorder)
}

fn act(recorder: &gst::Element, action: &str) {
    let error: Option<glib::Error> = recorder.emit_by_name(action, &[]);
    assert!(error.is_none(), "{error:?}");
}

/// Waits until each recorder has recorded this many seconds.
fn wait_recorded(recorders: &[(&str, gst::Element)], seconds: f64) {
    common::harness::wait_for("enough media", || {
        recorders.iter().all(|(_, recorder)| {
            let stats: gst::Structure = recorder.property("stats");
            stats.get::<u64>("duration").unwrap() as f64 > seconds * 1e9
        })
    });
}

/// Waits until this many recordings have ended, all parts of which are whole.
fn wait_stopped(pipeline: &gst::Pipeline, mut count: usize) {
    let deadline = Instant::now() + DEADLINE;
    while count > 0 {
        let message = pipeline.bus().unwrap().timed_pop(gst::ClockTime::SECOND);
        assert!(Instant::now() < deadline, "the recordings do not end");
        let structure = message.as_ref().and_then(|message| message.structure());
        match structure.map(|structure| (structure.name().as_str(), structure)) {
            Some(("mediarecorder-error", error)) => panic!("{error}"),
            Some(("mediarecorder-part", part)) => assert!(part.get::<bool>("whole").unwrap()),
            Some(("mediarecorder-stop", _)) => count -= 1,
            _ => {}
        }
    }
}

/// Records live input to a file of each type, all at once, and saves when each began.
#[test]
fn records_for_the_replay() {
    let Some(folder) = std::env::var_os(WHERE) else {
        return;
    };
    let folder = Path::new(&folder);
    init();
    let pipeline = gst::Pipeline::new();
    let recorders = TYPES.iter().filter_map(|(name, mime_type)| {
        let recorder = recorder(&pipeline, mime_type, &folder.join(name))?;
        Some((*name, recorder))
    });
    let recorders: Vec<_> = recorders.collect();
    pipeline.set_state(gst::State::Playing).unwrap();
    for (_, recorder) in &recorders {
        act(recorder, "start");
    }
    wait_recorded(&recorders, length());
    for (name, recorder) in &recorders {
        let stats: gst::Structure = recorder.property("stats");
        let intervals = stats.get::<gst::Array>("intervals").unwrap();
        let first = intervals[0].get::<gst::Structure>().unwrap();
        let begun = first.get::<i64>("utc").unwrap();
        std::fs::write(folder.join(name).with_extension("begun"), begun.to_string()).unwrap();
        act(recorder, "stop");
    }
    wait_stopped(&pipeline, recorders.len());
    pipeline.set_state(gst::State::Null).unwrap();
}

/// Records live input in parts, and saves when each part's event and its last blob's have been emitted.
#[test]
fn records_parts_for_the_replay() {
    let Some(folder) = std::env::var_os(WHERE_PARTS) else {
        return;
    };
    let folder = Path::new(&folder);
    init();
    let pipeline = gst::Pipeline::new();
    let (name, mime_type) = PARTS;
    let recorder = recorder(&pipeline, mime_type, &folder.join(name)).unwrap();
    recorder.set_property("max-size-time", (PART * 1e9) as u64);
    for signal in ["on-data-available", "on-part"] {
        let (folder, count) = (folder.to_owned(), AtomicUsize::new(0));
        recorder.connect(signal, false, move |_| {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            let count = count.fetch_add(1, Ordering::SeqCst);
            let path = folder.join(format!("{signal}-{count}"));
            std::fs::write(path, now.unwrap().as_secs_f64().to_string()).unwrap();
            None
        });
    }
    pipeline.set_state(gst::State::Playing).unwrap();
    act(&recorder, "start");
    let recorders = [(name, recorder)];
    wait_recorded(&recorders, 2.5 * PART);
    act(&recorders[0].1, "stop");
    wait_stopped(&pipeline, 1);
    pipeline.set_state(gst::State::Null).unwrap();
}

/// What ffprobe lists for these entries of a file; nothing if it cannot read it.
fn list(path: &Path, options: &[&str], entries: &str) -> Vec<String> {
    let output = Command::new("timeout")
        .args(["120", "ffprobe", "-v", "quiet", "-of", "csv=p=0"])
        .args(options)
        .args(["-show_entries", entries])
        .arg(path)
        .output()
        .unwrap();
    // 124 is a timeout's, and more a signal's: that says nothing about the file.
    let verdict = output.status.code().filter(|code| *code < 124);
    assert!(verdict.is_some(), "ffprobe: {:?}", output.status);
    let listed = String::from_utf8_lossy(&output.stdout);
    let lines = listed.lines().map(|line| line.trim_matches(',').to_owned());
    lines.filter(|_| output.status.success()).collect()
}

/// Up to when each stream of a file plays from its start without a gap, in seconds.
fn playable(path: &Path) -> BTreeMap<String, f64> {
    // Longer than any frame or packet.
    const GAP: f64 = 0.25;
    let streams = list(path, &[], "stream=index").into_iter();
    let mut ends: BTreeMap<_, _> = streams.map(|stream| (stream, 0.0)).collect();
    for (stream, end) in &mut ends {
        let times = list(path, &["-select_streams", stream], "frame=pts_time");
        let times = times.iter().filter_map(|time| time.parse::<f64>().ok());
        let mut times: Vec<_> = times.collect();
        times.sort_by(f64::total_cmp);
        for time in times {
            if time > *end + GAP {
                break;
            }
            *end = time;
        }
    }
    ends
}

/// Maximum duration of a sync, in seconds.
fn slowest(calls: &[Syscall]) -> f64 {
    let syncs = calls
        .iter()
        .filter(|call| matches!(call.operation, Operation::Sync(_)));
    syncs.map(|call| call.lasts).fold(0.0, f64::max)
}

/// After how many of the calls the power is cut, in turn: after the very last ones, among the last, where the file is
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

/// Indices of the syncs of a file or directory.
fn syncs(log: &[Syscall], path: &Path) -> Vec<usize> {
    let calls = log.iter().enumerate();
    let syncs = calls.filter(|(_, call)| matches!(call.operation, Operation::Sync(_)));
    let of_path = syncs.filter(|(_, call)| call.path == path);
    of_path.map(|(number, _)| number).collect()
}

/// Asserts that the directory entry of a file is synchronised after the first bytes, and before all later ones.
fn assert_entry_is_synchronised(log: &[Syscall], path: &Path) {
    let of_file = syncs(log, path);
    let is_between = |entry: &usize| of_file[0] < *entry && *entry < of_file[1];
    let of_folder = syncs(log, path.parent().unwrap());
    assert!(of_folder.iter().any(is_between), "{}", path.display());
}

/// Cuts the power while a file is written, and judges what is left of it.
fn judge(folder: &Path, name: &str, mime_type: &str, log: &[Syscall], chance: &mut Rng) {
    let path = folder.join(name);
    let calls = replay::calls_on(log, &path);
    let begun: f64 = std::fs::read_to_string(path.with_extension("begun"))
        .unwrap()
        .parse()
        .unwrap();
    assert_entry_is_synchronised(log, &path);
    let is_sync = |call: &Syscall| matches!(call.operation, Operation::Sync(_));
    let first = calls.iter().position(is_sync).unwrap() + 1;
    let whole = std::fs::read(&path).unwrap();
    // In the end everything is on the disk.
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
            let kept = keep(&state_path);
            format!(
                "{name}: {} bytes after {count} of {} calls: {ends:?}; {kept}",
                left.len(),
                calls.len()
            )
        };
        assert_eq!(ends.len(), streams(mime_type), "{}", what());
        // The power was on until the next call.
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

/// Logs a process's writes and syncs of these files, and syncs of their directory.
fn log_of(child: &Command, mut paths: Vec<PathBuf>, folder: &Path) -> Option<Vec<Syscall>> {
    paths.push(folder.to_owned());
    let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let calls = "write,writev,pwrite64,fsync,fdatasync";
    let log = traced(child, &paths, calls);
    if log.is_none() {
        skipped("power cuts: processes cannot be traced here");
    }
    log.map(|log| replay::parse(&log))
}

#[test]
fn synchronised_media_survives_a_power_cut() {
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
    let paths = TYPES.iter().map(|(name, _)| folder.join(name));
    let Some(log) = log_of(&child, paths.collect(), &folder) else {
        return;
    };
    let there = TYPES.iter().filter(|(name, _)| folder.join(name).exists());
    std::thread::scope(|scope| {
        for (name, mime_type) in there {
            let (mut chance, log, folder) = (chance.fork(), &log, &folder);
            scope.spawn(move || judge(folder, name, mime_type, log, &mut chance));
        }
    });
}

#[test]
fn each_part_is_synchronised_before_its_events() {
    if std::env::var_os(WHERE_PARTS).is_some() {
        return;
    }
    let (name, mime_type) = PARTS;
    init();
    if !make_recorder().emit_by_name::<bool>("is-type-supported", &[&mime_type]) {
        return println!("{mime_type}: not installed, not tested");
    }
    let mut chance = Rng::from_env();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "records_parts_for_the_replay"])
        .env(WHERE_PARTS, &folder);
    let path = |part: usize| folder.join(name.replace("%d", &part.to_string()));
    let Some(log) = log_of(&child, (0..3).map(path).collect(), &folder) else {
        return;
    };
    for part in 0..3 {
        let path = path(part);
        assert_entry_is_synchronised(&log, &path);
        let calls = replay::calls_on(&log, &path);
        let last = calls.last().unwrap();
        assert_eq!(
            last.operation,
            Operation::Sync(calls.len() - 1),
            "of all its writes"
        );
        for event in ["on-data-available", "on-part"] {
            let at = std::fs::read_to_string(folder.join(format!("{event}-{part}"))).unwrap();
            let early = last.at + last.lasts - at.parse::<f64>().unwrap();
            assert!(early <= 0.0, "{event} {part} is {early} s too early");
        }
        let whole = std::fs::read(&path).unwrap();
        assert!(replay::after_power_cut(&calls, calls.len(), &mut chance) == whole);
        // While the file is finalised.
        let state = folder.join("state.mp4");
        for count in calls.len().saturating_sub(8)..calls.len() {
            std::fs::write(&state, replay::after_power_cut(&calls, count, &mut chance)).unwrap();
            let ends = playable(&state);
            assert_eq!(ends.len(), streams(mime_type), "{count}: {}", keep(&state));
        }
    }
}
