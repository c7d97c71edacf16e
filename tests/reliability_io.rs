//! The disk fails, or does not answer, in the system call itself: strace does that to a child process.

mod common;

use common::chance::skipped;
use common::disk::{failed, may_trace, rig};
use common::harness::{Kind, Outer, Recorder, Rig, State, Track, holds_within, media};
use gst::prelude::*;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Tells the child what to do, and where.
const SCENARIO: &str = "MEDIARECORDER_IO_SCENARIO";
const FOLDER: &str = "MEDIARECORDER_IO_FOLDER";

/// A scenario of the child's.
type Scenario = (&'static str, fn(&Path));

const SCENARIOS: [Scenario; 5] = [
    ("location", |folder| {
        let (rig, tracks, path) = rig_at_location(folder);
        rig.recorder.start().unwrap();
        let (error, bytes) = failed(&rig, 1);
        assert!(error.contains(&path), "{error}");
        assert!(error.contains("os error 5"), "{error}");
        outside_goes_on(&rig, &tracks);
        for path in [path, rig.save("blob.mkv", &bytes)] {
            assert_plays_so_far(&path);
        }
        records_elsewhere(&rig, &tracks);
    }),
    ("temp-dir", |folder| {
        let (rig, tracks) = rig();
        let folder = folder.to_str().unwrap();
        rig.recorder.set_property("temp-dir", folder);
        rig.recorder.set_property("max-memory", 50_000u64);
        rig.recorder.start().unwrap();
        let (error, bytes) = failed(&rig, 1);
        assert!(error.contains(folder), "{error}");
        assert!(error.contains("os error 5"), "{error}");
        outside_goes_on(&rig, &tracks);
        assert_plays_so_far(&rig.save("blob.mkv", &bytes));
        rig.recorder.set_property("max-memory", 8u64 << 20);
        records_elsewhere(&rig, &tracks);
    }),
    // Duration and index are put into the file when it is complete.
    ("patch", |folder| {
        let (rig, tracks, path) = rig_at_location(folder);
        rig.recorder.start().unwrap();
        tracks[1].wait_more(30);
        rig.recorder.stop().unwrap();
        let (error, bytes) = failed(&rig, 1);
        assert!(error.contains(&path), "{error}");
        outside_goes_on(&rig, &tracks);
        for path in [path, rig.save("blob.mkv", &bytes)] {
            assert_plays_so_far(&path);
        }
    }),
    // Blobs of what is written to `location` are read from there: those that cannot be have no bytes.
    ("read back", |folder| {
        let (rig, tracks, path) = rig_at_location(folder);
        rig.recorder.set_property("timeslice", 500u32);
        rig.recorder.start().unwrap();
        let warned = |all: &[Outer]| {
            all.iter().any(|message| {
                matches!(message, Outer::Warning { error, .. }
                    if error.message().contains(&path) && error.message().contains("os error 5"))
            })
        };
        rig.outer.wait("a warning", warned);
        outside_goes_on(&rig, &tracks);
        rig.recorder.stop().unwrap();
        let events = rig.wait_recording(1);
        assert!(events.iter().all(|e| e.kind != Kind::Error), "{events:?}");
        media::assert_plays(&path);
        let blobs: Vec<_> = events.iter().filter(|e| e.kind == Kind::Data).collect();
        assert!(blobs.len() > 1, "a blob each 500 ms");
        assert!(blobs.iter().any(|blob| blob.bytes.is_empty()));
        let ends = blobs.iter().map(|blob| blob.buffer().offset_end());
        let begins = blobs.iter().skip(1).map(|blob| blob.buffer().offset());
        assert!(begins.zip(ends).all(|(begin, end)| begin == end));
        rig.recorder.set_property("timeslice", 0u32);
        records_elsewhere(&rig, &tracks);
    }),
    // As a network file system does whose server is gone.
    ("hang", |folder| {
        let (rig, tracks, path) = rig_at_location(folder);
        rig.recorder.set_property("stop-timeout", 500_000_000u64);
        rig.recorder.start().unwrap();
        // It stands still once no more is written.
        let mut size = 0;
        let mut stood = Instant::now();
        assert!(holds_within(Duration::from_secs(20), || {
            let now = std::fs::metadata(&path).unwrap().len();
            if std::mem::replace(&mut size, now) != now {
                stood = Instant::now();
            }
            size > 0 && stood.elapsed() > Duration::from_millis(1500)
        }));
        // Nobody outside waits for it.
        outside_goes_on(&rig, &tracks);
        let before = Instant::now();
        assert!(rig.recorder.stat("bytes") > 10_000);
        rig.recorder.pause().unwrap();
        rig.recorder.resume().unwrap();
        rig.recorder.request_data().unwrap();
        rig.recorder.stop().unwrap();
        assert!(
            before.elapsed() < Duration::from_secs(1),
            "{:?}",
            before.elapsed()
        );
        let (error, _) = failed(&rig, 1);
        assert!(
            before.elapsed() < Duration::from_secs(5),
            "{:?}",
            before.elapsed()
        );
        assert!(error.contains(&path), "{error}");
        records_elsewhere(&rig, &tracks);
        let before = Instant::now();
        rig.set_state(gst::State::Null);
        assert!(
            before.elapsed() < Duration::from_secs(5),
            "{:?}",
            before.elapsed()
        );
        assert_plays_so_far(&path);
    }),
];

/// One that is to record to a file in `folder`, and the path of that.
fn rig_at_location(folder: &Path) -> (Rig, Vec<Track>, String) {
    let (rig, tracks) = rig();
    let path = folder.join("a.mkv").to_str().unwrap().to_owned();
    rig.recorder.set_property("location", &path);
    (rig, tracks, path)
}

fn outside_goes_on(rig: &Rig, tracks: &[Track]) {
    for track in tracks {
        track.wait_more(20);
    }
    rig.assert_no_bus_error();
}

/// What was written before plays; the last block may be half there, no more.
fn assert_plays_so_far(path: &str) {
    let frames = media::frames(path);
    assert!(frames > 10, "{path}: {frames}");
    let sound = media::sound(path, 0).len();
    assert!(sound > 16_000, "{path}: {sound}");
}

fn records_elsewhere(rig: &Rig, tracks: &[Track]) {
    assert_eq!(rig.recorder.recording_state(), State::Inactive);
    rig.recorder.set_property("location", None::<&str>);
    rig.recorder.start().unwrap();
    tracks[1].wait_more(20);
    rig.recorder.stop().unwrap();
    let events = rig.wait_recording(2);
    assert!(events.iter().all(|e| e.kind != Kind::Error), "{events:?}");
    let bytes: Vec<u8> = events.iter().flat_map(|e| e.bytes.clone()).collect();
    media::assert_plays(&rig.save("elsewhere.mkv", &bytes));
}

/// What the child does.
#[test]
fn under_strace() {
    let (Ok(scenario), Some(folder)) = (std::env::var(SCENARIO), std::env::var_os(FOLDER)) else {
        return;
    };
    let known = SCENARIOS.iter().find(|(name, _)| *name == scenario);
    known.unwrap().1(&PathBuf::from(folder));
}

/// Runs a scenario in a child whose system calls fare as `injected` says; only those on `file`, if one is
/// named (what has no name cannot be).
fn child(scenario: &str, injected: &str, file: Option<&str>) {
    if !may_trace() {
        return skipped("disks that fail: processes cannot be traced here");
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut strace = Command::new("strace");
    let call = injected.split(':').next().unwrap();
    strace
        .args([
            "-f",
            "-qq",
            "-y",
            "-s0",
            "--seccomp-bpf",
            "-esignal=none",
            "-o",
        ])
        .arg(log.path())
        .args(["-e", &format!("trace={call}")])
        .args(["-e", &format!("inject={injected}")]);
    if let Some(file) = file {
        strace.arg("-P").arg(folder.join(file));
    }
    let output = strace
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "under_strace", "--nocapture"])
        .env(SCENARIO, scenario)
        .env(FOLDER, &folder)
        .output()
        .unwrap();
    let calls = std::fs::read_to_string(log.path()).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{scenario}: {said}\n{calls}");
    // A call that is still held up when the process ends has no result.
    let hit = |line: &str| {
        ["INJECTED", "DELAYED", "= ?"]
            .iter()
            .any(|mark| line.contains(mark))
    };
    assert!(
        calls.lines().any(hit),
        "{scenario}: nothing happened: {calls}"
    );
    let folder = folder.to_str().unwrap();
    let mut made = calls
        .lines()
        .filter(|line| line.contains(&format!("{call}(")));
    let elsewhere = made.find(|line| !line.contains(folder));
    assert_eq!(elsewhere, None, "{scenario}: another file was hit");
}

#[test]
fn location_on_a_device_that_fails() {
    child("location", "writev:error=EIO:when=6+", Some("a.mkv"));
}

#[test]
fn the_temporary_file_on_a_device_that_fails() {
    child("temp-dir", "writev:error=EIO:when=6+", None);
}

#[test]
fn location_that_cannot_be_completed() {
    child("patch", "pwrite64:error=EIO:when=1+", Some("a.mkv"));
}

#[test]
fn location_that_cannot_be_read_back() {
    // Injected calls are counted by thread, and a thread of events may be there for one blob only.
    child("read back", "pread64:error=EIO", Some("a.mkv"));
}

#[test]
fn location_that_does_not_answer() {
    child("hang", "writev:delay_enter=15s:when=6", Some("a.mkv"));
}
