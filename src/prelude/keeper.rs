//! The keeper thread of a [`Keeping`]: creates and monitors encoders for raw video, repeats frames during gaps, and
//! spills to a file what exceeds the memory limit.

use super::{
    Keeping, KeptTrack,
    drain::{EncoderProgress, IdleEncoders},
    front::Front,
    spill::SpillFile,
};
use crate::{
    formats::{self, Plan, TrackInput},
    log::CAT,
    model::{Error, timeline::Ns},
    session::{ChainRequest, EncoderChain, Failed, Remedies, hang, lock, panicked},
};
use std::{
    collections::BTreeMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

/// Poll interval.
const TICK: Duration = Duration::from_millis(100);
/// A frame is repeated after this time, so that recordings do not wait for the next one.
const LONGEST_FRAME: Ns = 1_000_000_000;
/// GOPs up to this length are normal.
const LONGEST_GROUP: Ns = 2_000_000_000;
/// Interval between keyframe requests that have had no effect.
const ASK_AGAIN: Ns = 1_000_000_000;
/// How late, beyond its latency, a live track's last frames before a cut may arrive.
const LIVE_GRACE: Ns = 500_000_000;

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
    (keeping.warn)(format!("Pre-recording is not possible: {error}"));
    keeping.given_up.store(true, Ordering::SeqCst);
    lock(&keeping.rings).clear();
    for track in keeping.tracks() {
        for session in track.sessions() {
            session.fail(error.clone());
        }
    }
    keeping.backpressure.wake();
}

struct Keeper<'a> {
    keeping: &'a Arc<Keeping>,
    /// How encoders have been replaced.
    remedies: Remedies,
    /// The thread that spills to the file.
    spilling: Option<thread::JoinHandle<()>>,
    /// The type has been checked.
    is_checked: bool,
    /// When a keyframe was last requested, per encoded track.
    asked: BTreeMap<u64, Ns>,
    idle: IdleEncoders,
}

impl<'a> Keeper<'a> {
    fn new(keeping: &'a Arc<Keeping>) -> Self {
        Keeper {
            keeping,
            remedies: Remedies::default(),
            spilling: None,
            is_checked: false,
            asked: BTreeMap::new(),
            idle: IdleEncoders::default(),
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
            for (index, track) in tracks.iter().enumerate() {
                self.look_after(index, track, &tracks);
            }
            self.spill();
        }
    }

    fn look_after(&mut self, index: usize, track: &KeptTrack, tracks: &[Arc<KeptTrack>]) {
        let Some(front) = track.front() else {
            return self.ask_for_key_frame(track);
        };
        let looked_after = self.look_after_encoder(&front, index, track, tracks);
        if let Err(error) = looked_after {
            return give_up(self.keeping, &error);
        }
        front.track.advance();
        self.show_on(track, &front);
        self.look_after_last_frames(track, &front);
    }

    /// Makes recordings that end wait for the frames in the encoder, and drains it while no more arrive.
    fn look_after_last_frames(&mut self, kept: &KeptTrack, front: &Front) {
        let first = front.track.in_flight(0).begin();
        kept.set_first_in_flight(first);
        let progress = first.map(|first| EncoderProgress {
            first,
            fed: front.track.fed(0),
        });
        let sessions = kept.sessions();
        let ends = sessions.iter().filter_map(|session| session.end());
        let now = self.keeping.begun.elapsed();
        if self.idle.poll(kept.number(), progress, ends, now) {
            gst::debug!(CAT, "The encoder of {} is drained", kept.name());
            front.drain();
        }
    }

    /// Creates the encoder of raw video, and replaces it if it fails or hangs.
    fn look_after_encoder(
        &mut self,
        front: &Front,
        index: usize,
        track: &KeptTrack,
        tracks: &[Arc<KeptTrack>],
    ) -> Result<(), Error> {
        if lock(&front.chain).is_none() {
            return self.build(front, index, track, tracks);
        }
        if front.take_drained() {
            return self.restart(front, index, track, tracks);
        }
        let patience = self.keeping.settings.encoder_patience();
        let error = match front.take_failure() {
            Some((None, error)) => return Err(error),
            Some((Some(_), error)) => error,
            None if front.hangs(self.keeping.begun.elapsed(), patience) => hang(patience),
            None => return Ok(()),
        };
        let Some(request) = self.request(front, index, track, tracks)? else {
            return Ok(());
        };
        let Some(chain) = lock(&front.chain).take() else {
            return Ok(());
        };
        let failed = (chain.encoder_name(), error);
        self.replace(front, &request, chain, failed, track)
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

    /// Creates the encoder once the media types of all tracks are known, or the timeout has passed.
    fn build(
        &mut self,
        front: &Front,
        index: usize,
        track: &KeptTrack,
        tracks: &[Arc<KeptTrack>],
    ) -> Result<(), Error> {
        if !self.are_known(tracks) {
            return Ok(());
        }
        let Some(request) = self.request(front, index, track, tracks)? else {
            return Ok(());
        };
        let chain = EncoderChain::new(&request)?;
        self.start(front, &request, chain, track)
    }

    /// Starts the encoder again after it has been drained.
    fn restart(
        &mut self,
        front: &Front,
        index: usize,
        track: &KeptTrack,
        tracks: &[Arc<KeptTrack>],
    ) -> Result<(), Error> {
        let Some(request) = self.request(front, index, track, tracks)? else {
            return Ok(());
        };
        let Some(chain) = lock(&front.chain).take() else {
            return Ok(());
        };
        self.start(front, &request, chain, track)
    }

    /// Starts an encoder, or its replacement if that fails.
    fn start(
        &mut self,
        front: &Front,
        request: &ChainRequest<'_>,
        mut chain: EncoderChain,
        track: &KeptTrack,
    ) -> Result<(), Error> {
        if let Err(failed) = chain.start(request, self.remedies.failed(), &front.packets) {
            return self.replace(front, request, chain, failed, track);
        }
        let encoder = chain.encoder_name().unwrap_or_default();
        gst::info!(CAT, "{} is pre-recorded with {encoder}", track.name());
        *lock(&front.chain) = Some(chain);
        Ok(())
    }

    /// What the encoder of a track is created for, once its caps are known.
    fn request<'b>(
        &self,
        front: &'b Front,
        index: usize,
        track: &KeptTrack,
        tracks: &[Arc<KeptTrack>],
    ) -> Result<Option<ChainRequest<'b>>, Error>
    where
        'a: 'b,
    {
        let keeping = self.keeping;
        let Some(caps) = front.track.caps() else {
            return Ok(None);
        };
        let bitrates = lock(&keeping.bitrates).clone();
        Ok(Some(ChainRequest {
            plan: self.plan(tracks)?,
            index,
            track: &front.track,
            caps,
            bits_per_second: keeping.rate(&bitrates, tracks, track.kind()),
            tags: track.tags(),
            settings: &keeping.settings,
        }))
    }

    /// Replaces an encoder that has failed. Recordings that read its track go on; without any, nothing is kept from
    /// before.
    fn replace(
        &mut self,
        front: &Front,
        request: &ChainRequest<'_>,
        mut chain: EncoderChain,
        failed: Failed,
        track: &KeptTrack,
    ) -> Result<(), Error> {
        let keeping = self.keeping;
        front.cancel_drain();
        // Frames from here on are for the next encoder, and audio has to begin with them.
        let next = front.track.fed(0);
        let is_read = !lock(&keeping.rings).clear_unread(next);
        if !is_read {
            // A recording started meanwhile begins at the call, with its own encoders.
            keeping.is_replacing.store(true, Ordering::SeqCst);
            front.track.in_flight(0).drop_buffers();
        }
        let warning = chain.replace(request, failed, &mut self.remedies, &front.packets)?;
        *lock(&front.chain) = Some(chain);
        (keeping.warn)(if is_read {
            format!("{warning} in the same file; its pending input is encoded again.")
        } else {
            format!("{warning}; the pre-record buffer starts over, empty.")
        });
        if let Some((encoder, converted)) = front.encoding() {
            for session in track.sessions() {
                session.is_encoded_by(track.name(), &encoder, converted.clone());
            }
        }
        Ok(())
    }

    /// Whether the media types of all tracks are known, or of any after the timeout.
    fn are_known(&self, tracks: &[Arc<KeptTrack>]) -> bool {
        let waited = self.keeping.begun.elapsed() > self.keeping.settings.patience();
        let mut known = tracks.iter().map(|track| track.is_known());
        if waited {
            known.any(|known| known)
        } else {
            !tracks.is_empty() && known.all(|known| known)
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
        if !track.has_current_frame() || track.is_closed() {
            return;
        }
        let now = if kept.is_live() {
            self.keeping.clock.now()
        } else {
            None
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
            && due.saturating_sub(track.arrived().max(track.fed(0))) > LONGEST_FRAME
        {
            track.fill(due - LONGEST_FRAME / 2);
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
                        "The temporary file of the pre-record buffer cannot be written ({err}): the buffer is \
                         limited to max-memory."
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
