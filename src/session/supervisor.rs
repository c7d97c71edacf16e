//! The thread of a session: decides cuts that have to wait, builds the pipeline, fills what
//! stays away, watches the drain, and takes everything down.

mod batching;
mod build;
mod chapters;
mod cut_resolution;
mod encoders;
mod end;
mod gap_filling;
mod pipeline_events;

use super::{
    Begin, Event, Session, encoding::FailedEncoders, lock, panic_text, panicked,
    pipeline::Pipeline, track::Track,
};
use crate::{
    formats::Plan,
    log::{CAT, time},
    model::{
        Error,
        absence::{Absences, Patience},
        timeline::{Ns, Timeline},
    },
};
use pipeline_events::PipelineEvents;
use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// How often it looks for tracks that stay away.
const TICK: Duration = Duration::from_millis(100);
/// How often it looks during a pause, when nobody owes anything.
const PAUSED_TICK: Duration = Duration::from_millis(500);
/// How often it looks while it drains.
const DRAIN_TICK: Duration = Duration::from_millis(10);
/// How long a look at the writer may wait for the disk.
const DISK_PATIENCE: Duration = Duration::from_millis(100);
/// How late behind its latency a live track's last buffers may be.
const LIVE_GRACE: Duration = Duration::from_millis(500);
/// How long is waited for what is not live at the end, and for a beginning at the least.
const GRACE: Duration = Duration::from_secs(1);
/// A source that has not brought a key frame for so long ignores the request.
const KEY_FRAME_PATIENCE: Ns = 2_000_000_000;
/// A key frame that does not come is asked for again so often: requests get lost on networks.
const KEY_FRAME_AGAIN: Ns = 1_000_000_000;
/// A picture is repeated after so long, so that sound does not wait for the next.
const LONGEST_PICTURE: Ns = 1_000_000_000;

/// Starts the supervisor.
pub fn spawn(session: Arc<Session>) -> io::Result<()> {
    thread::Builder::new()
        .name("mediarecorder".into())
        .spawn(move || {
            let _ = session.supervisor.set(thread::current().id());
            Supervisor::new(session).run();
        })
        .map(|_| ())
}

struct Supervisor {
    session: Arc<Session>,
    begun: Instant,
    /// Which tracks stay away.
    absences: Absences,
    plan: Option<Plan>,
    pipeline: Option<Pipeline>,
    /// What the pipeline says.
    wires: Option<Arc<PipelineEvents>>,
    failed: FailedEncoders,
    /// Tracks, by number in the pipeline, that have got a fresh encoder of the kind that failed.
    refreshed: Vec<usize>,
    earliest_known: bool,
    warned_key_frame: bool,
    /// How often its key frame has been asked for again.
    asked_again: u64,
    /// The interval that waits for its key frame, and since which running time.
    waiting: Option<(usize, Ns)>,
    announced: bool,
    /// What is known of what is batched, if it is.
    batch: Option<batching::Batch>,
    /// So many chapters are in the head.
    chapters_written: usize,
    /// How many blobs of those that were asked for have been handed out.
    served: u64,
    /// The end has been announced.
    finalising: bool,
    /// Tracks of which the log knows that they have ended.
    told_closed: Vec<bool>,
    /// How many buffers have come out of the past, and when one did last.
    kept: u64,
    kept_came: Instant,
}

impl Supervisor {
    fn new(session: Arc<Session>) -> Self {
        let now = Instant::now();
        Supervisor {
            begun: now,
            absences: Absences::new(
                session.tracks.len(),
                Patience::new(session.settings.patience()),
            ),
            earliest_known: session.begin == Begin::Now,
            session,
            plan: None,
            pipeline: None,
            wires: None,
            failed: FailedEncoders::default(),
            refreshed: Vec::new(),
            warned_key_frame: false,
            asked_again: 0,
            waiting: None,
            announced: false,
            batch: None,
            chapters_written: 0,
            served: 0,
            finalising: false,
            told_closed: Vec::new(),
            kept: 0,
            kept_came: now,
        }
    }

    fn run(mut self) {
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.supervise()));
        let error = caught.unwrap_or_else(|panic| Some(self.drain_after_error(panicked(&*panic))));
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.finish(error)));
        if let Err(panic) = ended {
            gst::error!(
                CAT,
                id = &self.session.label,
                "Panicked at its end: {}",
                panic_text(&*panic)
            );
            self.end_src();
            self.release();
        }
    }

    /// Until the end, or the error that ends it.
    fn supervise(&mut self) -> Option<Error> {
        loop {
            crate::fault::place("supervisor");
            let (error, drained, stopped, caps, requested) = {
                let control = lock(&self.session.control);
                (
                    control.error.clone(),
                    control.drained,
                    control.stopped,
                    control.caps,
                    control.requested,
                )
            };
            if let Some(error) = error {
                return Some(self.drain_after_error(error));
            }
            if let Err(error) = self.look_after_encoders() {
                return Some(self.drain_after_error(error));
            }
            if let Some(error) = self.end_unusable_tracks() {
                return Some(self.drain_after_error(error));
            }
            if drained {
                return lock(&self.session.control).modified.take();
            }
            for message in self.session.room.warnings() {
                self.session.events.push(Event::Warning { message });
            }
            self.watch_arrivals(stopped.is_some());
            self.settle_cuts();
            self.session.stop_at_max_duration(self.progress());
            if self.pipeline.is_none()
                && let Err(error) = self.build_if_ready(stopped)
            {
                return Some(error);
            }
            self.announce(caps, stopped.is_some());
            self.write_chapters();
            self.flush_batch(requested > self.served, stopped.is_some());
            if self.announced {
                self.hand_out_requested(requested);
            }
            if stopped.is_some() || self.all_closed() {
                self.finalise();
            }
            match stopped {
                Some(since) => {
                    self.complete_tracks(since);
                    if since.max(self.kept_came).elapsed() > self.drain_limit() {
                        return Some(Error::unknown(format!(
                            "The recording did not drain within stop-timeout ({} ms): an encoder \
                             or the disk is too slow; what was written until now is delivered.",
                            self.session.settings.stop_timeout.as_millis()
                        )));
                    }
                }
                None => self.fill_absent(),
            }
            self.end_ended_tracks();
            self.tell_closed();
            if self.pipeline.is_none() && self.all_closed() && self.with_caps().is_empty() {
                return lock(&self.session.control).modified.take();
            }
            self.session
                .room
                .wait_for_news(self.tick(stopped, requested));
        }
    }

    /// How long it waits for news before it looks by itself.
    fn tick(&self, stopped: Option<Instant>, requested: u64) -> Duration {
        if stopped.is_some() {
            return DRAIN_TICK;
        }
        let paused = self.session.timeline.read(Timeline::is_paused);
        let owes = requested > self.served || self.has_batch();
        match self.announced && self.pipeline.is_some() && paused && !owes {
            true => PAUSED_TICK,
            false => TICK,
        }
    }

    /// `stop-timeout` counts from when the last of the tracks can have arrived.
    fn drain_limit(&self) -> Duration {
        let latency = self.session.tracks.iter().map(Track::latency).max();
        self.session.settings.stop_timeout + latency.unwrap_or_default() + LIVE_GRACE
    }

    /// Says once that the end has come.
    fn finalise(&mut self) {
        if !std::mem::replace(&mut self.finalising, true) {
            gst::debug!(CAT, id = &self.session.label, "Drains encoders and muxer");
            self.session.events.push(Event::Finalising);
        }
    }

    /// Logs which tracks have had their end.
    fn tell_closed(&mut self) {
        self.told_closed.resize(self.session.tracks.len(), false);
        for (told, track) in self.told_closed.iter_mut().zip(&self.session.tracks) {
            if track.is_closed() && !std::mem::replace(told, true) {
                let counts = track.stats();
                gst::debug!(
                    CAT,
                    id = &self.session.label,
                    "Track {} has ended: {} buffers came, {} encoded, {} left out, {} filled",
                    track.name(),
                    counts.buffers(),
                    counts.encoded,
                    counts.dropped,
                    time(counts.filled)
                );
            }
        }
    }

    fn all_closed(&self) -> bool {
        self.session.tracks.iter().all(Track::is_closed)
    }

    fn watch_arrivals(&mut self, stopped: bool) {
        let session = &self.session;
        // What the recorder itself holds does not stay away.
        let held = session.clock.holds() && !session.any_live() && !stopped;
        let now = self.begun.elapsed();
        self.absences.watch(now, &self.views(), held);
        let kept = session.tracks.iter().filter(|track| track.is_kept());
        let kept = kept.map(Track::came).sum();
        if std::mem::replace(&mut self.kept, kept) != kept {
            self.kept_came = Instant::now();
        }
    }

    fn open_tracks(&self) -> impl Iterator<Item = (usize, &Track)> {
        let tracks = self.session.tracks.iter().enumerate();
        tracks.filter(|(_, track)| !track.is_closed())
    }

    /// How far the recording has come: the clock where it drives, else the furthest track.
    fn progress(&self) -> Ns {
        match self.session.clock.now() {
            Some(now) if self.session.any_live() => now,
            _ => {
                let arrived = self.session.tracks.iter().map(Track::arrived);
                arrived.max().unwrap_or(0)
            }
        }
    }

    /// Blobs for `request-data`, up to this number of them. One of a timeslice may have taken the place of one that was
    /// asked for: what came before that was asked is in the next.
    fn hand_out_requested(&mut self, requested: u64) {
        while self.served < requested {
            let taken = self
                .session
                .with_writer_within(DISK_PATIENCE, |writer, blobs| {
                    let frontier = writer.frontier();
                    writer.take(frontier, blobs)
                });
            let Some(taken) = taken else {
                // The disk is slow: there is more to look after meanwhile.
                return;
            };
            if let Err(err) = taken {
                return self.session.fail(Error::unknown(format!(
                    "request-data: the recording cannot be read back: {err}"
                )));
            }
            self.served += 1;
        }
    }
}
