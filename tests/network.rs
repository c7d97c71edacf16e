//! A real RTP sender over a network that loses, delays and reorders packets, is away for seconds, and whose sender
//! begins anew, with other parameter sets: the recording goes on, and what comes is where it belongs.

mod common;

use common::chance::{Chance, long};
use common::judge::decode;
use common::outer::Outer;
use common::signal::tag;
use gst::prelude::*;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const SECOND: u64 = 1_000_000_000;
/// Packets are delayed by up to so many milliseconds, each by itself, so that they come in another order.
const JITTER: u64 = 300;
/// Of a thousand packets so many are lost.
const LOSS: u64 = 50;

/// When the network is away, from second to second of the test.
type Outages = Vec<(u64, u64)>;

/// How long it goes on, when the network is away, and when the sender begins anew, in seconds.
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

/// Takes packets at one port of this machine and gives those that it does not lose to another.
struct Network {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Network {
    /// From a new port, which is returned, to `to`.
    fn new(to: u16, begun: Instant, outages: Outages) -> (Self, u16) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let to = SocketAddr::from(([127, 0, 0, 1], to));
        socket
            .set_read_timeout(Some(Duration::from_millis(2)))
            .unwrap();
        let stop = Arc::<AtomicBool>::default();
        let stopped = stop.clone();
        let mut chance = Chance::of_now();
        let thread = std::thread::spawn(move || {
            let mut due = BinaryHeap::<Reverse<(Instant, Vec<u8>)>>::new();
            let mut packet = [0; 2048];
            while !stopped.load(Ordering::SeqCst) {
                let now = Instant::now();
                while due.peek().is_some_and(|Reverse((at, _))| *at <= now) {
                    if let Some(Reverse((_, packet))) = due.pop() {
                        let _: std::io::Result<usize> = socket.send_to(&packet, to);
                    }
                }
                let Ok(length) = socket.recv(&mut packet) else {
                    continue;
                };
                let second = begun.elapsed().as_secs();
                let away = outages
                    .iter()
                    .any(|(from, to)| (*from..*to).contains(&second));
                if !away && chance.below(1_000) >= LOSS {
                    let delay = Duration::from_millis(chance.below(JITTER));
                    due.push(Reverse((Instant::now() + delay, packet[..length].to_vec())));
                }
            }
        });
        let thread = Some(thread);
        (Network { stop, thread }, port)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// A sender whose frames carry the running time of `like`: two streams, of an SSRC and stamps of their own. Every other
/// one has other parameter sets.
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

/// A port that nobody uses just now.
fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// What comes at a port: of a sender that begins anew rtpbin makes another pad, which takes the place of the first.
fn receive(outer: &Outer, port: u16, media: &str, depay: &str) -> gst::Pad {
    let source = outer.source(&format!(
        "rtpbin name=rtp{port} latency=400 udpsrc port={port} caps=\"application/x-rtp,{media}\" ! \
         rtp{port}.recv_rtp_sink_0 funnel name=all{port} ! {depay}"
    ));
    let element = |name: &str| outer.pipeline.by_name(&format!("{name}{port}")).unwrap();
    let session: glib::Object = element("rtp").emit_by_name("get-internal-session", &[&0u32]);
    // A sender is believed at its first packet: in such a network two seldom come in order.
    session.set_property("probation", 0u32);
    let all = element("all").downgrade();
    element("rtp").connect_pad_added(move |_, pad| {
        if let (Some(all), gst::PadDirection::Src) = (all.upgrade(), pad.direction()) {
            let sink = all.request_pad_simple("sink_%u").unwrap();
            pad.link(&sink).unwrap();
        }
    });
    source
}

fn over_the_network(name: &str, video: &str, codec: &str, depay: &str) {
    let (length, outages, restarts) = plan();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    let outer = Outer::new("", &path);
    outer.recorder.set_property("autostart", true);
    let ports = [free_port(), free_port()];
    let pictures = receive(
        &outer,
        ports[0],
        &format!("media=video,payload=96,clock-rate=90000,encoding-name={codec}"),
        depay,
    );
    let sound = receive(
        &outer,
        ports[1],
        "media=audio,payload=97,clock-rate=48000,encoding-name=OPUS,\
         sprop-maxcapturerate=(string)48000,sprop-stereo=(string)0",
        "rtpopusdepay",
    );
    pictures.link(&outer.pad("video_%u")).unwrap();
    sound.link(&outer.pad("audio_%u")).unwrap();
    outer.set_state(gst::State::Playing);
    let begun = Instant::now();
    let base = outer.running_time();
    let (_video, video_port) = Network::new(ports[0], begun, outages.clone());
    let (_audio, audio_port) = Network::new(ports[1], begun, outages.clone());
    let mut sending = sender(&outer.pipeline, video, 0, [video_port, audio_port]);
    for (number, at) in restarts.into_iter().enumerate() {
        outer.wait_running(base + at * SECOND);
        sending.set_state(gst::State::Null).unwrap();
        sending = sender(&outer.pipeline, video, number + 1, [video_port, audio_port]);
    }
    outer.wait_running(base + length * SECOND);
    outer.act("stop");
    outer.wait_for("stop", 1);
    sending.set_state(gst::State::Null).unwrap();
    outer.set_state(gst::State::Null);
    assert!(!outer.heard().iter().any(|event| event.name == "error"));
    println!("{name}: {:?}", outer.warnings());

    let kept = outer.kept();
    let (from, _) = kept.intervals[0];
    assert!(kept.total() > (length - 3) * SECOND, "{kept:?}");
    let shown = decode::pictures(&path, 0).unwrap();
    // What the losses have left whole of them.
    let told = shown
        .list
        .iter()
        .filter_map(|p| Some((p.recorded, p.source? as f64)));
    let told: Vec<_> = told
        .map(|(recorded, source)| (recorded + from as f64, source))
        .collect();
    let away: u64 = outages.iter().map(|(from, to)| to - from).sum();
    let due = (length - away) * 25;
    assert!(
        told.len() as u64 > due / 10,
        "{} of {due} pictures",
        told.len()
    );
    // The packet that was least delayed tells the jitter buffer what the network is like.
    let mut late: Vec<_> = told
        .iter()
        .map(|(recorded, source)| recorded - source)
        .collect();
    late.sort_by(f64::total_cmp);
    let usual = late[late.len() / 2];
    assert!(usual.abs() < 0.8e9, "pictures are {usual} ns late");
    let astray = late
        .iter()
        .filter(|late| (*late - usual).abs() > 0.8e9)
        .count();
    assert!(
        astray * 50 < late.len(),
        "{astray} of {} are elsewhere",
        late.len()
    );
    // There are some before, between and behind all that has happened.
    for second in 0..length.saturating_sub(3) {
        let is_away = outages
            .iter()
            .any(|(from, to)| (*from..to + 3).contains(&second));
        let of_it = |(_, source): &&(f64, f64)| {
            let since = source - base as f64;
            (second as f64 * 1e9..(second + 4) as f64 * 1e9).contains(&since)
        };
        let some = told.iter().any(|told| of_it(&told));
        assert!(
            some || is_away,
            "no picture of second {second} and the three after it"
        );
    }
    let sound = decode::sound(&path, 0, Some(48_000)).unwrap();
    let end = sound.blocks.last().map_or(0.0, |block| block.1);
    let pictures_end = shown.list.last().map_or(0.0, |picture| picture.recorded);
    assert!(
        (end - pictures_end).abs() < 2e9,
        "sound ends at {end}, pictures at {pictures_end}"
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
