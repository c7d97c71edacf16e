//! The `src` pad's output: a separate thread, fed without blocking.
//!
//! Lock order: `SrcOutput::worker`, then the queue's. Neither is held across a push, a query, a join, file access or a
//! callback.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use gst::prelude::*;

use super::src_queue::{Audience, Op, Queue};
use super::src_sender::{self, Sender, Warn};

/// How long deactivation waits for a thread blocked downstream; after that the thread exits once it is unblocked.
const PATIENCE: Duration = Duration::from_secs(1);

/// The output of the always `src` pad.
///
/// A recording is [`begin`](Self::begin), [`write`](Self::write)…, [`end`](Self::end), with its number. These never
/// block on downstream: the pad's own thread pushes the queue, with the buffers as the muxer output them. What exceeds
/// `max_memory` waits in an unlinked temporary file. If downstream fails, output stops for this recording with one
/// warning.
///
/// All methods can be called from any thread, and do nothing while the pad is inactive.
pub struct SrcOutput {
    pad: gst::Pad,
    warn: Arc<Warn>,
    shared: Arc<Shared>,
}

/// State shared with the pad's `linked` handler.
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

/// The thread of one activation and its queue. An abandoned thread keeps its own queue and cannot disturb the next one.
struct Worker {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SrcOutput {
    /// `pad` is the element's `src` pad. `warn` is called without locks, from the pad's thread, when a recording is
    /// not, or no longer, output.
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

    /// Sets the maximum bytes queued in memory, and the directory of the spill file (else `$TMPDIR`, else /var/tmp).
    /// Applies from the next [`begin`](Self::begin) on.
    pub fn set_limits(&self, max_memory: u64, temp_dir: Option<PathBuf>) {
        *lock(&self.shared.limits) = Limits {
            max_memory,
            temp_dir,
        };
    }

    /// Activates the pad (from its activatemode function, READY→PAUSED): starts the thread, which pushes stream-start,
    /// `caps`, a BYTES segment and a GAP, so that a linked sink prerolls.
    ///
    /// `caps` are the expected caps of the next recording; its own replace them. Without `caps` the segment waits for
    /// them, too, since GStreamer requires caps before a segment.
    ///
    /// # Errors
    /// If the thread cannot be spawned.
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
                    // Nothing may be queued for a thread that has exited.
                    queue.close();
                    queue.end();
                    if sent.is_err() {
                        warn("the src pad has failed; signals and location continue".into());
                    }
                }
            })?;
        *lock(&self.shared.worker) = Some(Worker {
            queue,
            thread: Some(thread),
        });
        Ok(())
    }

    /// Deactivates the pad (from its activatemode function, PAUSED→READY, once the core has set it flushing): ends the
    /// thread. Queued data is dropped.
    ///
    /// Waits at most a second for a thread blocked downstream; after that the thread exits once it is unblocked.
    pub fn deactivate(&self) {
        let worker = lock(&self.shared.worker).take();
        let Some(mut worker) = worker else {
            return;
        };
        worker.queue.close();
        let Some(thread) = worker.thread.take() else {
            return;
        };
        // In the thread itself there is nothing to wait for.
        if thread.thread().id() != std::thread::current().id()
            && worker.queue.wait_ended(PATIENCE)
            && thread.join().is_err()
        {
            (self.warn)("the src pad's thread has failed".into());
        }
    }

    /// Whether downstream is seekable (answers SEEKING in BYTES), so that header and index can be patched; false when
    /// unlinked. Queries downstream: call without locks.
    pub fn seekable(&self) -> bool {
        src_sender::seekable(&self.pad)
    }

    /// Whether the pad is linked.
    pub fn is_linked(&self) -> bool {
        self.pad.is_linked()
    }

    /// Begins the recording `number`. If the pad is not linked, or another recording has not ended, nothing of it is
    /// queued or pushed and the result is false; `warn` is called in the latter case.
    ///
    /// The state of downstream is checked once the earlier queue has been pushed: if downstream had an EOS and its
    /// state has not been cycled since, `warn` is called and this recording is not output.
    pub fn begin(&self, number: u64, caps: &gst::Caps) -> bool {
        let Some(queue) = self.shared.queue().filter(|_| self.is_linked()) else {
            return false;
        };
        let limits = lock(&self.shared.limits).clone();
        queue.begin(number, caps.clone(), limits.max_memory, limits.temp_dir)
    }

    /// Writes a buffer from the muxer at offset `pos` of the recording `number`. Earlier bytes are overwritten through
    /// a new BYTES segment, or left unchanged if downstream is not seekable.
    pub fn write(&self, number: u64, pos: u64, buffer: gst::Buffer) {
        if let Some(queue) = self.shared.queue() {
            queue.write(number, pos, buffer);
        }
    }

    /// Restricts the following writes of the recording `number` to this kind of downstream: the final bytes may depend
    /// on it.
    pub fn write_for(&self, number: u64, audience: Audience) {
        if let Some(queue) = self.shared.queue() {
            queue.write_for(number, audience);
        }
    }

    /// Ends the recording `number` with EOS. Ignored if it has not begun, or has ended.
    pub fn end(&self, number: u64) {
        if let Some(queue) = self.shared.queue() {
            queue.end_recording(number);
        }
    }

    /// Pushes EOS, unless already pushed since the latest recording began (or at all).
    pub fn eos(&self) {
        if let Some(queue) = self.shared.queue() {
            queue.push(Op::Eos);
        }
    }

    /// Waits until the queue has been pushed, for at most `timeout`; returns whether it has.
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

/// The thread function.
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
                    Err(err) => sender.give_up(&format!("queued bytes cannot be read: {err}")),
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
