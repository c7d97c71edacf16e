//! The queue of the `src` pad's thread: operations in order, bytes beyond a limit in a file.
//!
//! Lock: `state` is this file's only one. It is held only briefly: never across file access, a drop of buffers, or
//! anything that calls out.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{
    disk, platform,
    spill::{self, UnlinkedFile},
};

/// Maximum operations per iteration of the thread,
const BATCH: usize = 64;
/// and approximate maximum bytes.
const BATCH_BYTES: u64 = 1 << 20;

/// An operation of the thread.
#[derive(Debug)]
pub(super) enum Op {
    /// Prerolls a newly linked sink.
    Hello,
    /// Begins the recording with this number.
    Begin(u64, gst::Caps),
    /// A recording has begun before the end of another, and is not output.
    TooEarly,
    Write(u64, Payload),
    /// Restricts the following writes to this kind of downstream.
    For(Audience),
    /// Nothing more of this recording can be queued, for this reason.
    GiveUp(String),
    /// Ends the recording.
    End,
    /// Pushes EOS unless already pushed.
    Eos,
}

/// The kind of downstream that some bytes are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Seekable downstream.
    Seekable,
    /// Non-seekable downstream.
    Streaming,
}

/// A buffer, or the location of its bytes.
#[derive(Debug)]
pub(super) enum Payload {
    Memory(gst::Buffer),
    Spilled {
        file: Arc<UnlinkedFile>,
        at: u64,
        size: u64,
        /// The buffer's timestamps and flags, without bytes.
        stamps: gst::Buffer,
    },
}

impl Payload {
    fn bytes(&self) -> u64 {
        match self {
            Self::Memory(buffer) => allocated(buffer),
            Self::Spilled { .. } => 0,
        }
    }

    /// The buffer, read back if it was spilled.
    pub(super) fn into_buffer(self) -> io::Result<gst::Buffer> {
        match self {
            Self::Memory(buffer) => Ok(buffer),
            Self::Spilled {
                file,
                at,
                size,
                stamps,
            } => {
                let mut buffer = gst::Buffer::from_slice(disk::read(&file, at, at + size)?);
                let flags = gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS;
                stamps
                    .copy_into(buffer.make_mut(), flags, ..)
                    .map_err(io::Error::other)?;
                Ok(buffer)
            }
        }
    }
}

/// Allocated bytes that a buffer holds.
fn allocated(buffer: &gst::Buffer) -> u64 {
    buffer
        .iter_memories()
        .map(|memory| memory.maxsize() as u64)
        .sum()
}

/// The queue between writers and the `src` pad's thread.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    ops: VecDeque<Op>,
    /// Memory held by the queued operations, in bytes.
    bytes: u64,
    /// The thread has taken operations that are not yet complete.
    busy: bool,
    closed: bool,
    ended: bool,
    /// The number of the current recording.
    recording: Option<u64>,
    /// The current recording accepts writes.
    open: bool,
    spill: Option<(Arc<UnlinkedFile>, u64)>,
    max_memory: u64,
    temp_dir: Option<PathBuf>,
}

impl State {
    fn takes(&self, number: u64) -> bool {
        self.open && self.recording == Some(number) && !self.closed
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere cannot leave this state inconsistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, mut state: MutexGuard<'_, State>, op: Op) {
        if state.closed {
            // Dropping a buffer may call into its owner.
            drop(state);
            drop(op);
            return;
        }
        state.ops.push_back(op);
        self.changed.notify_all();
    }

    /// Appends an operation without bytes.
    pub(super) fn push(&self, op: Op) {
        self.add(self.lock(), op);
    }

    /// Begins a recording with these limits; false if another one has not ended.
    pub(super) fn begin(
        &self,
        number: u64,
        caps: gst::Caps,
        max_memory: u64,
        temp_dir: Option<PathBuf>,
    ) -> bool {
        let mut state = self.lock();
        if state.recording.is_some() {
            self.add(state, Op::TooEarly);
            return false;
        }
        state.recording = Some(number);
        state.open = true;
        state.max_memory = max_memory;
        state.temp_dir = temp_dir;
        self.add(state, Op::Begin(number, caps));
        true
    }

    /// Ends the recording; no effect if it has not begun here, or has ended.
    pub(super) fn end_recording(&self, number: u64) {
        let mut state = self.lock();
        if state.recording == Some(number) {
            state.recording = None;
            state.open = false;
            self.add(state, Op::End);
        }
    }

    /// Restricts the following writes of the recording `number` to this kind of downstream.
    pub(super) fn write_for(&self, number: u64, audience: Audience) {
        let state = self.lock();
        if state.takes(number) {
            self.add(state, Op::For(audience));
        }
    }

    /// Rejects further bytes of the recording `number`; a later one may have begun.
    pub(super) fn refuse(&self, number: u64) {
        let mut state = self.lock();
        if state.recording == Some(number) {
            state.open = false;
        }
    }

    /// Queues bytes of the recording, in memory if there is space, else in the file; no effect if it has not begun
    /// here, or has ended.
    pub(super) fn write(&self, number: u64, pos: u64, buffer: gst::Buffer) {
        let bytes = allocated(&buffer);
        let size = buffer.size() as u64;
        let mut state = self.lock();
        if !state.takes(number) || size == 0 {
            return;
        }
        if state.bytes + bytes <= state.max_memory {
            state.bytes += bytes;
            // Everything has been read back: the file's space can be freed.
            let idle = match &state.spill {
                Some((file, _)) if Arc::strong_count(file) == 1 => state.spill.take(),
                _ => None,
            };
            self.add(state, Op::Write(pos, Payload::Memory(buffer)));
            drop(idle);
            return;
        }
        let space = state.spill.as_mut().map(|(file, len)| {
            let at = *len;
            *len += size;
            (file.clone(), at)
        });
        let temp_dir = state.temp_dir.clone();
        drop(state);
        let spilled = self.spill(space, temp_dir, &buffer);
        let mut state = self.lock();
        // It may have ended while the disk was blocked.
        if !state.takes(number) {
            return;
        }
        match spilled {
            Ok(payload) => self.add(state, Op::Write(pos, payload)),
            Err(err) => {
                state.open = false;
                self.add(
                    state,
                    Op::GiveUp(format!(
                        "downstream of src is too slow, and the bytes queued for it cannot be stored: {err}"
                    )),
                );
            }
        }
    }

    /// Writes `buffer` to the file. Called without the lock.
    fn spill(
        &self,
        space: Option<(Arc<UnlinkedFile>, u64)>,
        temp_dir: Option<PathBuf>,
        buffer: &gst::Buffer,
    ) -> io::Result<Payload> {
        let size = buffer.size() as u64;
        let (file, at) = match space {
            Some(space) => space,
            None => {
                let file = Arc::new(spill::create(&spill::directory(temp_dir.as_deref()))?);
                self.lock().spill = Some((file.clone(), size));
                (file, 0)
            }
        };
        let mapped = buffer.map_readable().map_err(io::Error::other)?;
        platform::write_all_at(&file, &mapped, at)?;
        let flags = gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS;
        let mut stamps = gst::Buffer::new();
        buffer
            .copy_into(stamps.make_mut(), flags, ..)
            .map_err(io::Error::other)?;
        Ok(Payload::Spilled {
            file,
            at,
            size,
            stamps,
        })
    }

    /// For the thread: waits for the next operations; `None` when it has to exit.
    pub(super) fn next(&self) -> Option<Vec<Op>> {
        let mut state = self.lock();
        state.busy = false;
        self.changed.notify_all();
        while state.ops.is_empty() && !state.closed {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return None;
        }
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < BATCH && bytes < BATCH_BYTES {
            let Some(op) = state.ops.pop_front() else {
                break;
            };
            match &op {
                Op::Write(_, payload @ Payload::Memory(_)) => {
                    bytes += payload.bytes();
                    state.bytes = state.bytes.saturating_sub(payload.bytes());
                }
                Op::Write(_, Payload::Spilled { size, .. }) => bytes += size,
                _ => {}
            }
            batch.push(op);
        }
        state.busy = batch.iter().any(|op| !matches!(op, Op::Hello));
        Some(batch)
    }

    /// Whether the thread has to exit.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Makes the thread exit; queued operations are dropped.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.bytes = 0;
        let dropped = std::mem::take(&mut state.ops);
        let spill = state.spill.take();
        self.changed.notify_all();
        drop(state);
        drop((dropped, spill));
    }

    /// Called when the thread exits.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        state.busy = false;
        self.changed.notify_all();
    }

    /// Waits until the thread has exited, or `timeout`; returns whether it has.
    pub(super) fn wait_ended(&self, timeout: Duration) -> bool {
        self.wait(timeout, |state| state.ended)
    }

    /// Waits until everything has been pushed, or `timeout`; returns whether it has.
    pub(super) fn wait_empty(&self, timeout: Duration) -> bool {
        self.wait(timeout, |state| {
            state.ended || (state.ops.is_empty() && !state.busy)
        })
    }

    fn wait(&self, timeout: Duration, done: impl Fn(&State) -> bool) -> bool {
        let begin = Instant::now();
        let mut state = self.lock();
        while !done(&state) {
            let Some(left) = timeout.checked_sub(begin.elapsed()) else {
                return false;
            };
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }

    /// Bytes queued in memory, and whether there are more in a file.
    #[cfg(test)]
    pub(super) fn backlog(&self) -> (u64, bool) {
        let state = self.lock();
        (state.bytes, state.spill.is_some())
    }
}
