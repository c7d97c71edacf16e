//! The thread of a part: resolves pending cuts, builds the pipeline, fills gaps, watches the drain, and takes
//! everything down.

mod batching;
mod build;
mod chapters;
mod coordinator;
mod cut_resolution;
mod decisions;
mod disk_watch;
mod encoders;
mod end;
mod gap_filling;
mod lost_media;
mod part_file;
mod pipeline_events;
mod size;
mod split_resolution;
mod unusable_tracks;

pub use coordinator::Coordinator;

use super::{
    Event, Session, aside::Job, lock, panic_text, panicked, part::Part, pipeline::Pipeline,
    remedies::Remedies, try_lock,
};
use crate::{
    formats::Plan,
    log::CAT,
    model::{
        Error,
        phase::Phase,
        timeline::{Ns, Timeline},
    },
};
use chapters::WrittenChapters;
use disk_watch::DiskWatch;
use pipeline_events::PipelineEvents;
use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// How often it looks for missing tracks.
const TICK: Duration = Duration::from_millis(100);
/// The same during a pause, when nothing is due.
const PAUSED_TICK: Duration = Duration::from_millis(500);
/// The same while it drains.
const DRAIN_TICK: Duration = Duration::from_millis(10);
/// How much longer than synchronising it may take to complete the file.
const COMPLETING_GRACE: Duration = Duration::from_millis(500);
/// How long an access to the writer may wait for the disk.
const DISK_PATIENCE: Duration = Duration::from_millis(100);
/// How late, beyond its latency, the last buffers of a live track may arrive.
const LIVE_GRACE: Duration = Duration::from_millis(500);
/// How long to wait for tracks that are not live at the end, and at least for the first bytes.
const GRACE: Duration = Duration::from_secs(1);
/// After this long without a keyframe, the source is considered to ignore the request.
const KEY_FRAME_PATIENCE: Ns = 2_000_000_000;
/// Interval for repeating a keyframe request: requests get lost on networks.
const KEY_FRAME_AGAIN: Ns = 1_000_000_000;
/// A part ends at the next frame if that begins within this time.
const FRAME_PATIENCE: Ns = 100_000_000;
/// How much later than its latency that frame of a live track may arrive.
const LATE_FRAME: Ns = 500_000_000;
/// How long before the end of the current part by duration the next one is prepared.
const SPLIT_AHEAD: Ns = 1_000_000_000;
/// Minimum media that goes into a part with a size limit before its size is checked again.
pub(super) const SIZE_STEP: Ns = 500_000_000;
/// Minimum drain time of a part that ends while the recording continues: nothing waits for it.
const PART_DRAIN: Duration = Duration::from_secs(10);
/// How long a part may wait for audio from after its end.
const MAX_OVERLAP_WAIT: Duration = Duration::from_secs(5);
/// A frame is repeated after this time, so that audio does not have to wait for the next one.
const LONGEST_FRAME: Ns = 1_000_000_000;

/// Starts the supervisor of a part.
pub fn spawn(session: Arc<Session>, part: Arc<Part>) -> io::Result<()> {
    thread::Builder::new()
        .name("mediarecorder".into())
        .spawn(move || {
            let _ = part.supervisor.set(thread::current().id());
            Supervisor::new(session, part).run();
        })
        .map(|_| ())
}

/// A snapshot of what has been requested of a supervisor.
struct Asked {
    error: Option<Error>,
    stopped: Option<Instant>,
    /// When the end of the part became known, if another part follows.
    ended: Option<Instant>,
    cancelled: bool,
    drained: bool,
    /// When completing the file began.
    completing: Option<Instant>,
    caps: bool,
    requested: u64,
}

struct Supervisor {
    session: Arc<Session>,
    part: Arc<Part>,
    begun: Instant,
    phase: Phase,
    plan: Option<Plan>,
    pipeline: Option<Pipeline>,
    /// Indices of the tracks, in the order of the pipeline.
    in_pipeline: Vec<usize>,
    /// Receives the pipeline's events.
    pipeline_events: Option<Arc<PipelineEvents>>,
    /// How its encoders have been replaced.
    remedies: Remedies,
    /// `on-start` has been announced.
    announced: bool,
    /// State of the current batch, if batching is on.
    batch: Option<batching::Batch>,
    /// How many chapters have been written into the header.
    chapters_written: usize,
    /// Chapters that are being written.
    writing_chapters: Option<Job<WrittenChapters>>,
    /// How many of the requested blobs have been handed out.
    served: u64,
    /// The requested blob that is being read back, unless the disk is slow.
    reading_back: Option<Job<Option<io::Result<()>>>>,
    /// Counter of the last news seen.
    seen: u64,
    /// When the last buffer arrived from the pre-record buffer.
    kept_came: Instant,
    disk: DiskWatch,
}

impl Supervisor {
    fn new(session: Arc<Session>, part: Arc<Part>) -> Self {
        Supervisor {
            begun: Instant::now(),
            announced: part.number > 0,
            session,
            part,
            plan: None,
            phase: Phase::Waiting,
            pipeline: None,
            in_pipeline: Vec::new(),
            pipeline_events: None,
            remedies: Remedies::default(),
            batch: None,
            chapters_written: 0,
            writing_chapters: None,
            served: 0,
            reading_back: None,
            seen: 0,
            kept_came: Instant::now(),
            disk: DiskWatch::new(),
        }
    }

    fn run(mut self) {
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.supervise()));
        let error = caught.unwrap_or_else(|panic| Some(self.drain_after_error(panicked(&*panic))));
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.finish(error)));
        if let Err(panic) = ended {
            gst::error!(
                CAT,
                id = &self.part.label,
                "Panicked at its end: {}",
                panic_text(&*panic)
            );
            self.end_src();
            self.release();
        }
    }

    /// Runs until the end, or the error that ends it.
    fn supervise(&mut self) -> Option<Error> {
        let session = self.session.clone();
        loop {
            crate::fault::place("supervisor");
            let asked = self.asked();
            if let Some(error) = asked.error {
                return Some(self.drain_after_error(error));
            }
            if asked.cancelled {
                return None;
            }
            if let Err(error) = self.look_after_encoders() {
                return Some(self.drain_after_error(error));
            }
            if let Some(error) = self.end_unusable_tracks() {
                return Some(self.drain_after_error(error));
            }
            if !asked.drained {
                self.look_after_disk();
                self.fall_back();
            }
            // Another part's supervisor may hold it.
            if let Some(mut coordinator) = try_lock(&session.coordinator) {
                coordinator.decide(&session, asked.stopped);
            }
            if let Some(error) = self.go_on(&asked) {
                return error;
            }
            self.end_overlaps(&asked);
            if asked.caps {
                self.note_type();
            }
            self.write_chapters();
            self.flush_batch(asked.requested > self.served, asked.stopped.is_some());
            if self.announced && self.is_connected() {
                self.hand_out_requested(asked.requested);
            }
            if let Some(mut coordinator) = try_lock(&session.coordinator) {
                coordinator.complete(&session, asked.stopped);
                self.kept_came = coordinator.kept_came;
            }
            let ended = asked.stopped.is_some() || asked.ended.is_some();
            let tick = self.tick(ended, asked.requested);
            session.backpressure.wait_for_news(&mut self.seen, tick);
        }
    }

    fn asked(&self) -> Asked {
        let control = lock(&self.session.control);
        let of_part = lock(&self.part.control);
        let is_last = of_part.ended.is_none();
        Asked {
            error: of_part
                .error
                .clone()
                .or_else(|| control.error.clone().filter(|_| is_last)),
            stopped: control.stopped,
            ended: of_part.ended,
            cancelled: of_part.cancelled,
            drained: of_part.drained,
            completing: of_part.completing,
            caps: of_part.caps,
            requested: of_part.requested,
        }
    }

    /// Whether media is being pushed into the pipeline.
    fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Recording | Phase::Draining)
    }

    /// Whether the part has any media.
    fn has_begun(&self) -> bool {
        let part = self.part.number;
        let mut tracks = self.session.tracks.iter();
        part == 0 || tracks.any(|track| track.has_media_for(part))
    }

    /// How long to wait for news before polling.
    fn tick(&self, ended: bool, requested: u64) -> Duration {
        if ended {
            return DRAIN_TICK;
        }
        let paused = self.session.timeline.read(Timeline::is_paused);
        let owes = requested > self.served || self.has_batch();
        if self.announced && self.is_connected() && paused && !owes {
            PAUSED_TICK
        } else {
            TICK
        }
    }

    /// `stop-timeout` counts from the latest time at which the tracks' media can arrive.
    fn drain_limit(&self) -> Duration {
        let latency = Duration::from_nanos(self.session.most_latency());
        let timeout = match lock(&self.part.control).ended {
            Some(_) => self.session.settings.stop_timeout.max(PART_DRAIN),
            None => self.session.settings.stop_timeout,
        };
        timeout + latency + LIVE_GRACE
    }

    /// Begins to drain the encoders and the muxer.
    fn drain(&mut self) {
        if std::mem::replace(&mut self.phase, Phase::Draining) != Phase::Draining {
            gst::debug!(CAT, id = &self.part.label, "Drains encoders and muxer");
            let is_last = lock(&self.part.control).ended.is_none();
            if is_last {
                self.part.events.push(Event::Finalising);
            }
        }
    }

    /// Ends the part where no audio follows that its encoders could get, such as while the next part's end is undecided.
    fn end_overlaps(&self, asked: &Asked) {
        if asked
            .ended
            .is_some_and(|since| since.elapsed() > MAX_OVERLAP_WAIT)
        {
            let tracks = self.session.tracks.iter();
            tracks.for_each(|track| track.end_overlap(self.part.number));
        }
    }

    fn all_closed(&self) -> bool {
        let mut tracks = self.session.tracks.iter();
        tracks.all(|track| track.is_closed_for(self.part.number))
    }

    /// Hands out the blobs for `request-data`, up to number `requested`. A timeslice's blob may replace a requested
    /// one; then the media from before the request is in the next.
    fn hand_out_requested(&mut self, requested: u64) {
        while self.served < requested {
            let job = self.reading_back.take();
            let job = job.unwrap_or_else(|| self.read_back());
            let taken = job.finish_within(DISK_PATIENCE, &mut self.reading_back);
            let Some(taken) = taken.flatten() else {
                // The disk is slow, or there was no thread; do other work meanwhile.
                return;
            };
            if let Err(err) = taken {
                let error = Error::unknown(format!(
                    "request-data: the recording cannot be read back: {err}"
                ));
                return self.session.fail_disk(&self.part, error);
            }
            self.served += 1;
        }
    }

    /// Begins to hand out a blob with what has been written so far, in another thread, as the disk may hang.
    fn read_back(&self) -> Job<Option<io::Result<()>>> {
        let (session, part) = (self.session.clone(), self.part.clone());
        let out = self
            .pipeline
            .as_ref()
            .map(|pipeline| pipeline.out().clone());
        Job::start(move || {
            if out.is_some_and(|out| !out.end_fragments_within(DISK_PATIENCE)) {
                return None;
            }
            session.with_writer_within(&part, DISK_PATIENCE, |writer, blobs| {
                let frontier = writer.frontier();
                writer.take(frontier, blobs)
            })
        })
    }
}
