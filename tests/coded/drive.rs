//! Recordings of encoded streams with a start between keyframes and a pause, and the expected result.

use super::{Coded, MILLI, ORIGIN, Payload, Playing, SECOND, assert_copied, play_until};
use crate::common::app::App;
pub use crate::common::app::temp_location;
use crate::common::judge::{decode, file, kept::Kept, sync};
use gst::prelude::*;
use std::path::Path;

/// Pushes a stream of three seconds with a start between keyframes and a pause.
pub fn drive(app: &App, playing: &mut Playing) -> Kept {
    let actions = [
        ("start", 310),
        ("pause", 1_250),
        ("resume", 1_710),
        ("stop", 2_850),
    ];
    drive_by(app, playing, &actions)
}

/// Pushes a stream of three seconds, with each action at its time in milliseconds; the last one is `stop`.
pub fn drive_by(app: &App, playing: &mut Playing, actions: &[(&str, u64)]) -> Kept {
    app.set_state(gst::State::Playing);
    let mut now = 0;
    for (action, at) in actions {
        play_until(&mut [playing], now, at * MILLI);
        now = at * MILLI;
        app.act(action);
    }
    play_until(&mut [playing], now, 4 * SECOND);
    playing.feed.end();
    app.wait_for("stop", 1);
    assert_eq!(app.warnings(), Vec::<String>::new());
    app.kept()
}

/// Records the first `length` of a stream, without a pause.
pub fn play_through(path: &Path, template: &str, coded: Coded, length: u64) -> (App, Playing) {
    let app = App::new("", path);
    let mut playing = Playing::new(&app, template, coded);
    app.set_state(gst::State::Playing);
    app.act("start");
    play_until(&mut [&mut playing], 0, length);
    app.act("stop");
    app.wait_for("stop", 1);
    assert_eq!(app.warnings(), Vec::<String>::new());
    (app, playing)
}

/// That each frame is visible at the time that it shows.
pub fn assert_pictures_in_place(path: &Path, kept: &Kept) -> usize {
    file::decodes_without_errors(path).unwrap();
    let frames = sync::frame_times(&decode::video(path, 0).unwrap()).unwrap();
    for (recorded, source) in &frames {
        let due = kept.source_at(*recorded + 0.6e6) - ORIGIN as f64 - 0.6e6;
        assert!(
            (source - due).abs() < 1.2e6,
            "the frame of {source} is visible at {recorded}, expected that of {due}"
        );
    }
    frames.len()
}

/// Records `given`, which is `coded` in another form, and verifies packets and frames.
pub fn copies(name: &str, coded: Coded, given: Option<Coded>, payload: Payload) -> usize {
    let (_directory, path) = temp_location(name);
    let app = App::new("", &path);
    let caps = coded.caps.clone();
    let video = caps.structure(0).unwrap().name().starts_with("video/");
    let (template, stream) = if video {
        ("video_%u", "v:0")
    } else {
        ("audio_%u", "a:0")
    };
    let mut playing = match given {
        Some(given) => {
            let mut playing = Playing::new(&app, template, given);
            playing.all = coded.buffers;
            playing
        }
        None => Playing::new(&app, template, coded),
    };
    let kept = drive(&app, &mut playing);
    let due = playing.due(&kept);
    assert!(due.len() > 15, "{} are due", due.len());
    assert_copied(&path, stream, &due, payload);
    if video {
        assert_pictures_in_place(&path, &kept)
    } else {
        0
    }
}

/// The stream as converted by another element.
pub fn through(coded: &Coded, line: &str) -> Coded {
    let line = format!("appsrc name=in format=time ! {line} ! appsink name=out sync=false");
    let pipeline = gst::parse::launch(&line).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let element = |name| pipeline.by_name(name).unwrap();
    let source = element("in").downcast::<gst_app::AppSrc>().unwrap();
    source.set_caps(Some(&coded.caps));
    source.set_max_bytes(0);
    pipeline.set_state(gst::State::Playing).unwrap();
    for buffer in &coded.buffers {
        source.push_buffer(buffer.clone()).unwrap();
    }
    source.end_of_stream().unwrap();
    super::output(&pipeline)
}
