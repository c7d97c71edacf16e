//! Recordings for disks that fail.

use super::harness::{Kind, Rig, Track, code};
use gst::prelude::*;

/// Sound as it is: much of it, and any end of it can be played.
pub fn rig() -> (Rig, Vec<Track>) {
    let (rig, tracks) = Rig::live(1, 1);
    rig.recorder
        .set_property("mime-type", "video/x-matroska;codecs=vp8,pcm");
    (rig, tracks)
}

/// Waits for a recording that fails by itself, and gives error text and bytes.
pub fn failed(rig: &Rig, recording: usize) -> (String, Vec<u8>) {
    let events = rig.wait_recording(recording);
    let kinds: Vec<_> = events.iter().map(|e| e.kind).collect();
    assert!(
        kinds.ends_with(&[Kind::Error, Kind::Data, Kind::Stop]),
        "{events:?}"
    );
    assert_eq!(kinds.iter().filter(|k| **k == Kind::Error).count(), 1);
    let error = events.iter().find_map(|e| e.error.clone()).unwrap();
    assert_eq!(error.code(), code::UNKNOWN, "{error}");
    let bytes = events.iter().flat_map(|e| e.bytes.clone()).collect();
    (error.message().to_owned(), bytes)
}
