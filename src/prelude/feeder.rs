//! From a ring to a recording's track, in a thread of its own: it waits for both.

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

/// How often it looks whether the recording is over, while nothing comes.
const LOOK: Duration = Duration::from_millis(200);

/// Begins to feed what `cursor` finds of `track` to the recording that reads it with this number.
///
/// # Errors
/// When there is no thread.
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
    /// Its track there.
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
                            "The temporary file with the past cannot be read: {err}; some of it is missing in this \
                             recording."
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

    /// What comes next, [`Found::Nothing`] at the end; `None` if nobody wants it any more.
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
            // It may have come meanwhile.
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
