//! Alpha channels of encoded input: each colour packet carries its alpha packet as a `GstVideoCodecAlphaMeta`, as
//! matroskademux attaches it.

use super::probe::{is_eos, leave_out, probe};
use crate::formats;
use gst::prelude::*;
use gst_video::video_meta::VideoCodecAlphaMeta;

/// Whether packets with these caps have alpha.
pub fn has_alpha(caps: &gst::CapsRef) -> bool {
    let alpha = caps.structure(0).and_then(|s| s.get("codec-alpha").ok());
    alpha.unwrap_or_default()
}

/// Joins each packet that leaves `source` with its alpha packet. One without alpha stays as it is: its frame has the alpha
/// of the previous one.
pub fn join(source: &gst::Pad) {
    probe(source, gst::PadProbeType::BUFFER, |_, info| {
        if let Some(packet) = info.buffer_mut()
            && let Some(joined) = joined(packet)
        {
            *packet = joined;
        }
        gst::PadProbeReturn::Ok
    });
}

/// Keeps decoders that appear in `bin` from losing their last frame: alphacombine 1.26 and 1.28 return EOS for a frame of
/// colour whose alpha has arrived with an EOS behind it. EOS of colour is sufficient.
pub fn keep_last_frame(bin: &gst::Bin) {
    bin.connect_deep_element_added(|_, _, element| {
        let factory = element.factory();
        if factory.is_none_or(|factory| factory.name() != "alphacombine") {
            return;
        }
        let Some(pad) = element.static_pad("alpha") else {
            return;
        };
        probe(&pad, gst::PadProbeType::EVENT_DOWNSTREAM, |_, info| {
            if is_eos(info) {
                leave_out(info)
            } else {
                gst::PadProbeReturn::Ok
            }
        });
    });
}

fn joined(colour: &gst::BufferRef) -> Option<gst::Buffer> {
    let meta = colour.meta::<VideoCodecAlphaMeta>()?;
    let alpha = meta.alpha_buffer().map_readable().ok()?;
    let bytes = formats::join_alpha(&colour.map_readable().ok()?, &alpha);
    let mut joined = gst::Buffer::from_mut_slice(bytes);
    let what = gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS;
    colour.copy_into(joined.get_mut()?, what, ..).ok()?;
    Some(joined)
}
