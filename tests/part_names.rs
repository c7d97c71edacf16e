//! `format-location`: the application names the file of each part.

mod common;

use common::app::{App, DEADLINE, holds_within, temp_location};
use common::judge::{parts, samples};
use gst::prelude::*;
use gstmediarecorder::MediaRecorder;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

const MILLI: u64 = 1_000_000;

/// Records numbered samples in this many parts.
fn record_in_parts(app: &App, parts: usize) -> Vec<parts::Part> {
    let (_source, clock) = app.counted(true, None);
    app.set_state(gst::State::Playing);
    assert!(holds_within(DEADLINE, || clock.has_started()));
    app.act("start");
    for _ in 1..parts {
        app.wait_running_time(app.running_time() + 60 * MILLI);
        app.act("split-now");
    }
    app.wait_running_time(app.running_time() + 60 * MILLI);
    app.act("stop");
    app.wait_for("stop", 1);
    let kept = app.kept();
    let reported = parts::from_messages(app);
    assert_eq!(reported.len(), parts, "{reported:?}");
    parts::check_contiguous(&reported, kept.total(), 100_000.0).unwrap();
    let audio = parts::audio(&reported, None).unwrap();
    samples::check_continuous(&audio, &kept, &clock).unwrap();
    reported
}

/// Returns the result of `name` from the signal; records the requested parts and their threads.
fn answer(
    app: &App,
    name: impl Fn(u32) -> Option<PathBuf> + Send + Sync + 'static,
) -> Arc<Mutex<Vec<(u32, ThreadId)>>> {
    let asked = Arc::<Mutex<Vec<_>>>::default();
    let result = asked.clone();
    app.recorder
        .connect("format-location", false, move |values| {
            let recorder = values[0].get::<gst::Element>().unwrap();
            let part = values[1].get::<u32>().unwrap();
            // With no lock held.
            recorder.property::<gst::Structure>("stats");
            asked.lock().unwrap().push((part, thread::current().id()));
            Some(name(part).to_value())
        });
    result
}

fn names(parts: &[parts::Part]) -> Vec<String> {
    let names = parts.iter().map(|part| part.path.file_name().unwrap());
    names
        .map(|name| name.to_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_handler_names_each_part_so_location_needs_no_number() {
    let (directory, path) = temp_location("location.wav");
    let folder = directory.path().to_owned();
    let app = App::new("", &path);
    let asked = answer(&app, move |part| {
        let name = ["one.wav", "two 100%.wav", "drei ä.wav"].get(part as usize)?;
        Some(folder.join(name))
    });
    let parts = record_in_parts(&app, 3);
    assert_eq!(names(&parts), ["one.wav", "two 100%.wav", "drei ä.wav"]);
    let asked = asked.lock().unwrap().clone();
    assert_eq!(
        asked.iter().map(|(part, _)| *part).collect::<Vec<_>>(),
        [0, 1, 2]
    );
    assert!(
        asked
            .iter()
            .all(|(_, thread)| *thread != thread::current().id())
    );
    assert!(!path.exists());
    assert_eq!(app.warnings(), Vec::<String>::new());
}

#[test]
fn without_a_location_a_handler_names_all_files() {
    let (directory, path) = temp_location("");
    let folder = directory.path().to_owned();
    let app = App::new("audio/wav", &path);
    app.recorder.set_property("location", None::<&str>);
    let _asked = answer(&app, move |part| Some(folder.join(format!("{part}.wav"))));
    assert_eq!(names(&record_in_parts(&app, 2)), ["0.wav", "1.wav"]);
}

#[test]
fn null_selects_the_name_of_location_which_continues_counting() {
    let (directory, path) = temp_location("by-location-%d.wav");
    let folder = directory.path().to_owned();
    let app = App::new("", &path);
    let _asked = answer(&app, move |part| {
        (part == 1).then(|| folder.join("named.wav"))
    });
    let parts = record_in_parts(&app, 3);
    let expected = ["by-location-0.wav", "named.wav", "by-location-2.wav"];
    assert_eq!(names(&parts), expected);
}

#[test]
fn unusable_names_are_replaced_by_those_of_location() {
    use std::os::unix::ffi::OsStringExt;
    let (directory, path) = temp_location("%d.wav");
    let folder = directory.path().to_owned();
    let app = App::new("", &path);
    let _asked = answer(&app, move |part| match part {
        0 => None,
        1 => Some(PathBuf::new()),
        2 => Some(folder.join("taken.wav")),
        // That of the part that has just ended.
        3 => Some(folder.join("taken.wav")),
        _ => Some(std::ffi::OsString::from_vec(vec![b'/', 0xff]).into()),
    });
    let parts = record_in_parts(&app, 5);
    let expected = ["0.wav", "1.wav", "taken.wav", "3.wav", "4.wav"];
    assert_eq!(names(&parts), expected);
    let warnings = app.warnings();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(warnings.iter().all(|text| text.contains("format-location")));
}

#[test]
fn without_a_usable_name_the_recording_ends_and_its_blob_has_the_rest() {
    let (directory, path) = temp_location("one.wav");
    let first = directory.path().join("first.wav");
    let app = App::new("audio/wav", &path);
    app.recorder.set_property("blob-messages", true);
    let name = first.clone();
    let _asked = answer(&app, move |part| (part == 0).then(|| name.clone()));
    let (_source, clock) = app.counted(true, None);
    app.set_state(gst::State::Playing);
    assert!(holds_within(DEADLINE, || clock.has_started()));
    app.act("start");
    app.wait_running_time(app.running_time() + 60 * MILLI);
    app.act("split-now");
    app.wait_for("stop", 1);
    let heard = app.events();
    let error = heard.iter().find(|heard| heard.name == "error").unwrap();
    let error = error.fields.get::<glib::Error>("error").unwrap();
    assert!(error.message().contains("format-location"), "{error}");
    let parts = parts::from_messages(&app);
    assert_eq!(
        (parts.len(), parts[0].whole, parts[1].whole),
        (2, true, false)
    );
    let last = heard.iter().rfind(|heard| heard.name == "data-available");
    let sample = last.unwrap().fields.get::<gst::Sample>("sample").unwrap();
    assert_eq!(sample.buffer().unwrap().size() as u64, parts[1].size);
    // The samples that arrived until then.
    assert!(parts[1].size > 44, "{parts:?}");
}

#[test]
fn an_unusable_first_name_is_refused() {
    let (_directory, path) = temp_location("a-%d.wav");
    let app = App::new("", &path);
    let _asked = answer(&app, |_| Some(PathBuf::new()));
    let (_source, clock) = app.counted(true, None);
    app.set_state(gst::State::Playing);
    assert!(holds_within(DEADLINE, || clock.has_started()));
    let error = app
        .recorder
        .emit_by_name::<Option<glib::Error>>("start", &[]);
    let error = error.expect("an error");
    assert!(
        error.matches(gstmediarecorder::ErrorCode::NotSupported),
        "{error}"
    );
    assert!(error.message().contains("format-location"), "{error}");
    let state = app.recorder.property_value("state");
    assert_eq!(
        glib::EnumValue::from_value(&state).unwrap().1.nick(),
        "inactive"
    );
}

#[test]
fn a_panic_in_a_typed_handler_is_handled_like_an_unusable_name() {
    let (_directory, path) = temp_location("%d.wav");
    let app = App::new("", &path);
    let recorder = app.recorder.clone().downcast::<MediaRecorder>().unwrap();
    recorder.connect_format_location(|_, part| match part {
        0 => None,
        _ => panic!("as an application may"),
    });
    assert_eq!(names(&record_in_parts(&app, 2)), ["0.wav", "1.wav"]);
    assert_eq!(app.warnings().len(), 1, "{:?}", app.warnings());
}

/// The next recording begins while the last part of the previous one, whose encoder is slow to start, has no file yet.
#[test]
fn two_recordings_never_share_a_file_number() {
    common::app::init();
    let test = thread::current().id();
    let is_slow = Arc::new(AtomicBool::new(false));
    let armed = is_slow.clone();
    // There is no other way to stop in the middle of `start`.
    gst::log::remove_default_log_function();
    gst::log::set_threshold_for_name("mediarecorder", gst::DebugLevel::Info);
    let log = gst::log::add_log_function(move |_, _, _, _, _, _, message| {
        let is_start = message
            .get()
            .is_some_and(|message| message.contains("Begins at running time"));
        if is_start && thread::current().id() == test && armed.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_secs(1));
        }
    });
    let (_directory, path) = temp_location("recording-%d.webm");
    let app = App::new("audio/webm", &path);
    let encoders = AtomicUsize::new(0);
    app.recorder.connect("encoder-setup", false, move |_| {
        if encoders.fetch_add(1, Ordering::SeqCst) == 1 {
            thread::sleep(Duration::from_millis(300));
        }
        None
    });
    let (_source, clock) = app.counted(true, None);
    app.set_state(gst::State::Playing);
    assert!(holds_within(DEADLINE, || clock.has_started()));
    app.act("start");
    app.wait_running_time(app.running_time() + 200 * MILLI);
    app.act("split-now");
    app.act("stop");
    is_slow.store(true, Ordering::SeqCst);
    app.act("start");
    app.wait_running_time(app.running_time() + 200 * MILLI);
    app.act("stop");
    app.wait_for("stop", 2);
    app.set_state(gst::State::Null);
    gst::log::remove_log_function(log);
    let parts = parts::from_messages(&app);
    let mut files: Vec<_> = parts.iter().map(|part| &part.path).collect();
    files.sort();
    files.dedup();
    assert_eq!(files.len(), 3, "{parts:?}");
    for part in &parts {
        assert_eq!(
            std::fs::metadata(&part.path).unwrap().len(),
            part.size,
            "{part:?}"
        );
    }
}
