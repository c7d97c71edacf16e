//! Relabels MPEG-2 AAC as MPEG-4 for containers that only support the latter.
//!
//! The frames are identical: MPEG-2 AAC-LC is a valid MPEG-4 stream. Only the caps and one bit in each
//! ADTS header differ, and the parser takes the version from that header.

use crate::session::probe::{change_caps, probe};

/// The ID bit in the second byte of an ADTS header: set for MPEG-2.
const MPEG2: u8 = 0x08;

/// Relabels the stream that leaves `pad` as MPEG-4.
pub fn call_it_mpeg4(pad: &gst::Pad) {
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    probe(pad, kinds, |_, info| {
        change_caps(info, |caps| {
            let mut caps = caps.to_owned();
            caps.make_mut().set("mpegversion", 4i32);
            Some(caps)
        });
        if let Some(buffer) = info.buffer_mut()
            && has_mark(buffer)
            && let Ok(mut bytes) = buffer.make_mut().map_writable()
        {
            unmark(&mut bytes);
        }
        gst::PadProbeReturn::Ok
    });
}

/// Whether the buffer starts with an ADTS header that has the MPEG-2 bit set.
fn has_mark(buffer: &gst::BufferRef) -> bool {
    let mut header = [0; 2];
    // Reading beyond the end is a failed assertion in GStreamer, not an error.
    buffer.size() >= header.len()
        && buffer.copy_to_slice(0, &mut header).is_ok()
        && header[0] == 0xff
        && header[1] & 0xfe == 0xf8
}

/// Clears the bit in each frame; frames are located by the lengths in their headers.
fn unmark(bytes: &mut [u8]) {
    let mut rest = bytes;
    while let Some([0xff, second, _, a, b, c]) = rest.get_mut(..6) {
        if *second & 0xf6 != 0xf0 {
            return;
        }
        *second &= !MPEG2;
        let length = (usize::from(*a & 3) << 11) | (usize::from(*b) << 3) | usize::from(*c >> 5);
        match rest.get_mut(length.max(7)..) {
            Some(next) => rest = next,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_of_a_buffer_loses_the_flag() {
        // Two frames of nine bytes.
        let frame = [0xff, 0xf9, 0x4c, 0x80, 0x01, 0x3f, 0xfc, 1, 2];
        let mut bytes = [frame, frame].concat();
        unmark(&mut bytes);
        let fixed = [0xff, 0xf1, 0x4c, 0x80, 0x01, 0x3f, 0xfc, 1, 2];
        assert_eq!(bytes, [fixed, fixed].concat());
        // Data that is not ADTS is unchanged.
        let mut other = frame;
        other[1] = 0xe9;
        unmark(&mut other);
        assert_eq!(other[1], 0xe9);
        unmark(&mut []);
    }
}
