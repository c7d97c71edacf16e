//! A session is one recording: its tracks, its private pipeline, its end.
//!
//! Actions write a cut into the timeline and return; the tracks read it as their buffers pass. The supervisor, a
//! thread of the session, builds the pipeline, drains it and takes it down.
//!
//! Lock order: `row`, `writer`, `control`, a part's `control`, the timeline, the dispatcher's queue. A track's lock
//! comes before the timeline. None is held across a state change of the pipeline or a callback.

mod alpha_encoder;
mod alpha_input;
mod aside;
mod backpressure;
mod bitrates;
mod caps_ladder;
mod chapters;
mod config;
mod container_limit;
mod corrections;
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
mod figures;
mod finalise;
mod fixups;
mod fragment_alignment;
mod frame_dropper;
mod io_pads;
mod key_requests;
mod key_units;
mod marks;
mod orientation;
mod panics;
mod part;
mod part_size;
mod pipeline;
mod probe;
mod row;
mod stop;
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
use figures::Conversion;
pub use figures::{Figures, TrackFigures};
pub(crate) use orientation::of_tags as orientation_of;
pub(crate) use panics::{panic_text, panicked};
pub use timing::RunningTime;
use timing::try_lock;
pub(crate) use timing::{SharedTimeline, lock};
use track::Asked;
pub use track::{Flow, Origin, TrackSpec, TrackStats};
pub(crate) use track::{Track, TrackContext, stamp_of};
pub use tracks::{CLOCK_LOOK, ROOM_LOOK};

use crate::{
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
    sync::{
        Arc, Condvar, Mutex, Weak,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::Instant,
};
use supervisor::Front;

/// See the module documentation.
pub struct Session {
    id: u64,
    /// Its name in the log.
    label: glib::GString,
    settings: Settings,
    clock: Arc<RunningTime>,
    timeline: Arc<SharedTimeline>,
    begin: Begin,
    tracks: Vec<Track>,
    /// In the order of the tracks.
    decoding: Vec<Decoding>,
    /// Weak reference to itself, for callbacks.
    this: Weak<Session>,
    any_live: Arc<AtomicBool>,
    backpressure: Arc<Backpressure>,
    delegate: Arc<dyn SessionDelegate>,
    /// Its parts.
    row: Mutex<Row>,
    /// Number of files begun by the recorder.
    numbers: Arc<AtomicU32>,
    /// The recorder's ring of files.
    ring: Arc<Ring>,
    /// `location` has failed: files go to the fallback location from now on.
    fell_back: AtomicBool,
    src: Arc<SrcOutput>,
    bitrates: Mutex<Bitrates>,
    control: Mutex<Control>,
    /// What supervisors do for all parts.
    front: Mutex<Front>,
    done: Condvar,
    /// The actual MIME type of the latest part.
    mime_type: Mutex<Option<String>>,
    /// Pad names and the factories of their encoders, for the latest part.
    encoder_names: Mutex<Vec<(String, String)>>,
    /// Pad names and what is converted of their video.
    conversions: Mutex<Vec<(String, Conversion)>>,
    /// Wall-clock time minus running time at the start of each interval, in nanoseconds since 1970.
    utc_offsets: Mutex<Vec<i64>>,
}

/// The state that actions change.
#[derive(Default)]
struct Control {
    /// The clock's running time at `start`, until a track is known to be live.
    clock_at_start: Option<Ns>,
    error: Option<Error>,
    marks: Marks,
    /// The warning is emitted once.
    warned_of_marks: bool,
    /// The tracks were modified. Reported at the end of the drain.
    modified: Option<Error>,
    stopped: Option<Instant>,
    /// Nothing more will arrive.
    going_down: bool,
    /// Why it was stopped; `None` while it goes on, or if its tracks have ended.
    reason: Option<EndReason>,
    finished: bool,
    /// The last events are being emitted; no more can be added.
    over: bool,
}

impl Session {
    /// Starts a recording. Opens `location`; anything slow is left to the supervisor.
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
        // Pending until all tracks receive buffers; what arrives before is queued.
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
        let backpressure = Arc::new(Backpressure::default());
        let shared = TrackContext {
            clock: clock.clone(),
            timeline: timeline.clone(),
            backpressure: backpressure.clone(),
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
            backpressure,
            delegate,
            control: Mutex::default(),
            done: Condvar::new(),
            mime_type: Mutex::new(None),
            encoder_names: Mutex::default(),
            conversions: Mutex::default(),
            utc_offsets: Mutex::default(),
        });
        session.add_first(part);
        Ok(session)
    }

    /// From now on, all pads push their buffers into the tracks: makes the first cut.
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

    /// The same, if the recording begins in the past: `past` are the intervals recorded from the pre-record buffer,
    /// the last of which is open. `front` is the timeline in front of that buffer, and follows this recording's cuts.
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

    /// Notes the wall-clock time at the start of the newest interval.
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

    /// Its settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The actual MIME type, once it is known.
    pub fn mime_type(&self) -> Option<String> {
        lock(&self.mime_type).clone()
    }

    /// The running time of a cut made now: clock time if a track is live, else the furthest that has arrived.
    pub fn now(&self) -> Ns {
        match self.clock.now() {
            Some(now) if self.any_live() => now,
            _ => self.clock.furthest(),
        }
    }

    /// Whether any track is live, as far as is known. If so, cuts are made at clock time.
    fn any_live(&self) -> bool {
        self.any_live.load(Ordering::SeqCst)
    }

    /// Pauses the recording from now on; FALSE if it is over.
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
        self.backpressure.wake();
        true
    }

    /// Resumes the recording from now on; FALSE if it is over.
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
        self.backpressure.wake();
        true
    }

    /// Requests a blob of the media so far; FALSE if the recording is over.
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
        self.backpressure.wake();
        true
    }

    /// Whether the caller is in a callback of one of the recording's own threads (`encoder-setup`), where waiting for
    /// the recording would deadlock.
    pub fn is_current_thread(&self) -> bool {
        let current = thread::current().id();
        let mut parts = self.parts().into_iter();
        parts.any(|part| part.supervisor.get() == Some(&current))
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
