//! The files written by an element, oldest first. With a limit on their number or total size, the oldest is unlinked
//! before the limit is exceeded.
//!
//! Only files written by the element are unlinked, and only while they are where it put them. Whoever has one open
//! keeps its content.

use super::disk::GATHER;
use super::platform::{self, Identity};
use std::{
    collections::VecDeque,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
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

/// See the module.
#[derive(Debug, Default)]
pub struct Ring {
    files: Mutex<Files>,
}

#[derive(Debug, Default)]
struct Files {
    all: VecDeque<Entry>,
    /// Total size in bytes.
    bytes: u64,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    path: PathBuf,
    identity: Identity,
    /// Creation time, since inode numbers are reused.
    created: Option<SystemTime>,
    size: u64,
}

impl Entry {
    /// The device number of its file system.
    fn disk(&self) -> u64 {
        self.identity.0
    }

    /// Whether it is still the same file, and no one else has appended to it.
    fn is_there(&self) -> bool {
        let is_file = fs::symlink_metadata(&self.path).is_ok_and(|meta| meta.is_file());
        let is_same = |file: File| {
            let meta = file.metadata()?;
            let identity = platform::identity(&file)?;
            let created = meta.created().ok();
            Ok(identity == self.identity && created == self.created && meta.len() <= self.size)
        };
        is_file && File::open(&self.path).and_then(is_same).unwrap_or(false)
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

    /// Called before a file is put in place at `path`: unlinks the oldest if the maximum number is reached.
    pub(super) fn make_way(&self, path: &Path) {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let mut files = self.ring.lock();
        files.forget(|entry| entry.path == path);
        let Some(others) = self.limits.files.checked_sub(1) else {
            return;
        };
        if files.all.len() > others as usize {
            files.forget(|entry| !entry.is_there());
        }
        // The file to be written is not in the list yet.
        while files.all.len() > others as usize && files.unlink_oldest(|_| true) {}
    }

    /// Registers the file, now in place.
    pub(super) fn take(self, path: &Path, file: &File) -> io::Result<RingFile> {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let identity = platform::identity(file)?;
        let mut files = self.ring.lock();
        let id = files.next;
        files.next += 1;
        files.all.push_back(Entry {
            id,
            path: path.clone(),
            identity,
            created: file.metadata()?.created().ok(),
            size: 0,
        });
        drop(files);
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
        let mut files = self.place.ring.lock();
        if let Some(entry) = files.all.iter_mut().find(|entry| entry.id == self.id) {
            entry.size += by;
            files.bytes += by;
            if most > 0 && files.bytes > most {
                files.forget(|entry| !entry.is_there());
            }
            let newest = files.newest();
            while most > 0 && files.bytes > most {
                if !files.unlink_oldest(|entry| Some(entry.id) != newest) {
                    files.shrink(self.id, by);
                    return Err(io::Error::new(
                        io::ErrorKind::StorageFull,
                        format!("it alone would exceed max-total-bytes ({most})"),
                    ));
                }
            }
        }
        drop(files);
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
            let mut files = self.place.ring.lock();
            let newest = files.newest();
            // An open file keeps its bytes, and one elsewhere frees none here.
            let may_go = |entry: &Entry| {
                entry.disk() == self.disk && ![newest, Some(self.id)].contains(&Some(entry.id))
            };
            // Ahead of time: an unlinked file's bytes stay allocated while someone has it open.
            let ahead = self.size.min(MOST_AHEAD);
            while free < least.saturating_add(ahead) && files.unlink_oldest(may_go) {
                let now = free_space(&self.path).ok().flatten().unwrap_or(free);
                if now <= free {
                    break;
                }
                free = now;
            }
            let others_here = files.all.iter().filter(|entry| may_go(entry));
            others = others_here.map(|entry| entry.size).sum();
        }
        let room = self.size + free.saturating_sub(least) + others;
        self.place.room.store(room, Ordering::Relaxed);
    }
}

impl Ring {
    fn lock(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    /// Drops entries: the files no longer belong to the ring.
    fn forget(&mut self, which: impl Fn(&Entry) -> bool) {
        self.all.retain(|entry| !which(entry));
        self.bytes = self.all.iter().map(|entry| entry.size).sum();
    }

    /// The file being written, or to be written next.
    fn newest(&self) -> Option<u64> {
        self.all.back().map(|entry| entry.id)
    }

    /// Unlinks the oldest file that `may_go`. FALSE if there is none.
    fn unlink_oldest(&mut self, may_go: impl Fn(&Entry) -> bool) -> bool {
        let Some(oldest) = self.all.iter().position(may_go) else {
            return false;
        };
        let Some(oldest) = self.all.remove(oldest) else {
            return false;
        };
        self.bytes = self.bytes.saturating_sub(oldest.size);
        if oldest.is_there() {
            match fs::remove_file(&oldest.path) {
                Ok(()) => gst::info!(crate::log::CAT, "{} gives way", oldest.path.display()),
                Err(err) => gst::warning!(
                    crate::log::CAT,
                    "cannot unlink {}: {err}",
                    oldest.path.display()
                ),
            }
        }
        true
    }

    fn shrink(&mut self, id: u64, by: u64) {
        if let Some(entry) = self.all.iter_mut().find(|entry| entry.id == id) {
            entry.size -= by;
            self.bytes -= by;
        }
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
mod tests {
    use super::*;

    fn place(ring: &Arc<Ring>, files: u32, bytes: u64) -> RingPlace {
        let limits = RingLimits {
            files,
            bytes,
            free: 0,
        };
        RingPlace::new(ring.clone(), limits)
    }

    fn begin(place: RingPlace, path: &Path) -> RingFile {
        place.make_way(path);
        let file = File::create(path).unwrap();
        place.take(path, &file).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_ring_keeps_max_files_and_only_removes_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        fs::write(folder.join("another"), "").unwrap();
        let ring = Arc::<Ring>::default();
        for number in 0..4 {
            begin(place(&ring, 2, 0), &folder.join(number.to_string()));
        }
        assert_eq!(names(folder), ["2", "3", "another"]);
        // A replaced or moved file belongs to someone else.
        fs::remove_file(folder.join("2")).unwrap();
        fs::write(folder.join("2"), "another's").unwrap();
        fs::rename(folder.join("3"), folder.join("kept")).unwrap();
        for number in 4..7 {
            begin(place(&ring, 2, 0), &folder.join(number.to_string()));
        }
        assert_eq!(names(folder), ["2", "5", "6", "another", "kept"]);
        // A rewritten file counts once.
        begin(place(&ring, 2, 0), &folder.join("6"));
        assert_eq!(names(folder), ["2", "5", "6", "another", "kept"]);
    }

    #[test]
    fn one_file_is_the_one_being_written() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let ring = Arc::<Ring>::default();
        for number in 0..3 {
            place(&ring, 1, 0).make_way(&folder.join(number.to_string()));
            assert_eq!(names(folder), [""; 0]);
            begin(place(&ring, 1, 0), &folder.join(number.to_string()));
        }
        assert_eq!(names(folder), ["2"]);
    }

    #[test]
    fn the_oldest_is_removed_before_the_limit_is_exceeded() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let ring = Arc::<Ring>::default();
        let mut older = begin(place(&ring, 0, 100), &folder.join("0"));
        older.grow(50).unwrap();
        let mut newer = begin(place(&ring, 0, 100), &folder.join("1"));
        newer.grow(45).unwrap();
        assert_eq!(names(folder), ["0", "1"]);
        // The end of the older file, written late.
        older.grow(5).unwrap();
        assert_eq!(names(folder), ["0", "1"]);
        newer.grow(1).unwrap();
        assert_eq!(names(folder), ["1"]);
        older.grow(1_000).unwrap();
        newer.grow(54).unwrap();
        let full = newer.grow(1).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        assert_eq!(names(folder), ["1"]);
    }

    #[test]
    fn free_space_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let free = free_space(&folder.path().join("file")).unwrap();
        assert!(free.is_some_and(|free| free > 0));
        assert!(free_space(&folder.path().join("none/file")).is_err());
    }
}
