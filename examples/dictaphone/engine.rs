//! Audio input and output: the pipeline around the recorder, and a player for its recordings.
//!
//! ```text
//! source ! audioconvert ! level ! mediarecorder
//! ```

use crate::state::{Clip, loudness_of};
use anyhow::{Context, Result};
use gst::prelude::*;
use gstmediarecorder::MediaRecorder;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Interval of `level` messages, in nanoseconds: a column of the waveform.
const INTERVAL: u64 = 50_000_000;

/// How much of the past can be saved as a clip.
const PAST: gst::ClockTime = gst::ClockTime::from_seconds(60);

/// An event for the user interface.
pub enum News {
    Level(f64),
    Marked { title: String, at: Duration },
    Saved(Clip),
    Failed(String),
    PlayedOut,
}

pub struct Engine {
    pipeline: gst::Pipeline,
    pub recorder: MediaRecorder,
    player: Option<gst::Element>,
    /// With `test`: the test source that replaces the microphone, and since when.
    tone: Option<(gst::Element, Instant)>,
}

impl Engine {
    /// Captures the microphone, or with `test` a tone with varying volume; clips are then played silently.
    pub fn new(test: bool) -> Result<Self> {
        let source = if test {
            "audiotestsrc name=tone is-live=true samplesperbuffer=480 volume=0"
        } else {
            "autoaudiosrc"
        };
        let pipeline = gst::Pipeline::new();
        let source = gst::parse::bin_from_description(
            &format!("{source} ! audioconvert ! level interval={INTERVAL}"),
            true,
        )?;
        let tone = source.by_name("tone");
        let recorder = MediaRecorder::builder()
            .name("recorder")
            // Otherwise the first file name could change the container, and the past would start over.
            .mime_type("audio/webm")
            .pre_record_time(PAST)
            .build();
        pipeline.add_many([source.upcast_ref::<gst::Element>(), recorder.upcast_ref()])?;
        source.link(&recorder)?;
        pipeline
            .set_state(gst::State::Playing)
            .context("there is no microphone (--test records a tone)")?;
        Ok(Engine {
            pipeline,
            recorder,
            player: None,
            tone: tone.map(|tone| (tone, Instant::now())),
        })
    }

    /// Starts a recording from now on.
    pub fn start(&self, directory: &Path) -> Result<()> {
        self.choose_file(directory)?;
        self.recorder.set_pre_record_time(gst::ClockTime::ZERO);
        let started = self.recorder.start();
        // Recorded media is also past for the next one.
        self.recorder.set_pre_record_time(PAST);
        Ok(started?)
    }

    /// A clip of the last minute: a recording that starts that long ago, and ends now.
    pub fn keep_last(&self, directory: &Path) -> Result<()> {
        self.choose_file(directory)?;
        self.recorder.start()?;
        Ok(self.recorder.stop()?)
    }

    /// How much of the last minute is available.
    pub fn past(&self) -> Duration {
        self.recorder.stats().pre_recorded.into()
    }

    /// Sets the next recording's file to the first free name in `directory`.
    fn choose_file(&self, directory: &Path) -> Result<()> {
        let free = (1..)
            .map(|number| directory.join(format!("Clip {number}.webm")))
            .find(|path| !path.exists());
        self.recorder.set_location(free.context("no free name")?);
        Ok(())
    }

    pub fn play(&mut self, path: &Path) -> Result<()> {
        self.hush();
        let player = gst::ElementFactory::make("playbin")
            .property("uri", glib::filename_to_uri(path.canonicalize()?, None)?)
            .build()?;
        if self.tone.is_some() {
            let nowhere = gst::ElementFactory::make("fakesink")
                .property("sync", true)
                .build()?;
            player.set_property("audio-sink", nowhere);
        }
        let playing = player.set_state(gst::State::Playing);
        self.player = Some(player);
        playing.context("it does not play")?;
        Ok(())
    }

    pub fn hush(&mut self) {
        if let Some(player) = self.player.take() {
            let _ = player.set_state(gst::State::Null);
        }
    }

    /// Recorded time of the active recording.
    pub fn recorded(&self) -> Duration {
        self.recorder.stats().duration.into()
    }

    /// Events since the last call. Every event of the recorder is a message, so none of this runs in another
    /// thread.
    pub fn news(&mut self) -> Vec<News> {
        if let Some((tone, since)) = &self.tone {
            // As lively as a voice.
            let time = since.elapsed().as_secs_f64();
            tone.set_property("volume", ((time * 4.3).sin() * (time * 1.7).sin()).abs());
        }
        let mut news = Vec::new();
        let bus = self.pipeline.bus();
        while let Some(message) = bus.as_ref().and_then(|bus| bus.pop()) {
            match message.view() {
                gst::MessageView::Element(element) => {
                    news.extend(element.structure().and_then(told));
                }
                gst::MessageView::Error(error) => {
                    news.push(News::Failed(error.error().to_string()));
                }
                _ => {}
            }
        }
        let bus = self.player.as_ref().and_then(|player| player.bus());
        let ends = [gst::MessageType::Eos, gst::MessageType::Error];
        if let Some(end) = bus.and_then(|bus| bus.pop_filtered(&ends)) {
            if let gst::MessageView::Error(error) = end.view() {
                news.push(News::Failed(error.error().to_string()));
            }
            self.hush();
            news.push(News::PlayedOut);
        }
        news
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.hush();
        // Finishes an active recording.
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

fn told(structure: &gst::StructureRef) -> Option<News> {
    Some(match structure.name().as_str() {
        "level" => {
            let peaks = structure.get::<glib::ValueArray>("peak").ok()?;
            let loudest = peaks.iter().filter_map(|peak| peak.get::<f64>().ok());
            News::Level(loudness_of(loudest.fold(f64::NEG_INFINITY, f64::max)))
        }
        "mediarecorder-mark" => News::Marked {
            title: structure.get("title").ok()?,
            at: Duration::from_nanos(structure.get("timecode").ok()?),
        },
        "mediarecorder-error" => {
            News::Failed(structure.get::<glib::Error>("error").ok()?.to_string())
        }
        "mediarecorder-stop" => News::Saved(Clip {
            path: PathBuf::from(structure.get::<String>("location").ok()?),
            length: Duration::from_nanos(structure.get("duration").ok()?),
            size: structure.get("size").ok()?,
        }),
        _ => return None,
    })
}

/// The existing clips in a directory, the newest first.
pub fn clips_in(directory: &Path) -> Result<Vec<Clip>> {
    let discoverer = gst_pbutils::Discoverer::new(gst::ClockTime::from_seconds(5))?;
    let mut clips = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "webm") {
            continue;
        }
        let uri = glib::filename_to_uri(path.canonicalize()?, None)?;
        // Other files are not listed.
        let Some(length) = discoverer
            .discover_uri(&uri)
            .ok()
            .and_then(|info| info.duration())
        else {
            continue;
        };
        let metadata = path.metadata()?;
        clips.push((
            metadata.modified()?,
            Clip {
                path,
                length: length.into(),
                size: metadata.len(),
            },
        ));
    }
    clips.sort_by_key(|(modified, _)| std::cmp::Reverse(*modified));
    Ok(clips.into_iter().map(|(_, clip)| clip).collect())
}
