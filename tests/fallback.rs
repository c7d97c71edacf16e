//! `fallback-location`: a disk that fails ends a part, and not the recording.

mod common;

use common::disk::Small;
use common::judge::{parts, samples};
use common::outer::{DEADLINE, Outer, place_for, until};
use gst::prelude::*;
use gstmediarecorder::ErrorCode;

const MILLI: u64 = 1_000_000;

/// Live counted samples; the recorder is ready to start.
fn rig(
    location: &std::path::Path,
    fallback: &std::path::Path,
) -> (Outer, gst::Pad, common::signal::tag::SampleClock) {
    let outer = Outer::new("audio/wav", location);
    outer
        .recorder
        .set_property("fallback-location", fallback.to_str().unwrap());
    outer.recorder.set_property("blob-messages", true);
    let (source, clock) = outer.counted(true, None);
    outer.set_state(gst::State::Playing);
    assert!(until(DEADLINE, || clock.runs()));
    (outer, source, clock)
}

#[test]
fn a_disk_that_fills_ends_a_part_and_what_it_did_not_take_is_in_its_blob() {
    let Some(disk) = Small::mount("size=300k") else {
        return;
    };
    let (folder, fallback) = place_for("fallback-%d.wav");
    let (outer, _source, clock) = rig(&disk.path().join("location-%d.wav"), &fallback);
    outer.act("start");
    outer.wait_for("part", 1);
    outer.wait_running(outer.running_time() + 200 * MILLI);
    // It goes on counting there.
    outer.act("split-now");
    outer.wait_running(outer.running_time() + 200 * MILLI);
    outer.act("stop");
    outer.wait_for("stop", 1);
    let heard = outer.heard();
    assert!(heard.iter().all(|heard| heard.name != "error"), "{heard:?}");
    let warnings = outer.warnings();
    assert!(
        warnings[0].contains("location-0.wav") && warnings[0].contains("fallback"),
        "{warnings:?}"
    );
    let told = parts::told(&outer);
    assert_eq!(
        told.iter().map(|part| part.whole).collect::<Vec<_>>(),
        [false, true, true]
    );
    let due = [
        disk.path().join("location-0.wav"),
        folder.path().join("fallback-1.wav"),
        folder.path().join("fallback-2.wav"),
    ];
    assert_eq!(
        told.iter()
            .map(|part| part.path.clone())
            .collect::<Vec<_>>(),
        due
    );
    // Its blob has it all.
    let blob = heard
        .iter()
        .find(|heard| heard.name == "data-available")
        .unwrap();
    let sample = blob.fields.get::<gst::Sample>("sample").unwrap();
    let bytes = sample.buffer().unwrap().map_readable().unwrap();
    assert_eq!(bytes.len() as u64, told[0].size);
    assert!(std::fs::metadata(&due[0]).unwrap().len() < told[0].size);
    let saved = folder.path().join("blob.wav");
    std::fs::write(&saved, &bytes).unwrap();
    let first = parts::Part {
        path: saved,
        whole: true,
        ..told[0].clone()
    };
    let all = [first, told[1].clone(), told[2].clone()];
    let kept = outer.kept();
    parts::follow_each_other(&all, kept.total(), 100_000.0).unwrap();
    let sound = parts::sound(&all, None).unwrap();
    samples::sound_is_continuous_but_for(&sound, &kept, &clock).unwrap();
}

#[test]
fn a_location_that_cannot_be_opened_is_replaced_at_the_start() {
    let (folder, fallback) = place_for("fallback.wav");
    let (outer, _source, clock) = rig(&folder.path().join("none/location.wav"), &fallback);
    outer.act("start");
    outer.wait_running(outer.running_time() + 200 * MILLI);
    outer.act("stop");
    outer.wait_for("stop", 1);
    let warnings = outer.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("none/location.wav"), "{warnings:?}");
    let told = parts::told(&outer);
    assert_eq!(
        (told.len(), &told[0].path, told[0].whole),
        (1, &fallback, true)
    );
    let kept = outer.kept();
    let sound = parts::sound(&told, None).unwrap();
    samples::sound_is_continuous_but_for(&sound, &kept, &clock).unwrap();
}

#[test]
fn parts_that_are_asked_for_need_a_number_in_it() {
    let (folder, fallback) = place_for("fallback.wav");
    let (outer, _source, _clock) = rig(&folder.path().join("location-%d.wav"), &fallback);
    outer
        .recorder
        .set_property("max-size-time", 1_000_000_000u64);
    let error = outer
        .recorder
        .emit_by_name::<Option<glib::Error>>("start", &[]);
    let error = error.expect("an error");
    assert!(error.matches(ErrorCode::NotSupported), "{error}");
    assert!(error.message().contains("fallback-location"), "{error}");
    assert!(!fallback.exists());
}
