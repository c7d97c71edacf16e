//! Non-live sources run as fast as possible and lose nothing, live sources are never blocked, and both together
//! run at the live one's pace.

mod common;
mod inputs;

use common::app::{DEADLINE, holds_within};
use common::signal::{AudioSignal, tag};
use gst::prelude::*;
use inputs::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Encoding time per frame.
fn slow_encoder(take: &Take, time: Duration) {
    take.app
        .recorder
        .connect("encoder-setup", false, move |values| {
            let encoder = values[2].get::<gst::Element>().unwrap();
            if let Some(pad) = encoder.static_pad("sink")
                && values[1]
                    .get::<gst::Pad>()
                    .unwrap()
                    .name()
                    .starts_with("video")
            {
                pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                    std::thread::sleep(time);
                    gst::PadProbeReturn::Ok
                });
            }
            None
        });
}

fn frame(n: u64) -> gst::Buffer {
    shot(&small(), n * FRAME)
}

/// Five seconds of each, alternating between some seconds of one and of the other, from one thread.
fn interleaved(seconds: u64, sound_first: bool) {
    let take = Take::new(BOTH);
    let audio = take.audio(&stereo(48_000), None);
    let video = take.video(&small(), None);
    take.roll();
    for piece in 0..10 / seconds {
        let audio_samples = || {
            (piece * seconds * 100..(piece + 1) * seconds * 100).for_each(|n| audio.push(tick(n)))
        };
        let frames = || {
            (piece * seconds * 25..(piece + 1) * seconds * 25).for_each(|n| video.push(frame(n)))
        };
        if sound_first {
            audio_samples();
            frames();
        } else {
            frames();
            audio_samples();
        }
    }
    audio.end();
    video.end();
    take.wrap();
    assert_eq!(runs(&take.heard(0)), (vec![(0, 0, 480_000)], 480_000));
    let expected: Vec<_> = (0..250).map(|n| (n * 40, Some(n * 40))).collect();
    assert_eq!(take.seen(), expected);
}

#[test]
fn five_seconds_of_audio_before_its_video() {
    interleaved(5, true);
}

#[test]
fn ten_seconds_of_video_before_its_audio() {
    interleaved(10, false);
}

/// Like when one of two files is read from a network.
#[test]
fn a_file_that_stalls_for_two_seconds_loses_nothing() {
    let take = Take::new(BOTH);
    let audio = take.audio(&stereo(48_000), None);
    let video = take.video(&small(), None);
    take.roll();
    (0..100).for_each(|n| audio.push(tick(n)));
    // Ten seconds, much further ahead than max-queue-time.
    (0..250).for_each(|n| video.push(frame(n)));
    video.end();
    // The stall itself: there is no condition to wait for.
    std::thread::sleep(Duration::from_secs(2));
    (100..1000).for_each(|n| audio.push(tick(n)));
    audio.end();
    take.wrap();
    assert_eq!(runs(&take.heard(0)), (vec![(0, 0, 480_000)], 480_000));
    let expected: Vec<_> = (0..250).map(|n| (n * 40, Some(n * 40))).collect();
    assert_eq!(take.seen(), expected);
}

/// Like a player that buffers.
#[test]
fn a_pipeline_that_is_paused_for_long_loses_nothing() {
    let take = Take::new(BOTH);
    let audio = take.audio(&stereo(48_000), None);
    let video = take.video(&small(), None);
    take.roll();
    (0..25).for_each(|n| video.push(frame(n)));
    (0..400).for_each(|n| audio.push(tick(n)));
    take.app.set_state(gst::State::Paused);
    // Longer than a live source may be absent.
    std::thread::sleep(Duration::from_millis(5_700));
    take.app.set_state(gst::State::Playing);
    (25..100).for_each(|n| video.push(frame(n)));
    video.end();
    audio.end();
    take.wrap();
    assert_eq!(runs(&take.heard(0)), (vec![(0, 0, 192_000)], 192_000));
    let expected: Vec<_> = (0..100).map(|n| (n * 40, Some(n * 40))).collect();
    assert_eq!(take.seen(), expected);
}

#[test]
fn a_file_waits_for_a_slow_encoder_and_loses_nothing() {
    let take = Take::new(PICTURES);
    take.app
        .recorder
        .set_property("max-queue-time", 400 * MILLI);
    slow_encoder(&take, Duration::from_millis(8));
    let video = take.video(&small(), None);
    take.roll();
    let started = Instant::now();
    for n in 0..150 {
        video.push(frame(n));
    }
    // All but the about ten in the queue had to be encoded before.
    assert!(
        started.elapsed() > Duration::from_millis(130 * 8),
        "{:?}",
        started.elapsed()
    );
    video.end();
    take.wrap();
    let expected: Vec<_> = (0..150).map(|n| (n * 40, Some(n * 40))).collect();
    assert_eq!(take.seen(), expected);
}

#[test]
fn a_live_source_is_not_blocked_by_a_slow_encoder() {
    let take = Take::new(PICTURES);
    take.app
        .recorder
        .set_property("max-queue-time", 400 * MILLI);
    slow_encoder(&take, Duration::from_millis(90));
    let video = take.video(&small(), Some(0));
    take.app.set_state(gst::State::Playing);
    let first = take.app.running_time() / FRAME + 1;
    let mut longest = Duration::ZERO;
    for n in first..first + 75 {
        take.app.wait_running_time(n * FRAME);
        let started = Instant::now();
        video.push(frame(n));
        longest = longest.max(started.elapsed());
        if n == first {
            take.app.act("start");
        }
    }
    take.app.act("stop");
    take.wrap();
    // A push that waited for the encoder would take 90 ms, or all the time that is missing.
    assert!(longest < Duration::from_millis(80), "{longest:?}");
    assert!(
        !take.app.warnings().is_empty(),
        "frames dropped without a warning"
    );
    let kept = take.app.kept();
    let seen = take.seen();
    assert!((10..70).contains(&seen.len()), "{} pictures", seen.len());
    for (recorded, source) in &seen[1..] {
        let exact = source.unwrap() as f64 - kept.intervals[0].0 as f64 / 1e6;
        assert!(
            (*recorded as f64 - exact).abs() < 1.6,
            "{recorded} for {exact}"
        );
    }
    assert!((take.length() - kept.total() as f64 / 1e9).abs() < 0.01);
}

#[test]
fn a_file_with_a_microphone_runs_at_its_pace() {
    let take = Take::new(BOTH);
    let source = take.app.source(
        "audiotestsrc is-live=true samplesperbuffer=480 ! \
         audio/x-raw,format=S16LE,rate=48000,channels=2,layout=interleaved",
    );
    let clock = tag::audio(&source, AudioSignal::Counted, 48_000);
    source.link(&take.app.pad("audio_%u")).unwrap();
    let video = take.video(&small(), None);
    take.app.set_state(gst::State::Playing);
    assert!(holds_within(DEADLINE, || clock.has_started()));
    take.app.act("start");
    let pushed = Arc::new(AtomicU64::new(0));
    let counter = pushed.clone();
    let film = std::thread::spawn(move || {
        for n in 0..250 {
            if video.pad.push(frame(n)).is_err() {
                return;
            }
            counter.store(n, Ordering::SeqCst);
        }
    });
    take.app.wait_running_time(2 * SECOND);
    let (shown, now) = (
        pushed.load(Ordering::SeqCst) * FRAME,
        take.app.running_time(),
    );
    assert!(shown <= now && shown > SECOND, "{shown} at {now}");
    take.app.act("stop");
    take.wrap();
    film.join().unwrap();
    let kept = take.app.kept();
    let start = kept.intervals[0].0;
    let (runs, length) = runs(&take.heard(0));
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert!(length.abs_diff(kept.total() * 48 / MILLI) <= 1);
    for (recorded, source) in &take.seen()[1..] {
        let exact = source.unwrap() as f64 - start as f64 / 1e6;
        assert!(
            (*recorded as f64 - exact).abs() < 1.6,
            "{recorded} for {exact}"
        );
    }
}

#[test]
fn a_capture_pool_learns_how_many_frames_are_held() {
    let take = Take::new(PICTURES);
    let video = take.video(&small(), None);
    take.roll();
    video.push(frame(0));
    let mut query = gst::query::Allocation::new(Some(&small().to_caps().unwrap()), true);
    assert!(video.pad.peer_query(&mut query));
    let pools: Vec<_> = query.allocation_pools().collect();
    assert_eq!(pools.len(), 1);
    let (_, size, least, _) = &pools[0];
    assert_eq!(*size as usize, small().size());
    // The current one, the one that waits for its end, two before the encoder, the encoder's.
    assert!(*least >= 5, "{least}");
    video.end();
    take.wrap();
}

#[test]
fn a_slow_encoder_does_not_exhaust_a_small_capture_pool() {
    let take = Take::new(PICTURES);
    slow_encoder(&take, Duration::from_millis(90));
    let video = take.video(&small(), Some(0));
    take.app.set_state(gst::State::Playing);
    let pool = gst::BufferPool::new();
    let mut config = pool.config();
    config.set_params(
        Some(&small().to_caps().unwrap()),
        small().size() as u32,
        8,
        8,
    );
    pool.set_config(config).unwrap();
    pool.set_active(true).unwrap();
    let at_once = gst::BufferPoolAcquireParams::with_flags(gst::BufferPoolAcquireFlags::DONTWAIT);
    let first = take.app.running_time() / FRAME + 1;
    for n in first..first + 60 {
        take.app.wait_running_time(n * FRAME);
        let mut buffer = pool.acquire_buffer(Some(&at_once)).expect("a free buffer");
        let drawn = frame(n);
        let bytes = drawn.map_readable().unwrap();
        let fields = buffer.make_mut();
        fields.copy_from_slice(0, &bytes).unwrap();
        video.push(stamped(buffer, Some(n * FRAME), Some(FRAME)));
        if n == first {
            take.app.act("start");
        }
    }
    take.app.act("stop");
    take.wrap();
    let kept = take.app.kept();
    let seen = take.seen();
    assert!(seen.len() > 20, "{} pictures", seen.len());
    for (recorded, source) in &seen[1..] {
        let exact = source.unwrap() as f64 - kept.intervals[0].0 as f64 / 1e6;
        assert!(
            (*recorded as f64 - exact).abs() < 1.6,
            "{recorded} for {exact}"
        );
    }
}
