//! Probes that write the running time over the output of test sources.

use super::{AudioSignal, counted, frame, noise};
use gst::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// From which number and time samples are consecutive.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    index: u64,
    /// Running time in nanoseconds.
    time: f64,
    /// The number that follows the last sample seen.
    next: u64,
}

/// When the samples of a tagged pad were captured; updated while it is running.
#[derive(Clone, Debug)]
pub struct SampleClock {
    rate: u32,
    anchors: Arc<Mutex<Vec<Anchor>>>,
    passed: Arc<AtomicU64>,
}

impl SampleClock {
    /// A clock for audio whose sample 0 is at running time 0.
    pub fn from_zero(rate: u32) -> Self {
        let zero = Anchor {
            index: 0,
            time: 0.0,
            next: 0,
        };
        Self {
            rate,
            anchors: Arc::new(Mutex::new(vec![zero])),
            passed: Arc::default(),
        }
    }

    /// Running time in nanoseconds of the sample with this number.
    pub fn time_of(&self, index: u64) -> f64 {
        let anchors = self.anchors.lock().unwrap();
        let anchor = anchors
            .iter()
            .rfind(|a| a.index <= index)
            .or(anchors.first())
            .expect("no buffer has passed yet");
        anchor.time + (index as f64 - anchor.index as f64) * 1e9 / f64::from(self.rate)
    }

    /// How many samples have passed, whatever their content.
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    /// The length of the last run of consecutive samples.
    pub fn contiguous(&self) -> u64 {
        let anchors = self.anchors.lock().unwrap();
        anchors.last().map_or(0, |a| a.next - a.index)
    }

    /// TRUE once a buffer has passed.
    pub fn has_started(&self) -> bool {
        !self.anchors.lock().unwrap().is_empty()
    }

    /// How often the source's timestamps deviated from its sample count: 0 for an audio source.
    pub fn discontinuities(&self) -> usize {
        self.anchors.lock().unwrap().len().saturating_sub(1)
    }

    /// The number of the sample that starts at `time`; within one sample of the end of the last buffer, it is
    /// contiguous with it.
    fn take(&self, time: f64, samples: u64) -> u64 {
        let period = 1e9 / f64::from(self.rate);
        let mut anchors = self.anchors.lock().unwrap();
        if let Some(last) = anchors.last_mut() {
            let due = last.time + (last.next as f64 - last.index as f64) * period;
            if (time - due).abs() < period {
                let index = last.next;
                last.next += samples;
                return index;
            }
        }
        let index = (time / period).round() as u64;
        anchors.push(Anchor {
            index,
            time,
            next: index + samples,
        });
        index
    }
}

/// Running time in nanoseconds of `buffer` on `pad`.
fn running_time(pad: &gst::Pad, buffer: &gst::BufferRef) -> Option<u64> {
    let event = pad.sticky_event::<gst::event::Segment>(0)?;
    let segment = event.segment().downcast_ref::<gst::ClockTime>()?.clone();
    segment
        .to_running_time(buffer.pts()?)
        .map(gst::ClockTime::nseconds)
}

/// Overwrites every buffer of raw audio on `pad` with `signal`, by its running time. `rate` is that of the pad's
/// caps.
pub fn audio(pad: &gst::Pad, signal: AudioSignal, rate: u32) -> SampleClock {
    let clock = SampleClock {
        rate,
        anchors: Arc::default(),
        passed: Arc::default(),
    };
    let result = clock.clone();
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, probe| {
        let caps = pad.current_caps().expect("caps precede buffers");
        let info = gst_audio::AudioInfo::from_caps(&caps).expect("raw audio");
        assert_eq!(info.rate(), rate, "the rate of the caps");
        let buffer = probe.buffer_mut().expect("a buffer probe").make_mut();
        // A test source that produces silence flags it as a gap.
        buffer.unset_flags(gst::BufferFlags::GAP);
        let Some(time) = running_time(pad, buffer) else {
            return gst::PadProbeReturn::Ok;
        };
        let samples = buffer.size() as u64 / u64::from(info.bpf());
        clock.passed.fetch_add(samples, Ordering::Relaxed);
        let index = clock.take(time as f64, samples);
        let start = clock.time_of(index);
        let mut map = buffer.map_writable().expect("writable memory");
        match signal {
            AudioSignal::Counted => counted::fill(&info, index, &mut map),
            AudioSignal::Noise => noise::fill(&info, start, &mut map),
        }
        gst::PadProbeReturn::Ok
    });
    result
}

/// Reads numbered samples in S16LE stereo on a pad without modifying them: for signals from a capture device,
/// whose timestamps the test does not control.
pub fn watch(pad: &gst::Pad, rate: u32) -> SampleClock {
    let clock = SampleClock {
        rate,
        anchors: Arc::default(),
        passed: Arc::default(),
    };
    let result = clock.clone();
    let silent = Mutex::new(true);
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, probe| {
        let buffer = probe.buffer().expect("a buffer probe");
        let Some(start) = running_time(pad, buffer) else {
            return gst::PadProbeReturn::Ok;
        };
        let samples = buffer.size() as u64 / 4;
        clock.passed.fetch_add(samples, Ordering::Relaxed);
        let map = buffer.map_readable().expect("readable memory");
        let mut silent = silent.lock().unwrap();
        let mut anchors = clock.anchors.lock().unwrap();
        for (n, frame) in map.chunks_exact(4).enumerate() {
            let wide = |b: &[u8]| i32::from(i16::from_le_bytes([b[0], b[1]])) << 16;
            let counted::Reading::Index(index) =
                counted::read(&[wide(&frame[..2]), wide(&frame[2..])])
            else {
                *silent = true;
                continue;
            };
            let period = 1e9 / f64::from(rate);
            let time = start as f64 + n as f64 * period;
            let follows = anchors.last_mut().filter(|last| {
                let due = last.time + (last.next as f64 - last.index as f64) * period;
                !*silent && index == last.next && (time - due).abs() < period
            });
            match follows {
                Some(last) => last.next += 1,
                None => anchors.push(Anchor {
                    index,
                    time,
                    next: index + 1,
                }),
            }
            *silent = false;
        }
        gst::PadProbeReturn::Ok
    });
    result
}

/// The running times in nanoseconds of all frames that have passed a tagged pad.
pub type FrameLog = Arc<Mutex<Vec<u64>>>;

/// Draws its running time over every raw frame on `pad`.
pub fn video(pad: &gst::Pad) -> FrameLog {
    let log = FrameLog::default();
    let result = log.clone();
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, probe| {
        let caps = pad.current_caps().expect("caps precede buffers");
        let info = gst_video::VideoInfo::from_caps(&caps).expect("raw video");
        let buffer = probe.buffer_mut().expect("a buffer probe").make_mut();
        if let Some(time) = running_time(pad, buffer) {
            frame::draw(&info, time, buffer);
            log.lock().unwrap().push(time);
        }
        gst::PadProbeReturn::Ok
    });
    result
}
