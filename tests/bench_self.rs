//! Tests of the test signals and judges, without the recorder: they verify what they wrote, and detect what was
//! corrupted.

mod common;

use common::app::holds_within;
use common::judge::{decode, file, kept::Kept, position, samples, sync, whole};
use common::signal::tag::{self, FrameLog, SampleClock};
use common::signal::{AudioSignal, counted, feed, frame, noise};
use common::thread_time::ThreadTime;
use gst::prelude::*;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SECOND: u64 = 1_000_000_000;
const MILLI: u64 = 1_000_000;

/// A pipeline from a `gst-launch` description; elements named `sound` and `frames` are tagged.
struct Made {
    pipeline: gst::Pipeline,
    directory: tempfile::TempDir,
}

impl Made {
    fn new(description: &str) -> Self {
        gst::init().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let description =
            description.replace("OUT", directory.path().join("out").to_str().unwrap());
        let pipeline = gst::parse::launch(&description)
            .unwrap()
            .downcast::<gst::Pipeline>()
            .unwrap();
        Self {
            pipeline,
            directory,
        }
    }

    fn pad(&self, element: &str) -> gst::Pad {
        let element = self.pipeline.by_name(element).unwrap();
        element.static_pad("src").unwrap()
    }

    fn sound(&self, signal: AudioSignal, rate: u32) -> SampleClock {
        tag::audio(&self.pad("sound"), signal, rate)
    }

    fn frames(&self) -> FrameLog {
        tag::video(&self.pad("pictures"))
    }

    fn out(&self) -> PathBuf {
        self.directory.path().join("out")
    }

    /// Plays to EOS.
    fn run(&self) -> PathBuf {
        self.pipeline.set_state(gst::State::Playing).unwrap();
        self.end();
        self.out()
    }

    fn end(&self) {
        let message = self.pipeline.bus().unwrap().timed_pop_filtered(
            gst::ClockTime::from_seconds(60),
            &[gst::MessageType::Eos, gst::MessageType::Error],
        );
        self.pipeline.set_state(gst::State::Null).unwrap();
        let message = message.expect("an end within a minute");
        assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

fn wav(format: &str, rate: u32, channels: u32, extra: &str) -> Made {
    Made::new(&format!(
        "audiotestsrc name=source samplesperbuffer=777 num-buffers=200 {extra} ! \
         audio/x-raw,format={format},rate={rate},channels={channels} ! identity name=sound ! \
         wavenc ! filesink location=OUT"
    ))
}

fn spans_of(file: &Path) -> Vec<samples::AudioSpan> {
    samples::spans(&decode::audio(file, 0, None).unwrap())
}

#[test]
fn every_sample_of_a_wav_is_identified() {
    for (format, rate, channels) in [
        ("S16LE", 48000, 2),
        ("S16LE", 44100, 2),
        ("S32LE", 44100, 1),
    ] {
        let made = wav(format, rate, channels, "");
        let clock = made.sound(AudioSignal::Counted, rate);
        let file = made.run();
        let length = 200 * 777;
        assert_eq!(
            spans_of(&file),
            [samples::AudioSpan {
                recorded: 0..length,
                content: samples::Content::Source(0)
            }],
            "{format} {rate} {channels}"
        );
        assert_eq!(clock.discontinuities(), 0);
        let kept = Kept {
            intervals: vec![(0, length * SECOND / u64::from(rate))],
        };
        let audio = decode::audio(&file, 0, None).unwrap();
        let exactness = samples::check_continuous(&audio, &kept, &clock).unwrap();
        assert!(exactness.worst_place.abs() < 0.01, "{exactness:?}");
        assert!((file::duration(&file).unwrap() - kept.total() as f64).abs() < 1000.0);
        file::decodes_without_errors(&file).unwrap();
    }
}

#[test]
fn a_live_test_source_is_identified_at_its_own_timestamps() {
    let made = wav("S16LE", 48000, 2, "is-live=true");
    let clock = made.sound(AudioSignal::Counted, 48000);
    made.pipeline.set_state(gst::State::Playing).unwrap();
    assert!(holds_within(Duration::from_secs(20), || clock.has_started()));
    made.end();
    let spans = spans_of(&made.out());
    assert_eq!(spans.len(), 1, "{spans:?}");
    assert_eq!(clock.discontinuities(), 0);
    let samples::Content::Source(first) = spans[0].content else {
        panic!("{spans:?}");
    };
    // Its first timestamp is when it started: arbitrary.
    let place = clock.time_of(first) * 48000.0 / 1e9;
    assert!((place - first as f64).abs() <= 0.5, "{place} {first}");
}

/// Verifies a recording of two intervals, made by hand from samples of the source.
fn judged(runs: &[std::ops::Range<u64>], kept: &[(u64, u64)]) -> Result<(), String> {
    let samples: Vec<u64> = runs.iter().cloned().flatten().collect();
    judged_samples(&samples.into_iter().map(Some).collect::<Vec<_>>(), kept)
}

fn judged_samples(samples: &[Option<u64>], kept: &[(u64, u64)]) -> Result<(), String> {
    gst::init().unwrap();
    let info = gst_audio::AudioInfo::builder(gst_audio::AudioFormat::S16le, 48000, 2)
        .build()
        .unwrap();
    let mut bytes = vec![0; 4 * samples.len()];
    for (frame, index) in bytes.chunks_exact_mut(4).zip(samples) {
        if let Some(index) = index {
            counted::fill(&info, *index, frame);
        }
    }
    let audio = decode::DecodedAudio {
        rate: 48000,
        channels: 2,
        samples: bytes
            .chunks_exact(2)
            .map(|b| i32::from(i16::from_le_bytes([b[0], b[1]])) << 16)
            .collect(),
        blocks: vec![(0, 0.0)],
    };
    let kept = Kept {
        intervals: kept.to_vec(),
    };
    samples::check_continuous(&audio, &kept, &SampleClock::from_zero(48000)).map(|_| ())
}

#[test]
fn one_sample_lost_repeated_or_inserted_is_detected() {
    // 0.1 s to 0.2 s, and 0.3 s to 0.4 s.
    let kept = [(SECOND / 10, SECOND / 5), (3 * SECOND / 10, 2 * SECOND / 5)];
    judged(&[4800..9600, 14400..19200], &kept).unwrap();
    let bad = [
        ("lost inside", vec![4800..7000, 7001..9600, 14400..19200]),
        ("doubled inside", vec![4800..7000, 6999..9600, 14400..19200]),
        ("lost before the cut", vec![4800..9599, 14400..19200]),
        ("lost after the cut", vec![4800..9600, 14401..19200]),
        ("lost at the start", vec![4801..9600, 14400..19200]),
        ("lost at the end", vec![4800..9600, 14400..19199]),
        ("one too many at the end", vec![4800..9600, 14400..19201]),
        ("one of the pause before", vec![4800..9601, 14400..19200]),
        ("one of the pause after", vec![4800..9600, 14399..19200]),
        ("a sample late everywhere", vec![4801..9601, 14401..19201]),
        ("no cut", vec![4800..9600, 9600..14400]),
        ("nothing after the cut", vec![4800..9600, 0..0]),
    ];
    for (what, runs) in bad {
        assert!(judged(&runs, &kept).is_err(), "{what}");
    }
    let mut silent: Vec<_> = (4800..9600).chain(14400..19200).map(Some).collect();
    silent[100] = None;
    assert!(judged_samples(&silent, &kept).is_err(), "silence put in");
}

#[test]
fn drift_of_one_sample_in_a_hundred_cuts_is_detected() {
    // Recorded and paused in turns, 10 ms and a third of a sample each.
    let piece = 10 * MILLI + 6_944;
    let kept: Vec<_> = (0..100)
        .map(|n| (2 * n * piece, (2 * n + 1) * piece))
        .collect();
    let grid = |time: u64| (time * 48000 + SECOND / 2) / SECOND;
    let slots = |n: u64| grid(n * piece)..grid((n + 1) * piece);
    let on_grid: Vec<_> = (0..100)
        .map(|n| {
            let slots = slots(n);
            // The sample captured nearest to the slot's time.
            let from = grid(2 * n * piece + slots.start * SECOND / 48000 - n * piece);
            from..from + slots.end - slots.start
        })
        .collect();
    judged(&on_grid, &kept).unwrap();
    // The obvious way: each interval clipped independently. It loses a third of a sample each time.
    let drifting: Vec<_> = (0..100)
        .map(|n| grid(2 * n * piece)..grid(2 * n * piece) + 480)
        .collect();
    assert!(judged(&drifting, &kept).is_err());
}

fn webm(extra_sound: &str, muxer: &str) -> Made {
    Made::new(&format!(
        "webmmux name=mux {muxer} ! filesink location=OUT \
         audiotestsrc samplesperbuffer=960 num-buffers=250 ! \
         audio/x-raw,format=S16LE,rate=48000,channels=2 ! identity name=sound ! {extra_sound} \
         opusenc bitrate=128000 ! queue max-size-time=0 max-size-bytes=0 ! mux. \
         videotestsrc num-buffers=150 ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 \
         ! identity name=pictures ! \
         vp8enc deadline=1 cpu-used=8 target-bitrate=500000 keyframe-max-dist=60 ! \
         queue max-size-time=0 max-size-bytes=0 ! mux."
    ))
}

#[test]
fn webm_is_identified_at_the_right_time() {
    let made = webm("", "");
    made.sound(AudioSignal::Noise, 48000);
    let log = made.frames();
    let file = made.run();
    let kept = Kept {
        intervals: vec![(0, 5 * SECOND)],
    };
    let audio = decode::audio(&file, 0, Some(48000)).unwrap();
    assert_eq!(audio.holes(1.5e6), []);
    println!(
        "first sample at {} ns, {} samples",
        audio.blocks[0].1,
        audio.len()
    );
    let places = position::find(&audio, 6e9).unwrap();
    let worst = position::check(&places, &kept, 1e6).unwrap();
    let likeness = places.iter().map(|p| p.correlation).fold(1.0, f32::min);
    println!("audio: worst {worst} ns, lowest correlation {likeness}");

    let frames = sync::frame_times(&decode::video(&file, 0).unwrap()).unwrap();
    assert_eq!(frames.len(), 150);
    assert_eq!(frames[0], (0.0, 0.0));
    sync::check_frames(&frames, &kept, &log.lock().unwrap(), 1e6, 0).unwrap();
    let offset = sync::av_offset_max(&frames, &places).unwrap();
    println!("{offset:?}");
    assert!(offset.furthest.abs() < 1.5e6, "{offset:?}");
    assert!(offset.compared >= 148, "{offset:?}");

    assert_eq!(file::codecs(&file).unwrap().len(), 2);
    assert!((file::duration(&file).unwrap() - 5e9).abs() < 40e6);
    assert!(file::has_seek_index(&file).unwrap() > 0);
    file::decodes_without_errors(&file).unwrap();

    // The same recording is not accepted for other cuts, nor for one frame more or less.
    let cut = Kept {
        intervals: vec![(0, 2 * SECOND), (2 * SECOND + 5 * MILLI, 5 * SECOND)],
    };
    assert!(position::check(&places, &cut, 1e6).is_err());
    assert!(sync::check_frames(&frames, &cut, &log.lock().unwrap(), 1e6, 0).is_err());
    let mut more = log.lock().unwrap().clone();
    more.insert(50, more[50] - 10 * MILLI);
    assert!(sync::check_frames(&frames, &kept, &more, 1e6, 0).is_err());
    more.drain(50..52);
    assert!(sync::check_frames(&frames, &kept, &more, 1e6, 0).is_err());
}

#[test]
fn a_shifted_track_is_detected() {
    let made = webm("identity name=late !", "");
    made.sound(AudioSignal::Noise, 48000);
    made.frames();
    made.pad("late").set_offset(40 * MILLI as i64);
    let file = made.run();
    let audio = decode::audio(&file, 0, Some(48000)).unwrap();
    let places = position::find(&audio, 6e9).unwrap();
    let mut frames = sync::frame_times(&decode::video(&file, 0).unwrap()).unwrap();
    // If an Opus track starts late, its first block's timestamp is off by the encoder delay.
    frames.retain(|(recorded, _)| *recorded > 100e6);
    let offset = sync::av_offset_max(&frames, &places).unwrap();
    assert!((offset.furthest + 40e6).abs() < 1.5e6, "{offset:?}");
    let kept = Kept {
        intervals: vec![(0, 5 * SECOND)],
    };
    assert!(position::check(&places, &kept, 1e6).is_err());
}

#[test]
fn a_file_without_an_index_is_detected() {
    let made = webm("", "streamable=true");
    let file = made.run();
    assert!(file::has_seek_index(&file).is_err());
    assert!(file::duration(&file).is_err() || file::duration(&file).unwrap() == 0.0);
}

#[test]
fn a_corrupt_file_is_detected() {
    let made = webm("", "");
    let file = made.run();
    let bytes = std::fs::read(&file).unwrap();
    let torn = made.directory.path().join("torn");
    let mut spoilt = bytes.clone();
    // Several blocks with their headers: VP8 decodes anything within a frame.
    let middle = spoilt.len() / 2;
    spoilt[middle..middle * 3 / 2].fill(0xa5);
    std::fs::write(&torn, spoilt).unwrap();
    assert!(file::decodes_without_errors(&torn).is_err());
}

#[test]
fn frames_are_readable_at_small_sizes_and_low_rates() {
    for (width, height, rate) in [(160, 120, 60_000), (320, 240, 100_000), (640, 360, 300_000)] {
        let made = Made::new(&format!(
            "videotestsrc num-buffers=60 ! \
             video/x-raw,format=I420,width={width},height={height},framerate=30/1 ! \
             identity name=pictures ! vp8enc deadline=1 cpu-used=8 target-bitrate={rate} ! \
             webmmux ! filesink location=OUT"
        ));
        made.frames();
        let frames = decode::video(&made.run(), 0).unwrap();
        assert_eq!((frames.width, frames.height), (width, height));
        let read = sync::frame_times(&frames).unwrap();
        assert!(
            read.iter()
                .all(|(recorded, source)| (recorded - source).abs() <= 1e6)
        );
        assert_eq!(read.len(), 60);
    }
}

#[test]
fn a_damaged_frame_is_not_read() {
    gst::init().unwrap();
    let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::Gray8, 320, 240)
        .build()
        .unwrap();
    let picture = frame::buffer(&info, 1_234_567_891, 0);
    let mut bytes = picture.map_readable().unwrap().to_vec();
    assert_eq!(frame::read(&bytes, 320, 240), Some(1_234_568_000));
    // One block of the other colour.
    for line in bytes.chunks_exact_mut(320).take(30) {
        for pixel in &mut line[..40] {
            *pixel = 255 - *pixel;
        }
    }
    assert_eq!(frame::read(&bytes, 320, 240), None);
}

#[test]
fn pushed_buffers_carry_the_same_signal() {
    for (signal, rate) in [(AudioSignal::Counted, 48000), (AudioSignal::Noise, 48000)] {
        let directory = tempfile::tempdir().unwrap();
        gst::init().unwrap();
        let pipeline = gst::Pipeline::new();
        let encoder = gst::ElementFactory::make("wavenc").build().unwrap();
        let path = directory.path().join("out.wav");
        let sink = gst::ElementFactory::make("filesink")
            .property("location", path.to_str().unwrap())
            .property("async", false)
            .build()
            .unwrap();
        pipeline.add_many([&encoder, &sink]).unwrap();
        encoder.link(&sink).unwrap();
        let info = gst_audio::AudioInfo::builder(gst_audio::AudioFormat::S16le, rate, 2)
            .build()
            .unwrap();
        let feed = feed::Feed::new(
            &encoder.static_pad("sink").unwrap(),
            &info.to_caps().unwrap(),
            feed::Upstream::Live(gst::ClockTime::from_mseconds(200)),
        );
        let mut query = gst::query::Latency::new();
        assert!(encoder.static_pad("sink").unwrap().peer_query(&mut query));
        assert!(query.result().0);
        pipeline.set_state(gst::State::Playing).unwrap();
        let mut first = 0;
        for samples in [1, 480, 1024, 7, 4800].into_iter().cycle().take(100) {
            let buffer = match signal {
                AudioSignal::Counted => counted::buffer(&info, first, samples),
                AudioSignal::Noise => noise::buffer(&info, first, samples),
            };
            feed.push(buffer).unwrap();
            first += samples;
        }
        assert!(feed.end());
        let bus = pipeline.bus().unwrap();
        let types = [gst::MessageType::Eos, gst::MessageType::Error];
        let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(20), &types);
        pipeline.set_state(gst::State::Null).unwrap();
        assert_eq!(end.unwrap().type_(), gst::MessageType::Eos);
        let decoded = decode::audio(&path, 0, None).unwrap();
        assert_eq!(decoded.len(), first);
        if signal == AudioSignal::Counted {
            assert_eq!(samples::spans(&decoded).len(), 1);
        } else {
            let kept = Kept {
                intervals: vec![(0, first * SECOND / u64::from(rate))],
            };
            let places = position::find(&decoded, 10e9).unwrap();
            let worst = position::check(&places, &kept, 20e3).unwrap();
            println!("noise without a codec: worst {worst} ns");
        }
    }
}

/// Encodes by hand what a recorder should record: `kept` of noise and of 30 frames per second. `slip` is an error
/// inserted into the audio at each cut.
fn cut_by_hand(path: &Path, kept: &Kept, sources: &[u64], slip: u64) {
    gst::init().unwrap();
    let pipeline = gst::parse::launch(&format!(
        "webmmux name=mux ! filesink async=false location={} \
         opusenc name=sound bitrate=128000 ! queue max-size-time=0 max-size-bytes=0 max-size-buffers=0 ! mux. \
         vp8enc name=pictures deadline=1 cpu-used=8 target-bitrate=500000 keyframe-max-dist=60 ! \
         queue max-size-time=0 max-size-bytes=0 max-size-buffers=0 ! mux.",
        path.display()
    ))
    .unwrap()
    .downcast::<gst::Pipeline>()
    .unwrap();
    let sink = |name| {
        let element = pipeline.by_name(name).unwrap();
        element.static_pad("sink").unwrap()
    };
    let info = gst_audio::AudioInfo::builder(gst_audio::AudioFormat::S16le, 48000, 2)
        .build()
        .unwrap();
    let audio = feed::Feed::new(
        &sink("sound"),
        &info.to_caps().unwrap(),
        feed::Upstream::NotLive,
    );
    let video = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, 320, 240)
        .fps(gst::Fraction::new(30, 1))
        .build()
        .unwrap();
    let frames = feed::Feed::new(
        &sink("pictures"),
        &video.to_caps().unwrap(),
        feed::Upstream::NotLive,
    );
    pipeline.set_state(gst::State::Playing).unwrap();
    let grid = |time: u64| time * 48 / MILLI;
    let mut events = 0;
    for (number, (from, to)) in kept.intervals.iter().enumerate() {
        let starts = kept.interval_start(number);
        let count = grid(starts + to - from) - events;
        let first = grid(*from + slip * number as u64);
        let mut buffer = noise::buffer(&info, first, count);
        buffer
            .make_mut()
            .set_pts(gst::ClockTime::from_nseconds(events * MILLI / 48));
        audio.push(buffer).unwrap();
        events += count;
    }
    // Two frames within one millisecond would have the same timestamp in WebM, about which ffmpeg warns.
    let worth = |expected: &sync::ExpectedFrame| expected.to - expected.from >= 1e6;
    for expected in sync::expected_frames(kept, sources)
        .into_iter()
        .filter(worth)
    {
        let mut buffer = frame::buffer(&video, expected.source, SECOND / 30);
        buffer
            .make_mut()
            .set_pts(gst::ClockTime::from_nseconds(expected.from as u64));
        frames.push(buffer).unwrap();
    }
    assert!(audio.end() && frames.end());
    let types = [gst::MessageType::Eos, gst::MessageType::Error];
    let bus = pipeline.bus().unwrap();
    let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &types);
    pipeline.set_state(gst::State::Null).unwrap();
    assert_eq!(end.unwrap().type_(), gst::MessageType::Eos);
}

#[test]
fn sixty_exact_cuts_pass_and_shifted_ones_do_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cut.webm");
    let sources: Vec<_> = (0..600).map(|n| n * SECOND / 30).collect();
    let mut at = SECOND / 2;
    let mut intervals = Vec::new();
    for n in 0..60 {
        let length = (60 + 37 * n % 100) * MILLI + 123_457;
        intervals.push((at, at + length));
        at += length + (20 + 53 * n % 90) * MILLI + 71_111;
    }
    let kept = Kept { intervals };
    cut_by_hand(&path, &kept, &sources, 0);
    let found = whole::webm(&path, &kept, &sources, 0).unwrap();
    println!("{found:?}");
    // A cut that is 2 ms later in the audio than in the video, and than reported.
    cut_by_hand(&path, &kept, &sources, 2 * MILLI);
    let verdict = whole::webm(&path, &kept, &sources, 0);
    println!("{verdict:?}");
    assert!(verdict.is_err());
}

/// Otherwise a busy machine would be mistaken for a recorder that blocks.
#[test]
fn blocking_is_distinguished_from_work() {
    let moment = ThreadTime::now();
    let until = Instant::now() + Duration::from_millis(50);
    while Instant::now() < until {}
    let working = moment.blocked();
    assert!(working < Duration::from_millis(20), "{working:?}");
    let moment = ThreadTime::now();
    std::thread::sleep(Duration::from_millis(50));
    let sleeping = moment.blocked();
    assert!(sleeping > Duration::from_millis(45), "{sleeping:?}");
}
