//! The past: recent media of the tracks, kept for recordings that begin before the call.
//!
//! A [`Keeping`] has a [`ring::Ring`] for each track: of raw audio and encoded media as received, of raw video as
//! encoded packets. A new recording reads all of them from its first cut on, until it ends, in separate threads; what
//! it has read stays available for the next one.
//!
//! Lock order: a track's `inner` → the rings; a front's own locks (see [`Track`]) → the rings. None is held across
//! a state change, disk access, or a call of a session.

mod drain;
mod feeder;
mod front;
mod keeper;
mod record;
mod ring;
mod rings;
mod spill;
mod start;
mod track;

pub use track::KeptTrack;

use crate::{
    model::{
        Bitrates, Error, Kind,
        timeline::{Ns, Timeline},
    },
    session::{
        Backpressure, RunningTime, Session, SessionDelegate, Settings, SharedTimeline,
        TrackContext, lock,
    },
};
use ring::Cursor;
use rings::Rings;
use smallvec::SmallVec;
use std::{
    io,
    ops::Deref,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

/// Configuration of a [`Keeping`].
pub struct KeepingConfig {
    /// Settings of the recordings that will begin with it; `location` is the pattern.
    pub settings: Settings,
    pub bitrates: Bitrates,
    /// How much time to keep.
    pub time: Ns,
    pub clock: Arc<RunningTime>,
    pub delegate: Arc<dyn SessionDelegate>,
    /// Posts a warning to the application. Called from one of the keeping's threads.
    pub warn: Box<dyn Fn(String) + Send + Sync>,
}

/// See the module.
pub struct Keeping {
    settings: Settings,
    bitrates: Mutex<Bitrates>,
    clock: Arc<RunningTime>,
    delegate: Arc<dyn SessionDelegate>,
    warn: Box<dyn Fn(String) + Send + Sync>,
    begun: Instant,
    /// The timeline in front of the encoders: its recorded time is running time.
    timeline: Arc<SharedTimeline>,
    /// Where the latest recording begins: frames that are yet to be encoded have a keyframe there.
    latest_cut: AtomicU64,
    any_live: Arc<AtomicBool>,
    backpressure: Arc<Backpressure>,
    tracks: Mutex<Vec<Arc<KeptTrack>>>,
    next_track: AtomicU64,
    rings: Mutex<Rings>,
    /// Notifies readers of new items.
    news: Condvar,
    /// No new recordings begin with it.
    retired: AtomicBool,
    /// Nothing can be kept.
    given_up: AtomicBool,
    /// An encoder has failed, and its replacement does not work yet.
    is_replacing: AtomicBool,
    /// A track's media type has changed.
    stale: AtomicBool,
    /// No more input will arrive.
    over: AtomicBool,
}

/// A keeping reserved for a new recording: it is not closed meanwhile, even if properties change.
pub struct Reserved(Arc<Keeping>);

impl Deref for Reserved {
    type Target = Arc<Keeping>;

    fn deref(&self) -> &Arc<Keeping> {
        &self.0
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        lock(&self.0.rings).started();
        self.0.backpressure.wake();
    }
}

/// The start of a recording, and its readers.
pub struct Beginning {
    /// The recorded intervals of the past; empty if nothing is kept.
    pub intervals: SmallVec<[(Ns, Option<Ns>); 2]>,
    readers: Vec<(Arc<KeptTrack>, u64, Cursor)>,
}

impl Keeping {
    /// Starts keeping the input of the tracks to be added.
    ///
    /// # Errors
    /// If its thread cannot be spawned.
    pub fn begin(config: KeepingConfig) -> io::Result<Arc<Self>> {
        let KeepingConfig {
            settings,
            bitrates,
            time,
            clock,
            delegate,
            warn,
        } = config;
        let rings = Rings::new(time, settings.max_memory, settings.temp_dir.clone());
        let keeping = Arc::new(Keeping {
            settings,
            bitrates: Mutex::new(bitrates),
            clock,
            delegate,
            warn,
            begun: Instant::now(),
            timeline: Arc::new(SharedTimeline::new(Timeline::new(0, true))),
            latest_cut: AtomicU64::new(0),
            any_live: Arc::default(),
            backpressure: Arc::default(),
            tracks: Mutex::default(),
            next_track: AtomicU64::new(0),
            rings: Mutex::new(rings),
            news: Condvar::new(),
            retired: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
            is_replacing: AtomicBool::new(false),
            stale: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        keeper::spawn(keeping.clone())?;
        Ok(keeping)
    }

    /// Adds a track; its input is passed to the returned object.
    pub fn add_track(self: &Arc<Self>, name: &str, kind: Kind) -> Arc<KeptTrack> {
        let number = self.next_track.fetch_add(1, Ordering::SeqCst);
        lock(&self.rings).add(number, kind == Kind::Video);
        let track = Arc::new(KeptTrack::new(self.clone(), number, name, kind));
        lock(&self.tracks).push(track.clone());
        track
    }

    /// Removes a track.
    pub fn remove_track(&self, name: &str) {
        let mut tracks = lock(&self.tracks);
        let removed = tracks
            .iter()
            .position(|track| track.name() == name)
            .map(|index| tracks.remove(index));
        drop(tracks);
        if let Some(track) = removed {
            track.end();
            lock(&self.rings).remove(track.number());
        }
    }

    /// The track of this pad.
    pub fn track(&self, name: &str) -> Option<Arc<KeptTrack>> {
        let tracks = lock(&self.tracks);
        tracks.iter().find(|track| track.name() == name).cloned()
    }

    fn tracks(&self) -> Vec<Arc<KeptTrack>> {
        lock(&self.tracks).clone()
    }

    /// Sets how much time to keep; only the newest stays if it is less.
    pub fn set_time(&self, time: Ns) {
        lock(&self.rings).set_time(time, self.now());
    }

    /// Sets the bit rates of running and future encoders.
    pub fn set_bitrates(&self, bitrates: &Bitrates) {
        *lock(&self.bitrates) = bitrates.clone();
        let tracks = self.tracks();
        for track in &tracks {
            track.set_bits_per_second(self.rate(bitrates, &tracks, track.kind()));
        }
    }

    /// The bit rate of each track of a kind.
    fn rate(&self, bitrates: &Bitrates, tracks: &[Arc<KeptTrack>], kind: Kind) -> u32 {
        let of_kind = tracks.iter().filter(|track| track.kind() == kind).count();
        bitrates.per_track(kind, of_kind)
    }

    /// Whether a recording can begin with it.
    pub fn is_usable(&self) -> bool {
        let is_given_up = self.given_up.load(Ordering::SeqCst);
        !self.is_stale() && !is_given_up && !self.is_replacing.load(Ordering::SeqCst)
    }

    /// Whether it has to be restarted because a track's media type has changed.
    pub fn is_stale(&self) -> bool {
        self.stale.load(Ordering::SeqCst)
    }

    /// Reserves it for a new recording, if that is still possible.
    pub fn reserve(self: &Arc<Self>) -> Option<Reserved> {
        let is_open = lock(&self.rings).starting();
        is_open.then(|| Reserved(self.clone()))
    }

    /// The timeline in front of the encoders.
    pub fn timeline(&self) -> &Arc<SharedTimeline> {
        &self.timeline
    }

    /// The start of a recording requested at running time `now`; from here on nothing of it is discarded.
    pub fn beginning(&self, now: Ns) -> Beginning {
        let intervals = self.timeline.read(|t| t.intervals().to_vec());
        let tracks = self.tracks();
        let entered = tracks.iter().filter_map(|track| track.first_in_encoder());
        let entered: SmallVec<[(u64, Ns); 4]> = entered.collect();
        let mut rings = lock(&self.rings);
        let wanted = start::outside_pauses(&intervals, now.saturating_sub(rings.time()));
        let cut = rings.cut(wanted, &entered);
        self.latest_cut.store(cut.unwrap_or(now), Ordering::SeqCst);
        let readers = tracks.into_iter().filter_map(|track| {
            let (reader, cursor) = rings.read(track.number(), cut.unwrap_or(now))?;
            Some((track, reader, cursor))
        });
        let readers = readers.collect();
        let intervals = cut.map(|cut| start::intervals_from(&intervals, cut));
        Beginning {
            intervals: intervals.unwrap_or_default(),
            readers,
        }
    }

    /// Starts feeding a recording, track by track, in separate threads. `tracks` are the names of the recording's
    /// tracks.
    pub fn feed(self: &Arc<Self>, beginning: Beginning, session: &Arc<Session>, tracks: &[String]) {
        for (track, reader, cursor) in beginning.readers {
            let Some(index) = tracks.iter().position(|name| name == track.name()) else {
                lock(&self.rings).close(track.number(), reader);
                continue;
            };
            if let Some((encoder, converted)) = track.encoding() {
                session.is_encoded_by(track.name(), &encoder, converted);
            }
            track.begin_with(session, index, reader);
            let begun = feeder::spawn(self.clone(), track.clone(), reader, cursor);
            if let Err(err) = begun {
                track.leave(reader);
                let what = format!("start: cannot create a thread: {err}");
                session.fail(Error::unknown(what));
            }
        }
        // In that case it did not know this recording yet.
        if self.given_up.load(Ordering::SeqCst) {
            let what = "start: pre-recording has just failed, as the warning says; start again without the past";
            session.fail(Error::unknown(what));
        }
    }

    /// Releases the readers of a recording that did not start.
    pub fn forget(&self, beginning: Beginning) {
        let mut rings = lock(&self.rings);
        for (track, reader, _) in beginning.readers {
            rings.close(track.number(), reader);
        }
    }

    /// Retires it: no new recordings begin with it; current ones continue.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
        self.backpressure.wake();
    }

    /// Whether it no longer needs input.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// No more input on any track: drains the encoders.
    pub fn finish(&self) {
        for track in self.tracks() {
            track.end();
        }
    }

    /// Amount kept: time and bytes.
    pub fn figures(&self) -> (Ns, u64) {
        lock(&self.rings).figures()
    }

    /// The running time at which an action takes effect now.
    fn now(&self) -> Ns {
        match self.clock.now() {
            Some(now) if self.any_live.load(Ordering::SeqCst) => now,
            _ => self.clock.furthest(),
        }
    }

    fn shared(&self) -> TrackContext {
        TrackContext {
            clock: self.clock.clone(),
            timeline: self.timeline.clone(),
            backpressure: self.backpressure.clone(),
            queue_limit: self.settings.queue_limit(),
            patience: self.settings.patience_ns(),
            any_live: self.any_live.clone(),
            may_split: None,
        }
    }
}
