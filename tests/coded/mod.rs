//! Encoded test signals, made in advance and pushed to a recorder buffer by buffer, and the packets expected in a
//! recording.
#![allow(dead_code, reason = "each test binary uses a part of this")]

pub mod arrivals;
pub mod drive;

use crate::common::app::{App, init};
use crate::common::harness::{PushTrack, media};
use crate::common::judge::kept::Kept;
use crate::common::signal::{AudioSignal, tag};
use gst::prelude::*;
use std::collections::VecDeque;
use std::path::Path;
use std::process::Command;

pub const SECOND: u64 = 1_000_000_000;
pub const MILLI: u64 = 1_000_000;
/// Start of the streams: far enough from 0 for the decode times of B-frames.
pub const ORIGIN: u64 = 10 * SECOND;
pub const SMALL: &str = "video/x-raw,format=I420,width=320,height=240,framerate=30/1";
pub const STEREO: &str = "audio/x-raw,format=S16LE,rate=48000,channels=2,layout=interleaved";

/// An encoded stream.
#[derive(Clone)]
pub struct Coded {
    pub caps: gst::Caps,
    /// In decode order, with running times.
    pub buffers: Vec<gst::Buffer>,
}

/// All that reaches the appsink `out` of a playing pipeline, which is shut down.
pub fn output(pipeline: &gst::Pipeline) -> Coded {
    let sink = pipeline.by_name("out").unwrap();
    let sink = sink.downcast::<gst_app::AppSink>().unwrap();
    let mut coded = Coded {
        caps: gst::Caps::new_empty(),
        buffers: Vec::new(),
    };
    while let Ok(sample) = sink.pull_sample() {
        coded.caps = sample.caps_owned().unwrap();
        coded.buffers.push(sample.buffer_owned().unwrap());
    }
    pipeline.set_state(gst::State::Null).unwrap();
    coded
}

/// Encodes tagged raw media with `encoder` (as in gst-launch, ending in caps).
fn encode(source: &str, encoder: &str, tag: impl Fn(&gst::Pad)) -> Coded {
    init();
    let line = format!("{source} ! identity name=raw ! {encoder} ! appsink name=out sync=false");
    let pipeline = gst::parse::launch(&line).unwrap_or_else(|e| panic!("{line}: {e}"));
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let raw = pipeline.by_name("raw").unwrap();
    tag(&raw.static_pad("src").unwrap());
    let sink = pipeline.by_name("out").unwrap();
    let sink = sink.downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let mut coded = Coded {
        caps: gst::Caps::new_empty(),
        buffers: Vec::new(),
    };
    while let Ok(sample) = sink.pull_sample() {
        coded.caps = sample.caps_owned().expect("caps");
        let segment = sample.segment().and_then(|s| {
            let segment = s.downcast_ref::<gst::ClockTime>();
            segment.cloned()
        });
        let segment = segment.expect("a segment in time");
        let mut buffer = sample.buffer_owned().expect("a buffer");
        let fields = buffer.make_mut();
        let place = |stamp: Option<gst::ClockTime>| {
            use gst::Signed::{Negative, Positive};
            let placed = match segment.to_running_time_full(stamp?)? {
                Positive(after) => ORIGIN + after.nseconds(),
                Negative(before) => ORIGIN - before.nseconds(),
            };
            Some(gst::ClockTime::from_nseconds(placed))
        };
        fields.set_pts(place(fields.pts()));
        fields.set_dts(place(fields.dts()));
        coded.buffers.push(buffer);
    }
    pipeline.set_state(gst::State::Null).unwrap();
    assert!(!coded.buffers.is_empty(), "no output of {line}");
    coded
}

/// `frames` frames at 30 per second.
pub fn video(encoder: &str, frames: u32) -> Coded {
    let source = format!("videotestsrc num-buffers={frames} ! {SMALL}");
    encode(&source, encoder, |pad| {
        tag::video(pad);
    })
}

/// `length` tenths of a second of noise.
pub fn audio(encoder: &str, length: u32) -> Coded {
    let source = format!(
        "audiotestsrc samplesperbuffer=480 num-buffers={} ! {STEREO}",
        length * 10
    );
    encode(&source, encoder, |pad| {
        tag::audio(pad, AudioSignal::Noise, 48_000);
    })
}

/// Natural frames, in which an encoder can find earlier content again.
pub fn plain(source: &str, encoder: &str) -> Coded {
    encode(&format!("{source} ! {SMALL}"), encoder, |_| {})
}

/// Flags of a buffer at which decoding cannot start.
pub fn is_key(buffer: &gst::BufferRef) -> bool {
    !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT)
}

fn is_header(buffer: &gst::BufferRef, caps: &gst::Caps) -> bool {
    let name = caps.structure(0).unwrap().name();
    let packets = [
        "audio/x-vorbis",
        "audio/x-flac",
        "audio/x-opus",
        "video/x-theora",
    ];
    packets.contains(&name.as_str()) && buffer.flags().contains(gst::BufferFlags::HEADER)
}

/// A stream that is pushed into a recorder.
pub struct Playing {
    pub feed: PushTrack,
    caps: gst::Caps,
    rest: VecDeque<gst::Buffer>,
    pub all: Vec<gst::Buffer>,
}

impl Playing {
    pub fn new(app: &App, template: &str, coded: Coded) -> Self {
        Playing {
            feed: PushTrack::of_caps(&app.recorder, template, coded.caps.clone()),
            caps: coded.caps,
            rest: coded.buffers.iter().cloned().collect(),
            all: coded.buffers,
        }
    }

    /// Pushes the buffers before `time` after the origin.
    pub fn push_until(&mut self, time: u64) {
        while let Some(buffer) = self.rest.front() {
            // In decode order, so by decode time.
            let stamp = buffer.dts().or(buffer.pts()).map_or(0, |t| t.nseconds());
            if stamp >= ORIGIN + time {
                break;
            }
            self.feed.push(self.rest.pop_front().expect("a first one"));
        }
    }

    /// What a recording of `kept` should contain, in decode order: recorded time and source buffer.
    pub fn due(&self, kept: &Kept) -> Vec<(u64, gst::Buffer)> {
        let audio = self.caps.structure(0).unwrap().name().starts_with("audio/");
        let mut due = Vec::new();
        for (number, (from, to)) in kept.intervals.iter().enumerate() {
            let mut key = audio.then_some(*from);
            for buffer in &self.all {
                if is_header(buffer, &self.caps) {
                    continue;
                }
                let Some(pts) = buffer.pts().map(|pts| pts.nseconds()) else {
                    continue;
                };
                if key.is_none() && is_key(buffer) && pts >= *from {
                    key = Some(pts);
                }
                if key.is_some() && pts >= *to {
                    // Later frames may refer to it.
                    break;
                }
                if key.is_some_and(|key| pts >= key) {
                    due.push((kept.interval_start(number) + (pts - from), buffer.clone()));
                }
            }
        }
        due
    }
}

/// Pushes the buffers before `time` after the origin on all of them, interleaved, and waits until they are taken.
pub fn play_until(streams: &mut [&mut Playing], from: u64, time: u64) {
    let mut now = from;
    while now < time {
        now = (now + SECOND / 30).min(time);
        for stream in streams.iter_mut() {
            stream.push_until(now);
        }
        for stream in streams.iter() {
            stream.feed.wait_taken();
        }
    }
}

/// A packet of a recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Packet {
    /// Nanoseconds.
    pub pts: f64,
    pub dts: Option<f64>,
    pub key: bool,
    pub md5: String,
}

/// The packets of one stream, as read by ffprobe.
pub fn packets(file: &Path, stream: &str) -> Vec<Packet> {
    let (json, _) = media::run(
        Command::new("ffprobe")
            .args(["-v", "error", "-of", "json", "-show_packets"])
            .args(["-show_data_hash", "md5", "-select_streams", stream])
            .arg(file),
    );
    let json: serde_json::Value = serde_json::from_slice(&json).expect("ffprobe writes JSON");
    let list = json["packets"].as_array().cloned().unwrap_or_default();
    list.iter()
        .map(|packet| {
            let time = |name: &str| {
                let text = packet[name].as_str()?;
                Some(text.parse::<f64>().ok()? * 1e9)
            };
            Packet {
                pts: time("pts_time").unwrap_or(f64::NAN),
                dts: time("dts_time"),
                key: packet["flags"].as_str().is_some_and(|f| f.starts_with('K')),
                md5: packet["data_hash"]
                    .as_str()
                    .and_then(|hash| hash.strip_prefix("MD5:"))
                    .unwrap_or_default()
                    .to_owned(),
            }
        })
        .collect()
}

pub fn md5(bytes: &[u8]) -> String {
    glib::compute_checksum_for_data(glib::ChecksumType::Md5, bytes)
        .expect("GLib knows MD5")
        .to_string()
}

/// The part of a buffer that is payload in a container.
pub type Payload = fn(&[u8]) -> Vec<u8>;

/// All of it.
pub fn whole(bytes: &[u8]) -> Vec<u8> {
    bytes.to_vec()
}

/// The NAL units of a byte stream.
pub fn units(bytes: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<usize> = (0..bytes.len().saturating_sub(3))
        .filter(|at| bytes[*at..].starts_with(&[0, 0, 1]))
        .collect();
    let unit = |(number, start): (usize, &usize)| {
        let end = starts.get(number + 1).copied().unwrap_or(bytes.len());
        let mut unit = &bytes[start + 3..end];
        while let [shorter @ .., 0] = unit {
            unit = shorter;
        }
        unit
    };
    starts.iter().enumerate().map(unit).collect()
}

/// Frames of a byte stream as buffers of one NAL unit each, all with their frame's timestamps.
pub fn in_units(frames: &[gst::Buffer]) -> Vec<gst::Buffer> {
    let split = |frame: &gst::Buffer| -> Vec<gst::Buffer> {
        let map = frame.map_readable().unwrap();
        let buffer = |unit: &[u8]| {
            let mut buffer = gst::Buffer::from_mut_slice([&[0, 0, 0, 1], unit].concat());
            let fields = buffer.get_mut().unwrap();
            fields.set_pts(frame.pts());
            fields.set_dts(frame.dts());
            buffer
        };
        units(&map).into_iter().map(buffer).collect()
    };
    frames.iter().flat_map(split).collect()
}

fn is_avc_header(first: u8) -> bool {
    matches!(first & 0x1f, 7..=9)
}

fn is_hvc_header(first: u8) -> bool {
    matches!(first >> 1 & 0x3f, 32..=35)
}

fn bytes_without(bytes: &[u8], dropped: fn(u8) -> bool) -> Vec<u8> {
    let kept = units(bytes).into_iter().filter(|unit| !dropped(unit[0]));
    kept.flat_map(|unit| [&[0, 0, 0, 1], unit].concat())
        .collect()
}

/// NAL units as a byte stream.
pub fn with_start_codes(units: &[&[u8]]) -> Vec<u8> {
    let unit = |unit: &&[u8]| [&[0, 0, 0, 1], *unit].concat();
    units.iter().flat_map(unit).collect()
}

/// An H.264 byte stream without parameter sets and access unit delimiters.
pub fn avc_headers(bytes: &[u8]) -> Vec<u8> {
    bytes_without(bytes, is_avc_header)
}

/// An H.265 byte stream without parameter sets and access unit delimiters.
pub fn hvc_headers(bytes: &[u8]) -> Vec<u8> {
    bytes_without(bytes, is_hvc_header)
}

/// An H.264 frame with length prefixes, without parameter sets and access unit delimiters.
pub fn avc_headers_with_lengths(bytes: &[u8]) -> Vec<u8> {
    let mut rest = bytes;
    let mut kept = Vec::new();
    while let Some((length, _)) = rest.split_first_chunk() {
        let (unit, after) = rest.split_at(4 + u32::from_be_bytes(*length) as usize);
        if !is_avc_header(unit[4]) {
            kept.extend_from_slice(unit);
        }
        rest = after;
    }
    kept
}

/// The NAL units of a byte stream with length prefixes, as in `avc1` and `hvc1`.
pub fn with_lengths(bytes: &[u8]) -> Vec<u8> {
    let units = units(bytes).into_iter();
    units
        .flat_map(|unit| [&(unit.len() as u32).to_be_bytes(), unit].concat())
        .collect()
}

/// AAC without its ADTS header.
pub fn without_adts(bytes: &[u8]) -> Vec<u8> {
    assert!(
        bytes.len() > 7 && bytes[0] == 0xff && bytes[1] & 0xf6 == 0xf0,
        "not ADTS"
    );
    let header = if bytes[1] & 1 == 1 { 7 } else { 9 };
    bytes[header..].to_vec()
}

/// ffprobe's name of a stream's codec.
pub fn codec(file: &Path, stream: &str) -> String {
    let (name, _) = media::run(
        Command::new("ffprobe")
            .args(["-v", "error", "-of", "csv=p=0", "-select_streams", stream])
            .args(["-show_entries", "stream=codec_name"])
            .arg(file),
    );
    String::from_utf8_lossy(&name).trim().to_owned()
}

/// Verifies that the packets of a recording are those of the source, each at its time.
pub fn assert_copied(file: &Path, stream: &str, due: &[(u64, gst::Buffer)], payload: Payload) {
    let found = packets(file, stream);
    // A decoder drops the pre-skip in the first packet of Opus, and a packet of Vorbis; in Ogg all timestamps are
    // relative to that.
    let ogg = file
        .extension()
        .is_some_and(|e| e.to_string_lossy().starts_with("og"));
    let codec = codec(file, stream);
    let sums: Vec<String> = due
        .iter()
        .map(|(_, buffer)| md5(&payload(&buffer.map_readable().unwrap())))
        .collect();
    for (number, ((recorded, source), sum)) in due.iter().zip(&sums).enumerate() {
        let Some(packet) = found.get(number) else {
            panic!("{stream}: {} packets, expected {}", found.len(), due.len());
        };
        assert_eq!(
            &packet.md5,
            sum,
            "{stream}: packet {number} at {} is not the one of {:?} ({} found, {} expected); the next: {:?}",
            packet.pts,
            source.pts(),
            found.len(),
            due.len(),
            &found[number..found.len().min(number + 3)]
        );
        let distance = packet.pts - *recorded as f64;
        let tolerance = match codec.as_str() {
            "opus" if ogg || number == 0 => 7.6e6,
            "vorbis" if ogg => 22.4e6,
            _ => 1.1e6,
        };
        assert!(
            distance.abs() < tolerance,
            "{stream}: packet {number} is at {}, expected at {recorded}",
            packet.pts
        );
    }
    assert_eq!(
        found.len(),
        due.len(),
        "{stream}: more than expected: {:?}",
        &found[due.len()..]
    );
    let dts: Vec<f64> = found.iter().filter_map(|packet| packet.dts).collect();
    assert!(
        dts.windows(2).all(|pair| pair[0] < pair[1]),
        "{stream}: decode times go back: {dts:?}"
    );
}
