//! The frames at which intervals and parts may begin.

use super::Track;
use crate::{gate::Gate, model::timeline::Ns, session::lock};
use std::sync::atomic::Ordering;

impl Track {
    /// Whether its intervals have to begin at a keyframe. If it is decoded, this holds only for the first.
    pub fn is_keyed(&self) -> bool {
        if self.begins_decoded.load(Ordering::SeqCst) {
            let pending = self.timeline.read(|t| t.pending());
            return pending.is_some_and(|(interval, _)| interval == 0);
        }
        matches!(&lock(&self.inner).gate, Some(Gate::Encoded(gate)) if gate.is_keyed())
    }

    /// Its media is decoded upstream of the track; if `keyed`, from a keyframe on.
    pub fn begin_decoded(&self, keyed: bool) {
        self.begins_decoded.store(keyed, Ordering::SeqCst);
    }

    /// The first queued keyframe from running time `from` on, and the running time up to which media has arrived.
    pub fn key_frame(&self, from: Ns) -> (Option<Ns>, Ns) {
        let inner = lock(&self.inner);
        let key_frame = if self.begins_decoded.load(Ordering::SeqCst) {
            inner.first.map(|first| first.max(from))
        } else {
            inner.gate.as_ref().and_then(|gate| gate.key_frame(from))
        };
        (key_frame, self.arrived())
    }

    /// The first queued frame of raw video from running time `from` on.
    pub fn frame(&self, from: Ns) -> Option<Ns> {
        let inner = lock(&self.inner);
        inner.gate.as_ref().and_then(|gate| gate.frame(from))
    }

    /// The latest running time of encoded media that has arrived.
    pub fn newest(&self) -> Option<Ns> {
        lock(&self.inner).gate.as_ref().and_then(Gate::newest)
    }

    /// Running time at which its furthest frame ends. With B-frames, that is later than [`Track::arrived`].
    pub fn furthest(&self) -> Ns {
        lock(&self.inner).furthest
    }

    /// No keyframe arrives: the next interval begins with any frame.
    pub fn begin_anywhere(&self) {
        if let Some(gate) = &mut lock(&self.inner).gate {
            gate.begin_anywhere();
        }
    }

    /// Whether it resumes after a loss and waits for a keyframe.
    pub fn lacks_key_frame(&self) -> bool {
        matches!(&lock(&self.inner).gate, Some(Gate::Encoded(gate)) if gate.lacks_key_frame())
    }

    /// Notes that a keyframe is requested for the start of this interval. FALSE if that was done before.
    pub fn ask_once(&self, interval: usize) -> bool {
        self.asked.swap(interval + 1, Ordering::SeqCst) != interval + 1
    }

    /// Notes that a keyframe is requested for the end of this part. FALSE if that was done before.
    pub fn ask_once_behind(&self, part: usize) -> bool {
        self.asked_behind.swap(part + 1, Ordering::SeqCst) != part + 1
    }

    /// Allows keyframe requests to be repeated.
    pub fn ask_again(&self) {
        self.asked.store(0, Ordering::SeqCst);
        self.asked_behind.store(0, Ordering::SeqCst);
    }
}
