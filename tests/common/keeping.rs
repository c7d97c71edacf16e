//! Recordings with `keep`, and what had to be converted anyway.

use super::app::App;
use gst::prelude::*;
use std::path::Path;

/// Everything that can be kept.
pub const ALL: &str = "depth+chroma+alpha+pixel-aspect";

/// Records `source` to its end; returns `converted` in `stats`, of its only track.
pub fn record_keeping(source: &str, mime_type: &str, keep: &str, path: &Path) -> Vec<String> {
    let app = App::new(mime_type, path);
    app.recorder.set_property_from_str("keep", keep);
    app.recorder.set_property("autostart", true);
    app.recorder
        .set_property("video-bits-per-second", 8_000_000u32);
    let from = app.source(source);
    from.link(&app.pad("video_%u")).unwrap();
    app.set_state(gst::State::Playing);
    app.wait_for("stop", 1);
    let stats = app.recorder.property::<gst::Structure>("stats");
    app.set_state(gst::State::Null);
    assert_eq!(app.warnings(), Vec::<String>::new(), "{mime_type}");
    let tracks = stats.get::<gst::Array>("tracks").unwrap();
    let track = tracks.first().unwrap().get::<gst::Structure>().unwrap();
    let converted = track.get::<gst::Array>("converted").unwrap();
    converted.iter().map(|text| text.get().unwrap()).collect()
}
