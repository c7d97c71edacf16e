//! The rings of all tracks, discarded together: each keeps what a recording would begin with.

use super::{
    ring::{Cursor, Item, Position, Ring},
    spill::{Extent, SpillFile},
    start::{self, Kept},
};
use crate::model::timeline::Ns;
use smallvec::SmallVec;
use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

/// How far a slow disk may be behind, in bytes, before the oldest media is discarded instead.
const DISK_BEHIND: u64 = 16 << 20;

/// The ring of one track, and its readers.
#[derive(Debug, Default)]
pub struct Shelf {
    pub ring: Ring,
    /// Whether a recording has to begin at one of its keyframes.
    pub keyed: bool,
    /// The track has ended.
    pub ended: bool,
    /// Running time before which nothing counts as kept.
    since: Ns,
    /// Its pad has been removed.
    removed: bool,
    /// Readers and their positions.
    readers: Vec<(u64, Position)>,
}

impl Shelf {
    /// Running time at which what is kept begins.
    fn begin(&self) -> Option<Ns> {
        Some(self.ring.begin()?.max(self.since))
    }
}

/// See the module.
#[derive(Debug)]
pub struct Rings {
    shelves: BTreeMap<u64, Shelf>,
    time: Ns,
    /// Recordings about to start reading.
    starting: usize,
    /// No more input, and no new readers.
    closed: bool,
    next_reader: u64,
    max_memory: u64,
    temp_dir: Option<PathBuf>,
    file: Option<Arc<SpillFile>>,
    /// The file cannot be written: no more than `max_memory` is kept.
    no_file: bool,
}

/// A chunk to be moved to the file.
#[derive(Debug)]
pub struct Spill {
    track: u64,
    chunk: u64,
    pub bytes: Arc<Vec<u8>>,
    pub file: Option<Arc<SpillFile>>,
    pub temp_dir: Option<PathBuf>,
}

impl Rings {
    /// Rings that keep this much time.
    pub fn new(time: Ns, max_memory: u64, temp_dir: Option<PathBuf>) -> Self {
        Rings {
            shelves: BTreeMap::new(),
            time,
            starting: 0,
            closed: false,
            next_reader: 0,
            max_memory,
            temp_dir,
            file: None,
            no_file: false,
        }
    }

    /// Adds a track.
    pub fn add(&mut self, track: u64, keyed: bool) {
        let shelf = Shelf {
            keyed,
            ..Shelf::default()
        };
        self.shelves.insert(track, shelf);
    }

    /// Removes a track; its readers continue.
    pub fn remove(&mut self, track: u64) {
        if let Some(shelf) = self.shelves.get_mut(&track) {
            shelf.removed = true;
        }
        self.drop_removed();
    }

    fn drop_removed(&mut self) {
        self.shelves
            .retain(|_, shelf| !shelf.removed || !shelf.readers.is_empty());
    }

    pub fn shelf(&self, track: u64) -> Option<&Shelf> {
        self.shelves.get(&track)
    }

    pub fn shelf_mut(&mut self, track: u64) -> Option<&mut Shelf> {
        self.shelves.get_mut(&track)
    }

    /// How much time is kept.
    pub fn time(&self) -> Ns {
        self.time
    }

    /// Sets how much time to keep.
    pub fn set_time(&mut self, time: Ns, now: Ns) {
        self.time = time;
        self.forget(now);
    }

    /// Appends an item to a track at running time `now`; see [`Ring::push`]. Returns whether the track has readers.
    pub fn push(&mut self, track: u64, item: Item, begins: Option<bool>, now: Ns) -> bool {
        let Some(shelf) = self.shelves.get_mut(&track) else {
            return false;
        };
        let before = shelf.ring.newest_point();
        let is_read = !shelf.readers.is_empty();
        if !is_read && shelf.ring.extend_gap(&item) {
            return false;
        }
        shelf.ring.push(item, begins);
        if shelf.ring.newest_point() != before {
            self.forget(now);
        }
        is_read
    }

    /// Discards what no recording started from `now` on would begin with.
    fn forget(&mut self, now: Ns) {
        let wanted = now.saturating_sub(self.time);
        let from = self.cut(wanted, &[]).unwrap_or(wanted).min(wanted);
        self.forget_before(from);
        // With a slow disk or no file, the memory limit applies.
        let most = if self.no_file {
            self.max_memory
        } else {
            self.max_memory.saturating_add(DISK_BEHIND)
        };
        while self.memory() > most {
            let largest = self
                .shelves
                .values()
                .max_by_key(|shelf| shelf.ring.memory());
            let Some(second) = largest.and_then(|shelf| shelf.ring.second_point()) else {
                break;
            };
            let before = self.memory();
            self.forget_before(second);
            if self.memory() == before {
                break;
            }
        }
    }

    fn forget_before(&mut self, from: Ns) {
        for shelf in self.shelves.values_mut() {
            let keep = shelf.readers.iter().map(|(_, at)| *at).min();
            shelf.ring.forget(from, keep);
        }
    }

    /// The actual start of a recording that is to begin at `wanted`. `entered`: by the numbers of tracks, the running time
    /// of the first frame that their encoder has been given, which counts while nothing has come out of it.
    pub fn cut(&self, wanted: Ns, entered: &[(u64, Ns)]) -> Option<Ns> {
        let shelves = self.shelves.iter().filter(|(_, shelf)| !shelf.removed);
        let kept = shelves.filter_map(|(number, shelf)| {
            let ring = &shelf.ring;
            if let Some(begin) = shelf.begin() {
                return Some(Kept {
                    keyed: shelf.keyed,
                    begin,
                    end: ring.end(),
                    point: ring.point(wanted)?,
                });
            }
            let mut entered = entered.iter().filter(|_| ring.end() == 0);
            let (_, first) = entered.find(|(of, _)| of == number)?;
            Some(Kept {
                keyed: true,
                begin: *first,
                end: Ns::MAX,
                point: *first,
            })
        });
        start::cut(&kept.collect::<SmallVec<[Kept; 4]>>(), wanted)
    }

    /// Adds a reader of a track from `cut` on.
    pub fn read(&mut self, track: u64, cut: Ns) -> Option<(u64, Cursor)> {
        let shelf = self.shelves.get_mut(&track)?;
        let cursor = shelf.ring.cursor(cut);
        let reader = self.next_reader;
        self.next_reader += 1;
        shelf.readers.push((reader, cursor.position()));
        Some((reader, cursor))
    }

    /// Updates a reader's position.
    pub fn reads_from(&mut self, track: u64, reader: u64, at: Position) {
        let shelf = self.shelves.get_mut(&track);
        let readers = shelf.map(|shelf| shelf.readers.iter_mut());
        let known = readers.and_then(|mut all| all.find(|(known, _)| *known == reader));
        if let Some(known) = known {
            known.1 = at;
        }
    }

    /// Removes a reader.
    pub fn close(&mut self, track: u64, reader: u64) {
        if let Some(shelf) = self.shelves.get_mut(&track) {
            shelf.readers.retain(|(known, _)| *known != reader);
        }
        self.drop_removed();
    }

    /// A recording is about to read; nothing is closed until [`Rings::started`]. FALSE if already closed.
    pub fn starting(&mut self) -> bool {
        self.starting += usize::from(!self.closed);
        !self.closed
    }

    /// The recording has started to read, or will not.
    pub fn started(&mut self) {
        self.starting = self.starting.saturating_sub(1);
    }

    /// Closes permanently unless there are current or starting readers; returns whether it has.
    pub fn close_unread(&mut self) -> bool {
        self.closed = self.starting == 0 && !self.is_read();
        self.closed
    }

    fn is_read(&self) -> bool {
        self.shelves.values().any(|shelf| !shelf.readers.is_empty())
    }

    /// Whether a reader of `track` is more than `most` bytes behind, while no reader of any track lacks data.
    pub fn is_behind(&self, track: u64, most: u64) -> bool {
        let unread = |shelf: &Shelf| {
            let ahead = shelf.readers.iter().map(|(_, at)| shelf.ring.ahead(at));
            (ahead.clone().min(), ahead.max())
        };
        let this = self.shelves.get(&track).and_then(|shelf| unread(shelf).1);
        this.is_some_and(|ahead| ahead > most)
            && self
                .shelves
                .values()
                .all(|shelf| shelf.ended || unread(shelf).0.is_none_or(|least| least > 0))
    }

    /// Whether the disk is behind with what exceeds the memory limit: non-live upstreams block, or the oldest media is
    /// discarded.
    pub fn is_disk_behind(&self) -> bool {
        let most = self.max_memory.saturating_add(DISK_BEHIND / 4);
        !self.no_file && self.memory() > most
    }

    /// Discards everything before the next frame of video, at running time `from`, unless there are current or starting
    /// readers; returns whether it has.
    pub fn clear_unread(&mut self, from: Ns) -> bool {
        let is_unread = self.starting == 0 && !self.is_read();
        if is_unread {
            for shelf in self.shelves.values_mut() {
                if shelf.keyed {
                    shelf.ring.clear();
                } else {
                    shelf.since = from;
                    shelf.ring.forget(from, None);
                }
            }
        }
        is_unread
    }

    /// Discards everything.
    pub fn clear(&mut self) {
        for shelf in self.shelves.values_mut() {
            shelf.ring.clear();
        }
    }

    fn memory(&self) -> u64 {
        self.shelves.values().map(|shelf| shelf.ring.memory()).sum()
    }

    /// Amount kept: time and bytes.
    pub fn figures(&self) -> (Ns, u64) {
        let kept = || self.shelves.values().map(|shelf| &shelf.ring);
        let begin = self.shelves.values().filter_map(Shelf::begin).min();
        let end = kept().map(Ring::end).max();
        let time = end
            .zip(begin)
            .map_or(0, |(end, begin)| end.saturating_sub(begin));
        (time, kept().map(Ring::bytes).sum())
    }

    /// The next chunk to spill, if the memory limit is exceeded.
    pub fn spill(&self) -> Option<Spill> {
        if self.no_file || self.memory() <= self.max_memory {
            return None;
        }
        let mut shelves: Vec<_> = self.shelves.iter().collect();
        shelves.sort_by_key(|(_, shelf)| std::cmp::Reverse(shelf.ring.memory()));
        shelves.into_iter().find_map(|(track, shelf)| {
            let (chunk, bytes) = shelf.ring.oldest_in_memory()?;
            Some(Spill {
                track: *track,
                chunk,
                bytes,
                file: self.file.clone(),
                temp_dir: self.temp_dir.clone(),
            })
        })
    }

    /// Marks a chunk as moved to the file.
    pub fn spilled(&mut self, spill: &Spill, file: Arc<SpillFile>, extent: Extent) {
        self.file = Some(file);
        if let Some(shelf) = self.shelves.get_mut(&spill.track) {
            shelf.ring.moved(spill.chunk, extent);
        }
    }

    /// Stops using the file: keeps no more than fits in memory.
    pub fn give_up_file(&mut self, now: Ns) {
        self.no_file = true;
        self.forget(now);
    }
}
