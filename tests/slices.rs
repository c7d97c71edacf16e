//! Timeslices in every container: a blob has at least the requested duration, and at most one packet, frame or
//! page more, both in its message and as found by FFmpeg.

mod common;

use common::app::{App, SMALL, STEREO, temp_location};
use common::harness::{Recorder, make_recorder, media};
use common::take::{Blob, FRAME, Recipe, blobs, take};
use gst::prelude::*;
use std::path::{Path, PathBuf};
use std::process::Command;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
const RATE: u64 = 48_000;
const TIMESLICES: [u64; 3] = [100, 250, 1_000];
/// A packet of Opus.
const OPUS: u64 = 20 * MS;
/// Other codecs' packets, in samples.
const AAC: u64 = 1_024 * SECOND / RATE;
const MP3: u64 = 1_152 * SECOND / RATE;
const VORBIS: u64 = 1_024 * SECOND / RATE;
const FLAC: u64 = 4_608 * SECOND / RATE;
/// A raw audio buffer, as received from upstream.
const PCM: u64 = 10 * MS;

/// A type, and the longest packet, frame or page of its audio and its video.
struct Type(&'static str, Option<u64>, Option<u64>);

const AUDIO: [Type; 13] = [
    Type("audio/webm;codecs=opus", Some(OPUS), None),
    Type("audio/x-matroska;codecs=pcm", Some(PCM), None),
    Type("audio/x-matroska;codecs=flac", Some(FLAC), None),
    Type("audio/x-matroska;codecs=mp4a.40.2", Some(AAC), None),
    Type("audio/mp4;codecs=mp4a.40.2", Some(AAC), None),
    Type("audio/mp4;codecs=opus", Some(OPUS), None),
    Type("audio/mp4;codecs=mp3", Some(MP3), None),
    Type("audio/ogg;codecs=opus", Some(OPUS), None),
    Type("audio/ogg;codecs=vorbis", Some(VORBIS), None),
    Type("audio/ogg;codecs=flac", Some(FLAC), None),
    Type("audio/wav", Some(PCM), None),
    Type("audio/flac", Some(FLAC), None),
    Type("audio/mpeg", Some(MP3), None),
];

const VIDEO: [Type; 8] = [
    Type("video/webm;codecs=vp8", None, Some(FRAME)),
    Type("video/mp4;codecs=avc1", None, Some(FRAME)),
    Type("video/webm;codecs=vp8,opus", Some(OPUS), Some(FRAME)),
    Type("video/x-matroska;codecs=avc1,pcm", Some(PCM), Some(FRAME)),
    Type(
        "video/x-matroska;codecs=vp8,vorbis",
        Some(VORBIS),
        Some(FRAME),
    ),
    Type("video/mp4;codecs=avc1,mp4a.40.2", Some(AAC), Some(FRAME)),
    Type("video/mp4;codecs=vp9,opus", Some(OPUS), Some(FRAME)),
    Type("video/ogg;codecs=theora,vorbis", Some(VORBIS), Some(FRAME)),
];

impl Type {
    fn is_installed(&self) -> bool {
        let is_installed = make_recorder().supports(self.0);
        if !is_installed {
            println!("{}: not installed, not tested", self.0);
        }
        is_installed
    }

    /// The longest packet.
    fn longest(&self) -> u64 {
        self.1.max(self.2).unwrap()
    }
}

/// A packet as read by FFmpeg: its position in the file, its decode time and end, in nanoseconds.
#[derive(Debug, Clone, Copy)]
struct Packet {
    place: usize,
    begin: i64,
    end: i64,
}

fn packets(path: &Path) -> Vec<Packet> {
    let entries = "packet=pos,pts_time,dts_time,duration_time";
    let mut probe = Command::new("ffprobe");
    probe.args(["-v", "error", "-of", "json", "-show_entries", entries]);
    let (json, _) = media::run(probe.arg(path));
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let packets = json["packets"].as_array().unwrap().iter();
    let packet = |packet: &serde_json::Value| {
        let time = |name: &str| Some(packet[name].as_str()?.parse::<f64>().unwrap() * 1e9);
        let begin = time("dts_time").or(time("pts_time"))?;
        let end = begin + time("duration_time").unwrap_or(0.0);
        Some(Packet {
            place: packet["pos"].as_str()?.parse().unwrap(),
            begin: begin.round() as i64,
            end: end.round() as i64,
        })
    };
    packets.filter_map(packet).collect()
}

/// The bytes of the first `count` blobs, as a file.
fn file_of(blobs: &[Blob], count: usize) -> (tempfile::TempDir, PathBuf) {
    let (directory, path) = temp_location("blobs");
    let bytes = blobs[..count].iter().flat_map(|blob| blob.bytes.clone());
    std::fs::write(&path, bytes.collect::<Vec<_>>()).unwrap();
    (directory, path)
}

/// The start of each blob's media, if it has any.
fn starts(kind: &Type, blobs: &[Blob]) -> Vec<i64> {
    if kind.0 == "audio/wav" {
        return ends(blobs);
    }
    let (_directory, path) = file_of(blobs, blobs.len());
    let packets = packets(&path);
    let mut from = 0;
    let starts = blobs.iter().map(|blob| {
        let own = from..from + blob.bytes.len();
        from = own.end;
        let own = packets.iter().filter(|packet| own.contains(&packet.place));
        // Packets before 0 are encoder delay.
        own.map(|packet| packet.begin.max(0)).min()
    });
    starts.flatten().collect()
}

/// The same for a single track, by where all previous blobs end: FFmpeg splits raw media into packets of its own.
fn ends(blobs: &[Blob]) -> Vec<i64> {
    let end = |count| {
        let (_directory, path) = file_of(blobs, count);
        packets(&path).into_iter().map(|packet| packet.end).max()
    };
    [0].into_iter()
        .chain((1..blobs.len()).filter_map(end))
        .collect()
}

/// Each blob but the last has the requested duration, and at most a packet more.
fn judge(kind: &Type, timeslice: u64, blobs: &[Blob]) -> Result<(), String> {
    let slice = (timeslice * MS) as i64;
    let longest = kind.longest() as i64;
    let name = format!("{}, {timeslice} ms", kind.0);
    let (_, whole) = blobs.split_last().unwrap();
    assert!(whole.len() >= 2, "{name}: {} blobs", whole.len());
    let messages = whole.iter().map(|blob| blob.duration as i64 - slice);
    let starts = starts(kind, blobs);
    assert!(
        starts.len() >= whole.len(),
        "{name}: no media in {starts:?}"
    );
    // A bare MP3 starts with the encoder delay, which is only signalled at its end.
    let first = usize::from(kind.0 == "audio/mpeg");
    let media = starts[first..]
        .windows(2)
        .map(|pair| pair[1] - pair[0] - slice);
    // Matroska's times are whole milliseconds, and FFmpeg's are whole microseconds.
    let is_matroska = name.contains("webm") || name.contains("matroska");
    let rounding = if is_matroska { MS as i64 } else { 2_000 };
    // Ogg orders packets by their ends.
    let early = if name.contains("ogg") && kind.1.is_some() && kind.2.is_some() {
        longest
    } else {
        0
    };
    println!(
        "{name}: {} blobs, at most {:?} ns beyond by message, {:?} by media",
        blobs.len(),
        messages.clone().max(),
        media.clone().max()
    );
    let messages: Vec<_> = messages
        .filter(|beyond| !(0..=longest).contains(beyond))
        .collect();
    let allowed = -rounding - early..=longest + rounding;
    let media: Vec<_> = media.filter(|beyond| !allowed.contains(beyond)).collect();
    match (messages.is_empty(), media.is_empty()) {
        (true, true) => Ok(()),
        _ => Err(format!(
            "{name}: beyond by message {messages:?}, by media {media:?}"
        )),
    }
}

/// As fast as possible, with a pause.
fn recorded(kind: &Type, timeslice: u64) -> Vec<Blob> {
    let Type(mime_type, audio, video) = kind;
    let mut recipe = Recipe::new(mime_type, audio.is_some(), video.is_some());
    recipe = recipe.with("timeslice", timeslice);
    recipe.until = recipe.from + 4 * SECOND;
    take(&recipe).blobs
}

/// Live, with a pause.
fn recorded_live(kind: &Type, timeslice: u64) -> Vec<Blob> {
    let Type(mime_type, audio, video) = kind;
    let (_directory, path) = temp_location("live");
    let app = App::new(mime_type, &path);
    app.recorder.set_property("blob-messages", true);
    app.recorder.set_property("timeslice", timeslice as u32);
    if audio.is_some() {
        let line = format!("audiotestsrc is-live=true samplesperbuffer=480 wave=ticks ! {STEREO}");
        app.source(&line).link(&app.pad("audio_%u")).unwrap();
    }
    if video.is_some() {
        let line = format!("videotestsrc is-live=true pattern=ball ! {SMALL}");
        app.source(&line).link(&app.pad("video_%u")).unwrap();
    }
    app.set_state(gst::State::Playing);
    let mut at = 300 * MS;
    for (action, lasts) in [
        ("start", 1_250),
        ("pause", 170),
        ("resume", 1_400),
        ("stop", 0),
    ] {
        app.wait_running_time(at);
        app.act(action);
        at = app.running_time() + lasts * MS;
    }
    app.wait_for("stop", 1);
    blobs(&app)
}

/// Several recordings in parallel, if they take time.
#[track_caller]
fn judge_all(types: &[Type], at_once: usize, recorded: impl Fn(&Type, u64) -> Vec<Blob> + Sync) {
    let installed: Vec<_> = types.iter().filter(|kind| kind.is_installed()).collect();
    let all = |kinds: &[&Type]| {
        let takes = kinds
            .iter()
            .flat_map(|kind| TIMESLICES.map(|timeslice| (kind, timeslice)));
        let judged =
            takes.map(|(kind, timeslice)| judge(kind, timeslice, &recorded(kind, timeslice)));
        judged.filter_map(Result::err).collect::<Vec<_>>()
    };
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let rows = installed.chunks(installed.len().div_ceil(at_once));
        let rows: Vec<_> = rows.map(|row| scope.spawn(move || all(row))).collect();
        rows.into_iter()
            .flat_map(|row| row.join().unwrap())
            .collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn one_track_as_fast_as_possible() {
    judge_all(&AUDIO, 1, recorded);
}

#[test]
fn video_and_two_tracks_as_fast_as_possible() {
    judge_all(&VIDEO, 1, recorded);
}

#[test]
fn one_track_live() {
    judge_all(&AUDIO, 5, recorded_live);
}

#[test]
fn video_and_two_tracks_live() {
    judge_all(&VIDEO, 4, recorded_live);
}
