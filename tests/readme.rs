//! Runs every command line and program of README.md, docs/USING.md, docs/FAQ.md and docs/RECIPES.md as printed
//! there, and verifies the files with ffprobe.
//!
//! The plugin's directory is taken from the environment, `MEDIARECORDER_PLUGIN_DIR` (set by scripts/test): the
//! command lines need a plugin that GStreamer finds and loads, not a linked crate.

mod probe;
#[path = "probe/sound_server.rs"]
mod sound_server;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use probe::assert_media;
use sound_server::SoundServer;

const README: &str = include_str!("../README.md");
const USING: &str = include_str!("../docs/USING.md");
const FAQ: &str = include_str!("../docs/FAQ.md");
const RECIPES: &str = include_str!("../docs/RECIPES.md");

/// The output of a line or program.
struct Expected {
    file: &'static str,
    streams: &'static [&'static str],
    /// In seconds.
    duration: f64,
    tolerance: f64,
}

/// Of README.md and docs/USING.md, in order: later lines read the files of earlier ones.
const FILES: [Expected; 11] = [
    expected("hello.webm", &["video:vp8"], 3.0, 0.05),
    expected("talk.webm", &["audio:opus", "video:vp8"], 2.0, 0.15),
    expected("test.webm", &["audio:opus", "video:vp8"], 3.0, 0.1),
    // Three seconds minus the start-up time of a process and a sound server.
    expected("voice.webm", &["audio:opus"], 2.0, 1.2),
    expected("tone.wav", &["audio:pcm_s16le"], 2.0, 0.001),
    expected("tone.webm", &["audio:opus"], 2.0, 0.03),
    expected("streamed.webm", &["video:vp8"], 3.0, 0.1),
    expected("preview.webm", &["video:vp8"], 3.0, 0.1),
    expected("again.webm", &["audio:opus", "video:vp8"], 3.0, 0.1),
    expected("python.webm", &["audio:opus", "video:vp8"], 2.0, 0.15),
    expected("c.webm", &["audio:opus", "video:vp8"], 2.0, 0.15),
];

/// Of docs/FAQ.md.
const ANSWERS: [Expected; 16] = [
    expected("duration.webm", &["video:vp8"], 3.0, 0.05),
    expected("repaired.webm", &["video:vp8"], 3.0, 0.05),
    expected("paused.webm", &["audio:opus"], 1.5, 0.2),
    expected("sync.webm", &["audio:opus", "video:vp8"], 1.0, 0.1),
    expected("split-00.webm", &["video:vp8"], 2.0, 0.05),
    expected("split-02.webm", &["video:vp8"], 1.0, 0.05),
    expected("long.mkv", &["video:vp8"], 10.0, 0.05),
    expected("piece-000.mkv", &["video:vp8"], 3.0, 0.1),
    expected("piece-003.mkv", &["video:vp8"], 1.0, 0.1),
    expected("part-00.webm", &["audio:opus"], 1.0, 0.2),
    expected("part-02.webm", &["audio:opus"], 1.0, 0.2),
    expected("received.webm", &["audio:opus"], 2.1, 0.1),
    expected("chosen.mkv", &["audio:flac", "video:vp9"], 3.0, 0.1),
    expected("small.webm", &["video:vp8"], 5.0, 0.1),
    expected("copied.mkv", &["video:h264"], 3.0, 0.1),
    expected("told.webm", &["audio:opus"], 2.1, 0.1),
];

const fn expected(
    file: &'static str,
    streams: &'static [&'static str],
    duration: f64,
    tolerance: f64,
) -> Expected {
    Expected {
        file,
        streams,
        duration,
        tolerance,
    }
}

/// The contents of all fenced code blocks of a language, in order.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut current: Option<(bool, String)> = None;
    for line in text.lines() {
        let fence = line.strip_prefix("```");
        current = match (current, fence) {
            (None, Some(info)) => Some((info.trim() == language, String::new())),
            (None, None) => None,
            (Some((wanted, block)), Some(_)) => {
                if wanted {
                    blocks.push(block);
                }
                None
            }
            (Some((wanted, mut block)), None) => {
                block.push_str(line);
                block.push('\n');
                Some((wanted, block))
            }
        };
    }
    assert!(current.is_none(), "the text ends inside a block");
    blocks
}

/// The command lines of the `sh` blocks of README.md and docs/USING.md, with continued lines joined.
fn commands() -> Vec<String> {
    [README, USING]
        .iter()
        .flat_map(|text| blocks(text, "sh"))
        .flat_map(|block| {
            let joined = block.replace("\\\n", " ");
            let lines: Vec<String> = joined.lines().map(|line| line.trim().into()).collect();
            lines
        })
        .filter(|line: &String| !line.is_empty())
        .collect()
}

/// The last recording that a line or program names.
fn recording_of(text: &str) -> &str {
    let (_, after) = text.rsplit_once("location=").expect("a location");
    after
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '.'))
        .next()
        .expect("a file name")
}

fn expectation(file: &str) -> &'static Expected {
    FILES
        .iter()
        .find(|expected| expected.file == file)
        .unwrap_or_else(|| panic!("{file} is recorded, but not listed in this test"))
}

fn plugin_dir() -> PathBuf {
    let dir = std::env::var_os("MEDIARECORDER_PLUGIN_DIR").expect(
        "MEDIARECORDER_PLUGIN_DIR has to name the directory of libgstmediarecorder.so, as \
         scripts/test does; after `cargo build --release`: MEDIARECORDER_PLUGIN_DIR=target/release",
    );
    // Relative to the crate's root, where cargo runs tests: the lines run elsewhere.
    let dir = std::path::absolute(dir).expect("a directory");
    assert!(
        dir.join("libgstmediarecorder.so").is_file(),
        "there is no libgstmediarecorder.so in {}",
        dir.display()
    );
    dir
}

/// A command in an environment with the plugin, in `dir`, with a timeout of a minute (then code 124).
fn limited(program: &str, dir: &Path) -> Command {
    let mut command = Command::new("timeout");
    command
        .args(["--signal=KILL", "60", program])
        .current_dir(dir)
        .env("GST_PLUGIN_PATH", plugin_dir())
        // A private one, so that no other run's registry is read or modified.
        .env("GST_REGISTRY", dir.join("registry.bin"));
    command
}

fn tell(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

impl Expected {
    #[track_caller]
    fn assert_in(&self, dir: &Path) {
        assert_media(
            &dir.join(self.file),
            self.streams,
            self.duration,
            self.tolerance,
        );
    }
}

/// The Python programs of README.md and docs/USING.md.
fn python_programs() -> Vec<String> {
    let texts = [README, USING].iter();
    texts.flat_map(|text| blocks(text, "python")).collect()
}

/// Runs a Python program in `dir`.
#[track_caller]
fn run_python(program: &str, argument: Option<&str>, dir: &Path) -> Output {
    std::fs::write(dir.join("app.py"), program).expect("written");
    // The system's own: another one earlier in the path may lack gi.
    let output = limited("/usr/bin/python3", dir)
        .arg("app.py")
        .args(argument)
        .output()
        .expect("python3 runs");
    assert!(output.status.success(), "{program}\n{}", tell(&output));
    output
}

/// Needs no plugin: every line is tested, and every expected line exists.
#[test]
fn every_line_and_program_is_known() {
    let mut texts = commands();
    assert!(texts.len() >= 5, "only {} lines", texts.len());
    for line in &texts {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert!(words.contains(&"gst-launch-1.0"), "not run: {line}");
        assert!(line.contains("autostart=true"), "does not start: {line}");
    }
    texts.extend(python_programs());
    texts.extend(blocks(USING, "c"));
    let written: Vec<&str> = texts.iter().map(|text| recording_of(text)).collect();
    let written_once: BTreeSet<&str> = written.iter().copied().collect();
    assert_eq!(
        written.len(),
        written_once.len(),
        "two lines write the same file"
    );
    let known: BTreeSet<&str> = FILES.iter().map(|expected| expected.file).collect();
    assert_eq!(written_once, known);
    assert_eq!(
        blocks(USING, "rust,no_run").len(),
        1,
        "the doc test's program"
    );
}

/// The source map has a line for each file, and for no other.
#[test]
fn the_architecture_names_every_source_file() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(top.join("docs/ARCHITECTURE.md")).expect("the map");
    let (mut room, mut named) = (String::new(), BTreeSet::new());
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("### src/") {
            room = heading.split(':').next().unwrap_or_default().to_owned();
        } else if let Some((file, _)) = line.strip_prefix("| `").and_then(|l| l.split_once("` |"))
            && file.ends_with(".rs")
            && !file.contains(' ')
        {
            named.insert(Path::new(&room).join(file).to_string_lossy().into_owned());
        }
    }
    let mut found = BTreeSet::new();
    let mut directories = vec![top.join("src")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let file = path.strip_prefix(top.join("src")).expect("a source file");
                found.insert(file.to_string_lossy().into_owned());
            }
        }
    }
    assert_eq!(named, found);
}

#[test]
fn the_command_lines_work_when_pasted() {
    let dir = tempfile::tempdir().expect("a directory");
    let microphone = SoundServer::start();
    for line in commands() {
        let mut command = limited("sh", dir.path());
        let output = microphone
            .serve(&mut command)
            .args(["-c", &line])
            .output()
            .expect("sh runs");
        // If `timeout` sends SIGINT, it always exits with 124.
        let pressed = line.starts_with("timeout ") && output.status.code() == Some(124);
        assert!(
            output.status.success() || pressed,
            "{line}\n{}",
            tell(&output)
        );
        let said = String::from_utf8_lossy(&output.stdout);
        if line.contains("timeslice=") {
            let blobs = said.matches("mediarecorder-data-available").count();
            assert!((3..=4).contains(&blobs), "{blobs} blobs: {line}\n{said}");
        }
        expectation(recording_of(&line)).assert_in(dir.path());
    }
}

#[test]
fn the_python_programs_work() {
    let dir = tempfile::tempdir().expect("a directory");
    let programs = python_programs();
    assert_eq!(programs.len(), 2);
    for program in programs {
        let output = run_python(&program, None, dir.path());
        let told = String::from_utf8_lossy(&output.stdout);
        let tells = program.contains("\"bytes\"");
        assert!(!tells || told.contains(" bytes"), "no blob: {told}");
        expectation(recording_of(&program)).assert_in(dir.path());
    }
}

/// Each block of the answers, in order: a block may read the files of an earlier one.
#[test]
fn the_answers_work_when_pasted() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut text = FAQ;
    while let Some((_, rest)) = text.split_once("\n```") {
        let (language, rest) = rest.split_once('\n').expect("a block");
        let (block, rest) = rest.split_once("```\n").expect("closed");
        text = rest;
        let output = match language {
            "sh" => limited("sh", dir.path()).args(["-c", block]).output(),
            "python" => Ok(run_python(block, None, dir.path())),
            other => panic!("a block of {other} is not run"),
        };
        let output = output.expect("sh runs");
        assert!(output.status.success(), "{block}\n{}", tell(&output));
        // The block is about what it prints.
        let shows = ["ffprobe ", "grep ", "print("];
        let told = String::from_utf8_lossy(&output.stdout);
        let is_silent = told.trim().is_empty();
        assert!(
            !is_silent || !shows.iter().any(|program| block.contains(program)),
            "no output: {block}\n{}",
            tell(&output)
        );
        if block.contains("grep -o 'mediarecorder-") {
            let events: Vec<&str> = told.lines().collect();
            assert_eq!(events.first(), Some(&"mediarecorder-start"), "{told}");
            assert_eq!(events.last(), Some(&"mediarecorder-stop"), "{told}");
        }
    }
    for expected in &ANSWERS {
        expected.assert_in(dir.path());
    }
    // Killed after four seconds, part of which was start-up.
    let killed = probe::probe(&dir.path().join("killed.mp4"));
    assert_eq!(killed.streams, ["video:h264"]);
}

/// Links within the documents have a target.
#[test]
fn links_lead_to_files_and_headings() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents = vec!["README.md".into(), "CONTRIBUTING.md".into()];
    for entry in std::fs::read_dir(top.join("docs")).expect("docs") {
        let name = entry.expect("an entry").file_name();
        documents.push(format!("docs/{}", name.to_string_lossy()));
    }
    for document in documents.iter().filter(|name| name.ends_with(".md")) {
        let here = top.join(document);
        let text = std::fs::read_to_string(&here).expect("a document");
        for link in text.split("](").skip(1) {
            let (link, _) = link.split_once(')').expect("closed");
            if link.contains("://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let there = match file {
                "" => here.clone(),
                file => here.parent().expect("a folder").join(file),
            };
            assert!(there.exists(), "{document}: {link} leads nowhere");
            if !heading.is_empty() {
                let text = std::fs::read_to_string(&there).expect("a document");
                let mut headings = text.lines().filter(|line| line.starts_with('#')).map(slug);
                assert!(
                    headings.any(|slug| slug == heading),
                    "{document}: no heading {link}"
                );
            }
        }
    }
}

/// The anchor that GitHub gives a heading.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The Python programs of docs/RECIPES.md.
fn recipes() -> [String; 5] {
    <[String; 5]>::try_from(blocks(RECIPES, "python")).expect("five")
}

#[test]
fn the_recipes_of_the_past_work() {
    let dir = tempfile::tempdir().expect("a directory");
    let [.., replay, voice] = recipes();
    run_python(&replay, None, dir.path());
    for take in 0..2 {
        let file = dir.path().join(format!("replay-{take}.webm"));
        // Two seconds, plus the distance to the previous keyframe.
        assert_media(&file, &["audio:opus", "video:vp8"], 2.3, 0.4);
    }
    run_python(&voice, None, dir.path());
    // Half a second, a loud one, and a quiet one.
    let file = dir.path().join("said-0.ogg");
    assert_media(&file, &["audio:opus"], 2.6, 0.4);
}

#[test]
fn the_recipes_work() {
    let dir = tempfile::tempdir().expect("a directory");
    let [files, sending, parts, ..] = recipes();
    run_python(&files, None, dir.path());
    for take in 0..3 {
        let file = dir.path().join(format!("take-{take}.webm"));
        assert_media(&file, &["audio:opus"], 1.2, 0.25);
    }

    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/talk", server.local_addr().expect("its address"));
    let server = std::thread::spawn(move || receive(&server));
    run_python(&sending, Some(&url), dir.path());
    TcpStream::connect(url.trim_start_matches("http://").trim_end_matches("/talk"))
        .expect("the last connection, which is empty");
    let (requests, bytes) = server.join().expect("the server");
    assert!((4..=6).contains(&requests), "{requests} blobs were sent");
    let file = dir.path().join("sent.webm");
    std::fs::write(&file, bytes).expect("written");
    let decoded = Command::new("ffprobe")
        .args(["-v", "error", "-of", "csv=p=0", "-count_packets"])
        .args(["-show_entries", "stream=codec_name,nb_read_packets"])
        .arg(&file)
        .output()
        .expect("ffprobe runs");
    let decoded = String::from_utf8_lossy(&decoded.stdout).into_owned();
    let packets = decoded.trim().strip_prefix("opus,").expect("sound");
    let packets: u32 = packets.parse().expect("a number");
    assert!((100..130).contains(&packets), "{packets} packets of 20 ms");

    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("its address");
    let uploaded = std::thread::spawn(move || uploads(&server));
    run_python(&parts, Some(&format!("http://{address}")), dir.path());
    TcpStream::connect(address).expect("the last connection, which is empty");
    let uploaded = uploaded.join().expect("the server");
    assert_eq!(uploaded.len(), 3, "2.5 s in parts of one");
    for (number, (path, body)) in uploaded.iter().enumerate() {
        assert_eq!(path, &format!("/part-{number:03}.webm"));
        let file = dir.path().join(&path[1..]);
        assert!(!file.exists(), "{path} is still there");
        std::fs::write(&file, body).expect("written");
        let length = if number < 2 { 1.0 } else { 0.5 };
        assert_media(&file, &["audio:opus"], length, 0.4);
    }
}

/// Path and body of each PUT request until an empty connection.
fn uploads(server: &TcpListener) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    loop {
        let (stream, _) = server.accept().expect("a connection");
        let mut reader = BufReader::new(&stream);
        let (mut path, mut length) = (String::new(), 0);
        let mut line = String::new();
        while reader.read_line(&mut line).expect("a header") > 2 {
            if let Some(rest) = line.strip_prefix("PUT ") {
                path = rest.split(' ').next().expect("a path").to_owned();
            } else if let Some(number) = line.to_ascii_lowercase().strip_prefix("content-length: ")
            {
                length = number.trim().parse().expect("a length");
            }
            line.clear();
        }
        if path.is_empty() {
            return all;
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a body");
        (&stream)
            .write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            .expect("an answer");
        all.push((path, body));
    }
}

/// Accepts PUT requests until an empty connection: their number, and their bodies in order. Panics if one does not
/// start where the previous one ended.
fn receive(server: &TcpListener) -> (usize, Vec<u8>) {
    let mut bytes = Vec::new();
    for requests in 0.. {
        let (stream, _) = server.accept().expect("a connection");
        let mut reader = BufReader::new(&stream);
        let (mut length, mut range) = (0, String::new());
        let mut line = String::new();
        while reader.read_line(&mut line).expect("a header") > 2 {
            if let Some((name, value)) = line.trim().split_once(": ") {
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => length = value.parse().expect("a length"),
                    "content-range" => range = value.to_owned(),
                    _ => {}
                }
            }
            line.clear();
        }
        if length == 0 {
            return (requests, bytes);
        }
        let from = bytes.len();
        assert_eq!(range, format!("bytes {from}-{}/*", from + length - 1));
        bytes.resize(from + length, 0);
        reader.read_exact(&mut bytes[from..]).expect("a body");
        (&stream)
            .write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            .expect("an answer");
    }
    unreachable!("continues until an empty connection")
}

#[test]
fn the_c_program_works() {
    let dir = tempfile::tempdir().expect("a directory");
    let [program] = <[String; 1]>::try_from(blocks(USING, "c")).expect("one program");
    std::fs::write(dir.path().join("app.c"), &program).expect("written");
    let compile = "cc -Wall -Wextra -Werror app.c -o app \
                   $(pkg-config --cflags --libs gstreamer-1.0)";
    let output = Command::new("sh")
        .args(["-c", compile])
        .current_dir(dir.path())
        .output()
        .expect("sh runs");
    assert!(output.status.success(), "{}", tell(&output));
    let output = limited("./app", dir.path()).output().expect("it runs");
    assert!(output.status.success(), "{}", tell(&output));
    expectation(recording_of(&program)).assert_in(dir.path());
}
