//! The recording itself: sources, the recorder, and its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use gst::prelude::*;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::args::Args;

/// A camera and a microphone.
const DEVICES: &str = "autovideosrc ! videoconvert ! queue ! rec.video_0 \
                       autoaudiosrc ! audioconvert ! queue ! rec.audio_0";
/// Noise, which produces many bytes.
const TEST: &str = "videotestsrc is-live=true pattern=snow ! video/x-raw,width=640,height=360,framerate=30/1 ! \
                    queue ! rec.video_0 audiotestsrc is-live=true wave=ticks ! queue ! rec.audio_0";
/// Bits per second of the test.
const TEST_RATE: u32 = 20_000_000;

/// An active recording.
pub struct Recording {
    pipeline: gst::Pipeline,
    watcher: Option<thread::JoinHandle<Result<()>>>,
    over: Arc<AtomicBool>,
}

/// Finishes the file if a recording is dropped early.
impl Drop for Recording {
    fn drop(&mut self) {
        // Ends the recording, and so the thread that waits for its end.
        let _ = self.pipeline.set_state(gst::State::Null);
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
    }
}

impl Recording {
    /// Starts it. The file exists when this returns.
    pub fn start(args: &Args) -> Result<Self> {
        gst::init().context("GStreamer does not start")?;
        gstmediarecorder::plugin_register_static().context("the plugin cannot be registered")?;
        let location = args.file.to_str().context("FILE has to be valid UTF-8")?;
        let sources = if args.test { TEST } else { DEVICES };
        let pipeline = gst::parse::launch(&format!("mediarecorder name=rec {sources}"))?
            .downcast::<gst::Pipeline>()
            .map_err(|_| anyhow!("no pipeline"))?;
        let recorder = pipeline.by_name("rec").context("no recorder")?;
        // A percent sign would number the file.
        recorder.set_property("location", location.replace('%', "%%"));
        if args.test {
            recorder.set_property("video-bits-per-second", TEST_RATE);
        }
        if let Some(seconds) = args.seconds {
            let limit = gst::ClockTime::from_seconds(seconds.into());
            recorder.set_property("max-duration", limit.nseconds());
        }
        let bus = pipeline.bus().context("a pipeline without a bus")?;
        if pipeline.set_state(gst::State::Playing).is_err() {
            bail!("the sources do not start: {}", why(&bus));
        }
        if let Some(error) = recorder.emit_by_name::<Option<glib::Error>>("start", &[]) {
            let _ = pipeline.set_state(gst::State::Null);
            return Err(error.into());
        }
        stop_at_signals(&recorder)?;
        let over = Arc::new(AtomicBool::new(false));
        let watcher = thread::spawn({
            let over = over.clone();
            move || {
                let result = watch(&bus, &recorder);
                over.store(true, Ordering::Release);
                result
            }
        });
        Ok(Recording {
            pipeline,
            watcher: Some(watcher),
            over,
        })
    }

    /// Whether its file is complete.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Shuts down the pipeline, and returns how the recording ended.
    pub fn finish(mut self) -> Result<()> {
        let result = self.watcher.take().map(thread::JoinHandle::join);
        match result {
            Some(Ok(result)) => result,
            _ => bail!("the recording's thread has panicked"),
        }
    }
}

/// Waits until the recording has ended; an upstream error ends it.
fn watch(bus: &gst::Bus, recorder: &gst::Element) -> Result<()> {
    let mut failure = None;
    for message in bus.iter_timed(gst::ClockTime::NONE) {
        match message.view() {
            gst::MessageView::Error(error) => {
                failure.get_or_insert_with(|| anyhow!("{}", error.error()));
                let _ = recorder.emit_by_name::<Option<glib::Error>>("stop", &[]);
            }
            gst::MessageView::Element(_) if message.has_name("mediarecorder-error") => {
                let structure = message.structure();
                let error = structure.and_then(|s| s.get::<glib::Error>("error").ok());
                failure = Some(error.map_or_else(|| anyhow!("it failed"), Into::into));
            }
            gst::MessageView::Element(_) if message.has_name("mediarecorder-stop") => break,
            _ => {}
        }
    }
    match failure {
        Some(failure) => Err(failure.context("the recording was cut short")),
        None => Ok(()),
    }
}

/// The first signal stops the recording, and the upload is finished; the second one aborts.
fn stop_at_signals(recorder: &gst::Element) -> Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let recorder = recorder.downgrade();
    thread::spawn(move || {
        for (number, signal) in signals.forever().enumerate() {
            if number > 0 {
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
            if let Some(recorder) = recorder.upgrade() {
                let _ = recorder.emit_by_name::<Option<glib::Error>>("stop", &[]);
            }
        }
    });
    Ok(())
}

fn why(bus: &gst::Bus) -> String {
    let message = bus.pop_filtered(&[gst::MessageType::Error]);
    match message.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Error(error)) => error.error().to_string(),
        _ => "no reason given".into(),
    }
}
