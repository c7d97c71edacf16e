//! Input without a parser: MPEG streams as demuxers output them, with several frames, or a part of one, in each
//! buffer; Opus without durations.

mod coded;
mod common;

use coded::Coded;
use common::app::App;
use common::harness::PushTrack;
use common::harness::media::run;
use common::judge::{decode, file, sync};
use common::signal::frame;
use gst::prelude::*;
use std::path::Path;
use std::process::Command;

const SECOND: f64 = 1e9;
/// Length of the audio.
const LENGTH: f64 = 4.0 * SECOND;
/// Frames of the video, and their duration in nanoseconds.
const FRAMES: u64 = 100;
const FRAME: u64 = 40_000_000;

/// Four seconds of audio.
const SINE: [&str; 4] = [
    "-f",
    "lavfi",
    "-i",
    "sine=frequency=440:sample_rate=48000:duration=4",
];

/// Encodes and muxes a source with FFmpeg.
fn make(source: &[&str], options: &str, path: &Path) {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin"]).args(source);
    run(ffmpeg.args(options.split(' ')).arg(path));
}

/// The only track of a file, as output by the demuxer.
fn demuxed(path: &Path, demuxer: &str) -> Coded {
    let line = format!(
        "filesrc location={} ! {demuxer} ! appsink name=out sync=false",
        path.display()
    );
    let pipeline = gst::parse::launch(&line).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    coded::output(&pipeline)
}

/// The longest time in seconds from one buffer to the next.
fn longest_step(coded: &Coded) -> f64 {
    let stamps: Vec<_> = coded.buffers.iter().filter_map(|b| b.pts()).collect();
    let steps = stamps
        .windows(2)
        .map(|pair| pair[1].saturating_sub(pair[0]));
    steps.max().unwrap().nseconds() as f64 / SECOND
}

/// Records the file's only track, without a parser behind the demuxer.
fn record(from: &Path, demuxer: &str, pad: &str, mime_type: &str, to: &Path) {
    let app = App::new(mime_type, to);
    app.recorder.set_property("autostart", true);
    let make = |factory| gst::ElementFactory::make(factory);
    let source = make("filesrc").property("location", from.to_str());
    let (source, demuxer) = (source.build().unwrap(), make(demuxer).build().unwrap());
    app.pipeline.add_many([&source, &demuxer]).unwrap();
    source.link(&demuxer).unwrap();
    let pad = app.pad(pad);
    demuxer.connect_pad_added(move |_, source| {
        source.link(&pad).unwrap();
    });
    app.set_state(gst::State::Playing);
    assert_ends_whole(&app, to);
}

/// That the recording ends by itself, with nothing filled in or dropped.
fn assert_ends_whole(app: &App, to: &Path) {
    app.wait_for("stop", 1);
    let stats = app.recorder.property::<gst::Structure>("stats");
    app.set_state(gst::State::Null);
    assert_eq!(app.warnings(), Vec::<String>::new());
    let tracks = stats.get::<gst::Array>("tracks").unwrap();
    for track in tracks.iter() {
        let track = track.get::<gst::Structure>().unwrap();
        assert_eq!(track.get::<u64>("filled"), Ok(0), "{track}");
        assert_eq!(track.get::<u64>("dropped"), Ok(0), "{track}");
    }
    file::decodes_without_errors(to).unwrap();
}

fn records_audio(options: &str, (source, demuxer): (&str, &str), mime_type: &str, codec: &str) {
    common::harness::init();
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join(source), directory.path().join("out"));
    make(&SINE, options, &from);
    let longest = longest_step(&demuxed(&from, demuxer));
    assert!(longest > 0.1, "{options}: {longest}");
    record(&from, demuxer, "audio_%u", mime_type, &to);
    assert_lasts(&to, codec);
}

/// That the file has the whole source without a hole.
fn assert_lasts(to: &Path, codec: &str) {
    assert_eq!(file::codecs(to).unwrap(), [codec]);
    let audio = decode::audio(to, 0, None).unwrap();
    assert_eq!(audio.holes(1.5e6), [], "{codec}");
    // Encoders add a packet of padding in front and another one behind.
    let length = audio.len() as f64 * SECOND / f64::from(audio.rate);
    assert!(
        (LENGTH - 30e6..LENGTH + 80e6).contains(&length),
        "{codec}: {length}"
    );
}

const TS: (&str, &str) = ("source.ts", "tsdemux");
const PS: (&str, &str) = ("source.mpg", "mpegpsdemux");

#[test]
fn aac_in_adts() {
    let options = "-c:a aac -b:a 64k";
    records_audio(options, TS, "audio/mp4", "aac");
    records_audio(options, TS, "audio/x-matroska", "aac");
}

#[test]
fn aac_in_latm() {
    let options = "-c:a aac -b:a 64k -mpegts_flags latm";
    records_audio(options, TS, "audio/mp4", "aac");
    records_audio(options, TS, "audio/x-matroska", "aac");
}

#[test]
fn mpeg_layer_2() {
    let options = "-c:a mp2 -b:a 64k";
    records_audio(options, TS, "audio/flac", "flac");
    records_audio(options, PS, "audio/flac", "flac");
}

#[test]
fn mp3() {
    let options = "-c:a libmp3lame -b:a 64k";
    records_audio(options, TS, "audio/x-matroska", "mp3");
    records_audio(options, TS, "audio/flac", "flac");
}

/// Most B-frames of a program stream have no timestamp.
#[test]
fn mpeg_2_video_with_b_frames() {
    common::harness::init();
    for (source, demuxer) in [TS, PS] {
        let directory = tempfile::tempdir().unwrap();
        let path = |name| directory.path().join(name);
        let (raw, from, to) = (path("raw"), path(source), path("out"));
        let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, 320, 240);
        let info = info.fps(gst::Fraction::new(25, 1)).build().unwrap();
        let frame = |n| frame::buffer(&info, n * FRAME, FRAME);
        let bytes = |buffer: gst::Buffer| buffer.map_readable().unwrap().to_vec();
        let frames = (0..FRAMES).flat_map(|n| bytes(frame(n)));
        std::fs::write(&raw, frames.collect::<Vec<_>>()).unwrap();
        let input = "-f rawvideo -pix_fmt yuv420p -s 320x240 -r 25 -i";
        let input: Vec<_> = input.split(' ').chain(raw.to_str()).collect();
        make(&input, "-c:v mpeg2video -bf 2 -g 12 -b:v 300k", &from);
        record(&from, demuxer, "video_%u", "", &to);
        let shown = sync::frame_times(&decode::video(&to, 0).unwrap()).unwrap();
        assert_eq!(shown.len() as u64, FRAMES, "{demuxer}");
        for (recorded, source) in shown {
            assert!(
                (recorded - source).abs() < 1.1e6,
                "{demuxer}: {source} at {recorded}"
            );
        }
    }
}

/// As from rtpopusdepay.
#[test]
fn opus_packets_of_120_ms_without_durations() {
    common::harness::init();
    let directory = tempfile::tempdir().unwrap();
    let path = |name| directory.path().join(name);
    let (from, to) = (path("source.mkv"), path("out"));
    make(&SINE, "-c:a libopus -frame_duration 120", &from);
    let coded = demuxed(&from, "matroskademux");
    let longest = longest_step(&coded);
    assert!(longest > 0.11, "{longest}");
    let app = App::new("audio/x-matroska", &to);
    app.recorder.set_property("autostart", true);
    let feed = PushTrack::of_caps(&app.recorder, "audio_%u", coded.caps);
    app.set_state(gst::State::Playing);
    for mut buffer in coded.buffers {
        buffer.make_mut().set_duration(None);
        feed.push(buffer);
    }
    feed.end();
    assert_ends_whole(&app, &to);
    assert_lasts(&to, "opus");
}
