//! Synchronises the file at `location`, and its directory entry, to disk.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::file::OpenFile;
use super::platform;

/// A handle to synchronise a file while others write to it, for a thread that may block.
#[derive(Debug)]
pub struct SyncFile {
    file: Arc<OpenFile>,
    path: PathBuf,
    /// Its directory, until the entry is on disk, too.
    directory: Option<File>,
    is_new: bool,
}

impl SyncFile {
    /// A handle for the file at `path`. Its directory is opened now, so that later renames do not matter.
    pub(super) fn new(file: Arc<OpenFile>, path: PathBuf) -> io::Result<Self> {
        let directory = platform::open_directory_of(&path)?;
        Ok(Self {
            file,
            path,
            directory,
            is_new: true,
        })
    }

    /// Returns when everything written to the file so far is on disk; the first time the directory entry is, too, after
    /// the bytes. Blocks on the disk.
    ///
    /// # Errors
    /// The result of synchronisation. After an error earlier writes may be lost, and a retry would not detect it: the
    /// system considers them written.
    pub fn sync(&mut self) -> io::Result<()> {
        // Mode and owner have to be synchronised once.
        if std::mem::take(&mut self.is_new) {
            self.file.sync_all()
        } else {
            self.file.sync_data()
        }
        .map_err(|err| self.syncing(err))?;
        if let Some(directory) = self.directory.take() {
            platform::sync_directory(&directory).map_err(|err| self.syncing(err))?;
        }
        Ok(())
    }

    fn syncing(&self, err: io::Error) -> io::Error {
        let text = format!("cannot synchronise {}: {err}", self.path.display());
        io::Error::new(err.kind(), text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::store::Store;

    fn write(store: &mut Store, at: u64, bytes: &[u8]) {
        let buffer = gst::Buffer::from_slice(bytes.to_vec());
        store.write(at, buffer).unwrap();
    }

    #[test]
    fn patches_wait_for_earlier_bytes() {
        gst::init().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut store = Store::in_file(&path, u64::MAX, None).unwrap();
        let mut file = store.sync_file().unwrap().expect("it is a file");
        let on_disk = || std::fs::read(&path).unwrap();
        assert_eq!(store.begin_round().unwrap(), None, "nothing has come");
        write(&mut store, 0, b"0123456789");
        write(&mut store, 2, b"ab");
        let first = store.begin_round().unwrap().expect("something has come");
        file.sync().unwrap();
        assert_eq!(on_disk(), b"0123456789", "written out, not patched");
        write(&mut store, 4, b"cd");
        store.write_patches(first).unwrap();
        assert_eq!(on_disk(), b"01ab456789", "the patch before the round");
        // A patch written meanwhile has to be synchronised as well, but only once.
        let second = store.begin_round().unwrap().expect("it was patched");
        store.write_patches(second).unwrap();
        assert_eq!(on_disk(), b"01abcd6789");
        let third = store.begin_round().unwrap().expect("it was patched");
        store.write_patches(third).unwrap();
        assert_eq!(store.begin_round().unwrap(), None);
    }

    #[test]
    fn blobs_have_patches_that_are_not_in_the_file_yet() {
        gst::init().unwrap();
        let folder = tempfile::tempdir().unwrap();
        for max_memory in [0, u64::MAX] {
            let path = folder.path().join("file");
            let in_folder = Some(folder.path().into());
            let mut store = Store::in_file(&path, max_memory, in_folder).unwrap();
            store.sync_file().unwrap();
            write(&mut store, 0, b"0123456789");
            write(&mut store, 2, b"ab");
            let early = store.take(false).unwrap();
            write(&mut store, 3, b"!");
            write(&mut store, 10, b"xyz");
            let late = store.take(false).unwrap();
            write(&mut store, 11, b"?");
            assert_eq!(std::fs::read(&path).unwrap(), b"0123456789xyz");
            let waiting = store.begin_round().unwrap().unwrap();
            store.write_patches(waiting).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), b"01a!456789x?z");
            let bytes = |blob: crate::output::BlobBytes| {
                let (buffer, error) = blob.into_buffer();
                assert!(error.is_none());
                buffer.map_readable().unwrap().to_vec()
            };
            assert_eq!(bytes(early), b"01ab456789");
            assert_eq!(bytes(late), b"xyz");
        }
    }

    #[test]
    fn only_a_file_is_synchronised() {
        gst::init().unwrap();
        assert!(
            Store::in_memory(0, None).sync_file().unwrap().is_none(),
            "blobs are others' to keep"
        );
        let mut device = Store::in_file("/dev/null", 0, None).unwrap();
        assert!(device.sync_file().unwrap().is_none());
    }
}
