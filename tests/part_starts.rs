//! Splits that are requested before the start is decided: while a track has no media yet, or no keyframe.

mod common;
mod inputs;

use common::app::{App, temp_location};
use common::judge::{decode, parts, samples};
use gst::prelude::*;
use inputs::*;

/// A recording of non-live audio and video that the test pushes.
struct Fed {
    app: App,
    audio: Source,
    video: Source,
    _directory: tempfile::TempDir,
}

impl Fed {
    fn new(autostart: bool, max_size_time: u64) -> Self {
        let (_directory, path) = temp_location("part-%d.mkv");
        let app = App::new(BOTH, &path);
        app.recorder.set_property("autostart", autostart);
        app.recorder.set_property("max-size-time", max_size_time);
        let source = |template, caps| Source::new(&app.pad(template), &caps, None);
        let audio = source("audio_%u", stereo(48_000).to_caps().unwrap());
        let video = source("video_%u", small().to_caps().unwrap());
        app.set_state(gst::State::Playing);
        if !autostart {
            app.act("start");
        }
        Fed {
            app,
            audio,
            video,
            _directory,
        }
    }

    /// Pushes audio from one hundredth of a second to another.
    fn audio(&self, from: u64, to: u64) {
        (from..to).for_each(|n| self.audio.push(tick(n)));
    }

    /// Pushes this many frames, 40 ms each, from 0 on.
    fn video(&self, frames: u64) {
        (0..frames).for_each(|n| self.video.push(shot(&small(), n * FRAME)));
    }

    /// Ends both tracks, and waits for the end of the recording.
    fn end(&self) -> Vec<parts::Part> {
        self.audio.end();
        self.video.end();
        self.app.wait_for("stop", 1);
        assert_eq!(self.app.warnings(), Vec::<String>::new());
        let parts = parts::from_messages(&self.app);
        let total = self.app.kept().total();
        parts::check_contiguous(&parts, total, 45e6).unwrap();
        parts
    }
}

/// The source samples of all parts, as (recorded, source, length), and their total length.
fn events(parts: &[parts::Part]) -> (Vec<(u64, u64, u64)>, u64) {
    runs(&samples::spans(&parts::audio(parts, None).unwrap()))
}

/// Timestamps of the source frames of each part, in milliseconds.
fn frames(parts: &[parts::Part]) -> Vec<Vec<u64>> {
    let of_part = |part: &parts::Part| {
        let frames = decode::video(&part.path, 0).unwrap();
        let sources = frames.frames.iter().map(|frame| frame.source.unwrap());
        sources.map(|at| (at + MILLI / 2) / MILLI).collect()
    };
    parts.iter().map(of_part).collect()
}

fn starts(parts: &[parts::Part]) -> Vec<u64> {
    parts.iter().map(|part| part.running_time / MILLI).collect()
}

#[test]
fn a_split_before_the_start_is_decided_ends_a_part() {
    for autostart in [true, false] {
        let fed = Fed::new(autostart, 0);
        // Nothing has been recorded.
        if !autostart {
            fed.app.act("split-now");
        }
        fed.audio(0, 45);
        fed.app.act("split-now");
        // Before the same frame.
        fed.audio(45, 47);
        fed.app.act("split-now");
        fed.audio(47, 75);
        fed.app.act("split-now");
        fed.audio(75, 100);
        fed.video(25);
        let parts = fed.end();
        assert_eq!(starts(&parts), [0, 480, 760], "autostart: {autostart}");
        assert_eq!(events(&parts), (vec![(0, 0, 48_000)], 48_000));
        let expected = [0..12, 12..19, 19..25];
        let expected = expected.map(|frames| frames.map(|n| n * 40).collect::<Vec<u64>>());
        assert_eq!(frames(&parts), expected);
    }
}

#[test]
fn media_from_before_the_start_is_decided_fills_many_parts() {
    let fed = Fed::new(true, 150 * MILLI);
    fed.audio(0, 100);
    fed.video(25);
    let parts = fed.end();
    assert_eq!(starts(&parts), [0, 160, 320, 480, 640, 800, 960]);
    assert_eq!(events(&parts), (vec![(0, 0, 48_000)], 48_000));
    assert_eq!(frames(&parts).concat().len(), 25);
}

#[test]
fn a_split_before_the_start_is_decided_does_not_exceed_the_maximum_duration() {
    let fed = Fed::new(true, 300 * MILLI);
    fed.audio(0, 80);
    fed.app.act("split-now");
    fed.audio(80, 100);
    fed.video(25);
    let parts = fed.end();
    assert_eq!(starts(&parts), [0, 320, 640, 800]);
    assert_eq!(events(&parts), (vec![(0, 0, 48_000)], 48_000));
}

#[test]
fn pauses_and_splits_before_the_start_is_decided() {
    let fed = Fed::new(true, 0);
    fed.audio(0, 20);
    fed.app.act("split-now");
    fed.audio(20, 40);
    fed.app.act("pause");
    fed.audio(40, 50);
    fed.app.act("split-now");
    fed.audio(50, 52);
    fed.app.act("split-now");
    fed.audio(52, 60);
    fed.app.act("resume");
    fed.audio(60, 80);
    fed.app.act("split-now");
    fed.audio(80, 100);
    fed.app.act("stop");
    fed.video(30);
    let parts = fed.end();
    assert_eq!(starts(&parts), [0, 200, 600, 800]);
    let spans = vec![(0, 0, 19_200), (19_200, 28_800, 19_200)];
    assert_eq!(events(&parts), (spans, 38_400));
    let frames = frames(&parts);
    let expected = [0..5, 5..10, 15..20, 20..25];
    let expected = expected.map(|frames| frames.map(|n| n * 40).collect::<Vec<u64>>());
    assert_eq!(frames, expected);
}
