//! A long recording in one blob: it does not stay in memory, and its blob is available without being read.
//!
//! A tenth of an hour of encoded video at 8 Mbit/s; the whole hour with `MEDIARECORDER_LONG`.

mod coded;
mod common;

use common::harness::{PushTrack, Recorder, make_recorder, media, wait_for};
use gst::prelude::*;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Bytes per frame, 30 per second: 8 Mbit/s.
const SIZE: usize = 33_333;
/// Permitted growth of memory.
const MOST: u64 = 32 << 20;

/// A line of one of this process' files in /proc, in its own unit.
fn figure(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/self/{file}")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in {text}"));
    let number = line.trim_start_matches(':').split_whitespace().next();
    number.unwrap().parse().unwrap()
}

/// Resident memory in bytes: anonymous, and of mapped files.
fn resident() -> [u64; 2] {
    ["RssAnon", "RssFile"].map(|name| figure("status", name) * 1024)
}

/// How much resident memory exceeds its initial size, in bytes.
fn grown(before: [u64; 2]) -> [u64; 2] {
    let now = resident();
    [0, 1].map(|n| now[n].saturating_sub(before[n]))
}

/// Records `seconds`; `location`: to a file, else to a temporary one.
fn record(seconds: u64, folder: &Path, location: Option<&Path>) {
    let recorder = make_recorder();
    let pipeline = gst::Pipeline::new();
    pipeline.add(&recorder).unwrap();
    recorder.set_property("mime-type", "video/webm;codecs=vp8");
    recorder.set_property("temp-dir", folder.to_str().unwrap());
    recorder.set_property("location", location.map(|path| path.to_str().unwrap()));
    // When the blob arrives: bytes read so far, and memory.
    let arrived = Arc::new(Mutex::new(Vec::new()));
    let seen = arrived.clone();
    recorder.connect("on-data-available", false, move |values| {
        let sample = values[1].get::<gst::Sample>().unwrap();
        let figures = (figure("io", "rchar"), resident(), Instant::now());
        seen.lock().unwrap().push((sample, figures));
        None
    });
    let failed = Arc::new(Mutex::new(None));
    let seen = failed.clone();
    recorder.connect("on-error", false, move |values| {
        *seen.lock().unwrap() = Some(values[1].get::<glib::Error>().unwrap());
        None
    });

    let stream = coded::video("vp8enc deadline=1 keyframe-max-dist=60", 60);
    let feed = PushTrack::of_caps(&recorder, "video_%u", stream.caps.clone());
    pipeline.set_state(gst::State::Playing).unwrap();
    recorder.start().unwrap();
    let mut before = None;
    let mut most = [0, 0];
    let started = Instant::now();
    for second in 0..seconds {
        for n in second * 30..(second + 1) * 30 {
            let coded = &stream.buffers[(n % 60) as usize];
            // A decoder ignores what follows the frame.
            let mut bytes = coded.map_readable().unwrap().to_vec();
            assert!(bytes.len() < SIZE);
            bytes.resize(SIZE, n as u8);
            let mut buffer = gst::Buffer::from_mut_slice(bytes);
            let fields = buffer.get_mut().unwrap();
            fields.set_flags(coded.flags() & gst::BufferFlags::DELTA_UNIT);
            let at = |n: u64| gst::ClockTime::from_nseconds(n * coded::SECOND / 30);
            fields.set_pts(at(n));
            fields.set_duration(at(n + 1) - at(n));
            feed.push(buffer);
        }
        feed.wait_taken();
        if second == 10 {
            // Ten megabytes: the maximum kept in memory.
            before = Some(resident());
        }
        if let Some(before) = before {
            let grown = grown(before);
            most = [0, 1].map(|n: usize| most[n].max(grown[n]));
        }
    }
    let before = before.unwrap();
    println!(
        "{seconds} s recorded in {:?}: own memory grew by {} KiB at the most, that of files by {} KiB",
        started.elapsed(),
        most[0] >> 10,
        most[1] >> 10
    );
    assert!(most[0] + most[1] < MOST, "memory grew by {most:?} bytes");

    let (read, stopped) = (figure("io", "rchar"), Instant::now());
    recorder.stop().unwrap();
    wait_for("the blob", || !arrived.lock().unwrap().is_empty());
    assert!(failed.lock().unwrap().is_none(), "{failed:?}");
    let (sample, (read_then, then, when)) = arrived.lock().unwrap().remove(0);
    let read = read_then - read;
    let grown = [0, 1].map(|n: usize| then[n].saturating_sub(before[n]));
    println!(
        "the blob was there {:?} after stop, with {} KiB read and {} KiB more in memory",
        when - stopped,
        read >> 10,
        (grown[0] + grown[1]) >> 10
    );
    // If the file system does not share blocks, it is copied, once.
    let copied = seconds * 30 * SIZE as u64;
    assert!(read < copied + copied / 10, "{read} bytes have been read");
    assert!(grown[0] + grown[1] < MOST, "memory grew by {grown:?} bytes");

    let buffer = sample.buffer().unwrap();
    assert!(buffer.size() as u64 > seconds * 30 * SIZE as u64);
    // All of it, as players see it: one memory that maps the file.
    assert_eq!(buffer.n_memory(), 1);
    let map = buffer.map_readable().unwrap();
    let path = folder.join("blob.webm");
    std::fs::write(&path, &*map).unwrap();
    drop(map);
    if let Some(location) = location {
        let sizes = [location, &path].map(|path| std::fs::metadata(path).unwrap().len());
        assert_eq!(sizes[0], sizes[1]);
    }
    let path = path.to_str().unwrap();
    media::assert_lasts(path, seconds as f64, 0.04);
    media::assert_finalised(path);
    let (out, errors) = media::decoded_from(path, (seconds - 2) as f64, "framemd5");
    assert_eq!(errors, "");
    let frames = String::from_utf8(out).unwrap();
    let frames = frames.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(frames.count(), 60, "the last two seconds");
    pipeline.set_state(gst::State::Null).unwrap();
}

/// A single test, since memory is that of the whole process.
#[test]
fn an_hour_does_not_stay_in_memory() {
    let folder = tempfile::tempdir_in(std::env::var_os("TMPDIR").unwrap_or("/var/tmp".into()));
    let folder = folder.unwrap();
    record(
        360,
        folder.path(),
        Some(&folder.path().join("recording.webm")),
    );
    let long = std::env::var_os("MEDIARECORDER_LONG").is_some();
    record(if long { 3_600 } else { 360 }, folder.path(), None);
}
