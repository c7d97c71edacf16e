//! A part of a recording in progress: its file, its output, its events.
//!
//! A recording that is never split has one part. Each part has its own pipeline and supervisor, so that the next can
//! record while an older one still drains.

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

/// How often to poll the writer's lock if the thread must not block on the disk.
const WRITER_LOOK: Duration = Duration::from_millis(1);

/// See the module documentation.
pub struct Part {
    /// Its number in the recording, from 0.
    pub number: usize,
    /// Its name in the log.
    pub label: glib::GString,
    /// Its file; known once that is opened.
    location: OnceLock<Option<String>>,
    /// Its place in the recorder's ring of files.
    place: OnceLock<RingPlace>,
    /// Number of its file among all files of the recorder.
    pub file_number: OnceLock<u32>,
    pub events: Events<Event>,
    /// Held while writing to the disk, however long that takes.
    writer: Mutex<Writer>,
    pub progress: Arc<Progress>,
    pub size: PartSize,
    /// Synchronises the file, with `sync-interval`.
    synchroniser: OnceLock<Arc<Synchroniser>>,
    /// For each track, how much has been pushed, in recorded time of the part.
    fed: Vec<Arc<AtomicU64>>,
    pub control: Mutex<PartControl>,
    /// The supervisor's thread.
    pub supervisor: OnceLock<ThreadId>,
    /// The actual MIME type.
    pub mime_type: Mutex<Option<String>>,
    pub encoders: Mutex<Vec<RunningEncoder>>,
    /// Signals that its pipeline has drained.
    pub done: Condvar,
}

/// Requests to a part's supervisor, and events from its pipeline.
#[derive(Default)]
pub struct PartControl {
    /// Slots reserved by [`Session::hold_events`], by number.
    pub held: Vec<(u64, Slot)>,
    next_held: u64,
    pub start: Option<Slot>,
    /// Resumes whose start is not known yet, by interval.
    pub resumes: Vec<(usize, Slot)>,
    /// Slots reserved for blobs.
    pub requests: VecDeque<Slot>,
    /// Number of blobs requested.
    pub requested: u64,
    pub error: Option<Error>,
    /// Encoders that have failed, and their errors.
    pub failed_encoders: Vec<(gst::Element, Error)>,
    /// Tracks, by pad, that have ended at this recorded time because of these caps.
    pub ended_by_caps: Vec<(String, gst::Caps, Ns)>,
    pub drained: bool,
    /// Its disk has failed: the next part begins as soon as possible.
    pub falls_back: Option<Error>,
    /// That has been noted, or done.
    pub leaves_disk: bool,
    /// When completing the file began, after the muxer had finished.
    pub completing: Option<Instant>,
    pub caps: bool,
    /// When its end became known.
    pub ended: Option<Instant>,
    /// It never begins: the previous part is the last.
    pub cancelled: bool,
    /// The last events are being emitted; no more can be added.
    pub over: bool,
}

/// The configuration of a part.
pub struct PartConfig<'a> {
    pub number: usize,
    pub label: glib::GString,
    pub settings: &'a Settings,
    pub events: Events<Event>,
    pub store: Store,
    /// The `src` pad's output, if it is used, and the number of this recording there.
    pub src: Option<(Arc<SrcOutput>, u64)>,
    pub fed: Vec<Arc<AtomicU64>>,
}

impl Part {
    /// Creates a part without media.
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

    /// Its file, if it has one and that is open.
    pub fn location(&self) -> Option<&str> {
        self.location.get()?.as_deref()
    }

    /// Sets its file, which is open and empty.
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

    /// How large its file may become before the disk has less free space than required, as far as is known.
    pub fn room(&self) -> u64 {
        self.place.get().map_or(u64::MAX, RingPlace::room)
    }

    /// Whether no thread is writing to its file.
    pub fn is_writer_free(&self) -> bool {
        try_lock(&self.writer).is_some()
    }

    /// Warns that `location` has failed and the recording continues elsewhere.
    pub fn warn_of_fallback(&self, error: &Error) {
        let what = error.message().trim_end_matches('.');
        let message = format!("{what}. The recording continues at fallback-location.");
        self.events.push(Event::Warning { message });
    }

    /// Synchronises the file, if that was requested.
    pub fn synchroniser(&self) -> Option<&Arc<Synchroniser>> {
        self.synchroniser.get()
    }

    /// The actual MIME type, once it is known.
    pub fn mime_type(&self) -> Option<String> {
        lock(&self.mime_type).clone()
    }

    /// Holds back events from now on, until the result is dropped, or until [`Session::release_events`].
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

    /// Releases all events that are held back.
    pub fn release_events(&self) {
        let held = std::mem::take(&mut lock(&self.control).held);
        for (_, slot) in held {
            self.events.fill(slot, None);
        }
    }
}

impl Session {
    /// Accesses the writer of a part, in its muxer's thread, which may block on the disk.
    pub(super) fn with_writer<R>(
        &self,
        part: &Part,
        work: impl FnOnce(&mut Writer, &BlobOutlet<'_>) -> R,
    ) -> R {
        let mut writer = lock(&part.writer);
        self.with_outlet(part, |outlet| work(&mut writer, outlet))
    }

    /// Accesses the writer of a part, unless the disk blocks it for longer than `patience`.
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

    /// The outlet for blobs, which fill the slots reserved by `request-data`.
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

    /// Fails a part's pipeline. A part that has already ended lacks its remainder; the current part fails the
    /// recording, and one that has not begun will when it does.
    pub(super) fn fail_part(&self, part: &Part, error: Error) {
        gst::warning!(crate::log::CAT, id = &part.label, "Fails: {error}");
        let mut control = lock(&part.control);
        control.error.get_or_insert(error.clone());
        let has_ended = control.ended.is_some();
        drop(control);
        if has_ended || self.timeline.read(|t| t.part() < part.number) {
            self.backpressure.wake();
        } else {
            self.fail(error);
        }
    }

    /// The part cannot be written any further: the recording continues at the fallback location, or ends.
    pub(super) fn fail_to_write(&self, part: &Part, err: &io::Error) {
        let what = match part.location() {
            Some(location) => format!("location \"{location}\""),
            None => "The temporary file of the recording".into(),
        };
        self.fail_disk(
            part,
            Error::unknown(format!("{what} cannot be written: {err}")),
        );
    }

    /// The disk has failed: as [`Session::fail_to_write`]. Once the recording is to continue elsewhere, further failures
    /// only concern this part, which may still have to wait for a frame to end at.
    pub(super) fn fail_disk(&self, part: &Part, error: Error) {
        let may_leave = self.is_growing(part) && part.location().is_some();
        let mut control = lock(&part.control);
        if control.leaves_disk {
            drop(control);
            return part.progress.note_incomplete();
        }
        if may_leave && self.falls_back() {
            control.leaves_disk = true;
            control.falls_back = Some(error);
            drop(control);
            return self.backpressure.wake();
        }
        drop(control);
        self.fail_part(part, error);
    }

    /// Whether more media of this part is to come.
    pub(super) fn is_growing(&self, part: &Part) -> bool {
        self.timeline
            .read(|t| !t.is_stopped() && t.part() == part.number)
    }

    /// Switches to the fallback location. TRUE if there is one and this is the first time.
    pub(super) fn falls_back(&self) -> bool {
        self.settings.fallback.is_some() && !self.fell_back.swap(true, Ordering::SeqCst)
    }

    /// Whether files go to the fallback location.
    pub(super) fn has_fallen_back(&self) -> bool {
        self.fell_back.load(Ordering::SeqCst)
    }

    /// The name pattern for the files of parts from now on.
    pub fn pattern(&self) -> Option<&str> {
        if self.has_fallen_back() {
            self.settings.fallback.as_deref()
        } else {
            self.settings.pattern.as_deref()
        }
    }

    /// Warns if the last step of finalising has failed. The part is complete otherwise.
    pub(super) fn warn_of_incomplete(&self, part: &Part, incomplete: Option<Incomplete>) {
        if let Some(Incomplete { purpose, reason }) = incomplete {
            let message = format!("The recording is complete, but {purpose}: {reason}");
            part.events.push(Event::Warning { message });
        }
    }
}

/// Opens a part's file, and its synchroniser.
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

/// The same for `start`.
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

/// The number of a part in events.
pub fn part_number(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
