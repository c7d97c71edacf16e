//! How a recording's bytes end: what is a fragmented MP4 while it grows becomes an ordinary one, and chapters for which
//! the head has no room go to the end.

use super::Writer;
use crate::{
    formats::{Completion, Ending},
    output::Audience,
};
use std::io;

/// What a file lacks that is whole otherwise, and why.
#[derive(Debug)]
pub struct Incomplete {
    pub purpose: &'static str,
    pub reason: io::Error,
}

impl Writer {
    /// Completes the bytes when the last media has been written, or as much of it as there will be. Nothing can be
    /// written any more. What they lack then, and why, if they could have been completed: they play all the same.
    ///
    /// # Errors
    /// When what has come cannot be written.
    pub fn finalise(&mut self, ending: Ending) -> io::Result<Option<Incomplete>> {
        if self.complete || self.is_over() {
            return Ok(None);
        }
        self.complete = true;
        let finalised = self.finalise_now(ending);
        self.tell();
        self.progress.note_failure(finalised)
    }

    fn finalise_now(&mut self, mut ending: Ending) -> io::Result<Option<Incomplete>> {
        let written = self.release().and_then(|()| self.store.flush());
        match (written, self.store.has_failed()) {
            (Ok(()), false) => {
                for (at, bytes) in ending.take_patches() {
                    self.put(at, bytes)?;
                }
                let purpose = ending.purpose();
                let failed = self.complete(ending)?;
                Ok(failed.map(|reason| Incomplete { purpose, reason }))
            }
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

    fn complete(&mut self, mut ending: Ending) -> io::Result<Option<io::Error>> {
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
        let Some(completion) = ending.complete(end) else {
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
            src.write(*number, end, completion.appended.clone());
            for (at, bytes) in completion.patches.clone() {
                src.write(*number, at, bytes);
            }
        }
        match self.store_completion(completion, head_is_here)? {
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

    /// First what is appended, as a whole: until the patches the file is what it was.
    fn store_completion(
        &mut self,
        completion: Completion,
        head_is_here: bool,
    ) -> io::Result<Option<io::Error>> {
        if !head_is_here && !self.store.is_in_file() {
            return Ok(None);
        }
        if let Err(reason) = self.store.append_whole(completion.appended, !head_is_here) {
            return Ok(Some(reason));
        }
        for (at, bytes) in completion.patches {
            self.store.write(at, bytes)?;
        }
        Ok(None)
    }
}
