//! The ways of a track's media into the parts of its recording: it goes to the one that the track is in.

use super::feed::{Feed, Item};
use crate::{model::timeline::Ns, session::frame_dropper::FrameDropper};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// The way into one part.
#[derive(Debug)]
pub struct Outlet {
    pub part: usize,
    pub feed: Feed,
    /// What its first media is, of encoded media.
    pub caps: Option<gst::Caps>,
    /// How much later than recorded time what is given on is stamped.
    pub headroom: Ns,
    /// Recorded time, of the part, up to which media has been given on, as far as that tells its length.
    pub fed: Arc<AtomicU64>,
    pub dropper: Arc<FrameDropper>,
    /// It has had its end.
    pub closed: bool,
    /// The part's pipeline is no more.
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

    /// Gives a buffer on.
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

    /// Nothing more goes into the part.
    pub fn close(&mut self) {
        if !std::mem::replace(&mut self.closed, true) {
            self.feed.give(Item::End);
        }
        self.feed.close();
    }
}

/// Those of a track, by the numbers of their parts.
#[derive(Debug)]
pub struct Outlets {
    queue_limit: Ns,
    /// Its buffers are of a pool that has few: live pictures.
    scarce: bool,
    all: BTreeMap<usize, Outlet>,
    /// Whether the track has ended: no part gets anything more.
    closed: bool,
    /// Frames passed over in parts that are over.
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

    /// The way into this part.
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

    /// The same, if there is one.
    pub fn find(&self, part: usize) -> Option<&Outlet> {
        self.all.get(&part)
    }

    /// Those of this part and of the ones behind it.
    pub fn from(&mut self, part: usize) -> impl Iterator<Item = &mut Outlet> {
        self.all.range_mut(part..).map(|(_, outlet)| outlet)
    }

    /// Media that waits for the pipelines of parts before this one, which are yet to be built.
    pub fn waiting_before(&self, part: usize) -> Ns {
        let before = self.all.range(..part).map(|(_, outlet)| outlet);
        let unbuilt = before.filter(|outlet| outlet.feed.is_backlog());
        unbuilt.map(|outlet| outlet.feed.waiting()).sum()
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> u64 {
        self.all.values().map(|outlet| outlet.feed.bytes()).sum()
    }

    /// Its buffers are, or are not, of a pool that has few.
    pub fn set_scarce(&mut self, scarce: bool) {
        self.scarce = scarce;
        for outlet in self.all.values_mut() {
            outlet.feed.set_scarce(scarce);
        }
    }

    /// The track has ended, for all parts.
    pub fn close(&mut self) {
        self.closed = true;
        for outlet in self.all.values_mut() {
            outlet.close();
        }
    }

    /// The pipeline of a part is no more; the track is in part `on`.
    pub fn remove(&mut self, part: usize, on: usize) {
        self.of(part).gone = true;
        self.forget_before(on);
    }

    /// Parts before this one are over for the track; those whose pipelines are no more are forgotten.
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

    /// Frames that were let in and yet left out in front of encoders.
    pub fn passed_over(&self) -> u64 {
        let on = self.all.values().map(|outlet| outlet.dropper.passed_over());
        self.passed_over + on.sum::<u64>()
    }
}
