//! Type strings (`video/webm;codecs="vp8,opus"`) to container and codecs, and what fits into what.

use super::error::Error;

/// The two kinds of track (W3C `MediaStreamTrack.kind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Sound.
    Audio,
    /// Picture.
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

/// A file format that can be recorded.
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

/// How one kind of media can be coded.
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
    /// Samples as they are
    Pcm,
    /// AAC audio, low complexity
    Aac,
    /// MPEG-1 layer III audio
    Mp3,
    /// Motion JPEG video, only copied
    Mjpeg,
    /// AC-3 audio, only copied
    Ac3,
    /// G.711 A-law audio, only copied
    Pcma,
    /// G.711 µ-law audio, only copied
    Pcmu,
}

use Codec as C;

impl Codec {
    /// Every codec there is.
    pub const ALL: [Codec; 16] = [
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
        C::Mjpeg,
        C::Ac3,
        C::Pcma,
        C::Pcmu,
    ];

    /// What it codes.
    pub fn kind(self) -> Kind {
        match self {
            C::Vp8 | C::Vp9 | C::Av1 | C::H264 | C::H265 | C::Theora | C::Mjpeg => Kind::Video,
            C::Opus | C::Vorbis | C::Flac | C::Pcm | C::Aac | C::Mp3 => Kind::Audio,
            C::Ac3 | C::Pcma | C::Pcmu => Kind::Audio,
        }
    }

    /// Whether it is only ever copied from encoded input: the recorder does not encode it.
    pub fn is_only_copied(self) -> bool {
        matches!(self, C::Mjpeg | C::Ac3 | C::Pcma | C::Pcmu)
    }

    /// The name for people.
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
            C::Mjpeg => "Motion JPEG",
            C::Ac3 => "AC-3",
            C::Pcma => "A-law",
            C::Pcmu => "µ-law",
        }
    }

    /// The shortest string that names it in a codec list.
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
            C::Mjpeg => "mjpeg",
            C::Ac3 => "ac-3",
            C::Pcma => "pcma",
            C::Pcmu => "pcmu",
        }
    }

    /// The codec that one element of a codec list names: a W3C short name or an RFC 6381 string.
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
            // 1 is PCM in RFC 2361, which is what WAV's own registration uses.
            ("pcm" | "1", []) => Some(C::Pcm),
            ("mp3", []) | ("mp4a", ["69" | "6b"] | ["40", "34"]) => Some(C::Mp3),
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

fn digits(text: &str, length: std::ops::RangeInclusive<usize>) -> bool {
    length.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

fn hex(text: &str, length: std::ops::RangeInclusive<usize>) -> bool {
    length.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// `vp09.<profile>.<level>.<depth>[.…five more]` (VP codec ISO media file format binding).
fn vp_fields(fields: &[&str]) -> bool {
    match fields {
        [] => true,
        [profile, _, _, ..] if fields.len() <= 8 => {
            matches!(*profile, "00" | "01" | "02" | "03") && fields.iter().all(|f| digits(f, 2..=2))
        }
        _ => false,
    }
}

/// `av01.<profile>.<level and tier>.<depth>[.…six more]` (AV1 ISO media file format binding).
fn av1_fields(fields: &[&str]) -> bool {
    match fields {
        [] => true,
        [profile, level, more @ ..] if (1..=7).contains(&more.len()) => {
            matches!(*profile, "0" | "1" | "2")
                && level
                    .strip_suffix(['m', 'h'])
                    .is_some_and(|level| digits(level, 2..=2))
                && more.iter().all(|f| digits(f, 1..=3))
        }
        _ => false,
    }
}

/// `avc1.PPCCLL` (RFC 6381 section 3.3), or the older `avc1.<profile>.<level>` in decimal.
fn avc_fields(fields: &[&str]) -> bool {
    let profile = match fields {
        [] => return true,
        [all] if hex(all, 6..=6) => all.get(..2).and_then(|p| u8::from_str_radix(p, 16).ok()),
        [profile, level] if digits(level, 1..=2) => profile.parse().ok(),
        _ => None,
    };
    // Baseline, main, high, high 10, high 4:2:2, high 4:4:4: what encoders make.
    matches!(profile, Some(66 | 77 | 100 | 110 | 122 | 244))
}

/// `hvc1.<profile>.<compatibility>.<tier and level>[.<constraint byte>…]` (ISO 14496-15 annex E).
fn hevc_fields(fields: &[&str]) -> bool {
    match fields {
        [] => true,
        [profile, compatibility, level, constraints @ ..] if constraints.len() <= 6 => {
            digits(profile.trim_start_matches(['a', 'b', 'c']), 1..=2)
                && hex(compatibility, 1..=8)
                && level
                    .strip_prefix(['l', 'h'])
                    .is_some_and(|level| digits(level, 1..=3))
                && constraints.iter().all(|byte| hex(byte, 1..=2))
        }
        _ => false,
    }
}

impl Container {
    /// Every container there is.
    pub const ALL: [Container; 7] = [
        Container::WebM,
        Container::Matroska,
        Container::Mp4,
        Container::Ogg,
        Container::Wav,
        Container::Flac,
        Container::Mp3,
    ];

    /// The codecs of `kind` that it takes; the first that can be made here is its default.
    pub fn codecs(self, kind: Kind) -> &'static [Codec] {
        match (self, kind) {
            (Container::WebM, Kind::Video) => &[C::Vp8, C::Vp9, C::Av1],
            (Container::WebM, Kind::Audio) => &[C::Opus, C::Vorbis],
            (Container::Matroska, Kind::Video) => {
                &[C::Vp8, C::Vp9, C::Av1, C::H264, C::H265, C::Mjpeg]
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

    /// Whether it takes this codec.
    pub fn takes(self, codec: Codec) -> bool {
        self.codecs(codec.kind()).contains(&codec)
    }

    /// Whether it holds more than one track.
    pub fn takes_many(self) -> bool {
        !matches!(self, Container::Wav | Container::Flac | Container::Mp3)
    }

    /// The name for people.
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

    /// What follows the slash in its type.
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

    /// The type without codecs, as in `video/webm`.
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

    /// The container that the extension of a file name stands for.
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

/// A codec as a type string names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedCodec {
    /// Which it is.
    pub codec: Codec,
    /// How it was written, as in `avc1.42E01E`.
    pub text: String,
}

/// A type string, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MimeType {
    /// What precedes the slash.
    pub kind: Kind,
    /// What follows it.
    pub container: Container,
    /// At most one codec of each kind, each taken by the container.
    pub codecs: Vec<RequestedCodec>,
}

/// As much of a string from outside as is good to quote in a message.
fn quoted(text: &str) -> String {
    const MAX_CHARS: usize = 80;
    let mut short: String = text.chars().take(MAX_CHARS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("\"{}\"", short.escape_debug())
}

fn names<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    items.into_iter().collect::<Vec<_>>().join(", ")
}

/// Blanks and one pair of quotes around `text` removed; `None` if a quote has no partner.
fn unquoted(text: &str) -> Option<&str> {
    let text = text.trim();
    for quote in ['"', '\''] {
        if let Some(rest) = text.strip_prefix(quote) {
            return rest.strip_suffix(quote).map(str::trim);
        }
    }
    (!text.ends_with(['"', '\''])).then_some(text)
}

/// `text` cut at each `;` that is not between double quotes.
fn parameters(text: &str) -> Vec<&str> {
    let mut within = false;
    text.split(|c: char| {
        within ^= c == '"';
        c == ';' && !within
    })
    .collect()
}

impl MimeType {
    /// Reads a type string. Names are case-insensitive, quotes and blanks around the codec list
    /// are allowed, parameters other than `codecs` are ignored.
    ///
    /// Fails with NotSupported as the draft's `isTypeSupported` says false: no known container,
    /// an unknown codec, one that does not fit the container or the kind, two of one kind.
    pub fn parse(text: &str) -> Result<MimeType, Error> {
        let parts = parameters(text);
        let (essence, parameters) = parts.split_first().unwrap_or((&"", &[]));
        let essence = essence.trim().to_ascii_lowercase();
        let (kind, subtype) = essence.split_once('/').unwrap_or((&essence, ""));
        let kind = match kind {
            "audio" => Some(Kind::Audio),
            "video" => Some(Kind::Video),
            _ => None,
        };
        let known = kind.and_then(|kind| Some((kind, Container::parse(kind, subtype)?)));
        let Some((kind, container)) = known else {
            let known = names(["webm", "x-matroska", "mp4", "ogg"]);
            return Err(Error::not_supported(format!(
                "mime-type {}: no such type is known; use video/ or audio/ with one of {known}, \
                 or audio/wav, audio/flac, audio/mpeg",
                quoted(text)
            )));
        };
        let mut found = Self {
            kind,
            container,
            codecs: Vec::new(),
        };
        let mut seen = false;
        for parameter in parameters {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            if !name.trim().eq_ignore_ascii_case("codecs") {
                continue;
            }
            // Of a repeated parameter the first counts, as in the WHATWG's MIME parser.
            if std::mem::replace(&mut seen, true) {
                continue;
            }
            let Some(list) = unquoted(value) else {
                return Err(Error::not_supported(format!(
                    "mime-type {}: a quote around the codec list has no partner; \
                     write codecs=\"vp8,opus\" or codecs=vp8,opus",
                    quoted(text)
                )));
            };
            if list.is_empty() {
                continue;
            }
            for element in list.split(',') {
                found.add(text, element.trim())?;
            }
        }
        Ok(found)
    }

    fn add(&mut self, text: &str, element: &str) -> Result<(), Error> {
        let container = self.container;
        let refused = |why: String| {
            let fits = match self.kind {
                Kind::Video => [Kind::Video, Kind::Audio].as_slice(),
                Kind::Audio => &[Kind::Audio],
            };
            let fits = fits.iter().flat_map(|kind| container.codecs(*kind));
            Error::not_supported(format!(
                "mime-type {}: {why}; {} takes {}",
                quoted(text),
                container.essence(self.kind),
                names(fits.map(|codec| codec.text()))
            ))
        };
        let Some(codec) = Codec::parse(element) else {
            return Err(refused(format!("no codec {} is known", quoted(element))));
        };
        if self.kind == Kind::Audio && codec.kind() == Kind::Video {
            return Err(refused(format!(
                "{} is video and the type is audio",
                codec.name()
            )));
        }
        if !container.takes(codec) {
            return Err(refused(format!(
                "{} cannot be stored in {}",
                codec.name(),
                container.name()
            )));
        }
        if let Some(other) = self.codec(codec.kind()) {
            return Err(refused(format!(
                "it names two {} codecs, {} and {}, and every track of a kind gets the same",
                codec.kind().name(),
                other.codec.name(),
                codec.name()
            )));
        }
        self.codecs.push(RequestedCodec {
            codec,
            text: element.to_owned(),
        });
        Ok(())
    }

    /// The codec that was named for this kind of track.
    pub fn codec(&self, kind: Kind) -> Option<&RequestedCodec> {
        self.codecs.iter().find(|named| named.codec.kind() == kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ErrorCode;
    use proptest::prelude::*;

    fn codecs(text: &str) -> Vec<Codec> {
        let parsed = MimeType::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        parsed.codecs.iter().map(|named| named.codec).collect()
    }

    #[test]
    fn reads_what_is_well_formed() {
        for (text, expected) in [
            ("video/webm", &[][..]),
            ("video/webm;codecs=", &[]),
            ("video/webm; codecs=\"\"", &[]),
            ("VIDEO/WebM;CODECS=VP8,OPUS", &[C::Vp8, C::Opus]),
            (
                " video/webm ; codecs = \" vp8 , opus \" ",
                &[C::Vp8, C::Opus],
            ),
            ("video/webm;codecs='vp9,opus'", &[C::Vp9, C::Opus]),
            ("video/webm;codecs=opus", &[C::Opus]),
            ("video/webm;codecs=vp09.00.10.08", &[C::Vp9]),
            ("video/webm;codecs=av01.0.04M.08", &[C::Av1]),
            ("video/webm;foo=\"a;b\";codecs=vp8", &[C::Vp8]),
            ("audio/webm;codecs=vorbis", &[C::Vorbis]),
            (
                "video/x-matroska;codecs=\"avc1.42E01E,pcm\"",
                &[C::H264, C::Pcm],
            ),
            (
                "video/x-matroska;codecs=hvc1.1.6.L123.00,flac",
                &[C::H265, C::Flac],
            ),
            ("video/mp4;codecs=avc3.64001f,mp4a.40.2", &[C::H264, C::Aac]),
            (
                "video/mp4;codecs=\"hev1.1.6.L93.B0, opus\"",
                &[C::H265, C::Opus],
            ),
            ("video/mp4;codecs=avc1.66.30,mp3", &[C::H264, C::Mp3]),
            ("video/mp4;codecs=hvc1", &[C::H265]),
            ("audio/mp4;codecs=mp4a.40.2", &[C::Aac]),
            ("video/ogg;codecs=theora,vorbis", &[C::Theora, C::Vorbis]),
            ("audio/wav;codecs=1", &[C::Pcm]),
            ("audio/flac", &[]),
            ("audio/mpeg;codecs=mp3", &[C::Mp3]),
        ] {
            assert_eq!(codecs(text), expected, "{text}");
        }
        let avc = MimeType::parse("video/mp4;codecs=avc3.42E01E").unwrap();
        assert_eq!(avc.codec(Kind::Video).unwrap().text, "avc3.42E01E");
        assert_eq!(avc.codec(Kind::Audio), None);
    }

    #[test]
    fn refuses_the_rest_with_advice() {
        for text in [
            "",
            "video",
            "video/",
            "/webm",
            "audio/banana",
            "video/pineapple",
            "video/invalid",
            "video/wav",
            "text/webm",
            "video/webm;codecs=banana",
            "video/webm;codecs=vp8,",
            "video/webm;codecs=vp8,,opus",
            "video/webm;codecs=\"vp8",
            "video/webm;codecs=vp8\"",
            "video/webm;codecs=vp8 opus",
            "video/webm;codecs=vp8,vp9",
            "video/webm;codecs=opus,vorbis",
            "video/webm;codecs=avc1",
            "video/webm;codecs=mp4a.40.2",
            "audio/webm;codecs=vp8",
            "video/mp4;codecs=vp8",
            "video/mp4;codecs=avc1.42E0",
            "video/mp4;codecs=avc1.zzzzzz",
            "video/mp4;codecs=avc1.00001E",
            "video/mp4;codecs=hvc1.1.6",
            "video/mp4;codecs=av01.9.04M.08",
            "video/mp4;codecs=vp09.00",
            "video/mp4;codecs=mp4a.40.5",
            "video/mp4;codecs=vorbis",
            "audio/wav;codecs=opus",
            "audio/flac;codecs=opus",
        ] {
            let error = MimeType::parse(text).expect_err(text);
            assert_eq!(error.code(), ErrorCode::NotSupported);
            let (asked, advice) = error.message().split_once("; ").expect(text);
            assert!(asked.starts_with("mime-type \""), "{error}");
            assert!(!advice.is_empty(), "{error}");
        }
    }

    #[test]
    fn locations() {
        for (location, expected) in [
            ("a.webm", Some(Container::WebM)),
            ("/tmp/x%03d.MKV", Some(Container::Matroska)),
            ("a.b.m4a", Some(Container::Mp4)),
            ("a.opus", Some(Container::Ogg)),
            ("a.wav", Some(Container::Wav)),
            ("a.flac", Some(Container::Flac)),
            ("a.mp3", Some(Container::Mp3)),
            ("a.txt", None),
            ("webm", None),
            (".webm", None),
            ("", None),
        ] {
            assert_eq!(Container::of_location(location), expected, "{location}");
        }
    }

    #[test]
    fn every_codec_has_a_home_and_a_text_that_reads_back() {
        for codec in Codec::ALL {
            assert_eq!(Codec::parse(codec.text()), Some(codec));
            assert!(Container::ALL.iter().any(|c| c.takes(codec)), "{codec:?}");
        }
        for container in Container::ALL {
            for kind in [Kind::Audio, Kind::Video] {
                let parsed = Container::parse(kind, container.subtype());
                let expected = !container.codecs(kind).is_empty();
                assert_eq!(parsed.is_some(), expected, "{container:?} {kind:?}");
                for codec in container.codecs(kind) {
                    assert_eq!(codec.kind(), kind);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in any::<String>(), location in any::<String>()) {
            let _ = MimeType::parse(&text);
            let _ = Container::of_location(&location);
        }

        #[test]
        fn never_panics_on_what_is_nearly_right(
            text in "(audio|video|Video)/(webm|mp4|x-matroska|ogg|wav)(;| ; )?(codecs)?[=\"' ]{0,4}\
                     ([a-z0-9]{0,4}(\\.[0-9a-fA-FMLé]{0,6}){0,4}[,\"; ]{0,2}){0,3}"
        ) {
            if let Ok(found) = MimeType::parse(&text) {
                for named in &found.codecs {
                    prop_assert!(found.container.takes(named.codec));
                    prop_assert_eq!(Codec::parse(&named.text), Some(named.codec));
                }
            }
        }
    }
}
