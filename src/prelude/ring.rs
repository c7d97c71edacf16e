//! The past of one track: a row of records that forgets from the front, at points where a recording can begin.
//!
//! Records are gathered to chunks of memory, of which the older ones may be moved to a file. Whoever reads has a
//! [`Cursor`], which stays where it is whatever is appended, moved, or forgotten before it.

use super::{record, spill::Extent};
use crate::{gate::Input, model::timeline::Ns};
use gst_audio::AudioInfo;
use std::{collections::VecDeque, sync::Arc};

/// A chunk has at least so many bytes, unless it is the last.
const CHUNK: usize = 256 << 10;
/// Where nothing has to begin at a key frame, a recording can begin at one record in so many nanoseconds.
const POINTS: Ns = 250_000_000;

/// What a track has brought.
#[derive(Debug, Clone)]
pub enum Item {
    Media(Input),
    /// The caps of the media behind it.
    Caps(gst::Caps),
    /// Upstream's tags.
    Tags(gst::TagList),
    /// A buffer with the headers of what is behind it.
    Header(Input),
    /// Media is missing.
    Lost,
    /// Nothing has come before this running time.
    Gap(Ns),
}

/// What holds for the media behind it.
#[derive(Debug, Clone, Default)]
struct Context {
    caps: Option<gst::Caps>,
    tags: Option<gst::TagList>,
    headers: Vec<Input>,
    /// Media has come behind the headers.
    begun: bool,
}

impl Context {
    fn note(&mut self, item: &Item) {
        match item {
            Item::Caps(caps) => self.caps = Some(caps.clone()),
            Item::Tags(tags) => self.tags = Some(tags.clone()),
            Item::Header(header) => {
                // Headers in the middle are those of another stream.
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

/// Where the records of a chunk are.
#[derive(Debug)]
enum Bytes {
    /// More come.
    Open(Vec<u8>),
    Memory(Arc<Vec<u8>>),
    File(Arc<Extent>),
}

#[derive(Debug)]
struct Chunk {
    bytes: Bytes,
    length: usize,
    /// What holds where it begins.
    context: Context,
    /// What stands before the record at this offset, in order.
    between: Vec<(usize, Item)>,
}

/// A place between two records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    chunk: u64,
    offset: usize,
    /// How many of the items that stand in the chunk between records are before it.
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
    /// Number of the first of them.
    first: u64,
    points: VecDeque<Point>,
    context: Context,
    /// Running time of the end of what has come.
    end: Ns,
    /// Bytes of records in memory, and in a file.
    memory: u64,
    spilled: u64,
}

impl Ring {
    /// Appends an item. `begins`: a recording can begin with it; where it is not known, at one in some that can.
    pub fn push(&mut self, item: Item, begins: Option<bool>) {
        let Item::Media(input) = &item else {
            // Who reads already finds it in front of the first record.
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

    /// The end of what has come so far.
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

    /// Nothing more comes into the last chunk.
    fn seal(&mut self) {
        if let Some(chunk) = self.chunks.back_mut()
            && let Bytes::Open(bytes) = &mut chunk.bytes
        {
            let mut bytes = std::mem::take(bytes);
            bytes.shrink_to_fit();
            chunk.bytes = Bytes::Memory(Arc::new(bytes));
        }
    }

    /// Running time of the first record, if there is one.
    pub fn begin(&self) -> Option<Ns> {
        Some(self.points.front()?.running)
    }

    /// Running time of the end of what has come.
    pub fn end(&self) -> Ns {
        self.end
    }

    /// Where the newest point is.
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

    /// The last point at or before `running`, else the first behind it.
    pub fn point(&self, running: Ns) -> Option<Ns> {
        Some(self.find(running)?.running)
    }

    fn find(&self, running: Ns) -> Option<&Point> {
        // Stamps of key frames may step back.
        let before = self
            .points
            .iter()
            .rev()
            .find(|point| point.running <= running);
        before.or(self.points.front())
    }

    /// A cursor at the last point at or before `running`, else at the first behind it, else at the end.
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

    /// Forgets what is before the last point at or before `running`, but nothing from `keep` on.
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

    /// Forgets all, but what holds for what comes.
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

    /// Bytes of records, wherever they are.
    pub fn bytes(&self) -> u64 {
        self.memory + self.spilled
    }

    /// How many bytes of records a cursor has before it.
    pub fn ahead(&self, cursor: &Position) -> u64 {
        let index = cursor.chunk.saturating_sub(self.first);
        let chunks = self
            .chunks
            .iter()
            .skip(usize::try_from(index).unwrap_or(usize::MAX));
        let all: usize = chunks.map(|chunk| chunk.length).sum();
        all.saturating_sub(cursor.offset) as u64
    }

    /// The oldest chunk in memory that nothing more comes into.
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

    /// A chunk is in a file now.
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

/// What a [`Cursor`] finds.
#[derive(Debug)]
pub enum Found {
    Item(Item),
    /// Its chunk is in a file: to be read, and given to [`Cursor::load`].
    File(Arc<Extent>),
    /// Nothing more has come yet.
    Nothing,
}

/// Who reads a ring.
#[derive(Debug)]
pub struct Cursor {
    at: Position,
    /// What holds where it begins.
    due: VecDeque<Item>,
    /// The chunk that has been read from a file.
    loaded: Option<(u64, Vec<u8>)>,
    /// Of raw audio.
    info: Option<AudioInfo>,
}

impl Cursor {
    /// What it has not read yet begins here.
    pub fn position(&self) -> Position {
        self.at
    }

    /// What has been read of the file in which its chunk is.
    pub fn load(&mut self, bytes: Vec<u8>) {
        self.loaded = Some((self.at.chunk, bytes));
    }

    /// The next item.
    pub fn next(&mut self, ring: &Ring) -> Found {
        if let Some(item) = self.due.pop_front() {
            return self.found(item);
        }
        if self.at.chunk < ring.first {
            // What it stood before has been cleared away.
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
                // Of a file that could not be read.
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
