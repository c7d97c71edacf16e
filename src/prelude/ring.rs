//! The recent media of one track: a sequence of records, discarded from the front up to points where a recording can
//! begin.
//!
//! Records are stored in chunks of memory, of which older ones may be moved to a file. Each reader has a [`Cursor`],
//! which stays valid when items are appended, moved, or discarded before it.

use super::{record, spill::Extent};
use crate::{gate::Input, model::timeline::Ns};
use gst_audio::AudioInfo;
use std::{collections::VecDeque, sync::Arc};

/// Minimum size of a chunk, except for the last.
const CHUNK: usize = 256 << 10;
/// Distance in nanoseconds of the points where a recording can begin, if no keyframes are needed.
const POINTS: Ns = 250_000_000;

/// An item of a track.
#[derive(Debug, Clone)]
pub enum Item {
    Media(Input),
    /// Caps of the following media.
    Caps(gst::Caps),
    /// Upstream's tags.
    Tags(gst::TagList),
    /// A header buffer for the following media.
    Header(Input),
    /// Media is missing.
    Lost,
    /// No media before this running time.
    Gap(Ns),
}

/// State that applies to the following media.
#[derive(Debug, Clone, Default)]
struct Context {
    caps: Option<gst::Caps>,
    tags: Option<gst::TagList>,
    headers: Vec<Input>,
    /// Media has arrived after the headers.
    begun: bool,
}

impl Context {
    fn note(&mut self, item: &Item) {
        match item {
            Item::Caps(caps) => self.caps = Some(caps.clone()),
            Item::Tags(tags) => self.tags = Some(tags.clone()),
            Item::Header(header) => {
                // Headers in mid-stream start another stream.
                if std::mem::take(&mut self.begun) {
                    self.headers.clear();
                }
                self.headers.push(header.clone());
            }
            Item::Media(_) => self.begun = true,
            Item::Lost | Item::Gap(_) => {}
        }
    }

    fn items(&self) -> impl Iterator<Item = Item> + '_ {
        let caps = self.caps.iter().cloned().map(Item::Caps);
        let tags = self.tags.iter().cloned().map(Item::Tags);
        let headers = self.headers.iter().cloned().map(Item::Header);
        caps.chain(tags).chain(headers)
    }
}

/// Location of a chunk's records.
#[derive(Debug)]
enum Bytes {
    /// Still being appended to.
    Open(Vec<u8>),
    Memory(Arc<Vec<u8>>),
    File(Arc<Extent>),
}

#[derive(Debug)]
struct Chunk {
    bytes: Bytes,
    length: usize,
    /// State at its start.
    context: Context,
    /// Items before the record at this offset, in order.
    between: Vec<(usize, Item)>,
}

/// A position between two records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    chunk: u64,
    offset: usize,
    /// Number of non-record items in the chunk before it.
    between: usize,
}

/// A record at which a recording can begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Point {
    running: Ns,
    at: Position,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Ring {
    chunks: VecDeque<Chunk>,
    /// Number of the first chunk.
    first: u64,
    points: VecDeque<Point>,
    context: Context,
    /// Running time of the end of the media.
    end: Ns,
    /// Bytes of records in memory, and in a file.
    memory: u64,
    spilled: u64,
}

impl Ring {
    /// Appends an item. `begins`: whether a recording can begin with it; if unknown, points are set at intervals.
    pub fn push(&mut self, item: Item, begins: Option<bool>) {
        let Item::Media(input) = &item else {
            // Current readers find it before the first record.
            if self.chunks.is_empty() {
                self.open();
            }
            self.context.note(&item);
            let place = self.place().offset;
            if let Some(chunk) = self.chunks.back_mut() {
                chunk.between.push((place, item));
            }
            return;
        };
        if !matches!(self.chunks.back(), Some(chunk) if matches!(&chunk.bytes, Bytes::Open(bytes) if bytes.len() < CHUNK))
        {
            self.open();
        }
        let at = self.place();
        let Some(chunk) = self.chunks.back_mut() else {
            return;
        };
        let Bytes::Open(bytes) = &mut chunk.bytes else {
            return;
        };
        if record::write(input, bytes).is_none() {
            return;
        }
        self.memory += (bytes.len() - chunk.length) as u64;
        chunk.length = bytes.len();
        self.context.begun = true;
        let last = self.points.back().map(|point| point.running);
        let is_point = begins.unwrap_or_else(|| {
            last.is_none_or(|last| input.running.abs_diff(last) >= POINTS) || at.offset == 0
        });
        if is_point {
            let running = input.running;
            self.points.push_back(Point { running, at });
        }
        self.end = self.end.max(input.end());
    }

    /// If `item` is a gap right after another one, it takes the place of that. Call it only without readers. Returns
    /// whether it has.
    pub fn extend_gap(&mut self, item: &Item) -> bool {
        let Some(chunk) = self.chunks.back_mut() else {
            return false;
        };
        match (chunk.between.last_mut(), item) {
            (Some((place, Item::Gap(until))), Item::Gap(new)) if *place == chunk.length => {
                *until = *new;
                true
            }
            _ => false,
        }
    }

    /// The end position.
    pub fn place(&self) -> Position {
        let Some(chunk) = self.chunks.back() else {
            let chunk = self.first;
            return Position {
                chunk,
                ..Position::default()
            };
        };
        Position {
            chunk: self.first + self.chunks.len() as u64 - 1,
            offset: chunk.length,
            between: chunk.between.len(),
        }
    }

    fn open(&mut self) {
        self.seal();
        self.chunks.push_back(Chunk {
            bytes: Bytes::Open(Vec::new()),
            length: 0,
            context: self.context.clone(),
            between: Vec::new(),
        });
    }

    /// Closes the last chunk.
    fn seal(&mut self) {
        if let Some(chunk) = self.chunks.back_mut()
            && let Bytes::Open(bytes) = &mut chunk.bytes
        {
            let mut bytes = std::mem::take(bytes);
            bytes.shrink_to_fit();
            chunk.bytes = Bytes::Memory(Arc::new(bytes));
        }
    }

    /// Running time of the first record, if any.
    pub fn begin(&self) -> Option<Ns> {
        Some(self.points.front()?.running)
    }

    /// Running time of the end of the media.
    pub fn end(&self) -> Ns {
        self.end
    }

    /// Position of the newest point.
    pub fn newest_point(&self) -> Option<Position> {
        Some(self.points.back()?.at)
    }

    /// Running time of the newest point.
    pub fn newest(&self) -> Option<Ns> {
        Some(self.points.back()?.running)
    }

    /// Running time of the second point.
    pub fn second_point(&self) -> Option<Ns> {
        Some(self.points.get(1)?.running)
    }

    /// The last point at or before `running`, else the first after it.
    pub fn point(&self, running: Ns) -> Option<Ns> {
        Some(self.find(running)?.running)
    }

    fn find(&self, running: Ns) -> Option<&Point> {
        // Keyframe timestamps may go backwards.
        let before = self
            .points
            .iter()
            .rev()
            .find(|point| point.running <= running);
        before.or(self.points.front())
    }

    /// A cursor at the last point at or before `running`, else at the first after it, else at the end.
    pub fn cursor(&self, running: Ns) -> Cursor {
        let at = self.find(running).map_or(self.place(), |point| point.at);
        let mut due = VecDeque::new();
        match self.chunk(at.chunk) {
            Some(chunk) => {
                let mut context = chunk.context.clone();
                let passed = chunk.between.iter().take(at.between);
                passed.for_each(|(_, item)| context.note(item));
                due.extend(context.items());
            }
            None => due.extend(self.context.items()),
        }
        Cursor {
            at,
            due,
            loaded: None,
            info: None,
        }
    }

    fn chunk(&self, number: u64) -> Option<&Chunk> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.chunks.get(index)
    }

    /// Discards items before the last point at or before `running`, but none from `keep` on.
    pub fn forget(&mut self, running: Ns, keep: Option<Position>) {
        let Some(from) = self.find(running).map(|point| point.at) else {
            return;
        };
        let from = keep.map_or(from, |keep| keep.min(from));
        while self.points.front().is_some_and(|point| point.at < from) {
            self.points.pop_front();
        }
        while self.first < from.chunk
            && let Some(chunk) = self.chunks.pop_front()
        {
            self.first += 1;
            match chunk.bytes {
                Bytes::File(_) => self.spilled -= chunk.length as u64,
                Bytes::Open(_) | Bytes::Memory(_) => self.memory -= chunk.length as u64,
            }
        }
    }

    /// Discards all items, but not the state for the following ones.
    pub fn clear(&mut self) {
        let context = std::mem::take(&mut self.context);
        let first = self.first + self.chunks.len() as u64;
        *self = Ring {
            context,
            first,
            end: self.end,
            ..Ring::default()
        };
    }

    /// Bytes of records in memory.
    pub fn memory(&self) -> u64 {
        self.memory
    }

    /// Bytes of records, in memory or in a file.
    pub fn bytes(&self) -> u64 {
        self.memory + self.spilled
    }

    /// Unread bytes of records after a cursor.
    pub fn ahead(&self, cursor: &Position) -> u64 {
        let index = cursor.chunk.saturating_sub(self.first);
        let chunks = self
            .chunks
            .iter()
            .skip(usize::try_from(index).unwrap_or(usize::MAX));
        let all: usize = chunks.map(|chunk| chunk.length).sum();
        all.saturating_sub(cursor.offset) as u64
    }

    /// The oldest closed chunk in memory.
    pub fn oldest_in_memory(&self) -> Option<(u64, Arc<Vec<u8>>)> {
        let index = self
            .chunks
            .iter()
            .position(|chunk| matches!(chunk.bytes, Bytes::Memory(_)))?;
        match &self.chunks.get(index)?.bytes {
            Bytes::Memory(bytes) => Some((self.first + index as u64, bytes.clone())),
            Bytes::Open(_) | Bytes::File(_) => None,
        }
    }

    /// Marks a chunk as moved to a file.
    pub fn moved(&mut self, number: u64, extent: Extent) {
        let Some(index) = number
            .checked_sub(self.first)
            .and_then(|index| usize::try_from(index).ok())
        else {
            return;
        };
        if let Some(chunk) = self.chunks.get_mut(index)
            && let Bytes::Memory(_) = chunk.bytes
        {
            chunk.bytes = Bytes::File(Arc::new(extent));
            self.memory -= chunk.length as u64;
            self.spilled += chunk.length as u64;
        }
    }
}

/// The result of reading at a [`Cursor`].
#[derive(Debug)]
pub enum Found {
    Item(Item),
    /// Its chunk is in a file: read it, and pass the bytes to [`Cursor::load`].
    File(Arc<Extent>),
    /// No more items yet.
    Nothing,
}

/// A reader's position in a ring.
#[derive(Debug)]
pub struct Cursor {
    at: Position,
    /// Pending state items from its start.
    due: VecDeque<Item>,
    /// The chunk last read from a file.
    loaded: Option<(u64, Vec<u8>)>,
    /// Format of raw audio.
    info: Option<AudioInfo>,
}

impl Cursor {
    /// Position of the next unread item.
    pub fn position(&self) -> Position {
        self.at
    }

    /// Sets the bytes read from the file with its chunk.
    pub fn load(&mut self, bytes: Vec<u8>) {
        self.loaded = Some((self.at.chunk, bytes));
    }

    /// The next item.
    pub fn next(&mut self, ring: &Ring) -> Found {
        if let Some(item) = self.due.pop_front() {
            return self.found(item);
        }
        if self.at.chunk < ring.first {
            // The chunk it was in has been discarded.
            self.at = Position {
                chunk: ring.first,
                ..Position::default()
            };
            return self.found(Item::Lost);
        }
        loop {
            let Some(chunk) = ring.chunk(self.at.chunk) else {
                return Found::Nothing;
            };
            if let Some((offset, item)) = chunk.between.get(self.at.between)
                && *offset <= self.at.offset
            {
                self.at.between += 1;
                return self.found(item.clone());
            }
            if self.at.offset >= chunk.length {
                if ring.chunk(self.at.chunk + 1).is_none() {
                    return Found::Nothing;
                }
                self.at = Position {
                    chunk: self.at.chunk + 1,
                    ..Position::default()
                };
                self.loaded = None;
                continue;
            }
            let bytes = match (&chunk.bytes, &self.loaded) {
                (Bytes::Open(bytes), _) => bytes,
                (Bytes::Memory(bytes), _) => &**bytes,
                (Bytes::File(_), Some((number, bytes))) if *number == self.at.chunk => bytes,
                (Bytes::File(extent), _) => return Found::File(extent.clone()),
            };
            let rest = bytes.get(self.at.offset..).unwrap_or_default();
            return match record::read(rest, self.info.as_ref()) {
                Some((input, length)) => {
                    self.at.offset += length;
                    Found::Item(Item::Media(input))
                }
                // In a file that could not be read.
                None => {
                    self.at.offset = chunk.length;
                    Found::Item(Item::Lost)
                }
            };
        }
    }

    fn found(&mut self, item: Item) -> Found {
        if let Item::Caps(caps) = &item {
            self.info = crate::formats::audio_info(caps);
        }
        Found::Item(item)
    }
}

#[cfg(test)]
mod tests;
