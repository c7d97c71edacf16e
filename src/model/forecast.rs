//! Predicts when a part reaches its maximum size from the bit rates of its tracks.

use super::timeline::Ns;

const SECOND: Ns = 1_000_000_000;

/// Duration over which a rate is measured.
const WINDOW: Ns = SECOND / 2;

/// A track further behind the others has nothing more in its encoder: it has paused.
const LONGEST_DELAY: Ns = 3 * SECOND;

/// Encoder output of a track in one part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TrackBytes {
    pub bytes: u64,
    /// Recorded time, in the part, up to which it reaches.
    pub reached: Ns,
    /// The track has ended: nothing follows.
    pub has_ended: bool,
}

/// Bit rate of one track, in bytes per second.
#[derive(Debug, Clone, Copy, Default)]
struct Rate {
    /// In the previous part.
    before: u64,
    /// Over the last window of this part.
    recent: u64,
    /// Start of the current window.
    mark: TrackBytes,
    /// The expected rate.
    expected: u64,
}

impl Rate {
    fn measure(&mut self, track: TrackBytes) {
        let media = track.reached.saturating_sub(self.mark.reached);
        if media >= WINDOW {
            self.recent = per_second(track.bytes.saturating_sub(self.mark.bytes), media);
            self.mark = track;
        }
        let average = per_second(track.bytes, track.reached.max(SECOND));
        let before = if track.reached < SECOND {
            self.before
        } else {
            0
        };
        self.expected = average.max(self.recent).max(before);
    }

    fn begin_part(&mut self) {
        *self = Rate {
            before: self.expected,
            expected: self.expected,
            ..Rate::default()
        };
    }
}

fn per_second(bytes: u64, media: Ns) -> u64 {
    let rate = u128::from(bytes) * u128::from(SECOND) / u128::from(media.max(1));
    u64::try_from(rate).unwrap_or(u64::MAX)
}

fn bytes_in(rate: u64, media: Ns) -> u64 {
    let bytes = u128::from(rate) * u128::from(media) / u128::from(SECOND);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// See the module.
#[derive(Debug)]
pub struct Forecast {
    rates: Vec<Rate>,
}

impl Forecast {
    /// Without any measurement.
    pub fn new(tracks: usize) -> Self {
        Forecast {
            rates: vec![Rate::default(); tracks],
        }
    }

    /// Starts the next part: the previous rates apply until new ones can be measured.
    pub fn begin_part(&mut self) {
        self.rates.iter_mut().for_each(Rate::begin_part);
    }

    /// Recorded time, in the part, at which these tracks reach `budget` bytes in total. It may be in the past; it is
    /// never reached if too little has arrived to measure a rate.
    pub fn full_at(&mut self, tracks: &[TrackBytes], budget: u64) -> Ns {
        let furthest = tracks.iter().map(|track| track.reached).max().unwrap_or(0);
        let mut rate = 0u64;
        // Predicted total when all tracks have reached `furthest`.
        let mut bytes = 0u64;
        for (known, track) in self.rates.iter_mut().zip(tracks) {
            known.measure(*track);
            bytes = bytes.saturating_add(track.bytes);
            if track.has_ended {
                continue;
            }
            let behind = furthest.saturating_sub(track.reached);
            bytes = bytes.saturating_add(bytes_in(known.expected, behind.min(LONGEST_DELAY)));
            if behind < LONGEST_DELAY {
                rate = rate.saturating_add(known.expected);
            }
        }
        let is_measured = furthest >= WINDOW || self.rates.iter().any(|known| known.before > 0);
        if rate == 0 || !is_measured {
            return if bytes >= budget { furthest } else { Ns::MAX };
        }
        let media = |bytes: u64| {
            let media = u128::from(bytes) * u128::from(SECOND) / u128::from(rate);
            u64::try_from(media).unwrap_or(Ns::MAX)
        };
        match budget.checked_sub(bytes) {
            Some(left) => furthest.saturating_add(media(left)),
            None => furthest.saturating_sub(media(bytes - budget)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(bytes: u64, milliseconds: u64) -> TrackBytes {
        TrackBytes {
            bytes,
            reached: milliseconds * 1_000_000,
            has_ended: false,
        }
    }

    #[test]
    fn a_steady_rate_is_predicted_whatever_the_encoders_hold() {
        let mut forecast = Forecast::new(2);
        assert_eq!(forecast.full_at(&[track(0, 0); 2], 1_000), Ns::MAX);
        // 100 kB/s, and 10 kB/s with a second still in the encoder.
        let tracks = [track(200_000, 2_000), track(10_000, 1_000)];
        assert_eq!(forecast.full_at(&tracks, 1_100_000), 10 * SECOND);
        // The time may have passed.
        assert_eq!(forecast.full_at(&tracks, 110_000), SECOND);
    }

    #[test]
    fn a_rising_rate_counts_at_once_and_a_falling_rate_is_averaged() {
        let mut forecast = Forecast::new(1);
        forecast.full_at(&[track(100_000, 1_000)], 0);
        let full = forecast.full_at(&[track(600_000, 2_000)], 1_100_000);
        assert_eq!(full, 3 * SECOND);
        forecast.full_at(&[track(600_000, 5_000)], 0);
        let full = forecast.full_at(&[track(600_000, 6_000)], 700_000);
        assert_eq!(full, 7 * SECOND);
    }

    #[test]
    fn a_part_uses_the_rates_of_the_previous_one_at_first() {
        let mut forecast = Forecast::new(1);
        forecast.full_at(&[track(1_000_000, 1_000)], 0);
        forecast.begin_part();
        assert_eq!(forecast.full_at(&[track(0, 0)], 2_000_000), 2 * SECOND);
        let full = forecast.full_at(&[track(100_000, 1_000)], 1_000_000);
        assert_eq!(full, 10 * SECOND);
    }

    #[test]
    fn a_silent_track_queues_no_more_than_an_encoder_holds() {
        let mut forecast = Forecast::new(2);
        let tracks = [track(6_000_000, 60_000), track(10_000, 1_000)];
        let full = forecast.full_at(&tracks, 7_000_000);
        assert_eq!(full, 69_600_000_000);
    }

    #[test]
    fn the_rate_of_a_track_that_has_ended_does_not_count() {
        let mut forecast = Forecast::new(2);
        forecast.full_at(&[track(1_000_000, 10_000), track(1_000_000, 10_000)], 0);
        forecast.begin_part();
        let ended = TrackBytes {
            has_ended: true,
            ..track(0, 0)
        };
        let full = forecast.full_at(&[track(100_000, 1_000), ended], 1_000_000);
        assert_eq!(full, 10 * SECOND);
    }

    #[test]
    fn too_little_media_predicts_nothing() {
        let mut forecast = Forecast::new(1);
        assert_eq!(forecast.full_at(&[track(3_000, 100)], 10_000), Ns::MAX);
        let full = forecast.full_at(&[track(30_000, 100)], 10_000);
        assert!(full <= SECOND / 10, "{full}");
    }
}
