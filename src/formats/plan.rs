//! Selects container, codecs and actual MIME type from the request and the inputs.

use super::caps::{codec_of_caps, encoded_caps, video_info};
use super::codec_string::codec_string;
use super::muxer::{container_caps, mux_caps, muxer_factory, parser};
use super::registry::{can_encode, can_mux, creatable, encoder_package, package};
use super::video_input::{Keep, VideoInput, VideoInputRequest, can_encode_profile, video_input};
use crate::model::{Codec, Container, Error, Kind, MimeType, Profile, avc_profile_idc};

/// A track to be recorded, as far as its caps are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrackInput {
    /// Audio or video.
    pub kind: Kind,
    /// Codec of the input if it is copied; `None` if it is raw, to be decoded, or as long as its caps are unknown.
    pub encoded: Option<Codec>,
}

/// The codec of media with these caps if it is copied into the file, which depends on the requested type, or else on
/// the extension of `location`. Without either, codecs that web players support are copied.
pub fn copied_codec(caps: &gst::CapsRef, requested: &str, location: Option<&str>) -> Option<Codec> {
    let codec = codec_of_caps(caps)?;
    let asked = if requested.is_empty() {
        None
    } else {
        Some(MimeType::parse(requested).ok()?)
    };
    let named = asked.as_ref().and_then(|asked| asked.codec(codec.kind()));
    let container = asked.as_ref().map(|asked| asked.container);
    let is_copied = match container.or_else(|| Container::of_location(location?)) {
        Some(container) => container.takes(codec) && named.is_none_or(|named| named.codec == codec),
        None => !codec.is_only_copied(),
    };
    is_copied.then_some(codec)
}

/// The selected format of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The file format.
    pub container: Container,
    /// Video if there is any video track.
    pub kind: Kind,
    /// Codec of each track, in track order.
    pub codecs: Vec<Codec>,
    /// For each track, whether encoded input is copied.
    pub copied: Vec<bool>,
    /// The requested video codec string, if any.
    video_text: Option<String>,
}

/// A missing plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// An element with this factory name.
    Element(&'static str),
    /// An encoder that outputs these caps.
    Encoder(gst::Caps),
    /// A decoder that accepts these caps.
    Decoder(gst::Caps),
}

/// Why a recording is not possible, and what is missing for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For the application.
    pub error: Error,
    /// For plugin installers.
    pub missing: Vec<Missing>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let missing = Vec::new();
        Refusal { error, missing }
    }
}

/// Whether raw media can be recorded with `codec` in `container`, with the installed plugins.
fn can_record(codec: Codec, container: Container) -> bool {
    can_mux(codec, container) && can_encode(codec)
}

/// The codec for tracks of `kind` if none is requested.
fn default_codec(container: Container, kind: Kind) -> Option<Codec> {
    let mut codecs = container.codecs(kind).iter().copied();
    codecs.find(|codec| can_record(*codec, container))
}

/// Why `codec` cannot be recorded in `container`, with the missing packages.
fn missing(what: &str, codec: Codec, container: Container) -> Refusal {
    if codec.is_only_copied() {
        return Error::not_supported(format!(
            "{what}: {} can only be copied from {0} input, not encoded; leave the codecs out of the type",
            codec.name()
        ))
        .into();
    }
    let mut reasons = Vec::new();
    let mut missing = Vec::new();
    let needed = [Some(muxer_factory(container)), parser(codec, container)];
    for factory in needed.into_iter().flatten() {
        if !creatable(factory) {
            reasons.push((factory, package(factory)));
            missing.push(Missing::Element(factory));
        }
    }
    if !can_encode(codec) {
        reasons.push(encoder_package(codec));
        missing.push(Missing::Encoder(encoded_caps(codec)));
    }
    let (elements, mut packages): (Vec<_>, Vec<_>) = reasons.into_iter().unzip();
    packages.dedup();
    let error = Error::not_supported(format!(
        "{what}: {} in {} is not available, {} is missing; install {}",
        codec.name(),
        container.name(),
        elements.join(" and "),
        packages.join(" and "),
    ));
    Refusal { error, missing }
}

/// The W3C draft's `isTypeSupported`, based on the encoders and muxers in this registry: true if
/// they exist and can be created. The empty string is supported: it leaves the choice to the recorder.
pub fn is_type_supported(text: &str) -> bool {
    if text.is_empty() {
        return true;
    }
    MimeType::parse(text).is_ok_and(|asked| check(&asked, text, &[]).is_ok())
}

/// Whether the type can be recorded with the installed plugins; encoders are not needed for input that is copied.
fn check(asked: &MimeType, text: &str, tracks: &[TrackInput]) -> Result<(), Refusal> {
    let what = format!("mime-type \"{}\"", text.escape_debug());
    let container = asked.container;
    for named in &asked.codecs {
        let comes = tracks.iter().any(|t| t.encoded == Some(named.codec));
        if !(can_record(named.codec, container) || comes && can_mux(named.codec, container)) {
            return Err(missing(&what, named.codec, container));
        }
        if let Some(profile) = Profile::of_codec_string(&named.text)
            && !comes
            && !can_encode_profile(named.codec, profile)
        {
            return Err(Error::not_supported(format!(
                "{what}: {} asks for {} with {} bits, which no installed encoder supports; ask for {} without a \
                 profile",
                named.text,
                profile.chroma.name(),
                profile.depth,
                named.codec.text()
            ))
            .into());
        }
    }
    if asked.codecs.is_empty() && default_codec(container, asked.kind).is_none() {
        let comes = |t: &TrackInput| t.encoded.is_some_and(|c| can_mux(c, container));
        if let (false, Some(codec)) = (
            tracks.iter().any(comes),
            container.codecs(asked.kind).first(),
        ) {
            return Err(missing(&what, *codec, container));
        }
    }
    Ok(())
}

/// The container for encoded input if none is requested: the first one that accepts all of it without
/// transcoding, and in which the raw tracks can be recorded. mp4mux 1.22.0 writes a wrong Opus pre-skip, so with
/// Opus, MP4 is tried late.
fn natural_container(tracks: &[TrackInput]) -> Option<Container> {
    let opus = tracks.iter().any(|t| t.encoded == Some(Codec::Opus));
    let [early, late] = if opus {
        [Container::Matroska, Container::Mp4]
    } else {
        [Container::Mp4, Container::Matroska]
    };
    let order = [
        Container::WebM,
        Container::Flac,
        Container::Mp3,
        early,
        late,
        Container::Ogg,
    ];
    order.into_iter().find(|container| {
        (container.takes_many() || tracks.len() == 1)
            && tracks.iter().all(|track| match track.encoded {
                Some(codec) => can_mux(codec, *container),
                None => default_codec(*container, track.kind).is_some(),
            })
    })
}

/// Decides what is recorded, and how.
///
/// `requested` is the property `mime-type`; if it is empty, the container is the one for the
/// extension of `location` if it is known, else one that accepts the encoded input without transcoding,
/// else WebM. A track's codec is the one requested for its kind, else that of its input if the
/// container accepts it, else the container's default. Input in another codec is transcoded.
///
/// Fails with NotSupported if there is no track, or if the type cannot be recorded with the installed plugins, or
/// cannot carry a track. The message names what is missing and its Debian package.
pub fn choose(
    requested: &str,
    location: Option<&str>,
    tracks: &[TrackInput],
) -> Result<Plan, Refusal> {
    if tracks.is_empty() {
        return Err(Error::not_supported(
            "start: there is no live track; link a source to an audio_%u or video_%u pad first",
        )
        .into());
    }
    let asked = if requested.is_empty() {
        None
    } else {
        Some(MimeType::parse(requested)?)
    };
    let (what, container) = match &asked {
        Some(asked) => {
            check(asked, requested, tracks)?;
            let what = format!("mime-type \"{}\"", requested.escape_debug());
            (what, asked.container)
        }
        None => match location.and_then(|l| Container::of_location(l).map(|c| (l, c))) {
            Some((location, container)) => {
                let what = format!("location \"{}\"", location.escape_debug());
                (what, container)
            }
            None => ("start".to_owned(), automatic_container(tracks)?),
        },
    };
    let mut plan = Plan {
        container,
        kind: Kind::Audio,
        codecs: Vec::new(),
        copied: Vec::new(),
        video_text: asked
            .as_ref()
            .and_then(|asked| Some(asked.codec(Kind::Video)?.text.to_ascii_lowercase())),
    };
    if !container.takes_many() && tracks.len() > 1 {
        return Err(Error::not_supported(format!(
            "{what}: {} holds one audio track and there are {} tracks; use video/x-matroska or \
             audio/x-matroska for more",
            container.name(),
            tracks.len()
        ))
        .into());
    }
    for track in tracks {
        let refused = asked
            .as_ref()
            .is_some_and(|asked| asked.kind == Kind::Audio && track.kind == Kind::Video);
        let Some(first) = container.codecs(track.kind).first().filter(|_| !refused) else {
            return Err(Error::not_supported(format!(
                "{what}: this type cannot contain a video track; use {}",
                match container.codecs(Kind::Video) {
                    [] => "video/webm".to_owned(),
                    _ => container.essence(Kind::Video),
                }
            ))
            .into());
        };
        let named = asked.as_ref().and_then(|asked| asked.codec(track.kind));
        let encoded = track.encoded.filter(|codec| container.takes(*codec));
        let codec = match named.map(|named| named.codec).or(encoded) {
            Some(codec) => codec,
            None => default_codec(container, track.kind).unwrap_or(*first),
        };
        let copied = track.encoded == Some(codec);
        if !can_mux(codec, container) || !copied && !can_encode(codec) {
            return Err(missing(&what, codec, container));
        }
        if track.kind == Kind::Video {
            plan.kind = Kind::Video;
        }
        plan.codecs.push(codec);
        plan.copied.push(copied);
    }
    Ok(plan)
}

fn automatic_container(tracks: &[TrackInput]) -> Result<Container, Error> {
    if tracks.iter().all(|track| track.encoded.is_none()) {
        return Ok(Container::WebM);
    }
    natural_container(tracks).ok_or_else(|| {
        let codecs: Vec<_> = tracks
            .iter()
            .filter_map(|track| Some(track.encoded?.name()))
            .collect();
        Error::not_supported(format!(
            "start: no available container can store {} without transcoding; set a mime-type such as \
             video/webm;codecs=vp8,opus to have it transcoded",
            codecs.join(" with ")
        ))
    })
}

impl Plan {
    /// The actual type, from the caps in front of the muxer, in track order (fewer if not all are
    /// known): `video/webm;codecs=vp8,opus`. Video codecs come first, each
    /// codec once.
    pub fn mime_type(&self, track_caps: &[gst::Caps]) -> String {
        let mut listed: Vec<String> = Vec::new();
        for kind in [Kind::Video, Kind::Audio] {
            for (index, codec) in self.codecs.iter().enumerate() {
                if codec.kind() != kind {
                    continue;
                }
                let caps = track_caps.get(index).map(|caps| caps.as_ref());
                let text = codec_string(*codec, self.container, caps);
                if !listed.contains(&text) {
                    listed.push(text);
                }
            }
        }
        let essence = self.container.essence(self.kind);
        format!("{essence};codecs={}", listed.join(","))
    }

    /// The encoder's input format for a track of raw video with these caps.
    pub fn video_input(
        &self,
        track: usize,
        caps: &gst::CapsRef,
        keep: Keep,
        is_turned: bool,
    ) -> Option<VideoInput> {
        let info = video_info(caps)?;
        let codec = (*self.codecs.get(track)?, self.container);
        let asked = self.video_text.as_deref().unwrap_or_default();
        let request = VideoInputRequest {
            keep,
            profile: self.profile(),
            is_turned,
            is_progressive: h264_profiles(asked).is_some_and(|all| !all.contains(&"main")),
        };
        Some(video_input(codec, &info, request))
    }

    /// The profile in the requested video codec string.
    fn profile(&self) -> Option<Profile> {
        Profile::of_codec_string(self.video_text.as_deref()?)
    }

    /// Whether all tracks are copied.
    pub fn copies_all(&self) -> bool {
        self.copied.iter().all(|copied| *copied)
    }

    /// The caps of the recording's blobs.
    pub fn caps(&self) -> gst::Caps {
        container_caps(self.container, self.kind)
    }

    /// The element required in front of the muxer for this track, if any.
    pub fn parser(&self, track: usize) -> Option<&'static str> {
        let codec = *self.codecs.get(track)?;
        let copied = self.copied.get(track).copied().unwrap_or_default();
        match parser(codec, self.container) {
            // Frames copied from the middle of a stream need a new header.
            None if copied && codec == Codec::Flac && creatable("flacparse") => Some("flacparse"),
            parser => parser,
        }
    }

    /// Caps that the parser (or the encoder, if there is no parser) of this track has to output: the
    /// stream format that the muxer expects, with parameter sets in band if avc3 or hev1 was requested, and
    /// a profile that players of the requested one support.
    pub fn mux_caps(&self, track: usize) -> Option<gst::Caps> {
        let codec = *self.codecs.get(track)?;
        let mut caps = mux_caps(codec, self.container)?;
        if codec.kind() != Kind::Video {
            return Some(caps);
        }
        let asked = self.video_text.as_deref().unwrap_or_default();
        for (entry, format) in [("avc3", "avc3"), ("hev1", "hev1")] {
            if asked.starts_with(entry) {
                caps.make_mut().set("stream-format", format);
            }
        }
        let copied = self.copied.get(track).copied().unwrap_or_default();
        if let (Codec::H264, false, Some(profiles)) = (codec, copied, h264_profiles(asked)) {
            caps.make_mut().set("profile", gst::List::new(profiles));
        }
        Some(caps)
    }
}

/// The H.264 profiles, as named in caps, that a decoder of the requested profile supports.
fn h264_profiles(asked: &str) -> Option<&'static [&'static str]> {
    const HIGH: [&str; 6] = [
        "high",
        "progressive-high",
        "constrained-high",
        "main",
        "constrained-baseline",
        "baseline",
    ];
    let fields: Vec<&str> = asked.split('.').skip(1).collect();
    match avc_profile_idc(&fields)? {
        66 => HIGH.get(4..),
        77 => HIGH.get(3..),
        100 => Some(&HIGH),
        // The professional profiles include everything that encoders here produce.
        _ => None,
    }
}
