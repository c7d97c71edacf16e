//! Blobs of a timeslice: as long as asked for, and cut where players can go on from.

mod common;

use common::harness::Recorder;
use common::take::{FRAME, Recipe, Take, take};

const SECOND: u64 = 1_000_000_000;

fn recorded(mime_type: &str, audio: bool, video: bool, timeslice: u64) -> Option<Take> {
    if !common::harness::make_recorder().supports(mime_type) {
        println!("{mime_type}: not installed, not tested");
        return None;
    }
    let mut recipe = Recipe::new(mime_type, audio, video).with("timeslice", timeslice);
    recipe.until = recipe.from + 4 * SECOND;
    Some(take(&recipe))
}

/// Whether a player's buffer can go on with these bytes.
fn begins_unit(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x43, 0xb6, 0x75]) || bytes.get(4..8) == Some(b"moof")
}

/// Judges durations and joints, and says how far off the durations are.
fn judge(take: &Take, mime_type: &str, timeslice: u64, tolerance: u64) {
    let slice = timeslice * 1_000_000;
    let total = take.kept.total();
    assert_eq!(
        take.blobs.iter().map(|b| b.duration).sum::<u64>(),
        total,
        "{mime_type}"
    );
    let mut timecode = 0;
    for blob in &take.blobs {
        assert_eq!(blob.timecode, timecode, "{mime_type}");
        timecode += blob.duration;
    }
    let (last, whole) = take.blobs.split_last().unwrap();
    let furthest = (1..)
        .zip(whole)
        .map(|(n, b)| (b.timecode + b.duration).abs_diff(n * slice));
    let furthest = furthest.max().unwrap_or(0);
    println!(
        "{mime_type}, {timeslice} ms: {} blobs, edges off by {} us",
        take.blobs.len(),
        furthest / 1000
    );
    assert!(
        furthest <= tolerance,
        "{mime_type}, {timeslice} ms: an edge is off by {furthest} ns"
    );
    assert!(
        last.duration <= slice + tolerance,
        "{mime_type}: the last is {} ns",
        last.duration
    );
    for (number, blob) in whole.iter().enumerate().skip(1) {
        assert!(
            begins_unit(&blob.bytes),
            "{mime_type}, {timeslice} ms: blob {number} begins anywhere"
        );
    }
    let joined: Vec<u8> = take.blobs.iter().flat_map(|b| b.bytes.clone()).collect();
    let file = std::fs::read(&take.path).unwrap();
    assert_eq!(joined.len(), file.len(), "the blobs are not the recording");
}

#[test]
fn webm_blobs_are_as_long_as_asked_and_begin_a_cluster() {
    for timeslice in [100, 250, 1000] {
        for (mime_type, video) in [
            ("video/webm;codecs=vp8,opus", true),
            ("audio/webm;codecs=opus", false),
        ] {
            let Some(take) = recorded(mime_type, true, video, timeslice) else {
                continue;
            };
            judge(&take, mime_type, timeslice, FRAME);
        }
    }
}

#[test]
fn mp4_blobs_begin_a_fragment() {
    // Fragments are an eighth of a slice long, and a picture or packet: the last one takes a blob beyond.
    for timeslice in [250, 500, 1000] {
        for mime_type in [
            "video/mp4;codecs=avc1,mp4a.40.2",
            "video/mp4;codecs=vp9,opus",
        ] {
            let Some(take) = recorded(mime_type, true, true, timeslice) else {
                continue;
            };
            judge(
                &take,
                mime_type,
                timeslice,
                timeslice * 1_000_000 / 8 + 3 * FRAME / 2,
            );
        }
    }
}

#[test]
fn ten_milliseconds_give_what_there_is() {
    for mime_type in [
        "video/webm;codecs=vp8,opus",
        "video/mp4;codecs=avc1,mp4a.40.2",
    ] {
        let Some(take) = recorded(mime_type, true, true, 10) else {
            continue;
        };
        assert!(
            take.blobs.len() > 100,
            "{mime_type}: {} blobs",
            take.blobs.len()
        );
        let total: u64 = take.blobs.iter().map(|b| b.duration).sum();
        assert_eq!(total, take.kept.total());
        let most = take.blobs.iter().map(|b| b.duration).max().unwrap();
        assert!(most < 100_000_000, "{mime_type}: a blob of {most} ns");
        common::judge::file::decodes_quietly(&take.path).unwrap();
    }
}
