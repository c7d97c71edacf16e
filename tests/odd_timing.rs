//! Timing as found in the field: segments, flushes, jumps, missing timestamps, buffer sizes and rates of every
//! kind.

mod common;
mod inputs;

use common::app::{DEADLINE, holds_within};
use common::judge::{decode, file, samples};
use common::signal::{AudioSignal, counted, tag};
use gst::prelude::*;
use gst_video::{VideoFormat, VideoInfo};
use inputs::*;

const HALF: u64 = 24_000;
const WHOLE: u64 = 48_000;

fn segment(start: u64, base: u64, rate: f64) -> gst::FormattedSegment<gst::ClockTime> {
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_rate(rate);
    segment.set_start(gst::ClockTime::from_nseconds(start));
    segment.set_time(gst::ClockTime::from_nseconds(start));
    segment.set_position(gst::ClockTime::from_nseconds(start));
    segment.set_base(gst::ClockTime::from_nseconds(base));
    segment
}

/// The audio and the video of `from` until `to` (multiples of 40 ms), with timestamps `later`, interleaved.
fn both(audio: &Source, frames: &Source, from: u64, to: u64, later: u64) {
    for n in from / (10 * MILLI)..to / (10 * MILLI) {
        audio.push(stamped(
            tick(n),
            Some(n * 10 * MILLI + later),
            Some(10 * MILLI),
        ));
        if n % 4 == 0 {
            let frame = shot(&small(), n * 10 * MILLI);
            frames.push(stamped(frame, Some(n * 10 * MILLI + later), Some(FRAME)));
        }
    }
}

fn pair(take: &Take) -> (Source, Source) {
    (
        take.audio(&stereo(48_000), None),
        take.video(&small(), None),
    )
}

#[track_caller]
fn end(take: &Take, audio: &Source, frames: &Source) {
    audio.end();
    frames.end();
    take.wrap();
    take.decodes_without_errors();
}

/// The frames visible from each second of recorded time on, at 25 per second, start at these times.
#[track_caller]
fn assert_seconds(take: &Take, sources: &[u64]) {
    let seen = take.seen();
    let expected: Vec<_> = (0u64..)
        .zip(sources)
        .flat_map(|(n, source)| {
            (0..25u64).map(move |k| (n * 1000 + k * 40, Some(source / MILLI + k * 40)))
        })
        .collect();
    assert_eq!(seen, expected);
}

#[test]
fn a_segment_that_does_not_start_at_zero() {
    let take = Take::new(BOTH);
    let (audio, video) = pair(&take);
    for source in [&audio, &video] {
        source.segment(&segment(10 * SECOND + 5 * MILLI, 0, 1.0));
    }
    take.roll();
    // The second half of the first buffer is inside the segment.
    both(&audio, &video, 0, SECOND, 10 * SECOND);
    end(&take, &audio, &video);
    let (runs, length) = runs(&take.heard(0));
    assert_eq!((runs, length), (vec![(0, 240, WHOLE - 240)], WHOLE - 240));
    let seen = take.seen();
    assert_eq!(seen[..2], [(0, Some(0)), (35, Some(40))]);
}

#[test]
fn contiguous_segments() {
    let take = Take::new(BOTH);
    let (audio, video) = pair(&take);
    take.roll();
    both(&audio, &video, 0, SECOND, 0);
    for source in [&audio, &video] {
        source.segment(&segment(5 * SECOND, SECOND, 1.0));
    }
    both(&audio, &video, 5 * SECOND, 6 * SECOND, 0);
    end(&take, &audio, &video);
    assert_eq!(
        runs(&take.heard(0)).0,
        [(0, 0, WHOLE), (WHOLE, 5 * WHOLE, WHOLE)]
    );
    assert_seconds(&take, &[0, 5 * SECOND]);
}

#[test]
fn segments_that_restart_at_zero_continue() {
    let take = Take::new(BOTH);
    let (audio, video) = pair(&take);
    take.roll();
    for round in 0..3 {
        if round > 0 {
            video.segment(&segment(0, 0, 1.0));
            audio.segment(&segment(0, 0, 1.0));
        }
        both(&audio, &video, 0, SECOND, 0);
    }
    end(&take, &audio, &video);
    let runs = runs(&take.heard(0)).0;
    assert_eq!(
        runs,
        [(0, 0, WHOLE), (WHOLE, 0, WHOLE), (2 * WHOLE, 0, WHOLE)]
    );
    assert_seconds(&take, &[0, 0, 0]);
}

/// Edit lists, priming: the tracks stay together, although one of them was shorter before.
#[test]
fn segments_that_restart_behind_their_first_buffer_continue() {
    let take = Take::new(BOTH);
    let (audio, video) = pair(&take);
    take.roll();
    both(&audio, &video, 0, 920 * MILLI, 0);
    for n in 23..25 {
        video.push(stamped(
            shot(&small(), n * FRAME),
            Some(n * FRAME),
            Some(FRAME),
        ));
    }
    audio.segment(&segment(5 * MILLI, 0, 1.0));
    video.segment(&segment(0, 0, 1.0));
    both(&audio, &video, 0, SECOND, 0);
    end(&take, &audio, &video);
    let (short, part) = (WHOLE * 92 / 100, WHOLE - 240);
    assert_eq!(runs(&take.heard(0)).0, [(0, 0, short), (WHOLE, 240, part)]);
    assert_seconds(&take, &[0, 0]);
}

#[test]
fn a_gap_event_for_decades_is_ignored() {
    let take = Take::new(BOTH);
    let (audio, video) = pair(&take);
    take.roll();
    both(&audio, &video, 0, SECOND, 0);
    audio.gap(SECOND, 60 * 365 * 86_400 * SECOND);
    take.app.act("pause");
    both(&audio, &video, SECOND, 2 * SECOND, 0);
    take.app.act("resume");
    both(&audio, &video, 2 * SECOND, 3 * SECOND, 0);
    end(&take, &audio, &video);
    assert_eq!(
        runs(&take.heard(0)).0,
        [(0, 0, WHOLE), (WHOLE, 2 * WHOLE, WHOLE)]
    );
}

#[test]
fn the_same_segment_again_changes_nothing() {
    let take = Take::new(BOTH);
    let (audio, video) = pair(&take);
    take.roll();
    both(&audio, &video, 0, SECOND, 0);
    audio.segment(&segment(0, 0, 1.0));
    video.segment(&segment(0, 0, 1.0));
    both(&audio, &video, SECOND, 2 * SECOND, 0);
    end(&take, &audio, &video);
    assert_eq!(runs(&take.heard(0)).0, [(0, 0, 2 * WHOLE)]);
    assert_seconds(&take, &[0, SECOND]);
}

#[test]
fn recording_continues_after_a_flush() {
    let take = Take::new(BOTH);
    let (audio, video) = pair(&take);
    take.roll();
    both(&audio, &video, 0, SECOND, 0);
    for at in [30, 7] {
        for source in [&video, &audio] {
            source.event(gst::event::FlushStart::new());
            source.event(gst::event::FlushStop::new(true));
            source.segment(&segment(at * SECOND, 0, 1.0));
        }
        both(&audio, &video, at * SECOND, (at + 1) * SECOND, 0);
    }
    end(&take, &audio, &video);
    assert_eq!(
        runs(&take.heard(0)).0,
        [
            (0, 0, WHOLE),
            (WHOLE, 30 * WHOLE, WHOLE),
            (2 * WHOLE, 7 * WHOLE, WHOLE)
        ]
    );
    assert_seconds(&take, &[0, 30 * SECOND, 7 * SECOND]);
}

#[test]
fn recording_continues_after_a_seek_in_a_file() {
    let take = Take::new(WAV);
    let source = take.app.source(
        "audiotestsrc num-buffers=100 samplesperbuffer=480 ! \
         audio/x-raw,format=S16LE,rate=48000,channels=2,layout=interleaved",
    );
    // Numbered by stream time: the position in the file.
    source.add_probe(gst::PadProbeType::BUFFER, |_, probe| {
        let buffer = probe.buffer_mut().unwrap().make_mut();
        let first = (buffer.pts().unwrap().nseconds() * 48 + MILLI / 2) / MILLI;
        let mut map = buffer.map_writable().unwrap();
        counted::fill(&stereo(48_000), first, &mut map);
        gst::PadProbeReturn::Ok
    });
    let seen = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let pad = take.app.pad("audio_%u");
    source.link(&pad).unwrap();
    let late = seen.clone();
    let hold = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let held = hold.clone();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, probe| {
        let pts = probe.buffer().unwrap().pts().unwrap();
        if pts == gst::ClockTime::from_mseconds(500)
            && held.load(std::sync::atomic::Ordering::SeqCst)
        {
            late.store(true, std::sync::atomic::Ordering::SeqCst);
            // The source waits here until the flush; this buffer is flushed.
            holds_within(DEADLINE, || !held.load(std::sync::atomic::Ordering::SeqCst));
        }
        gst::PadProbeReturn::Ok
    });
    // Before any data flows: this source does not wait.
    take.app.set_state(gst::State::Paused);
    take.app.act("start");
    take.app.set_state(gst::State::Playing);
    assert!(holds_within(DEADLINE, || seen.load(std::sync::atomic::Ordering::SeqCst)));
    let seeker = {
        let pipeline = take.app.pipeline.clone();
        std::thread::spawn(move || {
            pipeline.seek_simple(gst::SeekFlags::FLUSH, gst::ClockTime::from_mseconds(800))
        })
    };
    let flushing = || pad.pad_flags().contains(gst::PadFlags::FLUSHING);
    assert!(holds_within(DEADLINE, flushing));
    hold.store(false, std::sync::atomic::Ordering::SeqCst);
    seeker.join().unwrap().unwrap();
    take.wrap();
    let runs = runs(&take.heard(0)).0;
    assert_eq!(runs[0], (0, 0, HALF));
    assert_eq!((runs[1].0, runs[1].1), (HALF, 800 * 48));
}

#[test]
fn double_speed_takes_half_the_time() {
    let take = Take::new(BOTH);
    let (audio, video) = pair(&take);
    take.roll();
    both(&audio, &video, 0, SECOND, 0);
    for source in [&audio, &video] {
        source.segment(&segment(SECOND, SECOND, 2.0));
    }
    both(&audio, &video, SECOND, 3 * SECOND, 0);
    end(&take, &audio, &video);
    assert!((take.length() - 2.0).abs() < 0.01, "{}", take.length());
    let seen = take.seen();
    assert_eq!(seen.len(), 75);
    assert_eq!(
        seen[24..28],
        [
            (960, Some(960)),
            (1000, Some(1000)),
            (1020, Some(1040)),
            (1040, Some(1080)),
        ]
    );
    let decoded = decode::audio(&take.path, 0, None).unwrap();
    assert!(decoded.len().abs_diff(2 * WHOLE) < 96, "{}", decoded.len());
    let fast = &decoded.samples[2 * 48_100..];
    let silent = fast.chunks(2).filter(|s| s[0] == 0 && s[1] == 0).count();
    assert!(silent < 100, "{silent} silent samples");
}

#[test]
fn a_jump_forward_is_a_gap_and_a_jump_back_is_not_recorded_twice() {
    let take = Take::new(BOTH);
    let (audio, video) = pair(&take);
    take.roll();
    both(&audio, &video, 0, SECOND, 0);
    both(&audio, &video, 2 * SECOND, 3 * SECOND, 0);
    // Restarts at one second, which is accepted after a second: what has been recorded remains.
    both(&audio, &video, SECOND, 6 * SECOND, 0);
    end(&take, &audio, &video);
    let (runs, length) = runs(&take.heard(0));
    assert_eq!(runs[..2], [(0, 0, WHOLE), (2 * WHOLE, 2 * WHOLE, WHOLE)]);
    assert_eq!(length, 6 * WHOLE);
    let last = runs.last().unwrap();
    assert_eq!((last.0, last.0 + last.2), (last.1, 6 * WHOLE), "{runs:?}");
    assert!(last.0 <= 4 * WHOLE + 480, "{runs:?}");
    for (recorded, source) in take.seen() {
        assert_eq!(Some(recorded), source);
    }
}

#[test]
fn buffers_without_timestamps_are_contiguous() {
    let take = Take::new(BOTH);
    let (audio, video) = pair(&take);
    take.roll();
    for n in 0..100 {
        audio.push(stamped(tick(n), None, None));
        if n % 4 == 0 {
            video.push(stamped(shot(&small(), n * 10 * MILLI), None, None));
        }
    }
    end(&take, &audio, &video);
    assert_eq!(runs(&take.heard(0)), (vec![(0, 0, WHOLE)], WHOLE));
    assert_seconds(&take, &[0]);
}

#[test]
fn live_buffers_without_timestamps_are_placed_by_arrival() {
    let take = Take::new(BOTH);
    take.app
        .recorder
        .set_property("max-queue-time", 3600 * SECOND);
    let clock = gst_check::TestClock::new();
    take.app.pipeline.use_clock(Some(&clock));
    let audio = take.audio(&stereo(48_000), Some(0));
    let video = take.video(&small(), Some(0));
    // It runs for a long time before data arrives.
    take.app.set_state(gst::State::Playing);
    clock.set_time(gst::ClockTime::from_seconds(100));
    take.app.act("start");
    for n in 0..100 {
        clock.set_time(gst::ClockTime::from_seconds(100) + gst::ClockTime::from_mseconds(10 * n));
        if n % 4 == 0 {
            video.push(stamped(shot(&small(), n * 10 * MILLI), None, None));
        }
        clock.set_time(
            gst::ClockTime::from_seconds(100) + gst::ClockTime::from_mseconds(10 * n + 10),
        );
        audio.push(stamped(tick(n), None, None));
    }
    take.app.act("stop");
    take.wrap();
    assert_eq!(runs(&take.heard(0)), (vec![(0, 0, WHOLE)], WHOLE));
    assert_seconds(&take, &[0]);
}

#[test]
fn durations_of_zero_and_none() {
    for duration in [Some(0), None] {
        let take = Take::new(BOTH);
        let (audio, video) = pair(&take);
        take.roll();
        for n in 0..100 {
            audio.push(stamped(tick(n), Some(n * 10 * MILLI), duration));
            if n % 4 == 0 {
                let frame = shot(&small(), n * 10 * MILLI);
                video.push(stamped(frame, Some(n * 10 * MILLI), duration));
            }
        }
        end(&take, &audio, &video);
        assert_eq!(runs(&take.heard(0)), (vec![(0, 0, WHOLE)], WHOLE));
        assert_seconds(&take, &[0]);
    }
}

#[test]
fn buffers_of_one_sample_and_of_ten_seconds() {
    let take = Take::new(WAV);
    let audio = take.audio(&stereo(48_000), None);
    take.roll();
    for n in 0..4800 {
        audio.push(counted::buffer(&stereo(48_000), n, 1));
    }
    audio.push(counted::buffer(&stereo(48_000), 4800, 480_000));
    audio.push(counted::buffer(&stereo(48_000), 484_800, 480_000));
    // Ten seconds are missing.
    audio.push(counted::buffer(&stereo(48_000), 1_444_800, 480_000));
    audio.end();
    take.wrap();
    assert_eq!(
        runs(&take.heard(0)),
        (
            vec![(0, 0, 964_800), (1_444_800, 1_444_800, 480_000)],
            1_924_800
        )
    );
}

#[test]
fn buffer_lists() {
    let take = Take::new(WAV);
    let audio = take.audio(&stereo(48_000), None);
    take.roll();
    for list in 0..10 {
        let buffers: gst::BufferList = (list * 10..list * 10 + 10).map(tick).collect();
        audio.pad.push_list(buffers).unwrap();
    }
    audio.end();
    take.wrap();
    assert_eq!(runs(&take.heard(0)), (vec![(0, 0, WHOLE)], WHOLE));
}

#[test]
fn one_frame_in_ten_seconds() {
    let take = Take::new(BOTH);
    let (audio, video) = pair(&take);
    take.roll();
    for n in 0..3100 {
        audio.push(tick(n));
        if n % 1000 == 0 {
            video.push(stamped(
                shot(&small(), n * 10 * MILLI),
                Some(n * 10 * MILLI),
                None,
            ));
        }
    }
    end(&take, &audio, &video);
    assert_eq!(
        take.seen(),
        [
            (0, Some(0)),
            (10_000, Some(10_000)),
            (20_000, Some(20_000)),
            (30_000, Some(30_000))
        ]
    );
    assert!((take.length() - 31.0).abs() < 0.002, "{}", take.length());
}

#[test]
fn a_rarely_changing_screen_is_recorded_from_start_to_end() {
    let take = Take::new(PICTURES);
    take.app.recorder.set_property("timeslice", 500u32);
    let screen = take.video(&small(), Some(0));
    take.app.set_state(gst::State::Playing);
    // Long before the start, and then no more.
    screen.push(shot(&small(), 0));
    take.app.wait_running_time(600 * MILLI);
    take.app.act("start");
    take.app.wait_running_time(3600 * MILLI);
    let blobs = take
        .app
        .events()
        .iter()
        .filter(|h| h.name == "data-available")
        .count();
    assert!(blobs >= 3, "{blobs} blobs in 3 s");
    screen.push(stamped(
        shot(&small(), 3600 * MILLI),
        Some(3600 * MILLI),
        None,
    ));
    take.app.wait_running_time(4100 * MILLI);
    take.app.act("stop");
    take.wrap();
    let kept = take.app.kept();
    let seen = take.seen();
    let second = (3600 * MILLI - kept.intervals[0].0) as f64 / 1e6;
    assert_eq!((seen.len(), seen[0]), (2, (0, Some(0))), "{seen:?}");
    assert!(
        (seen[1].0 as f64 - second).abs() < 1.1 && seen[1].1 == Some(3600),
        "{seen:?}"
    );
    let length = kept.total() as f64 / 1e9;
    assert!(
        (take.length() - length).abs() < 0.01,
        "{} for {length}",
        take.length()
    );
}

#[test]
fn a_thousand_frames_per_second() {
    let info = VideoInfo::builder(VideoFormat::I420, 64, 64)
        .fps(gst::Fraction::new(1000, 1))
        .build();
    common::app::init();
    let info = info.unwrap();
    let take = Take::new(PICTURES);
    let video = take.video(&info, None);
    take.roll();
    for n in 0..1000 {
        video.push(stamped(
            shot(&info, n * MILLI),
            Some(n * MILLI),
            Some(MILLI),
        ));
    }
    video.end();
    take.wrap();
    let expected: Vec<_> = (0..1000).map(|n| (n, Some(n))).collect();
    assert_eq!(take.seen(), expected);
}

#[test]
fn interlaced_video() {
    for mime in [
        PICTURES,
        "video/x-matroska;codecs=avc1",
        "video/webm;codecs=vp9",
    ] {
        common::app::init();
        let info = VideoInfo::builder(VideoFormat::I420, 160, 120)
            .fps(gst::Fraction::new(25, 1))
            .interlace_mode(gst_video::VideoInterlaceMode::Interleaved)
            .field_order(gst_video::VideoFieldOrder::TopFieldFirst)
            .build()
            .unwrap();
        let take = Take::new(mime);
        let video = take.video(&info, None);
        take.roll();
        for n in 0..25 {
            video.push(shot(&info, n * FRAME));
        }
        video.end();
        take.wrap();
        assert_seconds(&take, &[0]);
    }
}

#[test]
fn every_sample_rate_is_recorded_completely() {
    for rate in [
        8_000u32, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000,
    ] {
        let take = Take::new(WAV);
        let info = stereo(rate);
        let audio = take.audio(&info, None);
        take.roll();
        for n in 0..100 {
            audio.push(counted::buffer(&info, n * 441, 441));
        }
        audio.end();
        take.wrap();
        assert_eq!(
            runs(&take.heard(0)),
            (vec![(0, 0, 44_100)], 44_100),
            "{rate}"
        );

        let take = Take::new("audio/webm;codecs=opus");
        let audio = take.audio(&info, None);
        take.roll();
        for n in 0..100 {
            audio.push(hiss(
                &info,
                n * u64::from(rate) / 100,
                u64::from(rate) / 100,
            ));
        }
        audio.end();
        take.wrap();
        let decoded = decode::audio(&take.path, 0, None).unwrap();
        assert_eq!(decoded.rate, 48_000);
        assert!(
            decoded.len().abs_diff(48_000) <= 960,
            "{rate}: {}",
            decoded.len()
        );
    }
}

/// Records a `gst-launch` line until EOS.
fn line(mime: &str, description: &str, template: &str) -> Take {
    let take = Take::new(mime);
    let source = take.app.source(description);
    source.link(&take.app.pad(template)).unwrap();
    take.app.recorder.set_property("autostart", true);
    take.app.set_state(gst::State::Playing);
    take.wrap();
    take
}

#[test]
fn one_to_eight_channels() {
    for (channels, mask) in [
        (1, 0u64),
        (2, 3),
        (3, 7),
        (4, 0x33),
        (5, 0x37),
        (6, 0x3f),
        (7, 0xd0f),
        (8, 0xc3f),
    ] {
        let caps = match channels {
            1 => "channels=1".to_owned(),
            _ => format!("channels={channels},channel-mask=(bitmask)0x{mask:x}"),
        };
        let source = format!(
            "audiotestsrc num-buffers=50 samplesperbuffer=480 ! \
             audio/x-raw,format=S16LE,rate=48000,layout=interleaved,{caps}"
        );
        for mime in [WAV, "audio/webm;codecs=opus"] {
            let take = line(mime, &source, "audio_%u");
            let decoded = decode::audio(&take.path, 0, None).unwrap();
            assert_eq!(decoded.channels, channels, "{channels} channels in {mime}");
            assert!(decoded.len().abs_diff(HALF) <= 960, "{}", decoded.len());
            let loud = decoded
                .samples
                .iter()
                .map(|s| s.unsigned_abs())
                .max()
                .unwrap();
            assert!(loud > 1 << 29, "{channels} channels in {mime} are quiet");
        }
    }
}

/// The formats in an element's source pad template.
fn formats_of(element: &str) -> Vec<String> {
    common::app::init();
    let element = gst::ElementFactory::make(element).build().unwrap();
    let caps = element.static_pad("src").unwrap().pad_template_caps();
    let mut formats: Vec<String> = caps
        .iter()
        .filter(|s| s.name().ends_with("/x-raw"))
        .filter_map(|s| match s.get::<gst::List>("format") {
            Ok(list) => Some(list.iter().filter_map(|f| f.get().ok()).collect()),
            Err(_) => Some(vec![s.get::<String>("format").ok()?]),
        })
        .flat_map(|formats: Vec<String>| formats)
        .collect();
    formats.sort();
    formats.dedup();
    formats
}

#[test]
fn every_audio_format() {
    let formats = formats_of("audiotestsrc");
    assert!(formats.len() > 10, "{formats:?}");
    for format in formats {
        for layout in ["interleaved", "non-interleaved"] {
            let source = format!(
                "audiotestsrc num-buffers=20 samplesperbuffer=480 ! audio/x-raw,format={format},\
                 rate=48000,channels=2,layout={layout}"
            );
            let take = line(WAV, &source, "audio_%u");
            let decoded = decode::audio(&take.path, 0, None).unwrap();
            assert_eq!(decoded.len(), 9600, "{format} {layout}");
            let loud = decoded
                .samples
                .iter()
                .map(|s| s.unsigned_abs())
                .max()
                .unwrap();
            let expected = 0.8 * f64::from(i32::MAX);
            assert!(
                (f64::from(loud) / expected - 1.0).abs() < 0.02,
                "{format} {layout}: {loud}"
            );
        }
    }
}

#[test]
fn every_video_format() {
    let formats = formats_of("videotestsrc");
    assert!(formats.len() > 50, "{formats:?}");
    for format in formats {
        let source = format!(
            "videotestsrc num-buffers=3 pattern=white ! \
             video/x-raw,format={format},width=64,height=48,framerate=25/1"
        );
        let take = line(PICTURES, &source, "video_%u");
        let frames = luma(&take.path, "null", (64, 48));
        assert_eq!(frames.len(), 3, "{format}");
        for frame in frames {
            let bright = frame.iter().filter(|p| **p > 200).count();
            assert!(
                bright > 64 * 48 * 9 / 10,
                "{format}: {bright} of {}",
                frame.len()
            );
        }
    }
}

/// A sound card whose clock is 100 ppm slow or fast relative to the pipeline's, for an hour.
fn an_hour_of_drift(second: u64) {
    const RATE: u64 = 8_000;
    let take = Take::new(BOTH);
    let info = stereo(8_000);
    let audio = take.audio(&info, None);
    let video = take.video(&small(), None);
    take.roll();
    for n in 0..3600 {
        for part in 0..5 {
            let at = n * second + part * second / 5;
            let buffer = counted::buffer(&info, n * RATE + part * RATE / 5, RATE / 5);
            audio.push(stamped(buffer, Some(at), None));
        }
        if n % 10 == 0 {
            video.push(stamped(shot(&small(), n * second), Some(n * second), None));
        }
    }
    end(&take, &audio, &video);
    let spans = take.heard(0);
    let mut heard = 0;
    for span in &spans {
        let samples::Content::Source(first) = span.content else {
            continue;
        };
        heard += span.len();
        for (recorded, index) in [
            (span.recorded.start, first),
            (span.recorded.end - 1, first + span.len() - 1),
        ] {
            let at = recorded as f64 / RATE as f64;
            let expected = index as f64 / RATE as f64 * second as f64 / 1e9;
            // The tolerance is 40 ms for a second.
            assert!(
                (at - expected).abs() < 0.042,
                "sample {index} at {at}, expected at {expected}"
            );
        }
    }
    assert!(heard > 3599 * RATE, "{heard}");
    assert!(spans.len() < 40, "{} seams", spans.len());
    let last = spans.last().unwrap().recorded.end as f64 / RATE as f64;
    let expected = 3600.0 * second as f64 / 1e9;
    assert!(
        (last - expected).abs() < 0.042,
        "audio ends at {last}, expected {expected}"
    );
    assert!(
        (take.length() - expected).abs() < 0.042,
        "{}",
        take.length()
    );
    for (recorded, source) in take.seen() {
        assert!(recorded.abs_diff(source.unwrap()) <= 1);
    }
}

#[test]
fn an_hour_of_a_slow_sound_card() {
    an_hour_of_drift(SECOND + 100_000);
}

#[test]
fn an_hour_of_a_fast_sound_card() {
    an_hour_of_drift(SECOND - 100_000);
}

#[test]
fn recording_continues_with_a_new_base_time() {
    let take = Take::new(BOTH);
    take.app
        .recorder
        .set_property("max-queue-time", 3600 * SECOND);
    let clock = gst_check::TestClock::new();
    take.app.pipeline.use_clock(Some(&clock));
    let audio = take.audio(&stereo(48_000), Some(0));
    let video = take.video(&small(), Some(0));
    take.app.set_state(gst::State::Playing);
    let mut base = 0;
    for n in 0..300u64 {
        let now = n * 10 * MILLI;
        clock.set_time(gst::ClockTime::from_nseconds(now));
        match n {
            20 => {
                take.app.act("start");
            }
            // Running time is 0 again, and far ahead later.
            100 => base = now as i64,
            200 => base = 0,
            _ => (),
        }
        if n == 100 || n == 200 {
            let base = gst::ClockTime::from_nseconds(base as u64);
            take.app.recorder.set_base_time(base);
        }
        let running = (now as i64 - base) as u64;
        if n % 4 == 0 {
            video.push(stamped(shot(&small(), now), Some(running), Some(FRAME)));
        }
        clock.set_time(gst::ClockTime::from_nseconds(now + 10 * MILLI));
        audio.push(stamped(tick(n), Some(running), Some(10 * MILLI)));
    }
    take.app.act("stop");
    take.wrap();
    let samples = 280 * 480;
    assert_eq!(
        runs(&take.heard(0)),
        (vec![(0, 20 * 480, samples)], samples)
    );
    for (recorded, source) in take.seen() {
        assert_eq!(Some(recorded + 200), source);
    }
}

/// With `pre-record-time` the base time changes in PLAYING, and in PAUSED: a recording that starts before all that
/// has no gap.
#[test]
fn the_past_continues_with_a_new_base_time() {
    let take = Take::new(BOTH);
    let recorder = &take.app.recorder;
    recorder.set_property("max-queue-time", 3600 * SECOND);
    recorder.set_property("pre-record-time", 1500 * MILLI);
    let clock = gst_check::TestClock::new();
    take.app.pipeline.use_clock(Some(&clock));
    // For applications that set the base time themselves.
    take.app.pipeline.set_start_time(gst::ClockTime::NONE);
    take.app.pipeline.set_base_time(gst::ClockTime::ZERO);
    let audio = take.audio(&stereo(48_000), Some(0));
    let video = take.video(&small(), Some(0));
    take.app.set_state(gst::State::Playing);
    let mut base = 0;
    for n in 0..300u64 {
        let now = n * 10 * MILLI;
        clock.set_time(gst::ClockTime::from_nseconds(now));
        // Running time is 0 again, far ahead later, and 0 again.
        let moved = match n {
            100 | 200 => Some(now),
            150 => Some(0),
            _ => None,
        };
        if let Some(moved) = moved {
            base = moved;
            let time = gst::ClockTime::from_nseconds(base);
            if n == 200 {
                take.app.set_state(gst::State::Paused);
                take.app.pipeline.set_base_time(time);
                take.app.set_state(gst::State::Playing);
            } else {
                take.app.recorder.set_base_time(time);
            }
        }
        if n == 250 {
            take.app.act("start");
        }
        let running = now - base;
        if n % 4 == 0 {
            video.push(stamped(shot(&small(), now), Some(running), Some(FRAME)));
        }
        clock.set_time(gst::ClockTime::from_nseconds(now + 10 * MILLI));
        audio.push(stamped(tick(n), Some(running), Some(10 * MILLI)));
    }
    take.app.act("stop");
    take.wrap();
    let kept = take.app.kept();
    // The keyframe at or before 1 s.
    let begin = kept.intervals[0].0 / MILLI;
    assert_eq!((begin, kept.intervals.len()), (520, 1), "{kept:?}");
    let samples = (3000 - begin) * 48;
    assert_eq!(
        runs(&take.heard(0)),
        (vec![(0, begin * 48, samples)], samples)
    );
    for (recorded, source) in take.seen() {
        assert_eq!(Some(recorded + begin), source);
    }
}

#[test]
fn recording_continues_after_the_pipeline_was_paused() {
    let take = Take::new(WAV);
    let source = take.app.source(
        "audiotestsrc is-live=true samplesperbuffer=480 ! \
         audio/x-raw,format=S16LE,rate=48000,channels=2,layout=interleaved",
    );
    let clock = tag::audio(&source, AudioSignal::Counted, 48_000);
    source.link(&take.app.pad("audio_%u")).unwrap();
    take.app.set_state(gst::State::Playing);
    assert!(holds_within(DEADLINE, || clock.has_started()));
    take.app.act("start");
    take.app
        .wait_running_time(take.app.running_time() + 500 * MILLI);
    take.app.set_state(gst::State::Paused);
    let _ = take.app.pipeline.state(gst::ClockTime::from_seconds(5));
    let asleep = std::time::Instant::now();
    assert!(holds_within(DEADLINE, || asleep.elapsed().as_millis() > 700));
    take.app.set_state(gst::State::Playing);
    let _ = take.app.pipeline.state(gst::ClockTime::from_seconds(5));
    take.app
        .wait_running_time(take.app.running_time() + 500 * MILLI);
    take.app.act("stop");
    take.wrap();
    let kept = take.app.kept();
    let spans = take.heard(0);
    let (_, length) = runs(&spans);
    assert!(length.abs_diff(kept.total() * 48 / MILLI) <= 1);
    assert!(kept.total() < 1400 * MILLI, "{}", kept.total());
    for span in spans {
        if let samples::Content::Source(first) = span.content {
            let exact = clock.time_of(first) - kept.intervals[0].0 as f64;
            let off = span.recorded.start as f64 / 48e-6 - exact;
            // A source may restart slightly before its last position: that is jitter.
            assert!(off.abs() < 40e6, "{span:?} is {off} ns off");
        }
    }
    file::decodes_without_errors(&take.path).unwrap();
}
