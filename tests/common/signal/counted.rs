//! Audio in which each sample is its own number, for lossless recordings.
//!
//! S16LE stereo holds 15 bits of the number in each channel, S32LE holds 31 bits in every channel. The lowest bit
//! is always set, so that no number looks like silence.

/// The meaning of one sample (of all channels).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// It is this sample of the source.
    Index(u64),
    Silence,
    /// Neither: the sample was modified.
    Corrupt,
}

/// Fills `bytes` with the samples from number `first`.
pub fn fill(info: &gst_audio::AudioInfo, first: u64, bytes: &mut [u8]) {
    let channels = info.channels() as usize;
    for (frame, index) in bytes.chunks_exact_mut(info.bpf() as usize).zip(first..) {
        match (info.format(), channels) {
            (gst_audio::AudioFormat::S16le, 2) => {
                assert!(index < 1 << 30, "too long for 30 bits");
                let high = ((index >> 15) << 1 | 1) as u16;
                let low = ((index & 0x7fff) << 1 | 1) as u16;
                frame[..2].copy_from_slice(&high.to_le_bytes());
                frame[2..].copy_from_slice(&low.to_le_bytes());
            }
            (gst_audio::AudioFormat::S32le, _) => {
                assert!(index < 1 << 31, "too long for 31 bits");
                let whole = (index << 1 | 1) as u32;
                for channel in frame.chunks_exact_mut(4) {
                    channel.copy_from_slice(&whole.to_le_bytes());
                }
            }
            (format, channels) => {
                panic!("no numbered samples in {format:?} with {channels} channels")
            }
        }
    }
}

/// Reads one sample of all channels, each widened to 32 bits.
pub fn read(frame: &[i32]) -> Reading {
    let Some(&first) = frame.first() else {
        return Reading::Corrupt;
    };
    if frame.iter().all(|s| *s == 0) {
        Reading::Silence
    } else if first & 1 == 1 && frame.iter().all(|s| *s == first) {
        Reading::Index(u64::from(first as u32 >> 1))
    } else if let [high, low] = *frame
        && high & 0x1_ffff == 0x1_0000
        && low & 0x1_ffff == 0x1_0000
    {
        Reading::Index(u64::from(high as u32 >> 17) << 15 | u64::from(low as u32 >> 17))
    } else {
        Reading::Corrupt
    }
}

/// One buffer of `samples` samples from number `first`, with the timestamp of the first one.
pub fn buffer(info: &gst_audio::AudioInfo, first: u64, samples: u64) -> gst::Buffer {
    let mut bytes = vec![0; samples as usize * info.bpf() as usize];
    fill(info, first, &mut bytes);
    super::feed::stamped(bytes, info.rate(), first, samples)
}
