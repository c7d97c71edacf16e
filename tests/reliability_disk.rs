//! Disks that are full, read-only or gone: the recording says so and delivers what it has; the pipeline goes on.

mod common;

use common::disk::{Small, failed, rig};
use common::harness::{Kind, Recorder, State, code, expect_error, media, wait_for};
use gst::prelude::*;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn location_on_a_disk_that_fills() {
    let Some(disk) = Small::mount("size=400k") else {
        return;
    };
    let (rig, tracks) = rig();
    let path = disk.path().join("full.mkv");
    let path = path.to_str().unwrap();
    rig.recorder.set_property("location", path);
    rig.recorder.start().unwrap();
    let (error, bytes) = failed(&rig, 1);
    assert!(error.contains(path), "{error}");
    assert!(error.contains("space"), "{error}");
    // Nothing outside has noticed.
    for track in &tracks {
        track.wait_more(20);
    }
    rig.assert_no_bus_error();
    assert!(std::fs::metadata(path).unwrap().len() > 300_000);
    for path in [path.to_owned(), rig.save("blob.mkv", &bytes)] {
        // The last block may be half there, no more.
        let frames = media::frames(&path);
        assert!(frames > 10, "{path}: {frames}");
        let sound = media::sound(&path, 0).len();
        assert!(sound > 48_000, "{path}: {sound}");
    }
    // The next one goes where there is room.
    let path = rig.path("elsewhere.mkv");
    rig.recorder.set_property("location", &path);
    rig.recorder.start().unwrap();
    tracks[1].wait_more(10);
    rig.recorder.stop().unwrap();
    assert!(rig.wait_recording(2).iter().all(|e| e.kind != Kind::Error));
    media::assert_plays(&path);
}

#[test]
fn the_temporary_file_on_a_disk_that_fills() {
    let Some(disk) = Small::mount("size=400k") else {
        return;
    };
    let (rig, tracks) = rig();
    rig.recorder
        .set_property("temp-dir", disk.path().to_str().unwrap());
    rig.recorder.set_property("max-memory", 50_000u64);
    rig.recorder.start().unwrap();
    let (error, bytes) = failed(&rig, 1);
    assert!(error.contains("space"), "{error}");
    tracks[0].wait_more(20);
    rig.assert_no_bus_error();
    assert!(bytes.len() > 300_000, "{}", bytes.len());
    let path = rig.save("blob.mkv", &bytes);
    assert!(media::frames(&path) > 10);
}

#[test]
fn a_device_that_is_full() {
    let (rig, tracks) = rig();
    rig.recorder.set_property("location", "/dev/full");
    rig.recorder.start().unwrap();
    let (error, _) = failed(&rig, 1);
    assert!(error.contains("/dev/full"), "{error}");
    tracks[0].wait_more(20);
    rig.assert_no_bus_error();
}

#[test]
fn a_pipe_that_nobody_reads_is_refused_at_once() {
    let (rig, tracks) = rig();
    let path = rig.path("pipe.mkv");
    media::run(Command::new("mkfifo").arg(&path));
    rig.recorder.set_property("location", &path);
    let before = Instant::now();
    expect_error(rig.recorder.start(), code::UNKNOWN);
    assert!(before.elapsed() < Duration::from_secs(2));
    assert_eq!(rig.recorder.recording_state(), State::Inactive);
    tracks[0].wait_more(5);
}

#[test]
fn a_folder_that_disappears() {
    let (rig, tracks) = rig();
    let folder = rig.folder.path().join("goes");
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("a.mkv");
    rig.recorder
        .set_property("location", path.to_str().unwrap());
    rig.recorder.start().unwrap();
    tracks[1].wait_more(20);
    std::fs::remove_dir_all(&folder).unwrap();
    tracks[1].wait_more(20);
    rig.recorder.stop().unwrap();
    let events = rig.wait_recording(1);
    rig.assert_no_bus_error();
    // The open file lives on: the blob has it all.
    let bytes: Vec<u8> = events.iter().flat_map(|e| e.bytes.clone()).collect();
    media::assert_plays(&rig.save("blob.mkv", &bytes));
    expect_error(rig.recorder.start(), code::UNKNOWN);
}

/// What is recorded is nobody else's business.
#[test]
fn the_temporary_file_has_no_name_and_belongs_to_its_owner() {
    let (rig, tracks) = rig();
    let folder = rig.folder.path().join("temporary");
    std::fs::create_dir(&folder).unwrap();
    let folder = folder.canonicalize().unwrap();
    rig.recorder
        .set_property("temp-dir", folder.to_str().unwrap());
    rig.recorder.set_property("max-memory", 50_000u64);
    rig.recorder.start().unwrap();
    let open = || {
        let all = std::fs::read_dir("/proc/self/fd").unwrap();
        let links = all.filter_map(|entry| {
            let entry = entry.unwrap().path();
            let is_there = std::fs::read_link(&entry).ok()?.starts_with(&folder);
            is_there.then(|| std::fs::metadata(&entry).unwrap())
        });
        links.collect::<Vec<_>>()
    };
    wait_for("a temporary file", || !open().is_empty());
    for file in open() {
        assert_eq!(file.mode() & 0o7777, 0o600);
        assert_eq!(file.nlink(), 0);
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    rig.recorder.stop().unwrap();
    drop(rig.wait_recording(1));
    tracks[0].wait_more(1);
}

#[test]
fn a_temporary_folder_that_disappears() {
    let (rig, tracks) = rig();
    let folder = rig.folder.path().join("goes");
    rig.recorder
        .set_property("temp-dir", folder.to_str().unwrap());
    rig.recorder.set_property("max-memory", 100_000u64);
    rig.recorder.start().unwrap();
    let (error, bytes) = failed(&rig, 1);
    assert!(error.contains(folder.to_str().unwrap()), "{error}");
    tracks[0].wait_more(20);
    rig.assert_no_bus_error();
    assert!(media::frames(&rig.save("blob.mkv", &bytes)) > 3);
}

#[test]
fn a_disk_that_may_only_be_read() {
    let Some(disk) = Small::mount("size=400k,ro") else {
        return;
    };
    let (rig, tracks) = rig();
    let path = disk.path().join("a.mkv");
    rig.recorder
        .set_property("location", path.to_str().unwrap());
    let error = expect_error(rig.recorder.start(), code::UNKNOWN);
    assert!(error.message().contains(path.to_str().unwrap()), "{error}");
    tracks[0].wait_more(5);
}
