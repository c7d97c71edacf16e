//! Bitrates of a recording: the tracks of a kind share the bitrate of that kind.

use super::{Session, lock};
use crate::{
    formats,
    model::{Bitrates, Kind},
};

/// A running encoder.
#[derive(Debug, Clone)]
pub struct RunningEncoder {
    pub element: gst::Element,
    pub kind: Kind,
    /// Number of tracks of its kind, copied ones included: each gets an equal share.
    pub of_kind: usize,
}

impl Session {
    /// Sets new bitrates, also on the running encoders of the kinds that `of` selects.
    pub fn set_bitrates(&self, bitrates: &Bitrates, of: impl Fn(Kind) -> bool) {
        self.expect_bitrates(bitrates);
        self.apply_bitrates(of);
    }

    /// Sets the bitrates for encoders that have yet to be created.
    pub fn expect_bitrates(&self, bitrates: &Bitrates) {
        *lock(&self.bitrates) = bitrates.clone();
    }

    /// Applies the current bitrates to the running encoders of the kinds that `of` selects.
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

    /// The media kind of this pad's track.
    pub(super) fn kind_of(&self, pad: &str) -> Option<Kind> {
        Some(self.track_named(pad)?.kind())
    }

    /// The current bitrates.
    pub(super) fn bitrates(&self) -> Bitrates {
        lock(&self.bitrates).clone()
    }
}
