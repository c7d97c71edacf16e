//! Many splits of copied streams: over all parts, each packet is there exactly once, with its payload unchanged.

mod coded;
mod common;
mod inputs;

use coded::Coded;
use common::app::{App, temp_location};
use common::judge::parts::{self, Part};
use common::settings::{Rng, long, skipped};
use gst::prelude::*;
use inputs::{MILLI, Source};
use std::path::Path;
use std::process::Command;

/// A container, the encoders of its input, and where these streams come from.
struct Kind {
    extension: &'static str,
    mime_type: &'static str,
    video: Option<&'static str>,
    audio: Option<&'static str>,
}

const fn kind(
    extension: &'static str,
    mime_type: &'static str,
    video: Option<&'static str>,
    audio: Option<&'static str>,
) -> Kind {
    Kind {
        extension,
        mime_type,
        video,
        audio,
    }
}

/// Keyframes are five frames apart.
const AVC: Option<&str> = Some(
    "x264enc key-int-max=5 bframes=2 b-adapt=false speed-preset=ultrafast ! h264parse ! \
     video/x-h264,stream-format=avc,alignment=au",
);
const HVC: Option<&str> = Some(
    "x265enc key-int-max=5 speed-preset=ultrafast ! h265parse ! video/x-h265,stream-format=hvc1,alignment=au",
);
const VP8: Option<&str> = Some("vp8enc deadline=1 cpu-used=8 keyframe-max-dist=5");
const VP9: Option<&str> = Some("vp9enc deadline=1 cpu-used=8 keyframe-max-dist=5");
const AV1: Option<&str> = Some(
    "av1enc usage-profile=realtime cpu-used=10 keyframe-max-dist=5 threads=1 ! av1parse ! \
     video/x-av1,stream-format=obu-stream,alignment=tu",
);
const OPUS: Option<&str> = Some("audioconvert ! opusenc");
const VORBIS: Option<&str> = Some("audioconvert ! vorbisenc");
const AAC: Option<&str> = Some("voaacenc ! audio/mpeg,stream-format=raw");
const MP3: Option<&str> = Some("lamemp3enc ! mpegaudioparse");
const FLAC: Option<&str> = Some("flacenc ! flacparse");
const ALAW: Option<&str> = Some("audioconvert ! audioresample ! alawenc");

const KINDS: [Kind; 16] = [
    kind("mkv", "video/x-matroska", AVC, OPUS),
    kind("mkv", "video/x-matroska", HVC, FLAC),
    kind("mkv", "video/x-matroska", VP8, MP3),
    kind("mkv", "video/x-matroska", VP9, AAC),
    kind("mkv", "video/x-matroska", AV1, VORBIS),
    kind("mka", "audio/x-matroska", None, ALAW),
    kind("webm", "video/webm", VP8, VORBIS),
    kind("webm", "video/webm", VP9, OPUS),
    kind("mp4", "video/mp4", AVC, AAC),
    kind("mp4", "video/mp4", HVC, MP3),
    kind("mp4", "video/mp4", AV1, OPUS),
    kind("ogg", "audio/ogg", None, OPUS),
    kind("ogg", "audio/ogg", None, VORBIS),
    kind("flac", "audio/flac", None, FLAC),
    kind("mp3", "audio/mpeg", None, MP3),
    kind("wav", "audio/wav", None, ALAW),
];

/// Records these streams, in parts of about this duration unless it is 0.
fn record(kind: &Kind, streams: &[Coded], location: &Path, max_size_time: u64) -> Vec<Part> {
    let app = App::new(kind.mime_type, location);
    app.recorder.set_property("max-size-time", max_size_time);
    app.recorder.set_property("autostart", true);
    let sources: Vec<Source> = streams
        .iter()
        .map(|stream| {
            let name = stream.caps.structure(0).unwrap().name();
            let template = if name.starts_with("video/") {
                "video_%u"
            } else {
                "audio_%u"
            };
            Source::new(&app.pad(template), &stream.caps, None)
        })
        .collect();
    app.set_state(gst::State::Playing);
    let mut buffers: Vec<(usize, &gst::Buffer)> = (0..)
        .zip(streams)
        .flat_map(|(source, stream)| stream.buffers.iter().map(move |buffer| (source, buffer)))
        .collect();
    buffers.sort_by_key(|(_, buffer)| buffer.dts_or_pts());
    for (source, buffer) in buffers {
        sources[source].push(buffer.clone());
    }
    sources.iter().for_each(Source::end);
    app.wait_for("stop", 1);
    let warnings = app.warnings();
    assert!(warnings.is_empty(), "{}: {warnings:?}", kind.mime_type);
    let parts = parts::from_messages(&app);
    // Copied audio is cut at the packet nearest to the boundary: half of a FLAC packet is 48 ms. Without video, that is so
    // at both ends. Matroska rounds.
    let tolerance = if kind.video.is_some() { 50e6 } else { 98e6 };
    parts::check_contiguous(&parts, app.kept().total(), tolerance).unwrap();
    parts
}

/// The payload of every packet of one stream, as hashes.
fn payloads(parts: &[Part], stream: &str) -> Vec<String> {
    let of_part = |part: &Part| coded::packets(&part.path, stream).into_iter();
    let packets = parts.iter().flat_map(of_part);
    packets.map(|packet| packet.md5).collect()
}

/// Samples of all parts: in bare FLAC, frames are numbered from the start of the file.
fn samples(parts: &[Part]) -> Vec<Vec<u8>> {
    let of_part = |part: &Part| {
        let output = Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-i"])
            .arg(&part.path)
            .args(["-f", "s16le", "pipe:1"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{part:?}: {output:?}");
        output.stdout
    };
    parts.iter().map(of_part).collect()
}

/// Shortens the stream until the last part has several frames: FFmpeg recognises no MP3 file of a single one.
fn avoid_a_single_frame(stream: &mut Coded, max_size_time: u64) {
    let time = |buffer: &gst::Buffer| buffer.pts().unwrap().nseconds();
    let begin = time(&stream.buffers[0]);
    stream.buffers.retain(|buffer| buffer.duration().is_some());
    while let Some(last) = stream.buffers.last() {
        let end = time(last) + last.duration().unwrap().nseconds();
        if (end - begin) % max_size_time > 60 * MILLI {
            break;
        }
        stream.buffers.pop();
    }
}

/// Splits one recording, and compares it with one that is not split; returns the number of parts.
fn judge(kind: &Kind, splits: usize, rng: &mut Rng) -> Result<usize, String> {
    // A part has two groups of pictures at most.
    let frames = u32::try_from(splits * 10 + 10).unwrap();
    let video = kind.video.map(|encoder| coded::video(encoder, frames));
    let audio = kind
        .audio
        .map(|encoder| coded::audio(encoder, frames.div_ceil(3)));
    let mut streams: Vec<Coded> = video.into_iter().chain(audio).collect();
    for stream in &mut streams {
        // Headers, which are in the caps, too.
        stream.buffers.retain(|buffer| buffer.pts().is_some());
    }
    let max_size_time = (100 + rng.below(200)) * MILLI;
    if kind.extension == "mp3" {
        avoid_a_single_frame(&mut streams[0], max_size_time);
    }
    let (_directory, whole) = temp_location(&format!("whole-%d.{}", kind.extension));
    let split = whole.with_file_name(format!("split-%d.{}", kind.extension));
    let whole = record(kind, &streams, &whole, 0);
    let split = record(kind, &streams, &split, max_size_time);
    if split.len() <= splits {
        return Err(format!("{} parts only", split.len()));
    }
    // FFmpeg reads WAV in chunks of its own.
    if matches!(kind.extension, "flac" | "wav") {
        return if samples(&split).concat() == samples(&whole).concat() {
            Ok(split.len())
        } else {
            Err("the samples are not those of the input".into())
        };
    }
    let video = kind.video.map(|_| "v:0");
    for stream in video.into_iter().chain(kind.audio.map(|_| "a:0")) {
        let (found, due) = (payloads(&split, stream), payloads(&whole, stream));
        if found != due || due.len() < splits {
            let differs = found.iter().zip(&due).position(|(one, other)| one != other);
            return Err(format!(
                "{stream}: {} packets in {} parts, {} in one file; the first that differs is {differs:?}",
                found.len(),
                split.len(),
                due.len()
            ));
        }
    }
    Ok(split.len())
}

fn is_installed(kind: &Kind) -> bool {
    common::app::init();
    let lines = kind.video.into_iter().chain(kind.audio);
    let mut elements = lines.flat_map(|line| line.split(" ! "));
    elements.all(|element| {
        let name = element.split(' ').next().unwrap_or_default();
        name.contains('/') || gst::ElementFactory::find(name).is_some()
    })
}

#[test]
fn copied_packets_are_in_exactly_one_part() {
    let mut rng = Rng::from_env();
    let splits = if long() { 1_000 } else { 16 };
    let splits = usize::div_ceil(splits, KINDS.len());
    let mut wrong = Vec::new();
    for kind in &KINDS {
        let name = format!("{} {:?} {:?}", kind.extension, kind.video, kind.audio);
        if !is_installed(kind) {
            skipped(&format!("splits of {name}: not installed"));
            continue;
        }
        let begun = std::time::Instant::now();
        let judged = judge(kind, splits, &mut rng);
        println!("{name}: {judged:?} parts, {:?}", begun.elapsed());
        wrong.extend(judged.err().map(|error| format!("{name}: {error}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
