//! Wall-clock times: recordings are aligned by their messages alone, and marks are in the part that contains their
//! instant.

mod common;

use common::harness::feed::{RATE, WRAP, sample_at};
use common::harness::media::{chapters, decoded_from};
use common::harness::{Kind, Recorder, Rig, make_recorder};
use gst::prelude::*;

const MS: u64 = 1_000_000;
/// The first sample of the scene, in nanoseconds since 1970.
const SCENE: u64 = 1_700_000_000_123_456_789;

/// The result of one recorder of a scene.
struct Record {
    samples: Vec<i16>,
    /// Wall-clock time, recorded time and duration of each interval.
    intervals: Vec<(u64, u64, u64)>,
}

impl Record {
    /// The sample at this instant of the wall clock.
    fn at(&self, utc: u64) -> Option<i16> {
        let mut intervals = self.intervals.iter();
        let (begin, recorded, _) =
            intervals.find(|(begin, _, length)| (*begin..begin + length).contains(&utc))?;
        let nearest = ((recorded + utc - begin) * RATE + 500 * MS) / (1000 * MS);
        self.samples.get(nearest as usize).copied()
    }
}

/// Records the scene from sample `first` on, in buffers of `chunk` samples, with a call after some of them. Its
/// running time starts elsewhere, too.
fn record(first: u64, chunk: u64, chunks: u64, calls: &[(u64, &str)]) -> Record {
    let rig = Rig::new();
    let path = rig.path("scene.wav");
    rig.recorder.set_property("location", &path);
    rig.play();
    let feed = rig.feed_audio();
    let time = |samples: u64| gst::ClockTime::from_nseconds(samples * 1000 * MS / RATE);
    let unix = gst::Caps::new_empty_simple("timestamp/x-unix");
    feed.queue_media(gst::ClockTime::ZERO);
    for n in 0..chunks {
        let from = first + n * chunk;
        let samples = (from..from + chunk).flat_map(|n| sample_at(n).to_le_bytes());
        let mut buffer = gst::Buffer::from_mut_slice(samples.collect::<Vec<_>>());
        let fields = buffer.get_mut().unwrap();
        fields.set_pts(time(n * chunk) + gst::ClockTime::from_nseconds(first * 77));
        fields.set_duration(time(chunk));
        let utc = gst::ClockTime::from_nseconds(SCENE) + time(from);
        gst::ReferenceTimestampMeta::add(fields, &unix, utc, None);
        feed.push(buffer);
        feed.wait_taken();
        for (_, action) in calls.iter().filter(|(at, _)| *at == n) {
            let error: Option<glib::Error> = rig.recorder.emit_by_name(action, &[]);
            assert!(error.is_none(), "{action}: {error:?}");
        }
    }
    let stop = rig.messages.wait("the end", |events| {
        events.iter().any(|event| event.kind == Kind::Stop)
    });
    let fields = stop.last().unwrap().fields.clone().unwrap();
    let intervals = fields.get::<gst::Array>("intervals").unwrap();
    let intervals = intervals.iter().map(|interval| {
        let interval = interval.get::<gst::Structure>().unwrap();
        let number = |name| interval.get::<u64>(name).unwrap();
        let utc = interval.get::<i64>("utc").unwrap();
        (utc as u64, number("recorded-time"), number("duration"))
    });
    let intervals = intervals.collect();
    let (bytes, errors) = decoded_from(&path, 0.0, "s16le");
    assert_eq!(errors, "");
    let samples = bytes.chunks_exact(2);
    Record {
        samples: samples.map(|s| i16::from_le_bytes([s[0], s[1]])).collect(),
        intervals,
    }
}

/// Two independent recorders of the same scene, each with its own pauses.
#[test]
fn two_recorders_of_a_scene_are_aligned_to_the_sample() {
    let one = record(
        0,
        336,
        800,
        &[
            (3, "start"),
            (200, "pause"),
            (260, "resume"),
            (500, "pause"),
            (507, "resume"),
            (790, "stop"),
        ],
    );
    let other = record(
        12_345,
        529,
        450,
        &[
            (1, "start"),
            (60, "pause"),
            (111, "resume"),
            (200, "pause"),
            (277, "resume"),
            (440, "stop"),
        ],
    );
    assert_eq!((one.intervals.len(), other.intervals.len()), (3, 3));
    let mut both = 0;
    for n in 0..270_000 {
        let utc = SCENE + n * 1000 * MS / RATE;
        let (Some(a), Some(b)) = (one.at(utc), other.at(utc)) else {
            continue;
        };
        both += 1;
        for heard in [a, b] {
            let apart = (i64::from(heard) - i64::from(sample_at(n))).rem_euclid(WRAP as i64);
            let apart = apart.min(WRAP as i64 - apart);
            assert!(apart <= 1, "{heard} at {n}: {apart} samples off");
        }
    }
    assert!(both > RATE * 2, "{both} samples are in both");
}

/// In milliseconds.
fn in_ms(path: &str) -> Vec<(u64, String)> {
    let chapters = chapters(path).into_iter();
    chapters
        .map(|(at, title)| ((at * 1000.0).round() as u64, title))
        .collect()
}

/// A mark is a chapter of the part that contains its instant, in that part's time; one exactly at the split is in
/// the next part.
#[test]
fn marks_are_in_the_part_that_contains_them() {
    for (mime_type, extension) in [
        ("audio/webm", "webm"),
        ("audio/mp4", "m4a"),
        ("audio/wav", "wav"),
        ("audio/ogg", "ogg"),
        ("audio/flac", "flac"),
        ("audio/mpeg", "mp3"),
    ] {
        if !make_recorder().supports(mime_type) {
            common::settings::skipped(&format!("marks in parts of {mime_type}: not installed"));
            continue;
        }
        let rig = Rig::new();
        rig.recorder.set_property("mime-type", mime_type);
        rig.recorder
            .set_property("location", rig.path(&format!("%d.{extension}")));
        rig.play();
        let feed = rig.feed_audio();
        let act = |action: &str| {
            let error: Option<glib::Error> = rig.recorder.emit_by_name(action, &[]);
            assert!(error.is_none(), "{action}: {error:?}");
        };
        let mark = |title: &str| {
            let error: Option<glib::Error> = rig.recorder.emit_by_name("mark", &[&title]);
            assert!(error.is_none(), "{title}: {error:?}");
        };
        let advance = |ms| feed.advance(gst::ClockTime::from_mseconds(ms));
        advance(70);
        act("start");
        advance(500);
        mark("first");
        advance(1500);
        act("split-now");
        mark("at the split");
        advance(300);
        mark("second");
        act("pause");
        advance(200);
        mark("in the pause");
        act("resume");
        advance(400);
        mark("behind it");
        advance(50);
        act("pause");
        act("split-now");
        act("resume");
        advance(900);
        mark("third");
        advance(100);
        act("stop");
        rig.wait_recording(1);
        let expected: [&[(u64, &str)]; 3] = [
            &[(500, "first")],
            &[
                (0, "at the split"),
                (300, "second"),
                (300, "in the pause"),
                (700, "behind it"),
            ],
            &[(900, "third")],
        ];
        for (number, expected) in expected.iter().enumerate() {
            let found = in_ms(&rig.path(&format!("{number}.{extension}")));
            let found: Vec<_> = found
                .iter()
                .map(|(at, title)| (*at, title.as_str()))
                .collect();
            assert_eq!(found, *expected, "part {number} of {mime_type}");
        }
        rig.assert_quiet_bus();
    }
}
