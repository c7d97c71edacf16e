//! Writes marks as chapters into bytes that have already been written.

use super::{DISK_PATIENCE, Supervisor};
use crate::{
    formats::Patch,
    model::Error,
    session::{
        aside::{Job, Progress},
        writer::Writer,
    },
};
use std::io;

/// What has become of chapters.
#[derive(Debug)]
pub struct WrittenChapters {
    /// How many there were.
    count: usize,
    /// Whether all of them are in the file. `None`: the header has not been written yet, or the disk is slow.
    all: Option<io::Result<Option<bool>>>,
}

impl Supervisor {
    /// Writes the marks whose position is known, once the header has been written. The disk may hang, so that is done
    /// in another thread.
    pub(super) fn write_chapters(&mut self) {
        self.session.place_marks(false);
        let job = match self.writing_chapters.take() {
            Some(job) => job,
            None => match self.begin_chapters() {
                Some(job) => job,
                None => return,
            },
        };
        let written = match job.wait(DISK_PATIENCE) {
            Progress::Done(written) => written,
            Progress::Running => {
                self.writing_chapters = Some(job);
                return;
            }
            Progress::Failed => WrittenChapters {
                count: 0,
                all: Some(Err(io::Error::other("its thread has failed"))),
            },
        };
        match written.all {
            Some(Ok(Some(all))) => {
                self.chapters_written = written.count;
                if !all {
                    self.session.warn_of_lost_chapters();
                }
            }
            None | Some(Ok(None)) => {}
            Some(Err(err)) => self.session.fail_part(
                &self.part,
                Error::unknown(format!(
                    "The chapters of the recording cannot be written: {err}"
                )),
            ),
        }
    }

    /// Begins to write the chapters, if there are new ones.
    fn begin_chapters(&self) -> Option<Job<WrittenChapters>> {
        let out = self.pipeline.as_ref()?.out().clone();
        let (chapters, end) = self
            .session
            .chapters_beyond(&self.part, self.chapters_written)?;
        let (session, part) = (self.session.clone(), self.part.clone());
        let count = chapters.len();
        let write = move |patch: &mut Patch, writer: &mut Writer| {
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
        Some(Job::start(move || {
            // A muxer that rewrites its header includes the chapters so far: it must not do so meanwhile.
            let all = out.between_writes(DISK_PATIENCE, || {
                session.with_writer_within(&part, DISK_PATIENCE, |writer, _| {
                    out.with_patch(|patch| write(patch, writer))
                })
            });
            WrittenChapters {
                count,
                all: all.flatten(),
            }
        }))
    }
}
