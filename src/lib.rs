//! `mediarecorder`: a GStreamer element that records what it is given as a browser's
//! [MediaRecorder](https://www.w3.org/TR/mediastream-recording/) does.
//!
//! As a plugin it serves every language. As this crate it is linked in, so that no plugin has
//! to be installed, and typed: [`MediaRecorder`] is a [`gst::Element`] with Rust's own errors,
//! callbacks and streams.
//!
//! ```no_run
//! use gstmediarecorder::{Event, MediaRecorder};
//! use gst::prelude::*;
//!
//! async fn two_seconds(sleep: impl AsyncFn(u64)) -> Result<(), Box<dyn std::error::Error>> {
//!     gst::init()?;
//!     let pipeline = gst::Pipeline::new();
//!     let source = gst::ElementFactory::make("autoaudiosrc").build()?;
//!     let recorder = MediaRecorder::builder().location("voice.webm").build();
//!     pipeline.add_many([&source, recorder.upcast_ref()])?;
//!     source.link(&recorder)?;
//!     pipeline.set_state(gst::State::Playing)?;
//!     pipeline.state(gst::ClockTime::from_seconds(5)).0?;
//!
//!     let mut events = recorder.events();
//!     recorder.start()?;
//!     sleep(1).await;
//!     recorder.pause()?; // what is said here is not in the file
//!     sleep(1).await;
//!     recorder.resume()?;
//!     sleep(1).await;
//!     recorder.stop()?;
//!     while let Some(event) = events.next().await {
//!         match event {
//!             Event::Data(blob) => println!("{} bytes of {}", blob.len(), blob.mime_type()),
//!             Event::Error(error) => eprintln!("it has failed: {error}"),
//!             Event::Stop => break, // voice.webm is whole
//!             _ => {}
//!         }
//!     }
//!     pipeline.set_state(gst::State::Null)?;
//!     Ok(())
//! }
//! ```
//!
//! Callbacks do the same, from a thread of the recorder's. Here a test source is recorded into
//! memory, faster than real time, until it ends:
//!
//! ```
//! use gst::prelude::*;
//! use gstmediarecorder::MediaRecorder;
//! use std::sync::{Arc, Mutex, mpsc};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! gst::init()?;
//! let pipeline = gst::Pipeline::new();
//! let source = gst::ElementFactory::make("audiotestsrc")
//!     .property("num-buffers", 100)
//!     .build()?;
//! let recorder = MediaRecorder::builder()
//!     .mime_type("audio/webm;codecs=opus")
//!     .timeslice(gst::ClockTime::from_seconds(1))
//!     .autostart(true)
//!     .build();
//! pipeline.add_many([&source, recorder.upcast_ref()])?;
//! source.link(&recorder)?;
//!
//! let file = Arc::new(Mutex::new(Vec::new()));
//! let bytes = file.clone();
//! recorder.connect_data_available(move |_, blob| {
//!     bytes.lock().unwrap().extend_from_slice(blob.as_ref());
//! });
//! recorder.connect_error(|_, error| eprintln!("{:?}: {error}", error.code()));
//! let (stopped, over) = mpsc::channel();
//! recorder.connect_stop(move |_| stopped.send(()).unwrap());
//!
//! pipeline.set_state(gst::State::Playing)?;
//! over.recv()?;
//! assert!(file.lock().unwrap().starts_with(b"\x1a\x45\xdf\xa3"), "no WebM");
//! assert_eq!(recorder.stats().blobs, 3);
//! pipeline.set_state(gst::State::Null)?;
//! # Ok(())
//! # }
//! ```
//!
//! An error says what was asked, why it cannot be, and what would work; its
//! [code](ErrorCode) is for programs:
//!
//! ```
//! use gstmediarecorder::{ErrorCode, MediaRecorder};
//!
//! # gst::init().unwrap();
//! let error = MediaRecorder::new().pause().unwrap_err();
//! assert_eq!(error.code(), ErrorCode::InvalidState);
//! println!("{error}"); // pause: nothing is being recorded; start a recording first
//! ```

mod fault;
// For this project's own tests and benchmarks; no part of the interface, and may change at any time.
#[doc(hidden)]
pub mod formats;
#[doc(hidden)]
pub mod gate;
mod log;
#[doc(hidden)]
pub mod model;
#[doc(hidden)]
pub mod output;
mod prelude;
mod recorder;
#[doc(hidden)]
pub mod session;

pub use model::{Error, ErrorCode};
pub use recorder::{
    BitrateMode, Blob, Event, Events, Keep, Mark, MediaRecorder, MediaRecorderBuilder,
    MediaRecorderPad, Part, RecordedInterval, RecorderState, Stats, TrackStats,
};

fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    recorder::register(plugin)
}

gst::plugin_define!(
    mediarecorder,
    env!("CARGO_PKG_DESCRIPTION"),
    plugin_init,
    concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")),
    "MIT/X11",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    // GStreamer's own words where nobody has said where a plugin comes from.
    "Unknown package origin",
    env!("BUILD_REL_DATE")
);

/// The Rust program in there is tested with the documentation.
#[cfg(doctest)]
#[doc = include_str!("../docs/USING.md")]
struct Using;
