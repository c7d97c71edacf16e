//! The muxer's output: where each buffer goes in the file, and with which blob it is handed out.

mod finalise;

pub use finalise::Incomplete;

use super::event::{Blob, Event};
use crate::{
    formats::{self, Units},
    model::{error::Error, timeline::Ns},
    output::{BlobBytes, SrcOutput, Store},
};
use finalise::Steps;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// How much media may stay in memory before it is flushed to the file.
const FLUSH_EVERY: Ns = 500_000_000;
/// How long after the end of a timeslice to wait for a cluster, so that the blob can end with it.
const SLACK: Ns = 150_000_000;

/// The parts of a writer's state that can be read while it is blocked on the disk.
#[derive(Debug, Default)]
pub struct Progress {
    bytes: AtomicU64,
    blobs: AtomicU64,
    /// Bytes handed out in blobs so far.
    handed_out: AtomicU64,
    frontier: AtomicU64,
    timecode: AtomicU64,
    /// The recording was ended without the writer.
    abandoned: AtomicBool,
    /// A write has failed: the file may be incomplete.
    damaged: AtomicBool,
}

impl Progress {
    /// Bytes written and blobs handed out so far. Bytes that no blob will have do not count.
    pub fn figures(&self) -> (u64, u64) {
        let bytes = if self.abandoned.load(Ordering::SeqCst) {
            &self.handed_out
        } else {
            &self.bytes
        };
        (
            bytes.load(Ordering::SeqCst),
            self.blobs.load(Ordering::SeqCst),
        )
    }

    /// Recorded time up to which media has been written.
    pub fn frontier(&self) -> Ns {
        self.frontier.load(Ordering::SeqCst)
    }

    /// Whether everything was written successfully.
    pub fn is_whole(&self) -> bool {
        !self.damaged.load(Ordering::SeqCst)
    }

    /// Marks the file as incomplete: a write or a requested sync has failed, or there is no file.
    pub fn note_incomplete(&self) {
        self.damaged.store(true, Ordering::SeqCst);
    }

    /// Records whether a write has failed.
    fn note_failure<T>(&self, written: io::Result<T>) -> io::Result<T> {
        if written.is_err() {
            self.damaged.store(true, Ordering::SeqCst);
        }
        written
    }

    /// The disk does not respond: hands out an empty last blob that ends at `end`, of a container with these caps.
    /// Anything the writer gets from now on is dropped.
    pub fn abandon(&self, end: Ns, caps: Option<&gst::Caps>, outlet: &BlobOutlet<'_>) {
        self.abandoned.store(true, Ordering::SeqCst);
        self.damaged.store(true, Ordering::SeqCst);
        self.blobs.fetch_add(1, Ordering::SeqCst);
        let offset = self.handed_out.load(Ordering::SeqCst);
        hand_out(
            BlobBytes::empty(offset),
            caps,
            self.timecode.load(Ordering::SeqCst),
            end,
            outlet,
        );
    }
}

/// The first cluster of the next timeslice.
#[derive(Debug, Clone, Copy)]
pub struct NextCluster {
    /// Recorded time from which on it may begin.
    pub at: Ns,
    /// The timeslice before it is the first.
    pub is_second: bool,
}

/// Receives the muxer's output, in the muxer's thread.
pub struct Writer {
    store: Store,
    /// The `src` pad's output, if it is used, and the number of this recording there.
    src: Option<(Arc<SrcOutput>, u64)>,
    caps: Option<gst::Caps>,
    progress: Arc<Progress>,
    /// Byte offset of the next buffer.
    position: u64,
    /// Recorded time up to which media has been written.
    frontier: Ns,
    flushed: Ns,
    timeslice: Ns,
    /// Recorded time at which the next blob is due.
    slice_end: Ns,
    /// Timecode of the current blob.
    timecode: Ns,
    /// Whether the container has clusters or fragments.
    units: Units,
    /// Media has been written.
    has_media: bool,
    /// All media has been written; no more is accepted.
    complete: bool,
    steps: Steps,
    /// The last blob has been handed out.
    finished: bool,
}

impl Writer {
    /// Creates a writer into `store`. Hands out a blob for each `timeslice` of recorded time, unless that is 0.
    pub fn new(
        store: Store,
        src: Option<(Arc<SrcOutput>, u64)>,
        timeslice: Ns,
        progress: Arc<Progress>,
    ) -> Self {
        Writer {
            store,
            src,
            caps: None,
            progress,
            position: 0,
            frontier: 0,
            flushed: 0,
            timeslice,
            timecode: 0,
            slice_end: timeslice,
            units: Units::None,
            has_media: false,
            complete: false,
            steps: Steps::default(),
            finished: false,
        }
    }

    /// Replaces the store. Call it before anything is written.
    pub fn put_in(&mut self, store: Store) {
        self.store = store;
    }

    /// Whether any further input is too late.
    fn is_over(&self) -> bool {
        self.finished || self.progress.abandoned.load(Ordering::SeqCst)
    }

    /// Sets the container's caps.
    pub fn set_caps(&mut self, caps: &gst::Caps) {
        // After the end of the recording, nobody would end a stream that begins on `src`.
        if self.caps.is_none() && !self.is_over() {
            let src = self.src.take();
            self.src = src.filter(|(src, number)| src.begin(*number, caps));
        }
        self.units = formats::units(caps);
        self.caps = Some(caps.clone());
    }

    /// Sets the container's caps for the blobs of a recording that ends before its muxer has sent any.
    pub fn assume_caps(&mut self, caps: gst::Caps) {
        self.caps.get_or_insert(caps);
    }

    /// Sets the byte offset of the next buffer.
    pub fn seek(&mut self, position: u64) {
        self.position = position;
    }

    /// Recorded time up to which media has been written.
    pub fn frontier(&self) -> Ns {
        self.frontier
    }

    /// Where the next timeslice has to begin with a cluster, if there are both.
    pub fn next_cluster(&self) -> Option<NextCluster> {
        let has_clusters = self.units == Units::Clusters && self.timeslice > 0;
        has_clusters.then_some(NextCluster {
            at: self.slice_end,
            is_second: self.slice_end == self.timeslice,
        })
    }

    /// Whether media has been written, and therefore the container's header.
    pub fn has_media(&self) -> bool {
        self.has_media
    }

    /// The file is about to be synchronised: see [`Store::begin_round`]. Does nothing once the recording ends, as
    /// finalising takes over.
    pub fn begin_round(&mut self) -> io::Result<Option<usize>> {
        if self.complete || self.is_over() {
            return Ok(None);
        }
        let begun = self.store.begin_round();
        self.progress.note_failure(begun)
    }

    /// The file has been synchronised: see [`Store::write_patches`].
    pub fn write_patches(&mut self, most: usize) -> io::Result<()> {
        if self.complete || self.is_over() {
            return Ok(());
        }
        let written = self.store.write_patches(most);
        self.progress.note_failure(written)
    }

    /// Publishes the progress.
    fn tell(&self) {
        let progress = &self.progress;
        progress.bytes.store(self.store.len(), Ordering::SeqCst);
        progress.frontier.store(self.frontier, Ordering::SeqCst);
    }

    /// Writes a buffer from the muxer. If it begins a new timeslice, the bytes before it are handed out as a blob.
    /// `begins`: it begins a cluster or fragment. `slice_end`: a timeslice ends with it, and the next one begins at this
    /// recorded time.
    pub fn write(
        &mut self,
        buffer: gst::Buffer,
        begins: bool,
        slice_end: Option<Ns>,
        outlet: &BlobOutlet<'_>,
    ) -> io::Result<()> {
        if self.complete || self.is_over() {
            return Ok(());
        }
        let mut written = self.write_now(buffer, begins, outlet);
        if let (Ok(()), Some(next)) = (&written, slice_end) {
            written = self.begin_slice(next, outlet);
        }
        self.tell();
        self.progress.note_failure(written)
    }

    fn write_now(
        &mut self,
        buffer: gst::Buffer,
        begins: bool,
        outlet: &BlobOutlet<'_>,
    ) -> io::Result<()> {
        let position = self.position;
        self.position += buffer.size() as u64;
        if position < self.store.len() {
            return self.put(position, buffer);
        }
        let Some(pts) = buffer.pts().map(|pts| pts.nseconds()) else {
            return self.put(position, buffer);
        };
        let lasts = buffer.duration().map_or(0, |lasts| lasts.nseconds());
        // Opus in Matroska is timestamped late by its encoder delay.
        let pts = pts.min(outlet.fed);
        let mut sliced = Ok(());
        if self.is_slice_due(pts, begins) {
            self.slice_end = pts.saturating_add(self.timeslice);
            sliced = self.begin_slice(pts, outlet);
        }
        let end = pts.saturating_add(lasts).min(outlet.fed);
        self.frontier = self.frontier.max(end);
        // Even if the disk has just failed, no byte is skipped.
        sliced.and(self.put(position, buffer))?;
        // Matroska's header has a timestamp, too.
        self.has_media |= begins || self.frontier > 0;
        if self.frontier >= self.flushed.saturating_add(FLUSH_EVERY) {
            self.flushed = self.frontier;
            self.store.flush()?;
        }
        Ok(())
    }

    /// Whether media with this recorded time is the first of a blob. No blob is shorter than the timeslice (MediaStream
    /// Recording, 2.3).
    fn is_slice_due(&self, pts: Ns, begins: bool) -> bool {
        if self.timeslice == 0 {
            return false;
        }
        match self.units {
            Units::None => pts >= self.slice_end,
            Units::Clusters if begins => pts >= self.slice_end,
            Units::Clusters => pts >= self.slice_end.saturating_add(SLACK.min(self.timeslice)),
            // Where they end, they say themselves whether a timeslice does.
            Units::Fragments => false,
        }
    }

    /// Hands out a blob that ends here, where the media of the next one begins.
    fn begin_slice(&mut self, begin: Ns, outlet: &BlobOutlet<'_>) -> io::Result<()> {
        let begin = begin.min(outlet.fed).max(self.timecode);
        self.frontier = self.frontier.max(begin);
        self.take(begin, outlet)
    }

    fn put(&mut self, position: u64, buffer: gst::Buffer) -> io::Result<()> {
        if let Some((src, number)) = &self.src {
            src.write(*number, position, buffer.clone());
        }
        self.store.write(position, buffer)
    }

    /// Whether the bytes up to `end` have been written, so that they can be patched.
    pub fn has_written(&self, end: u64) -> bool {
        end <= self.store.len() && !self.complete && !self.is_over()
    }

    /// Whether the byte at `at` can still be changed: in the file, downstream of `src`, or because no blob contains
    /// it yet.
    pub fn can_change(&self, at: u64) -> bool {
        self.store.is_in_file() || self.src.is_some() || at >= self.store.taken()
    }

    /// Overwrites bytes that have been written.
    pub fn patch(&mut self, patches: Vec<(u64, Vec<u8>)>) -> io::Result<()> {
        let patched = patches
            .into_iter()
            .try_for_each(|(at, bytes)| self.put(at, gst::Buffer::from_mut_slice(bytes)));
        self.progress.note_failure(patched)
    }

    /// Hands out the current blob, which ends at recorded time `end`, unless the last one has been handed out.
    pub fn take(&mut self, end: Ns, outlet: &BlobOutlet<'_>) -> io::Result<()> {
        if self.finished {
            return Ok(());
        }
        let bytes = self.progress.note_failure(self.store.take(false))?;
        // The disk may have been stuck for so long that nobody waits any more.
        if !self.is_over() {
            self.hand_out(bytes, end, outlet);
        }
        Ok(())
    }

    /// Hands out the last blob, which ends at `end`. Errors are reported before it. Nothing more is sent through
    /// `src`; the session ends the stream there.
    pub fn finish(&mut self, end: Ns, outlet: &BlobOutlet<'_>, failed: impl FnOnce(Error)) {
        self.finished = true;
        // Applies patches that are left if finalising did not get that far.
        let patched = self.store.write_patches(usize::MAX);
        let mut error = self.progress.note_failure(patched).err();
        // After a failure, what was written can still be handed out.
        let bytes = (0..2).find_map(
            |_| match self.progress.note_failure(self.store.take(true)) {
                Ok(bytes) => Some(bytes),
                Err(reason) => {
                    error.get_or_insert(reason);
                    None
                }
            },
        );
        self.tell();
        if let Some(reason) = error {
            failed(Error::unknown(format!(
                "The end of the recording is incomplete: {reason}"
            )));
        }
        self.hand_out(
            bytes.unwrap_or_else(|| BlobBytes::empty(self.store.len())),
            end,
            outlet,
        );
    }

    fn hand_out(&mut self, bytes: BlobBytes, end: Ns, outlet: &BlobOutlet<'_>) {
        let timecode = std::mem::replace(&mut self.timecode, end);
        self.progress.timecode.store(end, Ordering::SeqCst);
        self.progress.blobs.fetch_add(1, Ordering::SeqCst);
        let bytes_end = bytes.offset() + bytes.size();
        self.progress.handed_out.store(bytes_end, Ordering::SeqCst);
        hand_out(bytes, self.caps.as_ref(), timecode, end, outlet);
    }
}

/// Hands out a blob with the media from `timecode` to `end`.
fn hand_out(
    bytes: BlobBytes,
    caps: Option<&gst::Caps>,
    timecode: Ns,
    end: Ns,
    outlet: &BlobOutlet<'_>,
) {
    (outlet.hand_out)(Event::Data {
        session: outlet.session,
        running_time: (outlet.running_at)(end),
        part: outlet.part,
        blob: Blob {
            bytes,
            caps: caps.cloned(),
            timecode: timecode.saturating_add((outlet.begin)()),
            duration: end.saturating_sub(timecode),
            mime_type: (outlet.mime_type)(),
        },
    });
}

/// Where blobs go, and what describes them.
pub struct BlobOutlet<'a> {
    /// Number of the recording.
    pub session: u64,
    /// Number of the part.
    pub part: u32,
    /// Recorded time at which the part begins.
    pub begin: &'a dyn Fn() -> Ns,
    /// Takes them, in order.
    pub hand_out: &'a dyn Fn(Event),
    /// The actual MIME type.
    pub mime_type: &'a dyn Fn() -> String,
    /// Converts recorded time of the part to running time.
    pub running_at: &'a dyn Fn(Ns) -> Ns,
    /// Recorded time up to which media has been pushed to the encoders. Output cannot be later.
    pub fed: Ns,
}

#[cfg(test)]
mod tests {
    use super::*;
    use gst::prelude::*;

    #[test]
    fn caps_after_the_end_send_nothing_on_src() {
        gst::init().unwrap();
        let src = gst::Pad::new(gst::PadDirection::Src);
        let sink = gst::Pad::builder(gst::PadDirection::Sink)
            .event_function(|_, _, _| true)
            .build();
        sink.set_active(true).unwrap();
        src.set_active(true).unwrap();
        src.link(&sink).unwrap();
        let output = Arc::new(SrcOutput::new(&src, Box::new(|_| ())));
        output.activate(None).unwrap();
        let outlet = BlobOutlet {
            session: 1,
            part: 0,
            begin: &|| 0,
            hand_out: &|_| (),
            mime_type: &String::new,
            running_at: &|at| at,
            fed: 0,
        };
        let caps = gst::Caps::new_empty_simple("video/webm");
        let mut writer = Writer::new(
            Store::in_memory(0, None),
            Some((output.clone(), 1)),
            0,
            Arc::default(),
        );
        writer.finish(0, &outlet, |error| panic!("{error}"));
        writer.set_caps(&caps);
        assert!(output.begin(2, &caps), "the next recording has the pad");
    }
}
