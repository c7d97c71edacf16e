//! Turns pipeline errors into messages that name the track, its caps, the failing element, and a remedy.

use super::{
    decoder::lacks_decoder, encoding::encoder_around, pipeline::Listener, probe::PANICKED,
};
use crate::{
    formats::Missing,
    log::CAT,
    model::{Codec, Container, Error},
};
use gst::prelude::*;
use std::sync::Arc;

/// A track's path through the pipeline.
pub(super) struct TrackPath {
    pub name: String,
    /// Its input caps.
    pub caps: gst::Caps,
    pub codec: Codec,
    /// The pad where it enters.
    pub begin: glib::WeakRef<gst::Pad>,
}

/// Where caps were refused.
struct Refused {
    step: gst::Element,
    caps: Option<gst::Caps>,
}

/// Listens to the bus of the pipeline, where all its errors are posted. Messages are handled synchronously, when they
/// are posted.
pub(super) fn listen(
    bus: &gst::Bus,
    container: Container,
    paths: Vec<TrackPath>,
    listener: &Arc<impl Listener>,
) {
    let listener = Arc::downgrade(listener);
    bus.set_sync_handler(move |_, message| {
        if let gst::MessageView::Error(error) = message.view()
            && let Some(listener) = listener.upgrade()
        {
            let (missing, failed) = explain(error, container, &paths);
            // A panic in the recorder's own code is not the encoder's fault.
            let is_ours = error.debug().is_some_and(|debug| debug.contains(PANICKED));
            let encoder = error.src().filter(|_| !is_ours).and_then(encoder_around);
            match encoder {
                Some(encoder) => listener.encoder_failed(&encoder, failed),
                None => {
                    listener.missing(missing);
                    listener.error(failed);
                }
            }
        }
        gst::BusSyncReply::Drop
    });
}

fn explain(
    error: &gst::message::Error,
    container: Container,
    paths: &[TrackPath],
) -> (Vec<Missing>, Error) {
    let source = error.src().map(|source| source.name().to_string());
    let source = source.unwrap_or_default();
    let (what, debug) = (error.error(), error.debug().unwrap_or_default());
    gst::debug!(CAT, "{source}: {what} ({debug})");
    let path = paths.iter().find(|path| {
        let names = around(error.src());
        names.iter().any(|name| is_of_track(name, &path.name))
    });
    let failed = what.kind::<gst::StreamError>();
    let Some(path) = path else {
        return (
            Vec::new(),
            failed_elsewhere(container, paths, &source, &what, &said(&what, &debug)),
        );
    };
    let is_flow = failed == Some(gst::StreamError::Failed) && debug.contains("streaming stopped");
    if is_flow && debug.contains("not-negotiated") {
        return path.refusal(container);
    }
    if lacks_decoder(&what) {
        return path.no_decoder(error.src());
    }
    let (name, caps) = (&path.name, &path.caps);
    if source == format!("{name}-parser") {
        return (Vec::new(), path.refused_by(container, &source, caps));
    }
    if let Some(decoder) = path.decoder_around(error.src()) {
        let given = input_caps(&decoder);
        let failed = path.not_decoded(given.as_ref(), &source, &said(&what, &debug));
        return (Vec::new(), failed);
    }
    let why = if is_flow {
        "an element between it and the file refused its data".to_owned()
    } else {
        said(&what, &debug)
    };
    let text = format!("The track of {name} ({caps}) cannot be recorded: {source}: {why}.");
    (Vec::new(), Error::unknown(text))
}

/// The error message of an element, without the source location.
fn said(what: &glib::Error, debug: &str) -> String {
    let what = what.message().trim_end_matches('.');
    match debug.split_once('\n') {
        Some((_, detail)) => format!("{what} ({detail})"),
        None => what.to_owned(),
    }
}

/// An element failed that belongs to no track, such as the muxer. A track may still be the cause.
fn failed_elsewhere(
    container: Container,
    paths: &[TrackPath],
    source: &str,
    what: &glib::Error,
    said: &str,
) -> Error {
    let refused = paths
        .iter()
        .find(|path| path.refused().is_some_and(|refused| refused.caps.is_some()));
    match refused {
        Some(path) if what.matches(gst::StreamError::Mux) => {
            let (name, caps) = (&path.name, path.reaches_muxer());
            let caps = caps.unwrap_or_else(|| path.caps.clone());
            Error::not_supported(format!(
                "{} cannot carry the track of {name} ({caps}): {said}. {}",
                container.name(),
                another_way(path.codec)
            ))
        }
        _ => Error::unknown(format!(
            "Recording failed in {source}, which writes {}: {said}.",
            container.name()
        )),
    }
}

fn another_way(codec: Codec) -> String {
    format!(
        "Set another mime-type, such as {}, or decode it upstream of the recorder.",
        match codec.kind() {
            crate::model::Kind::Audio => "audio/x-matroska",
            crate::model::Kind::Video => "video/x-matroska",
        }
    )
}

impl TrackPath {
    /// Explains why its caps were refused, and by which element.
    fn refusal(&self, container: Container) -> (Vec<Missing>, Error) {
        let name = &self.name;
        let Some(Refused { step, caps }) = self.refused() else {
            // The muxer checks caps when it gets the first buffer.
            let caps = self.reaches_muxer().unwrap_or_else(|| self.caps.clone());
            let text = format!(
                "{} cannot carry the track of {name} with the caps {caps}. {}",
                container.name(),
                another_way(self.codec)
            );
            return (Vec::new(), Error::not_supported(text));
        };
        if step.name() == self.decoder_name() {
            return self.no_decoder(Some(step.upcast_ref()));
        }
        let given = caps.unwrap_or_else(|| self.caps.clone());
        (Vec::new(), self.refused_by(container, &step.name(), &given))
    }

    /// The element of this name refuses its input.
    fn refused_by(&self, container: Container, step: &str, given: &gst::CapsRef) -> Error {
        let (name, codec, container) = (&self.name, self.codec.name(), container.name());
        let step = step.strip_prefix(&format!("{name}-")).unwrap_or(step);
        let (step, way) = match step {
            "parser" | "timestamper" | "encoded" => (
                match step {
                    "parser" => "its parser".to_owned(),
                    _ => format!("the element after its parser ({step})"),
                },
                format!(
                    "It is not {codec} as described by its caps, or cannot be converted to what {container} \
                     requires; put the parser of its codec or a demuxer upstream of the recorder, or decode it there."
                ),
            ),
            "encoder" => (
                format!("the encoder for {codec}"),
                "Convert it to a common format upstream of the recorder (audio: S16LE, up to 2 channels; video: \
                 I420), or set another mime-type."
                    .to_owned(),
            ),
            "raw" | "audioconvert" | "audioresample" | "videoconvert" | "videoscale" | "videoflip" => (
                format!("the element that converts it for {codec} ({step})"),
                "Put audioconvert or videoconvert upstream of the recorder, followed by a caps filter with a common \
                 format."
                    .to_owned(),
            ),
            other => (format!("{container} ({other})"), another_way(self.codec)),
        };
        let text = format!(
            "The track of {name} cannot be recorded: {step} does not accept {given}. {way}"
        );
        Error::not_supported(text)
    }

    /// A decoder in the pipeline has failed, after a caps change.
    fn not_decoded(&self, given: Option<&gst::Caps>, decoder: &str, said: &str) -> Error {
        let (name, codec) = (&self.name, self.codec.name());
        let caps = given.unwrap_or(&self.caps);
        Error::unknown(format!(
            "The track of {name} cannot continue as {codec}: its caps changed to {caps}, and {decoder} cannot decode \
             it, as it is damaged or does not match its caps: {said}. Do not change the codec, or decode it upstream \
             of the recorder."
        ))
    }

    fn no_decoder(&self, failed: Option<&gst::Object>) -> (Vec<Missing>, Error) {
        let (name, codec) = (&self.name, self.codec.name());
        let decoder = self.decoder_around(failed);
        let given = decoder.and_then(|decoder| input_caps(&decoder));
        let caps = given.unwrap_or_else(|| self.caps.clone());
        let text = format!(
            "The track of {name} cannot continue as {codec}: its caps changed to {caps}, which no installed decoder \
             accepts. Install one (gstreamer1.0-libav has most), do not change the codec, or decode it upstream of \
             the recorder."
        );
        (vec![Missing::Decoder(caps)], Error::not_supported(text))
    }

    fn decoder_name(&self) -> String {
        format!("{}-decoder", self.name)
    }

    /// The track's decoder, if the object is that or is inside it.
    fn decoder_around(&self, object: Option<&gst::Object>) -> Option<gst::Element> {
        let name = self.decoder_name();
        let mut objects = std::iter::successors(object.cloned(), |object| object.parent());
        objects
            .find(|object| object.name() == name)?
            .downcast()
            .ok()
    }

    /// The src pads along its path, as far as they are linked.
    fn pads(&self) -> Vec<gst::Pad> {
        let mut pads: Vec<gst::Pad> = self.begin.upgrade().into_iter().collect();
        while let Some(last) = pads.last()
            && let Some(element) = last.peer().and_then(|peer| peer.parent_element())
            && is_of_track(&element.name(), &self.name)
            && let Some(next) = element.src_pads().into_iter().next()
        {
            pads.push(next);
        }
        pads
    }

    /// The last element that refused caps, or that has input caps but no output caps.
    fn refused(&self) -> Option<Refused> {
        let pads = self.pads();
        let waits = |pad: &&gst::Pad| {
            pad.pad_flags().contains(gst::PadFlags::PENDING_EVENTS) && pad.has_current_caps()
        };
        if let Some(pad) = pads.iter().rev().find(waits) {
            return Some(Refused {
                step: pad.peer()?.parent_element()?,
                caps: pad.current_caps(),
            });
        }
        let silent = pads.iter().find(|pad| !pad.has_current_caps())?;
        let step = silent.parent_element()?;
        let caps = step.static_pad("sink").and_then(|sink| sink.current_caps());
        Some(Refused { step, caps })
    }

    /// The caps with which it reaches the muxer.
    fn reaches_muxer(&self) -> Option<gst::Caps> {
        self.pads().last()?.current_caps()
    }
}

fn input_caps(element: &gst::Element) -> Option<gst::Caps> {
    element.static_pad("sink")?.current_caps()
}

/// The names of an object and its ancestors.
fn around(object: Option<&gst::Object>) -> Vec<glib::GString> {
    std::iter::successors(object.cloned(), |object| object.parent())
        .map(|object| object.name())
        .collect()
}

/// Whether an element of this name belongs to the track.
pub(super) fn is_of_track(name: &str, track: &str) -> bool {
    name.strip_prefix(track)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}
