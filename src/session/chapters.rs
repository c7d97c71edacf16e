//! Space for chapters in what muxers write at the beginning.

use super::probe::on_caps;
use crate::{
    formats,
    model::{Codec, Container, Kind},
};
use gst::prelude::*;

/// Space at `location`, or where downstream can be patched: for about a thousand chapters with short titles.
const ROOM_IN_FILE: usize = 1 << 16;
/// Space in a single blob of a container that has chapters nowhere but in its head.
const ROOM_IN_BLOB: usize = 1 << 12;

/// How many bytes a recording sets aside. `patchable`: its first bytes can be changed until its end; `in_blobs`: they go out
/// in a blob before.
pub fn room(container: Container, patchable: bool, in_blobs: bool) -> usize {
    let only_in_head = match container {
        Container::WebM | Container::Matroska | Container::Mp4 | Container::Wav => false,
        Container::Ogg | Container::Flac | Container::Mp3 => true,
    };
    match (patchable, only_in_head && !in_blobs) {
        (true, _) => ROOM_IN_FILE,
        (false, true) => ROOM_IN_BLOB,
        (false, false) => 0,
    }
}

/// Has matroskamux write one chapter, the identifier of which is so long, in the place of which ours go. To be called
/// when it is in PAUSED at the least, before media comes.
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

/// Which track's comments have the chapters: the first of audio, else the first.
pub fn track_in_ogg(codecs: &[Codec]) -> usize {
    let mut codecs = codecs.iter();
    codecs
        .position(|codec| codec.kind() == Kind::Audio)
        .unwrap_or(0)
}

/// Gives the comments of the track on this pad of oggmux so much padding.
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
