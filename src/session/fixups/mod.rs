//! What GStreamer's elements get wrong, or leave undone, put right by pad probes and caps around them.
//!
//! Each file here exists because of one fault; it goes when the oldest GStreamer that is supported has none.

pub mod av1;
pub mod caps_overrides;
pub mod decode_times;
pub mod empty_tracks;
pub mod encoder_drain;
pub mod flac;
pub mod keep_durations;
pub mod keep_payload;
pub mod mpeg4;
pub mod opus;
pub mod theora_cfr;
