//! Limits of the media of a track that waits for its encoder, and what happens when they are exceeded.
//!
//! All waiting media counts, wherever it is: in the gate, before the pipeline is built, or in front of the encoder. The
//! limits are time (`max-queue-time`) and bytes. Buffers of capture pools are not counted here: all but the first few
//! in the queue are copied, so that upstream's pool never runs dry.

use super::timeline::Ns;

/// Maximum bytes per track, regardless of duration.
pub const MAX_BYTES: u64 = 256 << 20;

/// A queue with less media than this is not full, regardless of bytes: one buffer has to fit.
pub const MIN_TIME: Ns = 100_000_000;

/// Non-live raw media beyond this waits upstream: more would only be evicted from the CPU caches.
const HELD_BACK: Ns = 250_000_000;

/// Extra time for media that waits for another track: only then is that track's absence detected.
pub const GRACE: Ns = 1_000_000_000;

/// Audio and encoded media are small, and wait in the muxer for raw video: their queue is this many times longer.
const SMALL_MEDIA: Ns = 8;

/// What happens to a buffer that arrives at a full queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// Upstream is not live: it blocks.
    Block,
    /// Live raw video: frames are dropped early and evenly, so that the remaining ones stay on time.
    DropEvenly,
    /// Live raw audio is dropped until there is space, and filled with silence; encoded media until the next keyframe.
    DropToKeyFrame,
}

/// Media type of a track, as needed for queueing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    RawVideo,
    RawAudio,
    Encoded,
}

/// Queue level.
#[derive(Debug, Clone, Copy, Default)]
pub struct Level {
    pub time: Ns,
    pub bytes: u64,
}

/// Queue limits of one track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    pub when_full: WhenFull,
    /// Maximum duration.
    pub time: Ns,
}

impl Queue {
    /// The limits of a track, live or not, for this `max-queue-time`.
    pub fn new(media: Media, live: bool, max_queue_time: Ns) -> Self {
        let (when_full, time) = match (live, media) {
            // Encoded media may have to be reordered after the queue.
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

    /// Whether the queue is full, with `extra` time allowed.
    pub fn is_full(&self, level: Level, extra: Ns) -> bool {
        level.exceeds(self.time.saturating_add(extra))
    }

    /// Maximum queued time before a live buffer is dropped.
    pub fn drop_time(&self) -> Ns {
        match self.when_full {
            WhenFull::Block => Ns::MAX,
            WhenFull::DropEvenly => self.time,
            WhenFull::DropToKeyFrame => self.time.saturating_mul(SMALL_MEDIA),
        }
    }

    /// Whether the next live buffer has to be dropped, with `extra` time allowed.
    pub fn overflows(&self, level: Level, extra: Ns) -> bool {
        self.when_full != WhenFull::Block && level.exceeds(self.drop_time().saturating_add(extra))
    }
}

impl Level {
    /// Whether the level exceeds `time`, or the maximum bytes of a track.
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
    fn any_time_limit_admits_one_buffer_and_bounds_bytes() {
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
