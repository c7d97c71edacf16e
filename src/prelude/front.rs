//! Raw video on its way into the ring: through a gate with the pre-record timeline, and its encoder.

use super::{Keeping, ring::Item};
use crate::{
    gate::Input,
    model::{Error, timeline::Ns},
    session::{EncoderChain, PacketSink, Track, lock},
};
use std::{
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Gates raw video for its encoder with the pre-record timeline.
pub struct Front {
    pub track: Track,
    pub chain: Mutex<Option<EncoderChain>>,
    pub packets: Arc<Packets>,
}

impl Front {
    pub fn new(track: Track, packets: Packets) -> Self {
        Front {
            track,
            chain: Mutex::default(),
            packets: Arc::new(packets),
        }
    }

    /// Sets the caps of the following frames.
    pub fn set_caps(&self, caps: &gst::Caps) {
        if let Err(err) = self.track.set_caps(caps) {
            let error = Error::not_supported(format!(
                "{} cannot be encoded ({caps}): {err}",
                self.track.name()
            ));
            self.packets.error(None, error);
        }
    }

    /// No more input: outputs the last frame and drains the encoder.
    pub fn end(&self) {
        self.track.end();
        self.track.advance();
        self.track.finish(false);
    }

    /// The factory of its encoder, and what is converted of the latest frames.
    pub fn encoding(&self) -> Option<(String, Vec<String>)> {
        let caps = self.track.caps();
        let chain = lock(&self.chain);
        let chain = chain.as_ref()?;
        let converted = caps.map(|caps| chain.converted(&caps));
        Some((
            chain.encoder_name()?.to_string(),
            converted.unwrap_or_default(),
        ))
    }

    /// The first failure since the last call, unless it is of an encoder that has been replaced.
    pub fn take_failure(&self) -> Option<Report> {
        let failures = std::mem::take(&mut *lock(&self.packets.failures));
        let chain = lock(&self.chain);
        failures.into_iter().find(|(encoder, _)| {
            let encoder = encoder.as_ref().zip(chain.as_ref());
            encoder.is_none_or(|(encoder, chain)| chain.has_encoder(encoder))
        })
    }

    /// Drains its encoder, which then has to be started again: its track goes on.
    pub fn drain(&self) {
        if let Some(chain) = &*lock(&self.chain) {
            *lock(&self.packets.drain) = Drain::Requested;
            chain.drain();
        }
    }

    /// The encoder that was to be drained is replaced.
    pub fn cancel_drain(&self) {
        *lock(&self.packets.drain) = Drain::None;
    }

    /// Whether its encoder has been drained by [`Front::drain`]. Returns that once.
    pub fn take_drained(&self) -> bool {
        let mut drain = lock(&self.packets.drain);
        let is_done = *drain == Drain::Done;
        if is_done {
            *drain = Drain::None;
        }
        is_done
    }

    /// Whether its encoder hangs. `now` has to advance between calls.
    pub fn hangs(&self, now: Duration, patience: Duration) -> bool {
        let chain = lock(&self.chain);
        chain
            .as_ref()
            .is_some_and(|chain| chain.hangs(now, patience))
    }

    pub fn set_bits_per_second(&self, rate: u32) {
        if let Some(chain) = &*lock(&self.chain) {
            chain.set_bits_per_second(rate);
        }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.packets.cut.store(true, Ordering::SeqCst);
    }
}

/// What an element has reported: the encoder, if it was that, and the error.
type Report = (Option<gst::Element>, Error);

/// Whether an encoder is drained although its track goes on.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Drain {
    #[default]
    None,
    Requested,
    Done,
}

/// Stores an encoder chain's output in the ring.
pub struct Packets {
    keeping: Weak<Keeping>,
    track: u64,
    name: String,
    failures: Mutex<Vec<Report>>,
    drain: Mutex<Drain>,
    /// Later output is discarded.
    cut: AtomicBool,
}

impl Packets {
    pub fn new(keeping: &Arc<Keeping>, track: u64, name: &str) -> Self {
        Packets {
            keeping: Arc::downgrade(keeping),
            track,
            name: name.to_owned(),
            failures: Mutex::default(),
            drain: Mutex::default(),
            cut: AtomicBool::new(false),
        }
    }

    fn keeping(&self) -> Option<Arc<Keeping>> {
        self.keeping
            .upgrade()
            .filter(|_| !self.cut.load(Ordering::SeqCst))
    }

    fn store(&self, item: Item, begins: Option<bool>) {
        let Some(keeping) = self.keeping() else {
            return;
        };
        let now = keeping.now();
        if lock(&keeping.rings).push(self.track, item, begins, now) {
            keeping.news.notify_all();
        }
    }
}

impl PacketSink for Packets {
    fn caps(&self, caps: &gst::Caps) {
        self.store(Item::Caps(caps.clone()), None);
    }

    fn packet(&self, packet: Input) {
        if let Some(keeping) = self.keeping() {
            keeping.is_replacing.store(false, Ordering::SeqCst);
        }
        let flags = packet.buffer.flags();
        let begins = !flags.contains(gst::BufferFlags::DELTA_UNIT);
        self.store(Item::Media(packet), Some(begins));
    }

    fn end(&self) {
        let Some(keeping) = self.keeping() else {
            return;
        };
        let mut drain = lock(&self.drain);
        if *drain == Drain::Requested {
            *drain = Drain::Done;
            drop(drain);
            return keeping.backpressure.wake();
        }
        drop(drain);
        if let Some(shelf) = lock(&keeping.rings).shelf_mut(self.track) {
            shelf.ended = true;
        }
        keeping.news.notify_all();
    }

    fn error(&self, encoder: Option<&gst::Element>, error: Error) {
        lock(&self.failures).push((encoder.cloned(), error));
        if let Some(keeping) = self.keeping() {
            keeping.backpressure.wake();
        }
    }

    fn need_data(&self) {
        if let Some(keeping) = self.keeping() {
            keeping.backpressure.free();
        }
    }

    fn begins(&self, before: Ns, at: Ns) -> bool {
        let Some(keeping) = self.keeping() else {
            return false;
        };
        let cut = keeping.latest_cut.load(Ordering::SeqCst);
        let is_after_cut = before < cut && cut <= at;
        is_after_cut
            || keeping.timeline.read(|timeline| {
                let last = timeline.intervals().iter().rev();
                let mut last = last.take_while(|interval| interval.start > before);
                last.any(|interval| interval.start <= at)
            })
    }

    fn encoder(&self, encoder: &gst::Element) {
        if let Some(keeping) = self.keeping() {
            keeping.delegate.encoder_setup(&self.name, encoder);
        }
    }
}
