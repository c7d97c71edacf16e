//! Rings of parts: `max-files`, `max-total-bytes` and `min-free-space`, observed from outside.

mod common;

use common::app::{App, DEADLINE, holds_within, temp_location};
use common::disk::SmallFilesystem;
use common::judge::{parts, samples};
use gst::prelude::*;
use gstmediarecorder::ErrorCode;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const MILLI: u64 = 1_000_000;

/// Watches a directory continuously.
struct Watcher {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Maximum number of files, and of bytes in them.
    files: usize,
    bytes: u64,
    looks: usize,
    /// Minimum number of free bytes.
    free: Option<u64>,
}

impl Watcher {
    fn of(folder: &Path) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (is_over, folder) = (over.clone(), folder.to_owned());
        let thread = std::thread::spawn(move || {
            let mut seen = Seen::default();
            while !is_over.load(Ordering::SeqCst) {
                seen.look(&folder);
                std::thread::sleep(Duration::from_millis(1));
            }
            seen
        });
        Watcher { over, thread }
    }

    fn end(self) -> Seen {
        self.over.store(true, Ordering::SeqCst);
        let seen = self.thread.join().unwrap();
        assert!(seen.looks > 50, "{seen:?}");
        seen
    }
}

impl Seen {
    fn look(&mut self, folder: &Path) {
        let all: Vec<(PathBuf, u64)> = std::fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| {
                let entry = entry.ok()?;
                Some((entry.path(), entry.metadata().ok()?.len()))
            })
            .collect();
        let system = rustix::fs::statvfs(folder).unwrap();
        let free = system.f_bavail * system.f_frsize;
        self.free = Some(self.free.map_or(free, |before| before.min(free)));
        // Sizes that were read one after the other are only consistent if all files still exist.
        if all.iter().any(|(path, _)| !path.exists()) {
            return;
        }
        let is_named = |path: &&PathBuf| {
            !path
                .file_name()
                .unwrap()
                .as_encoded_bytes()
                .starts_with(b".")
        };
        let files = all.iter().map(|(path, _)| path).filter(is_named).count();
        self.files = self.files.max(files);
        self.bytes = self.bytes.max(all.iter().map(|(_, size)| size).sum());
        self.looks += 1;
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn stop_reason(app: &App) -> String {
    let events = app.events();
    let stop = events.iter().rfind(|event| event.name == "stop").unwrap();
    stop.fields.get("reason").unwrap()
}

/// Samples of the parts that still exist: the last ones, without a gap.
fn the_last_are_whole(app: &App, reported: &[parts::Part], least: usize) {
    let there: Vec<_> = reported
        .iter()
        .filter(|part| part.path.exists())
        .cloned()
        .collect();
    assert!(there.len() >= least, "{there:?}");
    assert_eq!(
        there.first().unwrap().number as usize,
        reported.len() - there.len()
    );
    for part in &there {
        let audio = parts::audio(std::slice::from_ref(part), None).unwrap();
        let lasts = audio.len() as u64 * 1_000 / 48;
        assert!(
            lasts.abs_diff(part.duration / 1_000) < 100,
            "{part:?}: {lasts}"
        );
    }
    assert_eq!(app.warnings(), Vec::<String>::new());
}

#[test]
fn max_files_counts_over_all_recordings() {
    keeps(3, &["ring-05.wav", "ring-06.wav", "ring-07.wav"]);
}

#[test]
fn the_file_being_written_counts() {
    keeps(1, &["ring-07.wav"]);
}

/// Writes eight files, of which these stay.
fn keeps(max_files: u32, last: &[&str]) {
    let (directory, path) = temp_location("ring-%02d.wav");
    std::fs::write(directory.path().join("ring-00.wav"), "older").unwrap();
    std::fs::write(directory.path().join("ring-77.wav"), "of another").unwrap();
    let app = App::new("audio/wav", &path);
    app.recorder.set_property("max-files", max_files);
    app.recorder.set_property("blob-messages", true);
    let (_source, clock) = app.counted(true, None);
    app.set_state(gst::State::Playing);
    assert!(holds_within(DEADLINE, || clock.has_started()));
    let watcher = Watcher::of(directory.path());
    for recording in 1..=2 {
        app.act("start");
        for _ in 0..3 {
            app.wait_running_time(app.running_time() + 60 * MILLI);
            app.act("split-now");
        }
        app.wait_running_time(app.running_time() + 60 * MILLI);
        app.act("stop");
        app.wait_for("stop", recording);
    }
    // And that of another recorder.
    assert_eq!(watcher.end().files, last.len() + 1);
    let expected = [last, &["ring-77.wav"]].concat();
    assert_eq!(names(directory.path()), expected);
    // All have been reported, and their blobs are still readable.
    let reported = parts::from_messages(&app);
    assert_eq!(reported.len(), 8);
    let events = app.events();
    let blobs = events.iter().filter(|event| event.name == "data-available");
    for (blob, part) in blobs.zip(&reported) {
        let sample = blob.fields.get::<gst::Sample>("sample").unwrap();
        let bytes = sample.buffer().unwrap().map_readable().unwrap();
        assert_eq!(bytes.len() as u64, part.size);
        let copy = directory.path().join("copy.wav");
        std::fs::write(&copy, &bytes).unwrap();
        let part = parts::Part {
            path: copy,
            ..part.clone()
        };
        let audio = parts::audio(&[part], None).unwrap();
        assert!(audio.samples.len() > 1_000);
    }
}

/// As fast as possible, and live.
#[test]
fn max_total_bytes_is_never_exceeded() {
    for (live, limit, buffers) in [(false, 2_000_000, 4_000), (true, 500_000, 400)] {
        let (directory, path) = temp_location("ring-%02d.wav");
        let app = App::new("audio/wav", &path);
        app.recorder.set_property("max-total-bytes", limit);
        app.recorder.set_property("autostart", true);
        let (_source, _) = app.counted(live, Some(buffers));
        let watcher = Watcher::of(directory.path());
        app.set_state(gst::State::Playing);
        app.wait_for("stop", 1);
        let seen = watcher.end();
        println!("{seen:?} of {limit}");
        assert!(seen.bytes <= limit, "{seen:?}");
        assert!(seen.bytes > limit * 3 / 4, "{seen:?}");
        let reported = parts::from_messages(&app);
        assert!(reported.len() > 3, "{reported:?}");
        assert!(
            reported.iter().all(|part| part.size <= limit / 2),
            "{reported:?}"
        );
        the_last_are_whole(&app, &reported, 2);
        assert_eq!(stop_reason(&app), "end-of-stream");
    }
}

/// One of all containers with both kinds of track, which write an index at the end.
#[test]
fn max_total_bytes_includes_an_index_at_the_end() {
    let (directory, path) = temp_location("ring-%02d.mp4");
    let app = App::new("video/mp4;codecs=\"avc1,opus\"", &path);
    let limit = 260_000u64;
    app.recorder.set_property("max-total-bytes", limit);
    app.recorder.set_property("autostart", true);
    let (_source, _) = app.counted(false, Some(1_500));
    let video = app.source(&format!(
        "videotestsrc num-buffers=450 ! {}",
        common::app::SMALL
    ));
    let _log = common::signal::tag::video(&video);
    video.link(&app.pad("video_%u")).unwrap();
    let watcher = Watcher::of(directory.path());
    app.set_state(gst::State::Playing);
    app.wait_for("stop", 1);
    let seen = watcher.end();
    println!("{seen:?} of {limit}");
    assert!(seen.bytes <= limit, "{seen:?}");
    let reported = parts::from_messages(&app);
    assert!(reported.len() > 3, "{reported:?}");
    let there: Vec<_> = reported.iter().filter(|part| part.path.exists()).collect();
    assert!(!there.is_empty());
    for part in there {
        common::judge::file::decodes_without_errors(&part.path).unwrap();
    }
    assert_eq!(app.warnings(), Vec::<String>::new());
}

#[test]
fn without_deletable_files_a_recording_ends_at_min_free_space() {
    let Some(disk) = SmallFilesystem::mount("size=2m") else {
        return;
    };
    let least = 1_000_000u64;
    let app = App::new("audio/wav", &disk.path().join("%d.wav"));
    app.recorder.set_property("min-free-space", least);
    let (_source, clock) = app.counted(true, None);
    app.set_state(gst::State::Playing);
    assert!(holds_within(DEADLINE, || clock.has_started()));
    let watcher = Watcher::of(disk.path());
    app.act("start");
    app.wait_for("stop", 1);
    let seen = watcher.end();
    println!("{seen:?}");
    assert!(seen.free.unwrap() >= least, "{seen:?}");
    assert!(seen.free.unwrap() < least + 400_000, "{seen:?}");
    assert_eq!(stop_reason(&app), "min-free-space");
    let kept = app.kept();
    let reported = parts::from_messages(&app);
    assert_eq!(reported.len(), 1, "{reported:?}");
    parts::check_contiguous(&reported, kept.total(), 100_000.0).unwrap();
    let audio = parts::audio(&reported, None).unwrap();
    samples::check_continuous(&audio, &kept, &clock).unwrap();
    // Less is free than required.
    let filler = vec![7u8; 400_000];
    std::fs::write(disk.path().join("filler"), filler).unwrap();
    let error = app
        .recorder
        .emit_by_name::<Option<glib::Error>>("start", &[]);
    let error = error.expect("an error");
    assert!(error.matches(ErrorCode::Unknown), "{error}");
    assert!(error.message().contains("min-free-space"), "{error}");
    assert_eq!(names(disk.path()), ["0.wav", "filler"]);
}

#[test]
fn the_oldest_files_are_deleted_at_min_free_space() {
    let Some(disk) = SmallFilesystem::mount("size=3m") else {
        return;
    };
    let least = 1_000_000u64;
    let app = App::new("audio/wav", &disk.path().join("%02d.wav"));
    for (name, value) in [("min-free-space", least), ("max-size-bytes", 400_000)] {
        app.recorder.set_property(name, value);
    }
    app.recorder.set_property("max-files", 100u32);
    app.recorder.set_property("autostart", true);
    // Twenty times as fast as live.
    let source = app.source(&format!(
        "audiotestsrc num-buffers=2500 samplesperbuffer=480 ! {} ! identity sleep-time=500",
        common::app::STEREO
    ));
    source.link(&app.pad("audio_%u")).unwrap();
    let watcher = Watcher::of(disk.path());
    app.set_state(gst::State::Playing);
    app.wait_for("stop", 1);
    let seen = watcher.end();
    println!("{seen:?}");
    assert!(seen.free.unwrap() >= least, "{seen:?}");
    assert_eq!(stop_reason(&app), "end-of-stream");
    let reported = parts::from_messages(&app);
    assert!(reported.len() > 10, "{reported:?}");
    the_last_are_whole(&app, &reported, 3);
}

/// The first recording is on another file system, on which there is enough space.
#[test]
fn min_free_space_deletes_nothing_elsewhere() {
    let Some(disk) = SmallFilesystem::mount("size=2m") else {
        return;
    };
    let (elsewhere, path) = temp_location("%02d.wav");
    let least = 1_000_000u64;
    let app = App::new("audio/wav", &path);
    for (name, value) in [("min-free-space", least), ("max-size-bytes", 200_000)] {
        app.recorder.set_property(name, value);
    }
    app.recorder.set_property("max-files", 100u32);
    // Twenty times as fast as live.
    let source = app.source(&format!(
        "audiotestsrc samplesperbuffer=480 ! {} ! identity sleep-time=500",
        common::app::STEREO
    ));
    source.link(&app.pad("audio_%u")).unwrap();
    app.set_state(gst::State::Playing);
    app.act("start");
    app.wait_for("part", 3);
    app.act("stop");
    app.wait_for("stop", 1);
    let kept = names(elsewhere.path());
    assert!(kept.len() > 3, "{kept:?}");
    let location = disk.path().join("%02d.wav");
    app.recorder.set_property("location", location.to_str());
    let watcher = Watcher::of(disk.path());
    app.act("start");
    app.wait_for("part", kept.len() + 12);
    app.act("stop");
    app.wait_for("stop", 2);
    let seen = watcher.end();
    println!("{seen:?}");
    assert!(seen.free.unwrap() >= least, "{seen:?}");
    assert_eq!(names(elsewhere.path()), kept);
    assert!(names(disk.path()).len() > 2, "{:?}", names(disk.path()));
    assert_eq!(stop_reason(&app), "stop");
}

#[test]
fn max_total_bytes_requires_parts() {
    let (_directory, path) = temp_location("one.wav");
    let app = App::new("audio/wav", &path);
    app.recorder.set_property("max-total-bytes", 1_000_000u64);
    let (_source, clock) = app.counted(true, None);
    app.set_state(gst::State::Playing);
    assert!(holds_within(DEADLINE, || clock.has_started()));
    let error = app
        .recorder
        .emit_by_name::<Option<glib::Error>>("start", &[]);
    let error = error.expect("an error");
    assert!(error.matches(ErrorCode::NotSupported), "{error}");
    assert!(error.message().contains("max-total-bytes"), "{error}");
    assert!(!path.exists());
}
