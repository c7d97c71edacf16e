//! One part of a recording as it is made: its file, its bytes, its events.
//!
//! A recording that is never split has one. Each has a pipeline, and a supervisor, of its own: while an older one still
//! drains, the next already records.

use super::{
    HeldEvents, Session, Settings,
    bitrates::RunningEncoder,
    lock,
    part_size::PartSize,
    synchroniser::Synchroniser,
    try_lock,
    writer::{BlobOutlet, Incomplete, Progress, Writer},
};
use crate::{
    model::{Error, timeline::Ns},
    output::{Events, RingPlace, Slot, SrcOutput, Store},
    session::Event,
};
use std::{
    collections::VecDeque,
    io,
    path::Path,
    sync::{
        Arc, Condvar, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

/// How often who cannot wait for the disk looks whether the writer is free.
const WRITER_LOOK: Duration = Duration::from_millis(1);

/// See the module.
pub struct Part {
    /// Its number in the recording, from 0.
    pub number: usize,
    /// What the log calls it.
    pub label: glib::GString,
    /// Where its file is; known when that is opened.
    location: OnceLock<Option<String>>,
    /// The place of that among those of the recorder.
    place: OnceLock<RingPlace>,
    /// Number of its file among all of the recorder's.
    pub file_number: OnceLock<u32>,
    pub events: Events<Event>,
    /// Held while the disk is written to, however long that takes.
    writer: Mutex<Writer>,
    pub progress: Arc<Progress>,
    pub size: PartSize,
    /// With `sync-interval`, of a file.
    synchroniser: OnceLock<Arc<Synchroniser>>,
    /// How far each track has been given on, in recorded time of the part.
    fed: Vec<Arc<AtomicU64>>,
    pub control: Mutex<PartControl>,
    /// The supervisor's thread.
    pub supervisor: OnceLock<ThreadId>,
    /// The actual type.
    pub mime_type: Mutex<Option<String>>,
    pub encoders: Mutex<Vec<RunningEncoder>>,
    /// Its pipeline has drained.
    pub done: Condvar,
}

/// What has been asked of a part's supervisor, and what its pipeline has told.
#[derive(Default)]
pub struct PartControl {
    /// Places kept by [`Session::hold_events`], by the numbers of who keeps them.
    pub held: Vec<(u64, Slot)>,
    next_held: u64,
    pub start: Option<Slot>,
    /// Resumes whose cut is not known yet, by interval.
    pub resumes: Vec<(usize, Slot)>,
    /// Places kept for blobs.
    pub requests: VecDeque<Slot>,
    /// How many blobs have been asked for.
    pub requested: u64,
    pub error: Option<Error>,
    /// Encoders that have failed, and how.
    pub failed_encoders: Vec<(gst::Element, Error)>,
    /// Tracks, by their pads, that have ended because of these caps, at this recorded time.
    pub ended_by_caps: Vec<(String, gst::Caps, Ns)>,
    pub drained: bool,
    /// Its disk has failed: the next part begins as soon as one can.
    pub falls_back: Option<Error>,
    /// Since when the file is being completed: the muxer has written all.
    pub completing: Option<Instant>,
    pub caps: bool,
    /// When it became known where it ends.
    pub ended: Option<Instant>,
    /// It does not come to be: the one before is the last.
    pub cancelled: bool,
    /// Its last events are being said: no more can be added.
    pub over: bool,
}

/// What a part is made from.
pub struct PartConfig<'a> {
    pub number: usize,
    pub label: glib::GString,
    pub settings: &'a Settings,
    pub events: Events<Event>,
    pub store: Store,
    /// What its bytes leave through, and the recording's number there.
    pub src: Option<(Arc<SrcOutput>, u64)>,
    pub fed: Vec<Arc<AtomicU64>>,
}

impl Part {
    /// A part of which nothing has come.
    pub fn new(config: PartConfig<'_>) -> Self {
        let PartConfig {
            number,
            label,
            settings,
            events,
            store,
            src,
            fed,
        } = config;
        let progress = Arc::<Progress>::default();
        Part {
            number,
            label,
            location: OnceLock::new(),
            place: OnceLock::new(),
            file_number: OnceLock::new(),
            events,
            writer: Mutex::new(Writer::new(
                store,
                src,
                settings.timeslice,
                progress.clone(),
            )),
            progress,
            size: PartSize::of_tracks(fed.len()),
            synchroniser: OnceLock::new(),
            fed,
            control: Mutex::default(),
            supervisor: OnceLock::new(),
            mime_type: Mutex::new(None),
            encoders: Mutex::default(),
            done: Condvar::new(),
        }
    }

    /// Where its file is, if it has one and that is open.
    pub fn location(&self) -> Option<&str> {
        self.location.get()?.as_deref()
    }

    /// Its file, opened; nothing has been written yet.
    pub fn put_in(
        &self,
        location: Option<String>,
        store: Option<Store>,
        (synchroniser, place): (Option<Arc<Synchroniser>>, RingPlace),
    ) {
        let _ = self.location.set(location);
        let _ = self.place.set(place);
        if let Some(synchroniser) = synchroniser {
            let _ = self.synchroniser.set(synchroniser);
        }
        if let Some(store) = store {
            lock(&self.writer).put_in(store);
        }
    }

    /// How long its file may become before less is free than has to be, as far as is known.
    pub fn room(&self) -> u64 {
        self.place.get().map_or(u64::MAX, RingPlace::room)
    }

    /// `location` has failed, and the recording goes on elsewhere.
    pub fn warn_of_fallback(&self, error: &Error) {
        let what = error.message().trim_end_matches('.');
        let message = format!("{what}. The recording goes on at fallback-location.");
        self.events.push(Event::Warning { message });
    }

    /// What brings its file to the disk, where that was asked for.
    pub fn synchroniser(&self) -> Option<&Arc<Synchroniser>> {
        self.synchroniser.get()
    }

    /// The actual type, once it is known.
    pub fn mime_type(&self) -> Option<String> {
        lock(&self.mime_type).clone()
    }

    /// Events from now on come when this is dropped, or at [`Session::let_events_go`].
    pub fn hold_events(self: &Arc<Self>) -> HeldEvents {
        let slot = self.events.reserve();
        let mut control = lock(&self.control);
        let number = control.next_held;
        control.next_held += 1;
        control.held.push((number, slot));
        HeldEvents {
            part: self.clone(),
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
}

impl Session {
    /// Works with the writer of a part, in its muxer's thread, which may wait for the disk.
    pub(super) fn with_writer<R>(
        &self,
        part: &Part,
        work: impl FnOnce(&mut Writer, &BlobOutlet<'_>) -> R,
    ) -> R {
        let mut writer = lock(&part.writer);
        self.with_outlet(part, |outlet| work(&mut writer, outlet))
    }

    /// Works with the writer of a part unless the disk keeps it for longer than `patience`.
    pub(super) fn with_writer_within<R>(
        &self,
        part: &Part,
        patience: Duration,
        work: impl FnOnce(&mut Writer, &BlobOutlet<'_>) -> R,
    ) -> Option<R> {
        let end = Instant::now() + patience;
        let mut writer = loop {
            if let Some(writer) = try_lock(&part.writer) {
                break writer;
            }
            if Instant::now() >= end {
                return None;
            }
            thread::sleep(WRITER_LOOK);
        };
        Some(self.with_outlet(part, |outlet| work(&mut writer, outlet)))
    }

    /// The way out for blobs: they take the places that `request-data` has kept.
    pub(super) fn with_outlet<R>(&self, part: &Part, work: impl FnOnce(&BlobOutlet<'_>) -> R) -> R {
        let hand_out = |event| {
            let mut control = lock(&part.control);
            match control.requests.pop_front() {
                Some(slot) => part.events.fill(slot, Some(event)),
                None => part.events.push(event),
            }
        };
        let begin = || self.timeline.read(|t| t.recorded_before(part.number));
        let running_at = |recorded: Ns| {
            self.timeline
                .read(|t| t.running_at(recorded.saturating_add(t.recorded_before(part.number))))
        };
        let mime_type = || part.mime_type().unwrap_or_default();
        let fed = part.fed.iter().map(|fed| fed.load(Ordering::Relaxed));
        let outlet = BlobOutlet {
            session: self.id,
            part: part_number(part.number),
            begin: &begin,
            hand_out: &hand_out,
            mime_type: &mime_type,
            running_at: &running_at,
            fed: fed.max().unwrap_or(0),
        };
        work(&outlet)
    }

    /// A part's pipeline has failed. What has ended already lacks its rest; the recording ends with the part that is on.
    pub(super) fn fail_part(&self, part: &Part, error: Error) {
        gst::warning!(crate::log::CAT, id = &part.label, "Fails: {error}");
        let mut control = lock(&part.control);
        control.error.get_or_insert(error.clone());
        let ended = control.ended.is_some();
        drop(control);
        if ended {
            self.backpressure.wake();
        } else {
            self.fail(error);
        }
    }

    /// The part ends where nothing more can be written: the recording goes on at the fallback, or ends too.
    pub(super) fn fail_to_write(&self, part: &Part, err: &io::Error) {
        let what = match part.location() {
            Some(location) => format!("location \"{location}\""),
            None => "The temporary file of the recording".into(),
        };
        let error = Error::unknown(format!("{what} cannot be written: {err}"));
        // There is something to go on with.
        let is_on = self
            .timeline
            .read(|t| !t.is_stopped() && t.part() == part.number);
        if is_on && part.location().is_some() && self.falls_back() {
            lock(&part.control).falls_back = Some(error);
            return self.backpressure.wake();
        }
        self.fail_part(part, error);
    }

    /// Whether files go to the fallback from now on, for the first time.
    pub(super) fn falls_back(&self) -> bool {
        self.settings.fallback.is_some() && !self.fell_back.swap(true, Ordering::SeqCst)
    }

    /// Whether files go to the fallback.
    pub(super) fn has_fallen_back(&self) -> bool {
        self.fell_back.load(Ordering::SeqCst)
    }

    /// What names the files of parts from now on.
    pub fn pattern(&self) -> Option<&str> {
        match self.has_fallen_back() {
            true => self.settings.fallback.as_deref(),
            false => self.settings.pattern.as_deref(),
        }
    }

    /// The part is whole, but for its last step.
    pub(super) fn warn_of_incomplete(&self, part: &Part, incomplete: Option<Incomplete>) {
        if let Some(Incomplete { purpose, reason }) = incomplete {
            let message = format!("The recording is complete, but {purpose}: {reason}");
            part.events.push(Event::Warning { message });
        }
    }
}

/// Opens a part's file, and what synchronises it.
pub fn open(
    location: &str,
    settings: &Settings,
    place: RingPlace,
) -> io::Result<(Store, Option<Arc<Synchroniser>>)> {
    let temp_dir = settings.temp_dir.clone();
    let mut store = Store::in_ring(
        Path::new(location),
        settings.max_memory,
        temp_dir,
        Some(place),
    )?;
    let file = match settings.sync_interval {
        0 => None,
        _ => store.sync_file()?,
    };
    let interval = Duration::from_nanos(settings.sync_interval);
    let synchroniser = file.map(|file| Arc::new(Synchroniser::new(file, interval)));
    Ok((store, synchroniser))
}

/// The same, for `start`.
pub fn open_first(
    location: &str,
    settings: &Settings,
    place: &RingPlace,
) -> Result<(Store, Option<Arc<Synchroniser>>), Error> {
    open(location, settings, place.clone()).map_err(|err| {
        Error::unknown(format!(
            "start: location \"{location}\" cannot be opened for writing: {err}; name a file in a directory that exists and \
             may be written to"
        ))
    })
}

/// As events tell it.
pub fn part_number(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
