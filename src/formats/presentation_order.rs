//! Whether the frames of an H.264 or H.265 stream are in presentation order, as its sequence parameter sets tell.
//!
//! Without B-frames, timestamps that repeat or step back are errors of the source, and the order of the buffers counts.

use super::{
    bits::Bits,
    entry_point::FrameFormat,
    nal::{self, NalCodec, NalKind, Unescaped},
    parameter_sets::ParameterSets,
};

/// Sequence parameter sets are not longer than this up to what is read here.
const LONGEST: usize = 1024;

impl FrameFormat {
    /// Whether a stream with these caps is in presentation order. `None` if the caps do not tell, or the codec has no
    /// parameter sets.
    pub fn presentation_order_of_caps(self, caps: &gst::StructureRef) -> Option<bool> {
        let FrameFormat::Nal(codec, _) = self else {
            return None;
        };
        let sets = ParameterSets::of_caps(codec.codec(), caps)?;
        codec.presentation_order(sets.units())
    }

    /// The same from the parameter sets in a frame; `None` if it has none.
    pub fn presentation_order(self, frame: &[u8]) -> Option<bool> {
        let FrameFormat::Nal(codec, packing) = self else {
            return None;
        };
        let is_slice =
            |unit: &&[u8]| matches!(codec.kind(unit), Some(NalKind::KeySlice | NalKind::Slice));
        codec.presentation_order(nal::units(frame, packing).take_while(|unit| !is_slice(unit)))
    }
}

impl NalCodec {
    /// `None` without a sequence parameter set.
    fn presentation_order<'a>(self, units: impl Iterator<Item = &'a [u8]>) -> Option<bool> {
        let sets = units.filter(|unit| self.is_sequence_parameter_set(unit));
        sets.map(|set| {
            let payload = set.get(self.header_size()..).unwrap_or_default();
            let payload: Vec<u8> = Unescaped::new(payload).take(LONGEST).collect();
            let bits = Bits::new(&payload);
            let in_order = match self {
                NalCodec::H264 => h264_in_order(bits),
                NalCodec::H265 => h265_in_order(bits),
            };
            in_order.unwrap_or(false)
        })
        .reduce(|one, other| one && other)
    }
}

/// Of an H.264 sequence parameter set (7.3.2.1.1). `None` if it is truncated.
fn h264_in_order(mut bits: Bits<'_>) -> Option<bool> {
    const BASELINE: u32 = 66;
    /// Their sets have the chroma format and scaling lists.
    const HIGH: [u32; 13] = [44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244];
    let profile = bits.number(8)?;
    bits.number(16)?;
    bits.exp_golomb()?;
    if profile == BASELINE {
        // No B slices (A.2.1).
        return Some(true);
    }
    if HIGH.contains(&profile) {
        skip_h264_formats(&mut bits)?;
    }
    bits.exp_golomb()?;
    match bits.exp_golomb()? {
        0 => {
            bits.exp_golomb()?;
        }
        1 => {
            bits.flag()?;
            skip_codes(&mut bits, 2)?;
            let frames = bits.exp_golomb()?;
            skip_codes(&mut bits, frames)?;
        }
        // Output order is decode order (8.2.1.3).
        _ => return Some(true),
    }
    bits.exp_golomb()?;
    bits.flag()?;
    skip_codes(&mut bits, 2)?;
    if !bits.flag()? {
        bits.flag()?;
    }
    bits.flag()?;
    if bits.flag()? {
        skip_codes(&mut bits, 4)?;
    }
    if !bits.flag()? {
        return Some(false);
    }
    Some(h264_max_num_reorder_frames(bits)? == Some(0))
}

/// Skips from chroma_format_idc to the scaling lists.
fn skip_h264_formats(bits: &mut Bits<'_>) -> Option<()> {
    const YUV_444: u32 = 3;
    let chroma = bits.exp_golomb()?;
    if chroma == YUV_444 {
        bits.flag()?;
    }
    skip_codes(bits, 2)?;
    bits.flag()?;
    if bits.flag()? {
        for list in 0..if chroma == YUV_444 { 12 } else { 8 } {
            if bits.flag()? {
                skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Some(())
}

/// `scaling_list()` (7.3.2.1.1.1): an entry is coded until one is 0.
fn skip_scaling_list(bits: &mut Bits<'_>, size: u32) -> Option<()> {
    let mut scale = 8u32;
    for _ in 0..size {
        // se(v), 9.1.1: odd codes are positive.
        let code = bits.exp_golomb()?;
        let half = code.div_ceil(2);
        let delta = if code % 2 == 1 {
            half
        } else {
            half.wrapping_neg()
        };
        scale = scale.wrapping_add(delta) % 256;
        if scale == 0 {
            break;
        }
    }
    Some(())
}

/// `max_num_reorder_frames` of the VUI (E.1.1), if present.
fn h264_max_num_reorder_frames(mut bits: Bits<'_>) -> Option<Option<u32>> {
    const EXTENDED_SAR: u32 = 255;
    if bits.flag()? && bits.number(8)? == EXTENDED_SAR {
        bits.number(32)?;
    }
    if bits.flag()? {
        bits.flag()?;
    }
    if bits.flag()? {
        bits.number(4)?;
        if bits.flag()? {
            bits.number(24)?;
        }
    }
    if bits.flag()? {
        skip_codes(&mut bits, 2)?;
    }
    if bits.flag()? {
        bits.number(32)?;
        bits.number(32)?;
        bits.flag()?;
    }
    let nal_hrd = bits.flag()?;
    if nal_hrd {
        skip_hrd(&mut bits)?;
    }
    let vcl_hrd = bits.flag()?;
    if vcl_hrd {
        skip_hrd(&mut bits)?;
    }
    if nal_hrd || vcl_hrd {
        bits.flag()?;
    }
    bits.flag()?;
    if !bits.flag()? {
        return Some(None);
    }
    bits.flag()?;
    skip_codes(&mut bits, 4)?;
    bits.exp_golomb().map(Some)
}

/// `hrd_parameters()` (E.1.2).
fn skip_hrd(bits: &mut Bits<'_>) -> Option<()> {
    let last = bits.exp_golomb()?;
    bits.number(8)?;
    for _ in 0..=last {
        skip_codes(bits, 2)?;
        bits.flag()?;
    }
    bits.number(20)?;
    Some(())
}

/// Of an H.265 sequence parameter set (7.3.2.2.1): `sps_max_num_reorder_pics` of the highest sub-layer is 0.
fn h265_in_order(mut bits: Bits<'_>) -> Option<bool> {
    const YUV_444: u32 = 3;
    bits.number(4)?;
    let sub_layers = bits.number(3)?;
    bits.flag()?;
    skip_profile_tier_level(&mut bits, sub_layers)?;
    bits.exp_golomb()?;
    if bits.exp_golomb()? == YUV_444 {
        bits.flag()?;
    }
    skip_codes(&mut bits, 2)?;
    if bits.flag()? {
        skip_codes(&mut bits, 4)?;
    }
    skip_codes(&mut bits, 3)?;
    let layers = if bits.flag()? { sub_layers } else { 0 };
    let mut reordered = 0;
    for _ in 0..=layers {
        bits.exp_golomb()?;
        reordered = bits.exp_golomb()?;
        bits.exp_golomb()?;
    }
    Some(reordered == 0)
}

/// `profile_tier_level(1, sub_layers)` (7.3.3).
fn skip_profile_tier_level(bits: &mut Bits<'_>, sub_layers: u32) -> Option<()> {
    skip_bits(bits, 96)?;
    let mut present = Vec::new();
    for _ in 0..sub_layers {
        present.push((bits.flag()?, bits.flag()?));
    }
    if sub_layers > 0 {
        skip_bits(bits, 2 * (8 - sub_layers))?;
    }
    for (profile, level) in present {
        skip_bits(
            bits,
            if profile { 88 } else { 0 } + if level { 8 } else { 0 },
        )?;
    }
    Some(())
}

fn skip_bits(bits: &mut Bits<'_>, count: u32) -> Option<()> {
    (0..count).try_for_each(|_| bits.flag().map(drop))
}

/// Skips Exp-Golomb codes.
fn skip_codes(bits: &mut Bits<'_>, count: u32) -> Option<()> {
    (0..count).try_for_each(|_| bits.exp_golomb().map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gst::prelude::*;
    use proptest::prelude::*;

    /// What caps and frames of an encoder tell, in both stream formats.
    fn orders(encoder: &str) -> Vec<Option<bool>> {
        gst::init().unwrap();
        let (codec, formats) = if encoder.contains("265") {
            ("h265", ["hvc1", "byte-stream"])
        } else {
            ("h264", ["avc", "byte-stream"])
        };
        let mut orders = Vec::new();
        for format in formats {
            let line = format!(
                "videotestsrc num-buffers=30 ! video/x-raw,width=128,height=96 ! {encoder} ! {codec}parse \
                 ! video/x-{codec},stream-format={format},alignment=au ! appsink name=sink sync=false"
            );
            let pipeline = gst::parse::launch(&line).unwrap();
            let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
            let sink = pipeline.by_name("sink").unwrap();
            let sink = sink.downcast::<gst_app::AppSink>().unwrap();
            pipeline.set_state(gst::State::Playing).unwrap();
            let sample = sink.pull_sample().unwrap();
            pipeline.set_state(gst::State::Null).unwrap();
            let caps = sample.caps().unwrap().structure(0).unwrap();
            let read = FrameFormat::of(caps).unwrap();
            let frame = sample.buffer().unwrap().map_readable().unwrap();
            orders.push(match format {
                "byte-stream" => read.presentation_order(&frame),
                _ => read.presentation_order_of_caps(caps),
            });
        }
        orders
    }

    #[test]
    fn the_streams_of_real_encoders_show_whether_they_reorder() {
        let encoders = [
            ("openh264enc", true),
            ("x264enc bframes=0", true),
            (
                "x264enc tune=zerolatency vbv-buf-capacity=600 option-string=nal-hrd=vbr",
                true,
            ),
            ("x264enc bframes=2 b-adapt=false", false),
            ("x264enc bframes=2 option-string=cqm=jvt", false),
            (
                "x264enc bframes=0 option-string=cqm=jvt ! video/x-h264,profile=high",
                true,
            ),
            ("x264enc bframes=0 ! video/x-h264,profile=baseline", true),
            ("x265enc tune=zerolatency", true),
            ("x265enc option-string=bframes=3:b-adapt=0", false),
        ];
        for (encoder, in_order) in encoders {
            assert_eq!(orders(encoder), [Some(in_order); 2], "{encoder}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = h264_in_order(Bits::new(&bytes));
            let _ = h265_in_order(Bits::new(&bytes));
        }
    }
}
