//! A recording in parts: consecutive files without a gap.

mod common;

use common::app::{App, DEADLINE, SMALL, STEREO, holds_within, script, temp_location};
use common::judge::{decode, file, parts, samples, sync};
use common::signal::tag;
use gst::prelude::*;
use std::path::Path;
use std::process::Command;

const SECOND: u64 = 1_000_000_000;
const MILLI: u64 = 1_000_000;

#[test]
fn live_pcm_is_split_to_the_sample() {
    let (_directory, path) = temp_location("live-%02d.wav");
    let app = App::new("audio/wav", &path);
    let (_source, clock) = app.counted(true, None);
    app.set_state(gst::State::Playing);
    assert!(holds_within(DEADLINE, || clock.has_started()));
    app.act("start");
    for _ in 0..5 {
        app.wait_running_time(app.running_time() + 130 * MILLI);
        app.act("split-now");
    }
    app.wait_running_time(app.running_time() + 130 * MILLI);
    app.act("stop");
    app.wait_for("stop", 1);
    let kept = app.kept();
    let parts = parts::from_messages(&app);
    assert_eq!(parts.len(), 6);
    parts::check_contiguous(&parts, kept.total(), 100_000.0).unwrap();
    let audio = parts::audio(&parts, None).unwrap();
    samples::check_continuous(&audio, &kept, &clock).unwrap();
    assert_eq!(app.warnings(), Vec::<String>::new());
}

#[test]
fn audio_parts_have_the_maximum_duration() {
    let (_directory, path) = temp_location("fast-%d.flac");
    let app = App::new("audio/flac", &path);
    app.recorder
        .set_property("max-size-time", 1_000 * MILLI + 12_345);
    app.recorder.set_property("autostart", true);
    let (_source, clock) = app.counted(false, Some(550));
    app.set_state(gst::State::Playing);
    app.wait_for("stop", 1);
    app.wait_eos();
    let kept = app.kept();
    let parts = parts::from_messages(&app);
    // The last sample may be half a sample early.
    assert!(kept.total().abs_diff(5_500 * MILLI) < SECOND / 48_000);
    assert_eq!(parts.len(), 6);
    assert!(
        parts
            .iter()
            .take(5)
            .all(|part| part.duration == 1_000 * MILLI + 12_345)
    );
    parts::check_contiguous(&parts, kept.total(), 100_000.0).unwrap();
    let audio = parts::audio(&parts, None).unwrap();
    samples::check_continuous(&audio, &kept, &clock).unwrap();
}

#[test]
fn splits_in_a_pause_are_one_and_the_next_part_starts_at_the_resume() {
    let (_directory, path) = temp_location("paused-%d.wav");
    let app = App::new("audio/wav", &path);
    let (source, clock) = app.counted(false, Some(100));
    let steps = vec![
        (3, "start"),
        // Nothing has been recorded.
        (3, "split-now"),
        (20, "pause"),
        (22, "split-now"),
        (25, "split-now"),
        (30, "resume"),
        (40, "pause"),
        (41, "split-now"),
        (50, "stop"),
    ];
    script(&source, &app.recorder, steps);
    app.set_state(gst::State::Playing);
    app.wait_for("stop", 1);
    let kept = app.kept();
    let parts = parts::from_messages(&app);
    assert_eq!(parts.len(), 2, "{parts:?}");
    assert_eq!(parts[1].running_time, 300 * MILLI);
    parts::check_contiguous(&parts, kept.total(), 100_000.0).unwrap();
    let audio = parts::audio(&parts, None).unwrap();
    samples::check_continuous(&audio, &kept, &clock).unwrap();
    let files = std::fs::read_dir(path.parent().unwrap()).unwrap();
    assert_eq!(files.count(), 2, "no file for an empty part");
}

#[test]
fn every_frame_is_in_one_part() {
    let (_directory, path) = temp_location("live-%d.webm");
    let app = App::new("video/webm;codecs=\"vp8,opus\"", &path);
    let (_clock, log) = app.live();
    app.act("start");
    for _ in 0..4 {
        app.wait_running_time(app.running_time() + 370 * MILLI);
        app.act("split-now");
    }
    app.wait_running_time(app.running_time() + 370 * MILLI);
    app.act("stop");
    app.wait_for("stop", 1);
    let kept = app.kept();
    let parts = parts::from_messages(&app);
    assert_eq!(parts.len(), 5);
    parts::check_contiguous(&parts, kept.total(), 35e6).unwrap();
    let shown = sync::frame_times(&parts::video(&parts).unwrap()).unwrap();
    let (start, end) = kept.intervals[0];
    app.set_state(gst::State::Null);
    let log = log.lock().unwrap().clone();
    let started = log.iter().filter(|at| (start + 1..end).contains(*at));
    // And the one visible at the start.
    let mut expected: Vec<u64> = log
        .iter()
        .filter(|at| **at <= start)
        .copied()
        .last()
        .into_iter()
        .collect();
    expected.extend(started);
    let micro = |at: u64| (at + 500) / 1_000;
    let expected: Vec<u64> = expected.into_iter().map(micro).collect();
    let found: Vec<u64> = shown
        .iter()
        .map(|(_, source)| micro(*source as u64))
        .collect();
    // A busy machine may have dropped some, but none is repeated or at another time.
    assert!(
        found.iter().is_sorted_by(|one, next| one < next),
        "{found:?}"
    );
    assert!(
        found.iter().all(|frame| expected.contains(frame)),
        "{found:?}, expected {expected:?}"
    );
    assert!(
        found.len() + expected.len() / 10 >= expected.len(),
        "{found:?}, expected {expected:?}"
    );
    for part in &parts[1..] {
        let instant = micro(part.running_time);
        assert!(
            expected.contains(&instant),
            "{part:?} does not start with a frame"
        );
    }
}

#[test]
fn parts_of_a_file_split_by_time_start_with_frames() {
    let (_directory, path) = temp_location("fast-%d.mkv");
    let app = App::new("video/x-matroska;codecs=\"avc1,flac\"", &path);
    app.recorder.set_property("max-size-time", SECOND);
    app.recorder.set_property("autostart", true);
    let (_source, clock) = app.counted(false, Some(500));
    let video = app.source(&format!("videotestsrc num-buffers=150 ! {SMALL}"));
    let log = tag::video(&video);
    video.link(&app.pad("video_%u")).unwrap();
    app.set_state(gst::State::Playing);
    app.wait_for("stop", 1);
    let kept = app.kept();
    let parts = parts::from_messages(&app);
    assert_eq!(parts.len(), 5);
    parts::check_contiguous(&parts, kept.total(), 35e6).unwrap();
    let audio = parts::audio(&parts, None).unwrap();
    samples::check_continuous(&audio, &kept, &clock).unwrap();
    let shown = sync::frame_times(&parts::video(&parts).unwrap()).unwrap();
    let found: Vec<u64> = shown
        .iter()
        .map(|(_, source)| *source as u64 / 1_000)
        .collect();
    let expected: Vec<u64> = log
        .lock()
        .unwrap()
        .iter()
        .map(|at| (at + 500) / 1_000)
        .collect();
    assert_eq!(found, expected);
}

/// The payloads of a stream's packets, as hashes.
fn payloads(file: &Path, stream: &str) -> Vec<String> {
    let output = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-select_streams",
            stream,
            "-show_data_hash",
            "md5",
        ])
        .args([
            "-show_entries",
            "packet=data_hash",
            "-of",
            "default=nw=1:nk=1",
        ])
        .arg(file)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Copies encoded video and audio, in parts if `size_time` is not 0; returns the parts.
fn copied(
    location: &Path,
    mime_type: &str,
    (video, audio): (&str, &str),
    size_time: u64,
) -> Vec<parts::Part> {
    let app = App::new(mime_type, location);
    app.recorder.set_property("max-size-time", size_time);
    app.recorder.set_property("autostart", true);
    let video = app.source(&format!("videotestsrc num-buffers=150 ! {SMALL} ! {video}"));
    let audio = app.source(&format!(
        "audiotestsrc num-buffers=500 samplesperbuffer=480 ! {STEREO} ! audioconvert ! {audio}"
    ));
    // If keyframes were requested, encoders would produce others.
    ignore_requests(&video);
    video.link(&app.pad("video_%u")).unwrap();
    audio.link(&app.pad("audio_%u")).unwrap();
    app.set_state(gst::State::Playing);
    app.wait_for("stop", 1);
    assert_eq!(app.warnings(), Vec::<String>::new());
    parts::from_messages(&app)
}

#[test]
fn copied_packets_are_each_in_one_part() {
    for (name, mime_type, codecs) in [
        (
            "mkv",
            "video/x-matroska",
            (
                "x264enc threads=1 pass=quant key-int-max=20 bframes=2 speed-preset=ultrafast ! h264parse",
                "opusenc",
            ),
        ),
        (
            "webm",
            "video/webm",
            (
                "vp8enc deadline=1 cpu-used=-8 threads=1 keyframe-max-dist=20",
                "vorbisenc",
            ),
        ),
        (
            "mp4",
            "video/mp4",
            (
                "x264enc threads=1 pass=quant key-int-max=20 bframes=2 speed-preset=ultrafast ! h264parse",
                "avenc_aac ! aacparse",
            ),
        ),
    ] {
        let (_directory, whole) = temp_location(&format!("whole-%d.{name}"));
        let split = whole.with_file_name(format!("split-%d.{name}"));
        let whole = copied(&whole, mime_type, codecs, 0);
        let split = copied(&split, mime_type, codecs, SECOND);
        assert!(split.len() >= 4, "{name}: {split:?}");
        let total: u64 = whole.iter().map(|part| part.duration).sum();
        let in_all: u64 = split.iter().map(|part| part.duration).sum();
        assert!(
            total.abs_diff(in_all) < 30 * MILLI,
            "{name}: {total}, {in_all}"
        );
        for stream in ["v:0", "a:0"] {
            let expected = payloads(&whole[0].path, stream);
            let found = split.iter().flat_map(|part| payloads(&part.path, stream));
            let found: Vec<String> = found.collect();
            assert_eq!(found, expected, "{name} {stream}");
        }
        for part in &split {
            common::judge::file::decodes_without_errors(&part.path).unwrap();
            let starts = common::judge::file::starts(&part.path).unwrap();
            assert!(
                starts.iter().all(|start| start.abs() < 70e6),
                "{name}: {starts:?}"
            );
        }
    }
}

#[test]
fn the_last_part_is_as_long_as_its_media() {
    for (name, mime_type) in [
        ("oga", "audio/ogg;codecs=flac"),
        ("ogg", "audio/ogg;codecs=opus"),
        ("ogg", "audio/ogg;codecs=vorbis"),
        ("webm", "audio/webm;codecs=opus"),
        ("m4a", "audio/mp4;codecs=mp4a.40.2"),
        ("mp3", "audio/mpeg"),
    ] {
        let (_directory, path) = temp_location(&format!("ends-%d.{name}"));
        let app = App::new(mime_type, &path);
        app.recorder.set_property("max-size-time", SECOND);
        app.recorder.set_property("autostart", true);
        let (_source, _) = app.counted(false, Some(150));
        app.set_state(gst::State::Playing);
        app.wait_for("stop", 1);
        let durations = parts::from_messages(&app);
        let durations: Vec<u64> = durations.iter().map(|part| part.duration).collect();
        // The source's first sample may be half a sample late.
        let expected = [SECOND, 500 * MILLI];
        assert!(
            durations.len() == 2
                && durations
                    .iter()
                    .zip(expected)
                    .all(|(one, expected)| one.abs_diff(expected) < SECOND / 48_000),
            "{mime_type}: {durations:?}"
        );
    }
}

#[test]
fn consecutive_splits_are_a_part_each() {
    let (_directory, path) = temp_location("fast-%d.wav");
    let app = App::new("audio/wav", &path);
    let (source, clock) = app.counted(false, Some(60));
    let splits = (20..30).map(|number| (number, "split-now"));
    let steps = std::iter::once((3, "start")).chain(splits);
    script(&source, &app.recorder, steps.collect());
    app.set_state(gst::State::Playing);
    app.wait_for("stop", 1);
    let kept = app.kept();
    let parts = parts::from_messages(&app);
    let instants: Vec<u64> = parts.iter().map(|part| part.running_time / MILLI).collect();
    assert_eq!(
        instants,
        [30, 200, 210, 220, 230, 240, 250, 260, 270, 280, 290]
    );
    let audio = parts::audio(&parts, None).unwrap();
    samples::check_continuous(&audio, &kept, &clock).unwrap();
}

/// As from a file: keyframes cannot be requested, and are further apart than live video is waited for.
#[test]
fn parts_of_a_file_begin_at_its_keyframes() {
    let (_directory, path) = temp_location("copied-%d.mkv");
    let app = App::new("video/x-matroska", &path);
    app.recorder.set_property("max-size-time", 3 * SECOND);
    app.recorder.set_property("autostart", true);
    let video = app.source(
        "videotestsrc pattern=ball num-buffers=100 ! video/x-raw,width=160,height=120,framerate=1/2 ! \
         x264enc tune=zerolatency key-int-max=25 ! h264parse",
    );
    ignore_requests(&video);
    video.link(&app.pad("video_%u")).unwrap();
    app.set_state(gst::State::Playing);
    app.wait_for("stop", 1);
    let parts = parts::from_messages(&app);
    assert_eq!(app.warnings(), Vec::<String>::new());
    let frames: Vec<usize> = parts
        .iter()
        .map(|part| {
            file::decodes_without_errors(&part.path).unwrap();
            decode::video(&part.path, 0).unwrap().frames.len()
        })
        .collect();
    assert_eq!(frames, [25; 4]);
}

/// Lets no request for a keyframe through, like a source that cannot fulfil any.
fn ignore_requests(video: &gst::Pad) {
    video.add_probe(gst::PadProbeType::EVENT_UPSTREAM, |_, info| {
        let event = info.event().map(|event| event.type_());
        if event != Some(gst::EventType::CustomUpstream) {
            return gst::PadProbeReturn::Ok;
        }
        // In 1.22, a buffer dropped by a probe in Rust is unreffed once too often.
        drop(info.data.take());
        gst::PadProbeReturn::Handled
    });
}
