//! How a recording's bytes end: what is a fragmented MP4 while it grows becomes an ordinary one.

use super::Writer;
use crate::{
    formats::{Ending, Ordinary},
    output::Audience,
};
use std::io;

impl Writer {
    /// Completes the bytes when the last media has been written, or as much of it as there will be. Nothing can be
    /// written any more. Why they stay as they were, if they could have been made an ordinary file: they are whole
    /// all the same.
    ///
    /// # Errors
    /// When what has come cannot be written.
    pub fn finalise(&mut self, ending: Ending) -> io::Result<Option<io::Error>> {
        if self.complete || self.is_over() {
            return Ok(None);
        }
        self.complete = true;
        let finalised = self.finalise_now(ending);
        self.tell();
        self.progress.note_failure(finalised)
    }

    fn finalise_now(&mut self, ending: Ending) -> io::Result<Option<io::Error>> {
        let written = self.release().and_then(|()| self.store.flush());
        match (written, self.store.has_failed()) {
            (Ok(()), false) => self.make_ordinary(ending),
            (written, _) => {
                // Readers may refuse a file that ends inside the head of a fragment.
                let whole = ending.whole_until(self.store.stored());
                let cut = match whole {
                    0 => Ok(()),
                    whole => self.store.cut_off(whole),
                };
                written.and(cut).map(|()| None)
            }
        }
    }

    fn make_ordinary(&mut self, mut ending: Ending) -> io::Result<Option<io::Error>> {
        let Some(head) = ending.head() else {
            return Ok(None);
        };
        // Else it has gone out, and the blobs stay fragments.
        let head_is_here = head >= self.store.taken();
        let index = ending.take_index();
        if !head_is_here && let Some(index) = &index {
            self.put(self.store.len(), index.clone())?;
        }
        let end = self.store.len();
        let Some(ordinary) = ending.ordinary(end) else {
            if head_is_here && let Some(index) = index {
                self.put(end, index)?;
            }
            return Ok(None);
        };
        if let Some((src, number)) = &self.src {
            if head_is_here && let Some(index) = &index {
                src.write_for(*number, Audience::Streaming);
                src.write(*number, end, index.clone());
            }
            src.write_for(*number, Audience::Seekable);
            src.write(*number, end, ordinary.appended.clone());
            for (at, bytes) in ordinary.patches.clone() {
                src.write(*number, at, bytes);
            }
        }
        match self.store_ordinary(ordinary, head_is_here)? {
            None => Ok(None),
            Some(reason) => {
                if head_is_here && let Some(index) = index {
                    // Of use, and not missed.
                    let _ = self.store.append_whole(index, false);
                }
                Ok(Some(reason))
            }
        }
    }

    /// First what is appended, as a whole: until the last patch the file is still the fragmented one.
    fn store_ordinary(
        &mut self,
        ordinary: Ordinary,
        head_is_here: bool,
    ) -> io::Result<Option<io::Error>> {
        if !head_is_here && !self.store.is_in_file() {
            return Ok(None);
        }
        if let Err(reason) = self.store.append_whole(ordinary.appended, !head_is_here) {
            return Ok(Some(reason));
        }
        for (at, bytes) in ordinary.patches {
            self.store.write(at, bytes)?;
        }
        Ok(None)
    }
}
