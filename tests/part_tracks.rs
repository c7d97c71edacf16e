//! State that is kept across the parts of a recording: mute, tags, pauses, raw caps changes, several video tracks.

mod common;

use common::app::{App, SMALL, script, temp_location};
use common::judge::{decode, parts, samples, sync};
use common::signal::tag;
use gst::prelude::*;
use std::process::Command;

const SECOND: u64 = 1_000_000_000;
const MILLI: u64 = 1_000_000;
/// Samples in a buffer of 10 ms.
const BUFFER: usize = 480;

/// The frames of one track in all parts, in recorded time.
fn frames(parts: &[parts::Part], track: usize) -> Vec<(f64, f64)> {
    let of_part = |part: &parts::Part| {
        let frames = decode::video(&part.path, track).unwrap();
        let read = sync::frame_times(&frames).unwrap_or_else(|err| panic!("{part:?}: {err}"));
        let begin = part.timecode as f64;
        read.into_iter()
            .map(move |(recorded, source)| (recorded + begin, source))
    };
    parts.iter().flat_map(of_part).collect()
}

/// Called before buffer `number` is pushed on the pad.
fn before(pad: &gst::Pad, number: usize, call: impl Fn() + Send + Sync + 'static) {
    let passed = std::sync::atomic::AtomicUsize::new(0);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        if passed.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == number {
            call();
        }
        gst::PadProbeReturn::Ok
    });
}

#[test]
fn mute_is_kept_in_the_next_part() {
    let (_directory, path) = temp_location("muted-%d.flac");
    let app = App::new("audio/flac", &path);
    let (source, _) = app.counted(false, Some(100));
    let pad = source.peer().unwrap();
    for (number, muted) in [(20, true), (60, false)] {
        let pad = pad.clone();
        before(&source, number, move || pad.set_property("mute", muted));
    }
    let steps = vec![
        (0, "start"),
        (40, "split-now"),
        (50, "split-now"),
        (80, "split-now"),
    ];
    script(&source, &app.recorder, steps);
    app.set_state(gst::State::Playing);
    app.wait_for("stop", 1);
    let parts = parts::from_messages(&app);
    assert_eq!(parts.len(), 4);
    let audio = parts::audio(&parts, None).unwrap();
    let is_silent: Vec<bool> = audio
        .samples
        .chunks(BUFFER * audio.channels)
        .map(|chunk| chunk.iter().all(|sample| *sample == 0))
        .collect();
    let due: Vec<bool> = (0..100).map(|n| (20..60).contains(&n)).collect();
    assert_eq!(is_silent, due);
}

/// The tags of a file and of its streams, from ffprobe.
fn tags(part: &parts::Part) -> String {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-of", "flat", "-show_entries"])
        .arg("format_tags:stream_tags")
        .arg(&part.path)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn each_part_has_the_tags() {
    for (name, mime_type, is_track) in [
        ("mkv", "audio/x-matroska;codecs=opus", true),
        ("webm", "audio/webm;codecs=opus", true),
        ("m4a", "audio/mp4;codecs=mp4a.40.2", false),
        ("ogg", "audio/ogg;codecs=vorbis", false),
        ("flac", "audio/flac", false),
        ("mp3", "audio/mpeg", false),
    ] {
        let (_directory, path) = temp_location(&format!("tags-%d.{name}"));
        let app = App::new(mime_type, &path);
        app.recorder.set_property("max-size-time", SECOND / 2);
        app.recorder.set_property("autostart", true);
        let setter = app.recorder.dynamic_cast_ref::<gst::TagSetter>().unwrap();
        setter.add_tag::<gst::tags::Title>(&"A day at sea", gst::TagMergeMode::Replace);
        let (source, _) = app.counted(false, Some(150));
        // Upstream's, which are sent once.
        let once = std::sync::atomic::AtomicBool::new(false);
        source.add_probe(gst::PadProbeType::BUFFER, move |pad, _| {
            if !once.swap(true, std::sync::atomic::Ordering::SeqCst) {
                let mut tags = gst::TagList::new();
                let list = tags.get_mut().unwrap();
                list.add::<gst::tags::LanguageCode>(&"cy", gst::TagMergeMode::Replace);
                pad.push_event(gst::event::Tag::new(tags));
            }
            gst::PadProbeReturn::Ok
        });
        app.set_state(gst::State::Playing);
        app.wait_for("stop", 1);
        let parts = parts::from_messages(&app);
        assert_eq!(parts.len(), 3, "{mime_type}");
        for part in &parts {
            let tags = tags(part);
            assert!(tags.contains("A day at sea"), "{mime_type}: {tags}");
            let has_language = tags.contains("language=\"cy\"") || tags.contains("wel");
            assert!(has_language || !is_track, "{mime_type}: {tags}");
        }
    }
}

#[test]
fn pauses_are_in_parts_and_between_them() {
    let (_directory, path) = temp_location("pauses-%d.mkv");
    let app = App::new("video/x-matroska;codecs=\"avc1,flac\"", &path);
    let (source, clock) = app.counted(false, Some(400));
    let video = app.source(&format!("videotestsrc num-buffers=120 ! {SMALL}"));
    let log = tag::video(&video);
    video.link(&app.pad("video_%u")).unwrap();
    let steps = vec![
        (5, "start"),
        (50, "pause"),
        (80, "resume"),
        (100, "split-now"),
        (130, "pause"),
        (140, "split-now"),
        (170, "resume"),
        (200, "split-now"),
        (203, "pause"),
        (250, "resume"),
        // While it is still undecided where the first of them ends the part.
        (260, "split-now"),
        (262, "pause"),
        (264, "split-now"),
        (270, "resume"),
        (330, "stop"),
    ];
    script(&source, &app.recorder, steps);
    app.set_state(gst::State::Playing);
    app.wait_for("stop", 1);
    assert_eq!(app.warnings(), Vec::<String>::new());
    let kept = app.kept();
    let parts = parts::from_messages(&app);
    assert_eq!(parts.len(), 6, "{parts:?}");
    parts::check_contiguous(&parts, kept.total(), 35e6).unwrap();
    let audio = parts::audio(&parts, None).unwrap();
    samples::check_continuous(&audio, &kept, &clock).unwrap();
    let log = log.lock().unwrap().clone();
    sync::check_frames(&frames(&parts, 0), &kept, &log, 1.1e6, 0).unwrap();
}

#[test]
fn all_video_tracks_continue_in_the_next_part() {
    for (name, mime_type) in [
        ("mkv", "video/x-matroska;codecs=\"vp8,opus\""),
        ("mp4", "video/mp4;codecs=\"avc1,mp4a.40.2\""),
    ] {
        let (_directory, path) = temp_location(&format!("views-%d.{name}"));
        let app = App::new(mime_type, &path);
        app.recorder.set_property("max-size-time", SECOND / 2);
        app.recorder.set_property("autostart", true);
        let (_source, _) = app.counted(false, Some(250));
        let views = [("25/1", 63), ("30/1", 75)].map(|(rate, frames)| {
            let small = SMALL.replace("30/1", rate);
            let video = app.source(&format!("videotestsrc num-buffers={frames} ! {small}"));
            let log = tag::video(&video);
            video.link(&app.pad("video_%u")).unwrap();
            log
        });
        app.set_state(gst::State::Playing);
        app.wait_for("stop", 1);
        assert_eq!(app.warnings(), Vec::<String>::new());
        let kept = app.kept();
        let parts = parts::from_messages(&app);
        assert_eq!(parts.len(), 5, "{mime_type}: {parts:?}");
        parts::check_contiguous(&parts, kept.total(), 35e6).unwrap();
        for (track, log) in views.iter().enumerate() {
            let log = log.lock().unwrap().clone();
            let shown = frames(&parts, track);
            sync::check_frames(&shown, &kept, &log, 1.1e6, 0)
                .unwrap_or_else(|err| panic!("{mime_type}, track {track}: {err}"));
        }
        // Each frame of the first track is in one part; of the second, a frame that spans the split is in two.
        let first = frames(&parts, 0);
        let sources: Vec<f64> = first.iter().map(|(_, source)| *source).collect();
        assert!(sources.is_sorted_by(|one, next| one < next), "{sources:?}");
    }
}

#[test]
fn raw_caps_change_before_and_after_a_split() {
    let (_directory, path) = temp_location("sizes-%d.mkv");
    let app = App::new("video/x-matroska;codecs=\"vp8,flac\"", &path);
    app.recorder.set_property("max-size-time", SECOND / 2);
    app.recorder.set_property("autostart", true);
    let (_source, clock) = app.counted(false, Some(200));
    let video = app.source("videotestsrc num-buffers=60 ! capsfilter name=size");
    let filter = video.parent_element().and_then(|ghost| {
        let bin = ghost.dynamic_cast::<gst::Bin>().ok()?;
        bin.by_name("size")
    });
    let filter = filter.expect("a filter");
    let caps = |size: (i32, i32)| {
        let caps = gst::Caps::builder("video/x-raw").field("format", "I420");
        let caps = caps.field("width", size.0).field("height", size.1);
        caps.field("framerate", gst::Fraction::new(30, 1)).build()
    };
    filter.set_property("caps", caps((320, 240)));
    let log = tag::video(&video);
    // In the first part, and with the first frame of the third.
    for (number, size) in [(8, (640, 480)), (30, (240, 320))] {
        let (filter, caps) = (filter.clone(), caps(size));
        before(&video, number - 1, move || {
            filter.set_property("caps", &caps)
        });
    }
    video.link(&app.pad("video_%u")).unwrap();
    app.set_state(gst::State::Playing);
    app.wait_for("stop", 1);
    assert_eq!(app.warnings(), Vec::<String>::new());
    let kept = app.kept();
    let parts = parts::from_messages(&app);
    assert_eq!(parts.len(), 4, "{parts:?}");
    parts::check_contiguous(&parts, kept.total(), 35e6).unwrap();
    let audio = parts::audio(&parts, None).unwrap();
    samples::check_continuous(&audio, &kept, &clock).unwrap();
    let mut shown = 0;
    for part in &parts {
        let frames = decode::video(&part.path, 0).unwrap();
        println!(
            "{} x {}: {}",
            frames.width,
            frames.height,
            frames.frames.len()
        );
        let begins = frames.frames[0].recorded;
        assert!(begins < MILLI as f64, "{part:?} begins at {begins}");
        shown += frames.frames.len();
    }
    assert_eq!(shown, log.lock().unwrap().len());
}

/// The next part's AAC encoder also gets audio from before the part, of which only the newest has the format of the part.
#[test]
fn raw_audio_changes_format_right_before_a_split() {
    let (_directory, path) = temp_location("formats-%d.m4a");
    let app = App::new("audio/mp4;codecs=mp4a.40.2", &path);
    let line = "audiotestsrc num-buffers=100 samplesperbuffer=481 ! capsfilter name=format";
    let source = app.source(line);
    let parent = source.parent_element().unwrap();
    let filter = parent.dynamic_cast::<gst::Bin>().unwrap().by_name("format");
    let filter = filter.expect("a filter");
    let caps = |channels: i32| {
        gst::Caps::builder("audio/x-raw")
            .field("format", "S16LE")
            .field("layout", "interleaved")
            .field("rate", 48_000)
            .field("channels", channels)
            .build()
    };
    filter.set_property("caps", caps(1));
    // An odd number of mono samples is not a whole number of stereo samples.
    before(&source, 46, move || filter.set_property("caps", caps(2)));
    source.link(&app.pad("audio_%u")).unwrap();
    script(
        &source,
        &app.recorder,
        vec![(0, "start"), (50, "split-now")],
    );
    app.set_state(gst::State::Playing);
    app.wait_for("stop", 1);
    assert_eq!(app.warnings(), Vec::<String>::new());
    let parts = parts::from_messages(&app);
    assert_eq!(parts.len(), 2, "{parts:?}");
    parts::check_contiguous(&parts, app.kept().total(), 30e6).unwrap();
}
