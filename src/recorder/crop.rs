//! Crops raw frames with a GstVideoCropMeta (a window in a screen capture, a decoder's padding).

use gst_video::{VideoCropMeta, VideoFormatFlags, VideoFrameFlags, VideoInfo, VideoMeta};

/// A rectangle in pixels: left, top, width, height.
type Area = (u32, u32, u32, u32);

/// The cropped frame, sharing the memory, and its caps; `None` if the whole frame is visible, or if it cannot be
/// cropped this way.
pub fn cropped(buffer: &gst::Buffer, caps: &gst::CapsRef) -> Option<(gst::Buffer, gst::Caps)> {
    let area = buffer.meta::<VideoCropMeta>()?.rect();
    let info = VideoInfo::from_caps(caps).ok()?;
    let (x, y, width, height) = fit(area, &info)?;
    if caps
        .features(0)
        .is_some_and(|features| !is_system(features))
    {
        return None;
    }
    let (flags, mut offsets, strides) = match buffer.meta::<VideoMeta>() {
        Some(meta) => (
            meta.video_frame_flags(),
            meta.offset().to_vec(),
            meta.stride().to_vec(),
        ),
        None => (
            VideoFrameFlags::empty(),
            info.offset().to_vec(),
            info.stride().to_vec(),
        ),
    };
    let format = info.format_info();
    for (plane, (offset, stride)) in offsets.iter_mut().zip(&strides).enumerate() {
        let component = (0..format.n_components() as usize)
            .find(|component| format.plane().get(*component).copied() == Some(plane as u32))?;
        let of = |list: &[u32], size: u32| list.get(component).map(|shift| size >> shift);
        let (across, down) = (of(format.w_sub(), x)?, of(format.h_sub(), y)?);
        let pixel = *format.pixel_stride().get(component)?;
        let row = usize::try_from(*stride).ok()?.checked_mul(down as usize)?;
        let column = usize::try_from(pixel).ok()?.checked_mul(across as usize)?;
        *offset = offset.checked_add(row)?.checked_add(column)?;
    }
    let mut part = buffer.clone();
    let fields = part.make_mut();
    while let Some(meta) = fields.meta_mut::<VideoCropMeta>() {
        meta.remove().ok()?;
    }
    while let Some(meta) = fields.meta_mut::<VideoMeta>() {
        meta.remove().ok()?;
    }
    VideoMeta::add_full(
        fields,
        flags,
        info.format(),
        width,
        height,
        &offsets,
        &strides,
    )
    .ok()?;
    let mut of_part = caps.to_owned();
    let structure = of_part.make_mut();
    structure.set("width", i32::try_from(width).ok()?);
    structure.set("height", i32::try_from(height).ok()?);
    Some((part, of_part))
}

fn is_system(features: &gst::CapsFeaturesRef) -> bool {
    features.is_equal(gst::CAPS_FEATURES_MEMORY_SYSTEM_MEMORY.as_ref()) || features.size() == 0
}

/// The rectangle inside the frame, aligned to the subsampling; `None` if it is the whole frame or empty.
fn fit((x, y, width, height): Area, info: &VideoInfo) -> Option<Area> {
    let format = info.format_info();
    let special = VideoFormatFlags::COMPLEX | VideoFormatFlags::TILED | VideoFormatFlags::PALETTE;
    if format.flags().intersects(special) {
        return None;
    }
    let coarsest = |list: &[u32]| list.iter().max().copied().unwrap_or(0).min(3);
    let begin = |at: u32, shift: u32| at >> shift << shift;
    let left = begin(x, coarsest(format.w_sub()));
    let top = begin(y, coarsest(format.h_sub()));
    let right = x.saturating_add(width).min(info.width());
    let bottom = y.saturating_add(height).min(info.height());
    let (width, height) = (right.checked_sub(left)?, bottom.checked_sub(top)?);
    let whole = (width, height) == (info.width(), info.height());
    (!whole && width > 0 && height > 0).then_some((left, top, width, height))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gst_video::{VideoFormat, prelude::*};

    /// A frame in which each pixel encodes its position.
    fn frame(info: &VideoInfo) -> gst::Buffer {
        let buffer = gst::Buffer::with_size(info.size()).unwrap();
        let frame = gst_video::VideoFrame::from_buffer_writable(buffer, info);
        let mut frame = frame.ok().unwrap();
        for plane in 0..frame.n_planes() {
            let stride = frame.plane_stride()[plane as usize] as usize;
            let bytes = frame.plane_data_mut(plane).unwrap();
            for (at, byte) in bytes.iter_mut().enumerate() {
                *byte = (at / stride * 16 + at % stride) as u8;
            }
        }
        frame.into_buffer()
    }

    #[test]
    fn each_chapter_is_an_id3_frame() {
        gst::init().unwrap();
        let info = VideoInfo::builder(VideoFormat::I420, 16, 16)
            .build()
            .unwrap();
        let caps = info.to_caps().unwrap();
        let mut buffer = frame(&info);
        assert!(cropped(&buffer, &caps).is_none());
        VideoCropMeta::add(buffer.make_mut(), (4, 6, 8, 100));
        let (part, of_part) = cropped(&buffer, &caps).unwrap();
        let info = VideoInfo::from_caps(&of_part).unwrap();
        assert_eq!((info.width(), info.height()), (8, 10));
        let part = gst_video::VideoFrame::from_buffer_readable(part, &info).unwrap();
        assert_eq!(part.plane_data(0).unwrap()[..2], [6 * 16 + 4, 6 * 16 + 5]);
        assert_eq!(part.plane_data(1).unwrap()[..2], [3 * 16 + 2, 3 * 16 + 3]);
    }

    #[test]
    fn crop_areas_are_inside_the_frame() {
        gst::init().unwrap();
        let info = VideoInfo::builder(VideoFormat::I420, 16, 16)
            .build()
            .unwrap();
        assert_eq!(fit((0, 0, 16, 16), &info), None);
        assert_eq!(fit((0, 0, 0, 0), &info), None);
        assert_eq!(fit((20, 20, 4, 4), &info), None);
        assert_eq!(fit((5, 5, 4, 4), &info), Some((4, 4, 5, 5)));
        assert_eq!(fit((8, 8, u32::MAX, u32::MAX), &info), Some((8, 8, 8, 8)));
    }
}
