//! Synchronises a file at `location` in rounds: pending bytes are written, the file is synchronised, and only then it
//! is patched. So a patch is never on disk before the bytes that it refers to.

use super::{AtLocation, Backing, Edit, Store, SyncFile};
use std::io;

impl Store {
    /// The handle to synchronise the file with; `None` if there is no file. From here on patches are deferred until
    /// [`Store::write_patches`]; blobs get them at once.
    ///
    /// # Errors
    /// If the file's directory cannot be opened.
    pub fn sync_file(&mut self) -> io::Result<Option<SyncFile>> {
        let Backing::File(file) = &mut self.backing else {
            return Ok(None);
        };
        let sync_file = SyncFile::new(file.disk.file().clone(), file.path.clone())?;
        file.waiting.get_or_insert_default();
        Ok(Some(sync_file))
    }

    /// Writes pending bytes. Returns how many patches can be written once the file has been synchronised; `None` if
    /// there is nothing new to synchronise.
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

    /// Writes up to `most` of the deferred patches.
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

    /// Stops deferring patches, after a disk error.
    pub(super) fn patch_at_once(&mut self) {
        // Blobs get the patches that fail.
        let _ = self.write_patches(usize::MAX);
        self.waiting = None;
    }

    /// Patches not in the file, or not yet.
    pub(super) fn later_patches(&self) -> Vec<Edit> {
        let waiting = self.waiting.iter().flatten();
        self.unwritten.iter().chain(waiting).cloned().collect()
    }
}
