//! Feeds a recording's track from a ring, in a separate thread that may block on either.

use super::{
    Keeping, KeptTrack,
    ring::{Cursor, Found, Item},
};
use crate::session::{Flow, Session, lock, panicked};
use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError},
    thread,
    time::Duration,
};

/// Interval at which an idle feeder checks whether the recording has ended.
const LOOK: Duration = Duration::from_millis(200);

/// Spawns a thread that feeds items of `track` from `cursor` on to the recording with this reader number.
///
/// # Errors
/// If the thread cannot be spawned.
pub fn spawn(
    keeping: Arc<Keeping>,
    track: Arc<KeptTrack>,
    reader: u64,
    cursor: Cursor,
) -> io::Result<()> {
    thread::Builder::new()
        .name("mediarecorder-past".into())
        .spawn(move || {
            if let Some((session, index)) = track.reader(reader) {
                let feed = AssertUnwindSafe(|| {
                    Feeder {
                        keeping: &keeping,
                        track: &track,
                        reader,
                        session: &session,
                        index,
                    }
                    .run(cursor);
                });
                if let Err(panic) = catch_unwind(feed) {
                    session.fail(panicked(&*panic));
                }
            }
            track.leave(reader);
        })
        .map(|_| ())
}

struct Feeder<'a> {
    keeping: &'a Keeping,
    track: &'a KeptTrack,
    reader: u64,
    session: &'a Session,
    /// Index of its track there.
    index: usize,
}

impl Feeder<'_> {
    fn run(&self, mut cursor: Cursor) {
        while let Some(found) = self.next(&mut cursor) {
            crate::fault::place("past");
            match found {
                Found::Item(item) => {
                    if self.give(item) == Flow::Done {
                        return;
                    }
                }
                Found::File(extent) => {
                    let read = extent.read();
                    if let Err(err) = &read {
                        (self.keeping.warn)(format!(
                            "The temporary file of the pre-record buffer cannot be read: {err}; part of it is \
                             missing from this recording."
                        ));
                    }
                    cursor.load(read.unwrap_or_default());
                }
                Found::Nothing => {
                    self.session.end_track(self.index);
                    return;
                }
            }
        }
    }

    /// Waits for the next item, [`Found::Nothing`] at the end; `None` if the recording no longer needs it.
    fn next(&self, cursor: &mut Cursor) -> Option<Found> {
        let mut rings = lock(&self.keeping.rings);
        loop {
            let shelf = rings.shelf(self.track.number())?;
            let found = cursor.next(&shelf.ring);
            if !matches!(found, Found::Nothing) || shelf.ended {
                rings.reads_from(self.track.number(), self.reader, cursor.position());
                return Some(found);
            }
            drop(rings);
            if self.session.is_over() || self.session.is_track_closed(self.index) {
                return None;
            }
            rings = lock(&self.keeping.rings);
            // An item may have arrived meanwhile.
            let shelf = rings.shelf(self.track.number())?;
            if cursor.position() != shelf.ring.place() || shelf.ended {
                continue;
            }
            let waited = self.keeping.news.wait_timeout(rings, LOOK);
            rings = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn give(&self, item: Item) -> Flow {
        let (session, track) = (self.session, self.index);
        match item {
            Item::Media(input) => return session.push_kept(track, input),
            Item::Caps(caps) => session.set_caps(track, &caps),
            Item::Tags(tags) => session.set_tags(track, &tags),
            Item::Header(header) => session.replay(track, header),
            Item::Lost => session.lose(track),
            Item::Gap(end) => session.gap(track, end),
        }
        Flow::More
    }
}
