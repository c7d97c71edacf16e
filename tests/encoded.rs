//! Encoded tracks are copied: byte for byte, from keyframe to cut, in every container that supports them.

mod coded;
mod common;

use coded::{Coded, Payload, Playing, SECOND, play_until, whole, with_lengths, without_adts};
use common::app::{App, temp_location};
use common::judge::{decode, file, kept::Kept, ordinary, sync};
use std::path::{Path, PathBuf};

/// Pushes the streams with a start between keyframes and two pauses, and returns what was kept.
fn drive(app: &App, streams: &mut [&mut Playing]) -> Kept {
    app.set_state(gst::State::Playing);
    let mut now = 0;
    for (action, at) in [
        ("start", 700),
        ("pause", 2_150),
        ("resume", 2_610),
        ("pause", 3_333),
        ("resume", 3_400),
        ("stop", 5_000),
    ] {
        play_until(streams, now, at * coded::MILLI);
        now = at * coded::MILLI;
        app.act(action);
    }
    play_until(streams, now, 6 * SECOND);
    app.wait_for("stop", 1);
    app.kept()
}

/// That every interval starts at the first keyframe after the requested instant.
fn assert_begins_at_keys(kept: &Kept, video: &Playing) {
    for (from, _) in &kept.intervals {
        let key = video
            .all
            .iter()
            .any(|b| coded::is_key(b) && b.pts().is_some_and(|pts| pts.nseconds() == *from));
        assert!(key, "{from} is not a keyframe: {kept:?}");
    }
}

/// That each frame is visible at the time that it shows.
fn assert_pictures_in_place(path: &Path, kept: &Kept) {
    let frames = sync::frame_times(&decode::video(path, 0).unwrap()).unwrap();
    for (recorded, source) in &frames {
        let due = kept.source_at(*recorded + 0.6e6) - coded::ORIGIN as f64 - 0.6e6;
        assert!(
            (source - due).abs() < 1.2e6,
            "the frame of {source} is visible at {recorded}, expected that of {due}"
        );
    }
}

/// Records a single encoded stream with cuts, and verifies its packets.
fn copies(name: &str, coded: Coded, payload: Payload) -> (tempfile::TempDir, PathBuf, Kept) {
    let (directory, path) = temp_location(name);
    let app = App::new("", &path);
    let audio = coded.caps.structure(0).unwrap().name();
    let video = !audio.starts_with("audio/");
    let (template, stream) = if video {
        ("video_%u", "v:0")
    } else {
        ("audio_%u", "a:0")
    };
    let mut playing = Playing::new(&app, template, coded);
    let kept = drive(&app, &mut [&mut playing]);
    assert_eq!(app.warnings(), Vec::<String>::new());
    if video {
        assert_begins_at_keys(&kept, &playing);
    }
    coded::assert_copied(&path, stream, &playing.due(&kept), payload);
    if video {
        assert_pictures_in_place(&path, &kept);
    }
    (directory, path, kept)
}

const X264: &str = "x264enc key-int-max=15 bframes=3 b-adapt=false speed-preset=ultrafast";
const X265: &str = "x265enc key-int-max=15 speed-preset=ultrafast";
const AVC: &str = "h264parse ! video/x-h264,stream-format=avc,alignment=au";
const BYTES: &str = "video/x-h264,stream-format=byte-stream,alignment=au";
const HVC: &str = "h265parse ! video/x-h265,stream-format=hvc1,alignment=au";
const VP8: &str = "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=15";
const VP9: &str = "vp9enc deadline=1 cpu-used=8 keyframe-max-dist=15";
const AV1: &str = "av1enc usage-profile=realtime cpu-used=10 keyframe-max-dist=15 min-quantizer=10 \
                   max-quantizer=58 end-usage=cbr lag-in-frames=0";
const FRAMES: u32 = 180;
const TENTHS: u32 = 60;

/// Without the parameter sets in all keyframes but the first.
fn headers_once(mut coded: Coded, kept: fn(&[u8]) -> Vec<u8>) -> Coded {
    for buffer in coded.buffers.iter_mut().skip(1) {
        let bytes = kept(&buffer.map_readable().unwrap());
        let mut less = gst::Buffer::from_mut_slice(bytes);
        buffer
            .copy_into(
                less.get_mut().unwrap(),
                gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS,
                ..,
            )
            .unwrap();
        *buffer = less;
    }
    coded
}

/// As produced by some demuxers.
fn without_dts(mut coded: Coded) -> Coded {
    for buffer in &mut coded.buffers {
        buffer.make_mut().set_dts(None);
    }
    coded
}

/// A test that records `coded` into `file`, verifies the packets, and that it decodes without errors.
macro_rules! copied {
    ($($name:ident: $coded:expr, $payload:expr, $file:expr;)*) => {$(
        #[test]
        fn $name() {
            let (_directory, path, _) = copies($file, $coded, $payload);
            file::decodes_without_errors(&path).unwrap();
            if $file.ends_with(".mp4") || $file.ends_with(".m4a") {
                let fragmented = ordinary::fragmented_beside(&path).unwrap();
                ordinary::plays_alike(&path, &fragmented).unwrap();
                // What mpg123 decodes from MP3 after a cut, without the bit reservoir of earlier frames, depends
                // on the timing of the frames.
                if $file != "mp3.mp4" {
                    ordinary::plays_alike_in_gstreamer(&path, &fragmented).unwrap();
                }
            }
        }
    )*};
}

copied! {
    h264_with_b_frames_into_matroska:
        coded::video(&format!("{X264} ! {AVC}"), FRAMES), whole, "avc.mkv";
    h264_with_b_frames_into_mp4:
        coded::video(&format!("{X264} ! {AVC}"), FRAMES), whole, "avc.mp4";
    h264_byte_stream_into_matroska:
        coded::video(&format!("{X264} ! {BYTES}"), FRAMES), with_lengths, "bytes.mkv";
    h264_byte_stream_into_mp4:
        coded::video(&format!("{X264} ! {BYTES}"), FRAMES), with_lengths, "bytes.mp4";
    h264_byte_stream_whose_headers_came_once_into_matroska:
        headers_once(coded::video(&format!("{X264} ! {BYTES}"), FRAMES), coded::avc_headers),
        with_lengths, "once.mkv";
    h264_whose_headers_are_in_its_caps_into_mp4:
        headers_once(coded::video(&format!("{X264} ! {AVC}"), FRAMES), coded::avc_headers_with_lengths),
        whole, "bare.mp4";
    h265_byte_stream_whose_headers_came_once_into_mp4:
        headers_once(coded::video(X265, FRAMES), coded::hvc_headers), with_lengths, "once.mp4";
    h264_without_decode_times_into_mp4:
        without_dts(coded::video(&format!("{X264} ! {AVC}"), FRAMES)), whole, "nodts.mp4";
    h264_without_decode_times_into_matroska:
        without_dts(coded::video(&format!("{X264} ! {AVC}"), FRAMES)), whole, "nodts.mkv";
    h265_with_b_frames_into_matroska:
        coded::video(&format!("{X265} ! {HVC}"), FRAMES), whole, "hvc.mkv";
    h265_with_b_frames_into_mp4:
        coded::video(&format!("{X265} ! {HVC}"), FRAMES), whole, "hvc.mp4";
    vp8_into_webm: coded::video(VP8, FRAMES), whole, "vp8.webm";
    vp8_into_matroska: coded::video(VP8, FRAMES), whole, "vp8.mkv";
    vp8_into_ogg: coded::video(VP8, FRAMES), whole, "vp8.ogv";
    vp9_into_webm: coded::video(VP9, FRAMES), whole, "vp9.webm";
    vp9_into_mp4: coded::video(VP9, FRAMES), whole, "vp9.mp4";
    av1_into_webm: coded::video(AV1, FRAMES), whole, "av1.webm";
    av1_into_matroska: coded::video(AV1, FRAMES), whole, "av1.mkv";
    av1_into_mp4: coded::video(AV1, FRAMES), whole, "av1.mp4";
    theora_into_ogg: coded::video("theoraenc keyframe-force=15 speed-level=3", FRAMES), whole, "theora.ogv";
    opus_into_webm: coded::audio("opusenc", TENTHS), whole, "opus.webm";
    opus_into_matroska: coded::audio("opusenc", TENTHS), whole, "opus.mka";
    opus_into_mp4: coded::audio("opusenc", TENTHS), whole, "opus.m4a";
    opus_into_ogg: coded::audio("opusenc", TENTHS), whole, "opus.ogg";
    vorbis_into_webm: coded::audio("audioconvert ! vorbisenc", TENTHS), whole, "vorbis.webm";
    vorbis_into_matroska: coded::audio("audioconvert ! vorbisenc", TENTHS), whole, "vorbis.mka";
    vorbis_into_ogg: coded::audio("audioconvert ! vorbisenc", TENTHS), whole, "vorbis.ogg";
    aac_into_matroska:
        coded::audio("voaacenc ! audio/mpeg,stream-format=raw", TENTHS), whole, "aac.mka";
    aac_into_mp4: coded::audio("voaacenc ! audio/mpeg,stream-format=raw", TENTHS), whole, "aac.m4a";
    adts_into_matroska:
        coded::audio("voaacenc ! audio/mpeg,stream-format=adts", TENTHS), without_adts, "adts.mka";
    adts_into_mp4:
        coded::audio("voaacenc ! audio/mpeg,stream-format=adts", TENTHS), without_adts, "adts.m4a";
    mp3_into_matroska: coded::audio("lamemp3enc", TENTHS), whole, "mp3.mka";
    mp3_into_mp4: coded::audio("lamemp3enc", TENTHS), whole, "mp3.mp4";
    flac_into_matroska: coded::audio("flacenc", TENTHS), whole, "flac.mka";
    flac_into_ogg: coded::audio("flacenc", TENTHS), whole, "flac.oga";
    mjpeg_into_matroska: coded::video("jpegenc", FRAMES), whole, "mjpeg.mkv";
    ac3_into_matroska:
        coded::audio("audioconvert ! avenc_ac3 ! ac3parse", TENTHS), whole, "ac3.mka";
    a_law_into_matroska: coded::audio("alawenc", TENTHS), whole, "alaw.mka";
    mu_law_into_matroska: coded::audio("mulawenc", TENTHS), whole, "mulaw.mka";
}
