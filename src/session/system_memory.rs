//! Copies frames in device memory to system memory, in the session's thread.
//!
//! Upstream's thread never reads device memory, as that can take as long as a GPU or an uncached mapping takes.
//! Frames are copied once, so that scaling, or an encoder with lookahead, neither reads that memory again nor keeps
//! it from its pool.

use super::{
    probe::{leave_out, probe},
    timing::lock,
};
use crate::{formats, model::Error};
use gst::prelude::*;
use gst_video::{VideoCaptionMeta, VideoFrame, VideoFrameRef, VideoInfo, VideoMeta};
use std::sync::Mutex;

/// Memory types that the CPU reads like system memory.
const NEAR: [&str; 4] = ["SystemMemory", "V4l2Memory", "fd", "shm"];

/// The target pool for frames of one format.
struct Shelf {
    caps: gst::Caps,
    info: VideoInfo,
    pool: gst_video::VideoBufferPool,
}

impl Shelf {
    fn new(caps: gst::Caps) -> Result<Self, glib::BoolError> {
        let info = VideoInfo::from_caps(&caps)?;
        let pool = gst_video::VideoBufferPool::new();
        let mut config = pool.config();
        let size = u32::try_from(info.size()).unwrap_or(u32::MAX);
        config.set_params(Some(&caps), size, 0, 0);
        pool.set_config(config)?;
        pool.set_active(true)?;
        Ok(Shelf { caps, info, pool })
    }

    fn bring(&self, far: &gst::BufferRef) -> Result<gst::Buffer, glib::BoolError> {
        // Without this check, the library emits a critical warning, which may be fatal.
        if let Some(meta) = far.meta::<VideoMeta>()
            && (meta.format() != self.info.format()
                || meta.width() < self.info.width()
                || meta.height() < self.info.height())
        {
            return Err(glib::bool_error!("its format differs from its caps"));
        }
        let near = self
            .pool
            .acquire_buffer(None)
            .map_err(|err| glib::bool_error!("no memory: {err}"))?;
        let source = VideoFrameRef::from_buffer_ref_readable(far, &self.info)?;
        let mut target = VideoFrame::from_buffer_writable(near, &self.info)
            .map_err(|_| glib::bool_error!("no memory to write to"))?;
        source.copy(&mut target.as_mut_video_frame_ref())?;
        drop(source);
        let mut near = target.into_buffer();
        let what = gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS;
        let fields = near.make_mut();
        far.copy_into(fields, what, ..)?;
        for captions in far.iter_meta::<VideoCaptionMeta>() {
            VideoCaptionMeta::add(fields, captions.caption_type(), captions.data());
        }
        Ok(near)
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        let _ = self.pool.set_active(false);
    }
}

fn is_near(buffer: &gst::BufferRef) -> bool {
    let near = |memory: &gst::MemoryRef| NEAR.iter().any(|kind| memory.is_type(*kind));
    buffer.iter_memories().all(near)
}

/// The memory type of a buffer.
fn kinds(buffer: &gst::BufferRef) -> String {
    let name = |memory: &gst::MemoryRef| {
        let allocator = memory.allocator();
        allocator.map(|allocator| allocator.memory_type().to_string())
    };
    let first = buffer.iter_memories().next().and_then(name);
    first.unwrap_or_else(|| "no memory".to_owned())
}

/// Copies each frame that passes the pad of track `name` to system memory. One that cannot be read is dropped, and
/// reported to `failed`.
pub fn bring_over(pad: &gst::Pad, name: &str, failed: impl Fn(Error) + Send + Sync + 'static) {
    let shelf = Mutex::new(None::<Shelf>);
    let name = name.to_owned();
    probe(pad, gst::PadProbeType::BUFFER, move |pad, info| {
        let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data else {
            return gst::PadProbeReturn::Ok;
        };
        if is_near(buffer) {
            return gst::PadProbeReturn::Ok;
        }
        let brought = pad
            .current_caps()
            .filter(|caps| formats::video_info(caps).is_some())
            .map(|caps| {
                let mut shelf = lock(&shelf);
                if shelf.as_ref().is_none_or(|shelf| shelf.caps != caps) {
                    *shelf = Some(Shelf::new(caps)?);
                }
                match &*shelf {
                    Some(shelf) => shelf.bring(buffer),
                    None => Err(glib::bool_error!("no pool")),
                }
            });
        match brought {
            None => gst::PadProbeReturn::Ok,
            Some(Ok(near)) => {
                *buffer = near;
                gst::PadProbeReturn::Ok
            }
            Some(Err(err)) => {
                failed(Error::not_supported(format!(
                    "The video frames on {name} cannot be mapped, as their memory is {}: {err}. Copy them to system \
                     memory upstream of the recorder, for example with gldownload, vapostproc or cudadownload.",
                    kinds(buffer)
                )));
                leave_out(info)
            }
        }
    });
}
