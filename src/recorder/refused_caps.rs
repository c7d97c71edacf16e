//! Reports rejected caps of a sink pad, with the elements upstream would need, once per caps.

use super::{MediaRecorderPad, imp::MediaRecorder};
use crate::{
    formats::{self, Missing},
    model::Kind,
};
use gst::{prelude::*, subclass::prelude::*};

/// Maximum number of caps remembered per pad.
const MOST: usize = 16;

impl MediaRecorder {
    /// Handles rejected caps. ACCEPT_CAPS is also queried for a CAPS event before the pad gets it: then upstream's pad
    /// already has these caps.
    pub(super) fn refuses(&self, pad: &MediaRecorderPad, caps: &gst::CapsRef) {
        let sent = pad.peer().and_then(|peer| peer.current_caps());
        if sent.is_none_or(|sent| sent.as_ref() != caps) {
            return;
        }
        {
            let refused = &mut pad.stream().refused;
            if refused.len() >= MOST || refused.iter().any(|known| known.as_ref() == caps) {
                return;
            }
            refused.push(caps.to_owned());
        }
        let (way, missing) = way_in(pad.kind(), &caps.to_owned());
        self.post_missing(&missing);
        gst::element_imp_warning!(
            self,
            gst::StreamError::Format,
            ("Pad {} does not accept {caps}: {way}.", pad.name())
        );
    }
}

/// The elements needed in front of a pad of `kind` for these caps, and those not installed.
fn way_in(kind: Kind, caps: &gst::Caps) -> (String, Vec<Missing>) {
    use gst::ElementFactoryType as Type;
    let name = caps.structure(0).map_or("", |fields| fields.name());
    let other = match kind {
        Kind::Audio => Kind::Video,
        Kind::Video => Kind::Audio,
    };
    if caps.can_intersect(&formats::sink_caps(other)) {
        let way = format!(
            "it is {}, link it to a pad {}_%u",
            other.name(),
            other.name()
        );
        return (way, Vec::new());
    }
    if name.starts_with("application/x-rtp") {
        let depayloader = best(Type::DEPAYLOADER, caps).unwrap_or_else(|| "rtp…depay".into());
        let way = format!("put rtpjitterbuffer ! {depayloader} upstream of it");
        return (way, Vec::new());
    }
    for (step, what) in [
        (Type::DEMUXER, "a stream of a container"),
        (Type::DECODER, "encoded"),
    ] {
        if let Some(element) = best(step, caps) {
            return (
                format!("it is {what}, put {element} upstream of it"),
                Vec::new(),
            );
        }
    }
    if formats::kind_of_caps(caps).is_some() && !formats::is_raw(caps) {
        let way = "no decoder for it is installed; install one (gstreamer1.0-libav has most) and put decodebin \
            upstream of it"
            .to_owned();
        return (way, vec![Missing::Decoder(caps.clone())]);
    }
    let way = format!(
        "a track is audio or video, raw or encoded; put decodebin, or a converter to {}/x-raw, upstream of it",
        kind.name()
    );
    (way, Vec::new())
}

/// The highest-ranked element of a type that takes these caps specifically.
fn best(step: gst::ElementFactoryType, caps: &gst::Caps) -> Option<glib::GString> {
    let mut all: Vec<gst::ElementFactory> =
        gst::ElementFactory::factories_with_type(step, gst::Rank::NONE)
            .into_iter()
            .filter(|factory| {
                let mut templates = factory.static_pad_templates().into_iter();
                templates.any(|template| {
                    let taken = template.caps();
                    let sinks = template.direction() == gst::PadDirection::Sink;
                    sinks && !taken.is_any() && caps.is_subset(&taken)
                })
            })
            .collect();
    all.sort_by_key(|factory| std::cmp::Reverse(factory.rank()));
    all.first().map(|factory| factory.name())
}
