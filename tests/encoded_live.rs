//! Encoded tracks from live encoders: a keyframe is requested at every start and resume, the cut of every track
//! moves to it, and audio and video stay in sync.

mod common;

use common::app::{App, DEADLINE, SMALL, STEREO, holds_within, temp_location};
use common::judge::{decode, file, position, sync};
use common::signal::{AudioSignal, tag};
use gst::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

const SECOND: u64 = 1_000_000_000;
const MILLI: u64 = 1_000_000;
const FRAME: u64 = SECOND / 30;

/// Tagged live video, encoded by `encoder`.
fn camera(app: &App, name: &str, encoder: &str) -> gst::Pad {
    let source = app.source(&format!(
        "videotestsrc is-live=true ! {SMALL} ! identity name={name} ! queue ! {encoder}"
    ));
    let raw = app.pipeline.by_name(name).unwrap();
    tag::video(&raw.static_pad("src").unwrap());
    let pad = app.pad("video_%u");
    source.link(&pad).unwrap();
    pad
}

/// Tagged live noise, encoded by `encoder`.
fn microphone(app: &App, name: &str, encoder: &str) -> gst::Pad {
    let source = app.source(&format!(
        "audiotestsrc is-live=true samplesperbuffer=480 ! {STEREO} ! identity name={name} \
         ! queue ! {encoder}"
    ));
    let raw = app.pipeline.by_name(name).unwrap();
    tag::audio(&raw.static_pad("src").unwrap(), AudioSignal::Noise, 48_000);
    let pad = app.pad("audio_%u");
    source.link(&pad).unwrap();
    pad
}

/// The running times of key-unit requests sent upstream from `pad`; they are dropped there if not `heard`.
fn requests(pad: &gst::Pad, heard: bool) -> Arc<Mutex<Vec<(u64, bool)>>> {
    let list = Arc::<Mutex<Vec<(u64, bool)>>>::default();
    let log = list.clone();
    let peer = pad.peer().expect("a linked pad");
    peer.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
        let Some(event) = info.event() else {
            return gst::PadProbeReturn::Ok;
        };
        match gst_video::UpstreamForceKeyUnitEvent::parse(event) {
            Ok(request) => {
                let time = request.running_time.expect("a running time");
                log.lock()
                    .unwrap()
                    .push((time.nseconds(), request.all_headers));
                if heard {
                    gst::PadProbeReturn::Ok
                } else {
                    // In 1.22, dropping it from the probe would unref NULL.
                    drop(info.data.take());
                    gst::PadProbeReturn::Handled
                }
            }
            Err(_) => gst::PadProbeReturn::Ok,
        }
    });
    list
}

fn flows(pad: &gst::Pad) -> Arc<Mutex<u64>> {
    let count = Arc::<Mutex<u64>>::default();
    let log = count.clone();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        *log.lock().unwrap() += 1;
        gst::PadProbeReturn::Ok
    });
    count
}

/// The running time up to which the recorder has taken media of `pad`: each buffer once the next one has arrived.
fn taken(pad: &gst::Pad) -> Arc<AtomicU64> {
    let taken = Arc::<AtomicU64>::default();
    let (reported, before) = (taken.clone(), AtomicU64::new(0));
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let buffer = info.buffer().expect("a buffer");
        let end = buffer.pts().expect("a stamp") + buffer.duration().expect("a duration");
        reported.store(
            before.swap(end.nseconds(), Ordering::SeqCst),
            Ordering::SeqCst,
        );
        gst::PadProbeReturn::Ok
    });
    taken
}

/// Running times up to which the blobs so far extend.
fn reached(app: &App) -> Vec<u64> {
    let heard = app.events();
    let blobs = heard.iter().filter(|event| event.name == "data-available");
    blobs.map(|blob| blob.running_time).collect()
}

/// Records with three pauses, and verifies cuts, A/V sync and the file.
fn stays_together(name: &str, video: &str, audio: &str) {
    let (_directory, path) = temp_location(name);
    let app = App::new("", &path);
    let camera = camera(&app, "camera", video);
    let microphone = microphone(&app, "microphone", audio);
    let asked = requests(&camera, true);
    let frames = flows(&camera);
    let audio_samples = flows(&microphone);
    app.set_state(gst::State::Playing);
    assert!(holds_within(DEADLINE, || *frames.lock().unwrap() > 5
        && *audio_samples.lock().unwrap() > 5));
    let mut called = vec![app.act("start")];
    for number in 0..3 {
        app.wait_running_time(app.running_time() + 700 * MILLI + number * 37 * MILLI);
        assert_eq!(app.warnings(), Vec::<String>::new());
        app.act("pause");
        app.wait_running_time(app.running_time() + 211 * MILLI);
        called.push(app.act("resume"));
    }
    app.wait_running_time(app.running_time() + 800 * MILLI);
    app.act("stop");
    app.wait_for("stop", 1);
    app.set_state(gst::State::Null);

    let kept = app.kept();
    assert_eq!(kept.intervals.len(), called.len());
    for ((from, _), (before, _)) in kept.intervals.iter().zip(&called) {
        // From one frame to the next, with tolerance for a slow machine.
        let late = from.saturating_sub(*before);
        assert!(
            *from + MILLI >= *before && late < 4 * FRAME,
            "{from}, called at {before}"
        );
    }
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked.len(), called.len(), "{asked:?}");
    for ((running, all_headers), (before, after)) in asked.iter().zip(&called) {
        assert!(*all_headers);
        assert!(running + MILLI >= *before && *running <= after + MILLI);
    }

    file::decodes_without_errors(&path).unwrap();
    let shown = sync::frame_times(&decode::video(&path, 0).unwrap()).unwrap();
    for (recorded, source) in &shown {
        let expected = kept.source_at(*recorded + 0.6e6) - 0.6e6;
        assert!(
            (source - expected).abs() < 1.3e6,
            "{source} visible at {recorded}, expected {expected}: {kept:?}"
        );
    }
    let expected: usize = kept
        .intervals
        .iter()
        .map(|(from, to)| ((to - from) / FRAME) as usize)
        .sum();
    assert!(
        shown.len() + 8 >= expected,
        "{} frames of about {expected}",
        shown.len()
    );
    let decoded = decode::audio(&path, 0, Some(48_000)).unwrap();
    let horizon = kept.intervals.last().unwrap().1 as f64 + 1e9;
    let places = position::find(&decoded, horizon).unwrap();
    // A packet of audio spans the cut.
    let clear: Vec<_> = shown
        .iter()
        .filter(|(recorded, _)| !kept.near_cut(*recorded, 60e6))
        .copied()
        .collect();
    let offset = sync::av_offset_max(&clear, &places).unwrap();
    println!("{name}: {offset:?}");
    assert!(
        offset.furthest.abs() < 4e6,
        "A/V offset too large: {offset:?}"
    );
    let middle: Vec<f64> = places
        .iter()
        .filter(|p| !kept.near_cut(p.recorded, 60e6))
        .filter_map(|p| Some(p.source? - kept.source_at(p.recorded)))
        .collect();
    assert!(middle.len() > 100);
    let worst = middle.iter().fold(0f64, |worst, d| worst.max(d.abs()));
    assert!(worst < 2.5e6, "audio is off by {worst} ns");
}

const X264: &str = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=3000";

#[test]
fn h264_and_opus_stay_in_sync_across_pauses() {
    stays_together(
        "live.mkv",
        &format!("{X264} ! video/x-h264,stream-format=avc"),
        "opusenc",
    );
}

#[test]
fn nal_units_of_h264_and_raw_audio_stay_in_sync_across_pauses() {
    let units = "h264parse ! video/x-h264,stream-format=byte-stream,alignment=nal";
    stays_together("units.mkv", &format!("{X264} ! {units}"), "identity");
}

#[test]
fn vp8_and_vorbis_stay_in_sync_across_pauses() {
    let vp8 = "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=3000";
    stays_together("live.webm", vp8, "audioconvert ! vorbisenc");
}

#[test]
fn a_source_that_ignores_the_request_is_recorded_from_its_next_keyframe() {
    let (_directory, path) = temp_location("deaf.mkv");
    let app = App::new("", &path);
    let encoder = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=105";
    let camera = camera(&app, "camera", encoder);
    microphone(&app, "microphone", "identity");
    let asked = requests(&camera, false);
    let frames = flows(&camera);
    app.set_state(gst::State::Playing);
    assert!(holds_within(DEADLINE, || *frames.lock().unwrap() > 10));
    let (called, _) = app.act("start");
    app.wait_for("start", 1);
    app.wait_running_time(app.running_time() + SECOND);
    app.act("stop");
    app.wait_for("stop", 1);
    app.set_state(gst::State::Null);
    // Repeated each second, since a network may have lost it.
    let asked = asked.lock().unwrap().clone();
    assert!((3..6).contains(&asked.len()), "{asked:?}");
    let warnings = app.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("keyframe"), "{warnings:?}");
    let kept = app.kept();
    let (from, _) = kept.intervals[0];
    assert!(from > called + 2 * SECOND, "{kept:?}");
    let shown = sync::frame_times(&decode::video(&path, 0).unwrap()).unwrap();
    let first = shown.first().unwrap();
    assert!(
        first.0.abs() < 1.1e6 && (first.1 - from as f64).abs() < 1.1e6,
        "{first:?}"
    );
    let audio = decode::audio(&path, 0, Some(48_000)).unwrap();
    let places = position::find(&audio, 10e9).unwrap();
    position::check(&places, &kept, 2.5e6).unwrap();
}

#[test]
fn request_data_contains_all_media_that_has_arrived() {
    let (_directory, path) = temp_location("asked.webm");
    let app = App::new("", &path);
    let microphone = microphone(&app, "microphone", "opusenc frame-size=10");
    let taken = taken(&microphone);
    app.set_state(gst::State::Playing);
    app.act("start");
    app.wait_for("start", 1);
    for round in 0..24 {
        app.wait_running_time(app.running_time() + 90 * MILLI + round * 17 % 100 * MILLI);
        // Occasionally right after another action, while the recording's thread is busy with that.
        let paused = (round % 4 > 0).then(|| app.act("pause").0);
        let expected = taken.load(Ordering::SeqCst).min(paused.unwrap_or(u64::MAX));
        app.act("request-data");
        app.wait_for("data-available", round as usize + 1);
        let blobs = reached(&app);
        let last = *blobs.last().unwrap();
        assert!(
            last + 20 * MILLI >= expected,
            "round {round}: {last}, expected {expected}"
        );
        if paused.is_some() {
            app.act("resume");
        }
    }
    app.act("stop");
    app.wait_for("stop", 1);
    app.set_state(gst::State::Null);
    file::decodes_without_errors(&path).unwrap();
}

#[test]
fn request_data_is_complete_even_as_a_timeslice_ends() {
    const SLICE: u64 = 2 * SECOND;
    let (_directory, path) = temp_location("sliced.webm");
    let app = App::new("", &path);
    app.recorder.set_property("timeslice", 2_000u32);
    let microphone = microphone(&app, "microphone", "opusenc frame-size=10");
    let taken = taken(&microphone);
    app.set_state(gst::State::Playing);
    app.act("start");
    app.wait_for("start", 1);
    let started = app.events()[0].running_time;
    let mut dues = Vec::new();
    for slice in 1..4 {
        let asked = started + slice * SLICE + 40 * MILLI;
        assert!(holds_within(DEADLINE, || taken.load(Ordering::SeqCst) > asked));
        dues.push(taken.load(Ordering::SeqCst));
        app.act("request-data");
    }
    app.wait_running_time(app.running_time() + SECOND);
    app.act("stop");
    app.wait_for("stop", 1);
    app.set_state(gst::State::Null);
    // The next timeslice would contain it too, but not immediately.
    let blobs = reached(&app);
    for expected in dues {
        let reached = blobs.iter().find(|end| **end + 20 * MILLI >= expected);
        let late = reached.map(|end| end.saturating_sub(expected));
        assert!(
            late.is_some_and(|late| late < SECOND),
            "{late:?}: {blobs:?}, expected {expected}"
        );
    }
    file::decodes_without_errors(&path).unwrap();
}

#[test]
fn a_camera_that_stops_in_a_pause_does_not_stop_the_microphone() {
    let (_directory, path) = temp_location("silent.mkv");
    let app = App::new("", &path);
    app.recorder.set_property("max-queue-time", SECOND);
    let camera = camera(
        &app,
        "camera",
        "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=30",
    );
    microphone(&app, "microphone", "identity");
    app.set_state(gst::State::Playing);
    app.act("start");
    app.wait_for("start", 1);
    app.wait_running_time(app.running_time() + SECOND);
    app.act("pause");
    let source = camera.peer().unwrap();
    source.add_probe(gst::PadProbeType::BUFFER, |_, _| gst::PadProbeReturn::Drop);
    app.wait_running_time(app.running_time() + SECOND / 2);
    let (resumed, _) = app.act("resume");
    app.wait_for("resume", 1);
    app.wait_running_time(app.running_time() + 2 * SECOND);
    let (stopped, _) = app.act("stop");
    app.wait_for("stop", 1);
    app.set_state(gst::State::Null);
    assert_eq!(app.warnings(), Vec::<String>::new());
    let kept = app.kept();
    let (from, to) = kept.intervals[1];
    // Until it is certain that no keyframe follows.
    assert!(
        from >= resumed && from < resumed + 2 * SECOND,
        "{kept:?}, {resumed}"
    );
    assert!(to >= stopped && to - from > SECOND, "{kept:?}, {stopped}");
    let audio = decode::audio(&path, 0, Some(48_000)).unwrap();
    let places = position::find(&audio, 10e9).unwrap();
    position::check(&places, &kept, 2.5e6).unwrap();
}

/// The running time of the last buffer at `pad`, in upstream's timestamps.
fn newest(pad: &gst::Pad) -> Arc<AtomicU64> {
    let newest = Arc::<AtomicU64>::default();
    let reported = newest.clone();
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let segment = pad
            .sticky_event::<gst::event::Segment>(0)
            .expect("a segment");
        let segment = segment
            .segment()
            .downcast_ref::<gst::ClockTime>()
            .unwrap()
            .clone();
        let pts = info.buffer().and_then(|buffer| buffer.pts());
        let running = segment.to_running_time(pts).map_or(0, |at| at.nseconds());
        reported.store(running, Ordering::SeqCst);
        gst::PadProbeReturn::Ok
    });
    newest
}

/// Records, with a pause, and compares the request with upstream's timestamps at that time. `disturb` is called
/// while recording.
fn asks_in_upstreams_time(app: &App, camera: &gst::Pad, disturb: impl FnOnce(&AtomicU64)) {
    let (asked, newest) = (requests(camera, true), newest(camera));
    app.set_state(gst::State::Playing);
    let at = || newest.load(Ordering::SeqCst);
    assert!(holds_within(DEADLINE, || at() > 500 * MILLI));
    app.act("start");
    app.wait_for("start", 1);
    disturb(&newest);
    let started = at();
    assert!(holds_within(DEADLINE, || at() > started + 500 * MILLI));
    app.act("pause");
    let paused = at();
    assert!(holds_within(DEADLINE, || at() > paused + 300 * MILLI));
    asked.lock().unwrap().clear();
    let before = at();
    app.act("resume");
    assert!(holds_within(DEADLINE, || !asked.lock().unwrap().is_empty()));
    let (running, _) = asked.lock().unwrap()[0];
    let after = at();
    app.wait_for("resume", 1);
    app.act("stop");
    app.wait_for("stop", 1);
    app.set_state(gst::State::Null);
    // How far the clock is ahead of the newest frame.
    let ahead = 300 * MILLI;
    assert!(
        running + ahead > before && running < after + ahead,
        "requested {running}, from {before} to {after}"
    );
}

const CAMERA: &str = "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=3000";

/// A live source that counts from 0 although it starts later: the recorder shifts its timestamps.
#[test]
fn keyframe_requests_use_the_time_of_a_source_that_counts_from_zero() {
    const LATE: gst::ClockTime = gst::ClockTime::from_mseconds(2_500);
    let (_directory, path) = temp_location("late.webm");
    let app = App::new("", &path);
    let camera = camera(&app, "camera", CAMERA);
    let raw = app.pipeline.by_name("camera").unwrap();
    let pad = raw.static_pad("src").unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, |_, info| {
        let buffer = info.buffer_mut().expect("a buffer");
        let Some(pts) = buffer.pts().and_then(|pts| pts.checked_sub(LATE)) else {
            return gst::PadProbeReturn::Drop;
        };
        buffer.make_mut().set_pts(pts);
        gst::PadProbeReturn::Ok
    });
    asks_in_upstreams_time(&app, &camera, |_| ());
}

/// A flush resets running time upstream, but not in the recorder.
#[test]
fn keyframe_requests_use_upstreams_time_after_a_flush() {
    let (_directory, path) = temp_location("flushed.webm");
    let app = App::new("", &path);
    let source = app.source(&format!("videotestsrc ! {SMALL} ! {CAMERA}"));
    let pad = app.pad("video_%u");
    source.link(&pad).unwrap();
    asks_in_upstreams_time(&app, &pad, |newest| {
        let at = || newest.load(Ordering::SeqCst);
        assert!(holds_within(DEADLINE, || at() > 2500 * MILLI));
        let flushed = at();
        // Not sent to the pipeline, which would also reset its running time.
        assert!(source.send_event(gst::event::Seek::new(
            1.0,
            gst::SeekFlags::FLUSH,
            gst::SeekType::Set,
            gst::ClockTime::ZERO,
            gst::SeekType::None,
            gst::ClockTime::NONE,
        )));
        assert!(holds_within(DEADLINE, || at() < flushed));
    });
}
