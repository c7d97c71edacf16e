//! Parses MIME types such as `video/webm;codecs="vp8,opus"`.

use super::{Codec, Container, Error, Kind};

/// A codec named in a MIME type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedCodec {
    /// The codec.
    pub codec: Codec,
    /// The original string, as in `avc1.42E01E`.
    pub text: String,
}

/// A parsed MIME type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MimeType {
    /// The top-level type.
    pub kind: Kind,
    /// The subtype.
    pub container: Container,
    /// At most one codec of each kind, each supported by the container.
    pub codecs: Vec<RequestedCodec>,
}

/// An external string, shortened for a message.
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

/// Trims whitespace and one pair of quotes; `None` if a quote is unmatched.
fn unquoted(text: &str) -> Option<&str> {
    let text = text.trim();
    for quote in ['"', '\''] {
        if let Some(rest) = text.strip_prefix(quote) {
            return rest.strip_suffix(quote).map(str::trim);
        }
    }
    (!text.ends_with(['"', '\''])).then_some(text)
}

/// Splits `text` at each `;` outside double quotes.
fn parameters(text: &str) -> Vec<&str> {
    let mut within = false;
    text.split(|c: char| {
        within ^= c == '"';
        c == ';' && !within
    })
    .collect()
}

impl MimeType {
    /// Parses a MIME type. Names are case-insensitive, quotes and whitespace around the codec list are allowed,
    /// parameters other than `codecs` are ignored.
    ///
    /// Fails with NotSupported where the draft's `isTypeSupported` is false: an unknown container or codec, a codec
    /// that the container or the kind does not support, two codecs of one kind.
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
            // The first of repeated parameters applies, as in the WHATWG's MIME parser.
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
                "{} is a video codec, but the type is audio",
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
                "it names two {} codecs, {} and {}, but all tracks of a kind get the same one",
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

    /// The codec named for this kind of track.
    pub fn codec(&self, kind: Kind) -> Option<&RequestedCodec> {
        self.codecs.iter().find(|named| named.codec.kind() == kind)
    }
}
