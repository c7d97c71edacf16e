//! Track kinds, containers and codecs: their names and compatibility.

mod parse;
mod profiles;

pub use parse::{MimeType, RequestedCodec};

use super::error::Error;
use profiles::{av1_fields, avc_fields, hevc_fields, vp_fields};

/// The two kinds of track (W3C `MediaStreamTrack.kind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Audio.
    Audio,
    /// Video.
    Video,
}

impl Kind {
    /// `audio` or `video`, as in type strings and pad names.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Audio => "audio",
            Kind::Video => "video",
        }
    }
}

/// A supported file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Container {
    /// `video/webm`
    WebM,
    /// `video/x-matroska`
    Matroska,
    /// `video/mp4`, fragmented
    Mp4,
    /// `audio/ogg`
    Ogg,
    /// `audio/wav`
    Wav,
    /// `audio/flac`, native
    Flac,
    /// `audio/mpeg`, layer III
    Mp3,
}

/// A codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// VP8 video
    Vp8,
    /// VP9 video
    Vp9,
    /// AV1 video
    Av1,
    /// H.264 / AVC video
    H264,
    /// H.265 / HEVC video
    H265,
    /// Theora video
    Theora,
    /// Opus audio
    Opus,
    /// Vorbis audio
    Vorbis,
    /// FLAC audio
    Flac,
    /// Uncompressed samples
    Pcm,
    /// AAC audio, low complexity
    Aac,
    /// MPEG-1 layer III audio
    Mp3,
    /// FFV1 video, lossless
    Ffv1,
    /// Motion JPEG video, copied only
    Mjpeg,
    /// AC-3 audio, copied only
    Ac3,
    /// G.711 A-law audio, copied only
    Pcma,
    /// G.711 µ-law audio, copied only
    Pcmu,
}

use Codec as C;

impl Codec {
    /// All codecs.
    pub const ALL: [Codec; 17] = [
        C::Vp8,
        C::Vp9,
        C::Av1,
        C::H264,
        C::H265,
        C::Theora,
        C::Opus,
        C::Vorbis,
        C::Flac,
        C::Pcm,
        C::Aac,
        C::Mp3,
        C::Ffv1,
        C::Mjpeg,
        C::Ac3,
        C::Pcma,
        C::Pcmu,
    ];

    /// The kind of media.
    pub fn kind(self) -> Kind {
        match self {
            C::Vp8 | C::Vp9 | C::Av1 | C::H264 | C::H265 | C::Theora | C::Ffv1 | C::Mjpeg => {
                Kind::Video
            }
            C::Opus | C::Vorbis | C::Flac | C::Pcm | C::Aac | C::Mp3 => Kind::Audio,
            C::Ac3 | C::Pcma | C::Pcmu => Kind::Audio,
        }
    }

    /// Whether it is only copied from encoded input and never encoded by the recorder.
    pub fn is_only_copied(self) -> bool {
        matches!(self, C::Mjpeg | C::Ac3 | C::Pcma | C::Pcmu)
    }

    /// Human-readable name.
    pub fn name(self) -> &'static str {
        match self {
            C::Vp8 => "VP8",
            C::Vp9 => "VP9",
            C::Av1 => "AV1",
            C::H264 => "H.264",
            C::H265 => "H.265",
            C::Theora => "Theora",
            C::Opus => "Opus",
            C::Vorbis => "Vorbis",
            C::Flac => "FLAC",
            C::Pcm => "PCM",
            C::Aac => "AAC",
            C::Mp3 => "MP3",
            C::Ffv1 => "FFV1",
            C::Mjpeg => "Motion JPEG",
            C::Ac3 => "AC-3",
            C::Pcma => "A-law",
            C::Pcmu => "µ-law",
        }
    }

    /// Its shortest name in a codec list.
    pub fn text(self) -> &'static str {
        match self {
            C::Vp8 => "vp8",
            C::Vp9 => "vp9",
            C::Av1 => "av1",
            C::H264 => "avc1",
            C::H265 => "hvc1",
            C::Theora => "theora",
            C::Opus => "opus",
            C::Vorbis => "vorbis",
            C::Flac => "flac",
            C::Pcm => "pcm",
            C::Aac => "mp4a.40.2",
            C::Mp3 => "mp3",
            C::Ffv1 => "ffv1",
            C::Mjpeg => "mjpeg",
            C::Ac3 => "ac-3",
            C::Pcma => "pcma",
            C::Pcmu => "pcmu",
        }
    }

    /// Parses one element of a codec list: a W3C short name or an RFC 6381 string.
    fn parse(text: &str) -> Option<Codec> {
        let lower = text.to_ascii_lowercase();
        let mut fields = lower.split('.');
        let entry = fields.next()?;
        let rest: Vec<&str> = fields.collect();
        let rest = rest.as_slice();
        match (entry, rest) {
            ("vp8", [] | ["0"]) => Some(C::Vp8),
            ("vp9", [] | ["0"]) => Some(C::Vp9),
            ("av1", []) => Some(C::Av1),
            ("h264", []) => Some(C::H264),
            ("h265" | "hevc", []) => Some(C::H265),
            ("theora", []) => Some(C::Theora),
            ("opus", []) => Some(C::Opus),
            ("vorbis", []) => Some(C::Vorbis),
            ("flac", []) => Some(C::Flac),
            // 1 is PCM in RFC 2361, as used by the registration of WAV.
            ("pcm" | "1", []) => Some(C::Pcm),
            ("mp3", []) | ("mp4a", ["69" | "6b"] | ["40", "34"]) => Some(C::Mp3),
            ("ffv1", []) => Some(C::Ffv1),
            ("mjpeg", []) => Some(C::Mjpeg),
            ("ac-3", []) => Some(C::Ac3),
            // 6 and 7 are A-law and µ-law in RFC 2361.
            ("pcma" | "6", []) => Some(C::Pcma),
            ("pcmu" | "7", []) => Some(C::Pcmu),
            ("mp4a", ["40", "2" | "02"] | ["67"]) => Some(C::Aac),
            ("vp08", _) => vp_fields(rest).then_some(C::Vp8),
            ("vp09", _) => vp_fields(rest).then_some(C::Vp9),
            ("av01", _) => av1_fields(rest).then_some(C::Av1),
            ("avc1" | "avc3", _) => avc_fields(rest).then_some(C::H264),
            ("hvc1" | "hev1", _) => hevc_fields(rest).then_some(C::H265),
            _ => None,
        }
    }
}

impl Container {
    /// All containers.
    pub const ALL: [Container; 7] = [
        Container::WebM,
        Container::Matroska,
        Container::Mp4,
        Container::Ogg,
        Container::Wav,
        Container::Flac,
        Container::Mp3,
    ];

    /// The supported codecs of `kind`; the first available one is the default.
    pub fn codecs(self, kind: Kind) -> &'static [Codec] {
        match (self, kind) {
            (Container::WebM, Kind::Video) => &[C::Vp8, C::Vp9, C::Av1],
            (Container::WebM, Kind::Audio) => &[C::Opus, C::Vorbis],
            (Container::Matroska, Kind::Video) => {
                &[C::Vp8, C::Vp9, C::Av1, C::H264, C::H265, C::Ffv1, C::Mjpeg]
            }
            (Container::Matroska, Kind::Audio) => &[
                C::Opus,
                C::Vorbis,
                C::Flac,
                C::Pcm,
                C::Aac,
                C::Mp3,
                C::Ac3,
                C::Pcma,
                C::Pcmu,
            ],
            (Container::Mp4, Kind::Video) => &[C::H264, C::H265, C::Av1, C::Vp9],
            (Container::Mp4, Kind::Audio) => &[C::Aac, C::Opus, C::Mp3],
            (Container::Ogg, Kind::Video) => &[C::Theora, C::Vp8],
            (Container::Ogg, Kind::Audio) => &[C::Opus, C::Vorbis, C::Flac],
            (Container::Wav, Kind::Audio) => &[C::Pcm, C::Pcma, C::Pcmu],
            (Container::Flac, Kind::Audio) => &[C::Flac],
            (Container::Mp3, Kind::Audio) => &[C::Mp3],
            (Container::Wav | Container::Flac | Container::Mp3, Kind::Video) => &[],
        }
    }

    /// Whether it supports this codec.
    pub fn takes(self, codec: Codec) -> bool {
        self.codecs(codec.kind()).contains(&codec)
    }

    /// Whether the creation date is a tag, not a field of the header.
    pub fn has_date_as_tag(self) -> bool {
        matches!(self, Container::Ogg | Container::Flac | Container::Mp3)
    }

    /// Whether it supports more than one track.
    pub fn takes_many(self) -> bool {
        !matches!(self, Container::Wav | Container::Flac | Container::Mp3)
    }

    /// Human-readable name.
    pub fn name(self) -> &'static str {
        match self {
            Container::WebM => "WebM",
            Container::Matroska => "Matroska",
            Container::Mp4 => "MP4",
            Container::Ogg => "Ogg",
            Container::Wav => "WAV",
            Container::Flac => "FLAC",
            Container::Mp3 => "MP3",
        }
    }

    /// The MIME subtype.
    pub fn subtype(self) -> &'static str {
        match self {
            Container::WebM => "webm",
            Container::Matroska => "x-matroska",
            Container::Mp4 => "mp4",
            Container::Ogg => "ogg",
            Container::Wav => "wav",
            Container::Flac => "flac",
            Container::Mp3 => "mpeg",
        }
    }

    /// The MIME type without codecs, as in `video/webm`.
    pub fn essence(self, kind: Kind) -> String {
        format!("{}/{}", kind.name(), self.subtype())
    }

    fn parse(kind: Kind, subtype: &str) -> Option<Container> {
        Some(match (kind, subtype) {
            (_, "webm") => Container::WebM,
            (_, "x-matroska" | "matroska") => Container::Matroska,
            (_, "mp4") => Container::Mp4,
            (_, "ogg") => Container::Ogg,
            (Kind::Audio, "wav" | "wave" | "x-wav" | "vnd.wave") => Container::Wav,
            (Kind::Audio, "flac" | "x-flac") => Container::Flac,
            (Kind::Audio, "mpeg" | "mp3") => Container::Mp3,
            _ => return None,
        })
    }

    /// The container of a file name's extension.
    pub fn of_location(location: &str) -> Option<Container> {
        let extension = std::path::Path::new(location).extension()?.to_str()?;
        Some(match extension.to_ascii_lowercase().as_str() {
            "webm" | "weba" => Container::WebM,
            "mkv" | "mka" => Container::Matroska,
            "mp4" | "m4v" | "m4a" | "mov" => Container::Mp4,
            "ogg" | "oga" | "ogv" | "opus" => Container::Ogg,
            "wav" => Container::Wav,
            "flac" => Container::Flac,
            "mp3" => Container::Mp3,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests;
