//! A session is one recording: its tracks, its private pipeline, its end.
//!
//! Actions write a cut into the timeline and return; the tracks read it as their buffers pass. The supervisor, a
//! thread of the session, builds the pipeline, drains it and takes it down.
//!
//! Lock order: `coordinator` (only ever tried), `part_list`, `writer`, `control`, a part's `control`, the timeline, the
//! dispatcher's queue. A track's lock comes before the timeline. None is held across a state change of the pipeline or a
//! callback.

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
mod frame_dropper;
mod io_pads;
mod key_requests;
mod key_units;
mod marks;
mod orientation;
mod overlap;
mod panics;
mod part;
mod part_list;
mod part_size;
mod pipeline;
mod probe;
mod remedies;
mod start;
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
pub use event::{Blob, Event, FinishedPart, Mark, RecordedInterval, Stopped};
use figures::Conversion;
pub use figures::{Figures, TrackFigures};
pub(crate) use orientation::of_tags as orientation_of;
pub(crate) use panics::{panic_text, panicked};
pub(crate) use remedies::{Failed, Remedies, hang};
pub use timing::RunningTime;
use timing::try_lock;
pub(crate) use timing::{SharedTimeline, lock};

pub use track::{Flow, Origin, TrackSpec, TrackStats};
pub(crate) use track::{Track, TrackContext, stamp_of};
pub use tracks::{CLOCK_LOOK, ROOM_LOOK};

use crate::{
    log::{CAT, time},
    model::{Bitrates, EndReason, Error, timeline::Ns},
    output::{Ring, SrcOutput},
};
use decoding::Decoding;
use marks::Marks;
use part::Part;
use part_list::PartList;
use std::{
    sync::{
        Arc, Condvar, Mutex, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};
use supervisor::Coordinator;

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
    part_list: Mutex<PartList>,
    /// Bytes of the parts that have been reported.
    reported: Arc<AtomicU64>,
    /// Number of files begun by the recorder.
    numbers: Arc<AtomicU32>,
    /// The recorder's ring of files.
    ring: Arc<Ring>,
    /// `location` has failed: files go to the fallback location from now on.
    fell_back: AtomicBool,
    /// A part has been given a name at the fallback location.
    fallback_named: AtomicBool,
    src: Arc<SrcOutput>,
    bitrates: Mutex<Bitrates>,
    control: Mutex<Control>,
    /// What supervisors do for all parts.
    coordinator: Mutex<Coordinator>,
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
    /// Notes the wall-clock time at the start of the newest interval.
    fn note_wall_clock(&self) {
        let offset = wall_clock::system_offset(|| self.now());
        lock(&self.utc_offsets).push(offset);
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

    /// Whether its files can begin while a track has no media yet; oggmux waits for the first frame.
    fn begins_without_media(&self) -> bool {
        let mime_type = self.mime_type();
        mime_type.is_none_or(|mime_type| !mime_type.contains("/ogg"))
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
        // The supervisor announces the resume as soon as it is resolved: it has to find the slot.
        let mut of_part = lock(&part.control);
        let (running_time, resolved, interval) = self.timeline.write(|timeline| {
            let at = timeline.resume(self.now(), resolved);
            let resolved = timeline.pending().is_none();
            (at, resolved, timeline.intervals().len() - 1)
        });
        if resolved {
            gst::info!(
                CAT,
                id = &self.label,
                "Resumed at running time {}",
                time(running_time)
            );
            part.events.fill(slot, Some(Event::Resume { running_time }));
        } else {
            gst::info!(
                CAT,
                id = &self.label,
                "Resumes at the first keyframe from running time {} on",
                time(running_time)
            );
            of_part.resumes.push((interval, slot));
        }
        drop(of_part);
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
