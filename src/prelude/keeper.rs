//! The keeper thread of a [`Keeping`]: creates and monitors encoders for raw video, repeats frames during gaps, and
//! spills to a file what exceeds the memory limit.

use super::{Keeping, KeptTrack, ring::Item, spill::SpillFile};
use crate::{
    formats::{self, Plan, TrackInput},
    gate::Input,
    log::CAT,
    model::{Error, timeline::Ns},
    session::{ChainRequest, EncoderChain, FailedEncoders, PacketSink, Track, lock, panicked},
};
use std::{
    collections::BTreeMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Poll interval.
const TICK: Duration = Duration::from_millis(100);
/// Maximum time counted between two polls: the process may have been stopped.
const MAX_STEP: Duration = Duration::from_millis(500);
/// A frame is repeated after this time, so that recordings do not wait for the next one.
const LONGEST_PICTURE: Ns = 1_000_000_000;
/// GOPs up to this length are normal.
const LONGEST_GROUP: Ns = 2_000_000_000;
/// Interval between keyframe requests that have had no effect.
const ASK_AGAIN: Ns = 1_000_000_000;
/// How late, beyond its latency, a live track's last frames before a cut may arrive.
const LIVE_GRACE: Ns = 500_000_000;

/// Gates raw video for its encoder with the pre-record timeline.
pub struct Front {
    pub track: Track,
    caps: Mutex<Option<gst::Caps>>,
    chain: Mutex<Option<EncoderChain>>,
    packets: Arc<Packets>,
}

impl Front {
    pub fn new(track: Track, packets: Packets) -> Self {
        Front {
            track,
            caps: Mutex::default(),
            chain: Mutex::default(),
            packets: Arc::new(packets),
        }
    }

    /// Sets the caps of the following frames.
    pub fn set_caps(&self, caps: &gst::Caps) {
        *lock(&self.caps) = Some(caps.clone());
        if let Err(err) = self.track.set_caps(caps) {
            let error = Error::not_supported(format!(
                "{} cannot be encoded ({caps}): {err}",
                self.track.name()
            ));
            self.packets.error(None, error);
        }
    }

    /// The latest caps of its frames.
    pub fn caps(&self) -> Option<gst::Caps> {
        lock(&self.caps).clone()
    }

    /// No more input: outputs the last frame and drains the encoder.
    pub fn end(&self) {
        self.track.end();
        self.track.advance();
        self.track.finish(false);
    }

    pub fn encoder_name(&self) -> Option<String> {
        lock(&self.chain).as_ref()?.encoder_name()
    }

    /// The factory of its encoder, and what is converted of the latest frames.
    pub fn encoding(&self) -> Option<(String, Vec<String>)> {
        let caps = self.caps();
        let chain = lock(&self.chain);
        let chain = chain.as_ref()?;
        let converted = caps.map(|caps| chain.converted(&caps));
        Some((chain.encoder_name()?, converted.unwrap_or_default()))
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

/// Stores an encoder chain's output in the ring.
pub struct Packets {
    keeping: Weak<Keeping>,
    track: u64,
    name: String,
    /// The failure, with the encoder's factory name.
    failure: Mutex<Option<(Option<String>, Error)>>,
    /// Later output is discarded.
    cut: AtomicBool,
}

impl Packets {
    pub fn new(keeping: &Arc<Keeping>, track: u64, name: &str) -> Self {
        Packets {
            keeping: Arc::downgrade(keeping),
            track,
            name: name.to_owned(),
            failure: Mutex::default(),
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
        if let Some(shelf) = lock(&keeping.rings).shelf_mut(self.track) {
            shelf.ended = true;
        }
        keeping.news.notify_all();
    }

    fn error(&self, encoder: Option<&str>, error: Error) {
        lock(&self.failure).get_or_insert((encoder.map(str::to_owned), error));
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
        keeping.timeline.read(|timeline| {
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

/// Spawns the thread.
///
/// # Errors
/// If it cannot be spawned.
pub fn spawn(keeping: Arc<Keeping>) -> io::Result<()> {
    thread::Builder::new()
        .name("mediarecorder-past".into())
        .spawn(move || {
            let keep = AssertUnwindSafe(|| Keeper::new(&keeping).run());
            if let Err(panic) = catch_unwind(keep) {
                give_up(&keeping, &panicked(&*panic));
            }
            keeping.over.store(true, Ordering::SeqCst);
            keeping.backpressure.open();
            let tracks = std::mem::take(&mut *lock(&keeping.tracks));
            for track in tracks {
                drop(track.front().and_then(|front| lock(&front.chain).take()));
            }
        })
        .map(|_| ())
}

/// Stops keeping: `start` begins at the call, as without pre-recording.
fn give_up(keeping: &Keeping, error: &Error) {
    (keeping.warn)(format!("Nothing of the past is kept: {error}"));
    keeping.given_up.store(true, Ordering::SeqCst);
    lock(&keeping.rings).clear();
    fail_readers(keeping, error);
    keeping.backpressure.wake();
}

fn fail_readers(keeping: &Keeping, error: &Error) {
    for track in keeping.tracks() {
        for session in track.sessions() {
            session.fail(error.clone());
        }
    }
}

struct Keeper<'a> {
    keeping: &'a Arc<Keeping>,
    /// Factories of encoders that have failed.
    failed: FailedEncoders,
    /// The thread that spills to the file.
    spilling: Option<thread::JoinHandle<()>>,
    /// The type has been checked.
    is_checked: bool,
    /// When a keyframe was last requested, per encoded track.
    asked: BTreeMap<u64, Ns>,
    /// The buffer each track's encoder is processing, and for how long.
    busy: BTreeMap<u64, (u64, Duration)>,
    looked: Instant,
}

impl<'a> Keeper<'a> {
    fn new(keeping: &'a Arc<Keeping>) -> Self {
        Keeper {
            keeping,
            failed: FailedEncoders::default(),
            spilling: None,
            is_checked: false,
            asked: BTreeMap::new(),
            busy: BTreeMap::new(),
            looked: Instant::now(),
        }
    }

    fn run(&mut self) {
        let keeping = self.keeping;
        let mut seen = 0;
        loop {
            keeping.backpressure.wait_for_news(&mut seen, TICK);
            crate::fault::place("keeper");
            if keeping.retired.load(Ordering::SeqCst) && lock(&keeping.rings).close_unread() {
                return;
            }
            for message in keeping.backpressure.warnings() {
                (keeping.warn)(message);
            }
            if keeping.given_up.load(Ordering::SeqCst) {
                continue;
            }
            let tracks = keeping.tracks();
            if !self.is_checked && self.are_known(&tracks) {
                self.is_checked = true;
                if let Err(error) = self.plan(&tracks) {
                    give_up(keeping, &error);
                    continue;
                }
            }
            let since = self.looked.elapsed().min(MAX_STEP);
            self.looked = Instant::now();
            for (index, track) in tracks.iter().enumerate() {
                self.look_after(index, track, &tracks, since);
            }
            self.spill();
        }
    }

    /// `since`: time since the last poll.
    fn look_after(
        &mut self,
        index: usize,
        track: &KeptTrack,
        tracks: &[Arc<KeptTrack>],
        since: Duration,
    ) {
        let Some(front) = track.front() else {
            return self.ask_for_key_frame(track);
        };
        let failure = lock(&front.packets.failure).take();
        if let Some((encoder, error)) = failure {
            return self.replace(track, &front, encoder, &error);
        }
        if lock(&front.chain).is_none() {
            if let Err(error) = self.build(index, track, &front, tracks) {
                let failure = lock(&front.packets.failure).take();
                let encoder = failure.and_then(|(encoder, _)| encoder);
                self.replace(track, &front, encoder, &error);
            }
            return;
        }
        front.track.advance();
        self.show_on(track, &front);
        if self.hangs(track.number(), &front, since) {
            let encoder = front.encoder_name();
            let error = Error::unknown(format!(
                "the encoder of {} ({}) hangs: it has taken nothing for {} ms while media waits for it",
                track.name(),
                encoder.as_deref().unwrap_or_default(),
                self.keeping.settings.patience().as_millis()
            ));
            self.replace(track, &front, encoder, &error);
        }
    }

    /// Whether its encoder has been processing one buffer for so long that it hangs.
    fn hangs(&mut self, track: u64, front: &Front, since: Duration) -> bool {
        let chain = lock(&front.chain);
        let Some(buffer) = chain.as_ref().and_then(EncoderChain::busy_with) else {
            self.busy.remove(&track);
            return false;
        };
        drop(chain);
        let (with, time) = self.busy.entry(track).or_insert((buffer, Duration::ZERO));
        if *with == buffer {
            *time += since;
        } else {
            (*with, *time) = (buffer, Duration::ZERO);
        }
        *time >= self.keeping.settings.patience()
    }

    /// Requests a keyframe if an encoded track's GOP is longer than the time to keep: its start could not be discarded.
    fn ask_for_key_frame(&mut self, track: &KeptTrack) {
        let rings = lock(&self.keeping.rings);
        let Some(shelf) = rings.shelf(track.number()).filter(|shelf| shelf.keyed) else {
            return;
        };
        let (end, since) = (shelf.ring.end(), shelf.ring.newest().unwrap_or(0));
        let longest = rings.time().max(LONGEST_GROUP);
        drop(rings);
        let last = self.asked.entry(track.number()).or_default();
        if end.saturating_sub(since) > longest && end.saturating_sub(*last) > ASK_AGAIN {
            *last = end;
            self.keeping.delegate.request_key_frame(track.name(), end);
        }
    }

    /// Handles a failed encoder: discards the media kept so far and starts over with the next encoder.
    fn replace(
        &mut self,
        track: &KeptTrack,
        front: &Front,
        encoder: Option<String>,
        error: &Error,
    ) {
        let keeping = self.keeping;
        // A recording started meanwhile begins at the call, with its own encoders.
        keeping.is_replacing.store(true, Ordering::SeqCst);
        if let Some(chain) = lock(&front.chain).take() {
            chain.abandon();
        }
        self.busy.remove(&track.number());
        let Some(encoder) = encoder else {
            return give_up(keeping, error);
        };
        (keeping.warn)(format!("The past is empty from here on: {error}"));
        fail_readers(keeping, error);
        self.failed.add(encoder.into());
        lock(&keeping.rings).clear();
        track.renew_front();
    }

    /// Creates the encoder once the media types of all tracks are known, or the timeout has passed.
    fn build(
        &self,
        index: usize,
        track: &KeptTrack,
        front: &Front,
        tracks: &[Arc<KeptTrack>],
    ) -> Result<(), Error> {
        let keeping = self.keeping;
        if !self.are_known(tracks) {
            return Ok(());
        }
        let Some(caps) = front.caps() else {
            return Ok(());
        };
        let plan = self.plan(tracks)?;
        let bitrates = lock(&keeping.bitrates).clone();
        let chain = EncoderChain::build(
            &ChainRequest {
                plan: &plan,
                index,
                name: track.name(),
                caps,
                bits_per_second: keeping.rate(&bitrates, tracks, track.kind()),
                queue_time: front.track.queue_time(),
                tags: track.tags(),
                settings: &keeping.settings,
                failed_before: &self.failed,
            },
            &front.packets,
        )?;
        gst::info!(
            CAT,
            "The past of {} is kept by {}",
            track.name(),
            chain.encoder_name().unwrap_or_default()
        );
        chain.connect(&front.track);
        *lock(&front.chain) = Some(chain);
        Ok(())
    }

    /// Whether the media types of all tracks are known, or of any after the timeout.
    fn are_known(&self, tracks: &[Arc<KeptTrack>]) -> bool {
        let waited = self.keeping.begun.elapsed() > self.keeping.settings.patience();
        let mut known = tracks.iter().map(|track| track.is_known());
        match waited {
            true => known.any(|known| known),
            false => !tracks.is_empty() && known.all(|known| known),
        }
    }

    /// The container and codecs of future recordings.
    fn plan(&self, tracks: &[Arc<KeptTrack>]) -> Result<Plan, Error> {
        let settings = &self.keeping.settings;
        let inputs: Vec<TrackInput> = tracks
            .iter()
            .map(|track| TrackInput {
                kind: track.kind(),
                encoded: track.codec(),
            })
            .collect();
        formats::choose(&settings.mime_type, settings.location.as_deref(), &inputs)
            .map_err(|refusal| refusal.error)
    }

    /// Repeats the current frame during a gap, or if a recording that ends waits for the next one.
    fn show_on(&self, kept: &KeptTrack, front: &Front) {
        let track = &front.track;
        if !track.shows_picture() || track.is_closed() {
            return;
        }
        let now = match kept.is_live() {
            true => self.keeping.clock.now(),
            false => None,
        };
        let due = now.map(|now| now.saturating_sub(kept.latency()));
        for end in kept.sessions().iter().filter_map(|session| session.end()) {
            let has_come = track.arrived() >= end;
            let is_late = due.is_some_and(|due| due > end.saturating_add(LIVE_GRACE));
            if track.fed(0) < end && (has_come || is_late) {
                track.fill(end);
            }
        }
        if let Some(due) = due
            && due.saturating_sub(track.arrived().max(track.fed(0))) > LONGEST_PICTURE
        {
            track.fill(due - LONGEST_PICTURE / 2);
        }
    }

    /// Spills what exceeds the memory limit to the file, in a thread that may block on the disk.
    fn spill(&mut self) {
        let spilling = self.spilling.as_ref();
        if spilling.is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        if lock(&self.keeping.rings).spill().is_some() {
            self.spilling = spill_in_a_thread(self.keeping.clone()).ok();
        }
    }
}

/// Moves chunks to the file until the memory limit is met.
fn spill_in_a_thread(keeping: Arc<Keeping>) -> io::Result<thread::JoinHandle<()>> {
    let spill = move || {
        while let Some(spill) = {
            let rings = lock(&keeping.rings);
            rings.spill()
        } {
            let file = match &spill.file {
                Some(file) => Ok(file.clone()),
                None => SpillFile::create(spill.temp_dir.as_deref()),
            };
            let written = file.and_then(|file| {
                let extent = file.write(&spill.bytes)?;
                Ok((file, extent))
            });
            match written {
                Ok((file, extent)) => lock(&keeping.rings).spilled(&spill, file, extent),
                Err(err) => {
                    (keeping.warn)(format!(
                        "The temporary file for the past cannot be written ({err}): no more of it is kept than \
                         max-memory has room for."
                    ));
                    lock(&keeping.rings).give_up_file(keeping.now());
                }
            }
        }
    };
    thread::Builder::new()
        .name("mediarecorder-past".into())
        .spawn(spill)
}
