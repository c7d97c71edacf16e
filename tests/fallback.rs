//! `fallback-location`: a failing disk ends a part, but not the recording.

mod common;

use common::app::{App, DEADLINE, SMALL, STEREO, holds_within, temp_location};
use common::disk::{Scenario, SmallFilesystem, run_with_faults};
use common::harness::media;
use common::judge::{file, parts, samples, sync};
use common::signal::{AudioSignal, tag};
use gst::prelude::*;
use gstmediarecorder::ErrorCode;
use std::time::{Duration, Instant};

const MILLI: u64 = 1_000_000;

/// Live numbered samples; the recorder is ready to start.
fn rig(
    location: &std::path::Path,
    fallback: &std::path::Path,
) -> (App, gst::Pad, common::signal::tag::SampleClock) {
    let app = App::new("audio/wav", location);
    app.recorder
        .set_property("fallback-location", fallback.to_str().unwrap());
    app.recorder.set_property("blob-messages", true);
    let (source, clock) = app.counted(true, None);
    app.set_state(gst::State::Playing);
    assert!(holds_within(DEADLINE, || clock.has_started()));
    (app, source, clock)
}

#[test]
fn a_full_disk_ends_a_part_whose_blob_is_complete() {
    let Some(disk) = SmallFilesystem::mount("size=300k") else {
        return;
    };
    let (folder, fallback) = temp_location("fallback-%d.wav");
    let (app, _source, clock) = rig(&disk.path().join("location-%d.wav"), &fallback);
    app.act("start");
    app.wait_for("part", 1);
    app.wait_running_time(app.running_time() + 200 * MILLI);
    // Numbering continues there.
    app.act("split-now");
    app.wait_running_time(app.running_time() + 200 * MILLI);
    app.act("stop");
    app.wait_for("stop", 1);
    app.assert_no_error();
    let warnings = app.warnings();
    assert!(
        warnings[0].contains("location-0.wav") && warnings[0].contains("fallback"),
        "{warnings:?}"
    );
    let parts = parts::from_messages(&app);
    assert_eq!(
        parts.iter().map(|part| part.whole).collect::<Vec<_>>(),
        [false, true, true]
    );
    let expected = [
        disk.path().join("location-0.wav"),
        folder.path().join("fallback-1.wav"),
        folder.path().join("fallback-2.wav"),
    ];
    assert_eq!(
        parts
            .iter()
            .map(|part| part.path.clone())
            .collect::<Vec<_>>(),
        expected
    );
    assert!(std::fs::metadata(&expected[0]).unwrap().len() < parts[0].size);
    assert_nothing_is_missing(&app, &clock, folder.path());
}

/// Requests write all bytes but those of the header.
#[test]
fn a_disk_that_is_full_when_a_blob_is_requested() {
    let Some(disk) = SmallFilesystem::mount("size=100k") else {
        return;
    };
    let (_folder, fallback) = temp_location("fallback-%d.wav");
    let app = App::new("audio/wav", &disk.path().join("location-%d.wav"));
    app.recorder
        .set_property("fallback-location", fallback.to_str().unwrap());
    // The writer would write larger buffers at once.
    let source = app.source(&format!(
        "audiotestsrc is-live=true samplesperbuffer=480 ! {STEREO}"
    ));
    let clock = tag::audio(&source, AudioSignal::Counted, 48_000);
    source.link(&app.pad("audio_%u")).unwrap();
    app.set_state(gst::State::Playing);
    assert!(holds_within(DEADLINE, || clock.has_started()));
    app.act("start");
    let falls_back = || {
        app.act("request-data");
        app.events().iter().any(|event| event.name == "part")
    };
    assert!(holds_within(DEADLINE, falls_back));
    stop_after_half_a_second(&app);
    assert_continues(&app, false);
    let parts = parts::from_messages(&app);
    let audio = parts::audio(&parts[1..], None).unwrap();
    let spans = samples::spans(&audio);
    assert_eq!(spans.len(), 1, "{spans:?}");
}

/// The write that fails first is that of the previous timeslice.
#[test]
fn a_disk_that_is_full_at_the_end_of_a_timeslice() {
    let Some(disk) = SmallFilesystem::mount("size=300k") else {
        return;
    };
    let (folder, fallback) = temp_location("fallback-%d.wav");
    let (app, _source, clock) = rig(&disk.path().join("location-%d.wav"), &fallback);
    app.recorder.set_property("timeslice", 100u32);
    app.act("start");
    app.wait_for("part", 1);
    stop_after_half_a_second(&app);
    assert_continues(&app, false);
    assert_nothing_is_missing(&app, &clock, folder.path());
}

/// The file of the first later part has the given name. It has no number, so those after it get one.
#[test]
fn a_change_of_caps_after_the_fallback_ends_nothing() {
    for (name, names) in [
        (
            "fallback.mkv",
            ["fallback.mkv", "fallback-1.mkv", "fallback-2.mkv"],
        ),
        (
            "fallback-%d.mkv",
            ["fallback-0.mkv", "fallback-1.mkv", "fallback-2.mkv"],
        ),
    ] {
        let (folder, fallback) = temp_location(name);
        let app = App::new("video/x-matroska", &folder.path().join("none/a-%d.mkv"));
        app.recorder
            .set_property("fallback-location", fallback.to_str().unwrap());
        let pipeline = format!(
            "concat name=c videotestsrc num-buffers=30 ! {SMALL} ! vp8enc deadline=1 ! c. \
             videotestsrc num-buffers=30 ! {SMALL} ! x264enc speed-preset=ultrafast ! h264parse ! c. \
             videotestsrc num-buffers=30 ! {SMALL} ! vp8enc deadline=1 ! c. \
             c. ! queue"
        );
        app.source(&pipeline).link(&app.pad("video_%u")).unwrap();
        app.recorder.set_property("autostart", true);
        app.set_state(gst::State::Playing);
        app.wait_for("stop", 1);
        app.assert_no_error();
        let parts = parts::from_messages(&app);
        assert_eq!(parts.len(), 3, "{parts:?}");
        for (part, name) in parts.iter().zip(names) {
            assert!(part.path.ends_with(name) && part.whole, "{parts:?}");
            assert_eq!(media::frames(part.path.to_str().unwrap()), 30, "{name}");
        }
    }
}

/// Every sample is in one part, taking the first part's blobs, which have what the disk did not store.
fn assert_nothing_is_missing(
    app: &App,
    clock: &common::signal::tag::SampleClock,
    folder: &std::path::Path,
) {
    let (events, parts) = (app.events(), parts::from_messages(app));
    let blobs = events
        .iter()
        .take_while(|event| event.name != "part")
        .filter(|event| event.name == "data-available");
    let samples = blobs.map(|blob| blob.fields.get::<gst::Sample>("sample").unwrap());
    let bytes =
        samples.flat_map(|sample| sample.buffer().unwrap().map_readable().unwrap().to_vec());
    let mut bytes: Vec<u8> = bytes.collect();
    assert_eq!(bytes.len() as u64, parts[0].size);
    // With a header that does not know how long the samples are, the chunk after them would count as samples.
    if bytes.ends_with(b"LIST\x04\0\0\0INFO") {
        bytes.truncate(bytes.len() - 12);
    }
    let saved = folder.join("blob.wav");
    std::fs::write(&saved, &bytes).unwrap();
    // An incomplete part extends to its last sample.
    let until = parts[1].timecode;
    assert!(
        until.abs_diff(parts[0].duration) < 1_000_000_000 / 48_000,
        "{parts:?}"
    );
    let first = parts::Part {
        path: saved,
        whole: true,
        duration: until,
        size: bytes.len() as u64,
        ..parts[0].clone()
    };
    let all: Vec<_> = [first].into_iter().chain(parts[1..].to_vec()).collect();
    let kept = app.kept();
    parts::check_contiguous(&all, kept.total(), 100_000.0).unwrap();
    let audio = parts::audio(&all, None).unwrap();
    samples::check_continuous(&audio, &kept, clock).unwrap();
}

#[test]
fn a_location_that_cannot_be_opened_is_replaced_at_the_start() {
    let (folder, fallback) = temp_location("fallback.wav");
    let (app, _source, clock) = rig(&folder.path().join("none/location.wav"), &fallback);
    app.act("start");
    app.wait_running_time(app.running_time() + 200 * MILLI);
    app.act("stop");
    app.wait_for("stop", 1);
    let warnings = app.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("none/location.wav"), "{warnings:?}");
    let parts = parts::from_messages(&app);
    assert_eq!(
        (parts.len(), &parts[0].path, parts[0].whole),
        (1, &fallback, true)
    );
    let kept = app.kept();
    let audio = parts::audio(&parts, None).unwrap();
    samples::check_continuous(&audio, &kept, &clock).unwrap();
}

#[test]
fn parts_require_a_number_in_it() {
    let (folder, fallback) = temp_location("fallback.wav");
    let (app, _source, _clock) = rig(&folder.path().join("location-%d.wav"), &fallback);
    app.recorder.set_property("max-size-time", 1_000_000_000u64);
    let error = app
        .recorder
        .emit_by_name::<Option<glib::Error>>("start", &[]);
    let error = error.expect("an error");
    assert!(error.matches(ErrorCode::NotSupported), "{error}");
    assert!(error.message().contains("fallback-location"), "{error}");
    assert!(!fallback.exists());
}

/// Encoders and the muxer hold some media when the disk fails.
#[test]
fn all_video_and_audio_is_in_exactly_one_part() {
    for (name, mime_type) in [
        ("mkv", "video/x-matroska;codecs=\"vp8,pcm\""),
        ("mp4", "video/mp4;codecs=\"avc1,opus\""),
    ] {
        let Some(disk) = SmallFilesystem::mount("size=200k") else {
            return;
        };
        let (folder, fallback) = temp_location(&format!("fallback-%d.{name}"));
        let app = App::new(mime_type, &disk.path().join(format!("location.{name}")));
        let fallback = fallback.to_str().unwrap();
        app.recorder.set_property("fallback-location", fallback);
        app.recorder.set_property("blob-messages", true);
        // Otherwise it would be nearly empty.
        app.recorder
            .set_property("audio-bits-per-second", 256_000u32);
        let (_clock, log) = app.live();
        app.act("start");
        app.wait_for("part", 1);
        stop_after_half_a_second(&app);
        app.assert_no_error();
        let events = app.events();
        let parts = parts::from_messages(&app);
        assert_eq!(
            (parts.len(), parts[0].whole, parts[1].whole),
            (2, false, true)
        );
        let blob = events.iter().find(|event| event.name == "data-available");
        let sample = blob.unwrap().fields.get::<gst::Sample>("sample").unwrap();
        let saved = folder.path().join(format!("blob.{name}"));
        std::fs::write(&saved, sample.buffer().unwrap().map_readable().unwrap()).unwrap();
        let all = [
            parts::Part {
                path: saved,
                ..parts[0].clone()
            },
            parts[1].clone(),
        ];
        for part in &all {
            common::judge::file::decodes_without_errors(&part.path).unwrap();
        }
        let (start, end) = app.kept().intervals[0];
        app.set_state(gst::State::Null);
        let shown = sync::frame_times(&parts::video(&all).unwrap()).unwrap();
        let micro = |at: u64| (at + 500) / 1_000;
        let found: Vec<u64> = shown.iter().map(|(_, at)| micro(*at as u64)).collect();
        let log = log.lock().unwrap().clone();
        let expected = log
            .iter()
            .filter(|at| (start + 1..end).contains(*at))
            .count();
        assert!(
            found.iter().is_sorted_by(|one, next| one < next),
            "{name}: {found:?}"
        );
        // A busy machine may have dropped some.
        assert!(
            found.len() + expected / 10 >= expected,
            "{name}: {}, expected {expected}",
            found.len()
        );
        let lasts = parts::audio(&all, Some(48_000)).unwrap().len() as u64 * 1_000_000 / 48;
        assert!(
            lasts.abs_diff(end - start) < 60 * MILLI,
            "{name}: {lasts} of {}",
            end - start
        );
    }
}

const SCENARIOS: [Scenario; 7] = [
    ("fails", |folder| fails(folder, 0)),
    ("cannot be synchronised", |folder| {
        fails(folder, 200 * MILLI)
    }),
    // Like a network file system whose server is down for a while.
    ("hangs", |folder| {
        let (app, _source, clock) = rig_in(folder);
        app.act("start");
        // The previous part has not ended yet, so there is no event.
        let location = || {
            app.recorder
                .property::<gst::Structure>("stats")
                .get::<String>("location")
                .unwrap()
        };
        assert!(holds_within(DEADLINE, || location().contains("fallback-1")));
        stop_after_half_a_second(&app);
        assert_continues(&app, true);
        // The disk has recovered before the part was abandoned.
        assert_nothing_is_missing(&app, &clock, folder);
    }),
    // The thread that watches the disk must not be the one that the disk holds up.
    ("hangs while blobs are requested", |folder| {
        let (app, _source, clock) = rig_in(folder);
        app.act("start");
        let begun = Instant::now();
        let location = || {
            app.act("request-data");
            app.recorder
                .property::<gst::Structure>("stats")
                .get::<String>("location")
                .unwrap()
        };
        assert!(holds_within(DEADLINE, || location().contains("fallback-1")));
        assert!(begun.elapsed() < HANG, "it has waited for the disk");
        stop_after_half_a_second(&app);
        assert_continues(&app, true);
        // The disk has recovered before the part was abandoned.
        let (parts, kept) = (parts::from_messages(&app), app.kept());
        parts::check_contiguous(&parts, kept.total(), 100_000.0).unwrap();
        let audio = parts::audio(&parts, None).unwrap();
        samples::check_continuous(&audio, &kept, &clock).unwrap();
    }),
    // The part ends at the next keyframe; until then it is written to and synchronised.
    ("fails again before a keyframe", |folder| {
        let (location, fallback) = (
            folder.join("location-%d.mkv"),
            folder.join("fallback-%d.mkv"),
        );
        let app = App::new("video/x-matroska", &location);
        app.recorder
            .set_property("fallback-location", fallback.to_str().unwrap());
        app.recorder.set_property("sync-interval", 100 * MILLI);
        let source = app.source(
            "videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=30/1 \
             ! vp8enc deadline=1 keyframe-max-dist=45",
        );
        // It ignores requests for keyframes.
        source.add_probe(gst::PadProbeType::EVENT_UPSTREAM, |_, info| {
            let event = info.event();
            if !event.is_some_and(|event| gst_video::ForceKeyUnitEvent::is(event)) {
                return gst::PadProbeReturn::Ok;
            }
            info.data = None;
            gst::PadProbeReturn::Handled
        });
        source.link(&app.pad("video_%u")).unwrap();
        app.set_state(gst::State::Playing);
        app.act("start");
        app.wait_for("part", 1);
        stop_after_half_a_second(&app);
        assert_continues(&app, false);
        let parts = parts::from_messages(&app);
        assert_eq!(parts[0].duration, parts[1].timecode);
        assert_eq!(parts[1].timecode + parts[1].duration, app.kept().total());
        file::decodes_without_errors(&parts[1].path).unwrap();
    }),
    ("hangs with the oldest of a number of files", |folder| {
        hangs_with_the_oldest(folder, ("max-files", 1))
    }),
    ("hangs with the oldest of files up to a size", |folder| {
        hangs_with_the_oldest(folder, ("max-total-bytes", 300_000))
    }),
];

/// How long the device hangs.
const HANG: Duration = Duration::from_secs(5);

fn rig_in(folder: &std::path::Path) -> (App, gst::Pad, common::signal::tag::SampleClock) {
    rig(
        &folder.join("location-%d.wav"),
        &folder.join("fallback-%d.wav"),
    )
}

fn stop_after_half_a_second(app: &App) {
    app.wait_running_time(app.running_time() + 500 * MILLI);
    app.act("stop");
    app.wait_for("stop", 1);
}

/// One warning, no error, and the second of two parts is at the fallback location.
fn assert_continues(app: &App, first_is_whole: bool) {
    app.assert_no_error();
    let warnings = app.warnings();
    assert!(
        warnings
            .iter()
            .any(|w| w.contains("location-0.") && w.contains("fallback")),
        "{warnings:?}"
    );
    let parts = parts::from_messages(app);
    let whole: Vec<_> = parts.iter().map(|part| part.whole).collect();
    assert_eq!(whole, [first_is_whole, true], "{parts:?}");
    let name = parts[1].path.file_stem().unwrap();
    assert_eq!(name, "fallback-1", "{parts:?}");
}

fn fails(folder: &std::path::Path, sync_interval: u64) {
    let (app, _source, clock) = rig_in(folder);
    app.recorder.set_property("sync-interval", sync_interval);
    app.act("start");
    app.wait_for("part", 1);
    stop_after_half_a_second(&app);
    assert_continues(&app, false);
    assert_nothing_is_missing(&app, &clock, folder);
}

/// The next file to give way is on a disk that no longer responds; the fallback location is on another.
fn hangs_with_the_oldest(folder: &std::path::Path, (limit, value): (&str, u64)) {
    let disk = SmallFilesystem::mount("size=2m").unwrap();
    let (app, _source, _clock) = rig(
        &folder.join("location-%d.wav"),
        &disk.path().join("fallback-%d.wav"),
    );
    app.recorder
        .set_property_from_str(limit, &value.to_string());
    // The second part cannot be opened there.
    std::fs::create_dir(folder.join("location-1.wav")).unwrap();
    app.act("start");
    app.wait_running_time(app.running_time() + 500 * MILLI);
    app.act("split-now");
    let begun = Instant::now();
    app.wait_running_time(app.running_time() + 3_000 * MILLI);
    app.act("stop");
    app.wait_for("stop", 1);
    assert!(begun.elapsed() < OLDEST_HANGS, "it has waited for the disk");
    app.assert_no_error();
    let warnings = app.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("location-1.wav"), "{warnings:?}");
    // The first file is on a disk of its own, and the rest is a ring without it.
    let parts = parts::from_messages(&app);
    assert!(parts.iter().all(|part| part.whole), "{parts:?}");
    let (there, gone): (Vec<_>, _) = parts[1..].iter().partition(|part| part.path.exists());
    assert_eq!(gone.is_empty(), limit == "max-files", "{parts:?}");
    let total: u64 = there.iter().map(|part| part.size).sum();
    assert!(limit == "max-files" || total <= value, "{there:?}");
    let lasts: u64 = parts.iter().map(|part| part.duration).sum();
    assert_eq!(lasts, app.kept().total());
}

/// How long the disk with the oldest file hangs.
const OLDEST_HANGS: Duration = Duration::from_secs(20);

/// Runs in the child process.
#[test]
fn under_strace() {
    common::disk::run_scenario(&SCENARIOS);
}

#[test]
fn a_failing_device() {
    for injected in [
        "writev:error=EIO:when=1+",
        "writev:error=EIO:when=3+",
        "writev:error=ENOSPC:when=2+",
    ] {
        run_with_faults("fails", injected, Some("location-0.wav"));
    }
}

#[test]
fn a_device_that_cannot_be_synchronised() {
    let injected = "fdatasync:error=EIO:when=2+";
    run_with_faults("cannot be synchronised", injected, Some("location-0.wav"));
}

#[test]
fn a_device_that_fails_again_before_the_part_can_end() {
    let injected = "fdatasync:error=EIO:when=1+ writev:error=EIO:when=3+";
    run_with_faults(
        "fails again before a keyframe",
        injected,
        Some("location-0.mkv"),
    );
}

#[test]
fn a_device_that_hangs() {
    let injected = "writev:delay_enter=5000000:when=3";
    run_with_faults("hangs", injected, Some("location-0.wav"));
    let injected = "writev:delay_enter=5000000:when=6";
    run_with_faults(
        "hangs while blobs are requested",
        injected,
        Some("location-0.wav"),
    );
}

#[test]
fn a_device_that_hangs_with_the_oldest_file() {
    if SmallFilesystem::mount("size=1m").is_none() {
        return;
    }
    for scenario in [
        "hangs with the oldest of a number of files",
        "hangs with the oldest of files up to a size",
    ] {
        let injected = format!("openat:delay_enter={}s", OLDEST_HANGS.as_secs());
        run_with_faults(scenario, &injected, Some("location-0.wav"));
    }
}
