//! Everything at once: encoders fail, the disk fills up, tracks stop and return, caps change, parts are split, and
//! another recorder saves the past of the same tracks. It remains one recording, and upstream is not affected.
//!
//! `MEDIARECORDER_EVERYTHING_SECONDS` sets the duration; an hour with `--long`.

mod common;

use common::disk::SmallFilesystem;
use common::failing_encoder::fail_at;
use common::harness::{DEADLINE, init, make_recorder};
use common::judge::file;
use common::settings::{Rng, long};
use gst::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const MIME_TYPE: &str = "video/x-matroska;codecs=\"avc1,opus\"";
/// How much of the past is saved.
const PAST: u64 = 2_000_000_000;

fn length() -> Duration {
    let given = std::env::var("MEDIARECORDER_EVERYTHING_SECONDS").ok();
    let usual = if long() { 3600 } else { 20 };
    let seconds = given.and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(usual))
}

/// What happens in a run.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Run {
    /// Constant input.
    Calm,
    /// Gaps, changes of caps, splits, and the past saved.
    Eventful,
    /// That, and encoders and a disk that fail.
    Faulty,
}

/// A track's buffer `number`; `None` for a gap.
type Make = fn(u64, bool) -> Option<(gst::Caps, Vec<u8>)>;

/// Frames of 33 ms, alternating between small and large, with a gap of three seconds in 23.
fn frame(number: u64, eventful: bool) -> Option<(gst::Caps, Vec<u8>)> {
    let second = number / 30;
    if eventful && (10..13).contains(&(second % 23)) {
        return None;
    }
    let large = eventful && second / 7 % 2 == 1;
    let (width, height) = if large { (320, 240) } else { (160, 120) };
    let caps = format!(
        "video/x-raw,format=I420,width={width},height={height},framerate=30/1,pixel-aspect-ratio=1/1"
    );
    let shade = (number * 3) as u8;
    Some((caps.parse().unwrap(), vec![shade; width * height * 3 / 2]))
}

/// Blocks of 10 ms at one of two rates, with a gap of three seconds in 17.
fn block(number: u64, eventful: bool) -> Option<(gst::Caps, Vec<u8>)> {
    let second = number / 100;
    if eventful && (5..8).contains(&(second % 17)) {
        return None;
    }
    let rate = if eventful && second / 11 % 2 == 1 {
        44_100
    } else {
        48_000
    };
    let caps = format!("audio/x-raw,format=S16LE,layout=interleaved,rate={rate},channels=1");
    let samples = (0..rate / 100).flat_map(|n| ((n % 100) as i16 * 100).to_le_bytes());
    Some((caps.parse().unwrap(), samples.collect()))
}

/// Answers LATENCY queries as a live source.
fn live_pad(name: &str) -> gst::Pad {
    let pad = gst::Pad::builder(gst::PadDirection::Src).name(name);
    let pad = pad.query_function(|pad, parent, query| match query.view_mut() {
        gst::QueryViewMut::Latency(latency) => {
            latency.set(true, gst::ClockTime::ZERO, None);
            true
        }
        _ => gst::Pad::query_default(pad, parent, query),
    });
    let pad = pad.build();
    pad.set_active(true).unwrap();
    pad
}

/// A pool like those of converters and decoders.
fn pool(size: usize) -> gst::BufferPool {
    let pool = gst::BufferPool::new();
    let mut config = pool.config();
    config.set_params(None, size as u32, 0, 0);
    pool.set_config(config).unwrap();
    pool.set_active(true).unwrap();
    pool
}

/// Pushes a track's buffers at their times, to both recorders; returns the time of each push into the first one.
fn feed(
    pipeline: gst::Pipeline,
    pads: [gst::Pad; 2],
    (step, make): (Duration, Make),
    (eventful, over): (bool, Arc<AtomicBool>),
) -> Vec<Duration> {
    let [main, other] = &pads;
    let step = gst::ClockTime::from_nseconds(step.as_nanos() as u64);
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    for pad in &pads {
        pad.push_event(gst::event::StreamStart::new(&pad.name()));
    }
    let (mut took, mut caps, mut pool) = (Vec::new(), None, None);
    for number in 0u64.. {
        if over.load(Ordering::SeqCst) {
            break;
        }
        let expected = step * (number + 1);
        let now = pipeline.current_running_time().unwrap_or_default();
        if now < expected {
            std::thread::sleep(Duration::from_nanos((expected - now).nseconds()));
        }
        let Some((new, bytes)) = make(number, eventful) else {
            continue;
        };
        let is_first = caps.is_none();
        if caps.as_ref() != Some(&new) {
            for pad in &pads {
                pad.push_event(gst::event::Caps::new(&new));
                if is_first {
                    pad.push_event(gst::event::Segment::new(&segment));
                }
            }
            caps = Some(new);
            pool = Some(self::pool(bytes.len()));
        }
        let pool = pool.as_ref().unwrap();
        let mut buffer = pool.acquire_buffer(None).unwrap();
        let stamps = buffer.get_mut().unwrap();
        stamps.copy_from_slice(0, &bytes).unwrap();
        stamps.set_pts(step * number);
        stamps.set_duration(step);
        let copy = buffer.copy();
        let before = Instant::now();
        main.push(buffer).unwrap();
        took.push(before.elapsed());
        other.push(copy).unwrap();
    }
    took
}

/// Makes each encoder fail after a while.
fn break_encoders(recorder: &gst::Element, chance: Mutex<Rng>) -> Arc<AtomicU64> {
    let failed = Arc::<AtomicU64>::default();
    let count_failed = failed.clone();
    recorder.connect("encoder-setup", false, move |values| {
        let pad = values[1].get::<gst::Pad>().unwrap();
        let encoder = values[2].get::<gst::Element>().unwrap();
        // Once every few seconds, which parts last, too: earlier if there are few.
        let sooner = if long() { 1 } else { 3 };
        let (least, most) = if pad.name().starts_with("video") {
            (60 / sooner, 240 / sooner)
        } else {
            (100 / sooner, 600 / sooner)
        };
        let breaks = least + chance.lock().unwrap().below(most - least);
        let failed = count_failed.clone();
        fail_at(&encoder, breaks, move || {
            failed.fetch_add(1, Ordering::SeqCst);
        });
        None
    });
    failed
}

/// What the recorders have emitted.
#[derive(Default)]
struct Said {
    /// By recorder, the number of each event.
    events: BTreeMap<(String, String), usize>,
    /// File, start, duration, and whether it is complete, of the first recorder's parts.
    parts: Vec<(PathBuf, u64, u64, bool)>,
    warnings: Vec<String>,
}

impl Said {
    fn hear(&mut self, bus: &gst::Bus) {
        let Some(message) = bus.timed_pop(gst::ClockTime::from_mseconds(20)) else {
            return;
        };
        match message.view() {
            gst::MessageView::Error(error) => panic!("{error:?}"),
            gst::MessageView::Warning(warning) => {
                self.warnings.push(warning.error().message().to_owned());
            }
            gst::MessageView::Element(element) => {
                let fields = element.structure().unwrap();
                let of = message.src().unwrap().name().to_string();
                let Some(name) = fields.name().strip_prefix("mediarecorder-") else {
                    return;
                };
                assert_ne!(name, "error", "{of}: {fields}");
                if name == "part" && of == "main" {
                    let time = |name: &str| fields.get::<u64>(name).unwrap();
                    let path = fields.get::<String>("location").unwrap();
                    let whole = fields.get("whole").unwrap();
                    self.parts
                        .push((path.into(), time("timecode"), time("duration"), whole));
                }
                *self.events.entry((of, name.to_owned())).or_default() += 1;
            }
            _ => {}
        }
    }

    fn count(&self, of: &str, name: &str) -> usize {
        let key = (of.to_owned(), name.to_owned());
        self.events.get(&key).copied().unwrap_or_default()
    }

    fn wait_for(&mut self, bus: &gst::Bus, of: &str, name: &str, count: usize) {
        let end = Instant::now() + DEADLINE;
        while self.count(of, name) < count {
            assert!(Instant::now() < end, "no {name} of {of}: {:?}", self.events);
            self.hear(bus);
        }
    }
}

fn act(recorder: &gst::Element, action: &str) {
    let error = recorder.emit_by_name::<Option<glib::Error>>(action, &[]);
    assert!(error.is_none(), "{action}: {error:?}");
}

/// Two recorders in PLAYING, and the threads that push into them.
struct Rig {
    pipeline: gst::Pipeline,
    main: gst::Element,
    past: gst::Element,
    over: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<Vec<Duration>>>,
}

impl Rig {
    fn new(location: &Path, fallback: &Path, saved: &Path, eventful: bool) -> Self {
        let pipeline = gst::Pipeline::new();
        let [main, past] = [("main", location), ("past", saved)].map(|(name, location)| {
            let recorder = make_recorder();
            recorder.set_property("name", name);
            recorder.set_property("mime-type", MIME_TYPE);
            recorder.set_property("location", location.to_str().unwrap());
            pipeline.add(&recorder).unwrap();
            recorder
        });
        main.set_property("fallback-location", fallback.to_str().unwrap());
        main.set_property("max-size-time", 5_000_000_000u64);
        main.set_property("max-files", 12u32);
        past.set_property("max-files", 3u32);
        past.set_property("pre-record-time", PAST);
        let tracks: [(&str, Duration, Make); 2] = [
            ("video_%u", Duration::from_nanos(33_333_333), frame),
            ("audio_%u", Duration::from_millis(10), block),
        ];
        let over = Arc::<AtomicBool>::default();
        let pads = tracks.map(|(template, ..)| {
            [&main, &past].map(|recorder| {
                let pad = live_pad(&format!("{}-{}", recorder.name(), &template[..5]));
                pad.link(&recorder.request_pad_simple(template).unwrap())
                    .unwrap();
                pad
            })
        });
        pipeline.set_state(gst::State::Playing).unwrap();
        let threads = tracks.into_iter().zip(pads).map(|((_, step, make), pads)| {
            let (pipeline, over) = (pipeline.clone(), over.clone());
            std::thread::spawn(move || feed(pipeline, pads, (step, make), (eventful, over)))
        });
        let threads = threads.collect();
        Rig {
            pipeline,
            main,
            past,
            over,
            threads,
        }
    }

    /// Ends it; the 99th percentile of each track's pushes.
    fn end(self) -> Vec<Duration> {
        self.over.store(true, Ordering::SeqCst);
        let p99 = |thread: std::thread::JoinHandle<Vec<Duration>>| {
            let mut took = thread.join().unwrap();
            took.sort();
            took[took.len() * 99 / 100]
        };
        let all = self.threads.into_iter().map(p99).collect();
        self.pipeline.set_state(gst::State::Null).unwrap();
        all
    }
}

/// Fills up a disk.
fn fill(disk: &Path) -> PathBuf {
    let path = disk.join("filler");
    let mut file = std::fs::File::create(&path).unwrap();
    let zeros = [0; 65536];
    while std::io::Write::write_all(&mut file, &zeros).is_ok() {}
    path
}

/// Records for this long; returns the p99 of each track's pushes.
fn record(length: Duration, run: Run) -> Option<Vec<Duration>> {
    let disk = SmallFilesystem::mount("size=32M")?;
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let location = disk.path().join("location-%d.mkv");
    let rig = Rig::new(
        &location,
        &place("fallback-%d.mkv"),
        &place("past-%d.mkv"),
        run != Run::Calm,
    );
    let faulty = run == Run::Faulty;
    let mut chance = Rng::from_env();
    let failed = faulty.then(|| break_encoders(&rig.main, Mutex::new(chance.fork())));
    let (bus, mut output) = (rig.pipeline.bus().unwrap(), Said::default());
    act(&rig.main, "start");
    let started = Instant::now();
    let (mut next_split, mut next_save, mut filler) = (Duration::ZERO, Duration::ZERO, None);
    let mut saves = 0;
    while started.elapsed() < length {
        output.hear(&bus);
        let now = started.elapsed();
        if run == Run::Calm {
            continue;
        }
        if now >= next_split {
            act(&rig.main, "split-now");
            next_split = now + Duration::from_millis(1_000 + chance.below(5_000));
        }
        if now >= next_save && output.count("past", "stop") == saves {
            act(&rig.past, "start");
            act(&rig.past, "stop");
            saves += 1;
            next_save = now + Duration::from_secs(6);
        }
        if !faulty {
            continue;
        }
        // The disk recovers, but the recording has continued elsewhere.
        if filler.is_none() && now >= length / 2 {
            filler = Some(fill(disk.path()));
        } else if let Some(path) = filler.as_ref().filter(|_| now >= length * 3 / 4) {
            let _ = std::fs::remove_file(path);
        }
    }
    act(&rig.main, "stop");
    output.wait_for(&bus, "main", "stop", 1);
    output.wait_for(&bus, "past", "stop", saves);
    let p99 = rig.end();
    judge(&output, faulty);
    if let Some(failed) = failed {
        let failed = failed.load(Ordering::SeqCst);
        println!(
            "{failed} encoders failed, {saves} times the past was saved, {} parts",
            output.parts.len()
        );
        assert!(failed > 0);
    }
    if run != Run::Calm {
        assert!(saves > 1);
        let last = place(&format!("past-{}.mkv", saves - 1));
        file::decodes_without_errors(&last).unwrap();
        let lasts = file::duration(&last).unwrap();
        assert!(lasts > PAST as f64 * 0.9, "{lasts} ns of the past");
    }
    Some(p99)
}

/// One recording: each part starts where the previous one ended, and each existing file is playable.
fn judge(output: &Said, faulty: bool) {
    let counts = ["start", "stop"].map(|name| output.count("main", name));
    assert_eq!(counts, [1, 1], "{:?}", output.events);
    for pair in output.parts.windows(2) {
        let (one, next) = (&pair[0], &pair[1]);
        let gap = next.1.abs_diff(one.1 + one.2);
        assert!(!one.3 || gap < 1_000, "{one:?} {next:?}");
    }
    let there = output.parts.iter().filter(|part| part.0.exists());
    for (path, _, duration, whole) in there {
        if *whole {
            file::decodes_without_errors(path).unwrap();
            let lasts = file::duration(path).unwrap();
            let off = (lasts - *duration as f64).abs();
            assert!(off < 50e6, "{path:?} lasts {lasts} of {duration}");
        }
    }
    let last = &output.parts.last().unwrap().0;
    assert_eq!(
        faulty,
        last.to_string_lossy().contains("fallback"),
        "{last:?}"
    );
    for warning in &output.warnings {
        println!("{warning}");
    }
}

#[test]
fn everything_at_once() {
    init();
    let length = length();
    let Some(calm) = record(length.min(Duration::from_secs(60)) / 2, Run::Calm) else {
        return;
    };
    // In a short run, the times depend on other load.
    let eventful = long().then(|| record(length.min(Duration::from_secs(240)) / 2, Run::Eventful));
    let faulty = record(length, Run::Faulty).unwrap();
    println!(
        "p99 of the pushes of video and audio: {calm:?} with constant input, {faulty:?} with faults"
    );
    if let Some(without) = eventful.flatten() {
        println!("{without:?} without faults");
        for (one, other) in without.iter().zip(&faulty) {
            assert!(*other < *one * 3 / 2, "{without:?} {faulty:?}");
        }
    }
}
