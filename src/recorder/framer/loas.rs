//! AAC in LOAS: no parser converts it to raw AAC for containers, and aacparse 1.22 drops frames until the second
//! configuration.

use super::Piece;
use crate::{
    formats::{Loas, aac_frame_duration},
    session::lock,
};
use gst_base::UniqueAdapter;
use std::sync::Mutex;

/// `syncword` of AudioSyncStream, in its first four bytes.
const SYNC: (u32, u32) = (0xffe0_0000, 0x56e0_0000);
/// Length of the syncword and the length field.
const HEADER: usize = 3;

/// Whether the media is AAC in LOAS.
pub fn is_loas(caps: &gst::CapsRef) -> bool {
    caps.structure(0).is_some_and(|structure| {
        structure.name() == "audio/mpeg" && structure.get::<&str>("stream-format") == Ok("loas")
    })
}

fn is_framed(caps: &gst::CapsRef) -> bool {
    let structure = caps.structure(0);
    structure.is_some_and(|structure| structure.get::<bool>("framed") == Ok(true))
}

/// Extracts raw AAC from LOAS.
#[derive(Debug)]
pub struct LoasFramer {
    is_framed: bool,
    stream: Mutex<LoasStream>,
}

#[derive(Debug, Default)]
struct LoasStream {
    /// Input that is not marked as whole frames.
    input: UniqueAdapter,
    /// The last input timestamp that a frame got, and the end of the last frame.
    stamp: Option<gst::ClockTime>,
    end: Option<gst::ClockTime>,
    loas: Loas,
    /// The last output caps, and the duration of a frame.
    config: Option<(gst::Caps, Option<gst::ClockTime>)>,
}

impl LoasFramer {
    /// A framer for these caps, if they are LOAS.
    pub fn new(caps: &gst::Caps) -> Option<Self> {
        is_loas(caps).then(|| LoasFramer {
            is_framed: is_framed(caps),
            stream: Mutex::default(),
        })
    }

    pub fn fits(&self, caps: &gst::CapsRef) -> bool {
        is_loas(caps) && is_framed(caps) == self.is_framed
    }

    pub fn push(&self, buffer: gst::Buffer) -> Vec<Piece> {
        let mut stream = lock(&self.stream);
        if self.is_framed {
            return stream.frame(&buffer);
        }
        stream.input.push(buffer);
        let mut pieces = Vec::new();
        while let Some(frame) = stream.next() {
            pieces.extend(stream.frame(&frame));
            let duration = stream.config.as_ref().and_then(|(_, duration)| *duration);
            let end = frame.pts().zip(duration);
            stream.end = end.map(|(pts, duration)| pts.saturating_add(duration));
        }
        pieces
    }

    pub fn flush(&self) {
        let mut stream = lock(&self.stream);
        stream.input.clear();
        (stream.stamp, stream.end) = (None, None);
    }
}

impl LoasStream {
    /// The next whole frame, with its timestamp.
    fn next(&mut self) -> Option<gst::Buffer> {
        let length = self.find()?;
        let input = self.input.prev_pts().0;
        let stamp = input.filter(|_| input != self.stamp);
        self.stamp = input;
        let mut frame = self.input.take_buffer(length).ok()?;
        let fields = frame.make_mut();
        fields.set_pts(stamp.or(self.end));
        fields.set_dts(None);
        let duration = self.config.as_ref().and_then(|(_, duration)| *duration);
        fields.set_duration(duration);
        Some(frame)
    }

    /// Drops input up to the next frame; returns the length of the frame if it is complete.
    fn find(&mut self) -> Option<usize> {
        let (mask, pattern) = SYNC;
        loop {
            let available = self.input.available();
            if available < size_of_val(&mask) {
                return None;
            }
            let found = self.input.masked_scan_uint32(mask, pattern, 0, available);
            let Some(at) = found.ok()? else {
                self.input.flush(available - HEADER);
                return None;
            };
            self.input.flush(at);
            let mut header = [0; HEADER];
            self.input.copy(0, &mut header).ok()?;
            let length = usize::from(header[1] & 0x1f) << 8 | usize::from(header[2]);
            let length = HEADER + length;
            let rest = (available - at).checked_sub(length)?;
            let is_sync = |at| {
                let found = self.input.masked_scan_uint32(mask, pattern, at, 4);
                found.is_ok_and(|found| found.is_some())
            };
            if rest < size_of_val(&mask) || is_sync(length) {
                return Some(length);
            }
            // The bytes only look like a syncword.
            self.input.flush(1);
        }
    }

    /// The raw AAC in a whole frame, after its caps if they are new.
    fn frame(&mut self, buffer: &gst::Buffer) -> Vec<Piece> {
        let Ok(bytes) = buffer.map_readable() else {
            return Vec::new();
        };
        let Some((payload, config)) = self.loas.read(&bytes) else {
            return Vec::new();
        };
        let caps = gst::Caps::builder("audio/mpeg")
            .field("mpegversion", 4i32)
            .field("stream-format", "raw")
            .field("framed", true)
            .field("rate", i32::try_from(config.rate).unwrap_or(0))
            .field("channels", i32::try_from(config.channels).unwrap_or(0))
            .field("codec_data", gst::Buffer::from_slice(config.data.clone()))
            .build();
        let mut raw = gst::Buffer::from_mut_slice(payload);
        // A failure loses only metadata.
        let _ = buffer.copy_into(raw.make_mut(), gst::BUFFER_COPY_METADATA, ..);
        let mut pieces = Vec::new();
        if self.config.as_ref().is_none_or(|(sent, _)| *sent != caps) {
            let duration = caps.structure(0).and_then(aac_frame_duration);
            self.config = Some((caps.clone(), duration));
            pieces.push(Piece::Caps(caps));
        }
        pieces.push(Piece::Buffer(raw));
        pieces
    }
}
