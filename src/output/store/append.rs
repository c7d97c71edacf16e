//! Appends bytes to a recording when it is finalised: all of them, or none.

use super::{Backing, Store, spilling, writing};
use std::io;

impl Store {
    /// Whether everything is in a file at `location`, so that bytes already output in blobs can be changed.
    pub fn is_in_file(&self) -> bool {
        matches!(self.backing, Backing::File { .. })
    }

    /// Whether a write has failed: the recording cannot be finalised any more.
    pub fn has_failed(&self) -> bool {
        self.grows_until.is_some()
    }

    /// Bytes stored permanently: for a file, those written to it.
    pub fn stored(&self) -> u64 {
        match &self.backing {
            Backing::File(file) => file.disk.written(),
            Backing::Memory { .. } | Backing::Spilled { .. } => self.len,
        }
    }

    /// Appends `buffer` and writes it out. `aside`: only to the file, not to a blob. A device does not get it, as with
    /// patches.
    ///
    /// # Errors
    /// If there is no space: then nothing of it is stored, and the earlier bytes are unchanged.
    pub fn append_whole(&mut self, buffer: gst::Buffer, aside: bool) -> io::Result<()> {
        self.flush()?;
        if self.has_failed() || self.finished {
            return Err(io::Error::other("the recording cannot be appended to"));
        }
        let size = buffer.size() as u64;
        let temp_dir = self.temp_dir.as_deref();
        match &mut self.backing {
            Backing::Memory { .. } | Backing::Spilled { .. } if aside => return Ok(()),
            // Small compared with the media: not worth a spill file.
            Backing::Memory { pieces, .. } => pieces.append(buffer)?,
            Backing::Spilled { disk, .. } => {
                let added = disk.append_whole(&buffer);
                added.map_err(|err| spilling(temp_dir, err))?;
            }
            Backing::File(file) => {
                file.grow(size)?;
                let added = file.disk.append_whole(&buffer);
                added.map_err(|err| writing(&file.path, err))?;
            }
        }
        if aside {
            self.blobs_end.get_or_insert(self.len);
        }
        self.len += size;
        Ok(())
    }

    /// Truncates the file at `location` to `length` bytes, unless a blob extends beyond that. The last blob still gets
    /// the rest.
    ///
    /// # Errors
    /// If the file cannot be truncated.
    pub fn cut_off(&mut self, length: u64) -> io::Result<()> {
        match &mut self.backing {
            Backing::File(file) if length >= self.taken => {
                let cut = file.disk.take_back(length);
                cut.map_err(|err| writing(&file.path, err))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Tiny, taken};
    use super::*;

    fn write(store: &mut Store, bytes: &[u8]) {
        let buffer = gst::Buffer::from_slice(bytes.to_vec());
        store.write(store.len(), buffer).unwrap();
    }

    fn take(store: &mut Store, last: bool) -> Vec<u8> {
        let blob = taken(store, last);
        blob.map_readable().unwrap().to_vec()
    }

    fn end() -> gst::Buffer {
        gst::Buffer::from_slice(b"end".to_vec())
    }

    /// In memory, in a temporary file, in a file.
    fn stores(folder: &std::path::Path) -> [Store; 3] {
        gst::init().unwrap();
        [
            Store::in_memory(u64::MAX, None),
            Store::in_memory(10, Some(folder.into())),
            Store::in_file(folder.join("file"), 0, Some(folder.into())).unwrap(),
        ]
    }

    #[test]
    fn appended_bytes_are_in_the_last_blob() {
        let folder = tempfile::tempdir().unwrap();
        for mut store in stores(folder.path()) {
            write(&mut store, &[7; 100]);
            store.append_whole(end(), false).unwrap();
            assert_eq!(store.len(), 103);
            store.write(0, gst::Buffer::from_slice(b"head")).unwrap();
            let blob = take(&mut store, true);
            assert_eq!((&blob[..4], &blob[100..]), (&b"head"[..], &b"end"[..]));
        }
        let file = std::fs::read(folder.path().join("file")).unwrap();
        assert_eq!(&file[100..], b"end");
    }

    #[test]
    fn bytes_set_aside_are_only_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        for mut store in stores(folder.path()) {
            let in_file = store.is_in_file();
            write(&mut store, &[7; 60]);
            assert_eq!(take(&mut store, false), [7; 60]);
            write(&mut store, &[8; 40]);
            store.append_whole(end(), true).unwrap();
            assert_eq!(store.len(), if in_file { 103 } else { 100 });
            assert_eq!(take(&mut store, true), [8; 40]);
        }
        let file = std::fs::read(folder.path().join("file")).unwrap();
        assert_eq!((file.len(), &file[100..]), (103, &b"end"[..]));
    }

    #[test]
    fn truncated_bytes_are_only_in_the_last_blob() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for mut store in stores(folder.path()) {
            write(&mut store, &[7; 60]);
            assert_eq!(take(&mut store, false), [7; 60]);
            write(&mut store, &[8; 40]);
            store.flush().unwrap();
            // Already in a blob.
            store.cut_off(20).unwrap();
            assert_eq!(store.stored(), 100);
            store.cut_off(70).unwrap();
            assert_eq!(store.stored(), if store.is_in_file() { 70 } else { 100 });
            assert_eq!(store.len(), 100);
            assert_eq!(take(&mut store, true), [8; 40]);
        }
        assert_eq!(std::fs::metadata(path).unwrap().len(), 70);
    }

    #[test]
    fn nothing_is_written_without_space() {
        gst::init().unwrap();
        let Some(tiny) = Tiny::new() else {
            return;
        };
        let folder = tiny.0.path();
        let path = folder.join("file");
        let in_file = Store::in_file(&path, 1 << 20, None).unwrap();
        let spilled = Store::in_memory(10, Some(folder.into()));
        for mut store in [in_file, spilled] {
            write(&mut store, &vec![7; 600_000]);
            let much = gst::Buffer::from_slice(vec![9; 600_000]);
            let err = store.append_whole(much, false).unwrap_err();
            assert_eq!(err.kind(), io::ErrorKind::StorageFull);
            assert!(!store.has_failed());
            assert_eq!(store.len(), 600_000);
            if store.is_in_file() {
                assert_eq!(std::fs::metadata(&path).unwrap().len(), 600_000);
            }
            store.append_whole(end(), false).unwrap();
            let blob = take(&mut store, true);
            assert_eq!((blob.len(), &blob[600_000..]), (600_003, &b"end"[..]));
            drop(store);
            let _ = std::fs::remove_file(&path);
        }
    }
}
