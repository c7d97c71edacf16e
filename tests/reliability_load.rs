//! Overload: slow encoders, many recorders, a day with thousands of pauses.

mod common;

use common::harness::{
    BusMessage, Kind, Recorder, Rig, holds_within, init, make_recorder, media, wait_for,
};
use common::judge::decode;
use common::order::{self, Event, OrderModel};
use common::settings::{long, tenth};
use gst::prelude::*;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A live track pushed by the test, which measures the duration of each push.
struct Paced {
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<Vec<Duration>>>,
}

impl Paced {
    fn new(
        pipeline: &gst::Pipeline,
        recorder: &gst::Element,
        template: &str,
        caps: gst::Caps,
        step: Duration,
        make: impl Fn(u64) -> Vec<u8> + Send + 'static,
    ) -> Self {
        let sink = recorder.request_pad_simple(template).unwrap();
        let source = gst::Pad::builder(gst::PadDirection::Src)
            .query_function(|pad, parent, query| match query.view_mut() {
                gst::QueryViewMut::Latency(latency) => {
                    // How late a busy machine may make it.
                    latency.set(true, 5 * gst::ClockTime::SECOND, gst::ClockTime::NONE);
                    true
                }
                _ => gst::Pad::query_default(pad, parent, query),
            })
            .build();
        source.set_active(true).unwrap();
        source.link(&sink).unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let (ends, pipeline) = (over.clone(), pipeline.clone());
        let thread = std::thread::spawn(move || {
            source.push_event(gst::event::StreamStart::new(&source.name()));
            source.push_event(gst::event::Caps::new(&caps));
            let segment = gst::FormattedSegment::<gst::ClockTime>::new();
            source.push_event(gst::event::Segment::new(&segment));
            let mut took = Vec::new();
            let step_time = gst::ClockTime::from_nseconds(step.as_nanos() as u64);
            let mut n = 0;
            while !ends.load(Ordering::SeqCst) {
                let running = pipeline.current_running_time().unwrap_or_default();
                // A buffer is captured when its time has passed.
                let due = step_time * (n + 1);
                if running < due {
                    std::thread::sleep(Duration::from_nanos((due - running).nseconds()));
                    continue;
                }
                let mut buffer = gst::Buffer::from_mut_slice(make(n));
                let stamps = buffer.get_mut().unwrap();
                stamps.set_pts(step_time * n);
                stamps.set_duration(step_time);
                let before = Instant::now();
                source.push(buffer).unwrap();
                took.push(before.elapsed());
                n += 1;
            }
            took
        });
        Paced {
            over,
            thread: Some(thread),
        }
    }

    /// Ends it, and returns the 99th percentile of the pushes.
    fn p99(mut self) -> Duration {
        self.over.store(true, Ordering::SeqCst);
        let mut took = self.thread.take().unwrap().join().unwrap();
        took.sort();
        took[took.len() * 99 / 100]
    }
}

fn raw_video(width: i32, height: i32) -> gst::Caps {
    gst::Caps::builder("video/x-raw")
        .field("format", "I420")
        .field("width", width)
        .field("height", height)
        .field("framerate", gst::Fraction::new(30, 1))
        .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
        .field("interlace-mode", "progressive")
        .build()
}

fn raw_audio() -> gst::Caps {
    gst::Caps::builder("audio/x-raw")
        .field("format", "S16LE")
        .field("layout", "interleaved")
        .field("rate", 48000i32)
        .field("channels", 1i32)
        .build()
}

/// Produces moving frames, quickly, since only the encoder should be slow.
fn pictures(width: usize, height: usize) -> impl Fn(u64) -> Vec<u8> {
    let luma = width * height;
    let stripes: Vec<u8> = (0..luma + 219).map(|at| (at % 219 + 16) as u8).collect();
    move |n| {
        let from = (3 * n % 219) as usize;
        let mut bytes = stripes[from..from + luma].to_vec();
        bytes.resize(luma * 3 / 2, 128);
        bytes
    }
}

/// Samples that identify their position.
fn counting(n: u64) -> Vec<u8> {
    (n * 480..(n + 1) * 480)
        .flat_map(|sample| ((sample % 30_000) as i16).to_le_bytes())
        .collect()
}

/// A track's buffers: received, encoded, dropped.
fn counts(recorder: &gst::Element, track: &str) -> (u64, u64, u64) {
    let stats: gst::Structure = recorder.property("stats");
    let tracks: gst::Array = stats.get("tracks").unwrap();
    let track = tracks
        .iter()
        .map(|value| value.get::<gst::Structure>().unwrap())
        .find(|entry| entry.get::<String>("pad").unwrap() == track)
        .expect("the track");
    (
        track.get("buffers").unwrap(),
        track.get("encoded").unwrap(),
        track.get("dropped").unwrap(),
    )
}

/// Observations at a slow encoder.
struct Throttled {
    /// Maximum duration of frames queued before it.
    most: AtomicU64,
    /// When each frame was encoded.
    gave: Mutex<Vec<Instant>>,
}

impl Throttled {
    /// The longest encoding time of a frame.
    fn slowest(&self) -> Duration {
        let gave = self.gave.lock().unwrap();
        let took = gave.windows(2).map(|pair| pair[1] - pair[0]);
        took.max().unwrap()
    }
}

/// Makes the video encoder take `per_frame`.
fn throttle(recorder: &gst::Element, per_frame: Duration) -> Arc<Throttled> {
    let throttled = Arc::new(Throttled {
        most: AtomicU64::new(0),
        gave: Mutex::default(),
    });
    let noted = throttled.clone();
    recorder.connect("encoder-setup", false, move |args| {
        let pad: gst::Pad = args[1].get().unwrap();
        let encoder: gst::Element = args[2].get().unwrap();
        if pad.name().starts_with("video") {
            let (weak, noted) = (encoder.downgrade(), noted.clone());
            let source = encoder.static_pad("src").unwrap();
            source.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                std::thread::sleep(per_frame);
                noted.gave.lock().unwrap().push(Instant::now());
                let bin = weak.upgrade().and_then(|encoder| encoder.parent());
                for element in bin.and_downcast::<gst::Bin>().unwrap().children() {
                    let of_pictures = element.name().starts_with("video");
                    if of_pictures && element.type_().name() == "GstAppSrc" {
                        let level: u64 = element.property("current-level-time");
                        noted.most.fetch_max(level, Ordering::SeqCst);
                    }
                }
                gst::PadProbeReturn::Ok
            });
        }
        None
    });
    throttled
}

/// Records audio and video for `time` with an encoder that cannot keep up, and verifies everything.
fn slow_encoder(mime_type: &str, (width, height): (usize, usize), time: Duration, throttled: bool) {
    let rig = Rig::new();
    let encoder = throttle(
        &rig.recorder,
        match throttled {
            // A quarter of real time.
            true => Duration::from_millis(133),
            false => Duration::ZERO,
        },
    );
    let path = rig.path("slow.mkv");
    rig.recorder.set_property("location", &path);
    rig.recorder.set_property("mime-type", mime_type);
    rig.recorder
        .set_property("stop-timeout", 120_000_000_000u64);
    rig.set_state(gst::State::Playing);
    let audio = Paced::new(
        &rig.pipeline,
        &rig.recorder,
        "audio_%u",
        raw_audio(),
        Duration::from_millis(10),
        counting,
    );
    let video = Paced::new(
        &rig.pipeline,
        &rig.recorder,
        "video_%u",
        raw_video(width as i32, height as i32),
        Duration::from_nanos(33_333_333),
        pictures(width, height),
    );
    let came = Arc::<Mutex<Vec<u64>>>::default();
    let log = came.clone();
    let pad = rig.recorder.static_pad("video_0").unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let at = info.buffer().and_then(|buffer| buffer.pts());
        log.lock().unwrap().push(at.unwrap().nseconds());
        gst::PadProbeReturn::Ok
    });
    for pad in rig.recorder.sink_pads() {
        wait_for("caps", || pad.current_caps().is_some());
    }
    // Buffers before the start are not counted: a first one has passed.
    assert!(!holds_within(Duration::from_millis(200), || false));
    rig.recorder.start().unwrap();
    // The duration of the recording: there is no condition to wait for.
    std::thread::sleep(time);
    rig.recorder.stop().unwrap();
    let events = rig.wait_recording(1);
    let (audio, video) = (audio.p99(), video.p99());
    assert!(events.iter().all(|e| e.kind != Kind::Error), "{events:?}");
    assert!(audio < Duration::from_millis(33), "p99 of audio: {audio:?}");
    assert!(video < Duration::from_millis(33), "p99 of video: {video:?}");

    let (buffers, encoded, dropped) = counts(&rig.recorder, "video_0");
    eprintln!(
        "{mime_type}: p99 {audio:?} {video:?}; {buffers} = {encoded} + {dropped}; at most {} ms wait",
        encoder.most.load(Ordering::SeqCst) / 1_000_000
    );
    assert!(dropped > 0, "it was fast enough");
    assert_eq!(buffers, encoded + dropped);
    let reported = rig
        .messages
        .wait("stop", |all| all.iter().any(|e| e.kind == Kind::Stop));
    let cut = |kind| {
        let event = reported.iter().find(|e| e.kind == kind).unwrap();
        event
            .fields
            .as_ref()
            .unwrap()
            .get::<u64>("running-time")
            .unwrap()
    };
    let (start, stop) = (cut(Kind::Start), cut(Kind::Stop));
    let came = came.lock().unwrap().clone();
    // The frame visible at the start is recorded too, from there on.
    let on_show = came.iter().filter(|at| **at <= start).max().unwrap();
    let captured = came.iter().filter(|at| (*on_show..stop).contains(*at));
    assert_eq!(buffers, captured.count() as u64, "of {start} to {stop}");
    let (buffers, _, dropped) = counts(&rig.recorder, "audio_0");
    assert_eq!(dropped, 0, "of {buffers} of audio");
    let warnings: Vec<_> = rig
        .bus
        .all()
        .into_iter()
        .filter(
            |m| matches!(m, BusMessage::Warning { error, .. } if error.message().contains("too slow")),
        )
        .collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    rig.assert_no_bus_error();
    // Queued frames are bounded by max-queue-time, plus a second before there is an encoder; the last one may last
    // another second.
    let most = encoder.most.load(Ordering::SeqCst);
    assert!(most < 4_000_000_000, "{most} ns waited");

    // Audio: every sample of the recorded time, in order, without a gap.
    let file = Path::new(&path);
    let duration = rig.messages.all();
    let duration = duration.iter().find(|e| e.kind == Kind::Stop).unwrap();
    let duration = duration.time("duration");
    let decoded = decode::audio(file, 0, None).unwrap();
    let expected = duration * 48_000 / 1_000_000_000;
    assert!(
        decoded.len().abs_diff(expected) <= 1,
        "{} of {expected}",
        decoded.len()
    );
    assert!(decoded.holes(1.5e6).is_empty());
    let broken = decoded
        .samples
        .windows(2)
        .filter(|pair| {
            let next = ((pair[0] >> 16) + 1) % 30_000;
            pair[1] >> 16 != next
        })
        .count();
    assert_eq!(broken, 0, "samples that do not follow");

    // Video: as evenly as the encoder permits, from the first dropped frame on.
    let times: Vec<f64> = media_times(&path);
    let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let gap = gaps.iter().copied().fold(0.0, f64::max);
    let slowest = encoder.slowest().as_secs_f64();
    eprintln!("the longest gap: {gap:.3} s, the longest for a frame: {slowest:.3} s");
    assert!(gap < 2.0 * slowest + 0.034, "{gaps:?}");
    let later = &gaps[gaps.len() - 10..];
    let longest = later.iter().copied().fold(0.0, f64::max);
    let mean = later.iter().sum::<f64>() / later.len() as f64;
    assert!(
        longest < 4.0 * mean + 0.034,
        "{longest} s at {mean} s in the middle: {later:?}"
    );
    assert!(
        times.last().unwrap() * 1e9 > duration as f64 - 1.5e9,
        "the end: {times:?}"
    );
}

/// Timestamps of the frames, in seconds.
fn media_times(path: &str) -> Vec<f64> {
    let (out, _) = media::run(
        std::process::Command::new("ffprobe")
            .args(["-v", "error", "-select_streams", "v:0"])
            .args(["-show_entries", "packet=pts_time", "-of", "csv=p=0", path]),
    );
    String::from_utf8_lossy(&out)
        .lines()
        .filter_map(|line| line.trim_matches(',').parse().ok())
        .collect()
}

#[test]
fn an_encoder_at_a_quarter_of_real_time_does_no_harm() {
    let time = if long() { 60 } else { 8 };
    slow_encoder(
        "video/x-matroska;codecs=vp8,pcm",
        (160, 120),
        Duration::from_secs(time),
        true,
    );
}

#[test]
fn a_real_encoder_that_is_too_slow_does_no_harm() {
    if !long() {
        return;
    }
    slow_encoder(
        "video/x-matroska;codecs=av1,pcm",
        (1920, 1080),
        Duration::from_secs(20),
        false,
    );
}

#[test]
fn non_live_input_waits_for_a_slow_encoder() {
    let rig = Rig::new();
    let encoder = throttle(&rig.recorder, Duration::from_millis(30));
    rig.recorder.set_property("autostart", true);
    rig.recorder.set_property("max-queue-time", 500_000_000u64);
    let path = rig.path("file.webm");
    rig.recorder.set_property("location", &path);
    let frames = 120;
    let _tracks = [rig.file_video(frames), rig.file_audio(400)];
    rig.play();
    rig.wait_recording(1);
    assert_eq!(media::frames(&path), frames as usize);
    assert_eq!(counts(&rig.recorder, "video_0").2, 0);
    // The track that waits for the other one may have as much again.
    let most = encoder.most.load(Ordering::SeqCst);
    assert!(most < 1_500_000_000, "{most} ns waited");
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Starts, pauses, resumes and stops `count` recorders on one pipeline at the same instant.
fn many(count: usize, line: &str, check: usize) {
    init();
    let folder = tempfile::tempdir().unwrap();
    let pipeline = gst::parse::launch(line).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let recorders: Vec<_> = (0..count)
        .map(|n| {
            let recorder = make_recorder();
            let path = folder.path().join(format!("{n}.mkv"));
            recorder.set_property("location", path.to_str().unwrap());
            recorder.set_property("mime-type", "video/x-matroska");
            pipeline.add(&recorder).unwrap();
            for (tee, template) in [("a", "audio_%u"), ("v", "video_%u")] {
                let tee = pipeline.by_name(tee).unwrap();
                let pad = recorder.request_pad_simple(template).unwrap();
                tee.request_pad_simple("src_%u")
                    .unwrap()
                    .link(&pad)
                    .unwrap();
            }
            (recorder.clone(), order::record_events(&recorder), path)
        })
        .collect();
    pipeline.set_state(gst::State::Playing).unwrap();
    for (recorder, ..) in &recorders {
        for pad in recorder.sink_pads() {
            wait_for("caps", || pad.current_caps().is_some());
        }
    }
    let idle = threads();
    let all = |action: &str| {
        std::thread::scope(|scope| {
            for (recorder, ..) in &recorders {
                scope.spawn(move || recorder.act(action).unwrap());
            }
        });
    };
    let seconds = |n: f64| std::thread::sleep(Duration::from_secs_f64(n));
    all("start");
    seconds(2.5);
    let busy = threads();
    all("pause");
    seconds(0.5);
    all("resume");
    seconds(2.5);
    all("stop");
    for (_, seen, _) in &recorders {
        wait_for("every end", || {
            seen.lock().unwrap().last() == Some(&Event::Stop)
        });
    }
    pipeline.set_state(gst::State::Null).unwrap();
    eprintln!(
        "{count} recorders: {:.1} threads each",
        (busy as f64 - idle as f64) / count as f64
    );
    for (n, (_, seen, path)) in recorders.iter().enumerate() {
        let seen = seen.lock().unwrap();
        assert_eq!(OrderModel::of(&seen).unwrap().recordings, 1);
        assert!(!seen.contains(&Event::Error), "{n}: {seen:?}");
        let path = path.to_str().unwrap();
        if n % count.div_ceil(check) == 0 {
            media::assert_plays(path);
        }
        let media = media::probe(path);
        assert_eq!(media.streams.len(), 2, "{path}");
        // The next keyframe may be up to a second after each start.
        let length = media.duration.unwrap();
        assert!((2.5..7.5).contains(&length), "{path}: {length}");
    }
}

#[test]
fn many_recorders_of_encoded_input() {
    many(
        tenth(100) as usize,
        "audiotestsrc is-live=true samplesperbuffer=480 ! opusenc ! tee name=a \
         videotestsrc is-live=true ! video/x-raw,width=160,height=120,framerate=30/1 \
         ! vp8enc deadline=1 keyframe-max-dist=15 ! tee name=v",
        10,
    );
}

#[test]
fn several_recorders_of_raw_input() {
    let (count, size) = if long() {
        (8, "width=640,height=360")
    } else {
        (4, "width=160,height=90")
    };
    many(
        count,
        &format!(
            "audiotestsrc is-live=true samplesperbuffer=480 ! audio/x-raw,rate=48000 ! tee name=a \
             videotestsrc is-live=true ! video/x-raw,{size},framerate=30/1,format=I420 ! tee name=v"
        ),
        count,
    );
}

/// Anonymous memory of this process in bytes.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .unwrap()
        * 1024
}

/// A day of non-live input: 17.28 s per pause, of which 5.28 s are paused.
#[test]
fn a_day_with_thousands_of_pauses() {
    const RATE: u64 = 1000;
    const SECOND: u64 = 1_000_000_000;
    const FRAME: u64 = SECOND / 2;
    // No rig: it would keep every blob.
    init();
    let folder = tempfile::tempdir().unwrap();
    let pipeline = gst::Pipeline::new();
    let recorder = make_recorder();
    pipeline.add(&recorder).unwrap();
    let ended = Arc::new(Mutex::new(None));
    let noted = ended.clone();
    pipeline.bus().unwrap().set_sync_handler(move |_, message| {
        if let Some(fields) = message
            .structure()
            .filter(|s| s.name() == "mediarecorder-stop")
        {
            *noted.lock().unwrap() = fields.get::<u64>("duration").ok();
        }
        gst::BusSyncReply::Drop
    });
    let seen = order::record_events(&recorder);
    let timecodes = Arc::new(Mutex::new(Vec::new()));
    let noted = timecodes.clone();
    recorder.connect("on-data-available", false, move |args| {
        let sample: gst::Sample = args[1].get().unwrap();
        let buffer = sample.buffer().unwrap();
        noted.lock().unwrap().push(buffer.pts().unwrap().nseconds());
        None
    });
    let path = folder.path().join("day.mkv").to_str().unwrap().to_owned();
    recorder.set_property("location", &path);
    recorder.set_property("mime-type", "video/x-matroska;codecs=vp8,pcm");
    recorder.set_property("timeslice", 600_000u32);
    let pads: Vec<(gst::Pad, gst::Caps)> = [
        (
            "audio_%u",
            gst::Caps::builder("audio/x-raw")
                .field("format", "S16LE")
                .field("layout", "interleaved")
                .field("rate", RATE as i32)
                .field("channels", 1i32)
                .build(),
        ),
        (
            "video_%u",
            gst::Caps::builder("video/x-raw")
                .field("format", "I420")
                .field("width", 16i32)
                .field("height", 16i32)
                .field("framerate", gst::Fraction::new(2, 1))
                .build(),
        ),
    ]
    .into_iter()
    .map(|(template, caps)| {
        let sink = recorder.request_pad_simple(template).unwrap();
        let source = gst::Pad::builder(gst::PadDirection::Src).build();
        source.set_active(true).unwrap();
        source.link(&sink).unwrap();
        (source, caps)
    })
    .collect();
    pipeline.set_state(gst::State::Playing).unwrap();
    for (source, caps) in &pads {
        source.push_event(gst::event::StreamStart::new(&source.name()));
        source.push_event(gst::event::Caps::new(caps));
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        source.push_event(gst::event::Segment::new(&segment));
    }
    let push = |index: usize, at: u64, length: u64, bytes: Vec<u8>| {
        let mut buffer = gst::Buffer::from_mut_slice(bytes);
        let stamps = buffer.get_mut().unwrap();
        stamps.set_pts(gst::ClockTime::from_nseconds(at));
        stamps.set_duration(gst::ClockTime::from_nseconds(length));
        pads[index].0.push(buffer).unwrap();
    };
    let mut now = 0;
    let mut advance = |frames: u64| {
        for _ in 0..frames {
            let samples = RATE * FRAME / SECOND;
            push(
                0,
                now,
                FRAME,
                vec![(now / FRAME % 251) as u8; 2 * samples as usize],
            );
            push(
                1,
                now,
                FRAME,
                vec![(now / FRAME % 219) as u8 + 16; 16 * 16 * 3 / 2],
            );
            now += FRAME;
        }
    };
    recorder.start().unwrap();
    let pauses = tenth(5000);
    let mut half = 0;
    for n in 0..pauses {
        advance(24);
        recorder.pause().unwrap();
        advance(10 + n % 2);
        recorder.resume().unwrap();
        if n == pauses / 2 {
            half = memory();
        }
    }
    advance(24);
    recorder.stop().unwrap();
    let grown = memory().saturating_sub(half);
    let limit = Instant::now() + Duration::from_secs(120);
    while seen.lock().unwrap().last() != Some(&Event::Stop) && Instant::now() < limit {
        std::thread::sleep(Duration::from_millis(10));
    }
    {
        let seen = seen.lock().unwrap();
        assert_eq!(OrderModel::of(&seen).unwrap().recordings, 1);
        let paused = seen.iter().filter(|s| **s == Event::Pause).count() as u64;
        assert_eq!(paused, pauses);
    }
    let recorded = (pauses + 1) * 12 * SECOND;
    wait_for("the end", || ended.lock().unwrap().is_some());
    assert_eq!(*ended.lock().unwrap(), Some(recorded));
    let times = media_times(&path);
    let last = times.last().unwrap() * SECOND as f64 + FRAME as f64;
    let audio = decode::audio(Path::new(&path), 0, None).unwrap();
    let sound_end = audio.time_of(audio.len());
    eprintln!(
        "{} h with {pauses} pauses: audio ends at {sound_end}, video at {last}, {grown} bytes more",
        now / SECOND / 3600
    );
    assert_eq!(audio.len(), recorded * RATE / SECOND);
    assert!(
        (sound_end - last).abs() < FRAME as f64,
        "{sound_end} {last}"
    );
    assert!((last - recorded as f64).abs() < FRAME as f64);
    assert!(grown < 32 << 20, "{grown} bytes more in the second half");
    // A blob per ten minutes of recorded time.
    let timecodes = timecodes.lock().unwrap();
    for (n, timecode) in timecodes.iter().enumerate() {
        let due = n as u64 * 600 * SECOND;
        assert!(timecode.abs_diff(due) <= SECOND, "blob {n} at {timecode}");
    }
    assert_eq!(timecodes.len() as u64, recorded / SECOND / 600 + 1);
    pipeline.set_state(gst::State::Null).unwrap();
}
