//! Encoded media whose caps change to something its file cannot hold: if another part may begin, it continues
//! there unchanged.

mod coded;
mod common;
mod inputs;

use coded::{Coded, ORIGIN, SECOND};
use common::app::{App, temp_location};
use common::judge::{decode, file, parts};
use gst::prelude::*;
use inputs::Source;
use std::path::Path;

/// Frames of one stream.
const PART: usize = 15;
const PICTURE: u64 = SECOND / 30;

const AVC: &str = "x264enc key-int-max=15 tune=zerolatency speed-preset=ultrafast ! h264parse ! \
    video/x-h264,stream-format=avc,alignment=au";
const HVC: &str = "x265enc key-int-max=15 tune=zerolatency speed-preset=ultrafast ! h265parse ! \
    video/x-h265,stream-format=hvc1,alignment=au";
const VP8: &str = "videoscale ! video/x-raw,width=640,height=480 ! vp8enc deadline=1 cpu-used=8 keyframe-max-dist=15";

/// The buffers of `coded` between two times.
fn between(coded: Coded, from: u64, to: u64) -> Coded {
    let within = |buffer: &gst::Buffer| {
        let middle = buffer.pts().map(|pts| pts.nseconds() + PICTURE / 2);
        middle.is_some_and(|at| (ORIGIN + from..ORIGIN + to).contains(&at))
    };
    let buffers = coded.buffers.into_iter().filter(within).collect();
    Coded { buffers, ..coded }
}

/// Video stream `number`, from this encoder.
fn pictures(line: &str, number: usize) -> Coded {
    let frames = u32::try_from((number + 1) * PART).unwrap();
    let from = (number * PART) as u64 * PICTURE;
    between(
        coded::video(line, frames),
        from,
        from + PART as u64 * PICTURE,
    )
}

fn play(source: &Source, streams: &[Coded]) {
    for (number, stream) in streams.iter().enumerate() {
        if number > 0 {
            source.caps(&stream.caps);
        }
        stream.buffers.iter().for_each(|b| source.push(b.clone()));
    }
    source.end();
}

fn take(name: &str) -> (tempfile::TempDir, App) {
    let (folder, path) = temp_location(name);
    let app = App::new("", &path);
    app.recorder.set_property("autostart", true);
    (folder, app)
}

/// Payloads, in order, of a file and of a source stream.
fn assert_payloads(path: &Path, stream: &str, expected: &[gst::Buffer]) {
    let found: Vec<_> = coded::packets(path, stream)
        .into_iter()
        .map(|p| p.md5)
        .collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|buffer| coded::md5(&buffer.map_readable().unwrap()))
        .collect();
    assert_eq!(found, expected, "{path:?}");
}

/// That each of `count` frames is in one part, and at its time.
fn assert_pictures(files: &[parts::Part], count: usize) {
    let found = parts::video(files).unwrap();
    let output: Vec<_> = found
        .frames
        .iter()
        .map(|p| (p.recorded, p.source))
        .collect();
    assert_eq!(output.len(), count, "{output:?}");
    for (number, (recorded, source)) in (0u64..).zip(&output) {
        let expected = number * PICTURE;
        assert!(
            source.is_some_and(|at| at.abs_diff(expected) <= 2_000),
            "{number}: {output:?}"
        );
        assert!(
            (recorded - expected as f64).abs() < 1.2e6,
            "{number}: {output:?}"
        );
    }
}

#[test]
fn another_codec_continues_in_the_next_part_unchanged() {
    let streams = [pictures(AVC, 0), pictures(HVC, 1), pictures(VP8, 2)];
    let (_folder, app) = take("take-%d.mkv");
    let source = Source::new(&app.pad("video_%u"), &streams[0].caps, None);
    app.set_state(gst::State::Playing);
    play(&source, &streams);
    app.wait_for("stop", 1);
    assert_eq!(app.warnings(), Vec::<String>::new());
    let files = parts::from_messages(&app);
    assert_eq!(files.len(), 3, "{files:?}");
    let codecs = files.iter().map(|part| coded::codec(&part.path, "v:0"));
    assert_eq!(codecs.collect::<Vec<_>>(), ["h264", "hevc", "vp8"]);
    for (file, stream) in files.iter().zip(&streams) {
        assert_payloads(&file.path, "v:0", &stream.buffers);
        file::decodes_without_errors(&file.path).unwrap();
    }
    parts::check_contiguous(&files, app.kept().total(), 5e6).unwrap();
    assert_pictures(&files, 3 * PART);
}

#[test]
fn another_codec_in_a_pause_continues_in_the_next_part() {
    let streams = [pictures(AVC, 0), pictures(HVC, 1), pictures(HVC, 2)];
    let (_folder, app) = take("take-%d.mkv");
    let source = Source::new(&app.pad("video_%u"), &streams[0].caps, None);
    app.set_state(gst::State::Playing);
    for (stream, action) in streams.iter().zip([None, Some("pause"), Some("resume")]) {
        action.map(|action| app.act(action));
        if action == Some("pause") {
            source.caps(&stream.caps);
        }
        stream.buffers.iter().for_each(|b| source.push(b.clone()));
    }
    source.end();
    app.wait_for("stop", 1);
    assert_eq!(app.warnings(), Vec::<String>::new());
    let files = parts::from_messages(&app);
    assert_eq!(files.len(), 2, "{files:?}");
    for (file, stream) in files.iter().zip([&streams[0], &streams[2]]) {
        assert_payloads(&file.path, "v:0", &stream.buffers);
    }
    parts::check_contiguous(&files, app.kept().total(), 5e6).unwrap();
}

/// Neither can be converted to the other: without parts the track would end.
#[test]
fn other_codebooks_continue_in_the_next_part() {
    const SOUND: &str = "audioconvert ! vorbisenc";
    const OTHER: &str = "audioconvert ! vorbisenc quality=0.9";
    let first = between(coded::audio(SOUND, 10), 0, SECOND);
    let other = between(coded::audio(OTHER, 20), SECOND, 2 * SECOND);
    let (_folder, app) = take("take-%d.mkv");
    let source = Source::new(&app.pad("audio_%u"), &first.caps, None);
    app.set_state(gst::State::Playing);
    let streams = [first, other];
    play(&source, &streams);
    app.wait_for("stop", 1);
    assert_eq!(app.warnings(), Vec::<String>::new());
    let files = parts::from_messages(&app);
    assert_eq!(files.len(), 2, "{files:?}");
    for (file, stream) in files.iter().zip(&streams) {
        assert_payloads(&file.path, "a:0", &stream.buffers);
    }
}

/// Media of other tracks up to then is in the previous part, and so are the frames visible meanwhile, re-encoded.
#[test]
fn with_another_track_no_frame_is_lost_at_the_change() {
    let streams = [pictures(AVC, 0), pictures(HVC, 1), pictures(HVC, 2)];
    assert!(coded::is_key(&streams[2].buffers[0]));
    let audio = between(
        coded::audio("audioconvert ! opusenc", 15),
        0,
        3 * SECOND / 2,
    );
    let (_folder, app) = take("take-%d.mkv");
    let sees = Source::new(&app.pad("video_%u"), &streams[0].caps, None);
    let listens = Source::new(&app.pad("audio_%u"), &audio.caps, None);
    app.set_state(gst::State::Playing);
    for (number, stream) in (0u64..).zip(&streams) {
        if number == 1 {
            app.wait_for("start", 1);
            sees.caps(&stream.caps);
        }
        stream.buffers.iter().for_each(|b| sees.push(b.clone()));
        let half = between(
            audio.clone(),
            number * SECOND / 2,
            (number + 1) * SECOND / 2,
        );
        half.buffers.iter().for_each(|b| listens.push(b.clone()));
    }
    sees.end();
    listens.end();
    app.wait_for("stop", 1);
    assert_eq!(app.warnings(), Vec::<String>::new());
    let files = parts::from_messages(&app);
    assert_eq!(files.len(), 2, "{files:?}");
    let codecs = files.iter().map(|part| coded::codec(&part.path, "v:0"));
    assert_eq!(codecs.collect::<Vec<_>>(), ["h264", "hevc"]);
    parts::check_contiguous(&files, app.kept().total(), 70e6).unwrap();
    assert_pictures(&files, 3 * PART);
    let events: Vec<_> = files
        .iter()
        .flat_map(|part| coded::packets(&part.path, "a:0"))
        .map(|packet| packet.md5)
        .collect();
    let expected: Vec<_> = audio
        .buffers
        .iter()
        .map(|buffer| coded::md5(&buffer.map_readable().unwrap()))
        .collect();
    assert_eq!(events, expected);
    let kept = decode::audio(&files[1].path, 0, None).unwrap();
    assert!(kept.len() > 4_800);
}
