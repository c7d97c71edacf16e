//! Writes marks as chapters into bytes that have already been written.

use super::{DISK_PATIENCE, Supervisor};
use crate::{formats::Patch, model::Error, session::writer::Writer};
use std::io;

impl Supervisor {
    /// Writes the marks whose position is known, once the header has been written.
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
        let write = |patch: &mut Patch, writer: &mut Writer| {
            let Some(reserve) = patch.reserve() else {
                // Either it is too early, or chapters go to the end of the file.
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
        };
        // A muxer that rewrites its header includes the chapters so far: it must not do so meanwhile.
        let written = pipeline.between_writes(DISK_PATIENCE, || {
            session.with_writer_within(&self.part, DISK_PATIENCE, |writer, _| {
                pipeline.with_patch(|patch| write(patch, writer))
            })
        });
        match written.flatten() {
            Some(Ok(Some(all))) => {
                self.chapters_written = chapters.len();
                if !all {
                    session.warn_of_lost_chapters();
                }
            }
            // The disk is slow, or the header has not been written yet.
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
