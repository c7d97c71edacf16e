//! Noise that is different at every instant, for lossy recordings.
//!
//! A function of continuous time: knots of random sign, 6000 in a second, joined by a cubic
//! B-spline. That keeps it below 3 kHz, where Opus at any usual rate keeps the wave's shape, and its
//! correlation peak narrow (a quarter of a millisecond).

/// Knots per second.
const KNOTS: f64 = 6000.0;
/// Height of a knot; the noise's RMS is about two thirds of it.
const HEIGHT: f32 = 0.4;

/// +1 or -1 for each knot, the same in every run (the finaliser of SplitMix64).
fn knot(number: i64) -> f32 {
    let mut z = (number as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    if (z ^ (z >> 31)) & 1 == 0 { 1.0 } else { -1.0 }
}

/// The noise at `time` nanoseconds, within -0.4 and 0.4.
pub fn at(time: f64) -> f32 {
    let place = time * (KNOTS / 1e9);
    let base = place.floor();
    let f = (place - base) as f32;
    let base = base as i64;
    let g = 1.0 - f;
    let weights = [
        g * g * g,
        4.0 - 6.0 * f * f + 3.0 * f * f * f,
        4.0 - 6.0 * g * g + 3.0 * g * g * g,
        f * f * f,
    ];
    let sum: f32 = weights
        .iter()
        .zip(base - 1..)
        .map(|(w, k)| w * knot(k))
        .sum();
    HEIGHT * sum / 6.0
}

/// Fills `bytes` with the noise from `time` nanoseconds, identical in every channel.
pub fn fill(info: &gst_audio::AudioInfo, time: f64, bytes: &mut [u8]) {
    let period = 1e9 / f64::from(info.rate());
    for (n, frame) in bytes.chunks_exact_mut(info.bpf() as usize).enumerate() {
        let value = at(time + n as f64 * period);
        match info.format() {
            gst_audio::AudioFormat::S16le => {
                let value = (value * 32767.0).round() as i16;
                for channel in frame.chunks_exact_mut(2) {
                    channel.copy_from_slice(&value.to_le_bytes());
                }
            }
            gst_audio::AudioFormat::F32le => {
                for channel in frame.chunks_exact_mut(4) {
                    channel.copy_from_slice(&value.to_le_bytes());
                }
            }
            format => panic!("no noise in {format:?}"),
        }
    }
}

/// One buffer of `samples` samples, starting with sample `first`, counted from time 0.
pub fn buffer(info: &gst_audio::AudioInfo, first: u64, samples: u64) -> gst::Buffer {
    let mut bytes = vec![0; samples as usize * info.bpf() as usize];
    let time = first as f64 * 1e9 / f64::from(info.rate());
    fill(info, time, &mut bytes);
    super::feed::stamped(bytes, info.rate(), first, samples)
}
