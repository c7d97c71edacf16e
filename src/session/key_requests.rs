//! Keyframe requests to upstream, where intervals and parts have to begin with a keyframe.

use super::{Session, track::Track};
use crate::model::timeline::Ns;

impl Session {
    /// Whether no interval can have to wait for a keyframe.
    pub(super) fn may_cut_anywhere(&self) -> bool {
        let open = |track: &&Track| !track.is_closed();
        let mut open = self.tracks.iter().filter(open);
        open.all(|track| !track.is_keyed() && track.caps().is_some())
    }

    /// Requests the keyframe at which the next interval is to begin: once on each track that needs one, and again
    /// after [`Track::ask_again`]. The same for the next part. Sends events upstream: call it without a lock.
    pub fn ask_for_key_frames(&self) {
        let (wanted, split) = self.timeline.read(|t| {
            let split = t.pending_split().map(|running| (t.part(), running));
            (t.pending(), split)
        });
        for track in self.keyed_by_upstream() {
            if let Some((interval, running)) = wanted
                && track.ask_once(interval)
            {
                self.ask_for_key_frame(track, running);
            }
            if let Some((part, running)) = split
                && track.ask_once_behind(part)
            {
                self.ask_for_key_frame(track, running);
            }
        }
    }

    /// Requests, once, the keyframe at which this part is to end.
    pub(super) fn ask_for_key_frames_at(&self, part: usize, running: Ns) {
        for track in self.keyed_by_upstream() {
            if track.ask_once_behind(part) {
                self.ask_for_key_frame(track, running);
            }
        }
    }

    /// The tracks whose keyframes upstream makes. (For raw input, the encoder follows the timeline.)
    pub(super) fn keyed_by_upstream(&self) -> impl Iterator<Item = &Track> {
        let of_upstream =
            |track: &&Track| track.is_keyed() && !track.is_closed() && !track.was_raw();
        self.tracks.iter().filter(of_upstream)
    }

    pub(super) fn ask_for_key_frame(&self, track: &Track, running: Ns) {
        // In upstream's timestamps, without the shift.
        let running = running.saturating_add_signed(track.shift().saturating_neg());
        self.delegate.request_key_frame(track.name(), running);
    }
}
