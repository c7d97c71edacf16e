//! A file at `location` that is synchronised now and then, in rounds: what has come is written out, the file is
//! synchronised, and only then it is patched. So a patch is never on the disk before the bytes that it refers to.

use super::{AtLocation, Backing, Edit, Store, SyncFile};
use std::io;

impl Store {
    /// What brings the file to the disk; `None` where there is none. From here on patches wait for
    /// [`Store::write_patches`]; blobs have them at once.
    ///
    /// # Errors
    /// When the file's directory cannot be opened.
    pub fn sync_file(&mut self) -> io::Result<Option<SyncFile>> {
        let Backing::File(file) = &mut self.backing else {
            return Ok(None);
        };
        let sync_file = SyncFile::new(file.disk.file().clone(), file.path.clone())?;
        file.waiting.get_or_insert_default();
        Ok(Some(sync_file))
    }

    /// Writes out what was gathered. How many patches may be written as soon as the file has been synchronised after
    /// this; `None` if there is nothing new to synchronise.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn begin_round(&mut self) -> io::Result<Option<usize>> {
        self.flush()?;
        let Backing::File(file) = &mut self.backing else {
            return Ok(None);
        };
        let waiting = file.waiting.as_ref().map_or(0, Vec::len);
        let written = file.disk.written();
        let is_new = std::mem::replace(&mut file.synchronised, written) != written;
        let was_patched = std::mem::take(&mut file.patched);
        Ok((is_new || was_patched || waiting > 0).then_some(waiting))
    }

    /// Writes the first so many of the patches that wait.
    ///
    /// # Errors
    /// As [`Store::write`]: the first.
    pub fn write_patches(&mut self, most: usize) -> io::Result<()> {
        let written = match &mut self.backing {
            Backing::File(file) => file.write_patches(most),
            Backing::Memory { .. } | Backing::Spilled { .. } => Ok(()),
        };
        self.note(written)
    }
}

impl AtLocation {
    fn write_patches(&mut self, most: usize) -> io::Result<()> {
        let waiting = self.waiting.iter_mut().flat_map(|waiting| {
            let most = most.min(waiting.len());
            waiting.drain(..most)
        });
        let mut first = Ok(());
        for (pos, bytes) in waiting.collect::<Vec<_>>() {
            let written = self.patch_now(pos, &bytes);
            first = first.and(written);
        }
        first
    }

    /// Patches wait no more, for a disk that has failed.
    pub(super) fn patch_at_once(&mut self) {
        // What it does not take now, blobs have.
        let _ = self.write_patches(usize::MAX);
        self.waiting = None;
    }

    /// Patches that the file does not have, or not yet.
    pub(super) fn later_patches(&self) -> Vec<Edit> {
        let waiting = self.waiting.iter().flatten();
        self.unwritten.iter().chain(waiting).cloned().collect()
    }
}
