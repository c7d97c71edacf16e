//! The log category. `GST_DEBUG=mediarecorder:5` tells the story of each recording: INFO what
//! begins and ends, DEBUG what was decided and why.

use once_cell::sync::Lazy;

pub(crate) static CAT: Lazy<gst::DebugCategory> = Lazy::new(|| {
    gst::DebugCategory::new(
        "mediarecorder",
        gst::DebugColorFlags::empty(),
        Some("Recorder like the browsers' MediaRecorder"),
    )
});

/// A time in nanoseconds as a log line shows it.
pub(crate) fn time(time: u64) -> gst::ClockTime {
    gst::ClockTime::from_nseconds(time.min(u64::MAX - 1))
}
