//! How a recording's bytes end, in steps. Where the file is synchronised, each is on the disk before the next begins: so any
//! crash leaves a file that plays. What is a fragmented MP4 while it grows becomes an ordinary one, and chapters for which
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

/// What is left to be done with the bytes, once all media is written.
#[derive(Debug, Default)]
pub(super) struct Steps {
    ending: Ending,
    /// What puts in force what has been appended.
    switch: Vec<(u64, gst::Buffer)>,
}

impl Writer {
    /// The first step: the last media has been written, or as much of it as there will be. Nothing can be written any
    /// more. FALSE where somebody has been here before.
    ///
    /// # Errors
    /// When what has come cannot be written: then there is nothing to complete.
    pub fn end_media(&mut self, ending: Ending) -> io::Result<bool> {
        if self.complete || self.is_over() {
            return Ok(false);
        }
        self.complete = true;
        let written = self.release().and_then(|()| self.store.flush());
        let ended = match (written, self.store.has_failed()) {
            (Ok(()), false) => {
                self.steps.ending = ending;
                Ok(true)
            }
            (written, _) => {
                // Readers may refuse a file that ends inside the head of a fragment.
                let whole = ending.whole_until(self.store.stored());
                let cut = match whole {
                    0 => Ok(()),
                    whole => self.store.cut_off(whole),
                };
                written.and(cut).map(|()| false)
            }
        };
        self.tell();
        self.progress.note_failure(ended)
    }

    /// The second: duration and index, and what is appended to complete the bytes. What they lack then, and why, if they
    /// could have been completed: they play all the same. `safe`: the media is on the disk, where that was asked for.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn complete(&mut self, safe: bool) -> io::Result<Option<Incomplete>> {
        if self.is_over() {
            return Ok(None);
        }
        let ending = std::mem::take(&mut self.steps.ending);
        let purpose = ending.purpose();
        let completed = self.complete_now(ending, safe);
        self.tell();
        let failed = self.progress.note_failure(completed)?;
        Ok(failed.map(|reason| Incomplete { purpose, reason }))
    }

    /// The last: what has been appended is put in force, if it is on the disk where that was asked for (`safe`). FALSE
    /// where there is nothing to do.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn switch(&mut self, safe: bool) -> io::Result<bool> {
        let switch = std::mem::take(&mut self.steps.switch);
        if self.is_over() || !safe || switch.is_empty() {
            return Ok(false);
        }
        let mut patches = switch.into_iter();
        let written = patches.try_for_each(|(at, bytes)| self.store.write(at, bytes));
        let written = written.and_then(|()| self.store.write_patches(usize::MAX));
        self.progress.note_failure(written.map(|()| true))
    }

    fn complete_now(&mut self, mut ending: Ending, safe: bool) -> io::Result<Option<io::Error>> {
        for (at, bytes) in ending.take_patches() {
            self.put(at, bytes)?;
        }
        self.store.write_patches(usize::MAX)?;
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
        let failed = match safe {
            true => self.append_completion(completion, head_is_here),
            false => Some(io::ErrorKind::TimedOut.into()),
        };
        if failed.is_some()
            && head_is_here
            && let Some(index) = index
        {
            // Of use, and not missed.
            let _ = self.store.append_whole(index, false);
        }
        Ok(failed.filter(|_| safe))
    }

    /// What is appended, as a whole: until the switch the file is what it was. Why it is not there.
    fn append_completion(
        &mut self,
        completion: Completion,
        head_is_here: bool,
    ) -> Option<io::Error> {
        if !head_is_here && !self.store.is_in_file() {
            return None;
        }
        let appended = self.store.append_whole(completion.appended, !head_is_here);
        if appended.is_ok() {
            self.steps.switch = completion.patches;
        }
        appended.err()
    }
}
