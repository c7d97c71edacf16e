//! Makes a recording of a given type, pushed by hand as fast as it is taken, with a pause: noise as audio, and
//! frames that show their time.

use super::app::{App, DEADLINE};
use super::judge::kept::Kept;
use super::signal::feed::{Feed, Upstream, stamped};
use super::signal::{frame, noise, sample_time};
use gst::prelude::*;
use std::path::PathBuf;

const SECOND: u64 = 1_000_000_000;
/// One video frame, 30 per second.
pub const FRAME: u64 = SECOND / 30;
/// Samples per audio buffer.
const BLOCK: u64 = 480;
pub const RATE: u32 = 48_000;

/// How to make a recording.
#[derive(Clone, Debug)]
pub struct Recipe {
    pub mime_type: String,
    pub audio: bool,
    pub video: bool,
    /// Running times in nanoseconds, and the action to call once everything before has been taken.
    pub calls: Vec<(u64, &'static str)>,
    /// Running time in nanoseconds at which the recorder is started.
    pub from: u64,
    /// Running time in nanoseconds until which media is pushed.
    pub until: u64,
    /// Properties of the recorder, as in a `gst-launch` line.
    pub properties: Vec<(&'static str, String)>,
    pub size: (u32, u32),
    /// Frame durations in milliseconds, repeated; if empty, 30 frames per second.
    pub lengths: Vec<u64>,
    /// If not 0: video is textured noise with this seed, without its time, and audio is white noise.
    pub textured: u32,
}

impl Recipe {
    /// About two seconds of `mime_type`, with a pause, with the kinds of track that its codecs have.
    pub fn new(mime_type: &str, audio: bool, video: bool) -> Self {
        Self {
            mime_type: mime_type.to_string(),
            audio,
            video,
            from: SECOND / 5,
            calls: vec![(SECOND, "pause"), (SECOND * 3 / 2, "resume")],
            until: SECOND * 27 / 10,
            properties: Vec::new(),
            size: (320, 240),
            lengths: Vec::new(),
            textured: 0,
        }
    }

    pub fn with(mut self, property: &'static str, value: impl ToString) -> Self {
        self.properties.push((property, value.to_string()));
        self
    }

    /// Without a pause, for `duration` nanoseconds.
    pub fn lasting(mut self, duration: u64) -> Self {
        self.calls.clear();
        self.until = self.from + duration;
        self
    }

    /// The start of frame `n`.
    fn picture(&self, n: u64) -> u64 {
        let count = self.lengths.len() as u64;
        if count == 0 {
            return n * SECOND / 30;
        }
        let before: u64 = self.lengths[..(n % count) as usize].iter().sum();
        (n / count * self.lengths.iter().sum::<u64>() + before) * 1_000_000
    }
}

/// A finished recording.
pub struct Take {
    /// From `on-start`.
    pub actual: String,
    pub path: PathBuf,
    pub kept: Kept,
    /// Timestamps of the pushed frames.
    pub sources: Vec<u64>,
    /// Factory names of the encoders, by pad.
    pub encoders: Vec<(String, String)>,
    pub blobs: Vec<Blob>,
    pub warnings: Vec<String>,
    _directory: tempfile::TempDir,
}

/// A blob, as in its message.
pub struct Blob {
    pub bytes: Vec<u8>,
    /// Recorded times in nanoseconds.
    pub timecode: u64,
    pub duration: u64,
}

/// Makes the recording.
pub fn take(recipe: &Recipe) -> Take {
    take_with(recipe, |_| (), |_, _| ())
}

/// Makes the recording. `prepare` is called with the recorder in NULL, `on_picture` before each frame (or audio
/// buffer, if there is no video) is pushed, with its running time.
pub fn take_with(
    recipe: &Recipe,
    prepare: impl FnOnce(&gst::Element),
    mut on_picture: impl FnMut(&gst::Element, u64),
) -> Take {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("recording");
    let app = App::new(&recipe.mime_type, &path);
    app.recorder.set_property("blob-messages", true);
    // The test verifies the recording, not how fast a busy machine drains slow encoders.
    let patience = DEADLINE.as_nanos() as u64;
    app.recorder.set_property("stop-timeout", patience);
    for (name, value) in &recipe.properties {
        app.recorder.set_property_from_str(name, value);
    }
    prepare(&app.recorder);
    let audio_info = gst_audio::AudioInfo::builder(gst_audio::AudioFormat::S16le, RATE, 2)
        .build()
        .unwrap();
    let (width, height) = recipe.size;
    let video_info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, width, height)
        .fps(gst::Fraction::new(
            if recipe.lengths.is_empty() { 30 } else { 0 },
            1,
        ))
        .build()
        .unwrap();
    let feed = |template, caps: gst::Caps| Feed::new(&app.pad(template), &caps, Upstream::NotLive);
    app.set_state(gst::State::Ready);
    let audio = recipe
        .audio
        .then(|| feed("audio_%u", audio_info.to_caps().unwrap()));
    let video = recipe
        .video
        .then(|| feed("video_%u", video_info.to_caps().unwrap()));
    app.set_state(gst::State::Playing);

    let mut calls = recipe.calls.clone();
    calls.insert(0, (recipe.from, "start"));
    calls.push((recipe.until, "stop"));
    let mut calls = calls.into_iter().peekable();
    let (mut samples, mut frames) = (0u64, 0u64);
    let mut sources = Vec::new();
    while let Some((at, action)) = calls.peek().copied() {
        let heard = sample_time(samples, RATE);
        let seen = recipe.picture(frames);
        let next = match (&audio, &video) {
            (Some(_), Some(_)) => heard.min(seen),
            (Some(_), None) => heard,
            _ => seen,
        };
        if next >= at {
            app.act(action);
            calls.next();
            if action == "stop" {
                break;
            }
            continue;
        }
        match (&audio, &video) {
            (Some(audio), _) if next == heard => {
                if video.is_none() {
                    on_picture(&app.recorder, heard);
                }
                let buffer = match recipe.textured {
                    0 => noise::buffer(&audio_info, samples, BLOCK),
                    seed => hiss(samples, seed),
                };
                audio.push(buffer).unwrap();
                samples += BLOCK;
            }
            (_, Some(video)) => {
                on_picture(&app.recorder, seen);
                let end = recipe.picture(frames + 1);
                let buffer = match recipe.textured {
                    0 => frame::buffer(&video_info, seen, end - seen),
                    seed => textured(&video_info, seen, end - seen, seed),
                };
                video.push(buffer).unwrap();
                sources.push(seen);
                frames += 1;
            }
            _ => unreachable!("nothing to feed"),
        }
    }
    app.wait_for("stop", 1);
    let stats = app.recorder.property::<gst::Structure>("stats");
    let encoders = stats
        .get::<gst::Array>("tracks")
        .unwrap()
        .iter()
        .map(|track| {
            let track = track.get::<gst::Structure>().unwrap();
            (track.get("pad").unwrap(), track.get("encoder").unwrap())
        })
        .collect();
    let events = app.events();
    let blobs = blobs(&app);
    let start = events
        .iter()
        .find(|event| event.name == "start")
        .expect("a start");
    let actual = start.fields.get::<String>("mime-type").unwrap();
    let errors: Vec<_> = events
        .iter()
        .filter(|event| event.name == "error")
        .collect();
    assert!(errors.is_empty(), "{}: {errors:?}", recipe.mime_type);
    let warnings = app.warnings();
    app.set_state(gst::State::Null);
    Take {
        actual,
        path,
        kept: app.kept(),
        sources,
        encoders,
        blobs,
        warnings,
        _directory: directory,
    }
}

/// The blobs in the messages so far.
pub fn blobs(app: &App) -> Vec<Blob> {
    let events = app.events().into_iter();
    let data = events.filter(|message| message.name == "data-available");
    let blobs = data.map(|message| {
        let sample = message.fields.get::<gst::Sample>("sample").unwrap();
        Blob {
            bytes: sample.buffer().unwrap().map_readable().unwrap().to_vec(),
            timecode: message.fields.get("timecode").unwrap(),
            duration: message.fields.get("duration").unwrap(),
        }
    });
    blobs.collect()
}

/// White noise, different in both channels.
fn hiss(first: u64, seed: u32) -> gst::Buffer {
    let mut dice = seed.wrapping_add(first as u32).wrapping_mul(0x9e37_79b9) | 1;
    let mut bytes = Vec::with_capacity(BLOCK as usize * 4);
    for _ in 0..BLOCK * 2 {
        dice ^= dice << 13;
        dice ^= dice >> 17;
        dice ^= dice << 5;
        bytes.extend_from_slice(&((dice >> 16) as i16 / 4).to_le_bytes());
    }
    stamped(bytes, RATE, first, BLOCK)
}

/// A frame with moving texture and some noise: work for any encoder, but not more than it can handle.
fn textured(info: &gst_video::VideoInfo, time: u64, duration: u64, seed: u32) -> gst::Buffer {
    let mut bytes = vec![128u8; info.size()];
    let (width, stride) = (info.width() as usize, info.stride()[0] as usize);
    let frame = (time / FRAME) as usize;
    let mut dice = seed.wrapping_add(time as u32) | 1;
    for y in 0..info.height() as usize {
        for (x, pixel) in bytes[y * stride..][..width].iter_mut().enumerate() {
            dice ^= dice << 13;
            dice ^= dice >> 17;
            dice ^= dice << 5;
            let (x, y) = ((x + 3 * frame) as u32, (y + frame) as u32);
            let block = (x / 8).wrapping_mul(0x9e37_79b1) ^ (y / 8).wrapping_mul(0x85eb_ca6b);
            *pixel = 40 + (block >> 25) as u8 + (dice >> 27) as u8;
        }
    }
    let mut buffer = gst::Buffer::from_mut_slice(bytes);
    let fields = buffer.get_mut().expect("a new buffer is writable");
    fields.set_pts(gst::ClockTime::from_nseconds(time));
    fields.set_duration(gst::ClockTime::from_nseconds(duration));
    buffer
}
