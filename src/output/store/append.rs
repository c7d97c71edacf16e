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
