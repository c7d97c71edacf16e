//! A live preview beside the recorder does not notice the recordings.

mod common;

use common::judge::file;
use common::outer::{DEADLINE, Outer, until};
use gst::prelude::*;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const MILLI: u64 = 1_000_000;
const ROUNDS: usize = 50;
/// One frame, 30 in a second.
const INTERVAL: Duration = Duration::from_nanos(1_000_000_000 / 30);
const PICTURES: &str =
    "videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=30/1";

/// When frames arrived, and their stamps.
type Arrivals = Arc<Mutex<Vec<(Instant, gst::ClockTime)>>>;

fn arrivals(pad: &gst::Pad) -> Arrivals {
    let log = Arrivals::default();
    let result = log.clone();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, probe| {
        if let Some(pts) = probe.buffer().and_then(|b| b.pts()) {
            log.lock().unwrap().push((Instant::now(), pts));
        }
        gst::PadProbeReturn::Ok
    });
    result
}

/// Spans without a frame longer than `limit`.
fn gaps(arrivals: &Arrivals, limit: Duration) -> Vec<(Instant, Instant)> {
    let log = arrivals.lock().unwrap();
    log.windows(2)
        .map(|pair| (pair[0].0, pair[1].0))
        .filter(|(from, to)| *to - *from > limit)
        .collect()
}

/// The same source and sink without a recorder: what this shows, the machine did.
struct Control {
    pipeline: gst::Pipeline,
    arrivals: Arrivals,
}

impl Control {
    fn new() -> Self {
        let line = format!("{PICTURES} ! queue ! fakesink name=sink sync=true");
        let pipeline = gst::parse::launch(&line)
            .unwrap()
            .downcast::<gst::Pipeline>()
            .unwrap();
        let sink = pipeline.by_name("sink").unwrap();
        let arrivals = arrivals(&sink.static_pad("sink").unwrap());
        pipeline.set_state(gst::State::Playing).unwrap();
        Self { pipeline, arrivals }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

#[test]
fn fifty_recordings_leave_the_preview_alone() {
    let directory = tempfile::tempdir().unwrap();
    let outer = Outer::new(
        "video/webm;codecs=\"vp8,opus\"",
        &directory.path().join("round-%05d.webm"),
    );
    let preview = preview_branch(&outer);
    let sound = outer.source(
        "audiotestsrc is-live=true samplesperbuffer=480 ! audio/x-raw,rate=48000,channels=2",
    );
    sound.link(&outer.pad("audio_%u")).unwrap();
    let control = Control::new();
    outer.set_state(gst::State::Playing);
    let runs = || preview.lock().unwrap().len() > 30 && control.arrivals.lock().unwrap().len() > 30;
    assert!(until(DEADLINE, runs));
    // What came while everything started is not judged.
    preview.lock().unwrap().clear();
    control.arrivals.lock().unwrap().clear();

    for round in 1..=ROUNDS {
        for (action, then) in [("start", 60), ("pause", 20), ("resume", 60), ("stop", 10)] {
            outer.act(action);
            outer.wait_running(outer.running_time() + then * MILLI);
        }
        // Most start while the one before is still being drained.
        if round % 5 == 0 {
            outer.wait_for("stop", round);
        }
    }
    outer.wait_for("stop", ROUNDS);

    assert!(!outer.ended(), "EOS on the outer bus");
    let shown = preview.lock().unwrap().clone();
    assert!(shown.len() > 100, "{} frames in the preview", shown.len());
    let lost = shown
        .windows(2)
        .find(|pair| pair[1].1 - pair[0].1 > gst::ClockTime::from_mseconds(50));
    assert_eq!(lost, None, "frames lost on the way to the preview");

    let machine = gaps(&control.arrivals, 2 * INTERVAL);
    let (excused, own): (Vec<_>, Vec<_>) = gaps(&preview, 2 * INTERVAL)
        .into_iter()
        .partition(|(from, to)| machine.iter().any(|(f, t)| f < to && from < t));
    let widths =
        |list: &[(Instant, Instant)]| -> Vec<_> { list.iter().map(|(f, t)| *t - *f).collect() };
    println!(
        "{} frames; gaps of the machine: {:?}, shared by the preview: {:?}",
        shown.len(),
        widths(&machine),
        widths(&excused)
    );
    assert_eq!(widths(&own), Vec::<Duration>::new(), "gaps in the preview");
    assert!(
        excused.len() <= 5,
        "too busy a machine to judge: {:?}",
        widths(&excused)
    );

    outer.set_state(gst::State::Null);
    for round in 0..ROUNDS {
        let path = directory.path().join(format!("round-{round:05}.webm"));
        file::decodes_quietly(&path).unwrap();
        let duration = file::duration(&path).unwrap();
        assert!((100e6..1e9).contains(&duration), "{round}: {duration}");
    }
}

/// `source ! tee`, with a preview on one side and the recorder on the other, without a queue: whatever it
/// blocks, it blocks the source.
fn preview_branch(outer: &Outer) -> Arrivals {
    let source = outer.source(PICTURES);
    let make = |name: &str| gst::ElementFactory::make(name).build().unwrap();
    let (tee, queue, sink) = (make("tee"), make("queue"), make("fakesink"));
    sink.set_property("sync", true);
    outer.pipeline.add_many([&tee, &queue, &sink]).unwrap();
    source.link(&tee.static_pad("sink").unwrap()).unwrap();
    gst::Element::link_many([&tee, &queue, &sink]).unwrap();
    let branch = tee.request_pad_simple("src_%u").unwrap();
    branch.link(&outer.pad("video_%u")).unwrap();
    arrivals(&sink.static_pad("sink").unwrap())
}
