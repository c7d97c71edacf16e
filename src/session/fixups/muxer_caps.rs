//! Completes or removes caps fields that muxers trust without validation, before the caps reach the muxer.
//!
//! mp4mux 1.22 crashes if VP9 caps have no chroma-site, and writes a timescale of 0 if frames are longer than
//! 100 s. matroskamux divides by the pixel aspect ratio. Both assume that headers are buffers. oggmux writes
//! a file without media if Opus, Vorbis or Theora caps have no stream header.

use super::{MuxerSite, opus_header};
use crate::formats::{self, stream_header as header};
use crate::model::{Codec, Container, Error};
use crate::session::{
    probe::{leave_out, probe},
    timing::lock,
};
use gst::prelude::*;
use std::sync::{Arc, Mutex};

/// Passes only valid caps to the muxer; caps that it cannot accept end the recording.
pub fn vet(site: &MuxerSite<'_>) {
    let (container, codec) = (site.spec.container, site.spec.codec);
    let (listener, name) = (site.listener.clone(), site.name.to_owned());
    keep_readable(site.mux_pad, container, codec, move |caps, reason| {
        if let Some(listener) = listener.upgrade() {
            let error = Error::not_supported(format!(
                "{} cannot carry the track of {name} with the caps {caps}: {reason}.",
                container.name()
            ));
            listener.error(error);
        }
    });
}

/// Drops caps that the muxer of `mux_pad` cannot read. `refuse` is called with the reason once media arrives with such
/// caps (theoraenc sends caps without headers first); from then on everything but SEGMENT and EOS is dropped.
fn keep_readable(
    mux_pad: &gst::Pad,
    container: Container,
    codec: Codec,
    refuse: impl Fn(&gst::CapsRef, &str) + Send + Sync + 'static,
) {
    let taken = mux_pad.pad_template_caps();
    accept_readable(mux_pad, container, codec, taken.clone());
    let refused = Arc::new(Mutex::new(None::<(gst::Caps, String)>));
    let refuse = Arc::new(refuse);
    let kinds = gst::PadProbeType::EVENT_DOWNSTREAM;
    probe(mux_pad, kinds, move |mux_pad, info| {
        let Some(gst::PadProbeData::Event(event)) = &mut info.data else {
            return gst::PadProbeReturn::Ok;
        };
        let gst::EventView::Caps(caps) = event.view() else {
            return gst::PadProbeReturn::Ok;
        };
        match readable(container, codec, caps.caps(), &taken) {
            Ok(readable) => {
                *lock(&refused) = None;
                if caps.caps() != readable.as_ref() {
                    let seqnum = event.seqnum();
                    *event = gst::event::Caps::builder(&readable).seqnum(seqnum).build();
                }
                gst::PadProbeReturn::Ok
            }
            Err(reason) => {
                *lock(&refused) = Some((caps.caps_owned(), reason));
                refuse_media(mux_pad, refused.clone(), refuse.clone());
                leave_out(info)
            }
        }
    });
}

/// Accepts, in ACCEPT_CAPS queries, both caps that can be completed and caps that will be refused with a reason later.
fn accept_readable(mux_pad: &gst::Pad, container: Container, codec: Codec, taken: gst::Caps) {
    probe(
        mux_pad,
        gst::PadProbeType::QUERY_DOWNSTREAM,
        move |_, info| {
            answer_accept_caps(info, |caps| {
                let readable = readable(container, codec, caps, &taken);
                readable.is_err() || readable.is_ok_and(|caps| caps.can_intersect(&taken))
            })
        },
    );
}

/// Answers every ACCEPT_CAPS query with true, and leaves the decision to the pads downstream.
pub fn accept_all(pad: &gst::Pad) {
    probe(pad, gst::PadProbeType::QUERY_DOWNSTREAM, |_, info| {
        answer_accept_caps(info, |_| true)
    });
}

fn answer_accept_caps(
    info: &mut gst::PadProbeInfo,
    accepts: impl Fn(&gst::CapsRef) -> bool,
) -> gst::PadProbeReturn {
    let Some(query) = info.query_mut() else {
        return gst::PadProbeReturn::Ok;
    };
    let gst::QueryViewMut::AcceptCaps(query) = query.view_mut() else {
        return gst::PadProbeReturn::Ok;
    };
    let accepts = accepts(query.caps());
    query.set_result(accepts);
    gst::PadProbeReturn::Handled
}

/// Refuses media that arrives while its caps are refused.
fn refuse_media(
    mux_pad: &gst::Pad,
    refused: Arc<Mutex<Option<(gst::Caps, String)>>>,
    refuse: Arc<impl Fn(&gst::CapsRef, &str) + Send + Sync + 'static>,
) {
    probe(mux_pad, gst::PadProbeType::BUFFER, move |mux_pad, info| {
        let Some((caps, reason)) = lock(&refused).take() else {
            return gst::PadProbeReturn::Remove;
        };
        refuse(&caps, &reason);
        keep_media_out(mux_pad);
        leave_out(info)
    });
}

/// Drops all media and events, since muxers do not check for caps before media. SEGMENT passes: GStreamer warns about a
/// missing segment before a pad's probes are called.
fn keep_media_out(mux_pad: &gst::Pad) {
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    probe(mux_pad, kinds, |_, info| {
        match info.event().map(|event| event.type_()) {
            Some(gst::EventType::Segment | gst::EventType::Eos) => gst::PadProbeReturn::Ok,
            _ => leave_out(info),
        }
    });
}

/// Completes the caps for the muxer of `container`; fails with what they lack.
fn readable(
    container: Container,
    codec: Codec,
    caps: &gst::CapsRef,
    taken: &gst::CapsRef,
) -> Result<gst::Caps, String> {
    let mut caps = caps.to_owned();
    let fields = caps.make_mut();
    let fields = fields.structure_mut(0).ok_or("they are empty")?;
    let named = taken.iter().find(|form| form.name() == fields.name());
    formats::take_out_unreadable(fields);
    match codec {
        Codec::Opus => opus_header::complete(fields)?,
        Codec::Vorbis => {
            let (channels, rate) = vorbis_header(fields).ok_or(NO_HEADER)?;
            complete_sound(fields, channels, rate);
        }
        Codec::Theora if !has_theora_header(fields) => return Err(NO_HEADER.into()),
        Codec::Flac if header(fields).is_none() && container != Container::Flac => {
            return Err(NO_HEADER.into());
        }
        Codec::Vp9 if container == Container::Mp4 => complete_vp9(fields),
        _ => {}
    }
    let sized = !matches!(codec, Codec::Theora) && fields.name().starts_with("video/");
    let number = |name| fields.get::<i32>(name).unwrap_or(0);
    if sized && (number("width") <= 0 || number("height") <= 0) {
        return Err(
            "they lack width and height; link its encoder or a demuxer, whose caps have them"
                .into(),
        );
    }
    let rate = fields.get::<gst::Fraction>("framerate").ok();
    let is_slow = rate.is_some_and(|rate| rate.numer() < rate.denom());
    match container {
        // mp4mux's timescale is in hundredths of a frame, or in microseconds if the rate is unknown.
        Container::Mp4 if is_slow => fields.remove_field("framerate"),
        // A field in the template is mandatory; 0/1 means a variable rate.
        _ if rate.is_none() && named.is_some_and(|form| form.has_field("framerate")) => {
            fields.set("framerate", gst::Fraction::new(0, 1));
        }
        _ => {}
    }
    match (taken.is_any() || caps.is_subset(taken), named) {
        (true, _) => Ok(caps),
        (false, Some(form)) => Err(format!(
            "it supports only {}; set another mime-type, such as {}/x-matroska",
            form.to_string().trim_end_matches(';'),
            codec.kind().name()
        )),
        (false, None) => Err("it does not support such media; set another mime-type".into()),
    }
}

const NO_HEADER: &str = "they lack a valid stream header (streamheader); link the encoder, its parser or a demuxer, \
    whose caps have it";

fn complete_sound(fields: &mut gst::StructureRef, channels: i32, rate: i32) {
    for (name, value) in [("channels", channels), ("rate", rate)] {
        if fields.get::<i32>(name).unwrap_or(0) <= 0 {
            fields.set(name, value);
        }
    }
}

/// Channels and sample rate from a Vorbis identification header (Vorbis I, 4.2.2).
fn vorbis_header(fields: &gst::StructureRef) -> Option<(i32, i32)> {
    let header = header(fields)?;
    let channels = *header.get(11)?;
    let rate = u32::from_le_bytes(*header.get(12..)?.first_chunk()?);
    let rate = i32::try_from(rate).ok()?;
    let readable = header.starts_with(b"\x01vorbis") && header.len() >= 30;
    (readable && channels > 0 && rate > 0).then_some((channels.into(), rate))
}

/// Whether the caps have a Theora identification header (Theora specification, 6.2) with a nonzero frame rate.
fn has_theora_header(fields: &gst::StructureRef) -> bool {
    let number = |header: &[u8], at: usize| {
        let bytes = header.get(at..)?.first_chunk()?;
        i32::try_from(u32::from_be_bytes(*bytes)).ok()
    };
    header(fields).is_some_and(|header| {
        header.starts_with(b"\x80theora")
            && header.len() >= 42
            && [22, 26]
                .map(|at| number(&header, at))
                .iter()
                .all(|n| n.is_some_and(|n| n > 0))
    })
}

/// mp4mux compares these fields without checking that they exist.
fn complete_vp9(fields: &mut gst::StructureRef) {
    if !fields.has_field_with_type("chroma-site", glib::Type::STRING) {
        // The default of VP9.
        fields.set("chroma-site", "mpeg2");
    }
    let deep = matches!(fields.get::<&str>("profile"), Ok("2" | "3"));
    for depth in ["bit-depth-luma", "bit-depth-chroma"] {
        if !fields.has_field_with_type(depth, glib::Type::U32) {
            fields.set(depth, if deep { 10u32 } else { 8 });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(container: Container, codec: Codec, text: &str) -> Result<gst::Caps, String> {
        gst::init().unwrap();
        let caps: gst::Caps = text.parse().unwrap();
        readable(container, codec, &caps, &gst::Caps::new_any())
    }

    #[test]
    fn vp9_caps_get_a_chroma_site_for_mp4mux() {
        let text = "video/x-vp9,width=64,height=48,profile=(string)0,chroma-format=(string)4:2:0,colorimetry=bt709";
        let caps = given(Container::Mp4, Codec::Vp9, text).unwrap();
        let fields = caps.structure(0).unwrap();
        assert_eq!(fields.get::<&str>("chroma-site"), Ok("mpeg2"));
        assert_eq!(fields.get::<u32>("bit-depth-luma"), Ok(8));
        assert_eq!(fields.get::<&str>("colorimetry"), Ok("bt709"));
    }

    #[test]
    fn a_time_scale_is_never_0() {
        let slow = "video/x-h264,width=64,height=48,framerate=1/1000";
        let caps = given(Container::Mp4, Codec::H264, slow).unwrap();
        assert!(!caps.structure(0).unwrap().has_field("framerate"));
    }

    #[test]
    fn pads_follow_the_template_or_are_refused() {
        gst::init().unwrap();
        let taken: gst::Caps = "video/x-vp8,width=[16,64],height=[16,64],framerate=[0/1,90/1]"
            .parse()
            .unwrap();
        let given = |text: &str| {
            let caps: gst::Caps = text.parse().unwrap();
            readable(Container::WebM, Codec::Vp8, &caps, &taken)
        };
        let caps = given("video/x-vp8,width=64,height=48").unwrap();
        let rate = caps.structure(0).unwrap().get::<gst::Fraction>("framerate");
        assert_eq!(rate, Ok(gst::Fraction::new(0, 1)));
        let refused = given("video/x-vp8,width=8,height=8").unwrap_err();
        assert!(refused.contains("[ 16, 64 ]"), "{refused}");
        assert!(given("video/x-vp8").unwrap_err().contains("width"));
        assert!(given("video/x-vp9,width=64,height=48").is_err());
    }

    #[test]
    fn a_file_without_a_header_has_no_media() {
        for (codec, text) in [
            (Codec::Vorbis, "audio/x-vorbis"),
            (Codec::Vorbis, "audio/x-vorbis,streamheader=(buffer)<00>"),
            (Codec::Theora, "video/x-theora"),
            (Codec::Flac, "audio/x-flac,channels=2,rate=48000"),
        ] {
            let refused = given(Container::Ogg, codec, text).unwrap_err();
            assert!(refused.contains("streamheader"), "{text}: {refused}");
        }
    }
}
