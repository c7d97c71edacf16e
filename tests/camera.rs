//! The camera recorder in a real window, under Xvfb; its contents are read, and its buttons pressed, through the
//! accessibility interface.

mod common;

use common::harness::media::{assert_finalised, assert_plays, chapters, probe, run};
use common::harness::{DEADLINE, holds_within, plugin};
use common::xvfb::Screen;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// The camera recorder, and the program that operates it.
struct Camera {
    hand: Child,
    /// Exits with the operating program.
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Camera {
    fn new(screen: &Screen, home: &Path, arguments: &[&str]) -> Self {
        Self::beside("", screen, home, arguments)
    }

    /// With processes that a shell has started before in the same session.
    fn beside(others: &str, screen: &Screen, home: &Path, arguments: &[&str]) -> Self {
        let top = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = ["/usr/bin/python3", "-B"];
        let mut hand = plugin::command("dbus-run-session")
            .args(["--", "bash", "-c", &format!("{others}\n\"$@\""), "bash"])
            .args(python)
            .arg(top.join("tests/camera/hand.py"))
            .args(python)
            .arg(top.join("examples/camera/camera.py"))
            .args(arguments)
            .current_dir(home)
            .env("DISPLAY", screen.display())
            .env("HOME", home)
            .env("XDG_RUNTIME_DIR", home)
            // There is no graphics card.
            .env("GSK_RENDERER", "cairo")
            .env("GDK_BACKEND", "x11")
            .env("GTK_A11Y", "atspi")
            .env_remove("WAYLAND_DISPLAY")
            .env_remove("NO_AT_BRIDGE")
            // There is no audio device, and OpenAL would not report that: playback might never reach its end.
            .env("GST_PLUGIN_FEATURE_RANK", "openalsink:NONE")
            // Desktop libraries warn about what is missing here, which is not a failure of this program.
            .env_remove("G_DEBUG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("dbus-run-session runs (Debian package dbus)");
        Self {
            commands: hand.stdin.take(),
            answers: BufReader::new(hand.stdout.take().expect("its stdout")),
            hand,
        }
    }

    fn ask(&mut self, command: &str) -> String {
        let mut commands = self.commands.as_ref().expect("the hand");
        writeln!(commands, "{command}").expect("the operating program runs");
        let mut line = String::new();
        loop {
            line.clear();
            let length = self.answers.read_line(&mut line).expect("an answer");
            assert!(length > 0, "no answer to {command}");
            if let Some(answer) = line.strip_prefix("> ") {
                return answer.trim_end().to_owned();
            }
        }
    }

    #[track_caller]
    fn wait(&mut self, what: &str, condition: impl Fn(&str) -> bool) -> String {
        let mut text = String::new();
        let seen = holds_within(DEADLINE, || {
            text = self.ask("read");
            condition(&text)
        });
        assert!(seen, "{what} did not appear: {text}");
        text
    }

    #[track_caller]
    fn press(&mut self, button: &str) {
        let answer = self.ask(&format!("press {button}"));
        assert_eq!(answer, "done", "{button}: {}", self.ask("read"));
    }

    fn exit_code(&mut self) -> String {
        self.ask("wait")
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        // Not by a signal: the session's services would remain.
        self.commands = None;
        let _ = self.hand.wait();
    }
}

/// The only file in `folder` with this extension.
#[track_caller]
fn only(folder: &Path, ending: &str) -> PathBuf {
    let files = std::fs::read_dir(folder).expect("the folder");
    let mut files: Vec<PathBuf> = files
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == ending))
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

/// Seconds in `● 1.2 s`, the longest number before ` s`.
fn seconds(text: &str, mark: char) -> Option<f64> {
    let (_, after) = text.split_once(mark)?;
    after.trim_start().split_once(" s")?.0.parse().ok()
}

#[test]
fn records_with_a_pause_plays_and_saves() {
    let home = tempfile::tempdir_in("/tmp").expect("a directory");
    let folder = home.path().display().to_string();
    let screen = Screen::new(650, 594);
    let mut camera = Camera::new(&screen, home.path(), &["--test", "--directory", &folder]);
    let text = camera.wait("the window", |text| text.contains("[Record]"));
    // Nothing to stop, play or save yet.
    for button in ["(Pause)", "(Mark)", "(Play)", "(Save as…)"] {
        assert!(text.contains(button), "{button}: {text}");
    }

    let began = Instant::now();
    camera.press("Record");
    camera.wait("a second", |text| {
        seconds(text, '●').is_some_and(|s| s >= 1.0)
    });
    // The preview moves during recording.
    let frames = ["one.png", "two.png"].map(|name| home.path().join(name));
    screen.grab(&frames[0]);
    std::thread::sleep(Duration::from_millis(200));
    screen.grab(&frames[1]);
    assert_moves(&frames);

    camera.press("Pause");
    let paused_from = Instant::now();
    let paused = camera.wait("the pause", |text| text.contains('‖'));
    assert!(paused.contains("[Go on]"), "{paused}");
    // Must not be in the file.
    std::thread::sleep(Duration::from_secs(1));
    let length = seconds(&camera.ask("read"), '‖').expect("a time");
    let pause = paused_from.elapsed();
    camera.press("Go on");
    camera.press("Mark");
    camera.wait("the mark", |text| text.contains("Mark 1 at "));
    camera.wait("another second", |text| {
        seconds(text, '●').is_some_and(|s| s >= length + 1.0)
    });
    camera.press("Stop");
    let most = (began.elapsed() - pause).as_secs_f64();
    let text = camera.wait("the clip", |text| {
        text.contains("[Play]") && text.contains(".webm:")
    });

    // The displayed duration is that of the file.
    let path = only(home.path(), "webm");
    let clip = path.display().to_string();
    assert_plays(&clip);
    assert_finalised(&clip);
    let media = probe(&clip);
    assert_eq!(media.codecs("video"), ["vp8"]);
    assert_eq!(media.codecs("audio"), ["opus"]);
    let duration = media.duration.expect("a duration");
    let output = seconds(&text.replace(".webm:", "→"), '→').expect("its length");
    assert!(
        (duration - output).abs() <= 0.06,
        "{duration} s, but {text}"
    );
    assert!(
        (length + 1.0..most).contains(&duration),
        "{duration} s, but at most {most} s without the pause after {length} s"
    );

    let chapters = chapters(&clip);
    let [(start, title)] = chapters.as_slice() else {
        panic!("not one chapter: {chapters:?}");
    };
    assert_eq!(title, "Mark 1");
    assert!((length - 0.1..duration).contains(start), "{start} s");

    camera.press("Play");
    camera.wait("the player", |text| {
        seconds(text, '▶').is_some_and(|s| s >= 0.5) && text.contains("[Stop playing]")
    });
    camera.wait("its end", |text| {
        text.contains("[Record]") && !text.contains('▶')
    });

    camera.press("Save as…");
    camera.wait("the dialogue", |text| text.contains("[Save]"));
    let saved = home.path().join("mine.webm");
    assert_eq!(camera.ask(&format!("type {}", saved.display())), "done");
    camera.press("Save");
    // Not read while the dialogue closes: GTK 4.8 would report a window without a D-Bus path, and then none.
    let is_saved = holds_within(DEADLINE, || saved.is_file() && !path.exists());
    assert!(is_saved, "not saved: {}", camera.ask("read"));
    camera.wait("what has become of it", |text| text.contains("Saved as "));
    camera.press("Close");
    assert_eq!(camera.exit_code(), "0");
}

/// Screenshots differ where the preview is.
#[track_caller]
fn assert_moves(frames: &[PathBuf; 2]) {
    let (_, output) = run(Command::new("ffmpeg")
        .args(["-nostdin", "-v", "info"])
        .arg("-i")
        .arg(&frames[0])
        .arg("-i")
        .arg(&frames[1])
        .args(["-lavfi", "psnr", "-f", "null", "-"]));
    let (_, average) = output.split_once("average:").expect("ffmpeg compares them");
    // "inf" if they are identical.
    let average: f64 = average
        .split_whitespace()
        .next()
        .and_then(|word| word.parse().ok())
        .expect("a number");
    assert!(average < 30.0, "the preview does not move: {average} dB");
}

#[test]
fn closing_the_window_while_recording_finishes_the_file() {
    let home = tempfile::tempdir_in("/tmp").expect("a directory");
    let folder = home.path().display().to_string();
    let screen = Screen::new(650, 594);
    let mut camera = Camera::new(&screen, home.path(), &["--test", "--directory", &folder]);
    camera.wait("the window", |text| text.contains("[Record]"));
    let began = Instant::now();
    camera.press("Record");
    camera.wait("a second", |text| {
        seconds(text, '●').is_some_and(|s| s >= 1.0)
    });
    camera.press("Close");
    let most = began.elapsed().as_secs_f64();
    assert_eq!(camera.exit_code(), "0");
    let clip = only(home.path(), "webm").display().to_string();
    assert_plays(&clip);
    assert_finalised(&clip);
    let duration = probe(&clip).duration.expect("a duration");
    // Matroska's durations are in milliseconds.
    assert!(
        (1.0..most + 0.001).contains(&duration),
        "{duration} s of {most} s"
    );
}

#[test]
fn failures_are_reported_in_the_window() {
    let home = tempfile::tempdir_in("/tmp").expect("a directory");
    let screen = Screen::new(650, 594);
    let nowhere = home.path().join("nowhere").display().to_string();
    for (arguments, words) in [
        (["--directory", &nowhere], "nowhere"),
        (["--type", "video/pineapple"], "video/pineapple"),
    ] {
        let mut camera = Camera::new(
            &screen,
            home.path(),
            &["--test", arguments[0], arguments[1]],
        );
        camera.wait("the window", |text| text.contains("[Record]"));
        camera.press("Record");
        let text = camera.wait("the reason", |text| text.contains(words));
        // Still there, and ready for another attempt.
        assert!(text.contains("[Record]"), "{text}");
        camera.press("Close");
        assert_eq!(camera.exit_code(), "0");
    }
}

/// PipeWire with a camera, and without a microphone.
const PIPEWIRE: &str = r#"
trap 'kill $(jobs -p) 2>/dev/null' EXIT
until_there() { for _ in $(seq 200); do "$@" && return; sleep 0.1; done; echo "never: $*" >&2; exit 1; }
pipewire >&2 &
until_there test -S "$XDG_RUNTIME_DIR/pipewire-0"
wireplumber >&2 &
gst-launch-1.0 -q videotestsrc is-live=true ! video/x-raw,format=YUY2,width=320,height=240,framerate=30/1 \
    ! pipewiresink mode=provide stream-properties="p,media.class=Video/Source,node.name=testcam" >&2 &
has_camera() { pw-dump | grep -q '"node.name": "testcam"'; }
until_there has_camera
"#;

#[test]
fn pipewires_camera_is_found_and_recorded() {
    let home = tempfile::tempdir_in("/tmp").expect("a directory");
    let folder = home.path().display().to_string();
    let screen = Screen::new(650, 594);
    let mut camera = Camera::beside(PIPEWIRE, &screen, home.path(), &["--directory", &folder]);
    let text = camera.wait("the window", |text| text.contains("[Record]"));
    assert!(text.contains("No microphone was found"), "{text}");
    assert!(!text.contains("No camera"), "{text}");
    camera.press("Record");
    camera.wait("a second", |text| {
        seconds(text, '●').is_some_and(|s| s >= 1.0)
    });
    camera.press("Stop");
    camera.wait("the clip", |text| text.contains("[Play]"));
    let clip = only(home.path(), "webm").display().to_string();
    assert_plays(&clip);
    let (size, _) = run(Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v", "-of", "csv=p=0"])
        .args(["-show_entries", "stream=width,height", &clip]));
    // The test image would be 640x480.
    assert_eq!(String::from_utf8_lossy(&size).trim(), "320,240");
    camera.press("Close");
    assert_eq!(camera.exit_code(), "0");
}
