//! Data: which container takes which codec, what makes it, and how it is tuned.

mod av1;
mod caps;
mod channels;
mod codec_config;
mod codec_string;
mod delay;
mod encoder;
mod memory;
mod muxer;
mod patch;
mod plan;
mod registry;

pub use caps::{
    audio_info, codec_of_caps, encoded_caps, has_even_sizes, has_header_packets, is_raw,
    kind_of_caps, raw_caps, sink_caps, video_info,
};
pub use channels::encoded_channels;
pub use codec_config::{CodecConfig, av1_record, with_av1_record};
pub use codec_string::codec_string;
pub use delay::{Delay, OPUS_PRE_SKIP, delay, encoder_delay, opus_length};
pub use encoder::{Tuning, key_request, needs_no_hardware, set_bits_per_second, shown_rate, tune};
pub use memory::{in_system_memory, mapped_caps, system_memory_first};
pub use muxer::{
    ROUNDING, Units, begins_unit, container_caps, fragment, most_bytes, mux_caps, mux_pad_template,
    muxer, parser, set_fragment, set_timeslice, timestamper, units,
};
pub use patch::{Ending, Ordinary, Patch, fragment_track};
pub use plan::{Missing, Plan, Refusal, TrackInput, choose, is_type_supported};
pub use registry::{can_encode, can_mux, creatable, encoders, package};

#[cfg(test)]
mod tests;
