//! Tags from upstream and from the application are in the file, as far as its container supports them.

mod common;

use common::app::{App, DEADLINE, SMALL, STEREO, holds_within};
use common::judge::{decode, file, sync};
use common::signal::tag;
use gst::prelude::*;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Records for half a second with tags on both tracks and on the recorder.
fn recorded(name: &str, mime_type: &str, check: impl Fn(&Path)) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    let app = App::new(mime_type, &path);
    let setter = app.recorder.dynamic_cast_ref::<gst::TagSetter>().unwrap();
    setter.add_tag::<gst::tags::Comment>(&"of the application", gst::TagMergeMode::Replace);
    setter.add_tag::<gst::tags::Artist>(&"the band", gst::TagMergeMode::Replace);
    let audio = app.source(&format!(
        "audiotestsrc is-live=true samplesperbuffer=480 ! {STEREO} \
         ! taginject tags=\"language-code=fr,title=concert\""
    ));
    let flows = Arc::<AtomicBool>::default();
    let came = flows.clone();
    audio.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        came.store(true, Ordering::SeqCst);
        gst::PadProbeReturn::Ok
    });
    audio.link(&app.pad("audio_%u")).unwrap();
    app.set_state(gst::State::Playing);
    assert!(holds_within(DEADLINE, || flows.load(Ordering::SeqCst)));
    app.act("start");
    app.wait_running_time(app.running_time() + 500_000_000);
    app.act("stop");
    app.wait_for("stop", 1);
    app.set_state(gst::State::Null);
    assert_eq!(app.warnings(), Vec::<String>::new());
    file::decodes_without_errors(&path).unwrap();
    check(&path);
}

/// All tags of the file, including those of its streams, with lower-case keys.
fn tags(path: &Path) -> Vec<(String, String)> {
    let probe = file::ffprobe(path).unwrap();
    let streams = probe["streams"].as_array().cloned().unwrap_or_default();
    let mut found = Vec::new();
    for holder in streams.iter().chain([&probe["format"]]) {
        for (key, value) in holder["tags"].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default().to_owned();
            found.push((key.to_ascii_lowercase(), value));
        }
    }
    found
}

#[track_caller]
fn assert_has(path: &Path, wanted: &[(&str, &str)]) {
    let found = tags(path);
    for (key, value) in wanted {
        // matroskamux 1.22 quotes strings with spaces.
        let bare = |text: &str| text.replace(['"', '\\'], "");
        let has = found.iter().any(|(k, v)| k == key && bare(v) == *value);
        assert!(has, "{key}={value} is not among {found:?}");
    }
}

#[test]
fn tags_are_in_matroska() {
    recorded("tags.mkv", "audio/x-matroska", |path| {
        let language = tags(path).into_iter().find(|(key, _)| key == "language");
        let language = language.map(|(_, value)| value).unwrap_or_default();
        assert!(["fre", "fra"].contains(&language.as_str()), "{language}");
        assert_has(path, &[("title", "concert"), ("artist", "the band")]);
        let found = tags(path);
        let comment = found.iter().any(|(_, value)| value.contains("application"));
        assert!(comment, "{found:?}");
    });
}

#[test]
fn tags_are_in_webm() {
    recorded("tags.webm", "", |path| {
        assert_has(path, &[("title", "concert"), ("artist", "the band")]);
    });
}

#[test]
fn tags_are_in_mp4() {
    recorded("tags.m4a", "", |path| {
        let wanted = [
            ("language", "fra"),
            ("title", "concert"),
            ("artist", "the band"),
            ("comment", "of the application"),
        ];
        assert_has(path, &wanted);
    });
}

#[test]
fn tags_are_in_ogg() {
    recorded("tags.ogg", "audio/ogg", |path| {
        assert_has(path, &[("title", "concert"), ("artist", "the band")]);
    });
}

#[test]
fn tags_are_in_mp3() {
    recorded("tags.mp3", "audio/mpeg", |path| {
        assert_has(path, &[("title", "concert"), ("artist", "the band")]);
    });
}

#[test]
fn tags_are_in_flac() {
    recorded("tags.flac", "", |path| {
        assert_has(path, &[("title", "concert"), ("artist", "the band")]);
    });
}

#[test]
fn tags_set_while_recording_are_in_matroska() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("late.mkv");
    let app = App::new("", &path);
    let frame = app.source(&format!("videotestsrc is-live=true ! {SMALL}"));
    let log = tag::video(&frame);
    frame.link(&app.pad("video_%u")).unwrap();
    app.set_state(gst::State::Playing);
    assert!(holds_within(DEADLINE, || !log.lock().unwrap().is_empty()));
    app.act("start");
    app.wait_for("start", 1);
    let mut late = gst::TagList::new();
    late.make_mut()
        .add::<gst::tags::Title>(&"found out later", gst::TagMergeMode::Replace);
    frame.push_event(gst::event::Tag::new(late));
    app.wait_running_time(app.running_time() + 400_000_000);
    app.act("stop");
    app.wait_for("stop", 1);
    app.set_state(gst::State::Null);
    assert_has(&path, &[("title", "found out later")]);
    sync::frame_times(&decode::video(&path, 0).unwrap()).unwrap();
}

/// Strings with spaces and non-ASCII letters, which muxers escape differently.
#[test]
fn titles_are_unchanged() {
    for (name, mime_type) in [
        ("title.mka", "audio/x-matroska;codecs=opus"),
        ("title.webm", "audio/webm;codecs=opus"),
        ("title.mp3", "audio/mpeg"),
        ("title.ogg", "audio/ogg;codecs=opus"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        let app = App::new(mime_type, &path);
        let audio = app.source(&format!(
            "audiotestsrc num-buffers=50 ! {STEREO} ! taginject name=tags"
        ));
        let tags = app.pipeline.by_name("tags").unwrap();
        tags.set_property("tags", r#"title="My\ S\303\266ng",artist="The\ \"Band\"""#);
        app.recorder.set_property("autostart", true);
        audio.link(&app.pad("audio_%u")).unwrap();
        app.set_state(gst::State::Playing);
        app.wait_for("stop", 1);
        app.set_state(gst::State::Null);
        let found = self::tags(&path);
        for (key, expected) in [("title", "My S\u{f6}ng"), ("artist", "The \"Band\"")] {
            let value = found.iter().find(|(name, _)| name == key);
            let value = value.map(|(_, value)| value.as_str());
            assert_eq!(value, Some(expected), "{name}: {found:?}");
        }
    }
}
