//! Encoders that cannot be replaced in the same file: if another part may begin, the recording continues there.

mod common;

use common::app::{App, temp_location};
use common::failing_encoder::fail_at;
use common::judge::{file, parts};
use gst::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const MILLI: u64 = 1_000_000;

/// The video encoders of a recording fail at these of their buffers, one after the other; later ones work.
fn rig(name: &str, failures: &'static [u64]) -> (tempfile::TempDir, App, Arc<AtomicUsize>) {
    let (folder, path) = temp_location(name);
    let outer = App::new("video/x-matroska;codecs=\"vp8,pcm\"", &path);
    let count = Arc::<AtomicUsize>::default();
    let made = count.clone();
    outer
        .recorder
        .connect("encoder-setup", false, move |values| {
            let encoder = values[2].get::<gst::Element>().unwrap();
            if encoder.factory().unwrap().name() == "vp8enc"
                && let Some(buffer) = failures.get(made.fetch_add(1, Ordering::SeqCst))
            {
                fail_at(&encoder, *buffer, || ());
            }
            None
        });
    (folder, outer, count)
}

#[test]
fn the_recording_continues_in_a_new_part() {
    let (_folder, outer, count) = rig("recording-%d.mkv", &[20, 20]);
    let (_clock, _log) = outer.live();
    outer.act("start");
    outer.wait_for("part", 1);
    outer.wait_running_time(outer.running_time() + 500 * MILLI);
    outer.act("stop");
    outer.wait_for("stop", 1);
    let heard = outer.events();
    assert!(heard.iter().all(|heard| heard.name != "error"), "{heard:?}");
    let warnings = outer.warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("a fresh vp8enc"), "{warnings:?}");
    assert!(warnings[1].contains("in a new part"), "{warnings:?}");
    assert_eq!(count.load(Ordering::SeqCst), 3);
    let reported = parts::from_messages(&outer);
    let whole: Vec<_> = reported.iter().map(|part| part.whole).collect();
    assert_eq!(whole, [false, true]);
    for part in &reported {
        file::decodes_without_errors(&part.path).unwrap();
    }
    // Audio is not affected.
    let kept = outer.kept();
    let sound = parts::audio(&reported, Some(48_000)).unwrap();
    let lasts = sound.len() as u64 * 1_000_000 / 48;
    let expected = kept.total();
    assert!(
        lasts.abs_diff(expected) < 2 * MILLI,
        "{lasts}, expected {expected}"
    );
    let pictures = parts::video(&reported[1..]).unwrap();
    let late = pictures.frames.first().unwrap().recorded - reported[1].timecode as f64;
    assert!(late < 40e6 && pictures.frames.len() > 10, "{late}");
}

#[test]
fn encoders_that_also_fail_in_the_new_part_end_the_recording() {
    let (_folder, outer, count) = rig("recording-%d.mkv", &[20, 20, 0, 0]);
    let (_clock, _log) = outer.live();
    outer.act("start");
    outer.wait_for("stop", 1);
    let heard = outer.events();
    let errors = heard.iter().filter(|heard| heard.name == "error");
    assert_eq!(errors.count(), 1, "{heard:?}");
    assert_eq!(count.load(Ordering::SeqCst), 4);
    let reported = parts::from_messages(&outer);
    assert_eq!(reported.len(), 2);
    file::decodes_without_errors(&reported[0].path).unwrap();
}

#[test]
fn a_recording_of_one_file_ends() {
    let (_folder, outer, _) = rig("recording.mkv", &[20, 20]);
    let (_clock, _log) = outer.live();
    outer.act("start");
    outer.wait_for("stop", 1);
    let heard = outer.events();
    let errors = heard.iter().filter(|heard| heard.name == "error");
    assert_eq!(errors.count(), 1, "{heard:?}");
    file::decodes_without_errors(&parts::from_messages(&outer)[0].path).unwrap();
}
