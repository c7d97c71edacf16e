//! A recording's figures for `stats` and for the last events.

use super::{Session, TrackStats, lock, part, track::Track};
use crate::{
    formats::{self, VideoInput},
    model::timeline::Ns,
    session::RecordedInterval,
};

/// A track's figures for `stats`.
#[derive(Debug, Clone, Default)]
pub struct TrackFigures {
    /// Name of its pad.
    pub pad: String,
    /// Factory of its encoder; empty if there is none.
    pub encoder: String,
    /// Its buffer counts.
    pub counts: TrackStats,
    /// Which properties of its video have been converted.
    pub converted: Vec<String>,
}

/// What is converted of a track's video.
#[derive(Debug, Clone)]
pub enum Conversion {
    /// What this input of its encoder does not keep of the latest caps.
    Encoder(VideoInput),
    /// What is known already: of a copy, or of what the pre-record buffer encodes.
    Known(Vec<String>),
}

/// Figures for `stats`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// Recorded time.
    pub duration: Ns,
    /// Time skipped by pauses.
    pub paused: Ns,
    /// Bytes written.
    pub bytes: u64,
    /// Blobs handed out.
    pub blobs: u64,
}

impl Session {
    /// Recorded and skipped time, bytes and blobs so far.
    pub fn figures(&self) -> Figures {
        let furthest = self.tracks.iter().map(Track::arrived).max().unwrap_or(0);
        let (duration, paused) = self.timeline.read(|t| {
            let recorded = t.recorded_at(furthest);
            let begun = t.intervals().first().map_or(0, |i| i.start);
            let paused = furthest.saturating_sub(begun).saturating_sub(recorded);
            (recorded, paused)
        });
        let (bytes, blobs) = self.written();
        Figures {
            duration,
            paused,
            bytes,
            blobs,
        }
    }

    /// The intervals whose starts are known, as they are now.
    pub fn intervals(&self) -> Vec<RecordedInterval> {
        let furthest = self.clock.furthest();
        let offsets = lock(&self.utc_offsets).clone();
        self.timeline.read(|timeline| {
            let intervals = timeline.intervals_from(0).take_while(|i| i.resolved);
            let numbered = intervals.enumerate();
            let recorded = numbered.map(|(number, interval)| {
                let end = interval.end.unwrap_or(furthest).max(interval.start);
                let system = offsets.get(number).or(offsets.last());
                let system = system.copied().unwrap_or_default();
                let reference = self.clock.reference().utc(interval.start);
                RecordedInterval {
                    running_time: interval.start,
                    recorded_time: interval.recorded,
                    duration: end - interval.start,
                    utc: reference.unwrap_or(system.saturating_add_unsigned(interval.start)),
                }
            });
            recorded.collect()
        })
    }

    /// The figures of each track for `stats`.
    pub fn track_figures(&self) -> Vec<TrackFigures> {
        let (encoders, conversions) = (
            lock(&self.encoder_names).clone(),
            lock(&self.conversions).clone(),
        );
        let of_pad = |pad: &str| encoders.iter().find(|(name, _)| name == pad);
        let converted =
            |track: &Track| match conversions.iter().find(|(pad, _)| *pad == track.name())? {
                (_, Conversion::Encoder(video_input)) => {
                    let info = formats::video_info(&*track.newest_caps()?)?;
                    Some(video_input.converted(&info))
                }
                (_, Conversion::Known(converted)) => Some(converted.clone()),
            };
        self.tracks
            .iter()
            .map(|track| TrackFigures {
                pad: track.name().to_owned(),
                encoder: of_pad(track.name()).map_or_else(String::new, |(_, name)| name.clone()),
                counts: track.stats(),
                converted: converted(track).unwrap_or_default(),
            })
            .collect()
    }

    /// Number of parts so far, the current one included.
    pub fn part_count(&self) -> u32 {
        let begun = self.timeline.read(|t| {
            let on = t.part();
            let is_empty = on > 0 && t.first_instant_of(on).is_none();
            on + usize::from(!is_empty)
        });
        part::part_number(begun)
    }
}
