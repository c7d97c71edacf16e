//! A track that the test pushes buffer by buffer, so that cuts fall on known instants.
//!
//! A pad without an element pushes directly into the recorder, from its own thread: once a buffer is reported as
//! taken, the recorder's chain function has returned.

use super::DEADLINE;
use gst::prelude::*;
use std::sync::{Arc, Condvar, Mutex, mpsc};

/// Audio: sample rate.
pub const RATE: u64 = 48_000;
/// Audio: samples per buffer, 10 ms.
const CHUNK: u64 = 480;
/// Audio: samples count up to this and wrap to 0.
pub const WRAP: u64 = 30_000;
/// Video: frame duration, 25 frames per second.
pub const FRAME: gst::ClockTime = gst::ClockTime::from_mseconds(40);
const WIDTH: usize = 160;
const HEIGHT: usize = 120;

enum Item {
    Event(gst::Event),
    Buffer(gst::Buffer),
}

#[derive(Default)]
struct Progress {
    queued: u64,
    taken: u64,
    flow: Option<Result<gst::FlowSuccess, gst::FlowError>>,
}

/// A track that the test pushes.
pub struct PushTrack {
    /// The recorder's pad.
    pub pad: gst::Pad,
    video: bool,
    items: mpsc::Sender<Item>,
    progress: Arc<(Mutex<Progress>, Condvar)>,
    /// Index of the next buffer.
    next: Mutex<u64>,
    /// Events to send before the first buffer.
    introduction: Mutex<Vec<gst::Event>>,
}

impl PushTrack {
    pub(super) fn audio(recorder: &gst::Element, late: bool) -> Self {
        let caps = gst::Caps::builder("audio/x-raw")
            .field("format", "S16LE")
            .field("layout", "interleaved")
            .field("rate", RATE as i32)
            .field("channels", 1i32)
            .build();
        PushTrack::new(recorder, "audio_%u", caps, late)
    }

    pub(super) fn video(recorder: &gst::Element, late: bool) -> Self {
        let caps = gst::Caps::builder("video/x-raw")
            .field("format", "I420")
            .field("width", WIDTH as i32)
            .field("height", HEIGHT as i32)
            .field("framerate", gst::Fraction::new(25, 1))
            .field("interlace-mode", "progressive")
            .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
            .build();
        PushTrack::new(recorder, "video_%u", caps, late)
    }

    /// A track with the given caps; its buffers are pushed by [`PushTrack::push`].
    pub fn of_caps(recorder: &gst::Element, template: &str, caps: gst::Caps) -> Self {
        PushTrack::new(recorder, template, caps, false)
    }

    fn new(recorder: &gst::Element, template: &str, caps: gst::Caps, late: bool) -> Self {
        let video = template.starts_with("video");
        let sink = recorder
            .request_pad_simple(template)
            .expect("the recorder has a request pad");
        let source = gst::Pad::builder(gst::PadDirection::Src)
            .name(format!("feed-{}", sink.name()))
            .query_function(|pad, parent, query| match query.view_mut() {
                gst::QueryViewMut::Latency(q) => {
                    q.set(false, gst::ClockTime::ZERO, gst::ClockTime::NONE);
                    true
                }
                _ => gst::Pad::query_default(pad, parent, query),
            })
            .build();
        source.set_active(true).expect("a free pad activates");
        source.link(&sink).expect("the pads link");

        let stream = sink.name().to_string();
        let (items, taken_from) = mpsc::channel();
        let progress = Arc::<(Mutex<Progress>, Condvar)>::default();
        let report = progress.clone();
        std::thread::spawn(move || {
            for item in taken_from {
                let flow = match item {
                    Item::Event(event) => {
                        source.push_event(event);
                        None
                    }
                    Item::Buffer(buffer) => Some(source.push(buffer)),
                };
                let mut progress = report.0.lock().unwrap();
                progress.taken += 1;
                progress.flow = flow.or(progress.flow);
                report.1.notify_all();
            }
        });

        let feed = PushTrack {
            pad: sink,
            video,
            items,
            progress,
            next: Mutex::new(0),
            introduction: Mutex::new(vec![
                gst::event::StreamStart::new(&format!("feed/{stream}")),
                gst::event::Caps::new(&caps),
                gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()),
            ]),
        };
        if !late {
            feed.introduce();
        }
        feed
    }

    /// Sends the events before the first buffer: stream-start, caps, segment.
    fn introduce(&self) {
        for event in std::mem::take(&mut *self.introduction.lock().unwrap()) {
            self.event(event);
        }
    }

    fn queue(&self, item: Item) {
        self.progress.0.lock().unwrap().queued += 1;
        self.items.send(item).expect("the feed's thread runs");
    }

    /// Queues one buffer without waiting until it is taken.
    pub fn push(&self, buffer: gst::Buffer) {
        self.queue(Item::Buffer(buffer));
    }

    /// Queues an event, in order with the buffers.
    pub fn event(&self, event: gst::Event) {
        self.queue(Item::Event(event));
    }

    /// EOS.
    pub fn end(&self) {
        self.event(gst::event::Eos::new());
    }

    /// Queues `duration` of media without waiting until it is taken.
    pub fn queue_media(&self, duration: gst::ClockTime) {
        self.introduce();
        let mut next = self.next.lock().unwrap();
        let step = if self.video {
            FRAME
        } else {
            gst::ClockTime::from_mseconds(10)
        };
        assert_eq!(
            duration.nseconds() % step.nseconds(),
            0,
            "whole buffers of {step} only"
        );
        for _ in 0..duration.nseconds() / step.nseconds() {
            let index = *next;
            *next += 1;
            let bytes = if self.video {
                picture(index)
            } else {
                sound(index)
            };
            let mut buffer = gst::Buffer::from_mut_slice(bytes);
            let fields = buffer.get_mut().expect("a new buffer is writable");
            fields.set_pts(step * index);
            fields.set_duration(step);
            self.push(buffer);
        }
    }

    /// Pushes `duration` of media and waits until the recorder has taken it.
    #[track_caller]
    pub fn advance(&self, duration: gst::ClockTime) {
        self.queue_media(duration);
        self.wait_taken();
    }

    /// Waits until everything queued has been taken.
    #[track_caller]
    pub fn wait_taken(&self) {
        let (progress, moved) = &*self.progress;
        let (progress, result) = moved
            .wait_timeout_while(progress.lock().unwrap(), DEADLINE, |p| p.taken < p.queued)
            .unwrap();
        let (taken, queued) = (progress.taken, progress.queued);
        drop(progress);
        assert!(
            !result.timed_out(),
            "{}: {taken} of {queued} taken within {DEADLINE:?}",
            self.pad.name()
        );
    }

    /// Whether everything queued has been taken.
    pub fn all_taken(&self) -> bool {
        let progress = self.progress.0.lock().unwrap();
        progress.taken == progress.queued
    }

    /// The flow return of the last push.
    pub fn flow(&self) -> Option<Result<gst::FlowSuccess, gst::FlowError>> {
        self.progress.0.lock().unwrap().flow
    }
}

/// Pushes the same `duration` on several tracks at once and waits until all of it has been taken.
#[track_caller]
pub fn advance_all(feeds: &[&PushTrack], duration: gst::ClockTime) {
    for feed in feeds {
        feed.queue_media(duration);
    }
    for feed in feeds {
        feed.wait_taken();
    }
}

/// The value of audio sample number `n`.
pub fn sample_at(n: u64) -> i16 {
    (n % WRAP) as i16
}

fn sound(index: u64) -> Vec<u8> {
    (index * CHUNK..(index + 1) * CHUNK)
        .flat_map(|n| sample_at(n).to_le_bytes())
        .collect()
}

fn picture(index: u64) -> Vec<u8> {
    let luma = 16 + (index * 3 % 220) as u8;
    let mut bytes = vec![luma; WIDTH * HEIGHT];
    bytes.resize(WIDTH * HEIGHT * 3 / 2, 128);
    bytes
}
