//! Events: their order, their threads, what a handler may do, and the fields of the messages.

mod common;

use common::harness::feed::advance_all;
use common::harness::log::{check_recording, kinds, recordings};
use common::harness::media::assert_lasts;
use common::harness::{
    BusMessage, Event, Kind, QUIET, Recorder, Rig, State, assert_error, code, make_recorder,
    wait_for,
};
use gst::prelude::*;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

const SECOND: gst::ClockTime = gst::ClockTime::SECOND;

/// A gate at which handlers block until the test opens it.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let (open, opened) = &*self.0;
        drop(
            opened
                .wait_while(open.lock().unwrap(), |open| !*open)
                .unwrap(),
        );
    }
}

/// Records the threads that push into `pad`.
fn streaming_threads(pad: &gst::Pad) -> Arc<Mutex<Vec<ThreadId>>> {
    let threads = Arc::<Mutex<Vec<ThreadId>>>::default();
    let note = threads.clone();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        let mut note = note.lock().unwrap();
        let this = std::thread::current().id();
        if !note.contains(&this) {
            note.push(this);
        }
        gst::PadProbeReturn::Ok
    });
    threads
}

/// Records thread and value of every `notify::state`.
fn follow_state(recorder: &gst::Element) -> Arc<Mutex<Vec<(State, ThreadId)>>> {
    let seen = Arc::<Mutex<Vec<(State, ThreadId)>>>::default();
    let note = seen.clone();
    recorder.connect_notify(Some("state"), move |recorder, _| {
        let state = recorder.recording_state();
        note.lock()
            .unwrap()
            .push((state, std::thread::current().id()));
    });
    seen
}

#[test]
fn events_are_emitted_from_the_recorders_own_thread() {
    let (rig, tracks) = Rig::live(1, 1);
    let streaming: Vec<_> = tracks.iter().map(|t| streaming_threads(&t.pad)).collect();
    rig.recorder.set_property("timeslice", 100u32);
    for action in ["start", "pause", "resume", "request-data"] {
        rig.recorder.act(action).expect(action);
    }
    rig.wait_event(Kind::Data, 3);
    rig.recorder.stop().expect("stop");
    let events = rig.wait_recording(1);

    let thread = events[0].thread;
    assert!(events.iter().all(|e| e.thread == thread), "one thread");
    assert_ne!(thread, std::thread::current().id(), "not the caller's");
    for threads in streaming {
        assert!(!threads.lock().unwrap().contains(&thread), "not a stream's");
    }
}

#[test]
fn notify_state_is_emitted_in_the_calling_thread_before_the_action_returns() {
    let (rig, _tracks) = Rig::live(1, 1);
    let seen = follow_state(&rig.recorder);
    let here = std::thread::current().id();
    let mut expected = Vec::new();
    for (action, state) in [
        ("start", State::Recording),
        ("pause", State::Paused),
        ("resume", State::Recording),
        ("stop", State::Inactive),
    ] {
        rig.recorder.act(action).expect(action);
        expected.push((state, here));
        assert_eq!(*seen.lock().unwrap(), expected, "after {action}");
    }
    rig.wait_recording(1);
    assert_eq!(*seen.lock().unwrap(), expected, "and none at the end");
}

#[test]
fn events_are_emitted_after_notify_state_handlers_return() {
    let (rig, _tracks) = Rig::live(1, 0);
    let heard = Arc::<Mutex<Vec<&'static str>>>::default();
    let note = heard.clone();
    rig.recorder.connect_notify(Some("state"), move |_, _| {
        // Long enough for any event to overtake it.
        std::thread::sleep(Duration::from_millis(150));
        note.lock().unwrap().push("state");
    });
    for (kind, name) in [
        (Kind::Start, "start"),
        (Kind::Pause, "pause"),
        (Kind::Resume, "resume"),
        (Kind::Stop, "stop"),
    ] {
        let note = heard.clone();
        rig.on(kind, move |_| note.lock().unwrap().push(name));
    }
    for (action, kind) in [
        ("start", Kind::Start),
        ("pause", Kind::Pause),
        ("resume", Kind::Resume),
        ("stop", Kind::Stop),
    ] {
        rig.recorder.act(action).expect(action);
        rig.wait_event(kind, 1);
    }
    wait_for("the handler of on-stop", || {
        heard.lock().unwrap().len() == 8
    });
    assert_eq!(
        *heard.lock().unwrap(),
        [
            "state", "start", "state", "pause", "state", "resume", "state", "stop"
        ]
    );
}

#[test]
fn an_action_in_a_notify_state_handler_does_not_reorder_events() {
    let (rig, _tracks) = Rig::live(1, 0);
    let heard = Arc::<Mutex<Vec<&'static str>>>::default();
    rig.recorder.connect_notify(Some("state"), |recorder, _| {
        if recorder.recording_state() == State::Recording {
            recorder.pause().expect("pause");
        }
    });
    let note = heard.clone();
    rig.recorder.connect_notify(Some("state"), move |_, _| {
        std::thread::sleep(Duration::from_millis(150));
        note.lock().unwrap().push("state");
    });
    for (kind, name) in [(Kind::Start, "start"), (Kind::Pause, "pause")] {
        let note = heard.clone();
        rig.on(kind, move |_| note.lock().unwrap().push(name));
    }
    rig.recorder.start().expect("start");
    wait_for("the handler of on-pause", || {
        heard.lock().unwrap().contains(&"pause")
    });
    let heard = heard.lock().unwrap().clone();
    // GObject merges a notify within a notify.
    assert_eq!(heard, ["state", "start", "pause"]);
}

#[test]
fn on_stop_follows_notify_state_on_state_changes_too() {
    let (rig, _tracks) = Rig::live(1, 0);
    rig.recorder.start().expect("start");
    rig.wait_event(Kind::Start, 1);
    let heard = Arc::<Mutex<Vec<&'static str>>>::default();
    let note = heard.clone();
    rig.recorder.connect_notify(Some("state"), move |_, _| {
        std::thread::sleep(Duration::from_millis(150));
        note.lock().unwrap().push("state");
    });
    let note = heard.clone();
    rig.on(Kind::Stop, move |_| note.lock().unwrap().push("stop"));
    rig.set_state(gst::State::Ready);
    assert_eq!(*heard.lock().unwrap(), ["state", "stop"]);
}

#[test]
fn properties_that_change_with_the_state_are_notified() {
    let rates = ["audio-bits-per-second", "video-bits-per-second"];
    let (rig, _tracks) = Rig::live(1, 0);
    rig.recorder.set_property("bits-per-second", 1_000_000u32);
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let note = seen.clone();
    rig.recorder.connect_notify(None, move |_, spec| {
        note.lock().unwrap().push(spec.name().to_owned());
    });
    let has = |names: &[&str]| {
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        let missing = names.iter().find(|name| !seen.iter().any(|n| n == *name));
        assert!(missing.is_none(), "{missing:?} is not among {seen:?}");
    };
    rig.recorder.start().expect("start");
    assert_eq!(rates.map(|name| rig.recorder.number(name)), [1_000_000, 0]);
    has(&rates);
    rig.wait_event(Kind::Start, 1);
    assert!(rig.recorder.mime_type().contains("codecs"));
    has(&["mime-type"]);
    rig.recorder.stop().expect("stop");
    assert_eq!(rig.recorder.mime_type(), "");
    assert_eq!(
        rates.map(|name| rig.recorder.number(name)),
        [125_000, 875_000]
    );
    has(&[&rates[..], &["mime-type"]].concat());
    rig.wait_recording(1);
}

#[test]
fn the_video_rate_is_the_default_again_without_video() {
    let (rig, tracks) = Rig::live(0, 1);
    let rate = "video-bits-per-second";
    wait_for("a smaller rate", || rig.recorder.number(rate) < 2_500_000);
    let notified = Arc::<Mutex<u32>>::default();
    let note = notified.clone();
    rig.recorder
        .connect_notify(Some(rate), move |_, _| *note.lock().unwrap() += 1);
    tracks[0].remove(&rig.recorder);
    assert_eq!(rig.recorder.number(rate), 2_500_000);
    assert_eq!(*notified.lock().unwrap(), 1);
}

#[test]
fn notify_state_of_an_automatic_end_is_emitted_in_the_event_thread() {
    let (rig, tracks) = Rig::live(1, 0);
    let seen = follow_state(&rig.recorder);
    rig.recorder.start().expect("start");
    tracks[0].wait_buffers(5);
    tracks[0].end();
    let events = rig.wait_recording(1);
    assert_eq!(
        seen.lock().unwrap().last(),
        Some(&(State::Inactive, events[0].thread))
    );
}

#[test]
fn refused_and_ineffective_actions_notify_nothing() {
    let (rig, _tracks) = Rig::live(1, 0);
    let seen = follow_state(&rig.recorder);
    rig.recorder.stop().expect_err("stop while inactive");
    rig.recorder.start().expect("start");
    rig.recorder.start().expect_err("start while recording");
    rig.recorder.resume().expect("resume while recording");
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[test]
fn a_handler_that_blocks_stalls_neither_recording_nor_pipeline() {
    let (rig, tracks) = Rig::live(1, 1);
    let gate = Gate::default();
    let (entered, at_gate) = (Gate::default(), gate.clone());
    let entered_in_handler = entered.clone();
    rig.on(Kind::Start, move |_| {
        entered_in_handler.open();
        at_gate.pass();
    });
    rig.recorder.start().expect("start");
    entered.pass();

    let before = rig.recorder.stat("bytes");
    tracks[0].wait_buffers(100);
    tracks[1].wait_buffers(30);
    wait_for("bytes are recorded beside the blocked handler", || {
        rig.recorder.stat("bytes") > before
    });
    rig.recorder.pause().expect("pause");
    rig.recorder.resume().expect("resume");
    tracks[1].wait_buffers(5);
    rig.recorder.stop().expect("stop");
    assert_eq!(rig.recorder.recording_state(), State::Inactive);
    assert_eq!(rig.signals.kinds(), [Kind::Start], "still in its handler");

    gate.open();
    let events = rig.wait_recording(1);
    assert_eq!(
        kinds(&events),
        [
            Kind::Start,
            Kind::Pause,
            Kind::Resume,
            Kind::Data,
            Kind::Stop
        ]
    );
    let (_, recorded) = check_recording(&events);
    assert!(recorded >= SECOND, "{recorded} recorded beside the handler");
    rig.assert_quiet_bus();
}

/// Once a recording has ended before its on-start, `mime-type` no longer refers to it, and not to the next one
/// yet.
#[test]
fn mime_type_is_actual_from_the_recordings_own_on_start() {
    let (rig, tracks) = Rig::live(1, 0);
    rig.recorder.set_property("mime-type", "audio/webm");
    let gate = Gate::default();
    let at_gate = gate.clone();
    rig.on(Kind::Start, move |_| at_gate.pass());
    for _ in 0..2 {
        rig.recorder.start().expect("start");
        tracks[0].wait_buffers(10);
        rig.recorder.stop().expect("stop");
    }
    rig.recorder.start().expect("start");
    wait_for("the third recording's bytes", || {
        rig.recorder.stat("bytes") > 0
    });
    gate.open();
    rig.wait_event(Kind::Start, 3);
    let types: Vec<_> = (1..=3)
        .map(|n| rig.wait_event(Kind::Start, n).mime_type)
        .collect();
    let actual = "audio/webm;codecs=opus";
    assert_eq!(types[1..], ["audio/webm", actual]);
    assert_eq!(rig.recorder.mime_type(), actual);
}

#[test]
fn a_handler_may_call_every_action() {
    let (rig, _tracks) = Rig::live(1, 1);
    for kind in Kind::ALL {
        rig.on(kind, |recorder| {
            // Whether it is refused does not matter here: each call has to return.
            let _ = recorder.request_data();
            let _ = recorder.resume();
            let _ = recorder.number("timeslice");
            let _ = recorder.stat("blobs");
            let _ = recorder.supports("video/webm");
        });
    }
    rig.on(Kind::Pause, |recorder| {
        let _ = recorder.stop();
    });
    rig.recorder.start().expect("start");
    rig.recorder.pause().expect("pause");
    let events = rig.wait_recording(1);
    check_recording(&events);
    assert_eq!(events.last().map(|e| e.kind), Some(Kind::Stop));
}

#[test]
fn a_handler_may_shut_the_pipeline_down_and_events_still_follow() {
    let (rig, _tracks) = Rig::live(1, 1);
    let pipeline = rig.pipeline.downgrade();
    rig.on(Kind::Start, move |_| {
        if let Some(pipeline) = pipeline.upgrade() {
            pipeline.set_state(gst::State::Null).expect("NULL");
        }
    });
    rig.recorder.start().expect("start");
    let events = rig.wait_recording(1);
    assert_eq!(kinds(&events), [Kind::Start, Kind::Data, Kind::Stop]);
    check_recording(&events);
    assert_eq!(rig.recorder.current_state(), gst::State::Null);
}

#[test]
fn on_stops_handler_may_start_the_next_recording() {
    let (rig, _tracks) = Rig::live(1, 0);
    let left = Mutex::new(2);
    rig.on(Kind::Stop, move |recorder| {
        let mut left = left.lock().unwrap();
        if *left > 0 {
            *left -= 1;
            recorder.start().expect("start from on-stop");
        }
    });
    rig.on(Kind::Start, |recorder| recorder.stop().expect("stop"));
    rig.recorder.start().expect("start");
    rig.wait_event(Kind::Stop, 3);
    rig.signals.nothing_within(QUIET);
    for events in recordings(&rig.signals.all()) {
        assert_eq!(kinds(&events), [Kind::Start, Kind::Data, Kind::Stop]);
    }
}

#[test]
fn all_events_of_a_recording_precede_those_of_the_next() {
    let (rig, _tracks) = Rig::live(1, 1);
    const RECORDINGS: usize = 5;
    for _ in 0..RECORDINGS {
        for action in ["start", "pause", "resume", "stop"] {
            rig.recorder.act(action).expect(action);
        }
    }
    rig.wait_event(Kind::Stop, RECORDINGS);
    rig.signals.nothing_within(QUIET);
    let all = recordings(&rig.signals.all());
    assert_eq!(all.len(), RECORDINGS);
    for events in all {
        assert_eq!(
            kinds(&events),
            [
                Kind::Start,
                Kind::Pause,
                Kind::Resume,
                Kind::Data,
                Kind::Stop
            ]
        );
        check_recording(&events);
    }
}

/// The names of a message's fields, with the type of each.
fn fields(event: &Event) -> BTreeSet<(String, glib::Type)> {
    let fields = event.fields.as_ref().expect("an event of the bus");
    fields
        .iter()
        .map(|(name, value)| (name.to_string(), value.type_()))
        .collect()
}

fn documented(kind: Kind, with_sample: bool) -> BTreeSet<(String, glib::Type)> {
    let (numbers, strings): (&[&str], &[&str]) = match kind {
        Kind::Start => (&[], &["mime-type", "location"]),
        Kind::Pause | Kind::Resume | Kind::Error => (&[], &[]),
        Kind::Data => (&["size", "offset", "timecode", "duration"], &["mime-type"]),
        Kind::Stop => (&["duration", "size"], &["location"]),
    };
    let mut all: BTreeSet<_> = numbers
        .iter()
        .map(|name| (name.to_string(), u64::static_type()))
        .chain(
            strings
                .iter()
                .map(|name| (name.to_string(), String::static_type())),
        )
        .collect();
    all.insert(("running-time".to_owned(), u64::static_type()));
    if kind == Kind::Error {
        all.insert(("error".to_owned(), glib::Error::static_type()));
    }
    if kind == Kind::Data {
        all.insert(("part".to_owned(), u32::static_type()));
    }
    if kind == Kind::Stop {
        all.insert(("reason".to_owned(), String::static_type()));
        all.insert(("intervals".to_owned(), gst::Array::static_type()));
    }
    if kind == Kind::Data && with_sample {
        all.insert(("sample".to_owned(), gst::Sample::static_type()));
    }
    all
}

#[test]
fn messages_have_exactly_the_documented_fields() {
    for with_sample in [false, true] {
        let (rig, _tracks) = Rig::live(1, 1);
        rig.recorder.set_property("blob-messages", with_sample);
        for action in ["start", "pause", "resume", "request-data"] {
            rig.recorder.act(action).expect(action);
        }
        rig.wait_event(Kind::Data, 1);
        let _new = rig.live_audio();
        rig.wait_recording(1);
        let messages = rig.messages.wait("the message of stop", |m| {
            m.last().is_some_and(|e| e.kind == Kind::Stop)
        });
        for kind in Kind::ALL {
            assert!(messages.iter().any(|m| m.kind == kind), "{kind:?} was seen");
        }
        for message in &messages {
            assert_eq!(
                fields(message),
                documented(message.kind, with_sample),
                "of {message:?}"
            );
        }
    }
}

#[test]
fn cuts_of_non_live_input_are_at_the_largest_running_time_received() {
    let rig = Rig::new();
    let path = rig.path("cuts.webm");
    rig.recorder.set_property("location", &path);
    rig.play();
    let (audio, video) = (rig.feed_audio(), rig.feed_video());
    let step = || advance_all(&[&audio, &video], SECOND);
    for action in ["start", "pause", "resume", "stop"] {
        step();
        rig.recorder.act(action).expect(action);
    }
    rig.wait_recording(1);
    let messages = rig.messages.wait("the message of stop", |m| {
        m.last().is_some_and(|e| e.kind == Kind::Stop)
    });
    let cut = |kind| {
        let message = messages.iter().find(|m| m.kind == kind);
        message.expect("each event once").time("running-time")
    };
    assert_eq!(cut(Kind::Start), SECOND.nseconds());
    assert_eq!(cut(Kind::Pause), 2 * SECOND.nseconds());
    assert_eq!(cut(Kind::Resume), 3 * SECOND.nseconds());
    assert_eq!(cut(Kind::Stop), 4 * SECOND.nseconds());

    let stop = messages.last().expect("stop");
    assert_eq!(stop.time("duration"), 2 * SECOND.nseconds());
    let size = std::fs::metadata(&path).expect("the file").len();
    assert_eq!(stop.time("size"), size);
    assert_eq!(stop.string("location").as_deref(), Some(path.as_str()));
    assert_eq!(
        messages[0].string("location").as_deref(),
        Some(path.as_str())
    );
    assert_eq!(rig.recorder.stat("duration"), 2 * SECOND.nseconds());
    assert_eq!(rig.recorder.stat("paused-duration"), SECOND.nseconds());
    assert_eq!(rig.recorder.stat("bytes"), size);
    assert_eq!(rig.recorder.stat("blobs"), 1);
}

#[test]
fn cuts_before_any_data_are_at_zero() {
    let rig = Rig::new();
    rig.play();
    let audio = rig.feed_audio();
    rig.recorder.start().expect("start");
    audio.advance(SECOND);
    rig.recorder.stop().expect("stop");
    let (bytes, recorded) = check_recording(&rig.wait_recording(1));
    assert_eq!(recorded, SECOND);
    assert_lasts(&rig.save("zero.webm", &bytes), 1.0, 0.05);
    let messages = rig.messages.wait("start", |m| !m.is_empty());
    assert_eq!(messages[0].time("running-time"), 0);
}

#[test]
fn start_before_any_caps_waits_for_them() {
    let rig = Rig::new();
    rig.play();
    let (audio, video) = (rig.late_audio(), rig.late_video());
    rig.recorder.start().expect("start");
    assert_eq!(rig.recorder.recording_state(), State::Recording);
    rig.signals.nothing_within(QUIET);
    advance_all(&[&audio, &video], SECOND);
    rig.wait_event(Kind::Start, 1);
    rig.recorder.stop().expect("stop");
    let (bytes, recorded) = check_recording(&rig.wait_recording(1));
    assert_eq!(recorded, SECOND);
    assert_lasts(&rig.save("late.webm", &bytes), 1.0, 0.05);
}

#[test]
fn cuts_of_live_input_are_at_the_running_time_of_the_call() {
    let (rig, tracks) = Rig::live(1, 1);
    let clock = || rig.recorder.current_running_time().expect("a clock runs");
    let mut calls = Vec::new();
    for (action, kind) in [
        ("start", Kind::Start),
        ("pause", Kind::Pause),
        ("resume", Kind::Resume),
        ("stop", Kind::Stop),
    ] {
        tracks[1].wait_buffers(3);
        let before = clock();
        rig.recorder.act(action).expect(action);
        calls.push((kind, before, clock()));
    }
    rig.wait_recording(1);
    let messages = rig.messages.wait("the message of stop", |m| {
        m.last().is_some_and(|e| e.kind == Kind::Stop)
    });
    let millisecond = gst::ClockTime::MSECOND;
    let mut cuts = Vec::new();
    for (kind, before, after) in calls {
        let message = messages.iter().find(|m| m.kind == kind);
        let cut = message.expect("each event once").time("running-time");
        let cut = gst::ClockTime::from_nseconds(cut);
        assert!(
            before <= cut + millisecond && cut <= after + millisecond,
            "{kind:?} at {cut}, called between {before} and {after}"
        );
        cuts.push(cut);
    }
    let recorded = (cuts[1] - cuts[0]) + (cuts[3] - cuts[2]);
    let reported = messages.last().expect("stop").time("duration");
    assert_eq!(reported, recorded.nseconds(), "duration is the difference");
}

#[test]
fn a_failed_recording_posts_a_warning() {
    let (rig, _tracks) = Rig::live(1, 0);
    rig.recorder.start().expect("start");
    rig.wait_event(Kind::Start, 1);
    let _new = rig.live_audio();
    rig.wait_recording(1);
    rig.bus.wait("a warning of the recorder", |all| {
        all.iter().any(|m| matches!(m, BusMessage::Warning { .. }))
    });
    rig.assert_no_bus_error();
    let messages = rig.messages.wait("mediarecorder-error", |m| {
        m.iter().any(|e| e.kind == Kind::Error)
    });
    let error = messages.iter().find_map(|m| m.error.clone());
    assert_error(&error.expect("the GError"), code::INVALID_MODIFICATION);
}

#[test]
fn a_failed_recording_with_autostart_posts_an_error() {
    let rig = Rig::new();
    rig.recorder.set_property("autostart", true);
    let _track = rig.live_audio();
    rig.play();
    rig.wait_event(Kind::Start, 1);
    let _new = rig.live_audio();
    rig.wait_recording(1);
    rig.bus.wait("an error of the recorder", |all| {
        all.iter().any(|m| matches!(m, BusMessage::Error { .. }))
    });
}

#[test]
fn encoder_setup_passes_each_tracks_encoder_before_it_runs() {
    let (rig, tracks) = Rig::live(1, 1);
    type Seen = (String, String, gst::State, ThreadId);
    let seen = Arc::<Mutex<Vec<Seen>>>::default();
    let note = seen.clone();
    rig.recorder.connect("encoder-setup", false, move |values| {
        let pad = values[1].get::<gst::Pad>().expect("the track's pad");
        let encoder = values[2].get::<gst::Element>().expect("the encoder");
        let factory = encoder.factory().expect("a factory").name().to_string();
        note.lock().unwrap().push((
            pad.name().to_string(),
            factory,
            encoder.current_state(),
            std::thread::current().id(),
        ));
        None
    });
    rig.recorder.start().expect("start");
    rig.wait_event(Kind::Start, 1);
    rig.recorder.stop().expect("stop");
    rig.wait_recording(1);

    let seen = seen.lock().unwrap();
    for track in &tracks {
        let name = track.pad.name();
        let (_, factory, state, thread) = seen
            .iter()
            .find(|(pad, ..)| *pad == name)
            .unwrap_or_else(|| panic!("no notify of {name}: {seen:?}"));
        assert!(factory.ends_with("enc"), "{factory} is an encoder");
        assert_eq!(*state, gst::State::Null);
        assert_ne!(*thread, std::thread::current().id());
    }
}

/// Runs `handle` for the encoder of each track before it starts.
fn on_encoder(rig: &Rig, handle: impl Fn(&gst::Element) + Send + Sync + 'static) {
    rig.recorder.connect("encoder-setup", false, move |values| {
        handle(&values[2].get::<gst::Element>().expect("the encoder"));
        None
    });
}

#[test]
fn an_encoder_that_keeps_failing_ends_the_recording_with_what_was_recorded() {
    let (rig, tracks) = Rig::live(1, 0);
    let encoder = Arc::<Mutex<Option<gst::Element>>>::default();
    let note = encoder.clone();
    on_encoder(&rig, move |encoder| {
        *note.lock().unwrap() = Some(encoder.clone());
    });
    rig.recorder.start().expect("start");
    rig.wait_event(Kind::Start, 1);
    tracks[0].wait_buffers(50);
    wait_for("some bytes", || rig.recorder.stat("bytes") > 0);
    // The replacements fail, too.
    wait_for("the end", || {
        let runs = |encoder: &mut gst::Element| encoder.current_state() == gst::State::Playing;
        if let Some(encoder) = encoder.lock().unwrap().take_if(runs) {
            gst::element_error!(encoder, gst::StreamError::Encode, ["broken on purpose"]);
        }
        rig.recorder.recording_state() == State::Inactive
    });

    let events = rig.wait_recording(1);
    assert_eq!(
        kinds(&events),
        [Kind::Start, Kind::Error, Kind::Data, Kind::Stop]
    );
    assert_error(events[1].error.as_ref().expect("a GError"), code::UNKNOWN);
    assert!(events[1..].iter().all(|e| e.state == State::Inactive));
    let (bytes, _) = check_recording(&events);
    assert!(!bytes.is_empty(), "what was recorded before is delivered");
    rig.bus.wait("a warning of the recorder", |all| {
        all.iter().any(|m| matches!(m, BusMessage::Warning { .. }))
    });
    rig.assert_no_bus_error();
    tracks[0].wait_buffers(10);
}

#[test]
fn a_drain_that_exceeds_stop_timeout_ends_with_unknown() {
    let (rig, tracks) = Rig::live(1, 0);
    rig.recorder
        .set_property("stop-timeout", (SECOND / 2).nseconds());
    let stuck = Arc::new(AtomicBool::new(false));
    let blocked = stuck.clone();
    on_encoder(&rig, move |encoder| {
        let blocked = blocked.clone();
        let pad = encoder.static_pad("src").expect("an encoder has a src pad");
        pad.add_probe(
            gst::PadProbeType::BUFFER | gst::PadProbeType::BLOCK,
            move |_, _| {
                if blocked.load(Ordering::SeqCst) {
                    gst::PadProbeReturn::Ok
                } else {
                    gst::PadProbeReturn::Pass
                }
            },
        );
    });
    rig.recorder.start().expect("start");
    rig.wait_event(Kind::Start, 1);
    tracks[0].wait_buffers(30);
    stuck.store(true, Ordering::SeqCst);
    tracks[0].wait_buffers(10);
    rig.recorder.stop().expect("stop");
    assert_eq!(rig.recorder.recording_state(), State::Inactive);
    let events = rig.wait_recording(1);
    assert_eq!(
        kinds(&events),
        [Kind::Start, Kind::Error, Kind::Data, Kind::Stop]
    );
    assert_error(events[1].error.as_ref().expect("a GError"), code::UNKNOWN);
    tracks[0].wait_buffers(10);
}

#[test]
fn a_recorder_without_handlers_records_nevertheless() {
    let pipeline = gst::Pipeline::new();
    let recorder = make_recorder();
    let source = gst::ElementFactory::make("audiotestsrc")
        .property("is-live", true)
        .build()
        .expect("audiotestsrc");
    pipeline.add_many([&source, &recorder]).expect("added");
    source.link(&recorder).expect("linked");
    pipeline.set_state(gst::State::Playing).expect("PLAYING");
    wait_for("a start", || recorder.start().is_ok());
    wait_for("bytes", || recorder.stat("bytes") > 0);
    recorder.stop().expect("stop");
    pipeline.set_state(gst::State::Null).expect("NULL");
    assert_eq!(recorder.recording_state(), State::Inactive);
}
