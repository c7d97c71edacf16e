//! `max-size-bytes`: parts end before they exceed it.

mod common;

use common::app::{App, DEADLINE, SMALL, STEREO, holds_within, temp_location};
use common::judge::{decode, parts, samples, sync};
use common::signal::tag;
use gst::prelude::*;

const SECOND: u64 = 1_000_000_000;
const MILLI: u64 = 1_000_000;

/// A recorder of parts of at most so many bytes, which begins as soon as media arrives.
fn limited(name: &str, mime_type: &str, limit: u64) -> (tempfile::TempDir, App) {
    let (directory, path) = temp_location(name);
    let app = App::new(mime_type, &path);
    app.recorder.set_property("max-size-bytes", limit);
    app.recorder.set_property("autostart", true);
    (directory, app)
}

/// Verifies that all parts but the last are nearly as large as permitted, and none is larger than `most`.
#[track_caller]
fn are_nearly_full(parts: &[parts::Part], limit: u64, most: u64, least: u64) {
    let (_, full) = parts.split_last().expect("parts");
    assert!(!full.is_empty(), "{parts:?}");
    let sizes: Vec<u64> = parts.iter().map(|part| part.size).collect();
    println!("{sizes:?} of {limit}");
    assert!(sizes.iter().all(|size| *size <= most), "{sizes:?}");
    assert!(full.iter().all(|part| part.size >= least), "{sizes:?}");
}

#[test]
fn live_pcm_parts_do_not_exceed_the_size() {
    let (_directory, path) = temp_location("live-%d.wav");
    let app = App::new("audio/wav", &path);
    app.recorder.set_property("max-size-bytes", 200_000u64);
    let (_source, clock) = app.counted(true, None);
    app.set_state(gst::State::Playing);
    assert!(holds_within(DEADLINE, || clock.has_started()));
    app.act("start");
    app.wait_running_time(app.running_time() + 2_500 * MILLI);
    app.act("stop");
    app.wait_for("stop", 1);
    let kept = app.kept();
    let parts = parts::from_messages(&app);
    are_nearly_full(&parts, 200_000, 200_000, 185_000);
    parts::check_contiguous(&parts, kept.total(), 100_000.0).unwrap();
    let audio = parts::audio(&parts, None).unwrap();
    samples::check_continuous(&audio, &kept, &clock).unwrap();
    assert_eq!(app.warnings(), Vec::<String>::new());
}

/// The room for chapters does not fill them, and a file that is read faster than it is encoded does not overfill them.
#[test]
fn small_parts_are_mostly_media() {
    for name in ["webm", "mp4", "ogg"] {
        let (file, mime_type) = (format!("small-%d.{name}"), format!("audio/{name}"));
        let (_directory, app) = limited(&file, &mime_type, 60_000);
        app.recorder
            .set_property("audio-bits-per-second", 128_000u32);
        let source = app.source("audiotestsrc wave=pink-noise num-buffers=430");
        source.link(&app.pad("audio_%u")).unwrap();
        app.set_state(gst::State::Playing);
        app.wait_for("stop", 1);
        let parts = parts::from_messages(&app);
        // 10 s of 16 kB. The encoder may hold a few packets of 400 bytes.
        are_nearly_full(&parts, 60_000, 62_000, 54_000);
        let (last, full) = parts.split_last().unwrap();
        assert!((1..=4).contains(&full.len()), "{parts:?}");
        assert!(full.iter().all(|p| p.duration > 2 * SECOND), "{parts:?}");
        assert!(last.whole, "{parts:?}");
    }
}

/// As fast as possible, without a clock.
#[test]
fn splits_are_exact_however_fast_a_file_is_read() {
    let (_directory, app) = limited("fast-%d.wav", "audio/wav", 1_000_000);
    let (_source, clock) = app.counted(false, Some(3_000));
    app.set_state(gst::State::Playing);
    app.wait_for("stop", 1);
    let kept = app.kept();
    let parts = parts::from_messages(&app);
    assert_eq!(parts.len(), 7);
    are_nearly_full(&parts, 1_000_000, 1_000_000, 990_000);
    parts::check_contiguous(&parts, kept.total(), 100_000.0).unwrap();
    let audio = parts::audio(&parts, None).unwrap();
    samples::check_continuous(&audio, &kept, &clock).unwrap();
}

/// Every container with video: its overhead and its index count.
#[test]
fn parts_with_video_do_not_exceed_the_size() {
    for (name, mime_type) in [
        ("mkv", "video/x-matroska;codecs=\"avc1,opus\""),
        ("mp4", "video/mp4;codecs=\"avc1,opus\""),
        ("webm", "video/webm;codecs=\"vp8,vorbis\""),
    ] {
        let limit = 130_000;
        let (_directory, app) = limited(&format!("fast-%d.{name}"), mime_type, limit);
        let (_source, _) = app.counted(false, Some(700));
        let video = app.source(&format!("videotestsrc num-buffers=210 ! {SMALL}"));
        let log = tag::video(&video);
        video.link(&app.pad("video_%u")).unwrap();
        app.set_state(gst::State::Playing);
        app.wait_for("stop", 1);
        let parts = parts::from_messages(&app);
        // Non-live encoders may hold one and a half seconds, at 26 kB/s.
        are_nearly_full(&parts, limit, limit + 40_000, limit * 3 / 4);
        parts::check_contiguous(&parts, app.kept().total(), 35e6).unwrap();
        assert_eq!(frames_in(&parts), logged(&log), "{name}");
    }
}

/// Frames that last longer than the media that is let in at once, with audio that ends, begins late, or is absent.
#[test]
fn parts_of_slow_video_are_nearly_full() {
    const LIMIT: u64 = 40_000;
    for (rate, audio) in [
        ("1/1", None),
        ("1/5", None),
        ("1/1", Some("num-buffers=400")),
        ("1/2", Some("num-buffers=200 timestamp-offset=3000000000")),
    ] {
        let mime_type = "video/webm;codecs=\"vp8,opus\"";
        let (_directory, app) = limited("slow-%d.webm", mime_type, LIMIT);
        app.recorder
            .set_property("audio-bits-per-second", 48_000u32);
        let video = slow_video(
            &app,
            &format!("num-buffers=150 ! {SLOW_VIDEO},framerate={rate}"),
        );
        if let Some(audio) = audio {
            let audio = app.source(&format!("audiotestsrc wave=pink-noise {audio} ! {STEREO}"));
            audio.link(&app.pad("audio_%u")).unwrap();
        }
        app.set_state(gst::State::Playing);
        app.wait_for("stop", 1);
        let parts = parts::from_messages(&app);
        // Up to two frames more, and the audio beside them. Less where audio ends that the forecast includes.
        are_nearly_full(&parts, LIMIT, LIMIT + 12_000, LIMIT / 2);
        parts::check_contiguous(&parts, app.kept().total(), 35e6).unwrap();
        assert_eq!(distinct_frames_in(&parts), logged(&video));
    }
}

/// Parts end at whichever comes first.
#[test]
fn slow_video_with_both_limits() {
    let (_directory, app) = limited("slow-%d.webm", "video/webm;codecs=vp8", 100_000);
    app.recorder.set_property("max-size-time", 2 * SECOND);
    let video = slow_video(
        &app,
        &format!("num-buffers=20 ! {SLOW_VIDEO},framerate=1/1"),
    );
    app.set_state(gst::State::Playing);
    app.wait_for("stop", 1);
    let parts = parts::from_messages(&app);
    assert_eq!(parts.len(), 10);
    parts::check_contiguous(&parts, 20 * SECOND, 35e6).unwrap();
    assert_eq!(distinct_frames_in(&parts), logged(&video));
}

/// A camera that sends one frame each second.
#[test]
fn slow_live_video_is_recorded() {
    let (_directory, app) = limited("slow-%d.mkv", "video/x-matroska", 6_000);
    let video = slow_video(&app, &format!("is-live=true ! {SLOW_VIDEO},framerate=1/1"));
    app.set_state(gst::State::Playing);
    assert!(holds_within(DEADLINE, || video.lock().unwrap().len() >= 6));
    app.wait_running_time(app.running_time() + 300 * MILLI);
    app.act("stop");
    app.wait_for("stop", 1);
    let parts = parts::from_messages(&app);
    assert!(parts.len() > 1, "{parts:?}");
    parts::check_contiguous(&parts, app.kept().total(), 35e6).unwrap();
    // The source goes on after the stop.
    let mut sent = logged(&video);
    sent.truncate(6);
    assert_eq!(distinct_frames_in(&parts), sent);
}

const SLOW_VIDEO: &str = "video/x-raw,format=I420,width=320,height=240";

fn slow_video(app: &App, source: &str) -> tag::FrameLog {
    let video = app.source(&format!("videotestsrc {source}"));
    let log = tag::video(&video);
    video.link(&app.pad("video_%u")).unwrap();
    log
}

/// The times in the frames of all parts, in microseconds.
fn frames_in(parts: &[parts::Part]) -> Vec<u64> {
    let shown = sync::frame_times(&parts::video(parts).unwrap()).unwrap();
    shown.iter().map(|(_, at)| *at as u64 / 1_000).collect()
}

/// The same; a frame that is visible when a part ends may be in the next one, too.
fn distinct_frames_in(parts: &[parts::Part]) -> Vec<u64> {
    let mut frames = frames_in(parts);
    frames.dedup();
    frames
}

/// The times of the frames that have been sent, in microseconds.
fn logged(log: &tag::FrameLog) -> Vec<u64> {
    let log = log.lock().unwrap();
    log.iter().map(|at| (at + 500) / 1_000).collect()
}

/// Copied video is split at keyframes: it may exceed the size by one GOP.
#[test]
fn copied_video_exceeds_the_size_by_one_gop_at_most() {
    let limit = 300_000;
    let (_directory, app) = limited("copied-%d.mkv", "video/x-matroska", limit);
    let video = app.source(&format!(
        "videotestsrc pattern=snow num-buffers=300 ! {SMALL} ! \
         x264enc threads=1 bitrate=1000 key-int-max=20 speed-preset=ultrafast ! h264parse"
    ));
    video.link(&app.pad("video_%u")).unwrap();
    app.set_state(gst::State::Playing);
    app.wait_for("stop", 1);
    let parts = parts::from_messages(&app);
    // 20 frames at 1 Mbit/s are 85 kB.
    are_nearly_full(&parts, limit, limit + 130_000, limit - 60_000);
    parts::check_contiguous(&parts, app.kept().total(), 35e6).unwrap();
    let frames: usize = parts
        .iter()
        .map(|part| decode::video(&part.path, 0).unwrap().frames.len())
        .sum();
    assert_eq!(frames, 300);
}

#[test]
fn start_refuses_it_if_no_part_may_begin() {
    let (_directory, path) = temp_location("one.wav");
    let app = App::new("audio/wav", &path);
    app.recorder.set_property("max-size-bytes", SECOND);
    let (_source, clock) = app.counted(true, None);
    app.set_state(gst::State::Playing);
    assert!(holds_within(DEADLINE, || clock.has_started()));
    let error = app
        .recorder
        .emit_by_name::<Option<glib::Error>>("start", &[]);
    let error = error.expect("an error");
    assert!(
        error.matches(gstmediarecorder::ErrorCode::NotSupported),
        "{error}"
    );
    assert!(error.message().contains("max-size-bytes"), "{error}");
}
