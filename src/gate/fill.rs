//! Silence and black, made where media is missing.

use gst_audio::AudioInfo;
use gst_video::{VideoConverter, VideoFrame, VideoInfo};

/// Bytes of silence in a piece, whatever rate and channels the caps claim.
const MAX_SILENCE_BYTES: usize = 1 << 20;

/// GstMemory counts in 16 bits who shares it: a hole of hours in one piece would be too many.
const MAX_SHARES: u32 = 4096;

/// A silent buffer that is shared by the silence of a track.
#[derive(Debug, Default)]
pub struct Silence {
    buffer: Option<gst::Buffer>,
    shares: u32,
}

impl Silence {
    /// Up to `samples` samples of silence (at most half a second), and how many.
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
            // Planar audio cannot be mapped without it.
            let samples = usize::try_from(samples).ok()?;
            gst_audio::AudioMeta::add(part.get_mut()?, info, samples, &[]).ok()?;
        }
        Some((part, samples))
    }
}

/// A black frame of any raw format.
pub fn black(info: &VideoInfo) -> Result<gst::Buffer, glib::BoolError> {
    // In RGB zero is black; the converter knows what that is elsewhere.
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
