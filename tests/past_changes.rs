//! The past with changes while it is kept: pads that are added and released, full disks, kills.

mod common;

use common::app::{App, DEADLINE, SMALL, holds_within};
use common::disk::SmallFilesystem;
use common::judge::kept::Kept;
use common::judge::{decode, file, position, samples, sync, whole};
use common::past::{PreRecorder, begins, kept};
use common::settings::{Rng, long, skipped};
use common::signal::tag;
use gst::prelude::*;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;
const MILLI: u64 = 1_000_000;
/// Maximum keyframe interval of raw video.
const KEYS: u64 = SECOND / 2;
const FRAME: u64 = SECOND / 30;
const WEBM: &str = "video/webm;codecs=\"vp8,opus\"";

#[test]
fn a_pre_recorded_recording_continues_in_parts() {
    let past = 1500 * MILLI;
    let mut bench = PreRecorder::new(WEBM, "webm", past);
    bench
        .app
        .recorder
        .set_property("max-size-time", 700 * MILLI);
    bench.noise();
    bench.raw_video();
    bench.play();
    let ((_, after), kept) = bench.record(2315 * MILLI, 400 * MILLI);
    assert!(kept.intervals[0].0 + past <= after, "{kept:?}");
    bench.judge_parts(&kept, 3, whole::WEBM as u64);
}

#[test]
fn several_cameras_start_together() {
    let past = 1200 * MILLI;
    let mut bench = PreRecorder::new(WEBM, "webm", past);
    bench.noise();
    bench.raw_video();
    let first = bench.sources_log();
    bench.raw_video();
    bench.play();
    let ((before, after), kept) = bench.record(2315 * MILLI, 300 * MILLI);
    let begin = kept.intervals[0].0;
    assert!(
        begin + past <= after && begin + past + KEYS + FRAME >= before,
        "{kept:?}"
    );
    let path = bench.path(0, "webm");
    for (track, sources) in [(0, first.lock().unwrap().clone()), (1, bench.sources())] {
        let frames = sync::frame_times(&decode::video(&path, track).unwrap()).unwrap();
        // The other's keyframe may be later than the cut: until then it has no frame, or has that one slightly
        // early.
        let (begins, _) = frames[0];
        assert!(begins < (KEYS + FRAME) as f64, "{track}: {begins}");
        let (second, source) = frames[1];
        let expected = source - begin as f64;
        assert!(
            (second - expected).abs() < 2.0 * whole::WEBM,
            "{track}: {second}, expected {expected}"
        );
        let late = Kept {
            intervals: vec![(source.round() as u64, kept.intervals[0].1)],
        };
        let shown = frames.iter().skip(1);
        let shown: Vec<_> = shown.map(|(at, what)| (at - second, *what)).collect();
        sync::check_frames(&shown, &late, &sources, 2.0 * whole::WEBM, 0).unwrap();
    }
    file::decodes_without_errors(&path).unwrap();
}

#[test]
fn pads_are_added_and_released_while_inactive() {
    let mut bench = PreRecorder::new(WEBM, "webm", 1500 * MILLI);
    bench.noise();
    bench.raw_video();
    bench.play();
    bench.rest(900 * MILLI);
    // One more, whose past starts now.
    let late = bench
        .app
        .source(&format!("videotestsrc is-live=true ! {SMALL}"));
    let frames = tag::video(&late);
    let added = bench.app.pad("video_%u");
    late.link(&added).unwrap();
    late.parent_element()
        .unwrap()
        .sync_state_with_parent()
        .unwrap();
    assert!(holds_within(DEADLINE, || !frames
        .lock()
        .unwrap()
        .is_empty()));
    bench.rest(900 * MILLI);
    bench.save();
    let both = bench.stopped(1).remove(0);
    // It is released, together with its past.
    late.parent_element()
        .unwrap()
        .set_state(gst::State::Null)
        .unwrap();
    late.unlink(&added).unwrap();
    bench.app.recorder.release_request_pad(&added);
    bench.rest(200 * MILLI);
    bench.save();
    let one = bench.stopped(2).remove(1);
    bench.app.set_state(gst::State::Null);
    let codecs = |number| {
        let mut codecs = file::codecs(&bench.path(number, "webm")).unwrap();
        codecs.sort();
        codecs
    };
    assert_eq!(codecs(0), ["opus", "vp8", "vp8"]);
    assert_eq!(codecs(1), ["opus", "vp8"]);
    assert!(kept(&both).total() >= 1500 * MILLI, "{both:?}");
    file::decodes_without_errors(&bench.path(0, "webm")).unwrap();
    whole::webm(&bench.path(1, "webm"), &kept(&one), &bench.sources(), 0).unwrap();
}

/// Then all pads are kept from within the request, with the new one among them.
#[test]
fn a_pad_is_kept_once_if_its_pad_added_starts_the_past() {
    let mut bench = PreRecorder::new(WEBM, "webm", 0);
    bench.noise();
    bench.play();
    let recorder = &bench.app.recorder;
    recorder.connect_pad_added(|recorder, _| {
        recorder.set_property("pre-record-time", 700 * MILLI);
    });
    bench.raw_video();
    bench.app.pipeline.sync_children_states().unwrap();
    let frames = bench.sources_log();
    assert!(holds_within(DEADLINE, || !frames
        .lock()
        .unwrap()
        .is_empty()));
    bench.rest(1800 * MILLI);
    bench.save();
    let stop = bench.stopped(1).remove(0);
    bench.app.set_state(gst::State::Null);
    bench.judge_webm(0, &stop);
    assert_eq!(bench.app.warnings(), Vec::<String>::new());
}

#[test]
fn other_codecs_are_recorded_from_the_past() {
    for (mime_type, extension) in [
        ("video/ogg;codecs=\"theora,vorbis\"", "ogv"),
        ("video/x-matroska;codecs=\"avc1,flac\"", "mkv"),
        ("video/mp4;codecs=\"avc1,mp4a.40.2\"", "mp4"),
    ] {
        let past = 1200 * MILLI;
        let mut bench = PreRecorder::new(mime_type, extension, past);
        let supported = bench
            .app
            .recorder
            .emit_by_name::<bool>("is-type-supported", &[&mime_type]);
        if !supported {
            skipped(&format!("the past in {mime_type}: not installed"));
            continue;
        }
        bench.noise();
        bench.raw_video();
        bench.play();
        let ((_, after), kept) = bench.record(2315 * MILLI, 300 * MILLI);
        assert!(kept.intervals[0].0 + past <= after, "{mime_type}: {kept:?}");
        let path = bench.path(0, extension);
        let frames = sync::frame_times(&decode::video(&path, 0).unwrap()).unwrap();
        // Theora counts frames.
        let tolerance = if extension == "ogv" {
            FRAME as f64
        } else {
            whole::WEBM
        };
        sync::check_frames(&frames, &kept, &bench.sources(), tolerance, 0)
            .unwrap_or_else(|err| panic!("{mime_type}: {err} {:?}", bench.app.warnings()));
        let audio = decode::audio(&path, 0, Some(48_000)).unwrap();
        let horizon = kept.intervals[0].1 as f64 + 1e9;
        let places = position::find(&audio, horizon).unwrap();
        position::check(&places, &kept, 1.1e6).unwrap_or_else(|err| panic!("{mime_type}: {err}"));
        file::decodes_without_errors(&path).unwrap();
        assert_eq!(bench.app.warnings(), Vec::<String>::new());
    }
}

/// Neither a flush of one track nor its new segment affects the past.
#[test]
fn a_flush_does_not_affect_the_past() {
    let mut bench = PreRecorder::new("audio/wav", "wav", SECOND);
    bench.counted();
    let source = bench
        .app
        .recorder
        .static_pad("audio_0")
        .unwrap()
        .peer()
        .unwrap();
    let count = Mutex::new(0);
    source.add_probe(gst::PadProbeType::BUFFER, move |pad, _| {
        let mut count = count.lock().unwrap();
        *count += 1;
        if *count == 80 {
            let segment = pad.sticky_event::<gst::event::Segment>(0).unwrap();
            pad.push_event(gst::event::FlushStart::new());
            pad.push_event(gst::event::FlushStop::new(false));
            pad.push_event(segment);
        }
        gst::PadProbeReturn::Ok
    });
    bench.play();
    bench.rest(1500 * MILLI);
    bench.save();
    let stop = bench.stopped(1).remove(0);
    bench.app.set_state(gst::State::Null);
    let kept = kept(&stop);
    assert!(kept.total() >= SECOND, "{kept:?}");
    let audio = decode::audio(&bench.path(0, "wav"), 0, None).unwrap();
    samples::check_continuous(&audio, &kept, bench.clock()).unwrap();
}

/// At any instant, from raw and from encoded video, in any order: never later than requested, video from the
/// keyframe at or before, audio exact to the sample.
#[test]
fn recordings_start_at_any_requested_instant() {
    let past = 700 * MILLI;
    let rounds = if long() { 500 } else { 6 };
    for is_raw in [true, false] {
        let mut bench = PreRecorder::new(WEBM, "webm", past);
        bench.noise();
        if is_raw {
            bench.raw_video();
        } else {
            bench.camera();
        }
        bench.play();
        bench.rest(2315 * MILLI);
        let mut chance = Rng::from_env();
        let mut calls = Vec::new();
        for _ in 0..rounds {
            bench.rest(chance.below(300) * MILLI);
            calls.push(bench.start());
            bench.rest(chance.below(3) * 25 * MILLI);
            bench.app.act("stop");
        }
        let stops = bench.stopped(rounds);
        let begins = begins(&bench.app);
        bench.app.set_state(gst::State::Null);
        let keys = bench.keys.lock().unwrap().clone();
        for (number, ((before, after), begin)) in calls.iter().zip(begins).enumerate() {
            assert!(begin + past <= *after, "{number}: {begin} for {after}");
            if is_raw {
                assert!(
                    begin + past + KEYS + FRAME >= *before,
                    "{number}: {begin} for {before}"
                );
            } else {
                let expected = |call: u64| keys.iter().rfind(|key| **key + past <= call);
                let is_due = expected(*before) == Some(&begin) || expected(*after) == Some(&begin);
                assert!(is_due, "{number}: {begin} for {before}, {keys:?}");
            }
            assert_eq!(kept(&stops[number]).intervals[0].0, begin);
        }
        let files: Vec<_> = (0..)
            .zip(&stops)
            .map(|(number, stop)| (bench.path(number, "webm"), kept(stop)))
            .collect();
        let sources = &bench.sources();
        std::thread::scope(|scope| {
            for files in files.chunks(rounds.div_ceil(2)) {
                scope.spawn(move || {
                    for (path, kept) in files {
                        whole::webm(path, kept, sources, 1)
                            .unwrap_or_else(|err| panic!("{path:?}, raw {is_raw}: {err}"));
                    }
                });
            }
        });
    }
}

/// A save for which the disk has no space loses nothing of the past: the next one, elsewhere, has it.
#[test]
fn a_save_without_space_loses_nothing() {
    let Some(disk) = SmallFilesystem::mount("size=64k") else {
        skipped("a past that is saved to a full disk: mount is not allowed");
        return;
    };
    let past = 1500 * MILLI;
    let mut bench = PreRecorder::new("audio/wav", "wav", past);
    bench.counted();
    bench.play();
    bench.rest(2 * SECOND);
    let elsewhere = bench.path(1, "wav");
    let full = disk.path().join("full.wav");
    bench
        .app
        .recorder
        .set_property("location", full.to_str().unwrap());
    bench.save();
    bench.app.wait_for("stop", 1);
    bench
        .app
        .recorder
        .set_property("location", elsewhere.to_str().unwrap());
    let (before, after) = bench.save();
    let stop = bench.stopped(2).remove(1);
    bench.app.set_state(gst::State::Null);
    let kept = kept(&stop);
    let begin = kept.intervals[0].0;
    assert!(
        begin + past + MILLI >= before && begin + past <= after + MILLI,
        "{kept:?}"
    );
    whole::wav(&elsewhere, &kept, bench.clock()).unwrap();
    let failed = bench
        .app
        .events()
        .iter()
        .filter(|event| event.name == "error")
        .count();
    assert_eq!(failed, 1, "the first could not be saved");
}

/// A recording that fails while paused does not leave the past paused.
#[test]
fn the_past_goes_on_when_a_paused_recording_fails() {
    let Some(disk) = SmallFilesystem::mount("size=64k") else {
        skipped("a paused recording on a full disk: mount is not allowed");
        return;
    };
    let past = 1500 * MILLI;
    // Within the past of the failed recording, and later.
    for later in [300 * MILLI, 2 * SECOND] {
        let mut bench = PreRecorder::new("audio/wav", "wav", past);
        bench.counted();
        bench.play();
        bench.rest(2 * SECOND);
        let elsewhere = bench.path(1, "wav");
        let full = disk.path().join("full.wav");
        let recorder = &bench.app.recorder;
        recorder.set_property("location", full.to_str().unwrap());
        bench.start();
        bench.app.act("pause");
        bench.app.wait_for("stop", 1);
        recorder.set_property("location", elsewhere.to_str().unwrap());
        bench.rest(later);
        let (_, after) = bench.start();
        bench.rest(400 * MILLI);
        let (before, _) = bench.app.act("stop");
        let stop = bench.stopped(2).remove(1);
        bench.app.set_state(gst::State::Null);
        let kept = kept(&stop);
        let (first, last) = (kept.intervals[0], kept.intervals[kept.intervals.len() - 1]);
        assert!(first.0 + past <= after + MILLI, "{later}: {kept:?}");
        assert!(
            last.0 <= after && last.1 + MILLI >= before,
            "{later}: {kept:?}"
        );
        whole::wav(&elsewhere, &kept, bench.clock()).unwrap();
    }
}

/// The size of a file without media, and slightly more.
const HEAD: u64 = (64 << 10) + 2000;
/// Pass to the process that will be killed where to save.
const WHERE: &str = "MEDIARECORDER_PAST_FOLDER";

/// Saves the past repeatedly until killed; prints when it does so.
#[test]
fn saves_until_killed() {
    let Some(folder) = std::env::var_os(WHERE) else {
        return;
    };
    let location = std::path::Path::new(&folder).join("%d.webm");
    let app = App::new(WEBM, &location);
    app.recorder.set_property("pre-record-time", 800 * MILLI);
    app.recorder.set_property("max-memory", 100_000u64);
    let (_clock, _pictures) = app.live();
    app.set_state(gst::State::Playing);
    app.wait_running_time(app.running_time() + 900 * MILLI);
    println!("kept");
    for _ in 0..1000 {
        app.act("start");
        app.act("stop");
        app.wait_running_time(app.running_time() + 40 * MILLI);
    }
}

#[test]
fn saves_of_a_killed_process_play() {
    if std::env::var_os(WHERE).is_some() {
        return;
    }
    let mut chance = Rng::from_env();
    let mut played = 0;
    for _ in 0..if long() { 100 } else { 5 } {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "saves_until_killed", "--nocapture"])
            .env(WHERE, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut lines = lines.map(Result::unwrap);
        assert!(lines.any(|line| line.ends_with("kept")));
        std::thread::sleep(Duration::from_millis(chance.below(400)));
        child.kill().unwrap();
        child.wait().unwrap();
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let path = entry.unwrap().path();
            // One that has just started has its header, with space for chapters, or not even that.
            if std::fs::metadata(&path).unwrap().len() < HEAD {
                continue;
            }
            file::decodes_until_truncation(&path).unwrap_or_else(|err| panic!("{path:?}: {err}"));
            played += 1;
        }
    }
    assert!(played > 0);
}
