//! The command-line recorder, run as a user runs it, with its files judged by ffprobe.

mod probe;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::assert::OutputAssertExt;

use probe::assert_media;

const SOUND_AND_PICTURE: [&str; 2] = ["audio:opus", "video:vp8"];

/// `cargo test` builds the examples beside the tests: `debug/examples/` next to `debug/deps/`.
fn example() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let profile = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    let example = profile.join("examples").join("record");
    assert!(
        example.is_file(),
        "{} is not built: cargo build --example record",
        example.display()
    );
    example
}

/// The recorder in `dir`, without a terminal; a run that hangs is ended by `timeout`, with code 124.
fn record(dir: &Path, line: &str) -> Command {
    let mut command = Command::new("timeout");
    command
        .args(["--signal=KILL", "60"])
        .arg(example())
        .args(line.split_whitespace())
        .current_dir(dir)
        .stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_scripted_pause_is_left_out() {
    let dir = tempfile::tempdir().expect("a directory");
    let began = Instant::now();
    let line = "--test --duration 3 --pause-at 1..2 --output take.webm";
    let assert = record(dir.path(), line).assert().success();
    assert!(
        began.elapsed() >= Duration::from_secs(4),
        "the pause was not made"
    );
    assert_media(&dir.path().join("take.webm"), &SOUND_AND_PICTURE, 3.0, 0.1);

    let output = assert.get_output();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    for part in ["take.webm", "0:00:03.", "VP8", "Opus", "640x480"] {
        assert!(out.contains(part), "{part:?} is not in the summary:\n{out}");
    }
    for part in ["paused", "resumed"] {
        assert!(err.contains(part), "{part:?} is not told:\n{err}");
    }
    assert!(!err.contains('\x1b'), "escape codes without a terminal");
}

#[test]
fn two_pauses_in_a_lossless_file_are_left_out() {
    let dir = tempfile::tempdir().expect("a directory");
    let line = "--test --format audio/wav --duration 1 --pause-at 0.9..1.2 --pause-at 0.3..0.5 \
                -o take.wav";
    record(dir.path(), line).assert().success();
    // No codec in between: what is off is when the recorder's loop came to make the calls.
    let probe = probe::probe(&dir.path().join("take.wav"));
    let [stream] = probe.streams.as_slice() else {
        panic!("not one stream: {probe:?}");
    };
    assert!(stream.starts_with("audio:pcm_"), "{stream}");
    assert!((probe.duration - 1.0).abs() < 0.06, "{} s", probe.duration);
}

#[test]
fn without_a_file_name_one_is_made_up() {
    let dir = tempfile::tempdir().expect("a directory");
    let line = "--test --no-video --duration 0.5";
    record(dir.path(), line).assert().success();
    let files: Vec<_> = std::fs::read_dir(dir.path())
        .expect("the directory")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    let [file] = files.as_slice() else {
        panic!("not one file: {files:?}");
    };
    let name = file.file_name().and_then(|n| n.to_str()).expect("a name");
    assert!(name.starts_with("recording-"), "{name}");
    assert!(name.ends_with(".webm"), "{name}");
    assert_media(file, &["audio:opus"], 0.5, 0.1);
}

#[test]
fn chunks_are_told_as_they_come() {
    let dir = tempfile::tempdir().expect("a directory");
    let line = "--test --timeslice 500 --duration 2 -o take.webm";
    let assert = record(dir.path(), line).assert().success();
    let err = text(&assert.get_output().stderr);
    let chunks = err
        .lines()
        .filter(|line| line.starts_with("chunk "))
        .count();
    assert!((4..=5).contains(&chunks), "{chunks} chunks:\n{err}");
    assert_media(&dir.path().join("take.webm"), &SOUND_AND_PICTURE, 2.0, 0.1);
}

/// Ctrl-C, a service manager's SIGTERM and a closed terminal all leave a whole file.
#[test]
fn signals_end_the_recording_properly() {
    for signal in ["INT", "TERM", "HUP"] {
        let dir = tempfile::tempdir().expect("a directory");
        let mut child = Command::new(example())
            .args(["--test", "-o", "take.webm"])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the recorder starts");
        let mut lines = BufReader::new(child.stderr.take().expect("its stderr")).lines();
        let recording = lines.any(|line| line.expect("a line").starts_with("recording "));
        assert!(recording, "it ended before it recorded anything");

        let sent = Command::new("kill")
            .args(["-s", signal, &child.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(sent.success());
        let status = child.wait().expect("it ends");
        assert!(status.success(), "after SIG{signal}: {status}");
        let probe = probe::probe(&dir.path().join("take.webm"));
        assert_eq!(probe.streams, SOUND_AND_PICTURE, "after SIG{signal}");
    }
}

/// Everything that goes wrong is said in words, with exit code 1, and leaves no file behind.
#[test]
fn errors_are_plain() {
    for (line, words) in [
        ("--test --format video/nonsense -o a.webm", "video/nonsense"),
        ("--test -o no/such/directory/a.webm", "no/such/directory"),
        ("--audio no-such-device-anywhere", "no-such-device-anywhere"),
        ("--test --pause-at 1..3 --pause-at 2..4", "pause"),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let assert = record(dir.path(), line).assert().code(1);
        let err = text(&assert.get_output().stderr);
        let last = err.lines().last().unwrap_or_default();
        assert!(last.starts_with("record: "), "after {line}:\n{err}");
        assert!(last.contains(words), "{words:?} not in {last:?}");
        let left = std::fs::read_dir(dir.path())
            .expect("the directory")
            .count();
        assert_eq!(left, 0, "{line} left something behind");
    }
}

#[test]
fn devices_are_listed() {
    let dir = tempfile::tempdir().expect("a directory");
    let assert = record(dir.path(), "--list").assert().success();
    let out = text(&assert.get_output().stdout);
    assert!(
        out.contains("microphones:") && out.contains("cameras:"),
        "{out}"
    );
}
