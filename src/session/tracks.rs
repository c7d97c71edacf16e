//! What comes from the pads, to the tracks that it belongs to; and how long who brings it has to wait.

use super::{
    Session, lock, orientation,
    track::{Flow, Track},
};
use crate::{
    formats::Plan,
    gate::Input,
    model::{Error, Orientation, stamps::LONGEST_HOLE, timeline::Ns},
};
use std::time::{Duration, Instant};

/// A track that is full waits so long for the one that starves: longer than a busy machine keeps the thread that feeds
/// that one from running, or the queue would grow for nothing.
const STARVED: Duration = Duration::from_millis(50);
/// How often an upstream that waits for the clock looks at it.
pub const CLOCK_LOOK: Duration = Duration::from_millis(10);
/// How often one that waits for room looks by itself.
pub const ROOM_LOOK: Duration = Duration::from_millis(200);
/// A buffer that is further ahead of what has come may have a wrong stamp.
const STEP: Ns = 1_000_000_000;

impl Session {
    /// The newest buffer that passed the pad of a track before it was given to the track.
    pub fn replay(&self, track: usize, recent: Input) {
        match (self.decoder(track), self.track(track)) {
            (Some(decoder), _) => decoder.replay(recent),
            (None, Some(track)) => track.replay(recent),
            (None, None) => {}
        }
    }

    fn track(&self, track: usize) -> Option<&Track> {
        self.tracks.get(track)
    }

    /// A buffer of a track; waits for room if it is not live. `now`: the clock's running time, if it has been read
    /// already.
    pub fn push(&self, track: usize, input: Input, now: Option<Ns>) -> Flow {
        match self.track(track) {
            Some(this) => {
                self.wait_for_room(track, this, input.running);
                match self.decoder(track) {
                    Some(decoder) => self.push_encoded(track, &decoder, input),
                    None => self.push_raw(track, this, input, now),
                }
            }
            None => Flow::Done,
        }
    }

    /// A buffer of a track that comes out of the past; waits for room, in a thread that upstream does not wait for.
    pub fn push_kept(&self, track: usize, input: Input) -> Flow {
        let Some(this) = self.track(track) else {
            return Flow::Done;
        };
        self.backpressure.wait_while(|| {
            let waits = !this.need_not_wait() && this.is_full();
            waits.then_some(ROOM_LOOK)
        });
        this.push(input, false, None)
    }

    /// Whether a track needs nothing any more.
    pub fn is_track_closed(&self, track: usize) -> bool {
        self.track(track).is_none_or(Track::is_closed)
    }

    /// The past has an encoder for the track of this pad, whose factory has this name.
    pub fn is_encoded_by(&self, pad: &str, factory: &str) {
        lock(&self.encoder_names).push((pad.to_owned(), factory.to_owned()));
    }

    /// What upstream says of a track, as far as it still holds for its media.
    pub(super) fn tags_of(&self, track: &Track) -> Option<gst::TagList> {
        let mut tags = self.delegate.tags(track.name())?;
        if track.was_raw() {
            // Its pictures have been turned.
            tags.make_mut().remove::<gst::tags::ImageOrientation>();
        }
        Some(tags)
    }

    /// A buffer of a track, as its gate takes it; never waits.
    pub(super) fn push_raw(
        &self,
        index: usize,
        track: &Track,
        input: Input,
        now: Option<Ns>,
    ) -> Flow {
        let for_another = track.is_behind() && self.others_starve(index);
        track.push(input, for_another, now)
    }

    /// Holds a non-live upstream back while enough of it waits. When another track has starved for longer
    /// than a thread may take to bring more, as much again may wait: its data may be behind this buffer.
    /// Beside live tracks it is held to their pace.
    fn wait_for_room(&self, index: usize, track: &Track, running: Ns) {
        if track.is_live() {
            return;
        }
        let mut starved = None;
        self.backpressure.wait_while(|| {
            if track.need_not_wait() || self.backpressure.is_open() {
                return None;
            }
            // A stamp far ahead of the others may be wrong: the track decides.
            let is_expected = running <= track.arrived().saturating_add(STEP);
            if is_expected && self.any_live() && self.clock.now().is_some_and(|now| running > now) {
                return Some(CLOCK_LOOK);
            }
            if !track.is_full() {
                return None;
            }
            if !self.others_starve(index) {
                starved = None;
                // Backpressure, and hunger that lasts, are told.
                return Some(ROOM_LOOK);
            }
            let since = starved.get_or_insert_with(Instant::now).elapsed();
            if since >= STARVED {
                track.widen();
                return None;
            }
            Some(STARVED.saturating_sub(since))
        });
    }

    /// Whether the muxer has nothing of some other track, and so holds this one up.
    fn others_starve(&self, index: usize) -> bool {
        let mut tracks = self.tracks.iter().enumerate();
        tracks.any(|(other, track)| other != index && track.is_starving())
    }

    /// Tags of a track. Raw pictures are turned as they say; all else goes into the file.
    pub fn set_tags(&self, track: usize, tags: &gst::TagListRef) {
        let Some(track) = self.track(track) else {
            return;
        };
        let mut tags = tags.to_owned();
        if !track.is_encoded()
            && let Some(turn) = orientation::of_tags(&tags)
        {
            track.set_orientation(turn);
            tags.make_mut().remove::<gst::tags::ImageOrientation>();
        }
        track.set_tags(tags);
    }

    /// Tags for the head of a track's chain: the track's own, and those of the recording where the muxer has no place for
    /// them.
    pub(super) fn head_tags(
        &self,
        track: &Track,
        is_encoded: bool,
        muxer_takes_tags: bool,
        plan: &Plan,
    ) -> Option<gst::TagList> {
        let mut of_track = self.tags_of(track);
        if is_encoded && let Some(tags) = &mut of_track {
            // Its pictures are turned before they are encoded.
            tags.make_mut().remove::<gst::tags::ImageOrientation>();
        }
        let of_all = self.settings.tags.clone().filter(|_| !muxer_takes_tags);
        let tags = match (of_all, of_track) {
            (Some(all), Some(track)) => Some(all.merge(&track, gst::TagMergeMode::Keep)),
            (all, track) => all.or(track),
        };
        let date = self.intervals().first().map(|interval| interval.utc);
        match date.filter(|_| plan.container.has_date_as_tag()) {
            Some(date) => Some(dated(tags, date)),
            None => tags,
        }
    }

    /// The track of the pad with this name.
    pub(super) fn track_named(&self, pad: &str) -> Option<&Track> {
        self.tracks.iter().find(|track| track.name() == pad)
    }

    /// Another stream begins on a track: its pictures stand as they are until its tags come.
    pub fn forget_tags(&self, track: usize) {
        if let Some(track) = self.track(track) {
            track.set_orientation(Orientation::default());
        }
    }

    /// The encoded media of a track comes in the other order: what came before is all there is.
    pub fn refuse_backwards(&self, track: usize) {
        let Some(track) = self.track(track) else {
            return;
        };
        self.tracks_modified(Error::not_supported(format!(
            "The stream on {} is encoded and is played backwards, which no file can hold: decode it \
             in front of the recorder.",
            track.name()
        )));
    }

    /// Buffers of a track did not get here: what is encoded goes on at the next key frame.
    pub fn lose(&self, track: usize) {
        match (self.decoder(track), self.track(track)) {
            (Some(decoder), _) => decoder.flush(),
            (None, Some(track)) => track.lose(),
            (None, None) => {}
        }
    }

    /// Upstream has nothing for a track before running time `end`.
    pub fn gap(&self, track: usize, end: Ns) {
        if let Some(this) = self.track(track)
            && end
                <= this
                    .arrived()
                    .max(self.begun())
                    .saturating_add(LONGEST_HOLE)
        {
            match self.decoder(track) {
                Some(decoder) => decoder.gap(this.arrived().min(end), end),
                None => this.gap(end),
            }
        }
    }

    /// Where the interval begins that is on.
    fn begun(&self) -> Ns {
        self.timeline
            .read(|t| t.intervals().last().map_or(0, |i| i.start))
    }

    /// What upstream of a track is like, when that is asked anew.
    pub fn set_upstream(&self, track: usize, live: bool, latency: Duration) {
        let Some(track) = self.track(track) else {
            return;
        };
        track.set_upstream(live, latency);
        let clock = match live {
            true => lock(&self.control).clock_at_start.take(),
            false => None,
        };
        if let Some(at) = clock {
            // It is one that goes by the clock, as nobody knew; nothing has been recorded yet.
            self.timeline.write(|timeline| {
                if timeline
                    .pending()
                    .is_some_and(|(interval, _)| interval == 0)
                {
                    timeline.defer(at);
                }
            });
        }
        self.backpressure.wake();
    }

    /// Another piece of a track's stream begins, behind a flush or in another segment.
    pub fn begin_anew(&self, track: usize) {
        if let Some(track) = self.track(track) {
            track.begin_anew();
        }
    }

    /// Silence or black instead of a track's media, or its media again, from this running time, or from now on. Gives
    /// that instant.
    pub fn mute(&self, track: usize, muted: bool, from: Option<Ns>) -> Option<Ns> {
        let now = || self.timeline.write(|_| self.now());
        let mut at = None;
        let instant = || *at.insert(from.unwrap_or_else(now));
        self.track(track)?.mute(instant, muted);
        at
    }

    /// The same from the beginning.
    pub fn start_muted(&self, track: usize) {
        if let Some(track) = self.track(track) {
            track.mute(|| 0, true);
        }
    }

    /// EOS of a track.
    pub fn end_track(&self, track: usize) {
        let drains = self.decoder(track).is_some_and(|decoder| decoder.drain());
        if !drains && let Some(track) = self.track(track) {
            track.end();
        }
    }

    /// A flush begins (nobody may wait) or ends.
    pub fn set_flushing(&self, track: usize, flushing: bool) {
        if let Some(track) = self.track(track) {
            track.set_flushing(flushing);
        }
    }
}

/// Tags with the date (nanoseconds since 1970) of the first recorded instant, unless they have another.
fn dated(tags: Option<gst::TagList>, date: i64) -> gst::TagList {
    let mut tags = tags.unwrap_or_default();
    let has_date =
        tags.get::<gst::tags::DateTime>().is_some() || tags.get::<gst::tags::Date>().is_some();
    if !has_date && let Ok(date) = gst::DateTime::from_unix_epoch_utc(date / 1_000_000_000) {
        let tags = tags.make_mut();
        tags.add::<gst::tags::DateTime>(&date, gst::TagMergeMode::Keep);
    }
    tags
}
