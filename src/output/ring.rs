//! The files written by an element, oldest first. With a limit on their number or total size, the oldest is unlinked
//! before the limit is exceeded.
//!
//! Only files written by the element are unlinked, and only while they are where it put them. Whoever has one open
//! keeps its content.

mod files;

pub use files::Ring;

use super::disk::GATHER;
use super::platform;
use files::{Entry, Files};
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Maximum bytes on their way to a file, which are no longer free.
const UNDERWAY: u64 = 2 * GATHER;

/// Files are unlinked this many bytes ahead of need, or the size of the growing file if that is less.
const MOST_AHEAD: u64 = 64 << 20;

/// Limits of a ring; 0: unlimited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RingLimits {
    /// Maximum number of files.
    pub files: u32,
    /// Maximum total bytes.
    pub bytes: u64,
    /// Minimum bytes left free on the file system.
    pub free: u64,
}

impl RingLimits {
    /// Whether older files are unlinked.
    pub fn unlinks(&self) -> bool {
        self.files > 0 || self.bytes > 0
    }
}

/// The entry of a file being written.
#[derive(Debug, Clone)]
pub struct RingPlace {
    ring: Arc<Ring>,
    limits: RingLimits,
    /// How large the file may become before free space falls below the minimum.
    room: Arc<AtomicU64>,
}

/// A file's state in the ring.
#[derive(Debug)]
pub(super) struct RingFile {
    place: RingPlace,
    id: u64,
    /// The device number of its file system.
    disk: u64,
    path: PathBuf,
    size: u64,
    /// Its size when free space was last checked.
    looked: Option<u64>,
}

impl RingPlace {
    /// Reserves an entry in `ring` for one more file.
    pub fn new(ring: Arc<Ring>, limits: RingLimits) -> Self {
        RingPlace {
            ring,
            limits,
            room: Arc::new(AtomicU64::new(u64::MAX)),
        }
    }

    /// How large the file may become before free space falls below the minimum, as far as known.
    pub fn room(&self) -> u64 {
        self.room.load(Ordering::Relaxed)
    }

    /// Called before `new` is put in place at `path`: unlinks the oldest if the maximum number is reached.
    pub(super) fn make_way(&self, path: &Path, new: &File) {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let Ok((disk, _)) = platform::identity(new) else {
            return;
        };
        self.ring.forget_path(&path, disk);
        // The new one is not in the list yet.
        if let Some(others) = self.limits.files.checked_sub(1) {
            let is_over = |files: &Files| files.counted().count() > others as usize;
            self.ring.make_room(disk, is_over, |_, _| true);
        }
    }

    /// Registers the file, now in place.
    pub(super) fn take(self, path: &Path, file: &File) -> io::Result<RingFile> {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let identity = platform::identity(file)?;
        let created = file.metadata()?.created().ok();
        let id = self.ring.add(path.clone(), identity, created);
        let mut file = RingFile {
            place: self,
            id,
            disk: identity.0,
            path,
            size: 0,
            looked: None,
        };
        file.keep_free();
        Ok(file)
    }
}

impl RingFile {
    /// Called before the file grows by this many bytes: unlinks the oldest other files until there is space.
    ///
    /// # Errors
    /// If the file alone would exceed the total.
    pub(super) fn grow(&mut self, by: u64) -> io::Result<()> {
        let most = self.place.limits.bytes;
        let ring = &self.place.ring;
        if ring.grow(self.id, by) && most > 0 {
            let is_over = |files: &Files| files.bytes() > most;
            let may_go = |files: &Files, entry: &Entry| files.newest() != Some(entry.id);
            if !ring.make_room(self.disk, is_over, may_go) {
                ring.shrink(self.id, by);
                return Err(io::Error::new(
                    io::ErrorKind::StorageFull,
                    format!("it alone would exceed max-total-bytes ({most})"),
                ));
            }
        }
        self.size += by;
        if self
            .looked
            .is_none_or(|looked| self.size >= looked + GATHER)
        {
            self.keep_free();
        }
        Ok(())
    }

    /// Checks free space, and unlinks the oldest files if there is too little.
    pub(super) fn keep_free(&mut self) {
        let RingLimits { free: least, .. } = self.place.limits;
        if least == 0 {
            return;
        }
        self.looked = Some(self.size);
        let Ok(Some(mut free)) = free_space(&self.path) else {
            return;
        };
        let least = least.saturating_add(UNDERWAY);
        let mut others = 0;
        if self.place.limits.unlinks() {
            let ring = &self.place.ring;
            // An open file keeps its bytes, and one elsewhere frees none here.
            let may_go = |files: &Files, entry: &Entry| {
                entry.disk() == self.disk
                    && ![files.newest(), Some(self.id)].contains(&Some(entry.id))
            };
            // Ahead of time: an unlinked file's bytes stay allocated while someone has it open.
            let ahead = self.size.min(MOST_AHEAD);
            while free < least.saturating_add(ahead)
                && ring.unlink_oldest(ring.lock(), self.disk, may_go)
            {
                let now = free_space(&self.path).ok().flatten().unwrap_or(free);
                if now <= free {
                    break;
                }
                free = now;
            }
            let files = ring.lock();
            let others_here = files.counted().filter(|entry| may_go(&files, entry));
            others = others_here.map(|entry| entry.size).sum();
        }
        let room = self.size + free.saturating_sub(least) + others;
        self.place.room.store(room, Ordering::Relaxed);
    }
}

/// Bytes free on the file system of this file, or of a file to be created there; `None` if unknown.
///
/// # Errors
/// If the file's directory cannot be queried.
pub fn free_space(path: &Path) -> io::Result<Option<u64>> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    platform::free_space(directory)
}

#[cfg(test)]
mod tests;
