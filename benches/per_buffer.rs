//! What one buffer costs in the recorder's chain function, beside elements that do nothing.
//!
//! Every element stands behind a bare src pad that this thread pushes into, so that nothing but
//! the chain function is measured: `cargo bench --bench per_buffer`.

use criterion::{Criterion, criterion_group, criterion_main};
use gst::prelude::*;
use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// A pad that pushes into `element`'s pad of this name or template.
struct Pusher {
    pad: gst::Pad,
    next: gst::ClockTime,
    buffer: gst::Buffer,
    step: gst::ClockTime,
}

impl Pusher {
    fn new(element: &gst::Element, pad: &str, caps: &str, buffer: gst::Buffer) -> Self {
        let sink = element
            .static_pad(pad)
            .or_else(|| element.request_pad_simple(pad))
            .expect("a sink pad");
        let source = gst::Pad::builder(gst::PadDirection::Src)
            .name("src")
            .query_function(|pad, parent, query| match query.view_mut() {
                // Live: nothing is held back, nothing waits.
                gst::QueryViewMut::Latency(latency) => {
                    latency.set(true, gst::ClockTime::ZERO, gst::ClockTime::NONE);
                    true
                }
                _ => gst::Pad::query_default(pad, parent, query),
            })
            .build();
        source.set_active(true).expect("active");
        source.link(&sink).expect("linked");
        source.push_event(gst::event::StreamStart::new("bench"));
        let caps: gst::Caps = caps.parse().expect("caps");
        source.push_event(gst::event::Caps::new(&caps));
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        source.push_event(gst::event::Segment::new(&segment));
        let step = buffer.duration().expect("a duration");
        Pusher {
            pad: source,
            next: gst::ClockTime::ZERO,
            buffer,
            step,
        }
    }

    /// Pushes so many buffers and says how long that took.
    fn push(&mut self, count: u64) -> Duration {
        let mut buffers: Vec<gst::Buffer> = (0..count)
            .map(|_| {
                let mut buffer = self.buffer.copy();
                let stamped = buffer.make_mut();
                stamped.set_pts(self.next);
                self.next += self.step;
                buffer
            })
            .collect();
        let begin = Instant::now();
        for buffer in buffers.drain(..) {
            black_box(self.pad.push(buffer)).expect("taken");
        }
        begin.elapsed()
    }
}

fn playing(factory: &str, settings: &[(&str, &str)]) -> (gst::Pipeline, gst::Element) {
    let pipeline = gst::Pipeline::new();
    let element = gst::ElementFactory::make(factory).build().expect(factory);
    for (name, value) in settings {
        element.set_property_from_str(name, value);
    }
    pipeline.add(&element).expect("added");
    (pipeline, element)
}

fn sound(samples: usize) -> gst::Buffer {
    let mut buffer = gst::Buffer::with_size(samples * 4).expect("memory");
    let duration = gst::ClockTime::from_nseconds(samples as u64 * 1_000_000_000 / 48_000);
    buffer.make_mut().set_duration(duration);
    buffer
}

const SOUND: &str = "audio/x-raw,format=S16LE,rate=48000,channels=2,layout=interleaved";

fn others(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("chain");
    for (name, factory, settings) in [
        (
            "fakesink",
            "fakesink",
            &[("sync", "false"), ("async", "false")][..],
        ),
        ("valve dropping", "valve", &[("drop", "true")]),
        ("identity and fakesink", "identity", &[]),
    ] {
        let (pipeline, element) = playing(factory, settings);
        if element.static_pad("src").is_some() {
            let sink = gst::ElementFactory::make("fakesink")
                .property("sync", false)
                .property("async", false)
                .build()
                .expect("fakesink");
            pipeline.add(&sink).expect("added");
            element.link(&sink).expect("linked");
        }
        pipeline.set_state(gst::State::Playing).expect("playing");
        let mut pusher = Pusher::new(&element, "sink", SOUND, sound(480));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| pusher.push(count));
        });
        pipeline.set_state(gst::State::Null).expect("null");
    }
    group.finish();
}

fn recorder(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("chain");
    for (name, cuts) in [
        ("recorder inactive", None),
        ("recorder recording", Some(0)),
        ("recorder paused", Some(1)),
        ("recorder recording after 10000 cuts", Some(10_000)),
    ] {
        let (pipeline, element) = playing(
            "mediarecorder",
            &[
                ("mime-type", "audio/wav"),
                ("location", "/dev/null"),
                // What waits for the encoder is not the question here.
                ("max-queue-time", "3600000000000"),
            ],
        );
        // Cuts are made at this clock's time; all that is measured is in its past.
        let clock = gst_check::TestClock::new();
        pipeline.use_clock(Some(&clock));
        pipeline.set_state(gst::State::Playing).expect("playing");
        let mut pusher = Pusher::new(&element, "audio_0", SOUND, sound(1));
        if let Some(cuts) = cuts {
            let act = |action: &str| {
                let refused = element.emit_by_name::<Option<glib::Error>>(action, &[]);
                assert!(refused.is_none(), "{refused:?}");
            };
            act("start");
            for cut in 0..cuts {
                pusher.push(1);
                clock.set_time(pusher.next);
                act(if cut % 2 == 0 { "pause" } else { "resume" });
            }
        }
        clock.set_time(gst::ClockTime::from_seconds(100_000));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| pusher.push(count));
        });
        pipeline.set_state(gst::State::Null).expect("null");
    }
    group.finish();
}

fn init(criterion: &mut Criterion) {
    gst::init().expect("GStreamer");
    gstmediarecorder::plugin_register_static().expect("the plugin");
    others(criterion);
    recorder(criterion);
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(2));
    targets = init
}
criterion_main!(benches);
