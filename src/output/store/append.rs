//! What comes behind a recording's last byte when it is made whole: all of it, or nothing.

use super::{Backing, Store, spilling, writing};
use std::io;

impl Store {
    /// Whether everything is in a file at `location`, so that bytes can be changed that have gone out in blobs.
    pub fn is_in_file(&self) -> bool {
        matches!(self.backing, Backing::File { .. })
    }

    /// Whether a write has failed: nothing makes it longer any more.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Adds `buffer` at the end and writes it out. `aside`: it goes into the file only, and into no blob. A device does
    /// not get it, as it does not get patches.
    ///
    /// # Errors
    /// When there is no room for it: then there is nothing of it, and all that has come before is as it was.
    pub fn append_whole(&mut self, buffer: gst::Buffer, aside: bool) -> io::Result<()> {
        self.flush()?;
        if self.failed || self.finished {
            return Err(io::Error::other("nothing can be added to the recording"));
        }
        let before = self.len;
        let size = buffer.size() as u64;
        if aside {
            self.blobs_end.get_or_insert(before);
        }
        let temp_dir = self.temp_dir.as_deref();
        let added = match &mut self.backing {
            Backing::Memory { .. } | Backing::Spilled { .. } if aside => return Ok(()),
            // It is little beside the media: a file is not begun for it.
            Backing::Memory { pieces, .. } => pieces.append(buffer),
            Backing::Spilled { disk, .. } => {
                let added = disk.append(buffer).and_then(|()| disk.flush());
                added.map_err(|err| spilling(temp_dir, err))
            }
            Backing::File { disk, path } => {
                let added = disk.append(buffer).and_then(|()| disk.flush());
                added.map_err(|err| writing(path, err))
            }
        };
        match added {
            Ok(()) => self.len += size,
            Err(_) => self.cut_off(before)?,
        }
        added
    }

    /// Leaves out what lies behind the first `length` bytes, unless a blob has it.
    ///
    /// # Errors
    /// When a file cannot be made shorter.
    pub fn cut_off(&mut self, length: u64) -> io::Result<()> {
        if length < self.taken {
            return Ok(());
        }
        match &mut self.backing {
            Backing::Memory { pieces, .. } => pieces.truncate(length),
            Backing::Spilled { disk, start, .. } => disk.truncate(length.saturating_sub(*start))?,
            Backing::File { disk, path } => {
                disk.truncate(length).map_err(|err| writing(path, err))?;
            }
        }
        self.len = self.len.min(length);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Tiny;
    use super::*;

    fn write(store: &mut Store, bytes: &[u8]) {
        let buffer = gst::Buffer::from_slice(bytes.to_vec());
        store.write(store.len(), buffer).unwrap();
    }

    fn take(store: &mut Store, last: bool) -> Vec<u8> {
        store.take(last).unwrap().map_readable().unwrap().to_vec()
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
    fn what_is_appended_is_part_of_the_last_blob() {
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
    fn what_is_aside_is_the_files_alone() {
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
    fn what_is_cut_off_was_never_there() {
        let folder = tempfile::tempdir().unwrap();
        for mut store in stores(folder.path()) {
            write(&mut store, &[7; 60]);
            write(&mut store, &[8; 40]);
            store.cut_off(70).unwrap();
            assert_eq!(store.len(), 70);
            store.append_whole(end(), false).unwrap();
            assert_eq!(
                take(&mut store, false),
                [&[7; 60], &[8; 10][..], b"end"].concat()
            );
            // A blob has it.
            store.cut_off(20).unwrap();
            assert_eq!(store.len(), 73);
        }
        assert_eq!(
            std::fs::metadata(folder.path().join("file")).unwrap().len(),
            73
        );
    }

    #[test]
    fn without_room_there_is_nothing_of_it() {
        gst::init().unwrap();
        let Some(tiny) = Tiny::new() else {
            return;
        };
        let folder = tiny.0.path();
        let path = folder.join("file");
        let in_file = Store::in_file(&path, 0, Some(folder.into())).unwrap();
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
