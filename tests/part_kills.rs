//! SIGKILL around splits: finished parts are complete, and the current one is playable up to the last second.

mod common;

use common::app::{App, SMALL, STEREO};
use common::harness::{Recorder, make_recorder};
use common::judge::file;
use common::settings::{Rng, long, skipped};
use gst::prelude::*;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Pass to the process that will be killed what to record, and where to.
const WHAT: &str = "MEDIARECORDER_SPLITS_TYPE";
const WHERE: &str = "MEDIARECORDER_SPLITS_LOCATION";

const KINDS: [(&str, &str); 8] = [
    ("video/webm;codecs=\"vp8,opus\"", "webm"),
    ("video/x-matroska;codecs=\"avc1,flac\"", "mkv"),
    ("video/mp4;codecs=\"avc1,mp4a.40.2\"", "mp4"),
    ("audio/ogg;codecs=opus", "ogg"),
    ("audio/mp4;codecs=mp4a.40.2", "m4a"),
    ("audio/wav", "wav"),
    ("audio/flac", "flac"),
    ("audio/mpeg", "mp3"),
];

const MILLI: u64 = 1_000_000;
/// Media that may be lost: a second that is not written yet, a GOP, and what is being encoded.
const MAX_LOSS: f64 = 1.0 + 0.5 + 0.3;

/// Splits repeatedly until killed; prints when it does so, and which parts are complete.
#[test]
fn splits_until_killed() {
    let (Ok(mime_type), Ok(location)) = (std::env::var(WHAT), std::env::var(WHERE)) else {
        return;
    };
    let app = App::new(&mime_type, Path::new(&location));
    app.recorder
        .set_property("video-key-frame-interval-duration", 500u32);
    app.recorder.connect("on-part", false, |values| {
        let fields = values[1].get::<gst::Structure>().unwrap();
        let number = fields.get::<u32>("part").unwrap();
        println!("part {number} {}", fields.get::<u64>("duration").unwrap());
        None
    });
    let audio = app.source(&format!(
        "audiotestsrc is-live=true wave=pink-noise samplesperbuffer=480 ! {STEREO}"
    ));
    audio.link(&app.pad("audio_%u")).unwrap();
    if mime_type.starts_with("video/") {
        let video = app.source(&format!("videotestsrc is-live=true ! {SMALL}"));
        video.link(&app.pad("video_%u")).unwrap();
    }
    app.set_state(gst::State::Playing);
    app.act("start");
    println!("start");
    let mut chance = Rng::from_env();
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        app.wait_running_time(app.running_time() + (50 + chance.below(400)) * MILLI);
        println!("split");
        app.act("split-now");
    }
}

/// The end of a file's packets, in seconds; 0 if there are none yet.
fn plays_until(path: &Path) -> f64 {
    let output = Command::new("ffprobe")
        .args(["-v", "quiet", "-select_streams", "a:0", "-show_entries"])
        .args(["packet=pts_time,duration_time", "-of", "csv=p=0"])
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let ends = text.lines().filter_map(|line| {
        let mut fields = line.split(',').map(str::parse::<f64>);
        Some(fields.next()?.ok()? + fields.next()?.unwrap_or(0.0))
    });
    ends.fold(0.0, f64::max)
}

/// Kills a recording soon after a split; returns how many seconds were lost.
fn lost(kind: (&str, &str), chance: &mut Rng) -> Result<f64, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = |number: &str| folder.path().join(format!("{number}.{}", kind.1));
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "splits_until_killed", "--nocapture"])
        .env(WHAT, kind.0)
        .env(WHERE, path("%d"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let splits = 3 + chance.below(6);
    let (mut started, mut split) = (None, 0);
    let mut whole = BTreeMap::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["part", number, duration] => {
                whole.insert(number.to_owned(), duration.parse::<f64>().unwrap() / 1e9);
            }
            ["split"] => split += 1,
            [.., "start"] => started = Some(Instant::now()),
            _ => {}
        }
        if split == splits {
            break;
        }
    }
    std::thread::sleep(Duration::from_micros(chance.below(60_000)));
    let recorded = started.unwrap().elapsed().as_secs_f64();
    child.kill().unwrap();
    child.wait().unwrap();
    let mut played = 0.0;
    for (number, duration) in &whole {
        let path = path(number);
        file::decodes_without_errors(&path).map_err(|err| format!("part {number}: {err}"))?;
        let lasts = file::duration(&path)? / 1e9;
        if (lasts - duration).abs() > 0.07 {
            return Err(format!("part {number} lasts {lasts} s, not {duration} s"));
        }
        played += duration;
    }
    let mut number = whole.len();
    while path(&number.to_string()).exists() {
        played += plays_until(&path(&number.to_string()));
        number += 1;
    }
    Ok(recorded - played)
}

#[test]
fn parts_of_a_killed_recording_play() {
    if std::env::var_os(WHAT).is_some() {
        return;
    }
    let mut chance = Rng::from_env();
    let mut worst = BTreeMap::<&str, f64>::new();
    for round in 0..if long() { 100 } else { KINDS.len() } {
        let kind = KINDS[round % KINDS.len()];
        if !make_recorder().supports(kind.0) {
            skipped(&format!("kills at splits in {}: not installed", kind.0));
            continue;
        }
        let lost = lost(kind, &mut chance).unwrap_or_else(|err| panic!("{}: {err}", kind.0));
        assert!(lost < MAX_LOSS, "{}: {lost} s are lost", kind.0);
        let of_kind = worst.entry(kind.0).or_default();
        *of_kind = of_kind.max(lost);
    }
    println!("lost at the worst: {worst:?}");
}
