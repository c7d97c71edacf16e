//! Objects that are still alive when a test program exits, as counted by `GST_TRACERS=leaks`.

use super::harness::holds_within;
use std::time::Duration;

/// Makes this process fail at exit if anything has leaked, if the tracer is enabled.
pub fn check_at_exit() {
    if std::env::var("GST_TRACERS").is_ok_and(|tracers| tracers.contains("leaks")) {
        // SAFETY: `at_exit` may run in a thread that is about to end the process.
        unsafe { libc::atexit(at_exit) };
    }
}

extern "C" fn at_exit() {
    // The threads that hold the last references may still be about to exit.
    holds_within(Duration::from_secs(10), || {
        std::fs::read_dir("/proc/self/task").unwrap().all(|task| {
            let name = task.and_then(|task| std::fs::read_to_string(task.path().join("comm")));
            name.is_ok_and(|name| !name.starts_with("mediarecorder"))
        })
    });
    // The tracer reports leaks as a warning.
    glib::log_set_always_fatal(glib::LogLevels::LEVEL_WARNING);
    // SAFETY: every test has returned; GStreamer is not used any more.
    unsafe { gst::deinit() };
}
