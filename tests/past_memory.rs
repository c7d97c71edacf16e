//! Resource usage of the past: memory, and the temporary file for the rest.

mod common;

use common::app::App;
use common::settings::tenth;
use common::signal::feed::{Feed, Upstream};
use gst::prelude::*;
use std::path::Path;

const SECOND: u64 = 1_000_000_000;
const MIB: u64 = 1 << 20;
/// Bytes per second: 8 Mbit/s.
const RATE: u64 = 1_000_000;
const FRAMES: u64 = 30;
const MAX_MEMORY: u64 = 8 * MIB;

/// A VP8 frame, as far as its first bytes.
fn frame(number: u64) -> gst::Buffer {
    let is_key = number.is_multiple_of(FRAMES);
    let mut bytes = vec![number as u8; (RATE / FRAMES) as usize];
    let head: &[u8] = match is_key {
        // A visible keyframe, its start code, and 320x240.
        true => &[0x10, 0, 0, 0x9d, 0x01, 0x2a, 64, 1, 240, 0],
        false => &[0x11, 0, 0],
    };
    bytes[..head.len()].copy_from_slice(head);
    let mut buffer = gst::Buffer::from_mut_slice(bytes);
    let fields = buffer.get_mut().unwrap();
    fields.set_pts(gst::ClockTime::from_nseconds(number * SECOND / FRAMES));
    fields.set_duration(gst::ClockTime::from_nseconds(SECOND / FRAMES));
    if !is_key {
        fields.set_flags(gst::BufferFlags::DELTA_UNIT);
    }
    buffer
}

/// Resident memory of this process.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<u64>().unwrap() * 1024
}

/// Size of the unlinked file in this directory that the process has open.
fn unlinked_file_in(directory: &Path) -> u64 {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let sizes = open.filter_map(|open| {
        let target = std::fs::read_link(open.path()).ok()?;
        let is_it = target.starts_with(directory);
        is_it.then(|| std::fs::metadata(open.path()).ok().map(|file| file.len()))?
    });
    sizes.sum()
}

#[test]
fn an_hour_of_the_past_needs_a_file_of_its_size() {
    let time = tenth(3600);
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let app = App::new("video/webm;codecs=vp8", &directory.path().join("%d.webm"));
    let recorder = &app.recorder;
    recorder.set_property("pre-record-time", time * SECOND);
    recorder.set_property("max-memory", MAX_MEMORY);
    recorder.set_property("temp-dir", directory.path().to_str().unwrap());
    let pad = app.pad("video_%u");
    app.set_state(gst::State::Ready);
    let caps = "video/x-vp8,width=320,height=240,framerate=30/1";
    let feed = Feed::new(&pad, &caps.parse().unwrap(), Upstream::NotLive);
    app.set_state(gst::State::Playing);
    let before = resident();
    let (mut most, mut largest) = (0, 0);
    // And more, which replaces what was dropped.
    for second in 0..time * 5 / 4 {
        for number in 0..FRAMES {
            feed.push(frame(second * FRAMES + number)).unwrap();
        }
        most = most.max(resident());
        largest = largest.max(unlinked_file_in(directory.path()));
    }
    let stats = recorder.property::<gst::Structure>("stats");
    let kept = stats.get::<u64>("pre-recorded").unwrap();
    app.set_state(gst::State::Null);
    println!(
        "{time} s: RSS at most {} MiB, {} before; file {:.3} of what is kept; {} s kept",
        most / MIB,
        before / MIB,
        largest as f64 / (RATE * time) as f64,
        kept / SECOND
    );
    assert!(
        kept >= time * SECOND && kept <= (time + 3) * SECOND,
        "{kept}"
    );
    assert!(most < MAX_MEMORY + 32 * MIB, "{most}, {before} before");
    let least = RATE * time * 9 / 10 - MAX_MEMORY;
    assert!(
        (least..RATE * time * 11 / 10).contains(&largest),
        "{largest}"
    );
}
