//! Debugging aids for users: log lines, graphs, and progress on the bus.

mod common;

use common::harness::media::run;
use common::harness::{Recorder, init, plugin};
use gst::prelude::*;
use std::path::Path;

/// The log of a recording at GST_DEBUG=mediarecorder:5, and the directory with its graphs.
fn logged() -> (String, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let line = "audiotestsrc num-buffers=30 ! rec.audio_0 \
                videotestsrc num-buffers=20 ! rec.video_0 \
                mediarecorder name=rec autostart=true location=take.webm";
    let (_, log) = run(plugin::command("gst-launch-1.0")
        .args(line.split_whitespace())
        .current_dir(folder.path())
        .env("GST_DEBUG", "mediarecorder:5")
        .env("GST_DEBUG_NO_COLOR", "1")
        .env("GST_DEBUG_DUMP_DOT_DIR", folder.path()));
    (log, folder)
}

#[test]
fn the_log_has_all_steps_in_order() {
    let (log, _folder) = logged();
    let mut rest = log.as_str();
    for part in [
        "<rec/recording0> Begins at the earliest buffer",
        "Track audio_0: not live",
        "The earliest buffer is at running time 0:00:00.000000000",
        "Track audio_0 goes through opusenc into",
        "Track video_0 goes through vp8enc into",
        "Ended after",
        "in take.webm",
    ] {
        let Some((_, after)) = rest.split_once(part) else {
            panic!("{part:?} is not where it belongs in\n{log}");
        };
        rest = after;
    }
    assert!(
        log.contains("Track video_0 has ended: 20 buffers received"),
        "{log}"
    );
    // A line or two for each step, not for each buffer.
    let lines = log
        .lines()
        .filter(|line| line.contains(" mediarecorder "))
        .count();
    assert!((10..60).contains(&lines), "{lines} lines:\n{log}");
}

/// Of an application that calls actions; and of one whose file cannot be created.
#[test]
fn every_action_is_logged_including_refused_ones() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/python/record.py");
    let story = |file: &str| {
        let output = plugin::command("/usr/bin/python3")
            .arg("-B")
            .arg(&script)
            .arg(folder.path().join(file))
            .env("GST_DEBUG", "mediarecorder:5")
            .env("GST_DEBUG_NO_COLOR", "1")
            .output()
            .expect("python3 runs");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let log = story("take.webm");
    let mut rest = log.as_str();
    for part in [
        "Start makes it Recording",
        "Begins at running time",
        "on-start: video/webm;codecs=vp8,opus, to ",
        "Pause makes it Paused",
        "Paused at running time",
        "on-pause",
        "Resume makes it Recording",
        "Resumed at running time",
        "on-resume",
        "Stop makes it Inactive",
        "Stopped at running time",
        "on-data-available: ",
        "on-stop: ",
    ] {
        let Some((_, after)) = rest.split_once(part) else {
            panic!("{part:?} is not where it belongs in\n{log}");
        };
        rest = after;
    }
    let log = story("nowhere/take.webm");
    assert!(log.contains("Start refused: "), "{log}");
}

#[test]
fn the_graphs_name_elements_after_their_tracks() {
    let (_, folder) = logged();
    let graph = |moment: &str| {
        let entries = std::fs::read_dir(folder.path()).expect("the folder");
        let ending = format!("mediarecorder-{moment}.dot");
        let mut paths = entries.map(|entry| entry.expect("an entry").path());
        let path = paths.find(|path| path.to_string_lossy().ends_with(&ending));
        let path = path.unwrap_or_else(|| panic!("no graph of the {moment}"));
        std::fs::read_to_string(path).expect("text")
    };
    for moment in ["start", "stop"] {
        let graph = graph(moment);
        for name in ["audio_0-encoder", "video_0-encoder", "video_0-videoscale"] {
            assert!(
                graph.contains(name),
                "{name} is not in the graph of the {moment}"
            );
        }
    }
}

/// The PROGRESS messages of a recording that is stopped, or fails.
fn progress(fail: bool) -> Vec<gst::ProgressType> {
    init();
    let pipeline = gst::parse::launch("audiotestsrc is-live=true ! mediarecorder name=rec");
    let pipeline = pipeline
        .expect("a pipeline")
        .downcast::<gst::Pipeline>()
        .expect("one");
    let recorder = pipeline.by_name("rec").expect("the recorder");
    let bus = pipeline.bus().expect("a bus");
    pipeline.set_state(gst::State::Playing).expect("it plays");
    pipeline
        .state(gst::ClockTime::from_seconds(30))
        .0
        .expect("it plays");
    recorder.start().expect("it starts");
    if fail {
        recorder.request_pad_simple("audio_%u").expect("a pad");
    } else {
        recorder.stop().expect("it stops");
    }
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let wanted = [gst::MessageType::Progress];
        let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(30), &wanted);
        let message = message.expect("progress in time");
        if let gst::MessageView::Progress(progress) = message.view() {
            let (kind, code, text) = progress.get();
            assert_eq!(code, "finalise");
            assert!(!text.is_empty());
            seen.push(kind);
        }
    }
    pipeline.set_state(gst::State::Null).expect("it ends");
    seen
}

#[test]
fn draining_posts_progress() {
    assert_eq!(
        progress(false),
        [gst::ProgressType::Start, gst::ProgressType::Complete]
    );
}

#[test]
fn a_failed_recording_also_completes_its_progress() {
    assert_eq!(
        progress(true),
        [gst::ProgressType::Start, gst::ProgressType::Error]
    );
}
