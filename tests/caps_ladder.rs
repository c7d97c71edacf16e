//! Encoded media whose caps change while it is recorded: every codec, in every container, to every other codec,
//! and back. The recording decodes in FFmpeg and in GStreamer, on time, and no track ends.

mod coded;
mod common;
mod inputs;

use coded::{Coded, ORIGIN, SECOND};
use common::app::App;
use common::harness::log::check_recording;
use common::harness::{Rig, assert_error, code};
use common::judge::{Verdict, decode, decode::DecodedAudio, file, gstreamer, parts, position};
use common::signal::frame;
use gst::prelude::*;
use inputs::Source;
use std::path::{Path, PathBuf};

/// Frames in a part, which starts with a keyframe.
const PART: usize = 15;
const PICTURE: u64 = SECOND / 30;

const SMALL: &str = "";
/// The same frames, larger.
const LARGE: &str = "videoscale ! video/x-raw,width=640,height=480 ! ";
const AVC: &str = "h264parse ! video/x-h264,stream-format=avc,alignment=au";
const AVC3: &str = "h264parse ! video/x-h264,stream-format=avc3,alignment=au";
const BYTES: &str = "video/x-h264,stream-format=byte-stream,alignment=au";
const NALS: &str = "h264parse ! video/x-h264,stream-format=byte-stream,alignment=nal";
const HVC: &str = "h265parse ! video/x-h265,stream-format=hvc1,alignment=au";
const HEV: &str = "h265parse ! video/x-h265,stream-format=hev1,alignment=au";
/// With the parameter sets in each keyframe; x265enc writes them once.
const HEVC_BYTES: &str =
    "h265parse config-interval=-1 ! video/x-h265,stream-format=byte-stream,alignment=au";
const VP8: &str = "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=15";
const VP9: &str = "vp9enc deadline=1 cpu-used=8 keyframe-max-dist=15";
const AV1: &str = "av1enc usage-profile=realtime cpu-used=10 keyframe-max-dist=15 min-quantizer=10 max-quantizer=58 end-usage=cbr lag-in-frames=0";
const THEORA: &str = "theoraenc keyframe-force=15 speed-level=3";
const JOINED: &str = "identity";

fn x264(form: &str) -> String {
    format!("x264enc key-int-max=15 tune=zerolatency speed-preset=ultrafast ! {form}")
}

/// Parameter sets with the same length or longer, and different content.
fn other_x264(form: &str) -> String {
    format!(
        "x264enc key-int-max=15 tune=zerolatency option-string=scenecut=0:ref=4:8x8dct=1 ! {form}"
    )
}

fn x265(form: &str) -> String {
    format!("x265enc key-int-max=15 tune=zerolatency speed-preset=ultrafast ! {form}")
}

fn other_x265(form: &str) -> String {
    format!(
        "x265enc key-int-max=15 tune=zerolatency speed-preset=superfast option-string=scenecut=0:ref=4 ! {form}"
    )
}

/// A recording of media that the test pushes.
struct Take {
    app: App,
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Take {
    fn new(file: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(file);
        let app = App::new("", &path);
        app.recorder.set_property("autostart", true);
        Take {
            app,
            _folder: folder,
            path,
        }
    }

    /// Waits for the end without an error; returns the warnings.
    fn wrap(&self) -> Vec<String> {
        self.app.wait_for("stop", 1);
        self.app.set_state(gst::State::Null);
        self.app.assert_no_error();
        self.app.warnings()
    }
}

/// With parameter sets only in the caps, which is what `avc1` and `hvc1` mean.
fn bare(mut coded: Coded) -> Coded {
    for buffer in &mut coded.buffers {
        let bytes = coded::avc_headers_with_lengths(&buffer.map_readable().unwrap());
        let mut less = gst::Buffer::from_mut_slice(bytes);
        let flags = gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS;
        buffer
            .copy_into(less.get_mut().unwrap(), flags, ..)
            .unwrap();
        *buffer = less;
    }
    coded
}

/// With one more picture parameter set in its caps.
fn with_another_pps(mut coded: Coded) -> Coded {
    let structure = coded.caps.structure(0).unwrap();
    let record = structure.get::<gst::Buffer>("codec_data").unwrap();
    let mut record = record.map_readable().unwrap().to_vec();
    let sps = usize::from(record[6]) << 8 | usize::from(record[7]);
    let count = 8 + sps;
    let pps = usize::from(record[count + 1]) << 8 | usize::from(record[count + 2]);
    let set = record[count + 1..count + 3 + pps].to_vec();
    record[count] += 1;
    let end = count + 3 + pps;
    record.splice(end..end, set);
    let record = gst::Buffer::from_mut_slice(record);
    coded.caps.make_mut().set("codec_data", record);
    coded
}

/// Part `number` of a video stream.
fn part(coded: Coded, number: usize) -> Coded {
    let from = ORIGIN + (number * PART) as u64 * PICTURE;
    let to = from + PART as u64 * PICTURE;
    let mut newest = 0;
    let within = |buffer: &gst::Buffer| {
        // Not every NAL unit of a frame has a timestamp.
        newest = buffer
            .pts()
            .map_or(newest, |pts| pts.nseconds() + PICTURE / 2);
        (from..to).contains(&newest)
    };
    let buffers = coded.buffers.into_iter().filter(within).collect();
    Coded { buffers, ..coded }
}

/// Pushes the parts one after the other into a track of a recording, and ends it.
fn play(take: &Take, template: &str, parts: &[Coded]) {
    let source = Source::new(&take.app.pad(template), &parts[0].caps, None);
    take.app.set_state(gst::State::Playing);
    for (number, part) in parts.iter().enumerate() {
        if number > 0 {
            source.caps(&part.caps);
        }
        for buffer in &part.buffers {
            source.push(buffer.clone());
        }
    }
    source.end();
}

/// That each of `count` frames is visible at its time.
fn assert_pictures(found: &decode::DecodedVideo, count: usize, what: &str) {
    let output: Vec<_> = found
        .frames
        .iter()
        .map(|p| (p.recorded, p.source))
        .collect();
    assert_eq!(found.frames.len(), count, "{what}: {output:?}");
    for (number, picture) in (0u64..).zip(&found.frames) {
        let expected = number * PICTURE;
        let source = picture
            .source
            .map(|source| source.abs_diff(expected) <= 2_000);
        assert_eq!(source, Some(true), "{what}, {number}: {output:?}");
        let early = picture.recorded - expected as f64;
        assert!(early.abs() < 1.2e6, "{what}, {number}: {output:?}");
    }
}

/// Records video that changes to another format, in each of these containers.
fn pictures(parts: &[Coded], files: &[&str]) {
    for file in files {
        let take = Take::new(file);
        play(&take, "video_%u", parts);
        let warnings = take.wrap();
        assert_eq!(warnings, Vec::<String>::new(), "{file}");
        file::decodes_without_errors(&take.path).unwrap();
        let count = parts.len() * PART;
        let found = decode::video(&take.path, 0).unwrap();
        assert_pictures(&found, count, &format!("{file} in FFmpeg"));
        let found = gstreamer::video(&take.path, 320, 240).unwrap();
        assert_pictures(&found, count, &format!("{file} in GStreamer"));
        let length = file::duration(&take.path).unwrap();
        let expected = (count as u64 * PICTURE) as f64;
        assert!((length - expected).abs() < 0.05e9, "{file}: {length} s");
    }
}

/// One stream, another one, and the first one again.
fn there_and_back(first: &str, other: &str, files: &[&str]) {
    let coded = |line: &str, number: usize| {
        let frames = u32::try_from((number + 1) * PART).unwrap();
        part(coded::video(line, frames), number)
    };
    pictures(&[coded(first, 0), coded(other, 1), coded(first, 2)], files);
}

const MP4_AND_MATROSKA: &[&str] = &["take.mp4", "take.mkv"];

/// A test for each: the first stream, the other one, and the containers.
macro_rules! changes {
    ($($name:ident: $first:expr, $other:expr, $files:expr;)*) => {$(
        #[test]
        fn $name() {
            there_and_back(&$first, &$other, $files);
        }
    )*};
}

changes! {
    // The same size.
    avc_to_other_parameter_sets: x264(AVC), other_x264(AVC), MP4_AND_MATROSKA;
    avc3_to_other_parameter_sets: x264(AVC3), other_x264(AVC3), MP4_AND_MATROSKA;
    h264_byte_stream_to_other_parameter_sets: x264(BYTES), other_x264(BYTES), MP4_AND_MATROSKA;
    h264_nal_units_to_other_parameter_sets: x264(NALS), other_x264(NALS), MP4_AND_MATROSKA;
    avc_to_longer_ones_and_back: other_x264(AVC), x264(AVC), MP4_AND_MATROSKA;
    hvc1_to_other_parameter_sets: x265(HVC), other_x265(HVC), MP4_AND_MATROSKA;
    hev1_to_other_parameter_sets: x265(HEV), other_x265(HEV), MP4_AND_MATROSKA;
    h265_byte_stream_to_other_parameter_sets: x265(HEVC_BYTES), other_x265(HEVC_BYTES), MP4_AND_MATROSKA;
    // Another size.
    avc_to_another_size: SMALL.to_owned() + &x264(AVC), LARGE.to_owned() + &x264(AVC), MP4_AND_MATROSKA;
    avc3_to_another_size: x264(AVC3), LARGE.to_owned() + &x264(AVC3), MP4_AND_MATROSKA;
    h264_byte_stream_to_another_size: x264(BYTES), LARGE.to_owned() + &x264(BYTES), MP4_AND_MATROSKA;
    avc_of_one_encoder_to_another: x264(AVC), LARGE.to_owned() + "openh264enc gop-size=15 ! " + AVC, MP4_AND_MATROSKA;
    hvc1_to_another_size: x265(HVC), LARGE.to_owned() + &x265(HVC), MP4_AND_MATROSKA;
    hev1_to_another_size: x265(HEV), LARGE.to_owned() + &x265(HEV), MP4_AND_MATROSKA;
    h265_byte_stream_to_another_size: x265(HEVC_BYTES), LARGE.to_owned() + &x265(HEVC_BYTES), MP4_AND_MATROSKA;
    vp8_to_another_size: VP8, LARGE.to_owned() + VP8, &["take.webm", "take.mkv", "take.ogv"];
    vp9_to_another_size: VP9, LARGE.to_owned() + VP9, &["take.webm", "take.mkv", "take.mp4"];
    av1_to_another_size: AV1, LARGE.to_owned() + AV1, &["take.webm", "take.mkv", "take.mp4"];
    // Another stream format.
    avc_to_avc3: x264(AVC), other_x264(AVC3), MP4_AND_MATROSKA;
    avc3_to_avc: x264(AVC3), other_x264(AVC), MP4_AND_MATROSKA;
    h264_byte_stream_to_avc: x264(BYTES), other_x264(AVC), MP4_AND_MATROSKA;
    h264_nal_units_to_avc: x264(NALS), other_x264(AVC), MP4_AND_MATROSKA;
    hvc1_to_hev1: x265(HVC), other_x265(HEV), MP4_AND_MATROSKA;
    // Another codec, of another size.
    h264_to_h265: x264(AVC), LARGE.to_owned() + &x265(HVC), MP4_AND_MATROSKA;
    h264_to_vp8: x264(BYTES), LARGE.to_owned() + VP8, MP4_AND_MATROSKA;
    h265_to_h264: x265(HVC), LARGE.to_owned() + &x264(BYTES), MP4_AND_MATROSKA;
    vp8_to_h264: VP8, LARGE.to_owned() + &x264(AVC), &["take.webm", "take.mkv", "take.ogv"];
    vp9_to_vp8: VP9, LARGE.to_owned() + VP8, &["take.webm", "take.mkv", "take.mp4"];
    av1_to_vp9: AV1, LARGE.to_owned() + VP9, &["take.webm", "take.mkv", "take.mp4"];
    // Raw.
    h264_to_raw: x264(AVC), LARGE.to_owned() + JOINED, MP4_AND_MATROSKA;
    h265_to_raw: x265(HVC), JOINED, MP4_AND_MATROSKA;
    vp8_to_raw: VP8, LARGE.to_owned() + JOINED, &["take.webm", "take.mkv", "take.ogv"];
    vp9_to_raw: VP9, JOINED, &["take.webm", "take.mp4"];
    raw_to_h264: JOINED, LARGE.to_owned() + &x264(AVC), &["take.webm", "take.mkv", "take.mp4"];
    raw_to_vp8: JOINED, LARGE.to_owned() + VP8, &["take.webm", "take.mp4", "take.ogv"];
    // Decoded from the beginning, since the container does not support it.
    h264_to_vp9_in_webm: x264(AVC), LARGE.to_owned() + VP9, &["take.webm"];
    h264_to_raw_in_webm: x264(BYTES), LARGE.to_owned() + JOINED, &["take.webm"];
}

/// Re-encoded: video of another aspect ratio is fitted into the initial size.
#[test]
fn another_aspect_ratio_is_fitted_into_the_first() {
    let wide = format!(
        "videoscale add-borders=false ! video/x-raw,width=640,height=240,pixel-aspect-ratio=1/1 ! {VP8}"
    );
    let parts = [
        part(coded::video(&x264(AVC), PART as u32), 0),
        part(coded::video(&wide, 2 * PART as u32), 1),
    ];
    for file in MP4_AND_MATROSKA {
        let take = Take::new(file);
        play(&take, "video_%u", &parts);
        assert_eq!(take.wrap(), Vec::<String>::new());
        let found = decode::video(&take.path, 0).unwrap();
        assert_eq!((found.width, found.height), (320, 240), "{file}");
        let within = inputs::luma(&take.path, "crop=320:120:0:60", (320, 120));
        let above = inputs::luma(&take.path, "crop=320:50:0:0", (320, 50));
        assert_eq!(within.len(), 2 * PART, "{file}");
        for number in PART..2 * PART {
            let expected = number as u64 * PICTURE;
            let read = frame::read(&within[number], 320, 120);
            let near = read.is_some_and(|read| read.abs_diff(expected) <= 2_000);
            assert!(near, "{file}, {number}: {read:?}");
            assert!(above[number].iter().all(|p| *p < 40), "border of {number}");
        }
    }
}

/// A part of the recording that starts after a change is encoded from its beginning.
#[test]
fn the_next_part_starts_with_the_new_caps() {
    let coded = |line: &str, number: usize| {
        let frames = u32::try_from((number + 1) * PART).unwrap();
        part(coded::video(line, frames), number)
    };
    let avc = LARGE.to_owned() + &x264(AVC);
    let parts = [coded(VP8, 0), coded(&avc, 1), coded(&avc, 2)];
    let take = Take::new("take-%d.webm");
    let source = Source::new(&take.app.pad("video_%u"), &parts[0].caps, None);
    take.app.set_state(gst::State::Playing);
    for (number, part) in parts.iter().enumerate() {
        match number {
            1 => source.caps(&part.caps),
            2 => {
                take.app.wait_for("start", 1);
                take.app.act("split-now");
            }
            _ => {}
        }
        part.buffers.iter().for_each(|b| source.push(b.clone()));
    }
    source.end();
    assert_eq!(take.wrap(), Vec::<String>::new());
    let files = parts::from_messages(&take.app);
    assert_eq!(files.len(), 2, "{files:?}");
    for (file, number) in files.iter().zip([2 * PART, PART]) {
        let found = decode::video(&file.path, 0).unwrap();
        let shown: Vec<_> = found.frames.iter().map(|p| p.source).collect();
        assert_eq!(shown.len(), number, "{file:?}: {shown:?}");
    }
    let found = parts::video(&files).unwrap();
    assert_pictures(&found, 3 * PART, "the parts");
}

/// Frames between a caps change and the next keyframe refer to frames that never arrived: they are dropped.
#[test]
fn continuation_starts_with_a_keyframe() {
    let late = |number: usize| {
        let frames = u32::try_from((number + 1) * PART).unwrap();
        let mut coded = coded::video(&other_x264(AVC), frames);
        coded.buffers.drain(..(number - 1) * PART + 5);
        coded
    };
    for file in MP4_AND_MATROSKA {
        let take = Take::new(file);
        let mut first = part(coded::video(&x264(AVC), PART as u32), 0);
        first.buffers.truncate(5);
        play(&take, "video_%u", &[first, late(1)]);
        assert_eq!(take.wrap(), Vec::<String>::new());
        file::decodes_without_errors(&take.path).unwrap();
        let found = decode::video(&take.path, 0).unwrap();
        let shown: Vec<_> = found
            .frames
            .iter()
            .filter_map(|picture| picture.source)
            .collect();
        assert_eq!(shown.len(), 5 + PART, "{file}: {shown:?}");
        let key = PART as u64 * PICTURE;
        assert!(shown[5].abs_diff(key) <= 2_000, "{file}: {shown:?}");
    }
}

#[test]
fn a_picture_parameter_set_is_added() {
    let coded = |number: usize| {
        let frames = u32::try_from((number + 1) * PART).unwrap();
        bare(part(coded::video(&x264(AVC), frames), number))
    };
    let parts = [coded(0), with_another_pps(coded(1)), coded(2)];
    pictures(&parts, MP4_AND_MATROSKA);
}

/// As in `avc1`: parameter sets only in the caps.
#[test]
fn parameter_sets_only_in_the_caps() {
    let coded = |line: &str, number: usize| {
        let frames = u32::try_from((number + 1) * PART).unwrap();
        bare(part(coded::video(line, frames), number))
    };
    let large = LARGE.to_owned() + &other_x264(AVC);
    let parts = [coded(&x264(AVC), 0), coded(&large, 1), coded(&x264(AVC), 2)];
    pictures(&parts, MP4_AND_MATROSKA);
}

// ---- Audio ----

const TENTHS: u32 = 10;

/// Part `number` of a second each.
fn sound_part(line: &str, number: u32) -> Coded {
    let coded = coded::audio(line, (number + 1) * TENTHS);
    let from = ORIGIN + u64::from(number) * SECOND;
    let starts = |buffer: &gst::Buffer| buffer.pts().is_some_and(|pts| pts.nseconds() >= from);
    let buffers = coded.buffers.into_iter().filter(starts).collect();
    Coded { buffers, ..coded }
}

/// How much later than its timestamps a stream is heard, in nanoseconds.
fn lateness(line: &str) -> f64 {
    let rate = if line.contains("44100") {
        44_100.0
    } else {
        48_000.0
    };
    let samples = match line {
        _ if line.contains("voaacenc") => 1_600.0,
        _ if line.contains("lamemp3enc") => 1_105.0,
        _ => 0.0,
    };
    samples * 1e9 / rate
}

/// That the noise is audible to the end, each part as late as its packets to within `tolerance` nanoseconds.
fn assert_in_step(audio: &DecodedAudio, expected: &[f64], tolerance: f64) -> Verdict<()> {
    const SEAM: f64 = 120e6;
    let parts = expected.len() as u32;
    let length = audio.len() as f64 / 48_000.0;
    if (length - f64::from(parts)).abs() > 0.15 {
        return Err(format!("{length} s of audio"));
    }
    let places = position::find(audio, f64::from(parts + 1) * 1e9)?;
    for (part, expected) in (0..).zip(expected) {
        let (from, to) = (
            f64::from(part) * 1e9 + SEAM,
            f64::from(part + 1) * 1e9 - SEAM,
        );
        let within = places.iter().filter(|p| (from..to).contains(&p.recorded));
        let all: Vec<_> = within.clone().collect();
        let mut late: Vec<f64> = within
            .filter_map(|p| Some(p.recorded - p.source?))
            .collect();
        if late.len() * 10 < all.len() * 9 {
            return Err(format!("part {part}: {all:?}"));
        }
        late.sort_by(f64::total_cmp);
        let (least, most) = (
            late[late.len() / 10],
            late[late.len() - 1 - late.len() / 10],
        );
        println!("part {part}: {} … {} ms late", least / 1e6, most / 1e6);
        if (least - expected).abs() > tolerance || (most - expected).abs() > tolerance {
            return Err(format!(
                "part {part} is {least} to {most} late, expected {expected}"
            ));
        }
    }
    Ok(())
}

fn listen(path: &Path, what: &str, expected: &[f64], tolerance: f64) {
    // A FLAC file is decoded by sample count: its frame numbers count blocks of the same length as the first, and
    // the last one of a stream that continues as another is shorter.
    let counted = |mut audio: DecodedAudio| {
        if what.ends_with(".flac") {
            audio.blocks = vec![(0, 0.0)];
        }
        audio
    };
    let heard = counted(decode::audio(path, 0, Some(48_000)).unwrap());
    assert_in_step(&heard, expected, tolerance)
        .unwrap_or_else(|err| panic!("{what} in FFmpeg: {err}"));
    let heard = counted(gstreamer::audio(path).unwrap());
    assert_in_step(&heard, expected, tolerance)
        .unwrap_or_else(|err| panic!("{what} in GStreamer: {err}"));
}

fn audio_samples(lines: [&str; 3], files: &[&str], tolerance: f64) {
    let parts: Vec<_> = (0..)
        .zip(lines)
        .map(|(n, line)| sound_part(line, n))
        .collect();
    let expected = lines.map(lateness);
    // Each part ends where the next begins.
    let mut cut = Vec::new();
    for (number, part) in (1u64..).zip(parts) {
        let end = ORIGIN + number * SECOND;
        let ends = |buffer: &gst::Buffer| match (buffer.pts(), buffer.duration()) {
            (Some(pts), duration) => {
                let length = duration.map_or(0, |duration| duration.nseconds());
                pts.nseconds() + length <= end + inputs::MILLI
            }
            _ => true,
        };
        let buffers = part.buffers.into_iter().filter(ends).collect();
        cut.push(Coded { buffers, ..part });
    }
    for file in files {
        let take = Take::new(file);
        play(&take, "audio_%u", &cut);
        let warnings = take.wrap();
        assert_eq!(warnings, Vec::<String>::new(), "{file}");
        if let Err(output) = file::decodes_without_errors(&take.path) {
            // Timestamps in milliseconds may overlap by half a millisecond, which only concerns the null muxer.
            let own = output
                .lines()
                .filter(|line| !line.contains("non monotonically"));
            assert_eq!(own.count(), 0, "{file}: {output}");
        }
        // They have no timestamps, or only per page: where packets are not contiguous, everything after is early.
        let tolerance = match file.rsplit('.').next() {
            Some("mp3") => 2.0 * 26e6,
            Some("wav") => 2.0 * 22e6,
            Some("flac" | "oga") => 2.0 * 97e6,
            Some("ogg") => 2.0 * 20e6,
            _ => tolerance,
        };
        listen(&take.path, file, &expected, tolerance);
    }
}

macro_rules! sound_changes {
    ($($name:ident: $first:expr, $other:expr, $files:expr;)*) => {$(
        #[test]
        fn $name() {
            audio_samples([$first, $other, $first], $files, 3e6);
        }
    )*};
}

const OPUS: &str = "opusenc";
const MONO_OPUS: &str = "audioconvert ! audio/x-raw,channels=1 ! opusenc";
const AAC: &str = "voaacenc ! audio/mpeg,stream-format=raw";
const ADTS: &str = "voaacenc ! audio/mpeg,stream-format=adts";
const OTHER_AAC: &str =
    "audioresample ! audio/x-raw,rate=44100 ! voaacenc ! audio/mpeg,stream-format=raw";
const MONO_AAC: &str =
    "audioconvert ! audio/x-raw,channels=1 ! voaacenc ! audio/mpeg,stream-format=raw";
const MP3: &str = "lamemp3enc";
const OTHER_MP3: &str = "audioresample ! audio/x-raw,rate=44100 ! lamemp3enc";
const FLAC: &str = "flacenc";
const OTHER_FLAC: &str =
    "audioconvert ! audioresample ! audio/x-raw,format=S24LE,rate=44100,channels=1 ! flacenc";
const VORBIS: &str = "audioconvert ! vorbisenc";
const OTHER_VORBIS: &str = "audioconvert ! audio/x-raw,channels=1 ! vorbisenc";

sound_changes! {
    opus_to_mono: OPUS, MONO_OPUS, &["take.webm", "take.mka", "take.m4a", "take.ogg"];
    opus_to_aac: OPUS, OTHER_AAC, &["take.webm", "take.mka", "take.m4a", "take.ogg"];
    opus_to_raw: OPUS, JOINED, &["take.webm", "take.mka", "take.m4a", "take.ogg"];
    aac_to_another_rate: AAC, OTHER_AAC, &["take.m4a", "take.mka"];
    aac_to_mono: AAC, MONO_AAC, &["take.m4a", "take.mka"];
    adts_to_another_rate: ADTS, OTHER_AAC, &["take.m4a", "take.mka"];
    aac_to_opus: AAC, OPUS, &["take.m4a", "take.mka"];
    aac_to_raw: AAC, JOINED, &["take.m4a", "take.mka"];
    mp3_to_another_rate: MP3, OTHER_MP3, &["take.mp3", "take.mka", "take.m4a"];
    mp3_to_raw: MP3, JOINED, &["take.mp3", "take.mka"];
    flac_to_another_rate_and_depth: FLAC, OTHER_FLAC, &["take.flac", "take.mka", "take.oga"];
    flac_to_opus: FLAC, OPUS, &["take.flac", "take.mka", "take.oga"];
    flac_to_raw: FLAC, JOINED, &["take.flac", "take.mka", "take.oga"];
    raw_to_aac: JOINED, OTHER_AAC, &["take.webm", "take.m4a", "take.wav", "take.flac"];
    raw_to_vorbis: JOINED, VORBIS, &["take.webm", "take.wav"];
}

// ---- The last rung ----

/// Audio and video, and audio that changes to what its header cannot describe: its track ends, the other one
/// continues.
#[test]
fn other_codebooks_end_a_track_but_not_the_recording() {
    const SHOWN: usize = 90;
    for (file, first, other) in [
        ("take.webm", VORBIS, OTHER_VORBIS),
        ("take.ogv", VORBIS, OPUS),
        ("take.mkv", VORBIS, JOINED),
    ] {
        let take = Take::new(file);
        let audio = [sound_part(first, 0), sound_part(other, 1)];
        let shown = coded::video(VP8, SHOWN as u32);
        let listens = Source::new(&take.app.pad("audio_%u"), &audio[0].caps, None);
        let sees = Source::new(&take.app.pad("video_%u"), &shown.caps, None);
        take.app.set_state(gst::State::Playing);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let first = audio[0].buffers.iter();
                first.for_each(|buffer| listens.push(buffer.clone()));
                listens.caps(&audio[1].caps);
                for buffer in &audio[1].buffers {
                    if listens.pad.push(buffer.clone()).is_err() {
                        break;
                    }
                }
                listens.end();
            });
            scope.spawn(|| {
                shown
                    .buffers
                    .iter()
                    .for_each(|buffer| sees.push(buffer.clone()));
                sees.end();
            });
        });
        let warnings = take.wrap();
        assert_eq!(warnings.len(), 1, "{file}: {warnings:?}");
        assert!(warnings[0].contains("audio_0"), "{file}: {warnings:?}");
        let found = decode::video(&take.path, 0).unwrap();
        assert_pictures(&found, SHOWN, file);
        let heard = decode::audio(&take.path, 0, None).unwrap();
        let length = heard.len() as f64 / 48_000.0;
        let expected = audio[0]
            .buffers
            .iter()
            .filter_map(|buffer| Some(buffer.pts()? + buffer.duration()?));
        let expected = expected
            .max()
            .map_or(0.0, |end| (end.nseconds() - ORIGIN) as f64 / 1e9);
        assert!(
            (length - expected).abs() < 0.05,
            "{file}: {length} s, expected {expected} s"
        );
    }
}

/// It was the only track: the recording ends, reports why, and is complete.
#[test]
fn other_codebooks_of_the_only_track_end_the_recording() {
    let parts = [
        part(coded::video(THEORA, PART as u32), 0),
        part(coded::video(&x264(AVC), 2 * PART as u32), 1),
    ];
    let rig = Rig::new();
    rig.recorder.set_property("mime-type", "video/ogg");
    rig.recorder.set_property("autostart", true);
    let pad = rig.recorder.request_pad_simple("video_%u").unwrap();
    rig.play();
    let source = Source::new(&pad, &parts[0].caps, None);
    for part in &parts {
        source.caps(&part.caps);
        for buffer in &part.buffers {
            let _ = source.pad.push(buffer.clone());
        }
    }
    let events = rig.wait_recording(1);
    let error = events[1].error.clone().expect("on-error");
    assert_error(&error, code::NOT_SUPPORTED);
    assert!(error.message().contains("video_0"), "{error}");
    let (bytes, _) = check_recording(&events);
    let path = PathBuf::from(rig.save("theora.ogv", &bytes));
    file::decodes_without_errors(&path).unwrap();
    let found = decode::video(&path, 0).unwrap();
    assert_eq!(found.frames.len(), PART);
}
