//! Judges that read a recording back, by decoders that this project did not write (ffmpeg).
//!
//! [`decode`] turns a file into samples and pictures with their recorded times; [`samples`] reads
//! counted sound, [`place`] noise; [`kept`] is what should be in the recording by the cuts that the
//! messages report; [`sync`] compares sound and picture; [`file`] looks at the
//! file from outside, [`alpha`] at transparency, [`atoms`] at the boxes of MP4, [`ordinary`] at what it was before its end; [`whole`] does all of it for some.
//! A verdict is an `Err` that says where and by how much, so that the judges themselves can be tried.

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

/// What a judge found, or what is wrong.
pub type Verdict<T> = Result<T, String>;

/// A time in nanoseconds, for messages.
pub(crate) fn seconds(time: f64) -> String {
    format!("{:.6} s", time / 1e9)
}

/// Judges all of these, two at a time, and fails if one has failed, when all have been judged.
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
