//! Where a part of a recording is, and what its supervisor does next.
//!
//! ```text
//! Waiting ─Build─▶ Built ─Connect─▶ Recording ─Drain─▶ Draining
//!    │               │                  │                 │
//!    └───────────────┴────── End ───────┴─────────────────┘
//! ```
//!
//! [`Phase::next`] looks at a [`View`] and decides; the supervisor performs the action, moves to the phase that
//! follows, and asks again.

use super::timeline::Ns;
use std::time::Duration;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not all tracks are known yet.
    Waiting,
    /// Encoders and muxer stand ready; the part has no media yet.
    Built,
    /// Media flows into the pipeline.
    Recording,
    /// All tracks have ended: encoders and muxer give out what they hold.
    Draining,
}

/// What a supervisor does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing has come on this track, and it is not waited for any longer.
    LeaveOut(usize),
    /// Builds the pipeline for the tracks that are known.
    Build,
    /// Opens the file, and lets media into the pipeline.
    Connect,
    /// `on-start`.
    AnnounceStart,
    /// Drains encoders and muxer.
    Drain,
    /// The drain has taken longer than `stop-timeout`: the part ends with an error and with what there is.
    GiveUp,
    /// The part is over.
    End,
}

/// A track, as far as it matters here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TrackView {
    /// Its caps are known.
    pub has_caps: bool,
    /// It has something for the part: caps, and a frame if it is encoded (nothing can stand in for that).
    pub is_known: bool,
    /// What has come of it may still be in the encoder that keeps the past.
    pub is_in_encoder: bool,
    /// EOS on its pad.
    pub has_ended: bool,
    /// Nothing more of it is recorded.
    pub is_closed: bool,
    /// Nothing more of it goes into this part.
    pub is_closed_for_part: bool,
}

/// What a decision depends on. Durations are the time that has passed since.
#[derive(Debug, Clone, Copy, Default)]
pub struct View<'a> {
    pub tracks: &'a [TrackView],
    /// The first part of its recording; the tracks of later ones are known from before.
    pub is_first: bool,
    /// Some track is live: the clock counts.
    pub any_live: bool,
    /// The first interval waits for its keyframe, or for the earliest buffer.
    pub start_is_pending: bool,
    /// Some cut does.
    pub cut_is_pending: bool,
    pub is_paused: bool,
    /// Media has come that belongs to the part.
    pub has_media: bool,
    /// `on-start` has been announced, or belongs to an earlier part.
    pub is_announced: bool,
    /// The muxer's caps and its first bytes are there.
    pub has_bytes: bool,
    /// The pipeline has reached EOS.
    pub is_drained: bool,
    /// How far media has run ahead of the first cut, in running time.
    pub ahead: Ns,
    /// Since the supervisor began.
    pub begun: Duration,
    /// Since `stop`.
    pub stopped: Option<Duration>,
    /// Since the end of this part, or what arrived after it.
    pub ended: Option<Duration>,
    /// Since the muxer's last byte, while the file is completed.
    pub completing: Option<Duration>,
}

/// How long what is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For a track of which nothing comes while others do: `max-queue-time`.
    pub patience: Duration,
    /// For such a track after `stop`.
    pub grace: Duration,
    /// For the first bytes, before `on-start` is announced without any.
    pub first_bytes: Duration,
    /// For encoders and muxer: `stop-timeout`, from when the last media can have arrived.
    pub drain: Duration,
    /// For the disk, when the file is completed.
    pub completing: Duration,
}

impl Phase {
    /// What is to be done now; `None`: to wait.
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
        match self.is_first {
            true => {
                let given_up = |track: &TrackView| missing(&track) && self.gives_up(track, limits);
                if let Some(track) = tracks.position(given_up) {
                    return Some(Action::LeaveOut(track));
                }
                if self.tracks.iter().any(|track| missing(&track)) {
                    return None;
                }
            }
            false => {
                if tracks.any(|track| !track.is_closed && !track.has_caps) {
                    return None;
                }
            }
        }
        // Encoded tracks that bring no keyframe are not known to be there.
        let waits = self.is_first && self.start_is_pending && !self.is_over();
        let any_known = self.tracks.iter().any(|track| track.is_known);
        (any_known && !waits).then_some(Action::Build)
    }

    /// Whether a track of which nothing has come is not waited for any longer.
    fn gives_up(&self, track: &TrackView, limits: &Limits) -> bool {
        let others_came = self.tracks.iter().any(|track| track.is_known);
        let patience = u64::try_from(limits.patience.as_nanos()).unwrap_or(Ns::MAX);
        let waited = self.begun > limits.patience && (self.any_live || self.ahead > patience);
        let grace = match track.is_in_encoder {
            true => limits.grace.max(limits.patience),
            false => limits.grace,
        };
        let stopped = self.stopped.is_some_and(|since| since > grace);
        track.has_ended || stopped || others_came && waited
    }

    /// Whether `on-start` is due. An application may ask for the first bytes from then on; but where nothing flows,
    /// nobody waits for ever.
    fn may_announce(&self, limits: &Limits) -> bool {
        let due = self.has_bytes
            || self.is_paused
            || self.stopped.is_some()
            || self.begun > limits.first_bytes;
        !self.is_announced && !self.cut_is_pending && due
    }

    /// Whether nothing more goes into the part.
    fn is_closed(&self) -> bool {
        self.tracks.iter().all(|track| track.is_closed_for_part)
    }

    /// Whether the part will never have anything.
    fn is_void(&self) -> bool {
        self.is_closed() && !self.tracks.iter().any(|track| track.is_known)
    }

    /// Whether the end has come.
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
