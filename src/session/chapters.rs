//! Reserves space for chapters in the headers that muxers write.

use super::probe::on_caps;
use crate::{
    formats,
    model::{Codec, Container, Kind},
};
use gst::prelude::*;

/// Space at `location`, or if downstream can be patched: about a thousand chapters with short titles.
const ROOM_IN_FILE: usize = 1 << 16;
/// Space in a single blob, for containers that only have chapters in the header.
const ROOM_IN_BLOB: usize = 1 << 12;

/// The least space that is of any use.
const LEAST_ROOM: usize = 1 << 9;

/// How many bytes a part of at most `limit` bytes reserves. `patchable`: the header can be changed until the end;
/// `in_blobs`: the header is handed out in a blob before that.
pub fn room(container: Container, patchable: bool, in_blobs: bool, limit: Option<u64>) -> usize {
    let only_in_head = match container {
        Container::WebM | Container::Matroska | Container::Mp4 | Container::Wav => false,
        Container::Ogg | Container::Flac | Container::Mp3 => true,
    };
    let room = match (patchable, only_in_head && !in_blobs) {
        (true, _) => ROOM_IN_FILE,
        (false, true) => ROOM_IN_BLOB,
        (false, false) => 0,
    };
    // Most of a small part is media. An even number, as in RIFF.
    let share = limit.map_or(u64::MAX, |limit| limit / 16 * 2);
    let room = usize::try_from(share).map_or(room, |share| share.min(room));
    if room < LEAST_ROOM { 0 } else { room }
}

/// Makes matroskamux write one chapter with an identifier of this length, which ours replace. Call it in PAUSED or
/// above, before media arrives.
pub fn reserve_in_matroska(muxer: &gst::Element, room: usize) {
    let Some(setter) = muxer.dynamic_cast_ref::<gst::TocSetter>() else {
        return;
    };
    let mut toc = gst::Toc::new(gst::TocScope::Global);
    let entry = gst::TocEntry::new(gst::TocEntryType::Chapter, &"x".repeat(room));
    if let Some(toc) = toc.get_mut() {
        toc.append_entry(entry);
    }
    setter.set_toc(Some(&toc));
}

/// The track whose comments hold the chapters: the first audio track, else the first track.
pub fn track_in_ogg(codecs: &[Codec]) -> usize {
    let mut codecs = codecs.iter();
    codecs
        .position(|codec| codec.kind() == Kind::Audio)
        .unwrap_or(0)
}

/// Pads the comments of the track on this pad of oggmux with this many bytes.
pub fn reserve_in_ogg(mux_pad: &gst::Pad, room: usize) {
    if room == 0 {
        return;
    }
    on_caps(mux_pad, move |caps| {
        let mut caps = caps.to_owned();
        let fields = caps.make_mut().structure_mut(0)?;
        let headers = fields.get::<gst::Array>("streamheader").ok()?;
        let padded = headers.iter().map(|header| {
            let Ok(buffer) = header.get::<gst::Buffer>() else {
                return header.clone();
            };
            let packet = buffer.map_readable().ok();
            let padded = packet.and_then(|packet| formats::padded_comments(&packet, room));
            match padded {
                Some(padded) => {
                    let mut padded = gst::Buffer::from_mut_slice(padded);
                    if let Some(padded) = padded.get_mut() {
                        padded.set_flags(gst::BufferFlags::HEADER);
                    }
                    padded.to_send_value()
                }
                None => header.clone(),
            }
        });
        let padded: Vec<_> = padded.collect();
        fields.set("streamheader", gst::Array::from_values(padded));
        Some(caps)
    });
}
