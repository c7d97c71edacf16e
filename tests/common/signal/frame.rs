//! Frames that show their own time, as eight by eight black and white blocks.
//!
//! 48 bits of microseconds and a 16-bit checksum. Block sizes are relative to the frame size, so that neither
//! scaling nor a low bit rate hides them.

use gst_video::prelude::*;

const SIDE: usize = 8;
const BLACK: u8 = 16;
const WHITE: u8 = 235;

/// CRC-16/CCITT-FALSE, so that a frame damaged by the codec is not mistaken for another time.
fn check(micros: u64) -> u64 {
    let mut crc: u16 = 0xffff;
    for byte in &micros.to_be_bytes()[2..] {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            let carry = crc & 0x8000 != 0;
            crc <<= 1;
            if carry {
                crc ^= 0x1021;
            }
        }
    }
    u64::from(crc)
}

/// Draws `time` (in nanoseconds, rounded to microseconds) over the whole frame in `buffer`, plane by plane: the
/// memories of a sink's pool remain separate, as pipewiresink requires.
pub fn draw(info: &gst_video::VideoInfo, time: u64, buffer: &mut gst::BufferRef) {
    use gst_video::VideoFormat::{Gray8, I420, Nv12, Yv12};
    assert!(
        matches!(info.format(), I420 | Yv12 | Nv12 | Gray8),
        "no frame in {:?}",
        info.format()
    );
    let mut frame = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, info)
        .expect("writable memory of a whole frame");
    let micros = (time + 500) / 1000;
    let word = micros << 16 | check(micros);
    let (width, height) = (info.width() as usize, info.height() as usize);
    for chroma in 1..frame.n_planes() {
        // Grey.
        frame.plane_data_mut(chroma).expect("a plane").fill(128);
    }
    let stride = frame.plane_stride()[0] as usize;
    let luma = frame.plane_data_mut(0).expect("a plane");
    for (y, line) in luma.chunks_mut(stride).take(height).enumerate() {
        for (x, pixel) in line[..width].iter_mut().enumerate() {
            let bit = y * SIDE / height * SIDE + x * SIDE / width;
            *pixel = if word >> bit & 1 == 1 { WHITE } else { BLACK };
        }
    }
}

/// Reads the time in nanoseconds from an 8-bit grey frame without padding; `None` if the checksum does not match.
pub fn read(grey: &[u8], width: usize, height: usize) -> Option<u64> {
    let mut word = 0u64;
    for by in 0..SIDE {
        for bx in 0..SIDE {
            // The central half of the block: its edges are blurred.
            let (x0, x1) = ((4 * bx + 1) * width / 32, (4 * bx + 3) * width / 32);
            let (y0, y1) = ((4 * by + 1) * height / 32, (4 * by + 3) * height / 32);
            let mut sum = 0usize;
            for y in y0..y1 {
                let line = &grey[y * width + x0..y * width + x1];
                sum += line.iter().map(|p| usize::from(*p)).sum::<usize>();
            }
            if sum > 128 * (x1 - x0) * (y1 - y0) {
                word |= 1 << (by * SIDE + bx);
            }
        }
    }
    let micros = word >> 16;
    (word & 0xffff == check(micros)).then_some(micros * 1000)
}

/// One frame with this time, and timestamp, in nanoseconds.
pub fn buffer(info: &gst_video::VideoInfo, time: u64, duration: u64) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_mut_slice(vec![0; info.size()]);
    let fields = buffer.get_mut().expect("a new buffer is writable");
    draw(info, time, fields);
    fields.set_pts(gst::ClockTime::from_nseconds(time));
    fields.set_duration(gst::ClockTime::from_nseconds(duration));
    buffer
}
