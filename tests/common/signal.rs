//! Signals whose every instant can be read back from a recording.
//!
//! Sound comes in two kinds: [`counted`] for lossless formats, where each sample is its own
//! number, and [`noise`] for lossy ones, where twenty milliseconds tell their place in time.
//! A [`picture`] carries its time as black and white blocks. They come out of the test sources by
//! [`tag`], or as buffers of any size and stamp, pushed from the test's own thread by [`feed`].

pub mod counted;
pub mod feed;
pub mod frame;
pub mod noise;
pub mod tag;

/// Nanoseconds from 0 to the start of sample `index`, as the sources of GStreamer stamp it.
pub fn sample_time(index: u64, rate: u32) -> u64 {
    (u128::from(index) * 1_000_000_000 / u128::from(rate)) as u64
}

/// The two ways a sound can tell its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioSignal {
    /// Every sample is its own number: to be read from lossless recordings.
    Counted,
    /// A noise that is different at every instant: to be read from lossy recordings.
    Noise,
}
