//! FLAC (RFC 9639): headers of metadata blocks; headers and checksums of frames.

/// Stream marker at the start of a file.
pub const MARKER: &[u8] = b"fLaC";
/// Size of a metadata block header (8.1).
pub const BLOCK_HEADER: usize = 4;
/// Flag of the last metadata block, in the type byte.
pub const LAST_BLOCK: u8 = 0x80;
/// Types of metadata blocks.
const PADDING: u8 = 1;
const VORBIS_COMMENT: u8 = 4;

/// Whether this first byte starts a Vorbis comment block.
pub fn has_comments(first: u8) -> bool {
    first & !LAST_BLOCK == VORBIS_COMMENT
}

/// A Vorbis comment block.
pub fn comment_block(content: &[u8]) -> Option<Vec<u8>> {
    metadata_block(VORBIS_COMMENT, content)
}

/// A padding block of `size` bytes including its header. `is_last`: no metadata blocks follow.
pub fn padding_block(size: usize, is_last: bool) -> Option<Vec<u8>> {
    let kind = if is_last {
        PADDING | LAST_BLOCK
    } else {
        PADDING
    };
    metadata_block(kind, &vec![0; size.checked_sub(BLOCK_HEADER)?])
}

fn metadata_block(kind: u8, content: &[u8]) -> Option<Vec<u8>> {
    let [0, size @ ..] = u32::try_from(content.len()).ok()?.to_be_bytes() else {
        return None;
    };
    Some([&[kind][..], &size, content].concat())
}

/// Maximum size of a coded number, in bytes.
const LONGEST_NUMBER: usize = 7;
/// Size of the CRC at the end of a frame.
const CHECKSUM: usize = 2;
/// Sample rates by code, from 1 (9.1.2).
const RATES: [u64; 11] = [
    88_200, 176_400, 192_000, 8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000,
];

/// A frame header.
#[derive(Debug, PartialEq, Eq)]
pub struct FlacHeader {
    /// The coded number is a sample number, since block sizes vary.
    pub by_samples: bool,
    /// Size of the coded number, which starts at byte 4.
    number: usize,
    /// Size of the header without its CRC.
    length: usize,
    /// Samples in the frame.
    pub samples: u64,
    /// Samples per second, if in the header.
    pub rate: Option<u32>,
}

impl FlacHeader {
    /// Parses a frame header; `None` if it is invalid.
    pub fn read(frame: &[u8]) -> Option<Self> {
        let [0xff, sync, sizes, _, first, ..] = frame else {
            return None;
        };
        if sync & 0xfe != 0xf8 {
            return None;
        }
        let number = match first.leading_ones() {
            0 => 1,
            ones @ 2..=7 => ones as usize,
            _ => return None,
        };
        let mut at = 4 + number;
        let mut tail = |bytes: usize| {
            let value = frame.get(at..at + bytes)?;
            at += bytes;
            Some(
                value
                    .iter()
                    .fold(0u64, |all, byte| all << 8 | u64::from(*byte)),
            )
        };
        let samples = match sizes >> 4 {
            0 => return None,
            1 => 192,
            code @ 2..=5 => 576 << (code - 2),
            6 => tail(1)? + 1,
            7 => tail(2)? + 1,
            code => 256 << (code - 8),
        };
        let (unit, rate) = match sizes & 15 {
            0 => (0, 0),
            12 => (1_000, tail(1)?),
            13 => (1, tail(2)?),
            14 => (10, tail(2)?),
            15 => return None,
            code => (1, RATES.get(usize::from(code) - 1).copied()?),
        };
        let rate = u32::try_from(unit * rate).ok();
        // Both CRCs are present.
        (frame.len() >= at + 3).then_some(FlacHeader {
            by_samples: sync & 1 == 1,
            number,
            length: at,
            samples,
            rate: rate.filter(|rate| *rate > 0),
        })
    }

    /// The frame with a new number.
    pub fn renumbered(&self, frame: &[u8], number: u64) -> Option<Vec<u8>> {
        let body = frame.get(self.length + 1..frame.len().checked_sub(CHECKSUM)?)?;
        let sizes = frame.get(4 + self.number..self.length)?;
        let header = [frame.get(..4)?, &coded(number), sizes].concat();
        Some(whole(header, body))
    }

    /// A frame with the same format and constant subframes (RFC 9639, 9.2.3): silence.
    pub fn silence(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let sizes = *frame.get(3)?;
        let bits = match sizes >> 1 & 7 {
            1 => 8,
            2 => 12,
            4 => 16,
            5 => 20,
            6 => 24,
            7 => 32,
            _ => return None,
        };
        let channels = match sizes >> 4 {
            channels @ 0..=7 => channels + 1,
            8..=10 => 2,
            _ => return None,
        };
        let mut header = frame.get(..self.length)?.to_vec();
        *header.get_mut(3)? = sizes & 15 | (channels - 1) << 4;
        // CONSTANT subframe type, no wasted bits, and the value: all zero.
        let subframes = (usize::from(channels) * (8 + bits)).div_ceil(8);
        Some(whole(header, &vec![0; subframes]))
    }
}

/// A frame with its CRCs.
fn whole(mut header: Vec<u8>, body: &[u8]) -> Vec<u8> {
    header.push(crc8(&header));
    header.extend_from_slice(body);
    let checksum = crc16(&header).to_be_bytes();
    header.extend(checksum);
    header
}

/// A number in extended UTF-8 coding, up to 36 bits.
fn coded(number: u64) -> Vec<u8> {
    if number < 0x80 {
        return vec![number as u8];
    }
    let bits = (64 - number.leading_zeros() as usize).min(36);
    // Each continuation byte has 6 bits, and the first byte has one bit less for each.
    let more = (1..LONGEST_NUMBER)
        .find(|more| 6 * more + 6 - more >= bits)
        .unwrap_or(6);
    let mark = 0xffu8 << (7 - more);
    let part = |n: usize| (number >> (6 * n)) as u8;
    // With seven bytes, the first has no bits of the number.
    let first = if more == 6 { mark } else { mark | part(more) };
    let rest = (0..more).rev().map(|n| 0x80 | part(n) & 0x3f);
    std::iter::once(first).chain(rest).collect()
}

fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc, _| {
            crc << 1 ^ if crc & 0x80 == 0 { 0 } else { 0x07 }
        })
    })
}

fn crc16(bytes: &[u8]) -> u16 {
    // 4 bits at a time is fast enough for audio.
    const TABLE: [u16; 16] = {
        let mut table = [0; 16];
        let mut n = 0;
        while n < 16 {
            let mut crc = (n as u16) << 12;
            let mut bit = 0;
            while bit < 4 {
                crc = (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x8005 };
                bit += 1;
            }
            table[n] = crc;
            n += 1;
        }
        table
    };
    let step = |crc: u16, half: u8| {
        let place = usize::from((crc >> 12) as u8 ^ half) & 15;
        crc << 4 ^ TABLE.get(place).copied().unwrap_or(0)
    };
    bytes
        .iter()
        .fold(0, |crc, byte| step(step(crc, byte >> 4), byte & 15))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_numbers_are_coded_like_utf8() {
        for number in [0, 0x7f, 0x80, 0x7ff, 0x800, 0xffff, 0x1_0000, 0x10_ffff] {
            let mut bytes = [0; 4];
            // UTF-8 excludes surrogates, so they are not tested.
            let text = char::from_u32(number).unwrap().encode_utf8(&mut bytes);
            assert_eq!(coded(number.into()), text.as_bytes(), "{number:x}");
        }
        assert_eq!(coded((1 << 31) - 1), [0xfd, 0xbf, 0xbf, 0xbf, 0xbf, 0xbf]);
        assert_eq!(coded(1 << 31), [0xfe, 0x82, 0x80, 0x80, 0x80, 0x80, 0x80]);
        assert_eq!(
            coded((1 << 36) - 1),
            [0xfe, 0xbf, 0xbf, 0xbf, 0xbf, 0xbf, 0xbf]
        );
    }

    #[test]
    fn checksums_match_the_crc_catalogue() {
        // CRC-8/SMBUS and CRC-16/UMTS of "123456789".
        assert_eq!(crc8(b"123456789"), 0xf4);
        assert_eq!(crc16(b"123456789"), 0xfee8);
    }
}
