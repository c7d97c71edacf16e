//! Marks become chapters in the bytes that are there already.

use super::{DISK_PATIENCE, Supervisor};
use crate::model::Error;
use std::io;

impl Supervisor {
    /// Writes the marks that have a place by now, once the head is there.
    pub(super) fn write_chapters(&mut self) {
        let session = &self.session;
        session.place_marks(false);
        let Some(pipeline) = &self.pipeline else {
            return;
        };
        let Some((chapters, end)) = session.chapters_beyond(&self.part, self.chapters_written)
        else {
            return;
        };
        let written = session.with_writer_within(&self.part, DISK_PATIENCE, |writer, _| {
            pipeline.with_patch(|patch| {
                let Some(reserve) = patch.reserve() else {
                    // Not yet, or they go to the end.
                    return Ok::<_, io::Error>(None);
                };
                if !writer.has_written(reserve.end) {
                    return Ok(None);
                }
                let rewrite = patch.rewrite_chapters(&chapters, end);
                let all = rewrite.kept == chapters.len() || patch.appends_chapters();
                let stays = writer.can_change(reserve.start);
                writer.patch(rewrite.patches)?;
                Ok(Some(all && stays))
            })
        });
        match written {
            Some(Ok(Some(all))) => {
                self.chapters_written = chapters.len();
                if !all {
                    session.warn_of_lost_chapters();
                }
            }
            // The disk is slow, or the head is not there yet.
            None | Some(Ok(None)) => {}
            Some(Err(err)) => session.fail_part(
                &self.part,
                Error::unknown(format!(
                    "The chapters of the recording cannot be written: {err}"
                )),
            ),
        }
    }
}
