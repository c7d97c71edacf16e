//! A command-line recorder: how an application uses `mediarecorder`, in one small program.
//!
//! ```text
//! cargo run --example record -- --help
//! cargo run --example record -- --test --duration 3 --pause-at 1..2
//! cargo run --example record -- --input talk.wav --output talk.webm
//! cargo run --example record -- --split 10m --keep 20G
//! cargo run --example record -- --pre-record 30s
//! ```

mod args;
mod devices;
mod input;
mod keys;
mod live_line;
mod progress;
mod recording;
mod script;
mod sources;
mod summary;
mod units;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use gst::prelude::*;

use crate::args::Args;
use crate::live_line::Screen;
use crate::recording::Recording;
use crate::script::Script;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // `eprintln!` would panic if the terminal has been closed.
            let _ = writeln!(std::io::stderr(), "record: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    gst::init().context("GStreamer does not start")?;
    gstmediarecorder::plugin_register_static().context("the plugin cannot be registered")?;
    if args.list {
        return devices::print_list();
    }

    // All errors of the command line are reported before a device is opened.
    let script = Script::new(&args.pause_at)?;
    let mut screen = Screen::new();
    let recorder = prepare_recorder(args)?;
    let (decoder, sources) = match &args.input {
        Some(name) => {
            let (decoder, sources) = input::open(name, args)?;
            for source in &sources {
                screen.note(&format!("source: {}", source.label));
            }
            (Some(decoder), sources)
        }
        None => (None, sources::choose(args, &mut screen)?),
    };
    if sources.is_empty() {
        bail!("there is nothing to record");
    }
    let has_video = sources.iter().any(|s| s.kind == devices::Kind::Video);
    args.apply_type_and_location(&recorder, has_video)?;

    let result = {
        // Dropped at the end of this block, so that the terminal is restored before the output below.
        let raw = keys::RawTerminal::enter();
        let mut recording = Recording::new(args, script, &recorder, sources, raw.as_ref())?;
        if let Some(decoder) = &decoder {
            recording.decode(decoder, &mut screen)?;
        }
        recording.run(&mut screen)
    };
    // Both lines matter after a failure: what went wrong, and what was saved.
    let outcome = result?;
    if let Some(location) = &outcome.location {
        summary::print(location, &outcome);
    }
    match outcome.failure {
        Some(failure) => bail!("{failure}"),
        None if outcome.location.is_none() => bail!("nothing was recorded"),
        None => Ok(()),
    }
}

/// Creates the element and checks the type before any device is opened.
fn prepare_recorder(args: &Args) -> Result<gst::Element> {
    let recorder = gst::ElementFactory::make("mediarecorder")
        .name("rec")
        .build()
        .context("the mediarecorder element cannot be made")?;
    if let Some(format) = &args.format {
        let supported: bool = recorder.emit_by_name("is-type-supported", &[format]);
        if !supported {
            bail!(
                "{format} cannot be recorded here: not a type mediarecorder knows, or its encoder \
                 or muxer is not installed (video/webm and audio/webm need the least)"
            );
        }
    }
    args.apply_options(&recorder);
    Ok(recorder)
}
