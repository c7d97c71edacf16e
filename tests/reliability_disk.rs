//! Disks that are full, read-only or removed: the recording reports that and delivers what it has; the pipeline
//! continues.

mod common;

use common::disk::{SmallFilesystem, rig, wait_failed};
use common::harness::{BusMessage, Kind, Recorder, State, code, expect_error, media, wait_for};
use common::settings::skipped;
use gst::prelude::*;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn location_on_a_full_disk() {
    let Some(disk) = SmallFilesystem::mount("size=400k") else {
        return;
    };
    let (rig, tracks) = rig();
    let path = disk.path().join("full.mkv");
    let path = path.to_str().unwrap();
    rig.recorder.set_property("location", path);
    rig.recorder.start().unwrap();
    let (error, bytes) = wait_failed(&rig, 1);
    assert!(error.contains(path), "{error}");
    assert!(error.contains("space"), "{error}");
    // The pipeline is not affected.
    for track in &tracks {
        track.wait_buffers(20);
    }
    rig.assert_no_bus_error();
    assert!(std::fs::metadata(path).unwrap().len() > 300_000);
    for path in [path.to_owned(), rig.save("blob.mkv", &bytes)] {
        // Only the last block may be incomplete.
        let frames = media::frames(&path);
        assert!(frames > 10, "{path}: {frames}");
        let audio = media::sound(&path, 0).len();
        assert!(audio > 48_000, "{path}: {audio}");
    }
    // The next recording goes to a disk with space.
    let path = rig.path("elsewhere.mkv");
    rig.recorder.set_property("location", &path);
    rig.recorder.start().unwrap();
    tracks[1].wait_buffers(10);
    rig.recorder.stop().unwrap();
    assert!(rig.wait_recording(2).iter().all(|e| e.kind != Kind::Error));
    media::assert_plays(&path);
}

#[test]
fn the_temporary_file_on_a_full_disk() {
    let Some(disk) = SmallFilesystem::mount("size=400k") else {
        return;
    };
    let (rig, tracks) = rig();
    rig.recorder
        .set_property("temp-dir", disk.path().to_str().unwrap());
    rig.recorder.set_property("max-memory", 50_000u64);
    rig.recorder.start().unwrap();
    let (error, bytes) = wait_failed(&rig, 1);
    assert!(error.contains("space"), "{error}");
    tracks[0].wait_buffers(20);
    rig.assert_no_bus_error();
    assert!(bytes.len() > 300_000, "{}", bytes.len());
    let path = rig.save("blob.mkv", &bytes);
    assert!(media::frames(&path) > 10);
}

/// Data that the disk does not store is in memory, and so it is in the blob: to the end, with the index.
#[test]
fn a_full_device() {
    for mime_type in [
        "video/x-matroska;codecs=vp8,pcm",
        "video/mp4;codecs=avc1,opus",
        "video/webm;codecs=vp8,opus",
    ] {
        let (rig, tracks) = rig();
        rig.recorder.set_property("mime-type", mime_type);
        rig.recorder.set_property("location", "/dev/full");
        rig.recorder.start().unwrap();
        let (error, bytes) = wait_failed(&rig, 1);
        assert!(error.contains("/dev/full"), "{error}");
        tracks[0].wait_buffers(20);
        rig.assert_no_bus_error();
        let path = rig.save("blob", &bytes);
        let frames = media::frames(&path);
        assert!(frames > 0, "{mime_type}: none in {} bytes", bytes.len());
        if !mime_type.contains("mp4") {
            media::assert_finalised(&path);
        }
    }
}

/// Whatever happens to the file: an emitted blob does not change, and reading it kills no process.
#[test]
fn a_file_that_is_truncated_while_its_blob_is_kept() {
    for max_memory in [1000, 8u64 << 20] {
        let (rig, tracks) = rig();
        let path = rig.path("a.mkv");
        rig.recorder.set_property("location", &path);
        rig.recorder.set_property("max-memory", max_memory);
        rig.recorder.start().unwrap();
        tracks[1].wait_buffers(20);
        rig.recorder.request_data().unwrap();
        rig.wait_event(Kind::Data, 1);
        tracks[1].wait_buffers(10);
        rig.recorder.stop().unwrap();
        let events = rig.wait_recording(1);
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_len(0).unwrap();
        let mut whole = Vec::new();
        for blob in events.iter().filter(|e| e.kind == Kind::Data) {
            assert!(blob.buffer().size() > 10_000);
            assert!(*blob.buffer().map_readable().unwrap() == *blob.bytes);
            whole.extend_from_slice(&blob.bytes);
        }
        media::assert_plays(&rig.save("whole.mkv", &whole));
    }
}

/// Like in a container with a single bind-mounted file: that file gets the recording, whoever owns it.
#[test]
fn a_file_that_cannot_be_replaced_is_written_in_place() {
    let (rig, tracks) = rig();
    let (behind, path) = (rig.path("behind.mkv"), rig.path("a.mkv"));
    std::fs::write(&behind, vec![7; 3_000_000]).unwrap();
    std::fs::write(&path, b"").unwrap();
    let mounted = Command::new("mount")
        .args(["--bind", &behind, &path])
        .output()
        .is_ok_and(|output| output.status.success());
    if !mounted {
        return skipped("a file that cannot be replaced: mounting is not permitted");
    }
    rig.recorder.set_property("location", &path);
    let mut held = Vec::new();
    for number in 1..=2 {
        rig.recorder.start().unwrap();
        tracks[1].wait_buffers(20);
        rig.recorder.stop().unwrap();
        held = rig.wait_recording(number);
        media::assert_plays(&behind);
        media::assert_finalised(&behind);
    }
    for blob in held.iter().filter(|e| e.kind == Kind::Data) {
        assert!(*blob.buffer().map_readable().unwrap() == *blob.bytes);
    }
    let bytes: Vec<u8> = held.iter().flat_map(|e| e.bytes.clone()).collect();
    assert!(std::fs::read(&behind).unwrap().ends_with(&bytes));
    assert_eq!(
        rig.signals
            .all()
            .iter()
            .filter(|e| e.kind == Kind::Error)
            .count(),
        0
    );
    drop(Command::new("umount").arg("-l").arg(&path).status());
}

/// Media in the file is not copied: a blob without space for it has no bytes, and that is all.
#[test]
fn a_temporary_directory_that_is_too_small_for_blobs_of_a_file() {
    // Neither supports reflinks.
    let (Some(disk), Some(small)) = (
        SmallFilesystem::mount("size=100m"),
        SmallFilesystem::mount("size=50k"),
    ) else {
        return;
    };
    let (rig, tracks) = rig();
    let path = disk.path().join("a.mkv");
    let small = small.path().to_str().unwrap();
    rig.recorder
        .set_property("location", path.to_str().unwrap());
    rig.recorder.set_property("temp-dir", small);
    rig.recorder.set_property("max-memory", 60_000u64);
    rig.recorder.set_property("timeslice", 500u32);
    rig.recorder.start().unwrap();
    rig.bus.wait("a warning", |all| {
        all.iter().any(|message| {
            matches!(message, BusMessage::Warning { error, .. } if error.message().contains(small))
        })
    });
    tracks[1].wait_buffers(20);
    rig.recorder.stop().unwrap();
    let events = rig.wait_recording(1);
    assert!(events.iter().all(|e| e.kind != Kind::Error), "{events:?}");
    rig.assert_no_bus_error();
    media::assert_plays(path.to_str().unwrap());
    media::assert_finalised(path.to_str().unwrap());
    // The file has what they lack.
    let file = std::fs::read(&path).unwrap();
    let mut at = 0;
    for blob in events.iter().filter(|e| e.kind == Kind::Data) {
        assert_eq!(blob.buffer().offset(), at);
        at = blob.buffer().offset_end();
        assert!(blob.bytes.is_empty() || blob.bytes.len() as u64 == at - blob.buffer().offset());
    }
    assert_eq!(at, file.len() as u64);
}

/// The bytes of a blob without a handler use no space.
#[test]
fn blobs_without_a_handler_are_not_copied() {
    let (Some(disk), Some(small)) = (
        SmallFilesystem::mount("size=10m"),
        SmallFilesystem::mount("size=50k"),
    ) else {
        return;
    };
    common::harness::init();
    for wanted in [false, true] {
        let pipeline = gst::parse::launch(&format!(
            "videotestsrc pattern=snow num-buffers=60 ! mediarecorder autostart=true \
             location={}/a.webm temp-dir={} max-memory=1000 blob-messages={wanted}",
            disk.path().display(),
            small.path().display()
        ))
        .unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let bus = pipeline.bus().unwrap();
        let mut warned = false;
        loop {
            let message = bus.timed_pop(gst::ClockTime::from_seconds(60));
            let message = message.expect("the end");
            match message.view() {
                gst::MessageView::Warning(_) => warned = true,
                gst::MessageView::Error(error) => panic!("{error:?}"),
                gst::MessageView::Element(element) => {
                    let fields = element.structure().unwrap();
                    if fields.name() == "mediarecorder-data-available" {
                        assert!(fields.get::<u64>("size").unwrap() > 50_000);
                    }
                    if fields.name() == "mediarecorder-stop" {
                        break;
                    }
                }
                _ => {}
            }
        }
        pipeline.set_state(gst::State::Null).unwrap();
        assert_eq!(warned, wanted);
    }
}

#[test]
fn a_pipe_without_a_reader_is_refused_immediately() {
    let (rig, tracks) = rig();
    let path = rig.path("pipe.mkv");
    media::run(Command::new("mkfifo").arg(&path));
    rig.recorder.set_property("location", &path);
    let before = Instant::now();
    expect_error(rig.recorder.start(), code::UNKNOWN);
    assert!(before.elapsed() < Duration::from_secs(2));
    assert_eq!(rig.recorder.recording_state(), State::Inactive);
    tracks[0].wait_buffers(5);
}

#[test]
fn a_directory_that_is_removed() {
    let (rig, tracks) = rig();
    let folder = rig.folder.path().join("goes");
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("a.mkv");
    rig.recorder
        .set_property("location", path.to_str().unwrap());
    rig.recorder.start().unwrap();
    tracks[1].wait_buffers(20);
    std::fs::remove_dir_all(&folder).unwrap();
    tracks[1].wait_buffers(20);
    rig.recorder.stop().unwrap();
    let events = rig.wait_recording(1);
    rig.assert_no_bus_error();
    // The open file still exists: the blob is complete.
    let bytes: Vec<u8> = events.iter().flat_map(|e| e.bytes.clone()).collect();
    media::assert_plays(&rig.save("blob.mkv", &bytes));
    expect_error(rig.recorder.start(), code::UNKNOWN);
}

/// The recording is private.
#[test]
fn the_temporary_file_is_unlinked_and_private() {
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
    tracks[0].wait_buffers(1);
}

#[test]
fn a_temporary_directory_that_is_removed() {
    let (rig, tracks) = rig();
    let folder = rig.folder.path().join("goes");
    rig.recorder
        .set_property("temp-dir", folder.to_str().unwrap());
    rig.recorder.set_property("max-memory", 100_000u64);
    rig.recorder.start().unwrap();
    let (error, bytes) = wait_failed(&rig, 1);
    assert!(error.contains(folder.to_str().unwrap()), "{error}");
    tracks[0].wait_buffers(20);
    rig.assert_no_bus_error();
    assert!(media::frames(&rig.save("blob.mkv", &bytes)) > 3);
}

#[test]
fn a_read_only_disk() {
    let Some(disk) = SmallFilesystem::mount("size=400k,ro") else {
        return;
    };
    let (rig, tracks) = rig();
    let path = disk.path().join("a.mkv");
    rig.recorder
        .set_property("location", path.to_str().unwrap());
    let error = expect_error(rig.recorder.start(), code::UNKNOWN);
    assert!(error.message().contains(path.to_str().unwrap()), "{error}");
    tracks[0].wait_buffers(5);
}
