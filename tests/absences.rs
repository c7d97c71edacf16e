//! Missing media is replaced by silence, black or the last frame, of the right length, and nothing else moves.

mod common;
mod inputs;

use common::app::{DEADLINE, holds_within};
use common::signal::{AudioSignal, tag};
use gst::prelude::*;
use inputs::*;
use std::time::Instant;

/// Pseudo-random, the same in every run: TRUE for four of five.
fn kept(n: u64) -> bool {
    n == 0
        || !n
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
            .is_multiple_of(5)
}

#[test]
fn missing_buffers_do_not_move_the_others() {
    let take = Take::new(BOTH);
    let (audio, video) = (
        take.audio(&stereo(48_000), None),
        take.video(&small(), None),
    );
    take.roll();
    for n in 0..400u64 {
        if kept(n) {
            audio.push(tick(n));
        }
        if n % 4 == 0 && kept(n / 4) {
            video.push(shot(&small(), n / 4 * FRAME));
        }
    }
    audio.end();
    video.end();
    take.wrap();
    let (runs, length) = runs(&take.heard(0));
    let missing = (0..400).filter(|n| !kept(*n)).count() as u64;
    assert!(missing > 60, "{missing} of 400");
    for (recorded, source, _) in &runs {
        assert_eq!(recorded, source);
    }
    let present: u64 = runs.iter().map(|run| run.2).sum();
    assert_eq!(present, (400 - missing) * 480);
    assert!(length > 390 * 480, "{length}");
    let seen = take.seen();
    assert_eq!(seen.len(), (0..100).filter(|n| kept(*n)).count());
    for (recorded, source) in seen {
        assert_eq!(Some(recorded), source);
    }
}

#[test]
fn buffers_dropped_upstream_are_silence() {
    let take = Take::new(WAV);
    let source = take.app.source(
        "audiotestsrc num-buffers=300 samplesperbuffer=480 ! \
         audio/x-raw,format=S16LE,rate=48000,channels=2,layout=interleaved ! identity name=tagged ! \
         identity drop-probability=0.2",
    );
    let tagged = take.app.pipeline.by_name("tagged").unwrap();
    tag::audio(
        &tagged.static_pad("src").unwrap(),
        AudioSignal::Counted,
        48_000,
    );
    source.link(&take.app.pad("audio_%u")).unwrap();
    take.app.recorder.set_property("autostart", true);
    take.app.set_state(gst::State::Playing);
    take.wrap();
    let (runs, _) = runs(&take.heard(0));
    let first = runs[0].1;
    assert!(runs.len() > 10, "{runs:?}");
    for (recorded, source, _) in runs {
        assert_eq!(recorded + first, source);
    }
}

#[test]
fn gap_events_are_silence_and_the_last_frame() {
    let take = Take::new(BOTH);
    let (audio, video) = (
        take.audio(&stereo(48_000), None),
        take.video(&small(), None),
    );
    take.roll();
    for n in 0..200 {
        match n {
            50 => audio.gap(500 * MILLI, SECOND),
            51..150 => (),
            _ => audio.push(tick(n)),
        }
        match n / 4 {
            15 => video.gap(600 * MILLI, 800 * MILLI),
            16..35 => (),
            frame if n % 4 == 0 => video.push(shot(&small(), frame * FRAME)),
            _ => (),
        }
    }
    audio.end();
    video.end();
    take.wrap();
    let half = 24_000;
    assert_eq!(
        runs(&take.heard(0)),
        (vec![(0, 0, half), (3 * half, 3 * half, half)], 4 * half)
    );
    let seen = take.seen();
    assert_eq!(seen[14..16], [(560, Some(560)), (1400, Some(1400))]);
    assert!((take.length() - 2.0).abs() < 0.002, "{}", take.length());
}

#[test]
fn late_tracks_start_with_silence_and_black() {
    for late_sound in [true, false] {
        let take = Take::new(BOTH);
        let (audio, video) = (
            take.audio(&stereo(48_000), None),
            take.video(&small(), None),
        );
        take.roll();
        for n in 0..400 {
            if !late_sound || n >= 250 {
                audio.push(tick(n));
            }
            if n % 4 == 0 && (late_sound || n >= 248) {
                video.push(shot(&small(), n / 4 * FRAME));
            }
        }
        audio.end();
        video.end();
        take.wrap();
        let from = if late_sound { 250 * 480 } else { 0 };
        let whole = 400 * 480;
        assert_eq!(
            runs(&take.heard(0)),
            (vec![(from, from, whole - from)], whole)
        );
        let seen = take.seen();
        if late_sound {
            assert_eq!((seen.len(), seen[0]), (100, (0, Some(0))));
        } else {
            assert_eq!(seen[..2], [(0, None), (2480, Some(2480))]);
        }
        assert!((take.length() - 4.0).abs() < 0.002, "{}", take.length());
    }
}

#[test]
fn a_track_that_ends_early_does_not_end_the_others() {
    let take = Take::new(BOTH);
    let (audio, video) = (
        take.audio(&stereo(48_000), None),
        take.video(&small(), None),
    );
    take.roll();
    for n in 0..200 {
        match n {
            0..100 => audio.push(tick(n)),
            100 => audio.end(),
            _ => (),
        }
        if n % 4 == 0 {
            video.push(shot(&small(), n / 4 * FRAME));
        }
    }
    video.end();
    take.wrap();
    assert_eq!(runs(&take.heard(0)).0, [(0, 0, 48_000)]);
    assert_eq!(take.seen().len(), 50);
    assert!((take.length() - 2.0).abs() < 0.002, "{}", take.length());
}

#[test]
fn audio_that_ends_without_a_buffer_does_not_affect_video() {
    for mime in [
        "video/ogg;codecs=\"vp8,vorbis\"",
        "video/ogg;codecs=\"theora,opus\"",
        BOTH,
    ] {
        let take = Take::new(mime);
        let (audio, video) = (
            take.audio(&stereo(48_000), None),
            take.video(&small(), None),
        );
        take.roll();
        audio.end();
        for n in 0..50 {
            video.push(shot(&small(), n * FRAME));
        }
        video.end();
        take.wrap();
        let seen = take.seen();
        assert_eq!((seen.len(), seen[49].1), (50, Some(1960)), "{mime}");
    }
}

/// A live camera and a microphone: with audio as given, blobs continue to be emitted and `stop` returns quickly.
fn beside_a_microphone(dies_after: Option<u64>) {
    let take = Take::new(BOTH);
    take.app.recorder.set_property("timeslice", 500u32);
    let camera = take.app.source(
        "videotestsrc is-live=true ! video/x-raw,format=I420,width=160,height=120,framerate=25/1",
    );
    let log = tag::video(&camera);
    camera.link(&take.app.pad("video_%u")).unwrap();
    let audio = take.audio(&stereo(48_000), Some(10 * MILLI));
    take.app.set_state(gst::State::Playing);
    audio.introduce();
    assert!(holds_within(DEADLINE, || !log.lock().unwrap().is_empty()));
    take.app.act("start");
    let from = take.app.running_time();
    if let Some(after) = dies_after {
        let first = from / (10 * MILLI) + 1;
        for n in first..first + after / (10 * MILLI) {
            take.app.wait_running_time((n + 1) * 10 * MILLI);
            audio.push(tick(n));
        }
    }
    take.app.wait_running_time(from + 5 * SECOND);
    let blobs = take
        .app
        .events()
        .iter()
        .filter(|h| h.name == "data-available")
        .count();
    // It is waited for at most two seconds.
    assert!(blobs >= 4, "{blobs} blobs in 5 s");
    take.app.act("stop");
    let asked = Instant::now();
    take.app.wait_for("stop", 1);
    assert!(asked.elapsed().as_secs_f64() < 3.0, "{:?}", asked.elapsed());
    let kept = take.app.kept();
    take.wrap();
    let (runs, length) = runs(&take.heard(0));
    let expected = kept.total() * 48 / MILLI;
    assert!(
        length.abs_diff(expected) <= 1,
        "{length} samples, expected {expected}"
    );
    match dies_after {
        None => assert_eq!(runs, []),
        Some(after) => {
            let [(recorded, source, samples)] = runs[..] else {
                panic!("{runs:?}");
            };
            assert_eq!(samples, after * 48 / MILLI);
            let exact = recorded as i64 - source as i64;
            let start = (kept.intervals[0].0 * 48).div_euclid(MILLI) as i64;
            assert!((exact + start).abs() <= 1, "{exact} {start}");
        }
    }
    let seen = take.seen();
    assert!(seen.len() > 100, "{} pictures", seen.len());
    for (recorded, source) in &seen[1..] {
        let exact = source.unwrap() as f64 - kept.intervals[0].0 as f64 / 1e6;
        assert!((*recorded as f64 - exact).abs() < 1.6, "{recorded} {exact}");
    }
}

#[test]
fn a_microphone_without_data_is_silence_and_delays_nothing() {
    beside_a_microphone(None);
}

#[test]
fn a_microphone_that_stops_is_silent_from_then_on() {
    beside_a_microphone(Some(800 * MILLI));
}

#[test]
fn a_camera_that_stops_shows_its_last_frame_while_audio_continues() {
    let take = Take::new(BOTH);
    take.app.recorder.set_property("timeslice", 500u32);
    let source = take.app.source(
        "audiotestsrc is-live=true samplesperbuffer=480 ! \
         audio/x-raw,format=S16LE,rate=48000,channels=2,layout=interleaved",
    );
    let clock = tag::audio(&source, AudioSignal::Counted, 48_000);
    source.link(&take.app.pad("audio_%u")).unwrap();
    let camera = take.video(&small(), Some(FRAME));
    take.app.set_state(gst::State::Playing);
    assert!(holds_within(DEADLINE, || clock.has_started()));
    take.app.act("start");
    let first = take.app.running_time() / FRAME + 1;
    for n in first..first + 10 {
        take.app.wait_running_time((n + 1) * FRAME);
        camera.push(shot(&small(), n * FRAME));
    }
    take.app.wait_running_time(first * FRAME + 4 * SECOND);
    let blobs = take
        .app
        .events()
        .iter()
        .filter(|h| h.name == "data-available")
        .count();
    assert!(blobs >= 4, "{blobs} blobs in 4 s");
    take.app.act("stop");
    take.wrap();
    let kept = take.app.kept();
    let seen = take.seen();
    assert_eq!(seen.len(), 10, "{seen:?}");
    assert_eq!(seen[9].1, Some((first + 9) * 40));
    let (runs, length) = runs(&take.heard(0));
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert!(length.abs_diff(kept.total() * 48 / MILLI) <= 1);
    assert!((take.length() - kept.total() as f64 / 1e9).abs() < 0.05);
}

#[test]
fn recorded_time_advances_without_any_data() {
    let take = Take::new(WAV);
    take.app.recorder.set_property("timeslice", 500u32);
    let audio = take.audio(&stereo(48_000), Some(10 * MILLI));
    take.app.set_state(gst::State::Playing);
    audio.introduce();
    take.app.act("start");
    take.app
        .wait_running_time(take.app.running_time() + 4 * SECOND);
    let blobs = take
        .app
        .events()
        .iter()
        .filter(|h| h.name == "data-available")
        .count();
    assert!(blobs >= 2, "{blobs} blobs in 4 s");
    take.app.act("stop");
    take.wrap();
    let kept = take.app.kept();
    let (runs, length) = runs(&take.heard(0));
    assert_eq!(runs, []);
    assert!(length.abs_diff(kept.total() * 48 / MILLI) <= 1);
}
