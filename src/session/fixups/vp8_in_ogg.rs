//! VP8 in Ogg (the Ogg project's mapping, as implemented by GStreamer and FFmpeg): oggmux takes size and frame rate
//! from a stream header in the caps. Without one, or with a variable rate, it writes no media or no timing, without
//! an error.
//!
//! Readers count frames at that rate, so raw frames are repeated to match it. Timing of copied frames is approximate.

use super::theora_cfr::{self, Grid};
use crate::session::{
    probe::{leave_out, on_caps, probe},
    timing::lock,
};
use gst::prelude::*;
use std::sync::Mutex;

/// Offset of the frame rate in the header.
const RATE: usize = 18;
/// Size of the header in bytes.
const SIZE: usize = 26;

/// Converts the raw frames that leave `filter`, whose caps have a frame rate, to a constant frame rate by repetition.
pub fn repeat_frames(filter: &gst::Element) {
    let Some(pad) = filter.static_pad("src") else {
        return;
    };
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    let grid = Mutex::new(Grid::default());
    probe(&pad, kinds, move |pad, info| {
        let frames = {
            let mut grid = lock(&grid);
            if let Some(gst::EventView::Caps(caps)) = info.event().map(|event| event.view()) {
                grid.set_rate(caps.caps());
            }
            if grid.passing {
                return gst::PadProbeReturn::Ok;
            }
            let Some(buffer) = info.buffer_mut() else {
                return gst::PadProbeReturn::Ok;
            };
            if !grid.place(buffer.make_mut()) {
                return leave_out(info);
            }
            let Some(range) = grid.encoding.pop_front() else {
                return gst::PadProbeReturn::Ok;
            };
            grid.passing = true;
            let buffer = info.take_buffer();
            buffer.map_or_else(Vec::new, |buffer| grid.repeated(&buffer, range))
        };
        info.flow_res = frames
            .into_iter()
            .try_fold(gst::FlowSuccess::Ok, |_, frame| pad.push(frame));
        lock(&grid).passing = false;
        gst::PadProbeReturn::Handled
    });
}

/// Adds a stream header to the caps on `mux_pad` if they lack a usable one.
pub fn write_header(mux_pad: &gst::Pad) {
    on_caps(mux_pad, with_header);
}

fn with_header(caps: &gst::CapsRef) -> Option<gst::Caps> {
    let structure = caps.structure(0)?;
    let headers = structure.get::<gst::Array>("streamheader");
    let rate = structure.get::<gst::Fraction>("framerate");
    let rate = rate.ok().filter(|rate| rate.numer() > 0);
    if headers.is_ok() && rate.is_some() {
        return None;
    }
    let rate = rate.unwrap_or_else(|| theora_cfr::rate(caps));
    let headers = [header(structure, rate)?, comment()].map(|bytes| {
        let mut buffer = gst::Buffer::from_mut_slice(bytes);
        buffer.make_mut().set_flags(gst::BufferFlags::HEADER);
        buffer
    });
    let mut caps = caps.to_owned();
    let fields = caps.make_mut();
    fields.set("framerate", rate);
    fields.set("streamheader", gst::Array::new(headers));
    Some(caps)
}

/// Signature, header type, version, frame size, pixel aspect ratio, frame rate.
fn header(structure: &gst::StructureRef, rate: gst::Fraction) -> Option<Vec<u8>> {
    let size = |name| u16::try_from(structure.get::<i32>(name).ok()?).ok();
    let par = structure.get::<gst::Fraction>("pixel-aspect-ratio");
    let par = par.ok().filter(|par| par.numer() > 0 && par.denom() > 0);
    let par = par.unwrap_or_else(|| 1.into());
    let mut header = b"OVP80\x01\x01\x00".to_vec();
    header.extend(size("width")?.to_be_bytes());
    header.extend(size("height")?.to_be_bytes());
    for part in [par.numer(), par.denom()] {
        header.extend(part.to_be_bytes().iter().skip(1));
    }
    debug_assert_eq!(header.len(), RATE);
    for part in [rate.numer(), rate.denom()] {
        header.extend(part.to_be_bytes());
    }
    debug_assert_eq!(header.len(), SIZE);
    Some(header)
}

/// An empty Vorbis comment; oggmux adds the tags.
fn comment() -> Vec<u8> {
    [b"OVP80\x02 ".as_slice(), &[0; 8]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_without_a_usable_header_get_one() {
        gst::init().unwrap();
        let caps = |fields: &str| {
            let text = format!("video/x-vp8,width=320,height=240{fields}");
            text.parse::<gst::Caps>().unwrap()
        };
        let of = |fields: &str| {
            let caps = with_header(&caps(fields))?;
            let headers = caps.structure(0)?.get::<gst::Array>("streamheader").ok()?;
            let first = headers.first()?.get::<gst::Buffer>().ok()?;
            let first = first.map_readable().ok()?.to_vec();
            Some(first)
        };
        let rate = |fields: &str| of(fields).map(|header| header[RATE..].to_vec());
        assert_eq!(rate(""), Some(vec![0, 0, 0, 30, 0, 0, 0, 1]));
        assert_eq!(rate(",framerate=0/1"), Some(vec![0, 0, 0, 30, 0, 0, 0, 1]));
        assert_eq!(rate(",framerate=25/1"), Some(vec![0, 0, 0, 25, 0, 0, 0, 1]));
        assert_eq!(rate(",framerate=30/1,streamheader=(buffer)<00>"), None);
        assert_eq!(of("").unwrap()[8..12], [1, 64, 0, 240]);
        assert_eq!(
            with_header(&gst::Caps::new_empty_simple("video/x-vp8")),
            None
        );
    }
}
