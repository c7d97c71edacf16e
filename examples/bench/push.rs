//! Buffers pushed into one element by the calling thread, so that only its chain function is measured.

use anyhow::{Context, Result, ensure};
use gst::prelude::*;
use gstmediarecorder::MediaRecorder;
use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// One sample each: the smallest buffers that all of them accept as raw audio.
const CAPS: &str = "audio/x-raw,format=S16LE,rate=48000,channels=2,layout=interleaved";
const SAMPLE_BYTES: usize = 4;
const SAMPLE: gst::ClockTime = gst::ClockTime::from_nseconds(1_000_000_000 / 48_000);
/// Buffers created and pushed at a time: no more than caches hold.
const BATCH: u64 = 200;
/// Buffers that may wait to be recorded.
const GATHERED: u64 = 20_000;
/// Far less than the recorder's `max-queue-time`.
const AHEAD: gst::ClockTime = gst::ClockTime::from_seconds(60);
/// More than the intervals of many short cuts have.
const FEW: u64 = 10_000;

/// The recorder's state meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    Nothing,
    /// Recording, after this many cuts.
    Recording(u64),
    /// Paused, after this many cuts.
    Paused(u64),
}

/// An element in a playing pipeline, and a pad that pushes into it.
pub struct Subject {
    pipeline: gst::Pipeline,
    recorder: Option<(MediaRecorder, gst_check::TestClock)>,
    pad: gst::Pad,
    next: gst::ClockTime,
}

/// Elements to compare with: their name here, and in a gst-launch line.
pub const OTHERS: &[(&str, &str)] = &[
    ("fakesink", ""),
    ("valve that drops", "valve drop=true"),
    ("valve that is open, fakesink", "valve"),
    ("identity, fakesink", "identity"),
];
/// The same, if it is available.
pub const TOGGLERECORD: (&str, &str) = (
    "togglerecord that records, fakesink",
    "togglerecord record=true",
);

impl Subject {
    /// Another element, and a fakesink.
    pub fn other(element: &str) -> Result<Self> {
        let pipeline = gst::Pipeline::new();
        let sink = gst::ElementFactory::make("fakesink")
            .property("sync", false)
            .property("async", false)
            .build()?;
        pipeline.add(&sink)?;
        let mut first = sink.clone();
        if !element.is_empty() {
            let mut words = element.split(' ');
            first = gst::ElementFactory::make(words.next().unwrap_or_default()).build()?;
            for (name, value) in words.filter_map(|word| word.split_once('=')) {
                first.set_property_from_str(name, value);
            }
            pipeline.add(&first)?;
            first.link(&sink)?;
        }
        pipeline.set_state(gst::State::Playing)?;
        let mut subject = Self {
            pad: pad_into(&first, "sink", CAPS)?,
            pipeline,
            recorder: None,
            next: gst::ClockTime::ZERO,
        };
        subject.push(100);
        let rendered = sink
            .property::<gst::Structure>("stats")
            .get::<u64>("rendered")?;
        let drops = element.contains("drop=true");
        ensure!(
            (rendered == 0) == drops,
            "{element} lets {rendered} of 100 buffers through"
        );
        Ok(subject)
    }

    /// A recorder of uncompressed audio without output.
    pub fn recorder(doing: Doing) -> Result<Self> {
        let recorder = MediaRecorder::builder()
            .mime_type("audio/wav")
            .location("/dev/null")
            // Queued media is not the subject here.
            .max_queue_time(gst::ClockTime::from_seconds(3_600))
            .build();
        let pipeline = gst::Pipeline::new();
        pipeline.add(&recorder)?;
        // Cuts are at this clock's time.
        let clock = gst_check::TestClock::new();
        pipeline.use_clock(Some(&clock));
        pipeline.set_state(gst::State::Playing)?;
        let mut subject = Self {
            pad: pad_into(recorder.upcast_ref(), "audio_0", CAPS)?,
            pipeline,
            recorder: Some((recorder.clone(), clock.clone())),
            next: gst::ClockTime::ZERO,
        };
        // Each variant ends in the requested state: an odd number of cuts needs one more.
        let cuts = match doing {
            Doing::Nothing => None,
            Doing::Recording(cuts) => Some(cuts.next_multiple_of(2)),
            Doing::Paused(cuts) => Some(cuts | 1),
        };
        if let Some(cuts) = cuts {
            recorder.start()?;
            for cut in 0..cuts {
                subject.push(1);
                clock.set_time(subject.next);
                match cut % 2 {
                    0 => recorder.pause()?,
                    _ => recorder.resume()?,
                }
            }
        }
        // It has to do what is measured.
        let taken = || {
            recorder
                .stats()
                .tracks
                .first()
                .map_or(0, |track| track.encoded)
        };
        let before = taken();
        subject.push(2 * FEW);
        let deadline = Instant::now() + Duration::from_secs(10);
        let recording = matches!(doing, Doing::Recording(_));
        while recording && taken() < before + FEW && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        subject.settle();
        let recorded = taken() - before;
        ensure!(
            (recorded >= FEW) == recording,
            "{doing:?}: {recorded} of {} buffers were recorded",
            2 * FEW
        );
        Ok(subject)
    }

    /// Pushes this many buffers, each with its own memory, and returns the CPU time of this thread: other load of
    /// the machine is not counted.
    pub fn push(&mut self, count: u64) -> Duration {
        let mut left = count;
        if count > 1 {
            self.go_ahead();
        }
        let mut took = Duration::ZERO;
        while left > 0 {
            let batch = left.min(BATCH);
            left -= batch;
            let buffers: Vec<gst::Buffer> = (0..batch).map(|_| self.buffer()).collect();
            let begin = thread_time();
            for buffer in buffers {
                black_box(self.pad.push(buffer)).expect("taken");
            }
            took += thread_time().saturating_sub(begin);
            if count > BATCH && left % GATHERED < BATCH {
                self.settle();
                self.go_ahead();
            }
        }
        took
    }

    /// Advances the clock so far that the buffers are in its past, but not so far that they are replaced.
    fn go_ahead(&self) {
        if let Some((_, clock)) = &self.recorder {
            clock.set_time(self.next + AHEAD);
        }
    }

    fn buffer(&mut self) -> gst::Buffer {
        let mut buffer = gst::Buffer::with_size(SAMPLE_BYTES).expect("memory");
        let stamped = buffer.make_mut();
        stamped.set_pts(self.next);
        stamped.set_duration(SAMPLE);
        self.next += SAMPLE;
        buffer
    }

    /// Waits until the pushed buffers have been recorded: they would only fill memory.
    fn settle(&self) {
        let Some((recorder, _)) = &self.recorder else {
            return;
        };
        let mut before = u64::MAX;
        loop {
            let now = recorder.stats().bytes;
            if now == before {
                return;
            }
            before = now;
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// A live source's pad that pushes into the pad of `element` with this name or template.
pub fn pad_into(element: &gst::Element, pad: &str, caps: &str) -> Result<gst::Pad> {
    let sink = element
        .static_pad(pad)
        .or_else(|| element.request_pad_simple(pad))
        .context("no sink pad")?;
    let source = gst::Pad::builder(gst::PadDirection::Src)
        .name("src")
        .query_function(|pad, parent, query| match query.view_mut() {
            // Live: nothing is blocked, nothing waits.
            gst::QueryViewMut::Latency(latency) => {
                latency.set(true, gst::ClockTime::ZERO, gst::ClockTime::NONE);
                true
            }
            _ => gst::Pad::query_default(pad, parent, query),
        })
        .build();
    source.set_active(true)?;
    source.link(&sink)?;
    source.push_event(gst::event::StreamStart::new("bench"));
    let caps: gst::Caps = caps.parse()?;
    source.push_event(gst::event::Caps::new(&caps));
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    source.push_event(gst::event::Segment::new(&segment));
    Ok(source)
}

/// CPU time of this thread, user and system.
fn thread_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to memory of the right type that outlives the call.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(
        time.tv_sec.unsigned_abs(),
        time.tv_nsec.unsigned_abs() as u32,
    )
}
