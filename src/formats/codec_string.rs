//! The codec strings of RFC 6381 and its followers, from encoded caps.

use crate::model::{Codec, Container};

/// The codec string for media with these caps.
///
/// H.264, H.265 and AAC always include profile and level if the caps have them. VP9 and AV1 do
/// so in MP4 (`vp09.00.31.08`); elsewhere they keep the short names that the W3C uses there.
pub fn codec_string(codec: Codec, container: Container, caps: Option<&gst::CapsRef>) -> String {
    let structure = caps.and_then(|caps| caps.structure(0));
    let long = structure.and_then(|structure| match (codec, container) {
        (Codec::H264, _) => avc(structure),
        (Codec::H265, _) => hevc(structure),
        (Codec::Aac, _) => aac(structure),
        (Codec::Av1, Container::Mp4) => av1(structure),
        (Codec::Vp9, Container::Mp4) => vp9(structure),
        _ => None,
    });
    long.unwrap_or_else(|| codec.text().to_owned())
}

pub(super) fn codec_data(structure: &gst::StructureRef) -> Option<Vec<u8>> {
    let buffer = structure.get::<gst::Buffer>("codec_data").ok()?;
    Some(buffer.map_readable().ok()?.to_vec())
}

/// The sample entry type, depending on whether parameter sets are in band.
fn entry(structure: &gst::StructureRef, in_band: &'static str, out: &'static str) -> &'static str {
    match structure.get::<&str>("stream-format") {
        Ok(format) if format == in_band => in_band,
        _ => out,
    }
}

/// `avc1.PPCCLL`: profile, constraints and level from avcC (ISO 14496-15).
fn avc(structure: &gst::StructureRef) -> Option<String> {
    let entry = entry(structure, "avc3", "avc1");
    match codec_data(structure)?.get(1..4)? {
        [profile, constraints, level] => {
            Some(format!("{entry}.{profile:02X}{constraints:02X}{level:02X}"))
        }
        _ => None,
    }
}

/// `hvc1.…`: the general profile, tier and level from hvcC (ISO 14496-15 annex E).
fn hevc(structure: &gst::StructureRef) -> Option<String> {
    let entry = entry(structure, "hev1", "hvc1");
    let data = codec_data(structure)?;
    let (&profile, rest) = data.get(1..13)?.split_first()?;
    let (compatibility, rest) = rest.split_first_chunk::<4>()?;
    let (constraints, level) = rest.split_first_chunk::<6>()?;
    let level = level.first()?;
    let space = ["", "A", "B", "C"].get(usize::from(profile >> 6))?;
    let tier = if profile & 0x20 == 0 { 'L' } else { 'H' };
    let compatibility = u32::from_be_bytes(*compatibility).reverse_bits();
    let mut text = format!(
        "{entry}.{space}{}.{compatibility:X}.{tier}{level}",
        profile & 0x1f
    );
    let used = constraints.iter().rposition(|byte| *byte != 0);
    for byte in constraints.iter().take(used.map_or(0, |last| last + 1)) {
        text.push_str(&format!(".{byte:X}"));
    }
    Some(text)
}

/// `mp4a.40.N`: the audio object type in AudioSpecificConfig (ISO 14496-3).
fn aac(structure: &gst::StructureRef) -> Option<String> {
    let object = codec_data(structure)?.first()? >> 3;
    // 31 is an escape value; no encoder here uses such types.
    (1..31)
        .contains(&object)
        .then(|| format!("mp4a.40.{object}"))
}

/// `av01.P.LLT.DD`, from av1C if available, else from the frame size.
fn av1(structure: &gst::StructureRef) -> Option<String> {
    if let Some(&[0x81, profile_level, flags, ..]) = codec_data(structure).as_deref() {
        let (profile, level) = (profile_level >> 5, profile_level & 0x1f);
        let tier = if flags & 0x80 == 0 { 'M' } else { 'H' };
        let depth = match (flags & 0x40 != 0, flags & 0x20 != 0) {
            (true, true) if profile == 2 => 12,
            (true, _) => 10,
            _ => 8,
        };
        return Some(format!("av01.{profile}.{level:02}{tier}.{depth:02}"));
    }
    let profile = match structure.get::<&str>("profile").unwrap_or("main") {
        "high" => 1,
        "professional" => 2,
        _ => 0,
    };
    // Annex A.3: maximum picture size, display rate, seq_level_idx.
    const LEVELS: [(u64, u64, u32); 11] = [
        (147_456, 4_423_680, 0),
        (278_784, 8_363_520, 1),
        (665_856, 19_975_680, 4),
        (1_065_024, 31_950_720, 5),
        (2_359_296, 70_778_880, 8),
        (2_359_296, 141_557_760, 9),
        (8_912_896, 267_386_880, 12),
        (8_912_896, 534_773_760, 13),
        (8_912_896, 1_069_547_520, 14),
        (35_651_584, 1_069_547_520, 16),
        (35_651_584, 2_139_095_040, 17),
    ];
    let level = level(structure, &LEVELS)?;
    Some(format!(
        "av01.{profile}.{level:02}M.{:02}",
        depth(structure)
    ))
}

/// `vp09.PP.LL.DD` (VP codec ISO media file format binding).
fn vp9(structure: &gst::StructureRef) -> Option<String> {
    let profile: u32 = structure.get::<&str>("profile").ok()?.parse().ok()?;
    let level = vp9_level(structure)?;
    Some(format!("vp09.{profile:02}.{level}.{:02}", depth(structure)))
}

/// Ten times the VP9 level for this frame size and rate.
pub(super) fn vp9_level(structure: &gst::StructureRef) -> Option<u32> {
    const LEVELS: [(u64, u64, u32); 14] = [
        (36_864, 829_440, 10),
        (73_728, 2_764_800, 11),
        (122_880, 4_608_000, 20),
        (245_760, 9_216_000, 21),
        (552_960, 20_736_000, 30),
        (983_040, 36_864_000, 31),
        (2_228_224, 83_558_400, 40),
        (2_228_224, 160_432_128, 41),
        (8_912_896, 311_951_360, 50),
        (8_912_896, 588_251_136, 51),
        (8_912_896, 1_176_502_272, 52),
        (35_651_584, 1_176_502_272, 60),
        (35_651_584, 2_353_004_544, 61),
        (35_651_584, 4_706_009_088, 62),
    ];
    level(structure, &LEVELS)
}

fn depth(structure: &gst::StructureRef) -> u32 {
    structure
        .get::<u32>("bit-depth-luma")
        .ok()
        .filter(|depth| matches!(depth, 8 | 10 | 12))
        .unwrap_or(8)
}

/// The lowest level for this frame size (luma samples) and rate.
fn level(structure: &gst::StructureRef, levels: &[(u64, u64, u32)]) -> Option<u32> {
    let size = |name| u64::try_from(structure.get::<i32>(name).ok()?).ok();
    let size_in_luma = size("width")?.checked_mul(size("height")?)?;
    let fps = structure.get::<gst::Fraction>("framerate").ok();
    let fps = fps.filter(|fps| fps.numer() > 0 && fps.denom() > 0);
    // Assume a usual rate if it is variable or unknown.
    let (numer, denom) = fps.map_or((30, 1), |fps| (fps.numer() as u64, fps.denom() as u64));
    let rate = size_in_luma.checked_mul(numer)? / denom.max(1);
    levels
        .iter()
        .find(|(most, fastest, _)| size_in_luma <= *most && rate <= *fastest)
        .or(levels.last())
        .map(|(_, _, level)| *level)
}
