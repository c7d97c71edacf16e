//! Dispatches data from the pads to their tracks, and applies backpressure to upstream.

use super::{
    Conversion, Session, lock, orientation,
    track::{Flow, Track},
};
use crate::{
    formats::Plan,
    gate::Input,
    model::{Error, Orientation, stamps::LONGEST_HOLE, timeline::Ns},
};
use std::time::{Duration, Instant};

/// How long a full track waits for a starving one: longer than a busy machine delays the thread that feeds that one,
/// or the queue would grow needlessly.
const STARVED: Duration = Duration::from_millis(50);
/// How often upstream polls while it waits for the clock.
pub const CLOCK_LOOK: Duration = Duration::from_millis(10);
/// How often upstream polls while it waits for room.
pub const ROOM_LOOK: Duration = Duration::from_millis(200);
/// A buffer further ahead of its track than this may have a wrong timestamp.
const STEP: Ns = 1_000_000_000;

impl Session {
    /// Replays the newest buffer that passed a track's pad before the recording began.
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

    /// Handles a buffer of a track; blocks for room if the track is not live. `now`: the clock's running time, if it
    /// has been read already.
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

    /// Handles a buffer from the pre-record buffer. Blocks for room, in a thread that upstream does not depend on.
    pub fn push_kept(&self, track: usize, input: Input) -> Flow {
        let Some(this) = self.track(track) else {
            return Flow::Done;
        };
        let mut starved = None;
        self.backpressure.wait_while(|| {
            if self.need_not_wait(this) {
                return None;
            }
            self.room_look(track, this, &mut starved)
        });
        this.push(input, false, None)
    }

    /// Whether a track needs no more media.
    pub fn is_track_closed(&self, track: usize) -> bool {
        self.track(track).is_none_or(Track::is_closed)
    }

    /// Sets whether frames of this track before the end are still in the pre-record encoder.
    pub fn set_delayed(&self, track: usize, is_delayed: bool) {
        if let Some(track) = self.track(track) {
            track.set_delayed(is_delayed);
        }
    }

    /// Notes the factory of the encoder that this pad's track has for the pre-record buffer, and what is converted for it.
    pub fn is_encoded_by(&self, pad: &str, factory: &str, converted: Vec<String>) {
        let mut names = lock(&self.encoder_names);
        names.retain(|(of, _)| of != pad);
        names.push((pad.to_owned(), factory.to_owned()));
        drop(names);
        self.set_conversion(pad, Conversion::Known(converted));
    }

    /// Sets what is converted of this pad's video.
    pub(super) fn set_conversion(&self, pad: &str, conversion: Conversion) {
        let mut conversions = lock(&self.conversions);
        conversions.retain(|(name, _)| name != pad);
        conversions.push((pad.to_owned(), conversion));
    }

    /// Upstream's tags of a track, as far as they still apply to its media.
    pub(super) fn tags_of(&self, track: &Track) -> Option<gst::TagList> {
        let mut tags = self.delegate.tags(track.name())?;
        if track.was_raw() {
            // Its frames have been rotated.
            tags.make_mut().remove::<gst::tags::ImageOrientation>();
        }
        Some(tags)
    }

    /// Pushes a buffer into a track's gate; never blocks.
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

    /// Blocks an upstream that is not live while its queue is full. Next to live tracks, it is also held back to the
    /// clock.
    fn wait_for_room(&self, index: usize, track: &Track, running: Ns) {
        if track.is_live() {
            return;
        }
        let mut starved = None;
        self.backpressure.wait_while(|| {
            if self.need_not_wait(track) {
                return None;
            }
            // A timestamp far ahead may be wrong: let the track decide.
            let is_expected = running <= track.arrived().saturating_add(STEP);
            if is_expected && self.any_live() && self.clock.now().is_some_and(|now| running > now) {
                return Some(CLOCK_LOOK);
            }
            self.room_look(index, track, &mut starved)
        });
    }

    /// Whether buffers of this track must not block for room.
    fn need_not_wait(&self, track: &Track) -> bool {
        track.need_not_wait() || self.backpressure.is_open()
    }

    /// How long to wait until there may be room for a track's media; `None` if there is room. If another track has
    /// starved since `starved`, for longer than its thread may be delayed, the limit is raised, as that track's data may
    /// come after this buffer.
    fn room_look(
        &self,
        index: usize,
        track: &Track,
        starved: &mut Option<Instant>,
    ) -> Option<Duration> {
        if !track.is_full() {
            return None;
        }
        if !self.others_starve(index) {
            *starved = None;
            // Any change wakes this thread.
            return Some(ROOM_LOOK);
        }
        let since = starved.get_or_insert_with(Instant::now).elapsed();
        if since >= STARVED {
            track.widen();
            return None;
        }
        Some(STARVED.saturating_sub(since))
    }

    /// Whether the muxer lacks media of another track, and therefore blocks this one.
    fn others_starve(&self, index: usize) -> bool {
        let mut tracks = self.tracks.iter().enumerate();
        tracks.any(|(other, track)| other != index && track.is_starving())
    }

    /// Handles tags of a track. The orientation of raw video is applied; all other tags go into the file.
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

    /// Tags for the start of a track's chain: the track's own, and the global ones if the muxer does not support
    /// these.
    pub(super) fn head_tags(
        &self,
        track: &Track,
        is_encoded: bool,
        muxer_takes_tags: bool,
        plan: &Plan,
    ) -> Option<gst::TagList> {
        let mut of_track = self.tags_of(track);
        if is_encoded && let Some(tags) = &mut of_track {
            // Its frames are rotated before they are encoded.
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

    /// A new stream begins on a track: its frames are not rotated until its tags arrive.
    pub fn forget_tags(&self, track: usize) {
        if let Some(track) = self.track(track) {
            track.set_orientation(Orientation::default());
        }
    }

    /// The encoded media of a track is played backwards: ends the recording with what has arrived.
    pub fn refuse_backwards(&self, track: usize) {
        let Some(track) = self.track(track) else {
            return;
        };
        self.tracks_modified(Error::not_supported(format!(
            "The stream on {} is encoded and has a negative rate, which no container supports: decode it upstream of \
             the recorder.",
            track.name()
        )));
    }

    /// Buffers of a track were lost: encoded media resumes at the next keyframe.
    pub fn lose(&self, track: usize) {
        match (self.decoder(track), self.track(track)) {
            (Some(decoder), _) => decoder.flush(),
            (None, Some(track)) => track.lose(),
            (None, None) => {}
        }
    }

    /// A GAP event: upstream has no media for a track before running time `end`.
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

    /// Start of the current interval.
    fn begun(&self) -> Ns {
        self.timeline
            .read(|t| t.intervals().last().map_or(0, |i| i.start))
    }

    /// Updates the liveness and latency of a track's upstream after a new query.
    pub fn set_upstream(&self, track: usize, live: bool, latency: Duration) {
        let Some(track) = self.track(track) else {
            return;
        };
        track.set_upstream(live, latency);
        let clock = if live {
            lock(&self.control).clock_at_start.take()
        } else {
            None
        };
        if let Some(at) = clock {
            // The track turns out to be live, and nothing has been recorded yet: begin at clock time.
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

    /// A new run of timestamps begins, after a flush or with a new segment.
    pub fn begin_anew(&self, track: usize) {
        if let Some(track) = self.track(track) {
            track.begin_anew();
        }
    }

    /// Mutes (black or silence) or unmutes a track, from this running time or from now on. Returns that running time.
    pub fn mute(&self, track: usize, muted: bool, from: Option<Ns>) -> Option<Ns> {
        let now = || self.timeline.write(|_| self.now());
        let mut at = None;
        let instant = || *at.insert(from.unwrap_or_else(now));
        self.track(track)?.mute(instant, muted);
        at
    }

    /// Mutes a track from the beginning.
    pub fn start_muted(&self, track: usize) {
        if let Some(track) = self.track(track) {
            track.mute(|| 0, true);
        }
    }

    /// EOS on a track.
    pub fn end_track(&self, track: usize) {
        let drains = self.decoder(track).is_some_and(|decoder| decoder.drain());
        if !drains && let Some(track) = self.track(track) {
            track.end();
        }
    }

    /// A flush begins, during which nobody may block, or ends.
    pub fn set_flushing(&self, track: usize, flushing: bool) {
        if let Some(track) = self.track(track) {
            track.set_flushing(flushing);
        }
    }
}

/// Adds the date of the first recorded instant (nanoseconds since 1970), unless the tags have a date.
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
