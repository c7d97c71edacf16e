//! Records to a file and uploads it to object storage while it grows: seconds after the end, the object is the
//! finished file, without a second local copy.
//!
//! ```text
//! cargo run --example upload -- --help
//! cargo run --example upload -- --test --seconds 60 --endpoint http://127.0.0.1:5000 s3://bucket/talk.webm talk.webm
//! ```
//!
//! The pieces of a multipart upload are sent in the order in which they become final. The recorder patches the
//! header of a file when the recording ends (duration, index), so the first piece is sent last.

mod args;
mod journal;
mod progress;
mod recording;
mod settled;
mod upload;

use std::fs::File;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;

use crate::args::Args;
use crate::journal::Journal;
use crate::progress::Progress;
use crate::recording::Recording;
use crate::settled::Settled;
use crate::upload::{Server, Upload};

/// Polling interval of the growing file.
const LOOK: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // `eprintln!` would panic if the terminal has been closed.
            let _ = writeln!(std::io::stderr(), "upload: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let progress = Arc::new(Progress::default());
    let server = Server::new(args, progress.clone())?;
    let line = progress.show();
    let result = runtime.block_on(async {
        if args.resume {
            resume(args, server, &progress).await
        } else {
            record(args, server, &progress).await
        }
    });
    line.end();
    result
}

/// Records, and uploads meanwhile.
async fn record(args: &Args, server: Server, progress: &Arc<Progress>) -> Result<()> {
    let mut settled = Settled::new(&args.file)?;
    // Before the recording, so that a wrong key or bucket is reported first.
    let id = server.begin().await?;
    let recording = Recording::start(args)?;
    let file = File::open(&args.file)?;
    let journal = Journal::create(&args.file, &args.destination, args.part_size, id)?;
    let mut upload = Upload::new(server, file, journal);

    let mut fails = false;
    while !recording.is_over() {
        progress.set_recorded(upload.length()?);
        let end = settled.look(upload.file())?;
        // The recording continues whatever the server responds.
        if !fails && let Err(error) = upload.send_until(end).await {
            progress.note(&format!("{error:#}: recording continues"));
            fails = true;
        }
        tokio::time::sleep(LOOK).await;
    }
    let recorded = recording.finish();
    // The recording is worth keeping, however it ended.
    progress.set_recorded(upload.length()?);
    upload.finish().await.with_context(|| advice(args))?;
    recorded?;
    done(args, upload, progress)
}

/// Finishes an upload from its journal.
async fn resume(args: &Args, server: Server, progress: &Arc<Progress>) -> Result<()> {
    let journal = Journal::open(&args.file, &args.destination)?;
    if server.has(&journal).await? {
        // Killed between the end of the upload and the deletion of the file.
        progress.note("the server has it all");
        return remove(args, journal);
    }
    let file = File::open(&args.file)
        .with_context(|| format!("--resume: {} cannot be read", args.file.display()))?;
    let mut upload = Upload::new(server, file, journal);
    progress.set_recorded(upload.length()?);
    upload.forget_what_differs()?;
    upload.finish().await.with_context(|| advice(args))?;
    done(args, upload, progress)
}

fn advice(args: &Args) -> String {
    format!(
        "{} is not uploaded, and stays: go on with --resume",
        args.file.display()
    )
}

fn done(args: &Args, upload: Upload, progress: &Progress) -> Result<()> {
    let size = upload.length()?;
    let journal = upload.into_journal();
    progress.note(&format!(
        "s3://{}/{}: {size} bytes in {} pieces, checksum right",
        args.destination.bucket,
        args.destination.key,
        journal.pieces.len()
    ));
    remove(args, journal)
}

/// The local copy is deleted first: a journal alone means that the server has it.
fn remove(args: &Args, journal: Journal) -> Result<()> {
    match std::fs::remove_file(&args.file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context(format!("{} cannot be deleted", args.file.display()))
        }
        _ => journal.remove(),
    }
}
