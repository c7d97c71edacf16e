//! Chapters from upstream (`GstToc`) become chapters of the recording, as far as they are recorded.

mod common;

use common::app::init;
use common::harness::media::{chapters, run};
use common::harness::{DEADLINE, wait_for};
use common::judge::file;
use gst::prelude::*;
use std::path::Path;
use std::process::Command;

/// The chapters of the input file: start in milliseconds, and title.
const CHAPTERS: [(u64, &str); 4] = [
    (0, "Beginning"),
    (1500, "Ünïcode"),
    (4000, "Middle"),
    (6250, ""),
];

/// Eight seconds with these chapters, made by FFmpeg.
fn foreign(folder: &Path, name: &str, codecs: &[&str]) -> String {
    let mut metadata = String::from(";FFMETADATA1\n");
    let ends = CHAPTERS[1..].iter().map(|(at, _)| *at).chain([8000]);
    for ((start, title), end) in CHAPTERS.iter().zip(ends) {
        metadata +=
            &format!("[CHAPTER]\nTIMEBASE=1/1000\nSTART={start}\nEND={end}\ntitle={title}\n");
    }
    let list = folder.join("chapters.txt");
    std::fs::write(&list, metadata).expect("written");
    let path = folder.join(name);
    run(Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error"])
        .args(["-f", "lavfi", "-i", "testsrc=s=160x120:r=30:d=8"])
        .args(["-f", "lavfi", "-i", "sine=d=8:r=48000"])
        .arg("-i")
        .arg(&list)
        .args([
            "-map_metadata",
            "2",
            "-map_chapters",
            "2",
            "-map",
            "0",
            "-map",
            "1",
        ])
        .args(codecs)
        .args(["-g", "30"])
        .arg(&path));
    path.display().to_string()
}

/// Runs a pipeline to EOS, after calling `begin` in PAUSED.
#[track_caller]
fn play(line: &str, begin: impl FnOnce(&gst::Pipeline)) {
    let pipeline = gst::parse::launch(line).expect("a pipeline");
    let pipeline = pipeline.downcast::<gst::Pipeline>().expect("a pipeline");
    pipeline.set_state(gst::State::Paused).expect("PAUSED");
    let (reached, ..) = pipeline.state(gst::ClockTime::from_seconds(10));
    reached.expect("PAUSED");
    begin(&pipeline);
    pipeline.set_state(gst::State::Playing).expect("PLAYING");
    let deadline = gst::ClockTime::try_from(DEADLINE).expect("a time");
    let end = pipeline
        .bus()
        .expect("a bus")
        .timed_pop_filtered(deadline, &[gst::MessageType::Eos, gst::MessageType::Error]);
    pipeline.set_state(gst::State::Null).expect("NULL");
    let end = end.expect("an end");
    assert_eq!(end.type_(), gst::MessageType::Eos, "{end:?}");
}

fn in_ms(path: &str) -> Vec<(u64, String)> {
    let chapters = chapters(path).into_iter();
    chapters
        .map(|(at, title)| ((at * 1000.0).round() as u64, title))
        .collect()
}

/// From `from` on, at which a chapter is already active.
fn expected(from: u64) -> Vec<(u64, String)> {
    let on = CHAPTERS.iter().rposition(|(at, _)| *at <= from);
    let chapters = CHAPTERS.iter().skip(on.expect("the first"));
    chapters
        .map(|(at, title)| (at.saturating_sub(from), (*title).to_owned()))
        .collect()
}

/// Re-encoded, or copied, into each kind of container.
#[test]
fn chapters_of_a_file_are_kept() {
    init();
    let folder = tempfile::tempdir().expect("a folder");
    let input = foreign(
        folder.path(),
        "in.mkv",
        &["-c:v", "libvpx", "-c:a", "libopus"],
    );
    let decoded = "d. ! video/x-vp8 ! queue ! vp8dec ! rec.video_0 d. ! audio/x-opus ! queue ! opusdec ! rec.audio_0";
    // FFmpeg's video may start some milliseconds late, which is where a copied recording starts.
    let starts = file::starts(Path::new(&input)).expect("the input's streams");
    let video = (starts[0] / 1e6).round() as u64;
    let copied = "d. ! video/x-vp8 ! queue ! rec.video_0 d. ! audio/x-opus ! queue ! rec.audio_0";
    let audio = "d. ! audio/x-opus ! queue ! opusdec ! rec.audio_0";
    for (name, tracks) in [
        ("encoded.mkv", decoded),
        ("copied.webm", copied),
        ("encoded.mp4", decoded),
        ("sound.wav", audio),
        ("sound.ogg", audio),
        ("sound.flac", audio),
    ] {
        let output = folder.path().join(name).display().to_string();
        play(
            &format!(
                "filesrc location={input} ! matroskademux name=d {tracks} \
                 mediarecorder name=rec autostart=true location={output}"
            ),
            |_| {},
        );
        let begin = if name == "copied.webm" { video } else { 0 };
        assert_eq!(in_ms(&output), expected(begin), "{name}");
    }
}

/// After a seek, chapters are relative to its target; the one active there is the first.
#[test]
fn later_chapters_are_kept_after_a_seek() {
    init();
    let folder = tempfile::tempdir().expect("a folder");
    let input = foreign(
        folder.path(),
        "in.mkv",
        &["-c:v", "libvpx", "-c:a", "libopus"],
    );
    let output = folder.path().join("later.mkv").display().to_string();
    play(
        &format!(
            "filesrc location={input} ! matroskademux name=d \
             d. ! audio/x-opus ! queue ! opusdec ! rec.audio_0 \
             mediarecorder name=rec autostart=false location={output}"
        ),
        |pipeline| {
            let recorder = pipeline.by_name("rec").expect("the recorder");
            let pad = recorder.static_pad("audio_0").expect("its pad");
            wait_for("caps", || pad.has_current_caps());
            let to = gst::ClockTime::from_seconds(3);
            let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE;
            pipeline.seek_simple(flags, to).expect("a seek");
            let refused: Option<glib::Error> = recorder.emit_by_name("start", &[]);
            assert!(refused.is_none(), "{refused:?}");
        },
    );
    assert_eq!(in_ms(&output), expected(3000));
}
