//! A session is one recording: its tracks, its private pipeline, its end.
//!
//! The actions write an instant into the timeline and return; the tracks read it as their
//! buffers pass; the supervisor, a thread of the session's own, builds, drains and takes down.
//!
//! Lock order: `writer`, `control`, the timeline, the dispatcher's queue; a track's lock comes
//! before the timeline. None is held across a state change of the pipeline or a callback.

mod av1;
mod decode_times;
mod download;
mod encoding;
mod ends;
mod event;
mod flac;
mod header;
mod heard;
mod hollow;
mod keys;
mod limit;
mod mpeg4;
mod opus;
mod pace;
mod pipeline;
mod priming;
mod probe;
mod room;
mod slices;
mod steady;
mod supervisor;
mod timing;
mod track;
mod trial;
mod turn;
mod verbatim;
mod writer;

pub use event::Event;
pub use timing::RunningTime;
pub(crate) use timing::lock;
pub use track::{Counts, Flow, TrackSpec};

use crate::{
    gate::Input,
    log::{CAT, time},
    model::{
        Bitrates, Error,
        timeline::{Ns, Timeline},
    },
    output::{Events, Slot, SrcOutput, Store},
};
use room::Room;
use std::{
    any::Any,
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, TryLockError},
    thread::{self, ThreadId},
    time::{Duration, Instant},
};
use timing::SharedTimeline;
use track::{Shared, Track};
use writer::{BlobOutlet, Progress, Writer};

/// A track that is full waits so long for the one that starves.
const STARVED: Duration = Duration::from_millis(10);
/// How often an upstream that waits for the clock looks at it.
const CLOCK_LOOK: Duration = Duration::from_millis(10);
/// How often one that waits for room looks by itself.
const ROOM_LOOK: Duration = Duration::from_millis(200);
/// No hole in a track is longer (six hours): beyond it, stamps are broken.
const LONGEST_HOLE: Ns = 6 * 3_600_000_000_000;

/// How often who cannot wait for the disk looks whether the writer is free.
const WRITER_LOOK: Duration = Duration::from_millis(1);

/// What shapes a recording, as it was at `start`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The requested type.
    pub mime_type: String,
    /// Where the file goes, its number filled in.
    pub location: Option<String>,
    /// Recorded time per blob, 0 = one at the end.
    pub timeslice: Ns,
    /// Bits per second.
    pub bitrates: Bitrates,
    /// `audio-bitrate-mode` constant.
    pub constant_bitrate: bool,
    /// Most time between key frames, 0 = the default.
    pub key_interval_ms: u32,
    /// Most frames from key frame to key frame, 0 = the default.
    pub key_interval_frames: u32,
    /// Gathered bytes beyond it go to a temporary file.
    pub max_memory: u64,
    /// Where that is.
    pub temp_dir: Option<PathBuf>,
    /// Media that may wait, per track.
    pub max_queue_time: Ns,
    /// How long the drain may take.
    pub stop_timeout: Duration,
    /// Tags of the whole recording.
    pub tags: Option<gst::TagList>,
}

/// Players seek, and cuts and fragments begin, at key frames.
const KEY_INTERVAL: gst::ClockTime = gst::ClockTime::from_seconds(2);

impl Settings {
    /// Most time and most frames (0: any number) from key frame to key frame.
    fn key_interval(&self) -> (Option<gst::ClockTime>, u32) {
        let interval = match (self.key_interval_ms, self.key_interval_frames) {
            (0, 0) => Some(KEY_INTERVAL),
            (0, _) => None,
            (milliseconds, _) => Some(gst::ClockTime::from_mseconds(milliseconds.into())),
        };
        (interval, self.key_interval_frames)
    }
}

/// What the session asks of whoever has it.
pub trait Host: Send + Sync + 'static {
    /// What it is called, for the log.
    fn name(&self) -> String;
    /// An encoder is about to be used for the track of this pad; it is in NULL.
    fn encoder_setup(&self, pad: &str, encoder: &gst::Element);
    /// Asks upstream of this pad for a key frame at a running time.
    fn request_key_frame(&self, pad: &str, running: Ns);
    /// Tags that upstream has sent on this pad.
    fn tags(&self, pad: &str) -> Option<gst::TagList>;
    /// The session has taken all it needs and its events are queued.
    fn finished(&self, session: u64);
}

/// When the recording begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// At the moment of the call.
    Now,
    /// At the earliest buffer of any track.
    EarliestBuffer,
}

/// Everything a session is made from.
pub struct Parts {
    /// Its number.
    pub id: u64,
    /// What shapes it.
    pub settings: Settings,
    /// Its tracks.
    pub tracks: Vec<TrackSpec>,
    /// The pipeline's running time.
    pub clock: Arc<RunningTime>,
    /// Its events.
    pub events: Events<Event>,
    /// The `src` pad, if it is linked.
    pub src: Option<Arc<SrcOutput>>,
    /// Who has it.
    pub host: Arc<dyn Host>,
}

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
    any_live: bool,
    room: Arc<Room>,
    events: Events<Event>,
    host: Arc<dyn Host>,
    /// Held while the disk is written to, however long that takes.
    writer: Mutex<Writer>,
    progress: Arc<Progress>,
    src: Option<Arc<SrcOutput>>,
    control: Mutex<Control>,
    done: Condvar,
    /// The supervisor's thread.
    supervisor: OnceLock<ThreadId>,
    /// The actual type.
    mime_type: Mutex<Option<String>>,
    /// The encoders that run, by the names of their pads.
    encoders: Mutex<Vec<(String, gst::Element)>>,
    /// Names of the pads and of their encoders' factories.
    encoder_names: Mutex<Vec<(String, String)>>,
}

/// What has been asked of the supervisor.
#[derive(Default)]
struct Control {
    start: Option<Slot>,
    /// Resumes whose cut is not known yet, by interval.
    resumes: Vec<(usize, Slot)>,
    /// Places kept for blobs.
    requests: VecDeque<Slot>,
    error: Option<Error>,
    /// The factory of an encoder that has failed before anything came of it, and how.
    failed_encoder: Option<(String, Error)>,
    /// Told at the end of the drain: the tracks were changed.
    modified: Option<Error>,
    drained: bool,
    caps: bool,
    stopped: Option<Instant>,
    /// Nothing more will arrive.
    going_down: bool,
    finished: bool,
    /// Its last events are being said: no more can be added.
    over: bool,
}

impl Session {
    /// Begins a recording. Opens `location`; everything slow is left to the supervisor.
    pub fn start(parts: Parts, begin: Begin) -> Result<Arc<Self>, Error> {
        let Parts {
            id,
            settings,
            tracks,
            clock,
            events,
            src,
            host,
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
        let any_live = tracks.iter().any(|track| track.live);
        // Undecided until all tracks listen: what arrives meanwhile waits.
        let timeline = Arc::new(SharedTimeline::new(Timeline::new(0, false)));
        let room = Arc::new(Room::default());
        let shared = Shared {
            clock: clock.clone(),
            timeline: timeline.clone(),
            room: room.clone(),
            max_queue_time: settings.max_queue_time,
            any_live,
        };
        let start = events.reserve();
        let progress = Arc::<Progress>::default();
        let session = Arc::new(Session {
            id,
            label: glib::gformat!("{}/recording{id}", host.name()),
            writer: Mutex::new(Writer::new(
                store,
                src.clone(),
                settings.timeslice,
                progress.clone(),
            )),
            progress,
            src,
            settings,
            clock,
            timeline,
            begin,
            tracks: tracks
                .iter()
                .map(|spec| Track::new(spec, &shared))
                .collect(),
            any_live,
            room,
            events,
            host,
            control: Mutex::new(Control {
                start: Some(start),
                ..Control::default()
            }),
            done: Condvar::new(),
            supervisor: OnceLock::new(),
            mime_type: Mutex::new(None),
            encoders: Mutex::default(),
            encoder_names: Mutex::default(),
        });
        Ok(session)
    }

    /// The newest buffer that passed the pad of a track before it was given to the track.
    pub fn replay(&self, track: usize, recent: Input) {
        if let Some(track) = self.track(track) {
            track.replay(recent);
        }
    }

    /// All pads give their buffers to the tracks from now on: makes the first cut.
    pub fn listen(&self) {
        if self.begin == Begin::Now {
            let decided = self.may_cut_anywhere();
            self.timeline.write(|timeline| {
                *timeline = Timeline::new(self.now(), decided);
            });
        }
        self.tell_beginning();
    }

    /// Lets the supervisor loose: from here on there are events.
    pub fn run(self: &Arc<Self>) -> Result<(), Error> {
        supervisor::spawn(self.clone())
            .map_err(|err| Error::unknown(format!("start: no thread can be had: {err}")))
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
    fn now(&self) -> Ns {
        match self.clock.now() {
            Some(now) if self.any_live => now,
            _ => self.clock.furthest(),
        }
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
        let wanted = self.timeline.read(|t| t.undecided());
        if let Some((interval, running)) = wanted {
            let running = running.saturating_add_signed(self.clock.shift().saturating_neg());
            for track in self.tracks.iter().filter(|track| track.is_keyed()) {
                if !track.is_closed() && track.ask_once(interval) {
                    self.host.request_key_frame(track.name(), running);
                }
            }
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
        let decided = self.may_cut_anywhere();
        let mut control = lock(&self.control);
        if control.over {
            return false;
        }
        let slot = self.events.reserve();
        let (running_time, decided, interval) = self.timeline.write(|timeline| {
            let at = timeline.resume(self.now(), decided);
            let decided = timeline.undecided().is_none();
            (at, decided, timeline.intervals().len() - 1)
        });
        if decided {
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
        self.room.wake();
        true
    }

    /// Ends the recording with what has been captured until now; FALSE if an error already has.
    ///
    /// A change of the tracks that has not been told yet is not told any more (WPT-41).
    pub fn stop(&self) -> bool {
        {
            let mut control = lock(&self.control);
            let told = control.stopped.is_some() && control.modified.is_none();
            if control.error.is_some() || told {
                return false;
            }
            control.modified = None;
        }
        self.timeline.write(|timeline| timeline.stop(self.now()));
        self.stopped(false);
        true
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
                timeline.stop(match self.any_live {
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
        drop(control);
        self.room.wake();
        true
    }

    /// Number of tracks.
    pub fn track_count(&self) -> usize {
        self.tracks.len()
    }

    /// The track of a pad.
    pub fn track_of(&self, pad: &str) -> Option<usize> {
        self.tracks.iter().position(|track| track.name() == pad)
    }

    fn track(&self, track: usize) -> Option<&Track> {
        self.tracks.get(track)
    }

    /// A buffer of a track; waits for room if it is not live. `now`: the clock's running time, if it has been read
    /// already.
    pub fn push(&self, track: usize, input: Input, now: Option<Ns>) -> Flow {
        match self.track(track) {
            Some(this) if self.is_absurd(this, input.end()) => Flow::Done,
            Some(this) => {
                self.wait_for_room(track, this, input.running);
                let for_another = this.is_behind() && self.others_starve(track);
                this.push(input, for_another, now)
            }
            None => Flow::Done,
        }
    }

    /// A leap that no source means: what it leaves out would have to be made up. Ends the
    /// recording.
    fn is_absurd(&self, track: &Track, end: Ns) -> bool {
        let start = || {
            let first = |t: &Timeline| t.intervals().last().map_or(0, |i| i.start);
            self.timeline.read(first)
        };
        let arrived = track.arrived();
        if end.saturating_sub(arrived) <= LONGEST_HOLE
            || end.saturating_sub(arrived.max(start())) <= LONGEST_HOLE
            || self
                .clock
                .now()
                .is_some_and(|now| end <= now.saturating_add(LONGEST_HOLE))
        {
            return false;
        }
        self.fail(Error::unknown(format!(
            "The stamps of {} leap by {} hours: they are broken.",
            track.name(),
            (end - arrived) / 3_600_000_000_000
        )));
        true
    }

    /// Holds a non-live upstream back while enough of it waits. When another track has starved for longer
    /// than a thread may take to bring more, as much again may wait: its data may be behind this buffer.
    /// Beside live tracks it is held to their pace.
    fn wait_for_room(&self, index: usize, track: &Track, running: Ns) {
        if track.is_live() {
            return;
        }
        let mut starved = None;
        self.room.wait_while(|| {
            if track.need_not_wait() || self.room.is_open() {
                return None;
            }
            if self.any_live && self.clock.now().is_some_and(|now| running > now) {
                return Some(CLOCK_LOOK);
            }
            if !track.is_full() {
                return None;
            }
            if !self.others_starve(index) {
                starved = None;
                // Room, and hunger that lasts, are told.
                return Some(ROOM_LOOK);
            }
            let since = starved.get_or_insert_with(Instant::now).elapsed();
            if since >= STARVED {
                track.widen();
                return None;
            }
            Some(STARVED.saturating_sub(since))
        });
    }

    /// Whether the muxer has nothing of some other track, and so holds this one up.
    fn others_starve(&self, index: usize) -> bool {
        let mut tracks = self.tracks.iter().enumerate();
        tracks.any(|(other, track)| other != index && track.is_starving())
    }

    /// Tags of a track. Raw pictures are turned as they say; all else goes into the file.
    pub fn set_tags(&self, track: usize, tags: &gst::TagListRef) {
        let Some(track) = self.track(track) else {
            return;
        };
        let mut tags = tags.to_owned();
        if !track.is_encoded()
            && let Some(turn) = turn::of_tags(&tags)
        {
            track.set_orientation(turn);
            tags.make_mut().remove::<gst::tags::ImageOrientation>();
        }
        track.set_tags(tags);
    }

    /// The encoded media of a track comes in the other order: what came before is all there is.
    pub fn refuse_backwards(&self, track: usize) {
        let Some(track) = self.track(track) else {
            return;
        };
        self.tracks_modified(Error::not_supported(format!(
            "The stream on {} is encoded and is played backwards, which no file can hold: decode it \
             in front of the recorder.",
            track.name()
        )));
    }

    /// New caps of a track.
    pub fn set_caps(&self, track: usize, caps: &gst::Caps) {
        if let Some(track) = self.track(track)
            && let Err(err) = track.set_caps(caps)
        {
            self.fail(Error::not_supported(format!(
                "The track of {} cannot be recorded ({caps}): {err}",
                track.name()
            )));
        }
    }

    /// Buffers of a track did not get here: what is encoded goes on at the next key frame.
    pub fn lose(&self, track: usize) {
        if let Some(track) = self.track(track) {
            track.lose();
        }
    }

    /// Upstream has nothing for a track before running time `end`.
    pub fn gap(&self, track: usize, end: Ns) {
        if let Some(track) = self.track(track)
            && !self.is_absurd(track, end)
        {
            track.gap(end);
        }
    }

    /// Silence or black instead of a track's media, or its media again, from now on.
    pub fn mute(&self, track: usize, muted: bool) {
        if let Some(track) = self.track(track) {
            let at = self.timeline.write(|_| self.now());
            track.mute(at, muted);
        }
    }

    /// The same from the beginning.
    pub fn start_muted(&self, track: usize) {
        if let Some(track) = self.track(track) {
            track.mute(0, true);
        }
    }

    /// EOS of a track.
    pub fn end_track(&self, track: usize) {
        if let Some(track) = self.track(track) {
            track.end();
        }
    }

    /// A flush begins (nobody may wait) or ends.
    pub fn set_flushing(&self, track: usize, flushing: bool) {
        if let Some(track) = self.track(track) {
            track.set_flushing(flushing);
        }
    }

    /// New bit rates, from now on.
    pub fn set_bitrates(&self, bitrates: &Bitrates) {
        let encoders = lock(&self.encoders).clone();
        for kind in [crate::model::Kind::Audio, crate::model::Kind::Video] {
            let of_kind: Vec<_> = encoders
                .iter()
                .filter(|(pad, _)| pad.starts_with(kind.name()))
                .collect();
            for (_, encoder) in &of_kind {
                crate::formats::set_bits_per_second(
                    encoder,
                    bitrates.per_track(kind, of_kind.len()),
                );
            }
        }
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

    /// Pad, encoder and counts of each track.
    pub fn track_figures(&self) -> Vec<(String, String, Counts)> {
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
                (name, encoder, track.counts())
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
            hand_out: &hand_out,
            mime_type: &mime_type,
            running_at: &running_at,
            fed: self.tracks.iter().map(Track::fed).max().unwrap_or(0),
        };
        work(&outlet)
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
