//! What a track has let through, on its way into the pipeline: it waits until there is one, is kept while another may
//! have to take its place, and may be batched so that threads are woken for several buffers at once.

use crate::{
    model::{Orientation, timeline::Ns},
    session::{fixups, orientation},
};
use gst::prelude::*;
use std::collections::VecDeque;

/// Live pictures that wait in front of the encoder as they came.
const HELD: u64 = 2;

/// More buffers are not batched.
const MAX_BATCH: usize = 64;

/// One thing of a track, in its place among the others.
#[derive(Debug, Clone)]
pub enum Item {
    Buffer(gst::Buffer),
    Caps(gst::Caps),
    Tags(gst::TagList),
    Turn(Orientation),
    /// Nothing comes before this recorded time.
    Gap(Ns),
    End,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Feed {
    to: To,
    /// What the pipeline was given, while another one may have to take its place.
    kept: Option<Kept>,
    batching: bool,
    batch: Vec<gst::Buffer>,
    /// Its buffers are of a pool that has few: live pictures.
    scarce: bool,
}

#[derive(Debug)]
enum To {
    /// No pipeline yet.
    Backlog(Backlog),
    Encoder(gst_app::AppSrc),
    /// The end has been sent, or the track was left out.
    Closed,
}

impl Default for To {
    fn default() -> Self {
        To::Backlog(Backlog::default())
    }
}

/// What waits, and how much media that is.
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

/// What was given to encoders that may yet turn out not to work.
#[derive(Debug, Default)]
struct Kept {
    backlog: Backlog,
    /// How much media there may be among it.
    most: Ns,
}

impl Feed {
    /// Its buffers are, or are not, of a pool that has few.
    pub fn set_scarce(&mut self, scarce: bool) {
        self.scarce = scarce;
    }

    /// Whether there is no pipeline yet.
    pub fn is_backlog(&self) -> bool {
        matches!(self.to, To::Backlog(_))
    }

    /// Whether there is a pipeline, and more to come.
    pub fn is_connected(&self) -> bool {
        matches!(self.to, To::Encoder(_))
    }

    /// Whether any media waits for the pipeline, or has gone into it.
    pub fn has_media(&self) -> bool {
        match &self.to {
            To::Backlog(backlog) => {
                let mut items = backlog.items.iter();
                items.any(|item| matches!(item, Item::Buffer(_)))
            }
            To::Encoder(_) | To::Closed => true,
        }
    }

    /// Whether what waits for the pipeline comes without decode times; `None` if nothing waits.
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

    /// Media that waits for the encoder; what is batched does not wait for that.
    pub fn waiting(&self) -> Ns {
        match &self.to {
            To::Backlog(backlog) => backlog.waiting,
            // The level still has the length of the last buffer in it when that has gone.
            To::Encoder(appsrc) if appsrc.current_level_buffers() == 0 => 0,
            To::Encoder(appsrc) => appsrc.current_level_time().nseconds(),
            To::Closed => 0,
        }
    }

    /// The recorded times of what waits for the pipeline.
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

    /// Bytes that wait for the encoder.
    pub fn bytes(&self) -> u64 {
        match &self.to {
            To::Backlog(backlog) => backlog.bytes,
            To::Encoder(appsrc) => appsrc.current_level_bytes(),
            To::Closed => 0,
        }
    }

    /// Gives one thing on.
    pub fn give(&mut self, item: Item) {
        let item = match item {
            Item::Buffer(buffer) => Item::Buffer(self.given_back(buffer)),
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

    /// From now on buffers wait for [`Feed::flush_batch`].
    pub fn start_batching(&mut self) {
        self.batching = true;
    }

    /// Gives on what has been batched, if anything has.
    pub fn flush_batch(&mut self) -> bool {
        let batch = std::mem::take(&mut self.batch);
        let any = !batch.is_empty();
        for buffer in batch {
            self.give_now(Item::Buffer(buffer));
        }
        any
    }

    /// The encoder is there: gives it what has waited. If there may have to be another, what it gets is kept until
    /// [`Feed::forget`], or until more than `most` media has come after that.
    pub fn connect(&mut self, appsrc: gst_app::AppSrc, replaceable: bool, most: Ns) {
        let To::Backlog(backlog) = std::mem::replace(&mut self.to, To::Encoder(appsrc)) else {
            return;
        };
        // What waits here already may be kept as well.
        let most = most.saturating_add(backlog.waiting);
        self.kept = replaceable.then(|| Kept {
            most,
            ..Kept::default()
        });
        for item in backlog.items {
            self.give_now(item);
        }
    }

    /// The encoders work: nothing has to be kept for others.
    pub fn forget(&mut self) {
        self.kept = None;
    }

    /// Whether all that the pipeline was given is still here.
    pub fn can_replay(&self) -> bool {
        self.kept.is_some() || self.is_backlog()
    }

    /// The pipeline is no more: what it was given waits for the next one, if that was kept.
    pub fn take_back(&mut self) -> bool {
        let batch = std::mem::take(&mut self.batch);
        let Some(Kept { mut backlog, .. }) = self.kept.take() else {
            return false;
        };
        for buffer in batch {
            backlog.push(Item::Buffer(buffer));
        }
        self.to = To::Backlog(backlog);
        true
    }

    /// Takes nothing more. What waits for a pipeline goes on waiting.
    pub fn close(&mut self) {
        if self.is_connected() {
            self.to = To::Closed;
        }
    }

    /// Of live pictures no more than a few are held. What waits longer is a copy.
    fn given_back(&self, buffer: gst::Buffer) -> gst::Buffer {
        if !self.scarce {
            return buffer;
        }
        let waiting = match &self.to {
            To::Backlog(backlog) => backlog.items.len() as u64,
            To::Encoder(appsrc) => appsrc.current_level_buffers(),
            To::Closed => 0,
        };
        match waiting < HELD {
            true => buffer,
            false => buffer.copy_deep().unwrap_or(buffer),
        }
    }

    /// Keeps an item for another encoder; too much of it is not worth the memory.
    fn keep(&mut self, item: &Item) {
        let Some(kept) = &mut self.kept else {
            return;
        };
        let copy = match item {
            Item::Buffer(buffer) if self.scarce => buffer.copy_deep().ok().map(Item::Buffer),
            other => Some(other.clone()),
        };
        match copy {
            Some(item) if kept.backlog.waiting <= kept.most => kept.backlog.push(item),
            _ => self.kept = None,
        }
    }

    fn give_now(&mut self, item: Item) {
        self.keep(&item);
        let To::Encoder(appsrc) = &self.to else {
            return;
        };
        // appsrc goes on taking buffers after its pipeline has failed: the pipeline's bus is
        // what tells.
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

    /// A feed that batching, and where it leads.
    fn gathering() -> (Feed, gst::Pipeline, gst_app::AppSink) {
        let (pipeline, appsrc, appsink) = appsrc_and_appsink();
        let mut feed = Feed::default();
        feed.give(packet(0));
        feed.connect(appsrc, false, 0);
        feed.start_batching();
        (feed, pipeline, appsink)
    }

    fn offsets(appsink: &gst_app::AppSink, patience: gst::ClockTime) -> Vec<u64> {
        let samples = std::iter::from_fn(|| appsink.try_pull_sample(patience));
        samples.map(|s| s.buffer().unwrap().offset()).collect()
    }

    #[test]
    fn what_is_gathered_goes_on_when_it_is_let_go() {
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
    fn what_is_gathered_goes_to_the_next_encoder_in_its_place() {
        let (mut feed, failed, _) = gathering();
        feed.give(packet(1));
        feed.kept = Some(Kept::default());
        assert!(feed.take_back());
        failed.set_state(gst::State::Null).unwrap();
        feed.give(packet(2));
        feed.give(Item::End);
        let (next, appsrc, appsink) = appsrc_and_appsink();
        feed.connect(appsrc, false, 0);
        let long = gst::ClockTime::from_seconds(10);
        assert_eq!(offsets(&appsink, long), [1, 2]);
        next.set_state(gst::State::Null).unwrap();
    }

    #[test]
    fn no_more_is_gathered_than_a_few() {
        let (mut feed, pipeline, appsink) = gathering();
        (1..=200).for_each(|number| feed.give(packet(number)));
        let moment = gst::ClockTime::from_mseconds(100);
        let came = offsets(&appsink, moment);
        assert!(came.len() > 200 - MAX_BATCH, "{came:?}");
        assert!(came.iter().copied().eq(0..came.len() as u64), "{came:?}");
        pipeline.set_state(gst::State::Null).unwrap();
    }
}
