//! Invalid input: it may damage its own recording, but nothing else.

mod common;

use common::harness::{State, init, make_recorder, wait_for};
use common::order::{self, Event, OrderModel};
use gst::prelude::*;
use proptest::prelude::*;
use std::sync::mpsc;
use std::time::Duration;

/// An operation on one track.
#[derive(Clone, Debug)]
enum Step {
    /// Timestamp, duration, bytes, flags.
    Buffer(Option<u64>, Option<u64>, usize, u32),
    Caps(usize),
    Gap(u64, Option<u64>),
    Segment(u64, u64, u64, bool),
    Flush(bool),
    Act(&'static str),
    Mute(bool),
}

/// Valid and invalid times.
fn time() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => (0u64..500).prop_map(|n| n * 20_000_000),
        1 => Just(u64::MAX - 1),
        1 => Just(u64::MAX / 2),
        1 => Just(i64::MAX as u64),
        1 => Just(100_000_000_000u64),
        1 => any::<u64>().prop_map(|n| n.min(u64::MAX - 1)),
    ]
}

fn raw(kind: &str) -> Vec<&'static str> {
    match kind {
        "audio" => vec![
            "audio/x-raw,format=S16LE,layout=interleaved,rate=48000,channels=1",
            // Lower rates turn a few bytes into hours, which take minutes to encode.
            "audio/x-raw,format=S16LE,layout=interleaved,rate=1000,channels=1",
            "audio/x-raw,format=F64BE,layout=interleaved,rate=2147483647,channels=64,channel-mask=(bitmask)0",
            "audio/x-raw,format=U8,layout=non-interleaved,rate=8000,channels=2",
            "audio/x-raw,format=S24LE,layout=interleaved,rate=192000,channels=6,channel-mask=(bitmask)0x3f",
            "audio/x-raw",
            "audio/x-raw,format=S16LE,layout=interleaved,rate=0,channels=0",
        ],
        _ => vec![
            "video/x-raw,format=I420,width=16,height=16,framerate=30/1",
            "video/x-raw,format=I420,width=1,height=1,framerate=0/1",
            "video/x-raw,format=RGB,width=17,height=31,framerate=2147483647/1",
            "video/x-raw,format=I420,width=64,height=48,framerate=1/2147483647,pixel-aspect-ratio=1/1000",
            "video/x-raw,format=NV12,width=16,height=2048,framerate=25/1,interlace-mode=mixed",
            "video/x-raw",
            "video/x-raw,format=ENCODED,width=16,height=16",
        ],
    }
}

const ENCODED: [(&str, &str); 13] = [
    ("video", "video/x-vp8,width=16,height=16,framerate=30/1"),
    ("video", "video/x-vp9"),
    ("video", "video/x-av1,stream-format=obu-stream,alignment=tu"),
    (
        "video",
        "video/x-h264,stream-format=byte-stream,alignment=au",
    ),
    (
        "video",
        "video/x-h264,stream-format=avc,alignment=au,codec_data=(buffer)01ff",
    ),
    (
        "video",
        "video/x-h265,stream-format=hvc1,alignment=au,codec_data=(buffer)01",
    ),
    ("audio", "audio/x-opus"),
    (
        "audio",
        "audio/x-opus,channel-mapping-family=0,rate=48000,channels=2",
    ),
    ("audio", "audio/x-vorbis"),
    (
        "audio",
        "audio/mpeg,mpegversion=4,stream-format=raw,codec_data=(buffer)ff",
    ),
    ("audio", "audio/mpeg,mpegversion=4,stream-format=adts"),
    ("audio", "audio/mpeg,mpegversion=1,layer=3"),
    ("audio", "audio/x-flac"),
];

fn step(caps: usize, most: usize) -> impl Strategy<Value = Step> {
    let actions = prop::sample::select(vec![
        "start",
        "pause",
        "resume",
        "stop",
        "request-data",
        "start",
    ]);
    prop_oneof![
        12 => (prop::option::of(time()), prop::option::of(time()), 0..most, 0u32..1 << 16)
            .prop_map(|(pts, duration, size, flags)| Step::Buffer(pts, duration, size, flags)),
        1 => (0..caps).prop_map(Step::Caps),
        1 => (time(), prop::option::of(time())).prop_map(|(at, length)| Step::Gap(at, length)),
        1 => (time(), time(), time(), any::<bool>())
            .prop_map(|(start, base, offset, fast)| Step::Segment(start, base, offset, fast)),
        1 => any::<bool>().prop_map(Step::Flush),
        3 => actions.prop_map(Step::Act),
        1 => any::<bool>().prop_map(Step::Mute),
    ]
}

/// Reproducible random bytes.
fn bytes(size: usize, seed: usize) -> Vec<u8> {
    let mut state = seed as u32 | 1;
    (0..size)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

/// Runs the steps in a separate thread, like a source; then shuts down.
fn run(kind: &'static str, caps: Vec<&'static str>, steps: Vec<Step>) -> Result<(), TestCaseError> {
    init();
    // Warnings of codecs and muxers about such input are not the subject.
    glib::log_set_always_fatal(glib::LogLevels::empty());
    let pipeline = gst::Pipeline::new();
    let recorder = make_recorder();
    pipeline.add(&recorder).unwrap();
    recorder.set_property("stop-timeout", 1_000_000_000u64);
    recorder.set_property("max-memory", 1_000_000u64);
    let seen = order::record_events(&recorder);
    let sink = recorder.request_pad_simple(&format!("{kind}_%u")).unwrap();
    let source = gst::Pad::builder(gst::PadDirection::Src).build();
    source.set_active(true).unwrap();
    source.link(&sink).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let (done, over) = mpsc::channel();
    let (thread, recorder_there, sink_there) = (source.clone(), recorder.clone(), sink.clone());
    let shown = format!("{steps:?}");
    std::thread::spawn(move || {
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        thread.push_event(gst::event::StreamStart::new("input"));
        let first: gst::Caps = caps[0].parse().unwrap();
        thread.push_event(gst::event::Caps::new(&first));
        thread.push_event(gst::event::Segment::new(&segment));
        for (n, step) in steps.into_iter().enumerate() {
            let time = gst::ClockTime::from_nseconds;
            match step {
                Step::Buffer(pts, duration, size, flags) => {
                    let mut buffer = gst::Buffer::from_mut_slice(bytes(size, n));
                    let stamped = buffer.get_mut().unwrap();
                    stamped.set_flags(gst::BufferFlags::from_bits_truncate(flags));
                    stamped.set_pts(pts.map(time));
                    stamped.set_duration(duration.map(time));
                    let _ = thread.push(buffer);
                }
                Step::Caps(which) => {
                    let caps: gst::Caps = caps[which].parse().unwrap();
                    thread.push_event(gst::event::Caps::new(&caps));
                }
                Step::Gap(at, length) => {
                    let gap = gst::event::Gap::builder(time(at)).duration(length.map(time));
                    thread.push_event(gap.build());
                }
                Step::Segment(start, base, offset, fast) => {
                    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
                    segment.set_start(time(start));
                    segment.set_base(time(base));
                    segment.set_offset(time(offset));
                    if fast {
                        // All timestamps are within minutes then: hours of silence take long to encode.
                        segment.set_rate(1e9);
                    }
                    thread.push_event(gst::event::Segment::new(&segment));
                }
                Step::Flush(reset) => {
                    thread.push_event(gst::event::FlushStart::new());
                    thread.push_event(gst::event::FlushStop::new(reset));
                    thread.push_event(gst::event::Segment::new(&segment));
                }
                Step::Act(action) => {
                    let _: Option<glib::Error> = recorder_there.emit_by_name(action, &[]);
                }
                Step::Mute(mute) => sink_there.set_property("mute", mute),
            }
        }
        let _ = done.send(());
    });
    over.recv_timeout(Duration::from_secs(60))
        .map_err(|_| TestCaseError::fail(format!("it hangs: {shown}")))?;
    pipeline.set_state(gst::State::Null).unwrap();
    wait_for("the last event", || {
        let seen = seen.lock().unwrap();
        let count = |what: &Event| seen.iter().filter(|s| *s == what).count();
        count(&Event::Start) == count(&Event::Stop)
    });
    let model = OrderModel::of(&seen.lock().unwrap()).map_err(TestCaseError::fail)?;
    prop_assert!(!model.recording);
    prop_assert_eq!(State::of(&recorder), State::Inactive);
    let memory = memory();
    prop_assert!(memory < 1 << 30, "{memory} bytes of memory");
    Ok(())
}

/// Anonymous memory of this process in bytes.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .unwrap()
        * 1024
}

fn cases(usual: u32) -> ProptestConfig {
    ProptestConfig {
        cases: if common::settings::long() {
            usual * 10
        } else {
            usual
        },
        failure_persistence: None,
        max_shrink_iters: 40,
        ..Default::default()
    }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn invalid_raw_audio(steps in prop::collection::vec(step(7, 4000), 1..60)) {
        run("audio", raw("audio"), [vec![Step::Act("start")], steps].concat())?;
    }

    #[test]
    fn invalid_raw_video(steps in prop::collection::vec(step(7, 4000), 1..60)) {
        run("video", raw("video"), [vec![Step::Act("start")], steps].concat())?;
    }

    #[test]
    fn encoded_garbage(which in 0..ENCODED.len(), steps in prop::collection::vec(step(1, 4000), 1..60)) {
        let (kind, caps) = ENCODED[which];
        run(kind, vec![caps], [vec![Step::Act("start")], steps].concat())?;
    }
}

#[test]
fn one_sample_per_second() {
    init();
    let caps = "audio/x-raw,format=S16LE,layout=interleaved,rate=1,channels=1";
    let steps = vec![
        Step::Act("start"),
        Step::Buffer(Some(0), None, 6, 0),
        Step::Buffer(Some(3_000_000_000), None, 2, 0),
    ];
    run("audio", vec![caps], steps).unwrap();
}

/// A gap of an hour is filled; a timestamp a year ahead is wrong.
#[test]
fn a_jump_of_a_year_does_not_exhaust_memory() {
    let buffer = |at| Step::Buffer(Some(at), None, 960, 0);
    init();
    let year = 365 * 86_400_000_000_000;
    let steps = vec![
        Step::Act("start"),
        buffer(0),
        buffer(10_000_000),
        buffer(year),
        buffer(year + 10_000_000),
    ];
    run("audio", raw("audio"), steps).unwrap();
    assert!(memory() < 1 << 29);
}

#[test]
fn frames_with_durations_of_centuries() {
    init();
    let forever = Some(u64::MAX - 1);
    let steps = vec![
        Step::Act("start"),
        Step::Buffer(Some(0), forever, 100, 0),
        Step::Buffer(Some(20_000_000), forever, 100, 0),
        Step::Buffer(Some(40_000_000), forever, 100, 0),
    ];
    for (kind, caps) in ENCODED {
        run(kind, vec![caps], steps.clone()).unwrap();
    }
}

#[test]
fn frames_shorter_than_any_header() {
    init();
    let tiny = |n: u64| Step::Buffer(Some(n * 20_000_000), None, n as usize % 3, 0);
    let steps = std::iter::once(Step::Act("start"))
        .chain((0..10).map(tiny))
        .collect::<Vec<_>>();
    for (kind, caps) in ENCODED {
        run(kind, vec![caps], steps.clone()).unwrap();
    }
}
