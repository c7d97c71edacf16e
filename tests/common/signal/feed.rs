//! A source pad controlled by the test: each push returns once the buffer has been taken.

use gst::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};

/// The answer to LATENCY queries.
#[derive(Clone, Copy, Debug)]
pub enum Upstream {
    /// A live source whose buffers arrive this late.
    Live(gst::ClockTime),
    NotLive,
}

/// A source pad without an element, linked to the pad under test.
#[derive(Debug)]
pub struct Feed {
    pad: gst::Pad,
}

impl Feed {
    /// Links to `peer` and sends the events that precede the first buffer.
    pub fn new(peer: &gst::Pad, caps: &gst::Caps, upstream: Upstream) -> Self {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let pad = gst::Pad::builder(gst::PadDirection::Src)
            .name(format!("feed_{serial}"))
            .query_function(move |pad, parent, query| {
                if let gst::QueryViewMut::Latency(latency) = query.view_mut() {
                    match upstream {
                        Upstream::Live(min) => latency.set(true, min, gst::ClockTime::NONE),
                        Upstream::NotLive => {
                            latency.set(false, gst::ClockTime::ZERO, gst::ClockTime::NONE)
                        }
                    }
                    return true;
                }
                gst::Pad::query_default(pad, parent, query)
            })
            .build();
        pad.set_active(true)
            .expect("a pad without parent activates");
        pad.link(peer).expect("the pad under test takes a link");
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        pad.push_event(gst::event::StreamStart::new(&format!("feed/{serial}")));
        pad.push_event(gst::event::Caps::new(caps));
        pad.push_event(gst::event::Segment::new(&segment));
        Self { pad }
    }

    pub fn push(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.pad.push(buffer)
    }

    /// Sends new caps for the following buffers.
    pub fn set_caps(&self, caps: &gst::Caps) {
        self.pad.push_event(gst::event::Caps::new(caps));
    }

    pub fn end(&self) -> bool {
        self.pad.push_event(gst::event::Eos::new())
    }
}

/// A buffer of raw audio, with the timestamps of samples `first..first + samples`.
pub fn stamped(bytes: Vec<u8>, rate: u32, first: u64, samples: u64) -> gst::Buffer {
    let (start, end) = (
        super::sample_time(first, rate),
        super::sample_time(first + samples, rate),
    );
    let mut buffer = gst::Buffer::from_mut_slice(bytes);
    let fields = buffer.get_mut().expect("a new buffer is writable");
    fields.set_pts(gst::ClockTime::from_nseconds(start));
    fields.set_duration(gst::ClockTime::from_nseconds(end - start));
    buffer
}
