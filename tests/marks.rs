//! `mark`: instants named by the application become chapters, in every container, in recorded time.

mod common;

use common::app::{App, temp_location};
use common::harness::feed::PushTrack;
use common::harness::{
    BusMessage, Kind, Recorder, Rig, code, expect_error, init, make_recorder, media, wait_for,
};
use common::judge;
use common::settings::{Rng, long};
use gst::prelude::*;
use proptest::prelude::*;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const MS: u64 = 1_000_000;

/// Every container, with its file extension.
const CONTAINERS: [(&str, &str); 8] = [
    ("audio/webm", "webm"),
    ("audio/x-matroska;codecs=flac", "mkv"),
    ("audio/mp4", "m4a"),
    ("audio/ogg", "ogg"),
    ("audio/ogg;codecs=vorbis", "ogg"),
    ("audio/wav", "wav"),
    ("audio/flac", "flac"),
    ("audio/mpeg", "mp3"),
];

/// A chapter: its start in nanoseconds, and its title.
type Chapter = (u64, String);

/// The fields of a `mark` message.
#[derive(Debug, Clone, PartialEq)]
struct Mark {
    title: String,
    timecode: u64,
    running_time: u64,
}

/// Marks this instant, like applications without the typed API.
fn mark(recorder: &gst::Element, title: Option<&str>) -> Result<(), glib::Error> {
    match recorder.emit_by_name::<Option<glib::Error>>("mark", &[&title]) {
        None => Ok(()),
        Some(error) => Err(error),
    }
}

/// Records `on-mark`.
fn follow(recorder: &gst::Element) -> std::sync::Arc<std::sync::Mutex<Vec<Mark>>> {
    let marks = std::sync::Arc::<std::sync::Mutex<Vec<Mark>>>::default();
    let log = marks.clone();
    recorder.connect("on-mark", false, move |values| {
        let fields = values[1].get::<gst::Structure>().unwrap();
        assert_eq!(fields.name(), "mediarecorder-mark");
        let timecode = fields.get("timecode").unwrap();
        assert_eq!(fields.get("part"), Ok(0u32));
        assert_eq!(fields.get("part-timecode"), Ok(timecode));
        log.lock().unwrap().push(Mark {
            title: fields.get("title").unwrap(),
            timecode,
            running_time: fields.get("running-time").unwrap(),
        });
        None
    });
    marks
}

/// An audio track whose buffers have the length that the test chooses.
struct AudioTrack {
    feed: PushTrack,
    at: u64,
}

impl AudioTrack {
    fn new(rig: &Rig) -> Self {
        AudioTrack {
            feed: rig.feed_audio(),
            at: 0,
        }
    }

    /// This many milliseconds more, up to now.
    fn advance(&mut self, ms: u64) {
        self.feed.queue_media(gst::ClockTime::ZERO);
        let mut buffer = gst::Buffer::from_mut_slice(vec![0u8; ms as usize * 48 * 2]);
        let fields = buffer.get_mut().unwrap();
        fields.set_pts(gst::ClockTime::from_mseconds(self.at));
        fields.set_duration(gst::ClockTime::from_mseconds(ms));
        self.feed.push(buffer);
        self.feed.wait_taken();
        self.at += ms;
    }
}

/// The chapters as read by FFmpeg.
fn chapters(path: &str) -> Vec<Chapter> {
    let (out, errors) = media::run(Command::new("ffprobe").args([
        "-v",
        "error",
        "-show_chapters",
        "-of",
        "json",
        path,
    ]));
    assert_eq!(errors, "", "{path}");
    let probe: serde_json::Value = serde_json::from_slice(&out).unwrap();
    let list = probe["chapters"].as_array().unwrap().iter();
    let mut chapters: Vec<_> = list
        .map(|chapter| {
            let base = chapter["time_base"].as_str().unwrap();
            let (over, under) = base.split_once('/').unwrap();
            let number = |text: &str| text.parse::<u128>().unwrap();
            let start = u128::from(chapter["start"].as_u64().unwrap());
            let start = start * number(over) * 1_000_000_000 / number(under);
            let title = chapter["tags"]["title"].as_str().unwrap_or_default();
            (start as u64, title.to_owned())
        })
        .collect();
    chapters.sort_by_key(|(start, _)| *start);
    chapters
}

/// Milliseconds, to within one audio sample.
fn in_ms(chapters: &[Chapter]) -> Vec<(u64, &str)> {
    let chapters = chapters.iter();
    chapters
        .map(|(start, title)| ((start + MS / 2) / MS, title.as_str()))
        .collect()
}

fn is_supported(mime_type: &str) -> bool {
    let supported = make_recorder().supports(mime_type);
    if !supported {
        common::settings::skipped(&format!("marks in {mime_type}: not installed"));
    }
    supported
}

/// Records audio with `count` marks and `pauses` pauses; returns its file, and the expected marks.
fn record(rig: &Rig, mime_type: &str, name: &str, count: u64, pauses: u64) -> (String, Vec<Mark>) {
    let mut chance = Rng::new(count);
    let path = rig.path(name);
    rig.recorder.set_property("mime-type", mime_type);
    rig.recorder.set_property("location", &path);
    let made = follow(&rig.recorder);
    rig.play();
    let mut audio = AudioTrack::new(rig);
    audio.advance(7);
    rig.recorder.start().unwrap();
    let (mut recorded, mut expected) = (0, Vec::new());
    for n in 0..count {
        let ms = 1 + chance.below(40);
        audio.advance(ms);
        recorded += ms;
        let title = format!("Chapter {n}");
        mark(&rig.recorder, Some(&title)).unwrap();
        expected.push(Mark {
            title,
            timecode: recorded * MS,
            running_time: audio.at * MS,
        });
        if n % (count / pauses) == 0 {
            rig.recorder.pause().unwrap();
            audio.advance(1 + chance.below(40));
            rig.recorder.resume().unwrap();
        }
    }
    audio.advance(500);
    rig.recorder.stop().unwrap();
    rig.wait_recording(1);
    assert_eq!(*made.lock().unwrap(), expected);
    (path, expected)
}

fn as_chapters(marks: &[Mark]) -> Vec<Chapter> {
    let marks = marks.iter();
    marks
        .map(|mark| (mark.timecode, mark.title.clone()))
        .collect()
}

#[test]
fn marks_with_pauses_are_chapters_to_the_millisecond() {
    let (count, pauses) = if long() { (1000, 100) } else { (300, 30) };
    for (number, (mime_type, extension)) in CONTAINERS.into_iter().enumerate() {
        if !is_supported(mime_type) {
            continue;
        }
        let rig = Rig::new();
        let name = format!("{number}.{extension}");
        let (path, marks) = record(&rig, mime_type, &name, count, pauses);
        let found = chapters(&path);
        let expected = as_chapters(&marks);
        assert_eq!(in_ms(&found), in_ms(&expected), "{mime_type}");
        rig.assert_quiet_bus();
        media::assert_plays(&path);
    }
}

/// GStreamer's demuxers, if they read chapters, and mkvextract.
#[test]
fn other_readers_find_the_same_chapters() {
    for (mime_type, name) in [
        ("audio/webm", "a.webm"),
        ("audio/wav", "a.wav"),
        ("audio/x-matroska;codecs=flac", "a.mkv"),
    ] {
        if !is_supported(mime_type) {
            continue;
        }
        let rig = Rig::new();
        let (path, marks) = record(&rig, mime_type, name, 20, 4);
        let expected = as_chapters(&marks);
        assert_eq!(in_ms(&toc(&path)), in_ms(&expected), "{name} in GStreamer");
        if name.ends_with("wav") {
            continue;
        }
        let (out, _) = media::run(Command::new("mkvextract").args([&path, "chapters", "--simple"]));
        let text = String::from_utf8(out).unwrap();
        let (times, titles): (Vec<_>, Vec<_>) = text
            .lines()
            .map(|line| line.split_once('=').unwrap().1)
            .partition(|value| value.starts_with("00:00:"));
        assert_eq!(
            titles,
            marks.iter().map(|mark| &mark.title).collect::<Vec<_>>()
        );
        let times = times
            .iter()
            .map(|time| (time[6..].parse::<f64>().unwrap() * 1e3).round());
        let expected = expected.iter().map(|(start, _)| (*start / MS) as f64);
        assert!(times.eq(expected), "{text}");
    }
}

/// The chapters as read by GStreamer's demuxers.
fn toc(path: &str) -> Vec<Chapter> {
    init();
    let line = format!("filesrc location=\"{path}\" ! decodebin ! fakesink");
    let pipeline = gst::parse::launch(&line).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let bus = pipeline.bus().unwrap();
    let mut found = Vec::new();
    while let Some(message) = bus.timed_pop(gst::ClockTime::from_seconds(20)) {
        match message.view() {
            gst::MessageView::Toc(message) => {
                let toc = message.toc().0;
                let mut entries = toc.entries();
                if let [edition] = &entries[..]
                    && edition.entry_type() == gst::TocEntryType::Edition
                {
                    entries = edition.sub_entries();
                }
                found = entries
                    .iter()
                    .map(|entry| {
                        let start = entry.start_stop_times().unwrap().0 as u64;
                        let title = entry.tags().and_then(|tags| {
                            let title = tags.get::<gst::tags::Title>()?;
                            Some(title.get().to_owned())
                        });
                        (start, title.unwrap_or_default())
                    })
                    .collect();
            }
            gst::MessageView::Eos(_) => break,
            gst::MessageView::Error(error) => panic!("{path}: {error:?}"),
            _ => {}
        }
    }
    pipeline.set_state(gst::State::Null).unwrap();
    found
}

#[test]
fn a_mark_is_at_the_current_recorded_time() {
    let rig = Rig::new();
    let path = rig.path("marks.webm");
    rig.recorder.set_property("location", &path);
    let refused = expect_error(mark(&rig.recorder, Some("early")), code::INVALID_STATE);
    assert!(refused.message().contains("start"), "{refused}");
    let made = follow(&rig.recorder);
    rig.play();
    let mut audio = AudioTrack::new(&rig);
    rig.recorder.start().unwrap();
    // The track's caps are not known yet.
    mark(&rig.recorder, Some("undecided")).unwrap();
    audio.advance(100);
    rig.wait_event(Kind::Start, 1);
    mark(&rig.recorder, None).unwrap();
    audio.advance(100);
    rig.recorder.pause().unwrap();
    audio.advance(100);
    mark(&rig.recorder, Some("in a pause")).unwrap();
    mark(&rig.recorder, Some("twice")).unwrap();
    rig.recorder.resume().unwrap();
    audio.advance(100);
    mark(&rig.recorder, Some("last")).unwrap();
    rig.recorder.stop().unwrap();
    expect_error(mark(&rig.recorder, Some("late")), code::INVALID_STATE);
    rig.wait_recording(1);
    let of = |title: &str, timecode: u64, running_time: u64| Mark {
        title: title.into(),
        timecode: timecode * MS,
        running_time: running_time * MS,
    };
    let expected = [
        of("undecided", 0, 0),
        of("", 100, 100),
        of("in a pause", 200, 200),
        of("twice", 200, 200),
        of("last", 300, 400),
    ];
    assert_eq!(*made.lock().unwrap(), expected);
    let found = chapters(&path);
    assert_eq!(in_ms(&found), in_ms(&as_chapters(&expected)));
    rig.assert_quiet_bus();
}

/// `on-mark` is emitted in order with the other events, after `on-start`, both as signal and as message.
#[test]
fn marks_are_reported_after_the_start_and_in_order() {
    let rig = Rig::new();
    let order = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    for signal in ["on-start", "on-mark", "on-pause", "on-part", "on-stop"] {
        let order = order.clone();
        rig.recorder.connect(signal, false, move |_| {
            order.lock().unwrap().push(signal);
            None
        });
    }
    rig.play();
    let mut audio = AudioTrack::new(&rig);
    rig.recorder.start().unwrap();
    mark(&rig.recorder, Some("first")).unwrap();
    audio.advance(100);
    rig.recorder.pause().unwrap();
    mark(&rig.recorder, Some("second")).unwrap();
    rig.recorder.stop().unwrap();
    rig.wait_recording(1);
    let expected = [
        "on-start", "on-mark", "on-pause", "on-mark", "on-part", "on-stop",
    ];
    wait_for("all events", || {
        order.lock().unwrap().len() >= expected.len()
    });
    let order = order.lock().unwrap().clone();
    assert_eq!(order, expected);
}

/// If the header has no space, all go to the end, if possible; otherwise there is one warning.
#[test]
fn more_marks_than_there_is_space_for() {
    for (mime_type, name, appended) in [
        ("audio/webm", "a.webm", true),
        ("audio/wav", "a.wav", true),
        ("audio/mp4", "a.m4a", true),
        ("audio/flac", "a.flac", false),
        ("audio/ogg", "a.ogg", false),
    ] {
        if !is_supported(mime_type) {
            continue;
        }
        let rig = Rig::new();
        let path = rig.path(name);
        rig.recorder.set_property("mime-type", mime_type);
        rig.recorder.set_property("location", &path);
        let made = follow(&rig.recorder);
        rig.play();
        let mut audio = AudioTrack::new(&rig);
        audio.advance(5);
        rig.recorder.start().unwrap();
        for n in 0..100 {
            audio.advance(10);
            let title = format!("{n} {}", "x".repeat(900));
            mark(&rig.recorder, Some(&title)).unwrap();
        }
        audio.advance(10);
        rig.recorder.stop().unwrap();
        rig.wait_recording(1);
        let marks = made.lock().unwrap().clone();
        assert_eq!(marks.len(), 100, "{name}: all are reported");
        let (found, expected) = (chapters(&path), as_chapters(&marks));
        let warnings = rig.bus.all();
        if appended {
            let most = longest_title(mime_type);
            assert_eq!(cut(&found, most), cut(&expected, most), "{name}");
            rig.assert_quiet_bus();
        } else {
            let kept = found.len();
            assert!((60..80).contains(&kept), "{name}: {kept}");
            assert_eq!(in_ms(&found), in_ms(&expected[..kept]), "{name}");
            assert!(
                matches!(warnings[..], [BusMessage::Warning { .. }]),
                "{warnings:?}"
            );
        }
        media::assert_plays(&path);
    }
}

/// Webcams and screens have no fixed frame rate; with such video, times in the file have a high resolution.
#[test]
fn a_long_mp4_with_a_mark_is_an_ordinary_file() {
    let mime_type = "video/mp4;codecs=\"avc1,opus\"";
    if !is_supported(mime_type) {
        return;
    }
    let (_folder, path) = temp_location("long.mp4");
    let app = App::new(mime_type, &path);
    app.recorder.connect("on-start", false, |values| {
        mark(&values[0].get().unwrap(), Some("begin")).unwrap();
        None
    });
    for (template, description) in [
        (
            "video_%u",
            "videotestsrc num-buffers=800 ! video/x-raw,framerate=1/1,width=32,height=32 \
             ! capssetter caps=video/x-raw,framerate=0/1",
        ),
        (
            "audio_%u",
            "audiotestsrc num-buffers=8000 samplesperbuffer=4800 ! audio/x-raw,rate=48000",
        ),
    ] {
        app.source(description).link(&app.pad(template)).unwrap();
    }
    app.recorder.set_property("autostart", true);
    app.set_state(gst::State::Playing);
    app.wait_for("stop", 1);
    let path = path.to_str().unwrap();
    judge::ordinary::fragmented(&std::fs::read(path).unwrap()).unwrap();
    let found = chapters(path);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].1, "begin");
    media::assert_plays(path);
}

/// A recording to blobs only.
fn record_blobs(mime_type: &str, timeslice: u32) -> (Rig, Vec<u8>, Vec<Mark>) {
    let rig = Rig::new();
    rig.recorder.set_property("mime-type", mime_type);
    rig.recorder.set_property("timeslice", timeslice);
    let made = follow(&rig.recorder);
    rig.play();
    let mut audio = AudioTrack::new(&rig);
    audio.advance(5);
    rig.recorder.start().unwrap();
    for n in 0..30 {
        audio.advance(100);
        mark(&rig.recorder, Some(&format!("Chapter {n}"))).unwrap();
    }
    audio.advance(100);
    rig.recorder.stop().unwrap();
    let (bytes, _) = common::harness::log::check_recording(&rig.wait_recording(1));
    let marks = made.lock().unwrap().clone();
    (rig, bytes, marks)
}

#[test]
fn a_single_blob_has_its_chapters() {
    for (mime_type, extension) in CONTAINERS {
        if !is_supported(mime_type) {
            continue;
        }
        let (rig, bytes, marks) = record_blobs(mime_type, 0);
        let path = rig.save(&format!("blob.{extension}"), &bytes);
        let found = chapters(&path);
        assert_eq!(in_ms(&found), in_ms(&as_chapters(&marks)), "{mime_type}");
        rig.assert_quiet_bus();
    }
}

/// Emitted blobs never change: they are playable, without the chapters that were set later.
#[test]
fn blobs_of_a_timeslice_play_without_later_chapters() {
    for (mime_type, extension) in CONTAINERS {
        if !is_supported(mime_type) {
            continue;
        }
        let (rig, bytes, marks) = record_blobs(mime_type, 500);
        assert_eq!(marks.len(), 30, "{mime_type}");
        let path = rig.save(&format!("blobs.{extension}"), &bytes);
        media::assert_plays(&path);
        rig.assert_no_bus_error();
    }
}

/// An arbitrary title.
fn title() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[\"'=;#\\\\<&\u{e4}\u{4e2d}\u{1f3b5} ]{0,40}",
        "\u{4e2d}{300,500}",
        Just(String::new()),
    ]
}

/// Longer titles are truncated in the file, or by FFmpeg.
fn longest_title(mime_type: &str) -> usize {
    match mime_type {
        "audio/wav" => 500,
        "audio/mpeg" => 126,
        _ => usize::MAX,
    }
}

/// With the identifiers of ID3 in place of empty titles.
fn named(chapters: &[Chapter]) -> Vec<Chapter> {
    let chapters = chapters.iter().enumerate();
    chapters
        .map(|(n, (start, title))| match title.as_str() {
            "" => (*start, format!("ch{n}")),
            title => (*start, title.to_owned()),
        })
        .collect()
}

/// In milliseconds, with the start of each title.
fn cut(chapters: &[Chapter], most: usize) -> Vec<(u64, String)> {
    let chapters = in_ms(chapters).into_iter();
    chapters
        .map(|(start, title)| (start, in_files(title, most)))
        .collect()
}

/// The title as stored in files.
fn in_files(title: &str, most: usize) -> String {
    let mut end = title.len().min(most);
    while !title.is_char_boundary(end) {
        end -= 1;
    }
    title[..end].to_owned()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if long() { 60 } else { 6 }))]

    /// Arbitrary titles, many of them at the same instant.
    #[test]
    fn any_titles_at_any_instants(
        marks in proptest::collection::vec((title(), prop_oneof![Just(0u64), 1u64..30]), 1..25)
    ) {
        for (number, (mime_type, extension)) in CONTAINERS.into_iter().enumerate() {
            if !is_supported(mime_type) {
                continue;
            }
            let rig = Rig::new();
            let path = rig.path(&format!("{number}.{extension}"));
            rig.recorder.set_property("mime-type", mime_type);
            rig.recorder.set_property("location", &path);
            rig.play();
            let mut audio = AudioTrack::new(&rig);
            audio.advance(5);
            rig.recorder.start().unwrap();
            audio.advance(10);
            let (mut at, mut expected) = (10, Vec::new());
            for (title, ms) in &marks {
                if *ms > 0 {
                    audio.advance(*ms);
                    at += ms;
                }
                let title = title.replace('\0', "");
                mark(&rig.recorder, Some(&title)).unwrap();
                expected.push((at * MS, in_files(&title, 1024)));
            }
            audio.advance(100);
            rig.recorder.stop().unwrap();
            rig.wait_recording(1);
            let found = chapters(&path);
            let most = longest_title(mime_type);
            if mime_type == "audio/mpeg" {
                // FFmpeg uses the identifier if there is no title.
                expected = named(&expected);
            }
            prop_assert_eq!(cut(&found, most), cut(&expected, most), "{}", mime_type);
        }
    }
}

/// wavenc rewrites its header, in which the chapters are, at the end.
#[test]
fn a_mark_just_before_the_end_is_in_the_file() {
    let mut rng = Rng::from_env();
    for number in 0..if long() { 1_000 } else { 100 } {
        let rig = Rig::new();
        let path = rig.path(&format!("{number}.wav"));
        rig.recorder.set_property("mime-type", "audio/wav");
        rig.recorder.set_property("location", &path);
        rig.play();
        let mut audio = AudioTrack::new(&rig);
        audio.advance(5);
        rig.recorder.start().unwrap();
        audio.advance(10);
        for mark_number in 0..5 {
            mark(&rig.recorder, Some(&format!("Mark {mark_number}"))).unwrap();
        }
        audio.advance(10);
        std::thread::sleep(Duration::from_micros(rng.below(1_000)));
        rig.recorder.stop().unwrap();
        rig.wait_recording(1);
        assert_eq!(chapters(&path).len(), 5, "{number}");
    }
}

/// Pass to the process that will be killed what to record, and where to.
const WHAT: &str = "MEDIARECORDER_MARKS_TYPE";
const WHERE: &str = "MEDIARECORDER_MARKS_FILE";

/// Records, and sets a mark each 100 ms, until killed; prints the marks that have been reported.
#[test]
fn marks_until_killed() {
    let (Ok(mime_type), Ok(path)) = (std::env::var(WHAT), std::env::var(WHERE)) else {
        return;
    };
    init();
    let line = "audiotestsrc is-live=true samplesperbuffer=480 ! audio/x-raw,rate=48000,channels=1 \
                ! mediarecorder name=rec";
    let pipeline = gst::parse::launch(line).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let recorder = pipeline.by_name("rec").unwrap();
    recorder.set_property("mime-type", &mime_type);
    recorder.set_property("location", &path);
    recorder.connect("on-mark", false, |values| {
        let fields = values[1].get::<gst::Structure>().unwrap();
        println!("mark {}", fields.get::<u64>("timecode").unwrap());
        None
    });
    pipeline.set_state(gst::State::Playing).unwrap();
    recorder.start().unwrap();
    let limit = Instant::now() + Duration::from_secs(60);
    while Instant::now() < limit {
        std::thread::sleep(Duration::from_millis(100));
        mark(&recorder, Some("a mark")).unwrap();
    }
}

#[test]
fn a_killed_recording_has_its_marks() {
    if std::env::var_os(WHAT).is_some() {
        return;
    }
    let mut chance = Rng::from_env();
    let folder = tempfile::tempdir().unwrap();
    for round in 0..if long() { 50 } else { CONTAINERS.len() } {
        let (mime_type, extension) = CONTAINERS[round % CONTAINERS.len()];
        if !is_supported(mime_type) {
            continue;
        }
        let path = folder.path().join(format!("{round}.{extension}"));
        let path = path.to_str().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "marks_until_killed", "--nocapture"])
            .env(WHAT, mime_type)
            .env(WHERE, path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lasts = Duration::from_millis(1500 + chance.below(1500));
        let mut reported: Vec<(Instant, u64)> = Vec::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some(timecode) = line.strip_prefix("mark ") {
                reported.push((Instant::now(), timecode.parse().unwrap()));
                if reported[0].0.elapsed() > lasts {
                    break;
                }
            }
        }
        let killed = Instant::now();
        child.kill().unwrap();
        child.wait().unwrap();
        let older = |at: &Instant| killed.duration_since(*at) > Duration::from_secs(1);
        let due: Vec<_> = reported
            .iter()
            .filter(|(at, _)| older(at))
            .map(|(_, timecode)| (*timecode, "a mark".to_owned()))
            .collect();
        assert!(due.len() > 2, "{mime_type}: {reported:?}");
        let found = chapters(path);
        eprintln!(
            "{mime_type}: {} of {} reported marks are in the file",
            found.len(),
            reported.len()
        );
        // To within the resolution of a container with millisecond timestamps. (WAV counts samples, which round
        // differently.)
        let is_there = |((at, title), (due, due_title)): (&Chapter, &Chapter)| {
            at.abs_diff(*due) <= MS / 2 && title == due_title
        };
        assert!(
            found.len() >= due.len() && found.iter().zip(&due).all(is_there),
            "{mime_type}: {found:?}, expected {due:?}"
        );
    }
}

/// The date in the file.
fn dates(path: &str) -> Vec<String> {
    let (out, _) = media::run(Command::new("ffprobe").args([
        "-v",
        "error",
        "-show_entries",
        "format_tags:stream_tags",
        "-of",
        "default=nk=0",
        path,
    ]));
    let text = String::from_utf8(out).unwrap();
    let tags = text
        .lines()
        .filter_map(|line| line.strip_prefix("TAG:")?.split_once('='));
    let dates = tags
        .filter(|(name, _)| matches!(name.to_lowercase().as_str(), "creation_time" | "date"))
        .map(|(_, value)| value.to_owned());
    dates.collect()
}

/// That of the first recorded instant by upstream's clock, however old, if it is in the header; as a tag by the
/// system clock.
#[test]
fn a_file_has_the_date_of_its_first_instant() {
    for (mime_type, extension) in CONTAINERS {
        if !is_supported(mime_type) {
            continue;
        }
        let is_tag = !["webm", "mkv", "m4a", "wav"].contains(&extension);
        let rig = Rig::new();
        let path = rig.path(&format!("dated.{extension}"));
        rig.recorder.set_property("mime-type", mime_type);
        rig.recorder.set_property("location", &path);
        rig.play();
        let feed = rig.feed_audio();
        rig.recorder.start().unwrap();
        let at = gst::ClockTime::from_seconds(1_000_000_000);
        feed.queue_media(gst::ClockTime::ZERO);
        for n in 0..50 {
            let mut buffer = gst::Buffer::from_mut_slice(vec![0u8; 960]);
            let fields = buffer.get_mut().unwrap();
            fields.set_pts(gst::ClockTime::from_mseconds(10 * n));
            fields.set_duration(gst::ClockTime::from_mseconds(10));
            if !is_tag {
                let unix = gst::Caps::new_empty_simple("timestamp/x-unix");
                let time = at + gst::ClockTime::from_mseconds(10 * n);
                gst::ReferenceTimestampMeta::add(fields, &unix, time, None);
            }
            feed.push(buffer);
        }
        feed.wait_taken();
        rig.recorder.stop().unwrap();
        rig.wait_recording(1);
        let stats: gst::Structure = rig.recorder.property("stats");
        let intervals = stats.get::<gst::Array>("intervals").unwrap();
        let first = intervals[0].get::<gst::Structure>().unwrap();
        let utc = first.get::<i64>("utc").unwrap() / 1_000_000_000;
        let expected = gst::DateTime::from_unix_epoch_utc(utc).unwrap();
        let expected = expected.to_iso8601_string().unwrap();
        let expected = expected.trim_end_matches('Z');
        let dates = dates(&path);
        assert!(!dates.is_empty(), "{mime_type}");
        for date in dates {
            assert!(
                date.starts_with(expected),
                "{mime_type}: {date}, not {expected}"
            );
        }
        assert!(
            is_tag || expected.starts_with("2001-09-09T01:46:40"),
            "{expected}"
        );
    }
}
