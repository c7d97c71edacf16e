//! Copied media is where its timestamps place it: tracks that begin late, frames whose timestamps are missing, and the last
//! packet before a stop.

mod coded;
mod common;
mod inputs;

use coded::{Coded, MILLI, ORIGIN, SECOND, assert_copied, audio, video, whole};
use common::app::{App, temp_location};
use common::judge::{decode, sync};
use gst::prelude::*;
use inputs::Source;

const AVC: &str = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! h264parse ! \
                   video/x-h264,stream-format=avc,alignment=au";
const REORDERED: &str = "x264enc speed-preset=ultrafast bframes=2 b-adapt=false key-int-max=15 ! h264parse ! \
                         video/x-h264,stream-format=avc,alignment=au";
const HVC: &str = "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! h265parse ! \
                   video/x-h265,stream-format=hvc1,alignment=au";
const VP9: &str = "vp9enc deadline=1 cpu-used=8 lag-in-frames=0 keyframe-max-dist=15 ! vp9parse";
const AV1: &str = "av1enc cpu-used=10 usage-profile=realtime lag-in-frames=0 keyframe-max-dist=15 ! av1parse ! \
                   video/x-av1,stream-format=obu-stream,alignment=tu";
const AAC: &str =
    "audioconvert ! avenc_aac ! aacparse ! audio/mpeg,stream-format=raw,mpegversion=4";
const OPUS: &str = "opusenc";
const MP3: &str = "lamemp3enc ! mpegaudioparse";

/// A keyframe of the video.
const LATE: u64 = SECOND;

/// Records `late`, which begins at [`LATE`], beside video that begins at 0.
fn begins_late(name: &str, first: &Coded, late: &str, is_video: bool) {
    let (template, stream) = if is_video {
        ("video_%u", "v:1")
    } else {
        ("audio_%u", "a:0")
    };
    let late = if is_video {
        video(late, 60)
    } else {
        audio(late, 20)
    };
    let (_folder, path) = temp_location(name);
    let app = App::new("", &path);
    app.recorder.set_property("autostart", true);
    let sources = [
        Source::new(&app.pad("video_%u"), &first.caps, None),
        Source::new(&app.pad(template), &late.caps, None),
    ];
    app.set_state(gst::State::Playing);
    let presented = |buffer: &gst::Buffer| buffer.pts().map(|pts| pts.nseconds() - ORIGIN);
    let begins = |buffer: &&gst::Buffer| presented(buffer).is_some_and(|at| at >= LATE);
    let rest: Vec<_> = late.buffers.iter().filter(begins).cloned().collect();
    let of = |source: usize, buffers: &[gst::Buffer]| -> Vec<(u64, usize, gst::Buffer)> {
        let timed = buffers.iter().filter_map(|buffer| {
            let decoded = buffer.dts().or(buffer.pts())?.nseconds();
            Some((decoded, source, buffer.clone()))
        });
        timed.collect()
    };
    let mut all = [of(0, &first.buffers), of(1, &rest)].concat();
    all.sort_by_key(|(at, ..)| *at);
    for (_, source, buffer) in all {
        sources[source].push(buffer);
    }
    sources.iter().for_each(Source::end);
    app.wait_for("stop", 1);
    assert_eq!(app.warnings(), Vec::<String>::new(), "{name}");
    let due = rest.iter();
    let due: Vec<_> = due
        .filter_map(|buffer| Some((presented(buffer)?, buffer.clone())))
        .collect();
    assert_copied(&path, stream, &due, whole);
}

fn late_tracks(extension: &str, tracks: &[(&str, bool)]) {
    let first = video(AVC, 60);
    for (number, (late, is_video)) in tracks.iter().enumerate() {
        begins_late(&format!("{number}.{extension}"), &first, late, *is_video);
    }
}

#[test]
fn tracks_that_begin_late_in_mp4() {
    let tracks = [
        (AAC, false),
        (OPUS, false),
        (MP3, false),
        (AVC, true),
        (REORDERED, true),
        (HVC, true),
        (VP9, true),
        (AV1, true),
    ];
    late_tracks("mp4", &tracks);
}

#[test]
fn tracks_that_begin_late_in_matroska() {
    let tracks = [(AAC, false), (OPUS, false), (AVC, true), (REORDERED, true)];
    late_tracks("mkv", &tracks);
}

/// As from a live stream in Ogg: the header packets have no timestamps, and the media does not begin at 0.
#[test]
fn header_packets_do_not_begin_a_recording() {
    let coded = audio("audioconvert ! vorbisenc", 20);
    assert!(coded.buffers[0].pts().is_none());
    let timed: Vec<_> = coded.buffers.iter().filter(|b| b.pts().is_some()).collect();
    let begins = timed[0].pts().unwrap().nseconds();
    let last = timed[timed.len() - 1];
    let ends = (last.pts().unwrap() + last.duration().unwrap()).nseconds();
    for name in ["headers.ogg", "headers.mka", "headers.webm"] {
        let (_folder, path) = temp_location(name);
        let app = App::new("", &path);
        app.recorder.set_property("autostart", true);
        let source = Source::new(&app.pad("audio_%u"), &coded.caps, None);
        app.set_state(gst::State::Playing);
        for buffer in &coded.buffers {
            source.push(buffer.clone());
        }
        source.end();
        app.wait_for("stop", 1);
        assert_eq!(app.warnings(), Vec::<String>::new(), "{name}");
        let total = app.kept().total();
        assert!(total.abs_diff(ends - begins) < MILLI, "{name}: {total} ns");
        let heard = decode::audio(&path, 0, None).unwrap().len() as u64 * 1_000_000 / 48;
        assert!(
            heard.abs_diff(total) < 30 * MILLI,
            "{name}: {heard} of {total} ns"
        );
    }
}

/// A parser leaves frames without timestamps where a network has delivered several at once.
#[test]
fn live_frames_without_timestamps_follow_the_previous_one() {
    const LATENCY: u64 = 400 * MILLI;
    let coded = video(AVC, 60);
    let (_folder, path) = temp_location("live.mkv");
    let app = App::new("", &path);
    app.recorder.set_property("autostart", true);
    let source = Source::new(&app.pad("video_%u"), &coded.caps, Some(LATENCY));
    app.set_state(gst::State::Playing);
    let base = app.running_time() + 200 * MILLI;
    for (n, buffer) in coded.buffers.iter().enumerate() {
        let at = base + buffer.pts().unwrap().nseconds() - ORIGIN;
        app.wait_running_time(at + LATENCY - 30 * MILLI);
        let mut buffer = buffer.clone();
        let fields = buffer.make_mut();
        fields.set_duration(gst::ClockTime::from_nseconds(SECOND / 30));
        let stamp = (n % 7 != 3).then(|| gst::ClockTime::from_nseconds(at));
        fields.set_pts(stamp);
        fields.set_dts(stamp);
        source.push(buffer);
    }
    source.end();
    app.wait_for("stop", 1);
    assert_eq!(app.warnings(), Vec::<String>::new());
    let shown = decode::video(&path, 0).unwrap();
    let shown = sync::frame_times(&shown).unwrap();
    assert_eq!(shown.len(), coded.buffers.len());
    for (recorded, source) in shown {
        assert!((recorded - source).abs() < 3e6, "{source} at {recorded}");
    }
}

/// The packet arrives just after the stop, and most of it is later.
fn records_the_last_packet(name: &str, codec: &str, has_durations: bool) {
    let coded = audio(codec, 20);
    let (_folder, path) = temp_location(name);
    let app = App::new("", &path);
    let source = Source::new(&app.pad("audio_%u"), &coded.caps, Some(0));
    app.set_state(gst::State::Playing);
    let base = app.running_time();
    let packets = coded.buffers.iter().filter_map(|buffer| {
        let at = base + buffer.pts()?.nseconds() - ORIGIN;
        let mut buffer = buffer.clone();
        let fields = buffer.make_mut();
        fields.set_pts(gst::ClockTime::from_nseconds(at));
        if !has_durations {
            fields.set_dts(None);
            fields.set_duration(None);
        }
        Some((at, buffer))
    });
    let packets: Vec<_> = packets.take(80).collect();
    for (number, (at, packet)) in packets.iter().enumerate() {
        if number == 10 {
            app.act("start");
        }
        if number == 60 {
            app.wait_running_time(at + 3 * MILLI);
            app.act("stop");
        }
        app.wait_running_time(at + 5 * MILLI);
        source.push(packet.clone());
    }
    app.wait_for("stop", 1);
    let (begun, end) = app.kept().intervals[0];
    let due = packets.iter().filter(|(at, _)| (begun..end).contains(at));
    let due: Vec<_> = due
        .map(|(at, packet)| (at - begun, packet.clone()))
        .collect();
    assert_copied(&path, "a:0", &due, whole);
}

#[test]
fn the_packet_that_a_stop_falls_into_is_recorded() {
    records_the_last_packet("last.mka", OPUS, true);
    for name in ["last.mka", "last.m4a"] {
        records_the_last_packet(name, AAC, true);
        records_the_last_packet(name, AAC, false);
    }
}
