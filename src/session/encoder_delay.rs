//! Encoder delay in timestamps: audio packets are timestamped later by the priming that the encoder adds, and
//! reordered video by the PTS–DTS distance of its first frame. Blobs and fragment ends account for it.

use super::probe::on_caps;
use crate::model::timeline::Ns;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// By how much timestamps in front of the muxer are later than recorded time.
#[derive(Debug)]
pub struct EncoderDelays {
    /// Per track, in nanoseconds; 0 while unknown, and for video.
    late: Vec<AtomicU64>,
    /// Per track, in nanoseconds: the first frame's PTS minus its DTS.
    reordered: Vec<AtomicU64>,
    /// Number, from 1, of the track whose fragment the muxer is writing; 0 without fragments.
    fragment: AtomicUsize,
}

impl EncoderDelays {
    /// For this many tracks.
    pub fn new(tracks: usize) -> Self {
        EncoderDelays {
            late: (0..tracks).map(|_| AtomicU64::new(0)).collect(),
            reordered: (0..tracks).map(|_| AtomicU64::new(0)).collect(),
            fragment: AtomicUsize::new(0),
        }
    }

    /// Sets the delay of a track.
    pub fn set(&self, track: usize, late: Ns) {
        if let Some(of_track) = self.late.get(track) {
            of_track.store(late, Ordering::SeqCst);
        }
    }

    /// Sets the PTS–DTS distance of a track's first frame.
    pub fn set_reordered(&self, track: usize, before: Ns) {
        if let Some(of_track) = self.reordered.get(track) {
            of_track.store(before, Ordering::SeqCst);
        }
    }

    /// The total delay of a track's timestamps.
    pub fn of(&self, track: usize) -> Ns {
        let of = |late: &Vec<AtomicU64>| {
            late.get(track)
                .map_or(0, |late| late.load(Ordering::SeqCst))
        };
        of(&self.late) + of(&self.reordered)
    }

    /// The minimum delay of all tracks; 0 if there is video.
    pub fn least(&self) -> Ns {
        let late = self.late.iter().map(|late| late.load(Ordering::SeqCst));
        late.min().unwrap_or(0)
    }

    /// The maximum delay of all tracks.
    pub fn most(&self) -> Ns {
        let late = self.late.iter().map(|late| late.load(Ordering::SeqCst));
        late.max().unwrap_or(0)
    }

    /// The muxer begins a fragment of this track, counted from 1.
    pub fn begins(&self, track: usize) {
        self.fragment.store(track, Ordering::SeqCst);
    }

    /// The delay of a track's decode times.
    pub fn of_decoding(&self, track: usize) -> Ns {
        let late = self.late.get(track);
        late.map_or(0, |late| late.load(Ordering::SeqCst))
    }

    /// Subtracts the encoder delay from the timestamps of the muxer's output, as far as it is known to which track
    /// that belongs.
    pub fn stamp(&self, mut buffer: gst::Buffer) -> gst::Buffer {
        let Some(pts) = buffer.pts() else {
            return buffer;
        };
        let late = match self.fragment.load(Ordering::SeqCst) {
            0 => self.least(),
            track => self.of(track - 1),
        };
        if late == 0 {
            return buffer;
        }
        let late = gst::ClockTime::from_nseconds(late);
        let end = buffer.duration().map(|duration| pts + duration);
        let begin = pts.saturating_sub(late);
        let fields = buffer.make_mut();
        fields.set_pts(begin);
        fields.set_duration(end.map(|end| end.saturating_sub(late).saturating_sub(begin)));
        buffer
    }
}

/// Calls `report` with the duration of `samples` in nanoseconds, at the rate of the caps on the muxer's `pad`.
pub fn listen(pad: &gst::Pad, samples: u32, report: impl Fn(Ns) + Send + Sync + 'static) {
    on_caps(pad, move |caps| {
        let rate = caps.structure(0)?.get::<i32>("rate").ok()?;
        let rate = u64::try_from(rate).ok().filter(|rate| *rate > 0)?;
        report(u64::from(samples) * 1_000_000_000 / rate);
        None
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_follow_the_audio() {
        gst::init().unwrap();
        let stamped = |delays: &EncoderDelays, pts, duration| {
            let mut buffer = gst::Buffer::new();
            let fields = buffer.get_mut().unwrap();
            fields.set_pts(gst::ClockTime::from_mseconds(pts));
            fields.set_duration(gst::ClockTime::from_mseconds(duration));
            let buffer = delays.stamp(buffer);
            let (pts, duration) = (buffer.pts().unwrap(), buffer.duration().unwrap());
            (pts.mseconds(), duration.mseconds())
        };
        let delays = EncoderDelays::new(2);
        delays.set(0, 33_000_000);
        assert_eq!(stamped(&delays, 40, 20), (40, 20));
        for (track, seen) in [(1, (7, 20)), (2, (40, 20)), (3, (40, 20))] {
            delays.begins(track);
            assert_eq!(
                stamped(&delays, 40, 20),
                seen,
                "in a fragment of track {track}"
            );
        }
        let delays = EncoderDelays::new(2);
        delays.set(0, 33_000_000);
        delays.set(1, 35_000_000);
        // Entirely before the start, partly, and not at all.
        assert_eq!(stamped(&delays, 0, 20), (0, 0));
        assert_eq!(stamped(&delays, 20, 20), (0, 7));
        assert_eq!(stamped(&delays, 40, 20), (7, 20));
        assert!(delays.stamp(gst::Buffer::new()).pts().is_none());
    }
}
