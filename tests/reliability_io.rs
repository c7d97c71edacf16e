//! Disk failures and hangs in system calls, injected by strace into a child process.

mod common;

use common::app::{App, DEADLINE};
use common::disk::{Scenario, rig, run_with_faults, wait_failed};
use common::harness::{
    BusMessage, Kind, Recorder, Rig, State, Track, holds_within, media, wait_for,
};
use common::judge::{self, ordinary};
use gst::prelude::*;
use std::path::Path;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};
use std::time::{Duration, Instant};

const SCENARIOS: [Scenario; 11] = [
    ("location", |folder| {
        let (rig, tracks, path) = rig_at_location(folder);
        rig.recorder.start().unwrap();
        let (error, bytes) = wait_failed(&rig, 1);
        assert!(error.contains(&path), "{error}");
        assert!(error.contains("os error 5"), "{error}");
        upstream_continues(&rig, &tracks);
        for path in [path, rig.save("blob.mkv", &bytes)] {
            assert_plays_so_far(&path);
        }
        records_elsewhere(&rig, &tracks);
    }),
    ("temp-dir", |folder| {
        let (rig, tracks) = rig();
        let folder = folder.to_str().unwrap();
        rig.recorder.set_property("temp-dir", folder);
        rig.recorder.set_property("max-memory", 50_000u64);
        rig.recorder.start().unwrap();
        let (error, bytes) = wait_failed(&rig, 1);
        assert!(error.contains(folder), "{error}");
        assert!(error.contains("os error 5"), "{error}");
        upstream_continues(&rig, &tracks);
        assert_plays_so_far(&rig.save("blob.mkv", &bytes));
        rig.recorder.set_property("max-memory", 8u64 << 20);
        records_elsewhere(&rig, &tracks);
    }),
    // Like FAT, or a share of another host.
    ("a disk without modes", |folder| {
        let (rig, tracks) = rig();
        rig.recorder
            .set_property("temp-dir", folder.to_str().unwrap());
        rig.recorder.set_property("max-memory", 50_000u64);
        rig.recorder.start().unwrap();
        tracks[1].wait_buffers(30);
        rig.recorder.stop().unwrap();
        let events = rig.wait_recording(1);
        assert!(events.iter().all(|e| e.kind != Kind::Error), "{events:?}");
        rig.recorder.set_property("max-memory", 8u64 << 20);
        let path = folder.join("a.mkv");
        let path = path.to_str().unwrap();
        rig.recorder.set_property("location", path);
        rig.recorder.start().unwrap();
        tracks[1].wait_buffers(10);
        rig.recorder.stop().unwrap();
        let events = rig.wait_recording(2);
        assert!(events.iter().all(|e| e.kind != Kind::Error), "{events:?}");
        media::assert_plays(path);
    }),
    // Duration and index are written to the file when it is finalised.
    ("patch", |folder| {
        let (rig, tracks, path) = rig_at_location(folder);
        rig.recorder.start().unwrap();
        tracks[1].wait_buffers(30);
        rig.recorder.stop().unwrap();
        let (error, bytes) = wait_failed(&rig, 1);
        assert!(error.contains(&path), "{error}");
        upstream_continues(&rig, &tracks);
        for path in [path, rig.save("blob.mkv", &bytes)] {
            assert_plays_so_far(&path);
        }
    }),
    // Blobs of a recording to `location` are read from that file: if that fails, they have no bytes.
    ("read back", |folder| {
        let (rig, tracks, path) = rig_at_location(folder);
        rig.recorder.set_property("timeslice", 500u32);
        rig.recorder.start().unwrap();
        let warned = |all: &[BusMessage]| {
            all.iter().any(|message| {
                matches!(message, BusMessage::Warning { error, .. }
                    if error.message().contains(&path) && error.message().contains("os error 5"))
            })
        };
        rig.bus.wait("a warning", warned);
        upstream_continues(&rig, &tracks);
        rig.recorder.stop().unwrap();
        let events = rig.wait_recording(1);
        assert!(events.iter().all(|e| e.kind != Kind::Error), "{events:?}");
        media::assert_plays(&path);
        let blobs: Vec<_> = events.iter().filter(|e| e.kind == Kind::Data).collect();
        assert!(blobs.len() > 1, "a blob each 500 ms");
        assert!(blobs.iter().any(|blob| blob.bytes.is_empty()));
        let ends = blobs.iter().map(|blob| blob.buffer().offset_end());
        let begins = blobs.iter().skip(1).map(|blob| blob.buffer().offset());
        assert!(begins.zip(ends).all(|(begin, end)| begin == end));
        rig.recorder.set_property("timeslice", 0u32);
        records_elsewhere(&rig, &tracks);
    }),
    // Like a network file system whose server is down.
    ("hang", |folder| {
        let (rig, tracks, path) = rig_at_location(folder);
        rig.recorder.set_property("stop-timeout", 500_000_000u64);
        rig.recorder.start().unwrap();
        // It is constant once nothing more is written.
        let mut size = 0;
        let mut stood = Instant::now();
        assert!(holds_within(Duration::from_secs(20), || {
            let now = std::fs::metadata(&path).unwrap().len();
            if std::mem::replace(&mut size, now) != now {
                stood = Instant::now();
            }
            size > 0 && stood.elapsed() > Duration::from_millis(1500)
        }));
        // Nothing outside waits for it.
        upstream_continues(&rig, &tracks);
        let before = Instant::now();
        assert!(rig.recorder.stat("bytes") > 10_000);
        rig.recorder.pause().unwrap();
        rig.recorder.resume().unwrap();
        rig.recorder.request_data().unwrap();
        rig.recorder.stop().unwrap();
        assert!(
            before.elapsed() < Duration::from_secs(1),
            "{:?}",
            before.elapsed()
        );
        let (error, _) = wait_failed(&rig, 1);
        assert!(
            before.elapsed() < Duration::from_secs(5),
            "{:?}",
            before.elapsed()
        );
        assert!(error.contains(&path), "{error}");
        // The last blob is empty, but complete otherwise.
        let events = rig.wait_recording(1);
        let blobs: Vec<_> = events.iter().filter(|e| e.kind == Kind::Data).collect();
        let ends = blobs.iter().map(|blob| blob.buffer().offset_end());
        let begins = blobs.iter().map(|blob| blob.buffer().offset());
        assert!(begins.eq([0].into_iter().chain(ends).take(blobs.len())));
        let last = blobs.last().unwrap().sample.as_ref().unwrap();
        assert_eq!(
            last.caps().unwrap().structure(0).unwrap().name(),
            "video/x-matroska"
        );
        let bytes: usize = blobs.iter().map(|blob| blob.bytes.len()).sum();
        assert_eq!(rig.recorder.stat("bytes"), bytes as u64);
        records_elsewhere(&rig, &tracks);
        let before = Instant::now();
        rig.set_state(gst::State::Null);
        assert!(
            before.elapsed() < Duration::from_secs(5),
            "{:?}",
            before.elapsed()
        );
        assert_plays_so_far(&path);
    }),
    // A busy or slow disk: each sync takes two seconds.
    ("slow to synchronise", |folder| {
        let (rig, tracks, path) = rig_at_location(folder);
        let (longest, parts) = (longest_gap(&tracks), parts(&rig));
        rig.recorder.set_property("sync-interval", 100_000_000u64);
        rig.recorder.set_property("stop-timeout", 30_000_000_000u64);
        rig.recorder.start().unwrap();
        wait_for("two slow ones", || {
            rig.recorder.stat("duration") > 4_500_000_000
        });
        let before = Instant::now();
        rig.recorder.pause().unwrap();
        rig.recorder.resume().unwrap();
        rig.recorder.request_data().unwrap();
        rig.wait_event(Kind::Data, 1);
        rig.recorder.stop().unwrap();
        let took = before.elapsed();
        assert!(
            took < Duration::from_secs(1),
            "actions and a blob: {took:?}"
        );
        // Meanwhile another one is recorded from start to end.
        let (other, _tracks) = common::disk::rig();
        let of_other = other.path("other.mkv");
        other.recorder.set_property("location", &of_other);
        other.recorder.start().unwrap();
        other.wait_event(Kind::Start, 1);
        other.recorder.stop().unwrap();
        other.wait_recording(1);
        // Not even the last blob's event precedes the synchronisation.
        let kinds = rig.signals.kinds();
        let blobs = kinds.iter().filter(|kind| **kind == Kind::Data).count();
        assert!(blobs == 1 && !kinds.contains(&Kind::Stop), "{kinds:?}");
        assert!(parts.lock().unwrap().is_empty());
        let events = rig.wait_recording(1);
        assert!(events.iter().all(|e| e.kind != Kind::Error), "{events:?}");
        // The media and then what finalises it.
        let took = before.elapsed();
        assert!(took > Duration::from_secs(4), "it was waited for: {took:?}");
        assert_eq!(*parts.lock().unwrap(), [true]);
        upstream_continues(&rig, &tracks);
        let longest = Duration::from_nanos(longest.load(Ordering::SeqCst));
        assert!(longest < Duration::from_secs(1), "{longest:?}");
        media::assert_plays(&path);
        media::assert_finalised(&path);
    }),
    ("late to synchronise", |folder| {
        let (rig, _tracks, path) = rig_at_location(folder);
        let (error, bytes) = synchronises_late(&rig);
        assert!(error.contains(&path), "{error}");
        assert!(bytes == std::fs::read(&path).unwrap());
        media::assert_plays(&path);
        media::assert_finalised(&path);
    }),
    ("late to synchronise an MP4", |folder| {
        let (rig, _tracks, path) = rig_at_location(folder);
        let mime_type = "video/mp4;codecs=avc1,mp4a.40.2";
        if !rig.recorder.supports(mime_type) {
            // The fault must have been injected.
            let _ = std::fs::File::create(path).unwrap().sync_data();
            return println!("{mime_type}: not installed, not tested");
        }
        rig.recorder.set_property("mime-type", mime_type);
        let (_, bytes) = synchronises_late(&rig);
        assert!(bytes == std::fs::read(&path).unwrap());
        // Appended data would otherwise be referenced before it was on the disk.
        assert!(ordinary::seams(&bytes).is_err());
        judge::file::decodes_without_errors(Path::new(&path)).unwrap();
        assert!(media::frames(&path) > 20);
    }),
    ("synchronise", |folder| {
        let (rig, tracks, path) = rig_at_location(folder);
        let parts = parts(&rig);
        rig.recorder.set_property("sync-interval", 500_000_000u64);
        rig.recorder.start().unwrap();
        let (error, bytes) = wait_failed(&rig, 1);
        assert!(error.contains(&path), "{error}");
        assert!(error.contains("os error 5"), "{error}");
        assert_eq!(*parts.lock().unwrap(), [false]);
        upstream_continues(&rig, &tracks);
        for path in [path, rig.save("blob.mkv", &bytes)] {
            assert!(media::frames(&path) > 5);
        }
        rig.recorder.set_property("sync-interval", 0u64);
        records_elsewhere(&rig, &tracks);
    }),
    // The first part is still being written when the second and last one is complete.
    ("slow", |folder| {
        let app = App::new("audio/wav", &folder.join("%d.wav"));
        let (_source, clock) = app.counted(true, None);
        app.set_state(gst::State::Playing);
        assert!(holds_within(DEADLINE, || clock.has_started()));
        app.act("start");
        app.wait_running_time(app.running_time() + 500_000_000);
        app.act("split-now");
        app.wait_running_time(app.running_time() + 100_000_000);
        app.act("stop");
        app.wait_for("stop", 1);
        let events = app.events();
        let sizes = |name: &str| -> Vec<u64> {
            let named = events.iter().filter(|event| event.name == name);
            named
                .map(|event| event.fields.get("size").unwrap())
                .collect()
        };
        let parts = sizes("part");
        assert_eq!(parts.len(), 2, "{events:?}");
        assert_eq!(sizes("stop"), [parts.iter().sum::<u64>()]);
        assert_eq!(app.warnings(), Vec::<String>::new());
    }),
];

/// Whether each part was complete, according to `on-part`.
fn parts(rig: &Rig) -> Arc<Mutex<Vec<bool>>> {
    let parts = Arc::new(Mutex::new(Vec::new()));
    let seen = parts.clone();
    rig.recorder.connect("on-part", false, move |values| {
        let part = values[1].get::<gst::Structure>().unwrap();
        seen.lock()
            .unwrap()
            .push(part.get::<bool>("whole").unwrap());
        None
    });
    parts
}

/// The longest interval between two buffers on a pad, in nanoseconds.
fn longest_gap(tracks: &[Track]) -> Arc<AtomicU64> {
    let longest = Arc::new(AtomicU64::new(0));
    for track in tracks {
        let (longest, last) = (longest.clone(), Mutex::new(None::<Instant>));
        let buffers = gst::PadProbeType::BUFFER;
        track.pad.add_probe(buffers, move |_, _| {
            let before = last.lock().unwrap().replace(Instant::now());
            let gap = before.map_or(0, |before| before.elapsed().as_nanos() as u64);
            longest.fetch_max(gap, Ordering::SeqCst);
            gst::PadProbeReturn::Ok
        });
    }
    longest
}

/// Records to a disk that takes longer than `stop-timeout` to synchronise: returns the error, and the bytes.
fn synchronises_late(rig: &Rig) -> (String, Vec<u8>) {
    let parts = parts(rig);
    rig.recorder
        .set_property("sync-interval", 3_600_000_000_000u64);
    rig.recorder.set_property("stop-timeout", 300_000_000u64);
    rig.recorder.start().unwrap();
    wait_for("some media", || {
        rig.recorder.stat("duration") > 1_500_000_000
    });
    let before = Instant::now();
    rig.recorder.stop().unwrap();
    let (error, bytes) = wait_failed(rig, 1);
    let took = before.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    for word in ["synchronised", "stop-timeout", "power failure"] {
        assert!(error.contains(word), "{error}");
    }
    assert_eq!(*parts.lock().unwrap(), [false], "its event does not lie");
    (error, bytes)
}

/// A recorder to a file in `folder`, and its path.
fn rig_at_location(folder: &Path) -> (Rig, Vec<Track>, String) {
    let (rig, tracks) = rig();
    let path = folder.join("a.mkv").to_str().unwrap().to_owned();
    rig.recorder.set_property("location", &path);
    (rig, tracks, path)
}

fn upstream_continues(rig: &Rig, tracks: &[Track]) {
    for track in tracks {
        track.wait_buffers(20);
    }
    rig.assert_no_bus_error();
}

/// Everything written before is playable; only the last block may be incomplete.
fn assert_plays_so_far(path: &str) {
    let frames = media::frames(path);
    assert!(frames > 10, "{path}: {frames}");
    let audio = media::sound(path, 0).len();
    assert!(audio > 16_000, "{path}: {audio}");
}

fn records_elsewhere(rig: &Rig, tracks: &[Track]) {
    assert_eq!(rig.recorder.recording_state(), State::Inactive);
    rig.recorder.set_property("location", None::<&str>);
    rig.recorder.start().unwrap();
    tracks[1].wait_buffers(20);
    rig.recorder.stop().unwrap();
    let events = rig.wait_recording(2);
    assert!(events.iter().all(|e| e.kind != Kind::Error), "{events:?}");
    let bytes: Vec<u8> = events.iter().flat_map(|e| e.bytes.clone()).collect();
    media::assert_plays(&rig.save("elsewhere.mkv", &bytes));
}

/// Runs in the child process.
#[test]
fn under_strace() {
    common::disk::run_scenario(&SCENARIOS);
}

#[test]
fn location_on_a_device_that_fails() {
    run_with_faults("location", "writev:error=EIO:when=6+", Some("a.mkv"));
}

#[test]
fn the_temporary_file_on_a_device_that_fails() {
    run_with_faults("temp-dir", "writev:error=EIO:when=6+", None);
}

#[test]
fn a_disk_that_refuses_modes() {
    run_with_faults("a disk without modes", "fchmod:error=EPERM", None);
}

#[test]
fn location_that_cannot_be_finalised() {
    run_with_faults("patch", "pwrite64:error=EIO:when=1+", Some("a.mkv"));
}

#[test]
fn location_that_cannot_be_read_back() {
    // Faults are counted per thread, and an event thread may exist for one blob only.
    run_with_faults("read back", "pread64:error=EIO", Some("a.mkv"));
}

#[test]
fn location_that_hangs() {
    run_with_faults("hang", "writev:delay_enter=15s:when=6", Some("a.mkv"));
}

#[test]
fn location_that_is_slow() {
    run_with_faults("slow", "writev:delay_enter=1s", Some("0.wav"));
}

#[test]
fn location_that_is_slow_to_synchronise() {
    run_with_faults(
        "slow to synchronise",
        "fdatasync:delay_enter=2s",
        Some("a.mkv"),
    );
}

#[test]
fn location_that_is_not_synchronised_in_time() {
    let delayed = "fdatasync:delay_enter=6s";
    run_with_faults("late to synchronise", delayed, Some("a.mkv"));
    run_with_faults("late to synchronise an MP4", delayed, Some("a.mkv"));
}

#[test]
fn location_that_cannot_be_synchronised() {
    run_with_faults("synchronise", "fdatasync:error=EIO", Some("a.mkv"));
}
