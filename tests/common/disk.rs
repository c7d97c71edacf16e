//! Recordings on failing disks.

#![allow(dead_code, reason = "each test binary uses a part of this")]

use super::harness::{Kind, Rig, Track, code};
use super::settings::skipped;
use gst::prelude::*;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Uncompressed audio: a lot of data, and playable from any prefix of the file.
pub fn rig() -> (Rig, Vec<Track>) {
    let (rig, tracks) = Rig::live(1, 1);
    rig.recorder
        .set_property("mime-type", "video/x-matroska;codecs=vp8,pcm");
    (rig, tracks)
}

/// Waits for a recording that ends by an error; returns the error message and the bytes.
pub fn wait_failed(rig: &Rig, recording: usize) -> (String, Vec<u8>) {
    let events = rig.wait_recording(recording);
    let kinds: Vec<_> = events.iter().map(|e| e.kind).collect();
    assert!(
        kinds.ends_with(&[Kind::Error, Kind::Data, Kind::Stop]),
        "{events:?}"
    );
    assert_eq!(kinds.iter().filter(|k| **k == Kind::Error).count(), 1);
    let error = events.iter().find_map(|e| e.error.clone()).unwrap();
    assert_eq!(error.code(), code::UNKNOWN, "{error}");
    let bytes = events.iter().flat_map(|e| e.bytes.clone()).collect();
    (error.message().to_owned(), bytes)
}

/// A small file system, where mounting is permitted.
pub struct SmallFilesystem(tempfile::TempDir);

impl SmallFilesystem {
    pub fn mount(options: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(folder.path())
            .output()
            .is_ok_and(|output| output.status.success());
        if !mounted {
            skipped("full and read-only disks: mounting is not permitted");
        }
        mounted.then_some(SmallFilesystem(folder))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallFilesystem {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// Containers may forbid ptrace.
pub fn may_trace() -> bool {
    let tried = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .output();
    let tried = tried.expect("strace is installed: see scripts/install-deps");
    let denied = String::from_utf8_lossy(&tried.stderr).contains("not permitted");
    assert!(tried.status.success() || denied, "{tried:?}");
    !denied
}

/// Runs `child` and logs these system calls on these files and directories, for [`super::replay::parse`]; `None`
/// where tracing is not permitted.
pub fn traced(child: &Command, files: &[&Path], calls: &str) -> Option<String> {
    if !may_trace() {
        return None;
    }
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut strace = Command::new("strace");
    strace.args([
        "-f",
        "-qq",
        "-ttt",
        "-y",
        "-xx",
        "-s",
        "16777216",
        "--seccomp-bpf",
        "-esignal=none",
    ]);
    strace.args(["-e", &format!("trace={calls}")]);
    for file in files {
        strace.arg("-P").arg(file);
    }
    strace.arg("-o").arg(log.path());
    strace.arg(child.get_program()).args(child.get_args());
    strace.envs(
        child
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    let output = strace.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(std::fs::read_to_string(log.path()).unwrap())
}

/// Pass the scenario and its directory to the child process.
const SCENARIO: &str = "MEDIARECORDER_IO_SCENARIO";
const FOLDER: &str = "MEDIARECORDER_IO_FOLDER";

/// A scenario that runs in a child process.
pub type Scenario = (&'static str, fn(&Path));

/// The body of the test `under_strace`: in a child process, runs the requested scenario.
pub fn run_scenario(scenarios: &[Scenario]) {
    let (Ok(scenario), Some(folder)) = (std::env::var(SCENARIO), std::env::var_os(FOLDER)) else {
        return;
    };
    let known = scenarios.iter().find(|(name, _)| *name == scenario);
    known.unwrap().1(&PathBuf::from(folder));
}

/// Runs a scenario in a child process with faults injected into its system calls as `injected` describes, separated by
/// spaces, only for `file` if given. (Unnamed temporary files cannot be selected.)
pub fn run_with_faults(scenario: &str, injected: &str, file: Option<&str>) {
    if !may_trace() {
        return skipped("failing disks: tracing is not permitted");
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut strace = Command::new("strace");
    let faults: Vec<_> = injected.split(' ').collect();
    let calls = faults.iter().map(|fault| fault.split(':').next().unwrap());
    let calls: Vec<_> = calls.collect();
    strace
        .args([
            "-f",
            "-qq",
            "-y",
            "-s0",
            "--seccomp-bpf",
            "-esignal=none",
            "-o",
        ])
        .arg(log.path())
        .args(["-e", &format!("trace={}", calls.join(","))]);
    for fault in faults {
        strace.args(["-e", &format!("inject={fault}")]);
    }
    if let Some(file) = file {
        strace.arg("-P").arg(folder.join(file));
    }
    let output = strace
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "under_strace", "--nocapture"])
        .env(SCENARIO, scenario)
        .env(FOLDER, &folder)
        .output()
        .unwrap();
    let log = std::fs::read_to_string(log.path()).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{scenario}: {stderr}\n{log}");
    // A call that still blocks when the process ends has no result.
    let hit = |line: &str| {
        ["INJECTED", "DELAYED", "= ?"]
            .iter()
            .any(|mark| line.contains(mark))
    };
    assert!(
        log.lines().any(hit),
        "{scenario}: no fault was injected: {log}"
    );
    let folder = folder.to_str().unwrap();
    let is_call = |line: &&str| calls.iter().any(|call| line.contains(&format!("{call}(")));
    let mut made = log.lines().filter(is_call);
    let elsewhere = made.find(|line| !line.contains(folder));
    assert_eq!(elsewhere, None, "{scenario}: a fault hit another file");
}
