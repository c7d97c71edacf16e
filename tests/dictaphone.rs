//! The dictaphone in a real terminal: tmux provides a screen, a keyboard and a mouse.

mod common;

use common::harness::media::{assert_finalised, assert_plays, chapters, probe, run};
use common::harness::wait_for;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A private tmux server with one window.
struct Screen {
    socket: PathBuf,
}

impl Screen {
    fn new(folder: &Path, line: &str) -> Self {
        let screen = Screen {
            socket: folder.join("tmux"),
        };
        screen.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "90",
            "-y",
            "22",
            line,
        ]);
        screen
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let mut tmux = Command::new("tmux");
        tmux.arg("-S").arg(&self.socket).args(arguments);
        // For characters beyond ASCII.
        tmux.env("LC_ALL", "C.UTF-8").env_remove("TMUX");
        String::from_utf8_lossy(&run(&mut tmux).0).into_owned()
    }

    fn text(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    #[track_caller]
    fn wait(&self, what: &str, condition: impl Fn(&str) -> bool) -> String {
        let mut text = String::new();
        let seen = common::harness::holds_within(common::harness::DEADLINE, || {
            text = self.text();
            condition(&text)
        });
        assert!(seen, "{what} did not appear:\n{text}");
        text
    }

    fn key(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    /// Clicks on the first occurrence of `text`.
    #[track_caller]
    fn click(&self, text: &str) {
        let screen = self.text();
        let place = screen.lines().enumerate().find_map(|(row, line)| {
            let before = line.split_once(text)?.0;
            Some((before.chars().count() + 1, row + 1))
        });
        let (column, row) = place.unwrap_or_else(|| panic!("no {text} in\n{screen}"));
        for end in ["M", "m"] {
            let bytes = format!("\x1b[<0;{column};{row}{end}");
            let bytes: Vec<String> = bytes.bytes().map(|byte| format!("{byte:x}")).collect();
            let mut arguments = vec!["send-keys", "-H"];
            arguments.extend(bytes.iter().map(String::as_str));
            self.tmux(&arguments);
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let mut tmux = Command::new("tmux");
        // Fails if the program has already exited.
        let _ = tmux.arg("-S").arg(&self.socket).arg("kill-server").output();
    }
}

fn example() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let profile = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    let example = profile.join("examples/dictaphone");
    assert!(
        example.is_file(),
        "{} is not built: cargo build --example dictaphone",
        example.display()
    );
    example
}

/// Seconds in the line of a clip, or in the title.
fn seconds(line: &str) -> f64 {
    let time = line
        .split_whitespace()
        .find(|word| word.contains(':') && word.contains('.'));
    let (minutes, seconds) = time.and_then(|time| time.split_once(':')).expect("a time");
    minutes.parse::<f64>().expect("minutes") * 60.0 + seconds.parse::<f64>().expect("seconds")
}

#[test]
fn records_pauses_renames_plays_and_deletes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clips = folder.path().join("clips");
    let line = format!(
        "'{}' --test --directory '{}'",
        example().display(),
        clips.display()
    );
    let screen = Screen::new(folder.path(), &line);
    screen.wait("the empty list", |text| {
        text.contains("Ready") && text.contains("Clips: 0")
    });

    // A recording with a pause: by keys, then by the mouse.
    screen.key("r");
    screen.wait("a second", |text| {
        text.contains("● Recording") && seconds(text) >= 1.0
    });
    screen.key("Space");
    let paused = screen.wait("the pause", |text| text.contains("Paused"));
    let bars = |text: &str| {
        text.matches(['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'])
            .count()
    };
    assert!(bars(&paused) > 0, "no waveform:\n{paused}");
    assert!(!paused.contains('┊'), "a cut before its end:\n{paused}");
    screen.click("Go on");
    screen.wait("the mark of the pause", |text| {
        text.contains("● Recording") && text.contains('┊')
    });
    screen.key("m");
    screen.wait("the mark", |text| text.contains("Mark 1 at 0:0"));
    screen.wait("another second", |text| seconds(text) >= 2.0);
    screen.click("Stop");
    let text = screen.wait("the clip", |text| {
        text.contains("Clips: 1") && text.contains("Ready") && text.contains(" kB ")
    });
    let clip = text
        .lines()
        .find(|line| line.contains(" Clip 1 "))
        .expect("the clip's line");
    let length = seconds(clip);

    // The displayed duration is that of the file.
    let path = clips.join("Clip 1.webm").display().to_string();
    assert_plays(&path);
    assert_finalised(&path);
    let duration = probe(&path).duration.expect("a duration");
    assert!(
        (duration - length).abs() <= 0.15,
        "{duration} s, but {clip}"
    );

    let chapters = chapters(&path);
    let [(start, title)] = chapters.as_slice() else {
        panic!("not one chapter: {chapters:?}");
    };
    assert_eq!(title, "Mark 1");
    assert!((1.0..duration).contains(start), "{start} of {duration} s");

    screen.key("n");
    screen.wait("the question", |text| text.contains("New name: Clip 1"));
    screen.tmux(&["send-keys", "-l", " of mine"]);
    screen.key("Enter");
    screen.wait("the name", |text| {
        text.contains("Clip 1 of mine") && !text.contains("New name")
    });
    assert!(clips.join("Clip 1 of mine.webm").is_file());

    screen.click("Play");
    screen.wait("the player", |text| text.contains("▶ Clip 1 of mine"));
    screen.wait("its end", |text| !text.contains("▶ Clip 1 of mine"));

    screen.key("d");
    screen.wait("the question", |text| {
        text.contains("Delete Clip 1 of mine?")
    });
    screen.key("y");
    screen.wait("the empty list", |text| text.contains("Clips: 0"));
    assert!(!clips.join("Clip 1 of mine.webm").exists());
    screen.key("q");
}

/// Audio before the key press becomes a clip; a manual recording starts at its own key press.
#[test]
fn a_key_keeps_the_last_minute() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clips = folder.path().join("clips");
    let line = format!(
        "'{}' --test --directory '{}'",
        example().display(),
        clips.display()
    );
    let screen = Screen::new(folder.path(), &line);
    screen.wait("the empty list", |text| text.contains("Clips: 0"));
    let began = Instant::now();
    // The past contains as much time as has passed.
    wait_for("four seconds", || began.elapsed() > Duration::from_secs(4));
    screen.click("Keep last minute");
    screen.wait("the past", |text| text.contains("Saved Clip 1"));
    let path = clips.join("Clip 1.webm").display().to_string();
    assert_plays(&path);
    let kept = probe(&path).duration.expect("a duration");
    assert!(kept > 3.5, "{kept} s");

    let pressed = Instant::now();
    screen.key("r");
    screen.wait("half a second", |text| {
        text.contains("● Recording") && seconds(text) >= 0.5
    });
    screen.key("s");
    let text = screen.wait("the clip", |text| text.contains("Saved Clip 2"));
    let most = pressed.elapsed().as_secs_f64();
    let by_hand = probe(&clips.join("Clip 2.webm").display().to_string());
    let length = by_hand.duration.expect("a duration");
    assert!(
        (0.5..=most).contains(&length),
        "{length} s of {most} s\n{text}"
    );
    screen.key("q");
}

#[test]
fn quitting_finishes_a_recording_which_is_listed_next_time() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clips = folder.path().join("clips");
    let line = format!(
        "'{}' --test --directory '{}'; echo code $?; sleep 60",
        example().display(),
        clips.display()
    );
    let screen = Screen::new(folder.path(), &line);
    screen.wait("the empty list", |text| text.contains("Clips: 0"));
    screen.key("r");
    screen.wait("a second", |text| {
        text.contains("Recording") && seconds(text) >= 1.0
    });
    screen.key("q");
    let left = screen.wait("the shell again", |text| text.contains("code "));
    assert!(left.contains("code 0"), "{left}");
    drop(screen);
    let path = clips.join("Clip 1.webm").display().to_string();
    wait_for("the file", || Path::new(&path).is_file());
    assert_plays(&path);
    assert_finalised(&path);

    let screen = Screen::new(folder.path(), &line);
    let text = screen.wait("the clip", |text| text.contains("Clips: 1"));
    let clip = text
        .lines()
        .find(|line| line.contains(" Clip 1 "))
        .expect("the clip's line");
    assert!(seconds(clip) >= 1.0, "{clip}");
    screen.key("q");
}
