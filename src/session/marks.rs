//! Marks that the application sets while recording, and the chapters made from them.

use super::{
    Session,
    event::{Event, Mark},
    lock,
    part::{Part, part_number},
};
use crate::{
    formats::Chapter,
    model::timeline::{Interval, Ns, Timeline},
    output::Slot,
};
use std::sync::Arc;

/// Strings in GLib and in most containers end at the first NUL.
fn without_zeros(title: &str) -> String {
    title.replace('\0', "")
}

/// By how much the time of a chapter may differ between pads of the same source.
const ROUNDING: Ns = 1_000_000;

/// A mark that has been set.
struct Made {
    title: String,
    /// The interval that it is in, or at whose end it is.
    interval: usize,
    /// Running time, which may still be outside of that interval.
    running: Ns,
    /// The slot for its event, until its position is known.
    slot: Option<(Arc<Part>, Slot)>,
    /// Its part, and its recorded time within that, once its position is known.
    part: usize,
    part_timecode: Ns,
    /// Its recorded time, once its position is known.
    timecode: Ns,
}

/// A chapter from upstream's TOC that may become a chapter of the recording.
struct Expected {
    /// The pad whose TOC has it; other pads may have the same.
    pad: String,
    running: Ns,
    title: String,
}

/// The marks of one recording, in the order of their instants.
#[derive(Default)]
pub(super) struct Marks {
    made: Vec<Made>,
    /// The number of marks whose position is known.
    placed: usize,
    /// The last chapters have been written; no more marks are accepted.
    sealed: bool,
    /// Upstream's chapters that have not been reached yet.
    expected: Vec<Expected>,
}

impl Marks {
    /// Positions each mark whose interval is resolved; at the `end`, all marks.
    fn place(&mut self, timeline: &Timeline, end: bool) -> Vec<((Arc<Part>, Slot), Mark)> {
        let mut events = Vec::new();
        let before = self.placed.checked_sub(1);
        let mut latest = before
            .and_then(|at| self.made.get(at))
            .map_or(0, |mark| mark.timecode);
        let hold = timeline.hold().filter(|_| !end).unwrap_or(Ns::MAX);
        for mark in self.made.iter_mut().skip(self.placed) {
            if mark.running >= hold {
                // It is not known yet which part it is in.
                break;
            }
            let interval = timeline.intervals_from(mark.interval).next();
            let (running, timecode) = match interval.filter(|interval| interval.resolved) {
                Some(interval) => {
                    let latest = interval.end.unwrap_or(Ns::MAX).max(interval.start);
                    let running = mark.running.clamp(interval.start, latest);
                    (running, interval.recorded_at(running))
                }
                None if end => (mark.running, timeline.duration()),
                None => break,
            };
            // Running time may go back with its clock.
            latest = timecode.max(latest);
            mark.timecode = latest;
            mark.part = timeline.part_at(latest);
            mark.part_timecode = latest - timeline.recorded_before(mark.part).min(latest);
            self.placed += 1;
            events.extend(mark.slot.take().map(|slot| {
                let event = Mark {
                    title: mark.title.clone(),
                    timecode: latest,
                    part: part_number(mark.part),
                    part_timecode: mark.part_timecode,
                    running_time: running,
                };
                (slot, event)
            }));
        }
        events
    }

    /// Turns upstream's chapters before `now` into marks, since no cut can come before them any more. If a chapter
    /// began before an interval and continues into it, its mark is at the start of that interval.
    fn reach(&mut self, timeline: &Timeline, now: Ns) {
        let is_reached = |chapter: &Expected| chapter.running < now;
        let all = self.expected.drain(..);
        let (mut reached, mut expected): (Vec<_>, Vec<_>) = all.partition(is_reached);
        reached.sort_by_key(|chapter| chapter.running);
        let mut reached = reached.into_iter().peekable();
        while let Some(chapter) = reached.next() {
            let mut intervals = timeline.intervals_from(0).enumerate();
            let reaches_beyond =
                |interval: &Interval| interval.end.is_none_or(|end| end > chapter.running);
            let Some((number, interval)) = intervals
                .find(|(_, interval)| reaches_beyond(interval))
                .filter(|(_, interval)| interval.resolved)
            else {
                expected.push(chapter);
                continue;
            };
            let is_over = reached
                .peek()
                .is_some_and(|next| next.running <= interval.start);
            if !is_over {
                self.add(chapter.title, number, chapter.running.max(interval.start));
            }
        }
        self.expected = expected;
    }

    /// Adds one of upstream's chapters, unless another pad has already added it.
    fn add(&mut self, title: String, interval: usize, running: Ns) {
        let is_known =
            |mark: &Made| mark.title == title && mark.running.abs_diff(running) < ROUNDING;
        if self.made.iter().any(is_known) {
            return;
        }
        // Marks without a position yet may be later.
        let waiting = self.made.get(self.placed..).unwrap_or_default();
        let at =
            waiting.partition_point(|mark| (mark.interval, mark.running) <= (interval, running));
        self.made.insert(
            self.placed + at,
            Made {
                title,
                interval,
                running,
                slot: None,
                timecode: 0,
                part: 0,
                part_timecode: 0,
            },
        );
    }

    fn of_part(&self, part: usize) -> impl Iterator<Item = &Made> {
        let placed = self.made.iter().take(self.placed);
        placed.filter(move |mark| mark.part == part)
    }

    fn chapters(&self, part: usize) -> Vec<Chapter> {
        let chapters = self.of_part(part).map(|mark| Chapter {
            start: mark.part_timecode,
            title: mark.title.clone(),
        });
        chapters.collect()
    }
}

impl Session {
    /// Sets a mark at this instant; FALSE if the recording is over.
    pub fn mark(&self, title: &str) -> bool {
        let Some(part) = self.part() else {
            return false;
        };
        let mut control = lock(&self.control);
        if control.over || control.marks.sealed {
            return false;
        }
        // Keep marks in the order of their instants.
        let now = self.now();
        self.timeline
            .read(|timeline| control.marks.reach(timeline, now));
        let slot = part.events.reserve();
        let (interval, running) = self.timeline.read(|timeline| {
            let intervals = timeline.intervals();
            let interval = intervals.len().saturating_sub(1);
            let undecided = intervals.first().is_none_or(|first| !first.resolved);
            // Until it is known where the recording begins, use its beginning.
            (interval, if undecided { 0 } else { now })
        });
        control.marks.made.push(Made {
            title: without_zeros(title),
            interval,
            running,
            slot: Some((part, slot)),
            timecode: 0,
            part: 0,
            part_timecode: 0,
        });
        drop(control);
        self.place_marks(false);
        self.backpressure.wake();
        true
    }

    /// Sets upstream's chapters, by running time. They become chapters of the recording once they are recorded.
    /// Replaces earlier ones from the same pad.
    pub fn expect_chapters(&self, pad: &str, chapters: Vec<(Ns, String)>) {
        let mut control = lock(&self.control);
        let expected = &mut control.marks.expected;
        expected.retain(|chapter| chapter.pad != pad);
        expected.extend(chapters.into_iter().map(|(running, title)| Expected {
            pad: pad.to_owned(),
            running,
            title: without_zeros(&title),
        }));
    }

    /// Positions the marks that can be positioned, and emits their events; at the `end`, all marks.
    pub(super) fn place_marks(&self, end: bool) {
        let mut control = lock(&self.control);
        let now = if end { Ns::MAX } else { self.now() };
        let placed = self.timeline.read(|timeline| {
            control.marks.reach(timeline, now);
            control.marks.place(timeline, end)
        });
        for ((part, slot), mark) in placed {
            part.events.fill(slot, Some(Event::Mark(mark)));
        }
    }

    /// The chapters of a part so far, if there are more than `written`, and how much of it has been recorded.
    pub(super) fn chapters_beyond(
        &self,
        part: &Part,
        written: usize,
    ) -> Option<(Vec<Chapter>, Ns)> {
        let control = lock(&self.control);
        let marks = &control.marks;
        let is_more = marks.of_part(part.number).count() > written;
        is_more.then(|| (marks.chapters(part.number), part.progress.frontier()))
    }

    /// All chapters of a part, and where the last one ends. After the last part, no more are accepted.
    pub(super) fn seal_chapters(&self, part: &Part) -> (Vec<Chapter>, Ns) {
        let is_last = self.timeline.read(|t| t.end_of_part(part.number).is_none());
        if is_last {
            lock(&self.control).marks.sealed = true;
        }
        self.place_marks(is_last);
        let chapters = lock(&self.control).marks.chapters(part.number);
        let recorded = self.timeline.read(|t| t.duration_of(part.number));
        (chapters, recorded.max(part.progress.frontier()))
    }

    /// Warns, once, that chapters do not fit into the recording.
    pub(super) fn warn_of_lost_chapters(&self) {
        let told = std::mem::replace(&mut lock(&self.control).warned_of_marks, true);
        if !told {
            let message = "No space is left for chapters in the header of the recording: this mark and later ones \
                are reported by on-mark only. Use shorter titles, or record video/x-matroska, video/webm, video/mp4 \
                or audio/wav to location, which have no such limit.";
            self.warn(message.into());
        }
    }
}
