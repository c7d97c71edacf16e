//! Video without a frame rate, in which each frame stays visible until the next: slides, shared screens.

mod common;
mod inputs;

use common::app::App;
use common::judge::{decode, file, sync};
use common::signal::frame;
use gst_video::{VideoFormat, VideoInfo};
use inputs::{SECOND, Source};

/// Display duration of each in seconds.
const LENGTHS: [u64; 4] = [10, 3, 7, 10];
/// Containers that count frames place a frame to within one of these.
const FRAME: f64 = 1e9 / 30.0;

#[test]
fn the_last_frame_has_its_duration_in_every_codec() {
    common::app::init();
    let info = VideoInfo::builder(VideoFormat::I420, 160, 120)
        .fps(gst::Fraction::new(0, 1))
        .build()
        .unwrap();
    for mime in [
        "video/webm;codecs=vp8",
        "video/webm;codecs=vp9",
        "video/webm;codecs=av1",
        "video/x-matroska;codecs=avc1.42c01e",
        "video/x-matroska;codecs=hvc1",
        "video/mp4;codecs=avc1.42c01e",
        "video/mp4;codecs=hvc1",
        "video/mp4;codecs=av01",
        "video/mp4;codecs=vp09",
        "video/ogg;codecs=theora",
        "video/ogg;codecs=vp8",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("slides");
        let app = App::new(mime, &path);
        // Enough for a whole frame at once.
        let rate = 8_000_000u32;
        gst::prelude::ObjectExt::set_property(&app.recorder, "video-bits-per-second", rate);
        let source = Source::new(&app.pad("video_%u"), &info.to_caps().unwrap(), None);
        app.set_state(gst::State::Playing);
        app.act("start");
        let mut at = 0;
        let mut starts = Vec::new();
        for length in LENGTHS {
            starts.push(at as f64);
            source.push(frame::buffer(&info, at, length * SECOND));
            at += length * SECOND;
        }
        source.end();
        app.wait_for("stop", 1);
        app.set_state(gst::State::Null);
        let lasts = file::duration(&path).unwrap();
        let slack = if mime.contains("ogg") { FRAME } else { 2e6 };
        assert!(
            (lasts - at as f64).abs() <= slack,
            "{mime}: {lasts} of {at}"
        );
        let seen = decode::video(&path, 0).and_then(|all| sync::frame_times(&all));
        let mut seen = seen.unwrap_or_else(|why| panic!("{mime}: {why}"));
        seen.dedup_by(|b, a| a.1 == b.1);
        assert_eq!(seen.len(), LENGTHS.len(), "{mime}: {seen:?}");
        for ((recorded, source), expected) in seen.iter().zip(starts) {
            let is_near = (recorded - expected).abs() <= slack && (source - expected).abs() < 1e6;
            assert!(
                is_near,
                "{mime}: {source} at {recorded}, expected at {expected}"
            );
        }
    }
}
