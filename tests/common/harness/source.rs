//! Test sources, and how they are linked to, ended on and removed from a recorder.

use super::wait_for;
use gst::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A source, its caps, and the pad template to link it to.
pub struct Made {
    source: gst::Element,
    caps: gst::Caps,
    template: &'static str,
}

/// 48 kHz stereo in buffers of 10 ms.
pub fn audio(live: bool, buffers: Option<i32>) -> Made {
    Made {
        source: gst::ElementFactory::make("audiotestsrc")
            .property("is-live", live)
            .property("samplesperbuffer", 480i32)
            .property("num-buffers", buffers.unwrap_or(-1))
            .build()
            .expect("audiotestsrc"),
        caps: gst::Caps::builder("audio/x-raw")
            .field("format", "S16LE")
            .field("layout", "interleaved")
            .field("rate", 48000i32)
            .field("channels", 2i32)
            .build(),
        template: "audio_%u",
    }
}

/// 160x120 at 30 frames per second.
pub fn video(live: bool, frames: Option<i32>) -> Made {
    Made {
        source: gst::ElementFactory::make("videotestsrc")
            .property("is-live", live)
            .property("num-buffers", frames.unwrap_or(-1))
            .property_from_str("pattern", "ball")
            .build()
            .expect("videotestsrc"),
        caps: gst::Caps::builder("video/x-raw")
            .field("format", "I420")
            .field("width", 160i32)
            .field("height", 120i32)
            .field("framerate", gst::Fraction::new(30, 1))
            .build(),
        template: "video_%u",
    }
}

impl Made {
    /// Adds the source to the pipeline, links it to a new pad of `recorder`, and starts it.
    pub fn attach(self, pipeline: &gst::Pipeline, recorder: &gst::Element) -> Track {
        let filter = gst::ElementFactory::make("capsfilter")
            .property("caps", &self.caps)
            .build()
            .expect("capsfilter");
        // Closed before the pad is released, so that the source never pushes into an unlinked pad.
        let valve = gst::ElementFactory::make("valve").build().expect("valve");
        let elements = vec![self.source, filter, valve];
        pipeline.add_many(&elements).expect("the source is added");
        gst::Element::link_many(&elements).expect("the source is linked");

        let pad = recorder
            .request_pad_simple(self.template)
            .expect("the recorder has a request pad");
        let received = Arc::new(AtomicU64::new(0));
        let count = received.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            count.fetch_add(1, Ordering::SeqCst);
            gst::PadProbeReturn::Ok
        });
        elements[2]
            .static_pad("src")
            .expect("a valve has a src pad")
            .link(&pad)
            .expect("the pads link");
        for element in elements.iter().rev() {
            element
                .sync_state_with_parent()
                .expect("the source follows the pipeline");
        }
        Track {
            pad,
            received,
            elements,
        }
    }
}

/// A source linked to a pad of the recorder.
pub struct Track {
    /// The recorder's pad.
    pub pad: gst::Pad,
    /// The number of buffers that have arrived at that pad.
    pub received: Arc<AtomicU64>,
    elements: Vec<gst::Element>,
}

impl Track {
    /// Waits until `n` more buffers have arrived at the recorder.
    #[track_caller]
    pub fn wait_buffers(&self, n: u64) {
        let goal = self.received.load(Ordering::SeqCst) + n;
        wait_for(&format!("{n} more buffers on {}", self.pad.name()), || {
            self.received.load(Ordering::SeqCst) >= goal
        });
    }

    /// Ends the track: EOS on its pad.
    pub fn end(&self) {
        self.elements[0].send_event(gst::event::Eos::new());
    }

    /// Releases the pad while the source is running.
    pub fn remove(&self, recorder: &gst::Element) {
        self.elements[2].set_property("drop", true);
        recorder.release_request_pad(&self.pad);
    }

    /// Waits until EOS has arrived at the recorder's pad.
    #[track_caller]
    pub fn wait_ended(&self) {
        wait_for(&format!("EOS on {}", self.pad.name()), || {
            self.pad.pad_flags().contains(gst::PadFlags::EOS)
        });
    }
}
