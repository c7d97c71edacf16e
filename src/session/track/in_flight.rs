//! Media in flight: pushed to a track's encoder and not out of it yet. If another encoder takes over, it is replayed.
//!
//! This only holds references: an encoder holds the same frames while it works on them.
//!
//! Lock order: a leaf.

use super::feed::Item;
use crate::{
    formats, gate,
    model::{Kind, queue::MAX_BYTES, timeline::Ns},
    session::timing::lock,
};
use gst::prelude::*;
use std::{collections::VecDeque, sync::Mutex};

/// Maximum rounding of timestamps.
const MAX_ROUNDING: Ns = 1_000_000;

/// See the module documentation.
#[derive(Debug, Default)]
pub struct InFlight(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    entries: VecDeque<Entry>,
    /// How many entries at the front have left the appsrc for the encoder.
    sent: usize,
    buffers: usize,
    bytes: u64,
    /// In front of the first entry.
    in_force: InForce,
    /// For the newest caps: by how much timestamps are later than recorded time.
    headroom: Ns,
    /// For the newest caps: whether there are delta frames.
    has_deltas: bool,
}

#[derive(Debug)]
struct Entry {
    item: Item,
    /// Recorded time and duration.
    at: Ns,
    length: Ns,
    bytes: u64,
    is_key: bool,
}

impl Entry {
    fn is_buffer(&self) -> bool {
        matches!(self.item, Item::Buffer(_))
    }

    fn end(&self) -> Ns {
        self.at.saturating_add(self.length)
    }

    /// Whether it has come out, given that everything starting up to this recorded time has.
    fn is_done(&self, until: Ns) -> bool {
        self.at <= until.saturating_add(rounding(self.length))
    }
}

/// What applies to the buffers that follow.
#[derive(Debug, Default, Clone)]
struct InForce {
    caps: Option<gst::Caps>,
    tags: Option<gst::TagList>,
    turn: Option<Item>,
}

impl InForce {
    fn set(&mut self, item: &Item) {
        match item {
            Item::Caps(caps) => self.caps = Some(caps.clone()),
            Item::Tags(tags) => self.tags = Some(tags.clone()),
            Item::Turn(_) => self.turn = Some(item.clone()),
            Item::Buffer(_) | Item::Gap(_) | Item::End => {}
        }
    }

    fn items(&self) -> Vec<Item> {
        let caps = self.caps.clone().map(Item::Caps);
        let tags = self.tags.clone().map(Item::Tags);
        [caps, tags, self.turn.clone()]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// By how much encoders may round the timestamp of a frame of this duration.
pub fn rounding(length: Ns) -> Ns {
    MAX_ROUNDING.min(length / 2)
}

impl InFlight {
    /// Sets the caps of the media that follows.
    pub fn begin_with(&self, caps: &gst::Caps) {
        let mut inner = lock(&self.0);
        inner.in_force.caps = Some(caps.clone());
        inner.note_caps(caps);
    }

    /// Notes an item pushed to the encoder.
    pub fn keep(&self, item: &Item) {
        let mut inner = lock(&self.0);
        let entry = inner.entry(item.clone());
        if entry.is_buffer() {
            inner.buffers += 1;
            inner.bytes += entry.bytes;
        }
        inner.entries.push_back(entry);
        while inner.bytes > MAX_BYTES && inner.buffers > 1 {
            inner.drop_first();
        }
    }

    /// Everything that starts up to this recorded time has come out.
    pub fn came_out(&self, until: Ns) {
        let mut inner = lock(&self.0);
        let done = inner.done(until);
        for _ in 0..done {
            inner.drop_first();
        }
    }

    /// Everything that ends up to this recorded time has come out.
    pub fn came_out_whole(&self, until: Ns) {
        let mut inner = lock(&self.0);
        while inner
            .entries
            .front()
            .is_some_and(|entry| !matches!(entry.item, Item::End) && entry.end() <= until)
        {
            inner.drop_first();
        }
    }

    /// The next buffer leaves for the encoder, or is copied.
    pub fn sent(&self, is_copied: bool) {
        let mut inner = lock(&self.0);
        let waiting = inner.entries.iter().skip(inner.sent);
        let next = waiting.take_while(|entry| !entry.is_buffer()).count();
        inner.sent = (inner.sent + next + 1).min(inner.entries.len());
        if is_copied {
            for _ in 0..inner.sent {
                inner.drop_first();
            }
        }
    }

    /// The encoder has been drained, except for the newest buffer, which may be for the next encoder.
    pub fn drained(&self) {
        let mut inner = lock(&self.0);
        for _ in 1..inner.sent {
            inner.drop_first();
        }
    }

    /// Drops all buffers: what has not come out is not needed.
    pub fn drop_buffers(&self) {
        let mut inner = lock(&self.0);
        inner.entries.retain(|entry| !entry.is_buffer());
        (inner.sent, inner.buffers, inner.bytes) = (0, 0, 0);
    }

    /// The frame at this recorded time has been dropped.
    pub fn dropped(&self, at: Ns) {
        let mut inner = lock(&self.0);
        let mut entries = inner.entries.iter();
        let found = entries.position(|entry| entry.is_buffer() && entry.at == at);
        if let Some(index) = found
            && let Some(entry) = inner.entries.remove(index)
        {
            inner.sent -= usize::from(index < inner.sent);
            inner.forget(&entry);
        }
    }

    /// The buffers in flight, and those that came out last, among the newest items.
    pub fn items(&self) -> Vec<Item> {
        let inner = lock(&self.0);
        inner
            .entries
            .iter()
            .map(|entry| entry.item.clone())
            .collect()
    }

    /// Everything pushed from recorded time `from` on, after the caps, tags and orientation in force there. Audio that
    /// spans it is trimmed.
    pub fn pushed_from(&self, from: Ns) -> Vec<Item> {
        let inner = lock(&self.0);
        let mut in_force = inner.in_force.clone();
        let mut items = Vec::new();
        for entry in &inner.entries {
            let item = match &entry.item {
                Item::Buffer(_) if entry.end() <= from => continue,
                Item::Buffer(buffer) if entry.at < from => {
                    let caps = in_force.caps.as_deref();
                    rest(buffer, from - entry.at, caps).map(Item::Buffer)
                }
                Item::Buffer(buffer) => Some(Item::Buffer(buffer.clone())),
                // The next part has its own.
                Item::End => None,
                state => {
                    in_force.set(state);
                    (!items.is_empty()).then(|| state.clone())
                }
            };
            if items.is_empty() && matches!(item, Some(Item::Buffer(_))) {
                items = in_force.items();
            }
            items.extend(item);
        }
        if items.is_empty() {
            items = in_force.items();
        }
        items
    }

    /// The audio before recorded time `until` that is still known.
    pub fn audio_before(&self, until: Ns) -> Vec<gst::Buffer> {
        let inner = lock(&self.0);
        let mut caps = inner.in_force.caps.clone();
        let mut audio = Vec::new();
        for entry in &inner.entries {
            match &entry.item {
                Item::Caps(new) => caps = Some(new.clone()),
                Item::Buffer(buffer) if entry.end() <= until => audio.push(buffer.clone()),
                Item::Buffer(buffer) if entry.at < until => {
                    audio.extend(head(buffer, until - entry.at, caps.as_deref()));
                }
                _ => {}
            }
        }
        audio
    }

    /// Recorded time and duration of the first buffer in flight.
    pub fn first(&self) -> Option<(Ns, Ns)> {
        let inner = lock(&self.0);
        let first = inner.entries.iter().find(|entry| entry.is_buffer());
        first.map(|entry| (entry.at, entry.length))
    }

    /// Recorded time of the first buffer that has not left the appsrc.
    pub fn first_unsent(&self) -> Option<Ns> {
        let inner = lock(&self.0);
        let mut unsent = inner.entries.iter().skip(inner.sent);
        unsent.find(|entry| entry.is_buffer()).map(|entry| entry.at)
    }

    /// Number of buffers in flight.
    pub fn buffers(&self) -> usize {
        lock(&self.0).buffers
    }

    /// Recorded time of the first buffer in flight.
    pub fn begin(&self) -> Option<Ns> {
        self.first().map(|(at, _)| at)
    }

    /// Everything in flight, for another encoder; audio from recorded time `from` on. Caps, tags and orientation in
    /// force come first. It all stays in flight.
    pub fn replay(&self, from: Option<Ns>) -> Vec<Item> {
        let mut inner = lock(&self.0);
        inner.sent = 0;
        let is_before = |entry: &Entry| {
            let ends_before = from.is_some_and(|from| entry.end() <= from);
            !entry.is_buffer() || ends_before
        };
        while from.is_some()
            && inner.entries.iter().any(Entry::is_buffer)
            && inner.entries.front().is_some_and(is_before)
        {
            inner.drop_first();
        }
        let mut items = inner.in_force.items();
        for entry in &inner.entries {
            let item = match (&entry.item, from) {
                (Item::Buffer(buffer), Some(from)) if entry.at < from => {
                    let caps = inner.in_force.caps.as_deref();
                    rest(buffer, from - entry.at, caps).map(Item::Buffer)
                }
                (item, _) => Some(item.clone()),
            };
            items.extend(item);
        }
        items
    }
}

/// Trims the start of a raw audio buffer; encoded buffers stay whole.
fn rest(buffer: &gst::Buffer, skip: Ns, caps: Option<&gst::CapsRef>) -> Option<gst::Buffer> {
    let Some(info) = caps.and_then(formats::audio_info) else {
        return Some(buffer.clone());
    };
    let rate = u64::from(info.rate());
    let samples = skip.mul_div_round(rate, 1_000_000_000)?;
    let (bpf, trim) = (info.bpf(), usize::try_from(samples).ok()?);
    if buffer.size() / usize::try_from(bpf).ok()?.max(1) <= trim {
        return None;
    }
    let skip = gst::ClockTime::SECOND.mul_div_round(samples, rate)?;
    let (pts, duration) = (buffer.pts(), buffer.duration());
    let mut trimmed = gst_audio::audio_buffer_truncate(buffer.clone(), bpf, trim, None);
    let fields = trimmed.make_mut();
    fields.set_pts(pts.map(|pts| pts + skip));
    fields.set_duration(duration.map(|duration| duration.saturating_sub(skip)));
    Some(trimmed)
}

/// The start of a raw audio buffer, of this duration.
pub fn head(buffer: &gst::Buffer, length: Ns, caps: Option<&gst::CapsRef>) -> Option<gst::Buffer> {
    let info = formats::audio_info(caps?)?;
    let rate = u64::from(info.rate());
    let samples = length.mul_div_round(rate, 1_000_000_000)?;
    let keep = usize::try_from(samples).ok().filter(|keep| *keep > 0)?;
    if keep >= buffer.size() / usize::try_from(info.bpf()).ok()?.max(1) {
        return Some(buffer.clone());
    }
    let mut trimmed = gst_audio::audio_buffer_truncate(buffer.clone(), info.bpf(), 0, Some(keep));
    let duration = gst::ClockTime::SECOND.mul_div_round(samples, rate)?;
    trimmed.make_mut().set_duration(duration);
    Some(trimmed)
}

impl Inner {
    fn entry(&mut self, item: Item) -> Entry {
        let mut entry = Entry {
            item,
            at: 0,
            length: 0,
            bytes: 0,
            is_key: true,
        };
        match &entry.item {
            Item::Buffer(buffer) => {
                let stamp = buffer.pts().map_or(0, gst::ClockTime::nseconds);
                entry.at = stamp.saturating_sub(self.headroom);
                entry.length = buffer.duration().map_or(0, gst::ClockTime::nseconds);
                entry.bytes = buffer.size() as u64;
                entry.is_key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
            }
            Item::Caps(caps) => {
                let caps = caps.clone();
                self.note_caps(&caps);
            }
            Item::Tags(_) | Item::Turn(_) | Item::Gap(_) | Item::End => {}
        }
        entry
    }

    fn note_caps(&mut self, caps: &gst::CapsRef) {
        self.headroom = gate::headroom(caps);
        let kind = formats::kind_of_caps(caps);
        self.has_deltas = !formats::is_raw(caps) && kind == Some(Kind::Video);
    }

    /// How many entries at the front are no longer needed.
    fn done(&self, until: Ns) -> usize {
        let is_done = |entry: &&Entry| match entry.item {
            Item::Buffer(_) => entry.is_done(until),
            Item::End => false,
            _ => true,
        };
        let done = self.entries.iter().take_while(is_done).count();
        if !self.has_deltas {
            return done;
        }
        // A decoder has to start at a keyframe.
        let kept = done + usize::from(done < self.entries.len());
        let keys = self.entries.iter().take(kept);
        keys.enumerate()
            .rfind(|(_, entry)| entry.is_buffer() && entry.is_key)
            .map_or(0, |(index, _)| index)
    }

    fn forget(&mut self, entry: &Entry) {
        if entry.is_buffer() {
            self.buffers = self.buffers.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(entry.bytes);
        }
    }

    fn drop_first(&mut self) {
        let Some(entry) = self.entries.pop_front() else {
            return;
        };
        self.sent = self.sent.saturating_sub(1);
        self.forget(&entry);
        self.in_force.set(&entry.item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FRAME: Ns = 40_000_000;

    fn frame(number: u64, is_key: bool) -> Item {
        let mut buffer = gst::Buffer::with_size(10).unwrap();
        let fields = buffer.get_mut().unwrap();
        fields.set_pts(gst::ClockTime::from_nseconds(number * FRAME));
        fields.set_duration(gst::ClockTime::from_nseconds(FRAME));
        if !is_key {
            fields.set_flags(gst::BufferFlags::DELTA_UNIT);
        }
        Item::Buffer(buffer)
    }

    fn caps(caps: &str) -> Item {
        Item::Caps(caps.parse().unwrap())
    }

    fn numbers(items: &[Item]) -> Vec<u64> {
        let number = |item: &Item| match item {
            Item::Buffer(buffer) => Some(buffer.pts()?.nseconds() / FRAME),
            _ => None,
        };
        items.iter().filter_map(number).collect()
    }

    #[test]
    fn encoded_media_is_not_replayed() {
        gst::init().unwrap();
        let flight = InFlight::default();
        flight.keep(&caps("video/x-raw, width=16"));
        (0..5).for_each(|n| flight.keep(&frame(n, true)));
        flight.keep(&caps("video/x-raw, width=32"));
        (5..10).for_each(|n| flight.keep(&frame(n, true)));
        flight.keep(&Item::End);
        assert_eq!(numbers(&flight.replay(None)), (0..10).collect::<Vec<_>>());
        // Rounded to the millisecond, in either direction.
        flight.came_out(2 * FRAME - 900_000);
        assert_eq!(flight.begin(), Some(3 * FRAME));
        flight.came_out(6 * FRAME + 900_000);
        flight.dropped(8 * FRAME);
        let items = flight.replay(None);
        assert_eq!(numbers(&items), [7, 9]);
        assert_eq!(flight.buffers(), 2);
        assert!(matches!(&items[0], Item::Caps(caps) if caps.to_string().contains("32")));
        assert!(matches!(items.last(), Some(Item::End)));
        flight.came_out(20 * FRAME);
        assert!(matches!(
            flight.replay(None)[..],
            [Item::Caps(_), Item::End]
        ));
    }

    #[test]
    fn packets_are_replayed_from_a_keyframe() {
        gst::init().unwrap();
        let flight = InFlight::default();
        flight.keep(&caps("video/x-vp8"));
        (0..12).for_each(|n| flight.keep(&frame(n, n % 5 == 0)));
        flight.came_out(3 * FRAME);
        assert_eq!(flight.begin(), Some(0));
        // The next one is the keyframe.
        flight.came_out(4 * FRAME);
        assert_eq!(flight.begin(), Some(5 * FRAME));
        flight.came_out(11 * FRAME);
        assert_eq!(numbers(&flight.replay(None)), [10, 11]);
    }

    #[test]
    fn copied_and_drained_media_is_not_in_flight() {
        gst::init().unwrap();
        let flight = InFlight::default();
        flight.keep(&caps("video/x-vp8"));
        (0..9).for_each(|n| flight.keep(&frame(n, n == 0)));
        (0..3).for_each(|_| flight.sent(true));
        assert_eq!(numbers(&flight.replay(None)), [3, 4, 5, 6, 7, 8]);
        (0..3).for_each(|_| flight.sent(false));
        assert_eq!(flight.buffers(), 6);
        flight.dropped(4 * FRAME);
        flight.drained();
        // The newest that has left may be for another encoder.
        assert_eq!(numbers(&flight.replay(None)), [5, 6, 7, 8]);
    }

    #[test]
    fn audio_is_replayed_from_the_sample() {
        gst::init().unwrap();
        let flight = InFlight::default();
        flight.keep(&caps(
            "audio/x-raw, format=S16LE, layout=interleaved, rate=48000, channels=1",
        ));
        for n in 0..10u64 {
            let samples = (0..480u16).flat_map(|s| (s + 480 * n as u16).to_le_bytes());
            let mut buffer = gst::Buffer::from_mut_slice(samples.collect::<Vec<_>>());
            let fields = buffer.get_mut().unwrap();
            fields.set_pts(gst::ClockTime::from_mseconds(10 * n));
            fields.set_duration(gst::ClockTime::from_mseconds(10));
            flight.keep(&Item::Buffer(buffer));
        }
        flight.came_out_whole(29_999_999);
        let items = flight.replay(Some(31_000_000));
        let Some(Item::Buffer(first)) = items.get(1) else {
            panic!("{items:?}");
        };
        assert_eq!(first.pts(), Some(gst::ClockTime::from_mseconds(31)));
        assert_eq!(first.duration(), Some(gst::ClockTime::from_mseconds(9)));
        let map = first.map_readable().unwrap();
        assert_eq!(map[..2], (31 * 48u16).to_le_bytes());
        assert_eq!(items.len(), 8);
    }

    #[test]
    fn the_memory_is_bounded() {
        gst::init().unwrap();
        let flight = InFlight::default();
        let memory = gst::Buffer::with_size(16 << 20).unwrap();
        (0..100).for_each(|_| flight.keep(&Item::Buffer(memory.clone())));
        assert!(flight.buffers() <= 16, "{}", flight.buffers());
    }

    proptest! {
        /// However frames are reordered: none that has not come out is lost, and decoding can start.
        #[test]
        fn no_queued_media_is_lost(
            keys in proptest::collection::vec(prop::bool::weighted(0.2), 1..60),
            outs in proptest::collection::vec(0u64..60, 0..20),
        ) {
            gst::init().unwrap();
            let flight = InFlight::default();
            flight.keep(&caps("video/x-vp8"));
            let keys: Vec<bool> = std::iter::once(true).chain(keys).collect();
            for (n, is_key) in keys.iter().enumerate() {
                flight.keep(&frame(n as u64, *is_key));
            }
            let mut most = None;
            for out in outs {
                flight.came_out(out * FRAME);
                most = most.max(Some(out));
            }
            let left = numbers(&flight.replay(None));
            for n in 0..keys.len() as u64 {
                if most.is_none_or(|most| n > most) {
                    prop_assert!(left.contains(&n), "{n} of {left:?}");
                }
            }
            if let Some(first) = left.first() {
                prop_assert!(keys[*first as usize]);
            }
        }
    }
}
