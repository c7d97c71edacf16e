//! Mute changes of a track: instants of running time, like cuts.

use crate::model::timeline::Ns;
use std::collections::VecDeque;

/// The pending changes of `mute` of a track, and the current value.
#[derive(Debug, Default, Clone)]
pub struct Mutes {
    muted: bool,
    ahead: VecDeque<(Ns, bool)>,
}

impl Mutes {
    /// Mutes or unmutes the track from `at` on.
    pub fn set(&mut self, at: Ns, muted: bool) {
        let at = self.ahead.back().map_or(at, |last| at.max(last.0));
        self.ahead.push_back((at, muted));
    }

    /// Whether the track is muted at its current position.
    pub fn is_muted(&self) -> bool {
        self.muted
    }

    /// Running time of the next change.
    pub fn next(&self) -> Option<Ns> {
        self.ahead.front().map(|change| change.0)
    }

    /// Applies the next change if it is not after `until`, and returns its running time.
    pub fn pass(&mut self, until: Ns) -> Option<Ns> {
        if self.next()? > until {
            return None;
        }
        let (at, muted) = self.ahead.pop_front()?;
        self.muted = muted;
        Some(at)
    }
}
