//! Wall-clock times of a recording's intervals: from upstream's reference timestamps if there are any, else from the
//! system clock.

use super::timing::lock;
use crate::model::timeline::Ns;
use once_cell::sync::Lazy;
use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// From the NTP epoch (1900) to the Unix epoch (1970).
const NTP_TO_UNIX: i64 = 2_208_988_800_000_000_000;
/// Smaller changes of the offset are jitter of the reference timestamps.
const MIN_CHANGE: u64 = 100_000;
/// Maximum number of changes; beyond it, the older half is removed.
const MAX_CHANGES: usize = 4096;
/// Two clock readings within this time count as simultaneous.
const SAME_INSTANT: Duration = Duration::from_micros(10);
/// Maximum number of attempts at that.
const MAX_READS: usize = 8;

static UNIX: Lazy<gst::Caps> = Lazy::new(|| gst::Caps::new_empty_simple("timestamp/x-unix"));
static NTP: Lazy<gst::Caps> = Lazy::new(|| gst::Caps::new_empty_simple("timestamp/x-ntp"));

/// UTC minus running time, from reference timestamps (`GstReferenceTimestampMeta`) with the caps `timestamp/x-unix`
/// and `timestamp/x-ntp`.
#[derive(Debug, Default)]
pub struct ReferenceTime {
    /// Whether there has been one.
    known: AtomicBool,
    /// Offsets, each valid from this running time on.
    offsets: Mutex<Vec<(Ns, i64)>>,
}

impl ReferenceTime {
    /// Notes a buffer's reference timestamp, if it has one. `running` is its running time.
    pub fn note(&self, buffer: &gst::BufferRef, running: Ns) {
        for meta in buffer.iter_meta::<gst::ReferenceTimestampMeta>() {
            let Ok(time) = i64::try_from(meta.timestamp().nseconds()) else {
                continue;
            };
            let reference = meta.reference();
            if reference.is_subset(&UNIX) {
                self.change(running, time);
            } else if reference.is_subset(&NTP) {
                self.change(running, time.saturating_sub(NTP_TO_UNIX));
            }
        }
    }

    fn change(&self, running: Ns, utc: i64) {
        let offset = utc.saturating_sub_unsigned(running);
        let mut offsets = lock(&self.offsets);
        let last = offsets.last();
        if last.is_some_and(|(_, last)| last.abs_diff(offset) < MIN_CHANGE) {
            return;
        }
        if offsets.len() >= MAX_CHANGES {
            offsets.drain(..MAX_CHANGES / 2);
        }
        offsets.push((running, offset));
        self.known.store(true, Ordering::Release);
    }

    /// UTC at a running time, in nanoseconds since 1970.
    pub fn utc(&self, running: Ns) -> Option<i64> {
        if !self.known.load(Ordering::Acquire) {
            return None;
        }
        let offsets = lock(&self.offsets);
        let before = offsets.iter().rev().find(|(from, _)| *from <= running);
        let (_, offset) = before.or(offsets.first())?;
        Some(offset.saturating_add_unsigned(running))
    }

    /// Forgets everything, for a new READY→PAUSED.
    pub fn reset(&self) {
        self.known.store(false, Ordering::Release);
        lock(&self.offsets).clear();
    }
}

/// System clock minus `now`, in nanoseconds since 1970, both read at the same instant.
pub fn system_offset(now: impl Fn() -> Ns) -> i64 {
    let mut best: Option<(Duration, i64)> = None;
    for _ in 0..MAX_READS {
        let begun = Instant::now();
        let running = now();
        let system = SystemTime::now();
        let took = begun.elapsed();
        let utc = system.duration_since(UNIX_EPOCH).unwrap_or_default();
        let utc = i64::try_from(utc.as_nanos()).unwrap_or(i64::MAX);
        let offset = utc.saturating_sub_unsigned(running);
        if best.is_none_or(|(least, _)| took < least) {
            best = Some((took, offset));
        }
        if took <= SAME_INSTANT {
            break;
        }
    }
    best.map_or(0, |(_, offset)| offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_timestamps_are_extrapolated_to_the_cut() {
        gst::init().unwrap();
        let reference = ReferenceTime::default();
        assert_eq!(reference.utc(5), None);
        let stamped = |caps: &gst::Caps, time: u64| {
            let mut buffer = gst::Buffer::new();
            let time = gst::ClockTime::from_nseconds(time);
            gst::ReferenceTimestampMeta::add(buffer.make_mut(), caps, time, None);
            buffer
        };
        let second = 1_000_000_000;
        let ntp = u64::try_from(NTP_TO_UNIX).unwrap();
        reference.note(&stamped(&UNIX, 50 * second), 10 * second);
        reference.note(&stamped(&UNIX, 60 * second + 50_000), 20 * second);
        reference.note(&stamped(&NTP, ntp + 71 * second), 30 * second);
        let other = gst::Caps::new_empty_simple("timestamp/x-ptp");
        reference.note(&stamped(&other, 5), 40 * second);
        let at = |running: u64| reference.utc(running * second).unwrap() / 1_000_000_000;
        assert_eq!(
            [at(5), at(10), at(25), at(30), at(40)],
            [45, 50, 65, 71, 81]
        );
        reference.reset();
        assert_eq!(reference.utc(5), None);
    }
}
