//! Every pair of container and codec in the table that is available in this registry: recorded with a pause, and
//! verified by programs outside of this project.

mod common;

use common::judge::decode::{self, DecodedAudio};
use common::judge::{atoms, file, ordinary, position, sync};
use common::take::{self, Recipe, Take, take};
use gst_pbutils::prelude::*;
use std::path::Path;
use std::process::Command;

/// Containers with their video and audio codecs, and ffprobe's name of the format.
const TABLE: &[(&str, &[&str], &[&str], &str)] = &[
    (
        "webm",
        &["vp8", "vp9", "av1"],
        &["opus", "vorbis"],
        "matroska,webm",
    ),
    (
        "x-matroska",
        &["vp8", "vp9", "av1", "avc1", "avc3", "hvc1", "hev1"],
        &["opus", "vorbis", "flac", "pcm", "mp4a.40.2", "mp3"],
        "matroska,webm",
    ),
    (
        "mp4",
        &["avc1", "avc3", "hvc1", "hev1", "av1", "vp9"],
        &["mp4a.40.2", "opus", "mp3"],
        "mov,mp4,m4a,3gp,3g2,mj2",
    ),
    (
        "ogg",
        &["theora", "vp8"],
        &["opus", "vorbis", "flac"],
        "ogg",
    ),
    ("wav", &[], &["pcm"], "wav"),
    ("flac", &[], &["flac"], "flac"),
    ("mpeg", &[], &["mp3"], "mp3"),
];

/// ffprobe's name of a codec.
fn ffmpeg_name(codec: &str) -> &str {
    match codec {
        "avc1" | "avc3" => "h264",
        "hvc1" | "hev1" => "hevc",
        "mp4a.40.2" => "aac",
        "pcm" => "pcm_s16le",
        same => same,
    }
}

/// How far the container's duration may deviate from the recorded time: by a frame or packet, plus the encoder
/// delay.
fn duration_tolerance(codecs: &[&str]) -> f64 {
    match codecs
        .iter()
        .any(|codec| ["mp4a.40.2", "mp3"].contains(codec))
    {
        true => 70e6,
        false => 35e6,
    }
}

/// How far the audio of a codec may be from its time, in nanoseconds.
fn sound_tolerance(codec: &str) -> f64 {
    const SAMPLE: f64 = 1e9 / 48_000.0;
    match codec {
        "opus" | "vorbis" | "flac" | "pcm" => SAMPLE,
        _ => 1e6,
    }
}

/// Audio without the containers' rounding of timestamps: contiguous samples from the first timestamp on.
fn unbroken(audio: &DecodedAudio) -> DecodedAudio {
    // Samples before 0 are encoder delay, and not played.
    let begins = audio.blocks[0].1;
    let before = (-begins.min(0.0) * f64::from(audio.rate) / 1e9).round() as usize;
    DecodedAudio {
        rate: audio.rate,
        channels: audio.channels,
        samples: audio.samples[before * audio.channels..].to_vec(),
        blocks: vec![(0, begins + before as f64 * 1e9 / f64::from(audio.rate))],
    }
}

fn judge_sound(take: &Take, container: &str, codec: &str) -> Result<String, String> {
    let total = take.kept.total() as f64;
    let audio = decode::audio(&take.path, 0, Some(48_000))?;
    // ffmpeg guesses Vorbis timestamps inside an Ogg page, and is off by a short block; the samples are
    // contiguous.
    let jitter = if (container, codec) == ("ogg", "vorbis") {
        10e6
    } else {
        1.5e6
    };
    let holes = audio.holes(jitter);
    if !holes.is_empty() {
        return Err(format!("holes: {holes:?}"));
    }
    let mut plain = unbroken(&audio);
    if (container, codec) == ("mpeg", "mp3") {
        // A bare stream cannot signal this encoder delay.
        plain.samples.drain(..1105 * plain.channels);
    }
    let places = position::find(&plain, total + 3e9)?;
    let length = plain.len() as f64 * 1e9 / 48_000.0;
    let begins = plain.blocks[0].1;
    let worst = position::check(&places, &take.kept, sound_tolerance(codec));
    let report = format!(
        "audio {worst:?} from {:.3} ms, ends {:+.3} ms",
        begins / 1e6,
        (begins + length - total) / 1e6
    );
    worst.map_err(|e| format!("{e}; {report}"))?;
    Ok(report)
}

fn judge_pictures(take: &Take) -> Result<(), String> {
    let frames = sync::frame_times(&decode::video(&take.path, 0)?)?;
    sync::check_frames(&frames, &take.kept, &take.sources, 1.1e6, 0).map(|_| ())
}

fn judge(take: &Take, container: &str, codecs: &[&str], format: &str) -> Result<String, String> {
    let probe = file::ffprobe(&take.path)?;
    let found = probe["format"]["format_name"].as_str().unwrap_or_default();
    if found != format {
        return Err(format!("ffprobe calls it {found}"));
    }
    let mut found = file::codecs(&take.path)?;
    found.sort();
    let mut expected: Vec<_> = codecs.iter().map(|codec| ffmpeg_name(codec)).collect();
    expected.sort_unstable();
    if found != expected {
        return Err(format!("ffprobe finds {found:?}"));
    }
    file::decodes_without_errors(&take.path)?;
    let duration = file::duration(&take.path)?;
    let total = take.kept.total() as f64;
    let mut report = format!("duration {:+.3} ms", (duration - total) / 1e6);
    if (duration - total).abs() > duration_tolerance(codecs) {
        return Err(report);
    }
    mediainfo(&take.path, codecs.len())?;
    discover(&take.path, total, codecs)?;
    match format {
        "matroska,webm" => mkvinfo(&take.path)?,
        _ if format.contains("mp4") => {
            ordinary::whole(&take.path, &recorded(take, codecs))?;
            let fragmented = ordinary::fragmented_beside(&take.path)?;
            file::decodes_without_errors(&fragmented)?;
            ordinary::plays_alike(&take.path, &fragmented)?;
            ordinary::plays_alike_in_gstreamer(&take.path, &fragmented)?;
            let begins = file::starts(&take.path)?;
            if begins.iter().any(|begin| begin.abs() > 1e3) {
                return Err(format!("streams begin at {begins:?}"));
            }
            if ["av1", "vp9"].contains(&codecs[0]) {
                as_ffmpeg_describes(&take.path)?;
            }
        }
        _ => (),
    }
    let named = match codecs[0] {
        "vp9" if container == "mp4" => "vp09.",
        "av1" if container == "mp4" => "av01.",
        named => named,
    };
    if !take.actual.contains(&format!("={named}")) {
        return Err(format!("on-start names {}", take.actual));
    }
    if codecs.iter().any(|codec| is_video(codec)) {
        judge_pictures(take)?;
    }
    if let Some(codec) = codecs.iter().find(|codec| !is_video(codec)) {
        report += ", ";
        report += &judge_sound(take, container, codec)?;
    }
    Ok(report)
}

/// What an MP4 has to state about itself.
fn recorded<'a>(take: &'a Take, codecs: &[&str]) -> atoms::Recorded<'a> {
    atoms::Recorded {
        actual: &take.actual,
        total: take.kept.total() as f64,
        tolerance: duration_tolerance(codecs),
        size: (320, 240),
        rate: take::RATE as u16,
        channels: 2,
    }
}

/// Verifies that decoder configurations of AV1 and VP9 match what FFmpeg derives from the frames themselves.
fn as_ffmpeg_describes(path: &Path) -> Result<(), String> {
    let copy = |from: &Path, name: &str| {
        let to = path.with_file_name(name);
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-y", "-i"]).arg(from);
        ffmpeg.args(["-map", "0:v", "-c", "copy"]).arg(&to);
        match ffmpeg.status() {
            Ok(status) if status.success() => Ok(to),
            other => Err(format!("{ffmpeg:?}: {other:?}")),
        }
    };
    let bare = match file::codecs(path)?.iter().any(|codec| codec == "av1") {
        // It would keep an existing av1C.
        true => copy(path, "bare.obu")?,
        false => path.to_path_buf(),
    };
    atoms::described_alike(path, &copy(&bare, "described.mp4")?)
}

/// Verifies that mediainfo finds these tracks and their durations.
fn mediainfo(path: &Path, tracks: usize) -> Result<(), String> {
    let output = Command::new("mediainfo")
        .arg("--Output=JSON")
        .arg(path)
        .output();
    let output = output.map_err(|e| format!("mediainfo does not run: {e}"))?;
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|e| format!("mediainfo: {e}"))?;
    let all = report["media"]["track"]
        .as_array()
        .ok_or("mediainfo: no media")?;
    let found = all
        .iter()
        .filter(|t| t["@type"] == "Video" || t["@type"] == "Audio");
    // For Ogg video it reports nothing more, and does not know VP8 there.
    let ogg = all[0]["Format"] == "Ogg";
    if !ogg && (found.count() != tracks || all[0]["Duration"].is_null()) {
        return Err(format!("mediainfo: {report}"));
    }
    Ok(())
}

/// Verifies what GStreamer itself decodes from the file.
fn discover(path: &Path, total: f64, codecs: &[&str]) -> Result<(), String> {
    let uri = glib::filename_to_uri(path, None).map_err(|e| e.to_string())?;
    let discoverer = gst_pbutils::Discoverer::new(gst::ClockTime::from_seconds(30));
    let info = discoverer
        .and_then(|d| d.discover_uri(&uri))
        .map_err(|e| e.to_string())?;
    let duration = info.duration().map_or(0.0, |d| d.nseconds() as f64);
    if info.result() != gst_pbutils::DiscovererResult::Ok
        || (duration - total).abs() > duration_tolerance(codecs)
        || info
            .stream_list()
            .iter()
            .filter(|s| s.caps().is_some())
            .count()
            < codecs.len()
    {
        return Err(format!("Discoverer: {:?}, {duration} ns", info.result()));
    }
    if !info.is_seekable() {
        return Err("Discoverer: not seekable".to_string());
    }
    Ok(())
}

/// Verifies that a Matroska file is complete: mkvinfo has no complaints, and finds duration, index, and sizes.
fn mkvinfo(path: &Path) -> Result<(), String> {
    let output = Command::new("mkvinfo")
        .args(["-v", "--ui-language", "en_US"])
        .arg(path)
        .output();
    let output = output.map_err(|e| format!("mkvinfo does not run: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let lacks = ["Duration:", "Cues", "Seek head", "Segment: size"]
        .into_iter()
        .find(|part| !text.contains(part));
    if let Some(part) = lacks {
        return Err(format!("mkvinfo finds no {part}: {text}"));
    }
    // The Matroska mapping of AV1 requires its record there.
    let mut tracks = text.split("+ Track\n").skip(1);
    if tracks.any(|track| track.contains("V_AV1") && !track.contains("private data")) {
        return Err(format!("mkvinfo finds no private data of AV1's: {text}"));
    }
    if !output.status.success() || text.contains("unknown size") || text.contains("rror") {
        return Err(format!("mkvinfo: {text}"));
    }
    file::has_seek_index(path).map(|_| ())
}

fn is_video(codec: &str) -> bool {
    TABLE.iter().any(|row| row.1.contains(&codec))
}

fn is_supported(mime_type: &str) -> bool {
    use common::harness::Recorder;
    common::harness::make_recorder().supports(mime_type)
}

/// Records and verifies every pair of a container.
fn container(name: &str) {
    let (container, videos, audios, format) = TABLE.iter().find(|row| row.0 == name).unwrap();
    let mut lists: Vec<Vec<&str>> = audios.iter().map(|audio| vec![*audio]).collect();
    for (n, video) in videos.iter().enumerate() {
        lists.push(vec![*video]);
        lists.push(vec![*video, audios[n % audios.len()]]);
    }
    let mut wrong = Vec::new();
    let mut recorded = 0;
    for codecs in lists {
        let video = codecs.iter().any(|codec| is_video(codec));
        let audio = codecs.iter().any(|codec| !is_video(codec));
        let kind = if video { "video" } else { "audio" };
        let mime_type = format!("{kind}/{container};codecs={}", codecs.join(","));
        if !is_supported(&mime_type) {
            println!("{mime_type}: not installed, not tested");
            continue;
        }
        recorded += 1;
        let take = take(&Recipe::new(&mime_type, audio, video));
        match judge(&take, container, &codecs, format) {
            Ok(report) => println!("{mime_type} -> {}: {report}", take.actual),
            Err(what) => {
                println!("{mime_type} -> {}: WRONG {what}", take.actual);
                wrong.push(format!("{mime_type}: {what}"));
            }
        }
    }
    assert!(recorded > 0, "no encoder or muxer of {name} is installed");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn webm() {
    container("webm");
}

#[test]
fn matroska() {
    container("x-matroska");
}

#[test]
fn mp4() {
    container("mp4");
}

/// Bytes with one changed after the name of a box: at this distance, by this much.
fn spoilt(whole: &[u8], name: &str, at: usize, more: u8) -> Vec<u8> {
    let find = |name: &str, from: usize| {
        let place = whole[from..].windows(4).position(|b| b == name.as_bytes());
        from + place.expect(name)
    };
    // Brands may have the same names as codecs.
    let from = if name == "ftyp" { 0 } else { find("moov", 0) };
    let place = find(name, from) + at;
    let mut bytes = whole.to_vec();
    bytes[place] = bytes[place].wrapping_add(more);
    bytes
}

/// The judge of fragments detects corruption.
#[test]
fn corrupted_fragments_are_detected() {
    let codecs = ["avc1", "mp4a.40.2"];
    let recipe = Recipe::new("video/mp4;codecs=avc1,mp4a.40.2", true, true);
    let take = take(&recipe.with("timeslice", 1_000));
    let recorded = recorded(&take, &codecs);
    // Blobs stay fragments.
    let blobs = take.blobs.iter();
    let whole: Vec<u8> = blobs.flat_map(|blob| blob.bytes.clone()).collect();
    // Its header was written before its duration was known.
    let place = whole.windows(4).position(|b| b == b"mehd").unwrap() + 8;
    let total = (recorded.total * 3e3 / 1e9).round() as u64;
    let whole = [&whole[..place], &total.to_be_bytes(), &whole[place + 8..]].concat();
    atoms::fragmented(&whole, &recorded).unwrap();
    // The name of a box, the distance after it, the change, and the resulting complaint.
    for (name, at, more, complaint) in [
        ("ftyp", 0, 1, "boxes"),
        ("mdhd", 16, 1, "with a timescale of"),
        ("avc1", 0, 1, "sample entry"),
        ("avc1", 29, 1, "video of"),
        ("avcC", 6, 1, "tracks are"),
        ("mp4a", 21, 1, "channels"),
        ("mehd", 8, 1, "mehd has"),
        ("mfhd", 11, 9, "after"),
        ("tfhd", 11, 7, "not in the header"),
        ("tfdt", 11, 1, "continues at"),
        ("trun", 15, 1, "a sample at"),
        ("tfra", 11, 7, "an index of no track"),
        ("mfro", 11, 1, "mfro has"),
    ] {
        let said = atoms::fragmented(&spoilt(&whole, name, at, more), &recorded).expect_err(name);
        assert!(said.contains(complaint), "{name}: {said}");
    }
    let said = atoms::fragmented(&whole[..whole.len() - 1], &recorded).unwrap_err();
    assert!(said.contains("box at"), "{said}");
    let longer = atoms::Recorded {
        total: recorded.total * 1.1,
        ..recorded
    };
    let said = atoms::fragmented(&whole, &longer).unwrap_err();
    assert!(said.contains("mehd has"), "{said}");
}

/// The judge of an ordinary file detects corruption.
#[test]
fn corruption_of_an_ordinary_mp4_is_detected() {
    let codecs = ["avc1", "mp4a.40.2"];
    let take = take(&Recipe::new("video/mp4;codecs=avc1,mp4a.40.2", true, true));
    let recorded = recorded(&take, &codecs);
    let whole = std::fs::read(&take.path).unwrap();
    ordinary::judge(&whole, &recorded).unwrap();
    let (_, end) = ordinary::seams(&whole).unwrap();
    let (media, moov) = whole.split_at(end + 8);
    for (name, at, more, complaint) in [
        ("mvhd", 23, 1, "mvhd has"),
        ("tkhd", 27, 1, "tkhd has"),
        ("mdhd", 16, 1, "with a timescale of"),
        ("avc1", 29, 1, "video of"),
        ("stts", 15, 1, "shifts of"),
        ("stss", 15, 1, "that differ"),
        ("stsc", 19, 1, "more samples in chunks"),
        ("stsz", 19, 1, "that differ"),
        ("stco", 15, 1, "that differ"),
        ("elst", 15, 9, "of a media of"),
        ("mp4a", 21, 1, "channels"),
    ] {
        let moov = spoilt(moov, name, at, more);
        let said = ordinary::judge(&[media, &moov].concat(), &recorded).expect_err(name);
        assert!(said.contains(complaint), "{name}: {said}");
    }
    let longer = atoms::Recorded {
        total: recorded.total + 50_000.0,
        ..recorded
    };
    let said = ordinary::judge(&whole, &longer).unwrap_err();
    assert!(said.contains("is presented for"), "{said}");
    let fragments = ordinary::fragmented(&whole).unwrap();
    let said = ordinary::judge(&fragments, &recorded).unwrap_err();
    assert!(said.contains("not an ordinary"), "{said}");
}

#[test]
fn ogg() {
    container("ogg");
}

#[test]
fn plain_audio() {
    for name in ["wav", "flac", "mpeg"] {
        container(name);
    }
}
