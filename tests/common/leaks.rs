//! What is left of GStreamer's objects when a test program ends: `GST_TRACERS=leaks` counts them.

use super::harness::holds_within;
use std::time::Duration;

/// Has the end of this process fail if anything is left, if there is a tracer that says so.
pub fn check_at_exit() {
    if std::env::var("GST_TRACERS").is_ok_and(|tracers| tracers.contains("leaks")) {
        // SAFETY: `at_exit` may run in a thread that is about to end the process.
        unsafe { libc::atexit(at_exit) };
    }
}

extern "C" fn at_exit() {
    // The threads that hold the last references may still be on their way out.
    holds_within(Duration::from_secs(10), || {
        std::fs::read_dir("/proc/self/task").unwrap().all(|task| {
            let name = task.and_then(|task| std::fs::read_to_string(task.path().join("comm")));
            name.is_ok_and(|name| !name.starts_with("mediarecorder"))
        })
    });
    // What the tracer says is a warning.
    glib::log_set_always_fatal(glib::LogLevels::LEVEL_WARNING);
    // SAFETY: every test has returned; nothing of GStreamer is used from here on.
    unsafe { gst::deinit() };
}
