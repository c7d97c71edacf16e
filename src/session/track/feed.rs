//! The path from the gate into the pipeline. Media is queued until there is a pipeline, is in flight until it comes
//! out of the encoder, and may be batched so that threads wake up once for several buffers.

use super::{frame_copies::FrameCopies, in_flight::InFlight};
use crate::{
    model::{Orientation, timeline::Ns},
    session::{fixups, orientation, overlap::Overlap},
};
use gst::prelude::*;
use std::{collections::VecDeque, ops::Range, sync::Arc};

/// A distance between frames from which on it counts as a gap.
const HOLE: Ns = 1_000_000_000;

/// Maximum number of buffers in a batch.
const MAX_BATCH: usize = 64;

/// One item of a track, in order with the others.
#[derive(Debug, Clone)]
pub enum Item {
    Buffer(gst::Buffer),
    Caps(gst::Caps),
    Tags(gst::TagList),
    Turn(Orientation),
    /// No media before this recorded time.
    Gap(Ns),
    End,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Feed {
    to: To,
    in_flight: Arc<InFlight>,
    overlap: Arc<Overlap>,
    batching: bool,
    batch: Vec<gst::Buffer>,
    copies: Arc<FrameCopies>,
    absences: Absences,
}

/// A gap, and filler for missing media, does not count as queued media. An outage of an hour passes at once and must
/// not leave a queue level that makes the media after it overflow.
#[derive(Debug, Default)]
struct Absences {
    /// Recorded time up to which buffers have been pushed to the encoder.
    fed: Ns,
    /// Gaps that may still be in the queue, in order.
    spans: VecDeque<Range<Ns>>,
}

impl Absences {
    /// Notes that `buffer` is pushed into a queue that holds `level` of media.
    fn note(&mut self, buffer: &gst::BufferRef, level: Ns) {
        let Some(begin) = buffer.pts().map(gst::ClockTime::nseconds) else {
            return;
        };
        let left = self.fed.saturating_sub(level);
        while self.spans.front().is_some_and(|span| span.end <= left) {
            self.spans.pop_front();
        }
        if begin.saturating_sub(self.fed) > HOLE {
            self.skip(self.fed..begin);
        }
        let length = buffer.duration().map_or(0, gst::ClockTime::nseconds);
        let end = begin.saturating_add(length);
        if buffer.flags().contains(gst::BufferFlags::GAP) {
            self.skip(begin..end);
        }
        self.fed = self.fed.max(end);
    }

    fn skip(&mut self, empty: Range<Ns>) {
        let mut last = self.spans.back_mut();
        match last.as_mut().filter(|span| span.end >= empty.start) {
            Some(span) => span.end = span.end.max(empty.end),
            None => self.spans.push_back(empty),
        }
    }

    /// How much of the media in a queue of this level came from upstream.
    fn without(&self, level: Ns) -> Ns {
        let left = self.fed.saturating_sub(level);
        let within = self.spans.iter();
        let within = within.map(|span| span.end.saturating_sub(span.start.max(left)));
        level.saturating_sub(within.sum())
    }
}

#[derive(Debug)]
enum To {
    /// No pipeline yet.
    Backlog(Backlog),
    Encoder(gst_app::AppSrc),
    /// EOS has been sent, or the track was ended early.
    Closed,
}

impl Default for To {
    fn default() -> Self {
        To::Backlog(Backlog::default())
    }
}

/// Queued items, and how much media they are.
#[derive(Debug, Default)]
struct Backlog {
    items: VecDeque<Item>,
    waiting: Ns,
    bytes: u64,
}

impl Backlog {
    fn push(&mut self, item: Item) {
        if let Item::Buffer(buffer) = &item {
            let duration = buffer.duration().map_or(0, |duration| duration.nseconds());
            self.waiting = self.waiting.saturating_add(duration);
            self.bytes = self.bytes.saturating_add(buffer.size() as u64);
        }
        self.items.push_back(item);
    }
}

impl Feed {
    pub fn new(copies: Arc<FrameCopies>) -> Self {
        Feed {
            copies,
            ..Feed::default()
        }
    }

    /// Whether there is no pipeline yet.
    pub fn is_backlog(&self) -> bool {
        matches!(self.to, To::Backlog(_))
    }

    /// Whether there is a pipeline that still accepts media.
    pub fn is_connected(&self) -> bool {
        matches!(self.to, To::Encoder(_))
    }

    /// Whether any media is queued for the pipeline or has gone into it.
    pub fn has_media(&self) -> bool {
        match &self.to {
            To::Backlog(backlog) => {
                let mut items = backlog.items.iter();
                items.any(|item| matches!(item, Item::Buffer(_)))
            }
            To::Encoder(_) | To::Closed => true,
        }
    }

    /// Whether the media queued for the pipeline has no DTS; `None` if nothing is queued.
    pub fn lacks_dts(&self) -> Option<bool> {
        let To::Backlog(Backlog { items, .. }) = &self.to else {
            return None;
        };
        let mut buffers = items.iter().filter_map(|item| match item {
            Item::Buffer(buffer) => Some(buffer),
            Item::Caps(_) | Item::Tags(_) | Item::Turn(_) | Item::Gap(_) | Item::End => None,
        });
        buffers.next().map(|buffer| buffer.dts().is_none())
    }

    /// Media queued for the encoder or the muxer, without the current batch. Never 0 while a buffer is queued.
    pub fn waiting(&self) -> Ns {
        match &self.to {
            To::Backlog(backlog) => backlog.waiting,
            // appsrc still reports the duration of the last buffer after that has left.
            To::Encoder(appsrc) if appsrc.current_level_buffers() == 0 => 0,
            To::Encoder(appsrc) => {
                let level = appsrc.current_level_time().nseconds();
                self.absences.without(level).max(1)
            }
            To::Closed => 0,
        }
    }

    /// The recorded times of what is queued for the pipeline.
    #[cfg(test)]
    pub fn backlog_stamps(&self) -> Vec<Ns> {
        let To::Backlog(Backlog { items, .. }) = &self.to else {
            return Vec::new();
        };
        let stamp = |item: &Item| match item {
            Item::Buffer(buffer) => buffer.pts().map(|pts| pts.nseconds()),
            Item::Caps(_) | Item::Tags(_) | Item::Turn(_) | Item::Gap(_) | Item::End => None,
        };
        items.iter().filter_map(stamp).collect()
    }

    /// Bytes queued for the encoder.
    pub fn bytes(&self) -> u64 {
        match &self.to {
            To::Backlog(backlog) => backlog.bytes,
            To::Encoder(appsrc) => appsrc.current_level_bytes(),
            To::Closed => 0,
        }
    }

    /// Pushes one item.
    pub fn give(&mut self, item: Item) {
        let item = match item {
            Item::Buffer(buffer) => Item::Buffer(self.spared(buffer)),
            other => other,
        };
        match (&mut self.to, item) {
            (To::Backlog(backlog), item) => backlog.push(item),
            (To::Encoder(_), Item::Buffer(buffer))
                if self.batching && self.batch.len() < MAX_BATCH =>
            {
                self.batch.push(buffer);
            }
            (To::Encoder(_), item) => {
                self.flush_batch();
                self.give_now(item);
            }
            (To::Closed, _) => {}
        }
    }

    /// From now on, buffers are held until [`Feed::flush_batch`].
    pub fn start_batching(&mut self) {
        self.batching = true;
    }

    /// Pushes the current batch. Returns whether there was one.
    pub fn flush_batch(&mut self) -> bool {
        let batch = std::mem::take(&mut self.batch);
        let any = !batch.is_empty();
        for buffer in batch {
            self.give_now(Item::Buffer(buffer));
        }
        any
    }

    /// Media that was pushed to the encoder and has not come out yet.
    pub fn in_flight(&self) -> &Arc<InFlight> {
        &self.in_flight
    }

    /// The audio around the part.
    pub fn overlap(&self) -> &Arc<Overlap> {
        &self.overlap
    }

    /// Drops queued audio from more than so long after the part's end.
    pub fn limit_overlap(&mut self, length: Ns) {
        if let To::Backlog(backlog) = &mut self.to {
            let overlap = &self.overlap;
            backlog.items.retain(|item| match item {
                Item::Buffer(buffer) => {
                    let at = buffer.pts().map_or(0, gst::ClockTime::nseconds);
                    !overlap.is_beyond(at, length)
                }
                _ => true,
            });
        }
    }

    /// The audio of the newest caps that has been pushed last, about so much of it, and its duration.
    pub fn recent(&self, length: Ns) -> (Vec<gst::Buffer>, Ns) {
        let mut items = self.in_flight.items();
        if let To::Backlog(backlog) = &self.to {
            items.extend(backlog.items.iter().cloned());
        }
        let mut recent = VecDeque::new();
        let mut have = 0;
        for item in items.into_iter().rev() {
            match item {
                Item::Caps(_) => break,
                _ if have >= length => break,
                Item::Buffer(buffer) => {
                    have += buffer.duration().map_or(0, gst::ClockTime::nseconds);
                    recent.push_front(buffer);
                }
                _ => {}
            }
        }
        (recent.into(), have)
    }

    /// Connects the pipeline, for media that begins with these caps, and pushes the backlog.
    pub fn connect(&mut self, appsrc: gst_app::AppSrc, caps: &gst::Caps) {
        let To::Backlog(backlog) = std::mem::replace(&mut self.to, To::Encoder(appsrc)) else {
            return;
        };
        self.in_flight.begin_with(caps);
        for item in backlog.items {
            self.give_now(item);
        }
    }

    /// Switches to another encoder and replays what is in flight; audio from recorded time `from` on.
    pub fn reconnect(&mut self, appsrc: gst_app::AppSrc, from: Option<Ns>) {
        for item in self.in_flight.replay(from) {
            give_to(&appsrc, item);
        }
        if self.is_connected() {
            self.to = To::Encoder(appsrc);
        }
    }

    /// Accepts no more items. A backlog is kept.
    pub fn close(&mut self) {
        if self.is_connected() {
            self.to = To::Closed;
        }
    }

    /// Takes back the end of a backlog; FALSE if there is none.
    pub fn reopen(&mut self) -> bool {
        let To::Backlog(backlog) = &mut self.to else {
            return false;
        };
        backlog.items.retain(|item| !matches!(item, Item::End));
        true
    }

    /// Upstream gets a live frame back at once if others wait.
    fn spared(&self, buffer: gst::Buffer) -> gst::Buffer {
        self.copies.spare(buffer, || match &self.to {
            To::Backlog(backlog) => backlog.items.len(),
            To::Encoder(_) => self.in_flight.buffers(),
            To::Closed => 0,
        })
    }

    fn give_now(&mut self, item: Item) {
        if let To::Encoder(appsrc) = &self.to {
            self.in_flight.keep(&item);
            if let Item::Buffer(buffer) = &item {
                let level = appsrc.current_level_time().nseconds();
                self.absences.note(buffer, level);
            }
            give_to(appsrc, item);
        }
    }
}

/// appsrc still accepts buffers after an element downstream has failed; the encoder monitor reports that.
fn give_to(appsrc: &gst_app::AppSrc, item: Item) {
    match item {
        Item::Buffer(buffer) => {
            let _ = appsrc.push_buffer(buffer);
        }
        Item::Caps(caps) => appsrc.set_caps(Some(&caps)),
        Item::Tags(tags) => {
            appsrc.send_event(gst::event::Tag::new(tags));
        }
        Item::Turn(turn) => {
            let _ = appsrc.send_event(orientation::event(turn));
        }
        Item::Gap(until) => {
            appsrc.send_event(fixups::gap(until));
        }
        Item::End => {
            let _ = appsrc.end_of_stream();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(number: u64) -> Item {
        let mut buffer = gst::Buffer::with_size(1).unwrap();
        buffer.get_mut().unwrap().set_offset(number);
        Item::Buffer(buffer)
    }

    fn appsrc_and_appsink() -> (gst::Pipeline, gst_app::AppSrc, gst_app::AppSink) {
        gst::init().unwrap();
        let pipeline = gst::parse::launch("appsrc name=in ! appsink name=out sync=false").unwrap();
        let pipeline: gst::Pipeline = pipeline.downcast().unwrap();
        let appsrc = pipeline.by_name("in").unwrap().downcast().unwrap();
        let appsink = pipeline.by_name("out").unwrap().downcast().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        (pipeline, appsrc, appsink)
    }

    /// A feed in batching mode, and its pipeline and appsink.
    fn gathering() -> (Feed, gst::Pipeline, gst_app::AppSink) {
        let (pipeline, appsrc, appsink) = appsrc_and_appsink();
        let mut feed = Feed::default();
        feed.give(packet(0));
        feed.connect(appsrc, &gst::Caps::new_empty_simple("audio/x-opus"));
        feed.start_batching();
        (feed, pipeline, appsink)
    }

    fn offsets(appsink: &gst_app::AppSink, patience: gst::ClockTime) -> Vec<u64> {
        let samples = std::iter::from_fn(|| appsink.try_pull_sample(patience));
        samples.map(|s| s.buffer().unwrap().offset()).collect()
    }

    #[test]
    fn an_outage_leaves_no_queue() {
        gst::init().unwrap();
        const SECOND: Ns = 1_000_000_000;
        let buffer = |at: Ns, length: Ns, stands_in: bool| {
            let mut buffer = gst::Buffer::new();
            let fields = buffer.get_mut().unwrap();
            fields.set_pts(gst::ClockTime::from_nseconds(at));
            fields.set_duration(gst::ClockTime::from_nseconds(length));
            if stands_in {
                fields.set_flags(gst::BufferFlags::GAP);
            }
            buffer
        };
        let mut absences = Absences::default();
        absences.note(&buffer(0, SECOND, false), 0);
        for second in 1..61 {
            absences.note(&buffer(second * SECOND, SECOND, true), second * SECOND);
        }
        assert_eq!(absences.without(61 * SECOND), SECOND);
        // Media after the gap waits for the muxer.
        absences.note(&buffer(61 * SECOND, 2 * SECOND, false), 61 * SECOND);
        assert_eq!(absences.without(63 * SECOND), 3 * SECOND);
        // Half of it has been consumed, and then all.
        assert_eq!(absences.without(32 * SECOND), 2 * SECOND);
        assert_eq!(absences.without(SECOND), SECOND);
        absences.note(&buffer(63 * SECOND, SECOND, false), 2 * SECOND);
        assert!(absences.spans.is_empty());
        // A frame after a gap, while the one before it is still queued.
        absences.note(&buffer(124 * SECOND, SECOND, false), SECOND);
        assert_eq!(absences.without(62 * SECOND), 2 * SECOND);
    }

    #[test]
    fn a_batch_is_pushed_when_it_is_released() {
        let (mut feed, pipeline, appsink) = gathering();
        (1..5).for_each(|number| feed.give(packet(number)));
        let moment = gst::ClockTime::from_mseconds(100);
        assert_eq!(offsets(&appsink, moment), [0]);
        assert!(feed.flush_batch());
        assert!(!feed.flush_batch());
        feed.give(packet(5));
        feed.give(Item::End);
        let long = gst::ClockTime::from_seconds(10);
        assert_eq!(offsets(&appsink, long), [1, 2, 3, 4, 5]);
        pipeline.set_state(gst::State::Null).unwrap();
    }

    #[test]
    fn media_in_flight_is_replayed_to_the_next_encoder_in_order() {
        let (mut feed, failed, _) = gathering();
        feed.give(packet(1));
        feed.flush_batch();
        feed.give(packet(2));
        failed.set_state(gst::State::Null).unwrap();
        let (next, appsrc, appsink) = appsrc_and_appsink();
        feed.reconnect(appsrc, None);
        feed.give(packet(3));
        feed.give(Item::End);
        let long = gst::ClockTime::from_seconds(10);
        assert_eq!(offsets(&appsink, long), [0, 1, 2, 3]);
        // The same after EOS.
        feed.close();
        next.set_state(gst::State::Null).unwrap();
        let (last, appsrc, appsink) = appsrc_and_appsink();
        feed.reconnect(appsrc, None);
        assert_eq!(offsets(&appsink, long), [0, 1, 2, 3]);
        last.set_state(gst::State::Null).unwrap();
    }

    #[test]
    fn a_batch_is_bounded() {
        let (mut feed, pipeline, appsink) = gathering();
        (1..=200).for_each(|number| feed.give(packet(number)));
        let moment = gst::ClockTime::from_mseconds(100);
        let came = offsets(&appsink, moment);
        assert!(came.len() > 200 - MAX_BATCH, "{came:?}");
        assert!(came.iter().copied().eq(0..came.len() as u64), "{came:?}");
        pipeline.set_state(gst::State::Null).unwrap();
    }
}
