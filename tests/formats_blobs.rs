//! Blobs with a timeslice: their durations, and cuts where players can continue.

mod common;

use common::harness::Recorder;
use common::judge::{decode, file::decodes_without_errors, ordinary};
use common::take::{FRAME, Recipe, Take, take};
use std::path::PathBuf;

const SECOND: u64 = 1_000_000_000;

fn recorded(mime_type: &str, audio: bool, video: bool, timeslice: u64) -> Option<Take> {
    if !common::harness::make_recorder().supports(mime_type) {
        println!("{mime_type}: not installed, not tested");
        return None;
    }
    let mut recipe = Recipe::new(mime_type, audio, video).with("timeslice", timeslice);
    recipe.until = recipe.from + 4 * SECOND;
    Some(take(&recipe))
}

/// Whether a player's buffer can append these bytes.
fn begins_unit(bytes: &[u8]) -> bool {
    // There may be free space before a fragment, which players skip.
    let space = match bytes.get(4..8) {
        Some(b"free") => u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize,
        _ => 0,
    };
    bytes.starts_with(&[0x1f, 0x43, 0xb6, 0x75]) || bytes.get(space + 4..space + 8) == Some(b"moof")
}

/// Verifies durations and boundaries, and prints how far off the durations are.
fn judge(take: &Take, mime_type: &str, timeslice: u64, tolerance: u64) {
    let slice = timeslice * 1_000_000;
    let total = take.kept.total();
    assert_eq!(
        take.blobs.iter().map(|b| b.duration).sum::<u64>(),
        total,
        "{mime_type}"
    );
    let mut timecode = 0;
    for blob in &take.blobs {
        assert_eq!(blob.timecode, timecode, "{mime_type}");
        timecode += blob.duration;
    }
    let (last, whole) = take.blobs.split_last().unwrap();
    let lengths = whole.iter().map(|blob| blob.duration);
    println!(
        "{mime_type}, {timeslice} ms: {} blobs of {:?} to {:?} ns",
        take.blobs.len(),
        lengths.clone().min(),
        lengths.clone().max()
    );
    for (number, length) in lengths.enumerate() {
        assert!(
            length >= slice && length <= slice + tolerance,
            "{mime_type}, {timeslice} ms: blob {number} is {length} ns"
        );
    }
    assert!(
        last.duration <= slice + tolerance,
        "{mime_type}: the last is {} ns",
        last.duration
    );
    for (number, blob) in whole.iter().enumerate().skip(1) {
        assert!(
            begins_unit(&blob.bytes),
            "{mime_type}, {timeslice} ms: blob {number} does not start with a key unit"
        );
    }
    let (joined, file) = (joined(take), std::fs::read(&take.path).unwrap());
    if mime_type.contains("mp4") {
        // The file has become an ordinary MP4 by what follows the blobs, and by its header.
        assert_eq!(file[joined.len() + 4..][..4], *b"free");
        assert_eq!(file[joined.len() + 12..][..4], *b"moov");
        assert_ne!(joined[..48], file[..48]);
        let last = joined.len() - last.bytes.len();
        assert!(last > 4_000, "the header is not in the last blob");
        assert_eq!(joined[last..], file[last..joined.len()]);
    } else {
        assert_eq!(joined.len(), file.len(), "the blobs are not the recording");
    }
}

/// All blobs concatenated.
fn joined(take: &Take) -> Vec<u8> {
    let blobs = take.blobs.iter();
    blobs.flat_map(|blob| blob.bytes.clone()).collect()
}

/// A file of all blobs concatenated.
fn file_of_blobs(take: &Take) -> PathBuf {
    let path = take.path.with_file_name("joined");
    std::fs::write(&path, joined(take)).unwrap();
    path
}

#[test]
fn webm_blobs_have_the_timeslices_duration_and_start_a_cluster() {
    for timeslice in [100, 250, 1000] {
        for (mime_type, video) in [
            ("video/webm;codecs=vp8,opus", true),
            ("audio/webm;codecs=opus", false),
        ] {
            let Some(take) = recorded(mime_type, true, video, timeslice) else {
                continue;
            };
            judge(&take, mime_type, timeslice, FRAME);
        }
    }
}

/// Audio only, recorded as fast as possible.
#[test]
fn a_blob_exceeds_its_timeslice_by_one_packet_at_most() {
    for (mime_type, packet) in [
        ("audio/ogg;codecs=opus", 20_000_000),
        ("audio/ogg;codecs=vorbis", 1024 * SECOND / 48_000),
        ("audio/ogg;codecs=flac", 4608 * SECOND / 48_000),
        ("audio/webm;codecs=opus", 20_000_000),
        ("audio/x-matroska;codecs=pcm", 30_000_000),
        ("audio/wav", 30_000_000),
        ("audio/flac", 4608 * SECOND / 48_000),
        ("audio/mpeg", 1152 * SECOND / 48_000),
    ] {
        let Some(take) = recorded(mime_type, true, false, 1_000) else {
            continue;
        };
        let (_, whole) = take.blobs.split_last().unwrap();
        assert!(whole.len() >= 2, "{mime_type}: {} blobs", whole.len());
        for blob in whole {
            let beyond = blob.duration.checked_sub(SECOND);
            let beyond = beyond.unwrap_or_else(|| panic!("{mime_type}: {} ns", blob.duration));
            assert!(beyond <= packet, "{mime_type}: {beyond} ns beyond");
        }
    }
}

/// The first timestamp in nanoseconds of each stream (at most two) in each blob, as found by ffprobe.
fn starts(take: &Take) -> Vec<[Option<f64>; 2]> {
    let (out, _) = common::harness::media::run(
        std::process::Command::new("ffprobe")
            .args(["-v", "error", "-of", "csv=p=0"])
            .args(["-show_entries", "packet=stream_index,pts_time,pos"])
            .arg(file_of_blobs(take)),
    );
    let ends = take.blobs.iter().scan(0, |end, blob| {
        *end += blob.bytes.len();
        Some(*end)
    });
    let ends: Vec<usize> = ends.collect();
    let mut starts = vec![[None; 2]; ends.len()];
    for line in String::from_utf8(out).unwrap().lines() {
        let mut fields = line.split(',');
        let mut number = || fields.next()?.parse::<f64>().ok();
        let (Some(stream), Some(time), Some(place)) = (number(), number(), number()) else {
            // A packet's side data.
            continue;
        };
        let (stream, place) = (stream as usize, place as usize);
        let blob = ends.partition_point(|end| *end <= place);
        starts[blob][stream].get_or_insert(time * 1e9);
    }
    starts
}

#[test]
fn mp4_blobs_have_the_timeslices_duration_and_start_a_fragment() {
    for timeslice in [100, 250, 500, 1000, 1300] {
        for (mime_type, video, packet) in [
            ("video/mp4;codecs=avc1,mp4a.40.2", true, 1024e9 / 48_000.0),
            ("video/mp4;codecs=vp9,opus", true, 20e6),
            ("audio/mp4;codecs=mp4a.40.2", false, 1024e9 / 48_000.0),
        ] {
            let Some(take) = recorded(mime_type, true, video, timeslice) else {
                continue;
            };
            judge(&take, mime_type, timeslice, FRAME);
            let fragments = file_of_blobs(&take);
            for path in [&take.path, &fragments] {
                decodes_without_errors(path).unwrap();
            }
            ordinary::plays_alike(&take.path, &fragments).unwrap();
            // A frame, or a packet of audio.
            let longest: f64 = if video { FRAME as f64 } else { packet };
            let mut furthest = [0.0f64; 2];
            let starts = starts(&take);
            for (number, pair) in starts.windows(2).enumerate() {
                for stream in 0..1 + usize::from(video) {
                    let Some(next) = pair[1][stream] else {
                        // The last one contains the remainder, which may be of one stream only.
                        assert_eq!(number + 2, starts.len(), "{mime_type}, {timeslice} ms");
                        continue;
                    };
                    // Samples before 0 are encoder delay, and not played.
                    let lasts = next - pair[0][stream].unwrap().max(0.0);
                    let off = (lasts - timeslice as f64 * 1e6).abs();
                    furthest[stream] = furthest[stream].max(off);
                    assert!(
                        off <= longest + 1e6,
                        "{mime_type}, {timeslice} ms, blob {number}, stream {stream}: {lasts} ns"
                    );
                }
            }
            println!("{mime_type}, {timeslice} ms: streams off by {furthest:?} ns");
        }
    }
}

/// Audio is where a blob says: its timecode is where the audio of all previous blobs ends, as decoded by ffmpeg.
#[test]
fn timecodes_match_what_players_see() {
    for (mime_type, unsaid) in [
        ("audio/webm;codecs=opus", 0.0),
        ("audio/webm;codecs=vorbis", 0.0),
        ("audio/x-matroska;codecs=opus", 0.0),
        ("audio/x-matroska;codecs=mp4a.40.2", 0.0),
        ("audio/x-matroska;codecs=mp3", 0.0),
        ("audio/x-matroska;codecs=flac", 0.0),
        ("audio/mp4;codecs=opus", 0.0),
        ("audio/mp4;codecs=mp4a.40.2", 0.0),
        ("audio/mp4;codecs=mp3", 0.0),
        ("audio/ogg;codecs=opus", 0.0),
        ("audio/ogg;codecs=vorbis", 0.0),
        ("audio/ogg;codecs=flac", 0.0),
        ("audio/flac;codecs=flac", 0.0),
        ("audio/wav;codecs=pcm", 0.0),
        // Encoder delay, which such a file cannot signal.
        ("audio/mpeg;codecs=mp3", 1105e9 / 48_000.0),
    ] {
        let Some(take) = recorded(mime_type, true, false, 250) else {
            continue;
        };
        let most = take.blobs.len();
        assert!(most > 10, "{mime_type}: {most} blobs");
        let rounding = if mime_type.contains("webm") || mime_type.contains("matroska") {
            0.55e6
        } else {
            // A sample.
            1e9 / 48_000.0
        };
        // The part of an MP4 that makes it an ordinary one is not in its blobs.
        let file = if mime_type.contains("mp4") {
            joined(&take)
        } else {
            std::fs::read(&take.path).unwrap()
        };
        let mut size = 0;
        for (number, blob) in take.blobs.iter().enumerate() {
            if [1, most / 2, most - 1].contains(&number) {
                let part = take.path.with_file_name("part");
                std::fs::write(&part, &file[..size]).unwrap();
                let audio = decode::audio(&part, 0, Some(48_000)).unwrap();
                let events = audio.time_of(audio.len()) - unsaid;
                // An encoder's padding is not recorded.
                let late = blob.timecode as f64 - events.min(take.kept.total() as f64);
                let off = format!("{mime_type}: {} is {late} ns late", blob.timecode);
                println!("{off}");
                assert!(late.abs() < rounding, "{off}");
            }
            size += blob.bytes.len();
        }
    }
}

#[test]
fn a_timeslice_of_ten_milliseconds_works() {
    for mime_type in [
        "video/webm;codecs=vp8,opus",
        "video/mp4;codecs=avc1,mp4a.40.2",
    ] {
        let Some(take) = recorded(mime_type, true, true, 10) else {
            continue;
        };
        assert!(
            take.blobs.len() > 100,
            "{mime_type}: {} blobs",
            take.blobs.len()
        );
        let total: u64 = take.blobs.iter().map(|b| b.duration).sum();
        assert_eq!(total, take.kept.total());
        let most = take.blobs.iter().map(|b| b.duration).max().unwrap();
        assert!(most < 100_000_000, "{mime_type}: a blob of {most} ns");
        decodes_without_errors(&take.path).unwrap();
        decodes_without_errors(&file_of_blobs(&take)).unwrap();
    }
}
