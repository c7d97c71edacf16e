//! Judges: they verify a recording with decoders outside of this project (ffmpeg).
//!
//! [`decode`] decodes a file into samples and frames with their recorded times; [`samples`] verifies numbered
//! samples, [`position`] noise; [`kept`] is what the recording should contain, computed from the cuts in the
//! messages; [`sync`] verifies A/V sync; [`file`] checks the file as a whole, [`alpha`] transparency, [`atoms`]
//! MP4 boxes, [`ordinary`] an MP4 against its fragmented form before the end; [`whole`] combines several of these.
//! A failure is an `Err` that says where and by how much, so that the judges themselves can be tested.

pub mod alpha;
pub mod atoms;
pub mod decode;
pub mod file;
pub mod gstreamer;
pub mod kept;
pub mod ordinary;
pub mod parts;
pub mod position;
pub mod samples;
pub mod sync;
pub mod whole;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A judge's result, or a description of the failure.
pub type Verdict<T> = Result<T, String>;

/// Formats a time in nanoseconds.
pub(crate) fn seconds(time: f64) -> String {
    format!("{:.6} s", time / 1e9)
}

/// Runs `judge` on all of these, two at a time, and fails at the end if any has failed.
pub fn each<T: Sync>(recorded: &[(String, T)], judge: impl Fn(&str, &T) + Sync) {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((what, made)) = recorded.get(next.fetch_add(1, Ordering::SeqCst)) {
                    if catch_unwind(AssertUnwindSafe(|| judge(what, made))).is_err() {
                        failed.lock().unwrap().push(what);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{failed:#?}");
}
