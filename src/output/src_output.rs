//! The `src` pad's output: its own thread, fed without waiting.
//!
//! Lock order: `SrcOutput::worker`, then the queue's. Neither is held across a push, a query, a
//! join, file access or a callback.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use gst::prelude::*;

use super::src_queue::{Audience, Op, Queue};
use super::src_sender::{self, Sender, Warn};

/// So long going down waits for a downstream that holds the thread; then the thread is left to
/// end when it is dropped.
const PATIENCE: Duration = Duration::from_secs(1);

/// What leaves through the always `src` pad.
///
/// A recording is [`begin`](Self::begin), [`write`](Self::write)…, [`end`](Self::end), of one number. These
/// never wait for downstream: a thread of the pad's own sends what is queued, as the muxer
/// completed it. What does not fit in `max_memory` waits in an unlinked temporary file. A
/// downstream that fails is given up for this recording with one warning.
///
/// All methods may be called from any thread, and while the pad is inactive, when they do nothing.
pub struct SrcOutput {
    pad: gst::Pad,
    warn: Arc<Warn>,
    shared: Arc<Shared>,
}

/// What the pad's `linked` handler sees too.
#[derive(Default)]
struct Shared {
    worker: Mutex<Option<Worker>>,
    limits: Mutex<Limits>,
}

#[derive(Clone)]
struct Limits {
    max_memory: u64,
    temp_dir: Option<PathBuf>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_memory: 8 << 20,
            temp_dir: None,
        }
    }
}

/// The thread of one activation and its queue. A thread that is left behind keeps a queue of its
/// own, and cannot disturb the next one.
struct Worker {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SrcOutput {
    /// `pad` is the element's `src` pad. `warn` is called without locks, from the pad's thread,
    /// when a recording does not leave, or does not any longer.
    pub fn new(pad: &gst::Pad, warn: Box<Warn>) -> Self {
        let shared = Arc::new(Shared::default());
        let weak: Weak<Shared> = Arc::downgrade(&shared);
        pad.connect_linked(move |_, _| {
            if let Some(queue) = weak.upgrade().and_then(|shared| shared.queue()) {
                queue.push(Op::Hello);
            }
        });
        Self {
            pad: pad.clone(),
            warn: warn.into(),
            shared,
        }
    }

    /// How many bytes may wait in memory, and where the file for more of them is (else in
    /// `$TMPDIR`, else in /var/tmp). TrackStats from the next [`begin`](Self::begin) on.
    pub fn set_limits(&self, max_memory: u64, temp_dir: Option<PathBuf>) {
        *lock(&self.shared.limits) = Limits {
            max_memory,
            temp_dir,
        };
    }

    /// The pad became active (its activatemode function, READY→PAUSED): starts the thread, which
    /// sends stream-start, `caps`, a BYTES segment and a GAP, so that a linked sink prerolls.
    ///
    /// `caps` are what the next recording probably has, before it is known; its own replace them.
    /// Without, the segment waits for them too, as GStreamer wants caps before a segment.
    ///
    /// # Errors
    /// When no thread can be made.
    pub fn activate(&self, caps: Option<&gst::Caps>) -> std::io::Result<()> {
        self.deactivate();
        let queue = Arc::new(Queue::default());
        let thread = std::thread::Builder::new()
            .name("recorder-src".into())
            .spawn({
                let (pad, warn, queue) = (self.pad.clone(), self.warn.clone(), queue.clone());
                let caps = caps.cloned();
                move || {
                    let sent = catch_unwind(AssertUnwindSafe(|| {
                        run(&queue, Sender::new(&pad, &*warn, caps));
                    }));
                    // Nothing may gather for a thread that is no more.
                    queue.close();
                    queue.end();
                    if sent.is_err() {
                        warn("the src pad has failed; signals and location carry on".into());
                    }
                }
            })?;
        *lock(&self.shared.worker) = Some(Worker {
            queue,
            thread: Some(thread),
        });
        Ok(())
    }

    /// The pad became inactive (its activatemode function, PAUSED→READY, when the core has made it
    /// flushing): ends the thread. What was not sent is dropped.
    ///
    /// If downstream keeps the thread, this waits a second at most; the thread then ends when
    /// it is dropped.
    pub fn deactivate(&self) {
        let worker = lock(&self.shared.worker).take();
        let Some(mut worker) = worker else {
            return;
        };
        worker.queue.close();
        let Some(thread) = worker.thread.take() else {
            return;
        };
        // From the thread itself there is nothing to wait for.
        if thread.thread().id() != std::thread::current().id()
            && worker.queue.wait_ended(PATIENCE)
            && thread.join().is_err()
        {
            (self.warn)("the src pad's thread has failed".into());
        }
    }

    /// Whether downstream takes bytes anywhere (answers SEEKING in BYTES), so that header and
    /// index can be patched; false when unlinked. Asks downstream: to be called without locks.
    pub fn seekable(&self) -> bool {
        src_sender::seekable(&self.pad)
    }

    /// Whether anything is behind the pad.
    pub fn is_linked(&self) -> bool {
        self.pad.is_linked()
    }

    /// The recording `number` begins. While the pad is not linked, or another recording has begun and not ended,
    /// nothing of it is queued or sent: false; `warn` is called in the latter case.
    ///
    /// What there is to say about the state of downstream is found out when what was queued before
    /// has been sent: after an EOS that it has not been cycled for, `warn` is called and this
    /// recording is not sent.
    pub fn begin(&self, number: u64, caps: &gst::Caps) -> bool {
        let Some(queue) = self.shared.queue().filter(|_| self.is_linked()) else {
            return false;
        };
        let limits = lock(&self.shared.limits).clone();
        queue.begin(number, caps.clone(), limits.max_memory, limits.temp_dir)
    }

    /// Bytes of the recording `number` at offset `pos`: a buffer that the muxer has completed. Earlier
    /// bytes are overwritten through a new BYTES segment, or left as they are if downstream is
    /// not seekable.
    pub fn write(&self, number: u64, pos: u64, buffer: gst::Buffer) {
        if let Some(queue) = self.shared.queue() {
            queue.write(number, pos, buffer);
        }
    }

    /// What is written of the recording `number` from here on is for this kind of downstream only: how its bytes end may
    /// depend on it.
    pub fn write_for(&self, number: u64, audience: Audience) {
        if let Some(queue) = self.shared.queue() {
            queue.write_for(number, audience);
        }
    }

    /// The recording `number` is complete: EOS. What has not begun, or has ended, has no other end.
    pub fn end(&self, number: u64) {
        if let Some(queue) = self.shared.queue() {
            queue.end_recording(number);
        }
    }

    /// EOS, if it has not gone out since the latest recording began (or at all).
    pub fn eos(&self) {
        if let Some(queue) = self.shared.queue() {
            queue.push(Op::Eos);
        }
    }

    /// Waits until what was queued has been sent, no longer than `timeout`; whether it has.
    pub fn drain(&self, timeout: Duration) -> bool {
        match self.shared.queue() {
            Some(queue) => queue.wait_empty(timeout),
            None => true,
        }
    }
}

impl Drop for SrcOutput {
    fn drop(&mut self) {
        self.deactivate();
    }
}

impl Shared {
    fn queue(&self) -> Option<Arc<Queue>> {
        lock(&self.worker).as_ref().map(|w| w.queue.clone())
    }
}

/// The thread.
fn run(queue: &Queue, mut sender: Sender<'_>) {
    sender.hello();
    let mut number = 0;
    while let Some(batch) = queue.next() {
        for op in batch {
            if queue.is_closed() {
                return;
            }
            crate::fault::place("src thread");
            match op {
                Op::Hello => sender.hello(),
                Op::Begin(new, caps) => {
                    number = new;
                    sender.flush();
                    sender.begin(&caps);
                }
                Op::TooEarly => sender.too_early(),
                Op::Write(pos, payload) => match payload.into_buffer() {
                    Ok(buffer) => {
                        if !sender.write(pos, buffer) {
                            queue.refuse(number);
                        }
                    }
                    Err(err) => sender.give_up(&format!("what waited cannot be read: {err}")),
                },
                Op::For(audience) => sender.write_for(audience),
                Op::GiveUp(reason) => sender.give_up(&reason),
                Op::End => sender.end(),
                Op::Eos => sender.eos(),
            }
        }
        sender.flush();
    }
}

#[cfg(test)]
mod tests;
