//! Alpha of VP8 and VP9: every picture comes out with the alpha channel that it went in with, whatever happens to the recording.
//!
//! Colour and alpha of a picture show the same number, as columns that are bright or dark, opaque or translucent.

mod common;

use common::harness;
use common::judge::{file, parts};
use common::outer::{DEADLINE, Outer, place_for, until};
use gst::prelude::*;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const WIDTH: usize = 127;
const HEIGHT: usize = 63;
const COLUMNS: usize = 8;
const FPS: usize = 30;
const SECOND: u64 = 1_000_000_000;
const MILLI: u64 = 1_000_000;

fn column(x: usize) -> usize {
    x * COLUMNS / WIDTH
}

/// A picture in BGRA that shows a number twice. In Gray code: libvpx shows a picture of VP9 again, at a constant rate, where
/// the next is another altogether.
fn picture(number: u64) -> Vec<u8> {
    let number = number ^ number >> 1;
    let pixel = |at: usize| {
        let is_set = number >> column(at % WIDTH) & 1 == 1;
        if is_set {
            [220, 220, 220, 240]
        } else {
            [30, 30, 30, 70]
        }
    };
    (0..WIDTH * HEIGHT).flat_map(pixel).collect()
}

/// What a picture in RGBA shows, in colour and in alpha.
fn read(rgba: &[u8]) -> (u64, u64) {
    let row = HEIGHT / 2 * WIDTH;
    let number = |component: usize, limit: u8| {
        let is_set = |column: usize| {
            let x = (2 * column + 1) * WIDTH / (2 * COLUMNS);
            rgba[(row + x) * 4 + component] > limit
        };
        // Each bit of a number is that of its Gray code, and of all above it.
        let mut bit = 0;
        (0..COLUMNS).rev().fold(0, |number, column| {
            bit ^= u64::from(is_set(column));
            number << 1 | bit
        })
    };
    (number(1, 125), number(3, 155))
}

fn by_ffmpeg(path: &Path, codec: &str) -> Vec<(u64, u64)> {
    let decoder = if codec == "vp8" {
        "libvpx"
    } else {
        "libvpx-vp9"
    };
    let output = Command::new("timeout")
        .args(["60", "ffmpeg", "-v", "error", "-nostdin", "-c:v", decoder])
        .arg("-i")
        .arg(path)
        .args(file::AS_STAMPED)
        .args(["-pix_fmt", "rgba", "-f", "rawvideo", "pipe:1"])
        .output()
        .expect("ffmpeg runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
    output
        .stdout
        .chunks_exact(WIDTH * HEIGHT * 4)
        .map(read)
        .collect()
}

/// Hides the EOS of the alpha channel from alphacombine. In 1.26 and 1.28, that element returns EOS for the last frame's colour
/// when its alpha, and the EOS behind it, arrived first; in other files' last frames too. EOS of colour is enough for it.
fn keep_last_frame(pipeline: &gst::Bin) {
    let mut elements = pipeline.iterate_recurse().into_iter().flatten();
    let is_combine = |element: &gst::Element| {
        let factory = element.factory();
        factory.is_some_and(|factory| factory.name() == "alphacombine")
    };
    let combine = elements
        .find(is_combine)
        .expect("decoders of alpha combine");
    let pad = combine.static_pad("alpha").unwrap();
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |_, info| {
        if info.event().map(|event| event.type_()) != Some(gst::EventType::Eos) {
            return gst::PadProbeReturn::Ok;
        }
        drop(info.data.take());
        gst::PadProbeReturn::Handled
    });
}

fn by_gstreamer(path: &Path, codec: &str) -> Vec<(u64, u64)> {
    let parser = if codec == "vp9" {
        "vp9parse"
    } else {
        "identity"
    };
    let line = format!(
        "filesrc location={} ! matroskademux ! video/x-{codec},codec-alpha=true ! {parser} ! {codec}alphadecodebin ! videoconvert ! \
         video/x-raw,format=RGBA ! appsink name=out sync=false",
        path.display()
    );
    let pipeline = gst::parse::launch(&line).unwrap();
    let sink = pipeline.downcast_ref::<gst::Bin>().unwrap().by_name("out");
    let sink = sink.unwrap().downcast::<gst_app::AppSink>().unwrap();
    keep_last_frame(pipeline.downcast_ref().unwrap());
    pipeline.set_state(gst::State::Playing).unwrap();
    let mut numbers = Vec::new();
    while let Some(sample) = sink.try_pull_sample(gst::ClockTime::from_seconds(20)) {
        numbers.push(read(&sample.buffer().unwrap().map_readable().unwrap()));
    }
    let at_end = sink.is_eos();
    pipeline.set_state(gst::State::Null).unwrap();
    assert!(at_end, "GStreamer reads to the end");
    numbers
}

/// What both decoders find, which is the same; in each picture colour and alpha have to show the same.
fn shown(path: &Path, codec: &str) -> Vec<u64> {
    let found = by_ffmpeg(path, codec);
    assert_eq!(found, by_gstreamer(path, codec), "{}", path.display());
    let numbers = found.iter().map(|(colour, alpha)| {
        assert_eq!(colour, alpha, "{codec}: {found:?}");
        *colour
    });
    numbers.collect()
}

/// The judges themselves, by a file that is not ours.
#[test]
fn decoders_find_all_frames_of_another_muxer() {
    harness::init();
    for (codec, encoder) in [("vp8", "libvpx"), ("vp9", "libvpx-vp9")] {
        let (directory, path) = place_for("ffmpeg.webm");
        let raw = directory.path().join("frames.bgra");
        std::fs::write(&raw, (0..40).flat_map(picture).collect::<Vec<_>>()).unwrap();
        let size = format!("{WIDTH}x{HEIGHT}");
        let made = Command::new("ffmpeg")
            .args(["-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "bgra"])
            .args(["-video_size", &size, "-framerate", "30", "-i"])
            .arg(&raw)
            .args(["-c:v", encoder, "-b:v", "2M", "-pix_fmt", "yuva420p"])
            .args(["-auto-alt-ref", "0"])
            .arg(&path)
            .status();
        assert!(made.unwrap().success());
        let numbers: Vec<u64> = (0..40).collect();
        assert_eq!(shown(&path, codec), numbers, "{codec}");
    }
}

/// A source of numbered pictures in this format.
fn source(outer: &Outer, how: &str, format: &str) -> gst::Pad {
    let caps = |format| {
        format!("video/x-raw,format={format},width={WIDTH},height={HEIGHT},framerate={FPS}/1")
    };
    let number = AtomicU64::new(0);
    let source = outer.source(&format!(
        "videotestsrc {how} ! {} ! identity name=numbers ! videoconvert ! {}",
        caps("BGRA"),
        caps(format)
    ));
    let bin = source.parent_element().and_downcast::<gst::Bin>();
    let identity = bin.unwrap().by_name("numbers");
    let pad = identity.unwrap().static_pad("src").unwrap();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let bytes = picture(number.fetch_add(1, Ordering::SeqCst));
        let buffer = info.buffer_mut().unwrap().make_mut();
        buffer.remove_all_memory();
        buffer.append_memory(gst::Memory::from_slice(bytes));
        gst::PadProbeReturn::Ok
    });
    source
}

fn recorder(codec: &str, container: &str, path: &Path) -> Outer {
    let outer = Outer::new(&format!("video/{container};codecs={codec}"), path);
    outer.recorder.set_property_from_str("keep", "alpha");
    outer
        .recorder
        .set_property("video-bits-per-second", 2_000_000u32);
    outer
}

/// What `stats` says of the only track: its encoder, what has been converted, and how many frames were dropped.
fn track(outer: &Outer) -> (String, Vec<String>, u64) {
    let stats = outer.recorder.property::<gst::Structure>("stats");
    let tracks = stats.get::<gst::Array>("tracks").unwrap();
    let track = tracks.first().unwrap().get::<gst::Structure>().unwrap();
    let converted = track.get::<gst::Array>("converted").unwrap();
    let converted = converted.iter().map(|text| text.get().unwrap()).collect();
    (
        track.get("encoder").unwrap(),
        converted,
        track.get("dropped").unwrap(),
    )
}

/// Records 40 pictures.
fn record(outer: &Outer, format: &str) {
    outer.recorder.set_property("autostart", true);
    source(outer, "num-buffers=40", format)
        .link(&outer.pad("video_%u"))
        .unwrap();
    outer.set_state(gst::State::Playing);
    outer.wait_for("stop", 1);
}

#[test]
fn alpha_is_kept_in_webm_and_matroska() {
    for (codec, container, format) in [
        ("vp8", "webm", "BGRA"),
        ("vp8", "x-matroska", "AYUV"),
        ("vp9", "webm", "A420"),
        ("vp9", "x-matroska", "ARGB64_LE"),
    ] {
        let (_directory, path) = place_for("alpha.webm");
        let outer = recorder(codec, container, &path);
        record(&outer, format);
        let numbers: Vec<u64> = (0..40).collect();
        assert_eq!(shown(&path, codec), numbers, "{codec} {container} {format}");
        let (encoder, converted, _) = track(&outer);
        assert_eq!(encoder, format!("{codec}enc"));
        let due: &[&str] = match format {
            "A420" => &[],
            "ARGB64_LE" => &["depth 16 to 8", "chroma 4:4:4 to 4:2:0"],
            _ => &["chroma 4:4:4 to 4:2:0"],
        };
        assert_eq!(converted, due, "{format}");
        assert_eq!(outer.warnings(), Vec::<String>::new());
    }
}

#[test]
fn alpha_that_has_no_place_is_said_to_be_converted() {
    for (keep, mime_type) in [
        ("", "video/webm;codecs=vp8"),
        ("alpha", "video/mp4;codecs=vp9"),
    ] {
        let (_directory, path) = place_for("opaque");
        let outer = Outer::new(mime_type, &path);
        outer.recorder.set_property_from_str("keep", keep);
        record(&outer, "A420");
        assert_eq!(track(&outer).1, ["alpha"], "{mime_type}");
    }
}

/// A decoder can begin at each key frame: both have one.
#[test]
fn key_frames_are_key_frames_of_both() {
    let (_directory, path) = place_for("keys.webm");
    for codec in ["vp8", "vp9"] {
        let outer = recorder(codec, "webm", &path);
        outer
            .recorder
            .set_property("video-key-frame-interval-duration", 300u32);
        // None but those that are asked for.
        on_encoders(&outer, |encoder, _| {
            encoder.set_property("keyframe-max-dist", 1_000i32)
        });
        record(&outer, "BGRA");
        let keys = path.with_file_name("only-keys.webm");
        let copied = Command::new("ffmpeg")
            .args(["-v", "error", "-y", "-i"])
            .arg(&path)
            .args(["-c", "copy", "-bsf:v", "noise=drop=not(key)"])
            .arg(&keys)
            .status();
        assert!(copied.unwrap().success());
        let found = by_ffmpeg(&keys, codec);
        let due = [0, 9, 18, 27, 36].map(|number| (number, number));
        assert_eq!(found, due, "{codec}");
    }
}

#[test]
fn alpha_lasts_through_pauses_and_parts() {
    for codec in ["vp8", "vp9"] {
        let (_directory, path) = place_for("part-%d.webm");
        let outer = recorder(codec, "webm", &path);
        source(&outer, "is-live=true", "BGRA")
            .link(&outer.pad("video_%u"))
            .unwrap();
        outer.set_state(gst::State::Playing);
        let rest = || outer.wait_running(outer.running_time() + 250 * MILLI);
        for action in [
            "start",
            "pause",
            "resume",
            "split-now",
            "pause",
            "split-now",
            "resume",
            "stop",
        ] {
            outer.act(action);
            rest();
        }
        outer.wait_for("stop", 1);
        let parts = parts::told(&outer);
        assert_eq!(parts.len(), 3, "{codec}");
        let mut numbers = Vec::new();
        for part in &parts {
            let found = shown(&part.path, codec);
            assert!(found.len() >= 5, "{codec}: {found:?}");
            numbers.extend(found);
        }
        // A picture that a seam or a pause falls into is shown on both sides.
        assert!(numbers.is_sorted(), "{codec}: {numbers:?}");
        assert_eq!(outer.warnings(), Vec::<String>::new());
    }
}

#[test]
fn a_recording_that_begins_in_the_past_has_its_alpha() {
    let (_directory, path) = place_for("past.webm");
    let outer = recorder("vp8", "webm", &path);
    outer.recorder.set_property("pre-record-time", 2 * SECOND);
    source(&outer, "is-live=true", "BGRA")
        .link(&outer.pad("video_%u"))
        .unwrap();
    outer.set_state(gst::State::Playing);
    outer.wait_running(1_200 * MILLI);
    outer.act("start");
    outer.wait_running(outer.running_time() + 300 * MILLI);
    outer.act("stop");
    outer.wait_for("stop", 1);
    let numbers = shown(&path, "vp8");
    assert!(numbers.len() >= 30, "{numbers:?}");
    assert!(numbers.is_sorted(), "{numbers:?}");
}

/// Calls `with` for each encoder that is set up, and how many there were before.
fn on_encoders(outer: &Outer, with: impl Fn(&gst::Element, u64) + Send + Sync + 'static) {
    let count = AtomicU64::new(0);
    outer
        .recorder
        .connect("encoder-setup", false, move |values| {
            let encoder = values[2].get::<gst::Element>().unwrap();
            with(&encoder, count.fetch_add(1, Ordering::SeqCst));
            None
        });
}

#[test]
fn a_slow_encoder_drops_colour_and_alpha_together() {
    let (_directory, path) = place_for("slow.webm");
    let outer = recorder("vp8", "webm", &path);
    outer.recorder.set_property("max-queue-time", 200 * MILLI);
    on_encoders(&outer, move |encoder, number| {
        if number == 1 {
            let pad = encoder.static_pad("sink").unwrap();
            pad.add_probe(gst::PadProbeType::BUFFER, |_, _| {
                std::thread::sleep(Duration::from_millis(80));
                gst::PadProbeReturn::Ok
            });
        }
    });
    source(&outer, "is-live=true", "BGRA")
        .link(&outer.pad("video_%u"))
        .unwrap();
    outer.set_state(gst::State::Playing);
    outer.act("start");
    let dropped = || track(&outer).2;
    assert!(until(DEADLINE, || dropped() > 10), "nothing is dropped");
    outer.act("stop");
    outer.wait_for("stop", 1);
    let numbers = shown(&path, "vp8");
    assert!(numbers.len() >= 3, "{numbers:?}");
}

/// Whichever of the two encoders fails, a pair takes over, and no picture is lost.
#[test]
fn a_pair_of_encoders_is_replaced_as_one() {
    for broken in [0, 1] {
        let (_directory, path) = place_for("replaced.webm");
        let outer = recorder("vp8", "webm", &path);
        let set_up = Arc::new(AtomicU64::new(0));
        let seen = set_up.clone();
        on_encoders(&outer, move |encoder, number| {
            seen.fetch_add(1, Ordering::SeqCst);
            if number != broken {
                return;
            }
            let (pad, frames) = (encoder.static_pad("sink").unwrap(), AtomicU64::new(0));
            let encoder = encoder.downgrade();
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
                if frames.fetch_add(1, Ordering::SeqCst) < 17 {
                    return gst::PadProbeReturn::Ok;
                }
                let encoder = encoder.upgrade().unwrap();
                gst::element_error!(encoder, gst::StreamError::Encode, ["broken on purpose"]);
                drop(info.data.take());
                info.flow_res = Err(gst::FlowError::Error);
                gst::PadProbeReturn::Handled
            });
        });
        record(&outer, "BGRA");
        let numbers: Vec<u64> = (0..40).collect();
        assert_eq!(shown(&path, "vp8"), numbers, "encoder {broken}");
        assert_eq!(set_up.load(Ordering::SeqCst), 4);
        let warnings = outer.warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("vp8enc"), "{warnings:?}");
    }
}
