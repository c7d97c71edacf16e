//! The pure model: no GStreamer, clock, lock or log; time is an argument.

pub mod absence;
pub mod bitrate;
pub mod end_reason;
pub mod error;
pub mod forecast;
pub mod location;
pub mod mime;
pub mod orientation;
pub mod phase;
pub mod profile;
pub mod queue;
pub mod sample_grid;
pub mod stall;
pub mod stamps;
pub mod state;
pub mod timeline;

pub use bitrate::{Bitrates, VideoSize};
pub use end_reason::EndReason;
pub use error::{Error, ErrorCode};
pub use mime::{Codec, Container, Kind, MimeType, RequestedCodec};
pub use orientation::Orientation;
pub use profile::{Chroma, Profile, avc_profile_idc};
pub use sample_grid::SampleGrid;
pub use state::{Command, Effect, State};
