//! Whether decoding can start at a frame, from the frame itself: upstream may not flag delta units at all, or may flag
//! a frame at which decoding can start.

use super::{
    av1,
    bits::Bits,
    nal::{self, NalCodec, NalKind, Packing},
};

/// Stream format, for parsing frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameFormat {
    Vp8,
    Vp9,
    Av1,
    Theora,
    /// H.264 or H.265.
    Nal(NalCodec, Packing),
}

/// Suitability of a frame as the first frame for a decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryPoint {
    /// A keyframe.
    Key,
    /// This frame, or one soon after it, is decoded correctly (intra refresh, open GOP).
    Recovery,
    /// It references no other frame, but later frames may reference earlier ones. Broadcast encoders start GOPs with
    /// such frames, without signalling that.
    Intra,
    /// It depends on earlier frames.
    No,
}

/// Suitability of a buffer. Upstream's flags only count if the frame cannot be parsed.
pub fn entry_point(format: Option<FrameFormat>, buffer: &gst::BufferRef) -> EntryPoint {
    let is_delta = buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
    let flagged = if is_delta {
        EntryPoint::No
    } else {
        EntryPoint::Key
    };
    let read = || {
        let format = format?;
        let frame = buffer.map_readable().ok()?;
        format.entry_point(&frame)
    };
    match read() {
        Some(EntryPoint::Intra) if is_delta => EntryPoint::No,
        found => found.unwrap_or(flagged),
    }
}

impl FrameFormat {
    /// The format of frames with these caps; `None` if unknown.
    pub fn of(caps: &gst::StructureRef) -> Option<Self> {
        Some(match caps.name().as_str() {
            "video/x-vp8" => FrameFormat::Vp8,
            "video/x-vp9" => FrameFormat::Vp9,
            "video/x-av1" => FrameFormat::Av1,
            "video/x-theora" => FrameFormat::Theora,
            "video/x-h264" => FrameFormat::Nal(NalCodec::H264, packing(caps, 4)),
            "video/x-h265" => FrameFormat::Nal(NalCodec::H265, packing(caps, 21)),
            _ => return None,
        })
    }

    /// The type of a frame; `None` if it cannot be determined.
    pub fn entry_point(self, frame: &[u8]) -> Option<EntryPoint> {
        let key = match self {
            // RFC 6386, 9.1: the first bit is 0 for keyframes; only keyframes have a start code.
            FrameFormat::Vp8 => frame.first()? & 1 == 0 && frame.get(3..6)? == [0x9d, 0x01, 0x2a],
            FrameFormat::Vp9 => vp9_is_key(frame)?,
            FrameFormat::Av1 => av1::is_key(frame)?,
            // Theora specification, 7.1; an empty packet repeats the previous frame.
            FrameFormat::Theora => frame.first().is_some_and(|byte| byte & 0xc0 == 0),
            FrameFormat::Nal(codec, packing) => return nal_entry_point(frame, codec, packing),
        };
        Some(if key { EntryPoint::Key } else { EntryPoint::No })
    }
}

/// The size of length fields is in the two low bits of byte `at` of avcC and hvcC (ISO/IEC 14496-15).
fn packing(caps: &gst::StructureRef, at: usize) -> Packing {
    if caps.get::<&str>("stream-format") == Ok("byte-stream") {
        return Packing::StartCodes;
    }
    let size = caps.get::<gst::Buffer>("codec_data").ok().and_then(|data| {
        let data = data.map_readable().ok()?;
        Some(usize::from(data.get(at)? & 3) + 1)
    });
    Packing::Lengths(size.unwrap_or(4))
}

/// `uncompressed_header()` (VP9 6.2) of the first frame in a superframe.
fn vp9_is_key(frame: &[u8]) -> Option<bool> {
    const MARKER: u32 = 2;
    let mut bits = Bits::new(frame);
    if bits.number(2)? != MARKER {
        return None;
    }
    let profile = bits.number(2)?;
    if profile == 3 {
        bits.flag()?;
    }
    let shows_existing = bits.flag()?;
    Some(!shows_existing && !bits.flag()?)
}

fn nal_entry_point(frame: &[u8], codec: NalCodec, packing: Packing) -> Option<EntryPoint> {
    let mut recovery = false;
    // Of all slices so far; `None` if there are none.
    let mut intra = None;
    for unit in nal::units(frame, packing) {
        match codec.kind(unit) {
            Some(NalKind::KeySlice) => return Some(EntryPoint::Key),
            Some(NalKind::Sei) => recovery |= codec.has_recovery_point(unit),
            Some(NalKind::Slice) => {
                // The type of an H.265 slice depends on parameter sets, and encoders use IRAP for intra pictures.
                let is_intra = codec == NalCodec::H264 && nal::is_intra_slice(unit);
                intra = Some(intra.unwrap_or(true) && is_intra);
                if !is_intra && !recovery {
                    break;
                }
            }
            _ => {}
        }
    }
    Some(match (recovery, intra?) {
        (true, _) => EntryPoint::Recovery,
        (false, true) => EntryPoint::Intra,
        (false, false) => EntryPoint::No,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FORMATS: [FrameFormat; 8] = [
        FrameFormat::Vp8,
        FrameFormat::Vp9,
        FrameFormat::Av1,
        FrameFormat::Theora,
        FrameFormat::Nal(NalCodec::H264, Packing::StartCodes),
        FrameFormat::Nal(NalCodec::H264, Packing::Lengths(4)),
        FrameFormat::Nal(NalCodec::H265, Packing::StartCodes),
        FrameFormat::Nal(NalCodec::H265, Packing::Lengths(2)),
    ];

    /// Encoder output for 40 frames, and its caps.
    fn encoded(encoder: &str) -> (gst::Caps, Vec<gst::Buffer>) {
        use gst::prelude::*;
        gst::init().unwrap();
        let line = format!(
            "videotestsrc pattern=ball num-buffers=40 ! video/x-raw,format=I420,width=64,height=64,framerate=30/1 ! \
             {encoder} ! appsink name=out sync=false"
        );
        let pipeline = gst::parse::launch(&line).unwrap();
        let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
        let sink = pipeline.by_name("out").unwrap();
        let sink = sink.downcast::<gst_app::AppSink>().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let mut all = (gst::Caps::new_empty(), Vec::new());
        while let Ok(sample) = sink.pull_sample() {
            all.0 = sample.caps_owned().unwrap();
            all.1.push(sample.buffer_owned().unwrap());
        }
        pipeline.set_state(gst::State::Null).unwrap();
        all
    }

    #[test]
    fn frame_headers_agree_with_the_encoders_flags() {
        const AV1: &str = "av1enc usage-profile=realtime cpu-used=10 keyframe-max-dist=15 threads=1 lag-in-frames=0 \
                           ! av1parse ! video/x-av1,stream-format=obu-stream,alignment=tu";
        const X264: &str =
            "x264enc key-int-max=15 speed-preset=ultrafast sliced-threads=true ! h264parse";
        const X265: &str = "x265enc key-int-max=15 speed-preset=ultrafast ! h265parse";
        for encoder in [
            "vp8enc deadline=1 keyframe-max-dist=15",
            "vp9enc deadline=1 cpu-used=8 keyframe-max-dist=15",
            AV1,
            "theoraenc keyframe-force=16 keyframe-freq=16",
            &format!("{X264} ! video/x-h264,stream-format=avc,alignment=au"),
            &format!("{X264} ! video/x-h264,stream-format=byte-stream,alignment=au"),
            &format!("{X265} ! video/x-h265,stream-format=hvc1,alignment=au"),
            &format!("{X265} ! video/x-h265,stream-format=byte-stream,alignment=au"),
        ] {
            let (caps, buffers) = encoded(encoder);
            let format = FrameFormat::of(caps.structure(0).unwrap()).unwrap();
            let mut keys = 0;
            for buffer in &buffers {
                if buffer.flags().contains(gst::BufferFlags::HEADER)
                    && format == FrameFormat::Theora
                {
                    continue;
                }
                let flagged = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
                let found = format.entry_point(&buffer.map_readable().unwrap());
                assert_eq!(
                    found == Some(EntryPoint::Key),
                    flagged,
                    "{encoder}: {buffer:?}"
                );
                assert!(found.is_some(), "{encoder}: {buffer:?}");
                keys += usize::from(flagged);
            }
            assert!((2..10).contains(&keys), "{encoder}: {keys} key frames");
        }
    }

    #[test]
    fn intra_refresh_has_recovery_points() {
        let (caps, buffers) = encoded(
            "x264enc key-int-max=10 intra-refresh=true tune=zerolatency ! h264parse ! \
             video/x-h264,stream-format=avc,alignment=au",
        );
        let format = FrameFormat::of(caps.structure(0).unwrap()).unwrap();
        let found = buffers.iter().map(|buffer| {
            let map = buffer.map_readable().unwrap();
            format.entry_point(&map).unwrap()
        });
        let found: Vec<_> = found.collect();
        assert_eq!(found[0], EntryPoint::Key);
        let of = |what| found.iter().filter(|found| **found == what).count();
        assert_eq!(
            (of(EntryPoint::Key), of(EntryPoint::Recovery)),
            (1, 3),
            "{found:?}"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_searched(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for format in FORMATS {
                let _ = format.entry_point(&bytes);
            }
        }

        #[test]
        fn any_nal_units_can_be_searched(
            units in proptest::collection::vec(proptest::collection::vec(0u8..8, 0..12), 0..8),
        ) {
            let bytes: Vec<u8> = units.iter().flat_map(|unit| [&[0, 0, 1], unit.as_slice()].concat()).collect();
            for codec in [NalCodec::H264, NalCodec::H265] {
                let format = FrameFormat::Nal(codec, Packing::StartCodes);
                let _ = format.entry_point(&bytes);
                if let Some(ordered) = nal::in_order(&bytes, codec) {
                    prop_assert_eq!(nal::in_order(&ordered, codec), None, "once is enough");
                }
            }
        }
    }
}
