//! Copies of live raw frames that have to wait. A capture device has few buffers: it would run out of them if more than
//! a few of its frames were held. Most converters and decoders allocate as many as needed.
//!
//! Lock order: a leaf.

use crate::session::timing::lock;
use glib::translate::from_glib_none;
use gst::prelude::*;
use gst_video::VideoMeta;
use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

/// How many frames may wait in the same place without being copied.
const HELD: usize = 2;

/// How many bytes the pool of copies may hold.
const MAX_BYTES: usize = 64 << 20;

/// The pool is freed once so many frames in a row have not been copied.
const MAX_UNUSED: u32 = 5000;

/// See the module documentation.
#[derive(Debug, Default)]
pub struct FrameCopies {
    wanted: AtomicBool,
    pool: Mutex<Option<Pool>>,
}

/// Used again and again: the page faults of newly allocated memory take several times as long as the copy.
#[derive(Debug)]
struct Pool {
    pool: gst::BufferPool,
    /// The size of each of its buffers.
    size: usize,
    unused: u32,
}

impl FrameCopies {
    /// Sets whether the track is live raw video.
    pub fn set_wanted(&self, wanted: bool) {
        self.wanted.store(wanted, Ordering::Relaxed);
    }

    /// `buffer`, or a copy of it if many others are `waiting` already.
    pub fn spare(&self, buffer: gst::Buffer, waiting: impl FnOnce() -> usize) -> gst::Buffer {
        if !self.wanted.load(Ordering::Relaxed) {
            return buffer;
        }
        let waiting = waiting();
        let mut pool = lock(&self.pool);
        if waiting < HELD {
            pool.take_if(|pool| pool.is_unused());
            return buffer;
        }
        if is_of_unlimited_pool(&buffer) {
            return buffer;
        }
        pool.take_if(|pool| !pool.suits(buffer.size()));
        if pool.is_none() {
            *pool = Pool::new(buffer.size()).ok();
        }
        let copy = pool.as_mut().and_then(|pool| pool.copy(&buffer));
        copy.or_else(|| buffer.copy_deep().ok()).unwrap_or(buffer)
    }
}

impl Pool {
    fn new(size: usize) -> Result<Self, glib::BoolError> {
        let copies = (MAX_BYTES / size.max(1)).max(2);
        let pool = gst::BufferPool::new();
        let mut config = pool.config();
        config.set_params(None, size as u32, 0, copies as u32);
        pool.set_config(config)?;
        pool.set_active(true)?;
        Ok(Pool {
            pool,
            size,
            unused: 0,
        })
    }

    /// Whether its buffers are large enough for a frame of this size, and not much larger.
    fn suits(&self, size: usize) -> bool {
        size <= self.size && size >= self.size / 8
    }

    /// Notes a frame that is not copied. Returns whether there have been many of them.
    fn is_unused(&mut self) -> bool {
        self.unused += 1;
        self.unused > MAX_UNUSED
    }

    /// `None` if all its buffers are in use.
    fn copy(&mut self, frame: &gst::BufferRef) -> Option<gst::Buffer> {
        self.unused = 0;
        let now = gst::BufferPoolAcquireFlags::DONTWAIT;
        let params = gst::BufferPoolAcquireParams::with_flags(now);
        let mut buffer = self.pool.acquire_buffer(Some(&params)).ok()?;
        let copy = buffer.get_mut()?;
        copy.set_size(frame.size());
        let mut bytes = copy.map_writable().ok()?;
        frame.copy_to_slice(0, &mut bytes).ok()?;
        drop(bytes);
        // DEEP: not what refers to the frame's own memory.
        let metadata = gst::BUFFER_COPY_METADATA | gst::BufferCopyFlags::DEEP;
        frame.copy_into(copy, metadata, ..).ok()?;
        copy_layout(frame, copy)?;
        Some(buffer)
    }
}

/// Whether its pool is one of GStreamer's own, allocates ordinary memory, and has no limit.
fn is_of_unlimited_pool(buffer: &gst::BufferRef) -> bool {
    // SAFETY: the buffer, which is borrowed, has a reference to its pool, or none.
    let pool: Option<gst::BufferPool> = unsafe { from_glib_none((*buffer.as_ptr()).pool) };
    let Some(pool) = pool else {
        return false;
    };
    // Those of devices are subclasses.
    let ordinary = [
        gst::BufferPool::static_type(),
        gst_video::VideoBufferPool::static_type(),
    ];
    let limit = || pool.config().params().map(|(_, _, _, most)| most);
    let mut memories = buffer.iter_memories();
    ordinary.contains(&pool.type_())
        && memories.all(|memory| memory.is_type("SystemMemory"))
        && limit() == Some(0)
}

/// Where the planes are: GStreamer does not copy this without the memory.
fn copy_layout(frame: &gst::BufferRef, copy: &mut gst::BufferRef) -> Option<()> {
    for meta in frame.iter_meta::<VideoMeta>() {
        VideoMeta::add_full(
            copy,
            meta.video_frame_flags(),
            meta.format(),
            meta.width(),
            meta.height(),
            meta.offset(),
            meta.stride(),
        )
        .ok()?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of 4x2 pixels whose rows have padding, in two memories.
    fn frame(first: u8) -> gst::Buffer {
        gst::init().unwrap();
        let bytes: Vec<u8> = (first..first + 64).collect();
        let mut frame = gst::Buffer::from_slice(bytes[..32].to_vec());
        let fields = frame.get_mut().unwrap();
        fields.append_memory(gst::Memory::from_slice(bytes[32..].to_vec()));
        fields.set_pts(gst::ClockTime::from_mseconds(40));
        fields.set_duration(gst::ClockTime::from_mseconds(20));
        fields.set_flags(gst::BufferFlags::DISCONT);
        VideoMeta::add_full(
            fields,
            gst_video::VideoFrameFlags::empty(),
            gst_video::VideoFormat::Gray8,
            4,
            2,
            &[8],
            &[32],
        )
        .unwrap();
        gst_video::VideoCropMeta::add(fields, (1, 0, 2, 2));
        gst::ParentBufferMeta::add(fields, &gst::Buffer::with_size(1).unwrap());
        frame
    }

    fn copies() -> FrameCopies {
        let copies = FrameCopies::default();
        copies.set_wanted(true);
        copies
    }

    fn bytes(buffer: &gst::Buffer) -> Vec<u8> {
        buffer.map_readable().unwrap().to_vec()
    }

    #[test]
    fn only_frames_that_wait_are_copied() {
        let (frame, copies) = (frame(0), copies());
        for waiting in 0..HELD {
            assert_eq!(
                copies.spare(frame.clone(), || waiting).as_ptr(),
                frame.as_ptr()
            );
        }
        let copy = copies.spare(frame.clone(), || HELD);
        assert_ne!(copy.as_ptr(), frame.as_ptr());
        copies.set_wanted(false);
        assert_eq!(
            copies.spare(frame.clone(), || HELD).as_ptr(),
            frame.as_ptr()
        );
    }

    #[test]
    fn frames_of_a_pool_that_grows_are_not_copied() {
        gst::init().unwrap();
        let copies = copies();
        for (most, is_copied) in [(0, false), (8, true)] {
            let pool = gst_video::VideoBufferPool::new();
            let mut config = pool.config();
            let caps = "video/x-raw,format=GRAY8,width=4,height=2,framerate=30/1";
            config.set_params(Some(&caps.parse().unwrap()), 8, 0, most);
            pool.set_config(config).unwrap();
            pool.set_active(true).unwrap();
            let frame = pool.acquire_buffer(None).unwrap();
            let spared = copies.spare(frame.clone(), || HELD);
            assert_eq!(spared.as_ptr() != frame.as_ptr(), is_copied);
        }
    }

    #[test]
    fn a_copy_has_everything_but_the_memory() {
        let (frame, copies) = (frame(0), copies());
        // The second one comes in the memory of the first.
        for _ in 0..2 {
            let copy = copies.spare(frame.clone(), || HELD);
            assert_eq!(bytes(&copy), bytes(&frame));
            assert_eq!(
                (copy.pts(), copy.duration()),
                (frame.pts(), frame.duration())
            );
            assert!(copy.flags().contains(gst::BufferFlags::DISCONT));
            assert_eq!(copy.iter_meta::<VideoMeta>().count(), 1);
            let layout = copy.meta::<VideoMeta>().unwrap();
            assert_eq!((layout.offset(), layout.stride()), (&[8][..], &[32][..]));
            assert_eq!(
                copy.meta::<gst_video::VideoCropMeta>().unwrap().rect(),
                (1, 0, 2, 2)
            );
            assert!(copy.meta::<gst::ParentBufferMeta>().is_none());
        }
    }

    #[test]
    fn memory_is_used_again_but_never_while_a_copy_is_in_use() {
        let copies = copies();
        let held: Vec<_> = (0..60).map(|n| copies.spare(frame(n), || HELD)).collect();
        for (n, copy) in (0..).zip(&held) {
            assert_eq!(bytes(copy), bytes(&frame(n)));
        }
        let first = held[0].as_ptr();
        drop(held);
        assert_eq!(copies.spare(frame(0), || HELD).as_ptr(), first);
    }

    #[test]
    fn a_pool_without_a_free_buffer_holds_up_nothing() {
        let (frame, copies) = (gst::Buffer::from_slice(vec![7; MAX_BYTES / 2]), copies());
        let held = [0; 3].map(|_| copies.spare(frame.clone(), || HELD));
        for copy in held {
            assert_ne!(copy.as_ptr(), frame.as_ptr());
            assert!(bytes(&copy) == bytes(&frame));
        }
    }

    #[test]
    fn the_pool_is_freed_when_nothing_waits() {
        let (frame, copies) = (frame(0), copies());
        copies.spare(frame.clone(), || HELD);
        for _ in 0..MAX_UNUSED {
            copies.spare(frame.clone(), || 0);
        }
        assert!(lock(&copies.pool).is_some());
        copies.spare(frame, || 0);
        assert!(lock(&copies.pool).is_none());
    }

    #[test]
    fn smaller_frames_use_the_same_memory() {
        let (frame, copies) = (frame(0), copies());
        let copy = |byte: u8, size: usize| {
            let frame = gst::Buffer::from_slice(vec![byte; size]);
            let copy = copies.spare(frame, || HELD);
            assert_eq!(bytes(&copy), vec![byte; size]);
            copy.as_ptr()
        };
        let small = copies.spare(frame.clone(), || HELD);
        let first = copy(7, 1000);
        assert_eq!(copy(8, 500), first);
        assert_eq!(copy(9, 1000), first);
        copy(10, 100);
        assert_eq!(bytes(&small), bytes(&frame));
    }
}
