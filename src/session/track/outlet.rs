//! The outlets of a track into the parts of its recording. Media goes into the part that the track is in.

use super::{
    feed::{Feed, Item},
    frame_copies::FrameCopies,
};
use crate::{formats, model::timeline::Ns, session::frame_dropper::FrameDropper};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// The most audio from after a part's end that any encoder needs.
const MAX_OVERLAP: Ns = 500_000_000;

/// The most audio from before a part that is kept for its encoder: whole packets.
const MAX_PREROLL: Ns = formats::MAX_PREROLL + 150_000_000;

/// Maximum rounding of the duration of all buffers of a short part.
const MAX_ROUNDING: Ns = 1_000_000;

/// The path into one part.
#[derive(Debug)]
pub struct Outlet {
    pub part: usize,
    pub feed: Feed,
    /// The caps of its first media, if that is encoded.
    pub caps: Option<gst::Caps>,
    /// By how much timestamps are later than recorded time.
    pub headroom: Ns,
    /// Recorded time, within the part, up to which media has been pushed. Only buffers with a duration advance it.
    pub fed: Arc<AtomicU64>,
    pub dropper: Arc<FrameDropper>,
    /// The audio right before the part, until the part has enough of its own.
    before: Vec<gst::Buffer>,
    /// Duration of the audio from after the part's end that its encoder has been given; `None` before the end.
    beyond: Option<Ns>,
    /// EOS has been sent.
    pub closed: bool,
    /// The part's pipeline has been taken down.
    gone: bool,
}

impl Outlet {
    fn new(part: usize, queue_limit: Ns, copies: Arc<FrameCopies>) -> Self {
        Outlet {
            part,
            feed: Feed::new(copies),
            caps: None,
            headroom: 0,
            fed: Arc::default(),
            dropper: Arc::new(FrameDropper::new(queue_limit)),
            before: Vec::new(),
            beyond: None,
            closed: false,
            gone: false,
        }
    }

    /// Pushes a buffer.
    pub fn give(&mut self, buffer: gst::Buffer) {
        if self.closed {
            return;
        }
        let end = buffer.pts().zip(buffer.duration());
        let end = end.map_or(Ns::MAX, |(pts, length)| (pts + length).nseconds());
        let end = end.saturating_sub(self.headroom);
        self.fed.fetch_max(end, Ordering::Relaxed);
        if end >= MAX_PREROLL {
            self.before.clear();
        }
        self.feed.give(Item::Buffer(buffer));
    }

    /// The audio pushed last; if the part is short, that of the parts before it, too.
    fn recent(&self) -> Vec<gst::Buffer> {
        let (mut recent, mut have) = self.feed.recent(MAX_PREROLL);
        let is_all = have.abs_diff(self.fed.load(Ordering::Relaxed)) < MAX_ROUNDING;
        let before = self.before.iter().rev().take_while(|buffer| {
            let enough = have >= MAX_PREROLL;
            have += buffer.duration().map_or(0, gst::ClockTime::nseconds);
            !enough
        });
        if is_all {
            let before: Vec<_> = before.cloned().collect();
            recent.splice(..0, before.into_iter().rev());
        }
        recent
    }

    /// Recorded time, within the part, up to which media has been pushed.
    pub fn fed(&self) -> Ns {
        self.fed.load(Ordering::Relaxed)
    }

    /// Begins to give audio from after the part's end to its encoder, if it needs any.
    fn overlap(&mut self, most: Ns) {
        let end = self.fed.load(Ordering::Relaxed);
        if self.closed || end == 0 || most == 0 {
            return self.close();
        }
        self.feed.overlap().set_end(end);
        self.beyond = Some(0);
    }

    /// Whether its encoder gets audio from after the part's end.
    fn overlaps(&self) -> bool {
        self.beyond.is_some() && !self.closed
    }

    /// Pushes audio from after the part's end, up to so much of it.
    fn give_beyond(&mut self, buffer: &gst::Buffer, most: Ns) {
        let Some(beyond) = self.beyond.filter(|_| !self.closed) else {
            return;
        };
        let at = self.fed.load(Ordering::Relaxed) + beyond;
        let mut copy = buffer.clone();
        let fields = copy.make_mut();
        fields.set_pts(gst::ClockTime::from_nseconds(at));
        fields.unset_flags(gst::BufferFlags::DISCONT | gst::BufferFlags::RESYNC);
        let length = fields.duration().map_or(0, gst::ClockTime::nseconds);
        self.feed.give(Item::Buffer(copy));
        self.beyond = Some(beyond + length);
        if beyond + length >= most {
            self.close();
        }
    }

    /// Accepts media again, if nothing has been connected yet.
    pub fn reopen(&mut self) {
        if self.feed.reopen() {
            self.closed = false;
        }
    }

    /// Ends the part for this track.
    pub fn close(&mut self) {
        if !std::mem::replace(&mut self.closed, true) {
            self.feed.give(Item::End);
        }
        self.feed.close();
    }
}

/// The outlets of a track, by part number.
#[derive(Debug)]
pub struct Outlets {
    queue_limit: Ns,
    copies: Arc<FrameCopies>,
    all: BTreeMap<usize, Outlet>,
    /// How much audio from after a part's end its encoder needs; the most that any does until that is known.
    overlap: Ns,
    /// Whether the track has ended: no part gets any more media.
    closed: bool,
    /// Frames dropped in parts that are finished.
    passed_over: u64,
}

impl Outlets {
    pub fn new(queue_limit: Ns, copies: Arc<FrameCopies>) -> Self {
        Outlets {
            queue_limit,
            copies,
            all: BTreeMap::new(),
            overlap: MAX_OVERLAP,
            closed: false,
            passed_over: 0,
        }
    }

    /// The outlet into this part, created if needed.
    pub fn of(&mut self, part: usize) -> &mut Outlet {
        let (queue_limit, closed) = (self.queue_limit, self.closed);
        self.all.entry(part).or_insert_with(|| {
            let mut outlet = Outlet::new(part, queue_limit, self.copies.clone());
            if closed {
                outlet.close();
            }
            outlet
        })
    }

    /// The outlet into this part, if it exists.
    pub fn find(&self, part: usize) -> Option<&Outlet> {
        self.all.get(&part)
    }

    /// The outlets into this part and later ones.
    pub fn from(&mut self, part: usize) -> impl Iterator<Item = &mut Outlet> {
        self.all.range_mut(part..).map(|(_, outlet)| outlet)
    }

    /// Media queued for earlier parts whose pipelines are yet to be built.
    pub fn waiting_before(&self, part: usize) -> Ns {
        let before = self.all.range(..part).map(|(_, outlet)| outlet);
        let unbuilt = before.filter(|outlet| outlet.feed.is_backlog());
        unbuilt.map(|outlet| outlet.feed.waiting()).sum()
    }

    /// Sets how much audio from after a part's end its encoder needs.
    pub fn set_overlap(&mut self, length: Ns) {
        self.overlap = length;
        for outlet in self.all.values_mut() {
            outlet.feed.limit_overlap(length);
            if outlet.beyond.is_some_and(|beyond| beyond >= length) {
                outlet.close();
            }
        }
    }

    /// This part is over, and the next continues it without a cut: their encoders get audio from both.
    pub fn overlap(&mut self, part: usize) {
        let most = self.overlap;
        let older = self.of(part);
        let recent = older.recent();
        older.overlap(most);
        if most > 0 {
            let next = self.of(part + 1);
            next.before.clone_from(&recent);
            next.feed.overlap().set_before(recent);
        }
    }

    /// This part ends at recorded time `end`, although more has been pushed into it. Audio that follows is for its
    /// encoder only; `before`, the audio before the end, is for the next one's.
    pub fn end_early(&mut self, part: usize, end: Ns, before: Option<Vec<gst::Buffer>>) {
        let most = self.overlap;
        let outlet = self.of(part);
        let beyond = outlet.fed.swap(end, Ordering::Relaxed).saturating_sub(end);
        let Some(before) = before.filter(|_| most > 0) else {
            return outlet.close();
        };
        outlet.feed.overlap().set_end(end);
        outlet.beyond = Some(beyond);
        if beyond >= most {
            outlet.close();
        }
        self.of(part + 1).feed.overlap().set_before(before);
    }

    /// Gives audio of the current part to the encoders of older ones as well, as far as they need it.
    pub fn overlap_with(&mut self, buffer: &gst::Buffer) {
        let most = self.overlap;
        for outlet in self.all.values_mut() {
            outlet.give_beyond(buffer, most);
        }
    }

    /// The encoder of this part gets no more audio from after its end. Returns whether it would have.
    pub fn end_overlap(&mut self, part: usize) -> bool {
        let outlet = self.all.get_mut(&part);
        let Some(outlet) = outlet.filter(|outlet| outlet.overlaps()) else {
            return false;
        };
        outlet.close();
        true
    }

    /// Ends the track for all parts before this one.
    pub fn close_before(&mut self, part: usize) {
        for (_, outlet) in self.all.range_mut(..part) {
            outlet.close();
        }
    }

    /// Queued bytes.
    pub fn bytes(&self) -> u64 {
        self.all.values().map(|outlet| outlet.feed.bytes()).sum()
    }

    /// Ends the track for all parts.
    pub fn close(&mut self) {
        self.closed = true;
        for outlet in self.all.values_mut() {
            outlet.close();
        }
    }

    /// The pipeline of a part has been taken down; the track is in part `on`.
    pub fn remove(&mut self, part: usize, on: usize) {
        self.of(part).gone = true;
        self.forget_before(on);
    }

    /// The track has left all parts before `on`. Removes the outlets of those whose pipelines have been taken down.
    pub fn forget_before(&mut self, on: usize) {
        let passed_over = &mut self.passed_over;
        self.all.retain(|_, outlet| {
            let over = outlet.gone && outlet.part < on;
            if over {
                *passed_over += outlet.dropper.passed_over();
            }
            !over
        });
    }

    /// Frames that were accepted and then dropped in front of encoders.
    pub fn passed_over(&self) -> u64 {
        let on = self.all.values().map(|outlet| outlet.dropper.passed_over());
        self.passed_over + on.sum::<u64>()
    }
}
