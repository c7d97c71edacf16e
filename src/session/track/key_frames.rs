//! The frames at which intervals and parts may begin.

use super::Track;
use crate::{gate::Gate, model::timeline::Ns, session::lock};
use std::sync::atomic::Ordering;

impl Track {
    /// Whether its intervals have to begin at a key frame: of what is decoded, the first alone.
    pub fn is_keyed(&self) -> bool {
        if self.begins_decoded.load(Ordering::SeqCst) {
            let pending = self.timeline.read(|t| t.pending());
            return pending.is_some_and(|(interval, _)| interval == 0);
        }
        matches!(&lock(&self.inner).gate, Some(Gate::Encoded(gate)) if gate.is_keyed())
    }

    /// Its media is decoded in front of it, and can be only from a key frame on.
    pub fn begin_decoded(&self, keyed: bool) {
        self.begins_decoded.store(keyed, Ordering::SeqCst);
    }

    /// The first key frame from running time `from` on that waits, among what has arrived until
    /// the second time.
    pub fn key_frame(&self, from: Ns) -> (Option<Ns>, Ns) {
        let inner = lock(&self.inner);
        let key_frame = match self.begins_decoded.load(Ordering::SeqCst) {
            true => inner.first.map(|first| first.max(from)),
            false => inner.gate.as_ref().and_then(|gate| gate.key_frame(from)),
        };
        (key_frame, self.arrived())
    }

    /// The first frame of raw video from running time `from` on that waits.
    pub fn frame(&self, from: Ns) -> Option<Ns> {
        let inner = lock(&self.inner);
        inner.gate.as_ref().and_then(|gate| gate.frame(from))
    }

    /// The latest running time of encoded media that has come.
    pub fn newest(&self) -> Option<Ns> {
        lock(&self.inner).gate.as_ref().and_then(Gate::newest)
    }

    /// No key frame comes: the next interval begins with whatever frame does.
    pub fn begin_anywhere(&self) {
        if let Some(gate) = &mut lock(&self.inner).gate {
            gate.begin_anywhere();
        }
    }

    /// Whether it is back after frames were lost, and waits for a key frame.
    pub fn lacks_key_frame(&self) -> bool {
        matches!(&lock(&self.inner).gate, Some(Gate::Encoded(gate)) if gate.lacks_key_frame())
    }

    /// Notes that a key frame is asked for the start of this interval; FALSE if it was before.
    pub fn ask_once(&self, interval: usize) -> bool {
        self.asked.swap(interval + 1, Ordering::SeqCst) != interval + 1
    }

    /// Notes that a key frame is asked for the end of this part; FALSE if it was before.
    pub fn ask_once_behind(&self, part: usize) -> bool {
        self.asked_behind.swap(part + 1, Ordering::SeqCst) != part + 1
    }

    /// A key frame may be asked for once more.
    pub fn ask_again(&self) {
        self.asked.store(0, Ordering::SeqCst);
        self.asked_behind.store(0, Ordering::SeqCst);
    }
}
