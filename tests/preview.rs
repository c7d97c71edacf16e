//! A live preview next to the recorder is not affected by recordings.

mod common;

use common::app::{App, DEADLINE, holds_within};
use common::judge::file;
use common::thread_time::ThreadTime;
use gst::prelude::*;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const MILLI: u64 = 1_000_000;
const ROUNDS: usize = 50;
/// One frame, 30 per second.
const INTERVAL: Duration = Duration::from_nanos(1_000_000_000 / 30);
const PICTURES: &str =
    "videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=30/1";

/// Effects of recordings that a preview could notice.
#[derive(Default)]
struct Preview {
    /// Timestamps of the frames that have reached its sink.
    shown: Vec<gst::ClockTime>,
    /// How long the source was blocked in the recorder each time: during that time it produces no frames.
    slept: Vec<Duration>,
    /// How often its sink received a different latency, by which it would display frames earlier or later.
    latencies: usize,
}

#[test]
fn fifty_recordings_do_not_affect_the_preview() {
    let directory = tempfile::tempdir().unwrap();
    let app = App::new(
        "video/webm;codecs=\"vp8,opus\"",
        &directory.path().join("round-%05d.webm"),
    );
    let preview = preview_branch(&app);
    let audio = app.source(
        "audiotestsrc is-live=true samplesperbuffer=480 ! audio/x-raw,rate=48000,channels=2",
    );
    audio.link(&app.pad("audio_%u")).unwrap();
    app.set_state(gst::State::Playing);
    assert!(holds_within(DEADLINE, || preview
        .lock()
        .unwrap()
        .shown
        .len()
        > 30));
    // Frames during start-up are not considered.
    *preview.lock().unwrap() = Preview::default();

    for round in 1..=ROUNDS {
        for (action, then) in [("start", 60), ("pause", 20), ("resume", 60), ("stop", 10)] {
            app.act(action);
            app.wait_running_time(app.running_time() + then * MILLI);
        }
        // Most start while the previous one is still being drained.
        if round % 5 == 0 {
            app.wait_for("stop", round);
        }
    }
    app.wait_for("stop", ROUNDS);

    assert!(!app.has_eos(), "EOS on the outer bus");
    let Preview {
        shown,
        mut slept,
        latencies,
    } = std::mem::take(&mut *preview.lock().unwrap());
    assert!(shown.len() > 100, "{} frames in the preview", shown.len());
    let lost = shown
        .windows(2)
        .find(|pair| pair[1] - pair[0] > gst::ClockTime::from_mseconds(50));
    assert_eq!(lost, None, "frames lost on the way to the preview");
    assert_eq!(latencies, 0, "the preview's latency has changed");

    slept.sort();
    let longest = slept.last().copied().unwrap_or_default();
    println!(
        "{} frames; the source slept in the recorder for {:?} at the median, {longest:?} at the most",
        shown.len(),
        slept[slept.len() / 2]
    );
    assert!(longest < INTERVAL, "the recorder held up the source");

    app.set_state(gst::State::Null);
    let events = app.events();
    let stops = events.iter().filter(|event| event.name == "stop");
    for (round, stop) in stops.enumerate() {
        let path = directory.path().join(format!("round-{round:05}.webm"));
        file::decodes_without_errors(&path).unwrap();
        let recorded = stop.fields.get::<u64>("duration").unwrap() as f64;
        let duration = file::duration(&path).unwrap();
        assert!(recorded >= 120e6, "{round}: {recorded}");
        // Opus packets are 20 ms long.
        let off = (duration - recorded).abs();
        assert!(off < 40e6, "{round}: {duration} for {recorded}");
    }
}

/// `source ! tee`, with a preview on one side and the recorder on the other, without a queue: anything that blocks
/// the recorder blocks the source.
fn preview_branch(app: &App) -> Arc<Mutex<Preview>> {
    let source = app.source(PICTURES);
    let make = |name: &str| gst::ElementFactory::make(name).build().unwrap();
    let (tee, queue, sink, last) = (
        make("tee"),
        make("queue"),
        make("fakesink"),
        make("fakesink"),
    );
    sink.set_property("sync", true);
    last.set_property("async", false);
    let elements = [&tee, &queue, &sink, &last];
    app.pipeline.add_many(elements).unwrap();
    source.link(&tee.static_pad("sink").unwrap()).unwrap();
    // A tee pushes to its branches in the order in which they were added.
    gst::Element::link_many([&tee, &queue, &sink]).unwrap();
    let branch = tee.request_pad_simple("src_%u").unwrap();
    branch.link(&app.pad("video_%u")).unwrap();
    tee.link(&last).unwrap();

    let preview = Arc::<Mutex<Preview>>::default();
    let entered = Arc::<Mutex<Option<ThreadTime>>>::default();
    let enters = entered.clone();
    branch.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        *enters.lock().unwrap() = Some(ThreadTime::now());
        gst::PadProbeReturn::Ok
    });
    let log = preview.clone();
    let leaves = last.static_pad("sink").unwrap();
    leaves.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        if let Some(moment) = entered.lock().unwrap().take() {
            log.lock().unwrap().slept.push(moment.blocked());
        }
        gst::PadProbeReturn::Ok
    });
    let log = preview.clone();
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_UPSTREAM;
    let shows = sink.static_pad("sink").unwrap();
    shows.add_probe(kinds, move |_, probe| {
        let mut log = log.lock().unwrap();
        if let Some(pts) = probe.buffer().and_then(|buffer| buffer.pts()) {
            log.shown.push(pts);
        } else if probe
            .event()
            .is_some_and(|event| event.type_() == gst::EventType::Latency)
        {
            log.latencies += 1;
        }
        gst::PadProbeReturn::Ok
    });
    preview
}
