//! A real RTP sender over a network that loses, delays and reorders packets and has outages, and a sender that
//! restarts with other parameter sets: the recording continues, and everything received is at its time.

mod common;

use common::app::App;
use common::judge::decode;
use common::network::{Faults, Network, free_port, receive};
use common::settings::long;
use common::signal::tag;
use gst::prelude::*;
use std::time::Instant;

const SECOND: u64 = 1_000_000_000;
/// See [`Faults`].
const JITTER: u64 = 300;
const LOSS: u64 = 50;

/// Outages of the network, in seconds of the test.
type Outages = Vec<(u64, u64)>;

/// Duration, outages, and restarts of the sender, in seconds.
fn plan() -> (u64, Outages, Vec<u64>) {
    if !long() {
        return (20, vec![(4, 5), (7, 12)], vec![16]);
    }
    let given = std::env::var("MEDIARECORDER_NETWORK_SECONDS").ok();
    let length = given.and_then(|text| text.parse().ok()).unwrap_or(600);
    let minutes = length / 60;
    let outages = (0..minutes).flat_map(|minute| {
        let at = minute * 60;
        let longest = if minute % 5 == 4 { 30 } else { 5 };
        [(at + 10, at + 11), (at + 20, at + 20 + longest)]
    });
    let restarts = (0..minutes).map(|minute| minute * 60 + 55);
    (length, outages.collect(), restarts.collect())
}

/// A sender whose frames carry the running time of `like`: two streams, with their own SSRCs and timestamps. Every
/// other one has other parameter sets.
fn sender(like: &gst::Pipeline, video: &str, number: usize, ports: [u16; 2]) -> gst::Pipeline {
    let video = video.replace("LEVEL", ["3", "3.1"][number % 2]);
    let line = format!(
        "videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 ! \
         identity name=raw ! {video} mtu=1200 pt=96 ! udpsink host=127.0.0.1 port={} sync=false async=false \
         audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=1 ! opusenc ! rtpopuspay pt=97 ! \
         udpsink host=127.0.0.1 port={} sync=false async=false",
        ports[0], ports[1]
    );
    let pipeline = gst::parse::launch(&line)
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
    tag::video(&pipeline.by_name("raw").unwrap().static_pad("src").unwrap());
    pipeline.use_clock(like.clock().as_ref());
    pipeline.set_start_time(gst::ClockTime::NONE);
    pipeline.set_base_time(like.base_time().unwrap());
    pipeline.set_state(gst::State::Playing).unwrap();
    pipeline
}

fn over_the_network(name: &str, video: &str, codec: &str, depay: &str) {
    let (length, outages, restarts) = plan();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    let app = App::new("", &path);
    app.recorder.set_property("autostart", true);
    let ports = [free_port(), free_port()];
    let pictures = receive(
        &app,
        ports[0],
        &format!("application/x-rtp,media=video,payload=96,clock-rate=90000,encoding-name={codec}"),
        depay,
    );
    let microphone = receive(
        &app,
        ports[1],
        "application/x-rtp,media=audio,payload=97,clock-rate=48000,encoding-name=OPUS,\
         sprop-maxcapturerate=(string)48000,sprop-stereo=(string)0",
        "rtpopusdepay",
    );
    pictures.link(&app.pad("video_%u")).unwrap();
    microphone.link(&app.pad("audio_%u")).unwrap();
    app.set_state(gst::State::Playing);
    let started = Instant::now();
    let base = app.running_time();
    let faults = Faults {
        loss: LOSS,
        jitter: JITTER,
        away: outages
            .iter()
            .map(|(from, to)| from * 1_000..to * 1_000)
            .collect(),
    };
    let (_video, video_port) = Network::new(ports[0], started, faults.clone());
    let (_audio, audio_port) = Network::new(ports[1], started, faults);
    let mut sending = sender(&app.pipeline, video, 0, [video_port, audio_port]);
    for (number, at) in restarts.into_iter().enumerate() {
        app.wait_running_time(base + at * SECOND);
        sending.set_state(gst::State::Null).unwrap();
        sending = sender(&app.pipeline, video, number + 1, [video_port, audio_port]);
    }
    app.wait_running_time(base + length * SECOND);
    app.act("stop");
    app.wait_for("stop", 1);
    sending.set_state(gst::State::Null).unwrap();
    app.set_state(gst::State::Null);
    app.assert_no_error();
    println!("{name}: {:?}", app.warnings());

    let kept = app.kept();
    let (from, _) = kept.intervals[0];
    assert!(kept.total() > (length - 3) * SECOND, "{kept:?}");
    let shown = decode::video(&path, 0).unwrap();
    // The frames that are complete despite the losses.
    let reported = shown
        .frames
        .iter()
        .filter_map(|p| Some((p.recorded, p.source? as f64)));
    let reported: Vec<_> = reported
        .map(|(recorded, source)| (recorded + from as f64, source))
        .collect();
    let away: u64 = outages.iter().map(|(from, to)| to - from).sum();
    let expected = (length - away) * 25;
    assert!(
        reported.len() as u64 > expected / 10,
        "{} frames, expected {expected}",
        reported.len()
    );
    // The jitter buffer estimates the network's delay from the fastest packet.
    let mut late: Vec<_> = reported
        .iter()
        .map(|(recorded, source)| recorded - source)
        .collect();
    late.sort_by(f64::total_cmp);
    let usual = late[late.len() / 2];
    assert!(usual.abs() < 0.8e9, "video is {usual} ns late");
    let astray = late
        .iter()
        .filter(|late| (*late - usual).abs() > 0.8e9)
        .count();
    assert!(
        astray * 50 < late.len(),
        "{astray} of {} are elsewhere",
        late.len()
    );
    // Frames exist before, between and after all of these events.
    for second in 0..length.saturating_sub(3) {
        let is_away = outages
            .iter()
            .any(|(from, to)| (*from..to + 3).contains(&second));
        let of_it = |(_, source): &&(f64, f64)| {
            let since = source - base as f64;
            (second as f64 * 1e9..(second + 4) as f64 * 1e9).contains(&since)
        };
        let some = reported.iter().any(|reported| of_it(&reported));
        assert!(
            some || is_away,
            "no frame in second {second} and the three after it"
        );
    }
    let microphone = decode::audio(&path, 0, Some(48_000)).unwrap();
    let end = microphone.blocks.last().map_or(0.0, |block| block.1);
    let pictures_end = shown.frames.last().map_or(0.0, |frame| frame.recorded);
    assert!(
        (end - pictures_end).abs() < 2e9,
        "audio ends at {end}, video at {pictures_end}"
    );
}

const H264: &str = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=12 bitrate=600 option-string=level=LEVEL ! rtph264pay \
                    config-interval=-1";
const DEPAY: &str = "rtph264depay ! h264parse ! video/x-h264,stream-format=avc,alignment=au";

#[test]
fn h264_and_opus_into_mp4() {
    over_the_network("network.mp4", H264, "H264", DEPAY);
}

#[test]
fn h264_and_opus_into_matroska() {
    over_the_network("network.mkv", H264, "H264", DEPAY);
}

#[test]
fn vp8_and_opus_into_webm() {
    let vp8 = "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=12 target-bitrate=600000 ! rtpvp8pay";
    over_the_network("network.webm", vp8, "VP8", "rtpvp8depay");
}
