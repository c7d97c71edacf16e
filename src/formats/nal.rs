//! NAL units of H.264 and H.265 (7.3.1 of both specifications): splitting an access unit, and unit types.

use super::bits::Bits;
use crate::model::Codec;

/// How NAL units are delimited in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// With start codes (byte stream format: H.264, annex B).
    StartCodes,
    /// With length fields of this many bytes (ISO/IEC 14496-15).
    Lengths(usize),
}

/// The codec of the NAL units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NalCodec {
    H264,
    H265,
}

/// Type of a NAL unit, as far as needed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NalKind {
    /// A slice of a random access picture (IDR or IRAP).
    KeySlice,
    /// A slice of another picture.
    Slice,
    /// SEI that precedes the slices of a picture (in H.265, prefix SEI).
    Sei,
    /// An access unit delimiter.
    Delimiter,
    /// Parameter sets and other units that must precede a picture's slices: after a slice, they start the next access
    /// unit (H.264 7.4.1.2.3, H.265 7.4.2.4.4).
    Leading,
    /// Units that may follow slices.
    Trailing,
}

impl NalCodec {
    /// `None` for codecs without NAL units.
    pub fn of(codec: Codec) -> Option<Self> {
        match codec {
            Codec::H264 => Some(NalCodec::H264),
            Codec::H265 => Some(NalCodec::H265),
            _ => None,
        }
    }

    /// The codec.
    pub fn codec(self) -> Codec {
        match self {
            NalCodec::H264 => Codec::H264,
            NalCodec::H265 => Codec::H265,
        }
    }

    /// `nal_unit_type` of a NAL unit; `None` if it is empty.
    pub fn unit_type(self, unit: &[u8]) -> Option<u8> {
        let first = *unit.first()?;
        Some(match self {
            NalCodec::H264 => first & 0x1f,
            NalCodec::H265 => first >> 1 & 0x3f,
        })
    }

    /// Type of a NAL unit; `None` if it is empty.
    pub fn kind(self, unit: &[u8]) -> Option<NalKind> {
        let unit_type = self.unit_type(unit)?;
        Some(match self {
            NalCodec::H264 => match unit_type {
                5 => NalKind::KeySlice,
                1..=4 => NalKind::Slice,
                6 => NalKind::Sei,
                9 => NalKind::Delimiter,
                7 | 8 | 14..=18 => NalKind::Leading,
                _ => NalKind::Trailing,
            },
            NalCodec::H265 => match unit_type {
                16..=23 => NalKind::KeySlice,
                0..=15 | 24..=31 => NalKind::Slice,
                39 => NalKind::Sei,
                35 => NalKind::Delimiter,
                32..=34 | 41..=44 | 48..=55 => NalKind::Leading,
                _ => NalKind::Trailing,
            },
        })
    }

    /// Size of the NAL unit header in bytes.
    pub(super) fn header_size(self) -> usize {
        match self {
            NalCodec::H264 => 1,
            NalCodec::H265 => 2,
        }
    }

    /// Whether a unit is a sequence parameter set.
    pub(super) fn is_sequence_parameter_set(self, unit: &[u8]) -> bool {
        let sequence = match self {
            NalCodec::H264 => 7,
            NalCodec::H265 => 33,
        };
        self.unit_type(unit) == Some(sequence)
    }

    /// Whether a slice is the first one of its picture.
    pub fn is_first_slice(self, slice: &[u8]) -> bool {
        // first_mb_in_slice is 0, coded as a single 1 bit; or first_slice_segment_in_pic_flag is set.
        let behind = slice.get(self.header_size());
        behind.is_some_and(|byte| byte & 0x80 != 0)
    }

    /// Whether an SEI unit has a recovery point message (H.264 D.2.8, H.265 D.3.8): decoding can start there.
    pub fn has_recovery_point(self, sei: &[u8]) -> bool {
        const RECOVERY_POINT: u64 = 6;
        let payload = sei.get(self.header_size()..).unwrap_or_default();
        let mut bytes = Unescaped::new(payload);
        // Fewer than two remaining bytes can only be trailing bits.
        loop {
            let (Some(kind), Some(size)) = (sei_number(&mut bytes), sei_number(&mut bytes)) else {
                return false;
            };
            if kind == RECOVERY_POINT {
                return true;
            }
            if size > payload.len() as u64 {
                return false;
            }
            for _ in 0..size {
                bytes.next();
            }
        }
    }
}

/// Payload type or size of an SEI message (H.264 7.3.2.3.1): the sum of any number of 0xff bytes and a last byte.
fn sei_number(bytes: &mut impl Iterator<Item = u8>) -> Option<u64> {
    let mut number = 0u64;
    loop {
        let byte = bytes.next()?;
        number = number.saturating_add(byte.into());
        if byte != 0xff {
            return Some(number);
        }
    }
}

/// Whether an H.264 slice is intra coded: slice_type is I or SI (7.4.3).
pub fn is_intra_slice(slice: &[u8]) -> bool {
    const LONGEST: usize = 16;
    let header = slice.get(1..).unwrap_or_default();
    let header: Vec<u8> = Unescaped::new(header).take(LONGEST).collect();
    let mut bits = Bits::new(&header);
    let slice_type = bits.exp_golomb().and_then(|_first_mb| bits.exp_golomb());
    matches!(slice_type, Some(2 | 4 | 7 | 9))
}

/// Iterates over a NAL unit without its emulation prevention bytes (H.264 7.4.1.1).
pub(super) struct Unescaped<'a> {
    rest: std::slice::Iter<'a, u8>,
    zeros: u8,
}

impl<'a> Unescaped<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Unescaped {
            rest: bytes.iter(),
            zeros: 0,
        }
    }
}

impl Iterator for Unescaped<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let mut byte = *self.rest.next()?;
        if self.zeros >= 2 && byte == 3 {
            self.zeros = 0;
            byte = *self.rest.next()?;
        }
        self.zeros = if byte == 0 { self.zeros + 1 } else { 0 }.min(2);
        Some(byte)
    }
}

/// The NAL units in a buffer, without start codes or length fields, up to the first truncated one.
pub fn units(bytes: &[u8], packing: Packing) -> impl Iterator<Item = &[u8]> {
    let mut rest = match packing {
        // Start after the first start code.
        Packing::StartCodes => start_code(bytes).and_then(|at| bytes.get(at + 3..)),
        Packing::Lengths(_) => Some(bytes),
    };
    std::iter::from_fn(move || {
        let bytes = rest.take()?;
        match packing {
            Packing::StartCodes => {
                let end = start_code(bytes);
                rest = end.and_then(|end| bytes.get(end + 3..));
                let unit = bytes.get(..end.unwrap_or(bytes.len()))?;
                // Skip trailing zeros and the next start code's zero_byte; a unit ends with a nonzero byte.
                let last = unit.iter().rposition(|byte| *byte != 0);
                unit.get(..last.map_or(0, |last| last + 1))
            }
            Packing::Lengths(size) => {
                let (length, behind) = bytes.split_at_checked(size)?;
                let length = length.iter();
                let length = length.fold(0u64, |value, byte| value << 8 | u64::from(*byte));
                let (unit, behind) = behind.split_at_checked(usize::try_from(length).ok()?)?;
                rest = (!behind.is_empty()).then_some(behind);
                Some(unit)
            }
        }
    })
}

/// Offset of the first start code.
fn start_code(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some([first, second, third]) = bytes.get(at..at + 3) {
        match (first, second, third) {
            (0, 0, 1) => return Some(at),
            (_, _, 0) => at += 1,
            // A nonzero byte cannot be one of the zeros of a start code.
            _ => at += 3,
        }
    }
    None
}

/// Reorders an access unit in byte stream format so that no unit after a slice would start a new access unit: encoders
/// may put SEI after slices, or repeat parameter sets before each slice. `None` if the order is valid already, or there
/// is more than one picture.
pub fn in_order(bytes: &[u8], codec: NalCodec) -> Option<Vec<u8>> {
    let mut front: Vec<&[u8]> = Vec::new();
    let mut slices = Vec::new();
    let mut moved = false;
    for unit in units(bytes, Packing::StartCodes) {
        match codec.kind(unit) {
            Some(NalKind::KeySlice | NalKind::Slice) => {
                if moved && codec.is_first_slice(unit) {
                    return None;
                }
                slices.push(unit);
            }
            Some(NalKind::Trailing) => slices.push(unit),
            Some(NalKind::Sei | NalKind::Delimiter | NalKind::Leading) => {
                moved |= !slices.is_empty();
                let again = !slices.is_empty() && front.contains(&unit);
                let delimiter = codec.kind(unit) == Some(NalKind::Delimiter);
                if !(again || delimiter && !slices.is_empty()) {
                    front.push(unit);
                }
            }
            None => {}
        }
    }
    if !moved {
        return None;
    }
    // Parameter sets before SEI, which may refer to them.
    front.sort_by_key(|unit| match codec.kind(unit) {
        Some(NalKind::Delimiter) => 0,
        Some(NalKind::Leading) => 1,
        _ => 2,
    });
    let mut ordered = Vec::with_capacity(bytes.len() + 4);
    for unit in front.into_iter().chain(slices) {
        ordered.extend_from_slice(&[0, 0, 0, 1]);
        ordered.extend_from_slice(unit);
    }
    Some(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(units: &[&[u8]]) -> Vec<u8> {
        let unit = |unit: &&[u8]| [&[0, 0, 0, 1], *unit].concat();
        units.iter().flat_map(unit).collect()
    }

    #[test]
    fn nal_units_are_found_by_start_codes_and_lengths() {
        let bytes = [
            &[0, 0, 1, 9, 0x10, 0, 0, 0, 1, 6, 5, 0x80][..],
            &[0, 0, 0, 0, 1, 0x65, 1, 2, 0, 0, 3, 1],
        ];
        let bytes = bytes.concat();
        let found: Vec<_> = units(&bytes, Packing::StartCodes).collect();
        assert_eq!(
            found,
            [&[9, 0x10][..], &[6, 5, 0x80], &[0x65, 1, 2, 0, 0, 3, 1]]
        );
        let bytes = [0, 2, 9, 16, 0, 0, 0, 1, 7, 0, 9, 1];
        let found: Vec<_> = units(&bytes, Packing::Lengths(2)).collect();
        assert_eq!(found, [&[9, 16][..], &[], &[7]], "the last is cut off");
        assert_eq!(units(&[], Packing::StartCodes).count(), 0);
        assert_eq!(units(&[0, 0, 1], Packing::StartCodes).count(), 1);
    }

    #[test]
    fn trailing_units_move_before_the_slices() {
        const SPS: &[u8] = &[0x67, 1];
        const PPS: &[u8] = &[0x68, 2];
        const SEI: &[u8] = &[6, 5, 1, 1, 0x80];
        let (first, second) = (&[0x65, 0x88, 1][..], &[0x65, 0x28, 1][..]);
        let ordered = |given: &[&[u8]]| in_order(&stream(given), NalCodec::H264);
        let whole = stream(&[&[9, 16], SPS, PPS, SEI, first, second]);
        assert_eq!(in_order(&whole, NalCodec::H264), None);
        let behind = ordered(&[&[9, 16], SPS, PPS, first, second, SEI]);
        assert_eq!(behind, Some(whole));
        let before_each = ordered(&[SPS, PPS, first, SPS, PPS, second]);
        assert_eq!(before_each, Some(stream(&[SPS, PPS, first, second])));
        // A buffer with two pictures is not reordered.
        assert_eq!(ordered(&[SPS, PPS, first, SEI, first]), None);
        let (slice, suffix, prefix) = (&[2, 1, 0x80][..], &[0x50, 1, 5][..], &[0x4e, 1, 5][..]);
        let given = stream(&[slice, suffix, prefix]);
        let expected = stream(&[prefix, slice, suffix]);
        assert_eq!(in_order(&given, NalCodec::H265), Some(expected));
    }

    #[test]
    fn recovery_points_are_found_among_messages() {
        let has = |bytes: &[u8]| NalCodec::H264.has_recovery_point(bytes);
        assert!(has(&[6, 6, 1, 0xc4, 0x80]));
        // After a message of 3 bytes, not counting the emulation prevention byte.
        assert!(has(&[6, 1, 4, 0, 0, 3, 1, 7, 6, 1, 0xc4, 0x80]));
        assert!(!has(&[6, 5, 3, 6, 6, 6, 0x80]));
        assert!(!has(&[6, 0xff, 0xff]) && !has(&[6]) && !has(&[]));
        assert!(NalCodec::H265.has_recovery_point(&[0x4e, 1, 6, 1, 0x80]));
    }
}
