//! Static data and pure functions for formats: containers, codecs, encoders and their configuration.

mod av1;
mod bits;
mod boxes;
mod caps;
mod channels;
mod chapters;
mod codec_config;
mod codec_string;
mod codecs;
mod delay;
mod ebml;
mod encoder;
mod entry_point;
mod flac;
mod hdr;
mod ladder;
mod loas;
mod memory;
mod mp3;
mod mpeg_video;
mod muxer;
mod nal;
mod opus_packet;
mod parameter_sets;
mod patch;
mod plan;
mod presentation_order;
mod registry;
mod silence;
mod unreadable;
mod video_input;

pub use caps::{
    audio_info, carries_colorimetry, clipping_rate, codec_of_caps, encoded_caps, encoded_size,
    has_even_sizes, has_header_packets, is_intra_only, is_raw, kind_of_caps, raw_caps, sink_caps,
    video_info,
};
pub use channels::{channel_order, encoded_channels, encoders_for, lacks_places, with_places};
pub use chapters::{Chapter, padded_comments};
pub use codec_config::{CodecConfig, av1_record, with_av1_record};
pub use codec_string::codec_string;
pub use delay::{
    DRAIN, Delay, MAX_PREROLL, OPUS_PRE_SKIP, PREROLL, Seam, delay, encoder_delay, opus_length,
    preroll, seam,
};
pub use encoder::{
    Tuning, keeps_order, key_request, needs_no_hardware, set_bits_per_second, shown_rate, tune,
};
pub use entry_point::{EntryPoint, FrameFormat, entry_point};
pub use flac::FlacHeader;
pub use hdr::HdrMetadata;
pub use ladder::{
    Recorded, Rung, begins_anew, decoded_form, flac_block, parameter_sets, rung, same_headers,
};
pub use loas::Loas;
pub use memory::{in_system_memory, mapped_caps, system_memory_first};
pub use mp3::{Mp3Header, Mp3Info, id3};
pub use mpeg_video::PictureTimes;
pub use muxer::{
    Units, complete_header, container_caps, end_cluster, index_bytes, most_bytes, mux_caps,
    mux_pad_template, muxer, parser, set_timeslice, timestamper, units,
};
pub use nal::{NalCodec, in_order};
pub use opus_packet::opus_packet_duration;
pub use parameter_sets::ParameterSets;
pub use patch::{Completion, Ending, Patch, VideoTrack, Written, begins_fragment, join_alpha};
pub use plan::{Missing, Plan, Refusal, TrackInput, choose, copied_codec, is_type_supported};
pub use registry::{can_decode, can_encode, can_mux, creatable, encoders, package};
pub use silence::{Silence, aac_frame_duration};
pub use unreadable::{stream_header, take_out_unreadable, without_unreadable};
pub use video_input::{Keep, VideoInput, alpha_codecs, stores_alpha};

#[cfg(test)]
mod tests;
