//! Encoded input that no web container supports: decoded, cut like raw media, and encoded; or copied, if Matroska
//! or WAV is requested.

mod coded;
mod common;

use coded::{
    Coded, MILLI, ORIGIN, Playing, SECOND,
    drive::{drive_by, temp_location},
    play_until,
};
use common::app::App;
use common::judge::{decode, file, kept::Kept, position, sync};
use gst::prelude::*;
use std::path::Path;

const FRAMES: u32 = 90;
const TENTHS: u32 = 40;
const ACTIONS: [(&str, u64); 4] = [
    ("start", 310),
    ("pause", 1_257),
    ("resume", 1_711),
    ("stop", 2_853),
];

/// Records the stream with a pause. None of the cuts is at the edge of a packet.
fn drive(app: &App, playing: &mut Playing) -> Kept {
    let kept = drive_by(app, playing, &ACTIONS);
    app.set_state(gst::State::Null);
    assert_eq!(app.warnings(), Vec::<String>::new());
    kept
}

fn record(mime_type: &str, template: &str, coded: Coded, path: &Path) -> Kept {
    let app = App::new(mime_type, path);
    let mut playing = Playing::new(&app, template, coded);
    drive(&app, &mut playing)
}

/// What is expected of raw video: the frame visible at each cut from there on, then each at its time.
fn assert_cut_like_raw_video(path: &Path, kept: &Kept, frames: usize) {
    file::decodes_without_errors(path).unwrap();
    let shown = sync::frame_times(&decode::video(path, 0).unwrap()).unwrap();
    assert!(
        (frames..frames + 3).contains(&shown.len()),
        "{} frames, expected {frames}",
        shown.len()
    );
    for (recorded, source) in &shown {
        let due = kept.source_at(recorded + 0.6e6) - ORIGIN as f64 - 0.6e6;
        let on_show = if *recorded < 1e6 || kept.near_cut(*recorded, 1.3e6) {
            34e6
        } else {
            1.3e6
        };
        assert!(
            (-1.3e6..on_show).contains(&(due - source)),
            "{source} is visible at {recorded}, expected {due}: {kept:?}"
        );
    }
    let length = file::duration(path).unwrap();
    assert!(
        (length - kept.total() as f64).abs() < 2e6,
        "{length} for {kept:?}"
    );
}

fn decodes_video(encoder: &str) {
    let (_directory, path) = temp_location("decoded.webm");
    let kept = record("", "video_%u", coded::video(encoder, FRAMES), &path);
    assert_eq!(file::codecs(&path).unwrap(), ["vp8"]);
    let frames = (kept.total() * 30 / SECOND) as usize;
    assert_cut_like_raw_video(&path, &kept, frames);
}

/// `late`: the codec's delay in nanoseconds.
fn decodes_audio(encoder: &str, late: f64) {
    let (_directory, path) = temp_location("decoded.flac");
    let kept = record(
        "audio/flac",
        "audio_%u",
        coded::audio(encoder, TENTHS),
        &path,
    );
    assert_eq!(file::codecs(&path).unwrap(), ["flac"]);
    let audio = decode::audio(&path, 0, None).unwrap();
    let due = kept.total() * 48_000 / SECOND;
    assert!(
        audio.len().abs_diff(due) <= 1,
        "{} samples, expected {due}",
        audio.len()
    );
    let places = position::find(&audio, 20e9).unwrap();
    assert!(places.len() > 10, "{}", places.len());
    let shifted = Kept {
        intervals: kept
            .intervals
            .iter()
            .map(|(from, to)| (from - ORIGIN, to - ORIGIN))
            .collect(),
    };
    let worst = position::check(&places, &shifted, 1e6 + late).unwrap();
    assert!(worst <= 1e6 + late);
}

#[test]
fn motion_jpeg() {
    decodes_video("jpegenc");
}

#[test]
fn png() {
    decodes_video("videoconvert ! pngenc compression-level=1");
}

#[test]
fn mpeg_2() {
    decodes_video("mpeg2enc max-gop-size=6 min-gop-size=6 ! mpegvideoparse");
}

#[test]
fn prores() {
    decodes_video("videoconvert ! avenc_prores_ks");
}

#[test]
fn a_law() {
    decodes_audio("alawenc", 0.0);
}

#[test]
fn mu_law() {
    decodes_audio("mulawenc", 0.0);
}

#[test]
fn ac_3() {
    decodes_audio("audioconvert ! avenc_ac3 bitrate=384000 ! ac3parse", 6e6);
}

/// The payload of the data chunk.
fn wav_data(path: &Path) -> (u16, Vec<u8>) {
    let bytes = std::fs::read(path).unwrap();
    let tag = u16::from_le_bytes([bytes[20], bytes[21]]);
    let at = bytes.windows(4).position(|four| four == b"data").unwrap();
    let length = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
    (tag, bytes[at + 8..at + 8 + length].to_vec())
}

#[test]
fn a_law_and_mu_law_are_copied_into_wav() {
    // The format tags of RFC 2361.
    for (encoder, tag) in [("alawenc", 6), ("mulawenc", 7)] {
        let (_directory, path) = temp_location("copied.wav");
        let app = App::new("", &path);
        let mut playing = Playing::new(&app, "audio_%u", coded::audio(encoder, TENTHS));
        let kept = drive(&app, &mut playing);
        let due: Vec<u8> = playing
            .due(&kept)
            .into_iter()
            .flat_map(|(_, buffer)| buffer.map_readable().unwrap().to_vec())
            .collect();
        assert_eq!(wav_data(&path), (tag, due), "{encoder}");
        file::decodes_without_errors(&path).unwrap();
    }
}

/// The requested type is made, whatever the input.
#[test]
fn a_requested_codec_is_encoded_in_matroska_and_wav_too() {
    for (mime_type, template, coded, codec, name) in [
        (
            "video/x-matroska;codecs=vp8",
            "video_%u",
            coded::video("jpegenc", 30),
            "vp8",
            "named.mkv",
        ),
        (
            "audio/wav;codecs=pcm",
            "audio_%u",
            coded::audio("alawenc", 10),
            "pcm_s16le",
            "named.wav",
        ),
    ] {
        let (_directory, path) = temp_location(name);
        let app = App::new(mime_type, &path);
        let mut playing = Playing::new(&app, template, coded);
        app.set_state(gst::State::Playing);
        app.act("start");
        play_until(&mut [&mut playing], 0, SECOND);
        app.act("stop");
        app.wait_for("stop", 1);
        assert_eq!(file::codecs(&path).unwrap(), [codec]);
    }
}

/// A webcam whose frames take too long to decode: frames are dropped, upstream is not blocked.
#[test]
fn a_live_camera_and_a_telephone() {
    let (_directory, path) = temp_location("live.webm");
    let app = App::new("", &path);
    for (template, source) in [
        (
            "video_%u",
            "videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=30/1 ! jpegenc",
        ),
        (
            "audio_%u",
            "audiotestsrc is-live=true samplesperbuffer=160 ! audio/x-raw,rate=8000,channels=1 ! mulawenc",
        ),
    ] {
        let from = app.source(source);
        from.link(&app.pad(template)).unwrap();
    }
    app.set_state(gst::State::Playing);
    app.wait_running_time(400 * MILLI);
    app.act("start");
    app.wait_running_time(1_400 * MILLI);
    app.act("pause");
    app.wait_running_time(1_700 * MILLI);
    app.act("resume");
    app.wait_running_time(2_700 * MILLI);
    app.act("stop");
    app.wait_for("stop", 1);
    app.set_state(gst::State::Null);
    assert_eq!(app.warnings(), Vec::<String>::new());
    let kept = app.kept();
    file::decodes_without_errors(&path).unwrap();
    let mut codecs = file::codecs(&path).unwrap();
    codecs.sort();
    assert_eq!(codecs, ["opus", "vp8"]);
    let frames = decode::video(&path, 0).unwrap().frames.len();
    assert!((57..66).contains(&frames), "{frames} frames");
    let audio = decode::audio(&path, 0, Some(48_000)).unwrap();
    let length = audio.len() as f64 / 48_000.0 * 1e9;
    assert!(
        (length - kept.total() as f64).abs() < 8e6,
        "{length} for {kept:?}"
    );
}

/// The decoder holds frames, since they are not in presentation order.
#[test]
fn frames_in_the_decoder_are_recorded_when_the_pipeline_goes_down() {
    let (_directory, path) = temp_location("down.webm");
    let app = App::new("", &path);
    let encoder =
        "x264enc bframes=3 b-adapt=false key-int-max=15 speed-preset=ultrafast ! h264parse";
    let mut playing = Playing::new(&app, "video_%u", coded::video(encoder, FRAMES));
    app.set_state(gst::State::Playing);
    app.act("start");
    play_until(&mut [&mut playing], 0, 2 * SECOND);
    app.set_state(gst::State::Ready);
    app.wait_for("stop", 1);
    app.set_state(gst::State::Null);
    assert_eq!(file::codecs(&path).unwrap(), ["vp8"]);
    let shown = sync::frame_times(&decode::video(&path, 0).unwrap()).unwrap();
    let end = gst::ClockTime::from_nseconds(ORIGIN + 2 * SECOND);
    let pushed = playing
        .all
        .iter()
        .filter(|frame| frame.dts_or_pts() < Some(end));
    assert_eq!(shown.len(), pushed.count());
}
