//! Many splits with every codec and container: the parts, concatenated, equal the source.

mod common;

use common::app::{App, SMALL, STEREO, script, temp_location};
use common::harness::Recorder;
use common::judge::decode::{self, DecodedAudio as Decoded};
use common::judge::{gstreamer, parts, position, samples, sync};
use common::settings::{Rng, long, skipped};
use common::signal::{AudioSignal, tag};
use gst::prelude::*;

const SECOND: u64 = 1_000_000_000;
/// Frame duration, and how many audio buffers have the same duration.
const FRAME: u64 = 40_000_000;
const BUFFERS_PER_FRAME: usize = 4;

/// Input, and the type of its recording.
#[derive(Clone, Copy, Debug)]
struct Kind {
    container: &'static str,
    extension: &'static str,
    video: Option<&'static str>,
    audio: &'static str,
    /// Tolerance of the audio in nanoseconds: the rounding of the container's timestamps.
    tolerance: f64,
    /// In every run, not only in long ones.
    always: bool,
}

const SAMPLE: f64 = 1e9 / 48_000.0;
const MILLI: f64 = 1e6;

const fn kind(
    container: &'static str,
    extension: &'static str,
    (video, audio): (Option<&'static str>, &'static str),
    tolerance: f64,
    always: bool,
) -> Kind {
    Kind {
        container,
        extension,
        video,
        audio,
        tolerance,
        always,
    }
}

const KINDS: [Kind; 24] = [
    kind("wav", "wav", (None, "pcm"), 0.0, true),
    kind("flac", "flac", (None, "flac"), 0.0, true),
    kind("mpeg", "mp3", (None, "mp3"), MILLI, true),
    kind("ogg", "oga", (None, "flac"), 0.0, true),
    kind("ogg", "ogg", (None, "opus"), SAMPLE, true),
    kind("ogg", "ogg", (None, "vorbis"), SAMPLE, true),
    kind("ogg", "ogv", (Some("theora"), "vorbis"), SAMPLE, true),
    kind("ogg", "ogv", (Some("vp8"), "opus"), SAMPLE, false),
    kind("webm", "webm", (Some("vp8"), "vorbis"), SAMPLE, true),
    kind("webm", "webm", (Some("vp9"), "opus"), SAMPLE, true),
    kind("webm", "webm", (Some("av1"), "opus"), SAMPLE, false),
    kind("x-matroska", "mka", (None, "pcm"), 0.0, false),
    kind("x-matroska", "mkv", (Some("avc1"), "flac"), 0.0, true),
    kind("x-matroska", "mkv", (Some("hvc1"), "pcm"), 0.0, false),
    kind(
        "x-matroska",
        "mkv",
        (Some("vp8"), "mp4a.40.2"),
        MILLI,
        false,
    ),
    kind("x-matroska", "mkv", (Some("vp9"), "mp3"), MILLI, false),
    kind("x-matroska", "mkv", (Some("av1"), "vorbis"), SAMPLE, false),
    kind("x-matroska", "mkv", (Some("ffv1"), "opus"), SAMPLE, false),
    kind("mp4", "m4a", (None, "mp4a.40.2"), MILLI, true),
    kind("mp4", "mp4", (Some("avc1"), "mp4a.40.2"), MILLI, true),
    kind("mp4", "mp4", (Some("hvc1"), "opus"), SAMPLE, false),
    kind("mp4", "mp4", (Some("av1"), "mp3"), MILLI, false),
    kind("mp4", "mp4", (Some("vp9"), "opus"), SAMPLE, false),
    kind("mp4", "m4a", (None, "mp3"), MILLI, false),
];

impl Kind {
    fn mime_type(&self) -> String {
        let kind = if self.video.is_some() {
            "video"
        } else {
            "audio"
        };
        let codecs: Vec<&str> = self.video.into_iter().chain([self.audio]).collect();
        format!("{kind}/{};codecs=\"{}\"", self.container, codecs.join(","))
    }

    fn is_lossless(&self) -> bool {
        self.tolerance == 0.0
    }
}

/// The audio of all parts, each with its reported duration: encoder delay and padding are removed.
fn lossy(kind: &Kind, parts: &[parts::Part]) -> Result<Decoded, String> {
    let on_grid = |time: u64| ((time as f64) / SAMPLE).round() as usize;
    let mut all: Option<Decoded> = None;
    for part in parts {
        let audio = match (kind.container, kind.audio) {
            // FFmpeg counts the first packet, which has no samples, and drops as many at the end.
            ("ogg", "vorbis") => gstreamer::audio(&part.path)?,
            _ => decode::audio(&part.path, 0, Some(48_000))?,
        };
        let channels = audio.channels;
        // Matroska timestamps are rounded to a millisecond: samples that may be before 0 are dropped.
        let rounding = if kind.container == "x-matroska" && kind.tolerance == MILLI {
            MILLI / 2.0
        } else {
            0.0
        };
        let before = -audio.time_of(0);
        let early = if before > 0.0 {
            ((before + rounding) / SAMPLE).round() as usize
        } else {
            0
        };
        let length = on_grid(part.timecode + part.duration) - on_grid(part.timecode);
        let mut samples = audio.samples;
        samples.drain(..early * channels);
        // Timestamps are rounded to a millisecond.
        if samples.len() + 48 * channels < length * channels {
            return Err(format!("{} of {length} samples: {part:?}", samples.len()));
        }
        samples.resize(length * channels, 0);
        match &mut all {
            Some(all) => all.samples.extend(samples),
            None => {
                all = Some(Decoded {
                    rate: 48_000,
                    channels,
                    samples,
                    blocks: vec![(0, 0.0)],
                })
            }
        }
    }
    all.ok_or_else(|| "no parts".into())
}

/// Records with this many splits at random distances, and verifies the parts.
fn judge(kind: &Kind, splits: usize, chance: &mut Rng) -> Result<(), String> {
    let (_directory, path) = temp_location(&format!("split-%d.{}", kind.extension));
    let app = App::new(&kind.mime_type(), &path);
    let mut steps = Vec::new();
    let (frames, buffers) = if kind.video.is_some() {
        // Audio arrives earlier or later than video, so that calls would not be at a given frame.
        let frames = 2 + chance.below(4);
        let most = frames * FRAME - 1;
        app.recorder.set_property("max-size-time", most);
        app.recorder.set_property("autostart", true);
        let frames = splits * frames as usize + 2;
        (frames, frames * BUFFERS_PER_FRAME)
    } else {
        let mut number = 0;
        steps.push((number, "start"));
        for _ in 0..splits {
            number += 3 + chance.below(20) as usize;
            steps.push((number, "split-now"));
        }
        (0, number + 5)
    };
    let audio = app.source(&format!(
        "audiotestsrc num-buffers={buffers} samplesperbuffer=480 ! {STEREO}"
    ));
    let signal = if kind.is_lossless() {
        AudioSignal::Counted
    } else {
        AudioSignal::Noise
    };
    let clock = tag::audio(&audio, signal, 48_000);
    audio.link(&app.pad("audio_%u")).unwrap();
    let log = kind.video.map(|_| {
        let small = SMALL.replace("30/1", "25/1");
        let video = app.source(&format!("videotestsrc num-buffers={frames} ! {small}"));
        let log = tag::video(&video);
        video.link(&app.pad("video_%u")).unwrap();
        log
    });
    script(&audio, &app.recorder, steps);
    app.set_state(gst::State::Playing);
    app.wait_for("stop", 1);
    let warnings = app.warnings();
    if !warnings.is_empty() {
        return Err(format!("{warnings:?}"));
    }
    let kept = app.kept();
    let parts = parts::from_messages(&app);
    if parts.len() != splits + 1 {
        return Err(format!("{} parts", parts.len()));
    }
    parts::check_contiguous(&parts, kept.total(), 70.0 * MILLI)?;
    if kind.is_lossless() {
        let decoded = parts::audio(&parts, None)?;
        samples::check_continuous(&decoded, &kept, &clock)?;
    } else {
        let decoded = lossy(kind, &parts)?;
        let places = position::find(&decoded, (kept.total() + SECOND) as f64)?;
        position::check(&places, &kept, kind.tolerance)?;
    }
    if let Some(log) = log {
        let shown = sync::frame_times(&parts::video(&parts)?)?;
        let micro = |at: u64| (at + 500) / 1_000;
        let found: Vec<u64> = shown.iter().map(|(_, at)| *at as u64 / 1_000).collect();
        let expected: Vec<u64> = log.lock().unwrap().iter().map(|at| micro(*at)).collect();
        if found != expected {
            return Err(format!("frames {found:?}, expected {expected:?}"));
        }
    }
    Ok(())
}

#[test]
fn parts_of_every_codec_and_container_equal_the_source() {
    let mut chance = Rng::from_env();
    let is_long = long();
    let kinds: Vec<&Kind> = KINDS.iter().filter(|kind| is_long || kind.always).collect();
    let splits = if is_long { 1_000 } else { 60 };
    let splits = usize::div_ceil(splits, kinds.len());
    let mut wrong = Vec::new();
    for kind in kinds {
        let mime_type = kind.mime_type();
        if !common::harness::make_recorder().supports(&mime_type) {
            skipped(&format!("splits in {mime_type}: not installed"));
            continue;
        }
        let started = std::time::Instant::now();
        let judged = judge(kind, splits, &mut chance);
        println!(
            "{mime_type}: {splits} splits, {judged:?}, {:?}",
            started.elapsed()
        );
        wrong.extend(judged.err().map(|error| format!("{mime_type}: {error}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
