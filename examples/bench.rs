//! Whole pipelines with the recorder, in pairs with the same made by hand.
//!
//! `cargo run --release --example bench -- [--pairs N] [--json FILE] [SCENARIO…]`
//!
//! Each run is a process of its own; what counts is its CPU time (user and system), its wall
//! time and its peak RSS, as the kernel gives them when it ends. Runs alternate (A B A B …), so
//! that a noisy machine disturbs both alike; reported are the medians, the median of the pairs'
//! ratios, and the spread of those ratios (from the lower to the upper quartile).

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use gst::prelude::*;
use gstmediarecorder::formats::{Tuning, tune};
use std::{
    mem::MaybeUninit,
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus},
    time::{Duration, Instant},
};

#[derive(Parser)]
struct Args {
    /// Pairs of runs per scenario.
    #[arg(long, default_value_t = 9)]
    pairs: usize,
    /// Also write the figures here.
    #[arg(long)]
    json: Option<std::path::PathBuf>,
    /// Which (all): names as the table shows them.
    scenarios: Vec<String>,
    /// For the program's own children.
    #[arg(long, hide = true)]
    child: Option<String>,
}

/// A piece of work and its two ways.
struct Scenario {
    name: &'static str,
    what: &'static str,
    recorder: fn() -> Result<()>,
    by_hand: fn() -> Result<()>,
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "vp8-360p",
        what: "640x360 VP8 and Opus into a file, 20 s as fast as possible",
        recorder: || recorder(640, 360, 600),
        by_hand: || by_hand(640, 360, 600, ""),
    },
    Scenario {
        name: "vp8-360p-queues",
        what: "the same, by hand with queues",
        recorder: || recorder(640, 360, 600),
        by_hand: || {
            by_hand(
                640,
                360,
                600,
                "queue max-size-time=2000000000 max-size-bytes=0 max-size-buffers=0 !",
            )
        },
    },
    Scenario {
        name: "vp8-720p",
        what: "1280x720 VP8 and Opus into a file, 5 s as fast as possible",
        recorder: || recorder(1280, 720, 150),
        by_hand: || by_hand(1280, 720, 150, ""),
    },
    Scenario {
        name: "passthrough",
        what: "Opus packets and VP8 frames stored as they come, 10 minutes of each",
        recorder: || passthrough(true),
        by_hand: || passthrough(false),
    },
    Scenario {
        name: "inactive-1080p60",
        what: "inactive behind a live 1080p60 source, beside a fakesink in its place, 5 s",
        recorder: || inactive("mediarecorder"),
        by_hand: || inactive("fakesink sync=false async=false"),
    },
];

fn run(pipeline: &gst::Pipeline) -> Result<()> {
    pipeline.set_state(gst::State::Playing)?;
    let bus = pipeline.bus().context("no bus")?;
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = bus
        .timed_pop_filtered(gst::ClockTime::from_seconds(300), &kinds)
        .context("no end within 300 s")?;
    pipeline.set_state(gst::State::Null)?;
    match message.view() {
        gst::MessageView::Error(error) => bail!("{error:?}"),
        _ => Ok(()),
    }
}

fn launch(line: &str) -> Result<gst::Pipeline> {
    let element = gst::parse::launch(line).with_context(|| line.to_owned())?;
    element.downcast().ok().context("no pipeline")
}

fn file() -> Result<tempfile::TempPath> {
    let file = tempfile::Builder::new().suffix(".webm").tempfile()?;
    Ok(file.into_temp_path())
}

fn sources(width: u32, height: u32, frames: u32) -> (String, String) {
    let video = format!(
        "videotestsrc pattern=smpte horizontal-speed=3 num-buffers={frames} ! \
         video/x-raw,format=I420,width={width},height={height},framerate=30/1 !"
    );
    let buffers = frames * 10 / 3;
    let audio = format!(
        "audiotestsrc wave=pink-noise samplesperbuffer=480 num-buffers={buffers} ! \
         audio/x-raw,format=S16LE,rate=48000,channels=2 !"
    );
    (video, audio)
}

fn recorder(width: u32, height: u32, frames: u32) -> Result<()> {
    let path = file()?;
    let (video, audio) = sources(width, height, frames);
    run(&launch(&format!(
        "mediarecorder name=r autostart=true location={} {video} r.video_0 {audio} r.audio_0",
        path.display()
    ))?)
}

fn by_hand(width: u32, height: u32, frames: u32, queue: &str) -> Result<()> {
    let path = file()?;
    let (video, audio) = sources(width, height, frames);
    let pipeline = launch(&format!(
        "webmmux name=m ! filesink location={} \
         {video} {queue} videoconvert ! videoscale ! vp8enc name=v ! m. \
         {audio} {queue} audioconvert ! audioresample ! opusenc name=a ! m.",
        path.display()
    ))?;
    let cores = std::thread::available_parallelism()?.get();
    let tuning = Tuning {
        bits_per_second: gstmediarecorder::model::VideoSize {
            width,
            height,
            fps: 30.0,
        }
        .suitable_rate(),
        width,
        height,
        fps: 30.0,
        cores,
        ..Tuning::default()
    };
    tune(&pipeline.by_name("v").context("vp8enc")?, &tuning);
    let tuning = Tuning {
        bits_per_second: 128_000,
        rate: 48_000,
        channels: 2,
        cores,
        ..Tuning::default()
    };
    tune(&pipeline.by_name("a").context("opusenc")?, &tuning);
    run(&pipeline)
}

/// Two encoded streams out of memory, many packets a second.
fn passthrough(with_recorder: bool) -> Result<()> {
    let path = file()?;
    let take = match with_recorder {
        true => format!(
            "mediarecorder name=r autostart=true location={}",
            path.display()
        ),
        false => format!("webmmux name=r ! filesink location={}", path.display()),
    };
    let pipeline = launch(&format!(
        "{take} appsrc name=v format=time block=true max-bytes=8000000 ! video/x-vp8,width=320,height=240,framerate=100/1,profile=(string)0 ! r.video_0 \
         appsrc name=a format=time block=true max-bytes=1000000 ! \
         audio/x-opus,channel-mapping-family=0,rate=48000,channels=2,stream-count=1,coupled-count=1 ! r.audio_0"
    ))?;
    // A VP8 key frame's first bytes are all that a muxer looks at.
    let mut frame = vec![0x55u8; 12_500];
    frame.splice(
        ..10,
        [0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00],
    );
    let feed = |name: &str, bytes: Vec<u8>, step: u64| -> Result<()> {
        let appsrc = pipeline
            .by_name(name)
            .and_then(|element| element.downcast::<gst_app::AppSrc>().ok())
            .context("appsrc")?;
        let whole = gst::Buffer::from_slice(bytes);
        std::thread::spawn(move || {
            for number in 0..600_000_000_000 / step {
                let mut buffer = whole.copy();
                let stamped = buffer.make_mut();
                stamped.set_pts(gst::ClockTime::from_nseconds(number * step));
                stamped.set_duration(gst::ClockTime::from_nseconds(step));
                if appsrc.push_buffer(buffer).is_err() {
                    return;
                }
            }
            let _ = appsrc.end_of_stream();
        });
        Ok(())
    };
    feed("v", frame, 10_000_000)?;
    feed("a", vec![0xfc; 160], 2_500_000)?;
    run(&pipeline)
}

fn inactive(take: &str) -> Result<()> {
    let pipeline = launch(&format!(
        "videotestsrc is-live=true pattern=black ! \
         video/x-raw,format=I420,width=1920,height=1080,framerate=60/1 ! {take}"
    ))?;
    pipeline.set_state(gst::State::Playing)?;
    std::thread::sleep(Duration::from_secs(5));
    pipeline.set_state(gst::State::Null)?;
    Ok(())
}

/// What one run has cost.
#[derive(Clone, Copy, Default)]
struct Cost {
    cpu: f64,
    wall: f64,
    rss: f64,
}

/// Waits for a child with what the kernel has counted for it.
fn wait(child: &Child) -> Result<(ExitStatus, libc::rusage)> {
    let pid = libc::pid_t::try_from(child.id())?;
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers are to memory of ours, of the right types, that outlives the call;
    // a zeroed rusage is a valid one.
    let (done, usage) = unsafe {
        let done = libc::wait4(pid, &mut status, 0, usage.as_mut_ptr());
        (done, usage.assume_init())
    };
    ensure!(done == pid, "wait4: {}", std::io::Error::last_os_error());
    Ok((ExitStatus::from_raw(status), usage))
}

fn measure(scenario: &str, way: &str) -> Result<Cost> {
    let begun = Instant::now();
    let child = Command::new(std::env::current_exe()?)
        .args(["--child", way, scenario])
        .spawn()?;
    let (status, usage) = wait(&child)?;
    ensure!(status.success(), "{scenario} {way}: {status}");
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok(Cost {
        cpu: seconds(usage.ru_utime) + seconds(usage.ru_stime),
        wall: begun.elapsed().as_secs_f64(),
        rss: usage.ru_maxrss as f64 / 1024.0,
    })
}

/// The value below which a share of the values lie.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = ((sorted.len().saturating_sub(1)) as f64 * share).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

fn compare(scenario: &Scenario, pairs: usize) -> Result<serde_json::Value> {
    let mut runs = Vec::new();
    // One of each to warm caches, not counted.
    for way in ["recorder", "by-hand"] {
        measure(scenario.name, way)?;
    }
    for _ in 0..pairs {
        let recorder = measure(scenario.name, "recorder")?;
        let by_hand = measure(scenario.name, "by-hand")?;
        runs.push((recorder, by_hand));
    }
    let of = |pick: fn(&Cost) -> f64, recorder: bool| -> Vec<f64> {
        let side = |pair: &(Cost, Cost)| if recorder { pair.0 } else { pair.1 };
        runs.iter().map(|pair| pick(&side(pair))).collect()
    };
    let figures = |name: &str, pick: fn(&Cost) -> f64| {
        let ratios: Vec<f64> = runs.iter().map(|(a, b)| pick(a) / pick(b)).collect();
        let [low, middle, high] = [0.25, 0.5, 0.75].map(|share| quantile(&ratios, share));
        let (a, b) = (
            quantile(&of(pick, true), 0.5),
            quantile(&of(pick, false), 0.5),
        );
        println!(
            "| {} | {name} | {a:.3} | {b:.3} | {middle:.3} | {low:.3} to {high:.3} |",
            scenario.name
        );
        serde_json::json!({
            "recorder": a, "by_hand": b, "ratio": middle, "quartiles": [low, high],
        })
    };
    Ok(serde_json::json!({
        "scenario": scenario.name,
        "what": scenario.what,
        "pairs": pairs,
        "cpu_seconds": figures("CPU s", |cost| cost.cpu),
        "wall_seconds": figures("wall s", |cost| cost.wall),
        "peak_rss_mib": figures("peak RSS MiB", |cost| cost.rss),
    }))
}

fn main() -> Result<()> {
    let args = Args::parse();
    gst::init()?;
    gstmediarecorder::plugin_register_static()?;
    let wanted = |scenario: &&Scenario| {
        args.scenarios.is_empty() || args.scenarios.iter().any(|name| name == scenario.name)
    };
    let chosen: Vec<_> = SCENARIOS.iter().filter(wanted).collect();
    ensure!(!chosen.is_empty(), "no such scenario: {:?}", args.scenarios);
    if let Some(way) = &args.child {
        return match way.as_str() {
            "recorder" => (chosen[0].recorder)(),
            _ => (chosen[0].by_hand)(),
        };
    }
    for scenario in &chosen {
        println!("{}: {}", scenario.name, scenario.what);
    }
    println!("\n| scenario | figure | recorder | by hand | ratio | quartiles of the ratio |");
    println!("|---|---|---|---|---|---|");
    let mut figures = Vec::new();
    for scenario in chosen {
        figures.push(compare(scenario, args.pairs)?);
    }
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_string_pretty(&figures)?)?;
    }
    Ok(())
}
