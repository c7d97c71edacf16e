//! How and why recordings end, and their last messages.

mod common;

use common::app::{App, BusEvent, DEADLINE, SMALL, STEREO, holds_within, temp_location};
use common::judge::kept::Kept;
use common::judge::{decode, whole};
use common::signal::{AudioSignal, tag};
use gst::prelude::*;

const SECOND: u64 = 1_000_000_000;
const MILLI: u64 = 1_000_000;

/// The only message with this name.
#[track_caller]
fn the(app: &App, name: &str) -> BusEvent {
    let mut all = app.events();
    all.retain(|heard| heard.name == name);
    assert_eq!(all.len(), 1, "{name}: {all:?}");
    all.remove(0)
}

#[track_caller]
fn field<T: for<'a> glib::value::FromValue<'a> + 'static>(heard: &BusEvent, name: &str) -> T {
    let value = heard.fields.value(name);
    let value = value.unwrap_or_else(|_| panic!("{} has no {name}", heard.fields));
    value
        .get()
        .unwrap_or_else(|err| panic!("{name} of {}: {err}", heard.fields))
}

/// Plays live audio with numbered samples into the recorder.
fn play_counted(app: &App) -> tag::SampleClock {
    let source = app.source(&format!(
        "audiotestsrc is-live=true samplesperbuffer=480 ! {STEREO}"
    ));
    let clock = tag::audio(&source, AudioSignal::Counted, 48000);
    source.link(&app.pad("audio_%u")).unwrap();
    app.set_state(gst::State::Playing);
    assert!(holds_within(DEADLINE, || clock.has_started()));
    clock
}

#[track_caller]
fn assert_reason(app: &App, reason: &str) {
    assert_eq!(field::<String>(&the(app, "stop"), "reason"), reason);
}

/// Running time at which this much has been recorded.
fn running_at(intervals: &[(u64, u64)], recorded: u64) -> u64 {
    let mut left = recorded;
    for (start, end) in intervals {
        if left <= end - start {
            return start + left;
        }
        left -= end - start;
    }
    panic!("{recorded} ns are not in {intervals:?}");
}

#[test]
fn live_audio_with_a_pause_ends_at_the_maximum_duration() {
    let (_directory, path) = temp_location("live.wav");
    let app = App::new("audio/wav", &path);
    let most = 700 * MILLI;
    app.recorder.set_property("max-duration", most);
    let clock = play_counted(&app);
    app.act("start");
    app.wait_running_time(app.running_time() + 200 * MILLI);
    app.act("pause");
    app.wait_running_time(app.running_time() + 150 * MILLI);
    app.act("resume");
    app.wait_for("stop", 1);
    let kept = app.kept();
    assert_eq!(kept.total(), most);
    assert_reason(&app, "max-duration");
    assert_eq!(field::<u64>(&the(&app, "stop"), "duration"), most);
    let refused = app
        .recorder
        .emit_by_name::<Option<glib::Error>>("stop", &[]);
    assert!(refused.is_some(), "recording has ended");
    app.set_state(gst::State::Null);
    let exactness = whole::wav(&path, &kept, &clock).unwrap();
    println!("{exactness:?}");
}

#[test]
fn audio_from_a_file_ends_at_the_maximum_duration_and_upstream_continues() {
    let (_directory, path) = temp_location("fast.wav");
    let app = App::new("audio/wav", &path);
    // Neither on a buffer boundary nor on a sample.
    let most = SECOND + 12_345_678;
    app.recorder.set_property("max-duration", most);
    app.recorder.set_property("autostart", true);
    let source = app.source(&format!(
        "audiotestsrc num-buffers=500 samplesperbuffer=480 ! {STEREO}"
    ));
    let clock = tag::audio(&source, AudioSignal::Counted, 48000);
    source.link(&app.pad("audio_%u")).unwrap();
    app.set_state(gst::State::Playing);
    app.wait_for("stop", 1);
    app.wait_eos();
    assert_eq!(clock.contiguous(), 500 * 480, "everything was taken");
    let kept = app.kept();
    assert_eq!(kept.total(), most);
    assert_reason(&app, "max-duration");
    app.set_state(gst::State::Null);
    whole::wav(&path, &kept, &clock).unwrap();
}

#[test]
fn audio_and_video_end_together_at_the_maximum_duration() {
    let (_directory, path) = temp_location("live.webm");
    let app = App::new("video/webm;codecs=\"vp8,opus\"", &path);
    let most = 1_250 * MILLI;
    app.recorder.set_property("max-duration", most);
    let (_clock, log) = app.live();
    app.act("start");
    app.wait_for("stop", 1);
    let kept = app.kept();
    assert_eq!(kept.total(), most);
    app.set_state(gst::State::Null);
    let log = log.lock().unwrap();
    whole::webm(&path, &kept, &log, log.len() / 10).unwrap();
}

#[test]
fn copied_video_ends_at_the_maximum_duration_to_the_packet() {
    let (_directory, path) = temp_location("copied.mkv");
    let app = App::new("video/x-matroska", &path);
    app.recorder.set_property("max-duration", SECOND);
    app.recorder.set_property("autostart", true);
    let source = app.source(&format!(
        "videotestsrc num-buffers=75 ! {SMALL} ! vp8enc deadline=1 keyframe-max-dist=10"
    ));
    source.link(&app.pad("video_%u")).unwrap();
    app.set_state(gst::State::Playing);
    app.wait_for("stop", 1);
    app.wait_eos();
    assert_reason(&app, "max-duration");
    app.set_state(gst::State::Null);
    let frames = decode::video(&path, 0).unwrap();
    assert_eq!(
        frames.frames.len(),
        30,
        "those that begin within the second"
    );
}

#[test]
fn each_kind_of_end_has_its_reason() {
    type End = fn(&App);
    let ends: [(&str, End); 4] = [
        ("stop", |app| {
            app.act("stop");
        }),
        ("end-of-stream", |app| {
            app.recorder.send_event(gst::event::Eos::new());
        }),
        ("state-change", |app| app.set_state(gst::State::Ready)),
        ("error", |app| drop(app.pad("audio_%u"))),
    ];
    for (reason, end) in ends {
        let (_directory, path) = temp_location("reason.wav");
        let app = App::new("audio/wav", &path);
        play_counted(&app);
        app.act("start");
        app.wait_for("start", 1);
        end(&app);
        app.wait_for("stop", 1);
        assert_reason(&app, reason);
    }
}

#[test]
fn the_only_part_is_reported_between_last_blob_and_stop() {
    let (_directory, path) = temp_location("part.ogg");
    let app = App::new("audio/ogg", &path);
    app.recorder.set_property("timeslice", 300u32);
    let source = app.source(&format!(
        "audiotestsrc num-buffers=100 samplesperbuffer=480 ! {STEREO}"
    ));
    app.recorder.set_property("autostart", true);
    source.link(&app.pad("audio_%u")).unwrap();
    app.set_state(gst::State::Playing);
    app.wait_for("stop", 1);
    let heard = app.events();
    let names: Vec<_> = heard.iter().map(|heard| heard.name.as_str()).collect();
    assert_eq!(names[names.len() - 3..], ["data-available", "part", "stop"]);
    for blob in heard.iter().filter(|heard| heard.name == "data-available") {
        assert_eq!(field::<u32>(blob, "part"), 0);
    }
    let (part, stop, start) = (the(&app, "part"), the(&app, "stop"), the(&app, "start"));
    assert_eq!(field::<u32>(&part, "part"), 0);
    assert_eq!(field::<u64>(&part, "timecode"), 0);
    assert_eq!(part.running_time, start.running_time);
    assert_eq!(
        field::<String>(&part, "mime-type"),
        field::<String>(&start, "mime-type")
    );
    assert_eq!(field::<String>(&part, "location"), path.to_str().unwrap());
    assert!(field::<bool>(&part, "whole"));
    for name in ["duration", "size"] {
        assert_eq!(
            field::<u64>(&part, name),
            field::<u64>(&stop, name),
            "{name}"
        );
    }
    assert_eq!(
        field::<u64>(&part, "size"),
        std::fs::metadata(&path).unwrap().len()
    );
    let stats = app.recorder.property::<gst::Structure>("stats");
    assert_eq!(stats.get::<u32>("parts"), Ok(1));
}

/// One interval of a `stop` message.
struct Interval {
    running_time: u64,
    recorded_time: u64,
    duration: u64,
    utc: i64,
}

fn intervals(stop: &gst::Structure) -> Vec<Interval> {
    let array = stop.get::<gst::Array>("intervals").expect("intervals");
    let structures = array
        .iter()
        .map(|value| value.get::<gst::Structure>().unwrap());
    structures
        .map(|interval| Interval {
            running_time: interval.get("running-time").unwrap(),
            recorded_time: interval.get("recorded-time").unwrap(),
            duration: interval.get("duration").unwrap(),
            utc: interval.get("utc").unwrap(),
        })
        .collect()
}

/// Two recorders of one live source, with different pauses, are aligned by their stop messages alone: how far
/// apart a sample is in the two recordings, in nanoseconds of UTC.
fn disagreement(reference: Option<&str>) -> f64 {
    const OFFSET: u64 = 1_700_000_000 * SECOND + 123_456_789;
    let directory = tempfile::tempdir().unwrap();
    let paths = ["a.wav", "b.wav"].map(|name| directory.path().join(name));
    let app = App::new("audio/wav", &paths[0]);
    let second = gst::ElementFactory::make("mediarecorder")
        .property("mime-type", "audio/wav")
        .property("location", paths[1].to_str().unwrap())
        .build()
        .unwrap();
    app.pipeline.add(&second).unwrap();
    let source = app.source(&format!(
        "audiotestsrc is-live=true samplesperbuffer=480 ! {STEREO} ! identity name=stamped ! tee name=t t. ! queue"
    ));
    let clock = tag::audio(&source, AudioSignal::Counted, 48000);
    let other = app
        .pipeline
        .by_name("t")
        .unwrap()
        .request_pad_simple("src_%u")
        .unwrap();
    // The tee's second branch leaves its bin by a ghost pad, and is tagged separately.
    let bin = source
        .parent_element()
        .unwrap()
        .downcast::<gst::Bin>()
        .unwrap();
    let ghost = gst::GhostPad::with_target(&other).unwrap();
    ghost.set_active(true).unwrap();
    bin.add_pad(&ghost).unwrap();
    let beside = tag::audio(ghost.upcast_ref(), AudioSignal::Counted, 48000);
    if let Some(kind) = reference {
        let caps = gst::Caps::new_empty_simple(kind);
        let epoch = match kind {
            "timestamp/x-ntp" => 2_208_988_800 * SECOND,
            _ => 0,
        };
        let stamped = bin.by_name("stamped").unwrap().static_pad("src").unwrap();
        stamped.add_probe(gst::PadProbeType::BUFFER, move |_, probe| {
            let buffer = probe.buffer_mut().unwrap().make_mut();
            let time = buffer.pts().unwrap() + gst::ClockTime::from_nseconds(OFFSET + epoch);
            gst::ReferenceTimestampMeta::add(buffer, &caps, time, gst::ClockTime::NONE);
            gst::PadProbeReturn::Ok
        });
    }
    source.link(&app.pad("audio_%u")).unwrap();
    ghost
        .link(&second.request_pad_simple("audio_%u").unwrap())
        .unwrap();
    app.set_state(gst::State::Playing);
    assert!(holds_within(DEADLINE, || clock.has_started() && beside.has_started()));

    let (sender, ended) = std::sync::mpsc::channel();
    let bus = app.pipeline.bus().unwrap();
    let recorders = [app.recorder.clone(), second.clone()];
    bus.set_sync_handler(move |_, message| {
        let at = recorders
            .iter()
            .position(|r| message.src() == Some(r.upcast_ref()));
        if let (Some(at), Some(fields)) = (at, message.structure())
            && fields.name() == "mediarecorder-stop"
        {
            sender.send((at, fields.to_owned())).unwrap();
        }
        gst::BusSyncReply::Pass
    });
    let wait = |time: u64| app.wait_running_time(app.running_time() + time * MILLI);
    let other = |action: &str| common::app::act(&second, action);
    app.act("start");
    wait(70);
    other("start");
    wait(130);
    app.act("pause");
    wait(60);
    other("pause");
    app.act("resume");
    wait(90);
    other("resume");
    wait(200);
    app.act("stop");
    other("stop");
    let mut stops = [None, None];
    for _ in 0..2 {
        let (at, fields) = ended.recv_timeout(DEADLINE).expect("both end");
        stops[at] = Some(fields);
    }
    app.set_state(gst::State::Null);

    // UTC of the source's sample 0, according to each interval of each file.
    let mut origins = Vec::new();
    for (path, stop) in paths.iter().zip(stops) {
        let intervals = intervals(&stop.unwrap());
        assert_eq!(intervals.len(), 2);
        let audio = decode::audio(path, 0, None).unwrap();
        for interval in &intervals {
            // A sample from the middle: other tests verify the cuts.
            let recorded = interval.recorded_time + interval.duration / 2;
            let frame = (recorded as f64 * 48e-6).round() as usize;
            let at = &audio.samples[frame * audio.channels..][..audio.channels];
            let common::signal::counted::Reading::Index(index) = common::signal::counted::read(at)
            else {
                panic!("no sample of the scene at {recorded} of {}", path.display());
            };
            let since = (frame as f64 / 48e-6) - interval.recorded_time as f64;
            let utc = interval.utc as f64 - OFFSET as f64 + since;
            let captured = interval.running_time as f64 + since;
            assert!(
                (captured - clock.time_of(index)).abs() < 25_000.0,
                "running time is right"
            );
            origins.push(match reference {
                // The difference is small enough for doubles.
                Some(_) => utc - clock.time_of(index),
                None => (interval.utc - i64::try_from(interval.running_time).unwrap()) as f64,
            });
        }
    }
    if reference.is_some() {
        assert!(
            origins.iter().all(|origin| origin.abs() < 25_000.0),
            "{origins:?}"
        );
    }
    let most = origins.iter().copied().fold(f64::MIN, f64::max);
    most - origins.iter().copied().fold(f64::MAX, f64::min)
}

#[test]
fn recordings_of_one_scene_are_aligned_by_reference_timestamps() {
    for kind in ["timestamp/x-unix", "timestamp/x-ntp"] {
        let apart = disagreement(Some(kind));
        println!("{kind}: {apart} ns");
        assert!(
            apart < 2.0 * 20_834.0,
            "half a sample to either side, twice: {apart}"
        );
    }
}

#[test]
fn recordings_of_one_scene_are_aligned_by_the_system_clock() {
    let apart = disagreement(None);
    println!("the system's clock: {apart} ns");
    // Both clocks are read within 10 µs of each other if the machine permits, and drift apart by as much.
    assert!(apart < MILLI as f64, "{apart}");
}

#[test]
fn intervals_are_those_between_the_pauses() {
    let (_directory, path) = temp_location("pauses.wav");
    let app = App::new("audio/wav", &path);
    play_counted(&app);
    app.act("start");
    for action in ["pause", "resume", "pause", "resume", "stop"] {
        app.wait_running_time(app.running_time() + 60 * MILLI);
        app.act(action);
    }
    app.wait_for("stop", 1);
    let kept: Kept = app.kept();
    let reported = intervals(&the(&app, "stop").fields);
    let places: Vec<_> = reported
        .iter()
        .map(|i| (i.running_time, i.running_time + i.duration))
        .collect();
    assert_eq!(places, kept.intervals);
    for interval in &reported {
        assert_eq!(
            running_at(&kept.intervals, interval.recorded_time + 1),
            interval.running_time + 1
        );
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let age = now.as_nanos() as i64 - interval.utc;
        assert!(
            (0..DEADLINE.as_nanos() as i64).contains(&age),
            "{age} ns old"
        );
    }
    let stats = app.recorder.property::<gst::Structure>("stats");
    assert_eq!(
        intervals(&stats).len(),
        reported.len(),
        "also of the latest recording"
    );
}

/// The next part is prepared before the current one ends.
#[test]
fn a_recording_that_ends_before_its_next_part_begins_ends_once() {
    let (_directory, path) = temp_location("part-%d.mkv");
    for length in [300, 600] {
        let app = App::new("video/x-matroska;codecs=pcm", &path);
        app.recorder.set_property("max-size-time", 700 * MILLI);
        let _clock = play_counted(&app);
        app.act("start");
        app.wait_running_time(app.running_time() + length * MILLI);
        app.act("stop");
        app.wait_for("stop", 1);
        // NULL would discard messages.
        app.set_state(gst::State::Ready);
        assert_reason(&app, "stop");
        assert_eq!(field::<u32>(&the(&app, "part"), "part"), 0);
    }
}
