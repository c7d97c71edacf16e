//! Nothing leaks: objects, threads, file descriptors, memory.

mod common;

use common::harness::{Kind, Recorder, Rig, init, make_recorder, wait_for};
use common::order::{self, Event};
use common::settings::long;
use gst::prelude::*;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Passes the scenario to the process that runs it under the tracer.
const SCENARIO: &str = "MEDIARECORDER_LEAK_SCENARIO";

type Scenario = (&'static str, fn());

const SCENARIOS: [Scenario; 9] = [
    ("nothing", || drop(make_recorder())),
    ("no recording", || drop(Rig::live(1, 1))),
    ("recorded", || {
        let (rig, tracks) = Rig::live(1, 1);
        rig.recorder.set_property("timeslice", 100u32);
        rig.recorder.start().unwrap();
        tracks[1].wait_buffers(5);
        rig.recorder.pause().unwrap();
        tracks[1].wait_buffers(3);
        rig.recorder.resume().unwrap();
        rig.recorder.request_data().unwrap();
        tracks[1].wait_buffers(5);
        rig.recorder.stop().unwrap();
        rig.wait_recording(1);
    }),
    ("down in mid recording", || {
        let (rig, tracks) = Rig::live(1, 1);
        rig.recorder.set_property("location", rig.path("a.mp4"));
        rig.recorder.start().unwrap();
        tracks[1].wait_buffers(10);
        rig.set_state(gst::State::Null);
    }),
    ("stopped at once", || {
        let (rig, _tracks) = Rig::live(1, 1);
        rig.recorder.start().unwrap();
        rig.recorder.stop().unwrap();
        rig.wait_recording(1);
    }),
    ("refused", || {
        let (rig, _tracks) = Rig::live(1, 0);
        rig.recorder.set_property("location", "/nonexistent/a.webm");
        rig.recorder.start().unwrap_err();
        rig.recorder.set_property("location", None::<&str>);
        rig.recorder.set_property("mime-type", "no/such");
        rig.recorder.start().unwrap_err();
    }),
    ("failed", || {
        let (rig, tracks) = Rig::live(1, 1);
        rig.recorder.connect("encoder-setup", false, |args| {
            let encoder: gst::Element = args[2].get().unwrap();
            let pad = encoder.static_pad("sink").unwrap();
            pad.add_probe(gst::PadProbeType::BUFFER, |pad, info| {
                let encoder = pad.parent_element().unwrap();
                gst::element_error!(encoder, gst::StreamError::Encode, ["on purpose"]);
                info.flow_res = Err(gst::FlowError::Error);
                gst::PadProbeReturn::Handled
            });
            None
        });
        rig.recorder.start().unwrap();
        rig.wait_recording(1);
        tracks[0].wait_buffers(3);
    }),
    ("tracks changed", || {
        let (rig, tracks) = Rig::live(1, 1);
        rig.recorder.start().unwrap();
        tracks[1].wait_buffers(5);
        tracks[0].remove(&rig.recorder);
        rig.wait_recording(1);
        drop(rig.feed_audio());
    }),
    ("spilled, through src, to the end", || {
        let rig = Rig::new();
        rig.recorder.set_property("autostart", true);
        rig.recorder.set_property("max-memory", 1000u64);
        let sink = gst::ElementFactory::make("filesink")
            .property("location", rig.path("a.webm"))
            .build()
            .unwrap();
        rig.pipeline.add(&sink).unwrap();
        rig.recorder.link(&sink).unwrap();
        let _tracks = [rig.file_audio(50), rig.file_video(15)];
        rig.play();
        rig.wait_event(Kind::Stop, 1);
        rig.bus.wait("EOS", |all| {
            all.iter()
                .any(|m| matches!(m, common::harness::BusMessage::Eos))
        });
    }),
];

/// Runs the scenario named in the environment, if any. Leaks are reported when the process exits.
#[test]
fn one_scenario() {
    let Ok(name) = std::env::var(SCENARIO) else {
        return;
    };
    let scenario = SCENARIOS.iter().find(|(of, _)| *of == name).unwrap().1;
    init();
    scenario();
}

#[test]
fn no_object_outlives_any_scenario() {
    for (name, _) in SCENARIOS {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "one_scenario", "--nocapture"])
            .env(SCENARIO, name)
            .env("GST_TRACERS", "leaks")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{name}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// That the tracer would report it.
#[test]
fn a_leak_would_be_detected() {
    if std::env::var_os(SCENARIO).is_some() {
        init();
        std::mem::forget(make_recorder());
        return;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_leak_would_be_detected"])
        .env(SCENARIO, "leak")
        .env("GST_TRACERS", "leaks")
        .output()
        .unwrap();
    assert!(!output.status.success());
}

/// Resources of this process: threads, file descriptors, anonymous memory in bytes.
fn held() -> (usize, usize, u64) {
    let count = |path| std::fs::read_dir(path).unwrap().count();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    (
        count("/proc/self/task"),
        count("/proc/self/fd"),
        kib.unwrap() * 1024,
    )
}

/// In its own process: other tests' threads are not counted.
#[test]
fn many_cycles_leak_nothing() {
    if std::env::var_os(SCENARIO).is_none() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "many_cycles_leak_nothing", "--nocapture"])
            .env(SCENARIO, "cycles")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        eprintln!("{said}");
        return;
    }
    init();
    let folder = tempfile::tempdir().unwrap();
    let pipeline = gst::parse::launch(
        "audiotestsrc is-live=true samplesperbuffer=480 ! audio/x-raw,rate=48000 \
         ! mediarecorder name=rec videotestsrc is-live=true \
         ! video/x-raw,width=64,height=48,framerate=30/1 ! rec.",
    )
    .unwrap()
    .downcast::<gst::Pipeline>()
    .unwrap();
    let recorder = pipeline.by_name("rec").unwrap();
    recorder.set_property("location", folder.path().join("%d.webm").to_str().unwrap());
    // The bus queues no message.
    pipeline
        .bus()
        .unwrap()
        .set_sync_handler(|_, _| gst::BusSyncReply::Drop);
    let seen: Arc<Mutex<Vec<Event>>> = order::record_events(&recorder);
    pipeline.set_state(gst::State::Playing).unwrap();
    for pad in recorder.sink_pads() {
        wait_for("caps", || pad.current_caps().is_some());
    }
    let cycles = if long() { 2000 } else { 200 };
    let mut at_first = (0, 0, 0);
    for cycle in 0..cycles {
        recorder.start().unwrap();
        if cycle % 10 == 0 {
            std::thread::sleep(Duration::from_millis(60));
        }
        recorder.stop().unwrap();
        wait_for("the end", || {
            let mut seen = seen.lock().unwrap();
            let over = seen.last() == Some(&Event::Stop);
            if over {
                assert!(!seen.contains(&Event::Error));
                seen.clear();
            }
            over
        });
        if cycle == cycles / 4 {
            at_first = held();
        }
    }
    let idle = |before: usize| wait_for("threads", || held().0 <= before);
    idle(at_first.0 + 1);
    let at_last = held();
    eprintln!("{cycles} cycles: {at_first:?}, {at_last:?}");
    assert!(
        at_last.1 <= at_first.1 + 1,
        "file descriptors: {at_first:?} {at_last:?}"
    );
    let grown = at_last.2.saturating_sub(at_first.2);
    // 10 kB per cycle would be a leak; allocator overhead is not.
    assert!(grown < 16 << 20, "{grown} bytes more");
    pipeline.set_state(gst::State::Null).unwrap();
}

#[test]
fn a_kept_blob_keeps_nothing_else_alive() {
    let (blobs, weak) = {
        let (rig, tracks) = Rig::live(1, 1);
        rig.recorder.set_property("timeslice", 100u32);
        rig.recorder.set_property("location", rig.path("a.webm"));
        rig.recorder.start().unwrap();
        tracks[1].wait_buffers(20);
        rig.recorder.stop().unwrap();
        let blobs: Vec<gst::Sample> = rig
            .wait_recording(1)
            .into_iter()
            .filter_map(|event| event.sample)
            .collect();
        (blobs, rig.recorder.downgrade())
    };
    wait_for("the recorder's end", || weak.upgrade().is_none());
    assert!(blobs.len() > 3);
    let size: usize = blobs.iter().map(|blob| blob.buffer().unwrap().size()).sum();
    let read: usize = blobs
        .iter()
        .map(|blob| blob.buffer().unwrap().map_readable().unwrap().len())
        .sum();
    assert_eq!(size, read);
}
