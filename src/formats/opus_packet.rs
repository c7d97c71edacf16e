//! Duration of Opus packets (RFC 6716, 3.1 and 3.2).

/// The duration of the longest packet, in nanoseconds.
const LONGEST: u64 = 120_000_000;

/// Duration of a packet in nanoseconds; `None` if it is invalid.
pub fn opus_packet_duration(packet: &[u8]) -> Option<u64> {
    let [toc, rest @ ..] = packet else {
        return None;
    };
    let size = usize::from(toc >> 3 & 3);
    let frame: u64 = match toc >> 3 {
        // SILK, hybrid, CELT
        0..12 => *[10_000_000, 20_000_000, 40_000_000, 60_000_000].get(size)?,
        12..16 => *[10_000_000, 20_000_000].get(size & 1)?,
        _ => *[2_500_000, 5_000_000, 10_000_000, 20_000_000].get(size)?,
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u64::from(rest.first()? & 0x3f),
    };
    let duration = frame * frames;
    (1..=LONGEST).contains(&duration).then_some(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_follow_the_table_of_contents() {
        let millis = |packet: &[u8]| opus_packet_duration(packet).map(|ns| ns as f64 / 1e6);
        for (config, expected) in [(0, 10.0), (3, 60.0), (11, 60.0), (12, 10.0), (15, 20.0)] {
            assert_eq!(millis(&[config << 3]), Some(expected));
        }
        for (config, expected) in [(16, 2.5), (17, 5.0), (30, 10.0), (31, 20.0)] {
            // Stereo makes no difference.
            assert_eq!(millis(&[config << 3 | 4, 0]), Some(expected));
        }
        assert_eq!(millis(&[3 << 3 | 1]), Some(120.0));
        assert_eq!(millis(&[3 << 3 | 2]), Some(120.0));
        assert_eq!(millis(&[31 << 3 | 3, 0xc0 | 6]), Some(120.0));
        for invalid in [&[][..], &[3], &[3, 0], &[3 << 3 | 3, 3], &[31 << 3 | 3, 7]] {
            assert_eq!(millis(invalid), None, "{invalid:?}");
        }
    }
}
