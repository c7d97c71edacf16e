//! The list of files, on any number of disks.
//!
//! The files of a disk are looked at and unlinked with no lock held, since it may hang. Files on the disk of the caller's
//! own file are waited for, as that is about to be written to; those on another one only for a while. From then on they
//! do not count until that disk responds again.
//!
//! Lock order: the list is the only lock, and it is never held while a disk is accessed.

use crate::{
    log::CAT,
    output::platform::{self, Identity},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime},
};

/// How long to wait for a disk that the caller's own file is not on.
const PATIENCE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub struct Ring {
    files: Mutex<Files>,
    /// Signals that a disk is idle.
    idle: Condvar,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Files {
    /// Oldest first.
    all: VecDeque<Entry>,
    next: u64,
    /// The disks whose files are being looked at or unlinked.
    busy: BTreeMap<u64, Busy>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Busy {
    Responds,
    /// It has not responded in time.
    Hangs,
}

#[derive(Debug, Clone)]
pub struct Entry {
    pub id: u64,
    path: PathBuf,
    identity: Identity,
    /// Creation time, since inode numbers are reused.
    created: Option<SystemTime>,
    pub size: u64,
}

impl Entry {
    /// The device number of its file system.
    pub fn disk(&self) -> u64 {
        self.identity.0
    }

    /// Whether the file that is there now is this one. FAT and exFAT invent inode numbers whenever they read a
    /// directory again; there, creation time and size tell.
    fn is_same(&self, identity: Identity, created: Option<SystemTime>, size: u64) -> bool {
        let is_as_old = created == self.created;
        let looks_same = created.is_some() && identity.0 == self.identity.0 && size == self.size;
        is_as_old && (identity == self.identity || looks_same)
    }

    /// Its size on the disk if it is still the same file.
    fn size_on_disk(&self) -> Option<u64> {
        let is_file = fs::symlink_metadata(&self.path).is_ok_and(|meta| meta.is_file());
        let look = |file: File| -> io::Result<_> {
            let (meta, identity) = (file.metadata()?, platform::identity(&file)?);
            let is_same = self.is_same(identity, meta.created().ok(), meta.len());
            Ok(is_same.then_some(meta.len()))
        };
        let opened = is_file.then(|| File::open(&self.path));
        opened?.and_then(look).ok().flatten()
    }
}

impl Files {
    /// All but those on a disk that hangs.
    pub fn counted(&self) -> impl Iterator<Item = &Entry> {
        let hangs = |entry: &&Entry| self.busy.get(&entry.disk()) == Some(&Busy::Hangs);
        self.all.iter().filter(move |entry| !hangs(entry))
    }

    /// Their total size in bytes.
    pub fn bytes(&self) -> u64 {
        self.counted().map(|entry| entry.size).sum()
    }

    /// The file being written, or to be written next.
    pub fn newest(&self) -> Option<u64> {
        self.all.back().map(|entry| entry.id)
    }

    fn get_mut(&mut self, id: u64) -> Option<&mut Entry> {
        self.all.iter_mut().find(|entry| entry.id == id)
    }
}

/// Work on the files of a disk. The disk is idle again when this is dropped, in whichever way its thread has ended.
struct DiskJob {
    ring: Arc<Ring>,
    disk: u64,
    /// The files that no longer belong to the ring.
    gone: Vec<u64>,
}

impl DiskJob {
    /// Whether it is still the same file, and no one else has appended to it.
    fn is_there(&self, entry: &Entry) -> bool {
        let on_disk = entry.size_on_disk();
        // It may have grown since.
        let mut files = self.ring.lock();
        let size = files.get_mut(entry.id).map(|entry| entry.size);
        on_disk.is_some_and(|on_disk| size.is_some_and(|size| on_disk <= size))
    }
}

impl Drop for DiskJob {
    fn drop(&mut self) {
        let mut files = self.ring.lock();
        files.all.retain(|entry| !self.gone.contains(&entry.id));
        files.busy.remove(&self.disk);
        self.ring.idle.notify_all();
    }
}

impl Ring {
    pub fn lock(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an empty file, now in place; returns its number.
    pub fn add(&self, path: PathBuf, identity: Identity, created: Option<SystemTime>) -> u64 {
        let mut files = self.lock();
        let id = files.next;
        files.next += 1;
        files.all.push_back(Entry {
            id,
            path,
            identity,
            created,
            size: 0,
        });
        id
    }

    /// A file is about to grow. FALSE if it does not belong to the ring any more.
    pub fn grow(&self, id: u64, by: u64) -> bool {
        let mut files = self.lock();
        let entry = files.get_mut(id);
        entry.map(|entry| entry.size += by).is_some()
    }

    /// It has not grown.
    pub fn shrink(&self, id: u64, by: u64) {
        if let Some(entry) = self.lock().get_mut(id) {
            entry.size -= by;
        }
    }

    /// The file at `path` on `disk` is about to be replaced.
    pub fn forget_path(&self, path: &Path, disk: u64) {
        // Whoever unlinks it now would unlink the new one.
        let mut files = self.wait_until_idle(self.lock(), disk, disk);
        files.all.retain(|entry| entry.path != path);
    }

    /// Unlinks the oldest files that `may_go`, before a file on the disk `own` begins or grows, until the limit is
    /// not exceeded. FALSE if there are too few.
    pub fn make_room(
        self: &Arc<Self>,
        own: u64,
        is_over: impl Fn(&Files) -> bool,
        may_go: impl Fn(&Files, &Entry) -> bool,
    ) -> bool {
        let files = self.lock();
        if !is_over(&files) {
            return true;
        }
        let disks: BTreeSet<u64> = files.counted().map(Entry::disk).collect();
        drop(files);
        for disk in disks {
            self.forget_moved(disk, own);
        }
        loop {
            let files = self.lock();
            if !is_over(&files) {
                return true;
            }
            if !self.unlink_oldest(files, own, &may_go) {
                return false;
            }
        }
    }

    /// Unlinks the oldest file that `may_go`, or waits until its disk is idle. FALSE if there is none.
    pub fn unlink_oldest(
        self: &Arc<Self>,
        files: MutexGuard<'_, Files>,
        own: u64,
        may_go: impl Fn(&Files, &Entry) -> bool,
    ) -> bool {
        let mut counted = files.counted();
        let Some(oldest) = counted.find(|entry| may_go(&files, entry)).cloned() else {
            return false;
        };
        drop(counted);
        let disk = oldest.disk();
        if files.busy.contains_key(&disk) {
            drop(self.wait_until_idle(files, disk, own));
            return true;
        }
        let gone = vec![oldest.id];
        self.run(files, (disk, own), gone, move |job| {
            if !job.is_there(&oldest) {
                return;
            }
            let path = oldest.path.display();
            match fs::remove_file(&oldest.path) {
                Ok(()) => gst::info!(CAT, "{path} gives way"),
                Err(err) => gst::warning!(CAT, "Cannot unlink {path}: {err}"),
            }
        });
        true
    }

    /// Drops the entries of files that have been moved, unlinked or replaced.
    fn forget_moved(self: &Arc<Self>, disk: u64, own: u64) {
        let files = self.wait_until_idle(self.lock(), disk, own);
        if files.busy.contains_key(&disk) {
            return;
        }
        let here = files.all.iter().filter(|entry| entry.disk() == disk);
        let here: Vec<Entry> = here.cloned().collect();
        self.run(files, (disk, own), Vec::new(), move |job| {
            for entry in here {
                if !job.is_there(&entry) {
                    job.gone.push(entry.id);
                }
            }
        });
    }

    /// Works on an idle disk, in a thread of its own if that may hang while `own` does not. Files that are `gone` count
    /// until then.
    fn run(
        self: &Arc<Self>,
        mut files: MutexGuard<'_, Files>,
        (disk, own): (u64, u64),
        gone: Vec<u64>,
        work: impl FnOnce(&mut DiskJob) + Send + 'static,
    ) {
        files.busy.insert(disk, Busy::Responds);
        drop(files);
        let mut job = DiskJob {
            ring: self.clone(),
            disk,
            gone,
        };
        if disk == own {
            return work(&mut job);
        }
        let spawned = thread::Builder::new()
            .name("mediarecorder-ring".into())
            .spawn(move || work(&mut job));
        if let Err(err) = spawned {
            gst::warning!(CAT, "Cannot create a thread: {err}");
        }
        drop(self.wait_until_idle(self.lock(), disk, own));
    }

    /// Waits until no one works on `disk`, as long as it may respond.
    fn wait_until_idle<'a>(
        &self,
        mut files: MutexGuard<'a, Files>,
        disk: u64,
        own: u64,
    ) -> MutexGuard<'a, Files> {
        let begun = Instant::now();
        while let Some(busy) = files.busy.get_mut(&disk) {
            if disk == own {
                files = self
                    .idle
                    .wait(files)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let left = PATIENCE.saturating_sub(begun.elapsed());
            if left.is_zero() && *busy == Busy::Responds {
                *busy = Busy::Hangs;
                gst::warning!(CAT, "Older files are on a disk that does not respond");
            }
            if *busy == Busy::Hangs {
                break;
            }
            let waited = self.idle.wait_timeout(files, left);
            files = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_recognised_by_inode_or_by_creation_time_and_size() {
        let created = Some(SystemTime::UNIX_EPOCH);
        let later = created.map(|at| at + Duration::from_secs(2));
        let entry = |created| Entry {
            id: 0,
            path: "a.mkv".into(),
            identity: (1, 7),
            created,
            size: 100,
        };
        let known = entry(created);
        assert!(known.is_same((1, 7), created, 90));
        // The same inode number, of another file.
        assert!(!known.is_same((1, 7), later, 100));
        // FAT, after its directory has been read again.
        assert!(known.is_same((1, 8), created, 100));
        assert!(!known.is_same((1, 8), created, 99));
        assert!(!known.is_same((2, 8), created, 100));
        // A file system without creation times.
        assert!(entry(None).is_same((1, 7), None, 90));
        assert!(!entry(None).is_same((1, 8), None, 100));
    }
}
