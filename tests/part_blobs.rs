//! Parts without a file: each is a blob that is playable on its own.

mod common;

use common::app::{App, SMALL, temp_location};
use common::judge::{file, parts, samples, sync};
use common::signal::tag;
use gst::prelude::*;

const SECOND: u64 = 1_000_000_000;

/// Records into blobs of a second, and saves each; returns the parts with these files.
fn blobs(app: &App, folder: &std::path::Path, media: impl FnOnce(&App)) -> Vec<parts::Part> {
    app.recorder.set_property("location", None::<&str>);
    app.recorder.set_property("blob-messages", true);
    app.recorder.set_property("max-size-time", SECOND);
    app.recorder.set_property("autostart", true);
    media(app);
    app.set_state(gst::State::Playing);
    app.wait_for("stop", 1);
    assert_eq!(app.warnings(), Vec::<String>::new());
    let reported = parts::from_messages(app);
    let events = app.events();
    let blobs: Vec<_> = events
        .iter()
        .filter(|event| event.name == "data-available")
        .collect();
    assert_eq!(blobs.len(), reported.len(), "one for each part");
    let saved = reported.into_iter().zip(blobs).map(|(part, blob)| {
        assert_eq!(blob.fields.get::<u32>("part").unwrap(), part.number);
        assert_eq!(blob.fields.get::<u64>("offset").unwrap(), 0);
        assert_eq!(blob.fields.get::<u64>("timecode").unwrap(), part.timecode);
        let sample = blob.fields.get::<gst::Sample>("sample").unwrap();
        let path = folder.join(format!("{}.blob", part.number));
        std::fs::write(&path, sample.buffer().unwrap().map_readable().unwrap()).unwrap();
        parts::Part { path, ..part }
    });
    saved.collect()
}

#[test]
fn audio_of_each_container_continues_in_playable_blobs() {
    for (mime_type, is_exact) in [
        ("audio/wav", true),
        ("audio/flac", true),
        ("audio/x-matroska;codecs=pcm", true),
        ("audio/x-matroska;codecs=flac", true),
        // Ogg pages signal the end of a stream.
        ("audio/ogg;codecs=flac", false),
        ("audio/ogg;codecs=opus", false),
        ("audio/webm;codecs=vorbis", false),
        ("audio/mp4;codecs=mp4a.40.2", false),
        ("audio/mpeg", false),
    ] {
        let (folder, path) = temp_location("none");
        let app = App::new(mime_type, &path);
        let mut clock = None;
        let saved = blobs(&app, folder.path(), |app| {
            clock = Some(app.counted(false, Some(250)).1);
        });
        let kept = app.kept();
        assert_eq!(saved.len(), 3, "{mime_type}: {saved:?}");
        let tolerance = if is_exact { 100_000.0 } else { 60e6 };
        parts::check_contiguous(&saved, kept.total(), tolerance)
            .unwrap_or_else(|err| panic!("{mime_type}: {err}"));
        let audio = parts::audio(&saved, None).unwrap();
        if is_exact {
            samples::check_continuous(&audio, &kept, &clock.unwrap())
                .unwrap_or_else(|err| panic!("{mime_type}: {err}"));
        }
    }
}

#[test]
fn video_of_each_container_continues_in_playable_blobs() {
    for mime_type in [
        "video/webm;codecs=\"vp8,opus\"",
        "video/x-matroska;codecs=\"avc1,flac\"",
        "video/mp4;codecs=\"avc1,opus\"",
        "video/ogg;codecs=\"theora,vorbis\"",
    ] {
        let (folder, path) = temp_location("none");
        let app = App::new(mime_type, &path);
        let mut log = None;
        let saved = blobs(&app, folder.path(), |app| {
            let video = app.source(&format!("videotestsrc num-buffers=75 ! {SMALL}"));
            log = Some(tag::video(&video));
            video.link(&app.pad("video_%u")).unwrap();
            app.counted(false, Some(250));
        });
        assert_eq!(saved.len(), 3, "{mime_type}: {saved:?}");
        parts::check_contiguous(&saved, app.kept().total(), 70e6)
            .unwrap_or_else(|err| panic!("{mime_type}: {err}"));
        for part in &saved {
            file::decodes_without_errors(&part.path).unwrap();
        }
        let shown = sync::frame_times(&parts::video(&saved).unwrap()).unwrap();
        let found: Vec<u64> = shown.iter().map(|(_, at)| *at as u64 / 1_000).collect();
        let expected = log.unwrap().lock().unwrap().clone();
        let expected: Vec<u64> = expected.iter().map(|at| (at + 500) / 1_000).collect();
        assert_eq!(found, expected, "{mime_type}");
    }
}
