//! What comes from the pads, to the tracks that it belongs to; and how long who brings it has to wait.

use super::{
    Session, orientation,
    track::{Flow, Track},
};
use crate::{
    gate::Input,
    model::{
        Error, Orientation,
        timeline::{Ns, Timeline},
    },
};
use std::time::{Duration, Instant};

/// A track that is full waits so long for the one that starves.
const STARVED: Duration = Duration::from_millis(10);
/// How often an upstream that waits for the clock looks at it.
const CLOCK_LOOK: Duration = Duration::from_millis(10);
/// How often one that waits for room looks by itself.
const ROOM_LOOK: Duration = Duration::from_millis(200);
/// No hole in a track is longer (six hours): beyond it, stamps are broken.
const LONGEST_HOLE: Ns = 6 * 3_600_000_000_000;

impl Session {
    /// The newest buffer that passed the pad of a track before it was given to the track.
    pub fn replay(&self, track: usize, recent: Input) {
        if let Some(track) = self.track(track) {
            track.replay(recent);
        }
    }

    fn track(&self, track: usize) -> Option<&Track> {
        self.tracks.get(track)
    }

    /// A buffer of a track; waits for room if it is not live. `now`: the clock's running time, if it has been read
    /// already.
    pub fn push(&self, track: usize, input: Input, now: Option<Ns>) -> Flow {
        match self.track(track) {
            Some(this) if self.is_absurd(this, input.end()) => Flow::Done,
            Some(this) => {
                self.wait_for_room(track, this, input.running);
                let for_another = this.is_behind() && self.others_starve(track);
                this.push(input, for_another, now)
            }
            None => Flow::Done,
        }
    }

    /// A leap that no source means: what it leaves out would have to be made up. Ends the
    /// recording.
    fn is_absurd(&self, track: &Track, end: Ns) -> bool {
        let start = || {
            let first = |t: &Timeline| t.intervals().last().map_or(0, |i| i.start);
            self.timeline.read(first)
        };
        let arrived = track.arrived();
        if end.saturating_sub(arrived) <= LONGEST_HOLE
            || end.saturating_sub(arrived.max(start())) <= LONGEST_HOLE
            || self
                .clock
                .now()
                .is_some_and(|now| end <= now.saturating_add(LONGEST_HOLE))
        {
            return false;
        }
        self.fail(Error::unknown(format!(
            "The stamps of {} leap by {} hours: they are broken.",
            track.name(),
            (end - arrived) / 3_600_000_000_000
        )));
        true
    }

    /// Holds a non-live upstream back while enough of it waits. When another track has starved for longer
    /// than a thread may take to bring more, as much again may wait: its data may be behind this buffer.
    /// Beside live tracks it is held to their pace.
    fn wait_for_room(&self, index: usize, track: &Track, running: Ns) {
        if track.is_live() {
            return;
        }
        let mut starved = None;
        self.room.wait_while(|| {
            if track.need_not_wait() || self.room.is_open() {
                return None;
            }
            if self.any_live && self.clock.now().is_some_and(|now| running > now) {
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

    /// New caps of a track.
    pub fn set_caps(&self, track: usize, caps: &gst::Caps) {
        if let Some(track) = self.track(track)
            && let Err(err) = track.set_caps(caps)
        {
            self.fail(Error::not_supported(format!(
                "The track of {} cannot be recorded ({caps}): {err}",
                track.name()
            )));
        }
    }

    /// Buffers of a track did not get here: what is encoded goes on at the next key frame.
    pub fn lose(&self, track: usize) {
        if let Some(track) = self.track(track) {
            track.lose();
        }
    }

    /// Upstream has nothing for a track before running time `end`.
    pub fn gap(&self, track: usize, end: Ns) {
        if let Some(track) = self.track(track)
            && !self.is_absurd(track, end)
        {
            track.gap(end);
        }
    }

    /// Silence or black instead of a track's media, or its media again, from this running time, or from now on.
    pub fn mute(&self, track: usize, muted: bool, from: Option<Ns>) {
        if let Some(track) = self.track(track) {
            let at = from.unwrap_or_else(|| self.timeline.write(|_| self.now()));
            track.mute(at, muted);
        }
    }

    /// The same from the beginning.
    pub fn start_muted(&self, track: usize) {
        if let Some(track) = self.track(track) {
            track.mute(0, true);
        }
    }

    /// EOS of a track.
    pub fn end_track(&self, track: usize) {
        if let Some(track) = self.track(track) {
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
