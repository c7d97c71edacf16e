//! AV1: generates the configuration record (AV1 Codec ISO Media File Format Binding 1.2, 2.3.3) from the stream, and
//! detects keyframes.

use super::bits::Bits;

/// The record for a track whose first temporal unit is `bytes`, which includes the sequence header; `None` if
/// there is no valid one.
pub fn configuration(bytes: &[u8]) -> Option<Vec<u8>> {
    let header =
        obus(bytes).find_map(|(kind, content)| (kind == SEQUENCE_HEADER).then_some(content))?;
    let mut record = described(header)?.to_vec();
    // With obu_size, which the last OBU of a temporal unit may lack.
    record.push(SEQUENCE_HEADER << 3 | HAS_SIZE);
    let mut size = header.len();
    while size >= 0x80 {
        record.push(size as u8 | 0x80);
        size >>= 7;
    }
    record.push(size as u8);
    record.extend_from_slice(header);
    Some(record)
}

/// Whether a temporal unit starts with a shown keyframe (AV1 5.9.2); `None` if it has no frame.
pub(super) fn is_key(unit: &[u8]) -> Option<bool> {
    let mut reduced = false;
    for (kind, content) in obus(unit) {
        let mut bits = Bits::new(content);
        match kind {
            SEQUENCE_HEADER => {
                // seq_profile, still_picture
                bits.number(3 + 1)?;
                reduced = bits.flag()?;
            }
            FRAME_HEADER | FRAME => {
                let shows_existing = !reduced && bits.flag()?;
                let is_key = reduced || !shows_existing && bits.number(2)? == 0 && bits.flag()?;
                return Some(is_key);
            }
            _ => {}
        }
    }
    None
}

const SEQUENCE_HEADER: u8 = 1;
const FRAME_HEADER: u8 = 3;
const FRAME: u8 = 6;
/// Bits of an OBU's first byte (AV1 5.3.2).
const HAS_SIZE: u8 = 2;
const HAS_EXTENSION: u8 = 4;

/// The OBUs in a byte slice (AV1 5.3): type and content, up to the first truncated one.
fn obus(mut rest: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (first, mut after) = rest.split_first()?;
        if first & HAS_EXTENSION != 0 {
            after = after.get(1..)?;
        }
        let mut size = after.len();
        if first & HAS_SIZE != 0 {
            let length = after.iter().take(8).position(|byte| byte & 0x80 == 0)? + 1;
            let (number, behind) = after.split_at_checked(length)?;
            let number = number.iter().rev();
            let number = number.fold(0u64, |value, byte| value << 7 | u64::from(byte & 0x7f));
            size = usize::try_from(number).ok()?;
            after = behind;
        }
        let (content, behind) = after.split_at_checked(size)?;
        rest = behind;
        Some((first >> 3 & 0xf, content))
    })
}

/// The four bytes of the record before configOBUs, from a sequence header (AV1 5.5).
fn described(header: &[u8]) -> Option<[u8; 4]> {
    let mut bits = Bits::new(header);
    let profile = bits.number(3)?;
    // still_picture
    bits.flag()?;
    let reduced = bits.flag()?;
    let (level, tier) = if reduced {
        (bits.number(5)?, false)
    } else {
        operating_points(&mut bits)?
    };
    let (wide, high) = (bits.number(4)? + 1, bits.number(4)? + 1);
    bits.number(wide)?;
    bits.number(high)?;
    if !reduced && bits.flag()? {
        // Lengths of frame IDs.
        bits.number(4 + 3)?;
    }
    tools(&mut bits, reduced)?;
    let color = color(&mut bits, profile)?;
    Some([
        // Marker and version.
        0x81,
        (profile << 5 | level) as u8,
        u8::from(tier) << 7 | color,
        // No initial presentation delay.
        0,
    ])
}

/// Level and tier of the first operating point.
fn operating_points(bits: &mut Bits<'_>) -> Option<(u32, bool)> {
    // timing_info_present_flag; may be followed by decoder_model_info
    let mut delay_length = None;
    if bits.flag()? {
        bits.number(32)?;
        bits.number(32)?;
        if bits.flag()? {
            bits.exp_golomb()?;
        }
        if bits.flag()? {
            delay_length = Some(bits.number(5)? + 1);
            bits.number(32)?;
            bits.number(5 + 5)?;
        }
    }
    let display_delays = bits.flag()?;
    let mut first = None;
    for _ in 0..=bits.number(5)? {
        bits.number(12)?;
        let level = bits.number(5)?;
        let tier = level > 7 && bits.flag()?;
        if let Some(length) = delay_length
            && bits.flag()?
        {
            bits.number(length)?;
            bits.number(length)?;
            bits.flag()?;
        }
        if display_delays && bits.flag()? {
            bits.number(4)?;
        }
        first.get_or_insert((level, tier));
    }
    first
}

/// Skips the coding tools, which are not in the record.
fn tools(bits: &mut Bits<'_>, reduced: bool) -> Option<()> {
    // use_128x128_superblock, enable_filter_intra, enable_intra_edge_filter
    bits.number(3)?;
    if !reduced {
        // enable_interintra_compound, _masked_compound, _warped_motion, _dual_filter
        bits.number(4)?;
        let order_hint = bits.flag()?;
        if order_hint {
            bits.number(2)?;
        }
        // seq_choose_screen_content_tools, else seq_force_screen_content_tools; the same for integer_mv
        if (bits.flag()? || bits.flag()?) && !bits.flag()? {
            bits.flag()?;
        }
        if order_hint {
            bits.number(3)?;
        }
    }
    // enable_superres, enable_cdef, enable_restoration
    bits.number(3)?;
    Some(())
}

/// The record's bits for bit depth and chroma subsampling.
fn color(bits: &mut Bits<'_>, profile: u32) -> Option<u8> {
    const SRGB: u32 = 0x01_0d_00;
    let high = bits.flag()?;
    let twelve = profile == 2 && high && bits.flag()?;
    let mono = profile != 1 && bits.flag()?;
    let described = if bits.flag()? {
        Some(bits.number(24)?)
    } else {
        None
    };
    let (x, y) = match (mono, described, profile) {
        (true, ..) => {
            bits.flag()?;
            (true, true)
        }
        (false, Some(SRGB), _) => (false, false),
        (false, _, profile) => {
            bits.flag()?;
            match profile {
                0 => (true, true),
                1 => (false, false),
                _ if twelve => {
                    let x = bits.flag()?;
                    (x, x && bits.flag()?)
                }
                _ => (true, false),
            }
        }
    };
    let position = if x && y && !mono {
        bits.number(2)? as u8
    } else {
        0
    };
    let flags = [high, twelve, mono, x, y].map(u8::from);
    Some(flags.iter().fold(0, |value, flag| value << 1 | flag) << 2 | position)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sequence headers, and the first bytes of the record that FFmpeg 5.1 writes for them.
    const KNOWN: &[(&str, [u8; 4])] = &[
        // libaom: 4:2:0, 4:4:4, 10 bits with colour description, monochrome.
        ("000000043cffbcdaf90040", [0x81, 0x00, 0x0c, 0]),
        ("200000043cffbcdaf902", [0x81, 0x20, 0x00, 0]),
        ("000000043cffbcdaf95091009040", [0x81, 0x00, 0x4c, 0]),
        ("000000043cffbcdaf92a", [0x81, 0x00, 0x1c, 0]),
        // 4:2:2 with 12 and 8 bits, 4:2:0 with 12 bits, sRGB.
        ("400000043cffbcdaf96220", [0x81, 0x40, 0x68, 0]),
        ("400000043cffbcdaf901", [0x81, 0x40, 0x08, 0]),
        ("400000043cffbcdaf96308", [0x81, 0x40, 0x6c, 0]),
        ("200000043cffbcdaf92021a004", [0x81, 0x20, 0x00, 0]),
        // 1080p60 with a decoder model, without and with order hints; with a constant frame rate.
        (
            "0400000004000000f1780000000a53000025afc8afc85eabbfc373268020",
            [0x81, 0x09, 0x0c, 0],
        ),
        (
            "0400000004000000f1780000000a53000025afc8afc85eabbfc3732be401",
            [0x81, 0x09, 0x0c, 0],
        ),
        (
            "0400000004000000f34000095eabbfc3732be401",
            [0x81, 0x09, 0x0c, 0],
        ),
        // A still picture with the reduced header.
        ("1821e7fded0040", [0x81, 0x00, 0x0c, 0]),
        // SVT-AV1; rav1e, which leaves the level unspecified.
        ("000000043cffbc02f80040", [0x81, 0x00, 0x0c, 0]),
        ("000000fa1e7fde210a88101010a0", [0x81, 0x1f, 0x0c, 0]),
    ];

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2);
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.map(byte).collect()
    }

    #[test]
    fn records_match_those_of_ffmpeg() {
        for (hex, expected) in KNOWN {
            let header = bytes(hex);
            let obu = [&[0x0a, header.len() as u8], header.as_slice()].concat();
            let record = [expected.as_slice(), &obu].concat();
            // A temporal delimiter, the sequence header, a frame.
            let unit = [&[0x12, 0], obu.as_slice(), &[0x32, 3, 1, 2, 3]].concat();
            assert_eq!(configuration(&unit).as_ref(), Some(&record), "{hex}");
            // With an extension; at the end, without obu_size.
            let unit = [&[0x16, 0, 0, 0x08], header.as_slice()].concat();
            assert_eq!(configuration(&unit).as_ref(), Some(&record), "{hex}");
        }
    }

    #[test]
    fn truncated_input_yields_nothing() {
        for (hex, _) in KNOWN {
            let header = bytes(hex);
            for length in 0..header.len() {
                let _ = described(&header[..length]);
                let obu = [&[0x0a, header.len() as u8], &header[..length]].concat();
                assert_eq!(configuration(&obu), None);
            }
        }
        for unit in [
            &[][..],
            &[0x12, 0],
            &[0x0a],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
            &[0x0e],
            &[0x32, 1, 0],
        ] {
            assert_eq!(configuration(unit), None, "{unit:x?}");
        }
    }

    #[test]
    fn long_headers_keep_their_size() {
        let mut header = bytes(KNOWN[0].0);
        header.resize(300, 0);
        let record = configuration(&[&[0x08], header.as_slice()].concat()).unwrap();
        assert_eq!(record[4..7], [0x0a, 0xac, 0x02]);
        assert_eq!(record[7..], header);
        assert_eq!(configuration(&record[4..]), Some(record));
    }
}
