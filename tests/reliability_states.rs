//! Actions and state changes from unexpected places: no deadlock, and every recording ends in order.

mod common;

use common::harness::{Kind, Recorder, Rig, State, holds_within, media, wait_for};
use common::order::{self, Event, OrderModel};
use gst::prelude::*;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

const ACTIONS: [&str; 5] = ["start", "pause", "resume", "stop", "request-data"];

/// Asserts the order of all events so far, and that every recording has ended.
#[track_caller]
fn assert_order(seen: &Arc<Mutex<Vec<Event>>>) -> u64 {
    let seen = seen.lock().unwrap();
    let model = OrderModel::of(&seen).unwrap();
    assert!(!model.recording, "no end: {seen:?}");
    model.recordings
}

/// Runs `what` in a separate thread and panics if it takes longer than `limit`.
#[track_caller]
fn within<R: Send + 'static>(limit: Duration, what: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, result) = mpsc::channel();
    std::thread::spawn(move || {
        let _ = done.send(what());
    });
    result.recv_timeout(limit).expect("in time")
}

/// Ends an active recording and waits until there are no more events.
fn settle(rig: &Rig, seen: &Arc<Mutex<Vec<Event>>>) {
    wait_for("an end", || {
        if rig.recorder.recording_state() != State::Inactive {
            let _ = rig.recorder.stop();
        }
        let seen = seen.lock().unwrap();
        let count = |what: &Event| seen.iter().filter(|s| *s == what).count();
        count(&Event::Start) > 0
            && count(&Event::Start) == count(&Event::Stop)
            && rig.recorder.recording_state() == State::Inactive
    });
}

#[test]
fn any_action_from_any_handler() {
    for signal in [
        "on-start",
        "on-pause",
        "on-resume",
        "on-data-available",
        "on-stop",
        "notify::state",
        "notify::mime-type",
        "encoder-setup",
    ] {
        let (rig, tracks) = Rig::live(1, 0);
        let seen = order::record_events(&rig.recorder);
        let next = AtomicUsize::new(0);
        // Some handlers are called by the actions that they call: the list ends.
        rig.recorder.connect(signal, false, move |args| {
            let recorder: gst::Element = args[0].get().unwrap();
            let n = next.fetch_add(1, Ordering::SeqCst);
            if n < 10 {
                let _ = recorder.act(ACTIONS[n % 5]);
            }
            None
        });
        for _ in 0..4 {
            for action in ACTIONS {
                let _ = rig.recorder.act(action);
                tracks[0].wait_buffers(2);
            }
        }
        settle(&rig, &seen);
        rig.set_state(gst::State::Null);
        assert!(assert_order(&seen) >= 1, "{signal}");
        rig.assert_no_bus_error();
    }
}

#[test]
fn any_action_from_probes_on_the_recorders_own_pads() {
    for mask in [
        gst::PadProbeType::BUFFER,
        gst::PadProbeType::QUERY_BOTH,
        gst::PadProbeType::EVENT_BOTH,
    ] {
        let (rig, tracks) = Rig::live(1, 1);
        let seen = order::record_events(&rig.recorder);
        let inside = AtomicBool::new(false);
        let next = AtomicUsize::new(0);
        let weak = rig.recorder.downgrade();
        tracks[0].pad.add_probe(mask, move |_, _| {
            // An action sends an upstream event through this very pad.
            if let Some(recorder) = weak.upgrade()
                && !inside.swap(true, Ordering::SeqCst)
            {
                let n = next.fetch_add(1, Ordering::SeqCst);
                let _ = recorder.act(ACTIONS[n % 5]);
                inside.store(false, Ordering::SeqCst);
            }
            gst::PadProbeReturn::Ok
        });
        for _ in 0..3 {
            for action in ACTIONS {
                let recorder = rig.recorder.clone();
                within(Duration::from_secs(20), move || {
                    let _ = recorder.act(action);
                });
                tracks[1].wait_buffers(2);
            }
        }
        let pipeline = rig.pipeline.clone();
        within(Duration::from_secs(30), move || {
            pipeline.set_state(gst::State::Null)
        })
        .unwrap();
        assert_order(&seen);
        rig.assert_no_bus_error();
    }
}

#[test]
fn null_from_any_handler_does_not_wait_for_itself() {
    for signal in [
        "on-start",
        "on-data-available",
        "on-stop",
        "notify::state",
        "encoder-setup",
    ] {
        let (rig, tracks) = Rig::live(1, 1);
        let seen = order::record_events(&rig.recorder);
        let pipeline = rig.pipeline.downgrade();
        let (took, taken) = mpsc::channel();
        let once = AtomicBool::new(false);
        rig.recorder.connect(signal, false, move |_| {
            if !once.swap(true, Ordering::SeqCst) {
                let before = Instant::now();
                let _ = pipeline.upgrade().unwrap().set_state(gst::State::Null);
                took.send(before.elapsed()).unwrap();
            }
            None
        });
        // If the handler is called by the action, the state is NULL before the action has returned.
        let _ = rig.recorder.start();
        if signal != "notify::state" {
            let _ = holds_within(Duration::from_millis(200), || false);
            let _ = rig.recorder.stop();
        }
        let took = taken.recv_timeout(Duration::from_secs(30));
        let took = took.unwrap_or_else(|_| panic!("{signal} did not return"));
        assert!(
            took < Duration::from_secs(4),
            "{signal}: NULL took {took:?}"
        );
        drop(tracks);
        wait_for("the last event", || {
            seen.lock().unwrap().last() == Some(&Event::Stop)
        });
        assert_eq!(assert_order(&seen), 1, "{signal}");
    }
}

#[test]
fn null_while_the_encoder_is_built() {
    let (rig, _tracks) = Rig::live(1, 1);
    let seen = order::record_events(&rig.recorder);
    let (entered, building) = mpsc::channel();
    let entered = Mutex::new(entered);
    rig.recorder.connect("encoder-setup", false, move |_| {
        let _ = entered.lock().unwrap().send(());
        std::thread::sleep(Duration::from_millis(300));
        None
    });
    rig.recorder.start().unwrap();
    building.recv_timeout(Duration::from_secs(20)).unwrap();
    let pipeline = rig.pipeline.clone();
    within(Duration::from_secs(20), move || {
        pipeline.set_state(gst::State::Null)
    })
    .unwrap();
    assert_eq!(assert_order(&seen), 1);
}

#[test]
fn null_after_a_refused_start_does_not_wait() {
    let (rig, _tracks) = Rig::live(1, 0);
    let location = rig.path("no/such/folder/a.webm");
    rig.recorder.set_property("location", &location);
    rig.recorder.start().expect_err("no folder");
    let before = Instant::now();
    rig.set_state(gst::State::Null);
    assert!(
        before.elapsed() < Duration::from_secs(3),
        "{:?}",
        before.elapsed()
    );
}

#[test]
fn removed_from_a_running_pipeline() {
    let (rig, tracks) = Rig::live(1, 1);
    let seen = order::record_events(&rig.recorder);
    let path = rig.path("removed.webm");
    rig.recorder.set_property("location", &path);
    rig.recorder.start().unwrap();
    tracks[1].wait_buffers(20);
    rig.pipeline.remove(&rig.recorder).unwrap();
    rig.recorder.set_state(gst::State::Null).unwrap();
    assert_eq!(assert_order(&seen), 1);
    media::assert_plays(&path);
    let length = media::probe(&path).duration.unwrap();
    assert!(length > 0.4, "{length}");
}

#[test]
fn paused_and_playing_with_another_clock_while_recording() {
    let (rig, tracks) = Rig::live(1, 1);
    let path = rig.path("paused.webm");
    rig.recorder.set_property("location", &path);
    rig.recorder.start().unwrap();
    for round in 0..3 {
        tracks[1].wait_buffers(10);
        rig.set_state(gst::State::Paused);
        std::thread::sleep(Duration::from_millis(100));
        if round == 1 {
            // Another clock has another time.
            let clock = glib::Object::builder::<gst::SystemClock>()
                .property("clock-type", gst::ClockType::Realtime)
                .build();
            rig.pipeline.use_clock(Some(&clock));
        }
        rig.set_state(gst::State::Playing);
    }
    tracks[1].wait_buffers(10);
    rig.recorder.stop().unwrap();
    rig.wait_recording(1);
    rig.assert_quiet_bus();
    media::assert_plays(&path);
    let stop = rig.messages.all();
    let stop = stop.iter().find(|e| e.kind == Kind::Stop).unwrap();
    media::assert_lasts(&path, stop.time("duration") as f64 / 1e9, 0.1);
    // 40 frames and those in between: the time in PAUSED is not in the file.
    let length = media::probe(&path).duration.unwrap();
    assert!((1.0..6.0).contains(&length), "{length}");
}

#[test]
fn the_last_reference_is_dropped_while_events_wait() {
    let (rig, tracks) = Rig::live(1, 0);
    let weak = rig.recorder.downgrade();
    let (enter, entered) = mpsc::channel();
    let (leave, left) = mpsc::channel::<()>();
    let (enter, left) = (Mutex::new(enter), Mutex::new(left));
    rig.on(Kind::Start, move |_| {
        enter.lock().unwrap().send(()).unwrap();
        let _ = left.lock().unwrap().recv_timeout(Duration::from_secs(20));
    });
    rig.recorder.set_property("stop-timeout", 300_000_000u64);
    rig.recorder.start().unwrap();
    entered.recv_timeout(Duration::from_secs(20)).unwrap();
    rig.set_state(gst::State::Null);
    drop(tracks);
    drop(rig);
    leave.send(()).unwrap();
    wait_for("the element's end", || weak.upgrade().is_none());
}
