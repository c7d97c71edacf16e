//! One track of the past: stores its pad's input in the ring.

use super::{
    Keeping,
    front::{Front, Packets},
    ring::Item,
};
use crate::{
    formats::{self, FrameFormat},
    gate::{self, Input},
    model::{
        Kind, Orientation,
        stamps::{Arrival, Decided, Stamps},
        timeline::Ns,
    },
    session::{
        CLOCK_LOOK, Flow, Origin, ROOM_LOOK, Session, Track, TrackSpec, lock, orientation_of,
        stamp_of,
    },
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// How far a non-live track may be ahead of a busy encoder.
const AHEAD: Ns = 250_000_000;
/// A buffer further ahead of earlier ones may have a wrong timestamp.
const STEP: Ns = 1_000_000_000;
/// Maximum unread bytes of a non-live track, if recordings are slower than upstream.
const UNREAD: u64 = 32 << 20;

/// Media type of a track.
#[derive(Default)]
enum Media {
    /// Not known yet.
    #[default]
    Unknown,
    /// Raw audio, or encoded media: kept as received.
    AsItComes {
        caps: gst::Caps,
        /// Frame format used to find frame types.
        format: Option<FrameFormat>,
    },
    /// Raw video: kept as encoded packets.
    RawVideo(Arc<Front>),
}

struct Inner {
    media: Media,
    stamps: Stamps<Input>,
    /// Running time received so far.
    arrived: Ns,
    /// Mute changes, oldest first.
    mutes: Vec<(Ns, bool)>,
    tags: Option<gst::TagList>,
}

/// A recording that reads the track.
struct Reader {
    number: u64,
    session: Arc<Session>,
    track: usize,
}

/// See the module.
pub struct KeptTrack {
    keeping: Arc<Keeping>,
    number: u64,
    name: String,
    kind: Kind,
    live: AtomicBool,
    /// Upstream's latency, in nanoseconds.
    latency: AtomicU64,
    /// Whether it is raw video.
    was_raw: Arc<AtomicBool>,
    flushing: AtomicBool,
    inner: Mutex<Inner>,
    readers: Mutex<Vec<Reader>>,
}

impl KeptTrack {
    pub(super) fn new(keeping: Arc<Keeping>, number: u64, name: &str, kind: Kind) -> Self {
        let stamps = Stamps::new(keeping.settings.patience_ns());
        KeptTrack {
            keeping,
            number,
            name: name.to_owned(),
            kind,
            live: AtomicBool::new(false),
            latency: AtomicU64::new(0),
            was_raw: Arc::default(),
            flushing: AtomicBool::new(false),
            inner: Mutex::new(Inner {
                media: Media::Unknown,
                stamps,
                arrived: 0,
                mutes: Vec::new(),
                tags: None,
            }),
            readers: Mutex::default(),
        }
    }

    /// Its number, and the running time of the first frame that its encoder has been given.
    pub fn first_in_encoder(&self) -> Option<(u64, Ns)> {
        let front = match &lock(&self.inner).media {
            Media::RawVideo(front) => front.clone(),
            Media::Unknown | Media::AsItComes { .. } => return None,
        };
        Some((self.number, front.track.first()?))
    }

    /// Name of its pad.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Kind of the track.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Origin of the media of a recording's track that reads this one.
    pub fn origin(&self) -> Origin {
        Origin::Past {
            was_raw: self.was_raw.clone(),
        }
    }

    /// Whether its media is no longer needed.
    pub fn is_over(&self) -> bool {
        self.keeping.is_over()
    }

    pub(super) fn is_live(&self) -> bool {
        self.live.load(Ordering::Relaxed)
    }

    pub(super) fn latency(&self) -> Ns {
        self.latency.load(Ordering::Relaxed)
    }

    /// The gate of its encoder, for raw video.
    pub(super) fn front(&self) -> Option<Arc<Front>> {
        match &lock(&self.inner).media {
            Media::RawVideo(front) => Some(front.clone()),
            Media::Unknown | Media::AsItComes { .. } => None,
        }
    }

    /// The codec of encoded input, `None` if raw or unknown.
    pub(super) fn codec(&self) -> Option<crate::model::Codec> {
        match &lock(&self.inner).media {
            Media::AsItComes { caps, .. } => formats::codec_of_caps(caps),
            Media::Unknown | Media::RawVideo(_) => None,
        }
    }

    /// Whether its media type is known.
    pub(super) fn is_known(&self) -> bool {
        !matches!(lock(&self.inner).media, Media::Unknown)
    }

    pub(super) fn tags(&self) -> Option<gst::TagList> {
        lock(&self.inner).tags.clone()
    }

    /// The factory of its encoder, and what is converted of its frames.
    pub(super) fn encoding(&self) -> Option<(String, Vec<String>)> {
        self.front()?.encoding()
    }

    pub(super) fn set_bits_per_second(&self, rate: u32) {
        if let Some(front) = self.front() {
            front.set_bits_per_second(rate);
        }
    }

    /// Sets upstream's liveness and latency.
    pub fn set_upstream(&self, live: bool, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(Ns::MAX);
        self.latency.store(nanoseconds, Ordering::Relaxed);
        self.live.store(live, Ordering::Relaxed);
        self.keeping.any_live.fetch_or(live, Ordering::SeqCst);
        if let Some(front) = self.front() {
            front.track.set_upstream(live, latency);
        }
        self.for_readers(|session, track| session.set_upstream(track, live, latency));
    }

    /// Sets the caps of the following buffers.
    pub fn set_caps(&self, caps: &gst::Caps) {
        let mut inner = lock(&self.inner);
        let is_raw_video = formats::is_raw(caps) && self.kind == Kind::Video;
        match &mut inner.media {
            Media::RawVideo(front) if is_raw_video => {
                let front = front.clone();
                drop(inner);
                front.set_caps(caps);
            }
            Media::Unknown if is_raw_video => {
                let front = self.new_front(caps, &inner);
                inner.media = Media::RawVideo(front);
                self.was_raw.store(true, Ordering::Relaxed);
                drop(inner);
                self.keeping.backpressure.wake();
            }
            Media::RawVideo(_) => self.keeping.stale.store(true, Ordering::SeqCst),
            Media::AsItComes { .. } if is_raw_video => {
                self.keeping.stale.store(true, Ordering::SeqCst);
            }
            Media::Unknown | Media::AsItComes { .. } => {
                // Waiting buffers have the previous caps.
                self.settle(&mut inner);
                let structure = caps.structure(0);
                inner.media = Media::AsItComes {
                    caps: caps.clone(),
                    format: structure.and_then(FrameFormat::of),
                };
                self.store(Item::Caps(caps.clone()), None);
                drop(inner);
                self.keeping.backpressure.wake();
            }
        }
    }

    fn new_front(&self, caps: &gst::Caps, inner: &Inner) -> Arc<Front> {
        let spec = TrackSpec {
            name: self.name.clone(),
            kind: self.kind,
            live: self.is_live(),
            latency: Duration::from_nanos(self.latency()),
            origin: Origin::Pad,
        };
        let front = Arc::new(Front::new(
            Track::new(&spec, &self.keeping.shared()),
            Packets::new(&self.keeping, self.number, &self.name),
        ));
        front.set_caps(caps);
        front.track.keep_pauses();
        for (at, muted) in &inner.mutes {
            front.track.mute(|| *at, *muted);
        }
        if let Some(turn) = inner.tags.as_deref().and_then(orientation_of) {
            front.track.set_orientation(turn);
        }
        front
    }

    /// Takes a buffer. Blocks non-live input while the queue is full. `now`: the clock's running time, if already read.
    pub fn push(&self, input: Input, now: Option<Ns>) -> Flow {
        if self.keeping.is_over() {
            return Flow::Done;
        }
        if self.keeping.given_up.load(Ordering::SeqCst) {
            return Flow::More;
        }
        self.wait_for_room(&input);
        self.place(input, now);
        Flow::More
    }

    /// Takes the latest buffer from before the track was added.
    pub fn replay(&self, input: Input) {
        self.place(input, None);
    }

    fn place(&self, input: Input, now: Option<Ns>) {
        if let Some(front) = self.front() {
            if front.track.push(input, false, now) == Flow::Done {
                // It continues after EOS.
                self.keeping.stale.store(true, Ordering::SeqCst);
            }
            return;
        }
        let mut inner = lock(&self.inner);
        if matches!(inner.media, Media::Unknown) {
            return;
        }
        let stamp = stamp_of(&input);
        let arrival = Arrival {
            now: now.filter(|_| self.is_live()),
            latency: self.latency(),
        };
        match inner.stamps.plain(stamp, arrival) {
            Some(running) => self.keep(&mut inner, Input { running, ..input }),
            None => {
                let decided = inner.stamps.push(stamp, arrival, input);
                self.take(&mut inner, decided);
            }
        }
    }

    /// Stores the buffers whose timestamps have been decided.
    fn take(&self, inner: &mut Inner, decided: Decided<Input>) {
        for (running, input) in decided.placed {
            self.keep(inner, Input { running, ..input });
        }
    }

    fn settle(&self, inner: &mut Inner) {
        if inner.stamps.waiting() > 0 {
            let decided = inner.stamps.settle();
            self.take(inner, decided);
        }
    }

    /// Stores a buffer with its final running time.
    fn keep(&self, inner: &mut Inner, input: Input) {
        let Media::AsItComes { caps, format } = &inner.media else {
            return;
        };
        let header = input.buffer.flags().contains(gst::BufferFlags::HEADER);
        if header && formats::has_header_packets(Some(caps)) {
            self.store(Item::Header(input), None);
            return;
        }
        inner.arrived = inner.arrived.max(input.end());
        let is_video = self.kind == Kind::Video;
        let begins = is_video.then(|| gate::is_entry_point(&input.buffer, *format));
        self.store(Item::Media(input), begins);
    }

    fn store(&self, item: Item, begins: Option<bool>) {
        let keeping = &self.keeping;
        let now = keeping.now();
        let mut rings = lock(&keeping.rings);
        if let Some(shelf) = rings.shelf_mut(self.number) {
            shelf.ended = false;
        }
        let is_read = rings.push(self.number, item, begins, now);
        drop(rings);
        if is_read {
            keeping.news.notify_all();
        }
    }

    /// Applies backpressure to a non-live upstream when encoders, readers or the disk cannot keep up.
    fn wait_for_room(&self, input: &Input) {
        if self.is_live() {
            return;
        }
        let keeping = &self.keeping;
        let front = self.front();
        let arrived = || match &front {
            Some(front) => front.track.arrived(),
            None => lock(&self.inner).arrived,
        };
        keeping.backpressure.wait_while(|| {
            let is_free = keeping.is_over()
                || keeping.given_up.load(Ordering::SeqCst)
                || self.flushing.load(Ordering::Acquire);
            if is_free {
                return None;
            }
            let running = input.running;
            let is_expected = running <= arrived().saturating_add(STEP);
            let live = keeping.any_live.load(Ordering::SeqCst);
            if is_expected && live && keeping.clock.now().is_some_and(|now| running > now) {
                return Some(CLOCK_LOOK);
            }
            if front.as_ref().is_some_and(|front| front.track.is_full()) {
                return Some(ROOM_LOOK);
            }
            let busy = |front: Arc<Front>| {
                front.track.is_full() && running > front.track.fed(0).saturating_add(AHEAD)
            };
            let mut others = keeping.tracks().into_iter();
            if others.any(|other| other.number != self.number && other.front().is_some_and(busy)) {
                return Some(CLOCK_LOOK);
            }
            let rings = lock(&keeping.rings);
            let waits = rings.is_disk_behind() || rings.is_behind(self.number, UNREAD);
            waits.then_some(CLOCK_LOOK)
        });
    }

    /// Stores upstream's tags.
    pub fn set_tags(&self, tags: &gst::TagList) {
        lock(&self.inner).tags = Some(tags.clone());
        let mut tags = tags.clone();
        if let Some(front) = self.front()
            && let Some(turn) = orientation_of(&tags)
        {
            front.track.set_orientation(turn);
            tags.make_mut().remove::<gst::tags::ImageOrientation>();
        }
        self.store(Item::Tags(tags), None);
    }

    /// A new stream begins: resets the orientation until its tags arrive.
    pub fn forget_tags(&self) {
        lock(&self.inner).tags = None;
        if let Some(front) = self.front() {
            front.track.set_orientation(Orientation::default());
        }
    }

    /// Buffers were lost before this track.
    pub fn lose(&self) {
        if self.front().is_none() {
            self.store(Item::Lost, None);
        }
    }

    /// Handles a GAP until running time `end`.
    pub fn gap(&self, end: Ns) {
        if let Some(front) = self.front() {
            return front.track.gap(end);
        }
        let mut inner = lock(&self.inner);
        self.settle(&mut inner);
        let end = inner.stamps.gap(end);
        self.store(Item::Gap(end), None);
    }

    /// The stream restarts, after a flush or in another segment.
    pub fn begin_anew(&self) {
        if let Some(front) = self.front() {
            return front.track.begin_anew();
        }
        let mut inner = lock(&self.inner);
        self.settle(&mut inner);
        inner.stamps.begin_anew();
    }

    /// Flush start, or stop.
    pub fn set_flushing(&self, flushing: bool) {
        self.flushing.store(flushing, Ordering::Release);
        if let Some(front) = self.front() {
            front.track.set_flushing(flushing);
        }
        self.keeping.backpressure.wake();
    }

    /// Fails the recordings that read it: encoded media in reverse playback cannot be recorded.
    pub fn refuse_backwards(&self) {
        self.for_readers(|session, track| session.refuse_backwards(track));
    }

    /// EOS; the track may continue later.
    pub fn end(&self) {
        if let Some(front) = self.front() {
            front.end();
        } else {
            let mut inner = lock(&self.inner);
            self.settle(&mut inner);
            if let Some(shelf) = lock(&self.keeping.rings).shelf_mut(self.number) {
                shelf.ended = true;
            }
        }
        self.keeping.news.notify_all();
        self.keeping.backpressure.wake();
    }

    /// Mutes from now on, or from `from`, or unmutes.
    pub fn mute(&self, muted: bool, from: Option<Ns>) {
        let mut at = from;
        let known = self.front();
        if let Some(front) = &known {
            let now = || self.keeping.timeline.write(|_| self.keeping.now());
            let instant = || *at.insert(from.unwrap_or_else(now));
            front.track.mute(instant, muted);
        } else {
            // The first recording determines the instant for the others.
            self.for_readers(|session, track| at = session.mute(track, muted, at));
        }
        let at = at.unwrap_or_else(|| self.keeping.now());
        let mut inner = lock(&self.inner);
        inner.mutes.push((at, muted));
        let rings = lock(&self.keeping.rings);
        let begin = rings
            .shelf(self.number)
            .and_then(|shelf| shelf.ring.begin());
        drop(rings);
        if let Some(begin) = begin {
            forget_mutes(&mut inner.mutes, begin);
        }
        if let (None, Media::RawVideo(front)) = (known, &inner.media) {
            // The first caps came meanwhile, with the mutes up to then.
            let front = front.clone();
            drop(inner);
            front.track.mute(|| at, muted);
        }
    }

    /// The track is muted from the start.
    pub fn start_muted(&self) {
        lock(&self.inner).mutes.push((0, true));
    }

    fn for_readers(&self, mut call: impl FnMut(&Session, usize)) {
        let readers = lock(&self.readers);
        let all: Vec<_> = readers
            .iter()
            .map(|r| (r.session.clone(), r.track))
            .collect();
        drop(readers);
        for (session, track) in all {
            call(&session, track);
        }
    }

    /// Adds a recording as reader, with its track index.
    pub(super) fn begin_with(&self, session: &Arc<Session>, track: usize, reader: u64) {
        let mutes = lock(&self.inner).mutes.clone();
        if self.front().is_none() {
            for (at, muted) in mutes {
                session.mute(track, muted, Some(at));
            }
        }
        lock(&self.readers).push(Reader {
            number: reader,
            session: session.clone(),
            track,
        });
    }

    /// Removes a reader.
    pub(super) fn leave(&self, reader: u64) {
        lock(&self.readers).retain(|known| known.number != reader);
        lock(&self.keeping.rings).close(self.number, reader);
        self.keeping.backpressure.wake();
    }

    /// The recording with this reader number, and its track index.
    pub(super) fn reader(&self, reader: u64) -> Option<(Arc<Session>, usize)> {
        let readers = lock(&self.readers);
        let known = readers.iter().find(|known| known.number == reader)?;
        Some((known.session.clone(), known.track))
    }

    /// Tells recordings that end whether their frames from `first` on are still in the encoder.
    pub(super) fn set_first_in_flight(&self, first: Option<Ns>) {
        self.for_readers(|session, track| {
            let both = first.zip(session.end());
            session.set_delayed(track, both.is_some_and(|(first, end)| first < end));
        });
    }

    /// The recordings that read it.
    pub(super) fn sessions(&self) -> Vec<Arc<Session>> {
        let readers = lock(&self.readers);
        readers
            .iter()
            .map(|reader| reader.session.clone())
            .collect()
    }
}

/// Drops mute changes that no longer apply to any kept media: those before the one in effect at `begin`.
fn forget_mutes(mutes: &mut Vec<(Ns, bool)>, begin: Ns) {
    let until = mutes.iter().rposition(|(at, _)| *at <= begin);
    mutes.drain(..until.unwrap_or(0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutes_before_the_oldest_media_are_removed() {
        let mut mutes = vec![(0, true), (10, false), (20, true), (30, false)];
        forget_mutes(&mut mutes, 5);
        assert_eq!(mutes.len(), 4);
        forget_mutes(&mut mutes, 20);
        assert_eq!(mutes, [(20, true), (30, false)]);
        forget_mutes(&mut mutes, 99);
        assert_eq!(mutes, [(30, false)]);
        forget_mutes(&mut Vec::new(), 99);
    }
}
