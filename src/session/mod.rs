//! A session is one recording: its tracks, its private pipeline, its end.
//!
//! The actions write an instant into the timeline and return; the tracks read it as their
//! buffers pass; the supervisor, a thread of the session's own, builds, drains and takes down.
//!
//! Lock order: `writer`, `control`, the timeline, the dispatcher's queue; a track's lock comes
//! before the timeline. None is held across a state change of the pipeline or a callback.

mod aside;
mod backpressure;
mod bitrates;
mod caps_ladder;
mod chapters;
mod config;
mod container_limit;
mod decoder;
mod decoding;
mod diagnosis;
mod encoder_chain;
mod encoder_delay;
mod encoder_monitor;
mod encoder_probe;
mod encoding;
mod event;
mod exchange;
mod fixups;
mod fragment_alignment;
mod frame_dropper;
mod io_pads;
mod key_units;
mod marks;
mod orientation;
mod pipeline;
mod probe;
mod supervisor;
mod system_memory;
mod timing;
mod track;
mod tracks;
mod wall_clock;
mod writer;

pub(crate) use backpressure::Backpressure;
pub use config::{Begin, SessionConfig, SessionDelegate, Settings};
pub(crate) use encoder_chain::{ChainRequest, EncoderChain, PacketSink};
pub use event::{Blob, Event, Mark, Part, RecordedInterval};
pub(crate) use orientation::of_tags as orientation_of;
pub use timing::RunningTime;
pub(crate) use timing::{SharedTimeline, lock};
pub use track::{Flow, Origin, TrackSpec, TrackStats};
pub(crate) use track::{Shared, Track, stamp_of};

use crate::{
    log::{CAT, time},
    model::{
        Bitrates, EndReason, Error,
        timeline::{Ns, Timeline},
    },
    output::{Events, Slot, SrcOutput, Store},
};
use bitrates::RunningEncoder;
use decoding::Decoding;
use marks::Marks;
use std::{
    any::Any,
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, OnceLock, PoisonError, TryLockError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, ThreadId},
    time::{Duration, Instant},
};
use writer::{BlobOutlet, Incomplete, Progress, Writer};

/// How often who cannot wait for the disk looks whether the writer is free.
const WRITER_LOOK: Duration = Duration::from_millis(1);

/// See the module.
pub struct Session {
    id: u64,
    /// What the log calls it.
    label: glib::GString,
    settings: Settings,
    clock: Arc<RunningTime>,
    timeline: Arc<SharedTimeline>,
    begin: Begin,
    tracks: Vec<Track>,
    /// In the order of the tracks.
    decoding: Vec<Decoding>,
    /// Itself, for what calls back.
    this: Weak<Session>,
    any_live: Arc<AtomicBool>,
    room: Arc<Backpressure>,
    events: Events<Event>,
    delegate: Arc<dyn SessionDelegate>,
    /// Held while the disk is written to, however long that takes.
    writer: Mutex<Writer>,
    progress: Arc<Progress>,
    src: Arc<SrcOutput>,
    bitrates: Mutex<Bitrates>,
    control: Mutex<Control>,
    done: Condvar,
    /// The supervisor's thread.
    supervisor: OnceLock<ThreadId>,
    /// The actual type.
    mime_type: Mutex<Option<String>>,
    encoders: Mutex<Vec<RunningEncoder>>,
    /// Names of the pads and of their encoders' factories.
    encoder_names: Mutex<Vec<(String, String)>>,
    /// How far the wall clock was ahead of running time when each interval was begun, in nanoseconds since 1970.
    utc_offsets: Mutex<Vec<i64>>,
}

/// What has been asked of the supervisor.
#[derive(Default)]
struct Control {
    /// Places kept by [`Session::hold_events`], by the numbers of who keeps them.
    held: Vec<(u64, Slot)>,
    next_held: u64,
    start: Option<Slot>,
    /// The clock's running time at `start`, while no track is known to be live.
    clock_at_start: Option<Ns>,
    /// Resumes whose cut is not known yet, by interval.
    resumes: Vec<(usize, Slot)>,
    /// Places kept for blobs.
    requests: VecDeque<Slot>,
    /// How many blobs have been asked for.
    requested: u64,
    error: Option<Error>,
    /// Encoders that have failed, and how.
    failed_encoders: Vec<(gst::Element, Error)>,
    /// Tracks, by their pads, that have ended because of these caps, at this recorded time.
    ended_by_caps: Vec<(String, gst::Caps, Ns)>,
    marks: Marks,
    /// Once is enough.
    warned_of_marks: bool,
    /// Told at the end of the drain: the tracks were changed.
    modified: Option<Error>,
    drained: bool,
    caps: bool,
    stopped: Option<Instant>,
    /// Nothing more will arrive.
    going_down: bool,
    /// Why it was stopped, `None` while it goes on or if its tracks have ended.
    reason: Option<EndReason>,
    finished: bool,
    /// Its last events are being said: no more can be added.
    over: bool,
}

impl Session {
    /// Begins a recording. Opens `location`; everything slow is left to the supervisor.
    pub fn start(parts: SessionConfig, begin: Begin) -> Result<Arc<Self>, Error> {
        let SessionConfig {
            id,
            settings,
            tracks,
            clock,
            events,
            src,
            delegate,
        } = parts;
        let store = match &settings.location {
            Some(location) => {
                Store::in_file(location, settings.max_memory, settings.temp_dir.clone()).map_err(
                    |err| {
                        Error::unknown(format!(
                            "start: location \"{location}\" cannot be opened for writing: {err}; \
                     name a file in a directory that exists and may be written to"
                        ))
                    },
                )?
            }
            None => Store::in_memory(settings.max_memory, settings.temp_dir.clone()),
        };
        let any_live = Arc::new(AtomicBool::new(tracks.iter().any(|track| track.live)));
        // Pending until all tracks listen: what arrives meanwhile waits.
        let max_duration = match settings.max_duration {
            0 => Ns::MAX,
            max_duration => max_duration,
        };
        let unresolved = Timeline::new(0, false).with_max_duration(max_duration);
        let timeline = Arc::new(SharedTimeline::new(unresolved));
        let room = Arc::new(Backpressure::default());
        let shared = Shared {
            clock: clock.clone(),
            timeline: timeline.clone(),
            room: room.clone(),
            queue_limit: settings.queue_limit(),
            patience: settings.patience_ns(),
            any_live: any_live.clone(),
        };
        let progress = Arc::<Progress>::default();
        let session = Arc::new_cyclic(|this| Session {
            id,
            label: glib::gformat!("{}/recording{id}", delegate.name()),
            writer: Mutex::new(Writer::new(
                store,
                (src.clone(), id),
                settings.timeslice,
                progress.clone(),
            )),
            progress,
            src,
            bitrates: Mutex::default(),
            settings,
            clock,
            timeline,
            begin,
            tracks: tracks
                .iter()
                .map(|spec| Track::new(spec, &shared))
                .collect(),
            decoding: tracks.iter().map(|_| Decoding::default()).collect(),
            this: this.clone(),
            any_live,
            room,
            events,
            delegate,
            control: Mutex::default(),
            done: Condvar::new(),
            supervisor: OnceLock::new(),
            mime_type: Mutex::new(None),
            encoders: Mutex::default(),
            encoder_names: Mutex::default(),
            utc_offsets: Mutex::default(),
        });
        Ok(session)
    }

    /// All pads give their buffers to the tracks from now on: makes the first cut.
    pub fn listen(&self) {
        lock(&self.control).start = Some(self.events.reserve());
        if self.begin == Begin::Now {
            let resolved = self.may_cut_anywhere();
            let clock = self.timeline.write(|timeline| {
                timeline.begin(self.now(), resolved);
                self.clock.now()
            });
            lock(&self.control).clock_at_start = clock.filter(|_| !self.any_live());
        }
        self.note_wall_clock();
        self.tell_beginning();
    }

    /// The same, but the first cut lies in the past, if there is any: `past` is what has been recorded of it, interval
    /// by interval, of which the last is open. `front` stands in front of what keeps the past from here on, and makes
    /// each cut of this recording's too.
    pub fn listen_to_past(&self, past: &[(Ns, Option<Ns>)], front: &Arc<SharedTimeline>) {
        if past.is_empty() {
            self.listen();
            return self.timeline.lead(front.clone(), 0);
        }
        lock(&self.control).start = Some(self.events.reserve());
        self.timeline
            .write(|timeline| timeline.begin_with(past.iter().copied()));
        self.timeline.lead(front.clone(), past.len() - 1);
        past.iter().for_each(|_| self.note_wall_clock());
        self.tell_beginning();
    }

    /// Whether its last events have been queued, or are being so.
    pub fn is_over(&self) -> bool {
        lock(&self.control).over
    }

    /// Where it ends, once that is known.
    pub fn end(&self) -> Option<Ns> {
        self.timeline.read(Timeline::end)
    }

    /// Lets the supervisor loose: from here on there are events.
    pub fn run(self: &Arc<Self>) -> Result<(), Error> {
        supervisor::spawn(self.clone())
            .map_err(|err| Error::unknown(format!("start: no thread can be had: {err}")))
    }

    /// Remembers which wall-clock time the interval that was opened last began at.
    fn note_wall_clock(&self) {
        let offset = wall_clock::system_offset(|| self.now());
        lock(&self.utc_offsets).push(offset);
    }

    fn tell_beginning(&self) {
        let at = match self.begin {
            Begin::Now => self
                .timeline
                .read(|t| t.intervals().first().map(|i| i.start)),
            Begin::EarliestBuffer => None,
        };
        match at {
            Some(at) => gst::info!(CAT, id = &self.label, "Begins at running time {}", time(at)),
            None => gst::info!(CAT, id = &self.label, "Begins at the earliest buffer"),
        }
        for track in &self.tracks {
            gst::info!(
                CAT,
                id = &self.label,
                "Track {}: {}, latency {:?}, {}",
                track.name(),
                if track.is_live() { "live" } else { "not live" },
                track.latency(),
                track
                    .caps()
                    .map_or_else(|| "caps not known yet".to_owned(), |caps| caps.to_string())
            );
        }
    }

    /// Number of this recording.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Where the file is.
    pub fn location(&self) -> Option<&str> {
        self.settings.location.as_deref()
    }

    /// What shapes it.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The actual type, once it is known.
    pub fn mime_type(&self) -> Option<String> {
        lock(&self.mime_type).clone()
    }

    /// The instant that a cut made now has: the clock's time if a track is live, else the
    /// furthest that has arrived.
    pub fn now(&self) -> Ns {
        match self.clock.now() {
            Some(now) if self.any_live() => now,
            _ => self.clock.furthest(),
        }
    }

    /// Whether any track is live, as far as is known: then cuts are made at the clock's time.
    fn any_live(&self) -> bool {
        self.any_live.load(Ordering::SeqCst)
    }

    /// Whether it is certain that no interval has to wait for a key frame.
    fn may_cut_anywhere(&self) -> bool {
        let open = |track: &&Track| !track.is_closed();
        let mut open = self.tracks.iter().filter(open);
        open.all(|track| !track.is_keyed() && track.caps().is_some())
    }

    /// Asks for the key frame at which the next interval is to begin, once on each track, as
    /// soon as it is known to need one, and again where [`Track::ask_again`] says so. Goes out of
    /// the recorder: to be called without a lock.
    pub fn ask_for_key_frames(&self) {
        let wanted = self.timeline.read(|t| t.pending());
        if let Some((interval, running)) = wanted {
            for track in self.tracks.iter().filter(|track| track.is_keyed()) {
                // Its encoder, which is not upstream, follows the timeline.
                if track.was_raw() {
                    continue;
                }
                if !track.is_closed() && track.ask_once(interval) {
                    // As the track's stamps count it.
                    let running = running.saturating_add_signed(track.shift().saturating_neg());
                    self.delegate.request_key_frame(track.name(), running);
                }
            }
        }
    }

    /// Events of what is done from now on come when this is dropped, or at [`Session::let_events_go`]: whoever acts
    /// tells `state` first.
    pub fn hold_events(self: &Arc<Self>) -> HeldEvents {
        let slot = self.events.reserve();
        let mut control = lock(&self.control);
        let number = control.next_held;
        control.next_held += 1;
        control.held.push((number, slot));
        drop(control);
        HeldEvents {
            session: self.clone(),
            number,
        }
    }

    /// Nobody's events are held any more.
    pub fn let_events_go(&self) {
        let held = std::mem::take(&mut lock(&self.control).held);
        for (_, slot) in held {
            self.events.fill(slot, None);
        }
    }

    /// Leaves out what is captured from now on; FALSE if the recording is over.
    pub fn pause(&self) -> bool {
        let control = lock(&self.control);
        if control.over {
            return false;
        }
        let running_time = self.timeline.write(|timeline| timeline.pause(self.now()));
        gst::info!(
            CAT,
            id = &self.label,
            "Paused at running time {}",
            time(running_time)
        );
        self.events.push(Event::Pause { running_time });
        drop(control);
        self.room.wake();
        true
    }

    /// Records what is captured from now on; FALSE if the recording is over.
    pub fn resume(&self) -> bool {
        let resolved = self.may_cut_anywhere();
        let mut control = lock(&self.control);
        if control.over {
            return false;
        }
        let slot = self.events.reserve();
        let (running_time, resolved, interval) = self.timeline.write(|timeline| {
            let at = timeline.resume(self.now(), resolved);
            let resolved = timeline.pending().is_none();
            (at, resolved, timeline.intervals().len() - 1)
        });
        if resolved {
            gst::info!(
                CAT,
                id = &self.label,
                "Goes on at running time {}",
                time(running_time)
            );
            self.events.fill(slot, Some(Event::Resume { running_time }));
        } else {
            gst::info!(
                CAT,
                id = &self.label,
                "Goes on at the first key frame from running time {} on",
                time(running_time)
            );
            control.resumes.push((interval, slot));
        }
        drop(control);
        self.note_wall_clock();
        self.room.wake();
        true
    }

    /// Ends the recording with what has been captured until now; FALSE if an error already has.
    ///
    /// A change of the tracks that has not been told yet is not told any more (MediaRecorder-stop.html).
    pub fn stop(&self) -> bool {
        {
            let mut control = lock(&self.control);
            let told = control.stopped.is_some() && control.modified.is_none();
            if control.error.is_some() || told {
                return false;
            }
            control.modified = None;
            control.reason.get_or_insert(EndReason::Stop);
        }
        self.timeline.write(|timeline| timeline.stop(self.now()));
        self.stopped(false);
        true
    }

    /// Ends it where `max-duration` is recorded, once `progress` (running time) has reached that.
    fn stop_at_max_duration(&self, progress: Ns) {
        let Some(end) = self.timeline.read(|t| t.max_duration_reached(progress)) else {
            return;
        };
        {
            let mut control = lock(&self.control);
            if control.stopped.is_some() || control.error.is_some() {
                return;
            }
            control.reason = Some(EndReason::MaxDuration);
        }
        self.timeline.write(|timeline| timeline.stop(end));
        self.stopped(false);
    }

    /// The tracks have changed, which ends the recording as `stop` does, but with an error.
    pub fn tracks_modified(&self, error: Error) {
        {
            let mut control = lock(&self.control);
            if control.stopped.is_some() {
                return;
            }
            control.modified = Some(error);
        }
        self.timeline.write(|timeline| timeline.stop(self.now()));
        self.stopped(false);
    }

    /// Ends the recording with what has arrived: PAUSED is left, nothing will come any more.
    pub fn go_down(&self) {
        let stopped = lock(&self.control).stopped.is_some();
        if !stopped {
            self.timeline.write(|timeline| {
                timeline.stop(match self.any_live() {
                    true => self.clock.left_playing(),
                    false => self.clock.furthest(),
                })
            });
        }
        self.stopped(true);
    }

    fn stopped(&self, going_down: bool) {
        let (at, recorded) = self.timeline.read(|t| (t.stopped_at(), t.duration()));
        gst::info!(
            CAT,
            id = &self.label,
            "Stopped at running time {}, {} recorded{}",
            time(at.unwrap_or_default()),
            time(recorded),
            if going_down {
                "; nothing more will come"
            } else {
                ""
            }
        );
        let mut control = lock(&self.control);
        control.stopped.get_or_insert_with(Instant::now);
        control.going_down |= going_down;
        if going_down {
            control.reason.get_or_insert(EndReason::StateChange);
        }
        drop(control);
        if going_down {
            self.room.open();
        }
        self.room.wake();
    }

    /// Ends the recording with an error; what there is is delivered.
    pub fn fail(&self, error: Error) {
        gst::warning!(CAT, id = &self.label, "Fails: {error}");
        let mut control = lock(&self.control);
        if control.error.is_none() {
            control.error = Some(error);
        }
        drop(control);
        self.room.open();
    }

    /// Hands out a blob of what has been gathered; FALSE if the recording is over.
    pub fn request_data(&self) -> bool {
        let mut control = lock(&self.control);
        if control.over {
            return false;
        }
        let slot = self.events.reserve();
        control.requests.push_back(slot);
        control.requested += 1;
        drop(control);
        self.room.wake();
        true
    }

    /// Recorded and left-out time, bytes and blobs so far.
    pub fn figures(&self) -> Figures {
        let furthest = self.tracks.iter().map(Track::arrived).max().unwrap_or(0);
        let (duration, paused) = self.timeline.read(|t| {
            let recorded = t.recorded_at(furthest);
            let begun = t.intervals().first().map_or(0, |i| i.start);
            let paused = furthest.saturating_sub(begun).saturating_sub(recorded);
            (recorded, paused)
        });
        let (bytes, blobs) = self.progress.figures();
        Figures {
            duration,
            paused,
            bytes,
            blobs,
        }
    }

    /// The intervals of which it is known where they begin, as they are now.
    pub fn intervals(&self) -> Vec<RecordedInterval> {
        let furthest = self.clock.furthest();
        let offsets = lock(&self.utc_offsets).clone();
        self.timeline.read(|timeline| {
            let intervals = timeline.intervals_from(0).take_while(|i| i.resolved);
            let numbered = intervals.enumerate();
            let recorded = numbered.map(|(number, interval)| {
                let end = interval.end.unwrap_or(furthest).max(interval.start);
                let system = offsets.get(number).or(offsets.last());
                let system = system.copied().unwrap_or_default();
                let reference = self.clock.reference().utc(interval.start);
                RecordedInterval {
                    running_time: interval.start,
                    recorded_time: interval.recorded,
                    duration: end - interval.start,
                    utc: reference.unwrap_or(system.saturating_add_unsigned(interval.start)),
                }
            });
            recorded.collect()
        })
    }

    /// Pad, encoder and counts of each track.
    pub fn track_figures(&self) -> Vec<(String, String, TrackStats)> {
        let encoders = lock(&self.encoder_names).clone();
        let encoder = |pad: &str| {
            let mut encoders = encoders.iter();
            encoders.find_map(|(name, encoder)| (name == pad).then(|| encoder.clone()))
        };
        self.tracks
            .iter()
            .map(|track| {
                let name = track.name().to_owned();
                let encoder = encoder(&name).unwrap_or_default();
                (name, encoder, track.stats())
            })
            .collect()
    }

    /// Whether the caller is in a callback of the recording's own thread (`encoder-setup`):
    /// there, nothing of the recording can be waited for.
    pub fn is_current_thread(&self) -> bool {
        self.supervisor.get() == Some(&thread::current().id())
    }

    /// Runs a callback that must not unwind: a panic fails the recording.
    pub(crate) fn contain(&self, run: impl FnOnce(&Self)) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(self))) {
            self.fail(panicked(&*panic));
        }
    }

    /// The recording is whole, but for its last step.
    fn warn_of_incomplete(&self, incomplete: Option<Incomplete>) {
        if let Some(Incomplete { purpose, reason }) = incomplete {
            let message = format!("The recording is complete, but {purpose}: {reason}");
            self.events.push(Event::Warning { message });
        }
    }

    /// Waits until everything is done and its events are queued, for `timeout` at the most.
    pub fn wait(&self, timeout: Duration) -> bool {
        let control = lock(&self.control);
        let (control, _) = self
            .done
            .wait_timeout_while(control, timeout, |control| !control.finished)
            .unwrap_or_else(PoisonError::into_inner);
        control.finished
    }

    /// Works with the writer, in the muxer's thread, which may wait for the disk.
    fn with_writer<R>(&self, work: impl FnOnce(&mut Writer, &BlobOutlet<'_>) -> R) -> R {
        let mut writer = lock(&self.writer);
        self.with_outlet(|outlet| work(&mut writer, outlet))
    }

    /// Works with the writer unless the disk keeps it for longer than `patience`.
    fn with_writer_within<R>(
        &self,
        patience: Duration,
        work: impl FnOnce(&mut Writer, &BlobOutlet<'_>) -> R,
    ) -> Option<R> {
        let end = Instant::now() + patience;
        let mut writer = loop {
            match self.writer.try_lock() {
                Ok(writer) => break writer,
                Err(TryLockError::Poisoned(poisoned)) => break poisoned.into_inner(),
                Err(TryLockError::WouldBlock) if Instant::now() >= end => return None,
                Err(TryLockError::WouldBlock) => thread::sleep(WRITER_LOOK),
            }
        };
        Some(self.with_outlet(|outlet| work(&mut writer, outlet)))
    }

    /// The way out for blobs: they take the places that `request-data` has kept.
    fn with_outlet<R>(&self, work: impl FnOnce(&BlobOutlet<'_>) -> R) -> R {
        let hand_out = |event| {
            let mut control = lock(&self.control);
            match control.requests.pop_front() {
                Some(slot) => self.events.fill(slot, Some(event)),
                None => self.events.push(event),
            }
        };
        let running_at = |recorded| self.timeline.read(|t| t.running_at(recorded));
        let mime_type = || self.mime_type().unwrap_or_default();
        let outlet = BlobOutlet {
            session: self.id,
            hand_out: &hand_out,
            mime_type: &mime_type,
            running_at: &running_at,
            fed: self.tracks.iter().map(Track::fed).max().unwrap_or(0),
        };
        work(&outlet)
    }
}

/// See [`Session::hold_events`].
#[must_use]
pub struct HeldEvents {
    session: Arc<Session>,
    number: u64,
}

impl Drop for HeldEvents {
    fn drop(&mut self) {
        let mut control = lock(&self.session.control);
        let mut held = control.held.iter();
        let at = held.position(|(number, _)| *number == self.number);
        let kept = at.map(|at| control.held.remove(at));
        drop(control);
        if let Some((_, slot)) = kept {
            self.session.events.fill(slot, None);
        }
    }
}

/// What a recording fails with that has panicked.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Error {
    let what = panic_text(panic);
    Error::unknown(format!("The recorder has failed: {what}"))
}

/// What a panic says.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it panicked".into())
}

/// Figures for `stats`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// Recorded time.
    pub duration: Ns,
    /// Time left out by pauses.
    pub paused: Ns,
    /// Bytes of the recording.
    pub bytes: u64,
    /// Blobs handed out.
    pub blobs: u64,
}
