//! The outlets of a track into the parts of its recording. Media goes into the part that the track is in.

use super::feed::{Feed, Item};
use crate::{model::timeline::Ns, session::frame_dropper::FrameDropper};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

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
    /// EOS has been sent.
    pub closed: bool,
    /// The part's pipeline has been taken down.
    gone: bool,
}

impl Outlet {
    fn new(part: usize, queue_limit: Ns) -> Self {
        Outlet {
            part,
            feed: Feed::default(),
            caps: None,
            headroom: 0,
            fed: Arc::default(),
            dropper: Arc::new(FrameDropper::new(queue_limit)),
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
        self.feed.give(Item::Buffer(buffer));
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
    /// Its buffers come from a small pool (live raw video).
    scarce: bool,
    all: BTreeMap<usize, Outlet>,
    /// Whether the track has ended: no part gets any more media.
    closed: bool,
    /// Frames dropped in parts that are finished.
    passed_over: u64,
}

impl Outlets {
    pub fn new(queue_limit: Ns) -> Self {
        Outlets {
            queue_limit,
            scarce: false,
            all: BTreeMap::new(),
            closed: false,
            passed_over: 0,
        }
    }

    /// The outlet into this part, created if needed.
    pub fn of(&mut self, part: usize) -> &mut Outlet {
        let (queue_limit, scarce, closed) = (self.queue_limit, self.scarce, self.closed);
        self.all.entry(part).or_insert_with(|| {
            let mut outlet = Outlet::new(part, queue_limit);
            outlet.feed.set_scarce(scarce);
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

    /// Queued bytes.
    pub fn bytes(&self) -> u64 {
        self.all.values().map(|outlet| outlet.feed.bytes()).sum()
    }

    /// Sets whether its buffers come from a small pool.
    pub fn set_scarce(&mut self, scarce: bool) {
        self.scarce = scarce;
        for outlet in self.all.values_mut() {
            outlet.feed.set_scarce(scarce);
        }
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
