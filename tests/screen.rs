//! Screen recording as in docs/RECIPES.md: from an X server, and from PipeWire by the desktop portal. The portal
//! is a mock, PipeWire is real.

mod common;

use common::harness::media::{assert_finalised, assert_plays, frames, probe, run};
use common::harness::plugin;
use common::xvfb::Screen;
use std::path::{Path, PathBuf};

fn path(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(of)
}

#[test]
fn the_recipe_for_x11_works() {
    let recipes = std::fs::read_to_string(path("docs/RECIPES.md")).expect("the recipes");
    let (_, line) = recipes.split_once("```x11\n").expect("a line for X11");
    let (line, _) = line.split_once("```").expect("its end");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let screen = Screen::new(320, 240);
    run(plugin::command("timeout")
        .args(["60", "sh", "-c", line])
        .env("DISPLAY", screen.display())
        .current_dir(folder.path()));
    let file = folder.path().join("screen.webm").display().to_string();
    assert_plays(&file);
    assert_finalised(&file);
    assert_eq!(frames(&file), 30);
    // A second, or the time that a busy machine takes to grab 30 frames.
    let duration = probe(&file).duration.expect("a duration");
    assert!((0.9..5.0).contains(&duration), "{duration} s");
}

/// A session with PipeWire, a screen, and the portal; then the example.
const SESSION: &str = r#"
trap 'kill $(jobs -p) 2>/dev/null' EXIT
until_there() { for _ in $(seq 200); do "$@" && return; sleep 0.1; done; echo "never: $*"; exit 1; }
pipewire &
until_there test -S "$XDG_RUNTIME_DIR/pipewire-0"
wireplumber &
gst-launch-1.0 -q videotestsrc is-live=true ! video/x-raw,format=BGRx,width=320,height=240,framerate=30/1 \
    ! pipewiresink mode=provide stream-properties="p,media.class=Video/Source,node.name=the-screen" &
has_screen() { pw-dump | grep -q '"node.name": "the-screen"'; }
until_there has_screen
/usr/bin/python3 -B "$PORTAL" the-screen > portal.txt &
until_there grep -q ready portal.txt
timeout 60 /usr/bin/python3 -B "$EXAMPLE" screen.webm 2
"#;

#[test]
fn the_portals_screen_is_recorded() {
    // /tmp, because a socket's path is limited in length.
    let folder = tempfile::tempdir_in("/tmp").expect("a temporary folder");
    let (out, _) = run(plugin::command("timeout")
        .args(["100", "dbus-run-session", "--", "bash", "-c", SESSION])
        .env("PORTAL", path("tests/screen/portal.py"))
        .env("EXAMPLE", path("examples/python/screen.py"))
        .env("XDG_RUNTIME_DIR", folder.path())
        .env("HOME", folder.path())
        .env_remove("G_DEBUG")
        .current_dir(folder.path()));
    let out = String::from_utf8_lossy(&out);
    assert!(out.contains("Recording video/webm;codecs=vp8"), "{out}");
    assert!(out.contains("Saved "), "{out}");
    let file = folder.path().join("screen.webm").display().to_string();
    assert_plays(&file);
    assert_finalised(&file);
    assert_eq!(probe(&file).codecs("video"), ["vp8"]);
    // Two seconds, plus the delay of a busy machine.
    let duration = probe(&file).duration.expect("a duration");
    assert!((1.9..4.0).contains(&duration), "{duration} s");
    // Of 30 per second, on a machine that may be busy.
    assert!(frames(&file) >= 30, "{} frames", frames(&file));
}

#[test]
fn without_a_portal_there_is_an_error_message() {
    let folder = tempfile::tempdir_in("/tmp").expect("a temporary folder");
    let output = plugin::command("dbus-run-session")
        .args(["--", "timeout", "30", "/usr/bin/python3", "-B"])
        .arg(path("examples/python/screen.py"))
        .arg("screen.webm")
        .env("XDG_RUNTIME_DIR", folder.path())
        .env("HOME", folder.path())
        .current_dir(folder.path())
        .output()
        .expect("dbus-run-session runs (Debian package dbus)");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("There is no portal to ask"), "{said}");
    assert!(!said.contains("Traceback"), "{said}");
}
