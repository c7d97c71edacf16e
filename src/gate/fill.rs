//! Generates silence and black frames to fill gaps.

use gst_audio::AudioInfo;
use gst_video::{VideoConverter, VideoFrame, VideoInfo};

/// Maximum bytes per silent buffer, for any rate and channels in the caps.
const MAX_SILENCE_BYTES: usize = 1 << 20;

/// GstMemory has a 16-bit share count: filling hours with one memory would overflow it.
const MAX_SHARES: u32 = 4096;

/// A silent memory shared by all silent buffers of a track.
#[derive(Debug, Default)]
pub struct Silence {
    buffer: Option<gst::Buffer>,
    shares: u32,
}

impl Silence {
    /// A buffer of up to `samples` samples of silence (at most half a second), and its sample count.
    pub fn take(&mut self, info: &AudioInfo, samples: u64) -> Option<(gst::Buffer, u64)> {
        let bytes_per_frame = info.bpf() as usize;
        let half_a_second = u64::from(info.rate() / 2);
        let most = half_a_second.min((MAX_SILENCE_BYTES / bytes_per_frame.max(1)) as u64);
        let most = most.max(1);
        let samples = samples.min(most);
        let size = usize::try_from(samples)
            .ok()?
            .checked_mul(bytes_per_frame)?;
        self.shares += 1;
        if self.shares > MAX_SHARES {
            self.buffer = None;
        }
        if self.buffer.is_none() {
            self.shares = 0;
            let whole = usize::try_from(most).ok()?.checked_mul(bytes_per_frame)?;
            let mut bytes = vec![0; whole];
            info.format_info().fill_silence(&mut bytes);
            self.buffer = Some(gst::Buffer::from_slice(bytes));
        }
        let buffer = self.buffer.as_ref()?;
        let mut part = buffer
            .copy_region(gst::BufferCopyFlags::MEMORY, ..size)
            .ok()?;
        if info.layout() == gst_audio::AudioLayout::NonInterleaved {
            // Planar audio cannot be mapped without this meta.
            let samples = usize::try_from(samples).ok()?;
            gst_audio::AudioMeta::add(part.get_mut()?, info, samples, &[]).ok()?;
        }
        Some((part, samples))
    }
}

/// A black frame in any raw format.
pub fn black(info: &VideoInfo) -> Result<gst::Buffer, glib::BoolError> {
    // Black is zero in RGB; the converter knows it for other formats.
    let rgb = VideoInfo::builder(gst_video::VideoFormat::Bgrx, info.width(), info.height())
        .fps(info.fps())
        .interlace_mode(info.interlace_mode())
        .build()?;
    let zeros = gst::Buffer::from_slice(vec![0u8; rgb.size()]);
    let source = VideoFrame::from_buffer_readable(zeros, &rgb)
        .map_err(|_| glib::bool_error!("cannot map a black frame"))?;
    let target = gst::Buffer::with_size(info.size())?;
    let mut target = VideoFrame::from_buffer_writable(target, info)
        .map_err(|_| glib::bool_error!("cannot map a frame of {info:?}"))?;
    VideoConverter::new(&rgb, info, None)?.frame(&source, &mut target);
    Ok(target.into_buffer())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn black_is_black_in_every_format() {
        gst::init().unwrap();
        for format in [
            gst_video::VideoFormat::I420,
            gst_video::VideoFormat::Nv12,
            gst_video::VideoFormat::Yuy2,
            gst_video::VideoFormat::Bgrx,
            gst_video::VideoFormat::I42010le,
        ] {
            let info = VideoInfo::builder(format, 64, 48).build().unwrap();
            let buffer = black(&info).unwrap();
            let frame = VideoFrame::from_buffer_readable(buffer, &info).unwrap();
            let first = frame.plane_data(0).unwrap()[..2].to_vec();
            let expected: &[u8] = match format {
                gst_video::VideoFormat::Bgrx => &[0, 0],
                gst_video::VideoFormat::I42010le => &[64, 0],
                gst_video::VideoFormat::Yuy2 => &[16, 128],
                _ => &[16, 16],
            };
            assert_eq!(first, expected, "{format:?}");
        }
    }
}
