//! Parameter sets of H.264 and H.265: parsed from the decoder configuration record, and inserted into access units.

use super::nal::NalCodec;
use crate::model::Codec;

/// Contents of a decoder configuration record (ISO/IEC 14496-15, 5.3.3.1 and 8.3.3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterSets {
    codec: NalCodec,
    /// Size of the NAL length fields.
    length_size: usize,
    /// NAL units without length fields, in decoding order.
    units: Vec<Vec<u8>>,
}

/// Reads bytes from the front; `None` if there are not enough.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.bytes(1)?.first().copied()
    }

    /// A big-endian number of `count` bytes.
    fn number(&mut self, count: usize) -> Option<usize> {
        let bytes = self.bytes(count)?;
        Some(bytes.iter().fold(0, |n, byte| n << 8 | usize::from(*byte)))
    }

    /// A NAL unit with a length field of `length_size` bytes.
    fn unit(&mut self, length_size: usize) -> Option<&'a [u8]> {
        let length = self.number(length_size)?;
        self.bytes(length)
    }
}

/// Type of a NAL unit, as far as needed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UnitKind {
    Delimiter,
    /// A parameter set with this nal_unit_type.
    Set(u8),
    Other,
}

fn unit_kind(codec: NalCodec, unit: &[u8]) -> UnitKind {
    match (codec, codec.unit_type(unit)) {
        (NalCodec::H264, Some(9)) | (NalCodec::H265, Some(35)) => UnitKind::Delimiter,
        (NalCodec::H264, Some(set @ (7 | 8))) => UnitKind::Set(set),
        (NalCodec::H265, Some(set @ 32..=34)) => UnitKind::Set(set),
        _ => UnitKind::Other,
    }
}

impl ParameterSets {
    /// Those in the `codec_data` of encoded caps.
    pub fn of_caps(codec: Codec, caps: &gst::StructureRef) -> Option<Self> {
        let data = caps.get::<gst::Buffer>("codec_data").ok()?;
        Self::parse(codec, &data.map_readable().ok()?)
    }

    /// Parses `codec_data`; `None` for other codecs, and for an invalid record.
    pub fn parse(codec: Codec, codec_data: &[u8]) -> Option<Self> {
        let codec = NalCodec::of(codec)?;
        let mut reader = Reader(codec_data);
        let mut units = Vec::new();
        let length_size = match codec {
            NalCodec::H264 => {
                let length_size = usize::from(*reader.bytes(5)?.last()? & 3) + 1;
                for mask in [0x1f, 0xff] {
                    for _ in 0..reader.byte()? & mask {
                        units.push(reader.unit(2)?.to_vec());
                    }
                }
                length_size
            }
            NalCodec::H265 => {
                let length_size = usize::from(*reader.bytes(22)?.last()? & 3) + 1;
                for _ in 0..reader.byte()? {
                    reader.byte()?;
                    for _ in 0..reader.number(2)? {
                        units.push(reader.unit(2)?.to_vec());
                    }
                }
                length_size
            }
        };
        units.retain(|unit| matches!(unit_kind(codec, unit), UnitKind::Set(_)));
        // VPS, SPS, PPS.
        units.sort_by_key(|unit| match unit_kind(codec, unit) {
            UnitKind::Set(kind) => kind,
            UnitKind::Delimiter | UnitKind::Other => u8::MAX,
        });
        Some(ParameterSets {
            codec,
            length_size,
            units,
        })
    }

    /// Size of the NAL length fields.
    pub fn length_size(&self) -> usize {
        self.length_size
    }

    /// The NAL units, without length fields.
    pub(super) fn units(&self) -> impl Iterator<Item = &[u8]> {
        self.units.iter().map(|unit| &**unit)
    }

    /// Whether the parameter sets are equal, whatever the format of the access units.
    pub fn are_same(&self, others: &Self) -> bool {
        self.units == others.units
    }

    /// Whether new frames may reference frames before the change: only picture parameter sets differ. Records without
    /// parameter sets, which are in band, match any.
    pub fn are_same_sequence(&self, others: &Self) -> bool {
        let sequence = |sets: &Self| -> Vec<Vec<u8>> {
            let pps = match sets.codec {
                NalCodec::H264 => 8,
                NalCodec::H265 => 34,
            };
            let mut units = sets.units.clone();
            units.retain(|unit| unit_kind(sets.codec, unit) != UnitKind::Set(pps));
            units
        };
        let (one, other) = (sequence(self), sequence(others));
        one.is_empty() || other.is_empty() || one == other
    }

    /// Converts the access unit to length fields of `length_size` bytes; if `complete`, also adds parameter sets of
    /// each type that it lacks. `None` if it can stay unchanged, or is invalid.
    pub fn put_into(
        &self,
        access_unit: &[u8],
        length_size: usize,
        complete: bool,
    ) -> Option<Vec<u8>> {
        let mut reader = Reader(access_unit);
        let mut units = Vec::new();
        while !reader.0.is_empty() {
            units.push(reader.unit(self.length_size)?);
        }
        let kind = |unit: &[u8]| unit_kind(self.codec, unit);
        let is_missing = |set: &&Vec<u8>| units.iter().all(|unit| kind(unit) != kind(set));
        let missing: Vec<&[u8]> = if complete {
            self.units.iter().filter(is_missing).map(|s| &**s).collect()
        } else {
            Vec::new()
        };
        if missing.is_empty() && length_size == self.length_size {
            return None;
        }
        let delimiters = units
            .iter()
            .take_while(|unit| kind(unit) == UnitKind::Delimiter)
            .count();
        units.splice(delimiters..delimiters, missing);
        let mut whole = Vec::with_capacity(access_unit.len() + 256);
        for unit in units {
            let length = u32::try_from(unit.len()).ok()?.to_be_bytes();
            let (zeros, length) = length.split_at_checked(4usize.checked_sub(length_size)?)?;
            if zeros.iter().any(|byte| *byte != 0) {
                return None;
            }
            whole.extend_from_slice(length);
            whole.extend_from_slice(unit);
        }
        Some(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An avcC record of these parameter sets, with length fields of `size` bytes.
    fn record(size: u8, sps: &[u8], pps: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![1, 66, 0, 30, 0xfc | (size - 1), 0xe1, 0, sps.len() as u8];
        bytes.extend_from_slice(sps);
        bytes.push(pps.len() as u8);
        for set in pps {
            bytes.extend_from_slice(&[0, set.len() as u8]);
            bytes.extend_from_slice(set);
        }
        bytes
    }

    const SPS: &[u8] = &[0x67, 1, 2];
    const PPS: &[u8] = &[0x68, 3];
    const IDR: &[u8] = &[0x65, 4, 5];

    fn access_unit(size: usize, units: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for unit in units {
            bytes.extend_from_slice(&(unit.len() as u32).to_be_bytes()[4 - size..]);
            bytes.extend_from_slice(unit);
        }
        bytes
    }

    #[test]
    fn missing_parameter_sets_are_inserted_after_the_delimiter() {
        let sets = ParameterSets::parse(Codec::H264, &record(4, SPS, &[PPS, PPS])).unwrap();
        let put = |units: &[&[u8]]| sets.put_into(&access_unit(4, units), 4, true);
        let aud: &[u8] = &[9, 0x10];
        assert_eq!(put(&[IDR]), Some(access_unit(4, &[SPS, PPS, PPS, IDR])));
        assert_eq!(
            put(&[aud, IDR]),
            Some(access_unit(4, &[aud, SPS, PPS, PPS, IDR]))
        );
        assert_eq!(
            put(&[SPS, IDR]),
            Some(access_unit(4, &[PPS, PPS, SPS, IDR]))
        );
        assert_eq!(put(&[SPS, PPS, IDR]), None);
        assert_eq!(sets.put_into(&access_unit(4, &[IDR]), 4, false), None);
    }

    #[test]
    fn durations_are_those_the_container_got_first() {
        let short = ParameterSets::parse(Codec::H264, &record(2, SPS, &[PPS])).unwrap();
        assert_eq!(short.length_size(), 2);
        assert_eq!(
            short.put_into(&access_unit(2, &[IDR]), 4, false),
            Some(access_unit(4, &[IDR]))
        );
        let long = ParameterSets::parse(Codec::H264, &record(4, SPS, &[PPS])).unwrap();
        assert!(short.are_same(&long));
        let more = ParameterSets::parse(Codec::H264, &record(4, SPS, &[PPS, &[0x68, 4]])).unwrap();
        assert!(!more.are_same(&long) && more.are_same_sequence(&long));
        let other = ParameterSets::parse(Codec::H264, &record(4, &[0x67, 9], &[PPS])).unwrap();
        assert!(!other.are_same_sequence(&long));
        assert_eq!(
            long.put_into(&access_unit(4, &[&[0x65; 256]]), 1, false),
            None
        );
    }

    #[test]
    fn h265_has_three_kinds_of_parameter_sets() {
        let mut bytes = vec![1; 21];
        bytes.extend_from_slice(&[3, 3]);
        for kind in [34u8, 33, 32] {
            bytes.extend_from_slice(&[kind, 0, 1, 0, 2, kind << 1, 1]);
        }
        let sets = ParameterSets::parse(Codec::H265, &bytes).unwrap();
        let idr: &[u8] = &[19 << 1, 1, 7];
        let expected = access_unit(4, &[&[64, 1], &[66, 1], &[68, 1], idr]);
        assert_eq!(
            sets.put_into(&access_unit(4, &[idr]), 4, true),
            Some(expected)
        );
    }

    #[test]
    fn malformed_input_is_unchanged() {
        let whole = record(4, SPS, &[PPS]);
        for end in 0..whole.len() {
            assert_eq!(ParameterSets::parse(Codec::H264, &whole[..end]), None);
        }
        assert_eq!(ParameterSets::parse(Codec::Vp8, &whole), None);
        let sets = ParameterSets::parse(Codec::H264, &whole).unwrap();
        for bytes in [&[0, 0, 0, 9, 1][..], &[0, 0], &[0xff; 7]] {
            assert_eq!(sets.put_into(bytes, 4, true), None);
        }
    }
}
