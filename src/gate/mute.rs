//! When a track is muted: instants of running time, like cuts.

use crate::model::timeline::Ns;
use std::collections::VecDeque;

/// The changes of `mute` that a track still has before it, and what holds until then.
#[derive(Debug, Default, Clone)]
pub struct Mutes {
    muted: bool,
    ahead: VecDeque<(Ns, bool)>,
}

impl Mutes {
    /// From `at` on, the track is muted or not.
    pub fn set(&mut self, at: Ns, muted: bool) {
        let at = self.ahead.back().map_or(at, |last| at.max(last.0));
        self.ahead.push_back((at, muted));
    }

    /// Whether the track is muted where it is.
    pub fn is_muted(&self) -> bool {
        self.muted
    }

    /// The instant of the next change.
    pub fn next(&self) -> Option<Ns> {
        self.ahead.front().map(|change| change.0)
    }

    /// Leaves the next change behind; its instant, if that is not after `until`.
    pub fn pass(&mut self, until: Ns) -> Option<Ns> {
        if self.next()? > until {
            return None;
        }
        let (at, muted) = self.ahead.pop_front()?;
        self.muted = muted;
        Some(at)
    }
}
