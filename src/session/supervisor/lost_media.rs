//! Media that an encoder has lost, which nothing replaces in the same file: it goes into the next part.
//!
//! The muxer waits for the track of that encoder, so the others have hardly got further. The part ends where the lost
//! media begins, and what the others have been given from there on is moved to the next part, too.

use super::Supervisor;
use crate::{
    log::{CAT, time},
    model::{Kind, timeline::Ns},
    session::{pipeline::Feed, track::Track},
};

/// The shortest frame.
const SHORTEST: Ns = 1_000_000;

impl Supervisor {
    /// Begins the next part where the media lost by this track's abandoned encoder begins. FALSE if that is not possible.
    pub(super) fn begin_next_part_at_loss(&self, index: usize) -> bool {
        let (session, part) = (&self.session, self.part.number);
        let pipeline = self.pipeline.iter().flat_map(|pipeline| pipeline.feeds());
        let tracks = self.in_pipeline.iter();
        let tracks = tracks.filter_map(|index| session.tracks.get(*index));
        let pairs: Vec<(&Track, &Feed)> = tracks.zip(pipeline).collect();
        let Some((track, feed)) = pairs.get(index) else {
            return false;
        };
        let (begin, length) = match track.kind() {
            Kind::Video => match track.in_flight(part).first() {
                Some(first) => first,
                None => return false,
            },
            Kind::Audio => match feed.monitor.audio_until() {
                Some(until) => (until, Ns::MAX),
                None => return false,
            },
        };
        let others = pairs.iter().enumerate();
        let others = others.filter(|(other, _)| *other != index);
        let others: Vec<_> = others.map(|(_, pair)| *pair).collect();
        // Nothing else leaves for their encoders.
        for (_, feed) in &others {
            feed.monitor.end_input(Some(begin));
        }
        let reached = |(track, feed): &(&Track, &Feed)| {
            let all = || track.fed(part);
            match track.kind() {
                Kind::Video => track.in_flight(part).begin().unwrap_or_else(all),
                Kind::Audio if feed.overlap() > 0 => feed.monitor.audio_until().unwrap_or(0),
                Kind::Audio => track.first_unsent(part).unwrap_or_else(all),
            }
        };
        let furthest = others.iter().map(reached).max().unwrap_or(0);
        // The first lost frame is not lost if the part ends within it.
        let latest = begin.saturating_add(length.saturating_sub(SHORTEST));
        let end = begin.max(furthest.min(latest));
        let from = |track: &Track| {
            let mut pairs = others.iter();
            let pair = pairs.find(|(other, _)| other.name() == track.name());
            pair.map_or(0, reached).max(end)
        };
        let is_split = session.split_back(part, end, from);
        gst::debug!(
            CAT,
            id = &self.part.label,
            "{} has lost media from {} on, others have got to {}: the part ends at {}: {is_split}",
            track.name(),
            time(begin),
            time(furthest),
            time(end)
        );
        let end = is_split.then_some(end);
        for (_, feed) in &others {
            feed.monitor.end_input(end);
        }
        is_split
    }
}
