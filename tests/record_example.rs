//! The command-line recorder, run like a user does, with its files verified by ffprobe.

mod probe;
#[path = "probe/sound_server.rs"]
mod sound_server;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::assert::OutputAssertExt;

use probe::assert_media;
use sound_server::SoundServer;

/// A run that hangs is killed, with code 124 or 137.
const LIMITED: &str = "timeout --foreground --signal=KILL 60";
const SOUND_AND_PICTURE: [&str; 2] = ["audio:opus", "video:vp8"];

/// `cargo test` builds the examples too: `debug/examples/` next to `debug/deps/`.
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

/// The same, but passes SIGUSR1 on.
const LIMITED_USR1: &str = "timeout --foreground --signal=USR1 --kill-after=60 60";

/// The recorder in `dir`, without a terminal.
fn record(dir: &Path, line: &str) -> Command {
    record_within(LIMITED, dir, line)
}

fn record_within(limit: &str, dir: &Path, line: &str) -> Command {
    let mut limited = limit.split(' ');
    let mut command = Command::new(limited.next().expect("a program"));
    command
        .args(limited)
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
fn a_scripted_pause_is_not_recorded() {
    let dir = tempfile::tempdir().expect("a directory");
    let began = Instant::now();
    let line = "--test --duration 3 --pause-at 1..2 --output take.webm";
    let assert = record(dir.path(), line).assert().success();
    assert!(
        began.elapsed() >= Duration::from_secs(4),
        "the pause was not made"
    );
    // Not shorter than requested; longer if the machine is too busy to stop it in time.
    assert_media(&dir.path().join("take.webm"), &SOUND_AND_PICTURE, 3.2, 0.25);

    let output = assert.get_output();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    for part in ["take.webm", "duration  0:00:0", "VP8", "Opus", "640x480"] {
        assert!(out.contains(part), "{part:?} is not in the summary:\n{out}");
    }
    for part in ["paused", "resumed"] {
        assert!(err.contains(part), "{part:?} is not reported:\n{err}");
    }
    assert!(!err.contains('\x1b'), "escape codes without a terminal");
}

#[test]
fn two_pauses_in_a_lossless_file_are_not_recorded() {
    let dir = tempfile::tempdir().expect("a directory");
    let line = "--test --format audio/wav --duration 1 --pause-at 0.9..1.2 --pause-at 0.3..0.5 \
                -o take.wav";
    record(dir.path(), line).assert().success();
    // No codec in between: the surplus is how late the recorder's loop made the call.
    let probe = probe::probe(&dir.path().join("take.wav"));
    let [stream] = probe.streams.as_slice() else {
        panic!("not one stream: {probe:?}");
    };
    assert!(stream.starts_with("audio:pcm_"), "{stream}");
    assert!(
        (0.9999..1.3).contains(&probe.duration),
        "{} s",
        probe.duration
    );
}

#[test]
fn without_a_file_name_one_is_generated() {
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
    assert_media(file, &["audio:opus"], 0.7, 0.25);
}

#[test]
fn chunks_are_reported_as_they_arrive() {
    let dir = tempfile::tempdir().expect("a directory");
    let line = "--test --timeslice 500 --duration 2 -o take.webm";
    let assert = record(dir.path(), line).assert().success();
    let err = text(&assert.get_output().stderr);
    let chunks = err
        .lines()
        .filter(|line| line.starts_with("chunk "))
        .count();
    assert!((4..=6).contains(&chunks), "{chunks} chunks:\n{err}");
    assert_media(&dir.path().join("take.webm"), &SOUND_AND_PICTURE, 2.2, 0.25);
}

/// Ctrl-C, a service manager's SIGTERM and a closed terminal all finish the file.
#[test]
fn signals_finish_the_recording() {
    for signal in ["INT", "TERM", "HUP"] {
        let dir = tempfile::tempdir().expect("a directory");
        // `timeout` passes the signal on.
        let mut child = record(dir.path(), "--test --timeslice 200 -o take.webm")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the recorder starts");
        let mut lines = BufReader::new(child.stderr.take().expect("its stderr")).lines();
        // The first chunk shows that something has been recorded.
        let recorded = lines.any(|line| line.expect("a line").starts_with("chunk 1:"));
        assert!(recorded, "it ended before it recorded anything");
        // Keeps reading, so that the recorder never blocks on its output.
        let reader = std::thread::spawn(move || lines.count());

        let sent = Command::new("kill")
            .args(["-s", signal, &child.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(sent.success());
        let status = child.wait().expect("it ends");
        reader.join().expect("the rest of its stderr");
        assert!(status.success(), "after SIG{signal}: {status}");
        let probe = probe::probe(&dir.path().join("take.webm"));
        assert_eq!(probe.streams, SOUND_AND_PICTURE, "after SIG{signal}");
    }
}

/// All errors are reported in plain words, with exit code 1, and leave no file behind.
#[test]
fn errors_are_plain() {
    for (line, words) in [
        ("--test --format video/nonsense -o a.webm", "video/nonsense"),
        ("--test -o no/such/directory/a.webm", "no/such/directory"),
        ("--audio no-such-device-anywhere", "no-such-device-anywhere"),
        ("--test --pause-at 1..3 --pause-at 2..4", "pause"),
        ("--input no-such-file.mkv", "no-such-file.mkv"),
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
        assert_eq!(left, 0, "{line} left a file behind");
    }
}

/// A real device, through a sound server: found, listed, selected by a part of its name or as the default,
/// recorded.
#[test]
fn a_device_is_listed_selected_and_recorded() {
    let server = SoundServer::start();
    let dir = tempfile::tempdir().expect("a directory");
    let assert = server
        .serve(&mut record(dir.path(), "--list"))
        .assert()
        .success();
    let out = text(&assert.get_output().stdout);
    assert!(out.contains("microphones:"), "{out}");
    assert!(out.contains("cameras:"), "{out}");
    assert!(out.contains("* Desk_Mic  [pulsesrc]"), "{out}");
    // PulseAudio's name is "Monitor of Null Output".
    assert!(out.contains("Null Output  [pulsesrc]"), "{out}");

    for (pick, name) in [("--audio null", "Null Output"), ("", "\"Desk_Mic\"")] {
        let line = format!("{pick} --no-video --duration 1 -o mic.webm");
        let assert = server
            .serve(&mut record(dir.path(), &line))
            .assert()
            .success();
        let err = text(&assert.get_output().stderr);
        let source = err
            .lines()
            .find(|line| line.starts_with("source: microphone"));
        let source = source.unwrap_or_else(|| panic!("{line}:\n{err}"));
        assert!(source.contains(name), "{line}: {source}");
        assert_media(&dir.path().join("mic.webm"), &["audio:opus"], 1.2, 0.25);
    }
}

/// In a terminal (`script` creates one): keys, the status line, and the terminal restored at the end.
#[test]
fn keys_work_and_the_terminal_is_restored() {
    let dir = tempfile::tempdir().expect("a directory");
    let line = format!(
        "{LIMITED} {} --test -o take.webm; stty -a",
        example().display()
    );
    let (mut child, mut keyboard, mut screen) = in_terminal(dir.path(), &line);
    let mut press = |key: &str| {
        keyboard.write_all(key.as_bytes()).expect("a key");
        keyboard.flush().expect("a key");
    };

    screen.wait_for("REC");
    press(" ");
    screen.wait_for("PAUSED");
    press(" ");
    screen.wait_for("REC");
    press("m");
    screen.wait_for("Mark 1 at 0:00:0");
    press("c");
    screen.wait_for("chunk 1");
    press("n");
    screen.wait_for("no next part: ");
    press("q");
    let end = screen.wait_for("min = ");
    assert!(end.contains("take.webm ("), "no summary: {end}");
    assert!(end.contains("chapter   0:00:0"), "no chapter: {end}");
    let modes = screen.rest();
    for mode in ["icanon", "echo", "isig", "opost"] {
        let on = modes.split_whitespace().any(|word| word == mode);
        assert!(on, "{mode} is not on again: {modes}");
    }
    drop(keyboard);
    assert!(child.wait().expect("it ends").success());
    let probe = probe::probe(&dir.path().join("take.webm"));
    assert_eq!(probe.streams, SOUND_AND_PICTURE);
}

/// Media before the key press is in the file, as far back as the status line showed.
#[test]
fn a_key_records_the_past() {
    let dir = tempfile::tempdir().expect("a directory");
    let line = format!(
        "{LIMITED} {} --test --pre-record 20s -o take.webm; echo end of it",
        example().display()
    );
    let (mut child, mut keyboard, mut screen) = in_terminal(dir.path(), &line);
    screen.wait_for("[space] record");
    screen.wait_for("KEPT    0:00:02");
    assert!(!dir.path().join("take.webm").exists());
    let began = Instant::now();
    for (key, then) in [(" ", "REC"), ("q", "end of it")] {
        keyboard.write_all(key.as_bytes()).expect("a key");
        keyboard.flush().expect("a key");
        screen.wait_for(then);
    }
    let since = began.elapsed().as_secs_f64();
    drop(keyboard);
    assert!(child.wait().expect("it ends").success());
    let probe = probe::probe(&dir.path().join("take.webm"));
    assert_eq!(probe.streams, SOUND_AND_PICTURE);
    // Half a second between keyframes, plus the time between the line and the key press.
    assert!(
        (2.0..3.5 + since).contains(&probe.duration),
        "{} s",
        probe.duration
    );
}

/// Without a terminal, a signal starts the recording.
#[test]
fn a_signal_starts_it_with_the_past() {
    let dir = tempfile::tempdir().expect("a directory");
    let line = "--test --no-video --pre-record 1s --duration 1 -o take.wav";
    let mut child = record_within(LIMITED_USR1, dir.path(), line)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the recorder starts");
    let mut lines = BufReader::new(child.stderr.take().expect("its stderr")).lines();
    let kept = lines.any(|line| line.expect("a line").starts_with("keeping the past"));
    assert!(kept, "it exited before it kept anything");
    let sent = Command::new("kill")
        .args(["-s", "USR1", &child.id().to_string()])
        .status()
        .expect("kill runs");
    assert!(sent.success());
    let notes: Vec<String> = lines.map(|line| line.expect("a line")).collect();
    assert!(child.wait().expect("it ends").success(), "{notes:?}");
    let probe = probe::probe(&dir.path().join("take.wav"));
    assert!((0.99..2.0).contains(&probe.duration), "{probe:?}");
}

/// Each file is playable on its own, and they are numbered.
#[test]
fn parts_go_to_numbered_files() {
    let dir = tempfile::tempdir().expect("a directory");
    let line = "--test --split 0.5 --duration 1.6 -o take.webm";
    let assert = record(dir.path(), line).assert().success();
    let output = assert.get_output();
    let notes = text(&output.stderr);
    let notes: Vec<&str> = notes.lines().collect();
    let mut total = 0.0;
    let parts = (0..)
        .map(|number| format!("take-{number:03}.webm"))
        .take_while(|name| dir.path().join(name).exists());
    let parts: Vec<String> = parts.collect();
    assert!((3..=6).contains(&parts.len()), "{parts:?}");
    for name in &parts {
        let probe = probe::probe(&dir.path().join(name));
        assert_eq!(probe.streams, SOUND_AND_PICTURE, "{name}");
        total += probe.duration;
        assert!(
            notes
                .iter()
                .any(|note| note.starts_with(&format!("{name}: "))),
            "{name} is not reported: {notes:?}"
        );
    }
    assert!((1.6..2.6).contains(&total), "{total} s in all");
    let summary = text(&output.stdout);
    let count = format!("parts     {}", parts.len());
    assert!(summary.contains(&count), "{summary}");
}

/// Eight seconds of audio and video in a file made without this project.
fn foreign_file(dir: &Path) {
    let made = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error"])
        .args(["-f", "lavfi", "-i", "testsrc=s=640x480:r=30:d=8"])
        .args(["-f", "lavfi", "-i", "sine=d=8:r=44100"])
        .args(["-c:v", "mpeg4", "-c:a", "pcm_s16le", "in.mkv"])
        .current_dir(dir)
        .status()
        .expect("ffmpeg runs");
    assert!(made.success());
}

#[test]
fn a_file_is_rerecorded_with_a_progress_bar() {
    let dir = tempfile::tempdir().expect("a directory");
    foreign_file(dir.path());
    let line = format!(
        "{LIMITED} {} --input in.mkv -o bar.webm",
        example().display()
    );
    let (mut child, keyboard, mut screen) = in_terminal(dir.path(), &line);
    screen.wait_for("source: sound of in.mkv");
    screen.wait_for("source: picture of in.mkv");
    let percent = |seen: &str| -> u32 {
        let word = seen.trim_end_matches(" %").rsplit(' ').next();
        word.and_then(|word| word.parse().ok()).expect("a number")
    };
    let mut shown = vec![percent(&screen.wait_for(" %"))];
    while shown.len() < 3 || shown.first() == shown.last() {
        shown.push(percent(&screen.wait_for(" %")));
    }
    assert!(
        shown.is_sorted() && shown.iter().all(|&p| p <= 100),
        "{shown:?}"
    );
    let end = screen.wait_for("duration  0:00:08.0");
    assert!(end.contains("bar.webm ("), "no summary: {end}");
    drop(keyboard);
    assert!(child.wait().expect("it ends").success());
    assert_media(&dir.path().join("bar.webm"), &SOUND_AND_PICTURE, 8.0, 0.05);
}

#[test]
fn without_a_terminal_a_file_or_uri_is_recorded_quietly() {
    let dir = tempfile::tempdir().expect("a directory");
    foreign_file(dir.path());
    let uri = format!("file://{}/in.mkv", dir.path().display());
    let line = format!("--input {uri} -o sound.wav");
    let assert = record(dir.path(), &line).assert().success();
    let err = text(&assert.get_output().stderr);
    assert!(!err.contains('\x1b') && !err.contains('%'), "{err}");
    // An extension for audio only: the video is ignored.
    assert_media(
        &dir.path().join("sound.wav"),
        &["audio:pcm_s16le"],
        8.0,
        0.001,
    );
}

/// The window is closed while recording: output and input are gone, and the file is complete.
#[test]
fn a_closed_terminal_ends_the_recording() {
    let dir = tempfile::tempdir().expect("a directory");
    // The shell outlives the terminal, to report the exit code.
    let line = format!(
        "trap '' HUP; {LIMITED} {} --test -o take.webm; echo $? > code.part; mv code.part code",
        example().display()
    );
    let (mut child, keyboard, mut screen) = in_terminal(dir.path(), &line);
    screen.wait_for("REC");
    // Without `script`, nothing holds the other side of the terminal.
    child.kill().expect("killed");
    child.wait().expect("it is gone");
    drop(keyboard);

    let code = dir.path().join("code");
    let deadline = Instant::now() + Duration::from_secs(30);
    while !code.exists() {
        assert!(Instant::now() < deadline, "continues without a terminal");
        std::thread::sleep(Duration::from_millis(20));
    }
    let code = std::fs::read_to_string(code).expect("its exit code");
    assert_eq!(code.trim(), "0");
    let probe = probe::probe(&dir.path().join("take.webm"));
    assert_eq!(probe.streams, SOUND_AND_PICTURE);
}

/// A shell line in its own terminal, with its input and output.
fn in_terminal(dir: &Path, line: &str) -> (Child, ChildStdin, Terminal<ChildStdout>) {
    let mut child = Command::new("script")
        .args(["-q", "-c", line, "/dev/null"])
        .current_dir(dir)
        .env("TERM", "xterm")
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("script runs (Debian package bsdutils)");
    let keyboard = child.stdin.take().expect("its stdin");
    let screen = Terminal {
        output: child.stdout.take().expect("its stdout"),
        seen: String::new(),
    };
    (child, keyboard, screen)
}

/// A terminal's output, read as far as a test has requested.
struct Terminal<R> {
    output: R,
    seen: String,
}

impl<R: Read> Terminal<R> {
    /// Reads on until `text` appears, and returns everything up to it. Panics at the end.
    fn wait_for(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            assert!(self.read(), "{text:?} did not appear; last: {}", self.seen);
        }
    }

    /// Everything until the end.
    fn rest(&mut self) -> String {
        while self.read() {}
        std::mem::take(&mut self.seen)
    }

    /// False at the end.
    fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let count = self.output.read(&mut bytes).unwrap_or(0);
        self.seen
            .push_str(&String::from_utf8_lossy(&bytes[..count]));
        count > 0
    }
}
