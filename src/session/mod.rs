//! A session is one recording: its tracks, its private pipeline, its end.
//!
//! The actions write an instant into the timeline and return; the tracks read it as their
//! buffers pass; the supervisor, a thread of the session's own, builds, drains and takes down.
//!
//! Lock order: `row`, `writer`, `control`, a part's `control`, the timeline, the dispatcher's queue; a track's lock comes
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
mod finalise;
mod fixups;
mod fragment_alignment;
mod frame_dropper;
mod io_pads;
mod key_units;
mod marks;
mod orientation;
mod part;
mod part_size;
mod pipeline;
mod probe;
mod row;
mod supervisor;
mod synchroniser;
mod system_memory;
mod timing;
mod track;
mod tracks;
mod wall_clock;
mod writer;

pub(crate) use backpressure::Backpressure;
pub use config::{Begin, SessionConfig, SessionDelegate, Settings};
pub(crate) use encoder_chain::{ChainRequest, EncoderChain, PacketSink};
pub(crate) use encoding::FailedEncoders;
pub use event::{Blob, Event, FinishedPart, Mark, RecordedInterval};
pub(crate) use orientation::of_tags as orientation_of;
pub use timing::RunningTime;
use timing::try_lock;
pub(crate) use timing::{SharedTimeline, lock};
use track::Asked;
pub use track::{Flow, Origin, TrackSpec, TrackStats};
pub(crate) use track::{Shared, Track, stamp_of};

use crate::{
    formats::{self, Picture},
    log::{CAT, time},
    model::{
        Bitrates, EndReason, Error,
        timeline::{Ns, Timeline},
    },
    output::{Ring, SrcOutput, Store},
};
use decoding::Decoding;
use marks::Marks;
use part::{Part, PartConfig};
use row::Row;
use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use supervisor::Front;

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
    delegate: Arc<dyn SessionDelegate>,
    /// Its parts.
    row: Mutex<Row>,
    /// How many files have been begun by the recorder.
    numbers: Arc<AtomicU32>,
    /// The files of the recorder.
    ring: Arc<Ring>,
    /// `location` has failed: files go to the fallback from then on.
    fell_back: AtomicBool,
    src: Arc<SrcOutput>,
    bitrates: Mutex<Bitrates>,
    control: Mutex<Control>,
    /// What supervisors do for all parts.
    front: Mutex<Front>,
    done: Condvar,
    /// The actual type of the latest part.
    mime_type: Mutex<Option<String>>,
    /// Names of the pads and of their encoders' factories, of the latest part.
    encoder_names: Mutex<Vec<(String, String)>>,
    /// Names of pads, and what their encoders are given.
    pictures: Mutex<Vec<(String, Picture)>>,
    /// How far the wall clock was ahead of running time when each interval was begun, in nanoseconds since 1970.
    utc_offsets: Mutex<Vec<i64>>,
}

/// What has been asked of the recording.
#[derive(Default)]
struct Control {
    /// The clock's running time at `start`, while no track is known to be live.
    clock_at_start: Option<Ns>,
    error: Option<Error>,
    marks: Marks,
    /// Once is enough.
    warned_of_marks: bool,
    /// Told at the end of the drain: the tracks were changed.
    modified: Option<Error>,
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
            mut settings,
            tracks,
            clock,
            events,
            src,
            delegate,
            numbers,
            ring,
            fallback,
        } = parts;
        let place = settings.place_in(&ring);
        let mut failed = None;
        let (store, synchroniser) = match settings.location.clone() {
            Some(location) => match part::open_first(&location, &settings, &place) {
                Err(error) if let Some(fallback) = fallback => {
                    let opened = part::open_first(&fallback, &settings, &place)?;
                    settings.location = Some(fallback);
                    failed = Some(error);
                    opened
                }
                opened => opened?,
            },
            None => (
                Store::in_memory(settings.max_memory, settings.temp_dir.clone()),
                None,
            ),
        };
        let any_live = Arc::new(AtomicBool::new(tracks.iter().any(|track| track.live)));
        // Pending until all tracks listen: what arrives meanwhile waits.
        let max_duration = match settings.max_duration {
            0 => Ns::MAX,
            max_duration => max_duration,
        };
        let max_size_time = match settings.max_size_time {
            0 => Ns::MAX,
            max_size_time => max_size_time,
        };
        let unresolved = Timeline::new(0, false)
            .with_max_duration(max_duration)
            .with_max_size_time(max_size_time);
        let unresolved = match settings.limits_bytes() {
            true => unresolved.with_horizon(supervisor::SIZE_STEP),
            false => unresolved,
        };
        let timeline = Arc::new(SharedTimeline::new(unresolved));
        let room = Arc::new(Backpressure::default());
        let shared = Shared {
            clock: clock.clone(),
            timeline: timeline.clone(),
            room: room.clone(),
            queue_limit: settings.queue_limit(),
            patience: settings.patience_ns(),
            any_live: any_live.clone(),
            may_split: settings.may_split.then(|| Asked {
                mime_type: settings.mime_type.clone(),
                location: settings.location.clone(),
                is_alone: tracks.len() == 1,
            }),
        };
        let label = glib::gformat!("{}/recording{id}", delegate.name());
        let decoding = tracks.iter().map(|_| Decoding::default()).collect();
        let tracks: Vec<_> = tracks
            .iter()
            .map(|spec| Track::new(spec, &shared))
            .collect();
        let part = Part::new(PartConfig {
            number: 0,
            label: label.clone(),
            settings: &settings,
            events,
            store,
            src: Some((src.clone(), id)),
            fed: tracks.iter().map(|track| track.progress_of(0)).collect(),
        });
        part.put_in(settings.location.clone(), None, (synchroniser, place));
        if let Some(error) = &failed {
            part.warn_of_fallback(error);
        }
        let session = Arc::new_cyclic(|this| Session {
            id,
            label,
            front: Mutex::new(Front::new(tracks.len(), begin, &settings)),
            row: Mutex::default(),
            numbers,
            ring,
            fell_back: AtomicBool::new(failed.is_some()),
            src,
            bitrates: Mutex::default(),
            settings,
            clock,
            timeline,
            begin,
            tracks,
            decoding,
            this: this.clone(),
            any_live,
            room,
            delegate,
            control: Mutex::default(),
            done: Condvar::new(),
            mime_type: Mutex::new(None),
            encoder_names: Mutex::default(),
            pictures: Mutex::default(),
            utc_offsets: Mutex::default(),
        });
        session.add_first(part);
        Ok(session)
    }

    /// All pads give their buffers to the tracks from now on: makes the first cut.
    pub fn listen(&self) {
        if let Some(part) = self.part() {
            lock(&part.control).start = Some(part.events.reserve());
        }
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
        if let Some(part) = self.part() {
            lock(&part.control).start = Some(part.events.reserve());
        }
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
    /// soon as it is known to need one, and again where [`Track::ask_again`] says so; likewise for the next part. Goes
    /// out of the recorder: to be called without a lock.
    pub fn ask_for_key_frames(&self) {
        let (wanted, split) = self.timeline.read(|t| {
            let split = t.pending_split().map(|running| (t.part(), running));
            (t.pending(), split)
        });
        for track in self.keyed_by_upstream() {
            if let Some((interval, running)) = wanted
                && track.ask_once(interval)
            {
                self.ask_for_key_frame(track, running);
            }
            if let Some((part, running)) = split
                && track.ask_once_behind(part)
            {
                self.ask_for_key_frame(track, running);
            }
        }
    }

    /// Asks, once, for the key frame at which this part is to end.
    fn ask_for_key_frames_at(&self, part: usize, running: Ns) {
        for track in self.keyed_by_upstream() {
            if track.ask_once_behind(part) {
                self.ask_for_key_frame(track, running);
            }
        }
    }

    /// The tracks whose key frames are upstream's to make. (The encoder of what came raw follows the timeline.)
    fn keyed_by_upstream(&self) -> impl Iterator<Item = &Track> {
        let of_upstream =
            |track: &&Track| track.is_keyed() && !track.is_closed() && !track.was_raw();
        self.tracks.iter().filter(of_upstream)
    }

    fn ask_for_key_frame(&self, track: &Track, running: Ns) {
        // As the track's stamps count it.
        let running = running.saturating_add_signed(track.shift().saturating_neg());
        self.delegate.request_key_frame(track.name(), running);
    }

    /// Leaves out what is captured from now on; FALSE if the recording is over.
    pub fn pause(&self) -> bool {
        let Some(part) = self.part() else {
            return false;
        };
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
        part.events.push(Event::Pause { running_time });
        drop(control);
        self.room.wake();
        true
    }

    /// Records what is captured from now on; FALSE if the recording is over.
    pub fn resume(&self) -> bool {
        let resolved = self.may_cut_anywhere();
        let Some(part) = self.part() else {
            return false;
        };
        let control = lock(&self.control);
        if control.over {
            return false;
        }
        let slot = part.events.reserve();
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
            part.events.fill(slot, Some(Event::Resume { running_time }));
        } else {
            gst::info!(
                CAT,
                id = &self.label,
                "Goes on at the first key frame from running time {} on",
                time(running_time)
            );
            lock(&part.control).resumes.push((interval, slot));
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
        if let Some(end) = self.timeline.read(|t| t.max_duration_reached(progress)) {
            self.stop_because(EndReason::MaxDuration, |_| end);
        }
    }

    /// Ends it for this reason, as `stop` does, where `at` says; it is asked with the timeline held.
    fn stop_because(&self, reason: EndReason, at: impl FnOnce(&Timeline) -> Ns) {
        {
            let mut control = lock(&self.control);
            if control.stopped.is_some() || control.error.is_some() {
                return;
            }
            control.reason = Some(reason);
        }
        self.timeline.write(|timeline| {
            let at = at(timeline);
            timeline.stop(at)
        });
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
        let Some(part) = self.part() else {
            return false;
        };
        let control = lock(&self.control);
        let mut asked = lock(&part.control);
        if control.over || asked.over {
            return false;
        }
        let slot = part.events.reserve();
        asked.requests.push_back(slot);
        asked.requested += 1;
        drop((control, asked));
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
        let (bytes, blobs) = self.written();
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

    /// What `stats` says of each track.
    pub fn track_figures(&self) -> Vec<TrackFigures> {
        let (encoders, pictures) = (
            lock(&self.encoder_names).clone(),
            lock(&self.pictures).clone(),
        );
        let of_pad = |pad: &str| encoders.iter().find(|(name, _)| name == pad);
        let converted = |track: &Track| {
            let (_, picture) = pictures.iter().find(|(name, _)| *name == track.name())?;
            let info = formats::video_info(&*track.newest_caps()?)?;
            Some(picture.converted(&info))
        };
        self.tracks
            .iter()
            .map(|track| TrackFigures {
                pad: track.name().to_owned(),
                encoder: of_pad(track.name()).map_or_else(String::new, |(_, name)| name.clone()),
                counts: track.stats(),
                converted: converted(track).unwrap_or_default(),
            })
            .collect()
    }

    /// Parts so far, the one that is on included.
    pub fn part_count(&self) -> u32 {
        let begun = self.timeline.read(|t| {
            let on = t.part();
            let is_empty = on > 0 && t.first_instant_of(on).is_none();
            on + usize::from(!is_empty)
        });
        part::part_number(begun)
    }

    /// Whether the caller is in a callback of the recording's own thread (`encoder-setup`):
    /// there, nothing of the recording can be waited for.
    pub fn is_current_thread(&self) -> bool {
        let current = thread::current().id();
        let mut parts = self.parts().into_iter();
        parts.any(|part| part.supervisor.get() == Some(&current))
    }

    /// Runs a callback that must not unwind: a panic fails the recording.
    pub(crate) fn contain(&self, run: impl FnOnce(&Self)) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(self))) {
            self.fail(panicked(&*panic));
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
}

/// See [`Session::hold_events`].
#[must_use]
pub struct HeldEvents {
    part: Arc<Part>,
    number: u64,
}

impl Drop for HeldEvents {
    fn drop(&mut self) {
        let mut control = lock(&self.part.control);
        let mut held = control.held.iter();
        let at = held.position(|(number, _)| *number == self.number);
        let kept = at.map(|at| control.held.remove(at));
        drop(control);
        if let Some((_, slot)) = kept {
            self.part.events.fill(slot, None);
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

/// What `stats` says of a track.
#[derive(Debug, Clone, Default)]
pub struct TrackFigures {
    /// Name of its pad.
    pub pad: String,
    /// Factory of its encoder, empty where it has none.
    pub encoder: String,
    /// What came of its buffers.
    pub counts: TrackStats,
    /// What of its pictures has been converted.
    pub converted: Vec<String>,
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
