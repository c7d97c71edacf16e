//! AAC in LOAS and LATM (ISO/IEC 14496-3, 1.7.3), as used in broadcasts and RTP: extracts raw frames and their
//! configuration.

use super::bits::Bits;

/// Decoder configuration for the frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AacConfig {
    /// AudioSpecificConfig.
    pub data: Vec<u8>,
    /// Samples per second.
    pub rate: u32,
    /// Channels.
    pub channels: u32,
}

/// Parses a stream frame by frame.
#[derive(Debug, Default)]
pub struct Loas {
    config: Option<AacConfig>,
}

/// `syncword` of AudioSyncStream, and size of the length field after it, in bits.
const SYNC: u32 = 0x2b7;
const LENGTH: u32 = 13;

impl Loas {
    /// The raw frame in an AudioSyncStream frame, and its configuration; `None` if it is invalid or has more than one
    /// program, layer or frame.
    pub fn read(&mut self, frame: &[u8]) -> Option<(Vec<u8>, &AacConfig)> {
        let mut bits = Bits::new(frame);
        if bits.number(11)? != SYNC {
            return None;
        }
        let length = usize::try_from(bits.number(LENGTH)?).ok()?;
        let element = frame.get(3..3usize.checked_add(length)?)?;
        let mut bits = Bits::new(element);
        let same_config = bits.flag()?;
        if !same_config {
            self.config = stream_config(&mut bits);
        }
        let config = self.config.as_ref()?;
        // PayloadLengthInfo
        let mut size = 0usize;
        loop {
            let part = bits.number(8)?;
            size = size.checked_add(usize::try_from(part).ok()?)?;
            if part != 255 {
                break;
            }
        }
        if size > element.len() {
            return None;
        }
        let byte = |_| Some(bits.number(8)? as u8);
        let payload = (0..size).map(byte).collect::<Option<Vec<u8>>>()?;
        Some((payload, config))
    }
}

/// `StreamMuxConfig()` with one program, one layer and one frame.
fn stream_config(bits: &mut Bits<'_>) -> Option<AacConfig> {
    let version = bits.flag()?;
    if version && bits.flag()? {
        return None;
    }
    if version {
        long_value(bits)?;
    }
    // allStreamsSameTimeFraming, numSubFrames, numProgram, numLayer
    if !bits.flag()? || bits.number(6)? != 0 || bits.number(4)? != 0 || bits.number(3)? != 0 {
        return None;
    }
    let config = if version {
        let length = long_value(bits)?;
        let before = bits.position();
        let config = audio_config(bits)?;
        let rest = usize::try_from(length)
            .ok()?
            .checked_sub(bits.position() - before)?;
        for _ in 0..rest {
            bits.flag()?;
        }
        config
    } else {
        audio_config(bits)?
    };
    // frameLengthType with explicit length, latmBufferFullness
    if bits.number(3)? != 0 {
        return None;
    }
    bits.number(8)?;
    if bits.flag()? {
        // otherDataPresent
        if version {
            long_value(bits)?;
        } else {
            while bits.flag()? {
                bits.number(8)?;
            }
            bits.number(8)?;
        }
    }
    if bits.flag()? {
        // crcCheckSum
        bits.number(8)?;
    }
    Some(config)
}

/// `LatmGetValue()`
fn long_value(bits: &mut Bits<'_>) -> Option<u32> {
    let bytes = bits.number(2)? + 1;
    bits.number(8 * bytes)
}

/// Sampling frequencies of AAC by their index (ISO/IEC 14496-3, 1.6.3.4).
pub(super) const AAC_RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// A sampling frequency, as an index or explicitly.
pub(super) fn aac_rate(bits: &mut Bits<'_>) -> Option<u32> {
    match bits.number(4)? {
        15 => bits.number(24),
        index => AAC_RATES.get(usize::try_from(index).ok()?).copied(),
    }
}

/// `AudioSpecificConfig()` of AAC, with or without explicitly signalled SBR (1.6.2.1).
fn audio_config(bits: &mut Bits<'_>) -> Option<AacConfig> {
    let begin = bits.clone();
    let mut object = bits.number(5)?;
    let mut samples = aac_rate(bits)?;
    let channels = match bits.number(4)? {
        channels @ 1..=6 => channels,
        7 => 8,
        // Channels are in a program_config_element.
        _ => return None,
    };
    // SBR; SBR with PS.
    if matches!(object, 5 | 29) {
        samples = aac_rate(bits)?;
        object = bits.number(5)?;
    }
    // Main, LC, SSR, LTP
    if !(1..=4).contains(&object) {
        return None;
    }
    // GASpecificConfig: frameLengthFlag, dependsOnCoreCoder, extensionFlag
    bits.flag()?;
    if bits.flag()? {
        bits.number(14)?;
    }
    bits.flag()?;
    let mut copy = begin.clone();
    let count = bits.position() - begin.position();
    let mut data = vec![0u8; count.div_ceil(8)];
    for at in 0..count {
        if let (true, Some(byte)) = (copy.flag()?, data.get_mut(at / 8)) {
            *byte |= 0x80 >> (at % 8);
        }
    }
    Some(AacConfig {
        data,
        rate: samples,
        channels,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Packs numbers with these widths in bits into bytes.
    fn packed(fields: &[(u32, u32)]) -> Vec<u8> {
        let bits = fields
            .iter()
            .flat_map(|(value, width)| (0..*width).rev().map(move |at| value >> at & 1 == 1));
        let bits: Vec<bool> = bits.collect();
        let byte = |bits: &[bool]| {
            bits.iter()
                .enumerate()
                .fold(0, |byte, (at, bit)| byte | u8::from(*bit) << (7 - at))
        };
        bits.chunks(8).map(byte).collect()
    }

    fn framed(element: &[u8]) -> Vec<u8> {
        let head = packed(&[(SYNC, 11), (element.len() as u32, LENGTH)]);
        [head, element.to_vec()].concat()
    }

    #[test]
    fn frames_are_read_with_their_configuration() {
        // AAC LC, 48 kHz, stereo; no buffer fullness, no other data, no checksum; two bytes.
        let config = [(2, 5), (3, 4), (2, 4), (0, 3)];
        let mux = [
            &[(0, 1), (0, 1), (1, 1), (0, 6), (0, 4), (0, 3)][..],
            &config,
            &[(0, 3), (0xff, 8), (0, 1), (0, 1)],
        ];
        let first = packed(&[mux.concat(), vec![(2, 8), (0xab, 8), (0xcd, 8)]].concat());
        let mut loas = Loas::default();
        assert_eq!(
            loas.read(&framed(&packed(&[(1, 1), (0, 8)]))),
            None,
            "before any configuration"
        );
        let (payload, config) = loas.read(&framed(&first)).unwrap();
        assert_eq!(payload, [0xab, 0xcd]);
        assert_eq!(
            (config.data.as_slice(), config.rate, config.channels),
            (&[0x11, 0x90][..], 48_000, 2)
        );
        let next = packed(&[(1, 1), (1, 8), (0x77, 8)]);
        assert_eq!(loas.read(&framed(&next)).unwrap().0, [0x77]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut loas = Loas::default();
            let _ = loas.read(&bytes);
            let _ = loas.read(&framed(&bytes));
        }
    }
}
