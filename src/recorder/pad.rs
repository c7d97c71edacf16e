//! `GstMediaRecorderPad`: a track, with what has passed it.

mod placement;

use super::{framer::Framer, subscriber::Subscriber, toc};
use crate::{
    formats,
    gate::Input,
    model::{Kind, stamps::LONGEST_HOLE, timeline::Ns},
    session::{RunningTime, lock},
};
use glib::subclass::prelude::*;
use gst::{prelude::*, subclass::prelude::*};
use once_cell::sync::Lazy;
use smallvec::SmallVec;
use std::sync::{
    Arc, Mutex, MutexGuard, TryLockError,
    atomic::{AtomicBool, Ordering},
};
use std::time::Duration;

glib::wrapper! {
    /// A sink pad of the recorder: one track.
    pub struct MediaRecorderPad(ObjectSubclass<imp::MediaRecorderPad>)
        @extends gst::Pad, gst::Object;
}

/// A buffer that is further ahead of the one before may have a wrong stamp.
const JUMP: Ns = 1_000_000_000;

/// What the buffers of a stream are.
#[derive(Debug, Clone, Copy, Default)]
enum Media {
    /// Raw audio: sample rate, and bytes per sample of all channels.
    Sound { rate: u32, bytes: u32 },
    /// Raw video: how long a frame lasts by the caps, and how many bytes it has at least.
    Picture {
        frame: Option<gst::ClockTime>,
        size: usize,
    },
    #[default]
    Encoded,
}

impl Media {
    fn of(caps: &gst::CapsRef) -> Self {
        if let Some(info) = formats::audio_info(caps).filter(|i| i.rate() > 0 && i.bpf() > 0) {
            let (rate, bytes) = (info.rate(), info.bpf());
            return Media::Sound { rate, bytes };
        }
        match formats::video_info(caps) {
            Some(info) => {
                let frames = u64::try_from(info.fps().numer()).ok().filter(|n| *n > 0);
                let seconds = u64::try_from(info.fps().denom()).unwrap_or(0);
                let frame =
                    frames.and_then(|frames| gst::ClockTime::SECOND.mul_div_floor(seconds, frames));
                let size = info.size();
                Media::Picture { frame, size }
            }
            None => Media::Encoded,
        }
    }
}

/// What the pad knows of its stream. Guarded by one lock that is never held while a buffer that comes is given to the
/// recordings (a recording that begins gets the newest under it), a query is made or a signal emitted.
#[derive(Default)]
pub(super) struct Stream {
    segment: gst::FormattedSegment<gst::ClockTime>,
    /// No buffer has come since the segment.
    fresh: bool,
    pub caps: Option<gst::Caps>,
    /// The caps of what is given to the recordings: others, and later, where a framer is between.
    given: Option<gst::Caps>,
    media: Media,
    /// Only a part of the newest frame is given to the recordings.
    pub crops: bool,
    pub tags: Option<gst::TagList>,
    /// Upstream's chapters, in stream time.
    toc: Vec<(gst::ClockTime, String)>,
    /// Recordings do not know yet where these are in running time.
    toc_is_new: bool,
    /// Caps that it has been said of that they are not taken.
    pub refused: Vec<gst::Caps>,
    pub eos: bool,
    pub flushing: bool,
    /// Whether upstream is live, once that has been asked.
    pub live: Option<bool>,
    /// What it said last: whether it is, and how late.
    pub upstream: Option<(bool, Duration)>,
    /// The pad is being released.
    pub released: bool,
    /// The newest buffer: at `start` it is the picture on show, or holds the first samples. Encoded media that
    /// a recording takes is not kept, nor is sound that the clock has passed: it could not be stamped without a
    /// copy.
    recent: Option<Input>,
    /// Media has come behind the headers.
    begun: bool,
    /// Buffers that are headers of what follows and come once.
    headers: SmallVec<[Input; 3]>,
    subscribers: SmallVec<[Subscriber; 1]>,
    /// Running time of the end of the newest buffer.
    end: Ns,
    /// The same of one that is far ahead of the one before: its stamp may be wrong.
    jumped: Option<Ns>,
    /// What has to be added to running time, see [`RunningTime`].
    shift: i64,
}

impl Stream {
    /// Sets the caps and says whether they are new.
    pub fn set_caps(&mut self, caps: &gst::Caps) -> bool {
        self.media = Media::of(caps);
        self.caps.replace(caps.clone()).as_ref() != Some(caps)
    }

    /// Sets the segment and says whether it is a new one.
    pub fn set_segment(&mut self, segment: &gst::FormattedSegment<gst::ClockTime>) -> bool {
        self.fresh = true;
        self.toc_is_new = true;
        let is_new = self.segment != *segment;
        self.segment = segment.clone();
        is_new
    }

    /// Sets upstream's chapters; without a table of contents there are none.
    pub fn set_toc(&mut self, toc: Option<&gst::TocRef>) {
        self.toc = toc.map_or_else(Vec::new, toc::chapters);
        self.toc_is_new = true;
    }

    /// Upstream's chapters in running time, where that has changed since they were asked for; to be called when a buffer
    /// has been placed.
    pub fn new_chapters(&mut self) -> Option<Vec<(Ns, String)>> {
        std::mem::take(&mut self.toc_is_new).then(|| self.chapters())
    }

    /// From here on running time is counted as it has been since [`RunningTime::restart`].
    pub fn restarted(&mut self, clock: &RunningTime) {
        self.shift = clock.shift();
    }

    /// Sets the caps of what is given to the recordings, and says whether they are new.
    pub fn give_caps(&mut self, caps: &gst::Caps) -> bool {
        self.given.replace(caps.clone()).as_ref() != Some(caps)
    }

    /// Whether buffers are taken.
    pub fn flows(&self) -> Result<(), gst::FlowError> {
        match (self.flushing, self.eos) {
            (true, _) => Err(gst::FlowError::Flushing),
            (_, true) => Err(gst::FlowError::Eos),
            _ => Ok(()),
        }
    }

    /// A buffer has come, before a cut can miss it. How far a stream has come one buffer alone does not tell whose
    /// stamp is far ahead of the others.
    pub fn arrive(&mut self, input: &mut Input, clock: &RunningTime) {
        if input.running > self.end.saturating_add(JUMP) && self.end > 0 || self.jumped.is_some() {
            return self.arrive_elsewhere(input, clock);
        }
        self.end = input.end();
        clock.arrived(self.end);
    }

    #[cold]
    fn arrive_elsewhere(&mut self, input: &mut Input, clock: &RunningTime) {
        let end = input.end();
        let is_ahead = input.running > self.end.saturating_add(JUMP);
        match self.jumped.take() {
            // It is the first there, or does not go on from the one before.
            jumped if is_ahead && jumped.is_none_or(|jumped| end < jumped) => {
                self.jumped = Some(end);
                return clock.jumped(Some(end));
            }
            Some(_) if is_ahead && input.running - self.end > LONGEST_HOLE => {
                self.toc_is_new = true;
                self.end = self.go_on(input);
            }
            Some(_) | None => self.end = end,
        }
        clock.jumped(None);
        clock.arrived(self.end);
    }

    /// Stamps have leapt by more than any hole there is: they go on from where they were, from this buffer on.
    fn go_on(&mut self, input: &mut Input) -> Ns {
        let by = i64::try_from(input.running - self.end).unwrap_or(i64::MAX);
        self.shift = self.shift.saturating_sub(by);
        input.running = self.end;
        input.end()
    }

    /// Remembers a buffer, and gives back who takes it. `now`: the clock's running time, if somebody takes it and it is
    /// live.
    pub fn pass(&mut self, input: &Input, now: Option<Ns>) -> SmallVec<[Subscriber; 1]> {
        let end = input.end();
        let header = input.buffer.flags().contains(gst::BufferFlags::HEADER);
        if header && formats::has_header_packets(self.caps.as_ref()) {
            // Headers in the middle are those of another stream.
            if std::mem::take(&mut self.begun) {
                self.headers.clear();
            }
            self.recent = None;
            self.headers.push(input.clone());
        } else {
            self.begun = true;
            let kept = match self.media {
                _ if self.subscribers.is_empty() => true,
                Media::Encoded => false,
                Media::Picture { .. } => true,
                // A recording to come cannot begin in sound that is over.
                Media::Sound { .. } => self.live != Some(true) || now.is_none_or(|now| now < end),
            };
            self.recent = kept.then(|| input.clone());
        }
        self.subscribers.clone()
    }

    /// Whether anybody takes this pad's stream.
    pub fn is_taken(&self) -> bool {
        !self.subscribers.is_empty()
    }

    /// Who takes this pad's stream.
    pub fn subscribers(&self) -> SmallVec<[Subscriber; 1]> {
        self.subscribers.clone()
    }

    /// The stream goes to one more recording, or to the past, beginning with the newest buffer.
    pub fn subscribe(&mut self, subscriber: Subscriber) {
        if let Some((live, latency)) = self.upstream {
            subscriber.set_upstream(live, latency);
        }
        // What has come since the recording was put together counts too.
        if let Some(caps) = self.caps_in_time() {
            subscriber.set_caps(&caps);
        }
        if let Some(tags) = &self.tags {
            subscriber.set_tags(tags);
        }
        if self.cannot_be_turned() {
            subscriber.refuse_backwards();
        }
        for header in &self.headers {
            subscriber.replay(header.clone());
        }
        if let Some(recent) = &self.recent {
            subscriber.replay(recent.clone());
        }
        if self.eos || self.released {
            subscriber.end_track();
        }
        self.subscribers.push(subscriber);
    }

    /// The stream does not go there any more.
    pub fn unsubscribe(&mut self, gone: &Subscriber) {
        match gone {
            Subscriber::Recording(session, _) => self.keep_from(session.id()),
            Subscriber::Past(_) => self.subscribers.retain(|taker| !taker.is_over()),
        }
    }

    /// The stream does not go to this recording any more.
    pub fn keep_from(&mut self, session: u64) {
        self.subscribers.retain(|taker| !taker.is_of(session));
    }

    /// A flush: the stream begins anew, recorded time goes on.
    pub fn flushed(&mut self) {
        self.flushing = false;
        self.eos = false;
        self.segment = gst::FormattedSegment::new();
        self.fresh = false;
        self.recent = None;
        self.jumped = None;
    }
}

mod imp {
    use super::*;

    #[derive(Default)]
    pub struct MediaRecorderPad {
        pub(in super::super) stream: Mutex<Stream>,
        mute: AtomicBool,
        /// Held while `mute` changes, and while a recording that begins is told what it is.
        pub(in super::super) muting: Mutex<()>,
        /// Used with `framing` held.
        pub(in super::super) framer: Mutex<Option<Arc<Framer>>>,
        /// Whether there is one.
        pub(in super::super) framed: AtomicBool,
        /// Held from a framer's work until what it has made has been given on.
        pub(in super::super) framing: Mutex<()>,
        /// EOS that has not come in the stream, until it is taken.
        pub(in super::super) asked_end: Mutex<Option<gst::Seqnum>>,
        /// Flushes that set running time back, so far.
        pub(in super::super) epoch: std::sync::atomic::AtomicU64,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for MediaRecorderPad {
        const NAME: &'static str = "GstMediaRecorderPad";
        type Type = super::MediaRecorderPad;
        type ParentType = gst::Pad;
    }

    impl ObjectImpl for MediaRecorderPad {
        fn properties() -> &'static [glib::ParamSpec] {
            static PROPERTIES: Lazy<Vec<glib::ParamSpec>> = Lazy::new(|| {
                vec![
                    glib::ParamSpecBoolean::builder("mute")
                        .nick("Mute")
                        .blurb("Record silence or black instead of this track while TRUE")
                        .default_value(false)
                        .mutable_playing()
                        .controllable()
                        .build(),
                ]
            });
            &PROPERTIES
        }

        fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
            if let ("mute", Ok(mute)) = (pspec.name(), value.get::<bool>()) {
                self.set_mute(mute, None);
            }
        }

        fn property(&self, _id: usize, _pspec: &glib::ParamSpec) -> glib::Value {
            self.mute.load(Ordering::SeqCst).to_value()
        }
    }

    impl GstObjectImpl for MediaRecorderPad {}
    impl PadImpl for MediaRecorderPad {}

    impl MediaRecorderPad {
        /// Mutes or does not, from this running time, or from now on.
        pub(super) fn set_mute(&self, mute: bool, from: Option<Ns>) {
            let _muting = lock(&self.muting);
            self.mute.store(mute, Ordering::SeqCst);
            let subscribers = lock(&self.stream).subscribers();
            for subscriber in subscribers {
                subscriber.mute(mute, from);
            }
        }
    }
}

impl MediaRecorderPad {
    /// The pad's stream, locked.
    pub(super) fn stream(&self) -> MutexGuard<'_, Stream> {
        lock(&self.imp().stream)
    }

    /// What makes whole frames of the stream, if it does not come in such.
    pub(super) fn framer(&self) -> Option<Arc<Framer>> {
        let imp = self.imp();
        if !imp.framed.load(Ordering::SeqCst) {
            return None;
        }
        lock(&imp.framer).clone()
    }

    /// Nobody else works with the framer until this is dropped.
    pub(super) fn framing(&self) -> MutexGuard<'_, ()> {
        lock(&self.imp().framing)
    }

    /// The same, if nobody does.
    pub(super) fn try_framing(&self) -> Option<MutexGuard<'_, ()>> {
        match self.imp().framing.try_lock() {
            Ok(framing) => Some(framing),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The track is to end, though its stream has not.
    pub(super) fn ask_for_end(&self, seqnum: gst::Seqnum) {
        *lock(&self.imp().asked_end) = Some(seqnum);
    }

    /// Whether it is.
    pub(super) fn is_asked_to_end(&self) -> bool {
        lock(&self.imp().asked_end).is_some()
    }

    /// Whether it is, for one who sees to that.
    pub(super) fn end_asked(&self) -> Option<gst::Seqnum> {
        lock(&self.imp().asked_end).take()
    }

    /// A GstControlBinding of `mute` says what it is at a buffer's place in the stream; it holds from that buffer's
    /// running time on.
    pub(super) fn follow_control(&self, stream_time: gst::ClockTime, running: Ns) {
        let binding = self.control_binding("mute");
        let binding = binding.filter(|binding| !binding.is_disabled());
        let value = binding.and_then(|binding| ControlBindingExt::value(&binding, stream_time));
        if let Some(mute) = value.and_then(|value| value.get::<bool>().ok())
            && mute != self.is_muted()
        {
            self.imp().set_mute(mute, Some(running));
            self.notify("mute");
        }
    }

    /// What it is a track of.
    pub(super) fn kind(&self) -> Kind {
        match self.name().starts_with(Kind::Audio.name()) {
            true => Kind::Audio,
            false => Kind::Video,
        }
    }

    /// New caps from upstream: the framer that they need is there when this returns.
    pub(super) fn frame(&self, caps: &gst::Caps) -> Option<Arc<Framer>> {
        if let Some(framer) = self.framer()
            && framer.set_caps(caps)
        {
            return Some(framer);
        }
        let framer = Framer::new(caps).map(Arc::new);
        let imp = self.imp();
        let before = {
            let mut place = lock(&imp.framer);
            imp.framed.store(framer.is_some(), Ordering::SeqCst);
            std::mem::replace(&mut *place, framer.clone())
        };
        drop(before);
        framer
    }

    /// Begins where the other pads are: so many flushes have set running time back.
    pub(super) fn join(&self, epoch: u64, clock: &RunningTime) {
        self.imp().epoch.store(epoch, Ordering::SeqCst);
        self.stream().restarted(clock);
    }

    /// Another flush has set running time back; gives the number of them.
    pub(super) fn next_epoch(&self) -> u64 {
        self.imp().epoch.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Forgets the stream, for a new READY→PAUSED.
    pub(super) fn reset(&self) {
        let framer = {
            let mut place = lock(&self.imp().framer);
            self.imp().framed.store(false, Ordering::SeqCst);
            place.take()
        };
        drop(framer);
        *self.stream() = Stream::default();
        let _ = self.end_asked();
        self.imp().epoch.store(0, Ordering::SeqCst);
    }

    /// `mute` does not change until this is dropped.
    pub(super) fn muting(&self) -> MutexGuard<'_, ()> {
        lock(&self.imp().muting)
    }

    /// Whether silence or black is recorded instead of this track.
    pub fn is_muted(&self) -> bool {
        self.property("mute")
    }
}
