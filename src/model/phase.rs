//! The phases of a part of a recording, and the supervisor's next action.
//!
//! ```text
//! Waiting ─Build─▶ Built ─Connect─▶ Recording ─Drain─▶ Draining
//!    │               │                  │                 │
//!    └───────────────┴────── End ───────┴─────────────────┘
//! ```
//!
//! [`Phase::next`] decides from a [`View`]; the supervisor performs the action, enters the phase that follows, and asks
//! again.

use super::timeline::Ns;
use std::time::Duration;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not all tracks are known yet.
    Waiting,
    /// Encoders and muxer are ready; the part has no media yet.
    Built,
    /// Media flows into the pipeline.
    Recording,
    /// All tracks have ended: encoders and muxer are draining.
    Draining,
}

/// The supervisor's next action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// This track has received nothing: stop waiting for it.
    LeaveOut(usize),
    /// Build the pipeline for the known tracks.
    Build,
    /// Open the file, and let media into the pipeline.
    Connect,
    /// Emit `on-start`.
    AnnounceStart,
    /// Drain encoders and muxer.
    Drain,
    /// The drain has exceeded `stop-timeout`: end the part with an error and the data so far.
    GiveUp,
    /// End the part.
    End,
}

/// State of a track, as needed here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TrackView {
    /// It has what the part needs: caps, and a frame if it is encoded (which cannot be generated).
    pub is_known: bool,
    /// Its first media may still be in the encoder of the pre-record ring.
    pub is_in_encoder: bool,
    /// Its pad is at EOS.
    pub has_ended: bool,
    /// No more of it is recorded.
    pub is_closed: bool,
    /// No more of it belongs to this part.
    pub is_closed_for_part: bool,
}

/// Input of a decision. Durations are times elapsed since an event.
#[derive(Debug, Clone, Copy, Default)]
pub struct View<'a> {
    pub tracks: &'a [TrackView],
    /// This is the first part of its recording; later parts already know their tracks.
    pub is_first: bool,
    /// Some track is live: the clock applies.
    pub any_live: bool,
    /// The first interval waits for its keyframe, or for the earliest buffer.
    pub start_is_pending: bool,
    /// Any cut waits for its keyframe.
    pub cut_is_pending: bool,
    pub is_paused: bool,
    /// Media of the part has arrived.
    pub has_media: bool,
    /// `on-start` has been emitted, or belongs to an earlier part.
    pub is_announced: bool,
    /// The muxer has output caps and its first bytes.
    pub has_bytes: bool,
    /// The pipeline has reached EOS.
    pub is_drained: bool,
    /// How far media is ahead of the first cut, in running time.
    pub ahead: Ns,
    /// Since the supervisor started.
    pub begun: Duration,
    /// Since `stop`.
    pub stopped: Option<Duration>,
    /// Since the end of this part, or the arrival of media after it.
    pub ended: Option<Duration>,
    /// Since the muxer's last output, while the file is finalised.
    pub completing: Option<Duration>,
}

/// Timeouts.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For a track without media while others have some: `max-queue-time`.
    pub patience: Duration,
    /// For such a track after `stop`.
    pub grace: Duration,
    /// For the first bytes, before `on-start` is emitted without any.
    pub first_bytes: Duration,
    /// For encoders and muxer: `stop-timeout`, from the time when the last media can have arrived.
    pub drain: Duration,
    /// For the disk, while the file is finalised.
    pub completing: Duration,
}

impl Phase {
    /// The next action; `None`: wait.
    pub fn next(self, view: &View<'_>, limits: &Limits) -> Option<Action> {
        if view.is_drained {
            return Some(Action::End);
        }
        let step = match self {
            Phase::Waiting | Phase::Built if view.is_void() => Some(Action::End),
            Phase::Waiting => view.next_of_waiting(limits),
            Phase::Built => view.has_media.then_some(Action::Connect),
            Phase::Recording | Phase::Draining => None,
        };
        step.or_else(|| view.may_announce(limits).then_some(Action::AnnounceStart))
            .or_else(|| (self == Phase::Recording && view.is_over()).then_some(Action::Drain))
            .or_else(|| view.took_too_long(limits).then_some(Action::GiveUp))
    }
}

impl View<'_> {
    fn next_of_waiting(&self, limits: &Limits) -> Option<Action> {
        let missing = |track: &&TrackView| !track.is_closed && !track.is_known;
        let mut tracks = self.tracks.iter();
        if self.is_first {
            let given_up = |track: &TrackView| missing(&track) && self.gives_up(track, limits);
            if let Some(track) = tracks.position(given_up) {
                return Some(Action::LeaveOut(track));
            }
            if self.tracks.iter().any(|track| missing(&track)) {
                return None;
            }
        } else {
            // The first part decides whether it comes.
            if tracks.any(|track| missing(&track) && !track.is_closed_for_part) {
                return None;
            }
        }
        // An encoded track without a keyframe does not count as known.
        let waits = self.is_first && self.start_is_pending && !self.is_over();
        let any_known = self.tracks.iter().any(|track| track.is_known);
        (any_known && !waits).then_some(Action::Build)
    }

    /// Whether to stop waiting for a track without media.
    fn gives_up(&self, track: &TrackView, limits: &Limits) -> bool {
        let others_came = self.tracks.iter().any(|track| track.is_known);
        let patience = u64::try_from(limits.patience.as_nanos()).unwrap_or(Ns::MAX);
        let waited = self.begun > limits.patience && (self.any_live || self.ahead > patience);
        let grace = if track.is_in_encoder {
            limits.grace.max(limits.patience)
        } else {
            limits.grace
        };
        let stopped = self.stopped.is_some_and(|since| since > grace);
        track.has_ended || stopped || others_came && waited
    }

    /// Whether to emit `on-start`. Applications may request the first bytes from then on; but without any media flow it
    /// must not be delayed forever.
    fn may_announce(&self, limits: &Limits) -> bool {
        let due = self.has_bytes
            || self.is_paused
            || self.stopped.is_some()
            || self.begun > limits.first_bytes;
        !self.is_announced && !self.cut_is_pending && due
    }

    /// Whether no more media belongs to the part.
    fn is_closed(&self) -> bool {
        self.tracks.iter().all(|track| track.is_closed_for_part)
    }

    /// Whether the part will never have any media.
    fn is_void(&self) -> bool {
        self.is_closed() && !self.tracks.iter().any(|track| track.is_known)
    }

    /// Whether the part has reached its end.
    fn is_over(&self) -> bool {
        self.stopped.is_some() || self.is_closed()
    }

    fn took_too_long(&self, limits: &Limits) -> bool {
        match (self.ended, self.completing) {
            (None, _) => false,
            (Some(_), Some(since)) => since > limits.completing,
            (Some(since), None) => since > limits.drain,
        }
    }
}

#[cfg(test)]
mod tests;
