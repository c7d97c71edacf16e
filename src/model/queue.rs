//! How much media of a track may wait for its encoder, and what becomes of more.
//!
//! What waits is counted as one, wherever it does: in the gate, for a pipeline that is yet to be built, in front of the
//! encoder. It is bounded in time (`max-queue-time`) and in bytes. Buffers of capture pools are not counted here: all
//! that wait but the first few are copies, so that upstream's pool never runs dry.

use super::timeline::Ns;

/// No track holds more bytes than this, however little time that is.
pub const MAX_BYTES: u64 = 256 << 20;

/// A queue with less media than this is not full, however many bytes that is: one buffer has to fit.
pub const MIN_TIME: Ns = 100_000_000;

/// Raw media that can be held back upstream waits there, beyond this: more would only grow cold in the caches.
const HELD_BACK: Ns = 250_000_000;

/// Media that waits for another track may be so much longer: the absence of that one is noticed only then.
pub const GRACE: Ns = 1_000_000_000;

/// Audio and encoded media are small, and wait in the muxer for the raw video beside them: so many times longer.
const SMALL_MEDIA: Ns = 8;

/// What becomes of a buffer that comes while as much waits as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// Upstream is not live: it waits.
    Block,
    /// Live raw video: frames are dropped early and evenly, so that those that are left stay in time.
    DropEvenly,
    /// Live raw audio is dropped until there is room, and filled with silence; encoded media to the next keyframe.
    DropToKeyFrame,
}

/// What a track carries, as far as it matters for waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    RawVideo,
    RawAudio,
    Encoded,
}

/// What waits.
#[derive(Debug, Clone, Copy, Default)]
pub struct Level {
    pub time: Ns,
    pub bytes: u64,
}

/// The limit of one track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    pub when_full: WhenFull,
    /// Media that may wait.
    pub time: Ns,
}

impl Queue {
    /// The queue of a track that upstream brings live or not, by `max-queue-time`.
    pub fn new(media: Media, live: bool, max_queue_time: Ns) -> Self {
        let (when_full, time) = match (live, media) {
            // Encoded media may have to be put in order behind the queue.
            (false, Media::Encoded) => (WhenFull::Block, max_queue_time),
            (false, _) => (WhenFull::Block, max_queue_time.min(HELD_BACK)),
            (true, Media::RawVideo) => (WhenFull::DropEvenly, max_queue_time),
            (true, _) => (WhenFull::DropToKeyFrame, max_queue_time),
        };
        Queue {
            when_full,
            time: time.max(1),
        }
    }

    /// Whether as much waits as may, and `extra` time beyond that.
    pub fn is_full(&self, level: Level, extra: Ns) -> bool {
        level.exceeds(self.time.saturating_add(extra))
    }

    /// So much media waits at the most before a live buffer is dropped.
    pub fn drop_time(&self) -> Ns {
        match self.when_full {
            WhenFull::Block => Ns::MAX,
            WhenFull::DropEvenly => self.time,
            WhenFull::DropToKeyFrame => self.time.saturating_mul(SMALL_MEDIA),
        }
    }

    /// Whether the next live buffer has to be dropped, where `extra` time may wait beyond what usually may.
    pub fn overflows(&self, level: Level, extra: Ns) -> bool {
        self.when_full != WhenFull::Block && level.exceeds(self.drop_time().saturating_add(extra))
    }
}

impl Level {
    /// Whether it is more than `time`, or than any track may hold in bytes.
    fn exceeds(&self, time: Ns) -> bool {
        self.time >= time || self.time >= MIN_TIME && self.bytes >= MAX_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Ns = 1_000_000_000;
    const ALL: [Media; 3] = [Media::RawVideo, Media::RawAudio, Media::Encoded];

    fn level(time: Ns, bytes: u64) -> Level {
        Level { time, bytes }
    }

    #[test]
    fn live_media_is_dropped_and_never_blocks() {
        let endless = level(Ns::MAX, u64::MAX);
        for media in ALL {
            let not_live = Queue::new(media, false, 2 * SECOND);
            assert_eq!(not_live.when_full, WhenFull::Block, "{media:?}");
            assert!(!not_live.overflows(endless, 0), "{media:?}");
            let live = Queue::new(media, true, 2 * SECOND);
            assert_ne!(live.when_full, WhenFull::Block, "{media:?}");
            assert!(live.overflows(endless, 0), "{media:?}");
        }
    }

    #[test]
    fn time_and_bytes_are_both_limits() {
        let video = Queue::new(Media::RawVideo, true, 2 * SECOND);
        assert!(!video.overflows(level(2 * SECOND - 1, 0), 0));
        assert!(video.overflows(level(2 * SECOND, 0), 0));
        assert!(!video.overflows(level(2 * SECOND, 0), GRACE));
        assert!(video.overflows(level(SECOND, MAX_BYTES), GRACE));
        // A single frame of any size fits.
        assert!(!video.overflows(level(SECOND / 25, 2 * MAX_BYTES), 0));
    }

    #[test]
    fn a_time_limit_of_any_size_admits_a_buffer_and_bounds_bytes() {
        for media in ALL {
            for live in [false, true] {
                let none = Queue::new(media, live, 0);
                assert!(!none.is_full(level(0, 0), 0), "{media:?}");
                let most = Queue::new(media, live, Ns::MAX);
                assert!(!most.is_full(level(HELD_BACK - 1, 0), Ns::MAX), "{media:?}");
                assert!(most.is_full(level(SECOND, MAX_BYTES), Ns::MAX), "{media:?}");
            }
        }
    }

    #[test]
    fn audio_waits_longer_than_the_video_beside_it() {
        let video = Queue::new(Media::RawVideo, true, 2 * SECOND);
        let audio = Queue::new(Media::RawAudio, true, 2 * SECOND);
        assert!(audio.drop_time() > video.drop_time() + GRACE);
    }
}
