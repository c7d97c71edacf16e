//! The Python wheel: built by scripts/wheel, installed by pip into a virtual environment, and used as in
//! docs/python.md. Each script in tests/python/wheel runs in it, where the plugin can only be found through the
//! wheel.

mod common;

use common::harness::media::{assert_lasts, assert_plays, probe, run};
use common::harness::plugin;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const DOCUMENT: &str = include_str!("../docs/python.md");

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The interpreter of an environment into which the wheel is installed.
fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wheel");
        let _ = std::fs::remove_dir_all(&home);
        std::fs::create_dir_all(home.join("out")).expect("a folder for the wheel");
        run(Command::new(checkout().join("scripts/wheel"))
            .arg("--plugin")
            .arg(plugin::folder().join("libgstmediarecorder.so"))
            .arg(home.join("out")));
        let made: Vec<_> = std::fs::read_dir(home.join("out"))
            .expect("the wheel's folder")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        let [wheel] = made.as_slice() else {
            panic!("not one wheel: {made:?}");
        };
        let environment = home.join("environment");
        // GStreamer's bindings are the system's.
        run(Command::new("/usr/bin/python3")
            .args(["-m", "venv", "--system-site-packages", "--without-pip"])
            .arg(&environment));
        let python = environment.join("bin/python");
        run(Command::new("/usr/bin/python3")
            .args(["-m", "pip", "--quiet", "--python"])
            .arg(&python)
            .args(["install", "--no-index", "--no-deps"])
            .arg(wheel));
        python
    })
}

/// Runs Python in `folder` to its end, where only the wheel provides the plugin, and returns its output.
#[track_caller]
fn printed(folder: &Path, arguments: &[&str]) -> String {
    let (out, _) = run(plugin::command("timeout")
        .env_remove("GST_PLUGIN_PATH")
        .env(
            "GST_REGISTRY",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("wheel-registry.bin"),
        )
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg("120")
        .arg(python())
        .args(arguments)
        .current_dir(folder));
    String::from_utf8_lossy(&out).into_owned()
}

/// Runs a script of tests/python/wheel to its last line.
#[track_caller]
fn script(folder: &Path, name: &str, arguments: &[&str]) {
    let path = checkout().join("tests/python/wheel").join(name);
    let path = path.display().to_string();
    let out = printed(folder, &[&[path.as_str()], arguments].concat());
    assert_eq!(out.trim(), "done", "{name}");
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[track_caller]
fn assert_recording(path: &Path, video: &[&str], audio: &[&str]) {
    let path = path.display().to_string();
    assert_plays(&path);
    let media = probe(&path);
    assert_eq!(media.codecs("video"), video, "{path}");
    assert_eq!(media.codecs("audio"), audio, "{path}");
}

#[test]
fn imported_before_init() {
    script(folder().path(), "before_init.py", &[]);
}

#[test]
fn imported_after_init() {
    script(folder().path(), "after_init.py", &[]);
}

#[test]
fn other_programs_can_find_the_plugin() {
    let folder = folder();
    let out = printed(folder.path(), &["-m", "gst_mediarecorder"]);
    let plugin = Path::new(out.trim()).join("libgstmediarecorder.so");
    assert!(plugin.is_file(), "{out}");
}

#[test]
fn actions_raise_by_code() {
    script(folder().path(), "actions.py", &[]);
}

#[test]
fn recordings_by_asyncio() {
    let folder = folder();
    script(
        folder.path(),
        "recording.py",
        &["blobs.webm", "location.webm", "part %d.webm"],
    );
    for name in ["blobs.webm", "location.webm", "part 2.webm", "part 3.webm"] {
        assert_recording(&folder.path().join(name), &["vp8"], &["opus"]);
    }
}

#[test]
fn failures_and_closed_event_loops() {
    script(folder().path(), "failure.py", &[]);
}

#[test]
fn an_older_file_is_replaced_while_its_blob_is_kept() {
    let folder = folder();
    script(folder.path(), "replacing.py", &["new.webm", "older.webm"]);
    for name in ["new.webm", "older.webm"] {
        assert_recording(&folder.path().join(name), &["vp8"], &["opus"]);
    }
}

#[test]
fn containers_by_extension() {
    let folder = folder();
    script(
        folder.path(),
        "containers.py",
        &["a.webm", "a.mp4", "a.ogg", "a.wav"],
    );
    let expected: [(&str, &[&str], &[&str]); 4] = [
        ("a.webm", &["vp8"], &["opus"]),
        ("a.mp4", &["h264"], &["aac"]),
        ("a.ogg", &["theora"], &["opus"]),
        ("a.wav", &[], &["pcm_s16le"]),
    ];
    for (name, video, audio) in expected {
        assert_recording(&folder.path().join(name), video, audio);
    }
}

#[test]
fn the_documents_programs() {
    let folder = folder();
    let programs: Vec<&str> = DOCUMENT
        .split("```python\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    let [with_asyncio, with_chunks] = programs.as_slice() else {
        panic!("docs/python.md has {} programs", programs.len());
    };
    let out = printed(folder.path(), &["-c", with_asyncio]);
    let path = folder.path().join("asyncio.webm");
    assert_recording(&path, &["vp8"], &["opus"]);
    assert_lasts(&path.display().to_string(), 2.2, 0.3);
    assert!(out.starts_with("Recording video/webm;codecs="), "{out}");
    assert!(out.lines().count() >= 6 && out.contains("Saved "), "{out}");

    let out = printed(folder.path(), &["-c", with_chunks]);
    let path = folder.path().join("tone.flac");
    assert_recording(&path, &[], &["flac"]);
    let (sum, _) = run(Command::new("sha256sum").arg(&path));
    assert_eq!(
        String::from_utf8_lossy(&sum).split(' ').next(),
        Some(out.trim())
    );
}

#[test]
fn the_example() {
    let folder = folder();
    let example = checkout().join("examples/python/record_asyncio.py");
    let example = example.display().to_string();
    let out = printed(folder.path(), &[&example, "example.webm"]);
    let output: Vec<&str> = out.lines().collect();
    let [recording, "Paused", "Going on", saved] = output.as_slice() else {
        panic!("{out}");
    };
    assert!(recording.starts_with("Recording video/webm;codecs="));
    let path = folder.path().join("example.webm");
    let size = std::fs::metadata(&path).expect("a recording").len();
    assert!(saved.starts_with(&format!("Saved {size} bytes")), "{saved}");
    assert_recording(&path, &["vp8"], &["opus"]);

    // Only returns normally if the example fails, with the reason.
    let refused = r#"
import contextlib, io, runpy, sys
sys.argv[1:] = ["x.webm", "video/pineapple"]
errors = io.StringIO()
with contextlib.redirect_stderr(errors):
    try:
        runpy.run_path(EXAMPLE, run_name="__main__")
    except SystemExit as exit:
        assert exit.code == 1, exit.code
print(errors.getvalue())
"#;
    let refused = refused.replace("EXAMPLE", &format!("{example:?}"));
    let out = printed(folder.path(), &["-c", &refused]);
    assert!(out.starts_with("Not possible here: "), "{out}");
    assert!(out.contains("video/pineapple"), "{out}");
}

/// A type checker accepts the module and a program that uses it.
#[test]
fn types() {
    let folder = folder();
    let user = folder.path().join("user.py");
    std::fs::write(
        &user,
        "from __future__ import annotations\n\
         from gst_mediarecorder import Data, Event, Keep, Recorder, State\n\
         \n\
         \n\
         async def sizes(recorder: Recorder) -> list[int]:\n\
         \x20   recorder.timeslice = 200\n\
         \x20   recorder.keep = Keep.DEPTH | Keep.CHROMA\n\
         \x20   begun: list[int] = [interval.utc for interval in recorder.intervals]\n\
         \x20   state: State = recorder.state\n\
         \x20   location: str | None = recorder.location\n\
         \x20   assert location is None or state is State.INACTIVE\n\
         \x20   seen: list[Event] = [event async for event in recorder]\n\
         \x20   return begun + [len(event.data) for event in seen if isinstance(event, Data)]\n",
    )
    .expect("written");
    let mypy = || {
        let mut mypy = Command::new("/usr/bin/python3");
        mypy.args(["-m", "mypy", "--cache-dir", "/dev/null", "--config-file"])
            .arg(checkout().join("python/pyproject.toml"));
        mypy
    };
    run(mypy().arg(checkout().join("python/gst_mediarecorder")));
    // Found where it is installed, by its py.typed.
    run(mypy()
        .arg("--python-executable")
        .arg(python())
        .arg(&user)
        .arg(checkout().join("examples/python/record_asyncio.py"))
        .current_dir(folder.path()));
}
