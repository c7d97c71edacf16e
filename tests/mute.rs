//! `mute` records silence and black from the instant it is set until the instant it is cleared.

mod common;
mod inputs;

use common::judge::{decode, samples};
use gst::prelude::*;
use inputs::*;

/// Time between source and recorder.
const LATENCY: u64 = 120 * MILLI;

/// A live recording under a test clock: media arrives `LATENCY` after its capture, and `calls` are made at their
/// instants.
fn under_test_clock(take: &Take, end: u64, video: bool, calls: &[(u64, &dyn Fn())]) {
    take.app
        .recorder
        .set_property("max-queue-time", 3600 * SECOND);
    let clock = gst_check::TestClock::new();
    take.app.pipeline.use_clock(Some(&clock));
    let audio = take.audio(&stereo(48_000), Some(LATENCY));
    let camera = video.then(|| take.video(&small(), Some(LATENCY)));
    take.app.set_state(gst::State::Playing);
    let mut calls = calls.iter().peekable();
    for n in 0..(end + LATENCY) / (10 * MILLI) {
        let now = n * 10 * MILLI + LATENCY;
        while let Some((at, call)) = calls.next_if(|(at, _)| *at <= now) {
            clock.set_time(gst::ClockTime::from_nseconds(*at));
            call();
        }
        clock.set_time(gst::ClockTime::from_nseconds(now));
        if n > 0 {
            audio.push(tick(n - 1));
        }
        if let Some(camera) = &camera
            && n % 4 == 0
            && n > 0
        {
            camera.push(shot(&small(), (n - 4) * 10 * MILLI));
        }
    }
    take.wrap();
}

/// 48 samples per millisecond, from `from` until `to`, all in ms of recorded time; `shift` ms later in the source.
fn run(from: u64, to: u64, shift: u64) -> (u64, u64, u64) {
    (from * 48, (from + shift) * 48, (to - from) * 48)
}

#[test]
fn audio_is_muted_to_the_sample() {
    let take = Take::new(WAV);
    let act = |action: &'static str| {
        let recorder = take.app.recorder.clone();
        move || common::app::act(&recorder, action)
    };
    let recorder = take.app.recorder.clone();
    let mute = |mute: bool| {
        let recorder = recorder.clone();
        move || {
            recorder
                .static_pad("audio_0")
                .unwrap()
                .set_property("mute", mute)
        }
    };
    under_test_clock(
        &take,
        1500 * MILLI,
        false,
        &[
            (100 * MILLI, &act("start")),
            (203 * MILLI, &mute(true)),
            (317 * MILLI, &mute(false)),
            // Muted in a pause: from the resume on.
            (500 * MILLI, &act("pause")),
            (550 * MILLI, &mute(true)),
            (600 * MILLI, &act("resume")),
            (651 * MILLI, &mute(false)),
            // For less than a buffer.
            (702 * MILLI, &mute(true)),
            (704 * MILLI, &mute(false)),
            (900 * MILLI, &mute(true)),
            (1000 * MILLI, &act("stop")),
        ],
    );
    let (runs, length) = runs(&take.heard(0));
    assert_eq!(
        runs,
        [
            run(0, 103, 100),
            run(217, 400, 100),
            run(451, 502, 200),
            run(504, 700, 200),
        ]
    );
    assert_eq!(length, 800 * 48);
    let stats: gst::Structure = take.app.recorder.property("stats");
    let tracks: gst::Array = stats.get("tracks").unwrap();
    let track: gst::Structure = tracks[0].get().unwrap();
    let filled: u64 = track.get("filled").unwrap();
    assert_eq!(filled, 0, "muted media is not counted as missing");
}

#[test]
fn a_mute_anywhere_is_within_half_a_sample() {
    let take = Take::new(WAV);
    let recorder = take.app.recorder.clone();
    let toggles: Vec<u64> = (0..60u64).map(|n| 200 * MILLI + n * 17_777_777).collect();
    let start = || common::app::act(&recorder, "start");
    let stop = || common::app::act(&recorder, "stop");
    let on = || {
        recorder
            .static_pad("audio_0")
            .unwrap()
            .set_property("mute", true)
    };
    let off = || {
        recorder
            .static_pad("audio_0")
            .unwrap()
            .set_property("mute", false)
    };
    let mut calls: Vec<(u64, &dyn Fn())> = vec![(100 * MILLI, &start)];
    for (n, at) in toggles.iter().enumerate() {
        calls.push((*at, if n % 2 == 0 { &on } else { &off }));
    }
    calls.push((1400 * MILLI, &stop));
    under_test_clock(&take, 1600 * MILLI, false, &calls);
    let spans = take.heard(0);
    assert_eq!(spans.len(), 61);
    for (span, toggle) in spans.iter().zip(&toggles) {
        let exact = (toggle - 100 * MILLI) as f64 * 48e-6;
        assert!(
            (span.recorded.end as f64 - exact).abs() <= 0.5,
            "{span:?} {exact}"
        );
        if let samples::Content::Source(first) = span.content {
            assert_eq!(first, span.recorded.start + 4800);
        }
    }
}

#[test]
fn a_control_binding_mutes_per_buffer() {
    use gst_controller::prelude::*;
    let take = Take::new(WAV);
    let act = |action: &'static str| {
        let recorder = take.app.recorder.clone();
        move || common::app::act(&recorder, action)
    };
    let source = gst_controller::InterpolationControlSource::new();
    source.set_mode(gst_controller::InterpolationMode::None);
    for (at, mute) in [(0, 0.0), (300 * MILLI, 1.0), (500 * MILLI, 0.0)] {
        assert!(source.set(gst::ClockTime::from_nseconds(at), mute));
    }
    let heard = std::sync::Arc::<std::sync::Mutex<Vec<bool>>>::default();
    let (recorder, note) = (take.app.recorder.clone(), heard.clone());
    let bind = || {
        let pad = recorder.static_pad("audio_0").unwrap();
        let binding = gst_controller::DirectControlBinding::new(&pad, "mute", &source);
        pad.add_control_binding(&binding).unwrap();
        let note = note.clone();
        pad.connect_notify(Some("mute"), move |pad, _| {
            note.lock().unwrap().push(pad.property("mute"));
        });
    };
    under_test_clock(
        &take,
        900 * MILLI,
        false,
        &[
            (50 * MILLI, &bind),
            (100 * MILLI, &act("start")),
            (700 * MILLI, &act("stop")),
        ],
    );
    // Buffers are of 10 ms.
    let (runs, length) = runs(&take.heard(0));
    assert_eq!(runs, [run(0, 200, 100), run(400, 600, 100)]);
    assert_eq!(length, 600 * 48);
    assert_eq!(*heard.lock().unwrap(), [true, false]);
}

#[test]
fn a_track_that_starts_muted_is_recorded_once_unmuted() {
    let take = Take::new(WAV);
    let recorder = take.app.recorder.clone();
    let start = || {
        // As named by an application or a gst-launch line.
        recorder
            .dynamic_cast_ref::<gst::ChildProxy>()
            .unwrap()
            .set_child_property("audio_0::mute", true);
        common::app::act(&recorder, "start");
    };
    let unmute = || {
        recorder
            .static_pad("audio_0")
            .unwrap()
            .set_property("mute", false)
    };
    let stop = || common::app::act(&recorder, "stop");
    under_test_clock(
        &take,
        1200 * MILLI,
        false,
        &[
            (100 * MILLI, &start),
            (400 * MILLI, &unmute),
            (800 * MILLI, &stop),
        ],
    );
    assert_eq!(runs(&take.heard(0)), (vec![run(300, 700, 100)], 700 * 48));
}

#[test]
fn video_is_black_from_the_instant_on_and_audio_continues() {
    let take = Take::new(BOTH);
    let recorder = take.app.recorder.clone();
    let start = || common::app::act(&recorder, "start");
    let stop = || common::app::act(&recorder, "stop");
    let on = || {
        recorder
            .static_pad("video_0")
            .unwrap()
            .set_property("mute", true)
    };
    let off = || {
        recorder
            .static_pad("video_0")
            .unwrap()
            .set_property("mute", false)
    };
    under_test_clock(
        &take,
        1500 * MILLI,
        true,
        &[
            (100 * MILLI, &start),
            (350 * MILLI, &on),
            (710 * MILLI, &off),
            (1100 * MILLI, &stop),
        ],
    );
    assert_eq!(runs(&take.heard(0)), (vec![run(0, 1000, 100)], 1000 * 48));
    let seen = take.seen();
    let at = seen
        .iter()
        .position(|(_, source)| source.is_none())
        .unwrap();
    // The frame of 320 is visible until the call, that of 680 from the other call on.
    assert_eq!(
        seen[at - 1..at + 3],
        [
            (220, Some(320)),
            (250, None),
            (610, Some(680)),
            (620, Some(720))
        ]
    );
    assert_eq!(seen[0], (0, Some(80)));
    let black = luma(&take.path, "null", (160, 120));
    let frames = decode::video(&take.path, 0).unwrap();
    for (frame, luma) in frames.frames.iter().zip(black) {
        if frame.source.is_none() {
            assert!(
                luma.iter().all(|p| *p < 24),
                "not black at {}",
                frame.recorded
            );
        }
    }
}

/// The last one of simultaneous calls from several threads applies.
#[test]
fn mute_may_be_set_from_other_threads() {
    for round in 0..30 {
        let take = Take::new(WAV);
        take.app
            .pipeline
            .use_clock(Some(&gst_check::TestClock::new()));
        let audio = take.audio(&stereo(48_000), None);
        take.app.set_state(gst::State::Playing);
        let recorder = &take.app.recorder;
        let pad = recorder.static_pad("audio_0").unwrap();
        let together = std::sync::Barrier::new(3);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                together.wait();
                common::app::act(recorder, "start");
            });
            for last in [true, false] {
                let (pad, together) = (&pad, &together);
                scope.spawn(move || {
                    together.wait();
                    for n in (0..200).rev() {
                        pad.set_property("mute", (n % 2 == 0) == last);
                    }
                });
            }
        });
        let muted: bool = pad.property("mute");
        for n in 0..10 {
            audio.push(tick(n));
        }
        take.app.act("stop");
        take.wrap();
        let (runs, length) = runs(&take.heard(0));
        assert_eq!(length, 100 * 48, "round {round}");
        let expected = if muted { vec![] } else { vec![run(0, 100, 0)] };
        assert_eq!(runs, expected, "round {round}");
    }
}
