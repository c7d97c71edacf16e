//! The sequence of a recording's parts. The next one is prepared in advance, begins where the previous one ends, and
//! is removed once its last event has been queued.
//!
//! Lock order: `part_list` comes before all other locks of a session but `coordinator`.

use super::{
    HeldEvents, Session, lock,
    part::{Part, PartConfig},
    supervisor,
    track::{LockedTrack, Track},
};
use crate::{
    log::{CAT, time},
    model::{
        Error,
        timeline::{Ns, Timeline},
    },
    output::Store,
};
use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

/// Maximum number of pipelines at a time. If parts are split faster than encoders drain, later parts wait, with their
/// media queued.
const MAX_PIPELINES: usize = 4;

/// See the module documentation.
#[derive(Default)]
pub struct PartList {
    /// The parts whose last event has not been queued, in order. The last one may not have begun yet.
    parts: VecDeque<Arc<Part>>,
    /// How many of them, from the front, have a supervisor.
    running: usize,
    /// Bytes and blobs of parts that have been removed.
    bytes: u64,
    blobs: u64,
    /// The file of the last of those.
    location: Option<String>,
}

impl Session {
    /// Adds the first part.
    pub(super) fn add_first(&self, part: Part) {
        lock(&self.part_list).parts.push_back(Arc::new(part));
    }

    /// The parts whose last event has not been queued.
    pub(super) fn parts(&self) -> Vec<Arc<Part>> {
        lock(&self.part_list).parts.iter().cloned().collect()
    }

    /// The current part, or the last one; `None` once its last event has been queued.
    pub(super) fn part(&self) -> Option<Arc<Part>> {
        let list = lock(&self.part_list);
        let on = self.timeline.read(|timeline| timeline.part());
        let mut parts = list.parts.iter();
        parts.find(|part| part.number == on).cloned()
    }

    /// Bytes and blobs of all parts so far.
    pub(super) fn written(&self) -> (u64, u64) {
        let list = lock(&self.part_list);
        let on = list.parts.iter().map(|part| part.progress.figures());
        on.fold((list.bytes, list.blobs), |all, part| {
            (all.0 + part.0, all.1 + part.1)
        })
    }

    /// The file of the current part, or of the last one that has a file.
    pub fn location(&self) -> Option<String> {
        let list = lock(&self.part_list);
        let mut parts = list.parts.iter().rev();
        let on = parts.find_map(|part| part.location().map(str::to_owned));
        on.or_else(|| list.location.clone())
    }

    /// Ends the current part; the next begins at this instant, or as soon as possible. FALSE if the recording is
    /// over.
    ///
    /// Several splits in one pause, or before the frame at which the first of them ends the part, count as one. A split
    /// without any media recorded since the previous one is ignored.
    pub fn split_now(self: &Arc<Self>) -> bool {
        self.split_where(|_, now| now)
    }

    /// Ends the current part after a failure. While a resume waits for its start, that is the cut that began the pause.
    pub(super) fn end_part(self: &Arc<Self>) {
        self.split_where(|t, now| t.pending().map_or(now, |(_, start)| start));
    }

    fn split_where(self: &Arc<Self>, at: impl FnOnce(&Timeline, Ns) -> Ns) -> bool {
        let mut list = lock(&self.part_list);
        if lock(&self.control).over {
            return false;
        }
        self.prepare(&mut list);
        let (asked, at, has_ended) = self.timeline.write(|timeline| {
            let at = at(timeline, self.now());
            let asked = timeline.split(at) || timeline.split_later(at);
            (asked, at, timeline.resolve_split_in_pause().is_some())
        });
        if asked {
            gst::info!(CAT, id = &self.label, "To be split at {}", time(at));
            self.spawn(&mut list);
        }
        if has_ended {
            self.begin_next(&mut list);
        }
        drop(list);
        self.backpressure.wake();
        true
    }

    /// Prepares the next part, which may begin soon.
    pub(super) fn prepare_next(self: &Arc<Self>) {
        let mut list = lock(&self.part_list);
        if !lock(&self.control).over {
            self.prepare(&mut list);
            self.spawn(&mut list);
        }
    }

    /// Ends the current part at its maximum duration, once `progress` has reached that; FALSE if it has not, or a split
    /// is pending already.
    pub(super) fn split_by_size_time(self: &Arc<Self>, progress: Ns) -> bool {
        let is_due = self.timeline.read(|t| {
            let is_over = t.end_by_size_time().is_some_and(|at| at <= progress);
            is_over && t.pending_split().is_none()
        });
        if !is_due {
            return false;
        }
        self.prepare_next();
        self.timeline.write(|t| t.split_by_size_time(progress))
    }

    /// Resolves the pending split to `at`, or cancels it if nothing is recorded after that. FALSE if the recording is
    /// over.
    pub(super) fn resolve_split(self: &Arc<Self>, at: Ns) -> bool {
        let mut list = lock(&self.part_list);
        if lock(&self.control).over {
            return false;
        }
        let seam = self.timeline.write(|timeline| timeline.resolve_split(at));
        if seam.is_some() {
            self.begin_next(&mut list);
        }
        drop(list);
        self.backpressure.wake();
        true
    }

    /// Ends this part, if it is the current one, at `end` of its recorded time, which the tracks have passed already.
    /// What they have pushed into it from there on, or `from` a later time on, is moved to the next part. FALSE if that
    /// is not possible.
    pub(super) fn split_back(
        self: &Arc<Self>,
        part: usize,
        end: Ns,
        from: impl Fn(&Track) -> Ns,
    ) -> bool {
        let mut list = lock(&self.part_list);
        let is_current = self.timeline.read(|timeline| timeline.part() == part);
        // Media from the pre-record buffer is not raw, or was encoded before it.
        if !is_current || lock(&self.control).over || self.tracks.iter().any(Track::is_kept) {
            return false;
        }
        let from: Vec<Ns> = self.tracks.iter().map(from).collect();
        self.prepare(&mut list);
        // No media may pass while the part ends behind it.
        let mut tracks: Vec<LockedTrack> = self.tracks.iter().map(Track::lock).collect();
        if let Some(at) = tracks
            .iter_mut()
            .position(|track| !track.can_move(part, end))
        {
            gst::debug!(CAT, id = &self.label, "Track {at} is not in part {part}");
            return false;
        }
        let seam = self.timeline.write(|timeline| {
            let begin = timeline.recorded_before(part);
            timeline.split_back(begin.saturating_add(end))
        });
        let Some(seam) = seam else {
            return false;
        };
        for (track, from) in tracks.iter_mut().zip(from) {
            track.move_back(seam, from, &self.timeline);
        }
        drop(tracks);
        self.begin_next(&mut list);
        drop(list);
        self.backpressure.wake();
        true
    }

    /// Adds the next part, which has not begun yet, unless it exists.
    fn prepare(&self, list: &mut PartList) {
        let on = self.timeline.read(|timeline| timeline.part());
        let Some(last) = list.parts.back() else {
            return;
        };
        if last.number > on {
            return;
        }
        let number = last.number + 1;
        let settings = &self.settings;
        let fed = self.tracks.iter().map(|track| track.progress_of(number));
        let part = Part::new(PartConfig {
            number,
            label: glib::gformat!("{}.{number}", self.label),
            settings,
            events: last.events.open_next(),
            store: Store::in_memory(settings.max_memory, settings.temp_dir.clone()),
            src: None,
            fed: fed.collect(),
        });
        list.parts.push_back(Arc::new(part));
    }

    /// Starts supervisors for as many parts as may have one.
    fn spawn(self: &Arc<Self>, list: &mut PartList) {
        while list.running < MAX_PIPELINES
            && let Some(part) = list.parts.get(list.running).cloned()
        {
            if let Err(err) = supervisor::spawn(self.clone(), part) {
                self.fail(Error::unknown(format!(
                    "The next part cannot begin: cannot create a thread: {err}"
                )));
                return;
            }
            list.running += 1;
        }
    }

    /// The current part has ended: begins the next.
    fn begin_next(self: &Arc<Self>, list: &mut PartList) {
        let (on, seam) = self.timeline.read(|timeline| {
            let on = timeline.part();
            (on, timeline.begin_of_part(on))
        });
        // A split that came in a pause behind this one has ended its part, too.
        while list.parts.back().is_some_and(|last| last.number < on) {
            self.prepare(list);
        }
        gst::info!(
            CAT,
            id = &self.label,
            "Part {on} begins at running time {}",
            time(seam.map_or(0, |seam| seam.running))
        );
        for part in &list.parts {
            if part.number < on {
                let mut control = lock(&part.control);
                control.ended.get_or_insert_with(Instant::now);
            }
        }
        self.spawn(list);
    }

    /// Number of a part's file among those of the recorder, in the order of the parts.
    pub(super) fn number_of_file(&self, part: &Part) -> u32 {
        let list = lock(&self.part_list);
        for before in list
            .parts
            .iter()
            .filter(|p| (1..=part.number).contains(&p.number))
        {
            before
                .file_number
                .get_or_init(|| self.numbers.fetch_add(1, Ordering::SeqCst));
        }
        part.file_number.get().copied().unwrap_or_default()
    }

    /// Moves resumes whose start is not known yet to the next part.
    pub(super) fn hand_on_resumes(&self, part: &Part) {
        let list = lock(&self.part_list);
        let mut parts = list.parts.iter();
        let next = parts.find(|next| next.number == part.number + 1);
        // Held until they have moved: whoever announces them looks into one part after the other.
        let mut next = next.map(|next| (next, lock(&next.control)));
        let waiting = std::mem::take(&mut lock(&part.control).resumes);
        for (index, slot) in waiting {
            part.events.fill(slot, None);
            if let Some((next, control)) = &mut next {
                let slot = next.events.reserve();
                control.resumes.push((index, slot));
            }
        }
    }

    /// Starts the first supervisor: events are emitted from here on.
    pub fn run(self: &Arc<Self>) -> Result<(), Error> {
        let mut list = lock(&self.part_list);
        let first = list.parts.front().cloned();
        list.running = 1;
        drop(list);
        let Some(first) = first else {
            return Ok(());
        };
        self.spawn_synchroniser(&first)?;
        supervisor::spawn(self.clone(), first.clone()).map_err(|err| {
            if let Some(synchroniser) = first.synchroniser() {
                synchroniser.end();
            }
            Error::unknown(format!("start: cannot create a thread: {err}"))
        })
    }

    /// Whether nothing will be recorded after this part. If so, no more actions are accepted.
    pub(super) fn is_over_with(&self, part: &Part) -> bool {
        let list = lock(&self.part_list);
        let is_last = self.timeline.read(|t| t.end_of_part(part.number).is_none());
        if is_last {
            lock(&self.control).over = true;
            self.timeline.write(|timeline| timeline.cancel_split());
            self.timeline.stop_leading(|| self.now());
            for next in list.parts.iter().filter(|next| next.number > part.number) {
                lock(&next.control).cancelled = true;
            }
        }
        drop(list);
        if is_last {
            self.backpressure.wake();
        }
        is_last
    }

    /// Removes a part whose last event has been queued. TRUE if no part remains.
    pub(super) fn forget_part(self: &Arc<Self>, part: &Part) -> bool {
        let mut list = lock(&self.part_list);
        let Some(at) = list
            .parts
            .iter()
            .position(|other| other.number == part.number)
        else {
            return false;
        };
        list.parts.remove(at);
        list.running = list.running.saturating_sub(1);
        let (bytes, blobs) = part.progress.figures();
        list.bytes += bytes;
        list.blobs += blobs;
        list.location = part.location().map(str::to_owned).or(list.location.take());
        for track in &self.tracks {
            track.forget_part(part.number);
        }
        self.spawn(&mut list);
        list.parts.is_empty()
    }

    /// See [`Part::hold_events`].
    pub fn hold_events(self: &Arc<Self>) -> Option<HeldEvents> {
        self.part().map(|part| part.hold_events())
    }

    /// Releases all events that are held back.
    pub fn release_events(&self) {
        for part in self.parts() {
            part.release_events();
        }
    }
}
