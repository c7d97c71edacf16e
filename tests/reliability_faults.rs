//! Failures inside a recording: exactly one on-error, the last blob, on-stop; and no effect outside.

mod common;

use common::harness::{
    BusMessage, Event, Kind, Recorder, Rig, State, Track, assert_error, code, media,
};
use gst::prelude::*;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Calls `probe` with the input (`sink`) or output (`src`) of the encoder of `track`.
fn at_encoder(
    rig: &Rig,
    track: &str,
    pad: &'static str,
    probe: impl Fn(&gst::Element, u64) -> gst::PadProbeReturn + Send + Sync + 'static,
) {
    let track = track.to_owned();
    let probe = Arc::new(probe);
    rig.recorder.connect("encoder-setup", false, move |args| {
        let of: gst::Pad = args[1].get().unwrap();
        let encoder: gst::Element = args[2].get().unwrap();
        if of.name() == track {
            let (probe, count) = (probe.clone(), AtomicU64::new(0));
            let weak = encoder.downgrade();
            encoder.static_pad(pad).unwrap().add_probe(
                gst::PadProbeType::BUFFER,
                move |_, info| {
                    let n = count.fetch_add(1, Ordering::SeqCst);
                    let result = probe(&weak.upgrade().unwrap(), n);
                    if result == gst::PadProbeReturn::Handled {
                        info.flow_res = Err(gst::FlowError::Error);
                    }
                    result
                },
            );
        }
        None
    });
}

/// How an element fails.
fn break_down(element: &gst::Element) -> gst::PadProbeReturn {
    gst::element_error!(element, gst::StreamError::Encode, ["broken on purpose"]);
    gst::PadProbeReturn::Handled
}

/// Asserts the end of a failed recording, and returns its bytes.
#[track_caller]
fn assert_failed(events: &[Event], words: &str) -> Vec<u8> {
    let errors: Vec<_> = events.iter().filter(|e| e.kind == Kind::Error).collect();
    assert_eq!(errors.len(), 1, "{events:?}");
    let error = errors[0].error.as_ref().unwrap();
    assert_error(error, code::UNKNOWN);
    assert!(error.message().contains(words), "{error}");
    let [.., error, data, stop] = events else {
        panic!("{events:?}");
    };
    assert_eq!(
        [error.kind, data.kind, stop.kind],
        [Kind::Error, Kind::Data, Kind::Stop],
        "{events:?}"
    );
    for event in [error, data, stop] {
        assert_eq!(event.state, State::Inactive);
    }
    events.iter().flat_map(|e| e.bytes.clone()).collect()
}

/// Asserts that nothing outside was affected, and that the next recording works.
#[track_caller]
fn assert_unharmed(rig: &Rig, tracks: &[Track]) {
    for track in tracks {
        track.wait_buffers(10);
    }
    rig.assert_no_bus_error();
}

#[track_caller]
fn assert_records_again(rig: &Rig, tracks: &[Track], n: usize) {
    rig.recorder.start().expect("start works again");
    tracks.last().unwrap().wait_buffers(15);
    rig.recorder.stop().expect("stop");
    let events = rig.wait_recording(n);
    assert!(events.iter().all(|e| e.kind != Kind::Error), "{events:?}");
    let bytes: Vec<u8> = events.iter().flat_map(|e| e.bytes.clone()).collect();
    media::assert_plays(&rig.save("again.webm", &bytes));
}

/// A failed encoder is replaced (`encoder_exchange.rs`); here all of them fail.
#[test]
fn encoders_that_fail_on_a_frame() {
    for (track, frame) in [
        ("video_0", 0),
        ("video_0", 20),
        ("audio_0", 0),
        ("audio_0", 40),
    ] {
        let (rig, tracks) = Rig::live(1, 1);
        let breaks = Arc::new(AtomicBool::new(true));
        let is_on = breaks.clone();
        at_encoder(&rig, track, "sink", move |encoder, n| {
            if n == frame && is_on.load(Ordering::SeqCst) {
                break_down(encoder)
            } else {
                gst::PadProbeReturn::Ok
            }
        });
        rig.recorder.start().unwrap();
        let bytes = assert_failed(&rig.wait_recording(1), "broken on purpose");
        breaks.store(false, Ordering::SeqCst);
        if frame > 0 {
            let path = rig.save("failed.webm", &bytes);
            media::assert_plays(&path);
            assert_eq!(media::probe(&path).streams.len(), 2, "{track}");
        }
        assert_unharmed(&rig, &tracks);
        assert_records_again(&rig, &tracks, 2);
        assert_eq!(
            rig.signals
                .all()
                .iter()
                .filter(|e| e.kind == Kind::Error)
                .count(),
            1
        );
    }
}

#[test]
fn a_failing_muxer() {
    let (rig, tracks) = Rig::live(1, 1);
    let broken = Arc::new(AtomicBool::new(false));
    at_encoder(&rig, "video_0", "src", move |encoder, n| {
        let bin = encoder.parent().and_downcast::<gst::Bin>().unwrap();
        let muxer = bin.children().into_iter().find(|e| {
            e.factory()
                .is_some_and(|f| f.has_type(gst::ElementFactoryType::MUXER))
        });
        if n == 15 && !broken.swap(true, Ordering::SeqCst) {
            return break_down(&muxer.expect("a muxer"));
        }
        gst::PadProbeReturn::Ok
    });
    rig.recorder.start().unwrap();
    let bytes = assert_failed(&rig.wait_recording(1), "broken on purpose");
    media::assert_plays(&rig.save("failed.webm", &bytes));
    assert_unharmed(&rig, &tracks);
    assert_records_again(&rig, &tracks, 2);
}

/// Three unpositioned channels cannot be mixed down to two.
#[test]
fn a_failing_converter() {
    let rig = Rig::new();
    let tracks = [rig.live_audio()];
    let caps = gst::Caps::builder("audio/x-raw")
        .field("format", "S16LE")
        .field("layout", "interleaved")
        .field("rate", 48000i32)
        .field("channels", 3i32)
        .field("channel-mask", gst::Bitmask::new(0))
        .build();
    rig.recorder
        .set_property("mime-type", "audio/webm;codecs=vorbis");
    let feed = common::harness::PushTrack::of_caps(&rig.recorder, "audio_%u", caps);
    rig.play();
    rig.recorder.start().unwrap();
    for n in 0..100u64 {
        let mut buffer = gst::Buffer::from_mut_slice(vec![0u8; 480 * 6]);
        let stamps = buffer.get_mut().unwrap();
        stamps.set_pts(gst::ClockTime::from_mseconds(10 * n));
        stamps.set_duration(gst::ClockTime::from_mseconds(10));
        feed.push(buffer);
    }
    tracks[0].wait_buffers(50);
    let _ = rig.recorder.stop();
    let events = rig.wait_recording(1);
    // Another GStreamer release may support it; but it must not fail silently.
    if events.iter().any(|e| e.kind == Kind::Error) {
        drop(assert_failed(&events, ""))
    } else {
        let bytes: Vec<u8> = events.iter().flat_map(|e| e.bytes.clone()).collect();
        let path = rig.save("refused.webm", &bytes);
        assert_eq!(media::probe(&path).codecs("audio").len(), 2);
    }
    assert_unharmed(&rig, &tracks);
}

mod pool {
    //! A buffer pool that is exhausted after a few buffers.

    use gst::subclass::prelude::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[derive(Default)]
    pub struct Small(AtomicU32);

    #[glib::object_subclass]
    impl ObjectSubclass for Small {
        const NAME: &'static str = "TestSmallPool";
        type Type = Pool;
        type ParentType = gst::BufferPool;
    }
    impl ObjectImpl for Small {}
    impl GstObjectImpl for Small {}
    impl BufferPoolImpl for Small {
        fn acquire_buffer(
            &self,
            params: Option<&gst::BufferPoolAcquireParams>,
        ) -> Result<gst::Buffer, gst::FlowError> {
            match self.0.fetch_add(1, Ordering::SeqCst) {
                0..20 => self.parent_acquire_buffer(params),
                _ => Err(gst::FlowError::Error),
            }
        }
    }

    glib::wrapper! {
        pub struct Pool(ObjectSubclass<Small>) @extends gst::BufferPool, gst::Object;
    }
}

/// The encoder proposes a pool for its input.
#[test]
fn an_exhausted_pool() {
    let rig = Rig::new();
    // In another format than the encoder's, so that it is converted.
    let source = gst::parse::bin_from_description(
        "videotestsrc is-live=true ! video/x-raw,format=RGB,width=160,height=120,framerate=30/1 ! identity",
        true,
    )
    .unwrap();
    rig.pipeline.add(&source).unwrap();
    let pad = rig.recorder.request_pad_simple("video_%u").unwrap();
    source.static_pad("src").unwrap().link(&pad).unwrap();
    let small = Arc::new(AtomicBool::new(true));
    let is_small = small.clone();
    rig.recorder.connect("encoder-setup", false, move |args| {
        let encoder: gst::Element = args[2].get().unwrap();
        let is_small = is_small.clone();
        encoder.static_pad("sink").unwrap().add_probe(
            gst::PadProbeType::QUERY_DOWNSTREAM,
            move |_, info| {
                if let Some(gst::QueryViewMut::Allocation(query)) =
                    info.query_mut().map(|query| query.view_mut())
                    && is_small.load(Ordering::SeqCst)
                {
                    let pool: pool::Pool = glib::Object::new();
                    query.add_allocation_pool(Some(&pool), 160 * 120 * 3 / 2, 0, 0);
                    return gst::PadProbeReturn::Handled;
                }
                gst::PadProbeReturn::Ok
            },
        );
        None
    });
    rig.set_state(gst::State::Playing);
    rig.recorder.start().unwrap();
    let events = rig.wait_recording(1);
    let bytes = assert_failed(&events, "video_0");
    assert!(media::frames(&rig.save("so-far.webm", &bytes)) >= 10);
    rig.assert_no_bus_error();
    small.store(false, Ordering::SeqCst);
    rig.recorder.start().unwrap();
    rig.wait_event(Kind::Start, 2);
    rig.recorder.stop().unwrap();
    let events = rig.wait_recording(2);
    assert!(events.iter().all(|e| e.kind != Kind::Error), "{events:?}");
}

#[test]
fn a_session_that_never_drains() {
    let (rig, tracks) = Rig::live(1, 1);
    let stuck = Arc::new((Mutex::new(false), Condvar::new()));
    let free = stuck.clone();
    let once = AtomicBool::new(false);
    at_encoder(&rig, "video_0", "src", move |_, n| {
        if n == 10 && !once.swap(true, Ordering::SeqCst) {
            let (free, freed) = &*stuck;
            let limit = Duration::from_secs(60);
            drop(freed.wait_timeout_while(free.lock().unwrap(), limit, |free| !*free));
        }
        gst::PadProbeReturn::Ok
    });
    rig.recorder.set_property("stop-timeout", 500_000_000u64);
    rig.recorder.start().unwrap();
    tracks[1].wait_buffers(30);
    let before = Instant::now();
    rig.recorder.stop().unwrap();
    assert_failed(&rig.wait_recording(1), "stop-timeout");
    assert!(
        before.elapsed() < Duration::from_secs(6),
        "{:?}",
        before.elapsed()
    );
    assert_unharmed(&rig, &tracks);
    // While the first one still hangs.
    assert_records_again(&rig, &tracks, 2);
    *free.0.lock().unwrap() = true;
    free.1.notify_all();
}

/// The change to NULL also waits no longer than documented.
#[test]
fn shutdown_with_a_session_that_never_drains() {
    let (rig, tracks) = Rig::live(0, 1);
    let stuck = Arc::new((Mutex::new(false), Condvar::new()));
    let free = stuck.clone();
    at_encoder(&rig, "video_0", "src", move |_, n| {
        if n == 5 {
            let (free, freed) = &*stuck;
            let limit = Duration::from_secs(60);
            drop(freed.wait_timeout_while(free.lock().unwrap(), limit, |free| !*free));
        }
        gst::PadProbeReturn::Ok
    });
    rig.recorder.set_property("stop-timeout", 300_000_000u64);
    rig.recorder.start().unwrap();
    tracks[0].wait_buffers(20);
    let before = Instant::now();
    rig.set_state(gst::State::Null);
    assert!(
        before.elapsed() < Duration::from_secs(5),
        "{:?}",
        before.elapsed()
    );
    assert_failed(&rig.wait_recording(1), "stop-timeout");
    *free.0.lock().unwrap() = true;
    free.1.notify_all();
}

#[test]
fn a_failure_posts_an_error_only_with_autostart() {
    let rig = Rig::new();
    rig.recorder.set_property("autostart", true);
    let _tracks = [rig.live_audio(), rig.live_video()];
    at_encoder(&rig, "video_0", "sink", |encoder, n| match n {
        10 => break_down(encoder),
        _ => gst::PadProbeReturn::Ok,
    });
    rig.play();
    assert_failed(&rig.wait_recording(1), "broken on purpose");
    let errors = |all: &[BusMessage]| {
        all.iter()
            .filter(|m| matches!(m, BusMessage::Error { from, .. } if from.starts_with("mediarecorder")))
            .count()
    };
    rig.bus.wait("an ERROR", |all| errors(all) == 1);
}
