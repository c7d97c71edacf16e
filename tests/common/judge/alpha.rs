//! Frames that show a number in colour and in alpha, and decoders of VP8 and VP9 with alpha that read it.

use super::file;
use gst::prelude::*;
use std::path::Path;
use std::process::Command;

pub const WIDTH: usize = 127;
pub const HEIGHT: usize = 63;
const COLUMNS: usize = 8;

fn column(x: usize) -> usize {
    x * COLUMNS / WIDTH
}

/// A BGRA frame that shows a number in colour and in alpha, as Gray code: at a constant rate, libvpx repeats a VP9
/// frame if the next one is entirely different.
pub fn picture(number: u64) -> Vec<u8> {
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

/// The numbers that an RGBA frame shows in colour and in alpha.
fn read(rgba: &[u8]) -> (u64, u64) {
    let row = HEIGHT / 2 * WIDTH;
    let number = |component: usize, limit: u8| {
        let is_set = |column: usize| {
            let x = (2 * column + 1) * WIDTH / (2 * COLUMNS);
            rgba[(row + x) * 4 + component] > limit
        };
        // Each bit of a number is the XOR of its Gray code bit and all higher ones.
        let mut bit = 0;
        (0..COLUMNS).rev().fold(0, |number, column| {
            bit ^= u64::from(is_set(column));
            number << 1 | bit
        })
    };
    (number(1, 125), number(3, 155))
}

pub fn decode_with_ffmpeg(path: &Path, codec: &str) -> Vec<(u64, u64)> {
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

/// Drops the EOS of the alpha channel before alphacombine. In 1.26 and 1.28, that element returns EOS for the last
/// colour frame if its alpha frame and the EOS after it arrived first, also for other files. It only needs the EOS
/// of the colour channel.
fn keep_last_frame(pipeline: &gst::Bin) {
    let mut elements = pipeline.iterate_recurse().into_iter().flatten();
    let is_combine = |element: &gst::Element| {
        let factory = element.factory();
        factory.is_some_and(|factory| factory.name() == "alphacombine")
    };
    let combine = elements
        .find(is_combine)
        .expect("the decoder has an alphacombine");
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
    assert!(at_end, "GStreamer reaches EOS");
    numbers
}

/// The numbers that both decoders find; colour and alpha of each frame have to match.
pub fn shown(path: &Path, codec: &str) -> Vec<u64> {
    let found = decode_with_ffmpeg(path, codec);
    assert_eq!(found, by_gstreamer(path, codec), "{}", path.display());
    let numbers = found.iter().map(|(colour, alpha)| {
        assert_eq!(colour, alpha, "{codec}: {found:?}");
        *colour
    });
    numbers.collect()
}

/// Encodes 40 numbered frames with FFmpeg.
pub fn encode_with_ffmpeg(codec: &str, path: &Path) {
    let raw = path.with_extension("bgra");
    std::fs::write(&raw, (0..40).flat_map(picture).collect::<Vec<_>>()).unwrap();
    let encoder = if codec == "vp8" {
        "libvpx"
    } else {
        "libvpx-vp9"
    };
    let size = format!("{WIDTH}x{HEIGHT}");
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "bgra"])
        .args(["-video_size", &size, "-framerate", "30", "-i"])
        .arg(&raw)
        .args(["-c:v", encoder, "-b:v", "2M", "-pix_fmt", "yuva420p"])
        .args(["-auto-alt-ref", "0", "-g", "10"])
        .arg(path)
        .status();
    assert!(made.unwrap().success());
}
