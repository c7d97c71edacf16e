//! Signals in which every instant can be identified in a recording.
//!
//! There are two kinds of audio: [`counted`] for lossless formats, where each sample is its own number, and
//! [`noise`] for lossy ones, where any twenty milliseconds identify their time. A [`frame`] shows its time as
//! black and white blocks. They are written over the output of test sources by [`tag`], or pushed as buffers of
//! any size and timestamp, from the test's own thread, by [`feed`].

pub mod counted;
pub mod feed;
pub mod frame;
pub mod noise;
pub mod tag;

/// Nanoseconds from 0 to the start of sample `index`, rounded as GStreamer's sources do.
pub fn sample_time(index: u64, rate: u32) -> u64 {
    (u128::from(index) * 1_000_000_000 / u128::from(rate)) as u64
}

/// The two kinds of audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioSignal {
    /// Every sample is its own number: for lossless recordings.
    Counted,
    /// Noise that is different at every instant: for lossy recordings.
    Noise,
}
