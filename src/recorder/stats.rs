//! The `stats` property.

use super::{emit::interval_array, imp::MediaRecorder};
use crate::session::{Figures, RecordedInterval, Session, TrackFigures, lock};
use gst::prelude::*;

/// Statistics of one recording.
#[derive(Default)]
pub struct Latest {
    figures: Figures,
    location: Option<String>,
    mime_type: Option<String>,
    tracks: Vec<TrackFigures>,
    parts: u32,
    intervals: Vec<RecordedInterval>,
}

impl Latest {
    /// A snapshot of the current values.
    pub fn of(session: &Session) -> Self {
        Latest {
            figures: session.figures(),
            location: session.location(),
            mime_type: session.mime_type(),
            tracks: session.track_figures(),
            parts: session.part_count(),
            intervals: session.intervals(),
        }
    }

    fn structure(&self, (pre_recorded, bytes): (u64, u64)) -> gst::Structure {
        let tracks = self.tracks.iter().map(|track| {
            let counts = &track.counts;
            gst::Structure::builder("track")
                .field("pad", &track.pad)
                .field("encoder", &track.encoder)
                .field("buffers", counts.buffers())
                .field("encoded", counts.encoded)
                .field("dropped", counts.dropped)
                .field("filled", counts.filled)
                .field("shifted", counts.shifted)
                .field("converted", gst::Array::new(&track.converted))
                .build()
                .to_send_value()
        });
        gst::Structure::builder("application/x-mediarecorder-stats")
            .field("duration", self.figures.duration)
            .field("paused-duration", self.figures.paused)
            .field("bytes", self.figures.bytes)
            .field("blobs", self.figures.blobs)
            .field("location", self.location.as_deref())
            .field("mime-type", self.mime_type.as_deref())
            .field("tracks", gst::Array::from_values(tracks))
            .field("parts", self.parts)
            .field("intervals", interval_array(&self.intervals))
            .field("pre-recorded", pre_recorded)
            .field("pre-recorded-bytes", bytes)
            .build()
    }
}

impl MediaRecorder {
    /// Statistics of the current recording, else of the latest.
    pub(super) fn stats(&self) -> gst::Structure {
        let past = self.past_figures();
        let session = {
            let control = lock(&self.control);
            if let (None, Some(latest)) = (&control.current, &control.latest) {
                return latest.structure(past);
            }
            let newest = control.sessions.last().cloned();
            control.current.clone().or(newest)
        };
        match session {
            Some(session) => Latest::of(&session).structure(past),
            None => Latest::default().structure(past),
        }
    }
}
