//! Writes marks as chapters into bytes that have already been written.

use super::{DISK_PATIENCE, Supervisor};
use crate::{model::Error, session::aside::Job};
use std::io;

/// What has become of chapters.
#[derive(Debug)]
pub struct WrittenChapters {
    /// How many there were.
    count: usize,
    /// Whether all of them are in the file. `None`: the header has not been written yet, or the disk is slow.
    all: io::Result<Option<bool>>,
}

impl Supervisor {
    /// Writes the marks whose position is known, once the header has been written. The disk may hang, so that is done
    /// in another thread.
    pub(super) fn write_chapters(&mut self) {
        self.session.place_marks(false);
        let job = self.writing_chapters.take();
        let Some(job) = job.or_else(|| self.begin_chapters()) else {
            return;
        };
        let Some(written) = job.finish_within(DISK_PATIENCE, &mut self.writing_chapters) else {
            return;
        };
        match written.all {
            Ok(Some(all)) => {
                self.chapters_written = written.count;
                if !all {
                    self.session.warn_of_lost_chapters();
                }
            }
            Ok(None) => {}
            Err(err) => self.session.fail_disk(
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
        // Either it is too early, or chapters go to the end of the file.
        out.with_patch(|patch| patch.reserve())?;
        let (session, part) = (self.session.clone(), self.part.clone());
        let count = chapters.len();
        Some(Job::start(move || {
            // A muxer that rewrites its header includes the chapters so far: it must not do so meanwhile.
            let all = out.between_writes(DISK_PATIENCE, || {
                session.with_writer_within(&part, DISK_PATIENCE, |writer, _| {
                    let Some((rewrite, at, appends)) = out.with_patch(|patch| {
                        let reserve = patch.reserve()?;
                        writer.has_written(reserve.end).then(|| {
                            let rewrite = patch.rewrite_chapters(&chapters, end);
                            (rewrite, reserve.start, patch.appends_chapters())
                        })
                    }) else {
                        return Ok(None);
                    };
                    let all = rewrite.kept == count || appends;
                    let stays = writer.can_change(at);
                    writer.patch(rewrite.patches)?;
                    Ok(Some(all && stays))
                })
            });
            WrittenChapters {
                count,
                all: all.flatten().unwrap_or(Ok(None)),
            }
        }))
    }
}
