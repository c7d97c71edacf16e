//! Encoded streams whose caps lack fields that a muxer requires, or have values that it mishandles: all of it is
//! in the file.

mod common;

use common::app::{DEADLINE, init};
use common::judge::file;
use gst::prelude::*;
use std::path::Path;
use std::process::Command;

/// Plays a gst-launch line to EOS. `change` may modify the caps that reach the recorder.
fn play(line: &str, path: &Path, change: impl Fn(&mut gst::StructureRef) + Send + Sync + 'static) {
    init();
    let location = path.display();
    let line =
        format!("{line} ! identity name=last ! mediarecorder autostart=true location={location}");
    let pipeline = gst::parse::launch(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let last = pipeline.by_name("last").unwrap().static_pad("src").unwrap();
    last.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        if let Some(gst::PadProbeData::Event(event)) = &mut info.data
            && let gst::EventView::Caps(caps) = event.view()
        {
            let mut caps = caps.caps_owned();
            change(caps.make_mut().structure_mut(0).unwrap());
            *event = gst::event::Caps::new(&caps);
        }
        gst::PadProbeReturn::Ok
    });
    let bus = pipeline.bus().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let deadline = gst::ClockTime::from_seconds(DEADLINE.as_secs());
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = bus.timed_pop_filtered(deadline, &kinds).expect("an end");
    pipeline.set_state(gst::State::Null).unwrap();
    if let gst::MessageView::Error(error) = end.view() {
        panic!("{line}: {} {:?}", error.error(), error.debug());
    }
}

/// Frames decoded by ffmpeg, and the duration in seconds.
fn judged(path: &Path) -> (usize, f64) {
    file::decodes_without_errors(path).unwrap();
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-of", "csv=p=0"])
        .args(["-show_entries", "stream=nb_read_frames"])
        .arg(path)
        .output()
        .unwrap();
    let frames = String::from_utf8_lossy(&output.stdout).trim().parse();
    (frames.unwrap(), file::duration(path).unwrap() / 1e9)
}

const FRAMES: usize = 50;
const PICTURES: &str =
    "videotestsrc num-buffers=50 ! video/x-raw,format=I420,width=160,height=120,framerate=25/1";

#[track_caller]
fn assert_pictures(encoder: &str, name: &str, change: fn(&mut gst::StructureRef)) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    play(&format!("{PICTURES} ! {encoder}"), &path, change);
    let (frames, length) = judged(&path);
    assert_eq!(frames, FRAMES, "{encoder} in {name}");
    assert!(
        (1.9..2.1).contains(&length),
        "{encoder} in {name}: {length} s"
    );
}

const VP8: &str = "vp8enc deadline=1";
const VP9: &str = "vp9enc deadline=1";
const H264: &str = "x264enc speed-preset=ultrafast tune=zerolatency ! h264parse";

/// mp4mux 1.22 crashes without it, if the caps have colorimetry.
#[test]
fn vp9_without_chroma_site() {
    assert_pictures(&format!("{VP9} ! rtpvp9pay ! rtpvp9depay"), "a.mp4", |_| {});
    assert_pictures(VP9, "a.mp4", |caps| {
        caps.remove_field("chroma-site");
        caps.set("colorimetry", "bt709");
    });
    assert_pictures(VP9, "a.mkv", |caps| caps.remove_field("chroma-site"));
}

/// matroskamux divides by it.
#[test]
fn a_pixel_aspect_ratio_of_0() {
    for name in ["a.webm", "a.mkv", "a.ogv"] {
        assert_pictures(VP8, name, |caps| {
            caps.set("pixel-aspect-ratio", gst::Fraction::new(0, 1));
        });
    }
    for name in ["a.mp4", "a.mkv"] {
        assert_pictures(H264, name, |caps| {
            caps.set("pixel-aspect-ratio", gst::Fraction::new(0, 1));
        });
    }
}

/// mp4mux derives timescales from them, from 0 and from the low 32 of 33 bits; oggmux requires one.
#[test]
fn invalid_frame_rates() {
    for rate in [(1, 1_000), (1_073_741_824, 1), (0, 1), (-25, 1)] {
        let set = move |caps: &mut gst::StructureRef| {
            caps.set("framerate", gst::Fraction::new(rate.0, rate.1));
        };
        for (encoder, name) in [
            (H264, "a.mp4"),
            (VP9, "a.mp4"),
            (VP8, "a.mkv"),
            (VP8, "a.ogv"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(name);
            play(&format!("{PICTURES} ! {encoder}"), &path, set);
            let (frames, length) = judged(&path);
            assert_eq!(frames, FRAMES, "{rate:?} in {name}");
            // Parsers give the last frame the duration in the caps.
            let is_long = name == "a.mp4" && rate == (1, 1_000);
            let right = is_long || (1.9..2.1).contains(&length);
            assert!(right, "{rate:?} in {name}: {length} s");
        }
    }
    assert_pictures(VP8, "a.webm", |caps| caps.remove_field("framerate"));
    assert_pictures(VP8, "a.ogv", |caps| caps.remove_field("framerate"));
}

#[test]
fn video_and_audio_of_a_peer_in_ogg() {
    assert_pictures(&format!("{VP8} ! rtpvp8pay ! rtpvp8depay"), "a.ogv", |_| {});
}

/// As in WebRTC: no stream header.
#[test]
fn opus_without_a_stream_header() {
    let folder = tempfile::tempdir().unwrap();
    for channels in [1, 2] {
        let source = format!(
            "audiotestsrc num-buffers=100 samplesperbuffer=960 ! audio/x-raw,rate=48000,channels={channels} ! opusenc"
        );
        let peer = format!("{source} ! rtpopuspay ! rtpopusdepay");
        for name in ["a.ogg", "a.webm", "a.mka", "a.mp4"] {
            let path = folder.path().join(name);
            play(&peer, &path, |_| {});
            let (packets, length) = judged(&path);
            assert!((100..=102).contains(&packets), "{packets} in {name}");
            assert!((1.98..2.03).contains(&length), "{length} s in {name}");
            play(&source, &path, |caps| {
                caps.remove_fields(["streamheader", "channels", "rate", "channel-mapping-family"]);
            });
            let (_, length) = judged(&path);
            assert!((1.98..2.03).contains(&length), "{length} s in {name}");
        }
    }
}

/// Muxers and decoders abort on clipping meta that is not in samples.
#[test]
fn samples_clipped_by_time() {
    for name in ["a.ogg", "a.mka", "a.webm", "a.mp4", "a.flac"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let line = "audiotestsrc num-buffers=100 samplesperbuffer=960 ! audio/x-raw,rate=48000 ! opusenc ! identity \
                    name=clip";
        init();
        let location = path.display();
        let line = format!("{line} ! mediarecorder autostart=true location={location}");
        let pipeline = gst::parse::launch(&line).unwrap();
        let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
        let clip = pipeline.by_name("clip").unwrap().static_pad("src").unwrap();
        clip.add_probe(gst::PadProbeType::BUFFER, |_, info| {
            let buffer = info.buffer_mut().unwrap().make_mut();
            if buffer.meta::<gst_audio::AudioClippingMeta>().is_none() {
                let (none, half) = (gst::ClockTime::ZERO, gst::ClockTime::from_mseconds(10));
                gst_audio::AudioClippingMeta::add(buffer, none, half);
            }
            gst::PadProbeReturn::Ok
        });
        let bus = pipeline.bus().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let deadline = gst::ClockTime::from_seconds(DEADLINE.as_secs());
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let end = bus.timed_pop_filtered(deadline, &kinds).expect("an end");
        pipeline.set_state(gst::State::Null).unwrap();
        assert_eq!(end.type_(), gst::MessageType::Eos, "{end:?}");
        file::ffprobe(&path).unwrap();
    }
}
