//! Encoded tracks that stop and return: the others do not wait for them, and when they return they are in the file
//! on time.

mod coded;
mod common;

use coded::{Coded, MILLI, ORIGIN, SECOND, audio, video};
use common::app::App;
use common::judge::{self, decode, file, gstreamer, parts, position, sync};
use common::settings::{long, skipped};
use gst::prelude::*;
use std::path::PathBuf;

const H264: &str = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! h264parse ! \
                    video/x-h264,stream-format=avc,alignment=au";
/// Without decode times, as from a network.
const H264_OF_RTP: &str = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! \
                           rtph264pay config-interval=-1 ! rtph264depay ! h264parse ! \
                           video/x-h264,stream-format=avc,alignment=au";
const H265: &str = "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! h265parse ! \
                    video/x-h265,stream-format=hvc1,alignment=au";
const VP8: &str = "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=15";
const VP9: &str = "vp9enc deadline=1 cpu-used=8 lag-in-frames=0 keyframe-max-dist=15 ! vp9parse";
const AV1: &str = "av1enc cpu-used=10 usage-profile=realtime lag-in-frames=0 keyframe-max-dist=15 ! av1parse ! \
                   video/x-av1,stream-format=obu-stream,alignment=tu";
const THEORA: &str = "theoraenc keyframe-freq=15 keyframe-force=15";
const OPUS: &str = "opusenc";
const VORBIS: &str = "audioconvert ! vorbisenc";
const FLAC: &str = "flacenc ! flacparse";
const AAC: &str =
    "audioconvert ! avenc_aac ! aacparse ! audio/mpeg,stream-format=raw,mpegversion=4";
const MP3: &str = "lamemp3enc ! mpegaudioparse";

/// Container and codecs.
const FORMATS: [(&str, &str, &str); 13] = [
    ("mkv", H264, OPUS),
    ("mkv", VP8, AAC),
    ("mkv", H265, FLAC),
    ("mkv", VP9, MP3),
    ("webm", VP8, VORBIS),
    ("webm", AV1, OPUS),
    ("mp4", H264, AAC),
    ("mp4", H265, OPUS),
    ("mp4", VP9, MP3),
    ("mp4", AV1, AAC),
    ("ogv", THEORA, OPUS),
    ("ogv", THEORA, VORBIS),
    ("mp4", H264_OF_RTP, OPUS),
];

/// Of the whole, and of the outage, which ends between two keyframes.
struct Plan {
    length: u64,
    away: (u64, u64),
    silent: &'static [Kind],
    patience: u64,
    /// 0 for a single file.
    max_size_time: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Audio,
    Video,
}

/// A buffer, its stream, and its capture time.
struct Due {
    at: u64,
    kind: Kind,
    buffer: gst::Buffer,
}

/// The buffers of two streams, and the source times of the decodable frames.
fn expected(plan: &Plan, frames: &Coded, audio: &Coded) -> (Vec<Due>, Vec<u64>) {
    let (mut list, mut shown) = (Vec::new(), Vec::new());
    for (kind, coded) in [(Kind::Video, frames), (Kind::Audio, audio)] {
        let silent = plan.silent.contains(&kind);
        let (mut lost, mut lacks_key) = (false, false);
        for buffer in &coded.buffers {
            // Headers are in the caps.
            let Some(at) = buffer.pts().map(|pts| pts.nseconds() - ORIGIN) else {
                continue;
            };
            if silent && (plan.away.0..plan.away.1).contains(&at) {
                lost = true;
                continue;
            }
            let mut buffer = buffer.clone();
            if std::mem::take(&mut lost) {
                buffer.make_mut().set_flags(gst::BufferFlags::DISCONT);
                lacks_key = true;
            } else {
                buffer.make_mut().unset_flags(gst::BufferFlags::DISCONT);
            }
            lacks_key &= !coded::is_key(&buffer);
            if kind == Kind::Video && !lacks_key {
                shown.push(at);
            }
            list.push(Due { at, kind, buffer });
        }
    }
    list.sort_by_key(|expected| expected.at);
    (list, shown)
}

/// A recording, and a copy of its (first) file from just before the silent track returned.
struct Recording {
    path: PathBuf,
    parts: Vec<parts::Part>,
    /// Recorded time.
    length: u64,
    meanwhile: PathBuf,
    shown: Vec<u64>,
    filled: [u64; 2],
    warnings: Vec<String>,
    _folder: tempfile::TempDir,
}

fn filled(app: &App, pad: &str) -> u64 {
    let stats = app.recorder.property::<gst::Structure>("stats");
    let tracks = stats.get::<gst::Array>("tracks").unwrap();
    let mut tracks = tracks
        .iter()
        .map(|track| track.get::<gst::Structure>().unwrap());
    let track = tracks.find(|track| track.get::<&str>("pad") == Ok(pad));
    track.unwrap().get("filled").unwrap()
}

/// Records to a file of this name, which may contain `%d`.
fn record(plan: &Plan, name: &str, video_input: &Coded, audio_input: &Coded) -> Recording {
    let folder = tempfile::tempdir().unwrap();
    let app = App::new("", &folder.path().join(name));
    let name = name.replace("%d", "0");
    let path = folder.path().join(&name);
    let meanwhile = folder.path().join(format!("meanwhile-{name}"));
    app.recorder.set_property("autostart", true);
    app.recorder.set_property("max-queue-time", plan.patience);
    app.recorder
        .set_property("max-size-time", plan.max_size_time);
    let source = |caps: &gst::Caps, template: &str| {
        let appsrc = gst_app::AppSrc::builder()
            .caps(caps)
            .format(gst::Format::Time)
            .is_live(true)
            .build();
        app.pipeline.add(&appsrc).unwrap();
        appsrc
            .static_pad("src")
            .unwrap()
            .link(&app.pad(template))
            .unwrap();
        appsrc
    };
    let (video, audio) = (
        source(&video_input.caps, "video_%u"),
        source(&audio_input.caps, "audio_%u"),
    );
    app.set_state(gst::State::Playing);
    let (list, shown) = expected(plan, video_input, audio_input);
    let base = app.running_time() + 200 * MILLI;
    let mut copied = false;
    for Due {
        at,
        kind,
        mut buffer,
    } in list
    {
        app.wait_running_time(base + at + 10 * MILLI);
        let fields = buffer.make_mut();
        let place = |stamp: gst::ClockTime| {
            stamp + gst::ClockTime::from_nseconds(base) - gst::ClockTime::from_nseconds(ORIGIN)
        };
        fields.set_pts(fields.pts().map(place));
        fields.set_dts(fields.dts().map(place));
        if !copied && at >= plan.away.1 - 100 * MILLI {
            copied = true;
            std::fs::copy(&path, &meanwhile).unwrap();
        }
        let appsrc = if kind == Kind::Video { &video } else { &audio };
        appsrc.push_buffer(buffer).unwrap();
    }
    app.wait_running_time(base + plan.length);
    app.act("stop");
    app.wait_for("stop", 1);
    let filled = [filled(&app, "video_0"), filled(&app, "audio_0")];
    app.set_state(gst::State::Null);
    app.assert_no_error();
    Recording {
        path,
        parts: parts::from_messages(&app),
        length: app.kept().total(),
        meanwhile,
        shown,
        filled,
        warnings: app.warnings(),
        _folder: folder,
    }
}

/// How much later the audio is than the frames visible within `span` of source time, in nanoseconds.
fn offset(frames: &decode::DecodedVideo, places: &[position::Position], span: (u64, u64)) -> f64 {
    let frames = sync::frame_times(frames).unwrap();
    let within: Vec<_> = frames
        .into_iter()
        .filter(|(_, source)| (span.0 as f64..span.1 as f64).contains(source))
        .collect();
    sync::av_offset_max(&within, places).unwrap().furthest
}

/// The frames that differ from the previous one.
fn new_pictures(frames: &decode::DecodedVideo) -> Vec<(f64, f64)> {
    let mut shown = sync::frame_times(frames).unwrap();
    shown.dedup_by_key(|(_, source)| *source);
    shown
}

fn judge(plan: &Plan, what: &str, recording: &Recording) {
    let path = &recording.path;
    assert_eq!(recording.warnings, Vec::<String>::new(), "{what}");
    let frames = decode::video(path, 0).unwrap();
    for (judge, frames) in [
        ("ffmpeg", &frames),
        ("gstreamer", &gstreamer::video(path, 320, 240).unwrap()),
    ] {
        let shown = new_pictures(frames);
        let sources = shown.iter().map(|(_, source)| *source as u64 / MILLI);
        let expected = recording.shown.iter().map(|source| source / MILLI);
        assert_eq!(
            sources.collect::<Vec<_>>(),
            expected.collect::<Vec<_>>(),
            "{what}, {judge}"
        );
        for (recorded, source) in &shown {
            let late = recorded - shown[0].0 - source;
            assert!(
                late.abs() < 3e6,
                "{what}, {judge}: {source} at {recorded}, first at {}",
                shown[0].0
            );
        }
    }
    let audio = decode::audio(path, 0, Some(48_000)).unwrap();
    // So that a player that counts samples (Chromium) plays it at the same times.
    for (judge, audio) in [
        ("ffmpeg", &audio),
        ("gstreamer", &gstreamer::audio(path).unwrap()),
    ] {
        let holes = audio.holes(30e6);
        assert!(holes.is_empty(), "{what}, {judge}: {holes:?}");
    }
    let places = position::find(&audio, plan.length as f64 + 1e9).unwrap();
    if plan.silent.contains(&Kind::Audio) {
        let away = (plan.away.0 + 300 * MILLI) as f64..(plan.away.1 - 300 * MILLI) as f64;
        let mut missing = places.iter().filter(|place| away.contains(&place.recorded));
        assert!(
            missing.all(|place| place.silent),
            "{what}: the filling is audible"
        );
    }
    let before = offset(&frames, &places, (200 * MILLI, plan.away.0 - 200 * MILLI));
    let behind = offset(
        &frames,
        &places,
        (plan.away.1 + 500 * MILLI, plan.length - 300 * MILLI),
    );
    assert!(
        (before - behind).abs() < 5e6,
        "{what}: audio is {before} late, then {behind}"
    );
    // All media of the other track, except for what may be queued, and the current fragment.
    if let [silent] = plan.silent {
        let meanwhile = &recording.meanwhile;
        let reached = match silent {
            Kind::Audio => {
                decode::video(meanwhile, 0)
                    .unwrap()
                    .frames
                    .last()
                    .unwrap()
                    .recorded
            }
            Kind::Video => {
                decode::audio(meanwhile, 0, None)
                    .unwrap()
                    .blocks
                    .last()
                    .unwrap()
                    .1
            }
        };
        let least = plan.away.1 - 100 * MILLI - plan.patience - 1_500 * MILLI;
        assert!(
            reached >= least as f64,
            "{what}: the others are written up to {reached} only"
        );
        let filled = recording.filled[usize::from(*silent == Kind::Audio)];
        let away = plan.away.1 - plan.away.0;
        assert!(
            filled.abs_diff(away) < 600 * MILLI,
            "{what}: {filled} ns were filled"
        );
    }
}

fn silences(plan: impl Fn(&'static [Kind]) -> Plan + Sync) {
    let length = plan(&[]).length;
    let frames = u32::try_from(length * 30 / SECOND).unwrap();
    let tenths = u32::try_from(length * 10 / SECOND).unwrap();
    std::thread::scope(|scope| {
        let mut videos = Vec::new();
        let mut audios = Vec::new();
        for (_, v, a) in FORMATS {
            if !videos.iter().any(|(codec, _)| *codec == v) {
                videos.push((v, scope.spawn(move || video(v, frames))));
            }
            if !audios.iter().any(|(codec, _)| *codec == a) {
                audios.push((a, scope.spawn(move || audio(a, tenths))));
            }
        }
        let made = |list: Vec<(&'static str, std::thread::ScopedJoinHandle<'_, Coded>)>| -> Vec<_> {
            let list = list.into_iter();
            list.map(|(codec, made)| (codec, made.join().unwrap()))
                .collect()
        };
        let (videos, audios) = (made(videos), made(audios));
        let silent: [&'static [Kind]; 3] =
            [&[Kind::Video], &[Kind::Audio], &[Kind::Video, Kind::Audio]];
        let mut running = Vec::new();
        for (number, (extension, v, a)) in FORMATS.into_iter().enumerate() {
            for (way, silent) in silent.into_iter().enumerate() {
                // Each codec is interrupted in some combination.
                let is_due = if way == 2 {
                    number % 5 == 0
                } else {
                    number % 2 == way
                };
                if !is_due && !long() {
                    continue;
                }
                let find = |list: &[(&str, Coded)], codec| {
                    list.iter().position(|(name, _)| *name == codec).unwrap()
                };
                let (video, audio) = (&videos[find(&videos, v)].1, &audios[find(&audios, a)].1);
                let (video, audio) = (
                    Coded {
                        caps: video.caps.clone(),
                        buffers: video.buffers.clone(),
                    },
                    Coded {
                        caps: audio.caps.clone(),
                        buffers: audio.buffers.clone(),
                    },
                );
                let plan = plan(silent);
                let name = |line: &'static str| line.split([' ', '!']).next().unwrap();
                let what = format!(
                    "{extension}, {} and {}, {silent:?} silent",
                    name(v),
                    name(a)
                );
                running.push((
                    what,
                    scope.spawn(move || {
                        let recording =
                            record(&plan, &format!("silent.{extension}"), &video, &audio);
                        (plan, recording)
                    }),
                ));
            }
        }
        let recorded = running
            .into_iter()
            .map(|(what, made)| (what, made.join().unwrap()));
        let recorded = recorded.collect::<Vec<_>>();
        judge::each(&recorded, |what, (plan, recording)| {
            judge(plan, what, recording);
        });
    });
}

/// Frames at this interval, each displayed that long, with audio.
fn rare_pictures(extension: &str, v: &str, apart: u64, patience: u64) {
    const PICTURES: u64 = 4;
    let mut frames = video(v, PICTURES as u32);
    for (number, buffer) in (0..).zip(&mut frames.buffers) {
        let buffer = buffer.make_mut();
        let at = Some(gst::ClockTime::from_nseconds(ORIGIN + number * apart));
        buffer.set_pts(at);
        buffer.set_dts(buffer.dts().and(at));
        buffer.set_duration(gst::ClockTime::NONE);
    }
    let length = PICTURES * apart;
    let plan = Plan {
        length,
        away: (length - SECOND, length),
        silent: &[],
        patience,
        max_size_time: 0,
    };
    let audio = audio(OPUS, u32::try_from(length * 10 / SECOND).unwrap());
    let recording = record(&plan, &format!("silent.{extension}"), &frames, &audio);
    for frames in [
        decode::video(&recording.path, 0).unwrap(),
        gstreamer::video(&recording.path, 320, 240).unwrap(),
    ] {
        let shown = new_pictures(&frames);
        assert_eq!(shown.len() as u64, PICTURES, "{extension}: {shown:?}");
        for (number, (recorded, source)) in (0..).zip(shown) {
            assert_eq!(source as u64 / MILLI, number * 100 / 3, "{extension}");
            let expected = (number * apart) as f64;
            assert!(
                (recorded - expected).abs() < 3e6,
                "{extension}: {recorded}, expected {expected}"
            );
        }
    }
    let audio = decode::audio(&recording.path, 0, Some(48_000)).unwrap();
    assert_eq!(audio.holes(30e6), []);
    assert!(
        audio.len().abs_diff(length * 48 / MILLI) < 4_800,
        "{}",
        audio.len()
    );
}

#[test]
fn rare_frames_are_a_track() {
    let (apart, patience) = if long() {
        (5 * SECOND, 2 * SECOND)
    } else {
        (1_500 * MILLI, 500 * MILLI)
    };
    std::thread::scope(|scope| {
        for (extension, v) in [("mp4", H264), ("mkv", H264), ("webm", VP9), ("mp4", AV1)] {
            scope.spawn(move || rare_pictures(extension, v, apart, patience));
        }
    });
}

/// Of so many seconds.
fn long_outage(away: u64) {
    if !long() {
        return skipped(&format!("outages of {away} s"));
    }
    silences(|silent| Plan {
        length: (away + 4) * SECOND,
        away: (2 * SECOND, (away + 2) * SECOND + 200 * MILLI),
        silent,
        patience: 2 * SECOND,
        max_size_time: 0,
    });
}

#[test]
fn outages_of_12_s_end_no_track() {
    long_outage(12);
}

#[test]
fn outages_of_60_s_end_no_track() {
    long_outage(60);
}

#[test]
fn a_track_whose_gap_cannot_be_filled_ends_with_a_warning() {
    let plan = Plan {
        length: 4 * SECOND,
        away: (SECOND, 4 * SECOND),
        silent: &[Kind::Video],
        patience: SECOND,
        max_size_time: 0,
    };
    let recording = record(&plan, "silent.ogv", &video(VP8, 120), &audio(OPUS, 40));
    let [warning] = &recording.warnings[..] else {
        panic!("{:?}", recording.warnings);
    };
    assert!(
        warning.contains("video_0") && warning.contains("nothing to fill"),
        "{warning}"
    );
    assert_eq!(decode::video(&recording.path, 0).unwrap().frames.len(), 30);
    let audio = decode::audio(&recording.path, 0, Some(48_000)).unwrap();
    assert!(audio.len() > 3_800 * 48, "{}", audio.len());
}

/// The packets of one stream in all parts, as MD5 sums.
fn packets(parts: &[parts::Part], stream: &str) -> Vec<String> {
    let packets = parts
        .iter()
        .flat_map(|part| coded::packets(&part.path, stream));
    packets.map(|packet| packet.md5).collect()
}

#[test]
fn a_track_whose_gap_cannot_be_filled_returns_in_the_next_part() {
    let plan = Plan {
        length: 7 * SECOND,
        away: (2 * SECOND, 5_200 * MILLI),
        silent: &[Kind::Video],
        patience: SECOND,
        max_size_time: 0,
    };
    let audio = audio(OPUS, 70);
    let recording = record(&plan, "silent-%d.ogv", &video(VP8, 210), &audio);
    assert_eq!(recording.warnings, Vec::<String>::new());
    let files = &recording.parts;
    assert_eq!(files.len(), 2, "{files:?}");
    parts::check_contiguous(files, recording.length, 40e6).unwrap();
    // The part begins with a keyframe that no other track has passed: the first one, unless that arrived late.
    let begins = files[1].timecode;
    assert!(
        (plan.away.1..plan.away.1 + 1_100 * MILLI).contains(&begins),
        "{files:?}"
    );
    let shown = new_pictures(&parts::video(files).unwrap());
    let sources = shown.iter().map(|(_, source)| *source as u64 / MILLI);
    let is_due = |at: &&u64| **at < plan.away.0 || **at + 3 * MILLI >= begins;
    let due = recording.shown.iter().filter(is_due);
    let due = due.map(|source| source / MILLI);
    assert_eq!(sources.collect::<Vec<_>>(), due.collect::<Vec<_>>());
    for (recorded, source) in shown {
        assert!((recorded - source).abs() < 3e6, "{source} at {recorded}");
    }
    // The other track loses nothing.
    let md5 = |buffer: &gst::Buffer| coded::md5(&buffer.map_readable().unwrap());
    let expected: Vec<_> = audio.buffers.iter().map(md5).collect();
    assert_eq!(packets(files, "a:0"), expected);
    assert!(
        recording.filled[0].abs_diff(plan.away.1 - plan.away.0) < 600 * MILLI,
        "{:?} ns were filled",
        recording.filled
    );
}

#[test]
fn a_track_returns_on_time() {
    silences(|silent| Plan {
        length: 7 * SECOND,
        away: (2 * SECOND, 5_200 * MILLI),
        silent,
        patience: SECOND,
        max_size_time: 0,
    });
}

#[test]
fn a_silent_track_holds_up_no_split() {
    let files = [
        ("mkv", VP8, OPUS),
        ("mp4", H264, AAC),
        ("webm", VP9, OPUS),
        ("ogv", VP8, OPUS),
    ];
    std::thread::scope(|scope| {
        for (extension, v, a) in files {
            scope.spawn(move || splits_of_a_silence(extension, v, a));
        }
    });
}

/// Parts of 1.5 s, while the video is silent for more than 4.
fn splits_of_a_silence(extension: &str, v: &str, a: &str) {
    let plan = Plan {
        length: 9 * SECOND,
        away: (2 * SECOND, 6_200 * MILLI),
        silent: &[Kind::Video],
        patience: 500 * MILLI,
        max_size_time: 1_500 * MILLI,
    };
    let (frames, audio) = (video(v, 270), audio(a, 90));
    let recording = record(&plan, &format!("silent-%d.{extension}"), &frames, &audio);
    assert_eq!(recording.warnings, Vec::<String>::new());
    let parts = &recording.parts;
    // In Ogg, the video returns with a part, from which the next ones are counted.
    let (returns, number, in_time) = match extension {
        "ogv" => (5, 7, 5),
        _ => (4, 6, 6),
    };
    assert_eq!(parts.len(), number, "{extension}: {parts:?}");
    for pair in parts.windows(2) {
        assert_eq!(pair[0].timecode + pair[0].duration, pair[1].timecode);
    }
    for (number, part) in (0..).zip(&parts[..in_time]) {
        // Video ends parts at its keyframes, which are 0.5 s apart.
        let late = part.timecode - number * plan.max_size_time;
        assert!(late < 600 * MILLI, "{extension}: {parts:?}");
    }
    let back = parts[returns].timecode + parts[returns].duration;
    assert!(back > plan.away.1, "{extension}: {parts:?}");
    let with_video = [&parts[..2], &parts[returns..]].concat();
    let shown = new_pictures(&parts::video(&with_video).unwrap());
    let sources = shown.iter().map(|(_, source)| *source as u64 / MILLI);
    let returned = match extension {
        "ogv" => parts[returns].timecode,
        _ => plan.away.1,
    };
    assert!(
        returned < plan.away.1 + 1_100 * MILLI,
        "{extension}: {parts:?}"
    );
    let is_due = |at: &&u64| **at < plan.away.0 || **at + 3 * MILLI >= returned;
    let due = recording.shown.iter().filter(is_due);
    let due = due.map(|source| source / MILLI);
    assert_eq!(
        sources.collect::<Vec<_>>(),
        due.collect::<Vec<_>>(),
        "{extension}"
    );
    for (recorded, source) in shown {
        let off = (recorded - source).abs();
        assert!(off < 3e6, "{extension}: {source} at {recorded}");
    }
    for part in parts[2..returns].iter().filter(|_| extension == "ogv") {
        assert_eq!(file::codecs(&part.path).unwrap(), ["opus"], "{parts:?}");
    }
    // The audio loses nothing.
    let md5 = |buffer: &gst::Buffer| coded::md5(&buffer.map_readable().unwrap());
    let expected: Vec<_> = audio.buffers.iter().map(md5).collect();
    assert_eq!(packets(parts, "a:0"), expected, "{extension}");
}
