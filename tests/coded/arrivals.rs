//! What a pad of the recorder has received, as the measure for what is in the file. The timestamps of a stream from a
//! network are those that the jitter buffer gives it, however late the sender was.

use super::{MILLI, Packet, md5, packets};
use crate::common::judge::Verdict;
use gst::prelude::*;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// A gap in video from which on it resumes at a keyframe.
const OUTAGE: u64 = 1_000 * MILLI;
/// The largest gap in audio that is not filled.
const LARGEST_GAP: i64 = 100 * MILLI as i64;
/// Buffers in presentation order are at least this far apart.
const STEP: u64 = MILLI;
/// Rounding of timestamps, and the codec delay of the first packet.
const ROUNDING: f64 = 1.5e6;
const DELAY: f64 = 8e6;
/// Duration of an AAC frame of 48 kHz, which has none after a depayloader.
const AAC: u64 = 21_333_333;
/// The first packet after filled silence may move by half a packet of that.
const HALF_PACKET: f64 = 12e6;

/// A buffer on a pad.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Running time of the clock.
    pub at: u64,
    /// Running time of the buffer. A parser removes a timestamp that repeats: the buffer then follows the previous one.
    pub running: u64,
    pub duration: Option<u64>,
    pub is_key: bool,
    pub is_discont: bool,
    pub md5: String,
}

/// The buffers that a pad has received so far.
#[derive(Clone, Debug, Default)]
pub struct Arrivals(Arc<Mutex<Vec<Arrival>>>);

impl Arrivals {
    pub fn of(pad: &gst::Pad, pipeline: &gst::Pipeline) -> Self {
        let arrivals = Arrivals::default();
        let list = arrivals.0.clone();
        let pipeline = pipeline.downgrade();
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, probe| {
            let segment = pad.sticky_event::<gst::event::Segment>(0);
            let segment = segment.expect("a segment before buffers");
            let segment = segment.segment().downcast_ref::<gst::ClockTime>().cloned();
            let buffer = probe.buffer().expect("a buffer probe");
            let running = segment.and_then(|segment| segment.to_running_time(buffer.pts()));
            let now = pipeline.upgrade().and_then(|p| p.current_running_time());
            let flags = buffer.flags();
            let mut list = list.lock().unwrap();
            let follows = |last: &Arrival| last.running + last.duration.unwrap_or(0);
            let follows = list.last().map_or(0, follows);
            list.push(Arrival {
                at: now.map_or(0, gst::ClockTime::nseconds),
                running: running.map_or(follows, gst::ClockTime::nseconds),
                duration: buffer.duration().map(gst::ClockTime::nseconds),
                is_key: !flags.contains(gst::BufferFlags::DELTA_UNIT),
                is_discont: flags.contains(gst::BufferFlags::DISCONT),
                md5: md5(&buffer.map_readable().unwrap()),
            });
            gst::PadProbeReturn::Ok
        });
        arrivals
    }

    pub fn list(&self) -> Vec<Arrival> {
        self.0.lock().unwrap().clone()
    }

    /// What belongs into a recording of this interval of running time. Timestamps that step back are held.
    pub fn due(&self, is_video: bool, (begin, end): (u64, u64)) -> Vec<Arrival> {
        let mut due = Vec::new();
        let (mut latest, mut placed, mut lacks_key) = (0, 0, is_video);
        for mut arrival in self.list() {
            let gap = arrival.running.saturating_sub(latest);
            lacks_key |= is_video && arrival.is_discont && latest > 0 && gap > OUTAGE;
            latest = latest.max(arrival.running);
            if (begin..end).contains(&latest) {
                lacks_key &= !arrival.is_key;
                if !lacks_key {
                    placed = latest.max(placed + STEP);
                    arrival.running = placed;
                    due.push(arrival);
                }
            }
        }
        due
    }

    /// The newest running time that had arrived at `at`.
    pub fn reached(&self, at: u64) -> u64 {
        let list = self.list();
        let before = list.iter().filter(|arrival| arrival.at <= at);
        before.map(|arrival| arrival.running).max().unwrap_or(0)
    }
}

/// A stream in a file, next to what was due of it.
#[derive(Debug)]
pub struct Copied {
    pub packets: Vec<Packet>,
    /// Packets of silence, before each of the due ones.
    pub silence: Vec<usize>,
    /// Recorded time by which timestamps are ahead of the durations, in nanoseconds, because upstream's are.
    pub drift: i64,
    /// The largest gap between due packets.
    pub largest_gap: u64,
}

/// Judges that all packets that were due of a stream are in the file, in order, at their time; only audio has others
/// between them, where something is missing. What arrived before `start` returned at `started` may be missing.
pub fn copied(
    file: &Path,
    stream: &str,
    due: &[Arrival],
    (started, begin): (u64, u64),
) -> Verdict<Copied> {
    let packets = packets(file, stream);
    let first = packets.first().map(|packet| &packet.md5);
    let is_early = |arrival: &&Arrival| arrival.at < started && Some(&arrival.md5) != first;
    let due = &due[due.iter().take_while(is_early).count()..];
    let mut silence = vec![0];
    for (number, packet) in packets.iter().enumerate() {
        let Some(arrival) = due.get(silence.len() - 1) else {
            break;
        };
        if packet.md5 != arrival.md5 {
            if stream.starts_with('v') {
                return Err(format!(
                    "{stream}: packet {number} at {} is not the one of {arrival:?}",
                    packet.pts
                ));
            }
            *silence.last_mut().expect("never empty") += 1;
            continue;
        }
        let tolerance = match (silence.len(), silence.last()) {
            (1, _) => DELAY,
            (_, Some(0)) => ROUNDING,
            _ => HALF_PACKET,
        };
        let distance = packet.pts - (arrival.running - begin) as f64;
        if distance.abs() > tolerance {
            return Err(format!(
                "{stream}: packet {number} is {distance} ns off: {arrival:?}"
            ));
        }
        silence.push(0);
    }
    let found = silence.len() - 1;
    if found < due.len() {
        return Err(format!(
            "{stream}: {found} packets in order, {} were due; missing: {:?}, after {:?}",
            due.len(),
            due[found],
            found.checked_sub(1).map(|last| &due[last])
        ));
    }
    let mut copied = Copied {
        packets,
        silence,
        drift: 0,
        largest_gap: 0,
    };
    for (number, pair) in due.windows(2).enumerate() {
        let end = pair[0].running + pair[0].duration.unwrap_or(AAC);
        let gap = pair[1].running as i64 - end as i64;
        copied.largest_gap = copied
            .largest_gap
            .max(pair[1].running.saturating_sub(pair[0].running));
        if stream.starts_with('a') && copied.silence[number + 1] == 0 {
            if gap > LARGEST_GAP {
                return Err(format!("{stream}: {gap} ns before {:?}", pair[1]));
            }
            copied.drift += gap;
        }
    }
    Ok(copied)
}
