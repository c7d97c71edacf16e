//! Colours are preserved, whatever colorimetry the codec can signal: the recording as decoded by FFmpeg and
//! GStreamer is compared with the input, as RGB.

mod common;

use common::app::App;
use common::signal::feed::{Feed, Upstream};
use gst::prelude::*;
use std::path::Path;
use std::process::Command;

const FRAMES: u64 = 10;
const PATCH: usize = 80;
const COLUMNS: usize = 4;
const WIDTH: usize = COLUMNS * PATCH;
const HEIGHT: usize = 2 * PATCH;

/// R', G' and B' of the patches.
const PATCHES: [[u8; 3]; 8] = [
    [250, 250, 250],
    [128, 128, 128],
    [8, 8, 8],
    [200, 30, 40],
    [30, 180, 60],
    [40, 50, 210],
    [220, 200, 50],
    [210, 160, 130],
];
/// Maximum colour difference, of 255: the cost of compression and rounding to 8 bits.
const TOLERANCE: i32 = 6;

/// Raw video with known colours.
struct Input {
    /// GStreamer's colorimetry, name or numbers: range, matrix, transfer, primaries.
    colorimetry: &'static str,
    format: &'static str,
    /// Weights of red and blue in luma; none for RGB.
    weights: Option<(f64, f64)>,
    full_range: bool,
}

const fn yuv(colorimetry: &'static str, weights: (f64, f64), full_range: bool) -> Input {
    Input {
        colorimetry,
        format: "I420",
        weights: Some(weights),
        full_range,
    }
}

const BT601: (f64, f64) = (0.299, 0.114);
const BT709: (f64, f64) = (0.2126, 0.0722);
const BT2020: (f64, f64) = (0.2627, 0.0593);

const INPUTS: [Input; 9] = [
    yuv("bt601", BT601, false),
    yuv("bt709", BT709, false),
    yuv("bt2020", BT2020, false),
    // JPEG's, as produced by webcams and JPEG decoders.
    yuv("1:4:0:0", BT601, true),
    yuv("1:4:7:1", BT601, true),
    yuv("1:3:5:1", BT709, true),
    // Only the matrix is known.
    yuv("2:3:0:0", BT709, false),
    Input {
        format: "Y444",
        ..yuv("1:4:0:0", BT601, true)
    },
    Input {
        colorimetry: "sRGB",
        format: "BGRx",
        weights: None,
        full_range: true,
    },
];

const TYPES: [&str; 13] = [
    "video/webm;codecs=vp8",
    "video/webm;codecs=vp9",
    "video/webm;codecs=av1",
    "video/x-matroska;codecs=vp8",
    "video/x-matroska;codecs=vp9",
    "video/x-matroska;codecs=avc1",
    "video/x-matroska;codecs=hvc1",
    "video/mp4;codecs=avc1",
    "video/mp4;codecs=hvc1",
    "video/mp4;codecs=vp9",
    "video/mp4;codecs=av1",
    "video/ogg;codecs=theora",
    "video/x-matroska;codecs=ffv1",
];

impl Input {
    fn caps(&self) -> gst::Caps {
        gst::Caps::builder("video/x-raw")
            .field("format", self.format)
            .field("width", WIDTH as i32)
            .field("height", HEIGHT as i32)
            .field("framerate", gst::Fraction::new(25, 1))
            .field("colorimetry", self.colorimetry)
            .build()
    }

    /// Y, Cb and Cr of a colour (ITU-R BT.601, BT.709, BT.2020).
    fn components(&self, rgb: [u8; 3], (red, blue): (f64, f64)) -> [u8; 3] {
        let [r, g, b] = rgb.map(|value| f64::from(value) / 255.0);
        let luma = red * r + (1.0 - red - blue) * g + blue * b;
        let (cb, cr) = (
            (b - luma) / (2.0 * (1.0 - blue)),
            (r - luma) / (2.0 * (1.0 - red)),
        );
        let (offset, height, chroma) = if self.full_range {
            (0.0, 255.0, 255.0)
        } else {
            (16.0, 219.0, 224.0)
        };
        let round = |value: f64| value.round().clamp(0.0, 255.0) as u8;
        [
            round(offset + height * luma),
            round(128.0 + chroma * cb),
            round(128.0 + chroma * cr),
        ]
    }

    fn frame(&self) -> Vec<u8> {
        let patch = |x: usize, y: usize| PATCHES[y / PATCH * COLUMNS + x / PATCH];
        let pixels = |step: usize| {
            let rows = (0..HEIGHT).step_by(step);
            rows.flat_map(move |y| (0..WIDTH).step_by(step).map(move |x| (x, y)))
        };
        let Some(weights) = self.weights else {
            return pixels(1)
                .flat_map(|(x, y)| {
                    let [r, g, b] = patch(x, y);
                    [b, g, r, 255]
                })
                .collect();
        };
        let subsampled = if self.format == "I420" { 2 } else { 1 };
        let plane = |component: usize, step| {
            pixels(step).map(move |(x, y)| self.components(patch(x, y), weights)[component])
        };
        plane(0, 1)
            .chain(plane(1, subsampled))
            .chain(plane(2, subsampled))
            .collect()
    }
}

fn record(input: &Input, mime_type: &str, path: &Path) {
    let app = App::new(mime_type, path);
    app.recorder.set_property("autostart", true);
    app.recorder
        .set_property("video-bits-per-second", 4_000_000u32);
    let feed = Feed::new(&app.pad("video_%u"), &input.caps(), Upstream::NotLive);
    app.set_state(gst::State::Playing);
    let frame = input.frame();
    for number in 0..FRAMES {
        let mut buffer = gst::Buffer::from_slice(frame.clone());
        let stamped = buffer.get_mut().unwrap();
        stamped.set_pts(gst::ClockTime::from_mseconds(40 * number));
        stamped.set_duration(gst::ClockTime::from_mseconds(40));
        feed.push(buffer).expect("taken");
    }
    feed.end();
    app.wait_for("stop", 1);
}

/// The last frame as RGB, decoded by FFmpeg.
fn shown_by_ffmpeg(path: &Path) -> Vec<u8> {
    let output = Command::new("timeout")
        .args(["60", "ffmpeg", "-v", "error", "-nostdin", "-i"])
        .arg(path)
        .args([
            "-sws_flags",
            "accurate_rnd+full_chroma_int",
            "-fps_mode",
            "passthrough",
        ])
        .args(["-pix_fmt", "rgb24", "-f", "rawvideo", "pipe:1"])
        .output()
        .expect("ffmpeg runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let frame = WIDTH * HEIGHT * 3;
    assert!(output.stdout.len() >= frame, "a frame of that size");
    output.stdout[output.stdout.len() - frame..].to_vec()
}

/// The last frame as RGB, decoded by GStreamer.
fn shown_by_gstreamer(path: &Path) -> Vec<u8> {
    // 16 bits per component: the fast paths of 1.22 to 8 bits are already off by 5.
    let line = "filesrc name=file ! decodebin ! videoconvert ! video/x-raw,format=ARGB64_LE ! \
                appsink name=out sync=false max-buffers=1 drop=true wait-on-eos=false enable-last-sample=true";
    let pipeline = gst::parse::launch(line)
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
    pipeline
        .by_name("file")
        .unwrap()
        .set_property("location", path.to_str().unwrap());
    pipeline.set_state(gst::State::Playing).unwrap();
    let bus = pipeline.bus().unwrap();
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &ends);
    let end = end.expect("it ends");
    assert_eq!(end.type_(), gst::MessageType::Eos, "{end:?}");
    let sample: gst::Sample = pipeline.by_name("out").unwrap().property("last-sample");
    let frame = sample.buffer().unwrap().map_readable().unwrap();
    let pixels = frame.chunks_exact(8);
    let shown = pixels
        .flat_map(|argb| [argb[3], argb[5], argb[7]])
        .collect();
    pipeline.set_state(gst::State::Null).unwrap();
    shown
}

/// The largest difference of the patches, in the middle of each.
fn off(shown: &[u8]) -> i32 {
    let mut worst = 0;
    for (number, patch) in PATCHES.iter().enumerate() {
        let (x, y) = (
            number % COLUMNS * PATCH + PATCH / 2,
            number / COLUMNS * PATCH + PATCH / 2,
        );
        let at = (y * WIDTH + x) * 3;
        for (shown, wanted) in shown[at..at + 3].iter().zip(patch) {
            worst = worst.max((i32::from(*shown) - i32::from(*wanted)).abs());
        }
    }
    worst
}

/// Records an input as a type, and returns what is wrong.
fn fault(input: &Input, mime_type: &str) -> Option<String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("colours");
    record(input, mime_type, &path);
    let (ffmpeg, gstreamer) = (
        off(&shown_by_ffmpeg(&path)),
        off(&shown_by_gstreamer(&path)),
    );
    let what = format!(
        "{} {} as {mime_type}: FFmpeg {ffmpeg}, GStreamer {gstreamer} off",
        input.format, input.colorimetry
    );
    println!("{what}");
    (ffmpeg > TOLERANCE || gstreamer > TOLERANCE).then_some(what)
}

fn is_long() -> bool {
    std::env::var_os("MEDIARECORDER_LONG").is_some()
}

fn codec(mime_type: &str) -> &str {
    mime_type.split('=').nth(1).expect("a codec")
}

/// Every colorimetry with every codec, in alternating containers; all combinations with `--long`.
#[test]
fn colours_are_preserved_by_every_codec() {
    let mut faults = Vec::new();
    for (row, input) in INPUTS.iter().enumerate() {
        for mime_type in TYPES {
            let of_codec = TYPES
                .iter()
                .filter(|other| codec(other) == codec(mime_type));
            let of_codec: Vec<_> = of_codec.collect();
            if is_long() || *of_codec[row % of_codec.len()] == mime_type {
                faults.extend(fault(input, mime_type));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}
