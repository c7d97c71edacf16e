//! Judges that read a recording back, by decoders that this project did not write (ffmpeg).
//!
//! [`decode`] turns a file into samples and pictures with their recorded times; [`samples`] reads
//! counted sound, [`place`] noise; [`kept`] is what should be in the recording by the cuts that the
//! messages report; [`sync`] compares sound and picture; [`file`] looks at the
//! file from outside, [`atoms`] at the boxes of MP4, [`ordinary`] at what it was before its end; [`whole`] does all of it for some.
//! A verdict is an `Err` that says where and by how much, so that the judges themselves can be tried.

pub mod atoms;
pub mod decode;
pub mod file;
pub mod gstreamer;
pub mod kept;
pub mod ordinary;
pub mod parts;
pub mod place;
pub mod samples;
pub mod sync;
pub mod whole;

/// What a judge found, or what is wrong.
pub type Verdict<T> = Result<T, String>;

/// A time in nanoseconds, for messages.
pub(crate) fn seconds(time: f64) -> String {
    format!("{:.6} s", time / 1e9)
}
