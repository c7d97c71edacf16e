//! Static data for each codec. Names and containers are in `model/mime.rs`, encoders in `encoder/rows.rs`.

use crate::model::{Codec, Container};

/// The parser between the encoder (or encoded input) and the muxer.
pub(super) enum Parser {
    /// Not needed.
    None,
    /// For every muxer.
    Always(&'static str),
    /// Only for this container's muxer.
    OnlyIn(Container, &'static str),
}

/// See the module.
pub(super) struct CodecRow {
    codec: Codec,
    /// Name of the caps structure.
    pub media_type: &'static str,
    /// Fields that distinguish it from other codecs with the same caps name.
    pub fields: &'static [(&'static str, i32)],
    parser: Parser,
    /// Generates decode times for MP4 if upstream provides none.
    pub timestamper: Option<&'static str>,
    /// The stream format that muxers expect from the parser; `None` if there is only one.
    pub form: Option<&'static [(&'static str, &'static str)]>,
    /// An encoder and its Debian package, for error messages; empty if the codec can only be copied.
    pub encoder: (&'static str, &'static str),
    /// Whether the bitstream carries colorimetry.
    pub carries_colorimetry: bool,
    /// Whether width and height have to be even.
    pub has_even_sizes: bool,
}

const BASE: &str = "gstreamer1.0-plugins-base";
const GOOD: &str = "gstreamer1.0-plugins-good";
const BAD: &str = "gstreamer1.0-plugins-bad";
const UGLY: &str = "gstreamer1.0-plugins-ugly";

/// A codec with default properties.
const fn row(codec: Codec, media_type: &'static str) -> CodecRow {
    CodecRow {
        codec,
        media_type,
        fields: &[],
        parser: Parser::None,
        timestamper: None,
        form: None,
        encoder: ("", ""),
        carries_colorimetry: true,
        has_even_sizes: false,
    }
}

static ROWS: [CodecRow; 17] = [
    CodecRow {
        encoder: ("vp8enc", GOOD),
        // BT.601 in limited range by definition (RFC 6386, 9.2).
        carries_colorimetry: false,
        ..row(Codec::Vp8, "video/x-vp8")
    },
    CodecRow {
        // mp4mux requires profile and chroma format.
        parser: Parser::OnlyIn(Container::Mp4, "vp9parse"),
        form: Some(&[("alignment", "super-frame")]),
        encoder: ("vp9enc", GOOD),
        ..row(Codec::Vp9, "video/x-vp9")
    },
    CodecRow {
        parser: Parser::Always("av1parse"),
        form: Some(&[("stream-format", "obu-stream"), ("alignment", "tu")]),
        encoder: ("av1enc", BAD),
        // av1enc 1.22 writes none, and players assume limited-range BT.601.
        carries_colorimetry: false,
        // Some encoders support no others.
        has_even_sizes: true,
        ..row(Codec::Av1, "video/x-av1")
    },
    CodecRow {
        parser: Parser::Always("h264parse"),
        timestamper: Some("h264timestamper"),
        form: Some(&[("stream-format", "avc"), ("alignment", "au")]),
        encoder: ("x264enc", UGLY),
        has_even_sizes: true,
        ..row(Codec::H264, "video/x-h264")
    },
    CodecRow {
        parser: Parser::Always("h265parse"),
        timestamper: Some("h265timestamper"),
        form: Some(&[("stream-format", "hvc1"), ("alignment", "au")]),
        encoder: ("x265enc", BAD),
        has_even_sizes: true,
        ..row(Codec::H265, "video/x-h265")
    },
    CodecRow {
        encoder: ("theoraenc", BASE),
        // BT.601 in limited range by definition (Theora specification, 6.2).
        carries_colorimetry: false,
        ..row(Codec::Theora, "video/x-theora")
    },
    CodecRow {
        fields: &[("ffvversion", 1)],
        encoder: ("avenc_ffv1", "gstreamer1.0-libav"),
        ..row(Codec::Ffv1, "video/x-ffv")
    },
    row(Codec::Mjpeg, "image/jpeg"),
    CodecRow {
        encoder: ("opusenc", BASE),
        ..row(Codec::Opus, "audio/x-opus")
    },
    CodecRow {
        encoder: ("vorbisenc", BASE),
        ..row(Codec::Vorbis, "audio/x-vorbis")
    },
    CodecRow {
        // flacparse 1.26 drops a stream of less than one block.
        encoder: ("flacenc", GOOD),
        ..row(Codec::Flac, "audio/x-flac")
    },
    CodecRow {
        encoder: ("audioconvert", BASE),
        ..row(Codec::Pcm, "audio/x-raw")
    },
    CodecRow {
        fields: &[("mpegversion", 4)],
        parser: Parser::Always("aacparse"),
        form: Some(&[("stream-format", "raw")]),
        encoder: ("voaacenc", BAD),
        ..row(Codec::Aac, "audio/mpeg")
    },
    CodecRow {
        fields: &[("mpegversion", 1), ("layer", 3)],
        parser: Parser::Always("mpegaudioparse"),
        form: Some(&[]),
        encoder: ("lamemp3enc", GOOD),
        ..row(Codec::Mp3, "audio/mpeg")
    },
    CodecRow {
        parser: Parser::Always("ac3parse"),
        ..row(Codec::Ac3, "audio/x-ac3")
    },
    row(Codec::Pcma, "audio/x-alaw"),
    row(Codec::Pcmu, "audio/x-mulaw"),
];

/// The row for `codec`.
pub(super) fn row_of(codec: Codec) -> &'static CodecRow {
    static NOTHING: CodecRow = row(Codec::Pcm, "application/x-unknown");
    // A test checks that every codec has a row.
    let mut rows = ROWS.iter();
    rows.find(|row| row.codec == codec).unwrap_or(&NOTHING)
}

/// The codec whose caps have this name; the first one if it is ambiguous.
pub(super) fn codec_named(media_type: &str) -> Option<Codec> {
    let mut rows = ROWS.iter().filter(|row| row.codec != Codec::Pcm);
    let row = rows.find(|row| row.media_type == media_type)?;
    Some(row.codec)
}

impl CodecRow {
    /// The parser that this container's muxer requires, if any.
    pub fn parser(&self, container: Container) -> Option<&'static str> {
        match self.parser {
            Parser::None => None,
            Parser::Always(factory) => Some(factory),
            Parser::OnlyIn(of, factory) => (of == container).then_some(factory),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_codec_has_its_row() {
        for codec in Codec::ALL {
            assert_eq!(row_of(codec).codec, codec);
            let is_made = !row_of(codec).encoder.0.is_empty();
            assert_eq!(is_made, !codec.is_only_copied(), "{codec:?}");
        }
        assert_eq!(ROWS.len(), Codec::ALL.len());
    }
}
