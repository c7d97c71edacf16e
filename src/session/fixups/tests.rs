//! Checks whether the installed GStreamer still needs each row of the table: a recording is made with and without the
//! row, each in its own process (without it, some crash or never end), and judged by FFmpeg or by GStreamer's demuxers.
//! docs/FIXUPS.md lists the results for each release of GStreamer.

mod judges;
mod proofs;

use super::{Fixup, SWITCHED_OFF, TABLE};
use gst::prelude::*;
use proofs::{PROOFS, Proof};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

/// A recording that takes longer is considered stuck.
const DEADLINE: Duration = Duration::from_secs(40);
/// The environment variables for the child process: the row to record for, and the output folder.
const ROW: &str = "MEDIARECORDER_TEST_FIXUP_ROW";
const FOLDER: &str = "MEDIARECORDER_TEST_FIXUP_FOLDER";
/// The name of [`record_for_a_row`].
const RECORD: &str = "session::fixups::tests::record_for_a_row";

#[test]
fn every_row_has_a_unique_name_and_proof() {
    let names: Vec<_> = TABLE.iter().map(|fixup| fixup.name).collect();
    let proofs: Vec<_> = PROOFS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, proofs, "in the same order");
    let mut unique = names.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), names.len());
}

/// Records without a row, in a child process, since that may crash.
fn fault_without(row: &'static str, off: &str) -> Result<(), String> {
    let (_, Proof::Records { file, judge, .. }) = proof(row) else {
        return Ok(());
    };
    let folder = tempfile::tempdir().unwrap();
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", RECORD, "--ignored", "--nocapture"])
        .env(ROW, row)
        .env(FOLDER, folder.path())
        .env(SWITCHED_OFF, off)
        .env("G_DEBUG", "fatal-warnings")
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(folder.path().join("stderr")).unwrap())
        .spawn()
        .unwrap();
    let end = Instant::now() + DEADLINE;
    let status = loop {
        if let Some(status) = process.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > end {
            process.kill().unwrap();
            process.wait().unwrap();
            return Err("it never ends".to_owned());
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    if !status.success() {
        let stderr = std::fs::read_to_string(folder.path().join("stderr")).unwrap_or_default();
        let why = stderr
            .lines()
            .find_map(|line| line.strip_prefix("recording: "));
        return Err(why.map_or_else(|| status.to_string(), str::to_owned));
    }
    judge(&folder.path().join(file))
}

fn proof(row: &str) -> &'static (&'static str, Proof) {
    PROOFS.iter().find(|(name, _)| *name == row).unwrap()
}

/// Records for one row; run in a child process by the other tests.
#[test]
#[ignore = "run by the test below, with a row to record for"]
fn record_for_a_row() {
    let (Ok(row), Ok(folder)) = (std::env::var(ROW), std::env::var(FOLDER)) else {
        return;
    };
    crate::fault::init();
    let (
        _,
        Proof::Records {
            line,
            file,
            prepare,
            ..
        },
    ) = proof(&row)
    else {
        return;
    };
    let location = PathBuf::from(folder).join(file);
    let recorder = format!(
        "mediarecorder name=rec autostart=true location={}",
        location.display()
    );
    let pipeline = gst::parse::launch(&line.replace("RECORDER", &recorder)).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    prepare(&pipeline, &location);
    if let Err(error) = play(&pipeline) {
        eprintln!("recording: {error}");
        std::process::exit(1);
    }
}

fn play(pipeline: &gst::Pipeline) -> Result<(), String> {
    let bus = pipeline.bus().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = bus.timed_pop_filtered(None, &ends);
    pipeline.set_state(gst::State::Null).unwrap();
    match message.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Error(error)) => Err(error.error().to_string()),
        _ => Ok(()),
    }
}

/// The GStreamer releases that docs/FIXUPS.md covers.
const RELEASES: [(u32, u32); 3] = [(1, 22), (1, 26), (1, 28)];
/// The page in the repository.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/FIXUPS.md");

/// docs/FIXUPS.md, generated from the table.
fn page() -> String {
    let mut page = String::from(
        "# Fixups\n\n\
         Faults of GStreamer elements, and the workarounds for them in the recorder: the rows of \
         `src/session/fixups/table.rs`, in installation order. `cargo test --lib each_row` switches each one off, records with the \
         installed GStreamer, and compares the result, as read by FFmpeg or GStreamer, with this table; with `-- --nocapture` it prints \
         the result. \u{2013}: the recording shows no fault. A row is removed once no supported release shows its fault, with any \
         codec and container that it applies to.\n\n\
         | fixup | element | fault | 1.22 | 1.26 | 1.28 |\n|---|---|---|---|---|---|\n",
    );
    let mut unproved = String::new();
    for row in TABLE {
        let (_, proof) = proof(row.name);
        let cells = RELEASES.map(|release| match (proof, row.versions.contain(release)) {
            (Proof::None(_), true) => "assumed",
            (_, true) => "fault",
            (_, false) => "–",
        });
        let Fixup {
            name,
            element,
            report,
            ..
        } = row;
        let cells = cells.join(" | ");
        page += &format!("| {name} | {element} | {report} | {cells} |\n");
        if let Proof::None(why) = proof {
            unproved += &format!("- {name}: {why}.\n");
        }
    }
    page + "\nNot proved by switching them off:\n\n" + &unproved
}

#[test]
fn the_page_is_up_to_date() {
    if std::env::var_os("MEDIARECORDER_WRITE_DOCS").is_some() {
        std::fs::write(PAGE, page()).unwrap();
    }
    assert!(
        std::fs::read_to_string(PAGE).unwrap_or_default() == page(),
        "write docs/FIXUPS.md anew: MEDIARECORDER_WRITE_DOCS=1 cargo test --lib the_page_is"
    );
}

/// The installed release.
fn installed() -> (u32, u32) {
    let (major, minor, ..) = gst::version();
    (major, minor)
}

#[test]
fn each_row_is_needed_in_the_versions_it_lists() {
    crate::fault::init();
    let only = std::env::var("FIXUP").unwrap_or_default();
    let rows = TABLE.iter().filter(|row| row.name.contains(&only));
    let rows = Mutex::new(rows);
    let found = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let row = rows.lock().unwrap().next();
                    let Some(row) = row else {
                        return;
                    };
                    let with = fault_without(row.name, "");
                    let without = fault_without(row.name, row.name);
                    found.lock().unwrap().insert(row.name, (with, without));
                }
            });
        }
    });
    let found = found.into_inner().unwrap();
    let mut wrong = Vec::new();
    let (major, minor) = installed();
    println!("GStreamer {major}.{minor}, without the row:");
    for row in TABLE {
        let Some((with, without)) = found.get(row.name) else {
            continue;
        };
        let (_, proof) = proof(row.name);
        let what = match (proof, without) {
            (Proof::None(why), _) => format!("not shown: {why}"),
            (_, Ok(())) => "no fault".to_owned(),
            (_, Err(fault)) => fault.clone(),
        };
        println!("{:22} {what}", row.name);
        if let Err(fault) = with {
            wrong.push(format!("{}: with the row, {fault}", row.name));
        }
        let has_fault = row.versions.contain(installed());
        if matches!(proof, Proof::Records { .. }) && without.is_err() != has_fault {
            let table = if has_fault { "has it" } else { "has it not" };
            wrong.push(format!(
                "{}: without the row, {what}; by the table {major}.{minor} {table}",
                row.name
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
