//! The recorder in Python: each script in tests/python is run by the interpreter with `gi`.

mod common;

use common::harness::media::{assert_finalised, assert_plays, probe, run};
use common::harness::plugin;
use std::path::Path;

/// Runs a script to its last line.
#[track_caller]
fn python(script: &str, arguments: &[&str]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
    let (out, _) = run(plugin::command("timeout")
        .args(["120", "/usr/bin/python3"])
        // No compiled files next to the scripts.
        .arg("-B")
        .arg(folder.join(script))
        .args(arguments));
    assert_eq!(String::from_utf8_lossy(&out).trim(), "done", "{script}");
}

fn in_folder(name: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name).display().to_string();
    (folder, path)
}

#[test]
fn actions_and_their_errors() {
    python("actions.py", &[]);
}

#[test]
fn blobs_by_signal_and_by_message() {
    let (_folder, path) = in_folder("blobs.webm");
    python("blobs.py", &[&path]);
    assert_plays(&path);
    let media = probe(&path);
    assert_eq!(media.codecs("video"), ["vp8"]);
    assert_eq!(media.codecs("audio"), ["opus"]);
}

#[test]
fn null_while_recording() {
    let (_folder, path) = in_folder("down.webm");
    python("down.py", &[&path]);
    assert_plays(&path);
    assert_finalised(&path);
}
