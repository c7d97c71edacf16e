//! One RTP stream, or all of them, stop for seconds: the other tracks keep recording, and the stream that returns
//! is back in the file on time, both for players that use timestamps and for those that count audio samples.

mod common;

use common::app::{App, DEADLINE, holds_within};
use common::judge::{self, decode, gstreamer, position};
use common::network::{Faults, Network, free_port, receive};
use common::settings::{long, skipped};
use common::signal::{AudioSignal, tag};
use gst::prelude::*;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Instant;

const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

/// A network without other faults: see [`Faults`].
const LOSS: u64 = 5;
const JITTER: u64 = 20;
/// Tolerance of the transport delay, in nanoseconds: after an outage the jitter buffer estimates it again, from an
/// arbitrary packet. That much A/V offset is not noticeable.
const TRANSPORT: f64 = 100e6;

/// An encoder with its payloader, and the depayloader with its parser.
#[derive(Clone, Copy)]
struct Codec {
    send: &'static str,
    receive: &'static str,
}

const H264: Codec = Codec {
    send: "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=12 bitrate=400 ! rtph264pay config-interval=-1 \
           mtu=1200 pt=96",
    receive: "rtph264depay ! h264parse ! video/x-h264,stream-format=avc,alignment=au",
};
const VP8: Codec = Codec {
    send: "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=12 target-bitrate=400000 ! rtpvp8pay mtu=1200 pt=96",
    receive: "rtpvp8depay",
};
const OPUS: Codec = Codec {
    send: "opusenc ! rtpopuspay pt=97",
    receive: "rtpopusdepay ! opusparse",
};
const AAC: Codec = Codec {
    send: "audioconvert ! avenc_aac ! aacparse ! rtpmp4gpay pt=97",
    receive: "rtpmp4gdepay ! aacparse ! audio/mpeg,stream-format=raw",
};

const FORMATS: [(&str, Codec, Codec); 5] = [
    ("mkv", H264, OPUS),
    ("mp4", H264, AAC),
    ("webm", VP8, OPUS),
    ("mp4", H264, OPUS),
    ("mkv", VP8, AAC),
];

/// The streams with an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Away {
    Video,
    Audio,
    All,
}

const PICTURES: &str = "videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 ! \
                        identity name=pictures";
const NOISE: &str = "audiotestsrc is-live=true samplesperbuffer=480 ! \
                     audio/x-raw,format=S16LE,rate=48000,channels=2,layout=interleaved ! identity name=noise";

/// The caps of the packets that `line` sends, without a sender's own fields.
fn packets(line: &str) -> String {
    let line = format!("{line} ! fakesink name=out async=true");
    let pipeline = gst::parse::launch(&line).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let pad = pipeline.by_name("out").unwrap().static_pad("sink").unwrap();
    assert!(
        holds_within(DEADLINE, || pad.current_caps().is_some()),
        "{line}"
    );
    let mut caps = pad.current_caps().unwrap();
    pipeline.set_state(gst::State::Null).unwrap();
    let fields = caps.make_mut().structure_mut(0).unwrap();
    fields.remove_fields(["ssrc", "timestamp-offset", "seqnum-offset"]);
    caps.to_string()
}

/// The sent media carries the running time of `like`.
fn sender(like: &gst::Pipeline, video: Codec, audio: Codec, ports: [u16; 2]) -> gst::Pipeline {
    let sink = |port| format!("udpsink host=127.0.0.1 port={port} sync=false async=false");
    let line = format!(
        "{PICTURES} ! {} ! {} {NOISE} ! {} ! {}",
        video.send,
        sink(ports[0]),
        audio.send,
        sink(ports[1])
    );
    let pipeline = gst::parse::launch(&line).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let pad = |name| pipeline.by_name(name).unwrap().static_pad("src").unwrap();
    tag::video(&pad("pictures"));
    tag::audio(&pad("noise"), AudioSignal::Noise, 48_000);
    pipeline.use_clock(like.clock().as_ref());
    pipeline.set_start_time(gst::ClockTime::NONE);
    pipeline.set_base_time(like.base_time().unwrap());
    pipeline.set_state(gst::State::Playing).unwrap();
    pipeline
}

/// A recording, and its input, in running time.
struct Recording {
    path: PathBuf,
    /// The file shortly before the end of the outage.
    meanwhile: PathBuf,
    begun: u64,
    away: Range<u64>,
    end: u64,
    filled: [u64; 2],
    warnings: Vec<String>,
    _folder: tempfile::TempDir,
}

fn filled(outer: &App) -> [u64; 2] {
    let stats = outer.recorder.property::<gst::Structure>("stats");
    let tracks = stats.get::<gst::Array>("tracks").unwrap();
    ["video_0", "audio_0"].map(|pad| {
        let mut tracks = tracks
            .iter()
            .map(|track| track.get::<gst::Structure>().unwrap());
        let track = tracks.find(|track| track.get::<&str>("pad") == Ok(pad));
        track.unwrap().get("filled").unwrap()
    })
}

fn record(format: (&str, Codec, Codec), who: Away, seconds: u64) -> Recording {
    let (extension, video, audio) = format;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("outage.{extension}"));
    let meanwhile = folder.path().join(format!("meanwhile.{extension}"));
    let outer = App::new("", &path);
    let ports = [free_port(), free_port()];
    let pads = [
        (ports[0], PICTURES, video, "video_%u"),
        (ports[1], NOISE, audio, "audio_%u"),
    ];
    let come = pads.map(|(port, line, codec, template)| {
        let caps = packets(&format!("{line} ! {}", codec.send));
        let pad = receive(&outer, port, &caps, codec.receive);
        pad.link(&outer.pad(template)).unwrap();
        pad
    });
    outer.set_state(gst::State::Playing);
    let faults = Faults {
        loss: LOSS,
        jitter: JITTER,
        away: Vec::new(),
    };
    let network = |port| Network::new(port, Instant::now(), faults.clone());
    let (pictures, video_port) = network(ports[0]);
    let (sound, audio_port) = network(ports[1]);
    let sending = sender(&outer.pipeline, video, audio, [video_port, audio_port]);
    let flows = || come.iter().all(|pad| pad.current_caps().is_some());
    assert!(holds_within(DEADLINE, flows), "packets come");
    let (_, started) = outer.act("start");
    let away = started + 3 * SECOND..started + (3 + seconds) * SECOND;
    let end = away.end + 4 * SECOND;
    let set_down = |down| {
        [(Away::Audio, &pictures), (Away::Video, &sound)]
            .iter()
            .filter(|(other, _)| who != *other)
            .for_each(|(_, network)| network.set_down(down));
    };
    outer.wait_running_time(away.start);
    set_down(true);
    outer.wait_running_time(away.end - 100 * MILLI);
    std::fs::copy(&path, &meanwhile).unwrap();
    outer.wait_running_time(away.end);
    set_down(false);
    outer.wait_running_time(end);
    outer.act("stop");
    outer.wait_for("stop", 1);
    let filled = filled(&outer);
    sending.set_state(gst::State::Null).unwrap();
    outer.set_state(gst::State::Null);
    let (begun, _) = outer.kept().intervals[0];
    Recording {
        path,
        meanwhile,
        begun,
        away,
        end,
        filled,
        warnings: outer.warnings(),
        _folder: folder,
    }
}

/// The delay of each of these, by its running time in the file: equal before and after the outage, and with media
/// in each second outside of it.
fn assert_on_time(what: &str, recording: &Recording, was_away: bool, list: &[(f64, f64)]) -> f64 {
    let late = |span: Range<u64>| {
        let within = list
            .iter()
            .filter(|(_, source)| (span.start as f64..span.end as f64).contains(source));
        let mut late: Vec<_> = within
            .map(|(recorded, source)| recorded + recording.begun as f64 - source)
            .collect();
        late.sort_by(f64::total_cmp);
        late
    };
    let away = &recording.away;
    let before = late(recording.begun..away.start);
    let usual = before[before.len() / 2];
    let others = late(away.start..recording.end);
    // A busy machine may occasionally send late.
    for late in [&before, &others] {
        let is_astray = |late: &&f64| (*late - usual).abs() > TRANSPORT;
        let astray = late.iter().filter(is_astray).count();
        assert!(
            astray * 50 <= late.len(),
            "{what}: {astray} of {} are not {usual} late, such as {:?} and {:?}",
            late.len(),
            late.first(),
            late.last()
        );
    }
    let mut second = recording.begun + SECOND;
    while second + 2 * SECOND < recording.end {
        // After it, a keyframe has to arrive first, or the jitter buffer has to accept a sender.
        let is_away = was_away
            && (away.start.saturating_sub(2 * SECOND)..away.end + SECOND).contains(&second);
        let some = !late(second..second + 2 * SECOND).is_empty();
        assert!(
            some || is_away,
            "{what}: no media of {second}; outage: {away:?}",
        );
        second += SECOND;
    }
    usual
}

/// All media of the other streams is in the file, except for what may be queued, and the current fragment.
fn assert_others_go_on(what: &str, recording: &Recording, who: Away) {
    const PATIENCE: u64 = 2 * SECOND;
    const OPEN: u64 = 2 * SECOND;
    let reached = match who {
        Away::Video => {
            let sound = decode::audio(&recording.meanwhile, 0, None).unwrap();
            sound.blocks.last().unwrap().1
        }
        _ => {
            let pictures = decode::video(&recording.meanwhile, 0).unwrap();
            pictures.frames.last().unwrap().recorded
        }
    };
    let least = (recording.away.end - recording.begun).saturating_sub(PATIENCE + OPEN);
    assert!(
        reached >= least as f64,
        "{what}: the others are written up to {reached}, expected {least}"
    );
}

fn judge(what: &str, recording: &Recording, who: Away, seconds: u64) {
    assert_eq!(recording.warnings, Vec::<String>::new(), "{what}");
    let path = &recording.path;
    let pictures = [
        ("ffmpeg", decode::video(path, 0).unwrap()),
        ("gstreamer", gstreamer::video(path, 320, 240).unwrap()),
    ];
    let sounds = [
        ("ffmpeg", decode::audio(path, 0, Some(48_000)).unwrap()),
        ("gstreamer", gstreamer::audio(path).unwrap()),
    ];
    for ((judge, pictures), (_, sound)) in pictures.iter().zip(&sounds) {
        let what = format!("{what}, {judge}");
        // The frames that are complete despite the losses.
        let told = pictures.frames.iter();
        let told = told.filter_map(|picture| Some((picture.recorded, picture.source? as f64)));
        let mut told: Vec<_> = told.collect();
        told.dedup_by_key(|(_, source)| *source);
        let seen = assert_on_time(&what, recording, who != Away::Audio, &told);
        // The jitter buffer occasionally corrects its clock by less.
        let holes = sound.holes(TRANSPORT + 10e6);
        assert!(holes.is_empty(), "{what}: {holes:?}");
        let (first, last) = (sound.blocks[0], sound.blocks[sound.blocks.len() - 1]);
        let counted = first.1 + (last.0 - first.0) as f64 * 1e9 / f64::from(sound.rate);
        assert!(
            (last.1 - counted).abs() < TRANSPORT,
            "{what}: who counts samples is at {counted} at {}",
            last.1
        );
        let places = position::find(sound, recording.end as f64).unwrap();
        let heard = places.iter();
        let heard = heard.filter_map(|place| Some((place.recorded, place.source?)));
        let heard = assert_on_time(
            &what,
            recording,
            who != Away::Video,
            &heard.collect::<Vec<_>>(),
        );
        // Each is synchronised by its own packets.
        assert!(
            (heard - seen).abs() < 100e6,
            "{what}: {seen} and {heard} late"
        );
    }
    if who != Away::All {
        assert_others_go_on(what, recording, who);
    }
    let away = seconds * SECOND;
    let silent: &[usize] = match who {
        Away::Video => &[0],
        Away::Audio => &[1],
        Away::All => &[],
    };
    for track in silent {
        let filled = recording.filled[*track];
        assert!(
            filled.abs_diff(away) < SECOND,
            "{what}: {filled} ns were filled"
        );
        assert_others_go_on(what, recording, who);
    }
}

fn outages(formats: &[((&str, Codec, Codec), Away)], seconds: u64) {
    common::app::init();
    std::thread::scope(|scope| {
        let running = formats.iter().map(|(format, who)| {
            let (extension, video, audio) = format;
            let name = |codec: &Codec| codec.send.split(" ! ").last().unwrap().split(' ').next();
            let what = format!(
                "{extension}, {:?} and {:?}, outage of {who:?} for {seconds} s",
                name(video),
                name(audio)
            );
            let made = scope.spawn(|| (*who, record(*format, *who, seconds)));
            (what, made)
        });
        let running = running.collect::<Vec<_>>().into_iter();
        let recorded = running.map(|(what, made)| (what, made.join().unwrap()));
        judge::each(&recorded.collect::<Vec<_>>(), |what, (who, recording)| {
            judge(what, recording, *who, seconds);
        });
    });
}

#[test]
fn streams_return_on_time_after_an_outage_of_3_s() {
    let some = [
        (FORMATS[0], Away::Video),
        (FORMATS[1], Away::Audio),
        (FORMATS[2], Away::All),
    ];
    outages(&some, 3);
}

fn all(seconds: u64) {
    if !long() {
        return skipped(&format!("RTP outages of {seconds} s"));
    }
    let ways = [Away::Video, Away::Audio, Away::All];
    // Each kind of outage with all formats in parallel: more senders would be late themselves.
    for who in ways {
        outages(&FORMATS.map(|format| (format, who)), seconds);
    }
}

#[test]
fn streams_return_on_time_after_an_outage_of_12_s() {
    all(12);
}

#[test]
fn streams_return_on_time_after_an_outage_of_60_s() {
    all(60);
}
