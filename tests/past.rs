//! Recordings that begin before the call: what was kept of the past, read back instant by instant.

mod common;

use common::chance::{Chance, long, tenth};
use common::judge::kept::Kept;
use common::judge::whole;
use common::outer::{DEADLINE, Heard, Outer, until};
use common::signal::{Sound, tag};
use gst::prelude::*;
use std::path::PathBuf;

const SECOND: u64 = 1_000_000_000;
const MILLI: u64 = 1_000_000;
const STEREO: &str = "audio/x-raw,format=S16LE,rate=48000,channels=2,layout=interleaved";
const SMALL: &str = "video/x-raw,format=I420,width=320,height=240,framerate=30/1";
/// Raw video gets a key frame at least so often.
const KEYS: u64 = SECOND / 2;
/// One frame of it.
const FRAME: u64 = SECOND / 30;

/// A recorder that keeps the past of live sources.
struct Bench {
    outer: Outer,
    directory: tempfile::TempDir,
    clock: Option<tag::SampleClock>,
    pictures: Option<tag::PictureLog>,
    called: Vec<u64>,
}

impl Bench {
    /// Recordings go to `0.EXTENSION` and so on.
    fn new(mime_type: &str, extension: &str, past: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let location = directory.path().join(format!("%d.{extension}"));
        let outer = Outer::new(mime_type, &location);
        outer.recorder.set_property("pre-record-time", past);
        Self {
            outer,
            directory,
            clock: None,
            pictures: None,
            called: Vec::new(),
        }
    }

    fn counted(&mut self) {
        let source = self.outer.source(&format!(
            "audiotestsrc is-live=true samplesperbuffer=480 ! {STEREO}"
        ));
        self.clock = Some(tag::audio(&source, Sound::Counted, 48_000));
        source.link(&self.outer.pad("audio_%u")).unwrap();
    }

    fn noise(&mut self) {
        let source = self.outer.source(&format!(
            "audiotestsrc is-live=true samplesperbuffer=480 ! {STEREO}"
        ));
        self.clock = Some(tag::audio(&source, Sound::Noise, 48_000));
        source.link(&self.outer.pad("audio_%u")).unwrap();
    }

    fn raw_video(&mut self) {
        let source = self
            .outer
            .source(&format!("videotestsrc is-live=true ! {SMALL}"));
        self.pictures = Some(tag::video(&source));
        source.link(&self.outer.pad("video_%u")).unwrap();
    }

    /// Pictures that upstream encodes, with a key frame each second.
    fn camera(&mut self) {
        let source = self
            .outer
            .source(&format!("videotestsrc is-live=true ! {SMALL}"));
        self.pictures = Some(tag::video(&source));
        let encoder = self.outer.section(
            "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=30 keyframe-mode=disabled lag-in-frames=0",
        );
        source.link(&encoder.static_pad("sink").unwrap()).unwrap();
        let encoded = encoder.static_pad("src").unwrap();
        encoded.link(&self.outer.pad("video_%u")).unwrap();
    }

    fn play(&self) {
        self.outer.set_state(gst::State::Playing);
        assert!(until(DEADLINE, || self
            .clock
            .as_ref()
            .is_none_or(|c| c.runs())));
    }

    fn rest(&self, time: u64) {
        self.outer.wait_running(self.outer.running_time() + time);
    }

    fn start(&mut self) -> (u64, u64) {
        let called = self.outer.act("start");
        self.called.push(called.0);
        called
    }

    fn stopped(&self, recordings: usize) -> Vec<Heard> {
        self.outer.wait_for("stop", recordings);
        let heard = self.outer.heard();
        heard.into_iter().filter(|h| h.name == "stop").collect()
    }

    fn path(&self, number: usize, extension: &str) -> PathBuf {
        self.directory.path().join(format!("{number}.{extension}"))
    }

    fn clock(&self) -> &tag::SampleClock {
        self.clock.as_ref().unwrap()
    }

    fn sources(&self) -> Vec<u64> {
        self.pictures.as_ref().unwrap().lock().unwrap().clone()
    }

    /// Judges a finished recording of noise and pictures.
    fn judge_webm(&self, number: usize, stop: &Heard) {
        let kept = kept(stop);
        let found = whole::webm(&self.path(number, "webm"), &kept, &self.sources(), 0).unwrap();
        println!("{number}: {kept:?} {found:?}");
    }
}

/// What should be in a recording, by its last message.
fn kept(stop: &Heard) -> Kept {
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

/// Where each recording began.
fn begins(outer: &Outer) -> Vec<u64> {
    let heard = outer.heard();
    let starts = heard.iter().filter(|h| h.name == "start");
    starts.map(|h| h.running_time).collect()
}

#[test]
fn sound_begins_to_the_sample_where_it_was_asked_for() {
    let past = 700 * MILLI;
    let mut bench = Bench::new("audio/wav", "wav", past);
    bench.counted();
    bench.play();
    bench.rest(SECOND);
    let mut chance = Chance::of_now();
    let triggers = tenth(60);
    let mut calls = Vec::new();
    for _ in 0..triggers {
        bench.rest(chance.below(200) * MILLI);
        calls.push(bench.start());
        // Some in one go.
        bench.rest(chance.below(3) * 20 * MILLI);
        bench.outer.act("stop");
    }
    let stops = bench.stopped(calls.len());
    let begins = begins(&bench.outer);
    bench.outer.set_state(gst::State::Null);
    for (number, ((before, after), begin)) in calls.iter().zip(begins).enumerate() {
        assert!(
            begin + past + MILLI >= *before && begin + past <= after + MILLI,
            "{number}: begins at {begin}, called between {before} and {after}"
        );
        let kept = kept(&stops[number]);
        assert_eq!(kept.intervals[0].0, begin);
        assert!(kept.total() >= past, "{kept:?}");
        whole::wav(&bench.path(number, "wav"), &kept, bench.clock()).unwrap();
    }
}

#[test]
fn no_more_is_recorded_than_there_is() {
    let mut bench = Bench::new("audio/wav", "wav", 3600 * SECOND);
    bench.counted();
    bench.play();
    bench.rest(300 * MILLI);
    bench.start();
    bench.outer.act("stop");
    let stop = &bench.stopped(1)[0];
    let kept = kept(stop);
    assert!(kept.intervals[0].0 < 100 * MILLI, "{kept:?}");
    bench.outer.set_state(gst::State::Null);
    whole::wav(&bench.path(0, "wav"), &kept, bench.clock()).unwrap();
}

#[test]
fn raw_pictures_begin_at_the_key_frame_before_and_pause_exactly() {
    let past = 1200 * MILLI;
    let mut bench = Bench::new("video/webm;codecs=\"vp8,opus\"", "webm", past);
    bench.noise();
    bench.raw_video();
    bench.play();
    bench.rest(2500 * MILLI);
    let (before, _) = bench.start();
    let mut calls = Vec::new();
    for _ in 0..2 {
        bench.rest(250 * MILLI);
        calls.push(("pause", bench.outer.act("pause")));
        bench.rest(170 * MILLI);
        calls.push(("resume", bench.outer.act("resume")));
    }
    bench.rest(300 * MILLI);
    calls.push(("stop", bench.outer.act("stop")));
    let stop = bench.stopped(1).remove(0);
    // What was saved is past for the next, and what was paused is not.
    bench.start();
    bench.outer.act("stop");
    let again = bench.stopped(2).remove(1);
    bench.outer.set_state(gst::State::Null);
    let cuts = bench.outer.cuts();
    let begin = cuts[0].1;
    assert!(
        begin + past <= before && begin + past + KEYS + FRAME >= before,
        "begins at {begin}, called at {before}"
    );
    for ((name, cut), (called, (before, after))) in cuts[1..].iter().zip(&calls) {
        assert_eq!(name, called);
        assert!(
            cut + MILLI >= *before && *cut <= after + MILLI,
            "{name} at {cut}, called between {before} and {after}"
        );
    }
    bench.judge_webm(0, &stop);
    bench.judge_webm(1, &again);
    let (first, second) = (kept(&stop), kept(&again));
    assert!(second.intervals.len() > 1, "{second:?}");
    assert!(
        second.intervals[1..]
            .iter()
            .zip(&first.intervals[1..])
            .all(|(a, b)| a.0 == b.0)
            || second.intervals.len() < first.intervals.len(),
        "{second:?} behind {first:?}"
    );
}
