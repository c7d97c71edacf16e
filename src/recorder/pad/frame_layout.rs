//! Whether a raw frame has all the bytes of its caps: encoders read past the end of one that has not.

use gst_video::{VideoFormatFlags, VideoFormatInfo, VideoInfo, VideoMeta};

/// What the caps require of a frame.
#[derive(Debug, Clone, Copy)]
pub struct FrameLayout {
    format: VideoFormatInfo,
    width: u32,
    height: u32,
    /// Bytes without a GstVideoMeta.
    size: usize,
    /// Whether the bytes of a frame with a GstVideoMeta can be computed.
    has_plain_planes: bool,
}

impl FrameLayout {
    /// `is_system`: whether the frames are in system memory.
    pub fn new(info: &VideoInfo, is_system: bool) -> Self {
        let special =
            VideoFormatFlags::COMPLEX | VideoFormatFlags::TILED | VideoFormatFlags::PALETTE;
        let format = info.format_info();
        FrameLayout {
            format,
            width: info.width(),
            height: info.height(),
            size: info.size(),
            has_plain_planes: is_system && !format.flags().intersects(special),
        }
    }

    /// Whether the frame is complete. The GstVideoMeta of a cropped frame has its size.
    pub fn is_complete(&self, frame: &gst::BufferRef, is_cropped: bool) -> bool {
        let Some(meta) = frame.meta::<VideoMeta>() else {
            return frame.size() >= self.size;
        };
        if !self.has_plain_planes {
            return true;
        }
        let (width, height) = if is_cropped {
            (meta.width(), meta.height())
        } else {
            (self.width, self.height)
        };
        meta.width() >= width
            && meta.height() >= height
            && self
                .end(&meta, width, height)
                .is_some_and(|end| end <= frame.size())
    }

    /// The end of the last visible sample; `None` if the layout is invalid.
    fn end(&self, meta: &VideoMeta, width: u32, height: u32) -> Option<usize> {
        let format = &self.format;
        let mut end = 0;
        for component in 0..usize::try_from(format.n_components()).ok()? {
            let of = |list: &[u32], size: u32| Some(size.div_ceil(1 << list.get(component)?));
            let (columns, rows) = (of(format.w_sub(), width)?, of(format.h_sub(), height)?);
            let plane = usize::try_from(*format.plane().get(component)?).ok()?;
            let stride = i64::from(*meta.stride().get(plane)?);
            let bits = format.depth().get(component)? + format.shift().get(component)?;
            let column = i64::from(*format.pixel_stride().get(component)?);
            let row = i64::from(*format.poffset().get(component)?)
                + column.checked_mul(i64::from(columns.checked_sub(1)?))?
                + i64::from(bits.div_ceil(8));
            let first = i64::try_from(*meta.offset().get(plane)?).ok()?;
            let last = first.checked_add(stride.checked_mul(i64::from(rows.checked_sub(1)?))?)?;
            // Rows may be bottom-up.
            if last < 0 {
                return None;
            }
            end = end.max(first.max(last).checked_add(row)?);
        }
        usize::try_from(end).ok()
    }

    /// What a frame is and what it should be.
    pub fn describe(&self, frame: &gst::BufferRef) -> String {
        let (name, width, height) = (self.format.name(), self.width, self.height);
        let size = frame.size();
        match frame.meta::<VideoMeta>() {
            Some(meta) => {
                let end = self.end(&meta, width, height).unwrap_or(self.size);
                format!(
                    "{size} bytes with a GstVideoMeta of {}x{}, but {name} of {width}x{height} has {end} with its strides",
                    meta.width(),
                    meta.height()
                )
            }
            None => format!(
                "{size} bytes, but {name} of {width}x{height} has {}: rows are padded to 4 bytes, or attach a \
                 GstVideoMeta",
                self.size
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gst_video::{VideoFormat, VideoFrameFlags};

    fn info(format: VideoFormat, width: u32, height: u32) -> VideoInfo {
        VideoInfo::builder(format, width, height).build().unwrap()
    }

    /// A frame with the layout of `info`, of `size` bytes.
    fn frame(info: &VideoInfo, size: usize) -> gst::Buffer {
        let mut frame = gst::Buffer::with_size(size).unwrap();
        let (format, width, height) = (info.format(), info.width(), info.height());
        let flags = VideoFrameFlags::empty();
        let (offsets, strides) = (info.offset(), info.stride());
        let fields = frame.make_mut();
        VideoMeta::add_full(fields, flags, format, width, height, offsets, strides).unwrap();
        frame
    }

    #[test]
    fn every_format_is_complete_with_its_own_layout() {
        gst::init().unwrap();
        for format in VideoFormat::iter_raw() {
            for (width, height) in [(64, 48), (65, 49), (1, 1)] {
                let info = info(format, width, height);
                let layout = FrameLayout::new(&info, true);
                let whole = frame(&info, info.size());
                assert!(layout.is_complete(&whole, false), "{format:?}");
                // Small ones are mostly padding.
                if layout.has_plain_planes && width == 64 {
                    let part = frame(&info, info.size() / 2);
                    assert!(!layout.is_complete(&part, false), "{format:?}");
                }
            }
        }
    }

    #[test]
    fn a_frame_with_a_meta_has_the_size_of_the_caps() {
        gst::init().unwrap();
        let caps = info(VideoFormat::I420, 64, 48);
        let layout = FrameLayout::new(&caps, true);
        let small = info(VideoFormat::I420, 32, 48);
        let small = frame(&small, caps.size());
        assert!(!layout.is_complete(&small, false));
        assert!(layout.is_complete(&small, true));
        assert!(FrameLayout::new(&caps, false).is_complete(&small, false));
        // The last row lacks its padding.
        let narrow = info(VideoFormat::Gray8, 61, 48);
        let layout = FrameLayout::new(&narrow, true);
        assert!(layout.is_complete(&frame(&narrow, narrow.size() - 3), false));
        assert!(!layout.is_complete(&frame(&narrow, narrow.size() - 4), false));
    }
}
