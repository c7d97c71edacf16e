//! A real RTP sender over a network that loses packets; one stream, or all of them, stop for seconds. The others are
//! recorded meanwhile, and each packet that the jitter buffer delivers is in the file at the time that it says, for players
//! that follow timestamps and for those that count audio samples.

mod coded;
mod common;

use coded::arrivals::{Arrivals, Copied, copied};

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

/// Faults of an otherwise good network: see [`Faults`].
const LOSS: u64 = 5;
const JITTER: u64 = 20;

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

/// Which streams stop.
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

/// The caps of the packets that `line` sends, without the fields that differ from sender to sender.
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

/// A sender of frames and audio that carry the running time of `like`.
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

/// A recording, and what its pads received, in running time.
struct Recording {
    path: PathBuf,
    /// A copy from shortly before the end of the outage, and what should be in it of each track.
    meanwhile: PathBuf,
    reached: [u64; 2],
    /// When `start` had returned, and the recorded interval.
    started: u64,
    begun: u64,
    stopped: u64,
    away: Range<u64>,
    end: u64,
    arrivals: [Arrivals; 2],
    filled: [u64; 2],
    warnings: Vec<String>,
    _folder: tempfile::TempDir,
}

fn filled(app: &App) -> [u64; 2] {
    let stats = app.recorder.property::<gst::Structure>("stats");
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
    let app = App::new("", &path);
    let ports = [free_port(), free_port()];
    let pads = [
        (ports[0], PICTURES, video, "video_%u"),
        (ports[1], NOISE, audio, "audio_%u"),
    ];
    let come = pads.map(|(port, line, codec, template)| {
        let caps = packets(&format!("{line} ! {}", codec.send));
        let pad = receive(&app, port, &caps, codec.receive);
        pad.link(&app.pad(template)).unwrap();
        pad
    });
    let arrivals = come.each_ref();
    let arrivals = arrivals.map(|pad| Arrivals::of(pad, &app.pipeline));
    app.set_state(gst::State::Playing);
    let faults = Faults {
        loss: LOSS,
        jitter: JITTER,
        away: Vec::new(),
    };
    let network = |port| Network::new(port, Instant::now(), faults.clone());
    let (frames, video_port) = network(ports[0]);
    let (packets, audio_port) = network(ports[1]);
    let sending = sender(&app.pipeline, video, audio, [video_port, audio_port]);
    let flows = || come.iter().all(|pad| pad.current_caps().is_some());
    assert!(holds_within(DEADLINE, flows), "packets come");
    let (_, started) = app.act("start");
    let away = started + 3 * SECOND..started + (3 + seconds) * SECOND;
    let end = away.end + 4 * SECOND;
    let set_down = |down| {
        [(Away::Audio, &frames), (Away::Video, &packets)]
            .iter()
            .filter(|(other, _)| who != *other)
            .for_each(|(_, network)| network.set_down(down));
    };
    app.wait_running_time(away.start);
    set_down(true);
    app.wait_running_time(away.end - 100 * MILLI);
    let now = app.running_time();
    std::fs::copy(&path, &meanwhile).unwrap();
    let reached = arrivals.each_ref().map(|arrivals| arrivals.reached(now));
    app.wait_running_time(away.end);
    set_down(false);
    app.wait_running_time(end);
    app.act("stop");
    app.wait_for("stop", 1);
    let filled = filled(&app);
    sending.set_state(gst::State::Null).unwrap();
    app.set_state(gst::State::Null);
    let (begun, stopped) = app.kept().intervals[0];
    Recording {
        path,
        meanwhile,
        reached,
        started,
        begun,
        stopped,
        away,
        end,
        arrivals,
        filled,
        warnings: app.warnings(),
        _folder: folder,
    }
}

/// Judges what a player shows: `list` has recorded and source times. It goes forward, and has something from each second
/// in which the stream did not stop.
fn assert_continues(what: &str, recording: &Recording, was_away: bool, list: &[(f64, f64)]) {
    let back = list.windows(2).find(|pair| pair[1].1 < pair[0].1);
    assert!(back.is_none(), "{what}: goes back at {back:?}");
    let away = &recording.away;
    let mut second = recording.begun + SECOND;
    while second + 2 * SECOND < recording.end {
        let span = second as f64..(second + 2 * SECOND) as f64;
        // After an outage the jitter buffer starts anew, and a keyframe comes first.
        let is_away = was_away
            && (away.start.saturating_sub(2 * SECOND)..away.end + SECOND).contains(&second);
        let some = list.iter().any(|(_, source)| span.contains(source));
        assert!(
            some || is_away,
            "{what}: nothing of {second}, away {away:?}"
        );
        second += SECOND;
    }
}

/// Judges that the other tracks are in the file meanwhile, except for what may wait, and an incomplete fragment.
fn assert_others_go_on(what: &str, recording: &Recording, who: Away) {
    const PATIENCE: u64 = 2 * SECOND;
    const OPEN: u64 = 2 * SECOND;
    let (reached, arrived) = match who {
        Away::Video => {
            let audio = decode::audio(&recording.meanwhile, 0, None).unwrap();
            (audio.blocks.last().unwrap().1, recording.reached[1])
        }
        _ => {
            let frames = decode::video(&recording.meanwhile, 0).unwrap();
            let last = frames.frames.last().unwrap().recorded;
            (last, recording.reached[0])
        }
    };
    let least = (arrived - recording.begun).saturating_sub(PATIENCE + OPEN);
    assert!(
        reached >= least as f64,
        "{what}: the others are written up to {reached}, expected {least}"
    );
}

/// Judges the pictures that a player shows of these packets.
fn judge_pictures(
    what: &str,
    recording: &Recording,
    who: Away,
    packets: &Copied,
    frames: &decode::DecodedVideo,
) {
    // Losses have left some of them unreadable.
    let readable = frames.frames.iter();
    let readable = readable.filter_map(|picture| Some((picture.recorded, picture.source? as f64)));
    let mut readable: Vec<_> = readable.collect();
    readable.dedup_by_key(|(_, source)| *source);
    for (recorded, source) in &readable {
        let mut times = packets.packets.iter().map(|packet| packet.pts);
        assert!(
            times.any(|pts| (pts - recorded).abs() < 3e6),
            "{what}: {source} is shown at {recorded}, where there is no packet"
        );
    }
    assert_continues(what, recording, who != Away::Audio, &readable);
}

/// Judges the audio that a player plays of these packets.
fn judge_sound(
    what: &str,
    recording: &Recording,
    who: Away,
    packets: &Copied,
    audio: &decode::DecodedAudio,
) {
    let (first, last) = (audio.blocks[0], audio.blocks[audio.blocks.len() - 1]);
    let counted = first.1 + (last.0 - first.0) as f64 * 1e9 / f64::from(audio.rate);
    // Upstream's timestamps may drift from its samples; the recorder must not add to that.
    let added = last.1 - counted - packets.drift as f64;
    assert!(
        added.abs() < 60e6,
        "{what}: by its samples, audio is {added} ns off at {} (upstream: {})",
        last.1,
        packets.drift
    );
    let places = position::find(audio, recording.end as f64).unwrap();
    let heard = places.iter();
    let heard = heard.filter_map(|place| Some((place.recorded, place.source?)));
    let heard: Vec<_> = heard.collect();
    assert_continues(what, recording, who != Away::Video, &heard);
}

fn judge(what: &str, recording: &Recording, who: Away) {
    assert_eq!(recording.warnings, Vec::<String>::new(), "{what}");
    let path = &recording.path;
    let interval = (recording.begun, recording.stopped);
    let packets = [("v:0", true), ("a:0", false)];
    let packets = packets.map(|(stream, is_video)| {
        let due = recording.arrivals[usize::from(!is_video)].due(is_video, interval);
        copied(path, stream, &due, (recording.started, recording.begun))
            .unwrap_or_else(|err| panic!("{what}, {interval:?}: {err}"))
    });
    let silence: usize = packets[1].silence.iter().sum();
    println!(
        "{what}: audio drifts by {} ms upstream, {silence} packets of silence",
        packets[1].drift / 1_000_000
    );
    let frames = [
        ("ffmpeg", decode::video(path, 0).unwrap()),
        ("gstreamer", gstreamer::video(path, 320, 240).unwrap()),
    ];
    let sounds = [
        ("ffmpeg", decode::audio(path, 0, Some(48_000)).unwrap()),
        ("gstreamer", gstreamer::audio(path).unwrap()),
    ];
    for ((judge, frames), (_, audio)) in frames.iter().zip(&sounds) {
        let what = format!("{what}, {judge}");
        judge_pictures(&what, recording, who, &packets[0], frames);
        judge_sound(&what, recording, who, &packets[1], audio);
    }
    let silent = match who {
        Away::Video => 0,
        Away::Audio => 1,
        Away::All => return,
    };
    let (filled, gap) = (recording.filled[silent], packets[silent].largest_gap);
    assert!(
        filled.abs_diff(gap) < SECOND / 2,
        "{what}: {filled} ns were filled, {gap} were missing"
    );
    assert_others_go_on(what, recording, who);
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
            judge(what, recording, *who);
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
    // All formats at once: with more senders, each would be late.
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
