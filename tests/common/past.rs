//! A recorder with `pre-record-time` and live sources, and what its recordings should contain.

use super::app::{App, BusEvent, DEADLINE, SMALL, STEREO, holds_within};
use super::judge::kept::Kept;
use super::judge::{file, parts, sync, whole};
use super::signal::{AudioSignal, tag};
use gst::prelude::*;
use std::path::PathBuf;

/// One frame of raw video.
const FRAME: u64 = 1_000_000_000 / 30;

/// A recorder with `pre-record-time` and live sources.
pub struct PreRecorder {
    pub app: App,
    pub directory: tempfile::TempDir,
    pub clock: Option<tag::SampleClock>,
    pub video_log: Option<tag::FrameLog>,
    /// Keyframes of the encoded video.
    pub keys: tag::FrameLog,
}

impl PreRecorder {
    /// Recordings go to `0.EXTENSION` and so on.
    pub fn new(mime_type: &str, extension: &str, past: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let location = directory.path().join(format!("%d.{extension}"));
        let app = App::new(mime_type, &location);
        app.recorder.set_property("pre-record-time", past);
        Self {
            app,
            directory,
            clock: None,
            video_log: None,
            keys: tag::FrameLog::default(),
        }
    }

    pub fn counted(&mut self) {
        let source = self.app.source(&format!(
            "audiotestsrc is-live=true samplesperbuffer=480 ! {STEREO}"
        ));
        self.clock = Some(tag::audio(&source, AudioSignal::Counted, 48_000));
        source.link(&self.app.pad("audio_%u")).unwrap();
    }

    pub fn noise(&mut self) {
        let source = self.app.source(&format!(
            "audiotestsrc is-live=true samplesperbuffer=480 ! {STEREO}"
        ));
        self.clock = Some(tag::audio(&source, AudioSignal::Noise, 48_000));
        source.link(&self.app.pad("audio_%u")).unwrap();
    }

    pub fn raw_video(&mut self) {
        let source = self
            .app
            .source(&format!("videotestsrc is-live=true ! {SMALL}"));
        self.video_log = Some(tag::video(&source));
        source.link(&self.app.pad("video_%u")).unwrap();
    }

    /// Video that is encoded upstream, with a keyframe each second.
    pub fn camera(&mut self) {
        let source = self
            .app
            .source(&format!("videotestsrc is-live=true ! {SMALL}"));
        self.video_log = Some(tag::video(&source));
        let encoder = self
            .app
            .section("vp8enc deadline=1 cpu-used=8 keyframe-max-dist=30 lag-in-frames=0");
        source.link(&encoder.static_pad("sink").unwrap()).unwrap();
        let encoded = encoder.static_pad("src").unwrap();
        let keys = self.keys.clone();
        encoded.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let frame = info.buffer().unwrap();
            if !frame.flags().contains(gst::BufferFlags::DELTA_UNIT) {
                keys.lock().unwrap().push(frame.pts().unwrap().nseconds());
            }
            gst::PadProbeReturn::Ok
        });
        encoded.link(&self.app.pad("video_%u")).unwrap();
    }

    pub fn play(&self) {
        self.app.set_state(gst::State::Playing);
        assert!(holds_within(DEADLINE, || self
            .clock
            .as_ref()
            .is_none_or(|c| c.has_started())));
    }

    pub fn rest(&self, time: u64) {
        self.app.wait_running_time(self.app.running_time() + time);
    }

    pub fn start(&self) -> (u64, u64) {
        self.app.act("start")
    }

    /// Saves the past in one go: starts and stops.
    pub fn save(&self) -> (u64, u64) {
        let called = self.start();
        self.app.act("stop");
        called
    }

    /// Records once, for this time after this `rest`; then the pipeline is stopped. Returns what [`start`](Self::start)
    /// returns, and what the file should contain.
    pub fn record(&self, rest: u64, time: u64) -> ((u64, u64), Kept) {
        self.rest(rest);
        let called = self.start();
        self.rest(time);
        self.app.act("stop");
        let stop = self.stopped(1).remove(0);
        self.app.set_state(gst::State::Null);
        (called, kept(&stop))
    }

    pub fn stopped(&self, recordings: usize) -> Vec<BusEvent> {
        self.app.wait_for("stop", recordings);
        let events = self.app.events();
        events
            .into_iter()
            .filter(|event| event.name == "stop")
            .collect()
    }

    pub fn path(&self, number: usize, extension: &str) -> PathBuf {
        self.directory.path().join(format!("{number}.{extension}"))
    }

    pub fn clock(&self) -> &tag::SampleClock {
        self.clock.as_ref().unwrap()
    }

    pub fn sources_log(&self) -> tag::FrameLog {
        self.video_log.as_ref().unwrap().clone()
    }

    pub fn sources(&self) -> Vec<u64> {
        self.video_log.as_ref().unwrap().lock().unwrap().clone()
    }

    /// Verifies that the parts together contain what was kept, with this tolerance for frame timestamps.
    #[track_caller]
    pub fn judge_parts(&self, kept: &Kept, least: usize, tolerance: u64) {
        let parts = parts::from_messages(&self.app);
        assert!(parts.len() >= least, "{parts:?}");
        parts::check_contiguous(&parts, kept.total(), FRAME as f64 + 20e6).unwrap();
        let frames = sync::frame_times(&parts::video(&parts).unwrap()).unwrap();
        sync::check_frames(&frames, kept, &self.sources(), tolerance as f64, 0).unwrap();
        for part in &parts {
            file::decodes_without_errors(&part.path).unwrap();
        }
    }

    /// Verifies a finished recording of noise and tagged frames.
    pub fn judge_webm(&self, number: usize, stop: &BusEvent) {
        let kept = kept(stop);
        let found = whole::webm(&self.path(number, "webm"), &kept, &self.sources(), 0).unwrap();
        println!("{number}: {kept:?} {found:?}");
    }
}

/// What a recording should contain, from its stop message.
pub fn kept(stop: &BusEvent) -> Kept {
    let intervals = stop.fields.get::<gst::Array>("intervals").unwrap();
    let intervals = intervals.iter().map(|interval| {
        let interval = interval.get::<gst::Structure>().unwrap();
        let begin: u64 = interval.get("running-time").unwrap();
        let length: u64 = interval.get("duration").unwrap();
        (begin, begin + length)
    });
    Kept {
        intervals: intervals.collect(),
    }
}

/// The start of each recording.
pub fn begins(app: &App) -> Vec<u64> {
    let events = app.events();
    let starts = events.iter().filter(|event| event.name == "start");
    starts.map(|event| event.running_time).collect()
}
