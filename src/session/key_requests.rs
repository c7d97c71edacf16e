//! Keyframes that upstream is asked for, where intervals and parts have to begin with one.

use super::{Session, track::Track};
use crate::model::timeline::Ns;

impl Session {
    /// Whether it is certain that no interval has to wait for a key frame.
    pub(super) fn may_cut_anywhere(&self) -> bool {
        let open = |track: &&Track| !track.is_closed();
        let mut open = self.tracks.iter().filter(open);
        open.all(|track| !track.is_keyed() && track.caps().is_some())
    }

    /// Asks for the key frame at which the next interval is to begin, once on each track, as
    /// soon as it is known to need one, and again where [`Track::ask_again`] says so; likewise for the next part. Goes
    /// out of the recorder: to be called without a lock.
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

    /// Asks, once, for the key frame at which this part is to end.
    pub(super) fn ask_for_key_frames_at(&self, part: usize, running: Ns) {
        for track in self.keyed_by_upstream() {
            if track.ask_once_behind(part) {
                self.ask_for_key_frame(track, running);
            }
        }
    }

    /// The tracks whose key frames are upstream's to make. (The encoder of what came raw follows the timeline.)
    pub(super) fn keyed_by_upstream(&self) -> impl Iterator<Item = &Track> {
        let of_upstream =
            |track: &&Track| track.is_keyed() && !track.is_closed() && !track.was_raw();
        self.tracks.iter().filter(of_upstream)
    }

    pub(super) fn ask_for_key_frame(&self, track: &Track, running: Ns) {
        // As the track's stamps count it.
        let running = running.saturating_add_signed(track.shift().saturating_neg());
        self.delegate.request_key_frame(track.name(), running);
    }
}
