//! Live media whose timestamps are wrong, early, late or constant, and network outages: it is recorded at its
//! time, and nothing ends because of it.

mod coded;
mod common;
mod inputs;

use coded::{Coded, ORIGIN, Packet};
use common::judge::{decode, file};
use gst::prelude::*;
use inputs::*;
use std::path::Path;

const VP8: &str = "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=15";
const H264: &str = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! h264parse ! \
                    video/x-h264,stream-format=avc,alignment=au";

/// A buffer that arrives at a running time.
struct Coming<'a> {
    at: u64,
    to: &'a Source,
    buffer: gst::Buffer,
}

/// Pushes each buffer when the pipeline's clock reaches its time.
fn play(take: &Take, mut coming: Vec<Coming<'_>>) {
    coming.sort_by_key(|coming| coming.at);
    for Coming { at, to, buffer } in coming {
        take.app.wait_running_time(at);
        to.push(buffer);
    }
}

/// Records the buffers in `coming` from the first one on, and stops.
fn record(take: &Take, coming: Vec<Coming<'_>>) {
    play(take, coming);
    take.app.act("stop");
    take.wrap();
}

fn live(take: &Take, template: &str, caps: &gst::Caps) -> Source {
    let source = Source::new(&take.app.pad(template), caps, Some(0));
    take.app.recorder.set_property("autostart", true);
    source
}

/// The frames of an encoded stream, from 0 on.
fn frames(coded: &Coded) -> Vec<(u64, gst::Buffer)> {
    let from_zero =
        |stamp: Option<gst::ClockTime>| stamp.map_or(0, |t| t.nseconds().saturating_sub(ORIGIN));
    let mut frames: Vec<_> = coded
        .buffers
        .iter()
        .map(|b| (from_zero(b.pts()), b.clone()))
        .collect();
    if coded
        .caps
        .structure(0)
        .unwrap()
        .name()
        .starts_with("audio/")
    {
        frames.retain(|(_, buffer)| !buffer.flags().contains(gst::BufferFlags::HEADER));
    }
    frames
}

fn at(mut buffer: gst::Buffer, pts: u64) -> gst::Buffer {
    let fields = buffer.make_mut();
    fields.set_pts(gst::ClockTime::from_nseconds(pts));
    fields.set_dts(gst::ClockTime::NONE);
    buffer
}

fn packets(path: &Path, stream: &str) -> Vec<Packet> {
    coded::packets(path, stream)
}

/// Three seconds of video and audio, 25 and 100 buffers per second; the first timestamp of each at 1.5 s is off by
/// `off`.
fn raw_with_a_wrong_stamp(off: i64) {
    let take = Take::new(BOTH);
    let video = live(&take, "video_%u", &small().to_caps().unwrap());
    let audio = live(&take, "audio_%u", &stereo(48_000).to_caps().unwrap());
    take.app.set_state(gst::State::Playing);
    let wrong = |n: u64, bad: u64, at: u64| {
        if n == bad {
            at.saturating_add_signed(off)
        } else {
            at
        }
    };
    let mut coming = Vec::new();
    for n in 0..75 {
        let (time, stamp) = (n * FRAME, wrong(n, 37, n * FRAME));
        let buffer = stamped(shot(&small(), time), Some(stamp), Some(FRAME));
        coming.push(Coming {
            at: time + FRAME,
            to: &video,
            buffer,
        });
    }
    for n in 0..300 {
        let (time, stamp) = (n * 10 * MILLI, wrong(n, 150, n * 10 * MILLI));
        let buffer = stamped(tick(n), Some(stamp), Some(10 * MILLI));
        coming.push(Coming {
            at: time + 10 * MILLI,
            to: &audio,
            buffer,
        });
    }
    record(&take, coming);
    assert!(take.app.warnings().is_empty(), "{:?}", take.app.warnings());
    let seen = take.seen();
    assert!(seen.len() >= 73, "{off}: {} of 75 video", seen.len());
    assert!(
        seen.iter()
            .all(|(recorded, source)| Some(*recorded) == *source),
        "{seen:?}"
    );
    let (runs, length) = runs(&take.heard(0));
    let heard: u64 = runs.iter().map(|run| run.2).sum();
    assert!(heard >= 298 * 480, "{off}: {heard} samples");
    assert!(runs.iter().all(|run| run.0 == run.1), "{off}: {runs:?}");
    assert!(length < 301 * 480 + 4_800, "{length}");
}

#[test]
fn one_raw_buffer_five_seconds_ahead_affects_no_other() {
    raw_with_a_wrong_stamp(5 * SECOND as i64);
}

#[test]
fn one_raw_buffer_an_hour_ahead_affects_no_other() {
    raw_with_a_wrong_stamp(3_600 * SECOND as i64);
}

#[test]
fn one_raw_buffer_far_behind_affects_no_other() {
    raw_with_a_wrong_stamp(-5 * SECOND as i64);
}

#[test]
fn one_encoded_buffer_with_a_wrong_timestamp_loses_nothing() {
    for (encoder, name) in [(VP8, "v"), (H264, "v"), ("opusenc", "a")] {
        let coded = match name {
            "v" => coded::video(encoder, 90),
            _ => coded::audio(encoder, 30),
        };
        for off in [5 * SECOND as i64, 3_600 * SECOND as i64, -5 * SECOND as i64] {
            let take = Take::new("video/x-matroska");
            let template = if name == "v" { "video_%u" } else { "audio_%u" };
            let source = live(&take, template, &coded.caps);
            take.app.set_state(gst::State::Playing);
            let frames = frames(&coded);
            let bad = frames.len() / 2;
            let coming = frames.iter().enumerate().map(|(n, (time, buffer))| {
                let stamp = if n == bad {
                    time.saturating_add_signed(off)
                } else {
                    *time
                };
                Coming {
                    at: time + 5 * MILLI,
                    to: &source,
                    buffer: at(buffer.clone(), stamp),
                }
            });
            record(&take, coming.collect());
            let found = packets(&take.path, name);
            assert_eq!(found.len(), frames.len(), "{encoder}, {off}");
            let times: Vec<_> = found.iter().map(|packet| packet.pts).collect();
            assert!(times.is_sorted(), "{encoder}, {off}: {times:?}");
            let last = frames.last().unwrap().0 as f64 - times.last().unwrap();
            assert!(
                last.abs() < 20e6,
                "{encoder}, {off}: the last is {last} ns off"
            );
            file::decodes_without_errors(&take.path).unwrap();
        }
    }
}

/// appsrc is not live by default, and timestamps of files are no better.
#[test]
fn one_wrong_timestamp_of_a_file_affects_no_other() {
    for off in [5 * SECOND, 3_600 * SECOND, 100 * 3_600 * SECOND] {
        let take = Take::new(BOTH);
        let video = take.video(&small(), None);
        let audio = take.audio(&stereo(48_000), None);
        take.roll();
        for n in 0..200u64 {
            let stamp = n * 10 * MILLI + if n == 100 { off } else { 0 };
            audio.push(stamped(tick(n), Some(stamp), None));
            if n % 4 == 0 {
                let stamp = n * 10 * MILLI + if n == 120 { off } else { 0 };
                video.push(stamped(shot(&small(), n * 10 * MILLI), Some(stamp), None));
            }
        }
        audio.end();
        video.end();
        take.wrap();
        let seen = take.seen();
        assert_eq!(seen.len(), 50, "{off}");
        assert!(
            seen.iter()
                .all(|(recorded, source)| Some(*recorded) == *source),
            "{seen:?}"
        );
        let whole = 200 * 480;
        assert_eq!(runs(&take.heard(0)), (vec![(0, 0, whole)], whole), "{off}");
    }
}

/// Encoded video and audio, of which everything from two seconds on arrives after five seconds, with timestamps
/// given by `stamp`.
fn network_away(stamp: impl Fn(u64) -> u64) -> (Take, usize, usize) {
    let (video, audio) = (coded::video(VP8, 120), coded::audio("opusenc", 40));
    let take = Take::new("video/webm");
    let camera = live(&take, "video_%u", &video.caps);
    let microphone = live(&take, "audio_%u", &audio.caps);
    take.app.set_state(gst::State::Playing);
    let away = |time: u64| time + if time >= 2 * SECOND { 5 * SECOND } else { 0 };
    let (video, audio) = (frames(&video), frames(&audio));
    let coming = |to, list: &[(u64, gst::Buffer)]| -> Vec<_> {
        list.iter()
            .map(|(time, buffer)| Coming {
                at: away(*time) + 5 * MILLI,
                to,
                buffer: at(buffer.clone(), stamp(*time)),
            })
            .collect()
    };
    let mut all = coming(&camera, &video);
    all.extend(coming(&microphone, &audio));
    record(&take, all);
    let found = (
        packets(&take.path, "v").len(),
        packets(&take.path, "a").len(),
    );
    assert_eq!(found.0, video.len());
    assert!(found.1 + 1 >= audio.len(), "{} of {}", found.1, audio.len());
    file::decodes_without_errors(&take.path).unwrap();
    let last = |stream| {
        packets(&take.path, stream)
            .last()
            .map_or(0.0, |packet| packet.pts)
    };
    for stream in ["v", "a"] {
        let off = last(stream) - 8.97e9;
        assert!(off.abs() < 60e6, "{stream} ends at {}", last(stream));
    }
    (take, video.len(), audio.len())
}

#[test]
fn a_network_outage_of_seconds_ends_nothing() {
    let (take, _, _) = network_away(|time| time + if time >= 2 * SECOND { 5 * SECOND } else { 0 });
    assert!(take.app.warnings().is_empty(), "{:?}", take.app.warnings());
}

#[test]
fn timestamps_that_paused_during_an_outage_are_shifted_with_a_warning() {
    let (take, _, _) = network_away(|time| time);
    let warnings = take.app.warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings.iter().all(|text| text.contains("behind")),
        "{warnings:?}"
    );
}

#[test]
fn timestamps_that_step_back_permanently_are_shifted_with_a_warning() {
    let (take, _, _) = network_away(|time| {
        if time >= 2 * SECOND {
            time - 2 * SECOND
        } else {
            time
        }
    });
    assert_eq!(take.app.warnings().len(), 2);
}

/// Raw media of a source with a wrong time base.
fn raw_from(stamps: u64, comes: u64) -> Take {
    let take = Take::new(BOTH);
    let video = live(&take, "video_%u", &small().to_caps().unwrap());
    let audio = live(&take, "audio_%u", &stereo(48_000).to_caps().unwrap());
    take.app.set_state(gst::State::Playing);
    let mut coming = Vec::new();
    for n in 0..75 {
        let buffer = stamped(
            shot(&small(), n * FRAME),
            Some(stamps + n * FRAME),
            Some(FRAME),
        );
        coming.push(Coming {
            at: comes + n * FRAME,
            to: &video,
            buffer,
        });
    }
    for n in 0..300 {
        let time = n * 10 * MILLI;
        let buffer = stamped(tick(n), Some(stamps + time), Some(10 * MILLI));
        coming.push(Coming {
            at: comes + time,
            to: &audio,
            buffer,
        });
    }
    play(&take, coming);
    take.app.wait_running_time(comes + 3 * SECOND + 20 * MILLI);
    take.app.act("stop");
    take.wrap();
    let warnings = take.app.warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    let seen = take.seen();
    assert!(seen.len() >= 74, "{} of 75 pictures", seen.len());
    for (recorded, source) in &seen[1..] {
        let off = recorded.abs_diff(source.unwrap());
        assert!(off <= 60, "{source:?} at {recorded}");
    }
    let (runs, _) = runs(&take.heard(0));
    let heard: u64 = runs.iter().map(|run| run.2).sum();
    assert!(heard >= 295 * 480, "{heard} of {} samples", 300 * 480);
    take
}

#[test]
fn timestamps_from_zero_after_a_late_start_are_shifted() {
    let take = raw_from(0, 3 * SECOND);
    let stats: gst::Structure = take.app.recorder.property("stats");
    let tracks = stats.get::<gst::Array>("tracks").unwrap();
    for track in tracks.iter() {
        let shifted = track
            .get::<gst::Structure>()
            .unwrap()
            .get::<i64>("shifted")
            .unwrap();
        assert!(
            shifted.abs_diff(3 * SECOND as i64) < 200 * MILLI,
            "{shifted}"
        );
    }
}

#[test]
fn timestamps_ten_seconds_ahead_of_the_clock_are_shifted() {
    raw_from(10 * SECOND, 500 * MILLI);
}

/// H.264 in which two frames occasionally have the same timestamp, with or without decode times.
#[test]
fn h264_frames_with_equal_timestamps_are_all_kept() {
    let coded = coded::video(H264, 50);
    for (container, with_dts) in [
        ("mp4", true),
        ("mp4", false),
        ("x-matroska", true),
        ("x-matroska", false),
    ] {
        let take = Take::new(&format!("video/{container}"));
        take.app.recorder.set_property("autostart", true);
        let source = Source::new(&take.app.pad("video_%u"), &coded.caps, None);
        take.app.set_state(gst::State::Playing);
        for (n, (time, buffer)) in frames(&coded).into_iter().enumerate() {
            let stamp = if n % 5 == 4 { time - SECOND / 30 } else { time };
            let mut buffer = at(buffer, stamp);
            if with_dts {
                buffer
                    .make_mut()
                    .set_dts(gst::ClockTime::from_nseconds(stamp));
            }
            source.push(buffer);
        }
        source.end();
        take.wrap();
        let found = packets(&take.path, "v");
        assert_eq!(found.len(), 50, "{container}, {with_dts}");
        let times: Vec<_> = found.iter().map(|packet| packet.pts).collect();
        assert!(
            times.is_sorted_by(|a, b| a < b),
            "{container}, {with_dts}: {times:?}"
        );
        file::decodes_without_errors(&take.path).unwrap();
    }
}

/// Video and audio at their time, with the given `max-queue-time`.
fn without_a_limit(max_queue_time: u64) {
    let take = Take::new(BOTH);
    take.app
        .recorder
        .set_property("max-queue-time", max_queue_time);
    let video = live(&take, "video_%u", &small().to_caps().unwrap());
    let audio = live(&take, "audio_%u", &stereo(48_000).to_caps().unwrap());
    take.app.set_state(gst::State::Playing);
    let mut coming = Vec::new();
    for n in 0..50 {
        let buffer = shot(&small(), n * FRAME);
        coming.push(Coming {
            at: (n + 1) * FRAME,
            to: &video,
            buffer,
        });
    }
    for n in 0..200 {
        let buffer = stamped(tick(n), Some(n * 10 * MILLI), Some(10 * MILLI));
        coming.push(Coming {
            at: (n + 1) * 10 * MILLI,
            to: &audio,
            buffer,
        });
    }
    record(&take, coming);
    assert!(take.app.warnings().is_empty(), "{:?}", take.app.warnings());
    let seen = take.seen();
    assert_eq!(seen.len(), 50);
    assert!(
        seen.iter()
            .all(|(recorded, source)| Some(*recorded) == *source),
        "{seen:?}"
    );
    let (runs, _) = runs(&take.heard(0));
    assert_eq!(runs, [(0, 0, 200 * 480)]);
}

#[test]
fn a_max_queue_time_of_0_sets_no_limit() {
    without_a_limit(0);
}

#[test]
fn the_largest_max_queue_time_sets_no_limit() {
    without_a_limit(u64::MAX);
}

#[test]
fn a_stop_timeout_of_0_reports_no_disk_as_stuck() {
    let take = Take::new(WAV);
    take.app.recorder.set_property("stop-timeout", 0u64);
    let audio = take.audio(&stereo(48_000), None);
    take.roll();
    for n in 0..3_000 {
        audio.push(tick(n));
    }
    take.app.act("stop");
    take.app.wait_for("stop", 1);
    let heard = take.app.events();
    let errors = heard.iter().filter(|event| event.name == "error");
    let errors: Vec<_> = errors
        .map(|event| {
            event
                .fields
                .get::<glib::Error>("error")
                .unwrap()
                .to_string()
        })
        .collect();
    assert!(
        !errors.iter().any(|text| text.contains("does not respond")),
        "{errors:?}"
    );
    assert!(!take.heard(0).is_empty());
}

/// As sent by demuxers for a track that starts late.
#[test]
fn gaps_before_the_first_audio_do_not_move_it() {
    let take = Take::new(BOTH);
    let video = take.video(&small(), None);
    let audio = take.audio(&stereo(48_000), None);
    take.roll();
    for n in 0..26 {
        audio.gap(n * SECOND, SECOND);
        for frame in 0..25 {
            video.push(shot(&small(), n * SECOND + frame * FRAME));
        }
    }
    for n in 0..100 {
        audio.push(stamped(
            tick(2_600 + n),
            Some(26 * SECOND + n * 10 * MILLI),
            None,
        ));
    }
    audio.end();
    video.end();
    take.wrap();
    let (runs, _) = runs(&take.heard(0));
    assert_eq!(runs, [(26 * 48_000, 26 * 48_000, 48_000)]);
}

#[test]
fn one_gap_before_the_only_audio_does_not_move_it() {
    for mime in [WAV, "audio/x-matroska;codecs=pcm"] {
        let take = Take::new(mime);
        let audio = take.audio(&stereo(48_000), None);
        take.roll();
        audio.gap(0, 25 * SECOND);
        for n in 0..100 {
            audio.push(stamped(
                tick(2_500 + n),
                Some(25 * SECOND + n * 10 * MILLI),
                None,
            ));
        }
        audio.end();
        take.wrap();
        let (runs, _) = runs(&take.heard(0));
        assert_eq!(runs, [(25 * 48_000, 25 * 48_000, 48_000)], "{mime}");
    }
}

#[test]
fn one_gap_before_encoded_audio_does_not_move_it() {
    for mime in [
        "audio/webm",
        "audio/ogg",
        "audio/ogg;codecs=vorbis",
        "audio/mp4",
    ] {
        for gaps in [1, 25] {
            let take = Take::new(mime);
            let audio = take.audio(&stereo(48_000), None);
            take.roll();
            for n in 0..gaps {
                audio.gap(n * 25 * SECOND / gaps, 25 * SECOND / gaps);
            }
            for n in 0..100 {
                let buffer = hiss(&stereo(48_000), n * 480, 480);
                audio.push(stamped(buffer, Some(25 * SECOND + n * 10 * MILLI), None));
            }
            audio.end();
            take.wrap();
            let audio = decode::audio(&take.path, 0, Some(48_000)).unwrap();
            let first = audio
                .samples
                .iter()
                .position(|sample| sample.unsigned_abs() > 1 << 26);
            let first = first.unwrap() / 2;
            assert!(
                first.abs_diff(25 * 48_000) < 2_400,
                "{mime}: audio starts at {first}"
            );
            assert!((take.length() - 26.0).abs() < 0.05, "{}", take.length());
        }
    }
}

#[test]
fn gaps_before_the_first_encoded_audio_do_not_move_it() {
    let coded = coded::audio("opusenc", 10);
    let take = Take::new("audio/webm");
    let source = Source::new(&take.app.pad("audio_%u"), &coded.caps, None);
    take.roll();
    for n in 0..25 {
        source.gap(n * SECOND, SECOND);
    }
    for (time, buffer) in frames(&coded) {
        source.push(at(buffer, 25 * SECOND + time));
    }
    source.end();
    take.wrap();
    let first = packets(&take.path, "a")[0].pts;
    assert!((first - 25e9).abs() < 30e6, "{first}");
}

/// With live video, like that of a camera.
#[test]
fn gaps_before_the_first_audio_of_a_live_track_do_not_move_it() {
    let take = Take::new(BOTH);
    let video = live(&take, "video_%u", &small().to_caps().unwrap());
    let audio = live(&take, "audio_%u", &stereo(48_000).to_caps().unwrap());
    take.app.set_state(gst::State::Playing);
    let started = 3 * SECOND;
    let mut coming = Vec::new();
    for n in 0..125 {
        let buffer = shot(&small(), n * FRAME);
        coming.push(Coming {
            at: (n + 1) * FRAME,
            to: &video,
            buffer,
        });
    }
    for n in 0..200 {
        let time = started + n * 10 * MILLI;
        let buffer = stamped(tick(300 + n), Some(time), Some(10 * MILLI));
        coming.push(Coming {
            at: time + 10 * MILLI,
            to: &audio,
            buffer,
        });
    }
    // All of it at once.
    take.app.wait_running_time(20 * MILLI);
    audio.gap(0, started);
    record(&take, coming);
    let (runs, _) = runs(&take.heard(0));
    assert_eq!(runs, [(3 * 48_000, 3 * 48_000, 96_000)]);
}

/// Always 1.5 s late, which is less than the recorder waits: all of it is kept, at its time.
#[test]
fn raw_media_that_is_always_late_is_not_replaced() {
    const LATE: u64 = 1_500 * MILLI;
    let take = Take::new(BOTH);
    let video = live(&take, "video_%u", &small().to_caps().unwrap());
    let audio = live(&take, "audio_%u", &stereo(48_000).to_caps().unwrap());
    take.app.set_state(gst::State::Playing);
    let mut coming = Vec::new();
    for n in 0..125 {
        let buffer = shot(&small(), n * FRAME);
        coming.push(Coming {
            at: n * FRAME + LATE,
            to: &video,
            buffer,
        });
    }
    for n in 0..500 {
        let buffer = stamped(tick(n), Some(n * 10 * MILLI), Some(10 * MILLI));
        coming.push(Coming {
            at: n * 10 * MILLI + 50 * MILLI,
            to: &audio,
            buffer,
        });
    }
    play(&take, coming);
    take.app.act("stop");
    take.wrap();
    let seen = take.seen();
    assert!(seen.len() >= 110, "{} of 125 pictures", seen.len());
    assert!(
        seen.iter()
            .all(|(recorded, source)| Some(*recorded) == *source),
        "{seen:?}"
    );
}

/// Like rtspsrc or webrtcbin, whose pads are added when the peer connects, long after `start`.
#[test]
fn a_live_source_that_is_linked_after_start_is_cut_at_start() {
    let take = Take::new(WAV);
    let pad = take.app.pad("audio_%u");
    take.app.set_state(gst::State::Playing);
    take.app.wait_running_time(700 * MILLI);
    let (called, returned) = take.app.act("start");
    take.app.wait_running_time(1_200 * MILLI);
    let audio = Source::new(&pad, &stereo(48_000).to_caps().unwrap(), Some(0));
    let coming = (130..230).map(|n| Coming {
        at: (n + 1) * 10 * MILLI,
        to: &audio,
        buffer: stamped(tick(n), Some(n * 10 * MILLI), Some(10 * MILLI)),
    });
    record(&take, coming.collect());
    let kept = take.app.kept();
    let (from, to) = kept.intervals[0];
    assert!(
        (called..=returned).contains(&from),
        "{kept:?}, called at {called}"
    );
    assert!(to > 2_200 * MILLI, "{kept:?}");
    let (runs, _) = runs(&take.heard(0));
    let [(recorded, source, samples)] = runs[..] else {
        panic!("{runs:?}");
    };
    assert!(samples >= 99 * 480, "{runs:?}");
    assert!(
        (recorded + from * 48 / MILLI).abs_diff(source) <= 1,
        "{runs:?}, {kept:?}"
    );
}

/// Peak anonymous memory of this process in bytes, since the counter was reset.
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kilobytes.unwrap() * 1024
}

/// A live source that pushes as fast as it can, and one that is ten seconds ahead: three gigabytes each.
#[test]
fn live_media_ahead_of_the_clock_does_not_exhaust_memory() {
    let info = size(1920, 1080);
    for ahead in [0, 10 * SECOND] {
        let take = Take::new(PICTURES);
        let video = live(&take, "video_%u", &info.to_caps().unwrap());
        take.app.set_state(gst::State::Playing);
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = most_memory();
        for n in 0..1_000 {
            let buffer = gst::Buffer::from_mut_slice(vec![n as u8 | 1; info.size()]);
            video.push(stamped(buffer, Some(ahead + n * FRAME), Some(FRAME)));
        }
        let grown = most_memory().saturating_sub(before);
        take.app.act("stop");
        take.wrap();
        assert!(
            grown < 800 << 20,
            "{} MiB more, {ahead} ns ahead",
            grown >> 20
        );
        assert!(file::duration(&take.path).is_ok());
    }
}

/// Pads that existed when running time was reset, and one that was added later, use the same time.
#[test]
fn a_pad_requested_after_a_flush_is_in_sync_with_the_others() {
    let take = Take::new(BOTH);
    let video = take.video(&small(), None);
    take.app.set_state(gst::State::Playing);
    for n in 0..100 {
        video.push(shot(&small(), n * FRAME));
    }
    video.event(gst::event::FlushStart::new());
    video.event(gst::event::FlushStop::new(true));
    video.segment(&gst::FormattedSegment::new());
    let audio = take.audio(&stereo(48_000), None);
    for n in 0..25 {
        video.push(shot(&small(), n * FRAME));
    }
    take.app.act("start");
    for n in 25..75 {
        video.push(shot(&small(), n * FRAME));
    }
    for n in 100..300 {
        audio.push(stamped(tick(n), Some(n * 10 * MILLI), None));
    }
    // Both are flushed now: the newer pad is not one flush behind.
    for source in [&video, &audio] {
        source.event(gst::event::FlushStart::new());
        source.event(gst::event::FlushStop::new(true));
        source.segment(&gst::FormattedSegment::new());
    }
    for n in 0..25 {
        video.push(shot(&small(), n * FRAME));
    }
    for n in 0..100 {
        audio.push(stamped(tick(n), Some(n * 10 * MILLI), None));
    }
    audio.end();
    video.end();
    take.wrap();
    let second = 48_000;
    assert_eq!(
        runs(&take.heard(0)),
        (
            vec![(0, second, 2 * second), (2 * second, 0, second)],
            3 * second
        )
    );
    for (recorded, source) in take.seen() {
        let expected = if recorded < 2_000 {
            recorded + 1_000
        } else {
            recorded - 2_000
        };
        assert_eq!(source, Some(expected), "at {recorded}");
    }
}

/// Frames of a camera with a small pool, while a start waits for another camera's keyframe, and with timestamps
/// ahead of the clock.
#[test]
fn a_small_capture_pool_is_not_exhausted_while_frames_wait() {
    for (ahead, key_comes) in [(0, 50), (SECOND, 0)] {
        let take = Take::new("video/x-matroska;codecs=vp8");
        let raw = take.video(&small(), Some(0));
        let coded = coded::video(VP8, 100);
        let encoded = Source::new(&take.app.pad("video_%u"), &coded.caps, Some(0));
        let frames = frames(&coded);
        take.app.set_state(gst::State::Playing);
        let pool = gst::BufferPool::new();
        let mut config = pool.config();
        config.set_params(
            Some(&small().to_caps().unwrap()),
            small().size() as u32,
            6,
            6,
        );
        pool.set_config(config).unwrap();
        pool.set_active(true).unwrap();
        let at_once =
            gst::BufferPoolAcquireParams::with_flags(gst::BufferPoolAcquireFlags::DONTWAIT);
        for n in 0..75u64 {
            take.app.wait_running_time((n + 1) * FRAME);
            let buffer = pool.acquire_buffer(Some(&at_once));
            let mut buffer =
                buffer.unwrap_or_else(|err| panic!("no free buffer for frame {n}: {err}"));
            buffer.make_mut().map_writable().unwrap().fill(n as u8);
            raw.push(stamped(buffer, Some(n * FRAME + ahead), Some(FRAME)));
            if n == 0 {
                take.app.act("start");
            }
            // All others are useless without the first one.
            let (_, frame) = &frames[if n < key_comes {
                1
            } else {
                15 + (n % 15) as usize
            }];
            let mut frame = at(frame.clone(), n * FRAME);
            let is_key = n >= key_comes && (n - key_comes).is_multiple_of(15);
            if is_key {
                frame = at(frames[0].1.clone(), n * FRAME);
            } else {
                frame.make_mut().set_flags(gst::BufferFlags::DELTA_UNIT);
            }
            encoded.push(frame);
        }
        take.app.act("stop");
        take.wrap();
        assert!(packets(&take.path, "v:0").len() > 10);
    }
}

/// Sixty days, as in a file joined from two: it continues where it was, and `stop` is at that time.
#[test]
fn timestamps_of_a_file_that_jump_by_days_continue() {
    let take = Take::new(BOTH);
    let video = take.video(&small(), None);
    let audio = take.audio(&stereo(48_000), None);
    take.roll();
    for n in 0..200u64 {
        let time = n * 10 * MILLI;
        let stamp = time + if n >= 100 { 60 * 86_400 * SECOND } else { 0 };
        audio.push(stamped(tick(n), Some(stamp), None));
        if n % 4 == 0 {
            video.push(stamped(shot(&small(), time), Some(stamp), Some(FRAME)));
        }
    }
    take.app.act("stop");
    take.wrap();
    let seen = take.seen();
    assert!(seen.len() >= 49, "{} of 50 pictures", seen.len());
    for (recorded, source) in seen {
        assert!(
            recorded.abs_diff(source.unwrap()) <= 40,
            "{source:?} at {recorded}"
        );
    }
    let (runs, length) = runs(&take.heard(0));
    let heard: u64 = runs.iter().map(|run| run.2).sum();
    assert!(heard >= 199 * 480, "{runs:?}");
    assert!(length <= 201 * 480 + 1_920, "{length}");
}
