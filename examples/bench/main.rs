//! The recorder's cost compared with hand-made pipelines: whole pipelines in pairs, latency, growth.
//!
//! ```text
//! cargo run --release --example bench -- [--pairs N] [--json FILE] [SCENARIO…]
//! cargo run --release --example bench -- check [SCENARIO…]       do both do the same work?
//! cargo run --release --example bench -- latency [--json FILE]   of start and stop
//! cargo run --release --example bench -- growth [--json FILE] [--svg FILE]
//! cargo run --release --example bench -- sync [--pairs N] [--json FILE]   what synchronising costs upstream
//! cargo run --release --example bench -- encoders [--json FILE] [ENCODER…]   the cost of their speeds
//! ```
//!
//! Each run is a separate process, measured by CPU time (user and system), wall time, and peak memory and
//! threads. Runs alternate (A B A B …), so that a noisy machine affects both equally; the results are the
//! medians, the median of the pairs' ratios, and the interquartile range of those ratios.

mod encoded;
mod encoders;
mod figures;
mod growth;
mod idle;
mod latency;
mod pairs;
mod pipeline;
mod place;
mod plot;
mod process;
mod push;
mod raw;
mod same_work;
mod sample;
mod scenarios;
mod sync;
mod togglerecord;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand, ValueEnum};
use place::Place;
use scenarios::{SCENARIOS, Scenario, chosen};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Args {
    /// Pairs of runs per scenario.
    #[arg(long, default_value_t = 9)]
    pairs: usize,
    /// Also write the figures here.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Which (all): names as in the table.
    scenarios: Vec<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Whether both variants of a scenario record the same packets and bytes, by ffprobe.
    Check { scenarios: Vec<String> },
    /// The latency of start and stop.
    Latency {
        /// Of each kind.
        #[arg(long, default_value_t = 15)]
        times: usize,
        /// Media of the long recording.
        #[arg(long, default_value_t = 60)]
        minutes: u64,
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// How cost grows with duration, tracks, recorders, cuts.
    Growth {
        #[arg(long)]
        json: Option<PathBuf>,
        /// Also plot it here.
        #[arg(long)]
        svg: Option<PathBuf>,
    },
    /// How long the chain functions take with sync-interval, on this disk and on a slow one (with strace).
    Sync {
        /// Pairs of runs on each disk.
        #[arg(long, default_value_t = 5)]
        pairs: usize,
        /// Live media of each run.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// CPU time and SSIM of the encoders' speeds.
    Encoders {
        encoders: Vec<String>,
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// One run.
    #[command(hide = true)]
    Child {
        #[arg(long)]
        dir: PathBuf,
        #[arg(long)]
        way: Way,
        #[arg(long)]
        amount: u64,
        #[arg(long)]
        keep: bool,
        work: String,
    },
}

/// With the recorder, or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Way {
    Recorder,
    ByHand,
}

impl Way {
    /// On the command line.
    pub fn name(self) -> &'static str {
        match self {
            Way::Recorder => "recorder",
            Way::ByHand => "by-hand",
        }
    }
}

/// What a child process does.
fn child(work: &str, way: Way, amount: u64, place: &Place) -> Result<()> {
    gstmediarecorder::plugin_register_static()?;
    match work {
        latency::LIVE => latency::live(place, amount),
        latency::ENCODER => latency::encoder(amount),
        latency::LENGTH => latency::length(place, amount),
        growth::MINUTES => growth::minutes(way, place, amount),
        growth::TRACKS => growth::tracks(way, place, amount),
        growth::LIVE => growth::live(way, place, amount),
        growth::RECORDERS => growth::recorders(way, place, amount),
        sync::WORK => sync::record(way, place, amount),
        encoders::WORK => encoders::encode(place, amount),
        growth::BUFFERS => growth::buffers(),
        _ => match SCENARIOS.iter().find(|scenario| scenario.name == work) {
            Some(scenario) => (scenario.work)(way, place),
            None => bail!("no such work: {work}"),
        },
    }
}

/// Those to run, with what they need.
fn prepared(names: &[String], place: &Place) -> Result<Vec<&'static Scenario>> {
    let scenarios = chosen(names)?;
    for scenario in &scenarios {
        if let Some(sample) = scenario.sample {
            sample.make(place)?;
        }
        if scenario.name.ends_with("togglerecord") {
            togglerecord::load()?;
        }
    }
    Ok(scenarios)
}

fn write(path: Option<&Path>, figures: &Value) -> Result<()> {
    match path {
        Some(path) => std::fs::write(path, serde_json::to_string_pretty(figures)? + "\n")
            .with_context(|| path.display().to_string()),
        None => Ok(()),
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    gst::init()?;
    match args.command {
        None => {
            let place = Place::new()?;
            let scenarios = prepared(&args.scenarios, &place)?;
            let figures = pairs::compare(&scenarios, args.pairs, &place)?;
            write(args.json.as_deref(), &json!(figures))
        }
        Some(Command::Check { scenarios }) => {
            let mut place = Place::new()?;
            let scenarios = prepared(&scenarios, &place)?;
            same_work::check(&scenarios, &mut place)
        }
        Some(Command::Latency {
            times,
            minutes,
            json,
        }) => {
            let figures = latency::report(times, minutes, &Place::new()?)?;
            write(json.as_deref(), &figures)
        }
        Some(Command::Growth { json, svg }) => {
            let curves = growth::report(&Place::new()?)?;
            if let Some(path) = svg {
                std::fs::write(path, plot::svg(&curves))?;
            }
            let figures: Vec<Value> = curves.iter().map(growth::Curve::json).collect();
            write(json.as_deref(), &json!(figures))
        }
        Some(Command::Sync {
            pairs,
            seconds,
            json,
        }) => {
            let figures = sync::report(pairs, seconds, &Place::new()?)?;
            write(json.as_deref(), &figures)
        }
        Some(Command::Encoders { encoders, json }) => {
            let figures = encoders::report(&encoders, &mut Place::new()?)?;
            write(json.as_deref(), &figures)
        }
        Some(Command::Child {
            dir,
            way,
            amount,
            keep,
            work,
        }) => child(&work, way, amount, &Place::at(&dir, keep)),
    }
}
