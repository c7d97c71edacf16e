//! The bit rates of a recording: each encoder has its share of what its kind has.

use super::{Session, lock};
use crate::{
    formats,
    model::{Bitrates, Kind},
};

/// An encoder that runs.
#[derive(Debug, Clone)]
pub struct RunningEncoder {
    pub element: gst::Element,
    pub kind: Kind,
    /// Tracks of its kind, be they copied or not: each has an equal share.
    pub of_kind: usize,
}

impl Session {
    /// New bit rates, from now on; those that run are given them if they are of such a kind.
    pub fn set_bitrates(&self, bitrates: &Bitrates, of: impl Fn(Kind) -> bool) {
        self.expect_bitrates(bitrates);
        self.apply_bitrates(of);
    }

    /// New bit rates for encoders that are yet to be made.
    pub fn expect_bitrates(&self, bitrates: &Bitrates) {
        *lock(&self.bitrates) = bitrates.clone();
    }

    /// Gives the encoders of such a kind that run the rates that hold now.
    pub(super) fn apply_bitrates(&self, of: impl Fn(Kind) -> bool) {
        let bitrates = self.bitrates();
        for part in self.parts() {
            let encoders = lock(&part.encoders).clone();
            for encoder in encoders.iter().filter(|encoder| of(encoder.kind)) {
                let share = bitrates.per_track(encoder.kind, encoder.of_kind);
                formats::set_bits_per_second(&encoder.element, share);
            }
        }
    }

    /// What the track of this pad is a track of.
    pub(super) fn kind_of(&self, pad: &str) -> Option<Kind> {
        Some(self.track_named(pad)?.kind())
    }

    /// The rates that hold now.
    pub(super) fn bitrates(&self) -> Bitrates {
        lock(&self.bitrates).clone()
    }
}
