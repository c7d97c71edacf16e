//! Cost and benefit of the encoders' speeds: the same clip at each, by CPU time and SSIM.

use crate::{
    Way,
    pipeline::{element, launch, run, tune_video},
    place::Place,
    process::{Part, measure},
};
use anyhow::{Context, Result, ensure};
use gst::prelude::*;
use serde_json::{Value, json};
use std::process::Command;

/// What a child process is asked for.
pub const WORK: &str = "encode";

/// An encoder and the speeds that it may use, the slowest first.
struct Speeds {
    encoder: &'static str,
    /// The elements between it and the muxer.
    behind: &'static str,
    property: &'static str,
    values: &'static [&'static str],
}

const SPEEDS: [Speeds; 5] = [
    Speeds {
        encoder: "vp8enc",
        behind: "",
        property: "cpu-used",
        values: &["-4", "-6", "-8", "-12", "-16"],
    },
    Speeds {
        encoder: "vp9enc",
        behind: "",
        property: "cpu-used",
        values: &["5", "6", "7", "8", "9"],
    },
    Speeds {
        encoder: "x264enc",
        behind: "h264parse !",
        property: "speed-preset",
        values: &["faster", "veryfast", "superfast", "ultrafast"],
    },
    Speeds {
        encoder: "av1enc",
        behind: "av1parse !",
        property: "cpu-used",
        values: &["7", "8", "9", "10"],
    },
    Speeds {
        encoder: "x265enc",
        behind: "h265parse !",
        property: "speed-preset",
        values: &["superfast", "ultrafast"],
    },
];

/// Frames of a clip, and how many.
const CLIPS: [(u32, u32, u32); 3] = [(640, 360, 150), (1280, 720, 90), (1920, 1080, 60)];

/// A speed of an encoder on a clip.
fn number(speeds: usize, clip: usize, value: usize) -> u64 {
    (speeds * 100 + clip * 10 + value) as u64
}

/// Encodes number `number`.
pub fn encode(place: &Place, number: u64) -> Result<()> {
    let at = |of: u64| usize::try_from(of).unwrap_or(usize::MAX);
    let speeds = SPEEDS.get(at(number / 100)).context("no such encoder")?;
    let (width, height, _) = *CLIPS.get(at(number / 10 % 10)).context("no such clip")?;
    let value = *speeds
        .values
        .get(at(number % 10))
        .context("no such speed")?;
    let pipeline = launch(&format!(
        "filesrc location={} blocksize={} ! rawvideoparse format=i420 width={width} height={height} framerate=30/1 ! \
         {} name=v ! {} matroskamux ! filesink location={}",
        clip(place, width).display(),
        width * height * 3 / 2,
        speeds.encoder,
        speeds.behind,
        place.recording().display(),
    ))?;
    let encoder = element(&pipeline, "v")?;
    tune_video(&encoder, width, height);
    encoder.set_property_from_str(speeds.property, value);
    let part = Part::begin();
    run(&pipeline)?;
    part.say();
    Ok(())
}

fn clip(place: &Place, width: u32) -> std::path::PathBuf {
    place.dir().join(format!("clip-{width}.yuv"))
}

fn make_clip(place: &Place, (width, height, frames): (u32, u32, u32)) -> Result<()> {
    let path = clip(place, width);
    if path.exists() {
        return Ok(());
    }
    // Moving edges and flat areas, with camera noise.
    let source = format!(
        "mandelbrot=size={width}x{height}:rate=30:start_scale=0.5:end_scale=0.02:end_pts=300"
    );
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", &source])
        .args(["-vf", "noise=alls=6:allf=t,format=yuv420p"])
        .args(["-frames:v", &frames.to_string(), "-f", "rawvideo"])
        .arg(path)
        .status()
        .context("ffmpeg")?;
    ensure!(made.success(), "ffmpeg makes no clip: {made}");
    Ok(())
}

/// The similarity of the recording to its clip: 1 if identical.
fn likeness(place: &Place, (width, height, _): (u32, u32, u32)) -> Result<f64> {
    let compared = Command::new("ffmpeg")
        .args(["-nostdin", "-r", "30", "-i"])
        .arg(place.recording())
        .args(["-f", "rawvideo", "-pix_fmt", "yuv420p", "-r", "30"])
        .args(["-s", &format!("{width}x{height}"), "-i"])
        .arg(clip(place, width))
        .args(["-lavfi", "[0:v][1:v]ssim", "-f", "null", "-"])
        .output()
        .context("ffmpeg")?;
    let said = String::from_utf8_lossy(&compared.stderr);
    let all = said.rsplit("All:").next().filter(|_| said.contains("All:"));
    let all = all.and_then(|all| all.split_whitespace().next());
    all.and_then(|all| all.parse().ok())
        .with_context(|| format!("no SSIM in {said}"))
}

/// Prints the cost of each speed; `names`: of these encoders (all).
pub fn report(names: &[String], place: &mut Place) -> Result<Value> {
    place.keep();
    let mut figures = Vec::new();
    println!("| encoder | speed | size | CPU ms per frame | frames per second | SSIM | kbit/s |");
    println!("|---|---|---|---|---|---|---|");
    for (which, speeds) in SPEEDS.iter().enumerate() {
        let wanted = names.is_empty() || names.iter().any(|name| name == speeds.encoder);
        if !wanted || gst::ElementFactory::find(speeds.encoder).is_none() {
            continue;
        }
        for (clip, size) in CLIPS.iter().enumerate() {
            make_clip(place, *size)?;
            let (width, height, frames) = *size;
            for (value, speed) in speeds.values.iter().enumerate() {
                let (cost, _) = measure(place, WORK, Way::ByHand, number(which, clip, value))?;
                let ssim = likeness(place, *size)?;
                let frames = f64::from(frames);
                let (each, rate) = (cost.cpu / frames * 1e3, frames / cost.wall);
                let bytes = std::fs::metadata(place.recording())?.len();
                let kbits = bytes as f64 * 8.0 / (frames / 30.0) / 1e3;
                println!(
                    "| {} | {}={speed} | {width}x{height} | {each:.2} | {rate:.0} | {ssim:.4} | {kbits:.0} |",
                    speeds.encoder, speeds.property
                );
                figures.push(json!({
                    "encoder": speeds.encoder, "property": speeds.property, "speed": speed,
                    "width": width, "height": height, "cpu_ms_per_frame": each,
                    "frames_per_second": rate, "ssim": ssim, "kbits_per_second": kbits,
                }));
            }
        }
    }
    Ok(json!(figures))
}
