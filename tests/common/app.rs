//! An application: a pipeline around the recorder, calls of its actions, and the messages on its bus.

pub use super::harness::{DEADLINE, holds_within, init};
use super::signal::{AudioSignal, tag};
use gst::prelude::*;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Raw audio and video that needs no conversion.
pub const STEREO: &str = "audio/x-raw,format=S16LE,rate=48000,channels=2,layout=interleaved";
pub const SMALL: &str = "video/x-raw,format=I420,width=320,height=240,framerate=30/1";

/// A temporary directory, and in it the location of a recording, or the pattern of its files.
pub fn temp_location(name: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    (directory, path)
}

/// Calls an action that has to succeed. May be called from any thread.
pub fn act(recorder: &gst::Element, action: &str) {
    if let Some(error) = recorder.emit_by_name::<Option<glib::Error>>(action, &[]) {
        panic!("{action}: {error}");
    }
}

/// Calls actions from the streaming thread, each before the buffer with the given number is pushed.
pub fn script(pad: &gst::Pad, recorder: &gst::Element, steps: Vec<(usize, &'static str)>) -> Steps {
    let done = Steps::default();
    let result = done.clone();
    let recorder = recorder.downgrade();
    let number = AtomicUsize::new(0);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, probe| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        let pts = probe.buffer().and_then(|b| b.pts());
        if let Some(recorder) = recorder.upgrade() {
            for (_, action) in steps.iter().filter(|(at, _)| *at == number) {
                act(&recorder, action);
                done.lock().unwrap().push((action, pts.unwrap().nseconds()));
            }
        }
        gst::PadProbeReturn::Ok
    });
    result
}

/// The actions called, with the PTS of the buffers that followed.
pub type Steps = Arc<Mutex<Vec<(&'static str, u64)>>>;

/// An event of the recorder, received on the bus.
#[derive(Clone, Debug)]
pub struct BusEvent {
    /// `start`, `pause`, …
    pub name: String,
    pub running_time: u64,
    pub fields: gst::Structure,
}

/// A pipeline with a recorder.
#[derive(Debug)]
pub struct App {
    pub pipeline: gst::Pipeline,
    pub recorder: gst::Element,
    bus: gst::Bus,
    events: RefCell<Vec<BusEvent>>,
    warnings: RefCell<Vec<String>>,
    ended: RefCell<bool>,
}

impl App {
    pub fn new(mime_type: &str, location: &Path) -> Self {
        init();
        let recorder = gst::ElementFactory::make("mediarecorder")
            .property("mime-type", mime_type)
            .property("location", location.to_str().expect("a plain path"))
            .build()
            .expect("the element exists");
        let pipeline = gst::Pipeline::new();
        pipeline.add(&recorder).expect("a new element");
        let bus = pipeline.bus().expect("a pipeline has a bus");
        Self {
            pipeline,
            recorder,
            bus,
            events: RefCell::default(),
            warnings: RefCell::default(),
            ended: RefCell::default(),
        }
    }

    /// A new sink pad of the recorder.
    pub fn pad(&self, template: &str) -> gst::Pad {
        self.recorder
            .request_pad_simple(template)
            .expect("a request pad")
    }

    /// Adds elements, described as for `gst-launch`, and returns the unlinked source pad.
    pub fn source(&self, description: &str) -> gst::Pad {
        // A description cannot end in caps.
        let line = format!("{description} ! identity");
        let bin =
            gst::parse::bin_from_description_with_name(&line, true, "").expect("a description");
        self.pipeline.add(&bin).expect("a new bin");
        bin.static_pad("src").expect("one unlinked source pad")
    }

    /// Adds live audio and video tagged with their running time, and goes to PLAYING.
    pub fn live(&self) -> (tag::SampleClock, tag::FrameLog) {
        let audio = self.source(&format!(
            "audiotestsrc is-live=true samplesperbuffer=480 ! {STEREO}"
        ));
        let clock = tag::audio(&audio, AudioSignal::Noise, 48000);
        let video = self.source(&format!("videotestsrc is-live=true ! {SMALL}"));
        let log = tag::video(&video);
        audio.link(&self.pad("audio_%u")).unwrap();
        video.link(&self.pad("video_%u")).unwrap();
        self.set_state(gst::State::Playing);
        assert!(holds_within(DEADLINE, || clock.has_started()
            && !log.lock().unwrap().is_empty()));
        (clock, log)
    }

    /// Adds audio with numbered samples: this many buffers of 10 ms, or unlimited.
    pub fn counted(&self, live: bool, buffers: Option<u32>) -> (gst::Pad, tag::SampleClock) {
        let number = buffers.map_or_else(String::new, |number| format!("num-buffers={number}"));
        let source = self.source(&format!(
            "audiotestsrc is-live={live} {number} samplesperbuffer=480 ! {STEREO}"
        ));
        let clock = tag::audio(&source, AudioSignal::Counted, 48000);
        source.link(&self.pad("audio_%u")).unwrap();
        (source, clock)
    }

    /// Adds elements, described as for `gst-launch`, with an unlinked pad at both ends.
    pub fn section(&self, description: &str) -> gst::Element {
        let bin = gst::parse::bin_from_description_with_name(description, true, "")
            .expect("a description");
        self.pipeline.add(&bin).expect("a new bin");
        bin.upcast()
    }

    pub fn set_state(&self, state: gst::State) {
        self.pipeline.set_state(state).expect("the state changes");
    }

    /// Calls an action that has to succeed; returns the running times before and after the call, in nanoseconds.
    pub fn act(&self, action: &str) -> (u64, u64) {
        let before = self.running_time();
        act(&self.recorder, action);
        (before, self.running_time())
    }

    pub fn running_time(&self) -> u64 {
        self.pipeline
            .current_running_time()
            .map_or(0, gst::ClockTime::nseconds)
    }

    /// Waits until the pipeline's clock, which must be a real one, reaches this running time.
    pub fn wait_running_time(&self, time: u64) {
        let clock = self.pipeline.clock().expect("a clock in PLAYING");
        let base = self.pipeline.base_time().expect("a base time in PLAYING");
        let _ = clock
            .new_single_shot_id(base + gst::ClockTime::from_nseconds(time))
            .wait();
    }

    /// Handles one bus message; an ERROR fails the test.
    fn poll_bus(&self, patience: Duration) {
        let patience = gst::ClockTime::from_nseconds(patience.as_nanos() as u64);
        let Some(message) = self.bus.timed_pop(patience) else {
            return;
        };
        match message.view() {
            gst::MessageView::Error(error) => panic!(
                "{:?}: {} ({:?})",
                message.src().map(|s| s.path_string()),
                error.error(),
                error.debug()
            ),
            gst::MessageView::Warning(warning) => {
                self.warnings.borrow_mut().push(warning.error().to_string());
            }
            gst::MessageView::Eos(_) => *self.ended.borrow_mut() = true,
            gst::MessageView::Element(element)
                if message.src() == Some(self.recorder.upcast_ref()) =>
            {
                let fields = element.structure();
                let name = fields.and_then(|s| s.name().strip_prefix("mediarecorder-"));
                if let (Some(name), Some(fields)) = (name, fields) {
                    let event = BusEvent {
                        name: name.to_string(),
                        running_time: fields
                            .get("running-time")
                            .expect("every event has a running time"),
                        fields: fields.to_owned(),
                    };
                    self.events.borrow_mut().push(event);
                }
            }
            _ => (),
        }
    }

    /// Waits until `condition` holds, while handling bus messages; fails the test at the deadline.
    #[track_caller]
    fn wait_until(&self, what: &str, condition: impl Fn() -> bool) {
        let end = Instant::now() + DEADLINE;
        while !condition() {
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "no {what}; events: {:?}, warnings: {:?}",
                self.events
                    .borrow()
                    .iter()
                    .map(|h| h.name.clone())
                    .collect::<Vec<_>>(),
                self.warnings.borrow()
            );
            self.poll_bus(left);
        }
    }

    /// Waits until the event `name` has been received `count` times.
    #[track_caller]
    pub fn wait_for(&self, name: &str, count: usize) {
        self.wait_until(name, || {
            self.events
                .borrow()
                .iter()
                .filter(|h| h.name == name)
                .count()
                >= count
        });
    }

    /// Waits for the pipeline's EOS.
    #[track_caller]
    pub fn wait_eos(&self) {
        self.wait_until("EOS", || *self.ended.borrow());
    }

    /// All events so far, including those still on the bus.
    pub fn events(&self) -> Vec<BusEvent> {
        while self.bus.have_pending() {
            self.poll_bus(Duration::ZERO);
        }
        self.events.borrow().clone()
    }

    /// Asserts that there has been no error event so far.
    #[track_caller]
    pub fn assert_no_error(&self) {
        let events = self.events();
        assert!(events.iter().all(|e| e.name != "error"), "{events:?}");
    }

    pub fn warnings(&self) -> Vec<String> {
        self.events();
        self.warnings.borrow().clone()
    }

    /// TRUE if EOS has been received on the bus.
    pub fn has_eos(&self) -> bool {
        self.events();
        *self.ended.borrow()
    }

    /// Name and running time of all cuts, in the order of the events.
    pub fn cuts(&self) -> Vec<(String, u64)> {
        self.events()
            .into_iter()
            .filter(|h| matches!(h.name.as_str(), "start" | "pause" | "resume" | "stop"))
            .map(|h| (h.name, h.running_time))
            .collect()
    }

    /// What the only recording should contain.
    pub fn kept(&self) -> super::judge::kept::Kept {
        let cuts = self.cuts();
        super::judge::kept::Kept::from_cuts(cuts.iter().map(|(n, t)| (n.as_str(), *t)))
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
