//! Finalises a recording in steps. If the file is synchronised, each step is on the disk before the next one begins,
//! so that a crash at any point leaves a playable file. A fragmented MP4 becomes a regular one, and chapters that do
//! not fit into the header are appended.

use super::Writer;
use crate::{
    formats::{Completion, Ending},
    output::Audience,
};
use std::io;

/// What an otherwise complete file lacks, and why.
#[derive(Debug)]
pub struct Incomplete {
    pub purpose: &'static str,
    pub reason: io::Error,
}

/// The remaining steps, once all media has been written.
#[derive(Debug, Default)]
pub(super) struct Steps {
    ending: Ending,
    /// Patches that activate what has been appended.
    switch: Vec<(u64, gst::Buffer)>,
}

impl Writer {
    /// First step: the last media has been written; nothing more is accepted. FALSE if this was done before.
    ///
    /// # Errors
    /// If what has arrived cannot be written. Then there is nothing to complete.
    pub fn end_media(&mut self, ending: Ending) -> io::Result<bool> {
        if self.complete || self.is_over() {
            return Ok(false);
        }
        self.complete = true;
        let written = self.store.flush();
        let ended = match (written, self.store.has_failed()) {
            (Ok(()), false) => {
                self.steps.ending = ending;
                Ok(true)
            }
            (written, _) => {
                // Some readers refuse a file that ends inside the header of a fragment.
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

    /// Second step: writes duration and index, and appends what completes the file. Returns what the file lacks, and
    /// why, if completing it failed; it is playable all the same. `safe`: the media is on the disk, if that was
    /// requested.
    ///
    /// # Errors
    /// If it cannot be written.
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

    /// Last step: activates what has been appended, if that is on the disk or did not have to be (`safe`). FALSE if
    /// there is nothing to do.
    ///
    /// # Errors
    /// If it cannot be written.
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
        // Otherwise it has been handed out, and the blobs stay fragmented.
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
        let failed = if safe {
            self.append_completion(completion, head_is_here)
        } else {
            Some(io::ErrorKind::TimedOut.into())
        };
        if failed.is_some()
            && head_is_here
            && let Some(index) = index
        {
            // The index is useful, but the file plays without it.
            let _ = self.store.append_whole(index, false);
        }
        Ok(failed.filter(|_| safe))
    }

    /// Appends the completion as a whole: until the switch, the file is unchanged. Returns the error if that failed.
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
