//! Recordings of hand-made input: buffers are pushed from the test's own thread, and verified afterwards.
#![allow(dead_code, reason = "each test binary uses a part of this")]

use crate::common::app::App;
use crate::common::judge::{decode, file, samples};
use crate::common::signal::{counted, frame, noise};
use gst::prelude::*;
use gst_audio::{AudioFormat, AudioInfo};
use gst_video::{VideoFormat, VideoInfo};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

pub const SECOND: u64 = 1_000_000_000;
pub const MILLI: u64 = 1_000_000;
/// One frame of the video here, 25 per second.
pub const FRAME: u64 = 40 * MILLI;

/// Lossless audio in WAV.
pub const WAV: &str = "audio/wav";
/// Lossless audio and video.
pub const BOTH: &str = "video/x-matroska;codecs=\"vp8,pcm\"";
/// Video only.
pub const PICTURES: &str = "video/x-matroska;codecs=vp8";

/// S16LE stereo, as numbered samples require.
pub fn stereo(rate: u32) -> AudioInfo {
    crate::common::app::init();
    AudioInfo::builder(AudioFormat::S16le, rate, 2)
        .build()
        .unwrap()
}

/// 160x120 I420 at 25 frames per second.
pub fn small() -> VideoInfo {
    size(160, 120)
}

pub fn size(width: u32, height: u32) -> VideoInfo {
    crate::common::app::init();
    VideoInfo::builder(VideoFormat::I420, width, height)
        .fps(gst::Fraction::new(25, 1))
        .build()
        .unwrap()
}

/// A source pad controlled by the test.
pub struct Source {
    pub pad: gst::Pad,
}

impl Source {
    /// Linked to `peer`; stream-start, caps and segment are sent. Live with this latency, or not live.
    pub fn new(peer: &gst::Pad, caps: &gst::Caps, live: Option<u64>) -> Self {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let pad = gst::Pad::builder(gst::PadDirection::Src)
            .name(format!("source_{serial}"))
            .query_function(move |pad, parent, query| {
                if let gst::QueryViewMut::Latency(latency) = query.view_mut() {
                    let least = gst::ClockTime::from_nseconds(live.unwrap_or(0));
                    latency.set(live.is_some(), least, gst::ClockTime::NONE);
                    return true;
                }
                gst::Pad::query_default(pad, parent, query)
            })
            .build();
        pad.set_active(true).expect("a free pad activates");
        pad.link(peer).expect("the recorder accepts the link");
        let source = Source { pad };
        source.event(gst::event::StreamStart::new(&format!("source/{serial}")));
        source.caps(caps);
        source.segment(&gst::FormattedSegment::new());
        source
    }

    pub fn event(&self, event: gst::Event) -> bool {
        self.pad.push_event(event)
    }

    pub fn caps(&self, caps: &gst::Caps) {
        assert!(self.event(gst::event::Caps::new(caps)), "{caps}");
    }

    pub fn segment(&self, segment: &gst::FormattedSegment<gst::ClockTime>) {
        assert!(self.event(gst::event::Segment::new(segment)));
    }

    pub fn gap(&self, from: u64, length: u64) {
        let gap = gst::event::Gap::builder(gst::ClockTime::from_nseconds(from))
            .duration(gst::ClockTime::from_nseconds(length))
            .build();
        assert!(self.event(gap));
    }

    #[track_caller]
    pub fn push(&self, buffer: gst::Buffer) {
        self.pad
            .push(buffer)
            .expect("the recorder accepts the buffer");
    }

    /// Sends stream-start, caps and segment again: a recorder in NULL has not received them.
    pub fn introduce(&self) {
        if let Some(caps) = self.pad.current_caps() {
            self.caps(&caps);
        }
    }

    pub fn end(&self) {
        assert!(self.event(gst::event::Eos::new()));
    }
}

/// Sets PTS and DTS of a buffer.
pub fn stamped(mut buffer: gst::Buffer, pts: Option<u64>, duration: Option<u64>) -> gst::Buffer {
    let fields = buffer.make_mut();
    fields.set_pts(pts.map(gst::ClockTime::from_nseconds));
    fields.set_duration(duration.map(gst::ClockTime::from_nseconds));
    buffer
}

/// Numbered samples, 480 per buffer: buffer `n` of the stream.
pub fn tick(n: u64) -> gst::Buffer {
    counted::buffer(&stereo(48_000), n * 480, 480)
}

/// The frame with this time.
pub fn shot(info: &VideoInfo, time: u64) -> gst::Buffer {
    frame::buffer(info, time, FRAME)
}

/// Noise at `info`'s rate, from sample `first` on.
pub fn hiss(info: &AudioInfo, first: u64, samples: u64) -> gst::Buffer {
    noise::buffer(info, first, samples)
}

/// One recording of hand-made input.
pub struct Take {
    pub app: App,
    _folder: tempfile::TempDir,
    pub path: PathBuf,
}

impl Take {
    pub fn new(mime: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(match mime {
            WAV => "take.wav",
            _ if mime.contains("matroska") => "take.mkv",
            _ => "take.webm",
        });
        Take {
            app: App::new(mime, &path),
            _folder: folder,
            path,
        }
    }

    pub fn audio(&self, info: &AudioInfo, live: Option<u64>) -> Source {
        Source::new(&self.app.pad("audio_%u"), &info.to_caps().unwrap(), live)
    }

    pub fn video(&self, info: &VideoInfo, live: Option<u64>) -> Source {
        Source::new(&self.app.pad("video_%u"), &info.to_caps().unwrap(), live)
    }

    /// PLAYING, and recording from the first instant on.
    pub fn roll(&self) {
        self.app.set_state(gst::State::Playing);
        self.app.act("start");
    }

    /// Waits for the end, without a warning.
    #[track_caller]
    pub fn wrap(&self) {
        self.app.wait_for("stop", 1);
        self.app.set_state(gst::State::Null);
        let heard = self.app.events();
        let error = heard.iter().find(|event| event.name == "error");
        let error = error.map(|event| event.fields.get::<glib::Error>("error"));
        assert!(error.is_none(), "{error:?}");
    }

    /// The decoded audio of track `track`.
    #[track_caller]
    pub fn heard(&self, track: usize) -> Vec<samples::AudioSpan> {
        samples::spans(&decode::audio(&self.path, track, None).unwrap())
    }

    /// The visible frames, equal neighbours merged: recorded time and the time in the frame, in ms; `None` if it
    /// has none (black).
    #[track_caller]
    pub fn seen(&self) -> Vec<(u64, Option<u64>)> {
        let frames = decode::video(&self.path, 0).unwrap();
        let ms = |time: f64| (time / 1e6).round() as u64;
        let mut seen: Vec<_> = frames
            .frames
            .iter()
            .map(|p| (ms(p.recorded), p.source.map(|s| ms(s as f64))))
            .collect();
        seen.dedup_by(|b, a| a.1 == b.1);
        seen
    }

    /// The file's duration in seconds.
    #[track_caller]
    pub fn length(&self) -> f64 {
        file::duration(&self.path).unwrap() / 1e9
    }

    #[track_caller]
    pub fn decodes_without_errors(&self) {
        file::decodes_without_errors(&self.path).unwrap();
    }
}

/// Source samples in `spans`, each run as (recorded, source, length), and the total length.
pub fn runs(spans: &[samples::AudioSpan]) -> (Vec<(u64, u64, u64)>, u64) {
    let sources = spans.iter().filter_map(|span| match span.content {
        samples::Content::Source(first) => Some((span.recorded.start, first, span.len())),
        samples::Content::Silence => None,
        samples::Content::Corrupt => panic!("corrupt samples: {span:?}"),
    });
    (
        sources.collect(),
        spans.last().map_or(0, |s| s.recorded.end),
    )
}

/// Luma of every frame as decoded by ffmpeg through a filter, each `width` by `height`.
#[track_caller]
pub fn luma(path: &Path, filter: &str, size: (usize, usize)) -> Vec<Vec<u8>> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-i"])
        .arg(path)
        .args([
            "-vf",
            filter,
            "-fps_mode",
            "passthrough",
            "-pix_fmt",
            "gray",
        ])
        .args(["-f", "rawvideo", "pipe:1"])
        .output()
        .expect("ffmpeg runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let whole = output.stdout.chunks_exact(size.0 * size.1);
    whole.map(<[u8]>::to_vec).collect()
}
