//! What GStreamer's elements get wrong, or leave undone, put right by pad probes and caps around them.
//!
//! Each file here exists because of one fault; it goes when the oldest GStreamer that is supported has none.

pub mod av1;
pub mod caps_once;
pub mod caps_overrides;
pub mod channel_order;
pub mod clipping;
pub mod colorimetry;
pub mod decode_times;
pub mod decoder_start;
pub mod durations;
pub mod empty_tracks;
pub mod encoder_drain;
pub mod flac;
pub mod gaps;
pub mod keep_payload;
pub mod mp3_file;
pub mod mpeg4;
pub mod muxer_caps;
pub mod ogg_pages;
pub mod opus;
mod opus_header;
pub mod theora_cfr;
pub mod vp8_in_ogg;
