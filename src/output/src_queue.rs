//! What waits for the `src` pad's thread: operations in order, bytes beyond a limit in a file.
//!
//! Lock: `state` is this file's only one. It is held for moments: never across file access, a
//! drop of buffers, or anything that calls out.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{
    disk, platform,
    spill::{self, UnlinkedFile},
};

/// One turn of the thread takes no more operations,
const BATCH: usize = 64;
/// nor, with the last, more bytes than about this.
const BATCH_BYTES: u64 = 1 << 20;

/// Something to send.
#[derive(Debug)]
pub(super) enum Op {
    /// Let a sink preroll that has just been linked.
    Hello,
    /// A recording of this number.
    Begin(u64, gst::Caps),
    /// A recording has come before the end of another, and is not sent.
    TooEarly,
    Write(u64, Payload),
    /// What is written from here on is for this kind of downstream only.
    For(Audience),
    /// Nothing more of this recording can be kept, for this reason.
    GiveUp(String),
    /// The recording is complete.
    End,
    /// EOS if it has not gone out.
    Eos,
}

/// Which downstream some bytes are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// One that takes bytes anywhere.
    Seekable,
    /// One that takes them in order only.
    Streaming,
}

/// A buffer, or where its bytes are.
#[derive(Debug)]
pub(super) enum Payload {
    Memory(gst::Buffer),
    Spilled {
        file: Arc<UnlinkedFile>,
        at: u64,
        size: u64,
        /// The buffer's stamps and flags, without bytes.
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

/// What a buffer keeps from being freed.
fn allocated(buffer: &gst::Buffer) -> u64 {
    buffer
        .iter_memories()
        .map(|memory| memory.maxsize() as u64)
        .sum()
}

/// The queue between whoever has bytes and the `src` pad's thread.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    ops: VecDeque<Op>,
    /// Bytes that the waiting operations hold in memory.
    bytes: u64,
    /// The thread has taken operations that are not out yet.
    busy: bool,
    closed: bool,
    ended: bool,
    /// The number of the recording that has begun and not ended.
    recording: Option<u64>,
    /// It takes writes.
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
        // A panic elsewhere leaves nothing here half done.
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

    /// Adds an operation that holds no bytes.
    pub(super) fn push(&self, op: Op) {
        self.add(self.lock(), op);
    }

    /// A recording begins, unless another has that has not ended: false. The limits are for what waits of it.
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

    /// The recording is complete; nothing if it has not begun here, or has ended.
    pub(super) fn end_recording(&self, number: u64) {
        let mut state = self.lock();
        if state.recording == Some(number) {
            state.recording = None;
            state.open = false;
            self.add(state, Op::End);
        }
    }

    /// What is written of the recording `number` from here on is for this kind of downstream only.
    pub(super) fn write_for(&self, number: u64, audience: Audience) {
        let state = self.lock();
        if state.takes(number) {
            self.add(state, Op::For(audience));
        }
    }

    /// No more bytes of the recording `number` are wanted; a later one may have begun.
    pub(super) fn refuse(&self, number: u64) {
        let mut state = self.lock();
        if state.recording == Some(number) {
            state.open = false;
        }
    }

    /// Adds bytes of the recording, in memory if there is room, else in the file; nothing if it has not begun here, or
    /// has ended.
    pub(super) fn write(&self, number: u64, pos: u64, buffer: gst::Buffer) {
        let bytes = allocated(&buffer);
        let size = buffer.size() as u64;
        let mut state = self.lock();
        if !state.takes(number) || size == 0 {
            return;
        }
        if state.bytes + bytes <= state.max_memory {
            state.bytes += bytes;
            // All has been read back: the file's space is not needed any more.
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
        // It may have been ended while the disk did not answer.
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
                        "downstream of src is too slow, and what waits for it cannot be kept: {err}"
                    )),
                );
            }
        }
    }

    /// Writes `buffer` to the file. Called without lock.
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

    /// For the thread: the next operations, waiting for one; `None` when it is to end.
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

    /// Whether the thread is to end.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Tells the thread to end; what waits is dropped.
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

    /// The thread's last word.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        state.busy = false;
        self.changed.notify_all();
    }

    /// Waits until the thread has ended, or `timeout`; whether it has.
    pub(super) fn wait_ended(&self, timeout: Duration) -> bool {
        self.wait(timeout, |state| state.ended)
    }

    /// Waits until everything has been sent, or `timeout`; whether it has.
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

    /// Bytes that wait in memory, and whether a file holds more.
    #[cfg(test)]
    pub(super) fn backlog(&self) -> (u64, bool) {
        let state = self.lock();
        (state.bytes, state.spill.is_some())
    }
}
